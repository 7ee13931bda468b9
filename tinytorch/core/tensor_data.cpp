// From the lesson modules/96_surface/surface_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/tensor_data.h"

namespace tinytorch {

TensorData::TensorData(std::initializer_list<TensorData> rows) : type_(get_default_dtype()) {
  sizes_.push_back(static_cast<std::int64_t>(rows.size()));
  if (rows.size() == 0) return;
  const TensorData& first = *rows.begin();
  type_ = first.type_;
  for (const std::int64_t size : first.sizes_) sizes_.push_back(size);
  for (const TensorData& row : rows) {
    TORCH_CHECK(IntArrayRef(row.sizes_) == IntArrayRef(first.sizes_), "Expected all sub-lists to have sizes: ", IntArrayRef(first.sizes_),
                " (e.g. the first one), but got a sub-list with sizes: ", IntArrayRef(row.sizes_));
    TORCH_CHECK(row.type_ == first.type_, "Expected all elements of the tensor to have the same scalar type: ", first.type_,
                ", but got element of scalar type: ", row.type_);
    values_.insert(values_.end(), row.values_.begin(), row.values_.end());
  }
}

Tensor tensor(const TensorData& data, const TensorOptions& options) {
  Tensor result = empty(data.sizes(), options.has_dtype() ? options.dtype() : data.type());
  dispatch_all_types(result.scalar_type(), [&]<class T>() {
    T* out = result.data<T>();
    for (const Scalar& value : data.values()) *out++ = value.to<T>();
  });
  return created(result, options);
}

Tensor from_blob(void* data, IntArrayRef sizes, std::function<void(void*)> deleter, const TensorOptions& options) {
  using Callback = std::function<void(void*)>;
  const std::size_t nbytes = static_cast<std::size_t>(multiply_sizes(sizes)) * elementSize(options.dtype());
  auto release = [](void* address, std::size_t, void* context) {
    const std::unique_ptr<Callback> callback(static_cast<Callback*>(context));
    if (*callback) (*callback)(address);
  };
  auto storage = make_intrusive<StorageImpl>(data, nbytes, release, new Callback(std::move(deleter)));
  const LayerSet layers = LayerSet(Layer::CPU) | birth_layers;
  return created(make_tensor(std::move(storage), options.dtype(), layers, sizes, contiguous_strides(sizes), 0), options);
}

Tensor from_blob(void* data, IntArrayRef sizes, const TensorOptions& options) { return from_blob(data, sizes, nullptr, options); }

}  // namespace tinytorch
