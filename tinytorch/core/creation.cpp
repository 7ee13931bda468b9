// From the lesson modules/96_surface/surface_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/basic_ops.h"
#include "tinytorch/core/loops.h"

namespace tinytorch {

namespace {
Tensor created_cpu(const Tensor& fresh, const TensorOptions&) { return fresh; }
// Most new tensors ask for nothing, so they need no call.
bool ask_for_nothing(const TensorOptions& options) {
  return options.layers() == LayerSet(Layer::CPU) && options.device().is_cpu() && (thread_state().modes & birth_modes) == 0;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const TensorOptions&)> op::created("created", {.cpu = created_cpu});
Tensor created(const Tensor& fresh, const TensorOptions& options) {
  require_device("empty", options.device());
  return op::created(to_device(fresh, options.device()), options);
}

Tensor empty(IntArrayRef size, const TensorOptions& options) {
  if (options.has_memory_format()) return empty(size, options, std::nullopt);
  const ScalarType type = options.dtype();
  const std::int64_t numel = multiply_sizes(size);
  std::int64_t nbytes = 0;
  TORCH_CHECK(!__builtin_mul_overflow(numel, static_cast<std::int64_t>(elementSize(type)), &nbytes),
              "Storage size calculation overflowed with sizes=", size);
  auto storage = make_intrusive<StorageImpl>(static_cast<std::size_t>(nbytes));
  Tensor fresh(make_intrusive<TensorImpl>(std::move(storage), type, LayerSet(Layer::CPU) | birth_layers, size, numel));
  if (!ask_for_nothing(options)) return created(fresh, options);
  return fresh;
}

namespace {
ScalarType type_of_value(const Scalar& value) { return value.isFloatingPoint() ? get_default_dtype() : value.type(); }
}  // namespace

Tensor full(IntArrayRef size, const Scalar& fill_value, const TensorOptions& options) {
  Tensor result = empty(size, options.dtype_opt().value_or(type_of_value(fill_value)));
  // A long one by the operator, which has a kernel that shares it among threads.
  if (result.numel() < 1 << 15) fill_with(result, fill_value);
  else op::fill_(result, fill_value);
  if (!ask_for_nothing(options)) return created(result, options);
  return result;
}

Tensor zeros(IntArrayRef size, const TensorOptions& options) { return full(size, 0, options.dtype(options.dtype())); }
Tensor ones(IntArrayRef size, const TensorOptions& options) { return full(size, 1, options.dtype(options.dtype())); }

Tensor wrapped_scalar(const Scalar& value) {
  const Tensor result = empty({}, value.isFloatingPoint() ? kDouble : value.type());
  dispatch_all_types(result.scalar_type(), [&]<class T>() { *result.data<T>() = value.to<T>(); });
  result.impl().wrapped_number = true;
  return result;
}

}  // namespace tinytorch
