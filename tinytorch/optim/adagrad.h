// From the lesson modules/06_optimizers/optimizers_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/optim/optimizer.h"

namespace tinytorch {

namespace optim {

struct AdagradOptions : public OptimizerCloneableOptions<AdagradOptions> {
  AdagradOptions(double lr = 1e-2);
  TORCH_ARG(double, lr);
  TORCH_ARG(double, lr_decay) = 0;
  TORCH_ARG(double, weight_decay) = 0;
  TORCH_ARG(double, initial_accumulator_value) = 0;
  TORCH_ARG(double, eps) = 1e-10;

 public:
  Fields fields() override;
};

struct AdagradParamState : public OptimizerCloneableParamState<AdagradParamState> {
  TORCH_ARG(Tensor, sum);
  TORCH_ARG(std::int64_t, step) = 0;

 public:
  Fields fields() override;
};

// Adagrad: a step of lr * g / (sqrt(sum of g^2) + eps), where the rate may also fall as lr / (1 + steps * lr_decay).
// Source: Duchi et al. 2011; torch/csrc/api/src/optim/adagrad.cpp.
class Adagrad : public Optimizer {
 public:
  Adagrad(std::vector<OptimizerParamGroup> groups, AdagradOptions defaults = {});
  Adagrad(std::vector<Tensor> params, AdagradOptions defaults = {});
  Tensor step(LossClosure closure = nullptr) override;
  std::string name() const override { return "Adagrad"; }
  std::unique_ptr<OptimizerParamState> make_state() const override;
  static inline GroupStep group_step = nullptr;  // set at start-up, by chapter 89
};

}  // namespace optim

}  // namespace tinytorch
