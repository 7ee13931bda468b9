// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch
// ---

// %% [markdown]
// # Library chapter 60: One function, many forms of arguments
//
// Python's `torch.div(x, 2)`, `torch.div(x, y)` and `torch.div(x, y, rounding_mode="floor")` are one function that looks at its arguments when it is called. C++ chooses while it compiles, among functions of one name with different parameters: overloads.
// PyTorch's list of operators has an entry for each (`div.Scalar`, `div.Tensor`, `div.Tensor_mode`), and generates a function and a method from every entry. This chapter writes those down that the chapters before it left out. None computes anything new. No exercises.
//
//     mul(x, 2.0)                 a number         --> a 0-d tensor that has no voice in promotion     mul(Tensor, Tensor)
//     cumsum(x, 0, kDouble)       a dtype          --> the operand is converted first                  cumsum(Tensor, dim)
//     x.var(dims, 1.5)            absent, or dims  --> the empty list, which means all                 var(IntArrayRef, correction)
//     x.clamp_min(low)            a tensor         --> bounds by element                               clamp(Tensor, Tensor)
//
// A number becomes a *wrapped* number (module 01): `mul(x, 2.0)` of a float x stays float, where a double tensor of one element and one dimension would make it double.
// A dtype is applied before the computation, not after it: the sum of ten bytes of 200 in Long is 2,000, and converting the bytes' own sum would be too late if it were kept in a byte.

// %%
//| after 09
//| export core/overload_methods.h
//| extends Tensor
#include <cstdint>
#include <optional>
#include <vector>
#include "tinytorch/core/array_ref.h"
#include "tinytorch/core/scalar.h"

namespace tinytorch {
class Tensor;
class TensorOptions;

// The Tensor methods that chapter 60 adds by name; each calls the function of its name (overloads.h).
class OverloadMethods {
 public:
  Tensor ldexp(const Tensor& other) const;
  Tensor& ldexp_(const Tensor& other) const;
  Tensor msort() const;
  Tensor narrow_copy(std::int64_t dim, std::int64_t start, std::int64_t length) const;
  Tensor put(const Tensor& index, const Tensor& source, bool accumulate = false) const;
  Tensor& put_(const Tensor& index, const Tensor& source, bool accumulate = false) const;
  Tensor renorm(const Scalar& p, std::int64_t dim, const Scalar& maxnorm) const;
  Tensor& renorm_(const Scalar& p, std::int64_t dim, const Scalar& maxnorm) const;
  Tensor as_strided_scatter(const Tensor& src, IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset = std::nullopt) const;
  std::vector<Tensor> unsafe_chunk(std::int64_t chunks, std::int64_t dim = 0) const;
  std::vector<Tensor> unsafe_split(std::int64_t split_size, std::int64_t dim = 0) const;
  Tensor new_empty_strided(IntArrayRef size, IntArrayRef stride, const TensorOptions& options) const;
  Tensor new_empty_strided(IntArrayRef size, IntArrayRef stride) const;
  Tensor prelu(const Tensor& weight) const;
  Tensor hardshrink(const Scalar& lambd = 0.5) const;
};

}  // namespace tinytorch

// %%
//| export core/overloads.h
#include <concepts>
#include <optional>
#include <string_view>
#include <tuple>
#include <vector>
#include "tinytorch/core/breadth.h"
#include "tinytorch/core/matrix_ops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/optional_array_ref.h"
//| export core/overloads.cpp
#include <algorithm>
#include <utility>
#include "tinytorch/core/dict.h"
#include "tinytorch/core/inplace_or_view.h"
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/nn/more_activations.h"
#include "tinytorch/nn/padding.h"

// %%
#include <cmath>
#include <string>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/dict.h"
#include "tinytorch/core/overloads.h"
#include "tinytorch/core/tensor_data.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## A number in place of a tensor
//
// Nothing converts a number to a `Tensor` by itself: it would happen where nobody meant it. So each function that has two operands has a form with a `Scalar`.

// %%
//| export core/overloads.h
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

// %%
TEST_CASE("overloads: a number decides no dtype within its kind") {
  const Tensor x = tensor({1.0F, -2.0F, 3.0F});
  const Tensor n = tensor({7, -7, 4});
  CHECK_EQ(mul(x, 2.0), tensor({2.0F, -4.0F, 6.0F}));
  CHECK_EQ(mul(n, 0.5), tensor({3.5F, -3.5F, 2.0F}));
  CHECK_EQ(sub(n, 1, 2), tensor({5, -9, 2}));
  CHECK_EQ(div(n, 2), tensor({3.5F, -3.5F, 2.0F}));
  CHECK_EQ(divide(n, 2, "floor"), tensor({3, -4, 2}));
  CHECK_EQ(divide(n, 2, "trunc"), tensor({3, -3, 2}));
  CHECK_EQ(ge(x, 1), tensor({true, false, true}));
  CHECK_EQ(not_equal(x, 3), tensor({true, true, false}));
  CHECK_EQ(remainder(7, tensor({3, -3})), tensor({1, -2}));
  CHECK_EQ(bitwise_left_shift(1, tensor({0, 3})), tensor({1, 8}));
  CHECK_EQ(isin(n, 4), tensor({false, false, true}));
  CHECK_EQ(bucketize(2.5, tensor({1.0F, 2.0F, 3.0F})).item<std::int64_t>(), 2);
  CHECK_EQ(result_type(n, 1.5), kFloat);
  CHECK_EQ(result_type(x, 2), kFloat);
  CHECK_EQ(result_type(2, 1.5), kFloat);
  CHECK_EQ(xlogy(0, tensor({0.0F})), tensor({0.0F}));
}

// %% [markdown]
// ## The dtype of a result, and dimensions that may be absent

// %%
//| export core/overloads.h
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

// %%
//| export core/overloads.cpp
Tensor prod(const Tensor& self, std::optional<ScalarType> dtype) { return detail::in_dtype(prod(detail::in_dtype(self, dtype)), dtype); }
Tensor prod(const Tensor& self, std::int64_t dim, bool keepdim, std::optional<ScalarType> dtype) { return detail::in_dtype(prod(detail::in_dtype(self, dtype), dim, keepdim), dtype); }
Tensor cumsum(const Tensor& self, std::int64_t dim, std::optional<ScalarType> dtype) { return detail::in_dtype(cumsum(detail::in_dtype(self, dtype), dim), dtype); }
Tensor cumprod(const Tensor& self, std::int64_t dim, std::optional<ScalarType> dtype) { return detail::in_dtype(cumprod(detail::in_dtype(self, dtype), dim), dtype); }
Tensor nansum(const Tensor& self, IntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) { return detail::in_dtype(nansum(detail::in_dtype(self, dtype), dim, keepdim), dtype); }

Tensor norm(const Tensor& self, const std::optional<Scalar>& p, IntArrayRef dim, bool keepdim, ScalarType dtype) {
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(), "linalg.vector_norm: Expected a floating point or complex tensor as input. Got ", self.scalar_type());
  TORCH_CHECK(promoteTypes(self.scalar_type(), dtype) == dtype, "linalg.vector_norm: the dtype of the input (", self.scalar_type(), ") should be convertible without narrowing to the specified dtype (", dtype, ")");
  return norm(to_dtype(self, dtype), p, dim, keepdim);
}

Tensor any(const Tensor& self, const OptionalIntArrayRef& dim, bool keepdim) { return op::any(self, dims_or_all(dim), keepdim); }
Tensor all(const Tensor& self, const OptionalIntArrayRef& dim, bool keepdim) { return op::all(self, dims_or_all(dim), keepdim); }

std::tuple<Tensor, Tensor> var_mean(const Tensor& self, IntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim) {
  return {var(self, dim, correction, keepdim), mean(self, dim, keepdim)};
}
std::tuple<Tensor, Tensor> std_mean(const Tensor& self, IntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim) {
  return {tinytorch::std(self, dim, correction, keepdim), mean(self, dim, keepdim)};
}

Tensor argmax(const Tensor& self, std::optional<std::int64_t> dim, bool keepdim) {
  if (dim) return argmax(self, *dim, keepdim);
  const Tensor position = argmax(self);
  return keepdim ? position.view(DimVector(self.sizes().size(), 1)) : position;
}

// %%
TEST_CASE("overloads: the dtype is the operand's before anything is computed") {
  const Tensor bytes = full({10}, 200, kByte);
  CHECK_EQ(sum(bytes, kDouble), tensor(2000.0, kDouble));
  CHECK_EQ(cumsum(bytes, 0, kByte).select(0, 1).item<int>(), 144);  // 400 - 256
  CHECK_EQ(cumsum(bytes, 0, kDouble).select(0, 9).item<double>(), 2000.0);
  CHECK_EQ(mean(bytes, kDouble), tensor(200.0, kDouble));
  CHECK_EQ(mean(tensor({{1, 2}, {3, 5}}), {0}, true, kDouble), tensor({{2.0, 3.5}}, kDouble));
  CHECK_EQ(prod(tensor({2, 3}), kFloat), tensor(6.0F));
  CHECK_EQ(cumprod(tensor({2, 3}), 0, kInt).scalar_type(), kInt);
  CHECK_EQ(tensor({3.0F, 4.0F}).norm(2, kDouble), tensor(5.0, kDouble));
  CHECK_ERROR(mean(bytes, std::nullopt), "could not infer output dtype");
}

TEST_CASE("overloads: absent dimensions mean all of them") {
  const Tensor x = tensor({{1.0F, 2.0F}, {3.0F, 6.0F}});
  const OptionalIntArrayRef absent;
  const std::vector<std::int64_t> first_only{0};
  const OptionalIntArrayRef first = first_only;
  CHECK_EQ(sum(x, absent), tensor(12.0F));
  CHECK_EQ(x.sum(first, true), tensor({{4.0F, 8.0F}}));
  CHECK_EQ(x.mean(absent), tensor(3.0F));
  CHECK_EQ(x.var(absent, false), tensor(3.5F));
  CHECK_CLOSE(x.std(std::nullopt, Scalar(0)), tensor(std::sqrt(3.5F)));
  CHECK_EQ(x.any(first, false), tensor({true, true}));
  CHECK_EQ(x.argmax(std::nullopt, true), tensor({{3}}));
  CHECK_EQ(x.argmax(std::optional<std::int64_t>(0)), tensor({1, 1}));
  const auto [spread, middle] = var_mean(x, std::nullopt, std::optional<Scalar>(), true);
  CHECK_CLOSE(spread, tensor({{14.0F / 3}}));
  CHECK_EQ(middle, tensor({{3.0F}}));
}

// %% [markdown]
// ## Bounds, weights and values by element; places as tensors

// %%
//| export core/overloads.h
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

// %%
//| export core/overloads.cpp
Tensor lerp(const Tensor& self, const Tensor& end, const Tensor& weight) {
  TORCH_CHECK(self.scalar_type() == end.scalar_type(), "expected dtype ", type_meta_name(self.scalar_type()), " for `end` but got dtype ", type_meta_name(end.scalar_type()));
  TORCH_CHECK(self.scalar_type() == weight.scalar_type(), "expected dtype ", type_meta_name(self.scalar_type()), " for `weight` but got dtype ", type_meta_name(weight.scalar_type()));
  // From the nearer end, so that weight 1 gives `end` itself.
  const Tensor way = end - self;
  return where(weight.abs() < 0.5, self + weight * way, end - way * (1 - weight));
}

namespace {
void check_fills(const Tensor& value) { TORCH_CHECK(value.dim() == 0, "fill_ only supports 0-dimension value tensor but got tensor with ", value.dim(), " dimensions."); }
}  // namespace

Tensor fill(const Tensor& self, const Scalar& value) { return full_like(self, value); }
Tensor fill(const Tensor& self, const Tensor& value) {
  check_fills(value);
  return to_dtype(value, self.scalar_type()).expand(self.sizes()).clone();
}
Tensor& Tensor::fill_(const Tensor& value) const {
  check_fills(value);
  return copy_(value.expand(sizes()));
}

Tensor index_fill(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& value) {
  TORCH_CHECK(value.dim() == 0, "index_fill_ only supports a 0-dimensional value tensor, but got tensor with ", value.dim(), " dimension(s).");
  DimVector sizes(self.sizes());
  if (self.dim() > 0) sizes[static_cast<std::size_t>(wrap_dim(dim, self.dim()))] = index.numel();
  return index_copy(self, dim, index, to_dtype(value, self.scalar_type()).expand(sizes));
}

Tensor scatter(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce) { return clone(self).scatter_(dim, index, src, reduce); }
Tensor scatter(const Tensor& self, std::int64_t dim, const Tensor& index, const Scalar& value, std::string_view reduce) { return clone(self).scatter_(dim, index, value, reduce); }

Tensor squeeze(const Tensor& self, IntArrayRef dim) {
  DimVector dims;
  for (const std::int64_t d : dim) dims.push_back(wrap_dim(d, self.dim()));
  std::sort(dims.begin(), dims.end());
  const auto twice = std::adjacent_find(dims.begin(), dims.end());
  TORCH_CHECK(twice == dims.end(), "dim ", *twice, " appears multiple times in the list of dims");
  Tensor result = self.view(self.sizes());
  for (std::size_t i = dims.size(); i-- > 0;) result = squeeze(result, dims[i]);  // from the last, so that those before it keep their numbers
  return result;
}

Tensor narrow(const Tensor& self, std::int64_t dim, const Tensor& start, std::int64_t length) {
  TORCH_CHECK(start.dim() == 0 && isIntegralType(start.scalar_type(), false), "start must be an 0-dim integral Tensor.");
  return narrow(self, dim, start.item<std::int64_t>(), length);
}

std::vector<Tensor> tensor_split(const Tensor& self, const Tensor& tensor_indices_or_sections, std::int64_t dim) {
  const Tensor& given = tensor_indices_or_sections;
  TORCH_CHECK(given.scalar_type() == kLong, "tensor_split expected tensor_indices_or_sections to have dtype of long, but got ", given.scalar_type());
  TORCH_CHECK(given.dim() <= 1, "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or one-dimensional tensor, but got a tensor with ", given.dim(), " dims");
  if (given.dim() == 0) return tensor_split(self, given.item<std::int64_t>(), dim);
  const Tensor places = given.contiguous();
  return tensor_split(self, IntArrayRef(places.data<std::int64_t>(), static_cast<std::size_t>(places.numel())), dim);
}

namespace {
Tensor of_length(const Tensor& result, std::optional<std::int64_t> dim, std::optional<std::int64_t> output_size) {
  const std::int64_t length = result.size(dim.value_or(0));
  TORCH_CHECK(!output_size || *output_size == length, "allocated size does not match required size\n[repeat_interleave] output_size is ", *output_size, ", the repeats make ", length, ".");
  return result;
}
}  // namespace

Tensor repeat_interleave(const Tensor& repeats, std::optional<std::int64_t> output_size) {
  TORCH_CHECK(repeats.dim() == 1, "repeat_interleave only accept 1D vector as repeat");
  return of_length(repeat_interleave(arange(repeats.size(0), repeats.scalar_type()), repeats), 0, output_size);
}
Tensor repeat_interleave(const Tensor& self, const Tensor& repeats, std::optional<std::int64_t> dim, std::optional<std::int64_t> output_size) {
  return of_length(repeat_interleave(self, repeats, dim), dim, output_size);
}
Tensor repeat_interleave(const Tensor& self, std::int64_t repeats, std::optional<std::int64_t> dim, std::optional<std::int64_t> output_size) {
  const Tensor result = repeat_interleave(self, repeats, dim);
  TORCH_CHECK(!output_size || *output_size == result.size(dim.value_or(0)), "repeat_interleave: Invalid output_size, expected ", result.size(dim.value_or(0)), " but got ", *output_size);
  return result;
}

// NaN is the largest when sorted, so what is no NaN stands in front.
std::tuple<Tensor, Tensor> nanmedian(const Tensor& self, std::int64_t dim, bool keepdim) {
  if (self.dim() == 0) return {clone(self), zeros({}, kLong)};
  const auto [values, places] = sort(self, dim);
  const Tensor middle = clamp_min(floor_divide(self.eq(self).sum({dim}, true) - 1, 2), 0);
  const Tensor value = gather(values, dim, middle), place = gather(places, dim, middle);
  return {keepdim ? value : value.squeeze(dim), keepdim ? place : place.squeeze(dim)};
}

namespace {
std::vector<Tensor> each(TensorList tensors, Tensor (*f)(const Tensor&)) {
  std::vector<Tensor> results;
  for (const Tensor& tensor : tensors) results.push_back(f(tensor));
  return results;
}
}  // namespace
std::vector<Tensor> atleast_1d(TensorList tensors) { return each(tensors, atleast_1d); }
std::vector<Tensor> atleast_2d(TensorList tensors) { return each(tensors, atleast_2d); }
std::vector<Tensor> atleast_3d(TensorList tensors) { return each(tensors, atleast_3d); }

Tensor pad(const Tensor& self, IntArrayRef pad, std::string_view mode, std::optional<double> value) {
  nn::functional::PadFuncOptions options(std::vector<std::int64_t>(pad.begin(), pad.end()));
  TORCH_CHECK(mode == "constant" || !value || *value == 0, "Padding mode \"", mode, "\" doesn't take in value argument");
  if (mode == "reflect") options.mode(kReflect);
  else if (mode == "replicate") options.mode(kReplicate);
  else if (mode == "circular") options.mode(kCircular);
  else TORCH_CHECK_NOT_IMPLEMENTED(mode == "constant", "Unrecognised padding mode ", mode);
  return nn::functional::pad(self, options.value(value.value_or(0)));
}

Tensor ldexp(const Tensor& self, const Tensor& other) { return self * pow(2.0, other); }
Tensor msort(const Tensor& self) { return std::get<0>(sort(self, 0)); }

Tensor put(const Tensor& self, const Tensor& index, const Tensor& source, bool accumulate) {
  TORCH_CHECK(index.scalar_type() == kLong, "put_(): Expected a long tensor for index, but got ", index.scalar_type());
  TORCH_CHECK(self.scalar_type() == source.scalar_type(), "put_(): self and source expected to have the same dtype, but got self.dtype = ", self.scalar_type(), " and source.dtype = ", source.scalar_type());
  TORCH_CHECK_INDEX(index.numel() == source.numel(), "put_(): Expected source and index to have the same number of elements, but got source.numel() = ", source.numel(), ", index.numel() = ", index.numel());
  const Tensor flat = index_put(self.reshape({-1}), std::vector<std::optional<Tensor>>{index.reshape({-1})}, source.reshape({-1}), accumulate);
  return flat.view(self.sizes());
}

Tensor renorm(const Tensor& self, const Scalar& p, std::int64_t dim, const Scalar& maxnorm) {
  TORCH_CHECK(p.toDouble() > 0, "renorm: non-positive-norm not supported");
  TORCH_CHECK(maxnorm.toDouble() >= 0, "renorm: expected maxnorm to be >= 0 but got ", maxnorm.toDouble());
  TORCH_CHECK(self.dim() > 1, "renorm: input needs at least 2 dimensions, got ", self.dim(), " dimensions");
  DimVector others;
  for (std::int64_t d = 0; d < self.dim(); ++d)
    if (d != wrap_dim(dim, self.dim())) others.push_back(d);
  const Tensor size = norm(self, p, others, true);
  return self * where(size > maxnorm, maxnorm.toDouble() / (size + 1e-7), ones({}, self.options()));
}

Tensor as_strided_scatter(const Tensor& self, const Tensor& src, IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset) {
  const Tensor result = clone(self);
  const Tensor part = as_strided(result, size, stride, storage_offset);
  TORCH_CHECK(part.sizes() == src.sizes(), "expected src to have a size equal to the slice of self. src size = ", src.sizes(), ", slice size = ", part.sizes());
  part.copy_(src);
  return result;
}

// %% [markdown]
// ## Methods
//
// One line each, as in chapters 74 and 96, in whose classes most of them are declared: a name that stood in two base classes of `Tensor` would be ambiguous.

// %%
//| export core/overloads.cpp
namespace {
template <class Methods>
const Tensor& tensor_of(const Methods* self) {
  return static_cast<const Tensor&>(*self);
}

// What the tensor holds before it is written: a copy where a graph may want to keep it.
template <class Methods>
Tensor unwritten(const Methods* self) {
  const Tensor& tensor = tensor_of(self);
  return layers_of(tensor).has(Layer::Autograd) ? clone(tensor) : tensor;
}

template <class Methods>
Tensor& write(const Methods* self, const Tensor& result, const Tensor& other = Tensor()) {
  return const_cast<Tensor&>(detail::write_result(tensor_of(self), result, other));
}
}  // namespace

Tensor MoreMethods::squeeze(IntArrayRef dim) const { return tinytorch::squeeze(tensor_of(this), dim); }
Tensor MoreMethods::narrow(std::int64_t dim, const Tensor& start, std::int64_t length) const { return tinytorch::narrow(tensor_of(this), dim, start, length); }
Tensor MoreMethods::div(const Tensor& other, std::optional<std::string_view> rounding_mode) const { return tinytorch::div(tensor_of(this), other, rounding_mode); }
Tensor MoreMethods::div(const Scalar& other, std::optional<std::string_view> rounding_mode) const { return tinytorch::div(tensor_of(this), other, rounding_mode); }
Tensor& MoreMethods::div_(const Tensor& other, std::optional<std::string_view> rounding_mode) const { return write(this, tinytorch::div(unwritten(this), other, rounding_mode), other); }
Tensor& MoreMethods::div_(const Scalar& other, std::optional<std::string_view> rounding_mode) const { return write(this, tinytorch::div(unwritten(this), other, rounding_mode)); }
Tensor MoreMethods::round(std::int64_t decimals) const { return tinytorch::round(tensor_of(this), decimals); }
Tensor& MoreMethods::round_(std::int64_t decimals) const { return write(this, tinytorch::round(unwritten(this), decimals)); }
Tensor MoreMethods::clamp_min(const Tensor& min) const { return tinytorch::clamp_min(tensor_of(this), min); }
Tensor MoreMethods::clamp_max(const Tensor& max) const { return tinytorch::clamp_max(tensor_of(this), max); }
Tensor& MoreMethods::clamp_min_(const Tensor& min) const { return write(this, tinytorch::clamp_min(unwritten(this), min), min); }
Tensor& MoreMethods::clamp_max_(const Tensor& max) const { return write(this, tinytorch::clamp_max(unwritten(this), max), max); }
Tensor MoreMethods::lerp(const Tensor& end, const Tensor& weight) const { return tinytorch::lerp(tensor_of(this), end, weight); }
Tensor& MoreMethods::lerp_(const Tensor& end, const Tensor& weight) const { return write(this, tinytorch::lerp(unwritten(this), end, weight), end); }
Tensor MoreMethods::where(const Tensor& condition, const Scalar& other) const { return tinytorch::where(condition, tensor_of(this), other); }
Tensor& MoreMethods::pow_(const Tensor& exponent) const { return write(this, tinytorch::pow(unwritten(this), exponent), exponent); }
Tensor MoreMethods::bernoulli(double p, std::optional<Generator> generator) const { return empty_like(tensor_of(this)).bernoulli_(p, std::move(generator)); }
Tensor MoreMethods::index(const List<std::optional<Tensor>>& indices) const { return index(indices.vec()); }
Tensor& MoreMethods::index_put_(const List<std::optional<Tensor>>& indices, const Tensor& values, bool accumulate) const { return index_put_(indices.vec(), values, accumulate); }
Tensor MoreMethods::scatter(std::int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce) const { return tinytorch::scatter(tensor_of(this), dim, index, src, reduce); }
Tensor MoreMethods::scatter(std::int64_t dim, const Tensor& index, const Scalar& value, std::string_view reduce) const { return tinytorch::scatter(tensor_of(this), dim, index, value, reduce); }
Tensor MoreMethods::mean(std::optional<ScalarType> dtype) const { return tinytorch::mean(tensor_of(this), dtype); }
Tensor MoreMethods::mean(IntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) const { return tinytorch::mean(tensor_of(this), dim, keepdim, dtype); }
Tensor MoreMethods::max(const Tensor& other) const { return maximum(other); }
Tensor MoreMethods::min(const Tensor& other) const { return minimum(other); }
Tensor MoreMethods::argmax(std::optional<std::int64_t> dim, bool keepdim) const { return tinytorch::argmax(tensor_of(this), dim, keepdim); }
Tensor MoreMethods::prod(std::optional<ScalarType> dtype) const { return tinytorch::prod(tensor_of(this), dtype); }
Tensor MoreMethods::prod(std::int64_t dim, bool keepdim, std::optional<ScalarType> dtype) const { return tinytorch::prod(tensor_of(this), dim, keepdim, dtype); }
Tensor MoreMethods::any(const OptionalIntArrayRef& dim, bool keepdim) const { return tinytorch::any(tensor_of(this), dim, keepdim); }
Tensor MoreMethods::all(const OptionalIntArrayRef& dim, bool keepdim) const { return tinytorch::all(tensor_of(this), dim, keepdim); }
Tensor MoreMethods::norm(const std::optional<Scalar>& p, ScalarType dtype) const { return tinytorch::norm(tensor_of(this), p, dtype); }
Tensor MoreMethods::norm(const std::optional<Scalar>& p, IntArrayRef dim, bool keepdim, ScalarType dtype) const { return tinytorch::norm(tensor_of(this), p, dim, keepdim, dtype); }
Tensor MoreMethods::cumsum(std::int64_t dim, std::optional<ScalarType> dtype) const { return tinytorch::cumsum(tensor_of(this), dim, dtype); }
Tensor MoreMethods::argsort(bool stable, std::int64_t dim, bool descending) const { return std::get<1>(sort(stable, dim, descending)); }

Tensor BreadthMethods::xlogy(const Scalar& other) const { return tinytorch::xlogy(tensor_of(this), other); }
Tensor& BreadthMethods::xlogy_(const Scalar& other) const { return write(this, tinytorch::xlogy(unwritten(this), other)); }
Tensor BreadthMethods::divide(const Tensor& other, std::optional<std::string_view> rounding_mode) const { return tinytorch::div(tensor_of(this), other, rounding_mode); }
Tensor BreadthMethods::divide(const Scalar& other, std::optional<std::string_view> rounding_mode) const { return tinytorch::div(tensor_of(this), other, rounding_mode); }
Tensor& BreadthMethods::divide_(const Tensor& other, std::optional<std::string_view> rounding_mode) const { return tensor_of(this).div_(other, rounding_mode); }
Tensor& BreadthMethods::divide_(const Scalar& other, std::optional<std::string_view> rounding_mode) const { return tensor_of(this).div_(other, rounding_mode); }
Tensor& BreadthMethods::bitwise_and_(const Scalar& other) const { return bitwise_and_(wrapped_scalar(other)); }
Tensor& BreadthMethods::bitwise_or_(const Scalar& other) const { return bitwise_or_(wrapped_scalar(other)); }
Tensor& BreadthMethods::bitwise_xor_(const Scalar& other) const { return bitwise_xor_(wrapped_scalar(other)); }
Tensor& BreadthMethods::bitwise_left_shift_(const Scalar& other) const { return bitwise_left_shift_(wrapped_scalar(other)); }
Tensor& BreadthMethods::bitwise_right_shift_(const Scalar& other) const { return bitwise_right_shift_(wrapped_scalar(other)); }
Tensor BreadthMethods::nansum(IntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) const { return tinytorch::nansum(tensor_of(this), dim, keepdim, dtype); }
Tensor BreadthMethods::nanmean(IntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) const { return tinytorch::nanmean(tensor_of(this), dim, keepdim, dtype); }
std::tuple<Tensor, Tensor> BreadthMethods::nanmedian(std::int64_t dim, bool keepdim) const { return tinytorch::nanmedian(tensor_of(this), dim, keepdim); }
Tensor BreadthMethods::cumprod(std::int64_t dim, std::optional<ScalarType> dtype) const { return tinytorch::cumprod(tensor_of(this), dim, dtype); }
Tensor BreadthMethods::moveaxis(IntArrayRef source, IntArrayRef destination) const { return tinytorch::movedim(tensor_of(this), source, destination); }
Tensor BreadthMethods::repeat_interleave(std::int64_t repeats, std::optional<std::int64_t> dim, std::optional<std::int64_t> output_size) const { return tinytorch::repeat_interleave(tensor_of(this), repeats, dim, output_size); }
Tensor BreadthMethods::repeat_interleave(const Tensor& repeats, std::optional<std::int64_t> dim, std::optional<std::int64_t> output_size) const { return tinytorch::repeat_interleave(tensor_of(this), repeats, dim, output_size); }
std::vector<Tensor> BreadthMethods::tensor_split(const Tensor& tensor_indices_or_sections, std::int64_t dim) const { return tinytorch::tensor_split(tensor_of(this), tensor_indices_or_sections, dim); }
Tensor BreadthMethods::index_put(const List<std::optional<Tensor>>& indices, const Tensor& values, bool accumulate) const { return index_put(indices.vec(), values, accumulate); }
Tensor BreadthMethods::index_fill(std::int64_t dim, const Tensor& index, const Tensor& value) const { return tinytorch::index_fill(tensor_of(this), dim, index, value); }
Tensor& BreadthMethods::index_fill_(std::int64_t dim, const Tensor& index, const Tensor& value) const { return write(this, tinytorch::index_fill(unwritten(this), dim, index, value), value); }

Tensor OverloadMethods::ldexp(const Tensor& other) const { return tinytorch::ldexp(tensor_of(this), other); }
Tensor& OverloadMethods::ldexp_(const Tensor& other) const { return write(this, tinytorch::ldexp(unwritten(this), other), other); }
Tensor OverloadMethods::msort() const { return tinytorch::msort(tensor_of(this)); }
Tensor OverloadMethods::narrow_copy(std::int64_t dim, std::int64_t start, std::int64_t length) const { return tinytorch::narrow_copy(tensor_of(this), dim, start, length); }
Tensor OverloadMethods::put(const Tensor& index, const Tensor& source, bool accumulate) const { return tinytorch::put(tensor_of(this), index, source, accumulate); }
Tensor& OverloadMethods::put_(const Tensor& index, const Tensor& source, bool accumulate) const { return write(this, tinytorch::put(unwritten(this), index, source, accumulate), source); }
Tensor OverloadMethods::renorm(const Scalar& p, std::int64_t dim, const Scalar& maxnorm) const { return tinytorch::renorm(tensor_of(this), p, dim, maxnorm); }
Tensor& OverloadMethods::renorm_(const Scalar& p, std::int64_t dim, const Scalar& maxnorm) const { return write(this, tinytorch::renorm(unwritten(this), p, dim, maxnorm)); }
Tensor OverloadMethods::as_strided_scatter(const Tensor& src, IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset) const { return tinytorch::as_strided_scatter(tensor_of(this), src, size, stride, storage_offset); }
std::vector<Tensor> OverloadMethods::unsafe_chunk(std::int64_t chunks, std::int64_t dim) const { return tinytorch::unsafe_chunk(tensor_of(this), chunks, dim); }
std::vector<Tensor> OverloadMethods::unsafe_split(std::int64_t split_size, std::int64_t dim) const { return tinytorch::unsafe_split(tensor_of(this), split_size, dim); }
Tensor OverloadMethods::new_empty_strided(IntArrayRef size, IntArrayRef stride, const TensorOptions& options) const {
  return empty_strided(size, stride, options.has_dtype() ? options : options.dtype(tensor_of(this).scalar_type()));
}
Tensor OverloadMethods::new_empty_strided(IntArrayRef size, IntArrayRef stride) const { return new_empty_strided(size, stride, TensorOptions()); }
Tensor OverloadMethods::prelu(const Tensor& weight) const { return tinytorch::prelu(tensor_of(this), weight); }
Tensor OverloadMethods::hardshrink(const Scalar& lambd) const { return tinytorch::hardshrink(tensor_of(this), lambd); }

// %%
TEST_CASE("overloads: bounds, weights and values by element") {
  const Tensor x = tensor({1.0F, -2.0F, 3.0F});
  CHECK_EQ(clamp_min(x, tensor({2.0F, -3.0F, 0.0F})), tensor({2.0F, -2.0F, 3.0F}));
  CHECK_EQ(tensor({1, 2, 3}).clamp_max(tensor({1.5F})), tensor({1.0F, 1.5F, 1.5F}));
  CHECK_ERROR(tensor({1, 2}).clamp_min_(tensor(1.5F)), "result type Float can't be cast to the desired output type Long");
  CHECK_CLOSE(lerp(x, x + 4, tensor({0.0F, 0.25F, 1.0F})), tensor({1.0F, -1.0F, 7.0F}));
  CHECK_ERROR(lerp(x, x, x.to(kDouble)), "expected dtype float for `weight` but got dtype double");
  CHECK_EQ(fill(x, tensor(2)), tensor({2.0F, 2.0F, 2.0F}));
  CHECK_ERROR(x.clone().fill_(tensor({1.0F, 2.0F})), "fill_ only supports 0-dimension value tensor but got tensor with 1 dimensions.");
  CHECK_EQ(x.index_fill(0, tensor({0, 2}), tensor(9)), tensor({9.0F, -2.0F, 9.0F}));
  CHECK_EQ(x.where(x > 0, 0), tensor({1.0F, 0.0F, 3.0F}));
  CHECK_EQ(x.max(tensor({0.0F})), tensor({1.0F, 0.0F, 3.0F}));
  CHECK_EQ(tensor({2.0F, 3.0F}).pow_(tensor({3, 2})), tensor({8.0F, 9.0F}));
  CHECK_EQ(tensor({7, -7}).div_(2, "floor"), tensor({3, -4}));
  CHECK_ERROR(tensor({7, -7}).div_(2, "up"), "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found 'up'");
  CHECK_CLOSE(tensor({1.256F}).round(2), tensor({1.26F}));
  CHECK_EQ(tensor({5}).bitwise_and_(4), tensor({4}));
}

TEST_CASE("overloads: fill_ by a tensor and what is written back pass gradients on") {
  const Tensor value = tensor(2.0, dtype(kDouble).requires_grad(true));
  const Tensor x = zeros({3}, kDouble);
  x.fill_(value);
  (x * tensor({1.0, 2.0, 3.0}, kDouble)).sum().backward();
  CHECK_EQ(value.grad(), tensor(6.0, kDouble));
  const Tensor base = tensor({1.0, 2.0}, dtype(kDouble).requires_grad(true));
  Tensor y = base * 1;
  y.pow_(tensor({3.0, 2.0}, kDouble));
  y.sum().backward();
  CHECK_EQ(base.grad(), tensor({3.0, 4.0}, kDouble));
}

TEST_CASE("overloads: places as tensors, and lists of dimensions") {
  const Tensor x = tensor({1.0F, 2.0F, 3.0F});
  CHECK_EQ(x.narrow(0, tensor(1), 2), tensor({2.0F, 3.0F}));
  CHECK_ERROR(x.narrow(0, tensor({1}), 2), "start must be an 0-dim integral Tensor.");
  CHECK_EQ(x.tensor_split(tensor({1, 2}))[1], tensor({2.0F}));
  CHECK_EQ(x.tensor_split(tensor(2))[0], tensor({1.0F, 2.0F}));
  CHECK_EQ(repeat_interleave(tensor({2, 1})), tensor({0, 0, 1}));
  CHECK_ERROR(repeat_interleave(tensor({2, 1}), std::optional<std::int64_t>(5)), "allocated size does not match required size");
  CHECK_ERROR(x.repeat_interleave(2, 0, 5), "repeat_interleave: Invalid output_size, expected 6 but got 5");
  CHECK_EQ(ones({1, 2, 1}).squeeze({0, 2}).sizes(), IntArrayRef({2}));
  CHECK_EQ(ones({1, 2, 1}).squeeze({0, 1}).sizes(), IntArrayRef({2, 1}));
  CHECK_ERROR(ones({1, 2, 1}).squeeze({0, -3}), "dim 0 appears multiple times in the list of dims");
  List<std::optional<Tensor>> chosen;
  chosen.push_back(tensor({2, 0}));
  CHECK_EQ(x.index(chosen), tensor({3.0F, 1.0F}));
  CHECK_EQ(x.clone().index_put_(chosen, tensor({7.0F, 8.0F})), tensor({8.0F, 2.0F, 7.0F}));
  const auto [middle, place] = tensor({{1.0F, NAN, 3.0F}, {NAN, NAN, NAN}, {4.0F, 2.0F, 3.0F}}).nanmedian(1);
  CHECK_EQ(middle.select(0, 0), tensor(1.0F));
  CHECK(std::isnan(middle.select(0, 1).item<float>()));
  CHECK_EQ(place, tensor({0, 0, 2}));
}

TEST_CASE("overloads: names of this chapter") {
  const Tensor x = tensor({1.0F, 2.0F, 3.0F});
  CHECK_EQ(tensor({1, 3}).ldexp(tensor({2, -1})), tensor({4.0F, 1.5F}));
  CHECK_EQ(tensor({{3, 1}, {2, 5}}).msort(), tensor({{2, 1}, {3, 5}}));
  CHECK_EQ(x.put(tensor({0, -1}), tensor({5.0F, 6.0F})), tensor({5.0F, 2.0F, 6.0F}));
  CHECK_EQ(x.clone().put_(tensor({0, 0}), tensor({5.0F, 6.0F}), true), tensor({12.0F, 2.0F, 3.0F}));
  CHECK_ERROR(x.put(tensor({7}), tensor({5.0F})), "out of");
  CHECK_CLOSE(ones({2, 2}).renorm(2, 0, 1), full({2, 2}, 0.70710670F));
  CHECK_ERROR(x.renorm(2, 0, 1), "renorm: input needs at least 2 dimensions, got 1 dimensions");
  CHECK_EQ(x.as_strided_scatter(tensor({9.0F, 8.0F}), {2}, {2}), tensor({9.0F, 2.0F, 8.0F}));
  CHECK_EQ(x.narrow_copy(0, 1, 2), tensor({2.0F, 3.0F}));
  CHECK_EQ(x.unsafe_chunk(2)[1], tensor({3.0F}));
  CHECK_EQ(x.new_empty_strided({2, 2}, {1, 2}).strides(), IntArrayRef({1, 2}));
  CHECK_EQ(pad(x, {1, 0}, "constant", 9), tensor({9.0F, 1.0F, 2.0F, 3.0F}));
  CHECK_EQ(pad(x.view({1, 3}), {1, 1}, "reflect"), tensor({{2.0F, 1.0F, 2.0F, 3.0F, 2.0F}}));
  CHECK_ERROR(pad(x, {1, 0}, "mirror"), "Unrecognised padding mode mirror");
  Tensor y = x.clone();
  CHECK_EQ(zero_(tanh_(y)), zeros({3}));
  CHECK_EQ(clamp_min_(fill_(y, tensor(3)), 4), full({3}, 4.0F));
  CHECK(y.data_ptr() == clamp_max_(y, tensor(1.0F)).data_ptr());
  CHECK_EQ(y, ones({3}));
  CHECK_EQ(tensor({-0.4F, 0.6F}).hardshrink(), tensor({0.0F, 0.6F}));
  CHECK_EQ(tensor({-2.0F, 0.5F}).prelu(tensor({0.5F})), tensor({-1.0F, 0.5F}));
}

// %%
}  // namespace tinytorch
