// From the lesson modules/74_tensor_breadth/tensor_breadth_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/ops.h"

namespace tinytorch {

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

}  // namespace tinytorch
