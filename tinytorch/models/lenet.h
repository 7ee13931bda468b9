// From the lesson modules/09_cnn/cnn_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/nn/conv.h"
#include "tinytorch/nn/linear.h"

namespace tinytorch {

namespace models {

// LeCun et al. 1998, for square images: (N, 1, size, size) -> (N, classes). Two convolutions with pooling, three linear layers.
class LeNetImpl : public nn::Cloneable<LeNetImpl> {
 public:
  // A kernel of 5 is the original's, for images from 12 x 12; the 8 x 8 digits need one of 3.
  explicit LeNetImpl(std::int64_t image_size_ = 28, std::int64_t kernel_size_ = 5, std::int64_t classes_ = 10);
  void reset() override;
  void pretty_print(std::ostream& stream) const override { stream << "tinytorch::models::LeNet"; }
  Tensor forward(const Tensor& input);

  std::int64_t image_size, kernel_size, classes;
  nn::Conv2d conv1 = nullptr, conv2 = nullptr;
  nn::Linear fc1 = nullptr, fc2 = nullptr, fc3 = nullptr;
};
TORCH_MODULE(LeNet);

// How many numbers come out of LeNet's second pooling, for one image.
std::int64_t lenet_features(std::int64_t image_size, std::int64_t kernel_size);

}  // namespace models

}  // namespace tinytorch
