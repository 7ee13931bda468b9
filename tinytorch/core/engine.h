// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/node.h"

namespace tinytorch {

namespace autograd {
// backward() from several tensors at once. `grad_tensors` may be empty (ones, for single elements).
// With `inputs`, only those leaves accumulate.
void backward(const variable_list& tensors, const variable_list& grad_tensors = {}, std::optional<bool> retain_graph = std::nullopt,
              bool create_graph = false, const variable_list& inputs = {});
// The gradients of `outputs` with respect to `inputs`; touches no grad(). An input that was not used is an error unless allow_unused.
variable_list grad(const variable_list& outputs, const variable_list& inputs, const variable_list& grad_outputs = {},
                   std::optional<bool> retain_graph = std::nullopt, bool create_graph = false, bool allow_unused = false);
}  // namespace autograd

// Runs the graph backwards from `roots` with gradients `grads`. With `inputs` it returns the gradients that arrive at those edges and
// accumulates nothing; without, leaves accumulate. Each call keeps its own state: several may run at once, also nested.
// O(nodes + edges). Source: torch/csrc/autograd/engine.cpp.
variable_list run_backward(const edge_list& roots, variable_list grads, bool keep_graph, bool create_graph, const edge_list& inputs,
                           bool accumulate = false);

// Sums `grad` over the dimensions that broadcasting stretched. Returns a tensor of size `sizes`.
// REQUIRES: `sizes` broadcasts to grad.sizes(). O(grad.numel()) time; returns `grad` itself if nothing was stretched.
Tensor sum_to(const Tensor& grad, IntArrayRef sizes);

}  // namespace tinytorch
