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
// Pooling makes one number of a window of pixels: the largest of them, or their mean. Module 09 finds the largest by asking each pixel, and sums a window by making columns of the image first. Both give the right numbers, and both are slow for reasons that have nothing to do with arithmetic: the first because the processor cannot guess how a comparison comes out, the second because every pixel is copied
// once for each window that holds it.
//
// This chapter computes the same numbers in the layer TunedCPU, with vectors. Which numbers a vector can hold depends on how an image lies in memory:
//
//     (N, C, H, W)                     a row of a channel is contiguous: a vector holds windows that are neighbours in their row
//     the same, with channels last     the channels of a pixel are contiguous: a vector holds the same window of 8 or 16 channels
//
// For the largest number both forms are written; for sums the second one, because in the first a product with columns is fast enough. Results keep the order in memory of what they were computed from.

// %%
//| after 16
//| export kernels/pooling_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/pooling.cpp
#include <algorithm>
#include <cstdint>
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/pooling_kernels.h"
#include "tinytorch/nn/pool.h"

// %%
//| export kernels/pooling.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include <algorithm>
#include "tinytorch/kernels/pooling_kernels.h"

// %%
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <tuple>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
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

// Sums of windows and their gradient, of images with channels last.
template <class T>
struct WindowSumTable {
  // out[c] = the sum over i < rows and j < columns of corner[i * row + j * column + c], for c < channels.
  void (*sum)(const T* corner, std::int64_t channels, std::int64_t rows, std::int64_t columns, std::int64_t row, std::int64_t column, T* out);
  // corner[i * row + j * column + c] += grad[c] for the same; without `adds` it is written.
  void (*spread)(const T* grad, std::int64_t channels, std::int64_t rows, std::int64_t columns, std::int64_t row, std::int64_t column, bool adds, T* corner);
};

struct PoolingKernels {
  WindowSumTable<float> sums_in_float;
  WindowSumTable<double> sums_in_double;
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

template <class T>
void sum_window(const T* corner, std::int64_t channels, std::int64_t rows, std::int64_t columns, std::int64_t row, std::int64_t column, T* out) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  std::int64_t c = 0;
  for (; c + lanes <= channels; c += lanes) {
    auto sum = hn::Zero(d);
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < columns; ++j) sum = hn::Add(sum, hn::LoadU(d, corner + i * row + j * column + c));
    hn::StoreU(sum, d, out + c);
  }
  for (; c < channels; ++c) {
    T sum{0};
    for (std::int64_t i = 0; i < rows; ++i)
      for (std::int64_t j = 0; j < columns; ++j) sum += corner[i * row + j * column + c];
    out[c] = sum;
  }
}

template <class T>
void spread_window(const T* grad, std::int64_t channels, std::int64_t rows, std::int64_t columns, std::int64_t row, std::int64_t column, bool adds, T* corner) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t j = 0; j < columns; ++j) {
      T* const to = corner + i * row + j * column;
      std::int64_t c = 0;
      for (; c + lanes <= channels; c += lanes) {
        const auto g = hn::LoadU(d, grad + c);
        hn::StoreU(adds ? hn::Add(hn::LoadU(d, to + c), g) : g, d, to + c);
      }
      for (; c < channels; ++c) to[c] = adds ? to[c] + grad[c] : grad[c];
    }
}
}  // namespace

constinit const PoolingKernels pooling_kernels = {{sum_window<float>, spread_window<float>}, {sum_window<double>, spread_window<double>}, {find_largest<float>, find_in_channels<float>}, {find_largest<double>, find_in_channels<double>}};
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

// Windows have no dilation here.
bool sums_in_channels(const Tensor& self) {
  return (self.scalar_type() == kFloat || self.scalar_type() == kDouble) && self.numel() > 0 && has_channels_last(self);
}

template <class F>
void in_pooled_type(ScalarType type, F f) {
  if (type == kFloat) f(pooling_table().sums_in_float);
  else f(pooling_table().sums_in_double);
}

Tensor window_sums_tuned(const Tensor& self, IntArrayRef output, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding) {
  if (!sums_in_channels(self)) return op::window_sums.function(Layer::CPU)(self, output, kernel, stride, padding);
  const std::int64_t N = self.size(0), C = self.size(1), height = output[0], width = output[1];
  const PooledLine rows(self.size(2), kernel[0], stride[0], padding[0], 1, height), columns(self.size(3), kernel[1], stride[1], padding[1], 1, width);
  const Tensor result = empty({N, height, width, C}, self.options());
  in_pooled_type(self.scalar_type(), [&]<class T>(const kernels::WindowSumTable<T>& table) {
    parallel_for(0, N * height, std::max<std::int64_t>(1, 16384 / (width * C)), [&, from = self.data<T>(), to = result.data<T>()](std::int64_t begin, std::int64_t end) {
      for (std::int64_t line = begin; line < end; ++line) {
        const std::int64_t y = line % height, i = rows.first_inside(y);
        for (std::int64_t x = 0; x < width; ++x) {
          const std::int64_t j = columns.first_inside(x), first = (line / height * rows.size + rows.begin(y) + i) * columns.size + columns.begin(x) + j;
          table.sum(from + first * C, C, rows.stop_inside(y) - i, columns.stop_inside(x) - j, columns.size * C, C, to + (line * width + x) * C);
        }
      }
    });
  });
  return result.permute({0, 3, 1, 2});
}

Tensor window_sums_backward_tuned(const Tensor& grad, IntArrayRef size, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding) {
  if (!sums_in_channels(grad)) return op::window_sums_backward.function(Layer::CPU)(grad, size, kernel, stride, padding);
  const std::int64_t N = grad.size(0), C = grad.size(1), height = grad.size(2), width = grad.size(3);
  const PooledLine rows(size[0], kernel[0], stride[0], padding[0], 1, height), columns(size[1], kernel[1], stride[1], padding[1], 1, width);
  const Tensor result = empty({N, size[0], size[1], C}, grad.options());
  // Where windows lie edge to edge, each pixel is in one of them. Elsewhere an image is a task, since its windows may share pixels.
  const auto tiles = [](const PooledLine& line, std::int64_t count) { return line.stride == line.kernel && line.padding == 0 && count * line.stride == line.size; };
  const bool once = tiles(rows, height) && tiles(columns, width);
  in_pooled_type(grad.scalar_type(), [&]<class T>(const kernels::WindowSumTable<T>& table) {
    const T* const from = grad.data<T>();
    T* const to = result.data<T>();
    const auto spread = [&](std::int64_t line) {
      const std::int64_t y = line % height, i = rows.first_inside(y);
      for (std::int64_t x = 0; x < width; ++x) {
        const std::int64_t j = columns.first_inside(x), first = (line / height * rows.size + rows.begin(y) + i) * columns.size + columns.begin(x) + j;
        table.spread(from + (line * width + x) * C, C, rows.stop_inside(y) - i, columns.stop_inside(x) - j, columns.size * C, C, !once, to + first * C);
      }
    };
    if (once) {
      parallel_for(0, N * height, std::max<std::int64_t>(1, 16384 / (width * C)), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t line = begin; line < end; ++line) spread(line);
      });
    } else {
      const std::int64_t image = size[0] * size[1] * C;
      parallel_for(0, N, std::max<std::int64_t>(1, 16384 / image), [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t n = begin; n < end; ++n) {
          std::fill_n(to + n * image, image, T{0});
          for (std::int64_t line = n * height; line < (n + 1) * height; ++line) spread(line);
        }
      });
    }
  });
  return result.permute({0, 3, 1, 2});
}
}  // namespace

// %%
//| export kernels/pooling.cpp
//| registers
void register_tuned_pooling() {
  op::max_pool2d_with_indices.set(Layer::TunedCPU, max_pool_tuned);
  op::window_sums.set(Layer::TunedCPU, window_sums_tuned);
  op::window_sums_backward.set(Layer::TunedCPU, window_sums_backward_tuned);
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
  set_num_threads(before);
}

// %% [markdown]
// ## Where to read on
//
// PyTorch's `aten/src/ATen/native/cpu/MaxPoolKernel.cpp` and `AvgPoolKernel.cpp` have vectors for images with channels last, written with its `Vectorized` class; an image in the usual order is asked pixel by pixel there, since the pixels of neighbouring windows would have to be taken apart first. oneDNN generates the instructions for each form of window when it is first met (`src/cpu/x64/jit_uni_pool_kernel.cpp`).
// A network that runs after each pooling what does not depend on neighbours, as XLA and `torch.compile` arrange it, writes the pooled image only.

// %%
}  // namespace tinytorch
