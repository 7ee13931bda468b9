// From the lesson modules/62_product_ways/product_ways_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <algorithm>
#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include <utility>
#include "tinytorch/kernels/shape_kernels.h"
#include "tinytorch/kernels/tiles-inl.h"

namespace tinytorch {

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

}  // namespace tinytorch
