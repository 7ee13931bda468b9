// From the lesson modules/65_half_kernels/half_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {
// Some columns of a product: sums (M, columns) = A (M, K) x B (K, columns), where A is float and B Half or BFloat16, by its bits. Rows of A and of `sums` are contiguous.
struct HalfProduct {
  const float* a;
  std::int64_t a_row;
  const std::uint16_t* b;
  std::int64_t b_line;  // from one line of B to the next: a line is a column or a row, see HalfTable
  std::int64_t M, K, columns;
  float* sums;
  std::int64_t sums_row;
};

enum class HalfOperation : std::uint8_t { Add, Subtract, SubtractFrom, Multiply, Divide, DivideInto, Relu, Negate, Absolute };

// What is compiled for one capability and format.
struct HalfTable {
  void (*multiply_columns)(const HalfProduct& product);  // B's columns lie contiguous, as those of a Linear's weight transposed
  void (*multiply_rows)(const HalfProduct& product);     // B's rows do; at most 64 rows of A
  void (*widen)(float* to, const std::uint16_t* from, std::int64_t count);
  void (*narrow)(std::uint16_t* to, const float* from, std::int64_t count);  // to the nearest, ties to even
  // to = alpha * sums + beta * start, rounded once; without a start (nullptr) nothing is added.
  void (*finish)(std::uint16_t* to, const float* sums, float alpha, const std::uint16_t* start, float beta, std::int64_t count);
  // to = a + b, a - b, b - a, a * b, a / b, b / a, relu(a), -a or |a|, number by number, rounded once; without a b (nullptr) `number` stands for all of its numbers.
  void (*combine)(HalfOperation operation, std::uint16_t* to, const std::uint16_t* a, const std::uint16_t* b, float number, std::int64_t count);
  float (*sum)(const std::uint16_t* from, std::int64_t count);  // in float
  // sums[i] = the sum of number i of each of `lines` lines, for i < count; from one line to the next it is `line`.
  void (*sum_lines)(const std::uint16_t* from, std::int64_t line, std::int64_t lines, std::int64_t count, float* sums);
};

struct HalfKernels {
  HalfTable of_half, of_bfloat16;
};

TINYTORCH_DECLARE_PER_CAPABILITY(HalfKernels, half_kernels)
}  // namespace kernels

}  // namespace tinytorch
