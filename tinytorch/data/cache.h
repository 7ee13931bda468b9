// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "tinytorch/data/datasets.h"

namespace tinytorch {

namespace data::datasets {

// `source` with every example kept that was made. Copies share what is kept, so that workers profit from each other; get() may be called from several threads at once, and makes an example twice
// if two ask for it for the first time at the same moment. REQUIRES: the source's size is known; nobody writes into the tensors of an example.
template <class Source>
class CachedDataset : public Dataset<CachedDataset<Source>, typename Source::ExampleType> {
 public:
  using ExampleType = typename Source::ExampleType;

  explicit CachedDataset(Source source) : source_(std::move(source)), kept_(std::make_shared<Kept>()) {
    TORCH_CHECK(source_.size().has_value(), "CachedDataset needs a dataset of known size");
    kept_->examples.resize(*source_.size());
  }

  ExampleType get(std::size_t index) override {
    TORCH_CHECK_INDEX(index < kept_->examples.size(), "index ", index, " is out of range for a dataset of ", kept_->examples.size(), " examples");
    std::optional<ExampleType>& place = kept_->examples[index];
    {
      const std::lock_guard lock(kept_->mutex);
      if (place) return *place;
    }
    // Made without the lock: the other workers go on meanwhile.
    ExampleType example = source_.get(index);
    const std::lock_guard lock(kept_->mutex);
    if (!place) {
      place = std::move(example);
      ++kept_->count;
    }
    return *place;
  }

  std::optional<std::size_t> size() const override { return source_.size(); }
  // How many examples are kept by now.
  std::size_t cached() const {
    const std::lock_guard lock(kept_->mutex);
    return kept_->count;
  }

 private:
  struct Kept {
    std::mutex mutex;
    std::vector<std::optional<ExampleType>> examples;
    std::size_t count = 0;
  };
  Source source_;
  std::shared_ptr<Kept> kept_;
};

}  // namespace data::datasets

}  // namespace tinytorch
