// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/system_info.h"

#include <sys/utsname.h>
#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <ostream>
#include <sstream>
#include <string_view>
#include <thread>

#include "tinytorch/core/utils.h"

namespace tinytorch {

namespace {

int64_t bytes_or_zero(std::string_view text) { return text.empty() ? 0 : parse_bytes(text); }

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string compiler_name() {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "g++ " __VERSION__;
#else
  return {};
#endif
}

std::string standard_name() {
  if constexpr (__cplusplus > 202002L) return "C++23 or later";
  return __cplusplus == 202002L ? "C++20" : "before C++20";
}

// The extensions that matter for kernels, in the order in which they came, out of the flags in /proc/cpuinfo.
std::vector<std::string> simd_extensions(std::string_view flags) {
  std::istringstream words{std::string(flags)};
  const std::vector<std::string> present{std::istream_iterator<std::string>(words), {}};
  std::vector<std::string> found;
  for (const char* name :
       {"sse2", "sse4_2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16",
        "amx_tile", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2"}) {
    if (std::find(present.begin(), present.end(), name) != present.end()) found.emplace_back(name);
  }
  return found;
}

std::vector<CacheInfo> data_caches() {
  std::vector<CacheInfo> caches;
  for (int index = 0;; ++index) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index);
    const std::string type = first_line(read_if_there(folder + "/type"));
    if (type.empty()) return caches;
    if (type == "Instruction") continue;
    const int level = std::atoi(read_if_there(folder + "/level").c_str());
    caches.push_back({level, bytes_or_zero(first_line(read_if_there(folder + "/size")))});
  }
}

}  // namespace

SystemInfo system_info() {
  SystemInfo info;
  utsname name{};
  if (uname(&name) == 0) info.os = std::string(name.sysname) + " " + name.release + " " + name.machine;
  info.compiler = compiler_name();
  info.standard = standard_name();
#ifdef __OPTIMIZE__
  info.optimized = true;
#endif

  const std::string cpuinfo = read_if_there("/proc/cpuinfo");
  info.cpu_model = value_of_key(cpuinfo, "model name");
  info.cores = static_cast<int>(std::thread::hardware_concurrency());
  const std::string memory = read_if_there("/proc/meminfo");
  info.memory_bytes = bytes_or_zero(value_of_key(memory, "MemTotal"));
  info.cache_line_bytes = bytes_or_zero(
      first_line(read_if_there("/sys/devices/system/cpu/cpu0/cache/index0/coherency_line_size")));
  info.caches = data_caches();
  const std::string_view x86_flags = value_of_key(cpuinfo, "flags");
  info.simd = simd_extensions(x86_flags.empty() ? value_of_key(cpuinfo, "Features") : x86_flags);
  return info;
}

std::ostream& operator<<(std::ostream& out, const SystemInfo& info) {
  const auto known = [](const std::string& s) { return s.empty() ? std::string("unknown") : s; };
  out << "system    " << known(info.os) << '\n';
  out << "compiler  " << known(info.compiler) << ", " << info.standard
      << (info.optimized ? ", optimized\n" : ", not optimized\n");
  out << "cpu       " << known(info.cpu_model) << ", " << info.cores
      << (info.cores == 1 ? " core\n" : " cores\n");
  out << "memory    " << (info.memory_bytes == 0 ? "unknown" : format_bytes(info.memory_bytes)) << '\n';
  out << "caches   ";
  for (const CacheInfo& cache : info.caches) out << " L" << cache.level << ' ' << format_bytes(cache.bytes);
  if (info.caches.empty()) out << " unknown";
  if (info.cache_line_bytes != 0) out << ", lines of " << info.cache_line_bytes << " bytes";
  out << "\nsimd     ";
  for (const std::string& extension : info.simd) out << ' ' << extension;
  if (info.simd.empty()) out << " unknown";
  return out << '\n';
}

}  // namespace tinytorch
