// From the lesson modules/56_product_convolutions/product_convolutions_dev.cpp:
// edit the module, not this file.

#include "tinytorch/kernels/product_convolution.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/channel_kernels.h"
#include "tinytorch/kernels/gemm.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/windows.h"

namespace tinytorch {

namespace {
bool channels_are_last(const Tensor& images) {
  const MemoryFormat format = images.suggest_memory_format();
  return format == MemoryFormat::ChannelsLast || format == MemoryFormat::ChannelsLast3d;
}

// Uninitialised images; with their channels last if those of `like` are.
Tensor empty_images(IntArrayRef sizes, const Tensor& like) { return empty(sizes, like.scalar_type(), like.suggest_memory_format()); }

// As a matrix or a stack of such, without gaps: images in rows, or with their channels last.
Tensor without_gaps(const Tensor& images) { return images.contiguous(images.suggest_memory_format()); }

bool is_one(std::int64_t size) { return size == 1; }

// A 1 x 1 convolution as products. Channels are of one group.
struct Pointwise {
  Pointwise(IntArrayRef input_sizes, IntArrayRef weight_sizes, IntArrayRef stride_, IntArrayRef padding, std::int64_t groups)
      : G(groups), N(input_sizes[0]), M(weight_sizes[0] / groups), C(weight_sizes[1]), stride(stride_), places(input_sizes) {
    const bool no_padding = std::all_of(padding.begin(), padding.end(), [](std::int64_t p) { return p == 0; });
    // A product for each channel alone would have no sum to compute.
    fits = no_padding && std::all_of(weight_sizes.begin() + 2, weight_sizes.end(), is_one) && M * C >= 16;
    for (std::size_t d = 0; d < stride.size(); ++d) {
      places[2 + d] = (places[2 + d] + stride[d] - 1) / stride[d];
      L *= places[2 + d];
    }
  }

  bool strides() const { return !std::all_of(stride.begin(), stride.end(), is_one); }

  // The pixels of `images` that windows lie on, as a view.
  Tensor taken(const Tensor& images) const {
    Tensor view = images;
    for (std::size_t d = 0; d < stride.size(); ++d)
      if (stride[d] > 1) view = slice(view, static_cast<std::int64_t>(2 + d), 0, std::nullopt, stride[d]);
    return view;
  }

  // Sizes of images with `channels` channels and a pixel for each window.
  DimVector sizes(std::int64_t channels) const {
    DimVector all(places);
    all[1] = channels;
    return all;
  }

  std::int64_t G, N, M, C, L = 1;
  bool fits;
  IntArrayRef stride;
  DimVector places;
};

template <class F>
void with_type_of(const Tensor& x, F f) {
  if (x.scalar_type() == kFloat) f.template operator()<float>();
  else f.template operator()<double>();
}

// out (rows, columns) = a (rows, K) x b (K, columns) + start, if that has data.
template <class T>
void multiply_to(T* out, std::int64_t out_row, std::int64_t rows, std::int64_t columns, std::int64_t K, kernels::MatrixView<T> a, kernels::MatrixView<T> b, kernels::MatrixView<T> start = {nullptr, 0, 0}) {
  kernels::multiply<T>(rows, columns, K, T{1}, a, b, T{1}, start, out, out_row);
}

// The numbers of a bias one after the other; none without a bias.
template <class T>
class BiasNumbers {
 public:
  explicit BiasNumbers(const std::optional<Tensor>& bias) : memory_(bias ? bias->contiguous() : Tensor()) {}
  // From channel c on.
  const T* at(std::int64_t c) const { return memory_.defined() ? memory_.data<T>() + c : nullptr; }

 private:
  Tensor memory_;
};

// Images `from` to images `to`, as many channels of one as of the other side of the weights: to_n (A, L) = W (A, B) x from_n (B, L) + bias (A) for each image and group, W's element (i, k) being w[i * w_row + k * w_column].
template <class T>
void map_channels(const Pointwise& p, const T* from, std::int64_t B, const T* w, std::int64_t w_row, std::int64_t w_column, const BiasNumbers<T>& bias, T* to, std::int64_t A, bool last) {
  if (last || p.L == 1) {  // an image of one pixel has its channels last in any order
    for (std::int64_t g = 0; g < p.G; ++g) multiply_to<T>(to + g * A, p.G * A, p.N * p.L, A, B, {from + g * B, p.G * B, 1}, {w + g * p.M * p.C, w_column, w_row}, {bias.at(g * A), 0, 1});
    return;
  }
  const auto map_one = [&](std::int64_t i) {
    const std::int64_t g = i % p.G;
    multiply_to<T>(to + i * A * p.L, p.L, A, p.L, B, {w + g * p.M * p.C, w_row, w_column}, {from + i * B * p.L, p.L, 1}, {bias.at(g * A), 1, 0});
  };
  // Images are tasks where all threads get one; of fewer the threads share each product.
  if (p.N * p.G >= get_num_threads()) return kernels::run_tasks(p.N * p.G, map_one);
  for (std::int64_t i = 0; i < p.N * p.G; ++i) map_one(i);
}
}  // namespace

Tensor kernels::pointwise_convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding, std::int64_t groups) {
  const Pointwise p(input.sizes(), weight.sizes(), stride, padding, groups);
  if (!p.fits) return {};
  const Tensor x = p.strides() ? p.taken(input).contiguous(input.suggest_memory_format()) : without_gaps(input), w = weight.contiguous();
  const Tensor result = empty_images(p.sizes(p.G * p.M), input);
  with_type_of(input, [&]<class T>() { map_channels<T>(p, x.data<T>(), p.C, w.data<T>(), p.C, 1, BiasNumbers<T>(bias), result.data<T>(), p.M, channels_are_last(input)); });
  return result;
}

Tensor kernels::pointwise_convolution_input(const Tensor& grad, const Tensor& weight, IntArrayRef input_sizes, IntArrayRef stride, IntArrayRef padding, std::int64_t groups) {
  const Pointwise p(input_sizes, weight.sizes(), stride, padding, groups);
  if (!p.fits) return {};
  const Tensor y = without_gaps(grad), w = weight.contiguous();
  const Tensor result = empty_images(p.sizes(p.G * p.C), grad);
  with_type_of(grad, [&]<class T>() { map_channels<T>(p, y.data<T>(), p.M, w.data<T>(), 1, p.C, BiasNumbers<T>({}), result.data<T>(), p.C, channels_are_last(grad)); });
  if (!p.strides()) return result;
  const Tensor whole = empty_images(input_sizes, grad);
  fill_(whole, 0);
  copy_(p.taken(whole), result);
  return whole;
}

Tensor kernels::pointwise_convolution_weight(const Tensor& input, const Tensor& grad, IntArrayRef weight_sizes, IntArrayRef stride, IntArrayRef padding, std::int64_t groups) {
  constexpr std::int64_t kEnoughPlaces = 128;
  const Pointwise p(input.sizes(), weight_sizes, stride, padding, groups);
  const bool last = channels_are_last(grad) || p.L == 1;
  if (!p.fits || (!last && p.L < kEnoughPlaces)) return {};
  const Tensor y = without_gaps(grad), x = p.taken(input).contiguous(grad.suggest_memory_format());
  const Tensor result = empty(weight_sizes, input.scalar_type());
  with_type_of(input, [&]<class T>() {
    for (std::int64_t g = 0; g < p.G; ++g) {
      T* const out = result.data<T>() + g * p.M * p.C;
      if (last) {
        multiply_to<T>(out, p.C, p.M, p.C, p.N * p.L, {y.data<T>() + g * p.M, 1, p.G * p.M}, {x.data<T>() + g * p.C, p.G * p.C, 1});
        continue;
      }
      for (std::int64_t n = 0; n < p.N; ++n)
        multiply_to<T>(out, p.C, p.M, p.C, p.L, {y.data<T>() + (n * p.G + g) * p.M * p.L, p.L, 1}, {x.data<T>() + (n * p.G + g) * p.C * p.L, 1, p.L}, {n > 0 ? out : nullptr, p.C, 1});
    }
  });
  return result;
}

namespace {
template <class T>
const kernels::ChannelTable<T>& channel_table() {
  using namespace kernels;
  static constexpr const ChannelKernels* tables[] = TINYTORCH_PER_CAPABILITY(channel_kernels);
  if constexpr (std::is_same_v<T, float>) return for_capability(tables).in_float;
  else return for_capability(tables).in_double;
}

struct Plane {
  std::int64_t rows, columns;
};

std::int64_t pieces_of(std::int64_t size, std::int64_t most) { return (size + most - 1) / most; }

// Weights wherever they lie: what leads from input channel c to output channel m under number (row, column) of the kernel is data[m * to + c * from + row * row_step + column * column_step].
template <class T>
struct KernelView {
  const T* data;
  std::int64_t to, from, row_step, column_step;
};

// Images (N, size, C) without gaps, and the windows in them.
struct PixelWindows {
  std::int64_t N, C, M;
  Plane size, output, kernel, stride, padding, dilation;

  std::int64_t row() const { return size.columns * C; }
  std::int64_t image() const { return size.rows * row(); }
  std::int64_t rows() const { return N * output.rows; }  // of windows, in all images
  std::int64_t taps() const { return kernel.rows * kernel.columns; }

  // The first row of pixels, of all images, under the windows of row `i`, and how many rows a window reaches over.
  std::int64_t first_pixels(std::int64_t i) const { return i / output.rows * size.rows + i % output.rows * stride.rows - padding.rows; }
  std::int64_t reach() const { return (kernel.rows - 1) * dilation.rows + 1; }
  // Where the first window of row `i` begins; beside the image where it is padded.
  std::int64_t corner(std::int64_t i) const { return first_pixels(i) * row() - padding.columns * C; }
  // Which rows of the kernel lie in the image under the windows of row `i`, and which columns under those of column `i`: [first, second).
  std::pair<std::int64_t, std::int64_t> rows_inside(std::int64_t i) const { return inside(i % output.rows * stride.rows - padding.rows, size.rows, kernel.rows, dilation.rows); }
  std::pair<std::int64_t, std::int64_t> columns_inside(std::int64_t i) const { return inside(i * stride.columns - padding.columns, size.columns, kernel.columns, dilation.columns); }
  static std::pair<std::int64_t, std::int64_t> inside(std::int64_t corner, std::int64_t size, std::int64_t kernel, std::int64_t dilation) {
    const std::int64_t begin = corner >= 0 ? 0 : std::min(kernel, pieces_of(-corner, dilation));
    return {begin, std::clamp<std::int64_t>(pieces_of(size - corner, dilation), begin, kernel)};
  }
  // Where the pixels under a number of the kernel lie, from a window's corner on.
  std::int64_t offset(std::int64_t i, std::int64_t j) const { return i * dilation.rows * row() + j * dilation.columns * C; }
};

// Images, their channels put last if they are not, with zeros around them: `in_front` of them, and behind them up to `size`. Their rows, of all images, are counted with the zeros.
template <class T>
struct Bordered {
  Bordered(const Tensor& images_, Plane in_front_, Plane size_) : images(images_), in_front(in_front_), size(size_) {}

  std::int64_t channels() const { return images.size(1); }

  // Whether these are the images as they lie.
  bool bare() const { return images.is_contiguous(MemoryFormat::ChannelsLast) && size.rows == images.size(2) && size.columns == images.size(3); }

  // Copies the rows from `first` on to `out` (rows, size.columns, channels), without gaps. The threads share many rows.
  void copy(std::int64_t first, const Tensor& out) const {
    const std::int64_t rows = out.size(0), parts = in_parallel_region() ? 1 : get_num_threads();
    kernels::run_pieces({0, rows, pieces_of(rows, parts)}, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end;) {
        // The rest of an image, or whole images.
        const std::int64_t row = (first + i) % size.rows, whole = row == 0 ? (end - i) / size.rows : 0;
        const std::int64_t count = whole > 0 ? whole * size.rows : std::min(end - i, size.rows - row);
        copy_images((first + i) / size.rows, std::max<std::int64_t>(1, whole), row, out.narrow(0, i, count));
        i += count;
      }
    });
  }

  // Copies all of them, if they are not bare: the same images, bare.
  Bordered whole() const {
    if (bare()) return *this;
    const Tensor result = empty({images.size(0), channels(), size.rows, size.columns}, images.scalar_type(), MemoryFormat::ChannelsLast);
    copy(0, result.permute({0, 2, 3, 1}).view({-1, size.columns, channels()}));
    return {result, {0, 0}, size};
  }

  Tensor images;
  Plane in_front, size;

 private:
  // Copies rows of `count` images from the n-th on, of each as many, from its row `first` on.
  void copy_images(std::int64_t n, std::int64_t count, std::int64_t first, const Tensor& out) const {
    const std::int64_t columns = images.size(3), rows = out.size(0) / count;
    const std::int64_t begin = std::clamp<std::int64_t>(in_front.rows, first, first + rows), stop = std::clamp<std::int64_t>(in_front.rows + images.size(2), begin, first + rows);  // of pixels
    const std::int64_t before = in_front.columns * channels(), line = columns * channels(), wide = size.columns * channels();
    T* to = out.data<T>();
    for (std::int64_t i = 0; i < count * rows; ++i, to += wide) {
      const bool has_pixels = first + i % rows >= begin && first + i % rows < stop;
      if (!has_pixels) std::fill_n(to, wide, T{0});
      else std::fill_n(to, before, T{0}), std::fill_n(to + before + line, wide - before - line, T{0});
    }
    if (begin == stop) return;
    copy_(out.view({count, rows, size.columns, channels()}).narrow(1, begin - first, stop - begin).narrow(2, in_front.columns, columns),
          images.narrow(0, n, count).narrow(2, begin - in_front.rows, stop - begin).permute({0, 2, 3, 1}));
  }
};

// Some of their rows: where they lie in bare images, else a copy of these.
template <class T>
class BorderedRows {
 public:
  BorderedRows(const Bordered<T>& x, std::int64_t first, std::int64_t stop) : first_(x.bare() ? 0 : first), rows_(x.bare() ? x.images : empty({stop - first, x.size.columns, x.channels()}, x.images.scalar_type())) {
    if (!x.bare()) x.copy(first, rows_);
  }
  std::int64_t first() const { return first_; }  // the row at data()
  const T* data() const { return rows_.data<T>(); }

 private:
  std::int64_t first_;
  Tensor rows_;
};

// Where results go: that of window x in row i, of all images, to i / rows * image + i % rows * row + x * pixel.
struct PixelPlaces {
  std::int64_t rows, image, row, pixel;

  std::int64_t at(std::int64_t i, std::int64_t x) const { return i / rows * image + i % rows * row + x * pixel; }
};

// Lines of one length under a window, for one call of the tile: where they begin, and which number of the packed weights is met first.
struct Lines {
  std::vector<std::int64_t> offsets;
  std::int64_t length, k;
};

std::vector<Lines> lines_of(const PixelWindows& p, std::int64_t longest) {
  const std::int64_t in_line = p.dilation.columns == 1 ? p.kernel.columns : 1;  // numbers of the kernel that make one line
  const std::int64_t length = in_line * p.C, pieces = pieces_of(length, longest), most = std::max<std::int64_t>(1, longest / length);
  std::vector<Lines> all;
  for (std::int64_t tap = 0; tap < p.taps(); tap += in_line) {
    const std::int64_t begin = p.offset(tap / p.kernel.columns, tap % p.kernel.columns);
    if (pieces == 1 && !all.empty() && static_cast<std::int64_t>(all.back().offsets.size()) < most) {
      all.back().offsets.push_back(begin);
      continue;
    }
    for (std::int64_t piece = 0; piece < pieces; ++piece) {
      const std::int64_t first = length * piece / pieces;
      all.push_back({{begin + first}, length * (piece + 1) / pieces - first, tap * p.C + first});
    }
  }
  return all;
}

// y (N, output, M), at its places, = the windows of x (N, size, C) times w, and the bias (M), unless that is null. REQUIRES: all windows lie in x.
template <class T>
void convolve_pixels(const PixelWindows& p, const Bordered<T>& x, const KernelView<T>& w, const T* bias, const PixelPlaces& places, T* y) {
  const kernels::GemmTable<T>& gemm = kernels::gemm_table<T>();
  const kernels::ChannelTable<T>& table = channel_table<T>();
  const std::int64_t K = p.taps() * p.C, strips = pieces_of(p.M, table.columns);
  const auto channels_of = [&](std::int64_t s) { return std::min<std::int64_t>(table.columns, p.M - s * table.columns); };
  const auto width_of = [&](std::int64_t s) { return channels_of(s) * 2 <= table.columns ? table.columns / 2 : table.columns; };
  const Tensor packed = empty({strips * table.columns * K}, std::is_same_v<T, float> ? kFloat : kDouble);
  T* const panels = packed.data<T>();
  kernels::run_tasks(strips * p.taps(), [&](std::int64_t task) {
    const std::int64_t s = task / p.taps(), tap = task % p.taps();
    const T* const from = w.data + s * table.columns * w.to + tap / p.kernel.columns * w.row_step + tap % p.kernel.columns * w.column_step;
    const int width = static_cast<int>(width_of(s));
    gemm.pack(panels + s * table.columns * K + tap * p.C * width, width, from, w.to, w.from, static_cast<int>(channels_of(s)), p.C);
  });
  const std::vector<Lines> all_lines = lines_of(p, 4 * kernels::block_sizes(kernels::cache_sizes(), sizeof(T), table.rows, table.columns).K);
  const std::int64_t row_bytes = p.stride.rows * p.row() * static_cast<std::int64_t>(sizeof(T));
  const std::int64_t in_cache = std::max<std::int64_t>(1, kernels::cache_sizes().second / 8 / row_bytes);
  // As many for each thread.
  const std::int64_t threads = get_num_threads(), pieces = std::min(p.rows(), pieces_of(pieces_of(p.rows(), in_cache), threads) * threads);
  const std::int64_t tiles = pieces_of(p.output.columns, table.rows), step = p.stride.columns * p.C;
  kernels::run_tasks(pieces, [&](std::int64_t piece) {
    const std::int64_t first = p.rows() * piece / pieces, stop = p.rows() * (piece + 1) / pieces;
    const BorderedRows<T> pixels(x, p.first_pixels(first), p.first_pixels(stop - 1) + p.reach());
    for (std::int64_t s = 0; s < strips; ++s) {
      for (const Lines& lines : all_lines) {
        const std::int64_t width = width_of(s);
        kernels::PixelTile<T> tile{nullptr, step, 1, lines.offsets.data(), static_cast<std::int64_t>(lines.offsets.size()), lines.length, panels + s * table.columns * K + lines.k * width, lines.length * width, width, nullptr, places.pixel, nullptr, 0};
        for (std::int64_t row = first; row < stop; ++row) {
          for (std::int64_t t = 0; t < tiles; ++t) {
            const std::int64_t window = p.output.columns * t / tiles, next = p.output.columns * (t + 1) / tiles;
            tile.a = pixels.data() + (p.corner(row) - pixels.first() * p.row()) + window * step;
            tile.out = y + places.at(row, window) + s * table.columns;
            // The first lines' sums are added to the bias, the others' to what is there.
            if (lines.k > 0) tile.start = tile.out, tile.start_row = tile.out_row;
            else if (bias != nullptr) tile.start = bias + s * table.columns;
            table.tile(tile, static_cast<int>(next - window), static_cast<int>(channels_of(s)));
          }
        }
      }
    }
  });
}

// Neighbouring windows of a row that meet the same columns [begin, stop) of the kernel.
struct WindowsAlike {
  std::int64_t first, count, begin, stop;
  std::int64_t in_row() const { return stop - begin; }
};

std::vector<WindowsAlike> windows_alike(const PixelWindows& p) {
  std::vector<WindowsAlike> all;
  for (std::int64_t i = 0; i < p.output.columns; ++i) {
    const auto [begin, stop] = p.columns_inside(i);
    if (!all.empty() && all.back().begin == begin && all.back().stop == stop) ++all.back().count;
    else all.push_back({i, 1, begin, stop});
  }
  return all;
}

// What such windows are summed with: the kernel's numbers in these columns, row by row.
template <class T>
struct Numbers {
  std::vector<std::int64_t> offsets;
  std::vector<T> weights;

  Numbers(const PixelWindows& p, const WindowsAlike& alike, const KernelView<T>& w) {
    for (std::int64_t r = 0; r < p.kernel.rows; ++r)
      for (std::int64_t column = alike.begin; column < alike.stop; ++column) {
        offsets.push_back(p.offset(r, column));
        for (std::int64_t c = 0; c < p.C; ++c) weights.push_back(w.data[c * w.to + r * w.row_step + column * w.column_step]);
      }
  }
};

// y (N, output, C), at its places, = the windows of x (N, size, C), channel by channel, times w, whose `to` leads from channel to channel, and the bias (C), unless that is null.
template <class T>
void convolve_channels(const PixelWindows& p, const T* x, const KernelView<T>& w, const T* bias, const PixelPlaces& places, T* y) {
  const std::vector<WindowsAlike> groups = windows_alike(p);
  std::vector<Numbers<T>> numbers;
  for (const WindowsAlike& alike : groups) numbers.emplace_back(p, alike, w);
  std::vector<T> starts(static_cast<std::size_t>(p.C));
  if (bias != nullptr) std::copy_n(bias, p.C, starts.begin());
  const auto kernel = channel_table<T>().by_channel;
  const std::int64_t step = p.stride.columns * p.C;
  parallel_for(0, p.rows(), std::max<std::int64_t>(1, 32768 / (p.output.columns * p.C * p.taps())), [&](std::int64_t first, std::int64_t stop) {
    for (std::int64_t row = first; row < stop; ++row) {
      const auto [begin, end] = p.rows_inside(row);
      for (std::size_t i = 0; i < groups.size(); ++i) {
        const WindowsAlike& alike = groups[i];
        const std::int64_t in_row = alike.in_row();
        kernel({x, p.corner(row) + alike.first * step, step, numbers[i].offsets.data() + begin * in_row, (end - begin) * in_row, numbers[i].weights.data() + begin * in_row * p.C, y + places.at(row, alike.first), places.pixel, alike.count, p.C,
                p.stride.columns == p.dilation.columns ? in_row : 1, starts.data()});
      }
    }
  });
}

// The weights with their input channels last too, so that they are packed line by line; a kernel for each channel as it is.
Tensor in_packing_order(const Tensor& weight, bool by_channel) { return by_channel ? weight : weight.contiguous(MemoryFormat::ChannelsLast); }

// sums (taps, C, columns) = over all windows, pixels of x (N, size, C) times slopes g (N, output, columns). REQUIRES: no padding; columns fill vectors.
template <class T>
void multiply_pixels(const PixelWindows& p, const Bordered<T>& x, const T* g, std::int64_t columns, T* sums) {
  // So many windows at a time that a strip of their slopes stays in the first cache while all pixels pass by.
  constexpr std::int64_t kWindows = 256;
  const kernels::ChannelTable<T>& table = channel_table<T>();
  const std::int64_t rows_at_once = std::max<std::int64_t>(1, kWindows / p.output.columns), chunks = pieces_of(p.rows(), rows_at_once);
  const std::int64_t tiles = pieces_of(p.C, table.rows), strips = pieces_of(columns, table.columns);
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const std::int64_t first = p.rows() * chunk / chunks, stop = p.rows() * (chunk + 1) / chunks;
    const BorderedRows<T> pixels(x, p.first_pixels(first), p.first_pixels(stop - 1) + p.reach());
    std::vector<std::int64_t> corners;
    for (std::int64_t row = first; row < stop; ++row) corners.push_back(p.corner(row) - pixels.first() * p.row());
    kernels::run_tasks(strips * p.taps(), [&](std::int64_t task) {
      const std::int64_t s = task / p.taps(), tap = task % p.taps();
      const int width = static_cast<int>(std::min<std::int64_t>(table.columns, columns - s * table.columns));
      for (std::int64_t t = 0; t < tiles; ++t) {
        const std::int64_t c = p.C * t / tiles, next = p.C * (t + 1) / tiles;
        T* const out = sums + (tap * p.C + c) * columns + s * table.columns;
        const kernels::PixelTile<T> tile{pixels.data() + p.offset(tap / p.kernel.columns, tap % p.kernel.columns) + c, 1, p.stride.columns * p.C, corners.data(), stop - first, p.output.columns, g + first * p.output.columns * columns + s * table.columns, p.output.columns * columns,
                                         columns, out, columns, chunk > 0 ? out : nullptr, columns};
        table.tile(tile, static_cast<int>(next - c), width);
      }
    });
  }
}

// Windows that meet the same numbers of the kernel: some windows of each of some rows.
struct MetAlike {
  std::vector<std::int64_t> offsets, numbers;  // of these numbers
  std::vector<std::int64_t> at, grad_at;       // where the windows of a row begin in the image and in the gradient
  std::int64_t windows;
};

// The windows of rows [first, stop), sorted by what they meet.
std::vector<MetAlike> sorted_by_numbers(const PixelWindows& p, const std::vector<WindowsAlike>& columns, std::int64_t first, std::int64_t stop) {
  std::map<std::pair<std::int64_t, std::int64_t>, std::vector<std::int64_t>> rows_alike;
  for (std::int64_t row = first; row < stop; ++row) rows_alike[p.rows_inside(row)].push_back(row);
  std::vector<MetAlike> all;
  for (const auto& [met, rows] : rows_alike)
    for (const WindowsAlike& alike : columns) {
      MetAlike& group = all.emplace_back();
      group.windows = alike.count;
      for (std::int64_t r = met.first; r < met.second; ++r)
        for (std::int64_t column = alike.begin; column < alike.stop; ++column) {
          group.offsets.push_back(p.offset(r, column));
          group.numbers.push_back(r * p.kernel.columns + column);
        }
      for (const std::int64_t row : rows) {
        group.at.push_back(p.corner(row) + alike.first * p.stride.columns * p.C);
        group.grad_at.push_back((row * p.output.columns + alike.first) * p.C);
      }
    }
  return all;
}

// The same channel by channel: sums (taps, C). A task has some channels, fewer where there would not be a task for each thread, in whole lines of the cache (a channel's sums are the same in any task); rows of windows go by in chunks, whose pixels stay in the caches while the vectors of channels and the numbers of the kernel pass by.
template <class T>
void multiply_channels(const PixelWindows& p, const T* x, const T* g, T* sums) {
  constexpr std::int64_t kLine = 16, kMost = 64;
  const std::int64_t channels_at_once = std::clamp(pieces_of(p.C, get_num_threads() * kLine) * kLine, kLine, kMost);
  const std::int64_t at_once = std::max<std::int64_t>(1, kernels::cache_sizes().second / 8 / (p.stride.rows * p.size.columns * std::min(kMost, p.C) * static_cast<std::int64_t>(sizeof(T))));
  const std::vector<WindowsAlike> columns = windows_alike(p);
  std::vector<MetAlike> groups;
  for (std::int64_t row = 0; row < p.rows(); row += at_once)
    for (MetAlike& group : sorted_by_numbers(p, columns, row, std::min(p.rows(), row + at_once))) groups.push_back(std::move(group));
  std::fill_n(sums, p.taps() * p.C, T{0});
  const auto kernel = channel_table<T>().sums_by_channel;
  kernels::run_tasks(pieces_of(p.C, channels_at_once), [&](std::int64_t piece) {
    const std::int64_t begin = piece * channels_at_once, end = std::min(p.C, begin + channels_at_once);
    for (const MetAlike& group : groups)
      kernel({x, group.at.data(), group.grad_at.data(), static_cast<std::int64_t>(group.at.size()), group.windows, p.stride.columns * p.C, group.offsets.data(), group.numbers.data(), static_cast<std::int64_t>(group.numbers.size()), g, sums, p.C, begin, end});
  });
}

// `grad` with its channels last and zeros behind them, up to whole vectors: (N, H, W, columns) without gaps.
Tensor with_whole_vectors(const Tensor& grad, std::int64_t lanes) {
  const std::int64_t M = grad.size(1), columns = pieces_of(M, lanes) * lanes;
  const Tensor pixels = grad.permute({0, 2, 3, 1});
  if (columns == M) return pixels.contiguous();
  DimVector sizes(pixels.sizes());
  sizes[3] = columns;
  const Tensor wide = empty(sizes, grad.scalar_type());
  copy_(wide.narrow(3, 0, M), pixels);
  fill_(wide.narrow(3, M, columns - M), 0);
  return wide;
}

Plane plane_of(IntArrayRef two) { return {two[0], two[1]}; }

Tensor channels_last(const Tensor& images) { return images.contiguous(MemoryFormat::ChannelsLast); }

// One group, or a kernel for each channel.
bool takes_groups(IntArrayRef weight_sizes, std::int64_t groups) { return groups == 1 || (weight_sizes[1] == 1 && weight_sizes[0] == groups); }
}  // namespace

Tensor kernels::channels_last_convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups) {
  if (!takes_groups(weight.sizes(), groups)) return {};
  const IntArrayRef kernel = spatial_sizes(weight.sizes());
  DimVector sizes{input.size(0), weight.size(0)};
  for (const std::int64_t size : places_of({kernel, stride, padding, dilation}, spatial_sizes(input.sizes()))) sizes.push_back(size);
  const Tensor result = empty(sizes, input.scalar_type(), MemoryFormat::ChannelsLast);
  PixelWindows p{input.size(0), input.size(1), sizes[1], {input.size(2), input.size(3)}, {sizes[2], sizes[3]}, plane_of(kernel), plane_of(stride), plane_of(padding), plane_of(dilation)};
  const PixelPlaces places{p.output.rows, p.output.rows * p.output.columns * p.M, p.output.columns * p.M, p.M};
  with_type_of(input, [&]<class T>() {
    const Tensor ordered = in_packing_order(weight, groups > 1);
    const IntArrayRef at = ordered.strides();
    const KernelView<T> w{ordered.data<T>(), at[0], at[1], at[2], at[3]};
    const BiasNumbers<T> starts(bias);
    if (groups > 1) return convolve_channels<T>(p, channels_last(input).data<T>(), w, starts.at(0), places, result.data<T>());
    const Plane around = std::exchange(p.padding, {0, 0});
    p.size = {p.size.rows + 2 * around.rows, p.size.columns + 2 * around.columns};
    convolve_pixels<T>(p, {input, around, p.size}, w, starts.at(0), places, result.data<T>());
  });
  return result;
}

kernels::PhaseOfInput::PhaseOfInput(std::int64_t phase, std::int64_t input, std::int64_t kernel, std::int64_t stride, std::int64_t padding, std::int64_t dilation) {
  const auto up = [stride](std::int64_t size) { return (size + stride - 1) / stride; };
  first = padding > phase ? up(padding - phase) : 0;
  count = padding + input > phase ? std::max<std::int64_t>(0, up(padding + input - phase) - first) : 0;
  start = first * stride + phase - padding;
  for (std::int64_t i = 0; i < kernel; ++i)
    if (i * dilation % stride == phase) taps.push_back(i), back.push_back(i * dilation / stride);
}

namespace {
// A dimension of one phase of the gradient of the input: windows of stride 1 in the result's gradient.
struct PhaseWindows {
  explicit PhaseWindows(const kernels::PhaseOfInput& phase)
      : count(phase.count), start(phase.start), taps(static_cast<std::int64_t>(phase.taps.size())), last_tap(taps == 0 ? 0 : phase.taps.back()), tap_step(taps > 1 ? phase.taps[1] - phase.taps[0] : 1),
        apart(taps > 1 ? phase.back[1] - phase.back[0] : 1), begin(phase.first - (taps == 0 ? 0 : phase.back.back())), stop(phase.first + count - (taps == 0 ? 0 : phase.back.front())) {}

  bool empty() const { return count == 0 || taps == 0; }

  std::int64_t count, start;             // its pixels, and where the first of them lies in the input
  std::int64_t taps, last_tap, tap_step;  // numbers of the kernel, from the last one back
  std::int64_t apart;                    // how far apart in the gradient they are
  std::int64_t begin, stop;              // of the gradient: what the windows meet; places beside it are zeros
};

std::vector<PhaseWindows> phases_of(std::int64_t input, std::int64_t kernel, std::int64_t stride, std::int64_t padding, std::int64_t dilation) {
  std::vector<PhaseWindows> all;
  for (std::int64_t phase = 0; phase < stride; ++phase) all.emplace_back(kernels::PhaseOfInput(phase, input, kernel, stride, padding, dilation));
  return all;
}

constexpr std::int64_t kFewChannels = 8;

// From the first to the last place that the phases' windows meet, and of the gradient's own.
std::pair<std::int64_t, std::int64_t> places_met(const std::vector<PhaseWindows>& phases, std::int64_t size) {
  std::pair<std::int64_t, std::int64_t> met{0, size};
  for (const PhaseWindows& phase : phases)
    if (!phase.empty()) met = {std::min(met.first, phase.begin), std::max(met.second, phase.stop)};
  return met;
}
}  // namespace

Tensor kernels::channels_last_convolution_input(const Tensor& grad, const Tensor& weight, IntArrayRef input_sizes, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups) {
  if (!takes_groups(weight.sizes(), groups)) return {};
  const std::vector<PhaseWindows> in_rows = phases_of(input_sizes[2], weight.size(2), stride[0], padding[0], dilation[0]), in_columns = phases_of(input_sizes[3], weight.size(3), stride[1], padding[1], dilation[1]);
  const bool by_channel = groups > 1, strided = stride[0] > 1 || stride[1] > 1;
  // A tile is a vector of the input's channels or two: of a picture's three, most of it would be empty.
  if (strided && !by_channel && input_sizes[1] < kFewChannels) return {};
  const Tensor result = empty(input_sizes, grad.scalar_type(), MemoryFormat::ChannelsLast);
  const auto leaves_zeros = [](const std::vector<PhaseWindows>& phases) { return std::any_of(phases.begin(), phases.end(), [](const PhaseWindows& phase) { return phase.taps == 0; }); };
  if (leaves_zeros(in_rows) || leaves_zeros(in_columns)) fill_(result, 0);
  const std::int64_t C = input_sizes[1], line = input_sizes[3] * C;
  // Of products all windows lie in a copy with zeros around; windows of single channels may hang over the edge.
  const auto [first_row, last_row] = places_met(in_rows, grad.size(2));
  const auto [first_column, last_column] = places_met(in_columns, grad.size(3));
  const Plane around = by_channel ? Plane{0, 0} : Plane{-first_row, -first_column}, size = by_channel ? Plane{grad.size(2), grad.size(3)} : Plane{last_row - first_row, last_column - first_column};
  with_type_of(grad, [&]<class T>() {
    const Tensor ordered = in_packing_order(weight, by_channel), each = by_channel ? channels_last(grad) : Tensor();
    const Bordered<T> bordered(grad, around, size);
    // With a stride each phase would copy the same rows again.
    const Bordered<T> y = strided ? bordered.whole() : bordered;
    const IntArrayRef at = ordered.strides();
    for (const PhaseWindows& rows : in_rows)
      for (const PhaseWindows& columns : in_columns) {
        if (rows.empty() || columns.empty()) continue;
        const PixelWindows p{grad.size(0), grad.size(1), C, size, {rows.count, columns.count}, {rows.taps, columns.taps}, {1, 1}, {-rows.begin - around.rows, -columns.begin - around.columns}, {rows.apart, columns.apart}};
        const PixelPlaces places{rows.count, input_sizes[2] * line, stride[0] * line, stride[1] * C};
        const KernelView<T> w{ordered.data<T>() + rows.last_tap * at[2] + columns.last_tap * at[3], by_channel ? at[0] : at[1], at[0], -rows.tap_step * at[2], -columns.tap_step * at[3]};
        T* const to = result.data<T>() + rows.start * line + columns.start * C;
        if (by_channel) convolve_channels<T>(p, each.data<T>(), w, nullptr, places, to);
        else convolve_pixels<T>(p, y, w, nullptr, places, to);
      }
  });
  return result;
}

Tensor kernels::channels_last_convolution_weight(const Tensor& input, const Tensor& grad, IntArrayRef weight_sizes, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups) {
  if (!takes_groups(weight_sizes, groups)) return {};
  const Plane kernel = plane_of(spatial_sizes(weight_sizes)), around = plane_of(padding);
  PixelWindows p{input.size(0), input.size(1), grad.size(1), {input.size(2), input.size(3)}, {grad.size(2), grad.size(3)}, kernel, plane_of(stride), around, plane_of(dilation)};
  Tensor result;
  with_type_of(input, [&]<class T>() {
    if (groups > 1) {
      const Tensor sums = empty({kernel.rows, kernel.columns, p.C, 1}, input.scalar_type());
      multiply_channels<T>(p, channels_last(input).data<T>(), channels_last(grad).data<T>(), sums.data<T>());
      result = sums.permute({2, 3, 0, 1}).contiguous();
      return;
    }
    p.padding = {0, 0};
    p.size = {p.size.rows + 2 * around.rows, p.size.columns + 2 * around.columns};
    const Tensor slopes = with_whole_vectors(grad, channel_table<T>().columns / 2);
    const Tensor sums = empty({kernel.rows, kernel.columns, p.C, slopes.size(3)}, input.scalar_type());
    multiply_pixels<T>(p, {input, around, p.size}, slopes.data<T>(), slopes.size(3), sums.data<T>());
    result = sums.narrow(3, 0, p.M).permute({3, 2, 0, 1}).contiguous();
  });
  return result;
}

}  // namespace tinytorch
