// From the lesson modules/90_operators/operators_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "tinytorch/core/layouts.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/pointwise_ops.h"

namespace tinytorch {

// start, start + step, ... below `end` (above it for a negative step). Long when all three are integers.
Tensor arange(const Scalar& start, const Scalar& end, const Scalar& step, const TensorOptions& options) {
  const double first = start.toDouble();
  const double last = end.toDouble();
  const double stride = step.toDouble();
  TORCH_CHECK(stride != 0, "step must be nonzero");
  TORCH_CHECK(std::isfinite(first) && std::isfinite(last), "unsupported range: ", first, " -> ", last);
  TORCH_CHECK((stride > 0 && last >= first) || (stride < 0 && last <= first),
              "upper bound and lower bound inconsistent with step sign\n[arange] start ", first, ", end ", last, ", step ", stride);
  const bool integral = start.isIntegral(true) && end.isIntegral(true) && step.isIntegral(true);
  const auto count = integral ? (end.toLong() - start.toLong() + step.toLong() - (step.toLong() > 0 ? 1 : -1)) / step.toLong()
                              : static_cast<std::int64_t>(std::ceil((last - first) / stride));
  if (options.has_dtype() && isReducedFloatingType(options.dtype())) return created(to_dtype(arange(start, end, step, kFloat), options.dtype()), options);
  const Tensor result = empty({count}, options.has_dtype() ? options.dtype() : integral ? kLong : get_default_dtype());
  dispatch_all_types(result.scalar_type(), [&]<class T>() {
    T* const out = result.data<T>();
    if constexpr (std::is_floating_point_v<T>) {
      // In blocks, within which positions are ints: those become doubles in vectors.
      constexpr std::int64_t kBlock = 1024;
      for (std::int64_t block = 0; block < count; block += kBlock) {
        const double before = static_cast<double>(block);
        const int size = static_cast<int>(std::min(kBlock, count - block));
        for (int i = 0; i < size; ++i) out[block + i] = static_cast<T>(first + (before + i) * stride);
      }
    } else {
      const auto by = static_cast<std::uint64_t>(step.toLong());
      auto number = static_cast<std::uint64_t>(start.toLong());
      for (std::int64_t i = 0; i < count; ++i, number += by) out[i] = static_cast<T>(static_cast<std::int64_t>(number));
    }
  });
  return created(result, options);
}
Tensor arange(const Scalar& start, const Scalar& end, const TensorOptions& options) { return arange(start, end, 1, options); }
Tensor arange(const Scalar& end, const TensorOptions& options) { return arange(0, end, 1, options); }

namespace detail {
// What a tensor like `self` is made with: self's dtype and device, where `options` have none. For chapter 96 too.
TensorOptions options_like(const Tensor& self, const TensorOptions& options) {
  const TensorOptions typed = options.dtype(options.has_dtype() ? options.dtype() : self.scalar_type());
  return self.is_elsewhere() && !options.has_device() ? typed.device(self.storage()->device()) : typed;
}
}  // namespace detail

namespace detail {
// Uninitialised and on the host, as `like` says, which is what options_like gave. For chapter 96 too.
Tensor empty_as(const Tensor& self, const TensorOptions& like, std::optional<MemoryFormat> memory_format) {
  const MemoryFormat format = format_of(like, memory_format).value_or(MemoryFormat::Preserve);
  return format == MemoryFormat::Preserve ? empty_beside(self, self.sizes(), like.dtype()) : empty(self.sizes(), like.dtype(), format);
}
}  // namespace detail

Tensor empty_like(const Tensor& self, const TensorOptions& options, std::optional<MemoryFormat> memory_format) {
  const TensorOptions like = detail::options_like(self, options);
  if (self.is_contiguous() && !format_of(like, memory_format)) return empty(self.sizes(), like);
  return created(detail::empty_as(self, like, memory_format), like);
}
Tensor full_like(const Tensor& self, const Scalar& fill_value, const TensorOptions& options, std::optional<MemoryFormat> memory_format) {
  const TensorOptions like = detail::options_like(self, options);
  if (self.is_contiguous() && !format_of(like, memory_format)) return full(self.sizes(), fill_value, like);
  const Tensor result = detail::empty_as(self, like, memory_format);
  fill_with(result, fill_value);
  return created(result, like);
}
Tensor zeros_like(const Tensor& self, const TensorOptions& options, std::optional<MemoryFormat> memory_format) { return full_like(self, 0, options, memory_format); }
Tensor ones_like(const Tensor& self, const TensorOptions& options, std::optional<MemoryFormat> memory_format) { return full_like(self, 1, options, memory_format); }

}  // namespace tinytorch
