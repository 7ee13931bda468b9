// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/gradient.h"

namespace tinytorch {

std::string detail::node_name(const char* operator_name) {
  std::string name;
  bool capital = true;
  for (const char* c = operator_name; *c != '\0'; ++c) {
    if (*c == '_') {
      capital = true;
      continue;
    }
    name += capital && *c >= 'a' && *c <= 'z' ? static_cast<char>(*c - 'a' + 'A') : *c;
    capital = false;
  }
  return name + "Backward0";
}

void detail::mark_view(const Tensor& view, const Tensor& of, std::function<Tensor(const Tensor&)> replay) {
  AutogradMeta& meta = materialize_autograd_meta(view);
  const AutogradMeta* const parent = autograd_meta(of);
  if (parent != nullptr && parent->base.defined()) {
    meta.base = parent->base;
    meta.replay = [first = parent->replay, second = std::move(replay)](const Tensor& other) { return second(first(other)); };
  } else {
    meta.base = of;
    meta.replay = std::move(replay);
  }
  meta.made_without_grad = !GradMode::is_enabled() || (parent != nullptr && parent->made_without_grad);
  meta.view_version = view.storage()->version.load();
  // A later write into the base may give this view a history: it always asks for the Autograd layer.
  view.impl().layers = view.impl().layers | Layer::Autograd;
}

}  // namespace tinytorch
