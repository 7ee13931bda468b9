// From the lesson modules/75_convolution_kernels/convolution_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include <algorithm>
#include <utility>
#include "tinytorch/kernels/winograd_kernels.h"

namespace tinytorch {

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

}  // namespace tinytorch
