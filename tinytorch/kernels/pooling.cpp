// From the lesson modules/55_pooling_kernels/pooling_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "tinytorch/core/layouts.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/pooling_kernels.h"
#include "tinytorch/nn/image_checks.h"
#include "tinytorch/nn/more_pool.h"
#include "tinytorch/nn/pool.h"

namespace tinytorch {

namespace {
const kernels::PoolingKernels& pooling_table() {
  using namespace kernels;
  static constexpr const PoolingKernels* tables[] = TINYTORCH_PER_CAPABILITY(pooling_kernels);
  return for_capability(tables);
}

// Windows along one dimension.
struct PooledLine {
  PooledLine(std::int64_t size_, std::int64_t kernel_, std::int64_t stride_, std::int64_t padding_, std::int64_t dilation_, std::int64_t count)
      : size(size_), kernel(kernel_), stride(stride_), padding(padding_), dilation(dilation_), first(std::min(count, (padding + stride - 1) / stride)) {
    const std::int64_t room = size + padding - (kernel - 1) * dilation - 1;  // where the last window that is inside begins, counted from the padding
    stop = std::clamp<std::int64_t>(room < 0 ? 0 : room / stride + 1, first, count);
  }
  std::int64_t begin(std::int64_t window) const { return window * stride - padding; }
  // Which of a window's `kernel` places are inside: [first_inside, stop_inside).
  std::int64_t first_inside(std::int64_t window) const { return begin(window) >= 0 ? 0 : (dilation - 1 - begin(window)) / dilation; }
  std::int64_t stop_inside(std::int64_t window) const { return std::min(kernel, (size - begin(window) + dilation - 1) / dilation); }

  std::int64_t size, kernel, stride, padding, dilation;
  std::int64_t first, stop;  // windows that lie inside: [first, stop)
};

// One window, of which a part may lie outside.
template <class T>
std::int64_t winner_at_edge(const T* plane, const PooledLine& rows, const PooledLine& columns, std::int64_t y, std::int64_t x) {
  std::int64_t best = -1;
  for (std::int64_t i = 0; i < rows.kernel; ++i)
    for (std::int64_t j = 0; j < columns.kernel; ++j) {
      const std::int64_t row = rows.begin(y) + i * rows.dilation, column = columns.begin(x) + j * columns.dilation;
      if (row < 0 || row >= rows.size || column < 0 || column >= columns.size) continue;
      const std::int64_t here = row * columns.size + column;
      if (best < 0 || plane[here] > plane[best] || plane[here] != plane[here]) best = here;
    }
  return best;
}

// A plane's results: the largest numbers of its windows, and where they stand.
template <class T>
struct Pooled {
  T* values;
  std::int64_t* winners;
};

// `count` planes behind one another.
template <class T>
void pool_planes(void (*kernel)(const kernels::PoolingRows<T>&), const T* planes, std::int64_t count, const T* end, const PooledLine& rows, const PooledLine& columns, std::int64_t height, std::int64_t width, Pooled<T> to) {
  const std::int64_t size = rows.size * columns.size;
  const auto inner_rows = [&](const T* plane, Pooled<T> result, std::int64_t lines) {
    const std::int64_t corner = rows.begin(rows.first) * columns.size + columns.begin(columns.first), first = rows.first * width + columns.first;
    kernel({plane + corner, end - plane - corner, rows.kernel, columns.kernel, rows.dilation * columns.size, columns.dilation, columns.stride, corner, size, columns.stop - columns.first,
            result.winners + first, result.values + first, lines, rows.stride * columns.size, width});
  };
  const bool has_edge = rows.first > 0 || rows.stop < height || columns.first > 0 || columns.stop < width;
  // Where windows cover a plane from its first row to its last, the next plane's first row follows as if it were the same plane's.
  if (!has_edge && height * rows.stride == rows.size) return inner_rows(planes, to, count * height);
  for (const T* plane = planes; plane < planes + count * size; plane += size, to = {to.values + height * width, to.winners + height * width}) {
    if (rows.first < rows.stop && columns.first < columns.stop) inner_rows(plane, to, rows.stop - rows.first);
    const auto at_edge = [&](std::int64_t y, std::int64_t x) {
      const std::int64_t winner = winner_at_edge(plane, rows, columns, y, x);
      to.winners[y * width + x] = winner;
      to.values[y * width + x] = plane[winner];
    };
    for (std::int64_t y = 0; has_edge && y < height; ++y) {
      const bool inside = y >= rows.first && y < rows.stop;
      const std::int64_t first = inside ? columns.first : width, stop = inside ? columns.stop : width;
      for (std::int64_t x = 0; x < first; ++x) at_edge(y, x);
      for (std::int64_t x = stop; x < width; ++x) at_edge(y, x);
    }
  }
}

// Images with channels last, as (N, H, W, C), and the results in the same order.
template <class T>
void pool_channels(void (*kernel)(const kernels::ChannelWindow<T>&), const Tensor& images, const PooledLine& rows, const PooledLine& columns, std::int64_t height, std::int64_t width, Pooled<T> to) {
  const std::int64_t N = images.size(0), C = images.size(3);
  parallel_for(0, N * height, std::max<std::int64_t>(1, 16384 / (width * C)), [&, from = images.data<T>()](std::int64_t begin, std::int64_t end) {
    for (std::int64_t line = begin; line < end; ++line) {
      const std::int64_t y = line % height, i = rows.first_inside(y), row = rows.begin(y) + i * rows.dilation;
      for (std::int64_t x = 0; x < width; ++x) {
        const std::int64_t j = columns.first_inside(x), column = columns.begin(x) + j * columns.dilation, first = row * columns.size + column, at = (line * width + x) * C;
        kernel({from + (line / height * rows.size * columns.size + first) * C, C, rows.stop_inside(y) - i, columns.stop_inside(x) - j, rows.dilation * columns.size * C, columns.dilation * C, first,
                rows.dilation * columns.size, columns.dilation, to.winners + at, to.values + at});
      }
    }
  });
}

template <class T>
std::tuple<Tensor, Tensor> max_pool_of(const kernels::PoolingTable<T>& table, const Tensor& self, const PooledLine& rows, const PooledLine& columns, IntArrayRef output) {
  const std::int64_t height = output[0], width = output[1];
  const auto in_sizes = [&](IntArrayRef sizes) { return std::tuple{empty(sizes, self.options()), empty(sizes, kLong)}; };
  if (has_channels_last(self) && rows.size * columns.size < std::int64_t{1} << 31) {
    const auto [values, winners] = in_sizes({self.size(0), height, width, self.size(1)});
    pool_channels<T>(table.channels, self.permute({0, 2, 3, 1}), rows, columns, height, width, {values.template data<T>(), winners.template data<std::int64_t>()});
    return {values.permute({0, 3, 1, 2}), winners.permute({0, 3, 1, 2})};
  }
  const Tensor planes = self.contiguous();
  DimVector sizes(self.sizes());
  sizes[sizes.size() - 2] = height;
  sizes[sizes.size() - 1] = width;
  const std::tuple<Tensor, Tensor> results = in_sizes(sizes);
  const Pooled<T> to{std::get<0>(results).template data<T>(), std::get<1>(results).template data<std::int64_t>()};
  const std::int64_t plane = rows.size * columns.size, windows = height * width;
  parallel_for(0, planes.numel() / plane, std::max<std::int64_t>(1, 16384 / plane), [&, from = planes.data<T>()](std::int64_t begin, std::int64_t end) {
    pool_planes<T>(table.rows, from + begin * plane, end - begin, from + planes.numel(), rows, columns, height, width, {to.values + begin * windows, to.winners + begin * windows});
  });
  return results;
}

std::tuple<Tensor, Tensor> max_pool_tuned(const Tensor& self, IntArrayRef output, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation) {
  const ScalarType type = self.scalar_type();
  if ((type != kFloat && type != kDouble) || self.numel() == 0) return op::max_pool2d_with_indices.function(Layer::CPU)(self, output, kernel, stride, padding, dilation);
  const PooledLine rows(self.size(-2), kernel[0], stride[0], padding[0], dilation[0], output[0]), columns(self.size(-1), kernel[1], stride[1], padding[1], dilation[1], output[1]);
  return type == kFloat ? max_pool_of(pooling_table().in_float, self, rows, columns, output) : max_pool_of(pooling_table().in_double, self, rows, columns, output);
}

}  // namespace

void register_tuned_pooling() {
  op::max_pool2d_with_indices.set(Layer::TunedCPU, max_pool_tuned);
}

namespace {
template <class T>
const kernels::WindowMeansTable<T>& window_means_table() {
  using namespace kernels;
  static constexpr const WindowMeansKernels* tables[] = TINYTORCH_PER_CAPABILITY(window_means_kernels);
  const WindowMeansKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

// What each of some windows covers of the places of a dimension.
struct WindowRanges {
  void add(std::int64_t first, std::int64_t length) {
    firsts.push_back(first);
    lengths.push_back(length);
  }
  std::vector<std::int64_t> firsts, lengths;
};

// Of `count` adaptive windows over `size` places.
WindowRanges adaptive_ranges(std::int64_t count, std::int64_t size) {
  WindowRanges ranges;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto [first, length] = adaptive_range(i, count, size);
    ranges.add(first, length);
  }
  return ranges;
}

// Of `count` windows of `kernel` places each, without the padding.
WindowRanges pooled_ranges(std::int64_t count, std::int64_t size, std::int64_t kernel, std::int64_t stride, std::int64_t padding) {
  WindowRanges ranges;
  const PooledLine line(size, kernel, stride, padding, 1, count);
  for (std::int64_t i = 0; i < count; ++i) ranges.add(line.begin(i) + line.first_inside(i), line.stop_inside(i) - line.first_inside(i));
  return ranges;
}

// For each of `size` places, which of these windows hold it.
WindowRanges holding_ranges(std::int64_t count, std::int64_t size, std::int64_t kernel, std::int64_t stride, std::int64_t padding) {
  WindowRanges ranges;
  for (std::int64_t y = 0; y < size; ++y) {
    const std::int64_t behind = y + padding - kernel + 1, first = behind <= 0 ? 0 : std::min((behind + stride - 1) / stride, count), stop = std::min((y + padding) / stride + 1, count);
    ranges.add(first, std::max<std::int64_t>(stop - first, 0));
  }
  return ranges;
}

// What each pixel counts in the windows that are divided by rows[i] columns[j].
template <class T>
std::vector<T> shares_of_windows(IntArrayRef rows, IntArrayRef columns) {
  std::vector<T> shares;
  for (const std::int64_t row : rows)
    for (const std::int64_t column : columns) shares.push_back(T{1} / static_cast<T>(row * column));
  return shares;
}

// Of `images` with channels last and windows of these rows and columns: fill(line, y) says by what windows of row y are divided, or what their pixels count. On the threads of the pool.
template <class T, class Fill>
Tensor in_lines(void (*kernel)(const kernels::LineOfWindows<T>&), const Tensor& images, const WindowRanges& rows, const WindowRanges& columns, Fill fill) {
  const std::int64_t N = images.size(0), C = images.size(1), H = images.size(2), W = images.size(3);
  const auto height = static_cast<std::int64_t>(rows.firsts.size()), width = static_cast<std::int64_t>(columns.firsts.size());
  const Tensor result = empty({N, height, width, C}, images.options());
  const std::int64_t work = std::max(width, W) * C * ((H + height - 1) / height);
  parallel_for(0, N * height, std::max<std::int64_t>(1, 16384 / work), [&, from = images.data<T>(), to = result.data<T>()](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      const auto y = static_cast<std::size_t>(n % height);
      kernels::LineOfWindows<T> line{.from = from + (n / height * H + rows.firsts[y]) * W * C, .channels = C, .rows = rows.lengths[y], .row = W * C, .count = width, .firsts = columns.firsts.data(), .lengths = columns.lengths.data(), .out = to + n * width * C};
      fill(line, y);
      kernel(line);
    }
  });
  return result.permute({0, 3, 1, 2});
}

template <class T>
Tensor means_of_windows(const Tensor& images, const WindowRanges& rows, const WindowRanges& columns, IntArrayRef row_divisors, IntArrayRef column_divisors) {
  return in_lines<T>(window_means_table<T>().means, images, rows, columns, [&](kernels::LineOfWindows<T>& line, std::size_t y) {
    line.divisor = row_divisors[y];
    line.divisors = column_divisors.data();
  });
}

// The same of images in rows.
template <class T>
Tensor means_of_planes(const Tensor& images, const WindowRanges& rows, IntArrayRef row_divisors, IntArrayRef column_divisors, std::int64_t kernel, std::int64_t stride, std::int64_t padding) {
  const auto lines = static_cast<std::int64_t>(row_divisors.size()), count = static_cast<std::int64_t>(column_divisors.size());
  const std::int64_t H = images.size(2), W = images.size(3);
  const Tensor x = images.contiguous(), result = empty({images.size(0), images.size(1), lines, count}, images.options());
  std::vector<T> divisors(column_divisors.begin(), column_divisors.end());
  divisors.resize(divisors.size() + kernels::kWidestVector, T{1});
  parallel_for(0, images.size(0) * images.size(1), std::max<std::int64_t>(1, 16384 / (H * W)), [&, from = x.data<T>(), to = result.data<T>()](std::int64_t first, std::int64_t stop) {
    kernels::PlanesOfWindows<T> planes{from + first * H * W, stop - first, H, W, lines, rows.firsts.data(), rows.lengths.data(), row_divisors.data(), count, kernel, stride, padding, divisors.data(), to + first * lines * count, nullptr};
    std::vector<T> sums(static_cast<std::size_t>(kernels::room_of_sums(planes)));
    planes.sums = sums.data();
    window_means_table<T>().means_in_rows(planes);
  });
  return result;
}

// The gradient of means: each pixel is a window over the gradients of those windows that hold it.
template <class T>
Tensor weighted_sums(const Tensor& grad, const WindowRanges& rows, const WindowRanges& columns, const std::vector<T>& shares) {
  return in_lines<T>(window_means_table<T>().weighted_sums, grad, rows, columns, [&](kernels::LineOfWindows<T>& line, std::size_t y) {
    line.weights = shares.data() + rows.firsts[y] * grad.size(3);
    line.weight_row = grad.size(3);
  });
}

bool sums_in_channels(const Tensor& self) { return (self.scalar_type() == kFloat || self.scalar_type() == kDouble) && self.numel() > 0 && has_channels_last(self); }

Tensor window_means_tuned(const Tensor& self, IntArrayRef row_divisors, IntArrayRef column_divisors, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding) {
  const bool ours = (self.scalar_type() == kFloat || self.scalar_type() == kDouble) && self.numel() > 0 && !row_divisors.empty() && !column_divisors.empty();
  if (!ours) return op::window_means.function(Layer::CPU)(self, row_divisors, column_divisors, kernel, stride, padding);
  const auto means = [&]<class T>() {
    const auto count = [](IntArrayRef divisors) { return static_cast<std::int64_t>(divisors.size()); };
    const WindowRanges rows = pooled_ranges(count(row_divisors), self.size(2), kernel[0], stride[0], padding[0]);
    if (!has_channels_last(self)) return means_of_planes<T>(self, rows, row_divisors, column_divisors, kernel[1], stride[1], padding[1]);
    return means_of_windows<T>(self, rows, pooled_ranges(count(column_divisors), self.size(3), kernel[1], stride[1], padding[1]), row_divisors, column_divisors);
  };
  return self.scalar_type() == kFloat ? means.template operator()<float>() : means.template operator()<double>();
}

Tensor window_means_backward_tuned(const Tensor& grad, IntArrayRef size, IntArrayRef row_divisors, IntArrayRef column_divisors, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding) {
  if (!sums_in_channels(grad) || size[0] == 0 || size[1] == 0) return op::window_means_backward.function(Layer::CPU)(grad, size, row_divisors, column_divisors, kernel, stride, padding);
  const WindowRanges rows = holding_ranges(grad.size(2), size[0], kernel[0], stride[0], padding[0]), columns = holding_ranges(grad.size(3), size[1], kernel[1], stride[1], padding[1]);
  if (grad.scalar_type() == kFloat) return weighted_sums(grad, rows, columns, shares_of_windows<float>(row_divisors, column_divisors));
  return weighted_sums(grad, rows, columns, shares_of_windows<double>(row_divisors, column_divisors));
}

Tensor adaptive_avg_tuned(const Tensor& self, IntArrayRef output) {
  if (!sums_in_channels(self) || output[0] == 0 || output[1] == 0) return op::_adaptive_avg_pool2d.function(Layer::CPU)(self, output);
  const WindowRanges rows = adaptive_ranges(output[0], self.size(2)), columns = adaptive_ranges(output[1], self.size(3));
  return self.scalar_type() == kFloat ? means_of_windows<float>(self, rows, columns, rows.lengths, columns.lengths) : means_of_windows<double>(self, rows, columns, rows.lengths, columns.lengths);
}

Tensor adaptive_avg_backward_tuned(const Tensor& grad, IntArrayRef size) {
  if (!sums_in_channels(grad) || size[0] == 0 || size[1] == 0) return op::_adaptive_avg_pool2d_backward.function(Layer::CPU)(grad, size);
  const std::int64_t height = grad.size(2), width = grad.size(3);
  const WindowRanges rows = adaptive_ranges(size[0], height), columns = adaptive_ranges(size[1], width), windows = adaptive_ranges(height, size[0]), across = adaptive_ranges(width, size[1]);
  if (grad.scalar_type() == kFloat) return weighted_sums(grad, rows, columns, shares_of_windows<float>(windows.lengths, across.lengths));
  return weighted_sums(grad, rows, columns, shares_of_windows<double>(windows.lengths, across.lengths));
}
}  // namespace

void register_tuned_means() {
  op::window_means.set(Layer::TunedCPU, window_means_tuned);
  op::window_means_backward.set(Layer::TunedCPU, window_means_backward_tuned);
  op::_adaptive_avg_pool2d.set(Layer::TunedCPU, adaptive_avg_tuned);
  op::_adaptive_avg_pool2d_backward.set(Layer::TunedCPU, adaptive_avg_backward_tuned);
}

}  // namespace tinytorch
