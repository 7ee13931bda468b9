// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include "tinytorch/core/array_ref.h"

namespace tinytorch {
class Tensor;
class Node;

// What autograd adds to Tensor; chapter 99 adds hooks and the questions that are asked less often. Source: aten/src/ATen/core/TensorBase.h.
class AutogradMethods {
 public:
  // Gradients of this tensor (a single element, or weighted by `gradient` of its sizes) are added into the grad() of every leaf that it
  // was computed from, or of `inputs` only. Frees what the graph saved unless retain_graph, which create_graph implies.
  void backward() const;
  void backward(const Tensor& gradient, std::optional<bool> retain_graph = std::nullopt, bool create_graph = false,
                std::optional<ArrayRef<Tensor>> inputs = std::nullopt) const;

  bool requires_grad() const;
  Tensor& requires_grad_(bool requires_grad = true) const;  // leaves only
  bool is_leaf() const;                                     // made by the user, not by an operator that recorded
  const Tensor& grad() const;                               // undefined until a backward reaches this tensor
  Tensor& mutable_grad() const;
  std::shared_ptr<Node> grad_fn() const;  // the node that made this tensor; none for a leaf
  std::int64_t output_nr() const;         // which of the node's results it is
  Tensor detach() const;                  // the same data, outside the graph
};
}  // namespace tinytorch
