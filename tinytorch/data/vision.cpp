// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.

#include "tinytorch/data/vision.h"

#include <cmath>
#include <filesystem>

#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/data/csv.h"
#include "tinytorch/data/idx.h"
#include "tinytorch/data/mapped.h"

namespace tinytorch {

data::Split data::train_test_split(std::int64_t size, double test_fraction, std::uint64_t seed) {
  TORCH_CHECK_VALUE(size >= 0 && test_fraction >= 0 && test_fraction <= 1, "train_test_split needs a fraction from 0 to 1 of a size that is not negative, but got ",
                    test_fraction, " of ", size);
  const Tensor order = randperm(size, Generator(seed));
  const auto test = static_cast<std::int64_t>(std::ceil(static_cast<double>(size) * test_fraction));
  return {order.narrow(0, test, size - test), order.narrow(0, 0, test)};
}

namespace {

data::Example<> image_example(const data::datasets::ImageDataset& dataset, std::size_t index) {
  const auto i = static_cast<std::int64_t>(index);
  return {dataset.images()[i], dataset.targets()[i]};
}

// Throws unless every target is one of `classes` classes.
void check_classes(const Tensor& targets, std::int64_t classes, const std::string& path) {
  const std::int64_t* const first = targets.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < targets.numel(); ++i)
    TORCH_CHECK(first[i] >= 0 && first[i] < classes, path, ": the class of example ", i, " is ", first[i], ", not one of 0 to ", classes - 1);
}

}  // namespace

data::Example<> data::datasets::Digits::get(std::size_t index) { return image_example(*this, index); }
data::Example<> data::datasets::MNIST::get(std::size_t index) { return image_example(*this, index); }

data::datasets::Digits::Digits(Mode mode, const std::string& path) : mode_(mode) {
  const std::string file = path.empty() ? find_data("digits/optdigits.csv") : path;
  const Tensor table = read_csv(file).values;
  TORCH_CHECK(table.size(1) == 65, file, ": 65 values a line are expected (64 pixels and the class), but there are ", table.size(1));
  const Tensor targets = table.select(1, 64).to(kLong);
  check_classes(targets, 10, file);

  const Split split = train_test_split(table.size(0));
  const Tensor& chosen = mode == Mode::kTrain ? split.train : split.test;
  images_ = index_select(table.narrow(1, 0, 64), 0, chosen).to(kFloat).div(16).view({-1, 1, 8, 8});
  targets_ = index_select(targets, 0, chosen);
}

namespace {

// The IDX file of this name, plain or compressed, which must have the magic number `magic`: type Byte in the third byte, dimensions in the last.
Tensor read_mnist_file(const std::string& root, const std::string& name, const char* kind, std::uint32_t magic) {
  std::string path = (std::filesystem::path(root) / name).string();
  if (!std::filesystem::exists(path)) path += ".gz";
  TORCH_CHECK(std::filesystem::exists(path), "Error opening ", kind, " file at ", (std::filesystem::path(root) / name).string(),
              "\n[MNIST] neither this file nor ", name, ".gz is there");
  const Tensor values = data::read_idx(path);
  TORCH_CHECK(values.scalar_type() == kByte && values.dim() == static_cast<std::int64_t>(magic & 0xff), "Expected to read number ", magic, " but found another instead\n[MNIST] ",
              path, " holds ", values.dim(), " dimensions of ", values.scalar_type(), "; is it the ", kind, " file?");
  return values;
}

}  // namespace

data::datasets::MNIST::MNIST(const std::string& root, Mode mode) : mode_(mode) {
  constexpr std::uint32_t image_magic = 2051;
  constexpr std::uint32_t target_magic = 2049;
  const std::string prefix = mode == Mode::kTrain ? "train" : "t10k";
  const Tensor images = read_mnist_file(root, prefix + "-images-idx3-ubyte", "images", image_magic);
  const Tensor targets = read_mnist_file(root, prefix + "-labels-idx1-ubyte", "targets", target_magic);
  TORCH_CHECK(images.size(1) == 28 && images.size(2) == 28, "Expected images of 28 x 28 pixels but found ", images.size(1), " x ", images.size(2), " in ", root);
  TORCH_CHECK(images.size(0) == targets.size(0), "Expected as many images as targets but found ", images.size(0), " images and ", targets.size(0), " targets in ", root);
  images_ = images.to(kFloat).div_(255).unsqueeze(1);
  targets_ = targets.to(kLong);
  check_classes(targets_, 10, root);
}

data::datasets::CIFAR10::CIFAR10(const std::string& root, Mode mode) : mode_(mode) {
  constexpr std::int64_t record_bytes = 1 + 3 * 32 * 32;
  const std::filesystem::path below = std::filesystem::path(root) / "cifar-10-batches-bin";
  const std::filesystem::path folder = std::filesystem::exists(below) ? below : std::filesystem::path(root);
  std::vector<std::string> names{"test_batch.bin"};
  if (mode == Mode::kTrain) names = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"};
  std::vector<Tensor> targets;
  std::int64_t examples = 0;
  for (const std::string& name : names) {
    const std::string path = (folder / name).string();
    TORCH_CHECK(std::filesystem::exists(path), "Error opening images file at ", path, "\n[CIFAR10] ./tito data get cifar10 fetches the files");
    const auto bytes = static_cast<std::int64_t>(std::filesystem::file_size(path));
    TORCH_CHECK(bytes > 0 && bytes % record_bytes == 0, path, ": the file is cut off, or it is not CIFAR-10's binary version: ", bytes, " bytes are no multiple of ", record_bytes,
                "\n[CIFAR10] fetch it again");
    const Tensor records = map_file(path, {bytes / record_bytes, record_bytes});
    targets.push_back(records.select(1, 0).to(kLong));
    check_classes(targets.back(), 10, path);
    records_.push_back(records);
    first_of_.push_back(examples);
    examples += records.size(0);
  }
  targets_ = cat(targets);
}

data::Example<> data::datasets::CIFAR10::get(std::size_t index) {
  const auto i = static_cast<std::int64_t>(index);
  TORCH_CHECK_INDEX(index < *size(), "index ", index, " is out of range for a dataset of ", *size(), " examples");
  std::size_t file = 0;
  while (file + 1 < records_.size() && i >= first_of_[file + 1]) ++file;
  const Tensor pixels = records_[file][i - first_of_[file]].narrow(0, 1, 3 * 32 * 32);
  return {pixels.to(kFloat).div_(255).view({3, 32, 32}), targets_[i]};
}

}  // namespace tinytorch
