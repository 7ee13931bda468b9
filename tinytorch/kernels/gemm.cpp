// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.

#include "tinytorch/kernels/gemm.h"

#include <algorithm>

#include "tinytorch/core/system_info.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/product-inl.h"

namespace tinytorch {

kernels::CacheSizes kernels::cache_sizes() {
  static const CacheSizes sizes = [] {
    CacheSizes found{32 << 10, 512 << 10};
    for (const CacheInfo& cache : system_info().caches) {
      if (cache.level == 1 && cache.bytes > 0) found.first = cache.bytes;
      if (cache.level == 2 && cache.bytes > 0) found.second = cache.bytes;
    }
    return found;
  }();
  return sizes;
}

// See the declaration.
kernels::BlockSizes kernels::block_sizes(CacheSizes caches, std::int64_t element, std::int64_t rows, std::int64_t columns) {
  const std::int64_t K = std::max<std::int64_t>(32, caches.first / ((rows + columns) * element) / 32 * 32);
  const std::int64_t N = std::max<std::int64_t>(columns, caches.second / 2 / (K * element) / columns * columns);
  return {K, N};
}

// Each element is in exactly one region, and no region is empty. Regions begin at columns that are multiples of tile_columns, and lie beside each other only where the rows do not give 24. Where the result has 16 tiles
// or more there are at least 12 regions, better some more, and none has more than three times the elements of an average one; where it has fewer, a region may be a tile.
// The regions depend on the arguments only, not on the number of threads.
std::vector<kernels::Region> kernels::divide_result(std::int64_t M, std::int64_t N, std::int64_t tile_rows, std::int64_t tile_columns) {
  const std::int64_t strips = (N + tile_columns - 1) / tile_columns;
  const std::int64_t levels = (M + tile_rows - 1) / tile_rows;
  const std::int64_t row_parts = std::min<std::int64_t>(levels, 32);
  const std::int64_t column_parts = std::min(strips, (32 + row_parts / 2) / row_parts);  // rounded
  std::vector<Region> regions;
  for (std::int64_t r = 0; r < row_parts; ++r) {
    const std::int64_t top = levels * r / row_parts * tile_rows;
    const std::int64_t bottom = std::min(M, levels * (r + 1) / row_parts * tile_rows);
    for (std::int64_t c = 0; c < column_parts; ++c) {
      const std::int64_t left = strips * c / column_parts * tile_columns;
      const std::int64_t right = std::min(N, strips * (c + 1) / column_parts * tile_columns);
      regions.push_back({top, bottom - top, left, right - left});
    }
  }
  return regions;
}

template <>
const kernels::GemmTable<float>& kernels::gemm_table<float>() {
  static constexpr const GemmKernels* tables[] = TINYTORCH_PER_CAPABILITY(gemm_kernels);
  return for_capability(tables).in_float;
}
template <>
const kernels::GemmTable<double>& kernels::gemm_table<double>() {
  static constexpr const GemmKernels* tables[] = TINYTORCH_PER_CAPABILITY(gemm_kernels);
  return for_capability(tables).in_double;
}

namespace kernels {
namespace {
// The regions of some columns, as tasks: one row of regions below the other for a few threads, and side by side for four or more, those of a side after one another, so that a thread's share of them lies in one side and reads a part of B, not all of it.
std::vector<Region> regions_in_order(int threads, std::int64_t rows, std::int64_t width, std::int64_t tile_rows, std::int64_t tile_columns) {
  const std::int64_t strips = parts_of(width, tile_columns), most = std::min(threads / 2, 4);
  // A side is four panels of B or more, since each packs A's panels for itself.
  const std::int64_t sides = std::max<std::int64_t>(1, std::min(most, strips / 4));
  std::vector<Region> regions;
  for (std::int64_t side = 0; side < sides; ++side) {
    const Part own = Parts(strips, sides)[side];
    const std::int64_t left = own.first * tile_columns;
    for (Region region : divide_result(rows, std::min(width - left, own.count * tile_columns), tile_rows, tile_columns)) {
      region.column += left;
      regions.push_back(region);
    }
  }
  return regions;
}

// The tiles of some rows and of a region's columns.
template <class T>
void multiply_row_of_tiles(const BlockOfB<T>& block, const GemmTable<T>& table, const Region& region, Part rows, const T* packed_a_panel) {
  for (std::int64_t j = region.column; j < region.column + region.columns; j += table.columns) {
    const std::int64_t panel = j / table.columns;
    table.tile(block.tile_at(rows.first, panel, packed_a_panel), static_cast<int>(rows.count), block.columns_of(panel), packed_a_panel != nullptr);
  }
}

// Block by block, in packed panels, on all threads.
template <class T>
void multiply_blocks(const Product<T>& p, const GemmTable<T>& table, BlockSizes sizes) {
  // With few rows a number of B is used a few times only: lines that are contiguous are then read in place.
  const bool packs_b = p.b.column != 1 || p.M > 3 * table.rows;
  const std::int64_t all_strips = parts_of(p.N, table.columns);
  const int threads = in_parallel_region() ? 1 : get_num_threads();
  const std::int64_t k_parts = parts_of(p.K, sizes.K), column_parts = parts_of(all_strips, std::max<std::int64_t>(1, sizes.N / table.columns));
  const bool packs_a = !reads_a_in_place(p, table);
  const auto row_of_tiles = more_ways<T>.row_of_tiles != nullptr ? more_ways<T>.row_of_tiles : multiply_row_of_tiles<T>;
  const Parts blocks(p.K, k_parts), groups(all_strips, column_parts);
  // One block's panels are packed while those of the one before are used: all threads meet once for each block. One thread alone, that waits for nobody, does so only where B's columns do not fit into one block.
  const std::int64_t steps = column_parts * k_parts;
  const bool ahead = threads > 1 || column_parts > 1;
  const std::int64_t room = (packs_b ? groups[0].count : 1) * table.columns * blocks[0].count;
  T* const rooms = packed_b.room_for<T>((ahead ? 2 : 1) * room);
  const auto block_at = [&](std::int64_t step) {
    const Part strips = groups[step / k_parts];
    const std::int64_t left = strips.first * table.columns, width = std::min(p.N - left, strips.count * table.columns);
    // A panel at the edge is packed in any case.
    return BlockOfB<T>{p, table.columns, blocks[step % k_parts], left, width, packs_b ? 0 : width / table.columns, rooms + (ahead ? step % 2 : 0) * room};
  };
  std::vector<Region> regions;
  for (std::int64_t step = 0; step < steps; ++step) {
    const BlockOfB<T> block = block_at(step);
    if (!ahead || step == 0) {
      const std::int64_t pairs = parts_of(block.packed(), 2);
      run_tasks(pairs, [&](std::int64_t task) { block.pack(table, Parts(block.packed(), pairs)[task]); });
    }
    if (step % k_parts == 0) regions = regions_in_order(threads, p.M, block.width, table.rows, table.columns);
    const std::int64_t tasks = static_cast<std::int64_t>(regions.size());
    const bool packs_next = ahead && step + 1 < steps;
    const BlockOfB<T> next = block_at(packs_next ? step + 1 : step);
    run_tasks(tasks, [&](std::int64_t task) {
      if (packs_next) next.pack(table, Parts(next.packed(), tasks)[task]);
      const Region& region = regions[static_cast<std::size_t>(task)];
      T* const a_panel = packs_a ? packed_a.room_for<T>(table.rows * block.k.count) : nullptr;
      for_panels(region.row, region.rows, table.rows, [&](std::int64_t row, std::int64_t rows) {
        if (packs_a) table.pack(a_panel, static_cast<int>(rows), p.a_at(row, block.k.first), p.a.row, p.a.column, static_cast<int>(rows), block.k.count);
        row_of_tiles(block, table, region, {row, rows}, a_panel);
      });
    });
  }
}

// Dot products of contiguous lines, for few rows (or few columns): pieces of the longer side are tasks.
template <class T>
void multiply_lines(const Product<T>& p, const GemmTable<T>& table) {
  const bool by_columns = p.N >= p.M;
  const std::int64_t other = by_columns ? p.M : p.N;
  const std::int64_t grain = parts_of(parts_of(1 << 18, other * p.K), 4) * 4;
  run_pieces({0, by_columns ? p.N : p.M, grain}, [&](std::int64_t first, std::int64_t stop) {
    const std::int64_t i = by_columns ? 0 : first;
    const std::int64_t j = by_columns ? first : 0;
    const T* const start = p.start.data == nullptr ? nullptr : p.start.data + i * p.start.row + j;
    table.multiply_lines({p.a_at(i, 0), p.a.row, p.b_at(0, j), p.b.column, by_columns ? p.M : stop - first, by_columns ? stop - first : p.N, p.K, p.out + i * p.out_row + j,
                          p.out_row, start, p.start.row, p.alpha, p.beta, p.activation});
  });
}

template <class T>
void multiply_nothing(const Product<T>& p) {
  for (std::int64_t i = 0; i < p.M; ++i)
    for (std::int64_t j = 0; j < p.N; ++j) {
      const T value = p.start.data == nullptr ? T{0} : p.beta * p.start.data[i * p.start.row + j * p.start.column];
      p.out[i * p.out_row + j] = p.activation == Activation::ReLU && value < T{0} ? T{0} : value;
    }
}
}  // namespace
}  // namespace kernels

template <class T>
void kernels::multiply(std::int64_t M, std::int64_t N, std::int64_t K, T alpha, MatrixView<T> a, MatrixView<T> b, T beta, MatrixView<T> start, T* out, std::int64_t out_row,
                       Activation activation) {
  if (M == 0 || N == 0) return;
  // A column is a row of the transposed product.
  if (N == 1 && M > 1 && out_row == 1)
    return multiply(std::int64_t{1}, M, K, alpha, MatrixView<T>{b.data, b.column, b.row}, MatrixView<T>{a.data, a.column, a.row}, beta, MatrixView<T>{start.data, start.column, start.row}, out, M, activation);
  Product<T> product{M, N, K, alpha, a, b, beta, start, out, out_row, activation};
  if (K == 0) return multiply_nothing(product);
  const GemmTable<T>& table = gemm_table<T>();
  const bool by_lines = goes_by_lines(product);
  // Kernels read a start whose rows are contiguous. Of one number for each row tiles get as many copies as the widest of them has columns, which is one of chapter 62's; any other start is copied into the result first, and so it is where others than tiles finish the sums.
  std::vector<T> repeated;
  if (start.data != nullptr && start.column != 1 && N > 1) {
    if (start.column == 0 && M > 1 && b.row != 1 && !by_lines) {
      const std::int64_t copies = 2 * table.columns;
      for (std::int64_t i = 0; i < M; ++i) repeated.insert(repeated.end(), static_cast<std::size_t>(copies), start.data[i * start.row]);
      product.start = {repeated.data(), copies, 0};
    } else {
      multiply_nothing(Product<T>{M, N, 0, alpha, a, b, T{1}, start, out, out_row});
      product.start = {out, out_row, 1};
    }
  }
  if (by_lines) return multiply_lines(product, table);
  if (more_ways<T>.by_shape != nullptr && more_ways<T>.by_shape(product, table)) return;
  const BlockSizes sizes = blocks_in_use<T>();
  if (is_small(product, table)) return SmallProduct<T>(product, table, sizes.K).multiply(product);
  multiply_blocks(product, table, sizes);
}

template void kernels::multiply(std::int64_t, std::int64_t, std::int64_t, float, MatrixView<float>, MatrixView<float>, float, MatrixView<float>, float*, std::int64_t, kernels::Activation);
template void kernels::multiply(std::int64_t, std::int64_t, std::int64_t, double, MatrixView<double>, MatrixView<double>, double, MatrixView<double>, double*, std::int64_t, kernels::Activation);

}  // namespace tinytorch
