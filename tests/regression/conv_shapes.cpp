// Shape traps between convolutions, poolings and linear layers.
#include "tinytorch/tinytorch.h"
#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

// How many places a window has, counted one by one.
std::int64_t counted(std::int64_t size, std::int64_t kernel, std::int64_t stride, std::int64_t padding, std::int64_t dilation) {
  std::int64_t places = 0;
  for (std::int64_t start = -padding; start + dilation * (kernel - 1) < size + padding; start += stride) ++places;
  return places;
}

}  // namespace

TEST_CASE("a linear layer of the counted size fits behind every convolution and pooling") {
  const NoGradGuard no_grad;
  int tried = 0;
  for (const std::int64_t size : {7, 10})
    for (const std::int64_t kernel : {1, 2, 3})
      for (const std::int64_t stride : {1, 2, 3})
        for (const std::int64_t padding : {0, 1, 2})
          for (const std::int64_t dilation : {1, 2})
            for (const std::int64_t pooling : {1, 2}) {
              const std::int64_t conv = counted(size, kernel, stride, padding, dilation);
              const std::int64_t pooled = counted(conv, pooling, pooling, 0, 1);
              if (pooled == 0) continue;
              ++tried;
              nn::Sequential net(nn::Conv2d(nn::Conv2dOptions(1, 2, kernel).stride(stride).padding(padding).dilation(dilation)), nn::ReLU(), nn::MaxPool2d(pooling), nn::Flatten(),
                                 nn::Linear(2 * pooled * pooled, 3));
              CAPTURE(kernel);
              CAPTURE(stride);
              CAPTURE(padding);
              CAPTURE(dilation);
              CHECK_EQ(net->forward(ones({2, 1, size, size})).sizes(), IntArrayRef({2, 3}));
            }
  CHECK(tried > 150);
}

TEST_CASE("a linear layer of any other size is refused with both sizes") {
  nn::Sequential net(nn::Conv2d(1, 6, 5), nn::MaxPool2d(2), nn::Flatten(), nn::Linear(6 * 14 * 14, 10));  // forgets that 28 becomes 24
  CHECK_ERROR(net->forward(ones({4, 1, 28, 28})), "mat1 and mat2 shapes cannot be multiplied (4x864 and 1176x10)");
}

TEST_CASE("windows with different rows and columns keep them apart") {
  const Tensor x = ones({1, 1, 9, 16});
  CHECK_EQ(conv2d(x, ones({1, 1, 3, 5}), {}, {2, 3}, {1, 0}, {1, 2}).sizes(), IntArrayRef({1, 1, 5, 3}));
  CHECK_EQ(max_pool2d(x, {3, 2}, {3, 1}).sizes(), IntArrayRef({1, 1, 3, 15}));
  CHECK_EQ(conv_transpose2d(x, ones({1, 1, 3, 5}), {}, {2, 3}, {1, 0}, {1, 2}).sizes(), IntArrayRef({1, 1, 18, 52}));
}

TEST_CASE("channels that do not fit, and a forgotten batch dimension, are named") {
  nn::Conv2d conv(3, 8, 3);
  CHECK_ERROR(conv(ones({2, 1, 8, 8})), "Given groups=1, weight of size [8, 3, 3, 3], expected input[2, 1, 8, 8] to have 3 channels, but got 1 channels instead");
  CHECK_ERROR(conv(ones({8, 8})), "Expected 3D (unbatched) or 4D (batched) input to conv2d, but got input of size: [8, 8]");
  CHECK_ERROR(nn::BatchNorm2d(4)(conv(ones({2, 3, 8, 8}))), "running_mean should contain 8 elements not 4");
}

}  // namespace tinytorch::testing
