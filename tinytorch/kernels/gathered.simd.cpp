// From the lesson modules/75_convolution_kernels/convolution_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include "tinytorch/kernels/gathered_kernels.h"

namespace tinytorch {

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Copies `length` numbers, and whatever lies behind them up to a whole vector.
template <class T>
HWY_INLINE void copy_run(T* to, const T* from, const T* end, int length) {
  const hn::CappedTag<T, 4> few;
  const hn::ScalableTag<T> d;
  constexpr int kFew = static_cast<int>(hn::MaxLanes(hn::CappedTag<T, 4>()));
  constexpr int kLanes = static_cast<int>(hn::MaxLanes(hn::ScalableTag<T>()));
  int i = 0;
  if (end - from >= length + kLanes) {
    if (length <= kFew) return hn::StoreU(hn::LoadU(few, from), few, to);
    for (; i < length; i += kLanes) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
  }
  for (; i < length; ++i) to[i] = from[i];
}

template <class T>
void pack_gathered(T* to, int width, const T* from, const T* end, const std::int64_t* k_offsets, const std::int64_t* offsets, int count, std::int64_t K) {
  int starts[65];
  int runs = 0;
  for (int j = 0; j < count; ++j)
    if (j == 0 || offsets[j] != offsets[j - 1] + 1) starts[runs++] = j;
  starts[runs] = count;
  const bool short_runs = runs * 2 > count;
  for (std::int64_t k = 0; k < K; ++k, to += width) {
    const T* const line = from + k_offsets[k];
    if (short_runs) {
      for (int j = 0; j < count; ++j) to[j] = line[offsets[j]];
    } else {
      for (int run = 0; run < runs; ++run) copy_run(to + starts[run], line + offsets[starts[run]], end, starts[run + 1] - starts[run]);
    }
    for (int j = count; j < width; ++j) to[j] = T{0};
  }
}
}  // namespace

constinit const GatherKernels gather_kernels = {{pack_gathered<float>}, {pack_gathered<double>}};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
