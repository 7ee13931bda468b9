// From the lesson modules/96_surface/surface_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/tensor_data.h"

namespace tinytorch {

namespace {
// The values of dimension `dim` and those behind it; `value` is the next one.
void write_braces(std::ostream& out, const TensorData& data, std::size_t dim, const Scalar*& value) {
  if (dim == data.sizes().size()) {
    const Scalar& one = *value++;
    if (one.isFloatingPoint()) out << one.toDouble();
    else out << one.toLong();
    return;
  }
  out << '{';
  for (std::int64_t i = 0; i < data.sizes()[dim]; ++i) {
    if (i > 0) out << ", ";
    write_braces(out, data, dim + 1, value);
  }
  out << '}';
}

std::string with_blanks(IntArrayRef sizes) {
  std::string text;
  for (const std::int64_t size : sizes) text.append(text.empty() ? "" : " ").append(std::to_string(size));
  return text;
}
}  // namespace

std::ostream& operator<<(std::ostream& out, const TensorData& data) {
  const Scalar* first = data.values().data();
  write_braces(out, data, 0, first);
  return out;
}

TensorData::TensorData(std::initializer_list<TensorData> rows) : type_(get_default_dtype()) {
  sizes_.push_back(static_cast<std::int64_t>(rows.size()));
  if (rows.size() == 0) return;
  const TensorData& first = *rows.begin();
  type_ = first.type_;
  for (const std::int64_t size : first.sizes_) sizes_.push_back(size);
  for (const TensorData& row : rows) {
    TORCH_CHECK(IntArrayRef(row.sizes_) == IntArrayRef(first.sizes_), "Expected all sub-lists to have sizes: ", with_blanks(first.sizes_), " (e.g. ", first,
                "), but got sub-list ", row, " with sizes: ", with_blanks(row.sizes_));
    TORCH_CHECK(row.type_ == first.type_, "Expected all elements of the tensor to have the same scalar type: ", first.type_,
                ", but got element of scalar type: ", row.type_, "\n[tensor] write all values in one C++ type: 1.0 is a double, 1.0F and NAN are floats.");
    values_.insert(values_.end(), row.values_.begin(), row.values_.end());
  }
}

Tensor tensor(const TensorData& data, const TensorOptions& options) {
  const ScalarType type = data.type() == kInt ? kLong : data.type() == kFloat || data.type() == kDouble ? get_default_dtype() : data.type();
  Tensor result = empty(data.sizes(), options.dtype_opt().value_or(type));
  dispatch_stored_types(result.scalar_type(), [&]<class T>() {
    T* out = result.data<T>();
    for (const Scalar& value : data.values()) *out++ = value.to<T>();
  });
  return created(result, options);
}

Tensor from_blob(void* data, IntArrayRef sizes, IntArrayRef strides, std::int64_t storage_offset, std::function<void(void*)> deleter, const TensorOptions& options) {
  using Callback = std::function<void(void*)>;
  TORCH_CHECK(sizes.size() == strides.size(), "dimensionality of sizes (", sizes.size(), ") must match dimensionality of strides (", strides.size(), ")");
  std::int64_t elements = multiply_sizes(sizes) == 0 ? 0 : storage_offset + 1;
  for (std::size_t d = 0; d < sizes.size(); ++d) {
    TORCH_CHECK(strides[d] >= 0, "Storage size calculation overflowed with sizes=", sizes, " and strides=", strides, "\n[from_blob] a stride must not be negative.");
    if (elements > 0) elements += (sizes[d] - 1) * strides[d];
  }
  const std::size_t nbytes = static_cast<std::size_t>(elements) * elementSize(options.dtype());
  auto release = [](void* address, std::size_t, void* context) {
    const std::unique_ptr<Callback> callback(static_cast<Callback*>(context));
    if (*callback) (*callback)(address);
  };
  auto storage = make_intrusive<StorageImpl>(data, nbytes, release, new Callback(std::move(deleter)));
  const LayerSet layers = LayerSet(Layer::CPU) | birth_layers;
  return created(make_tensor(std::move(storage), options.dtype(), layers, sizes, strides, storage_offset), options);
}

Tensor from_blob(void* data, IntArrayRef sizes, IntArrayRef strides, std::function<void(void*)> deleter, const TensorOptions& options) {
  return from_blob(data, sizes, strides, 0, std::move(deleter), options);
}
Tensor from_blob(void* data, IntArrayRef sizes, IntArrayRef strides, const TensorOptions& options) { return from_blob(data, sizes, strides, 0, nullptr, options); }
Tensor from_blob(void* data, IntArrayRef sizes, std::function<void(void*)> deleter, const TensorOptions& options) {
  return from_blob(data, sizes, contiguous_strides(sizes), 0, std::move(deleter), options);
}
Tensor from_blob(void* data, IntArrayRef sizes, const TensorOptions& options) { return from_blob(data, sizes, contiguous_strides(sizes), 0, nullptr, options); }

}  // namespace tinytorch
