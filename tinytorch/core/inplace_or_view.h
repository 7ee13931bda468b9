// From the lesson modules/95_gradients/gradients_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/gradient.h"

namespace tinytorch {

namespace detail {
// Owned forms of arguments, for keeping.
template <class T>
struct Owned {
  using type = T;
};
template <>
struct Owned<IntArrayRef> {
  using type = DimVector;
};
template <class T>
using owned_t = typename Owned<std::remove_cvref_t<T>>::type;

void mark_view(const Tensor& view, const Tensor& of, std::function<Tensor(const Tensor&)> replay);
void check_inference_write(const Tensor& self);  // an inference tensor may be written to in inference mode only
void bump_version(const Tensor& self);           // counts a write, unless the storage counts none

template <auto& Op, class Signature>
struct Tracked;
template <auto& Op, class... Args>
struct Tracked<Op, Operator<Tensor(const Tensor&, Args...)>> {
  static Tensor call(const Tensor& self, Args... args) {
    const LayerSet autograd_and_this = LayerSet(Layer::Autograd) | Layer::InplaceOrView;
    Tensor result = [&] {
      const ExcludeLayersGuard guard(autograd_and_this);
      return Op(self, args...);
    }();
    if (self.is_floating_point() && !is_inference(self))
      mark_view(result, self, [kept = std::tuple<owned_t<Args>...>(args...)](const Tensor& other) {
        return std::apply([&](const auto&... arguments) { return Op(other, arguments...); }, kept);
      });
    return result;
  }
};

template <auto& Op, class Signature>
struct Counted;
template <auto& Op, class... Args>
struct Counted<Op, Operator<const Tensor&(const Tensor&, Args...)>> {
  static const Tensor& call(const Tensor& self, Args... args) {
    check_inference_write(self);
    {
      const ExcludeLayersGuard guard(LayerSet(Layer::Autograd) | Layer::InplaceOrView);
      Op(self, std::forward<Args>(args)...);
    }
    bump_version(self);
    return self;
  }
};
}  // namespace detail

// The InplaceOrView layer of a view: the result remembers whose view it is and how it was taken.
template <auto& Op>
constexpr auto tracked() {
  return &detail::Tracked<Op, std::remove_cvref_t<decltype(Op)>>::call;
}
// The InplaceOrView layer of an operator in place: counts the write.
template <auto& Op>
constexpr auto counted() {
  return &detail::Counted<Op, std::remove_cvref_t<decltype(Op)>>::call;
}
template <auto&... Ops>
void track_views() {
  (Ops.set(Layer::InplaceOrView, tracked<Ops>()), ...);
}
template <auto&... Ops>
void count_writes() {
  (Ops.set(Layer::InplaceOrView, counted<Ops>()), ...);
}

}  // namespace tinytorch
