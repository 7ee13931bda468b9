// From the lesson modules/12_transformers/transformers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/layer_norm.h"

#include <cmath>
#include <ostream>

#include "tinytorch/core/gradient.h"
#include "tinytorch/core/loops.h"

namespace tinytorch {

// Normalizes each of the `rows` rows of `size` elements at `x` into `y`, times weight[j] and plus bias[j] where these are not null. The sums are
// kept in double. O(rows * size), two passes over each row; no memory.
namespace {
template <class T>
void normalize_rows(T* y, const T* x, const T* weight, const T* bias, std::int64_t rows, std::int64_t size, double eps) {
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
}
}  // namespace

// The gradient with respect to `input` (*, normalized shape of `dims` dimensions) of layer_norm, for `grad` of the same sizes. `weight` may be undefined. O(numel). The
// statistics are computed again instead of saved.
namespace {
Tensor layer_norm_backward(const Tensor& grad, const Tensor& input, std::size_t dims, const Tensor& weight, double eps) {
  std::vector<std::int64_t> last;
  for (std::size_t i = 1; i <= dims; ++i) last.push_back(-static_cast<std::int64_t>(i));
  const Tensor centered = input - input.mean(last, true);
  const Tensor rstd = rsqrt((centered * centered).mean(last, true) + eps);
  const Tensor normalized = centered * rstd;
  const Tensor h = weight.defined() ? grad * weight : grad;
  return rstd * (h - h.mean(last, true) - normalized * (h * normalized).mean(last, true));
}
}  // namespace

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

}  // namespace tinytorch
