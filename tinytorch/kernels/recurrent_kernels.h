// From the lesson modules/89_training_kernels/training_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

// For `rows` rows of H units that lie behind one another, gates as rows of 4 H. O(rows H).
template <class T>
struct LSTMTable {
  void (*step)(const T* input_gates, const T* hidden_gates, const T* cx, std::int64_t rows, std::int64_t H, T* hy, T* cy, T* workspace);
  // Of grad_hy and grad_cy one may be null.
  void (*gradient)(const T* grad_hy, const T* grad_cy, const T* cx, const T* cy, const T* workspace, std::int64_t rows, std::int64_t H, T* grad_gates, T* grad_cx);
};

struct RecurrentKernels {
  LSTMTable<float> in_float;
  LSTMTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(RecurrentKernels, recurrent_kernels)

}  // namespace kernels

}  // namespace tinytorch
