// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.

#include "tinytorch/kernels/parallel.h"

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

namespace tinytorch {

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

// Takes tasks and runs them until none is left, in the calling thread: first those of its own share, job.shares[own], then what the others have left. Several threads do this with one job at the same time; each task
// runs once. After an exception no further task is begun, and the first exception is kept in job.error.
void kernels::ThreadPool::work(Job& job, int own) {
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
}

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

}  // namespace tinytorch
