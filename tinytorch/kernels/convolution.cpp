// From the lesson modules/75_convolution_kernels/convolution_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstddef>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <vector>

#include "tinytorch/core/block_cache.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/gathered_kernels.h"
#include "tinytorch/kernels/gemm.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/product_convolution.h"
#include "tinytorch/nn/conv.h"
#include "tinytorch/nn/image_checks.h"
#include "tinytorch/nn/padding.h"
#include "tinytorch/nn/windows.h"
#include "tinytorch/kernels/window_kernels.h"
#include "tinytorch/kernels/winograd_kernels.h"

namespace tinytorch {

namespace {
template <class T>
const kernels::GatherTable<T>& gather_table() {
  using namespace kernels;
  static constexpr const GatherKernels* tables[] = TINYTORCH_PER_CAPABILITY(gather_kernels);
  const GatherKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

// Numbers that are not initialised, aligned to cache lines, and 16 more behind them.
template <class T>
class Panels {
 public:
  explicit Panels(std::int64_t count) : bytes_((static_cast<std::size_t>(count) + 16) * sizeof(T)), memory_(static_cast<T*>(memory::allocate_block(bytes_))) {
    if (memory_ == nullptr) throw std::bad_alloc();
  }
  ~Panels() { memory::free_block(memory_, bytes_); }
  Panels(const Panels&) = delete;
  Panels& operator=(const Panels&) = delete;
  T* at(std::int64_t i) const { return memory_ + i; }

 private:
  std::size_t bytes_;
  T* memory_;
};

using Offsets = std::vector<std::int64_t>;

std::int64_t pieces_of(std::int64_t size, std::int64_t most) { return (size + most - 1) / most; }

// Piece `piece` of `size` in `pieces`, as evenly as whole numbers allow.
struct Piece {
  Piece(std::int64_t size, std::int64_t pieces, std::int64_t piece) : first(size * piece / pieces), count(size * (piece + 1) / pieces - first) {}
  std::int64_t first, count;
};

// Offsets of all places of a grid of `sizes`, `steps[d]` apart in a dense block of `spatial` sizes, in row-major order.
Offsets grid_offsets(IntArrayRef sizes, IntArrayRef steps, IntArrayRef spatial) {
  Offsets offsets{0};
  std::int64_t stride = 1;
  DimVector strides(spatial.size());
  for (std::size_t d = spatial.size(); d-- > 0; stride *= spatial[d]) strides[d] = stride;
  for (std::size_t d = 0; d < sizes.size(); ++d) {
    Offsets finer;
    for (const std::int64_t offset : offsets)
      for (std::int64_t i = 0; i < sizes[d]; ++i) finer.push_back(offset + i * steps[d] * strides[d]);
    offsets = std::move(finer);
  }
  return offsets;
}

// All sums of an outer and an inner offset, the inner one running faster.
Offsets outer_sums(std::int64_t outer_count, std::int64_t outer_step, const Offsets& inner) {
  Offsets sums;
  sums.reserve(static_cast<std::size_t>(outer_count) * inner.size());
  for (std::int64_t i = 0; i < outer_count; ++i)
    for (const std::int64_t offset : inner) sums.push_back(i * outer_step + offset);
  return sums;
}

// The left operand in panels for every block of K: (M, K), element (i, k) is data[i * row + k_offsets[k]].
template <class T>
struct PackedRows {
  PackedRows(const kernels::GemmTable<T>& tile_table, std::int64_t rows, std::int64_t columns, std::int64_t most_k)
      : table(tile_table), M(rows), K(columns), k_pieces(pieces_of(columns, most_k)), row_pieces(pieces_of(rows, tile_table.rows)), panels(rows * columns) {}

  void pack(const T* data, std::int64_t row, const Offsets& k_offsets) {
    kernels::run_tasks(k_pieces, [&](std::int64_t piece) {
      const Piece block(K, k_pieces, piece);
      // Offsets at equal distances are a line.
      for (std::int64_t k = block.first, next = k; k < block.first + block.count; k = next) {
        const auto distance = [&](std::int64_t i) { return k_offsets[static_cast<std::size_t>(i)] - k_offsets[static_cast<std::size_t>(i - 1)]; };
        const std::int64_t step = k + 1 < block.first + block.count ? distance(k + 1) : 1;
        for (++next; next < block.first + block.count && distance(next) == step;) ++next;
        for (std::int64_t r = 0; r < row_pieces; ++r) {
          const Piece rows(M, row_pieces, r);
          T* const to = panels.at(M * block.first + rows.first * block.count + (k - block.first) * rows.count);
          const int count = static_cast<int>(rows.count);
          table.pack(to, count, data + rows.first * row + k_offsets[static_cast<std::size_t>(k)], row, step, count, next - k);
        }
      }
    });
  }

  const kernels::GemmTable<T>& table;
  std::int64_t M, K, k_pieces, row_pieces;
  Panels<T> panels;
};

// Columns [first, first + count) of out (M, N) = a x b, where b's element (k, j) is b[k_offsets[k] + offsets[j]]. Row i starts from bias[i], or from 0 if that is null.
template <class T>
void multiply_gathered(const PackedRows<T>& a, const T* b, const T* b_end, const Offsets& k_offsets, const Offsets& offsets, std::int64_t first, std::int64_t count, const T* bias, T* out, std::int64_t out_row) {
  const kernels::GemmTable<T>& table = a.table;
  const std::int64_t width = table.columns;
  const std::int64_t strips = pieces_of(count, width);
  const std::int64_t longest = pieces_of(a.K, a.k_pieces);
  const Panels<T> panels(strips * width * longest), starts(bias == nullptr ? 0 : table.rows * width);
  for (std::int64_t piece = 0; piece < a.k_pieces; ++piece) {
    const Piece block(a.K, a.k_pieces, piece);
    for (std::int64_t s = 0; s < strips; ++s) {
      const int columns = static_cast<int>(std::min(width, count - s * width));
      gather_table<T>().pack_gathered(panels.at(s * width * block.count), table.columns, b, b_end, k_offsets.data() + block.first, offsets.data() + first + s * width, columns, block.count);
    }
    for (std::int64_t r = 0; r < a.row_pieces; ++r) {
      const Piece rows(a.M, a.row_pieces, r);
      const bool begins = piece == 0 && bias != nullptr;
      for (std::int64_t i = 0; begins && i < rows.count; ++i) std::fill_n(starts.at(i * width), width, bias[rows.first + i]);
      for (std::int64_t s = 0; s < strips; ++s) {
        T* const place = out + rows.first * out_row + first + s * width;
        const kernels::Tile<T> tile{a.panels.at(a.M * block.first + rows.first * block.count), 1, rows.count, panels.at(s * width * block.count), width, block.count, place, out_row,
                                    begins ? starts.at(0) : piece == 0 ? nullptr : place, begins ? width : out_row, T{1}, T{1}};
        table.tile(tile, static_cast<int>(rows.count), static_cast<int>(std::min(width, count - s * width)), true);
      }
    }
  }
}

template <class T>
std::int64_t longest_block(const kernels::GemmTable<T>& table) {
  return kernels::block_sizes(kernels::cache_sizes(), sizeof(T), table.rows, table.columns).K;
}
}  // namespace

namespace {
template <class T>
const kernels::WindowTable<T>& window_table() {
  using namespace kernels;
  static constexpr const WindowKernels* tables[] = TINYTORCH_PER_CAPABILITY(window_kernels);
  const WindowKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

// Two numbers, for rows and columns.
struct Plane {
  std::int64_t rows, columns;
  std::int64_t count() const { return rows * columns; }
};

// Rows and columns out of a list of one or two sizes; a line is a plane with one row.
Plane plane_of(IntArrayRef sizes, std::int64_t one) { return sizes.size() == 2 ? Plane{sizes[0], sizes[1]} : Plane{one, sizes[0]}; }

// Whether rows of `width` windows fill vectors well enough.
bool fills_vectors(std::int64_t width, std::int64_t lanes) { return width * 10 >= pieces_of(width, lanes) * lanes * 7; }

// Lines of images are short: a call of the C library would cost more than its work.
template <class T>
void zero_few(T* to, std::int64_t count) {
  if (count > 3) return static_cast<void>(std::fill_n(to, count, T{0}));
  if (count > 0) to[0] = T{0};
  if (count > 1) to[1] = T{0};
  if (count > 2) to[2] = T{0};
}

template <class T>
void copy_few(T* to, const T* from, std::int64_t count) {
  if (count > 128) return static_cast<void>(std::copy_n(from, count, to));
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) std::memcpy(to + i, from + i, 8 * sizeof(T));
  if (i + 4 <= count) std::memcpy(to + i, from + i, 4 * sizeof(T)), i += 4;
  for (; i < count; ++i) to[i] = from[i];
}

// to[i * to_step] = from[i * from_step] for i < count. A loop whose steps the compiler knows becomes shuffles of vectors: the usual stride has loops of its own.
template <class T>
void spread(T* to, std::int64_t to_step, const T* from, std::int64_t from_step, std::int64_t count) {
  if (to_step == 1 && from_step == 2)
    for (std::int64_t i = 0; i < count; ++i) to[i] = from[2 * i];
  else if (to_step == 2 && from_step == 1)
    for (std::int64_t i = 0; i < count; ++i) to[2 * i] = from[i];
  else
    for (std::int64_t i = 0; i < count; ++i) to[i * to_step] = from[i * from_step];
}

// A stack of images (images, channels) with `before` zeros in front of rows and columns, in the phases of a stride, each phase of size `phase`; zeros also behind.
template <class T>
class PhasedImages {
 public:
  // Copies x (images, channels, size); only phases that `used` tells of. In place it refers to x, without the zeros before, which nobody may read then; `phase` is `size`.
  PhasedImages(const T* x, std::int64_t images, std::int64_t channels, Plane size, Plane before, Plane stride, Plane phase, const std::vector<bool>& used, bool in_place)
      : size_(size), before_(before), left_out_(in_place ? before : Plane{0, 0}), phase_(phase), stride_(stride), channel_(stride.count() * phase.count()), memory_(in_place ? 0 : images * channels * channel_ + 64), data_(in_place ? x : memory_.at(0)) {
    if (in_place) return;
    std::fill_n(memory_.at(images * channels * channel_), 64, T{0});
    parallel_for(0, images * channels, std::max<std::int64_t>(1, 16384 / channel_), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t c = first; c < stop; ++c)
        for (std::int64_t p = 0; p < stride.count(); ++p)
          if (used[static_cast<std::size_t>(p)]) copy_phase(x + c * size.count(), memory_.at(c * channel_ + p * phase.count()), {p / stride.columns, p % stride.columns});
    });
  }

  const T* data() const { return data_; }
  std::int64_t channel() const { return channel_; }
  std::int64_t row() const { return phase_.columns; }
  // Where the corner of a window of stride 1 lies in a channel, in phase 0. Without the border it may lie before the channel.
  std::int64_t corner(std::int64_t row, std::int64_t column) const { return (row - left_out_.rows) * phase_.columns + column - left_out_.columns; }
  bool has_no_border() const { return left_out_.rows > 0 || left_out_.columns > 0; }

  // Whether windows of row `row` meet pixels of x at this distance of rows from their corners, and not only zeros.
  bool meets_row(std::int64_t row, std::int64_t distance) const {
    const std::int64_t at = row * stride_.rows + distance - before_.rows;
    return at >= 0 && at < size_.rows;
  }

  // Whether some of the `count` windows from column `column` on may meet pixels at this distance of columns.
  bool meets_columns(std::int64_t column, std::int64_t count, std::int64_t distance) const {
    const std::int64_t first = column * stride_.columns + distance - before_.columns;
    return first < size_.columns && first + (count - 1) * stride_.columns >= 0;
  }

  // Where the pixel at distance (row, column) from a window's corner lies, relative to that corner's place in phase 0.
  std::int64_t offset(std::int64_t row, std::int64_t column) const {
    return (row % stride_.rows * stride_.columns + column % stride_.columns) * phase_.count() + row / stride_.rows * phase_.columns + column / stride_.columns;
  }

 private:
  void copy_phase(const T* from, T* to, Plane at) const {
    // Columns of the phase that hold pixels: those j with 0 <= j * stride + at - before < size_.
    const auto first_inside = [](std::int64_t shift, std::int64_t stride) { return shift >= 0 ? 0 : (-shift + stride - 1) / stride; };
    const std::int64_t shift = at.columns - before_.columns;
    const std::int64_t begin = std::min(phase_.columns, first_inside(shift, stride_.columns));
    const std::int64_t end = std::max(begin, std::min(phase_.columns, pieces_of(std::max<std::int64_t>(0, size_.columns - shift), stride_.columns)));
    for (std::int64_t i = 0; i < phase_.rows; ++i, to += phase_.columns) {
      const std::int64_t row = i * stride_.rows + at.rows - before_.rows;
      if (row < 0 || row >= size_.rows) {
        std::fill_n(to, phase_.columns, T{0});
        continue;
      }
      const T* const line = from + row * size_.columns + shift;
      zero_few(to, begin);
      if (stride_.columns == 1) copy_few(to + begin, line + begin, end - begin);
      else spread(to + begin, 1, line + begin * stride_.columns, stride_.columns, end - begin);
      zero_few(to + end, phase_.columns - end);
    }
  }

  Plane size_, before_, left_out_, phase_, stride_;
  std::int64_t channel_;
  Panels<T> memory_;
  const T* data_;
};

// The numbers of a kernel by their distance from the window's corner.
struct Taps {
  Offsets rows, columns;  // distances
  Offsets weights;        // their places in a channel of the weights
};

// The numbers of a kernel of C channels in the order in which they are multiplied: offsets of their pixels, and their places in the weights. The windows of a row come in vectors of `lanes`.
template <class T>
class KernelOrder {
 public:
  KernelOrder(const PhasedImages<T>& image, std::int64_t C, std::int64_t w_channel, const Taps& taps, Plane size, std::int64_t lanes) : channels_(C) {
    const auto count = static_cast<std::int64_t>(taps.rows.size());
    while (width_ < count && taps.rows[static_cast<std::size_t>(width_)] == taps.rows[0]) ++width_;
    std::int64_t met_rows = 0, met_columns = 0;
    for (std::int64_t row = 0; row < size.rows; ++row) {
      rows_.push_back(range_of(count / width_, [&](std::int64_t k) { return image.meets_row(row, taps.rows[static_cast<std::size_t>(k * width_)]); }));
      met_rows += rows_.back().stop - rows_.back().first;
    }
    for (std::int64_t x = 0; x < size.columns; x += lanes) {
      columns_.push_back(range_of(width_, [&](std::int64_t k) { return image.meets_columns(x, std::min(lanes, size.columns - x), taps.columns[static_cast<std::size_t>(k)]); }));
      met_columns += columns_.back().stop - columns_.back().first;
    }
    // If little would be left out, the numbers of a channel stay together: they are packed faster in one piece.
    leaves_out_ = image.has_no_border() || met_rows * met_columns * 8 <= size.rows * static_cast<std::int64_t>(columns_.size()) * count * 7;
    const auto add = [&](std::int64_t c, std::size_t v) {
      pixels.push_back(c * image.channel() + image.offset(taps.rows[v], taps.columns[v]));
      weights.push_back(c * w_channel + taps.weights[v]);
    };
    if (leaves_out_) {
      for (std::size_t v = 0; v < taps.rows.size(); ++v)
        for (std::int64_t c = 0; c < C; ++c) add(c, v);
    } else {
      for (std::int64_t c = 0; c < C; ++c)
        for (std::size_t v = 0; v < taps.rows.size(); ++v) add(c, v);
    }
  }

  // Numbers, row by row of the kernel: `count` from `first` on, and as many `step` further on, until there were `runs` such runs.
  struct Needed {
    std::int64_t first, count, runs, step;
  };

  // What two vectors of windows need.
  Needed needed(std::int64_t left, std::int64_t right) const {
    if (!leaves_out_) return {0, static_cast<std::int64_t>(pixels.size()), 1, 0};
    const auto in_row = static_cast<std::int64_t>(columns_.size());
    const Range rows = joined(rows_, left / in_row, right / in_row), columns = joined(columns_, left % in_row, right % in_row);
    const std::int64_t row = width_ * channels_, row_count = rows.stop - rows.first;
    if (columns.first == 0 && columns.stop == width_) return {rows.first * row, row_count * row, 1, 0};
    return {rows.first * row + columns.first * channels_, (columns.stop - columns.first) * channels_, row_count, row};
  }

  bool leaves_out() const { return leaves_out_; }

  Offsets pixels, weights;

 private:
  struct Range {
    std::int64_t first = 0, stop = 0;
  };

  // From the first number for which f holds to the last one.
  template <class F>
  static Range range_of(std::int64_t count, F f) {
    Range range;
    for (std::int64_t k = 0; k < count; ++k) {
      if (!f(k)) continue;
      if (range.stop == 0) range.first = k;
      range.stop = k + 1;
    }
    return range;
  }

  static Range joined(const std::vector<Range>& ranges, std::int64_t a, std::int64_t b) {
    const Range &one = ranges[static_cast<std::size_t>(a)], &other = ranges[static_cast<std::size_t>(b)];
    if (one.stop == 0) return other;
    if (other.stop == 0) return one;
    return {std::min(one.first, other.first), std::max(one.stop, other.stop)};
  }

  std::int64_t channels_, width_ = 1;  // of a row of the kernel
  std::vector<Range> rows_, columns_;  // of the kernel: what a row of windows, and what each vector of a row, meets
  bool leaves_out_ = false;
};

// y (N, G, size) = windows of `image` (N, G), whose every channel has a kernel of its own: number v of channel g's is w[g * w_group + taps.weights[v]]. Channel g starts from bias[g], or from 0 if that is null.
template <class T>
void convolve_channels(const PhasedImages<T>& image, std::int64_t N, std::int64_t G, const T* w, std::int64_t w_group, const T* bias, const Taps& taps, Plane size, T* y) {
  const kernels::WindowTable<T>& table = window_table<T>();
  const auto count = static_cast<std::int64_t>(taps.rows.size());
  std::int64_t in_row = 0;
  while (in_row < count && taps.rows[static_cast<std::size_t>(in_row)] == taps.rows[0]) ++in_row;
  // Column by column of the kernel, from the top down, also where it is turned around.
  const bool turned = taps.rows.back() < taps.rows.front();
  Offsets offsets, places;
  for (std::int64_t column = 0; column < in_row; ++column)
    for (std::int64_t v = column; v < count; v += in_row) {
      const auto at = static_cast<std::size_t>(turned ? count - 1 - v : v);
      offsets.push_back(image.offset(taps.rows[at], taps.columns[at]));
      places.push_back(taps.weights[at]);
    }
  std::int64_t slides = count / in_row;
  for (std::int64_t t = 1; t < count; ++t)
    if (t % (count / in_row) != 0 && offsets[static_cast<std::size_t>(t)] != offsets[static_cast<std::size_t>(t - 1)] + image.row()) slides = 1;
  const std::int64_t last = std::max<std::int64_t>(0, size.columns - table.lanes), L = size.count();
  parallel_for(0, N * G, std::max<std::int64_t>(1, 32768 / (L * count)), [&](std::int64_t first, std::int64_t stop) {
    std::vector<T> weights(places.size());
    for (std::int64_t plane = first; plane < stop; ++plane) {
      for (std::size_t t = 0; t < places.size(); ++t) weights[t] = w[plane % G * w_group + places[t]];
      for (std::int64_t row = 0; row < size.rows; row += 8) {
        for (std::int64_t i = 0; i < size.columns; i += table.lanes) {
          const std::int64_t column = std::min(i, last);  // some windows twice, with the same result
          const kernels::WindowRows<T> windows{image.data() + plane * image.channel() + row * image.row() + column, image.row(), offsets.data(), count, weights.data(), y + plane * L + row * size.columns + column, size.columns, slides, bias == nullptr ? T{0} : bias[plane % G]};
          table.one_channel(windows, static_cast<int>(std::min<std::int64_t>(8, size.rows - row)), static_cast<int>(std::min<std::int64_t>(table.lanes, size.columns - column)));
        }
      }
    }
  });
}

// y (N, G M, size), whose rows are size.columns long, = windows of `image` (N, G C) times weights: element (m, c, tap v) of group g is w[g * w_group + m * w_row + c * w_channel + taps.weights[v]]. Result m starts from bias[g * M + m], or from 0 if that is null.
template <class T>
void convolve_in_place(const PhasedImages<T>& image, std::int64_t N, std::int64_t G, std::int64_t C, std::int64_t M, const T* w, std::int64_t w_group, std::int64_t w_row, std::int64_t w_channel, const T* bias, const Taps& taps, Plane size, T* y) {
  if (C == 1 && M == 1) return convolve_channels(image, N, G, w, w_group, bias, taps, size, y);
  const kernels::GemmTable<T>& table = kernels::gemm_table<T>();
  const kernels::WindowTable<T>& windows = window_table<T>();
  const KernelOrder<T> order(image, C, w_channel, taps, size, windows.lanes);
  const Offsets& offsets = order.pixels;
  std::vector<std::unique_ptr<PackedRows<T>>> weights;
  for (std::int64_t g = 0; g < G; ++g) {
    weights.push_back(std::make_unique<PackedRows<T>>(table, M, static_cast<std::int64_t>(offsets.size()), longest_block(table)));
    weights.back()->pack(w + g * w_group, w_row, order.weights);
  }
  static constexpr T kZeros[16] = {};  // for the rows of a tile
  // The vectors of a row, then of the next row; two make a tile.
  const std::int64_t in_row = pieces_of(size.columns, windows.lanes), vectors = size.rows * in_row;
  const std::int64_t pairs = pieces_of(vectors, 2), L = size.count();
  // A task: some tiles of one image and group, about a million multiply-adds.
  const std::int64_t pieces = std::clamp<std::int64_t>(pairs * windows.lanes * 2 * M * static_cast<std::int64_t>(offsets.size()) >> 20, 1, pairs);
  // A window may be computed twice if it is neither added to nor another task's as well.
  const bool twice = weights[0]->k_pieces == 1 && !order.leaves_out() && pieces == 1;
  const std::int64_t last = twice ? std::max<std::int64_t>(0, size.columns - windows.lanes) : size.columns;
  struct Place {
    std::int64_t corner, out;
    int count;
  };
  std::vector<Place> places;
  for (std::int64_t row = 0; row < size.rows; ++row)
    for (std::int64_t i = 0; i < in_row; ++i) {
      const std::int64_t column = std::min(i * windows.lanes, last);
      places.push_back({image.corner(row, column), row * size.columns + column, static_cast<int>(std::min<std::int64_t>(windows.lanes, size.columns - column))});
    }
  if (vectors % 2 == 1) places.push_back({places.back().corner, places.back().out, 0});  // beside the last one, and not written
  std::vector<Piece> row_pieces;
  for (std::int64_t r = 0; r < weights[0]->row_pieces; ++r) row_pieces.emplace_back(M, weights[0]->row_pieces, r);
  kernels::run_tasks(N * G * pieces, [&](std::int64_t task) {
    const std::int64_t stack = task / pieces;
    const PackedRows<T>& rows_of = *weights[static_cast<std::size_t>(stack % G)];
    const T* const pixels = image.data() + stack * C * image.channel();
    T* const out = y + stack * M * L;
    const Piece piece(pairs, pieces, task % pieces);
    kernels::WindowTile<T> tile{};
    tile.out_row = L;
    for (std::int64_t part = 0; part < rows_of.k_pieces; ++part) {
      const Piece block(rows_of.K, rows_of.k_pieces, part);
      for (std::int64_t pair = piece.first; pair < piece.first + piece.count; ++pair) {
        const Place& left = places[static_cast<std::size_t>(2 * pair)];
        const Place& right = places[static_cast<std::size_t>(2 * pair + 1)];
        tile.left.corner = pixels + left.corner, tile.left.count = left.count;
        tile.right.corner = pixels + right.corner, tile.right.count = right.count;
        tile.adds = part > 0;
        const auto multiply = [&](std::int64_t first, std::int64_t stop, std::int64_t runs) {
          tile.offsets = offsets.data() + first;
          tile.in_run = stop - first;
          tile.runs = runs;
          for (const Piece& rows : row_pieces) {
            tile.a = rows_of.panels.at(M * block.first + rows.first * block.count + (first - block.first) * rows.count);
            tile.start = bias == nullptr || tile.adds ? kZeros : bias + stack % G * M + rows.first;
            tile.left.out = out + rows.first * L + left.out;
            tile.right.out = out + rows.first * L + right.out;
            windows.tile(tile, static_cast<int>(rows.count));
          }
          tile.adds = true;
        };
        const auto needed = order.needed(2 * pair, std::min(2 * pair + 1, vectors - 1));
        tile.run_step = needed.step;
        // Where K is one block, all runs at once.
        const std::int64_t at_once = rows_of.k_pieces == 1 ? needed.runs : 1;
        for (std::int64_t run = 0; run < needed.runs; run += at_once) {
          const std::int64_t first = std::max(needed.first + run * needed.step, block.first);
          const std::int64_t stop = std::min(needed.first + run * needed.step + needed.count, block.first + block.count);
          if (first < stop) multiply(first, stop, at_once);
        }
        if (!tile.adds) multiply(block.first, block.first, 1);
      }
    }
  });
}

// out (G M, C V) = the sums over all images and places of y (N, G M, size) times the pixels under each number of the kernel.
template <class T>
void multiply_windows(const PhasedImages<T>& image, std::int64_t N, std::int64_t G, std::int64_t C, std::int64_t M, const T* y, const Taps& taps, Plane size, T* out) {
  Offsets v_offsets;
  for (std::size_t v = 0; v < taps.weights.size(); ++v) v_offsets.push_back(image.offset(taps.rows[v], taps.columns[v]));
  const Offsets offsets = outer_sums(C, image.channel(), v_offsets);
  const std::int64_t K = static_cast<std::int64_t>(offsets.size()), L = size.count();
  // Rows without anything between them are one.
  const Plane lines = image.row() == size.columns ? Plane{1, L} : size;
  // Chunks of about a thousand places, whose lines stay in the caches: some images, or some rows of one.
  const std::int64_t row_chunks = pieces_of(L, 1536) > lines.rows ? lines.rows : pieces_of(L, 1536);
  const std::int64_t image_chunks = pieces_of(N, std::max<std::int64_t>(1, 1536 / L));
  // Tasks: parts of the result. Where these are few, chunks are divided too, each part with sums of its own, which are added at the end.
  const std::int64_t k_pieces = std::clamp<std::int64_t>(K / 48, 1, 8), m_pieces = std::clamp<std::int64_t>(M / 16, 1, pieces_of(8, k_pieces));
  const std::int64_t pieces = G * k_pieces * m_pieces, chunks = image_chunks * row_chunks, parts = std::min(chunks, std::max<std::int64_t>(1, 16 / pieces)), numbers = G * M * K;
  const Panels<T> sums((parts - 1) * numbers);
  kernels::run_tasks(pieces * parts, [&](std::int64_t task) {
    const std::int64_t part = task / pieces, piece = task % pieces, g = piece / (k_pieces * m_pieces);
    const Piece ks(K, k_pieces, piece / m_pieces % k_pieces), ms(M, m_pieces, piece % m_pieces), mine(chunks, parts, part);
    T* const to = part == 0 ? out : sums.at((part - 1) * numbers);
    for (std::int64_t chunk = mine.first; chunk < mine.first + mine.count; ++chunk) {
      const Piece images(N, image_chunks, chunk / row_chunks), rows(lines.rows, row_chunks, chunk % row_chunks);
      const T* const a = y + ((images.first * G + g) * M + ms.first) * L + rows.first * lines.columns;
      const T* const b = image.data() + (images.first * G + g) * C * image.channel() + rows.first * image.row();
      window_table<T>().lines({a, L, G * M * L, lines.columns, b, offsets.data() + ks.first, G * C * image.channel(), image.row(), images.count, rows.count, lines.columns, ms.count, ks.count,
                               to + (g * M + ms.first) * K + ks.first, K, chunk > mine.first});
    }
  });
  for (std::int64_t part = 1; part < parts; ++part)
    for (std::int64_t i = 0; i < numbers; ++i) out[i] += sums.at((part - 1) * numbers)[i];
}
}  // namespace

namespace {
const kernels::WinogradTable& winograd_kernels() {
  using namespace kernels;
  static constexpr const WinogradTable* tables[] = TINYTORCH_PER_CAPABILITY(winograd_table);
  return for_capability(tables);
}

// How products with so many columns are tiled: as wide as module 16's tiles are, or, where that leaves half of them empty, 16 wide.
struct WinogradTiles {
  explicit WinogradTiles(std::int64_t columns)
      : table(kernels::gemm_table<float>()), width(columns <= 16 ? std::min<std::int64_t>(16, table.columns) : table.columns) {}

  void multiply(const kernels::Tile<float>& tile, std::int64_t rows_of_tile) const { table.tile(tile, static_cast<int>(rows_of_tile), static_cast<int>(width), false); }
  // `columns` and what fills their last tile, and the last sixteen.
  std::int64_t filled(std::int64_t columns) const {
    const std::int64_t step = std::max<std::int64_t>(16, width);
    return pieces_of(columns, step) * step;
  }

  const kernels::GemmTable<float>& table;
  std::int64_t width;
};

// A convolution of x (N, C, input) with kernels of 3 x 3 and stride 1 to (N, M, output), cut into rows of tiles, and these into blocks: for so many threads, where no sum goes over blocks, else for one, so that sums do not depend on threads.
struct WinogradShape {
  WinogradShape(std::int64_t images, std::int64_t channels, std::int64_t results, Plane input_size, Plane output_size, Plane around, std::int64_t threads)
      : N(images), C(channels), M(results), input(input_size), output(output_size), padding(around), tiles{pieces_of(output.rows, 4), pieces_of(output.columns, 4)} {
    C_step = WinogradTiles(C).filled(C);
    M_step = WinogradTiles(M).filled(M);
    // No more tiles than the second cache holds, nor than leave two blocks for each thread, or, where sums go over blocks, than kTilesOfBlock or a sixteenth of all.
    const std::int64_t cached = std::max<std::int64_t>(12, kernels::cache_sizes().second / (2 * 144 * (C_step + M_step)));
    const std::int64_t most = std::min(cached, threads == 1 ? std::max(kTilesOfBlock, N * tiles.count() / 16) : std::max<std::int64_t>(12, N * tiles.count() / (2 * threads)));
    // Of equal size, and a multiple of four, so that two or four threads have the same to do.
    const std::int64_t all_rows = N * tiles.rows;
    blocks = std::min(all_rows, std::max<std::int64_t>(4, (pieces_of(all_rows, std::max<std::int64_t>(1, most / tiles.columns)) + 2) / 4 * 4));
    block_rows = pieces_of(all_rows, blocks);
  }

  bool pays() const { return C >= 16 && M >= 16 && tiles.count() * N >= 24 && tiles.count() * 16 * 5 <= output.count() * 9; }
  // The kernel's gradient keeps a sum or more of so many numbers: from 16 MB each on (340 channels to 340), no cache holds it while the blocks pass by.
  std::int64_t numbers_of_kernel() const { return 36 * M * C_step; }
  bool pays_for_kernel() const { return pays() && numbers_of_kernel() <= std::int64_t{1} << 22; }

  Piece rows_of(std::int64_t block) const { return {N * tiles.rows, blocks, block}; }
  // Numbers of one place of a block; not a power of two, so that 36 places do not compete for the same lines of the cache.
  std::int64_t place(std::int64_t step) const { return block_rows * tiles.columns * step + 16; }

  // Calls f(line, tile) for row r of the tiles of `block`: a plane of `size` in a stack of images, tiles beginning at -`before`, and the number of the first tile in the block.
  template <class Pixel, class F>
  void for_row(std::int64_t block, std::int64_t r, Pixel* images, std::int64_t channels, Plane size, Plane before, F f) const {
    const std::int64_t row = rows_of(block).first + r, image = row / tiles.rows;
    f(kernels::WinogradLine<Pixel>{images + image * channels * size.count(), size.count(), channels, size.rows, size.columns, row % tiles.rows * 4 - before.rows, -before.columns, tiles.columns}, r * tiles.columns);
  }
  template <class Pixel, class F>
  void for_rows(std::int64_t block, Pixel* images, std::int64_t channels, Plane size, Plane before, F f) const {
    for (std::int64_t r = 0; r < rows_of(block).count; ++r) for_row(block, r, images, channels, size, before, f);
  }

  void map_pixels(std::int64_t block, const float* x, float* to, float* scratch) const {
    for_rows(block, x, C, input, padding, [&](const auto& line, std::int64_t tile) { winograd_kernels().pixels(line, {to + tile * C_step, place(C_step), C_step}, scratch); });
  }

  static constexpr std::int64_t kTilesOfBlock = 128;  // where sums go over blocks, so that loading and storing them does not count

  std::int64_t N, C, M;
  Plane input, output, padding, tiles;
  std::int64_t C_step, M_step, block_rows, blocks;
};

// y (N, M, output): element (m, c, v) of the kernel is w[m * row + c * channel + v * tap]. Result m starts from bias[m], or from 0 if that is null.
void convolve_winograd(const WinogradShape& s, const float* x, const float* w, std::int64_t row, std::int64_t channel, std::int64_t tap, const float* bias, float* y) {
  constexpr std::int64_t kOnes = 7;  // the place of the point 1, for rows and for columns
  const kernels::WinogradTable& maps = winograd_kernels();
  const WinogradTiles product(s.M);
  const std::int64_t width = product.width, panels = pieces_of(s.M, width), place = panels * s.C * width + 16;  // not a power of two either
  const Panels<float> kernel(36 * place);
  std::vector<float> starts(static_cast<std::size_t>(s.M_step));
  if (bias != nullptr) std::copy_n(bias, s.M, starts.begin());
  parallel_for(0, s.C, std::max<std::int64_t>(1, 512 / s.M_step), [&](std::int64_t first, std::int64_t stop) { maps.kernel({w, row, channel, tap, s.M, s.C}, width, place, first, stop, kernel.at(0)); });
  kernels::run_tasks(s.blocks, [&](std::int64_t block) {
    const Panels<float> pixels(36 * s.place(s.C_step)), results(36 * s.place(s.M_step)), scratch(maps.scratch(s.tiles.columns));
    s.map_pixels(block, x, pixels.at(0), scratch.at(0));
    const std::int64_t tiles = s.rows_of(block).count * s.tiles.columns, pieces = pieces_of(tiles, product.table.rows);
    for (std::int64_t f = 0; f < 36; ++f)
      for (std::int64_t p = 0; p < panels; ++p)
        for (std::int64_t r = 0; r < pieces; ++r) {
          const Piece rows(tiles, pieces, r);
          const bool begins = bias != nullptr && f == kOnes;
          product.multiply({pixels.at(f * s.place(s.C_step) + rows.first * s.C_step), s.C_step, 1, kernel.at(f * place + p * s.C * width), width, s.C,
                            results.at(f * s.place(s.M_step) + rows.first * s.M_step + p * width), s.M_step, begins ? starts.data() + p * width : nullptr, 0, 1.0F, 1.0F},
                           rows.count);
        }
    s.for_rows(block, y, s.M, s.output, {0, 0}, [&](const auto& line, std::int64_t tile) { maps.results(line, {results.at(tile * s.M_step), s.place(s.M_step), s.M_step}, scratch.at(0)); });
  });
}

// The gradient of the kernel (M, C, 3, 3), for the gradient y (N, M, output) of the result.
void multiply_winograd(const WinogradShape& s, const float* x, const float* y, float* w) {
  const kernels::WinogradTable& maps = winograd_kernels();
  const WinogradTiles product(s.C);
  // Each part of the blocks has sums of its own, which are added at the end: as many parts whatever the number of threads. More than one only where each has tiles enough that writing and adding its sums does not count, a power of two, and all sums together stay below 64 MB.
  constexpr std::int64_t kTilesOfSums = 512;
  const std::int64_t width = product.width, panels = s.C_step / width, part = s.numbers_of_kernel();
  const auto enough = static_cast<std::uint64_t>(std::clamp<std::int64_t>(std::min(s.N * s.tiles.count() / kTilesOfSums, (std::int64_t{1} << 24) / part), 1, 16));
  const std::int64_t parts = std::min(s.blocks, static_cast<std::int64_t>(std::bit_floor(enough)));
  const Panels<float> sums(parts * part);
  const std::int64_t pieces = pieces_of(s.M, product.table.rows);
  const auto map_row = [&](std::int64_t block, std::int64_t r, float* pixels, float* slopes) {
    const Panels<float> scratch(maps.scratch(s.tiles.columns));
    s.for_row(block, r, x, s.C, s.input, s.padding, [&](const auto& line, std::int64_t tile) { maps.pixels(line, {pixels + tile * s.C_step, s.place(s.C_step), s.C_step}, scratch.at(0)); });
    s.for_row(block, r, y, s.M, s.output, {0, 0}, [&](const auto& line, std::int64_t tile) { maps.slopes(line, {slopes + tile * s.M_step, s.place(s.M_step), s.M_step}, scratch.at(0)); });
  };
  // Adds what a block gives to panel p of place f of the sums of a part, or begins them.
  const auto multiply_panel = [&](std::int64_t block, std::int64_t f, std::int64_t p, std::int64_t of_part, bool begins, const float* pixels, const float* slopes) {
    const std::int64_t tiles = s.rows_of(block).count * s.tiles.columns;
    for (std::int64_t r = 0; r < pieces; ++r) {
      const Piece rows(s.M, pieces, r);
      float* const out = sums.at(of_part * part + (f * s.M + rows.first) * s.C_step + p * width);
      product.multiply({slopes + f * s.place(s.M_step) + rows.first, 1, s.M_step, pixels + f * s.place(s.C_step) + p * width, s.C_step, tiles, out, s.C_step, begins ? nullptr : out, s.C_step, 1.0F, 1.0F}, rows.count);
    }
  };
  const std::int64_t of_pixels = 36 * s.place(s.C_step), of_slopes = 36 * s.place(s.M_step);
  const int threads = get_num_threads();
  if (parts % threads == 0 || parts >= 2 * threads) {
    kernels::run_tasks(parts, [&](std::int64_t task) {
      const Panels<float> pixels(of_pixels), slopes(of_slopes);
      const Piece mine(s.blocks, parts, task);
      for (std::int64_t block = mine.first; block < mine.first + mine.count; ++block) {
        for (std::int64_t r = 0; r < s.rows_of(block).count; ++r) map_row(block, r, pixels.at(0), slopes.at(0));
        for (std::int64_t f = 0; f < 36; ++f)
          for (std::int64_t p = 0; p < panels; ++p) multiply_panel(block, f, p, task, block == mine.first, pixels.at(0), slopes.at(0));
      }
    });
  } else {
    // Too few parts for so many threads: these map some blocks of each part together, row by row, and then multiply them, place by place and panel by panel. A block for every two threads, so that they seldom wait for each other.
    const std::int64_t most = pieces_of(s.blocks, parts), at_once = std::clamp<std::int64_t>(threads / (2 * parts), 1, most), together = parts * at_once;
    const Panels<float> pixels(together * of_pixels), slopes(together * of_slopes);
    for (std::int64_t round = 0; round < most; round += at_once) {
      // Block i of a round, of part i / at_once; negative if there is none.
      const auto block_of = [&](std::int64_t i) {
        const Piece own(s.blocks, parts, i / at_once);
        return round + i % at_once < own.count ? own.first + round + i % at_once : -1;
      };
      kernels::run_tasks(together * s.block_rows, [&](std::int64_t task) {
        const std::int64_t i = task / s.block_rows, r = task % s.block_rows, block = block_of(i);
        if (block >= 0 && r < s.rows_of(block).count) map_row(block, r, pixels.at(i * of_pixels), slopes.at(i * of_slopes));
      });
      kernels::run_tasks(parts * 36 * panels, [&](std::int64_t task) {
        const std::int64_t of_part = task / (36 * panels), f = task / panels % 36;
        for (std::int64_t i = of_part * at_once; i < (of_part + 1) * at_once; ++i) {
          const std::int64_t block = block_of(i);
          if (block >= 0) multiply_panel(block, f, task % panels, of_part, round == 0 && i % at_once == 0, pixels.at(i * of_pixels), slopes.at(i * of_slopes));
        }
      });
    }
  }
  parallel_for(0, s.M, std::max<std::int64_t>(1, 256 / s.C_step),
               [&](std::int64_t first, std::int64_t stop) { maps.kernel_gradient({sums.at(0), s.M * s.C_step, s.C_step}, parts, part, first, stop, s.C, w); });
}
}  // namespace

namespace {
// Whether these kernels do it: float or double, and something to do.
bool takes(const Tensor& self, const Tensor& other) {
  const ScalarType type = self.scalar_type();
  return (type == kFloat || type == kDouble) && other.scalar_type() == type && self.numel() > 0 && other.numel() > 0;
}

// Images in rows, with zeros around them.
Tensor with_border(const Tensor& images, IntArrayRef padding) {
  const Tensor rows = images.contiguous();
  if (std::all_of(padding.begin(), padding.end(), [](std::int64_t p) { return p == 0; })) return rows;
  DimVector amounts;
  for (std::size_t d = padding.size(); d-- > 0;) {
    amounts.push_back(padding[d]);
    amounts.push_back(padding[d]);
  }
  return op::pad(rows, amounts, PadMode::Constant, 0);
}

// y (N, G M, places) = the windows of x (N, G C, channel), which has its padding already, times weights w, of which element (m, c, v) of group g is
// w[g * w_group + m * w_row + c * w_channel + v_offsets[v]]. Result m of group g starts from bias[g * M + m], or from 0 if that is null.
template <class T>
void convolve(const T* x, std::int64_t N, std::int64_t G, std::int64_t C, std::int64_t channel, std::int64_t M, const T* w, std::int64_t w_group, std::int64_t w_row, std::int64_t w_channel, const Offsets& v_offsets,
              const T* bias, const Offsets& kernel_offsets, const Offsets& places, T* y) {
  const kernels::GemmTable<T>& table = kernels::gemm_table<T>();
  const std::int64_t L = static_cast<std::int64_t>(places.size());
  const Offsets w_offsets = outer_sums(C, w_channel, v_offsets);
  const Offsets k_offsets = outer_sums(C, channel, kernel_offsets);
  std::vector<std::unique_ptr<PackedRows<T>>> weights;
  for (std::int64_t g = 0; g < G; ++g) {
    weights.push_back(std::make_unique<PackedRows<T>>(table, M, static_cast<std::int64_t>(k_offsets.size()), longest_block(table)));
    weights.back()->pack(w + g * w_group, w_row, w_offsets);
  }
  // A task: some panels of one image and group.
  const std::int64_t strips = pieces_of(L, table.columns);
  const std::int64_t pieces = pieces_of(strips, 8);
  kernels::run_tasks(N * G * pieces, [&](std::int64_t task) {
    const std::int64_t image = task / pieces, g = image % G;
    const Piece piece(strips, pieces, task % pieces);
    const std::int64_t first = piece.first * table.columns;
    multiply_gathered(*weights[static_cast<std::size_t>(g)], x + image * C * channel, x + N * G * C * channel, k_offsets, places, first, std::min(L - first, piece.count * table.columns),
                      bias == nullptr ? nullptr : bias + g * M, y + image * M * L, L);
  });
}

struct Shapes {
  Shapes(IntArrayRef input, IntArrayRef weight, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups)
      : grid{spatial_sizes(weight), stride, padding, dilation}, places(places_of(grid, spatial_sizes(input))), G(groups), N(input[0]), M(weight[0] / groups), C(weight[1]), V(multiply_sizes(grid.kernel)) {
    for (std::size_t d = 0; d < padding.size(); ++d) padded.push_back(spatial_sizes(input)[d] + 2 * padding[d]);
  }
  DimVector output_sizes() const {
    DimVector sizes{N, G * M};
    for (const std::int64_t size : places) sizes.push_back(size);
    return sizes;
  }
  WindowGrid grid;
  DimVector places, padded;
  std::int64_t G, N, M, C, V;
};

Offsets counted(std::int64_t count, bool turned) {
  Offsets offsets;
  for (std::int64_t i = 0; i < count; ++i) offsets.push_back(turned ? count - 1 - i : i);
  return offsets;
}

template <class F>
Tensor in_type(ScalarType type, F f) {
  return type == kFloat ? f.template operator()<float>() : f.template operator()<double>();
}

// Rows and columns of a convolution of images or lines, for the tiles that read in place.
struct PlaneShape {
  explicit PlaneShape(const Shapes& s, IntArrayRef input_sizes)
      : input(plane_of(spatial_sizes(input_sizes), 1)), output(plane_of(s.places, 1)), kernel(plane_of(s.grid.kernel, 1)), stride(plane_of(s.grid.stride, 1)), padding(plane_of(s.grid.padding, 0)),
        dilation(plane_of(s.grid.dilation, 1)), phase{pieces_of(input.rows + 2 * padding.rows, stride.rows), pieces_of(input.columns + 2 * padding.columns, stride.columns)} {}

  // All numbers of the kernel, at their distances from the corner.
  Taps taps() const {
    Taps all;
    for (std::int64_t i = 0; i < kernel.count(); ++i) {
      all.rows.push_back(i / kernel.columns * dilation.rows);
      all.columns.push_back(i % kernel.columns * dilation.columns);
      all.weights.push_back(i);
    }
    return all;
  }

  // Whether a tile, two vectors of windows in a row, meets under each number of the kernel pixels only or the border only, in either direction.
  template <class T>
  bool tiles_meet_all_or_nothing() const {
    const std::int64_t tile = 2 * window_table<T>().lanes;
    return stride.count() == 1 && input.columns % tile == 0 && output.columns % tile == 0 && padding.columns % tile == 0 && dilation.columns % tile == 0;
  }

  template <class T>
  PhasedImages<T> images_of(const T* x, std::int64_t images, std::int64_t channels, const Taps& all, bool beyond_rows, bool needs_border) const {
    std::vector<bool> used(static_cast<std::size_t>(stride.count()), false);
    for (std::size_t v = 0; v < all.weights.size(); ++v) used[static_cast<std::size_t>(all.rows[v] % stride.rows * stride.columns + all.columns[v] % stride.columns)] = true;
    const bool in_place = !needs_border || (stride.count() == 1 && padding.rows == 0 && padding.columns == 0 && !beyond_rows);
    return PhasedImages<T>(x, images, channels, input, padding, stride, in_place ? input : phase, used, in_place);
  }

  Plane input, output, kernel, stride, padding, dilation, phase;
};

// Whether Winograd's way takes it, in `type`.
bool winograd_fits(const Shapes& s, const PlaneShape& p, ScalarType type) {
  return type == kFloat && s.grid.kernel.size() == 2 && s.G == 1 && p.kernel.rows == 3 && p.kernel.columns == 3 && p.stride.count() == 1 && p.dilation.count() == 1;
}
WinogradShape winograd_forward(const Shapes& s, const PlaneShape& p, std::int64_t threads) { return {s.N, s.C, s.M, p.input, p.output, p.padding, threads}; }

// Whether the tiles that read in place do it: images or lines, in rows of `width` that fill vectors. For few rows M of the result also such that fill them less well: a panel is packed at the cost of some 20 rows.
template <class T>
bool in_place_pays(std::size_t dims, std::int64_t width, std::int64_t M) {
  const std::int64_t lanes = window_table<T>().lanes;
  return dims <= 2 && (fills_vectors(width, lanes) || M * (pieces_of(width, lanes) * lanes - width) < 20 * width);
}

// Images (N, C, spatial) as N / group images (..., columns * group): the pixels of one place of `group` images are neighbours.
Tensor side_by_side(const Tensor& images, std::int64_t group) {
  DimVector apart{images.size(0) / group, group}, order{0}, sizes(images.sizes());
  for (std::int64_t d = 1; d < images.dim(); ++d) {
    apart.push_back(images.size(d));
    order.push_back(d + 1);
  }
  order.push_back(1);
  sizes[0] /= group;
  sizes.back() *= group;
  return images.view(apart).permute(order).contiguous().view(sizes);
}

// The way back.
Tensor one_by_one(const Tensor& wide, std::int64_t group) {
  DimVector apart(wide.sizes()), order{0, wide.dim()}, sizes(wide.sizes());
  apart.back() /= group;
  apart.push_back(group);
  for (std::int64_t d = 1; d < wide.dim(); ++d) order.push_back(d);
  sizes[0] *= group;
  sizes.back() /= group;
  return wide.view(apart).permute(order).contiguous().view(sizes);
}

// Distances in columns, where a pixel is N numbers wide.
DimVector in_wide_columns(IntArrayRef distances, std::int64_t N) {
  DimVector wide(distances);
  wide.back() *= N;
  return wide;
}

// Whether turning the images around pays: `numbers` are moved, each at the cost of 16 multiply-adds. What it saves are the lanes behind the rows of `sizes`, which are written or summed over.
template <class T>
bool side_by_side_pays(const Shapes& s, IntArrayRef sizes, std::int64_t numbers) {
  if (s.N == 1 || sizes.size() > 2 || IntArrayRef(s.grid.stride).back() != 1) return false;
  const std::int64_t lanes = window_table<T>().lanes, rows = sizes.size() == 2 ? sizes[0] : 1;
  const std::int64_t saved = (s.N * pieces_of(sizes.back(), lanes) - pieces_of(s.N * sizes.back(), lanes)) * lanes * rows;
  return saved * s.G * s.M * s.C * s.V > 16 * numbers;
}

// How many images lie side by side: as many as a tile has lanes, or all where these do not divide the batch.
template <class T>
std::int64_t together(std::int64_t N) {
  const std::int64_t tile = 2 * window_table<T>().lanes;
  return N % tile == 0 ? tile : N;
}

// The same images in rows. Those of one pixel lie in both orders at once, and get the strides of rows.
Tensor in_rows(const Tensor& images) { return images.is_contiguous() ? images.view({-1}).view(images.sizes()) : images.contiguous(); }

// Whether channels are put last for one convolution (chapter 56). The bounds are measured.
struct Turning {
  Turning(const Shapes& s, ScalarType type)
      : possible(s.G == 1 && s.grid.kernel.size() == 2 && s.V > 1), strided(IntArrayRef(s.grid.stride).back() > 1), channels(std::min(s.C, s.M)), lanes(type == kFloat ? window_table<float>().lanes : window_table<double>().lanes), images_fill_tiles(s.N % (2 * lanes) == 0) {}

  // For results in rows of `width`.
  bool pays(std::int64_t width) const {
    if (strided) return possible && channels >= 16;
    return possible && channels >= 32 && width % lanes != 0 && (width > 32 || !images_fill_tiles);
  }
  // For the gradient of the weights, of results in rows of `width`.
  bool pays_for_kernel(std::int64_t width) const { return strided ? pays(width) : possible && channels >= 32 && (width > 14 || !images_fill_tiles); }

  bool possible, strided;
  std::int64_t channels, lanes;
  bool images_fill_tiles;
};

// The numbers of a bias, without gaps; null without a bias.
template <class T>
const T* numbers_of(const Tensor& bias) {
  return bias.defined() ? bias.data<T>() : nullptr;
}

Tensor convolution_tuned(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups) {
  const ExcludeLayersGuard below(LayerSet(Layer::Autograd) | Layer::InplaceOrView);
  if (!takes(input, weight)) return op::convolution.function(Layer::CPU)(input, weight, bias, stride, padding, dilation, groups);
  if (const Tensor y = kernels::pointwise_convolution(input, weight, bias, stride, padding, groups); y.defined()) return y;
  const Shapes s(input.sizes(), weight.sizes(), stride, padding, dilation, groups);
  const Tensor w = weight.contiguous(), b = bias ? bias->contiguous() : Tensor();
  if (const PlaneShape p(s, input.sizes()); winograd_fits(s, p, input.scalar_type())) {
    if (const WinogradShape shape = winograd_forward(s, p, get_num_threads()); shape.pays()) {
      const Tensor result = empty(s.output_sizes(), kFloat);
      convolve_winograd(shape, input.contiguous().data<float>(), w.data<float>(), s.C * 9, 9, 1, numbers_of<float>(b), result.data<float>());
      return result;
    }
  }
  if (const bool last = has_channels_last(input); last || Turning(s, input.scalar_type()).pays(IntArrayRef(s.places).back())) {
    const Tensor y = kernels::channels_last_convolution(input, weight, bias, stride, padding, dilation, groups);
    if (y.defined()) return last ? y : in_rows(y);
  }
  const Tensor result = empty(s.output_sizes(), input.scalar_type());
  return in_type(input.scalar_type(), [&]<class T>() {
    if (side_by_side_pays<T>(s, s.places, input.numel() + result.numel())) {
      const std::int64_t group = together<T>(s.N);
      return one_by_one(convolution_tuned(side_by_side(input, group), w, bias, stride, in_wide_columns(padding, group), in_wide_columns(dilation, group), groups), group);
    }
    if (in_place_pays<T>(stride.size(), s.places[s.places.size() - 1], s.M)) {
      const PlaneShape p(s, input.sizes());
      const Tensor x = input.contiguous();
      const Taps taps = p.taps();
      const PhasedImages<T> image = p.images_of(x.data<T>(), s.N, s.G * s.C, taps, p.output.columns % window_table<T>().lanes != 0, !p.tiles_meet_all_or_nothing<T>() || (s.C == 1 && s.M == 1));
      convolve_in_place(image, s.N, s.G, s.C, s.M, w.data<T>(), s.M * s.C * s.V, s.C * s.V, s.V, numbers_of<T>(b), taps, p.output, result.data<T>());
      return result;
    }
    const Tensor x = with_border(input, padding);
    const Offsets kernel = grid_offsets(s.grid.kernel, dilation, s.padded);
    convolve<T>(x.data<T>(), s.N, s.G, s.C, multiply_sizes(s.padded), s.M, w.data<T>(), s.M * s.C * s.V, s.C * s.V, s.V, counted(s.V, false), numbers_of<T>(b), kernel, grid_offsets(s.places, stride, s.padded), result.data<T>());
    return result;
  });
}

// The gradient of the input, phase by phase: from the image in place where the phase's rows fill vectors, else from panels. y is the gradient of the result, dense.
template <class T>
void convolve_back(const Shapes& s, const PlaneShape& p, const T* w, const T* y, T* result) {
  const Plane most{(p.kernel.rows - 1) * p.dilation.rows / p.stride.rows, (p.kernel.columns - 1) * p.dilation.columns / p.stride.columns};
  const auto phase_of = [&](std::int64_t row, std::int64_t column) {
    return std::pair(kernels::PhaseOfInput(row, p.input.rows, p.kernel.rows, p.stride.rows, p.padding.rows, p.dilation.rows), kernels::PhaseOfInput(column, p.input.columns, p.kernel.columns, p.stride.columns, p.padding.columns, p.dilation.columns));
  };
  Plane size{1, 1};
  for (std::int64_t i = 0; i < p.stride.count(); ++i) {
    const auto [rows, columns] = phase_of(i / p.stride.columns, i % p.stride.columns);
    size = {std::max(size.rows, rows.first + rows.count + most.rows), std::max(size.columns, columns.first + columns.count + most.columns)};
  }
  const bool direct = p.stride.count() == 1;
  // With wide padding each window of the way back lies inside of y.
  const bool inside = direct && p.padding.rows >= most.rows && p.padding.columns >= most.columns && p.input.columns % window_table<T>().lanes == 0;
  const bool in_place = (inside || p.tiles_meet_all_or_nothing<T>()) && !(s.C == 1 && s.M == 1);
  const PhasedImages<T> image(y, s.N, s.G * s.M, p.output, most, {1, 1}, in_place ? p.output : size, {true}, in_place);
  const std::int64_t planes = s.N * s.G * s.C;
  for (std::int64_t i = 0; i < p.stride.count(); ++i) {
    const auto [rows, columns] = phase_of(i / p.stride.columns, i % p.stride.columns);
    Taps taps;
    for (std::size_t r = 0; r < rows.taps.size(); ++r)
      for (std::size_t c = 0; c < columns.taps.size(); ++c) {
        taps.rows.push_back(rows.first + most.rows - rows.back[r]);
        taps.columns.push_back(columns.first + most.columns - columns.back[c]);
        taps.weights.push_back(rows.taps[r] * p.kernel.columns + columns.taps[c]);
      }
    const Plane part{rows.count, columns.count};
    if (part.count() == 0) continue;
    const Panels<T> memory(direct ? 0 : planes * part.count());
    T* const out = direct ? result : memory.at(0);
    if (taps.weights.empty()) std::fill_n(out, planes * part.count(), T{0});
    // Element (c, m, v) of the weights is w[m][c][v].
    else if (direct || in_place_pays<T>(2, part.columns, s.C)) convolve_in_place(image, s.N, s.G, s.M, s.C, w, s.M * s.C * s.V, s.V, s.C * s.V, static_cast<const T*>(nullptr), taps, part, out);
    else {
      Offsets kernel;
      for (std::size_t v = 0; v < taps.weights.size(); ++v) kernel.push_back(image.offset(taps.rows[v], taps.columns[v]));
      convolve<T>(image.data(), s.N, s.G, s.M, image.channel(), s.C, w, s.M * s.C * s.V, s.V, s.C * s.V, taps.weights, nullptr, kernel, grid_offsets({part.rows, part.columns}, {1, 1}, {size.rows, size.columns}), out);
    }
    if (direct) return;
    const std::int64_t start_row = rows.start, start_column = columns.start;
    parallel_for(0, planes, std::max<std::int64_t>(1, 16384 / part.count()), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t plane = first; plane < stop; ++plane)
        for (std::int64_t r = 0; r < part.rows; ++r) {
          T* const to = result + (plane * p.input.rows + start_row + r * p.stride.rows) * p.input.columns + start_column;
          const T* const from = out + (plane * part.rows + r) * part.columns;
          spread(to, p.stride.columns, from, 1, part.columns);
        }
    });
  }
}

Tensor convolution_input_tuned(const Tensor& grad, const Tensor& weight, IntArrayRef input_sizes, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups) {
  const ExcludeLayersGuard below(LayerSet(Layer::Autograd) | Layer::InplaceOrView);
  DimVector around;
  const bool ours = takes(grad, weight);
  bool turns = ours;  // whether it is a forward convolution with the kernel turned around
  for (std::size_t d = 0; d < stride.size(); ++d) {
    around.push_back((spatial_sizes(weight.sizes())[d] - 1) * dilation[d] - padding[d]);
    turns = turns && stride[d] == 1 && around[d] >= 0;
  }
  const auto reference = [&] { return op::convolution_input.function(Layer::CPU)(grad, weight, input_sizes, stride, padding, dilation, groups); };
  if (!ours) return reference();
  if (const Tensor x = kernels::pointwise_convolution_input(grad, weight, input_sizes, stride, padding, groups); x.defined()) return x;
  const Shapes s(input_sizes, weight.sizes(), stride, padding, dilation, groups);
  if (const PlaneShape p(s, input_sizes); turns && winograd_fits(s, p, grad.scalar_type())) {
    // From the result's channels to the input's; element (c, m, v) of the turned kernel is w[m][c][8 - v].
    const WinogradShape shape(s.N, s.M, s.C, p.output, p.input, {2 - p.padding.rows, 2 - p.padding.columns}, get_num_threads());
    if (shape.pays()) {
      const Tensor result = empty(input_sizes, kFloat);
      convolve_winograd(shape, grad.contiguous().data<float>(), weight.contiguous().data<float>() + 8, 9, s.C * 9, -1, nullptr, result.data<float>());
      return result;
    }
  }
  if (const bool last = has_channels_last(grad); last || Turning(s, grad.scalar_type()).pays(input_sizes.back())) {
    const Tensor x = kernels::channels_last_convolution_input(grad, weight, input_sizes, stride, padding, dilation, groups);
    if (x.defined()) return last ? x : in_rows(x);
  }
  return in_type(grad.scalar_type(), [&]<class T>() {
    const Tensor w = weight.contiguous();
    if (side_by_side_pays<T>(s, spatial_sizes(input_sizes), grad.numel() + multiply_sizes(input_sizes))) {
      const std::int64_t group = together<T>(s.N);
      DimVector wide = in_wide_columns(input_sizes, group);
      wide[0] /= group;
      return one_by_one(convolution_input_tuned(side_by_side(grad, group), w, wide, stride, in_wide_columns(padding, group), in_wide_columns(dilation, group), groups), group);
    }
    if (in_place_pays<T>(stride.size(), input_sizes.back() / stride.back(), s.C) || (!turns && stride.size() <= 2)) {
      const Tensor result = empty(input_sizes, grad.scalar_type());
      convolve_back<T>(s, PlaneShape(s, input_sizes), w.data<T>(), grad.contiguous().data<T>(), result.data<T>());
      return result;
    }
    if (!turns) return reference();
    const Tensor result = empty(input_sizes, grad.scalar_type());
    const Tensor y = with_border(grad, around);
    const IntArrayRef wide = spatial_sizes(y.sizes());
    // Element (c, m, v) of the turned weights is w[m][c][V - 1 - v].
    convolve<T>(y.data<T>(), s.N, s.G, s.M, multiply_sizes(wide), s.C, w.data<T>(), s.M * s.C * s.V, s.V, s.C * s.V, counted(s.V, true), nullptr, grid_offsets(s.grid.kernel, dilation, wide),
                grid_offsets(spatial_sizes(input_sizes), stride, wide), result.data<T>());
    return result;
  });
}

Tensor convolution_weight_tuned(const Tensor& input, const Tensor& grad, IntArrayRef weight_sizes, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups) {
  const ExcludeLayersGuard below(LayerSet(Layer::Autograd) | Layer::InplaceOrView);
  if (!takes(input, grad)) return op::convolution_weight.function(Layer::CPU)(input, grad, weight_sizes, stride, padding, dilation, groups);
  if (const Tensor w = kernels::pointwise_convolution_weight(input, grad, weight_sizes, stride, padding, groups); w.defined()) return w;
  const Shapes s(input.sizes(), weight_sizes, stride, padding, dilation, groups);
  if (const PlaneShape p(s, input.sizes()); winograd_fits(s, p, input.scalar_type())) {
    if (const WinogradShape shape = winograd_forward(s, p, 1); shape.pays_for_kernel()) {
      const Tensor result = empty(weight_sizes, kFloat);
      multiply_winograd(shape, input.contiguous().data<float>(), grad.contiguous().data<float>(), result.data<float>());
      return result;
    }
  }
  if (has_channels_last(grad) || Turning(s, grad.scalar_type()).pays_for_kernel(IntArrayRef(s.places).back())) {
    const Tensor w = kernels::channels_last_convolution_weight(input, grad, weight_sizes, stride, padding, dilation, groups);
    if (w.defined()) return w;
  }
  const Tensor y = grad.contiguous(), result = empty(weight_sizes, input.scalar_type());
  return in_type(input.scalar_type(), [&]<class T>() {
    if (s.V > 1 && side_by_side_pays<T>(s, s.places, input.numel() + y.numel())) {
      const std::int64_t group = together<T>(s.N);
      return convolution_weight_tuned(side_by_side(input, group), side_by_side(y, group), weight_sizes, stride, in_wide_columns(padding, group), in_wide_columns(dilation, group), groups);
    }
    if (in_place_pays<T>(stride.size(), s.places[s.places.size() - 1], s.M)) {
      const PlaneShape p(s, input.sizes());
      const Tensor x = input.contiguous();
      const Taps taps = p.taps();
      multiply_windows(p.images_of(x.data<T>(), s.N, s.G * s.C, taps, false, true), s.N, s.G, s.C, s.M, y.data<T>(), taps, p.output, result.data<T>());
      return result;
    }
    const Tensor x = with_border(input, padding);
    const kernels::GemmTable<T>& table = kernels::gemm_table<T>();
    const std::int64_t L = multiply_sizes(s.places), channel = multiply_sizes(s.padded), K = s.C * s.V;
    const Offsets places = grid_offsets(s.places, stride, s.padded);
    const Offsets columns = outer_sums(s.C, channel, grid_offsets(s.grid.kernel, dilation, s.padded));
    const Offsets inner = outer_sums(s.N, s.G * s.C * channel, places);                      // (n, place) in x
    const Offsets grad_inner = outer_sums(s.N, s.G * s.M * L, counted(L, false));  // (n, place) in y
    const std::int64_t strips = pieces_of(K, table.columns);
    const std::int64_t pieces = pieces_of(strips, 2);
    for (std::int64_t g = 0; g < s.G; ++g) {
      PackedRows<T> rows(table, s.M, s.N * L, longest_block(table));
      rows.pack(y.data<T>() + g * s.M * L, L, grad_inner);
      kernels::run_tasks(pieces, [&](std::int64_t task) {
        const Piece piece(strips, pieces, task);
        const std::int64_t first = piece.first * table.columns;
        multiply_gathered(rows, x.data<T>() + g * s.C * channel, x.data<T>() + x.numel(), inner, columns, first, std::min(K - first, piece.count * table.columns), static_cast<const T*>(nullptr), result.data<T>() + g * s.M * K, K);
      });
    }
    return result;
  });
}
}  // namespace

void register_tuned_convolution() {
  op::convolution.set(Layer::TunedCPU, convolution_tuned);
  op::convolution_input.set(Layer::TunedCPU, convolution_input_tuned);
  op::convolution_weight.set(Layer::TunedCPU, convolution_weight_tuned);
}

}  // namespace tinytorch
