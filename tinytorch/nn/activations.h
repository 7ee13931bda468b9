// From the lesson modules/02_activations/activations_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>
#include <string_view>

#include "tinytorch/core/ops.h"

namespace tinytorch {

// ---- Elementwise. Each returns a new tensor of the shape and dtype of `self`; O(numel) time.
Tensor relu(const Tensor& self);  // max(x, 0); any dtype but Bool
const Tensor& relu_(const Tensor& self);
Tensor leaky_relu(const Tensor& self,
                  const Scalar& negative_slope = 0.01);  // x where x > 0, else negative_slope * x
// scale * x where x > 0, else scale * alpha * (exp(input_scale * x) - 1)
Tensor elu(const Tensor& self, const Scalar& alpha = 1, const Scalar& scale = 1,
           const Scalar& input_scale = 1);
// x * P(Z <= x) for a standard normal Z; approximate = "tanh" avoids erf and errs by less than 0.001.
Tensor gelu(const Tensor& self, std::string_view approximate = "none");
Tensor sigmoid(
    const Tensor& self);  // 1 / (1 + exp(-x)); sigmoid and tanh turn integers into the default dtype
Tensor tanh(const Tensor& self);
Tensor silu(const Tensor& self);  // x * sigmoid(x)
// log(1 + exp(beta * x)) / beta; x itself where beta * x > threshold
Tensor softplus(const Tensor& self, const Scalar& beta = 1, const Scalar& threshold = 20);

// ---- Along a dimension. `dtype`: convert first, as when half precision would not hold the sum.
// exp(x) / sum of exp(x) along `dim`; no finite input overflows. A row of -inf gives NaN.
Tensor softmax(const Tensor& self, std::int64_t dim, std::optional<ScalarType> dtype = std::nullopt);
// log(softmax(x)), computed as x - logsumexp(x): no log of a probability that was rounded to 0.
Tensor log_softmax(const Tensor& self, std::int64_t dim, std::optional<ScalarType> dtype = std::nullopt);
// log of the sum of exp(x) over the dimensions `dim`. A row of -inf, or an empty one, gives -inf.
Tensor logsumexp(const Tensor& self, IntArrayRef dim, bool keepdim = false);

namespace op {
extern Operator<Tensor(const Tensor&)> relu;
extern Operator<const Tensor&(const Tensor&)> relu_;
extern Operator<Tensor(const Tensor&, const Scalar&)> leaky_relu;
extern Operator<Tensor(const Tensor&, const Scalar&)> elu;
extern Operator<Tensor(const Tensor&, bool)> gelu;  // whether to use the tanh approximation
extern Operator<Tensor(const Tensor&)> sigmoid;
extern Operator<Tensor(const Tensor&)> tanh;
extern Operator<Tensor(const Tensor&)> silu;
extern Operator<Tensor(const Tensor&, const Scalar&, const Scalar&)> softplus;
extern Operator<Tensor(const Tensor&, std::int64_t)> softmax;
extern Operator<Tensor(const Tensor&, std::int64_t)> log_softmax;
}  // namespace op

}  // namespace tinytorch
