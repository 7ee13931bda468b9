// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//       format_version: '1.3'
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch
// ---

// %% [markdown]
// # Library chapter 81: Options of image layers
//
// Convolutions, poolings and batch norms have many settings, most of them one number for each spatial dimension. This chapter holds what carries them, so that module 09 can be about what the layers
// compute: libtorch's option structs under libtorch's names, and `ExpandingArray<D>`, "one number for all dimensions, or D of them".
//
//     nn::Conv2dOptions(16, 32, 3).stride(2).padding({1, 0})
//                              |          |         |
//                         kernel (3, 3)  (2, 2)    rows 1, columns 0

// %%
//| after 08
//| export core/expanding_array.h
#include <array>
#include <initializer_list>
#include <optional>
#include <ostream>
#include <vector>
#include "tinytorch/core/array_ref.h"
//| export nn/image_options.h
#include <optional>
#include <ostream>
#include <variant>
#include "tinytorch/core/arg.h"
#include "tinytorch/core/enum.h"
#include "tinytorch/core/expanding_array.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/nn/padding.h"
//| export nn/image_checks.h
#include <string>
#include "tinytorch/core/ops.h"
//| export nn/image_checks.cpp
#include <algorithm>
#include <sstream>
//| export nn/image_layers.h
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/image_options.h"
#include "tinytorch/nn/init.h"
//| export nn/image_layers.cpp
#include <cmath>
// %%
#include "tito/lesson.h"
#include <sstream>
#include <string>
#include <vector>

// %%
namespace tinytorch {

// %% [markdown]
// ## One number, or one for each dimension

// %%
//| export core/expanding_array.h
// D values, given as D or as one for all: kernel_size(3) and kernel_size({3, 5}). One is printed as a number, several as a list. Source: torch/csrc/api/include/torch/expanding_array.h.
template <std::size_t D, class T = std::int64_t>
class ExpandingArray {
 public:
  ExpandingArray(std::initializer_list<T> list) : ExpandingArray(ArrayRef<T>(list)) {}
  ExpandingArray(const std::vector<T>& values) : ExpandingArray(ArrayRef<T>(values)) {}
  ExpandingArray(ArrayRef<T> values) {
    TORCH_CHECK(values.size() == D, "Expected ", D, " values, but instead got ", values.size());
    for (std::size_t i = 0; i < D; ++i) values_[i] = values[i];
  }
  ExpandingArray(const std::array<T, D>& values) : values_(values) {}
  ExpandingArray(T single) { values_.fill(single); }

  std::array<T, D>& operator*() { return values_; }
  const std::array<T, D>& operator*() const { return values_; }
  std::array<T, D>* operator->() { return &values_; }
  const std::array<T, D>* operator->() const { return &values_; }
  operator ArrayRef<T>() const { return values_; }
  std::size_t size() const noexcept { return D; }

 private:
  std::array<T, D> values_;
};

template <std::size_t D, class T>
std::ostream& operator<<(std::ostream& out, const ExpandingArray<D, T>& values) {
  if constexpr (D == 1) return out << (*values)[0];
  else return out << ArrayRef<T>(values);
}

// The same where a value may be left out: {5, nullopt}.
template <std::size_t D, class T = std::int64_t>
class ExpandingArrayWithOptionalElem : public ExpandingArray<D, std::optional<T>> {
 public:
  using ExpandingArray<D, std::optional<T>>::ExpandingArray;
  ExpandingArrayWithOptionalElem(T single) : ExpandingArray<D, std::optional<T>>(std::optional<T>(single)) {}
};

template <std::size_t D, class T>
std::ostream& operator<<(std::ostream& out, const ExpandingArrayWithOptionalElem<D, T>& values) {
  for (std::size_t i = 0; i < D; ++i) {
    if (D > 1) out << (i == 0 ? "[" : ", ");
    if ((*values)[i]) out << *(*values)[i];
    else out << "None";
  }
  return D > 1 ? out << ']' : out;
}

// %%
TEST_CASE("ExpandingArray: one value for all dimensions, or one for each") {
  const auto text = [](const auto& value) {
    std::ostringstream stream;
    stream << value;
    return stream.str();
  };
  CHECK_EQ(text(ExpandingArray<3>(2)), "[2, 2, 2]");
  CHECK_EQ(text(ExpandingArray<2>({3, 5})), "[3, 5]");
  CHECK_EQ(text(ExpandingArray<2>(std::vector<std::int64_t>{3, 5})), "[3, 5]");
  CHECK_EQ((*ExpandingArray<2>({3, 5}))[1], 5);
  CHECK_ERROR(ExpandingArray<2>({3}), "Expected 2 values, but instead got 1");
  CHECK_EQ(text(ExpandingArrayWithOptionalElem<2>({7, std::nullopt})), "[7, None]");
  CHECK_EQ(text(ExpandingArrayWithOptionalElem<2>(4)), "[4, 4]");
  CHECK_EQ(text(ExpandingArray<1>(2)), "2");
  CHECK_EQ(text(ExpandingArrayWithOptionalElem<1>({std::nullopt})), "None");
}

// %% [markdown]
// ## Options

// %%
//| export nn/image_options.h
TORCH_ENUM_DECLARE(Zeros);
TORCH_ENUM_DECLARE(Valid);
TORCH_ENUM_DECLARE(Same);

namespace nn {

namespace detail {
template <std::size_t D>
using conv_padding_t = std::variant<ExpandingArray<D>, enumtype::kValid, enumtype::kSame>;
using conv_padding_mode_t = std::variant<enumtype::kZeros, enumtype::kReflect, enumtype::kReplicate, enumtype::kCircular>;
// kReflect as pad's, "kReflect" as text, and so on.
functional::PadFuncOptions::mode_t pad_mode_of(const conv_padding_mode_t& mode);
const char* name_of(const conv_padding_mode_t& mode);
// How many zeros on each side: 0 for kValid, and for kSame, which has amounts of its own.
template <std::size_t D>
ExpandingArray<D> padding_numbers(const conv_padding_t<D>& padding) {
  return std::holds_alternative<ExpandingArray<D>>(padding) ? std::get<0>(padding) : ExpandingArray<D>(0);
}
}  // namespace detail

// Source: torch/csrc/api/include/torch/nn/options/conv.h.
template <std::size_t D>
struct ConvOptions {
  using padding_t = detail::conv_padding_t<D>;
  using padding_mode_t = detail::conv_padding_mode_t;
  ConvOptions(std::int64_t in_channels, std::int64_t out_channels, ExpandingArray<D> kernel_size)
      : in_channels_(in_channels), out_channels_(out_channels), kernel_size_(std::move(kernel_size)) {}
  auto padding(std::initializer_list<std::int64_t> sizes) -> decltype(*this) { return padding(padding_t(ExpandingArray<D>(sizes))); }
  TORCH_ARG(std::int64_t, in_channels);
  TORCH_ARG(std::int64_t, out_channels);
  TORCH_ARG(ExpandingArray<D>, kernel_size);
  TORCH_ARG(ExpandingArray<D>, stride) = 1;
  TORCH_ARG(padding_t, padding) = ExpandingArray<D>(0);
  TORCH_ARG(ExpandingArray<D>, dilation) = 1;
  TORCH_ARG(std::int64_t, groups) = 1;
  TORCH_ARG(bool, bias) = true;
  TORCH_ARG(padding_mode_t, padding_mode) = kZeros;
};
using Conv1dOptions = ConvOptions<1>;
using Conv2dOptions = ConvOptions<2>;
using Conv3dOptions = ConvOptions<3>;

// Source: torch/csrc/api/include/torch/nn/options/pooling.h.
template <std::size_t D>
struct MaxPoolOptions {
  MaxPoolOptions(ExpandingArray<D> kernel_size) : kernel_size_(kernel_size), stride_(kernel_size) {}
  TORCH_ARG(ExpandingArray<D>, kernel_size);
  TORCH_ARG(ExpandingArray<D>, stride);
  TORCH_ARG(ExpandingArray<D>, padding) = 0;
  TORCH_ARG(ExpandingArray<D>, dilation) = 1;
  TORCH_ARG(bool, ceil_mode) = false;
};
using MaxPool1dOptions = MaxPoolOptions<1>;
using MaxPool2dOptions = MaxPoolOptions<2>;
using MaxPool3dOptions = MaxPoolOptions<3>;

template <std::size_t D>
struct AvgPoolOptions {
  AvgPoolOptions(ExpandingArray<D> kernel_size) : kernel_size_(kernel_size), stride_(kernel_size) {}
  TORCH_ARG(ExpandingArray<D>, kernel_size);
  TORCH_ARG(ExpandingArray<D>, stride);
  TORCH_ARG(ExpandingArray<D>, padding) = 0;
  TORCH_ARG(bool, ceil_mode) = false;
  TORCH_ARG(bool, count_include_pad) = true;
  TORCH_ARG(std::optional<std::int64_t>, divisor_override) = std::nullopt;
};
using AvgPool1dOptions = AvgPoolOptions<1>;
using AvgPool2dOptions = AvgPoolOptions<2>;
using AvgPool3dOptions = AvgPoolOptions<3>;

template <class OutputSize>
struct AdaptivePoolOptions {
  AdaptivePoolOptions(OutputSize output_size) : output_size_(output_size) {}
  TORCH_ARG(OutputSize, output_size);
};
using AdaptiveAvgPool1dOptions = AdaptivePoolOptions<ExpandingArray<1>>;
using AdaptiveAvgPool2dOptions = AdaptivePoolOptions<ExpandingArrayWithOptionalElem<2>>;
using AdaptiveAvgPool3dOptions = AdaptivePoolOptions<ExpandingArrayWithOptionalElem<3>>;
using AdaptiveMaxPool1dOptions = AdaptiveAvgPool1dOptions;
using AdaptiveMaxPool2dOptions = AdaptiveAvgPool2dOptions;
using AdaptiveMaxPool3dOptions = AdaptiveAvgPool3dOptions;

// Source: torch/csrc/api/include/torch/nn/options/batchnorm.h.
struct BatchNormOptions {
  BatchNormOptions(std::int64_t num_features) : num_features_(num_features) {}
  TORCH_ARG(std::int64_t, num_features);
  TORCH_ARG(double, eps) = 1e-5;
  TORCH_ARG(std::optional<double>, momentum) = 0.1;
  TORCH_ARG(bool, affine) = true;
  TORCH_ARG(bool, track_running_stats) = true;
};
using BatchNorm1dOptions = BatchNormOptions;
using BatchNorm2dOptions = BatchNormOptions;
using BatchNorm3dOptions = BatchNormOptions;

namespace functional {
template <std::size_t D>
struct ConvFuncOptions {
  using padding_t = nn::detail::conv_padding_t<D>;
  auto padding(std::initializer_list<std::int64_t> sizes) -> decltype(*this) { return padding(padding_t(ExpandingArray<D>(sizes))); }
  TORCH_ARG(Tensor, bias) = Tensor();
  TORCH_ARG(ExpandingArray<D>, stride) = 1;
  TORCH_ARG(padding_t, padding) = ExpandingArray<D>(0);
  TORCH_ARG(ExpandingArray<D>, dilation) = 1;
  TORCH_ARG(std::int64_t, groups) = 1;
};
using Conv1dFuncOptions = ConvFuncOptions<1>;
using Conv2dFuncOptions = ConvFuncOptions<2>;
using Conv3dFuncOptions = ConvFuncOptions<3>;
using MaxPool1dFuncOptions = MaxPool1dOptions;
using MaxPool2dFuncOptions = MaxPool2dOptions;
using MaxPool3dFuncOptions = MaxPool3dOptions;
using AvgPool1dFuncOptions = AvgPool1dOptions;
using AvgPool2dFuncOptions = AvgPool2dOptions;
using AvgPool3dFuncOptions = AvgPool3dOptions;
using AdaptiveAvgPool1dFuncOptions = AdaptiveAvgPool1dOptions;
using AdaptiveAvgPool2dFuncOptions = AdaptiveAvgPool2dOptions;
using AdaptiveAvgPool3dFuncOptions = AdaptiveAvgPool3dOptions;
using AdaptiveMaxPool1dFuncOptions = AdaptiveMaxPool1dOptions;
using AdaptiveMaxPool2dFuncOptions = AdaptiveMaxPool2dOptions;
using AdaptiveMaxPool3dFuncOptions = AdaptiveMaxPool3dOptions;
struct BatchNormFuncOptions {
  TORCH_ARG(Tensor, weight) = Tensor();
  TORCH_ARG(Tensor, bias) = Tensor();
  TORCH_ARG(bool, training) = false;
  TORCH_ARG(std::optional<double>, momentum) = 0.1;
  TORCH_ARG(double, eps) = 1e-5;
};
}  // namespace functional

// As the layers print them, in parentheses.
template <std::size_t D>
std::ostream& operator<<(std::ostream& out, const MaxPoolOptions<D>& options) {
  return out << "(kernel_size=" << options.kernel_size() << ", stride=" << options.stride() << ", padding=" << options.padding()
             << ", dilation=" << options.dilation() << ", ceil_mode=" << (options.ceil_mode() ? "true" : "false") << ')';
}
template <std::size_t D>
std::ostream& operator<<(std::ostream& out, const AvgPoolOptions<D>& options) {
  return out << "(kernel_size=" << options.kernel_size() << ", stride=" << options.stride() << ", padding=" << options.padding() << ')';
}
std::ostream& operator<<(std::ostream& out, const BatchNormOptions& options);

}  // namespace nn

// %%
//| export nn/image_options.cpp
nn::functional::PadFuncOptions::mode_t nn::detail::pad_mode_of(const conv_padding_mode_t& mode) {
  if (std::holds_alternative<enumtype::kReflect>(mode)) return kReflect;
  if (std::holds_alternative<enumtype::kReplicate>(mode)) return kReplicate;
  if (std::holds_alternative<enumtype::kCircular>(mode)) return kCircular;
  return kConstant;
}

const char* nn::detail::name_of(const conv_padding_mode_t& mode) {
  static constexpr const char* names[] = {"kZeros", "kReflect", "kReplicate", "kCircular"};
  return names[mode.index()];
}

std::ostream& nn::operator<<(std::ostream& out, const BatchNormOptions& options) {
  out << '(' << options.num_features() << ", eps=" << options.eps() << ", momentum=";
  if (options.momentum()) out << *options.momentum();
  else out << "None";
  return out << ", affine=" << (options.affine() ? "true" : "false") << ", track_running_stats=" << (options.track_running_stats() ? "true" : "false") << ')';
}

// %%
TEST_CASE("options: defaults, one value or several, text") {
  const nn::Conv2dOptions conv = nn::Conv2dOptions(3, 8, {3, 5}).padding({1, 2});
  CHECK_EQ(*conv.kernel_size(), std::array<std::int64_t, 2>{3, 5});
  CHECK_EQ(*std::get<0>(conv.padding()), std::array<std::int64_t, 2>{1, 2});
  CHECK_EQ(*conv.stride(), std::array<std::int64_t, 2>{1, 1});
  CHECK_EQ(*std::get<0>(nn::Conv1dOptions(1, 1, 3).padding(4).padding()), std::array<std::int64_t, 1>{4});
  CHECK(std::holds_alternative<enumtype::kSame>(nn::Conv2dOptions(1, 1, 3).padding(kSame).padding()));
  CHECK_EQ(std::string(nn::detail::name_of(nn::Conv2dOptions(1, 1, 3).padding_mode(kCircular).padding_mode())), "kCircular");
  CHECK(std::holds_alternative<enumtype::kReplicate>(nn::detail::pad_mode_of(kReplicate)));
  const auto text = [](const auto& value) {
    std::ostringstream stream;
    stream << value;
    return stream.str();
  };
  CHECK_EQ(text(nn::MaxPool2dOptions(2).padding({1, 0})), "(kernel_size=[2, 2], stride=[2, 2], padding=[1, 0], dilation=[1, 1], ceil_mode=false)");
  CHECK_EQ(text(nn::AvgPool2dOptions({2, 3}).stride(1)), "(kernel_size=[2, 3], stride=[1, 1], padding=[0, 0])");
  CHECK_EQ(text(nn::BatchNormOptions(3).affine(false)), "(3, eps=1e-05, momentum=0.1, affine=false, track_running_stats=true)");
}

// %% [markdown]
// ## Geometry and checks
//
// Most errors with these layers are sizes that do not fit. The first sentences are PyTorch's.

// %%
//| export nn/image_checks.h
// Where windows lie over an image: `kernel` elements, `dilation` apart, a new window every `stride`, over `padding` zeros on each side. One number for each
// spatial dimension.
struct WindowGrid {
  DimVector kernel, stride, padding, dilation;
};

// The product of the sizes.
std::int64_t volume(IntArrayRef sizes);
// The sizes behind the first two, which are batch and channels.
IntArrayRef spatial_sizes(IntArrayRef sizes);

// `values` as one number for each of `dims` dimensions: those given, or the only one for all. Throws unless there are 1 or `dims`; `name` says what they are.
DimVector expanded_to(const char* name, IntArrayRef values, std::size_t dims);
// "(3, 4)"
std::string in_parentheses(IntArrayRef values, const char* separator = ", ");
// Throws unless a convolution of these (N, C, spatial...), (O, C / groups, kernel...) and (O) is possible. grid.kernel is the weight's.
void check_convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, const WindowGrid& grid, bool transposed, std::int64_t groups);

// For pooling over (N, C, H, W) or (C, H, W): one number or two as two; `if_none` when there is none and that is allowed.
DimVector pool_pair(const char* function, const char* name, IntArrayRef values, IntArrayRef if_none = {});
// Throws unless input and window make sense.
void check_pooling(const Tensor& self, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation);

// %%
//| export nn/image_checks.cpp
std::int64_t volume(IntArrayRef sizes) {
  std::int64_t product = 1;
  for (const std::int64_t size : sizes) product *= size;
  return product;
}

IntArrayRef spatial_sizes(IntArrayRef sizes) { return {sizes.data() + 2, sizes.size() - 2}; }

std::string in_parentheses(IntArrayRef values, const char* separator) {
  std::ostringstream text;
  for (std::size_t i = 0; i < values.size(); ++i) text << (i == 0 ? "(" : separator) << values[i];
  return text.str() + ")";
}

DimVector expanded_to(const char* name, IntArrayRef values, std::size_t dims) {
  TORCH_CHECK(values.size() == 1 || values.size() == dims, "expected ", name, " to be a single integer value or a list of ", dims,
              " values to match the convolution dimensions, but got ", name, "=", values);
  return values.size() == 1 ? DimVector(dims, values[0]) : DimVector(values);
}

void check_convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, const WindowGrid& grid, bool transposed, std::int64_t groups) {
  const std::int64_t k = weight.dim();
  TORCH_CHECK(groups > 0, "non-positive groups is not supported");
  TORCH_CHECK(*std::min_element(grid.stride.begin(), grid.stride.end()) > 0, "non-positive stride is not supported");
  TORCH_CHECK(*std::min_element(grid.padding.begin(), grid.padding.end()) >= 0, "negative padding is not supported");
  TORCH_CHECK(*std::min_element(grid.dilation.begin(), grid.dilation.end()) > 0, "dilation should be greater than zero, but got ", IntArrayRef(grid.dilation));
  TORCH_CHECK(k == input.dim(), "Expected ", k, "-dimensional input for ", k, "-dimensional weight ", weight.sizes(), ", but got ", input.dim(),
              "-dimensional input of size ", input.sizes(), " instead");
  TORCH_CHECK(volume(grid.kernel) > 0 && weight.size(1) > 0, "the weight of a convolution must not be empty, but has sizes ", weight.sizes());
  TORCH_CHECK(weight.size(0) >= groups, "Given groups=", groups, ", expected weight to be at least ", groups, " at dimension 0, but got weight of size ", weight.sizes(),
              " instead");
  TORCH_CHECK(weight.size(0) % groups == 0, "Given groups=", groups, ", expected weight to be divisible by ", groups, " at dimension 0, but got weight of size [",
              weight.sizes(), "] instead");
  const std::int64_t channels = transposed ? weight.size(0) : weight.size(1) * groups;
  TORCH_CHECK(input.size(1) == channels, "Given ", transposed ? "transposed=1" : str("groups=", groups), ", weight of size ", weight.sizes(), ", expected input", input.sizes(),
              " to have ", channels, " channels, but got ", input.size(1),
              " channels instead\n[convolution] the weight is ", transposed ? "(in_channels, out_channels / groups, kernel...)" : "(out_channels, in_channels / groups, kernel...)",
              "; did the layer before change its number of channels?");
  const std::int64_t outputs = transposed ? weight.size(1) * groups : weight.size(0);
  TORCH_CHECK(!bias || (bias->dim() == 1 && bias->size(0) == outputs), "Given ", transposed ? "transposed=1" : "weight of size", transposed ? ", weight of size " : " ", weight.sizes(),
              ", expected bias to be 1-dimensional with ", outputs, " elements, but got bias of size ", bias ? bias->sizes() : IntArrayRef(), " instead");
  TORCH_CHECK(input.scalar_type() == weight.scalar_type() && (!bias || bias->scalar_type() == input.scalar_type()), "expected scalar type ", input.scalar_type(), " but found ",
              input.scalar_type() == weight.scalar_type() ? bias->scalar_type() : weight.scalar_type(), "\n[convolution] input, weight and bias must have one dtype; convert with to().");
  if (transposed) return;
  DimVector padded(spatial_sizes(input.sizes())), covered;
  bool fits = true;
  for (std::size_t d = 0; d < padded.size(); ++d) {
    padded[d] += 2 * grid.padding[d];
    covered.push_back(grid.dilation[d] * (grid.kernel[d] - 1) + 1);
    fits = fits && covered[d] <= padded[d];
  }
  TORCH_CHECK(fits, "Calculated padded input size per channel: ", in_parentheses(padded, " x "), ". Kernel size: ", in_parentheses(covered, " x "),
              ". Kernel size can't be greater than actual input size\n[convolution] pad the input, or pool less before this layer.");
}

DimVector pool_pair(const char* function, const char* name, IntArrayRef values, IntArrayRef if_none) {
  TORCH_CHECK(values.size() == 1 || values.size() == 2 || (values.empty() && !if_none.empty()), function, ": ", name, " must either be ", if_none.empty() ? "" : "omitted, ",
              "a single int, or a tuple of two ints");
  if (values.empty()) return if_none;
  return values.size() == 2 ? DimVector(values) : DimVector(2, values[0]);
}

void check_pooling(const Tensor& self, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation) {
  TORCH_CHECK(kernel[0] > 0 && kernel[1] > 0, "kernel size should be greater than zero, but got kH: ", kernel[0], " kW: ", kernel[1]);
  TORCH_CHECK(stride[0] != 0 && stride[1] != 0, "stride should not be zero");
  TORCH_CHECK(stride[0] > 0 && stride[1] > 0, "stride should be greater than zero, but got dH: ", stride[0], " dW: ", stride[1]);
  TORCH_CHECK(dilation[0] > 0 && dilation[1] > 0, "dilation should be greater than zero, but got dilationH: ", dilation[0], " dilationW: ", dilation[1]);
  const bool dims_fit = self.dim() == 3 || self.dim() == 4;
  bool empty_dim = !dims_fit;
  for (std::int64_t d = 1; dims_fit && d <= 3; ++d) empty_dim = empty_dim || self.size(-d) == 0;
  TORCH_CHECK(!empty_dim, "Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size for input, but got:", self.sizes());
  for (std::size_t d = 0; d < 2; ++d) {
    TORCH_CHECK(padding[d] >= 0, "pad must be non-negative, but got pad: ", padding[d]);
    TORCH_CHECK(padding[d] <= (dilation[d] * (kernel[d] - 1) + 1) / 2, "pad should be at most half of effective kernel size, but got pad=", padding[d], ", kernel_size=", kernel[d],
                " and dilation=", dilation[d]);
  }
}

// %%
TEST_CASE("checks: numbers for dimensions, poolings") {
  CHECK_EQ(IntArrayRef(expanded_to("stride", 2, 3)), IntArrayRef({2, 2, 2}));
  CHECK_ERROR(expanded_to("stride", {1, 1, 1}, 2), "expected stride to be a single integer value or a list of 2 values to match the convolution dimensions, but got stride=[1, 1, 1]");
  CHECK_EQ(in_parentheses({3, 4}, " x "), "(3 x 4)");
  CHECK_EQ(volume({2, 3, 4}), 24);
  CHECK_EQ(spatial_sizes({1, 2, 3, 4}), IntArrayRef({3, 4}));
  CHECK_EQ(IntArrayRef(pool_pair("max_pool2d", "stride", {}, {3, 2})), IntArrayRef({3, 2}));
  CHECK_ERROR(check_pooling(ones({1, 3, 4, 4}), {2, 2}, {0, 1}, {0, 0}, {1, 1}), "stride should not be zero");
  CHECK_ERROR(check_pooling(ones({1, 3, 0, 4}), {2, 2}, {1, 1}, {0, 0}, {1, 1}),
              "Expected 3D or 4D (batch mode) tensor with optional 0 dim batch size for input, but got:[1, 3, 0, 4]");
}

// %% [markdown]
// ## What the layers of one, two and three dimensions share
//
// Parameters, buffers, initial numbers and printed text. What a layer computes is module 09's, or a later chapter's.

// %%
//| export nn/image_layers.h
namespace nn {

// What Conv1d, Conv2d and Conv3d have in common. The weight is (out, in / groups, kernel...), born uniform on [-1/sqrt(fan_in), 1/sqrt(fan_in)] as the bias.
// Source: torch/csrc/api/include/torch/nn/modules/conv.h.
template <std::size_t D, class Derived>
class ConvNdImpl : public Cloneable<Derived> {
 public:
  explicit ConvNdImpl(const ConvOptions<D>& options_) : options(options_) { ConvNdImpl::reset(); }
  void reset() override;
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;

  ConvOptions<D> options;
  Tensor weight;
  Tensor bias;  // (out), or undefined
};

// Fills a new weight and bias, in this order. `fan_in` is what feeds one output element.
void init_convolution(Tensor& weight, Tensor& bias, std::int64_t fan_in);

}  // namespace nn

// %%
//| export nn/image_layers.h
template <std::size_t D, class Derived>
void nn::ConvNdImpl<D, Derived>::reset() {
  TORCH_CHECK(options.in_channels() > 0 && options.groups() > 0 && options.out_channels() > 0, "in_channels, groups and out_channels must be a positive integer.");
  TORCH_CHECK(options.in_channels() % options.groups() == 0, "in_channels must be divisible by groups");
  TORCH_CHECK(options.out_channels() % options.groups() == 0, "out_channels must be divisible by groups");
  if (std::holds_alternative<enumtype::kSame>(options.padding()))
    for (const std::int64_t stride : *options.stride()) TORCH_CHECK(stride == 1, "padding='same' is not supported for strided convolutions");
  DimVector sizes{options.out_channels(), options.in_channels() / options.groups()};
  for (const std::int64_t size : *options.kernel_size()) sizes.push_back(size);
  weight = this->register_parameter("weight", empty(sizes));
  bias = this->register_parameter("bias", options.bias() ? empty({options.out_channels()}) : Tensor(), options.bias());
  reset_parameters();
}

template <std::size_t D, class Derived>
void nn::ConvNdImpl<D, Derived>::reset_parameters() {
  init_convolution(weight, bias, std::get<0>(init::_calculate_fan_in_and_fan_out(weight)));
}

template <std::size_t D, class Derived>
void nn::ConvNdImpl<D, Derived>::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Conv" << D << "d(" << options.in_channels() << ", " << options.out_channels() << ", kernel_size=" << options.kernel_size()
         << ", stride=" << options.stride();
  if (std::holds_alternative<enumtype::kValid>(options.padding())) stream << ", padding='valid'";
  else if (std::holds_alternative<enumtype::kSame>(options.padding())) stream << ", padding='same'";
  else if (*std::get<0>(options.padding()) != *ExpandingArray<D>(0)) stream << ", padding=" << std::get<0>(options.padding());
  if (*options.dilation() != *ExpandingArray<D>(1)) stream << ", dilation=" << options.dilation();
  if (options.groups() != 1) stream << ", groups=" << options.groups();
  if (!options.bias()) stream << ", bias=false";
  if (!std::holds_alternative<enumtype::kZeros>(options.padding_mode())) stream << ", padding_mode=" << detail::name_of(options.padding_mode());
  stream << ')';
}

// %%
//| export nn/image_layers.h
namespace nn {

// What BatchNorm1d, 2d and 3d have in common. Source: torch/csrc/api/include/torch/nn/modules/batchnorm.h.
template <std::size_t D, class Derived>
class BatchNormImplBase : public Cloneable<Derived> {
 public:
  explicit BatchNormImplBase(const BatchNormOptions& options_) : options(options_) { BatchNormImplBase::reset(); }
  void reset() override;
  void reset_running_stats();
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override { stream << "torch::nn::BatchNorm" << D << "d" << options; }

  BatchNormOptions options;
  Tensor weight, bias;               // (C), or undefined without affine
  Tensor running_mean, running_var;  // (C), or undefined without track_running_stats
  Tensor num_batches_tracked;        // 0-d, Long
};

}  // namespace nn

// %%
//| export nn/image_layers.h
template <std::size_t D, class Derived>
void nn::BatchNormImplBase<D, Derived>::reset() {
  const std::int64_t features = options.num_features();
  weight = this->register_parameter("weight", options.affine() ? empty({features}) : Tensor(), options.affine());
  bias = this->register_parameter("bias", options.affine() ? empty({features}) : Tensor(), options.affine());
  const bool tracks = options.track_running_stats();
  running_mean = this->register_buffer("running_mean", tracks ? empty({features}) : Tensor());
  running_var = this->register_buffer("running_var", tracks ? empty({features}) : Tensor());
  num_batches_tracked = this->register_buffer("num_batches_tracked", tracks ? zeros({}, kLong) : Tensor());
  reset_running_stats();
  reset_parameters();
}

template <std::size_t D, class Derived>
void nn::BatchNormImplBase<D, Derived>::reset_running_stats() {
  if (!options.track_running_stats()) return;
  running_mean.zero_();
  running_var.fill_(1);
  num_batches_tracked.zero_();
}

template <std::size_t D, class Derived>
void nn::BatchNormImplBase<D, Derived>::reset_parameters() {
  if (!options.affine()) return;
  const NoGradGuard no_grad;
  weight.fill_(1);
  bias.zero_();
}

// %%
//| export nn/image_layers.h
namespace nn::detail {
// The amounts that functional::pad needs so that a convolution of stride 1 keeps the size: for each dimension, the last one first, what goes in front and behind.
std::vector<std::int64_t> same_padding(IntArrayRef kernel, IntArrayRef dilation);
// The same for equal amounts on both sides.
std::vector<std::int64_t> both_sides(IntArrayRef padding);
// Puts a convolution layer's padding of another kind than zeros around `input`.
Tensor pad_with(const Tensor& input, const std::vector<std::int64_t>& amounts, const functional::PadFuncOptions::mode_t& mode);
}  // namespace nn::detail

// %%
//| export nn/image_layers.cpp
std::vector<std::int64_t> nn::detail::same_padding(IntArrayRef kernel, IntArrayRef dilation) {
  std::vector<std::int64_t> amounts;
  for (std::size_t d = kernel.size(); d-- > 0;) {
    const std::int64_t total = dilation[d] * (kernel[d] - 1);
    amounts.push_back(total / 2);
    amounts.push_back(total - total / 2);
  }
  return amounts;
}

std::vector<std::int64_t> nn::detail::both_sides(IntArrayRef padding) {
  std::vector<std::int64_t> amounts;
  for (std::size_t d = padding.size(); d-- > 0;) amounts.insert(amounts.end(), 2, padding[d]);
  return amounts;
}

Tensor nn::detail::pad_with(const Tensor& input, const std::vector<std::int64_t>& amounts, const functional::PadFuncOptions::mode_t& mode) {
  return functional::pad(input, functional::PadFuncOptions(amounts).mode(mode));
}

void nn::init_convolution(Tensor& weight, Tensor& bias, std::int64_t fan_in) {
  init::kaiming_uniform_(weight, std::sqrt(5.0));
  if (!bias.defined()) return;
  const double bound = 1 / std::sqrt(static_cast<double>(fan_in));
  init::uniform_(bias, -bound, bound);
}

// %%
TEST_CASE("same_padding: shared out over two sides, the last dimension first") {
  CHECK_EQ(nn::detail::same_padding({3, 4}, {1, 1}), std::vector<std::int64_t>{1, 2, 1, 1});
  CHECK_EQ(nn::detail::same_padding({2, 5}, {3, 1}), std::vector<std::int64_t>{2, 2, 1, 2});
  CHECK_EQ(nn::detail::both_sides({1, 2}), std::vector<std::int64_t>{2, 2, 1, 1});
}

// %%
//| lesson
// Layers that compute nothing, to look at what the bases do.
struct Convolution2d : nn::ConvNdImpl<2, Convolution2d> {
  using nn::ConvNdImpl<2, Convolution2d>::ConvNdImpl;
};
struct Normalization2d : nn::BatchNormImplBase<2, Normalization2d> {
  using nn::BatchNormImplBase<2, Normalization2d>::BatchNormImplBase;
};

// %%
TEST_CASE("layers: printed text, parameters, options that do not fit") {
  const auto printed = [](const auto& module) {
    std::ostringstream text;
    text << module;
    return text.str();
  };
  const Convolution2d conv(nn::Conv2dOptions(3, 2, 3));
  CHECK_EQ(conv.weight.sizes(), IntArrayRef({2, 3, 3, 3}));
  CHECK_EQ(conv.parameters().size(), 2);
  CHECK_EQ(printed(conv), "torch::nn::Conv2d(3, 2, kernel_size=[3, 3], stride=[1, 1])");
  CHECK_EQ(printed(Convolution2d(nn::Conv2dOptions(4, 4, {1, 3}).padding(kSame).dilation(2).groups(2).bias(false).padding_mode(kReflect))),
           "torch::nn::Conv2d(4, 4, kernel_size=[1, 3], stride=[1, 1], padding='same', dilation=[2, 2], groups=2, bias=false, padding_mode=kReflect)");
  CHECK_ERROR(Convolution2d(nn::Conv2dOptions(3, 4, 3).groups(2)), "in_channels must be divisible by groups");
  CHECK_ERROR(Convolution2d(nn::Conv2dOptions(3, 4, 3).padding(kSame).stride(2)), "padding='same' is not supported for strided convolutions");
  const Normalization2d norm(nn::BatchNormOptions(2));
  CHECK_EQ(norm.parameters().size(), 2);
  CHECK_EQ(norm.buffers().size(), 3);
  CHECK_EQ(printed(norm), "torch::nn::BatchNorm2d(2, eps=1e-05, momentum=0.1, affine=true, track_running_stats=true)");
  CHECK(Normalization2d(nn::BatchNormOptions(2).affine(false).track_running_stats(false)).buffers().empty());
}

// %%
}  // namespace tinytorch
