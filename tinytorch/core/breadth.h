// From the lesson modules/74_tensor_breadth/tensor_breadth_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>
#include <string_view>
#include <tuple>
#include <vector>

#include "tinytorch/core/special.h"

namespace tinytorch {

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

namespace detail {
// What it computed, written into self; `other` was read beside self. Throws where self cannot hold the dtype or has another shape, and where other overlaps it in part.
const Tensor& write_result(const Tensor& self, const Tensor& result, const Tensor& other = Tensor());
}  // namespace detail

}  // namespace tinytorch
