// From the lesson modules/69_resizing/resizing_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>
#include <ostream>
#include <variant>
#include <vector>

#include "tinytorch/core/arg.h"
#include "tinytorch/core/dispatch.h"
#include "tinytorch/core/enum.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/pimpl.h"

namespace tinytorch {

// ---- (N, C, spatial...) to output_size, one or as many numbers as there are spatial dimensions. `scales` are the factors that the caller asked for; without them they follow from the sizes.
// O(numel of the result) for each neighbour and dimension. Throws for empty sizes and other numbers of dimensions. Source: aten/src/ATen/native/UpSample.h.
Tensor upsample_nearest1d(const Tensor& self, IntArrayRef output_size, std::optional<double> scales = std::nullopt);
Tensor upsample_nearest2d(const Tensor& self, IntArrayRef output_size, std::optional<double> scales_h = std::nullopt, std::optional<double> scales_w = std::nullopt);
Tensor upsample_nearest3d(const Tensor& self, IntArrayRef output_size, std::optional<double> scales_d = std::nullopt, std::optional<double> scales_h = std::nullopt,
                          std::optional<double> scales_w = std::nullopt);
// As those, but by the output pixel's centre instead of its corner, as other libraries do.
Tensor _upsample_nearest_exact1d(const Tensor& self, IntArrayRef output_size, std::optional<double> scales = std::nullopt);
Tensor _upsample_nearest_exact2d(const Tensor& self, IntArrayRef output_size, std::optional<double> scales_h = std::nullopt, std::optional<double> scales_w = std::nullopt);
Tensor _upsample_nearest_exact3d(const Tensor& self, IntArrayRef output_size, std::optional<double> scales_d = std::nullopt, std::optional<double> scales_h = std::nullopt,
                                 std::optional<double> scales_w = std::nullopt);
// Floating point only.
Tensor upsample_linear1d(const Tensor& self, IntArrayRef output_size, bool align_corners, std::optional<double> scales = std::nullopt);
Tensor upsample_bilinear2d(const Tensor& self, IntArrayRef output_size, bool align_corners, std::optional<double> scales_h = std::nullopt, std::optional<double> scales_w = std::nullopt);
Tensor upsample_trilinear3d(const Tensor& self, IntArrayRef output_size, bool align_corners, std::optional<double> scales_d = std::nullopt, std::optional<double> scales_h = std::nullopt,
                            std::optional<double> scales_w = std::nullopt);
Tensor upsample_bicubic2d(const Tensor& self, IntArrayRef output_size, bool align_corners, std::optional<double> scales_h = std::nullopt, std::optional<double> scales_w = std::nullopt);
// With anti-aliasing: where the picture becomes smaller, the window grows with what an output pixel covers, so that nothing is skipped. As Pillow's resize.
Tensor _upsample_bilinear2d_aa(const Tensor& self, IntArrayRef output_size, bool align_corners, std::optional<double> scales_h = std::nullopt, std::optional<double> scales_w = std::nullopt);
Tensor _upsample_bicubic2d_aa(const Tensor& self, IntArrayRef output_size, bool align_corners, std::optional<double> scales_h = std::nullopt, std::optional<double> scales_w = std::nullopt);

namespace op {
// Weighted sums of places along `dim`, of which `self` has `size`: number i of the result's is the sum of weights[j] times place index[j], for j from starts[i] to starts[i + 1].
// starts (one more than the result has places) and index are Long, weights double. Floating point only. O(numel of the result for each neighbour).
extern Operator<Tensor(const Tensor& self, std::int64_t dim, std::int64_t size, const Tensor& starts, const Tensor& index, const Tensor& weights)> resample;
// Pixel (i, j) of the result is pixel (rows[i], columns[j]) of self (N, C, H, W), of any dtype. The lists do not fall.
extern Operator<Tensor(const Tensor& self, IntArrayRef rows, IntArrayRef columns)> pick_pixels;
// Its gradient: each pixel of images of `size` is the sum of `grad` over those that are it.
extern Operator<Tensor(const Tensor& grad, IntArrayRef size, IntArrayRef rows, IntArrayRef columns)> pick_pixels_backward;
}  // namespace op

// The tables of op::resample in vectors, read once all of them is known to be in order.
struct ResampleTables {
  // Throws where they do not belong to dimension `dim`, of `size` places, of a tensor of `sizes`.
  ResampleTables(IntArrayRef sizes, std::int64_t dim, std::int64_t size, const Tensor& starts, const Tensor& index, const Tensor& weights);
  std::int64_t count() const { return static_cast<std::int64_t>(starts.size()) - 1; }

  std::size_t dim;
  std::int64_t outer, inner;  // how often the dimension comes, and how far apart its places are in contiguous data
  std::vector<std::int64_t> starts, index;
  std::vector<double> weights;
};

TORCH_ENUM_DECLARE(Nearest);
TORCH_ENUM_DECLARE(Bilinear);
TORCH_ENUM_DECLARE(Bicubic);
TORCH_ENUM_DECLARE(Trilinear);
TORCH_ENUM_DECLARE(Area);
TORCH_ENUM_DECLARE(NearestExact);

namespace nn {

// Source: torch/csrc/api/include/torch/nn/options/upsampling.h.
struct UpsampleOptions {
  using mode_t = std::variant<enumtype::kNearest, enumtype::kLinear, enumtype::kBilinear, enumtype::kBicubic, enumtype::kTrilinear>;
  TORCH_ARG(std::optional<std::vector<std::int64_t>>, size) = std::nullopt;
  TORCH_ARG(std::optional<std::vector<double>>, scale_factor) = std::nullopt;
  TORCH_ARG(mode_t, mode) = kNearest;
  TORCH_ARG(std::optional<bool>, align_corners) = std::nullopt;
};

namespace functional {
struct InterpolateFuncOptions {
  using mode_t = std::variant<enumtype::kNearest, enumtype::kLinear, enumtype::kBilinear, enumtype::kBicubic, enumtype::kTrilinear, enumtype::kArea, enumtype::kNearestExact>;
  TORCH_ARG(std::optional<std::vector<std::int64_t>>, size) = std::nullopt;      // the spatial sizes of the result, or
  TORCH_ARG(std::optional<std::vector<double>>, scale_factor) = std::nullopt;    // what to multiply the input's by
  TORCH_ARG(mode_t, mode) = kNearest;
  TORCH_ARG(std::optional<bool>, align_corners) = std::nullopt;
  TORCH_ARG(std::optional<bool>, recompute_scale_factor) = std::nullopt;         // true: the scale follows from the rounded sizes
  TORCH_ARG(bool, antialias) = false;
};

// (N, C, spatial...) with one to three spatial dimensions, in another size. Throws unless exactly one of size and scale_factor is given, and where the mode does not suit the number of dimensions.
Tensor interpolate(const Tensor& input, const InterpolateFuncOptions& options = {});
}  // namespace functional

class UpsampleImpl : public Cloneable<UpsampleImpl> {
 public:
  explicit UpsampleImpl(UpsampleOptions options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input);
  UpsampleOptions options;
};
TORCH_MODULE(Upsample);

}  // namespace nn

}  // namespace tinytorch
