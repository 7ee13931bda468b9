// From the lesson modules/60_overloads/overloads_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>
#include "tinytorch/core/array_ref.h"
#include "tinytorch/core/scalar.h"

namespace tinytorch {
class Tensor;
class TensorOptions;

// The Tensor methods that chapter 60 adds by name; each calls the function of its name (overloads.h).
class OverloadMethods {
 public:
  Tensor ldexp(const Tensor& other) const;
  Tensor& ldexp_(const Tensor& other) const;
  Tensor msort() const;
  Tensor narrow_copy(std::int64_t dim, std::int64_t start, std::int64_t length) const;
  Tensor put(const Tensor& index, const Tensor& source, bool accumulate = false) const;
  Tensor& put_(const Tensor& index, const Tensor& source, bool accumulate = false) const;
  Tensor renorm(const Scalar& p, std::int64_t dim, const Scalar& maxnorm) const;
  Tensor& renorm_(const Scalar& p, std::int64_t dim, const Scalar& maxnorm) const;
  Tensor as_strided_scatter(const Tensor& src, IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset = std::nullopt) const;
  std::vector<Tensor> unsafe_chunk(std::int64_t chunks, std::int64_t dim = 0) const;
  std::vector<Tensor> unsafe_split(std::int64_t split_size, std::int64_t dim = 0) const;
  Tensor new_empty_strided(IntArrayRef size, IntArrayRef stride, const TensorOptions& options) const;
  Tensor new_empty_strided(IntArrayRef size, IntArrayRef stride) const;
  Tensor prelu(const Tensor& weight) const;
  Tensor hardshrink(const Scalar& lambd = 0.5) const;
};

}  // namespace tinytorch
