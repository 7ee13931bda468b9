// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "tinytorch/core/error.h"
#include "tinytorch/data/threads.h"

namespace tinytorch {

namespace data::detail {

// A queue that any number of threads may push into and pop from. Source: torch/data/detail/queue.h.
template <class T>
class Queue {
 public:
  void push(T value);
  T pop(std::optional<std::chrono::milliseconds> timeout = std::nullopt);
  // Throws everything away; returns how much that was.
  std::size_t clear();

 private:
  std::deque<T> queue_;
  std::mutex mutex_;
  ConditionVariable cv_;
};

}  // namespace data::detail

template <class T>
void data::detail::Queue<T>::push(T value) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(value));
  }
  cv_.notify_one();
}

template <class T>
std::size_t data::detail::Queue<T>::clear() {
  std::deque<T> old;
  {
    const std::lock_guard lock(mutex_);
    std::swap(old, queue_);
  }
  return old.size();  // its elements are destroyed here, without the lock
}

// Takes the oldest element out; sleeps until there is one. With a timeout, throws Error when there is none by then.
template <class T>
T data::detail::Queue<T>::pop(std::optional<std::chrono::milliseconds> timeout) {
  std::unique_lock lock(mutex_);
  const auto has_element = [this] { return !queue_.empty(); };
  if (timeout) {
    TORCH_CHECK(cv_.wait_for(lock, *timeout, has_element),
                "Timeout in DataLoader queue while waiting for next batch (timeout was ", timeout->count(), " ms)");
  } else {
    cv_.wait(lock, has_element);
  }
  T value = std::move(queue_.front());
  queue_.pop_front();
  return value;
}

namespace data::detail {

// Jobs to the workers and results back. Everything but pop_job() and push_result() is for the loader's thread only.
// Source: torch/data/detail/data_shuttle.h.
template <class Job, class Result>
class DataShuttle {
 public:
  void push_job(Job job) {
    new_jobs_.push(std::move(job));
    ++in_flight_jobs_;
  }
  Job pop_job() { return new_jobs_.pop(); }
  void push_result(Result result) { results_.push(std::move(result)); }
  // The next result; nothing if no job is in flight. Throws on a timeout; the job stays in flight then.
  std::optional<Result> pop_result(std::optional<std::chrono::milliseconds> timeout = std::nullopt) {
    if (in_flight_jobs_ == 0) return std::nullopt;
    Result result = results_.pop(timeout);
    --in_flight_jobs_;
    return result;
  }
  // Throws away the jobs that nobody has begun.
  void cancel_jobs() { in_flight_jobs_ -= new_jobs_.clear(); }
  // Cancels, and waits for what has begun.
  void drain() {
    cancel_jobs();
    while (in_flight_jobs_ > 0) pop_result();
  }
  std::size_t in_flight_jobs() const noexcept { return in_flight_jobs_; }

 private:
  Queue<Job> new_jobs_;
  std::size_t in_flight_jobs_ = 0;
  Queue<Result> results_;
};

}  // namespace data::detail

}  // namespace tinytorch
