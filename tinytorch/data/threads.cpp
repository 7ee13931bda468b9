// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.

#include "tinytorch/data/threads.h"

#include <condition_variable>
#include <thread>
#include <utility>
#include <vector>

namespace tinytorch {

struct data::detail::ConditionVariable::Impl {
  std::condition_variable variable;
};

data::detail::ConditionVariable::ConditionVariable() : impl_(std::make_unique<Impl>()) {}
data::detail::ConditionVariable::~ConditionVariable() = default;
void data::detail::ConditionVariable::notify_one() { impl_->variable.notify_one(); }
void data::detail::ConditionVariable::notify_all() { impl_->variable.notify_all(); }
void data::detail::ConditionVariable::wait(std::unique_lock<std::mutex>& lock, function_ref<bool()> condition) { impl_->variable.wait(lock, condition); }
bool data::detail::ConditionVariable::wait_for(std::unique_lock<std::mutex>& lock, std::chrono::milliseconds timeout, function_ref<bool()> condition) {
  return impl_->variable.wait_for(lock, timeout, condition);
}

struct data::detail::Threads::Impl {
  std::vector<std::thread> threads;
};

data::detail::Threads::Threads() : impl_(std::make_unique<Impl>()) {}
data::detail::Threads::~Threads() = default;
void data::detail::Threads::start(std::function<void()> work) { impl_->threads.emplace_back(std::move(work)); }
std::size_t data::detail::Threads::size() const { return impl_->threads.size(); }
void data::detail::Threads::join() {
  for (std::thread& thread : impl_->threads) thread.join();
  impl_->threads.clear();
}

}  // namespace tinytorch
