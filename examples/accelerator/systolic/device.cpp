#include "systolic/device.h"

#include <tinytorch/core/device_kernels.h>
#include <tinytorch/tinytorch.h>

#include "systolic/kernels.h"

using namespace tinytorch;

namespace systolic {

namespace {
// What TinyTorch asks of a device: memory, and copies.
class SystolicBackend : public Backend {
 public:
  void* allocate(std::size_t nbytes, DeviceIndex) override {
    try {
      return reinterpret_cast<void*>(machine.allocate(nbytes));
    } catch (const std::bad_alloc&) {
      TORCH_CHECK(false, "systolic out of memory. Tried to allocate ", nbytes, " bytes; ", machine.free_bytes(), " of ", kMemoryBytes, " are free.\n[empty] use smaller batches, or free some tensors first.");
    }
  }
  void deallocate(void* address, std::size_t nbytes, DeviceIndex) noexcept override { machine.free(reinterpret_cast<Address>(address), nbytes); }
  void copy_to_device(void* address, const void* host, std::size_t nbytes, DeviceIndex) override { machine.write(reinterpret_cast<Address>(address), host, nbytes); }
  void copy_from_device(void* host, const void* address, std::size_t nbytes, DeviceIndex) override { machine.read(host, reinterpret_cast<Address>(address), nbytes); }
  void fell_back(const char* operator_name) override {
    const std::lock_guard lock(mutex);
    ++fallbacks[operator_name];
  }

  Machine machine;
  std::mutex mutex;
  std::map<std::string, int> fallbacks;
};

// Never destroyed: tensors may outlive everything.
SystolicBackend& backend() {
  static SystolicBackend* const only = new SystolicBackend;
  return *only;
}
}  // namespace

Machine& machine() { return backend().machine; }

std::map<std::string, int> fallbacks() {
  const std::lock_guard lock(backend().mutex);
  return backend().fallbacks;
}

void reset_fallbacks() {
  const std::lock_guard lock(backend().mutex);
  backend().fallbacks.clear();
}

void join() {
  [[maybe_unused]] static const bool joined = [] {
    register_backend("systolic", backend());
    register_kernels();
    // Whatever a training loop for classes asks for beside them. Each call is counted.
    compute_on_cpu<op::eq, op::ne, op::gt, op::scatter_add_, op::to_dtype, op::argmax, op::log, op::sqrt, op::cat, op::abs>();
    return true;
  }();
}

}  // namespace systolic
