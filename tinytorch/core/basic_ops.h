// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/tensor.h"

namespace tinytorch {

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
extern Operator<Tensor(const Tensor&, std::int64_t, std::int64_t)> select;
extern Operator<Tensor(const Tensor&, std::int64_t, std::int64_t, std::int64_t, std::int64_t)> slice;
extern Operator<Tensor(const Tensor&, bool)> clone;  // whether it keeps self's order in memory
extern Operator<Tensor(const Tensor&, ScalarType)> to_dtype;
extern Operator<const Tensor&(const Tensor&, const Tensor&)> copy_;
extern Operator<const Tensor&(const Tensor&, const Scalar&)> fill_;
extern Operator<Tensor(const Tensor&, const Tensor&, const Scalar&)> add;
extern Operator<Tensor(const Tensor&, const Tensor&)> mul;
extern Operator<const Tensor&(const Tensor&, const Tensor&, const Scalar&)> add_;
extern Operator<const Tensor&(const Tensor&, const Tensor&)> mul_;
extern Operator<Tensor(const Tensor&)> neg;
extern Operator<Tensor(const Tensor&)> exp;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> sum;
extern Operator<Tensor(const Tensor&, const Tensor&)> mm;
}  // namespace op

inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator+(const Tensor& a, const Scalar& b) { return a.add(b); }
inline Tensor operator+(const Scalar& a, const Tensor& b) { return add(wrapped_scalar(a), b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator*(const Tensor& a, const Scalar& b) { return a.mul(b); }
inline Tensor operator*(const Scalar& a, const Tensor& b) { return mul(wrapped_scalar(a), b); }

// The strides with which memory laid out as (sizes, strides) can be seen in the shape `shape`, or nothing if only a copy can. Source: aten/src/ATen/TensorUtils.cpp, computeStride.
std::optional<DimVector> compute_stride(IntArrayRef sizes, IntArrayRef strides, IntArrayRef shape);
// A view: a new tensor over the storage of `self`; the caller checks the geometry. O(dims).
Tensor alias(const Tensor& self, IntArrayRef sizes, IntArrayRef strides, std::int64_t offset);
// `shape` with its -1 worked out so that it holds `numel` elements.
DimVector infer_shape(IntArrayRef shape, std::int64_t numel);

// All windows of `size` neighbours along `dimension`, `step` apart: that dimension counts the windows, and a last one of length `size` is added.
Tensor unfold(const Tensor& self, std::int64_t dimension, std::int64_t size, std::int64_t step);

}  // namespace tinytorch
