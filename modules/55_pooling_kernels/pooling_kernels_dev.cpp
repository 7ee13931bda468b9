// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch-cpp
// ---

// %% [markdown]
// # Library chapter 55: Pooling kernels
//
// Pooling makes one number of a window of pixels: the largest of them, or their mean. Module 09 asks each pixel of a window whether it is the largest so far, and for means it copies each window into a column and adds the columns up. Chapter 78's adaptive pooling, which is told how many windows there shall be, multiplies with matrices. All of that is right and slow, for reasons that are not arithmetic: the
// processor cannot guess how a comparison will come out, and copies and products read and write much more than the pixels.
//
// This chapter teaches how vectors compute the same numbers, in the layer TunedCPU. What a vector can hold depends on how images lie in memory:
//
//     in rows, (N, C, H, W)                      a row of a channel is contiguous          a vector holds windows that are neighbours in their row
//     channels last, as (N, H, W, C)             the channels of a pixel are contiguous    a vector holds the same window of 8 or 16 channels
//
// Largest numbers are found in both ways, and their places with them. Means are computed in both ways too; gradients of means in rows, and adaptive means of images in rows, are left to module 09 and chapter 78, as is everything else that has no kernel. A result lies in memory as the images did.

// %%
//| after 16 76
//| export kernels/pooling_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/pooling.cpp
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

// %%
//| export kernels/pooling.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include <algorithm>
#include "tinytorch/kernels/pooling_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

// %%
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/more_pool.h"
#include "tinytorch/nn/pool.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Largest numbers of windows
//
// Module 09 asks every pixel of every window whether it lies inside of the image and whether it is the largest so far. In a trained network half of these questions come out either way, and the processor, which guesses the answers in order to go on, guesses wrong: 15 to 20 lost cycles each time.
//
// A vector asks for 8 windows at once and selects instead of jumping. For stride 2, the usual one, the pixels of neighbouring windows are every second number of a row; one load of two vectors is taken apart into the even and the odd ones, and a window of two columns needs just these:
//
//     row        a0 b0 a1 b1 a2 b2 a3 b3 ...       windows   [a0 b0]  [a1 b1]  [a2 b2]  ...
//     row below  c0 d0 c1 d1 c2 d2 c3 d3 ...                 [c0 d0]  [c1 d1]  [c2 d2]
//     even, odd  a0 a1 a2 a3 ...   b0 b1 b2 b3 ...            largest = a;  b > largest ? b;  c > ...;  d > ...
//
// Beside the largest number goes the place where it stood, in lanes of the same width. The last vector of a row may look beyond the row, at pixels that lie behind in memory; those windows are not written.
// Where images are small, such a row is all of it: LeNet-5's second pooling has rows of five windows, which leave 11 of 16 lanes empty. If half a vector holds a row's windows, each load takes half a vector from this row and half from the next, and two rows are one. Its pooling takes two thirds of the time (26 instead of 38 microseconds for 64 images with AVX-512).
// Where the channels of a pixel lie beside each other, all is simpler: a vector holds the same window of 8 or 16 channels, each pixel is one load, and an edge only makes the window smaller.
//
// A place is 64 bits, twice a lane of float: vectors of places are widened when they are written. Those of fewer windows are written by masks with AVX-512, where these cost no more than others, elsewhere one by one.
//
// %%
//| export kernels/pooling_kernels.h
namespace kernels {

// Rows of neighbouring windows, all of whose pixels are in the plane: pixel (i, j) of window x of the first row is corner[x * stride + i * row + j * column].
template <class T>
struct PoolingRows {
  const T* corner;
  std::int64_t readable;  // numbers from the corner to the end of memory: what a vector reads beyond its windows is not used
  std::int64_t rows, columns, row, column, stride;
  std::int64_t first, plane;  // where in its plane the corner is, and how large that is: planes behind one another may be one list of rows
  std::int64_t count;
  std::int64_t* winners;  // winners[x] = where in the plane the largest number of window x is: the first one of equals; the last NaN if there is one
  T* values;              // values[x] = that number
  std::int64_t lines;     // how many rows of windows; from one to the next it is corner_step in the plane and result_step in the results
  std::int64_t corner_step, result_step;
};

// One window of an image with channels last, all of whose pixels are in the image: pixel (i, j) has its channels at corner + i * row + j * column, and stands at first + i * place_row + j * place_column of the plane.
template <class T>
struct ChannelWindow {
  const T* corner;
  std::int64_t channels;
  std::int64_t rows, columns, row, column;
  std::int64_t first, place_row, place_column;
  std::int64_t* winners;  // for each channel, as in PoolingRows
  T* values;
};

template <class T>
struct PoolingTable {
  void (*rows)(const PoolingRows<T>& rows);
  void (*channels)(const ChannelWindow<T>& window);
};

struct PoolingKernels {
  PoolingTable<float> in_float;
  PoolingTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(PoolingKernels, pooling_kernels)

}  // namespace kernels

// %%
//| export kernels/pooling.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// The largest numbers of a vector of windows so far, and their distances from their windows' corners.
template <class T>
class Largest {
 public:
  using Tag = hn::ScalableTag<T>;
  using Places = hn::RebindToSigned<Tag>;
  using Place = hn::TFromD<Places>;
  static constexpr std::int64_t kLanes = static_cast<std::int64_t>(hn::MaxLanes(Tag()));

  explicit Largest(const PoolingRows<T>& rows)
      : row_(rows), corners_(hn::Mul(hn::Iota(Places(), 0), places_at(rows.stride == 2 ? 2 : 1))), right_(places_at(1)), below_(places_at(rows.row)), below_right_(places_at(rows.row + 1)) {
    // With pairs the last load begins at an even column.
    const std::int64_t last_column = rows.stride == 2 && rows.column == 1 ? (rows.columns - 1) / 2 * 2 : (rows.columns - 1) * rows.column;
    reach_ = (rows.rows - 1) * rows.row + last_column + kLanes * rows.stride;
  }

  const PoolingRows<T>& row() const { return row_; }
  // To the next row of windows.
  void go_on() {
    row_.corner += row_.corner_step;
    row_.readable -= row_.corner_step;
    row_.first = next_first();
    row_.winners += row_.result_step;
    row_.values += row_.result_step;
  }

  // Windows x to x + count. REQUIRES: count <= kLanes; fits(x).
  void find(std::int64_t x, std::int64_t count) {
    const T* const corner = row_.corner + x * row_.stride;
    if (side_by_side()) {
      hn::Vec<Tag> even, odd, even_below, odd_below;
      hn::LoadInterleaved2(Tag(), corner, even, odd);
      hn::LoadInterleaved2(Tag(), corner + row_.row, even_below, odd_below);
      meet_four(even, odd, even_below, odd_below);
    } else {
      meet_all(corner);
    }
    write(hn::Add(places_, hn::Add(corners_, places_at(row_.first + x * row_.stride))), values_, row_.winners + x, row_.values + x, count);
  }

  // Whether half a vector holds all windows of a row, and a vector those of two rows.
  bool two_rows_fit() const { return kLanes >= 4 && side_by_side() && row_.count <= kLanes / 2 && row_.corner_step + row_.row + kLanes <= row_.readable; }

  // All windows of this row and the next. REQUIRES: two_rows_fit().
  void find_two_rows() {
#if HWY_TARGET != HWY_SCALAR
    const auto load = [&](std::int64_t at, hn::Vec<Tag>& even, hn::Vec<Tag>& odd) {
      const auto first = hn::LoadU(Tag(), row_.corner + at), second = hn::LoadU(Tag(), row_.corner + row_.corner_step + at);
      even = hn::ConcatEven(Tag(), second, first);
      odd = hn::ConcatOdd(Tag(), second, first);
    };
    hn::Vec<Tag> even, odd, even_below, odd_below;
    load(0, even, odd);
    load(row_.row, even_below, odd_below);
    meet_four(even, odd, even_below, odd_below);
    write(hn::Add(places_, hn::Add(corners_, places_at(row_.first))), values_, row_.winners, row_.values, row_.count);
    const auto second = hn::Add(hn::ConcatUpperUpper(Places(), places_, places_), hn::Add(corners_, places_at(next_first())));
    write(second, hn::ConcatUpperUpper(Tag(), values_, values_), row_.winners + row_.result_step, row_.values + row_.result_step, row_.count);
#endif
  }

  // Whether vectors for kLanes windows from x on stay inside of what may be read.
  bool fits(std::int64_t x) const { return x * row_.stride + reach_ <= row_.readable; }

 private:
  std::int64_t next_first() const {
    const std::int64_t next = row_.first + row_.corner_step;
    return next < row_.plane ? next : next - row_.plane;
  }
  static hn::Vec<Places> places_at(std::int64_t place) { return hn::Set(Places(), static_cast<Place>(place)); }

  // Windows of 2 x 2 beside each other, which most networks have: without loops they take a quarter less time.
  bool side_by_side() const { return row_.stride == 2 && row_.rows == 2 && row_.columns == 2 && row_.column == 1; }

  HWY_INLINE void meet_all(const T* corner) {
    bool empty = true;
    const auto meet_next = [&](hn::Vec<Tag> value, std::int64_t at) {
      if (empty) values_ = value, places_ = places_at(at);
      else meet(value, places_at(at));
      empty = false;
    };
    for (std::int64_t i = 0; i < row_.rows; ++i) {
      for (std::int64_t j = 0; j < row_.columns; ++j) {
        const std::int64_t at = i * row_.row + j * row_.column;
        if (row_.stride == 1) {
          meet_next(hn::LoadU(Tag(), corner + at), at);
          continue;
        }
        hn::Vec<Tag> even, odd;
        hn::LoadInterleaved2(Tag(), corner + at, even, odd);
        meet_next(even, at);
        if (row_.column == 1 && j + 1 < row_.columns) meet_next(odd, at + 1), ++j;
      }
    }
  }

  HWY_INLINE void meet_four(hn::Vec<Tag> even, hn::Vec<Tag> odd, hn::Vec<Tag> even_below, hn::Vec<Tag> odd_below) {
    values_ = even;
    places_ = hn::Zero(Places());
    // A sum with a NaN is NaN. Hardly any has one, and a sum costs less than asking for each number.
    if (hn::AllFalse(Tag(), hn::IsNaN(hn::Add(hn::Add(even, odd), hn::Add(even_below, odd_below))))) {
      meet<false>(odd, right_);
      meet<false>(even_below, below_);
      meet<false>(odd_below, below_right_);
    } else {
      meet(odd, right_);
      meet(even_below, below_);
      meet(odd_below, below_right_);
    }
  }

  template <bool MayBeNaN = true>
  HWY_INLINE void meet(hn::Vec<Tag> value, hn::Vec<Places> place) {
    auto wins = hn::Gt(value, values_);
    if constexpr (MayBeNaN) wins = hn::Or(wins, hn::IsNaN(value));
    values_ = hn::IfThenElse(wins, value, values_);
    places_ = hn::IfThenElse(hn::RebindMask(Places(), wins), place, places_);
  }

  // The first `count` of places and values.
  static HWY_INLINE void write(hn::Vec<Places> places, hn::Vec<Tag> values, std::int64_t* winners, T* to, std::int64_t count) {
    if (HWY_TARGET != HWY_AVX3 && count < kLanes) {
      HWY_ALIGN Place found[kLanes];
      HWY_ALIGN T largest[kLanes];
      hn::Store(places, Places(), found);
      hn::Store(values, Tag(), largest);
      std::copy_n(found, count, winners);
      std::copy_n(largest, count, to);
      return;
    }
    write_first(values, Tag(), to, count);
#if HWY_TARGET == HWY_SCALAR
    *winners = hn::GetLane(places);
#else
    const hn::ScalableTag<std::int64_t> wide;
    if constexpr (sizeof(T) == 8) {
      write_first(places, wide, winners, count);
    } else {
      const hn::Half<Places> half;
      write_first(hn::PromoteTo(wide, hn::LowerHalf(half, places)), wide, winners, std::min(count, kLanes / 2));
      if (count > kLanes / 2) write_first(hn::PromoteTo(wide, hn::UpperHalf(half, places)), wide, winners + kLanes / 2, count - kLanes / 2);
    }
#endif
  }

  template <class D>
  static HWY_INLINE void write_first(hn::Vec<D> v, D d, hn::TFromD<D>* to, std::int64_t count) {
    if (count == static_cast<std::int64_t>(hn::MaxLanes(d))) hn::StoreU(v, d, to);
    else hn::BlendedStore(v, hn::FirstN(d, static_cast<std::size_t>(count)), d, to);
  }

  PoolingRows<T> row_;
  std::int64_t reach_;  // how many numbers from its first corner on the vectors of kLanes windows read
  hn::Vec<Places> corners_, right_, below_, below_right_;
  hn::Vec<Tag> values_ = hn::Zero(Tag());
  hn::Vec<Places> places_ = hn::Zero(Places());
};

// The first row of windows.
template <class T>
HWY_INLINE void find_in_line(Largest<T>& largest, const PoolingRows<T>& row, bool by_vectors) {
  std::int64_t x = 0;
  constexpr std::int64_t lanes = Largest<T>::kLanes;
  if (by_vectors) {
    for (; x + lanes <= row.count && largest.fits(x); x += lanes) largest.find(x, lanes);
    if (x < row.count && largest.fits(x)) largest.find(x, row.count - x), x = row.count;
  }
  for (; x < row.count; ++x) {
    const T* const corner = row.corner + x * row.stride;
    std::int64_t place = 0;
    for (std::int64_t i = 0; i < row.rows; ++i) {
      for (std::int64_t j = i == 0 ? 1 : 0; j < row.columns; ++j) {
        const std::int64_t at = i * row.row + j * row.column;
        const T value = corner[at];
        // A selection, not a jump.
        const bool wins = static_cast<bool>(static_cast<int>(value > corner[place]) | static_cast<int>(value != value));
        place = wins ? at : place;
      }
    }
    row.winners[x] = row.first + x * row.stride + place;
    row.values[x] = corner[place];
  }
}

template <class T>
void find_largest(const PoolingRows<T>& rows) {
  const bool by_vectors = (rows.stride == 1 || rows.stride == 2) && rows.plane < (std::int64_t{1} << 30);
  Largest<T> largest(rows);
  for (std::int64_t line = 0; line < rows.lines; ++line) {
    if (by_vectors && line + 1 < rows.lines && largest.two_rows_fit()) {
      largest.find_two_rows();
      largest.go_on();
      ++line;
    } else {
      find_in_line(largest, largest.row(), by_vectors);
    }
    largest.go_on();
  }
}

// The winners of a vector of channels from c on.
template <class T>
HWY_INLINE void find_of_channels(const ChannelWindow<T>& window, std::int64_t c) {
  using Tag = hn::ScalableTag<T>;
  using Places = hn::RebindToSigned<Tag>;
  using Place = hn::TFromD<Places>;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(Tag()));
  const T* const corner = window.corner + c;
  auto values = hn::LoadU(Tag(), corner);
  auto places = hn::Set(Places(), static_cast<Place>(window.first));
  for (std::int64_t i = 0; i < window.rows; ++i)
    for (std::int64_t j = i == 0 ? 1 : 0; j < window.columns; ++j) {
      const auto value = hn::LoadU(Tag(), corner + i * window.row + j * window.column);
      const auto wins = hn::Or(hn::Gt(value, values), hn::IsNaN(value));
      values = hn::IfThenElse(wins, value, values);
      places = hn::IfThenElse(hn::RebindMask(Places(), wins), hn::Set(Places(), static_cast<Place>(window.first + i * window.place_row + j * window.place_column)), places);
    }
  hn::StoreU(values, Tag(), window.values + c);
  const hn::ScalableTag<std::int64_t> wide;
  if constexpr (sizeof(T) == 8) {
    hn::StoreU(places, wide, window.winners + c);
  } else {
    constexpr std::int64_t kWide = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<std::int64_t>()));
    HWY_ALIGN Place found[lanes];
    hn::Store(places, Places(), found);
    for (std::int64_t lane = 0; lane < lanes; lane += kWide) hn::StoreU(hn::PromoteTo(wide, hn::LoadU(hn::Rebind<Place, decltype(wide)>(), found + lane)), wide, window.winners + c + lane);
  }
}

template <class T>
void find_in_channels(const ChannelWindow<T>& window) {
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  std::int64_t c = 0;
  for (; c + lanes <= window.channels; c += lanes) find_of_channels(window, c);
  if (c < window.channels && window.channels >= lanes) return find_of_channels(window, window.channels - lanes);  // some a second time
  for (; c < window.channels; ++c) {
    const T* best = window.corner + c;
    std::int64_t place = window.first;
    for (std::int64_t i = 0; i < window.rows; ++i)
      for (std::int64_t j = i == 0 ? 1 : 0; j < window.columns; ++j) {
        const T* const at = window.corner + c + i * window.row + j * window.column;
        if (!(*at > *best) && *at == *at) continue;
        best = at;
        place = window.first + i * window.place_row + j * window.place_column;
      }
    window.winners[c] = place;
    window.values[c] = *best;
  }
}

}  // namespace

constinit const PoolingKernels pooling_kernels = {{find_largest<float>, find_in_channels<float>}, {find_largest<double>, find_in_channels<double>}};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// Windows that hang over an edge, because of padding or of `ceil_mode`, are few. They are asked pixel by pixel, as in module 09.

// %%
//| export kernels/pooling.cpp
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

// %%
//| export kernels/pooling.cpp
//| registers
void register_tuned_pooling() {
  op::max_pool2d_with_indices.set(Layer::TunedCPU, max_pool_tuned);
}

// %%
//| lesson
// The reference's results of f().
template <class F>
auto by_reference(F f) {
  const kernels::ReferenceKernelsGuard reference;
  return f();
}

// Runs f once for each capability of this machine.
template <class F>
void for_each_capability(F f) {
  for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
    CAPTURE(get_cpu_capability());
    f();
  }
}

// Runs f with this many threads.
template <class F>
auto with_threads(int threads, F f) {
  const int before = get_num_threads();
  set_num_threads(threads);
  auto result = f();
  set_num_threads(before);
  return result;
}

struct Pooling {
  DimVector sizes, kernel, stride, padding, dilation;
  bool ceil_mode;
};

std::vector<Pooling> poolings() {
  return {{{2, 3, 28, 28}, {2, 2}, {2, 2}, {0, 0}, {1, 1}, false}, {{1, 2, 10, 10}, {2, 2}, {2, 2}, {0, 0}, {1, 1}, false}, {{1, 1, 2, 2}, {2, 2}, {2, 2}, {0, 0}, {1, 1}, false},
          {{2, 2, 17, 35}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, false}, {{3, 21, 40}, {3, 3}, {1, 1}, {0, 0}, {1, 1}, false},       {{1, 1, 19, 67}, {2, 5}, {1, 2}, {1, 2}, {2, 1}, false},
          {{1, 2, 15, 33}, {2, 2}, {2, 2}, {0, 0}, {1, 1}, true},  {{1, 1, 40, 50}, {3, 2}, {3, 3}, {0, 0}, {1, 1}, false},    {{1, 1, 33, 41}, {2, 2}, {2, 2}, {0, 0}, {3, 2}, false},
          {{1, 1, 1, 64}, {1, 4}, {1, 2}, {0, 0}, {1, 1}, false},  {{1, 1, 5, 64}, {1, 1}, {2, 2}, {0, 0}, {1, 1}, false},     {{2, 1, 16, 16}, {16, 16}, {16, 16}, {0, 0}, {1, 1}, false}};
}

// %%
TEST_CASE("max pooling: values and positions exactly the reference's, for each form of window, with equal numbers and NaN") {
  manual_seed(672);
  for (const ScalarType type : {kFloat, kDouble}) {
    for (const Pooling& p : poolings()) {
      CAPTURE(p.sizes);
      CAPTURE(p.kernel);
      // Few different numbers, so that windows have equal ones, and some NaN.
      Tensor x = (randn(p.sizes, type) * 2).round();
      x = where(rand(p.sizes) < 0.02, full({}, std::numeric_limits<double>::quiet_NaN(), x.options()), x);
      const auto both = [&] { return max_pool2d_with_indices(x, p.kernel, p.stride, p.padding, p.dilation, p.ceil_mode); };
      const std::tuple<Tensor, Tensor> expected = by_reference(both);
      const Tensor &values = std::get<0>(expected), &indices = std::get<1>(expected);
      const Tensor g = randn(values.sizes(), type);
      const auto gradient_of_images = [&](const Tensor& images) {
        const Tensor leaf = images.detach().requires_grad_();
        return autograd::grad({max_pool2d(leaf, p.kernel, p.stride, p.padding, p.dilation, p.ceil_mode)}, {leaf}, {g})[0];
      };
      CHECK_CLOSE(gradient_of_images(x), by_reference([&] { return gradient_of_images(x); }), 0, 1e-6);
      if (x.dim() == 4) CHECK_CLOSE(gradient_of_images(x.contiguous(MemoryFormat::ChannelsLast)), gradient_of_images(x), 0, 0);
      for_each_capability([&] {
        const auto [tuned, places] = both();
        CHECK_EQ(places, indices);
        CHECK_CLOSE(tuned, values, 0, 0);
      });
      CHECK_EQ(with_threads(1, [&] { return std::get<1>(both()); }), with_threads(3, [&] { return std::get<1>(both()); }));
      // The same images with channels last, some of them with channels for vectors and some left over.
      if (x.dim() != 4) continue;
      const Tensor many = cat({x, -x, x * 2, x + 1, x * -3, x, x, x - 1, x, x, -x, x, x * 5}, 1), last = many.contiguous(MemoryFormat::ChannelsLast);
      const std::tuple<Tensor, Tensor> of_planes = max_pool2d_with_indices(many, p.kernel, p.stride, p.padding, p.dilation, p.ceil_mode);
      for_each_capability([&] {
        const auto [largest, places] = max_pool2d_with_indices(last, p.kernel, p.stride, p.padding, p.dilation, p.ceil_mode);
        CHECK_EQ(places, std::get<1>(of_planes));
        CHECK_CLOSE(largest, std::get<0>(of_planes), 0, 0);
        CHECK(largest.is_contiguous(MemoryFormat::ChannelsLast));
      });
    }
  }
  const Tensor whole = arange(64).view({1, 1, 8, 8});
  CHECK_EQ(max_pool2d(whole, 2), by_reference([&] { return max_pool2d(whole, 2); }));
}

// %% [markdown]
// ## Means of windows
//
// First of images with channels last. One addition must wait for the one before, about four cycles, and a window is a chain of additions. So four vectors of channels go through a window together: four chains, and four loads from each pixel that lie beside each other. The sums are divided where they are, in registers. As an operator of its own, which the division had been, it read all means and
// wrote them once more, a quarter of the pixels for windows of 2 x 2.
//
// Windows differ in which pixels they cover and in what they are divided by. Both come from tables, one for the rows and one for the columns, so that one kernel serves `avg_pool2d`, whose windows are smaller at an edge, and adaptive means, whose windows differ everywhere.
//
// `adaptive_avg_pool2d` is told how many windows there shall be, and finds them itself: of `count` windows over `size` pixels, window i covers the pixels from `floor(i size / count)` to before `ceil((i + 1) size / count)`. Where `count` does not divide `size`, windows differ in length and share pixels:
//
//     5 pixels        a  b  c  d  e
//     3 windows      [a  b]                 0 to 2
//                       [b  c  d]           1 to 4
//                             [d  e]        3 to 5
//
// Chapter 78 computes this by two products with matrices, one for each dimension. A product wants its numbers in rows. Of images with channels last it turned all of them around, multiplied, turned what came out around again for the second product, and once more at the end: a profile had half of the time in transposing, and most of the rest in products with matrices in which hardly any number differs
// from zero. A sum over the window's pixels does nothing but read them, each vector of channels once for each window.
//
// The gradient asks the question from the other side: which windows hold pixel y? Window i does if `i size / count < y + 1` and `(i + 1) size / count > y`. Solved for i, the first one is `floor(y count / size)` and the last one is before `ceil((y + 1) count / size)`: the same formula with `count` and `size` exchanged. In the picture pixel b is held by windows 0 and 1, and the pixels are `size`
// windows over `count` numbers:
//
//     3 gradients     0  1  2               each divided by its window's length: 0 / 2, 1 / 3, 2 / 2
//     pixels a to e  [0] [0 1] [1] [1 2] [2]
//
// `avg_pool2d` has a formula of its own: window i begins at pixel `i stride - padding`, so pixel y is held by the windows from `ceil((y + padding - kernel + 1) / stride)` to `floor((y + padding) / stride)`. Where the stride is larger than the kernel, there may be none.
//
// So one loop serves all four. A pixel's gradient is a sum over one to four windows, most often one, each with the weight that it gave its pixels; it is written once, and nothing is filled with zeros before.
//
// In rows, a window's sum is taken in two steps. The rows of a line of windows are added up, a vector of columns at a time, into a line of sums; then each window adds up its columns of that line. Windows of 3 x 3 take three additions each and not nine, and three for every column. With zeros before and behind the line, windows that hang over an edge are windows like all others.
// Under a stride of 2 the columns of neighbouring windows are every second number of the line, so two vectors are taken apart into even and odd numbers, as above; under larger strides each window is summed by itself:
//
//     three rows      a0 b0 c0 d0 e0 ...        their sums  0 | a b c d e ... | 0        windows, stride 2    0+a+b   b+c+d   d+e+f ...
//                     a1 b1 c1 d1 e1 ...
//                     a2 b2 c2 d2 e2 ...
//
// Module 09 copies the pixels of every window (`im2col`) and sums the copies: of windows of 3 x 3 under a stride of 2 more than twice the image is written and read again.

// %%
//| export kernels/pooling_kernels.h
namespace kernels {

// Windows beside each other of images with channels last. They have the same rows, and columns of their own.
template <class T>
struct LineOfWindows {
  const T* from;  // the first of the rows; pixel (i, j) has its channels at from + i * row + j * channels
  std::int64_t channels;
  std::int64_t rows, row;
  std::int64_t count;                             // windows, whose results are `channels` numbers each, behind one another
  const std::int64_t* firsts;                     // their first columns
  const std::int64_t* lengths;                    // how many columns they have
  std::int64_t divisor = 1;                       // of means: window x is divided by divisor * divisors[x]
  const std::int64_t* divisors = nullptr;
  const T* weights = nullptr;                     // of weighted sums: pixel (i, j) counts weights[i * weight_row + j]
  std::int64_t weight_row = 0;
  T* out;
};

constexpr std::int64_t kWidestVector = 16;

// All windows of planes in rows, which follow each other, as their results do.
template <class T>
struct PlanesOfWindows {
  const T* from;
  std::int64_t planes, height, width;
  std::int64_t lines;                                           // of windows in a plane
  const std::int64_t *firsts, *lengths;                         // for each of them the first of its rows, and how many it has
  const std::int64_t* row_divisors;
  std::int64_t count, kernel, stride, padding;                  // windows of a line; window x has the columns from x stride - padding on
  const T* divisors;                                            // window x of line y is divided by row_divisors[y] divisors[x]; kWidestVector numbers behind them are readable
  T* out;
  T* sums;                                                      // room for room_of_sums(), full of zeros
};
template <class T>
std::int64_t room_of_sums(const PlanesOfWindows<T>& planes) {
  const std::int64_t windows = planes.count * planes.stride + planes.kernel, columns = planes.padding + planes.width;
  return (windows > columns ? windows : columns) + (planes.stride + 1) * kWidestVector;
}

template <class T>
struct WindowMeansTable {
  void (*means)(const LineOfWindows<T>& line);
  void (*weighted_sums)(const LineOfWindows<T>& line);
  void (*means_in_rows)(const PlanesOfWindows<T>& planes);
};

struct WindowMeansKernels {
  WindowMeansTable<float> in_float;
  WindowMeansTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(WindowMeansKernels, window_means_kernels)

}  // namespace kernels

// %%
//| export kernels/pooling.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// `Vectors` vectors of channels of a window from c on, whose sums stay in registers; with Part only the first `count` channels of a vector. Pixel (i, j) is at pixels + i * row + j * channels.
template <bool Weighted, int Vectors, bool Part, class T>
HWY_INLINE void sum_vectors(const LineOfWindows<T>& line, std::int64_t x, std::int64_t c, std::int64_t count) {
  using Tag = hn::ScalableTag<T>;
  const Tag d;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(Tag()));
  const std::int64_t first = line.firsts[x], columns = line.lengths[x];
  hn::Vec<Tag> sums[Vectors];
  for (int v = 0; v < Vectors; ++v) sums[v] = hn::Zero(d);
  for (std::int64_t i = 0; i < line.rows; ++i)
    for (std::int64_t j = first; j < first + columns; ++j) {
      const T* const pixel = line.from + i * line.row + j * line.channels + c;
      const auto weight = hn::Set(d, Weighted ? line.weights[i * line.weight_row + j] : T{1});
      for (int v = 0; v < Vectors; ++v) {
        const auto numbers = Part ? LoadPart(d, pixel, count) : hn::LoadU(d, pixel + v * lanes);
        sums[v] = Weighted ? hn::MulAdd(numbers, weight, sums[v]) : hn::Add(sums[v], numbers);
      }
    }
  const auto divisor = hn::Set(d, Weighted ? T{1} : static_cast<T>(line.divisor * line.divisors[x]));
  T* const out = line.out + x * line.channels + c;
  for (int v = 0; v < Vectors; ++v) {
    const auto result = Weighted ? sums[v] : hn::Div(sums[v], divisor);
    if constexpr (Part) StorePart(result, d, out, count);
    else hn::StoreU(result, d, out + v * lanes);
  }
}

template <bool Weighted, class T>
void sum_line(const LineOfWindows<T>& line) {
  constexpr int kVectors = 4;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  for (std::int64_t x = 0; x < line.count; ++x) {
    std::int64_t c = 0;
    for (; c + kVectors * lanes <= line.channels; c += kVectors * lanes) sum_vectors<Weighted, kVectors, false>(line, x, c, lanes);
    for (; c + lanes <= line.channels; c += lanes) sum_vectors<Weighted, 1, false>(line, x, c, lanes);
    if (c < line.channels) sum_vectors<Weighted, 1, true>(line, x, c, line.channels - c);
  }
}

// sums[padding + x] = the sum of column x over `rows` rows of a plane.
template <class T>
HWY_INLINE void sum_columns_of_rows(const T* from, std::int64_t width, std::int64_t rows, T* sums) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  std::int64_t x = 0;
  for (; x + lanes <= width; x += lanes) {
    auto sum = hn::Zero(d);
    for (std::int64_t i = 0; i < rows; ++i) sum = hn::Add(sum, hn::LoadU(d, from + i * width + x));
    hn::StoreU(sum, d, sums + x);
  }
  if (x == width) return;
  auto sum = hn::Zero(d);
  for (std::int64_t i = 0; i < rows; ++i) sum = hn::Add(sum, LoadPart(d, from + i * width + x, width - x));
  hn::StoreU(sum, d, sums + x);  // with zeros behind the line
}

// The columns j of neighbouring windows, the first of which begins at `line`: every number, or every second one. What lies behind the windows' columns is not used.
template <std::int64_t Stride, class T>
HWY_INLINE hn::Vec<hn::ScalableTag<T>> column_of_windows(const T* line) {
  const hn::ScalableTag<T> d;
  if constexpr (Stride == 1) return hn::LoadU(d, line);
#if HWY_TARGET != HWY_SCALAR
  else return hn::ConcatEven(d, hn::LoadU(d, line + hn::MaxLanes(d)), hn::LoadU(d, line));
#else
  else return hn::LoadU(d, line);  // one window
#endif
}

template <std::int64_t Stride, class T>
HWY_INLINE void means_of_line(const PlanesOfWindows<T>& planes, std::int64_t y, T* out) {
  const hn::ScalableTag<T> d;
  const auto row_divisor = hn::Set(d, static_cast<T>(planes.row_divisors[y]));
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  for (std::int64_t x = 0; x < planes.count; x += lanes) {
    const std::int64_t count = planes.count - x < lanes ? planes.count - x : lanes;
    auto sum = hn::Zero(d);
    for (std::int64_t j = 0; j < planes.kernel; ++j) sum = hn::Add(sum, column_of_windows<Stride>(planes.sums + x * Stride + j));
    const auto result = hn::Div(sum, hn::Mul(row_divisor, hn::LoadU(d, planes.divisors + x)));
    if (count == lanes) hn::StoreU(result, d, out + x);
    else StorePart(result, d, out + x, count);
  }
}

template <class T>
void means_in_rows(const PlanesOfWindows<T>& planes) {
  T* out = planes.out;
  for (std::int64_t p = 0; p < planes.planes; ++p) {
    const T* const plane = planes.from + p * planes.height * planes.width;
    for (std::int64_t y = 0; y < planes.lines; ++y, out += planes.count) {
      sum_columns_of_rows(plane + planes.firsts[y] * planes.width, planes.width, planes.lengths[y], planes.sums + planes.padding);
      if (planes.stride == 1) means_of_line<1>(planes, y, out);
      else if (planes.stride == 2) means_of_line<2>(planes, y, out);
      else
        for (std::int64_t x = 0; x < planes.count; ++x) {
          T sum = 0;
          for (std::int64_t j = 0; j < planes.kernel; ++j) sum += planes.sums[x * planes.stride + j];
          out[x] = sum / (static_cast<T>(planes.row_divisors[y]) * planes.divisors[x]);
        }
    }
  }
}
}  // namespace

constinit const WindowMeansKernels window_means_kernels = {{sum_line<false, float>, sum_line<true, float>, means_in_rows<float>}, {sum_line<false, double>, sum_line<true, double>, means_in_rows<double>}};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| export kernels/pooling.cpp
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

// %%
//| export kernels/pooling.cpp
//| registers
void register_tuned_means() {
  op::window_means.set(Layer::TunedCPU, window_means_tuned);
  op::window_means_backward.set(Layer::TunedCPU, window_means_backward_tuned);
  op::_adaptive_avg_pool2d.set(Layer::TunedCPU, adaptive_avg_tuned);
  op::_adaptive_avg_pool2d_backward.set(Layer::TunedCPU, adaptive_avg_backward_tuned);
}

// %%
//| lesson
// By the definition, in double: the mean of each window, or its gradient.
Tensor means_by_definition(const Tensor& images, std::int64_t height, std::int64_t width) {
  const Tensor x = images.to(kDouble).contiguous(), result = empty({x.size(0), x.size(1), height, width}, kDouble);
  for (std::int64_t i = 0; i < height; ++i) {
    for (std::int64_t j = 0; j < width; ++j) {
      const std::int64_t top = i * x.size(2) / height, left = j * x.size(3) / width;
      const std::int64_t bottom = ((i + 1) * x.size(2) + height - 1) / height, right = ((j + 1) * x.size(3) + width - 1) / width;
      result.select(2, i).select(2, j).copy_(x.slice(2, top, bottom).slice(3, left, right).sum({2, 3}) / static_cast<double>((bottom - top) * (right - left)));
    }
  }
  return result;
}

Tensor gradient_by_definition(const Tensor& grad, std::int64_t height, std::int64_t width) {
  const Tensor g = grad.to(kDouble).contiguous(), result = zeros({g.size(0), g.size(1), height, width}, kDouble);
  for (std::int64_t i = 0; i < g.size(2); ++i) {
    for (std::int64_t j = 0; j < g.size(3); ++j) {
      const std::int64_t top = i * height / g.size(2), left = j * width / g.size(3);
      const std::int64_t bottom = ((i + 1) * height + g.size(2) - 1) / g.size(2), right = ((j + 1) * width + g.size(3) - 1) / g.size(3);
      const Tensor share = g.select(2, i).select(2, j) / static_cast<double>((bottom - top) * (right - left));
      result.slice(2, top, bottom).slice(3, left, right).add_(share.unsqueeze(2).unsqueeze(3));
    }
  }
  return result;
}

// Images with channels last, and how many windows they have.
struct Adaptive {
  DimVector sizes;
  std::int64_t height, width;
};

std::vector<Adaptive> adaptive_poolings() {
  return {{{2, 64, 14, 14}, 7, 7}, {{1, 80, 32, 30}, 7, 4}, {{2, 21, 11, 13}, 7, 5}, {{3, 3, 9, 7}, 2, 7}, {{2, 7, 7, 7}, 7, 7}, {{1, 19, 3, 4}, 7, 9}, {{2, 133, 5, 6}, 1, 4}, {{1, 2, 40, 1}, 6, 1}, {{2, 37, 1, 12}, 1, 5}, {{1, 5, 1, 6}, 3, 2}};
}

// %%
TEST_CASE("average pooling of images with channels last: as the reference, with its gradients, and the order stays") {
  manual_seed(673);
  for (const ScalarType type : {kFloat, kDouble}) {
    const double tolerance = type == kFloat ? 1e-5 : 1e-13;
    for (const Pooling& p : poolings()) {
      if (p.sizes.size() != 4) continue;
      CAPTURE(p.sizes);
      CAPTURE(p.kernel);
      DimVector sizes(p.sizes);
      sizes[1] = 21;
      const Tensor x = randn(sizes, type).contiguous(MemoryFormat::ChannelsLast);
      const auto results = [&] {
        const Tensor leaf = x.clone(MemoryFormat::ChannelsLast).requires_grad_();
        const Tensor y = avg_pool2d(leaf, p.kernel, p.stride, p.padding, p.ceil_mode, false);
        const Tensor slope = autograd::grad({(y * y).sum()}, {leaf}, {}, std::nullopt, true)[0];
        const Tensor second = autograd::grad({(slope * slope).sum()}, {leaf})[0];
        return std::vector<Tensor>{y.detach(), slope.detach(), second};
      };
      const std::vector<Tensor> expected = by_reference(results);
      for_each_capability([&] {
        const std::vector<Tensor> tuned = results();
        for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_CLOSE(tuned[i], expected[i], tolerance, tolerance * 10);
        CHECK(tuned[0].is_contiguous(MemoryFormat::ChannelsLast));
      });
      const std::vector<Tensor> alone = with_threads(1, results), together = with_threads(3, results);
      for (std::size_t i = 0; i < alone.size(); ++i) CHECK_EQ(together[i], alone[i]);
    }
  }
}

TEST_CASE("average pooling of images with channels last: what windows at an edge are divided by, and pixels that no window holds") {
  // One pixel of each of 70 channels, whose number is the channel's, in an image of 5 x 5.
  const Tensor numbers = arange(1.0, 71.0).view({1, 70, 1, 1}), equal = numbers.expand({1, 70, 5, 5}).contiguous(MemoryFormat::ChannelsLast);
  const auto one_channel = [&](const Tensor& means) { return (means / numbers)[0][69]; };
  for_each_capability([&] {
    // Windows of 3 x 3 over rows and columns -1 to 1, 1 to 3 and 3 to 5: with two, three and two pixels inside.
    CHECK_EQ(avg_pool2d(equal, 3, 2, 1, false, false), numbers.expand({1, 70, 3, 3}));
    const Tensor counted = tensor({4.0, 6.0, 4.0, 6.0, 9.0, 6.0, 4.0, 6.0, 4.0}).view({3, 3});
    CHECK_CLOSE(one_channel(avg_pool2d(equal, 3, 2, 1)), counted / 9, 1e-6, 0);
    CHECK_CLOSE(one_channel(avg_pool2d(equal, 3, 2, 1, false, true, -5)), counted / -5, 1e-6, 0);
    // By ceil_mode a window hangs over what was padded, and that never counts.
    CHECK_EQ(avg_pool2d(equal, 2, 2, 0, true), numbers.expand({1, 70, 3, 3}));
    const Tensor leaf = equal.clone(MemoryFormat::ChannelsLast).requires_grad_();
    avg_pool2d(leaf, 1, 2).sum().backward();
    const Tensor held = tensor({1.0, 0.0, 1.0, 0.0, 1.0});
    CHECK_EQ(leaf.grad(), (held.unsqueeze(1) * held).expand({1, 70, 5, 5}));
  });
  // Halves are added and divided in float, and rounded once.
  manual_seed(554);
  for (const ScalarType type : {kHalf, kBFloat16}) {
    const Tensor halves = randn({1, 17, 6, 9}, type).contiguous(MemoryFormat::ChannelsLast);
    for (const Tensor& x : {halves, halves.contiguous()}) CHECK_EQ(avg_pool2d(x, 3), avg_pool2d(x.to(kFloat), 3).to(type));
  }
}

TEST_CASE("average pooling of images in rows: as the reference for strides, edges, ceil_mode and divisors, and the same bits for any number of threads") {
  manual_seed(674);
  struct InRows {
    DimVector sizes, kernel, stride, padding;
  };
  const std::vector<InRows> all{{{2, 3, 14, 14}, {3, 3}, {2, 2}, {0, 0}}, {{2, 3, 14, 15}, {3, 3}, {2, 2}, {1, 1}}, {{1, 2, 9, 40}, {2, 3}, {1, 1}, {1, 1}}, {{1, 2, 7, 71}, {4, 5}, {3, 2}, {2, 2}},
                                {{1, 2, 11, 37}, {3, 5}, {2, 3}, {0, 2}}, {{3, 1, 5, 33}, {1, 1}, {1, 2}, {0, 0}}, {{1, 1, 3, 1}, {3, 1}, {1, 1}, {1, 0}}, {{2, 2, 7, 7}, {7, 7}, {7, 7}, {0, 0}},
                                {{1, 1, 20, 130}, {2, 2}, {2, 2}, {0, 0}}, {{1, 1, 4, 16}, {2, 16}, {2, 1}, {0, 8}}, {{1, 2, 6, 20}, {2, 2}, {4, 4}, {1, 1}}};
  for (const ScalarType type : {kFloat, kDouble}) {
    const double tolerance = type == kFloat ? 2e-6 : 1e-14;
    for (const InRows& p : all) {
      CAPTURE(p.sizes);
      CAPTURE(p.kernel);
      CAPTURE(p.stride);
      const Tensor x = randn(p.sizes, type);
      for (const Tensor& image : {x, x.transpose(2, 3).contiguous().transpose(2, 3), x.select(0, 0)}) {
        const auto results = [&] {
          return std::vector<Tensor>{avg_pool2d(image, p.kernel, p.stride, p.padding, false, true), avg_pool2d(image, p.kernel, p.stride, p.padding, true, true), avg_pool2d(image, p.kernel, p.stride, p.padding, true, false),
                                     avg_pool2d(image, p.kernel, p.stride, p.padding, false, true, -7)};
        };
        const std::vector<Tensor> expected = by_reference(results), alone = with_threads(1, results), together = with_threads(3, results);
        for_each_capability([&] {
          const std::vector<Tensor> tuned = results();
          for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_CLOSE(tuned[i], expected[i], tolerance, tolerance);
        });
        for (std::size_t i = 0; i < alone.size(); ++i) CHECK_EQ(together[i], alone[i]);
      }
    }
  }
  // What is not finite is in its own windows only. Of 3 x 3 under a stride of 2, column 4 is in windows 1 and 2, column 33 in window 16 alone.
  const Tensor odd = ones({1, 1, 3, 70});
  odd[0][0][1][4].fill_(std::numeric_limits<double>::quiet_NaN());
  odd[0][0][2][33].fill_(std::numeric_limits<double>::infinity());
  const Tensor means = ones({1, 1, 1, 34});
  for (const std::int64_t window : {1, 2}) means[0][0][0][window].fill_(std::numeric_limits<double>::quiet_NaN());
  means[0][0][0][16].fill_(std::numeric_limits<double>::infinity());
  for_each_capability([&] { CHECK_CLOSE(avg_pool2d(odd, 3, 2), means, 0, 0); });
  // The gradient is the reference's, and that of the gradient this kernel's.
  const Tensor leaf = randn({2, 3, 14, 17}, kDouble).requires_grad_();
  const auto second = [&] {
    const Tensor y = avg_pool2d(leaf, 3, 2, 1);
    const Tensor slope = autograd::grad({(y * y).sum()}, {leaf}, {}, std::nullopt, true)[0];
    return autograd::grad({(slope * slope).sum()}, {leaf})[0];
  };
  CHECK_CLOSE(second(), by_reference(second), 1e-12, 1e-14);
}

TEST_CASE("adaptive average pooling of images with channels last: means and gradients by the definition, and the order stays") {
  manual_seed(551);
  for (const ScalarType type : {kFloat, kDouble}) {
    const double tolerance = type == kFloat ? 2e-6 : 1e-14;
    for (const Adaptive& p : adaptive_poolings()) {
      CAPTURE(p.sizes);
      CAPTURE(p.height);
      CAPTURE(p.width);
      const Tensor x = randn(p.sizes, type).contiguous(MemoryFormat::ChannelsLast), g = randn({p.sizes[0], p.sizes[1], p.height, p.width}, type);
      const Tensor means = means_by_definition(x, p.height, p.width), slopes = gradient_by_definition(g, p.sizes[2], p.sizes[3]);
      const auto results = [&](const Tensor& arrives) {
        const Tensor leaf = x.detach().requires_grad_(), y = adaptive_avg_pool2d(leaf, {p.height, p.width});
        return std::vector<Tensor>{y.detach(), autograd::grad({y}, {leaf}, {arrives})[0]};
      };
      for_each_capability([&] {
        for (const Tensor& arrives : {g, g.contiguous(MemoryFormat::ChannelsLast)}) {
          const std::vector<Tensor> both = results(arrives);
          CHECK_EQ(both[0].scalar_type(), type);
          CHECK_CLOSE(both[0].to(kDouble), means, tolerance, tolerance);
          CHECK_CLOSE(both[1].to(kDouble), slopes, tolerance, tolerance);
          for (const Tensor& result : both) CHECK(result.is_contiguous(MemoryFormat::ChannelsLast));
        }
      });
      const std::vector<Tensor> alone = with_threads(1, [&] { return results(g); }), together = with_threads(3, [&] { return results(g); }), reference = by_reference([&] { return results(g); });
      for (std::size_t i = 0; i < alone.size(); ++i) {
        CHECK_EQ(together[i], alone[i]);
        CHECK_CLOSE(reference[i], alone[i], tolerance * 4, tolerance * 4);
      }
    }
  }
}

TEST_CASE("adaptive average pooling: second derivatives, equal numbers and half precision") {
  manual_seed(552);
  const Tensor x = randn({2, 9, 7, 8}, kDouble).contiguous(MemoryFormat::ChannelsLast);
  const auto second = [&] {
    const Tensor leaf = x.detach().requires_grad_(), y = adaptive_avg_pool2d(leaf, {3, 5});
    const Tensor slope = autograd::grad({(y * y).sum()}, {leaf}, {}, std::nullopt, true)[0];
    return autograd::grad({(slope * slope).sum()}, {leaf})[0];
  };
  // Of y = A x the slope is 2 A'A x, and the gradient of its square 8 A'A A'A x.
  const auto twice = [](const Tensor& at) { return gradient_by_definition(means_by_definition(at, 3, 5), 7, 8); };
  CHECK_CLOSE(second(), twice(twice(x)) * 8, 1e-12, 1e-13);
  CHECK_CLOSE(by_reference(second), twice(twice(x)) * 8, 1e-12, 1e-13);
  // A mean of equal numbers is that number, since it is a sum divided by how many there are. In float 55 times (1 / 55) is not 1.
  const Tensor numbers = arange(1.0, 101.0).view({1, 100, 1, 1}), equal = numbers.expand({1, 100, 10, 22}).contiguous(MemoryFormat::ChannelsLast);
  for_each_capability([&] { CHECK_EQ(adaptive_avg_pool2d(equal, 2), numbers.expand({1, 100, 2, 2})); });
  // Halves are added in float and rounded once.
  for (const ScalarType type : {kHalf, kBFloat16}) {
    const Tensor halves = randn({1, 17, 30, 31}, type).contiguous(MemoryFormat::ChannelsLast), g = randn({1, 17, 3, 2}, type);
    const auto both = [&](const Tensor& images) {
      const Tensor leaf = images.detach().requires_grad_(), y = adaptive_avg_pool2d(leaf, {3, 2});
      CHECK(y.is_contiguous(MemoryFormat::ChannelsLast));
      return std::pair(y.detach(), autograd::grad({y}, {leaf}, {g.to(images.scalar_type())})[0]);
    };
    const auto [means, slopes] = both(halves);
    const auto [exact_means, exact_slopes] = both(halves.to(kFloat));
    CHECK_EQ(means, exact_means.to(type));
    CHECK_EQ(slopes, exact_slopes.to(type));
  }
}

TEST_CASE("adaptive average pooling: NaN stays in the windows that hold it, and in the pixels of a window") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const std::int64_t channels : {3, 16, 70}) {
    CAPTURE(channels);
    const Tensor x = ones({1, channels, 5, 5}).contiguous(MemoryFormat::ChannelsLast), g = ones({1, channels, 3, 3}).contiguous(MemoryFormat::ChannelsLast);
    x.select(1, channels - 1).select(1, 1).select(1, 2).fill_(nan);  // row 1 is in windows 0 and 1, column 2 in window 1
    g.select(1, channels - 1).select(1, 2).select(1, 0).fill_(nan);  // rows 3 and 4, columns 0 and 1
    Tensor means = ones({1, channels, 3, 3}), slopes = gradient_by_definition(ones({1, channels, 3, 3}), 5, 5).to(kFloat);
    means.select(1, channels - 1).slice(1, 0, 2).select(2, 1).fill_(nan);
    slopes.select(1, channels - 1).slice(1, 3, 5).slice(2, 0, 2).fill_(nan);
    for_each_capability([&] {
      const Tensor leaf = x.detach().requires_grad_(), y = adaptive_avg_pool2d(leaf, 3);
      CHECK_EQ(y.detach(), means);
      CHECK_CLOSE(autograd::grad({y}, {leaf}, {g})[0], slopes, 1e-6, 1e-6);
    });
  }
}

TEST_CASE("adaptive average pooling: a dimension of size 1 may have any stride, and images may be a part of larger ones") {
  manual_seed(553);
  // One image and one row of a larger tensor: the strides of these dimensions lead nowhere.
  const Tensor many = randn({3, 6, 9, 20}), one = many.narrow(0, 1, 1).narrow(1, 2, 1).permute({0, 3, 1, 2});  // (1, 20, 1, 9)
  const Tensor odd = one.as_strided({1, 20, 1, 9}, {77, 1, 5, 20}, one.storage_offset()), column = many.as_strided({2, 20, 9, 1}, {180, 1, 20, 7});
  const Tensor narrow = randn({2, 9, 6, 40}).narrow(3, 3, 21).permute({0, 3, 1, 2});  // channels beside each other, and more between the pixels
  for (const Tensor& x : {one, odd, column, narrow}) {
    CAPTURE(x.strides());
    const std::int64_t height = x.size(2) == 1 ? 1 : 4, width = x.size(3) == 1 ? 1 : 4;
    for_each_capability([&] { CHECK_CLOSE(adaptive_avg_pool2d(x, {height, width}).to(kDouble), means_by_definition(x, height, width), 2e-6, 2e-6); });
    const Tensor leaf = x.detach().requires_grad_(), y = adaptive_avg_pool2d(leaf, {height, width});
    const Tensor g = randn(y.sizes()), first = autograd::grad({y}, {leaf}, {g}, std::nullopt, true)[0];
    CHECK_CLOSE(first.detach().to(kDouble), gradient_by_definition(g, x.size(2), x.size(3)), 2e-6, 2e-6);
    // A gradient that is one number for all has strides of zero.
    CHECK_CLOSE(autograd::grad({y.sum()}, {leaf})[0].to(kDouble), gradient_by_definition(ones(y.sizes()), x.size(2), x.size(3)), 2e-6, 2e-6);
  }
}

// %%
DEMO("pooling of an image of LeNet-5 and of one with channels last: reference and tuned, one thread") {
  const int before = get_num_threads();
  set_num_threads(1);
  const Tensor image = randn({64, 6, 28, 28}), pooled = randn({64, 6, 14, 14}), last = randn({8, 64, 56, 56}).contiguous(MemoryFormat::ChannelsLast);
  const auto seconds = [](const auto& f) { return measure([&] { do_not_optimize(f()); }, {.samples = 3}).minimum; };
  const auto compare = [&](const char* what, const auto& f) {
    const double tuned = seconds(f), reference = by_reference([&] { return seconds(f); });
    std::printf("  %-44s %9.1f us   reference %9.1f us   %5.1f times\n", what, tuned * 1e6, reference * 1e6, reference / tuned);
  };
  compare("max_pool2d", [&] { return max_pool2d(image, 2); });
  compare("max_pool2d and its gradient", [&] {
    const Tensor leaf = image.detach().requires_grad_();
    max_pool2d(leaf, 2).backward(pooled);
    return leaf.grad();
  });
  compare("max_pool2d, channels last", [&] { return max_pool2d(last, 2); });
  compare("avg_pool2d, channels last", [&] { return avg_pool2d(last, 2); });
  compare("avg_pool2d, 3 x 3 by 2, in rows", [&] { return avg_pool2d(image, 3, 2); });
  compare("adaptive_avg_pool2d to 7 x 7, channels last", [&] { return adaptive_avg_pool2d(last, 7); });
  set_num_threads(before);
}

// %% [markdown]
// ## Where to read on
//
// PyTorch has a kernel for each order in memory: `aten/src/ATen/native/cpu/MaxPoolKernel.cpp`, `AvgPoolKernel.cpp` and `AdaptiveAvgPoolKernel.cpp`. With channels last, vectors of its class `Vectorized` walk over all channels of a pixel and add them to a buffer; here the buffer is four registers. Its gradient of an adaptive mean fills an image with zeros and adds to each window's pixels, where this chapter asks
// each pixel for its windows. Images in rows are asked pixel by pixel there. oneDNN generates instructions for each form of window when it first meets it (`src/cpu/x64/jit_uni_pool_kernel.cpp`).

// %%
}  // namespace tinytorch
