// From the lesson modules/14_profiling/profiling_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/profiling/events.h"

namespace tinytorch {

namespace autograd::profiler {

// A record of memory over time in a bounded number of points. What a point stands for gets coarser as time goes on; the peak never gets lost.
class BoundedTimeline {
 public:
  explicit BoundedTimeline(std::size_t capacity);
  void add(std::int64_t time_ns, std::int64_t live);
  const std::vector<MemoryEvent>& points() const { return points_; }
  void clear();

 private:
  std::size_t capacity_;
  std::int64_t every_ns_ = 1;  // yours to use, or not
  std::vector<MemoryEvent> points_;
};

// Records the events of one thread at a time.
class EventRecorder {
 public:
  static constexpr std::int64_t kSameEvent = -1;
  // Opens an event inside the innermost open one and returns its index. An operator that begins directly inside of itself (the same source) is
  // the same event at another layer: that returns kSameEvent. O(1) amortised: now and then all events move to a larger place, which the event around this one pays for. (PyTorch appends to a list of blocks, which never move: AppendOnlyList.)
  std::int64_t begin(FunctionEvent event);
  // Closes event `index` and all that were opened inside of it. Nothing happens if it is closed already. O(depth).
  void end(std::int64_t index, std::int64_t time_ns);
  // An event that was begun, until the next begin() or take().
  FunctionEvent& event(std::int64_t index) { return events_[static_cast<std::size_t>(index)]; }
  void add_output(std::int64_t index, TensorInfo tensor);
  // Tensors took `change` bytes, or gave them back; it counts for the innermost open event. `live` are held now.
  void memory(std::int64_t change, std::int64_t live, std::int64_t time_ns);
  // The innermost open event recorded a node.
  void node(std::uint64_t sequence_nr);
  // All events so far, in the order in which they began; open ones end at `time_ns`. The recorder is empty then.
  std::vector<FunctionEvent> take(std::int64_t time_ns);
  const BoundedTimeline& timeline() const { return timeline_; }

 private:
  std::vector<FunctionEvent> events_;
  std::vector<std::int64_t> open_;
  BoundedTimeline timeline_{1 << 14};
};

}  // namespace autograd::profiler

}  // namespace tinytorch
