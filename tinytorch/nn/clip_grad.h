// From the lesson modules/08_training/training_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/autograd.h"

namespace tinytorch {

namespace nn::utils {

// Scales all gradients together so that their common norm is at most max_norm; returns the norm before.
// norm_type: 2, 1, ... or infinity; 0 counts the gradients, as in PyTorch. Source: Pascanu et al. 2013; torch/csrc/api/include/torch/nn/utils/clip_grad.h.
double clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm, double norm_type = 2.0, bool error_if_nonfinite = false);
inline double clip_grad_norm_(const Tensor& parameter, double max_norm, double norm_type = 2.0, bool error_if_nonfinite = false) {
  return clip_grad_norm_(std::vector<Tensor>{parameter}, max_norm, norm_type, error_if_nonfinite);
}

// Limits each element of each gradient to [-clip_value, clip_value].
void clip_grad_value_(const std::vector<Tensor>& parameters, double clip_value);
inline void clip_grad_value_(const Tensor& parameter, double clip_value) { clip_grad_value_(std::vector<Tensor>{parameter}, clip_value); }

}  // namespace nn::utils

}  // namespace tinytorch
