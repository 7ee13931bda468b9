// From the lesson modules/76_vector_math/vector_math_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
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

// to[j * kLine + i] = from[i * row + j] for i and j < kLine.
template <class U>
HWY_INLINE void turn_block(U* to, const U* from, std::int64_t row) {
  constexpr int side = kLine<U>;
  if constexpr (sizeof(U) == 2 || HWY_TARGET == HWY_SCALAR) {
    for (int i = 0; i < side; ++i)
      for (int j = 0; j < side; ++j) to[j * side + i] = from[i * row + j];
    return;
  }
#if HWY_TARGET != HWY_SCALAR  // which has no such functions
  if constexpr (sizeof(U) == 4) {
    const hn::CappedTag<U, 4> d;
    for (int i = 0; i < side; i += 4) {
      for (int j = 0; j < side; j += 4) {
        const U* const corner = from + i * row + j;
        U* const place = to + j * side + i;
        const auto r0 = hn::LoadU(d, corner), r1 = hn::LoadU(d, corner + row), r2 = hn::LoadU(d, corner + 2 * row), r3 = hn::LoadU(d, corner + 3 * row);
        const auto low01 = hn::InterleaveLower(d, r0, r1), low23 = hn::InterleaveLower(d, r2, r3);
        const auto high01 = hn::InterleaveUpper(d, r0, r1), high23 = hn::InterleaveUpper(d, r2, r3);
        hn::StoreU(hn::ConcatLowerLower(d, low23, low01), d, place);
        hn::StoreU(hn::ConcatUpperUpper(d, low23, low01), d, place + side);
        hn::StoreU(hn::ConcatLowerLower(d, high23, high01), d, place + 2 * side);
        hn::StoreU(hn::ConcatUpperUpper(d, high23, high01), d, place + 3 * side);
      }
    }
  }
  if constexpr (sizeof(U) == 8) {
    const hn::CappedTag<U, 2> d;
    for (int i = 0; i < side; i += 2) {
      for (int j = 0; j < side; j += 2) {
        const U* const corner = from + i * row + j;
        const auto r0 = hn::LoadU(d, corner), r1 = hn::LoadU(d, corner + row);
        hn::StoreU(hn::InterleaveLower(d, r0, r1), d, to + j * side + i);
        hn::StoreU(hn::InterleaveUpper(d, r0, r1), d, to + (j + 1) * side + i);
      }
    }
  }
#endif
}

// Copies a line of a block to its place.
template <class U>
HWY_INLINE void write_line(U* to, const U* line, bool beyond_cache) {
  const hn::CappedTag<U, kLine<U>> d;
  constexpr int lanes = static_cast<int>(hn::MaxLanes(hn::CappedTag<U, kLine<U>>()));
  for (int i = 0; i < kLine<U>; i += lanes) {
    if (beyond_cache) hn::Stream(hn::LoadU(d, line + i), d, to + i);
    else hn::StoreU(hn::LoadU(d, line + i), d, to + i);
  }
}

template <class U>
void transpose(U* to, std::int64_t to_row, const U* from, std::int64_t from_row, std::int64_t rows, std::int64_t columns, bool beyond_cache) {
  constexpr std::int64_t side = kLine<U>, most = 4 * kLine<U>;
  alignas(64) U block[side * side];
  const bool streams = beyond_cache && reinterpret_cast<std::uintptr_t>(to) % 64 == 0 && to_row % side == 0;
  const std::int64_t whole_rows = rows / side * side, whole_columns = columns / side * side;
  // Blocks of blocks, so that few pages of memory are in use at a time.
  for (std::int64_t outer_i = 0; outer_i < whole_rows; outer_i += most) {
    for (std::int64_t outer_j = 0; outer_j < whole_columns; outer_j += most) {
      const std::int64_t i_end = outer_i + most < whole_rows ? outer_i + most : whole_rows, j_end = outer_j + most < whole_columns ? outer_j + most : whole_columns;
      for (std::int64_t i = outer_i; i < i_end; i += side) {
        for (std::int64_t j = outer_j; j < j_end; j += side) {
          // Lines so far apart no processor sees coming: those of the next block are asked for while this one is turned.
          const bool row_ends = j + side >= j_end;
          const std::int64_t next_i = row_ends ? i + side : i, next_j = row_ends ? outer_j : j + side;
          for (std::int64_t k = 0; next_i < i_end && k < side; ++k) {
            hwy::Prefetch(from + (next_i + k) * from_row + next_j);
            if (!streams) hwy::Prefetch(to + (next_j + k) * to_row + next_i);
          }
          turn_block(block, from + i * from_row + j, from_row);
          for (std::int64_t k = 0; k < side; ++k) write_line(to + (j + k) * to_row + i, block + k * side, streams);
        }
      }
    }
  }
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

constinit const CopyKernels copy_kernels = {copy_by_vectors, {transpose<std::uint16_t>, repeat<std::uint16_t>}, {transpose<std::uint32_t>, repeat<std::uint32_t>}, {transpose<std::uint64_t>, repeat<std::uint64_t>}, convert<float, double>, convert<double, float>,
                                            convert<float, std::int64_t>, convert<float, std::uint8_t>,
                                            convert<float, std::int32_t>, convert<std::int32_t, float>, convert<std::int64_t, float>, convert<std::int64_t, std::int32_t>, convert<std::int32_t, std::int64_t>,
                                            convert<std::int64_t, std::uint8_t>, convert<double, std::int64_t>, convert<bool, float>, convert<bool, std::int64_t>};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
