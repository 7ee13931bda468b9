// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/tensor.h"

#include "tinytorch/core/ops.h"

namespace tinytorch {

std::int64_t wrap_dim(std::int64_t dim, std::int64_t dims) {
  const std::int64_t range = dims == 0 ? 1 : dims;
  TORCH_CHECK_INDEX(dim >= -range && dim < range, "Dimension out of range (expected to be in range of [", -range, ", ", range - 1,
                    "], but got ", dim, ")");
  return dim < 0 ? dim + range : dim;
}

Tensor make_tensor(Storage storage, ScalarType type, LayerSet layers, DimVector sizes, DimVector strides, std::int64_t offset) {
  return Tensor(make_intrusive<TensorImpl>(std::move(storage), type, layers, std::move(sizes), std::move(strides), offset));
}

std::int64_t Tensor::size(std::int64_t dim) const {
  TORCH_CHECK_INDEX(this->dim() > 0, "Dimension specified as ", dim, " but tensor has no dimensions");
  return sizes()[static_cast<std::size_t>(wrap_dim(dim, this->dim()))];
}

std::int64_t Tensor::stride(std::int64_t dim) const {
  TORCH_CHECK_INDEX(this->dim() > 0, "Dimension specified as ", dim, " but tensor has no dimensions");
  return strides()[static_cast<std::size_t>(wrap_dim(dim, this->dim()))];
}

void* Tensor::data_ptr() const {
  char* const base = static_cast<char*>(storage()->data());
  return base == nullptr ? nullptr : base + static_cast<std::size_t>(storage_offset()) * element_size();
}

Scalar Tensor::item() const {
  TORCH_CHECK(numel() == 1, "a Tensor with ", numel(), " elements cannot be converted to Scalar\n[item] sizes ", sizes(),
              "; select one element first.");
  return dispatch_all_types(scalar_type(), [this]<class T>() { return Scalar(*data<T>()); });
}

Tensor& Tensor::operator=(const Tensor& other) && { return copy_(other); }
Tensor& Tensor::operator=(Tensor&& other) && { return copy_(other); }
Tensor& Tensor::operator=(const Scalar& value) && { return fill_(value); }

Tensor Tensor::operator[](std::int64_t index) const { return select(0, index); }
Tensor Tensor::as_strided(IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset) const {
  return tinytorch::as_strided(*this, size, stride, storage_offset);
}
Tensor Tensor::view(IntArrayRef size) const { return tinytorch::view(*this, size); }
Tensor Tensor::view_as(const Tensor& other) const { return tinytorch::view(*this, other.sizes()); }
Tensor Tensor::reshape(IntArrayRef shape) const { return tinytorch::reshape(*this, shape); }
Tensor Tensor::flatten(std::int64_t start_dim, std::int64_t end_dim) const { return tinytorch::flatten(*this, start_dim, end_dim); }
Tensor Tensor::squeeze() const { return tinytorch::squeeze(*this); }
Tensor Tensor::squeeze(std::int64_t dim) const { return tinytorch::squeeze(*this, dim); }
Tensor Tensor::unsqueeze(std::int64_t dim) const { return tinytorch::unsqueeze(*this, dim); }
Tensor Tensor::permute(IntArrayRef dims) const { return tinytorch::permute(*this, dims); }
Tensor Tensor::transpose(std::int64_t dim0, std::int64_t dim1) const { return tinytorch::transpose(*this, dim0, dim1); }
Tensor Tensor::t() const { return tinytorch::t(*this); }
Tensor Tensor::expand(IntArrayRef size) const { return tinytorch::expand(*this, size); }
Tensor Tensor::expand_as(const Tensor& other) const { return tinytorch::expand(*this, other.sizes()); }
Tensor Tensor::select(std::int64_t dim, std::int64_t index) const { return tinytorch::select(*this, dim, index); }
Tensor Tensor::slice(std::int64_t dim, std::optional<std::int64_t> start, std::optional<std::int64_t> end, std::int64_t step) const {
  return tinytorch::slice(*this, dim, start, end, step);
}
Tensor Tensor::narrow(std::int64_t dim, std::int64_t start, std::int64_t length) const { return tinytorch::narrow(*this, dim, start, length); }
Tensor Tensor::contiguous() const { return is_contiguous() ? *this : clone(); }
Tensor Tensor::clone() const { return tinytorch::clone(*this); }
Tensor Tensor::to(ScalarType type) const { return tinytorch::to_dtype(*this, type); }
Tensor Tensor::to(const TensorOptions& options) const { return options.has_dtype() ? to(options.dtype()) : *this; }

namespace {
// The in-place functions return the tensor they were given; methods hand that out as libtorch does.
Tensor& self_of(const Tensor& tensor) { return const_cast<Tensor&>(tensor); }
}  // namespace

Tensor& Tensor::copy_(const Tensor& src) const { return self_of(tinytorch::copy_(*this, src)); }
Tensor& Tensor::fill_(const Scalar& value) const { return self_of(tinytorch::fill_(*this, value)); }
Tensor& Tensor::zero_() const { return self_of(tinytorch::fill_(*this, 0)); }
Tensor Tensor::add(const Tensor& other, const Scalar& alpha) const { return tinytorch::add(*this, other, alpha); }
Tensor Tensor::add(const Scalar& other, const Scalar& alpha) const { return tinytorch::add(*this, wrapped_scalar(other), alpha); }
Tensor& Tensor::add_(const Tensor& other, const Scalar& alpha) const { return self_of(tinytorch::add_(*this, other, alpha)); }
Tensor& Tensor::add_(const Scalar& other, const Scalar& alpha) const { return add_(wrapped_scalar(other), alpha); }
Tensor Tensor::sub(const Tensor& other, const Scalar& alpha) const { return tinytorch::sub(*this, other, alpha); }
Tensor Tensor::sub(const Scalar& other, const Scalar& alpha) const { return tinytorch::sub(*this, wrapped_scalar(other), alpha); }
Tensor& Tensor::sub_(const Tensor& other, const Scalar& alpha) const { return self_of(tinytorch::sub_(*this, other, alpha)); }
Tensor& Tensor::sub_(const Scalar& other, const Scalar& alpha) const { return sub_(wrapped_scalar(other), alpha); }
Tensor Tensor::mul(const Tensor& other) const { return tinytorch::mul(*this, other); }
Tensor Tensor::mul(const Scalar& other) const { return tinytorch::mul(*this, wrapped_scalar(other)); }
Tensor& Tensor::mul_(const Tensor& other) const { return self_of(tinytorch::mul_(*this, other)); }
Tensor& Tensor::mul_(const Scalar& other) const { return mul_(wrapped_scalar(other)); }
Tensor Tensor::div(const Tensor& other) const { return tinytorch::div(*this, other); }
Tensor Tensor::div(const Scalar& other) const { return tinytorch::div(*this, wrapped_scalar(other)); }
Tensor& Tensor::div_(const Tensor& other) const { return self_of(tinytorch::div_(*this, other)); }
Tensor& Tensor::div_(const Scalar& other) const { return div_(wrapped_scalar(other)); }
Tensor Tensor::pow(const Scalar& exponent) const { return tinytorch::pow(*this, exponent); }
Tensor Tensor::neg() const { return tinytorch::neg(*this); }
Tensor Tensor::abs() const { return tinytorch::abs(*this); }
Tensor Tensor::sign() const { return tinytorch::sign(*this); }
Tensor Tensor::exp() const { return tinytorch::exp(*this); }
Tensor Tensor::log() const { return tinytorch::log(*this); }
Tensor Tensor::sqrt() const { return tinytorch::sqrt(*this); }

Tensor Tensor::eq(const Tensor& other) const { return tinytorch::eq(*this, other); }
Tensor Tensor::eq(const Scalar& other) const { return tinytorch::eq(*this, wrapped_scalar(other)); }
Tensor Tensor::ne(const Tensor& other) const { return tinytorch::ne(*this, other); }
Tensor Tensor::ne(const Scalar& other) const { return tinytorch::ne(*this, wrapped_scalar(other)); }
Tensor Tensor::lt(const Tensor& other) const { return tinytorch::lt(*this, other); }
Tensor Tensor::lt(const Scalar& other) const { return tinytorch::lt(*this, wrapped_scalar(other)); }
Tensor Tensor::le(const Tensor& other) const { return tinytorch::le(*this, other); }
Tensor Tensor::le(const Scalar& other) const { return tinytorch::le(*this, wrapped_scalar(other)); }
Tensor Tensor::gt(const Tensor& other) const { return tinytorch::gt(*this, other); }
Tensor Tensor::gt(const Scalar& other) const { return tinytorch::gt(*this, wrapped_scalar(other)); }
Tensor Tensor::ge(const Tensor& other) const { return tinytorch::ge(*this, other); }
Tensor Tensor::ge(const Scalar& other) const { return tinytorch::ge(*this, wrapped_scalar(other)); }
bool Tensor::equal(const Tensor& other) const { return tinytorch::equal(*this, other); }
bool Tensor::allclose(const Tensor& other, double rtol, double atol, bool equal_nan) const {
  return tinytorch::allclose(*this, other, rtol, atol, equal_nan);
}
Tensor Tensor::sum() const { return tinytorch::sum(*this); }
Tensor Tensor::sum(IntArrayRef dim, bool keepdim) const { return tinytorch::sum(*this, dim, keepdim); }
Tensor Tensor::mean() const { return tinytorch::mean(*this); }
Tensor Tensor::mean(IntArrayRef dim, bool keepdim) const { return tinytorch::mean(*this, dim, keepdim); }
Tensor Tensor::amax(IntArrayRef dim, bool keepdim) const { return tinytorch::amax(*this, dim, keepdim); }
Tensor Tensor::max() const { return tinytorch::max(*this); }
std::tuple<Tensor, Tensor> Tensor::max(std::int64_t dim, bool keepdim) const { return tinytorch::max(*this, dim, keepdim); }
Tensor Tensor::argmax() const { return tinytorch::argmax(*this); }
Tensor Tensor::argmax(std::int64_t dim, bool keepdim) const { return tinytorch::argmax(*this, dim, keepdim); }
Tensor Tensor::mm(const Tensor& mat2) const { return tinytorch::mm(*this, mat2); }
Tensor Tensor::bmm(const Tensor& mat2) const { return tinytorch::bmm(*this, mat2); }
Tensor Tensor::matmul(const Tensor& other) const { return tinytorch::matmul(*this, other); }

}  // namespace tinytorch
