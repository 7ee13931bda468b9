// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/autograd.h"

#include "tinytorch/core/ops.h"

namespace tinytorch {

namespace {
const Tensor& self_of(const AutogradMethods& methods) { return static_cast<const Tensor&>(methods); }
}  // namespace

void AutogradMethods::backward() const { autograd::backward({self_of(*this)}); }
void AutogradMethods::backward(const Tensor& gradient, bool retain_graph, bool create_graph) const {
  autograd::backward({self_of(*this)}, {gradient}, retain_graph || create_graph, create_graph);
}

std::shared_ptr<Node> AutogradMethods::grad_fn() const { return history(self_of(*this)); }

bool AutogradMethods::requires_grad() const {
  const AutogradMeta* const meta = autograd_meta(self_of(*this));
  if (meta == nullptr) return false;
  return meta->requires_grad || (meta->base.defined() ? history(self_of(*this)) : meta->grad_fn) != nullptr;
}

bool AutogradMethods::is_leaf() const { return grad_fn() == nullptr; }

std::int64_t AutogradMethods::output_nr() const {
  const AutogradMeta* const meta = autograd_meta(self_of(*this));
  return meta == nullptr ? 0 : meta->output_nr;
}

std::int64_t AutogradMethods::_version() const { return self_of(*this).storage()->version.load(); }

Tensor& AutogradMethods::requires_grad_(bool requires_grad) const {
  const Tensor& self = self_of(*this);
  TORCH_CHECK(!requires_grad || self.is_floating_point(), "only Tensors of floating point and complex dtype can require gradients");
  TORCH_CHECK(is_leaf() || requires_grad, "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
              "subgraph that doesn't require differentiation use var_no_grad = var.detach().");
  if (is_leaf() && requires_grad != this->requires_grad()) {
    materialize_autograd_meta(self).requires_grad = requires_grad;
    TensorImpl& impl = self.impl();
    impl.layers = requires_grad ? impl.layers | Layer::Autograd : impl.layers - Layer::Autograd;
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
  return make_tensor(impl.storage, impl.dtype, impl.layers - Layer::Autograd, impl.sizes, impl.strides, impl.offset);
}

Tensor& AutogradMethods::detach_() const {
  const Tensor& self = self_of(*this);
  TORCH_CHECK(!is_view(), "Can't detach views in-place. Use detach() instead.");
  self.impl().metadata.reset();
  self.impl().layers = self.impl().layers - Layer::Autograd;
  return const_cast<Tensor&>(self);
}

bool AutogradMethods::is_view() const {
  const AutogradMeta* const meta = autograd_meta(self_of(*this));
  return meta != nullptr && meta->base.defined();
}

const Tensor& AutogradMethods::_base() const {
  TORCH_CHECK(is_view(), "Can't get base of non-view Variable");
  return autograd_meta(self_of(*this))->base;
}

std::size_t AutogradMethods::add_hook(std::function<Tensor(const Tensor&)> hook) const {
  const Tensor& self = self_of(*this);
  TORCH_CHECK(requires_grad(), "cannot register a hook on a variable that doesn't require gradient");
  AutogradMeta& meta = materialize_autograd_meta(self);
  auto shared = std::make_shared<TensorHook>(std::move(hook));
  const Edge edge = gradient_edge(self);
  edge.function->tensor_pre_hooks.emplace_back(edge.input_nr, shared);
  meta.hooks.push_back(std::move(shared));
  return meta.hooks.size() - 1;
}

void AutogradMethods::remove_hook(std::size_t position) const {
  AutogradMeta* const meta = autograd_meta(self_of(*this));
  TORCH_CHECK(meta != nullptr && position < meta->hooks.size() && meta->hooks[position], "Invalid index, no hook at position ", position);
  // The node may hold the hook too: it is replaced by one that does nothing, so that positions stay.
  *meta->hooks[position] = [](const Tensor&) { return Tensor(); };
}

void AutogradMethods::retain_grad() const {
  const Tensor& self = self_of(*this);
  TORCH_CHECK(requires_grad(), "can't retain_grad on Tensor that has requires_grad=False");
  AutogradMeta& meta = materialize_autograd_meta(self);
  if (is_leaf() || meta.retained_grad) return;
  meta.retained_grad = std::make_shared<Tensor>();
  register_hook([slot = meta.retained_grad](const Tensor& grad) { *slot = slot->defined() ? *slot + grad : grad.clone(); });
}

TensorOptions AutogradOptions::requires_grad(bool requires_grad) const {
  const auto& self = static_cast<const TensorOptions&>(*this);
  return self.layers(requires_grad ? self.layers() | Layer::Autograd : self.layers() - Layer::Autograd);
}
bool AutogradOptions::requires_grad() const { return static_cast<const TensorOptions&>(*this).layers().has(Layer::Autograd); }

}  // namespace tinytorch
