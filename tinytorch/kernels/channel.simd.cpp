// From the lesson modules/56_product_convolutions/product_convolutions_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include <utility>
#include "tinytorch/kernels/channel_kernels.h"

namespace tinytorch {

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <class T>
using Tag = hn::ScalableTag<T>;
template <class T>
using Vector = hn::Vec<Tag<T>>;
template <class T>
constexpr int kLanes = static_cast<int>(hn::MaxLanes(Tag<T>()));

// As in module 16: twelve rows of two vectors where there are 32 registers.
constexpr int kTileRows = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON ? 12 : HWY_TARGET == HWY_SCALAR ? 4 : 6;

// The first `count` numbers at `from`, then zeros.
template <class T>
HWY_INLINE Vector<T> load_first(const T* from, int count) {
  const Tag<T> d;
  if (count >= kLanes<T>) return hn::LoadU(d, from);
  T buffer[kLanes<T>] = {};
  for (int j = 0; j < count; ++j) buffer[j] = from[j];
  return hn::LoadU(d, buffer);
}

// The first `count` numbers of a vector of results.
template <class T>
HWY_INLINE void store_first(Vector<T> sum, T* out, int count) {
  const Tag<T> d;
  if (count >= kLanes<T>) return hn::StoreU(sum, d, out);
  T buffer[kLanes<T>];
  hn::StoreU(sum, d, buffer);
  for (int j = 0; j < count; ++j) out[j] = buffer[j];
}

// Rows rows and one or two Vectors of columns. Each pointer leads to four rows, as in module 16: one for all would need more distances than there are registers.
template <class T, int Rows, int Vectors>
void pixel_tile(const PixelTile<T>& tile, int columns) {
  constexpr int kPointers = (Rows + 3) / 4;
  const Tag<T> d;
  Vector<T> left[Rows];
  Vector<T> right[Rows];
  HWY_UNROLL(12)
  for (int i = 0; i < Rows; ++i) left[i] = right[i] = hn::Zero(d);
  const std::int64_t row = tile.a_row, a_k = tile.a_k, b_k = tile.b_k;
  for (std::int64_t l = 0; l < tile.lines; ++l) {
    const T* a[kPointers];
    HWY_UNROLL(3)
    for (int q = 0; q < kPointers; ++q) a[q] = tile.a + tile.offsets[l] + q * 4 * row;
    const T* b = tile.b + l * tile.b_line;
    for (std::int64_t k = 0; k < tile.length; ++k) {
      const Vector<T> b_left = hn::LoadU(d, b);
      Vector<T> b_right = b_left;
      if (Vectors == 2) b_right = hn::LoadU(d, b + kLanes<T>);
      HWY_UNROLL(12)
      for (int i = 0; i < Rows; ++i) {
        const Vector<T> factor = hn::Set(d, a[i / 4][i % 4 * row]);
        left[i] = hn::MulAdd(factor, b_left, left[i]);
        if (Vectors == 2) right[i] = hn::MulAdd(factor, b_right, right[i]);
      }
      HWY_UNROLL(3)
      for (int q = 0; q < kPointers; ++q) a[q] += a_k;
      b += b_k;
    }
  }
  if (tile.start != nullptr) {
    HWY_UNROLL(12)
    for (int i = 0; i < Rows; ++i) {
      const T* const start = tile.start + i * tile.start_row;
      left[i] = hn::Add(left[i], load_first(start, columns));
      if (Vectors == 2) right[i] = hn::Add(right[i], load_first(start + kLanes<T>, columns - kLanes<T>));
    }
  }
  HWY_UNROLL(12)
  for (int i = 0; i < Rows; ++i) {
    T* const out = tile.out + i * tile.out_row;
    store_first<T>(left[i], out, columns);
    if (Vectors == 2) store_first<T>(right[i], out + kLanes<T>, columns - kLanes<T>);
  }
}

template <class T, int... Index>
HWY_INLINE void choose_tile(const PixelTile<T>& tile, int rows, int columns, std::integer_sequence<int, Index...>) {
  using Kernel = void (*)(const PixelTile<T>&, int);
  static constexpr Kernel narrow[] = {pixel_tile<T, Index + 1, 1>...};
  static constexpr Kernel wide[] = {pixel_tile<T, Index + 1, 2>...};
  (columns <= kLanes<T> ? narrow : wide)[rows - 1](tile, columns);
}

template <class T>
void any_pixel_tile(const PixelTile<T>& tile, int rows, int columns) {
  choose_tile(tile, rows, columns, std::make_integer_sequence<int, kTileRows>());
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// Windows [i, i + Windows), channels [c, c + lanes of d).
template <int Windows, class D, class T>
HWY_INLINE void sum_windows(D d, const ChannelWindows<T>& p, std::int64_t i, std::int64_t c) {
  hn::Vec<D> sums[Windows];
  const hn::Vec<D> start = hn::LoadU(d, p.start + c);
  HWY_UNROLL(8)
  for (int j = 0; j < Windows; ++j) sums[j] = start;
  const std::int64_t at = p.at + i * p.step + c;
  for (std::int64_t t = 0; t < p.taps; ++t) {
    const auto weights = hn::LoadU(d, p.weights + t * p.channels + c);
    const T* const pixels = p.image + (at + p.offsets[t]);
    HWY_UNROLL(8)
    for (int j = 0; j < Windows; ++j) sums[j] = hn::MulAdd(weights, hn::LoadU(d, pixels + j * p.step), sums[j]);
  }
  HWY_UNROLL(8)
  for (int j = 0; j < Windows; ++j) hn::StoreU(sums[j], d, p.out + (i + j) * p.out_step + c);
}

// The same where windows and the kernel's Columns columns are neighbours, so that a pixel is under up to Columns of the windows: it is loaded once for all.
template <int Windows, int Columns, class D, class T>
HWY_INLINE void slide_windows(D d, const ChannelWindows<T>& p, std::int64_t i, std::int64_t c) {
  hn::Vec<D> sums[Windows];
  const hn::Vec<D> start = hn::LoadU(d, p.start + c);
  HWY_UNROLL(8)
  for (int j = 0; j < Windows; ++j) sums[j] = start;
  const std::int64_t at = p.at + i * p.step + c;
  for (std::int64_t t = 0; t < p.taps; t += Columns) {
    hn::Vec<D> weights[Columns];
    HWY_UNROLL(7)
    for (int k = 0; k < Columns; ++k) weights[k] = hn::LoadU(d, p.weights + (t + k) * p.channels + c);
    const T* const pixels = p.image + (at + p.offsets[t]);
    HWY_UNROLL(14)
    for (int x = 0; x < Windows + Columns - 1; ++x) {
      const auto pixel = hn::LoadU(d, pixels + x * p.step);
      HWY_UNROLL(7)
      for (int k = 0; k < Columns; ++k)
        if (x >= k && x - k < Windows) sums[x - k] = hn::MulAdd(weights[k], pixel, sums[x - k]);
    }
  }
  HWY_UNROLL(8)
  for (int j = 0; j < Windows; ++j) hn::StoreU(sums[j], d, p.out + (i + j) * p.out_step + c);
}

// All windows, channels [c, c + lanes of d).
template <class D, class T>
HWY_INLINE void sum_row(D d, const ChannelWindows<T>& p, std::int64_t c) {
  std::int64_t i = 0;
  if (p.slides == 3)
    for (; i + 8 <= p.windows; i += 8) slide_windows<8, 3>(d, p, i, c);
  if (p.slides == 5)
    for (; i + 8 <= p.windows; i += 8) slide_windows<8, 5>(d, p, i, c);
  if (p.slides == 7)
    for (; i + 8 <= p.windows; i += 8) slide_windows<8, 7>(d, p, i, c);
  for (; i + 8 <= p.windows; i += 8) sum_windows<8>(d, p, i, c);
  if (i + 4 <= p.windows) sum_windows<4>(d, p, i, c), i += 4;
  if (i + 2 <= p.windows) sum_windows<2>(d, p, i, c), i += 2;
  if (i < p.windows) sum_windows<1>(d, p, i, c);
}

template <class T>
void sum_by_channel(const ChannelWindows<T>& p) {
  const Tag<T> d;
  const hn::CappedTag<T, 4> few;
  const hn::CappedTag<T, 1> one;
  constexpr std::int64_t kFew = static_cast<std::int64_t>(hn::MaxLanes(hn::CappedTag<T, 4>()));
  std::int64_t c = 0;
  for (; c + kLanes<T> <= p.channels; c += kLanes<T>) sum_row(d, p, c);
  for (; c + kFew <= p.channels; c += kFew) sum_row(few, p, c);
  for (; c < p.channels; ++c) sum_row(one, p, c);
}

// Taps numbers of the kernel from t on, channels [c, c + lanes of d).
template <int Taps, class D, class T>
void sum_taps(D d, const ChannelSums<T>& p, std::int64_t t, std::int64_t c) {
  hn::Vec<D> sums[Taps];
  HWY_UNROLL(9)
  for (int k = 0; k < Taps; ++k) sums[k] = hn::LoadU(d, p.out + p.numbers[t + k] * p.channels + c);
  for (std::int64_t l = 0; l < p.lines; ++l) {
    const T* const grad = p.grad + p.grad_at[l] + c;
    const T* pixels[Taps];
    HWY_UNROLL(9)
    for (int k = 0; k < Taps; ++k) pixels[k] = p.image + (p.at[l] + p.offsets[t + k] + c);
    for (std::int64_t i = 0; i < p.windows; ++i) {
      const auto slope = hn::LoadU(d, grad + i * p.channels);
      HWY_UNROLL(9)
      for (int k = 0; k < Taps; ++k) sums[k] = hn::MulAdd(slope, hn::LoadU(d, pixels[k] + i * p.step), sums[k]);
    }
  }
  HWY_UNROLL(9)
  for (int k = 0; k < Taps; ++k) hn::StoreU(sums[k], d, p.out + p.numbers[t + k] * p.channels + c);
}

template <class D, class T>
void sum_all_taps(D d, const ChannelSums<T>& p, std::int64_t c) {
  std::int64_t t = 0;
  for (; t + 9 <= p.taps; t += 9) sum_taps<9>(d, p, t, c);
  if (t + 6 <= p.taps) sum_taps<6>(d, p, t, c), t += 6;
  for (; t + 4 <= p.taps; t += 4) sum_taps<4>(d, p, t, c);
  for (; t < p.taps; ++t) sum_taps<1>(d, p, t, c);
}

template <class T>
void sum_slopes_by_channel(const ChannelSums<T>& p) {
  const Tag<T> d;
  const hn::CappedTag<T, 1> one;
  std::int64_t c = p.first;
  for (; c + kLanes<T> <= p.stop; c += kLanes<T>) sum_all_taps(d, p, c);
  for (; c < p.stop; ++c) sum_all_taps(one, p, c);
}

template <class T>
constexpr ChannelTable<T> table_of = {kTileRows, 2 * kLanes<T>, any_pixel_tile<T>, sum_by_channel<T>, sum_slopes_by_channel<T>};
}  // namespace

constinit const ChannelKernels channel_kernels = {table_of<float>, table_of<double>};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
