// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.
#pragma once

#include <tuple>

#include "tinytorch/core/tensor_extensions.h"
#include "tinytorch/core/tensor_impl.h"
#include "tinytorch/core/tensor_options.h"

namespace tinytorch {

// A handle on a TensorImpl. Copying a Tensor copies the handle, not the data; `const` does not protect the data.
// Methods call the function of the same name, where shapes, dtypes and errors are documented (ops.h).
// Source: aten/src/ATen/core/TensorBase.h.
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
  const intrusive_ptr<TensorImpl>& getIntrusivePtr() const { return impl_; }
  std::int64_t dim() const { return static_cast<std::int64_t>(impl().sizes.size()); }
  std::int64_t ndimension() const { return dim(); }
  IntArrayRef sizes() const { return impl().sizes; }
  IntArrayRef strides() const { return impl().strides; }
  std::int64_t size(std::int64_t dim) const;
  std::int64_t stride(std::int64_t dim) const;
  std::int64_t numel() const { return impl().numel; }
  std::int64_t storage_offset() const { return impl().offset; }
  const Storage& storage() const { return impl().storage; }
  ScalarType scalar_type() const { return impl().dtype; }
  ScalarType dtype() const { return impl().dtype; }
  std::size_t element_size() const { return elementSize(scalar_type()); }
  std::size_t nbytes() const { return static_cast<std::size_t>(numel()) * element_size(); }
  bool is_contiguous() const { return impl().contiguous; }
  bool is_floating_point() const { return isFloatingType(scalar_type()); }
  TensorOptions options() const { return TensorOptions(scalar_type()); }
  bool is_alias_of(const Tensor& other) const { return storage().get() == other.storage().get(); }

  // Access. data_ptr<T>() checks the dtype; data<T>() is its unchecked twin for kernels.
  void* data_ptr() const;
  template <class T>
  T* data_ptr() const;
  template <class T>
  T* data() const {
    return static_cast<T*>(impl().storage->data()) + impl().offset;
  }
  Scalar item() const;
  template <class T>
  T item() const {
    return item().to<T>();
  }

  // Views: no data is copied.
  Tensor operator[](std::int64_t index) const;
  Tensor as_strided(IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset = std::nullopt) const;
  Tensor view(IntArrayRef size) const;
  Tensor view_as(const Tensor& other) const;
  Tensor reshape(IntArrayRef shape) const;
  Tensor flatten(std::int64_t start_dim = 0, std::int64_t end_dim = -1) const;
  Tensor squeeze() const;
  Tensor squeeze(std::int64_t dim) const;
  Tensor unsqueeze(std::int64_t dim) const;
  Tensor permute(IntArrayRef dims) const;
  Tensor transpose(std::int64_t dim0, std::int64_t dim1) const;
  Tensor t() const;
  Tensor expand(IntArrayRef size) const;
  Tensor expand_as(const Tensor& other) const;
  Tensor select(std::int64_t dim, std::int64_t index) const;
  Tensor slice(std::int64_t dim = 0, std::optional<std::int64_t> start = std::nullopt, std::optional<std::int64_t> end = std::nullopt,
               std::int64_t step = 1) const;
  Tensor narrow(std::int64_t dim, std::int64_t start, std::int64_t length) const;

  // Copies.
  Tensor contiguous() const;
  Tensor clone() const;
  Tensor to(ScalarType type) const;
  Tensor to(const TensorOptions& options) const;
  Tensor type_as(const Tensor& other) const { return to(other.scalar_type()); }
  Tensor& copy_(const Tensor& src) const;
  Tensor& fill_(const Scalar& value) const;
  Tensor& zero_() const;

  // Arithmetic.
  Tensor add(const Tensor& other, const Scalar& alpha = 1) const;
  Tensor add(const Scalar& other, const Scalar& alpha = 1) const;
  Tensor& add_(const Tensor& other, const Scalar& alpha = 1) const;
  Tensor& add_(const Scalar& other, const Scalar& alpha = 1) const;
  Tensor sub(const Tensor& other, const Scalar& alpha = 1) const;
  Tensor sub(const Scalar& other, const Scalar& alpha = 1) const;
  Tensor& sub_(const Tensor& other, const Scalar& alpha = 1) const;
  Tensor& sub_(const Scalar& other, const Scalar& alpha = 1) const;
  Tensor mul(const Tensor& other) const;
  Tensor mul(const Scalar& other) const;
  Tensor& mul_(const Tensor& other) const;
  Tensor& mul_(const Scalar& other) const;
  Tensor div(const Tensor& other) const;
  Tensor div(const Scalar& other) const;
  Tensor& div_(const Tensor& other) const;
  Tensor& div_(const Scalar& other) const;
  Tensor pow(const Scalar& exponent) const;
  Tensor neg() const;
  Tensor abs() const;
  Tensor sign() const;
  Tensor exp() const;
  Tensor log() const;
  Tensor sqrt() const;
  Tensor operator-() const { return neg(); }
  Tensor& operator+=(const Tensor& other) { return add_(other); }
  Tensor& operator+=(const Scalar& other) { return add_(other); }
  Tensor& operator-=(const Tensor& other) { return sub_(other); }
  Tensor& operator-=(const Scalar& other) { return sub_(other); }
  Tensor& operator*=(const Tensor& other) { return mul_(other); }
  Tensor& operator*=(const Scalar& other) { return mul_(other); }
  Tensor& operator/=(const Tensor& other) { return div_(other); }
  Tensor& operator/=(const Scalar& other) { return div_(other); }

  // Comparison, elementwise; equal() compares whole tensors.
  Tensor eq(const Tensor& other) const;
  Tensor eq(const Scalar& other) const;
  Tensor ne(const Tensor& other) const;
  Tensor ne(const Scalar& other) const;
  Tensor lt(const Tensor& other) const;
  Tensor lt(const Scalar& other) const;
  Tensor le(const Tensor& other) const;
  Tensor le(const Scalar& other) const;
  Tensor gt(const Tensor& other) const;
  Tensor gt(const Scalar& other) const;
  Tensor ge(const Tensor& other) const;
  Tensor ge(const Scalar& other) const;
  bool equal(const Tensor& other) const;
  bool allclose(const Tensor& other, double rtol = 1e-5, double atol = 1e-8, bool equal_nan = false) const;

  // Reductions.
  Tensor sum() const;
  Tensor sum(IntArrayRef dim, bool keepdim = false) const;
  Tensor mean() const;
  Tensor mean(IntArrayRef dim, bool keepdim = false) const;
  Tensor amax(IntArrayRef dim = {}, bool keepdim = false) const;
  Tensor max() const;
  std::tuple<Tensor, Tensor> max(std::int64_t dim, bool keepdim = false) const;
  Tensor argmax() const;
  Tensor argmax(std::int64_t dim, bool keepdim = false) const;

  // Linear algebra.
  Tensor mm(const Tensor& mat2) const;
  Tensor bmm(const Tensor& mat2) const;
  Tensor matmul(const Tensor& other) const;

 private:
  intrusive_ptr<TensorImpl> impl_;
};

using TensorList = ArrayRef<Tensor>;

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

template <class T>
T* Tensor::data_ptr() const {
  TORCH_CHECK(scalar_type() == scalar_type_of<T>(), "expected scalar type ", scalar_type_of<T>(), " but found ", scalar_type(),
              "\n[data_ptr] read it with data_ptr of its own type, or convert with to() first.");
  return data<T>();
}

// A number that stands for a tensor of that dimension or counted from the end: -1 is the last. Throws IndexError.
std::int64_t wrap_dim(std::int64_t dim, std::int64_t dims);
// A tensor on existing storage. The building block of creation and views; the caller checks the geometry.
Tensor make_tensor(Storage storage, ScalarType type, LayerSet layers, DimVector sizes, DimVector strides, std::int64_t offset);

}  // namespace tinytorch
