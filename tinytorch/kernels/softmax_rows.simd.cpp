// From the lesson modules/71_attention_kernels/attention_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include "tinytorch/kernels/row_vectors-inl.h"
#include "tinytorch/kernels/softmax_row_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

namespace tinytorch {

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
template <class T>
T absorb(T* scores, std::int64_t count, T* maximum, T* sum) {
  const Tag<T> d;
  Largest<T> seen;
  seen.see(scores, count);
  const T now = seen.value() > *maximum ? seen.value() : *maximum;
  const T subtracted = now == -kInfinity<T> ? T{0} : now;
  const Vector<T> m = hn::Set(d, subtracted);
  Vector<T> total = hn::Zero(d);
  for_each_vector(
      static_cast<const T*>(scores), count,
      [&](std::int64_t j, Vector<T> score, std::int64_t lanes) HWY_ATTR {
        const Vector<T> weight = ExpBelowZero(d, hn::Sub(score, m));
        total = hn::Add(total, weight);
        put(weight, scores + j, lanes);
      },
      -kInfinity<T>);
  const T correction = *maximum == -kInfinity<T> ? T{0} : hn::GetLane(ExpBelowZero(d, hn::Set(d, *maximum - subtracted)));
  *maximum = now;
  *sum = correction * *sum + hn::GetLane(hn::SumOfLanes(d, total));
  return correction;
}

template <class T>
void weigh(T* scores, T* grad, std::int64_t count, T logsumexp, T delta) {
  const Tag<T> d;
  const Vector<T> l = hn::Set(d, logsumexp), s = hn::Set(d, delta);
  for_each_vector(static_cast<const T*>(scores), count, [=](std::int64_t j, Vector<T> score, std::int64_t lanes) HWY_ATTR {
    const Vector<T> weight = ExpBelowZero(d, hn::Sub(score, l));
    put(weight, scores + j, lanes);
    put(hn::Mul(weight, hn::Sub(load_lanes(grad + j, lanes), s)), grad + j, lanes);
  });
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
