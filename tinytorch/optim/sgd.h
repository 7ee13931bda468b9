// From the lesson modules/06_optimizers/optimizers_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/optim/optimizer.h"

namespace tinytorch {

namespace optim {

struct SGDOptions : public OptimizerCloneableOptions<SGDOptions> {
  SGDOptions(double lr);
  TORCH_ARG(double, lr);
  TORCH_ARG(double, momentum) = 0;
  TORCH_ARG(double, dampening) = 0;
  TORCH_ARG(double, weight_decay) = 0;
  TORCH_ARG(bool, nesterov) = false;

 public:
  Fields fields() override;
};

struct SGDParamState : public OptimizerCloneableParamState<SGDParamState> {
  TORCH_ARG(Tensor, momentum_buffer);

 public:
  Fields fields() override;
};

// Stochastic gradient descent: p -= lr * v with v = momentum * v + (1 - dampening) * g, where g includes weight_decay * p.
// Source: torch/csrc/api/src/optim/sgd.cpp; Sutskever et al. 2013.
class SGD : public Optimizer {
 public:
  SGD(std::vector<OptimizerParamGroup> groups, SGDOptions defaults);
  SGD(std::vector<Tensor> params, SGDOptions defaults);
  Tensor step(LossClosure closure = nullptr) override;
  std::string name() const override { return "SGD"; }
  static inline GroupStep group_step = nullptr;  // set at start-up, by chapter 89
  std::unique_ptr<OptimizerParamState> make_state() const override;
};

}  // namespace optim

}  // namespace tinytorch
