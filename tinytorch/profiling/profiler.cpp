// From the lesson modules/14_profiling/profiling_dev.cpp:
// edit the module, not this file.

#include "tinytorch/profiling/profiler.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <iterator>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "tinytorch/core/warning.h"
#include "tinytorch/profiling/flops.h"
#include "tinytorch/profiling/trace.h"

namespace tinytorch {

namespace {
std::int64_t time_now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// A session's number and what it records, in one word, so that a thread reads both at once. 0 between two profiles.
struct Session {
  std::uint64_t word = 0;
  static constexpr std::uint64_t kShapes = 1, kMemory = 2, kModules = 4, kOptions = 3;  // kOptions: how many bits there are
  bool has(std::uint64_t option) const { return (word & option) != 0; }
};

struct Slot {
  std::mutex mutex;
  std::uint64_t session = 0;
  std::uint64_t thread = 0;
  bool owned = true;  // by a thread that is running; guarded by the registry's lock
  autograd::profiler::EventRecorder recorder;
};

// All slots there ever were. Neither it nor the observer is ever destroyed: threads may still be running when main has returned.
struct Registry {
  std::mutex mutex;
  std::vector<std::unique_ptr<Slot>> slots;
};
Registry& registry() {
  static Registry* const instance = new Registry;
  return *instance;
}

thread_local constinit Slot* own_slot = nullptr;
thread_local constinit bool thread_is_ending = false;
struct SlotReturner {
  ~SlotReturner() {
    thread_is_ending = true;
    if (own_slot == nullptr) return;
    const std::lock_guard lock(registry().mutex);
    own_slot->owned = false;
    own_slot = nullptr;
  }
};

// This thread's slot; null when the thread is being taken down.
Slot* slot_of_thread() {
  if (own_slot != nullptr || thread_is_ending) return own_slot;
  static thread_local SlotReturner returner;
  const std::lock_guard lock(registry().mutex);
  for (const auto& slot : registry().slots)
    if (!slot->owned) own_slot = slot.get();
  if (own_slot == nullptr) own_slot = registry().slots.emplace_back(std::make_unique<Slot>()).get();
  own_slot->owned = true;
  const std::lock_guard content(own_slot->mutex);
  own_slot->thread = 0;  // a new number, but what the thread before recorded in this session stays
  return own_slot;
}
}  // namespace

namespace {
// Writes down what the program does into the slots of its threads.
class Profiler : public RecordObserver {
 public:
  void enable(const autograd::profiler::ProfilerConfig& config);
  autograd::profiler::ProfilerResult disable();
  bool enabled() const { return session_.load() != 0; }

  void begin(RecordFunction& call) override;
  void end(RecordFunction& call) noexcept override;
  void memory(std::ptrdiff_t change, std::size_t live) noexcept override;
  void node(std::uint64_t sequence_nr) noexcept override;

 private:
  // Calls f(recorder of this thread, slot), unless the session has ended.
  template <class F>
  void with_recorder(Session session, F f) {
    Slot* const slot = slot_of_thread();
    if (slot == nullptr || session.word == 0) return;
    const std::lock_guard lock(slot->mutex);
    if (session.word != session_.load()) return;
    if (slot->session != session.word) {
      slot->recorder.take(0);
      slot->session = session.word;
      slot->thread = 0;
    }
    if (slot->thread == 0) slot->thread = threads_.fetch_add(1) + 1;
    f(slot->recorder, *slot);
  }

  // Calls f(); disable() throws what f threw. The program that is watched goes on: it may be in a destructor, or in a thread of its own.
  template <class F>
  void keep_error_of(F f) noexcept {
    try {
      f();
    } catch (...) {
      const std::lock_guard lock(error_lock_);
      if (!error_) error_ = std::current_exception();
    }
  }

  std::mutex error_lock_;
  std::exception_ptr error_;
  std::mutex control_;  // held by enable() and disable()
  std::atomic<std::uint64_t> session_{0};
  std::atomic<std::uint64_t> threads_{0};
  std::uint64_t sessions_so_far_ = 0;
  std::int64_t started_ = 0;
};

Profiler& profiler() {
  static Profiler* const instance = new Profiler;
  return *instance;
}
}  // namespace

namespace {
void Profiler::enable(const autograd::profiler::ProfilerConfig& config) {
  const std::lock_guard lock(control_);
  TORCH_CHECK(session_.load() == 0, "Profiler is already enabled on this thread\n[enableProfiler] one profile at a time records all threads; stop the running one first.");
  const std::uint64_t options = (config.report_input_shapes ? Session::kShapes : 0) | (config.profile_memory ? Session::kMemory : 0) | (config.with_modules ? Session::kModules : 0);
  threads_.store(0);
  started_ = time_now();
  session_.store(++sessions_so_far_ << Session::kOptions | options);
  record_observer.store(this);
}

autograd::profiler::ProfilerResult Profiler::disable() {
  const std::lock_guard lock(control_);
  TORCH_CHECK(session_.load() != 0, "Can't disable profiler when it's not running\n[disableProfiler] call enableProfiler() first, or use the guard `profile`.");
  record_observer.store(nullptr);
  const std::uint64_t session = session_.exchange(0);
  const std::int64_t now = time_now();
  {
    const std::lock_guard errors(error_lock_);
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }
  std::vector<autograd::profiler::FunctionEvent> events;
  std::vector<autograd::profiler::MemoryEvent> memory;
  const std::lock_guard all(registry().mutex);
  for (const auto& slot : registry().slots) {
    const std::lock_guard one(slot->mutex);
    if (slot->session != session) continue;
    slot->session = 0;
    memory.insert(memory.end(), slot->recorder.timeline().points().begin(), slot->recorder.timeline().points().end());
    const auto first = static_cast<std::int64_t>(events.size());
    std::vector<autograd::profiler::FunctionEvent> recorded = slot->recorder.take(now);
    for (autograd::profiler::FunctionEvent& event : recorded) {
      if (event.parent >= 0) event.parent += first;
      event.start_ns -= started_;
      event.end_ns -= started_;
    }
    if (events.empty()) {
      events.swap(recorded);
    } else {
      events.insert(events.end(), std::make_move_iterator(recorded.begin()), std::make_move_iterator(recorded.end()));
    }
  }
  for (autograd::profiler::MemoryEvent& point : memory) point.time_ns -= started_;
  std::sort(memory.begin(), memory.end(), [](const auto& a, const auto& b) { return a.time_ns < b.time_ns; });
  return {std::move(events), std::move(memory), now - started_};
}
}  // namespace

namespace {
void Profiler::begin(RecordFunction& call) {
  const Session session{session_.load()};
  if (call.scope() == RecordScope::MODULE && !session.has(Session::kModules)) return;
  keep_error_of([&] {
    with_recorder(session, [&](autograd::profiler::EventRecorder& recorder, const Slot& slot) {
      autograd::profiler::FunctionEvent named;
      named.name = call.name();
      named.scope = call.scope();
      named.layer = call.layer();
      named.source = call.source();
      named.thread = slot.thread;
      named.sequence_nr = call.sequence_nr();
      const std::int64_t index = recorder.begin(std::move(named));
      if (index == autograd::profiler::EventRecorder::kSameEvent) return;
      call.place = {session.word, static_cast<std::uint64_t>(index + 1)};
      autograd::profiler::FunctionEvent& event = recorder.event(index);
      if (session.has(Session::kShapes)) {
        event.inputs.reserve(call.input_count());
        for (std::size_t i = 0; i < call.input_count(); ++i) event.inputs.push_back(autograd::profiler::info_of(call.tensor(i)));
      }
      if (session.has(Session::kMemory)) event.live_at_start = static_cast<std::int64_t>(tinytorch::memory::stats().live);
      event.start_ns = time_now();
    });
  });
}

void Profiler::end(RecordFunction& call) noexcept {
  const std::int64_t now = time_now();
  const std::uint64_t index_and_one = call.place[1];
  if (index_and_one == 0) return;  // it was not recorded, or is another layer of an event that still runs
  const Session session{call.place[0]};
  keep_error_of([&] {
    with_recorder(session, [&](autograd::profiler::EventRecorder& recorder, const Slot&) {
      const auto index = static_cast<std::int64_t>(index_and_one) - 1;
      if (session.has(Session::kShapes))
        for (std::size_t i = call.input_count(); i < call.tensor_count(); ++i) recorder.add_output(index, autograd::profiler::info_of(call.tensor(i)));
      recorder.end(index, now);
    });
  });
}

void Profiler::memory(std::ptrdiff_t change, std::size_t live) noexcept {
  const Session session{session_.load()};
  if (!session.has(Session::kMemory)) return;
  keep_error_of([&] {
    with_recorder(session, [&](autograd::profiler::EventRecorder& recorder, const Slot&) { recorder.memory(change, static_cast<std::int64_t>(live), time_now()); });
  });
}

void Profiler::node(std::uint64_t sequence_nr) noexcept {
  keep_error_of([&] {
    with_recorder(Session{session_.load()}, [&](autograd::profiler::EventRecorder& recorder, const Slot&) { recorder.node(sequence_nr); });
  });
}
}  // namespace

void autograd::profiler::enableProfiler(const ProfilerConfig& config) { ::tinytorch::profiler().enable(config); }
autograd::profiler::ProfilerResult autograd::profiler::disableProfiler() { return ::tinytorch::profiler().disable(); }
bool autograd::profiler::profilerEnabled() { return ::tinytorch::profiler().enabled(); }

namespace {
// "N9tinytorch2nn10LinearImplE" as "Linear".
std::string short_module_name(const std::string& type) {
  std::string name = nn::detail::demangle(type.c_str());
  if (const std::size_t colon = name.rfind("::"); colon != std::string::npos && name.find('<') == std::string::npos) name.erase(0, colon + 2);
  if (name.ends_with("Impl")) name.resize(name.size() - 4);
  return name;
}
}  // namespace

autograd::profiler::ProfilerResult::ProfilerResult(std::vector<FunctionEvent> events, std::vector<MemoryEvent> memory, std::int64_t duration_ns)
    : events_(std::move(events)), memory_(std::move(memory)), duration_ns_(duration_ns) {
  compute_self_times(events_);
  add_up_memory(events_);
  link_backward(events_);
  for (FunctionEvent& event : events_) {
    event.flops = flops_of(event);
    event.bytes = bytes_of(event);
    if (event.scope == RecordScope::MODULE) event.name = short_module_name(event.name);
  }
  compute_own_work(events_);
}

void autograd::profiler::ProfilerResult::name_modules(const nn::Module& root, const std::string& prefix) {
  std::unordered_map<const void*, std::string> names;
  root.apply([&names](const std::string& name, const nn::Module& module) { names.emplace(&module, name); }, prefix);
  for (FunctionEvent& event : events_)
    if (const auto name = names.find(event.source); event.scope == RecordScope::MODULE && name != names.end()) event.name = name->second + " (" + event.name + ")";
}

autograd::profiler::profile::profile(const ProfilerConfig& config) { enableProfiler(config); }
autograd::profiler::profile::~profile() {
  if (!running_ || !profilerEnabled()) return;
  try {
    disableProfiler();
  } catch (const std::exception&) {  // a destructor must not throw, and nobody asked for the result
  }
}
void autograd::profiler::profile::stop() {
  if (!running_) return;
  result_ = disableProfiler();
  running_ = false;
}
const autograd::profiler::ProfilerResult& autograd::profiler::profile::result() const {
  TORCH_CHECK(!running_, "the profile is still running\n[profile] call stop() before result().");
  return result_;
}
autograd::profiler::ProfilerResult& autograd::profiler::profile::result() { return const_cast<ProfilerResult&>(std::as_const(*this).result()); }

autograd::profiler::RecordProfile::~RecordProfile() {
  const auto warn_of = [this](const char* why) noexcept {  // a destructor must not throw, and neither must this
    try {
      TORCH_WARN("there is no trace in ", path_, ": ", why);
    } catch (...) {
    }
  };
  try {
    disableProfiler().save(path_);
  } catch (const Error& error) {
    warn_of(error.what_without_backtrace());
  } catch (const std::exception& error) {
    warn_of(error.what());
  }
}

autograd::profiler::EventList autograd::profiler::ProfilerResult::key_averages(bool group_by_input_shape) const { return profiler::key_averages(events_, group_by_input_shape); }

void autograd::profiler::ProfilerResult::save(const std::string& path) const { save_chrome_trace(path, events_, memory_); }

}  // namespace tinytorch
