// From the lesson modules/99_autograd_extras/autograd_extras_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <functional>
#include <type_traits>

namespace tinytorch {
class Tensor;

// What this chapter adds to Tensor. Source: aten/src/ATen/core/TensorBase.h.
class HistoryMethods {
 public:
  // `hook` is called with the gradient of this tensor, when it is complete, and may return another, or nothing. Hooks run in the order
  // in which they were registered. Returns the position for remove_hook. A write in place leaves earlier hooks with the value before it.
  template <class F>
  unsigned register_hook(F hook) const {
    if constexpr (std::is_void_v<std::invoke_result_t<F, const Tensor&>>) {
      return add_hook([hook](const Tensor& grad) {
        hook(grad);
        return std::decay_t<decltype(grad)>();
      });
    } else {
      return add_hook(hook);
    }
  }
  void remove_hook(unsigned position) const;
  void retain_grad() const;  // keep grad() for a tensor that is not a leaf
  bool retains_grad() const;

  const Tensor& set_requires_grad(bool requires_grad) const;  // of a leaf; says nothing for others
  Tensor& detach_() const;                                    // takes this tensor out of the graph
  bool is_view() const;
  const Tensor& _base() const;
  std::int64_t _version() const;  // writes in place to the storage so far
  bool is_inference() const;      // made in inference mode

 private:
  unsigned add_hook(std::function<Tensor(const Tensor&)> hook) const;
};
}  // namespace tinytorch
