// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.
#pragma once

#include <functional>
#include <memory>
#include <mutex>  // std::chrono's durations too: <chrono> itself adds calendars and time zones

#include "tinytorch/core/function_ref.h"

namespace tinytorch {

namespace data::detail {

// A std::condition_variable.
class ConditionVariable {
 public:
  ConditionVariable();
  ~ConditionVariable();
  ConditionVariable(const ConditionVariable&) = delete;
  ConditionVariable& operator=(const ConditionVariable&) = delete;

  void notify_one();
  void notify_all();
  // Returns when `condition` holds. It is asked with the lock held, at once and after each wake-up; while the thread sleeps, the lock is given back.
  void wait(std::unique_lock<std::mutex>& lock, function_ref<bool()> condition);
  // The same, but no longer than `timeout`. Returns whether the condition holds.
  bool wait_for(std::unique_lock<std::mutex>& lock, std::chrono::milliseconds timeout, function_ref<bool()> condition);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Some threads. REQUIRES: join() before the end, as of a std::thread.
class Threads {
 public:
  Threads();
  ~Threads();
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  // One more thread, which calls `work`.
  void start(std::function<void()> work);
  std::size_t size() const;
  // Waits until all have ended; there are none after that.
  void join();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace data::detail

}  // namespace tinytorch
