// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/loops.h"
#include "tinytorch/core/basic_ops.h"

namespace tinytorch {

namespace {
Tensor sum_cpu(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  return dispatch_all_types(self.scalar_type(), [&]<class T>() {
    // Floating-point sums run in double, so that a long float sum does not lose its small terms.
    using Acc = std::conditional_t<std::is_floating_point_v<T>, double, std::int64_t>;
    const Tensor total = fold<Acc, T>(self, mask, keepdim, Acc{0}, [](Acc a, T x) { return a + static_cast<Acc>(x); });
    return std::is_floating_point_v<T> ? to_dtype(total, self.scalar_type()) : total;
  });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef, bool)> op::sum("sum", {.cpu = sum_cpu});
Tensor sum(const Tensor& self, IntArrayRef dim, bool keepdim) { return op::sum(self, dim, keepdim); }
Tensor sum(const Tensor& self) { return op::sum(self, {}, false); }

}  // namespace tinytorch
