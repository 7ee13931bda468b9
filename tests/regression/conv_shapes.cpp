// Shape traps between convolutions, poolings and linear layers.
#include <algorithm>

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

namespace {

// As above, where the last window may hang over the end (ceil_mode) as long as it begins on the image or on the padding before it.
std::int64_t counted_up(std::int64_t size, std::int64_t kernel, std::int64_t stride, std::int64_t padding, std::int64_t dilation) {
  std::int64_t places = 0;
  std::int64_t end = -padding;  // behind the last pixel that a window has seen
  for (std::int64_t start = -padding; start < size && end < size + padding; start += stride, ++places) end = start + dilation * (kernel - 1) + 1;
  return places;
}

// Runs convolution, pooling, Flatten and a Linear of `features` inputs on a batch of two, forward and backward.
template <class Conv, class Pool>
void check_fits(Conv conv, Pool pool, const Tensor& image, std::int64_t features) {
  nn::Sequential net(conv, pool, nn::Flatten(), nn::Linear(features, 3));
  const Tensor x = image.clone().requires_grad_();
  const Tensor scores = net->forward(x);
  CHECK_EQ(scores.sizes(), IntArrayRef({2, 3}));
  scores.sum().backward();
  CHECK_EQ(x.grad().sizes(), x.sizes());
}

}  // namespace

TEST_CASE("every kind of pooling: windows with a stride, padding and dilation of their own, and a last window that hangs over") {
  int tried = 0;
  for (const std::int64_t size : {8, 11})
    for (const std::int64_t kernel : {2, 3})
      for (const std::int64_t stride : {1, 2, 3})
        for (const std::int64_t padding : {0, 1})
          for (const bool ceil_mode : {false, true})
            for (const std::int64_t conv_stride : {1, 2}) {
              CAPTURE(size);
              CAPTURE(kernel);
              CAPTURE(stride);
              CAPTURE(padding);
              CAPTURE(ceil_mode);
              CAPTURE(conv_stride);
              const std::int64_t n = counted(size, 3, conv_stride, 1, 1);
              const auto places = [&](std::int64_t dilation) { return ceil_mode ? counted_up(n, kernel, stride, padding, dilation) : counted(n, kernel, stride, padding, dilation); };
              const nn::Conv2d conv(nn::Conv2dOptions(1, 2, 3).stride(conv_stride).padding(1));
              const Tensor image = ones({2, 1, size, size});
              for (const std::int64_t dilation : {1, 2}) {
                const std::int64_t m = places(dilation);
                if (counted(n, kernel, stride, padding, dilation) == 0) continue;
                ++tried;
                check_fits(conv, nn::MaxPool2d(nn::MaxPool2dOptions(kernel).stride(stride).padding(padding).dilation(dilation).ceil_mode(ceil_mode)), image, 2 * m * m);
              }
              const std::int64_t m = places(1);
              check_fits(conv, nn::AvgPool2d(nn::AvgPool2dOptions(kernel).stride(stride).padding(padding).ceil_mode(ceil_mode)), image, 2 * m * m);
              if (padding == 0) check_fits(conv, nn::LPPool2d(nn::LPPool2dOptions(2, kernel).stride(stride).ceil_mode(ceil_mode)), image, 2 * m * m);
              check_fits(conv, nn::AdaptiveAvgPool2d(kernel), image, 2 * kernel * kernel);
              check_fits(conv, nn::AdaptiveMaxPool2d(nn::AdaptiveMaxPool2dOptions({kernel, stride})), image, 2 * kernel * stride);
            }
  CHECK(tried > 80);
}

TEST_CASE("padding by name and by mode: same keeps the size, valid has none, and the mode changes no size") {
  for (const std::int64_t kernel : {1, 2, 3, 4})
    for (const std::int64_t dilation : {1, 2}) {
      CAPTURE(kernel);
      CAPTURE(dilation);
      const Tensor image = ones({2, 1, 9, 9});
      check_fits(nn::Conv2d(nn::Conv2dOptions(1, 2, kernel).padding(kSame).dilation(dilation)), nn::MaxPool2d(3), image, 2 * 3 * 3);  // of 8 x 8 it would be 2 x 2
      const std::int64_t valid = counted(counted(9, kernel, 1, 0, dilation), 2, 2, 0, 1);
      if (valid > 0) check_fits(nn::Conv2d(nn::Conv2dOptions(1, 2, kernel).padding(kValid).dilation(dilation)), nn::MaxPool2d(2), image, 2 * valid * valid);
      for (const std::int64_t stride : {1, 2, 3})
        for (const std::int64_t padding : {0, 1, 2}) {
          const std::int64_t n = counted(9, kernel, stride, padding, dilation);
          for (const nn::detail::conv_padding_mode_t& mode : {nn::detail::conv_padding_mode_t(kZeros), nn::detail::conv_padding_mode_t(kReflect), nn::detail::conv_padding_mode_t(kReplicate), nn::detail::conv_padding_mode_t(kCircular)})
            check_fits(nn::Conv2d(nn::Conv2dOptions(1, 2, kernel).stride(stride).padding(padding).dilation(dilation).padding_mode(mode)), nn::Identity(), image, 2 * n * n);
        }
    }
}

TEST_CASE("one and three dimensions, and a transposed convolution that makes the image large again") {
  int tried = 0;
  for (const std::int64_t kernel : {1, 2, 3})
    for (const std::int64_t stride : {1, 2, 3})
      for (const std::int64_t padding : {0, 1})
        for (const std::int64_t dilation : {1, 2}) {
          CAPTURE(kernel);
          CAPTURE(stride);
          CAPTURE(padding);
          CAPTURE(dilation);
          const std::int64_t n = counted(7, kernel, stride, padding, dilation);
          const std::int64_t pooled = counted(n, 2, 1, 0, 1);
          if (pooled == 0) continue;
          ++tried;
          check_fits(nn::Conv1d(nn::Conv1dOptions(1, 2, kernel).stride(stride).padding(padding).dilation(dilation)), nn::MaxPool1d(nn::MaxPool1dOptions(2).stride(1)), ones({2, 1, 7}), 2 * pooled);
          check_fits(nn::Conv3d(nn::Conv3dOptions(1, 2, kernel).stride(stride).padding(padding).dilation(dilation)), nn::AvgPool3d(nn::AvgPool3dOptions(2).stride(1)), ones({2, 1, 7, 7, 7}),
                     2 * pooled * pooled * pooled);
          // Whatever was cut off at the end is added there again: stride - 1 sizes lead to the same n.
          const std::int64_t lost = 7 + 2 * padding - dilation * (kernel - 1) - 1 - (n - 1) * stride;
          if (lost >= std::max(stride, dilation)) continue;
          nn::Sequential there_and_back(nn::Conv2d(nn::Conv2dOptions(1, 2, kernel).stride(stride).padding(padding).dilation(dilation)),
                                        nn::ConvTranspose2d(nn::ConvTranspose2dOptions(2, 1, kernel).stride(stride).padding(padding).dilation(dilation).output_padding(lost)), nn::Flatten(), nn::Linear(49, 3));
          CHECK_EQ(there_and_back->forward(ones({2, 1, 7, 7})).sizes(), IntArrayRef({2, 3}));
        }
  CHECK(tried > 25);
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
