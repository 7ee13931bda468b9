// From the lesson modules/78_conv_more/conv_more_dev.cpp:
// edit the module, not this file.
#pragma once

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

namespace nn {

#define TINYTORCH_MAX_POOL(D)                                                                                                                     \
  class MaxPool##D##dImpl : public Cloneable<MaxPool##D##dImpl> {                                                                                 \
   public:                                                                                                                                        \
    MaxPool##D##dImpl(ExpandingArray<D> kernel_size) : MaxPool##D##dImpl(MaxPool##D##dOptions(kernel_size)) {}                                    \
    explicit MaxPool##D##dImpl(const MaxPool##D##dOptions& options_) : options(options_) {}                                                       \
    void reset() override {}                                                                                                                      \
    void pretty_print(std::ostream& stream) const override { stream << "torch::nn::MaxPool" #D "d" << options; }                                  \
    Tensor forward(const Tensor& input) { return std::get<0>(forward_with_indices(input)); }                                                      \
    std::tuple<Tensor, Tensor> forward_with_indices(const Tensor& input) {                                                                        \
      return max_pool##D##d_with_indices(input, options.kernel_size(), options.stride(), options.padding(), options.dilation(), options.ceil_mode()); \
    }                                                                                                                                             \
    MaxPool##D##dOptions options;                                                                                                                 \
  };                                                                                                                                              \
  TORCH_MODULE(MaxPool##D##d);                                                                                                                    \
  namespace functional {                                                                                                                          \
  inline Tensor max_pool##D##d(const Tensor& input, const MaxPool##D##dFuncOptions& options) { return MaxPool##D##dImpl(options).forward(input); } \
  inline std::tuple<Tensor, Tensor> max_pool##D##d_with_indices(const Tensor& input, const MaxPool##D##dFuncOptions& options) {                   \
    return MaxPool##D##dImpl(options).forward_with_indices(input);                                                                                \
  }                                                                                                                                               \
  }
TINYTORCH_MAX_POOL(1)
TINYTORCH_MAX_POOL(2)
TINYTORCH_MAX_POOL(3)
#undef TINYTORCH_MAX_POOL

class AvgPool1dImpl : public Cloneable<AvgPool1dImpl> {
 public:
  AvgPool1dImpl(ExpandingArray<1> kernel_size) : AvgPool1dImpl(AvgPool1dOptions(kernel_size)) {}
  explicit AvgPool1dImpl(const AvgPool1dOptions& options_) : options(options_) {}
  void reset() override {}
  void pretty_print(std::ostream& stream) const override { stream << "torch::nn::AvgPool1d" << options; }
  Tensor forward(const Tensor& input) {
    return avg_pool1d(input, options.kernel_size(), options.stride(), options.padding(), options.ceil_mode(), options.count_include_pad());
  }
  AvgPool1dOptions options;
};
TORCH_MODULE(AvgPool1d);
class AvgPool2dImpl : public Cloneable<AvgPool2dImpl> {
 public:
  AvgPool2dImpl(ExpandingArray<2> kernel_size) : AvgPool2dImpl(AvgPool2dOptions(kernel_size)) {}
  explicit AvgPool2dImpl(const AvgPool2dOptions& options_) : options(options_) {}
  void reset() override {}
  void pretty_print(std::ostream& stream) const override { stream << "torch::nn::AvgPool2d" << options; }
  Tensor forward(const Tensor& input) {
    return avg_pool2d(input, options.kernel_size(), options.stride(), options.padding(), options.ceil_mode(), options.count_include_pad(), options.divisor_override());
  }
  AvgPool2dOptions options;
};
TORCH_MODULE(AvgPool2d);
class AvgPool3dImpl : public Cloneable<AvgPool3dImpl> {
 public:
  AvgPool3dImpl(ExpandingArray<3> kernel_size) : AvgPool3dImpl(AvgPool3dOptions(kernel_size)) {}
  explicit AvgPool3dImpl(const AvgPool3dOptions& options_) : options(options_) {}
  void reset() override {}
  void pretty_print(std::ostream& stream) const override { stream << "torch::nn::AvgPool3d" << options; }
  Tensor forward(const Tensor& input) {
    return avg_pool3d(input, options.kernel_size(), options.stride(), options.padding(), options.ceil_mode(), options.count_include_pad(), options.divisor_override());
  }
  AvgPool3dOptions options;
};
TORCH_MODULE(AvgPool3d);

namespace detail {
// The output size that is meant: a size that is left out is the input's.
inline DimVector adaptive_size(const ExpandingArray<1>& size, const Tensor&) { return IntArrayRef(size); }
template <std::size_t D>
DimVector adaptive_size(const ExpandingArrayWithOptionalElem<D>& size, const Tensor& input) {
  DimVector sizes;
  for (std::size_t d = 0; d < D; ++d) sizes.push_back((*size)[d].value_or(input.size(static_cast<std::int64_t>(d) - static_cast<std::int64_t>(D))));
  return sizes;
}
}  // namespace detail

#define TINYTORCH_ADAPTIVE_POOL(D, Size)                                                                                                                    \
  class AdaptiveAvgPool##D##dImpl : public Cloneable<AdaptiveAvgPool##D##dImpl> {                                                                           \
   public:                                                                                                                                                  \
    AdaptiveAvgPool##D##dImpl(Size<D> output_size) : AdaptiveAvgPool##D##dImpl(AdaptiveAvgPool##D##dOptions(output_size)) {}                                \
    explicit AdaptiveAvgPool##D##dImpl(const AdaptiveAvgPool##D##dOptions& options_) : options(options_) {}                                                 \
    void reset() override {}                                                                                                                                \
    void pretty_print(std::ostream& stream) const override { stream << "torch::nn::AdaptiveAvgPool" #D "d(output_size=" << options.output_size() << ')'; }  \
    Tensor forward(const Tensor& input) { return adaptive_avg_pool##D##d(input, detail::adaptive_size(options.output_size(), input)); }                     \
    AdaptiveAvgPool##D##dOptions options;                                                                                                                   \
  };                                                                                                                                                        \
  TORCH_MODULE(AdaptiveAvgPool##D##d);                                                                                                                      \
  class AdaptiveMaxPool##D##dImpl : public Cloneable<AdaptiveMaxPool##D##dImpl> {                                                                           \
   public:                                                                                                                                                  \
    AdaptiveMaxPool##D##dImpl(Size<D> output_size) : AdaptiveMaxPool##D##dImpl(AdaptiveMaxPool##D##dOptions(output_size)) {}                                \
    explicit AdaptiveMaxPool##D##dImpl(const AdaptiveMaxPool##D##dOptions& options_) : options(options_) {}                                                 \
    void reset() override {}                                                                                                                                \
    void pretty_print(std::ostream& stream) const override { stream << "torch::nn::AdaptiveMaxPool" #D "d(output_size=" << options.output_size() << ')'; }  \
    Tensor forward(const Tensor& input) { return std::get<0>(forward_with_indices(input)); }                                                                \
    std::tuple<Tensor, Tensor> forward_with_indices(const Tensor& input) {                                                                                  \
      return adaptive_max_pool##D##d(input, detail::adaptive_size(options.output_size(), input));                                                           \
    }                                                                                                                                                       \
    AdaptiveMaxPool##D##dOptions options;                                                                                                                   \
  };                                                                                                                                                        \
  TORCH_MODULE(AdaptiveMaxPool##D##d);                                                                                                                      \
  namespace functional {                                                                                                                                    \
  inline Tensor avg_pool##D##d(const Tensor& input, const AvgPool##D##dFuncOptions& options) { return AvgPool##D##dImpl(options).forward(input); }          \
  inline Tensor adaptive_avg_pool##D##d(const Tensor& input, const AdaptiveAvgPool##D##dFuncOptions& options) {                                             \
    return AdaptiveAvgPool##D##dImpl(options).forward(input);                                                                                               \
  }                                                                                                                                                         \
  inline Tensor adaptive_max_pool##D##d(const Tensor& input, const AdaptiveMaxPool##D##dFuncOptions& options) {                                             \
    return AdaptiveMaxPool##D##dImpl(options).forward(input);                                                                                               \
  }                                                                                                                                                         \
  inline std::tuple<Tensor, Tensor> adaptive_max_pool##D##d_with_indices(const Tensor& input, const AdaptiveMaxPool##D##dFuncOptions& options) {            \
    return AdaptiveMaxPool##D##dImpl(options).forward_with_indices(input);                                                                                  \
  }                                                                                                                                                         \
  }
TINYTORCH_ADAPTIVE_POOL(1, ExpandingArray)
TINYTORCH_ADAPTIVE_POOL(2, ExpandingArrayWithOptionalElem)
TINYTORCH_ADAPTIVE_POOL(3, ExpandingArrayWithOptionalElem)
#undef TINYTORCH_ADAPTIVE_POOL

}  // namespace nn

}  // namespace tinytorch
