// From the lesson modules/71_attention_kernels/attention_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>
#include "tinytorch/kernels/softmax_row_kernels.h"

namespace tinytorch {

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <class T>
using Tag = hn::ScalableTag<T>;
template <class T>
using Vector = hn::Vec<Tag<T>>;
template <class T>
constexpr int kLanes = static_cast<int>(hn::MaxLanes(Tag<T>()));

// e^x for x that is not large, to 1 unit in the last place; NaN for NaN.
template <class T>
HWY_INLINE Vector<T> exponential(Vector<T> x) {
  const Tag<T> d;
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(d, x));
}

// f(vector, j) for each vector of the row; the last one may be a part, which f sees filled up with `filler`. f returns what is stored.
template <class T, class F>
HWY_INLINE void over_row(T* row, std::int64_t count, T filler, F&& f) {
  const Tag<T> d;
  std::int64_t j = 0;
  for (; j + kLanes<T> <= count; j += kLanes<T>) hn::StoreU(f(hn::LoadU(d, row + j), j), d, row + j);
  if (j == count) return;
  T buffer[kLanes<T>];
  for (int i = 0; i < kLanes<T>; ++i) buffer[i] = j + i < count ? row[j + i] : filler;
  hn::StoreU(f(hn::LoadU(d, buffer), j), d, buffer);
  for (int i = 0; j + i < count; ++i) row[j + i] = buffer[i];
}

template <class T>
T absorb(T* scores, std::int64_t count, T* maximum, T* sum) {
  const Tag<T> d;
  const T none = hn::GetLane(hn::Neg(hn::Inf(d)));
  // Max(a, b) is b where one of them is NaN: a NaN among the scores does not hide the others.
  Vector<T> most = hn::Set(d, *maximum);
  over_row<T>(scores, count, none, [&](Vector<T> x, std::int64_t) HWY_ATTR {
    most = hn::IfThenElse(hn::Gt(x, most), x, most);
    return x;
  });
  const T now = hn::GetLane(hn::MaxOfLanes(d, most));
  const T subtracted = now == none ? T{0} : now;
  const Vector<T> m = hn::Set(d, subtracted);
  Vector<T> total = hn::Zero(d);
  over_row<T>(scores, count, none, [&](Vector<T> x, std::int64_t) HWY_ATTR {
    const Vector<T> weight = exponential<T>(hn::Sub(x, m));
    total = hn::Add(total, weight);
    return weight;
  });
  const T correction = hn::GetLane(exponential<T>(hn::Set(d, *maximum - subtracted)));
  *maximum = now;
  *sum = correction * *sum + hn::GetLane(hn::SumOfLanes(d, total));
  return correction;
}

template <class T>
void weigh(T* scores, T* grad, std::int64_t count, T logsumexp, T delta) {
  const Tag<T> d;
  const Vector<T> l = hn::Set(d, logsumexp), s = hn::Set(d, delta);
  over_row<T>(scores, count, T{0}, [&](Vector<T> x, std::int64_t) HWY_ATTR { return exponential<T>(hn::Sub(x, l)); });
  std::int64_t j = 0;
  for (; j + kLanes<T> <= count; j += kLanes<T>) hn::StoreU(hn::Mul(hn::LoadU(d, scores + j), hn::Sub(hn::LoadU(d, grad + j), s)), d, grad + j);
  for (; j < count; ++j) grad[j] = scores[j] * (grad[j] - delta);
}

template <class T>
void scale(T* x, std::int64_t count, T factor) {
  for (std::int64_t j = 0; j < count; ++j) x[j] *= factor;
}

template <class T>
T dot(const T* a, const T* b, std::int64_t count) {
  const Tag<T> d;
  Vector<T> sum = hn::Zero(d);
  std::int64_t j = 0;
  for (; j + kLanes<T> <= count; j += kLanes<T>) sum = hn::MulAdd(hn::LoadU(d, a + j), hn::LoadU(d, b + j), sum);
  T rest{0};
  for (; j < count; ++j) rest += a[j] * b[j];
  return hn::GetLane(hn::SumOfLanes(d, sum)) + rest;
}
}  // namespace

constinit const SoftmaxRowKernels softmax_row_kernels = {{absorb<float>, weigh<float>, scale<float>, dot<float>}, {absorb<double>, weigh<double>, scale<double>, dot<double>}};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
