// From the lesson modules/91_selection/selection_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cmath>
#include <limits>

#include "tinytorch/core/index_loops.h"
#include "tinytorch/core/reduction_ops.h"

namespace tinytorch {

namespace {
// Made of two operators, and one in the graph: MeanBackward0.
Tensor mean_cpu(const Tensor& self, IntArrayRef dim, bool keepdim) {
  // Two bytes: the sum is divided before it is rounded.
  if (isReducedFloatingType(self.scalar_type())) return to_dtype(mean_cpu(to_dtype(self, kFloat), dim, keepdim), self.scalar_type());
  const std::vector<bool> mask = reduction_mask(self, dim);
  std::int64_t count = 1;
  for (std::size_t i = 0; i < mask.size(); ++i) count *= mask[i] ? self.sizes()[i] : 1;
  return sum(self, dim, keepdim) / count;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef, bool)> op::mean("mean", {.cpu = mean_cpu});
Tensor mean(const Tensor& self, IntArrayRef dim, bool keepdim) {
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(), "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got: ",
              self.scalar_type());
  return op::mean(self, dim, keepdim);
}
Tensor mean(const Tensor& self) { return mean(self, {}, false); }

namespace {
Tensor prod_cpu(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  return dispatch_all_types(self.scalar_type(), [&]<class T>() {
    using Acc = std::conditional_t<std::is_floating_point_v<T>, double, std::int64_t>;
    using Wrapping = std::conditional_t<std::is_floating_point_v<T>, double,
                                        std::uint64_t>;  // integers overflow modulo 2^64
    const Tensor product = fold<Acc, T>(self, mask, keepdim, Acc{1}, [](Acc a, T x) {
      return static_cast<Acc>(static_cast<Wrapping>(a) * static_cast<Wrapping>(x));
    });
    return std::is_floating_point_v<T> ? to_dtype(product, self.scalar_type()) : product;
  });
}

// The answer for uint8 is uint8, from the time when that was the type of masks.
Tensor truth_of(const Tensor& self, const Tensor& answer) { return self.scalar_type() == kByte ? to_dtype(answer, kByte) : answer; }

Tensor any_cpu(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  return truth_of(self, dispatch_all_types(self.scalar_type(), [&]<class T>() {
    return fold<bool, T>(self, mask, keepdim, false, [](bool a, T x) { return a || x != T{}; });
  }));
}
Tensor all_cpu(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  return truth_of(self, dispatch_all_types(self.scalar_type(), [&]<class T>() {
    return fold<bool, T>(self, mask, keepdim, true, [](bool a, T x) { return a && x != T{}; });
  }));
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef, bool)> op::prod("prod", {.cpu = prod_cpu});
constinit Operator<Tensor(const Tensor&, IntArrayRef, bool)> op::any("any", {.cpu = any_cpu});
constinit Operator<Tensor(const Tensor&, IntArrayRef, bool)> op::all("all", {.cpu = all_cpu});
Tensor prod(const Tensor& self) { return op::prod(self, {}, false); }
Tensor prod(const Tensor& self, std::int64_t dim, bool keepdim) { return op::prod(self, dim, keepdim); }
Tensor any(const Tensor& self) { return op::any(self, {}, false); }
Tensor any(const Tensor& self, std::int64_t dim, bool keepdim) { return op::any(self, dim, keepdim); }
Tensor all(const Tensor& self) { return op::all(self, {}, false); }
Tensor all(const Tensor& self, std::int64_t dim, bool keepdim) { return op::all(self, dim, keepdim); }

namespace {
// How many elements each result is made of.
std::int64_t reduced_count(const Tensor& self, const std::vector<bool>& mask) {
  std::int64_t count = 1;
  for (std::size_t i = 0; i < mask.size(); ++i) count *= mask[i] ? self.sizes()[i] : 1;
  return count;
}

// In double: the sum of squared deviations from `means`, over the masked dimensions, which stay with size 1.
Tensor squared_deviations(const Tensor& self, const Tensor& means) {
  const Tensor result = zeros(means.sizes(), kDouble);
  const DimVector result_strides = broadcast_strides(result, self.sizes());
  const DimVector mean_strides = broadcast_strides(means, self.sizes());
  const StridedLoop<3> loop(self.sizes(),
                            {IntArrayRef(result_strides), IntArrayRef(mean_strides), self.strides()});
  dispatch_floating_types(self.scalar_type(), "var", [&]<class T>() {
    loop.run([out = result.data<double>(), mean = means.data<double>(), in = self.data<T>()](
                 const auto& offset, std::int64_t count, const auto& step) {
      for (std::int64_t i = 0; i < count; ++i) {
        const double deviation =
            static_cast<double>(in[offset[2] + i * step[2]]) - mean[offset[1] + i * step[1]];
        out[offset[0] + i * step[0]] += deviation * deviation;
      }
    });
  });
  return result;
}

// The variance in double. `correction` is subtracted from the count: 1 makes the estimate unbiased.
Tensor variance(const Tensor& self, IntArrayRef dim, double correction, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  const auto count = static_cast<double>(reduced_count(self, mask));
  const Tensor total = dispatch_all_types(self.scalar_type(), [&]<class T>() {
    return fold<double, T>(self, mask, true, 0.0, [](double a, T x) { return a + static_cast<double>(x); });
  });
  const Tensor result = squared_deviations(self, total / count) / std::max(0.0, count - correction);
  return keepdim ? result : view(result, reduced_sizes(self.sizes(), mask, false));
}

Tensor var_cpu(const Tensor& self, IntArrayRef dim, double correction, bool keepdim) {
  return to_dtype(variance(self, dim, correction, keepdim), self.scalar_type());
}
Tensor std_cpu(const Tensor& self, IntArrayRef dim, double correction, bool keepdim) {
  return to_dtype(sqrt(variance(self, dim, correction, keepdim)), self.scalar_type());
}
void check_var(const Tensor& self) {
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(),
                              "std and var only support floating point and complex dtypes");
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef, double, bool)> op::var("var", {.cpu = var_cpu});
constinit Operator<Tensor(const Tensor&, IntArrayRef, double, bool)> op::std("std", {.cpu = std_cpu});

Tensor var(const Tensor& self, IntArrayRef dim, bool unbiased, bool keepdim) {
  check_var(self);
  return op::var(self, dim, unbiased ? 1 : 0, keepdim);
}
Tensor var(const Tensor& self) { return var(self, IntArrayRef()); }
Tensor std(const Tensor& self, IntArrayRef dim, bool unbiased, bool keepdim) {
  check_var(self);
  return op::std(self, dim, unbiased ? 1 : 0, keepdim);
}
Tensor std(const Tensor& self) { return tinytorch::std(self, IntArrayRef()); }
Tensor var(const Tensor& self, IntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim) {
  check_var(self);
  return op::var(self, dim, correction.value_or(1).to<double>(), keepdim);
}
Tensor std(const Tensor& self, IntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim) {
  check_var(self);
  return op::std(self, dim, correction.value_or(1).to<double>(), keepdim);
}
std::tuple<Tensor, Tensor> var_mean(const Tensor& self, IntArrayRef dim, bool unbiased, bool keepdim) {
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(), "var_mean only support floating point and complex dtypes");
  return {var(self, dim, unbiased, keepdim), mean(self, dim, keepdim)};
}
std::tuple<Tensor, Tensor> var_mean(const Tensor& self) { return var_mean(self, IntArrayRef()); }

namespace {
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// (sum |x|^p)^(1/p), in double.
Tensor p_norm(const Tensor& self, const std::vector<bool>& mask, double p, bool keepdim) {
  return dispatch_floating_types(self.scalar_type(), "norm", [&]<class T>() {
    const auto folded = [&](double init, auto f) {
      return fold<double, T>(self, mask, keepdim, init,
                             [f](double a, T x) { return f(a, std::fabs(static_cast<double>(x))); });
    };
    if (p == kInfinity) return folded(0, [](double a, double x) { return x > a || std::isnan(x) ? x : a; });
    if (p == -kInfinity)
      return folded(kInfinity, [](double a, double x) { return x < a || std::isnan(x) ? x : a; });
    if (p == 0) return folded(0, [](double a, double x) { return a + (x != 0); });
    if (p == 1) return folded(0, [](double a, double x) { return a + x; });
    if (p == 2) return sqrt(folded(0, [](double a, double x) { return a + x * x; }));
    return pow(folded(0, [p](double a, double x) { return a + std::pow(x, p); }), 1 / p);
  });
}

Tensor norm_cpu(const Tensor& self, double p, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  if (p < 0 || p == kInfinity) {
    TORCH_CHECK(self.numel() > 0 || !dim.empty(), "linalg.vector_norm cannot compute the ", p,
                " norm on an empty tensor because the operation does not have an identity");
    for (std::size_t i = 0; i < mask.size(); ++i)
      TORCH_CHECK(!mask[i] || self.sizes()[i] > 0, "linalg.vector_norm cannot compute the ", p,
                  " norm on the dimension ", i,
                  "because this dimension is empty and the operation does not have an identity");
  }
  return to_dtype(p_norm(self, mask, p, keepdim), self.scalar_type());
}
}  // namespace
constinit Operator<Tensor(const Tensor&, double, IntArrayRef, bool)> op::norm("norm", {.cpu = norm_cpu});

Tensor norm(const Tensor& self, const std::optional<Scalar>& p, IntArrayRef dim, bool keepdim) {
  TORCH_CHECK_NOT_IMPLEMENTED(
      self.is_floating_point(),
      "linalg.vector_norm: Expected a floating point or complex tensor as input. Got ", self.scalar_type());
  return op::norm(self, p.value_or(2).toDouble(), dim, keepdim);
}
Tensor norm(const Tensor& self, const Scalar& p) { return norm(self, p, IntArrayRef(), false); }

namespace {
Tensor cumsum_cpu(const Tensor& self, std::int64_t dim) {
  const Tensor result = clone(to_dtype(self, self.is_floating_point() ? self.scalar_type() : kLong));
  const std::int64_t size = self.dim() == 0 ? 1 : self.size(dim);
  dispatch_all_types(result.scalar_type(), [&]<class T>() {
    using Acc = std::conditional_t<std::is_floating_point_v<T>, double, std::int64_t>;
    for_each_row<T>(result, dim, [&](std::int64_t, T* row, std::int64_t stride) {
      Acc total = 0;
      for (std::int64_t j = 0; j < size; ++j) {
        total += static_cast<Acc>(row[j * stride]);
        row[j * stride] = static_cast<T>(total);
      }
    });
  });
  return result;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, std::int64_t)> op::cumsum("cumsum", {.cpu = cumsum_cpu});
Tensor cumsum(const Tensor& self, std::int64_t dim) { return op::cumsum(self, wrap_dim(dim, self.dim())); }

}  // namespace tinytorch
