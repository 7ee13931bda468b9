// From the lesson modules/03_layers/layers_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/nn/module.h"

namespace tinytorch {

namespace nn {

// What a clone needs that is the same for every type of module: all but the copy itself.
class CloneableModule : public Module {
 public:
  using Module::Module;

  // Registers and initialises everything that belongs to the module; called by its constructor and by clone().
  virtual void reset() = 0;

  std::shared_ptr<Module> clone(const std::optional<Device>& device = std::nullopt) const override;

 private:
  virtual CloneableModule* new_copy() const = 0;    // by the copy constructor: handles on the same tensors
  virtual bool assign_from(const Module& other) = 0;  // by copy assignment; false when `other` is of another type
  void clone_(Module& other) final;
};

// Gives `Derived` a clone(): class LinearImpl : public Cloneable<LinearImpl>. REQUIRES: reset() registers all
// parameters, buffers and children anew. Source: torch/csrc/api/include/torch/nn/cloneable.h.
template <class Derived>
class Cloneable : public CloneableModule {
 public:
  using CloneableModule::CloneableModule;

 private:
  CloneableModule* new_copy() const final { return new Derived(static_cast<const Derived&>(*this)); }
  bool assign_from(const Module& other) final {
    const auto* same_type = dynamic_cast<const Derived*>(&other);
    if (same_type != nullptr) static_cast<Derived&>(*this) = *same_type;
    return same_type != nullptr;
  }
};

}  // namespace nn

}  // namespace tinytorch
