// From the lesson modules/69_resizing/resizing_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/edges.h"

#include <algorithm>
#include <cstdlib>

#include "tinytorch/core/more_ops.h"

namespace tinytorch {

namespace nn {
namespace {
template <std::size_t D>
Tensor pad_edges(const Tensor& input, const ExpandingArray<D * 2>& padding, const functional::PadFuncOptions::mode_t& mode, double value = 0) {
  const IntArrayRef amounts(padding);
  return functional::pad(input, functional::PadFuncOptions(amounts.vec()).mode(mode).value(value));
}
}  // namespace

#define TINYTORCH_EDGE_LAYER(Name, D, edge_mode)                                                                                               \
  Name##D##dImpl::Name##D##dImpl(ExpandingArray<D * 2> padding) : Name##D##dImpl(Name##D##dOptions(padding)) {}                                \
  Name##D##dImpl::Name##D##dImpl(const Name##D##dOptions& options_) : options(options_) {}                                                     \
  void Name##D##dImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::" #Name #D "d(padding=" << options.padding() << ")"; } \
  Tensor Name##D##dImpl::forward(const Tensor& input) { return pad_edges<D>(input, options.padding(), edge_mode); }
TINYTORCH_EDGE_LAYER(ReflectionPad, 1, kReflect)
TINYTORCH_EDGE_LAYER(ReflectionPad, 2, kReflect)
TINYTORCH_EDGE_LAYER(ReflectionPad, 3, kReflect)
TINYTORCH_EDGE_LAYER(ReplicationPad, 1, kReplicate)
TINYTORCH_EDGE_LAYER(ReplicationPad, 2, kReplicate)
TINYTORCH_EDGE_LAYER(ReplicationPad, 3, kReplicate)
TINYTORCH_EDGE_LAYER(ZeroPad, 1, kConstant)
TINYTORCH_EDGE_LAYER(ZeroPad, 2, kConstant)
TINYTORCH_EDGE_LAYER(ZeroPad, 3, kConstant)
#undef TINYTORCH_EDGE_LAYER

#define TINYTORCH_CONSTANT_PAD(D)                                                                                                                                \
  ConstantPad##D##dImpl::ConstantPad##D##dImpl(ExpandingArray<D * 2> padding, double value) : ConstantPad##D##dImpl(ConstantPad##D##dOptions(padding, value)) {} \
  ConstantPad##D##dImpl::ConstantPad##D##dImpl(const ConstantPad##D##dOptions& options_) : options(options_) {}                                                  \
  void ConstantPad##D##dImpl::pretty_print(std::ostream& stream) const {                                                                                         \
    stream << "torch::nn::ConstantPad" #D "d(padding=" << options.padding() << ", value=" << options.value() << ")";                                             \
  }                                                                                                                                                              \
  Tensor ConstantPad##D##dImpl::forward(const Tensor& input) { return pad_edges<D>(input, options.padding(), kConstant, options.value()); }
TINYTORCH_CONSTANT_PAD(1)
TINYTORCH_CONSTANT_PAD(2)
TINYTORCH_CONSTANT_PAD(3)
#undef TINYTORCH_CONSTANT_PAD
}  // namespace nn

nn::LocalResponseNormImpl::LocalResponseNormImpl(std::int64_t size) : LocalResponseNormImpl(LocalResponseNormOptions(size)) {}
nn::LocalResponseNormImpl::LocalResponseNormImpl(const LocalResponseNormOptions& options_) : options(options_) {}
nn::CrossMapLRN2dImpl::CrossMapLRN2dImpl(std::int64_t size) : CrossMapLRN2dImpl(CrossMapLRN2dOptions(size)) {}
nn::CrossMapLRN2dImpl::CrossMapLRN2dImpl(const CrossMapLRN2dOptions& options_) : options(options_) {}

Tensor nn::CrossMapLRN2dImpl::forward(const Tensor& input) {
  TORCH_CHECK(input.dim() == 4, "CrossMapLRN2d: Expected input to be 4D, got ", input.dim(), "D instead.");
  return functional::local_response_norm(input, LocalResponseNormOptions(options.size()).alpha(options.alpha()).beta(options.beta()).k(static_cast<double>(options.k())));
}

Tensor nn::functional::local_response_norm(const Tensor& input, const LocalResponseNormFuncOptions& options) {
  TORCH_CHECK(input.dim() >= 3, "Expected 3D or higher dimensionality input (got ", input.dim(), " dimensions)");
  const std::int64_t C = input.size(1);
  const Tensor squares = input * input;
  // The channel at distance k, with zeros beyond the ends; then the sum over the distances.
  Tensor strength = zeros_like(squares);
  for (std::int64_t k = -(options.size() / 2); k <= (options.size() - 1) / 2; ++k) {
    const std::int64_t count = C - std::abs(k);
    if (count <= 0) continue;
    DimVector gap(input.sizes());
    gap[1] = C - count;
    const Tensor part = squares.narrow(1, std::max<std::int64_t>(k, 0), count), none = zeros(gap, input.options());
    strength = strength + (k > 0 ? cat({part, none}, 1) : cat({none, part}, 1));
  }
  return input / (strength / static_cast<double>(options.size()) * options.alpha() + options.k()).pow(options.beta());
}

}  // namespace tinytorch
