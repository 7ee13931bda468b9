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
// # Library chapter 85: Resampling kernels
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
//| export kernels/reading.cpp
#include <algorithm>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/fused_gradient.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/resampling_kernels.h"
#include "tinytorch/nn/grid_sample.h"
//| export kernels/picking.cpp
#include <algorithm>
#include <cstdint>
#include <type_traits>
#include <vector>
#include "tinytorch/core/layouts.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/pooling_kernels.h"
#include "tinytorch/kernels/resampling_kernels.h"
#include "tinytorch/nn/image_checks.h"
#include "tinytorch/nn/resize.h"

// %%
//| export kernels/resampling.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include <algorithm>
#include "tinytorch/kernels/resampling_kernels.h"
#include "tinytorch/kernels/vector_math-inl.h"

// %%
#include <array>
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
#include "tinytorch/nn/grid_sample.h"
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
      for (const std::pair<DimVector, std::int64_t>& along : std::vector<std::pair<DimVector, std::int64_t>>{{{table.size}, 0}, {{3, table.size}, 1}, {{2, table.size, 7}, 1}, {{table.size, 67}, 0}, {{300, table.size}, 1}, {{2, table.size, 5, 32}, 1}}) {
        const DimVector& sizes = along.first;
        const std::int64_t dim = along.second;
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
// ## Picking pixels
//
// The nearest pixel is a copy, of one number or of a pixel's channels. As a sum with one entry of weight 1 it had been two walks, one for each dimension, and between them a picture that was written and read again. Where a picture becomes larger, rows of the result come several times; from the second time on they are copies of the row before.
//
// Back, a pixel's gradient is a sum over the pixels that are its copies. These lie in a rectangle, since the lists of rows and columns do not fall. With channels last that is a window of chapter 55, whose kernel sums it in registers; here it is divided by one. In rows the rows of a rectangle are summed first, to one line, and then its columns.

// %%
//| export kernels/resampling_kernels.h
namespace kernels {

// Pixels by their bits: of `count` pixels of `channels` numbers each, number x is the one at row + columns[x] * channels.
template <class U>
using PickRow = void (*)(const U* row, const std::int64_t* columns, std::int64_t count, std::int64_t channels, U* out);

struct PickKernels {
  PickRow<std::uint8_t> of_1;
  PickRow<std::uint16_t> of_2;
  PickRow<std::uint32_t> of_4;
  PickRow<std::uint64_t> of_8;
};

TINYTORCH_DECLARE_PER_CAPABILITY(PickKernels, pick_kernels)

}  // namespace kernels

// %%
//| export kernels/resampling.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
template <class U>
void pick_row(const U* row, const std::int64_t* columns, std::int64_t count, std::int64_t channels, U* out) {
  const Tag<U> d;
  if (channels == 1) {
    for (std::int64_t x = 0; x < count; ++x) out[x] = row[columns[x]];
    return;
  }
  for (std::int64_t x = 0; x < count; ++x, out += channels) {
    const U* const pixel = row + columns[x] * channels;
    std::int64_t c = 0;
    for (; c + kLanes<U> <= channels; c += kLanes<U>) hn::StoreU(hn::LoadU(d, pixel + c), d, out + c);
    // Masks of AVX2 are for numbers of four and eight bytes.
    if constexpr (sizeof(U) >= 4) {
      if (c < channels) StorePart(LoadPart(d, pixel + c, channels - c), d, out + c, channels - c);
    } else {
      for (; c < channels; ++c) out[c] = pixel[c];
    }
  }
}
}  // namespace

constinit const PickKernels pick_kernels = {pick_row<std::uint8_t>, pick_row<std::uint16_t>, pick_row<std::uint32_t>, pick_row<std::uint64_t>};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| export kernels/picking.cpp
namespace {
constexpr std::int64_t kPickingWork = 1 << 14;

// Images as they lie: planes of `channels` numbers for each pixel.
struct PixelOrder {
  explicit PixelOrder(const Tensor& images) : last(has_channels_last(images)), planes(last ? images.size(0) : images.size(0) * images.size(1)), channels(last ? images.size(1) : 1) {}
  bool last;
  std::int64_t planes, channels;
};

// An image of `height` x `width` pixels in the order of `images`, as it lies in memory, and as (N, C, H, W).
Tensor image_in_order(const Tensor& images, std::int64_t height, std::int64_t width) {
  const std::int64_t N = images.size(0), C = images.size(1);
  return PixelOrder(images).last ? empty({N, height, width, C}, images.options()) : empty({N, C, height, width}, images.options());
}
Tensor as_images(const Tensor& result, const PixelOrder& order) { return order.last ? result.permute({0, 3, 1, 2}) : result; }

template <class U>
void pick_rows(kernels::PickRow<U> kernel, const U* from, const PixelOrder& order, IntArrayRef size, IntArrayRef rows, IntArrayRef columns, U* to) {
  const auto height = static_cast<std::int64_t>(rows.size()), width = static_cast<std::int64_t>(columns.size()), length = width * order.channels;
  parallel_for(0, order.planes * height, std::max<std::int64_t>(1, kPickingWork / length), [&](std::int64_t first, std::int64_t stop) {
    for (std::int64_t line = first; line < stop; ++line) {
      const auto y = static_cast<std::size_t>(line % height);
      if (line > first && y > 0 && rows[y] == rows[y - 1]) std::copy_n(to + (line - 1) * length, length, to + line * length);
      else kernel(from + (line / height * size[0] + rows[y]) * size[1] * order.channels, columns.data(), width, order.channels, to + line * length);
    }
  });
}

const kernels::PickKernels& pick_table() {
  using namespace kernels;
  static constexpr const PickKernels* tables[] = TINYTORCH_PER_CAPABILITY(pick_kernels);
  return for_capability(tables);
}

bool are_within(IntArrayRef places, std::int64_t size) {
  return std::all_of(places.begin(), places.end(), [size](std::int64_t at) { return at >= 0 && at < size; });
}

Tensor pick_pixels_tuned(const Tensor& self, IntArrayRef rows, IntArrayRef columns) {
  const std::size_t bytes = self.element_size();
  if (self.dim() != 4 || self.numel() == 0 || rows.empty() || columns.empty() || bytes > 8 || !are_within(rows, self.size(2)) || !are_within(columns, self.size(3))) return op::pick_pixels.function(Layer::CPU)(self, rows, columns);
  const PixelOrder order(self);
  const Tensor images = order.last ? self : self.contiguous(), result = image_in_order(self, static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(columns.size()));
  const auto run = [&]<class U>(kernels::PickRow<U> kernel) { pick_rows<U>(kernel, static_cast<const U*>(images.data_ptr()), order, spatial_sizes(self.sizes()), rows, columns, static_cast<U*>(result.data_ptr())); };
  if (bytes == 1) run(pick_table().of_1);
  else if (bytes == 2) run(pick_table().of_2);
  else if (bytes == 4) run(pick_table().of_4);
  else run(pick_table().of_8);
  return as_images(result, order);
}

// Which of a list's places each of `size` numbers takes. REQUIRES: the list does not fall.
struct PickedRanges {
  PickedRanges(IntArrayRef list, std::int64_t size) : firsts(static_cast<std::size_t>(size)), lengths(static_cast<std::size_t>(size)) {
    const std::int64_t* at = list.begin();
    for (std::size_t i = 0; i < firsts.size(); ++i) {
      firsts[i] = at - list.begin();
      for (; at != list.end() && *at == static_cast<std::int64_t>(i); ++at) ++lengths[i];
      firsts[i] = std::min(firsts[i], static_cast<std::int64_t>(list.size()) - 1);
    }
  }
  std::vector<std::int64_t> firsts, lengths;
};

template <class T>
const auto& table_of(const auto& kernels) {
  if constexpr (std::is_same_v<T, float>) return kernels.in_float;
  else return kernels.in_double;
}

// Windows of pixels with channels last.
template <class T>
void add_windows(const Tensor& grad, const PickedRanges& rows, const PickedRanges& columns, T* to) {
  using namespace kernels;
  static constexpr const WindowMeansKernels* tables[] = TINYTORCH_PER_CAPABILITY(window_means_kernels);
  const auto means = table_of<T>(for_capability(tables)).means;
  const std::int64_t C = grad.size(1), H = grad.size(2), W = grad.size(3);
  const auto height = static_cast<std::int64_t>(rows.firsts.size()), width = static_cast<std::int64_t>(columns.firsts.size());
  const std::vector<std::int64_t> ones(columns.firsts.size(), 1);
  parallel_for(0, grad.size(0) * height, std::max<std::int64_t>(1, kPickingWork / (std::max(W, width) * C)), [&, from = grad.data<T>()](std::int64_t first, std::int64_t stop) {
    for (std::int64_t line = first; line < stop; ++line) {
      const auto y = static_cast<std::size_t>(line % height);
      means({.from = from + (line / height * H + rows.firsts[y]) * W * C, .channels = C, .rows = rows.lengths[y], .row = W * C, .count = width, .firsts = columns.firsts.data(), .lengths = columns.lengths.data(), .divisors = ones.data(), .out = to + line * width * C});
    }
  });
}

// Of pixels in rows: the sums of rows, and in these the sums of neighbours.
template <class T>
void add_in_rows(const Tensor& grad, const PickedRanges& rows, const PickedRanges& columns, T* to) {
  using namespace kernels;
  static constexpr const ResamplingKernels* tables[] = TINYTORCH_PER_CAPABILITY(resampling_kernels);
  const auto sum_rows = table_of<T>(for_capability(tables)).rows;
  const std::int64_t planes = grad.size(0) * grad.size(1), H = grad.size(2), W = grad.size(3);
  const auto height = static_cast<std::int64_t>(rows.firsts.size()), width = static_cast<std::int64_t>(columns.firsts.size());
  const std::int64_t most = *std::max_element(rows.lengths.begin(), rows.lengths.end());
  std::vector<std::int64_t> index(static_cast<std::size_t>(most));
  for (std::size_t i = 0; i < index.size(); ++i) index[i] = static_cast<std::int64_t>(i);
  const std::vector<T> ones(index.size(), T{1});
  parallel_for(0, planes * height, std::max<std::int64_t>(1, kPickingWork / std::max(W, width)), [&, from = grad.data<T>()](std::int64_t first, std::int64_t stop) {
    std::vector<T> sums(static_cast<std::size_t>(W));
    for (std::int64_t line = first; line < stop; ++line) {
      const auto y = static_cast<std::size_t>(line % height);
      T* const out = to + line * width;
      if (rows.lengths[y] == 0) {
        std::fill_n(out, width, T{0});
        continue;
      }
      const T* row = from + (line / height * H + rows.firsts[y]) * W;
      if (rows.lengths[y] > 1) {
        sum_rows(row, W, index.data(), ones.data(), rows.lengths[y], sums.data());
        row = sums.data();
      }
      for (std::size_t x = 0; x < columns.firsts.size(); ++x) {
        T sum{0};
        for (std::int64_t j = 0; j < columns.lengths[x]; ++j) sum += row[columns.firsts[x] + j];
        out[x] = sum;
      }
    }
  });
}

Tensor pick_pixels_backward_tuned(const Tensor& grad, IntArrayRef size, IntArrayRef rows, IntArrayRef columns) {
  const ScalarType type = grad.scalar_type();
  const bool rises = std::is_sorted(rows.begin(), rows.end()) && std::is_sorted(columns.begin(), columns.end()) && are_within(rows, size[0]) && are_within(columns, size[1]);
  const bool fits = grad.dim() == 4 && grad.size(2) == static_cast<std::int64_t>(rows.size()) && grad.size(3) == static_cast<std::int64_t>(columns.size());
  if ((type != kFloat && type != kDouble) || grad.numel() == 0 || !rises || !fits) return op::pick_pixels_backward.function(Layer::CPU)(grad, size, rows, columns);
  const PixelOrder order(grad);
  const Tensor dense = order.last ? grad : grad.contiguous(), result = image_in_order(grad, size[0], size[1]);
  const PickedRanges of_rows(rows, size[0]), of_columns(columns, size[1]);
  const auto run = [&]<class T>() {
    if (order.last) add_windows(dense, of_rows, of_columns, result.data<T>());
    else add_in_rows(dense, of_rows, of_columns, result.data<T>());
  };
  if (type == kFloat) run.template operator()<float>();
  else run.template operator()<double>();
  return as_images(result, order);
}
}  // namespace

// %%
//| export kernels/picking.cpp
//| registers
void register_tuned_picking() {
  op::pick_pixels.set(Layer::TunedCPU, pick_pixels_tuned);
  op::pick_pixels_backward.set(Layer::TunedCPU, pick_pixels_backward_tuned);
}

// %%
TEST_CASE("nearest pixels: those of the definition for each dtype and order of memory, and gradients that count copies") {
  manual_seed(556);
  struct Resizing {
    DimVector sizes, output;
  };
  for (const Resizing& r : std::vector<Resizing>{{{2, 3, 5, 7}, {10, 14}}, {{1, 37, 6, 5}, {9, 4}}, {{2, 16, 8, 8}, {4, 4}}, {{2, 70, 4, 5}, {13, 5}}, {{3, 1, 9, 40}, {2, 83}}, {{1, 5, 1, 6}, {3, 1}}}) {
    CAPTURE(r.sizes);
    const std::int64_t H = r.sizes[2], W = r.sizes[3];
    for (const ScalarType type : {kFloat, kDouble, kHalf, kBFloat16, kLong, kByte}) {
      CAPTURE(type);
      const Tensor x = randint(0, 100, r.sizes).to(type);
      const Tensor expected = empty({r.sizes[0], r.sizes[1], r.output[0], r.output[1]}, type);
      for (std::int64_t i = 0; i < r.output[0]; ++i)
        for (std::int64_t j = 0; j < r.output[1]; ++j) expected.select(2, i).select(2, j).copy_(x.select(2, i * H / r.output[0]).select(2, j * W / r.output[1]));
      for (const Tensor& image : {x, x.contiguous(MemoryFormat::ChannelsLast)})
        for_each_capability([&] {
          const Tensor y = upsample_nearest2d(image, r.output);
          CHECK_EQ(y, expected);
          if (image.is_contiguous(MemoryFormat::ChannelsLast)) CHECK(y.is_contiguous(MemoryFormat::ChannelsLast));
        });
    }
    for (const ScalarType type : {kFloat, kDouble}) {
      // Whole numbers, whose sums are exact.
      const Tensor g = randint(0, 100, {r.sizes[0], r.sizes[1], r.output[0], r.output[1]}).to(type), expected = zeros(r.sizes, type);
      for (std::int64_t i = 0; i < r.output[0]; ++i)
        for (std::int64_t j = 0; j < r.output[1]; ++j) expected.select(2, i * H / r.output[0]).select(2, j * W / r.output[1]).add_(g.select(2, i).select(2, j));
      for (const Tensor& arrives : {g, g.contiguous(MemoryFormat::ChannelsLast)}) {
        const auto gradient = [&] {
          const Tensor leaf = zeros(r.sizes, type).requires_grad_();
          return autograd::grad({upsample_nearest2d(leaf, r.output)}, {leaf}, {arrives})[0];
        };
        for_each_capability([&] { CHECK_EQ(gradient(), expected); });
        CHECK_EQ(by_reference(gradient), expected);
        CHECK_EQ(with_threads(3, gradient), expected);
      }
    }
  }
}

// %% [markdown]
// ## Reading at places that are not whole
//
// `grid_sample` (chapter 69) reads each channel of an image at the same places. So which four pixels a place needs, and how much each counts, is found once for all channels, for a vector of places at a time. What was found stays in registers, and then a channel is four gathers for each vector of results; a gather takes as long as the loads of its lanes, and the next places are found meanwhile.
// The nearest pixel alone is one gather, without weights.
// Tables of all places, which had been written before any channel was read, are eight numbers for each: of three channels, more than what is read. A pixel outside counts as zero, whatever its weight: a mask leaves its lane out.
//
//     place (y, x) = (2.3, 0.6)        rows 2 and 3, columns 0 and 1        index    2 W    2 W + 1    3 W    3 W + 1
//                                                                           weight   0.28   0.42       0.12   0.18
//
// Where the grid's places are in the image is found in one walk over the grid, unless somebody wants the grid's gradient. Its numbers are x and y by turns, so two vectors are taken apart first; composed of operators it is a copy of every second number and three to ten more walks for each coordinate, which took two thirds of the time of one channel.
//
// Three gradients come back. The image's is what was read, given back: each place adds its gradient times the weight to its four pixels. Two places may share a pixel, so a plane belongs to one thread, and pixels are added to one by one. Those of the places are slopes between pixels, `(1 - fy) (right - left above) + fy (right - left below)` along x, summed over the channels. Each is computed only if
// somebody asks for it: where a network looks at a given grid, nobody asks for slopes.

// %%
//| export kernels/resampling_kernels.h
namespace kernels {

// `count` places (y, x) at which planes of height x width are read, and for each of some channels a plane and a row of results.
template <class T>
struct Reading {
  const T *y, *x;
  std::int64_t count, height, width;
  std::int64_t channels;
  std::int64_t out;  // from one channel's results to the next one's
};

// One coordinate of a grid: pixel = (number + 1) scale - shift, moved by the padding (1 to the border, 2 reflected between low and low + span) to 0 to last.
template <class T>
struct GridAxis {
  T scale, shift;
  std::int64_t padding;
  T low, span, last;
  T* places;
};

template <class T>
struct ReadingTable {
  // Places of `count` pairs of numbers, of which the first are along x.
  void (*place)(const T* grid, std::int64_t count, const GridAxis<T>& y, const GridAxis<T>& x);
  // results[c * out + o] = what stands at place o of plane c, or at the pixel nearest to it.
  void (*read)(const Reading<T>& places, const T* planes, T* results);
  void (*read_nearest)(const Reading<T>& places, const T* planes, T* results);
  // dy[o] += the sum over the channels of grad[c * out + o] times the slope of plane c along y at place o; and dx likewise.
  void (*slopes)(const Reading<T>& places, const T* planes, const T* grad, T* dy, T* dx);
  // Adds grad[c * out + o] times their weights to the four pixels of plane c at place o.
  void (*give_back)(const Reading<T>& places, const T* grad, T* planes);
};

struct ReadingKernels {
  ReadingTable<float> in_float;
  ReadingTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(ReadingKernels, reading_kernels)

}  // namespace kernels

// %%
//| export kernels/resampling.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
template <class T>
HWY_INLINE hn::Vec<Tag<T>> places_of(hn::Vec<Tag<T>> number, const GridAxis<T>& axis) {
  const Tag<T> d;
  auto place = hn::Sub(hn::Mul(hn::Add(number, hn::Set(d, T{1})), hn::Set(d, axis.scale)), hn::Set(d, axis.shift));
  if (axis.padding == 0) return place;
  if (axis.padding == 2) {
    const auto low = hn::Set(d, axis.low), span = hn::Set(d, axis.span);
    const auto distance = hn::Abs(hn::Sub(place, low)), turns = hn::Floor(hn::Div(distance, span)), rest = hn::Sub(distance, hn::Mul(turns, span));
    const auto half = hn::Mul(turns, hn::Set(d, T{0.5}));
    place = hn::Add(hn::IfThenElse(hn::Eq(hn::Floor(half), half), rest, hn::Sub(span, rest)), low);
  }
  const auto inside = hn::Min(hn::Max(place, hn::Zero(d)), hn::Set(d, axis.last));
  return hn::IfThenElseZero(hn::Eq(place, place), inside);  // NaN to 0
}

template <class T>
void place(const T* grid, std::int64_t count, const GridAxis<T>& y, const GridAxis<T>& x) {
  const Tag<T> d;
  constexpr std::int64_t L = kLanes<T>;
  hn::Vec<Tag<T>> of_x, of_y;
  std::int64_t i = 0;
  for (; i + L <= count; i += L) {
    hn::LoadInterleaved2(d, grid + 2 * i, of_x, of_y);
    hn::StoreU(places_of(of_x, x), d, x.places + i);
    hn::StoreU(places_of(of_y, y), d, y.places + i);
  }
  if (i == count) return;
  HWY_ALIGN T rest[2 * L] = {};
  for (std::int64_t k = 0; k < 2 * (count - i); ++k) rest[k] = grid[2 * i + k];
  hn::LoadInterleaved2(d, rest, of_x, of_y);
  StorePart(places_of(of_x, x), d, x.places + i, count - i);
  StorePart(places_of(of_y, y), d, y.places + i, count - i);
}

// The pixels around a vector of places: above left, above right, below left and below right.
template <class T>
struct Corners {
  using Place = hn::RebindToSigned<Tag<T>>;
  hn::Vec<Place> at[4];  // 0 where it is outside
  hn::Mask<Tag<T>> inside[4];
  hn::Vec<Tag<T>> weight[4];
  hn::Vec<Tag<T>> fy, fx;  // how far the place is behind the row and the column above it

  // Of pixel k of a plane; zero outside.
  HWY_INLINE hn::Vec<Tag<T>> pixel(int k, const T* plane) const { return hn::IfThenElseZero(inside[k], hn::GatherIndex(Tag<T>(), plane, at[k])); }
};

// Pixels of a plane at whole rows and columns, and whether they are inside of it; a comparison with NaN is false: such a place is outside.
template <class T>
HWY_INLINE hn::Vec<hn::RebindToSigned<Tag<T>>> pixels_at(const Reading<T>& places, hn::Vec<Tag<T>> row, hn::Vec<Tag<T>> column, hn::Mask<Tag<T>>& inside) {
  const Tag<T> d;
  const hn::RebindToSigned<Tag<T>> as_places;
  const auto zero = hn::Zero(d), bottom = hn::Set(d, static_cast<T>(places.height - 1)), end = hn::Set(d, static_cast<T>(places.width - 1));
  inside = hn::And(hn::And(hn::Ge(row, zero), hn::Le(row, bottom)), hn::And(hn::Ge(column, zero), hn::Le(column, end)));
  const auto whole_row = hn::IfThenElseZero(inside, row), whole_column = hn::IfThenElseZero(inside, column);
  // Not every index is a float, so there it is computed of whole numbers.
  if constexpr (sizeof(T) == 4) return hn::Add(hn::Mul(hn::ConvertTo(as_places, whole_row), hn::Set(as_places, static_cast<std::int32_t>(places.width))), hn::ConvertTo(as_places, whole_column));
  else return hn::ConvertTo(as_places, hn::MulAdd(whole_row, hn::Set(d, static_cast<T>(places.width)), whole_column));
}

template <class T>
HWY_INLINE hn::Vec<Tag<T>> load_places(const T* from, std::int64_t count) {
  return count == kLanes<T> ? hn::LoadU(Tag<T>(), from) : LoadPart(Tag<T>(), from, count);
}

// Of `count` places from o on, which are a vector or less. Lanes behind them read pixels that are not used.
template <class T>
HWY_INLINE Corners<T> corners_of(const Reading<T>& places, std::int64_t o, std::int64_t count) {
  const Tag<T> d;
  const auto one = hn::Set(d, T{1}), y = load_places(places.y + o, count), x = load_places(places.x + o, count);
  const auto top = hn::Floor(y), left = hn::Floor(x), below = hn::Add(top, one), right = hn::Add(left, one);
  Corners<T> corners;
  corners.fy = hn::Sub(y, top);
  corners.fx = hn::Sub(x, left);
  for (int k = 0; k < 4; ++k) {
    const auto row = k >= 2 ? below : top, column = k % 2 == 1 ? right : left;
    corners.weight[k] = hn::Mul(k >= 2 ? corners.fy : hn::Sub(below, y), k % 2 == 1 ? corners.fx : hn::Sub(right, x));
    corners.at[k] = pixels_at(places, row, column, corners.inside[k]);
  }
  return corners;
}

// Calls f(corners, o, how many places) for each vector of places.
template <class T, class F>
HWY_INLINE void for_corners(const Reading<T>& places, F f) {
  for (std::int64_t o = 0; o < places.count; o += kLanes<T>) {
    const std::int64_t count = std::min(kLanes<T>, places.count - o);
    f(corners_of(places, o, count), o, count);
  }
}

template <class T>
void read(const Reading<T>& places, const T* planes, T* results) {
  const Tag<T> d;
  for_corners(places, [&](const Corners<T>& corners, std::int64_t o, std::int64_t count) HWY_ATTR {
    const T* plane = planes;
    for (std::int64_t c = 0; c < places.channels; ++c, plane += places.height * places.width) {
      auto sum = hn::Zero(d);
      for (int k = 0; k < 4; ++k) sum = hn::MulAdd(corners.pixel(k, plane), corners.weight[k], sum);
      T* const to = results + c * places.out + o;
      if (count == kLanes<T>) hn::StoreU(sum, d, to);
      else StorePart(sum, d, to, count);
    }
  });
}

template <class T>
void read_nearest(const Reading<T>& places, const T* planes, T* results) {
  const Tag<T> d;
  for (std::int64_t o = 0; o < places.count; o += kLanes<T>) {
    const std::int64_t count = std::min(kLanes<T>, places.count - o);
    hn::Mask<Tag<T>> inside;
    const auto at = pixels_at(places, hn::Round(load_places(places.y + o, count)), hn::Round(load_places(places.x + o, count)), inside);
    const T* plane = planes;
    for (std::int64_t c = 0; c < places.channels; ++c, plane += places.height * places.width) {
      const auto pixels = hn::IfThenElseZero(inside, hn::GatherIndex(d, plane, at));
      T* const to = results + c * places.out + o;
      if (count == kLanes<T>) hn::StoreU(pixels, d, to);
      else StorePart(pixels, d, to, count);
    }
  }
}

template <class T>
void slopes(const Reading<T>& places, const T* planes, const T* grad, T* dy, T* dx) {
  const Tag<T> d;
  const auto one = hn::Set(d, T{1});
  for_corners(places, [&](const Corners<T>& corners, std::int64_t o, std::int64_t count) HWY_ATTR {
    auto of_y = load_places(dy + o, count), of_x = load_places(dx + o, count);
    const T* plane = planes;
    for (std::int64_t c = 0; c < places.channels; ++c, plane += places.height * places.width) {
      const auto g = load_places(grad + c * places.out + o, count);
      const auto v00 = corners.pixel(0, plane), v01 = corners.pixel(1, plane), v10 = corners.pixel(2, plane), v11 = corners.pixel(3, plane);
      const auto along_x = hn::MulAdd(hn::Sub(one, corners.fy), hn::Sub(v01, v00), hn::Mul(corners.fy, hn::Sub(v11, v10)));
      const auto along_y = hn::MulAdd(hn::Sub(one, corners.fx), hn::Sub(v10, v00), hn::Mul(corners.fx, hn::Sub(v11, v01)));
      of_y = hn::MulAdd(g, along_y, of_y);
      of_x = hn::MulAdd(g, along_x, of_x);
    }
    if (count == kLanes<T>) hn::StoreU(of_y, d, dy + o), hn::StoreU(of_x, d, dx + o);
    else StorePart(of_y, d, dy + o, count), StorePart(of_x, d, dx + o, count);
  });
}

template <class T>
void give_back(const Reading<T>& places, const T* grad, T* planes) {
  using Place = typename Corners<T>::Place;
  const Tag<T> d;
  for_corners(places, [&](const Corners<T>& corners, std::int64_t o, std::int64_t count) HWY_ATTR {
    HWY_ALIGN hn::TFromD<Place> at[4][kLanes<T>];
    for (int k = 0; k < 4; ++k) hn::Store(corners.at[k], Place(), at[k]);
    T* plane = planes;
    for (std::int64_t c = 0; c < places.channels; ++c, plane += places.height * places.width) {
      const auto g = load_places(grad + c * places.out + o, count);
      for (int k = 0; k < 4; ++k) {
        HWY_ALIGN T parts[kLanes<T>];
        // Nothing is added to pixel 0 for a pixel outside: no jump that could be guessed wrong.
        hn::Store(hn::IfThenElseZero(corners.inside[k], hn::Mul(g, corners.weight[k])), d, parts);
        for (std::int64_t i = 0; i < count; ++i) plane[at[k][i]] += parts[i];
      }
    }
  });
}
}  // namespace

constinit const ReadingKernels reading_kernels = {{place<float>, read<float>, read_nearest<float>, slopes<float>, give_back<float>}, {place<double>, read<double>, read_nearest<double>, slopes<double>, give_back<double>}};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| export kernels/reading.cpp
namespace {
template <class T>
const kernels::ReadingTable<T>& reading_table() {
  using namespace kernels;
  static constexpr const ReadingKernels* tables[] = TINYTORCH_PER_CAPABILITY(reading_kernels);
  const ReadingKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

bool can_read(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height) {
  const ScalarType type = images.scalar_type();
  return (type == kFloat || type == kDouble) && y.scalar_type() == type && x.scalar_type() == type && images.dim() == 3 && y.dim() == 2 && y.sizes() == x.sizes() && y.size(0) == images.size(0) && images.numel() > 0 &&
         y.numel() > 0 && height > 0 && images.size(2) % height == 0 && images.size(2) < std::int64_t{1} << 31;
}

template <class F>
void in_read_type(ScalarType type, F f) {
  if (type == kFloat) f.template operator()<float>();
  else f.template operator()<double>();
}

constexpr std::int64_t kReadingWork = 1 << 13;
constexpr std::int64_t kChannelsTogether = 16;  // whose pixels around neighbouring places stay in the first cache

// Calls f(places, where their results begin, their first plane) for parts of the places of `images` (N, C, H W), on the threads of the pool: each time for a few channels, one after the other. A part is places of one image.
template <class T, class F>
void for_places(const Tensor& y, const Tensor& x, const Tensor& images, std::int64_t height, F f) {
  constexpr std::int64_t kPart = 256;
  const std::int64_t N = images.size(0), C = images.size(1), width = images.size(2) / height, out = y.size(1), parts = (out + kPart - 1) / kPart;
  parallel_for(0, N * parts, std::max<std::int64_t>(1, kReadingWork / (std::min(kPart, out) * C)), [&, ys = y.data<T>(), xs = x.data<T>()](std::int64_t first, std::int64_t stop) {
    for (std::int64_t part = first; part < stop; ++part) {
      const std::int64_t n = part / parts, o = part % parts * kPart;
      for (std::int64_t c = 0; c < C; c += kChannelsTogether)
        f(kernels::Reading<T>{ys + n * out + o, xs + n * out + o, std::min(kPart, out - o), height, width, std::min(kChannelsTogether, C - c), out}, (n * C + c) * out + o, n * C + c);
    }
  });
}

// Pictures only, whose grid is float or double.
std::vector<Tensor> grid_places_tuned(const Tensor& grid_, IntArrayRef spatial, std::int64_t padding_mode, bool align_corners) {
  const ScalarType type = grid_.scalar_type();
  if ((type != kFloat && type != kDouble) || spatial.size() != 2 || grid_.numel() == 0) return op::grid_places.function(Layer::CPU)(grid_, spatial, padding_mode, align_corners);
  const Tensor grid = grid_.contiguous();
  const std::int64_t N = grid.size(0), count = grid.numel() / 2;
  const Tensor y = empty({N, count / N}, type), x = empty({N, count / N}, type);
  in_read_type(type, [&]<class T>() {
    const auto axis = [&](std::int64_t size) {
      const T last = static_cast<T>(size - 1);
      if (align_corners) return kernels::GridAxis<T>{last / 2, 0, padding_mode, 0, last, last, nullptr};
      return kernels::GridAxis<T>{static_cast<T>(size) / 2, T{0.5}, padding_mode, T{-0.5}, static_cast<T>(size), last, nullptr};
    };
    parallel_for(0, count, kReadingWork, [&, from = grid.data<T>(), ys = y.data<T>(), xs = x.data<T>()](std::int64_t first, std::int64_t stop) {
      kernels::GridAxis<T> rows = axis(spatial[0]), columns = axis(spatial[1]);
      rows.places = ys + first;
      columns.places = xs + first;
      reading_table<T>().place(from + 2 * first, stop - first, rows, columns);
    });
  });
  return {y, x};
}

// What `kernel`, a member of the table, reads. REQUIRES: can_read(images_, y, x, height).
template <class T>
Tensor read_places(void (*kernels::ReadingTable<T>::*kernel)(const kernels::Reading<T>&, const T*, T*), const Tensor& images_, const Tensor& y, const Tensor& x, std::int64_t height) {
  const Tensor images = images_.contiguous();
  const std::int64_t plane = images.size(2);
  const Tensor result = empty({images.size(0), images.size(1), y.size(1)}, images.scalar_type());
  for_places<T>(y.contiguous(), x.contiguous(), images, height, [&](const kernels::Reading<T>& places, std::int64_t at, std::int64_t first_plane) {
    (reading_table<T>().*kernel)(places, images.data<T>() + first_plane * plane, result.data<T>() + at);
  });
  return result;
}

Tensor read_bilinear_tuned(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height) {
  if (!can_read(images, y, x, height)) return op::read_bilinear.function(Layer::CPU)(images, y, x, height);
  if (images.scalar_type() == kFloat) return read_places(&kernels::ReadingTable<float>::read, images, y, x, height);
  return read_places(&kernels::ReadingTable<double>::read, images, y, x, height);
}

Tensor read_nearest_tuned(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height) {
  if (!can_read(images, y, x, height)) return op::read_nearest.function(Layer::CPU)(images, y, x, height);
  if (images.scalar_type() == kFloat) return read_places(&kernels::ReadingTable<float>::read_nearest, images, y, x, height);
  return read_places(&kernels::ReadingTable<double>::read_nearest, images, y, x, height);
}

// The gradients of images, y and x; of the images, and of the places, only if they are wanted.
using ReadGradients = std::tuple<Tensor, Tensor, Tensor>;
ReadGradients read_bilinear_backward_composed(const Tensor& grad, const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height, bool, bool) {
  const bool record = is_recording();
  const AutoGradMode on(true);
  const auto watched = [&](const Tensor& t) { return t.requires_grad() ? t : t.detach().requires_grad_(); };
  const Tensor a = watched(images), b = watched(y), c = watched(x);
  const variable_list grads = autograd::grad({op::read_bilinear.function(Layer::CPU)(a, b, c, height)}, {a, b, c}, {grad}, true, record);
  return {grads[0], grads[1], grads[2]};
}
constinit Operator<ReadGradients(const Tensor&, const Tensor&, const Tensor&, const Tensor&, std::int64_t, bool, bool)> read_bilinear_backward_op("read_bilinear_backward", {.cpu = read_bilinear_backward_composed});

ReadGradients read_bilinear_backward_tuned(const Tensor& grad, const Tensor& images_, const Tensor& y_, const Tensor& x_, std::int64_t height, bool of_images, bool of_places) {
  if (!can_read(images_, y_, x_, height) || grad.scalar_type() != images_.scalar_type()) return read_bilinear_backward_op.function(Layer::CPU)(grad, images_, y_, x_, height, of_images, of_places);
  const Tensor images = images_.contiguous(), g = grad.contiguous(), y = y_.contiguous(), x = x_.contiguous();
  const std::int64_t N = images.size(0), C = images.size(1), plane = images.size(2), out = y.size(1);
  ReadGradients result;
  in_read_type(images.scalar_type(), [&]<class T>() {
    const T* const from = g.data<T>();
    if (of_images) {
      const Tensor sums = zeros(images.sizes(), images.options());
      // A task has planes of its own, and goes through the places of their image for a few of them at a time.
      parallel_for(0, N * C, std::max<std::int64_t>(1, kReadingWork / out), [&, to = sums.data<T>()](std::int64_t first, std::int64_t stop) {
        for (std::int64_t p = first, count = 0; p < stop; p += count) {
          const std::int64_t n = p / C;
          count = std::min({kChannelsTogether, stop - p, (n + 1) * C - p});
          reading_table<T>().give_back({y.data<T>() + n * out, x.data<T>() + n * out, out, height, plane / height, count, out}, from + p * out, to + p * plane);
        }
      });
      std::get<0>(result) = sums;
    }
    if (of_places) {
      const Tensor of_y = zeros(y.sizes(), y.options()), of_x = zeros(x.sizes(), x.options());
      for_places<T>(y, x, images, height, [&](const kernels::Reading<T>& places, std::int64_t at, std::int64_t first_plane) {
        const std::int64_t o = at / out / C * out + at % out;
        reading_table<T>().slopes(places, images.data<T>() + first_plane * plane, from + at, of_y.data<T>() + o, of_x.data<T>() + o);
      });
      std::get<1>(result) = of_y;
      std::get<2>(result) = of_x;
    }
  });
  return result;
}

class ReadBilinearNode : public Node {
 public:
  ReadBilinearNode(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height) : images_(images, false), y_(y, false), x_(x, false), height_(height) {}
  std::string name() const override { return detail::node_name(op::read_bilinear.name()); }

  variable_list apply(variable_list&& grads) override {
    variable_list result(3);
    if (!grads[0].defined()) return result;
    const Tensor images = images_.unpack(*this), y = y_.unpack(*this), x = x_.unpack(*this);
    const bool of_images = next_edge(0).is_valid(), of_places = next_edge(1).is_valid() || next_edge(2).is_valid();
    std::tie(result[0], result[1], result[2]) = is_recording() ? read_bilinear_backward_composed(grads[0], images, y, x, height_, of_images, of_places) : read_bilinear_backward_op(grads[0], images, y, x, height_, of_images, of_places);
    for (std::size_t i = 0; i < 3; ++i)
      if (!next_edge(i).is_valid()) result[i] = Tensor();
    return result;
  }
  void release_variables() override {
    for (SavedVariable* saved : {&images_, &y_, &x_}) saved->reset();
  }

 private:
  SavedVariable images_, y_, x_;
  std::int64_t height_;
};

Tensor read_bilinear_recorded(const Tensor& images, const Tensor& y, const Tensor& x, std::int64_t height) {
  const bool records = is_recording() && (detail::needs_grad(images) || detail::needs_grad(y) || detail::needs_grad(x));
  const auto node = records ? make_node<ReadBilinearNode>(images, y, x, height) : nullptr;
  if (records)
    for (const Tensor& input : {images, y, x}) detail::append_edges(*node, input);
  const ExcludeLayersGuard guard(Layer::Autograd);
  const Tensor result = op::read_bilinear(images, y, x, height);
  if (records) set_history(result, node);
  return result;
}
}  // namespace

// %%
//| export kernels/reading.cpp
//| registers
void register_tuned_reading() {
  op::grid_places.set(Layer::TunedCPU, grid_places_tuned);
  op::read_bilinear.set(Layer::TunedCPU, read_bilinear_tuned);
  op::read_nearest.set(Layer::TunedCPU, read_nearest_tuned);
  read_bilinear_backward_op.set(Layer::TunedCPU, read_bilinear_backward_tuned);
  kernels::fused_recording<op::read_bilinear>(read_bilinear_recorded);
}

// %%
TEST_CASE("grid_sample: as the reference for each padding, with places outside, shared, and not finite; all gradients, and the same bits for any number of threads") {
  manual_seed(551);
  for (const ScalarType type : {kFloat, kDouble}) {
    const double tolerance = type == kFloat ? 2e-4 : 1e-11;
    for (const auto& [N, C, H, W, out] : std::vector<std::array<std::int64_t, 5>>{{2, 3, 5, 7, 4}, {1, 1, 1, 1, 3}, {3, 20, 17, 9, 19}, {2, 8, 40, 40, 33}}) {
      CAPTURE(C);
      const Tensor image = randn({N, C, H, W}, type), grid = rand({N, out, out, 2}, type) * 2.6 - 1.3, g = randn({N, C, out, out}, type);
      for (const std::int64_t padding : {0, 1, 2}) {
        CAPTURE(padding);
        const auto results = [&] {
          const Tensor a = image.clone().requires_grad_(), b = grid.clone().requires_grad_();
          const Tensor y = grid_sampler(a, b, 0, padding, false);
          y.backward(g);
          return std::vector<Tensor>{y.detach(), a.grad(), b.grad()};
        };
        const std::vector<Tensor> expected = by_reference(results);
        for_each_capability([&] {
          const std::vector<Tensor> tuned = results();
          for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_CLOSE(tuned[i], expected[i], tolerance, tolerance);
        });
        const std::vector<Tensor> alone = with_threads(1, results), together = with_threads(3, results);
        for (std::size_t i = 0; i < alone.size(); ++i) CHECK_EQ(together[i], alone[i]);
      }
    }
  }
  // Far away, nowhere, and beside a pixel that is infinite.
  Tensor grid = zeros({1, 1, 4, 2});
  grid[0][0][1] = tensor({1e30, 0.0});
  grid[0][0][2] = tensor({std::numeric_limits<double>::quiet_NaN(), 0.0}).to(kFloat);
  grid[0][0][3] = tensor({-5.0, 0.0});
  const Tensor image = ones({1, 2, 4, 4});
  image[0][0][0][0] = std::numeric_limits<float>::infinity();
  const Tensor expected = by_reference([&] { return grid_sampler(image, grid, 0, 0, false); });
  for_each_capability([&] { CHECK_CLOSE(grid_sampler(image, grid, 0, 0, false), expected, 0, 0); });
}

TEST_CASE("grid_sample: the nearest pixels, as the reference's to the bit, with halves between two of them and places outside") {
  manual_seed(557);
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  for (const ScalarType type : {kFloat, kDouble})
    for (const std::int64_t C : {1, 3, 19})
      for (const std::int64_t out : {1, 15, 16, 300}) {
        CAPTURE(C);
        CAPTURE(out);
        const Tensor images = randn({2, C, 7 * 5}, type), y = rand({2, out}, type) * 10 - 2, x = (rand({2, out}, type) * 16).floor() / 2 - 2;
        images.view({-1})[3].fill_(nan);
        images.view({-1})[12].fill_(infinity);
        std::int64_t at = 0;
        for (const double odd : {nan, infinity, -infinity, 1e20, 6.5, -0.5, 2.5}) y.view({-1})[at++ % y.numel()].fill_(odd);
        const auto pixels = [&] { return op::read_nearest(images, y, x, 7).nan_to_num(-77, 99, -99); };
        const Tensor expected = by_reference(pixels);
        for_each_capability([&] { CHECK_EQ(pixels(), expected); });
        CHECK_EQ(with_threads(3, pixels), expected);
      }
  // Rows 1 and 2 are as near to 1.5, and 2 is even; column -0.5 is column 0.
  const Tensor image = arange(12.0).view({1, 1, 12});
  for_each_capability([&] { CHECK_EQ(op::read_nearest(image, tensor({{1.5, 0.5, 2.6}}).to(kFloat), tensor({{-0.5, 2.5, 0.0}}).to(kFloat), 3), tensor({{{8.0, 2.0, 0.0}}}).to(kFloat)); });
  // A view, of which nobody wants a gradient, gets the kernel too: the grid's numbers are exact, so both round the same.
  const Tensor view = randn({2, 3, 35}).view({2, 3, 7, 5}), halves = (rand({2, 6, 6, 2}) * 8).floor() / 4 - 1;
  CHECK_EQ(grid_sampler(view, halves.view({2, 6, 6, 2}), 1, 2, true), by_reference([&] { return grid_sampler(view, halves, 1, 2, true); }));
  // With gradients it is composed.
  const Tensor leaf = randn({1, 2, 6, 5}).requires_grad_(), grid = rand({1, 4, 4, 2}) * 2 - 1, g = randn({1, 2, 4, 4});
  const auto slope = [&] { return autograd::grad({grid_sampler(leaf, grid, 1, 1, false)}, {leaf}, {g})[0]; };
  CHECK_EQ(slope(), by_reference(slope));
}

TEST_CASE("grid_sample: where a grid's places are, as the reference for each padding and size, and the same bits for any number of threads") {
  manual_seed(556);
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  for (const ScalarType type : {kFloat, kDouble})
    for (const DimVector& spatial : {DimVector{4, 5}, DimVector{1, 1}, DimVector{1, 33}, DimVector{64, 3}})
      for (const std::int64_t out : {1, 7, 16, 130}) {
        CAPTURE(spatial);
        CAPTURE(out);
        const Tensor grid = rand({3, out, out, 2}, type) * 9 - 4.5;
        std::int64_t at = 0;
        for (const double odd : {nan, infinity, -infinity, -1.0, 1.0, 1e9, -1e9, 0.0, -3.0, 3.0}) grid.view({-1})[at++ % grid.numel()].fill_(odd);
        for (const std::int64_t padding : {0, 1, 2})
          for (const bool align_corners : {false, true}) {
            const auto places = [&] { return op::grid_places(grid, spatial, padding, align_corners); };
            const std::vector<Tensor> expected = by_reference(places), alone = with_threads(1, places), together = with_threads(3, places);
            for_each_capability([&] {
              const std::vector<Tensor> tuned = places();
              for (std::size_t d = 0; d < 2; ++d) {
                CHECK_EQ(tuned[d].sizes(), IntArrayRef({3, out * out}));
                CHECK_CLOSE(tuned[d], expected[d], type == kFloat ? 1e-5 : 1e-13, type == kFloat ? 1e-4 : 1e-12);
              }
            });
            for (std::size_t d = 0; d < 2; ++d) CHECK_EQ(together[d].nan_to_num(-77), alone[d].nan_to_num(-77));
          }
      }
  // A grid that lies by columns, and one that is turned around.
  const Tensor columns = rand({2, 2, 5, 6}).permute({0, 2, 3, 1});
  for (const Tensor& grid : {columns, columns.flip({3})}) {
    const std::vector<Tensor> tuned = op::grid_places(grid, {8, 9}, 1, false), expected = by_reference([&, places = grid] { return op::grid_places(places, {8, 9}, 1, false); });
    for (std::size_t d = 0; d < 2; ++d) CHECK_CLOSE(tuned[d], expected[d], 1e-6, 1e-6);
  }
}

TEST_CASE("grid_sample: only the gradients that are asked for, of many channels and of places in several parts") {
  manual_seed(554);
  for (const ScalarType type : {kFloat, kDouble}) {
    const double tolerance = type == kFloat ? 1e-3 : 1e-11;
    // 19 x 19 places are two parts of 256 and less; 37 channels are taken 16 at a time.
    const Tensor image = randn({2, 37, 6, 5}, type), grid = rand({2, 19, 19, 2}, type) * 2.4 - 1.2, g = randn({2, 37, 19, 19}, type);
    for (const auto& [of_image, of_grid] : {std::pair(true, false), std::pair(false, true), std::pair(true, true)}) {
      const auto gradients = [&, wanted = of_image, placed = of_grid] {
        const Tensor a = image.clone().requires_grad_(wanted), b = grid.clone().requires_grad_(placed);
        grid_sampler(a, b, 0, 0, false).backward(g);
        CHECK_EQ(a.grad().defined(), wanted);
        CHECK_EQ(b.grad().defined(), placed);
        return std::pair(wanted ? a.grad() : zeros({}), placed ? b.grad() : zeros({}));
      };
      const std::pair<Tensor, Tensor> expected = by_reference(gradients);
      for_each_capability([&] {
        const std::pair<Tensor, Tensor> tuned = gradients();
        CHECK_CLOSE(tuned.first, expected.first, tolerance, tolerance);
        CHECK_CLOSE(tuned.second, expected.second, tolerance, tolerance);
      });
      const std::pair<Tensor, Tensor> alone = with_threads(1, gradients), together = with_threads(3, gradients);
      CHECK_EQ(together.first, alone.first);
      CHECK_EQ(together.second, alone.second);
    }
  }
  // A gradient that is infinite reaches its own pixels and no pixel for places outside.
  const Tensor image = ones({1, 1, 3, 3}).requires_grad_(), places = tensor({-5.0, 0.0, 1.0, 1.0}).to(kFloat).view({1, 1, 2, 2});
  const Tensor g = full({1, 1, 1, 2}, std::numeric_limits<double>::infinity());
  for_each_capability([&] {
    const Tensor slope = autograd::grad({grid_sampler(image, places, 0, 0, true)}, {image}, {g})[0].flatten();
    CHECK_EQ(slope.slice(0, 0, 8), zeros({8}));
    CHECK_EQ(slope[8].item<double>(), std::numeric_limits<double>::infinity());
  });
}

TEST_CASE("grid_sample: gradients of the second order are what small changes do") {
  manual_seed(553);
  const Tensor image = randn({1, 2, 4, 5}, kDouble), places = rand({1, 3, 2, 2}, kDouble) * 1.2 - 0.6, direction = randn({1, 2, 4, 5}, kDouble), weights = randn({1, 2, 3, 2}, kDouble);
  const auto slope = [&](const Tensor& at, bool record) {
    const Tensor leaf = places.clone().requires_grad_();
    const Tensor source = record ? at.clone().requires_grad_() : at;
    const Tensor y = grid_sampler(source, leaf, 0, 0, false);
    return std::pair(source, autograd::grad({(y * weights).sum()}, {leaf}, {}, std::nullopt, record)[0]);
  };
  const auto [source, first] = slope(image, true);
  const Tensor towards = randn({1, 3, 2, 2}, kDouble);
  const Tensor second = autograd::grad({(first * towards).sum()}, {source})[0];
  const double step = 1e-5;
  CHECK_CLOSE((second * direction).sum(), ((slope(image + direction * step, false).second - slope(image - direction * step, false).second) * towards).sum() / (2 * step), 1e-6, 1e-7);
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
  std::printf("memory gives one thread %.1f GB/s\n", kernels::machine_peaks().bytes_per_second * 1e-9);
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
