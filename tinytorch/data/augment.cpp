// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.

#include "tinytorch/data/augment.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tinytorch/core/more_ops.h"

namespace tinytorch {

std::uint64_t data::augment::seed_of(std::uint64_t seed, std::uint64_t epoch, std::uint64_t index) {
  // The finishing steps of SplitMix64 (Steele, Lea and Flood, 2014), after each part.
  std::uint64_t mixed = 0;
  for (const std::uint64_t part : {seed, epoch, index}) {
    mixed += part + 0x9E3779B97F4A7C15U;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9U;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBU;
    mixed ^= mixed >> 31;
  }
  return mixed;
}

namespace {

void check_image(const Tensor& image, const char* step) {
  TORCH_CHECK_VALUE(image.dim() == 3, step, " expects an image (channels, height, width), but got sizes ", image.sizes());
}

// A whole number from 0 to limit - 1.
std::int64_t below(std::int64_t limit, Generator& generator) { return static_cast<std::int64_t>(generator.random64() % static_cast<std::uint64_t>(limit)); }

// The pixel at (y, x), between pixels a weighted mean of the four around it; zero outside.
float bilinear(const float* plane, std::int64_t H, std::int64_t W, double y, double x) {
  const double top = std::floor(y), left = std::floor(x);
  const auto pixel = [&](double row, double column) {
    const bool inside = row >= 0 && row < static_cast<double>(H) && column >= 0 && column < static_cast<double>(W);
    return inside ? plane[static_cast<std::int64_t>(row) * W + static_cast<std::int64_t>(column)] : 0.0f;
  };
  const auto down = static_cast<float>(y - top), right = static_cast<float>(x - left);
  return (1 - down) * ((1 - right) * pixel(top, left) + right * pixel(top, left + 1)) + down * ((1 - right) * pixel(top + 1, left) + right * pixel(top + 1, left + 1));
}

Tensor rotated(const Tensor& image, double radians) {
  const std::int64_t C = image.size(0), H = image.size(1), W = image.size(2);
  const Tensor from = image.contiguous(), to = empty(image.sizes(), image.options());
  const double cosine = std::cos(radians), sine = std::sin(radians);
  const double centre_y = static_cast<double>(H - 1) / 2, centre_x = static_cast<double>(W - 1) / 2;
  for (std::int64_t c = 0; c < C; ++c) {
    for (std::int64_t y = 0; y < H; ++y) {
      for (std::int64_t x = 0; x < W; ++x) {
        // Where this pixel comes from: the same place, turned back.
        const double dy = static_cast<double>(y) - centre_y, dx = static_cast<double>(x) - centre_x;
        to.data_ptr<float>()[(c * H + y) * W + x] =
            bilinear(from.data_ptr<float>() + c * H * W, H, W, centre_y + cosine * dy - sine * dx, centre_x + sine * dy + cosine * dx);
      }
    }
  }
  return to;
}

}  // namespace

data::augment::Function data::augment::random_crop(std::int64_t size, std::int64_t padding) {
  TORCH_CHECK_VALUE(size > 0 && padding >= 0, "random_crop needs a positive size and a padding that is not negative, but got ", size, " and ", padding);
  return [size, padding](const Tensor& image, Generator& generator) {
    check_image(image, "random_crop");
    const std::int64_t H = image.size(1), W = image.size(2);
    TORCH_CHECK_VALUE(size <= H + 2 * padding && size <= W + 2 * padding, "random_crop: a window of ", size, " x ", size, " does not fit into ", H, " x ", W, " with ",
                      padding, " zeros around it");
    Tensor padded = image;
    if (padding > 0) {
      padded = zeros({image.size(0), H + 2 * padding, W + 2 * padding}, image.options());
      padded.narrow(1, padding, H).narrow(2, padding, W).copy_(image);
    }
    const std::int64_t top = below(padded.size(1) - size + 1, generator);
    const std::int64_t left = below(padded.size(2) - size + 1, generator);
    return padded.narrow(1, top, size).narrow(2, left, size).contiguous();
  };
}

data::augment::Function data::augment::random_horizontal_flip(double p) {
  TORCH_CHECK_VALUE(p >= 0 && p <= 1, "random_horizontal_flip needs a probability from 0 to 1, but got ", p);
  return [p](const Tensor& image, Generator& generator) {
    check_image(image, "random_horizontal_flip");
    return generator.uniform_double() < p ? flip(image, {2}) : image;
  };
}

data::augment::Function data::augment::random_rotation(double degrees) {
  TORCH_CHECK_VALUE(degrees >= 0, "random_rotation needs an angle that is not negative, but got ", degrees);
  return [degrees](const Tensor& image, Generator& generator) {
    check_image(image, "random_rotation");
    TORCH_CHECK_VALUE(image.scalar_type() == kFloat, "random_rotation expects an image of Float, but got ", image.scalar_type());
    return rotated(image, (2 * generator.uniform_double() - 1) * degrees * std::numbers::pi / 180);
  };
}

data::augment::Function data::augment::cutout(std::int64_t size) {
  TORCH_CHECK_VALUE(size > 0, "cutout needs a positive size, but got ", size);
  return [size](const Tensor& image, Generator& generator) {
    check_image(image, "cutout");
    const Tensor changed = image.clone();
    Tensor window = changed;
    for (const std::int64_t dim : {1, 2}) {
      const std::int64_t middle = below(image.size(dim), generator);
      const std::int64_t first = std::max<std::int64_t>(0, middle - size / 2);
      const std::int64_t last = std::min(image.size(dim), middle - size / 2 + size);
      window = window.narrow(dim, first, last - first);
    }
    window.zero_();
    return changed;
  };
}

}  // namespace tinytorch
