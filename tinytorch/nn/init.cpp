// From the lesson modules/03_layers/layers_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/init.h"

#include <cmath>

#include "tinytorch/core/dispatch.h"

namespace tinytorch {

double nn::init::calculate_gain(NonlinearityType nonlinearity, double param) {
  if (std::holds_alternative<enumtype::kTanh>(nonlinearity)) return 5.0 / 3.0;
  if (std::holds_alternative<enumtype::kReLU>(nonlinearity)) return std::sqrt(2.0);
  if (std::holds_alternative<enumtype::kLeakyReLU>(nonlinearity))
    return std::sqrt(2.0 / (1.0 + param * param));
  return 1.0;
}

std::tuple<std::int64_t, std::int64_t> nn::init::_calculate_fan_in_and_fan_out(const Tensor& tensor) {
  TORCH_CHECK(
      tensor.dim() >= 2,
      "Fan in and fan out cannot be computed for tensor with fewer than 2 dimensions\n[init] got sizes ",
      tensor.sizes());
  std::int64_t kernel = 1;
  for (std::int64_t d = 2; d < tensor.dim(); ++d) kernel *= tensor.size(d);
  return {tensor.size(1) * kernel, tensor.size(0) * kernel};
}

Tensor nn::init::uniform_(Tensor tensor, double low, double high) {
  const AutoDispatchBelowAutograd guard;
  return tensor.uniform_(low, high);
}

Tensor nn::init::normal_(Tensor tensor, double mean, double std) {
  const AutoDispatchBelowAutograd guard;
  return tensor.normal_(mean, std);
}

namespace {
// gain / sqrt(fan); 0 for a layer without inputs, whose weight is empty.
double kaiming_std(const Tensor& tensor, double a, const nn::init::FanModeType& mode,
                   const nn::init::NonlinearityType& nonlinearity) {
  const auto [fan_in, fan_out] = nn::init::_calculate_fan_in_and_fan_out(tensor);
  const std::int64_t fan = std::holds_alternative<enumtype::kFanIn>(mode) ? fan_in : fan_out;
  return fan == 0 ? 0.0 : nn::init::calculate_gain(nonlinearity, a) / std::sqrt(static_cast<double>(fan));
}
}  // namespace

// Fills `tensor` with uniform random numbers around 0 whose standard deviation is gain / sqrt(fan). Returns
// `tensor`.
Tensor nn::init::kaiming_uniform_(Tensor tensor, double a, FanModeType mode, NonlinearityType nonlinearity) {
  const double bound = std::sqrt(3.0) * kaiming_std(tensor, a, mode, nonlinearity);
  return nn::init::uniform_(tensor, -bound, bound);
}

Tensor nn::init::kaiming_normal_(Tensor tensor, double a, FanModeType mode, NonlinearityType nonlinearity) {
  return nn::init::normal_(tensor, 0, kaiming_std(tensor, a, mode, nonlinearity));
}

Tensor nn::init::kaiming_uniform_(Tensor tensor, double a) { return kaiming_uniform_(std::move(tensor), a, kFanIn, kLeakyReLU); }
Tensor nn::init::kaiming_uniform_(Tensor tensor, double a, FanModeType mode) { return kaiming_uniform_(std::move(tensor), a, mode, kLeakyReLU); }
Tensor nn::init::kaiming_normal_(Tensor tensor, double a) { return kaiming_normal_(std::move(tensor), a, kFanIn, kLeakyReLU); }
Tensor nn::init::kaiming_normal_(Tensor tensor, double a, FanModeType mode) { return kaiming_normal_(std::move(tensor), a, mode, kLeakyReLU); }

}  // namespace tinytorch
