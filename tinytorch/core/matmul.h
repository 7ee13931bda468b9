// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/basic_ops.h"

namespace tinytorch {

// Throws unless both have one dtype, which must not be Bool.
void check_same_dtype(const Tensor& self, const Tensor& mat2);

// out (M, N) = a (M, K) x b (K, N). `out` and `b` are dense; element (i, k) of `a` is a[i * a_row + k * a_column].
// O(M K N), reading and writing memory in order. `out` is uninitialised before; K = 0 gives zeros.
template <class T>
void multiply_matrices(T* out, const T* a, std::int64_t a_row, std::int64_t a_column, const T* b, std::int64_t M, std::int64_t K, std::int64_t N) {
  for (std::int64_t i = 0; i < M; ++i) {
    T* const row = out + i * N;
    for (std::int64_t j = 0; j < N; ++j) row[j] = T{0};
    for (std::int64_t k = 0; k < K; ++k) {
      const T factor = a[i * a_row + k * a_column];
      const T* const b_row = b + k * N;
      for (std::int64_t j = 0; j < N; ++j) row[j] = static_cast<T>(row[j] + factor * b_row[j]);
    }
  }
}

}  // namespace tinytorch
