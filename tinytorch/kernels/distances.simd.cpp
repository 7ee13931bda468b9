// From the lesson modules/52_order_kernels/order_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include "tinytorch/kernels/distance_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

namespace tinytorch {

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// How a difference joins what was before, and how two totals become one.
struct FirstNorm {
  template <class V>
  static HWY_INLINE V with(V total, V difference) { return hn::Add(total, hn::Abs(difference)); }
  template <class V>
  static HWY_INLINE V both(V a, V b) { return hn::Add(a, b); }
};
struct SecondNorm {
  template <class V>
  static HWY_INLINE V with(V total, V difference) { return hn::MulAdd(difference, difference, total); }
  template <class V>
  static HWY_INLINE V both(V a, V b) { return hn::Add(a, b); }
};
struct LargestNorm {
  template <class V>
  static HWY_INLINE V with(V total, V difference) { return both(total, hn::Abs(difference)); }
  // NaN stays.
  template <class V>
  static HWY_INLINE V both(V a, V b) { return hn::IfThenElse(hn::Or(hn::Gt(b, a), hn::IsNaN(b)), b, a); }
};

// `Rows` rows and two vectors of distances, which stay in registers.
template <class Norm, int Rows, class D, class T>
HWY_INLINE void add_tile(D d, const T* a, std::int64_t a_row, const T* panel, std::int64_t count, T* totals) {
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(D()));
  hn::Vec<D> sums[Rows][2];
  HWY_UNROLL(4)
  for (auto& row : sums) row[0] = row[1] = hn::Zero(d);
  for (std::int64_t k = 0; k < count; ++k) {
    const auto left = hn::LoadU(d, panel + k * kPanelRows), right = hn::LoadU(d, panel + k * kPanelRows + lanes);
    HWY_UNROLL(4)
    for (int r = 0; r < Rows; ++r) {
      const auto number = hn::Set(d, a[r * a_row + k]);
      sums[r][0] = Norm::with(sums[r][0], hn::Sub(number, left));
      sums[r][1] = Norm::with(sums[r][1], hn::Sub(number, right));
    }
  }
  HWY_UNROLL(4)
  for (int r = 0; r < Rows; ++r) {
    T* const to = totals + r * kPanelRows;
    hn::StoreU(Norm::both(hn::LoadU(d, to), sums[r][0]), d, to);
    hn::StoreU(Norm::both(hn::LoadU(d, to + lanes), sums[r][1]), d, to + lanes);
  }
}

template <class T, class Norm>
void add_distances(const T* a, std::int64_t a_row, std::int64_t rows, const T* panel, std::int64_t count, std::int64_t width, T* totals) {
  const hn::CappedTag<T, 16> d;
  constexpr std::int64_t step = 2 * static_cast<std::int64_t>(hn::MaxLanes(hn::CappedTag<T, 16>()));
  std::int64_t i = 0;
  for (; i + 4 <= rows; i += 4)
    for (std::int64_t j = 0; j < width; j += step) add_tile<Norm, 4>(d, a + i * a_row, a_row, panel + j, count, totals + i * kPanelRows + j);
  for (; i < rows; ++i)
    for (std::int64_t j = 0; j < width; j += step) add_tile<Norm, 1>(d, a + i * a_row, a_row, panel + j, count, totals + i * kPanelRows + j);
}

template <class T>
void turn_rows(const T* x, std::int64_t x_row, std::int64_t rows, std::int64_t count, T* panel) {
  for (std::int64_t j = 0; j < rows; ++j)
    for (std::int64_t k = 0; k < count; ++k) panel[k * kPanelRows + j] = x[j * x_row + k];
}

// `out` has room for `count` numbers, `totals` for a panel's.
template <class T>
void roots_of(const T* totals, std::int64_t count, T* out) {
  const hn::CappedTag<T, 16> d;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::CappedTag<T, 16>()));
  T roots[kPanelRows];
  for (std::int64_t j = 0; j < count; j += lanes) hn::StoreU(hn::Sqrt(hn::LoadU(d, totals + j)), d, roots + j);
  for (std::int64_t j = 0; j < count; ++j) out[j] = roots[j];
}

// What a difference adds to a gradient.
struct Weighted {
  static constexpr bool kReadsLength = false;
  template <class V>
  static HWY_INLINE V with(V sum, V weight, V, V difference) { return hn::MulAdd(weight, difference, sum); }
};
// The weight times the sign of the difference; of NaN it is 0, or NaN. To choose between two vectors takes AVX2 longer than between one and 0.
template <bool KeepsNaN>
struct Signed {
  static constexpr bool kReadsLength = false;
  template <class V>
  static HWY_INLINE V with(V sum, V weight, V, V difference) {
    const hn::DFromV<V> d;
    const auto has_sign = hn::Gt(hn::Abs(difference), hn::Zero(d));
    const auto sign = hn::CopySignToAbs(hn::Set(d, hn::TFromV<V>{1}), difference);
    if constexpr (KeepsNaN) return hn::MulAdd(weight, hn::IfThenElse(has_sign, sign, difference), sum);
    else return hn::MulAdd(weight, hn::IfThenElseZero(has_sign, sign), sum);
  }
};
// The weight times the sign of a difference of the distance's size.
struct LargestOnly {
  static constexpr bool kReadsLength = true;
  template <class V>
  static HWY_INLINE V with(V sum, V weight, V length, V difference) {
    const hn::DFromV<V> d;
    const auto is_largest = hn::Eq(hn::Abs(difference), length);
    return hn::MulAdd(weight, hn::IfThenElseZero(is_largest, hn::CopySignToAbs(hn::Set(d, hn::TFromV<V>{1}), difference)), sum);
  }
};

// Of `Rows` rows, in `Vectors` vectors of columns; load and store reach them.
template <class Pull, int Rows, int Vectors, class T, class Load, class Store>
HWY_INLINE void add_weighted_tile(const T* a, const T* b, std::int64_t others, std::int64_t M, const T* weights, const T* lengths, std::int64_t weights_row, T* out, Load load, Store store) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  hn::Vec<decltype(d)> sums[Rows][Vectors];
  for (auto& row : sums)
    for (auto& sum : row) sum = hn::Zero(d);
  for (std::int64_t j = 0; j < others; ++j) {
    HWY_UNROLL(2)
    for (int v = 0; v < Vectors; ++v) {
      const auto other = load(b + j * M + v * lanes);
      HWY_UNROLL(4)
      for (int r = 0; r < Rows; ++r) {
        const auto weight = hn::Set(d, weights[r * weights_row + j]);
        auto length = weight;
        if constexpr (Pull::kReadsLength) length = hn::Set(d, lengths[r * weights_row + j]);
        sums[r][v] = Pull::with(sums[r][v], weight, length, hn::Sub(load(a + r * M + v * lanes), other));
      }
    }
  }
  for (int r = 0; r < Rows; ++r)
    for (int v = 0; v < Vectors; ++v) store(hn::Add(load(out + r * M + v * lanes), sums[r][v]), out + r * M + v * lanes);
}

template <class Pull, int Rows, class T>
HWY_INLINE void add_weighted_rows(const T* a, const T* b, std::int64_t others, std::int64_t M, const T* weights, const T* lengths, std::int64_t weights_row, T* out) {
  const hn::ScalableTag<T> d;
  constexpr std::int64_t lanes = static_cast<std::int64_t>(hn::MaxLanes(hn::ScalableTag<T>()));
  const auto load = [d](const T* x) HWY_ATTR { return hn::LoadU(d, x); };
  const auto store = [d](auto v, T* to) HWY_ATTR { hn::StoreU(v, d, to); };
  std::int64_t k = 0;
  for (; k + 2 * lanes <= M; k += 2 * lanes) add_weighted_tile<Pull, Rows, 2>(a + k, b + k, others, M, weights, lengths, weights_row, out + k, load, store);
  for (; k + lanes <= M; k += lanes) add_weighted_tile<Pull, Rows, 1>(a + k, b + k, others, M, weights, lengths, weights_row, out + k, load, store);
  if (k == M) return;
  const std::int64_t columns = M - k;
  add_weighted_tile<Pull, Rows, 1>(a + k, b + k, others, M, weights, lengths, weights_row, out + k, [d, columns](const T* x) HWY_ATTR { return LoadPart(d, x, columns); },
                             [d, columns](auto v, T* to) HWY_ATTR { StorePart(v, d, to, columns); });
}

template <class T, class Pull>
void add_weighted_differences(const T* a, std::int64_t rows, const T* b, std::int64_t others, std::int64_t M, const T* weights, const T* lengths, std::int64_t weights_row, T* out) {
  const auto lengths_of = [=](std::int64_t i) { return Pull::kReadsLength ? lengths + i * weights_row : nullptr; };
  std::int64_t i = 0;
  for (; i + 4 <= rows; i += 4) add_weighted_rows<Pull, 4>(a + i * M, b, others, M, weights + i * weights_row, lengths_of(i), weights_row, out + i * M);
  for (; i < rows; ++i) add_weighted_rows<Pull, 1>(a + i * M, b, others, M, weights + i * weights_row, lengths_of(i), weights_row, out + i * M);
}

template <class T>
constexpr DistanceTable<T> distance_table_of() {
  return {add_distances<T, FirstNorm>, add_distances<T, SecondNorm>, add_distances<T, LargestNorm>, turn_rows<T>, roots_of<T>,
          add_weighted_differences<T, Weighted>, add_weighted_differences<T, Signed<false>>, add_weighted_differences<T, Signed<true>>, add_weighted_differences<T, LargestOnly>};
}
}  // namespace

constinit const DistanceKernels distance_kernels = {distance_table_of<float>(), distance_table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
