// From the lesson modules/99_autograd_extras/autograd_extras_dev.cpp:
// edit the module, not this file.
#pragma once

#include <string>
#include <type_traits>
#include <typeinfo>
#include <unordered_map>
#include <vector>

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/inference_mode.h"
#include "tinytorch/core/ivalue.h"

namespace tinytorch {

namespace autograd {
using Variable = Tensor;
using tinytorch::AutoGradMode;
using tinytorch::Edge;
using tinytorch::edge_list;
using tinytorch::GradMode;
using tinytorch::InferenceMode;
using tinytorch::Node;
using tinytorch::variable_list;
using tensor_list = variable_list;

// What forward hands to backward. Source: torch/csrc/autograd/custom_function.h.
class AutogradContext {
 public:
  AutogradContext() = default;
  AutogradContext(const AutogradContext&) = delete;
  AutogradContext& operator=(const AutogradContext&) = delete;

  // Values that are not tensors.
  std::unordered_map<std::string, IValue> saved_data;

  // In forward, once: tensors that backward needs, arguments or results. Writes in between are noticed.
  void save_for_backward(variable_list to_save) { to_save_ = std::move(to_save); }
  // Arguments that forward wrote to; each must be returned.
  void mark_dirty(const variable_list& inputs);
  // Results without a gradient.
  void mark_non_differentiable(const variable_list& outputs);
  // With false, a gradient that did not arrive is an undefined tensor, not one of zeros.
  void set_materialize_grads(bool value) { materialize_grads_ = value; }

  // In backward: the tensors as they were saved. Throws if they were freed or written to.
  variable_list get_saved_variables() const;
  // In backward: whether anybody needs the gradient of tensor argument `index`.
  bool needs_input_grad(std::size_t index) const;

 private:
  friend class FunctionNode;
  using Impls = std::vector<TensorImpl*>;  // few, and each once
  static Impls impls_of(const variable_list& tensors);

  Impls dirty_;
  Impls non_differentiable_;
  variable_list to_save_;
  std::vector<SavedVariable> saved_;
  bool materialize_grads_ = true;
  std::weak_ptr<Node> node_;  // owns this context
};
}  // namespace autograd

namespace autograd {
// The node of a custom function, as far as it does not depend on which.
class FunctionNode : public Node {
 public:
  variable_list apply(variable_list&& grads) override;
  void release_variables() override;

  // Takes note of one argument of forward.
  void add_argument(const Tensor& argument);
  void add_argument(const std::optional<Tensor>& argument);
  void add_argument(TensorList arguments);
  template <class T>
  void add_argument(const T&) {
    add_other_argument();
  }
  // After the last argument: makes the edges. False if nothing is to be recorded.
  bool begin();
  // Gives the results of forward their history, and saves what forward asked to save.
  variable_list finish(variable_list outputs, bool records);

  AutogradContext context;

 private:
  virtual variable_list backward(variable_list grads) = 0;
  void add_other_argument();
  Tensor finish_output(const Tensor& output, bool records, std::size_t count);

  std::vector<bool> is_tensor_;  // of each argument
  variable_list inputs_;         // the tensor arguments, until finish()
  std::mutex mutex_;             // backward of one node runs in one thread at a time
};

// A readable form of typeid(...).name().
std::string demangle(const char* name);

template <class T>
class CppNode final : public FunctionNode {
 public:
  std::string name() const override { return "torch::autograd::CppNode<" + demangle(typeid(T).name()) + ">"; }  // as libtorch names it

 private:
  variable_list backward(variable_list grads) override { return T::backward(&context, std::move(grads)); }
};

template <class T, class... Args>
using forward_t = decltype(T::forward(nullptr, std::declval<Args>()...));

// Base class of custom functions: struct F : Function<F> with static functions
//   Tensor or variable_list forward(AutogradContext*, any arguments...)
//   variable_list backward(AutogradContext*, variable_list grads)
// F::apply(arguments...) returns what forward returns. Only arguments of type Tensor, optional<Tensor> and TensorList are part of the graph.
template <class T>
struct Function {
  template <class X = T, class... Args>
  static auto apply(Args&&... args) -> std::enable_if_t<std::is_same_v<X, T>, forward_t<X, Args...>> {
    const auto node = make_node<CppNode<T>>();
    (node->add_argument(args), ...);
    const bool records = node->begin();
    auto outputs = [&] {
      const NoGradGuard no_grad;
      return X::forward(&node->context, std::forward<Args>(args)...);
    }();
    if constexpr (std::is_same_v<decltype(outputs), Tensor>) {
      return node->finish({std::move(outputs)}, records)[0];
    } else {
      return node->finish(std::move(outputs), records);
    }
  }
};
}  // namespace autograd

}  // namespace tinytorch
