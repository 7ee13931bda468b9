// From the lesson modules/90_operators/operators_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/indexing.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/core/random.h"

namespace tinytorch {

// ---- Pointwise. The first group turns integers into the default dtype.
Tensor log1p(const Tensor& self);  // log(1 + x), exact for small x
Tensor expm1(const Tensor& self);  // exp(x) - 1, exact for small x
Tensor log2(const Tensor& self);
Tensor log10(const Tensor& self);
Tensor sin(const Tensor& self);
Tensor cos(const Tensor& self);
Tensor tan(const Tensor& self);
Tensor atan(const Tensor& self);
Tensor erf(const Tensor& self);
Tensor reciprocal(const Tensor& self);
Tensor rsqrt(const Tensor& self);  // 1 / sqrt(x)
Tensor floor(const Tensor& self);  // floor, ceil, round and trunc leave integers as they are
Tensor ceil(const Tensor& self);
Tensor round(const Tensor& self);  // halves go to the even neighbour
Tensor trunc(const Tensor& self);
Tensor square(const Tensor& self);
// min <= result <= max; where min > max, max. NaN stays NaN. Throws when both are absent.
Tensor clamp(const Tensor& self, const std::optional<Scalar>& min,
             const std::optional<Scalar>& max = std::nullopt);
Tensor clamp_min(const Tensor& self, const Scalar& min);
Tensor clamp_max(const Tensor& self, const Scalar& max);
Tensor maximum(const Tensor& self, const Tensor& other);  // NaN wins
Tensor minimum(const Tensor& self, const Tensor& other);
inline Tensor max(const Tensor& self, const Tensor& other) { return maximum(self, other); }
inline Tensor min(const Tensor& self, const Tensor& other) { return minimum(self, other); }
Tensor pow(const Tensor& self, const Tensor& exponent);
Tensor pow(const Scalar& self, const Tensor& exponent);
Tensor remainder(const Tensor& self, const Tensor& other);  // has the sign of `other`, as Python's %
Tensor remainder(const Tensor& self, const Scalar& other);
Tensor floor_divide(const Tensor& self, const Tensor& other);  // rounds down, as Python's //
Tensor floor_divide(const Tensor& self, const Scalar& other);
Tensor lerp(const Tensor& self, const Tensor& end, const Scalar& weight);  // self + weight * (end - self)
Tensor addcmul(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2,
               const Scalar& value = 1);  // self + value * tensor1 * tensor2
Tensor addcdiv(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2,
               const Scalar& value = 1);  // self + value * tensor1 / tensor2

// ---- Logic. logical_* and is* give Bool; bitwise_* work on bools and integers.
Tensor logical_not(const Tensor& self);
Tensor logical_and(const Tensor& self, const Tensor& other);
Tensor logical_or(const Tensor& self, const Tensor& other);
Tensor logical_xor(const Tensor& self, const Tensor& other);
Tensor bitwise_not(const Tensor& self);
Tensor bitwise_and(const Tensor& self, const Tensor& other);
Tensor bitwise_or(const Tensor& self, const Tensor& other);
Tensor bitwise_xor(const Tensor& self, const Tensor& other);
inline Tensor operator&(const Tensor& a, const Tensor& b) { return bitwise_and(a, b); }
inline Tensor operator|(const Tensor& a, const Tensor& b) { return bitwise_or(a, b); }
inline Tensor operator^(const Tensor& a, const Tensor& b) { return bitwise_xor(a, b); }
inline Tensor operator!(const Tensor& self) { return logical_not(self); }
inline Tensor operator%(const Tensor& a, const Tensor& b) { return remainder(a, b); }
inline Tensor operator%(const Tensor& a, const Scalar& b) { return remainder(a, b); }
Tensor isnan(const Tensor& self);
Tensor isinf(const Tensor& self);
Tensor isfinite(const Tensor& self);
Tensor where(const Tensor& condition, const Scalar& self, const Tensor& other);
Tensor where(const Tensor& condition, const Tensor& self, const Scalar& other);
Tensor where(const Tensor& condition, const Scalar& self, const Scalar& other);
// `value` where `mask` (Bool, broadcasts) is true; keeps self's dtype.
Tensor masked_fill(const Tensor& self, const Tensor& mask, const Scalar& value);
Tensor masked_fill(const Tensor& self, const Tensor& mask, const Tensor& value);

// ---- In place: f_(self) writes f(self) into self, whose dtype must be able to hold it.
const Tensor& exp_(const Tensor& self);
const Tensor& log_(const Tensor& self);
const Tensor& sqrt_(const Tensor& self);
const Tensor& rsqrt_(const Tensor& self);
const Tensor& neg_(const Tensor& self);
const Tensor& abs_(const Tensor& self);
const Tensor& sin_(const Tensor& self);
const Tensor& cos_(const Tensor& self);
const Tensor& erf_(const Tensor& self);
const Tensor& floor_(const Tensor& self);
const Tensor& ceil_(const Tensor& self);
const Tensor& round_(const Tensor& self);
const Tensor& reciprocal_(const Tensor& self);
const Tensor& square_(const Tensor& self);
const Tensor& pow_(const Tensor& self, const Scalar& exponent);
const Tensor& clamp_(const Tensor& self, const std::optional<Scalar>& min,
                     const std::optional<Scalar>& max = std::nullopt);
const Tensor& lerp_(const Tensor& self, const Tensor& end, const Scalar& weight);
const Tensor& addcmul_(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2,
                       const Scalar& value = 1);
const Tensor& addcdiv_(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2,
                       const Scalar& value = 1);
const Tensor& masked_fill_(const Tensor& self, const Tensor& mask, const Scalar& value);
const Tensor& masked_fill_(const Tensor& self, const Tensor& mask, const Tensor& value);

// ---- Joining and taking apart.
Tensor cat(TensorList tensors,
           std::int64_t dim = 0);  // sizes agree but in `dim`; a 1-d tensor of no elements is skipped
Tensor stack(TensorList tensors, std::int64_t dim = 0);  // sizes agree; `dim` is new
std::vector<Tensor> chunk(const Tensor& self, std::int64_t chunks,
                          std::int64_t dim = 0);  // views, at most `chunks`, all but the last equal
std::vector<Tensor> split(const Tensor& self, std::int64_t split_size, std::int64_t dim = 0);
std::vector<Tensor> split_with_sizes(const Tensor& self, IntArrayRef split_sizes, std::int64_t dim = 0);
std::vector<Tensor> unbind(const Tensor& self, std::int64_t dim = 0);
Tensor repeat(const Tensor& self, IntArrayRef repeats);
Tensor flip(const Tensor& self, IntArrayRef dims);

// ---- Indexing along a dimension. Indices are Long (or Int) and not negative.
Tensor index_select(const Tensor& self, std::int64_t dim, const Tensor& index);
Tensor index_add(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source,
                 const Scalar& alpha = 1);
const Tensor& index_add_(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source,
                         const Scalar& alpha = 1);
// With dim = 1: result[i][j] = self[i][index[i][j]]; the result has index's sizes.
Tensor gather(const Tensor& self, std::int64_t dim, const Tensor& index, bool sparse_grad = false);
// With dim = 1: self[i][index[i][j]] = src[i][j] (scatter_add_: +=).
const Tensor& scatter_(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src);
const Tensor& scatter_(const Tensor& self, std::int64_t dim, const Tensor& index, const Scalar& value);
const Tensor& scatter_add_(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src);
Tensor scatter(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src);
Tensor scatter(const Tensor& self, std::int64_t dim, const Tensor& index, const Scalar& value);
Tensor scatter_add(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src);
Tensor masked_select(const Tensor& self, const Tensor& mask);  // 1-d
Tensor nonzero(const Tensor& self);  // (count, dim) Long: the indices of the elements that are not 0

// ---- Reductions.
Tensor prod(const Tensor& self);
Tensor prod(const Tensor& self, std::int64_t dim, bool keepdim = false);
Tensor amin(const Tensor& self, IntArrayRef dim = {}, bool keepdim = false);
Tensor min(const Tensor& self);
std::tuple<Tensor, Tensor> min(const Tensor& self, std::int64_t dim,
                               bool keepdim = false);  // values and indices
Tensor argmin(const Tensor& self, std::optional<std::int64_t> dim = std::nullopt, bool keepdim = false);
Tensor any(const Tensor& self);
Tensor any(const Tensor& self, std::int64_t dim, bool keepdim = false);
Tensor all(const Tensor& self);
Tensor all(const Tensor& self, std::int64_t dim, bool keepdim = false);
// Sum of squared deviations over (count - 1) when unbiased, over count when not.
Tensor var(const Tensor& self);
Tensor var(const Tensor& self, IntArrayRef dim, bool unbiased = true, bool keepdim = false);
Tensor std(const Tensor& self);
Tensor std(const Tensor& self, IntArrayRef dim, bool unbiased = true, bool keepdim = false);
std::tuple<Tensor, Tensor> var_mean(const Tensor& self, IntArrayRef dim, bool unbiased = true,
                                    bool keepdim = false);
template <std::same_as<bool> Bool>
Tensor var(const Tensor& self, Bool unbiased) {
  return var(self, IntArrayRef(), unbiased);
}
template <std::same_as<bool> Bool>
Tensor std(const Tensor& self, Bool unbiased) {
  return tinytorch::std(self, IntArrayRef(), unbiased);
}
// (sum |x|^p)^(1/p); p = 0 counts what is not 0, +-infinity is the largest and smallest |x|.
Tensor norm(const Tensor& self, const Scalar& p = 2);
Tensor norm(const Tensor& self, const std::optional<Scalar>& p, IntArrayRef dim, bool keepdim = false);
Tensor cumsum(const Tensor& self, std::int64_t dim);
std::tuple<Tensor, Tensor> sort(const Tensor& self, std::int64_t dim = -1,
                                bool descending = false);  // stable; values and indices; NaN is largest
Tensor argsort(const Tensor& self, std::int64_t dim = -1, bool descending = false);
std::tuple<Tensor, Tensor> topk(const Tensor& self, std::int64_t k, std::int64_t dim = -1,
                                bool largest = true, bool sorted = true);

// ---- Creation and matrices.
Tensor eye(std::int64_t n, const TensorOptions& options = {});
Tensor eye(std::int64_t n, std::int64_t m, const TensorOptions& options = {});
Tensor linspace(const Scalar& start, const Scalar& end, std::int64_t steps,
                const TensorOptions& options = {});  // both ends included
Tensor tril(const Tensor& self,
            std::int64_t diagonal = 0);  // the lower triangle of the last two dimensions; the rest 0
Tensor triu(const Tensor& self, std::int64_t diagonal = 0);
Tensor diagonal(const Tensor& self, std::int64_t offset = 0, std::int64_t dim1 = 0,
                std::int64_t dim2 = 1);  // a view
Tensor addmm(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta = 1,
             const Scalar& alpha = 1);                 // beta * self + alpha * mat1 x mat2
Tensor mv(const Tensor& self, const Tensor& vec);      // (M, K) x (K) -> (M)
Tensor dot(const Tensor& self, const Tensor& tensor);  // (K) x (K) -> a 0-d tensor
Tensor outer(const Tensor& self, const Tensor& vec2);  // (M) x (N) -> (M, N)
// Einstein's notation, "bij,bjk->bik": letters name dimensions, and one that the result does not name is summed over. Without "->" the
// result has the letters that occur once, in alphabetical order. Contracts from left to right, each pair by one bmm.
Tensor einsum(std::string_view equation, TensorList tensors);

namespace op {
extern Operator<Tensor(const Tensor&)> log1p;
extern Operator<Tensor(const Tensor&)> expm1;
extern Operator<Tensor(const Tensor&)> log2;
extern Operator<Tensor(const Tensor&)> log10;
extern Operator<Tensor(const Tensor&)> sin;
extern Operator<Tensor(const Tensor&)> cos;
extern Operator<Tensor(const Tensor&)> tan;
extern Operator<Tensor(const Tensor&)> atan;
extern Operator<Tensor(const Tensor&)> erf;
extern Operator<Tensor(const Tensor&)> reciprocal;
extern Operator<Tensor(const Tensor&)> rsqrt;
extern Operator<Tensor(const Tensor&)> floor;
extern Operator<Tensor(const Tensor&)> ceil;
extern Operator<Tensor(const Tensor&)> round;
extern Operator<Tensor(const Tensor&)> trunc;
extern Operator<Tensor(const Tensor&, const std::optional<Scalar>&, const std::optional<Scalar>&)> clamp;
extern Operator<Tensor(const Tensor&, const Tensor&)> maximum;
extern Operator<Tensor(const Tensor&, const Tensor&)> minimum;
extern Operator<Tensor(const Tensor&, const Tensor&)> pow_tensor;
extern Operator<Tensor(const Tensor&, const Tensor&)> remainder;
extern Operator<Tensor(const Tensor&, const Tensor&)> floor_divide;
extern Operator<const Tensor&(const Tensor&, const Tensor&, const Scalar&)> lerp_;
extern Operator<const Tensor&(const Tensor&, const Tensor&, const Tensor&, const Scalar&)> addcmul_;
extern Operator<const Tensor&(const Tensor&, const Tensor&, const Tensor&, const Scalar&)> addcdiv_;
extern Operator<Tensor(const Tensor&)> logical_not;
extern Operator<Tensor(const Tensor&, const Tensor&)> logical_and;
extern Operator<Tensor(const Tensor&, const Tensor&)> logical_or;
extern Operator<Tensor(const Tensor&, const Tensor&)> logical_xor;
extern Operator<Tensor(const Tensor&)> bitwise_not;
extern Operator<Tensor(const Tensor&, const Tensor&)> bitwise_and;
extern Operator<Tensor(const Tensor&, const Tensor&)> bitwise_or;
extern Operator<Tensor(const Tensor&, const Tensor&)> bitwise_xor;
extern Operator<Tensor(const Tensor&)> isnan;
extern Operator<Tensor(const Tensor&)> isinf;
extern Operator<Tensor(const Tensor&)> isfinite;
extern Operator<Tensor(TensorList, std::int64_t)> cat;
extern Operator<Tensor(const Tensor&, std::int64_t, const Tensor&)> index_select;
extern Operator<const Tensor&(const Tensor&, std::int64_t, const Tensor&, const Tensor&)> index_add_;
extern Operator<Tensor(const Tensor&, std::int64_t, const Tensor&)> gather;
extern Operator<const Tensor&(const Tensor&, std::int64_t, const Tensor&, const Tensor&)> scatter_;
extern Operator<const Tensor&(const Tensor&, std::int64_t, const Tensor&, const Tensor&)> scatter_add_;
extern Operator<Tensor(const Tensor&)> nonzero;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> prod;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> amin;
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> min;
extern Operator<Tensor(const Tensor&, std::int64_t, bool)> argmin;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> any;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> all;
extern Operator<Tensor(const Tensor&, IntArrayRef, double, bool)>
    var;  // dims, correction (1: unbiased), keepdim
extern Operator<Tensor(const Tensor&, IntArrayRef, double, bool)> std;
extern Operator<Tensor(const Tensor&, double, IntArrayRef, bool)> norm;
extern Operator<Tensor(const Tensor&, std::int64_t)> cumsum;
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> sort;
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, std::int64_t, bool, bool)> topk;
extern Operator<Tensor(const Tensor&, std::int64_t)> tril;
extern Operator<Tensor(const Tensor&, std::int64_t)> triu;
extern Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Scalar&, const Scalar&)> addmm;
}  // namespace op

}  // namespace tinytorch
