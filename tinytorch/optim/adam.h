// From the lesson modules/06_optimizers/optimizers_dev.cpp:
// edit the module, not this file.
#pragma once

#include <tuple>

#include "tinytorch/optim/optimizer.h"

namespace tinytorch {

namespace optim {

struct AdamOptions : public OptimizerCloneableOptions<AdamOptions> {
  AdamOptions(double lr = 1e-3);
  using betas_t = std::tuple<double, double>;
  TORCH_ARG(double, lr);
  TORCH_ARG(betas_t, betas) = std::make_tuple(0.9, 0.999);
  TORCH_ARG(double, eps) = 1e-8;
  TORCH_ARG(double, weight_decay) = 0;
  TORCH_ARG(bool, amsgrad) = false;

 public:
  Fields fields() override;
};

struct AdamWOptions : public OptimizerCloneableOptions<AdamWOptions> {
  AdamWOptions(double lr = 1e-3);
  using betas_t = std::tuple<double, double>;
  TORCH_ARG(double, lr);
  TORCH_ARG(betas_t, betas) = std::make_tuple(0.9, 0.999);
  TORCH_ARG(double, eps) = 1e-8;
  TORCH_ARG(double, weight_decay) = 1e-2;
  TORCH_ARG(bool, amsgrad) = false;

 public:
  Fields fields() override;
};

struct AdamParamState : public OptimizerCloneableParamState<AdamParamState> {
  TORCH_ARG(std::int64_t, step) = 0;
  TORCH_ARG(Tensor, exp_avg);
  TORCH_ARG(Tensor, exp_avg_sq);
  TORCH_ARG(Tensor, max_exp_avg_sq);

 public:
  Fields fields() override;
};
using AdamWParamState = AdamParamState;

// Adam: a step of lr * m / (sqrt(v) + eps) with running means m of the gradient and v of its square, both corrected for starting at 0;
// weight decay is added to the gradient. Source: Kingma and Ba 2015; torch/csrc/api/src/optim/adam.cpp.
class Adam : public Optimizer {
 public:
  Adam(std::vector<OptimizerParamGroup> groups, AdamOptions defaults = {});
  Adam(std::vector<Tensor> params, AdamOptions defaults = {});
  Tensor step(LossClosure closure = nullptr) override;
  std::string name() const override { return "Adam"; }
  static inline GroupStep group_step = nullptr;  // set at start-up, by chapter 89
  std::unique_ptr<OptimizerParamState> make_state() const override;
};

// AdamW: Adam whose weight decay shrinks the parameter itself, apart from the gradient. Source: Loshchilov and Hutter 2019.
class AdamW : public Optimizer {
 public:
  AdamW(std::vector<OptimizerParamGroup> groups, AdamWOptions defaults = {});
  AdamW(std::vector<Tensor> params, AdamWOptions defaults = {});
  Tensor step(LossClosure closure = nullptr) override;
  std::string name() const override { return "AdamW"; }
  static inline GroupStep group_step = nullptr;  // set at start-up, by chapter 89
  std::unique_ptr<OptimizerParamState> make_state() const override;
};

}  // namespace optim

}  // namespace tinytorch
