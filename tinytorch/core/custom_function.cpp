// From the lesson modules/99_autograd_extras/autograd_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/custom_function.h"

#include <algorithm>
#include <cstdlib>
#include <cxxabi.h>

#include "tinytorch/core/inplace_or_view.h"
#include "tinytorch/core/ops.h"

namespace tinytorch {

std::string autograd::demangle(const char* name) {
  int status = 0;
  char* const readable = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string text = status == 0 ? readable : name;
  std::free(readable);
  return text;
}

variable_list autograd::AutogradContext::get_saved_variables() const {
  variable_list tensors;
  const std::shared_ptr<Node> owner = node_.lock();
  for (const SavedVariable& saved : saved_) tensors.push_back(saved.unpack(*owner));
  return tensors;
}

bool autograd::AutogradContext::needs_input_grad(std::size_t index) const {
  const std::shared_ptr<Node> node = node_.lock();
  TORCH_CHECK(index < node->num_outputs(), "needs_input_grad: index ", index, " is out of range for a function of ", node->num_outputs(), " tensor arguments");
  return node->task_should_compute_output(index);
}

namespace {
bool is_among(const std::vector<TensorImpl*>& impls, const Tensor& tensor) { return std::ranges::find(impls, tensor.unsafeGetTensorImpl()) != impls.end(); }
}  // namespace

void autograd::AutogradContext::mark_dirty(const variable_list& inputs) { dirty_ = impls_of(inputs); }
void autograd::AutogradContext::mark_non_differentiable(const variable_list& outputs) { non_differentiable_ = impls_of(outputs); }

autograd::AutogradContext::Impls autograd::AutogradContext::impls_of(const variable_list& tensors) {
  Impls impls;
  for (const Tensor& tensor : tensors)
    if (!is_among(impls, tensor)) impls.push_back(tensor.unsafeGetTensorImpl());
  return impls;
}

void autograd::FunctionNode::add_other_argument() { is_tensor_.push_back(false); }
void autograd::FunctionNode::add_argument(const Tensor& argument) {
  is_tensor_.push_back(true);
  inputs_.push_back(argument);
}
void autograd::FunctionNode::add_argument(const std::optional<Tensor>& argument) {
  if (argument && argument->defined()) {
    add_argument(*argument);
  } else {
    add_other_argument();
  }
}
void autograd::FunctionNode::add_argument(TensorList arguments) {
  for (const Tensor& argument : arguments) add_argument(argument);
}

bool autograd::FunctionNode::begin() {
  context.node_ = weak_from_this();
  bool any = false;
  for (const Tensor& input : inputs_) any = any || (input.defined() && input.requires_grad());
  if (!any || !is_recording()) return false;
  edge_list edges;
  for (const Tensor& input : inputs_) edges.push_back(input.defined() ? gradient_edge(input) : Edge());
  set_next_edges(std::move(edges));
  return true;
}

Tensor autograd::FunctionNode::finish_output(const Tensor& output, bool records, std::size_t count) {
  const bool is_dirty = is_among(context.dirty_, output);
  bool is_input = false;
  for (const Tensor& input : inputs_) is_input = is_input || input.is_same(output);
  const bool differentiable = records && output.is_floating_point() && !is_among(context.non_differentiable_, output);
  const NoGradGuard no_grad;
  const Tensor result = is_input && !is_dirty ? output.view(output.sizes()) : output;
  if (!differentiable) {
    if (records) add_input_metadata(output);
    return result.requires_grad() && !result.is_view() ? result.detach() : result;
  }
  if (is_dirty) {
    TORCH_CHECK(!(output.is_leaf() && output.requires_grad()), "a leaf Variable that requires grad has been used in an in-place operation.");
    TORCH_CHECK(!output.is_view() || count == 1, "If your Function modifies inplace an input that is a view of another Tensor, your Function cannot return more than one Tensor. "
                "This is not supported by the current autograd engine.");
    rebase_history(output, shared_from_this());
    return output;
  }
  set_history(result, shared_from_this());
  if (AutogradMeta& meta = *autograd_meta(result); meta.view) meta.view->creation = CreationMeta::InCustomFunction;
  return result;
}

variable_list autograd::FunctionNode::finish(variable_list outputs, bool records) {
  std::size_t dirty = 0;
  for (const Tensor& output : outputs) dirty += is_among(context.dirty_, output) ? 1 : 0;
  TORCH_CHECK(dirty == context.dirty_.size(), "Some elements marked as dirty during the forward method were not returned as output. "
              "The inputs that are modified inplace must all be outputs of the Function.");
  for (Tensor& output : outputs)
    if (output.defined()) {
      if (is_among(context.dirty_, output)) detail::bump_version(output);
      output = finish_output(output, records, outputs.size());
    }
  if (records)
    for (const Tensor& tensor : context.to_save_) {
      const bool is_output = tensor.defined() && tensor.grad_fn().get() == this;
      context.saved_.emplace_back(tensor, is_output);
    }
  context.to_save_.clear();
  inputs_.clear();
  return outputs;
}

variable_list autograd::FunctionNode::apply(variable_list&& grads) {
  for (std::size_t i = 0; i < grads.size(); ++i)
    if (!grads[i].defined() && context.materialize_grads_) grads[i] = zeros(input_metadata(i).sizes, input_metadata(i).dtype);
  const std::lock_guard lock(mutex_);
  variable_list of_arguments = backward(std::move(grads));
  while (of_arguments.size() > is_tensor_.size() && !of_arguments.back().defined()) of_arguments.pop_back();
  TORCH_CHECK(of_arguments.size() == is_tensor_.size(), "function ", name(), " returned an incorrect number of gradients (expected ", is_tensor_.size(), ", got ",
              of_arguments.size(), ")");
  variable_list of_tensors;
  for (std::size_t i = 0; i < of_arguments.size(); ++i) {
    TORCH_CHECK(is_tensor_[i] || !of_arguments[i].defined(), "function ", name(), " returned a gradient different that is defined at position ", i + 1,
                ", std the corresponding forward input was not a Variable");
    if (is_tensor_[i]) of_tensors.push_back(std::move(of_arguments[i]));
  }
  return of_tensors;
}

void autograd::FunctionNode::release_variables() {
  for (SavedVariable& saved : context.saved_) saved.reset();
}

}  // namespace tinytorch
