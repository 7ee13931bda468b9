// From the lesson modules/06_optimizers/optimizers_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/optim/optimizer.h"

namespace tinytorch {

namespace optim {

struct RMSpropOptions : public OptimizerCloneableOptions<RMSpropOptions> {
  RMSpropOptions(double lr = 1e-2);
  TORCH_ARG(double, lr);
  TORCH_ARG(double, alpha) = 0.99;
  TORCH_ARG(double, eps) = 1e-8;
  TORCH_ARG(double, weight_decay) = 0;
  TORCH_ARG(double, momentum) = 0;
  TORCH_ARG(bool, centered) = false;

 public:
  Fields fields() override;
};

struct RMSpropParamState : public OptimizerCloneableParamState<RMSpropParamState> {
  TORCH_ARG(std::int64_t, step) = 0;
  TORCH_ARG(Tensor, square_avg);
  TORCH_ARG(Tensor, momentum_buffer);
  TORCH_ARG(Tensor, grad_avg);

 public:
  Fields fields() override;
};

// RMSprop: the gradient divided by the root of the running mean of its square (centered: of its variance), with momentum on the quotient.
// Source: Hinton, lecture 6e, 2012; torch/csrc/api/src/optim/rmsprop.cpp.
class RMSprop : public Optimizer {
 public:
  RMSprop(std::vector<OptimizerParamGroup> groups, RMSpropOptions defaults = {});
  RMSprop(std::vector<Tensor> params, RMSpropOptions defaults = {});
  Tensor step(LossClosure closure = nullptr) override;
  std::string name() const override { return "RMSprop"; }
  std::unique_ptr<OptimizerParamState> make_state() const override;
  static inline GroupStep group_step = nullptr;  // set at start-up, by chapter 89
};

}  // namespace optim

}  // namespace tinytorch
