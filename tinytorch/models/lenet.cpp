// From the lesson modules/09_cnn/cnn_dev.cpp:
// edit the module, not this file.

#include "tinytorch/models/lenet.h"

#include <ostream>

#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/pool.h"
#include "tinytorch/nn/windows.h"

namespace tinytorch {

// 16 times the area behind: conv1 (padding kernel_size / 2), pooling by 2, conv2 (no padding), pooling by 2.
std::int64_t models::lenet_features(std::int64_t image_size, std::int64_t kernel_size) {
  const std::int64_t conv1 = conv_output_size(image_size, kernel_size, 1, kernel_size / 2);
  const std::int64_t pool1 = conv_output_size(conv1, 2, 2);
  const std::int64_t conv2 = conv_output_size(pool1, kernel_size);
  const std::int64_t pool2 = conv_output_size(conv2, 2, 2);
  return 16 * pool2 * pool2;
}

models::LeNetImpl::LeNetImpl(std::int64_t image_size_, std::int64_t kernel_size_, std::int64_t classes_) : image_size(image_size_), kernel_size(kernel_size_), classes(classes_) {
  LeNetImpl::reset();
}

void models::LeNetImpl::reset() {
  const std::int64_t features = lenet_features(image_size, kernel_size);
  TORCH_CHECK(features > 0, "LeNet needs images that are larger than ", image_size, " x ", image_size, " for kernels of ", kernel_size, " x ", kernel_size,
              "\n[LeNet] take smaller kernels; 8 x 8 images need 3 x 3.");
  conv1 = register_module("conv1", nn::Conv2d(nn::Conv2dOptions(1, 6, kernel_size).padding(kernel_size / 2)));
  conv2 = register_module("conv2", nn::Conv2d(6, 16, kernel_size));
  fc1 = register_module("fc1", nn::Linear(features, 120));
  fc2 = register_module("fc2", nn::Linear(120, 84));
  fc3 = register_module("fc3", nn::Linear(84, classes));
}

Tensor models::LeNetImpl::forward(const Tensor& input) {
  Tensor x = max_pool2d(relu(conv1(input)), 2);
  x = max_pool2d(relu(conv2(x)), 2);
  return fc3(relu(fc2(relu(fc1(x.flatten(1))))));
}

}  // namespace tinytorch
