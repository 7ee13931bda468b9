// From the lesson modules/89_training_kernels/training_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cstdint>

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/fused_gradient.h"
#include "tinytorch/kernels/parallel.h"

namespace tinytorch {

namespace {
// Whether `index` picks from rows of `self` along its last dimension, one row of indices for each: contiguous, and all of them in range.
bool picks_from_rows(const Tensor& self, std::int64_t dim, const Tensor& index) {
  if (self.dim() == 0 || index.dim() != self.dim() || dim != self.dim() - 1 || index.scalar_type() != kLong || index.numel() == 0) return false;
  if (self.scalar_type() != kFloat && self.scalar_type() != kDouble) return false;
  const std::size_t last = self.sizes().size() - 1;
  if (!self.is_contiguous() || !index.is_contiguous() || !std::equal(self.sizes().begin(), self.sizes().begin() + last, index.sizes().begin())) return false;
  const std::int64_t* const at = index.data<std::int64_t>();
  const auto highest = static_cast<std::uint64_t>(self.size(-1)) - 1;
  // An index that is negative, or beyond the highest, leaves a sign bit. No jump, and no comparison of 64 bits, which SSE2 has not: the loop becomes vectors.
  std::uint64_t signs = 0;
  for (std::int64_t i = 0; i < index.numel(); ++i) signs |= static_cast<std::uint64_t>(at[i]) | (highest - static_cast<std::uint64_t>(at[i]));
  return static_cast<std::int64_t>(signs) >= 0;
}

// Calls f<T>(row of self, row of indices, first of them) for every row, on the threads of the pool.
template <class F>
void for_picked_rows(const Tensor& self, const Tensor& index, F f) {
  const std::int64_t length = self.size(-1), picked = index.size(-1);
  const auto run = [&]<class T>() {
    parallel_for(0, index.numel() / picked, std::max<std::int64_t>(1, 16384 / picked), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) f(self.data<T>() + row * length, index.data<std::int64_t>() + row * picked, row * picked);
    });
  };
  if (self.scalar_type() == kFloat) run.template operator()<float>();
  else run.template operator()<double>();
}

Tensor gather_tuned(const Tensor& self, std::int64_t dim, const Tensor& index) {
  if (!picks_from_rows(self, dim, index)) return op::gather.function(Layer::CPU)(self, dim, index);
  const Tensor result = empty(index.sizes(), self.scalar_type());
  for_picked_rows(self, index, [&, picked = index.size(-1)]<class T>(T* row, const std::int64_t* at, std::int64_t first) {
    T* const out = result.data<T>() + first;
    for (std::int64_t i = 0; i < picked; ++i) out[i] = row[at[i]];
  });
  return result;
}

const Tensor& scatter_add_tuned(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src) {
  const bool ours = src.sizes() == index.sizes() && src.is_contiguous() && !src.is_alias_of(self) && picks_from_rows(self, dim, index);
  if (!ours) return op::scatter_add_.function(Layer::CPU)(self, dim, index, src);
  for_picked_rows(self, index, [&, picked = index.size(-1)]<class T>(T* row, const std::int64_t* at, std::int64_t first) {
    const T* const from = src.data<T>() + first;
    for (std::int64_t i = 0; i < picked; ++i) row[at[i]] += from[i];
  });
  return self;
}
}  // namespace

void register_tuned_positions() {
  op::gather.set(Layer::TunedCPU, gather_tuned);
  op::scatter_add_.set(Layer::TunedCPU, scatter_add_tuned);
  kernels::fused_gradient<op::gather>(
      [](const Tensor& g, Sizes<0> sizes, Arg<1, std::int64_t> dim, Input<2> index) {
        const Tensor whole = zeros(sizes, g.options());
        return is_recording() ? scatter_add(whole, dim, index, g) : scatter_add_(whole, dim, index, g.contiguous());
      },
      no_gradient);
}

}  // namespace tinytorch
