// From the lesson modules/62_product_ways/product_ways_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/gemm_kernels.h"

namespace tinytorch {

namespace kernels {

// Memory that a tile asks for while it multiplies, for a later tile to find it near: whenever its own K has used up a line of the cache (16 steps in float), lines at `count` places `step` apart, the first time from `from` on, the next time `next` further on.
// In the same way it asks for its own place in the result, if that is far away.
template <class T>
struct Wanted {
  const T* from = nullptr;
  std::int64_t step = 0, next = 0;
  int count = 0;
  bool place = true;
};

// What is compiled for one capability and dtype. A tile of the largest size is (rows, columns) of GemmTable.
template <class T>
struct ShapeTable {
  // Like GemmTable's tile, for a large product, whose operands come from far away: meanwhile it asks for what is wanted. If A is read in place, its rows are contiguous.
  void (*tile_and_ask)(const Tile<T>& tile, int rows, int columns, bool packed, const Wanted<T>& wanted);
  // A tile of exactly twice as many columns and up to half as many rows, A and B in place.
  void (*wide_tile)(const Tile<T>& tile, int rows);
  // One row: out (columns) = activation(alpha * a (K) x b (K, columns) + beta * start); a's numbers are a_k apart, b's lines contiguous and b_k apart.
  void (*row)(const Tile<T>& row, std::int64_t columns);
  FastPacking<T> packing;
};

struct ShapeKernels {
  ShapeTable<float> in_float;
  ShapeTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(ShapeKernels, shape_kernels)

}  // namespace kernels

}  // namespace tinytorch
