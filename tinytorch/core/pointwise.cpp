// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cmath>

#include "tinytorch/core/loops.h"
#include "tinytorch/core/basic_ops.h"

namespace tinytorch {

// The shape that two shapes broadcast to. Throws if a pair of sizes differs and neither is 1. O(dims).
DimVector infer_size(IntArrayRef a, IntArrayRef b) {
  const std::size_t dims = std::max(a.size(), b.size());
  DimVector sizes(dims);
  for (std::size_t i = 1; i <= dims; ++i) {  // from the last dimension
    const std::int64_t x = i <= a.size() ? a[a.size() - i] : 1;
    const std::int64_t y = i <= b.size() ? b[b.size() - i] : 1;
    TORCH_CHECK(x == y || x == 1 || y == 1, "The size of tensor a (", x, ") must match the size of tensor b (", y,
                ") at non-singleton dimension ", dims - i, "\nsizes ", a, " and ", b,
                " do not broadcast: counted from the last, sizes must be equal or one of them 1.");
    sizes[dims - i] = x == 1 ? y : x;
  }
  return sizes;
}

namespace {
// How much a tensor says about the result's dtype: a plain number less than a 0-d tensor, that less than one with dimensions.
int promotion_rank(const Tensor& self) { return self.impl().wrapped_number ? 0 : self.dim() == 0 ? 1 : 2; }

int category(ScalarType type) { return isFloatingType(type) ? 2 : type == kBool ? 0 : 1; }

// The dtype with which a plain number enters: floating-point numbers as the default dtype.
ScalarType promotion_type(const Tensor& self) {
  return self.impl().wrapped_number && self.is_floating_point() ? get_default_dtype() : self.scalar_type();
}
}  // namespace

// The dtype of a result from `a` and `b`. An operand of lower rank (promotion_rank) matters only if its category is higher. O(1).
ScalarType result_type(const Tensor& a, const Tensor& b) {
  const ScalarType x = promotion_type(a);
  const ScalarType y = promotion_type(b);
  if (x == y) return x;
  const int rank_x = promotion_rank(a);
  const int rank_y = promotion_rank(b);
  if (rank_x > rank_y && category(x) >= category(y)) return x;
  if (rank_y > rank_x && category(y) >= category(x)) return y;
  return promoteTypes(x, y);
}

namespace {
Tensor mul_cpu(const Tensor& self, const Tensor& other) {
  return zip_as(self, other, result_type(self, other), [](auto x, auto y) { return static_cast<decltype(x)>(x * y); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::mul("mul", {.cpu = mul_cpu});
Tensor mul(const Tensor& self, const Tensor& other) { return op::mul(self, other); }

}  // namespace tinytorch
