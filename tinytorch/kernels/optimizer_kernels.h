// From the lesson modules/89_training_kernels/training_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"

namespace tinytorch {

namespace kernels {

// The numbers of one step of Adam for one parameter.
template <class T>
struct AdamStep {
  T decay;           // what a parameter is multiplied with first: AdamW; 1 for Adam
  T gradient_decay;  // what of the parameter is added to its gradient: Adam; 0 for AdamW
  T beta1, beta2;
  T one_minus_beta1, one_minus_beta2;
  T root_scale;  // 1 / sqrt(1 - beta2^t)
  T eps;
  T rate;  // lr / (1 - beta1^t)
};

template <class T>
struct SGDStep {
  T weight_decay, momentum, one_minus_dampening, rate;
  bool nesterov;
  bool first;  // the buffer has no value yet
};

template <class T>
struct RMSpropStep {
  T weight_decay, alpha, one_minus_alpha, eps, momentum, rate;
};

template <class T>
struct AdagradStep {
  T weight_decay, eps, rate;
};

template <class T>
struct OptimizerTable {
  // One step for `count` numbers; max_exp_avg_sq is null without amsgrad, buffer without momentum.
  void (*adam)(const AdamStep<T>& step, std::int64_t count, T* parameter, const T* grad, T* exp_avg, T* exp_avg_sq, T* max_exp_avg_sq);
  void (*sgd)(const SGDStep<T>& step, std::int64_t count, T* parameter, const T* grad, T* buffer);
  // grad_avg is null where it is not centered, buffer without momentum.
  void (*rmsprop)(const RMSpropStep<T>& step, std::int64_t count, T* parameter, const T* grad, T* square_avg, T* grad_avg, T* buffer);
  void (*adagrad)(const AdagradStep<T>& step, std::int64_t count, T* parameter, const T* grad, T* sum);
};

struct OptimizerKernels {
  OptimizerTable<float> in_float;
  OptimizerTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(OptimizerKernels, optimizer_kernels)

}  // namespace kernels

}  // namespace tinytorch
