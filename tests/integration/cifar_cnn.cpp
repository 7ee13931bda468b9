// A deep network on files in CIFAR-10's format: mapped, augmented in workers, batched, learned. The images are synthetic: one colour for each class, and noise.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "tinytorch/tinytorch.h"
#include "tito/lesson.h"
#include "tito/scratch.h"

namespace tinytorch::testing {
namespace {

namespace fs = std::filesystem;

// `count` records: the class, then 1,024 bytes for each of three colours. Class k has a strong first, second or third colour, and its upper or lower half is bright.
void write_records(const fs::path& file, int count, Generator& generator) {
  std::ofstream out(file, std::ios::binary);
  for (int i = 0; i < count; ++i) {
    const int target = i % 4;
    out.put(static_cast<char>(target));
    for (int colour = 0; colour < 3; ++colour)
      for (int pixel = 0; pixel < 1024; ++pixel) {
        const bool strong = colour == target % 2 && (pixel < 512) == (target < 2);
        out.put(static_cast<char>((strong ? 160 : 40) + generator.random() % 60));
      }
  }
}

double accuracy_of(models::ResNet& net, data::datasets::CIFAR10& images) {
  const NoGradGuard no_grad;
  net->eval();
  std::int64_t right = 0;
  const auto count = static_cast<std::int64_t>(*images.size());
  for (std::int64_t i = 0; i < count; ++i) {
    const data::Example<> example = images.get(static_cast<std::size_t>(i));
    right += net->forward(example.data.unsqueeze(0)).argmax(1).item<std::int64_t>() == example.target.item<std::int64_t>();
  }
  net->train();
  return static_cast<double>(right) / static_cast<double>(count);
}

}  // namespace

TEST_CASE("a residual network learns from files in CIFAR-10's format, with augmentation") {
  using data::datasets::CIFAR10;
  const tito::Scratch folder;
  Generator generator(7);
  for (int file = 1; file <= 5; ++file) write_records(std::filesystem::path(folder.path()) / ("data_batch_" + std::to_string(file) + ".bin"), 16, generator);
  write_records(std::filesystem::path(folder.path()) / "test_batch.bin", 20, generator);
  CIFAR10 train(folder.path());
  CIFAR10 test(folder.path(), CIFAR10::Mode::kTest);

  manual_seed(1);
  models::ResNet net(1, 10, 4);
  data::datasets::AugmentedDataset<CIFAR10> augmented(train, {data::augment::random_crop(32, 4), data::augment::random_horizontal_flip()}, 3);
  auto loader = data::make_data_loader<data::samplers::RandomSampler>(augmented.map(data::transforms::Stack<>()), data::DataLoaderOptions(16).workers(2));
  optim::SGD optimizer(net->parameters(), optim::SGDOptions(0.05).momentum(0.9));
  double first = 0, last = 0;
  for (std::uint64_t epoch = 0; epoch < 6; ++epoch) {
    augmented.set_epoch(epoch);
    last = 0;
    for (auto& batch : *loader) {
      optimizer.zero_grad();
      const Tensor loss = cross_entropy_loss(net->forward(batch.data), batch.target);
      loss.backward();
      optimizer.step();
      last += loss.item<double>();
    }
    if (epoch == 0) first = last;
  }
  CHECK_LT(last, first / 2);
  CHECK_GE(accuracy_of(net, test), 0.9);
}

}  // namespace tinytorch::testing
