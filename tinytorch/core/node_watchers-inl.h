// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "tinytorch/core/node.h"

namespace tinytorch {

// Who looks at a node, which most nodes have nobody for: one pointer that is null is made and destroyed sooner than four lists that are empty.
struct NodeWatchers {
  // Hooks on the gradients that arrive, by input number, in the order of registration.
  std::vector<std::pair<std::uint32_t, std::shared_ptr<TensorHook>>> tensor_pre_hooks;
  // Where gradients that retain_grad() asked for are put, by input number, after the hooks.
  std::vector<std::pair<std::uint32_t, std::shared_ptr<Tensor>>> retained_grads;
  // Hooks on the node: called with what apply() was given and what it returned.
  std::vector<std::function<void(const variable_list& grad_inputs, const variable_list& grad_outputs)>> post_hooks;
  // In anomaly mode, where in the program the node was recorded.
  std::shared_ptr<const AnomalyRecord> anomaly_record;
};

}  // namespace tinytorch
