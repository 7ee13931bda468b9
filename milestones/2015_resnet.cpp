// 2015: a deep convolutional network with shortcuts learns to see, from photographs' format, with augmentation.
//
// A. Krizhevsky, I. Sutskever and G. Hinton (2012), ImageNet Classification with Deep Convolutional Neural Networks; K. He, X. Zhang, S. Ren and J. Sun (2015), Deep Residual Learning for Image Recognition.
//
//   2015_resnet            ten shapes in all colours: each row of data/shapes.csv is drawn into files of CIFAR-10's format
//   2015_resnet cifar10    CIFAR-10's photographs below TINYTORCH_DATA/cifar-10-batches-bin: a part of them, 5,000 to learn from and 1,000 to judge by
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>
#include <vector>

#include "tinytorch/tinytorch.h"

namespace {

using namespace tinytorch;
using data::datasets::CIFAR10;

constexpr int kPixels = 32;
constexpr std::int64_t kHeldOutEvery = 5;  // the rows 0, 5, 10, ... of the file
constexpr std::size_t kBatch = 16;

// A folder that is gone at the end.
class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / ("2015_resnet-" + std::to_string(::getpid()))) { std::filesystem::create_directories(path_); }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Whether the shape covers the place (u, v), measured from its centre in radii.
bool covers(std::int64_t shape, double u, double v) {
  const double far = std::hypot(u, v), wide = std::max(std::abs(u), std::abs(v));
  const auto odd = [](double x) { return static_cast<std::int64_t>(std::floor(x)) % 2 != 0; };
  switch (shape) {
    case 0: return far <= 1;                                                       // disc
    case 1: return far <= 1 && far >= 0.6;                                         // ring
    case 2: return wide <= 0.85;                                                   // square
    case 3: return wide <= 0.85 && wide >= 0.5;                                    // frame
    case 4: return std::abs(v) <= 0.9 && std::abs(u) <= (v + 0.9) / 1.8;           // triangle
    case 5: return wide <= 1 && std::min(std::abs(u), std::abs(v)) <= 0.3;         // plus
    case 6: return wide <= 0.9 && std::abs(std::abs(u) - std::abs(v)) <= 0.35;     // cross
    case 7: return wide <= 1 && odd((v + 1) * 2.5);                                // bars
    case 8: return wide <= 1 && odd((u + 1) * 2.5);                                // columns
    default: return wide <= 1 && odd((u + 1) * 2) != odd((v + 1) * 2);             // chequers
  }
}

// One record of CIFAR-10: the class, then 1,024 bytes for each of three colours. `row` is x, y, radius, the shape's colour, the ground's colour, noise, class.
void write_record(std::ofstream& out, const std::int64_t* row) {
  Generator noise(static_cast<std::uint64_t>(row[9]));
  out.put(static_cast<char>(row[10]));
  for (int colour = 0; colour < 3; ++colour)
    for (int y = 0; y < kPixels; ++y)
      for (int x = 0; x < kPixels; ++x) {
        const bool inside = covers(row[10], static_cast<double>(x - row[0]) / static_cast<double>(row[2]), static_cast<double>(y - row[1]) / static_cast<double>(row[2]));
        const std::int64_t value = row[inside ? 3 + colour : 6 + colour] + static_cast<std::int64_t>(noise.random() % 49) - 24;
        out.put(static_cast<char>(std::clamp<std::int64_t>(value, 0, 255)));
      }
}

// The files that CIFAR-10 consists of, from the rows of shapes.csv: five to learn from, one to judge by.
void draw(const Tensor& rows, const std::filesystem::path& folder) {
  std::vector<std::ofstream> files;
  for (int file = 1; file <= 5; ++file) files.emplace_back(folder / ("data_batch_" + std::to_string(file) + ".bin"), std::ios::binary);
  files.emplace_back(folder / "test_batch.bin", std::ios::binary);
  for (std::int64_t i = 0; i < rows.size(0); ++i) {
    const auto file = static_cast<std::size_t>(i % kHeldOutEvery == 0 ? 5 : i * 5 / rows.size(0));
    write_record(files[file], rows.data_ptr<std::int64_t>() + i * rows.size(1));
  }
}

// The first `count` examples of a dataset.
class First : public data::datasets::Dataset<First> {
 public:
  First(CIFAR10 source, std::size_t count) : source_(std::move(source)), count_(std::min(count, *source_.size())) {}
  data::Example<> get(std::size_t index) override { return source_.get(index); }
  std::optional<std::size_t> size() const override { return count_; }

 private:
  CIFAR10 source_;
  std::size_t count_;
};

void train(models::ResNet& net, const First& images, int epochs, double rate) {
  using namespace data;
  datasets::AugmentedDataset<First> augmented(images, {augment::random_crop(kPixels, 4), augment::random_horizontal_flip()}, 2015);
  auto loader = make_data_loader<samplers::RandomSampler>(augmented.map(transforms::Stack<>()), DataLoaderOptions(kBatch).workers(1));
  optim::SGD optimizer(net->parameters(), optim::SGDOptions(rate).momentum(0.9).weight_decay(1e-4));
  for (int epoch = 1; epoch <= epochs; ++epoch) {
    if (epoch == epochs - epochs / 4) static_cast<optim::SGDOptions&>(optimizer.param_groups()[0].options()).lr(rate / 10);
    augmented.set_epoch(static_cast<std::uint64_t>(epoch));
    double sum = 0;
    int batches = 0;
    for (auto& batch : *loader) {
      optimizer.zero_grad();
      const Tensor loss = cross_entropy_loss(net->forward(batch.data), batch.target);
      loss.backward();
      optimizer.step();
      sum += loss.item<double>();
      ++batches;
    }
    std::printf("epoch %2d: loss %.4f\n", epoch, sum / batches);
    std::fflush(stdout);
  }
}

std::vector<std::int64_t> guesses_of(models::ResNet& net, First& images) {
  const NoGradGuard no_grad;
  net->eval();
  std::vector<std::int64_t> guesses;
  for (std::size_t i = 0; i < *images.size(); ++i) guesses.push_back(net->forward(images.get(i).data.unsqueeze(0)).argmax(1).item<std::int64_t>());
  return guesses;
}

void learn_shapes() {
  const Folder folder;
  draw(data::read_csv(find_data("shapes.csv")).values.to(kLong).contiguous(), folder.path());
  First learning(CIFAR10(folder.path().string()), 50'000);
  First held_out(CIFAR10(folder.path().string(), CIFAR10::Mode::kTest), 10'000);
  models::ResNet net(1, 10, 6);
  train(net, learning, 15, 0.05);
  const std::vector<std::int64_t> guesses = guesses_of(net, held_out);
  for (std::size_t i = 0; i < guesses.size(); ++i) std::printf("guess held-out %zu %lld\n", i * static_cast<std::size_t>(kHeldOutEvery), static_cast<long long>(guesses[i]));
}

void learn_photographs() {
  const std::string folder = find_data("cifar-10-batches-bin");
  First learning(CIFAR10(folder), 5'000);
  First held_out(CIFAR10(folder, CIFAR10::Mode::kTest), 1'000);
  models::ResNet net(1, 10, 16);
  train(net, learning, 12, 0.05);
  std::int64_t right = 0;
  const std::vector<std::int64_t> guesses = guesses_of(net, held_out);
  for (std::size_t i = 0; i < guesses.size(); ++i) right += guesses[i] == held_out.get(i).target.item<std::int64_t>();
  std::printf("%.1f %% of %zu photographs that it has not seen\n", 100.0 * static_cast<double>(right) / static_cast<double>(guesses.size()), guesses.size());
}

}  // namespace

int main(int argc, char** argv) {
  manual_seed(2015);
  if (argc > 1 && std::string(argv[1]) == "cifar10") learn_photographs();
  else learn_shapes();
  return 0;
}
