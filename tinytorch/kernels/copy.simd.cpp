// From the lesson modules/50_copy_kernels/copy_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <algorithm>
#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include "tinytorch/kernels/copy_kernels.h"

namespace tinytorch {

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

}  // namespace tinytorch
