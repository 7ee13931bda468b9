// Samplers of libtorch and of the user's own, with the loaders that ask them.
#include <torch/torch.h>

#include <algorithm>
#include <iostream>
#include <sstream>
#include <vector>

namespace data = torch::data;
using torch::Tensor;

struct Squares : data::datasets::Dataset<Squares, int> {
  explicit Squares(size_t size) : size_(size) {}
  int get(size_t index) override { return static_cast<int>(index * index); }
  torch::optional<size_t> size() const override { return size_; }
  size_t size_;
};

// Even numbers first, then odd ones.
class EvenFirst : public data::samplers::Sampler<> {
 public:
  explicit EvenFirst(size_t size) { reset(size); }
  void reset(torch::optional<size_t> new_size = torch::nullopt) override {
    if (new_size) size_ = *new_size;
    order_.clear();
    for (size_t i = 0; i < size_; i += 2) order_.push_back(i);
    for (size_t i = 1; i < size_; i += 2) order_.push_back(i);
    next_ = 0;
  }
  torch::optional<std::vector<size_t>> next(size_t batch_size) override {
    if (next_ == order_.size()) return torch::nullopt;
    const size_t end = std::min(next_ + batch_size, order_.size());
    std::vector<size_t> batch(order_.begin() + static_cast<int64_t>(next_), order_.begin() + static_cast<int64_t>(end));
    next_ = end;
    return batch;
  }
  void save(torch::serialize::OutputArchive& archive) const override { archive.write("next", torch::tensor(static_cast<int64_t>(next_))); }
  void load(torch::serialize::InputArchive& archive) override {
    Tensor place = torch::empty({1}, torch::kLong);
    archive.read("next", place);
    next_ = static_cast<size_t>(place.item<int64_t>());
  }

 private:
  size_t size_ = 0, next_ = 0;
  std::vector<size_t> order_;
};

// A request that is no list of indices.
struct Range : data::samplers::CustomBatchRequest {
  Range(size_t from, size_t how_many) : first(from), count(how_many) {}
  size_t size() const override { return count; }
  size_t first, count;
};
struct RangeSampler : data::samplers::Sampler<Range> {
  void reset(torch::optional<size_t> = torch::nullopt) override { at = 0; }
  torch::optional<Range> next(size_t batch_size) override {
    if (at >= 10) return torch::nullopt;
    const Range range(at, std::min<size_t>(batch_size, 10 - at));
    at += batch_size;
    return range;
  }
  void save(torch::serialize::OutputArchive&) const override {}
  void load(torch::serialize::InputArchive&) override {}
  size_t at = 0;
};
struct Ranges : data::datasets::BatchDataset<Ranges, std::vector<int>, Range> {
  std::vector<int> get_batch(Range request) override {
    std::vector<int> batch;
    for (size_t i = 0; i < request.count; ++i) batch.push_back(static_cast<int>(request.first + i));
    return batch;
  }
  torch::optional<size_t> size() const override { return torch::nullopt; }
};

// Batches that arrive one after the other, without indices.
struct Stream : data::datasets::StreamDataset<Stream, std::vector<int>> {
  std::vector<int> get_batch(size_t batch_size) override {
    std::vector<int> batch(batch_size);
    for (int& number : batch) number = next++;
    return batch;
  }
  torch::optional<size_t> size() const override { return 7; }
  int next = 0;
};

template <class Loader>
void print(Loader& loader) {
  for (const std::vector<int>& batch : loader) {
    for (const int number : batch) std::cout << number << " ";
    std::cout << "| ";
  }
  std::cout << "\n";
}

template <class Sampler>
void print_indices(Sampler& sampler, size_t batch_size) {
  while (auto batch = sampler.next(batch_size)) {
    for (const size_t index : *batch) std::cout << index << " ";
    std::cout << "| ";
  }
  std::cout << "\n";
}

void loaders() {
  auto own = data::make_data_loader(Squares(7), EvenFirst(7), data::DataLoaderOptions(3));
  print(*own);
  print(*own);
  auto workers = data::make_data_loader(Squares(9), EvenFirst(9), data::DataLoaderOptions(2).workers(2).drop_last(true).max_jobs(3));
  print(*workers);
  auto by_type = data::make_data_loader<EvenFirst>(Squares(5), 2);
  print(*by_type);
  auto ranges = data::make_data_loader(Ranges(), RangeSampler(), data::DataLoaderOptions(4));
  print(*ranges);
  auto stream = data::make_data_loader(Stream(), data::samplers::StreamSampler(7), data::DataLoaderOptions(3));
  print(*stream);
  std::cout << own->options().batch_size << " " << own->options().workers << " " << workers->options().drop_last << "\n";
  auto joined = own->begin();
  std::cout << joined->size() << " " << (joined == own->end()) << "\n";
  ++joined;
  std::cout << (*joined)[0] << "\n";
}

void distributed() {
  for (size_t rank = 0; rank < 2; ++rank) {
    data::samplers::DistributedSequentialSampler sequential(7, 2, rank);
    print_indices(sequential, 3);
    data::samplers::DistributedSequentialSampler exact(7, 2, rank, /*allow_duplicates=*/false);
    print_indices(exact, 3);
    data::samplers::DistributedRandomSampler random(8, 2, rank);
    random.set_epoch(3);
    random.reset();
    print_indices(random, 4);
    std::cout << random.epoch() << " " << random.index() << "\n";
  }
}

// A sampler's place in its epoch goes into an archive.
template <class Sampler>
void resumes(Sampler sampler, Sampler other) {
  sampler.next(3);
  std::stringstream stream;
  torch::save(sampler, stream);
  torch::load(other, stream);
  print_indices(other, 4);
}

int main() {
  std::cout << std::boolalpha;
  loaders();
  distributed();
  resumes(data::samplers::SequentialSampler(8), data::samplers::SequentialSampler(8));
  torch::manual_seed(1);
  resumes(data::samplers::RandomSampler(8), data::samplers::RandomSampler(8));
  resumes(EvenFirst(8), EvenFirst(8));
  resumes(data::samplers::DistributedSequentialSampler(8), data::samplers::DistributedSequentialSampler(8));
  data::samplers::StreamSampler stream(5);
  while (auto size = stream.next(2)) std::cout << size->size() << " ";
  std::cout << "\n";
}
