// From the lesson modules/89_training_kernels/training_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "tinytorch/core/inplace_or_view.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/optimizer_kernels.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/optim/adagrad.h"
#include "tinytorch/optim/adam.h"
#include "tinytorch/optim/rmsprop.h"
#include "tinytorch/optim/sgd.h"

namespace tinytorch {

namespace {
template <class T>
const kernels::OptimizerTable<T>& optimizer_table() {
  using namespace kernels;
  static constexpr const OptimizerKernels* tables[] = TINYTORCH_PER_CAPABILITY(optimizer_kernels);
  const OptimizerKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

// The parameters of a group that have gradients, and what the optimizer keeps for them, in the same order. A list that is not used is empty.
struct StepTensors {
  std::vector<Tensor> parameters, grads, first, second, third;
  std::vector<std::int64_t> counts;  // of the steps, this one included; for SGD whether it is the first
};

// Whether the numbers of `t` lie one after another in the order in which the parameter's do, as rows or with channels last.
bool lies_as(const Tensor& parameter, const Tensor& t) {
  if (parameter.is_contiguous()) return t.is_contiguous() && t.numel() == parameter.numel();
  return parameter.is_contiguous(MemoryFormat::ChannelsLast) && t.sizes() == parameter.sizes() && t.is_contiguous(MemoryFormat::ChannelsLast);
}

// All of one dtype, float or double, dense, in the order of their parameter, and in the host's memory.
bool fit_one_walk(const StepTensors& tensors) {
  const ScalarType type = tensors.parameters[0].scalar_type();
  if (type != kFloat && type != kDouble) return false;
  for (const std::vector<Tensor>* list : {&tensors.parameters, &tensors.grads, &tensors.first, &tensors.second, &tensors.third}) {
    for (std::size_t i = 0; i < list->size(); ++i) {
      const Tensor& t = (*list)[i];
      if (!t.defined() || t.scalar_type() != type || t.is_elsewhere() || !lies_as(tensors.parameters[i], t)) return false;
    }
  }
  return true;
}

// Calls f(i, first, count) for pieces of all parameters, on all threads.
template <class F>
void for_pieces(TensorList parameters, F f) {
  struct Piece {
    std::size_t i;
    std::int64_t first, count;
  };
  constexpr std::int64_t most = 1 << 14;
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < parameters.size(); ++i)
    for (std::int64_t first = 0; first < parameters[i].numel(); first += most) pieces.push_back({i, first, std::min(most, parameters[i].numel() - first)});
  // Small parameters share a task: tasks end where `most` numbers are together.
  std::vector<std::size_t> ends;
  std::int64_t together = 0;
  for (std::size_t k = 0; k < pieces.size(); ++k) {
    together += pieces[k].count;
    if (together < most && k + 1 < pieces.size()) continue;
    ends.push_back(k + 1);
    together = 0;
  }
  kernels::run_tasks(static_cast<std::int64_t>(ends.size()), [&](std::int64_t task) {
    const auto t = static_cast<std::size_t>(task);
    for (std::size_t k = t == 0 ? 0 : ends[t - 1]; k < ends[t]; ++k) f(pieces[k].i, pieces[k].first, pieces[k].count);
  });
}

template <class T>
T* place_in(TensorList list, std::size_t i, std::int64_t first) {
  return list.empty() ? nullptr : list[i].data<T>() + first;
}

// The operators return whether they did it. On the layer CPU nothing does: the optimizer composes.
using AdamOperator = Operator<bool(TensorList, TensorList, TensorList, TensorList, TensorList, IntArrayRef, double, double, double, double, double, bool)>;
bool no_fused_adam(TensorList, TensorList, TensorList, TensorList, TensorList, IntArrayRef, double, double, double, double, double, bool) { return false; }
constinit AdamOperator fused_adam("fused_adam", {.cpu = no_fused_adam});

bool fused_adam_tuned(TensorList parameters, TensorList grads, TensorList exp_avgs, TensorList exp_avg_sqs, TensorList max_exp_avg_sqs, IntArrayRef steps, double lr, double beta1, double beta2, double eps,
                      double weight_decay, bool decoupled) {
  const auto walk = [&]<class T>() {
    std::vector<kernels::AdamStep<T>> numbers;
    for (const std::int64_t step : steps) {
      const double correction1 = 1 - std::pow(beta1, static_cast<double>(step)), correction2 = 1 - std::pow(beta2, static_cast<double>(step));
      numbers.push_back({static_cast<T>(decoupled ? 1 - lr * weight_decay : 1), static_cast<T>(decoupled ? 0 : weight_decay), static_cast<T>(beta1), static_cast<T>(beta2), static_cast<T>(1 - beta1),
                         static_cast<T>(1 - beta2), static_cast<T>(1 / std::sqrt(correction2)), static_cast<T>(eps), static_cast<T>(lr / correction1)});
    }
    for_pieces(parameters, [&](std::size_t i, std::int64_t first, std::int64_t count) {
      optimizer_table<T>().adam(numbers[i], count, place_in<T>(parameters, i, first), place_in<T>(grads, i, first), place_in<T>(exp_avgs, i, first), place_in<T>(exp_avg_sqs, i, first),
                                place_in<T>(max_exp_avg_sqs, i, first));
    });
  };
  if (parameters[0].scalar_type() == kFloat) walk.template operator()<float>();
  else walk.template operator()<double>();
  return true;
}

using SGDOperator = Operator<bool(TensorList, TensorList, TensorList, IntArrayRef, double, double, double, double, bool)>;
bool no_fused_sgd(TensorList, TensorList, TensorList, IntArrayRef, double, double, double, double, bool) { return false; }
constinit SGDOperator fused_sgd("fused_sgd", {.cpu = no_fused_sgd});

bool fused_sgd_tuned(TensorList parameters, TensorList grads, TensorList buffers, IntArrayRef are_first, double lr, double momentum, double dampening, double weight_decay, bool nesterov) {
  const auto walk = [&]<class T>() {
    for_pieces(parameters, [&](std::size_t i, std::int64_t first, std::int64_t count) {
      const kernels::SGDStep<T> numbers{static_cast<T>(weight_decay), static_cast<T>(momentum), static_cast<T>(1 - dampening), static_cast<T>(lr), nesterov, are_first[i] != 0};
      optimizer_table<T>().sgd(numbers, count, place_in<T>(parameters, i, first), place_in<T>(grads, i, first), place_in<T>(buffers, i, first));
    });
  };
  if (parameters[0].scalar_type() == kFloat) walk.template operator()<float>();
  else walk.template operator()<double>();
  return true;
}

using RMSpropOperator = Operator<bool(TensorList, TensorList, TensorList, TensorList, TensorList, double, double, double, double, double)>;
bool no_fused_rmsprop(TensorList, TensorList, TensorList, TensorList, TensorList, double, double, double, double, double) { return false; }
constinit RMSpropOperator fused_rmsprop("fused_rmsprop", {.cpu = no_fused_rmsprop});

bool fused_rmsprop_tuned(TensorList parameters, TensorList grads, TensorList square_avgs, TensorList grad_avgs, TensorList buffers, double lr, double alpha, double eps, double weight_decay, double momentum) {
  const auto walk = [&]<class T>() {
    const kernels::RMSpropStep<T> numbers{static_cast<T>(weight_decay), static_cast<T>(alpha), static_cast<T>(1 - alpha), static_cast<T>(eps), static_cast<T>(momentum), static_cast<T>(lr)};
    for_pieces(parameters, [&](std::size_t i, std::int64_t first, std::int64_t count) {
      optimizer_table<T>().rmsprop(numbers, count, place_in<T>(parameters, i, first), place_in<T>(grads, i, first), place_in<T>(square_avgs, i, first), place_in<T>(grad_avgs, i, first),
                                   place_in<T>(buffers, i, first));
    });
  };
  if (parameters[0].scalar_type() == kFloat) walk.template operator()<float>();
  else walk.template operator()<double>();
  return true;
}

using AdagradOperator = Operator<bool(TensorList, TensorList, TensorList, IntArrayRef, double, double, double, double)>;
bool no_fused_adagrad(TensorList, TensorList, TensorList, IntArrayRef, double, double, double, double) { return false; }
constinit AdagradOperator fused_adagrad("fused_adagrad", {.cpu = no_fused_adagrad});

bool fused_adagrad_tuned(TensorList parameters, TensorList grads, TensorList sums, IntArrayRef steps, double lr, double lr_decay, double eps, double weight_decay) {
  const auto walk = [&]<class T>() {
    for_pieces(parameters, [&](std::size_t i, std::int64_t first, std::int64_t count) {
      const double rate = lr / (1 + static_cast<double>(steps[i] - 1) * lr_decay);
      const kernels::AdagradStep<T> numbers{static_cast<T>(weight_decay), static_cast<T>(eps), static_cast<T>(rate)};
      optimizer_table<T>().adagrad(numbers, count, place_in<T>(parameters, i, first), place_in<T>(grads, i, first), place_in<T>(sums, i, first));
    });
  };
  if (parameters[0].scalar_type() == kFloat) walk.template operator()<float>();
  else walk.template operator()<double>();
  return true;
}

// The state of `parameter`, made at first use.
template <class State>
State& state_for(optim::Optimizer& optimizer, const Tensor& parameter) {
  std::unique_ptr<optim::OptimizerParamState>& entry = optimizer.state()[parameter.unsafeGetTensorImpl()];
  if (!entry) entry = optimizer.make_state();
  return static_cast<State&>(*entry);
}

// Every parameter of the group that has a gradient, and the gradient.
StepTensors with_gradients(const optim::OptimizerParamGroup& group) {
  StepTensors tensors;
  for (const Tensor& parameter : group.params()) {
    if (!parameter.grad().defined()) continue;
    tensors.parameters.push_back(parameter);
    tensors.grads.push_back(parameter.grad());
  }
  return tensors;
}

// Counts the writes, as operators in place do.
void count_step(const StepTensors& tensors) {
  for (const std::vector<Tensor>* list : {&tensors.parameters, &tensors.first, &tensors.second, &tensors.third})
    for (const Tensor& tensor : *list) detail::bump_version(tensor);
}

template <class Options>
bool step_adam_group(optim::Optimizer& optimizer, optim::OptimizerParamGroup& group, bool decoupled) {
  const auto& options = static_cast<const Options&>(group.options());
  StepTensors tensors = with_gradients(group);
  if (tensors.parameters.empty() || !fit_one_walk(tensors)) return false;
  std::vector<optim::AdamParamState*> states;
  for (const Tensor& parameter : tensors.parameters) {
    auto& state = state_for<optim::AdamParamState>(optimizer, parameter);
    if (!state.exp_avg().defined()) {
      state.exp_avg(zeros_like(parameter));
      state.exp_avg_sq(zeros_like(parameter));
      if (options.amsgrad()) state.max_exp_avg_sq(zeros_like(parameter));
    }
    states.push_back(&state);
    tensors.first.push_back(state.exp_avg());
    tensors.second.push_back(state.exp_avg_sq());
    if (options.amsgrad()) tensors.third.push_back(state.max_exp_avg_sq());
    tensors.counts.push_back(state.step() + 1);
  }
  if (!fit_one_walk(tensors)) return false;
  for (const Tensor& parameter : tensors.parameters) detail::check_inference_write(parameter);
  const auto [beta1, beta2] = options.betas();
  const bool done = fused_adam(tensors.parameters, tensors.grads, tensors.first, tensors.second, tensors.third, tensors.counts, options.lr(), beta1, beta2, options.eps(), options.weight_decay(), decoupled);
  if (!done) return false;
  for (std::size_t i = 0; i < states.size(); ++i) states[i]->step(tensors.counts[i]);
  count_step(tensors);
  return true;
}

bool step_sgd_group(optim::Optimizer& optimizer, optim::OptimizerParamGroup& group) {
  const auto& options = static_cast<const optim::SGDOptions&>(group.options());
  StepTensors tensors = with_gradients(group);
  if (tensors.parameters.empty() || !fit_one_walk(tensors)) return false;
  std::vector<optim::SGDParamState*> states;
  for (const Tensor& parameter : tensors.parameters) {
    auto& state = state_for<optim::SGDParamState>(optimizer, parameter);
    if (options.momentum() == 0) continue;
    states.push_back(&state);
    tensors.counts.push_back(state.momentum_buffer().defined() ? 0 : 1);
    tensors.first.push_back(state.momentum_buffer().defined() ? state.momentum_buffer() : empty_like(parameter));
  }
  tensors.counts.resize(tensors.parameters.size());
  if (!fit_one_walk(tensors)) return false;
  for (const Tensor& parameter : tensors.parameters) detail::check_inference_write(parameter);
  const bool done = fused_sgd(tensors.parameters, tensors.grads, tensors.first, tensors.counts, options.lr(), options.momentum(), options.dampening(), options.weight_decay(), options.nesterov());
  if (!done) return false;
  for (std::size_t i = 0; i < states.size(); ++i) states[i]->momentum_buffer() = tensors.first[i];
  count_step(tensors);
  return true;
}

bool step_rmsprop_group(optim::Optimizer& optimizer, optim::OptimizerParamGroup& group) {
  const auto& options = static_cast<const optim::RMSpropOptions&>(group.options());
  StepTensors tensors = with_gradients(group);
  if (tensors.parameters.empty() || !fit_one_walk(tensors)) return false;
  std::vector<optim::RMSpropParamState*> states;
  for (const Tensor& parameter : tensors.parameters) {
    auto& state = state_for<optim::RMSpropParamState>(optimizer, parameter);
    if (!state.square_avg().defined()) state.square_avg(zeros_like(parameter));
    if (options.centered() && !state.grad_avg().defined()) state.grad_avg(zeros_like(parameter));
    if (options.momentum() > 0 && !state.momentum_buffer().defined()) state.momentum_buffer(zeros_like(parameter));
    states.push_back(&state);
    tensors.first.push_back(state.square_avg());
    if (options.centered()) tensors.second.push_back(state.grad_avg());
    if (options.momentum() > 0) tensors.third.push_back(state.momentum_buffer());
  }
  if (!fit_one_walk(tensors)) return false;
  for (const Tensor& parameter : tensors.parameters) detail::check_inference_write(parameter);
  const bool done = fused_rmsprop(tensors.parameters, tensors.grads, tensors.first, tensors.second, tensors.third, options.lr(), options.alpha(), options.eps(), options.weight_decay(), options.momentum());
  if (!done) return false;
  for (optim::RMSpropParamState* const state : states) state->step(state->step() + 1);
  count_step(tensors);
  return true;
}

bool step_adagrad_group(optim::Optimizer& optimizer, optim::OptimizerParamGroup& group) {
  const auto& options = static_cast<const optim::AdagradOptions&>(group.options());
  StepTensors tensors = with_gradients(group);
  if (tensors.parameters.empty() || !fit_one_walk(tensors)) return false;
  std::vector<optim::AdagradParamState*> states;
  for (const Tensor& parameter : tensors.parameters) {
    auto& state = state_for<optim::AdagradParamState>(optimizer, parameter);
    if (!state.sum().defined()) state.sum(full_like(parameter, options.initial_accumulator_value()));
    states.push_back(&state);
    tensors.first.push_back(state.sum());
    tensors.counts.push_back(state.step() + 1);
  }
  if (!fit_one_walk(tensors)) return false;
  for (const Tensor& parameter : tensors.parameters) detail::check_inference_write(parameter);
  const bool done = fused_adagrad(tensors.parameters, tensors.grads, tensors.first, tensors.counts, options.lr(), options.lr_decay(), options.eps(), options.weight_decay());
  if (!done) return false;
  for (std::size_t i = 0; i < states.size(); ++i) states[i]->step(tensors.counts[i]);
  count_step(tensors);
  return true;
}
}  // namespace

void register_fused_optimizers() {
  fused_adam.set(Layer::TunedCPU, fused_adam_tuned);
  fused_sgd.set(Layer::TunedCPU, fused_sgd_tuned);
  fused_rmsprop.set(Layer::TunedCPU, fused_rmsprop_tuned);
  fused_adagrad.set(Layer::TunedCPU, fused_adagrad_tuned);
  optim::Adam::group_step = [](optim::Optimizer& optimizer, optim::OptimizerParamGroup& group) { return step_adam_group<optim::AdamOptions>(optimizer, group, false); };
  optim::AdamW::group_step = [](optim::Optimizer& optimizer, optim::OptimizerParamGroup& group) { return step_adam_group<optim::AdamWOptions>(optimizer, group, true); };
  optim::SGD::group_step = step_sgd_group;
  optim::RMSprop::group_step = step_rmsprop_group;
  optim::Adagrad::group_step = step_adagrad_group;
}

}  // namespace tinytorch
