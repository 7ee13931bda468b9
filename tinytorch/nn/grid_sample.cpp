// From the lesson modules/69_resizing/resizing_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/grid_sample.h"

#include <algorithm>
#include <vector>

#include "tinytorch/core/breadth.h"
#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/more_ops.h"

namespace tinytorch {

namespace {
// From -1..1 to pixels: 0..size-1 between the outermost centres, or -0.5..size-0.5 between the edges.
Tensor to_pixels(const Tensor& places, std::int64_t size, bool align_corners) {
  const auto count = static_cast<double>(size);
  return align_corners ? (places + 1) * ((count - 1) / 2) : (places + 1) * (count / 2) - 0.5;
}

// Folds places back into [low, low + span], as in mirrors on both sides.
Tensor reflected(const Tensor& places, double low, double span) {
  if (span == 0) return zeros_like(places);
  const Tensor distance = (places - low).abs();
  const Tensor turns = (distance.detach() / span).floor();
  const Tensor rest = distance - turns * span;
  return where(turns.remainder(2) == 0, rest + low, span - rest + low);
}

// Moves places outside to where the padding says they read, and what is no number after that to `nowhere`.
Tensor padded_places(const Tensor& places, std::int64_t size, std::int64_t padding_mode, bool align_corners, double nowhere) {
  const auto last = static_cast<double>(size - 1);
  if (padding_mode == 0) return places;
  const Tensor near = padding_mode == 1 ? places : align_corners ? reflected(places, 0, last) : reflected(places, -0.5, last + 1);
  return where(near.isnan(), full({}, nowhere, places.options()), near.clamp(0, last));
}

std::vector<Tensor> grid_places_composed(const Tensor& grid, IntArrayRef spatial, std::int64_t padding_mode, bool align_corners) {
  const auto dims = static_cast<std::int64_t>(spatial.size());
  // The grid's last number is of the first spatial dimension.
  std::vector<Tensor> places;
  for (std::int64_t d = 0; d < dims; ++d) {
    const std::int64_t size = spatial[static_cast<std::size_t>(d)];
    const Tensor place = padded_places(to_pixels(grid.select(-1, dims - 1 - d).flatten(1), size, align_corners), size, padding_mode, align_corners, dims == 2 ? 0 : static_cast<double>(size - 1));
    // With zeros around a volume, a place that is no number is outside of it. As it is, it would make weights of NaN, and these do not let zeros be zeros.
    places.push_back(dims == 3 && padding_mode == 0 ? where(place.isfinite(), place, full({}, -2, place.options())) : place);
  }
  return places;
}

// Reads flat (N, C, pixels) at whole places, one tensor of them (N, out) for each dimension, as (N, C, out). Outside there are zeros.
Tensor read_at(const Tensor& flat, const std::vector<Tensor>& places, IntArrayRef spatial) {
  Tensor index, inside;
  for (std::size_t d = 0; d < places.size(); ++d) {
    const Tensor fits = (places[d] >= 0).logical_and(places[d] <= static_cast<double>(spatial[d] - 1));
    const Tensor at = where(fits, places[d], zeros_like(places[d])).to(kLong);
    index = index.defined() ? index * spatial[d] + at : at;
    inside = inside.defined() ? inside.logical_and(fits) : fits;
  }
  const Tensor values = flat.gather(2, index.unsqueeze(1).expand({flat.size(0), flat.size(1), index.size(1)}));
  return where(inside.unsqueeze(1), values, zeros({}, flat.options()));
}

// Linear weights in every dimension: 2^D corners.
Tensor sample_linear(const Tensor& flat, const std::vector<Tensor>& places, IntArrayRef spatial) {
  const std::size_t dims = places.size();
  Tensor sum;
  for (std::size_t corner = 0; corner < (std::size_t{1} << dims); ++corner) {
    std::vector<Tensor> at;
    Tensor weight;
    for (std::size_t d = 0; d < dims; ++d) {
      const bool upper = (corner >> (dims - 1 - d) & 1) != 0;
      const Tensor low = places[d].detach().floor();
      const Tensor part = upper ? places[d] - low : low + 1 - places[d];
      at.push_back(upper ? low + 1 : low);
      weight = weight.defined() ? weight * part : part;
    }
    const Tensor value = read_at(flat, at, spatial) * weight.unsqueeze(1);
    sum = sum.defined() ? sum + value : value;
  }
  return sum;
}

Tensor read_bilinear_composed(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height) {
  TORCH_CHECK(images.dim() == 3 && y.dim() == 2 && y.sizes() == x.sizes() && y.size(0) == images.size(0) && height > 0 && images.size(2) % height == 0,
              "read_bilinear: expected images (N, C, H W) of ", height, " rows and places (N, out), but got ", images.sizes(), ", ", y.sizes(), " and ", x.sizes());
  return sample_linear(images, {y, x}, {height, images.size(2) / height});
}

Tensor read_nearest_composed(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height) { return read_at(images, {y.round(), x.round()}, {height, images.size(2) / height}); }

// Where somebody wants a gradient these two are composed of operators that have one. Views come here too, and go on to the layers below.
Tensor read_nearest_recorded(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height) {
  if (is_recording() && images.requires_grad()) return read_nearest_composed(images, y, x, height);
  const ExcludeLayersGuard guard(Layer::Autograd);
  return op::read_nearest(images, y, x, height);
}

std::vector<Tensor> grid_places_recorded(const Tensor& grid, IntArrayRef spatial, std::int64_t padding_mode, bool align_corners) {
  if (is_recording() && grid.requires_grad()) return grid_places_composed(grid, spatial, padding_mode, align_corners);
  const ExcludeLayersGuard guard(Layer::Autograd);
  return op::grid_places(grid, spatial, padding_mode, align_corners);
}

// Keys' weights of the four neighbours at distances t + 1, t, 1 - t and 2 - t.
std::vector<Tensor> cubic_weights(const Tensor& t) {
  constexpr double a = -0.75;
  const auto near = [](const Tensor& x) { return ((x * (a + 2)) - (a + 3)) * x * x + 1; };
  const auto far = [](const Tensor& x) { return ((x * a - 5 * a) * x + 8 * a) * x - 4 * a; };
  return {far(t + 1), near(t), near(1 - t), far(2 - t)};
}

Tensor sample_cubic(const Tensor& flat, const std::vector<Tensor>& places, IntArrayRef spatial, std::int64_t padding_mode, bool align_corners) {
  const Tensor y0 = places[0].detach().floor();
  const Tensor x0 = places[1].detach().floor();
  const std::vector<Tensor> wy = cubic_weights(places[0] - y0);
  const std::vector<Tensor> wx = cubic_weights(places[1] - x0);
  Tensor sum;
  for (std::int64_t i = 0; i < 4; ++i) {
    Tensor row;
    for (std::int64_t j = 0; j < 4; ++j) {
      // Each neighbour is padded by itself.
      const Tensor y = padded_places(y0 + (i - 1), spatial[0], padding_mode, align_corners, 0);
      const Tensor x = padded_places(x0 + (j - 1), spatial[1], padding_mode, align_corners, 0);
      const Tensor value = read_at(flat, {y, x}, spatial) * wx[static_cast<std::size_t>(j)].unsqueeze(1);
      row = row.defined() ? row + value : value;
    }
    row = row * wy[static_cast<std::size_t>(i)].unsqueeze(1);
    sum = sum.defined() ? sum + row : row;
  }
  return sum;
}
}  // namespace

// Made of operators that know their gradients, so with recording on, the same function is called.
constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, std::int64_t)> op::read_bilinear("read_bilinear", {.cpu = read_bilinear_composed, .autograd = read_bilinear_composed});
constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, std::int64_t)> op::read_nearest("read_nearest", {.cpu = read_nearest_composed, .autograd = read_nearest_recorded});
constinit Operator<std::vector<Tensor>(const Tensor&, IntArrayRef, std::int64_t, bool)> op::grid_places("grid_places", {.cpu = grid_places_composed, .autograd = grid_places_recorded});

Tensor grid_sampler(const Tensor& input, const Tensor& grid, std::int64_t interpolation_mode, std::int64_t padding_mode, bool align_corners) {
  const std::int64_t dims = input.dim() - 2;
  TORCH_CHECK(input.scalar_type() == grid.scalar_type(), "grid_sampler(): expected input and grid to have same dtype, but input has ", input.dtype(), " and grid has ", grid.dtype());
  TORCH_CHECK(dims == 2 || dims == 3, "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes ", input.sizes(), " and grid with sizes ", grid.sizes());
  TORCH_CHECK(input.size(0) == grid.size(0), "grid_sampler(): expected grid and input to have same batch size, but got input with sizes ", input.sizes(), " and grid with sizes ", grid.sizes());
  TORCH_CHECK(grid.size(-1) == dims, "grid_sampler(): expected grid to have size ", dims, " in last dimension, but got grid with sizes ", grid.sizes());
  TORCH_CHECK(grid.dim() == input.dim(), "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes ", input.sizes(), " and grid with sizes ", grid.sizes());
  for (std::int64_t d = 2; d < input.dim(); ++d)
    TORCH_CHECK(input.size(d) > 0, "grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes ", input.sizes(), " with dimension ", d, " being empty");
  TORCH_CHECK(interpolation_mode != 2 || dims == 2, "grid_sampler(): bicubic interpolation only supports 4D input");
  TORCH_CHECK_NOT_IMPLEMENTED(input.is_floating_point(), "\"grid_sampler_", dims, "d_cpu\" not implemented for '", input.scalar_type(), "'\n[grid_sample] convert with to(kFloat) first.");
  const IntArrayRef spatial(input.sizes().data() + 2, static_cast<std::size_t>(dims));
  const Tensor flat = input.flatten(2);
  const std::vector<Tensor> places = op::grid_places(grid, spatial, interpolation_mode == 2 ? 0 : padding_mode, align_corners);
  Tensor result;
  if (interpolation_mode == 0) {
    result = dims == 2 ? op::read_bilinear(flat, places[0], places[1], spatial[0]) : sample_linear(flat, places, spatial);
  } else if (interpolation_mode == 2) {
    result = sample_cubic(flat, places, spatial, padding_mode, align_corners);
  } else {
    result = dims == 2 ? op::read_nearest(flat, places[0], places[1], spatial[0]) : read_at(flat, {places[0].round(), places[1].round(), places[2].round()}, spatial);
  }
  DimVector sizes{input.size(0), input.size(1)};
  for (std::int64_t d = 1; d <= dims; ++d) sizes.push_back(grid.size(d));
  return result.reshape(sizes);
}

Tensor affine_grid_generator(const Tensor& theta, IntArrayRef size, bool align_corners) {
  const std::size_t dims = size.size() - 2;
  // For each dimension the centres of its pixels, from -1 to 1.
  std::vector<Tensor> base;
  for (std::size_t d = 0; d < dims; ++d) {
    const std::int64_t count = size[size.size() - 1 - d];
    const auto shrink = align_corners ? 1.0 : static_cast<double>(count - 1) / static_cast<double>(count);
    const Tensor places = count == 1 ? zeros({1}, theta.options()) : linspace(-1, 1, count, theta.options()) * shrink;
    DimVector shape(dims, 1);
    shape[dims - 1 - d] = count;
    base.push_back(places.view(shape).expand(IntArrayRef(size.data() + 2, dims)));
  }
  base.push_back(ones(IntArrayRef(size.data() + 2, dims), theta.options()));
  const Tensor points = stack(base, -1).reshape({1, -1, static_cast<std::int64_t>(dims) + 1});
  DimVector sizes{size[0]};
  for (std::size_t d = 0; d < dims; ++d) sizes.push_back(size[d + 2]);
  sizes.push_back(static_cast<std::int64_t>(dims));
  return points.expand({size[0], points.size(1), points.size(2)}).bmm(theta.transpose(1, 2)).view(sizes);
}

Tensor nn::functional::affine_grid(const Tensor& theta, const IntArrayRef& size, bool align_corners) {
  TORCH_CHECK(theta.is_floating_point(), "Expected theta to have floating point type, but got ", theta.dtype());
  TORCH_CHECK(size.size() == 4 || size.size() == 5, "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got size ", size);
  const auto dims = static_cast<std::int64_t>(size.size()) - 2;
  TORCH_CHECK(theta.dim() == 3 && theta.size(-2) == dims && theta.size(-1) == dims + 1, "Expected a batch of ", dims, "D affine matrices of shape Nx", dims, "x", dims + 1, " for size ", size,
              ". Got ", theta.sizes(), ".");
  TORCH_CHECK(*std::min_element(size.begin(), size.end()) > 0, "Expected non-zero, positive output size. Got ", size);
  return affine_grid_generator(theta, size, align_corners);
}

}  // namespace tinytorch
