// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <type_traits>
#include <vector>

#include "tinytorch/core/dispatch.h"

namespace tinytorch {

namespace kernels {

// How many logical processors the calling thread may run on: taskset, containers and batch systems give a process some of the machine's.
int allowed_processors();

}  // namespace kernels

// How many threads a call of an operator may use, itself included: at first what the variable OMP_NUM_THREADS says, or the number of logical CPUs that the process may run on. Source: aten/src/ATen/Parallel.h.
int get_num_threads();

// Sets it, for all threads of the process; waits for a call that is running. Throws unless threads > 0.
void set_num_threads(int threads);

// Whether this thread is working at a task of a parallel call.
bool in_parallel_region();

namespace kernels {

// Threads that work at the tasks of one call at a time.
class ThreadPool {
 public:
  // Calls task(context, i) for each i from 0 to tasks - 1, in any order, on any of the threads. Returns when all are done; if one throws, the others may be left out and the first exception is thrown here.
  // Runs in this thread alone if the pool is busy or this is itself a task. Tasks run with the caller's ThreadState.
  using Task = void (*)(void* context, std::int64_t index);
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

// Calls f(i) for each i from 0 to tasks - 1, on the threads of the pool.
template <class F>
void run_tasks(std::int64_t tasks, F&& f) {
  using Function = std::remove_reference_t<F>;
  ThreadPool::global().run(
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
