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
//     name: tinytorch-cpp
// ---

// %% [markdown]
// # Module 12: Transformers
//
// Attention (module 11) lets each position read the others. By itself it does not learn well when it is stacked: numbers grow from layer to layer, gradients fade, and a weighted mean of values is nearly a linear map. A *transformer* puts around it
// what makes depth work: normalization, a small network for each position, and a straight road past both. This module builds these parts, stacks them into GPT, trains it to write, and then makes it write fast.
//
// The second half is about *using* a language model, where most of the computing in the world is spent today. A model gives probabilities for one next token. Everything else, temperature, top-p, stop strings, caches, batches of unequal prompts, beams,
// is a loop around it, and each of these has a way of being wrong that no exception reports. So each is held to an answer that is computed the slow, plain way.
//
// **Objectives.** After this module you can
//
// - derive the gradient of layer normalization, and say why its mean and variance take part in it;
// - build a pre-norm block, predict its parameters and its arithmetic, and show by measurement why depth wants a residual road;
// - build GPT with tied weights and GPT-2's initialization, and predict its first loss before training;
// - generate with a key-value cache whose logits equal recomputation, and say what the cache costs in bytes per token;
// - recognize targets that are not shifted, padding that is read as text, and a stop string that arrives in two pieces.
//
// **Where it sits.** Below it: embeddings (module 10), attention (module 11), Module and Linear (03), the optimizers (06) and clipping (08). Above it: everything that serves a model; modules 14 to 20 measure, shrink, compile and deploy what is built here. Chapter 86 adds
// PyTorch's encoder and decoder layers with their options.
//
// **Prerequisites.** Modules 01 to 08, 10 and 11; variance; conditional probability.

// %%
//| export nn/layer_norm.h
#include <optional>
#include <vector>
#include "tinytorch/core/arg.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/cloneable.h"
//| export nn/layer_norm.cpp
#include <cmath>
#include <ostream>
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/loops.h"
//| export models/key_value_cache.h
#include <utility>
#include "tinytorch/core/more_ops.h"
//| export models/key_value_cache.cpp
#include <algorithm>
//| export models/gpt.h
#include <vector>
#include "tinytorch/core/arg.h"
#include "tinytorch/models/key_value_cache.h"
#include "tinytorch/nn/containers.h"
#include "tinytorch/nn/dropout.h"
#include "tinytorch/nn/embedding.h"
#include "tinytorch/nn/layer_norm.h"
#include "tinytorch/nn/linear.h"
#include "tinytorch/optim/adam.h"
//| export models/gpt.cpp
#include <cmath>
#include <ostream>
#include "tinytorch/core/grad_mode.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/attention.h"
#include "tinytorch/nn/init.h"
#include "tinytorch/nn/loss.h"
//| export models/language_data.h
#include <utility>
#include <vector>
#include "tinytorch/core/more_ops.h"
//| export models/language_data.cpp
#include <algorithm>
#include "tinytorch/core/tensor_data.h"
//| export optim/warmup_cosine.h
#include "tinytorch/optim/lr_scheduler.h"
//| export optim/warmup_cosine.cpp
#include <algorithm>
#include <cmath>
#include <numbers>
//| export models/sampling.h
#include "tinytorch/core/arg.h"
#include "tinytorch/core/more_ops.h"
//| export models/sampling.cpp
#include <algorithm>
#include <limits>
#include "tinytorch/nn/activations.h"
//| export models/generate.h
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>
#include "tinytorch/models/gpt.h"
#include "tinytorch/models/sampling.h"
//| export models/generate.cpp
#include <algorithm>
#include <cmath>
#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/models/language_data.h"
#include "tinytorch/nn/activations.h"

// %%
#include "tito/lesson.h"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/attention.h"
#include "tinytorch/nn/clip_grad.h"
#include "tinytorch/nn/loss.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Part 1: Foundations
//
// ### The whole machine
//
// A language model reads `T` tokens and says, at each position, how probable each token of the vocabulary is as the *next* one. GPT does it with `L` equal blocks on a stream of vectors `x` of shape `(B, T, C)`:
//
//       tokens (B, T)
//          │  token embedding + position embedding
//          ▼
//       x (B, T, C) ───┬──────────────────────────── + ───┬─────────────────────── + ──►  ... L blocks ...  ──► LayerNorm ──► logits (B, T, V)
//                      └► LayerNorm ► attention ─────┘    └► LayerNorm ► C→4C→C ───┘                             times the embedding, transposed
//                         (positions talk)                   (each position thinks)
//
// The stream is the *residual stream*: a block reads from it and adds to it, and never replaces it. That gives each block's output a straight road to the end, and the loss's gradient a straight road back.
//
// How large is that? A block has `4 C^2` weights in attention (three projections in, one out) and `8 C^2` in the two layers of the feed-forward network, so a model has about `12 L C^2 + V C` parameters `N`. Each weight takes part in one multiplication and one addition per token forward, and twice as many
// backward: training costs about `6 N` operations per token, and writing one token `2 N`. Attention itself adds `4 L C T` per token, which is small until `T` comes near `6 C`. Part 2 measures both.
//
// ### Layer normalization
//
// Sums of many products spread: after a few layers some features are a hundred times larger than others, and the next layer's step size fits none. Batch normalization (module 09) takes mean and variance over the batch. A text model cannot: its batch holds sentences of other lengths, and in generation
// there is one of them. *Layer* normalization takes them over the features of one position, so a position's result depends on nothing but itself:
//
//       y = (x - mean) / sqrt(var + eps) * weight + bias            mean, var over the last dimensions ("normalized_shape")
//
//       x (B, T, C)              C features
//         position (0, 0)   [ 3  -1   7 ...  2 ]  ──► its own mean and variance ──► [ .1 -1.2  1.6 ... -.2 ]
//         position (0, 1)   [ 9   9   8 ... 10 ]  ──► its own ...                         * weight (C) + bias (C), shared by all
//         position (1, 0)   [ ...              ]
//
// The variance is the biased one, divided by `C` and not `C - 1`: it describes these features, and estimates nothing. `eps` stands *inside* the root, so that a row of equal numbers gives 0 and not infinity. Two passes over a row, O(numel) time.

// %%
//| export nn/layer_norm.h
// Normalizes over the last dimensions, whose sizes are `normalized_shape`: (x - mean) / sqrt(var + eps) * weight + bias, with the biased
// variance. input (*, normalized_shape), floating point; weight and bias, where given, have the sizes normalized_shape. The result has input's sizes and
// dtype. O(numel). Throws if the sizes do not fit. `cudnn_enable` is there for PyTorch's signature and has no effect.
// Source: Ba et al. 2016; aten/src/ATen/native/layer_norm.cpp.
Tensor layer_norm(const Tensor& input, IntArrayRef normalized_shape, const std::optional<Tensor>& weight = {}, const std::optional<Tensor>& bias = {},
                  double eps = 1e-05, bool cudnn_enable = true);

namespace op {
extern Operator<Tensor(const Tensor&, IntArrayRef, const std::optional<Tensor>&, const std::optional<Tensor>&, double)> layer_norm;
}  // namespace op

namespace nn {

struct LayerNormOptions {
  LayerNormOptions(std::vector<std::int64_t> normalized_shape) : normalized_shape_(std::move(normalized_shape)) {}
  TORCH_ARG(std::vector<std::int64_t>, normalized_shape);
  TORCH_ARG(double, eps) = 1e-5;
  TORCH_ARG(bool, elementwise_affine) = true;
};

// layer_norm() with a weight of ones and a bias of zeros to learn from, or without either. Source: torch/csrc/api/src/nn/modules/normalization.cpp.
class LayerNormImpl : public Cloneable<LayerNormImpl> {
 public:
  LayerNormImpl(std::vector<std::int64_t> normalized_shape);
  explicit LayerNormImpl(LayerNormOptions options_);
  void reset() override;
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input);

  LayerNormOptions options;
  Tensor weight;  // normalized_shape, or undefined
  Tensor bias;    // normalized_shape, or undefined
};
TORCH_MODULE(LayerNorm);

}  // namespace nn

namespace nn::functional {

struct LayerNormFuncOptions {
  LayerNormFuncOptions(std::vector<std::int64_t> normalized_shape) : normalized_shape_(std::move(normalized_shape)) {}
  TORCH_ARG(std::vector<std::int64_t>, normalized_shape);
  TORCH_ARG(Tensor, weight) = {};
  TORCH_ARG(Tensor, bias) = {};
  TORCH_ARG(double, eps) = 1e-5;
};

inline Tensor layer_norm(const Tensor& input, const LayerNormFuncOptions& options) {
  return tinytorch::layer_norm(input, options.normalized_shape(), options.weight(), options.bias(), options.eps());
}

}  // namespace nn::functional

// %% {"nbgrader": {"grade": false, "grade_id": "12-layer-norm", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/layer_norm.cpp
// Normalizes each of the `rows` rows of `size` elements at `x` into `y`, times weight[j] and plus bias[j] where these are not null. The sums are
// kept in double. O(rows * size), two passes over each row; no memory.
//
// TODO: Mean, biased variance, and the scaled and shifted row.
// APPROACH: 1. One loop for the sum, so the mean. 2. One for the sum of (x - mean)^2; divided by size it is the variance. 3. rstd = 1 / sqrt(var + eps), once a row.
//           4. y[j] = (x[j] - mean) * rstd, times weight and plus bias where there are some.
// EXAMPLE: the row 1 2 3 4 with eps 0.75 has mean 2.5 and var + eps = 2, so it begins with -1.5 / sqrt(2) = -1.0607.
// HINT: sum(x^2) / n - mean^2 is one pass fewer, and loses all digits where the mean is large.
namespace {
template <class T>
void normalize_rows(T* y, const T* x, const T* weight, const T* bias, std::int64_t rows, std::int64_t size, double eps) {
  // BEGIN SOLUTION
  for (std::int64_t r = 0; r < rows; ++r, x += size, y += size) {
    double sum = 0;
    for (std::int64_t j = 0; j < size; ++j) sum += static_cast<double>(x[j]);
    const double mean = sum / static_cast<double>(size);
    double squares = 0;
    for (std::int64_t j = 0; j < size; ++j) {
      const double centered = static_cast<double>(x[j]) - mean;
      squares += centered * centered;
    }
    const double rstd = 1 / std::sqrt(squares / static_cast<double>(size) + eps);
    for (std::int64_t j = 0; j < size; ++j) {
      double value = (static_cast<double>(x[j]) - mean) * rstd;
      if (weight != nullptr) value *= static_cast<double>(weight[j]);
      if (bias != nullptr) value += static_cast<double>(bias[j]);
      y[j] = static_cast<T>(value);
    }
  }
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 12-layer-norm unbiased-variance
//| says The variance is divided by size - 1. Normalization describes these very features, so it divides by size (PyTorch's var(unbiased=false)).
#if 0
template <class T>
void normalize_rows(T* y, const T* x, const T* weight, const T* bias, std::int64_t rows, std::int64_t size, double eps) {
  for (std::int64_t r = 0; r < rows; ++r, x += size, y += size) {
    double sum = 0;
    for (std::int64_t j = 0; j < size; ++j) sum += static_cast<double>(x[j]);
    const double mean = sum / static_cast<double>(size);
    double squares = 0;
    for (std::int64_t j = 0; j < size; ++j) squares += (static_cast<double>(x[j]) - mean) * (static_cast<double>(x[j]) - mean);
    const double rstd = 1 / std::sqrt(squares / static_cast<double>(size - 1) + eps);
    for (std::int64_t j = 0; j < size; ++j) {
      double value = (static_cast<double>(x[j]) - mean) * rstd;
      if (weight != nullptr) value *= static_cast<double>(weight[j]);
      if (bias != nullptr) value += static_cast<double>(bias[j]);
      y[j] = static_cast<T>(value);
    }
  }
}
#endif

// %%
//| mistake 12-layer-norm eps-outside-the-root
//| says eps is added to the standard deviation instead of to the variance: 1 / sqrt(var + eps), not 1 / (sqrt(var) + eps).
#if 0
template <class T>
void normalize_rows(T* y, const T* x, const T* weight, const T* bias, std::int64_t rows, std::int64_t size, double eps) {
  for (std::int64_t r = 0; r < rows; ++r, x += size, y += size) {
    double sum = 0;
    for (std::int64_t j = 0; j < size; ++j) sum += static_cast<double>(x[j]);
    const double mean = sum / static_cast<double>(size);
    double squares = 0;
    for (std::int64_t j = 0; j < size; ++j) squares += (static_cast<double>(x[j]) - mean) * (static_cast<double>(x[j]) - mean);
    const double rstd = 1 / (std::sqrt(squares / static_cast<double>(size)) + eps);
    for (std::int64_t j = 0; j < size; ++j) {
      double value = (static_cast<double>(x[j]) - mean) * rstd;
      if (weight != nullptr) value *= static_cast<double>(weight[j]);
      if (bias != nullptr) value += static_cast<double>(bias[j]);
      y[j] = static_cast<T>(value);
    }
  }
}
#endif

// %%
//| mistake 12-layer-norm one-mean-for-all-rows
//| says All rows share one mean and one variance. Each row (each position of the text) has its own; otherwise one sentence changes another.
#if 0
template <class T>
void normalize_rows(T* y, const T* x, const T* weight, const T* bias, std::int64_t rows, std::int64_t size, double eps) {
  const std::int64_t count = rows * size;
  double sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += static_cast<double>(x[i]);
  const double mean = sum / static_cast<double>(count);
  double squares = 0;
  for (std::int64_t i = 0; i < count; ++i) squares += (static_cast<double>(x[i]) - mean) * (static_cast<double>(x[i]) - mean);
  const double rstd = 1 / std::sqrt(squares / static_cast<double>(count) + eps);
  for (std::int64_t i = 0; i < count; ++i) {
    double value = (static_cast<double>(x[i]) - mean) * rstd;
    if (weight != nullptr) value *= static_cast<double>(weight[i % size]);
    if (bias != nullptr) value += static_cast<double>(bias[i % size]);
    y[i] = static_cast<T>(value);
  }
}
#endif

// %% [markdown]
// Around the loop stand the operator and its gradient. Two terms in the gradient are forgotten by nearly everyone who writes it for the first time. Let `n = (x - mean) * rstd` be the normalized row and `h = grad * weight` what arrives at it. If mean and variance were constants, `grad_x` would be `h * rstd`. But
// they are functions of the row: raising one `x` raises the mean, so all others fall, and it changes the spread, so all others shrink. Each of the two takes a part of `h` away:
//
//       grad_x = rstd * ( h  -  mean(h)  -  n * mean(h * n) )
//                         │       │            └── the direction "make the whole row larger": normalization undoes it
//                         │       └── the direction "move the whole row up": normalization undoes it
//                         └── what it would be with constants
//
// So the gradient is always orthogonal to both: it never asks for what normalization would take away. The gradient functions are made of operators, therefore second derivatives follow.

// %% {"nbgrader": {"grade": false, "grade_id": "12-layer-norm-backward", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/layer_norm.cpp
// The gradient with respect to `input` (*, normalized shape of `dims` dimensions) of layer_norm, for `grad` of the same sizes. `weight` may be undefined. O(numel). The
// statistics are computed again instead of saved.
//
// TODO: The three terms above, with operators.
// APPROACH: 1. The dimensions -1, ..., -dims. 2. centered = input - mean, rstd = rsqrt(mean of centered^2, plus eps), n = centered * rstd. 3. h = grad, times weight where it is
//           defined. 4. The formula; means with keepdim.
// EXAMPLE: for grad = ones and no weight, the gradient is 0 everywhere: the sum of a normalized row does not change.
// HINT: tensor.mean(dims, true) takes a list of dimensions; rsqrt(t) is 1 / sqrt(t).
namespace {
Tensor layer_norm_backward(const Tensor& grad, const Tensor& input, std::size_t dims, const Tensor& weight, double eps) {
  // BEGIN SOLUTION
  std::vector<std::int64_t> last;
  for (std::size_t i = 1; i <= dims; ++i) last.push_back(-static_cast<std::int64_t>(i));
  const Tensor centered = input - input.mean(last, true);
  const Tensor rstd = rsqrt((centered * centered).mean(last, true) + eps);
  const Tensor normalized = centered * rstd;
  const Tensor h = weight.defined() ? grad * weight : grad;
  return rstd * (h - h.mean(last, true) - normalized * (h * normalized).mean(last, true));
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 12-layer-norm-backward constant-statistics
//| says Mean and variance are treated as constants. Both depend on the row, and each takes away a part of the gradient: subtract mean(h) and n * mean(h * n).
#if 0
Tensor layer_norm_backward(const Tensor& grad, const Tensor& input, std::size_t dims, const Tensor& weight, double eps) {
  std::vector<std::int64_t> last;
  for (std::size_t i = 1; i <= dims; ++i) last.push_back(-static_cast<std::int64_t>(i));
  const Tensor centered = input - input.mean(last, true);
  const Tensor rstd = rsqrt((centered * centered).mean(last, true) + eps);
  return rstd * (weight.defined() ? grad * weight : grad);
}
#endif

// %%
//| mistake 12-layer-norm-backward forgets-the-weight
//| says The gradient reaches the normalized row through the weight: h is grad * weight wherever there is a weight.
#if 0
Tensor layer_norm_backward(const Tensor& grad, const Tensor& input, std::size_t dims, const Tensor& weight, double eps) {
  static_cast<void>(weight);
  std::vector<std::int64_t> last;
  for (std::size_t i = 1; i <= dims; ++i) last.push_back(-static_cast<std::int64_t>(i));
  const Tensor centered = input - input.mean(last, true);
  const Tensor rstd = rsqrt((centered * centered).mean(last, true) + eps);
  const Tensor normalized = centered * rstd;
  return rstd * (grad - grad.mean(last, true) - normalized * (grad * normalized).mean(last, true));
}
#endif

// %%
//| export nn/layer_norm.cpp
nn::LayerNormImpl::LayerNormImpl(std::vector<std::int64_t> normalized_shape) : LayerNormImpl(LayerNormOptions(std::move(normalized_shape))) {}
nn::LayerNormImpl::LayerNormImpl(LayerNormOptions options_) : options(std::move(options_)) { LayerNormImpl::reset(); }

namespace {

Tensor layer_norm_cpu(const Tensor& input, IntArrayRef normalized_shape, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, double eps) {
  const Tensor x = input.contiguous();
  const Tensor result = empty(x.sizes(), x.options());
  std::int64_t size = 1;
  for (const std::int64_t length : normalized_shape) size *= length;
  const Tensor scale = weight && weight->defined() ? weight->contiguous() : Tensor();
  const Tensor shift = bias && bias->defined() ? bias->contiguous() : Tensor();
  dispatch_floating_types(x.scalar_type(), "LayerNormKernelImpl", [&]<class T>() {
    if (x.numel() == 0) return;
    normalize_rows<T>(result.data<T>(), x.data<T>(), scale.defined() ? scale.data<T>() : nullptr, shift.defined() ? shift.data<T>() : nullptr, x.numel() / size, size, eps);
  });
  return result;
}

void check_same_shape(const char* what, const std::optional<Tensor>& parameter, const Tensor& input, IntArrayRef normalized_shape) {
  if (!parameter || !parameter->defined()) return;
  TORCH_CHECK(parameter->sizes() == normalized_shape, "Expected ", what, " to be of same shape as normalized_shape, but got ", what, " of shape ", parameter->sizes(),
              " and normalized_shape = ", normalized_shape, "\n[layer_norm] each normalized element has one ", what, ".");
  TORCH_CHECK(parameter->scalar_type() == input.scalar_type(), "expected scalar type ", input.scalar_type(), " but found ", parameter->scalar_type(),
              "\n[layer_norm] input and ", what, " have one dtype; convert with to().");
}

void check_normalized_shape(const Tensor& input, IntArrayRef normalized_shape) {
  const std::size_t dims = normalized_shape.size();
  TORCH_CHECK(dims >= 1, "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got normalized_shape = ", normalized_shape);
  const IntArrayRef sizes = input.sizes();
  const bool fits = sizes.size() >= dims && IntArrayRef(sizes.data() + (sizes.size() - dims), dims) == normalized_shape;
  if (fits) return;
  std::string expected;
  for (const std::int64_t size : normalized_shape) expected += str(", ", size);
  TORCH_CHECK(false, "Given normalized_shape=", normalized_shape, ", expected input with shape [*", expected, "], but got input of size", sizes,
              "\n[layer_norm] the last sizes of the input are the normalized ones.");
}

}  // namespace

constinit Operator<Tensor(const Tensor&, IntArrayRef, const std::optional<Tensor>&, const std::optional<Tensor>&, double)> op::layer_norm(
    "layer_norm",
    {.cpu = layer_norm_cpu,
     .autograd = gradient_of<op::layer_norm>(
         [](const Tensor& g, Input<0> input, Arg<1, DimVector> shape, Input<2> weight, Arg<4, double> eps) {
           return layer_norm_backward(g, input, shape.value.size(), weight, eps.value);
         },
         [](const Tensor& g, Input<0> input, Arg<1, DimVector> shape, Arg<4, double> eps) { return g * op::layer_norm(input, IntArrayRef(shape.value), {}, {}, eps.value); },
         [](const Tensor& g) { return g; })});

Tensor layer_norm(const Tensor& input, IntArrayRef normalized_shape, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, double eps, bool) {
  check_normalized_shape(input, normalized_shape);
  check_same_shape("weight", weight, input, normalized_shape);
  check_same_shape("bias", bias, input, normalized_shape);
  return op::layer_norm(input, normalized_shape, weight, bias, eps);
}

// %%
//| export nn/layer_norm.cpp
void nn::LayerNormImpl::reset() {
  if (options.elementwise_affine()) {
    weight = register_parameter("weight", tinytorch::empty(options.normalized_shape()));
    bias = register_parameter("bias", tinytorch::empty(options.normalized_shape()));
  } else {
    weight = register_parameter("weight", Tensor(), /*requires_grad=*/false);
    bias = register_parameter("bias", Tensor(), /*requires_grad=*/false);
  }
  reset_parameters();
}

void nn::LayerNormImpl::reset_parameters() {
  const AutoDispatchBelowAutograd guard;
  if (weight.defined()) weight.fill_(1);
  if (bias.defined()) bias.fill_(0);
}

Tensor nn::LayerNormImpl::forward(const Tensor& input) { return layer_norm(input, options.normalized_shape(), weight, bias, options.eps()); }

void nn::LayerNormImpl::pretty_print(std::ostream& stream) const {
  stream << std::boolalpha << "torch::nn::LayerNorm(" << IntArrayRef(options.normalized_shape()) << ", eps=" << options.eps()
         << ", elementwise_affine=" << options.elementwise_affine() << ')';
}

// %%
//| lesson
// The gradient of sum(weights * f(x)) at x by central differences, element by element. x: contiguous, float64.
template <class F>
Tensor numerical_gradient(F f, const Tensor& x, const Tensor& weights) {
  const NoGradGuard no_grad;
  const Tensor moved = x.clone();
  const Tensor result = zeros(x.sizes(), x.options());
  constexpr double step = 1e-6;
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    double* const element = moved.data<double>() + i;
    const double before = *element;
    *element = before + step;
    const double above = (f(moved) * weights).sum().template item<double>();
    *element = before - step;
    const double below = (f(moved) * weights).sum().template item<double>();
    *element = before;
    result.data<double>()[i] = (above - below) / (2 * step);
  }
  return result;
}

// %% {"nbgrader": {"grade": true, "grade_id": "12-layer-norm-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("layer_norm: each row has mean 0 and variance 1, then weight and bias") {
  const double r = 1 / std::sqrt(2.0);
  CHECK_CLOSE(layer_norm(tensor({{1.0, 2.0, 3.0, 4.0}, {10.0, 10.0, 10.0, 10.0}}, kDouble), {4}, {}, {}, 0.75),
              tensor({{-1.5 * r, -0.5 * r, 0.5 * r, 1.5 * r}, {0.0, 0.0, 0.0, 0.0}}, kDouble), 1e-14, 1e-14);
  CHECK_CLOSE(layer_norm(tensor({1.0, 2.0, 3.0, 4.0}, kDouble), {4}, tensor({1.0, 2.0, 0.0, 4.0}, kDouble), tensor({0.0, 1.0, 7.0, 0.0}, kDouble), 0.75),
              tensor({-1.5 * r, 1 - r, 7.0, 6 * r}, kDouble), 1e-14, 1e-14);
  // A large mean loses no digits.
  CHECK_CLOSE(layer_norm(tensor({1e8 + 1, 1e8 + 2, 1e8 + 3, 1e8 + 4}, kDouble), {4}, {}, {}, 0.75), tensor({-1.5 * r, -0.5 * r, 0.5 * r, 1.5 * r}, kDouble), 1e-12, 1e-12);
  const Tensor two_dims = layer_norm(arange(12, kFloat).view({2, 2, 3}), {2, 3}, {}, {}, 0.0);
  CHECK_CLOSE(two_dims[0], two_dims[1], 1e-6, 1e-6);
  CHECK_CLOSE(two_dims[0].mean(), zeros({}), 0.0, 1e-6);
  CHECK_ERROR(layer_norm(zeros({2, 3}), {4}), "Given normalized_shape=[4], expected input with shape [*, 4], but got input of size[2, 3]");
  CHECK_ERROR(layer_norm(zeros({2, 3}), {3}, zeros({2})), "Expected weight to be of same shape as normalized_shape, but got weight of shape [2] and normalized_shape = [3]");
  // BEGIN HIDDEN TESTS
  CHECK_EQ(layer_norm(zeros({0, 3}), {3}).sizes(), IntArrayRef({0, 3}));
  CHECK_ERROR(layer_norm(zeros({2, 3}), IntArrayRef()), "Expected normalized_shape to be at least 1-dimensional");
  CHECK_ERROR(layer_norm(arange(3), {3}), "\"LayerNormKernelImpl\" not implemented for 'Long'");
  const Tensor turned = arange(6, kDouble).view({2, 3}).t();
  CHECK_CLOSE(layer_norm(turned, {2}), layer_norm(turned.contiguous(), {2}));
  // END HIDDEN TESTS
}

// %% {"nbgrader": {"grade": true, "grade_id": "12-layer-norm-backward-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("layer_norm: its gradient is what small changes do") {
  manual_seed(3);
  const Tensor x = randn({3, 5}, kDouble);
  const Tensor weight = randn({5}, kDouble);
  const Tensor bias = randn({5}, kDouble);
  const Tensor weights = randn({3, 5}, kDouble);
  const auto normalize = [&](const Tensor& input) { return layer_norm(input, {5}, weight, bias, 1e-3); };
  const Tensor leaf = x.clone().requires_grad_();
  (normalize(leaf) * weights).sum().backward();
  CHECK_CLOSE(leaf.grad(), numerical_gradient(normalize, x, weights), 1e-6, 1e-8);

  const Tensor plain = x.clone().requires_grad_();
  layer_norm(plain, {5}).sum().backward();
  CHECK_CLOSE(plain.grad(), zeros({3, 5}, kDouble), 0.0, 1e-12);

  const Tensor w = weight.clone().requires_grad_();
  const Tensor b = bias.clone().requires_grad_();
  (layer_norm(x, {5}, w, b, 1e-3) * weights).sum().backward();
  CHECK_CLOSE(b.grad(), weights.sum(0), 1e-12, 1e-12);
  CHECK_CLOSE(w.grad(), numerical_gradient([&](const Tensor& v) { return layer_norm(x, {5}, v, bias, 1e-3); }, weight, weights), 1e-6, 1e-8);
  // BEGIN HIDDEN TESTS
  const Tensor images = randn({2, 2, 3}, kDouble).requires_grad_();
  const Tensor factors = randn({2, 2, 3}, kDouble);
  (layer_norm(images, {2, 3}) * factors).sum().backward();
  CHECK_CLOSE(images.grad(), numerical_gradient([](const Tensor& v) { return layer_norm(v, {2, 3}); }, images.detach(), factors), 1e-5, 1e-7);
  // END HIDDEN TESTS
}

// %%
TEST_CASE("LayerNorm: parameters and text") {
  nn::LayerNorm norm(nn::LayerNormOptions({2, 3}).eps(2e-5));
  CHECK_EQ(norm->weight, ones({2, 3}));
  CHECK_EQ(norm->bias, zeros({2, 3}));
  CHECK_EQ(norm->parameters().size(), 2);
  CHECK_EQ(str(norm), "torch::nn::LayerNorm([2, 3], eps=2e-05, elementwise_affine=true)");
  nn::LayerNorm bare(nn::LayerNormOptions({3}).elementwise_affine(false));
  CHECK(bare->parameters().empty());
  const Tensor x = arange(6, kFloat).view({2, 3});
  CHECK_EQ(bare(x), nn::functional::layer_norm(x, nn::functional::LayerNormFuncOptions({3})));
}

// %% [markdown]
// RMSNorm (chapter 86) leaves the mean alone and divides by the root of the mean square: one pass over the row fewer, and no bias. It is what most models since LLaMA use; in a residual stream the mean carries little.

// %% [markdown]
// ### Which keys a query may see
//
// A language model must not look at the token it is asked to predict, so query `i` sees the keys `0 ... i`. Two things shift this simple triangle when a model is *used*:
//
// - with a cache, the queries are only the last few positions, while the keys are all positions so far: the triangle is aligned at its lower right corner;
// - with prompts of unequal length in one batch, the short ones are filled up on the left, and nobody may look at the filling.
//
//       3 queries, 5 keys (cache)          left padding 2, 4 positions        allowed: 1
//             k0 k1 k2 k3 k4                     k0 k1 k2 k3
//         q2   1  1  1  .  .                q0    1  .  .  .      a filled position sees itself: a softmax over
//         q3   1  1  1  1  .                q1    .  1  .  .      nothing would be 0/0, and NaN spreads through values
//         q4   1  1  1  1  1                q2    .  .  1  .
//                                           q3    .  .  1  1
//
// The mask is Bool, with `true` for "may be seen", as `scaled_dot_product_attention` takes it.

// %%
//| export models/gpt.h
namespace models {

// Bool, true where a query may see a key: the last `queries` of `keys` positions ask, and see the positions up to their own. Without `left_padding` (queries, keys). With it,
// a Long tensor (B) of how many positions at the left of each row are filling: (B, 1, queries, keys), where filling is seen by itself only. O(B queries keys).
Tensor attention_mask(std::int64_t queries, std::int64_t keys, const Tensor& left_padding = Tensor());

}  // namespace models

// %% {"nbgrader": {"grade": false, "grade_id": "12-attention-mask", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export models/gpt.cpp
// REQUIRES: 1 <= queries <= keys; left_padding is undefined or Long (B).
//
// TODO: Compare positions of keys with positions of queries, and with the filling.
// APPROACH: 1. k = arange(keys) as a row (1, keys); q = the positions keys - queries ... keys - 1 as a column (queries, 1). 2. seen = k <= q. 3. With padding: a key is real where
//           k >= left_padding, as (B, 1, 1); it is seen if seen and (real or k == q). 4. unsqueeze(1) for the heads.
// EXAMPLE: attention_mask(1, 3) is {{true, true, true}}: the newest position sees all.
// HINT: & and | work on Bool tensors and broadcast.
Tensor models::attention_mask(std::int64_t queries, std::int64_t keys, const Tensor& left_padding) {
  // BEGIN SOLUTION
  const Tensor k = arange(keys).unsqueeze(0);
  const Tensor q = arange(keys - queries, keys).unsqueeze(1);
  const Tensor seen = k <= q;
  if (!left_padding.defined()) return seen;
  const Tensor real = k >= left_padding.view({-1, 1, 1});
  return (seen & (real | (k == q))).unsqueeze(1);
  // END SOLUTION
}

// %%
//| mistake 12-attention-mask upper-left-corner
//| says The triangle begins at the first key. With a cache the queries are the *last* positions: query 0 stands at position keys - queries.
#if 0
Tensor models::attention_mask(std::int64_t queries, std::int64_t keys, const Tensor& left_padding) {
  const Tensor k = arange(keys).unsqueeze(0);
  const Tensor q = arange(queries).unsqueeze(1);
  const Tensor seen = k <= q;
  if (!left_padding.defined()) return seen;
  const Tensor real = k >= left_padding.view({-1, 1, 1});
  return (seen & (real | (k == q))).unsqueeze(1);
}
#endif

// %%
//| mistake 12-attention-mask rows-that-see-nothing
//| says A filled position sees no key at all. Its softmax is 0/0 = NaN, and in the next layer 0 * NaN is NaN for everyone. Let it see itself.
#if 0
Tensor models::attention_mask(std::int64_t queries, std::int64_t keys, const Tensor& left_padding) {
  const Tensor k = arange(keys).unsqueeze(0);
  const Tensor q = arange(keys - queries, keys).unsqueeze(1);
  const Tensor seen = k <= q;
  if (!left_padding.defined()) return seen;
  return (seen & (k >= left_padding.view({-1, 1, 1}))).unsqueeze(1);
}
#endif

// %%
//| mistake 12-attention-mask filling-is-text
//| says The filling at the left is seen as if it were text. A key is real only where its position is at least left_padding of its row.
#if 0
Tensor models::attention_mask(std::int64_t queries, std::int64_t keys, const Tensor& left_padding) {
  const Tensor seen = arange(keys).unsqueeze(0) <= arange(keys - queries, keys).unsqueeze(1);
  if (!left_padding.defined()) return seen;
  return seen.expand({left_padding.size(0), 1, queries, keys});
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "12-attention-mask-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("attention_mask: the last positions ask, and nobody reads the filling") {
  CHECK_EQ(models::attention_mask(3, 3), tensor({{1, 0, 0}, {1, 1, 0}, {1, 1, 1}}) == 1);
  CHECK_EQ(models::attention_mask(3, 5), tensor({{1, 1, 1, 0, 0}, {1, 1, 1, 1, 0}, {1, 1, 1, 1, 1}}) == 1);
  CHECK_EQ(models::attention_mask(1, 3), tensor({{1, 1, 1}}) == 1);
  const Tensor mask = models::attention_mask(4, 4, tensor({0, 2}));
  REQUIRE_EQ(mask.sizes(), IntArrayRef({2, 1, 4, 4}));
  CHECK_EQ(mask[0][0], models::attention_mask(4, 4));
  CHECK_EQ(mask[1][0], tensor({{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 1, 1}}) == 1);
  // BEGIN HIDDEN TESTS
  CHECK_EQ(models::attention_mask(1, 4, tensor({1}))[0][0], tensor({{0, 1, 1, 1}}) == 1);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Design: a cache that grows
//
// To write token `t + 1`, the model needs the keys and values of all `t` tokens before it. They do not change any more, because no position looks ahead. Computing them again for each token makes writing `n` tokens cost `O(n^2)` passes through the model's weights; keeping them makes it `O(n)`, for
// `2 L C` numbers of memory per token.
//
//       step        computed again                  with a cache
//        t=1        ■                                ■
//        t=2        ■ ■                              □ ■          □ read from the cache
//        t=3        ■ ■ ■                            □ □ ■        ■ computed
//        t=4        ■ ■ ■ ■                          □ □ □ ■
//
// The plain way to keep them, `cat(old, fresh)`, copies everything in every step: the time saved in the model comes back as copying, `O(n^2)` bytes. You decide how the memory is laid out and how it grows. The test judges what is returned, how many allocations are made, and how many bytes are held.

// %%
//| export models/key_value_cache.h
namespace models {

// The keys and values of one attention layer for the tokens so far. Keeps no graph: for use while recording is off.
class KeyValueCache {
 public:
  // Adds the keys and values (B, H, T, D) of T new positions. Returns those of all positions, (B, H, length(), D): views that stay as they are when more is
  // appended. n calls with one position each make O(log n) allocations and copy O(n) elements in all; never more than twice the bytes that are in use are held.
  std::pair<Tensor, Tensor> append(const Tensor& keys, const Tensor& values);
  // How many positions it holds.
  std::int64_t length() const { return length_; }
  // Row i becomes what row rows[i] was; rows: Long (new B). For beam search, where one continuation goes on from another's past.
  void reorder(const Tensor& rows);
  // The bytes of its storages.
  std::size_t bytes() const;

 private:
  Tensor keys_, values_;  // (B, H, capacity, D); undefined before the first append
  std::int64_t length_ = 0;
};

}  // namespace models

// %% {"nbgrader": {"grade": false, "grade_id": "12-cache-append", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export models/key_value_cache.cpp
//| exercise design
// Adds T positions of keys and values (B, H, T, D); the class above says what is returned, and at what cost.
//
// TODO: Keep what comes, grow rarely, and return views.
// APPROACH: yours. Where is there room, when is there none, and how much is asked for then? What of the old memory must be copied, and what do earlier views look at afterwards?
// EXAMPLE: after append of 3 positions and of 1, the results have 4 positions: the first three as they came first.
// HINT: narrow(2, start, length) is a view of some positions; copy_ writes into it. Capacity that doubles copies each element about twice over the whole run.
std::pair<Tensor, Tensor> models::KeyValueCache::append(const Tensor& keys, const Tensor& values) {
  // BEGIN SOLUTION
  const std::int64_t added = keys.size(2);
  const std::int64_t capacity = keys_.defined() ? keys_.size(2) : 0;
  if (length_ + added > capacity) {
    const std::int64_t room = std::max(length_ + added, 2 * length_);
    const auto grown = [&](const Tensor& old, const Tensor& like) {
      DimVector sizes(like.sizes());
      sizes[2] = room;
      const Tensor larger = empty(sizes, like.options());
      if (length_ > 0) larger.narrow(2, 0, length_).copy_(old.narrow(2, 0, length_));
      return larger;
    };
    keys_ = grown(keys_, keys);
    values_ = grown(values_, values);
  }
  keys_.narrow(2, length_, added).copy_(keys);
  values_.narrow(2, length_, added).copy_(values);
  length_ += added;
  return {keys_.narrow(2, 0, length_), values_.narrow(2, 0, length_)};
  // END SOLUTION
}

// %%
//| mistake 12-cache-append cat-every-time
//| says Each append makes a new storage and copies everything that was there: n tokens cost n^2 copies. Keep room for more, and double it when it is full.
#if 0
std::pair<Tensor, Tensor> models::KeyValueCache::append(const Tensor& keys, const Tensor& values) {
  keys_ = keys_.defined() ? cat({keys_, keys}, 2) : keys.clone();
  values_ = values_.defined() ? cat({values_, values}, 2) : values.clone();
  length_ = keys_.size(2);
  return {keys_, values_};
}
#endif

// %%
//| mistake 12-cache-append keeps-a-handle-on-the-input
//| says The first append keeps the caller's own tensor. When the caller changes it, the past changes: copy what comes.
#if 0
std::pair<Tensor, Tensor> models::KeyValueCache::append(const Tensor& keys, const Tensor& values) {
  const std::int64_t added = keys.size(2);
  if (!keys_.defined()) {
    keys_ = keys;
    values_ = values;
  } else if (length_ + added > keys_.size(2)) {
    const Tensor room = zeros({keys.size(0), keys.size(1), std::max(added, length_), keys.size(3)}, keys.options());
    keys_ = cat({keys_.narrow(2, 0, length_), room}, 2);
    values_ = cat({values_.narrow(2, 0, length_), room}, 2);
  }
  if (length_ > 0) {
    keys_.narrow(2, length_, added).copy_(keys);
    values_.narrow(2, length_, added).copy_(values);
  }
  length_ += added;
  return {keys_.narrow(2, 0, length_), values_.narrow(2, 0, length_)};
}
#endif

// %%
//| export models/key_value_cache.cpp
void models::KeyValueCache::reorder(const Tensor& rows) {
  if (!keys_.defined()) return;
  keys_ = keys_.index_select(0, rows);
  values_ = values_.index_select(0, rows);
}

std::size_t models::KeyValueCache::bytes() const { return keys_.defined() ? keys_.nbytes() + values_.nbytes() : 0; }

// %% {"nbgrader": {"grade": true, "grade_id": "12-cache-append-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("KeyValueCache: all positions in order, few allocations, little idle memory") {
  manual_seed(5);
  const Tensor keys = randn({2, 3, 64, 4});
  const Tensor values = randn({2, 3, 64, 4});
  models::KeyValueCache cache;
  const Tensor first = keys.narrow(2, 0, 3).clone();
  const auto [three, unused] = cache.append(first, values.narrow(2, 0, 3));
  CHECK_EQ(three, keys.narrow(2, 0, 3));
  first.fill_(0);
  const MemoryStats before = memory::stats();
  for (std::int64_t t = 3; t < 64; ++t) {
    const auto [k, v] = cache.append(keys.narrow(2, t, 1), values.narrow(2, t, 1));
    REQUIRE_EQ(k, keys.narrow(2, 0, t + 1));
    REQUIRE_EQ(v, values.narrow(2, 0, t + 1));
    REQUIRE_LE(cache.bytes(), 2 * (k.nbytes() + v.nbytes()));
  }
  CHECK_EQ(cache.length(), 64);
  CHECK_EQ(three, keys.narrow(2, 0, 3));  // handed out long ago, and still as it was
  models::KeyValueCache counted;
  std::size_t made = 0;
  for (std::int64_t t = 0; t < 64; ++t) {
    const std::size_t start = memory::stats().allocations;
    counted.append(keys.narrow(2, t, 1), values.narrow(2, t, 1));
    made += memory::stats().allocations - start;
  }
  CHECK_LE(made, 2 * 8);  // 1, 2, 4, ... 64, for keys and for values
  CHECK_GT(memory::stats().live, before.live);
  // BEGIN HIDDEN TESTS
  cache.reorder(tensor({1, 1, 0}));
  const auto [k, v] = cache.append(keys.index_select(0, tensor({1, 1, 0})).narrow(2, 0, 1), values.index_select(0, tensor({1, 1, 0})).narrow(2, 0, 1));
  CHECK_EQ(k.size(0), 3);
  CHECK_EQ(k[2].narrow(1, 0, 64), keys[0]);
  CHECK_EQ(v[1].narrow(1, 64, 1), values[1].narrow(1, 0, 1));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Attention for generation, and the block
//
// Module 11's attention on `(B, H, T, D)`; here it gets one projection for query, key and value together (one large product is faster than three small ones), and optionally a cache and a mask.
//
//       x (B, T, C) ──► c_attn ──► (B, T, 3C) ── split ──► q, k, v  (B, T, C) each
//                                                            │  view (B, T, H, D), transpose to (B, H, T, D):   a view may not reorder, so the
//                                                            ▼                                                  split comes first, then the transpose
//                                  cache.append(k, v) ──► attention (B, H, T, D) ──► transpose, reshape (B, T, C) ──► c_proj
//
// The *block* adds two such functions to the stream, each behind a normalization:
//
//       pre-norm (GPT-2 and later)                    post-norm (2017)
//       x = x + attention(norm1(x))                   x = norm1(x + attention(x))
//       x = x + mlp(norm2(x))                         x = norm2(x + mlp(x))
//       the road from end to start is a plain sum     the road passes through 2 L normalizations
//
// The feed-forward network is `C -> 4C -> gelu -> C`, the same at every position: two thirds of the weights are in it. Part 2 measures what pre-norm does for the gradient at depth. The modules and their names (`c_attn`, `c_proj`, `c_fc`, `wte`, `wpe`) are those of GPT-2, so that published weights find their places.

// %%
//| export models/gpt.h
namespace models {

// Settings of a GPT. Those of GPT-2: GPTOptions(50257, 1024).n_layer(12).n_head(12).n_embd(768).dropout(0.1).
struct GPTOptions {
  GPTOptions(std::int64_t vocab_size, std::int64_t block_size) : vocab_size_(vocab_size), block_size_(block_size) {}
  TORCH_ARG(std::int64_t, vocab_size);
  TORCH_ARG(std::int64_t, block_size);  // the longest text it can see, in tokens
  TORCH_ARG(std::int64_t, n_layer) = 4;
  TORCH_ARG(std::int64_t, n_head) = 4;
  TORCH_ARG(std::int64_t, n_embd) = 64;  // C, a multiple of n_head
  TORCH_ARG(double, dropout) = 0.0;
  TORCH_ARG(double, layer_norm_epsilon) = 1e-5;
  TORCH_ARG(bool, tie_weights) = true;  // the output layer is the token embedding, transposed
};

// Causal self-attention with H heads over (B, T, C), with a cache for generation.
class CausalSelfAttentionImpl : public nn::Cloneable<CausalSelfAttentionImpl> {
 public:
  explicit CausalSelfAttentionImpl(GPTOptions options_);
  void reset() override;
  // (B, T, C) -> (B, T, C). Each position sees itself and those before it; `mask`, as attention_mask() makes it, replaces this rule. With a `cache` the T positions follow those
  // in it, and are added to it; then T > 1 new positions after others need a mask. O(T S C + T C^2) for S positions in all.
  Tensor forward(const Tensor& x, const Tensor& mask = Tensor(), KeyValueCache* cache = nullptr);

  GPTOptions options;
  nn::Linear c_attn = nullptr, c_proj = nullptr;
  nn::Dropout resid_dropout = nullptr;
};
TORCH_MODULE(CausalSelfAttention);

// The feed-forward network: C -> 4 C -> gelu (by tanh, as GPT-2) -> C, for each position by itself.
class FeedForwardImpl : public nn::Cloneable<FeedForwardImpl> {
 public:
  explicit FeedForwardImpl(GPTOptions options_);
  void reset() override;
  Tensor forward(const Tensor& x);

  GPTOptions options;
  nn::Linear c_fc = nullptr, c_proj = nullptr;
  nn::Dropout dropout = nullptr;
};
TORCH_MODULE(FeedForward);

// One transformer block, pre-norm. Source: Radford et al. 2019; Xiong et al. 2020 on the place of the normalization.
class BlockImpl : public nn::Cloneable<BlockImpl> {
 public:
  explicit BlockImpl(GPTOptions options_);
  void reset() override;
  // (B, T, C) -> (B, T, C): x plus attention of norm 1, plus feed-forward of norm 2. `mask` and `cache` go to the attention.
  Tensor forward(const Tensor& x, const Tensor& mask = Tensor(), KeyValueCache* cache = nullptr);

  GPTOptions options;
  nn::LayerNorm ln_1 = nullptr, ln_2 = nullptr;
  CausalSelfAttention attn = nullptr;
  FeedForward mlp = nullptr;
};
TORCH_MODULE(Block);

}  // namespace models

// %%
//| export models/gpt.cpp
models::CausalSelfAttentionImpl::CausalSelfAttentionImpl(GPTOptions options_) : options(std::move(options_)) { CausalSelfAttentionImpl::reset(); }
models::FeedForwardImpl::FeedForwardImpl(GPTOptions options_) : options(std::move(options_)) { FeedForwardImpl::reset(); }
models::BlockImpl::BlockImpl(GPTOptions options_) : options(std::move(options_)) { BlockImpl::reset(); }

void models::CausalSelfAttentionImpl::reset() {
  const std::int64_t C = options.n_embd();
  TORCH_CHECK(options.n_head() > 0 && C % options.n_head() == 0, "embed_dim must be divisible by num_heads\n[CausalSelfAttention] n_embd is ", C, " and n_head is ",
              options.n_head(), "; choose n_embd as a multiple.");
  c_attn = register_module("c_attn", nn::Linear(C, 3 * C));
  c_proj = register_module("c_proj", nn::Linear(C, C));
  resid_dropout = register_module("resid_dropout", nn::Dropout(options.dropout()));
}

void models::FeedForwardImpl::reset() {
  const std::int64_t C = options.n_embd();
  c_fc = register_module("c_fc", nn::Linear(C, 4 * C));
  c_proj = register_module("c_proj", nn::Linear(4 * C, C));
  dropout = register_module("dropout", nn::Dropout(options.dropout()));
}

Tensor models::FeedForwardImpl::forward(const Tensor& x) { return dropout(c_proj(gelu(c_fc(x), "tanh"))); }

void models::BlockImpl::reset() {
  const auto norm = [&] { return nn::LayerNorm(nn::LayerNormOptions({options.n_embd()}).eps(options.layer_norm_epsilon())); };
  ln_1 = register_module("ln_1", norm());
  attn = register_module("attn", CausalSelfAttention(options));
  ln_2 = register_module("ln_2", norm());
  mlp = register_module("mlp", FeedForward(options));
}

// %% {"nbgrader": {"grade": false, "grade_id": "12-self-attention", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export models/gpt.cpp
// (B, T, C) -> (B, T, C): causal, or by `mask`; with a cache the new positions follow those in it.
//
// TODO: Project, cut into heads, append to the cache, attend, join the heads, project.
// APPROACH: 1. c_attn gives (B, T, 3C); split(C, 2) cuts it into query, key and value. 2. Each becomes (B, T, H, C / H) by view and (B, H, T, C / H) by transpose(1, 2). 3. With a cache,
//           keys and values are what append() returns. 4. scaled_dot_product_attention(query, key, value, mask, dropout, is_causal): causal when there is no mask
//           and the queries are all of the positions; one new position after others may see them all. 5. transpose(1, 2), reshape to (B, T, C), c_proj, resid_dropout.
// EXAMPLE: with C = 8 and two heads, head 0 sees features 0 to 3 of query, key and value.
// HINT: dropout belongs into training only: is_training() ? options.dropout() : 0.0. The mask parameter is an optional: an undefined tensor means none.
Tensor models::CausalSelfAttentionImpl::forward(const Tensor& x, const Tensor& mask, KeyValueCache* cache) {
  // BEGIN SOLUTION
  const std::int64_t B = x.size(0), T = x.size(1), C = x.size(2), H = options.n_head();
  const std::vector<Tensor> parts = c_attn(x).split(C, 2);
  const auto heads = [&](const Tensor& part) { return part.view({B, T, H, C / H}).transpose(1, 2); };
  const Tensor query = heads(parts[0]);
  Tensor key = heads(parts[1]);
  Tensor value = heads(parts[2]);
  if (cache != nullptr) std::tie(key, value) = cache->append(key, value);
  const bool causal = !mask.defined() && key.size(2) == T;
  const std::optional<Tensor> rule = mask.defined() ? std::optional<Tensor>(mask) : std::nullopt;
  const Tensor attended = scaled_dot_product_attention(query, key, value, rule, is_training() ? options.dropout() : 0.0, causal);
  return resid_dropout(c_proj(attended.transpose(1, 2).reshape({B, T, C})));
  // END SOLUTION
}

// %%
//| mistake 12-self-attention no-causal-mask
//| says A position sees what comes after it. In training the loss falls to nearly nothing, because the answer stands in the input; and what it writes is nonsense.
#if 0
Tensor models::CausalSelfAttentionImpl::forward(const Tensor& x, const Tensor& mask, KeyValueCache* cache) {
  const std::int64_t B = x.size(0), T = x.size(1), C = x.size(2), H = options.n_head();
  const std::vector<Tensor> parts = c_attn(x).split(C, 2);
  const auto heads = [&](const Tensor& part) { return part.view({B, T, H, C / H}).transpose(1, 2); };
  Tensor key = heads(parts[1]);
  Tensor value = heads(parts[2]);
  if (cache != nullptr) std::tie(key, value) = cache->append(key, value);
  const std::optional<Tensor> rule = mask.defined() ? std::optional<Tensor>(mask) : std::nullopt;
  const Tensor attended = scaled_dot_product_attention(heads(parts[0]), key, value, rule, is_training() ? options.dropout() : 0.0, false);
  return resid_dropout(c_proj(attended.transpose(1, 2).reshape({B, T, C})));
}
#endif

// %%
//| mistake 12-self-attention heads-by-view-alone
//| says view({B, H, T, C / H}) does not move a number: it cuts the text into H pieces instead of the features. View as (B, T, H, C / H), then transpose(1, 2).
#if 0
Tensor models::CausalSelfAttentionImpl::forward(const Tensor& x, const Tensor& mask, KeyValueCache* cache) {
  const std::int64_t B = x.size(0), T = x.size(1), C = x.size(2), H = options.n_head();
  const std::vector<Tensor> parts = c_attn(x).split(C, 2);
  const auto heads = [&](const Tensor& part) { return part.reshape({B, H, T, C / H}); };
  Tensor key = heads(parts[1]);
  Tensor value = heads(parts[2]);
  if (cache != nullptr) std::tie(key, value) = cache->append(key, value);
  const bool causal = !mask.defined() && key.size(2) == T;
  const std::optional<Tensor> rule = mask.defined() ? std::optional<Tensor>(mask) : std::nullopt;
  const Tensor attended = scaled_dot_product_attention(heads(parts[0]), key, value, rule, is_training() ? options.dropout() : 0.0, causal);
  return resid_dropout(c_proj(attended.reshape({B, T, C})));
}
#endif

// %%
//| mistake 12-self-attention frozen-attention
//| says The scores are computed from detached queries and keys, so where to look is never learned: the gradient of two thirds of c_attn is 0.
#if 0
Tensor models::CausalSelfAttentionImpl::forward(const Tensor& x, const Tensor& mask, KeyValueCache* cache) {
  const std::int64_t B = x.size(0), T = x.size(1), C = x.size(2), H = options.n_head();
  const std::vector<Tensor> parts = c_attn(x).split(C, 2);
  const auto heads = [&](const Tensor& part) { return part.view({B, T, H, C / H}).transpose(1, 2); };
  Tensor key = heads(parts[1]).detach();
  Tensor value = heads(parts[2]);
  if (cache != nullptr) std::tie(key, value) = cache->append(key, value);
  const bool causal = !mask.defined() && key.size(2) == T;
  const std::optional<Tensor> rule = mask.defined() ? std::optional<Tensor>(mask) : std::nullopt;
  const Tensor attended = scaled_dot_product_attention(heads(parts[0]).detach(), key, value, rule, is_training() ? options.dropout() : 0.0, causal);
  return resid_dropout(c_proj(attended.transpose(1, 2).reshape({B, T, C})));
}
#endif

// %%
//| lesson
// Parameters that are far from their small initial values, so that every part of a model shows in its results.
void make_lively(const nn::Module& module) {
  const NoGradGuard no_grad;
  for (const Tensor& parameter : module.parameters()) parameter.normal_(parameter.dim() == 1 ? 0.2 : 0.0, 0.5);
}

models::GPTOptions tiny_options() { return models::GPTOptions(11, 8).n_layer(2).n_head(2).n_embd(8); }

// %% {"nbgrader": {"grade": true, "grade_id": "12-self-attention-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("self-attention: heads by hand, nothing from the future, and a cache that changes nothing") {
  manual_seed(6);
  models::CausalSelfAttention attention(tiny_options());
  make_lively(*attention);
  const Tensor x = randn({2, 5, 8}).requires_grad_();
  const Tensor y = attention(x);
  REQUIRE_EQ(y.sizes(), IntArrayRef({2, 5, 8}));

  // The first sentence, head by head, row by row.
  const Tensor qkv = linear(x[0], attention->c_attn->weight, attention->c_attn->bias);
  std::vector<Tensor> heads;
  for (std::int64_t h = 0; h < 2; ++h) {
    const Tensor q = qkv.narrow(1, 4 * h, 4), k = qkv.narrow(1, 8 + 4 * h, 4), v = qkv.narrow(1, 16 + 4 * h, 4);
    const Tensor scores = q.mm(k.t()) / 2;
    heads.push_back(softmax(scores.masked_fill(models::attention_mask(5, 5) == 0, -std::numeric_limits<double>::infinity()), 1).mm(v));
  }
  CHECK_CLOSE(y[0], linear(cat(heads, 1), attention->c_proj->weight, attention->c_proj->bias), 1e-4, 1e-5);

  y.pow(2).sum().backward();
  const Tensor& grad = attention->c_attn->weight.grad();
  for (std::int64_t part = 0; part < 3; ++part) CHECK_GT(grad.narrow(0, 8 * part, 8).abs().sum().item<double>(), 1e-3);

  const NoGradGuard no_grad;
  const Tensor changed = x.detach().clone();
  changed.select(1, 4).fill_(3);
  CHECK_CLOSE(attention(changed).narrow(1, 0, 4), y.detach().narrow(1, 0, 4), 1e-5, 1e-6);

  models::KeyValueCache cache;
  std::vector<Tensor> pieces = {attention(x.narrow(1, 0, 2), Tensor(), &cache)};
  pieces.push_back(attention(x.narrow(1, 2, 2), models::attention_mask(2, 4), &cache));
  pieces.push_back(attention(x.narrow(1, 4, 1), Tensor(), &cache));
  CHECK_CLOSE(cat(pieces, 1), y.detach(), 1e-4, 1e-5);
  // BEGIN HIDDEN TESTS
  CHECK_EQ(cache.length(), 5);
  CHECK_ERROR(models::CausalSelfAttention(tiny_options().n_head(3)), "embed_dim must be divisible by num_heads");
  models::CausalSelfAttention dropping(tiny_options().dropout(0.5));
  CHECK(!equal(dropping(x), dropping(x)));
  dropping->eval();
  CHECK_EQ(dropping(x), dropping(x));
  // END HIDDEN TESTS
}

// %% {"nbgrader": {"grade": false, "grade_id": "12-block", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export models/gpt.cpp
// (B, T, C) -> (B, T, C): x + attention of its norm, and to that + feed-forward of its norm.
//
// TODO: Two additions to the stream.
// APPROACH: x plus attn of ln_1 of x (with mask and cache), and that plus mlp of its own ln_2.
// EXAMPLE: with all weights of both c_proj layers and their biases 0, a block returns x itself.
Tensor models::BlockImpl::forward(const Tensor& x, const Tensor& mask, KeyValueCache* cache) {
  // BEGIN SOLUTION
  const Tensor mixed = x + attn(ln_1(x), mask, cache);
  return mixed + mlp(ln_2(mixed));
  // END SOLUTION
}

// %%
//| mistake 12-block no-residual
//| says The stream is replaced instead of added to: what earlier blocks found is gone, and the gradient has no straight road back.
#if 0
Tensor models::BlockImpl::forward(const Tensor& x, const Tensor& mask, KeyValueCache* cache) {
  const Tensor mixed = attn(ln_1(x), mask, cache);
  return mlp(ln_2(mixed));
}
#endif

// %%
//| mistake 12-block post-norm
//| says The normalization stands behind the sum (as in 2017). GPT-2 normalizes what goes into attention and feed-forward, and leaves the stream itself alone.
#if 0
Tensor models::BlockImpl::forward(const Tensor& x, const Tensor& mask, KeyValueCache* cache) {
  const Tensor mixed = ln_1(x + attn(x, mask, cache));
  return ln_2(mixed + mlp(mixed));
}
#endif

// %%
//| mistake 12-block feeds-forward-the-old-stream
//| says The feed-forward network reads x instead of what attention just added: it thinks about each position without having heard the others.
#if 0
Tensor models::BlockImpl::forward(const Tensor& x, const Tensor& mask, KeyValueCache* cache) {
  return x + attn(ln_1(x), mask, cache) + mlp(ln_2(x));
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "12-block-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("block: adds to the stream, attention first") {
  manual_seed(7);
  models::Block block(tiny_options());
  make_lively(*block);
  const Tensor x = randn({2, 3, 8});
  const Tensor mixed = x + block->attn(block->ln_1(x));
  CHECK_CLOSE(block(x), mixed + block->mlp(block->ln_2(mixed)), 1e-5, 1e-5);
  {
    const NoGradGuard no_grad;
    for (const Tensor& parameter : {block->attn->c_proj->weight, block->attn->c_proj->bias, block->mlp->c_proj->weight, block->mlp->c_proj->bias}) parameter.zero_();
  }
  CHECK_EQ(block(x), x);
  // BEGIN HIDDEN TESTS
  CHECK_CLOSE(block->mlp->forward(x), zeros({2, 3, 8}));
  CHECK_EQ(block->named_parameters().keys(), (std::vector<std::string>{"ln_1.weight", "ln_1.bias", "attn.c_attn.weight", "attn.c_attn.bias", "attn.c_proj.weight",
                                              "attn.c_proj.bias", "ln_2.weight", "ln_2.bias", "mlp.c_fc.weight", "mlp.c_fc.bias", "mlp.c_proj.weight", "mlp.c_proj.bias"}));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### GPT
//
// What is left: tokens become vectors, positions are added (attention alone does not know order: it is a sum), the blocks follow, a last normalization, and the logits.
//
//       tokens (B, T)       wte: (V, C)                    positions: 0 1 2 ... T-1
//          2  7  1    ──►   row 2, row 7, row 1     +      wpe: rows 0, 1, 2              with a cache of 5: rows 5, 6, 7
//                                                                                         with left padding 1: rows 0, 0, 1
//       logits (B, T, V) = x (B, T, C)  @  wte^T (C, V)    "which token's vector does the stream point at?"
//
// *Weight tying* uses the token embedding as the output layer: one matrix less (at GPT-2's size 38 of 163 million parameters), and each row gets gradients from both uses. Autograd adds them; nothing else is needed, as long as both uses see *one tensor*.
//
// **Initialization.** All matrices are drawn with standard deviation 0.02, so the first logits are nearly equal and the first loss is `ln V`: a number to check before training anything. The projections that write into the residual stream are drawn smaller, by `1 / sqrt(2 L)`: `2 L` of them add up, and
// variances add, so the stream stays near its size at any depth.

// %%
//| export models/gpt.h
namespace models {

// What GPT keeps between calls while it generates: a cache for each block.
struct GPTCache {
  explicit GPTCache(std::int64_t n_layer) : layers(static_cast<std::size_t>(n_layer)) {}
  std::int64_t length() const { return layers.empty() ? 0 : layers.front().length(); }
  void reorder(const Tensor& rows);
  std::size_t bytes() const;
  std::vector<KeyValueCache> layers;
};

// A decoder-only transformer: GPT-2's, at any size. Names of parameters as in GPT-2 (without the prefix "transformer."); weights are (out, in) as in Linear.
// Source: Radford et al. 2019, Language Models are Unsupervised Multitask Learners.
class GPTImpl : public nn::Cloneable<GPTImpl> {
 public:
  explicit GPTImpl(GPTOptions options_);
  void reset() override;
  // Draws all parameters anew, as GPT-2 does.
  void init_weights();
  void pretty_print(std::ostream& stream) const override;
  // tokens (B, T), Long -> logits (B, T, vocab_size) for the token after each. `cache` and `left_padding` as in features().
  Tensor forward(const Tensor& tokens, GPTCache* cache = nullptr, const Tensor& left_padding = Tensor());
  // The stream after the last normalization, (B, T, n_embd). With a `cache` (recording off) the T tokens follow those in it. left_padding, Long (B): how many columns at the
  // left of each row, counted from the first column that the cache has seen, are filling. At most block_size columns in all.
  Tensor features(const Tensor& tokens, GPTCache* cache = nullptr, const Tensor& left_padding = Tensor());
  // (..., n_embd) -> (..., vocab_size).
  Tensor logits(const Tensor& hidden);
  // The mean cross entropy of forward(tokens) against the next tokens (B, T). -100 as a target is left out.
  Tensor loss(const Tensor& tokens, const Tensor& targets);
  std::int64_t num_parameters() const;

  GPTOptions options;
  nn::Embedding wte = nullptr, wpe = nullptr;
  nn::Dropout drop = nullptr;
  nn::ModuleList h = nullptr;
  nn::LayerNorm ln_f = nullptr;
  nn::Linear lm_head = nullptr;  // empty with tied weights
};
TORCH_MODULE(GPT);

// The parameters of `module` in two groups for AdamW: those of two or more dimensions, with the weight decay of `defaults`, and the others, without.
std::vector<optim::OptimizerParamGroup> decay_groups(const nn::Module& module, const optim::AdamWOptions& defaults);

}  // namespace models

// %%
//| export models/gpt.cpp
void models::GPTCache::reorder(const Tensor& rows) {
  for (KeyValueCache& layer : layers) layer.reorder(rows);
}

std::size_t models::GPTCache::bytes() const {
  std::size_t sum = 0;
  for (const KeyValueCache& layer : layers) sum += layer.bytes();
  return sum;
}

models::GPTImpl::GPTImpl(GPTOptions options_) : options(std::move(options_)) { GPTImpl::reset(); }

void models::GPTImpl::reset() {
  wte = register_module("wte", nn::Embedding(options.vocab_size(), options.n_embd()));
  wpe = register_module("wpe", nn::Embedding(options.block_size(), options.n_embd()));
  drop = register_module("drop", nn::Dropout(options.dropout()));
  h = register_module("h", nn::ModuleList());
  for (std::int64_t i = 0; i < options.n_layer(); ++i) h->push_back(Block(options));
  ln_f = register_module("ln_f", nn::LayerNorm(nn::LayerNormOptions({options.n_embd()}).eps(options.layer_norm_epsilon())));
  if (!options.tie_weights()) lm_head = register_module("lm_head", nn::Linear(nn::LinearOptions(options.n_embd(), options.vocab_size()).bias(false)));
  init_weights();
}

void models::GPTImpl::pretty_print(std::ostream& stream) const {
  stream << "GPT(vocab_size=" << options.vocab_size() << ", block_size=" << options.block_size() << ", n_layer=" << options.n_layer() << ", n_head=" << options.n_head()
         << ", n_embd=" << options.n_embd() << ')';
}

std::int64_t models::GPTImpl::num_parameters() const {
  std::int64_t count = 0;
  for (const Tensor& parameter : parameters()) count += parameter.numel();
  return count;
}

Tensor models::GPTImpl::forward(const Tensor& tokens, GPTCache* cache, const Tensor& left_padding) { return logits(features(tokens, cache, left_padding)); }

Tensor models::GPTImpl::loss(const Tensor& tokens, const Tensor& targets) {
  return cross_entropy_loss(forward(tokens).view({-1, options.vocab_size()}), targets.reshape({-1}));
}

std::vector<optim::OptimizerParamGroup> models::decay_groups(const nn::Module& module, const optim::AdamWOptions& defaults) {
  std::vector<Tensor> matrices, others;
  for (const Tensor& parameter : module.parameters()) (parameter.dim() >= 2 ? matrices : others).push_back(parameter);
  std::vector<optim::OptimizerParamGroup> groups;
  groups.emplace_back(matrices, std::make_unique<optim::AdamWOptions>(defaults));
  groups.emplace_back(others, std::make_unique<optim::AdamWOptions>(optim::AdamWOptions(defaults).weight_decay(0)));
  return groups;
}

// %% {"nbgrader": {"grade": false, "grade_id": "12-init", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export models/gpt.cpp
// Draws all matrices with GPT-2's standard deviations, in the order of named_parameters(), below autograd.
//
// TODO: Go through named_parameters() in order and fill each by its name and dimensions.
// APPROACH: two or more dimensions: init::normal_ with mean 0 and standard deviation 0.02, or 0.02 / sqrt(2 n_layer) where the name ends in "c_proj.weight". Names that end in ".bias": zeros.
//           The one-dimensional weights (of the normalizations): ones.
// EXAMPLE: with 8 layers h.3.mlp.c_proj.weight has standard deviation 0.02 / 4 = 0.005.
// HINT: fill_ of a parameter needs recording off.
void models::GPTImpl::init_weights() {
  // BEGIN SOLUTION
  const NoGradGuard no_grad;
  const double residual = 0.02 / std::sqrt(2.0 * static_cast<double>(options.n_layer()));
  for (const auto& item : named_parameters()) {
    if (item.value().dim() >= 2) {
      nn::init::normal_(item.value(), 0, item.key().ends_with("c_proj.weight") ? residual : 0.02);
    } else {
      item.value().fill_(item.key().ends_with(".bias") ? 0 : 1);
    }
  }
  // END SOLUTION
}

// %%
//| mistake 12-init all-the-same
//| says The projections into the residual stream (c_proj) are as large as all others. 2 L of them add up: draw them smaller by sqrt(2 L).
#if 0
void models::GPTImpl::init_weights() {
  const NoGradGuard no_grad;
  for (const auto& item : named_parameters()) {
    if (item.value().dim() >= 2) nn::init::normal_(item.value(), 0, 0.02);
    else item.value().fill_(item.key().ends_with(".bias") ? 0 : 1);
  }
}
#endif

// %%
//| mistake 12-init embeddings-as-they-were
//| says The embeddings kept the standard deviation of 1 with which Embedding is born. They are the output layer, too: the first logits are then large and the first loss far above ln V.
#if 0
void models::GPTImpl::init_weights() {
  const NoGradGuard no_grad;
  const double residual = 0.02 / std::sqrt(2.0 * static_cast<double>(options.n_layer()));
  for (const auto& item : named_parameters()) {
    if (item.key().starts_with("w")) continue;
    if (item.value().dim() >= 2) nn::init::normal_(item.value(), 0, item.key().ends_with("c_proj.weight") ? residual : 0.02);
    else item.value().fill_(item.key().ends_with(".bias") ? 0 : 1);
  }
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "12-init-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("initialization: 0.02, smaller into the stream, ones and zeros") {
  manual_seed(8);
  models::GPT model(models::GPTOptions(50, 16).n_layer(8).n_head(2).n_embd(32));
  const auto parameters = model->named_parameters();
  const auto spread = [&](const char* name) { return parameters[name].detach().to(kDouble).pow(2).mean().sqrt().item<double>(); };
  CHECK_CLOSE(spread("wte.weight"), 0.02, 0.1, 0.0);
  CHECK_CLOSE(spread("wpe.weight"), 0.02, 0.1, 0.0);
  CHECK_CLOSE(spread("h.3.attn.c_attn.weight"), 0.02, 0.1, 0.0);
  CHECK_CLOSE(spread("h.3.attn.c_proj.weight"), 0.005, 0.1, 0.0);
  CHECK_CLOSE(spread("h.7.mlp.c_proj.weight"), 0.005, 0.1, 0.0);
  CHECK_EQ(parameters["h.0.attn.c_attn.bias"].detach(), zeros({96}));
  CHECK_EQ(parameters["ln_f.weight"].detach(), ones({32}));
  // BEGIN HIDDEN TESTS
  CHECK_EQ(parameters["ln_f.bias"].detach(), zeros({32}));
  CHECK_EQ(model->num_parameters(), 50 * 32 + 16 * 32 + 8 * (12 * 32 * 32 + 13 * 32) + 2 * 32);
  // END HIDDEN TESTS
}

// %% {"nbgrader": {"grade": false, "grade_id": "12-features", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export models/gpt.cpp
// (B, T) tokens -> (B, T, n_embd), the normalized stream. Throws for tokens that are no rectangle, a cache while recording, and more columns than block_size.
//
// TODO: Check, embed tokens and positions, go through the blocks, normalize.
// APPROACH: 1. tokens have two dimensions; a cache needs recording off; start = cache->length() or 0, and start + T must fit into block_size. 2. Positions start ... start + T - 1, (T); with padding minus
//           left_padding (B, 1), not below 0, (B, T). 3. A mask is needed with padding, and where T > 1 tokens follow others; else leave it undefined. 4. drop of wte + wpe, each block
//           with its own layer of the cache, ln_f.
// EXAMPLE: features(tokens of 3 columns) and then features(1 column, the same cache) gives what the last column of 4 gives.
// HINT: Block(h->ptr<BlockImpl>(i)) is a handle on block i, which is called like any other; clamp_min(0).
Tensor models::GPTImpl::features(const Tensor& tokens, GPTCache* cache, const Tensor& left_padding) {
  // BEGIN SOLUTION
  TORCH_CHECK(tokens.dim() == 2, "GPT expects tokens of shape (batch, time), but got ", tokens.sizes(), "\n[GPT] unsqueeze(0) makes a batch of one text.");
  TORCH_CHECK(cache == nullptr || !GradMode::is_enabled(), "a cache keeps no graph\n[GPT] generate under a NoGradGuard, or train without a cache.");
  const std::int64_t T = tokens.size(1);
  const std::int64_t start = cache != nullptr ? cache->length() : 0;
  TORCH_CHECK(start + T <= options.block_size(), "Cannot forward sequence of length ", start + T, ", block size is only ", options.block_size(),
              "\n[GPT] cut the text to its last ", options.block_size(), " tokens.");
  Tensor positions = arange(start, start + T);
  if (left_padding.defined()) positions = (positions.unsqueeze(0) - left_padding.unsqueeze(1)).clamp_min(0);
  Tensor mask;
  if (left_padding.defined() || (start > 0 && T > 1)) mask = attention_mask(T, start + T, left_padding);
  Tensor x = drop(wte(tokens) + wpe(positions));
  for (std::size_t i = 0; i < h->size(); ++i) x = Block(h->ptr<BlockImpl>(i))(x, mask, cache != nullptr ? &cache->layers[i] : nullptr);
  return ln_f(x);
  // END SOLUTION
}

// %%
//| mistake 12-features no-positions
//| says Positions are not added: the model cannot tell "dog bites man" from "man bites dog" by anything but the causal mask.
#if 0
Tensor models::GPTImpl::features(const Tensor& tokens, GPTCache* cache, const Tensor& left_padding) {
  TORCH_CHECK(tokens.dim() == 2, "GPT expects tokens of shape (batch, time), but got ", tokens.sizes());
  TORCH_CHECK(cache == nullptr || !GradMode::is_enabled(), "a cache keeps no graph");
  const std::int64_t T = tokens.size(1);
  const std::int64_t start = cache != nullptr ? cache->length() : 0;
  TORCH_CHECK(start + T <= options.block_size(), "Cannot forward sequence of length ", start + T, ", block size is only ", options.block_size());
  Tensor mask;
  if (left_padding.defined() || (start > 0 && T > 1)) mask = attention_mask(T, start + T, left_padding);
  Tensor x = drop(wte(tokens));
  for (std::size_t i = 0; i < h->size(); ++i) x = Block(h->ptr<BlockImpl>(i))(x, mask, cache != nullptr ? &cache->layers[i] : nullptr);
  return ln_f(x);
}
#endif

// %%
//| mistake 12-features positions-begin-again
//| says With a cache the positions start at 0 again. The new token stands behind those in the cache: count from cache->length().
#if 0
Tensor models::GPTImpl::features(const Tensor& tokens, GPTCache* cache, const Tensor& left_padding) {
  TORCH_CHECK(tokens.dim() == 2, "GPT expects tokens of shape (batch, time), but got ", tokens.sizes());
  TORCH_CHECK(cache == nullptr || !GradMode::is_enabled(), "a cache keeps no graph");
  const std::int64_t T = tokens.size(1);
  const std::int64_t start = cache != nullptr ? cache->length() : 0;
  TORCH_CHECK(start + T <= options.block_size(), "Cannot forward sequence of length ", start + T, ", block size is only ", options.block_size());
  Tensor positions = arange(T);
  if (left_padding.defined()) positions = (positions.unsqueeze(0) - left_padding.unsqueeze(1)).clamp_min(0);
  Tensor mask;
  if (left_padding.defined() || (start > 0 && T > 1)) mask = attention_mask(T, start + T, left_padding);
  Tensor x = drop(wte(tokens) + wpe(positions));
  for (std::size_t i = 0; i < h->size(); ++i) x = Block(h->ptr<BlockImpl>(i))(x, mask, cache != nullptr ? &cache->layers[i] : nullptr);
  return ln_f(x);
}
#endif

// %%
//| export models/gpt.cpp
Tensor models::GPTImpl::logits(const Tensor& hidden) { return lm_head.is_empty() ? linear(hidden, wte->weight) : lm_head(hidden); }

// %% {"nbgrader": {"grade": true, "grade_id": "12-features-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("GPT: order matters, the future does not, and cached logits equal recomputed ones") {
  manual_seed(9);
  models::GPT model(tiny_options());
  make_lively(*model);
  model->eval();
  const NoGradGuard no_grad;
  const Tensor tokens = tensor({{3, 1, 4, 1, 5, 9, 2}, {2, 7, 1, 8, 2, 8, 1}});
  const Tensor full_logits = model(tokens);
  REQUIRE_EQ(full_logits.sizes(), IntArrayRef({2, 7, 11}));
  CHECK(!allclose(model(tensor({{5, 5, 5}}))[0][0], model(tensor({{5, 5, 5}}))[0][2], 1e-2, 1e-2));  // one token, three times: only positions differ

  const Tensor other_end = tokens.clone();
  other_end.select(1, 6).fill_(0);
  CHECK_CLOSE(model(other_end).narrow(1, 0, 6), full_logits.narrow(1, 0, 6), 1e-4, 1e-5);

  models::GPTCache cache(2);
  CHECK_CLOSE(model(tokens.narrow(1, 0, 3), &cache), full_logits.narrow(1, 0, 3), 1e-4, 1e-5);
  CHECK_CLOSE(model(tokens.narrow(1, 3, 1), &cache), full_logits.narrow(1, 3, 1), 1e-4, 1e-5);
  CHECK_CLOSE(model(tokens.narrow(1, 4, 3), &cache), full_logits.narrow(1, 4, 3), 1e-4, 1e-5);

  // Two columns of filling change nothing for the text behind them, with a cache or without.
  const Tensor filled = cat({zeros({2, 1}, kLong), tokens}, 1);
  const Tensor padding = tensor({1, 1});
  CHECK_CLOSE(model(filled, nullptr, padding).narrow(1, 1, 7), full_logits, 1e-4, 1e-5);
  models::GPTCache padded(2);
  model(filled.narrow(1, 0, 4), &padded, padding);
  CHECK_CLOSE(model(filled.narrow(1, 4, 4), &padded, padding), full_logits.narrow(1, 3, 4), 1e-4, 1e-5);

  CHECK_ERROR(model(zeros({1, 9}, kLong)), "Cannot forward sequence of length 9, block size is only 8");
  CHECK_ERROR(model(zeros({3}, kLong)), "GPT expects tokens of shape (batch, time), but got [3]");
  // BEGIN HIDDEN TESTS
  CHECK_ERROR(model(zeros({1, 2}, kLong), &padded), "Cannot forward sequence of length 10");
  {
    const AutoGradMode recording(true);
    models::GPTCache fresh(2);
    CHECK_ERROR(model(tokens, &fresh), "a cache keeps no graph");
  }
  models::GPT untied(tiny_options().tie_weights(false));
  CHECK_EQ(untied->num_parameters(), model->num_parameters() + 11 * 8);
  CHECK_EQ(model->clone()->parameters().size(), model->parameters().size());
  // END HIDDEN TESTS
}

// %%
TEST_CASE("GPT: the first loss is ln V, and a tied matrix gets both gradients") {
  manual_seed(10);
  models::GPT model(models::GPTOptions(40, 16).n_layer(2).n_head(2).n_embd(16));
  const Tensor tokens = randint(0, 40, {4, 16});
  const Tensor targets = randint(0, 40, {4, 16});
  CHECK_CLOSE(model->loss(tokens, targets).item<double>(), std::log(40.0), 0.02, 0.0);
  // Token 39 does not occur in the input; its row still has a gradient, from the output.
  model->zero_grad();
  model->loss(zeros({1, 4}, kLong), full({1, 4}, 39, kLong)).backward();
  CHECK_GT(model->wte->weight.grad()[39].abs().sum().item<double>(), 0.0);
  CHECK_GT(model->wte->weight.grad()[0].abs().sum().item<double>(), 0.0);
}

// %% [markdown]
// ### Debug: a loss that is too good
//
// Training data for a language model is one long line of tokens. A batch is `B` windows of it, and the targets are the same windows, one token later:
//
//       text       t h e   c a t   s a t
//       tokens     t h e   c a t            position i of the input ...
//       targets    h e   c a t   s          ... is asked for token i + 1
//
// A colleague's training falls from 4.6 to 0.01 within a hundred steps. What the model writes is `aaaaaaaa`, or whatever letter you begin with. Here is how the windows were cut:

// %%
//| lesson
// As found: (inputs, targets), each (batch, length), from random places of `tokens`.
std::pair<Tensor, Tensor> windows_as_found(const Tensor& tokens, std::int64_t batch, std::int64_t length) {
  const Tensor starts = randint(0, tokens.size(0) - length, {batch});
  const Tensor rows = starts.unsqueeze(1) + arange(length).unsqueeze(0);
  const Tensor windows = tokens.index_select(0, rows.view({-1})).view({batch, length});
  return {windows, windows};
}

// %%
//| export models/language_data.h
namespace models {

// Training examples for a language model: (inputs, targets), Long (batch, length) each, cut from random places of `tokens`, Long (N). targets[i][j] is the token after
// inputs[i][j]. Each of the N - length places is equally likely; they are drawn by one randint from the default generator. REQUIRES: N > length.
std::pair<Tensor, Tensor> random_windows(const Tensor& tokens, std::int64_t batch, std::int64_t length);

}  // namespace models

// %% {"nbgrader": {"grade": false, "grade_id": "12-debug-windows", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export models/language_data.cpp
//| exercise debug
// (inputs, targets) of `length` tokens from `batch` random places; targets are one token ahead. Throws if `tokens` is too short.
//
// TODO: Write the windows so that there is something to predict.
// APPROACH: what does the function above ask the model to predict, and what does the model see? Which is the last place where a window and its target still fit?
// HINT: the residual stream and the tied output layer can copy the input token without any attention.
std::pair<Tensor, Tensor> models::random_windows(const Tensor& tokens, std::int64_t batch, std::int64_t length) {
  // BEGIN SOLUTION
  TORCH_CHECK(tokens.dim() == 1 && tokens.size(0) > length, "windows of ", length, " tokens and their targets need more than ", length, " tokens in a line, but got ", tokens.sizes(),
              "\n[random_windows] take a longer text or shorter windows.");
  const Tensor starts = randint(0, tokens.size(0) - length, {batch});
  const Tensor rows = (starts.unsqueeze(1) + arange(length).unsqueeze(0)).view({-1});
  return {tokens.index_select(0, rows).view({batch, length}), tokens.index_select(0, rows + 1).view({batch, length})};
  // END SOLUTION
}

// %%
//| mistake 12-debug-windows one-token-back
//| says The targets are the tokens *before* the inputs: the model learns to say what it has just read. The target of position i is token i + 1.
#if 0
std::pair<Tensor, Tensor> models::random_windows(const Tensor& tokens, std::int64_t batch, std::int64_t length) {
  TORCH_CHECK(tokens.dim() == 1 && tokens.size(0) > length, "windows of ", length, " tokens and their targets need more than ", length, " tokens in a line");
  const Tensor starts = randint(0, tokens.size(0) - length, {batch});
  const Tensor rows = (starts.unsqueeze(1) + arange(length).unsqueeze(0)).view({-1});
  return {tokens.index_select(0, rows + 1).view({batch, length}), tokens.index_select(0, rows).view({batch, length})};
}
#endif

// %%
//| mistake 12-debug-windows the-last-window-is-never-seen
//| says One place too few: windows may begin at 0 ... N - length - 1, and randint leaves out its upper bound already.
#if 0
std::pair<Tensor, Tensor> models::random_windows(const Tensor& tokens, std::int64_t batch, std::int64_t length) {
  TORCH_CHECK(tokens.dim() == 1 && tokens.size(0) > length, "windows of ", length, " tokens and their targets need more than ", length, " tokens in a line");
  const Tensor starts = randint(0, std::max<std::int64_t>(tokens.size(0) - length - 1, 1), {batch});
  const Tensor rows = (starts.unsqueeze(1) + arange(length).unsqueeze(0)).view({-1});
  return {tokens.index_select(0, rows).view({batch, length}), tokens.index_select(0, rows + 1).view({batch, length})};
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "12-debug-windows-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("debug: the targets are one token ahead") {
  manual_seed(11);
  const Tensor tokens = arange(7) * 10;
  const auto [same, copied] = windows_as_found(tokens, 2, 3);
  CHECK_EQ(same, copied);
  const auto [inputs, targets] = models::random_windows(tokens, 64, 4);
  REQUIRE_EQ(inputs.sizes(), IntArrayRef({64, 4}));
  CHECK_EQ(targets, inputs + 10);
  CHECK_EQ(inputs.select(1, 0).amin().item<std::int64_t>(), 0);
  CHECK_EQ(inputs.select(1, 0).amax().item<std::int64_t>(), 20);  // 20 30 40 50 -> 30 40 50 60 is the last that fits
  CHECK_ERROR(models::random_windows(tokens, 1, 7), "windows of 7 tokens and their targets need more than 7 tokens");
  // BEGIN HIDDEN TESTS
  CHECK_EQ(models::random_windows(tokens, 3, 6).second, (arange(1, 7) * 10).unsqueeze(0).expand({3, 6}));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### A rate that rises and falls
//
// Adam's second moment is a mean of very few gradients in the first steps, so its quotient is noise of size one, and every weight moves by a full `lr`. Transformers do not recover well from that: the attention becomes sharp somewhere at random. So the rate *warms up* from almost nothing, and then falls along half a cosine to a small part of itself:
//
//       rate
//       max │      ╱‾‾╲_
//           │     ╱     ╲_
//           │    ╱        ╲__
//       min │   ╱            ╲______
//           └──┴────────────────────┴──► step
//           0  warm-up            total
//
// During warm-up step `s` uses `max * (s + 1) / warmup`, so that the first step does something and the last one of the warm-up has the full rate. After `total` the rate stays at its minimum.

// %%
//| export optim/warmup_cosine.h
namespace optim {

// A straight rise to the first rate over warmup_steps steps, then half a cosine down to final_ratio times the first rate at total_steps, and that rate from there on. To be
// stepped after each batch.
class WarmupCosineLR : public LRScheduler {
 public:
  WarmupCosineLR(Optimizer& optimizer, unsigned warmup_steps, unsigned total_steps, double final_ratio = 0.1);
  // The rate of a step, as a multiple of the first rate.
  double factor(unsigned step) const;

 private:
  std::vector<double> get_lrs() override;
  unsigned warmup_steps_, total_steps_;
  double final_ratio_;
};

}  // namespace optim

// %% {"nbgrader": {"grade": false, "grade_id": "12-warmup-cosine", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export optim/warmup_cosine.cpp
// The rate of `step` as a multiple of the optimizer's first rate.
//
// TODO: The three stretches of the picture.
// APPROACH: step < warmup_steps_: (step + 1) / warmup_steps_. Then progress = (step - warmup_steps_) / (total_steps_ - warmup_steps_), at most 1, and
//           final_ratio_ + (1 - final_ratio_) * (1 + cos(pi * progress)) / 2.
// EXAMPLE: 4 steps of warm-up, 12 in all, final ratio 0.1: factors 0.25 0.5 0.75 1 | 1 ... 0.55 at step 8 ... 0.1 at step 12.
// HINT: unsigned differences do not go below 0; convert to double before dividing.
double optim::WarmupCosineLR::factor(unsigned step) const {
  // BEGIN SOLUTION
  if (step < warmup_steps_) return static_cast<double>(step + 1) / warmup_steps_;
  const double progress = std::min(1.0, static_cast<double>(step - warmup_steps_) / (total_steps_ - warmup_steps_));
  return final_ratio_ + (1 - final_ratio_) * (1 + std::cos(std::numbers::pi * progress)) / 2;
  // END SOLUTION
}

// %%
//| mistake 12-warmup-cosine begins-at-zero
//| says The first step has rate 0 and does nothing. Step s of the warm-up has (s + 1) / warmup_steps.
#if 0
double optim::WarmupCosineLR::factor(unsigned step) const {
  if (step < warmup_steps_) return static_cast<double>(step) / warmup_steps_;
  const double progress = std::min(1.0, static_cast<double>(step - warmup_steps_) / (total_steps_ - warmup_steps_));
  return final_ratio_ + (1 - final_ratio_) * (1 + std::cos(std::numbers::pi * progress)) / 2;
}
#endif

// %%
//| mistake 12-warmup-cosine cosine-from-step-zero
//| says The cosine is counted from the first step, so the rate jumps down when the warm-up ends. Its progress begins at 0 where the warm-up ends.
#if 0
double optim::WarmupCosineLR::factor(unsigned step) const {
  if (step < warmup_steps_) return static_cast<double>(step + 1) / warmup_steps_;
  const double progress = std::min(1.0, static_cast<double>(step) / total_steps_);
  return final_ratio_ + (1 - final_ratio_) * (1 + std::cos(std::numbers::pi * progress)) / 2;
}
#endif

// %%
//| export optim/warmup_cosine.cpp
optim::WarmupCosineLR::WarmupCosineLR(Optimizer& optimizer, unsigned warmup_steps, unsigned total_steps, double final_ratio)
    : LRScheduler(optimizer, true), warmup_steps_(warmup_steps), total_steps_(total_steps), final_ratio_(final_ratio) {
  TORCH_CHECK_VALUE(total_steps > warmup_steps, "WarmupCosineLR needs more steps than its warm-up has, but got ", total_steps, " with a warm-up of ", warmup_steps);
  start();
}

std::vector<double> optim::WarmupCosineLR::get_lrs() {
  std::vector<double> rates = base_lrs_;
  for (double& rate : rates) rate *= factor(step_count_);
  return rates;
}

// %% {"nbgrader": {"grade": true, "grade_id": "12-warmup-cosine-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("warm-up and cosine: the first step counts, no jump, a floor") {
  const Tensor p = ones({1}).requires_grad_();
  optim::AdamW optimizer({p}, optim::AdamWOptions(0.4));
  optim::WarmupCosineLR schedule(optimizer, 4, 12, 0.1);
  const auto rate = [&] { return optimizer.param_groups()[0].options().get_lr(); };
  CHECK_CLOSE(rate(), 0.1, 1e-12, 0.0);
  std::vector<double> rates;
  for (int i = 0; i < 13; ++i) {
    schedule.step();
    rates.push_back(rate());
  }
  CHECK_CLOSE(rates[2], 0.4, 1e-12, 0.0);   // step 3, the last of the warm-up
  CHECK_CLOSE(rates[3], 0.4, 1e-12, 0.0);   // step 4: the top of the cosine
  CHECK_CLOSE(rates[7], 0.4 * 0.55, 1e-12, 0.0);
  CHECK_CLOSE(rates[11], 0.04, 1e-12, 0.0);
  CHECK_CLOSE(rates[12], 0.04, 1e-12, 0.0);
  // BEGIN HIDDEN TESTS
  CHECK_CLOSE(rates[5], 0.4 * (0.1 + 0.9 * (1 + std::cos(0.25 * 3.14159265358979)) / 2), 1e-9, 0.0);
  CHECK_ERROR(optim::WarmupCosineLR(optimizer, 5, 5), "needs more steps than its warm-up has");
  // END HIDDEN TESTS
}

// %% [markdown]
// ### From logits to a token
//
// The model gives a distribution; somebody must draw from it. Taking the most likely token each time repeats itself for ever; drawing from the whole distribution meets, every few words, one of the thousand tokens that are each very unlikely and together are not. What is in between cuts the tail off, and each way is a change of the logits:
//
//       logits / temperature         below 1 sharper, above 1 flatter; 0 means: take the largest
//       top-k                        the k largest stay, the others become -inf
//       top-p (nucleus)              the smallest set of the most likely tokens whose probabilities reach p stays
//       repetition penalty           tokens that occurred become less likely: positive logits / penalty, negative ones * penalty
//
//       probabilities  .40  .25  .15  .10  .06  .04          top-k 2: the first two
//       sums before it  0   .40  .65  .80  .90  .96          top-p 0.7: .40 + .25 = .65 is not enough, so three stay: those whose "sum before" is below p
//
// (Division would make a negative logit *more* likely: that is why the penalty looks at the sign.) They are applied in this order: penalty, temperature, top-k, top-p.

// %%
//| export models/sampling.h
namespace models {

// How a token is chosen from logits. Source of the names: Hugging Face transformers, generation/logits_process.py.
struct SamplingOptions {
  TORCH_ARG(double, temperature) = 1.0;         // 0: the most likely token
  TORCH_ARG(std::int64_t, top_k) = 0;           // 0: all
  TORCH_ARG(double, top_p) = 1.0;               // 1: all
  TORCH_ARG(double, repetition_penalty) = 1.0;  // 1: none
};

// (B, V): -inf for what is smaller than the k largest of its row (equal ones stay together). k < 1 or k >= V changes nothing. O(B V log V).
Tensor keep_top_k(const Tensor& logits, std::int64_t k);
// (B, V): -inf for all but the smallest set of most likely tokens of a row whose probabilities add up to at least p. The most likely one always stays. Source: Holtzman et al. 2020.
Tensor keep_top_p(const Tensor& logits, double p);
// (V): the logits of all tokens that occur in `seen` (Long, n) divided by `penalty` where positive and multiplied by it where not, once, however often they occur. Source: Keskar et al. 2019.
Tensor penalize_repetition(const Tensor& logits, const Tensor& seen, double penalty);
// One token, Long (B), for each row of logits (B, V): by temperature, top-k and top-p (the penalty needs the text, and is applied before). Draws from the default generator.
Tensor sample_token(const Tensor& logits, const SamplingOptions& options);

}  // namespace models

// %% {"nbgrader": {"grade": false, "grade_id": "12-top-p", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export models/sampling.cpp
// (B, V) -> (B, V): all but the most likely tokens that together reach probability p become -inf. O(B V log V).
//
// TODO: Sort, add up, cut, and put back into the old order.
// APPROACH: 1. sort(logits, -1, true) gives values and where they came from. 2. The probabilities of the sorted values, and for each the sum of those before it. 3. -inf where that sum
//           is at least p. 4. empty_like(logits).scatter(1, order, kept).
// EXAMPLE: probabilities 0.5 0.3 0.2 and p = 0.6: the third goes; with p = 0.5 only the first stays.
// HINT: the sum before an element is cumsum minus the element.
Tensor models::keep_top_p(const Tensor& logits, double p) {
  // BEGIN SOLUTION
  if (p >= 1) return logits;
  const auto [sorted, order] = sort(logits, -1, true);
  const Tensor probabilities = softmax(sorted, -1);
  Tensor dropped = (probabilities.cumsum(-1) - probabilities) >= p;
  dropped.select(1, 0).fill_(false);
  const Tensor kept = sorted.masked_fill(dropped, -std::numeric_limits<double>::infinity());
  return empty_like(logits).scatter(1, order, kept);
  // END SOLUTION
}

// %%
//| mistake 12-top-p drops-the-one-that-crosses
//| says The token with which the sum reaches p belongs to the set. Look at the sum *before* a token, not at the sum with it.
#if 0
Tensor models::keep_top_p(const Tensor& logits, double p) {
  if (p >= 1) return logits;
  const auto [sorted, order] = sort(logits, -1, true);
  Tensor dropped = softmax(sorted, -1).cumsum(-1) > p;
  dropped.select(1, 0).fill_(false);
  return empty_like(logits).scatter(1, order, sorted.masked_fill(dropped, -std::numeric_limits<double>::infinity()));
}
#endif

// %%
//| mistake 12-top-p stays-sorted
//| says The result is in the order of the sort: token 0 now has the largest logit, whatever it was. Put each value back where it came from (scatter).
#if 0
Tensor models::keep_top_p(const Tensor& logits, double p) {
  if (p >= 1) return logits;
  const auto [sorted, order] = sort(logits, -1, true);
  const Tensor probabilities = softmax(sorted, -1);
  Tensor dropped = (probabilities.cumsum(-1) - probabilities) >= p;
  dropped.select(1, 0).fill_(false);
  return sorted.masked_fill(dropped, -std::numeric_limits<double>::infinity());
}
#endif

// %%
//| mistake 12-top-p each-above-p
//| says p is compared with single probabilities. Top-p is about their sum: the most likely tokens that together reach p.
#if 0
Tensor models::keep_top_p(const Tensor& logits, double p) {
  if (p >= 1) return logits;
  const Tensor largest = logits.amax({-1}, true);
  return logits.masked_fill((softmax(logits, -1) < p) & (logits < largest), -std::numeric_limits<double>::infinity());
}
#endif

// %% {"nbgrader": {"grade": false, "grade_id": "12-repetition", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export models/sampling.cpp
// (V) -> (V): the logits of the tokens in `seen` pushed away from likely, once each. O(V).
//
// TODO: Take the logits of the tokens that occurred, push them down, and put them back.
// APPROACH: gather(0, seen), where(> 0, / penalty, * penalty), scatter(0, seen, ...).
// EXAMPLE: logits 2 -1 0.5, seen 0 1 0, penalty 2: 1 -2 0.5.
// HINT: a token that occurs twice writes the same value twice.
Tensor models::penalize_repetition(const Tensor& logits, const Tensor& seen, double penalty) {
  // BEGIN SOLUTION
  const Tensor old = logits.gather(0, seen);
  return logits.scatter(0, seen, where(old > 0, old / penalty, old * penalty));
  // END SOLUTION
}

// %%
//| mistake 12-repetition divides-always
//| says A negative logit divided by the penalty comes nearer to 0: the token becomes *more* likely. Multiply where it is negative.
#if 0
Tensor models::penalize_repetition(const Tensor& logits, const Tensor& seen, double penalty) { return logits.scatter(0, seen, logits.gather(0, seen) / penalty); }
#endif

// %%
//| mistake 12-repetition once-for-each-time
//| says A token that occurred three times is penalized three times. The penalty is applied once.
#if 0
Tensor models::penalize_repetition(const Tensor& logits, const Tensor& seen, double penalty) {
  Tensor result = logits.clone();
  for (std::int64_t i = 0; i < seen.size(0); ++i) {
    const Tensor at = seen.narrow(0, i, 1);
    const Tensor old = result.gather(0, at);
    result = result.scatter(0, at, where(old > 0, old / penalty, old * penalty));
  }
  return result;
}
#endif

// %%
//| export models/sampling.cpp
Tensor models::keep_top_k(const Tensor& logits, std::int64_t k) {
  if (k < 1 || k >= logits.size(1)) return logits;
  const Tensor smallest = std::get<0>(topk(logits, k)).narrow(1, k - 1, 1);
  return logits.masked_fill(logits < smallest, -std::numeric_limits<double>::infinity());
}

Tensor models::sample_token(const Tensor& logits, const SamplingOptions& options) {
  TORCH_CHECK(logits.dim() == 2, "sample_token expects logits of shape (batch, vocabulary), but got ", logits.sizes(), "\n[sample_token] take the last position: select(1, T - 1).");
  TORCH_CHECK_VALUE(options.temperature() >= 0, "temperature has to be at least 0, but got ", options.temperature());
  TORCH_CHECK_VALUE(options.top_p() > 0 && options.top_p() <= 1, "top_p has to be above 0 and at most 1, but got ", options.top_p());
  if (options.temperature() == 0) return logits.argmax(1);
  const Tensor kept = keep_top_p(keep_top_k(logits / options.temperature(), options.top_k()), options.top_p());
  return multinomial(softmax(kept, 1), 1).squeeze(1);
}

// %% {"nbgrader": {"grade": true, "grade_id": "12-top-p-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("top-p and top-k: what stays, where it stood") {
  const double out = -std::numeric_limits<double>::infinity();
  const Tensor logits = tensor({{0.10, 0.40, 0.04, 0.25, 0.06, 0.15}, {0.01, 0.01, 0.01, 0.95, 0.01, 0.01}}, kDouble).log();
  const Tensor expected = logits.clone();
  expected[0] = tensor({out, std::log(0.40), out, std::log(0.25), out, std::log(0.15)}, kDouble);
  expected[1] = tensor({out, out, out, std::log(0.95), out, out}, kDouble);
  CHECK_CLOSE(models::keep_top_p(logits, 0.7), expected, 1e-12, 0.0);
  CHECK_EQ(models::keep_top_p(logits, 1.0), logits);
  CHECK_EQ(isfinite(models::keep_top_p(logits, 1e-9)).to(kLong).sum(1), tensor({1, 1}));
  CHECK_EQ(isfinite(models::keep_top_k(logits, 2))[0], tensor({0, 1, 0, 1, 0, 0}) == 1);
  CHECK_EQ(models::keep_top_k(logits, 0), logits);
  CHECK_EQ(models::keep_top_k(logits, 9), logits);
  CHECK_EQ(models::sample_token(logits, models::SamplingOptions().temperature(0)), tensor({1, 3}));
  // Drawn often enough, tokens come as often as their probability says, and cut ones never.
  manual_seed(12);
  const Tensor many = models::sample_token(logits.narrow(0, 0, 1).expand({4000, 6}), models::SamplingOptions().top_k(3));
  CHECK_CLOSE((many == 1).to(kDouble).mean().item<double>(), 0.40 / 0.80, 0.1, 0.0);
  CHECK_EQ(((many == 0) | (many == 2) | (many == 4)).to(kLong).sum().item<std::int64_t>(), 0);
  // BEGIN HIDDEN TESTS
  const Tensor cold = models::sample_token(logits.narrow(0, 0, 1).expand({1000, 6}), models::SamplingOptions().temperature(0.1));
  CHECK_GT((cold == 1).to(kDouble).mean().item<double>(), 0.9);
  CHECK_ERROR(models::sample_token(logits, models::SamplingOptions().temperature(-1)), "temperature has to be at least 0");
  CHECK_ERROR(models::sample_token(logits, models::SamplingOptions().top_p(0)), "top_p has to be above 0");
  // END HIDDEN TESTS
}

// %% {"nbgrader": {"grade": true, "grade_id": "12-repetition-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("repetition penalty: away from 1, by sign, once") {
  CHECK_CLOSE(models::penalize_repetition(tensor({2.0, -1.0, 0.5, 3.0}, kDouble), tensor({0, 1, 0}), 2.0), tensor({1.0, -2.0, 0.5, 3.0}, kDouble));
  // BEGIN HIDDEN TESTS
  CHECK_EQ(models::penalize_repetition(tensor({2.0, -1.0}), tensor({1}), 1.0), tensor({2.0, -1.0}));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Debug: one batch, prompts of unequal length
//
// A model that runs for one prompt at a time leaves most of the machine idle, so prompts are run together. They are not equally long, and a tensor is a rectangle. As found, a colleague's function fills them up like this. Short prompts beside a long one get answers that have nothing to do with them:
//
//       as found                                 what the model then does
//       [ 5  7  1  4 ]                           takes the logits of the last column:  after 4, fine
//       [ 9  2  0  0 ]                           and after 0, 0: a continuation of filling

// %%
//| lesson
// As found: the prompts as one tensor (B, longest).
Tensor batch_as_found(const std::vector<std::vector<std::int64_t>>& prompts) {
  std::size_t longest = 0;
  for (const auto& prompt : prompts) longest = std::max(longest, prompt.size());
  const Tensor tokens = zeros({static_cast<std::int64_t>(prompts.size()), static_cast<std::int64_t>(longest)}, kLong);
  for (std::size_t i = 0; i < prompts.size(); ++i)
    for (std::size_t j = 0; j < prompts[i].size(); ++j) tokens.data<std::int64_t>()[i * longest + j] = prompts[i][j];
  return tokens;
}

// %%
//| export models/language_data.h
namespace models {

// Prompts of unequal length as a rectangle, ready for generation.
struct PaddedPrompts {
  Tensor tokens;        // Long (B, longest)
  Tensor left_padding;  // Long (B): how many columns at the left of each row are filling
};

// All prompts end in the last column. REQUIRES: at least one prompt, none of them empty.
PaddedPrompts pad_left(const std::vector<std::vector<std::int64_t>>& prompts);

}  // namespace models

// %% {"nbgrader": {"grade": false, "grade_id": "12-debug-padding", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export models/language_data.cpp
//| exercise debug
// The prompts as a rectangle whose rows end in the last column. Throws if there is none, or an empty one.
//
// TODO: Write the batch so that the next token of every row follows its last column.
// APPROACH: where must a row end, and what must the model be told so that it neither reads the filling nor counts it as positions?
// HINT: any valid token will do as filling, 0 for example: attention_mask() hides it.
models::PaddedPrompts models::pad_left(const std::vector<std::vector<std::int64_t>>& prompts) {
  // BEGIN SOLUTION
  TORCH_CHECK(!prompts.empty(), "there is no prompt\n[pad_left] give at least one.");
  std::size_t longest = 0;
  for (const std::vector<std::int64_t>& prompt : prompts) {
    TORCH_CHECK(!prompt.empty(), "a prompt is empty\n[pad_left] begin with one token, such as the end of a text.");
    longest = std::max(longest, prompt.size());
  }
  const auto B = static_cast<std::int64_t>(prompts.size());
  const PaddedPrompts result{zeros({B, static_cast<std::int64_t>(longest)}, kLong), zeros({B}, kLong)};
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const std::size_t filling = longest - prompts[i].size();
    std::copy(prompts[i].begin(), prompts[i].end(), result.tokens.data<std::int64_t>() + i * longest + filling);
    result.left_padding.data<std::int64_t>()[i] = static_cast<std::int64_t>(filling);
  }
  return result;
  // END SOLUTION
}

// %%
//| mistake 12-debug-padding filling-is-not-told
//| says The rows end in the last column now, but left_padding is 0: the model reads the filling as text.
#if 0
models::PaddedPrompts models::pad_left(const std::vector<std::vector<std::int64_t>>& prompts) {
  TORCH_CHECK(!prompts.empty(), "there is no prompt");
  std::size_t longest = 0;
  for (const std::vector<std::int64_t>& prompt : prompts) {
    TORCH_CHECK(!prompt.empty(), "a prompt is empty");
    longest = std::max(longest, prompt.size());
  }
  const auto B = static_cast<std::int64_t>(prompts.size());
  const PaddedPrompts result{zeros({B, static_cast<std::int64_t>(longest)}, kLong), zeros({B}, kLong)};
  for (std::size_t i = 0; i < prompts.size(); ++i)
    std::copy(prompts[i].begin(), prompts[i].end(), result.tokens.data<std::int64_t>() + i * longest + (longest - prompts[i].size()));
  return result;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "12-debug-padding-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("debug: every prompt ends in the last column, and the filling is told") {
  CHECK_EQ(batch_as_found({{5, 7, 1, 4}, {9, 2}}), tensor({{5, 7, 1, 4}, {9, 2, 0, 0}}));
  const models::PaddedPrompts batch = models::pad_left({{5, 7, 1, 4}, {9, 2}, {3, 3, 3}});
  CHECK_EQ(batch.tokens.select(1, 3), tensor({4, 2, 3}));
  CHECK_EQ(batch.tokens[1].narrow(0, 2, 2), tensor({9, 2}));
  CHECK_EQ(batch.left_padding, tensor({0, 2, 1}));
  CHECK_ERROR(models::pad_left({}), "there is no prompt");
  CHECK_ERROR(models::pad_left({{1}, {}}), "a prompt is empty");
  // BEGIN HIDDEN TESTS
  CHECK_EQ(models::pad_left({{6}}).tokens, tensor({{6}}));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Stop strings, in pieces
//
// "Stop when the model writes `\nUser:`" is a rule about *text*, but text comes in tokens, and a token is any piece of it. The stop string may arrive in three pieces, and what has been shown cannot be taken back from a screen. So text that may still turn out to be the beginning of a stop string is held back:
//
//       pieces      "Yes." "\nU" "ser" ": no"                     "Yes." "\nU" "nder"
//       shown       "Yes."  ""    ""    ""   stopped              "Yes."  ""   "\nUnder"
//       held back    ""    "\nU" "\nUser"                          ""   "\nU"   ""

// %%
//| export models/generate.h
namespace models {

// Passes text on as it comes, up to the first of some stop strings.
class StopStrings {
 public:
  // REQUIRES: none of them is empty.
  explicit StopStrings(std::vector<std::string> stops = {});
  // Adds a piece of text. Returns what may be shown now: nothing from a stop string on, and nothing yet that may become one. O(held text * stop strings).
  std::string push(std::string_view text);
  // Whether a stop string has come; what is pushed after it is ignored.
  bool stopped() const { return stopped_; }
  // What was held back when the text ends without a stop string.
  std::string rest();

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace models

// %% {"nbgrader": {"grade": false, "grade_id": "12-stop-strings", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export models/generate.cpp
// What of the text so far may be shown now; see the class.
//
// TODO: Join, search, and decide how much to hold back.
// APPROACH: 1. After the end nothing counts. 2. held_ += text. 3. The earliest place of any stop string: what stands before it is the last to be shown. 4. Otherwise: the longest end of held_ that is the beginning
//           of some stop string stays held; what stands before it is shown.
// EXAMPLE: StopStrings({"END"}): push("aE") is "a", push("Nx") is "ENx".
// HINT: std::string_view(stop).substr(0, n) and ends_with.
std::string models::StopStrings::push(std::string_view text) {
  // BEGIN SOLUTION
  if (stopped_) return {};
  held_ += text;
  std::size_t first = std::string::npos;
  for (const std::string& stop : stops_) first = std::min(first, held_.find(stop));
  std::size_t shown = first;
  if (first != std::string::npos) {
    stopped_ = true;
  } else {
    std::size_t kept = 0;
    for (const std::string& stop : stops_)
      for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > kept; --n)
        if (held_.ends_with(std::string_view(stop).substr(0, n))) kept = n;
    shown = held_.size() - kept;
  }
  const std::string result = held_.substr(0, shown);
  held_ = stopped_ ? std::string() : held_.substr(shown);
  return result;
  // END SOLUTION
}

// %%
//| mistake 12-stop-strings looks-at-one-piece
//| says Only the new piece is searched: a stop string that comes in two pieces is missed. Search in what was held back and the new piece together.
#if 0
std::string models::StopStrings::push(std::string_view text) {
  if (stopped_) return {};
  for (const std::string& stop : stops_) {
    const std::size_t at = text.find(stop);
    if (at == std::string_view::npos) continue;
    stopped_ = true;
    return std::string(text.substr(0, at));
  }
  return std::string(text);
}
#endif

// %%
//| mistake 12-stop-strings forgets-what-it-held
//| says Text that looked like the beginning of a stop string, and was none, is lost. Show it as soon as it can no longer become one.
#if 0
std::string models::StopStrings::push(std::string_view text) {
  if (stopped_) return {};
  held_ += text;
  std::size_t kept = 0;
  for (const std::string& stop : stops_) {
    const std::size_t at = held_.find(stop);
    if (at != std::string::npos) {
      stopped_ = true;
      const std::string result = held_.substr(0, at);
      held_.clear();
      return result;
    }
    for (std::size_t n = std::min(stop.size() - 1, held_.size()); n > kept; --n)
      if (held_.ends_with(std::string_view(stop).substr(0, n))) kept = n;
  }
  const std::string result(text.substr(0, text.size() - std::min(kept, text.size())));
  held_ = held_.substr(held_.size() - kept);
  return result;
}
#endif

// %%
//| export models/generate.cpp
models::StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) TORCH_CHECK_VALUE(!stop.empty(), "a stop string is empty\n[StopStrings] it would stop before the first letter; leave it out.");
}

std::string models::StopStrings::rest() {
  std::string result;
  std::swap(result, held_);
  return result;
}

// %% {"nbgrader": {"grade": true, "grade_id": "12-stop-strings-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("stop strings: in pieces, false alarms, and the earliest of several") {
  const auto shown = [](std::vector<std::string> stops, const std::vector<std::string>& pieces) {
    models::StopStrings filter(std::move(stops));
    std::vector<std::string> result;
    for (const std::string& piece : pieces) result.push_back(filter.push(piece));
    result.push_back(filter.stopped() ? "stopped" : filter.rest());
    return result;
  };
  using Pieces = std::vector<std::string>;
  CHECK_EQ(shown({"\nUser:"}, {"Yes.", "\nU", "ser", ": no", "x"}), Pieces{"Yes.", "", "", "", "", "stopped"});
  CHECK_EQ(shown({"\nUser:"}, {"Yes.", "\nU", "nder"}), Pieces{"Yes.", "", "\nUnder", ""});
  CHECK_EQ(shown({"END"}, {"aE", "Nx"}), Pieces{"a", "ENx", ""});
  CHECK_EQ(shown({"END"}, {"aE", "N"}), Pieces{"a", "", "EN"});
  CHECK_EQ(shown({"later", "now"}, {"not now, later"}), Pieces{"not ", "stopped"});
  CHECK_EQ(shown({}, {"a", "b"}), Pieces{"a", "b", ""});
  // BEGIN HIDDEN TESTS
  CHECK_EQ(shown({"aab"}, {"a", "a", "a", "b"}), Pieces{"", "", "a", "", "stopped"});
  CHECK_ERROR(models::StopStrings({""}), "a stop string is empty");
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Writing
//
// Now the loop: a token is chosen from the logits of the last column, appended, and read. Rows of a batch end at different times; those that have ended go on as ballast until all have.
//
//       prompts ──► pad_left ──► tokens (B, T) ──► features ──► last column ──► logits (B, V) ──► penalty, sample ──► one token a row
//                                    ▲    the first time all T columns, then one: the others are in the cache               │
//                                    └──────────────────────────── append ◄─────────────────────────────────────────────────┘
//
// Positions end at `block_size`. Beyond it the model sees the last `block_size` columns, and each of them has another position than before: the cache is worthless then, and every token is computed from its window anew. (Rotary positions, module 10, are relative, and are one reason why newer models use them.)

// %%
//| export models/generate.h
namespace models {

struct GenerateOptions {
  TORCH_ARG(std::int64_t, max_new_tokens) = 50;
  TORCH_ARG(SamplingOptions, sampling);
  TORCH_ARG(std::optional<std::int64_t>, end_token) = std::nullopt;  // a row ends behind it
  TORCH_ARG(bool, use_cache) = true;
};

// Called for each new token of a row, as soon as it is there; false ends the row.
using OnToken = std::function<bool(std::size_t row, std::int64_t token)>;

// Continues each prompt; returns the new tokens of each row, the end token included. Runs in evaluation mode without recording, and leaves the model's mode as it was. With
// temperature 0 a row's result does not depend on the other rows. O(max_new_tokens) passes of one column with a cache, as long as all fits into block_size.
std::vector<std::vector<std::int64_t>> generate(GPT& model, const std::vector<std::vector<std::int64_t>>& prompts, const GenerateOptions& options = {}, const OnToken& on_token = {});

// Continues `prompt` as text: the tokens of `on_text`'s pieces are decoded by `decode` one at a time; ends before any of `stops`. Returns the text; `on_text` gets it piece by piece.
std::string generate_text(GPT& model, const std::vector<std::int64_t>& prompt, const std::function<std::string(std::int64_t)>& decode, const GenerateOptions& options = {},
                          const std::vector<std::string>& stops = {}, const std::function<void(const std::string&)>& on_text = {});

// Logits (B, V) for the token after `tokens` (B, T), of which the cache, if there is one, holds the first columns. Beyond block_size: of the last block_size columns, without the cache.
Tensor next_token_logits(GPT& model, const Tensor& tokens, const Tensor& left_padding, GPTCache* cache);

// Puts a module into evaluation mode, and back when it ends.
class EvaluationMode {
 public:
  explicit EvaluationMode(nn::Module& module) : module_(module), before_(module.is_training()) { module_.eval(); }
  ~EvaluationMode() { module_.train(before_); }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  nn::Module& module_;
  bool before_;
};

}  // namespace models

// %%
//| export models/generate.cpp
Tensor models::next_token_logits(GPT& model, const Tensor& tokens, const Tensor& left_padding, GPTCache* cache) {
  const std::int64_t T = tokens.size(1), limit = model->options.block_size();
  Tensor hidden;
  if (T > limit) {
    const Tensor padding = left_padding.defined() ? (left_padding - (T - limit)).clamp_min(0) : Tensor();
    hidden = model->features(tokens.narrow(1, T - limit, limit), nullptr, padding);
  } else {
    const std::int64_t known = cache != nullptr ? cache->length() : 0;
    hidden = model->features(tokens.narrow(1, known, T - known), cache, left_padding);
  }
  return model->logits(hidden.select(1, hidden.size(1) - 1));
}

// %% {"nbgrader": {"grade": false, "grade_id": "12-generate", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export models/generate.cpp
// The new tokens of each prompt. The declaration in generate.h is the contract.
//
// TODO: Pad, and then for each step: logits, penalty, sample, hand out, append.
// APPROACH: 1. NoGradGuard, EvaluationMode(*model), pad_left; left_padding is passed on only if some row has filling (else an undefined tensor: no mask is needed). 2. For max_new_tokens steps: next_token_logits with a
//           GPTCache, or nullptr. 3. With a repetition penalty each row's logits by penalize_repetition with that row's tokens behind its filling. 4. sample_token; for each row that has not ended: append
//           the token to its result, and end it at the end token or when on_token says so. 5. All ended: stop. Otherwise cat the new column.
// EXAMPLE: with temperature 0 the result for {a, b} is the result for {a} and the result for {b}.
// HINT: rows that have ended still need a token in the new column; any will do.
std::vector<std::vector<std::int64_t>> models::generate(GPT& model, const std::vector<std::vector<std::int64_t>>& prompts, const GenerateOptions& options, const OnToken& on_token) {
  // BEGIN SOLUTION
  const NoGradGuard no_grad;
  const EvaluationMode evaluation(*model);
  const PaddedPrompts batch = pad_left(prompts);
  Tensor tokens = batch.tokens;
  const Tensor padding = batch.left_padding.amax().item<std::int64_t>() > 0 ? batch.left_padding : Tensor();
  const double penalty = options.sampling().repetition_penalty();
  GPTCache cache(model->options.n_layer());
  std::vector<std::vector<std::int64_t>> results(prompts.size());
  std::vector<bool> ended(prompts.size(), false);
  for (std::int64_t step = 0; step < options.max_new_tokens(); ++step) {
    Tensor logits = next_token_logits(model, tokens, padding, options.use_cache() ? &cache : nullptr);
    if (penalty != 1) {
      std::vector<Tensor> rows;
      for (std::int64_t i = 0; i < tokens.size(0); ++i) {
        const std::int64_t filling = batch.left_padding[i].item<std::int64_t>();
        rows.push_back(penalize_repetition(logits[i], tokens[i].narrow(0, filling, tokens.size(1) - filling), penalty));
      }
      logits = stack(rows);
    }
    const Tensor next = sample_token(logits, options.sampling());
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (ended[i]) continue;
      const std::int64_t token = next[static_cast<std::int64_t>(i)].item<std::int64_t>();
      results[i].push_back(token);
      ended[i] = (on_token && !on_token(i, token)) || options.end_token() == token;
    }
    if (std::find(ended.begin(), ended.end(), false) == ended.end()) break;
    tokens = cat({tokens, next.unsqueeze(1)}, 1);
  }
  return results;
  // END SOLUTION
}

// %%
//| mistake 12-generate dropout-while-writing
//| says The model is still in training mode: dropout makes the same prompt give other answers, and worse ones. Put it into evaluation mode, and back.
#if 0
std::vector<std::vector<std::int64_t>> models::generate(GPT& model, const std::vector<std::vector<std::int64_t>>& prompts, const GenerateOptions& options, const OnToken& on_token) {
  const NoGradGuard no_grad;
  const PaddedPrompts batch = pad_left(prompts);
  Tensor tokens = batch.tokens;
  GPTCache cache(model->options.n_layer());
  std::vector<std::vector<std::int64_t>> results(prompts.size());
  std::vector<bool> ended(prompts.size(), false);
  for (std::int64_t step = 0; step < options.max_new_tokens(); ++step) {
    const Tensor logits = next_token_logits(model, tokens, batch.left_padding, options.use_cache() ? &cache : nullptr);
    const Tensor next = sample_token(logits, options.sampling());
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (ended[i]) continue;
      const std::int64_t token = next[static_cast<std::int64_t>(i)].item<std::int64_t>();
      results[i].push_back(token);
      ended[i] = (on_token && !on_token(i, token)) || options.end_token() == token;
    }
    if (std::find(ended.begin(), ended.end(), false) == ended.end()) break;
    tokens = cat({tokens, next.unsqueeze(1)}, 1);
  }
  return results;
}
#endif

// %%
//| mistake 12-generate one-end-for-all
//| says The first row that ends, ends the others. Each row has its own end; the loop stops when all have come to theirs.
#if 0
std::vector<std::vector<std::int64_t>> models::generate(GPT& model, const std::vector<std::vector<std::int64_t>>& prompts, const GenerateOptions& options, const OnToken& on_token) {
  const NoGradGuard no_grad;
  const EvaluationMode evaluation(*model);
  const PaddedPrompts batch = pad_left(prompts);
  Tensor tokens = batch.tokens;
  GPTCache cache(model->options.n_layer());
  std::vector<std::vector<std::int64_t>> results(prompts.size());
  bool ended = false;
  for (std::int64_t step = 0; step < options.max_new_tokens() && !ended; ++step) {
    const Tensor logits = next_token_logits(model, tokens, batch.left_padding, options.use_cache() ? &cache : nullptr);
    const Tensor next = sample_token(logits, options.sampling());
    for (std::size_t i = 0; i < results.size(); ++i) {
      const std::int64_t token = next[static_cast<std::int64_t>(i)].item<std::int64_t>();
      results[i].push_back(token);
      if ((on_token && !on_token(i, token)) || options.end_token() == token) ended = true;
    }
    tokens = cat({tokens, next.unsqueeze(1)}, 1);
  }
  return results;
}
#endif

// %%
//| export models/generate.cpp
std::string models::generate_text(GPT& model, const std::vector<std::int64_t>& prompt, const std::function<std::string(std::int64_t)>& decode, const GenerateOptions& options,
                                  const std::vector<std::string>& stops, const std::function<void(const std::string&)>& on_text) {
  StopStrings filter(stops);
  std::string text;
  const auto show = [&](const std::string& piece) {
    text += piece;
    if (on_text && !piece.empty()) on_text(piece);
  };
  generate(model, {prompt}, options, [&](std::size_t, std::int64_t token) {
    show(filter.push(decode(token)));
    return !filter.stopped();
  });
  show(filter.rest());
  return text;
}

// %% {"nbgrader": {"grade": true, "grade_id": "12-generate-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("generate: as by hand, alike with and without cache, and unequal prompts do not disturb each other") {
  manual_seed(13);
  models::GPT model(tiny_options().dropout(0.3));
  make_lively(*model);
  const std::vector<std::int64_t> prompt = {3, 1, 4};
  const auto greedy = models::GenerateOptions().max_new_tokens(8).sampling(models::SamplingOptions().temperature(0));
  std::vector<std::int64_t> text = prompt;
  {
    const NoGradGuard no_grad;
    model->eval();
    for (int i = 0; i < 8; ++i) {  // goes beyond block_size: the last eight tokens count
      const std::vector<std::int64_t> window(text.size() > 8 ? text.end() - 8 : text.begin(), text.end());
      const Tensor logits = model(tensor(window).unsqueeze(0));
      text.push_back(logits[0][logits.size(1) - 1].argmax().item<std::int64_t>());
    }
    model->train();
  }
  const std::vector<std::int64_t> expected(text.begin() + 3, text.end());
  CHECK_EQ(models::generate(model, {prompt}, greedy)[0], expected);
  CHECK_EQ(models::generate(model, {prompt}, models::GenerateOptions(greedy).use_cache(false))[0], expected);
  CHECK(model->is_training());

  const std::vector<std::vector<std::int64_t>> prompts = {{3, 1, 4}, {9}, {2, 7, 1, 8, 2}};
  const auto together = models::generate(model, prompts, greedy);
  for (std::size_t i = 0; i < 3; ++i) CHECK_EQ(together[i], models::generate(model, {prompts[i]}, greedy)[0]);

  // Row 0 ends after three tokens; row 2 goes on.
  const auto ended = models::generate(model, prompts, greedy, [seen = 0](std::size_t row, std::int64_t) mutable { return row != 0 || ++seen < 3; });
  CHECK_EQ(ended[0], std::vector<std::int64_t>(together[0].begin(), together[0].begin() + 3));
  CHECK_EQ(ended[2], together[2]);
  // BEGIN HIDDEN TESTS
  const std::int64_t last = expected[1];
  const auto stopped = models::generate(model, {prompt}, models::GenerateOptions(greedy).end_token(last))[0];
  CHECK_EQ(stopped.back(), last);
  CHECK_LE(stopped.size(), 2);
  const auto varied = models::generate(model, {prompt, {9}}, models::GenerateOptions().max_new_tokens(4).sampling(models::SamplingOptions().temperature(0).repetition_penalty(1e6)))[0];
  for (std::size_t i = 0; i < varied.size(); ++i) CHECK_EQ(std::count(varied.begin(), varied.end(), varied[i]), 1);
  CHECK_EQ(models::generate_text(model, prompt, [](std::int64_t token) { return std::string(1, static_cast<char>('a' + token)); }, greedy,
                                 {std::string(1, static_cast<char>('a' + expected[0]))}), "");
  // END HIDDEN TESTS
}

// %% [markdown]
// ## Part 2: Systems analysis
//
// ### Does the residual road matter?
//
// The claim of Part 1, measured: the gradient that arrives at the first block, against the one at the last, for stacks of growing depth. Near 1 means that all blocks learn at the same pace.
//
//       pre-norm      x ──────────+──────────+────── ... ──► loss        the gradient walks the upper line
//                       └► f ─────┘ └► f ────┘
//       post-norm     x ──►(+)►norm──►(+)►norm── ... ──► loss            each norm divides it by the size of the sum
//       no residual   x ──► f ──► f ──► f ────── ... ──► loss            a product of matrices

// %%
//| lesson
enum class Road { PreNorm, PostNorm, NoResidual };

// Gradient norm of the first block's c_attn over that of the last one, for `depth` blocks between random input and random weights on the output.
double gradient_ratio(Road road, int depth, std::uint64_t seed) {
  manual_seed(seed);
  std::vector<models::Block> blocks;
  for (int i = 0; i < depth; ++i) blocks.emplace_back(models::GPTOptions(1, 1).n_head(2).n_embd(16));
  Tensor x = randn({2, 6, 16});
  for (models::Block& block : blocks) {
    if (road == Road::PreNorm) {
      x = block(x);
    } else if (road == Road::PostNorm) {
      x = block->ln_1(x + block->attn(x));
      x = block->ln_2(x + block->mlp(x));
    } else {
      x = block->mlp(block->ln_2(block->attn(block->ln_1(x))));
    }
  }
  (x * randn({2, 6, 16})).sum().backward();
  const auto size = [](models::Block& block) { return block->attn->c_attn->weight.grad().norm().item<double>(); };
  return size(blocks.front()) / size(blocks.back());
}

// The geometric mean of 20 random draws: one alone may be off by a factor of 3.
double mean_ratio(Road road, int depth) {
  double sum = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) sum += std::log(gradient_ratio(road, depth, seed));
  return std::exp(sum / 20);
}

// %%
DEMO("the gradient of the first block over that of the last") {
  std::printf("  %-8s %12s %12s %12s\n", "blocks", "pre-norm", "post-norm", "no residual");
  for (const int depth : {2, 4, 8, 16})
    std::printf("  %-8d %12.3f %12.2e %12.2e\n", depth, mean_ratio(Road::PreNorm, depth), mean_ratio(Road::PostNorm, depth), mean_ratio(Road::NoResidual, depth));
  std::fflush(stdout);
}

// %% [markdown]
// ### What training holds in memory
//
// Parameters `N`, gradients `N`, Adam's moments `2 N`; and the activations that the backward pass needs, which grow with the tokens in a batch. The demonstration reads the allocator before and after a forward pass.

// %%
//| lesson
struct TrainingMemory {
  std::size_t parameters = 0, activations = 0;
};

TrainingMemory training_memory(std::int64_t batch, std::int64_t length) {
  manual_seed(15);
  models::GPT model(models::GPTOptions(64, 256).n_layer(2).n_head(2).n_embd(32));
  const Tensor tokens = randint(0, 64, {batch, length});
  const std::size_t before = memory::stats().live;
  const Tensor loss = model->loss(tokens, tokens);
  return {static_cast<std::size_t>(model->num_parameters()) * sizeof(float), memory::stats().live - before};
}

// %%
DEMO("memory of a training step: what stays for the backward pass") {
  std::printf("  %6s %8s %14s %14s %20s\n", "batch", "length", "parameters", "activations", "bytes per token");
  for (const auto& [batch, length] : {std::pair<std::int64_t, std::int64_t>{1, 32}, {4, 32}, {16, 32}, {1, 128}, {1, 256}}) {
    const TrainingMemory use = training_memory(batch, length);
    std::printf("  %6lld %8lld %14s %14s %20.0f\n", static_cast<long long>(batch), static_cast<long long>(length), format_bytes(static_cast<std::int64_t>(use.parameters)).c_str(),
                format_bytes(static_cast<std::int64_t>(use.activations)).c_str(), static_cast<double>(use.activations) / static_cast<double>(batch * length));
  }
  std::fflush(stdout);
}

// %% [markdown]
// ### What a token costs
//
// The same model writes its `n`-th token with a cache and without. Without, the time grows with `n`, and the sum over a text with its square. The cache's price is memory: `2 L C` numbers a token.

// %%
DEMO("the n-th token: time with and without a cache, and what the cache holds") {
  manual_seed(16);
  models::GPT model(models::GPTOptions(64, 256).n_layer(2).n_head(2).n_embd(32));
  model->eval();
  const NoGradGuard no_grad;
  const Tensor text = randint(0, 64, {1, 256});
  std::printf("  %6s %12s %12s %8s %12s %16s\n", "n", "without", "with", "ratio", "cache", "bytes per token");
  for (const std::int64_t n : {16, 32, 64, 128, 256}) {
    models::GPTCache cache(2);
    model->features(text.narrow(1, 0, n - 1), &cache);
    const double without = measure([&] { model->features(text.narrow(1, 0, n)); }, {.samples = 3}).median;
    Timer timer;
    model->features(text.narrow(1, n - 1, 1), &cache);
    const double with = timer.seconds();
    std::printf("  %6lld %12s %12s %8.1f %12s %16.0f\n", static_cast<long long>(n), format_seconds(without).c_str(), format_seconds(with).c_str(), without / with,
                format_bytes(static_cast<std::int64_t>(cache.bytes())).c_str(), static_cast<double>(cache.bytes()) / static_cast<double>(n));
  }
  std::fflush(stdout);
}

// %% [markdown]
// ### How many operations, and how fast
//
// `6 N` operations per token for training, by the rule of Part 1. Measured time gives the speed that this machine reaches with the plain kernels; module 16 raises it.

// %%
DEMO("a training step against 6 N operations per token") {
  std::printf("  %10s %12s %14s %12s\n", "N", "step", "operations", "GFLOP/s");
  for (const std::int64_t width : {16, 32, 64}) {
    manual_seed(17);
    models::GPT model(models::GPTOptions(64, 32).n_layer(2).n_head(2).n_embd(width));
    optim::AdamW optimizer(models::decay_groups(*model, optim::AdamWOptions(1e-3)), optim::AdamWOptions(1e-3));
    const Tensor tokens = randint(0, 64, {4, 32});
    const double seconds = measure([&] {
                             optimizer.zero_grad();
                             model->loss(tokens, tokens).backward();
                             optimizer.step();
                           }, {.samples = 3}).median;
    const double operations = 6.0 * static_cast<double>(model->num_parameters()) * 4 * 32;
    std::printf("  %10lld %12s %14.3g %12.2f\n", static_cast<long long>(model->num_parameters()), format_seconds(seconds).c_str(), operations, operations / seconds * 1e-9);
  }
  std::fflush(stdout);
}

// %% [markdown]
// ## Part 3: Production context
//
//       here                          PyTorch                                     in large systems
//       layer_norm, two passes        native_layer_norm, vectorized,             fused with the residual addition
//                                     saves mean and rstd for the way back
//       KeyValueCache, doubling       StaticCache, DynamicCache (transformers)   pages of 16 positions: PagedAttention (vLLM)
//       generate: rows as ballast     model.generate                             continuous batching: a row that ends makes place for a new one
//
// - **PyTorch.** `aten/src/ATen/native/layer_norm.cpp` and `native/cpu/layer_norm_kernel.cpp` are your operator; the gradient has the three terms of yours, fused. `torch/nn/modules/transformer.py` and `torch/csrc/api/src/nn/modules/transformer.cpp` have the encoder and decoder layers of 2017 (chapter 86 builds them), with `norm_first` for
//   pre-norm. Hugging Face's `modeling_gpt2.py` has this module's names; its `generation/logits_process.py` the filters.
// - **TensorFlow.** `keras/layers/normalization/layer_normalization.py`, and `MultiHeadAttention` beside it; the original code of the paper was `tensor2tensor/models/transformer.py`, which already had beam search with a cache.
// - **JAX.** A model is a function of a tree of parameters (flax: `flax/linen/normalization.py`), and the blocks are often one block *scanned* over stacked parameters (`jax.lax.scan`), so that compiling takes the time of one layer. The cache is an argument and a result, with a fixed size, because shapes
//   are part of the compiled program.
// - **Serving.** The cache, not the weights, limits how many conversations fit: at GPT-3's size it is 4.7 MB a token. Grouped-query attention (module 11) shares keys and values among heads and divides that; quantizing it (module 17) divides it again.

// %% [markdown]
// ## Integration test
//
// A small GPT reads the letters of one sentence until it knows them, by the whole path: windows, warm-up, clipping, AdamW with two groups, and then it writes the sentence from its first letters.

// %%
//| lesson
// Trains `model` on one line of tokens; returns the loss of each step.
std::vector<double> train_gpt(models::GPT& model, const Tensor& tokens, int steps, std::int64_t batch, double lr) {
  const auto settings = optim::AdamWOptions(lr).weight_decay(0.1);
  optim::AdamW optimizer(models::decay_groups(*model, settings), settings);
  optim::WarmupCosineLR schedule(optimizer, 10, static_cast<unsigned>(steps));
  std::vector<double> losses;
  for (int step = 0; step < steps; ++step) {
    const auto [inputs, targets] = models::random_windows(tokens, batch, model->options.block_size());
    optimizer.zero_grad();
    const Tensor loss = model->loss(inputs, targets);
    loss.backward();
    nn::utils::clip_grad_norm_(model->parameters(), 1.0);
    optimizer.step();
    schedule.step();
    losses.push_back(loss.item<double>());
  }
  return losses;
}

// %%
TEST_CASE("transformers: a GPT learns a sentence by heart and writes it") {
  const std::string sentence = "the stream is added to. ";
  std::vector<std::int64_t> letters;
  for (int repeat = 0; repeat < 5; ++repeat)
    for (const char letter : sentence) letters.push_back(letter == ' ' ? 26 : letter == '.' ? 27 : letter - 'a');
  manual_seed(18);
  models::GPT model(models::GPTOptions(28, 16).n_layer(2).n_head(2).n_embd(24));
  const std::vector<double> losses = train_gpt(model, tensor(letters), 130, 4, 1.2e-2);
  CHECK_CLOSE(losses.front(), std::log(28.0), 0.05, 0.0);
  CHECK_LT(losses.back(), 0.4);
  const std::vector<std::int64_t> prompt(letters.begin(), letters.begin() + 6);
  const auto written = models::generate(model, {prompt}, models::GenerateOptions().max_new_tokens(30).sampling(models::SamplingOptions().temperature(0)))[0];
  CHECK_EQ(written, std::vector<std::int64_t>(letters.begin() + 6, letters.begin() + 36));
}

// %% [markdown]
// ## ML systems thinking
//
// This module's pattern is Build -> Use -> **Analyze**. Run `tito run 12`, keep the output, and answer from your numbers.

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "12-explain-depth", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 1. The road.** From the first table: how does each column change when the depth doubles? Which of the three could you train with 48 blocks, and what would the others need? Why does the initialization divide by `sqrt(2 L)`, and which column would change without it?
// BEGIN SOLUTION
// Without a residual road the ratio falls with the depth: measured 0.69, 0.63, 0.20 and 0.05 for 2, 4, 8 and 16 blocks, to a third and then to a quarter with each doubling. At 48 blocks the first ones would learn about a hundredth as fast as the last; they need a road. Pre-norm stays between 1 and 2. Post-norm stays near 1 here as
// well (0.8 to 1.1), because these blocks are fresh: what a branch adds is small, and each norm behind a sum divides by hardly more than 1. When training has made the branches as large as the stream, each norm divides the road by sqrt(2), and that is why post-norm models were trained with a long warm-up and at 6 blocks. The stream is a sum of
// 2 L contributions, whose variances add; scaling each by 1 / sqrt(2 L) keeps the stream's size independent of depth. Without it the later blocks of the pre-norm column see a larger stream, and their normalization divides their gradients more: the 1.75 at 16 blocks (these blocks are drawn without the scaling).
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "12-explain-memory", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 2. What fits?** From the memory table: at which batch do the activations weigh more than parameters, gradients and Adam's moments together? Do the bytes per token change with the length, and what does that say about the attention of module 11? Name two ways to need less.
// BEGIN SOLUTION
// Parameters, gradients and moments are four times the first column, 560 KiB; at 4.9 KB a token the activations pass that at about 120 tokens, a batch of 4 texts of 32, because they grow with tokens x layers x width, while parameters grow with width squared. The bytes per token are the same from length 32 to 256: attention keeps nothing of size
// N x N (version 1 of module 11 would). Less: gradient accumulation over smaller batches (module 08), checkpointing each block (module 05: only its input is kept, and the block is computed twice), fewer bytes per number (module 17).
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "12-explain-cache", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}}
// **Question 3. Serving.** From the cache table: from which length on does the cache pay, and what is the ratio at 256? Write down the bytes per token of your model from `L` and `C`, compare with the column, and explain the difference. A machine has 80 GB, the model takes 14 GB, and a conversation has 4,000 tokens at 0.5 MB each: how many fit, and what changes when eight query
// heads share one key head?
// BEGIN SOLUTION
// The cache pays from the first tokens on, because without it n columns are computed for one result; the ratio grows about linearly with n. 2 L C numbers = 2 * 2 * 32 * 4 bytes = 512 bytes a token; the column is up to twice that, because capacity doubles and part of it is idle. 66 GB / (4,000 * 0.5 MB) = 33 conversations; with one key head for eight
// query heads the cache is an eighth, so 264, and the limit moves to the time of a step.
// END SOLUTION

// %% [markdown]
// ## Module summary
//
// - Layer normalization looks at one position alone. Its mean and variance take part in the gradient: what arrives loses its part along "all up" and along "all larger".
// - A block adds to the stream. Pre-norm keeps the road from loss to input free of normalizations, and depth then costs little.
// - GPT is embeddings, positions, blocks, and the embedding again. Its first loss is ln V; a loss that falls too well means that the answer is in the input.
// - A cache makes the n-th token cost one column instead of n. It must grow without copying everything, positions must go on from it, and its logits must equal recomputation.
// - Batches of unequal prompts are filled at the left, hidden by the mask, and left out of the count of positions.
// - Sampling changes logits: penalty, temperature, top-k, top-p. Stop strings are about text, and come in pieces.
//
// Chapter 86 adds PyTorch's encoder and decoder, and beam search. Module 13 turns runs like these into experiments that can be repeated.

// %%
}  // namespace tinytorch
