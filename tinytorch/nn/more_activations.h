// From the lesson modules/97_nn_extras/nn_extras_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/generator.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/nn/activations.h"

namespace tinytorch {

// Each returns a new tensor of the shape of `self`; O(numel). Floating point only, unless said otherwise.
// min_val below min_val, max_val above max_val, x between; any dtype but Bool.
Tensor hardtanh(const Tensor& self, const Scalar& min_val = -1, const Scalar& max_val = 1);
Tensor relu6(const Tensor& self);  // hardtanh(x, 0, 6)
// x above `threshold`, else `value`; any dtype but Bool.
Tensor threshold(const Tensor& self, const Scalar& threshold, const Scalar& value);
Tensor hardshrink(const Tensor& self, const Scalar& lambd = 0.5);  // 0 where |x| <= lambd, else x
Tensor softshrink(const Tensor& self, const Scalar& lambd = 0.5);  // 0 where |x| <= lambd, else x moved by lambd towards 0
Tensor mish(const Tensor& self);         // x * tanh(softplus(x))
Tensor log_sigmoid(const Tensor& self);  // log(sigmoid(x)), finite for every finite x
// x where x > 0, else weight * x. `weight` has one element, or one for each channel (dim 1; the elements of a vector
// are channels of one sample).
Tensor prelu(const Tensor& self, const Tensor& weight);
// x where x > 0, else r * x. In training r is drawn for each such element, uniform in [lower, upper]; otherwise it is
// their mean.
Tensor rrelu(const Tensor& self, const Scalar& lower = 0.125, const Scalar& upper = 1.0 / 3, bool training = false,
             std::optional<Generator> generator = std::nullopt);
// ---- Composed of others.
Tensor selu(const Tensor& self);                           // elu with the two constants of Klambauer et al. 2017
Tensor celu(const Tensor& self, const Scalar& alpha = 1);  // max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))
Tensor glu(const Tensor& self, std::int64_t dim = -1);     // a * sigmoid(b) for the two halves a, b of `self` along `dim`
Tensor hardsigmoid(const Tensor& self);                    // min(max(x + 3, 0), 6) / 6: straight lines in place of sigmoid's curve
Tensor hardswish(const Tensor& self);                      // x * hardsigmoid(x)

// ---- The same over the elements of `self`, which they return. They compute the result first, then copy it.
const Tensor& hardtanh_(const Tensor& self, const Scalar& min_val = -1, const Scalar& max_val = 1);
const Tensor& relu6_(const Tensor& self);
const Tensor& threshold_(const Tensor& self, const Scalar& threshold, const Scalar& value);
const Tensor& rrelu_(const Tensor& self, const Scalar& lower = 0.125, const Scalar& upper = 1.0 / 3, bool training = false,
                     std::optional<Generator> generator = std::nullopt);
const Tensor& selu_(const Tensor& self);
const Tensor& celu_(const Tensor& self, const Scalar& alpha = 1);
const Tensor& hardsigmoid_(const Tensor& self);
const Tensor& hardswish_(const Tensor& self);

namespace op {
extern Operator<Tensor(const Tensor&, const Scalar&, const Scalar&)> hardtanh;
extern Operator<Tensor(const Tensor&, const Scalar&, const Scalar&)> threshold;
extern Operator<Tensor(const Tensor&, const Scalar&)> hardshrink;
extern Operator<Tensor(const Tensor&, const Scalar&)> softshrink;
extern Operator<Tensor(const Tensor&)> mish;
extern Operator<Tensor(const Tensor&)> log_sigmoid;
extern Operator<Tensor(const Tensor&)> hardsigmoid;
extern Operator<Tensor(const Tensor&)> hardswish;
extern Operator<Tensor(const Tensor&, std::int64_t)> glu;  // along a dimension >= 0 of an even size
extern Operator<Tensor(const Tensor&, const Tensor&)> prelu;  // weight broadcasts against self
}  // namespace op

}  // namespace tinytorch
