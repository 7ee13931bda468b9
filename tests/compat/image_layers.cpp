// Options of convolutions, poolings, norms, padding and resizing.
#include <torch/nn/modules/pooling.h>
#include <torch/nn/modules/upsampling.h>
#include <torch/torch.h>

#include <functional>
#include <iostream>
#include <string>

namespace nn = torch::nn;
namespace F = torch::nn::functional;
using torch::Tensor;

void show(const std::string& what, const std::function<void()>& operation) {
  try {
    operation();
    std::cout << what << ": no error\n";
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    std::cout << what << ": " << text.substr(0, text.find('\n')) << "\n";
  }
}

template <class Layer>
Layer filled(Layer layer) {
  layer->to(torch::kDouble);
  torch::NoGradGuard no_grad;
  double start = 0;
  for (Tensor& parameter : layer->parameters()) parameter.copy_(torch::sin(torch::arange(parameter.numel(), torch::kDouble) * 0.7 + (start += 1)).view_as(parameter) * 0.5);
  return layer;
}

Tensor numbers(torch::IntArrayRef sizes, double start = 0) {
  int64_t count = 1;
  for (const int64_t size : sizes) count *= size;
  return torch::cos(torch::arange(count, torch::kDouble) * 1.3 + start).view(sizes);
}

void convolutions() {
  const Tensor x = numbers({1, 2, 5, 5});
  auto plain = filled(nn::Conv2d(nn::Conv2dOptions(2, 3, 3).stride(2).padding(1)));
  std::cout << *plain << "\n" << plain(x) << "\n";
  auto same = filled(nn::Conv2d(nn::Conv2dOptions(2, 2, {2, 3}).padding(torch::kSame).bias(false)));
  std::cout << *same << "\n" << same(x).sizes() << "\n";
  auto valid = filled(nn::Conv2d(nn::Conv2dOptions(2, 2, 3).padding(torch::kValid).dilation({1, 2})));
  std::cout << *valid << "\n" << valid(x).sizes() << "\n";
  auto reflect = filled(nn::Conv2d(nn::Conv2dOptions(2, 4, 3).groups(2).padding({1, 2}).padding_mode(torch::kReflect)));
  std::cout << *reflect << "\n" << reflect(x)[0][1] << "\n";
  auto circular = filled(nn::Conv1d(nn::Conv1dOptions(2, 1, 3).padding(1).padding_mode(torch::kCircular)));
  std::cout << circular(numbers({1, 2, 5})) << "\n";
  std::cout << filled(nn::Conv3d(nn::Conv3dOptions(1, 1, 2)))(numbers({1, 1, 3, 3, 3})) << "\n";
  auto transposed = filled(nn::ConvTranspose2d(nn::ConvTranspose2dOptions(2, 1, 3).stride(2).padding(1).output_padding(1)));
  std::cout << *transposed << "\n" << transposed(numbers({1, 2, 3, 3})) << "\n";
  std::cout << filled(nn::ConvTranspose1d(nn::ConvTranspose1dOptions(1, 2, 3).dilation(2).output_padding(1)))(numbers({1, 1, 3})) << "\n";
  std::cout << transposed(numbers({1, 2, 3, 3}), std::vector<int64_t>{5, 6}).sizes() << "\n";
  std::cout << torch::conv2d(x, numbers({2, 2, 3, 3})).sizes() << torch::conv1d(numbers({2, 5}), numbers({3, 2, 2})).sizes() << F::conv2d(x, numbers({2, 1, 3, 3}), F::Conv2dFuncOptions().groups(2).padding(1)).sizes() << "\n";
  const Tensor signal = numbers({1, 2, 5});
  std::cout << F::conv1d(signal, numbers({2, 1, 2}), F::Conv1dFuncOptions().padding(torch::kSame).groups(2)) << torch::conv1d(signal, numbers({1, 2, 3}), {}, 1, "same") << "\n";
  std::cout << F::conv3d(numbers({1, 1, 2, 3, 3}), numbers({1, 1, 2, 2, 2}), F::Conv3dFuncOptions().bias(numbers({1})).stride({1, 1, 2}).padding({0, 1, 1})) << "\n";
  std::cout << F::conv_transpose1d(signal, numbers({2, 1, 3}), F::ConvTranspose1dFuncOptions().stride(2).padding(1).output_padding(1).bias(numbers({1}))) << "\n";
  std::cout << F::conv_transpose2d(x, numbers({2, 2, 2, 3}), F::ConvTranspose2dFuncOptions().stride({2, 1}).groups(2).dilation({1, 2})).sizes()
            << F::conv_transpose3d(numbers({1, 2, 2, 2, 2}), numbers({2, 1, 2, 2, 2}), F::ConvTranspose3dFuncOptions().padding(1)).sizes() << "\n";
  std::cout << torch::channel_shuffle(torch::arange(12).view({1, 6, 2}), 2) << F::pdist(numbers({3, 2})) << "\n";
  std::cout << transposed(numbers({1, 2, 3, 3}), std::vector<int64_t>{1, 1, 6, 5}).sizes() << "\n";
  show("sizes of a transposed convolution", [&] { transposed(numbers({1, 2, 3, 3}), std::vector<int64_t>{7, 5}); });
  show("how many sizes", [&] { transposed(numbers({1, 2, 3, 3}), std::vector<int64_t>{7}); });
  show("padding of a transposed convolution", [&] { nn::ConvTranspose1d(nn::ConvTranspose1dOptions(1, 1, 2).padding_mode(torch::kReflect))(numbers({1, 1, 3})); });
  show("channels", [&] { plain(numbers({1, 3, 5, 5})); });
  show("window", [&] { torch::conv2d(numbers({1, 1, 2, 2}), numbers({1, 1, 3, 3})); });
  show("groups", [&] { nn::Conv2d(nn::Conv2dOptions(3, 4, 1).groups(2)); });
  show("same with a stride", [&] { nn::Conv2d(nn::Conv2dOptions(3, 4, 1).stride(2).padding(torch::kSame)); });
}

void poolings() {
  const Tensor x = numbers({1, 1, 5, 5});
  nn::MaxPool2d largest(nn::MaxPool2dOptions(3).stride(2).padding(1).ceil_mode(true));
  std::cout << *largest << "\n" << largest(x) << "\n";
  const auto [values, indices] = F::max_pool2d_with_indices(x, F::MaxPool2dFuncOptions(2).dilation(2).stride(1));
  std::cout << values << "\n" << indices << "\n";
  std::cout << nn::AvgPool2d(nn::AvgPool2dOptions(2).padding(1).count_include_pad(false))(x) << "\n" << nn::AvgPool2d(nn::AvgPool2dOptions(2).ceil_mode(true).divisor_override(3))(x) << "\n";
  std::cout << *nn::AvgPool2d(nn::AvgPool2dOptions({3, 2}).stride({2, 1})) << *nn::AdaptiveAvgPool2d(3) << *nn::MaxPool3d(2) << "\n";
  std::cout << nn::AdaptiveAvgPool2d(nn::AdaptiveAvgPool2dOptions({3, 2}))(x) << "\n" << nn::AdaptiveMaxPool2d(2)(x) << "\n" << nn::AdaptiveAvgPool2d(nn::AdaptiveAvgPool2dOptions({2, torch::nullopt}))(x).sizes() << "\n";
  const auto [greatest, places] = F::adaptive_max_pool2d_with_indices(x, F::AdaptiveMaxPool2dFuncOptions({2, 3}));
  std::cout << greatest << places << std::get<1>(F::adaptive_max_pool1d_with_indices(x[0], F::AdaptiveMaxPool1dFuncOptions(2))) << std::get<1>(F::adaptive_max_pool3d_with_indices(x, F::AdaptiveMaxPool3dFuncOptions(1))) << "\n";
  std::cout << nn::LPPool2d(nn::LPPool2dOptions(2, 2))(x) << "\n" << nn::LPPool1d(nn::LPPool1dOptions(3, 2).stride(1))(numbers({1, 1, 5})) << *nn::LPPool2d(nn::LPPool2dOptions(2, {2, 3})) << "\n";
  nn::MaxPool2d halves(2);
  const auto [pooled, where] = halves->forward_with_indices(x);
  std::cout << nn::MaxUnpool2d(2)(pooled, where, std::vector<int64_t>{1, 1, 5, 5}) << *nn::MaxUnpool2d(nn::MaxUnpool2dOptions(3).stride(2).padding(1)) << "\n";
  show("too small", [&] { nn::MaxUnpool2d(2)(pooled, where); });
  std::cout << F::avg_pool2d(torch::arange(16, torch::kDouble).view({1, 4, 4}), F::AvgPool2dFuncOptions(2)) << "\n";
  torch::manual_seed(2);
  std::cout << nn::FractionalMaxPool2d(nn::FractionalMaxPool2dOptions(2).output_size(2)._random_samples(torch::full({1, 1, 2}, 0.5, torch::kDouble)))(x) << "\n";
  show("padding", [&] { nn::MaxPool2d(nn::MaxPool2dOptions(2).padding(2))(x); });
  show("too small", [&] { nn::AvgPool2d(6)(x); });
}

void norms() {
  auto batch = filled(nn::BatchNorm2d(nn::BatchNorm2dOptions(2).eps(1e-3).momentum(0.5)));
  const Tensor x = numbers({2, 2, 2, 2});
  std::cout << *batch << "\n" << batch(x) << "\n" << batch->running_mean << "\n" << batch->running_var << "\n" << batch->num_batches_tracked << "\n";
  batch->eval();
  std::cout << batch(x)[0][0] << "\n" << *nn::BatchNorm1d(nn::BatchNorm1dOptions(3).affine(false).track_running_stats(false)) << *nn::InstanceNorm2d(3) << *nn::GroupNorm(2, 4) << *nn::LayerNorm(nn::LayerNormOptions({2, 3}).elementwise_affine(false)) << *nn::LocalResponseNorm(2) << "\n";
  std::cout << filled(nn::GroupNorm(nn::GroupNormOptions(1, 2)))(x)[1] << "\n" << filled(nn::InstanceNorm2d(nn::InstanceNorm2dOptions(2).affine(true)))(x)[1] << "\n" << nn::LocalResponseNorm(nn::LocalResponseNormOptions(2).alpha(0.5))(x)[0] << "\n";
  show("channels", [&] { batch(numbers({2, 3, 2, 2})); });
  show("one value", [&] { filled(nn::BatchNorm1d(2))(numbers({1, 2})); });
}

void padding_and_shapes() {
  const Tensor x = numbers({1, 1, 3, 3});
  std::cout << F::pad(x, F::PadFuncOptions({1, 2, 0, 1}).value(9)) << "\n" << F::pad(x, F::PadFuncOptions({1, 1, 2, 0}).mode(torch::kReflect)) << "\n" << F::pad(x, F::PadFuncOptions({1, 1, 1, 1}).mode(torch::kReplicate)) << "\n" << F::pad(x, F::PadFuncOptions({1, 0, 0, 2}).mode(torch::kCircular)) << "\n";
  std::cout << nn::ZeroPad2d(1)(x).sizes() << *nn::ReflectionPad2d(nn::ReflectionPad2dOptions({1, 1, 2, 0})) << *nn::ConstantPad1d(nn::ConstantPad1dOptions(2, 3.5)) << "\n";
  std::cout << nn::Unfold(nn::UnfoldOptions(2))(x) << "\n" << nn::Fold(nn::FoldOptions({3, 3}, 2))(nn::Unfold(nn::UnfoldOptions(2))(x)) << *nn::Unfold(nn::UnfoldOptions({2, 3}).stride(2)) << "\n";
  std::cout << nn::PixelShuffle(2)(numbers({1, 4, 2, 2})) << "\n" << nn::PixelUnshuffle(2)(numbers({1, 1, 4, 4})).sizes() << *nn::PixelShuffle(2) << *nn::PixelUnshuffle(3) << "\n";
  show("pixels", [&] { nn::PixelShuffle(2)(numbers({1, 3, 2, 2})); });
}

void resizing() {
  const Tensor x = numbers({1, 1, 3, 4});
  nn::Upsample nearest(nn::UpsampleOptions().scale_factor(std::vector<double>{2, 2}).mode(torch::kNearest));
  std::cout << *nearest << "\n" << nearest(x) << "\n";
  nn::Upsample bilinear(nn::UpsampleOptions().size(std::vector<int64_t>{5, 6}).mode(torch::kBilinear).align_corners(false));
  std::cout << *bilinear << "\n" << bilinear(x) << "\n";
  std::cout << F::interpolate(x, F::InterpolateFuncOptions().size(std::vector<int64_t>{5, 6}).mode(torch::kBilinear).align_corners(true)) << "\n";
  std::cout << F::interpolate(x, F::InterpolateFuncOptions().size(std::vector<int64_t>{5, 6}).mode(torch::kBicubic).align_corners(false)) << "\n";
  std::cout << F::interpolate(x, F::InterpolateFuncOptions().scale_factor(std::vector<double>{0.5, 0.5}).mode(torch::kArea)) << "\n";
  std::cout << F::interpolate(x[0], F::InterpolateFuncOptions().size(std::vector<int64_t>{6}).mode(torch::kLinear).align_corners(false)) << "\n";
  std::cout << F::interpolate(numbers({1, 1, 2, 2, 2}), F::InterpolateFuncOptions().scale_factor(std::vector<double>{1.5, 2, 1}).mode(torch::kTrilinear).align_corners(false).recompute_scale_factor(true)) << "\n";
  std::cout << F::interpolate(x, F::InterpolateFuncOptions().size(std::vector<int64_t>{4, 3}).mode(torch::kNearestExact)) << "\n";
  show("both", [&] { F::interpolate(x, F::InterpolateFuncOptions().size(std::vector<int64_t>{5, 6}).scale_factor(std::vector<double>{2, 2})); });
  show("neither", [&] { F::interpolate(x, F::InterpolateFuncOptions()); });
  show("corners", [&] { F::interpolate(x, F::InterpolateFuncOptions().size(std::vector<int64_t>{5, 6}).align_corners(true)); });
  show("linear of pictures", [&] { F::interpolate(x, F::InterpolateFuncOptions().size(std::vector<int64_t>{5, 6}).mode(torch::kLinear)); });

  const Tensor theta = torch::tensor({{{1.0, 0.5, 0.1}, {-0.5, 1.0, 0.0}}}, torch::kDouble);
  const Tensor grid = F::affine_grid(theta, {1, 1, 3, 4}, /*align_corners=*/false);
  std::cout << grid << "\n" << F::grid_sample(x, grid, F::GridSampleFuncOptions().mode(torch::kBilinear).padding_mode(torch::kZeros).align_corners(false)) << "\n";
  std::cout << F::grid_sample(x, grid, F::GridSampleFuncOptions().mode(torch::kNearest).padding_mode(torch::kBorder).align_corners(true)) << "\n" << F::grid_sample(x, grid * 1.7, F::GridSampleFuncOptions().mode(torch::kBilinear).padding_mode(torch::kReflection).align_corners(false)) << "\n";
}

int main() {
  std::cout << std::boolalpha;
  convolutions();
  poolings();
  norms();
  padding_and_shapes();
  resizing();
}
