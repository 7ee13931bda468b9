// From the lesson modules/60_overloads/overloads_dev.cpp:
// edit the module, not this file.
#pragma once

#include <concepts>
#include <optional>
#include <string_view>
#include <tuple>
#include <vector>

#include "tinytorch/core/breadth.h"
#include "tinytorch/core/matrix_ops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/optional_array_ref.h"

namespace tinytorch {

// ---- As with a tensor in the number's place, but a number decides no dtype within its kind (an integer beside floats, a double beside a float).
inline Tensor add(const Tensor& self, const Scalar& other, const Scalar& alpha = 1) { return add(self, wrapped_scalar(other), alpha); }
inline Tensor sub(const Tensor& self, const Scalar& other, const Scalar& alpha = 1) { return sub(self, wrapped_scalar(other), alpha); }
inline Tensor subtract(const Tensor& self, const Scalar& other, const Scalar& alpha = 1) { return sub(self, other, alpha); }
inline Tensor mul(const Tensor& self, const Scalar& other) { return mul(self, wrapped_scalar(other)); }
inline Tensor multiply(const Tensor& self, const Scalar& other) { return mul(self, other); }
inline Tensor div(const Tensor& self, const Scalar& other) { return div(self, wrapped_scalar(other)); }
inline Tensor divide(const Tensor& self, const Scalar& other) { return div(self, other); }
inline Tensor true_divide(const Tensor& self, const Scalar& other) { return div(self, other); }
inline Tensor divide(const Tensor& self, const Tensor& other, std::optional<std::string_view> rounding_mode) { return div(self, other, rounding_mode); }
inline Tensor divide(const Tensor& self, const Scalar& other, std::optional<std::string_view> rounding_mode) { return div(self, other, rounding_mode); }
inline Tensor eq(const Tensor& self, const Scalar& other) { return eq(self, wrapped_scalar(other)); }
inline Tensor ne(const Tensor& self, const Scalar& other) { return ne(self, wrapped_scalar(other)); }
inline Tensor lt(const Tensor& self, const Scalar& other) { return lt(self, wrapped_scalar(other)); }
inline Tensor le(const Tensor& self, const Scalar& other) { return le(self, wrapped_scalar(other)); }
inline Tensor gt(const Tensor& self, const Scalar& other) { return gt(self, wrapped_scalar(other)); }
inline Tensor ge(const Tensor& self, const Scalar& other) { return ge(self, wrapped_scalar(other)); }
inline Tensor not_equal(const Tensor& self, const Scalar& other) { return ne(self, other); }
inline Tensor less(const Tensor& self, const Scalar& other) { return lt(self, other); }
inline Tensor less_equal(const Tensor& self, const Scalar& other) { return le(self, other); }
inline Tensor greater(const Tensor& self, const Scalar& other) { return gt(self, other); }
inline Tensor greater_equal(const Tensor& self, const Scalar& other) { return ge(self, other); }
inline Tensor remainder(const Scalar& self, const Tensor& other) { return remainder(wrapped_scalar(self), other); }
inline Tensor xlogy(const Tensor& self, const Scalar& other) { return xlogy(self, wrapped_scalar(other)); }
inline Tensor xlogy(const Scalar& self, const Tensor& other) { return xlogy(wrapped_scalar(self), other); }
inline Tensor float_power(const Scalar& self, const Tensor& exponent) { return float_power(wrapped_scalar(self), exponent); }
inline Tensor bitwise_and(const Scalar& self, const Tensor& other) { return bitwise_and(wrapped_scalar(self), other); }
inline Tensor bitwise_or(const Scalar& self, const Tensor& other) { return bitwise_or(wrapped_scalar(self), other); }
inline Tensor bitwise_xor(const Scalar& self, const Tensor& other) { return bitwise_xor(wrapped_scalar(self), other); }
inline Tensor bitwise_left_shift(const Scalar& self, const Tensor& other) { return bitwise_left_shift(wrapped_scalar(self), other); }
inline Tensor bitwise_right_shift(const Scalar& self, const Tensor& other) { return bitwise_right_shift(wrapped_scalar(self), other); }
inline Tensor isin(const Tensor& elements, const Scalar& test_element, bool assume_unique = false, bool invert = false) { return isin(elements, wrapped_scalar(test_element), assume_unique, invert); }
inline Tensor isin(const Scalar& element, const Tensor& test_elements, bool assume_unique = false, bool invert = false) { return isin(wrapped_scalar(element), test_elements, assume_unique, invert); }
inline Tensor bucketize(const Scalar& self, const Tensor& boundaries, bool out_int32 = false, bool right = false) { return bucketize(wrapped_scalar(self), boundaries, out_int32, right); }
inline ScalarType result_type(const Tensor& tensor, const Scalar& other) { return result_type(tensor, wrapped_scalar(other)); }
inline ScalarType result_type(const Scalar& scalar, const Tensor& tensor) { return result_type(wrapped_scalar(scalar), tensor); }
inline ScalarType result_type(const Scalar& scalar1, const Scalar& scalar2) { return result_type(wrapped_scalar(scalar1), wrapped_scalar(scalar2)); }

// ---- In `dtype` where one is named: the operand is converted first.
namespace detail {
inline Tensor in_dtype(const Tensor& self, std::optional<ScalarType> dtype) { return dtype ? to_dtype(self, *dtype) : self; }
}  // namespace detail
inline Tensor sum(const Tensor& self, std::optional<ScalarType> dtype) { return self.sum(dtype); }
inline Tensor sum(const Tensor& self, IntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) { return self.sum(dim, keepdim, dtype); }
inline Tensor mean(const Tensor& self, std::optional<ScalarType> dtype) { return mean(detail::in_dtype(self, dtype)); }
inline Tensor mean(const Tensor& self, IntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) { return mean(detail::in_dtype(self, dtype), dim, keepdim); }
Tensor prod(const Tensor& self, std::optional<ScalarType> dtype);
Tensor prod(const Tensor& self, std::int64_t dim, bool keepdim, std::optional<ScalarType> dtype);
Tensor cumsum(const Tensor& self, std::int64_t dim, std::optional<ScalarType> dtype);
Tensor cumprod(const Tensor& self, std::int64_t dim, std::optional<ScalarType> dtype);
Tensor nansum(const Tensor& self, IntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype);
inline Tensor nanmean(const Tensor& self, IntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) { return nanmean(detail::in_dtype(self, dtype), dim, keepdim); }
Tensor norm(const Tensor& self, const std::optional<Scalar>& p, IntArrayRef dim, bool keepdim, ScalarType dtype);  // one that is not narrower than self's
inline Tensor norm(const Tensor& self, const std::optional<Scalar>& p, ScalarType dtype) { return norm(self, p, IntArrayRef(), false, dtype); }

// ---- Of all elements where the dimensions are absent.
template <OptionalDims Dims>
Tensor sum(const Tensor& self, const Dims& dim, bool keepdim = false, std::optional<ScalarType> dtype = std::nullopt) {
  return self.sum(dims_or_all(dim), keepdim, dtype);
}
template <OptionalDims Dims>
Tensor mean(const Tensor& self, const Dims& dim, bool keepdim = false, std::optional<ScalarType> dtype = std::nullopt) {
  return mean(self, dims_or_all(dim), keepdim, dtype);
}
template <OptionalDims Dims>
Tensor nansum(const Tensor& self, const Dims& dim, bool keepdim = false, std::optional<ScalarType> dtype = std::nullopt) {
  return nansum(self, dims_or_all(dim), keepdim, dtype);
}
template <OptionalDims Dims>
Tensor nanmean(const Tensor& self, const Dims& dim, bool keepdim = false, std::optional<ScalarType> dtype = std::nullopt) {
  return nanmean(self, dims_or_all(dim), keepdim, dtype);
}
Tensor any(const Tensor& self, const OptionalIntArrayRef& dim, bool keepdim);
Tensor all(const Tensor& self, const OptionalIntArrayRef& dim, bool keepdim);
template <std::same_as<OptionalIntArrayRef> Dims>
Tensor any(const Tensor& self, const Dims& dim) {
  return any(self, dim, false);
}
template <std::same_as<OptionalIntArrayRef> Dims>
Tensor all(const Tensor& self, const Dims& dim) {
  return all(self, dim, false);
}
template <OptionalDims Dims, class Correction>
Tensor var(const Tensor& self, const Dims& dim, const Correction& correction, bool keepdim = false) {
  return var(self, dims_or_all(dim), correction, keepdim);
}
template <OptionalDims Dims, class Correction>
Tensor std(const Tensor& self, const Dims& dim, const Correction& correction, bool keepdim = false) {
  return tinytorch::std(self, dims_or_all(dim), correction, keepdim);
}
// The spread and the mean beside it. `correction` is what is taken from the count.
std::tuple<Tensor, Tensor> var_mean(const Tensor& self, IntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim = false);
std::tuple<Tensor, Tensor> std_mean(const Tensor& self, IntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim = false);
template <OptionalDims Dims, class Correction>
std::tuple<Tensor, Tensor> var_mean(const Tensor& self, const Dims& dim, const Correction& correction, bool keepdim = false) {
  return var_mean(self, dims_or_all(dim), correction, keepdim);
}
template <OptionalDims Dims, class Correction>
std::tuple<Tensor, Tensor> std_mean(const Tensor& self, const Dims& dim, const Correction& correction, bool keepdim = false) {
  return std_mean(self, dims_or_all(dim), correction, keepdim);
}
template <OptionalDims Dims>
Tensor MoreMethods::mean(const Dims& dim, bool keepdim, std::optional<ScalarType> dtype) const {
  return mean(dims_or_all(dim), keepdim, dtype);
}
template <OptionalDims Dims, class Correction>
Tensor MoreMethods::var(const Dims& dim, const Correction& correction, bool keepdim) const {
  return var(dims_or_all(dim), correction, keepdim);
}
template <OptionalDims Dims, class Correction>
Tensor MoreMethods::std(const Dims& dim, const Correction& correction, bool keepdim) const {
  return std(dims_or_all(dim), correction, keepdim);
}
Tensor argmax(const Tensor& self, std::optional<std::int64_t> dim, bool keepdim = false);  // without a dimension: of the flattened tensor
template <std::same_as<std::optional<std::int64_t>> Dim>
Tensor count_nonzero(const Tensor& self, const Dim& dim) {
  return dim ? count_nonzero(self, IntArrayRef(*dim)) : count_nonzero(self);
}
template <std::same_as<std::optional<std::int64_t>> Dim>
Tensor BreadthMethods::count_nonzero(const Dim& dim) const {
  return tinytorch::count_nonzero(static_cast<const Tensor&>(*this), dim);
}

inline Tensor clamp_min(const Tensor& self, const Tensor& min) { return clamp(self, std::optional<Tensor>(min), std::optional<Tensor>()); }
inline Tensor clamp_max(const Tensor& self, const Tensor& max) { return clamp(self, std::optional<Tensor>(), std::optional<Tensor>(max)); }
Tensor lerp(const Tensor& self, const Tensor& end, const Tensor& weight);  // self + weight * (end - self), of one dtype; weight broadcasts
Tensor fill(const Tensor& self, const Scalar& value);  // a tensor as self, of equal elements
Tensor fill(const Tensor& self, const Tensor& value);
Tensor index_fill(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& value);  // value has no dimensions
Tensor scatter(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce);  // "add" or "multiply"
Tensor scatter(const Tensor& self, std::int64_t dim, const Tensor& index, const Scalar& value, std::string_view reduce);
Tensor squeeze(const Tensor& self, IntArrayRef dim);  // those of the dimensions that have size 1
Tensor narrow(const Tensor& self, std::int64_t dim, const Tensor& start, std::int64_t length);  // start is an integer without dimensions
inline Tensor moveaxis(const Tensor& self, IntArrayRef source, IntArrayRef destination) { return movedim(self, source, destination); }
inline std::vector<Tensor> split(const Tensor& self, IntArrayRef split_size, std::int64_t dim = 0) { return self.split(split_size, dim); }
// In as many sections as a Long tensor without dimensions says, or before each of the places that a vector of them names.
std::vector<Tensor> tensor_split(const Tensor& self, const Tensor& tensor_indices_or_sections, std::int64_t dim = 0);
// i as often as repeats[i] says. `output_size` is the length of the result, which is checked.
Tensor repeat_interleave(const Tensor& repeats, std::optional<std::int64_t> output_size = std::nullopt);
Tensor repeat_interleave(const Tensor& self, const Tensor& repeats, std::optional<std::int64_t> dim, std::optional<std::int64_t> output_size);
Tensor repeat_interleave(const Tensor& self, std::int64_t repeats, std::optional<std::int64_t> dim, std::optional<std::int64_t> output_size);
std::tuple<Tensor, Tensor> nanmedian(const Tensor& self, std::int64_t dim, bool keepdim = false);  // of what is no NaN, and where it stands
std::vector<Tensor> atleast_1d(TensorList tensors);
std::vector<Tensor> atleast_2d(TensorList tensors);
std::vector<Tensor> atleast_3d(TensorList tensors);
inline Tensor einsum(std::string_view equation, TensorList tensors, const OptionalIntArrayRef& /*path*/) { return einsum(equation, tensors); }
inline Tensor positive(const Tensor& self) { return self.positive(); }
inline Tensor detach(const Tensor& self) { return self.detach(); }
// nn::functional::pad by the mode's name: "constant" (with `value`, 0 when absent), "reflect", "replicate" or "circular".
Tensor pad(const Tensor& self, IntArrayRef pad, std::string_view mode = "constant", std::optional<double> value = std::nullopt);
inline Tensor argsort(const Tensor& self, bool stable, std::int64_t dim, bool descending = false) { return self.argsort(stable, dim, descending); }
inline bool is_nonzero(const Tensor& self) { return self.is_nonzero(); }
inline bool is_same_size(const Tensor& self, const Tensor& other) { return self.sizes() == other.sizes(); }

// ---- In place: each calls the method of its name.
inline Tensor& acos_(Tensor& self) { return self.acos_(); }
inline Tensor& acosh_(Tensor& self) { return self.acosh_(); }
inline Tensor& arccos_(Tensor& self) { return self.arccos_(); }
inline Tensor& arccosh_(Tensor& self) { return self.arccosh_(); }
inline Tensor& arcsin_(Tensor& self) { return self.arcsin_(); }
inline Tensor& arcsinh_(Tensor& self) { return self.arcsinh_(); }
inline Tensor& arctan_(Tensor& self) { return self.arctan_(); }
inline Tensor& arctanh_(Tensor& self) { return self.arctanh_(); }
inline Tensor& asin_(Tensor& self) { return self.asin_(); }
inline Tensor& asinh_(Tensor& self) { return self.asinh_(); }
inline Tensor& atan_(Tensor& self) { return self.atan_(); }
inline Tensor& cosh_(Tensor& self) { return self.cosh_(); }
inline Tensor& deg2rad_(Tensor& self) { return self.deg2rad_(); }
inline Tensor& detach_(Tensor& self) { return self.detach_(); }
inline Tensor& erfc_(Tensor& self) { return self.erfc_(); }
inline Tensor& exp2_(Tensor& self) { return self.exp2_(); }
inline Tensor& expm1_(Tensor& self) { return self.expm1_(); }
inline Tensor& fix_(Tensor& self) { return self.fix_(); }
inline Tensor& frac_(Tensor& self) { return self.frac_(); }
inline Tensor& log10_(Tensor& self) { return self.log10_(); }
inline Tensor& log1p_(Tensor& self) { return self.log1p_(); }
inline Tensor& log2_(Tensor& self) { return self.log2_(); }
inline Tensor& negative_(Tensor& self) { return self.negative_(); }
inline Tensor& rad2deg_(Tensor& self) { return self.rad2deg_(); }
inline Tensor& sigmoid_(Tensor& self) { return self.sigmoid_(); }
inline Tensor& sinc_(Tensor& self) { return self.sinc_(); }
inline Tensor& sinh_(Tensor& self) { return self.sinh_(); }
inline Tensor& tan_(Tensor& self) { return self.tan_(); }
inline Tensor& tanh_(Tensor& self) { return self.tanh_(); }
inline Tensor& trunc_(Tensor& self) { return self.trunc_(); }
inline Tensor& zero_(Tensor& self) { return self.zero_(); }
inline Tensor& round_(Tensor& self, std::int64_t decimals) { return self.round_(decimals); }
inline Tensor& fill_(Tensor& self, const Tensor& value) { return self.fill_(value); }
inline Tensor& clamp_min_(Tensor& self, const Scalar& min) { return self.clamp_min_(min); }
inline Tensor& clamp_min_(Tensor& self, const Tensor& min) { return self.clamp_min_(min); }
inline Tensor& clamp_max_(Tensor& self, const Scalar& max) { return self.clamp_max_(max); }
inline Tensor& clamp_max_(Tensor& self, const Tensor& max) { return self.clamp_max_(max); }
inline Tensor& gcd_(Tensor& self, const Tensor& other) { return self.gcd_(other); }
inline Tensor& lcm_(Tensor& self, const Tensor& other) { return self.lcm_(other); }
inline Tensor& xlogy_(Tensor& self, const Tensor& other) { return self.xlogy_(other); }
inline Tensor& xlogy_(Tensor& self, const Scalar& other) { return self.xlogy_(other); }
inline Tensor& logit_(Tensor& self, std::optional<double> eps = std::nullopt) { return self.logit_(eps); }

// ---- Names of their own.
Tensor ldexp(const Tensor& self, const Tensor& other);  // self * 2^other, in the default dtype for integers
Tensor msort(const Tensor& self);  // sorted along the first dimension
inline Tensor narrow_copy(const Tensor& self, std::int64_t dim, std::int64_t start, std::int64_t length) { return clone(narrow(self, dim, start, length)); }
// source's elements in the places `index` of the flattened self; with accumulate they are added to what is there.
Tensor put(const Tensor& self, const Tensor& index, const Tensor& source, bool accumulate = false);
// Each slice along `dim` whose p-norm is more than maxnorm, made as small as that. O(numel).
Tensor renorm(const Tensor& self, const Scalar& p, std::int64_t dim, const Scalar& maxnorm);
// self with src in place of what as_strided would read.
Tensor as_strided_scatter(const Tensor& self, const Tensor& src, IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset = std::nullopt);
inline std::vector<Tensor> unsafe_chunk(const Tensor& self, std::int64_t chunks, std::int64_t dim = 0) { return self.chunk(chunks, dim); }
inline std::vector<Tensor> unsafe_split(const Tensor& self, std::int64_t split_size, std::int64_t dim = 0) { return self.split(split_size, dim); }

}  // namespace tinytorch
