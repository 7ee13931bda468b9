// From the lesson modules/75_convolution_kernels/convolution_kernels_dev.cpp:
// edit the module, not this file.

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

namespace tinytorch {

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

void register_tuned_convolution() {
  op::convolution.set(Layer::TunedCPU, convolution_tuned);
  op::convolution_input.set(Layer::TunedCPU, convolution_input_tuned);
  op::convolution_weight.set(Layer::TunedCPU, convolution_weight_tuned);
}

}  // namespace tinytorch
