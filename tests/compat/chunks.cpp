// Data in chunks: readers, options, the dataset by itself and behind a loader, a checkpoint in the middle of an epoch.
#include <torch/torch.h>

#include <iostream>
#include <numeric>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace datasets = torch::data::datasets;
namespace samplers = torch::data::samplers;

// Chunk c holds 10 c, 10 c + 1, ...; a chunk of more than ten examples is damaged.
class Reader : public datasets::ChunkDataReader<int> {
 public:
  using BatchType = std::vector<int>;
  explicit Reader(std::vector<size_t> sizes) : sizes_(std::move(sizes)) {}
  std::vector<int> read_chunk(size_t chunk_index) override {
    if (sizes_[chunk_index] > 10) throw std::runtime_error("chunk " + std::to_string(chunk_index) + " is damaged");
    std::vector<int> chunk(sizes_[chunk_index]);
    std::iota(chunk.begin(), chunk.end(), 10 * static_cast<int>(chunk_index));
    return chunk;
  }
  size_t chunk_count() override { return sizes_.size(); }
  void reset() override {}

 private:
  std::vector<size_t> sizes_;
};

using InOrder = datasets::ChunkDataset<Reader, samplers::SequentialSampler, samplers::SequentialSampler>;

void print(const std::vector<int>& batch) {
  for (const int number : batch) std::cout << number << " ";
  std::cout << "| ";
}

void refused(size_t preloaders, size_t batch, size_t cache) {
  try {
    datasets::ChunkDatasetOptions options(preloaders, batch, cache);
    std::cout << "taken\n";
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    std::cout << text.substr(0, text.find('\n')) << "\n";
  }
}

void in_order() {
  samplers::SequentialSampler order(0);
  auto dataset = datasets::make_shared_dataset<InOrder>(Reader({3, 2, 4}), order, order, datasets::ChunkDatasetOptions(1, 4));
  auto loader = torch::data::make_data_loader(dataset, torch::data::DataLoaderOptions(4));
  for (int epoch = 0; epoch < 2; ++epoch) {
    for (const std::vector<int>& batch : *loader) print(batch);
    std::cout << "\n";
  }
}

void changed_before_it_is_shuffled() {
  samplers::SequentialSampler order(0);
  InOrder dataset(Reader({2, 2}), order, order, datasets::ChunkDatasetOptions(1, 2).cache_size(8), [](std::vector<int>& chunk) { chunk.push_back(-1); });
  dataset.reset();
  while (auto batch = dataset.get_batch(2)) print(*batch);
  std::cout << dataset.size().has_value() << "\n";
}

void every_example_once() {
  torch::manual_seed(3);
  datasets::ChunkDataset<Reader> dataset(Reader({10, 10, 10, 10}), samplers::RandomSampler(0), samplers::RandomSampler(0), datasets::ChunkDatasetOptions(2, 5, 10).cross_chunk_shuffle_count(2));
  dataset.reset();
  std::set<int> seen;
  size_t batches = 0;
  while (auto batch = dataset.get_batch()) {
    seen.insert(batch->begin(), batch->end());
    ++batches;
  }
  std::cout << seen.size() << " examples in " << batches << " batches\n";
}

void damaged() {
  samplers::SequentialSampler order(0);
  InOrder dataset(Reader({2, 99, 2}), order, order, datasets::ChunkDatasetOptions(1, 2));
  dataset.reset();
  print(*dataset.get_batch());
  try {
    dataset.get_batch();
  } catch (const torch::data::WorkerException& error) {
    std::cout << error.what() << "\n";
  }
}

int main() {
  refused(0, 1, 10);
  refused(1, 0, 10);
  refused(1, 1, 0);
  refused(1, 20, 10);
  refused(1, 10, 10);
  in_order();
  changed_before_it_is_shuffled();
  every_example_once();
  damaged();
}
