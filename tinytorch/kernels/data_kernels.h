// From the lesson modules/80_data_kernels/data_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

// Loops over integers. Results wrap around. `out` overlaps no operand.
template <class T>
struct IntegerTable {
  // out[i] = f(a[i a_step], b[i b_step]) for i < count; a step is 0 or 1, one of them is 1.
  template <class Out>
  using Pair = void (*)(const T* a, std::int64_t a_step, const T* b, std::int64_t b_step, std::int64_t count, Out* out);
  Pair<T> add, sub, mul, maximum, minimum, shift_left, shift_right;
  Pair<bool> eq, ne, lt, le, gt, ge;
  void (*clamp)(const T* x, std::int64_t count, T low, T high, T* out);
  void (*abs)(const T* x, std::int64_t count, T* out);

  // Of a row; the extremes of one that is not empty.
  std::int64_t (*sum)(const T* x, std::int64_t count);
  std::int64_t (*product)(const T* x, std::int64_t count);
  std::int64_t (*count_nonzero)(const T* x, std::int64_t count);
  T (*largest)(const T* x, std::int64_t count);
  T (*smallest)(const T* x, std::int64_t count);
  std::int64_t (*first_place)(const T* x, std::int64_t count, T value);  // of an equal number; count if there is none
  // Of columns: row x, of `count` numbers, goes into what is there.
  void (*sum_into)(const T* x, std::int64_t count, std::int64_t* totals);
  void (*product_into)(const T* x, std::int64_t count, std::int64_t* totals);
  void (*largest_into)(const T* x, std::int64_t count, T* best);
  void (*smallest_into)(const T* x, std::int64_t count, T* best);
  void (*place_into)(const T* x, std::int64_t count, const T* best, std::int64_t row, std::int64_t* places);  // places[j] = row where x[j] is best[j]
};

template <class U>
struct BitsTable {
  void (*reverse)(const U* from, std::int64_t count, U* to);  // to[i] = from[count - 1 - i]
  void (*fill)(U* to, std::int64_t count, U value);
  void (*choose)(const std::uint8_t* mask, const U* a, std::int64_t a_step, const U* b, std::int64_t b_step, std::int64_t count, U* out);  // out[i] = mask[i] != 0 ? a[i a_step] : b[i b_step]
};

// out[i] = x[i] where that is above `threshold`, else `value`.
template <class T>
using KeepAbove = void (*)(const T* x, std::int64_t count, T threshold, T value, T* out);

struct DataKernels {
  KeepAbove<std::int64_t> longs_above;
  KeepAbove<std::int32_t> ints_above;
  KeepAbove<std::int16_t> shorts_above;
  KeepAbove<std::int8_t> chars_above;
  KeepAbove<std::uint8_t> bytes_above;
  IntegerTable<std::int64_t> of_long;
  IntegerTable<std::int32_t> of_int;
  IntegerTable<std::uint8_t> of_byte;  // and of bools, which are 0 or 1
  BitsTable<std::uint8_t> of_1;
  BitsTable<std::uint16_t> of_2;
  BitsTable<std::uint32_t> of_4;
  BitsTable<std::uint64_t> of_8;
  bool (*are_within)(const std::int64_t* at, std::int64_t count, std::int64_t size);  // whether all are in [0, size)
};

TINYTORCH_DECLARE_PER_CAPABILITY(DataKernels, data_kernels)

// Those for the capability in use.
const DataKernels& chosen_data_kernels();

}  // namespace kernels

}  // namespace tinytorch
