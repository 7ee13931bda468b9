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
//     name: tinytorch
// ---

// %% [markdown]
// # Library chapter 75: Convolution kernels
//
// Module 09 makes a convolution a product: `weight (O, C kH kW) x columns (C kH kW, places)`. The columns hold each pixel up to `kH kW` times; writing and reading them takes longer than the product itself once that is fast. Module 16's product copies its operand into panels anyway, so this chapter
// leaves the columns out and packs the panels from the image:
//
//     image  -- copy_windows -->  columns  -- pack -->  panels  -->  tiles            module 09 on module 16's mm
//     image  -------------------- pack_gathered ----->  panels  -->  tiles            here
//
// What makes it short is how simply a column is found: element (k, p) of the columns lies at `image + where(k) + where(p)`, one number for the channel and place in the kernel, one for the window's corner, whatever stride, dilation and dimensions are. So two tables of offsets describe any convolution. The
// gradients are products of the same kind, with the tables' roles exchanged.
//
// For images whose rows fill vectors even the panels are left out, and the tile reads the image where it lies. That is the second part of the chapter. The third makes do with a quarter of the multiplications, for kernels of 3 x 3. Which way a convolution takes, its shape decides.

// %%
//| after 16
//| export kernels/gathered_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/window_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/winograd_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
#include "tinytorch/kernels/gemm_kernels.h"
//| export kernels/convolution.cpp
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

// %%
//| export kernels/gathered.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include "tinytorch/kernels/gathered_kernels.h"

// %%
//| export kernels/window.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include <utility>
#include "tinytorch/kernels/window_kernels.h"

// %%
//| export kernels/winograd.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include <algorithm>
#include <utility>
#include "tinytorch/kernels/winograd_kernels.h"

// %%
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/conv.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Packing by tables
//
// A line of a panel takes the pixels under one number of the kernel, for neighbouring windows. Neighbouring windows are neighbouring pixels as long as they are in one row of the image (stride 1), so a line is a few *runs*, which are found once for a panel and copied a vector at a time. A copy may write beyond its
// run: the next run, or the next line, overwrites that. It must not read beyond the image, so near its end it goes one by one.
//
//     windows of the panel:   p0 p1 p2 p3 p4 | p5 p6 p7        two runs: the rest of one image row, the beginning of the next
//     line k of the panel:    image[where(k) + where(p0)] ...  one vector copy for each run

// %%
//| export kernels/gathered_kernels.h
namespace kernels {

template <class T>
struct GatherTable {
  // to[k * width + j] = from[k_offsets[k] + offsets[j]] for j < count, and 0 for count <= j < width. No number at or behind `end` is read; `to` has room for 16 numbers more than width * K. REQUIRES: count <= width <= 64.
  void (*pack_gathered)(T* to, int width, const T* from, const T* end, const std::int64_t* k_offsets, const std::int64_t* offsets, int count, std::int64_t K);
};

struct GatherKernels {
  GatherTable<float> in_float;
  GatherTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(GatherKernels, gather_kernels)

}  // namespace kernels

// %%
//| export kernels/gathered.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Copies `length` numbers, and whatever lies behind them up to a whole vector.
template <class T>
HWY_INLINE void copy_run(T* to, const T* from, const T* end, int length) {
  const hn::CappedTag<T, 4> few;
  const hn::ScalableTag<T> d;
  constexpr int kFew = static_cast<int>(hn::MaxLanes(hn::CappedTag<T, 4>()));
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(hn::ScalableTag<T>()));
  int i = 0;
  if (end - from >= length + kLanes) {
    if (length <= kFew) return hn::StoreU(hn::LoadU(few, from), few, to);
    for (; i < length; i += kLanes) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
  }
  for (; i < length; ++i) to[i] = from[i];
}

template <class T>
void pack_gathered(T* to, int width, const T* from, const T* end, const std::int64_t* k_offsets, const std::int64_t* offsets, int count, std::int64_t K) {
  int starts[65];
  int runs = 0;
  for (int j = 0; j < count; ++j)
    if (j == 0 || offsets[j] != offsets[j - 1] + 1) starts[runs++] = j;
  starts[runs] = count;
  const bool short_runs = runs * 2 > count;
  for (std::int64_t k = 0; k < K; ++k, to += width) {
    const T* const line = from + k_offsets[k];
    if (short_runs) {
      for (int j = 0; j < count; ++j) to[j] = line[offsets[j]];
    } else {
      for (int run = 0; run < runs; ++run) copy_run(to + starts[run], line + offsets[starts[run]], end, starts[run + 1] - starts[run]);
    }
    for (int j = count; j < width; ++j) to[j] = T{0};
  }
}
}  // namespace

constinit const GatherKernels gather_kernels = {{pack_gathered<float>}, {pack_gathered<double>}};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ## Tiles that read the image where it lies
//
// Packing a line costs two copies, and the tile uses it for as many multiply-adds as the weights have rows: a convolution with 16 output channels copies four times as much for its work as one with 64. But where stride is 1, the windows of one output row are neighbours, and the pixels under one number of the kernel are a contiguous line of the image:
//
//     windows of an output row      w0 w1 w2 ... w7          pixels under kernel number k: image + where(k) + 0 1 2 ... 7
//     a tile                        left vector              its first window's corner, and where(k) for all k
//                                   right vector             another corner: perhaps the next output row
//
// So the tile needs no panel: it loads both vectors from the image, at two corners plus one table of offsets. Its two vectors need not be neighbours; a row of 56 windows is seven vectors of eight, and the last of one row shares a tile with the first of the next. If a row does not fill its last vector, that one begins
// earlier, and some windows are computed twice: a row of 28 is the vectors from 0 and from 12 on. The multiplications are the same, and every vector is stored whole.
//
// A *depthwise* convolution has a kernel for each channel, so the weights of a tile are one row, and its two vectors would be two sums that wait for their own last step. There the tile has eight rows of windows instead, one vector of each. Under a column of the kernel a line of pixels meets one row of windows with each of its numbers; it is loaded once for all of them:
//
//     pixels of line y       times w[0], into row y of windows;   times w[1], into row y - 1;   times w[2], into row y - 2
//
// The gradient of the weight sums over places: `grad_w[m][k] = sum over images, rows, columns of grad_y[m][place] * image[where(k) + place]`. Both factors are contiguous along a row, so it is a dot product of lines as in module 16's few rows, where the second line lies at an offset of the table. No panel here either.
//
//     grad_y[m]        row 0 [------->] row 1 [------->] ...       4 such lines, each vector used for 3 numbers of the kernel,
//     image + where(k)     [------->]       [------->]   ...       3 such lines, each vector used for 4 channels: 12 sums in registers

// %%
//| export kernels/window_kernels.h
namespace kernels {

// Windows of an output row, as many as a vector has lanes: pixel of window j under kernel number k is corner[offsets[k] + j]. The first `count` of them are stored at `out`; the others are read.
template <class T>
struct WindowVector {
  const T* corner;
  T* out;
  int count;
};

// out (rows, windows) = A (rows, K) x pixels (K, windows), added to what is there if `adds`. The sums of row i start from start[i]. A is a panel: element (i, k) is a[k * rows + i]; rows of out are out_row apart. The K numbers are the first `in_run` of each of `runs` stretches of `run_step` numbers.
template <class T>
struct WindowTile {
  const T* a;
  const std::int64_t* offsets;
  std::int64_t runs, in_run, run_step;
  WindowVector<T> left, right;
  std::int64_t out_row;
  bool adds;
  const T* start;
};

// out (M, K) = sum over images, rows and columns of a[m * a_line + image * a_image + row * a_row + column] * b[offsets[k] + image * b_image + row * b_row + column], added to what is there if `adds`.
// Nothing behind `width` columns is read.
template <class T>
struct WindowLines {
  const T* a;
  std::int64_t a_line, a_image, a_row;
  const T* b;
  const std::int64_t* offsets;
  std::int64_t b_image, b_row;
  std::int64_t images, rows, width;
  std::int64_t M, K;
  T* out;
  std::int64_t out_row;
  bool adds;
};

// Windows of neighbouring rows under a kernel of one channel: out[i * out_row + j] = start + sum over t < taps of weights[t] * corner[i * row + offsets[t] + j], for i < rows and j < count. Numbers up to a whole vector are read.
template <class T>
struct WindowRows {
  const T* corner;
  std::int64_t row;
  const std::int64_t* offsets;
  std::int64_t taps;
  const T* weights;
  T* out;
  std::int64_t out_row;
  std::int64_t slides;  // how many numbers of the kernel in turn lie one row apart: offsets[t + 1] = offsets[t] + row within so many; 1 if none do
  T start;
};

template <class T>
struct WindowTable {
  int rows, lanes;  // of the largest tile: rows, and windows in each of its two vectors
  void (*tile)(const WindowTile<T>& tile, int rows);
  void (*one_channel)(const WindowRows<T>& windows, int rows, int count);  // REQUIRES: rows <= 8, count <= lanes
  void (*lines)(const WindowLines<T>& lines);
};

struct WindowKernels {
  WindowTable<float> in_float;
  WindowTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(WindowKernels, window_kernels)

}  // namespace kernels

// %%
//| export kernels/window.simd.cpp
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

// %%
//| export kernels/window.simd.cpp
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

// %% [markdown]
// ## A quarter of the multiplications
//
// A convolution with 3 numbers that gives 4 results multiplies 12 times. It is a part of a product of polynomials, and polynomials can be multiplied another way: evaluate both at enough points, multiply value by value, and find the polynomial through the results. Six points do, so there are 6 products instead of 12.
// This is Toom's and Cook's way; Winograd showed that fewer products are impossible, and Lavin and Gray brought it to networks. Rows and columns one after the other make it `6 x 6` products for `4 x 4` results, where the definition has `16 x 9`: a quarter.
//
//     image tile d    6 x 6   --  V = Bt d B   -->  36 numbers  \
//                                                                 *  summed over channels  -->  36 numbers  --  y = At m A  -->  4 x 4 results
//     kernel g        3 x 3   --  U = G g Gt   -->  36 numbers  /
//
// The sum over channels is what makes it fast: it runs between the two maps, so each of the 36 places is a product of matrices, `m (tiles, O) = V (tiles, C) x U (C, O)`, and the maps, which only add and multiply by small constants, are done once for each channel, not once for each pair of channels. For 64 channels
// they are a seventh of the work.
//
// The gradients are the same three maps read backwards. That of the input is a convolution with the kernel turned around. That of the kernel: `y = At ((G g Gt) V) A` is linear in g, so its gradient is `Gt ((A grad_y At) V summed over tiles) G`, products again, `(O, tiles) x (tiles, C)`.
//
// **Which points?** Each point's value has rounding errors, which the interpolation magnifies: points far from 1 make large powers, points close to each other large differences. The usual 0, 1, -1, 2, -2 and infinity lose a decimal digit; 0, 1, -1, 1/2, -2 and infinity, for which powers of the fourth
// balance those of the fifth, lose half of that (Barabasz et al. searched for the best). With these rows of Bt, and what they were divided by in G:
//
//            0  |  1  -3/2   -2   3/2    1    0          1     0     0              1  1  1   1    1   0
//            1  |  0   -1   1/2   5/2    1    0         1/3   1/3   1/3       At =  0  1 -1  1/2  -2   0
//     Bt =  -1  |  0   -1   5/2  -1/2   -1    0    G =  1/3  -1/3   1/3             0  1  1  1/4   4   0
//           1/2 |  0   -1  -1/2    1   1/2    0       -32/15 -16/15 -8/15           0  1 -1  1/8  -8   1
//           -2  |  0   -1    2     1   -2     0        -1/30  2/30  -4/30
//           inf |  0    1  -3/2   -2   3/2    1          0     0     1
//
// What that means, measured below: for normally distributed images the error of the result is about three times that of the definition's sum in float32 (root of the mean square, both against float64), those of the gradients two to seven times that of module 09's. Sums of whole numbers are no longer exact, and an infinite pixel makes not only the windows that hold it
// infinite or NaN, but its whole tile; so it is for double as it was.
//
// A vector holds one pixel of neighbouring *channels*, whatever the image's size: images are turned around as they are read, and the results turned back as they are written. Sixteen channels, a line of the cache, are done together.

// %%
//| export kernels/winograd_kernels.h
namespace kernels {

// A row of 4 x 4 tiles of an image (channels, rows, columns), whose channels are `channel` apart. The first tile's corner lies at (row, column), perhaps outside; what is outside is 0.
template <class Pixel>
struct WinogradLine {
  Pixel* image;
  std::int64_t channel, channels, rows, columns;
  std::int64_t row, column;
  std::int64_t tiles;
};

// The numbers of tiles at 36 places: number of channel c of tile t at place f is data[f * place + t * tile + c]. `tile` is a multiple of 16; behind the last channel something may be written.
template <class Number>
struct WinogradNumbers {
  Number* data;
  std::int64_t place, tile;
};

// Kernels of 3 x 3 numbers: tap v of result m and channel c is w[m * row + c * channel + v * tap], from tap 0 on. `tap` is 1, or -1 for a kernel that is turned around.
struct WinogradKernel {
  const float* w;
  std::int64_t row, channel, tap;
  std::int64_t M, C;
};

struct WinogradTable {
  // How many numbers of scratch a row of tiles needs.
  std::int64_t (*scratch)(std::int64_t tiles);
  // V = Bt d B for the pixels around each tile: 6 x 6 from its corner on.
  void (*pixels)(const WinogradLine<const float>& line, const WinogradNumbers<float>& to, float* scratch);
  // A d At for the 4 x 4 pixels of each tile.
  void (*slopes)(const WinogradLine<const float>& line, const WinogradNumbers<float>& to, float* scratch);
  // The 4 x 4 pixels At m A of each tile, as far as they are inside.
  void (*results)(const WinogradLine<float>& line, const WinogradNumbers<const float>& from, float* scratch);
  // U = G g Gt of the channels from `first` to `stop`, in panels of `width` results, a multiple of the lanes: place f, channel c, result m at to[f * place + (m / width * C + c) * width + m % width], zeros behind the last result.
  void (*kernel)(const WinogradKernel& kernel, std::int64_t width, std::int64_t place, std::int64_t first, std::int64_t stop, float* to);
  // w (M, C, 3, 3) = Gt u G for the results from `first` to `stop`; u is the sum of `parts` stacks of numbers, `part` apart: place f of (m, c) at u[f * place + m * tile + c].
  void (*kernel_gradient)(const WinogradNumbers<const float>& u, std::int64_t parts, std::int64_t part, std::int64_t first, std::int64_t stop, std::int64_t C, float* w);
};

TINYTORCH_DECLARE_PER_CAPABILITY(WinogradTable, winograd_table)

}  // namespace kernels

// %%
//| export kernels/winograd.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
using FloatVector = hn::Vec<FloatTag>;
constexpr int kFloats = static_cast<int>(hn::MaxLanes(FloatTag()));

HWY_INLINE FloatVector add_floats(FloatVector a, FloatVector b) { return hn::Add(a, b); }
HWY_INLINE FloatVector subtract_floats(FloatVector a, FloatVector b) { return hn::Sub(a, b); }
// factor * a + b
HWY_INLINE FloatVector mul_add(float factor, FloatVector a, FloatVector b) { return hn::MulAdd(hn::Set(FloatTag(), factor), a, b); }

// Bt d, for numbers of d `from` apart and of the result `to` apart.
HWY_INLINE void map_pixels(const float* d, std::int64_t from, float* out, std::int64_t to) {
  const FloatTag t;
  const FloatVector d0 = hn::LoadU(t, d), d1 = hn::LoadU(t, d + from), d2 = hn::LoadU(t, d + 2 * from), d3 = hn::LoadU(t, d + 3 * from), d4 = hn::LoadU(t, d + 4 * from), d5 = hn::LoadU(t, d + 5 * from);
  const FloatVector odd = subtract_floats(d3, d1), even = subtract_floats(d4, d2);
  hn::StoreU(mul_add(1.5F, odd, add_floats(subtract_floats(d0, d2), even)), t, out);
  hn::StoreU(mul_add(0.5F, d2, mul_add(2.5F, d3, subtract_floats(d4, d1))), t, out + to);
  hn::StoreU(mul_add(2.5F, d2, mul_add(-0.5F, d3, hn::Neg(add_floats(d4, d1)))), t, out + 2 * to);
  hn::StoreU(mul_add(0.5F, even, odd), t, out + 3 * to);
  hn::StoreU(mul_add(-2.0F, even, odd), t, out + 4 * to);
  hn::StoreU(mul_add(1.5F, even, subtract_floats(subtract_floats(d5, d3), odd)), t, out + 5 * to);
}

// A d: four numbers to six.
HWY_INLINE void map_slopes(const float* d, std::int64_t from, float* out, std::int64_t to) {
  const FloatTag t;
  const FloatVector d0 = hn::LoadU(t, d), d1 = hn::LoadU(t, d + from), d2 = hn::LoadU(t, d + 2 * from), d3 = hn::LoadU(t, d + 3 * from);
  const FloatVector even = add_floats(d0, d2), odd = add_floats(d1, d3);
  hn::StoreU(d0, t, out);
  hn::StoreU(add_floats(even, odd), t, out + to);
  hn::StoreU(subtract_floats(even, odd), t, out + 2 * to);
  hn::StoreU(mul_add(0.5F, mul_add(0.25F, d3, d1), mul_add(0.25F, d2, d0)), t, out + 3 * to);
  hn::StoreU(mul_add(-2.0F, mul_add(4.0F, d3, d1), mul_add(4.0F, d2, d0)), t, out + 4 * to);
  hn::StoreU(d3, t, out + 5 * to);
}

// At m: six numbers to four.
HWY_INLINE void map_results(const float* m, std::int64_t from, float* out, std::int64_t to) {
  const FloatTag t;
  const FloatVector m0 = hn::LoadU(t, m), m1 = hn::LoadU(t, m + from), m2 = hn::LoadU(t, m + 2 * from), m3 = hn::LoadU(t, m + 3 * from), m4 = hn::LoadU(t, m + 4 * from), m5 = hn::LoadU(t, m + 5 * from);
  const FloatVector sum = add_floats(m1, m2), difference = subtract_floats(m1, m2);
  hn::StoreU(add_floats(add_floats(m0, sum), add_floats(m3, m4)), t, out);
  hn::StoreU(mul_add(0.5F, m3, mul_add(-2.0F, m4, difference)), t, out + to);
  hn::StoreU(mul_add(0.25F, m3, mul_add(4.0F, m4, sum)), t, out + 2 * to);
  hn::StoreU(mul_add(0.125F, m3, mul_add(-8.0F, m4, add_floats(difference, m5))), t, out + 3 * to);
}

// G g: three numbers to six.
HWY_INLINE void map_kernel(const float* g, std::int64_t from, float* out, std::int64_t to) {
  const FloatTag t;
  const FloatVector g0 = hn::LoadU(t, g), g1 = hn::LoadU(t, g + from), g2 = hn::LoadU(t, g + 2 * from);
  const FloatVector outer = add_floats(g0, g2), third = hn::Set(t, 1.0F / 3);
  hn::StoreU(g0, t, out);
  hn::StoreU(hn::Mul(third, add_floats(outer, g1)), t, out + to);
  hn::StoreU(hn::Mul(third, subtract_floats(outer, g1)), t, out + 2 * to);
  hn::StoreU(hn::Mul(hn::Set(t, -32.0F / 15), mul_add(0.5F, g1, mul_add(0.25F, g2, g0))), t, out + 3 * to);
  hn::StoreU(hn::Mul(hn::Set(t, -1.0F / 30), mul_add(-2.0F, g1, mul_add(4.0F, g2, g0))), t, out + 4 * to);
  hn::StoreU(g2, t, out + 5 * to);
}

// Gt u: six numbers to three.
HWY_INLINE void map_kernel_gradient(const float* u, std::int64_t from, float* out, std::int64_t to) {
  const FloatTag t;
  const FloatVector u0 = hn::LoadU(t, u), u1 = hn::LoadU(t, u + from), u2 = hn::LoadU(t, u + 2 * from), u3 = hn::LoadU(t, u + 3 * from), u4 = hn::LoadU(t, u + 4 * from), u5 = hn::LoadU(t, u + 5 * from);
  const FloatVector sum = add_floats(u1, u2), difference = subtract_floats(u1, u2);
  hn::StoreU(mul_add(1.0F / 3, sum, mul_add(-32.0F / 15, u3, mul_add(-1.0F / 30, u4, u0))), t, out);
  hn::StoreU(mul_add(1.0F / 3, difference, mul_add(-16.0F / 15, u3, hn::Mul(hn::Set(t, 2.0F / 30), u4))), t, out + to);
  hn::StoreU(mul_add(1.0F / 3, sum, mul_add(-8.0F / 15, u3, mul_add(-4.0F / 30, u4, u5))), t, out + 2 * to);
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// Turning an image around needs no shuffles between halves of a vector: each block of four lanes takes four pixels from a channel of its own, and then rows and columns are exchanged within the blocks.
//
//     block 0            block 1                      block 0            block 1
//     channel 0: a b c d channel 4: a b c d           a of channels 0-3  a of channels 4-7
//     channel 1: a b c d channel 5: a b c d    --->   b                  b
//     channel 2: a b c d channel 6: a b c d           c                  c
//     channel 3: a b c d channel 7: a b c d           d                  d
//
// Where a row has as many pixels as a vector has lanes, the vectors are rows of pixels, and the blocks are exchanged as well. What that saves is not the shuffles, it is the cache: images of 32 x 32 have their channels 4 KB apart, so the lines of sixteen channels all want the same set of the first cache,
// which has room for twelve (Hennessy and Patterson, appendix B). Written by pieces of four pixels, a line is thrown out between one piece and the next; written whole, it is needed once.

// %%
//| export kernels/winograd.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
#if HWY_TARGET != HWY_SCALAR
// Four numbers of each of a vector's blocks: block b from lines[4 b] + at.
template <class D>
HWY_INLINE hn::Vec<D> load_blocks(D d, const float* const* lines, std::int64_t at) {
  if constexpr (hn::MaxLanes(D()) <= 4) return hn::LoadU(d, lines[0] + at);
  else {
    const hn::Half<D> half;
    return hn::Combine(d, load_blocks(half, lines + hn::MaxLanes(half), at), load_blocks(half, lines, at));
  }
}

// Block b to lines[4 b] + at, as long as 4 b < count.
template <class D>
HWY_INLINE void store_blocks(D d, hn::Vec<D> v, float* const* lines, std::int64_t at, int count) {
  if constexpr (hn::MaxLanes(D()) <= 4) {
    if (count > 0) hn::StoreU(v, d, lines[0] + at);
  } else {
    const hn::Half<D> half;
    constexpr int kHalf = static_cast<int>(hn::MaxLanes(half));
    store_blocks(half, hn::LowerHalf(half, v), lines, at, count);
    store_blocks(half, hn::UpperHalf(half, v), lines + kHalf, at, count - kHalf);
  }
}

// Exchanges rows and columns within the blocks of four vectors.
HWY_INLINE void turn_blocks(FloatVector& v0, FloatVector& v1, FloatVector& v2, FloatVector& v3) {
  const FloatTag d;
  const hn::RepartitionToWide<FloatTag> pairs;
  const auto low = hn::BitCast(pairs, hn::InterleaveLower(d, v0, v1)), high = hn::BitCast(pairs, hn::InterleaveUpper(d, v0, v1));
  const auto low2 = hn::BitCast(pairs, hn::InterleaveLower(d, v2, v3)), high2 = hn::BitCast(pairs, hn::InterleaveUpper(d, v2, v3));
  v0 = hn::BitCast(d, hn::InterleaveLower(pairs, low, low2));
  v1 = hn::BitCast(d, hn::InterleaveUpper(pairs, low, low2));
  v2 = hn::BitCast(d, hn::InterleaveLower(pairs, high, high2));
  v3 = hn::BitCast(d, hn::InterleaveUpper(pairs, high, high2));
}
#endif

#if HWY_TARGET != HWY_SCALAR
// Exchanges rows and columns of as many vectors as each has lanes.
HWY_INLINE void turn_square(FloatVector* v) {
  const FloatTag d;
  constexpr int kBlocks = kFloats / 4;
  HWY_UNROLL(4)
  for (int i = 0; i < kFloats; i += 4) turn_blocks(v[i], v[i + 1], v[i + 2], v[i + 3]);
  // Now the blocks: block b of vector 4 a + j goes to block a of vector 4 b + j.
  if constexpr (kBlocks == 2) {
    HWY_UNROLL(4)
    for (int j = 0; j < 4; ++j) {
      const FloatVector low = hn::ConcatLowerLower(d, v[4 + j], v[j]);
      v[4 + j] = hn::ConcatUpperUpper(d, v[4 + j], v[j]);
      v[j] = low;
    }
  }
  if constexpr (kBlocks == 4) {
    HWY_UNROLL(4)
    for (int j = 0; j < 4; ++j) {
      const FloatVector even_low = hn::ConcatLowerLower(d, v[8 + j], v[j]), odd_low = hn::ConcatLowerLower(d, v[12 + j], v[4 + j]);
      const FloatVector even_high = hn::ConcatUpperUpper(d, v[8 + j], v[j]), odd_high = hn::ConcatUpperUpper(d, v[12 + j], v[4 + j]);
      v[j] = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(odd_low), even_low);
      v[4 + j] = hn::OddEvenBlocks(odd_low, hn::SwapAdjacentBlocks(even_low));
      v[8 + j] = hn::OddEvenBlocks(hn::SwapAdjacentBlocks(odd_high), even_high);
      v[12 + j] = hn::OddEvenBlocks(odd_high, hn::SwapAdjacentBlocks(even_high));
    }
  }
}
#endif

// How far pixels lie apart: a line of the cache, whatever the lanes.
constexpr std::int64_t kPixel = 16;

// Pixels [at, at + count) of the channels that begin at `lines`, a vector of channels for each pixel, `kPixel` apart.
HWY_INLINE void turn_in(const float* const* lines, std::int64_t at, std::int64_t count, float* to) {
  std::int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const FloatTag d;
  for (; i + kFloats <= count; i += kFloats) {
    FloatVector square[kFloats];
    HWY_UNROLL(16)
    for (int lane = 0; lane < kFloats; ++lane) square[lane] = hn::LoadU(d, lines[lane] + at + i);
    turn_square(square);
    HWY_UNROLL(16)
    for (int lane = 0; lane < kFloats; ++lane) hn::StoreU(square[lane], d, to + (i + lane) * kPixel);
  }
  for (; i + 4 <= count; i += 4) {
    FloatVector v0 = load_blocks(d, lines, at + i), v1 = load_blocks(d, lines + 1, at + i), v2 = load_blocks(d, lines + 2, at + i), v3 = load_blocks(d, lines + 3, at + i);
    turn_blocks(v0, v1, v2, v3);
    hn::StoreU(v0, d, to + i * kPixel);
    hn::StoreU(v1, d, to + (i + 1) * kPixel);
    hn::StoreU(v2, d, to + (i + 2) * kPixel);
    hn::StoreU(v3, d, to + (i + 3) * kPixel);
  }
#endif
  for (; i < count; ++i)
    for (int lane = 0; lane < kFloats; ++lane) to[i * kPixel + lane] = lines[lane][at + i];
}

// The way back, for the first `channels` of the lanes.
HWY_INLINE void turn_out(const float* from, float* const* lines, std::int64_t at, std::int64_t count, int channels) {
  std::int64_t i = 0;
#if HWY_TARGET != HWY_SCALAR
  const FloatTag d;
  for (; channels == kFloats && i + kFloats <= count; i += kFloats) {
    FloatVector square[kFloats];
    HWY_UNROLL(16)
    for (int lane = 0; lane < kFloats; ++lane) square[lane] = hn::LoadU(d, from + (i + lane) * kPixel);
    turn_square(square);
    HWY_UNROLL(16)
    for (int lane = 0; lane < kFloats; ++lane) hn::StoreU(square[lane], d, lines[lane] + at + i);
  }
  for (; i + 4 <= count; i += 4) {
    FloatVector v0 = hn::LoadU(d, from + i * kPixel), v1 = hn::LoadU(d, from + (i + 1) * kPixel), v2 = hn::LoadU(d, from + (i + 2) * kPixel), v3 = hn::LoadU(d, from + (i + 3) * kPixel);
    turn_blocks(v0, v1, v2, v3);
    store_blocks(d, v0, lines, at + i, channels);
    store_blocks(d, v1, lines + 1, at + i, channels - 1);
    store_blocks(d, v2, lines + 2, at + i, channels - 2);
    store_blocks(d, v3, lines + 3, at + i, channels - 3);
  }
#endif
  for (; i < count; ++i)
    for (int lane = 0; lane < channels; ++lane) lines[lane][at + i] = from[i * kPixel + lane];
}

// Where the channels from `first` on begin; a lane without a channel takes the last one.
template <class Pixel>
struct ChannelLines {
  ChannelLines(const WinogradLine<Pixel>& line, std::int64_t first) : count(static_cast<int>(std::min<std::int64_t>(kFloats, line.channels - first))) {
    for (int lane = 0; lane < kFloats; ++lane) lines[lane] = line.image + std::min(first + lane, line.channels - 1) * line.channel;
  }
  Pixel* lines[kFloats];
  int count;
};

HWY_INLINE void zero_pixels(float* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) hn::StoreU(hn::Zero(FloatTag()), FloatTag(), to + i * kPixel);
}

// `height` rows of `width` pixels from the line's corner on, for the channels from `first` on; zeros outside of the image.
HWY_INLINE void turn_rows(const WinogradLine<const float>& line, std::int64_t first, int height, std::int64_t width, float* to) {
  const ChannelLines<const float> channels(line, first);
  const std::int64_t begin = std::clamp<std::int64_t>(-line.column, 0, width), end = std::clamp<std::int64_t>(line.columns - line.column, begin, width);
  for (std::int64_t row = line.row; row < line.row + height; ++row, to += width * kPixel) {
    if (row < 0 || row >= line.rows) {
      zero_pixels(to, width);
      continue;
    }
    zero_pixels(to, begin);
    turn_in(channels.lines, row * line.columns + line.column + begin, end - begin, to + begin * kPixel);
    zero_pixels(to + end * kPixel, width - end);
  }
}

// Calls f(i) for the vectors of a pixel: their first channels.
template <class F>
HWY_INLINE void for_vectors(F f) {
  for (std::int64_t i = 0; i < kPixel; i += kFloats) f(i);
}

std::int64_t winograd_scratch(std::int64_t tiles) { return 6 * (4 * tiles + 2) * kPixel; }

// Columns first, for all pixels of the row of tiles: neighbouring tiles share them. Then the rows of each tile.
void winograd_pixels(const WinogradLine<const float>& line, const WinogradNumbers<float>& to, float* scratch) {
  const std::int64_t width = 4 * line.tiles + 2, step = width * kPixel;
  for (std::int64_t first = 0; first < to.tile; first += kPixel) {
    for_vectors([&](std::int64_t i) { turn_rows(line, std::min(first + i, line.channels - 1), 6, width, scratch + i); });
    for (std::int64_t i = 0; i < step; i += kFloats) map_pixels(scratch + i, step, scratch + i, step);
    for (std::int64_t tile = 0; tile < line.tiles; ++tile)
      for (int row = 0; row < 6; ++row)
        for_vectors([&](std::int64_t i) { map_pixels(scratch + row * step + tile * 4 * kPixel + i, kPixel, to.data + row * 6 * to.place + tile * to.tile + first + i, to.place); });
  }
}

void winograd_slopes(const WinogradLine<const float>& line, const WinogradNumbers<float>& to, float* scratch) {
  const std::int64_t width = 4 * line.tiles, step = width * kPixel;
  for (std::int64_t first = 0; first < to.tile; first += kPixel) {
    for_vectors([&](std::int64_t i) { turn_rows(line, std::min(first + i, line.channels - 1), 4, width, scratch + i); });
    for (std::int64_t i = 0; i < step; i += kFloats) map_slopes(scratch + i, step, scratch + i, step);
    for (std::int64_t tile = 0; tile < line.tiles; ++tile)
      for (int row = 0; row < 6; ++row)
        for_vectors([&](std::int64_t i) { map_slopes(scratch + row * step + tile * 4 * kPixel + i, kPixel, to.data + row * 6 * to.place + tile * to.tile + first + i, to.place); });
  }
}

void winograd_results(const WinogradLine<float>& line, const WinogradNumbers<const float>& from, float* scratch) {
  const std::int64_t width = 4 * line.tiles, step = width * kPixel;
  const std::int64_t rows = std::min<std::int64_t>(4, line.rows - line.row), columns = std::min(width, line.columns - line.column);
  for (std::int64_t first = 0; first < line.channels; first += kPixel) {
    for (std::int64_t tile = 0; tile < line.tiles; ++tile) {
      alignas(64) float half[24 * kPixel];  // (6, 4): rows are done
      for (int row = 0; row < 6; ++row)
        for_vectors([&](std::int64_t i) { map_results(from.data + row * 6 * from.place + tile * from.tile + first + i, from.place, half + row * 4 * kPixel + i, kPixel); });
      for (std::int64_t i = 0; i < 4 * kPixel; i += kFloats) map_results(half + i, 4 * kPixel, scratch + tile * 4 * kPixel + i, step);
    }
    for_vectors([&](std::int64_t i) {
      if (first + i >= line.channels) return;
      const ChannelLines<float> channels(line, first + i);
      for (std::int64_t row = 0; row < rows; ++row) turn_out(scratch + row * step + i, channels.lines, (line.row + row) * line.columns + line.column, columns, channels.count);
    });
  }
}

// taps[v * kFloats + i] = tap v of channel c and result m + i, for `count` results. The nine numbers of a kernel are neighbours, and each goes to another vector: squares of them are turned.
HWY_INLINE void load_taps(const WinogradKernel& kernel, std::int64_t m, std::int64_t c, int count, float* taps) {
  const bool forwards = kernel.tap > 0;
  const float* const first = kernel.w + m * kernel.row + c * kernel.channel - (forwards ? 0 : 8);
  const auto tap = [&](int number) HWY_ATTR { return taps + (forwards ? number : 8 - number) * kFloats; };
  int number = 0;  // in the order of memory
#if HWY_TARGET != HWY_SCALAR
  const FloatTag d;
  for (; number < 8; number += kFloats) {
    const int some = std::min(kFloats, 9 - number);
    const auto inside = hn::FirstN(d, static_cast<std::size_t>(some));
    FloatVector square[kFloats];
    HWY_UNROLL(16)
    for (int lane = 0; lane < kFloats; ++lane) {
      const float* const from = first + lane * kernel.row + number;
      square[lane] = lane >= count ? hn::Zero(d) : some == kFloats ? hn::LoadU(d, from) : hn::MaskedLoad(inside, d, from);
    }
    turn_square(square);
    for (int j = 0; j < some; ++j) hn::StoreU(square[j], d, tap(number + j));
  }
#endif
  for (; number < 9; ++number)
    for (int lane = 0; lane < count; ++lane) tap(number)[lane] = first[lane * kernel.row + number];
}

void winograd_kernel(const WinogradKernel& kernel, std::int64_t width, std::int64_t place, std::int64_t first, std::int64_t stop, float* to) {
  const std::int64_t panels = (kernel.M + width - 1) / width;
  alignas(64) float taps[9 * kFloats];
  alignas(64) float half[18 * kFloats];  // (6, 3)
  for (std::int64_t m = 0; m < panels * width; m += kFloats) {
    const int count = static_cast<int>(std::clamp<std::int64_t>(kernel.M - m, 0, kFloats));
    std::fill_n(taps, 9 * kFloats, 0.0F);
    for (std::int64_t c = first; c < stop; ++c) {
      load_taps(kernel, m, c, count, taps);
      for (int column = 0; column < 3; ++column) map_kernel(taps + column * kFloats, 3 * kFloats, half + column * kFloats, 3 * kFloats);
      for (int row = 0; row < 6; ++row) map_kernel(half + row * 3 * kFloats, kFloats, to + row * 6 * place + (m / width * kernel.C + c) * width + m % width, place);
    }
  }
}

void winograd_kernel_gradient(const WinogradNumbers<const float>& u, std::int64_t parts, std::int64_t part, std::int64_t first, std::int64_t stop, std::int64_t C, float* w) {
  const FloatTag d;
  alignas(64) float sums[36 * kFloats];
  alignas(64) float half[18 * kFloats];  // (6, 3)
  alignas(64) float taps[9 * kFloats];
  for (std::int64_t m = first; m < stop; ++m) {
    for (std::int64_t c = 0; c < C; c += kFloats) {
      for (int f = 0; f < 36; ++f) {
        const float* const numbers = u.data + f * u.place + m * u.tile + c;
        FloatVector sum = hn::LoadU(d, numbers);
        for (std::int64_t p = 1; p < parts; ++p) sum = add_floats(sum, hn::LoadU(d, numbers + p * part));
        hn::StoreU(sum, d, sums + f * kFloats);
      }
      for (int row = 0; row < 6; ++row) map_kernel_gradient(sums + row * 6 * kFloats, kFloats, half + row * 3 * kFloats, kFloats);
      for (int column = 0; column < 3; ++column) map_kernel_gradient(half + column * kFloats, 3 * kFloats, taps + column * kFloats, 3 * kFloats);
      const int count = static_cast<int>(std::min<std::int64_t>(kFloats, C - c));
      for (int lane = 0; lane < count; ++lane)
        for (int v = 0; v < 9; ++v) w[(m * C + c + lane) * 9 + v] = taps[v * kFloats + lane];
    }
  }
}
}  // namespace

constinit const WinogradTable winograd_table = {winograd_scratch, winograd_pixels, winograd_slopes, winograd_results, winograd_kernel, winograd_kernel_gradient};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// ## A product with a gathered operand
//
// `out (M, N) = a (M, K) x b (K, N)`, where b is gathered, and a is packed once, before, because every task needs all of it (weights), or is packed along (gradients). A task owns some panels of columns and all rows; K runs in the same blocks as in module 16, in order, so the bits do not depend on threads.

// %%
//| export kernels/convolution.cpp
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

// %% [markdown]
// ## Images with room around them, and strides
//
// The tiles want an image in one piece, with its padding, in which neighbouring windows are neighbours. With stride 2 they are not: every second pixel is skipped. But the pixels that are taken at even places are an image of their own, of half the size, and so are those at odd places. So the padded copy, which is made anyway, is made in *phases*:
//
//     x, stride 2        0 1 0 1 0 1             phase 0: 0 0 0      a kernel number at distance t from the corner
//                        2 3 2 3 2 3             phase 1: 1 1 1      reads phase (t mod 2), at place (t div 2):
//                        0 1 0 1 0 1    ---->    phase 2: 2 2 2      in there, neighbouring windows are neighbours again
//                        2 3 2 3 2 3             phase 3: 3 3 3
//
// Copying costs one pass over the image. Without padding and stride nothing is copied, if no vector reads beyond the end.
//
// Some rows of the kernel meet nothing but the zeros above or below an image, and where images lie side by side (below) some of its columns nothing but those to the left or right. Where these are many (5 x 5 gradients back to 14 rows from 10: 20 of 70, and as many of the columns), the kernel's numbers are ordered by rows,
// then columns, then channels: what a vector of windows needs are some of its rows, which are one range, or some columns of these, one range in each row. LeNet-5's second convolution is such a case: half of its multiplications are left.
// Where images lie side by side in groups of a tile's width, a tile has under each of the kernel's numbers either pixels only or zeros only. What meets zeros is left out, so nobody reads a zero, and the image needs no border: it is read where it lies, as if there were one.
//
// Images of many channels go another way where such rows are a trouble: their channels are put last for this one convolution (chapter 56 turns them as it reads them), and its tiles have vectors of channels, whatever the rows are. Measured with vectors of sixteen floats, how many times as fast as the ways above, forward:
//
//     under a stride of 2, from 16 channels on        32 images of 32 x 32 from 16 to 32 channels 1.03, of 16 x 16 1.6; the gradient of their input 1.07 and 1.9: rows are copied apart there, into places for even and for odd columns
//     5 x 5, rows of 14, 28, 56, 32 to 64 channels    one image 1.2 each; four 1.25, 1.05 and 1.07; eight 0.97, 1.06 and 1.1
//     the same, 32 images                             0.86, 0.96 and 1.1: as many images side by side as a tile has lanes fill it, and a row of them has no lane that is thrown away
//     rows that fill vectors                          1.0
//
// So channels are put last under a stride from 16 channels on. Without one it takes 32 channels, and rows that fill no vectors, and images that do not fill a tile side by side or rows of more than 32 pixels. The gradient of the weights gains most, up to twice, since its sums run over rows: it is turned from 32 channels on unless rows are short and images fill tiles side by side.
//
// The gradient of the input goes through phases backwards: the pixels of one phase were touched by those numbers of the kernel only that lie on it, so each phase of the gradient is a convolution of stride 1, of the result's gradient with a part of the kernel, turned around.

// %%
//| export kernels/convolution.cpp
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

// %% [markdown]
// ## Winograd's products
//
// Of some rows of tiles at a time all three steps are done, so that the numbers in between stay in the second cache: 36 places of V and of the results, for 64 channels 18 KB a tile. The 36 products are module 16's tiles; V needs no packing, because a tile takes its left operand from lines of any distance, and the
// kernels are mapped into panels at once. For the kernel's gradient it is the other way: the tiles are the inner dimension, in which both operands lie packed already.
//
// The sums of the kernel's gradient are 36 matrices (M, C), four times as many numbers as the kernel has. Threads that each have sums of their own need nothing of each other until these are added, but each of these sums is written and read once more: for 64 channels, 32 images of 8 x 8 and four sums, 2.4 MB that the second cache does not hold, for 128 tiles. That took a third of the time, with 256 channels half of it. So there is one sum for 512 tiles at least, and threads for which there is none share one: they map a block row by row and multiply it place by place.
//
// The bias needs no pass here either. Column 1 of At is all ones, for the polynomial that is 1 has the value 1 at the point 1; so a number that is added at the place of the point 1, for rows and columns, reaches all sixteen results. That place's product starts from the bias.
//
// With AVX-512 module 16's tile has 32 columns, and a network's first layers have 16 channels: half of each product would be zeros, and half of the pixels that are mapped. Such products have a tile of their own, one vector wide.
//
// It pays where the sum over channels is long enough to carry the maps (from 16 channels on), where not too much of the tiles hangs over the image's edge, and where there are enough tiles for mapping the kernel once.

// %%
//| export kernels/convolution.cpp
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

// %% [markdown]
// ## The three maps
//
// - **Forward**: for each image and group, weights (M, K) times gathered pixels (K, L).
// - **Gradient of the input**: again a forward convolution, of the output's gradient with zeros around it, with the kernel turned around and input and output channels exchanged; one for each phase of the stride. From panels this is done for stride 1 only; with others each phase of an image goes the way that its own rows ask for, and volumes go module 09's (a product, then `add_windows`).
// - **Gradient of the weight**: the output's gradient (M, N L) times pixels (N L, K): the sum over images and places is the inner dimension of one product.
//
// Small images have short rows: 10 windows fill vectors of eight to 62 %, and so they fill vectors of sixteen. But a batch has many of them, and the windows of *one place of several images* are alike, too. Turned around, so that the pixels of one place of G images are neighbours, these are one wide image; a step to the
// next column is G numbers, which is what a dilation says. So no kernel needs to know of it:
//
//     (N, C, H, W)  -- permute, contiguous -->  (N / G, C, H, W G), columns G apart  -- convolution with dilation G in columns -->  (N / G, M, oH, oW G)  -- back -->  (N, M, oH, oW)
//
// Rows of W G windows always fill their vectors, and lie where a line of the cache begins if G is a multiple of 16. LeNet-5's second convolution, 10 x 10 windows of 64 images, gains most in the gradient of its weights, which sums over the lanes (`benchmarks/notes.md` has the times). Turning around moves each number of image
// and result once. It pays if it saves more multiply-adds in empty lanes than the moving costs; windows of one pixel do too little with a number, and so do few channels.
//
// How many images go together? As many as the two vectors of a tile have lanes, 16 with AVX2. A tile is then one place of a group. Under a 5 x 5 kernel of 16 channels it reads 25.6 KB, and the tile of the next column wants four fifths of them again, which the first cache still has. With all 64 images in one, the tiles of three other
// groups came between: LeNet-5's step took a tenth longer.
//
// Before any of this, chapter 56 is asked: 1 x 1 kernels are products as they stand, and so are convolutions of images whose channels are last. Where many channels meet a stride, or the gradient of wide kernels' weights is wanted, images in rows are worth being put into that order for one convolution.
//
// A bias is one addition for each number of the result, and a pass of its own over the result in memory if it is added afterwards: 20 of 185 microseconds in LeNet-5's first convolution, a seventh of a depthwise one's time, a quarter with channels last. Each way forward has a place where its sums are in registers anyway:
//
//     tiles that read in place, depthwise rows      sums start from the channel's bias, not from 0
//     panels                                        a tile's `start`: for each of its rows a line of copies, written down once for all tiles beside each other
//     Winograd's                                    the product at the place of the point 1
//     images side by side                           the convolution of the wide image adds it
//     chapter 56                                    `start` of its products and tiles; depthwise windows start from it
//
// Where K is cut into blocks, only the first one starts from the bias. Before and after, in microseconds, with one thread on an Intel processor with AVX-512 (medians; the two programs took turns):
//
//                                                     rows              channels last
//     1 to 6 channels, 5 x 5, 64 images of 28 x 28    185 -> 163        185 -> 163
//     6 to 16, 5 x 5, 64 of 14 x 14                   246 -> 230        251 -> 205
//     3 to 16, 3 x 3, 16 of 32 x 32                   143 -> 123        268 -> 151
//     64 to 256, 1 x 1, 4 of 56 x 56                 3253 -> 2859      3344 -> 2778
//     144 one by one, 3 x 3, 4 of 28 x 28             447 -> 382        250 -> 192
//     64 to 64, 3 x 3, 56 x 56 (Winograd's)           674 -> 648        866 -> 822
//
// The reference adds it in a pass, and so does a transposed convolution, whose operator is the gradient of another and has no bias.
//
// So each map has four ways besides. Kernels of 3 x 3 with stride 1 go Winograd's way in float32, where it pays. Of the others, batches of images with short rows are turned around in groups, unless columns have a stride. Rows of windows that fill at least 70 % of their vectors (56, 28 or 8 in vectors of eight, not 10) are read in place, and so are less full ones
// where the result has few rows, which do not use a panel often enough to pay for it; the others, and volumes, go through panels. Integers, Half and empty results are handed down to the reference.

// %%
//| export kernels/convolution.cpp
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

// %%
//| export kernels/convolution.cpp
//| registers
void register_tuned_convolution() {
  op::convolution.set(Layer::TunedCPU, convolution_tuned);
  op::convolution_input.set(Layer::TunedCPU, convolution_input_tuned);
  op::convolution_weight.set(Layer::TunedCPU, convolution_weight_tuned);
}

// %%
//| lesson
struct Setting {
  DimVector input, weight, stride, padding, dilation;
  std::int64_t groups = 1;
};

std::vector<Setting> settings() {
  return {{{2, 3, 5, 6}, {4, 3, 3, 2}, {1, 1}, {0, 0}, {1, 1}, 1},     {{3, 2, 9, 8}, {5, 2, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1},     {{2, 4, 12, 11}, {6, 2, 3, 3}, {2, 1}, {1, 2}, {1, 1}, 2},
          {{1, 2, 13, 14}, {3, 2, 3, 4}, {3, 2}, {2, 0}, {2, 1}, 1},    {{2, 3, 20}, {4, 3, 5}, {1}, {2}, {2}, 1},                     {{1, 2, 5, 6, 7}, {3, 2, 2, 3, 2}, {1, 1, 1}, {1, 0, 1}, {1, 1, 1}, 1},
          {{2, 3, 16, 24}, {13, 3, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1},   {{3, 4, 9, 15}, {6, 2, 3, 3}, {1, 1}, {0, 2}, {2, 3}, 2},     {{2, 2, 17, 31}, {3, 2, 5, 3}, {2, 2}, {2, 1}, {1, 1}, 1},
          {{2, 3, 15, 32}, {5, 3, 1, 1}, {2, 2}, {0, 0}, {1, 1}, 1},    {{1, 2, 20, 46}, {4, 2, 3, 4}, {3, 3}, {1, 4}, {2, 1}, 1},    {{5, 2, 32}, {4, 1, 3}, {1}, {1}, {1}, 2},
          {{1, 60, 8, 8}, {7, 60, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1},    {{40, 2, 8, 8}, {3, 2, 3, 3}, {1, 1}, {3, 3}, {1, 1}, 1},     {{1, 2, 48, 48}, {20, 2, 2, 3}, {1, 1}, {0, 0}, {1, 1}, 1},
          {{2, 40, 10, 10}, {50, 40, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1}, {{1, 6, 7, 7}, {6, 1, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 6},       {{2, 3, 4, 4}, {4, 3, 1, 1}, {1, 1}, {2, 2}, {1, 1}, 1},
          {{3, 6, 14, 14}, {16, 6, 5, 5}, {1, 1}, {0, 0}, {1, 1}, 1},   {{2, 3, 16, 16}, {4, 3, 2, 2}, {1, 1}, {2, 2}, {1, 1}, 1},   {{2, 2, 9, 32}, {5, 2, 3, 3}, {1, 1}, {2, 4}, {1, 1}, 1},
          {{64, 6, 14, 14}, {16, 6, 5, 5}, {1, 1}, {0, 0}, {1, 1}, 1},  {{64, 6, 9, 10}, {8, 6, 5, 3}, {1, 1}, {3, 2}, {1, 1}, 1},    {{32, 4, 7, 10}, {12, 2, 3, 5}, {1, 1}, {1, 2}, {2, 1}, 2},   {{32, 8, 6}, {8, 8, 3}, {1}, {1}, {1}, 1},
             {{2, 3, 9, 9}, {2, 3, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1},     {{2, 3, 11, 18}, {40, 3, 3, 3}, {2, 2}, {1, 4}, {1, 1}, 1},
          {{1, 2, 9, 140}, {3, 2, 2, 9}, {1, 1}, {1, 5}, {1, 1}, 1},    {{1, 1, 3, 3}, {1, 1, 3, 3}, {1, 1}, {0, 0}, {1, 1}, 1},
          {{19, 8, 10, 9}, {12, 4, 5, 4}, {1, 1}, {2, 1}, {1, 1}, 2},   {{21, 12, 9, 7}, {10, 12, 3, 3}, {2, 1}, {1, 0}, {2, 2}, 1},  {{16, 20, 11}, {24, 20, 3}, {1}, {2}, {2}, 1},
          {{32, 6, 10, 11}, {13, 6, 5, 3}, {1, 1}, {1, 0}, {1, 1}, 1},  {{32, 40, 5, 6}, {9, 40, 5, 4}, {1, 1}, {2, 2}, {1, 1}, 1},
          {{2, 5, 19, 37}, {5, 1, 5, 5}, {1, 1}, {2, 2}, {1, 1}, 5},    {{1, 4, 21, 18}, {4, 1, 7, 3}, {2, 2}, {3, 1}, {1, 1}, 4},    {{3, 3, 12, 20}, {3, 1, 3, 3}, {1, 1}, {2, 2}, {2, 2}, 3},   {{2, 4, 30}, {4, 1, 7}, {1}, {3}, {1}, 4},
          {{1, 3, 16, 16}, {3, 1, 7, 7}, {1, 1}, {0, 0}, {1, 1}, 3},    {{2, 64, 1, 1}, {64, 64, 3, 3}, {2, 2}, {1, 1}, {1, 1}, 1},   {{2, 64, 9, 30}, {64, 64, 3, 3}, {2, 2}, {1, 1}, {1, 1}, 1},
          {{3, 16, 11, 13}, {17, 16, 3, 3}, {2, 2}, {1, 1}, {1, 1}, 1}, {{32, 32, 3, 3}, {32, 32, 5, 5}, {1, 1}, {2, 2}, {1, 1}, 1},  {{3, 33, 10, 9}, {32, 33, 5, 4}, {1, 1}, {2, 1}, {1, 1}, 1}};
}

// Result, with a bias and without, and both gradients for whole numbers, which every order of summing gives exactly.
std::vector<Tensor> maps(const Setting& s, ScalarType type) {
  const auto numbers = [&](IntArrayRef sizes, std::int64_t period) { return (arange(multiply_sizes(sizes)).remainder(period) - period / 2).to(type).view(sizes); };
  const Tensor x = numbers(s.input, 7), w = numbers(s.weight, 5);
  const Tensor y = op::convolution(x, w, numbers({s.weight[0]}, 11), s.stride, s.padding, s.dilation, s.groups);
  const Tensor g = numbers(y.sizes(), 3);
  return {y, op::convolution(x, w, {}, s.stride, s.padding, s.dilation, s.groups), op::convolution_input(g, w, s.input, s.stride, s.padding, s.dilation, s.groups), op::convolution_weight(x, g, s.weight, s.stride, s.padding, s.dilation, s.groups)};
}

// %%
TEST_CASE("tuned convolution gives what the reference gives, forward and backward") {
  for (const Setting& setting : settings()) {
    CAPTURE(setting.weight);
    for (const ScalarType type : {kFloat, kDouble, kLong}) {
      const std::vector<Tensor> expected = [&] {
        const kernels::ReferenceKernelsGuard reference;
        return maps(setting, type);
      }();
      for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
        const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
        const std::vector<Tensor> tuned = maps(setting, type);
        for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_EQ(tuned[i], expected[i]);
      }
    }
  }
}

TEST_CASE("tuned convolution: inputs of any strides, nothing read behind the last pixel, the same bits for any number of threads") {
  manual_seed(75);
  const Tensor x = randn({3, 10, 12, 8}).permute({0, 3, 1, 2}), w = randn({8, 3, 3, 5}).permute({3, 0, 1, 2}), bias = randn({5, 2}).select(1, 1);
  const auto result = [&] { return op::convolution(x, w, bias, {1, 1}, {1, 1}, {1, 1}, 1); };
  const int before = get_num_threads();
  set_num_threads(1);
  const Tensor alone = result();
  set_num_threads(3);
  CHECK_EQ(result(), alone);
  set_num_threads(1);
  const auto gradients = [] {
    const Tensor image = arange(2 * 3 * 32 * 48).to(kFloat).view({2, 3, 32, 48}) * 1e-3, y = image.slice(1, 0, 2) * 0.7;
    const Tensor kernel = arange(54).to(kFloat).view({2, 3, 3, 3}) * 0.1;
    // Forty images of 9 x 9, side by side.
    const Tensor small = image.narrow(2, 0, 9).narrow(3, 0, 9).repeat({20, 4, 1, 1}), kernels = kernel.repeat({12, 4, 1, 1}), maps = op::convolution(small, kernels, {}, {1, 1}, {1, 1}, {1, 1}, 1);
    return std::vector<Tensor>{op::convolution_input(y, kernel, image.sizes(), {1, 1}, {1, 1}, {1, 1}, 1), op::convolution_weight(image, y, kernel.sizes(), {1, 1}, {1, 1}, {1, 1}, 1), maps,
                               op::convolution_input(maps, kernels, small.sizes(), {1, 1}, {1, 1}, {1, 1}, 1), op::convolution_weight(small, maps, kernels.sizes(), {1, 1}, {1, 1}, {1, 1}, 1)};
  };
  const std::vector<Tensor> gradients_alone = gradients();
  set_num_threads(3);
  const std::vector<Tensor> gradients_together = gradients();
  for (std::size_t i = 0; i < gradients_alone.size(); ++i) CHECK_EQ(gradients_together[i], gradients_alone[i]);
  set_num_threads(before);
  CHECK_CLOSE(alone, [&] {
    const kernels::ReferenceKernelsGuard reference;
    return result();
  }(), 1e-5, 1e-5);
  // Results in rows have the strides of rows, also with one pixel.
  CHECK_EQ(op::convolution(ones({2, 32, 5, 5}), ones({32, 32, 5, 5}), {}, {1, 1}, {0, 0}, {1, 1}, 1).strides(), IntArrayRef({32, 1, 1, 1}));
  CHECK_EQ(op::convolution_input(ones({2, 32, 1, 1}), ones({32, 32, 3, 3}), {2, 32, 1, 1}, {2, 2}, {1, 1}, {1, 1}, 1).strides(), IntArrayRef({32, 1, 1, 1}));
  // An input that ends where its memory ends, for the address sanitizer.
  const Tensor exact = ones({1, 1, 7, 7});
  CHECK_EQ(op::convolution(exact, ones({2, 1, 3, 3}), {}, {1, 1}, {0, 0}, {1, 1}, 1), full({1, 2, 5, 5}, 9.0));
  const Tensor wide = ones({1, 1, 7, 31});
  CHECK_EQ(op::convolution(wide, ones({2, 1, 3, 3}), {}, {1, 1}, {0, 0}, {1, 1}, 1), full({1, 2, 5, 29}, 9.0));
  // What lies beside a row in memory does not get into it, not even as infinity times zero.
  const Tensor infinite = ones({1, 1, 3, 15});
  infinite.select(3, 14).fill_(std::numeric_limits<float>::infinity());
  const Tensor weights = op::convolution_weight(infinite, ones({1, 1, 3, 14}), {1, 1, 1, 2}, {1, 1}, {0, 0}, {1, 1}, 1);
  CHECK_EQ(weights.view({2}).select(0, 0), tensor(42.0F));
}

// %%
//| lesson
// Shapes that Winograd's way takes: odd sizes, tiles that hang over the edge, channels that fill no vector, all paddings.
std::vector<Setting> winograd_settings() {
  const auto three = [](DimVector input, std::int64_t results, DimVector padding) { return Setting{input, {results, input[1], 3, 3}, {1, 1}, padding, {1, 1}, 1}; };
  return {three({4, 16, 16, 16}, 16, {1, 1}), three({3, 17, 13, 15}, 19, {0, 0}), three({5, 33, 10, 11}, 40, {2, 2}), three({6, 20, 9, 30}, 24, {0, 2}), three({30, 64, 4, 4}, 18, {1, 1}), three({1, 16, 29, 62}, 33, {2, 1}), three({2, 18, 12, 9}, 16, {3, 4}),
          three({32, 16, 24, 22}, 16, {1, 1})};  // of the last the kernel's gradient has two parts
}

struct ConvolutionMaps {
  Tensor result, input, weight;
};

ConvolutionMaps maps_of(const Setting& s, const Tensor& x, const Tensor& w, const Tensor& bias, const Tensor& grad) {
  return {op::convolution(x, w, bias, s.stride, s.padding, s.dilation, s.groups), op::convolution_input(grad, w, x.sizes(), s.stride, s.padding, s.dilation, s.groups),
          op::convolution_weight(x, grad, w.sizes(), s.stride, s.padding, s.dilation, s.groups)};
}

// Largest difference, in units of the root of the mean square of what is expected.
double relative_error(const Tensor& actual, const Tensor& expected) {
  return (actual.to(kDouble) - expected).abs().max().item<double>() / std::sqrt((expected * expected).mean().item<double>());
}

// Normally distributed numbers, the weights divided so that results have about the same size.
struct WinogradExample {
  explicit WinogradExample(const Setting& s) : x(randn(s.input)), w(randn(s.weight) / std::sqrt(9.0 * static_cast<double>(s.input[1]))), bias(randn({s.weight[0]})), grad(randn(op::convolution(x, w, {}, s.stride, s.padding, s.dilation, s.groups).sizes())) {}
  Tensor x, w, bias, grad;
};

// %%
TEST_CASE("Winograd's way gives what the reference gives in double, up to rounding, forward and backward") {
  manual_seed(75);
  for (const Setting& s : winograd_settings()) {
    CAPTURE(s.weight);
    const WinogradExample e(s);
    const ConvolutionMaps expected = [&] {
      const kernels::ReferenceKernelsGuard reference;
      return maps_of(s, e.x.to(kDouble), e.w.to(kDouble), e.bias.to(kDouble), e.grad.to(kDouble));
    }();
    for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
      const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
      const ConvolutionMaps tuned = maps_of(s, e.x, e.w, e.bias, e.grad);
      CHECK_LT(relative_error(tuned.result, expected.result), 3e-5);
      CHECK_LT(relative_error(tuned.input, expected.input), 3e-5);
      CHECK_LT(relative_error(tuned.weight, expected.weight), 3e-5);
      if (s.padding[0] > 0 || s.padding[1] > 0) continue;
      // It was this way: an infinite pixel at column 3 reaches the window of columns 0 to 2, which is of its tile, and not the next tile.
      const Tensor pierced = e.x.clone();
      pierced.select(0, 0).select(0, 0).select(0, 0).select(0, 3).fill_(std::numeric_limits<float>::infinity());
      const Tensor reached = op::convolution(pierced, e.w, {}, s.stride, s.padding, s.dilation, s.groups).select(0, 0).select(0, 0).select(0, 0);
      CHECK_FALSE(std::isfinite(reached.select(0, 0).item<float>()));
      CHECK(std::isfinite(reached.select(0, 4).item<float>()));
    }
  }
}

TEST_CASE("Winograd's way: the gradients are slopes") {
  manual_seed(76);
  const Setting s = winograd_settings()[1];
  const WinogradExample e(s);
  const ConvolutionMaps tuned = maps_of(s, e.x, e.w, e.bias, e.grad);
  const auto loss = [&](const Tensor& x, const Tensor& w) { return (op::convolution(x, w, {}, s.stride, s.padding, s.dilation, s.groups) * e.grad).to(kDouble).sum().item<double>(); };
  // The map is linear in each of them, so a difference over any step is the slope.
  const auto slope = [&](const Tensor& at, const std::function<double(const Tensor&)>& f, std::int64_t i) {
    const Tensor more = at.clone(), less = at.clone();
    more.view({-1}).select(0, i).add_(1);
    less.view({-1}).select(0, i).sub_(1);
    return (f(more) - f(less)) / 2;
  };
  for (std::int64_t i = 5; i < e.x.numel(); i += e.x.numel() / 7) CHECK_CLOSE(tuned.input.view({-1}).select(0, i).item<double>(), slope(e.x, [&](const Tensor& x) { return loss(x, e.w); }, i), 1e-4, 1e-3);
  for (std::int64_t i = 1; i < e.w.numel(); i += e.w.numel() / 7) CHECK_CLOSE(tuned.weight.view({-1}).select(0, i).item<double>(), slope(e.w, [&](const Tensor& w) { return loss(e.x, w); }, i), 1e-4, 1e-3);
}

TEST_CASE("Winograd's way: the same bits for any number of threads, inputs of any strides, and shapes that it leaves alone") {
  manual_seed(77);
  const int before = get_num_threads();
  for (const Setting& s : winograd_settings()) {
    const WinogradExample e(s);
    set_num_threads(1);
    const ConvolutionMaps alone = maps_of(s, e.x, e.w, e.bias, e.grad);
    for (const int threads : {2, 3, 9}) {  // two: as many as parts of the kernel's gradient, where there are two; else tasks share one
      set_num_threads(threads);
      const ConvolutionMaps together = maps_of(s, e.x, e.w, e.bias, e.grad);
      CHECK_EQ(together.result, alone.result);
      CHECK_EQ(together.input, alone.input);
      CHECK_EQ(together.weight, alone.weight);
    }
    const auto turned = [](const Tensor& t) { return t.permute({0, 2, 3, 1}).contiguous().permute({0, 3, 1, 2}); };
    const ConvolutionMaps strided = maps_of(s, turned(e.x), turned(e.w), e.bias, turned(e.grad));
    CHECK_EQ(strided.result, alone.result);
    // Under a padding wider than the kernel reaches the gradient of the input goes another way, which sums in the order in which images with channels last lie.
    if (s.padding[0] <= 2 && s.padding[1] <= 2) CHECK_EQ(strided.input, alone.input);
    else CHECK_CLOSE(strided.input, alone.input, 1e-5, 1e-5);
    CHECK_EQ(strided.weight, alone.weight);
  }
  set_num_threads(before);
  // No images, and sums of whole numbers where one channel is the input: those are exact.
  CHECK_EQ(op::convolution(ones({0, 16, 16, 16}), ones({16, 16, 3, 3}), {}, {1, 1}, {1, 1}, {1, 1}, 1).sizes(), IntArrayRef({0, 16, 16, 16}));
  CHECK_EQ(op::convolution(full({4, 1, 16, 16}, 3, kFloat), full({16, 1, 3, 3}, 7, kFloat), {}, {1, 1}, {0, 0}, {1, 1}, 1), full({4, 16, 14, 14}, 189.0F));
}

// %%
DEMO("convolution 3 x 3, forward and backward: reference and tuned") {
  const Tensor x = rand({4, 32, 28, 28}), w = rand({32, 32, 3, 3}), g = rand({4, 32, 28, 28});
  const auto time = [&] {
    const double forward = measure([&] { do_not_optimize(op::convolution(x, w, {}, {1, 1}, {1, 1}, {1, 1}, 1)); }, {.samples = 3}).minimum;
    const double input = measure([&] { do_not_optimize(op::convolution_input(g, w, x.sizes(), {1, 1}, {1, 1}, {1, 1}, 1)); }, {.samples = 3}).minimum;
    const double weight = measure([&] { do_not_optimize(op::convolution_weight(x, g, w.sizes(), {1, 1}, {1, 1}, {1, 1}, 1)); }, {.samples = 3}).minimum;
    const double operations = 2.0 * 4 * 32 * 32 * 9 * 28 * 28;
    std::printf("forward %8.2f   input %8.2f   weight %8.2f GFLOP/s\n", operations / forward * 1e-9, operations / input * 1e-9, operations / weight * 1e-9);
  };
  time();
  const kernels::ReferenceKernelsGuard reference;
  time();
}

// %%
DEMO("Winograd's way: its errors, beside those of the reference in float") {
  manual_seed(75);
  for (const std::int64_t channels : {16, 64}) {
    const Setting s{{2, channels, 28, 28}, {channels, channels, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1};
    const WinogradExample e(s);
    const ConvolutionMaps tuned = maps_of(s, e.x, e.w, e.bias, e.grad);
    const kernels::ReferenceKernelsGuard reference;
    const ConvolutionMaps plain = maps_of(s, e.x, e.w, e.bias, e.grad), exact = maps_of(s, e.x.to(kDouble), e.w.to(kDouble), e.bias.to(kDouble), e.grad.to(kDouble));
    const auto mean_error = [](const Tensor& actual, const Tensor& expected) {
      const Tensor d = actual.to(kDouble) - expected;
      return std::sqrt((d * d).mean().item<double>() / (expected * expected).mean().item<double>());
    };
    std::printf("%3d channels, mean error    result %.1e (reference %.1e)   input %.1e (%.1e)   weight %.1e (%.1e)\n", static_cast<int>(channels), mean_error(tuned.result, exact.result), mean_error(plain.result, exact.result),
                mean_error(tuned.input, exact.input), mean_error(plain.input, exact.input), mean_error(tuned.weight, exact.weight), mean_error(plain.weight, exact.weight));
  }
}

// %% [markdown]
// ## Where to read on
//
// oneDNN, which PyTorch calls for convolutions on CPUs, generates kernels for the very shape at hand, with channels in blocks of 16 so that every line of a panel is one run: `src/cpu/x64/jit_brgemm_conv.cpp`. Winograd's way is there
// in `src/cpu/x64/jit_avx512_core_f32_wino_conv_4x3.cpp` of its older versions (PyTorch asks for the plain one); Lavin and Gray, *Fast Algorithms for Convolutional Neural Networks* (2016), and Barabasz, Anderson, Soodhalter and Gregg, *Error Analysis and Improving the Accuracy of Winograd
// Convolution for Deep Neural Networks* (2020), are the papers. The bias is an argument of oneDNN's convolution, and what follows it (relu, a sum with another image) are its *post-ops* (`src/cpu/x64/injectors`), applied to registers before they are stored; cuDNN has `cudnnConvolutionBiasActivationForward`. PyTorch's own fallback makes columns, as module 09 does: `aten/src/ATen/native/ConvolutionMM2d.cpp`.

// %%
}  // namespace tinytorch
