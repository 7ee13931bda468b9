// From the lesson modules/14_profiling/profiling_dev.cpp:
// edit the module, not this file.

#include "tinytorch/profiling/recorder.h"

#include <algorithm>
#include <utility>

namespace tinytorch {

autograd::profiler::BoundedTimeline::BoundedTimeline(std::size_t capacity) : capacity_(capacity) { points_.reserve(capacity); }

// Opens an event. Its contract stands at the declaration.
std::int64_t autograd::profiler::EventRecorder::begin(FunctionEvent event) {
  event.parent = -1;
  if (!open_.empty()) {
    FunctionEvent& around = this->event(open_.back());
    const bool operators = event.scope == RecordScope::FUNCTION && around.scope == RecordScope::FUNCTION;
    if (operators && event.source != nullptr && event.source == around.source) {
      around.layer = std::min(around.layer, event.layer);
      return kSameEvent;
    }
    event.parent = open_.back();
  }
  events_.push_back(std::move(event));
  open_.push_back(static_cast<std::int64_t>(events_.size()) - 1);
  return open_.back();
}

// Closes an event and those inside of it. Its contract stands at the declaration.
void autograd::profiler::EventRecorder::end(std::int64_t index, std::int64_t time_ns) {
  if (std::find(open_.begin(), open_.end(), index) == open_.end()) return;
  std::int64_t closed = -1;
  while (closed != index) {
    closed = open_.back();
    open_.pop_back();
    event(closed).end_ns = time_ns;
  }
}

void autograd::profiler::EventRecorder::add_output(std::int64_t index, TensorInfo tensor) { event(index).outputs.push_back(std::move(tensor)); }

void autograd::profiler::EventRecorder::memory(std::int64_t change, std::int64_t live, std::int64_t time_ns) {
  timeline_.add(time_ns, live);
  if (open_.empty()) return;
  FunctionEvent& innermost = event(open_.back());
  innermost.self_cpu_memory_usage += change;
  if (change > 0) ++innermost.self_allocations;
  for (const std::int64_t index : open_) event(index).peak_memory = std::max(event(index).peak_memory, live - event(index).live_at_start);
}

void autograd::profiler::EventRecorder::node(std::uint64_t sequence_nr) {
  if (!open_.empty()) event(open_.back()).nodes.push_back(sequence_nr);
}

std::vector<autograd::profiler::FunctionEvent> autograd::profiler::EventRecorder::take(std::int64_t time_ns) {
  if (!open_.empty()) end(open_.front(), time_ns);
  open_.clear();
  timeline_.clear();
  return std::exchange(events_, {});
}

// Adds a point, and makes room when the points are full. Its contract stands in the text above.
void autograd::profiler::BoundedTimeline::add(std::int64_t time_ns, std::int64_t live) {
  // A point is the largest of its stretch of `every_ns_` nanoseconds. When the points are full, stretches get twice as long.
  const auto join = [this](std::size_t used, MemoryEvent point) {
    if (used > 0 && points_[used - 1].time_ns / every_ns_ == point.time_ns / every_ns_) {
      if (point.live > points_[used - 1].live) points_[used - 1] = point;
      return used;
    }
    points_[used] = point;
    return used + 1;
  };
  while (points_.size() == capacity_ && points_.back().time_ns / every_ns_ != time_ns / every_ns_) {
    every_ns_ *= 2;
    std::size_t used = 0;
    for (const MemoryEvent& point : points_) used = join(used, point);
    points_.resize(used);
  }
  const std::size_t used = points_.size();
  if (used < capacity_) points_.emplace_back();
  points_.resize(join(used, {time_ns, live}));
}

void autograd::profiler::BoundedTimeline::clear() {
  points_.clear();
  every_ns_ = 1;
}

}  // namespace tinytorch
