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
#include "tinytorch/kernels/tiles-inl.h"

namespace tinytorch {

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// Turns squares: to[k * width + i] = from[i * step + k] for i < kSquare and all k < K that fill squares. Returns how many k that are.
// Two rounds of interleaving exchange rows and columns.
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

// As many of `count` lines as fill wide registers, which chapter 62 turns; returns how many these are.
template <class T>
HWY_INLINE int pack_wide(T* to, int width, const T* from, std::int64_t step, int count, std::int64_t K) {
  return fast_packing<T>.turn == nullptr ? 0 : fast_packing<T>.turn(to, width, from, step, count, K);
}

// Lines, K times. They lie far apart, often in pages of their own, where the processor does not see the next one coming: it is told.
template <class T>
HWY_NOINLINE void pack_lines(T* to, int width, const T* from, std::int64_t k_step, int count, std::int64_t K) {
  if (fast_packing<T>.copy != nullptr) return fast_packing<T>.copy(to, width, from, k_step, count, K);
  constexpr std::int64_t ahead = 32;
  const Tag<T> d;
  for (std::int64_t k = 0; k < K; ++k, from += k_step, to += width) {
    if (k + ahead < K) hwy::Prefetch(from + ahead * k_step);
    int i = 0;
    for (; i + kTileLanes<T> <= count; i += kTileLanes<T>) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
    for (; i < count; ++i) to[i] = from[i];
    for (; i < width; ++i) to[i] = T{0};
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
  }
  for (; i < count; ++i)
    for (std::int64_t k = 0; k < K; ++k) to[k * width + i] = from[i * step + k * k_step];
  for (; i < width; ++i)
    for (std::int64_t k = 0; k < K; ++k) to[k * width + i] = T{0};
}
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
      for (int j = 0; j < Vectors * kTileLanes<T>; j += line) hwy::Prefetch(b + 16 * tile.b_k + j);
    }
    const Vector<T> b_left = hn::LoadU(d, b);
    Vector<T> b_right = b_left;
    if (Vectors == 2) b_right = hn::LoadU(d, b + kTileLanes<T>);
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
  if (columns <= kTileLanes<T>) choose_tile<T, 1>(tile, rows, columns, packed, std::make_integer_sequence<int, kTileRows>());
  else choose_tile<T, 2>(tile, rows, columns, packed, std::make_integer_sequence<int, kTileRows>());
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
  for (; k + kTileLanes<T> <= p.K; k += kTileLanes<T>) {
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
  return 2.0 * kSums * kTileLanes<T> * static_cast<double>(rounds);
}

template <class T>
constexpr GemmTable<T> table_of() {
  return {kTileRows, kTileColumns<T>, any_tile<T>, pack<T>, multiply_lines<T>, multiply_lines_baseline<T>, spin_arithmetic<T>};
}
}  // namespace

constinit const GemmKernels gemm_kernels = {table_of<float>(), table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
