// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch-cpp
// ---

// %% [markdown]
// # Module 16: Kernels
//
// Every layer of this course spends its time in a few loops. So far they are the obvious ones, and a matrix product uses a few percent of what the processor can do. This module takes that one operator, the matrix product, from three loops to near the
// machine's limit, one idea at a time, and puts the result *beside* the reference version, so that everything built before becomes faster without a changed line: layers, convolutions, attention, training.
//
// **Objectives.** After this module you can
//
// - say with a roofline whether a kernel is limited by arithmetic or by memory, from two measured numbers;
// - explain why the order of loops, tiles, packing and register blocks each help, and measure every step;
// - write a kernel in portable vector code, compile it for several instruction sets and choose among them when the program starts;
// - build a pool of threads that gives the same bits for any number of threads, and does not fight over cores;
// - hold a fast kernel to a slow one that is obviously right.
//
// **Where it sits.** Below it: the dispatcher and the loops of module 01, `bmm` and `addmm` of chapter 91. Above it: quantized products (module 17), generated code (18), several machines (19).
//
// **Prerequisites.** Modules 00 to 05 and chapters 90 and 91. You should have seen what a cache line is (module 01, matrix products).

// %%
//| export kernels/capability.h
#include <atomic>
#include <cstdint>
#include <string>
#include "tinytorch/core/dispatch.h"
//| export kernels/capability.cpp
#include <cstdlib>
#include <optional>
#include <string_view>
#include "tinytorch/core/warning.h"
//| export kernels/gemm_kernels.h
#include <cstdint>
#include "tinytorch/kernels/capability_tables.h"
//| export kernels/parallel.h
#include <cstdint>
#include <memory>
#include <type_traits>
#include "tinytorch/core/dispatch.h"
//| export kernels/thread_pool-inl.h
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <span>
#include <thread>
#include <vector>
#include "tinytorch/kernels/parallel.h"
//| export kernels/parallel.cpp
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <string>
#include <system_error>
#include <thread>
#ifdef __linux__
#include <sched.h>
#endif
#include "tinytorch/core/error.h"
#include "tinytorch/core/warning.h"
#include "tinytorch/kernels/thread_pool-inl.h"
//| export kernels/gemm.h
#include <cstdint>
#include <vector>
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/gemm_kernels.h"
//| export kernels/product-inl.h
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <numeric>
#include "tinytorch/kernels/gemm.h"
#include "tinytorch/kernels/parallel.h"
//| export kernels/gemm.cpp
#include <algorithm>
#include "tinytorch/core/system_info.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/product-inl.h"
//| export kernels/roofline.cpp
#include <algorithm>
#include <cstdint>
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/gemm.h"
#include "tinytorch/profiling/peaks.h"
//| export kernels/products.h
#include <optional>
#include "tinytorch/core/tensor.h"
#include "tinytorch/kernels/gemm_kernels.h"
//| export kernels/products.cpp
#include <cstdint>
#include "tinytorch/core/matmul.h"
#include "tinytorch/core/matrix_ops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/gemm.h"

// %%
//| export kernels/gemm.simd.cpp
#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <algorithm>
#include <hwy/cache_control.h>
#include <hwy/highway.h>
#include <utility>
#include "tinytorch/kernels/gemm_kernels.h"
#include "tinytorch/kernels/tiles-inl.h"

// %%
//| export kernels/tiles-inl.h
#include <cstdint>
#include <hwy/highway.h>
#include "tinytorch/kernels/gemm_kernels.h"

// %%
#include <array>
#include <atomic>
#include <cstdio>
#include <limits>
#include <string>
#include <thread>
#include <utility>
#include <vector>
#ifdef __linux__
#include <sched.h>
#endif
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/matmul.h"
#include "tinytorch/core/matrix_ops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Part 1: Foundations
//
// ### A second kernel beside the first
//
// The reference loops stay. They are what the fast version is compared with, and what runs for dtypes and shapes that nobody tuned. In the dispatcher of module 01 the tuned kernels have a layer of their own, `TunedCPU`, directly above `CPU`. Tensors are born with it,
// and an operator that has nothing there ignores it:
//
//                     CPU          TunedCPU                       ...    Autograd
//     op::mm      [ mm_cpu    |  mm of this module            |   ...  |  module 05 ]
//     op::tril    [ tril_cpu  |      -                        |   ...  |  module 05 ]
//
//     a call of mm  ->  Autograd records  ->  TunedCPU: float or double?  -- yes -->  packed, vectors, threads
//                                                       |
//                                                       no, integers  -->  op::mm.function(Layer::CPU), the loops
//
// A tuned kernel may therefore be narrow. What it does not do it hands down. To choose the reference for a while, in one thread, switch the layer off (`ReferenceKernelsGuard`); for a whole process set the variable `TINYTORCH_KERNELS=reference`.
//
// ### One source, several machines
//
// A second choice is made per machine. The same loop compiled for AVX-512 handles 16 floats in an instruction, for NEON (ARM) 4, and a CPU that does not know an instruction ends the program. So vector code is compiled once for each *capability*, each into a namespace of its
// own, and the first call asks the CPU:
//
//     gemm.simd.cpp  --+-- -mavx512f ... -->  kernels::AVX512::gemm_kernels   16 floats
//                      +-- -mavx2 -mfma  -->  kernels::AVX2::gemm_kernels      8 floats
//                      +-- nothing       -->  kernels::DEFAULT::gemm_kernels   4 floats on ARM (NEON); on x86-64 one, in plain code
//                                                   ^
//     capability()  -- what the CPU has ------------+   TINYTORCH_CPU_CAPABILITY=default|avx2|avx512 asks for less

// %%
//| export kernels/capability_tables.h
// For sources that are compiled once for each CPU capability: includes nothing, as they must not. A table is a struct of function pointers, declared in a header by
//     namespace kernels { TINYTORCH_DECLARE_PER_CAPABILITY(GemmKernels, gemm_kernels) }
// and defined in a .simd.cpp as `constinit const GemmKernels gemm_kernels = {...};` in namespace kernels::TINYTORCH_CAPABILITY.
#define TINYTORCH_DECLARE_PER_CAPABILITY(Table, name) \
  namespace DEFAULT { extern const Table name; }      \
  namespace AVX2 { extern const Table name; }         \
  namespace AVX512 { extern const Table name; }

// The addresses of the tables, for kernels::for_capability().
#ifdef __x86_64__
#define TINYTORCH_PER_CAPABILITY(name) {&DEFAULT::name, &AVX2::name, &AVX512::name}
#else
#define TINYTORCH_PER_CAPABILITY(name) {&DEFAULT::name, &DEFAULT::name, &DEFAULT::name}
#endif

// %%
//| export kernels/capability.h
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

// %%
//| export kernels/capability.cpp
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

// %%
//| export kernels/capability.cpp
//| registers
// From now on tensors ask for tuned kernels too, unless TINYTORCH_KERNELS is "reference".
void kernels_join_birth_layers() {
  const char* const variable = std::getenv("TINYTORCH_KERNELS");
  const std::string_view asked = variable == nullptr ? "" : variable;
  if (asked == "reference") return;
  if (!asked.empty()) TORCH_WARN("TINYTORCH_KERNELS is '", asked, "'; it may be reference, and is ignored.");
  birth_layers = birth_layers | Layer::TunedCPU;
}

// %%
//| lesson
int tuned_calls = 0;
Tensor doubled_reference(const Tensor& self) { return self + self; }
Tensor doubled_tuned(const Tensor& self);
constinit Operator<Tensor(const Tensor&)> doubled("doubled", {.cpu = doubled_reference});
Tensor doubled_tuned(const Tensor& self) {
  if (self.scalar_type() != kFloat) return doubled.function(Layer::CPU)(self);
  ++tuned_calls;
  return self * 2;
}

// Runs f once for each capability that this machine has.
template <class F>
void for_each_capability(F f) {
  for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
    CAPTURE(get_cpu_capability());
    f();
  }
}

// %%
TEST_CASE("a tuned kernel stands beside the reference one") {
  const bool tuned = birth_layers.has(Layer::TunedCPU);  // not with TINYTORCH_KERNELS=reference
  doubled.set(Layer::TunedCPU, doubled_tuned);
  const Tensor x = arange(3).to(kFloat);
  tuned_calls = 0;
  CHECK_EQ(doubled(x), tensor({0.f, 2.f, 4.f}));
  CHECK_EQ(tuned_calls, tuned ? 1 : 0);
  {
    const kernels::ReferenceKernelsGuard reference;
    CHECK_EQ(doubled(x), tensor({0.f, 2.f, 4.f}));
  }
  CHECK_EQ(doubled(arange(3)), tensor({0, 2, 4}));  // integers are handed down
  CHECK_EQ(tuned_calls, tuned ? 1 : 0);
}

TEST_CASE("capability: named, at most what the hardware has, put back after a scope") {
  const kernels::CPUCapability before = kernels::capability();
  CHECK(before <= kernels::hardware_capability());
  {
    const kernels::CapabilityGuard guard(kernels::CPUCapability::DEFAULT);
    CHECK_EQ(get_cpu_capability(), "DEFAULT");
  }
  CHECK(kernels::capability() == before);
  if (kernels::hardware_capability() < kernels::CPUCapability::AVX512)
    CHECK_ERROR(kernels::CapabilityGuard(kernels::CPUCapability::AVX512), "this CPU has no avx512");
}

// %% [markdown]
// ### Two numbers and a roof
//
// A kernel can be limited in two ways: the arithmetic units are busy, or memory is. Two numbers of the machine decide which: its peak of operations per second, and the bytes per second that come from memory. And one number of the kernel, its *arithmetic intensity*: operations per byte that it moves.
//
//     operations                      ____________________  peak of the arithmetic units
//     per second                     /      x packed, vectors
//                                   /
//                                  /   x tiles
//                 bandwidth,      /
//                 a slope        /  x loops                     reachable = min(peak, intensity * bandwidth)
//                               /
//                              +------------------------->  operations per byte
//
// Adding two vectors does one operation for 12 bytes: it lies far to the left, and no cleverness in arithmetic helps. A product of N x N matrices does `2 N^3` operations on `3 N^2` numbers, `N / 6` per byte of a float: it *can* lie far to the right, if each number that is fetched is used often before it leaves the cache. That is
// what the whole ladder is about.

// %%
//| export kernels/roofline.h
namespace kernels {

// What this machine can do in one thread, measured when first asked for (about a second).
struct MachinePeaks {
  double flops;            // float multiply-adds in registers, two operations each, per second
  double bytes_per_second; // from and to memory that no cache holds, as module 14's roofline has it (chapter 72): the better of reading an array and of adding to one in place
};
const MachinePeaks& machine_peaks();

// The most operations per second that a kernel of this arithmetic intensity (operations per byte) can reach: the lower of the two roofs.
double reachable_flops(const MachinePeaks& peaks, double intensity);

}  // namespace kernels

// %% {"nbgrader": {"grade": false, "grade_id": "16-reachable-flops", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export kernels/roofline.cpp
// See the declaration. O(1).
//
// TODO: Say which roof is lower.
// APPROACH: 1. Memory allows intensity * bytes per second.
//           2. The arithmetic units allow flops. The lower one counts.
// EXAMPLE: 100 GFLOP/s, 10 GB/s: intensity 1 reaches 10 GFLOP/s, intensity 50 reaches 100.
double kernels::reachable_flops(const MachinePeaks& peaks, double intensity) {
  // BEGIN SOLUTION
  return std::min(peaks.flops, intensity * peaks.bytes_per_second);
  // END SOLUTION
}

// %%
//| mistake 16-reachable-flops the-higher-roof
//| says Both roofs hold at once: a kernel is stopped by the lower one.
#if 0
double kernels::reachable_flops(const MachinePeaks& peaks, double intensity) {
  return std::max(peaks.flops, intensity * peaks.bytes_per_second);
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "16-reachable-flops-test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("reachable_flops: under both roofs") {
  const kernels::MachinePeaks machine{100e9, 10e9};
  CHECK_CLOSE(kernels::reachable_flops(machine, 1), 10e9);
  CHECK_CLOSE(kernels::reachable_flops(machine, 10), 100e9);
  CHECK_CLOSE(kernels::reachable_flops(machine, 50), 100e9);
}

// %% [markdown]
// ### Three loops, reordered, in tiles
//
// Module 01 left off with two versions. In v1 the innermost loop walks down a column of B, one cache line for each number. In v2 it walks along rows, and the compiler turns it into vector instructions; but for each `k` it reads and writes a whole row of the result, and for each row of A all of B passes by again:
//
//     v2, one row of the result                         v3, a tile of the result
//     out[i][:] += a[i][k] * b[k][:]                    4 rows and 64 columns: one line of b's tile serves 4 rows,
//                                                       and the tile itself is a small array in the first cache
//     per multiply-add: 1 load of b, 1 of out,          per multiply-add: a quarter of the loads of b from far away,
//                       1 store of out                                    and the 64 columns of b stay near for all rows
//
//              +---------------------+                          +------+--------------+
//           i  |#####################|                       i  |######|              |
//              |                     |                    4 rows|######|              |
//              +---------------------+                          +------+--------------+
//
// So v3 pays when B does not fit into a near cache any more, and does little before that: both versions load, add and store once for each multiplication, in vectors.
//
// v3 is yours. It computes the same sums in the same order of k, so on whole numbers it must give exactly the same result.

// %%
//| lesson
// v1: out (M, N) = a (M, K) x b (K, N), all dense.
void multiply_v1(float* out, const float* a, const float* b, std::int64_t M, std::int64_t K, std::int64_t N) {
  for (std::int64_t i = 0; i < M; ++i)
    for (std::int64_t j = 0; j < N; ++j) {
      float sum = 0;
      for (std::int64_t k = 0; k < K; ++k) sum += a[i * K + k] * b[k * N + j];
      out[i * N + j] = sum;
    }
}

// v2: the reference of module 01.
void multiply_v2(float* out, const float* a, const float* b, std::int64_t M, std::int64_t K, std::int64_t N) { multiply_matrices(out, a, K, 1, b, M, K, N); }

// %% {"nbgrader": {"grade": false, "grade_id": "16-multiply-tiles", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
// v3: out (M, N) = a (M, K) x b (K, N), all dense, in tiles of 4 x 64 of `out`, each of which runs over all of K. O(M K N). `out` is uninitialised before.
//
// TODO: Multiply tile by tile.
// APPROACH: 1. Two outer loops over the tiles' corners, j0 outside of i0: all rows use the same 64 columns of b one after another. The last tiles are smaller: std::min.
//           2. A local array of 4 x 64 zeros for the sums.
//           3. For each k, each row i of the tile: factor = a[i][k]; add factor * b[k][j] for the tile's columns j.
//           4. Copy the sums to `out`.
// EXAMPLE: M = 5, N = 70: four tiles, of 4 x 64, 4 x 6, 1 x 64 and 1 x 6.
// HINT: The loop over k stands outside of the loop over the tile's rows: a line of b's tile is then used four times while it is near. What only this function can see, as a local array, the compiler need not load again after each store to it.
void multiply_tiles(float* out, const float* a, const float* b, std::int64_t M, std::int64_t K, std::int64_t N) {
  // BEGIN SOLUTION
  constexpr std::int64_t rows = 4, columns = 64;
  for (std::int64_t j0 = 0; j0 < N; j0 += columns) {
    const std::int64_t width = std::min(columns, N - j0);
    for (std::int64_t i0 = 0; i0 < M; i0 += rows) {
      const std::int64_t height = std::min(rows, M - i0);
      float tile[rows][columns] = {};
      for (std::int64_t k = 0; k < K; ++k) {
        const float* const line = b + k * N + j0;
        for (std::int64_t i = 0; i < height; ++i) {
          const float factor = a[(i0 + i) * K + k];
          float* const sums = tile[i];
          for (std::int64_t j = 0; j < width; ++j) sums[j] += factor * line[j];
        }
      }
      for (std::int64_t i = 0; i < height; ++i) std::copy(tile[i], tile[i] + width, out + (i0 + i) * N + j0);
    }
  }
  // END SOLUTION
}

// %%
//| mistake 16-multiply-tiles whole-tiles-only
//| says At the right and at the bottom tiles are smaller: stop at N and M, or the loop writes behind the result or leaves a part out.
#if 0
void multiply_tiles(float* out, const float* a, const float* b, std::int64_t M, std::int64_t K, std::int64_t N) {
  std::fill(out, out + M * N, 0.0F);
  for (std::int64_t i0 = 0; i0 + 4 <= M; i0 += 4)
    for (std::int64_t j0 = 0; j0 + 64 <= N; j0 += 64)
      for (std::int64_t k = 0; k < K; ++k)
        for (std::int64_t i = i0; i < i0 + 4; ++i)
          for (std::int64_t j = j0; j < j0 + 64; ++j) out[i * N + j] += a[i * K + k] * b[k * N + j];
}
#endif

// %%
//| mistake 16-multiply-tiles zero-inside-the-k-loop
//| says The tile is set to 0 once, before the loop over k: inside of it only the last product is left.
#if 0
void multiply_tiles(float* out, const float* a, const float* b, std::int64_t M, std::int64_t K, std::int64_t N) {
  for (std::int64_t i0 = 0; i0 < M; i0 += 4)
    for (std::int64_t j0 = 0; j0 < N; j0 += 64)
      for (std::int64_t k = 0; k < K; ++k)
        for (std::int64_t i = i0; i < std::min(M, i0 + 4); ++i)
          for (std::int64_t j = j0; j < std::min(N, j0 + 64); ++j) out[i * N + j] = a[i * K + k] * b[k * N + j];
}
#endif

// %%
//| lesson
using Multiply = void (*)(float*, const float*, const float*, std::int64_t, std::int64_t, std::int64_t);

// a (M, K) x b (K, N), float and dense, by one of the versions.
Tensor by_version(Multiply version, const Tensor& a, const Tensor& b) {
  const Tensor out = full({a.size(0), b.size(1)}, -99, kFloat);
  version(out.data<float>(), a.data<float>(), b.data<float>(), a.size(0), a.size(1), b.size(1));
  return out;
}

// %% {"nbgrader": {"grade": true, "grade_id": "16-multiply-tiles-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("multiply_tiles: what the three loops give") {
  for (const auto& sizes : std::vector<std::array<std::int64_t, 3>>{{1, 1, 1}, {4, 3, 64}, {5, 7, 70}, {13, 20, 130}, {3, 0, 5}, {2, 9, 63}}) {
    const std::int64_t M = sizes[0], K = sizes[1], N = sizes[2];
    CAPTURE(M);
    CAPTURE(N);
    const Tensor a = (arange(M * K).remainder(7) - 3).to(kFloat).view({M, K});
    const Tensor b = (arange(K * N).remainder(5) - 2).to(kFloat).view({K, N});
    const Tensor expected = by_version(multiply_v1, a, b);
    CHECK_EQ(by_version(multiply_v2, a, b), expected);
    CHECK_EQ(by_version(multiply_tiles, a, b), expected);
  }
}

// %% [markdown]
// ### Packing: any strides in, one order out
//
// A tile of B that is used again and again should lie in memory in the order in which it is read. A matrix with 3,072 columns keeps the next row 12 KB away: each row is on a page of its own, which the table of pages (TLB) must find, and the hardware does not fetch ahead across
// pages. So the tile is copied once, into *panels*: for each `k`, the numbers that one step needs stand side by side.
//
//     B, row-major (or transposed, or every second column: any strides)         packed panel, width 4
//         k=0   b00 b01 b02 b03 | b04 b05                                         b00 b01 b02 b03
//         k=1   b10 b11 b12 b13 | b14 b15             ---- pack ---->             b10 b11 b12 b13       read from front to end
//         k=2   b20 b21 b22 b23 | b24 b25                                         b20 b21 b22 b23
//                                    ^ second panel: b04 b05 0 0, zeros fill it up
//
// A is packed the same way, in panels of rows. The copy costs O(K N) and the product O(M K N), so from a few dozen rows on it is free; and a transposed operand costs no more than a plain one, so `x.mm(w.t())` copies nothing else.
//
// The copy has three cases. Neighbours of a panel's line may be neighbours in memory: copy lines. Or the other direction is: then lines and columns change places, in small squares, because a square of 4 x 4 numbers can be turned inside of registers. Or neither: one at a time. Chapter 62 does the first two in whole registers of up to 512 bits;
// `pack_wide` and `pack_lines` below ask whether it is there.

// %%
//| export kernels/gemm_kernels.h
namespace kernels {

// What becomes of each number of a product, while it is in a register anyway: nothing, or x below 0 becomes 0.
enum class Activation : std::int8_t { None, ReLU };

// One tile of a product: out (rows, columns) = activation(alpha * A (rows, K) x B (K, columns) + beta * start (rows, columns)).
// A's element (i, k) is a[i * a_row + k * a_k], B's element (k, j) is b[k * b_k + j]; rows of `out` and `start` are contiguous. Without a start (nullptr) nothing is added.
template <class T>
struct Tile {
  const T* a;
  std::int64_t a_row, a_k;
  const T* b;
  std::int64_t b_k;
  std::int64_t K;
  T* out;
  std::int64_t out_row;
  const T* start;
  std::int64_t start_row;
  T alpha, beta;
  Activation activation = Activation::None;
};

// A product whose operands both have K in contiguous lines: out (M, N) = activation(alpha * A (M, K) x B (N, K)^T + beta * start (M, N)).
template <class T>
struct LinesProduct {
  const T* a;
  std::int64_t a_line;
  const T* b;
  std::int64_t b_line;
  std::int64_t M, N, K;
  T* out;
  std::int64_t out_row;
  const T* start;
  std::int64_t start_row;
  T alpha, beta;
  Activation activation = Activation::None;
};

// Parts of pack() that chapter 62 does in whole registers, when the program has started; as long as they are nullptr, pack() does without.
template <class T>
struct FastPacking {
  // Where k_step is 1: some of the lines. Returns how many; these are the first ones.
  int (*turn)(T* to, int width, const T* from, std::int64_t step, int count, std::int64_t K) = nullptr;
  // Where step is 1: everything.
  void (*copy)(T* to, int width, const T* from, std::int64_t k_step, int count, std::int64_t K) = nullptr;
};
namespace DEFAULT { template <class T> inline constinit FastPacking<T> fast_packing{}; }
namespace AVX2 { template <class T> inline constinit FastPacking<T> fast_packing{}; }
namespace AVX512 { template <class T> inline constinit FastPacking<T> fast_packing{}; }

// What is compiled for one capability and dtype.
template <class T>
struct GemmTable {
  int rows, columns;  // of the largest tile
  // Computes a tile of up to that size. B must have `columns` numbers in each of its lines, also for a narrower tile, or half of them for one of up to half the columns. `packed`: A is a panel of
  // pack() with exactly `rows` lines, and a_row and a_k do not count.
  void (*tile)(const Tile<T>& tile, int rows, int columns, bool packed);
  // to[k * width + i] = from[i * step + k * k_step] for i < count, and 0 for count <= i < width.
  void (*pack)(T* to, int width, const T* from, std::int64_t step, std::int64_t k_step, int count, std::int64_t K);
  // Dot products of lines; the baseline is the obvious loop.
  void (*multiply_lines)(const LinesProduct<T>& product);
  void (*multiply_lines_baseline)(const LinesProduct<T>& product);
  // Multiplies and adds in registers only, `rounds` times: what the arithmetic units can do. Returns the number of operations.
  double (*spin_arithmetic)(std::int64_t rounds, T* result);
};

struct GemmKernels {
  GemmTable<float> in_float;
  GemmTable<double> in_double;
};

TINYTORCH_DECLARE_PER_CAPABILITY(GemmKernels, gemm_kernels)

}  // namespace kernels

// %%
//| export kernels/gemm.h
namespace kernels {

// The table of kernels that run here.
template <class T>
const GemmTable<T>& gemm_table();
template <>
const GemmTable<float>& gemm_table<float>();
template <>
const GemmTable<double>& gemm_table<double>();

}  // namespace kernels

// %%
//| export kernels/roofline.cpp
// Both roofs of this machine, promised above: the table knows what to spin for the arithmetic.
const kernels::MachinePeaks& kernels::machine_peaks() {
  static const MachinePeaks peaks = [] {
    const GemmTable<float>& table = gemm_table<float>();
    float sink = 0;
    constexpr std::int64_t rounds = 20000;
    const double operations = table.spin_arithmetic(rounds, &sink);
    const double seconds = measure([&] { do_not_optimize(table.spin_arithmetic(rounds, &sink)); }).minimum;
    return MachinePeaks{operations / seconds, autograd::profiler::measure_bandwidth(1)};
  }();
  return peaks;
}

// %%
//| export kernels/tiles-inl.h
// For *.simd.cpp files, which define TINYTORCH_CAPABILITY. Vectors of as many T as the registers of this capability hold, from Google Highway: hn::LoadU, hn::MulAdd and so on become one instruction each.
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

template <class T>
using Tag = hn::ScalableTag<T>;
template <class T>
using Vector = hn::Vec<Tag<T>>;
template <class T>
constexpr int kTileLanes = static_cast<int>(hn::MaxLanes(Tag<T>()));

// AVX-512 and NEON have 32 vector registers, older ones 16. A tile of R rows and two vectors wants 2 R for sums, two for B and one for A.
constexpr int kTileRows = HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_NEON ? 12 : HWY_TARGET == HWY_SCALAR ? 4 : 6;
template <class T>
constexpr int kTileColumns = 2 * kTileLanes<T>;

// The side of a square that registers turn: one of 128 bits holds 4 float or 2 double.
template <class T>
constexpr int kSquare = HWY_TARGET == HWY_SCALAR ? 1 : 16 / static_cast<int>(sizeof(T));

// Masked loads and stores of x86 do not touch what the mask leaves out; elsewhere the numbers go through a buffer.
constexpr bool kMasksAreSafe = HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3;

// The first `count` numbers at `from`, then zeros.
template <class T>
HWY_INLINE Vector<T> load_first(const T* from, int count) {
  const Tag<T> d;
  if (count >= kTileLanes<T>) return hn::LoadU(d, from);
  if constexpr (kMasksAreSafe) return hn::MaskedLoad(hn::FirstN(d, static_cast<std::size_t>(count < 0 ? 0 : count)), d, from);
  T buffer[kTileLanes<T>] = {};
  for (int i = 0; i < count; ++i) buffer[i] = from[i];
  return hn::LoadU(d, buffer);
}

// Stores the first `count` numbers of the vector.
template <class T>
HWY_INLINE void store_first(Vector<T> value, T* to, int count) {
  const Tag<T> d;
  if (count >= kTileLanes<T>) return hn::StoreU(value, d, to);
  if constexpr (kMasksAreSafe) return hn::BlendedStore(value, hn::FirstN(d, static_cast<std::size_t>(count < 0 ? 0 : count)), d, to);
  T buffer[kTileLanes<T>];
  hn::StoreU(value, d, buffer);
  for (int i = 0; i < count; ++i) to[i] = buffer[i];
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| export kernels/gemm.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// Turns squares: to[k * width + i] = from[i * step + k] for i < kSquare and all k < K that fill squares. Returns how many k that are.
// Two rounds of interleaving exchange rows and columns.
template <class T>
HWY_INLINE std::int64_t pack_squares(T* to, int width, const T* from, std::int64_t step, std::int64_t K) {
  std::int64_t k = 0;
#if HWY_TARGET == HWY_SCALAR  // nothing to turn, and no such functions
  static_cast<void>(to), static_cast<void>(width), static_cast<void>(from), static_cast<void>(step), static_cast<void>(K);
#else
  if constexpr (kSquare<T> == 4) {
    const hn::CappedTag<T, 4> d;
    for (; k + 4 <= K; k += 4, from += 4, to += 4 * width) {
      const auto r0 = hn::LoadU(d, from), r1 = hn::LoadU(d, from + step), r2 = hn::LoadU(d, from + 2 * step), r3 = hn::LoadU(d, from + 3 * step);
      const auto low01 = hn::InterleaveLower(d, r0, r1), low23 = hn::InterleaveLower(d, r2, r3);
      const auto high01 = hn::InterleaveUpper(d, r0, r1), high23 = hn::InterleaveUpper(d, r2, r3);
      hn::StoreU(hn::ConcatLowerLower(d, low23, low01), d, to);
      hn::StoreU(hn::ConcatUpperUpper(d, low23, low01), d, to + width);
      hn::StoreU(hn::ConcatLowerLower(d, high23, high01), d, to + 2 * width);
      hn::StoreU(hn::ConcatUpperUpper(d, high23, high01), d, to + 3 * width);
    }
  }
  if constexpr (kSquare<T> == 2) {
    const hn::CappedTag<T, 2> d;
    for (; k + 2 <= K; k += 2, from += 2, to += 2 * width) {
      const auto r0 = hn::LoadU(d, from), r1 = hn::LoadU(d, from + step);
      hn::StoreU(hn::InterleaveLower(d, r0, r1), d, to);
      hn::StoreU(hn::InterleaveUpper(d, r0, r1), d, to + width);
    }
  }
#endif
  return k;
}

// As many of `count` lines as fill wide registers, which chapter 62 turns; returns how many these are.
template <class T>
HWY_INLINE int pack_wide(T* to, int width, const T* from, std::int64_t step, int count, std::int64_t K) {
  return fast_packing<T>.turn == nullptr ? 0 : fast_packing<T>.turn(to, width, from, step, count, K);
}

// Lines, K times. They lie far apart, often in pages of their own, where the processor does not see the next one coming: it is told.
template <class T>
HWY_NOINLINE void pack_lines(T* to, int width, const T* from, std::int64_t k_step, int count, std::int64_t K) {
  if (fast_packing<T>.copy != nullptr) return fast_packing<T>.copy(to, width, from, k_step, count, K);
  constexpr std::int64_t ahead = 32;
  const Tag<T> d;
  for (std::int64_t k = 0; k < K; ++k, from += k_step, to += width) {
    if (k + ahead < K) hwy::Prefetch(from + ahead * k_step);
    int i = 0;
    for (; i + kTileLanes<T> <= count; i += kTileLanes<T>) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
    for (; i < count; ++i) to[i] = from[i];
    for (; i < width; ++i) to[i] = T{0};
  }
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% {"nbgrader": {"grade": false, "grade_id": "16-pack", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export kernels/gemm.simd.cpp
// to[k * width + i] = from[i * step + k * k_step] for i < count, and 0 for count <= i < width; k < K. O(width K); `to` is uninitialised before.
//
// TODO: Copy a strided piece of a matrix into a panel.
// APPROACH: 1. step == 1: the numbers of a line are neighbours: pack_lines does it.
//           2. k_step == 1: pack_wide does the first lines, and says how many. Then for each group of kSquare<T> lines pack_squares; what it leaves over at the end, one at a time.
//           3. Everything else, one at a time: all k, all i < count.
//           4. Zeros for i from count to width.
// EXAMPLE: width 4, count 2, K 2, step 10, k_step 1, from = 0 1 2 ...: to = 0 10 0 0, 1 11 0 0.
// HINT: pack_squares(to + i, width, from + i * step, step, K) fills lines i to i + kSquare<T> - 1, and returns the first k that it did not do.
namespace kernels::TINYTORCH_CAPABILITY {
template <class T>
static void pack(T* to, int width, const T* from, std::int64_t step, std::int64_t k_step, int count, std::int64_t K) {
  // BEGIN SOLUTION
  if (step == 1) return pack_lines(to, width, from, k_step, count, K);
  // Lines are turned a piece at a time: what it fills of the panel stays in the first cache until all lines have been there.
  constexpr std::int64_t piece = 32;
  if (k_step == 1 && K > piece) {
    for (std::int64_t k = 0; k < K; k += piece) pack(to + k * width, width, from + k, step, k_step, count, K - k < piece ? K - k : piece);
    return;
  }
  int i = 0;
  if (k_step == 1) {
    i = pack_wide(to, width, from, step, count, K);
    for (; i + kSquare<T> <= count; i += kSquare<T>) {
      for (std::int64_t k = pack_squares(to + i, width, from + i * step, step, K); k < K; ++k)
        for (int j = i; j < i + kSquare<T>; ++j) to[k * width + j] = from[j * step + k];
    }
  }
  for (; i < count; ++i)
    for (std::int64_t k = 0; k < K; ++k) to[k * width + i] = from[i * step + k * k_step];
  for (; i < width; ++i)
    for (std::int64_t k = 0; k < K; ++k) to[k * width + i] = T{0};
  // END SOLUTION
}
}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| mistake 16-pack leaves-the-fringe
//| says A panel is as wide as the tile, also at the edge of the matrix: the numbers from count to width must be zeros, or the product reads what was in memory before.
#if 0
namespace kernels::TINYTORCH_CAPABILITY {
template <class T>
static void pack(T* to, int width, const T* from, std::int64_t step, std::int64_t k_step, int count, std::int64_t K) {
  for (std::int64_t k = 0; k < K; ++k)
    for (int i = 0; i < count; ++i) to[k * width + i] = from[i * step + k * k_step];
}
}  // namespace kernels::TINYTORCH_CAPABILITY
#endif

// %%
//| mistake 16-pack lines-as-long-as-count
//| says Line k of the panel begins at k * width, not at k * count: at the matrix's edge the two differ.
#if 0
namespace kernels::TINYTORCH_CAPABILITY {
template <class T>
static void pack(T* to, int width, const T* from, std::int64_t step, std::int64_t k_step, int count, std::int64_t K) {
  for (std::int64_t k = 0; k < K; ++k) {
    for (int i = 0; i < count; ++i) to[k * count + i] = from[i * step + k * k_step];
    for (int i = count; i < width; ++i) to[k * count + i] = T{0};
  }
}
}  // namespace kernels::TINYTORCH_CAPABILITY
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "16-pack-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("pack: any strides, zeros at the edge") {
  std::vector<float> numbers(4000);
  for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<float>(i);
  const auto check = [&] {
    for_each_capability([&] {
      for (const auto& [step, k_step] : std::vector<std::pair<std::int64_t, std::int64_t>>{{1, 50}, {50, 1}, {3, 40}, {0, 2}, {1, 1}}) {
        for (const int count : {1, 2, 3, 4, 5, 6, 7, 12, 32}) {
          for (const std::int64_t K : {1, 4, 6, 17}) {
            std::vector<float> panel(static_cast<std::size_t>(32 * K + 1), -1.0F);
            kernels::gemm_table<float>().pack(panel.data(), 32, numbers.data(), step, k_step, count, K);
            int wrong = 0;
            for (std::int64_t k = 0; k < K; ++k)
              for (int i = 0; i < 32; ++i) {
                const float expected = i < count ? numbers[static_cast<std::size_t>(i * step + k * k_step)] : 0.0F;
                wrong += panel[static_cast<std::size_t>(k * 32 + i)] == expected ? 0 : 1;
              }
            CHECK_EQ(wrong, 0);
            CHECK_EQ(panel.back(), -1.0F);
            // A full panel, and what lies behind it.
            std::vector<float> full(static_cast<std::size_t>(count * K + 40), -1.0F);
            kernels::gemm_table<float>().pack(full.data(), count, numbers.data(), step, k_step, count, K);
            for (std::int64_t i = 0; i < count * K + 40; ++i) {
              const float expected = i < count * K ? numbers[static_cast<std::size_t>(i % count * step + i / count * k_step)] : -1.0F;
              wrong += full[static_cast<std::size_t>(i)] == expected ? 0 : 1;
            }
            CHECK_EQ(wrong, 0);
          }
        }
      }
    });
  };
  check();
  // The same without what chapter 62 adds.
  const kernels::FastPacking<float> fast[] = {kernels::DEFAULT::fast_packing<float>, kernels::AVX2::fast_packing<float>, kernels::AVX512::fast_packing<float>};
  kernels::DEFAULT::fast_packing<float> = kernels::AVX2::fast_packing<float> = kernels::AVX512::fast_packing<float> = {};
  check();
  kernels::DEFAULT::fast_packing<float> = fast[0], kernels::AVX2::fast_packing<float> = fast[1], kernels::AVX512::fast_packing<float> = fast[2];
}

// %% [markdown]
// ### Registers and vectors: the tile
//
// The innermost kernel computes one small tile of the result, with all its sums in registers. Per step of `k` it loads two vectors of B's panel and, one after another, `rows` numbers of A, each copied into all lanes of a register; each is multiplied with both vectors:
//
//              b_left         b_right                one step of k, 12 rows, AVX-512:  2 loads + 12 broadcasts
//            [ 16 lanes ]   [ 16 lanes ]                                               24 multiply-adds of 16 lanes
//     a0 ->  left[0]  +=    right[0]  +=
//     a1 ->  left[1]  +=    right[1]  +=             14 loads for 768 operations: the loads hide behind the arithmetic
//     ...                                            24 independent sums: a multiply-add takes 4 cycles and two start in each,
//     a11 -> left[11] +=    right[11] +=             so fewer than 8 sums leave the units idle
//
// This one picture decides the speed of everything above it. Three things spoil it: more sums than registers (the compiler then stores and loads them in the middle of the loop), fewer than eight sums (a row of one is slow whatever you do), and loads that miss the first cache.
//
// A result may end in fewer columns than two vectors, or have no more than one vector altogether. For such a tile the right half would multiply zeros, so there is a second kernel with one vector a line: `Vectors` is a template parameter too, 1 or 2.
//
// `hn::` is Google Highway. `hn::Set(d, x)` copies a number into all lanes, `hn::LoadU(d, p)` loads a vector, `hn::MulAdd(a, b, c)` is `a * b + c` with one rounding where the machine has it, `d` says which type and how many lanes. `Rows` is a template parameter so that the
// compiler can unroll: an array that is indexed by a running variable cannot stay in registers.

// %%
//| export kernels/tiles-inl.h
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// As the operator relu: NaN and -0 stay what they are.
template <class T>
HWY_INLINE Vector<T> activated(Activation activation, Vector<T> x) {
  return activation == Activation::ReLU ? hn::IfThenZeroElse(hn::Lt(x, hn::Zero(Tag<T>())), x) : x;
}

// out = activation(alpha * sums (+ beta * start)), for the first `columns` numbers of a tile's rows. Whole: these are all that the vectors have, so no mask is needed. With one vector `right` does not count.
template <bool Whole, int Vectors, class T, int Rows>
HWY_INLINE void finish_rows(const Tile<T>& tile, Vector<T> (&left)[Rows], Vector<T> (&right)[Rows], int columns) {
  const Tag<T> d;
  const Vector<T> alpha = hn::Set(d, tile.alpha), beta = hn::Set(d, tile.beta);
  const int rest = columns - kTileLanes<T>;
  if (tile.alpha != T{1}) {
    HWY_UNROLL(12)
    for (int i = 0; i < Rows; ++i) {
      left[i] = hn::Mul(alpha, left[i]);
      if (Vectors == 2) right[i] = hn::Mul(alpha, right[i]);
    }
  }
  if (tile.start != nullptr) {
    HWY_UNROLL(12)
    for (int i = 0; i < Rows; ++i) {
      const T* const start = tile.start + i * tile.start_row;
      left[i] = hn::MulAdd(beta, Whole ? hn::LoadU(d, start) : load_first(start, columns), left[i]);
      if (Vectors == 2) right[i] = hn::MulAdd(beta, Whole ? hn::LoadU(d, start + kTileLanes<T>) : load_first(start + kTileLanes<T>, rest), right[i]);
    }
  }
  if (tile.activation != Activation::None) {
    HWY_UNROLL(12)
    for (int i = 0; i < Rows; ++i) {
      left[i] = activated<T>(tile.activation, left[i]);
      if (Vectors == 2) right[i] = activated<T>(tile.activation, right[i]);
    }
  }
  HWY_UNROLL(12)
  for (int i = 0; i < Rows; ++i) {
    T* const out = tile.out + i * tile.out_row;
    if (Whole) {
      hn::StoreU(left[i], d, out);
      if (Vectors == 2) hn::StoreU(right[i], d, out + kTileLanes<T>);
    } else {
      store_first(left[i], out, columns);
      if (Vectors == 2) store_first(right[i], out + kTileLanes<T>, rest);
    }
  }
}

template <int Vectors, class T, int Rows>
HWY_INLINE void finish_tile(const Tile<T>& tile, Vector<T> (&left)[Rows], Vector<T> (&right)[Rows], int columns) {
  if (columns == Vectors * kTileLanes<T>) finish_rows<true, Vectors>(tile, left, right, columns);
  else finish_rows<false, Vectors>(tile, left, right, columns);
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% {"nbgrader": {"grade": false, "grade_id": "16-multiply-tile", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export kernels/gemm.simd.cpp
// A tile of Rows rows and one or two Vectors of columns, see Tile. With Packed, A is a panel: element (i, k) is a[k * Rows + i].
// Vectors * Rows * K multiply-adds of vectors; so many vectors of every line of B's panel are read in full. Packed tiles belong to large products, whose B comes from the second cache: its lines are asked for some steps ahead, also beyond the last one, which reads nothing.
//
// TODO: Sum the tile up in registers, then hand it to finish_tile.
// APPROACH: 1. Zero left[i] and right[i] for all rows: hn::Zero(d).
//           2. For each k: load the line of B as one or two vectors; for each row i broadcast A's number and multiply-add it to left[i] and, if (Vectors == 2), to right[i].
//           3. Move a by one step of k (Rows, or tile.a_k), and b by tile.b_k.
//           4. finish_tile<Vectors>(tile, left, right, columns).
//           5. When it is right, make it fast for large products: if (Packed), hwy::Prefetch(b + 16 * tile.b_k) at the start of each step asks for the line that is wanted sixteen steps later. And fast where A is read in place:
//              twelve rows from one pointer are twelve steps (a_row, 2 a_row, ...), more than x86 has registers for; three pointers, one for every four rows, share three steps.
// EXAMPLE: K = 1, A = (2; 3), B = (10 20): rows 20 40 and 30 60.
// HINT: Put HWY_UNROLL(12) in front of each loop over the rows, or the sums live in memory. A's row step is 1 in a panel, else tile.a_row.
namespace kernels::TINYTORCH_CAPABILITY {
template <class T, int Rows, int Vectors, bool Packed>
static void multiply_tile(const Tile<T>& tile, int columns) {
  // BEGIN SOLUTION
  const Tag<T> d;
  Vector<T> left[Rows];
  Vector<T> right[Rows];
  HWY_UNROLL(12)
  for (int i = 0; i < Rows; ++i) left[i] = right[i] = hn::Zero(d);
  const std::int64_t a_row = Packed ? 1 : tile.a_row;
  const std::int64_t a_k = Packed ? Rows : tile.a_k;
  constexpr int together = Packed || Rows <= 8 ? Rows : 4;  // rows that are read from one pointer
  constexpr int pointers = (Rows + together - 1) / together;
  const T* a[pointers];
  HWY_UNROLL(3)
  for (int p = 0; p < pointers; ++p) a[p] = tile.a + p * together * a_row;
  const T* b = tile.b;
  for (std::int64_t k = 0; k < tile.K; ++k) {
    if (Packed) {
      constexpr int line = 64 / static_cast<int>(sizeof(T));
      HWY_UNROLL(2)
      for (int j = 0; j < Vectors * kTileLanes<T>; j += line) hwy::Prefetch(b + 16 * tile.b_k + j);
    }
    const Vector<T> b_left = hn::LoadU(d, b);
    Vector<T> b_right = b_left;
    if (Vectors == 2) b_right = hn::LoadU(d, b + kTileLanes<T>);
    HWY_UNROLL(12)
    for (int i = 0; i < Rows; ++i) {
      const Vector<T> factor = hn::Set(d, a[i / together][i % together * a_row]);
      left[i] = hn::MulAdd(factor, b_left, left[i]);
      if (Vectors == 2) right[i] = hn::MulAdd(factor, b_right, right[i]);
    }
    HWY_UNROLL(3)
    for (int p = 0; p < pointers; ++p) a[p] += a_k;
    b += tile.b_k;
  }
  finish_tile<Vectors>(tile, left, right, columns);
  // END SOLUTION
}
}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| mistake 16-multiply-tile forgets-the-right-half
//| says A line of the tile may be two vectors wide: then load b + kTileLanes<T> as well.
#if 0
namespace kernels::TINYTORCH_CAPABILITY {
template <class T, int Rows, int Vectors, bool Packed>
static void multiply_tile(const Tile<T>& tile, int columns) {
  const Tag<T> d;
  Vector<T> left[Rows];
  for (int i = 0; i < Rows; ++i) left[i] = hn::Zero(d);
  const T* a = tile.a;
  const T* b = tile.b;
  for (std::int64_t k = 0; k < tile.K; ++k) {
    for (int i = 0; i < Rows; ++i) left[i] = hn::MulAdd(hn::Set(d, a[i * (Packed ? 1 : tile.a_row)]), hn::LoadU(d, b), left[i]);
    a += Packed ? Rows : tile.a_k;
    b += tile.b_k;
  }
  Vector<T> right[Rows];
  for (int i = 0; i < Rows; ++i) right[i] = left[i];
  finish_tile<Vectors>(tile, left, right, columns);
}
}  // namespace kernels::TINYTORCH_CAPABILITY
#endif

// %%
//| mistake 16-multiply-tile takes-every-a-for-packed
//| says Only a packed A has its rows side by side: a matrix that is read in place has its own steps, tile.a_row and tile.a_k.
#if 0
namespace kernels::TINYTORCH_CAPABILITY {
template <class T, int Rows, int Vectors, bool Packed>
static void multiply_tile(const Tile<T>& tile, int columns) {
  const Tag<T> d;
  Vector<T> left[Rows];
  Vector<T> right[Rows];
  for (int i = 0; i < Rows; ++i) left[i] = right[i] = hn::Zero(d);
  const T* a = tile.a;
  const T* b = tile.b;
  for (std::int64_t k = 0; k < tile.K; ++k) {
    for (int i = 0; i < Rows; ++i) {
      const Vector<T> factor = hn::Set(d, a[Packed ? i : i * tile.a_k]);
      left[i] = hn::MulAdd(factor, hn::LoadU(d, b), left[i]);
      if (Vectors == 2) right[i] = hn::MulAdd(factor, hn::LoadU(d, b + kTileLanes<T>), right[i]);
    }
    a += Packed ? Rows : tile.a_k;
    b += tile.b_k;
  }
  finish_tile<Vectors>(tile, left, right, columns);
}
}  // namespace kernels::TINYTORCH_CAPABILITY
#endif

// %%
//| export kernels/gemm.simd.cpp
// The tile kernels for 1 to kTileRows rows and one or two vectors: both become template parameters by looking them up.
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
template <class T, int Vectors, int... Index>
HWY_INLINE void choose_tile(const Tile<T>& tile, int rows, int columns, bool packed, std::integer_sequence<int, Index...>) {
  using Kernel = void (*)(const Tile<T>&, int);
  static constexpr Kernel in_place[] = {multiply_tile<T, Index + 1, Vectors, false>...};
  static constexpr Kernel from_panel[] = {multiply_tile<T, Index + 1, Vectors, true>...};
  (packed ? from_panel : in_place)[rows - 1](tile, columns);
}

template <class T>
void any_tile(const Tile<T>& tile, int rows, int columns, bool packed) {
  if (columns <= kTileLanes<T>) choose_tile<T, 1>(tile, rows, columns, packed, std::make_integer_sequence<int, kTileRows>());
  else choose_tile<T, 2>(tile, rows, columns, packed, std::make_integer_sequence<int, kTileRows>());
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% {"nbgrader": {"grade": true, "grade_id": "16-multiply-tile-test", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("multiply_tile: every height and width, packed and in place") {
  for_each_capability([&] {
    const kernels::GemmTable<double>& table = kernels::gemm_table<double>();
    const std::int64_t K = 5;
    std::vector<double> b(static_cast<std::size_t>(K * table.columns));
    for (std::size_t i = 0; i < b.size(); ++i) b[i] = static_cast<double>(i % 11) - 4;
    for (int rows = 1; rows <= table.rows; ++rows) {
      std::vector<double> a(static_cast<std::size_t>(rows * K));
      for (std::size_t i = 0; i < a.size(); ++i) a[i] = static_cast<double>(i % 7) - 2;
      for (int columns = 1; columns <= table.columns; ++columns) {
        for (const bool packed : {true, false}) {
          const std::int64_t a_row = packed ? 1 : K;
          const std::int64_t a_k = packed ? rows : 1;
          std::vector<double> out(static_cast<std::size_t>(rows * table.columns), 7.0);
          table.tile({a.data(), a_row, a_k, b.data(), table.columns, K, out.data(), table.columns, out.data(), table.columns, 2.0, 3.0}, rows, columns, packed);
          int wrong = 0;
          for (int i = 0; i < rows; ++i)
            for (int j = 0; j < table.columns; ++j) {
              double sum = 0;
              for (std::int64_t k = 0; k < K; ++k) sum += a[static_cast<std::size_t>(i * a_row + k * a_k)] * b[static_cast<std::size_t>(k * table.columns + j)];
              const double expected = j < columns ? 2 * sum + 21 : 7;
              wrong += out[static_cast<std::size_t>(i * table.columns + j)] == expected ? 0 : 1;
            }
          CHECK_EQ(wrong, 0);
        }
      }
    }
  });
}

// %% [markdown]
// ### Threads: a pool that shares, spins briefly, and sleeps
//
// The last step of the ladder is to use all cores. Starting a thread costs tens of microseconds, more than a small product, so the threads are started once and wait. A call of an operator divides its work into numbered *tasks* and hands them to the pool; the calling thread works too:
//
//     caller     run(6 tasks) --> 0 --- 1 --- 2 --- 4 --- done? --> returns       shares: 0 to 2 and 3 to 5
//                         \                                ^
//     worker 1   (asleep)  wake ------> 3 ---------- 5 ----+                       4 was the worker's, which was late
//
// Six questions decide whether such a pool is any good.
//
// - *Who takes which task?* Each thread has a *share*, as many tasks side by side as the others, and first takes these. The shares are the same in each call, and one operator's result is the next one's operand: so a core finds in its own cache what it wrote itself a moment ago. With one counter for all, a task of `relu` runs on any core, and most of what it reads lies in the cache of another: 4 MB through 16 cores took 30 us so, and PyTorch, whose OpenMP cuts fixed shares, took 13. But a thread that has only its share waits for the slowest one. So whoever is done helps the others, as in a pool that *steals work*.
// - *Who waits how?* A sleeping thread takes five to fifty microseconds to wake, and a training step divides work some hundreds of times, with less than that between two of them. So a worker first looks in a loop whether there is another job, for a fifth of a millisecond, and only then sleeps. A pool that only spins is fast in a benchmark and burns the machine otherwise: when another program needs a core, everybody waits for a thread that is not running.
// - *Who waits for whom?* The caller waits only for workers that have begun a task. A worker that never woke up, because its core was busy, is not missed: the others took the tasks.
// - *How does a worker get in?* The job lives on the caller's stack, so nobody may touch it after the caller has left. One atomic number, the gate, says how many workers are inside and whether the job may still be entered: a worker adds one and looks at what was there before. Under a lock instead, fifteen workers that wake together stand in line, and some fall asleep in it: sixteen tasks of half a microsecond on sixteen cores took 10 us so, and take 2.5 with the gate.
// - *What if a task calls an operator?* It runs its tasks itself, inside. The cores have work already.
// - *What if several threads call at once* (a server, a data loader)? One gets the pool, the others work alone. There are never more busy threads than there were callers and workers.
//
// And one property is asked of whoever divides the work: **the result must not depend on the number of threads.** Sums of floating-point numbers depend on their order. So divide the *output*, where each element has one owner, or divide sums at places that depend on the sizes only.

// %%
//| export kernels/parallel.h
namespace kernels {

// How many logical processors the calling thread may run on: taskset, containers and batch systems give a process some of the machine's.
int allowed_processors();

// The most threads that anybody may ask for: more than there are processors in the largest machines, and few enough for a process to hold.
inline constexpr int kMostThreads = 4096;

// What OMP_NUM_THREADS says, or the number of allowed processors; a value that is no number from 1 to kMostThreads is left out with a warning.
int default_num_threads();

}  // namespace kernels

// How many threads a call of an operator may use, itself included: at first what the variable OMP_NUM_THREADS says, or the number of logical CPUs that the process may run on. Source: aten/src/ATen/Parallel.h.
int get_num_threads();

// Sets it, for all threads of the process; waits for a call that is running. Throws unless 0 < threads <= kernels::kMostThreads.
void set_num_threads(int threads);

// Whether this thread is working at a task of a parallel call.
bool in_parallel_region();

namespace kernels {

// Calls task(context, i) for each i from 0 to tasks - 1, on the threads of the process's pool: ThreadPool::run() below, which this header need not know.
using Task = void (*)(void* context, std::int64_t index);
void run_on_pool(std::int64_t tasks, Task task, void* context);

// Calls f(i) for each i from 0 to tasks - 1, on the threads of the pool.
template <class F>
void run_tasks(std::int64_t tasks, F&& f) {
  using Function = std::remove_reference_t<F>;
  run_on_pool(
      tasks, [](void* context, std::int64_t index) { (*static_cast<Function*>(context))(index); },
      const_cast<void*>(static_cast<const void*>(std::addressof(f))));
}

// [begin, end) in pieces of `grain`, which depend on nothing else: piece i.
struct Pieces {
  std::int64_t begin, end, grain;
  std::int64_t count() const { return begin >= end ? 0 : (end - begin + grain - 1) / grain; }
  std::int64_t first(std::int64_t i) const { return begin + i * grain; }
  std::int64_t stop(std::int64_t i) const { return first(i + 1) < end ? first(i + 1) : end; }
};

// Calls f(first, stop) for each of the pieces, on the threads of the pool.
template <class F>
void run_pieces(const Pieces& pieces, const F& f) {
  if (pieces.count() == 1) return f(pieces.begin, pieces.end);
  run_tasks(pieces.count(), [&](std::int64_t i) { f(pieces.first(i), pieces.stop(i)); });
}

}  // namespace kernels

// Calls f(first, stop) for pieces of [begin, end), in any order, on the threads of the pool. The pieces do not depend on the number of threads.
// Up to grain_size numbers are one piece: choose it so that they are some ten microseconds of work, which no second thread is woken for. More are cut into pieces of that size, or of a half, a quarter or an eighth of it where there are fewer than 64, so that many cores find work, and mostly the numbers that they
// had in the call before. REQUIRES: grain_size > 0. Source: aten/src/ATen/Parallel.h.
template <class F>
void parallel_for(std::int64_t begin, std::int64_t end, std::int64_t grain_size, const F& f) {
  std::int64_t piece = grain_size;
  if (end - begin > grain_size)
    while (64 * piece > end - begin && 8 * piece > grain_size && piece > 1) piece = (piece + 1) / 2;
  kernels::run_pieces({begin, end, piece}, f);
}

// %%
//| export kernels/thread_pool-inl.h
namespace kernels {

// Threads that work at the tasks of one call at a time.
class ThreadPool {
 public:
  // Calls task(context, i) for each i from 0 to tasks - 1, in any order, on any of the threads. Returns when all are done; if one throws, the others may be left out and the first exception is thrown here.
  // Runs in this thread alone if the pool is busy or this is itself a task. Tasks run with the caller's ThreadState.
  void run(std::int64_t tasks, Task task, void* context);

  int threads() const { return threads_.load(std::memory_order_relaxed); }
  void resize(int threads);

  static ThreadPool& global();
  explicit ThreadPool(int threads) : threads_(threads) {}
  ~ThreadPool() { stop(); }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // What is left of a thread's share of the tasks. In a line of the cache of its own, since its owner changes it in each task.
  struct alignas(64) Share {
    std::atomic<std::int64_t> next{0};  // the first task of it that nobody took yet
    std::int64_t stop = 0;
  };

  // What is being worked at.
  struct Job {
    std::span<Share> shares;  // one for each thread; the caller has the first
    Task task;
    void* context;
    ThreadState state;
    std::mutex error_lock{};
    std::exception_ptr error{};
  };

 private:
  static void work(Job& job, int own);
  static void take_part(Job& job, int own);
  void start();
  void stop();
  void serve(int own, std::uint32_t seen);

  static constexpr std::int32_t kOpen = 1 << 30;

  std::mutex busy_;  // held by the call that has the pool
  std::atomic<int> threads_;
  std::vector<std::thread> workers_;
  std::vector<Share> shares_;  // like the job, written while the gate is shut and nobody is inside
  Job* job_ = nullptr;
  std::atomic<bool> stopping_{false};
  // In lines of the cache of their own: all workers look at the one, and change the other.
  alignas(64) std::atomic<std::uint32_t> generation_{0};  // grows with each job, and to stop
  alignas(64) std::atomic<std::int32_t> gate_{0};         // how many workers are inside, plus kOpen while the job may be entered
};

}  // namespace kernels

// %%
//| export kernels/parallel.cpp
int kernels::allowed_processors() {
#ifdef __linux__
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof(allowed), &allowed) == 0) return CPU_COUNT(&allowed);
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

namespace {
thread_local constinit bool working_at_task = false;

// Runs a scope as a task.
class AtTask {
 public:
  AtTask() : before_(working_at_task) { working_at_task = true; }
  ~AtTask() { working_at_task = before_; }
  AtTask(const AtTask&) = delete;
  AtTask& operator=(const AtTask&) = delete;

 private:
  bool before_;
};

// Tells the CPU that this is a loop that waits.
void relax() {
#ifdef __x86_64__
  __builtin_ia32_pause();
#endif
}

// Longer than what an operator does between two parallel calls, and than a sleeping core takes to wake, which in a virtual machine is some fifty microseconds.
constexpr std::chrono::microseconds kSpinTime(200);

// Returns when `value` is not `old` any more: looks for a while, then sleeps.
template <class T>
void wait_for_change(const std::atomic<T>& value, T old) {
  const auto end = std::chrono::steady_clock::now() + kSpinTime;
  do {
    if (value.load(std::memory_order_acquire) != old) return;
    relax();
  } while (std::chrono::steady_clock::now() < end);
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

int kernels::default_num_threads() {
  const char* const variable = std::getenv("OMP_NUM_THREADS");
  const std::string asked = variable == nullptr ? "" : variable;
  const int allowed = std::max(1, allowed_processors());
  if (asked.empty()) return allowed;
  int number = 0;
  const char* const end = asked.data() + asked.size();
  const auto [rest, error] = std::from_chars(asked.data(), end, number);
  const bool read = error == std::errc() && (rest == end || *rest == ',');  // OpenMP lists a number for each level of nesting; the first one counts
  if (read && number > 0 && number <= kMostThreads) return number;
  TORCH_WARN("OMP_NUM_THREADS is '", asked, "'; it may be 1 to ", kMostThreads, ", and is ignored: calls use ", allowed, " threads.");
  return allowed;
}

// %% {"nbgrader": {"grade": false, "grade_id": "16-pool-work", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export kernels/parallel.cpp
// Takes tasks and runs them until none is left, in the calling thread: first those of its own share, job.shares[own], then what the others have left. Several threads do this with one job at the same time; each task
// runs once. After an exception no further task is begun, and the first exception is kept in job.error.
//
// TODO: Work at the job until no share has a task left.
// APPROACH: 1. For each share, the own one first, then those behind it, then those from 0 on: index = share.next.fetch_add(1), until that is not below share.stop.
//           2. job.task(job.context, index), in a try block.
//           3. In the catch block: set `next` of all shares to their `stop`, lock job.error_lock, and keep std::current_exception() if there is none yet.
// EXAMPLE: two threads, six tasks: the shares are 0 to 2 and 3 to 5. If the second thread comes late, the first may run 0, 1, 2 and 4, and the second 3 and 5.
// HINT: fetch_add takes and counts in one step. Reading `next` first and adding afterwards gives two threads the same task. But read it before you add: many cores can read a line at the same time, and only one can change it.
void kernels::ThreadPool::work(Job& job, int own) {
  // BEGIN SOLUTION
  const int shares = static_cast<int>(job.shares.size());
  for (int turn = 0, at = own; turn < shares; ++turn, at = at + 1 == shares ? 0 : at + 1) {
    Share& share = job.shares[static_cast<std::size_t>(at)];
    while (share.next.load(std::memory_order_relaxed) < share.stop) {
      const std::int64_t index = share.next.fetch_add(1, std::memory_order_relaxed);
      if (index >= share.stop) break;
      try {
        job.task(job.context, index);
      } catch (...) {
        for (Share& each : job.shares) each.next.store(each.stop, std::memory_order_relaxed);
        const std::lock_guard lock(job.error_lock);
        if (!job.error) job.error = std::current_exception();
      }
    }
  }
  // END SOLUTION
}

// %%
//| mistake 16-pool-work one-task-each
//| says A thread that is done with a task takes the next one, until none is left.
#if 0
void kernels::ThreadPool::work(Job& job, int own) {
  Share& share = job.shares[static_cast<std::size_t>(own)];
  const std::int64_t index = share.next.fetch_add(1);
  if (index < share.stop) job.task(job.context, index);
}
#endif

// %%
//| mistake 16-pool-work swallows-errors
//| says An exception must reach the caller: keep std::current_exception() in job.error.
#if 0
void kernels::ThreadPool::work(Job& job, int own) {
  for (std::size_t turn = 0; turn < job.shares.size(); ++turn) {
    Share& share = job.shares[(static_cast<std::size_t>(own) + turn) % job.shares.size()];
    for (std::int64_t index = share.next.fetch_add(1); index < share.stop; index = share.next.fetch_add(1)) {
      try {
        job.task(job.context, index);
      } catch (...) {
      }
    }
  }
}
#endif

// %%
//| export kernels/parallel.cpp
// work(), with what it throws itself kept too: a worker has nobody to throw to, and the caller waits for the workers first.
void kernels::ThreadPool::take_part(Job& job, int own) {
  try {
    work(job, own);
  } catch (...) {
    const std::lock_guard lock(job.error_lock);
    if (!job.error) job.error = std::current_exception();
  }
}

void kernels::ThreadPool::run(std::int64_t tasks, Task task, void* context) {
  const bool alone = tasks <= 1 || threads() == 1 || working_at_task;
  std::unique_lock busy(busy_, std::defer_lock);
  if (alone || !busy.try_lock()) {
    for (std::int64_t i = 0; i < tasks; ++i) task(context, i);
    return;
  }
  if (workers_.empty()) start();
  // Share i ends where i + 1 begins, and the caller's has a task if any has.
  const std::int64_t count = std::ssize(shares_);
  std::int64_t first = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    Share& share = shares_[static_cast<std::size_t>(i)];
    share.next.store(first, std::memory_order_relaxed);
    first = share.stop = ((i + 1) * tasks + count - 1) / count;
  }
  Job job{shares_, task, context, thread_state()};
  job_ = &job;
  gate_.fetch_or(kOpen, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  {
    const AtTask at_task;
    take_part(job, 0);
  }
  gate_.fetch_and(~kOpen, std::memory_order_relaxed);  // who comes now comes too late
  for (std::int32_t inside = gate_.load(std::memory_order_acquire); inside != 0; inside = gate_.load(std::memory_order_acquire)) wait_for_change(gate_, inside);
  if (job.error) std::rethrow_exception(job.error);
}

// A worker's life: wait for a job, step through the gate, work if it was still open, leave. The job lives until nobody is inside.
void kernels::ThreadPool::serve(int own, std::uint32_t seen) {
  const AtTask at_task;
  for (;;) {
    wait_for_change(generation_, seen);
    seen = generation_.load(std::memory_order_acquire);
    if (stopping_.load(std::memory_order_acquire)) return;
    if ((gate_.fetch_add(1, std::memory_order_acquire) & kOpen) != 0) {
      const ThreadStateGuard state(job_->state);
      take_part(*job_, own);
    }
    if (gate_.fetch_sub(1, std::memory_order_release) == 1) gate_.notify_all();
  }
}

void kernels::ThreadPool::start() {
  stopping_.store(false, std::memory_order_release);
  shares_ = std::vector<Share>(static_cast<std::size_t>(threads()));
  for (int i = 1; i < threads(); ++i) workers_.emplace_back(&ThreadPool::serve, this, i, generation_.load(std::memory_order_acquire));
}

void kernels::ThreadPool::stop() {
  stopping_.store(true, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
}

void kernels::ThreadPool::resize(int threads) {
  const std::lock_guard lock(busy_);
  if (threads == threads_.load()) return;
  stop();
  threads_.store(threads);
}

kernels::ThreadPool& kernels::ThreadPool::global() {
  static ThreadPool pool(kernels::default_num_threads());
  return pool;
}

void kernels::run_on_pool(std::int64_t tasks, Task task, void* context) { ThreadPool::global().run(tasks, task, context); }

int get_num_threads() { return kernels::ThreadPool::global().threads(); }

void set_num_threads(int threads) {
  TORCH_CHECK(threads > 0, "Expected positive number of threads\n[set_num_threads] got ", threads, "; 1 means that a call works in its own thread alone.");
  TORCH_CHECK(threads <= kernels::kMostThreads, "too many threads: ", threads, "\n[set_num_threads] at most ", kernels::kMostThreads, "; a thread for each processor is usual.");
  TORCH_CHECK(!working_at_task, "the number of threads cannot change inside of a parallel call\n[set_num_threads] was called from one of its tasks; call it before.");
  kernels::ThreadPool::global().resize(threads);
}

bool in_parallel_region() { return working_at_task; }

// %%
//| lesson
// Sets the number of threads for a scope.
class ThreadsGuard {
 public:
  explicit ThreadsGuard(int threads) : before_(get_num_threads()) { set_num_threads(threads); }
  ~ThreadsGuard() { set_num_threads(before_); }
  ThreadsGuard(const ThreadsGuard&) = delete;
  ThreadsGuard& operator=(const ThreadsGuard&) = delete;

 private:
  int before_;
};

// %% {"nbgrader": {"grade": true, "grade_id": "16-pool-work-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("the pool: every task once, on any number of threads") {
  for (const int threads : {1, 2, 3, 8}) {
    const ThreadsGuard guard(threads);
    CHECK_EQ(get_num_threads(), threads);
    for (const std::int64_t tasks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<std::size_t>(tasks));
      kernels::run_tasks(tasks, [&](std::int64_t i) { ++runs[static_cast<std::size_t>(i)]; });
      for (const std::atomic<int>& count : runs) REQUIRE_EQ(count.load(), 1);
    }
    std::vector<int> seen(103);
    parallel_for(3, 103, 7, [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop; ++i) ++seen[static_cast<std::size_t>(i)];
    });
    CHECK_EQ(seen[2], 0);
    CHECK_EQ(std::count(seen.begin() + 3, seen.end(), 1), 100);
  }
  CHECK_ERROR(set_num_threads(0), "Expected positive number of threads");
  CHECK_ERROR(set_num_threads(999999999), "too many threads: 999999999");
}

TEST_CASE("the pool: who is done helps the others, and a task goes where it went before") {
  const auto wait_until = [](const auto& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (!condition() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    return condition();
  };
  {
    // Whoever has task 2 waits for task 3 of the same share, which the other thread must take.
    const ThreadsGuard guard(2);
    std::atomic<bool> helped = false, third_done = false;
    kernels::run_tasks(4, [&](std::int64_t i) {
      if (i == 2) helped = wait_until([&] { return third_done.load(); });
      if (i == 3) third_done = true;
    });
    CHECK(helped.load());
  }
  // Three tasks that wait for one another: each thread has one, and the same one in each call.
  const ThreadsGuard guard(3);
  std::vector<std::thread::id> before;
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::vector<std::thread::id> threads(3);
    std::atomic<int> begun = 0;
    kernels::run_tasks(3, [&](std::int64_t i) {
      threads[static_cast<std::size_t>(i)] = std::this_thread::get_id();
      ++begun;
      wait_until([&] { return begun.load() == 3; });
    });
    if (repeat > 0) CHECK(threads == before);
    before = threads;
  }
}

TEST_CASE("the pool: errors reach the caller, and the pool works on") {
  const ThreadsGuard guard(3);
  const auto fails = [](std::int64_t i) {
    if (i == 50) throw ValueError("task fifty");
  };
  for (int repeat = 0; repeat < 20; ++repeat) CHECK_ERROR(kernels::run_tasks(100, fails), "task fifty");
  std::atomic<std::int64_t> sum = 0;
  kernels::run_tasks(100, [&](std::int64_t i) { sum += i; });
  CHECK_EQ(sum.load(), 4950);
}

TEST_CASE("the pool: nested calls and many callers") {
  const ThreadsGuard guard(3);
  std::atomic<int> inner = 0;
  kernels::run_tasks(8, [&](std::int64_t) {
    CHECK(in_parallel_region());
    const std::thread::id here = std::this_thread::get_id();
    kernels::run_tasks(8, [&](std::int64_t) { inner += std::this_thread::get_id() == here ? 1 : 0; });
  });
  CHECK_EQ(inner.load(), 64);
  CHECK(!in_parallel_region());
  std::atomic<std::int64_t> total = 0;
  std::vector<std::thread> callers;
  for (int c = 0; c < 6; ++c)
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 50; ++repeat) kernels::run_tasks(5, [&](std::int64_t i) { total += i; });
    });
  for (std::thread& caller : callers) caller.join();
  CHECK_EQ(total.load(), 6 * 50 * 10);
  // BEGIN HIDDEN TESTS
  // Tasks see the layers that their caller excluded.
  const kernels::ReferenceKernelsGuard reference;
  std::atomic<int> excluded = 0;
  kernels::run_tasks(64, [&](std::int64_t) { excluded += thread_state().excluded.has(Layer::TunedCPU) ? 1 : 0; });
  CHECK_EQ(excluded.load(), 64);
  // END HIDDEN TESTS
}

// %%
TEST_CASE("the pool: as many threads at first as processors that the process may run on") {
#ifdef __linux__
  int found = 0;
  std::thread([&] {
    cpu_set_t allowed, first;
    REQUIRE_EQ(::sched_getaffinity(0, sizeof(allowed), &allowed), 0);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &allowed)) ++cpu;
    CPU_ZERO(&first);
    CPU_SET(cpu, &first);
    REQUIRE_EQ(::sched_setaffinity(0, sizeof(first), &first), 0);
    found = kernels::allowed_processors();
  }).join();
  CHECK_EQ(found, 1);
#endif
  CHECK_GT(kernels::allowed_processors(), 0);
}

// %% [markdown]
// ### Blocks that fit the caches
//
// The tile kernel runs at the peak while its panels come from near caches. A panel of B for all of K does not fit there when K is 4,096, so K is cut into blocks, and for each block the product is *added* to the result. The columns are cut too. The sizes follow from the caches alone:
//
//                       K block                            one panel of A and one of B, K block long      fit into L1
//        A  +------+------+------+       B   +-----+       the panels of B of a block                     fit into half of L2
//           |      |######|      |           |     |
//           |      |      |      |           +-----+       the other half of L2: what passes through, the next panel of A
//           |      |      |      |   K block |#####|       and the result
//           +------+------+------+           +-----+
//                                             N block
//
// A panel of A is used for all panels of B of a block, one after the other, so it stays in L1 and B's panels pass by: they come from L2, some dozen cycles away. The kernel knows exactly what it will want next, so it asks for B's lines sixteen steps ahead of their use. Without that,
// products of 1,024 and 2,048 took 1.04 to 1.08 times as long with AVX-512 on an Intel processor.
//
// Longer blocks of K mean fewer of them, and each reads and writes all of the result; in shorter ones a panel begins and ends more often. Between 184 and 512 no difference could be measured there.
//
// A block size that somebody found by trying on one machine is wrong on the next. What the machine's caches are, `system_info()` of chapter 92 says. Chapter 61 measures on request, and keeps what it found in a file of the machine's: the columns N of a block, which change no bit of a result, and never K, which would.

// %%
//| export kernels/gemm.h
namespace kernels {

// How a product is cut: K and N are the largest blocks of these sizes.
struct BlockSizes {
  std::int64_t K, N;
};

// Data caches in bytes, per core.
struct CacheSizes {
  std::int64_t first, second;
};

// This machine's; 32 KB and 512 KB where it does not tell.
CacheSizes cache_sizes();

// The blocks for tiles of (rows, columns), of numbers of `element` bytes: K is a multiple of 32 and at least 32, N a multiple of `columns` and at least that.
BlockSizes block_sizes(CacheSizes caches, std::int64_t element, std::int64_t rows, std::int64_t columns);

}  // namespace kernels

// %%
//| export kernels/gemm.cpp
kernels::CacheSizes kernels::cache_sizes() {
  static const CacheSizes sizes = [] {
    CacheSizes found{32 << 10, 512 << 10};
    for (const CacheInfo& cache : system_info().caches) {
      if (cache.level == 1 && cache.bytes > 0) found.first = cache.bytes;
      if (cache.level == 2 && cache.bytes > 0) found.second = cache.bytes;
    }
    return found;
  }();
  return sizes;
}

// %% {"nbgrader": {"grade": false, "grade_id": "16-block-sizes", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export kernels/gemm.cpp
// See the declaration.
//
// TODO: Derive the block sizes from the caches.
// APPROACH: 1. K: so long that a panel of A (a line of `rows` numbers for each k) and one of B (`columns`) fit into the first cache together, rounded down to a multiple of 32.
//           2. N: as many lines of K numbers as fit into half of the second cache, rounded down to a multiple of `columns`.
//           3. Neither below its least value.
// EXAMPLE: 48 KB and 1 MB, floats, tiles of 12 x 32: K = 279 -> 256, N = 512.
// HINT: Dividing integers rounds down: x / 32 * 32.
kernels::BlockSizes kernels::block_sizes(CacheSizes caches, std::int64_t element, std::int64_t rows, std::int64_t columns) {
  // BEGIN SOLUTION
  const std::int64_t K = std::max<std::int64_t>(32, caches.first / ((rows + columns) * element) / 32 * 32);
  const std::int64_t N = std::max<std::int64_t>(columns, caches.second / 2 / (K * element) / columns * columns);
  return {K, N};
  // END SOLUTION
}

// %%
//| mistake 16-block-sizes counts-numbers-not-bytes
//| says Caches are measured in bytes: a line of `rows` numbers takes `element` times as many.
#if 0
kernels::BlockSizes kernels::block_sizes(CacheSizes caches, std::int64_t element, std::int64_t rows, std::int64_t columns) {
  static_cast<void>(element);
  const std::int64_t K = std::max<std::int64_t>(32, caches.first / (rows + columns) / 32 * 32);
  return {K, std::max<std::int64_t>(columns, caches.second / 2 / K / columns * columns)};
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "16-block-sizes-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("block_sizes: derived from the caches") {
  const kernels::BlockSizes avx512 = kernels::block_sizes({48 << 10, 1 << 20}, 4, 12, 32);
  CHECK_EQ(avx512.K, 256);
  CHECK_EQ(avx512.N, 512);
  const kernels::BlockSizes doubles = kernels::block_sizes({32 << 10, 256 << 10}, 8, 6, 8);
  CHECK_EQ(doubles.K, 288);
  CHECK_EQ(doubles.N, 56);
  const kernels::BlockSizes tiny = kernels::block_sizes({100, 100}, 4, 12, 32);
  CHECK_EQ(tiny.K, 32);
  CHECK_EQ(tiny.N, 32);
  CHECK_GT(kernels::cache_sizes().first, 0);
}

// %% [markdown]
// ### Dividing the result
//
// Which thread computes what? The sum over K belongs to one element, so if each element of the result has one owner, and K is cut at places that depend on nothing but its size, the bits are the same for any number of threads. So the *result* of a block's columns is divided into regions:
//
//           columns:  multiples of the tile's width, so that no panel of B has two owners in one row of regions
//          +---------+---------+-----+
//          |    0    |    1    |  2  |      about 32 regions where there are that many tiles: enough for some
//     rows +---------+---------+-----+      threads to come late, or to be taken away for a while
//          |    3    |    4    |  5  |      a panel of A is packed once for each region that it meets: so rather
//          +---------+---------+-----+      many rows of regions than many columns
//
// The function below is yours to *design*: only what it must fulfil is given.

// %%
//| export kernels/gemm.h
namespace kernels {

// A part of the result: rows [row, row + rows), columns [column, column + columns).
struct Region {
  std::int64_t row, rows, column, columns;
};

// Divides a result of (M, N), M and N > 0, into regions, row of regions by row of regions. See divide_result.
std::vector<Region> divide_result(std::int64_t M, std::int64_t N, std::int64_t tile_rows, std::int64_t tile_columns);

}  // namespace kernels

// %% {"nbgrader": {"grade": false, "grade_id": "16-divide-result", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export kernels/gemm.cpp
//| exercise design
// Each element is in exactly one region, and no region is empty. Regions begin at columns that are multiples of tile_columns, and lie beside each other only where the rows do not give 24. Where the result has 16 tiles
// or more there are at least 12 regions, better some more, and none has more than three times the elements of an average one; where it has fewer, a region may be a tile.
// The regions depend on the arguments only, not on the number of threads.
//
// TODO: Divide a result into regions.
// HINT: Decide how many rows of regions there are, then how many regions each row has; spread evenly: part p of n among c is [n p / c, n (p + 1) / c).
std::vector<kernels::Region> kernels::divide_result(std::int64_t M, std::int64_t N, std::int64_t tile_rows, std::int64_t tile_columns) {
  // BEGIN SOLUTION
  const std::int64_t strips = (N + tile_columns - 1) / tile_columns;
  const std::int64_t levels = (M + tile_rows - 1) / tile_rows;
  const std::int64_t row_parts = std::min<std::int64_t>(levels, 32);
  const std::int64_t column_parts = std::min(strips, (32 + row_parts / 2) / row_parts);  // rounded
  std::vector<Region> regions;
  for (std::int64_t r = 0; r < row_parts; ++r) {
    const std::int64_t top = levels * r / row_parts * tile_rows;
    const std::int64_t bottom = std::min(M, levels * (r + 1) / row_parts * tile_rows);
    for (std::int64_t c = 0; c < column_parts; ++c) {
      const std::int64_t left = strips * c / column_parts * tile_columns;
      const std::int64_t right = std::min(N, strips * (c + 1) / column_parts * tile_columns);
      regions.push_back({top, bottom - top, left, right - left});
    }
  }
  return regions;
  // END SOLUTION
}

// %%
//| mistake 16-divide-result asks-for-the-threads
//| says Regions that follow the number of threads change when it changes, and with one thread there is one region: divide by the sizes alone.
#if 0
std::vector<kernels::Region> kernels::divide_result(std::int64_t M, std::int64_t N, std::int64_t tile_rows, std::int64_t tile_columns) {
  static_cast<void>(tile_rows);
  static_cast<void>(tile_columns);
  const std::int64_t parts = std::min<std::int64_t>(M, get_num_threads());
  std::vector<Region> regions;
  for (std::int64_t p = 0; p < parts; ++p) regions.push_back({M * p / parts, M * (p + 1) / parts - M * p / parts, 0, N});
  return regions;
}
#endif

// %%
//| mistake 16-divide-result forgets-the-last-part
//| says M and N need not be multiples of anything: the last regions are smaller, not left out.
#if 0
std::vector<kernels::Region> kernels::divide_result(std::int64_t M, std::int64_t N, std::int64_t tile_rows, std::int64_t tile_columns) {
  std::vector<Region> regions;
  for (std::int64_t i = 0; i + tile_rows <= M; i += tile_rows)
    for (std::int64_t j = 0; j + tile_columns <= N; j += tile_columns) regions.push_back({i, tile_rows, j, tile_columns});
  return regions;
}
#endif

// %%
//| lesson
// What is wrong with a division of (M, N); empty if nothing is.
std::string why_no_division(std::int64_t M, std::int64_t N, std::int64_t rows, std::int64_t columns) {
  const std::vector<kernels::Region> regions = kernels::divide_result(M, N, rows, columns);
  std::vector<int> owners(static_cast<std::size_t>(M * N));
  std::int64_t largest = 0;
  for (const kernels::Region& region : regions) {
    if (region.rows <= 0 || region.columns <= 0) return "an empty region";
    if (region.columns < N && M >= 24 * rows) return "regions beside each other, where the rows give enough";
    if (region.column % columns != 0) return "a region that begins inside of a panel of B";
    if (region.row < 0 || region.column < 0 || region.row + region.rows > M || region.column + region.columns > N) return "a region outside of the result";
    largest = std::max(largest, region.rows * region.columns);
    for (std::int64_t i = region.row; i < region.row + region.rows; ++i)
      for (std::int64_t j = region.column; j < region.column + region.columns; ++j) ++owners[static_cast<std::size_t>(i * N + j)];
  }
  for (const int count : owners)
    if (count != 1) return count == 0 ? "an element that nobody computes" : "an element that is computed twice";
  const std::int64_t tiles = (M + rows - 1) / rows * ((N + columns - 1) / columns);
  if (tiles >= 16 && regions.size() < 12) return "too few regions for many threads";
  if (tiles >= 16 && largest * static_cast<std::int64_t>(regions.size()) > 3 * M * N) return "regions of very different sizes";
  return "";
}

// %% {"nbgrader": {"grade": true, "grade_id": "16-divide-result-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("divide_result: everything once, for every shape") {
  const std::vector<std::pair<std::int64_t, std::int64_t>> shapes{{1, 1}, {12, 32}, {13, 33}, {8, 3072}, {768, 8}, {1000, 1000}, {481, 64}, {5, 100}, {2000, 31}};
  for (const auto& shape : shapes) {
    const std::int64_t M = shape.first, N = shape.second;
    CAPTURE(M);
    CAPTURE(N);
    CHECK_EQ(why_no_division(M, N, 12, 32), "");
    CHECK_EQ(why_no_division(M, N, 6, 8), "");
  }
  const auto places = [](const std::vector<kernels::Region>& regions) {
    std::vector<std::int64_t> out;
    for (const kernels::Region& region : regions) out.insert(out.end(), {region.row, region.rows, region.column, region.columns});
    return out;
  };
  const std::vector<std::int64_t> with_many = [&] {
    const ThreadsGuard guard(7);
    return places(kernels::divide_result(300, 300, 12, 32));
  }();
  const ThreadsGuard guard(1);
  CHECK_EQ(places(kernels::divide_result(300, 300, 12, 32)), with_many);
}

// %% [markdown]
// ### The product, put together
//
// Now the parts meet. A small product needs no packed panels at all: everything fits into the near caches, and A can be read in place, because each of its numbers is broadcast anyway. A large one goes block by block:
//
//     tasks:  pack the first block of B into panels                                          (all threads)
//     for each block of N:  for each block of K:
//         tasks:  for each region:  pack a share of B's next block,                          (all threads)
//                                   for each panel of A:  pack it,
//                                                         for each panel of B:  a tile
//                                   first block: out = alpha A B + beta start;  later blocks: out = alpha A B + out
//
// Nobody may begin a block before all of its panels are packed, so threads have to meet between them. If packing and multiplying were two rounds of tasks, they would meet twice for each block; as it is, they pack the next block's panels, in a second room, while they use this one's. That gained 8 to 12 % with 16 threads and 2 to 9 % with eight.
// One thread waits for nobody, and two rooms are twice as much to keep in its second cache: it packs ahead only if B has several blocks of columns, which no cache keeps anyway.
//
// Which regions belong to which thread? The pool gives each a share of tasks that follow one another. If a share is a band of rows, each thread reads a sixteenth of A and *all* of B, and sixteen threads fetch sixteen times B from caches that are not their own. If the block's columns are divided into four *sides*, and a side's regions follow one another,
// a share lies in one side: a quarter of A and a quarter of B. Measured with 16 threads, bands against four sides: 2,048 square 1.22 and 1.63 TFLOP/s, 1,024 square 1.04 and 1.37, 512 square 0.81 and 0.98; with eight threads up to a quarter more. Every region is still the product of the same numbers in the same order: the order of tasks follows the number of threads, the bits do not.
//
// A panel of A is packed by the thread that wants it, just before, and stays in its L1 for all panels of B. Packing all of A first would send it through the far caches twice more: it is written, and read again. On an Intel processor with AVX-512 the products of a GPT of 384 channels took 1.05 to 1.13 times as long, those of 512 square 1.03.
// Panel of A by panel of A goes along the rows of the result, so that its lines and pages are visited one after another.
//
// Does A need panels at all? Each of its numbers is broadcast, so a tile can read A's rows where they lie. Three kinds of A want packing: one whose rows are not contiguous, such as the transposed one of a weight's gradient; one whose rows lie a large power of two apart, since the first cache finds the place of a line by its address modulo a page: such rows
// share few places, and a tile's rows push one another out; and one whose tiles have twelve rows and are many, since a packed tile reads one line where one in place reads twelve. Any other A stays where it is: packing it took 5 to 10 % of a product with N of 128.
// oneDNN has such kernels too, and calls them *nocopy* (src/cpu/x64/gemm/gemm_driver.cpp).
//
// Nothing at all is packed where A has the rows of up to three tiles and B's lines are contiguous and fill at most half of the second cache: strip by strip, as a small product. For 20 rows, K of 200 and N of 800, a step of a recurrent layer, that is 31 instead of 38 microseconds (AVX-512); where B fills all of that cache, it is a tenth to a third slower.
//
// Some shapes have ways of their own, on which a part of this does not pay: one row, few rows, a layer's weights that packing would turn, stacks of small matrices. Chapter 62 adds them, and tiles that ask ahead for operands that are far away. `multiply` asks for the former before it divides a product (dot products of lines come first), and for the latter before it
// computes the tiles of a block (`more_ways` below); as long as chapter 62 is not there, both are nullptr, and this module's ways do everything.
//
// `start` is what `addmm` adds: for a linear layer the bias, a line that every row starts from. So the bias costs nothing, no pass over the result of its own: it is the value with which the first block's sums are finished. A convolution that is a product (chapter 56) has one number of the bias for each *row*. Tiles read lines, so each
// number is written down as often as a tile is wide, and all tiles of a row read the same few copies.
//
// The other end of a layer can be had the same way. relu of a number needs nothing but that number, and before it is stored it is in a register. But only the *last* block of K has the whole sum: relu of a part of it would be wrong. What follows a product inside of its kernel is called its *epilogue*; `_addmm_activation` of chapter 62 uses it,
// and measures what it is worth.

// %%
//| export kernels/gemm.h
namespace kernels {

// A matrix somewhere in memory: element (i, j) is data[i * row + j * column].
template <class T>
struct MatrixView {
  const T* data;
  std::int64_t row, column;
};

// out (M, N) = activation(alpha * a (M, K) x b (K, N) + beta * start (M, N)), with any strides of a, b and start; rows of `out` are dense and out_row apart.
// Without a start (data is nullptr) nothing is added; beta * start is computed also for beta = 0. `out` is uninitialised before, and may be `start`, but neither a nor b.
// O(M N K), on the threads of the pool; the same bits for any number of threads. For float and double.
template <class T>
void multiply(std::int64_t M, std::int64_t N, std::int64_t K, T alpha, MatrixView<T> a, MatrixView<T> b, T beta, MatrixView<T> start, T* out, std::int64_t out_row,
              Activation activation = Activation::None);

extern template void multiply(std::int64_t, std::int64_t, std::int64_t, float, MatrixView<float>, MatrixView<float>, float, MatrixView<float>, float*, std::int64_t, Activation);
extern template void multiply(std::int64_t, std::int64_t, std::int64_t, double, MatrixView<double>, MatrixView<double>, double, MatrixView<double>, double*, std::int64_t, Activation);

// How many columns a block has by measurement, for double or float; 0: nothing was measured. Chapter 61 sets it, at start-up.
using MeasuredBlockColumns = std::int64_t (*)(bool of_double);
inline constinit MeasuredBlockColumns measured_block_columns = nullptr;

// The blocks of a large product of T: calculated, or with the columns that were measured.
template <class T>
BlockSizes blocks_in_use() {
  BlockSizes sizes = block_sizes(cache_sizes(), sizeof(T), gemm_table<T>().rows, gemm_table<T>().columns);
  const std::int64_t columns = measured_block_columns == nullptr ? 0 : measured_block_columns(sizeof(T) == sizeof(double));
  if (columns > 0) sizes.N = columns;
  return sizes;
}

}  // namespace kernels

// %%
//| export kernels/gemm.cpp
template <>
const kernels::GemmTable<float>& kernels::gemm_table<float>() {
  static constexpr const GemmKernels* tables[] = TINYTORCH_PER_CAPABILITY(gemm_kernels);
  return for_capability(tables).in_float;
}
template <>
const kernels::GemmTable<double>& kernels::gemm_table<double>() {
  static constexpr const GemmKernels* tables[] = TINYTORCH_PER_CAPABILITY(gemm_kernels);
  return for_capability(tables).in_double;
}

// %%
//| export kernels/product-inl.h
namespace kernels {

// Memory that a thread keeps for its panels, aligned to cache lines; it only grows.
class Workspace {
 public:
  template <class T>
  T* room_for(std::int64_t count) {
    const std::size_t bytes = (static_cast<std::size_t>(count) * sizeof(T) + 4095) / 4096 * 4096;
    if (bytes > bytes_) {
      memory_.reset();
      memory_.reset(static_cast<std::byte*>(::operator new(bytes, std::align_val_t{64})));
      bytes_ = bytes;
    }
    return reinterpret_cast<T*>(memory_.get());
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete(memory, std::align_val_t{64}); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  std::size_t bytes_ = 0;
};
inline thread_local Workspace packed_a;
inline thread_local Workspace packed_b;

inline std::int64_t parts_of(std::int64_t size, std::int64_t most) { return (size + most - 1) / most; }

struct Part {
  std::int64_t first, count;
};

// `size` cut into parts as evenly as whole numbers allow: the first ones have one more. It divides once for all of them, since a division takes as long as a tenth of a small tile.
class Parts {
 public:
  Parts(std::int64_t size, std::int64_t parts) : least_(size / parts), longer_(size % parts) {}
  Part operator[](std::int64_t part) const { return {part * least_ + std::min(part, longer_), least_ + (part < longer_ ? 1 : 0)}; }

 private:
  std::int64_t least_, longer_;
};

// A product that is being computed: what all its parts share.
template <class T>
struct Product {
  std::int64_t M, N, K;
  T alpha;
  MatrixView<T> a, b;
  T beta;
  MatrixView<T> start;
  T* out;
  std::int64_t out_row;
  Activation activation = Activation::None;

  // The tile at (i, j) for the K of a block that begins at `k`: the first block starts from `start`, the later ones from the result so far. Only the last one completes the sums, so only there the activation may follow.
  Tile<T> tile_at(std::int64_t i, std::int64_t j, std::int64_t k, std::int64_t count) const {
    T* const place = out + i * out_row + j;
    const Activation last = k + count == K ? activation : Activation::None;
    if (k > 0) return {nullptr, 0, 0, nullptr, 0, count, place, out_row, place, out_row, alpha, T{1}, last};
    return {nullptr, 0, 0, nullptr, 0, count, place, out_row, start.data == nullptr ? nullptr : start.data + i * start.row + j * start.column, start.row, alpha, beta, last};
  }
  const T* a_at(std::int64_t i, std::int64_t k) const { return a.data + i * a.row + k * a.column; }
  const T* b_at(std::int64_t k, std::int64_t j) const { return b.data + k * b.row + j * b.column; }
};

}  // namespace kernels

// %%
//| export kernels/product-inl.h
namespace kernels {

// Whether the sums are made as dot products of contiguous lines: for so few rows packing the lines of B costs more than it gains; short lines pay more for the sum across their lanes.
template <class T>
bool goes_by_lines(const Product<T>& p) {
  const bool lines = (p.a.column == 1 || p.K == 1) && (p.b.row == 1 || p.K == 1);
  return lines && std::min(p.M, p.N) <= (p.K >= 256 ? 32 : 16);
}

// Whether nothing is divided into blocks: a small product, or few rows through lines that half the second cache holds.
template <class T>
bool is_small(const Product<T>& p, const GemmTable<T>& table) {
  const bool stays = p.a.column == 1 && p.b.column == 1 && p.M <= 3 * table.rows && 2 * p.N * p.K * static_cast<std::int64_t>(sizeof(T)) <= cache_sizes().second;
  return p.M * p.N * p.K <= 128 * 128 * 128 || stays;
}

// How small products of one shape are computed: A is read in place, B too where a line of the panel is contiguous. Strips of columns are tasks if there is enough to do.
// What does not depend on where the matrices lie is found first, since its divisions take as long as a tenth of a product of 32 x 32: a stack of matrices (chapter 62) finds it once.
template <class T>
class SmallProduct {
 public:
  // Like `p`, of which only sizes and strides count.
  SmallProduct(const Product<T>& p, const GemmTable<T>& table, std::int64_t most_k)
      : table_(table), k_parts_(parts_of(p.K, most_k)), strips_(parts_of(p.N, table.columns)), row_parts_(parts_of(p.M, table.rows)), blocks_(p.K, k_parts_), panels_(p.M, row_parts_) {}

  void multiply(const Product<T>& p) const {
    // Half a million multiply-adds are some microseconds: below that a second thread would come too late.
    if (p.M * p.N * p.K < 1 << 19) {
      for (std::int64_t strip = 0; strip < strips_; ++strip) multiply_strip(p, strip, {0, row_parts_});
    } else {
      // Few strips are cut into several tasks each, if their lines are read in place.
      const std::int64_t pieces = p.b.column == 1 ? std::clamp<std::int64_t>(8 / strips_, 1, parts_of(row_parts_, 2)) : 1;
      run_tasks(strips_ * pieces, [&](std::int64_t task) { multiply_strip(p, task / pieces, Parts(row_parts_, pieces)[task % pieces]); });
    }
  }

 private:
  void multiply_strip(const Product<T>& p, std::int64_t strip, const Part& own) const {
    const std::int64_t j = strip * table_.columns;
    const int columns = static_cast<int>(std::min<std::int64_t>(table_.columns, p.N - j));
    const bool in_place = p.b.column == 1 && (columns == table_.columns || columns == table_.columns / 2);
    for (std::int64_t part = 0; part < k_parts_; ++part) {
      const Part block = blocks_[part];
      const T* panel = p.b_at(block.first, j);
      std::int64_t panel_k = p.b.row;
      if (!in_place) {
        T* const packed = packed_b.room_for<T>(block.count * table_.columns);
        table_.pack(packed, table_.columns, panel, p.b.column, p.b.row, columns, block.count);
        panel = packed;
        panel_k = table_.columns;
      }
      for (std::int64_t r = own.first; r < own.first + own.count; ++r) {
        const Part rows = panels_[r];
        Tile<T> tile = p.tile_at(rows.first, j, block.first, block.count);
        tile.a = p.a_at(rows.first, block.first);
        tile.a_row = p.a.row;
        tile.a_k = p.a.column;
        tile.b = panel;
        tile.b_k = panel_k;
        table_.tile(tile, static_cast<int>(rows.count), columns, false);
      }
    }
  }

  const GemmTable<T>& table_;
  std::int64_t k_parts_, strips_, row_parts_;
  Parts blocks_, panels_;
};

}  // namespace kernels

// %%
//| export kernels/product-inl.h
namespace kernels {

// The panels of A: each row of regions cut into panels of nearly equal height.
template <class F>
void for_panels(std::int64_t row, std::int64_t rows, std::int64_t most, F&& f) {
  const std::int64_t count = parts_of(rows, most);
  const Parts parts(rows, count);
  for (std::int64_t i = 0; i < count; ++i) f(row + parts[i].first, parts[i].count);
}

// Whether tiles read A where it lies: its rows are contiguous, at most four of a tile's share their places in the first cache, which has eight lines or more for each, and where a tile has many, they are read for few columns only (a packed one is read faster).
template <class T>
bool reads_a_in_place(const Product<T>& p, const GemmTable<T>& table) {
  constexpr std::int64_t page = 4096;
  return p.a.column == 1 && (table.rows < 12 || p.N <= 8 * table.columns) && table.rows * std::gcd(p.a.row * std::int64_t{sizeof(T)}, page) <= 4 * page;
}

// A block of B: some of its columns, for some of K, as panels in `room`; those before `first_packed` are read in place, where B lies.
template <class T>
struct BlockOfB {
  const Product<T>& p;
  int panel_columns;
  Part k;
  std::int64_t left, width, first_packed;
  T* room;

  std::int64_t panels() const { return parts_of(width, panel_columns); }
  std::int64_t packed() const { return panels() - first_packed; }
  int columns_of(std::int64_t panel) const { return static_cast<int>(std::min<std::int64_t>(panel_columns, width - panel * panel_columns)); }
  const T* in_place(std::int64_t panel) const { return p.b_at(k.first, left + panel * panel_columns); }
  T* packed_at(std::int64_t panel) const { return room + (panel - first_packed) * panel_columns * k.count; }
  // Packs some of the panels that are packed.
  void pack(const GemmTable<T>& table, const Part& own) const {
    for (std::int64_t panel = first_packed + own.first; panel < first_packed + own.first + own.count; ++panel) table.pack(packed_at(panel), panel_columns, in_place(panel), p.b.column, p.b.row, columns_of(panel), k.count);
  }
  // The tile of the rows from `row` on and of one of the panels; these rows of A are packed, or read in place where that is nullptr.
  Tile<T> tile_at(std::int64_t row, std::int64_t panel, const T* packed_a_panel) const {
    Tile<T> tile = p.tile_at(row, left + panel * panel_columns, k.first, k.count);
    tile.a = packed_a_panel != nullptr ? packed_a_panel : p.a_at(row, k.first);
    tile.a_row = p.a.row;
    tile.a_k = p.a.column;
    const bool is_packed = panel >= first_packed;
    tile.b = is_packed ? packed_at(panel) : in_place(panel);
    tile.b_k = is_packed ? panel_columns : p.b.row;
    return tile;
  }
};

// What chapter 62 adds for the products of T, when the program starts.
template <class T>
struct MoreWays {
  // Computes a product if its shape has a way of its own, else does nothing and returns false.
  bool (*by_shape)(const Product<T>& product, const GemmTable<T>& table) = nullptr;
  // Computes what multiply_row_of_tiles does.
  void (*row_of_tiles)(const BlockOfB<T>& block, const GemmTable<T>& table, const Region& region, Part rows, const T* packed_a_panel) = nullptr;
};
template <class T>
inline constinit MoreWays<T> more_ways{};

}  // namespace kernels

// %%
//| export kernels/gemm.cpp
namespace kernels {
namespace {
// The regions of some columns, as tasks: one row of regions below the other for a few threads, and side by side for four or more, those of a side after one another, so that a thread's share of them lies in one side and reads a part of B, not all of it.
std::vector<Region> regions_in_order(int threads, std::int64_t rows, std::int64_t width, std::int64_t tile_rows, std::int64_t tile_columns) {
  const std::int64_t strips = parts_of(width, tile_columns), most = std::min(threads / 2, 4);
  // A side is four panels of B or more, since each packs A's panels for itself.
  const std::int64_t sides = std::max<std::int64_t>(1, std::min(most, strips / 4));
  std::vector<Region> regions;
  for (std::int64_t side = 0; side < sides; ++side) {
    const Part own = Parts(strips, sides)[side];
    const std::int64_t left = own.first * tile_columns;
    for (Region region : divide_result(rows, std::min(width - left, own.count * tile_columns), tile_rows, tile_columns)) {
      region.column += left;
      regions.push_back(region);
    }
  }
  return regions;
}

// The tiles of some rows and of a region's columns.
template <class T>
void multiply_row_of_tiles(const BlockOfB<T>& block, const GemmTable<T>& table, const Region& region, Part rows, const T* packed_a_panel) {
  for (std::int64_t j = region.column; j < region.column + region.columns; j += table.columns) {
    const std::int64_t panel = j / table.columns;
    table.tile(block.tile_at(rows.first, panel, packed_a_panel), static_cast<int>(rows.count), block.columns_of(panel), packed_a_panel != nullptr);
  }
}

// Block by block, in packed panels, on all threads.
template <class T>
void multiply_blocks(const Product<T>& p, const GemmTable<T>& table, BlockSizes sizes) {
  // With few rows a number of B is used a few times only: lines that are contiguous are then read in place.
  const bool packs_b = p.b.column != 1 || p.M > 3 * table.rows;
  const std::int64_t all_strips = parts_of(p.N, table.columns);
  const int threads = in_parallel_region() ? 1 : get_num_threads();
  const std::int64_t k_parts = parts_of(p.K, sizes.K), column_parts = parts_of(all_strips, std::max<std::int64_t>(1, sizes.N / table.columns));
  const bool packs_a = !reads_a_in_place(p, table);
  const auto row_of_tiles = more_ways<T>.row_of_tiles != nullptr ? more_ways<T>.row_of_tiles : multiply_row_of_tiles<T>;
  const Parts blocks(p.K, k_parts), groups(all_strips, column_parts);
  // One block's panels are packed while those of the one before are used: all threads meet once for each block. One thread alone, that waits for nobody, does so only where B's columns do not fit into one block.
  const std::int64_t steps = column_parts * k_parts;
  const bool ahead = threads > 1 || column_parts > 1;
  const std::int64_t room = (packs_b ? groups[0].count : 1) * table.columns * blocks[0].count;
  T* const rooms = packed_b.room_for<T>((ahead ? 2 : 1) * room);
  const auto block_at = [&](std::int64_t step) {
    const Part strips = groups[step / k_parts];
    const std::int64_t left = strips.first * table.columns, width = std::min(p.N - left, strips.count * table.columns);
    // A panel at the edge is packed in any case.
    return BlockOfB<T>{p, table.columns, blocks[step % k_parts], left, width, packs_b ? 0 : width / table.columns, rooms + (ahead ? step % 2 : 0) * room};
  };
  std::vector<Region> regions;
  for (std::int64_t step = 0; step < steps; ++step) {
    const BlockOfB<T> block = block_at(step);
    if (!ahead || step == 0) {
      const std::int64_t pairs = parts_of(block.packed(), 2);
      run_tasks(pairs, [&](std::int64_t task) { block.pack(table, Parts(block.packed(), pairs)[task]); });
    }
    if (step % k_parts == 0) regions = regions_in_order(threads, p.M, block.width, table.rows, table.columns);
    const std::int64_t tasks = static_cast<std::int64_t>(regions.size());
    const bool packs_next = ahead && step + 1 < steps;
    const BlockOfB<T> next = block_at(packs_next ? step + 1 : step);
    run_tasks(tasks, [&](std::int64_t task) {
      if (packs_next) next.pack(table, Parts(next.packed(), tasks)[task]);
      const Region& region = regions[static_cast<std::size_t>(task)];
      T* const a_panel = packs_a ? packed_a.room_for<T>(table.rows * block.k.count) : nullptr;
      for_panels(region.row, region.rows, table.rows, [&](std::int64_t row, std::int64_t rows) {
        if (packs_a) table.pack(a_panel, static_cast<int>(rows), p.a_at(row, block.k.first), p.a.row, p.a.column, static_cast<int>(rows), block.k.count);
        row_of_tiles(block, table, region, {row, rows}, a_panel);
      });
    });
  }
}

// Dot products of contiguous lines, for few rows (or few columns): pieces of the longer side are tasks.
template <class T>
void multiply_lines(const Product<T>& p, const GemmTable<T>& table) {
  const bool by_columns = p.N >= p.M;
  const std::int64_t other = by_columns ? p.M : p.N;
  const std::int64_t grain = parts_of(parts_of(1 << 18, other * p.K), 4) * 4;
  run_pieces({0, by_columns ? p.N : p.M, grain}, [&](std::int64_t first, std::int64_t stop) {
    const std::int64_t i = by_columns ? 0 : first;
    const std::int64_t j = by_columns ? first : 0;
    const T* const start = p.start.data == nullptr ? nullptr : p.start.data + i * p.start.row + j;
    table.multiply_lines({p.a_at(i, 0), p.a.row, p.b_at(0, j), p.b.column, by_columns ? p.M : stop - first, by_columns ? stop - first : p.N, p.K, p.out + i * p.out_row + j,
                          p.out_row, start, p.start.row, p.alpha, p.beta, p.activation});
  });
}

template <class T>
void multiply_nothing(const Product<T>& p) {
  for (std::int64_t i = 0; i < p.M; ++i)
    for (std::int64_t j = 0; j < p.N; ++j) {
      const T value = p.start.data == nullptr ? T{0} : p.beta * p.start.data[i * p.start.row + j * p.start.column];
      p.out[i * p.out_row + j] = p.activation == Activation::ReLU && value < T{0} ? T{0} : value;
    }
}
}  // namespace
}  // namespace kernels

// %%
//| export kernels/gemm.cpp
template <class T>
void kernels::multiply(std::int64_t M, std::int64_t N, std::int64_t K, T alpha, MatrixView<T> a, MatrixView<T> b, T beta, MatrixView<T> start, T* out, std::int64_t out_row,
                       Activation activation) {
  if (M == 0 || N == 0) return;
  // A column is a row of the transposed product.
  if (N == 1 && M > 1 && out_row == 1)
    return multiply(std::int64_t{1}, M, K, alpha, MatrixView<T>{b.data, b.column, b.row}, MatrixView<T>{a.data, a.column, a.row}, beta, MatrixView<T>{start.data, start.column, start.row}, out, M, activation);
  Product<T> product{M, N, K, alpha, a, b, beta, start, out, out_row, activation};
  if (K == 0) return multiply_nothing(product);
  const GemmTable<T>& table = gemm_table<T>();
  const bool by_lines = goes_by_lines(product);
  // Kernels read a start whose rows are contiguous. Of one number for each row tiles get as many copies as the widest of them has columns, which is one of chapter 62's; any other start is copied into the result first, and so it is where others than tiles finish the sums.
  std::vector<T> repeated;
  if (start.data != nullptr && start.column != 1 && N > 1) {
    if (start.column == 0 && M > 1 && b.row != 1 && !by_lines) {
      const std::int64_t copies = 2 * table.columns;
      for (std::int64_t i = 0; i < M; ++i) repeated.insert(repeated.end(), static_cast<std::size_t>(copies), start.data[i * start.row]);
      product.start = {repeated.data(), copies, 0};
    } else {
      multiply_nothing(Product<T>{M, N, 0, alpha, a, b, T{1}, start, out, out_row});
      product.start = {out, out_row, 1};
    }
  }
  if (by_lines) return multiply_lines(product, table);
  if (more_ways<T>.by_shape != nullptr && more_ways<T>.by_shape(product, table)) return;
  const BlockSizes sizes = blocks_in_use<T>();
  if (is_small(product, table)) return SmallProduct<T>(product, table, sizes.K).multiply(product);
  multiply_blocks(product, table, sizes);
}

template void kernels::multiply(std::int64_t, std::int64_t, std::int64_t, float, MatrixView<float>, MatrixView<float>, float, MatrixView<float>, float*, std::int64_t, kernels::Activation);
template void kernels::multiply(std::int64_t, std::int64_t, std::int64_t, double, MatrixView<double>, MatrixView<double>, double, MatrixView<double>, double*, std::int64_t, kernels::Activation);

// %%
//| lesson
// Numbers that are exact in either type, so that every order of summing gives the same result.
Tensor whole_numbers(IntArrayRef sizes, ScalarType type) { return randint(-4, 5, sizes).to(type); }

// All elements are small whole numbers: the product must equal the reference exactly.
Tensor by_loops(const Tensor& a, const Tensor& b) {
  const kernels::ReferenceKernelsGuard reference;
  return mm(a, b);
}

// A matrix (rows, columns) with strides of all kinds: 0 plain, 1 transposed, 2 every second column, 3 every third row of a transposed one, 4 one row for all.
Tensor with_strides(std::int64_t rows, std::int64_t columns, int kind, ScalarType type) {
  switch (kind) {
    case 1:
      return whole_numbers({columns, rows}, type).t();
    case 2:
      return whole_numbers({rows, 2 * columns}, type).slice(1, 0, 2 * columns, 2);
    case 3:
      return whole_numbers({columns, 3 * rows}, type).t().slice(0, 0, 3 * rows, 3);
    case 4:
      return whole_numbers({1, columns}, type).expand({rows, columns});
    default:
      return whole_numbers({rows, columns}, type);
  }
}

// Leaves out what chapter 62 adds to multiply, for a scope: then the ways of this module compute everything.
struct PlainWaysGuard {
  kernels::MoreWays<float> floats = std::exchange(kernels::more_ways<float>, {});
  kernels::MoreWays<double> doubles = std::exchange(kernels::more_ways<double>, {});
  ~PlainWaysGuard() { kernels::more_ways<float> = floats, kernels::more_ways<double> = doubles; }
};

// The product of a and b by kernels::multiply, whatever the operators are registered to.
template <class T>
Tensor by_multiply(const Tensor& a, const Tensor& b) {
  const Tensor out = full({a.size(0), b.size(1)}, -99, a.scalar_type());
  kernels::multiply<T>(a.size(0), b.size(1), a.size(1), T{1}, {a.data<T>(), a.stride(0), a.stride(1)}, {b.data<T>(), b.stride(0), b.stride(1)}, T{0}, {nullptr, 0, 0}, out.data<T>(), b.size(1));
  return out;
}

// The same by the ways of this module alone.
template <class T>
Tensor by_plain_ways(const Tensor& a, const Tensor& b) {
  const PlainWaysGuard plain;
  return by_multiply<T>(a, b);
}

// %% {"nbgrader": {"grade": true, "grade_id": "16-multiply-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("multiply: odd sizes and all strides give what the loops give") {
  manual_seed(16);
  for_each_capability([] {
    for (const std::int64_t M : {1, 2, 13, 40}) {
      for (const std::int64_t N : {1, 5, 33, 70}) {
        for (const std::int64_t K : {1, 3, 20, 65}) {
          const int left = static_cast<int>((M + N) % 5), right = static_cast<int>((N + K) % 5);
          const Tensor a = with_strides(M, K, left, kFloat), b = with_strides(K, N, right, kFloat);
          CAPTURE(a.strides());
          CAPTURE(b.strides());
          const Tensor expected = by_loops(a, b), expected_doubles = by_loops(a.to(kDouble), b.to(kDouble));
          CHECK_EQ(by_multiply<float>(a, b), expected);
          CHECK_EQ(by_plain_ways<float>(a, b), expected);
          CHECK_EQ(by_multiply<double>(a.to(kDouble), b.to(kDouble)), expected_doubles);
          CHECK_EQ(by_plain_ways<double>(a.to(kDouble), b.to(kDouble)), expected_doubles);
        }
      }
    }
  });
}

TEST_CASE("multiply: several blocks of K, M and N, in every combination of strides") {
  manual_seed(17);
  for (const auto& [M, N, K] : std::vector<std::array<std::int64_t, 3>>{{150, 200, 700}, {90, 200, 1500}, {30, 300, 600}, {600, 20, 300}, {450, 60, 700}, {160, 40, 1024}, {440, 2000, 9}}) {
    for (const int left : {0, 1, 2, 4}) {
      for (int right = 0; right < 5; ++right) {
        const Tensor a = with_strides(M, K, left, kFloat), b = with_strides(K, N, right, kFloat);
        CAPTURE(a.strides());
        CAPTURE(b.strides());
        const Tensor expected = by_loops(a, b);
        CHECK_EQ(by_multiply<float>(a, b), expected);
        CHECK_EQ(by_plain_ways<float>(a, b), expected);
      }
    }
  }
}

TEST_CASE("multiply: alpha, beta and a start of any strides") {
  const Tensor a = arange(6.0).view({2, 3});
  const Tensor b = arange(12.0).view({3, 4});
  const Tensor row = tensor({1.0, 2.0, 3.0, 4.0}), column = tensor({{10.0}, {20.0}});
  for (const Tensor& start : {row.expand({2, 4}), column.expand({2, 4}), arange(8.0).view({4, 2}).t(), arange(16.0).view({2, 8}).slice(1, 0, 8, 2)}) {
    const Tensor out = empty({2, 4}, start.scalar_type());
    kernels::multiply<float>(2, 4, 3, 2.0F, {a.data<float>(), 3, 1}, {b.data<float>(), 4, 1}, 3.0F, {start.data<float>(), start.stride(0), start.stride(1)}, out.data<float>(), 4);
    CHECK_EQ(out, by_loops(a, b) * 2 + start * 3);
  }
}

TEST_CASE("multiply: a row and a column to start from, and relu after the whole sum, on every way of this module") {
  manual_seed(20);
  const PlainWaysGuard plain;
  for_each_capability([] {
    // Few lines, B in place, one row, one column, small, several blocks, several of everything, nothing to sum.
    for (const auto& [M, N, K] : std::vector<std::array<std::int64_t, 3>>{{3, 40, 50}, {20, 805, 200}, {1, 300, 20}, {300, 1, 20}, {40, 50, 60}, {90, 200, 1500}, {700, 300, 600}, {2, 3, 0}}) {
      CAPTURE(K);
      const Tensor a = whole_numbers({M, K}, kFloat), b = whole_numbers({K, N}, kFloat), row = whole_numbers({1, N}, kFloat), column = whole_numbers({M, 1}, kFloat);
      for (const Tensor& right : {b, b.t().contiguous().t()}) {
        for (const Tensor& start : {row.expand({M, N}), column.expand({M, N})}) {
          const Tensor out = full({M, N}, -99, kFloat);
          kernels::multiply<float>(M, N, K, 2.0F, {a.data<float>(), a.stride(0), a.stride(1)}, {right.data<float>(), right.stride(0), right.stride(1)}, 3.0F, {start.data<float>(), start.stride(0), start.stride(1)}, out.data<float>(), N, kernels::Activation::ReLU);
          CHECK_EQ(out, maximum(by_loops(a, b) * 2 + start * 3, zeros({}, kFloat)));
        }
      }
    }
  });
  const Tensor nan = full({1}, std::numeric_limits<float>::quiet_NaN());
  const Tensor out = zeros({1});
  kernels::multiply<float>(1, 1, 1, 1.0F, {nan.data<float>(), 1, 1}, {nan.data<float>(), 1, 1}, 0.0F, {nullptr, 0, 0}, out.data<float>(), 1, kernels::Activation::ReLU);
  CHECK_EQ(out, nan);
}

TEST_CASE("multiply: the same bits for any number of threads") {
  manual_seed(18);
  const Tensor a = randn({150, 600}), b = randn({600, 170}), w = randn({5000, 600});
  // Several blocks of columns, whose regions lie side by side for nine threads.
  const Tensor many = randn({450, 300}), wide = w.slice(0, 0, 2500).slice(1, 0, 300).t();
  const PlainWaysGuard plain;
  const auto products = [&] {
    return std::vector<Tensor>{by_multiply<float>(a, b), by_multiply<float>(a.slice(0, 0, 4), w.t()), by_multiply<float>(w, a.slice(0, 0, 1).t()), by_multiply<float>(a.slice(0, 0, 15).slice(1, 0, 200), many.slice(0, 0, 200).repeat({1, 4})), by_multiply<float>(a.slice(0, 0, 100), b.slice(1, 0, 30)), by_multiply<float>(many, wide)};
  };
  const std::vector<Tensor> alone = [&] {
    const ThreadsGuard guard(1);
    return products();
  }();
  for (const int threads : {2, 3, 9}) {
    const ThreadsGuard guard(threads);
    const std::vector<Tensor> together = products();
    for (std::size_t i = 0; i < alone.size(); ++i) CHECK_EQ(together[i], alone[i]);
  }
}

// %% [markdown]
// ### Beside the reference
//
// What is left is to tell the dispatcher. Each operator's tuned version looks at its arguments and either calls `multiply` or hands the call down:
//
//     linear(x, w, b)  =  addmm(b, x, w.t())   -->   multiply(start = b, a line for all rows;  b = w.t(), strides 1 and K, no copy)
//     bmm, matmul of stacks                    -->   the reference; chapter 62 gives it a tuned version
//     convolution (module 09)                  -->   its mm of kernels and columns
//     gradients (module 05)                    -->   g.mm(w), g.t().mm(x): transposed operands, again without a copy

// %%
//| export kernels/products.h
namespace kernels {

// activation(beta * self + alpha * mat1 x mat2) where these kernels compute it: all float or all double, and `self` broadcasts to the result. Elsewhere nothing.
std::optional<Tensor> addmm_with(Activation activation, const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha);

}  // namespace kernels

// %%
//| export kernels/products.cpp
namespace {
template <class T>
kernels::MatrixView<T> view_of(const Tensor& matrix) {
  return {matrix.data<T>(), matrix.stride(-2), matrix.stride(-1)};
}

// Calls f<float> or f<double>; false for other dtypes.
template <class F>
bool for_float_or_double(ScalarType type, F f) {
  if (type == kFloat) f.template operator()<float>();
  if (type == kDouble) f.template operator()<double>();
  return type == kFloat || type == kDouble;
}

Tensor mm_tuned(const Tensor& self, const Tensor& mat2) {
  if (self.scalar_type() != kFloat && self.scalar_type() != kDouble) return op::mm.function(Layer::CPU)(self, mat2);
  const Tensor result = empty({self.size(0), mat2.size(1)}, self.options());
  for_float_or_double(self.scalar_type(), [&]<class T>() {
    kernels::multiply<T>(self.size(0), mat2.size(1), self.size(1), T{1}, view_of<T>(self), view_of<T>(mat2), T{0}, {nullptr, 0, 0}, result.data<T>(), mat2.size(1));
  });
  return result;
}

// Whether `self` can be broadcast to (M, N), and its strides as that.
bool fits(const Tensor& self, std::int64_t M, std::int64_t N, std::int64_t& row, std::int64_t& column) {
  const std::int64_t dims = self.dim();
  if (dims > 2) return false;
  const std::int64_t rows = dims == 2 ? self.size(0) : 1, columns = dims >= 1 ? self.size(-1) : 1;
  row = dims < 2 || rows == 1 ? 0 : self.stride(0);
  column = dims < 1 || columns == 1 ? 0 : self.stride(-1);
  return (rows == M || rows == 1) && (columns == N || columns == 1);
}

}  // namespace

std::optional<Tensor> kernels::addmm_with(Activation activation, const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha) {
  const ScalarType type = self.scalar_type();
  const std::int64_t M = mat1.size(0), N = mat2.size(1);
  std::int64_t row = 0, column = 0;
  const bool ours = (type == kFloat || type == kDouble) && mat1.scalar_type() == type && mat2.scalar_type() == type && fits(self, M, N, row, column);
  if (!ours) return std::nullopt;
  const Tensor result = empty({M, N}, self.options());
  for_float_or_double(type, [&]<class T>() {
    // With beta = 0 the NaNs of `self` do not count.
    const T scale = beta.to<T>();
    const MatrixView<T> start{scale == T{0} ? nullptr : self.data<T>(), row, column == 0 && N == 1 ? 1 : column};
    multiply<T>(M, N, mat1.size(1), alpha.to<T>(), view_of<T>(mat1), view_of<T>(mat2), scale, start, result.data<T>(), N, activation);
  });
  return result;
}

namespace {
Tensor addmm_tuned(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha) {
  const std::optional<Tensor> result = kernels::addmm_with(kernels::Activation::None, self, mat1, mat2, beta, alpha);
  return result ? *result : op::addmm.function(Layer::CPU)(self, mat1, mat2, beta, alpha);
}
}  // namespace

// %%
//| export kernels/products.cpp
//| registers
void register_tuned_products() {
  op::mm.set(Layer::TunedCPU, mm_tuned);
  op::addmm.set(Layer::TunedCPU, addmm_tuned);
}

// %%
TEST_CASE("mm and addmm: the tuned operators against the reference") {
  manual_seed(19);
  const auto reference = [](auto f) {
    const kernels::ReferenceKernelsGuard guard;
    return f();
  };
  for (const ScalarType type : {kFloat, kDouble, kLong}) {
    CAPTURE(type);
    const Tensor a = whole_numbers({20, 30}, type), w = whole_numbers({25, 30}, type);
    const auto same = [&](auto f) { CHECK_EQ(f(), reference(f)); };
    same([&] { return mm(a, w.t()); });
    same([&] { return mm(a, ones({30, 0}, type)); });
    same([&] { return mm(ones({3, 0}, type), ones({0, 2}, type)); });
    for (const Tensor& self : {whole_numbers({25}, type), whole_numbers({20, 1}, type), whole_numbers({1, 25}, type), whole_numbers({25, 20}, type).t(), tensor(3).to(type)})
      same([&] { return addmm(self, a, w.t(), 2, 3); });
    same([&] { return addmm(whole_numbers({1}, type) * 0 + 2, a, w.t().slice(1, 0, 1)); });
  }
  const Tensor nan = full({2, 2}, std::numeric_limits<float>::quiet_NaN());
  CHECK_EQ(addmm(nan, ones({2, 3}), ones({3, 2}), 0), full({2, 2}, 3.0));
  CHECK_ERROR(addmm(ones({3, 3}), ones({2, 3}), ones({3, 2})), "expanded size of the tensor");
}

// %% [markdown]
// ### Few rows: your kernel
//
// The machinery above packs B, and that is free only if each packed number is used often. A batch of eight rows through a layer uses each weight eight times, a single token of a language model once: then the packing costs more than the product. Such a product has a
// friendlier form, though. `linear` multiplies `x (M, K)` with `w (N, K)` transposed, so the operands have K in contiguous lines, both of them, and an element of the result is the dot product of two lines:
//
//        x (M, K)                    w (N, K)                       out (M, N)
//     x0 [----------------->]    w0 [----------------->]         x0.w0  x0.w1  x0.w2  x0.w3 ...
//     x1 [----------------->]    w1 [----------------->]         x1.w0  x1.w1  ...
//                                w2 [----------------->]
//
// The baseline below computes each dot product by itself. Its sum is one chain: every addition waits for the one before, four cycles each, one lane. And every line is loaded again for each pair.
//
// This is an exercise in *iterating*. Start from the baseline, change one thing, run `tito run 16` ("few rows"), and keep what helps:
//
// 1. one vector of partial sums instead of one number (`hn::SumOfLanes` adds the lanes at the end; `load_first` loads what is left over);
// 2. several independent sums, so that additions overlap;
// 3. several lines of `a` against several lines of `b` at once: `Rows + Lines` loads for `Rows * Lines` multiply-adds. How many sums fit into the registers?
// 4. where `b` comes from memory, the order in which it is read. The processor sees a stream of addresses and fetches ahead, but four lines side by side are four short streams that end before it has seen them, and one line after the other is one stream, too few to keep memory busy. Lines from four quarters of `b` are four long ones: 24 instead of 16 GB/s with lines of 768 floats (one core, AVX2). Asking for them ahead (`hwy::Prefetch`) helps on one processor, here an Intel one with AVX-512, by 6 %, and hurts on another.
//
// The points follow the ratio to the baseline in one run: right results, twice as fast, eight times as fast. A ratio that is not reached fails nothing: `tito test` says what was measured, and `tito complete` asks for right results only.

// %%
//| export kernels/gemm.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// activation(alpha * sum (+ beta * start)) at one place of the result.
template <class T>
HWY_INLINE void finish_number(const LinesProduct<T>& p, std::int64_t i, std::int64_t j, T sum) {
  const T product = p.alpha * sum;
  const T value = p.start == nullptr ? product : product + p.beta * p.start[i * p.start_row + j];
  p.out[i * p.out_row + j] = p.activation == Activation::ReLU && value < T{0} ? T{0} : value;
}

template <class T>
void multiply_lines_baseline(const LinesProduct<T>& p) {
  for (std::int64_t i = 0; i < p.M; ++i) {
    for (std::int64_t j = 0; j < p.N; ++j) {
      T sum{0};
      for (std::int64_t k = 0; k < p.K; ++k) sum += p.a[i * p.a_line + k] * p.b[j * p.b_line + k];
      finish_number(p, i, j, sum);
    }
  }
}

// The sum of each vector's numbers. Four at a time share the steps: after two rounds of interleaving and adding, each 128 bits of a register hold one part of each of four sums (of doubles, of two).
template <class T, int Count>
HWY_INLINE void sum_lanes(const Vector<T> (&vectors)[Count], T (&sums)[Count]) {
  const Tag<T> d;
#if HWY_TARGET != HWY_SCALAR
  constexpr int group = 16 / static_cast<int>(sizeof(T));
  if constexpr (Count % group == 0) {
    const hn::Repartition<double, Tag<T>> wide;
    const auto pairs = [&](int i) { return hn::Add(hn::InterleaveLower(d, vectors[i], vectors[i + 1]), hn::InterleaveUpper(d, vectors[i], vectors[i + 1])); };
    const auto first_block = [](auto self, auto tag, auto v) {
      if constexpr (hn::MaxLanes(tag) <= static_cast<std::size_t>(group)) return v;
      else {
        const hn::Half<decltype(tag)> half;
        return self(self, half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
      }
    };
    HWY_UNROLL(24)
    for (int i = 0; i < Count; i += group) {
      Vector<T> parts = pairs(i);
      if constexpr (group == 4) {
        const auto low = hn::BitCast(wide, parts), high = hn::BitCast(wide, pairs(i + 2));
        parts = hn::Add(hn::BitCast(d, hn::InterleaveLower(wide, low, high)), hn::BitCast(d, hn::InterleaveUpper(wide, low, high)));
      }
      hn::StoreU(first_block(first_block, d, parts), hn::CappedTag<T, group>(), sums + i);
    }
    return;
  }
#endif
  for (int i = 0; i < Count; ++i) sums[i] = hn::GetLane(hn::SumOfLanes(d, vectors[i]));
}

// The dot products of Rows lines of a, from line i on, with Lines lines of b, from line j on, which are `apart` from each other: Rows * Lines sums in registers.
template <class T, int Rows, int Lines>
void multiply_some_lines(const LinesProduct<T>& p, std::int64_t i, std::int64_t j, std::int64_t apart = 1) {
  const Tag<T> d;
  Vector<T> sums[Rows * Lines];
  HWY_UNROLL(24)
  for (int s = 0; s < Rows * Lines; ++s) sums[s] = hn::Zero(d);
  const T* const a = p.a + i * p.a_line;
  const T* const b = p.b + j * p.b_line;
  const std::int64_t next = apart * p.b_line;
  std::int64_t k = 0;
  for (; k + kTileLanes<T> <= p.K; k += kTileLanes<T>) {
    Vector<T> rows[Rows];
    HWY_UNROLL(6)
    for (int r = 0; r < Rows; ++r) rows[r] = hn::LoadU(d, a + r * p.a_line + k);
    HWY_UNROLL(4)
    for (int c = 0; c < Lines; ++c) {
      if (Rows == 1 && HWY_TARGET == HWY_AVX3) hwy::Prefetch(b + c * next + k + 512);
      const Vector<T> line = hn::LoadU(d, b + c * next + k);
      HWY_UNROLL(6)
      for (int r = 0; r < Rows; ++r) sums[r * Lines + c] = hn::MulAdd(rows[r], line, sums[r * Lines + c]);
    }
  }
  if (k < p.K) {
    const int rest = static_cast<int>(p.K - k);
    HWY_UNROLL(6)
    for (int r = 0; r < Rows; ++r) {
      const Vector<T> x = load_first(a + r * p.a_line + k, rest);
      HWY_UNROLL(4)
      for (int c = 0; c < Lines; ++c) sums[r * Lines + c] = hn::MulAdd(x, load_first(b + c * next + k, rest), sums[r * Lines + c]);
    }
  }
  T whole[Rows * Lines];
  sum_lanes<T>(sums, whole);
  for (int r = 0; r < Rows; ++r)
    for (int c = 0; c < Lines; ++c) finish_number(p, i + r, j + c * apart, whole[r * Lines + c]);
}
}  // namespace
}  // namespace kernels::TINYTORCH_CAPABILITY

// %% {"nbgrader": {"grade": false, "grade_id": "16-multiply-lines", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export kernels/gemm.simd.cpp
//| exercise optimize
// out (M, N) = alpha * A (M, K) x B (N, K)^T + beta * start, see LinesProduct; O(M N K). Sums may run in any order that depends on nothing but the sizes.
//
// TODO: Make dot products of lines fast; start with multiply_lines_baseline(p).
// HINT: multiply_some_lines<T, Rows, Lines> computes a block. Cover M and N with blocks; what does not fill one goes through smaller blocks.
namespace kernels::TINYTORCH_CAPABILITY {
template <class T>
static void multiply_lines(const LinesProduct<T>& p) {
  // BEGIN SOLUTION
  // Four lines of b stay in the first cache while all rows of a pass by. They come from four quarters of b, each of which is read from end to end.
  constexpr bool many = kTileRows >= 12;
  constexpr int kRows = many ? 6 : 3;
  // Where the rows do not fit into the first cache beside them, twice four lines pass at a time.
  const std::int64_t quarter = p.N / 4, together = many && p.M > 2 * kRows ? 2 : 1;
  for (std::int64_t j = 0; j < quarter; j += together) {
    const std::int64_t stop = std::min(quarter, j + together);
    std::int64_t i = 0;
    const auto all_lines = [&]<int Rows>() {
      for (std::int64_t line = j; line < stop; ++line) multiply_some_lines<T, Rows, 4>(p, i, line, quarter);
      i += Rows;
    };
    while (i + kRows <= p.M) all_lines.template operator()<kRows>();
    if (many && i + 4 <= p.M) all_lines.template operator()<4>();
    if (i + 2 <= p.M) all_lines.template operator()<2>();
    if (i < p.M) all_lines.template operator()<1>();
  }
  for (std::int64_t j = 4 * quarter; j < p.N; ++j) {
    std::int64_t i = 0;
    for (; i + 4 <= p.M; i += 4) multiply_some_lines<T, 4, 1>(p, i, j);
    for (; i < p.M; ++i) multiply_some_lines<T, 1, 1>(p, i, j);
  }
  // END SOLUTION
}
}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| mistake 16-multiply-lines leaves-lines-over
//| says Blocks of four lines cover N only if it is a multiple of four: the lines that are left over need a pass of their own.
#if 0
namespace kernels::TINYTORCH_CAPABILITY {
template <class T>
static void multiply_lines(const LinesProduct<T>& p) {
  for (std::int64_t j = 0; j + 4 <= p.N; j += 4)
    for (std::int64_t i = 0; i < p.M; ++i) multiply_some_lines<T, 1, 4>(p, i, j);
}
}  // namespace kernels::TINYTORCH_CAPABILITY
#endif

// %%
//| mistake 16-multiply-lines drops-the-end-of-the-lines
//| says K need not be a multiple of the lanes: the numbers behind the last full vector belong to the sum too.
#if 0
namespace kernels::TINYTORCH_CAPABILITY {
template <class T>
static void multiply_lines(const LinesProduct<T>& p) {
  const Tag<T> d;
  for (std::int64_t i = 0; i < p.M; ++i) {
    for (std::int64_t j = 0; j < p.N; ++j) {
      Vector<T> sum = hn::Zero(d);
      for (std::int64_t k = 0; k + kTileLanes<T> <= p.K; k += kTileLanes<T>)
        sum = hn::MulAdd(hn::LoadU(d, p.a + i * p.a_line + k), hn::LoadU(d, p.b + j * p.b_line + k), sum);
      finish_number(p, i, j, hn::GetLane(hn::SumOfLanes(d, sum)));
    }
  }
}
}  // namespace kernels::TINYTORCH_CAPABILITY
#endif

// %%
//| export kernels/gemm.simd.cpp
namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// Sixteen independent sums, nothing loaded: the peak of the multiply-add units.
template <class T>
double spin_arithmetic(std::int64_t rounds, T* result) {
  constexpr int kSums = kTileRows >= 12 ? 16 : 10;
  const Tag<T> d;
  const Vector<T> factor = hn::Set(d, static_cast<T>(0.999));
  Vector<T> sums[kSums];
  HWY_UNROLL(16)
  for (int i = 0; i < kSums; ++i) sums[i] = hn::Set(d, static_cast<T>(i));
  for (std::int64_t round = 0; round < rounds; ++round) {
    HWY_UNROLL(16)
    for (int i = 0; i < kSums; ++i) sums[i] = hn::MulAdd(sums[i], factor, factor);
  }
  HWY_UNROLL(16)
  for (int i = 1; i < kSums; ++i) sums[0] = hn::Add(sums[0], sums[i]);
  *result = hn::GetLane(hn::SumOfLanes(d, sums[0]));
  return 2.0 * kSums * kTileLanes<T> * static_cast<double>(rounds);
}

template <class T>
constexpr GemmTable<T> table_of() {
  return {kTileRows, kTileColumns<T>, any_tile<T>, pack<T>, multiply_lines<T>, multiply_lines_baseline<T>, spin_arithmetic<T>};
}
}  // namespace

constinit const GemmKernels gemm_kernels = {table_of<float>(), table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

// %%
//| lesson
// The kernel of the few rows and its baseline, on x (M, K) and w (N, K).
Tensor lines_product(const Tensor& x, const Tensor& w, bool baseline) {
  const Tensor out = full({x.size(0), w.size(0)}, -99, kFloat);
  const kernels::LinesProduct<float> product{x.data<float>(), x.stride(0), w.data<float>(), w.stride(0), x.size(0), w.size(0), x.size(1), out.data<float>(), w.size(0), nullptr, 0, 1, 0};
  const kernels::GemmTable<float>& table = kernels::gemm_table<float>();
  (baseline ? table.multiply_lines_baseline : table.multiply_lines)(product);
  return out;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool times_mean_something = false;
#else
constexpr bool times_mean_something = true;
#endif

// How many times as fast as the baseline, on eight rows: the best of some runs, each of which times both. 0 where the result is wrong.
double few_rows_ratio() {
  const Tensor x = ones({8, 256});
  const Tensor w = ones({64, 256});
  if (!lines_product(x, w, false).equal(lines_product(x, w, true))) return 0;
  double best = 0;
  for (int run = 0; run < 5; ++run) {
    const double baseline = measure([&] { do_not_optimize(lines_product(x, w, true)); }, {.samples = 3}).minimum;
    const double yours = measure([&] { do_not_optimize(lines_product(x, w, false)); }, {.samples = 3}).minimum;
    best = std::max(best, baseline / yours);
  }
  return best;
}

// %% {"nbgrader": {"grade": true, "grade_id": "16-multiply-lines-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("few rows: right, for every size") {
  for_each_capability([&] {
    for (const std::int64_t M : {1, 2, 3, 5, 6, 7, 13}) {
      for (const std::int64_t N : {1, 3, 4, 9}) {
        for (const std::int64_t K : {1, 7, 16, 33}) {
          const Tensor x = (arange(M * K).remainder(7) - 3).to(kFloat).view({M, K});
          const Tensor w = (arange(N * K).remainder(5) - 2).to(kFloat).view({N, K});
          CHECK_EQ(lines_product(x, w, false), lines_product(x, w, true));
        }
      }
    }
  });
}

// %% {"nbgrader": {"grade": true, "grade_id": "16-multiply-lines-twice", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("few rows: twice as fast as the baseline") {
  if (!times_mean_something) {
    MESSAGE("skipped: a sanitizer changes the times");
    return;
  }
  REPORT_RATIO(few_rows_ratio(), kernels::capability() == kernels::CPUCapability::DEFAULT ? 1.2 : 2.0);
}

// %% {"nbgrader": {"grade": true, "grade_id": "16-multiply-lines-eight", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("few rows: eight times as fast as the baseline, with AVX-512; four times with AVX2") {
  if (!times_mean_something) {
    MESSAGE("skipped: a sanitizer changes the times");
    return;
  }
  if (kernels::capability() == kernels::CPUCapability::DEFAULT) {
    MESSAGE("skipped: no vectors on this machine, or short ones");
    return;
  }
  REPORT_RATIO(few_rows_ratio(), kernels::capability() == kernels::CPUCapability::AVX512 ? 8.0 : 4.0);
}

// %% [markdown]
// ## Part 2: Systems analysis
//
// ### The ladder, measured
//
// Each rung in operations per second, as a part of the peak that was measured in the same run, for a matrix that fits into near caches and one that does not. The second demonstration asks what each rung changed. The roofline holds between registers and the first cache too: a rung that moves 12 bytes for
// two operations has an intensity of 1/6 there, and no arithmetic unit can be busy at that.
//
//     rung                             moved for one multiplication and addition     what changed
//     1 i, j, k                        read a, read b            8 bytes             b comes from another line each time: the wait, not the bytes
//     2 i, k, j                        read b, read and write out 12 bytes           more bytes, but one after another: fetched ahead, and in vectors
//     3 tiles                          the same 12 bytes                             from the first cache instead of the third, or memory
//     4 packed, sums in registers      4 / rows + 4 / columns                        a tile of 4 x 2 sums stays in registers: 3 bytes
//     5 vectors                        the same, of a larger tile                    12 x 32 sums with AVX-512: 0.5 bytes, and 16 operations at once
//     6 threads                        the same                                      as many first caches as cores
//
// Two rungs want a word. Tiles gain much only where B has left a near cache. And rung 4 may go *down*: it is the source of rung 5, compiled for the portable capability, which on x86-64 computes one number at a time, while the compiler made vectors of four for rungs 2 and 3. It moves a quarter of the bytes and is slower all the same; rung 5,
// which has both, shows what fewer bytes are worth. (On ARM the portable capability has vectors.) One core of an Intel Xeon with AVX-512 and 2 MB of second cache, other programs running, gave with `tito run 16`, in GFLOP/s:
//
//        n    i, j, k    i, k, j      tiles     packed, vectors
//       64       4.0       16.5       19.3          144
//      256       0.7       18.0       19.5          163
//      768       0.6        5.5        7.5           94          B takes 2.3 MB here
//
//     part of the peak
//      100 %  |                                       packed, vectors  ======
//             |
//             |              tiles
//             |      i,k,j  +++++
//             |     ++++++
//         few |.....                i,j,k falls off when B leaves the cache
//             +------------------------------------------------------------->  size of the matrices

// %%
//| lesson
// Operations per second of a product of n x n matrices by f.
template <class F>
double speed_of(std::int64_t n, F f) {
  const double seconds = measure(f, {.samples = 3}).minimum;
  return 2.0 * static_cast<double>(n * n * n) / seconds;
}

// %%
DEMO("the ladder: three loops to packed vectors, in parts of the peak") {
  const ThreadsGuard one(1);
  const kernels::MachinePeaks& peaks = kernels::machine_peaks();
  std::printf("kernels for %s; peak of one core %.1f GFLOP/s, memory %.1f GB/s\n", get_cpu_capability().c_str(), peaks.flops * 1e-9, peaks.bytes_per_second * 1e-9);
  std::printf("%6s %10s %10s %10s %12s   GFLOP/s\n", "n", "i, j, k", "i, k, j", "tiles", "packed");
  for (const std::int64_t n : {64, 256, 768}) {
    const Tensor a = rand({n, n}), b = rand({n, n});
    const double v1 = speed_of(n, [&] { do_not_optimize(by_version(multiply_v1, a, b)); });
    const double v2 = speed_of(n, [&] { do_not_optimize(by_version(multiply_v2, a, b)); });
    const double v3 = speed_of(n, [&] { do_not_optimize(by_version(multiply_tiles, a, b)); });
    const double v4 = speed_of(n, [&] { do_not_optimize(by_multiply<float>(a, b)); });
    std::printf("%6d %10.2f %10.2f %10.2f %12.2f   %.0f %% of the peak\n", static_cast<int>(n), v1 * 1e-9, v2 * 1e-9, v3 * 1e-9, v4 * 1e-9, 100 * v4 / peaks.flops);
  }
}

DEMO("rung by rung: what one multiplication and addition reads and writes") {
  const std::int64_t n = 768;
  const Tensor a = rand({n, n}), b = rand({n, n});
  const int all = get_num_threads();
  const kernels::CPUCapability best = kernels::capability();
  double before = 0;
  const auto rung = [&](const std::string& what, double bytes, int threads, const auto& product) {
    const ThreadsGuard guard(threads);
    const double now = speed_of(n, product);
    const double roof = kernels::machine_peaks().flops * threads;
    std::printf("%-32s %6.2f bytes %9.2f GFLOP/s %7.1f times the rung before %5.0f %% of the peak\n", what.c_str(), bytes, now * 1e-9, before > 0 ? now / before : 1.0, 100 * now / roof);
    before = now;
  };
  const auto bytes_of_tile = [] {
    const auto& table = kernels::gemm_table<float>();
    return 4.0 / table.rows + 4.0 / table.columns;
  };
  rung("1 i, j, k", 8, 1, [&] { do_not_optimize(by_version(multiply_v1, a, b)); });
  rung("2 i, k, j", 12, 1, [&] { do_not_optimize(by_version(multiply_v2, a, b)); });
  rung("3 tiles", 12, 1, [&] { do_not_optimize(by_version(multiply_tiles, a, b)); });
  {
    const kernels::CapabilityGuard portable(kernels::CPUCapability::DEFAULT);
    rung("4 packed, sums in registers", bytes_of_tile(), 1, [&] { do_not_optimize(by_multiply<float>(a, b)); });
    if (kernels::gemm_table<float>().columns == 2) std::printf("  (one number at a time here; for rungs 2 and 3 the compiler made vectors)\n");
  }
  for (int c = 1; c <= static_cast<int>(best); ++c) {
    const kernels::CapabilityGuard vectors(static_cast<kernels::CPUCapability>(c));
    rung("5 vectors: " + get_cpu_capability(), bytes_of_tile(), 1, [&] { do_not_optimize(by_multiply<float>(a, b)); });
  }
  rung("6 threads: " + std::to_string(all), bytes_of_tile(), all, [&] { do_not_optimize(by_multiply<float>(a, b)); });
}

DEMO("few rows: your kernel, the baseline and the packed product") {
  std::printf("few rows, x (8, 256) and w (64, 256): %.1f times the baseline\n", few_rows_ratio());
  const Tensor w = rand({3072, 768});
  std::printf("%6s %14s %14s   x (rows, 768) times w (3072, 768) transposed, GFLOP/s\n", "rows", "lines", "linear()");
  for (const std::int64_t rows : {1, 4, 8, 16, 32, 128}) {
    const Tensor x = rand({rows, 768});
    const double operations = 2.0 * static_cast<double>(rows * 768 * 3072);
    const double lines = measure([&] { do_not_optimize(lines_product(x, w, false)); }, {.samples = 3}).minimum;
    const double used = measure([&] { do_not_optimize(mm(x, w.t())); }, {.samples = 3}).minimum;
    std::printf("%6d %14.2f %14.2f\n", static_cast<int>(rows), operations / lines * 1e-9, operations / used * 1e-9);
  }
}

// %% [markdown]
// ### Memory and the roofline
//
// Packing needs memory of its own, and it is kept by the thread for the next product. What counts for the roofline is what passes between the caches and memory: the same product with the arithmetic intensity that each version really has.

// %%
DEMO("intensity, roof and memory of some operators") {
  const ThreadsGuard one(1);
  const kernels::MachinePeaks& peaks = kernels::machine_peaks();
  const auto line = [&](const char* what, double operations, double bytes, double seconds) {
    std::printf("%-28s %8.2f operations per byte, roof %8.2f GFLOP/s, measured %8.2f\n", what, operations / bytes, kernels::reachable_flops(peaks, operations / bytes) * 1e-9,
                operations / seconds * 1e-9);
  };
  const double n = 1 << 22;
  const Tensor x = rand({1 << 22}), y = rand({1 << 22});
  line("x + y, 4 M numbers", n, 12 * n, measure([&] { do_not_optimize(x + y); }, {.samples = 3}).minimum);
  const Tensor w = rand({2048, 2048}), v = rand({2048, 1}), m = rand({2048, 256});
  line("(2048, 2048) x vector", 2.0 * 2048 * 2048, 4.0 * 2048 * 2048, measure([&] { do_not_optimize(mm(w, v)); }, {.samples = 3}).minimum);
  line("(2048, 2048) x (2048, 256)", 2.0 * 2048 * 2048 * 256, 4.0 * 2048 * (2048 + 512), measure([&] { do_not_optimize(mm(w, m)); }, {.samples = 3}).minimum);
  const std::size_t live = memory::stats().live;
  memory::reset_peak();
  do_not_optimize(mm(w, m.t().contiguous().t()));
  std::printf("the product of a transposed operand allocates %s beside its result: nothing is copied to make it dense\n",
              format_bytes(static_cast<std::int64_t>(memory::stats().peak - live - 2048 * 256 * 4 - 2048 * 256 * 4)).c_str());
}

// %% [markdown]
// ## Part 3: Production context
//
// **PyTorch** calls a BLAS for this: MKL or OpenBLAS, and oneDNN for convolutions. Its own vector kernels are built exactly as here, one source per capability: `aten/src/ATen/native/cpu/` (for example `BinaryOpsKernel.cpp`), `aten/src/ATen/native/DispatchStub.h` chooses, `ATEN_CPU_CAPABILITY` forces. The portable vectors are `aten/src/ATen/cpu/vec/`,
// where this course uses Highway. The pool's interface is `aten/src/ATen/Parallel.h`; behind it stands OpenMP, each of whose threads gets one piece of the range and helps nobody. TensorFlow's and XLA's is Eigen's (`unsupported/Eigen/CXX11/src/ThreadPool/NonBlockingThreadPool.h`): a thread has a queue of tasks and takes from another's when its own is empty. `aten/src/ATen/native/LinearAlgebra.cpp` is the way to `gemm`, with its own small-matrix loops.
//
// **OpenBLAS and BLIS** have this module's structure, with the tile kernel in assembly: `kernel/x86_64/sgemm_kernel_16x4_skylakex_3.c`; in BLIS `frame/3/gemm/bli_gemm_ker_var2.c` shows the five loops around the tile ("macro-kernel"), and the paper is *Anatomy of High-Performance Matrix Multiplication* (Goto and van de Geijn, 2008). Their matrices are stored by columns, so A and B have exchanged their parts: theirs is a panel of B that stays in L1 and a block of A in L2. Eigen, used by **TensorFlow**,
// packs the same way: `Eigen/src/Core/products/GeneralBlockPanelKernel.h`; TensorFlow adds oneDNN (`tensorflow/core/kernels/mkl/`). **JAX** leaves it to XLA, which calls Eigen or oneDNN for large products on CPUs and generates code for small ones: `xla/service/cpu/dot_op_emitter.cc`.
//
//       x.mm(w)  ->  dispatcher  ->  shape, strides, dtype  --+-- few rows        dot products / GEMV
//                                                             +-- small           in place, no packing (MKL calls it direct call)
//                                                             +-- large           pack -> blocks -> tiles -> registers
//                                                             |                        ^ threads divide the result
//                                                             +-- a GPU           the same picture: shared memory is the packed panel,
//                                                                                 a warp's registers are the tile (CUTLASS)
//
// What differs in production: kernels in assembly for each CPU, which ask ahead for all that a tile touches, block sizes from tables of CPU models or found by measuring and kept in a file, fused epilogues (activation after bias), packed weights that are kept between calls (`fbgemm::PackBMatrix`), and memory on several sockets (NUMA).

// %% [markdown]
// ## Integration test
//
// A network with autograd gives the same losses and gradients with tuned kernels as with the reference, to rounding, and the same bits with any number of threads.

// %%
TEST_CASE("integration: a network trains with tuned kernels as with the reference") {
  const auto losses = [] {
    manual_seed(3);
    const Tensor x = randn({64, 50}, kDouble), target = randn({64, 3}, kDouble);
    Tensor w1 = (randn({70, 50}, kDouble) * 0.1).requires_grad_(), b1 = zeros({70}, kDouble).requires_grad_(), w2 = (randn({3, 70}, kDouble) * 0.1).requires_grad_();
    std::vector<double> out;
    for (int step = 0; step < 5; ++step) {
      for (const Tensor& p : {w1, b1, w2})
        if (p.grad().defined()) p.grad().zero_();
      const Tensor hidden = addmm(b1, x, w1.t());
      const Tensor loss = (mm(hidden * hidden, w2.t()) - target).pow(2).mean();
      loss.backward();
      const NoGradGuard no_grad;
      for (Tensor p : {w1, b1, w2}) p -= p.grad() * 0.01;
      out.push_back(loss.item<double>());
    }
    return out;
  };
  const std::vector<double> tuned = losses();
  CHECK_LT(tuned.back(), tuned.front());
  {
    const kernels::ReferenceKernelsGuard reference;
    const std::vector<double> expected = losses();
    for (std::size_t i = 0; i < tuned.size(); ++i) CHECK_CLOSE(tuned[i], expected[i], 1e-12, 0.0);
  }
  for (const int threads : {1, 3}) {
    const ThreadsGuard guard(threads);
    CHECK(losses() == tuned);
  }
}

// %% [markdown]
// ## ML systems thinking
//
// Answer from what you measured (`tito run 16`).
//
// 1. At which size of square matrices does i, k, j fall behind tiles on your machine, and which cache's size explains it?
// 2. A layer with a batch of one cannot come near the peak, whoever writes the kernel. Which roof stops it, and which two changes (to the model's weights, to the way requests are served) move it to the right?
// 3. With two threads the large product is not twice as fast. Name two things that the threads share, and how you would find out which of them it is.

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "16-explain-roofline", "locked": false, "points": 5, "schema_version": 3, "solution": true, "task": false}}
// **Explain (5 points).** Take the demonstration of intensities. For `x + y` and for the product with 256 columns: which roof holds, how close does the measurement come, and what would a machine with twice the memory bandwidth and the same arithmetic change? Then say why fusing `relu(x + y)` into one kernel helps, with numbers.
//
// BEGIN SOLUTION
// x + y does one operation for 12 bytes: its roof is the bandwidth divided by 12, less than a percent of the arithmetic peak (14 GB/s allow 1.2 GFLOP/s, where the peak is 180), and twice the bandwidth would double it. The product with 256 columns does about a hundred operations per byte; its roof is the arithmetic peak, and bandwidth changes nothing.
// relu(x + y) in two kernels moves 12 + 8 bytes per element, in one kernel 12: the time falls to 12 / 20, although the operations are the same.
// END SOLUTION

// %% [markdown]
// ## Module summary
//
// - A tuned kernel stands on a layer of its own above the reference, may be narrow, and hands down what it does not do. The reference is what it is tested against.
// - The roofline says what can be gained before anything is written: the lower of arithmetic peak and intensity times bandwidth.
// - A fast product is five loops around a tile of registers. Packing makes every read of the tile one after another, blocks keep panels in the caches, and many independent sums keep the units busy.
// - Vector code is compiled once per capability and chosen when the program starts.
// - Threads divide the result, not the sums, at places that depend on sizes alone: the same bits for any number of threads.
//
// Next: module 17 stores numbers in a quarter of the bytes, which moves every product with few rows to the right of the roofline.

// %%
}  // namespace tinytorch
