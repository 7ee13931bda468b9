// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

// What becomes of each number of a product, while it is in a register anyway: nothing, or x below 0 becomes 0.
enum class Activation : std::int8_t { None, ReLU };

// One tile of a product: out (rows, columns) = activation(alpha * A (rows, K) x B (K, columns) + beta * start (rows, columns)).
// A's element (i, k) is a[i * a_row + k * a_k], B's element (k, j) is b[k * b_k + j]; rows of `out` and `start` are contiguous. Without a start (nullptr) nothing is added.
template <class T>
struct Tile {
  const T* a;
  std::int64_t a_row, a_k;
  const T* b;
  std::int64_t b_k;
  std::int64_t K;
  T* out;
  std::int64_t out_row;
  const T* start;
  std::int64_t start_row;
  T alpha, beta;
  Activation activation = Activation::None;
};

// A product whose operands both have K in contiguous lines: out (M, N) = activation(alpha * A (M, K) x B (N, K)^T + beta * start (M, N)).
template <class T>
struct LinesProduct {
  const T* a;
  std::int64_t a_line;
  const T* b;
  std::int64_t b_line;
  std::int64_t M, N, K;
  T* out;
  std::int64_t out_row;
  const T* start;
  std::int64_t start_row;
  T alpha, beta;
  Activation activation = Activation::None;
};

// Parts of pack() that chapter 62 does in whole registers, when the program has started; as long as they are nullptr, pack() does without.
template <class T>
struct FastPacking {
  // Where k_step is 1: some of the lines. Returns how many; these are the first ones.
  int (*turn)(T* to, int width, const T* from, std::int64_t step, int count, std::int64_t K) = nullptr;
  // Where step is 1: everything.
  void (*copy)(T* to, int width, const T* from, std::int64_t k_step, int count, std::int64_t K) = nullptr;
};
namespace DEFAULT { template <class T> inline constinit FastPacking<T> fast_packing{}; }
namespace AVX2 { template <class T> inline constinit FastPacking<T> fast_packing{}; }
namespace AVX512 { template <class T> inline constinit FastPacking<T> fast_packing{}; }

// What is compiled for one capability and dtype.
template <class T>
struct GemmTable {
  int rows, columns;  // of the largest tile
  // Computes a tile of up to that size. B must have `columns` numbers in each of its lines, also for a narrower tile, or half of them for one of up to half the columns. `packed`: A is a panel of
  // pack() with exactly `rows` lines, and a_row and a_k do not count.
  void (*tile)(const Tile<T>& tile, int rows, int columns, bool packed);
  // to[k * width + i] = from[i * step + k * k_step] for i < count, and 0 for count <= i < width.
  void (*pack)(T* to, int width, const T* from, std::int64_t step, std::int64_t k_step, int count, std::int64_t K);
  // Dot products of lines; the baseline is the obvious loop.
  void (*multiply_lines)(const LinesProduct<T>& product);
  void (*multiply_lines_baseline)(const LinesProduct<T>& product);
  // Multiplies and adds in registers only, `rounds` times: what the arithmetic units can do. Returns the number of operations.
  double (*spin_arithmetic)(std::int64_t rounds, T* result);
};

struct GemmKernels {
  GemmTable<float> in_float;
  GemmTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(GemmKernels, gemm_kernels)

}  // namespace kernels

}  // namespace tinytorch
