// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tinytorch/data/datasets.h"

namespace tinytorch {

namespace data {

// Indices of the examples to learn from and of those to judge by: Long, disjoint, together all of 0 ... size - 1.
struct Split {
  Tensor train;
  Tensor test;
};

// A random split that is the same for the same arguments, always. The test part has ceil(size x test_fraction) examples.
// REQUIRES: 0 <= test_fraction <= 1.
Split train_test_split(std::int64_t size, double test_fraction = 0.2, std::uint64_t seed = 0);

}  // namespace data

namespace data::datasets {

// Images (N, 1, H, W) with values in [0, 1], and one class (Long) for each.
class ImageDataset {
 public:
  const Tensor& images() const { return images_; }
  const Tensor& targets() const { return targets_; }

 protected:
  Tensor images_, targets_;
};

// The 8 x 8 handwritten digits of data/digits, a fixed fifth of them for testing.
class Digits : public Dataset<Digits>, public ImageDataset {
 public:
  enum class Mode { kTrain, kTest };
  // `path` names the table (64 pixels from 0 to 16, then the class); without it, find_data() looks for it.
  explicit Digits(Mode mode = Mode::kTrain, const std::string& path = "");
  Example<> get(std::size_t index) override;
  std::optional<std::size_t> size() const override { return static_cast<std::size_t>(images_.size(0)); }
  bool is_train() const noexcept { return mode_ == Mode::kTrain; }

 private:
  Mode mode_;
};

// LeCun, Cortes and Burges's 28 x 28 digits: 60,000 to learn from, 10,000 to test. `root` is the folder of the IDX files under their original
// names, plain or .gz. Source: torch/csrc/api/src/data/datasets/mnist.cpp.
class MNIST : public Dataset<MNIST>, public ImageDataset {
 public:
  enum class Mode { kTrain, kTest };
  explicit MNIST(const std::string& root, Mode mode = Mode::kTrain);
  Example<> get(std::size_t index) override;
  std::optional<std::size_t> size() const override { return static_cast<std::size_t>(images_.size(0)); }
  bool is_train() const noexcept { return mode_ == Mode::kTrain; }

 private:
  Mode mode_;
};

}  // namespace data::datasets

namespace data::datasets {

// Krizhevsky's 32 x 32 photographs in 10 classes: 50,000 to learn from, 10,000 to test. `root` is the folder of data_batch_1.bin ... test_batch.bin, or the one above it. An example's data is
// (3, 32, 32), Float, from 0 to 1. The files are mapped: they must stay as they are while the dataset lives.
class CIFAR10 : public Dataset<CIFAR10> {
 public:
  enum class Mode { kTrain, kTest };
  explicit CIFAR10(const std::string& root, Mode mode = Mode::kTrain);
  Example<> get(std::size_t index) override;
  std::optional<std::size_t> size() const override { return static_cast<std::size_t>(targets_.size(0)); }
  bool is_train() const noexcept { return mode_ == Mode::kTrain; }
  const Tensor& targets() const { return targets_; }

 private:
  Mode mode_;
  std::vector<Tensor> records_;           // for each file (N, 3073), Byte
  std::vector<std::int64_t> first_of_;    // the number of its first example
  Tensor targets_;                        // Long
};

}  // namespace data::datasets

}  // namespace tinytorch
