// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "tinytorch/core/array_ref.h"
#include "tinytorch/data/example.h"

namespace tinytorch {

namespace data::datasets {

namespace detail {
template <class T>
inline constexpr bool is_optional = false;
template <class T>
inline constexpr bool is_optional<std::optional<T>> = true;
}  // namespace detail

template <class SourceDataset, class AppliedTransform>
class MapDataset;
template <class DatasetType, class TransformType>
MapDataset<DatasetType, TransformType> map(DatasetType dataset, TransformType transform);

// Anything that gives a batch for a request: a list of indices, or for streams a number of examples.
// A loader copies the dataset into each worker, so a copy should share its data (Tensors do).
// Source: torch/data/datasets/base.h.
template <class Self, class Batch = std::vector<Example<>>, class BatchRequest = ArrayRef<std::size_t>>
class BatchDataset {
 public:
  using SelfType = Self;
  using BatchType = Batch;
  using BatchRequestType = BatchRequest;
  // A stateful dataset decides itself when an epoch ends: it gives no batch then.
  static constexpr bool is_stateful = detail::is_optional<Batch>;

  virtual ~BatchDataset() = default;

  virtual Batch get_batch(BatchRequest request) = 0;
  // The number of examples, if it is known.
  virtual std::optional<std::size_t> size() const = 0;

  // This dataset with `transform` applied to each of its batches.
  template <class TransformType>
  MapDataset<Self, TransformType> map(TransformType transform) & {
    return datasets::map(static_cast<Self&>(*this), std::move(transform));
  }
  template <class TransformType>
  MapDataset<Self, TransformType> map(TransformType transform) && {
    return datasets::map(std::move(static_cast<Self&>(*this)), std::move(transform));
  }
};

// A dataset that gives its examples one by one. Derive from it and write get() and size().
template <class Self, class SingleExample = Example<>>
class Dataset : public BatchDataset<Self, std::vector<SingleExample>> {
 public:
  using ExampleType = SingleExample;

  // Example number `index`. REQUIRES: index < size().
  virtual ExampleType get(std::size_t index) = 0;
  std::vector<ExampleType> get_batch(ArrayRef<std::size_t> indices) override;
};

// A dataset without indices: the request is a number of examples.
template <class Self, class Batch = std::vector<Example<>>>
using StreamDataset = BatchDataset<Self, Batch, std::size_t>;

}  // namespace data::datasets

namespace data {
using datasets::BatchDataset;
using datasets::Dataset;
}  // namespace data

// The examples with these indices, in their order. O(indices.size()) calls of get(); room for all is taken once.
template <class Self, class SingleExample>
std::vector<SingleExample> data::datasets::Dataset<Self, SingleExample>::get_batch(ArrayRef<std::size_t> indices) {
  std::vector<SingleExample> batch;
  batch.reserve(indices.size());
  for (const std::size_t index : indices) batch.push_back(get(index));
  return batch;
}

namespace data::datasets {

namespace detail {
template <bool condition, class T>
using optional_if = std::conditional_t<condition, std::optional<T>, T>;
template <class T>
using without_optional = typename std::conditional_t<is_optional<T>, T, std::optional<T>>::value_type;
}  // namespace detail

// A dataset and what is done to each of its batches. Source: torch/data/datasets/map.h.
template <class SourceDataset, class AppliedTransform>
class MapDataset
    : public BatchDataset<MapDataset<SourceDataset, AppliedTransform>,
                          detail::optional_if<SourceDataset::is_stateful, typename AppliedTransform::OutputBatchType>,
                          typename SourceDataset::BatchRequestType> {
 public:
  using DatasetType = SourceDataset;
  using TransformType = AppliedTransform;
  using BatchRequestType = typename SourceDataset::BatchRequestType;
  using OutputBatchType = detail::optional_if<SourceDataset::is_stateful, typename AppliedTransform::OutputBatchType>;

  MapDataset(SourceDataset source, AppliedTransform applied) : dataset_(std::move(source)), transform_(std::move(applied)) {}

  OutputBatchType get_batch(BatchRequestType request) override {
    if constexpr (SourceDataset::is_stateful) {
      auto batch = dataset_.get_batch(std::move(request));
      if (!batch) return std::nullopt;
      return transform_.apply_batch(std::move(*batch));
    } else {
      return transform_.apply_batch(dataset_.get_batch(std::move(request)));
    }
  }
  std::optional<std::size_t> size() const noexcept override { return dataset_.size(); }
  // For stateful datasets: begins the next epoch.
  void reset() { dataset_.reset(); }

  const SourceDataset& dataset() noexcept { return dataset_; }
  const AppliedTransform& transform() noexcept { return transform_; }

 private:
  SourceDataset dataset_;
  AppliedTransform transform_;
};

// The free form of dataset.map(transform).
template <class DatasetType, class TransformType>
MapDataset<DatasetType, TransformType> map(DatasetType dataset, TransformType transform) {
  static_assert(std::is_same_v<detail::without_optional<typename DatasetType::BatchType>, typename TransformType::InputBatchType>,
                "BatchType type of dataset does not match input type of transform");
  return {std::move(dataset), std::move(transform)};
}

}  // namespace data::datasets

namespace data::datasets {

// The rows of one tensor, without targets. Source: torch/data/datasets/tensor.h.
struct TensorDataset : public Dataset<TensorDataset, TensorExample> {
  explicit TensorDataset(const std::vector<Tensor>& tensors);  // stacked
  explicit TensorDataset(Tensor rows);
  TensorExample get(std::size_t index) override { return tensor[static_cast<std::int64_t>(index)]; }
  std::optional<std::size_t> size() const override { return static_cast<std::size_t>(tensor.size(0)); }

  Tensor tensor;
};

// Rows of `data` (N, ...) with rows of `targets` (N, ...), handed out as whole batches: nothing is stacked, because each batch is
// gathered straight from the large tensors.
class TensorBatchDataset : public BatchDataset<TensorBatchDataset, Example<>> {
 public:
  // Keeps a contiguous copy of a tensor whose rows do not lie one behind the other. Throws if the first sizes differ or one of the
  // tensors has no dimension.
  TensorBatchDataset(Tensor data, Tensor targets);
  Example<> get_batch(ArrayRef<std::size_t> indices) override;
  std::optional<std::size_t> size() const override { return static_cast<std::size_t>(data_.size(0)); }

 private:
  Tensor data_, targets_;
};

}  // namespace data::datasets

}  // namespace tinytorch
