// From the lesson modules/95_gradients/gradients_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/inplace_or_view.h"

namespace tinytorch {

void detail::check_inference_write(const Tensor& self) {
  TORCH_CHECK(!is_inference(self) || in_inference_mode(), "Inplace update to inference tensor outside InferenceMode is not allowed."
              "You can make a clone to get a normal tensor before doing inplace update.See https://github.com/pytorch/rfcs/pull/17 for more details.");
}

void detail::bump_version(const Tensor& self) {
  if (is_inference(self)) return;
  std::atomic<std::uint32_t>& version = self.storage()->version;
  if (version.fetch_add(1) + 1 == kNoVersion) version.fetch_add(1);
}

void detail::mark_view(const Tensor& view, const Tensor& of, std::function<Tensor(const Tensor&)> replay) {
  const AutogradMeta* const parent = autograd_meta(of);
  auto made = std::make_unique<ViewMeta>();
  made->creation = in_inference_mode() ? CreationMeta::InferenceMode : !GradMode::is_enabled() ? CreationMeta::NoGradMode : CreationMeta::Default;
  if (parent != nullptr && parent->view) {
    made->base = parent->view->base;
    made->replay = [first = parent->view->replay, second = std::move(replay)](const Tensor& other) { return second(first(other)); };
    if (made->creation == CreationMeta::Default) made->creation = parent->view->creation;  // a view of such a view is one
  } else {
    made->base = of;
    made->replay = std::move(replay);
  }
  made->version = view.storage()->version.load();
  materialize_autograd_meta(view).view = std::move(made);
  // A later write into the base may give this view a history: it always asks for the Autograd layer.
  view.impl().layers = view.impl().layers | Layer::Autograd;
}

TensorOptions AutogradOptions::requires_grad(std::optional<bool> requires_grad) const {
  const auto& self = static_cast<const TensorOptions&>(*this);
  TensorOptions changed = self.layers(requires_grad.value_or(false) ? self.layers() | Layer::Autograd : self.layers() - Layer::Autograd);
  static_cast<AutogradOptions&>(changed).has_requires_grad_ = requires_grad.has_value();
  return changed;
}
bool AutogradOptions::requires_grad() const { return static_cast<const TensorOptions&>(*this).layers().has(Layer::Autograd); }

}  // namespace tinytorch
