// From the lesson modules/09_cnn/cnn_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/nn/conv.h"
#include "tinytorch/nn/linear.h"
#include "tinytorch/nn/norm.h"
#include "tinytorch/nn/sequential.h"

namespace tinytorch {

namespace models {

// Two convolutions with batch norm, and a shortcut around them. He et al. 2015, figure 2.
class BasicBlockImpl : public nn::Cloneable<BasicBlockImpl> {
 public:
  BasicBlockImpl(std::int64_t in_channels_, std::int64_t out_channels_, std::int64_t stride_);
  void reset() override;
  void pretty_print(std::ostream& stream) const override { stream << "tinytorch::models::BasicBlock"; }
  Tensor forward(const Tensor& input);
  // The input in the sizes of the output: every stride-th pixel, and zeros for the channels that are missing.
  Tensor shortcut(const Tensor& input) const;

  std::int64_t in_channels, out_channels, stride;
  nn::Conv2d conv1 = nullptr, conv2 = nullptr;
  nn::BatchNorm2d bn1 = nullptr, bn2 = nullptr;
};
TORCH_MODULE(BasicBlock);

// He et al. 2015, section 4.2, for small images: (N, 3, H, W) -> (N, classes), 6 blocks_per_stage + 2 layers. The convolutions have no bias and are born kaiming_normal.
class ResNetImpl : public nn::Cloneable<ResNetImpl> {
 public:
  explicit ResNetImpl(std::int64_t blocks_per_stage_ = 3, std::int64_t classes_ = 10, std::int64_t width_ = 16);
  void reset() override;
  void pretty_print(std::ostream& stream) const override { stream << "tinytorch::models::ResNet"; }
  Tensor forward(const Tensor& input);

  std::int64_t blocks_per_stage, classes, width;
  nn::Conv2d conv1 = nullptr;
  nn::BatchNorm2d bn1 = nullptr;
  nn::Sequential layer1 = nullptr, layer2 = nullptr, layer3 = nullptr;
  nn::Linear fc = nullptr;

 private:
  nn::Sequential stage(std::int64_t in_channels, std::int64_t out_channels, std::int64_t stride) const;
};
TORCH_MODULE(ResNet);

ResNet resnet20(std::int64_t classes = 10);

}  // namespace models

}  // namespace tinytorch
