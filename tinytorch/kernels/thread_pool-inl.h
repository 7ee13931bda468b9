// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "tinytorch/kernels/parallel.h"

namespace tinytorch {

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

}  // namespace tinytorch
