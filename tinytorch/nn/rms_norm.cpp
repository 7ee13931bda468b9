// From the lesson modules/86_transformer_layers/transformer_layers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/rms_norm.h"

#include <cmath>
#include <limits>
#include <ostream>
#include <string>

#include "tinytorch/core/gradient.h"
#include "tinytorch/core/half_precision.h"
#include "tinytorch/core/loops.h"

namespace tinytorch {

nn::RMSNormImpl::RMSNormImpl(std::vector<std::int64_t> normalized_shape) : RMSNormImpl(RMSNormOptions(std::move(normalized_shape))) {}
nn::RMSNormImpl::RMSNormImpl(RMSNormOptions options_) : options(std::move(options_)) { RMSNormImpl::reset(); }

namespace {
template <class T>
void rms_norm_rows(const T* x, const T* weight, std::int64_t rows, std::int64_t size, double eps, T* out) {
  for (std::int64_t row = 0; row < rows; ++row, x += size, out += size) {
    double squares = 0;
    for (std::int64_t i = 0; i < size; ++i) squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    const T scale = static_cast<T>(1 / std::sqrt(squares / static_cast<double>(size) + eps));
    for (std::int64_t i = 0; i < size; ++i) out[i] = x[i] * scale * (weight == nullptr ? T{1} : weight[i]);
  }
}

Tensor rms_norm_cpu(const Tensor& input, IntArrayRef normalized_shape, const std::optional<Tensor>& weight, double eps) {
  const Tensor x = input.contiguous(), result = empty(x.sizes(), x.options());
  const Tensor scale = weight && weight->defined() ? weight->contiguous() : Tensor();
  const std::int64_t size = multiply_sizes(normalized_shape);
  dispatch_floating_types(x.scalar_type(), "rms_norm", [&]<class T>() {
    if (x.numel() > 0) rms_norm_rows(x.data<T>(), scale.defined() ? scale.data<T>() : nullptr, x.numel() / size, size, eps, result.data<T>());
  });
  return result;
}

// The gradient of the input, whose last `dims` dimensions were normalized.
Tensor rms_norm_backward(const Tensor& grad, const Tensor& input, std::size_t dims, const Tensor& weight, double eps) {
  std::vector<std::int64_t> last;
  for (std::size_t i = 1; i <= dims; ++i) last.push_back(-static_cast<std::int64_t>(i));
  const Tensor r = rsqrt((input * input).mean(last, true) + eps);
  const Tensor normalized = input * r;
  const Tensor h = weight.defined() ? grad * weight : grad;
  return r * (h - normalized * (h * normalized).mean(last, true));
}
}  // namespace

constinit Operator<Tensor(const Tensor&, IntArrayRef, const std::optional<Tensor>&, double)> op::rms_norm(
    "rms_norm",
    {.cpu = rms_norm_cpu,
     .autograd = gradient_of<op::rms_norm>(
         [](const Tensor& g, Input<0> input, Arg<1, DimVector> shape, Input<2> weight, Arg<3, double> eps) {
           return rms_norm_backward(g, input, shape.value.size(), weight, eps.value);
         },
         [](const Tensor& g, Input<0> input, Arg<1, DimVector> shape, Arg<3, double> eps) { return g * op::rms_norm(input, IntArrayRef(shape.value), {}, eps.value); })});

Tensor rms_norm(const Tensor& input, IntArrayRef normalized_shape, const std::optional<Tensor>& weight, std::optional<double> eps) {
  const std::size_t dims = normalized_shape.size();
  TORCH_CHECK(dims >= 1, "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got normalized_shape = ", normalized_shape);
  const IntArrayRef sizes = input.sizes();
  std::string expected;
  for (const std::int64_t size : normalized_shape) expected += str(", ", size);
  TORCH_CHECK(sizes.size() >= dims && IntArrayRef(sizes.data() + (sizes.size() - dims), dims) == normalized_shape, "Given normalized_shape=", normalized_shape,
              ", expected input with shape [*", expected, "], but got input of size", sizes, "\n[rms_norm] the last sizes of the input are the normalized ones.");
  const bool scaled = weight && weight->defined();
  TORCH_CHECK(!scaled || weight->sizes() == normalized_shape, "Expected weight to be of same shape as normalized_shape, but got weight of shape ",
              scaled ? weight->sizes() : IntArrayRef(), " and normalized_shape = ", normalized_shape, "\n[rms_norm] each normalized element has one weight.");
  const double smallest = input.scalar_type() == kDouble ? std::numeric_limits<double>::epsilon() : static_cast<double>(std::numeric_limits<float>::epsilon());
  const bool one_dtype = !scaled || weight->scalar_type() == input.scalar_type();
  const Tensor result = op::rms_norm(input, normalized_shape, one_dtype ? weight : std::nullopt, eps.value_or(smallest));
  return one_dtype ? result : (result * *weight).to(input.scalar_type());
}

void nn::RMSNormImpl::reset() {
  weight = options.elementwise_affine() ? register_parameter("weight", ones(options.normalized_shape())) : register_parameter("weight", Tensor(), /*requires_grad=*/false);
}

Tensor nn::RMSNormImpl::forward(const Tensor& input) { return rms_norm(input, options.normalized_shape(), weight, options.eps()); }

void nn::RMSNormImpl::pretty_print(std::ostream& stream) const {
  stream << std::boolalpha << "torch::nn::RMSNorm(" << IntArrayRef(options.normalized_shape()) << ", elementwise_affine=" << options.elementwise_affine() << ')';
}

void register_half_rms_norm() { compute_in_float<op::rms_norm>(); }

}  // namespace tinytorch
