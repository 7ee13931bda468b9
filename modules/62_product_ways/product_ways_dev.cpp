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
// # Library chapter 62: Products with a shape or an end of their own
//
// Module 16 computes a product in one of three ways: as dot products of lines, as a small one, or block by block through packed panels. Every product goes one of them, and for some shapes a part of it does not pay. This chapter adds ways for these, and joins them to `kernels::multiply`, so that whoever calls it has them:
//
//     shape                                         what does not pay in module 16's ways             instead
//     one row, B's lines contiguous                 a tile of one row has two sums, and waits         long lines of B, four at a time
//     small, and as wide as four vectors            14 loads for 24 multiply-adds                     wide tiles: 10 loads
//     large                                         a tile waits for operands that are far away       each tile asks for what a later one wants
//     few rows                                      a panel of B is packed, written and used once     who computes its columns packs it
//     few rows, B transposed: a layer's weights     packing turns all of the weights                  the transposed product: W is read where it lies
//     a stack of small matrices (`bmm`)             for each of them the same divisions               one plan for all
//     all that is packed                            registers of 128 bits, of which a CPU has wider   squares side by side, whole registers
//
// Which of these ways a product goes follows from its sizes and strides and from the machine, never from its numbers. Only that of few rows asks for the number of threads, and it gives the same bits as the blocks that it stands for.
//
// The end of a product can be of its own as well: a layer is a product, a bias, and a function of each number. The last part of the chapter puts relu into the product, as PyTorch's `_addmm_activation`.

// %%
//| after 16
//| export kernels/shape_kernels.h
#include <cstdint>
#include "tinytorch/kernels/gemm_kernels.h"
//| export kernels/product_ways.h
#include "tinytorch/kernels/shape_kernels.h"
//| export kernels/product_ways.cpp
#include <algorithm>
#include <cstdint>
#include <numeric>
#include "tinytorch/core/matrix_ops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/product-inl.h"
//| export kernels/fused_products.h
#include "tinytorch/core/dispatch.h"
#include "tinytorch/core/scalar.h"
#include "tinytorch/core/tensor.h"
//| export kernels/fused_products.cpp
#include <optional>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/matrix_ops.h"
#include "tinytorch/kernels/products.h"
#include "tinytorch/nn/activations.h"

// %%
//| export kernels/product_shapes.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <algorithm>
#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include <utility>
#include "tinytorch/kernels/shape_kernels.h"
#include "tinytorch/kernels/tiles-inl.h"

// %%
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <utility>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/matmul.h"
#include "tinytorch/core/matrix_ops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/product-inl.h"
#include "tinytorch/nn/activations.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Kernels
//
// A tile of one row would have two sums, of which each multiply-add waits for the one before. One row has a kernel of its own, whose sums are as many vectors as registers hold. A matrix that comes from memory is read in long lines, four of them at a time, so that the processor sees streams and fetches ahead; the sums of a strip of 2,048 columns wait in the first cache meanwhile. Attention of one query (chapter 71) calls this kernel too.
//
// A small matrix is often no wider than four vectors, and then half as many rows by four vectors is the better tile: as many sums, but 10 loads for each 24 multiply-adds instead of 14, and each line of B and of the result is used whole. For matrices that come from the last cache this is what counts, because processors fetch ahead
// along lines that follow one another: 64 products of 64 x 64 on an Intel server with AVX-512 take 235 microseconds instead of 272, of which their arithmetic alone is 194. A large product keeps the taller tile, since it uses a panel of B, which must come from the second cache, for twice as many rows.
//
// Packing turns lines in squares of 4 x 4 numbers, which fit into registers of 128 bits. In one of 512 bits four squares stand side by side, and the same few instructions turn them together. Where a panel is full, lines are stored whole, and what a vector has too much is overwritten by the next line.
//
// A tile's operands come from the second cache at best. In the step of a network they come from the last one, since more than two megabytes were touched since they were used; who then packs a panel, or reads it for the first time, waits for each line of it, and multiplies nothing meanwhile. So each tile of a large product asks ahead: for its own place in the result, for its share of A's next panel, or of B's.
// It does so a few lines at a time, before each sixteen steps of K. With operands in the last cache of an Intel server (AVX-512) the products of a GPT's step with 128 channels take 0.88 to 0.99 of their time, those of 512 to 2,048 square 0.98.

// %%
//| export kernels/shape_kernels.h
namespace kernels {

// Memory that a tile asks for while it multiplies, for a later tile to find it near: whenever its own K has used up a line of the cache (16 steps in float), lines at `count` places `step` apart, the first time from `from` on, the next time `next` further on.
// In the same way it asks for its own place in the result, if that is far away.
template <class T>
struct Wanted {
  const T* from = nullptr;
  std::int64_t step = 0, next = 0;
  int count = 0;
  bool place = true;
};

// What is compiled for one capability and dtype. A tile of the largest size is (rows, columns) of GemmTable.
template <class T>
struct ShapeTable {
  // Like GemmTable's tile, for a large product, whose operands come from far away: meanwhile it asks for what is wanted. If A is read in place, its rows are contiguous.
  void (*tile_and_ask)(const Tile<T>& tile, int rows, int columns, bool packed, const Wanted<T>& wanted);
  // A tile of exactly twice as many columns and up to half as many rows, A and B in place.
  void (*wide_tile)(const Tile<T>& tile, int rows);
  // One row: out (columns) = activation(alpha * a (K) x b (K, columns) + beta * start); a's numbers are a_k apart, b's lines contiguous and b_k apart.
  void (*row)(const Tile<T>& row, std::int64_t columns);
  FastPacking<T> packing;
};

struct ShapeKernels {
  ShapeTable<float> in_float;
  ShapeTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(ShapeKernels, shape_kernels)

}  // namespace kernels

// %%
//| export kernels/product_shapes.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// Turns several of module 16's squares beside each other, as many as a register of 256 or 512 bits holds, of Lines lines. Registers are stored whole: what they have too much goes into the next line of the panel, which is written after it, but for the last line.
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
template <int Lines, class T>
HWY_INLINE void pack_beside(T* to, int width, const T* from, std::int64_t step, std::int64_t K) {
  constexpr int size = kSquare<T>;
  const hn::CappedTag<T, (Lines > 2 * size ? 4 : 2) * size> d;
  const hn::CappedTag<T, 2 * size> two;
  const hn::CappedTag<T, size> one;
  const hn::Repartition<double, decltype(d)> pairs;
  constexpr int room = static_cast<int>(hn::MaxLanes(d));
  // A pointer for the lines of each square: one for all of them would want more steps than x86 has registers for.
  constexpr int squares = (Lines + size - 1) / size;
  const T* next[squares];
  for (int index = 0; index < squares; ++index) next[index] = from + index * size * step;
  // The next numbers of lines `line`, line + size and so on; the last line in place of one that is not there.
  const auto beside = [&](int line) {
    const auto square = [&](int index) { return hn::LoadU(one, next[index] + std::min(line, Lines - 1 - index * size) * step); };
    const auto first = hn::Combine(two, square(1), square(0));
    if constexpr (squares == 2) return first;
    else if constexpr (squares == 3) return hn::Combine(d, hn::ZeroExtendVector(two, square(2)), first);
    else return hn::Combine(d, hn::Combine(two, square(3), square(2)), first);
  };
  std::int64_t k = 0;
  const auto store = [&](int ahead, auto value) {
    const auto numbers = hn::BitCast(d, value);
    if (Lines == room || k + ahead + 1 < K) hn::StoreU(numbers, d, to + ahead * width);
    else hn::BlendedStore(numbers, hn::FirstN(d, Lines), d, to + ahead * width);
  };
  for (; k + size <= K; k += size, to += size * width) {
    const auto r0 = beside(0), r1 = beside(1);
    const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, r0, r1)), high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, r0, r1));
    if constexpr (size == 2) {
      store(0, low01), store(1, high01);
    } else {
      const auto r2 = beside(2), r3 = beside(3);
      const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, r2, r3)), high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, r2, r3));
      store(0, hn::InterleaveLower(pairs, low01, low23)), store(1, hn::InterleaveUpper(pairs, low01, low23));
      store(2, hn::InterleaveLower(pairs, high01, high23)), store(3, hn::InterleaveUpper(pairs, high01, high23));
    }
    for (int index = 0; index < squares; ++index) next[index] += size;
  }
  for (; k < K; ++k, to += width)
    for (int line = 0; line < Lines; ++line) to[line] = from[line * step + k];
}
#endif

// The same for two lines, of which six rows have a pair beside a square.
template <class T>
HWY_INLINE std::int64_t pack_pairs(T* to, int width, const T* from, std::int64_t step, std::int64_t K) {
  std::int64_t k = 0;
#if HWY_TARGET == HWY_SCALAR
  static_cast<void>(to), static_cast<void>(width), static_cast<void>(from), static_cast<void>(step), static_cast<void>(K);
#else
  if constexpr (kSquare<T> == 4) {
    const hn::CappedTag<T, 4> d;
    const hn::CappedTag<T, 2> pair;
    for (; k + 4 <= K; k += 4, from += 4, to += 4 * width) {
      const auto r0 = hn::LoadU(d, from), r1 = hn::LoadU(d, from + step);
      const auto low = hn::InterleaveLower(d, r0, r1), high = hn::InterleaveUpper(d, r0, r1);
      hn::StoreU(hn::LowerHalf(pair, low), pair, to);
      hn::StoreU(hn::UpperHalf(pair, low), pair, to + width);
      hn::StoreU(hn::LowerHalf(pair, high), pair, to + 2 * width);
      hn::StoreU(hn::UpperHalf(pair, high), pair, to + 3 * width);
    }
  }
#endif
  return k;
}

// See FastPacking: as many of `count` lines as fill registers, and two of what is left, so that squares take the rest.
template <class T>
int turn_lines(T* to, int width, const T* from, std::int64_t step, int count, std::int64_t K) {
  int i = 0;
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  constexpr int size = kSquare<T>;
#if HWY_TARGET == HWY_AVX3
  if (size == 4 && count == width) {  // a panel of A
    if (count == 12) return pack_beside<12>(to, width, from, step, K), 12;
    if (count == 11) return pack_beside<11>(to, width, from, step, K), 11;
  }
  for (; i + 4 * size <= count; i += 4 * size) pack_beside<4 * size>(to + i, width, from + i * step, step, K);
#endif
  for (; i + 2 * size <= count; i += 2 * size) pack_beside<2 * size>(to + i, width, from + i * step, step, K);
#endif
  if (kSquare<T> == 4 && (count - i) % 4 >= 2) {  // squares leave two lines over
    for (std::int64_t k = pack_pairs(to + i, width, from + i * step, step, K); k < K; ++k)
      for (int j = i; j < i + 2; ++j) to[k * width + j] = from[j * step + k];
    i += 2;
  }
  return i;
}

// `count` numbers side by side. Panels of six rows are narrower than a vector of eight, so what is left over is copied by halves.
template <class T>
HWY_INLINE void copy_numbers(T* to, const T* from, int count) {
  const Tag<T> d;
  int i = 0;
  for (; i + kTileLanes<T> <= count; i += kTileLanes<T>) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
#if HWY_TARGET != HWY_SCALAR
  const hn::CappedTag<T, 8> eight;
  const hn::CappedTag<T, 4> four;
  const hn::CappedTag<T, 2> two;
  if (kTileLanes<T> > 8 && i + 8 <= count) hn::StoreU(hn::LoadU(eight, from + i), eight, to + i), i += 8;
  if (kTileLanes<T> > 4 && i + 4 <= count) hn::StoreU(hn::LoadU(four, from + i), four, to + i), i += 4;
  if (kTileLanes<T> > 2 && i + 2 <= count) hn::StoreU(hn::LoadU(two, from + i), two, to + i), i += 2;
#endif
  for (; i < count; ++i) to[i] = from[i];
}

// See FastPacking. Where a panel is full, a line is one or two vectors: what a vector has too much is stored into the next lines, which are written after it. The last lines, whose vectors would reach beyond the panel, are copied number by number.
template <class T>
void copy_lines(T* to, int width, const T* from, std::int64_t k_step, int count, std::int64_t K) {
  constexpr std::int64_t ahead = 32;
  std::int64_t k = 0;
  if constexpr (kMasksAreSafe) {
    const Tag<T> d;
    const auto all_that_fit = [&](std::int64_t stored, const auto& copy_line) {
      for (; k * width + stored <= K * width; ++k, from += k_step, to += width) {
        if (k + ahead < K) hwy::Prefetch(from + ahead * k_step);
        copy_line();
      }
    };
    const int behind = count - kTileLanes<T>;  // numbers in the second vector
    if (count == width && behind <= 0) {
      const auto mask = hn::FirstN(d, static_cast<std::size_t>(count));
      all_that_fit(kTileLanes<T>, [&] { hn::StoreU(hn::MaskedLoad(mask, d, from), d, to); });
    } else if (count == width && behind <= kTileLanes<T>) {
      const auto mask = hn::FirstN(d, static_cast<std::size_t>(behind));
      all_that_fit(2 * kTileLanes<T>, [&] {
        hn::StoreU(hn::LoadU(d, from), d, to);
        hn::StoreU(hn::MaskedLoad(mask, d, from + kTileLanes<T>), d, to + kTileLanes<T>);
      });
    }
  }
  for (; k < K; ++k, from += k_step, to += width) {
    if (k + ahead < K) hwy::Prefetch(from + ahead * k_step);
    copy_numbers(to, from, count);
    for (int i = count; i < width; ++i) to[i] = T{0};
  }
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| export kernels/product_shapes.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// A wide piece of one row, so that each line of b is read some hundred bytes at a time.
template <class T, int Vectors>
void multiply_row_piece(const Tile<T>& row, std::int64_t j, int columns) {
  const Tag<T> d;
  Vector<T> sums[Vectors];
  HWY_UNROLL(16)
  for (int v = 0; v < Vectors; ++v) sums[v] = hn::Zero(d);
  for (std::int64_t k = 0; k < row.K; ++k) {
    const Vector<T> factor = hn::Set(d, row.a[k * row.a_k]);
    const T* const line = row.b + k * row.b_k + j;
    HWY_UNROLL(16)
    for (int v = 0; v < Vectors; ++v) sums[v] = hn::MulAdd(factor, load_first(line + v * kTileLanes<T>, columns - v * kTileLanes<T>), sums[v]);
  }
  HWY_UNROLL(16)
  for (int v = 0; v < Vectors; ++v) {
    const int left = columns - v * kTileLanes<T>;
    Vector<T> value = hn::Mul(hn::Set(d, row.alpha), sums[v]);
    if (row.start != nullptr) value = hn::MulAdd(hn::Set(d, row.beta), load_first(row.start + j + v * kTileLanes<T>, left), value);
    store_first(activated<T>(row.activation, value), row.out + j + v * kTileLanes<T>, left);
  }
}

// Adds Lines lines of b, from line k on and times their factors, to the sums of a long piece: each line is a stream as long as the piece. The sums wait in the first cache.
template <class T, int Lines>
HWY_INLINE void add_lines(const Tile<T>& row, std::int64_t k, std::int64_t j, std::int64_t columns, T* sums) {
  const Tag<T> d;
  Vector<T> factors[Lines];
  HWY_UNROLL(4)
  for (int i = 0; i < Lines; ++i) factors[i] = hn::Set(d, row.a[(k + i) * row.a_k]);
  const T* const line = row.b + k * row.b_k + j;
  for (std::int64_t v = 0; v < columns; v += kTileLanes<T>) {
    Vector<T> sum = hn::LoadU(d, sums + v);
    HWY_UNROLL(4)
    for (int i = 0; i < Lines; ++i) sum = hn::MulAdd(factors[i], hn::LoadU(d, line + i * row.b_k + v), sum);
    hn::StoreU(sum, d, sums + v);
  }
}

template <class T>
void multiply_row_strip(const Tile<T>& row, std::int64_t j, std::int64_t columns, T* sums) {
  const Tag<T> d;
  for (std::int64_t v = 0; v < columns; v += kTileLanes<T>) hn::StoreU(hn::Zero(d), d, sums + v);
  std::int64_t k = 0;
  for (; k + 4 <= row.K; k += 4) add_lines<T, 4>(row, k, j, columns, sums);
  for (; k < row.K; ++k) add_lines<T, 1>(row, k, j, columns, sums);
  const Vector<T> alpha = hn::Set(d, row.alpha), beta = hn::Set(d, row.beta);
  for (std::int64_t v = 0; v < columns; v += kTileLanes<T>) {
    Vector<T> value = hn::Mul(alpha, hn::LoadU(d, sums + v));
    if (row.start != nullptr) value = hn::MulAdd(beta, hn::LoadU(d, row.start + j + v), value);
    hn::StoreU(activated<T>(row.activation, value), d, row.out + j + v);
  }
}

// A matrix that comes from memory is read in long lines, a smaller one in pieces whose sums are registers. The sums are the same.
template <class T>
void multiply_row(const Tile<T>& row, std::int64_t columns) {
  constexpr int kVectors = kTileRows >= 12 ? 16 : 8;
  constexpr std::int64_t kStrip = 2048;
  std::int64_t j = 0;
  if (columns >= 512 && row.K * columns >= 1 << 17) {
    T sums[kStrip];
    for (std::int64_t count = 0; columns - j >= kTileLanes<T>; j += count) {
      count = std::min(kStrip, (columns - j) / kTileLanes<T> * kTileLanes<T>);
      multiply_row_strip(row, j, count, sums);
    }
  }
  for (; j + kVectors * kTileLanes<T> <= columns; j += kVectors * kTileLanes<T>) multiply_row_piece<T, kVectors>(row, j, kVectors * kTileLanes<T>);
  for (; j < columns; j += kTileLanes<T>) multiply_row_piece<T, 1>(row, j, columns - j < kTileLanes<T> ? static_cast<int>(columns - j) : kTileLanes<T>);
}

// A tile of Rows rows and four vectors of columns, which its lines in B and in the result fill.
template <class T, int Rows>
void multiply_wide_tile(const Tile<T>& tile) {
  constexpr int lanes = kTileLanes<T>;
  const Tag<T> d;
  Vector<T> first[Rows], second[Rows], third[Rows], fourth[Rows];
  HWY_UNROLL(6)
  for (int i = 0; i < Rows; ++i) first[i] = second[i] = third[i] = fourth[i] = hn::Zero(d);
  const T* a = tile.a;
  const T* b = tile.b;
  for (std::int64_t k = 0; k < tile.K; ++k) {
    const Vector<T> b_first = hn::LoadU(d, b), b_second = hn::LoadU(d, b + lanes), b_third = hn::LoadU(d, b + 2 * lanes), b_fourth = hn::LoadU(d, b + 3 * lanes);
    HWY_UNROLL(6)
    for (int i = 0; i < Rows; ++i) {
      const Vector<T> factor = hn::Set(d, a[i * tile.a_row]);
      first[i] = hn::MulAdd(factor, b_first, first[i]);
      second[i] = hn::MulAdd(factor, b_second, second[i]);
      third[i] = hn::MulAdd(factor, b_third, third[i]);
      fourth[i] = hn::MulAdd(factor, b_fourth, fourth[i]);
    }
    a += tile.a_k;
    b += tile.b_k;
  }
  Tile<T> right = tile;
  right.out += 2 * lanes;
  if (right.start != nullptr) right.start += 2 * lanes;
  finish_rows<true, 2>(tile, first, second, 2 * lanes);
  finish_rows<true, 2>(right, third, fourth, 2 * lanes);
}

template <class T, int... Index>
HWY_INLINE void choose_wide_tile(const Tile<T>& tile, int rows, std::integer_sequence<int, Index...>) {
  using Kernel = void (*)(const Tile<T>&);
  static constexpr Kernel kernels[] = {multiply_wide_tile<T, Index + 1>...};
  kernels[rows - 1](tile);
}

template <class T>
void any_wide_tile(const Tile<T>& tile, int rows) {
  choose_wide_tile(tile, rows, std::make_integer_sequence<int, kTileRows / 2>());
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| export kernels/product_shapes.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// Module 16's tiles, for those that ask for nothing.
void narrow_tile(const Tile<float>& tile, int rows, int columns, bool packed) { gemm_kernels.in_float.tile(tile, rows, columns, packed); }
void narrow_tile(const Tile<double>& tile, int rows, int columns, bool packed) { gemm_kernels.in_double.tile(tile, rows, columns, packed); }

// multiply_tile for operands that come from far away: before each line of the cache that its K fills it asks for what is wanted, and for two rows of its own place in the result. Never for much at once: a core has room for ten to sixteen lines that are on their way to its first cache.
// multiply_tile's loop stands here again, since a question in each step would cost the small tiles, which ask for nothing.
template <class T, int Rows, bool Packed>
void multiply_tile_and_ask(const Tile<T>& tile, int columns, const Wanted<T>& wanted) {
  constexpr int line = 64 / static_cast<int>(sizeof(T));
  const Tag<T> d;
  Vector<T> left[Rows];
  Vector<T> right[Rows];
  HWY_UNROLL(12)
  for (int i = 0; i < Rows; ++i) left[i] = right[i] = hn::Zero(d);
  const std::int64_t a_row = Packed ? 1 : tile.a_row;
  const std::int64_t a_k = Packed ? Rows : 1;
  constexpr int together = Packed || Rows <= 8 ? Rows : 4;
  constexpr int pointers = (Rows + together - 1) / together;
  const T* a[pointers];
  HWY_UNROLL(3)
  for (int p = 0; p < pointers; ++p) a[p] = tile.a + p * together * a_row;
  const T* b = tile.b;
  const T* next = wanted.from;
  int row = wanted.place ? 0 : Rows;
  for (std::int64_t k = 0; k < tile.K;) {
    for (int i = 0; i < wanted.count; ++i) hwy::Prefetch(next + i * wanted.step);
    next += wanted.next;
    for (int stop = row + 2; row < Rows && row < stop; ++row) {
      hwy::Prefetch(tile.out + row * tile.out_row);
      hwy::Prefetch(tile.out + row * tile.out_row + columns - 1);
    }
    for (const std::int64_t stop = tile.K - k < line ? tile.K : k + line; k < stop; ++k) {
      HWY_UNROLL(2)
      for (int j = 0; j < kTileColumns<T>; j += line) hwy::Prefetch(b + 16 * tile.b_k + j);
      const Vector<T> b_left = hn::LoadU(d, b), b_right = hn::LoadU(d, b + kTileLanes<T>);
      HWY_UNROLL(12)
      for (int i = 0; i < Rows; ++i) {
        const Vector<T> factor = hn::Set(d, a[i / together][i % together * a_row]);
        left[i] = hn::MulAdd(factor, b_left, left[i]);
        right[i] = hn::MulAdd(factor, b_right, right[i]);
      }
      HWY_UNROLL(3)
      for (int p = 0; p < pointers; ++p) a[p] += a_k;
      b += tile.b_k;
    }
  }
  finish_tile<2>(tile, left, right, columns);
}

template <class T, bool Packed, int... Index>
HWY_INLINE void choose_tile_and_ask(const Tile<T>& tile, int rows, int columns, const Wanted<T>& wanted, std::integer_sequence<int, Index...>) {
  using Kernel = void (*)(const Tile<T>&, int, const Wanted<T>&);
  static constexpr Kernel kernels[] = {multiply_tile_and_ask<T, Index + 1, Packed>...};
  kernels[rows - 1](tile, columns, wanted);
}

template <class T>
void any_tile_and_ask(const Tile<T>& tile, int rows, int columns, bool packed, const Wanted<T>& wanted) {
  if (columns <= kTileLanes<T>) return narrow_tile(tile, rows, columns, packed);
  if (packed) choose_tile_and_ask<T, true>(tile, rows, columns, wanted, std::make_integer_sequence<int, kTileRows>());
  else choose_tile_and_ask<T, false>(tile, rows, columns, wanted, std::make_integer_sequence<int, kTileRows>());
}

template <class T>
constexpr ShapeTable<T> shape_table_of() {
  return {any_tile_and_ask<T>, any_wide_tile<T>, multiply_row<T>, {turn_lines<T>, copy_lines<T>}};
}
}  // namespace

constinit const ShapeKernels shape_kernels = {shape_table_of<float>(), shape_table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| export kernels/product_ways.h
namespace kernels {

// The table of these kernels that run here.
template <class T>
const ShapeTable<T>& shape_table();
template <>
const ShapeTable<float>& shape_table<float>();
template <>
const ShapeTable<double>& shape_table<double>();

}  // namespace kernels

// %%
//| export kernels/product_ways.cpp
template <>
const kernels::ShapeTable<float>& kernels::shape_table<float>() {
  static constexpr const ShapeKernels* tables[] = TINYTORCH_PER_CAPABILITY(shape_kernels);
  return for_capability(tables).in_float;
}
template <>
const kernels::ShapeTable<double>& kernels::shape_table<double>() {
  static constexpr const ShapeKernels* tables[] = TINYTORCH_PER_CAPABILITY(shape_kernels);
  return for_capability(tables).in_double;
}

// %%
//| lesson
// Runs f once for each capability that this machine has.
template <class F>
void for_each_capability(F f) {
  for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
    CAPTURE(get_cpu_capability());
    f();
  }
}

// Sets the number of threads for a scope.
class ThreadsGuard {
 public:
  explicit ThreadsGuard(int threads) : before_(get_num_threads()) { set_num_threads(threads); }
  ~ThreadsGuard() { set_num_threads(before_); }
  ThreadsGuard(const ThreadsGuard&) = delete;
  ThreadsGuard& operator=(const ThreadsGuard&) = delete;

 private:
  int before_;
};

// Module 16's ways alone, for a scope.
struct PlainWaysGuard {
  kernels::MoreWays<float> floats = std::exchange(kernels::more_ways<float>, {});
  kernels::MoreWays<double> doubles = std::exchange(kernels::more_ways<double>, {});
  ~PlainWaysGuard() { kernels::more_ways<float> = floats, kernels::more_ways<double> = doubles; }
};

// Numbers that are exact in either type, so that every order of summing gives the same result.
Tensor whole_numbers(IntArrayRef sizes, ScalarType type) { return randint(-4, 5, sizes).to(type); }

// a x b by the reference's loops.
Tensor by_loops(const Tensor& a, const Tensor& b) {
  const kernels::ReferenceKernelsGuard reference;
  return mm(a, b);
}

// a x b by kernels::multiply, whatever the operators are registered to.
template <class T>
Tensor by_multiply(const Tensor& a, const Tensor& b) {
  const Tensor out = full({a.size(0), b.size(1)}, -99, a.scalar_type());
  kernels::multiply<T>(a.size(0), b.size(1), a.size(1), T{1}, {a.data<T>(), a.stride(0), a.stride(1)}, {b.data<T>(), b.stride(0), b.stride(1)}, T{0}, {nullptr, 0, 0}, out.data<T>(), b.size(1));
  return out;
}

// %%
TEST_CASE("wide tiles: every height, with and without a start") {
  for_each_capability([&] {
    const kernels::GemmTable<double>& table = kernels::gemm_table<double>();
    const kernels::ShapeTable<double>& shapes = kernels::shape_table<double>();
    const int columns = 2 * table.columns;
    const std::int64_t K = 5, line = columns + 3;
    const Tensor a = randint(-4, 5, {K, 12}).to(kDouble), b = randint(-4, 5, {K, line}).to(kDouble);
    for (int rows = 1; rows <= table.rows / 2; ++rows) {
      const Tensor expected = a.slice(1, 0, rows).t().mm(b.slice(1, 3));
      const Tensor start = randint(-4, 5, {rows, columns}).to(kDouble), out = full({rows, line}, 7, kDouble), sum = full({rows, line}, 7, kDouble);
      shapes.wide_tile({a.data<double>(), 1, 12, b.data<double>() + 3, line, K, out.data<double>(), line, nullptr, 0, 1.0, 0.0, kernels::Activation::None}, rows);
      shapes.wide_tile({a.data<double>(), 1, 12, b.data<double>() + 3, line, K, sum.data<double>(), line, start.data<double>(), columns, 2.0, 3.0, kernels::Activation::ReLU}, rows);
      CHECK_EQ(out.slice(1, 0, columns), expected);
      CHECK_EQ(sum.slice(1, 0, columns), relu(2 * expected + 3 * start));
      CHECK_EQ(out.slice(1, columns), full({rows, 3}, 7, kDouble));
    }
  });
}

TEST_CASE("packing in whole registers: every count, full panels and wider ones, and nothing behind them") {
  const auto check = []<class T>(T) {
    std::vector<T> numbers(5000);
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<T>(i);
    const kernels::GemmTable<T>& table = kernels::gemm_table<T>();
    int wrong = 0;
    for (const auto& [step, k_step] : std::vector<std::array<std::int64_t, 2>>{{1, 70}, {70, 1}}) {
      for (int count = 1; count <= 2 * table.columns; ++count) {
        for (const int width : {count, count + 1, 2 * table.columns + 4}) {
          for (const std::int64_t K : {1, 3, 4, 33}) {
            std::vector<T> panel(static_cast<std::size_t>(width * K + 40), T{-1});
            table.pack(panel.data(), width, numbers.data(), step, k_step, count, K);
            for (std::int64_t at = 0; at < width * K + 40; ++at) {
              const std::int64_t i = at % width, k = at / width;
              const T expected = k >= K ? T{-1} : i < count ? numbers[static_cast<std::size_t>(i * step + k * k_step)] : T{0};
              wrong += panel[static_cast<std::size_t>(at)] == expected ? 0 : 1;
            }
          }
        }
      }
    }
    CHECK_EQ(wrong, 0);
  };
  for_each_capability([&] {
    check(float{});
    check(double{});
  });
}

TEST_CASE("one row: pieces in registers and long strips, with and without a start") {
  manual_seed(21);
  for_each_capability([] {
    for (const auto& [N, K] : std::vector<std::array<std::int64_t, 2>>{{1, 3}, {7, 20}, {300, 5}, {515, 260}, {2700, 131}}) {
      CAPTURE(N);
      const Tensor a = whole_numbers({3, K}, kFloat).slice(0, 1, 2), b = whole_numbers({K, N + 2}, kFloat).slice(1, 2), start = whole_numbers({1, N}, kFloat);
      const Tensor expected = by_loops(a, b), out = full({1, N}, -99, kFloat);
      CHECK_EQ(by_multiply<float>(a, b), expected);
      CHECK_EQ(by_multiply<double>(a.to(kDouble), b.to(kDouble)), expected.to(kDouble));
      kernels::multiply<float>(1, N, K, 2.0F, {a.data<float>(), K, 1}, {b.data<float>(), N + 2, 1}, 3.0F, {start.data<float>(), N, 1}, out.data<float>(), N, kernels::Activation::ReLU);
      CHECK_EQ(out, relu(2 * expected + 3 * start));
    }
  });
}

// %% [markdown]
// ## One row, and small products
//
// A single row is divided into pieces of columns. A small product in wide tiles is cut as module 16's SmallProduct is, but nothing of it is packed, and its parts have half the rows and twice the columns.

// %%
//| export kernels/product_ways.cpp
namespace kernels {
namespace {
// One row times a matrix with contiguous lines: pieces of the row are tasks.
template <class T>
void multiply_row(const Product<T>& p) {
  const ShapeTable<T>& shapes = shape_table<T>();
  run_pieces({0, p.N, parts_of(parts_of(1 << 18, p.K), 1024) * 1024}, [&](std::int64_t first, std::int64_t stop) {
    const T* const start = p.start.data == nullptr ? nullptr : p.start.data + first;
    shapes.row({p.a.data, 0, p.a.column, p.b.data + first, p.b.row, p.K, p.out + first, 0, start, 0, p.alpha, p.beta, p.activation}, stop - first);
  });
}

// How small products of one shape are computed in wide tiles, see SmallProduct: strips of columns are tasks if there is enough to do.
template <class T>
class WideProduct {
 public:
  // Whether wide tiles fill the lines of B. Tiles of three rows, which AVX2 has registers for, pay only where B stays in the first cache.
  static bool fits(const Product<T>& p, const GemmTable<T>& table) {
    return p.b.column == 1 && p.N % (2 * table.columns) == 0 && (table.rows >= 12 || p.N * p.K <= 64 * 64);
  }

  // Like `p`, of which only sizes and strides count.
  WideProduct(const Product<T>& p, const GemmTable<T>& table)
      : shapes_(shape_table<T>()), width_(2 * table.columns), k_parts_(parts_of(p.K, blocks_in_use<T>().K)), strips_(p.N / width_), row_parts_(parts_of(p.M, table.rows / 2)), blocks_(p.K, k_parts_), panels_(p.M, row_parts_) {}

  void multiply(const Product<T>& p) const {
    if (p.M * p.N * p.K < 1 << 19) {
      for (std::int64_t strip = 0; strip < strips_; ++strip) multiply_strip(p, strip, {0, row_parts_});
    } else {
      const std::int64_t pieces = std::clamp<std::int64_t>(8 / strips_, 1, parts_of(row_parts_, 2));
      run_tasks(strips_ * pieces, [&](std::int64_t task) { multiply_strip(p, task / pieces, Parts(row_parts_, pieces)[task % pieces]); });
    }
  }

 private:
  void multiply_strip(const Product<T>& p, std::int64_t strip, const Part& own) const {
    const std::int64_t j = strip * width_;
    for (std::int64_t part = 0; part < k_parts_; ++part) {
      const Part block = blocks_[part];
      for (std::int64_t r = own.first; r < own.first + own.count; ++r) {
        const Part rows = panels_[r];
        Tile<T> tile = p.tile_at(rows.first, j, block.first, block.count);
        tile.a = p.a_at(rows.first, block.first);
        tile.a_row = p.a.row;
        tile.a_k = p.a.column;
        tile.b = p.b_at(block.first, j);
        tile.b_k = p.b.row;
        shapes_.wide_tile(tile, static_cast<int>(rows.count));
      }
    }
  }

  const ShapeTable<T>& shapes_;
  std::int64_t width_, k_parts_, strips_, row_parts_;
  Parts blocks_, panels_;
};
}  // namespace
}  // namespace kernels

// %% [markdown]
// ## Large products ask ahead
//
// What a tile asks for is divided so that the tiles of a row ask for all of A's next panel together, each of them for its share. A panel of rows that are contiguous is asked for line by line along K; of one whose columns are contiguous, each step of K is a line or two.

// %%
//| export kernels/product_ways.cpp
namespace kernels {
namespace {
// What one tile of `tiles` asks for while it multiplies K steps: its share of `rows` rows that lie `step` apart, along which K runs.
template <class T>
Wanted<T> share_of_rows(const T* from, std::int64_t step, std::int64_t rows, std::int64_t tile, std::int64_t tiles) {
  const Part share = Parts(rows, tiles)[tile];
  return {from + share.first * step, step, 64 / static_cast<std::int64_t>(sizeof(T)), static_cast<int>(share.count)};
}

// The same of K lines that lie `step` apart, each one or two lines of the cache, of which the first is asked for: processors fetch lines in pairs, and asking for both gained nothing.
template <class T>
Wanted<T> share_of_lines(const T* from, std::int64_t step, std::int64_t K, std::int64_t tile, std::int64_t tiles) {
  constexpr std::int64_t line = 64 / sizeof(T);
  const Part share = Parts(K, tiles)[tile];
  const std::int64_t count = parts_of(share.count, std::max<std::int64_t>(1, K / line));
  return {from + share.first * step, step, count * step, static_cast<int>(count)};
}

// multiply_row_of_tiles with tiles that ask for the rows below.
template <class T>
void multiply_row_of_tiles_and_ask(const BlockOfB<T>& block, const GemmTable<T>& table, const Region& region, Part rows, const T* packed_a_panel) {
  const Product<T>& p = block.p;
  const ShapeTable<T>& shapes = shape_table<T>();
  const std::int64_t tiles = parts_of(region.columns, table.columns), below = rows.first + rows.count, rows_below = std::min<std::int64_t>(table.rows, p.M - below);
  for (std::int64_t index = 0; index < tiles; ++index) {
    const std::int64_t panel = region.column / table.columns + index;
    Wanted<T> wanted;
    if (rows_below > 0 && p.a.column == 1) wanted = share_of_rows(p.a_at(below, block.k.first), p.a.row, rows_below, index, tiles);
    else if (rows_below > 0 && p.a.row == 1) wanted = share_of_lines(p.a_at(below, block.k.first), p.a.column, block.k.count, index, tiles);
    shapes.tile_and_ask(block.tile_at(rows.first, panel, packed_a_panel), static_cast<int>(rows.count), block.columns_of(panel), packed_a_panel != nullptr, wanted);
  }
}
}  // namespace
}  // namespace kernels

// %% [markdown]
// ## Few rows
//
// Where A has few rows, a packed panel of B has one user. Packing all of B first would then send it through memory twice more, so the task that computes a panel's columns packs it, and uses it while it is in the near caches: if there are enough such tasks for all threads. The bits are the same either way: K is cut at the same places.
// If B's lines are contiguous, even that is too much: a line of a panel is two lines of the cache, in place as well as packed. Only where B's lines lie so far apart that sixteen of them do not fit beside each other into the first cache, a tile would throw out what it has asked for, and the panel is packed.

// %%
//| export kernels/product_ways.cpp
namespace kernels {
namespace {
// Whether a tile may read B where it lies, although it asks for lines sixteen steps ahead: lines that are `step` apart have places beside each other in two thirds of the first cache, which finds the place of a line by its address modulo a page.
template <class T>
bool lines_have_room(std::int64_t step) {
  constexpr std::int64_t page = 4096;
  return 3 * 16 * std::gcd(step * std::int64_t{sizeof(T)}, page) <= 2 * cache_sizes().first;
}

// Whether a product of few rows is computed so: where module 16 would pack B, and there are enough panels for all threads.
template <class T>
bool has_few_rows(const Product<T>& p, const GemmTable<T>& table, BlockSizes sizes) {
  const std::int64_t strips = parts_of(p.N, table.columns), threads = in_parallel_region() ? 1 : get_num_threads();
  return (p.b.column != 1 || p.M > 3 * table.rows) && p.M <= 432 && p.K <= 32 * sizes.K && strips >= 2 * threads;
}

// All of A is packed first, if need be, and who computes a panel of B's columns packs that panel too, if need be, for all of K, and uses it while it is near.
template <class T>
void multiply_few_rows(const Product<T>& p, const GemmTable<T>& table, BlockSizes sizes) {
  const ShapeTable<T>& shapes = shape_table<T>();
  const std::int64_t k_parts = parts_of(p.K, sizes.K), strips = parts_of(p.N, table.columns);
  const Parts blocks(p.K, k_parts);
  const bool packs_a = !reads_a_in_place(p, table);
  T* const a_panels = packs_a ? packed_a.room_for<T>(p.M * p.K) : nullptr;
  const std::int64_t levels = parts_of(p.M, table.rows), level_tasks = packs_a ? parts_of(levels, 4) : 0;
  run_tasks(k_parts * level_tasks, [&](std::int64_t task) {
    const Part block = blocks[task / level_tasks], own = Parts(levels, level_tasks)[task % level_tasks];
    for (std::int64_t level = own.first; level < own.first + own.count; ++level) {
      const Part rows = Parts(p.M, levels)[level];
      table.pack(a_panels + p.M * block.first + rows.first * block.count, static_cast<int>(rows.count), p.a_at(rows.first, block.first), p.a.row, p.a.column, static_cast<int>(rows.count), block.count);
    }
  });
  const bool lines = p.b.column == 1, in_place = lines && lines_have_room<T>(p.b.row);
  const std::int64_t tasks = std::min<std::int64_t>(strips, 32);
  run_tasks(tasks, [&](std::int64_t task) {
    const Part own = Parts(strips, tasks)[task];
    T* const packed = packed_b.room_for<T>(table.columns * p.K);
    for (std::int64_t j = own.first * table.columns; j < std::min(p.N, (own.first + own.count) * table.columns); j += table.columns) {
      const int columns = static_cast<int>(std::min<std::int64_t>(table.columns, p.N - j));
      const bool packs = !in_place || columns < table.columns;
      if (packs) table.pack(packed, table.columns, p.b_at(0, j), p.b.column, p.b.row, columns, p.K);
      for (std::int64_t k_part = 0; k_part < k_parts; ++k_part) {
        const Part block = blocks[k_part];
        // After this part of the panel comes its next one, then the next panel.
        const bool again = k_part + 1 < k_parts;
        const T* const next = again ? p.b_at(blocks[k_part + 1].first, j) : p.b_at(0, j + table.columns);
        const bool asks = lines && (again || j + table.columns < p.N);
        std::int64_t level = 0;
        for_panels(0, p.M, table.rows, [&](std::int64_t row, std::int64_t rows) {
          Tile<T> tile = p.tile_at(row, j, block.first, block.count);
          tile.a = packs_a ? a_panels + p.M * block.first + row * block.count : p.a_at(row, block.first);
          tile.a_row = p.a.row;
          tile.a_k = p.a.column;
          tile.b = packs ? packed + block.first * table.columns : p.b_at(block.first, j);
          tile.b_k = packs ? table.columns : p.b.row;
          shapes.tile_and_ask(tile, static_cast<int>(rows), columns, packs_a, asks ? share_of_lines(next, p.b.row, block.count, level, levels) : Wanted<T>{});
          ++level;
        });
      }
    }
  });
}
}  // namespace
}  // namespace kernels

// %% [markdown]
// ## Turned around
//
// A linear layer's weights lie (out, in), so its B is transposed, and packing turns all of it: 9 MB in one layer of a small GPT-2, for the sake of 128 tokens. Turned around, out^T = W x^T, the weights are A, which a tile reads where it lies, and the tokens are what is packed. The sums come out transposed too, and are turned while they are near, the columns of four panels at a time:
//
//        x (tokens, in)                                     panels of x, packed once
//        W (out, in)       a tile's rows, read in place     W x^T, 4 panels of out:  (4 * 12, tokens)  --turned-->  (tokens, 48) of the result
//
// The weights of a whole model lie in the last cache at best, so here too each tile asks for its share of the *next* panel of weights, a line of each row whenever it has used up a line of its own. That it is spread over the loop matters: a core has room for ten to sixteen lines that are on their way to its first cache, B's among them, and asking for all of a panel at once gained little.
// On a server whose last cache has 260 MB, GPT-2's 128 tokens took 165 ms with packed weights, 165 turned around, and 140 turned around and asking. Where something else had pushed the weights out into memory it was 190 to 220 ms each way: what asking hides is the way to the last cache, not the longer one. Short sums are not worth it: with K of 64 the product took 1.4 times as long.

// %%
//| export kernels/product_ways.cpp
namespace kernels {
namespace {
// Whether a product of few rows is turned around: B is a matrix of many contiguous lines, long enough to pay for turning a sum, A's rows fill tiles' columns but for a sixteenth, and the lines that a tile reads have places beside each other in the first cache, which has one for each page of its size.
template <class T>
bool turns_around(const Product<T>& p, const GemmTable<T>& table) {
  constexpr std::int64_t page = 4096;
  const std::int64_t width = parts_of(p.M, table.columns) * table.columns;
  return p.b.row == 1 && p.M <= 192 && p.N >= 32 * table.rows && p.K >= 384 && 16 * width <= 17 * p.M && table.rows * std::gcd(p.b.column * std::int64_t{sizeof(T)}, page) <= cache_sizes().first;
}

// out = activation(alpha * sums + beta * start) for `count` numbers of a row.
template <class T>
void finish_part_of_row(const Product<T>& p, std::int64_t i, std::int64_t j, std::int64_t count, const T* sums) {
  T* const out = p.out + i * p.out_row + j;
  if (p.start.data == nullptr) {
    for (std::int64_t n = 0; n < count; ++n) out[n] = p.alpha * sums[n];
  } else {
    const T* const start = p.start.data + i * p.start.row + j;
    for (std::int64_t n = 0; n < count; ++n) out[n] = p.alpha * sums[n] + p.beta * start[n];
  }
  if (p.activation == Activation::ReLU)
    for (std::int64_t n = 0; n < count; ++n) out[n] = out[n] < T{0} ? T{0} : out[n];
}

// The transposed product: B's lines are the rows of tiles, A's rows the columns, packed. A task computes the columns of four panels, which lie in its own memory until they are complete, and are turned then.
template <class T>
void multiply_turned(const Product<T>& p, const GemmTable<T>& table) {
  constexpr std::int64_t size = sizeof(T);
  const ShapeTable<T>& shapes = shape_table<T>();
  const CacheSizes caches = cache_sizes();
  const std::int64_t strips = parts_of(p.M, table.columns), width = strips * table.columns;
  // A panel of B's lines fits into the first cache, A's rows into half of the second.
  const std::int64_t k_parts = parts_of(p.K, std::max<std::int64_t>(64, std::min(caches.first * 3 / 4 / (table.rows * size), caches.second / 2 / (width * size))));
  const Parts blocks(p.K, k_parts);
  T* const rows_of_a = packed_b.room_for<T>(width * p.K);
  const auto strip_at = [&](const Part& block, std::int64_t strip) { return rows_of_a + width * block.first + strip * table.columns * block.count; };
  run_tasks(k_parts * strips, [&](std::int64_t task) {
    const Part block = blocks[task / strips];
    const std::int64_t strip = task % strips, i = strip * table.columns;
    table.pack(strip_at(block, strip), table.columns, p.a_at(i, block.first), p.a.row, p.a.column, static_cast<int>(std::min<std::int64_t>(table.columns, p.M - i)), block.count);
  });
  const std::int64_t group = 4 * table.rows;
  run_tasks(parts_of(p.N, group), [&](std::int64_t task) {
    const std::int64_t left = task * group, lines = std::min(group, p.N - left);
    T* const sums = packed_a.room_for<T>(2 * group * width);
    T* const turned = sums + group * width;
    for (std::int64_t k_part = 0; k_part < k_parts; ++k_part) {
      const Part block = blocks[k_part];
      for_panels(0, lines, table.rows, [&](std::int64_t row, std::int64_t rows) {
        // After the last panel comes the first one's next block, or the next task's first panel.
        const bool is_last = row + rows == lines, again = is_last && k_part + 1 < k_parts;
        const std::int64_t next = again ? left : left + row + rows, next_k = again ? blocks[k_part + 1].first : is_last ? 0 : block.first;
        const Parts shares(std::min<std::int64_t>(table.rows, p.N - next), strips);
        for (std::int64_t strip = 0; strip < strips; ++strip) {
          T* const place = sums + row * width + strip * table.columns;
          const Part share = shares[strip];
          shapes.tile_and_ask({p.b_at(block.first, left + row), p.b.column, 1, strip_at(block, strip), table.columns, block.count, place, width, k_part > 0 ? place : nullptr, width, T{1}, T{1}}, static_cast<int>(rows), table.columns, false,
                             {p.b_at(next_k, next + share.first), p.b.column, 64 / size, static_cast<int>(share.count), false});
        }
      });
    }
    table.pack(turned, static_cast<int>(lines), sums, width, 1, static_cast<int>(lines), p.M);
    for (std::int64_t i = 0; i < p.M; ++i) finish_part_of_row(p, i, left, lines, turned + i * lines);
  });
}
}  // namespace
}  // namespace kernels

// %% [markdown]
// ## Stacks of small matrices
//
// A stack of small matrices, as `bmm` and attention have them, is one call: how their shape is cut is worked out for the first and kept for all. For 64 products of 16 x 16 that is 6.2 microseconds instead of 9.2, of 32 x 32 28 instead of 32. MKL's `cblas_sgemm_batch`, which PyTorch calls for `bmm` (aten/src/ATen/native/mkl/LinearAlgebra.cpp), takes all matrices in one call as well.

// %%
//| export kernels/product_ways.cpp
namespace kernels {
namespace {
// `count` products like `first`, whose operands lie behind one another. Few large ones divide themselves; of small ones, several make a task.
template <class T>
void multiply_like(const Product<T>& first, std::int64_t count, std::int64_t a_step, std::int64_t b_step) {
  // Field by field: a copy of `first` would be written in vectors and read back in single numbers, which waits for the write to end.
  const auto product_at = [&](std::int64_t i) {
    return Product<T>{first.M, first.N, first.K, first.alpha, {first.a.data + i * a_step, first.a.row, first.a.column}, {first.b.data + i * b_step, first.b.row, first.b.column}, first.beta, first.start, first.out + i * first.M * first.N, first.out_row, first.activation};
  };
  const auto for_each = [&](const auto& multiply_one) {
    const auto some = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) multiply_one(product_at(i));
    };
    const std::int64_t work = std::max<std::int64_t>(1, first.M * first.N * first.K);
    if (count < 4 && work > (1 << 20)) some(0, count);
    else parallel_for(0, count, std::max<std::int64_t>(1, (1 << 18) / work), some);
  };
  const GemmTable<T>& table = gemm_table<T>();
  if (first.M > 1 && first.N > 1 && first.K > 0 && !goes_by_lines(first) && is_small(first, table)) {
    if (WideProduct<T>::fits(first, table)) {
      const WideProduct<T> wide(first, table);
      for_each([&](const Product<T>& p) { wide.multiply(p); });
    } else {
      const SmallProduct<T> small(first, table, blocks_in_use<T>().K);
      for_each([&](const Product<T>& p) { small.multiply(p); });
    }
  } else {
    for_each([](const Product<T>& p) { kernels::multiply(p.M, p.N, p.K, p.alpha, p.a, p.b, p.beta, p.start, p.out, p.out_row); });
  }
}

// self (batch, M, K) x mat2 (batch, K, N), with any strides.
template <class T>
Tensor multiply_stacks(const Tensor& self, const Tensor& mat2) {
  const std::int64_t batch = self.size(0), M = self.size(1), K = self.size(2), N = mat2.size(2);
  const Tensor result = empty({batch, M, N}, self.options());
  const MatrixView<T> a{self.data<T>(), self.stride(1), self.stride(2)}, b{mat2.data<T>(), mat2.stride(1), mat2.stride(2)};
  multiply_like(Product<T>{M, N, K, T{1}, a, b, T{0}, {nullptr, 0, 0}, result.data<T>(), N}, batch, self.stride(0), mat2.stride(0));
  return result;
}

Tensor bmm_tuned(const Tensor& self, const Tensor& mat2) {
  if (self.scalar_type() == kFloat) return multiply_stacks<float>(self, mat2);
  if (self.scalar_type() == kDouble) return multiply_stacks<double>(self, mat2);
  return op::bmm.function(Layer::CPU)(self, mat2);
}
}  // namespace
}  // namespace kernels

// %% [markdown]
// ## How they join
//
// Module 16's `multiply` asks `more_ways` before it goes one of its own ways, and lets it compute the tiles of a large product; its `pack` asks `fast_packing`, of which there is one for each capability. These are function pointers that are nullptr until this chapter sets them, when the program starts.

// %%
//| export kernels/product_ways.cpp
namespace kernels {
namespace {
// See MoreWays. Products of contiguous lines, which module 16 computes as dot products, do not come here.
template <class T>
bool multiply_by_shape(const Product<T>& p, const GemmTable<T>& table) {
  if (p.M == 1 && p.b.column == 1) {
    multiply_row(p);
  } else if (is_small(p, table)) {
    if (!WideProduct<T>::fits(p, table)) return false;
    WideProduct<T>(p, table).multiply(p);
  } else if (turns_around(p, table)) {
    multiply_turned(p, table);
  } else {
    const BlockSizes sizes = blocks_in_use<T>();
    if (!has_few_rows(p, table, sizes)) return false;
    multiply_few_rows(p, table, sizes);
  }
  return true;
}
}  // namespace
}  // namespace kernels

// %%
//| export kernels/product_ways.cpp
//| registers
void register_product_ways() {
  using namespace kernels;
  more_ways<float> = {multiply_by_shape<float>, multiply_row_of_tiles_and_ask<float>};
  more_ways<double> = {multiply_by_shape<double>, multiply_row_of_tiles_and_ask<double>};
  DEFAULT::fast_packing<float> = DEFAULT::shape_kernels.in_float.packing, DEFAULT::fast_packing<double> = DEFAULT::shape_kernels.in_double.packing;
#ifdef __x86_64__
  AVX2::fast_packing<float> = AVX2::shape_kernels.in_float.packing, AVX2::fast_packing<double> = AVX2::shape_kernels.in_double.packing;
  AVX512::fast_packing<float> = AVX512::shape_kernels.in_float.packing, AVX512::fast_packing<double> = AVX512::shape_kernels.in_double.packing;
#endif
  op::bmm.set(Layer::TunedCPU, bmm_tuned);
}

// %%
TEST_CASE("multiply: a row and a column to start from, and relu after the whole sum, on every way through the kernels") {
  manual_seed(20);
  for_each_capability([] {
    // One row, a long one, one column, few rows in place, small in wide tiles, few rows in panels, and turned around where B is transposed, several blocks of everything.
    for (const auto& [M, N, K] : std::vector<std::array<std::int64_t, 3>>{{1, 300, 20}, {1, 2700, 131}, {300, 1, 20}, {20, 805, 200}, {50, 64, 60}, {90, 200, 1500}, {128, 403, 900}, {62, 850, 1700}, {700, 300, 600}}) {
      CAPTURE(K);
      const Tensor a = whole_numbers({M, K}, kFloat), b = whole_numbers({K, N}, kFloat), row = whole_numbers({1, N}, kFloat), column = whole_numbers({M, 1}, kFloat);
      const Tensor expected = by_loops(a, b) * 2;
      for (const Tensor& right : {b, b.t().contiguous().t()}) {
        for (const Tensor& start : {row.expand({M, N}), column.expand({M, N})}) {
          const Tensor out = full({M, N}, -99, kFloat);
          kernels::multiply<float>(M, N, K, 2.0F, {a.data<float>(), a.stride(0), a.stride(1)}, {right.data<float>(), right.stride(0), right.stride(1)}, 3.0F, {start.data<float>(), start.stride(0), start.stride(1)}, out.data<float>(), N, kernels::Activation::ReLU);
          CHECK_EQ(out, relu(expected + start * 3));
        }
      }
    }
  });
}

TEST_CASE("multiply: few rows through B where it lies, and through panels where its lines crowd the first cache") {
  manual_seed(17);
  const ThreadsGuard guard(1);
  const Tensor a = whole_numbers({100, 600}, kFloat), turned = whole_numbers({600, 100}, kFloat).t();
  for (const std::int64_t line : {107, 512, 1024, 1040}) {
    const Tensor lines = whole_numbers({600, line}, kFloat);
    for (const std::int64_t N : {64, 75, 107}) {
      const Tensor b = lines.slice(1, line - N);  // the last numbers of each line: nothing of B lies behind them
      CAPTURE(line);
      CAPTURE(N);
      const Tensor expected = by_loops(a, b), expected_turned = by_loops(turned, b);
      for_each_capability([&] {
        CHECK_EQ(by_multiply<float>(a, b), expected);
        CHECK_EQ(by_multiply<float>(turned, b), expected_turned);
        CHECK_EQ(by_multiply<double>(a.to(kDouble), b.to(kDouble)), expected.to(kDouble));
      });
    }
  }
}

TEST_CASE("multiply: turned around, odd sizes in float and double") {
  manual_seed(22);
  for_each_capability([] {
    for (const auto& [M, N, K] : std::vector<std::array<std::int64_t, 3>>{{32, 390, 385}, {64, 1000, 500}, {128, 405, 1100}, {192, 777, 384}}) {
      CAPTURE(M);
      const Tensor x = whole_numbers({M, K}, kFloat), w = whole_numbers({N, K + 3}, kFloat).slice(1, 0, K);
      const Tensor expected = by_loops(x, w.t());
      CHECK_EQ(by_multiply<float>(x, w.t()), expected);
      CHECK_EQ(by_multiply<double>(x.to(kDouble), w.to(kDouble).t()), expected.to(kDouble));
    }
  });
}

TEST_CASE("multiply: few rows and large products have the bits of module 16's own ways") {
  manual_seed(23);
  const Tensor few = randn({70, 1700}), tall = randn({1700, 170}), many = randn({450, 700}), wide = randn({700, 300});
  const Tensor crowded = randn({600, 1024}).slice(1, 0, 170), left = randn({600, 100}).t();
  const auto products = [&] { return std::vector<Tensor>{by_multiply<float>(few, tall), by_multiply<float>(many, wide), by_multiply<float>(many.t().contiguous().t(), wide), by_multiply<float>(left, crowded), by_multiply<double>(few.to(kDouble), tall.to(kDouble))}; };
  for_each_capability([&] {
    const ThreadsGuard guard(1);
    const std::vector<Tensor> here = products();
    const PlainWaysGuard alone;
    const std::vector<Tensor> plain = products();
    for (std::size_t i = 0; i < here.size(); ++i) CHECK_EQ(here[i], plain[i]);
  });
}

TEST_CASE("multiply and bmm: the same bits for any number of threads, on the ways of this chapter") {
  manual_seed(18);
  const Tensor a = randn({150, 600}), w = randn({5000, 600}), row = randn({1, 1200}), few = randn({70, 1700}), tall = randn({1700, 170}), wide = randn({1200, 2100});
  const Tensor stack = randn({9, 40, 60}), other = randn({9, 60, 64}), larger = randn({3, 130, 140});
  const auto products = [&] {
    // Few rows and three blocks of K: with more threads than such a product has tasks for, it goes another way.
    return std::vector<Tensor>{by_multiply<float>(few, tall), by_multiply<float>(a.slice(0, 0, 64), w.t()), by_multiply<float>(row, wide), by_multiply<float>(a.slice(0, 0, 80).slice(1, 0, 100), wide.slice(0, 0, 100).slice(1, 0, 128)), bmm(stack, other), bmm(larger, larger.transpose(1, 2))};
  };
  const std::vector<Tensor> alone = [&] {
    const ThreadsGuard guard(1);
    return products();
  }();
  for (const int threads : {2, 3, 9}) {
    const ThreadsGuard guard(threads);
    const std::vector<Tensor> together = products();
    for (std::size_t i = 0; i < alone.size(); ++i) CHECK_EQ(together[i], alone[i]);
  }
}

TEST_CASE("bmm: the tuned operator against the reference") {
  manual_seed(19);
  const auto same = [](const Tensor& left, const Tensor& right) {
    const Tensor result = bmm(left, right);
    const kernels::ReferenceKernelsGuard reference;
    CHECK_EQ(result, bmm(left, right));
  };
  for (const ScalarType type : {kFloat, kDouble, kLong}) {
    CAPTURE(type);
    const Tensor stack = whole_numbers({7, 4, 6}, type), other = whole_numbers({7, 5, 6}, type);
    same(stack, other.transpose(1, 2));
    same(stack.slice(0, 0, 7, 2), stack.slice(0, 0, 7, 2).transpose(1, 2));
    same(whole_numbers({1, 9, 64}, type).expand({5, 9, 64}), whole_numbers({5, 64, 64}, type));
    same(whole_numbers({40, 20, 30}, type), whole_numbers({1, 30, 64}, type).expand({40, 30, 64}));
    for (const auto& [M, N, K] : std::vector<std::array<std::int64_t, 3>>{{1, 64, 20}, {20, 1, 30}, {20, 64, 0}, {0, 5, 5}, {33, 45, 20}, {130, 140, 150}}) same(whole_numbers({3, M, K}, type), whole_numbers({3, K, N}, type));
  }
}

// %% [markdown]
// ## What the ways are worth
//
// Each product by module 16's ways alone and with those of this chapter, in turns. Packing in whole registers is in both. The operands come from the caches, since each product is repeated; a step of a network, whose operands come from further away, gains more from tiles that ask ahead.

// %%
DEMO("shapes with a way of their own, and the same by module 16's ways") {
  const ThreadsGuard one(1);
  std::printf("%-34s %6s %6s %6s %14s %12s %8s\n", "", "M", "K", "N", "module 16, us", "here", "ratio");
  struct Shape {
    const char* what;
    std::int64_t M, K, N;
    bool turned;  // B is (N, K), transposed
  };
  for (const auto& [what, M, K, N, turned] : std::vector<Shape>{{"one row", 1, 768, 3072, false}, {"small, four vectors wide", 64, 64, 64, false}, {"few rows", 100, 768, 768, false}, {"few rows, weights (out, in)", 128, 768, 3072, true}, {"large", 512, 512, 512, false}}) {
    const Tensor a = randn({M, K}), b = turned ? randn({N, K}).t() : randn({K, N});
    std::vector<double> plain, here;
    for (int round = 0; round < 9; ++round) {
      {
        const PlainWaysGuard alone;
        plain.push_back(measure([&] { do_not_optimize(by_multiply<float>(a, b)); }, {.samples = 3}).minimum);
      }
      here.push_back(measure([&] { do_not_optimize(by_multiply<float>(a, b)); }, {.samples = 3}).minimum);
    }
    const double p = median_of(plain), h = median_of(here);
    std::printf("%-34s %6d %6d %6d %14.1f %12.1f %8.3f\n", what, static_cast<int>(M), static_cast<int>(K), static_cast<int>(N), p * 1e6, h * 1e6, p / h);
  }
  const Tensor stack = randn({64, 32, 32}), other = randn({64, 32, 32});
  std::vector<double> apart, together;
  for (int round = 0; round < 9; ++round) {
    apart.push_back(measure([&] {
      for (std::int64_t i = 0; i < 64; ++i) do_not_optimize(mm(stack[i], other[i]));
    }, {.samples = 3}).minimum);
    together.push_back(measure([&] { do_not_optimize(bmm(stack, other)); }, {.samples = 3}).minimum);
  }
  std::printf("64 products of 32 x 32: by mm, one after the other, %.1f us, by bmm %.1f\n", median_of(apart) * 1e6, median_of(together) * 1e6);
}

// %% [markdown]
// ## What follows a product
//
// A layer of a network is a product, a bias, and a function of each number. Written as three operators, the result passes through memory three times:
//
//     mm      -->  write out                                 product
//     + bias  -->  read out, write out                       a pass for the bias
//     relu    -->  read out, write another tensor            a pass for the activation
//
//     addmm, relu                write out; read it, write another           the bias is what the sums start from (module 16)
//     _addmm_activation          write out                                   relu before the number leaves its register
//
// A pass costs by the bytes of the result, `M N`, and the product by `M N K` operations. So the larger K is, the less there is to gain: a demonstration below measures it.
//
// PyTorch has this operator under a name with an underscore, which says that it may change: `at::_addmm_activation`. Its compiler and its transformer layers call it for speed on GPUs. On a CPU PyTorch computes addmm first, and then relu or gelu in place.

// %% [markdown]
// ### The operator
//
// The reference is what the name says, one operator after the other. The tuned kernel puts relu into the product. gelu, the form with erf as in PyTorch, stays a pass of its own, which chapter 76 makes fast: its arithmetic is nearly all of what that pass costs, and fusing can save the rest only. The second demonstration below measures how little that is.
//
// Where a gradient will be asked for, the operator consists of the two others. The gradient of gelu needs the number *before* the activation, which a fused kernel never stores; and relu's gradient is `g` where the result is above 0, which is the gradient of relu as it stands. So there is one rule for each derivative, and none here.

// %%
//| export kernels/fused_products.h
// relu(beta * self + alpha * mat1 x mat2), or gelu (with erf) of it: mat1 (M, K), mat2 (K, N), `self` broadcasts to (M, N). Errors are addmm's.
// Source: aten/src/ATen/native/LinearAlgebra.cpp, addmm_activation_out_cpu.
Tensor _addmm_activation(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta = 1, const Scalar& alpha = 1, bool use_gelu = false);

namespace op {
extern Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Scalar&, const Scalar&, bool)> _addmm_activation;
}  // namespace op

// %%
//| export kernels/fused_products.cpp
namespace {
Tensor addmm_then_activation(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha, bool use_gelu) {
  const Tensor sum = addmm(self, mat1, mat2, beta, alpha);
  return use_gelu ? gelu(sum) : relu(sum);
}

Tensor addmm_activation_autograd(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha, bool use_gelu) {
  if (is_recording() && (self.requires_grad() || mat1.requires_grad() || mat2.requires_grad())) return addmm_then_activation(self, mat1, mat2, beta, alpha, use_gelu);
  const ExcludeLayersGuard below(Layer::Autograd);
  return op::_addmm_activation(self, mat1, mat2, beta, alpha, use_gelu);
}

Tensor addmm_activation_tuned(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha, bool use_gelu) {
  const std::optional<Tensor> result = use_gelu ? std::nullopt : kernels::addmm_with(kernels::Activation::ReLU, self, mat1, mat2, beta, alpha);
  return result ? *result : op::_addmm_activation.function(Layer::CPU)(self, mat1, mat2, beta, alpha, use_gelu);
}
}  // namespace

constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Scalar&, const Scalar&, bool)>
    op::_addmm_activation("_addmm_activation", {.cpu = addmm_then_activation, .autograd = addmm_activation_autograd});

Tensor _addmm_activation(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha, bool use_gelu) {
  check_addmm(self, mat1, mat2);
  return op::_addmm_activation(self, mat1, mat2, beta, alpha, use_gelu);
}

// %%
//| export kernels/fused_products.cpp
//| registers
void register_fused_products() { op::_addmm_activation.set(Layer::TunedCPU, addmm_activation_tuned); }

// %%
TEST_CASE("_addmm_activation: what addmm and the activation give, bit for bit, on every way through the kernels") {
  manual_seed(1);
  for (const auto& [M, K, N] : std::vector<std::array<std::int64_t, 3>>{{1, 30, 40}, {5, 300, 70}, {60, 40, 50}, {200, 700, 300}, {3, 0, 4}}) {
    CAPTURE(M);
    const Tensor bias = randn({N}), x = randn({M, K}), w = randn({N, K});
    for (const bool use_gelu : {false, true}) {
      const Tensor sum = addmm(bias, x, w.t(), 0.5, 2);
      CHECK_EQ(_addmm_activation(bias, x, w.t(), 0.5, 2, use_gelu), use_gelu ? gelu(sum) : relu(sum));
    }
  }
  CHECK_EQ(_addmm_activation(tensor({-3.0F, 4.0F}), ones({2, 1}), ones({1, 2})), tensor({{0.0F, 5.0F}, {0.0F, 5.0F}}));
  const Tensor nan = full({2}, std::numeric_limits<float>::quiet_NaN());
  CHECK_EQ(_addmm_activation(nan, ones({1, 1}), ones({1, 2})), nan.view({1, 2}));
  CHECK_EQ(_addmm_activation(nan, ones({1, 1}), ones({1, 2}), 0), ones({1, 2}));
  CHECK_EQ(_addmm_activation(tensor({-30}), ones({2, 3}, kLong), ones({3, 1}, kLong)), zeros({2, 1}, kLong));
  CHECK_ERROR(_addmm_activation(ones({3}), ones({2, 3}), ones({2, 3})), "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)");
}

TEST_CASE("_addmm_activation: gradients, first and second") {
  const auto inputs = [] {
    manual_seed(2);
    return std::vector<Tensor>{randn({4}, kDouble).requires_grad_(), randn({3, 5}, kDouble).requires_grad_(), randn({5, 4}, kDouble).requires_grad_()};
  };
  for (const bool use_gelu : {false, true}) {
    const auto gradients = [&](auto f) {
      const std::vector<Tensor> x = inputs();
      const std::vector<Tensor> first = autograd::grad({f(x).pow(2).sum()}, x, {}, true, true);
      Tensor sum = zeros({}, kDouble);
      for (const Tensor& g : first) sum = sum + g.pow(2).sum();
      return std::pair(first, autograd::grad({sum}, x));
    };
    const auto fused = gradients([&](const std::vector<Tensor>& x) { return _addmm_activation(x[0], x[1], x[2], 1, 1, use_gelu); });
    const auto apart = gradients([&](const std::vector<Tensor>& x) { return use_gelu ? gelu(addmm(x[0], x[1], x[2])) : relu(addmm(x[0], x[1], x[2])); });
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK_EQ(fused.first[i], apart.first[i]);
      CHECK_EQ(fused.second[i], apart.second[i]);
    }
  }
  // Without a gradient to record, a tensor that could have one goes through the kernel too, and leads nowhere.
  const NoGradGuard no_grad;
  const std::vector<Tensor> x = inputs();
  CHECK(!_addmm_activation(x[0], x[1], x[2]).requires_grad());
}

// %% [markdown]
// ### What it is worth
//
// The two sides take turns. The shapes are the first layer of an MLP with a batch of 128, a layer whose K is short, and the wide half of a transformer's feed-forward.

// %%
DEMO("addmm and relu: in one kernel, and one after the other") {
  const int threads = get_num_threads();
  set_num_threads(1);
  std::printf("%6s %6s %6s %16s %12s %8s\n", "M", "K", "N", "addmm, relu us", "one kernel", "ratio");
  for (const auto& [M, K, N] : std::vector<std::array<std::int64_t, 3>>{{128, 784, 512}, {128, 512, 512}, {4096, 64, 512}, {512, 768, 3072}}) {
    const Tensor bias = rand({N}), x = randn({M, K}), w = randn({N, K});
    std::vector<double> apart, together;
    for (int round = 0; round < 9; ++round) {
      apart.push_back(measure([&] { do_not_optimize(relu(addmm(bias, x, w.t()))); }, {.samples = 3}).minimum);
      together.push_back(measure([&] { do_not_optimize(_addmm_activation(bias, x, w.t())); }, {.samples = 3}).minimum);
    }
    const double a = median_of(apart), t = median_of(together);
    std::printf("%6d %6d %6d %16.1f %12.1f %8.3f\n", static_cast<int>(M), static_cast<int>(K), static_cast<int>(N), a * 1e6, t * 1e6, a / t);
  }
  set_num_threads(threads);
}

// %% [markdown]
// ### Why gelu is not fused
//
// relu is one instruction for a vector, and what it saves is the whole pass. gelu is some thirty, wherever they are done. So the most that fusing could save is a difference of three times: the product and gelu, less the product alone, less gelu of as many numbers that lie in the first cache, from which a fused kernel would take them too.

// %%
DEMO("addmm and gelu: what one kernel could save at most") {
  const int threads = get_num_threads();
  set_num_threads(1);
  std::printf("%6s %6s %6s %10s %14s %12s %9s\n", "M", "K", "N", "addmm us", "addmm, gelu", "gelu, cached", "at most");
  for (const auto& [M, K, N] : std::vector<std::array<std::int64_t, 3>>{{768, 128, 512}, {1024, 384, 1536}, {128, 768, 3072}, {2048, 64, 256}}) {
    constexpr std::int64_t near = 2048;  // numbers, of which input and result fit into the first cache
    const Tensor bias = rand({N}), x = randn({M, K}), w = randn({N, K}) * (1 / std::sqrt(static_cast<double>(K))), few = randn({near});
    const std::int64_t times = M * N / near;
    std::vector<double> products, apart, cached;
    for (int round = 0; round < 9; ++round) {
      products.push_back(measure([&] { do_not_optimize(addmm(bias, x, w.t())); }, {.samples = 3}).minimum);
      apart.push_back(measure([&] { do_not_optimize(gelu(addmm(bias, x, w.t()))); }, {.samples = 3}).minimum);
      cached.push_back(static_cast<double>(times) * measure([&] { do_not_optimize(gelu(few)); }, {.samples = 3}).minimum);
    }
    const double p = median_of(products), a = median_of(apart), c = median_of(cached);
    std::printf("%6d %6d %6d %10.1f %14.1f %12.1f %8.1f%%\n", static_cast<int>(M), static_cast<int>(K), static_cast<int>(N), p * 1e6, a * 1e6, c * 1e6, 100 * (a - p - c) / a);
  }
  set_num_threads(threads);
}

// %% [markdown]
// On an Intel processor with AVX-512, in microseconds, and how long a fused kernel really took, of the time of both one after the other:
//
//        M     K     N      addmm   addmm, gelu   gelu, cached    at most     gelu in each tile, when its sums are complete
//      768   128   512        623           791            162      0.7 %     1.02
//     1024   384  1536       7580          8258            670      0.1 %     1.01
//      128   768  3072       3990          4134            168      none      1.02
//     2048    64   256        455           661            219      none      1.03
//
// That kernel was built: gelu over each tile of twelve rows as soon as its last block of K was done, from the first cache; then over whole rows of tiles. Neither was faster than the pass, with AVX2 as little as with AVX-512. The pass runs through memory that the product has just written, in long lines, while the
// tile's function begins anew for every two vectors of a row. So it was taken out again.
//
// On GPUs it is different: there a pass costs a launch and the way to memory and back, arithmetic is nearly free, and cuBLASLt (`CUBLASLT_EPILOGUE_GELU_BIAS`) and CUTLASS's epilogues apply gelu to the sums in registers. oneDNN does so on CPUs as well, with post-ops that its code generator puts behind the sums
// (`src/cpu/x64/injectors/jit_uni_eltwise_injector.cpp`).

// %%
}  // namespace tinytorch
