// From the lesson modules/79_function_kernels/function_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "tinytorch/core/basic_ops.h"
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/pairs.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/kernels/function_kernels.h"
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

Tensor cdist_tuned(const Tensor& x1, const Tensor& x2, double p) {
  const ScalarType type = x1.scalar_type();
  const bool has_kernel = (type == kFloat || type == kDouble) && x2.scalar_type() == type && (p == 1 || p == 2 || std::isinf(p));
  const std::int64_t P = x1.size(-2), R = x2.size(-2), M = x1.size(-1);
  if (!has_kernel || x1.numel() == 0 || x2.numel() == 0 || P * R * M < kernels::kFewElements) return op::cdist.function(Layer::CPU)(x1, x2, p);
  DimVector sizes = infer_size(x1.sizes().slice(0, x1.sizes().size() - 2), x2.sizes().slice(0, x2.sizes().size() - 2));
  const std::int64_t batch = multiply_sizes(sizes);
  const auto with_batch = [&](const Tensor& x) {
    DimVector all(sizes);
    all.push_back(x.size(-2));
    all.push_back(M);
    return x.expand(all).contiguous();
  };
  const Tensor a = with_batch(x1), b = with_batch(x2);
  sizes.push_back(P);
  sizes.push_back(R);
  const Tensor result = empty(sizes, type);
  if (type == kFloat) distances(a.data<float>(), b.data<float>(), batch, P, R, M, p, result.data<float>());
  else distances(a.data<double>(), b.data<double>(), batch, P, R, M, p, result.data<double>());
  return result;
}
}  // namespace

void register_tuned_distances() { op::cdist.set(Layer::TunedCPU, cdist_tuned); }

}  // namespace tinytorch
