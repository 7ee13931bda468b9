// From the lesson modules/50_copy_kernels/copy_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

// Where caches do not hold the result, blocks of so many bytes of a column, and so many columns, are turned into a buffer.
inline constexpr std::int64_t kTurnedBytes = 256, kTurnedColumns = 512;

// Turns a matrix of elements of type U (their bits): to[j * to_row + i] = from[i * from_row + j] for i < rows, j < columns. They do not overlap.
// `buffers` has room for two such blocks and begins at a multiple of 64 bytes; it is null where the caches hold the result.
template <class U>
using TransposeKernel = void (*)(U* to, std::int64_t to_row, const U* from, std::int64_t from_row, std::int64_t rows, std::int64_t columns, U* buffers);

// to[i] = number for i < count.
template <class U>
using RepeatKernel = void (*)(U* to, U number, std::int64_t count);

template <class U>
struct BitsMover {
  TransposeKernel<U> transpose;
  RepeatKernel<U> repeat;
};

template <class To, class From>
using ConvertKernel = void (*)(To* to, const From* from, std::int64_t count);

struct CopyKernels {
  void (*bytes)(void* to, const void* from, std::int64_t count);              // that do not overlap
  void (*bytes_past_caches)(void* to, const void* from, std::int64_t count);  // the same for what no cache holds
  BitsMover<std::uint16_t> of_2;
  BitsMover<std::uint32_t> of_4;
  BitsMover<std::uint64_t> of_8;
  ConvertKernel<float, double> float_of_double;
  ConvertKernel<double, float> double_of_float;
  ConvertKernel<float, std::int64_t> float_of_long;
  ConvertKernel<float, std::uint8_t> float_of_byte;  // from bytes: bools too, which are 0 or 1
  ConvertKernel<float, std::int32_t> float_of_int;
  ConvertKernel<std::int32_t, float> int_of_float;
  ConvertKernel<std::int64_t, float> long_of_float;
  ConvertKernel<std::int64_t, std::int32_t> long_of_int;
  ConvertKernel<std::int32_t, std::int64_t> int_of_long;
  ConvertKernel<std::int64_t, std::uint8_t> long_of_byte;
  ConvertKernel<double, std::int64_t> double_of_long;
  ConvertKernel<bool, float> bool_of_float;
  ConvertKernel<bool, std::int64_t> bool_of_long;
};

TINYTORCH_DECLARE_PER_CAPABILITY(CopyKernels, copy_kernels)

}  // namespace kernels

}  // namespace tinytorch
