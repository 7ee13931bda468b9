// From the lesson modules/90_operators/operators_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/pointwise_ops.h"

namespace tinytorch {

namespace {
Tensor maximum_cpu(const Tensor& self, const Tensor& other) {
  return zip_promoted(self, other, [](auto x, auto y) { return larger(x, y); });
}
Tensor minimum_cpu(const Tensor& self, const Tensor& other) {
  return zip_promoted(self, other, [](auto x, auto y) { return smaller(x, y); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::maximum("maximum", {.cpu = maximum_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::minimum("minimum", {.cpu = minimum_cpu});
Tensor maximum(const Tensor& self, const Tensor& other) { return op::maximum(self, other); }
Tensor minimum(const Tensor& self, const Tensor& other) { return op::minimum(self, other); }

namespace {
ScalarType clamp_type(const Tensor& self, const std::optional<Scalar>& min,
                      const std::optional<Scalar>& max) {
  ScalarType type = self.scalar_type();
  for (const std::optional<Scalar>& bound : {min, max})
    if (bound) type = result_type(empty(self.sizes(), type), wrapped_scalar(*bound));
  return type;
}

Tensor clamp_cpu(const Tensor& self, const std::optional<Scalar>& min, const std::optional<Scalar>& max) {
  const Tensor input = to_dtype(self, clamp_type(self, min, max));
  const Tensor result = empty_beside(input, input.sizes(), input.scalar_type());
  dispatch_all_types(input.scalar_type(), [&]<class T>() {
    // For uint8 a negative bound is 0, not the number that it wraps around to.
    const auto bound = [](const std::optional<Scalar>& number) {
      if (!number) return std::optional<T>();
      return std::optional<T>(std::is_same_v<T, std::uint8_t> && number->toDouble() < 0 ? T{} : number->to<T>());
    };
    const std::optional<T> low = bound(min);
    const std::optional<T> high = bound(max);
    map_into<T, T>(result, input, [low, high](T x) {
      if (low) x = larger(x, *low);
      return high ? smaller(x, *high) : x;
    });
  });
  return result;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const std::optional<Scalar>&, const std::optional<Scalar>&)>
    op::clamp("clamp", {.cpu = clamp_cpu});

Tensor clamp(const Tensor& self, const std::optional<Scalar>& min, const std::optional<Scalar>& max) {
  TORCH_CHECK(min || max, "torch.clamp: At least one of 'min' or 'max' must not be None");
  return op::clamp(self, min, max);
}
Tensor clamp_min(const Tensor& self, const Scalar& min) { return clamp(self, min, std::nullopt); }
Tensor clamp_max(const Tensor& self, const Scalar& max) { return clamp(self, std::nullopt, max); }

}  // namespace tinytorch
