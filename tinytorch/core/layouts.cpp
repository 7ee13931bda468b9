// From the lesson modules/84_devices/devices_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/layouts.h"

#include <algorithm>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "tinytorch/core/loops.h"

namespace tinytorch {

namespace {
DimVector strides_in(IntArrayRef sizes, MemoryFormat format) {
  if (format == MemoryFormat::Contiguous) return contiguous_strides(sizes);
  TORCH_CHECK(format != MemoryFormat::Preserve, "unsupported memory format ", format);
  const std::size_t dims = format == MemoryFormat::ChannelsLast ? 4 : 5;
  TORCH_CHECK(sizes.size() == dims, "required rank ", dims, " tensor to use channels_last", dims == 5 ? "_3d" : "", " format");
  return channels_last_strides(sizes);
}

}  // namespace

bool is_dense(const Tensor& self) {
  if (self.is_contiguous()) return true;
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

namespace {
Tensor empty_laid_out(IntArrayRef sizes, ScalarType type, const DimVector& strides) {
  const Tensor dense = empty(sizes, type);
  return make_tensor(dense.storage(), type, dense.impl().layers, sizes, strides, 0);
}

// The strides of an operand in the result's sizes; 0 where it is stretched.
DimVector strides_within(const Tensor& operand, IntArrayRef sizes) {
  DimVector strides(sizes.size());
  const std::size_t added = sizes.size() - operand.sizes().size();
  for (std::size_t i = added; i < sizes.size(); ++i) strides[i] = operand.sizes()[i - added] == 1 && sizes[i] != 1 ? 0 : operand.strides()[i - added];
  return strides;
}

// Whether dimension a should be slower than b: 1 yes, -1 no, 0 no operand says. Source: TensorIteratorBase::reorder_dimensions.
int slower(const std::vector<DimVector>& operands, IntArrayRef sizes, std::size_t a, std::size_t b) {
  for (const DimVector& strides : operands) {
    if (strides[a] == 0 || strides[b] == 0) continue;
    if (strides[a] != strides[b]) return strides[a] > strides[b] ? 1 : -1;
    if (sizes[a] > sizes[b]) return 1;
  }
  return 0;
}
}  // namespace

Tensor empty_in_order_of(std::initializer_list<const Tensor*> operands, IntArrayRef sizes, ScalarType type) {
  const Tensor& first = **operands.begin();
  const bool alike = std::all_of(operands.begin(), operands.end(), [&](const Tensor* x) { return x->sizes() == sizes && x->strides() == first.strides(); });
  if (alike && is_dense(first)) return empty_laid_out(sizes, type, DimVector(first.strides()));
  std::vector<DimVector> strides;
  for (const Tensor* operand : operands) strides.push_back(strides_within(*operand, sizes));
  // The dimensions, fastest first: an insertion sort, since not every two can be compared.
  std::vector<std::size_t> order(sizes.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = order.size() - 1 - i;
  for (std::size_t i = 1; i < order.size(); ++i) {
    std::size_t moving = i;
    for (std::size_t other = i; other-- > 0;) {
      const int comparison = slower(strides, sizes, order[other], order[moving]);
      if (comparison < 0) break;
      if (comparison == 0) continue;
      std::swap(order[other], order[moving]);
      moving = other;
    }
  }
  DimVector result(sizes.size());
  std::int64_t step = 1;
  for (const std::size_t d : order) {
    result[d] = step;
    step *= sizes[d];
  }
  return empty_laid_out(sizes, type, result);
}

Tensor empty_as_copied(const Tensor& self, ScalarType type) { return is_dense(self) ? empty_laid_out(self.sizes(), type, DimVector(self.strides())) : empty(self.sizes(), type); }

std::optional<MemoryFormat> format_of(const TensorOptions& options, std::optional<MemoryFormat> memory_format) {
  TORCH_CHECK(!options.has_memory_format() || !memory_format, "Cannot set memory_format both in TensorOptions and explicit argument; please delete the redundant setter.");
  return options.has_memory_format() ? options.memory_format_opt() : memory_format;
}

Tensor empty(IntArrayRef size, const TensorOptions& options, std::optional<MemoryFormat> memory_format) {
  const MemoryFormat format = format_of(options, memory_format).value_or(MemoryFormat::Contiguous);
  return created(empty_laid_out(size, options.dtype(), strides_in(size, format)), options);
}

Tensor clone(const Tensor& self, std::optional<MemoryFormat> memory_format) {
  const MemoryFormat format = memory_format.value_or(MemoryFormat::Preserve);
  if (format == MemoryFormat::Preserve || format == MemoryFormat::Contiguous) return op::clone(self, format == MemoryFormat::Preserve);
  return copy_(empty_laid_out(self.sizes(), self.scalar_type(), strides_in(self.sizes(), format)), self);
}

bool has_channels_last(const Tensor& x) { return x.dim() == 4 && !x.is_contiguous() && x.is_contiguous(MemoryFormat::ChannelsLast); }

Tensor in_format_of(const Tensor& input, const Tensor& result) {
  const MemoryFormat format = input.suggest_memory_format();
  return format == MemoryFormat::Contiguous || result.dim() != input.dim() ? result : result.contiguous(format);
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

Tensor Tensor::view(ScalarType dtype) const {
  const auto from = static_cast<std::int64_t>(element_size());
  const auto to = static_cast<std::int64_t>(elementSize(dtype));
  const std::string which = str("to view ", scalar_type(), " as ", dtype, " (different element sizes)");
  DimVector sizes = impl().sizes;
  DimVector strides = impl().strides;
  std::int64_t offset = storage_offset();
  if (from != to) {
    TORCH_CHECK(dim() > 0, "self.dim() cannot be 0 ", which);
    const std::size_t last = sizes.size() - 1;
    const std::int64_t ratio = from > to ? from / to : to / from;
    const auto check = [&](std::int64_t value, const auto&... name) { TORCH_CHECK(from > to || value % ratio == 0, name..., " must be divisible by ", ratio, " ", which, ", but got ", value); };
    const auto rescale = [&](std::int64_t& value) { value = from > to ? value * ratio : value / ratio; };
    check(sizes[last], "self.size(-1)");
    check(offset, "self.storage_offset()");
    TORCH_CHECK(strides[last] == 1, "self.stride(-1) must be 1 ", which, ", but got ", strides[last]);
    rescale(sizes[last]);
    rescale(offset);
    for (std::size_t i = 0; i < last; ++i) {
      check(strides[i], "self.stride(", i, ")");
      rescale(strides[i]);
    }
  }
  return make_tensor(storage(), dtype, impl().layers - Layer::Autograd - Layer::HalfPrecision, sizes, strides, offset);
}

}  // namespace tinytorch
