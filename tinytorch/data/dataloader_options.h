// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.
#pragma once

#include <mutex>  // std::chrono's durations
#include <cstddef>
#include <optional>
#include <utility>

#include "tinytorch/core/arg.h"

namespace tinytorch {

namespace data {

// How a loader works. A number alone is a batch size; setters return the options, so they chain: DataLoaderOptions(64).workers(2).
// Source: torch/data/dataloader_options.h.
struct DataLoaderOptions {
  DataLoaderOptions() = default;
  DataLoaderOptions(std::size_t size) : batch_size_(size) {}

  // Examples in a batch.
  TORCH_ARG(std::size_t, batch_size) = 1;
  // Threads that make batches; 0: the calling thread makes each batch when it is asked for.
  TORCH_ARG(std::size_t, workers) = 0;
  // The most batches that are ready or being made; twice the workers if not given. It bounds the memory of loading ahead.
  TORCH_ARG(std::optional<std::size_t>, max_jobs);
  // How long to wait for a batch from the workers before giving up with an error; for ever if not given.
  TORCH_ARG(std::optional<std::chrono::milliseconds>, timeout);
  // Whether batches come in the order of the sampler. Costs time when some batches take much longer than others.
  TORCH_ARG(bool, enforce_ordering) = true;
  // Whether to leave out a last batch with fewer than batch_size examples.
  TORCH_ARG(bool, drop_last) = false;
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
