// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <hwy/highway.h>

#include "tinytorch/kernels/gemm_kernels.h"

namespace tinytorch {

// For *.simd.cpp files, which define TINYTORCH_CAPABILITY. Vectors of as many T as the registers of this capability hold, from Google Highway: hn::LoadU, hn::MulAdd and so on become one instruction each.
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <class T>
using Tag = hn::ScalableTag<T>;
template <class T>
using Vector = hn::Vec<Tag<T>>;
template <class T>
constexpr int kTileLanes = static_cast<int>(hn::MaxLanes(Tag<T>()));

// AVX-512 and NEON have 32 vector registers, older ones 16. A tile of R rows and two vectors wants 2 R for sums, two for B and one for A.
constexpr int kTileRows = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON ? 12 : HWY_TARGET == HWY_SCALAR ? 4 : 6;
template <class T>
constexpr int kTileColumns = 2 * kTileLanes<T>;

// The side of a square that registers turn: one of 128 bits holds 4 float or 2 double.
template <class T>
constexpr int kSquare = HWY_TARGET == HWY_SCALAR ? 1 : 16 / static_cast<int>(sizeof(T));

// Masked loads and stores of x86 do not touch what the mask leaves out; elsewhere the numbers go through a buffer.
constexpr bool kMasksAreSafe = HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3;

// The first `count` numbers at `from`, then zeros.
template <class T>
HWY_INLINE Vector<T> load_first(const T* from, int count) {
  const Tag<T> d;
  if (count >= kTileLanes<T>) return hn::LoadU(d, from);
  if constexpr (kMasksAreSafe) return hn::MaskedLoad(hn::FirstN(d, static_cast<std::size_t>(count < 0 ? 0 : count)), d, from);
  T buffer[kTileLanes<T>] = {};
  for (int i = 0; i < count; ++i) buffer[i] = from[i];
  return hn::LoadU(d, buffer);
}

// Stores the first `count` numbers of the vector.
template <class T>
HWY_INLINE void store_first(Vector<T> value, T* to, int count) {
  const Tag<T> d;
  if (count >= kTileLanes<T>) return hn::StoreU(value, d, to);
  if constexpr (kMasksAreSafe) return hn::BlendedStore(value, hn::FirstN(d, static_cast<std::size_t>(count < 0 ? 0 : count)), d, to);
  T buffer[kTileLanes<T>];
  hn::StoreU(value, d, buffer);
  for (int i = 0; i < count; ++i) to[i] = buffer[i];
}
}  // namespace
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
  const int rest = columns - kTileLanes<T>;
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
      if (Vectors == 2) right[i] = hn::MulAdd(beta, Whole ? hn::LoadU(d, start + kTileLanes<T>) : load_first(start + kTileLanes<T>, rest), right[i]);
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
      if (Vectors == 2) hn::StoreU(right[i], d, out + kTileLanes<T>);
    } else {
      store_first(left[i], out, columns);
      if (Vectors == 2) store_first(right[i], out + kTileLanes<T>, rest);
    }
  }
}

template <int Vectors, class T, int Rows>
HWY_INLINE void finish_tile(const Tile<T>& tile, Vector<T> (&left)[Rows], Vector<T> (&right)[Rows], int columns) {
  if (columns == Vectors * kTileLanes<T>) finish_rows<true, Vectors>(tile, left, right, columns);
  else finish_rows<false, Vectors>(tile, left, right, columns);
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
