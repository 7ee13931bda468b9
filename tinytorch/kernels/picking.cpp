// From the lesson modules/85_resampling_kernels/resampling_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "tinytorch/core/layouts.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/pooling_kernels.h"
#include "tinytorch/kernels/resampling_kernels.h"
#include "tinytorch/nn/image_checks.h"
#include "tinytorch/nn/resize.h"

namespace tinytorch {

namespace {
constexpr std::int64_t kPickingWork = 1 << 14;

// Images as they lie: planes of `channels` numbers for each pixel.
struct PixelOrder {
  explicit PixelOrder(const Tensor& images) : last(has_channels_last(images)), planes(last ? images.size(0) : images.size(0) * images.size(1)), channels(last ? images.size(1) : 1) {}
  bool last;
  std::int64_t planes, channels;
};

// An image of `height` x `width` pixels in the order of `images`, as it lies in memory, and as (N, C, H, W).
Tensor image_in_order(const Tensor& images, std::int64_t height, std::int64_t width) {
  const std::int64_t N = images.size(0), C = images.size(1);
  return PixelOrder(images).last ? empty({N, height, width, C}, images.options()) : empty({N, C, height, width}, images.options());
}
Tensor as_images(const Tensor& result, const PixelOrder& order) { return order.last ? result.permute({0, 3, 1, 2}) : result; }

template <class U>
void pick_rows(kernels::PickRow<U> kernel, const U* from, const PixelOrder& order, IntArrayRef size, IntArrayRef rows, IntArrayRef columns, U* to) {
  const auto height = static_cast<std::int64_t>(rows.size()), width = static_cast<std::int64_t>(columns.size()), length = width * order.channels;
  parallel_for(0, order.planes * height, std::max<std::int64_t>(1, kPickingWork / length), [&](std::int64_t first, std::int64_t stop) {
    for (std::int64_t line = first; line < stop; ++line) {
      const auto y = static_cast<std::size_t>(line % height);
      if (line > first && y > 0 && rows[y] == rows[y - 1]) std::copy_n(to + (line - 1) * length, length, to + line * length);
      else kernel(from + (line / height * size[0] + rows[y]) * size[1] * order.channels, columns.data(), width, order.channels, to + line * length);
    }
  });
}

const kernels::PickKernels& pick_table() {
  using namespace kernels;
  static constexpr const PickKernels* tables[] = TINYTORCH_PER_CAPABILITY(pick_kernels);
  return for_capability(tables);
}

bool are_within(IntArrayRef places, std::int64_t size) {
  return std::all_of(places.begin(), places.end(), [size](std::int64_t at) { return at >= 0 && at < size; });
}

Tensor pick_pixels_tuned(const Tensor& self, IntArrayRef rows, IntArrayRef columns) {
  const std::size_t bytes = self.element_size();
  if (self.dim() != 4 || self.numel() == 0 || rows.empty() || columns.empty() || bytes > 8 || !are_within(rows, self.size(2)) || !are_within(columns, self.size(3))) return op::pick_pixels.function(Layer::CPU)(self, rows, columns);
  const PixelOrder order(self);
  const Tensor images = order.last ? self : self.contiguous(), result = image_in_order(self, static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(columns.size()));
  const auto run = [&]<class U>(kernels::PickRow<U> kernel) { pick_rows<U>(kernel, static_cast<const U*>(images.data_ptr()), order, spatial_sizes(self.sizes()), rows, columns, static_cast<U*>(result.data_ptr())); };
  if (bytes == 1) run(pick_table().of_1);
  else if (bytes == 2) run(pick_table().of_2);
  else if (bytes == 4) run(pick_table().of_4);
  else run(pick_table().of_8);
  return as_images(result, order);
}

// Which of a list's places each of `size` numbers takes. REQUIRES: the list does not fall.
struct PickedRanges {
  PickedRanges(IntArrayRef list, std::int64_t size) : firsts(static_cast<std::size_t>(size)), lengths(static_cast<std::size_t>(size)) {
    const std::int64_t* at = list.begin();
    for (std::size_t i = 0; i < firsts.size(); ++i) {
      firsts[i] = at - list.begin();
      for (; at != list.end() && *at == static_cast<std::int64_t>(i); ++at) ++lengths[i];
      firsts[i] = std::min(firsts[i], static_cast<std::int64_t>(list.size()) - 1);
    }
  }
  std::vector<std::int64_t> firsts, lengths;
};

template <class T>
const auto& table_of(const auto& kernels) {
  if constexpr (std::is_same_v<T, float>) return kernels.in_float;
  else return kernels.in_double;
}

// Windows of pixels with channels last.
template <class T>
void add_windows(const Tensor& grad, const PickedRanges& rows, const PickedRanges& columns, T* to) {
  using namespace kernels;
  static constexpr const WindowMeansKernels* tables[] = TINYTORCH_PER_CAPABILITY(window_means_kernels);
  const auto means = table_of<T>(for_capability(tables)).means;
  const std::int64_t C = grad.size(1), H = grad.size(2), W = grad.size(3);
  const auto height = static_cast<std::int64_t>(rows.firsts.size()), width = static_cast<std::int64_t>(columns.firsts.size());
  const std::vector<std::int64_t> ones(columns.firsts.size(), 1);
  parallel_for(0, grad.size(0) * height, std::max<std::int64_t>(1, kPickingWork / (std::max(W, width) * C)), [&, from = grad.data<T>()](std::int64_t first, std::int64_t stop) {
    for (std::int64_t line = first; line < stop; ++line) {
      const auto y = static_cast<std::size_t>(line % height);
      means({.from = from + (line / height * H + rows.firsts[y]) * W * C, .channels = C, .rows = rows.lengths[y], .row = W * C, .count = width, .firsts = columns.firsts.data(), .lengths = columns.lengths.data(), .divisors = ones.data(), .out = to + line * width * C});
    }
  });
}

// Of pixels in rows: the sums of rows, and in these the sums of neighbours.
template <class T>
void add_in_rows(const Tensor& grad, const PickedRanges& rows, const PickedRanges& columns, T* to) {
  using namespace kernels;
  static constexpr const ResamplingKernels* tables[] = TINYTORCH_PER_CAPABILITY(resampling_kernels);
  const auto sum_rows = table_of<T>(for_capability(tables)).rows;
  const std::int64_t planes = grad.size(0) * grad.size(1), H = grad.size(2), W = grad.size(3);
  const auto height = static_cast<std::int64_t>(rows.firsts.size()), width = static_cast<std::int64_t>(columns.firsts.size());
  const std::int64_t most = *std::max_element(rows.lengths.begin(), rows.lengths.end());
  std::vector<std::int64_t> index(static_cast<std::size_t>(most));
  for (std::size_t i = 0; i < index.size(); ++i) index[i] = static_cast<std::int64_t>(i);
  const std::vector<T> ones(index.size(), T{1});
  parallel_for(0, planes * height, std::max<std::int64_t>(1, kPickingWork / std::max(W, width)), [&, from = grad.data<T>()](std::int64_t first, std::int64_t stop) {
    std::vector<T> sums(static_cast<std::size_t>(W));
    for (std::int64_t line = first; line < stop; ++line) {
      const auto y = static_cast<std::size_t>(line % height);
      T* const out = to + line * width;
      if (rows.lengths[y] == 0) {
        std::fill_n(out, width, T{0});
        continue;
      }
      const T* row = from + (line / height * H + rows.firsts[y]) * W;
      if (rows.lengths[y] > 1) {
        sum_rows(row, W, index.data(), ones.data(), rows.lengths[y], sums.data());
        row = sums.data();
      }
      for (std::size_t x = 0; x < columns.firsts.size(); ++x) {
        T sum{0};
        for (std::int64_t j = 0; j < columns.lengths[x]; ++j) sum += row[columns.firsts[x] + j];
        out[x] = sum;
      }
    }
  });
}

Tensor pick_pixels_backward_tuned(const Tensor& grad, IntArrayRef size, IntArrayRef rows, IntArrayRef columns) {
  const ScalarType type = grad.scalar_type();
  const bool rises = std::is_sorted(rows.begin(), rows.end()) && std::is_sorted(columns.begin(), columns.end()) && are_within(rows, size[0]) && are_within(columns, size[1]);
  const bool fits = grad.dim() == 4 && grad.size(2) == static_cast<std::int64_t>(rows.size()) && grad.size(3) == static_cast<std::int64_t>(columns.size());
  if ((type != kFloat && type != kDouble) || grad.numel() == 0 || !rises || !fits) return op::pick_pixels_backward.function(Layer::CPU)(grad, size, rows, columns);
  const PixelOrder order(grad);
  const Tensor dense = order.last ? grad : grad.contiguous(), result = image_in_order(grad, size[0], size[1]);
  const PickedRanges of_rows(rows, size[0]), of_columns(columns, size[1]);
  const auto run = [&]<class T>() {
    if (order.last) add_windows(dense, of_rows, of_columns, result.data<T>());
    else add_in_rows(dense, of_rows, of_columns, result.data<T>());
  };
  if (type == kFloat) run.template operator()<float>();
  else run.template operator()<double>();
  return as_images(result, order);
}
}  // namespace

void register_tuned_picking() {
  op::pick_pixels.set(Layer::TunedCPU, pick_pixels_tuned);
  op::pick_pixels_backward.set(Layer::TunedCPU, pick_pixels_backward_tuned);
}

}  // namespace tinytorch
