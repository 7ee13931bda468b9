// From the lesson modules/97_nn_extras/nn_extras_dev.cpp:
// edit the module, not this file.
#pragma once

#include <concepts>
#include <string>
#include <vector>

#include "tinytorch/core/autograd.h"
#include "tinytorch/nn/cloneable.h"

namespace tinytorch {

namespace nn {

// Parameters by position, registered as "0", "1", ...
// Source: torch/csrc/api/include/torch/nn/modules/container/parameterlist.h.
class ParameterListImpl : public Cloneable<ParameterListImpl> {
 public:
  using Item = OrderedDict<std::string, Tensor>::Item;
  using Iterator = OrderedDict<std::string, Tensor>::Iterator;
  using ConstIterator = OrderedDict<std::string, Tensor>::ConstIterator;

  ParameterListImpl() = default;
  template <class... Tensors>
    requires(sizeof...(Tensors) > 0 && (std::convertible_to<Tensors, Tensor> && ...))
  explicit ParameterListImpl(Tensors&&... parameters) {
    (append(Tensor(std::forward<Tensors>(parameters))), ...);
  }

  void reset() override {}
  std::shared_ptr<Module> clone(const std::optional<Device>& device = std::nullopt) const override;
  void pretty_print(std::ostream& stream) const override;

  // Registers `parameter`; it requires a gradient if it did before.
  void append(const Tensor& parameter);
  void append(const Item& item) { append(item.value()); }
  template <class Container>
  void extend(const Container& container) {
    for (const auto& parameter : container) append(parameter);
  }

  Iterator begin() { return parameters_.begin(); }
  Iterator end() { return parameters_.end(); }
  ConstIterator begin() const { return parameters_.begin(); }
  ConstIterator end() const { return parameters_.end(); }
  Tensor& at(std::size_t index);
  const Tensor& at(std::size_t index) const;
  Tensor& operator[](std::size_t index) { return at(index); }
  const Tensor& operator[](std::size_t index) const { return at(index); }
  std::size_t size() const noexcept { return parameters_.size(); }
  bool is_empty() const noexcept { return parameters_.is_empty(); }
};
TORCH_MODULE(ParameterList);

// Parameters by name. Source: torch/csrc/api/include/torch/nn/modules/container/parameterdict.h.
class ParameterDictImpl : public Cloneable<ParameterDictImpl> {
 public:
  using Iterator = OrderedDict<std::string, Tensor>::Iterator;
  using ConstIterator = OrderedDict<std::string, Tensor>::ConstIterator;

  ParameterDictImpl() = default;
  explicit ParameterDictImpl(const OrderedDict<std::string, Tensor>& parameters);

  void reset() override {}
  std::shared_ptr<Module> clone(const std::optional<Device>& device = std::nullopt) const override;
  void pretty_print(std::ostream& stream) const override;

  Tensor& insert(const std::string& key, const Tensor& parameter);
  // Takes a parameter out and returns it.
  Tensor pop(const std::string& key);
  // Replaces parameters whose names are there. Throws for a name that is not.
  template <class Container>
  void update(const Container& container) {
    for (const auto& item : container) parameters_[item.key()] = item.value();
  }
  void clear();

  std::vector<std::string> keys() const;
  std::vector<Tensor> values() const;
  Iterator begin() { return parameters_.begin(); }
  Iterator end() { return parameters_.end(); }
  ConstIterator begin() const { return parameters_.begin(); }
  ConstIterator end() const { return parameters_.end(); }
  std::size_t size() const noexcept { return parameters_.size(); }
  bool empty() const noexcept { return parameters_.is_empty(); }
  bool contains(const std::string& key) const noexcept;
  Tensor& get(const std::string& key);
  const Tensor& get(const std::string& key) const;
  Tensor& operator[](const std::string& key);
  const Tensor& operator[](const std::string& key) const;
};
TORCH_MODULE(ParameterDict);

namespace utils {
// The elements of all parameters, one after the other, as one vector that gradients flow through.
Tensor parameters_to_vector(const std::vector<Tensor>& parameters);
// Makes each parameter a piece of `vec`, in the order of parameters_to_vector: they share its memory afterwards.
// REQUIRES: vec has as many elements as the parameters together.
void vector_to_parameters(const Tensor& vec, const std::vector<Tensor>& parameters);
}  // namespace utils

}  // namespace nn

}  // namespace tinytorch
