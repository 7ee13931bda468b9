// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/node.h"

namespace tinytorch {

// A tensor kept for the backward pass. It remembers the version of the storage, to notice writes in between; an output of the
// saving node itself is kept without its history, which would be a cycle. Source: torch/csrc/autograd/saved_variable.h.
class SavedVariable {
 public:
  SavedVariable() = default;
  SavedVariable(const Tensor& tensor, bool is_output) { save(tensor, is_output); }
  void save(const Tensor& tensor, bool is_output);  // REQUIRES: nothing was saved before
  // The tensor again. `owner` is the node that saved it. Throws if it was freed or written to.
  Tensor unpack(Node& owner) const;
  void reset() {
    data_ = Tensor();
    grad_fn_.reset();
    released_ = true;
  }

 private:
  Tensor data_;                    // a leaf itself; anything else without its history, which stands beside it
  std::shared_ptr<Node> grad_fn_;  // of an input that is not a leaf
  std::uint32_t saved_version_ = 0;
  std::uint32_t output_nr_ = 0;
  bool is_output_ = false;
  bool was_defined_ = false;
  bool released_ = false;
};

}  // namespace tinytorch
