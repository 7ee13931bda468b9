// From the lesson modules/52_order_kernels/order_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/basic_ops.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/pairs.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/distance_kernels.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/kernels/fused_gradient.h"
#include "tinytorch/kernels/parallel.h"

namespace tinytorch {

namespace {
template <class T>
const kernels::DistanceTable<T>& distance_table() {
  using namespace kernels;
  static constexpr const DistanceKernels* tables[] = TINYTORCH_PER_CAPABILITY(distance_kernels);
  const DistanceKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

// `height` rows of x1 and `width` rows of x2, all with M columns: their distances in out[i out_row + j].
template <class T>
void distances_of_block(const T* x1, std::int64_t height, const T* x2, std::int64_t width, std::int64_t M, double p, T* out, std::int64_t out_row) {
  const auto& table = distance_table<T>();
  const auto kernel = p == 2 ? table.second : p == 1 ? table.first : table.largest;
  using kernels::kPanelColumns, kernels::kPanelRows;
  std::vector<T> totals(static_cast<std::size_t>(height * kPanelRows)), panel(static_cast<std::size_t>(std::min(M, kPanelColumns) * kPanelRows));
  for (std::int64_t begin = 0; begin < M; begin += kPanelColumns) {
    const std::int64_t count = std::min(kPanelColumns, M - begin);
    table.turn(x2 + begin, M, width, count, panel.data());
    kernel(x1 + begin, M, height, panel.data(), count, width, totals.data());
  }
  for (std::int64_t i = 0; i < height; ++i) {
    const T* const from = totals.data() + i * kPanelRows;
    if (p == 2) table.roots(from, width, out + i * out_row);
    else std::copy(from, from + width, out + i * out_row);
  }
}

// x1 (batch, P, M), x2 (batch, R, M), out (batch, P, R).
template <class T>
void distances(const T* x1, const T* x2, std::int64_t batch, std::int64_t P, std::int64_t R, std::int64_t M, double p, T* out) {
  constexpr std::int64_t tall = 256, wide = kernels::kPanelRows;
  const std::int64_t down = (P + tall - 1) / tall, across = (R + wide - 1) / wide;
  parallel_for(0, batch * down * across, std::max<std::int64_t>(1, kernels::kElementwiseGrain / (std::min(P, tall) * std::min(R, wide) * M)), [=](std::int64_t first, std::int64_t stop) {
    for (std::int64_t task = first; task < stop; ++task) {
      const std::int64_t b = task / (down * across), i = task / across % down * tall, j = task % across * wide;
      distances_of_block(x1 + (b * P + i) * M, std::min(tall, P - i), x2 + (b * R + j) * M, std::min(wide, R - j), M, p, out + (b * P + i) * R + j, R);
    }
  });
}

// x with all dimensions but the last two stretched to `batch`, contiguous.
Tensor with_batch(const Tensor& x, IntArrayRef batch) {
  DimVector sizes(batch);
  sizes.push_back(x.size(-2));
  sizes.push_back(x.size(-1));
  return (x.sizes() == sizes ? x : x.expand(sizes)).contiguous();
}

bool have_distance_kernel(const Tensor& x1, const Tensor& x2) {
  const ScalarType type = x1.scalar_type();
  return (type == kFloat || type == kDouble) && x2.scalar_type() == type && x1.size(-2) * x2.size(-2) * x1.size(-1) >= kernels::kFewElements && x1.numel() > 0 && x2.numel() > 0;
}

Tensor cdist_tuned(const Tensor& x1, const Tensor& x2, double p) {
  const ScalarType type = x1.scalar_type();
  const std::int64_t P = x1.size(-2), R = x2.size(-2), M = x1.size(-1);
  if (!have_distance_kernel(x1, x2) || !(p == 1 || p == 2 || std::isinf(p))) return op::cdist.function(Layer::CPU)(x1, x2, p);
  DimVector sizes = infer_size(x1.sizes().slice(0, x1.sizes().size() - 2), x2.sizes().slice(0, x2.sizes().size() - 2));
  const std::int64_t batch = multiply_sizes(sizes);
  const Tensor a = with_batch(x1, sizes), b = with_batch(x2, sizes);
  sizes.push_back(P);
  sizes.push_back(R);
  const Tensor result = empty(sizes, type);
  if (type == kFloat) distances(a.data<float>(), b.data<float>(), batch, P, R, M, p, result.data<float>());
  else distances(a.data<double>(), b.data<double>(), batch, P, R, M, p, result.data<double>());
  return result;
}
}  // namespace

Tensor cdist_backward(const Tensor& g, const Tensor& x1, const Tensor& x2, const Tensor& result, double p);  // chapter 68

namespace {
// a (batch, P, M), b (batch, R, M), weights and lengths (batch, P, R), out (batch, P, M). `lengths` is null for kernels that read none.
template <class T>
void weigh_differences(typename kernels::DistanceTable<T>::Pull add, const T* a, const T* b, const T* weights, const T* lengths, std::int64_t batch, std::int64_t P, std::int64_t R, std::int64_t M, T* out) {
  constexpr std::int64_t tall = 64, together = 32;
  const std::int64_t down = (P + tall - 1) / tall;
  parallel_for(0, batch * down, std::max<std::int64_t>(1, kernels::kElementwiseGrain / (std::min(P, tall) * R * M)), [=](std::int64_t first, std::int64_t stop) {
    for (std::int64_t task = first; task < stop; ++task) {
      const std::int64_t n = task / down, i = task % down * tall, rows = std::min(tall, P - i);
      T* const sums = out + (n * P + i) * M;
      std::fill(sums, sums + rows * M, T{0});
      for (std::int64_t j = 0; j < R; j += together)
        add(a + (n * P + i) * M, rows, b + (n * R + j) * M, std::min(together, R - j), M, weights + (n * P + i) * R + j, lengths == nullptr ? nullptr : lengths + (n * P + i) * R + j, R, sums);
    }
  });
}

using DistanceGradient = Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Tensor&, double)>;
constinit DistanceGradient cdist_backward_op("_cdist_backward", {.cpu = cdist_backward});

Tensor cdist_backward_tuned(const Tensor& g, const Tensor& x1, const Tensor& x2, const Tensor& result, double p) {
  if ((p != 1 && p != 2 && !std::isinf(p)) || !have_distance_kernel(x1, x2) || g.scalar_type() != x1.scalar_type()) return cdist_backward(g, x1, x2, result, p);
  DimVector sizes(result.sizes().slice(0, result.sizes().size() - 2));
  const std::int64_t batch = multiply_sizes(sizes), P = x1.size(-2), R = x2.size(-2), M = x1.size(-1);
  const Tensor a = with_batch(x1, sizes), b = with_batch(x2, sizes), arriving = g.contiguous();
  sizes.push_back(P);
  sizes.push_back(M);
  const Tensor out = empty(sizes, x1.scalar_type());
  const auto run = [&]<class T>() {
    const auto& table = distance_table<T>();
    const T* const pulls = arriving.data<T>();
    if (p == 1) {
      // A difference is NaN only of numbers that are not finite, and neither is their sum then.
      const bool are_finite = std::isfinite(a.sum().item<double>()) && std::isfinite(b.sum().item<double>());
      return weigh_differences<T>(are_finite ? table.add_signed : table.add_signed_or_nan, a.data<T>(), b.data<T>(), pulls, nullptr, batch, P, R, M, out.data<T>());
    }
    const Tensor distance = result.contiguous(), weights = empty(result.sizes(), x1.scalar_type());
    const T* const lengths = distance.data<T>();
    // A row at distance 0 from another is pulled nowhere.
    if (p == 2) {
      std::transform(pulls, pulls + arriving.numel(), lengths, weights.data<T>(), [](T pull, T length) { return length == T{0} ? T{0} : pull / length; });
      return weigh_differences<T>(table.add_weighted, a.data<T>(), b.data<T>(), weights.data<T>(), nullptr, batch, P, R, M, out.data<T>());
    }
    std::transform(pulls, pulls + arriving.numel(), lengths, weights.data<T>(), [](T pull, T length) { return std::isnan(length) ? length : length == T{0} ? pull * T{0} : pull; });
    weigh_differences<T>(table.add_largest, a.data<T>(), b.data<T>(), weights.data<T>(), lengths, batch, P, R, M, out.data<T>());
  };
  if (x1.scalar_type() == kFloat) run.template operator()<float>();
  else run.template operator()<double>();
  return out;
}

Tensor cdist_gradient(const Tensor& g, const Tensor& x1, const Tensor& x2, const Tensor& result, double p) {
  return is_recording() ? cdist_backward(g, x1, x2, result, p) : cdist_backward_op(g, x1, x2, result, p);
}
}  // namespace

void register_tuned_distances() {
  op::cdist.set(Layer::TunedCPU, cdist_tuned);
  cdist_backward_op.set(Layer::TunedCPU, cdist_backward_tuned);
  kernels::fused_gradient<op::cdist>(
      [](const Tensor& g, Input<0> x1, Input<1> x2, Output result, Arg<2, double> p) { return cdist_gradient(g, x1, x2, result, p.value); },
      [](const Tensor& g, Input<0> x1, Input<1> x2, Output result, Arg<2, double> p) { return cdist_gradient(g.transpose(-2, -1), x2, x1, result.transpose(-2, -1), p.value); });
}

}  // namespace tinytorch
