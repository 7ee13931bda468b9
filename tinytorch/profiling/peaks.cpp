// From the lesson modules/72_pictures/pictures_dev.cpp:
// edit the module, not this file.

#include "tinytorch/profiling/peaks.h"

#include <algorithm>
#include <barrier>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <string_view>
#include <thread>
#include <vector>
#ifdef __linux__
#include <sys/mman.h>
#endif
#include "tinytorch/core/error.h"
#include "tinytorch/core/system_info.h"
#include "tinytorch/core/utils.h"
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace tinytorch {

namespace {
// Each kernel runs `rounds` rounds of fused multiply-adds and returns how many operations that were.
constexpr std::int64_t kChains = 12;

#if defined(__x86_64__)
[[gnu::target("avx512f")]] std::int64_t multiply_add_avx512(std::int64_t rounds) {
  const __m512 b = _mm512_set1_ps(0.999F), c = _mm512_set1_ps(0.001F);
  // Twelve different values: equal chains would be computed once.
  __m512 x0 = _mm512_set1_ps(0.0F), x1 = _mm512_set1_ps(1.0F), x2 = _mm512_set1_ps(2.0F), x3 = _mm512_set1_ps(3.0F);
  __m512 x4 = _mm512_set1_ps(4.0F), x5 = _mm512_set1_ps(5.0F), x6 = _mm512_set1_ps(6.0F), x7 = _mm512_set1_ps(7.0F);
  __m512 x8 = _mm512_set1_ps(8.0F), x9 = _mm512_set1_ps(9.0F), x10 = _mm512_set1_ps(10.0F), x11 = _mm512_set1_ps(11.0F);
  for (std::int64_t i = 0; i < rounds; ++i) {
    x0 = _mm512_fmadd_ps(x0, b, c); x1 = _mm512_fmadd_ps(x1, b, c); x2 = _mm512_fmadd_ps(x2, b, c);
    x3 = _mm512_fmadd_ps(x3, b, c); x4 = _mm512_fmadd_ps(x4, b, c); x5 = _mm512_fmadd_ps(x5, b, c);
    x6 = _mm512_fmadd_ps(x6, b, c); x7 = _mm512_fmadd_ps(x7, b, c); x8 = _mm512_fmadd_ps(x8, b, c);
    x9 = _mm512_fmadd_ps(x9, b, c); x10 = _mm512_fmadd_ps(x10, b, c); x11 = _mm512_fmadd_ps(x11, b, c);
  }
  const __m512 ends[kChains] = {x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11};
  __m512 sum = b;
  for (const __m512& end : ends) sum = _mm512_add_ps(sum, end);
  do_not_optimize(_mm512_cvtss_f32(sum));
  return rounds * kChains * 16 * 2;
}

[[gnu::target("avx2,fma")]] std::int64_t multiply_add_avx2(std::int64_t rounds) {
  const __m256 b = _mm256_set1_ps(0.999F), c = _mm256_set1_ps(0.001F);
  // Twelve different values: equal chains would be computed once.
  __m256 x0 = _mm256_set1_ps(0.0F), x1 = _mm256_set1_ps(1.0F), x2 = _mm256_set1_ps(2.0F), x3 = _mm256_set1_ps(3.0F);
  __m256 x4 = _mm256_set1_ps(4.0F), x5 = _mm256_set1_ps(5.0F), x6 = _mm256_set1_ps(6.0F), x7 = _mm256_set1_ps(7.0F);
  __m256 x8 = _mm256_set1_ps(8.0F), x9 = _mm256_set1_ps(9.0F), x10 = _mm256_set1_ps(10.0F), x11 = _mm256_set1_ps(11.0F);
  for (std::int64_t i = 0; i < rounds; ++i) {
    x0 = _mm256_fmadd_ps(x0, b, c); x1 = _mm256_fmadd_ps(x1, b, c); x2 = _mm256_fmadd_ps(x2, b, c);
    x3 = _mm256_fmadd_ps(x3, b, c); x4 = _mm256_fmadd_ps(x4, b, c); x5 = _mm256_fmadd_ps(x5, b, c);
    x6 = _mm256_fmadd_ps(x6, b, c); x7 = _mm256_fmadd_ps(x7, b, c); x8 = _mm256_fmadd_ps(x8, b, c);
    x9 = _mm256_fmadd_ps(x9, b, c); x10 = _mm256_fmadd_ps(x10, b, c); x11 = _mm256_fmadd_ps(x11, b, c);
  }
  const __m256 ends[kChains] = {x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11};
  __m256 sum = b;
  for (const __m256& end : ends) sum = _mm256_add_ps(sum, end);
  do_not_optimize(_mm256_cvtss_f32(sum));
  return rounds * kChains * 8 * 2;
}
#elif defined(__aarch64__)
std::int64_t multiply_add_neon(std::int64_t rounds) {
  const float32x4_t b = vdupq_n_f32(0.999F), c = vdupq_n_f32(0.001F);
  // Twelve different values: equal chains would be computed once.
  float32x4_t x0 = vdupq_n_f32(0.0F), x1 = vdupq_n_f32(1.0F), x2 = vdupq_n_f32(2.0F), x3 = vdupq_n_f32(3.0F);
  float32x4_t x4 = vdupq_n_f32(4.0F), x5 = vdupq_n_f32(5.0F), x6 = vdupq_n_f32(6.0F), x7 = vdupq_n_f32(7.0F);
  float32x4_t x8 = vdupq_n_f32(8.0F), x9 = vdupq_n_f32(9.0F), x10 = vdupq_n_f32(10.0F), x11 = vdupq_n_f32(11.0F);
  for (std::int64_t i = 0; i < rounds; ++i) {
    x0 = vfmaq_f32(c, x0, b); x1 = vfmaq_f32(c, x1, b); x2 = vfmaq_f32(c, x2, b);
    x3 = vfmaq_f32(c, x3, b); x4 = vfmaq_f32(c, x4, b); x5 = vfmaq_f32(c, x5, b);
    x6 = vfmaq_f32(c, x6, b); x7 = vfmaq_f32(c, x7, b); x8 = vfmaq_f32(c, x8, b);
    x9 = vfmaq_f32(c, x9, b); x10 = vfmaq_f32(c, x10, b); x11 = vfmaq_f32(c, x11, b);
  }
  const float32x4_t ends[kChains] = {x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11};
  float32x4_t sum = b;
  for (const float32x4_t& end : ends) sum = vaddq_f32(sum, end);
  do_not_optimize(vgetq_lane_f32(sum, 0));
  return rounds * kChains * 4 * 2;
}
#endif

std::int64_t multiply_add_portable(std::int64_t rounds) {
  float chain[4 * kChains];
  for (std::int64_t i = 0; i < 4 * kChains; ++i) chain[i] = static_cast<float>(i);
  for (std::int64_t i = 0; i < rounds; ++i)
    for (float& value : chain) value = value * 0.999F + 0.001F;
  float sum = 0;
  for (const float value : chain) sum += value;
  do_not_optimize(sum);
  return rounds * 4 * kChains * 2;
}

struct ArithmeticKernel {
  std::int64_t (*run)(std::int64_t rounds);
  const char* simd;
};
ArithmeticKernel widest_kernel() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return {multiply_add_avx512, "AVX-512"};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {multiply_add_avx2, "AVX2 with FMA"};
#elif defined(__aarch64__)
  return {multiply_add_neon, "NEON"};
#endif
  return {multiply_add_portable, "what the compiler made of a loop"};
}
}  // namespace

namespace {
#if defined(__x86_64__)
[[gnu::target("avx512f")]] void read_avx512(const float* from, std::size_t count) {
  const std::size_t part = count / 4;
  __m512 sum0 = _mm512_setzero_ps(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  for (const float* const end = from + part; from < end; from += 16) {
    sum0 = _mm512_add_ps(sum0, _mm512_load_ps(from));
    sum1 = _mm512_add_ps(sum1, _mm512_load_ps(from + part));
    sum2 = _mm512_add_ps(sum2, _mm512_load_ps(from + 2 * part));
    sum3 = _mm512_add_ps(sum3, _mm512_load_ps(from + 3 * part));
  }
  do_not_optimize(_mm512_cvtss_f32(_mm512_add_ps(_mm512_add_ps(sum0, sum1), _mm512_add_ps(sum2, sum3))));
}
[[gnu::target("avx512f")]] void add_avx512(float* to, const float* from, std::size_t count) {
  for (const float* const end = to + count; to < end; to += 16, from += 16) _mm512_store_ps(to, _mm512_add_ps(_mm512_load_ps(to), _mm512_load_ps(from)));
}

[[gnu::target("avx2")]] void read_avx2(const float* from, std::size_t count) {
  const std::size_t part = count / 4;
  __m256 sum0 = _mm256_setzero_ps(), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  for (const float* const end = from + part; from < end; from += 8) {
    sum0 = _mm256_add_ps(sum0, _mm256_load_ps(from));
    sum1 = _mm256_add_ps(sum1, _mm256_load_ps(from + part));
    sum2 = _mm256_add_ps(sum2, _mm256_load_ps(from + 2 * part));
    sum3 = _mm256_add_ps(sum3, _mm256_load_ps(from + 3 * part));
  }
  do_not_optimize(_mm256_cvtss_f32(_mm256_add_ps(_mm256_add_ps(sum0, sum1), _mm256_add_ps(sum2, sum3))));
}
[[gnu::target("avx2")]] void add_avx2(float* to, const float* from, std::size_t count) {
  for (const float* const end = to + count; to < end; to += 8, from += 8) _mm256_store_ps(to, _mm256_add_ps(_mm256_load_ps(to), _mm256_load_ps(from)));
}
#elif defined(__aarch64__)
void read_neon(const float* from, std::size_t count) {
  const std::size_t part = count / 4;
  float32x4_t sum0 = vdupq_n_f32(0.0F), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  for (const float* const end = from + part; from < end; from += 4) {
    sum0 = vaddq_f32(sum0, vld1q_f32(from));
    sum1 = vaddq_f32(sum1, vld1q_f32(from + part));
    sum2 = vaddq_f32(sum2, vld1q_f32(from + 2 * part));
    sum3 = vaddq_f32(sum3, vld1q_f32(from + 3 * part));
  }
  do_not_optimize(vgetq_lane_f32(vaddq_f32(vaddq_f32(sum0, sum1), vaddq_f32(sum2, sum3)), 0));
}
void add_neon(float* to, const float* from, std::size_t count) {
  for (const float* const end = to + count; to < end; to += 4, from += 4) vst1q_f32(to, vaddq_f32(vld1q_f32(to), vld1q_f32(from)));
}
#endif

void read_portable(const float* from, std::size_t count) {
  const std::size_t part = count / 4;
  float sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
  for (const float* const end = from + part; from < end; ++from) {
    sum0 += from[0];
    sum1 += from[part];
    sum2 += from[2 * part];
    sum3 += from[3 * part];
  }
  do_not_optimize(sum0 + sum1 + sum2 + sum3);
}
void add_portable(float* to, const float* from, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) to[i] += from[i];
}

struct MemoryKernel {
  void (*read)(const float* from, std::size_t count);            // in four streams
  void (*add)(float* to, const float* from, std::size_t count);  // to += from
};
MemoryKernel widest_memory_kernel() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return {read_avx512, add_avx512};
  if (__builtin_cpu_supports("avx2")) return {read_avx2, add_avx2};
#elif defined(__aarch64__)
  return {read_neon, add_neon};
#endif
  return {read_portable, add_portable};
}
}  // namespace

namespace {
// The best rate of `rounds` rounds in which all threads run work(thread), which returns an amount, at the same time.
template <class Work>
double best_rate(int threads, int rounds, const Work& work) {
  std::barrier<> together(threads);
  std::mutex mutex;
  std::vector<double> slowest(static_cast<std::size_t>(rounds), 0), amounts(static_cast<std::size_t>(rounds), 0);
  const auto run = [&](int thread) {
    for (std::size_t round = 0; round < slowest.size(); ++round) {
      together.arrive_and_wait();
      const Timer timer;
      const auto amount = static_cast<double>(work(thread));
      const double seconds = timer.seconds();
      const std::lock_guard lock(mutex);
      slowest[round] = std::max(slowest[round], seconds);
      amounts[round] += amount;
    }
  };
  std::vector<std::thread> others;
  for (int thread = 1; thread < threads; ++thread) others.emplace_back(run, thread);
  run(0);
  for (std::thread& other : others) other.join();
  double best = 0;
  for (std::size_t round = 0; round < slowest.size(); ++round) best = std::max(best, amounts[round] / slowest[round]);
  return best;
}

constexpr std::size_t kMegabyte = std::size_t{1} << 20;

// Of an array that no cache holds when it is passed over again: twice the last cache and at least 256 MB, with many threads 32 MB for each, since groups of cores may have a last cache of their own. At most a quarter of the memory that is free.
std::size_t bytes_to_pass(int threads) {
  std::size_t bytes = std::max<std::size_t>(256, 32 * static_cast<std::size_t>(threads)) * kMegabyte;
  for (const CacheInfo& cache : system_info().caches) bytes = std::max(bytes, 2 * static_cast<std::size_t>(cache.bytes));
  const std::string memory = read_if_there("/proc/meminfo");
  const std::string_view free = value_of_key(memory, "MemAvailable");
  return free.empty() ? bytes : std::min(bytes, static_cast<std::size_t>(parse_bytes(free)) / 4);
}

struct FreeMemory {
  void operator()(float* memory) const { std::free(memory); }
};
}  // namespace

double autograd::profiler::measure_bandwidth(int threads) {
  TORCH_CHECK_VALUE(threads >= 1, "measure_bandwidth needs at least one thread, but got ", threads);
  const MemoryKernel kernel = widest_memory_kernel();
  // A whole number of megabytes for each half of a thread's share.
  const std::size_t half = std::max<std::size_t>(1, bytes_to_pass(threads) / 2 / static_cast<std::size_t>(threads) / kMegabyte) * kMegabyte / sizeof(float);
  const std::size_t bytes = 2 * half * static_cast<std::size_t>(threads) * sizeof(float);
  const std::unique_ptr<float, FreeMemory> array(static_cast<float*>(std::aligned_alloc(2 * kMegabyte, bytes)));
  if (array == nullptr) throw std::bad_alloc();
#ifdef __linux__
  ::madvise(array.get(), bytes, MADV_HUGEPAGE);  // as large tensors have them; advice
#endif
  const auto share_of = [&](int thread) { return array.get() + 2 * half * static_cast<std::size_t>(thread); };
  best_rate(threads, 1, [&](int thread) {
    std::fill_n(share_of(thread), 2 * half, 1.0F);  // each thread its own: memory near the processor that uses it
    return half;
  });
  const double reading = best_rate(threads, 6, [&](int thread) {
    kernel.read(share_of(thread), 2 * half);
    return 2 * half * sizeof(float);
  });
  const double adding = best_rate(threads, 6, [&](int thread) {
    kernel.add(share_of(thread), share_of(thread) + half, half);
    return 3 * half * sizeof(float);
  });
  return std::max(reading, adding);
}

autograd::profiler::Peaks autograd::profiler::measure_peaks(int threads) {
  TORCH_CHECK_VALUE(threads >= 1, "measure_peaks needs at least one thread, but got ", threads);
  const ArithmeticKernel kernel = widest_kernel();
  Peaks peaks;
  peaks.threads = threads;
  peaks.simd = kernel.simd;
  peaks.flops_per_second = best_rate(threads, 8, [&](int) { return kernel.run(2'000'000); });
  peaks.bytes_per_second = measure_bandwidth(threads);
  return peaks;
}

}  // namespace tinytorch
