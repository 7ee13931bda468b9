// From the lesson modules/89_training_kernels/training_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <optional>

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/bits.h"
#include "tinytorch/kernels/data_kernels.h"
#include "tinytorch/kernels/fused_gradient.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/nn/pool.h"

namespace tinytorch {

// Of chapter 95.
Tensor nll_loss_backward(const Tensor& g, const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction, std::int64_t ignore_index);

namespace {
struct PickedAlong {
  std::int64_t outer, size, picked, inner;
};

// Nothing unless the indices are contiguous and of the same sizes as `sizes` beside `dim`.
std::optional<PickedAlong> picked_form(IntArrayRef sizes, std::int64_t dim, const Tensor& index) {
  if (sizes.empty() || index.sizes().size() != sizes.size() || index.scalar_type() != kLong || index.numel() == 0 || !index.is_contiguous()) return {};
  PickedAlong form{1, 1, index.size(dim), 1};
  for (std::int64_t d = 0; d < index.dim(); ++d) {
    const std::int64_t size = sizes[static_cast<std::size_t>(d)];
    if (d != dim && index.size(d) != size) return {};
    (d < dim ? form.outer : d == dim ? form.size : form.inner) *= size;
  }
  return form;
}

bool all_within(const Tensor& index, std::int64_t size) {
  std::atomic<bool> within = true;
  parallel_for(0, index.numel(), 16384, [&, at = index.data<std::int64_t>()](std::int64_t begin, std::int64_t end) {
    if (!kernels::chosen_data_kernels().are_within(at + begin, end - begin, size)) within.store(false, std::memory_order_relaxed);
  });
  return within;
}

// Nothing unless `self` is contiguous, too, and all indices are in range.
std::optional<PickedAlong> picked_along(const Tensor& self, std::int64_t dim, const Tensor& index) {
  const std::optional<PickedAlong> form = self.is_contiguous() && self.numel() > 0 ? picked_form(self.sizes(), dim, index) : std::nullopt;
  return form && all_within(index, form->size) ? form : std::nullopt;
}

// Calls f(place in self, place in the indices) for every index, on the threads of the pool. Those that may have the same place in self are called in their order, by one thread, which before calls prepare(first place, how many) for the
// rows and the columns of `self` that are its own.
template <class F, class Prepare>
void for_picked(const PickedAlong& form, const std::int64_t* at, F f, Prepare prepare) {
  constexpr std::int64_t kStrip = 256;
  const std::int64_t strips = (form.inner + kStrip - 1) / kStrip, each = std::min(form.inner, kStrip) * form.picked;
  parallel_for(0, form.outer * strips, std::max<std::int64_t>(1, 16384 / each), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin; task < end; ++task) {
      const std::int64_t row = task / strips * form.picked, base = task / strips * form.size * form.inner;
      if (form.inner == 1) {
        prepare(base, form.size);
        for (std::int64_t k = row; k < row + form.picked; ++k) f(base + at[k], k);
        continue;
      }
      const std::int64_t first = task % strips * kStrip, stop = std::min(form.inner, first + kStrip);
      for (std::int64_t i = 0; i < form.size; ++i) prepare(base + i * form.inner + first, stop - first);
      for (std::int64_t k = row; k < row + form.picked; ++k)
        for (std::int64_t j = first; j < stop; ++j) f(base + at[k * form.inner + j] * form.inner + j, k * form.inner + j);
    }
  });
}

template <class F>
void for_picked(const PickedAlong& form, const std::int64_t* at, F f) {
  for_picked(form, at, f, [](std::int64_t, std::int64_t) {});
}

Tensor gather_tuned(const Tensor& self, std::int64_t dim, const Tensor& index) {
  const std::optional<PickedAlong> form = picked_along(self, dim, index);
  if (!form) return op::gather.function(Layer::CPU)(self, dim, index);
  const Tensor result = empty(index.sizes(), self.scalar_type());
  kernels::with_bits(self.element_size(), [&]<class U>() {
    for_picked(*form, index.data<std::int64_t>(), [x = static_cast<const U*>(self.data_ptr()), out = static_cast<U*>(result.data_ptr())](std::int64_t place, std::int64_t i) { out[i] = x[place]; });
  });
  return result;
}

// What scatter_ and scatter_add_ write beside each other; nothing where the reference shall do it.
std::optional<PickedAlong> scattered_along(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src) {
  const bool ours = src.sizes() == index.sizes() && src.is_contiguous() && src.scalar_type() == self.scalar_type() && !src.is_alias_of(self) && !index.is_alias_of(self);
  return ours ? picked_along(self, dim, index) : std::nullopt;
}

const Tensor& scatter_tuned(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src) {
  const std::optional<PickedAlong> form = scattered_along(self, dim, index, src);
  if (!form) return op::scatter_.function(Layer::CPU)(self, dim, index, src);
  kernels::with_bits(self.element_size(), [&]<class U>() {
    for_picked(*form, index.data<std::int64_t>(), [x = static_cast<U*>(self.data_ptr()), from = static_cast<const U*>(src.data_ptr())](std::int64_t place, std::int64_t i) { x[place] = from[i]; });
  });
  return self;
}

const Tensor& scatter_add_tuned(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src) {
  const ScalarType type = self.scalar_type();
  const bool has_kernel = type == kFloat || type == kDouble || type == kLong;
  const std::optional<PickedAlong> form = has_kernel ? scattered_along(self, dim, index, src) : std::nullopt;
  if (!form) return op::scatter_add_.function(Layer::CPU)(self, dim, index, src);
  const auto add = [&]<class T>(T) {
    for_picked(*form, index.data<std::int64_t>(), [x = self.data<T>(), from = src.data<T>()](std::int64_t place, std::int64_t i) { x[place] += from[i]; });
  };
  if (type == kFloat) add(float{});
  else if (type == kDouble) add(double{});
  else add(std::int64_t{});
  return self;
}

// The gradient of gather: `g` at the places it came from and zeros beside. The indices were looked at in the forward pass. Where no place is met `twice`, nothing needs to be read in order to add to it.
Tensor gather_backward(const Tensor& g, IntArrayRef sizes, std::int64_t dim, const Tensor& index, bool twice = true) {
  const ScalarType type = g.scalar_type();
  const std::optional<PickedAlong> form = !is_recording() && (type == kFloat || type == kDouble) ? picked_form(sizes, dim, index) : std::nullopt;
  if (!form) {
    const Tensor whole = zeros(sizes, g.options());
    return is_recording() ? scatter_add(whole, dim, index, g) : scatter_add_(whole, dim, index, g.contiguous());
  }
  const Tensor from = g.contiguous(), result = empty(sizes, type);
  const auto add = [&]<class T>(T) {
    T* const x = result.data<T>();
    const T* const y = from.data<T>();
    const auto fill = [x](std::int64_t first, std::int64_t count) { std::fill_n(x + first, count, T{0}); };
    if (twice) for_picked(*form, index.data<std::int64_t>(), [x, y](std::int64_t place, std::int64_t i) { x[place] += y[i]; }, fill);
    else for_picked(*form, index.data<std::int64_t>(), [x, y](std::int64_t place, std::int64_t i) { x[place] = T{0} + y[i]; }, fill);  // of -0, too, the sum is 0
  };
  if (type == kFloat) add(float{});
  else add(double{});
  return result;
}

constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const std::optional<Tensor>&, std::int64_t, std::int64_t)> nll_loss_backward_op("nll_loss_backward", {.cpu = nll_loss_backward});

// What a mean divides by: how many samples are not ignored, or the sum of their weights.
template <class T>
double weight_of_samples(const std::int64_t* target, std::int64_t count, const T* weight, std::int64_t ignore_index) {
  if (weight == nullptr) return static_cast<double>(count - std::count(target, target + count, ignore_index));
  double total = 0;
  for (std::int64_t i = 0; i < count; ++i) total += target[i] == ignore_index ? 0 : static_cast<double>(weight[target[i]]);
  return total;
}

// Of samples (N, C) and targets (N), or of positions (N, C, K) and targets (N, K), which were looked at in the forward pass.
Tensor nll_loss_backward_tuned(const Tensor& g, const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction, std::int64_t ignore_index) {
  const ScalarType type = self.scalar_type();
  if ((type != kFloat && type != kDouble) || g.scalar_type() != type) return nll_loss_backward(g, self, target, weight, reduction, ignore_index);
  const std::int64_t C = self.size(1), K = self.dim() == 3 ? self.size(2) : 1, step = reduction == Reduction::None ? 1 : 0;
  const Tensor labels = target.contiguous(), arrives = g.contiguous(), factors = weight ? weight->contiguous() : Tensor(), result = zeros(self.sizes(), type);
  const auto walk = [&]<class T>(T) {
    const std::int64_t* const t = labels.data<std::int64_t>();
    const T *const grad = arrives.data<T>(), *const factor = factors.defined() ? factors.data<T>() : nullptr;
    const T total = reduction == Reduction::Mean ? static_cast<T>(weight_of_samples(t, labels.numel(), factor, ignore_index)) : T{1};
    parallel_for(0, labels.numel(), 16384, [=, out = result.data<T>()](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop;) {
        const std::int64_t n = i / K, end = std::min(stop, (n + 1) * K);
        for (; i < end; ++i) {
          if (t[i] == ignore_index) continue;
          const T counts = factor == nullptr ? grad[i * step] : grad[i * step] * factor[t[i]];
          out[(n * C + t[i] - n) * K + i] = T{0} - counts / total;
        }
      }
    });
  };
  if (type == kFloat) walk(float{});
  else walk(double{});
  return result;
}
}  // namespace

void register_tuned_positions() {
  op::gather.set(Layer::TunedCPU, gather_tuned);
  op::scatter_.set(Layer::TunedCPU, scatter_tuned);
  op::scatter_add_.set(Layer::TunedCPU, scatter_add_tuned);
  kernels::fused_gradient<op::gather>(
      [](const Tensor& g, Sizes<0> sizes, Arg<1, std::int64_t> dim, Input<2> index) { return gather_backward(g, sizes, dim, index); },
      no_gradient);
  nll_loss_backward_op.set(Layer::TunedCPU, nll_loss_backward_tuned);
  const auto picks = [](const Tensor& g, Input<0> self, Input<1> target, Input<2> weight, Arg<3, std::int64_t> reduction, Arg<4, std::int64_t> ignore_index) {
    const std::optional<Tensor> factors = weight.defined() ? std::optional<Tensor>(weight) : std::nullopt;
    if (is_recording()) return nll_loss_backward(g, self, target, factors, reduction, ignore_index);
    return nll_loss_backward_op(g, self, target, factors, reduction, ignore_index);
  };
  kernels::fused_gradient<op::nll_loss>(picks);
  kernels::fused_gradient<op::nll_loss2d>(picks);
  kernels::fused_gradient<op::max_pool2d_with_indices>([](const Tensor& g, OutputAt<1> indices, Sizes<0> sizes, Arg<2, DimVector> kernel, Arg<3, DimVector> stride, Arg<5, DimVector> dilation) {
    const auto overlap = [&](std::size_t d) { return (kernel.value[d] - 1) * dilation.value[d] >= stride.value[d]; };
    const bool twice = overlap(0) || overlap(1);
    return put_at_winners(g, indices, sizes, [twice](const Tensor& from, IntArrayRef to, std::int64_t dim, const Tensor& at) { return gather_backward(from, to, dim, at, twice); });
  });
}

}  // namespace tinytorch
