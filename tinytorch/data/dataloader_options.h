// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>

namespace tinytorch {

namespace data {

// How a loader works; every setter returns the options, so they chain. A number alone is a batch size.
// Source: torch/data/dataloader_options.h.
struct DataLoaderOptions {
  DataLoaderOptions() = default;
  DataLoaderOptions(std::size_t size) : batch_size_(size) {}

  // Examples in a batch.
  DataLoaderOptions& batch_size(std::size_t value) { return set(batch_size_, value); }
  std::size_t batch_size() const { return batch_size_; }
  // Threads that make batches; 0: the calling thread makes each batch when it is asked for.
  DataLoaderOptions& workers(std::size_t value) { return set(workers_, value); }
  std::size_t workers() const { return workers_; }
  // The most batches that are ready or being made; twice the workers if not given. It bounds the memory of loading ahead.
  DataLoaderOptions& max_jobs(std::optional<std::size_t> value) { return set(max_jobs_, value); }
  std::optional<std::size_t> max_jobs() const { return max_jobs_; }
  // How long to wait for a batch from the workers before giving up with an error; for ever if not given.
  DataLoaderOptions& timeout(std::optional<std::chrono::milliseconds> value) { return set(timeout_, value); }
  std::optional<std::chrono::milliseconds> timeout() const { return timeout_; }
  // Whether batches come in the order of the sampler. Costs time when some batches take much longer than others.
  DataLoaderOptions& enforce_ordering(bool value) { return set(enforce_ordering_, value); }
  bool enforce_ordering() const { return enforce_ordering_; }
  // Whether to leave out a last batch with fewer than batch_size examples.
  DataLoaderOptions& drop_last(bool value) { return set(drop_last_, value); }
  bool drop_last() const { return drop_last_; }

 private:
  template <class T>
  DataLoaderOptions& set(T& field, const T& value) {
    field = value;
    return *this;
  }

  std::size_t batch_size_ = 1;
  std::size_t workers_ = 0;
  std::optional<std::size_t> max_jobs_;
  std::optional<std::chrono::milliseconds> timeout_;
  bool enforce_ordering_ = true;
  bool drop_last_ = false;
};

// The options with every default worked out.
struct FullDataLoaderOptions {
  explicit FullDataLoaderOptions(const DataLoaderOptions& options)
      : batch_size(options.batch_size()),
        workers(options.workers()),
        max_jobs(options.max_jobs().value_or(2 * options.workers())),
        timeout(options.timeout()),
        enforce_ordering(options.enforce_ordering()),
        drop_last(options.drop_last()) {}

  std::size_t batch_size;
  std::size_t workers;
  std::size_t max_jobs;
  std::optional<std::chrono::milliseconds> timeout;
  bool enforce_ordering;
  bool drop_last;
};

}  // namespace data

}  // namespace tinytorch
