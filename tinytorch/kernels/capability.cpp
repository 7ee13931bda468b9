// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.

#include "tinytorch/kernels/capability.h"

#include <cstdlib>
#include <optional>
#include <string_view>

#include "tinytorch/core/warning.h"

namespace tinytorch {

kernels::CPUCapability kernels::hardware_capability() {
#ifdef __x86_64__
  // These ask the system too: registers that it does not save do not count.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return avx512 ? CPUCapability::AVX512 : avx2 ? CPUCapability::AVX2 : CPUCapability::DEFAULT;
#else
  return CPUCapability::DEFAULT;
#endif
}

namespace {
constexpr std::string_view capability_names[] = {"default", "avx2", "avx512"};

std::optional<kernels::CPUCapability> capability_named(std::string_view name) {
  for (int i = 0; i < kernels::kCapabilityCount; ++i)
    if (capability_names[i] == name) return static_cast<kernels::CPUCapability>(i);
  return std::nullopt;
}
}  // namespace

kernels::CPUCapability kernels::detail::choose_capability() {
  const CPUCapability most = hardware_capability();
  CPUCapability chosen = most;
  if (const char* const asked = std::getenv("TINYTORCH_CPU_CAPABILITY"); asked != nullptr) {
    const std::optional<CPUCapability> named = capability_named(asked);
    if (!named) TORCH_WARN("TINYTORCH_CPU_CAPABILITY is '", asked, "'; it may be default, avx2 or avx512, and is ignored.");
    if (named && *named > most) TORCH_WARN("TINYTORCH_CPU_CAPABILITY is ", asked, ", which this CPU does not have; kernels for ", capability_names[static_cast<int>(most)], " run.");
    if (named && *named < most) chosen = *named;
  }
  chosen_capability.store(static_cast<std::int8_t>(chosen), std::memory_order_relaxed);
  return chosen;
}

kernels::CapabilityGuard::CapabilityGuard(CPUCapability wanted) : saved_(capability()) {
  TORCH_CHECK_VALUE(wanted <= hardware_capability(), "this CPU has no ", capability_names[static_cast<int>(wanted)],
                    "\n[CapabilityGuard] kernels for ", capability_names[static_cast<int>(hardware_capability())], " and less can run here.");
  detail::chosen_capability.store(static_cast<std::int8_t>(wanted), std::memory_order_relaxed);
}

std::string get_cpu_capability() {
  static constexpr const char* names[] = {"DEFAULT", "AVX2", "AVX512"};
  return names[static_cast<int>(kernels::capability())];
}

// From now on tensors ask for tuned kernels too, unless TINYTORCH_KERNELS is "reference".
void kernels_join_birth_layers() {
  const char* const variable = std::getenv("TINYTORCH_KERNELS");
  const std::string_view asked = variable == nullptr ? "" : variable;
  if (asked == "reference") return;
  if (!asked.empty()) TORCH_WARN("TINYTORCH_KERNELS is '", asked, "'; it may be reference, and is ignored.");
  birth_layers = birth_layers | Layer::TunedCPU;
}

}  // namespace tinytorch
