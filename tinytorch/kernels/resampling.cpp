// From the lesson modules/85_resampling_kernels/resampling_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/resampling_kernels.h"
#include "tinytorch/nn/resize.h"

namespace tinytorch {

namespace {
template <class T>
const kernels::ResamplingTable<T>& resampling_table() {
  using namespace kernels;
  static constexpr const ResamplingKernels* tables[] = TINYTORCH_PER_CAPABILITY(resampling_kernels);
  const ResamplingKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

constexpr std::int64_t kResamplingWork = 1 << 14;

// How many entries each row of a table has; 0 if not all have as many.
std::int64_t entries_of_all(const ResampleTables& tables) {
  const std::int64_t first = tables.count() > 0 ? tables.starts[1] : 0;
  for (std::size_t row = 1; row < tables.starts.size(); ++row)
    if (tables.starts[row] - tables.starts[row - 1] != first) return 0;
  return first;
}

// Rows of `inner` numbers side by side.
template <class T>
void resample_rows(const ResampleTables& tables, std::int64_t size, const T* from, const std::vector<T>& weights, T* to) {
  const std::int64_t count = tables.count(), inner = tables.inner;
  parallel_for(0, tables.outer * count, std::max<std::int64_t>(1, kResamplingWork / inner), [&](std::int64_t first, std::int64_t stop) {
    for (std::int64_t task = first; task < stop; ++task) {
      const auto row = static_cast<std::size_t>(task % count);
      const std::int64_t begin = tables.starts[row];
      resampling_table<T>().rows(from + task / count * size * inner, inner, tables.index.data() + begin, weights.data() + begin, tables.starts[row + 1] - begin, to + task * inner);
    }
  });
}

// Lines of `size` numbers.
template <class T>
void resample_lines(const ResampleTables& tables, std::int64_t size, const T* from, const std::vector<T>& weights, T* to) {
  const std::int64_t count = tables.count(), entries = entries_of_all(tables), grain = std::max<std::int64_t>(1, kResamplingWork / std::max(count, size));
  if (entries == 0) {
    parallel_for(0, tables.outer, grain, [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t n = first; n < stop; ++n)
        for (std::size_t row = 0; row < static_cast<std::size_t>(count); ++row) {
          T sum{0};
          for (auto j = static_cast<std::size_t>(tables.starts[row]); j < static_cast<std::size_t>(tables.starts[row + 1]); ++j) sum += weights[j] * from[n * size + tables.index[j]];
          to[n * count + static_cast<std::int64_t>(row)] = sum;
        }
    });
    return;
  }
  // The first entries of all rows side by side, then the second ones.
  std::vector<std::int32_t> index(tables.index.size());
  std::vector<T> side_by_side(weights.size());
  for (std::size_t j = 0; j < weights.size(); ++j) {
    const std::size_t row = j / static_cast<std::size_t>(entries), k = j % static_cast<std::size_t>(entries), place = k * static_cast<std::size_t>(count) + row;
    index[place] = static_cast<std::int32_t>(tables.index[j]);
    side_by_side[place] = weights[j];
  }
  parallel_for(0, tables.outer, grain, [&](std::int64_t first, std::int64_t stop) {
    for (std::int64_t n = first; n < stop; ++n) resampling_table<T>().line(from + n * size, count, index.data(), side_by_side.data(), entries, to + n * count);
  });
}

Tensor resample_tuned(const Tensor& self, std::int64_t dim, std::int64_t size, const Tensor& starts, const Tensor& index, const Tensor& weights) {
  const ScalarType type = self.scalar_type();
  if ((type != kFloat && type != kDouble) || self.numel() == 0 || size >= std::int64_t{1} << 31) return op::resample.function(Layer::CPU)(self, dim, size, starts, index, weights);
  const ResampleTables tables(self.sizes(), dim, size, starts, index, weights);
  const Tensor x = self.contiguous();
  DimVector sizes(x.sizes());
  sizes[tables.dim] = tables.count();
  const Tensor result = empty(sizes, type);
  const auto run = [&]<class T>() {
    const std::vector<T> rounded(tables.weights.begin(), tables.weights.end());
    if (tables.inner == 1) resample_lines<T>(tables, size, x.data<T>(), rounded, result.data<T>());
    else resample_rows<T>(tables, size, x.data<T>(), rounded, result.data<T>());
  };
  if (type == kFloat) run.template operator()<float>();
  else run.template operator()<double>();
  return result;
}
}  // namespace

void register_tuned_resampling() { op::resample.set(Layer::TunedCPU, resample_tuned); }

}  // namespace tinytorch
