// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>

namespace tinytorch {
class Tensor;
class Node;

// What autograd adds to Tensor. Source: aten/src/ATen/core/TensorBase.h.
class AutogradMethods {
 public:
  // Gradients of this tensor (a single element, or weighted by `gradient` of its sizes) are added into the grad() of every
  // leaf that it was computed from. Frees what the graph saved unless retain_graph.
  void backward() const;
  void backward(const Tensor& gradient, bool retain_graph = false, bool create_graph = false) const;

  bool requires_grad() const;
  Tensor& requires_grad_(bool requires_grad = true) const;  // leaves only
  bool is_leaf() const;                                     // made by the user, not by an operator that recorded
  const Tensor& grad() const;                               // undefined until a backward reaches this tensor
  Tensor& mutable_grad() const;
  void retain_grad() const;  // keep grad() for a tensor that is not a leaf
  std::shared_ptr<Node> grad_fn() const;
  std::int64_t output_nr() const;
  std::int64_t _version() const;  // writes in place to the storage so far

  Tensor detach() const;    // the same data, outside the graph
  Tensor& detach_() const;  // takes this tensor out of the graph
  bool is_view() const;
  const Tensor& _base() const;

  // `hook` is called with the gradient of this tensor and may return another, or nothing; returns the position for remove_hook.
  template <class F>
  std::size_t register_hook(F hook) const {
    if constexpr (std::is_void_v<std::invoke_result_t<F, const Tensor&>>) {
      return add_hook([hook](const Tensor& grad) {
        hook(grad);
        return std::decay_t<decltype(grad)>();
      });
    } else {
      return add_hook(hook);
    }
  }
  void remove_hook(std::size_t position) const;

 private:
  std::size_t add_hook(std::function<Tensor(const Tensor&)> hook) const;
};
}  // namespace tinytorch
