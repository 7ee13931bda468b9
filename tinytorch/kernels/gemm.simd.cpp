// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <algorithm>
#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include <utility>
#include "tinytorch/kernels/gemm_kernels.h"

namespace tinytorch {

// Vectors of as many T as the registers of this capability hold, from Google Highway: hn::LoadU, hn::MulAdd and so on become one instruction each.
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <class T>
using Tag = hn::ScalableTag<T>;
template <class T>
using Vector = hn::Vec<Tag<T>>;
template <class T>
constexpr int kLanes = static_cast<int>(hn::MaxLanes(Tag<T>()));

// AVX-512 and NEON have 32 vector registers, older ones 16. A tile of R rows and two vectors wants 2 R for sums, two for B and one for A.
constexpr int kTileRows = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON ? 12 : HWY_TARGET == HWY_SCALAR ? 4 : 6;
template <class T>
constexpr int kTileColumns = 2 * kLanes<T>;

// Masked loads and stores of x86 do not touch what the mask leaves out; elsewhere the numbers go through a buffer.
constexpr bool kMasksAreSafe = HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3;

// The first `count` numbers at `from`, then zeros.
template <class T>
HWY_INLINE Vector<T> load_first(const T* from, int count) {
  const Tag<T> d;
  if (count >= kLanes<T>) return hn::LoadU(d, from);
  if constexpr (kMasksAreSafe) return hn::MaskedLoad(hn::FirstN(d, static_cast<std::size_t>(count < 0 ? 0 : count)), d, from);
  T buffer[kLanes<T>] = {};
  for (int i = 0; i < count; ++i) buffer[i] = from[i];
  return hn::LoadU(d, buffer);
}

// Stores the first `count` numbers of the vector.
template <class T>
HWY_INLINE void store_first(Vector<T> value, T* to, int count) {
  const Tag<T> d;
  if (count >= kLanes<T>) return hn::StoreU(value, d, to);
  if constexpr (kMasksAreSafe) return hn::BlendedStore(value, hn::FirstN(d, static_cast<std::size_t>(count < 0 ? 0 : count)), d, to);
  T buffer[kLanes<T>];
  hn::StoreU(value, d, buffer);
  for (int i = 0; i < count; ++i) to[i] = buffer[i];
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// Turns squares: to[k * width + i] = from[i * step + k] for i < kSquare and all k < K that fill squares. Returns how many k that are.
// A register of 128 bits holds 4 float or 2 double; two rounds of interleaving exchange rows and columns.
template <class T>
constexpr int kSquare = HWY_TARGET == HWY_SCALAR ? 1 : 16 / static_cast<int>(sizeof(T));

template <class T>
HWY_INLINE std::int64_t pack_squares(T* to, int width, const T* from, std::int64_t step, std::int64_t K) {
  std::int64_t k = 0;
#if HWY_TARGET == HWY_SCALAR  // nothing to turn, and no such functions
  static_cast<void>(to), static_cast<void>(width), static_cast<void>(from), static_cast<void>(step), static_cast<void>(K);
#else
  if constexpr (kSquare<T> == 4) {
    const hn::CappedTag<T, 4> d;
    for (; k + 4 <= K; k += 4, from += 4, to += 4 * width) {
      const auto r0 = hn::LoadU(d, from), r1 = hn::LoadU(d, from + step), r2 = hn::LoadU(d, from + 2 * step), r3 = hn::LoadU(d, from + 3 * step);
      const auto low01 = hn::InterleaveLower(d, r0, r1), low23 = hn::InterleaveLower(d, r2, r3);
      const auto high01 = hn::InterleaveUpper(d, r0, r1), high23 = hn::InterleaveUpper(d, r2, r3);
      hn::StoreU(hn::ConcatLowerLower(d, low23, low01), d, to);
      hn::StoreU(hn::ConcatUpperUpper(d, low23, low01), d, to + width);
      hn::StoreU(hn::ConcatLowerLower(d, high23, high01), d, to + 2 * width);
      hn::StoreU(hn::ConcatUpperUpper(d, high23, high01), d, to + 3 * width);
    }
  }
  if constexpr (kSquare<T> == 2) {
    const hn::CappedTag<T, 2> d;
    for (; k + 2 <= K; k += 2, from += 2, to += 2 * width) {
      const auto r0 = hn::LoadU(d, from), r1 = hn::LoadU(d, from + step);
      hn::StoreU(hn::InterleaveLower(d, r0, r1), d, to);
      hn::StoreU(hn::InterleaveUpper(d, r0, r1), d, to + width);
    }
  }
#endif
  return k;
}

// The same for several squares beside each other, as many as a register of 256 or 512 bits holds, of Lines lines. Registers are stored whole: what they have too much goes into the next line of the panel, which is written after it, but for the last line.
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

// As many of `count` lines as fill registers; returns how many these are, none where registers are narrow.
template <class T>
HWY_INLINE int pack_wide(T* to, int width, const T* from, std::int64_t step, int count, std::int64_t K) {
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
#else
  static_cast<void>(to), static_cast<void>(width), static_cast<void>(from), static_cast<void>(step), static_cast<void>(count), static_cast<void>(K);
#endif
  return i;
}

// The same for two lines, which six rows leave over.
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

// `count` numbers side by side. Panels of six rows are narrower than a vector of eight, so what is left over is copied by halves.
template <class T>
HWY_INLINE void copy_numbers(T* to, const T* from, int count) {
  const Tag<T> d;
  int i = 0;
  for (; i + kLanes<T> <= count; i += kLanes<T>) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
#if HWY_TARGET != HWY_SCALAR
  const hn::CappedTag<T, 8> eight;
  const hn::CappedTag<T, 4> four;
  const hn::CappedTag<T, 2> two;
  if (kLanes<T> > 8 && i + 8 <= count) hn::StoreU(hn::LoadU(eight, from + i), eight, to + i), i += 8;
  if (kLanes<T> > 4 && i + 4 <= count) hn::StoreU(hn::LoadU(four, from + i), four, to + i), i += 4;
  if (kLanes<T> > 2 && i + 2 <= count) hn::StoreU(hn::LoadU(two, from + i), two, to + i), i += 2;
#endif
  for (; i < count; ++i) to[i] = from[i];
}

// Lines, K times. They lie far apart, often in pages of their own, where the processor does not see the next one coming: it is told.
// Where a panel is full, a line is one or two vectors: what a vector has too much is stored into the next lines, which are written after it. The last lines, whose vectors would reach beyond the panel, are copied number by number.
template <class T>
HWY_NOINLINE void pack_lines(T* to, int width, const T* from, std::int64_t k_step, int count, std::int64_t K) {
  constexpr std::int64_t ahead = 32;
  std::int64_t k = 0;
  if constexpr (kMasksAreSafe) {
    const Tag<T> d;
    const auto copy_lines = [&](std::int64_t stored, const auto& copy_line) {
      for (; k * width + stored <= K * width; ++k, from += k_step, to += width) {
        if (k + ahead < K) hwy::Prefetch(from + ahead * k_step);
        copy_line();
      }
    };
    const int behind = count - kLanes<T>;  // numbers in the second vector
    if (count == width && behind <= 0) {
      const auto mask = hn::FirstN(d, static_cast<std::size_t>(count));
      copy_lines(kLanes<T>, [&] { hn::StoreU(hn::MaskedLoad(mask, d, from), d, to); });
    } else if (count == width && behind <= kLanes<T>) {
      const auto mask = hn::FirstN(d, static_cast<std::size_t>(behind));
      copy_lines(2 * kLanes<T>, [&] {
        hn::StoreU(hn::LoadU(d, from), d, to);
        hn::StoreU(hn::MaskedLoad(mask, d, from + kLanes<T>), d, to + kLanes<T>);
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

// to[k * width + i] = from[i * step + k * k_step] for i < count, and 0 for count <= i < width; k < K. O(width K); `to` is uninitialised before.
namespace kernels::TINYTORCH_CAPABILITY {
template <class T>
static void pack(T* to, int width, const T* from, std::int64_t step, std::int64_t k_step, int count, std::int64_t K) {
  if (step == 1) return pack_lines(to, width, from, k_step, count, K);
  // Lines are turned a piece at a time: what it fills of the panel stays in the first cache until all lines have been there.
  constexpr std::int64_t piece = 32;
  if (k_step == 1 && K > piece) {
    for (std::int64_t k = 0; k < K; k += piece) pack(to + k * width, width, from + k, step, k_step, count, K - k < piece ? K - k : piece);
    return;
  }
  int i = 0;
  if (k_step == 1) {
    i = pack_wide(to, width, from, step, count, K);
    for (; i + kSquare<T> <= count; i += kSquare<T>) {
      for (std::int64_t k = pack_squares(to + i, width, from + i * step, step, K); k < K; ++k)
        for (int j = i; j < i + kSquare<T>; ++j) to[k * width + j] = from[j * step + k];
    }
    if (kSquare<T> == 4 && i + 2 <= count) {
      for (std::int64_t k = pack_pairs(to + i, width, from + i * step, step, K); k < K; ++k)
        for (int j = i; j < i + 2; ++j) to[k * width + j] = from[j * step + k];
      i += 2;
    }
  }
  for (; i < count; ++i)
    for (std::int64_t k = 0; k < K; ++k) to[k * width + i] = from[i * step + k * k_step];
  for (; i < width; ++i)
    for (std::int64_t k = 0; k < K; ++k) to[k * width + i] = T{0};
}
}  // namespace kernels::TINYTORCH_CAPABILITY

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// As the operator relu: NaN and -0 stay what they are.
template <class T>
HWY_INLINE Vector<T> activated(Activation activation, Vector<T> x) {
  return activation == Activation::ReLU ? hn::IfThenZeroElse(hn::Lt(x, hn::Zero(Tag<T>())), x) : x;
}

// out = activation(alpha * sums (+ beta * start)), for the first `columns` numbers of a tile's rows. Whole: these are all that the vectors have, so no mask is needed. With one vector `right` does not count.
template <bool Whole, int Vectors, class T, int Rows>
HWY_INLINE void finish_rows(const Tile<T>& tile, Vector<T> (&left)[Rows], Vector<T> (&right)[Rows], int columns) {
  const Tag<T> d;
  const Vector<T> alpha = hn::Set(d, tile.alpha), beta = hn::Set(d, tile.beta);
  const int rest = columns - kLanes<T>;
  if (tile.alpha != T{1}) {
    HWY_UNROLL(12)
    for (int i = 0; i < Rows; ++i) {
      left[i] = hn::Mul(alpha, left[i]);
      if (Vectors == 2) right[i] = hn::Mul(alpha, right[i]);
    }
  }
  if (tile.start != nullptr) {
    HWY_UNROLL(12)
    for (int i = 0; i < Rows; ++i) {
      const T* const start = tile.start + i * tile.start_row;
      left[i] = hn::MulAdd(beta, Whole ? hn::LoadU(d, start) : load_first(start, columns), left[i]);
      if (Vectors == 2) right[i] = hn::MulAdd(beta, Whole ? hn::LoadU(d, start + kLanes<T>) : load_first(start + kLanes<T>, rest), right[i]);
    }
  }
  if (tile.activation != Activation::None) {
    HWY_UNROLL(12)
    for (int i = 0; i < Rows; ++i) {
      left[i] = activated<T>(tile.activation, left[i]);
      if (Vectors == 2) right[i] = activated<T>(tile.activation, right[i]);
    }
  }
  HWY_UNROLL(12)
  for (int i = 0; i < Rows; ++i) {
    T* const out = tile.out + i * tile.out_row;
    if (Whole) {
      hn::StoreU(left[i], d, out);
      if (Vectors == 2) hn::StoreU(right[i], d, out + kLanes<T>);
    } else {
      store_first(left[i], out, columns);
      if (Vectors == 2) store_first(right[i], out + kLanes<T>, rest);
    }
  }
}

template <int Vectors, class T, int Rows>
HWY_INLINE void finish_tile(const Tile<T>& tile, Vector<T> (&left)[Rows], Vector<T> (&right)[Rows], int columns) {
  if (columns == Vectors * kLanes<T>) finish_rows<true, Vectors>(tile, left, right, columns);
  else finish_rows<false, Vectors>(tile, left, right, columns);
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// A tile of Rows rows and one or two Vectors of columns, see Tile. With Packed, A is a panel: element (i, k) is a[k * Rows + i].
// Vectors * Rows * K multiply-adds of vectors; so many vectors of every line of B's panel are read in full. Packed tiles belong to large products, whose B comes from the second cache: its lines are asked for some steps ahead, also beyond the last one, which reads nothing.
namespace kernels::TINYTORCH_CAPABILITY {
template <class T, int Rows, int Vectors, bool Packed>
static void multiply_tile(const Tile<T>& tile, int columns) {
  const Tag<T> d;
  Vector<T> left[Rows];
  Vector<T> right[Rows];
  HWY_UNROLL(12)
  for (int i = 0; i < Rows; ++i) left[i] = right[i] = hn::Zero(d);
  const std::int64_t a_row = Packed ? 1 : tile.a_row;
  const std::int64_t a_k = Packed ? Rows : tile.a_k;
  constexpr int together = Packed || Rows <= 8 ? Rows : 4;  // rows that are read from one pointer
  constexpr int pointers = (Rows + together - 1) / together;
  const T* a[pointers];
  HWY_UNROLL(3)
  for (int p = 0; p < pointers; ++p) a[p] = tile.a + p * together * a_row;
  const T* b = tile.b;
  for (std::int64_t k = 0; k < tile.K; ++k) {
    if (Packed) {
      constexpr int line = 64 / static_cast<int>(sizeof(T));
      HWY_UNROLL(2)
      for (int j = 0; j < Vectors * kLanes<T>; j += line) hwy::Prefetch(b + 16 * tile.b_k + j);
    }
    const Vector<T> b_left = hn::LoadU(d, b);
    Vector<T> b_right = b_left;
    if (Vectors == 2) b_right = hn::LoadU(d, b + kLanes<T>);
    HWY_UNROLL(12)
    for (int i = 0; i < Rows; ++i) {
      const Vector<T> factor = hn::Set(d, a[i / together][i % together * a_row]);
      left[i] = hn::MulAdd(factor, b_left, left[i]);
      if (Vectors == 2) right[i] = hn::MulAdd(factor, b_right, right[i]);
    }
    HWY_UNROLL(3)
    for (int p = 0; p < pointers; ++p) a[p] += a_k;
    b += tile.b_k;
  }
  finish_tile<Vectors>(tile, left, right, columns);
}
}  // namespace kernels::TINYTORCH_CAPABILITY

// The tile kernels for 1 to kTileRows rows and one or two vectors: both become template parameters by looking them up.
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
template <class T, int Vectors, int... Index>
HWY_INLINE void choose_tile(const Tile<T>& tile, int rows, int columns, bool packed, std::integer_sequence<int, Index...>) {
  using Kernel = void (*)(const Tile<T>&, int);
  static constexpr Kernel in_place[] = {multiply_tile<T, Index + 1, Vectors, false>...};
  static constexpr Kernel from_panel[] = {multiply_tile<T, Index + 1, Vectors, true>...};
  (packed ? from_panel : in_place)[rows - 1](tile, columns);
}

template <class T>
void any_tile(const Tile<T>& tile, int rows, int columns, bool packed) {
  if (columns <= kLanes<T>) choose_tile<T, 1>(tile, rows, columns, packed, std::make_integer_sequence<int, kTileRows>());
  else choose_tile<T, 2>(tile, rows, columns, packed, std::make_integer_sequence<int, kTileRows>());
}

// A tile of Rows rows and four vectors of columns, which its lines in B and in the result fill.
template <class T, int Rows>
void multiply_wide_tile(const Tile<T>& tile) {
  constexpr int lanes = kLanes<T>;
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

// multiply_tile for operands that come from far away: before each line of the cache that its K fills it asks for what is wanted, and for two rows of its own place in the result. Never for much at once: a core has room for ten to sixteen lines that are on their way to its first cache.
// The loop stands here again, since a question in each step would cost the small tiles, which ask for nothing.
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
      const Vector<T> b_left = hn::LoadU(d, b), b_right = hn::LoadU(d, b + kLanes<T>);
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
  if (columns <= kLanes<T>) return any_tile(tile, rows, columns, packed);
  if (packed) choose_tile_and_ask<T, true>(tile, rows, columns, wanted, std::make_integer_sequence<int, kTileRows>());
  else choose_tile_and_ask<T, false>(tile, rows, columns, wanted, std::make_integer_sequence<int, kTileRows>());
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// activation(alpha * sum (+ beta * start)) at one place of the result.
template <class T>
HWY_INLINE void finish_number(const LinesProduct<T>& p, std::int64_t i, std::int64_t j, T sum) {
  const T product = p.alpha * sum;
  const T value = p.start == nullptr ? product : product + p.beta * p.start[i * p.start_row + j];
  p.out[i * p.out_row + j] = p.activation == Activation::ReLU && value < T{0} ? T{0} : value;
}

template <class T>
void multiply_lines_baseline(const LinesProduct<T>& p) {
  for (std::int64_t i = 0; i < p.M; ++i) {
    for (std::int64_t j = 0; j < p.N; ++j) {
      T sum{0};
      for (std::int64_t k = 0; k < p.K; ++k) sum += p.a[i * p.a_line + k] * p.b[j * p.b_line + k];
      finish_number(p, i, j, sum);
    }
  }
}

// The sum of each vector's numbers. Four at a time share the steps: after two rounds of interleaving and adding, each 128 bits of a register hold one part of each of four sums (of doubles, of two).
template <class T, int Count>
HWY_INLINE void sum_lanes(const Vector<T> (&vectors)[Count], T (&sums)[Count]) {
  const Tag<T> d;
#if HWY_TARGET != HWY_SCALAR
  constexpr int group = 16 / static_cast<int>(sizeof(T));
  if constexpr (Count % group == 0) {
    const hn::Repartition<double, Tag<T>> wide;
    const auto pairs = [&](int i) { return hn::Add(hn::InterleaveLower(d, vectors[i], vectors[i + 1]), hn::InterleaveUpper(d, vectors[i], vectors[i + 1])); };
    const auto first_block = [](auto self, auto tag, auto v) {
      if constexpr (hn::MaxLanes(tag) <= static_cast<std::size_t>(group)) return v;
      else {
        const hn::Half<decltype(tag)> half;
        return self(self, half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
      }
    };
    HWY_UNROLL(24)
    for (int i = 0; i < Count; i += group) {
      Vector<T> parts = pairs(i);
      if constexpr (group == 4) {
        const auto low = hn::BitCast(wide, parts), high = hn::BitCast(wide, pairs(i + 2));
        parts = hn::Add(hn::BitCast(d, hn::InterleaveLower(wide, low, high)), hn::BitCast(d, hn::InterleaveUpper(wide, low, high)));
      }
      hn::StoreU(first_block(first_block, d, parts), hn::CappedTag<T, group>(), sums + i);
    }
    return;
  }
#endif
  for (int i = 0; i < Count; ++i) sums[i] = hn::GetLane(hn::SumOfLanes(d, vectors[i]));
}

// The dot products of Rows lines of a, from line i on, with Lines lines of b, from line j on, which are `apart` from each other: Rows * Lines sums in registers.
template <class T, int Rows, int Lines>
void multiply_some_lines(const LinesProduct<T>& p, std::int64_t i, std::int64_t j, std::int64_t apart = 1) {
  const Tag<T> d;
  Vector<T> sums[Rows * Lines];
  HWY_UNROLL(24)
  for (int s = 0; s < Rows * Lines; ++s) sums[s] = hn::Zero(d);
  const T* const a = p.a + i * p.a_line;
  const T* const b = p.b + j * p.b_line;
  const std::int64_t next = apart * p.b_line;
  std::int64_t k = 0;
  for (; k + kLanes<T> <= p.K; k += kLanes<T>) {
    Vector<T> rows[Rows];
    HWY_UNROLL(6)
    for (int r = 0; r < Rows; ++r) rows[r] = hn::LoadU(d, a + r * p.a_line + k);
    HWY_UNROLL(4)
    for (int c = 0; c < Lines; ++c) {
      if (Rows == 1 && HWY_TARGET == HWY_AVX3) hwy::Prefetch(b + c * next + k + 512);
      const Vector<T> line = hn::LoadU(d, b + c * next + k);
      HWY_UNROLL(6)
      for (int r = 0; r < Rows; ++r) sums[r * Lines + c] = hn::MulAdd(rows[r], line, sums[r * Lines + c]);
    }
  }
  if (k < p.K) {
    const int rest = static_cast<int>(p.K - k);
    HWY_UNROLL(6)
    for (int r = 0; r < Rows; ++r) {
      const Vector<T> x = load_first(a + r * p.a_line + k, rest);
      HWY_UNROLL(4)
      for (int c = 0; c < Lines; ++c) sums[r * Lines + c] = hn::MulAdd(x, load_first(b + c * next + k, rest), sums[r * Lines + c]);
    }
  }
  T whole[Rows * Lines];
  sum_lanes<T>(sums, whole);
  for (int r = 0; r < Rows; ++r)
    for (int c = 0; c < Lines; ++c) finish_number(p, i + r, j + c * apart, whole[r * Lines + c]);
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// out (M, N) = alpha * A (M, K) x B (N, K)^T + beta * start, see LinesProduct; O(M N K). Sums may run in any order that depends on nothing but the sizes.
namespace kernels::TINYTORCH_CAPABILITY {
template <class T>
static void multiply_lines(const LinesProduct<T>& p) {
  // Four lines of b stay in the first cache while all rows of a pass by. They come from four quarters of b, each of which is read from end to end.
  constexpr bool many = kTileRows >= 12;
  constexpr int kRows = many ? 6 : 3;
  // Where the rows do not fit into the first cache beside them, twice four lines pass at a time.
  const std::int64_t quarter = p.N / 4, together = many && p.M > 2 * kRows ? 2 : 1;
  for (std::int64_t j = 0; j < quarter; j += together) {
    const std::int64_t stop = std::min(quarter, j + together);
    std::int64_t i = 0;
    const auto all_lines = [&]<int Rows>() {
      for (std::int64_t line = j; line < stop; ++line) multiply_some_lines<T, Rows, 4>(p, i, line, quarter);
      i += Rows;
    };
    while (i + kRows <= p.M) all_lines.template operator()<kRows>();
    if (many && i + 4 <= p.M) all_lines.template operator()<4>();
    if (i + 2 <= p.M) all_lines.template operator()<2>();
    if (i < p.M) all_lines.template operator()<1>();
  }
  for (std::int64_t j = 4 * quarter; j < p.N; ++j) {
    std::int64_t i = 0;
    for (; i + 4 <= p.M; i += 4) multiply_some_lines<T, 4, 1>(p, i, j);
    for (; i < p.M; ++i) multiply_some_lines<T, 1, 1>(p, i, j);
  }
}
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
    for (int v = 0; v < Vectors; ++v) sums[v] = hn::MulAdd(factor, load_first(line + v * kLanes<T>, columns - v * kLanes<T>), sums[v]);
  }
  HWY_UNROLL(16)
  for (int v = 0; v < Vectors; ++v) {
    const int left = columns - v * kLanes<T>;
    Vector<T> value = hn::Mul(hn::Set(d, row.alpha), sums[v]);
    if (row.start != nullptr) value = hn::MulAdd(hn::Set(d, row.beta), load_first(row.start + j + v * kLanes<T>, left), value);
    store_first(activated<T>(row.activation, value), row.out + j + v * kLanes<T>, left);
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
  for (std::int64_t v = 0; v < columns; v += kLanes<T>) {
    Vector<T> sum = hn::LoadU(d, sums + v);
    HWY_UNROLL(4)
    for (int i = 0; i < Lines; ++i) sum = hn::MulAdd(factors[i], hn::LoadU(d, line + i * row.b_k + v), sum);
    hn::StoreU(sum, d, sums + v);
  }
}

template <class T>
void multiply_row_strip(const Tile<T>& row, std::int64_t j, std::int64_t columns, T* sums) {
  const Tag<T> d;
  for (std::int64_t v = 0; v < columns; v += kLanes<T>) hn::StoreU(hn::Zero(d), d, sums + v);
  std::int64_t k = 0;
  for (; k + 4 <= row.K; k += 4) add_lines<T, 4>(row, k, j, columns, sums);
  for (; k < row.K; ++k) add_lines<T, 1>(row, k, j, columns, sums);
  const Vector<T> alpha = hn::Set(d, row.alpha), beta = hn::Set(d, row.beta);
  for (std::int64_t v = 0; v < columns; v += kLanes<T>) {
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
    for (std::int64_t count = 0; columns - j >= kLanes<T>; j += count) {
      count = std::min(kStrip, (columns - j) / kLanes<T> * kLanes<T>);
      multiply_row_strip(row, j, count, sums);
    }
  }
  for (; j + kVectors * kLanes<T> <= columns; j += kVectors * kLanes<T>) multiply_row_piece<T, kVectors>(row, j, kVectors * kLanes<T>);
  for (; j < columns; j += kLanes<T>) multiply_row_piece<T, 1>(row, j, columns - j < kLanes<T> ? static_cast<int>(columns - j) : kLanes<T>);
}

// Sixteen independent sums, nothing loaded: the peak of the multiply-add units.
template <class T>
double spin_arithmetic(std::int64_t rounds, T* result) {
  constexpr int kSums = kTileRows >= 12 ? 16 : 10;
  const Tag<T> d;
  const Vector<T> factor = hn::Set(d, static_cast<T>(0.999));
  Vector<T> sums[kSums];
  HWY_UNROLL(16)
  for (int i = 0; i < kSums; ++i) sums[i] = hn::Set(d, static_cast<T>(i));
  for (std::int64_t round = 0; round < rounds; ++round) {
    HWY_UNROLL(16)
    for (int i = 0; i < kSums; ++i) sums[i] = hn::MulAdd(sums[i], factor, factor);
  }
  HWY_UNROLL(16)
  for (int i = 1; i < kSums; ++i) sums[0] = hn::Add(sums[0], sums[i]);
  *result = hn::GetLane(hn::SumOfLanes(d, sums[0]));
  return 2.0 * kSums * kLanes<T> * static_cast<double>(rounds);
}

template <class T>
constexpr GemmTable<T> table_of() {
  return {kTileRows, kTileColumns<T>, any_tile<T>, any_wide_tile<T>, any_tile_and_ask<T>, pack<T>, multiply_lines<T>, multiply_lines_baseline<T>, multiply_row<T>, spin_arithmetic<T>};
}
}  // namespace

constinit const GemmKernels gemm_kernels = {table_of<float>(), table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
