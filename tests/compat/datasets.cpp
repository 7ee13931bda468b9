// Datasets, transforms, samplers and loaders.
#include <torch/torch.h>

#include <iostream>
#include <stdexcept>

namespace data = torch::data;

// Number i as a 1x2x2 image, with i % 3 as its label.
class Counting : public data::datasets::Dataset<Counting> {
 public:
  explicit Counting(size_t size) : size_(size) {}
  data::Example<> get(size_t index) override {
    const auto value = static_cast<int64_t>(index);
    return {torch::full({1, 2, 2}, static_cast<double>(value)), torch::tensor(value % 3)};
  }
  torch::optional<size_t> size() const override { return size_; }

 private:
  size_t size_;
};

// A dataset of plain numbers.
struct Squares : data::datasets::Dataset<Squares, int> {
  int get(size_t index) override { return static_cast<int>(index * index); }
  torch::optional<size_t> size() const override { return 10; }
};

struct Failing : data::datasets::Dataset<Failing, int> {
  int get(size_t index) override {
    if (index == 3) throw std::invalid_argument("number 3 is missing");
    return 1;
  }
  torch::optional<size_t> size() const override { return 4; }
};

void plain_loader() {
  auto dataset = Counting(5).map(data::transforms::Normalize<>(1.0, 2.0)).map(data::transforms::Stack<>());
  auto loader = data::make_data_loader<data::samplers::SequentialSampler>(std::move(dataset), /*batch_size=*/2);
  for (auto& batch : *loader) std::cout << batch.data.sizes() << batch.data.sum().item<float>() << batch.target << "\n";
  for (data::Example<>& batch : *loader) std::cout << batch.target.size(0);
  std::cout << "\n";
}

void random_order() {
  torch::manual_seed(11);
  auto loader = data::make_data_loader(Squares(), data::DataLoaderOptions().batch_size(4));
  for (const std::vector<int>& batch : *loader) {
    for (const int number : batch) std::cout << number << " ";
    std::cout << "| ";
  }
  std::cout << "\n";
  data::samplers::RandomSampler sampler(6);
  while (auto batch = sampler.next(4)) {
    for (const size_t index : *batch) std::cout << index << " ";
  }
  std::cout << "\n";
}

void workers() {
  auto options = data::DataLoaderOptions().batch_size(3).workers(2).drop_last(true).enforce_ordering(true);
  auto loader = data::make_data_loader<data::samplers::SequentialSampler>(
      Counting(11).map(data::transforms::Lambda<data::Example<>>([](data::Example<> example) {
        example.data = example.data.flatten();
        return example;
      })).map(data::transforms::Stack<>()),
      options);
  for (auto& batch : *loader) std::cout << batch.data.select(1, 0) << "\n";
  auto failing = data::make_data_loader(Failing(), data::samplers::SequentialSampler(4), data::DataLoaderOptions(2).workers(1));
  try {
    for (auto& batch : *failing) std::cout << batch.size() << "\n";
  } catch (const data::WorkerException& error) {
    std::cout << "worker: " << error.what() << "\n";
  }
}

void transforms() {
  auto sums = Squares().map(data::transforms::BatchLambda<std::vector<int>, int>([](std::vector<int> batch) {
    int total = 0;
    for (const int number : batch) total += number;
    return total;
  }));
  auto loader = data::make_data_loader<data::samplers::SequentialSampler>(std::move(sums), 5);
  for (const int total : *loader) std::cout << total << " ";
  std::cout << "\n";
  auto tensors = data::datasets::TensorDataset(torch::arange(12).view({4, 3}));
  std::cout << tensors.get(2).data << "\n" << *tensors.size() << "\n";
  auto stacked = tensors.map(data::transforms::Stack<data::TensorExample>());
  std::cout << stacked.get_batch({0, 3}).data << "\n";
  auto shared = data::datasets::make_shared_dataset<Counting>(7);
  std::cout << *shared.size() << " " << shared->get(4).target.item<int>() << "\n";
}

int main() {
  plain_loader();
  random_order();
  workers();
  transforms();
}
