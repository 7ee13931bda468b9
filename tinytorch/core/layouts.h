// From the lesson modules/84_devices/devices_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>

#include "tinytorch/core/basic_ops.h"
#include "tinytorch/core/memory_format.h"

namespace tinytorch {

// The format that options or an argument name, if one does. Throws if both do.
std::optional<MemoryFormat> format_of(const TensorOptions& options, std::optional<MemoryFormat> memory_format);
// A copy laid out as `memory_format` says; Preserve (or nothing) keeps the strides of a tensor that is dense in some order. O(numel).
Tensor clone(const Tensor& self, std::optional<MemoryFormat> memory_format);

// Uninitialised, of self's sizes and strides; in row order where self has gaps.
Tensor empty_as_copied(const Tensor& self, ScalarType type);
// Whether x is images (N, C, H, W) whose channels are last in memory, and which do not lie in rows as well, as those of one channel or one pixel do.
bool has_channels_last(const Tensor& x);
// `result` with its channels last if those of `input` are; otherwise as it is. O(numel) where it copies.
Tensor in_format_of(const Tensor& input, const Tensor& result);

}  // namespace tinytorch
