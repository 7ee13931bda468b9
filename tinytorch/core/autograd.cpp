// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/autograd.h"

#include "tinytorch/core/ops.h"

namespace tinytorch {

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
