// From the lesson modules/99_autograd_extras/autograd_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/engine.h"
#include "tinytorch/core/ops.h"

namespace tinytorch {

namespace {
// The edges where a backward run starts, and the gradients to start with.
std::pair<edge_list, variable_list> starting_points(const variable_list& tensors, const variable_list& given) {
  TORCH_CHECK(given.empty() || given.size() == tensors.size(), "got ", tensors.size(), " tensors and ", given.size(), " gradients");
  edge_list roots;
  variable_list grads;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    roots.push_back(tensors[i].defined() ? gradient_edge(tensors[i]) : Edge());
    TORCH_CHECK(roots.back().is_valid(), "element ", i, " of tensors does not require grad and does not have a grad_fn\n"
                "Nothing it was computed from has requires_grad, or it was computed under NoGradGuard.");
    Tensor grad = given.empty() ? Tensor() : given[i];
    if (!grad.defined()) {
      TORCH_CHECK(tensors[i].numel() == 1, "grad can be implicitly created only for scalar outputs\n[backward] sizes ", tensors[i].sizes(),
                  "; reduce to one element, for example with sum(), or pass a gradient of these sizes.");
      grad = ones_like(tensors[i].detach());
    }
    TORCH_CHECK(grad.sizes() == tensors[i].sizes(), "invalid gradient at index ", i, " - got ", grad.sizes(), " but expected shape compatible with ", tensors[i].sizes());
    grads.push_back(std::move(grad));
  }
  return {std::move(roots), std::move(grads)};
}
}  // namespace

namespace {
edge_list edges_of_inputs(const variable_list& inputs) {
  edge_list edges;
  for (const Tensor& input : inputs) {
    edges.push_back(input.defined() ? gradient_edge(input) : Edge());
    TORCH_CHECK_VALUE(edges.back().is_valid(), "One of the differentiated Tensors does not require grad");
  }
  return edges;
}
}  // namespace

void autograd::backward(const variable_list& tensors, const variable_list& grad_tensors, std::optional<bool> retain_graph, bool create_graph,
                        const variable_list& inputs) {
  if (create_graph)
    TORCH_WARN_ONCE("Using backward() with create_graph=True will create a reference cycle between the parameter and its gradient which can cause a memory leak. "
                    "We recommend using autograd.grad when creating the graph to avoid this. If you have to use this function, make sure to reset the .grad fields "
                    "of your parameters to None after use to break the cycle and avoid the leak.");
  auto [roots, grads] = starting_points(tensors, grad_tensors);
  const edge_list targets = edges_of_inputs(inputs);
  for (const Tensor& input : inputs) input.retain_grad();  // one that is no leaf receives its gradient too
  run_backward(roots, std::move(grads), retain_graph.value_or(create_graph), create_graph, targets, true);
}

variable_list autograd::grad(const variable_list& outputs, const variable_list& inputs, const variable_list& grad_outputs,
                             std::optional<bool> retain_graph, bool create_graph, bool allow_unused) {
  TORCH_CHECK(!inputs.empty(), "grad requires non-empty inputs.");
  auto [roots, grads] = starting_points(outputs, grad_outputs);
  variable_list result = run_backward(roots, std::move(grads), retain_graph.value_or(create_graph), create_graph, edges_of_inputs(inputs));
  for (std::size_t i = 0; i < result.size(); ++i)
    TORCH_CHECK(allow_unused || result[i].defined(), "element ", i, "of the differentiated Tensors appears to not have been used in the graph. "  // libtorch's words, as they are
                "Set allow_unused=True if this is the desired behavior.");
  return result;
}

namespace {
const Tensor& self_of(const AutogradMethods& methods) { return static_cast<const Tensor&>(methods); }
}  // namespace

void AutogradMethods::backward() const { autograd::backward({self_of(*this)}); }
void AutogradMethods::backward(const Tensor& gradient, std::optional<bool> retain_graph, bool create_graph, std::optional<ArrayRef<Tensor>> inputs) const {
  TORCH_CHECK(!inputs || !inputs->empty(), "'inputs' argument to backward cannot be empty");
  autograd::backward({self_of(*this)}, {gradient}, retain_graph, create_graph, inputs ? inputs->vec() : variable_list());
}

std::shared_ptr<Node> AutogradMethods::grad_fn() const { return history(self_of(*this)); }

bool AutogradMethods::requires_grad() const { return wants_gradient(self_of(*this)); }

bool AutogradMethods::is_leaf() const { return grad_fn() == nullptr; }

std::int64_t AutogradMethods::output_nr() const {
  const AutogradMeta* const meta = autograd_meta(self_of(*this));
  return meta == nullptr ? 0 : meta->output_nr;
}

Tensor& AutogradMethods::requires_grad_(bool requires_grad) const {
  const Tensor& self = self_of(*this);
  TORCH_CHECK(!requires_grad || self.is_floating_point(), "only Tensors of floating point and complex dtype can require gradients");
  TORCH_CHECK(!requires_grad || !is_inference(self) || in_inference_mode(), "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.");
  TORCH_CHECK(is_leaf() || requires_grad, "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
              "subgraph that doesn't require differentiation use var_no_grad = var.detach().");
  if (is_leaf() && requires_grad != this->requires_grad()) {
    materialize_autograd_meta(self).requires_grad = requires_grad;
    TensorImpl& impl = self.impl();
    impl.layers = requires_grad || autograd_meta(self)->view ? impl.layers | Layer::Autograd : impl.layers - Layer::Autograd;
  }
  return const_cast<Tensor&>(self);
}

const Tensor& AutogradMethods::grad() const {
  static const Tensor none;
  const AutogradMeta* const meta = autograd_meta(self_of(*this));
  if (meta == nullptr) return none;
  return meta->retained_grad ? *meta->retained_grad : meta->grad;
}

Tensor& AutogradMethods::mutable_grad() const {
  AutogradMeta& meta = materialize_autograd_meta(self_of(*this));
  return meta.retained_grad ? *meta.retained_grad : meta.grad;
}

// A second handle on the same bytes, without the graph. It shares the version counter, so a write through it is noticed.
Tensor AutogradMethods::detach() const {
  const TensorImpl& impl = self_of(*this).impl();
  return Tensor(make_intrusive<TensorImpl>(impl, impl.layers - Layer::Autograd));
}

}  // namespace tinytorch
