// From the lesson modules/89_training_kernels/training_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include "tinytorch/kernels/bag_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

namespace tinytorch {

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
template <class T>
void sum_rows(const T* table, std::int64_t D, const std::int64_t* ids, std::int64_t count, std::int64_t left_out, T size, T* out) {
  const hn::ScalableTag<T> tag;
  constexpr std::int64_t lanes = LanesOf(hn::ScalableTag<T>()), together = lanes == 1 ? 16 : 4;
  const auto divisor = hn::Set(tag, size);
  std::int64_t d = 0;
  for (; d + together * lanes <= D; d += together * lanes) {
    hn::Vec<hn::ScalableTag<T>> sums[together];
    for (auto& sum : sums) sum = hn::Zero(tag);
    for (std::int64_t i = 0; i < count; ++i) {
      if (ids[i] == left_out) continue;
      const T* const row = table + ids[i] * D + d;
      for (std::int64_t k = 0; k < together; ++k) sums[k] = hn::Add(sums[k], hn::LoadU(tag, row + k * lanes));
    }
    for (std::int64_t k = 0; k < together; ++k) hn::StoreU(hn::Div(sums[k], divisor), tag, out + d + k * lanes);
  }
  for (; d < D; d += lanes) {
    const std::int64_t columns = D - d;
    auto sum = hn::Zero(tag);
    for (std::int64_t i = 0; i < count; ++i) {
      if (ids[i] == left_out) continue;
      const T* const row = table + ids[i] * D + d;
      sum = hn::Add(sum, columns >= lanes ? hn::LoadU(tag, row) : LoadPart(tag, row, columns));
    }
    if (columns >= lanes) hn::StoreU(hn::Div(sum, divisor), tag, out + d);
    else StorePart(hn::Div(sum, divisor), tag, out + d, columns);
  }
}
}  // namespace

constinit const BagKernels bag_kernels = {sum_rows<float>, sum_rows<double>};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
