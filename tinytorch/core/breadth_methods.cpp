// From the lesson modules/74_tensor_breadth/tensor_breadth_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/breadth_methods.h"

#include <algorithm>
#include <numeric>

#include "tinytorch/core/breadth.h"
#include "tinytorch/core/engine.h"
#include "tinytorch/core/inplace_or_view.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/unique.h"
#include "tinytorch/nn/activations.h"

namespace tinytorch {

const Tensor& detail::write_result(const Tensor& self, const Tensor& result, const Tensor& other) {
  if (other.defined()) check_no_partial_overlap(self, other);
  TORCH_CHECK(canCast(result.scalar_type(), self.scalar_type()), "result type ", result.scalar_type(), " can't be cast to the desired output type ",
              self.scalar_type());
  TORCH_CHECK(self.sizes() == result.sizes(), "output with shape ", self.sizes(), " doesn't match the broadcast shape ", result.sizes());
  return copy_(self, result);
}

namespace {
const Tensor& tensor_of(const BreadthMethods* self) { return static_cast<const Tensor&>(*self); }

// What the tensor holds before it is written: a copy where a graph may want to keep it.
Tensor unwritten(const BreadthMethods* self) {
  const Tensor& tensor = tensor_of(self);
  return layers_of(tensor).has(Layer::Autograd) ? clone(tensor) : tensor;
}

// `other` is the operand that is read beside the tensor, if there is one.
Tensor& write_back(const BreadthMethods* methods, const Tensor& result, const Tensor& other = Tensor()) {
  return const_cast<Tensor&>(detail::write_result(tensor_of(methods), result, other));
}

// Gives the tensor the geometry and the history of a view of itself.
Tensor& become(const BreadthMethods* methods, const Tensor& view) {
  const Tensor& self = tensor_of(methods);
  detail::check_inference_write(self);
  check_inplace(self, self.requires_grad());
  AutogradMeta* const seen = autograd_meta(view);
  const DimVector sizes(view.sizes());
  const DimVector strides(view.strides());
  self.impl().set_geometry(sizes, strides, view.storage_offset());
  detail::bump_version(self);
  AutogradMeta* const meta = autograd_meta(self);
  if (meta == nullptr || seen == nullptr) return const_cast<Tensor&>(self);
  if (meta->view) meta->view = std::move(seen->view);
  if (meta->view) meta->view->version = self.storage()->version.load();
  if (seen->grad_fn) {
    meta->grad_fn = seen->grad_fn;
    meta->output_nr = seen->output_nr;
  }
  return const_cast<Tensor&>(self);
}

TensorOptions like(const BreadthMethods* self, const TensorOptions& options) { return options.has_dtype() ? options : options.dtype(tensor_of(self).scalar_type()); }

bool nonzero_number(const BreadthMethods* self) {
  const Tensor& tensor = tensor_of(self);
  TORCH_CHECK(tensor.numel() != 0, "Boolean value of Tensor with no values is ambiguous");
  TORCH_CHECK(tensor.numel() < 2, "Boolean value of Tensor with more than one value is ambiguous");
  return tensor.item().toDouble() != 0;
}

Tensor& fill_diagonal(const BreadthMethods* methods, const Scalar& value, bool wrap) {
  const Tensor& self = tensor_of(methods);
  TORCH_CHECK(self.dim() >= 2, "dimensions must larger than 1");
  for (const std::int64_t size : self.sizes()) TORCH_CHECK(self.dim() == 2 || size == self.size(0), "all dimensions of input must be of equal length");
  std::int64_t step = 0;
  std::int64_t length = self.size(0);
  for (std::int64_t i = 0; i < self.dim(); ++i) {
    step += self.stride(i);
    length = std::min(length, self.size(i));
  }
  fill_(as_strided(self, {length}, {step}, self.storage_offset()), value);
  // A tall matrix: the diagonal begins again below itself, after one row's pause.
  if (wrap && self.dim() == 2)
    for (std::int64_t row = self.size(1) + 1; row < self.size(0); row += self.size(1) + 1) fill_(diagonal(slice(self, 0, row)), value);
  return const_cast<Tensor&>(self);
}
}  // namespace

Tensor BreadthMethods::acos() const { return tinytorch::acos(tensor_of(this)); }
Tensor BreadthMethods::asin() const { return tinytorch::asin(tensor_of(this)); }
Tensor BreadthMethods::sinh() const { return tinytorch::sinh(tensor_of(this)); }
Tensor BreadthMethods::cosh() const { return tinytorch::cosh(tensor_of(this)); }
Tensor BreadthMethods::asinh() const { return tinytorch::asinh(tensor_of(this)); }
Tensor BreadthMethods::acosh() const { return tinytorch::acosh(tensor_of(this)); }
Tensor BreadthMethods::atanh() const { return tinytorch::atanh(tensor_of(this)); }
Tensor BreadthMethods::exp2() const { return tinytorch::exp2(tensor_of(this)); }
Tensor BreadthMethods::erfc() const { return tinytorch::erfc(tensor_of(this)); }
Tensor BreadthMethods::erfinv() const { return tinytorch::erfinv(tensor_of(this)); }
Tensor BreadthMethods::lgamma() const { return tinytorch::lgamma(tensor_of(this)); }
Tensor BreadthMethods::digamma() const { return tinytorch::digamma(tensor_of(this)); }
Tensor BreadthMethods::frac() const { return tinytorch::frac(tensor_of(this)); }
Tensor BreadthMethods::deg2rad() const { return tinytorch::deg2rad(tensor_of(this)); }
Tensor BreadthMethods::rad2deg() const { return tinytorch::rad2deg(tensor_of(this)); }
Tensor BreadthMethods::sinc() const { return tinytorch::sinc(tensor_of(this)); }
Tensor BreadthMethods::arccos() const { return tinytorch::arccos(tensor_of(this)); }
Tensor BreadthMethods::arcsin() const { return tinytorch::arcsin(tensor_of(this)); }
Tensor BreadthMethods::arctan() const { return tinytorch::arctan(tensor_of(this)); }
Tensor BreadthMethods::arcsinh() const { return tinytorch::arcsinh(tensor_of(this)); }
Tensor BreadthMethods::arccosh() const { return tinytorch::arccosh(tensor_of(this)); }
Tensor BreadthMethods::arctanh() const { return tinytorch::arctanh(tensor_of(this)); }
Tensor BreadthMethods::absolute() const { return tinytorch::absolute(tensor_of(this)); }
Tensor BreadthMethods::negative() const { return tinytorch::negative(tensor_of(this)); }
Tensor BreadthMethods::sgn() const { return tinytorch::sgn(tensor_of(this)); }
Tensor BreadthMethods::fix() const { return tinytorch::fix(tensor_of(this)); }
Tensor BreadthMethods::atan2(const Tensor& other) const { return tinytorch::atan2(tensor_of(this), other); }
Tensor BreadthMethods::arctan2(const Tensor& other) const { return tinytorch::arctan2(tensor_of(this), other); }
Tensor BreadthMethods::hypot(const Tensor& other) const { return tinytorch::hypot(tensor_of(this), other); }
Tensor BreadthMethods::gcd(const Tensor& other) const { return tinytorch::gcd(tensor_of(this), other); }
Tensor BreadthMethods::lcm(const Tensor& other) const { return tinytorch::lcm(tensor_of(this), other); }
Tensor BreadthMethods::xlogy(const Tensor& other) const { return tinytorch::xlogy(tensor_of(this), other); }
Tensor BreadthMethods::logaddexp(const Tensor& other) const { return tinytorch::logaddexp(tensor_of(this), other); }
Tensor BreadthMethods::logaddexp2(const Tensor& other) const { return tinytorch::logaddexp2(tensor_of(this), other); }
Tensor BreadthMethods::fmax(const Tensor& other) const { return tinytorch::fmax(tensor_of(this), other); }
Tensor BreadthMethods::fmin(const Tensor& other) const { return tinytorch::fmin(tensor_of(this), other); }
Tensor BreadthMethods::heaviside(const Tensor& values) const { return tinytorch::heaviside(tensor_of(this), values); }
Tensor BreadthMethods::fmod(const Tensor& other) const { return tinytorch::fmod(tensor_of(this), other); }
Tensor BreadthMethods::fmod(const Scalar& other) const { return tinytorch::fmod(tensor_of(this), other); }
Tensor BreadthMethods::copysign(const Tensor& other) const { return tinytorch::copysign(tensor_of(this), other); }
Tensor BreadthMethods::copysign(const Scalar& other) const { return tinytorch::copysign(tensor_of(this), other); }
Tensor BreadthMethods::subtract(const Tensor& other, const Scalar& alpha) const { return sub(tensor_of(this), other, alpha); }
Tensor BreadthMethods::subtract(const Scalar& other, const Scalar& alpha) const { return sub(tensor_of(this), wrapped_scalar(other), alpha); }
Tensor BreadthMethods::multiply(const Tensor& other) const { return tinytorch::mul(tensor_of(this), other); }
Tensor BreadthMethods::multiply(const Scalar& other) const { return tinytorch::mul(tensor_of(this), wrapped_scalar(other)); }
Tensor BreadthMethods::divide(const Tensor& other) const { return tinytorch::div(tensor_of(this), other); }
Tensor BreadthMethods::divide(const Scalar& other) const { return tinytorch::div(tensor_of(this), wrapped_scalar(other)); }
Tensor BreadthMethods::true_divide(const Tensor& other) const { return tinytorch::div(tensor_of(this), other); }
Tensor BreadthMethods::true_divide(const Scalar& other) const { return tinytorch::div(tensor_of(this), wrapped_scalar(other)); }
Tensor BreadthMethods::greater(const Tensor& other) const { return tinytorch::gt(tensor_of(this), other); }
Tensor BreadthMethods::greater(const Scalar& other) const { return tinytorch::gt(tensor_of(this), wrapped_scalar(other)); }
Tensor BreadthMethods::greater_equal(const Tensor& other) const { return tinytorch::ge(tensor_of(this), other); }
Tensor BreadthMethods::greater_equal(const Scalar& other) const { return tinytorch::ge(tensor_of(this), wrapped_scalar(other)); }
Tensor BreadthMethods::less(const Tensor& other) const { return tinytorch::lt(tensor_of(this), other); }
Tensor BreadthMethods::less(const Scalar& other) const { return tinytorch::lt(tensor_of(this), wrapped_scalar(other)); }
Tensor BreadthMethods::less_equal(const Tensor& other) const { return tinytorch::le(tensor_of(this), other); }
Tensor BreadthMethods::less_equal(const Scalar& other) const { return tinytorch::le(tensor_of(this), wrapped_scalar(other)); }
Tensor BreadthMethods::not_equal(const Tensor& other) const { return tinytorch::ne(tensor_of(this), other); }
Tensor BreadthMethods::not_equal(const Scalar& other) const { return tinytorch::ne(tensor_of(this), wrapped_scalar(other)); }
Tensor BreadthMethods::bitwise_and(const Tensor& other) const { return tinytorch::bitwise_and(tensor_of(this), other); }
Tensor BreadthMethods::bitwise_and(const Scalar& other) const { return tinytorch::bitwise_and(tensor_of(this), wrapped_scalar(other)); }
Tensor BreadthMethods::bitwise_or(const Tensor& other) const { return tinytorch::bitwise_or(tensor_of(this), other); }
Tensor BreadthMethods::bitwise_or(const Scalar& other) const { return tinytorch::bitwise_or(tensor_of(this), wrapped_scalar(other)); }
Tensor BreadthMethods::bitwise_xor(const Tensor& other) const { return tinytorch::bitwise_xor(tensor_of(this), other); }
Tensor BreadthMethods::bitwise_xor(const Scalar& other) const { return tinytorch::bitwise_xor(tensor_of(this), wrapped_scalar(other)); }
Tensor BreadthMethods::clip(const std::optional<Scalar>& min, const std::optional<Scalar>& max) const { return tinytorch::clamp(tensor_of(this), min, max); }
Tensor BreadthMethods::clip(const std::optional<Tensor>& min, const std::optional<Tensor>& max) const { return tinytorch::clamp(static_cast<const Tensor&>(*this), min, max); }
Tensor BreadthMethods::logit(std::optional<double> eps) const { return tinytorch::logit(tensor_of(this), eps); }
Tensor BreadthMethods::float_power(const Tensor& exponent) const { return tinytorch::float_power(tensor_of(this), exponent); }
Tensor BreadthMethods::float_power(const Scalar& exponent) const { return tinytorch::float_power(tensor_of(this), exponent); }
Tensor BreadthMethods::nan_to_num(std::optional<double> nan, std::optional<double> posinf, std::optional<double> neginf) const { return tinytorch::nan_to_num(tensor_of(this), nan, posinf, neginf); }
Tensor BreadthMethods::polygamma(std::int64_t n) const { return tinytorch::polygamma(n, tensor_of(this)); }
Tensor BreadthMethods::positive() const { return tensor_of(this); }
Tensor BreadthMethods::isclose(const Tensor& other, double rtol, double atol, bool equal_nan) const { return tinytorch::isclose(tensor_of(this), other, rtol, atol, equal_nan); }
Tensor BreadthMethods::isposinf() const { return tinytorch::isposinf(tensor_of(this)); }
Tensor BreadthMethods::isneginf() const { return tinytorch::isneginf(tensor_of(this)); }
Tensor BreadthMethods::isreal() const { return tinytorch::isreal(tensor_of(this)); }
Tensor BreadthMethods::signbit() const { return tinytorch::signbit(tensor_of(this)); }

Tensor& BreadthMethods::acos_() const { return write_back(this, tinytorch::acos(unwritten(this))); }
Tensor& BreadthMethods::asin_() const { return write_back(this, tinytorch::asin(unwritten(this))); }
Tensor& BreadthMethods::sinh_() const { return write_back(this, tinytorch::sinh(unwritten(this))); }
Tensor& BreadthMethods::cosh_() const { return write_back(this, tinytorch::cosh(unwritten(this))); }
Tensor& BreadthMethods::asinh_() const { return write_back(this, tinytorch::asinh(unwritten(this))); }
Tensor& BreadthMethods::acosh_() const { return write_back(this, tinytorch::acosh(unwritten(this))); }
Tensor& BreadthMethods::atanh_() const { return write_back(this, tinytorch::atanh(unwritten(this))); }
Tensor& BreadthMethods::exp2_() const { return write_back(this, tinytorch::exp2(unwritten(this))); }
Tensor& BreadthMethods::erfc_() const { return write_back(this, tinytorch::erfc(unwritten(this))); }
Tensor& BreadthMethods::erfinv_() const { return write_back(this, tinytorch::erfinv(unwritten(this))); }
Tensor& BreadthMethods::lgamma_() const { return write_back(this, tinytorch::lgamma(unwritten(this))); }
Tensor& BreadthMethods::digamma_() const { return write_back(this, tinytorch::digamma(unwritten(this))); }
Tensor& BreadthMethods::frac_() const { return write_back(this, tinytorch::frac(unwritten(this))); }
Tensor& BreadthMethods::deg2rad_() const { return write_back(this, tinytorch::deg2rad(unwritten(this))); }
Tensor& BreadthMethods::rad2deg_() const { return write_back(this, tinytorch::rad2deg(unwritten(this))); }
Tensor& BreadthMethods::sinc_() const { return write_back(this, tinytorch::sinc(unwritten(this))); }
Tensor& BreadthMethods::arccos_() const { return write_back(this, tinytorch::arccos(unwritten(this))); }
Tensor& BreadthMethods::arcsin_() const { return write_back(this, tinytorch::arcsin(unwritten(this))); }
Tensor& BreadthMethods::arctan_() const { return write_back(this, tinytorch::arctan(unwritten(this))); }
Tensor& BreadthMethods::arcsinh_() const { return write_back(this, tinytorch::arcsinh(unwritten(this))); }
Tensor& BreadthMethods::arccosh_() const { return write_back(this, tinytorch::arccosh(unwritten(this))); }
Tensor& BreadthMethods::arctanh_() const { return write_back(this, tinytorch::arctanh(unwritten(this))); }
Tensor& BreadthMethods::absolute_() const { return write_back(this, tinytorch::absolute(unwritten(this))); }
Tensor& BreadthMethods::negative_() const { return write_back(this, tinytorch::negative(unwritten(this))); }
Tensor& BreadthMethods::sgn_() const { return write_back(this, tinytorch::sgn(unwritten(this))); }
Tensor& BreadthMethods::fix_() const { return write_back(this, tinytorch::fix(unwritten(this))); }
Tensor& BreadthMethods::tan_() const { return write_back(this, tinytorch::tan(unwritten(this))); }
Tensor& BreadthMethods::atan_() const { return write_back(this, tinytorch::atan(unwritten(this))); }
Tensor& BreadthMethods::expm1_() const { return write_back(this, tinytorch::expm1(unwritten(this))); }
Tensor& BreadthMethods::log1p_() const { return write_back(this, tinytorch::log1p(unwritten(this))); }
Tensor& BreadthMethods::log2_() const { return write_back(this, tinytorch::log2(unwritten(this))); }
Tensor& BreadthMethods::log10_() const { return write_back(this, tinytorch::log10(unwritten(this))); }
Tensor& BreadthMethods::trunc_() const { return write_back(this, tinytorch::trunc(unwritten(this))); }
Tensor& BreadthMethods::sign_() const { return write_back(this, tinytorch::sign(unwritten(this))); }
Tensor& BreadthMethods::sigmoid_() const { return write_back(this, tinytorch::sigmoid(unwritten(this))); }
Tensor& BreadthMethods::tanh_() const { return write_back(this, tinytorch::tanh(unwritten(this))); }
Tensor& BreadthMethods::atan2_(const Tensor& other) const { return write_back(this, tinytorch::atan2(unwritten(this), other), other); }
Tensor& BreadthMethods::arctan2_(const Tensor& other) const { return write_back(this, tinytorch::arctan2(unwritten(this), other), other); }
Tensor& BreadthMethods::hypot_(const Tensor& other) const { return write_back(this, tinytorch::hypot(unwritten(this), other), other); }
Tensor& BreadthMethods::gcd_(const Tensor& other) const { return write_back(this, tinytorch::gcd(unwritten(this), other), other); }
Tensor& BreadthMethods::lcm_(const Tensor& other) const { return write_back(this, tinytorch::lcm(unwritten(this), other), other); }
Tensor& BreadthMethods::xlogy_(const Tensor& other) const { return write_back(this, tinytorch::xlogy(unwritten(this), other), other); }
Tensor& BreadthMethods::logaddexp_(const Tensor& other) const { return write_back(this, tinytorch::logaddexp(unwritten(this), other), other); }
Tensor& BreadthMethods::logaddexp2_(const Tensor& other) const { return write_back(this, tinytorch::logaddexp2(unwritten(this), other), other); }
Tensor& BreadthMethods::fmax_(const Tensor& other) const { return write_back(this, tinytorch::fmax(unwritten(this), other), other); }
Tensor& BreadthMethods::fmin_(const Tensor& other) const { return write_back(this, tinytorch::fmin(unwritten(this), other), other); }
Tensor& BreadthMethods::heaviside_(const Tensor& other) const { return write_back(this, tinytorch::heaviside(unwritten(this), other), other); }
Tensor& BreadthMethods::fmod_(const Tensor& other) const { return write_back(this, tinytorch::fmod(unwritten(this), other), other); }
Tensor& BreadthMethods::fmod_(const Scalar& other) const { return write_back(this, tinytorch::fmod(unwritten(this), other)); }
Tensor& BreadthMethods::copysign_(const Tensor& other) const { return write_back(this, tinytorch::copysign(unwritten(this), other), other); }
Tensor& BreadthMethods::copysign_(const Scalar& other) const { return write_back(this, tinytorch::copysign(unwritten(this), other)); }
Tensor& BreadthMethods::remainder_(const Tensor& other) const { return write_back(this, tinytorch::remainder(unwritten(this), other), other); }
Tensor& BreadthMethods::remainder_(const Scalar& other) const { return write_back(this, tinytorch::remainder(unwritten(this), other)); }
Tensor& BreadthMethods::floor_divide_(const Tensor& other) const { return write_back(this, tinytorch::floor_divide(unwritten(this), other), other); }
Tensor& BreadthMethods::floor_divide_(const Scalar& other) const { return write_back(this, tinytorch::floor_divide(unwritten(this), other)); }
Tensor& BreadthMethods::subtract_(const Tensor& other, const Scalar& alpha) const { return const_cast<Tensor&>(sub_(tensor_of(this), other, alpha)); }
Tensor& BreadthMethods::subtract_(const Scalar& other, const Scalar& alpha) const { return subtract_(wrapped_scalar(other), alpha); }
Tensor& BreadthMethods::multiply_(const Tensor& other) const { return const_cast<Tensor&>(mul_(tensor_of(this), other)); }
Tensor& BreadthMethods::multiply_(const Scalar& other) const { return const_cast<Tensor&>(mul_(tensor_of(this), wrapped_scalar(other))); }
Tensor& BreadthMethods::divide_(const Tensor& other) const { return const_cast<Tensor&>(div_(tensor_of(this), other)); }
Tensor& BreadthMethods::divide_(const Scalar& other) const { return const_cast<Tensor&>(div_(tensor_of(this), wrapped_scalar(other))); }
Tensor& BreadthMethods::true_divide_(const Tensor& other) const { return const_cast<Tensor&>(div_(tensor_of(this), other)); }
Tensor& BreadthMethods::true_divide_(const Scalar& other) const { return const_cast<Tensor&>(div_(tensor_of(this), wrapped_scalar(other))); }
Tensor& BreadthMethods::greater_(const Tensor& other) const { return gt_(other); }
Tensor& BreadthMethods::greater_(const Scalar& other) const { return gt_(other); }
Tensor& BreadthMethods::greater_equal_(const Tensor& other) const { return ge_(other); }
Tensor& BreadthMethods::greater_equal_(const Scalar& other) const { return ge_(other); }
Tensor& BreadthMethods::less_(const Tensor& other) const { return lt_(other); }
Tensor& BreadthMethods::less_(const Scalar& other) const { return lt_(other); }
Tensor& BreadthMethods::less_equal_(const Tensor& other) const { return le_(other); }
Tensor& BreadthMethods::less_equal_(const Scalar& other) const { return le_(other); }
Tensor& BreadthMethods::not_equal_(const Tensor& other) const { return ne_(other); }
Tensor& BreadthMethods::not_equal_(const Scalar& other) const { return ne_(other); }
Tensor& BreadthMethods::float_power_(const Tensor& exponent) const {
  const ScalarType type = tensor_of(this).scalar_type();
  TORCH_CHECK(type == kDouble, "the base given to float_power_ has dtype ", type, " but the operation's result requires dtype Double");
  return write_back(this, tinytorch::float_power(unwritten(this), exponent));
}
Tensor& BreadthMethods::float_power_(const Scalar& exponent) const { return float_power_(wrapped_scalar(exponent)); }
Tensor& BreadthMethods::polygamma_(std::int64_t n) const { return write_back(this, tinytorch::polygamma(n, unwritten(this))); }
Tensor& BreadthMethods::eq_(const Tensor& other) const { return write_back(this, tinytorch::eq(unwritten(this), other), other); }
Tensor& BreadthMethods::eq_(const Scalar& other) const { return write_back(this, tinytorch::eq(unwritten(this), wrapped_scalar(other))); }
Tensor& BreadthMethods::ne_(const Tensor& other) const { return write_back(this, tinytorch::ne(unwritten(this), other), other); }
Tensor& BreadthMethods::ne_(const Scalar& other) const { return write_back(this, tinytorch::ne(unwritten(this), wrapped_scalar(other))); }
Tensor& BreadthMethods::lt_(const Tensor& other) const { return write_back(this, tinytorch::lt(unwritten(this), other), other); }
Tensor& BreadthMethods::lt_(const Scalar& other) const { return write_back(this, tinytorch::lt(unwritten(this), wrapped_scalar(other))); }
Tensor& BreadthMethods::le_(const Tensor& other) const { return write_back(this, tinytorch::le(unwritten(this), other), other); }
Tensor& BreadthMethods::le_(const Scalar& other) const { return write_back(this, tinytorch::le(unwritten(this), wrapped_scalar(other))); }
Tensor& BreadthMethods::gt_(const Tensor& other) const { return write_back(this, tinytorch::gt(unwritten(this), other), other); }
Tensor& BreadthMethods::gt_(const Scalar& other) const { return write_back(this, tinytorch::gt(unwritten(this), wrapped_scalar(other))); }
Tensor& BreadthMethods::ge_(const Tensor& other) const { return write_back(this, tinytorch::ge(unwritten(this), other), other); }
Tensor& BreadthMethods::ge_(const Scalar& other) const { return write_back(this, tinytorch::ge(unwritten(this), wrapped_scalar(other))); }
Tensor& BreadthMethods::logical_and_(const Tensor& other) const { return write_back(this, tinytorch::logical_and(unwritten(this), other), other); }
Tensor& BreadthMethods::bitwise_and_(const Tensor& other) const { return write_back(this, tinytorch::bitwise_and(unwritten(this), other), other); }
Tensor& BreadthMethods::logical_or_(const Tensor& other) const { return write_back(this, tinytorch::logical_or(unwritten(this), other), other); }
Tensor& BreadthMethods::bitwise_or_(const Tensor& other) const { return write_back(this, tinytorch::bitwise_or(unwritten(this), other), other); }
Tensor& BreadthMethods::logical_xor_(const Tensor& other) const { return write_back(this, tinytorch::logical_xor(unwritten(this), other), other); }
Tensor& BreadthMethods::bitwise_xor_(const Tensor& other) const { return write_back(this, tinytorch::bitwise_xor(unwritten(this), other), other); }
Tensor& BreadthMethods::bitwise_not_() const { return write_back(this, bitwise_not(unwritten(this))); }
Tensor& BreadthMethods::clip_(const std::optional<Scalar>& min, const std::optional<Scalar>& max) const { return write_back(this, tinytorch::clamp(unwritten(this), min, max)); }
Tensor& BreadthMethods::logit_(std::optional<double> eps) const { return write_back(this, tinytorch::logit(unwritten(this), eps)); }
Tensor& BreadthMethods::nan_to_num_(std::optional<double> nan, std::optional<double> posinf, std::optional<double> neginf) const { return write_back(this, tinytorch::nan_to_num(unwritten(this), nan, posinf, neginf)); }
Tensor& BreadthMethods::tril_(std::int64_t diagonal) const { return write_back(this, tinytorch::tril(unwritten(this), diagonal)); }
Tensor& BreadthMethods::triu_(std::int64_t diagonal) const { return write_back(this, tinytorch::triu(unwritten(this), diagonal)); }
Tensor& BreadthMethods::cumsum_(std::int64_t dim) const { return write_back(this, tinytorch::cumsum(unwritten(this), dim)); }
Tensor& BreadthMethods::cumprod_(std::int64_t dim) const { return write_back(this, tinytorch::cumprod(unwritten(this), dim)); }
Tensor& BreadthMethods::addmm_(const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha) const { return write_back(this, tinytorch::addmm(unwritten(this), mat1, mat2, beta, alpha)); }
Tensor& BreadthMethods::addmv_(const Tensor& mat, const Tensor& vec, const Scalar& beta, const Scalar& alpha) const { return write_back(this, tinytorch::addmv(unwritten(this), mat, vec, beta, alpha)); }
Tensor& BreadthMethods::addr_(const Tensor& vec1, const Tensor& vec2, const Scalar& beta, const Scalar& alpha) const { return write_back(this, tinytorch::addr(unwritten(this), vec1, vec2, beta, alpha)); }
Tensor& BreadthMethods::baddbmm_(const Tensor& batch1, const Tensor& batch2, const Scalar& beta, const Scalar& alpha) const { return write_back(this, tinytorch::baddbmm(unwritten(this), batch1, batch2, beta, alpha)); }
Tensor& BreadthMethods::addbmm_(const Tensor& batch1, const Tensor& batch2, const Scalar& beta, const Scalar& alpha) const { return write_back(this, tinytorch::addbmm(unwritten(this), batch1, batch2, beta, alpha)); }
Tensor& BreadthMethods::fill_diagonal_(const Scalar& fill_value, bool wrap) const { return fill_diagonal(this, fill_value, wrap); }
Tensor& BreadthMethods::index_copy_(std::int64_t dim, const Tensor& index, const Tensor& source) const { return write_back(this, tinytorch::index_copy(unwritten(this), dim, index, source), source); }
Tensor& BreadthMethods::index_fill_(std::int64_t dim, const Tensor& index, const Scalar& value) const { return write_back(this, tinytorch::index_fill(unwritten(this), dim, index, value)); }
Tensor& BreadthMethods::masked_scatter_(const Tensor& mask, const Tensor& source) const { return write_back(this, tinytorch::masked_scatter(unwritten(this), mask, source)); }

Tensor& BreadthMethods::squeeze_() const { return become(this, tinytorch::squeeze(tensor_of(this))); }
Tensor& BreadthMethods::squeeze_(std::int64_t dim) const { return become(this, tinytorch::squeeze(tensor_of(this), dim)); }
Tensor& BreadthMethods::unsqueeze_(std::int64_t dim) const { return become(this, tinytorch::unsqueeze(tensor_of(this), dim)); }
Tensor& BreadthMethods::t_() const { return become(this, tinytorch::t(tensor_of(this))); }
Tensor& BreadthMethods::transpose_(std::int64_t dim0, std::int64_t dim1) const { return become(this, tinytorch::transpose(tensor_of(this), dim0, dim1)); }
Tensor& BreadthMethods::swapaxes_(std::int64_t axis0, std::int64_t axis1) const { return become(this, tinytorch::transpose(tensor_of(this), axis0, axis1)); }
Tensor& BreadthMethods::swapdims_(std::int64_t dim0, std::int64_t dim1) const { return become(this, tinytorch::transpose(tensor_of(this), dim0, dim1)); }
Tensor& BreadthMethods::as_strided_(IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset) const { return become(this, tinytorch::as_strided(tensor_of(this), size, stride, storage_offset)); }

Tensor BreadthMethods::nansum() const { return tinytorch::nansum(tensor_of(this)); }
Tensor BreadthMethods::nansum(IntArrayRef dim, bool keepdim) const { return tinytorch::nansum(tensor_of(this), dim, keepdim); }
Tensor BreadthMethods::nanmean() const { return tinytorch::nanmean(tensor_of(this)); }
Tensor BreadthMethods::nanmean(IntArrayRef dim, bool keepdim) const { return tinytorch::nanmean(tensor_of(this), dim, keepdim); }
Tensor BreadthMethods::count_nonzero() const { return tinytorch::count_nonzero(tensor_of(this)); }
Tensor BreadthMethods::count_nonzero(IntArrayRef dim) const { return tinytorch::count_nonzero(tensor_of(this), dim); }
Tensor BreadthMethods::median() const { return tinytorch::median(tensor_of(this)); }
Tensor BreadthMethods::nanmedian() const { return tinytorch::nanmedian(tensor_of(this)); }
Tensor BreadthMethods::quantile(double q, std::optional<std::int64_t> dim, bool keepdim, std::string_view interpolation) const { return tinytorch::quantile(tensor_of(this), q, dim, keepdim, interpolation); }
Tensor BreadthMethods::quantile(const Tensor& q, std::optional<std::int64_t> dim, bool keepdim, std::string_view interpolation) const { return tinytorch::quantile(tensor_of(this), q, dim, keepdim, interpolation); }
Tensor BreadthMethods::dist(const Tensor& other, const Scalar& p) const { return tinytorch::dist(tensor_of(this), other, p); }
Tensor BreadthMethods::trace() const { return tinytorch::trace(tensor_of(this)); }
Tensor BreadthMethods::histc(std::int64_t bins, const Scalar& min, const Scalar& max) const { return tinytorch::histc(tensor_of(this), bins, min, max); }
Tensor BreadthMethods::bincount() const { return tinytorch::bincount(tensor_of(this)); }
Tensor BreadthMethods::bincount(const std::optional<Tensor>& weights, std::int64_t minlength) const { return tinytorch::bincount(tensor_of(this), weights, minlength); }
Tensor BreadthMethods::cumprod(std::int64_t dim) const { return tinytorch::cumprod(tensor_of(this), dim); }
std::tuple<Tensor, Tensor> BreadthMethods::median(std::int64_t dim, bool keepdim) const { return tinytorch::median(tensor_of(this), dim, keepdim); }
std::tuple<Tensor, Tensor> BreadthMethods::mode(std::int64_t dim, bool keepdim) const { return tinytorch::mode(tensor_of(this), dim, keepdim); }
std::tuple<Tensor, Tensor> BreadthMethods::kthvalue(std::int64_t k, std::int64_t dim, bool keepdim) const { return tinytorch::kthvalue(tensor_of(this), k, dim, keepdim); }
std::tuple<Tensor, Tensor> BreadthMethods::cummax(std::int64_t dim) const { return tinytorch::cummax(tensor_of(this), dim); }
Tensor BreadthMethods::logcumsumexp(std::int64_t dim) const { return tinytorch::logcumsumexp(tensor_of(this), dim); }
std::tuple<Tensor, Tensor> BreadthMethods::cummin(std::int64_t dim) const { return tinytorch::cummin(tensor_of(this), dim); }
std::tuple<Tensor, Tensor> BreadthMethods::aminmax(std::optional<std::int64_t> dim, bool keepdim) const { return tinytorch::aminmax(tensor_of(this), dim, keepdim); }

Tensor BreadthMethods::reshape_as(const Tensor& other) const { return tinytorch::reshape(tensor_of(this), other.sizes()); }
Tensor BreadthMethods::movedim(IntArrayRef source, IntArrayRef destination) const { return tinytorch::movedim(tensor_of(this), source, destination); }
Tensor BreadthMethods::movedim(std::int64_t source, std::int64_t destination) const { return tinytorch::movedim(tensor_of(this), source, destination); }
Tensor BreadthMethods::moveaxis(std::int64_t source, std::int64_t destination) const { return tinytorch::moveaxis(tensor_of(this), source, destination); }
Tensor BreadthMethods::swapaxes(std::int64_t axis0, std::int64_t axis1) const { return tinytorch::swapaxes(tensor_of(this), axis0, axis1); }
Tensor BreadthMethods::swapdims(std::int64_t dim0, std::int64_t dim1) const { return tinytorch::swapdims(tensor_of(this), dim0, dim1); }
Tensor BreadthMethods::unflatten(std::int64_t dim, IntArrayRef sizes) const { return tinytorch::unflatten(tensor_of(this), dim, sizes); }
Tensor BreadthMethods::ravel() const { return tinytorch::ravel(tensor_of(this)); }
Tensor BreadthMethods::broadcast_to(IntArrayRef size) const { return tinytorch::broadcast_to(tensor_of(this), size); }
Tensor BreadthMethods::roll(IntArrayRef shifts, IntArrayRef dims) const { return tinytorch::roll(tensor_of(this), shifts, dims); }
Tensor BreadthMethods::rot90(std::int64_t k, IntArrayRef dims) const { return tinytorch::rot90(tensor_of(this), k, dims); }
Tensor BreadthMethods::fliplr() const { return tinytorch::fliplr(tensor_of(this)); }
Tensor BreadthMethods::flipud() const { return tinytorch::flipud(tensor_of(this)); }
Tensor BreadthMethods::tile(IntArrayRef dims) const { return tinytorch::tile(tensor_of(this), dims); }
Tensor BreadthMethods::repeat_interleave(std::int64_t repeats, std::optional<std::int64_t> dim) const { return tinytorch::repeat_interleave(tensor_of(this), repeats, dim); }
Tensor BreadthMethods::repeat_interleave(const Tensor& repeats, std::optional<std::int64_t> dim) const { return tinytorch::repeat_interleave(tensor_of(this), repeats, dim); }
Tensor BreadthMethods::diag(std::int64_t diagonal) const { return tinytorch::diag(tensor_of(this), diagonal); }
Tensor BreadthMethods::diag_embed(std::int64_t offset, std::int64_t dim1, std::int64_t dim2) const { return tinytorch::diag_embed(tensor_of(this), offset, dim1, dim2); }
Tensor BreadthMethods::diagflat(std::int64_t offset) const { return tinytorch::diagflat(tensor_of(this), offset); }
Tensor BreadthMethods::diff(std::int64_t n, std::int64_t dim) const { return tinytorch::diff(tensor_of(this), n, dim); }
Tensor BreadthMethods::select_scatter(const Tensor& src, std::int64_t dim, std::int64_t index) const { return tinytorch::select_scatter(tensor_of(this), src, dim, index); }
Tensor BreadthMethods::slice_scatter(const Tensor& src, std::int64_t dim, std::optional<std::int64_t> start, std::optional<std::int64_t> end, std::int64_t step) const { return tinytorch::slice_scatter(tensor_of(this), src, dim, start, end, step); }
Tensor BreadthMethods::diagonal_scatter(const Tensor& src, std::int64_t offset, std::int64_t dim1, std::int64_t dim2) const { return tinytorch::diagonal_scatter(tensor_of(this), src, offset, dim1, dim2); }
std::vector<Tensor> BreadthMethods::tensor_split(std::int64_t sections, std::int64_t dim) const { return tinytorch::tensor_split(tensor_of(this), sections, dim); }
std::vector<Tensor> BreadthMethods::tensor_split(IntArrayRef indices, std::int64_t dim) const { return tinytorch::tensor_split(tensor_of(this), indices, dim); }
std::vector<Tensor> BreadthMethods::hsplit(std::int64_t sections) const { return tinytorch::hsplit(tensor_of(this), sections); }
std::vector<Tensor> BreadthMethods::hsplit(IntArrayRef indices) const { return tinytorch::hsplit(tensor_of(this), indices); }
std::vector<Tensor> BreadthMethods::vsplit(std::int64_t sections) const { return tinytorch::vsplit(tensor_of(this), sections); }
std::vector<Tensor> BreadthMethods::vsplit(IntArrayRef indices) const { return tinytorch::vsplit(tensor_of(this), indices); }
std::vector<Tensor> BreadthMethods::dsplit(std::int64_t sections) const { return tinytorch::dsplit(tensor_of(this), sections); }
std::vector<Tensor> BreadthMethods::dsplit(IntArrayRef indices) const { return tinytorch::dsplit(tensor_of(this), indices); }
Tensor BreadthMethods::unfold(std::int64_t dimension, std::int64_t size, std::int64_t step) const { return tinytorch::unfold(tensor_of(this), dimension, size, step); }
Tensor BreadthMethods::mT() const { return tinytorch::transpose(tensor_of(this), -2, -1); }
Tensor BreadthMethods::sum_to_size(IntArrayRef size) const { return sum_to(tensor_of(this), size); }

Tensor BreadthMethods::take(const Tensor& index) const { return tinytorch::take(tensor_of(this), index); }
Tensor BreadthMethods::take_along_dim(const Tensor& indices, std::optional<std::int64_t> dim) const { return tinytorch::take_along_dim(tensor_of(this), indices, dim); }
Tensor BreadthMethods::index_put(const std::vector<std::optional<Tensor>>& indices, const Tensor& values, bool accumulate) const { return tinytorch::index_put(tensor_of(this), indices, values, accumulate); }
Tensor BreadthMethods::index_copy(std::int64_t dim, const Tensor& index, const Tensor& source) const { return tinytorch::index_copy(tensor_of(this), dim, index, source); }
Tensor BreadthMethods::index_fill(std::int64_t dim, const Tensor& index, const Scalar& value) const { return tinytorch::index_fill(tensor_of(this), dim, index, value); }
Tensor BreadthMethods::masked_scatter(const Tensor& mask, const Tensor& source) const { return tinytorch::masked_scatter(tensor_of(this), mask, source); }
Tensor BreadthMethods::scatter_reduce(std::int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce, bool include_self) const { return tinytorch::scatter_reduce(tensor_of(this), dim, index, src, reduce, include_self); }
Tensor& BreadthMethods::scatter_reduce_(std::int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce, bool include_self) const {
  return write_back(this, tinytorch::scatter_reduce(unwritten(this), dim, index, src, reduce, include_self));
}
Tensor BreadthMethods::index_reduce(std::int64_t dim, const Tensor& index, const Tensor& source, std::string_view reduce, bool include_self) const { return tinytorch::index_reduce(tensor_of(this), dim, index, source, reduce, include_self); }
Tensor& BreadthMethods::index_reduce_(std::int64_t dim, const Tensor& index, const Tensor& source, std::string_view reduce, bool include_self) const {
  return write_back(this, tinytorch::index_reduce(unwritten(this), dim, index, source, reduce, include_self));
}
Tensor BreadthMethods::bitwise_left_shift(const Tensor& other) const { return tinytorch::bitwise_left_shift(tensor_of(this), other); }
Tensor BreadthMethods::bitwise_left_shift(const Scalar& other) const { return tinytorch::bitwise_left_shift(tensor_of(this), other); }
Tensor& BreadthMethods::bitwise_left_shift_(const Tensor& other) const { return write_back(this, tinytorch::bitwise_left_shift(unwritten(this), other), other); }
Tensor BreadthMethods::bitwise_right_shift(const Tensor& other) const { return tinytorch::bitwise_right_shift(tensor_of(this), other); }
Tensor BreadthMethods::bitwise_right_shift(const Scalar& other) const { return tinytorch::bitwise_right_shift(tensor_of(this), other); }
Tensor& BreadthMethods::bitwise_right_shift_(const Tensor& other) const { return write_back(this, tinytorch::bitwise_right_shift(unwritten(this), other), other); }
Tensor MoreMethods::clamp(const Tensor& min, const Tensor& max) const { return tinytorch::clamp(static_cast<const Tensor&>(*this), min, max); }

namespace {
std::string_view name_of_reduction(std::string_view reduce) {
  TORCH_CHECK(reduce == "add" || reduce == "multiply", "reduce argument must be either add or multiply.");
  return reduce == "add" ? "sum" : "prod";
}
}  // namespace
Tensor& MoreMethods::scatter_(std::int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce) const {
  const auto* self = static_cast<const Tensor*>(this);
  return write_back(self, tinytorch::scatter_reduce(unwritten(self), dim, index, src, name_of_reduction(reduce)));
}
Tensor& MoreMethods::scatter_(std::int64_t dim, const Tensor& index, const Scalar& value, std::string_view reduce) const {
  return scatter_(dim, index, full(index.sizes(), value, static_cast<const Tensor&>(*this).scalar_type()), reduce);
}

Tensor BreadthMethods::argwhere() const { return tinytorch::argwhere(tensor_of(this)); }

Tensor BreadthMethods::baddbmm(const Tensor& batch1, const Tensor& batch2, const Scalar& beta, const Scalar& alpha) const { return tinytorch::baddbmm(tensor_of(this), batch1, batch2, beta, alpha); }
Tensor BreadthMethods::addbmm(const Tensor& batch1, const Tensor& batch2, const Scalar& beta, const Scalar& alpha) const { return tinytorch::addbmm(tensor_of(this), batch1, batch2, beta, alpha); }
Tensor BreadthMethods::addmv(const Tensor& mat, const Tensor& vec, const Scalar& beta, const Scalar& alpha) const { return tinytorch::addmv(tensor_of(this), mat, vec, beta, alpha); }
Tensor BreadthMethods::addr(const Tensor& vec1, const Tensor& vec2, const Scalar& beta, const Scalar& alpha) const { return tinytorch::addr(tensor_of(this), vec1, vec2, beta, alpha); }
Tensor BreadthMethods::vdot(const Tensor& other) const { return tinytorch::vdot(tensor_of(this), other); }
Tensor BreadthMethods::inner(const Tensor& other) const { return tinytorch::inner(tensor_of(this), other); }
Tensor BreadthMethods::ger(const Tensor& vec2) const { return tinytorch::ger(tensor_of(this), vec2); }
Tensor BreadthMethods::kron(const Tensor& other) const { return tinytorch::kron(tensor_of(this), other); }
Tensor BreadthMethods::cross(const Tensor& other, std::optional<std::int64_t> dim) const { return tinytorch::cross(tensor_of(this), other, dim); }

Tensor BreadthMethods::new_zeros(IntArrayRef size) const { return tinytorch::zeros(size, tensor_of(this).options()); }
Tensor BreadthMethods::new_zeros(IntArrayRef size, const TensorOptions& options) const { return tinytorch::zeros(size, like(this, options)); }
Tensor BreadthMethods::new_ones(IntArrayRef size) const { return tinytorch::ones(size, tensor_of(this).options()); }
Tensor BreadthMethods::new_ones(IntArrayRef size, const TensorOptions& options) const { return tinytorch::ones(size, like(this, options)); }
Tensor BreadthMethods::new_empty(IntArrayRef size) const { return tinytorch::empty(size, tensor_of(this).options()); }
Tensor BreadthMethods::new_empty(IntArrayRef size, const TensorOptions& options) const { return tinytorch::empty(size, like(this, options).memory_format(std::nullopt)); }
Tensor BreadthMethods::new_full(IntArrayRef size, const Scalar& fill_value) const { return tinytorch::full(size, fill_value, tensor_of(this).options()); }
Tensor BreadthMethods::new_full(IntArrayRef size, const Scalar& fill_value, const TensorOptions& options) const { return tinytorch::full(size, fill_value, like(this, options)); }
bool BreadthMethods::is_same_size(const Tensor& other) const { return tensor_of(this).sizes() == other.sizes(); }
bool BreadthMethods::is_signed() const { return tensor_of(this).scalar_type() != kByte && tensor_of(this).scalar_type() != kBool; }
bool BreadthMethods::is_nonzero() const { return nonzero_number(this); }
bool BreadthMethods::is_complex() const { return false; }
bool BreadthMethods::is_sparse() const { return false; }
bool BreadthMethods::is_quantized() const { return false; }
bool BreadthMethods::is_set_to(const Tensor& tensor) const {
  const Tensor& self = tensor_of(this);
  return self.is_alias_of(tensor) && self.storage_offset() == tensor.storage_offset() && self.sizes() == tensor.sizes() && self.strides() == tensor.strides();
}
bool BreadthMethods::has_storage() const { return tensor_of(this).defined(); }
Tensor BreadthMethods::variable_data() const { return tensor_of(this).detach(); }
Tensor Tensor::data() const { return detach(); }
Tensor BreadthMethods::numpy_T() const {
  const Tensor& self = tensor_of(this);
  std::vector<std::int64_t> reversed(static_cast<std::size_t>(self.dim()));
  std::iota(reversed.rbegin(), reversed.rend(), 0);
  return self.permute(reversed);
}
Tensor BreadthMethods::tensor_data() const { return tensor_of(this).detach(); }

}  // namespace tinytorch
