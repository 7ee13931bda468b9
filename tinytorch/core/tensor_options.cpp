// From the lesson modules/84_devices/devices_dev.cpp:
// edit the module, not this file.

#include <atomic>

#include "tinytorch/core/tensor_options.h"

namespace tinytorch {

namespace {
std::atomic<ScalarType> default_dtype{ScalarType::Float};
}

TypeMeta get_default_dtype() { return TypeMeta(default_dtype.load(std::memory_order_relaxed)); }

void set_default_dtype(ScalarType type) {
  TORCH_CHECK_TYPE(isFloatingType(type), "only floating-point types are supported as the default type\n[set_default_dtype] got ", type,
                   "; use kFloat or kDouble.");
  default_dtype.store(type, std::memory_order_relaxed);
}

TypeMeta TensorOptions::dtype() const { return TypeMeta(dtype_.value_or(get_default_dtype())); }

}  // namespace tinytorch
