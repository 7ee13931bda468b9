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
// # Library chapter 50: Kernels of copies
//
// A copy computes nothing: all that it costs is how its numbers lie. `clone` of a tensor without gaps is one run of bytes, and as fast as memory. But many copies in a program change the order of the numbers or how many there are: a transposed matrix is made contiguous, an image's channels come last, a column is repeated along rows, a sequence is cut into windows that
// overlap. The reference (chapter 90) walks over all of them number by number, and asks for each where it lies:
//
//     x.t().contiguous()             a cache line is fetched for one number        blocks of cache lines, turned in registers
//     x.unfold(0, 3, 1), copied      a walk that finds rows of three numbers       a loop that was compiled for three
//     roll, cat, narrow              std::memcpy for each row                      vectors, where it is slow
//     x.to(kFloat) of integers       one number at a time                          as many as a vector has
//
// The chapter has two parts: tensors of any strides as rows, by which the elementwise kernels of chapters 76, 79 and 80 go too; and the copies, which stand behind `clone`, `contiguous`, `copy_` and `to`.

// %%
//| after 16 75
//| export kernels/rows.h
#include <array>
#include <cstddef>
#include <cstdint>
#include "tinytorch/core/tensor.h"
//| export kernels/copy_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/copy.h
#include "tinytorch/core/tensor.h"
//| export kernels/copy.cpp
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include "tinytorch/core/loops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/core/system_info.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/copy_kernels.h"
#include "tinytorch/kernels/gemm.h"
#include "tinytorch/kernels/half_products.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/rows.h"

// %%
//| export kernels/copy.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <algorithm>
#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include "tinytorch/kernels/copy_kernels.h"

// %%
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/roofline.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Rows
//
// A tensor of any strides is a walk of rows, as in module 01. Here any row can be found, so that threads begin in the middle, and what follows each other in memory for all operands is one row:
//
//     sizes (8, 4096, 1024), strides (4194304, 1024, 1) for all      1 row of 33 M numbers
//     one operand stretched along the first dimension (0, 1024, 1)   8 rows of 4 M

// %%
//| export kernels/rows.h
namespace kernels {

// Operands of one shape as rows: neighbouring dimensions that follow each other in memory for every operand are merged, and the last one that remains is the row. Unlike StridedLoop it finds any row, so threads can begin in the middle.
template <std::size_t N>
class Rows {
 public:
  using Places = std::array<std::int64_t, N>;

  // The strides are counted in elements, 0 where an operand is stretched. Without `merges` dimensions stay as they are.
  Rows(IntArrayRef sizes, const std::array<IntArrayRef, N>& strides, bool merges = true);

  std::int64_t count() const { return count_; }    // of rows
  std::int64_t length() const { return sizes_[sizes_.size() - 1]; }  // of a row
  Places steps() const;                            // from one number of a row to the next
  std::int64_t numel() const { return count_ * length(); }
  const DimVector& sizes() const { return sizes_; }  // after merging; the row's length is the last one
  const DimVector& strides(std::size_t k) const { return strides_[k]; }

  // Calls f(places) for rows [first, stop), places[k] being where the row begins in operand k. O(stop - first), after O(dimensions) to find the first one.
  template <class F>
  void run(std::int64_t first, std::int64_t stop, F f) const;

 private:
  DimVector sizes_;
  std::array<DimVector, N> strides_;
  std::int64_t count_ = 1;
};

template <std::size_t N>
Rows<N>::Rows(IntArrayRef sizes, const std::array<IntArrayRef, N>& strides, bool merges) {
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (merges && sizes[i] == 1) continue;
    bool follows = merges && !sizes_.empty();
    for (std::size_t k = 0; follows && k < N; ++k) follows = strides_[k].back() == strides[k][i] * sizes[i];
    if (!follows) sizes_.push_back(1);
    sizes_.back() *= sizes[i];
    for (std::size_t k = 0; k < N; ++k) {
      if (follows) strides_[k].back() = strides[k][i];
      else strides_[k].push_back(strides[k][i]);
    }
  }
  if (sizes_.empty()) {
    sizes_.push_back(1);
    for (DimVector& steps : strides_) steps.push_back(0);
  }
  for (std::size_t i = 0; i + 1 < sizes_.size(); ++i) count_ *= sizes_[i];
}

template <std::size_t N>
typename Rows<N>::Places Rows<N>::steps() const {
  Places steps{};
  for (std::size_t k = 0; k < N; ++k) steps[k] = strides_[k][sizes_.size() - 1];
  return steps;
}

template <std::size_t N>
template <class F>
void Rows<N>::run(std::int64_t first, std::int64_t stop, F f) const {
  const std::size_t outer = sizes_.size() - 1;
  DimVector index(outer);
  Places places{};
  for (std::size_t d = outer, rest = static_cast<std::size_t>(first); d-- > 0;) {
    index[d] = static_cast<std::int64_t>(rest) % sizes_[d];
    rest /= static_cast<std::size_t>(sizes_[d]);
    for (std::size_t k = 0; k < N; ++k) places[k] += index[d] * strides_[k][d];
  }
  for (std::int64_t row = first; row < stop; ++row) {
    f(places);
    for (std::size_t d = outer; d-- > 0;) {
      for (std::size_t k = 0; k < N; ++k) places[k] += strides_[k][d];
      if (++index[d] < sizes_[d]) break;
      for (std::size_t k = 0; k < N; ++k) places[k] -= strides_[k][d] * sizes_[d];
      index[d] = 0;
    }
  }
}

// Elements that are a task of their own, and so few that the reference takes them.
inline constexpr std::int64_t kElementwiseGrain = 1 << 15;
inline constexpr std::int64_t kFewElements = 128;

}  // namespace kernels

// %%
TEST_CASE("rows: dimensions that follow each other in memory are one, and any row can be the first") {
  const auto rows_of = [](const DimVector& sizes, const DimVector& a, const DimVector& b) { return kernels::Rows<2>(sizes, {IntArrayRef(a), IntArrayRef(b)}); };
  CHECK_EQ(rows_of({8, 4, 3}, {12, 3, 1}, {12, 3, 1}).count(), 1);
  CHECK_EQ(rows_of({8, 4, 3}, {12, 3, 1}, {12, 3, 1}).length(), 96);
  const kernels::Rows<2> stretched = rows_of({8, 4, 3}, {12, 3, 1}, {0, 3, 1});
  CHECK_EQ(stretched.count(), 8);
  CHECK_EQ(stretched.length(), 12);
  // A dimension of size 1 may have any stride.
  CHECK_EQ(rows_of({8, 1, 3}, {3, 77, 1}, {3, -5, 1}).length(), 24);
  const kernels::Rows<2> number = rows_of({}, {}, {});
  CHECK_EQ(number.count(), 1);
  CHECK_EQ(number.length(), 1);

  const kernels::Rows<2> turned = rows_of({2, 3, 4}, {12, 4, 1}, {1, 2, 6});
  CHECK_EQ(turned.sizes().size(), 3);
  std::vector<std::array<std::int64_t, 2>> places;
  turned.run(1, 5, [&](const auto& at) { places.push_back(at); });
  CHECK(places == std::vector<std::array<std::int64_t, 2>>{{4, 2}, {8, 4}, {12, 1}, {16, 3}});
}

// %% [markdown]
// ## Matrices that are turned, and other copies
//
// `x.t().contiguous()` reads along columns: of each cache line that comes from memory one number is used, and by the time its neighbours are wanted the line may be gone. In blocks both sides use whole lines:
//
//     from, rows             block of 16 x 16         to, rows
//     |................|     read 16 lines,           |....|...
//     |...[a b c d]....|     turn 4 x 4 at a time     |[a e i m]
//     |...[e f g h]....|     in registers,            |[b f j n]
//     |...[i j k l]....|     write 16 lines           |[c g k o]
//     |...[m n o p]....|                              |[d h l p]
//
// Rows that are a multiple of 4096 bytes apart, as rows of matrices often are, fall on the same few places of a cache and throw each other out. So a block is turned into a small buffer of its own, and each line of it is then written at once.
//
// A processor that writes into a line it does not have reads the line first, from memory if no cache has it, and no prefetcher foresees lines that are pages apart: each would be waited for. *Non-temporal* stores write whole lines without reading them, past the caches. So they are used here where the result is larger than the core's own cache.
//
// They have a catch. Lines of 64 bytes that lie pages apart took 2.5 ms for 16 MB on an AMD EPYC, runs of 256 bytes 0.75 ms: a memory chip has to open a row before it stores, and one line is probably little to open it for. So where a matrix has many rows, a block holds
// 256 bytes of each column, and 512 columns: 128 KB, which the second cache holds. Reading 16 MB takes 0.65 ms, turning 0.75, writing 0.75. One after the other they add up. So there are two buffers, and between two strips of the block that is being turned a few lines of the one before it are written:
//
//     step          read and turn                  write past the caches
//       1           block 1 -> buffer A
//       2           block 2 -> buffer B            buffer A -> block 1 of the result
//       3           block 3 -> buffer A            buffer B -> block 2 of the result
//
// The processor reads ahead while the stores are on their way: 2.9 -> 1.75 ms for 4,096 x 1,024 numbers. What overlaps here is what an asynchronous copy and two stages of shared memory do on a GPU (`cp.async`): double buffering.
//
// The same loops copy any permutation of dimensions: one dimension is dense in the source, one in the target, and the others only say where the next plane begins. Channels-last to channels-first is a transposition of (H W, C) for each image.
//
// Where rows stay rows, `std::memcpy` copies them, and one would not look for a better way to copy bytes. But from 2 KB on glibc's leaves it to one instruction, `rep movsb`, and on AMD's Zen 3 that takes twelve times as long where source and target lie differently in their lines of 32 bytes: 2.8 GB/s instead of 33, from the
// core's cache. Rows of `roll` and `cat` do that. So such rows are copied by vectors.
//
// A copy that is larger than all caches goes past them. A store into a line that the cache does not have reads the line first, so that three lines move for each one that is copied; a non-temporal store writes whole lines and reads nothing (chapter 76 has more of it). Two halves of a piece are copied at a time, since a processor fetches more ahead of two streams than of one.
// `clone` of 512 MB takes 0.62 of the time that `std::memcpy` takes for pieces of 256 KB, which are too short for glibc to do the same.
//
// A stretched column, as `x.unsqueeze(1).expand({n, m})` is, has stride 0 along the rows of the target: a row is one number written many times, and nothing is read but that number. To turn blocks of it would be as much work as to transpose a matrix.
//
// Windows (`unfold`) and repeated numbers (`repeat_interleave`) are rows of a few numbers. To find the next row and to call a function for it takes 4 ns, more than the row. So rows of 2 to 8 and of 16 numbers are copied in a loop over one more dimension, by a function that was compiled for that length: a million windows of 3 floats took 4.3 ms and take 0.6.

// %%
//| export kernels/copy_kernels.h
namespace kernels {

// Where caches do not hold the result, blocks of so many bytes of a column, and so many columns, are turned into a buffer.
inline constexpr std::int64_t kTurnedBytes = 256, kTurnedColumns = 512;

// Turns a matrix of elements of type U (their bits): to[j * to_row + i] = from[i * from_row + j] for i < rows, j < columns. They do not overlap.
// `buffers` has room for two such blocks and begins at a multiple of 64 bytes; it is null where the caches hold the result.
template <class U>
using TransposeKernel = void (*)(U* to, std::int64_t to_row, const U* from, std::int64_t from_row, std::int64_t rows, std::int64_t columns, U* buffers);

// to[i] = number for i < count.
template <class U>
using RepeatKernel = void (*)(U* to, U number, std::int64_t count);

template <class U>
struct BitsMover {
  TransposeKernel<U> transpose;
  RepeatKernel<U> repeat;
};

template <class To, class From>
using ConvertKernel = void (*)(To* to, const From* from, std::int64_t count);

struct CopyKernels {
  void (*bytes)(void* to, const void* from, std::int64_t count);              // that do not overlap
  void (*bytes_past_caches)(void* to, const void* from, std::int64_t count);  // the same for what no cache holds
  BitsMover<std::uint16_t> of_2;
  BitsMover<std::uint32_t> of_4;
  BitsMover<std::uint64_t> of_8;
  ConvertKernel<float, double> float_of_double;
  ConvertKernel<double, float> double_of_float;
  ConvertKernel<float, std::int64_t> float_of_long;
  ConvertKernel<float, std::uint8_t> float_of_byte;  // from bytes: bools too, which are 0 or 1
  ConvertKernel<float, std::int32_t> float_of_int;
  ConvertKernel<std::int32_t, float> int_of_float;
  ConvertKernel<std::int64_t, float> long_of_float;
  ConvertKernel<std::int64_t, std::int32_t> long_of_int;
  ConvertKernel<std::int32_t, std::int64_t> int_of_long;
  ConvertKernel<std::int64_t, std::uint8_t> long_of_byte;
  ConvertKernel<double, std::int64_t> double_of_long;
  ConvertKernel<bool, float> bool_of_float;
  ConvertKernel<bool, std::int64_t> bool_of_long;
};

TINYTORCH_DECLARE_PER_CAPABILITY(CopyKernels, copy_kernels)

}  // namespace kernels

// %%
//| export kernels/copy.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Elements of a cache line.
template <class U>
constexpr int kLine = 64 / static_cast<int>(sizeof(U));

// Rows of a strip: as many as fill a vector of 32 bytes.
template <class U>
constexpr int kStrip = 32 / static_cast<int>(sizeof(U));

#if HWY_TARGET != HWY_SCALAR  // which has no such functions
// Squares of 4 x 4 or 2 x 2 elements, with rows of 16 bytes. A register of 256 bits holds two, one below the other, side by side.
template <class U>
HWY_INLINE void turn_squares(U* to, std::int64_t to_row, const U* from, std::int64_t from_row) {
  constexpr int square = 16 / static_cast<int>(sizeof(U));
  const hn::CappedTag<U, kStrip<U>> d;
  const hn::Repartition<std::uint64_t, decltype(d)> pairs;
  constexpr int lanes = static_cast<int>(hn::MaxLanes(hn::CappedTag<U, kStrip<U>>()));
  for (int i = 0; i < kStrip<U>; i += lanes) {
    for (int j = 0; j < kLine<U>; j += square) {
      const auto row = [&](int k) HWY_ATTR {
        const U* const first = from + (i + k) * from_row + j;
        if constexpr (lanes == square) {
          return hn::LoadU(d, first);
        } else {
          const hn::Half<decltype(d)> half;
          return hn::Combine(d, hn::LoadU(half, first + square * from_row), hn::LoadU(half, first));
        }
      };
      const auto put = [&](int k, auto column) HWY_ATTR { hn::StoreU(hn::BitCast(d, column), d, to + (j + k) * to_row + i); };
      const auto r0 = row(0), r1 = row(1);
      const auto low01 = hn::BitCast(pairs, hn::InterleaveLower(d, r0, r1)), high01 = hn::BitCast(pairs, hn::InterleaveUpper(d, r0, r1));
      if constexpr (square == 2) {
        put(0, low01), put(1, high01);
      } else {
        const auto r2 = row(2), r3 = row(3);
        const auto low23 = hn::BitCast(pairs, hn::InterleaveLower(d, r2, r3)), high23 = hn::BitCast(pairs, hn::InterleaveUpper(d, r2, r3));
        put(0, hn::InterleaveLower(pairs, low01, low23)), put(1, hn::InterleaveUpper(pairs, low01, low23));
        put(2, hn::InterleaveLower(pairs, high01, high23)), put(3, hn::InterleaveUpper(pairs, high01, high23));
      }
    }
  }
}

// Squares of 8 x 8 elements of two bytes: pairs of rows, then of pairs, then of fours come together.
HWY_INLINE void turn_squares(std::uint16_t* to, std::int64_t to_row, const std::uint16_t* from, std::int64_t from_row) {
  const hn::CappedTag<std::uint16_t, 8> d;
  const hn::Repartition<std::uint32_t, decltype(d)> twos;
  const hn::Repartition<std::uint64_t, decltype(d)> fours;
  using Fours = hn::Vec<hn::Repartition<std::uint64_t, hn::CappedTag<std::uint16_t, 8>>>;
  for (int i = 0; i < kStrip<std::uint16_t>; i += 8) {
    for (int j = 0; j < kLine<std::uint16_t>; j += 8) {
      // Columns 2 k and 2 k + 1 of four rows, for k < 4.
      const auto turn_four = [&](const std::uint16_t* first, Fours* columns) HWY_ATTR {
        const auto r0 = hn::LoadU(d, first), r1 = hn::LoadU(d, first + from_row), r2 = hn::LoadU(d, first + 2 * from_row), r3 = hn::LoadU(d, first + 3 * from_row);
        const auto low01 = hn::BitCast(twos, hn::InterleaveLower(d, r0, r1)), high01 = hn::BitCast(twos, hn::InterleaveUpper(d, r0, r1));
        const auto low23 = hn::BitCast(twos, hn::InterleaveLower(d, r2, r3)), high23 = hn::BitCast(twos, hn::InterleaveUpper(d, r2, r3));
        columns[0] = hn::BitCast(fours, hn::InterleaveLower(twos, low01, low23)), columns[1] = hn::BitCast(fours, hn::InterleaveUpper(twos, low01, low23));
        columns[2] = hn::BitCast(fours, hn::InterleaveLower(twos, high01, high23)), columns[3] = hn::BitCast(fours, hn::InterleaveUpper(twos, high01, high23));
      };
      Fours upper[4], lower[4];
      turn_four(from + i * from_row + j, upper);
      turn_four(from + (i + 4) * from_row + j, lower);
      for (int k = 0; k < 4; ++k) {
        std::uint16_t* const column = to + (j + 2 * k) * to_row + i;
        hn::StoreU(hn::BitCast(d, hn::InterleaveLower(fours, upper[k], lower[k])), d, column);
        hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(fours, upper[k], lower[k])), d, column + to_row);
      }
    }
  }
}
#endif

// to[j * to_row + i] = from[i * from_row + j] for i < kStrip and j < kLine.
template <class U>
HWY_INLINE void turn_strip(U* to, std::int64_t to_row, const U* from, std::int64_t from_row) {
#if HWY_TARGET == HWY_SCALAR
  for (int i = 0; i < kStrip<U>; ++i)
    for (int j = 0; j < kLine<U>; ++j) to[j * to_row + i] = from[i * from_row + j];
#else
  turn_squares(to, to_row, from, from_row);
#endif
}

// Copies `count` elements, a multiple of kLine; past the caches, `to` begins at a multiple of 64 bytes.
template <class U>
HWY_INLINE void write_lines(U* to, const U* from, std::int64_t count, bool streams) {
  const hn::CappedTag<U, kLine<U>> d;
  constexpr int lanes = static_cast<int>(hn::MaxLanes(hn::CappedTag<U, kLine<U>>()));
  for (std::int64_t i = 0; i < count; i += lanes) {
    if (streams) hn::Stream(hn::LoadU(d, from + i), d, to + i);
    else hn::StoreU(hn::LoadU(d, from + i), d, to + i);
  }
}

// In blocks of cache lines, of which each is written at once, past the caches if `streams`. Rows and columns are multiples of kLine.
template <class U>
void transpose_lines(U* to, std::int64_t to_row, const U* from, std::int64_t from_row, std::int64_t rows, std::int64_t columns, bool streams) {
  constexpr std::int64_t side = kLine<U>, most = 4 * kLine<U>;
  alignas(64) U block[side * side];
  // Blocks of blocks, so that few pages of memory are in use at a time.
  for (std::int64_t outer_i = 0; outer_i < rows; outer_i += most) {
    for (std::int64_t outer_j = 0; outer_j < columns; outer_j += most) {
      const std::int64_t i_end = outer_i + most < rows ? outer_i + most : rows, j_end = outer_j + most < columns ? outer_j + most : columns;
      for (std::int64_t i = outer_i; i < i_end; i += side) {
        for (std::int64_t j = outer_j; j < j_end; j += side) {
          // Lines so far apart no processor sees coming: those of the next block are asked for while this one is turned.
          const bool row_ends = j + side >= j_end;
          const std::int64_t next_i = row_ends ? i + side : i, next_j = row_ends ? outer_j : j + side;
          for (std::int64_t k = 0; next_i < i_end && k < side; ++k) {
            hwy::Prefetch(from + (next_i + k) * from_row + next_j);
            if (!streams) hwy::Prefetch(to + (next_j + k) * to_row + next_i);
          }
          for (std::int64_t k = 0; k < side; k += kStrip<U>) turn_strip(block + k, side, from + (i + k) * from_row + j, from_row);
          for (std::int64_t k = 0; k < side; ++k) write_lines(to + (j + k) * to_row + i, block + k * side, side, streams);
        }
      }
    }
  }
}

// Past the caches in runs of kTurnedBytes. While one block is turned into a buffer, the one above it is written from the other, some lines at each step:
// so reading, turning and writing overlap. Rows and columns are multiples of kLine, and so is to_row; `to` begins at a multiple of 64 bytes.
template <class U>
void transpose_blocks(U* to, std::int64_t to_row, const U* from, std::int64_t from_row, std::int64_t rows, std::int64_t columns, U* buffers) {
  constexpr std::int64_t strip = kStrip<U>, side = kLine<U>, deep = kTurnedBytes / static_cast<std::int64_t>(sizeof(U));
  for (std::int64_t first = 0; first < columns; first += kTurnedColumns) {
    const std::int64_t wide = columns - first < kTurnedColumns ? columns - first : kTurnedColumns;
    U* block = buffers;
    U* waiting = buffers + deep * kTurnedColumns;  // the block above, `above` rows of it
    std::int64_t above = 0;
    for (std::int64_t top = 0; top < rows || above > 0; top += deep) {
      const std::int64_t below = rows - top < 0 ? 0 : rows - top, height = below < deep ? below : deep;
      const std::int64_t steps = height / strip * (wide / side), at_a_step = steps == 0 ? 0 : (wide + steps - 1) / steps;
      std::int64_t written = above > 0 ? 0 : wide;
      const auto write_until = [&](std::int64_t stop) {
        for (; written < wide && written < stop; ++written) write_lines(to + (first + written) * to_row + top - deep, waiting + written * deep, above, true);
      };
      for (std::int64_t i = 0; i < height; i += strip) {
        for (std::int64_t j = 0; j < wide; j += side) {
          turn_strip(block + j * deep + i, deep, from + (top + i) * from_row + first + j, from_row);
          write_until(written + at_a_step);
        }
      }
      write_until(wide);
      above = height;
      U* const turned = block;
      block = waiting;
      waiting = turned;
    }
  }
}

template <class U>
void transpose(U* to, std::int64_t to_row, const U* from, std::int64_t from_row, std::int64_t rows, std::int64_t columns, U* buffers) {
  constexpr std::int64_t side = kLine<U>;
  const std::int64_t whole_rows = rows / side * side, whole_columns = columns / side * side;
  const bool streams = buffers != nullptr && reinterpret_cast<std::uintptr_t>(to) % 64 == 0 && to_row % side == 0;
  // One block alone has none that could be written meanwhile.
  if (streams && rows * static_cast<std::int64_t>(sizeof(U)) >= 4 * kTurnedBytes) transpose_blocks(to, to_row, from, from_row, whole_rows, whole_columns, buffers);
  else transpose_lines(to, to_row, from, from_row, whole_rows, whole_columns, streams);
  if (streams) hwy::FlushStream();
  for (std::int64_t j = 0; j < whole_columns; ++j)
    for (std::int64_t i = whole_rows; i < rows; ++i) to[j * to_row + i] = from[i * from_row + j];
  for (std::int64_t j = whole_columns; j < columns; ++j)
    for (std::int64_t i = 0; i < rows; ++i) to[j * to_row + i] = from[i * from_row + j];
}

void copy_by_vectors(void* to, const void* from, std::int64_t count) {
  const hn::ScalableTag<std::uint8_t> d;
  constexpr auto lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<std::uint8_t>()));
  auto* const target = static_cast<std::uint8_t*>(to);
  const auto* const source = static_cast<const std::uint8_t*>(from);
  std::int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    const auto a = hn::LoadU(d, source + i), b = hn::LoadU(d, source + i + lanes), c = hn::LoadU(d, source + i + 2 * lanes), e = hn::LoadU(d, source + i + 3 * lanes);
    hn::StoreU(a, d, target + i), hn::StoreU(b, d, target + i + lanes), hn::StoreU(c, d, target + i + 2 * lanes), hn::StoreU(e, d, target + i + 3 * lanes);
  }
  for (; i < count; ++i) target[i] = source[i];
}

// Past the caches, two halves at a time, each asked for two kilobytes ahead.
void stream_by_vectors(void* to, const void* from, std::int64_t count) {
  const hn::ScalableTag<std::uint8_t> d;
  constexpr auto lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<std::uint8_t>()));
  const auto place = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(to) % lanes);
  const std::int64_t before = std::min(count, (lanes - place) % lanes), half = (count - before) / (2 * lanes) * lanes;
  copy_by_vectors(to, from, before);
  auto* const target = static_cast<std::uint8_t*>(to) + before;
  const auto* const source = static_cast<const std::uint8_t*>(from) + before;
  for (std::int64_t i = 0; i < half; i += lanes) {
    for (const std::int64_t at : {i, i + half}) {
      hwy::Prefetch(reinterpret_cast<const std::uint8_t*>(reinterpret_cast<std::uintptr_t>(source + at) + 2048));
      hn::Stream(hn::LoadU(d, source + at), d, target + at);
    }
  }
  hwy::FlushStream();
  copy_by_vectors(target + 2 * half, source + 2 * half, count - before - 2 * half);
}

// The compiler makes vectors of this and the next.
template <class U>
void repeat(U* to, U number, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = number;
}

template <class To, class From>
void convert(To* to, const From* from, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = static_cast<To>(from[i]);
}
}  // namespace

constinit const CopyKernels copy_kernels = {copy_by_vectors, stream_by_vectors, {transpose<std::uint16_t>, repeat<std::uint16_t>}, {transpose<std::uint32_t>, repeat<std::uint32_t>}, {transpose<std::uint64_t>, repeat<std::uint64_t>}, convert<float, double>, convert<double, float>,
                                            convert<float, std::int64_t>, convert<float, std::uint8_t>,
                                            convert<float, std::int32_t>, convert<std::int32_t, float>, convert<std::int64_t, float>, convert<std::int64_t, std::int32_t>, convert<std::int32_t, std::int64_t>,
                                            convert<std::int64_t, std::uint8_t>, convert<double, std::int64_t>, convert<bool, float>, convert<bool, std::int64_t>};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| export kernels/copy.h
namespace kernels {

// Copies `from`, which broadcasts to to's sizes, into `to`, on the threads of the pool and without a call through the dispatcher. Other dtypes are converted. REQUIRES: they do not overlap, and `to` is not stretched. O(to.numel()).
void copy_elements(const Tensor& to, const Tensor& from);

// Bytes of this machine's largest cache; 32 MB where it does not tell.
std::int64_t last_cache_bytes();

// What std::memcpy does, by vectors where that is slow.
void copy_bytes(void* to, const void* from, std::int64_t count);

}  // namespace kernels

// %%
//| export kernels/copy.cpp
namespace {
const kernels::CopyKernels& copy_table() {
  using namespace kernels;
  static constexpr const CopyKernels* tables[] = TINYTORCH_PER_CAPABILITY(copy_kernels);
  return for_capability(tables);
}

}  // namespace

std::int64_t kernels::last_cache_bytes() {
  static const std::int64_t bytes = [] {
    std::int64_t most = 0;
    for (const CacheInfo& cache : system_info().caches) most = std::max(most, cache.bytes);
    return most > 0 ? most : std::int64_t{32} << 20;
  }();
  return bytes;
}

void kernels::copy_bytes(void* to, const void* from, std::int64_t count) {
  const bool lie_alike = (reinterpret_cast<std::uintptr_t>(to) ^ reinterpret_cast<std::uintptr_t>(from)) % 32 == 0;
  if (lie_alike || count <= 2048) std::memcpy(to, from, static_cast<std::size_t>(count));
  else copy_table().bytes(to, from, count);
}

namespace {
std::byte* bytes_of(const Tensor& x) { return static_cast<std::byte*>(x.data_ptr()); }

// One run of memory.
void copy_run_of_bytes(const Tensor& to, const Tensor& from) {
  constexpr std::int64_t grain = std::int64_t{1} << 18;
  const std::int64_t bytes = to.numel() * static_cast<std::int64_t>(to.element_size());
  const auto copy = bytes > kernels::last_cache_bytes() ? copy_table().bytes_past_caches : kernels::copy_bytes;
  parallel_for(0, bytes, grain, [&](std::int64_t first, std::int64_t stop) { copy(bytes_of(to) + first, bytes_of(from) + first, stop - first); });
}

// The dimension of stride 1 in operand k; -1 if there is none.
int dense_dimension(const kernels::Rows<2>& rows, std::size_t k) {
  for (std::size_t d = rows.sizes().size(); d-- > 0;)
    if (rows.strides(k)[d] == 1) return static_cast<int>(d);
  return -1;
}

// The other dimensions, as a walk of their own.
kernels::Rows<2> without(const kernels::Rows<2>& rows, int first, int second) {
  DimVector sizes, to, from;
  for (int d = 0; d < static_cast<int>(rows.sizes().size()); ++d) {
    if (d == first || d == second) continue;
    const auto i = static_cast<std::size_t>(d);
    sizes.push_back(rows.sizes()[i]);
    to.push_back(rows.strides(0)[i]);
    from.push_back(rows.strides(1)[i]);
  }
  sizes.push_back(1);  // every element of it is a row
  to.push_back(0);
  from.push_back(0);
  return {sizes, {IntArrayRef(to), IntArrayRef(from)}, false};
}

// Rows of kLength numbers, or of one number so many times, whose first numbers are steps apart. A length that the compiler knows is a move or two, where a call for each row takes longer than the numbers.
template <class U, std::size_t kLength>
void copy_short_rows(U* to, std::int64_t to_step, const U* from, std::int64_t from_step, std::int64_t rows, bool repeats) {
  if (repeats) {
    for (std::int64_t r = 0; r < rows; ++r, to += to_step, from += from_step) std::fill_n(to, kLength, *from);
  } else {
    for (std::int64_t r = 0; r < rows; ++r, to += to_step, from += from_step) std::memcpy(to, from, kLength * sizeof(U));
  }
}

template <class U>
using ShortRows = void (*)(U* to, std::int64_t to_step, const U* from, std::int64_t from_step, std::int64_t rows, bool repeats);

// Null for other lengths.
template <class U>
ShortRows<U> short_rows(std::int64_t length) {
  switch (length) {
    case 2: return copy_short_rows<U, 2>;
    case 3: return copy_short_rows<U, 3>;
    case 4: return copy_short_rows<U, 4>;
    case 5: return copy_short_rows<U, 5>;
    case 6: return copy_short_rows<U, 6>;
    case 7: return copy_short_rows<U, 7>;
    case 8: return copy_short_rows<U, 8>;
    case 16: return copy_short_rows<U, 16>;
    default: return nullptr;
  }
}

// Rows along dimension i, in bands of rows that lie a step of another dimension apart.
template <class U>
void copy_in_bands(const kernels::Rows<2>& rows, int i, U* to, const U* from, bool repeats, ShortRows<U> copy) {
  const int last = static_cast<int>(rows.sizes().size()) - 1, k = i == last ? last - 1 : last;
  const kernels::Rows<2> planes = without(rows, i, k);
  const std::int64_t length = rows.sizes()[static_cast<std::size_t>(i)], lines = rows.sizes()[static_cast<std::size_t>(k)];
  const std::int64_t to_step = rows.strides(0)[static_cast<std::size_t>(k)], from_step = rows.strides(1)[static_cast<std::size_t>(k)];
  const std::int64_t band = std::max<std::int64_t>(1, kernels::kElementwiseGrain / length), bands = (lines + band - 1) / band;
  const std::int64_t grain = std::max<std::int64_t>(1, kernels::kElementwiseGrain / (std::min(band, lines) * length));
  parallel_for(0, planes.count() * bands, grain, [&](std::int64_t first, std::int64_t stop) {
    for (std::int64_t task = first; task < stop; ++task) {
      const std::int64_t line = task % bands * band;
      planes.run(task / bands, task / bands + 1, [&](const auto& places) {
        copy(to + places[0] + line * to_step, to_step, from + places[1] + line * from_step, from_step, std::min(band, lines - line), repeats);
      });
    }
  });
}

// Elements of type U, by their bits. Returns false, and does nothing, where no dimension is dense in `to`, or none in `from` that has no number to repeat.
template <class U>
bool copy_permuted(const Tensor& to, const Tensor& from, const kernels::BitsMover<U>& mover) {
  const DimVector from_strides = broadcast_strides(from, to.sizes());
  const kernels::Rows<2> rows(to.sizes(), {to.strides(), IntArrayRef(from_strides)});
  const int i = dense_dimension(rows, 0), j = dense_dimension(rows, 1);
  const bool repeats = i >= 0 && rows.strides(1)[static_cast<std::size_t>(i)] == 0;
  if (i < 0 || (j < 0 && !repeats)) return false;
  const kernels::Rows<2> planes = without(rows, i, repeats ? i : j);
  U* const target = static_cast<U*>(to.data_ptr());
  const U* const source = static_cast<const U*>(from.data_ptr());
  const std::int64_t length = rows.sizes()[static_cast<std::size_t>(i)];
  if (const ShortRows<U> copy = short_rows<U>(length); copy != nullptr && planes.count() > 1 && (repeats || i == j)) {
    copy_in_bands(rows, i, target, source, repeats, copy);
    return true;
  }
  if (repeats && planes.count() == 1) {
    parallel_for(0, length, kernels::kElementwiseGrain, [&](std::int64_t first, std::int64_t stop) { mover.repeat(target + first, source[0], stop - first); });
    return true;
  }
  if (repeats) {
    parallel_for(0, planes.count(), std::max<std::int64_t>(1, kernels::kElementwiseGrain / length), [&](std::int64_t first, std::int64_t stop) {
      planes.run(first, stop, [&](const auto& places) { mover.repeat(target + places[0], source[places[1]], length); });
    });
    return true;
  }
  if (i == j) {
    parallel_for(0, planes.count(), std::max<std::int64_t>(1, kernels::kElementwiseGrain / length), [&](std::int64_t first, std::int64_t stop) {
      planes.run(first, stop, [&](const auto& places) { kernels::copy_bytes(target + places[0], source + places[1], length * static_cast<std::int64_t>(sizeof(U))); });
    });
    return true;
  }
  // A task is a band of lines of the target of one plane; where no cache holds the result, a part of such a band.
  const std::int64_t lines = rows.sizes()[static_cast<std::size_t>(j)], element = sizeof(U);
  const std::int64_t to_row = rows.strides(0)[static_cast<std::size_t>(j)], from_row = rows.strides(1)[static_cast<std::size_t>(i)];
  const bool beyond_cache = to.numel() * element > kernels::cache_sizes().second;
  const std::int64_t band = beyond_cache ? kernels::kTurnedColumns : std::max<std::int64_t>(64, kernels::kElementwiseGrain / 8 / length / 64 * 64);
  const std::int64_t part = beyond_cache ? 16 * kernels::kTurnedBytes / element : length;
  const std::int64_t bands = (lines + band - 1) / band, parts = (length + part - 1) / part;
  const std::int64_t grain = std::max<std::int64_t>(1, kernels::kElementwiseGrain / (std::min(band, lines) * std::min(part, length)));
  parallel_for(0, planes.count() * bands * parts, grain, [&](std::int64_t first, std::int64_t stop) {
    const Tensor buffers = beyond_cache ? empty({2 * kernels::kTurnedBytes * kernels::kTurnedColumns}, kByte) : Tensor();
    for (std::int64_t task = first; task < stop; ++task) {
      const std::int64_t plane = task / (bands * parts), line = task / parts % bands * band, at = task % parts * part;
      planes.run(plane, plane + 1, [&](const auto& places) {
        mover.transpose(target + places[0] + line * to_row + at, to_row, source + places[1] + at * from_row + line, from_row, std::min(part, length - at), std::min(band, lines - line),
                        beyond_cache ? static_cast<U*>(buffers.data_ptr()) : nullptr);
      });
    }
  });
  return true;
}

// Numbers that lie apart in one or both: row by row, number by number.
template <class U>
void copy_apart(const Tensor& to, const Tensor& from) {
  const DimVector from_strides = broadcast_strides(from, to.sizes());
  const kernels::Rows<2> rows(to.sizes(), {to.strides(), IntArrayRef(from_strides)});
  const auto copy = [target = static_cast<U*>(to.data_ptr()), source = static_cast<const U*>(from.data_ptr()), steps = rows.steps()](const auto& places, std::int64_t first, std::int64_t stop) {
    for (std::int64_t i = first; i < stop; ++i) target[places[0] + i * steps[0]] = source[places[1] + i * steps[1]];
  };
  if (rows.count() == 1) {
    parallel_for(0, rows.length(), kernels::kElementwiseGrain, [&](std::int64_t first, std::int64_t stop) { copy(kernels::Rows<2>::Places{}, first, stop); });
    return;
  }
  parallel_for(0, rows.count(), std::max<std::int64_t>(1, kernels::kElementwiseGrain / rows.length()), [&](std::int64_t first, std::int64_t stop) {
    rows.run(first, stop, [&](const auto& places) { copy(places, 0, rows.length()); });
  });
}

template <class U>
void copy_bits(const Tensor& to, const Tensor& from, const kernels::BitsMover<U>& mover) {
  if (!copy_permuted(to, from, mover)) copy_apart<U>(to, from);
}

template <class To, class From>
bool convert_run(const Tensor& to, const Tensor& from, kernels::ConvertKernel<To, From> convert) {
  const bool reads = from.scalar_type() == scalar_type_of<From>() || (std::is_same_v<From, std::uint8_t> && from.scalar_type() == kBool);
  if (to.scalar_type() != scalar_type_of<To>() || !reads) return false;
  To* const target = to.data<To>();
  const From* const source = static_cast<const From*>(from.data_ptr());
  parallel_for(0, to.numel(), kernels::kElementwiseGrain, [&](std::int64_t first, std::int64_t stop) { convert(target + first, source + first, stop - first); });
  return true;
}

// Half and BFloat16 to float and back, by the kernels of chapter 65.
bool convert_half_run(const Tensor& to, const Tensor& from) {
  const bool widens = isReducedFloatingType(from.scalar_type());
  const Tensor& half = widens ? from : to;
  if (!isReducedFloatingType(half.scalar_type()) || (widens ? to : from).scalar_type() != kFloat) return false;
  const kernels::HalfTable& table = kernels::half_table(half.scalar_type());
  float* const floats = (widens ? to : from).data<float>();
  std::uint16_t* const bits = static_cast<std::uint16_t*>(half.data_ptr());
  parallel_for(0, to.numel(), kernels::kElementwiseGrain, [&](std::int64_t first, std::int64_t stop) {
    if (widens) table.widen(floats + first, bits + first, stop - first);
    else table.narrow(bits + first, floats + first, stop - first);
  });
  return true;
}

// Whether it was done by kernels.
bool copied(const Tensor& to, const Tensor& from) {
  const bool dense = to.is_contiguous() && from.is_contiguous() && to.sizes() == from.sizes();
  if (to.scalar_type() == from.scalar_type()) {
    if (dense) {
      copy_run_of_bytes(to, from);
      return true;
    }
    if (to.element_size() == 1) copy_apart<std::uint8_t>(to, from);
    if (to.element_size() == 2) copy_bits<std::uint16_t>(to, from, copy_table().of_2);
    if (to.element_size() == 4) copy_bits<std::uint32_t>(to, from, copy_table().of_4);
    if (to.element_size() == 8) copy_bits<std::uint64_t>(to, from, copy_table().of_8);
    return to.element_size() <= 8;
  }
  const kernels::CopyKernels& table = copy_table();
  return dense && (convert_run<float, double>(to, from, table.float_of_double) || convert_run<double, float>(to, from, table.double_of_float) ||
                   convert_run<float, std::int64_t>(to, from, table.float_of_long) || convert_run<float, std::uint8_t>(to, from, table.float_of_byte) ||
                   convert_run<float, std::int32_t>(to, from, table.float_of_int) || convert_run<std::int32_t, float>(to, from, table.int_of_float) ||
                   convert_run<std::int64_t, float>(to, from, table.long_of_float) || convert_run<std::int64_t, std::int32_t>(to, from, table.long_of_int) ||
                   convert_run<std::int32_t, std::int64_t>(to, from, table.int_of_long) || convert_run<std::int64_t, std::uint8_t>(to, from, table.long_of_byte) ||
                   convert_run<double, std::int64_t>(to, from, table.double_of_long) || convert_run<bool, float>(to, from, table.bool_of_float) ||
                   convert_run<bool, std::int64_t>(to, from, table.bool_of_long) || convert_half_run(to, from));
}
}  // namespace

void kernels::copy_elements(const Tensor& to, const Tensor& from) {
  if (to.numel() < kFewElements || !copied(to, from)) copy_into(to, from);
}

// %%
//| export kernels/copy.cpp
namespace {
// A copy in row order, or in self's own where it has one without gaps.
Tensor copied_tuned(const Tensor& self, ScalarType type, bool keeps_order) {
  const Tensor result = keeps_order && is_dense(self) ? empty_beside(self, self.sizes(), type) : empty(self.sizes(), type);
  kernels::copy_elements(result, self);
  return result;
}

Tensor to_dtype_tuned(const Tensor& self, ScalarType type) {
  if (self.numel() < kernels::kFewElements) return op::to_dtype.function(Layer::CPU)(self, type);
  return copied_tuned(self, type, true);
}

Tensor clone_tuned(const Tensor& self, bool keeps_order) {
  if (self.numel() < kernels::kFewElements) return op::clone.function(Layer::CPU)(self, keeps_order);
  return copied_tuned(self, self.scalar_type(), keeps_order);
}

const Tensor& copy_tuned(const Tensor& self, const Tensor& src) {
  const bool takes = self.numel() >= kernels::kFewElements && src.numel() > 0 && IntArrayRef(infer_size(self.sizes(), src.sizes())) == self.sizes() && !ranges_overlap(self, src);
  if (!takes) return op::copy_.function(Layer::CPU)(self, src);
  check_no_internal_overlap(self);
  kernels::copy_elements(self, src);
  return self;
}
}  // namespace

// %%
//| export kernels/copy.cpp
//| registers
void register_copy_kernels() {
  op::clone.set(Layer::TunedCPU, clone_tuned);
  op::to_dtype.set(Layer::TunedCPU, to_dtype_tuned);
  op::copy_.set(Layer::TunedCPU, copy_tuned);
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

// %%
TEST_CASE("copies: any permutation, any size, any dtype, for each capability") {
  for_each_capability([] {
    for (const ScalarType type : {kFloat, kDouble, kLong, kInt, kShort, kHalf, kBFloat16, kByte, kBool}) {
      for (const auto& shape : {std::pair<std::int64_t, std::int64_t>{40, 40}, {16, 64}, {17, 65}, {200, 3}, {3, 200}, {130, 47}}) {
        const std::int64_t rows = shape.first, columns = shape.second;
        CAPTURE(type);
        CAPTURE(rows);
        const Tensor x = arange(rows * columns).remainder(251).to(type).view({rows, columns});
        const Tensor turned = x.t().contiguous();
        CHECK(turned.is_contiguous());
        bool same = true;
        for (std::int64_t i = 0; i < rows; ++i)
          for (std::int64_t j = 0; j < columns; ++j)
            same = same && std::memcmp(static_cast<const char*>(turned.data_ptr()) + static_cast<std::size_t>(j * rows + i) * x.element_size(),
                                       static_cast<const char*>(x.data_ptr()) + static_cast<std::size_t>(i * columns + j) * x.element_size(), x.element_size()) == 0;
        CHECK(same);
      }
    }
  });
}

TEST_CASE("copies: matrices that caches do not hold, for each capability") {
  // Whole blocks and parts of blocks, results that begin at a line and others, and a result with something on either side.
  for (const ScalarType type : {kFloat, kDouble, kHalf}) {
    for (const auto& shape : {std::pair<std::int64_t, std::int64_t>{1216, 1049}, {1232, 1024}, {4128, 290}, {1217, 1100}, {96, 14000}}) {
      const std::int64_t rows = shape.first, columns = shape.second;
      CAPTURE(type);
      CAPTURE(rows);
      const Tensor x = arange(rows * columns).remainder(2039).to(type).view({rows, columns});
      const Tensor wanted = [&] {
        const kernels::ReferenceKernelsGuard reference;
        return x.t().contiguous();
      }();
      for_each_capability([&] {
        const Tensor turned = x.t().contiguous();
        CHECK_EQ(std::memcmp(turned.data_ptr(), wanted.data_ptr(), wanted.nbytes()), 0);
        const Tensor around = full({columns, rows + 64}, 7, type);
        around.narrow(1, 32, rows).copy_(x.t());
        CHECK(around.narrow(1, 32, rows).equal(wanted));
        CHECK((around.narrow(1, 0, 32) == 7).all().item<bool>());
        CHECK((around.narrow(1, rows + 32, 32) == 7).all().item<bool>());
      });
    }
  }
}

TEST_CASE("copies: rows of few numbers, side by side or overlapping, and one number for a row") {
  for (const ScalarType type : {kFloat, kDouble, kHalf, kInt, kByte}) {
    for (std::int64_t length = 1; length <= 17; ++length) {
      CAPTURE(type);
      CAPTURE(length);
      const Tensor x = arange(3 * 900 * 40).remainder(1999).to(type).view({3, 900, 40});
      for (const Tensor& view : {x.narrow(2, 5, length), x.select(2, 1).contiguous().unfold(1, length, 3), x.select(2, 1).contiguous().unsqueeze(2).expand({3, 900, length}),
                                 x.narrow(2, 5, length).transpose(0, 1), x.select(2, 7).unsqueeze(2).expand({3, 900, length})}) {
        const Tensor wanted = [&] {
          const kernels::ReferenceKernelsGuard reference;
          return view.contiguous();
        }();
        CHECK(view.contiguous().equal(wanted));
        const Tensor around = full({view.size(0), view.size(1), length + 2}, 7, type);
        around.narrow(2, 1, length).copy_(view);
        CHECK(around.narrow(2, 1, length).equal(wanted));
        CHECK((around.select(2, 0) == 7).all().item<bool>());
        CHECK((around.select(2, -1) == 7).all().item<bool>());
      }
    }
  }
  const Tensor line = arange(90'000, kFloat);
  const auto windows = [&] { return line.unfold(0, 3, 1).contiguous(); };
  const int before = get_num_threads();
  set_num_threads(1);
  const Tensor alone = windows();
  set_num_threads(3);
  CHECK(windows().equal(alone));
  set_num_threads(before);
}

TEST_CASE("copies: rows of any length from any address to any other") {
  const Tensor source = randint(0, 256, {20000}).to(kByte);
  for_each_capability([&] {
    for (const std::int64_t count : {1, 2047, 2048, 2049, 2111, 4092, 9001})
      for (const auto& [from, to] : {std::pair<std::int64_t, std::int64_t>{0, 0}, {0, 1}, {7, 64}, {33, 16}, {32, 0}}) {
        using namespace kernels;
        static constexpr const CopyKernels* tables[] = TINYTORCH_PER_CAPABILITY(copy_kernels);
        for (const auto& copy : {copy_bytes, for_capability(tables).bytes_past_caches}) {
          const Tensor target = full({12000}, 7, kByte);
          copy(target.data<std::uint8_t>() + to, source.data<std::uint8_t>() + from, count);
          CHECK_EQ(target.narrow(0, to, count), source.narrow(0, from, count));
          CHECK_EQ((target.slice(0, 0, to) != 7).sum().item<std::int64_t>() + (target.slice(0, to + count) != 7).sum().item<std::int64_t>(), 0);
        }
      }
    const Tensor x = randn({5, 1024});
    CHECK_EQ(cat({x.slice(1, 1023), x.slice(1, 0, 1023)}, 1), x.index_select(1, (arange(1024) + 1023).remainder(1024)));
  });
}

TEST_CASE("copies: more dimensions, expanded and partial ones, into views, and conversions") {
  const Tensor x = (arange(3 * 5 * 20 * 18) * 0.5 - 7).to(kFloat).view({3, 5, 20, 18});
  const auto both = [](auto f) {
    const Tensor got = f();
    const kernels::ReferenceKernelsGuard guard;
    CHECK_EQ(got, f());
  };
  for_each_capability([&] {
    both([&] { return x.permute({0, 2, 3, 1}).contiguous(); });
    both([&] { return x.permute({3, 2, 1, 0}).contiguous(); });
    both([&] { return x.permute({1, 0, 3, 2}).contiguous(); });
    both([&] { return x.narrow(3, 2, 9).contiguous(); });
    both([&] { return x.slice(3, 0, 18, 2).contiguous(); });
    both([&] { return x.select(1, 2).unsqueeze(1).expand({3, 4, 20, 18}).contiguous(); });
    both([&] { return x.narrow(3, 0, 1).expand({3, 5, 20, 18}).contiguous(); });
    for (const ScalarType type : {kFloat, kDouble, kLong, kHalf, kByte, kBool}) {
      const Tensor numbers = x.select(3, 2).select(2, 1).flatten().to(type);  // 18 apart
      for (const std::int64_t length : {2, 7, 16, 33, 1000}) both([&] { return numbers.unsqueeze(1).expand({15, length}).contiguous(); });
      both([&] { return numbers.view({3, 1, 5, 1}).expand({3, 40, 5, 9}).contiguous(); });
      both([&] { return numbers.select(0, 3).expand({700, 3}).contiguous(); });
      both([&] { return numbers.unsqueeze(0).expand({80, 15}).contiguous(); });
      both([&] {
        const Tensor to = zeros({50, 15}, type);
        to.t().copy_(numbers.unsqueeze(1));
        return to;
      });
    }
    both([&] { return x.contiguous(MemoryFormat::ChannelsLast).contiguous(); });
    both([&] {
      const Tensor to = zeros({20, 18, 5, 3});
      to.permute({3, 2, 0, 1}).copy_(x);
      return to;
    });
    both([&] {
      const Tensor to = zeros({3, 5, 20, 18}, kDouble);
      to.copy_(x);
      return to;
    });
    both([&] { return x.to(kDouble); });
    both([&] { return x.to(kDouble).to(kFloat); });
    both([&] { return x.to(kLong).to(kFloat); });
    both([&] { return x.to(kByte).to(kFloat); });
    both([&] { return x.gt(0).to(kFloat); });
    // Beyond what the other holds, too.
    const Tensor large = (x * 3e7).to(kLong) * 3;
    for (const ScalarType type : {kInt, kLong, kBool, kByte, kDouble}) {
      both([&] { return (type == kByte ? x.abs() : x).to(type).to(kFloat); });
      both([&] { return (type == kByte ? x.abs() : x).to(type).to(kLong); });
      both([&] { return large.to(type); });
      both([&] { return large.to(kInt).to(type); });
      both([&] { return (x > 3).to(type); });
    }
    for (const ScalarType half : {kHalf, kBFloat16}) {
      both([&] { return (x * 77.7).to(half); });  // beyond what Half holds, too
      both([&] { return x.to(half).to(kFloat); });
      both([&] { return x.to(half).permute({0, 2, 3, 1}).contiguous(); });
      both([&] { return x.to(half).permute({0, 2, 1, 3}).to(kFloat); });
    }
    both([&] { return x.permute({0, 2, 3, 1}).to(kDouble); });
  });
  CHECK_ERROR(zeros({1, 20}).expand({20, 20}).copy_(ones({20, 20})), "more than one element of the written-to tensor");
  CHECK_ERROR(zeros({1, 20}).copy_(ones({20, 20})), "doesn't match the broadcast shape");
}

// %% [markdown]
// ## What it gains
//
// Bytes that must move, read and written, for each second, of tuned kernels and of the reference, in one thread. A copy of one run is what memory can do.

// %%
DEMO("copies beside the reference, 16 MB, one thread") {
  const int before = get_num_threads();
  set_num_threads(1);
  const auto line = [](const char* name, double bytes, auto f) {
    const double tuned = measure(f, {.samples = 5}).minimum;
    const kernels::ReferenceKernelsGuard guard;
    const double reference = measure(f, {.samples = 3}).minimum;
    std::printf("%-28s %7.2f GB/s, reference %7.2f GB/s, %5.1f times\n", name, bytes / tuned * 1e-9, bytes / reference * 1e-9, reference / tuned);
  };
  const double n = 1 << 22;
  const Tensor x = rand({1 << 22}), square = rand({2048, 2048}), images = rand({16, 64, 64, 64}), numbers = x.to(kLong);
  line("one run", 8 * n, [&] { do_not_optimize(x.clone()); });
  line("transpose to contiguous", 8 * n, [&] { do_not_optimize(square.t().contiguous()); });
  line("to channels last", 8 * n, [&] { do_not_optimize(images.contiguous(MemoryFormat::ChannelsLast)); });
  line("windows of three numbers", 16 * n / 3, [&] { do_not_optimize(x.narrow(0, 0, (1 << 22) / 3 + 2).unfold(0, 3, 1).contiguous()); });
  line("a column along rows", 4 * n, [&] { do_not_optimize(x.narrow(0, 0, 2048).unsqueeze(1).expand({2048, 2048}).contiguous()); });
  line("int64 to float", 12 * n, [&] { do_not_optimize(numbers.to(kFloat)); });
  set_num_threads(before);
}

// %% [markdown]
// ## In production
//
// **PyTorch** copies in `aten/src/ATen/native/cpu/CopyKernel.cpp`, by rows that `aten/src/ATen/TensorIterator.cpp` finds as `Rows` does here: it sorts dimensions by strides and merges those that follow each other. A transposed matrix is turned in blocks of 60 x 60 (`copy_transpose_valid` in `aten/src/ATen/native/Copy.cpp`). It uses no non-temporal stores.
// **XLA**, under JAX and TensorFlow, plans a transposition of arrays of the host ahead (`TransposePlan`, `xla/pjrt/transpose.cc`): in which order the dimensions are walked, in blocks that are turned in registers. On a GPU a transposition goes through shared memory in tiles of 32 x 32, for the same reason: both sides shall touch whole lines.
//
// ## Where to read on
//
// - *What Every Programmer Should Know About Memory* (Drepper, 2007), section 6.1, for stores that pass the caches by, with measurements of a matrix that is written by columns.
// - *HPTT: A High-Performance Tensor Transposition C++ Library* (Springer, Su and Bientinesi, 2017), for any permutation of any number of dimensions.

// %%
}  // namespace tinytorch
