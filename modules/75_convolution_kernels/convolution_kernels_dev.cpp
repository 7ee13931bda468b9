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
// # Library chapter 75: Convolution kernels
//
// Module 09 makes a convolution a product: `weight (O, C kH kW) x columns (C kH kW, places)`. The columns hold each pixel up to `kH kW` times; writing and reading them takes longer than the product itself once that is fast. Module 16's product copies its operand into panels anyway, so this chapter
// leaves the columns out and packs the panels from the image:
//
//     image  -- copy_windows -->  columns  -- pack -->  panels  -->  tiles            module 09 on module 16's mm
//     image  -------------------- pack_gathered ----->  panels  -->  tiles            here
//
// What makes it short is how simply a column is found: element (k, p) of the columns lies at `image + where(k) + where(p)`, one number for the channel and place in the kernel, one for the window's corner, whatever stride, dilation and dimensions are. So two tables of offsets describe any convolution. The
// gradients are products of the same kind, with the tables' roles exchanged.

// %%
//| after 16
//| export kernels/gathered_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/convolution.cpp
#include <algorithm>
#include <cstdint>
#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <vector>
#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/gathered_kernels.h"
#include "tinytorch/kernels/gemm.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/conv.h"
#include "tinytorch/nn/image_checks.h"
#include "tinytorch/nn/windows.h"

// %%
//| export kernels/gathered.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/highway.h>
#include "tinytorch/kernels/gathered_kernels.h"

// %%
#include <cstdio>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/conv.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Packing by tables
//
// A line of a panel takes the pixels under one number of the kernel, for neighbouring windows. Neighbouring windows are neighbouring pixels as long as they are in one row of the image (stride 1), so a line is a few *runs*, which are found once for a panel and copied a vector at a time. A copy may write beyond its
// run: the next run, or the next line, overwrites that. It must not read beyond the image, so near its end it goes one by one.
//
//     windows of the panel:   p0 p1 p2 p3 p4 | p5 p6 p7        two runs: the rest of one image row, the beginning of the next
//     line k of the panel:    image[where(k) + where(p0)] ...  one vector copy for each run

// %%
//| export kernels/gathered_kernels.h
namespace kernels {

template <class T>
struct GatherTable {
  // to[k * width + j] = from[k_offsets[k] + offsets[j]] for j < count, and 0 for count <= j < width. No number at or behind `end` is read; `to` has room for 16 numbers more than width * K. REQUIRES: count <= width <= 64.
  void (*pack_gathered)(T* to, int width, const T* from, const T* end, const std::int64_t* k_offsets, const std::int64_t* offsets, int count, std::int64_t K);
};

struct GatherKernels {
  GatherTable<float> in_float;
  GatherTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(GatherKernels, gather_kernels)

}  // namespace kernels

// %%
//| export kernels/gathered.simd.cpp
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

// %% [markdown]
// ## A product with a gathered operand
//
// `out (M, N) = a (M, K) x b (K, N)`, where b is gathered, and a is packed once, before, because every task needs all of it (weights), or is packed along (gradients). A task owns some panels of columns and all rows; K runs in the same blocks as in module 16, in order, so the bits do not depend on threads.

// %%
//| export kernels/convolution.cpp
namespace {
template <class T>
const kernels::GatherTable<T>& gather_table() {
  using namespace kernels;
  static constexpr const GatherKernels* tables[] = TINYTORCH_PER_CAPABILITY(gather_kernels);
  const GatherKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

// Numbers that are not initialised, aligned to cache lines.
template <class T>
class Panels {
 public:
  explicit Panels(std::int64_t count) : memory_(static_cast<T*>(::operator new((static_cast<std::size_t>(count) + 16) * sizeof(T), std::align_val_t{64}))) {}
  ~Panels() { ::operator delete(memory_, std::align_val_t{64}); }
  Panels(const Panels&) = delete;
  Panels& operator=(const Panels&) = delete;
  T* at(std::int64_t i) const { return memory_ + i; }

 private:
  T* memory_;
};

using Offsets = std::vector<std::int64_t>;

std::int64_t pieces_of(std::int64_t size, std::int64_t most) { return (size + most - 1) / most; }

// Piece `piece` of `size` in `pieces`, as evenly as whole numbers allow.
struct Piece {
  Piece(std::int64_t size, std::int64_t pieces, std::int64_t piece) : first(size * piece / pieces), count(size * (piece + 1) / pieces - first) {}
  std::int64_t first, count;
};

// Offsets of all places of a grid of `sizes`, `steps[d]` apart in a dense block of `spatial` sizes, in row-major order.
Offsets grid_offsets(IntArrayRef sizes, IntArrayRef steps, IntArrayRef spatial) {
  Offsets offsets{0};
  std::int64_t stride = 1;
  DimVector strides(spatial.size());
  for (std::size_t d = spatial.size(); d-- > 0; stride *= spatial[d]) strides[d] = stride;
  for (std::size_t d = 0; d < sizes.size(); ++d) {
    Offsets finer;
    for (const std::int64_t offset : offsets)
      for (std::int64_t i = 0; i < sizes[d]; ++i) finer.push_back(offset + i * steps[d] * strides[d]);
    offsets = std::move(finer);
  }
  return offsets;
}

// All sums of an outer and an inner offset, the inner one running faster.
Offsets outer_sums(std::int64_t outer_count, std::int64_t outer_step, const Offsets& inner) {
  Offsets sums;
  sums.reserve(static_cast<std::size_t>(outer_count) * inner.size());
  for (std::int64_t i = 0; i < outer_count; ++i)
    for (const std::int64_t offset : inner) sums.push_back(i * outer_step + offset);
  return sums;
}

// The left operand in panels for every block of K: (M, K), element (i, k) is data[i * row + k_offsets[k]].
template <class T>
struct PackedRows {
  PackedRows(const kernels::GemmTable<T>& tile_table, std::int64_t rows, std::int64_t columns, std::int64_t most_k)
      : table(tile_table), M(rows), K(columns), k_pieces(pieces_of(columns, most_k)), row_pieces(pieces_of(rows, tile_table.rows)), panels(rows * columns) {}

  void pack(const T* data, std::int64_t row, const Offsets& k_offsets) {
    kernels::run_tasks(k_pieces, [&](std::int64_t piece) {
      const Piece block(K, k_pieces, piece);
      // Offsets that follow each other are a contiguous line.
      for (std::int64_t k = block.first, next = k; k < block.first + block.count; k = next) {
        for (++next; next < block.first + block.count && k_offsets[static_cast<std::size_t>(next)] == k_offsets[static_cast<std::size_t>(next - 1)] + 1;) ++next;
        for (std::int64_t r = 0; r < row_pieces; ++r) {
          const Piece rows(M, row_pieces, r);
          T* const to = panels.at(M * block.first + rows.first * block.count + (k - block.first) * rows.count);
          const int count = static_cast<int>(rows.count);
          table.pack(to, count, data + rows.first * row + k_offsets[static_cast<std::size_t>(k)], row, 1, count, next - k);
        }
      }
    });
  }

  const kernels::GemmTable<T>& table;
  std::int64_t M, K, k_pieces, row_pieces;
  Panels<T> panels;
};

// Columns [first, first + count) of out (M, N) = a x b, where b's element (k, j) is b[k_offsets[k] + offsets[j]].
template <class T>
void multiply_gathered(const PackedRows<T>& a, const T* b, const T* b_end, const Offsets& k_offsets, const Offsets& offsets, std::int64_t first, std::int64_t count, T* out, std::int64_t out_row) {
  const kernels::GemmTable<T>& table = a.table;
  const std::int64_t width = table.columns;
  const std::int64_t strips = pieces_of(count, width);
  const std::int64_t longest = pieces_of(a.K, a.k_pieces);
  const Panels<T> panels(strips * width * longest);
  for (std::int64_t piece = 0; piece < a.k_pieces; ++piece) {
    const Piece block(a.K, a.k_pieces, piece);
    for (std::int64_t s = 0; s < strips; ++s) {
      const int columns = static_cast<int>(std::min(width, count - s * width));
      gather_table<T>().pack_gathered(panels.at(s * width * block.count), table.columns, b, b_end, k_offsets.data() + block.first, offsets.data() + first + s * width, columns, block.count);
    }
    for (std::int64_t r = 0; r < a.row_pieces; ++r) {
      const Piece rows(a.M, a.row_pieces, r);
      for (std::int64_t s = 0; s < strips; ++s) {
        T* const place = out + rows.first * out_row + first + s * width;
        const kernels::Tile<T> tile{a.panels.at(a.M * block.first + rows.first * block.count), 1, rows.count, panels.at(s * width * block.count), width, block.count, place, out_row,
                                    piece == 0 ? nullptr : place, out_row, T{1}, T{1}};
        table.tile(tile, static_cast<int>(rows.count), static_cast<int>(std::min(width, count - s * width)), true);
      }
    }
  }
}

template <class T>
std::int64_t longest_block(const kernels::GemmTable<T>& table) {
  return kernels::block_sizes(kernels::cache_sizes(), sizeof(T), table.rows, table.columns).K;
}
}  // namespace

// %% [markdown]
// ## The three maps
//
// - **Forward**: for each image and group, weights (M, K) times gathered pixels (K, L).
// - **Gradient of the input**, stride 1: again a forward convolution, of the output's gradient with zeros around it, with the kernel turned around and input and output channels exchanged. With other strides the windows overlap irregularly, and module 09's way (a product, then `add_windows`) is used, on the fast `mm`.
// - **Gradient of the weight**: the output's gradient (M, N L) times gathered pixels (N L, K): the sum over images and places is the inner dimension of one product.
//
// Integers, Half and empty results are handed down to the reference.

// %%
//| export kernels/convolution.cpp
namespace {
// Whether these kernels do it: float or double, and something to do.
bool takes(const Tensor& self, const Tensor& other) {
  const ScalarType type = self.scalar_type();
  return (type == kFloat || type == kDouble) && other.scalar_type() == type && self.numel() > 0 && other.numel() > 0;
}

// y (N, G M, places) = the windows of x (N, G C, spatial), which has its padding already, times weights w, of which element (m, c, v) of group g is
// w[g * w_group + m * w_row + c * w_channel + v_offsets[v]].
template <class T>
void convolve(const Tensor& x, std::int64_t G, std::int64_t M, const T* w, std::int64_t w_group, std::int64_t w_row, std::int64_t w_channel, const Offsets& v_offsets,
              const Offsets& kernel_offsets, const Offsets& places, T* y) {
  const kernels::GemmTable<T>& table = kernels::gemm_table<T>();
  const std::int64_t N = x.size(0), C = x.size(1) / G, L = static_cast<std::int64_t>(places.size());
  const std::int64_t channel = multiply_sizes(spatial_sizes(x.sizes()));
  const Offsets w_offsets = outer_sums(C, w_channel, v_offsets);
  const Offsets k_offsets = outer_sums(C, channel, kernel_offsets);
  std::vector<std::unique_ptr<PackedRows<T>>> weights;
  for (std::int64_t g = 0; g < G; ++g) {
    weights.push_back(std::make_unique<PackedRows<T>>(table, M, static_cast<std::int64_t>(k_offsets.size()), longest_block(table)));
    weights.back()->pack(w + g * w_group, w_row, w_offsets);
  }
  // A task: some panels of one image and group.
  const std::int64_t strips = pieces_of(L, table.columns);
  const std::int64_t pieces = pieces_of(strips, 8);
  const T* const data = x.data<T>();
  kernels::run_tasks(N * G * pieces, [&](std::int64_t task) {
    const std::int64_t image = task / pieces, g = image % G;
    const Piece piece(strips, pieces, task % pieces);
    const std::int64_t first = piece.first * table.columns;
    multiply_gathered(*weights[static_cast<std::size_t>(g)], data + image * C * channel, data + x.numel(), k_offsets, places, first, std::min(L - first, piece.count * table.columns),
                      y + image * M * L, L);
  });
}

struct Shapes {
  Shapes(IntArrayRef input, IntArrayRef weight, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups)
      : grid{spatial_sizes(weight), stride, padding, dilation}, places(places_of(grid, spatial_sizes(input))), G(groups), N(input[0]), M(weight[0] / groups), C(weight[1]), V(multiply_sizes(grid.kernel)) {
    for (std::size_t d = 0; d < padding.size(); ++d) padded.push_back(spatial_sizes(input)[d] + 2 * padding[d]);
  }
  DimVector output_sizes() const {
    DimVector sizes{N, G * M};
    for (const std::int64_t size : places) sizes.push_back(size);
    return sizes;
  }
  WindowGrid grid;
  DimVector places, padded;
  std::int64_t G, N, M, C, V;
};

Offsets counted(std::int64_t count, bool turned) {
  Offsets offsets;
  for (std::int64_t i = 0; i < count; ++i) offsets.push_back(turned ? count - 1 - i : i);
  return offsets;
}

template <class F>
Tensor in_type(ScalarType type, F f) {
  return type == kFloat ? f.template operator()<float>() : f.template operator()<double>();
}

Tensor convolution_tuned(const Tensor& input, const Tensor& weight, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups) {
  const ExcludeLayersGuard below(LayerSet(Layer::Autograd) | Layer::InplaceOrView);
  if (!takes(input, weight)) return op::convolution.function(Layer::CPU)(input, weight, stride, padding, dilation, groups);
  const Shapes s(input.sizes(), weight.sizes(), stride, padding, dilation, groups);
  const Tensor x = surrounded(input, padding).contiguous(), w = weight.contiguous();
  const Tensor result = empty(s.output_sizes(), input.scalar_type());
  return in_type(input.scalar_type(), [&]<class T>() {
    const Offsets kernel = grid_offsets(s.grid.kernel, dilation, s.padded);
    convolve<T>(x, s.G, s.M, w.data<T>(), s.M * s.C * s.V, s.C * s.V, s.V, counted(s.V, false), kernel, grid_offsets(s.places, stride, s.padded), result.data<T>());
    return result;
  });
}

Tensor convolution_input_tuned(const Tensor& grad, const Tensor& weight, IntArrayRef input_sizes, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups) {
  const ExcludeLayersGuard below(LayerSet(Layer::Autograd) | Layer::InplaceOrView);
  DimVector around;
  bool ours = takes(grad, weight);
  for (std::size_t d = 0; d < stride.size(); ++d) {
    around.push_back((spatial_sizes(weight.sizes())[d] - 1) * dilation[d] - padding[d]);
    ours = ours && stride[d] == 1 && around[d] >= 0;
  }
  if (!ours) return op::convolution_input.function(Layer::CPU)(grad, weight, input_sizes, stride, padding, dilation, groups);
  const Shapes s(input_sizes, weight.sizes(), stride, padding, dilation, groups);
  const Tensor y = surrounded(grad, around).contiguous(), w = weight.contiguous();
  const Tensor result = empty(input_sizes, grad.scalar_type());
  return in_type(grad.scalar_type(), [&]<class T>() {
    const IntArrayRef wide = spatial_sizes(y.sizes());
    // Element (c, m, v) of the turned weights is w[m][c][V - 1 - v].
    convolve<T>(y, s.G, s.C, w.data<T>(), s.M * s.C * s.V, s.V, s.C * s.V, counted(s.V, true), grid_offsets(s.grid.kernel, dilation, wide),
                grid_offsets(spatial_sizes(input_sizes), stride, wide), result.data<T>());
    return result;
  });
}

Tensor convolution_weight_tuned(const Tensor& input, const Tensor& grad, IntArrayRef weight_sizes, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, std::int64_t groups) {
  const ExcludeLayersGuard below(LayerSet(Layer::Autograd) | Layer::InplaceOrView);
  if (!takes(input, grad)) return op::convolution_weight.function(Layer::CPU)(input, grad, weight_sizes, stride, padding, dilation, groups);
  const Shapes s(input.sizes(), weight_sizes, stride, padding, dilation, groups);
  const Tensor x = surrounded(input, padding).contiguous(), y = grad.contiguous();
  const Tensor result = empty(weight_sizes, input.scalar_type());
  return in_type(input.scalar_type(), [&]<class T>() {
    const kernels::GemmTable<T>& table = kernels::gemm_table<T>();
    const std::int64_t L = multiply_sizes(s.places), channel = multiply_sizes(s.padded), K = s.C * s.V;
    const Offsets places = grid_offsets(s.places, stride, s.padded);
    const Offsets columns = outer_sums(s.C, channel, grid_offsets(s.grid.kernel, dilation, s.padded));
    const Offsets inner = outer_sums(s.N, s.G * s.C * channel, places);                      // (n, place) in x
    const Offsets grad_inner = outer_sums(s.N, s.G * s.M * L, counted(L, false));  // (n, place) in y
    const std::int64_t strips = pieces_of(K, table.columns);
    const std::int64_t pieces = pieces_of(strips, 2);
    for (std::int64_t g = 0; g < s.G; ++g) {
      PackedRows<T> rows(table, s.M, s.N * L, longest_block(table));
      rows.pack(y.data<T>() + g * s.M * L, L, grad_inner);
      kernels::run_tasks(pieces, [&](std::int64_t task) {
        const Piece piece(strips, pieces, task);
        const std::int64_t first = piece.first * table.columns;
        multiply_gathered(rows, x.data<T>() + g * s.C * channel, x.data<T>() + x.numel(), inner, columns, first, std::min(K - first, piece.count * table.columns), result.data<T>() + g * s.M * K, K);
      });
    }
    return result;
  });
}
}  // namespace

// %%
//| export kernels/convolution.cpp
//| registers
void register_tuned_convolution() {
  op::convolution.set(Layer::TunedCPU, convolution_tuned);
  op::convolution_input.set(Layer::TunedCPU, convolution_input_tuned);
  op::convolution_weight.set(Layer::TunedCPU, convolution_weight_tuned);
}

// %%
//| lesson
struct Setting {
  DimVector input, weight, stride, padding, dilation;
  std::int64_t groups = 1;
};

std::vector<Setting> settings() {
  return {{{2, 3, 5, 6}, {4, 3, 3, 2}, {1, 1}, {0, 0}, {1, 1}, 1},     {{3, 2, 9, 8}, {5, 2, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1},     {{2, 4, 12, 11}, {6, 2, 3, 3}, {2, 1}, {1, 2}, {1, 1}, 2},
          {{1, 2, 13, 14}, {3, 2, 3, 4}, {3, 2}, {2, 0}, {2, 1}, 1},    {{2, 3, 20}, {4, 3, 5}, {1}, {2}, {2}, 1},                     {{1, 2, 5, 6, 7}, {3, 2, 2, 3, 2}, {1, 1, 1}, {1, 0, 1}, {1, 1, 1}, 1},
          {{2, 40, 10, 10}, {50, 40, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 1}, {{1, 6, 7, 7}, {6, 1, 3, 3}, {1, 1}, {1, 1}, {1, 1}, 6},       {{2, 3, 4, 4}, {4, 3, 1, 1}, {1, 1}, {2, 2}, {1, 1}, 1}};
}

// Result and both gradients for whole numbers, which every order of summing gives exactly.
std::vector<Tensor> maps(const Setting& s, ScalarType type) {
  const auto numbers = [&](IntArrayRef sizes, std::int64_t period) { return (arange(multiply_sizes(sizes)).remainder(period) - period / 2).to(type).view(sizes); };
  const Tensor x = numbers(s.input, 7), w = numbers(s.weight, 5);
  const Tensor y = op::convolution(x, w, s.stride, s.padding, s.dilation, s.groups);
  const Tensor g = numbers(y.sizes(), 3);
  return {y, op::convolution_input(g, w, s.input, s.stride, s.padding, s.dilation, s.groups), op::convolution_weight(x, g, s.weight, s.stride, s.padding, s.dilation, s.groups)};
}

// %%
TEST_CASE("tuned convolution gives what the reference gives, forward and backward") {
  for (const Setting& setting : settings()) {
    CAPTURE(setting.weight);
    for (const ScalarType type : {kFloat, kDouble, kLong}) {
      const std::vector<Tensor> expected = [&] {
        const kernels::ReferenceKernelsGuard reference;
        return maps(setting, type);
      }();
      for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
        const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
        const std::vector<Tensor> tuned = maps(setting, type);
        for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_EQ(tuned[i], expected[i]);
      }
    }
  }
}

TEST_CASE("tuned convolution: inputs of any strides, nothing read behind the last pixel, the same bits for any number of threads") {
  manual_seed(75);
  const Tensor x = randn({3, 10, 12, 8}).permute({0, 3, 1, 2}), w = randn({8, 3, 3, 5}).permute({3, 0, 1, 2});
  const auto result = [&] { return op::convolution(x, w, {1, 1}, {1, 1}, {1, 1}, 1); };
  const int before = get_num_threads();
  set_num_threads(1);
  const Tensor alone = result();
  set_num_threads(3);
  CHECK_EQ(result(), alone);
  set_num_threads(before);
  CHECK_CLOSE(alone, [&] {
    const kernels::ReferenceKernelsGuard reference;
    return result();
  }(), 1e-5, 1e-5);
  // An input that ends where its memory ends, for the address sanitizer.
  const Tensor exact = ones({1, 1, 7, 7});
  CHECK_EQ(op::convolution(exact, ones({2, 1, 3, 3}), {1, 1}, {0, 0}, {1, 1}, 1), full({1, 2, 5, 5}, 9.0));
}

// %%
DEMO("convolution 3 x 3, forward and backward: reference and tuned") {
  const Tensor x = rand({4, 32, 28, 28}), w = rand({32, 32, 3, 3}), g = rand({4, 32, 28, 28});
  const auto time = [&] {
    const double forward = measure([&] { do_not_optimize(op::convolution(x, w, {1, 1}, {1, 1}, {1, 1}, 1)); }, {.samples = 3}).minimum;
    const double input = measure([&] { do_not_optimize(op::convolution_input(g, w, x.sizes(), {1, 1}, {1, 1}, {1, 1}, 1)); }, {.samples = 3}).minimum;
    const double weight = measure([&] { do_not_optimize(op::convolution_weight(x, g, w.sizes(), {1, 1}, {1, 1}, {1, 1}, 1)); }, {.samples = 3}).minimum;
    const double operations = 2.0 * 4 * 32 * 32 * 9 * 28 * 28;
    std::printf("forward %8.2f   input %8.2f   weight %8.2f GFLOP/s\n", operations / forward * 1e-9, operations / input * 1e-9, operations / weight * 1e-9);
  };
  time();
  const kernels::ReferenceKernelsGuard reference;
  time();
}

// %% [markdown]
// ## Where to read on
//
// oneDNN, which PyTorch calls for convolutions on CPUs, generates kernels for the very shape at hand, with channels in blocks of 16 so that every line of a panel is one run: `src/cpu/x64/jit_brgemm_conv.cpp`. For 3 x 3 kernels Winograd's algorithm needs 2.25 times fewer multiplications
// (`src/cpu/x64/wino_reorder.cpp`), at some cost in accuracy; it is not done here. PyTorch's own fallback makes columns, as module 09 does: `aten/src/ATen/native/ConvolutionMM2d.cpp`.

// %%
}  // namespace tinytorch
