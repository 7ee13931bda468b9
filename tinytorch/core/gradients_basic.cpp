// From the lesson modules/64_gradient_table/gradient_table_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/gradient.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"

namespace tinytorch {

// `grad` of a reduction, stretched back over the reduced dimensions.
Tensor unreduce(const Tensor& grad, IntArrayRef sizes, IntArrayRef dims, bool keepdim) {
  DimVector shape(sizes);
  for (const std::int64_t dim : dims)
    if (!shape.empty()) shape[static_cast<std::size_t>(wrap_dim(dim, static_cast<std::int64_t>(sizes.size())))] = 1;
  if (dims.empty()) shape = DimVector(sizes.size(), 1);
  return (keepdim ? grad : grad.reshape(shape)).expand(sizes);
}

Tensor scaled(const Tensor& grad, const Scalar& factor) { return factor.equal(1) ? grad : grad * factor; }

Tensor mm_mat2_backward(const Tensor& grad, const Tensor& self, LiesTransposed mat2) { return mat2.value ? grad.t().mm(self).t() : self.t().mm(grad); }

void register_basic_gradients() {
  gradient<op::add, op::add_>([](const Tensor& g) { return g; }, [](const Tensor& g, Arg<2, Scalar> alpha) { return scaled(g, alpha.value); });
  gradient<op::sub, op::sub_>([](const Tensor& g) { return g; }, [](const Tensor& g, Arg<2, Scalar> alpha) { return scaled(-g, alpha.value); });
  gradient<op::mul, op::mul_>([](const Tensor& g, Input<1> other) { return g * other; }, [](const Tensor& g, Input<0> self) { return g * self; });
  gradient<op::div, op::div_>([](const Tensor& g, Input<1> other) { return g / other; },
                              [](const Tensor& g, Input<0> self, Input<1> other) { return -g * (self / other / other); });
  gradient<op::pow>([](const Tensor& g, Input<0> self, Arg<1, Scalar> exponent) {
    const double e = exponent.value.toDouble();
    return e == 0 ? zeros_like(self) : g * (self.pow(e - 1) * e);
  });
  gradient<op::neg>([](const Tensor& g) { return -g; });
  gradient<op::abs>([](const Tensor& g, Input<0> self) { return g * self.sign(); });
  gradient<op::sign>([](const Tensor& g) { return zeros_like(g); });
  gradient<op::exp>([](const Tensor& g, Output result) { return g * result; });
  gradient<op::log>([](const Tensor& g, Input<0> self) { return g / self; });
  gradient<op::sqrt>([](const Tensor& g, Output result) { return g / (result * 2); });
  gradient<op::where>(no_gradient, [](const Tensor& g, Input<0> condition) { return where(condition, g, zeros({}, g.options())); },
                      [](const Tensor& g, Input<0> condition) { return where(condition, zeros({}, g.options()), g); });
}

void register_copy_gradients() {
  gradient<op::clone>([](const Tensor& g) { return g; });
  gradient<op::to_dtype>([](const Tensor& g) { return g; });
  gradient<op::copy_>([](const Tensor& g) { return zeros_like(g); }, [](const Tensor& g) { return g; });
  gradient<op::fill_>([](const Tensor& g) { return zeros_like(g); });
}

void register_reduction_gradients() {
  gradient<op::sum>([](const Tensor& g, Sizes<0> sizes, Arg<1, DimVector> dim, Arg<2, bool> keepdim) { return unreduce(g, sizes, dim.value, keepdim); });
  gradient<op::amax>([](const Tensor& g, Input<0> self, Output result, Arg<1, DimVector> dim, Arg<2, bool> keepdim) {
    // Elements that tie for the largest share the gradient equally.
    const Tensor hits = (self == unreduce(result, self.sizes(), dim.value, keepdim)).to(g.scalar_type());
    return unreduce(g, self.sizes(), dim.value, keepdim) * hits / hits.sum(dim.value, true);
  });
  gradient<op::mm>([](const Tensor& g, Input<1> mat2) { return g.mm(mat2.t()); },
                   [](const Tensor& g, Input<0> self, Arg<1, LiesTransposed> mat2) { return mm_mat2_backward(g, self, mat2.value); });
  gradient<op::bmm>([](const Tensor& g, Input<1> mat2) { return g.bmm(mat2.transpose(1, 2)); },
                    [](const Tensor& g, Input<0> self) { return self.transpose(1, 2).bmm(g); });
}

}  // namespace tinytorch
