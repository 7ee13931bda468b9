// From the lesson modules/03_layers/layers_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/nn/module.h"

namespace tinytorch {

namespace nn {

// Gives `Derived` a clone(): class LinearImpl : public Cloneable<LinearImpl>. REQUIRES: reset() registers all
// parameters, buffers and children anew. Source: torch/csrc/api/include/torch/nn/cloneable.h.
template <class Derived>
class Cloneable : public Module {
 public:
  using Module::Module;

  // Registers and initialises everything that belongs to the module; called by its constructor and by clone().
  virtual void reset() = 0;

  std::shared_ptr<Module> clone() const override;

 private:
  void clone_(Module& other) final;
  static void check_same_count(const char* what, const char* registration, std::size_t fresh,
                               std::size_t old);
};

}  // namespace nn

template <class Derived>
std::shared_ptr<nn::Module> nn::Cloneable<Derived>::clone() const {
  const AutoDispatchBelowAutograd guard;
  const auto copy = std::make_shared<Derived>(static_cast<const Derived&>(*this));
  copy->parameters_.clear();
  copy->buffers_.clear();
  copy->children_.clear();
  copy->reset();

  check_same_count("parameters", "register_parameter", copy->parameters_.size(), parameters_.size());
  for (const auto& item : named_parameters(/*recurse=*/false))
    detail::set_data(copy->parameters_[item.key()], item->clone());
  check_same_count("buffers", "register_buffer", copy->buffers_.size(), buffers_.size());
  for (const auto& item : named_buffers(/*recurse=*/false))
    detail::set_data(copy->buffers_[item.key()], item->clone());
  check_same_count("child modules", "register_module", copy->children_.size(), children_.size());
  for (const auto& child : children_) copy->children_[child.key()]->clone_(*child.value());
  return copy;
}

template <class Derived>
void nn::Cloneable<Derived>::check_same_count(const char* what, const char* registration, std::size_t fresh,
                                              std::size_t old) {
  TORCH_CHECK(fresh == old, "The cloned module does not have the same number of ", what,
              " as the original module after calling reset(). Are you sure you called ", registration,
              "() inside reset() and not the constructor?");
}

// Makes this module, which reset() of its parent has just built, a copy of `other`.
template <class Derived>
void nn::Cloneable<Derived>::clone_(Module& other) {
  const auto copy = std::dynamic_pointer_cast<Derived>(other.clone());
  TORCH_CHECK(copy != nullptr,
              "Attempted to clone submodule, but it is of a different type than the submodule it was to be "
              "cloned into");
  static_cast<Derived&>(*this) = *copy;
}

}  // namespace tinytorch
