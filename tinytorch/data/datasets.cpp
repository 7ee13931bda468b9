// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.

#include "tinytorch/data/datasets.h"

#include <algorithm>
#include <cstring>

#include "tinytorch/core/more_ops.h"

namespace tinytorch {

data::datasets::TensorDataset::TensorDataset(const std::vector<Tensor>& tensors) : tensor(stack(tensors)) {}
data::datasets::TensorDataset::TensorDataset(Tensor rows) : tensor(std::move(rows)) {}

data::datasets::TensorBatchDataset::TensorBatchDataset(Tensor data, Tensor targets) : data_(std::move(data)), targets_(std::move(targets)) {
  TORCH_CHECK(data_.dim() > 0 && targets_.dim() > 0, "Size mismatch between tensors\n[TensorBatchDataset] data ", data_.sizes(), " and targets ",
              targets_.sizes(), " must both have a first dimension, which counts the examples");
  TORCH_CHECK(data_.size(0) == targets_.size(0), "Size mismatch between tensors\n[TensorBatchDataset] data ", data_.sizes(), " has ", data_.size(0),
              " examples and targets ", targets_.sizes(), " have ", targets_.size(0));
  data_ = data_.contiguous();
  targets_ = targets_.contiguous();
}

// The batch with rows indices[0], indices[1], ... of data (B, ...) and targets (B, ...). It owns its memory: changing it leaves the
// dataset as it is. Beside the batch itself it allocates at most 8 bytes for each index, however large the dataset is.
// Throws IndexError for an index that is not below size(). An empty request gives tensors with first size 0.
data::Example<> data::datasets::TensorBatchDataset::get_batch(ArrayRef<std::size_t> indices) {
  const std::size_t count = *size();
  const auto gather_rows = [&](const Tensor& from) {
    DimVector sizes(from.sizes());
    sizes[0] = static_cast<std::int64_t>(indices.size());
    const Tensor rows = empty(sizes, from.options());
    const std::size_t row_bytes = from.nbytes() / std::max<std::size_t>(1, count);
    const char* const first = static_cast<const char*>(from.data_ptr());
    char* to = static_cast<char*>(rows.data_ptr());
    for (const std::size_t index : indices) {
      TORCH_CHECK_INDEX(index < count, "index ", index, " is out of bounds for dimension 0 with size ", count);
      if (row_bytes > 0) std::memcpy(to, first + index * row_bytes, row_bytes);
      to += row_bytes;
    }
    return rows;
  };
  return {gather_rows(data_), gather_rows(targets_)};
}

}  // namespace tinytorch
