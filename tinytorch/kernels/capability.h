// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "tinytorch/core/dispatch.h"

namespace tinytorch {

// The name of the vector instructions that kernels use here: "DEFAULT", "AVX2" or "AVX512". Source: aten/src/ATen/Version.h.
std::string get_cpu_capability();

namespace kernels {

// What vector code is compiled for, from the least to the most. Source: aten/src/ATen/native/DispatchStub.h.
enum class CPUCapability : std::int8_t { DEFAULT, AVX2, AVX512 };
inline constexpr int kCapabilityCount = 3;

// The most that this CPU and its system can run.
CPUCapability hardware_capability();

namespace detail {
inline constinit std::atomic<std::int8_t> chosen_capability{-1};
CPUCapability choose_capability();
}  // namespace detail

// What kernels run: hardware_capability(), or less if TINYTORCH_CPU_CAPABILITY asks for less. Decided once.
inline CPUCapability capability() {
  const std::int8_t chosen = detail::chosen_capability.load(std::memory_order_relaxed);
  return chosen >= 0 ? static_cast<CPUCapability>(chosen) : detail::choose_capability();
}

// The table for the capability that is chosen now; `tables` is TINYTORCH_PER_CAPABILITY(name).
template <class Table>
const Table& for_capability(const Table* const (&tables)[kCapabilityCount]) {
  return *tables[static_cast<int>(capability())];
}

// Runs kernels for another capability for a scope, in the whole process: for tests and measurements.
// Throws ValueError for more than hardware_capability().
class CapabilityGuard {
 public:
  explicit CapabilityGuard(CPUCapability wanted);
  ~CapabilityGuard() { detail::chosen_capability.store(static_cast<std::int8_t>(saved_), std::memory_order_relaxed); }
  CapabilityGuard(const CapabilityGuard&) = delete;
  CapabilityGuard& operator=(const CapabilityGuard&) = delete;

 private:
  CPUCapability saved_;
};

// Runs the reference kernels for a scope, in this thread and in the threads and engines it starts.
class ReferenceKernelsGuard : public ExcludeLayersGuard {
 public:
  ReferenceKernelsGuard() : ExcludeLayersGuard(Layer::TunedCPU) {}
};

}  // namespace kernels

}  // namespace tinytorch
