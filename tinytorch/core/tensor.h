// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.
#pragma once

#include <tuple>

#include "tinytorch/core/functions.h"
#include "tinytorch/core/memory_format.h"
#include "tinytorch/core/optional_array_ref.h"
#include "tinytorch/core/tensor_extensions.h"
#include "tinytorch/core/tensor_impl.h"

namespace tinytorch {

// A handle on a TensorImpl. Copying a Tensor copies the handle, not the data; `const` does not protect the data.
// Methods call the function of the same name, where shapes, dtypes and errors are documented (functions.h, and ops.h for those that
// later chapters add through TensorExtensions). Source: aten/src/ATen/core/TensorBase.h.
class Tensor : public TensorExtensions {
 public:
  Tensor() = default;
  explicit Tensor(intrusive_ptr<TensorImpl> impl) : impl_(std::move(impl)) {}
  Tensor(const Tensor&) = default;
  Tensor(Tensor&&) noexcept = default;
  ~Tensor() = default;

  // x = y makes x another handle on y's data; x[i] = y, an assignment to a temporary, writes into the data.
  Tensor& operator=(const Tensor& other) & = default;
  Tensor& operator=(Tensor&& other) & noexcept = default;
  Tensor& operator=(const Tensor& other) &&;
  Tensor& operator=(Tensor&& other) &&;
  Tensor& operator=(const Scalar& value) &&;

  // Anatomy.
  bool defined() const { return static_cast<bool>(impl_); }
  bool is_same(const Tensor& other) const { return impl_.get() == other.impl_.get(); }
  TensorImpl& impl() const {
    if (!defined()) fail_undefined_argument("Tensor");
    return *impl_;
  }
  TensorImpl* unsafeGetTensorImpl() const { return impl_.get(); }
  void reset() { impl_.reset(); }  // lets go: the handle is undefined
  std::size_t use_count() const { return defined() ? impl_->use_count() : 0; }
  const intrusive_ptr<TensorImpl>& getIntrusivePtr() const { return impl_; }
  std::int64_t dim() const { return static_cast<std::int64_t>(impl().sizes.size()); }
  IntArrayRef sizes() const { return impl().sizes; }
  IntArrayRef strides() const { return impl().strides; }
  std::int64_t size(std::int64_t dim) const;
  std::int64_t stride(std::int64_t dim) const;
  std::int64_t numel() const { return impl().numel; }
  std::int64_t storage_offset() const { return impl().offset; }
  const Storage& storage() const { return impl().storage; }
  ScalarType scalar_type() const { return impl().dtype; }
  TypeMeta dtype() const { return TypeMeta(impl().dtype); }
  std::size_t element_size() const { return elementSize(scalar_type()); }
  bool is_contiguous() const { return impl().contiguous; }
  bool is_contiguous(MemoryFormat memory_format) const;  // chapter 84, as the other members with a format
  bool is_floating_point() const { return isFloatingType(scalar_type()); }
  bool is_elsewhere() const { return impl().layers.has(Layer::Elsewhere); }  // on a device from outside, whose memory the host cannot read
  TensorOptions options() const;  // with dtype, device and layout named; chapter 84
  bool is_alias_of(const Tensor& other) const { return storage().get() == other.storage().get(); }

  // Access. data_ptr<T>() checks the dtype; data<T>() is its twin for kernels, which does not. Both throw where the bytes lie in a device's memory.
  Tensor data() const;  // the same data without a history; chapter 74
  void* data_ptr() const;
  template <class T>
  T* data_ptr() const;
  template <class T>
  [[gnu::always_inline]] T* data() const {
    const TensorImpl& self = impl();
    if (self.layers.has(Layer::Elsewhere)) [[unlikely]] fail_read_elsewhere(self);
    return static_cast<T*>(self.storage->data()) + self.offset;
  }
  Scalar item() const;
  template <class T>
  T item() const {
    return item().to<T>();
  }

  // Views: no data is copied.
  Tensor operator[](std::int64_t index) const { return tinytorch::select(*this, 0, index); }
  Tensor as_strided(IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset = std::nullopt) const { return tinytorch::as_strided(*this, size, stride, storage_offset); }
  Tensor view(IntArrayRef size) const { return tinytorch::view(*this, size); }
  Tensor view(ScalarType dtype) const;  // the same bytes read as another type; chapter 84
  Tensor reshape(IntArrayRef shape) const { return tinytorch::reshape(*this, shape); }
  Tensor expand(IntArrayRef size) const { return tinytorch::expand(*this, size); }
  Tensor select(std::int64_t dim, std::int64_t index) const { return tinytorch::select(*this, dim, index); }
  Tensor slice(std::int64_t dim = 0, std::optional<std::int64_t> start = std::nullopt, std::optional<std::int64_t> end = std::nullopt,
               std::int64_t step = 1) const {
    return tinytorch::slice(*this, dim, start, end, step);
  }

  // Copies.
  Tensor contiguous() const { return is_contiguous() ? *this : tinytorch::in_row_order(*this); }
  Tensor contiguous(MemoryFormat memory_format) const;
  Tensor clone() const { return tinytorch::clone(*this); }
  Tensor clone(std::optional<MemoryFormat> memory_format) const;
  Tensor& copy_(const Tensor& src, bool /*non_blocking*/ = false) const { return self_of(tinytorch::copy_(*this, src)); }
  Tensor& fill_(const Scalar& value) const { return self_of(tinytorch::fill_(*this, value)); }
  Tensor& fill_(const Tensor& value) const;  // by a 0-d tensor; chapter 60

  // Arithmetic.
  Tensor add(const Tensor& other, const Scalar& alpha = 1) const { return tinytorch::add(*this, other, alpha); }
  Tensor add(const Scalar& other, const Scalar& alpha = 1) const { return tinytorch::add(*this, wrapped_scalar(other), alpha); }
  Tensor& add_(const Tensor& other, const Scalar& alpha = 1) const { return self_of(tinytorch::add_(*this, other, alpha)); }
  Tensor& add_(const Scalar& other, const Scalar& alpha = 1) const { return add_(wrapped_scalar(other), alpha); }
  Tensor mul(const Tensor& other) const { return tinytorch::mul(*this, other); }
  Tensor mul(const Scalar& other) const { return tinytorch::mul(*this, wrapped_scalar(other)); }
  Tensor& mul_(const Tensor& other) const { return self_of(tinytorch::mul_(*this, other)); }
  Tensor& mul_(const Scalar& other) const { return mul_(wrapped_scalar(other)); }
  Tensor neg() const { return tinytorch::neg(*this); }
  Tensor exp() const { return tinytorch::exp(*this); }
  Tensor operator-() const { return neg(); }
  Tensor& operator+=(const Tensor& other) { return add_(other); }
  Tensor& operator+=(const Scalar& other) { return add_(other); }
  Tensor& operator*=(const Tensor& other) { return mul_(other); }
  Tensor& operator*=(const Scalar& other) { return mul_(other); }

  // Reductions.
  Tensor sum(std::optional<ScalarType> dtype = std::nullopt) const { return dtype ? to_dtype(to_dtype(*this, *dtype).sum(), *dtype) : tinytorch::sum(*this); }
  Tensor sum(IntArrayRef dim, bool keepdim = false, std::optional<ScalarType> dtype = std::nullopt) const {
    return dtype ? to_dtype(to_dtype(*this, *dtype).sum(dim, keepdim), *dtype) : tinytorch::sum(*this, dim, keepdim);
  }
  template <OptionalDims Dims>
  Tensor sum(const Dims& dim, bool keepdim = false, std::optional<ScalarType> dtype = std::nullopt) const {
    return sum(dims_or_all(dim), keepdim, dtype);
  }

  // Linear algebra.
  Tensor mm(const Tensor& mat2) const { return tinytorch::mm(*this, mat2); }

 private:
  // In-place functions return the tensor they were given; methods hand it out as libtorch does.
  static Tensor& self_of(const Tensor& tensor) { return const_cast<Tensor&>(tensor); }

  intrusive_ptr<TensorImpl> impl_;
};

using TensorList = ArrayRef<Tensor>;

// Chapter 84: what lies on a device, for the host; and a tensor of the host on a device.
Tensor to_host(const Tensor& self);
Tensor to_device(const Tensor& self, const Device& device);
void require_device(const char* function, const Device& device);  // throws if no tensor can live there

inline LayerSet layers_of(const Tensor& tensor) { return tensor.unsafeGetTensorImpl()->layers; }
inline bool is_undefined(const Tensor& tensor) { return !tensor.defined(); }
inline LayerSet layers_of(const std::optional<Tensor>& tensor) {
  return tensor && tensor->defined() ? layers_of(*tensor) : LayerSet();
}
inline bool is_undefined(const std::optional<Tensor>&) { return false; }
inline LayerSet layers_of(TensorList list) {
  LayerSet layers;
  for (const Tensor& tensor : list)
    if (tensor.defined()) layers = layers | layers_of(tensor);
  return layers;
}
inline bool is_undefined(TensorList list) {
  for (const Tensor& tensor : list)
    if (!tensor.defined()) return true;
  return false;
}
inline void note_tensors(RecordFunction& record, const Tensor& tensor) {
  if (tensor.defined()) record.add_tensor(*tensor.unsafeGetTensorImpl());
}
inline void note_tensors(RecordFunction& record, const std::optional<Tensor>& tensor) { note_tensors(record, tensor.value_or(Tensor())); }
inline void note_tensors(RecordFunction& record, TensorList list) {
  for (const Tensor& tensor : list) note_tensors(record, tensor);
}
template <class... T>
void note_tensors(RecordFunction& record, const std::tuple<T...>& tensors) {
  std::apply([&](const auto&... tensor) { (note_tensors(record, tensor), ...); }, tensors);
}

template <class T>
T* Tensor::data_ptr() const {
  TORCH_CHECK(scalar_type() == scalar_type_of<T>(), "expected scalar type ", scalar_type_of<T>(), " but found ", scalar_type(),
              "\n[data_ptr] read it with data_ptr of its own type, or convert with to() first.");
  return data<T>();
}

// A number that stands for a tensor of that dimension or counted from the end: -1 is the last. Throws IndexError.
std::int64_t wrap_dim(std::int64_t dim, std::int64_t dims);
// A tensor on existing storage. The building block of creation and views; the caller checks the geometry.
Tensor make_tensor(Storage storage, ScalarType type, LayerSet layers, IntArrayRef sizes, IntArrayRef strides, std::int64_t offset);

}  // namespace tinytorch
