// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/array_ref.h"
#include "tinytorch/core/dispatch.h"
#include "tinytorch/core/storage.h"

namespace tinytorch {

// Room for what a later module knows about a tensor (autograd keeps its record here). Opaque to this module.
struct TensorMetadata : memory::Pooled {
  virtual ~TensorMetadata() = default;
  virtual void dtype_changes() {}  // under the same tensor: what was noted of the old one is out of date
};

// How elements lie in a storage: sizes, strides and offset, all counted in elements.
// The element at index (i, j, ...) is number offset + i * strides[0] + j * strides[1] + ... Source: c10/core/TensorImpl.h.
struct TensorImpl : RefCounted {
  TensorImpl(Storage where, ScalarType type, LayerSet asked, IntArrayRef shape, IntArrayRef steps, std::int64_t first);
  // Dense, from the storage's beginning. REQUIRES: `count` is the product of the sizes.
  TensorImpl(Storage where, ScalarType type, LayerSet asked, IntArrayRef shape, std::int64_t count);
  TensorImpl(const TensorImpl& same, LayerSet asked);  // the same elements, with nothing known about them
  void set_geometry(IntArrayRef shape, IntArrayRef steps, std::int64_t first);

  Storage storage;
  DimVector sizes;
  DimVector strides;
  std::int64_t offset = 0;
  std::int64_t numel = 0;
  ScalarType dtype;
  LayerSet layers;
  bool contiguous = true;
  bool wrapped_number = false;  // made from a plain number: takes part in promotion by category only
  std::unique_ptr<TensorMetadata> metadata;
};

// Refuses to let the host read a device's memory; chapter 84.
[[noreturn]] void fail_read_elsewhere(const TensorImpl& tensor);

// Strides of a tensor whose last dimension is dense: each the product of the sizes behind it.
DimVector contiguous_strides(IntArrayRef sizes);
// The product of sizes; 1 for none. Throws if one is negative or the product overflows.
std::int64_t multiply_unusual_sizes(IntArrayRef sizes);  // chapter 84
inline std::int64_t multiply_sizes(IntArrayRef sizes) {
  std::int64_t product = 1;
  bool unusual = false;
  for (const std::int64_t size : sizes) unusual = size < 0 || __builtin_mul_overflow(product, size, &product) || unusual;
  return unusual ? multiply_unusual_sizes(sizes) : product;
}

}  // namespace tinytorch
