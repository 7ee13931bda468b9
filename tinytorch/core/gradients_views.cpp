// From the lesson modules/64_gradient_table/gradient_table_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/gradient.h"
#include "tinytorch/core/gradient_formulas.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"

namespace tinytorch {

namespace {
// The gradient of a view's part, in a tensor of the whole's sizes: zero elsewhere.
template <class F>
Tensor into_zeros(const Tensor& grad, IntArrayRef sizes, F view_of) {
  const Tensor whole = zeros(sizes, grad.options());
  view_of(whole).copy_(grad);
  return whole;
}
}  // namespace

void register_view_gradients() {
  gradient<op::view>([](const Tensor& g, Sizes<0> sizes) { return g.reshape(sizes); });
  gradient<op::expand>([](const Tensor& g) { return g; });
  gradient<op::permute>([](const Tensor& g, Arg<1, DimVector> dims) { return permute_backward(g, dims.value); });
  gradient<op::select>([](const Tensor& g, Sizes<0> sizes, Arg<1, std::int64_t> dim, Arg<2, std::int64_t> index) {
    return into_zeros(g, sizes, [&](const Tensor& whole) { return whole.select(dim, index); });
  });
  gradient<op::slice>([](const Tensor& g, Sizes<0> sizes, Arg<1, std::int64_t> dim, Arg<2, std::int64_t> start, Arg<3, std::int64_t> end,
                         Arg<4, std::int64_t> step) {
    return into_zeros(g, sizes, [&](const Tensor& whole) { return whole.slice(dim, start.value, end.value, step); });
  });
}

}  // namespace tinytorch
