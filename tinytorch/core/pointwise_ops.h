// From the lesson modules/90_operators/operators_dev.cpp:
// edit the module, not this file.
#pragma once

#include <vector>

#include "tinytorch/core/basic_ops.h"

namespace tinytorch {

// ---- Creation.
Tensor arange(const Scalar& end, const TensorOptions& options = {});
Tensor arange(const Scalar& start, const Scalar& end, const TensorOptions& options = {});
Tensor arange(const Scalar& start, const Scalar& end, const Scalar& step, const TensorOptions& options = {});
// Of self's sizes, and of its dtype unless options name one; laid out as `memory_format` or options say, and as self when they do not.
Tensor empty_like(const Tensor& self, const TensorOptions& options = {}, std::optional<MemoryFormat> memory_format = std::nullopt);
Tensor zeros_like(const Tensor& self, const TensorOptions& options = {}, std::optional<MemoryFormat> memory_format = std::nullopt);
Tensor ones_like(const Tensor& self, const TensorOptions& options = {}, std::optional<MemoryFormat> memory_format = std::nullopt);
Tensor full_like(const Tensor& self, const Scalar& fill_value, const TensorOptions& options = {}, std::optional<MemoryFormat> memory_format = std::nullopt);
// As the four without a format, laid out as it says (Preserve, or nothing: as self).

// ---- Shapes: views of self.
Tensor permute(const Tensor& self, IntArrayRef dims);
Tensor transpose(const Tensor& self, std::int64_t dim0, std::int64_t dim1);
Tensor t(const Tensor& self);
Tensor narrow(const Tensor& self, std::int64_t dim, std::int64_t start, std::int64_t length);
Tensor squeeze(const Tensor& self);
Tensor squeeze(const Tensor& self, std::int64_t dim);
Tensor unsqueeze(const Tensor& self, std::int64_t dim);
Tensor flatten(const Tensor& self, std::int64_t start_dim = 0, std::int64_t end_dim = -1);

// ---- Arithmetic.
Tensor sub(const Tensor& self, const Tensor& other, const Scalar& alpha = 1);  // self - alpha * other
Tensor div(const Tensor& self, const Tensor& other);  // true division: integers give the default dtype
const Tensor& sub_(const Tensor& self, const Tensor& other, const Scalar& alpha = 1);
const Tensor& div_(const Tensor& self, const Tensor& other);

// ---- Comparison: Bool tensors.
Tensor eq(const Tensor& self, const Tensor& other);
Tensor ne(const Tensor& self, const Tensor& other);
Tensor lt(const Tensor& self, const Tensor& other);
Tensor le(const Tensor& self, const Tensor& other);
Tensor gt(const Tensor& self, const Tensor& other);
Tensor ge(const Tensor& self, const Tensor& other);
bool equal(const Tensor& self, const Tensor& other);  // same sizes and every element equal (NaN is not)
bool allclose(const Tensor& self, const Tensor& other, double rtol = 1e-5, double atol = 1e-8, bool equal_nan = false);
Tensor where(const Tensor& condition, const Tensor& self, const Tensor& other);  // condition: Bool

// ---- Pointwise. The first group turns integers into the default dtype.
Tensor log(const Tensor& self);
Tensor sqrt(const Tensor& self);
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
Tensor abs(const Tensor& self);
Tensor sign(const Tensor& self);
Tensor pow(const Tensor& self, const Scalar& exponent);
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
Tensor gcd(const Tensor& self, const Tensor& other);  // the greatest common divisor of integers; of 0 and n it is |n|. O(log of the smaller) each
Tensor lcm(const Tensor& self, const Tensor& other);  // their least common multiple; 0 if one is 0
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
namespace detail {
// Called with the views that a function, split or unbind, returns together, and the dimension that it cuts. Chapter 99 sets it: for autograd they are the outputs of one node.
using OnSeveralViews = void (*)(const std::vector<Tensor>&, const char* function, std::int64_t dim);
inline constinit OnSeveralViews on_several_views = nullptr;
}  // namespace detail
Tensor repeat(const Tensor& self, IntArrayRef repeats);

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
// Of one dtype; operands broadcast, in place to self's sizes.
extern Operator<Tensor(const Tensor&, const Tensor&, const Scalar&)> lerp;
extern Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Scalar&)> addcmul;
extern Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Scalar&)> addcdiv;
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
extern Operator<Tensor(const Tensor&, const Tensor&)> gcd;
extern Operator<Tensor(const Tensor&, const Tensor&)> lcm;
extern Operator<Tensor(const Tensor&)> isnan;
extern Operator<Tensor(const Tensor&)> isinf;
extern Operator<Tensor(const Tensor&)> isfinite;
extern Operator<Tensor(TensorList, std::int64_t)> cat;
extern Operator<Tensor(const Tensor&, const Scalar&)> pow;
extern Operator<Tensor(const Tensor&)> abs;
extern Operator<Tensor(const Tensor&)> sign;
extern Operator<Tensor(const Tensor&)> log;
extern Operator<Tensor(const Tensor&)> sqrt;
extern Operator<Tensor(const Tensor&, const Tensor&, const Tensor&)> where;
extern Operator<Tensor(const Tensor&, const Tensor&)> eq;
extern Operator<Tensor(const Tensor&, const Tensor&)> ne;
extern Operator<Tensor(const Tensor&, const Tensor&)> lt;
extern Operator<Tensor(const Tensor&, const Tensor&)> le;
extern Operator<Tensor(const Tensor&, const Tensor&)> gt;
extern Operator<Tensor(const Tensor&, const Tensor&)> ge;
extern Operator<Tensor(const Tensor&, const Tensor&, const Scalar&)> sub;
extern Operator<Tensor(const Tensor&, const Tensor&)> div;
extern Operator<const Tensor&(const Tensor&, const Tensor&, const Scalar&)> sub_;
extern Operator<const Tensor&(const Tensor&, const Tensor&)> div_;
extern Operator<Tensor(const Tensor&, IntArrayRef)> permute;
}  // namespace op

inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator-(const Tensor& a, const Scalar& b) { return a.sub(b); }
inline Tensor operator-(const Scalar& a, const Tensor& b) { return sub(wrapped_scalar(a), b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator/(const Tensor& a, const Scalar& b) { return a.div(b); }
inline Tensor operator/(const Scalar& a, const Tensor& b) { return div(wrapped_scalar(a), b); }
inline Tensor operator==(const Tensor& a, const Tensor& b) { return eq(a, b); }
inline Tensor operator==(const Tensor& a, const Scalar& b) { return a.eq(b); }
inline Tensor operator!=(const Tensor& a, const Tensor& b) { return ne(a, b); }
inline Tensor operator!=(const Tensor& a, const Scalar& b) { return a.ne(b); }
inline Tensor operator<(const Tensor& a, const Tensor& b) { return lt(a, b); }
inline Tensor operator<(const Tensor& a, const Scalar& b) { return a.lt(b); }
inline Tensor operator<=(const Tensor& a, const Tensor& b) { return le(a, b); }
inline Tensor operator<=(const Tensor& a, const Scalar& b) { return a.le(b); }
inline Tensor operator>(const Tensor& a, const Tensor& b) { return gt(a, b); }
inline Tensor operator>(const Tensor& a, const Scalar& b) { return a.gt(b); }
inline Tensor operator>=(const Tensor& a, const Tensor& b) { return ge(a, b); }
inline Tensor operator>=(const Tensor& a, const Scalar& b) { return a.ge(b); }

}  // namespace tinytorch
