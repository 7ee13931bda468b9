// From the lesson modules/78_conv_more/conv_more_dev.cpp:
// edit the module, not this file.
#pragma once

#include <utility>

#include "tinytorch/nn/image_layers.h"
#include "tinytorch/nn/pool.h"

namespace tinytorch {

Tensor max_pool1d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride = {}, IntArrayRef padding = 0, IntArrayRef dilation = 1, bool ceil_mode = false);
std::tuple<Tensor, Tensor> max_pool1d_with_indices(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride = {}, IntArrayRef padding = 0, IntArrayRef dilation = 1,
                                                   bool ceil_mode = false);
Tensor max_pool3d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride = {}, IntArrayRef padding = 0, IntArrayRef dilation = 1, bool ceil_mode = false);
// The position counts in the flattened volume.
std::tuple<Tensor, Tensor> max_pool3d_with_indices(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride = {}, IntArrayRef padding = 0, IntArrayRef dilation = 1,
                                                   bool ceil_mode = false);
Tensor avg_pool1d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride = {}, IntArrayRef padding = 0, bool ceil_mode = false, bool count_include_pad = true);
Tensor avg_pool3d(const Tensor& self, IntArrayRef kernel_size, IntArrayRef stride = {}, IntArrayRef padding = 0, bool ceil_mode = false, bool count_include_pad = true,
                  std::optional<std::int64_t> divisor_override = std::nullopt);
// Means and maxima over windows chosen so that the output has the given size: output i of a dimension covers [floor(i size / count), ceil((i + 1) size / count)). The maxima also give their positions in
// the flattened image.
Tensor adaptive_avg_pool1d(const Tensor& self, IntArrayRef output_size);
Tensor adaptive_avg_pool2d(const Tensor& self, IntArrayRef output_size);
Tensor adaptive_avg_pool3d(const Tensor& self, IntArrayRef output_size);
std::tuple<Tensor, Tensor> adaptive_max_pool1d(const Tensor& self, IntArrayRef output_size);
std::tuple<Tensor, Tensor> adaptive_max_pool2d(const Tensor& self, IntArrayRef output_size);
std::tuple<Tensor, Tensor> adaptive_max_pool3d(const Tensor& self, IntArrayRef output_size);

namespace op {
// The means of adaptive_avg_pool2d: (..., H, W) of a floating-point dtype and {h, w} -> (..., h, w).
extern Operator<Tensor(const Tensor&, IntArrayRef)> _adaptive_avg_pool2d;
// Its gradient: each pixel of an image of `size` {H, W} gets, of each window that holds it, `grad` divided by the number of the window's pixels. grad, size.
extern Operator<Tensor(const Tensor&, IntArrayRef)> _adaptive_avg_pool2d_backward;
}  // namespace op

// The range of input elements that output i of `count` covers: (first, how many). REQUIRES: 0 <= i < count.
std::pair<std::int64_t, std::int64_t> adaptive_range(std::int64_t i, std::int64_t count, std::int64_t size);

namespace nn {

// Layers for one, two and three dimensions. What they do stands in the source: a file that includes them compiles none of it.
#define TINYTORCH_POOL_LAYER(Name, D, Size, ...)                \
  class Name##D##dImpl : public Cloneable<Name##D##dImpl> {     \
   public:                                                      \
    Name##D##dImpl(Size<D> size);                               \
    explicit Name##D##dImpl(const Name##D##dOptions& options_); \
    void reset() override {}                                    \
    void pretty_print(std::ostream& stream) const override;     \
    Tensor forward(const Tensor& input);                        \
    __VA_ARGS__                                                 \
    Name##D##dOptions options;                                  \
  };                                                            \
  TORCH_MODULE(Name##D##d);
TINYTORCH_POOL_LAYER(MaxPool, 1, ExpandingArray, std::tuple<Tensor, Tensor> forward_with_indices(const Tensor& input);)
TINYTORCH_POOL_LAYER(MaxPool, 2, ExpandingArray, std::tuple<Tensor, Tensor> forward_with_indices(const Tensor& input);)
TINYTORCH_POOL_LAYER(MaxPool, 3, ExpandingArray, std::tuple<Tensor, Tensor> forward_with_indices(const Tensor& input);)
TINYTORCH_POOL_LAYER(AvgPool, 1, ExpandingArray)
TINYTORCH_POOL_LAYER(AvgPool, 2, ExpandingArray)
TINYTORCH_POOL_LAYER(AvgPool, 3, ExpandingArray)
TINYTORCH_POOL_LAYER(AdaptiveAvgPool, 1, ExpandingArray)
TINYTORCH_POOL_LAYER(AdaptiveAvgPool, 2, ExpandingArrayWithOptionalElem)
TINYTORCH_POOL_LAYER(AdaptiveAvgPool, 3, ExpandingArrayWithOptionalElem)
TINYTORCH_POOL_LAYER(AdaptiveMaxPool, 1, ExpandingArray, std::tuple<Tensor, Tensor> forward_with_indices(const Tensor& input);)
TINYTORCH_POOL_LAYER(AdaptiveMaxPool, 2, ExpandingArrayWithOptionalElem, std::tuple<Tensor, Tensor> forward_with_indices(const Tensor& input);)
TINYTORCH_POOL_LAYER(AdaptiveMaxPool, 3, ExpandingArrayWithOptionalElem, std::tuple<Tensor, Tensor> forward_with_indices(const Tensor& input);)
#undef TINYTORCH_POOL_LAYER

#define TINYTORCH_POOL_FUNCTIONS(D)                                                                                                      \
  Tensor max_pool##D##d(const Tensor& input, const MaxPool##D##dFuncOptions& options);                                                   \
  std::tuple<Tensor, Tensor> max_pool##D##d_with_indices(const Tensor& input, const MaxPool##D##dFuncOptions& options);                  \
  Tensor avg_pool##D##d(const Tensor& input, const AvgPool##D##dFuncOptions& options);                                                   \
  Tensor adaptive_avg_pool##D##d(const Tensor& input, const AdaptiveAvgPool##D##dFuncOptions& options);                                  \
  Tensor adaptive_max_pool##D##d(const Tensor& input, const AdaptiveMaxPool##D##dFuncOptions& options);                                  \
  std::tuple<Tensor, Tensor> adaptive_max_pool##D##d_with_indices(const Tensor& input, const AdaptiveMaxPool##D##dFuncOptions& options);
namespace functional {
TINYTORCH_POOL_FUNCTIONS(1)
TINYTORCH_POOL_FUNCTIONS(2)
TINYTORCH_POOL_FUNCTIONS(3)
}  // namespace functional
#undef TINYTORCH_POOL_FUNCTIONS

}  // namespace nn

}  // namespace tinytorch
