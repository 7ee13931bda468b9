// From the lesson modules/84_devices/devices_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/backend.h"

#include <atomic>
#include <vector>

#include "tinytorch/core/basic_ops.h"
#include "tinytorch/core/loops.h"

namespace tinytorch {

namespace {
std::atomic<Backend*> backend_from_outside{nullptr};

// Bytes in a device's memory. Nothing of them can be read here, and they cannot be resized.
class DeviceStorage : public StorageImpl {
 public:
  DeviceStorage(Backend& backend, std::size_t nbytes, Device device)
      : StorageImpl(nbytes == 0 ? nullptr : backend.allocate(nbytes, device.index()), nbytes, [](void*, std::size_t, void*) {}, nullptr), backend_(backend), device_(device) {}
  ~DeviceStorage() override {
    if (nbytes() > 0) backend_.deallocate(data(), nbytes(), device_.index());
  }
  Device device() const override { return device_; }

 private:
  Backend& backend_;
  Device device_;
};

constexpr LayerSet kLayersElsewhere = LayerSet(Layer::PrivateUse1) | Layer::Elsewhere;

// A device without an index is the first of its type.
Device with_index(const Device& device) { return device.has_index() || device.is_cpu() ? device : Device(device.type(), 0); }

Tensor make_on_device(IntArrayRef sizes, IntArrayRef strides, ScalarType type, const Device& device) {
  const Device there = with_index(device);
  const std::size_t nbytes = static_cast<std::size_t>(multiply_sizes(sizes)) * elementSize(type);
  return make_tensor(Storage(new DeviceStorage(backend_of("empty", there), nbytes, there)), type, kLayersElsewhere | (birth_layers - Layer::TunedCPU), sizes, strides, 0);
}

// Reckoned as a number: it is no pointer of the host's.
void* address_of(const Tensor& self) {
  return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(self.storage()->data()) + static_cast<std::uintptr_t>(self.storage_offset()) * self.element_size());
}

// How many bytes lie between the first element and the end of the last one.
std::size_t span_of(const Tensor& self) {
  if (self.numel() == 0) return 0;
  std::int64_t last = 0;
  for (std::size_t i = 0; i < self.sizes().size(); ++i) last += (self.sizes()[i] - 1) * self.strides()[i];
  return static_cast<std::size_t>(last + 1) * self.element_size();
}

// A tensor of the host with the elements of `self` and its strides; what lies between them comes along.
Tensor mirrored(const Tensor& self) {
  const std::size_t nbytes = span_of(self);
  auto storage = make_intrusive<StorageImpl>(nbytes);
  const Device device = self.storage()->device();
  if (nbytes > 0) backend_of("to", device).copy_from_device(storage->data(), address_of(self), nbytes, device.index());
  return make_tensor(std::move(storage), self.scalar_type(), LayerSet(Layer::CPU) | birth_layers, self.sizes(), self.strides(), 0);
}
}  // namespace

void register_backend(const std::string& name, Backend& backend) {
  register_privateuse1_backend(name);
  Backend* none = nullptr;
  TORCH_CHECK(backend_from_outside.compare_exchange_strong(none, &backend), "a backend is registered for '", name, "' already\n[register_backend] a process has one device from outside.");
}

void require_device(const char* function, const Device& device) {
  if (!device.is_cpu()) backend_of(function, device);
}

Backend& backend_of(const char* function, const Device& device) {
  Backend* const backend = backend_from_outside.load();
  if (!device.is_privateuseone() || backend == nullptr) require_cpu(function, device.is_cpu() ? Device(kPrivateUse1) : device);
  TORCH_CHECK(device.index() < backend->device_count(), "invalid device ordinal\n[", function, "] there is no ", device, "; devices of this type: ", static_cast<int>(backend->device_count()));
  return *backend;
}

Tensor empty_on_device(IntArrayRef sizes, ScalarType type, const Device& device) { return make_on_device(sizes, contiguous_strides(sizes), type, device); }

void* device_address(const Tensor& self) {
  TORCH_CHECK(self.is_elsewhere(), "Expected a tensor on a device, but it is on ", self.storage()->device(), "\n[device_address] move it there with to() first.");
  return address_of(self);
}

void fail_read_elsewhere(const TensorImpl& tensor) {
  const Device device = tensor.storage->device();
  throw TypeError(str("can't read ", device, " device type tensor on the host. Use Tensor.cpu() to copy the tensor to host memory first.\n[data_ptr] sizes ", IntArrayRef(tensor.sizes), "; its bytes lie in the memory of ", device,
                      ", where a kernel of that device finds them by device_address()."));
}

void fail_no_kernel_elsewhere(const char* name) {
  throw NotImplementedError(str("Could not run '", name, "' with arguments from the '", get_privateuse1_backend(false), "' backend.\n[", name, "] no kernel is registered for ", get_privateuse1_backend(),
                                ": give it one with device_kernel<op::", name, ", ...>(), let the CPU compute it with compute_on_cpu<op::", name, ">(), or bring the arguments over with cpu()."));
}

namespace {
Tensor host_to_device(const Tensor& self, const Device& device) {
  const Device there = with_index(device);
  Backend& backend = backend_of("to", there);
  const Tensor dense = is_dense(self) ? self : self.contiguous();
  const Tensor result = make_on_device(dense.sizes(), dense.strides(), dense.scalar_type(), there);
  if (dense.numel() > 0) backend.copy_to_device(address_of(result), dense.data_ptr(), dense.nbytes(), there.index());
  return result;
}

Tensor device_to_any(const Tensor& self, const Device& device) {
  const Tensor here = mirrored(self);
  const Tensor dense = is_dense(here) ? here : here.contiguous();
  return device.is_cpu() ? dense : host_to_device(dense, device);
}

// Across devices through the host: self's elements with whatever lies between them come over, are written, and go back.
const Tensor& copy_across(const Tensor& self, const Tensor& src) {
  const ExcludeLayersGuard below(LayerSet(Layer::Autograd) | Layer::InplaceOrView);
  const Tensor from = to_host(src);
  if (!self.is_elsewhere()) return copy_(self, from), self;
  check_no_internal_overlap(self);
  const Device device = self.storage()->device();
  const Tensor here = self.is_contiguous() ? empty(self.sizes(), self.scalar_type()) : mirrored(self);
  copy_(here, from);
  if (const std::size_t nbytes = span_of(self); nbytes > 0) backend_of("copy_", device).copy_to_device(address_of(self), here.storage()->data(), nbytes, device.index());
  return self;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Device&)> op::to_device("_to_copy", {.cpu = host_to_device});

Tensor to_host(const Tensor& self) { return self.is_elsewhere() ? op::to_device(self, kCPU) : self; }
Tensor to_device(const Tensor& self, const Device& device) { return with_index(device) == self.storage()->device() || (device.is_cpu() && !self.is_elsewhere()) ? self : op::to_device(self, device); }

void register_device_copies() {
  op::to_device.set(Layer::PrivateUse1, device_to_any);
  op::copy_.set(Layer::PrivateUse1, copy_across);
  const auto shared = [](auto&... ops) { (ops.set(Layer::PrivateUse1, ops.function(Layer::CPU)), ...); };
  shared(op::created, op::as_strided, op::view, op::expand, op::select, op::slice);
}

}  // namespace tinytorch
