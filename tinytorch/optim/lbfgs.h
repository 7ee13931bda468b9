// From the lesson modules/98_optim_extras/optim_extras_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/optim/optimizer.h"

namespace tinytorch {

namespace optim {

struct LBFGSOptions : public OptimizerCloneableOptions<LBFGSOptions> {
  LBFGSOptions(double lr = 1);
  TORCH_ARG(double, lr);
  TORCH_ARG(std::int64_t, max_iter) = 20;                          // iterations in one step()
  TORCH_ARG(std::optional<std::int64_t>, max_eval) = std::nullopt;  // calls of the closure in one step(); by default max_iter * 5 / 4
  TORCH_ARG(double, tolerance_grad) = 1e-7;                        // ends when no element of the gradient is larger
  TORCH_ARG(double, tolerance_change) = 1e-9;                      // ends when neither parameters nor loss change more
  TORCH_ARG(std::int64_t, history_size) = 100;
  TORCH_ARG(std::optional<std::string>, line_search_fn) = std::nullopt;  // "strong_wolfe" or none: steps of length lr

 public:
  Fields fields() override;
};

// All parameters are one vector here; its state is kept under the first of them.
struct LBFGSParamState : public OptimizerCloneableParamState<LBFGSParamState> {
  TORCH_ARG(std::int64_t, func_evals) = 0;
  TORCH_ARG(std::int64_t, n_iter) = 0;
  TORCH_ARG(double, t) = 0;          // the last step length
  TORCH_ARG(double, prev_loss) = 0;
  TORCH_ARG(Tensor, d);              // the last direction
  TORCH_ARG(Tensor, H_diag);         // s.y / y.y of the newest pair
  TORCH_ARG(Tensor, prev_flat_grad);
  TORCH_ARG(std::deque<Tensor>, old_dirs);  // y, oldest first
  TORCH_ARG(std::deque<Tensor>, old_stps);  // s
  TORCH_ARG(std::deque<Tensor>, ro);        // 1 / (s.y)

 public:
  Fields fields() override;
  bool spans_all_parameters() const override { return true; }
};

// Limited-memory BFGS. step() needs a closure that clears the gradients, computes the loss and calls backward(); it is called up to max_eval times.
// One parameter group only. Source: Nocedal 1980; torch/csrc/api/src/optim/lbfgs.cpp.
class LBFGS : public Optimizer {
 public:
  LBFGS(std::vector<OptimizerParamGroup> groups, LBFGSOptions defaults = {});
  LBFGS(std::vector<Tensor> params, LBFGSOptions defaults = {});
  Tensor step(LossClosure closure) override;
  std::string name() const override { return "LBFGS"; }
  std::unique_ptr<OptimizerParamState> make_state() const override;

 private:
  Tensor flat_grad() const;
  void move_parameters(const Tensor& direction, double t);
};

}  // namespace optim

}  // namespace tinytorch
