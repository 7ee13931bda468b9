// From the lesson modules/85_resampling_kernels/resampling_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include "tinytorch/kernels/resampling_kernels.h"

namespace tinytorch {

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
template <class T>
using Tag = hn::ScalableTag<T>;
template <class T>
constexpr std::int64_t kLanes = static_cast<std::int64_t>(hn::MaxLanes(Tag<T>()));

// `Vectors` vectors of results at i, whose sums are made in registers.
template <int Vectors, class T>
HWY_INLINE void sum_rows(const T* from, std::int64_t count, const std::int64_t* index, const T* weights, std::int64_t entries, T* out, std::int64_t i) {
  const Tag<T> d;
  hn::Vec<Tag<T>> sums[Vectors];
  for (int v = 0; v < Vectors; ++v) sums[v] = hn::Zero(d);
  for (std::int64_t j = 0; j < entries; ++j) {
    const T* const row = from + index[j] * count + i;
    const auto weight = hn::Set(d, weights[j]);
    for (int v = 0; v < Vectors; ++v) sums[v] = hn::MulAdd(hn::LoadU(d, row + v * kLanes<T>), weight, sums[v]);
  }
  for (int v = 0; v < Vectors; ++v) hn::StoreU(sums[v], d, out + i + v * kLanes<T>);
}

template <class T>
void rows(const T* from, std::int64_t count, const std::int64_t* index, const T* weights, std::int64_t entries, T* out) {
  constexpr std::int64_t L = kLanes<T>;
  std::int64_t i = 0;
  for (; i + 4 * L <= count; i += 4 * L) sum_rows<4>(from, count, index, weights, entries, out, i);
  for (; i + L <= count; i += L) sum_rows<1>(from, count, index, weights, entries, out, i);
  for (; i < count; ++i) {
    T sum{0};
    for (std::int64_t j = 0; j < entries; ++j) sum += weights[j] * from[index[j] * count + i];
    out[i] = sum;
  }
}

template <class T>
void line(const T* numbers, std::int64_t count, const std::int32_t* index, const T* weights, std::int64_t entries, T* out) {
  const Tag<T> d;
  const hn::RebindToSigned<Tag<T>> as_places;
  const hn::Rebind<std::int32_t, Tag<T>> as_indices;
  std::int64_t i = 0;
  for (; i + kLanes<T> <= count; i += kLanes<T>) {
    hn::Vec<Tag<T>> sum = hn::Zero(d);
    for (std::int64_t at = i; at < entries * count; at += count) {
      const auto indices = hn::LoadU(as_indices, index + at);
      if constexpr (sizeof(T) == 4) sum = hn::MulAdd(hn::GatherIndex(d, numbers, indices), hn::LoadU(d, weights + at), sum);
      else sum = hn::MulAdd(hn::GatherIndex(d, numbers, hn::PromoteTo(as_places, indices)), hn::LoadU(d, weights + at), sum);
    }
    hn::StoreU(sum, d, out + i);
  }
  for (; i < count; ++i) {
    T sum{0};
    for (std::int64_t at = i; at < entries * count; at += count) sum += weights[at] * numbers[index[at]];
    out[i] = sum;
  }
}
}  // namespace

constinit const ResamplingKernels resampling_kernels = {{rows<float>, line<float>}, {rows<double>, line<double>}};
}  // namespace kernels::TINYTORCH_CAPABILITY

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// The numbers from `from` on, and -2, which is outside, from `count` on.
template <class T>
HWY_INLINE hn::Vec<Tag<T>> coordinates(const T* from, std::int64_t count) {
  const Tag<T> d;
  if (count >= kLanes<T>) return hn::LoadU(d, from);
  HWY_ALIGN T lanes[kLanes<T>];
  for (std::int64_t i = 0; i < kLanes<T>; ++i) lanes[i] = i < count ? from[i] : T{-2};
  return hn::Load(d, lanes);
}

template <class T>
void find(const T* y_, const T* x_, std::int64_t written, std::int64_t height, std::int64_t width, std::int64_t count, std::int32_t* index, T* weights, T* fy_, T* fx_) {
  const Tag<T> d;
  const hn::Rebind<std::int32_t, Tag<T>> as_indices;
  const auto zero = hn::Zero(d), one = hn::Set(d, T{1}), bottom = hn::Set(d, static_cast<T>(height - 1)), end = hn::Set(d, static_cast<T>(width - 1));
  for (std::int64_t o = 0; o < count; o += kLanes<T>) {
    const auto y = coordinates(y_ + o, written - o), x = coordinates(x_ + o, written - o), top = hn::Floor(y), left = hn::Floor(x), fy = hn::Sub(y, top), fx = hn::Sub(x, left);
    hn::StoreU(fy, d, fy_ + o);
    hn::StoreU(fx, d, fx_ + o);
    for (std::int64_t corner = 0; corner < 4; ++corner) {
      const bool lower = corner >= 2, right = corner % 2 == 1;
      const auto row = lower ? hn::Add(top, one) : top, column = right ? hn::Add(left, one) : left;
      hn::StoreU(hn::Mul(lower ? fy : hn::Sub(hn::Add(top, one), y), right ? fx : hn::Sub(hn::Add(left, one), x)), d, weights + corner * count + o);
      // A comparison with NaN is false: such a place is outside.
      const auto inside = hn::And(hn::And(hn::Ge(row, zero), hn::Le(row, bottom)), hn::And(hn::Ge(column, zero), hn::Le(column, end)));
      if constexpr (sizeof(T) == 4) {
        // Not every index is a float, so it is computed of whole numbers.
        const auto at = hn::Add(hn::Mul(hn::ConvertTo(as_indices, hn::IfThenElseZero(inside, row)), hn::Set(as_indices, static_cast<std::int32_t>(width))), hn::ConvertTo(as_indices, hn::IfThenElseZero(inside, column)));
        hn::StoreU(hn::IfThenElse(hn::RebindMask(as_indices, inside), at, hn::Set(as_indices, -1)), as_indices, index + corner * count + o);
      } else {
        const auto at = hn::MulAdd(row, hn::Set(d, static_cast<T>(width)), column);
        hn::StoreU(hn::DemoteTo(as_indices, hn::IfThenElse(inside, at, hn::Set(d, T{-1}))), as_indices, index + corner * count + o);
      }
    }
  }
}

// The pixels of a vector of places; zero where the index is -1.
template <class T>
HWY_INLINE hn::Vec<Tag<T>> pixels(const T* plane, const std::int32_t* index) {
  const Tag<T> d;
  const hn::RebindToSigned<Tag<T>> as_places;
  const hn::Rebind<std::int32_t, Tag<T>> as_indices;
  const auto narrow = hn::LoadU(as_indices, index);
  hn::Vec<hn::RebindToSigned<Tag<T>>> at;
  if constexpr (sizeof(T) == 4) at = narrow;
  else at = hn::PromoteTo(as_places, narrow);
  const auto outside = hn::Lt(at, hn::Zero(as_places));
  return hn::IfThenZeroElse(hn::RebindMask(d, outside), hn::GatherIndex(d, plane, hn::IfThenZeroElse(outside, at)));
}

template <class T>
void read(const T* plane, const PlaceTable<T>& places, std::int64_t written, T* out) {
  const Tag<T> d;
  for (std::int64_t o = 0; o < written; o += kLanes<T>) {
    auto sum = hn::Zero(d);
    for (std::int64_t at = o; at < 4 * places.count; at += places.count) sum = hn::MulAdd(pixels(plane, places.index + at), hn::LoadU(d, places.weights + at), sum);
    if (o + kLanes<T> <= written) {
      hn::StoreU(sum, d, out + o);
    } else {
      HWY_ALIGN T lanes[kLanes<T>];
      hn::Store(sum, d, lanes);
      for (std::int64_t i = 0; i < written - o; ++i) out[o + i] = lanes[i];
    }
  }
}

template <class T>
void slopes(const T* plane, const PlaceTable<T>& places, const T* grad, std::int64_t first, std::int64_t stop, std::int64_t written, T* dy, T* dx) {
  const Tag<T> d;
  const auto one = hn::Set(d, T{1});
  for (std::int64_t o = first; o < stop; o += kLanes<T>) {
    HWY_ALIGN T lanes[kLanes<T>];
    for (std::int64_t i = 0; i < kLanes<T>; ++i) lanes[i] = o + i < written ? grad[o + i] : T{0};
    const auto g = hn::Load(d, lanes), fy = hn::LoadU(d, places.fy + o), fx = hn::LoadU(d, places.fx + o);
    const auto v00 = pixels(plane, places.index + o), v01 = pixels(plane, places.index + places.count + o);
    const auto v10 = pixels(plane, places.index + 2 * places.count + o), v11 = pixels(plane, places.index + 3 * places.count + o);
    const auto along_x = hn::MulAdd(hn::Sub(one, fy), hn::Sub(v01, v00), hn::Mul(fy, hn::Sub(v11, v10)));
    const auto along_y = hn::MulAdd(hn::Sub(one, fx), hn::Sub(v10, v00), hn::Mul(fx, hn::Sub(v11, v01)));
    hn::StoreU(hn::MulAdd(g, along_y, hn::LoadU(d, dy + o - first)), d, dy + o - first);
    hn::StoreU(hn::MulAdd(g, along_x, hn::LoadU(d, dx + o - first)), d, dx + o - first);
  }
}
}  // namespace

constinit const ReadingKernels reading_kernels = {{find<float>, read<float>, slopes<float>}, {find<double>, read<double>, slopes<double>}};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
