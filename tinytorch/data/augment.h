// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "tinytorch/core/generator.h"
#include "tinytorch/data/datasets.h"

namespace tinytorch {

namespace data::augment {

// Changes an image (C, H, W) with numbers from `generator`, and leaves the one that it was given as it is. Each throws ValueError for anything but three dimensions.
using Function = std::function<Tensor(const Tensor& image, Generator& generator)>;

// A window of size x size at a random place of the image with `padding` zeros around it. Throws ValueError if the window is larger.
Function random_crop(std::int64_t size, std::int64_t padding = 0);
// Mirrored left to right with probability p.
Function random_horizontal_flip(double p = 0.5);
// Turned around its centre by an angle from -degrees to degrees; between pixels bilinear, zero from outside. Float only.
Function random_rotation(double degrees);
// A square of size x size of zeros around a random pixel, cut off at the border (DeVries and Taylor, 2017).
Function cutout(std::int64_t size);

// One number from three, well mixed: neighbouring indices and epochs give unrelated streams.
std::uint64_t seed_of(std::uint64_t seed, std::uint64_t epoch, std::uint64_t index);

}  // namespace data::augment

namespace data::datasets {

// `source` with its examples' data changed by `steps`, one after the other, by a generator that depends on (seed, epoch, index) and nothing else.
template <class Source>
class AugmentedDataset : public Dataset<AugmentedDataset<Source>, typename Source::ExampleType> {
 public:
  using ExampleType = typename Source::ExampleType;

  AugmentedDataset(Source source, std::vector<augment::Function> steps, std::uint64_t seed = 0)
      : source_(std::move(source)), steps_(std::move(steps)), seed_(seed), epoch_(std::make_shared<std::atomic<std::uint64_t>>(0)) {}

  // For this dataset and all its copies, those in the workers too. Call it between epochs.
  void set_epoch(std::uint64_t epoch) { epoch_->store(epoch); }
  std::uint64_t epoch() const { return epoch_->load(); }

  ExampleType get(std::size_t index) override {
    Generator generator(augment::seed_of(seed_, epoch(), index));
    ExampleType example = source_.get(index);
    for (const augment::Function& step : steps_) example.data = step(example.data, generator);
    return example;
  }
  std::optional<std::size_t> size() const override { return source_.size(); }

 private:
  Source source_;
  std::vector<augment::Function> steps_;
  std::uint64_t seed_;
  std::shared_ptr<std::atomic<std::uint64_t>> epoch_;
};

}  // namespace data::datasets

}  // namespace tinytorch
