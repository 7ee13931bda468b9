// From the lesson modules/96_surface/surface_dev.cpp:
// edit the module, not this file.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "tinytorch/core/pointwise_ops.h"

namespace tinytorch {

// Nested braces of any depth as one value: what `tensor({{1, 2}, {3, 4}})` receives. All values must have one type, and the levels equal lengths.
// Source: torch/csrc/api/include/torch/detail/TensorDataContainer.h.
class TensorData {
 public:
  template <class T>
    requires(std::is_arithmetic_v<T> || ReducedFloat<T>)
  TensorData(T value) : type_(scalar_type_of<T>()), values_{Scalar(value)} {}
  TensorData(std::initializer_list<TensorData> rows);
  template <class T>
  TensorData(const std::vector<T>& values) : TensorData(values.data(), values.size()) {}
  template <class T, std::size_t N>
  TensorData(const std::array<T, N>& values) : TensorData(values.data(), N) {}
  template <class T>
  TensorData(ArrayRef<T> values) : TensorData(values.data(), values.size()) {}

  const DimVector& sizes() const { return sizes_; }
  ScalarType type() const { return type_; }  // of the values
  const std::vector<Scalar>& values() const { return values_; }

 private:
  template <class T>
  TensorData(const T* values, std::size_t count) : type_(scalar_type_of<T>()), values_(values, values + count) {
    sizes_.push_back(static_cast<std::int64_t>(count));
  }
  TensorData(const bool*, std::size_t) = delete;
  DimVector sizes_;
  ScalarType type_;
  std::vector<Scalar> values_;
};

std::ostream& operator<<(std::ostream& out, const TensorData& data);  // {{1, 2}, {3, 4}}

// Without a dtype in the options: Long of ints and int64s, the default dtype of floats and doubles, else the values' own.
Tensor tensor(const TensorData& data, const TensorOptions& options = {});
inline Tensor scalar_tensor(const Scalar& value, const TensorOptions& options = {}) { return full({}, value, options.dtype(options.dtype())); }

// A tensor over memory that someone else owns; `deleter` is called with its address when the last view is gone. `strides` are counted in elements, `storage_offset` too;
// without strides the memory is dense, the last dimension fastest. Throws for a negative size or stride. Source: aten/src/ATen/templates/Functions.h.
Tensor from_blob(void* data, IntArrayRef sizes, const TensorOptions& options = {});
Tensor from_blob(void* data, IntArrayRef sizes, std::function<void(void*)> deleter, const TensorOptions& options = {});
Tensor from_blob(void* data, IntArrayRef sizes, IntArrayRef strides, const TensorOptions& options = {});
Tensor from_blob(void* data, IntArrayRef sizes, IntArrayRef strides, std::function<void(void*)> deleter, const TensorOptions& options = {});
Tensor from_blob(void* data, IntArrayRef sizes, IntArrayRef strides, std::int64_t storage_offset, std::function<void(void*)> deleter, const TensorOptions& options = {});

}  // namespace tinytorch
