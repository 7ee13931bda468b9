// From the lesson modules/99_autograd_extras/autograd_extras_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>

#include "tinytorch/core/autograd.h"
#include "tinytorch/core/node_watchers-inl.h"
#include "tinytorch/core/pointwise_ops.h"

namespace tinytorch {

namespace {
const Tensor& tensor_of(const HistoryMethods& methods) { return static_cast<const Tensor&>(methods); }
const ViewMeta* view_of(const Tensor& tensor) {
  const AutogradMeta* const meta = autograd_meta(tensor);
  return meta == nullptr ? nullptr : meta->view.get();
}
}  // namespace

unsigned HistoryMethods::add_hook(std::function<Tensor(const Tensor&)> hook) const {
  const Tensor& self = tensor_of(*this);
  TORCH_CHECK(self.requires_grad(), "cannot register a hook on a variable that doesn't require gradient");
  auto shared = std::make_shared<TensorHook>(std::move(hook));
  const Edge edge = gradient_edge(self);
  edge.function->watch().tensor_pre_hooks.emplace_back(edge.input_nr, shared);
  AutogradMeta& meta = materialize_autograd_meta(self);
  meta.hooks.push_back(std::move(shared));
  return static_cast<unsigned>(meta.hooks.size() - 1);
}

void HistoryMethods::remove_hook(unsigned position) const {
  AutogradMeta* const meta = autograd_meta(tensor_of(*this));
  TORCH_CHECK(meta != nullptr && position < meta->hooks.size(), "Invalid index, no hook at position ", position);
  *meta->hooks[position] = nullptr;  // the node holds it too; it stays, empty, so that positions stay
}

bool HistoryMethods::retains_grad() const {
  const AutogradMeta* const meta = autograd_meta(tensor_of(*this));
  return meta != nullptr && meta->retained_grad != nullptr;
}

void HistoryMethods::retain_grad() const {
  const Tensor& self = tensor_of(*this);
  TORCH_CHECK(self.requires_grad(), "can't retain_grad on Tensor that has requires_grad=False");
  if (self.is_leaf() || retains_grad()) return;
  AutogradMeta& meta = materialize_autograd_meta(self);
  meta.retained_grad = std::make_shared<Tensor>();
  meta.grad_fn->watch().retained_grads.emplace_back(meta.output_nr, meta.retained_grad);
}

void call_hooks(const NodeWatchers& watchers, variable_list& grads) {
  std::size_t position = 0;
  for (const auto& [input, hook] : watchers.tensor_pre_hooks) {
    Tensor& grad = grads[input];
    if (!*hook) continue;
    if (Tensor replaced = (*hook)(grad); replaced.defined()) {
      TORCH_CHECK(!grad.defined() || replaced.sizes() == grad.sizes(), "hook '", position, "' has changed the size of value\n[register_hook] from ", grad.sizes(), " to ", replaced.sizes());
      grad = std::move(replaced);
    }
    ++position;
  }
  for (const auto& [input, kept] : watchers.retained_grads)
    if (grads[input].defined()) *kept = kept->defined() ? *kept + grads[input] : grads[input].clone();
}

const Tensor& HistoryMethods::set_requires_grad(bool requires_grad) const {
  const Tensor& self = tensor_of(*this);
  if (self.is_leaf()) self.requires_grad_(requires_grad);
  return self;
}

Tensor& HistoryMethods::detach_() const {
  const Tensor& self = tensor_of(*this);
  TORCH_CHECK(!is_view(), "Can't detach views in-place. Use detach() instead.");
  AutogradMeta& meta = materialize_autograd_meta(self);
  meta.requires_grad = false;
  meta.grad_fn.reset();
  meta.output_nr = 0;
  self.impl().layers = self.impl().layers - Layer::Autograd;
  return const_cast<Tensor&>(self);
}

bool HistoryMethods::is_view() const { return view_of(tensor_of(*this)) != nullptr; }

const Tensor& HistoryMethods::_base() const {
  const ViewMeta* const view = view_of(tensor_of(*this));
  TORCH_CHECK(view != nullptr, "Can't get base of non-view Variable");
  return view->base;
}

bool HistoryMethods::is_inference() const { return tinytorch::is_inference(tensor_of(*this)); }

std::int64_t HistoryMethods::_version() const {
  TORCH_CHECK(!is_inference(), "Inference tensors do not track version counter.");
  return tensor_of(*this).storage()->version.load();
}

namespace {
// The node of views that split, chunk or unbind returned together. Their gradients side by side are the gradient of the whole; one that is missing stands for zeros.
// With a node each, as a slice alone has, the gradient of every piece would be a tensor of the whole's size, mostly zeros, and these would be added. Source: torch/csrc/autograd/FunctionsManual.cpp (split_backward).
class SeveralViewsBackward : public Node {
 public:
  SeveralViewsBackward(const char* function, std::int64_t dim, bool of_lines) : function_(function), dim_(dim), of_lines_(of_lines) {}

  variable_list apply(variable_list&& grads) override {
    const auto some = std::find_if(grads.begin(), grads.end(), [](const Tensor& grad) { return grad.defined(); });
    if (some == grads.end()) return {Tensor()};
    const TensorOptions options = some->options();
    for (std::size_t i = 0; i < grads.size(); ++i)
      if (!grads[i].defined()) grads[i] = zeros(input_metadata(i).sizes, options);
    return {of_lines_ ? stack(grads, dim_) : cat(grads, dim_)};
  }
  std::string name() const override { return str(function_, "Backward0"); }

 private:
  const char* function_;
  std::int64_t dim_;
  bool of_lines_;  // unbind's pieces have lost the dimension
};

// Whether each view was recorded as one operator on the same tensor: then one node can take the place of all of theirs. A device from outside needs no `cat`.
bool have_one_source(const std::vector<Tensor>& views) {
  const auto source = [](const Tensor& view) -> const Node* {
    const AutogradMeta* const meta = autograd_meta(view);
    const bool recorded = meta != nullptr && meta->view && meta->view->creation == CreationMeta::Default && meta->grad_fn && meta->grad_fn->num_outputs() == 1;
    return recorded && !view.is_elsewhere() ? meta->grad_fn->next_edge(0).function.get() : nullptr;
  };
  return !views.empty() && source(views.front()) != nullptr && std::all_of(views.begin(), views.end(), [&](const Tensor& view) { return source(view) == source(views.front()); });
}
}  // namespace

// Views that split, chunk or unbind return together belong to one node, and none may be written through while gradients are recorded.
void register_several_views() {
  detail::on_several_views = [](const std::vector<Tensor>& views, const char* function, std::int64_t dim) {
    if (have_one_source(views)) {
      const Edge whole = autograd_meta(views.front())->grad_fn->next_edge(0);
      const auto node = make_node<SeveralViewsBackward>(function, dim, std::string_view(function) == "Unbind");
      node->add_next_edge(whole);
      for (const Tensor& view : views) set_history(view, node);
    }
    for (std::size_t i = 0; i < views.size(); ++i) {
      AutogradMeta* const meta = autograd_meta(views[i]);
      if (meta == nullptr || !meta->view || meta->view->creation != CreationMeta::Default) continue;
      meta->view->creation = CreationMeta::MultiOutputNode;
      meta->view->one_of = function;
      meta->view->place = i;
    }
  };
}

// Throws, in PyTorch's words, if a view of this kind must not be written through, or (`indirect`) its base not be written to.
void check_view_write(const AutogradMeta& meta, bool indirect) {
  const CreationMeta creation = meta.view->creation;
  if (creation == CreationMeta::Default) return;
  const std::string modified = indirect ? " its base or another view of its base has been modified inplace" : " is being modified inplace";
  const bool inference = creation == CreationMeta::InferenceMode;
  std::string what;
  if (inference || creation == CreationMeta::NoGradMode || !meta.grad_fn) {
    what = meta.grad_fn ? str("Output ", meta.output_nr, " of ", meta.grad_fn->name(), " is a view of a view which") : std::string("A view");
    what += inference ? " was created in inference mode and" + modified + " in normal mode." : " was created in no_grad mode and" + modified + " with grad mode enabled.";
  } else {
    // The sentence names the function, not the node: where the base was written to, each of several has a node of its own again.
    const bool several = meta.view->one_of != nullptr && !indirect;
    what = str("Output ", several ? meta.view->place : meta.output_nr, " of ", several ? std::string(meta.view->one_of) : meta.grad_fn->name(), " is a view and", modified, ".");
  }
  TORCH_CHECK(creation != CreationMeta::MultiOutputNode, what, " This view is the output of a function that returns multiple views. Such functions do not "
              "allow the output views to be modified inplace. You should replace the inplace operation by an out-of-place one.");
  TORCH_CHECK(creation != CreationMeta::InCustomFunction, what, " This view was created inside a custom Function (or because an input was returned as-is) and "
              "the autograd logic to handle view+inplace would override the custom backward associated with the custom Function, leading to incorrect "
              "gradients. This behavior is forbidden. You can fix this by cloning the output of the custom Function.");
  const char* const block = inference ? "inference_mode" : "no_grad";
  TORCH_CHECK(false, what, " Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving both the view and the inplace "
              "either both inside the ", block, " block (if you don't want the inplace to be tracked) or both outside (if you want the inplace to be tracked).");
}

}  // namespace tinytorch
