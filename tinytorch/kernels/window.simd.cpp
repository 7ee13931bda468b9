// From the lesson modules/75_convolution_kernels/convolution_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include <utility>
#include "tinytorch/kernels/window_kernels.h"

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

// As in module 16: 32 vector registers or 16, and masks that do not touch what they leave out.
constexpr bool kManyRegisters = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON;
constexpr int kTileRows = kManyRegisters ? 12 : HWY_TARGET == HWY_SCALAR ? 4 : 6;
constexpr bool kMasksAreSafe = HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3;

// The first `count` numbers at `from`, fewer than a vector has, then zeros.
template <class T>
HWY_INLINE Vector<T> load_first(const T* from, int count) {
  const Tag<T> d;
  if constexpr (kMasksAreSafe) return hn::MaskedLoad(hn::FirstN(d, static_cast<std::size_t>(count)), d, from);
  T buffer[kLanes<T>] = {};
  for (int i = 0; i < count; ++i) buffer[i] = from[i];
  return hn::LoadU(d, buffer);
}

// One row of a vector of windows.
template <class T>
HWY_INLINE void finish_windows(Vector<T> sum, T* out, int count, bool adds) {
  const Tag<T> d;
  if (count == kLanes<T>) return hn::StoreU(adds ? hn::Add(sum, hn::LoadU(d, out)) : sum, d, out);
  T buffer[kLanes<T>];
  hn::StoreU(sum, d, buffer);
  for (int i = 0; i < count; ++i) out[i] = adds ? buffer[i] + out[i] : buffer[i];
}

template <class T, int Rows>
void window_tile(const WindowTile<T>& tile) {
  const Tag<T> d;
  Vector<T> left[Rows];
  Vector<T> right[Rows];
  HWY_UNROLL(12)
  for (int i = 0; i < Rows; ++i) left[i] = right[i] = hn::Set(d, tile.start[i]);
  for (std::int64_t run = 0; run < tile.runs; ++run) {
    const std::int64_t* const offsets = tile.offsets + run * tile.run_step;
    const T* a = tile.a + run * tile.run_step * Rows;
    for (std::int64_t k = 0; k < tile.in_run; ++k) {
      const std::int64_t offset = offsets[k];
      const Vector<T> b_left = hn::LoadU(d, tile.left.corner + offset);
      const Vector<T> b_right = hn::LoadU(d, tile.right.corner + offset);
      HWY_UNROLL(12)
      for (int i = 0; i < Rows; ++i) {
        const Vector<T> factor = hn::Set(d, a[i]);
        left[i] = hn::MulAdd(factor, b_left, left[i]);
        right[i] = hn::MulAdd(factor, b_right, right[i]);
      }
      a += Rows;
    }
  }
  HWY_UNROLL(12)
  for (int i = 0; i < Rows; ++i) {
    finish_windows<T>(left[i], tile.left.out + i * tile.out_row, tile.left.count, tile.adds);
    if (tile.right.count > 0) finish_windows<T>(right[i], tile.right.out + i * tile.out_row, tile.right.count, tile.adds);
  }
}

// One vector of windows in each of Rows rows. Where a column of the kernel is Taps numbers, one row apart, a line of pixels is under up to Taps of the rows: it is loaded once for all.
template <class T, int Rows, int Taps>
void window_rows(const WindowRows<T>& p, int count) {
  const Tag<T> d;
  Vector<T> sums[Rows];
  HWY_UNROLL(8)
  for (int i = 0; i < Rows; ++i) sums[i] = hn::Set(d, p.start);
  for (std::int64_t t = 0; t < p.taps; t += Taps) {
    const T* const pixels = p.corner + p.offsets[t];
    Vector<T> weights[Taps];
    HWY_UNROLL(7)
    for (int k = 0; k < Taps; ++k) weights[k] = hn::Set(d, p.weights[t + k]);
    HWY_UNROLL(14)
    for (int y = 0; y < Rows + Taps - 1; ++y) {
      const Vector<T> line = hn::LoadU(d, pixels + y * p.row);
      HWY_UNROLL(7)
      for (int k = 0; k < Taps; ++k)
        if (y >= k && y - k < Rows) sums[y - k] = hn::MulAdd(weights[k], line, sums[y - k]);
    }
  }
  HWY_UNROLL(8)
  for (int i = 0; i < Rows; ++i) finish_windows<T>(sums[i], p.out + i * p.out_row, count, false);
}

template <class T, int Taps, int... Index>
HWY_INLINE void choose_window_rows(const WindowRows<T>& p, int rows, int count, std::integer_sequence<int, Index...>) {
  using Kernel = void (*)(const WindowRows<T>&, int);
  static constexpr Kernel kernels[] = {window_rows<T, Index + 1, Taps>...};
  kernels[rows - 1](p, count);
}

template <class T>
void any_window_rows(const WindowRows<T>& p, int rows, int count) {
  const auto up_to_eight = std::make_integer_sequence<int, 8>();
  switch (p.slides) {
    case 3: return choose_window_rows<T, 3>(p, rows, count, up_to_eight);
    case 5: return choose_window_rows<T, 5>(p, rows, count, up_to_eight);
    case 7: return choose_window_rows<T, 7>(p, rows, count, up_to_eight);
    default: return choose_window_rows<T, 1>(p, rows, count, up_to_eight);
  }
}

template <class T, int... Index>
HWY_INLINE void choose_window_tile(const WindowTile<T>& tile, int rows, std::integer_sequence<int, Index...>) {
  using Kernel = void (*)(const WindowTile<T>&);
  static constexpr Kernel kernels[] = {window_tile<T, Index + 1>...};
  kernels[rows - 1](tile);
}

template <class T>
void any_window_tile(const WindowTile<T>& tile, int rows) {
  choose_window_tile(tile, rows, std::make_integer_sequence<int, kTileRows>());
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// Rows lines of a, from m on, with Lines offsets, from k on.
template <class T, int Rows, int Lines>
void some_window_lines(const WindowLines<T>& p, std::int64_t m, std::int64_t k) {
  const Tag<T> d;
  Vector<T> sums[Rows * Lines];
  HWY_UNROLL(24)
  for (int s = 0; s < Rows * Lines; ++s) sums[s] = hn::Zero(d);
  const T* b[Lines];
  HWY_UNROLL(4)
  for (int c = 0; c < Lines; ++c) b[c] = p.b + p.offsets[k + c];
  const std::int64_t a_line = p.a_line;
  for (std::int64_t image = 0; image < p.images; ++image) {
    for (std::int64_t row = 0; row < p.rows; ++row) {
      const T* a = p.a + m * a_line + image * p.a_image + row * p.a_row;
      std::int64_t at = image * p.b_image + row * p.b_row;
      std::int64_t left = p.width;
      for (; left >= kLanes<T>; left -= kLanes<T>, a += kLanes<T>, at += kLanes<T>) {
        Vector<T> lines[Lines];
        HWY_UNROLL(4)
        for (int c = 0; c < Lines; ++c) lines[c] = hn::LoadU(d, b[c] + at);
        HWY_UNROLL(6)
        for (int r = 0; r < Rows; ++r) {
          const Vector<T> x = hn::LoadU(d, a + r * a_line);
          HWY_UNROLL(4)
          for (int c = 0; c < Lines; ++c) sums[r * Lines + c] = hn::MulAdd(x, lines[c], sums[r * Lines + c]);
        }
      }
      if (left > 0) {
        const int rest = static_cast<int>(left);
        HWY_UNROLL(6)
        for (int r = 0; r < Rows; ++r) {
          const Vector<T> x = load_first(a + r * a_line, rest);
          HWY_UNROLL(4)
          for (int c = 0; c < Lines; ++c) sums[r * Lines + c] = hn::MulAdd(x, load_first(b[c] + at, rest), sums[r * Lines + c]);
        }
      }
    }
  }
  HWY_UNROLL(6)
  for (int r = 0; r < Rows; ++r) {
    T* const out = p.out + (m + r) * p.out_row + k;
    HWY_UNROLL(4)
    for (int c = 0; c < Lines; ++c) {
      const T sum = hn::GetLane(hn::SumOfLanes(d, sums[r * Lines + c]));
      out[c] = p.adds ? out[c] + sum : sum;
    }
  }
}

template <class T, int Rows, int Lines>
void window_lines_of(const WindowLines<T>& p, std::int64_t m) {
  std::int64_t k = 0;
  for (; k + Lines <= p.K; k += Lines) some_window_lines<T, Rows, Lines>(p, m, k);
  if constexpr (Lines == 4)
    for (; k + 2 <= p.K; k += 2) some_window_lines<T, Rows, 2>(p, m, k);
  for (; k < p.K; ++k) some_window_lines<T, Rows, 1>(p, m, k);
}

// Some lines of a stay in the first cache while all offsets pass by. 32 registers hold 24 sums and 16 hold 12; fewer would wait for each other. So with 16 a number of lines that is no multiple of four begins with threes: six are three and three, not four and two.
template <class T>
void window_lines(const WindowLines<T>& p) {
  const std::int64_t threes = kManyRegisters ? 0 : std::min(p.M / 3, (4 - p.M % 4) % 4);
  std::int64_t m = 0;
  for (; m < 3 * threes; m += 3) window_lines_of<T, 3, 4>(p, m);
  if constexpr (kManyRegisters)
    for (; m + 6 <= p.M; m += 6) window_lines_of<T, 6, 4>(p, m);
  for (; m + 4 <= p.M; m += 4) window_lines_of<T, 4, kManyRegisters ? 4 : 3>(p, m);
  for (; m + 2 <= p.M; m += 2) window_lines_of<T, 2, 4>(p, m);
  for (; m < p.M; ++m) window_lines_of<T, 1, 4>(p, m);
}

template <class T>
constexpr WindowTable<T> table_of_windows() {
  return {kTileRows, kLanes<T>, any_window_tile<T>, any_window_rows<T>, window_lines<T>};
}
}  // namespace

constinit const WindowKernels window_kernels = {table_of_windows<float>(), table_of_windows<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
