// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch
// ---

// %% [markdown]
// # Library chapter 55: Resampling kernels
//
// Chapter 69's `resample` computes numbers that are weighted sums of a few others of the same line. Where the lines lie side by side, a sum of numbers is a sum of *rows*, and a vector computes as many results as it has lanes:
//
//     along H of (N, C, H, W)      row y of the result  =  w0 row y0  +  w1 row y1            W numbers side by side
//     along W of (N, H, W, C)      pixel x              =  w0 pixel x0  +  w1 pixel x1        C numbers side by side
//     along W of (N, C, H, W)      number x             =  w0 number x0  +  w1 number x1      nothing side by side
//
// In the last case the numbers that a vector wants are scattered over the line, and a *gather* fetches each lane's from an address of its own. It costs about a load for each lane, so it only saves the arithmetic around it. But lines are short, and stay in the first cache.
//
// The gradient is the same operator with the transposed table, in which rows have different numbers of entries. A gather needs the same number for all lanes, so these lines are summed number by number.

// %%
//| after 16
//| export kernels/resampling_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/resampling.cpp
#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/resampling_kernels.h"
#include "tinytorch/nn/resize.h"

// %%
//| export kernels/resampling.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include "tinytorch/kernels/resampling_kernels.h"

// %%
#include <cstdint>
#include <cstdio>
#include <limits>
#include <tuple>
#include <utility>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/roofline.h"
#include "tinytorch/nn/resize.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Sums of rows, and of numbers of a line

// %%
//| export kernels/resampling_kernels.h
namespace kernels {

template <class T>
struct ResamplingTable {
  // out[i] = the sum of weights[j] * from[index[j] * count + i] for j < entries, for `count` numbers side by side.
  void (*rows)(const T* from, std::int64_t count, const std::int64_t* index, const T* weights, std::int64_t entries, T* out);
  // out[i] = the sum of weights[k * count + i] * numbers[index[k * count + i]] for k < entries: as many for each of `count` results.
  void (*line)(const T* numbers, std::int64_t count, const std::int32_t* index, const T* weights, std::int64_t entries, T* out);
};

struct ResamplingKernels {
  ResamplingTable<float> in_float;
  ResamplingTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(ResamplingKernels, resampling_kernels)

}  // namespace kernels

// %%
//| export kernels/resampling.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;
template <class T>
using Tag = hn::ScalableTag<T>;
template <class T>
constexpr std::int64_t kLanes = static_cast<std::int64_t>(hn::MaxLanes(Tag<T>()));

// `Vectors` vectors of results at i, whose sums are made in registers.
template <int Vectors, class T>
HWY_INLINE void sum_rows(const T* from, std::int64_t count, const std::int64_t* index, const T* weights, std::int64_t entries, T* out, std::int64_t i) {
  const Tag<T> d;
  hn::Vec<Tag<T>> sums[Vectors];
  for (int v = 0; v < Vectors; ++v) sums[v] = hn::Zero(d);
  for (std::int64_t j = 0; j < entries; ++j) {
    const T* const row = from + index[j] * count + i;
    const auto weight = hn::Set(d, weights[j]);
    for (int v = 0; v < Vectors; ++v) sums[v] = hn::MulAdd(hn::LoadU(d, row + v * kLanes<T>), weight, sums[v]);
  }
  for (int v = 0; v < Vectors; ++v) hn::StoreU(sums[v], d, out + i + v * kLanes<T>);
}

template <class T>
void rows(const T* from, std::int64_t count, const std::int64_t* index, const T* weights, std::int64_t entries, T* out) {
  constexpr std::int64_t L = kLanes<T>;
  std::int64_t i = 0;
  for (; i + 4 * L <= count; i += 4 * L) sum_rows<4>(from, count, index, weights, entries, out, i);
  for (; i + L <= count; i += L) sum_rows<1>(from, count, index, weights, entries, out, i);
  for (; i < count; ++i) {
    T sum{0};
    for (std::int64_t j = 0; j < entries; ++j) sum += weights[j] * from[index[j] * count + i];
    out[i] = sum;
  }
}

template <class T>
void line(const T* numbers, std::int64_t count, const std::int32_t* index, const T* weights, std::int64_t entries, T* out) {
  const Tag<T> d;
  const hn::RebindToSigned<Tag<T>> as_places;
  const hn::Rebind<std::int32_t, Tag<T>> as_indices;
  std::int64_t i = 0;
  for (; i + kLanes<T> <= count; i += kLanes<T>) {
    hn::Vec<Tag<T>> sum = hn::Zero(d);
    for (std::int64_t at = i; at < entries * count; at += count) {
      const auto indices = hn::LoadU(as_indices, index + at);
      if constexpr (sizeof(T) == 4) sum = hn::MulAdd(hn::GatherIndex(d, numbers, indices), hn::LoadU(d, weights + at), sum);
      else sum = hn::MulAdd(hn::GatherIndex(d, numbers, hn::PromoteTo(as_places, indices)), hn::LoadU(d, weights + at), sum);
    }
    hn::StoreU(sum, d, out + i);
  }
  for (; i < count; ++i) {
    T sum{0};
    for (std::int64_t at = i; at < entries * count; at += count) sum += weights[at] * numbers[index[at]];
    out[i] = sum;
  }
}
}  // namespace

constinit const ResamplingKernels resampling_kernels = {{rows<float>, line<float>}, {rows<double>, line<double>}};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% [markdown]
// Whole rows of results are tasks, and a number is summed in the order of its table, so the bits do not depend on threads. Where lines are what is summed, a task has some lines, and reads the same table for all of them.

// %%
//| export kernels/resampling.cpp
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

// %%
//| export kernels/resampling.cpp
//| registers
void register_tuned_resampling() { op::resample.set(Layer::TunedCPU, resample_tuned); }

// %%
//| lesson
// The reference's results of f().
template <class F>
auto by_reference(F f) {
  const kernels::ReferenceKernelsGuard reference;
  return f();
}

// Runs f once for each capability of this machine.
template <class F>
void for_each_capability(F f) {
  for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
    CAPTURE(get_cpu_capability());
    f();
  }
}

// Runs f with this many threads.
template <class F>
auto with_threads(int threads, F f) {
  const int before = get_num_threads();
  set_num_threads(threads);
  auto result = f();
  set_num_threads(before);
  return result;
}

// %%
TEST_CASE("resample: as the reference along every dimension, forward and backward, for tables of equal and of different rows") {
  manual_seed(55);
  struct Table {
    std::vector<std::int64_t> starts, index;
    std::int64_t size;
  };
  std::vector<Table> tables;
  for (const auto& [size, count, equal] : std::vector<std::tuple<std::int64_t, std::int64_t, bool>>{{5, 9, true}, {40, 70, true}, {37, 33, false}, {3, 1, true}, {6, 4, false}}) {
    Table table{{0}, {}, size};
    for (std::int64_t row = 0; row < count; ++row) {
      for (std::int64_t k = 0; k < (equal ? 3 : (row * 7 + 1) % 4); ++k) table.index.push_back((row * 5 + k * 3) % size);
      table.starts.push_back(static_cast<std::int64_t>(table.index.size()));
    }
    tables.push_back(table);
  }
  for (const ScalarType type : {kFloat, kDouble}) {
    const double tolerance = type == kFloat ? 1e-5 : 1e-13;
    for (const Table& table : tables) {
      CAPTURE(table.size);
      const Tensor weights = randn({static_cast<std::int64_t>(table.index.size())}, kDouble);
      for (const auto& [sizes, dim] : std::vector<std::pair<DimVector, std::int64_t>>{{{table.size}, 0}, {{3, table.size}, 1}, {{2, table.size, 7}, 1}, {{table.size, 67}, 0}, {{300, table.size}, 1}, {{2, table.size, 5, 32}, 1}}) {
        CAPTURE(sizes);
        const Tensor x = randn(sizes, type);
        const auto results = [&] {
          const Tensor leaf = x.clone().requires_grad_();
          const Tensor y = op::resample(leaf, dim, table.size, tensor(table.starts), tensor(table.index), weights);
          (y * y).sum().backward();
          return std::vector<Tensor>{y.detach(), leaf.grad()};
        };
        const std::vector<Tensor> expected = by_reference(results);
        for_each_capability([&] {
          const std::vector<Tensor> tuned = results();
          for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_CLOSE(tuned[i], expected[i], tolerance, tolerance * 10);
        });
        const std::vector<Tensor> alone = with_threads(1, results), together = with_threads(3, results);
        for (std::size_t i = 0; i < alone.size(); ++i) CHECK_EQ(together[i], alone[i]);
      }
    }
  }
}

TEST_CASE("resized pictures: as the reference in either order of memory, and the order stays") {
  manual_seed(550);
  const Tensor x = randn({2, 5, 19, 35}), last = x.contiguous(MemoryFormat::ChannelsLast);
  for (const Tensor& image : {x, last}) {
    const auto results = [&] {
      std::vector<Tensor> all;
      const Tensor leaf = image.clone().requires_grad_();
      for (const Tensor& y : {upsample_bilinear2d(leaf, {38, 70}, false), upsample_bicubic2d(leaf, {40, 21}, true), upsample_nearest2d(leaf, {25, 40}), _upsample_bilinear2d_aa(leaf, {7, 9}, false)}) {
        y.sum().backward();
        all.push_back(y.detach());
      }
      all.push_back(leaf.grad());
      return all;
    };
    const std::vector<Tensor> expected = by_reference(results);
    for_each_capability([&] {
      const std::vector<Tensor> tuned = results();
      for (std::size_t i = 0; i < tuned.size(); ++i) {
        CHECK_CLOSE(tuned[i], expected[i], 1e-5, 1e-5);
        if (i + 1 < tuned.size()) CHECK_EQ(tuned[i].is_contiguous(MemoryFormat::ChannelsLast), image.is_contiguous(MemoryFormat::ChannelsLast));
      }
    });
  }
}

TEST_CASE("resample: a number that is not finite stays where it is used") {
  const Tensor x = ones({1, 1, 40, 40});
  x[0][0][20][20] = std::numeric_limits<float>::infinity();
  for_each_capability([&] {
    const Tensor y = _upsample_bilinear2d_aa(x, {20, 20}, false);
    CHECK_EQ(y.isfinite().logical_not().sum().item<std::int64_t>(), by_reference([&] { return _upsample_bilinear2d_aa(x, {20, 20}, false).isfinite().logical_not().sum().item<std::int64_t>(); }));
    CHECK(y[0][0][0].isfinite().all().item<bool>());
  });
}

// %% [markdown]
// ## How near to the roof?

// %%
//| lesson
class OneThread {
 public:
  OneThread() { set_num_threads(1); }
  ~OneThread() { set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_ = get_num_threads();
};

void print_rates(const char* what, double bytes, double tuned, double reference) {
  std::printf("  %-34s %8.2f GB/s   reference %8.2f GB/s   %5.1f times\n", what, bytes / tuned * 1e-9, bytes / reference * 1e-9, reference / tuned);
}

template <class F>
void compare_rates(const char* what, double bytes, F f) {
  const auto seconds = [&] { return measure([&] { do_not_optimize(f()); }, {.samples = 3}).minimum; };
  const double tuned = seconds();
  const double reference = by_reference(seconds);
  print_rates(what, bytes, tuned, reference);
}

// %%
DEMO("pictures made twice as large, one thread") {
  const OneThread one;
  std::printf("memory is read at %.1f GB/s by one thread\n", kernels::machine_peaks().bytes_per_second * 1e-9);
  const Tensor x = randn({8, 64, 56, 56}), last = x.contiguous(MemoryFormat::ChannelsLast);
  const double bytes = 4.0 * 5 * static_cast<double>(x.numel());
  compare_rates("bilinear", bytes, [&] { return upsample_bilinear2d(x, {112, 112}, false); });
  compare_rates("bilinear, channels last", bytes, [&] { return upsample_bilinear2d(last, {112, 112}, false); });
  compare_rates("bicubic", bytes, [&] { return upsample_bicubic2d(x, {112, 112}, false); });
}

// %% [markdown]
// ## Where to read on
//
// PyTorch's `aten/src/ATen/native/cpu/UpSampleKernel.cpp` has both forms: `cpu_upsample_generic`, which walks over all dimensions at once with the neighbours of each as strides, and `cpu_upsample_linear_channels_last`. It computes the four weights of a pixel together, where this chapter goes along one dimension after the other:
// for two dimensions that is one more tensor, and half of the products.

// %%
}  // namespace tinytorch
