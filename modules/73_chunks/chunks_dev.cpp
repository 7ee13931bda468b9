// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch
// ---

// %% [markdown]
// # Library chapter 73: Data in chunks
//
// A dataset that gives example number i suits data that fit into memory. Of data that do not, examples are cheap to read in the order in which they lie on the disk, and dear in any other: 100 MB one after the other take as long as some hundred
// examples fetched from random places. The way out is to shuffle twice. The *chunks* are read in random order, each from front to back, and the examples of one chunk (or of a few that are in memory together) are shuffled among themselves. No exercises.
//
//     chunks on the disk        chunk order: 2 0 1          examples of each, shuffled         batches of 3
//     [a b c][d e f][g h i]  -> [g h i][a b c][d e f]  ->   h g i   c a b   f d e        ->   {h g i} {c a b} {f d e}
//
// Threads read ahead of the training loop until the cache is full. That is the same bounded queue as between a loader and its workers (module 07), with chunks put in and batches taken out. TensorFlow composes it from parts (`interleave`, `shuffle` with
// a buffer, `batch`, `prefetch`); PyTorch's Python side does it in `DataPipes` and in WebDataset's shards; JAX leaves it to libraries such as Grain.

// %%
//| after 08
//| export data/chunk.h
#include <cstddef>
#include <deque>
#include <exception>
#include <functional>
#include <iterator>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>
#include "tinytorch/core/arg.h"
#include "tinytorch/data/samplers.h"
#include "tinytorch/data/stream.h"
#include "tinytorch/data/threads.h"
#include "tinytorch/data/worker_exception.h"

//| export data/sampler_archives.h
#include "tinytorch/data/samplers.h"
#include "tinytorch/serialize/archive.h"

// %%
#include "tito/lesson.h"
#include <atomic>
#include <numeric>
#include <set>
#include <sstream>
#include <stdexcept>
#include <vector>
#include "tinytorch/data/chunk.h"
#include "tinytorch/data/sampler_archives.h"
#include "tinytorch/data/shared.h"
#include "tinytorch/serialize/save.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Readers and options

// %%
//| export data/chunk.h
namespace data::datasets {

// Reads chunks. Derive from it; read_chunk() is called by several threads at once when there are several preloaders. Source: torch/data/datasets/chunk.h.
template <class ExampleType_, class ChunkType_ = std::vector<ExampleType_>>
class ChunkDataReader {
 public:
  using ChunkType = ChunkType_;
  using ExampleType = ExampleType_;
  virtual ~ChunkDataReader() = default;

  // The examples of chunk number `chunk_index`. REQUIRES: chunk_index < chunk_count().
  virtual ChunkType read_chunk(std::size_t chunk_index) = 0;
  virtual std::size_t chunk_count() = 0;
  // Called when an epoch begins.
  virtual void reset() = 0;
};

// How chunks become batches. Throws for no preloaders, no cache, or batches of more than the cache holds.
struct ChunkDatasetOptions {
  ChunkDatasetOptions() = delete;
  ChunkDatasetOptions(std::size_t preloader_count, std::size_t batch_size, std::size_t cache_size = 2048, std::size_t cross_chunk_shuffle_count = 1)
      : preloader_count_(preloader_count), batch_size_(batch_size), cache_size_(cache_size), cross_chunk_shuffle_count_(cross_chunk_shuffle_count) {
    TORCH_CHECK(preloader_count_ > 0, "Preloader count is 0. At least one preloader needs to be specified.");
    TORCH_CHECK(batch_size_ > 0, "Batch size is 0. A positive batch size needs to be specified.");
    TORCH_CHECK(cache_size_ > 0, "Cache size is 0. A positive cache size needs to be specified.");
    TORCH_CHECK(cache_size_ >= batch_size_, "Cache size is less than batch size. Cache needs to be large enough to hold at least one batch.");
    TORCH_CHECK(cross_chunk_shuffle_count_ > 0, "cross_chunk_shuffle_count needs to be greater than 0.");
  }
  TORCH_ARG(std::size_t, preloader_count);
  TORCH_ARG(std::size_t, batch_size);
  TORCH_ARG(std::size_t, cache_size) = 2048;                // examples that may wait; reading pauses beyond
  TORCH_ARG(std::size_t, cross_chunk_shuffle_count) = 1;    // chunks that are shuffled together
};

}  // namespace data::datasets

// %% [markdown]
// ## The dataset
//
// The chunk sampler is shared by the preloaders, so one of them asks at a time. Reading happens outside of the lock. Which of two chunks enters the cache first is then the threads' affair: with one preloader the order of batches is the samplers' alone,
// with several it is not.
//
// An exception in a reader does not end the epoch: it takes its place in the cache, and get_batch() throws it, wrapped as a loader's workers wrap theirs, when it comes there. libtorch does the same, and can read nothing more after it; here the next chunk follows.

// %%
//| export data/chunk.h
namespace data::datasets {

// A stream of batches from chunks. get_batch() gives `batch_size` examples, fewer at the end of the epoch, and then nothing. Begin each epoch with reset(), as a data loader does.
// Not to be copied: share it among workers with make_shared_dataset. Source: torch/data/datasets/chunk.h.
template <class ChunkReader, class ChunkSampler = samplers::RandomSampler, class ExampleSampler = samplers::RandomSampler>
class ChunkDataset final
    : public StatefulDataset<ChunkDataset<ChunkReader, ChunkSampler, ExampleSampler>, typename ChunkReader::ChunkType, std::size_t> {
 public:
  using UnwrappedBatchType = typename ChunkReader::ChunkType;
  using BatchType = std::optional<UnwrappedBatchType>;
  using BatchRequestType = std::size_t;
  using ChunkSamplerType = ChunkSampler;
  using ExampleSamplerType = ExampleSampler;

  // `preprocessing_policy` may change the examples of a chunk before they are shuffled.
  ChunkDataset(ChunkReader chunk_reader, ChunkSampler chunk_sampler, ExampleSampler example_sampler, ChunkDatasetOptions options,
               std::function<void(UnwrappedBatchType&)> preprocessing_policy = {})
      : reader_(std::move(chunk_reader)), chunk_sampler_(std::move(chunk_sampler)), example_sampler_(std::move(example_sampler)), options_(options),
        preprocessing_policy_(std::move(preprocessing_policy)) {}
  ChunkDataset(const ChunkDataset&) = delete;
  ChunkDataset& operator=(const ChunkDataset&) = delete;
  ~ChunkDataset() override { stop(); }

  // The next batch, or nothing at the end of the epoch; waits until one has been read. Throws what a reader threw as a WorkerException. Several threads may call it.
  BatchType get_batch(std::size_t batch_size) override;
  BatchType get_batch() { return get_batch(options_.batch_size()); }
  void reset() override;
  std::optional<std::size_t> size() const override { return std::nullopt; }
  ChunkSampler& chunk_sampler() { return chunk_sampler_; }

  // The chunk sampler's place in its epoch. Examples in the cache are read again.
  void save(serialize::OutputArchive& archive) const override {
    const std::lock_guard lock(mutex_);
    chunk_sampler_.save(archive);
  }
  void load(serialize::InputArchive& archive) override {
    const std::lock_guard lock(mutex_);
    chunk_sampler_.load(archive);
    loaded_ = true;
  }

 private:
  using Example = typename ChunkReader::ExampleType;
  // Examples in the order in which they shall leave, or the exception that stands in their place.
  struct Piece {
    std::vector<Example> examples;
    std::exception_ptr error;
  };

  void preload();
  void shuffle(std::vector<Example>& examples);
  void stop();

  ChunkReader reader_;
  ChunkSampler chunk_sampler_;
  ExampleSampler example_sampler_;
  ChunkDatasetOptions options_;
  std::function<void(UnwrappedBatchType&)> preprocessing_policy_;
  bool loaded_ = false;

  mutable std::mutex mutex_;
  data::detail::ConditionVariable room_;     // for preloaders: the cache has room, or all is to stop
  data::detail::ConditionVariable arrived_;  // for get_batch(): something is there, or nothing will come
  std::deque<Piece> cache_;
  std::size_t cached_ = 0;   // examples in the cache
  std::size_t reading_ = 0;  // preloaders that are not done
  bool stopping_ = false;
  data::detail::Threads preloaders_;
};

}  // namespace data::datasets

// %%
//| export data/chunk.h
// Ends the preloaders, wherever they are, and waits for them.
template <class ChunkReader, class ChunkSampler, class ExampleSampler>
void data::datasets::ChunkDataset<ChunkReader, ChunkSampler, ExampleSampler>::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  room_.notify_all();
  preloaders_.join();
}

// Begins an epoch: forgets what is left of the one before and starts the preloaders.
template <class ChunkReader, class ChunkSampler, class ExampleSampler>
void data::datasets::ChunkDataset<ChunkReader, ChunkSampler, ExampleSampler>::reset() {
  stop();
  reader_.reset();
  if (!loaded_) chunk_sampler_.reset(reader_.chunk_count());
  loaded_ = false;
  cache_.clear();
  cached_ = 0;
  stopping_ = false;
  reading_ = options_.preloader_count();
  for (std::size_t i = 0; i < options_.preloader_count(); ++i) preloaders_.start([this] { preload(); });
}

// The example sampler's order. Called with the lock held: the sampler, and the generator behind it, are shared.
template <class ChunkReader, class ChunkSampler, class ExampleSampler>
void data::datasets::ChunkDataset<ChunkReader, ChunkSampler, ExampleSampler>::shuffle(std::vector<Example>& examples) {
  example_sampler_.reset(examples.size());
  const auto order = example_sampler_.next(examples.size());
  if (!order) return;
  std::vector<Example> shuffled;
  shuffled.reserve(examples.size());
  for (const std::size_t index : *order) shuffled.push_back(std::move(examples[index]));
  examples = std::move(shuffled);
}

// %%
//| export data/chunk.h
// One preloader: asks for chunk numbers, reads, and puts the examples into the cache when there is room.
template <class ChunkReader, class ChunkSampler, class ExampleSampler>
void data::datasets::ChunkDataset<ChunkReader, ChunkSampler, ExampleSampler>::preload() {
  std::unique_lock lock(mutex_);
  while (true) {
    room_.wait(lock, [this] { return stopping_ || cached_ < options_.cache_size(); });
    if (stopping_) break;
    Piece piece;
    try {
      const auto chunks = chunk_sampler_.next(options_.cross_chunk_shuffle_count());
      if (!chunks) break;
      lock.unlock();
      UnwrappedBatchType all;
      for (const std::size_t chunk : *chunks) {
        UnwrappedBatchType read = reader_.read_chunk(chunk);
        if (all.empty()) all = std::move(read);
        else std::move(read.begin(), read.end(), std::back_inserter(all));
      }
      if (preprocessing_policy_) preprocessing_policy_(all);
      piece.examples.assign(std::make_move_iterator(all.begin()), std::make_move_iterator(all.end()));
      lock.lock();
      if (!piece.examples.empty()) shuffle(piece.examples);
    } catch (...) {
      if (!lock.owns_lock()) lock.lock();
      piece.examples.clear();
      piece.error = std::current_exception();
    }
    cached_ += piece.examples.size();
    cache_.push_back(std::move(piece));
    arrived_.notify_all();
  }
  --reading_;
  arrived_.notify_all();
}

// %%
//| export data/chunk.h
template <class ChunkReader, class ChunkSampler, class ExampleSampler>
typename data::datasets::ChunkDataset<ChunkReader, ChunkSampler, ExampleSampler>::BatchType
data::datasets::ChunkDataset<ChunkReader, ChunkSampler, ExampleSampler>::get_batch(std::size_t batch_size) {
  TORCH_CHECK(batch_size == options_.batch_size(), "The requested batch size does not match with the initialized batch size.\n The requested batch size is ", batch_size,
              ", while the dataset is created with batch size equal to ", options_.batch_size());
  std::unique_lock lock(mutex_);
  TORCH_CHECK(preloaders_.size() > 0, "Dataset needs to call reset() before calling get_batch().");
  UnwrappedBatchType batch;
  while (batch.size() < batch_size) {
    arrived_.wait(lock, [this] { return !cache_.empty() || reading_ == 0; });
    if (cache_.empty()) break;  // the epoch's last examples
    Piece& first = cache_.front();
    if (first.error) {
      if (!batch.empty()) break;  // hand out what came before it
      const std::exception_ptr error = first.error;
      cache_.pop_front();
      throw WorkerException(error);
    }
    const std::size_t missing = batch_size - batch.size();
    const std::size_t taken = missing < first.examples.size() ? missing : first.examples.size();
    const auto end = first.examples.begin() + static_cast<std::ptrdiff_t>(taken);
    batch.insert(batch.end(), std::make_move_iterator(first.examples.begin()), std::make_move_iterator(end));
    first.examples.erase(first.examples.begin(), end);
    cached_ -= taken;
    if (first.examples.empty()) cache_.pop_front();
    room_.notify_all();
  }
  if (batch.empty()) return std::nullopt;
  return batch;
}

// %%
//| lesson
// Chunk c holds the numbers 10 c, 10 c + 1, ...: so many as `sizes` says.
struct Numbers : data::datasets::ChunkDataReader<int> {
  explicit Numbers(std::vector<std::size_t> chunk_sizes) : sizes(std::move(chunk_sizes)) {}
  std::vector<int> read_chunk(std::size_t chunk_index) override {
    if (sizes[chunk_index] > 10) throw std::runtime_error("chunk " + std::to_string(chunk_index) + " is damaged");
    std::vector<int> chunk(sizes[chunk_index]);
    std::iota(chunk.begin(), chunk.end(), 10 * static_cast<int>(chunk_index));
    return chunk;
  }
  std::size_t chunk_count() override { return sizes.size(); }
  void reset() override {}
  std::vector<std::size_t> sizes;
};
using InOrder = data::datasets::ChunkDataset<Numbers, data::samplers::SequentialSampler, data::samplers::SequentialSampler>;
using Shuffled = data::datasets::ChunkDataset<Numbers>;

// %%
TEST_CASE("ChunkDataset: batches across chunks, in order, epoch after epoch") {
  const data::samplers::SequentialSampler order(0);
  InOrder dataset(Numbers({3, 0, 2, 4}), order, order, data::datasets::ChunkDatasetOptions(1, 4));
  CHECK_ERROR(dataset.get_batch(), "Dataset needs to call reset() before calling get_batch().");
  for (int epoch = 0; epoch < 2; ++epoch) {
    dataset.reset();
    CHECK(dataset.get_batch() == std::vector<int>{0, 1, 2, 20});
    CHECK_ERROR(dataset.get_batch(5), "The requested batch size does not match with the initialized batch size.");
    CHECK(dataset.get_batch() == std::vector<int>{21, 30, 31, 32});
    CHECK(dataset.get_batch() == std::vector<int>{33});
    CHECK_FALSE(dataset.get_batch().has_value());
  }
  CHECK_ERROR(data::datasets::ChunkDatasetOptions(0, 1), "Preloader count is 0. At least one preloader needs to be specified.");
  CHECK_ERROR(data::datasets::ChunkDatasetOptions(1, 9, 8), "Cache size is less than batch size.");
}

TEST_CASE("ChunkDataset: every example once, shuffled within chunks that are read together") {
  manual_seed(5);
  Shuffled dataset(Numbers({10, 10, 10, 10}), data::samplers::RandomSampler(0), data::samplers::RandomSampler(0), data::datasets::ChunkDatasetOptions(3, 5, 10, 2));
  dataset.reset();
  std::set<int> seen;
  std::vector<int> order;
  while (const auto batch = dataset.get_batch()) {
    seen.insert(batch->begin(), batch->end());
    order.insert(order.end(), batch->begin(), batch->end());
  }
  CHECK_EQ(order.size(), 40);
  CHECK_EQ(seen.size(), 40);
  CHECK_FALSE(std::is_sorted(order.begin(), order.begin() + 20));
  std::set<int> chunks;
  for (std::size_t i = 0; i < 20; ++i) chunks.insert(order[i] / 10);
  CHECK_EQ(chunks.size(), 2);  // the first twenty come from the two chunks that were read together
}

TEST_CASE("ChunkDataset: a loader with workers; a damaged chunk is an error in its place; an epoch may be left") {
  const data::samplers::SequentialSampler order(0);
  auto shared = data::datasets::make_shared_dataset<InOrder>(Numbers({10, 10, 7}), order, order, data::datasets::ChunkDatasetOptions(2, 4));
  auto loader = data::make_data_loader(shared, data::DataLoaderOptions(4).workers(2));
  for (int epoch = 0; epoch < 2; ++epoch) {
    std::multiset<int> seen;
    for (const auto& batch : *loader) seen.insert(batch.begin(), batch.end());
    CHECK_EQ(seen.size(), 27);
    CHECK_EQ(std::set<int>(seen.begin(), seen.end()).size(), 27);
  }
  InOrder damaged(Numbers({2, 99, 2}), order, order, data::datasets::ChunkDatasetOptions(1, 4), [](std::vector<int>& chunk) { chunk.push_back(-1); });
  damaged.reset();
  CHECK(damaged.get_batch() == std::vector<int>{0, 1, -1});
  CHECK_THROWS_WITH(damaged.get_batch(), "Caught exception in DataLoader worker thread. Original message: chunk 1 is damaged");
  CHECK(damaged.get_batch() == std::vector<int>{20, 21, -1});
  CHECK_FALSE(damaged.get_batch().has_value());
  InOrder left(Numbers({10, 10, 10}), order, order, data::datasets::ChunkDatasetOptions(1, 2, 4));
  left.reset();
  CHECK(left.get_batch() == std::vector<int>{0, 1});
  left.reset();
  CHECK(left.get_batch() == std::vector<int>{0, 1});
}

// %% [markdown]
// ## A sampler's place, saved
//
// An epoch that is interrupted goes on where it was if the sampler is saved beside the model: `save(sampler, "place.pt")`. A sampler knows how to write itself into an archive; what save() and load() want besides is an operator that says so.

// %%
//| export data/sampler_archives.h
namespace data::samplers {
template <class BatchRequest>
serialize::OutputArchive& operator<<(serialize::OutputArchive& archive, const Sampler<BatchRequest>& sampler) {
  sampler.save(archive);
  return archive;
}
template <class BatchRequest>
serialize::InputArchive& operator>>(serialize::InputArchive& archive, Sampler<BatchRequest>& sampler) {
  sampler.load(archive);
  return archive;
}
}  // namespace data::samplers

// %%
TEST_CASE("samplers: saved in the middle of an epoch") {
  data::samplers::SequentialSampler sampler(5);
  sampler.next(3);
  std::stringstream stream;
  save(sampler, stream);
  data::samplers::SequentialSampler other(5);
  load(other, stream);
  CHECK(other.next(9) == std::vector<std::size_t>{3, 4});
}

// %%
}  // namespace tinytorch
