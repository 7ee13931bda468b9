// From the lesson modules/62_product_ways/product_ways_dev.cpp:
// edit the module, not this file.

#include "tinytorch/kernels/product_ways.h"

#include <algorithm>
#include <cstdint>
#include <numeric>

#include "tinytorch/core/matrix_ops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/product-inl.h"

namespace tinytorch {

template <>
const kernels::ShapeTable<float>& kernels::shape_table<float>() {
  static constexpr const ShapeKernels* tables[] = TINYTORCH_PER_CAPABILITY(shape_kernels);
  return for_capability(tables).in_float;
}
template <>
const kernels::ShapeTable<double>& kernels::shape_table<double>() {
  static constexpr const ShapeKernels* tables[] = TINYTORCH_PER_CAPABILITY(shape_kernels);
  return for_capability(tables).in_double;
}

namespace kernels {
namespace {
// One row times a matrix with contiguous lines: pieces of the row are tasks.
template <class T>
void multiply_row(const Product<T>& p) {
  const ShapeTable<T>& shapes = shape_table<T>();
  run_pieces({0, p.N, parts_of(parts_of(1 << 18, p.K), 1024) * 1024}, [&](std::int64_t first, std::int64_t stop) {
    const T* const start = p.start.data == nullptr ? nullptr : p.start.data + first;
    shapes.row({p.a.data, 0, p.a.column, p.b.data + first, p.b.row, p.K, p.out + first, 0, start, 0, p.alpha, p.beta, p.activation}, stop - first);
  });
}

// How small products of one shape are computed in wide tiles, see SmallProduct: strips of columns are tasks if there is enough to do.
template <class T>
class WideProduct {
 public:
  // Whether wide tiles fill the lines of B. Tiles of three rows, which AVX2 has registers for, pay only where B stays in the first cache.
  static bool fits(const Product<T>& p, const GemmTable<T>& table) {
    return p.b.column == 1 && p.N % (2 * table.columns) == 0 && (table.rows >= 12 || p.N * p.K <= 64 * 64);
  }

  // Like `p`, of which only sizes and strides count.
  WideProduct(const Product<T>& p, const GemmTable<T>& table)
      : shapes_(shape_table<T>()), width_(2 * table.columns), k_parts_(parts_of(p.K, blocks_in_use<T>().K)), strips_(p.N / width_), row_parts_(parts_of(p.M, table.rows / 2)), blocks_(p.K, k_parts_), panels_(p.M, row_parts_) {}

  void multiply(const Product<T>& p) const {
    if (p.M * p.N * p.K < 1 << 19) {
      for (std::int64_t strip = 0; strip < strips_; ++strip) multiply_strip(p, strip, {0, row_parts_});
    } else {
      const std::int64_t pieces = std::clamp<std::int64_t>(8 / strips_, 1, parts_of(row_parts_, 2));
      run_tasks(strips_ * pieces, [&](std::int64_t task) { multiply_strip(p, task / pieces, Parts(row_parts_, pieces)[task % pieces]); });
    }
  }

 private:
  void multiply_strip(const Product<T>& p, std::int64_t strip, const Part& own) const {
    const std::int64_t j = strip * width_;
    for (std::int64_t part = 0; part < k_parts_; ++part) {
      const Part block = blocks_[part];
      for (std::int64_t r = own.first; r < own.first + own.count; ++r) {
        const Part rows = panels_[r];
        Tile<T> tile = p.tile_at(rows.first, j, block.first, block.count);
        tile.a = p.a_at(rows.first, block.first);
        tile.a_row = p.a.row;
        tile.a_k = p.a.column;
        tile.b = p.b_at(block.first, j);
        tile.b_k = p.b.row;
        shapes_.wide_tile(tile, static_cast<int>(rows.count));
      }
    }
  }

  const ShapeTable<T>& shapes_;
  std::int64_t width_, k_parts_, strips_, row_parts_;
  Parts blocks_, panels_;
};
}  // namespace
}  // namespace kernels

namespace kernels {
namespace {
// What one tile of `tiles` asks for while it multiplies K steps: its share of `rows` rows that lie `step` apart, along which K runs.
template <class T>
Wanted<T> share_of_rows(const T* from, std::int64_t step, std::int64_t rows, std::int64_t tile, std::int64_t tiles) {
  const Part share = Parts(rows, tiles)[tile];
  return {from + share.first * step, step, 64 / static_cast<std::int64_t>(sizeof(T)), static_cast<int>(share.count)};
}

// The same of K lines that lie `step` apart, each one or two lines of the cache, of which the first is asked for: processors fetch lines in pairs, and asking for both gained nothing.
template <class T>
Wanted<T> share_of_lines(const T* from, std::int64_t step, std::int64_t K, std::int64_t tile, std::int64_t tiles) {
  constexpr std::int64_t line = 64 / sizeof(T);
  const Part share = Parts(K, tiles)[tile];
  const std::int64_t count = parts_of(share.count, std::max<std::int64_t>(1, K / line));
  return {from + share.first * step, step, count * step, static_cast<int>(count)};
}

// multiply_row_of_tiles with tiles that ask for the rows below.
template <class T>
void multiply_row_of_tiles_and_ask(const BlockOfB<T>& block, const GemmTable<T>& table, const Region& region, Part rows, const T* packed_a_panel) {
  const Product<T>& p = block.p;
  const ShapeTable<T>& shapes = shape_table<T>();
  const std::int64_t tiles = parts_of(region.columns, table.columns), below = rows.first + rows.count, rows_below = std::min<std::int64_t>(table.rows, p.M - below);
  for (std::int64_t index = 0; index < tiles; ++index) {
    const std::int64_t panel = region.column / table.columns + index;
    Wanted<T> wanted;
    if (rows_below > 0 && p.a.column == 1) wanted = share_of_rows(p.a_at(below, block.k.first), p.a.row, rows_below, index, tiles);
    else if (rows_below > 0 && p.a.row == 1) wanted = share_of_lines(p.a_at(below, block.k.first), p.a.column, block.k.count, index, tiles);
    shapes.tile_and_ask(block.tile_at(rows.first, panel, packed_a_panel), static_cast<int>(rows.count), block.columns_of(panel), packed_a_panel != nullptr, wanted);
  }
}
}  // namespace
}  // namespace kernels

namespace kernels {
namespace {
// Whether a tile may read B where it lies, although it asks for lines sixteen steps ahead: lines that are `step` apart have places beside each other in two thirds of the first cache, which finds the place of a line by its address modulo a page.
template <class T>
bool lines_have_room(std::int64_t step) {
  constexpr std::int64_t page = 4096;
  return 3 * 16 * std::gcd(step * std::int64_t{sizeof(T)}, page) <= 2 * cache_sizes().first;
}

// Whether a product of few rows is computed so: where module 16 would pack B, and there are enough panels for all threads.
template <class T>
bool has_few_rows(const Product<T>& p, const GemmTable<T>& table, BlockSizes sizes) {
  const std::int64_t strips = parts_of(p.N, table.columns), threads = in_parallel_region() ? 1 : get_num_threads();
  return (p.b.column != 1 || p.M > 3 * table.rows) && p.M <= 432 && p.K <= 32 * sizes.K && strips >= 2 * threads;
}

// All of A is packed first, if need be, and who computes a panel of B's columns packs that panel too, if need be, for all of K, and uses it while it is near.
template <class T>
void multiply_few_rows(const Product<T>& p, const GemmTable<T>& table, BlockSizes sizes) {
  const ShapeTable<T>& shapes = shape_table<T>();
  const std::int64_t k_parts = parts_of(p.K, sizes.K), strips = parts_of(p.N, table.columns);
  const Parts blocks(p.K, k_parts);
  const bool packs_a = !reads_a_in_place(p, table);
  T* const a_panels = packs_a ? packed_a.room_for<T>(p.M * p.K) : nullptr;
  const std::int64_t levels = parts_of(p.M, table.rows), level_tasks = packs_a ? parts_of(levels, 4) : 0;
  run_tasks(k_parts * level_tasks, [&](std::int64_t task) {
    const Part block = blocks[task / level_tasks], own = Parts(levels, level_tasks)[task % level_tasks];
    for (std::int64_t level = own.first; level < own.first + own.count; ++level) {
      const Part rows = Parts(p.M, levels)[level];
      table.pack(a_panels + p.M * block.first + rows.first * block.count, static_cast<int>(rows.count), p.a_at(rows.first, block.first), p.a.row, p.a.column, static_cast<int>(rows.count), block.count);
    }
  });
  const bool lines = p.b.column == 1, in_place = lines && lines_have_room<T>(p.b.row);
  const std::int64_t tasks = std::min<std::int64_t>(strips, 32);
  run_tasks(tasks, [&](std::int64_t task) {
    const Part own = Parts(strips, tasks)[task];
    T* const packed = packed_b.room_for<T>(table.columns * p.K);
    for (std::int64_t j = own.first * table.columns; j < std::min(p.N, (own.first + own.count) * table.columns); j += table.columns) {
      const int columns = static_cast<int>(std::min<std::int64_t>(table.columns, p.N - j));
      const bool packs = !in_place || columns < table.columns;
      if (packs) table.pack(packed, table.columns, p.b_at(0, j), p.b.column, p.b.row, columns, p.K);
      for (std::int64_t k_part = 0; k_part < k_parts; ++k_part) {
        const Part block = blocks[k_part];
        // After this part of the panel comes its next one, then the next panel.
        const bool again = k_part + 1 < k_parts;
        const T* const next = again ? p.b_at(blocks[k_part + 1].first, j) : p.b_at(0, j + table.columns);
        const bool asks = lines && (again || j + table.columns < p.N);
        std::int64_t level = 0;
        for_panels(0, p.M, table.rows, [&](std::int64_t row, std::int64_t rows) {
          Tile<T> tile = p.tile_at(row, j, block.first, block.count);
          tile.a = packs_a ? a_panels + p.M * block.first + row * block.count : p.a_at(row, block.first);
          tile.a_row = p.a.row;
          tile.a_k = p.a.column;
          tile.b = packs ? packed + block.first * table.columns : p.b_at(block.first, j);
          tile.b_k = packs ? table.columns : p.b.row;
          shapes.tile_and_ask(tile, static_cast<int>(rows), columns, packs_a, asks ? share_of_lines(next, p.b.row, block.count, level, levels) : Wanted<T>{});
          ++level;
        });
      }
    }
  });
}
}  // namespace
}  // namespace kernels

namespace kernels {
namespace {
// Whether a product of few rows is turned around: B is a matrix of many contiguous lines, long enough to pay for turning a sum, A's rows fill tiles' columns but for a sixteenth, and the lines that a tile reads have places beside each other in the first cache, which has one for each page of its size.
template <class T>
bool turns_around(const Product<T>& p, const GemmTable<T>& table) {
  constexpr std::int64_t page = 4096;
  const std::int64_t width = parts_of(p.M, table.columns) * table.columns;
  return p.b.row == 1 && p.M <= 192 && p.N >= 32 * table.rows && p.K >= 384 && 16 * width <= 17 * p.M && table.rows * std::gcd(p.b.column * std::int64_t{sizeof(T)}, page) <= cache_sizes().first;
}

// out = activation(alpha * sums + beta * start) for `count` numbers of a row.
template <class T>
void finish_part_of_row(const Product<T>& p, std::int64_t i, std::int64_t j, std::int64_t count, const T* sums) {
  T* const out = p.out + i * p.out_row + j;
  if (p.start.data == nullptr) {
    for (std::int64_t n = 0; n < count; ++n) out[n] = p.alpha * sums[n];
  } else {
    const T* const start = p.start.data + i * p.start.row + j;
    for (std::int64_t n = 0; n < count; ++n) out[n] = p.alpha * sums[n] + p.beta * start[n];
  }
  if (p.activation == Activation::ReLU)
    for (std::int64_t n = 0; n < count; ++n) out[n] = out[n] < T{0} ? T{0} : out[n];
}

// The transposed product: B's lines are the rows of tiles, A's rows the columns, packed. A task computes the columns of four panels, which lie in its own memory until they are complete, and are turned then.
template <class T>
void multiply_turned(const Product<T>& p, const GemmTable<T>& table) {
  constexpr std::int64_t size = sizeof(T);
  const ShapeTable<T>& shapes = shape_table<T>();
  const CacheSizes caches = cache_sizes();
  const std::int64_t strips = parts_of(p.M, table.columns), width = strips * table.columns;
  // A panel of B's lines fits into the first cache, A's rows into half of the second.
  const std::int64_t k_parts = parts_of(p.K, std::max<std::int64_t>(64, std::min(caches.first * 3 / 4 / (table.rows * size), caches.second / 2 / (width * size))));
  const Parts blocks(p.K, k_parts);
  T* const rows_of_a = packed_b.room_for<T>(width * p.K);
  const auto strip_at = [&](const Part& block, std::int64_t strip) { return rows_of_a + width * block.first + strip * table.columns * block.count; };
  run_tasks(k_parts * strips, [&](std::int64_t task) {
    const Part block = blocks[task / strips];
    const std::int64_t strip = task % strips, i = strip * table.columns;
    table.pack(strip_at(block, strip), table.columns, p.a_at(i, block.first), p.a.row, p.a.column, static_cast<int>(std::min<std::int64_t>(table.columns, p.M - i)), block.count);
  });
  const std::int64_t group = 4 * table.rows;
  run_tasks(parts_of(p.N, group), [&](std::int64_t task) {
    const std::int64_t left = task * group, lines = std::min(group, p.N - left);
    T* const sums = packed_a.room_for<T>(2 * group * width);
    T* const turned = sums + group * width;
    for (std::int64_t k_part = 0; k_part < k_parts; ++k_part) {
      const Part block = blocks[k_part];
      for_panels(0, lines, table.rows, [&](std::int64_t row, std::int64_t rows) {
        // After the last panel comes the first one's next block, or the next task's first panel.
        const bool is_last = row + rows == lines, again = is_last && k_part + 1 < k_parts;
        const std::int64_t next = again ? left : left + row + rows, next_k = again ? blocks[k_part + 1].first : is_last ? 0 : block.first;
        const Parts shares(std::min<std::int64_t>(table.rows, p.N - next), strips);
        for (std::int64_t strip = 0; strip < strips; ++strip) {
          T* const place = sums + row * width + strip * table.columns;
          const Part share = shares[strip];
          shapes.tile_and_ask({p.b_at(block.first, left + row), p.b.column, 1, strip_at(block, strip), table.columns, block.count, place, width, k_part > 0 ? place : nullptr, width, T{1}, T{1}}, static_cast<int>(rows), table.columns, false,
                             {p.b_at(next_k, next + share.first), p.b.column, 64 / size, static_cast<int>(share.count), false});
        }
      });
    }
    table.pack(turned, static_cast<int>(lines), sums, width, 1, static_cast<int>(lines), p.M);
    for (std::int64_t i = 0; i < p.M; ++i) finish_part_of_row(p, i, left, lines, turned + i * lines);
  });
}
}  // namespace
}  // namespace kernels

namespace kernels {
namespace {
// `count` products like `first`, whose operands lie behind one another. Few large ones divide themselves; of small ones, several make a task.
template <class T>
void multiply_like(const Product<T>& first, std::int64_t count, std::int64_t a_step, std::int64_t b_step) {
  // Field by field: a copy of `first` would be written in vectors and read back in single numbers, which waits for the write to end.
  const auto product_at = [&](std::int64_t i) {
    return Product<T>{first.M, first.N, first.K, first.alpha, {first.a.data + i * a_step, first.a.row, first.a.column}, {first.b.data + i * b_step, first.b.row, first.b.column}, first.beta, first.start, first.out + i * first.M * first.N, first.out_row, first.activation};
  };
  const auto for_each = [&](const auto& multiply_one) {
    const auto some = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) multiply_one(product_at(i));
    };
    const std::int64_t work = std::max<std::int64_t>(1, first.M * first.N * first.K);
    if (count < 4 && work > (1 << 20)) some(0, count);
    else parallel_for(0, count, std::max<std::int64_t>(1, (1 << 18) / work), some);
  };
  const GemmTable<T>& table = gemm_table<T>();
  if (first.M > 1 && first.N > 1 && first.K > 0 && !goes_by_lines(first) && is_small(first, table)) {
    if (WideProduct<T>::fits(first, table)) {
      const WideProduct<T> wide(first, table);
      for_each([&](const Product<T>& p) { wide.multiply(p); });
    } else {
      const SmallProduct<T> small(first, table, blocks_in_use<T>().K);
      for_each([&](const Product<T>& p) { small.multiply(p); });
    }
  } else {
    for_each([](const Product<T>& p) { kernels::multiply(p.M, p.N, p.K, p.alpha, p.a, p.b, p.beta, p.start, p.out, p.out_row); });
  }
}

// self (batch, M, K) x mat2 (batch, K, N), with any strides.
template <class T>
Tensor multiply_stacks(const Tensor& self, const Tensor& mat2) {
  const std::int64_t batch = self.size(0), M = self.size(1), K = self.size(2), N = mat2.size(2);
  const Tensor result = empty({batch, M, N}, self.options());
  const MatrixView<T> a{self.data<T>(), self.stride(1), self.stride(2)}, b{mat2.data<T>(), mat2.stride(1), mat2.stride(2)};
  multiply_like(Product<T>{M, N, K, T{1}, a, b, T{0}, {nullptr, 0, 0}, result.data<T>(), N}, batch, self.stride(0), mat2.stride(0));
  return result;
}

Tensor bmm_tuned(const Tensor& self, const Tensor& mat2) {
  if (self.scalar_type() == kFloat) return multiply_stacks<float>(self, mat2);
  if (self.scalar_type() == kDouble) return multiply_stacks<double>(self, mat2);
  return op::bmm.function(Layer::CPU)(self, mat2);
}
}  // namespace
}  // namespace kernels

namespace kernels {
namespace {
// See MoreWays. Products of contiguous lines, which module 16 computes as dot products, do not come here.
template <class T>
bool multiply_by_shape(const Product<T>& p, const GemmTable<T>& table) {
  if (p.M == 1 && p.b.column == 1) {
    multiply_row(p);
  } else if (is_small(p, table)) {
    if (!WideProduct<T>::fits(p, table)) return false;
    WideProduct<T>(p, table).multiply(p);
  } else if (turns_around(p, table)) {
    multiply_turned(p, table);
  } else {
    const BlockSizes sizes = blocks_in_use<T>();
    if (!has_few_rows(p, table, sizes)) return false;
    multiply_few_rows(p, table, sizes);
  }
  return true;
}
}  // namespace
}  // namespace kernels

void register_product_ways() {
  using namespace kernels;
  more_ways<float> = {multiply_by_shape<float>, multiply_row_of_tiles_and_ask<float>};
  more_ways<double> = {multiply_by_shape<double>, multiply_row_of_tiles_and_ask<double>};
  DEFAULT::fast_packing<float> = DEFAULT::shape_kernels.in_float.packing, DEFAULT::fast_packing<double> = DEFAULT::shape_kernels.in_double.packing;
#ifdef __x86_64__
  AVX2::fast_packing<float> = AVX2::shape_kernels.in_float.packing, AVX2::fast_packing<double> = AVX2::shape_kernels.in_double.packing;
  AVX512::fast_packing<float> = AVX512::shape_kernels.in_float.packing, AVX512::fast_packing<double> = AVX512::shape_kernels.in_double.packing;
#endif
  op::bmm.set(Layer::TunedCPU, bmm_tuned);
}

}  // namespace tinytorch
