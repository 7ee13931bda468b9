// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <vector>

#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/gemm_kernels.h"

namespace tinytorch {

namespace kernels {

// The table of kernels that run here.
template <class T>
const GemmTable<T>& gemm_table();
template <>
const GemmTable<float>& gemm_table<float>();
template <>
const GemmTable<double>& gemm_table<double>();

}  // namespace kernels

namespace kernels {

// How a product is cut: K and N are the largest blocks of these sizes.
struct BlockSizes {
  std::int64_t K, N;
};

// Data caches in bytes, per core.
struct CacheSizes {
  std::int64_t first, second;
};

// This machine's; 32 KB and 512 KB where it does not tell.
CacheSizes cache_sizes();

// The blocks for tiles of (rows, columns), of numbers of `element` bytes: K is a multiple of 32 and at least 32, N a multiple of `columns` and at least that.
BlockSizes block_sizes(CacheSizes caches, std::int64_t element, std::int64_t rows, std::int64_t columns);

}  // namespace kernels

namespace kernels {

// A part of the result: rows [row, row + rows), columns [column, column + columns).
struct Region {
  std::int64_t row, rows, column, columns;
};

// Divides a result of (M, N), M and N > 0, into regions, row of regions by row of regions. See divide_result.
std::vector<Region> divide_result(std::int64_t M, std::int64_t N, std::int64_t tile_rows, std::int64_t tile_columns);

}  // namespace kernels

namespace kernels {

// A matrix somewhere in memory: element (i, j) is data[i * row + j * column].
template <class T>
struct MatrixView {
  const T* data;
  std::int64_t row, column;
};

// out (M, N) = activation(alpha * a (M, K) x b (K, N) + beta * start (M, N)), with any strides of a, b and start; rows of `out` are dense and out_row apart.
// Without a start (data is nullptr) nothing is added; beta * start is computed also for beta = 0. `out` is uninitialised before, and may be `start`, but neither a nor b.
// O(M N K), on the threads of the pool; the same bits for any number of threads. For float and double.
template <class T>
void multiply(std::int64_t M, std::int64_t N, std::int64_t K, T alpha, MatrixView<T> a, MatrixView<T> b, T beta, MatrixView<T> start, T* out, std::int64_t out_row,
              Activation activation = Activation::None);

extern template void multiply(std::int64_t, std::int64_t, std::int64_t, float, MatrixView<float>, MatrixView<float>, float, MatrixView<float>, float*, std::int64_t, Activation);
extern template void multiply(std::int64_t, std::int64_t, std::int64_t, double, MatrixView<double>, MatrixView<double>, double, MatrixView<double>, double*, std::int64_t, Activation);

// How many columns a block has by measurement, for double or float; 0: nothing was measured. Chapter 61 sets it, at start-up.
using MeasuredBlockColumns = std::int64_t (*)(bool of_double);
inline constinit MeasuredBlockColumns measured_block_columns = nullptr;

// The blocks of a large product of T: calculated, or with the columns that were measured.
template <class T>
BlockSizes blocks_in_use() {
  BlockSizes sizes = block_sizes(cache_sizes(), sizeof(T), gemm_table<T>().rows, gemm_table<T>().columns);
  const std::int64_t columns = measured_block_columns == nullptr ? 0 : measured_block_columns(sizeof(T) == sizeof(double));
  if (columns > 0) sizes.N = columns;
  return sizes;
}

}  // namespace kernels

}  // namespace tinytorch
