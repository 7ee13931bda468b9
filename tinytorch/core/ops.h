// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/tensor.h"

namespace tinytorch {

// ---- Creation. `options` names the dtype (default: get_default_dtype(), or the type of the given values).
Tensor empty(IntArrayRef size, const TensorOptions& options = {});  // uninitialised
Tensor zeros(IntArrayRef size, const TensorOptions& options = {});
Tensor ones(IntArrayRef size, const TensorOptions& options = {});
Tensor full(IntArrayRef size, const Scalar& fill_value, const TensorOptions& options = {});
Tensor arange(const Scalar& end, const TensorOptions& options = {});
Tensor arange(const Scalar& start, const Scalar& end, const TensorOptions& options = {});
Tensor arange(const Scalar& start, const Scalar& end, const Scalar& step, const TensorOptions& options = {});
Tensor empty_like(const Tensor& self, const TensorOptions& options = {});  // self's sizes, and its dtype unless options name one
Tensor zeros_like(const Tensor& self, const TensorOptions& options = {});
Tensor ones_like(const Tensor& self, const TensorOptions& options = {});
Tensor full_like(const Tensor& self, const Scalar& fill_value, const TensorOptions& options = {});
// A 0-d tensor of `value` that takes part in promotion by its category only, as a plain number does.
Tensor wrapped_scalar(const Scalar& value);
// Every factory ends with this: gives a fresh tensor the layers that its options ask for.
Tensor created(const Tensor& fresh, const TensorOptions& options);

// ---- Views: the result shares the storage of `self`. O(dim) time, no element is copied.
Tensor as_strided(const Tensor& self, IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset = std::nullopt);
Tensor view(const Tensor& self, IntArrayRef size);  // one size may be -1
Tensor expand(const Tensor& self, IntArrayRef size);  // size 1 becomes any size, with stride 0; -1 keeps a size
Tensor permute(const Tensor& self, IntArrayRef dims);
Tensor select(const Tensor& self, std::int64_t dim, std::int64_t index);
Tensor slice(const Tensor& self, std::int64_t dim = 0, std::optional<std::int64_t> start = std::nullopt,
             std::optional<std::int64_t> end = std::nullopt, std::int64_t step = 1);
Tensor narrow(const Tensor& self, std::int64_t dim, std::int64_t start, std::int64_t length);
Tensor transpose(const Tensor& self, std::int64_t dim0, std::int64_t dim1);
Tensor t(const Tensor& self);
Tensor squeeze(const Tensor& self);
Tensor squeeze(const Tensor& self, std::int64_t dim);
Tensor unsqueeze(const Tensor& self, std::int64_t dim);
Tensor reshape(const Tensor& self, IntArrayRef shape);  // a view where the strides allow it, a copy where not
Tensor flatten(const Tensor& self, std::int64_t start_dim = 0, std::int64_t end_dim = -1);

// ---- Copies.
Tensor clone(const Tensor& self);
Tensor to_dtype(const Tensor& self, ScalarType type);  // `self` itself when it has that type
const Tensor& copy_(const Tensor& self, const Tensor& src);  // converts and broadcasts src into self
const Tensor& fill_(const Tensor& self, const Scalar& value);

// ---- Pointwise: shapes broadcast, dtypes promote. O(numel).
Tensor add(const Tensor& self, const Tensor& other, const Scalar& alpha = 1);  // self + alpha * other
Tensor sub(const Tensor& self, const Tensor& other, const Scalar& alpha = 1);
Tensor mul(const Tensor& self, const Tensor& other);
Tensor div(const Tensor& self, const Tensor& other);  // true division: integers give the default dtype
const Tensor& add_(const Tensor& self, const Tensor& other, const Scalar& alpha = 1);
const Tensor& sub_(const Tensor& self, const Tensor& other, const Scalar& alpha = 1);
const Tensor& mul_(const Tensor& self, const Tensor& other);
const Tensor& div_(const Tensor& self, const Tensor& other);
Tensor pow(const Tensor& self, const Scalar& exponent);
Tensor neg(const Tensor& self);
Tensor abs(const Tensor& self);
Tensor sign(const Tensor& self);
Tensor exp(const Tensor& self);  // exp, log and sqrt turn integers into the default dtype
Tensor log(const Tensor& self);
Tensor sqrt(const Tensor& self);
Tensor where(const Tensor& condition, const Tensor& self, const Tensor& other);  // condition: Bool

// ---- Comparison: Bool tensors.
Tensor eq(const Tensor& self, const Tensor& other);
Tensor ne(const Tensor& self, const Tensor& other);
Tensor lt(const Tensor& self, const Tensor& other);
Tensor le(const Tensor& self, const Tensor& other);
Tensor gt(const Tensor& self, const Tensor& other);
Tensor ge(const Tensor& self, const Tensor& other);
bool equal(const Tensor& self, const Tensor& other);  // same sizes and every element equal (NaN is not)
bool allclose(const Tensor& self, const Tensor& other, double rtol = 1e-5, double atol = 1e-8, bool equal_nan = false);

// ---- Reductions over the dimensions `dim` (none given: over all). O(numel).
Tensor sum(const Tensor& self);
Tensor sum(const Tensor& self, IntArrayRef dim, bool keepdim = false);  // integers and bools sum to Long
Tensor mean(const Tensor& self);
Tensor mean(const Tensor& self, IntArrayRef dim, bool keepdim = false);
Tensor amax(const Tensor& self, IntArrayRef dim = {}, bool keepdim = false);  // NaN wins
Tensor max(const Tensor& self);
std::tuple<Tensor, Tensor> max(const Tensor& self, std::int64_t dim, bool keepdim = false);  // values and indices (Long)
Tensor argmax(const Tensor& self);  // the position in the flattened tensor
Tensor argmax(const Tensor& self, std::int64_t dim, bool keepdim = false);

// ---- Products of matrices.
Tensor mm(const Tensor& self, const Tensor& mat2);      // (M, K) x (K, N) -> (M, N). O(M K N).
Tensor bmm(const Tensor& self, const Tensor& mat2);     // (B, M, K) x (B, K, N) -> (B, M, N)
Tensor matmul(const Tensor& self, const Tensor& other);  // 1-d: vectors; 2-d: mm; more: batches, which broadcast

// The shape that two shapes broadcast to. Throws if a pair of sizes differs and neither is 1.
DimVector infer_size(IntArrayRef a, IntArrayRef b);
// The dtype of a result from `a` and `b`: a 0-d tensor changes the other's type only by its category, a wrapped number yields to both.
ScalarType result_type(const Tensor& a, const Tensor& b);

// The operator objects behind the functions: one table of layers each. Functions without one are composed of these.
namespace op {
extern Operator<Tensor(const Tensor&, const TensorOptions&)> created;
extern Operator<Tensor(const Tensor&, IntArrayRef, IntArrayRef, std::optional<std::int64_t>)> as_strided;
extern Operator<Tensor(const Tensor&, IntArrayRef)> view;
extern Operator<Tensor(const Tensor&, IntArrayRef)> expand;
extern Operator<Tensor(const Tensor&, IntArrayRef)> permute;
extern Operator<Tensor(const Tensor&, std::int64_t, std::int64_t)> select;
extern Operator<Tensor(const Tensor&, std::int64_t, std::int64_t, std::int64_t, std::int64_t)> slice;
extern Operator<Tensor(const Tensor&)> clone;
extern Operator<Tensor(const Tensor&, ScalarType)> to_dtype;
extern Operator<const Tensor&(const Tensor&, const Tensor&)> copy_;
extern Operator<const Tensor&(const Tensor&, const Scalar&)> fill_;
extern Operator<Tensor(const Tensor&, const Tensor&, const Scalar&)> add;
extern Operator<Tensor(const Tensor&, const Tensor&, const Scalar&)> sub;
extern Operator<Tensor(const Tensor&, const Tensor&)> mul;
extern Operator<Tensor(const Tensor&, const Tensor&)> div;
extern Operator<const Tensor&(const Tensor&, const Tensor&, const Scalar&)> add_;
extern Operator<const Tensor&(const Tensor&, const Tensor&, const Scalar&)> sub_;
extern Operator<const Tensor&(const Tensor&, const Tensor&)> mul_;
extern Operator<const Tensor&(const Tensor&, const Tensor&)> div_;
extern Operator<Tensor(const Tensor&, const Scalar&)> pow;
extern Operator<Tensor(const Tensor&)> neg;
extern Operator<Tensor(const Tensor&)> abs;
extern Operator<Tensor(const Tensor&)> sign;
extern Operator<Tensor(const Tensor&)> exp;
extern Operator<Tensor(const Tensor&)> log;
extern Operator<Tensor(const Tensor&)> sqrt;
extern Operator<Tensor(const Tensor&, const Tensor&, const Tensor&)> where;
extern Operator<Tensor(const Tensor&, const Tensor&)> eq;
extern Operator<Tensor(const Tensor&, const Tensor&)> ne;
extern Operator<Tensor(const Tensor&, const Tensor&)> lt;
extern Operator<Tensor(const Tensor&, const Tensor&)> le;
extern Operator<Tensor(const Tensor&, const Tensor&)> gt;
extern Operator<Tensor(const Tensor&, const Tensor&)> ge;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> sum;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> amax;
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> max;
extern Operator<Tensor(const Tensor&, std::int64_t, bool)> argmax;
extern Operator<Tensor(const Tensor&, const Tensor&)> mm;
extern Operator<Tensor(const Tensor&, const Tensor&)> bmm;
}  // namespace op

inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator+(const Tensor& a, const Scalar& b) { return a.add(b); }
inline Tensor operator+(const Scalar& a, const Tensor& b) { return add(wrapped_scalar(a), b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator-(const Tensor& a, const Scalar& b) { return a.sub(b); }
inline Tensor operator-(const Scalar& a, const Tensor& b) { return sub(wrapped_scalar(a), b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator*(const Tensor& a, const Scalar& b) { return a.mul(b); }
inline Tensor operator*(const Scalar& a, const Tensor& b) { return mul(wrapped_scalar(a), b); }
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

// The strides with which memory laid out as (sizes, strides) can be seen in the shape `shape`, or nothing if only a copy can.
// Source: aten/src/ATen/TensorUtils.cpp, computeStride.
std::optional<DimVector> compute_stride(IntArrayRef sizes, IntArrayRef strides, IntArrayRef shape);
// `shape` with its -1 worked out so that it holds `numel` elements.
DimVector infer_shape(IntArrayRef shape, std::int64_t numel);

// All windows of `size` neighbours along `dimension`, `step` apart: that dimension counts the windows, and a last one of length `size` is added.
Tensor unfold(const Tensor& self, std::int64_t dimension, std::int64_t size, std::int64_t step);

}  // namespace tinytorch
