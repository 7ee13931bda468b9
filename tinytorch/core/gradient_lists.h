// From the lesson modules/95_gradients/gradients_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/gradient.h"

namespace tinytorch {

template <std::size_t I>
struct InputList : std::vector<Tensor> {};  // the tensors of list I, saved
template <std::size_t I>
struct Geometries : std::vector<DimVector> {};  // the sizes of each tensor of list I

namespace detail {
template <std::size_t I>
struct Keeper<InputList<I>> {
  std::vector<SavedVariable> saved;
  template <class Arguments>
  void keep_input(const Arguments& arguments, bool) {
    for (const Tensor& tensor : std::get<I>(arguments)) saved.emplace_back(tensor, false);
  }
  void keep_output(TensorList) {}
  InputList<I> get(Node& owner) const {
    InputList<I> tensors;
    for (const SavedVariable& variable : saved) tensors.push_back(variable.unpack(owner));
    return tensors;
  }
  void release() {
    for (SavedVariable& variable : saved) variable.reset();
  }
};

template <std::size_t I>
struct Keeper<Geometries<I>> {
  Geometries<I> sizes;
  template <class Arguments>
  void keep_input(const Arguments& arguments, bool) {
    for (const Tensor& tensor : std::get<I>(arguments)) sizes.push_back(tensor.sizes());
  }
  void keep_output(TensorList) {}
  const Geometries<I>& get(Node&) const { return sizes; }
  void release() {}
};
}  // namespace detail

}  // namespace tinytorch
