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
// # Library chapter 74: The breadth of Tensor
//
// libtorch's Tensor has some five hundred methods. Programs that were written for it use a few dozen everywhere and each of the others somewhere; this chapter has those that the lessons had no reason to teach: the rest of the elementary
// functions, second names (`arccos`, `multiply`, `greater`), forms in place, ways to rearrange, to choose, to join and to count. No exercises.
//
//     operators with a gradient of their own     acos asin sinh cosh asinh acosh atanh erfc erfinv exp2 lgamma polygamma   atan2 fmod hypot copysign   cumprod
//     composed of those and of older ones        all the rest: their gradients follow by themselves
//
// A function is composed where that costs no accuracy. `sinh(x) = (exp(x) - exp(-x)) / 2` would: near 0 two numbers near 1 are subtracted, and nothing is left of x; so it is an operator, and the C library computes it.

// %%
//| after 08
//| export core/breadth_methods.h
//| extends Tensor
#include <concepts>
#include <optional>
#include <string_view>
#include <tuple>
#include <vector>
#include "tinytorch/core/array_ref.h"
#include "tinytorch/core/generator.h"
#include "tinytorch/core/scalar.h"

namespace tinytorch {
class Tensor;
class TensorOptions;
template <class T>
class List;

// The Tensor methods of chapter 74, and chapter 60's further forms of their arguments. Each calls the function of its name (special.h, breadth.h), where it is documented; names that end in an underscore write the result into the tensor itself, whose dtype must be able to hold it.
class BreadthMethods {
 public:
  // Elementwise.
  Tensor acos() const;
  Tensor asin() const;
  Tensor sinh() const;
  Tensor cosh() const;
  Tensor asinh() const;
  Tensor acosh() const;
  Tensor atanh() const;
  Tensor exp2() const;
  Tensor erfc() const;
  Tensor erfinv() const;
  Tensor lgamma() const;
  Tensor digamma() const;
  Tensor frac() const;
  Tensor deg2rad() const;
  Tensor rad2deg() const;
  Tensor sinc() const;
  Tensor arccos() const;
  Tensor arcsin() const;
  Tensor arctan() const;
  Tensor arcsinh() const;
  Tensor arccosh() const;
  Tensor arctanh() const;
  Tensor absolute() const;
  Tensor negative() const;
  Tensor sgn() const;
  Tensor fix() const;
  Tensor atan2(const Tensor& other) const;
  Tensor arctan2(const Tensor& other) const;
  Tensor hypot(const Tensor& other) const;
  Tensor gcd(const Tensor& other) const;
  Tensor lcm(const Tensor& other) const;
  Tensor xlogy(const Tensor& other) const;
  Tensor xlogy(const Scalar& other) const;
  Tensor logaddexp(const Tensor& other) const;
  Tensor logaddexp2(const Tensor& other) const;
  Tensor fmax(const Tensor& other) const;
  Tensor fmin(const Tensor& other) const;
  Tensor heaviside(const Tensor& values) const;
  Tensor fmod(const Tensor& other) const;
  Tensor fmod(const Scalar& other) const;
  Tensor copysign(const Tensor& other) const;
  Tensor copysign(const Scalar& other) const;
  Tensor subtract(const Tensor& other, const Scalar& alpha = 1) const;
  Tensor subtract(const Scalar& other, const Scalar& alpha = 1) const;
  Tensor multiply(const Tensor& other) const;
  Tensor multiply(const Scalar& other) const;
  Tensor divide(const Tensor& other) const;
  Tensor divide(const Scalar& other) const;
  Tensor divide(const Tensor& other, std::optional<std::string_view> rounding_mode) const;
  Tensor divide(const Scalar& other, std::optional<std::string_view> rounding_mode) const;
  Tensor true_divide(const Tensor& other) const;
  Tensor true_divide(const Scalar& other) const;
  Tensor greater(const Tensor& other) const;
  Tensor greater(const Scalar& other) const;
  Tensor greater_equal(const Tensor& other) const;
  Tensor greater_equal(const Scalar& other) const;
  Tensor less(const Tensor& other) const;
  Tensor less(const Scalar& other) const;
  Tensor less_equal(const Tensor& other) const;
  Tensor less_equal(const Scalar& other) const;
  Tensor not_equal(const Tensor& other) const;
  Tensor not_equal(const Scalar& other) const;
  Tensor bitwise_and(const Tensor& other) const;
  Tensor bitwise_and(const Scalar& other) const;
  Tensor bitwise_or(const Tensor& other) const;
  Tensor bitwise_or(const Scalar& other) const;
  Tensor bitwise_xor(const Tensor& other) const;
  Tensor bitwise_xor(const Scalar& other) const;
  Tensor clip(const std::optional<Scalar>& min, const std::optional<Scalar>& max = std::nullopt) const;
  Tensor clip(const std::optional<Tensor>& min, const std::optional<Tensor>& max) const;
  Tensor logit(std::optional<double> eps = std::nullopt) const;
  Tensor float_power(const Tensor& exponent) const;
  Tensor float_power(const Scalar& exponent) const;
  Tensor nan_to_num(std::optional<double> nan = std::nullopt, std::optional<double> posinf = std::nullopt, std::optional<double> neginf = std::nullopt) const;
  Tensor polygamma(std::int64_t n) const;
  Tensor positive() const;
  Tensor isclose(const Tensor& other, double rtol = 1e-5, double atol = 1e-8, bool equal_nan = false) const;
  Tensor isposinf() const;
  Tensor isneginf() const;
  Tensor isreal() const;
  Tensor signbit() const;
  // Elementwise, in place.
  Tensor& acos_() const;
  Tensor& asin_() const;
  Tensor& sinh_() const;
  Tensor& cosh_() const;
  Tensor& asinh_() const;
  Tensor& acosh_() const;
  Tensor& atanh_() const;
  Tensor& exp2_() const;
  Tensor& erfc_() const;
  Tensor& erfinv_() const;
  Tensor& lgamma_() const;
  Tensor& digamma_() const;
  Tensor& frac_() const;
  Tensor& deg2rad_() const;
  Tensor& rad2deg_() const;
  Tensor& sinc_() const;
  Tensor& arccos_() const;
  Tensor& arcsin_() const;
  Tensor& arctan_() const;
  Tensor& arcsinh_() const;
  Tensor& arccosh_() const;
  Tensor& arctanh_() const;
  Tensor& absolute_() const;
  Tensor& negative_() const;
  Tensor& sgn_() const;
  Tensor& fix_() const;
  Tensor& tan_() const;
  Tensor& atan_() const;
  Tensor& expm1_() const;
  Tensor& log1p_() const;
  Tensor& log2_() const;
  Tensor& log10_() const;
  Tensor& trunc_() const;
  Tensor& sign_() const;
  Tensor& sigmoid_() const;
  Tensor& tanh_() const;
  Tensor& atan2_(const Tensor& other) const;
  Tensor& arctan2_(const Tensor& other) const;
  Tensor& hypot_(const Tensor& other) const;
  Tensor& gcd_(const Tensor& other) const;
  Tensor& lcm_(const Tensor& other) const;
  Tensor& xlogy_(const Tensor& other) const;
  Tensor& xlogy_(const Scalar& other) const;
  Tensor& logaddexp_(const Tensor& other) const;
  Tensor& logaddexp2_(const Tensor& other) const;
  Tensor& fmax_(const Tensor& other) const;
  Tensor& fmin_(const Tensor& other) const;
  Tensor& heaviside_(const Tensor& other) const;
  Tensor& fmod_(const Tensor& other) const;
  Tensor& fmod_(const Scalar& other) const;
  Tensor& copysign_(const Tensor& other) const;
  Tensor& copysign_(const Scalar& other) const;
  Tensor& remainder_(const Tensor& other) const;
  Tensor& remainder_(const Scalar& other) const;
  Tensor& floor_divide_(const Tensor& other) const;
  Tensor& floor_divide_(const Scalar& other) const;
  Tensor& subtract_(const Tensor& other, const Scalar& alpha = 1) const;
  Tensor& subtract_(const Scalar& other, const Scalar& alpha = 1) const;
  Tensor& multiply_(const Tensor& other) const;
  Tensor& multiply_(const Scalar& other) const;
  Tensor& divide_(const Tensor& other) const;
  Tensor& divide_(const Scalar& other) const;
  Tensor& divide_(const Tensor& other, std::optional<std::string_view> rounding_mode) const;
  Tensor& divide_(const Scalar& other, std::optional<std::string_view> rounding_mode) const;
  Tensor& true_divide_(const Tensor& other) const;
  Tensor& true_divide_(const Scalar& other) const;
  Tensor& greater_(const Tensor& other) const;
  Tensor& greater_(const Scalar& other) const;
  Tensor& greater_equal_(const Tensor& other) const;
  Tensor& greater_equal_(const Scalar& other) const;
  Tensor& less_(const Tensor& other) const;
  Tensor& less_(const Scalar& other) const;
  Tensor& less_equal_(const Tensor& other) const;
  Tensor& less_equal_(const Scalar& other) const;
  Tensor& not_equal_(const Tensor& other) const;
  Tensor& not_equal_(const Scalar& other) const;
  Tensor& float_power_(const Tensor& exponent) const;
  Tensor& float_power_(const Scalar& exponent) const;
  Tensor& polygamma_(std::int64_t n) const;
  Tensor& eq_(const Tensor& other) const;
  Tensor& eq_(const Scalar& other) const;
  Tensor& ne_(const Tensor& other) const;
  Tensor& ne_(const Scalar& other) const;
  Tensor& lt_(const Tensor& other) const;
  Tensor& lt_(const Scalar& other) const;
  Tensor& le_(const Tensor& other) const;
  Tensor& le_(const Scalar& other) const;
  Tensor& gt_(const Tensor& other) const;
  Tensor& gt_(const Scalar& other) const;
  Tensor& ge_(const Tensor& other) const;
  Tensor& ge_(const Scalar& other) const;
  Tensor& logical_and_(const Tensor& other) const;
  Tensor& bitwise_and_(const Tensor& other) const;
  Tensor& bitwise_and_(const Scalar& other) const;
  Tensor& logical_or_(const Tensor& other) const;
  Tensor& bitwise_or_(const Tensor& other) const;
  Tensor& bitwise_or_(const Scalar& other) const;
  Tensor& logical_xor_(const Tensor& other) const;
  Tensor& bitwise_xor_(const Tensor& other) const;
  Tensor& bitwise_xor_(const Scalar& other) const;
  Tensor& bitwise_not_() const;
  Tensor& clip_(const std::optional<Scalar>& min, const std::optional<Scalar>& max = std::nullopt) const;
  Tensor& logit_(std::optional<double> eps = std::nullopt) const;
  Tensor& nan_to_num_(std::optional<double> nan = std::nullopt, std::optional<double> posinf = std::nullopt, std::optional<double> neginf = std::nullopt) const;
  Tensor& tril_(std::int64_t diagonal = 0) const;
  Tensor& triu_(std::int64_t diagonal = 0) const;
  Tensor& cumsum_(std::int64_t dim) const;
  Tensor& cumprod_(std::int64_t dim) const;
  Tensor& addmm_(const Tensor& mat1, const Tensor& mat2, const Scalar& beta = 1, const Scalar& alpha = 1) const;
  Tensor& addmv_(const Tensor& mat, const Tensor& vec, const Scalar& beta = 1, const Scalar& alpha = 1) const;
  Tensor& addr_(const Tensor& vec1, const Tensor& vec2, const Scalar& beta = 1, const Scalar& alpha = 1) const;
  Tensor& baddbmm_(const Tensor& batch1, const Tensor& batch2, const Scalar& beta = 1, const Scalar& alpha = 1) const;
  Tensor& addbmm_(const Tensor& batch1, const Tensor& batch2, const Scalar& beta = 1, const Scalar& alpha = 1) const;
  Tensor& fill_diagonal_(const Scalar& fill_value, bool wrap = false) const;
  Tensor& index_copy_(std::int64_t dim, const Tensor& index, const Tensor& source) const;
  Tensor& index_fill_(std::int64_t dim, const Tensor& index, const Scalar& value) const;
  Tensor& index_fill_(std::int64_t dim, const Tensor& index, const Tensor& value) const;
  Tensor& masked_scatter_(const Tensor& mask, const Tensor& source) const;
  // Views in place: the tensor itself gets other sizes and strides. Throw for a view that autograd follows.
  Tensor& squeeze_() const;
  Tensor& squeeze_(std::int64_t dim) const;
  Tensor& unsqueeze_(std::int64_t dim) const;
  Tensor& t_() const;
  Tensor& transpose_(std::int64_t dim0, std::int64_t dim1) const;
  Tensor& swapaxes_(std::int64_t axis0, std::int64_t axis1) const;
  Tensor& swapdims_(std::int64_t dim0, std::int64_t dim1) const;
  Tensor& as_strided_(IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset = std::nullopt) const;
  // Reductions.
  Tensor nansum() const;
  Tensor nansum(IntArrayRef dim, bool keepdim = false) const;
  Tensor nansum(IntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) const;
  Tensor nanmean() const;
  Tensor nanmean(IntArrayRef dim, bool keepdim = false) const;
  Tensor nanmean(IntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) const;
  Tensor count_nonzero() const;
  Tensor count_nonzero(IntArrayRef dim) const;
  template <std::same_as<std::optional<std::int64_t>> Dim>
  Tensor count_nonzero(const Dim& dim) const;
  Tensor median() const;
  Tensor nanmedian() const;
  std::tuple<Tensor, Tensor> nanmedian(std::int64_t dim, bool keepdim = false) const;
  Tensor quantile(double q, std::optional<std::int64_t> dim = std::nullopt, bool keepdim = false, std::string_view interpolation = "linear") const;
  Tensor quantile(const Tensor& q, std::optional<std::int64_t> dim = std::nullopt, bool keepdim = false, std::string_view interpolation = "linear") const;
  Tensor dist(const Tensor& other, const Scalar& p = 2) const;
  Tensor trace() const;
  Tensor histc(std::int64_t bins = 100, const Scalar& min = 0, const Scalar& max = 0) const;
  Tensor bincount() const;
  Tensor bincount(const std::optional<Tensor>& weights, std::int64_t minlength = 0) const;
  Tensor cumprod(std::int64_t dim) const;
  Tensor cumprod(std::int64_t dim, std::optional<ScalarType> dtype) const;
  std::tuple<Tensor, Tensor> median(std::int64_t dim, bool keepdim = false) const;
  std::tuple<Tensor, Tensor> mode(std::int64_t dim = -1, bool keepdim = false) const;
  std::tuple<Tensor, Tensor> kthvalue(std::int64_t k, std::int64_t dim = -1, bool keepdim = false) const;
  std::tuple<Tensor, Tensor> cummax(std::int64_t dim) const;
  Tensor logcumsumexp(std::int64_t dim) const;
  std::tuple<Tensor, Tensor> cummin(std::int64_t dim) const;
  std::tuple<Tensor, Tensor> aminmax(std::optional<std::int64_t> dim = std::nullopt, bool keepdim = false) const;
  // Rearranging.
  Tensor reshape_as(const Tensor& other) const;
  Tensor movedim(IntArrayRef source, IntArrayRef destination) const;
  Tensor movedim(std::int64_t source, std::int64_t destination) const;
  Tensor moveaxis(std::int64_t source, std::int64_t destination) const;
  Tensor moveaxis(IntArrayRef source, IntArrayRef destination) const;
  Tensor swapaxes(std::int64_t axis0, std::int64_t axis1) const;
  Tensor swapdims(std::int64_t dim0, std::int64_t dim1) const;
  Tensor unflatten(std::int64_t dim, IntArrayRef sizes) const;
  Tensor ravel() const;
  Tensor broadcast_to(IntArrayRef size) const;
  Tensor roll(IntArrayRef shifts, IntArrayRef dims = {}) const;
  Tensor rot90(std::int64_t k = 1, IntArrayRef dims = {0, 1}) const;
  Tensor fliplr() const;
  Tensor flipud() const;
  Tensor tile(IntArrayRef dims) const;
  Tensor repeat_interleave(std::int64_t repeats, std::optional<std::int64_t> dim = std::nullopt) const;
  Tensor repeat_interleave(std::int64_t repeats, std::optional<std::int64_t> dim, std::optional<std::int64_t> output_size) const;
  Tensor repeat_interleave(const Tensor& repeats, std::optional<std::int64_t> dim = std::nullopt) const;
  Tensor repeat_interleave(const Tensor& repeats, std::optional<std::int64_t> dim, std::optional<std::int64_t> output_size) const;
  Tensor diag(std::int64_t diagonal = 0) const;
  Tensor diag_embed(std::int64_t offset = 0, std::int64_t dim1 = -2, std::int64_t dim2 = -1) const;
  Tensor diagflat(std::int64_t offset = 0) const;
  Tensor diff(std::int64_t n = 1, std::int64_t dim = -1) const;
  Tensor select_scatter(const Tensor& src, std::int64_t dim, std::int64_t index) const;
  Tensor slice_scatter(const Tensor& src, std::int64_t dim = 0, std::optional<std::int64_t> start = std::nullopt, std::optional<std::int64_t> end = std::nullopt, std::int64_t step = 1) const;
  Tensor diagonal_scatter(const Tensor& src, std::int64_t offset = 0, std::int64_t dim1 = 0, std::int64_t dim2 = 1) const;
  std::vector<Tensor> tensor_split(std::int64_t sections, std::int64_t dim = 0) const;
  std::vector<Tensor> tensor_split(IntArrayRef indices, std::int64_t dim = 0) const;
  std::vector<Tensor> tensor_split(const Tensor& tensor_indices_or_sections, std::int64_t dim = 0) const;
  std::vector<Tensor> hsplit(std::int64_t sections) const;
  std::vector<Tensor> hsplit(IntArrayRef indices) const;
  std::vector<Tensor> vsplit(std::int64_t sections) const;
  std::vector<Tensor> vsplit(IntArrayRef indices) const;
  std::vector<Tensor> dsplit(std::int64_t sections) const;
  std::vector<Tensor> dsplit(IntArrayRef indices) const;
  Tensor unfold(std::int64_t dimension, std::int64_t size, std::int64_t step) const;  // every window of `size` elements, `step` apart, as a view
  Tensor mT() const;
  Tensor sum_to_size(IntArrayRef size) const;
  // Choosing.
  Tensor take(const Tensor& index) const;
  Tensor take_along_dim(const Tensor& indices, std::optional<std::int64_t> dim = std::nullopt) const;
  Tensor index_put(const std::vector<std::optional<Tensor>>& indices, const Tensor& values, bool accumulate = false) const;
  Tensor index_put(const List<std::optional<Tensor>>& indices, const Tensor& values, bool accumulate = false) const;
  Tensor index_copy(std::int64_t dim, const Tensor& index, const Tensor& source) const;
  Tensor index_fill(std::int64_t dim, const Tensor& index, const Scalar& value) const;
  Tensor index_fill(std::int64_t dim, const Tensor& index, const Tensor& value) const;
  Tensor masked_scatter(const Tensor& mask, const Tensor& source) const;
  Tensor scatter_reduce(std::int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce, bool include_self = true) const;
  Tensor& scatter_reduce_(std::int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce, bool include_self = true) const;
  Tensor index_reduce(std::int64_t dim, const Tensor& index, const Tensor& source, std::string_view reduce, bool include_self = true) const;
  Tensor& index_reduce_(std::int64_t dim, const Tensor& index, const Tensor& source, std::string_view reduce, bool include_self = true) const;
  Tensor bitwise_left_shift(const Tensor& other) const;
  Tensor bitwise_left_shift(const Scalar& other) const;
  Tensor bitwise_right_shift(const Tensor& other) const;
  Tensor bitwise_right_shift(const Scalar& other) const;
  Tensor& bitwise_left_shift_(const Tensor& other) const;
  Tensor& bitwise_left_shift_(const Scalar& other) const;
  Tensor& bitwise_right_shift_(const Tensor& other) const;
  Tensor& bitwise_right_shift_(const Scalar& other) const;
  Tensor argwhere() const;
  // Products.
  Tensor baddbmm(const Tensor& batch1, const Tensor& batch2, const Scalar& beta = 1, const Scalar& alpha = 1) const;
  Tensor addbmm(const Tensor& batch1, const Tensor& batch2, const Scalar& beta = 1, const Scalar& alpha = 1) const;
  Tensor addmv(const Tensor& mat, const Tensor& vec, const Scalar& beta = 1, const Scalar& alpha = 1) const;
  Tensor addr(const Tensor& vec1, const Tensor& vec2, const Scalar& beta = 1, const Scalar& alpha = 1) const;
  Tensor vdot(const Tensor& other) const;
  Tensor inner(const Tensor& other) const;
  Tensor ger(const Tensor& vec2) const;
  Tensor kron(const Tensor& other) const;
  Tensor cross(const Tensor& other, std::optional<std::int64_t> dim = std::nullopt) const;
  // New tensors of this one's dtype, and questions.
  Tensor new_zeros(IntArrayRef size) const;
  Tensor new_zeros(IntArrayRef size, const TensorOptions& options) const;
  Tensor new_ones(IntArrayRef size) const;
  Tensor new_ones(IntArrayRef size, const TensorOptions& options) const;
  Tensor new_empty(IntArrayRef size) const;
  Tensor new_empty(IntArrayRef size, const TensorOptions& options) const;
  Tensor new_full(IntArrayRef size, const Scalar& fill_value) const;
  Tensor new_full(IntArrayRef size, const Scalar& fill_value, const TensorOptions& options) const;
  bool is_same_size(const Tensor& other) const;
  bool is_set_to(const Tensor& tensor) const;  // the same elements of the same storage
  bool is_signed() const;
  bool is_nonzero() const;
  bool is_complex() const;
  bool is_sparse() const;
  bool is_quantized() const;
  bool has_storage() const;
  Tensor variable_data() const;
  Tensor numpy_T() const;  // all dimensions in reverse order
  Tensor tensor_data() const;
};
}  // namespace tinytorch

// %%
//| export core/special.h
#include "tinytorch/core/ops.h"
//| export core/special.cpp
#include <cmath>
#include <limits>
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/half_precision.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
//| export core/breadth.h
#include <optional>
#include <string_view>
#include <tuple>
#include <vector>
#include "tinytorch/core/special.h"
//| export core/rearranging.cpp
#include <algorithm>
#include <initializer_list>
#include <numeric>
#include "tinytorch/core/breadth.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/more_ops.h"
//| export core/choosing.cpp
#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>
#include <type_traits>
#include "tinytorch/core/breadth.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/half_precision.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/activations.h"
//| export core/breadth_methods.cpp
#include <algorithm>
#include <numeric>
#include "tinytorch/core/breadth.h"
#include "tinytorch/core/engine.h"
#include "tinytorch/core/inplace_or_view.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/unique.h"
#include "tinytorch/nn/activations.h"

// %%
#include "tito/lesson.h"
#include <cmath>
#include <limits>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/breadth.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Elementary functions
//
// Each is one line over the C library, with its derivative beside it. Three have no function there. `erfinv` begins with an approximation by Winitzki (2008) and improves it by Halley's rule, which triples the number of good digits in each
// step; near +-1, where erf has lost its digits, erfc takes its place. `digamma` and its derivatives `polygamma` are sums over 1 / (x + k)^n: the terms far out are replaced by the Euler-Maclaurin formula.

// %%
//| export core/special.h
// ---- Elementwise; integers become the default dtype. O(numel).
Tensor acos(const Tensor& self);
Tensor asin(const Tensor& self);
Tensor sinh(const Tensor& self);
Tensor cosh(const Tensor& self);
Tensor asinh(const Tensor& self);
Tensor acosh(const Tensor& self);
Tensor atanh(const Tensor& self);
Tensor exp2(const Tensor& self);    // 2^x
Tensor erfc(const Tensor& self);    // 1 - erf(x), exact for large x
Tensor erfinv(const Tensor& self);  // erf(erfinv(x)) = x; NaN beyond -1 and 1
Tensor lgamma(const Tensor& self);  // log |Gamma(x)|
Tensor digamma(const Tensor& self);  // its derivative
Tensor polygamma(std::int64_t n, const Tensor& self);  // the n-th derivative of digamma. Throws for n < 0.
// ---- Elementwise on two tensors: shapes broadcast, dtypes promote.
Tensor atan2(const Tensor& self, const Tensor& other);  // the angle of the point (other, self)
Tensor fmod(const Tensor& self, const Tensor& other);   // the remainder with the sign of self, as C's %
Tensor fmod(const Tensor& self, const Scalar& other);
Tensor hypot(const Tensor& self, const Tensor& other);  // sqrt(self^2 + other^2) without overflow on the way
Tensor copysign(const Tensor& self, const Tensor& other);  // |self| with the sign of other
Tensor copysign(const Tensor& self, const Scalar& other);
// Products of the first 1, 2, ... elements along `dim`. Integers and bools give Long. O(numel).
Tensor cumprod(const Tensor& self, std::int64_t dim);

namespace op {
extern Operator<Tensor(const Tensor&)> acos;
extern Operator<Tensor(const Tensor&)> asin;
extern Operator<Tensor(const Tensor&)> sinh;
extern Operator<Tensor(const Tensor&)> cosh;
extern Operator<Tensor(const Tensor&)> asinh;
extern Operator<Tensor(const Tensor&)> acosh;
extern Operator<Tensor(const Tensor&)> atanh;
extern Operator<Tensor(const Tensor&)> exp2;
extern Operator<Tensor(const Tensor&)> erfc;
extern Operator<Tensor(const Tensor&)> erfinv;
extern Operator<Tensor(const Tensor&)> lgamma;
extern Operator<Tensor(const Tensor&, std::int64_t)> polygamma;
extern Operator<Tensor(const Tensor&, const Tensor&)> atan2;
extern Operator<Tensor(const Tensor&, const Tensor&)> fmod;
extern Operator<Tensor(const Tensor&, const Tensor&)> hypot;
extern Operator<Tensor(const Tensor&, const Tensor&)> copysign;
extern Operator<Tensor(const Tensor&, std::int64_t)> cumprod;
}  // namespace op

// %%
//| export core/special.cpp
namespace {
// The Hurwitz zeta function: the sum of (q + k)^-s over k = 0, 1, ..., for a whole s > 1. Sums ten terms (for a negative q those below 10), and the rest by the Euler-Maclaurin formula.
double hurwitz_zeta(double s, double q) {
  constexpr double bernoulli[] = {1.0 / 6, -1.0 / 30, 1.0 / 42, -1.0 / 30, 5.0 / 66, -691.0 / 2730, 7.0 / 6, -3617.0 / 510};
  if (q <= 0 && q == std::floor(q)) return std::numeric_limits<double>::infinity();
  double sum = 0;
  double x = q;
  for (int k = 0; k < 10 || x <= 10; ++k, ++x) sum += std::pow(x, -s);
  sum += std::pow(x, 1 - s) / (s - 1) + std::pow(x, -s) / 2;
  double factor = s * std::pow(x, -s - 1) / 2;  // s (s + 1) ... x^(-s - 2j + 1) / (2j)!
  for (int j = 0; j < 8; ++j) {
    sum += bernoulli[j] * factor;
    factor *= (s + 2 * j + 1) * (s + 2 * j + 2) / (x * x * (2 * j + 3) * (2 * j + 4));
  }
  return sum;
}

double digamma_of(double x) {
  constexpr double pi = 3.14159265358979323846;
  if (x == 0) return std::copysign(std::numeric_limits<double>::infinity(), -x);
  if (x < 0) {
    double whole;
    const double part = std::modf(x, &whole);
    return part == 0 ? std::numeric_limits<double>::quiet_NaN() : digamma_of(1 - x) - pi / std::tan(pi * part);
  }
  double sum = 0;
  for (; x < 10; ++x) sum -= 1 / x;
  const double y = 1 / (x * x);
  const double tail = y * (1.0 / 12 - y * (1.0 / 120 - y * (1.0 / 252 - y * (1.0 / 240 - y * (1.0 / 132 - y * (691.0 / 32760 - y / 12))))));
  return sum + std::log(x) - 0.5 / x - tail;
}

double polygamma_of(std::int64_t n, double x) {
  if (n == 0) return digamma_of(x);
  const auto order = static_cast<double>(n);
  return (n % 2 == 0 ? -1 : 1) * std::exp(std::lgamma(order + 1)) * hurwitz_zeta(order + 1, x);
}

double erfinv_of(double y) {
  constexpr double pi = 3.14159265358979323846;
  if (!(std::abs(y) <= 1)) return std::numeric_limits<double>::quiet_NaN();
  if (std::abs(y) == 1) return y * std::numeric_limits<double>::infinity();
  if (y == 0) return y;
  const double log_term = std::log1p(-y * y);
  const double a = 2 / (pi * 0.147) + log_term / 2;
  double x = std::copysign(std::sqrt(std::sqrt(a * a - log_term / 0.147) - a), y);
  for (int step = 0; step < 3; ++step) {
    const double error = std::abs(y) < 0.5 ? std::erf(x) - y : (y < 0 ? -1 : 1) * ((1 - std::abs(y)) - std::erfc(std::abs(x)));
    const double newton = error / (2 / std::sqrt(pi) * std::exp(-x * x));
    x -= newton / (1 + x * newton);
  }
  return x;
}

// f(self) in double precision, rounded to self's dtype.
template <class F>
Tensor map_in_double(const char* name, const Tensor& self, F f) {
  return map_floating(name, self, [f](auto x) { return static_cast<decltype(x)>(f(static_cast<double>(x))); });
}

Tensor acos_cpu(const Tensor& self) { return map_floating("acos", self, [](auto x) { return std::acos(x); }); }
Tensor asin_cpu(const Tensor& self) { return map_floating("asin", self, [](auto x) { return std::asin(x); }); }
Tensor sinh_cpu(const Tensor& self) { return map_floating("sinh", self, [](auto x) { return std::sinh(x); }); }
Tensor cosh_cpu(const Tensor& self) { return map_floating("cosh", self, [](auto x) { return std::cosh(x); }); }
Tensor asinh_cpu(const Tensor& self) { return map_floating("asinh", self, [](auto x) { return std::asinh(x); }); }
Tensor acosh_cpu(const Tensor& self) { return map_floating("acosh", self, [](auto x) { return std::acosh(x); }); }
Tensor atanh_cpu(const Tensor& self) { return map_floating("atanh", self, [](auto x) { return std::atanh(x); }); }
Tensor exp2_cpu(const Tensor& self) { return map_floating("exp2", self, [](auto x) { return std::exp2(x); }); }
Tensor erfc_cpu(const Tensor& self) { return map_floating("erfc", self, [](auto x) { return std::erfc(x); }); }
Tensor erfinv_cpu(const Tensor& self) { return map_in_double("erfinv", self, erfinv_of); }
Tensor lgamma_cpu(const Tensor& self) { return map_floating("lgamma", self, [](auto x) { return std::lgamma(x); }); }
Tensor polygamma_cpu(const Tensor& self, std::int64_t n) {
  return map_in_double("polygamma", self, [n](double x) { return polygamma_of(n, x); });
}
}  // namespace

// %%
//| export core/special.cpp
constinit Operator<Tensor(const Tensor&)> op::acos("acos", {.cpu = acos_cpu, .autograd = gradient_of<op::acos>([](const Tensor& g, Input<0> x) { return g * -((-x * x + 1).rsqrt()); })});
constinit Operator<Tensor(const Tensor&)> op::asin("asin", {.cpu = asin_cpu, .autograd = gradient_of<op::asin>([](const Tensor& g, Input<0> x) { return g * (-x * x + 1).rsqrt(); })});
constinit Operator<Tensor(const Tensor&)> op::sinh("sinh", {.cpu = sinh_cpu, .autograd = gradient_of<op::sinh>([](const Tensor& g, Input<0> x) { return g * cosh(x); })});
constinit Operator<Tensor(const Tensor&)> op::cosh("cosh", {.cpu = cosh_cpu, .autograd = gradient_of<op::cosh>([](const Tensor& g, Input<0> x) { return g * sinh(x); })});
constinit Operator<Tensor(const Tensor&)> op::asinh("asinh", {.cpu = asinh_cpu, .autograd = gradient_of<op::asinh>([](const Tensor& g, Input<0> x) { return g * (x * x + 1).rsqrt(); })});
constinit Operator<Tensor(const Tensor&)> op::acosh("acosh", {.cpu = acosh_cpu, .autograd = gradient_of<op::acosh>([](const Tensor& g, Input<0> x) { return g * (x * x - 1).rsqrt(); })});
constinit Operator<Tensor(const Tensor&)> op::atanh("atanh", {.cpu = atanh_cpu, .autograd = gradient_of<op::atanh>([](const Tensor& g, Input<0> x) { return g / (1 - x * x); })});
constinit Operator<Tensor(const Tensor&)> op::exp2("exp2", {.cpu = exp2_cpu, .autograd = gradient_of<op::exp2>([](const Tensor& g, Output y) { return g * y * std::log(2.0); })});
constinit Operator<Tensor(const Tensor&)> op::erfc("erfc", {.cpu = erfc_cpu, .autograd = gradient_of<op::erfc>([](const Tensor& g, Input<0> x) {
  return g * (exp(-x * x) * -1.12837916709551257390);  // -2 / sqrt(pi)
})});
constinit Operator<Tensor(const Tensor&)> op::erfinv("erfinv", {.cpu = erfinv_cpu, .autograd = gradient_of<op::erfinv>([](const Tensor& g, Output y) {
  return g * (exp(y * y) * 0.88622692545275801365);  // sqrt(pi) / 2
})});
constinit Operator<Tensor(const Tensor&)> op::lgamma("lgamma", {.cpu = lgamma_cpu, .autograd = gradient_of<op::lgamma>([](const Tensor& g, Input<0> x) { return g * digamma(x); })});
constinit Operator<Tensor(const Tensor&, std::int64_t)> op::polygamma("polygamma", {.cpu = polygamma_cpu, .autograd = gradient_of<op::polygamma>([](const Tensor& g, Input<0> x, Arg<1, std::int64_t> n) {
  return g * tinytorch::polygamma(n.value + 1, x);
})});

// %%
//| export core/special.cpp
Tensor acos(const Tensor& self) { return op::acos(self); }
Tensor asin(const Tensor& self) { return op::asin(self); }
Tensor sinh(const Tensor& self) { return op::sinh(self); }
Tensor cosh(const Tensor& self) { return op::cosh(self); }
Tensor asinh(const Tensor& self) { return op::asinh(self); }
Tensor acosh(const Tensor& self) { return op::acosh(self); }
Tensor atanh(const Tensor& self) { return op::atanh(self); }
Tensor exp2(const Tensor& self) { return op::exp2(self); }
Tensor erfc(const Tensor& self) { return op::erfc(self); }
Tensor erfinv(const Tensor& self) { return op::erfinv(self); }
Tensor lgamma(const Tensor& self) { return op::lgamma(self); }
Tensor digamma(const Tensor& self) { return op::polygamma(self, 0); }
Tensor polygamma(std::int64_t n, const Tensor& self) {
  TORCH_CHECK(n >= 0, "polygamma(n, x) does not support negative n.");
  return op::polygamma(self, n);
}

// %%
TEST_CASE("special functions: known values") {
  const auto of = [](double x) { return tensor(x, kDouble); };
  CHECK_CLOSE(digamma(of(1.0)), of(-0.57721566490153286061), 1e-14, 0.0);  // Euler's constant
  CHECK_CLOSE(digamma(of(-0.5)), of(0.03648997397857652056), 1e-12, 0.0);
  CHECK_CLOSE(polygamma(1, of(1.0)), of(1.64493406684822643647), 1e-14, 0.0);  // pi^2 / 6
  CHECK_CLOSE(polygamma(2, of(1.0)), of(-2.40411380631918857080), 1e-13, 0.0);  // -2 zeta(3)
  CHECK_CLOSE(erfinv(of(0.5)), of(0.47693627620446987338), 1e-14, 0.0);
  CHECK_CLOSE(erf(erfinv(tensor({-0.999, -0.1, 1e-9, 0.7}, kDouble))), tensor({-0.999, -0.1, 1e-9, 0.7}, kDouble), 1e-14, 0.0);
  CHECK_EQ(erfinv(of(1.0)).item<double>(), std::numeric_limits<double>::infinity());
  CHECK(std::isnan(erfinv(of(1.5)).item<double>()));
  CHECK(std::isnan(digamma(of(-3.0)).item<double>()));
  CHECK_ERROR(polygamma(-1, of(1.0)), "polygamma(n, x) does not support negative n.");
}

// %%
//| export core/special.cpp
namespace {
// The angles and lengths of floating-point numbers: integers are converted to the default dtype first.
template <class F>
Tensor zip_floating(const char* name, const Tensor& self, const Tensor& other, F f) {
  const ScalarType common = result_type(self, other);
  const ScalarType type = isFloatingType(common) ? common : get_default_dtype();
  const Tensor a = to_dtype(self, type);
  const Tensor b = to_dtype(other, type);
  const Tensor result = empty_beside(a, b, infer_size(a.sizes(), b.sizes()), type);
  dispatch_floating_types(type, name, [&]<class T>() { zip_into<T, T, T>(result, a, b, f); });
  return result;
}

Tensor atan2_cpu(const Tensor& self, const Tensor& other) {
  return zip_floating("atan2", self, other, [](auto y, auto x) { return std::atan2(y, x); });
}
Tensor copysign_cpu(const Tensor& self, const Tensor& other) {
  return zip_floating("copysign", self, other, [](auto x, auto y) { return std::copysign(x, y); });
}
Tensor hypot_cpu(const Tensor& self, const Tensor& other) {
  const ScalarType type = result_type(self, other);
  TORCH_CHECK_NOT_IMPLEMENTED(isFloatingType(type), "\"hypot_cpu\" not implemented for '", type, "'");
  return zip_floating("hypot", self, other, [](auto x, auto y) { return std::hypot(x, y); });
}
Tensor fmod_cpu(const Tensor& self, const Tensor& other) {
  TORCH_CHECK_NOT_IMPLEMENTED(result_type(self, other) != kBool, "\"fmod_cpu\" not implemented for 'Bool'");
  return zip_promoted(self, other, [](auto x, auto y) {
    using T = decltype(x);
    if constexpr (std::is_floating_point_v<T>) {
      return std::fmod(x, y);
    } else {
      TORCH_CHECK(y != 0, "ZeroDivisionError");
      return y == static_cast<T>(-1) && std::is_signed_v<T> ? T{0} : static_cast<T>(x % y);  // the smallest integer % -1 is a trap
    }
  });
}
}  // namespace

constinit Operator<Tensor(const Tensor&, const Tensor&)> op::atan2("atan2", {.cpu = atan2_cpu, .autograd = gradient_of<op::atan2>(
    [](const Tensor& g, Input<0> y, Input<1> x) { return g * (x / (y * y + x * x)); },
    [](const Tensor& g, Input<0> y, Input<1> x) { return g * (-y / (y * y + x * x)); })});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::hypot("hypot", {.cpu = hypot_cpu, .autograd = gradient_of<op::hypot>(
    [](const Tensor& g, Input<0> self, Output result) { return g * (self / result); },
    [](const Tensor& g, Input<1> other, Output result) { return g * (other / result); })});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::copysign("copysign", {.cpu = copysign_cpu, .autograd = gradient_of<op::copysign>(
    [](const Tensor& g, Input<0> self, Output result) { return where(self == 0, zeros({}, g.options()), g * (sign(self) * sign(result))); },
    [](const Tensor& g) { return zeros_like(g); })});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::fmod("fmod", {.cpu = fmod_cpu, .autograd = gradient_of<op::fmod>(
    [](const Tensor& g) { return g; },
    [](const Tensor& g, Input<0> self, Input<1> other) { return -g * trunc(self / other); })});

Tensor atan2(const Tensor& self, const Tensor& other) { return op::atan2(self, other); }
Tensor hypot(const Tensor& self, const Tensor& other) { return op::hypot(self, other); }
Tensor copysign(const Tensor& self, const Tensor& other) { return op::copysign(self, other); }
Tensor copysign(const Tensor& self, const Scalar& other) { return op::copysign(self, wrapped_scalar(other)); }
Tensor fmod(const Tensor& self, const Tensor& other) { return op::fmod(self, other); }
Tensor fmod(const Tensor& self, const Scalar& other) { return op::fmod(self, wrapped_scalar(other)); }

// %% [markdown]
// `cumprod`'s derivative is the one that needs thought. With y_j = x_1 ... x_j, the gradient of x_i is the sum of g_j y_j over j >= i, divided by x_i, if no x is zero. Where one is zero the division fails, so then the product without
// x_i is computed for each i: slower, and rare.
//
//     x    2   3   4          y    2   6   24
//     gradient of x_2 :  (g_2 y_2 + g_3 y_3) / x_2  =  g_2 * 2 + g_3 * 8

// %%
//| export core/special.cpp
namespace {
Tensor cumprod_cpu(const Tensor& self, std::int64_t dim) {
  const bool widens = !self.is_floating_point();
  const Tensor input = widens ? to_dtype(self, kLong) : self;
  const Tensor result = clone(input, MemoryFormat::Contiguous);
  if (result.dim() == 0 || result.numel() == 0) return result;
  dispatch_all_types(result.scalar_type(), [&]<class T>() {
    using Acc = std::conditional_t<std::is_floating_point_v<T>, double, T>;  // as cumsum and PyTorch
    for_each_row<T>(result, dim, [&](std::int64_t, T* row, std::int64_t step) {
      Acc product{1};
      for (std::int64_t j = 0; j < result.size(dim); ++j) {
        product = static_cast<Acc>(product * static_cast<Acc>(row[j * step]));
        row[j * step] = static_cast<T>(product);
      }
    });
  });
  return result;
}

// The sum of x_i, x_(i+1), ... for each i.
Tensor reverse_cumsum(const Tensor& x, std::int64_t dim) { return flip(cumsum(flip(x, dim), dim), dim); }

Tensor cumprod_backward(const Tensor& grad, const Tensor& self, const Tensor& result, std::int64_t dim) {
  if (self.dim() == 0) return grad;
  if (!(self == 0).any().item<bool>()) return reverse_cumsum(grad * result, dim) / self;
  std::vector<Tensor> parts;
  const std::int64_t size = self.size(dim);
  for (std::int64_t i = 0; i < size; ++i) {
    // The products that hold x_i, without it: those before i times the products of what follows.
    const Tensor before = (i == 0 ? ones_like(self.select(dim, 0)) : self.narrow(dim, 0, i).prod(dim)).unsqueeze(dim);
    const Tensor products = i + 1 == size ? before : cat({before, before * cumprod(self.narrow(dim, i + 1, size - i - 1), dim)}, dim);
    parts.push_back((products * grad.narrow(dim, i, size - i)).sum(dim));
  }
  return stack(parts, dim);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, std::int64_t)> op::cumprod("cumprod", {.cpu = cumprod_cpu, .autograd = gradient_of<op::cumprod>(
    [](const Tensor& g, Input<0> self, Output result, Arg<1, std::int64_t> dim) { return cumprod_backward(g, self, result, dim); })});
Tensor cumprod(const Tensor& self, std::int64_t dim) { return op::cumprod(self, wrap_dim(dim, self.dim())); }

// %%
//| export core/special.cpp
//| registers
void register_special_half_precision() {
  compute_in_float<op::acos, op::asin, op::sinh, op::cosh, op::asinh, op::acosh, op::atanh, op::exp2, op::erfc, op::erfinv, op::lgamma, op::polygamma>();
  compute_in_float<op::atan2, op::hypot, op::copysign, op::cumprod>();
  round_and_compute_in_float<op::fmod>();
}

// %%
TEST_CASE("cumprod: gradients, also beside zeros") {
  const Tensor x = tensor({2.0, 3.0, 4.0}, requires_grad());
  cumprod(x, 0).backward(tensor({1.0, 10.0, 100.0}));
  CHECK_EQ(x.grad(), tensor({1231.0, 820.0, 600.0}));
  const Tensor z = tensor({{2.0, 0.0, 4.0}, {1.0, 1.0, 1.0}}, requires_grad());
  cumprod(z, 1).sum().backward();
  CHECK_EQ(z.grad(), tensor({{1.0, 10.0, 0.0}, {3.0, 2.0, 1.0}}));
  CHECK_EQ(cumprod(tensor({true, true, false, true}), 0), tensor({1, 1, 0, 0}));
  CHECK_EQ(fmod(tensor({-7, 7}), 3), tensor({-1, 1}));
  CHECK_EQ(acos(tensor({1, 0})).scalar_type(), kFloat);
  CHECK_EQ(sinh(tensor({0.5}, kHalf)).scalar_type(), kHalf);
}

// %% [markdown]
// ## Composed functions
//
// What follows is made of operators that are there, so it has no derivative to write and none to get wrong. The price is memory: `fmax` makes five tensors where a kernel would make one. Production frameworks write most of these in one of
// the two ways as well: PyTorch calls them `CompositeImplicitAutograd` in `native_functions.yaml`, JAX writes nearly all of `jax.numpy` so and lets its compiler join the loops.
//
//     xlogy(x, y)      where(x == 0, 0, x * log(y))
//     diag_embed(v)    zeros ── diagonal view ── copy_(v)
//     median(x)        select the middle one ── gather

// %%
//| export core/breadth.h
// ---- Second names, as in NumPy.
inline Tensor absolute(const Tensor& self) { return abs(self); }
inline Tensor negative(const Tensor& self) { return neg(self); }
inline Tensor sgn(const Tensor& self) { return sign(self); }
inline Tensor fix(const Tensor& self) { return trunc(self); }
inline Tensor arccos(const Tensor& self) { return acos(self); }
inline Tensor arcsin(const Tensor& self) { return asin(self); }
inline Tensor arctan(const Tensor& self) { return atan(self); }
inline Tensor arcsinh(const Tensor& self) { return asinh(self); }
inline Tensor arccosh(const Tensor& self) { return acosh(self); }
inline Tensor arctanh(const Tensor& self) { return atanh(self); }
inline Tensor arctan2(const Tensor& self, const Tensor& other) { return atan2(self, other); }
inline Tensor subtract(const Tensor& self, const Tensor& other, const Scalar& alpha = 1) { return sub(self, other, alpha); }
inline Tensor multiply(const Tensor& self, const Tensor& other) { return mul(self, other); }
inline Tensor divide(const Tensor& self, const Tensor& other) { return div(self, other); }
inline Tensor true_divide(const Tensor& self, const Tensor& other) { return div(self, other); }
inline Tensor greater(const Tensor& self, const Tensor& other) { return gt(self, other); }
inline Tensor greater_equal(const Tensor& self, const Tensor& other) { return ge(self, other); }
inline Tensor less(const Tensor& self, const Tensor& other) { return lt(self, other); }
inline Tensor less_equal(const Tensor& self, const Tensor& other) { return le(self, other); }
inline Tensor not_equal(const Tensor& self, const Tensor& other) { return ne(self, other); }
inline Tensor clip(const Tensor& self, const std::optional<Scalar>& min, const std::optional<Scalar>& max = std::nullopt) { return clamp(self, min, max); }
inline Tensor concat(TensorList tensors, std::int64_t dim = 0) { return cat(tensors, dim); }
inline Tensor concatenate(TensorList tensors, std::int64_t dim = 0) { return cat(tensors, dim); }

// ---- Elementwise. O(numel).
Tensor frac(const Tensor& self);  // x - trunc(x)
Tensor deg2rad(const Tensor& self);
Tensor rad2deg(const Tensor& self);
Tensor sinc(const Tensor& self);  // sin(pi x) / (pi x), and 1 at 0
// log(x / (1 - x)); with `eps`, x is first kept within [eps, 1 - eps].
Tensor logit(const Tensor& self, std::optional<double> eps = std::nullopt);
Tensor xlogy(const Tensor& self, const Tensor& other);  // x log(y), and 0 where x is 0 and y is no NaN
Tensor logaddexp(const Tensor& self, const Tensor& other);  // log(exp(x) + exp(y)) without overflow
Tensor logaddexp2(const Tensor& self, const Tensor& other);
Tensor fmax(const Tensor& self, const Tensor& other);  // of a number and NaN, the number
Tensor fmin(const Tensor& self, const Tensor& other);
Tensor heaviside(const Tensor& self, const Tensor& values);  // 0 below 0, 1 above, `values` at 0
Tensor float_power(const Tensor& self, const Tensor& exponent);  // pow in double precision
Tensor float_power(const Tensor& self, const Scalar& exponent);
// Numbers in place of NaN and the infinities: 0 and the largest and smallest of the dtype, unless others are given.
Tensor nan_to_num(const Tensor& self, std::optional<double> nan = std::nullopt, std::optional<double> posinf = std::nullopt, std::optional<double> neginf = std::nullopt);
namespace op {
extern Operator<Tensor(const Tensor&)> frac;
extern Operator<Tensor(const Tensor&, double, double)> logit;  // of floating-point numbers, which are cut between the two first
extern Operator<Tensor(const Tensor&, const Tensor&)> logaddexp;  // of dtypes whose common one is a floating-point type
extern Operator<Tensor(const Tensor&, double, double, double)> nan_to_num;  // of floating-point numbers, with all three given
}  // namespace op
// Quotients as they are, or rounded: "trunc" (towards 0, as C) or "floor" (as Python). Throws for another mode.
Tensor div(const Tensor& self, const Tensor& other, std::optional<std::string_view> rounding_mode);
Tensor div(const Tensor& self, const Scalar& other, std::optional<std::string_view> rounding_mode);
Tensor round(const Tensor& self, std::int64_t decimals);
Tensor clamp(const Tensor& self, const std::optional<Tensor>& min, const std::optional<Tensor>& max);  // bounds by element, which broadcast
// Bool tensors.
Tensor isclose(const Tensor& self, const Tensor& other, double rtol = 1e-5, double atol = 1e-8, bool equal_nan = false);
Tensor isposinf(const Tensor& self);
Tensor isneginf(const Tensor& self);
Tensor isreal(const Tensor& self);
Tensor signbit(const Tensor& self);  // also of -0
Tensor isin(const Tensor& elements, const Tensor& test_elements, bool assume_unique = false, bool invert = false);  // O((n + m) log m)

// %%
//| export core/choosing.cpp
namespace {
Tensor frac_cpu(const Tensor& self) { return self - trunc(self); }
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::frac("frac", {.cpu = frac_cpu, .autograd = gradient_of<op::frac>([](const Tensor& g) { return g; })});
Tensor frac(const Tensor& self) { return op::frac(self); }
Tensor deg2rad(const Tensor& self) { return self * (3.14159265358979323846 / 180); }
Tensor rad2deg(const Tensor& self) { return self * (180 / 3.14159265358979323846); }
Tensor sinc(const Tensor& self) {
  const Tensor x = where(self == 0, ones_like(self), self) * 3.14159265358979323846;
  return where(self == 0, full({}, 1, x.scalar_type()), sin(x) / x);
}
// Of chapter 89 too, whose kernel computes it in one pass. What was cut away gets nothing, and what is no probability NaN.
Tensor logit_backward(const Tensor& g, const Tensor& self, double low, double high) {
  const Tensor nan = full({}, std::numeric_limits<double>::quiet_NaN(), self.scalar_type());
  const Tensor slopes = where(logical_and(self >= 0, self <= 1), g / (self * (1 - self)), nan);
  return where(logical_or(self < low, self > high), zeros({}, g.options()), slopes);
}
namespace {
Tensor logit_cpu(const Tensor& self, double low, double high) {
  const Tensor x = clamp(self, Scalar(low), Scalar(high));
  return log(x / (1 - x));
}
}  // namespace
constinit Operator<Tensor(const Tensor&, double, double)> op::logit(
    "logit", {.cpu = logit_cpu, .autograd = gradient_of<op::logit>([](const Tensor& g, Input<0> self, Arg<1, double> low, Arg<2, double> high) { return logit_backward(g, self, low, high); })});
Tensor logit(const Tensor& self, std::optional<double> eps) {
  const Tensor x = isFloatingType(self.scalar_type()) ? self : self.to(get_default_dtype());
  const double infinity = std::numeric_limits<double>::infinity();
  if (!eps || *eps < 0) return op::logit(x, -infinity, infinity);
  // As the dtype rounds them.
  const Tensor low = full({}, *eps, x.scalar_type());
  return op::logit(x, low.item<double>(), (1 - low).item<double>());
}
Tensor xlogy(const Tensor& self, const Tensor& other) {
  // The logarithm is taken of 1 where x is 0, so that neither the value nor the gradient is 0 * infinity.
  const Tensor nothing = (self == 0).logical_and(isnan(other).logical_not());
  return self * log(where(nothing, full({}, 1, other.scalar_type()), other));
}
namespace {
void check_floats(const char* name, ScalarType type) { TORCH_CHECK_NOT_IMPLEMENTED(isFloatingType(type), "\"", name, "\" not implemented for '", type, "'"); }

// Equal infinities are no distance apart, though their difference is NaN.
Tensor logaddexp_cpu(const Tensor& self, const Tensor& other) {
  const Tensor larger_one = maximum(self, other);
  return larger_one + log1p(exp(where(self == other, zeros({}, larger_one.options()), -abs(self - other))));
}

// What x has of exp(x) + exp(y): half of it where both are the same infinity.
Tensor share_of_first(const Tensor& x, const Tensor& y) {
  const Tensor distance = x - y;
  return sigmoid(where(logical_and(x == y, isinf(x)), zeros({}, distance.options()), distance));
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::logaddexp("logaddexp", {.cpu = logaddexp_cpu, .autograd = gradient_of<op::logaddexp>(
    [](const Tensor& g, Input<0> self, Input<1> other) { return g * share_of_first(self, other); },
    [](const Tensor& g, Input<0> self, Input<1> other) { return g * share_of_first(other, self); })});
Tensor logaddexp(const Tensor& self, const Tensor& other) {
  check_floats("logaddexp_cpu", result_type(self, other));
  return op::logaddexp(self, other);
}
Tensor logaddexp2(const Tensor& self, const Tensor& other) {
  check_floats("logaddexp2_cpu", result_type(self, other));
  const double log_2 = 0.69314718055994530942;
  return logaddexp(self * log_2, other * log_2) / log_2;
}
Tensor fmax(const Tensor& self, const Tensor& other) { return where(isnan(other), self, where(isnan(self), other, maximum(self, other))); }
Tensor fmin(const Tensor& self, const Tensor& other) { return where(isnan(other), self, where(isnan(self), other, minimum(self, other))); }
Tensor heaviside(const Tensor& self, const Tensor& values) {
  TORCH_CHECK(self.scalar_type() == values.scalar_type(), "heaviside is not yet implemented for tensors with different dtypes.");
  return where(self == 0, values, (self > 0).to(self.scalar_type()));
}
Tensor float_power(const Tensor& self, const Tensor& exponent) { return pow(self.to(kDouble), exponent.to(kDouble)); }
Tensor float_power(const Tensor& self, const Scalar& exponent) { return pow(self.to(kDouble), exponent.toDouble()); }

namespace {
Tensor nan_to_num_cpu(const Tensor& self, double nan, double posinf, double neginf) {
  return map_floating("nan_to_num", self, [=](auto x) {
    using T = decltype(x);
    if (std::isnan(x)) return static_cast<T>(nan);
    return std::isinf(x) ? static_cast<T>(x > 0 ? posinf : neginf) : x;
  });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, double, double, double)> op::nan_to_num("nan_to_num", {.cpu = nan_to_num_cpu, .autograd = gradient_of<op::nan_to_num>([](const Tensor& g, Input<0> self) {
  return where(isfinite(self), g, zeros({}, g.options()));
})});

Tensor nan_to_num(const Tensor& self, std::optional<double> nan, std::optional<double> posinf, std::optional<double> neginf) {
  if (!self.is_floating_point()) return clone(self);
  double largest = std::numeric_limits<double>::max();
  if (self.scalar_type() == kFloat) largest = static_cast<double>(std::numeric_limits<float>::max());
  if (self.scalar_type() == kHalf) largest = 65504;
  if (self.scalar_type() == kBFloat16) largest = 3.3895313892515355e38;
  return op::nan_to_num(self, nan.value_or(0), posinf.value_or(largest), neginf.value_or(-largest));
}

Tensor div(const Tensor& self, const Tensor& other, std::optional<std::string_view> rounding_mode) {
  if (!rounding_mode) return div(self, other);
  if (*rounding_mode == "floor") return floor_divide(self, other);
  TORCH_CHECK(*rounding_mode == "trunc", "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '", *rounding_mode, "'");
  if (isFloatingType(result_type(self, other))) return trunc(div(self, other));
  return floor_divide(abs(self), abs(other)) * sign(self) * sign(other);
}
Tensor div(const Tensor& self, const Scalar& other, std::optional<std::string_view> rounding_mode) { return div(self, wrapped_scalar(other), rounding_mode); }

Tensor round(const Tensor& self, std::int64_t decimals) {
  if (!self.is_floating_point() || decimals == 0) return round(self);
  const double ten_power = std::pow(10.0, static_cast<double>(decimals < 0 ? -decimals : decimals));
  return decimals > 0 ? round(self * ten_power) / ten_power : round(self / ten_power) * ten_power;
}
Tensor clamp(const Tensor& self, const std::optional<Tensor>& min, const std::optional<Tensor>& max) {
  TORCH_CHECK(min || max, "torch.clamp: At least one of 'min' or 'max' must not be None");
  const Tensor raised = min ? maximum(self, *min) : self;
  return max ? minimum(raised, *max) : raised;
}

Tensor isclose(const Tensor& self, const Tensor& other, double rtol, double atol, bool equal_nan) {
  TORCH_CHECK(self.scalar_type() == other.scalar_type(), self.scalar_type(), " did not match ", other.scalar_type());
  TORCH_CHECK(rtol >= 0, "rtol must be greater than or equal to zero, but got ", rtol);
  TORCH_CHECK(atol >= 0, "atol must be greater than or equal to zero, but got ", atol);
  Tensor close = self == other;
  if (equal_nan) close = close.logical_or(isnan(self).logical_and(isnan(other)));
  if (self.scalar_type() == kBool) return close;
  const Tensor x = self.is_floating_point() ? self : self.to(get_default_dtype());
  const Tensor y = other.is_floating_point() ? other : other.to(get_default_dtype());
  const Tensor error = abs(x - y);
  return close.logical_or(isfinite(error).logical_and(error <= abs(y * rtol) + atol));
}
Tensor isposinf(const Tensor& self) { return self.is_floating_point() ? self == std::numeric_limits<double>::infinity() : zeros(self.sizes(), kBool); }
Tensor isneginf(const Tensor& self) { return self.is_floating_point() ? self == -std::numeric_limits<double>::infinity() : zeros(self.sizes(), kBool); }
Tensor isreal(const Tensor& self) { return ones(self.sizes(), kBool); }
Tensor signbit(const Tensor& self) {
  if (self.is_floating_point()) return copysign(ones_like(self.detach()), self.detach()) < 0;
  return self.scalar_type() == kBool ? zeros(self.sizes(), kBool) : self < 0;
}

// %%
//| export core/breadth.h
// ---- Reductions. As elsewhere, `dim` counts from the end when negative.
Tensor nansum(const Tensor& self);
Tensor nansum(const Tensor& self, IntArrayRef dim, bool keepdim = false);  // NaN counts as 0
Tensor nanmean(const Tensor& self);
Tensor nanmean(const Tensor& self, IntArrayRef dim, bool keepdim = false);
Tensor count_nonzero(const Tensor& self);
Tensor count_nonzero(const Tensor& self, IntArrayRef dim);
std::tuple<Tensor, Tensor> aminmax(const Tensor& self, std::optional<std::int64_t> dim = std::nullopt, bool keepdim = false);
std::tuple<Tensor, Tensor> std_mean(const Tensor& self, IntArrayRef dim, bool unbiased = true, bool keepdim = false);
inline std::tuple<Tensor, Tensor> std_mean(const Tensor& self) { return std_mean(self, IntArrayRef()); }
// The middle element in rising order, the lower one of two; NaN if there is one; elements equal to it share its gradient. With a dimension also where it stands, of equal ones as in a stable sort, and the gradient goes there. O(n) on average.
Tensor median(const Tensor& self);
std::tuple<Tensor, Tensor> median(const Tensor& self, std::int64_t dim, bool keepdim = false);
Tensor nanmedian(const Tensor& self);  // of what is no NaN
// The k-th smallest, counted from 1, and where it stands. Throws if there are not so many.
std::tuple<Tensor, Tensor> kthvalue(const Tensor& self, std::int64_t k, std::int64_t dim = -1, bool keepdim = false);
// The value below which a part q of the elements lies; between two elements as `interpolation` says: linear, lower, higher, nearest or midpoint. Throws for q beyond [0, 1].
Tensor quantile(const Tensor& self, double q, std::optional<std::int64_t> dim = std::nullopt, bool keepdim = false, std::string_view interpolation = "linear");
Tensor quantile(const Tensor& self, const Tensor& q, std::optional<std::int64_t> dim = std::nullopt, bool keepdim = false, std::string_view interpolation = "linear");
// The largest (smallest) so far along `dim`, and where it stands: the last place of equal ones.
std::tuple<Tensor, Tensor> cummax(const Tensor& self, std::int64_t dim);
std::tuple<Tensor, Tensor> cummin(const Tensor& self, std::int64_t dim);
Tensor dist(const Tensor& self, const Tensor& other, const Scalar& p = 2);  // norm(self - other, p)
Tensor trace(const Tensor& self);  // the sum of the diagonal of a matrix
// How many elements fall into each of `bins` equal parts of [min, max]; with min == max, of the range of the elements. O(n).
Tensor histc(const Tensor& self, std::int64_t bins = 100, const Scalar& min = 0, const Scalar& max = 0);
// How often each of 0, 1, 2, ... occurs among non-negative integers, or the sum of its weights. O(n + largest).
Tensor bincount(const Tensor& self, const std::optional<Tensor>& weights = std::nullopt, std::int64_t minlength = 0);
// Where each value would be inserted into a sorted sequence: before equal ones, or behind with `right`. O(log n) for each.
Tensor searchsorted(const Tensor& sorted_sequence, const Tensor& self, bool out_int32 = false, bool right = false);
Tensor bucketize(const Tensor& self, const Tensor& boundaries, bool out_int32 = false, bool right = false);

// %%
//| export core/choosing.cpp
namespace {
// The elements of a dense tensor of doubles, for a range-based loop; it keeps the tensor.
class DoubleList {
 public:
  explicit DoubleList(const Tensor& tensor) : tensor_(tensor.contiguous()) {}
  const double* begin() const { return tensor_.data<double>(); }
  const double* end() const { return begin() + tensor_.numel(); }

 private:
  Tensor tensor_;
};
}  // namespace

Tensor nansum(const Tensor& self) { return sum(self.is_floating_point() ? masked_fill(self, isnan(self), 0) : self); }
Tensor nansum(const Tensor& self, IntArrayRef dim, bool keepdim) { return sum(self.is_floating_point() ? masked_fill(self, isnan(self), 0) : self, dim, keepdim); }
Tensor nanmean(const Tensor& self) { return nansum(self) / sum(isnan(self).logical_not()); }
Tensor nanmean(const Tensor& self, IntArrayRef dim, bool keepdim) { return nansum(self, dim, keepdim) / sum(isnan(self).logical_not(), dim, keepdim); }
Tensor count_nonzero(const Tensor& self) { return sum(self != 0); }
Tensor count_nonzero(const Tensor& self, IntArrayRef dim) { return sum(self != 0, dim); }
std::tuple<Tensor, Tensor> aminmax(const Tensor& self, std::optional<std::int64_t> dim, bool keepdim) {
  if (!dim) return {amin(self), amax(self)};
  return {amin(self, *dim, keepdim), amax(self, *dim, keepdim)};
}
std::tuple<Tensor, Tensor> std_mean(const Tensor& self, IntArrayRef dim, bool unbiased, bool keepdim) {
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(), "std_mean only support floating point and complex dtypes");
  return {tinytorch::std(self, dim, unbiased, keepdim), mean(self, dim, keepdim)};
}

namespace {
// The rank of a row's element in rising order, from 0, NaN behind all numbers; of the median in a row with NaN that of the first NaN.
struct Rank {
  std::int64_t position;
  bool nan_wins;
};

// Copies the numbers for which `keep` holds, and gives their count. Writes each and goes on if it shall stay: a jump would be guessed wrong every other time. `to` has room for one more than that.
template <class T, class Keep>
std::int64_t copy_kept(const T* from, std::int64_t count, T* to, Keep keep) {
  std::int64_t kept = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    to[kept] = from[i];
    kept += static_cast<std::int64_t>(keep(from[i]));
  }
  return kept;
}

// The number that would be at `position` if they were sorted. They are rearranged; `between` is scratch memory for count + 1. O(count) on average.
template <class T>
T number_of_rank(T* numbers, std::int64_t count, std::int64_t position, T* between) {
  constexpr std::int64_t kEach = 64;
  if (count > 4096) {
    // Two numbers of a sorted sample that almost surely lie on both sides of the wanted one (four standard deviations of its rank in the sample), then only what is between them.
    std::vector<T> sample;
    for (std::int64_t i = 0; i < count; i += kEach) sample.push_back(numbers[i]);
    std::sort(sample.begin(), sample.end());
    const auto size = static_cast<std::int64_t>(sample.size());
    const auto margin = static_cast<std::int64_t>(2 * std::sqrt(static_cast<double>(size)));
    const T low = sample[static_cast<std::size_t>(std::max<std::int64_t>(0, position / kEach - margin))], high = sample[static_cast<std::size_t>(std::min(size - 1, position / kEach + margin))];
    std::int64_t below = 0;
    const std::int64_t kept = copy_kept(numbers, count, between, [&](T x) {
      below += static_cast<std::int64_t>(x < low);
      return static_cast<int>(low <= x) & static_cast<int>(x <= high);
    });
    if (below <= position && position < below + kept) {
      std::nth_element(between, between + (position - below), between + kept);
      return between[position - below];
    }
  }
  std::nth_element(numbers, numbers + position, numbers + count);
  return numbers[position];
}

// Where in `row` the element of that rank stands; equal numbers, and NaN, rank in the order of the row, as in a stable sort. Scratch memory as above. O(count) on average.
template <class T>
std::int64_t place_of(Rank rank, const T* row, std::int64_t count, T* numbers, T* between) {
  // The place of the one before which `skipped` others are wanted too.
  const auto find_after = [&](std::int64_t skipped, auto wanted) {
    const T* found = std::find_if(row, row + count, wanted);
    for (; skipped > 0; --skipped) found = std::find_if(found + 1, row + count, wanted);
    return static_cast<std::int64_t>(found - row);
  };
  const std::int64_t known = copy_kept(row, count, numbers, [](T x) { return x == x; });
  if (rank.nan_wins ? known < count : rank.position >= known) return find_after(rank.nan_wins ? 0 : rank.position - known, [](T x) { return x != x; });
  const T number = number_of_rank(numbers, known, rank.position, between);
  const auto smaller = static_cast<std::int64_t>(std::count_if(row, row + count, [&](T x) { return x < number; }));
  return find_after(rank.position - smaller, [&](T x) { return x == number; });
}

// The places along `dim`, which has size 1 in the result.
Tensor places_of(Rank rank, const Tensor& self, std::int64_t dim) {
  Tensor rows = self.detach().transpose(dim, -1);
  if (isReducedFloatingType(rows.scalar_type())) rows = rows.to(kFloat);
  rows = rows.contiguous();
  const std::int64_t count = rows.size(-1);
  const Tensor places = empty({rows.numel() / count}, kLong);
  const Tensor numbers = empty({count + 1}, rows.options()), between = empty({count + 1}, rows.options());
  dispatch_all_types(rows.scalar_type(), [&]<class T>() {
    for (std::int64_t i = 0; i < places.numel(); ++i) places.data<std::int64_t>()[i] = place_of(rank, rows.data<T>() + i * count, count, numbers.data<T>(), between.data<T>());
  });
  DimVector sizes(rows.sizes());
  sizes.back() = 1;
  return places.view(sizes).transpose(dim, -1);
}

std::tuple<Tensor, Tensor> element_of_rank(Rank rank, const Tensor& self, std::int64_t dim, bool keepdim) {
  const Tensor index = places_of(rank, self, dim);
  const Tensor values = gather(self, dim, index);
  return keepdim ? std::tuple(values, index) : std::tuple(values.squeeze(dim), index.squeeze(dim));
}
}  // namespace

std::tuple<Tensor, Tensor> median(const Tensor& self, std::int64_t dim, bool keepdim) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  if (self.dim() == 0) return {clone(self), zeros({}, kLong)};
  TORCH_CHECK_INDEX(self.size(d) > 0, "median(): Expected reduction dim ", d, " to have non-zero size.");
  return element_of_rank({(self.size(d) - 1) / 2, true}, self, d, keepdim);
}
Tensor median(const Tensor& self) {
  if (self.numel() == 0) return full({}, std::numeric_limits<double>::quiet_NaN(), self.scalar_type());
  const Tensor flat = self.reshape({-1});
  const Tensor value = std::get<0>(median(flat, 0));
  if (!value.requires_grad()) return value;
  // All elements that are equal to it share its gradient.
  const Tensor number = value.detach(), nan = isnan(number);
  return nan.item<bool>() ? masked_select(flat, isnan(flat)).mean() : masked_select(flat, flat == number).amax({0});
}
Tensor nanmedian(const Tensor& self) {
  const Tensor numbers = masked_select(self, isnan(self).logical_not());
  return numbers.numel() == 0 ? median(self) : median(numbers);
}
std::tuple<Tensor, Tensor> kthvalue(const Tensor& self, std::int64_t k, std::int64_t dim, bool keepdim) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  const std::int64_t size = self.dim() == 0 ? 1 : self.size(d);
  TORCH_CHECK(k >= 1 && k <= size, "kthvalue(): selected number k out of range for dimension ", d);
  if (self.dim() == 0) return {clone(self), zeros({}, kLong)};
  return element_of_rank({k - 1, false}, self, d, keepdim);
}

Tensor quantile(const Tensor& self, const Tensor& q, std::optional<std::int64_t> dim, bool keepdim, std::string_view interpolation) {
  TORCH_CHECK(self.numel() > 0, "quantile() input tensor must be non-empty");
  TORCH_CHECK(q.dim() <= 1, "quantile() q must be a scalar or 1D tensor");
  TORCH_CHECK(self.scalar_type() == kFloat || self.scalar_type() == kDouble, "quantile() input tensor must be either float or double dtype");
  TORCH_CHECK(q.scalar_type() == self.scalar_type(), "quantile() q tensor must be same dtype as the input tensor");
  TORCH_CHECK(((q >= 0).logical_and(q <= 1)).all().item<bool>(), "quantile() q values must be in the range [0, 1]");
  const bool known = interpolation == "linear" || interpolation == "lower" || interpolation == "higher" || interpolation == "nearest" || interpolation == "midpoint";
  TORCH_CHECK(known, "quantile() interpolation must be one of linear, lower, higher, midpoint or nearest, but got ", interpolation);

  // What the result of one q looks like.
  const bool along = dim && self.dim() > 0;
  const std::int64_t d = dim ? wrap_dim(*dim, self.dim()) : 0;
  DimVector sizes(self.sizes());
  for (std::size_t i = sizes.size(); i-- > 0;) {
    if (along && i != static_cast<std::size_t>(d)) continue;
    if (keepdim) sizes[i] = 1;
    else sizes.erase(i);
  }

  const Tensor rows = along ? self.transpose(d, -1) : self.reshape({-1});
  const Tensor sorted = std::get<0>(sort(rows));
  const std::int64_t last = sorted.size(-1) - 1;
  const Tensor greatest = sorted.narrow(-1, last, 1);  // NaN where the row has one
  std::vector<Tensor> results;
  for (const double wanted : DoubleList(q.to(kDouble).reshape({-1}))) {
    const double place = wanted * static_cast<double>(last);
    const double below = interpolation == "higher" ? std::ceil(place) : interpolation == "nearest" ? std::nearbyint(place) : std::floor(place);
    const double above = interpolation == "lower" ? below : std::max(below, std::ceil(place));
    const double weight = above == below ? 0 : interpolation == "midpoint" ? 0.5 : place - below;
    const Tensor low = sorted.narrow(-1, static_cast<std::int64_t>(below), 1);
    const Tensor high = sorted.narrow(-1, static_cast<std::int64_t>(above), 1);
    const Tensor value = where(isnan(greatest), greatest, weight == 0 ? low : lerp(low, high, weight));
    results.push_back((along ? value.transpose(d, -1) : value).reshape(sizes));
  }
  return q.dim() == 0 ? results[0] : stack(results);
}
Tensor quantile(const Tensor& self, double q, std::optional<std::int64_t> dim, bool keepdim, std::string_view interpolation) {
  TORCH_CHECK(q >= 0 && q <= 1, "quantile() q must be in the range [0, 1] but got ", q);
  return quantile(self, full({}, q, self.scalar_type()), dim, keepdim, interpolation);
}

namespace {
template <class T>
bool is_not_a_number(T x) {
  if constexpr (std::is_floating_point_v<T>) return std::isnan(x);
  else return false;
}

// Of `count` numbers that follow each other: the largest (smallest) so far, and where it stands, the last of equal ones. Behind a NaN only NaNs are taken.
template <bool kLargest, class T>
void running_extreme_of_row(const T* x, std::int64_t count, T* values, std::int64_t* places) {
  T best = x[0];
  std::int64_t place = 0, j = 0;
  for (; j < count && !is_not_a_number(x[j]); ++j) {
    const bool stays = kLargest ? best > x[j] : best < x[j];
    best = stays ? best : x[j];
    place = best == x[j] ? j : place;
    values[j] = best;
    places[j] = place;
  }
  for (; j < count; ++j) {
    if (is_not_a_number(x[j])) {
      best = x[j];
      place = j;
    }
    values[j] = best;
    places[j] = place;
  }
}

// Of the columns of a matrix (rows, columns), row by row: each is compared with the results of the row before.
template <bool kLargest, class T>
void running_extreme_of_columns(const T* x, std::int64_t rows, std::int64_t columns, T* values, std::int64_t* places) {
  std::copy(x, x + columns, values);
  std::fill(places, places + columns, 0);
  for (std::int64_t j = 1; j < rows; ++j) {
    const T* const before = values;
    const std::int64_t* const place_before = places;
    x += columns;
    values += columns;
    places += columns;
    for (std::int64_t k = 0; k < columns; ++k) {
      const T best = before[k];
      const bool taken = is_not_a_number(x[k]) || (!is_not_a_number(best) && (kLargest ? x[k] >= best : x[k] <= best));
      values[k] = taken ? x[k] : best;
      places[k] = taken ? j : place_before[k];
    }
  }
}

// The largest (smallest) so far along `dim`, and where it stands.
template <bool kLargest>
std::tuple<Tensor, Tensor> running_extreme(const Tensor& self, std::int64_t dim) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  if (self.dim() == 0) return {clone(self), zeros({}, kLong)};
  const Tensor x = detail::widened(self.detach(), {}).contiguous();
  const Tensor values = empty(x.sizes(), x.scalar_type()), places = empty(x.sizes(), kLong);
  if (self.numel() == 0) return {clone(self), places};
  const std::int64_t rows = x.size(d);
  std::int64_t columns = 1;
  for (std::int64_t inner = d + 1; inner < x.dim(); ++inner) columns *= x.size(inner);
  dispatch_all_types(x.scalar_type(), [&]<class T>() {
    for (std::int64_t at = 0; at < x.numel(); at += rows * columns) {
      T* const value = values.data<T>() + at;
      std::int64_t* const place = places.data<std::int64_t>() + at;
      if (columns == 1) running_extreme_of_row<kLargest>(x.data<T>() + at, rows, value, place);
      else running_extreme_of_columns<kLargest>(x.data<T>() + at, rows, columns, value, place);
    }
  });
  return {self.requires_grad() ? gather(self, d, places) : values.to(self.scalar_type()), places};
}
}  // namespace
std::tuple<Tensor, Tensor> cummax(const Tensor& self, std::int64_t dim) { return running_extreme<true>(self, dim); }
std::tuple<Tensor, Tensor> cummin(const Tensor& self, std::int64_t dim) { return running_extreme<false>(self, dim); }

Tensor dist(const Tensor& self, const Tensor& other, const Scalar& p) { return norm(self - other, p); }
Tensor trace(const Tensor& self) {
  TORCH_CHECK(self.dim() == 2, "trace: expected a matrix, but got tensor with dim ", self.dim());
  return sum(diagonal(self));
}

Tensor histc(const Tensor& self, std::int64_t bins, const Scalar& min, const Scalar& max) {
  TORCH_CHECK(bins > 0, "torch.histogram(): bins must be > 0, but got ", bins);
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(), "\"histogram_cpu\" not implemented for '", self.scalar_type(), "'");
  double low = min.toDouble();
  double high = max.toDouble();
  if (low == high && self.numel() > 0) {
    low = amin(self).item<double>();
    high = amax(self).item<double>();
  }
  if (low == high) {
    low -= 1;
    high += 1;
  }
  TORCH_CHECK(std::isfinite(low) && std::isfinite(high), "torch.histc: range of [", low, ", ", high, "] is not finite");
  TORCH_CHECK(low < high, "torch.histc: max must be larger than min");
  const Tensor counts = zeros({bins}, kDouble);
  for (const double x : DoubleList(self.detach().to(kDouble).reshape({-1}))) {
    if (!(x >= low && x <= high)) continue;
    const auto bin = static_cast<std::int64_t>((x - low) / (high - low) * static_cast<double>(bins));
    counts.data<double>()[std::min(bin, bins - 1)] += 1;
  }
  return counts.to(self.scalar_type());
}

Tensor bincount(const Tensor& self, const std::optional<Tensor>& weights, std::int64_t minlength) {
  TORCH_CHECK(minlength >= 0, "minlength should be >= 0");
  TORCH_CHECK(self.dim() == 1 && !self.is_floating_point(), "bincount only supports 1-d non-negative integral inputs.");
  TORCH_CHECK(self.numel() == 0 || self.min().item<std::int64_t>() >= 0, "bincount only supports 1-d non-negative integral inputs.");
  const bool weighted = weights && weights->defined();
  TORCH_CHECK(!weighted || weights->sizes() == self.sizes(), "weights should be 1-d and have the same length as input");
  const std::int64_t size = self.numel() == 0 ? minlength : std::max(minlength, self.max().item<std::int64_t>() + 1);
  const Tensor places = self.to(kLong);
  if (!weighted) {  // counted where it is seen, without a tensor of ones
    const Tensor counts = zeros({size}, kLong), dense = places.contiguous();
    std::int64_t* const count = counts.data<std::int64_t>();
    const std::int64_t* const place = dense.data<std::int64_t>();
    for (std::int64_t i = 0; i < dense.numel(); ++i) ++count[place[i]];
    return counts;
  }
  const ScalarType type = weights->scalar_type() == kFloat ? kFloat : kDouble;
  return zeros({size}, type).index_add_(0, places, weights->to(type));
}

namespace {
// A search for the first place whose number is not less than `value` (with Right: greater), among `count` numbers from `place` on.
template <bool Right, class T>
struct Search {
  T value;
  std::int64_t place, count;

  // Looks at the number in the middle. The steps are those of std::lower_bound, so that numbers in no order give PyTorch's place too; but what each of them decides is a mask of bits, since a jump would be guessed wrong every other time.
  void step(const T* sorted) {
    const std::int64_t half = count / 2;
    const T middle = sorted[place + half];
    const auto lies_before = static_cast<std::int64_t>(Right ? !(value < middle) : middle < value);
    place += (half + 1) & -lies_before;
    count = half - (lies_before & ~count & 1);  // count - half - 1 behind the middle, half before it
  }
};

// The places of `wanted` values. Each step of a search waits for the one before; eight searches side by side keep the processor busy meanwhile. O(wanted log count).
template <bool Right, class T>
void find_places(const T* sorted, std::int64_t count, const T* values, std::int64_t wanted, std::int64_t* places) {
  constexpr std::int64_t kTogether = 8;
  for (std::int64_t first = 0; first < wanted; first += kTogether) {
    const std::int64_t searches = std::min(kTogether, wanted - first);
    std::array<Search<Right, T>, kTogether> all;
    for (std::int64_t i = 0; i < kTogether; ++i) all[static_cast<std::size_t>(i)] = {values[first + std::min(i, searches - 1)], 0, count};
    for (std::int64_t least = count; least > 0; least = (least - 1) / 2)
      for (Search<Right, T>& search : all) search.step(sorted);
    for (std::int64_t i = 0; i < searches; ++i) {
      Search<Right, T>& search = all[static_cast<std::size_t>(i)];
      while (search.count > 0) search.step(sorted);
      places[first + i] = search.value == search.value ? search.place : count;  // NaN is greater than every number
    }
  }
}
}  // namespace
Tensor searchsorted(const Tensor& sorted_sequence, const Tensor& self, bool out_int32, bool right) {
  const bool one_for_all = sorted_sequence.dim() == 1;
  bool fits = one_for_all || sorted_sequence.dim() == self.dim();
  for (std::int64_t i = 0; fits && !one_for_all && i + 1 < self.dim(); ++i) fits = self.size(i) == sorted_sequence.size(i);
  TORCH_CHECK(fits, "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and input value tensor must match, "
              "but we got boundaries tensor ", sorted_sequence.sizes(), " and input value tensor ", self.sizes());
  ScalarType type = promoteTypes(sorted_sequence.scalar_type(), self.scalar_type());
  if (type == kBool || isReducedFloatingType(type)) type = kFloat;
  const Tensor sequence = sorted_sequence.detach().to(type).contiguous(), wanted = self.detach().to(type).contiguous();
  const Tensor result = empty(self.sizes(), kLong);
  const std::int64_t length = sequence.size(-1), row_length = self.dim() == 0 ? 1 : self.size(-1);
  dispatch_all_types(type, [&]<class T>() {
    const std::int64_t rows = one_for_all ? 1 : self.numel() / std::max<std::int64_t>(1, row_length), each = one_for_all ? self.numel() : row_length;
    for (std::int64_t row = 0; row < rows; ++row) {
      const T *const sorted = sequence.data<T>() + row * length, *const values = wanted.data<T>() + row * each;
      std::int64_t* const places = result.data<std::int64_t>() + row * each;
      if (right) find_places<true>(sorted, length, values, each, places);
      else find_places<false>(sorted, length, values, each, places);
    }
  });
  return out_int32 ? result.to(kInt) : result;
}

namespace {
// The place of each element among the sorted ones, where an equal number stands if there is one.
Tensor found_among(const Tensor& elements, const Tensor& sorted) {
  const Tensor places = searchsorted(sorted, elements).clamp_max(sorted.numel() - 1);
  return sorted.index({places}) == elements;
}
}  // namespace
Tensor isin(const Tensor& elements, const Tensor& test_elements, bool, bool invert) {
  constexpr std::int64_t kFew = 64;  // so few are compared one by one
  const Tensor wanted = test_elements.reshape({-1});
  const ScalarType type = result_type(elements, wanted);
  const bool sorts = wanted.numel() > kFew && type != kBool && !isReducedFloatingType(type);
  const Tensor found = sorts ? found_among(elements.to(type), std::get<0>(sort(wanted.to(type)))) : (elements.unsqueeze(-1) == wanted).any(-1);
  return invert ? found.logical_not() : found;
}
Tensor bucketize(const Tensor& self, const Tensor& boundaries, bool out_int32, bool right) {
  TORCH_CHECK(boundaries.dim() == 1, "bucketize(): boundaries tensor must be 1 dimension, but got dim(", boundaries.dim(), ")");
  return searchsorted(boundaries, self, out_int32, right);
}

// %%
TEST_CASE("choosing: values, NaN and gradients") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const Tensor x = tensor({{3.0, 1.0, 2.0}, {nan, 5.0, 4.0}}, kDouble);
  CHECK_EQ(nansum(x).item<double>(), 15.0);
  CHECK_EQ(nanmean(x, 1), tensor({2.0, 4.5}, kDouble));
  CHECK_EQ(std::get<0>(median(x, 1)), tensor({2.0, nan}, kDouble));
  CHECK_EQ(nanmedian(x).item<double>(), 3.0);
  CHECK_EQ(std::get<1>(median(x, 1)), tensor({2, 0}));
  CHECK_EQ(std::get<1>(kthvalue(tensor({{1.0, nan, 2.0, nan}}, kDouble), 3)), tensor({1}));
  CHECK_EQ(std::get<1>(kthvalue(tensor({{1.0, nan, 2.0, nan}}, kDouble), 4)), tensor({3}));
  const Tensor numbers = (arange(1001) * 389).remainder(1001).to(kInt);  // all of them once
  CHECK_EQ(median(numbers).item<int>(), 500);
  for (const std::int64_t k : {1, 2, 65, 5000, 9999, 10000}) {  // by a sample, at both ends too; and of rows whose sample says nothing
    CHECK_EQ(std::get<0>(kthvalue((arange(10000) * 7919).remainder(10000), k)).item<std::int64_t>(), k - 1);
    CHECK_EQ(std::get<0>(kthvalue(arange(10000).remainder(64) == 0, k)).item<bool>(), k > 10000 - 157);
    CHECK_EQ(std::get<0>(kthvalue((arange(10000).remainder(64) == 0).to(kFloat) * 5 + arange(10000).remainder(2), k)).item<float>(), std::get<0>(sort((arange(10000).remainder(64) == 0).to(kFloat) * 5 + arange(10000).remainder(2)))[k - 1].item<float>());
  }
  CHECK_EQ(std::get<0>(kthvalue(numbers.view({7, 143}), 72, 1)), std::get<0>(sort(numbers.view({7, 143}), 1)).select(1, 71));
  CHECK_EQ(std::get<0>(median(numbers.view({7, 143}), 0)), std::get<0>(sort(numbers.view({7, 143}), 0)).select(0, 3));
  // Equal elements share the gradient of the median of all.
  for (const auto& [row, expected] : {std::pair(tensor({1.0, 2.0, 2.0, 3.0}), tensor({0.0, 0.5, 0.5, 0.0})), std::pair(tensor({1.0, nan, 2.0, nan}), tensor({0.0, 0.5, 0.0, 0.5}))}) {
    const Tensor leaf = row.clone().requires_grad_();
    median(leaf).backward();
    CHECK_EQ(leaf.grad(), expected);
  }
  CHECK_EQ(std::get<1>(kthvalue(x, 1)), tensor({1, 2}));
  // Equal elements rank in the order of the row, in short rows and in long ones.
  for (const std::int64_t length : {4, 40, 10000}) {
    const Tensor equal = (arange(length) * 7919).remainder(3).to(kFloat);
    const Tensor order = std::get<1>(sort(equal, std::optional<bool>(true), 0));
    CHECK_EQ(std::get<1>(median(equal, 0)).item<std::int64_t>(), order[(length - 1) / 2].item<std::int64_t>());
    for (const std::int64_t k : {std::int64_t{1}, std::int64_t{2}, length}) CHECK_EQ(std::get<1>(kthvalue(equal, k)).item<std::int64_t>(), order[k - 1].item<std::int64_t>());
  }
  CHECK_ERROR(kthvalue(x, 4), "kthvalue(): selected number k out of range for dimension 1");
  CHECK_EQ(quantile(x[0], 0.25).item<double>(), 1.5);
  CHECK_EQ(quantile(x, tensor({0.5, 1.0}, kDouble), 1, true), tensor({{{2.0}, {nan}}, {{3.0}, {nan}}}, kDouble));
  CHECK_ERROR(quantile(x, 1.5), "quantile() q must be in the range [0, 1] but got 1.5");
  CHECK_EQ(std::get<1>(cummax(tensor({1.0, 3.0, 3.0, 2.0}), 0)), tensor({0, 1, 2, 2}));
  // The last of equal ones; a NaN stays, and another takes its place. Along rows, columns and both with gaps.
  const Tensor mixed = tensor({2.0, 1.0, 2.0, 3.0, 0.0, nan, 5.0, nan, -1.0}), high = tensor({2.0, 2.0, 2.0, 3.0, 3.0, nan, nan, nan, nan}), low = tensor({2.0, 1.0, 1.0, 1.0, 0.0, nan, nan, nan, nan});
  const Tensor high_places = tensor({0, 0, 2, 3, 3, 5, 5, 7, 7}), low_places = tensor({0, 1, 1, 1, 4, 5, 5, 7, 7});
  for (const ScalarType type : {kFloat, kDouble, kHalf}) {
    for (const std::int64_t columns : {1, 2, 19}) {
      const Tensor side_by_side = mixed.to(type).unsqueeze(1).expand({9, columns});
      const auto repeated = [&](const Tensor& t) { return t.unsqueeze(1).expand({9, columns}); };
      for (const Tensor& t : {side_by_side, side_by_side.contiguous(), side_by_side.contiguous().requires_grad_()}) {
        CHECK_EQ(std::get<0>(cummax(t, 0)), repeated(high.to(type)));
        CHECK_EQ(std::get<1>(cummax(t, 0)), repeated(high_places));
        CHECK_EQ(std::get<0>(cummin(t.t(), -1)), repeated(low.to(type)).t());
        CHECK_EQ(std::get<1>(cummin(t.t(), -1)), repeated(low_places).t());
      }
    }
  }
  const Tensor whole = tensor({{3, 7, 7}, {3, 5, 9}, {4, 8, 1}});
  CHECK_EQ(std::get<0>(cummax(whole, 0)), tensor({{3, 7, 7}, {3, 7, 9}, {4, 8, 9}}));
  CHECK_EQ(std::get<1>(cummax(whole, 0)), tensor({{0, 0, 0}, {1, 0, 1}, {2, 2, 1}}));
  CHECK_EQ(std::get<1>(cummin(whole, 1)), tensor({{0, 0, 0}, {0, 0, 0}, {0, 0, 2}}));
  const Tensor risen = tensor({1.0, 3.0, 2.0}).requires_grad_();
  std::get<0>(cummax(risen, 0)).sum().backward();
  CHECK_EQ(risen.grad(), tensor({1.0, 2.0, 0.0}));
  CHECK_EQ(histc(tensor({1.0, 2.0, 1.0, 4.0}), 3, 0, 3), tensor({0.0, 2.0, 1.0}));
  CHECK_EQ(bincount(tensor({1, 3, 1})), tensor({0, 2, 0, 1}));
  const Tensor labels = (arange(3000) * 7).remainder(11);
  Tensor expected_counts = zeros({15}, kLong);
  expected_counts.index_add_(0, labels, ones_like(labels));
  for (const ScalarType type : {kLong, kInt, kShort, kByte}) CHECK_EQ(bincount(labels.to(type), {}, 15), expected_counts);
  CHECK_EQ(bincount(stack({labels, labels + 1}, 1).select(1, 0), {}, 15), expected_counts);
  CHECK_EQ(bincount(labels.slice(0, 0, 0), {}, 2), zeros({2}, kLong));
  CHECK_ERROR(bincount(tensor({1, -3})), "bincount only supports 1-d non-negative integral inputs.");
  CHECK_EQ(searchsorted(tensor({1.0, 3.0, 3.0, 5.0}), tensor({3.0, 0.0, 9.0})), tensor({1, 0, 4}));
  CHECK_EQ(searchsorted(tensor({1.0, 3.0, 3.0, 5.0}), tensor({3.0, 0.0, 9.0}), false, true), tensor({3, 0, 4}));
  // As many are less, or not greater, for any length; int64 that no double holds, and NaN.
  for (const std::int64_t length : {0, 1, 2, 3, 7, 8, 100}) {
    const Tensor sorted = std::get<0>(sort(randint(0, 40, {length}))), wanted = randint(-2, 42, {5, 30});
    CHECK_EQ(searchsorted(sorted, wanted), (sorted < wanted.unsqueeze(-1)).sum(-1));
    CHECK_EQ(searchsorted(sorted.to(kFloat), wanted.to(kFloat), false, true), (sorted <= wanted.unsqueeze(-1)).sum(-1));
  }
  const std::int64_t large = (std::int64_t{1} << 60) + 1;
  CHECK_EQ(searchsorted(tensor({large - 1, large, large + 1}), tensor({large})), tensor({1}));
  CHECK_EQ(searchsorted(tensor({1.0, std::nan("")}), tensor({std::nan(""), 2.0}), false, true), tensor({2, 2}));
  const Tensor elements = randint(-100, 1100, {20, 30}), many = randint(0, 1000, {300});
  CHECK_EQ(isin(elements, many), (elements.unsqueeze(-1) == many).any(-1));
  CHECK_EQ(isin(elements.to(kDouble), many + 0.5, false, true), ones({20, 30}, kBool));
  CHECK(isin(many[7], many).item<bool>());
  CHECK_EQ(div(tensor({-7, 7}), tensor({2, 2}), "trunc"), tensor({-3, 3}));
  CHECK_EQ(div(tensor({-7, 7}), tensor({2, 2}), "floor"), tensor({-4, 3}));
  CHECK_ERROR(div(tensor({1}), tensor({2}), "up"), "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found 'up'");
  CHECK_EQ(nan_to_num(tensor({nan, double{INFINITY}, 1.0}, kDouble), 7), tensor({7.0, std::numeric_limits<double>::max(), 1.0}, kDouble));
  const Tensor z = zeros({2}, requires_grad());
  xlogy(z, zeros({2})).sum().backward();
  CHECK_EQ(z.grad(), tensor({0.0, 0.0}));
  CHECK_EQ(logaddexp(tensor({double{INFINITY}, -double{INFINITY}}), tensor({double{INFINITY}, -double{INFINITY}})), tensor({double{INFINITY}, -double{INFINITY}}));
}

// %% [markdown]
// ## Rearranging, joining, choosing
//
//     hstack   a | b         vstack   a        tile / repeat_interleave    1 2 1 2 / 1 1 2 2        roll     3 1 2
//                                     b
//
// `movedim`, `unflatten`, `tensor_split` and their like are views; `roll`, `tile` and what joins are copies.

// %%
//| export core/breadth.h
// ---- Views.
Tensor movedim(const Tensor& self, IntArrayRef source, IntArrayRef destination);
Tensor movedim(const Tensor& self, std::int64_t source, std::int64_t destination);
inline Tensor moveaxis(const Tensor& self, std::int64_t source, std::int64_t destination) { return movedim(self, source, destination); }
inline Tensor swapaxes(const Tensor& self, std::int64_t axis0, std::int64_t axis1) { return transpose(self, axis0, axis1); }
inline Tensor swapdims(const Tensor& self, std::int64_t dim0, std::int64_t dim1) { return transpose(self, dim0, dim1); }
Tensor unflatten(const Tensor& self, std::int64_t dim, IntArrayRef sizes);  // one dimension becomes several; one size may be -1
Tensor ravel(const Tensor& self);
Tensor broadcast_to(const Tensor& self, IntArrayRef size);
std::vector<Tensor> broadcast_tensors(TensorList tensors);
Tensor atleast_1d(const Tensor& self);
Tensor atleast_2d(const Tensor& self);
Tensor atleast_3d(const Tensor& self);
// In `sections` parts of nearly equal length, or before each of the indices.
std::vector<Tensor> tensor_split(const Tensor& self, std::int64_t sections, std::int64_t dim = 0);
std::vector<Tensor> tensor_split(const Tensor& self, IntArrayRef indices, std::int64_t dim = 0);
// In equal parts or at indices, along the dimension of columns, of rows, and the third. Views.
std::vector<Tensor> hsplit(const Tensor& self, std::int64_t sections);
std::vector<Tensor> hsplit(const Tensor& self, IntArrayRef indices);
std::vector<Tensor> vsplit(const Tensor& self, std::int64_t sections);
std::vector<Tensor> vsplit(const Tensor& self, IntArrayRef indices);
std::vector<Tensor> dsplit(const Tensor& self, std::int64_t sections);
std::vector<Tensor> dsplit(const Tensor& self, IntArrayRef indices);
// ---- Copies.
Tensor roll(const Tensor& self, IntArrayRef shifts, IntArrayRef dims = {});
Tensor rot90(const Tensor& self, std::int64_t k = 1, IntArrayRef dims = {0, 1});
Tensor fliplr(const Tensor& self);
Tensor flipud(const Tensor& self);
Tensor tile(const Tensor& self, IntArrayRef dims);
Tensor repeat_interleave(const Tensor& self, std::int64_t repeats, std::optional<std::int64_t> dim = std::nullopt);
Tensor repeat_interleave(const Tensor& self, const Tensor& repeats, std::optional<std::int64_t> dim = std::nullopt);
Tensor diag(const Tensor& self, std::int64_t diagonal = 0);  // a vector as a diagonal, or the diagonal of a matrix
Tensor diag_embed(const Tensor& self, std::int64_t offset = 0, std::int64_t dim1 = -2, std::int64_t dim2 = -1);
Tensor diagflat(const Tensor& self, std::int64_t offset = 0);
Tensor hstack(TensorList tensors);
Tensor vstack(TensorList tensors);
Tensor dstack(TensorList tensors);
Tensor column_stack(TensorList tensors);
Tensor block_diag(TensorList tensors);
std::vector<Tensor> meshgrid(TensorList tensors, std::string_view indexing = "ij");
Tensor cartesian_prod(TensorList tensors);
Tensor combinations(const Tensor& self, std::int64_t r = 2, bool with_replacement = false);  // every r of a vector's elements, in their order, as rows
Tensor chain_matmul(TensorList matrices);  // the product of matrices, from left to right
Tensor diff(const Tensor& self, std::int64_t n = 1, std::int64_t dim = -1);
// The area under the line through values that are `dx`, or whose places are `x`, apart.
Tensor trapezoid(const Tensor& y, const Scalar& dx = 1, std::int64_t dim = -1);
Tensor trapezoid(const Tensor& y, const Tensor& x, std::int64_t dim = -1);
// log of the sum of exp so far, without overflow, in doubling steps: O(n log n).
Tensor logcumsumexp(const Tensor& self, std::int64_t dim);
// self with `src` in place of a part of it.
Tensor select_scatter(const Tensor& self, const Tensor& src, std::int64_t dim, std::int64_t index);
Tensor slice_scatter(const Tensor& self, const Tensor& src, std::int64_t dim = 0, std::optional<std::int64_t> start = std::nullopt,
                     std::optional<std::int64_t> end = std::nullopt, std::int64_t step = 1);
Tensor diagonal_scatter(const Tensor& self, const Tensor& src, std::int64_t offset = 0, std::int64_t dim1 = 0, std::int64_t dim2 = 1);
// ---- Choosing with indices; out of range is an IndexError.
Tensor take(const Tensor& self, const Tensor& index);  // of the flattened tensor, in the shape of index
Tensor take_along_dim(const Tensor& self, const Tensor& indices, std::optional<std::int64_t> dim = std::nullopt);
Tensor index_put(const Tensor& self, const std::vector<std::optional<Tensor>>& indices, const Tensor& values, bool accumulate = false);
Tensor index_copy(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source);
Tensor index_fill(const Tensor& self, std::int64_t dim, const Tensor& index, const Scalar& value);
Tensor masked_scatter(const Tensor& self, const Tensor& mask, const Tensor& source);
std::vector<Tensor> where(const Tensor& condition);  // an index tensor for each dimension
Tensor argwhere(const Tensor& self);
// ---- Products.
Tensor baddbmm(const Tensor& self, const Tensor& batch1, const Tensor& batch2, const Scalar& beta = 1, const Scalar& alpha = 1);
Tensor addbmm(const Tensor& self, const Tensor& batch1, const Tensor& batch2, const Scalar& beta = 1, const Scalar& alpha = 1);
Tensor addmv(const Tensor& self, const Tensor& mat, const Tensor& vec, const Scalar& beta = 1, const Scalar& alpha = 1);
Tensor addr(const Tensor& self, const Tensor& vec1, const Tensor& vec2, const Scalar& beta = 1, const Scalar& alpha = 1);
Tensor vdot(const Tensor& self, const Tensor& other);
Tensor inner(const Tensor& self, const Tensor& other);
Tensor ger(const Tensor& self, const Tensor& vec2);
Tensor kron(const Tensor& self, const Tensor& other);
Tensor cross(const Tensor& self, const Tensor& other, std::optional<std::int64_t> dim = std::nullopt);
Tensor tensordot(const Tensor& self, const Tensor& other, IntArrayRef dims_self, IntArrayRef dims_other);
namespace op {
extern Operator<Tensor(const Tensor&, IntArrayRef)> roll;  // for each dimension, how many of the last come first; not all of them 0
extern Operator<Tensor(const Tensor&, const Tensor&, std::int64_t)> cross;  // of one shape and dtype, 3 along the dimension
extern Operator<Tensor(const Tensor&, std::int64_t, std::int64_t, std::int64_t)> diag_embed;  // offset, and two dimensions >= 0 of the result
}  // namespace op
// ---- Creation.
Tensor logspace(const Scalar& start, const Scalar& end, std::int64_t steps, double base = 10, const TensorOptions& options = {});
Tensor empty_strided(IntArrayRef size, IntArrayRef stride, const TensorOptions& options = {});
Tensor tril_indices(std::int64_t row, std::int64_t col, std::int64_t offset = 0, const TensorOptions& options = kLong);
Tensor triu_indices(std::int64_t row, std::int64_t col, std::int64_t offset = 0, const TensorOptions& options = kLong);
Tensor vander(const Tensor& x, std::optional<std::int64_t> N = std::nullopt, bool increasing = false);  // the powers of a vector's elements, N to a row
// Windows for signals, of window_length numbers; a periodic one leaves its last number to the next period.
Tensor hann_window(std::int64_t window_length, bool periodic = true, const TensorOptions& options = {});
Tensor hamming_window(std::int64_t window_length, bool periodic = true, double alpha = 0.54, double beta = 0.46, const TensorOptions& options = {});
Tensor blackman_window(std::int64_t window_length, bool periodic = true, const TensorOptions& options = {});
Tensor bartlett_window(std::int64_t window_length, bool periodic = true, const TensorOptions& options = {});

// %%
//| export core/rearranging.cpp
Tensor movedim(const Tensor& self, IntArrayRef source, IntArrayRef destination) {
  TORCH_CHECK(source.size() == destination.size(), "movedim: Invalid source or destination dims: source (", source, " dims) should contain the same number of dims as destination (",
              destination, " dims)");
  const auto dims = static_cast<std::size_t>(std::max<std::int64_t>(self.dim(), 1));  // a 0-d tensor takes 0 and -1
  std::vector<std::int64_t> order(dims, -1);
  std::vector<bool> moved(dims, false);
  for (std::size_t i = 0; i < source.size(); ++i) {
    const std::int64_t from = wrap_dim(source[i], self.dim());
    const auto to = static_cast<std::size_t>(wrap_dim(destination[i], self.dim()));
    TORCH_CHECK(!moved[static_cast<std::size_t>(from)], "movedim: repeated dim in `source` (", source, ")");
    TORCH_CHECK(order[to] == -1, "movedim: repeated dim in `destination` (", destination, ")");
    order[to] = from;
    moved[static_cast<std::size_t>(from)] = true;
  }
  if (self.dim() == 0) return self;
  std::size_t next = 0;
  for (std::int64_t& dim : order) {
    if (dim >= 0) continue;
    while (moved[next]) ++next;
    dim = static_cast<std::int64_t>(next++);
  }
  return permute(self, order);
}
Tensor movedim(const Tensor& self, std::int64_t source, std::int64_t destination) { return movedim(self, IntArrayRef(source), IntArrayRef(destination)); }

Tensor unflatten(const Tensor& self, std::int64_t dim, IntArrayRef sizes) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  TORCH_CHECK(!sizes.empty(), "unflatten: sizes must be non-empty");
  std::int64_t known = 1;
  bool open = false;
  for (const std::int64_t size : sizes) {
    if (size == -1) open = true;
    else known *= size;
  }
  const bool fits = open ? known != 0 && self.size(d) % known == 0 : known == self.size(d);
  TORCH_CHECK(fits, "unflatten: Provided sizes ", sizes, " don't multiply up to the size of dim ", d, " (", self.size(d), ") in the input tensor");
  DimVector shape(self.sizes());
  shape.erase(static_cast<std::size_t>(d));
  for (std::size_t i = 0; i < sizes.size(); ++i) shape.insert(static_cast<std::size_t>(d) + i, sizes[i] == -1 ? self.size(d) / known : sizes[i]);
  return view(self, shape);
}
Tensor ravel(const Tensor& self) { return self.contiguous().view({-1}); }
Tensor broadcast_to(const Tensor& self, IntArrayRef size) { return expand(self, size); }
std::vector<Tensor> broadcast_tensors(TensorList tensors) {
  DimVector sizes;
  for (const Tensor& tensor : tensors) sizes = infer_size(sizes, tensor.sizes());
  std::vector<Tensor> results;
  for (const Tensor& tensor : tensors) results.push_back(expand(tensor, sizes));
  return results;
}
Tensor atleast_1d(const Tensor& self) { return self.dim() == 0 ? self.reshape({1}) : self; }
Tensor atleast_2d(const Tensor& self) { return self.dim() < 2 ? atleast_1d(self).unsqueeze(0) : self; }
Tensor atleast_3d(const Tensor& self) { return self.dim() < 3 ? atleast_2d(self).unsqueeze(-1) : self; }

std::vector<Tensor> tensor_split(const Tensor& self, IntArrayRef indices, std::int64_t dim) {
  TORCH_CHECK(self.dim() > 0, "tensor_split expected at least a 1-dimensional tensor, but got a tensor with ", self.dim(), " dims");
  std::vector<Tensor> parts;
  std::int64_t begin = 0;
  for (const std::int64_t end : indices) {
    parts.push_back(slice(self, dim, begin, end));
    begin = end;
  }
  parts.push_back(slice(self, dim, begin));
  return parts;
}
std::vector<Tensor> tensor_split(const Tensor& self, std::int64_t sections, std::int64_t dim) {
  TORCH_CHECK(self.dim() > 0, "tensor_split expected at least a 1-dimensional tensor, but got a tensor with ", self.dim(), " dims");
  TORCH_CHECK(sections > 0, "number of sections must be larger than 0, got ", sections);
  const std::int64_t size = self.size(dim);
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 1; i < sections; ++i) indices.push_back(i * (size / sections) + std::min(i, size % sections));
  return tensor_split(self, indices, dim);
}

namespace {
// Equal parts only.
std::vector<Tensor> split_equally(const char* name, const Tensor& self, std::int64_t sections, std::int64_t least_dims, std::int64_t dim) {
  TORCH_CHECK(self.dim() >= least_dims, "torch.", name, " requires a tensor with at least ", least_dims, " dimension, but got a tensor with ", self.dim(), " dimensions!");
  TORCH_CHECK(sections > 0 && self.size(dim) % sections == 0, "torch.", name, " attempted to split along dimension ", dim, ", but the size of the dimension ", self.size(dim),
              " is not divisible by the split_size ", sections, "!");
  return tensor_split(self, sections, dim);
}
std::vector<Tensor> split_there(const char* name, const Tensor& self, IntArrayRef indices, std::int64_t least_dims, std::int64_t dim) {
  TORCH_CHECK(self.dim() >= least_dims, "torch.", name, " requires a tensor with at least ", least_dims, " dimension, but got a tensor with ", self.dim(), " dimensions!");
  return tensor_split(self, indices, dim);
}
}  // namespace
std::vector<Tensor> hsplit(const Tensor& self, std::int64_t sections) { return split_equally("hsplit", self, sections, 1, self.dim() == 1 ? 0 : 1); }
std::vector<Tensor> hsplit(const Tensor& self, IntArrayRef indices) { return split_there("hsplit", self, indices, 1, self.dim() == 1 ? 0 : 1); }
std::vector<Tensor> vsplit(const Tensor& self, std::int64_t sections) { return split_equally("vsplit", self, sections, 2, 0); }
std::vector<Tensor> vsplit(const Tensor& self, IntArrayRef indices) { return split_there("vsplit", self, indices, 2, 0); }
std::vector<Tensor> dsplit(const Tensor& self, std::int64_t sections) { return split_equally("dsplit", self, sections, 3, 2); }
std::vector<Tensor> dsplit(const Tensor& self, IntArrayRef indices) { return split_there("dsplit", self, indices, 3, 2); }

// %% [markdown]
// `roll` shifts along a dimension; what leaves it at one end comes in at the other. Shifts along the same dimension add up, so its operator takes one number for each dimension: how many of the last come first. The reference cuts and joins once per dimension; chapter 80 puts every number at its place in one pass. The gradient is shifted back.
//
// `diag_embed` and `cross` are operators for the sake of their gradients. That of `diag_embed` is a diagonal, a view. That of a cross product is made of two more: for `c = a x b`, a gets `b x g` and b gets `g x a`.

// %%
//| export core/rearranging.cpp
namespace {
Tensor roll_cpu(const Tensor& self, IntArrayRef behind) {
  Tensor result = self;
  for (std::int64_t d = 0; d < self.dim(); ++d) {
    const std::int64_t first = behind[static_cast<std::size_t>(d)], size = self.size(d);
    if (first > 0) result = cat({result.narrow(d, size - first, first), result.narrow(d, 0, size - first)}, d);
  }
  return result;
}

Tensor roll_backward(const Tensor& g, IntArrayRef behind) {
  DimVector back(behind);
  for (std::size_t d = 0; d < back.size(); ++d) back[d] = back[d] == 0 ? 0 : g.size(static_cast<std::int64_t>(d)) - back[d];
  return op::roll(g, back);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef)> op::roll("roll", {.cpu = roll_cpu, .autograd = gradient_of<op::roll>([](const Tensor& g, Arg<1, DimVector> behind) { return roll_backward(g, behind.value); })});
Tensor roll(const Tensor& self, IntArrayRef shifts, IntArrayRef dims) {
  TORCH_CHECK(!shifts.empty(), "`shifts` required");
  if (dims.empty() && shifts.size() == 1) return roll(self.reshape({-1}), shifts, 0).reshape(self.sizes());
  TORCH_CHECK(shifts.size() == dims.size(), "shifts and dimensions must align. shifts: ", shifts.size(), ", dims:", dims.size());
  DimVector behind(static_cast<std::size_t>(self.dim()), 0);  // so many of the last come first
  for (std::size_t i = 0; i < shifts.size(); ++i) {
    TORCH_CHECK_INDEX(self.dim() > 0, "Dimension specified as ", dims[i], " but tensor has no dimensions");
    const std::int64_t size = self.size(dims[i]);
    std::int64_t& all = behind[static_cast<std::size_t>(wrap_dim(dims[i], self.dim()))];
    if (size > 0) all = (all + shifts[i] % size + size) % size;
  }
  const bool stays = std::all_of(behind.begin(), behind.end(), [](std::int64_t count) { return count == 0; });
  return stays ? clone(self) : op::roll(self, behind);
}

Tensor rot90(const Tensor& self, std::int64_t k, IntArrayRef dims) {
  TORCH_CHECK(dims.size() == 2, "expected total rotation dims == 2, but got dims = ", dims.size());
  TORCH_CHECK(self.dim() >= 2, "expected total dims >= 2, but got total dims = ", self.dim());
  TORCH_CHECK(wrap_dim(dims[0], self.dim()) != wrap_dim(dims[1], self.dim()), "expected rotation dims to be different, but got dim0 = ", dims[0], " and dim1 = ", dims[1]);
  switch (((k % 4) + 4) % 4) {
    case 1: return flip(self, dims[1]).transpose(dims[0], dims[1]);
    case 2: return flip(self, dims);
    case 3: return flip(self, dims[0]).transpose(dims[0], dims[1]);
    default: return clone(self);
  }
}
Tensor fliplr(const Tensor& self) {
  TORCH_CHECK(self.dim() >= 2, "Input must be >= 2-d.");
  return flip(self, 1);
}
Tensor flipud(const Tensor& self) {
  TORCH_CHECK(self.dim() >= 1, "Input must be >= 1-d.");
  return flip(self, 0);
}
Tensor tile(const Tensor& self, IntArrayRef dims) {
  DimVector repeats(dims);
  while (static_cast<std::int64_t>(repeats.size()) < self.dim()) repeats.insert(0, 1);
  return repeat(self, repeats);
}
Tensor repeat_interleave(const Tensor& self, std::int64_t repeats, std::optional<std::int64_t> dim) {
  TORCH_CHECK(repeats >= 0, "repeats can not be negative");
  const Tensor input = dim ? self : self.reshape({-1});
  const std::int64_t d = dim ? wrap_dim(*dim, self.dim()) : 0;
  DimVector wide(input.sizes());
  wide.insert(static_cast<std::size_t>(d) + 1, repeats);
  return input.unsqueeze(d + 1).expand(wide).flatten(d, d + 1);
}
Tensor repeat_interleave(const Tensor& self, const Tensor& repeats, std::optional<std::int64_t> dim) {
  const Tensor input = dim ? self : self.reshape({-1});
  const std::int64_t d = dim ? wrap_dim(*dim, self.dim()) : 0;
  if (repeats.numel() == 1) return repeat_interleave(self, repeats.item<std::int64_t>(), dim);
  TORCH_CHECK(repeats.dim() == 1 && repeats.size(0) == input.size(d), "repeats must have the same size as input along dim, but got repeats.size(0) = ", repeats.numel(),
              " and input.size(", d, ") = ", input.size(d));
  const Tensor counts = repeats.to(kLong).contiguous();
  std::vector<std::int64_t> index;
  for (std::int64_t i = 0; i < counts.numel(); ++i) {
    TORCH_CHECK(counts.data<std::int64_t>()[i] >= 0, "repeats can not be negative");
    index.insert(index.end(), static_cast<std::size_t>(counts.data<std::int64_t>()[i]), i);
  }
  const Tensor places = empty({static_cast<std::int64_t>(index.size())}, kLong);
  std::copy(index.begin(), index.end(), places.data<std::int64_t>());
  return index_select(input, d, places);
}

namespace {
Tensor diag_embed_cpu(const Tensor& self, std::int64_t offset, std::int64_t first, std::int64_t second) {
  DimVector sizes(self.sizes());
  const std::int64_t side = self.size(-1) + (offset < 0 ? -offset : offset);
  sizes.erase(sizes.size() - 1);
  sizes.insert(static_cast<std::size_t>(std::min(first, second)), side);
  sizes.insert(static_cast<std::size_t>(std::max(first, second)), side);
  const Tensor result = zeros(sizes, self.scalar_type());
  diagonal(result, offset, first, second).copy_(self);
  return result;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, std::int64_t, std::int64_t, std::int64_t)> op::diag_embed(
    "diag_embed", {.cpu = diag_embed_cpu,
                   .autograd = gradient_of<op::diag_embed>([](const Tensor& g, Arg<1, std::int64_t> offset, Arg<2, std::int64_t> first, Arg<3, std::int64_t> second) { return diagonal(g, offset, first, second); })});

Tensor diag_embed(const Tensor& self, std::int64_t offset, std::int64_t dim1, std::int64_t dim2) {
  TORCH_CHECK(self.dim() > 0, "diag_embed: expected a tensor of at least one dimension, but got none");
  const std::int64_t first = wrap_dim(dim1, self.dim() + 1), second = wrap_dim(dim2, self.dim() + 1);
  TORCH_CHECK(first != second, "diagonal dimensions cannot be identical ", dim1, ", ", dim2);
  return op::diag_embed(self, offset, first, second);
}
Tensor diag(const Tensor& self, std::int64_t diagonal) {
  TORCH_CHECK(self.dim() == 1 || self.dim() == 2, "diag(): Supports 1D or 2D tensors. Got ", self.dim(), "D");
  return self.dim() == 1 ? diag_embed(self, diagonal) : clone(tinytorch::diagonal(self, diagonal));
}
Tensor diagflat(const Tensor& self, std::int64_t offset) { return diag_embed(self.reshape({-1}), offset); }

namespace {
template <class F>
std::vector<Tensor> each(TensorList tensors, F f) {
  std::vector<Tensor> results;
  for (const Tensor& tensor : tensors) results.push_back(f(tensor));
  return results;
}
}  // namespace
Tensor hstack(TensorList tensors) {
  TORCH_CHECK(!tensors.empty(), "hstack expects a non-empty TensorList");
  const std::vector<Tensor> parts = each(tensors, atleast_1d);
  return cat(parts, parts[0].dim() == 1 ? 0 : 1);
}
Tensor vstack(TensorList tensors) {
  TORCH_CHECK(!tensors.empty(), "vstack expects a non-empty TensorList");
  return cat(each(tensors, atleast_2d), 0);
}
Tensor dstack(TensorList tensors) {
  TORCH_CHECK(!tensors.empty(), "dstack expects a non-empty TensorList");
  return cat(each(tensors, atleast_3d), 2);
}
Tensor column_stack(TensorList tensors) {
  TORCH_CHECK(!tensors.empty(), "column_stack expects a non-empty TensorList");
  return cat(each(tensors, [](const Tensor& x) { return x.dim() <= 1 ? x.reshape({x.numel(), 1}) : x; }), 1);
}
Tensor block_diag(TensorList tensors) {
  const std::vector<Tensor> blocks = each(tensors, atleast_2d);
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  ScalarType type = blocks.empty() ? get_default_dtype() : blocks[0].scalar_type();
  for (const Tensor& block : blocks) {
    TORCH_CHECK(block.dim() == 2, "torch.block_diag: Input tensors must have 2 or fewer dimensions. Got a tensor with ", block.dim(), " dimensions");
    rows += block.size(0);
    columns += block.size(1);
    type = promoteTypes(type, block.scalar_type());
  }
  const Tensor result = zeros({rows, columns}, type);
  rows = columns = 0;
  for (const Tensor& block : blocks) {
    result.narrow(0, rows, block.size(0)).narrow(1, columns, block.size(1)).copy_(block);
    rows += block.size(0);
    columns += block.size(1);
  }
  return result;
}
std::vector<Tensor> meshgrid(TensorList tensors, std::string_view indexing) {
  TORCH_CHECK(!tensors.empty(), "meshgrid expects a non-empty TensorList");
  TORCH_CHECK(indexing == "ij" || indexing == "xy", "torch.meshgrid: indexing must be one of \"xy\" or \"ij\", but received: ", indexing);
  DimVector sizes;
  for (const Tensor& tensor : tensors) {
    TORCH_CHECK(tensor.dim() <= 1, "torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: ", tensor.sizes());
    sizes.push_back(tensor.numel());
  }
  std::vector<Tensor> grids;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    DimVector shape(sizes.size(), 1);
    shape[i] = sizes[i];
    const Tensor grid = tensors[i].reshape(shape).expand(sizes);
    grids.push_back(indexing == "xy" && sizes.size() > 1 ? grid.transpose(0, 1) : grid);
  }
  return grids;
}
Tensor combinations(const Tensor& self, std::int64_t r, bool with_replacement) {
  TORCH_CHECK(self.dim() == 1, "Expect a 1D vector, but got shape ", self.sizes());
  TORCH_CHECK(r >= 0, "Expect a non-negative number, but got ", r);
  if (r == 0) return empty({0}, self.options());
  // All rows of positions, and of these the ascending ones.
  std::vector<Tensor> positions(static_cast<std::size_t>(r), arange(self.numel()));
  const std::vector<Tensor> grids = meshgrid(positions, "ij");
  Tensor ascends = ones(grids[0].sizes(), kBool);
  for (std::size_t i = 0; i + 1 < grids.size(); ++i) ascends = ascends.logical_and(with_replacement ? grids[i] <= grids[i + 1] : grids[i] < grids[i + 1]);
  std::vector<Tensor> columns;
  for (const Tensor& grid : grids) columns.push_back(self.index_select(0, grid.masked_select(ascends)));
  return stack(columns, 1);
}
Tensor chain_matmul(TensorList matrices) {
  TORCH_CHECK(!matrices.empty(), "chain_matmul(): Expected one or more matrices");
  Tensor product = matrices[0];
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    TORCH_CHECK(matrices[i].dim() == 2, "Tensor dimension is ", matrices[i].dim(), ", expected 2 instead.");
    if (i > 0) product = mm(product, matrices[i]);
  }
  return product;
}
Tensor cartesian_prod(TensorList tensors) {
  for (const Tensor& tensor : tensors) TORCH_CHECK(tensor.dim() == 1, "Expect a 1D vector, but got shape ", tensor.sizes());
  if (tensors.size() == 1) return tensors[0];
  return stack(each(meshgrid(tensors), ravel), 1);
}
Tensor diff(const Tensor& self, std::int64_t n, std::int64_t dim) {
  TORCH_CHECK(self.dim() > 0, "diff expects input to be at least one-dimensional");
  TORCH_CHECK(n >= 0, "order must be non-negative but got ", n);
  Tensor result = n == 0 ? clone(self) : self;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t size = result.size(dim);
    if (size == 0) break;
    const Tensor later = result.narrow(dim, 1, size - 1);
    const Tensor earlier = result.narrow(dim, 0, size - 1);
    result = self.scalar_type() == kBool ? logical_xor(later, earlier) : later - earlier;
  }
  return result;
}

Tensor select_scatter(const Tensor& self, const Tensor& src, std::int64_t dim, std::int64_t index) {
  const Tensor result = clone(self);
  const Tensor part = result.select(dim, index);
  TORCH_CHECK(part.sizes() == src.sizes(), "expected src to have a size equal to the slice of self. src size = ", src.sizes(), ", slice size = ", part.sizes());
  part.copy_(src);
  return result;
}
Tensor slice_scatter(const Tensor& self, const Tensor& src, std::int64_t dim, std::optional<std::int64_t> start, std::optional<std::int64_t> end, std::int64_t step) {
  const Tensor result = clone(self);
  const Tensor part = slice(result, dim, start, end, step);
  TORCH_CHECK(part.sizes() == src.sizes(), "expected src to have a size equal to the slice of self. src size = ", src.sizes(), ", slice size = ", part.sizes());
  part.copy_(src);
  return result;
}
Tensor diagonal_scatter(const Tensor& self, const Tensor& src, std::int64_t offset, std::int64_t dim1, std::int64_t dim2) {
  const Tensor result = clone(self);
  const Tensor part = diagonal(result, offset, dim1, dim2);
  TORCH_CHECK(part.sizes() == src.sizes(), "expected src to have a size equal to the slice of self. src size = ", src.sizes(), ", slice size = ", part.sizes());
  part.copy_(src);
  return result;
}

// %%
//| export core/rearranging.cpp
namespace {
// `index` as the only index, along `dim`.
std::vector<std::optional<Tensor>> along(std::int64_t dim, const Tensor& index) {
  std::vector<std::optional<Tensor>> indices(static_cast<std::size_t>(dim));
  indices.emplace_back(index);
  return indices;
}
}  // namespace

Tensor take(const Tensor& self, const Tensor& index) {
  TORCH_CHECK(index.scalar_type() == kLong, "take(): Expected a long tensor for index, but got ", index.scalar_type());
  TORCH_CHECK_INDEX(self.numel() > 0 || index.numel() == 0, "take(): tried to take from an empty tensor");
  const Tensor places = index.contiguous();
  const std::int64_t count = self.numel();
  bool from_end = false;
  for (const std::int64_t place : ArrayRef<std::int64_t>(places.data_ptr<std::int64_t>(), static_cast<std::size_t>(places.numel()))) {
    TORCH_CHECK_INDEX(place >= -count && place < count, "out of range: tried to access index ", place, " on a tensor of ", count, " elements.");
    from_end = from_end || place < 0;
  }
  const Tensor flat = (from_end ? where(places < 0, places + count, places) : places).reshape({-1});
  return gather(self.reshape({-1}), 0, flat).view(index.sizes());
}
Tensor take_along_dim(const Tensor& self, const Tensor& indices, std::optional<std::int64_t> dim) {
  TORCH_CHECK(indices.scalar_type() == kLong, "torch.take_along_dim(): dtype of indices should be Long but got ", indices.scalar_type());
  if (!dim) return gather(self.reshape({-1}), 0, indices.reshape({-1}));
  TORCH_CHECK(self.dim() == indices.dim(), "torch.take_along_dim(): input and indices should have the same number of dimensions, but got ", self.dim(), " dimensions for input, and ",
              indices.dim(), " dimensions for indices");
  const auto d = static_cast<std::size_t>(wrap_dim(*dim, self.dim()));
  // All dimensions but `dim` broadcast.
  DimVector self_sizes(self.sizes());
  DimVector index_sizes(indices.sizes());
  self_sizes[d] = index_sizes[d] = 1;
  const DimVector common = infer_size(self_sizes, index_sizes);
  self_sizes = index_sizes = common;
  self_sizes[d] = self.sizes()[d];
  index_sizes[d] = indices.sizes()[d];
  return gather(expand(self, self_sizes), *dim, expand(indices, index_sizes));
}
Tensor index_put(const Tensor& self, const std::vector<std::optional<Tensor>>& indices, const Tensor& values, bool accumulate) {
  return index_put_(clone(self), indices, values, accumulate);
}
Tensor index_copy(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source) {
  TORCH_CHECK_INDEX(index.dim() < 2, "index_copy_(): Index should have dimension 1 or 0 (got ", index.dim(), ")");
  TORCH_CHECK(self.scalar_type() == source.scalar_type(), "index_copy_(): self and source expected to have the same dtype, but got (self) ", self.scalar_type(), " and (source) ",
              source.scalar_type());
  const std::int64_t d = wrap_dim(dim, self.dim());
  const std::int64_t given = source.dim() == 0 ? 1 : source.size(d);
  TORCH_CHECK_INDEX(index.numel() == given, "index_copy_(): Number of indices (", index.numel(), ") should be equal to source.size(dim) (", given, ")");
  return index_put_(clone(self), along(d, index), source);
}
Tensor index_fill(const Tensor& self, std::int64_t dim, const Tensor& index, const Scalar& value) {
  TORCH_CHECK_INDEX(index.scalar_type() == kLong, "index_fill_(): Expected dtype int64 for index.");
  TORCH_CHECK(index.dim() <= 1, "Index has to be a vector/scalar");
  return index_put_(clone(self), along(wrap_dim(dim, self.dim()), index), full({}, value, self.scalar_type()));
}
Tensor masked_scatter(const Tensor& self, const Tensor& mask, const Tensor& source) {
  TORCH_CHECK(self.scalar_type() == source.scalar_type(), "masked_scatter: expected self and source to have same dtypes but got ", self.scalar_type(), " and ", source.scalar_type());
  TORCH_CHECK(mask.scalar_type() == kBool, "masked_scatter_ only supports boolean masks, but got mask with dtype ", mask.scalar_type());
  const Tensor where_true = expand(mask, infer_size(self.sizes(), mask.sizes()));
  const std::int64_t count = sum(where_true).item<std::int64_t>();
  TORCH_CHECK(count <= source.numel(), "Number of elements of source < number of ones in mask");
  const Tensor result = clone(expand(self, where_true.sizes()));
  return index_put_(result, std::vector<std::optional<Tensor>>{where_true}, source.reshape({-1}).narrow(0, 0, count));
}
std::vector<Tensor> where(const Tensor& condition) { return nonzero(atleast_1d(condition)).unbind(1); }
Tensor argwhere(const Tensor& self) { return nonzero(self); }

// %%
//| export core/rearranging.cpp
namespace {
// beta * self + alpha * product, where beta = 0 forgets self, NaN and all.
Tensor weighted(const Tensor& self, const Tensor& product, const Scalar& beta, const Scalar& alpha) {
  const auto of_that_type = [&](const Scalar& factor) { return isIntegralType(product.scalar_type(), true) ? Scalar(factor.to<std::int64_t>()) : factor; };
  const Tensor scaled = alpha.equal(1) ? product : product * of_that_type(alpha);
  if (beta.equal(0)) return scaled;
  return beta.equal(1) ? self + scaled : self * of_that_type(beta) + scaled;
}
}  // namespace
Tensor baddbmm(const Tensor& self, const Tensor& batch1, const Tensor& batch2, const Scalar& beta, const Scalar& alpha) { return weighted(self, bmm(batch1, batch2), beta, alpha); }
Tensor addbmm(const Tensor& self, const Tensor& batch1, const Tensor& batch2, const Scalar& beta, const Scalar& alpha) { return weighted(self, sum(bmm(batch1, batch2), 0).to(batch1.scalar_type()), beta, alpha); }
Tensor addmv(const Tensor& self, const Tensor& mat, const Tensor& vec, const Scalar& beta, const Scalar& alpha) { return weighted(self, mv(mat, vec), beta, alpha); }
Tensor addr(const Tensor& self, const Tensor& vec1, const Tensor& vec2, const Scalar& beta, const Scalar& alpha) { return weighted(self, outer(vec1, vec2), beta, alpha); }
Tensor vdot(const Tensor& self, const Tensor& other) { return dot(self, other); }
Tensor ger(const Tensor& self, const Tensor& vec2) { return outer(self, vec2); }
Tensor inner(const Tensor& self, const Tensor& other) {
  if (self.dim() == 0 || other.dim() == 0) return self * other;
  TORCH_CHECK(self.size(-1) == other.size(-1), "inner() the last dimension must match on both input tensors but got shapes ", self.sizes(), " and ", other.sizes());
  return tensordot(self, other, -1, -1);
}
Tensor kron(const Tensor& self, const Tensor& other) {
  const auto dims = static_cast<std::size_t>(std::max(self.dim(), other.dim()));
  if (dims == 0) return self * other;
  DimVector left(dims, 1);
  DimVector right(dims, 1);
  for (std::size_t i = 0; i < self.sizes().size(); ++i) left[dims - self.sizes().size() + i] = self.sizes()[i];
  for (std::size_t i = 0; i < other.sizes().size(); ++i) right[dims - other.sizes().size() + i] = other.sizes()[i];
  DimVector a;
  DimVector b;
  DimVector result;
  for (std::size_t i = 0; i < dims; ++i) {
    a.push_back(left[i]);
    a.push_back(1);
    b.push_back(1);
    b.push_back(right[i]);
    result.push_back(left[i] * right[i]);
  }
  if (multiply_sizes(result) < 4096 || right.back() == 1) return (self.reshape(a) * other.reshape(b)).reshape(result);
  // Along the last dimension both are written out first, so that what is multiplied are long rows.
  DimVector times(dims, 1);
  times.back() = left.back();
  for (DimVector* sizes : {&a, &b}) {
    sizes->erase(sizes->size() - 1);
    sizes->back() = result.back();
  }
  return (repeat_interleave(self.reshape(left), right.back(), -1).reshape(a) * repeat(other.reshape(right), times).reshape(b)).reshape(result);
}
namespace {
Tensor cross_cpu(const Tensor& a, const Tensor& b, std::int64_t dim) {
  const auto part = [dim](const Tensor& x, std::int64_t i) { return x.select(dim, i); };
  return stack({part(a, 1) * part(b, 2) - part(a, 2) * part(b, 1), part(a, 2) * part(b, 0) - part(a, 0) * part(b, 2), part(a, 0) * part(b, 1) - part(a, 1) * part(b, 0)}, dim);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, std::int64_t)> op::cross("cross", {.cpu = cross_cpu, .autograd = gradient_of<op::cross>(
    [](const Tensor& g, Input<1> other, Arg<2, std::int64_t> dim) { return op::cross(other, g, dim); },
    [](const Tensor& g, Input<0> self, Arg<2, std::int64_t> dim) { return op::cross(g, self, dim); })});
Tensor cross(const Tensor& self, const Tensor& other, std::optional<std::int64_t> dim) {
  const DimVector sizes = infer_size(self.sizes(), other.sizes());
  const Tensor a = expand(self, sizes);
  const Tensor b = expand(other, sizes);
  std::int64_t d = -1;
  if (dim) {
    d = wrap_dim(*dim, a.dim());
  } else {
    for (std::int64_t i = a.dim(); i-- > 0;) d = a.size(i) == 3 ? i : d;
    TORCH_CHECK(d >= 0, "no dimension of size 3 in input");
  }
  TORCH_CHECK(a.size(d) == 3, "linalg.cross: inputs dimension ", d, " must have length 3. Got ", self.size(d), " and ", other.size(d));
  const ScalarType type = result_type(self, other);
  return op::cross(a.to(type), b.to(type), d);
}
Tensor tensordot(const Tensor& self, const Tensor& other, IntArrayRef dims_self, IntArrayRef dims_other) {
  TORCH_CHECK(dims_self.size() == dims_other.size(), "both dimension lists should have same length");
  // The summed dimensions go to the end of one and to the front of the other; then it is a product of matrices.
  const auto split = [](const Tensor& x, IntArrayRef dims) {
    std::vector<std::int64_t> kept;
    std::vector<std::int64_t> summed;
    for (const std::int64_t dim : dims) summed.push_back(wrap_dim(dim, x.dim()));
    for (std::int64_t i = 0; i < x.dim(); ++i)
      if (std::find(summed.begin(), summed.end(), i) == summed.end()) kept.push_back(i);
    return std::pair(kept, summed);
  };
  auto [rows, left] = split(self, dims_self);
  auto [columns, right] = split(other, dims_other);
  std::int64_t K = 1;
  DimVector sizes;
  for (std::size_t i = 0; i < left.size(); ++i) {
    TORCH_CHECK(self.size(left[i]) == other.size(right[i]), "contracted dimensions need to match, but first has size ", self.size(left[i]), " in dim ", dims_self[i],
                " and second has size ", other.size(right[i]), " in dim ", dims_other[i]);
    K *= self.size(left[i]);
  }
  std::int64_t M = 1;
  std::int64_t N = 1;
  for (const std::int64_t dim : rows) {
    sizes.push_back(self.size(dim));
    M *= self.size(dim);
  }
  for (const std::int64_t dim : columns) {
    sizes.push_back(other.size(dim));
    N *= other.size(dim);
  }
  rows.insert(rows.end(), left.begin(), left.end());
  right.insert(right.end(), columns.begin(), columns.end());
  return mm(permute(self, rows).reshape({M, K}), permute(other, right).reshape({K, N})).reshape(sizes);
}

Tensor trapezoid(const Tensor& y, const Scalar& dx, std::int64_t dim) {
  if (y.size(dim) == 0) return zeros_like(y).sum(dim);
  return (y.narrow(dim, 0, y.size(dim) - 1) + y.narrow(dim, 1, y.size(dim) - 1)).sum(dim) * (dx.toDouble() / 2);
}
Tensor trapezoid(const Tensor& y, const Tensor& x, std::int64_t dim) {
  if (y.size(dim) == 0) return zeros_like(y).sum(dim);
  Tensor width = diff(x, 1, x.dim() == 1 ? 0 : dim);
  if (x.dim() == 1) {
    // A vector of places lies along `dim`.
    DimVector sizes(static_cast<std::size_t>(y.dim()), 1);
    sizes[static_cast<std::size_t>(wrap_dim(dim, y.dim()))] = width.size(0);
    width = width.view(sizes);
  }
  return ((y.narrow(dim, 0, y.size(dim) - 1) + y.narrow(dim, 1, y.size(dim) - 1)) * width).sum(dim) / 2;
}
Tensor logcumsumexp(const Tensor& self, std::int64_t dim) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(), "\"logcumsumexp_out_cpu\" not implemented for '", self.scalar_type(), "'");
  Tensor result = self.clone();
  const std::int64_t n = self.dim() == 0 ? 1 : self.size(d);
  // What reaches back `step` places is joined with what reaches back as far from there.
  for (std::int64_t step = 1; step < n; step *= 2)
    result = cat({result.narrow(d, 0, step), logaddexp(result.narrow(d, step, n - step), result.narrow(d, 0, n - step))}, d);
  return result;
}

Tensor logspace(const Scalar& start, const Scalar& end, std::int64_t steps, double base, const TensorOptions& options) {
  const Tensor exponents = linspace(start, end, steps, kDouble);
  return created(pow(base, exponents).to(options.dtype().toScalarType()), options);
}
Tensor empty_strided(IntArrayRef size, IntArrayRef stride, const TensorOptions& options) {
  TORCH_CHECK(size.size() == stride.size(), "mismatch in length of strides and shape");
  std::int64_t elements = multiply_sizes(size) == 0 ? 0 : 1;
  for (std::size_t i = 0; elements > 0 && i < size.size(); ++i) elements += (size[i] - 1) * stride[i];
  return created(empty({elements}, options.dtype().toScalarType()).as_strided(size, stride, 0), options);
}
namespace {
// The places (2, count) of a matrix that lie in columns begin(row) to end(row) of each row, row by row.
template <class Begin, class End>
Tensor places_of_rows(std::int64_t row, std::int64_t col, Begin begin, End end, const TensorOptions& options) {
  TORCH_CHECK(row >= 0, "row must be non-negative, got", row);
  TORCH_CHECK(col >= 0, "col must be non-negative, got", col);
  const auto column = [&](std::int64_t wanted) { return std::clamp<std::int64_t>(wanted, 0, col); };
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < row; ++i) count += column(end(i)) - column(begin(i));
  const Tensor places = empty({2, count}, kLong);
  std::int64_t *rows = places.data<std::int64_t>(), *columns = rows + count;
  for (std::int64_t i = 0; i < row; ++i) {
    for (std::int64_t j = column(begin(i)); j < column(end(i)); ++j) {
      *rows++ = i;
      *columns++ = j;
    }
  }
  return created(places.to(options.dtype().toScalarType()), options);
}
}  // namespace

Tensor tril_indices(std::int64_t row, std::int64_t col, std::int64_t offset, const TensorOptions& options) {
  return places_of_rows(row, col, [](std::int64_t) { return std::int64_t{0}; }, [offset](std::int64_t i) { return i + offset + 1; }, options);
}
Tensor triu_indices(std::int64_t row, std::int64_t col, std::int64_t offset, const TensorOptions& options) {
  return places_of_rows(row, col, [offset](std::int64_t i) { return i + offset; }, [col](std::int64_t) { return col; }, options);
}
Tensor vander(const Tensor& x, std::optional<std::int64_t> N, bool increasing) {
  TORCH_CHECK(x.dim() == 1, "x must be a one-dimensional tensor.");
  const std::int64_t count = N.value_or(x.size(0));
  TORCH_CHECK(count >= 0, "N must be non-negative.");
  Tensor powers = arange(count, kLong);
  if (!increasing) powers = powers.flip({0});
  return pow(x.unsqueeze(-1), powers);
}

namespace {
// sum of parts[k] cos(2 pi k i / period) for i = 0, 1, ...
Tensor window_of_cosines(const char* name, std::int64_t length, bool periodic, std::initializer_list<double> parts, const TensorOptions& options) {
  TORCH_CHECK(length >= 0, name, " requires non-negative window_length, got window_length=", length);
  if (length == 1) return ones({1}, options);
  const double turn = 2 * 3.14159265358979323846 / static_cast<double>(periodic ? length : length - 1);
  const Tensor places = arange(length, options.dtype().toScalarType());
  Tensor window = zeros({length}, options.dtype().toScalarType());
  double k = 0;
  for (const double part : parts) window = window + part * cos(places * (turn * k++));
  return created(window, options);
}
}  // namespace
Tensor hann_window(std::int64_t window_length, bool periodic, const TensorOptions& options) {
  return window_of_cosines("hann_window", window_length, periodic, {0.5, -0.5}, options);
}
Tensor hamming_window(std::int64_t window_length, bool periodic, double alpha, double beta, const TensorOptions& options) {
  return window_of_cosines("hamming_window", window_length, periodic, {alpha, -beta}, options);
}
Tensor blackman_window(std::int64_t window_length, bool periodic, const TensorOptions& options) {
  return window_of_cosines("blackman_window", window_length, periodic, {0.42, -0.5, 0.08}, options);
}
Tensor bartlett_window(std::int64_t window_length, bool periodic, const TensorOptions& options) {
  TORCH_CHECK(window_length >= 0, "bartlett_window requires non-negative window_length, got window_length=", window_length);
  if (window_length == 1) return ones({1}, options);
  const double half = static_cast<double>(periodic ? window_length : window_length - 1) / 2;
  return created(1 - abs(arange(window_length, options.dtype().toScalarType()) / half - 1), options);
}

// %%
TEST_CASE("rearranging: where each element goes") {
  const Tensor x = arange(6).view({2, 3});
  CHECK_EQ(roll(x, 1, 1), tensor({{2, 0, 1}, {5, 3, 4}}));
  CHECK_EQ(roll(x, -2), tensor({{2, 3, 4}, {5, 0, 1}}));
  CHECK_EQ(rot90(x), tensor({{2, 5}, {1, 4}, {0, 3}}));
  CHECK_EQ(movedim(zeros({2, 3, 4}), {0, 1}, {2, 0}).sizes(), IntArrayRef({3, 4, 2}));
  CHECK_EQ(unflatten(zeros({2, 6}), 1, {-1, 3}).sizes(), IntArrayRef({2, 2, 3}));
  CHECK_ERROR(unflatten(zeros({2, 6}), 1, {4, 2}), "unflatten: Provided sizes [4, 2] don't multiply up to the size of dim 1 (6) in the input tensor");
  CHECK_EQ(tensor_split(arange(7), 3)[1], tensor({3, 4}));
  CHECK_EQ(repeat_interleave(tensor({1, 2}), tensor({2, 1})), tensor({1, 1, 2}));
  CHECK_EQ(diag_embed(tensor({1, 2}), 1), tensor({{0, 1, 0}, {0, 0, 2}, {0, 0, 0}}));
  CHECK_EQ(diag(x), tensor({0, 4}));
  CHECK_EQ(hstack({tensor({1, 2}), tensor({3})}), tensor({1, 2, 3}));
  CHECK_EQ(column_stack({tensor({1, 2}), tensor({3, 4})}), tensor({{1, 3}, {2, 4}}));
  CHECK_EQ(block_diag({tensor({{1, 2}}), tensor({{3}})}), tensor({{1, 2, 0}, {0, 0, 3}}));
  CHECK_EQ(meshgrid({arange(2), arange(3)})[1], tensor({{0, 1, 2}, {0, 1, 2}}));
  CHECK_EQ(take(x, tensor({-1, 0})), tensor({5, 0}));
  CHECK_ERROR(take(x, tensor({6})), "out of range: tried to access index 6 on a tensor of 6 elements.");
  CHECK_ERROR(movedim(x, {0, 1}, {1, 1}), "movedim: repeated dim in `destination` ([1, 1])");
  CHECK_EQ(index_copy(x, 1, tensor({2}), tensor({{7}, {8}})), tensor({{0, 1, 7}, {3, 4, 8}}));
  CHECK_EQ(masked_scatter(x, x > 3, tensor({9, 8, 7})), tensor({{0, 1, 2}, {3, 9, 8}}));
  CHECK_EQ(where(tensor({{true, false}, {false, true}}))[1], tensor({0, 1}));
  CHECK_EQ(kron(tensor({1, 2}), tensor({1, 10})), tensor({1, 10, 2, 20}));
  const Tensor left = arange(20 * 16).view({20, 16}), right = arange(8 * 9).view({8, 9});
  const Tensor blocks = left.view({20, 1, 16, 1}) * right.view({8, 1, 9});
  CHECK_EQ(kron(left, right), blocks.reshape({160, 144}));
  CHECK_EQ(kron(left.unsqueeze(0), right.t()), (left.view({1, 20, 1, 16, 1}) * right.t().view({9, 1, 8})).reshape({1, 180, 128}));
  CHECK_EQ(kron(left.flatten(), right), kron(left.view({1, 320}), right));
  CHECK_EQ(cross(tensor({1, 0, 0}), tensor({0, 1, 0})), tensor({0, 0, 1}));
  CHECK_EQ(tensordot(x, x, {0}, {0}), tensor({{9, 12, 15}, {12, 17, 22}, {15, 22, 29}}));
  CHECK_EQ(baddbmm(full({1, 1, 1}, std::numeric_limits<double>::quiet_NaN()), ones({1, 1, 2}), ones({1, 2, 1}), 0), full({1, 1, 1}, 2.0));
  CHECK_EQ(empty_strided({2, 3}, {1, 2}).strides(), IntArrayRef({1, 2}));
  CHECK_EQ(tril_indices(2, 2), tensor({{0, 1, 1}, {0, 0, 1}}));
  CHECK_EQ(hsplit(x, 3)[1], tensor({{1}, {4}}));
  CHECK_EQ(vsplit(x, IntArrayRef{1})[1], tensor({{3, 4, 5}}));
  CHECK_EQ(dsplit(zeros({1, 1, 4}), 2)[1].sizes(), IntArrayRef({1, 1, 2}));
  CHECK_EQ(x.vsplit(IntArrayRef{1})[1], tensor({{3, 4, 5}}));
  CHECK_EQ(arange(5).unfold(0, 3, 2), tensor({{0, 1, 2}, {2, 3, 4}}));
  CHECK_EQ(movedim(tensor(2.5), 0, -1).item<float>(), 2.5F);
  CHECK_ERROR(hsplit(x, 2), "torch.hsplit attempted to split along dimension 1, but the size of the dimension 3 is not divisible by the split_size 2!");
  CHECK_ERROR(vsplit(arange(3), 3), "torch.vsplit requires a tensor with at least 2 dimension, but got a tensor with 1 dimensions!");  // sic
  CHECK_EQ(vander(tensor({2, 3})), tensor({{2, 1}, {3, 1}}));
  CHECK_EQ(vander(tensor({2, 3}), 3, true), tensor({{1, 2, 4}, {1, 3, 9}}));
  CHECK_EQ(trapezoid(tensor({0.0, 1.0, 4.0}), 0.5), tensor(1.5));
  CHECK_EQ(trapezoid(tensor({{0.0, 1.0, 4.0}}), tensor({0.0, 1.0, 3.0})), tensor({5.5}));
  CHECK_ERROR(logaddexp(arange(2), arange(2)), "\"logaddexp_cpu\" not implemented for 'Long'");  // where -2^63 would be subtracted
  // A term of e^1000 in front, and e^-1000 before it.
  CHECK_CLOSE(logcumsumexp(tensor({-1000.0, 1000.0, 1000.0, 0.0}, kDouble), 0), tensor({-1000.0, 1000.0, 1000.0 + std::log(2.0), 1000.0 + std::log(2.0)}, kDouble), 1e-14, 0.0);
  CHECK_CLOSE(hamming_window(4, true, 0.54, 0.46, kDouble), tensor({0.08, 0.54, 1.0, 0.54}, kDouble), 1e-14, 0.0);
  CHECK_CLOSE(blackman_window(3, false, kDouble), tensor({0.0, 1.0, 0.0}, kDouble), 1e-14, 1e-14);
  CHECK_CLOSE(bartlett_window(5, false, kDouble), tensor({0.0, 0.5, 1.0, 0.5, 0.0}, kDouble), 1e-14, 0.0);
  const Tensor v = ones({2}, requires_grad());
  (diag_embed(v) * tensor({{1.0, 2.0}, {3.0, 4.0}})).sum().backward();
  CHECK_EQ(v.grad(), tensor({1.0, 4.0}));
}

// %% [markdown]
// ## Reducing where an index says, and shifting bits
//
// `scatter_reduce` is `scatter_add` with other ways to join what falls on one place: a graph network takes the mean, or the largest, of the messages that reach a node. Several sources may meet at a target, so the gradient goes back along the same index by `gather`: whole for
// sums, divided by their number for means, shared among those that tie for the extreme. For products it is the product of the others, which a division by one's own value gives unless that is zero.
//
//     index    0  0  2          sum    8 2 4       prod  12 2 4       amax   4 2 2        self = 1 2 2
//     src      3  4  2          (self takes part, unless include_self is false)

// %%
//| export core/breadth.h
// self with src[i] joined to it at index[i] along `dim` by reduce: "sum", "prod", "mean", "amax" or "amin"; without include_self what stood where something is joined does not count. Sizes as in scatter. O(index.numel()).
Tensor scatter_reduce(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce, bool include_self = true);
// The same for whole slices: source[i] is joined to slice index[i] of self. reduce: "prod", "mean", "amax" or "amin".
Tensor index_reduce(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source, std::string_view reduce, bool include_self = true);
// Integers' bits moved up (zeros come in) or down (copies of the sign come in). By fewer than none or more than there are: 0, or only the sign.
Tensor bitwise_left_shift(const Tensor& self, const Tensor& other);
Tensor bitwise_left_shift(const Tensor& self, const Scalar& other);
Tensor bitwise_right_shift(const Tensor& self, const Tensor& other);
Tensor bitwise_right_shift(const Tensor& self, const Scalar& other);
inline Tensor bitwise_and(const Tensor& self, const Scalar& other) { return bitwise_and(self, wrapped_scalar(other)); }
inline Tensor bitwise_or(const Tensor& self, const Scalar& other) { return bitwise_or(self, wrapped_scalar(other)); }
inline Tensor bitwise_xor(const Tensor& self, const Scalar& other) { return bitwise_xor(self, wrapped_scalar(other)); }
inline Tensor operator&(const Tensor& a, const Scalar& b) { return bitwise_and(a, b); }
inline Tensor operator|(const Tensor& a, const Scalar& b) { return bitwise_or(a, b); }
inline Tensor operator^(const Tensor& a, const Scalar& b) { return bitwise_xor(a, b); }
inline Tensor operator&(const Scalar& a, const Tensor& b) { return bitwise_and(wrapped_scalar(a), b); }
inline Tensor operator|(const Scalar& a, const Tensor& b) { return bitwise_or(wrapped_scalar(a), b); }
inline Tensor operator^(const Scalar& a, const Tensor& b) { return bitwise_xor(wrapped_scalar(a), b); }
// other - alpha * self
inline Tensor rsub(const Tensor& self, const Tensor& other, const Scalar& alpha = 1) { return sub(other, self, alpha); }
inline Tensor rsub(const Tensor& self, const Scalar& other, const Scalar& alpha = 1) { return sub(wrapped_scalar(other), self, alpha); }
// Second names.
inline Tensor trapz(const Tensor& y, const Tensor& x, std::int64_t dim = -1) { return trapezoid(y, x, dim); }
inline Tensor trapz(const Tensor& y, double dx = 1, std::int64_t dim = -1) { return trapezoid(y, dx, dim); }
inline bool is_floating_point(const Tensor& self) { return self.is_floating_point(); }
inline std::int64_t numel(const Tensor& self) { return self.numel(); }
inline ScalarType promote_types(ScalarType a, ScalarType b) { return promoteTypes(a, b); }
inline bool can_cast(ScalarType from, ScalarType to) { return canCast(from, to); }

namespace op {
extern Operator<Tensor(const Tensor&, std::int64_t, const Tensor&, const Tensor&, std::int64_t, bool)> scatter_reduce;  // the reduction by its place in the list above
extern Operator<Tensor(const Tensor&, const Tensor&)> bitwise_left_shift;
extern Operator<Tensor(const Tensor&, const Tensor&)> bitwise_right_shift;
}  // namespace op

// %%
//| export core/choosing.cpp
namespace {
constexpr std::string_view reductions[] = {"sum", "prod", "mean", "amax", "amin"};
enum : std::int64_t { kBySum, kByProduct, kByMean, kByLargest, kBySmallest };

// Calls f(element of `to`, element of `src`) for every element of `index` (Long, at least one dimension), which says where along `dim` the first is.
template <class T, class F>
void for_each_scattered(const Tensor& to, std::int64_t dim, const Tensor& index, const Tensor& src, F f) {
  DimVector strides(to.strides());
  const std::int64_t along = strides[static_cast<std::size_t>(dim)], size = to.size(dim);
  strides[static_cast<std::size_t>(dim)] = 0;
  const StridedLoop<3> loop(index.sizes(), {IntArrayRef(strides), index.strides(), src.strides()});
  loop.run([&](const auto& offset, std::int64_t count, const auto& step) {
    T* const out = to.data<T>() + offset[0];
    const std::int64_t* const where = index.data<std::int64_t>() + offset[1];
    const T* const in = src.data<T>() + offset[2];
    const std::int64_t out_step = step[0], where_step = step[1], in_step = step[2];
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t at = where[i * where_step];
      TORCH_CHECK(at >= 0 && at < size, "index ", at, " is out of bounds for dimension ", dim, " with size ", size);
      f(out[i * out_step + at * along], in[i * in_step]);
    }
  });
}

// What a reduction begins with.
template <class T>
T neutral(std::int64_t reduce) {
  using Limits = std::numeric_limits<T>;
  if (reduce == kByLargest) return Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
  if (reduce == kBySmallest) return Limits::has_infinity ? Limits::infinity() : Limits::max();
  return static_cast<T>(reduce == kByProduct ? 1 : 0);
}

template <class T>
T joined(std::int64_t reduce, T a, T b) {
  if (reduce == kByLargest) return larger(a, b);
  if (reduce == kBySmallest) return smaller(a, b);
  return static_cast<T>(reduce == kByProduct ? a * b : a + b);
}

Tensor scatter_reduce_cpu(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src, std::int64_t reduce, bool include_self) {
  const Tensor result = clone(self, MemoryFormat::Contiguous);
  const auto vector_of = [](const Tensor& x) { return x.dim() == 0 ? x.view({1}) : x; };
  const Tensor to = vector_of(result), from = vector_of(src), where_to = to_dtype(vector_of(index), kLong);
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    if (!include_self) for_each_scattered<T>(to, dim, where_to, from, [reduce](T& out, T) { out = neutral<T>(reduce); });
    for_each_scattered<T>(to, dim, where_to, from, [reduce](T& out, T in) { out = joined<T>(reduce, out, in); });
  });
  if (reduce != kByMean) return result;
  const Tensor counts = scatter_add(include_self ? ones(self.sizes(), kLong) : zeros(self.sizes(), kLong), dim, index, ones(index.sizes(), kLong)).clamp_min(1);
  return self.is_floating_point() ? result / counts.to(self.scalar_type()) : floor_divide(result, counts.to(self.scalar_type()));
}

// What is joined to self at no place of `index` keeps its gradient; elsewhere only with include_self.
Tensor of_self(const Tensor& grad, std::int64_t dim, const Tensor& index, bool include_self) { return include_self ? grad : scatter(grad, dim, index, 0); }

// How many numbers were joined at each place, self's among them with include_self; at least 1.
Tensor numbers_joined(const Tensor& like, std::int64_t dim, const Tensor& index, bool include_self) {
  return scatter_add(include_self ? ones_like(like) : zeros_like(like), dim, index, ones(index.sizes(), like.options())).clamp_min(1);
}

// The part of src that `index` reaches.
Tensor fitted(const Tensor& src, const Tensor& index) {
  Tensor part = src;
  for (std::int64_t d = 0; d < index.dim(); ++d) part = part.narrow(d, 0, index.size(d));
  return part;
}

// The gradient over the number of those that are the extreme at their place, for each of them.
Tensor share_of_extreme(const Tensor& grad, const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src, const Tensor& result, bool include_self) {
  const Tensor here = of_self((self == result).to(grad.scalar_type()), dim, index, include_self);
  const Tensor there = (fitted(src, index) == result.gather(dim, index)).to(grad.scalar_type());
  return grad / scatter_add(here, dim, index, there).clamp_min(1);
}
}  // namespace

// %%
//| export core/choosing.cpp
namespace {
Tensor scatter_reduce_self_backward(const Tensor& grad, const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src, const Tensor& result, std::int64_t reduce, bool include_self) {
  switch (reduce) {
    case kByProduct: {
      // The product of the others: the whole divided by one's own, or, of a zero, computed with a 1 in its place.
      const Tensor own = where(self == 0, ones_like(self), self);
      return of_self(grad * scatter_reduce(own, dim, index, src, "prod", include_self) / own, dim, index, include_self);
    }
    case kByMean: return of_self(grad / numbers_joined(grad, dim, index, include_self), dim, index, include_self);
    case kByLargest:
    case kBySmallest: return of_self((self == result).to(grad.scalar_type()) * share_of_extreme(grad, self, dim, index, src, result, include_self), dim, index, include_self);
    default: return of_self(grad, dim, index, include_self);
  }
}

// The gradient for the part of src that index reaches.
Tensor scatter_reduce_part_backward(const Tensor& grad, const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src, const Tensor& result, std::int64_t reduce, bool include_self) {
  switch (reduce) {
    case kByProduct: {
      // Of a place with one zero among the sources, only that zero's gradient is not zero.
      const Tensor is_zero = src == 0;
      const Tensor zeros_there = scatter_add(zeros_like(self), dim, index, is_zero.to(self.scalar_type())).gather(dim, index);
      const Tensor lone = is_zero.logical_and(zeros_there == 1);
      const Tensor without = scatter_reduce(self, dim, index, where(lone, ones_like(src), src), "prod", include_self);
      const Tensor plain = (grad * result).gather(dim, index) / where(is_zero, ones_like(src), src);
      return where(lone, (grad * without).gather(dim, index), plain);
    }
    case kByMean: return (grad / numbers_joined(grad, dim, index, include_self)).gather(dim, index);
    case kByLargest:
    case kBySmallest: return (src == result.gather(dim, index)).to(grad.scalar_type()) * share_of_extreme(grad, self, dim, index, src, result, include_self).gather(dim, index);
    default: return grad.gather(dim, index);
  }
}

Tensor scatter_reduce_src_backward(const Tensor& grad, const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src, const Tensor& result, std::int64_t reduce, bool include_self) {
  const Tensor part = scatter_reduce_part_backward(grad, self, dim, index, fitted(src, index), result, reduce, include_self);
  if (part.sizes() == src.sizes()) return part;
  Tensor whole = zeros_like(src);
  fitted(whole, index).copy_(part);
  return whole;
}

// Bits moved by a number of places that may be negative or too large.
template <class F>
Tensor shifted(const char* name, const Tensor& self, const Tensor& other, F f) {
  const ScalarType type = result_type(self, other);
  TORCH_CHECK_NOT_IMPLEMENTED(isIntegralType(type, false), "\"", name, "\" not implemented for '", type, "'");
  return zip_promoted(self, other, [f](auto x, auto places) {
    using T = decltype(x);
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) return f(x, places);
    else return x;
  });
}
Tensor bitwise_left_shift_cpu(const Tensor& self, const Tensor& other) {
  return shifted("lshift_cpu", self, other, [](auto x, auto places) {
    using T = decltype(x);
    constexpr int bits = static_cast<int>(sizeof(T) * 8);
    return static_cast<std::make_signed_t<T>>(places) < 0 || static_cast<std::int64_t>(places) >= bits ? T{0} : static_cast<T>(static_cast<std::make_unsigned_t<T>>(x) << places);
  });
}
Tensor bitwise_right_shift_cpu(const Tensor& self, const Tensor& other) {
  return shifted("rshift_cpu", self, other, [](auto x, auto places) {
    using T = decltype(x);
    constexpr int most = static_cast<int>(sizeof(T) * 8) - (std::is_signed_v<T> ? 1 : 0);
    const bool beyond = static_cast<std::make_signed_t<T>>(places) < 0 || static_cast<std::int64_t>(places) >= most;
    if (beyond) return static_cast<T>(std::is_signed_v<T> && x < T{0} ? -1 : 0);
    return static_cast<T>(x >> places);
  });
}
}  // namespace

constinit Operator<Tensor(const Tensor&, std::int64_t, const Tensor&, const Tensor&, std::int64_t, bool)> op::scatter_reduce("scatter_reduce", {
    .cpu = scatter_reduce_cpu,
    .autograd = gradient_of<op::scatter_reduce>(
        [](const Tensor& g, Input<0> self, Arg<1, std::int64_t> dim, Input<2> index, Input<3> src, Output result, Arg<4, std::int64_t> reduce, Arg<5, bool> include_self) {
          return scatter_reduce_self_backward(g, self, dim.value, index, fitted(src, index), result, reduce.value, include_self.value);
        },
        no_gradient,
        [](const Tensor& g, Input<0> self, Arg<1, std::int64_t> dim, Input<2> index, Input<3> src, Output result, Arg<4, std::int64_t> reduce, Arg<5, bool> include_self) {
          return scatter_reduce_src_backward(g, self, dim.value, index, src, result, reduce.value, include_self.value);
        })});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::bitwise_left_shift("bitwise_left_shift", {.cpu = bitwise_left_shift_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::bitwise_right_shift("bitwise_right_shift", {.cpu = bitwise_right_shift_cpu});

// %%
//| export core/choosing.cpp
//| registers
void register_choosing() {
  compute_in_float<op::scatter_reduce, op::nan_to_num, op::frac, op::logaddexp>();
  // Made of other operators, which a device from outside may have.
  op::frac.set(Layer::PrivateUse1, frac_cpu);
  op::logaddexp.set(Layer::PrivateUse1, logaddexp_cpu);
}

// %%
//| export core/choosing.cpp
Tensor scatter_reduce(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce, bool include_self) {
  const auto* const found = std::find(std::begin(reductions), std::end(reductions), reduce);
  TORCH_CHECK(found != std::end(reductions), "reduce argument must be either sum, prod, mean, amax or amin, got ", reduce);
  TORCH_CHECK(self.scalar_type() == src.scalar_type(), "scatter(): Expected self.dtype to be equal to src.dtype");
  TORCH_CHECK(index.scalar_type() == kLong || index.scalar_type() == kInt, "scatter(): Expected dtype int32/int64 for index");
  const std::int64_t d = wrap_dim(dim, self.dim());
  if (index.numel() == 0) return clone(self);
  const auto dims = [](const Tensor& x) { return std::max<std::int64_t>(x.dim(), 1); };
  TORCH_CHECK(dims(index) == dims(self), "Index tensor must have the same number of dimensions as self tensor");
  TORCH_CHECK(dims(index) == dims(src), "Index tensor must have the same number of dimensions as src tensor");
  for (std::int64_t i = 0; i < index.dim(); ++i)
    TORCH_CHECK(index.size(i) <= src.size(i) && (i == d || index.size(i) <= self.size(i)), "Expected index ", index.sizes(), " to be no larger than self ", self.sizes(), " apart from dimension ", d,
                " and to be no larger size than src ", src.sizes());
  return op::scatter_reduce(self, d, index, src, found - std::begin(reductions), include_self);
}

Tensor index_reduce(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source, std::string_view reduce, bool include_self) {
  TORCH_CHECK(reduce == "prod" || reduce == "mean" || reduce == "amax" || reduce == "amin", "index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got ", reduce, ".");
  TORCH_CHECK(index.dim() <= 1, "index_reduce_(): Index is supposed to be a vector, but got dim: ", index.dim());
  TORCH_CHECK(index.scalar_type() == kLong || index.scalar_type() == kInt, "index_reduce_(): Expected dtype int32/int64 for index");
  TORCH_CHECK(self.scalar_type() == source.scalar_type(), "index_reduce_(): self and source must have the same scalar type");
  const std::int64_t d = wrap_dim(dim, self.dim());
  TORCH_CHECK(source.dim() == 0 || index.numel() == source.size(d), "index_reduce_(): Number of indices (", index.numel(), ") should be equal to source.size(dim) (", source.dim() == 0 ? 1 : source.size(d), ")");
  DimVector shape(static_cast<std::size_t>(std::max<std::int64_t>(source.dim(), 1)), 1);
  shape[static_cast<std::size_t>(d)] = index.numel();
  const Tensor slices = source.dim() == 0 ? source.view({1}) : source;
  return scatter_reduce(self, d, index.view(shape).expand(slices.sizes()), slices, reduce, include_self);
}

Tensor bitwise_left_shift(const Tensor& self, const Tensor& other) { return op::bitwise_left_shift(self, other); }
Tensor bitwise_left_shift(const Tensor& self, const Scalar& other) { return op::bitwise_left_shift(self, wrapped_scalar(other)); }
Tensor bitwise_right_shift(const Tensor& self, const Tensor& other) { return op::bitwise_right_shift(self, other); }
Tensor bitwise_right_shift(const Tensor& self, const Scalar& other) { return op::bitwise_right_shift(self, wrapped_scalar(other)); }

// %%
TEST_CASE("combinations and products of several matrices") {
  CHECK_EQ(combinations(tensor({1, 2, 3})), tensor({{1, 2}, {1, 3}, {2, 3}}));
  CHECK_EQ(combinations(tensor({1, 2}), 2, true), tensor({{1, 1}, {1, 2}, {2, 2}}));
  const Tensor a = tensor({{1.0, 2.0}, {3.0, 4.0}});
  CHECK_EQ(chain_matmul({a, a, a}), a.mm(a).mm(a));
}

TEST_CASE("scatter_reduce, index_reduce and shifts") {
  const Tensor self = tensor({1.0, 2.0, 2.0}, requires_grad());
  const Tensor index = tensor({0, 0, 2});
  const Tensor src = tensor({3.0, 4.0, 2.0}, requires_grad());
  CHECK_EQ(scatter_reduce(self, 0, index, src, "sum").detach(), tensor({8.0, 2.0, 4.0}));
  CHECK_EQ(scatter_reduce(self, 0, index, src, "prod").detach(), tensor({12.0, 2.0, 4.0}));
  CHECK_EQ(scatter_reduce(self, 0, index, src, "mean", false).detach(), tensor({3.5, 2.0, 2.0}));
  const Tensor largest = scatter_reduce(self, 0, index, src, "amax");
  CHECK_EQ(largest.detach(), tensor({4.0, 2.0, 2.0}));
  largest.sum().backward();
  CHECK_EQ(self.grad(), tensor({0.0, 1.0, 0.5}));  // the 2 in self and the 2 in src tie
  CHECK_EQ(src.grad(), tensor({0.0, 1.0, 0.5}));
  CHECK_EQ(index_reduce(ones({2, 2}), 0, tensor({1, 1}), tensor({{2.0, 3.0}, {4.0, 5.0}}), "prod"), tensor({{1.0, 1.0}, {8.0, 15.0}}));
  CHECK_ERROR(scatter_reduce(self, 0, index, src, "median"), "reduce argument must be either sum, prod, mean, amax or amin, got median");
  CHECK_ERROR(scatter_reduce(self, 0, tensor({0, 5, 2}), src, "sum"), "index 5 is out of bounds for dimension 0 with size 3");
  CHECK_EQ(bitwise_left_shift(tensor({1, -3, 5}), 2), tensor({4, -12, 20}));
  CHECK_EQ(tensor({7, -7, 3}) & 3, tensor({3, 1, 3}));
  CHECK_EQ(8 | tensor({7, -7, 3}, kInt), tensor({15, -7, 11}, kInt));
  CHECK_EQ(tensor({7, -7, 3}) ^ 1, tensor({6, -8, 2}));
  CHECK_EQ(rsub(tensor({1, 2}), 5, 2), tensor({3, 1}));
  CHECK_EQ(ones({3, 4}).scatter_(1, tensor({{0, 1}, {2, 2}}), 3, "multiply"), tensor({{3., 3., 1., 1.}, {1., 1., 9., 1.}, {1., 1., 1., 1.}}));
  CHECK_EQ(ones({2, 2}).scatter_(0, tensor({{1, 1}}), tensor({{2., 3.}}), "add"), tensor({{1., 1.}, {3., 4.}}));
  CHECK_ERROR(ones({2}).scatter_(0, tensor({1}), 3, "mean"), "reduce argument must be either add or multiply.");
  CHECK_EQ(tensor({1., 5., 9.}).clamp(tensor({2., 2., 2.}), tensor({6., 4., 7.})), tensor({2., 4., 7.}));
  CHECK_EQ(ones({2, 3, 4}).numpy_T().sizes(), IntArrayRef({4, 3, 2}));
  CHECK_EQ(bitwise_right_shift(tensor({16, -3, 5}), tensor({2, 1, 99})), tensor({4, -2, 0}));
  CHECK_ERROR(bitwise_left_shift(ones({2}), 1), "\"lshift_cpu\" not implemented for 'Float'");
}

// %% [markdown]
// ## Methods
//
// The methods are one line each. What writes in place computes a result and copies it into the tensor, so that autograd needs to know only about the copy. `squeeze_` and its like change no element: the tensor takes the sizes, strides and history of the view.
//
//     x.tanh_()       x ── tanh ──> result ── copy_ ──> x
//     x.unsqueeze_(0) x ── view ──> sizes, strides and grad_fn go to x itself

// %%
//| export core/breadth.h
namespace detail {
// What it computed, written into self; `other` was read beside self. Throws where self cannot hold the dtype or has another shape, and where other overlaps it in part.
const Tensor& write_result(const Tensor& self, const Tensor& result, const Tensor& other = Tensor());
}  // namespace detail

// %%
//| export core/breadth_methods.cpp
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

// %%
TEST_CASE("methods: in place, with gradients") {
  const Tensor leaf = tensor({{0.5, -0.25}, {0.125, 1.0}}, requires_grad());
  Tensor x = leaf * 1;
  x.sinh_();
  x.t_();
  CHECK_EQ(x.sizes(), IntArrayRef({2, 2}));
  (x * tensor({{1.0, 0.0}, {0.0, 0.0}})).sum().backward();
  CHECK_CLOSE(leaf.grad(), tensor({{std::cosh(0.5), 0.0}, {0.0, 0.0}}), 1e-6, 0.0);
  CHECK_ERROR(Tensor(leaf).unsqueeze_(0), "a leaf Variable that requires grad is being used in an in-place operation.");
  Tensor y = zeros({2, 3});
  const Tensor row = y[0];
  y.unsqueeze_(0).squeeze_(0).transpose_(0, 1);
  CHECK_EQ(y.sizes(), IntArrayRef({3, 2}));
  row.fill_(4);
  CHECK_EQ(y.select(1, 0), full({3}, 4.0));
  Tensor part = y.select(1, 0);
  part.unsqueeze_(0);
  part.fill_(5);
  CHECK_EQ(row, full({3}, 5.0));
  CHECK_EQ(zeros({5, 2}).fill_diagonal_(1, true), tensor({{1.0, 0.0}, {0.0, 1.0}, {0.0, 0.0}, {1.0, 0.0}, {0.0, 1.0}}));
  CHECK_EQ(zeros({2}, kInt).new_ones({2}), ones({2}, kInt));
  CHECK(tensor({0.5}).is_nonzero());
  CHECK_ERROR(zeros({2}).is_nonzero(), "Boolean value of Tensor with more than one value is ambiguous");
  CHECK_EQ(tensor({1.0, 2.0}).lt_(tensor({2.0, 2.0})), tensor({1.0, 0.0}));
  CHECK_EQ(tensor({1.0, 2.0}).greater_equal_(2), tensor({0.0, 1.0}));
  CHECK_EQ(tensor({1.0, 2.0}).true_divide_(4), tensor({0.25, 0.5}));
  CHECK_EQ(tensor({2.0}, kDouble).float_power_(3), tensor({8.0}, kDouble));
  CHECK_ERROR(tensor({2.0}).float_power_(3), "the base given to float_power_ has dtype Float but the operation's result requires dtype Double");
  CHECK_EQ(tensor({12, -18}).gcd_(tensor({18, 12})).lcm(tensor(4)), tensor({12, 12}));
  CHECK_ERROR(ones({2}, kBool).gcd_(tensor({2, 4})), "result type Long can't be cast to the desired output type Bool");
  CHECK_EQ(std::get<1>(tensor({{1, 2, 2}}).mode()), tensor({2}));
  CHECK_EQ(std::get<0>(tensor({5.0, 4.0, 5.0}, kHalf).mode()), tensor(5.0, kHalf));
  CHECK_EQ(tensor({7, -7}).remainder_(4), tensor({3, 1}));
  CHECK_ERROR(tensor({1, 2}).sinh_(), "result type Float can't be cast to the desired output type Long");
}

// %%
}  // namespace tinytorch
