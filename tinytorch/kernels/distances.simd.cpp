// From the lesson modules/79_function_kernels/function_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include "tinytorch/kernels/function_kernels.h"

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

template <class T>
constexpr DistanceTable<T> distance_table_of() {
  return {add_distances<T, FirstNorm>, add_distances<T, SecondNorm>, add_distances<T, LargestNorm>, turn_rows<T>, roots_of<T>};
}
}  // namespace

constinit const DistanceKernels distance_kernels = {distance_table_of<float>(), distance_table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
