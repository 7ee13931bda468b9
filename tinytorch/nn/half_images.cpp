// From the lesson modules/78_conv_more/conv_more_dev.cpp:
// edit the module, not this file.

#include <optional>
#include <tuple>

#include "tinytorch/core/half_precision.h"
#include "tinytorch/nn/conv.h"
#include "tinytorch/nn/more_pool.h"
#include "tinytorch/nn/norm.h"
#include "tinytorch/nn/pool.h"
#include "tinytorch/nn/windows.h"

namespace tinytorch {

namespace {
std::tuple<Tensor, Tensor, Tensor> batch_norm_in_float(const Tensor& input, const std::optional<Tensor>& weight, const std::optional<Tensor>& bias, double eps) {
  const ExcludeLayersGuard guard(detail::above_cpu);
  const auto [result, mean, variance] = op::batch_norm(detail::widened(input, {}), detail::widened(weight, {}), detail::widened(bias, {}), eps);
  return {to_dtype(result, input.scalar_type()), mean, variance};
}
}  // namespace

void register_half_images() {
  compute_in_float<op::convolution, op::convolution_input, op::convolution_weight, op::im2col, op::col2im, op::max_pool2d_with_indices, op::window_means, op::window_means_backward, op::_adaptive_avg_pool2d, op::_adaptive_avg_pool2d_backward>();
  op::batch_norm.set(Layer::HalfPrecision, batch_norm_in_float);
}

}  // namespace tinytorch
