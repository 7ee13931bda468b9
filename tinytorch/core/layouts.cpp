// From the lesson modules/84_devices/devices_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/layouts.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace tinytorch {

namespace {
DimVector strides_in(IntArrayRef sizes, MemoryFormat format) {
  if (format == MemoryFormat::Contiguous) return contiguous_strides(sizes);
  TORCH_CHECK(format != MemoryFormat::Preserve, "unsupported memory format ", format);
  const std::size_t dims = format == MemoryFormat::ChannelsLast ? 4 : 5;
  TORCH_CHECK(sizes.size() == dims, "required rank ", dims, " tensor to use channels_last", dims == 5 ? "_3d" : "", " format");
  return channels_last_strides(sizes);
}

// Whether every element of a run of memory belongs to the tensor, once.
bool is_dense(const Tensor& self) {
  // Sorted by stride, each stride is the product of the sizes before it.
  std::vector<std::pair<std::int64_t, std::int64_t>> dims;
  for (std::size_t i = 0; i < self.sizes().size(); ++i)
    if (self.sizes()[i] != 1) dims.emplace_back(self.strides()[i], self.sizes()[i]);
  std::sort(dims.begin(), dims.end());
  std::int64_t step = 1;
  for (const auto& [stride, size] : dims) {
    if (stride != step) return false;
    step *= size;
  }
  return true;
}

Tensor empty_laid_out(IntArrayRef sizes, ScalarType type, const DimVector& strides) {
  const Tensor dense = empty(sizes, type);
  return make_tensor(dense.storage(), type, dense.impl().layers, sizes, strides, 0);
}
}  // namespace

Tensor empty(IntArrayRef size, const TensorOptions& options, std::optional<MemoryFormat> memory_format) {
  return created(empty_laid_out(size, options.dtype(), strides_in(size, memory_format.value_or(MemoryFormat::Contiguous))), options);
}

Tensor clone(const Tensor& self, std::optional<MemoryFormat> memory_format) {
  const MemoryFormat format = memory_format.value_or(MemoryFormat::Preserve);
  const bool keeps = format == MemoryFormat::Preserve;
  const DimVector strides = !keeps ? strides_in(self.sizes(), format) : is_dense(self) ? DimVector(self.strides()) : contiguous_strides(self.sizes());
  if (IntArrayRef(strides) == IntArrayRef(contiguous_strides(self.sizes()))) return clone(self);
  return copy_(empty_laid_out(self.sizes(), self.scalar_type(), strides), self);
}

bool Tensor::is_contiguous(MemoryFormat memory_format) const {
  if (memory_format == MemoryFormat::Contiguous || memory_format == MemoryFormat::Preserve) return is_contiguous();
  return dim() == (memory_format == MemoryFormat::ChannelsLast ? 4 : 5) && is_channels_last(sizes(), strides());
}
Tensor Tensor::contiguous(MemoryFormat memory_format) const {
  TORCH_CHECK(memory_format != MemoryFormat::Preserve, "preserve memory format is unsupported by the contiguous operator");
  return is_contiguous(memory_format) ? *this : tinytorch::clone(*this, memory_format);
}
Tensor Tensor::clone(std::optional<MemoryFormat> memory_format) const { return tinytorch::clone(*this, memory_format); }

MemoryFormat DeviceMethods::suggest_memory_format() const {
  const Tensor& self = static_cast<const Tensor&>(*this);
  if (self.is_contiguous()) return MemoryFormat::Contiguous;
  if (self.is_contiguous(MemoryFormat::ChannelsLast)) return MemoryFormat::ChannelsLast;
  return self.is_contiguous(MemoryFormat::ChannelsLast3d) ? MemoryFormat::ChannelsLast3d : MemoryFormat::Contiguous;
}

}  // namespace tinytorch
