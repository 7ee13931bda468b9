// From the lesson modules/96_surface/surface_dev.cpp:
// edit the module, not this file.

#include <cmath>

#include "tinytorch/core/ops.h"

namespace tinytorch {

Tensor eye(std::int64_t n, std::int64_t m, const TensorOptions& options) {
  TORCH_CHECK(n >= 0, "n must be greater or equal to 0, got ", n);
  TORCH_CHECK(m >= 0, "m must be greater or equal to 0, got ", m);
  const Tensor result = zeros({n, m}, options.dtype());
  fill_(diagonal(result), 1);
  return created(result, options);
}
Tensor eye(std::int64_t n, const TensorOptions& options) { return eye(n, n, options); }

// Counts from the nearer end, so that both ends are exact.
Tensor linspace(const Scalar& start, const Scalar& end, std::int64_t steps, const TensorOptions& options) {
  TORCH_CHECK(steps >= 0, "number of steps must be non-negative");
  if (const ScalarType type = options.dtype(); isReducedFloatingType(type)) {  // between ends that the dtype has, in float
    const auto rounded = [type](const Scalar& end_point) { return full({}, end_point, type).item(); };
    return created(to_dtype(linspace(rounded(start), rounded(end), steps, kFloat), type), options);
  }
  const Tensor result = empty({steps}, options.dtype());
  dispatch_all_types(result.scalar_type(), [&]<class T>() {
    using Wide = std::conditional_t<std::is_floating_point_v<T>, T, float>;
    const auto first = start.to<T>();
    const auto last = end.to<T>();
    const Wide step =
        steps > 1 ? (static_cast<Wide>(last) - static_cast<Wide>(first)) / static_cast<Wide>(steps - 1)
                  : Wide{0};
    T* const out = result.data<T>();
    for (std::int64_t i = 0; i < steps; ++i) {
      const bool near_start = i < steps / 2 || steps == 1;
      out[i] = static_cast<T>(near_start ? static_cast<Wide>(first) + step * static_cast<Wide>(i)
                                         : static_cast<Wide>(last) - step * static_cast<Wide>(steps - i - 1));
    }
  });
  return created(result, options);
}

}  // namespace tinytorch
