// From the lesson modules/09_cnn/cnn_dev.cpp:
// edit the module, not this file.

#include "tinytorch/models/resnet.h"

#include <ostream>

#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/init.h"
#include "tinytorch/nn/padding.h"

namespace tinytorch {

models::ResNet models::resnet20(std::int64_t classes) { return ResNet(3, classes); }

models::BasicBlockImpl::BasicBlockImpl(std::int64_t in_channels_, std::int64_t out_channels_, std::int64_t stride_) : in_channels(in_channels_), out_channels(out_channels_), stride(stride_) { BasicBlockImpl::reset(); }

namespace {
// 3 x 3, with padding 1 and no bias: the batch norm behind it has one.
nn::Conv2d conv3x3(std::int64_t in_channels, std::int64_t out_channels, std::int64_t stride) {
  nn::Conv2d conv(nn::Conv2dOptions(in_channels, out_channels, 3).stride(stride).padding(1).bias(false));
  nn::init::kaiming_normal_(conv->weight, 0, kFanOut, kReLU);
  return conv;
}
}  // namespace

void models::BasicBlockImpl::reset() {
  conv1 = register_module("conv1", conv3x3(in_channels, out_channels, stride));
  bn1 = register_module("bn1", nn::BatchNorm2d(out_channels));
  conv2 = register_module("conv2", conv3x3(out_channels, out_channels, 1));
  bn2 = register_module("bn2", nn::BatchNorm2d(out_channels));
}

Tensor models::BasicBlockImpl::shortcut(const Tensor& input) const {
  if (stride == 1 && in_channels == out_channels) return input;
  const Tensor smaller = input.slice(2, std::nullopt, std::nullopt, stride).slice(3, std::nullopt, std::nullopt, stride);
  return nn::functional::pad(smaller, nn::functional::PadFuncOptions({0, 0, 0, 0, 0, out_channels - in_channels}));
}

// (N, in, H, W) -> (N, out, H / stride, W / stride): relu(shortcut + bn2(conv2(relu(bn1(conv1(input)))))).
Tensor models::BasicBlockImpl::forward(const Tensor& input) {
  const Tensor hidden = relu(bn1(conv1(input)));
  return relu(shortcut(input) + bn2(conv2(hidden)));
}

models::ResNetImpl::ResNetImpl(std::int64_t blocks_per_stage_, std::int64_t classes_, std::int64_t width_) : blocks_per_stage(blocks_per_stage_), classes(classes_), width(width_) {
  ResNetImpl::reset();
}

nn::Sequential models::ResNetImpl::stage(std::int64_t in_channels, std::int64_t out_channels, std::int64_t stride) const {
  nn::Sequential blocks;
  for (std::int64_t i = 0; i < blocks_per_stage; ++i) blocks->push_back(BasicBlock(i == 0 ? in_channels : out_channels, out_channels, i == 0 ? stride : 1));
  return blocks;
}

void models::ResNetImpl::reset() {
  conv1 = register_module("conv1", conv3x3(3, width, 1));
  bn1 = register_module("bn1", nn::BatchNorm2d(width));
  layer1 = register_module("layer1", stage(width, width, 1));
  layer2 = register_module("layer2", stage(width, 2 * width, 2));
  layer3 = register_module("layer3", stage(2 * width, 4 * width, 2));
  fc = register_module("fc", nn::Linear(4 * width, classes));
}

Tensor models::ResNetImpl::forward(const Tensor& input) {
  Tensor x = relu(bn1(conv1(input)));
  x = layer1(x);
  x = layer2(x);
  x = layer3(x);
  return fc(x.mean({2, 3}));
}

}  // namespace tinytorch
