// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

#include "tinytorch/core/dispatch.h"

namespace tinytorch {

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

}  // namespace tinytorch
