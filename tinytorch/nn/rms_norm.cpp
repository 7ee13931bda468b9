// From the lesson modules/86_transformer_layers/transformer_layers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/rms_norm.h"

#include <limits>
#include <ostream>
#include <string>

namespace tinytorch {

nn::RMSNormImpl::RMSNormImpl(std::vector<std::int64_t> normalized_shape) : RMSNormImpl(RMSNormOptions(std::move(normalized_shape))) {}
nn::RMSNormImpl::RMSNormImpl(RMSNormOptions options_) : options(std::move(options_)) { RMSNormImpl::reset(); }

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
  std::vector<std::int64_t> last;
  for (std::size_t i = 1; i <= dims; ++i) last.push_back(-static_cast<std::int64_t>(i));
  const double smallest = input.scalar_type() == kDouble ? std::numeric_limits<double>::epsilon() : static_cast<double>(std::numeric_limits<float>::epsilon());
  const Tensor normalized = input * rsqrt((input * input).mean(last, true) + eps.value_or(smallest));
  return scaled ? normalized * *weight : normalized;
}

void nn::RMSNormImpl::reset() {
  weight = options.elementwise_affine() ? register_parameter("weight", ones(options.normalized_shape())) : register_parameter("weight", Tensor(), /*requires_grad=*/false);
}

Tensor nn::RMSNormImpl::forward(const Tensor& input) { return rms_norm(input, options.normalized_shape(), weight, options.eps()); }

void nn::RMSNormImpl::pretty_print(std::ostream& stream) const {
  stream << std::boolalpha << "torch::nn::RMSNorm(" << IntArrayRef(options.normalized_shape()) << ", elementwise_affine=" << options.elementwise_affine() << ')';
}

}  // namespace tinytorch
