// From the lesson modules/90_operators/operators_dev.cpp:
// edit the module, not this file.

#include <cmath>

#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/pointwise_ops.h"

namespace tinytorch {

namespace {
// f(self, other) as a Bool tensor; both are brought to their common type first.
template <class F>
Tensor compare(const Tensor& self, const Tensor& other, F f) {
  const ScalarType type = result_type(self, other);
  const Tensor result = empty_beside(self, other, infer_size(self.sizes(), other.sizes()), kBool);
  const Tensor a = to_dtype(self, type);
  const Tensor b = to_dtype(other, type);
  dispatch_all_types(type, [&]<class T>() { zip_into<bool, T, T>(result, a, b, f); });
  return result;
}
Tensor eq_cpu(const Tensor& self, const Tensor& other) {
  return compare(self, other, [](auto x, auto y) { return x == y; });
}
Tensor ne_cpu(const Tensor& self, const Tensor& other) {
  return compare(self, other, [](auto x, auto y) { return x != y; });
}
Tensor lt_cpu(const Tensor& self, const Tensor& other) {
  return compare(self, other, [](auto x, auto y) { return x < y; });
}
Tensor le_cpu(const Tensor& self, const Tensor& other) {
  return compare(self, other, [](auto x, auto y) { return x <= y; });
}
Tensor gt_cpu(const Tensor& self, const Tensor& other) {
  return compare(self, other, [](auto x, auto y) { return x > y; });
}
Tensor ge_cpu(const Tensor& self, const Tensor& other) {
  return compare(self, other, [](auto x, auto y) { return x >= y; });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::eq("eq", {.cpu = eq_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::ne("ne", {.cpu = ne_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::lt("lt", {.cpu = lt_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::le("le", {.cpu = le_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::gt("gt", {.cpu = gt_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::ge("ge", {.cpu = ge_cpu});
Tensor eq(const Tensor& self, const Tensor& other) { return op::eq(self, other); }
Tensor ne(const Tensor& self, const Tensor& other) { return op::ne(self, other); }
Tensor lt(const Tensor& self, const Tensor& other) { return op::lt(self, other); }
Tensor le(const Tensor& self, const Tensor& other) { return op::le(self, other); }
Tensor gt(const Tensor& self, const Tensor& other) { return op::gt(self, other); }
Tensor ge(const Tensor& self, const Tensor& other) { return op::ge(self, other); }

bool equal(const Tensor& self, const Tensor& other) {
  return self.sizes() == other.sizes() && eq(self, other).sum().item<std::int64_t>() == self.numel();
}

// |self - other| <= atol + rtol * |other| everywhere. Infinities are close to themselves only.
bool allclose(const Tensor& self, const Tensor& other, double rtol, double atol, bool equal_nan) {
  TORCH_CHECK(self.scalar_type() == other.scalar_type(), self.scalar_type(), " did not match ", other.scalar_type());
  if (isReducedFloatingType(self.scalar_type())) return allclose(to_dtype(self, kFloat), to_dtype(other, kFloat), rtol, atol, equal_nan);
  const Tensor result = empty(infer_size(self.sizes(), other.sizes()), kBool);
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    zip_into<bool, T, T>(result, self, other, [=](T a, T b) {
      const auto x = static_cast<double>(a);
      const auto y = static_cast<double>(b);
      if (x == y) return true;
      if (std::isnan(x) || std::isnan(y)) return equal_nan && std::isnan(x) && std::isnan(y);
      return std::isfinite(y) && std::fabs(x - y) <= atol + rtol * std::fabs(y);
    });
  });
  return result.sum().item<std::int64_t>() == result.numel();
}

namespace {
Tensor where_cpu(const Tensor& condition, const Tensor& self, const Tensor& other) {
  const ScalarType type = result_type(self, other);
  const DimVector sizes = infer_size(condition.sizes(), infer_size(self.sizes(), other.sizes()));
  const bool by_rows = condition.is_contiguous() && self.is_contiguous() && other.is_contiguous();
  const Tensor result = by_rows ? empty(sizes, type) : empty_in_order_of({&condition, &self, &other}, sizes, type);
  copy_into(result, other);
  const Tensor chosen = to_dtype(self, type);
  const DimVector mask_strides = broadcast_strides(condition, sizes);
  const DimVector self_strides = broadcast_strides(chosen, sizes);
  const StridedLoop<3> loop(sizes, {result.strides(), IntArrayRef(mask_strides), IntArrayRef(self_strides)});
  dispatch_all_types(type, [&]<class T>() {
    loop.run([out = result.data<T>(), mask = condition.data<bool>(), in = chosen.data<T>()](const auto& offset, std::int64_t count,
                                                                                              const auto& step) {
      T* const to = out + offset[0];
      const bool* const chosen_here = mask + offset[1];
      const T* const from = in + offset[2];
      const std::int64_t to_step = step[0], mask_step = step[1], from_step = step[2];
      for (std::int64_t i = 0; i < count; ++i)
        if (chosen_here[i * mask_step]) to[i * to_step] = from[i * from_step];
    });
  });
  return result;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&)> op::where("where", {.cpu = where_cpu});

Tensor where(const Tensor& condition, const Tensor& self, const Tensor& other) {
  TORCH_CHECK(condition.scalar_type() == kBool, "where expected condition to be a boolean tensor, but got a tensor with dtype ", condition.scalar_type());
  return op::where(condition, self, other);
}

}  // namespace tinytorch
