// From the lesson modules/85_resampling_kernels/resampling_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include <algorithm>
#include "tinytorch/kernels/resampling_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

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
template <class U>
void pick_row(const U* row, const std::int64_t* columns, std::int64_t count, std::int64_t channels, U* out) {
  const Tag<U> d;
  if (channels == 1) {
    for (std::int64_t x = 0; x < count; ++x) out[x] = row[columns[x]];
    return;
  }
  for (std::int64_t x = 0; x < count; ++x, out += channels) {
    const U* const pixel = row + columns[x] * channels;
    std::int64_t c = 0;
    for (; c + kLanes<U> <= channels; c += kLanes<U>) hn::StoreU(hn::LoadU(d, pixel + c), d, out + c);
    // Masks of AVX2 are for numbers of four and eight bytes.
    if constexpr (sizeof(U) >= 4) {
      if (c < channels) StorePart(LoadPart(d, pixel + c, channels - c), d, out + c, channels - c);
    } else {
      for (; c < channels; ++c) out[c] = pixel[c];
    }
  }
}
}  // namespace

constinit const PickKernels pick_kernels = {pick_row<std::uint8_t>, pick_row<std::uint16_t>, pick_row<std::uint32_t>, pick_row<std::uint64_t>};
}  // namespace kernels::TINYTORCH_CAPABILITY

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
template <class T>
HWY_INLINE hn::Vec<Tag<T>> places_of(hn::Vec<Tag<T>> number, const GridAxis<T>& axis) {
  const Tag<T> d;
  auto place = hn::Sub(hn::Mul(hn::Add(number, hn::Set(d, T{1})), hn::Set(d, axis.scale)), hn::Set(d, axis.shift));
  if (axis.padding == 0) return place;
  if (axis.padding == 2) {
    const auto low = hn::Set(d, axis.low), span = hn::Set(d, axis.span);
    const auto distance = hn::Abs(hn::Sub(place, low)), turns = hn::Floor(hn::Div(distance, span)), rest = hn::Sub(distance, hn::Mul(turns, span));
    const auto half = hn::Mul(turns, hn::Set(d, T{0.5}));
    place = hn::Add(hn::IfThenElse(hn::Eq(hn::Floor(half), half), rest, hn::Sub(span, rest)), low);
  }
  const auto inside = hn::Min(hn::Max(place, hn::Zero(d)), hn::Set(d, axis.last));
  return hn::IfThenElseZero(hn::Eq(place, place), inside);  // NaN to 0
}

template <class T>
void place(const T* grid, std::int64_t count, const GridAxis<T>& y, const GridAxis<T>& x) {
  const Tag<T> d;
  constexpr std::int64_t L = kLanes<T>;
  hn::Vec<Tag<T>> of_x, of_y;
  std::int64_t i = 0;
  for (; i + L <= count; i += L) {
    hn::LoadInterleaved2(d, grid + 2 * i, of_x, of_y);
    hn::StoreU(places_of(of_x, x), d, x.places + i);
    hn::StoreU(places_of(of_y, y), d, y.places + i);
  }
  if (i == count) return;
  HWY_ALIGN T rest[2 * L] = {};
  for (std::int64_t k = 0; k < 2 * (count - i); ++k) rest[k] = grid[2 * i + k];
  hn::LoadInterleaved2(d, rest, of_x, of_y);
  StorePart(places_of(of_x, x), d, x.places + i, count - i);
  StorePart(places_of(of_y, y), d, y.places + i, count - i);
}

// The pixels around a vector of places: above left, above right, below left and below right.
template <class T>
struct Corners {
  using Place = hn::RebindToSigned<Tag<T>>;
  hn::Vec<Place> at[4];  // 0 where it is outside
  hn::Mask<Tag<T>> inside[4];
  hn::Vec<Tag<T>> weight[4];
  hn::Vec<Tag<T>> fy, fx;  // how far the place is behind the row and the column above it

  // Of pixel k of a plane; zero outside.
  HWY_INLINE hn::Vec<Tag<T>> pixel(int k, const T* plane) const { return hn::IfThenElseZero(inside[k], hn::GatherIndex(Tag<T>(), plane, at[k])); }
};

// Pixels of a plane at whole rows and columns, and whether they are inside of it; a comparison with NaN is false: such a place is outside.
template <class T>
HWY_INLINE hn::Vec<hn::RebindToSigned<Tag<T>>> pixels_at(const Reading<T>& places, hn::Vec<Tag<T>> row, hn::Vec<Tag<T>> column, hn::Mask<Tag<T>>& inside) {
  const Tag<T> d;
  const hn::RebindToSigned<Tag<T>> as_places;
  const auto zero = hn::Zero(d), bottom = hn::Set(d, static_cast<T>(places.height - 1)), end = hn::Set(d, static_cast<T>(places.width - 1));
  inside = hn::And(hn::And(hn::Ge(row, zero), hn::Le(row, bottom)), hn::And(hn::Ge(column, zero), hn::Le(column, end)));
  const auto whole_row = hn::IfThenElseZero(inside, row), whole_column = hn::IfThenElseZero(inside, column);
  // Not every index is a float, so there it is computed of whole numbers.
  if constexpr (sizeof(T) == 4) return hn::Add(hn::Mul(hn::ConvertTo(as_places, whole_row), hn::Set(as_places, static_cast<std::int32_t>(places.width))), hn::ConvertTo(as_places, whole_column));
  else return hn::ConvertTo(as_places, hn::MulAdd(whole_row, hn::Set(d, static_cast<T>(places.width)), whole_column));
}

template <class T>
HWY_INLINE hn::Vec<Tag<T>> load_places(const T* from, std::int64_t count) {
  return count == kLanes<T> ? hn::LoadU(Tag<T>(), from) : LoadPart(Tag<T>(), from, count);
}

// Of `count` places from o on, which are a vector or less. Lanes behind them read pixels that are not used.
template <class T>
HWY_INLINE Corners<T> corners_of(const Reading<T>& places, std::int64_t o, std::int64_t count) {
  const Tag<T> d;
  const auto one = hn::Set(d, T{1}), y = load_places(places.y + o, count), x = load_places(places.x + o, count);
  const auto top = hn::Floor(y), left = hn::Floor(x), below = hn::Add(top, one), right = hn::Add(left, one);
  Corners<T> corners;
  corners.fy = hn::Sub(y, top);
  corners.fx = hn::Sub(x, left);
  for (int k = 0; k < 4; ++k) {
    const auto row = k >= 2 ? below : top, column = k % 2 == 1 ? right : left;
    corners.weight[k] = hn::Mul(k >= 2 ? corners.fy : hn::Sub(below, y), k % 2 == 1 ? corners.fx : hn::Sub(right, x));
    corners.at[k] = pixels_at(places, row, column, corners.inside[k]);
  }
  return corners;
}

// Calls f(corners, o, how many places) for each vector of places.
template <class T, class F>
HWY_INLINE void for_corners(const Reading<T>& places, F f) {
  for (std::int64_t o = 0; o < places.count; o += kLanes<T>) {
    const std::int64_t count = std::min(kLanes<T>, places.count - o);
    f(corners_of(places, o, count), o, count);
  }
}

template <class T>
void read(const Reading<T>& places, const T* planes, T* results) {
  const Tag<T> d;
  for_corners(places, [&](const Corners<T>& corners, std::int64_t o, std::int64_t count) HWY_ATTR {
    const T* plane = planes;
    for (std::int64_t c = 0; c < places.channels; ++c, plane += places.height * places.width) {
      auto sum = hn::Zero(d);
      for (int k = 0; k < 4; ++k) sum = hn::MulAdd(corners.pixel(k, plane), corners.weight[k], sum);
      T* const to = results + c * places.out + o;
      if (count == kLanes<T>) hn::StoreU(sum, d, to);
      else StorePart(sum, d, to, count);
    }
  });
}

template <class T>
void read_nearest(const Reading<T>& places, const T* planes, T* results) {
  const Tag<T> d;
  for (std::int64_t o = 0; o < places.count; o += kLanes<T>) {
    const std::int64_t count = std::min(kLanes<T>, places.count - o);
    hn::Mask<Tag<T>> inside;
    const auto at = pixels_at(places, hn::Round(load_places(places.y + o, count)), hn::Round(load_places(places.x + o, count)), inside);
    const T* plane = planes;
    for (std::int64_t c = 0; c < places.channels; ++c, plane += places.height * places.width) {
      const auto pixels = hn::IfThenElseZero(inside, hn::GatherIndex(d, plane, at));
      T* const to = results + c * places.out + o;
      if (count == kLanes<T>) hn::StoreU(pixels, d, to);
      else StorePart(pixels, d, to, count);
    }
  }
}

template <class T>
void slopes(const Reading<T>& places, const T* planes, const T* grad, T* dy, T* dx) {
  const Tag<T> d;
  const auto one = hn::Set(d, T{1});
  for_corners(places, [&](const Corners<T>& corners, std::int64_t o, std::int64_t count) HWY_ATTR {
    auto of_y = load_places(dy + o, count), of_x = load_places(dx + o, count);
    const T* plane = planes;
    for (std::int64_t c = 0; c < places.channels; ++c, plane += places.height * places.width) {
      const auto g = load_places(grad + c * places.out + o, count);
      const auto v00 = corners.pixel(0, plane), v01 = corners.pixel(1, plane), v10 = corners.pixel(2, plane), v11 = corners.pixel(3, plane);
      const auto along_x = hn::MulAdd(hn::Sub(one, corners.fy), hn::Sub(v01, v00), hn::Mul(corners.fy, hn::Sub(v11, v10)));
      const auto along_y = hn::MulAdd(hn::Sub(one, corners.fx), hn::Sub(v10, v00), hn::Mul(corners.fx, hn::Sub(v11, v01)));
      of_y = hn::MulAdd(g, along_y, of_y);
      of_x = hn::MulAdd(g, along_x, of_x);
    }
    if (count == kLanes<T>) hn::StoreU(of_y, d, dy + o), hn::StoreU(of_x, d, dx + o);
    else StorePart(of_y, d, dy + o, count), StorePart(of_x, d, dx + o, count);
  });
}

template <class T>
void give_back(const Reading<T>& places, const T* grad, T* planes) {
  using Place = typename Corners<T>::Place;
  const Tag<T> d;
  for_corners(places, [&](const Corners<T>& corners, std::int64_t o, std::int64_t count) HWY_ATTR {
    HWY_ALIGN hn::TFromD<Place> at[4][kLanes<T>];
    for (int k = 0; k < 4; ++k) hn::Store(corners.at[k], Place(), at[k]);
    T* plane = planes;
    for (std::int64_t c = 0; c < places.channels; ++c, plane += places.height * places.width) {
      const auto g = load_places(grad + c * places.out + o, count);
      for (int k = 0; k < 4; ++k) {
        HWY_ALIGN T parts[kLanes<T>];
        // Nothing is added to pixel 0 for a pixel outside: no jump that could be guessed wrong.
        hn::Store(hn::IfThenElseZero(corners.inside[k], hn::Mul(g, corners.weight[k])), d, parts);
        for (std::int64_t i = 0; i < count; ++i) plane[at[k][i]] += parts[i];
      }
    }
  });
}
}  // namespace

constinit const ReadingKernels reading_kernels = {{place<float>, read<float>, read_nearest<float>, slopes<float>, give_back<float>}, {place<double>, read<double>, read_nearest<double>, slopes<double>, give_back<double>}};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
