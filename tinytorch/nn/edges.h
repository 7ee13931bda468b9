// From the lesson modules/69_resizing/resizing_dev.cpp:
// edit the module, not this file.
#pragma once

#include <ostream>

#include "tinytorch/core/arg.h"
#include "tinytorch/core/expanding_array.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/padding.h"
#include "tinytorch/nn/pimpl.h"

namespace tinytorch {

namespace nn {

// How many elements to add: left, right, then top, bottom, then front, back; one number for all. Source: torch/csrc/api/include/torch/nn/options/padding.h.
template <std::size_t D>
struct EdgeOptions {
  EdgeOptions(ExpandingArray<D * 2> padding) : padding_(padding) {}
  TORCH_ARG(ExpandingArray<D * 2>, padding);
};
template <std::size_t D>
struct ConstantPadOptions {
  ConstantPadOptions(ExpandingArray<D * 2> padding, double value) : padding_(padding), value_(value) {}
  TORCH_ARG(ExpandingArray<D * 2>, padding);
  TORCH_ARG(double, value);
};

// Layers for one, two and three dimensions. What they do stands in the source: a file that includes them compiles none of it.
#define TINYTORCH_EDGE_LAYER(Name, D)                           \
  using Name##D##dOptions = EdgeOptions<D>;                     \
  class Name##D##dImpl : public Cloneable<Name##D##dImpl> {     \
   public:                                                      \
    Name##D##dImpl(ExpandingArray<D * 2> padding);              \
    explicit Name##D##dImpl(const Name##D##dOptions& options_); \
    void reset() override {}                                    \
    void pretty_print(std::ostream& stream) const override;     \
    Tensor forward(const Tensor& input);                        \
    Name##D##dOptions options;                                  \
  };                                                            \
  TORCH_MODULE(Name##D##d);
TINYTORCH_EDGE_LAYER(ReflectionPad, 1)
TINYTORCH_EDGE_LAYER(ReflectionPad, 2)
TINYTORCH_EDGE_LAYER(ReflectionPad, 3)
TINYTORCH_EDGE_LAYER(ReplicationPad, 1)
TINYTORCH_EDGE_LAYER(ReplicationPad, 2)
TINYTORCH_EDGE_LAYER(ReplicationPad, 3)
TINYTORCH_EDGE_LAYER(ZeroPad, 1)
TINYTORCH_EDGE_LAYER(ZeroPad, 2)
TINYTORCH_EDGE_LAYER(ZeroPad, 3)
#undef TINYTORCH_EDGE_LAYER

#define TINYTORCH_CONSTANT_PAD(D)                                             \
  using ConstantPad##D##dOptions = ConstantPadOptions<D>;                     \
  class ConstantPad##D##dImpl : public Cloneable<ConstantPad##D##dImpl> {     \
   public:                                                                    \
    ConstantPad##D##dImpl(ExpandingArray<D * 2> padding, double value);       \
    explicit ConstantPad##D##dImpl(const ConstantPad##D##dOptions& options_); \
    void reset() override {}                                                  \
    void pretty_print(std::ostream& stream) const override;                   \
    Tensor forward(const Tensor& input);                                      \
    ConstantPad##D##dOptions options;                                         \
  };                                                                          \
  TORCH_MODULE(ConstantPad##D##d);
TINYTORCH_CONSTANT_PAD(1)
TINYTORCH_CONSTANT_PAD(2)
TINYTORCH_CONSTANT_PAD(3)
#undef TINYTORCH_CONSTANT_PAD

struct LocalResponseNormOptions {
  LocalResponseNormOptions(std::int64_t size) : size_(size) {}
  TORCH_ARG(std::int64_t, size);
  TORCH_ARG(double, alpha) = 1e-4;
  TORCH_ARG(double, beta) = 0.75;
  TORCH_ARG(double, k) = 1;
};

namespace functional {
using LocalResponseNormFuncOptions = LocalResponseNormOptions;
// (N, C, spatial...) with each channel divided by the strength of the `size` channels around it. O(numel * size). Throws for fewer than three dimensions.
Tensor local_response_norm(const Tensor& input, const LocalResponseNormFuncOptions& options);
}  // namespace functional

class LocalResponseNormImpl : public Cloneable<LocalResponseNormImpl> {
 public:
  LocalResponseNormImpl(std::int64_t size);
  explicit LocalResponseNormImpl(const LocalResponseNormOptions& options_);
  void reset() override {}
  void pretty_print(std::ostream& stream) const override {
    stream << "torch::nn::LocalResponseNorm(" << options.size() << ", alpha=" << options.alpha() << ", beta=" << options.beta() << ", k=" << options.k() << ")";
  }
  Tensor forward(const Tensor& input) { return functional::local_response_norm(input, options); }
  LocalResponseNormOptions options;
};
TORCH_MODULE(LocalResponseNorm);

// The same for pictures, under the name that Torch 7 had for it.
struct CrossMapLRN2dOptions {
  CrossMapLRN2dOptions(std::int64_t size) : size_(size) {}
  TORCH_ARG(std::int64_t, size);
  TORCH_ARG(double, alpha) = 1e-4;
  TORCH_ARG(double, beta) = 0.75;
  TORCH_ARG(std::int64_t, k) = 1;
};

class CrossMapLRN2dImpl : public Cloneable<CrossMapLRN2dImpl> {
 public:
  CrossMapLRN2dImpl(std::int64_t size);
  explicit CrossMapLRN2dImpl(const CrossMapLRN2dOptions& options_);
  void reset() override {}
  void pretty_print(std::ostream& stream) const override {
    stream << "torch::nn::CrossMapLRN2d(" << options.size() << ", alpha=" << options.alpha() << ", beta=" << options.beta() << ", k=" << options.k() << ")";
  }
  // input (N, C, H, W) -> the same sizes.
  Tensor forward(const Tensor& input);
  CrossMapLRN2dOptions options;
};
TORCH_MODULE(CrossMapLRN2d);

}  // namespace nn

}  // namespace tinytorch
