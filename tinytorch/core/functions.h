// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/tensor_options.h"

namespace tinytorch {

class Tensor;

// ---- Creation. `options` names the dtype (default: get_default_dtype(), or the type of the given values).
Tensor empty(IntArrayRef size, const TensorOptions& options = {});  // uninitialised
Tensor empty(IntArrayRef size, const TensorOptions& options, std::optional<MemoryFormat> memory_format);  // laid out so (Contiguous when absent); chapter 84
Tensor zeros(IntArrayRef size, const TensorOptions& options = {});
Tensor ones(IntArrayRef size, const TensorOptions& options = {});
Tensor full(IntArrayRef size, const Scalar& fill_value, const TensorOptions& options = {});
// A 0-d tensor of `value` that takes part in promotion by its category only, as a plain number does.
Tensor wrapped_scalar(const Scalar& value);
// Every factory ends with this: gives a fresh tensor the layers that its options ask for.
Tensor created(const Tensor& fresh, const TensorOptions& options);

// ---- Views: the result shares the storage of `self`. O(dim) time, no element is copied.
Tensor as_strided(const Tensor& self, IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset = std::nullopt);
Tensor view(const Tensor& self, IntArrayRef size);  // one size may be -1
Tensor expand(const Tensor& self, IntArrayRef size);  // size 1 becomes any size, with stride 0; -1 keeps a size
Tensor select(const Tensor& self, std::int64_t dim, std::int64_t index);
Tensor slice(const Tensor& self, std::int64_t dim = 0, std::optional<std::int64_t> start = std::nullopt,
             std::optional<std::int64_t> end = std::nullopt, std::int64_t step = 1);
Tensor reshape(const Tensor& self, IntArrayRef shape);  // a view where the strides allow it, a copy where not

// ---- Copies.
Tensor clone(const Tensor& self);  // in self's order of memory, if that has no gaps
Tensor in_row_order(const Tensor& self);  // `self` itself when it is contiguous
Tensor to_dtype(const Tensor& self, ScalarType type);  // `self` itself when it has that type
const Tensor& copy_(const Tensor& self, const Tensor& src);  // converts and broadcasts src into self
const Tensor& fill_(const Tensor& self, const Scalar& value);

// ---- Pointwise: shapes broadcast, dtypes promote. O(numel).
Tensor add(const Tensor& self, const Tensor& other, const Scalar& alpha = 1);  // self + alpha * other
Tensor mul(const Tensor& self, const Tensor& other);
const Tensor& add_(const Tensor& self, const Tensor& other, const Scalar& alpha = 1);
const Tensor& mul_(const Tensor& self, const Tensor& other);
Tensor neg(const Tensor& self);
Tensor exp(const Tensor& self);  // integers become the default dtype

// ---- Reductions over the dimensions `dim` (none given: over all). O(numel).
Tensor sum(const Tensor& self);
Tensor sum(const Tensor& self, IntArrayRef dim, bool keepdim = false);  // integers and bools sum to Long

// ---- Products of matrices.
Tensor mm(const Tensor& self, const Tensor& mat2);      // (M, K) x (K, N) -> (M, N). O(M K N).

}  // namespace tinytorch
