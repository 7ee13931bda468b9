// From the lesson modules/69_resizing/resizing_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include "tinytorch/core/dispatch.h"
#include "tinytorch/nn/image_options.h"
#include "tinytorch/nn/resize.h"

namespace tinytorch {

TORCH_ENUM_DECLARE(Border);
TORCH_ENUM_DECLARE(Reflection);

// `input` (N, C, H, W) or (N, C, D, H, W) read at the places of `grid` (N, out..., 2 or 3), whose numbers are x, y(, z) from -1 to 1: (N, C, out...). Modes: 0 bilinear, 1 nearest, 2 bicubic (4-d only). Padding: 0 zeros, 1 border, 2 reflection.
// O(numel of the result * neighbours). Throws where sizes do not fit. Source: aten/src/ATen/native/GridSampler.cpp.
Tensor grid_sampler(const Tensor& input, const Tensor& grid, std::int64_t interpolation_mode, std::int64_t padding_mode, bool align_corners);
// The grid of the affine maps `theta` (N, 2, 3) or (N, 3, 4) over an output of `size` (N, C, (D,) H, W): (N, (D,) H, W, 2 or 3).
Tensor affine_grid_generator(const Tensor& theta, IntArrayRef size, bool align_corners);

namespace op {
// Images (N, C, H W) of `height` rows read at rows y and columns x (N, out), which need not be whole: of the four pixels around, each counts as much as it is near. Outside are zeros. (N, C, out). All of one floating-point dtype.
extern Operator<Tensor(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height)> read_bilinear;
// The same of the nearest pixel: y and x are rounded, of two that are as near to the even one.
extern Operator<Tensor(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height)> read_nearest;

// Where the places of a grid (N, out..., D) are in pictures of these sizes, in pixels and moved as the padding says: (N, outs) for each of the D dimensions, rows before columns.
extern Operator<std::vector<Tensor>(const Tensor& grid, IntArrayRef spatial, std::int64_t padding_mode, bool align_corners)> grid_places;
}  // namespace op

namespace nn::functional {
// Source: torch/csrc/api/include/torch/nn/options/vision.h.
struct GridSampleFuncOptions {
  using mode_t = std::variant<enumtype::kBilinear, enumtype::kNearest, enumtype::kBicubic>;
  using padding_mode_t = std::variant<enumtype::kZeros, enumtype::kBorder, enumtype::kReflection>;
  TORCH_ARG(mode_t, mode) = kBilinear;
  TORCH_ARG(padding_mode_t, padding_mode) = kZeros;
  TORCH_ARG(std::optional<bool>, align_corners) = std::nullopt;
};
inline Tensor grid_sample(const Tensor& input, const Tensor& grid, const GridSampleFuncOptions& options = {}) {
  return grid_sampler(input, grid, static_cast<std::int64_t>(options.mode().index()), static_cast<std::int64_t>(options.padding_mode().index()), options.align_corners().value_or(false));
}
// affine_grid_generator with its checks. Throws for sizes that do not fit and theta that is no matrix of floating-point numbers.
Tensor affine_grid(const Tensor& theta, const IntArrayRef& size, bool align_corners = false);
}  // namespace nn::functional

}  // namespace tinytorch
