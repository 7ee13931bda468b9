// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch-cpp
// ---

// %% [markdown]
// # Module 14: Profiling
//
// A training step is slow. Which operator is it? Is that operator slow, or is it called too often? Does it compute, or does it wait for memory? And which line of the forward pass caused that expensive node of the backward pass? Nobody can answer this by reading code, and guesses are wrong so regularly that the
// first rule of performance work is: measure, then change.
//
// This module builds the instrument. It records every operator with its shapes, its time and its memory, without a change to any operator, and then turns the record into the pictures that engineers use: a table, a flame view, a timeline that Chrome and Perfetto open, and a roofline, which says how
// far from the limits of this machine an operator is.
//
// **Objectives.** After this module you can
//
// - record a running program as a forest of nested events, and say what the record costs and why it must cost nothing when it is off;
// - tell self time from total time, and explain why only one of them may be added up;
// - count the arithmetic and the bytes of an operator from its shapes, and place it under the roofline of a measured machine;
// - find out which forward operator a node of the backward pass belongs to;
// - find a hot spot and a leak of memory in code that gives right answers.
//
// **Where it sits.** Below it: the dispatcher (module 01), which tests one pointer in each call, nodes with sequence numbers (module 05), and module trees (03). Above it: benchmarking (15), which repeats measurements until they mean something, and kernels (16), which makes faster what you find here.
//
// **Prerequisites.** Modules 01, 03, 05 and 06; chapter 92 ("Someone who looks on"); trees; logarithmic axes.

// %%
//| export profiling/events.h
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>
#include "tinytorch/core/record_function.h"
#include "tinytorch/core/tensor.h"
#include "tinytorch/profiling/pictures.h"
//| export profiling/events.cpp
#include <algorithm>
#include <unordered_map>
//| export profiling/recorder.h
#include "tinytorch/profiling/events.h"
//| export profiling/recorder.cpp
#include <algorithm>
#include <utility>
//| export profiling/flops.h
#include "tinytorch/profiling/events.h"
//| export profiling/flops.cpp
#include <algorithm>
#include <iterator>
#include <string_view>
#include <unordered_map>
//| export profiling/averages.h
#include "tinytorch/profiling/event_list.h"
#include "tinytorch/profiling/events.h"
//| export profiling/averages.cpp
#include <algorithm>
#include <map>
#include <sstream>
#include <tuple>
//| export profiling/profiler.h
#include "tinytorch/nn/module.h"
#include "tinytorch/profiling/averages.h"
#include "tinytorch/profiling/recorder.h"
//| export profiling/profiler.cpp
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
//| export profiling/trace.h
#include "tinytorch/profiling/events.h"
//| export profiling/trace.cpp
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include "tinytorch/serialize/file.h"
//| export profiling/flame.h
#include "tinytorch/profiling/events.h"
//| export profiling/roofline.h
#include "tinytorch/profiling/averages.h"
//| export profiling/roofline.cpp
#include <algorithm>

// %%
#include "tito/lesson.h"
#include "tito/scratch.h"
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/models/gpt.h"
#include "tinytorch/models/resnet.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/conv.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/nn/mlp.h"
#include "tinytorch/optim/adam.h"
#include "tinytorch/profiling/flame.h"
#include "tinytorch/profiling/flops.h"
#include "tinytorch/profiling/peaks.h"
#include "tinytorch/profiling/profiler.h"
#include "tinytorch/profiling/pictures.h"
#include "tinytorch/profiling/roofline.h"
#include "tinytorch/profiling/text_table.h"
#include "tinytorch/profiling/trace.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Part 1: Foundations
//
// ### Two ways to look at a running program
//
// A *sampling* profiler (perf, for example) stops the program a thousand times a second and notes where it is. It needs no help from the program, costs little, and knows functions and lines, but neither shapes nor what belongs together. A *tracing* profiler is told by the program when something begins and ends. It sees each call
// with everything that is known about it, and it costs something for each call. Frameworks trace, because "mm of (128, 784) by (784, 512), called by the second Linear" is what their users want to know.
//
//       time ───────────────────────────────────────────────────────────────────────────►
//       sampling     x         x         x         x         x         x         x          where am I?
//       tracing      [ Linear [ mm         ] [ add ] ]   [ relu ]   [ Linear [ mm   ] ...     what began, what ended?
//
// A record of beginnings and ends, each with a time, is all there is to it. What makes it useful is structure. Calls in one thread nest: what began last ends first. So the events of a thread form a forest, and each event has two times:
//
//       total = end - begin                        of everything that happened inside
//       self  = total - total of its children      what this event did itself
//
// Self times of all events add up to the time that was covered by events. Total times do not: a child's time is counted again in its parent, so their sum may exceed the time that passed. With n events both are computed in O(n).
//
// ### What is written down
//
// An event knows its name, its thread, when it began and ended, and its parent, as an index into the list of events. A parent always stands before its children. It also has the tensors that went in and came out, reduced to what costs little: sizes, dtype, and how many
// bytes they occupy. (A tensor that was stretched by `expand` has many elements and few bytes; bytes are what memory has to deliver.)

// %%
//| export profiling/events.h
namespace autograd::profiler {

// What is kept of a tensor that went into an operator, or came out.
struct TensorInfo {
  DimVector sizes{};
  ScalarType dtype = kFloat;
  std::int64_t bytes = 0;         // of its distinct elements: a dimension of stride 0 counts once
  const void* storage = nullptr;  // whose bytes they are; to be compared, not followed
  std::int64_t numel() const;
};
TensorInfo info_of(const TensorImpl& tensor);

// One thing that happened in one thread. Times are in nanoseconds from the start of the profile. Source: torch/autograd/profiler_util.py (FunctionEvent).
struct FunctionEvent {
  std::string name{};
  RecordScope scope = RecordScope::FUNCTION;
  Layer layer{};                       // of an operator: the lowest layer that ran, which did the work
  const void* source = nullptr;        // the operator or module
  std::uint64_t thread = 0;            // 1, 2, ... in the order in which threads appeared
  std::int64_t start_ns = 0;
  std::int64_t end_ns = 0;
  std::int64_t parent = -1;            // the event around it, by index; -1 for none
  std::vector<TensorInfo> inputs{};
  std::vector<TensorInfo> outputs{};
  std::vector<std::uint64_t> nodes{};  // sequence numbers of the nodes that it recorded for the backward pass
  std::int64_t sequence_nr = -1;       // of a BACKWARD_FUNCTION: the number of its node
  std::int64_t forward = -1;           // of a BACKWARD_FUNCTION: the event that recorded its node, by index

  std::int64_t self_cpu_time_ns = 0;
  std::int64_t self_cpu_memory_usage = 0;  // bytes taken less bytes given back, without its children's
  std::int64_t cpu_memory_usage = 0;       // and with them
  std::int64_t self_allocations = 0;       // calls that took memory, without its children's
  std::int64_t peak_memory = 0;            // the most bytes that were live during it, above those at its start
  std::int64_t live_at_start = 0;
  std::int64_t flops = 0;                  // by the formula of its operator; 0 where there is none
  std::int64_t bytes = 0;                  // that must be moved at least
  std::int64_t self_flops = 0;             // of these, what no operator that it called has counted: the work of its self time
  std::int64_t self_bytes = 0;

  std::int64_t cpu_time_ns() const { return end_ns - start_ns; }
};

}  // namespace autograd::profiler

// %%
//| export profiling/events.cpp
std::int64_t autograd::profiler::TensorInfo::numel() const { return multiply_sizes(sizes); }

autograd::profiler::TensorInfo autograd::profiler::info_of(const TensorImpl& tensor) {
  std::int64_t distinct = 1;
  for (std::size_t i = 0; i < tensor.sizes.size(); ++i) distinct *= tensor.strides[i] == 0 && tensor.sizes[i] > 0 ? 1 : tensor.sizes[i];
  return {tensor.sizes, tensor.dtype, distinct * static_cast<std::int64_t>(elementSize(tensor.dtype)), tensor.storage.get()};
}

// %%
TEST_CASE("info_of: sizes, dtype, and the bytes that memory has to deliver") {
  const Tensor x = ones({3}, kDouble);
  CHECK_EQ(autograd::profiler::info_of(x.impl()).bytes, 24);
  CHECK(autograd::profiler::info_of(x.impl()).dtype == kDouble);
  const autograd::profiler::TensorInfo stretched = autograd::profiler::info_of(x.expand({100, 3}).impl());
  CHECK_EQ(stretched.numel(), 300);
  CHECK_EQ(stretched.bytes, 24);  // three distinct elements
  CHECK_EQ(stretched.storage, x.storage().get());
}

// %% [markdown]
// ### The recorder of one thread
//
// The recorder keeps a stack of the events that are open. A call that begins becomes a child of the innermost open one, a call that ends closes itself:
//
//       begin(Linear)        open: Linear                 events: Linear
//       begin(mm)            open: Linear, mm             events: Linear, mm (parent 0)
//       end(mm)              open: Linear                         mm has its end
//       begin(add)           open: Linear, add            events: Linear, mm, add (parent 0, not 1!)
//
// Two things make it less simple. First, an operator calls *itself*: the layer Autograd records a node, switches itself off, and calls the operator again (module 01), so that one `mm` begins two or three times.
//
//       op::mm ─► Autograd ─► op::mm ─► HalfPrecision ─► op::mm ─► CPU        three calls of one operator object, one event
//
// We want one event, and it should say which layer did the work: the lowest. An operator that begins directly inside of itself is its own next layer. Second, a user may end an outer part before an inner one. Whatever was begun inside of it then ends with it.
//
// The recorder has no clock and no lock, so that it can be tested with times that we choose.

// %%
//| export profiling/recorder.h
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

// %%
//| export profiling/recorder.cpp
autograd::profiler::BoundedTimeline::BoundedTimeline(std::size_t capacity) : capacity_(capacity) { points_.reserve(capacity); }

// %% {"nbgrader": {"grade": false, "grade_id": "14-begin", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export profiling/recorder.cpp
// Opens an event. Its contract stands at the declaration.
//
// TODO: Find the parent, unless the innermost open event is this one at another layer.
// APPROACH: 1. Is an event open? The innermost is event(open_.back()). 2. If both are of scope FUNCTION and have the same source, which is not null: that event's layer becomes the lower of the two; return kSameEvent.
//           3. Else the innermost is the parent. 4. Put the event at the end of events_ and its index on open_; return the index.
// EXAMPLE: Linear, then mm inside of it, then mm again with the same source: two events, and mm's parent is 0.
// HINT: layers compare with <; std::min takes the lower one.
std::int64_t autograd::profiler::EventRecorder::begin(FunctionEvent event) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}

// %%
//| mistake 14-begin parent-is-the-last-event
//| says The parent is the innermost event that is still open, not the one that was written down last: that one may have ended long ago.
#if 0
std::int64_t autograd::profiler::EventRecorder::begin(FunctionEvent event) {
  if (!open_.empty()) {
    FunctionEvent& around = this->event(open_.back());
    if (event.scope == around.scope && event.source != nullptr && event.source == around.source) {
      around.layer = std::min(around.layer, event.layer);
      return kSameEvent;
    }
    event.parent = static_cast<std::int64_t>(events_.size()) - 1;
  }
  events_.push_back(std::move(event));
  open_.push_back(static_cast<std::int64_t>(events_.size()) - 1);
  return open_.back();
}
#endif

// %%
//| mistake 14-begin one-event-per-layer
//| says An operator that calls itself at the next layer is one event, not two. Otherwise every operator with gradients is counted twice.
#if 0
std::int64_t autograd::profiler::EventRecorder::begin(FunctionEvent event) {
  event.parent = open_.empty() ? -1 : open_.back();
  events_.push_back(std::move(event));
  open_.push_back(static_cast<std::int64_t>(events_.size()) - 1);
  return open_.back();
}
#endif

// %% {"nbgrader": {"grade": false, "grade_id": "14-end", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export profiling/recorder.cpp
// Closes an event and those inside of it. Its contract stands at the declaration.
//
// TODO: Take events off the stack, with this time as their end, down to the one that was asked for.
// APPROACH: 1. If `index` is not on open_, return. 2. Take the last off open_, set its end_ns, and go on until that was `index`.
// EXAMPLE: open: 0, 3, 4. end(3, t) closes 4 and 3; 0 stays open.
// HINT: std::find searches open_; only the last element may be taken off.
void autograd::profiler::EventRecorder::end(std::int64_t index, std::int64_t time_ns) {
  // BEGIN SOLUTION
  if (std::find(open_.begin(), open_.end(), index) == open_.end()) return;
  std::int64_t closed = -1;
  while (closed != index) {
    closed = open_.back();
    open_.pop_back();
    event(closed).end_ns = time_ns;
  }
  // END SOLUTION
}

// %%
//| mistake 14-end closes-the-top
//| says The top of the stack need not be the event that ends: one inside of it may have been left open. Close down to `index`, and nothing at all if it is closed already.
#if 0
void autograd::profiler::EventRecorder::end(std::int64_t index, std::int64_t time_ns) {
  if (open_.empty()) return;
  event(index).end_ns = time_ns;
  open_.pop_back();
}
#endif

// %%
//| export profiling/recorder.cpp
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

// %%
//| lesson
using namespace autograd::profiler;

// An event with what the tests below need.
FunctionEvent made(std::string name, std::int64_t start = 0, std::int64_t end = 0, std::int64_t parent = -1) {
  FunctionEvent event;
  event.name = std::move(name);
  event.start_ns = start;
  event.end_ns = end;
  event.parent = parent;
  return event;
}

// Addresses for sources.
constexpr char kSources[3] = {};

FunctionEvent call_of(std::string name, const void* source, Layer layer) {
  FunctionEvent event = made(std::move(name));
  event.source = source;
  event.layer = layer;
  return event;
}

// %% {"nbgrader": {"grade": true, "grade_id": "14-recorder-test", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("recorder: events nest as the calls did, and an operator is one event at all of its layers") {
  EventRecorder recorder;
  const std::int64_t linear = recorder.begin(made("Linear", 10));
  const std::int64_t mm = recorder.begin(call_of("mm", &kSources[0], Layer::Autograd));
  CHECK_EQ(recorder.begin(call_of("mm", &kSources[0], Layer::CPU)), EventRecorder::kSameEvent);
  recorder.end(EventRecorder::kSameEvent, 25);  // the inner call ends: nothing of its own to close
  recorder.node(41);
  recorder.end(mm, 30);
  const std::int64_t add = recorder.begin(call_of("add", &kSources[1], Layer::CPU));
  recorder.end(add, 40);
  recorder.end(linear, 50);
  const std::int64_t relu = recorder.begin(made("relu", 60));
  recorder.end(relu, 70);
  recorder.end(relu, 99);  // closed already
  const std::vector<FunctionEvent> events = recorder.take(100);
  REQUIRE_EQ(events.size(), 4);
  CHECK_EQ(events[0].parent, -1);
  CHECK_EQ(events[1].parent, 0);
  CHECK_EQ(events[2].parent, 0);
  CHECK_EQ(events[3].parent, -1);
  CHECK_EQ(events[0].end_ns, 50);
  CHECK_EQ(events[1].end_ns, 30);
  CHECK_EQ(events[3].end_ns, 70);
  CHECK(events[1].layer == Layer::CPU);
  CHECK_EQ(events[1].nodes.size(), 1);
  CHECK(recorder.take(0).empty());
}

TEST_CASE("recorder: what is inside ends with what is around it") {
  EventRecorder recorder;
  const std::int64_t outer = recorder.begin(made("outer", 0));
  const std::int64_t middle = recorder.begin(made("middle", 1));
  const std::int64_t inner = recorder.begin(made("inner", 2));
  recorder.end(middle, 10);
  recorder.end(inner, 15);  // too late: it ended with `middle`
  const std::int64_t next = recorder.begin(made("next", 16));
  recorder.end(next, 18);
  std::vector<FunctionEvent> events = recorder.take(20);
  CHECK_EQ(outer, 0);
  REQUIRE_EQ(events.size(), 4);
  CHECK_EQ(events[1].end_ns, 10);
  CHECK_EQ(events[2].end_ns, 10);
  CHECK_EQ(events[3].parent, 0);
  CHECK_EQ(events[0].end_ns, 20);  // never ended: it ends when the events are taken
  // BEGIN HIDDEN TESTS
  // Two events without a source are two events; so are two modules.
  recorder.begin(made("a"));
  CHECK_NE(recorder.begin(made("a")), EventRecorder::kSameEvent);
  FunctionEvent module = call_of("Block", &kSources[2], Layer::CPU);
  module.scope = RecordScope::MODULE;
  recorder.begin(module);
  CHECK_NE(recorder.begin(module), EventRecorder::kSameEvent);
  events = recorder.take(1);
  CHECK_EQ(events.size(), 4);
  CHECK_EQ(events[3].parent, 2);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Design: a timeline of bounded size
//
// Every allocation is a point of the memory timeline. A training run of an hour allocates a hundred million times; nobody wants a profile that is larger than the model. On the other hand the one moment of peak memory is what everybody looks for, and it may last a microsecond. So we want *at most* `capacity` points, of any number that is added:
//
//       live  ^        x                                     added: one point for each allocation
//             |   x xx   xx x  x x
//             | xx  x  xx  x xx x xx
//             +-----------------------> time
//             |        o                                     kept: few, the peak among them, spread over the whole time
//             |   o         o    o
//             | o                    o
//
// **Contract** of `BoundedTimeline::add(time_ns, live)`. Times do not go back. After each call:
//
// - `points()` has at most `capacity` points, in order of time, and the vector has not been reallocated;
// - the largest `live` that was ever added is the `live` of some point, whose time is that at which it was added;
// - while there were no more than `capacity` different times, each of them has a point with the largest `live` of that time;
// - later, the points still cover the whole time: between two neighbours lies no more than `8 / capacity` of the time since the first point, if points were added evenly;
// - n calls take O(n) together.
//
// How you make room when the points are full is your decision: which points go, what one that stays stands for, and what you keep beside them (`every_ns_` is there if you want it; other members may be added).
//
// The design that first comes to mind, dropping every second point whenever the points are full, thins out the oldest ones again and again: after ten rounds the first half of the run is a single point.

// %% {"nbgrader": {"grade": false, "grade_id": "14-timeline", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export profiling/recorder.cpp
//| exercise design
// Adds a point, and makes room when the points are full. Its contract stands in the text above.
//
// TODO: Decide what a point stands for when there is no room for all, and keep the contract.
void autograd::profiler::BoundedTimeline::add(std::int64_t time_ns, std::int64_t live) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}

// %%
//| mistake 14-timeline drops-every-second
//| says Every second point was dropped, whatever it held: the peak may be among them, and the oldest points are thinned out each time.
#if 0
void autograd::profiler::BoundedTimeline::add(std::int64_t time_ns, std::int64_t live) {
  if (points_.size() == capacity_) {
    for (std::size_t i = 0; i < capacity_ / 2; ++i) points_[i] = points_[2 * i];
    points_.resize(capacity_ / 2);
  }
  points_.push_back({time_ns, live});
}
#endif

// %%
//| mistake 14-timeline a-ring
//| says A ring keeps the newest points only. The timeline must cover the whole run, and the peak may lie at its beginning.
#if 0
void autograd::profiler::BoundedTimeline::add(std::int64_t time_ns, std::int64_t live) {
  if (points_.size() == capacity_) points_.erase(points_.begin());
  points_.push_back({time_ns, live});
}
#endif

// %%
//| export profiling/recorder.cpp
void autograd::profiler::BoundedTimeline::clear() {
  points_.clear();
  every_ns_ = 1;
}

// %% {"nbgrader": {"grade": true, "grade_id": "14-timeline-test", "locked": true, "points": 7, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("timeline: few points, the peak among them, spread over the whole run") {
  BoundedTimeline exact(8);
  for (int i = 0; i < 8; ++i) exact.add(100 * i, 10 + i);
  exact.add(700, 3);  // the same time again, with less
  REQUIRE_EQ(exact.points().size(), 8);
  for (int i = 0; i < 8; ++i) {
    CHECK_EQ(exact.points()[static_cast<std::size_t>(i)].time_ns, 100 * i);
    CHECK_EQ(exact.points()[static_cast<std::size_t>(i)].live, 10 + i);
  }

  for (const std::int64_t peak_at : {3, 4, 777, 50000, 99999}) {
    CAPTURE(peak_at);
    BoundedTimeline timeline(64);
    const MemoryEvent* const where = timeline.points().data();
    for (std::int64_t i = 0; i < 100000; ++i) timeline.add(1000 + 7 * i, i == peak_at ? 1000000 : i % 1000);
    const std::vector<MemoryEvent>& points = timeline.points();
    CHECK_LE(points.size(), 64);
    CHECK_GE(points.size(), 16);
    CHECK_EQ(points.data(), where);
    const auto largest = std::max_element(points.begin(), points.end(), [](const auto& a, const auto& b) { return a.live < b.live; });
    CHECK_EQ(largest->live, 1000000);
    CHECK_EQ(largest->time_ns, 1000 + 7 * peak_at);
    std::int64_t widest = points.front().time_ns - 1000;
    for (std::size_t i = 1; i < points.size(); ++i) {
      CHECK_LT(points[i - 1].time_ns, points[i].time_ns);
      widest = std::max(widest, points[i].time_ns - points[i - 1].time_ns);
    }
    CHECK_LE(widest, 7 * 100000 / 8);
  }
  // BEGIN HIDDEN TESTS
  BoundedTimeline same(8);  // many changes at one time, then a pause of an hour
  for (int i = 0; i < 100; ++i) same.add(5, i);
  same.add(3600000000000, 1);
  REQUIRE_EQ(same.points().size(), 2);
  CHECK_EQ(same.points()[0].live, 99);
  CHECK_EQ(same.points()[1].time_ns, 3600000000000);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Self and total
//
// With parents known, self times are one pass over the events: each takes its own time away from its parent.
//
//       total    Linear 40 ─┬─ mm 20                       self    Linear 40 - 20 - 10 = 10
//                           └─ add 10 ── copy_ 4                   mm 20
//                                                                  add 10 - 4 = 6,  copy_ 4          together 40
//
// Only *direct* children are taken away. `copy_` is a part of `add`, so it has left `Linear` with `add` already.
//
// Memory goes the other way: what an allocation costs is noted where it happened, and an event's total is its own and that of its children. A parent stands before its children, so a pass from the last event to the first adds children up before their parents are asked.

// %%
//| export profiling/events.h
namespace autograd::profiler {

// Fills in self_cpu_time_ns of all events, from their times and parents. O(events).
void compute_self_times(std::vector<FunctionEvent>& events);
// Fills in cpu_memory_usage, from self_cpu_memory_usage and the parents. REQUIRES: parents stand before their children. O(events).
void add_up_memory(std::vector<FunctionEvent>& events);
// Fills in `forward` of the nodes of backward passes. O(events).
void link_backward(std::vector<FunctionEvent>& events);

}  // namespace autograd::profiler

// %% {"nbgrader": {"grade": false, "grade_id": "14-self-times", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export profiling/events.cpp
// Its contract stands at the declaration.
//
// TODO: Give every event its own time, and take it away from its parent's.
// APPROACH: 1. self = total for all. 2. For each event with a parent: the parent's self less this event's *total*.
// EXAMPLE: Linear 40 with mm 20 and add 10, which has copy_ 4: 10, 20, 6, 4. They add up to 40.
// HINT: parents are indices of type int64_t; static_cast<std::size_t>(event.parent).
void autograd::profiler::compute_self_times(std::vector<FunctionEvent>& events) {
  // BEGIN SOLUTION
  for (FunctionEvent& event : events) event.self_cpu_time_ns = event.cpu_time_ns();
  for (const FunctionEvent& event : events)
    if (event.parent >= 0) events[static_cast<std::size_t>(event.parent)].self_cpu_time_ns -= event.cpu_time_ns();
  // END SOLUTION
}

// %%
//| mistake 14-self-times takes-grandchildren-too
//| says A grandchild's time is in its parent's total already. Take only direct children away, or deep events are taken away once for each level.
#if 0
void autograd::profiler::compute_self_times(std::vector<FunctionEvent>& events) {
  for (FunctionEvent& event : events) event.self_cpu_time_ns = event.cpu_time_ns();
  for (const FunctionEvent& event : events)
    for (std::int64_t up = event.parent; up >= 0; up = events[static_cast<std::size_t>(up)].parent)
      events[static_cast<std::size_t>(up)].self_cpu_time_ns -= event.cpu_time_ns();
}
#endif

// %%
//| export profiling/events.cpp
void autograd::profiler::add_up_memory(std::vector<FunctionEvent>& events) {
  for (FunctionEvent& event : events) event.cpu_memory_usage = event.self_cpu_memory_usage;
  for (auto event = events.rbegin(); event != events.rend(); ++event)
    if (event->parent >= 0) events[static_cast<std::size_t>(event->parent)].cpu_memory_usage += event->cpu_memory_usage;
}

// %% {"nbgrader": {"grade": true, "grade_id": "14-self-times-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("self times: direct children are taken away, and what is left adds up") {
  std::vector<FunctionEvent> events = {made("Linear", 100, 140), made("mm", 102, 122, 0), made("add", 125, 135, 0), made("copy_", 127, 131, 2), made("relu", 150, 153)};
  compute_self_times(events);
  CHECK_EQ(events[0].self_cpu_time_ns, 10);
  CHECK_EQ(events[1].self_cpu_time_ns, 20);
  CHECK_EQ(events[2].self_cpu_time_ns, 6);
  CHECK_EQ(events[3].self_cpu_time_ns, 4);
  std::int64_t sum = 0;
  for (const FunctionEvent& event : events) sum += event.self_cpu_time_ns;
  CHECK_EQ(sum, 40 + 3);  // what the roots covered
  compute_self_times(events);  // again gives the same
  CHECK_EQ(events[0].self_cpu_time_ns, 10);

  events[1].self_cpu_memory_usage = 64;
  events[3].self_cpu_memory_usage = 32;
  events[0].self_cpu_memory_usage = -8;
  add_up_memory(events);
  CHECK_EQ(events[2].cpu_memory_usage, 32);
  CHECK_EQ(events[0].cpu_memory_usage, 64 + 32 - 8);
  CHECK_EQ(events[4].cpu_memory_usage, 0);
}

// %% [markdown]
// ### From a node of the backward pass to the line that caused it
//
// `MmBackward0` takes a third of the step. There are twelve `mm` in the model: which one is it? Nodes have sequence numbers (module 05 counts them up as they are recorded, so that the engine can run the youngest first). A number is on both sides: the operator that ran forward recorded node 41, and the engine later runs node 41.
//
//       forward, thread 1      [ Linear fc1 [ mm: records 40 ][ add: records 41 ] ] ...
//                                                 │ 40                │ 41
//       backward, thread 1           ...  [ AddBackward0: 41 [ sum ] ] [ MmBackward0: 40 [ mm ][ mm ] ]
//
// Three details. Some nodes have no number of their own: `AccumulateGrad` runs last of all and was recorded by nobody. A node may have been recorded before the profile began; then there is no forward event. And with `create_graph` a backward event records nodes itself, which a second backward pass runs: forward events are found by
// what they *recorded*, whatever their own kind.

// %% {"nbgrader": {"grade": false, "grade_id": "14-link", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export profiling/events.cpp
// Sets `forward` of each BACKWARD_FUNCTION to the index of the event that recorded its node; -1 if none of them did.
//
// TODO: Find, for each node that ran, the event that recorded it.
// APPROACH: 1. A map from sequence number to index, from the `nodes` of all events. 2. For each BACKWARD_FUNCTION look its sequence_nr up; if it is below 0 or not there, `forward` is -1.
// EXAMPLE: events {add, nodes {7}} and {AddBackward0, sequence_nr 7}: forward of the second is 0.
// HINT: std::unordered_map<std::uint64_t, std::int64_t>; `nodes` may hold several numbers.
void autograd::profiler::link_backward(std::vector<FunctionEvent>& events) {
  // BEGIN SOLUTION
  std::unordered_map<std::uint64_t, std::int64_t> recorded_by;
  for (std::size_t i = 0; i < events.size(); ++i)
    for (const std::uint64_t node : events[i].nodes) recorded_by[node] = static_cast<std::int64_t>(i);
  for (FunctionEvent& event : events) {
    event.forward = -1;
    if (event.scope != RecordScope::BACKWARD_FUNCTION || event.sequence_nr < 0) continue;
    if (const auto found = recorded_by.find(static_cast<std::uint64_t>(event.sequence_nr)); found != recorded_by.end()) event.forward = found->second;
  }
  // END SOLUTION
}

// %%
//| mistake 14-link by-name
//| says Two operators of one kind record two nodes of one name. Only the sequence number tells them apart.
#if 0
void autograd::profiler::link_backward(std::vector<FunctionEvent>& events) {
  for (FunctionEvent& event : events) {
    event.forward = -1;
    if (event.scope != RecordScope::BACKWARD_FUNCTION) continue;
    for (std::size_t i = 0; i < events.size(); ++i) {
      std::string name = events[i].name + "Backward0";
      name[0] = static_cast<char>(name[0] - 'a' + 'A');
      if (name == event.name && !events[i].nodes.empty()) event.forward = static_cast<std::int64_t>(i);
    }
  }
}
#endif

// %%
//| mistake 14-link first-node-only
//| says One event may record several nodes (a write in place through a view does). Enter all of its `nodes` into the map.
#if 0
void autograd::profiler::link_backward(std::vector<FunctionEvent>& events) {
  std::unordered_map<std::uint64_t, std::int64_t> recorded_by;
  for (std::size_t i = 0; i < events.size(); ++i)
    if (!events[i].nodes.empty()) recorded_by[events[i].nodes[0]] = static_cast<std::int64_t>(i);
  for (FunctionEvent& event : events) {
    event.forward = -1;
    if (event.scope != RecordScope::BACKWARD_FUNCTION || event.sequence_nr < 0) continue;
    if (const auto found = recorded_by.find(static_cast<std::uint64_t>(event.sequence_nr)); found != recorded_by.end()) event.forward = found->second;
  }
}
#endif

// %%
//| lesson
FunctionEvent node_event(std::string name, std::int64_t sequence_nr) {
  FunctionEvent event = made(std::move(name));
  event.scope = RecordScope::BACKWARD_FUNCTION;
  event.sequence_nr = sequence_nr;
  return event;
}

FunctionEvent recording(std::string name, std::vector<std::uint64_t> nodes) {
  FunctionEvent event = made(std::move(name));
  event.nodes = std::move(nodes);
  return event;
}

// %% {"nbgrader": {"grade": true, "grade_id": "14-link-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("link: a node belongs to the event that recorded its number") {
  std::vector<FunctionEvent> events = {recording("mm", {40}),      recording("relu", {}),        recording("mm", {42}),          recording("add_", {43, 44}),
                                       node_event("CopySlices", 44), node_event("MmBackward0", 42), node_event("MmBackward0", 40), node_event("AccumulateGrad", -1),
                                       node_event("ExpBackward0", 7)};
  events[6].nodes = {50};  // create_graph: a node that a node recorded
  events.push_back(node_event("MulBackward0", 50));
  link_backward(events);
  CHECK_EQ(events[4].forward, 3);
  CHECK_EQ(events[5].forward, 2);
  CHECK_EQ(events[6].forward, 0);
  CHECK_EQ(events[7].forward, -1);
  CHECK_EQ(events[8].forward, -1);  // recorded before the profile began
  CHECK_EQ(events[9].forward, 6);
  CHECK_EQ(events[0].forward, -1);
}

// %% [markdown]
// ### Arithmetic and bytes
//
// How much work was it? That follows from the shapes. A product (M, K) x (K, N) has M N results, each of them K multiplications and K additions:
//
//       mm (M, K) x (K, N)            2 M N K
//       bmm (B, M, K) x (B, K, N)     2 B M N K
//       addmm                         2 M N K            (the addition of `self` is not counted, as in PyTorch)
//       addmm with an activation      2 M N K + M N
//       convolution                   2 x results x (C / groups) x kernel        = 2 x results x weight.numel() / weight.size(0)
//       its two gradients             the same: each product of the forward pass is used once more in each
//       attention (B.., L, D), S keys 4 B.. L S D        two products
//       its gradient                  10 B.. L S D       the scores once more, and two products for each of the two
//       elementwise, reductions       1 for each element of the largest tensor that takes part
//         their gradients             2: the slope, and the product with what comes from behind
//       softmax, log_softmax          5: maximum, difference, exp, sum, division
//         their gradients             4: product, sum, difference, product;  6 for cross_entropy's: softmax, and a product
//       layer_norm, batch_norm,       8: 1 for the mean, 3 for the variance (difference, square, sum), 2 to normalize, 2 for weight and bias
//         group_norm; rms_norm           4: square, sum, two products
//         their gradients             twice as many as layer_norm
//       an optimizer's whole step     for each parameter: SGD 2, Adagrad 7, RMSprop 9, Adam 13, and 2 more for each further kind of state (momentum, amsgrad)
//       views, copies, gathers        0: they move or they do not even do that
//
// An exponential counts as one, although it costs ten times as much as an addition: FLOPs compare algorithms and place operators under a roofline; they are not seconds. (PyTorch's profiler counts less: with `with_flops` only mm, addmm, bmm, baddbmm, conv2d, add and mul; an exponential or a softmax is 0 there.)
//
// An operator may be composed of others: without a kernel of its own `layer_norm` calls `mean`, `sub` and so on, which are events inside of it, with counts of their own. So do not add up the rows of a table; a cell further down works out what is an operator's own.
//
// *Bytes* are what must be moved at least once: every input is read and every output written. A view moves nothing. A function in place reads and writes its first argument, unless it only writes (`copy_`, `fill_`, `zero_` and the random ones). What picks a part of its first argument (`embedding`, `index_select`, `gather`) or
// changes a part of it (`index_add_`, `scatter_`) moves that part: four rows of a table of 50,000 are four rows. A step of an optimizer reads everything that it is given and writes all but the gradients.

// %%
//| export profiling/flops.h
namespace autograd::profiler {

// Floating-point operations of one call of operator `event.name`, from the sizes of its inputs and outputs; 0 for an operator without a formula.
// Source: torch/csrc/profiler/util.cpp (computeFlops), which has formulas for fewer.
std::int64_t flops_of(const FunctionEvent& event);

// The bytes that the call must read and write at least. 0 for a view.
std::int64_t bytes_of(const FunctionEvent& event);

// Fills in self_flops and self_bytes, from flops, bytes and the parents. REQUIRES: parents stand before their children. O(events).
void compute_own_work(std::vector<FunctionEvent>& events);

}  // namespace autograd::profiler

// %%
//| export profiling/flops.cpp
namespace {
// Operations for each element of the largest tensor of the call.
const std::unordered_map<std::string, std::int64_t>& operations_per_element() {
  static const std::unordered_map<std::string, std::int64_t> table = [] {
    std::unordered_map<std::string, std::int64_t> made;
    for (const char* name : {"abs",     "add",        "add_",   "all",        "amax",       "amin",    "any",     "argmax", "argmin",     "atan",    "ceil",    "clamp",   "cos",
                             "cumsum",  "div",        "div_",   "elu",        "eq",         "erf",     "exp",     "expm1",  "floor",      "floor_divide", "ge", "gelu",    "gt",
                             "le",      "leaky_relu", "lerp",    "lerp_",  "log",        "log10",      "log1p",   "log2",    "lt",     "max",        "maximum", "min",     "minimum", "mul",
                             "mul_",    "ne",         "neg",    "norm",       "pow",        "pow_",    "prod",    "reciprocal", "relu",   "relu_",   "remainder", "round", "rsqrt",
                             "sigmoid", "sign",       "silu",   "sin",        "softplus",   "sqrt",    "sub",     "sub_",   "sum",        "tan",     "tanh",    "trunc",   "where"})
      made[name] = 1;
    for (const char* name : {"acos", "acosh", "asin", "asinh", "atan2", "atanh", "cosh", "erfc", "erfinv", "exp2", "fmod", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "hypot", "lgamma", "log_sigmoid", "logaddexp", "logit", "mean",
                             "mish", "prelu", "sinh", "softshrink", "threshold"})
      made[name] = 1;
    for (const char* name : {"elu_backward",       "gelu_backward", "gelu_tanh_backward", "glu_backward",  "hardswish_backward", "hardtanh_backward", "leaky_relu_backward",
                             "logit_backward", "relu_backward", "shrink_backward",    "sigmoid_backward", "silu_backward",   "softplus_backward", "channel_affine"})
      made[name] = 2;
    for (const char* name : {"addcmul", "addcdiv", "addcmul_", "addcdiv_", "var", "std"}) made[name] = 3;
    for (const char* name : {"softmax", "log_softmax", "cross_entropy"}) made[name] = 5;
    for (const char* name : {"softmax_backward", "log_softmax_backward", "rms_norm"}) made[name] = 4;
    made["cross_entropy_backward"] = 6;
    for (const char* name : {"layer_norm", "batch_norm", "group_norm"}) {
      made[name] = 8;
      made[name + std::string("_backward")] = 16;
    }
    return made;
  }();
  return table;
}

std::int64_t largest_numel(const autograd::profiler::FunctionEvent& event) {
  std::int64_t largest = 0;
  for (const auto& tensor : event.inputs) largest = std::max(largest, tensor.numel());
  for (const auto& tensor : event.outputs) largest = std::max(largest, tensor.numel());
  return largest;
}

// The whole step of an optimizer in one call. Its tensors are lists of the same length, one after the other: parameters, gradients, and a list for each kind of state.
struct WholeStep {
  const char* name;
  std::int64_t operations;  // for each parameter
  std::size_t fewest_lists, most_lists;
};

const WholeStep* whole_step(std::string_view name) {
  static constexpr WholeStep steps[] = {{"fused_sgd", 2, 2, 3}, {"fused_adagrad", 7, 3, 3}, {"fused_rmsprop", 9, 3, 5}, {"fused_adam", 13, 4, 5}};
  const auto found = std::find_if(std::begin(steps), std::end(steps), [&](const WholeStep& step) { return step.name == name; });
  return found == std::end(steps) ? nullptr : found;
}

// How many lists the tensors of such a call are: as few as their sizes allow. 0 if none fits.
std::size_t lists_of(const WholeStep& step, const std::vector<autograd::profiler::TensorInfo>& tensors) {
  for (std::size_t lists = step.fewest_lists; lists <= step.most_lists; ++lists) {
    const std::size_t length = tensors.size() / lists;
    if (length == 0 || length * lists != tensors.size()) continue;
    bool fits = true;
    for (std::size_t i = length; i < tensors.size(); ++i) fits = fits && IntArrayRef(tensors[i].sizes) == IntArrayRef(tensors[i - length].sizes);
    if (fits) return lists;
  }
  return 0;
}

// The kernel for a whole step runs in a layer of its own. On the layer CPU nothing happens in this call: the optimizer composes its step of other operators.
bool was_done(const autograd::profiler::FunctionEvent& event) { return event.layer != Layer::CPU; }

std::int64_t step_flops(const WholeStep& step, const autograd::profiler::FunctionEvent& event) {
  const std::size_t lists = was_done(event) ? lists_of(step, event.inputs) : 0;
  if (lists == 0) return 0;
  std::int64_t parameters = 0;
  for (std::size_t i = 0; i < event.inputs.size() / lists; ++i) parameters += event.inputs[i].numel();
  return (step.operations + 2 * static_cast<std::int64_t>(lists - step.fewest_lists)) * parameters;
}

std::int64_t step_bytes(const WholeStep& step, const autograd::profiler::FunctionEvent& event) {
  const std::size_t lists = was_done(event) ? lists_of(step, event.inputs) : 0;
  std::int64_t read = 0, gradients = 0;
  for (std::size_t i = 0; lists > 0 && i < event.inputs.size(); ++i) {
    const std::size_t length = event.inputs.size() / lists;
    read += event.inputs[i].bytes;
    if (i / length == 1) gradients += event.inputs[i].bytes;
  }
  return 2 * read - gradients;
}

// How many elements of its first tensor an operator picks or changes; -1 for one that needs all of them. Of index_put_, which may stretch its values and count a mask's elements, at least so many.
std::int64_t picked_numel(const autograd::profiler::FunctionEvent& event) {
  const auto& in = event.inputs;
  if (in.size() < 2 || event.outputs.empty()) return -1;
  for (const char* name : {"embedding", "gather", "index", "index_select"})
    if (event.name == name) return event.outputs[0].numel();
  if (event.name == "sum_bags") return in[0].sizes.empty() || in[0].sizes[0] == 0 ? -1 : in[1].numel() * (in[0].numel() / in[0].sizes[0]);
  for (const char* name : {"nll_loss", "nll_loss2d", "scatter_", "scatter_add_"})
    if (event.name == name) return in[1].numel();
  if (event.name == "index_add_" || event.name == "index_put_") return in.back().numel();
  return -1;
}
}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "14-product-flops", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export profiling/flops.cpp
// Operations of a product-like operator: mm, bmm, addmm, convolution, convolution_input, convolution_weight; -1 for another name. The tensors are, in order:
// mm and bmm (mat1, mat2); addmm (self, mat1, mat2); convolution (input, weight) -> result; convolution_input (gradient of the result, weight) -> gradient of the input;
// convolution_weight (input, gradient of the result) -> gradient of the weight.
//
// TODO: Count multiplications and additions from the sizes.
// APPROACH: 1. For the products: 2 * (elements of the result) * K, where K is the last size of mat1. 2. For the convolutions find the result of the *forward* convolution and the weight among
//           the tensors: 2 * result.numel() * weight.numel() / weight.sizes[0].
// EXAMPLE: mm of (2, 3) and (3, 4): 48. A convolution of 3 channels to 8 with 5x5 kernels and 8x28x28 results: 2 * 6272 * 75.
// HINT: the weight's gradient has the weight's sizes: it is the output of convolution_weight.
namespace {
std::int64_t product_flops(const autograd::profiler::FunctionEvent& event) {
  // BEGIN SOLUTION
  const auto& in = event.inputs;
  const auto& out = event.outputs;
  if (event.name == "mm" || event.name == "bmm") return 2 * out.at(0).numel() * in.at(0).sizes.data()[in.at(0).sizes.size() - 1];
  if (event.name == "addmm") return 2 * out.at(0).numel() * in.at(1).sizes[1];
  const auto convolution = [](const autograd::profiler::TensorInfo& result, const autograd::profiler::TensorInfo& weight) {
    return weight.numel() == 0 ? 0 : 2 * result.numel() * (weight.numel() / weight.sizes[0]);
  };
  if (event.name == "convolution") return convolution(out.at(0), in.at(1));
  if (event.name == "convolution_input") return convolution(in.at(0), in.at(1));
  if (event.name == "convolution_weight") return convolution(in.at(1), out.at(0));
  return -1;
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 14-product-flops no-factor-of-two
//| says Each of the K steps of a dot product is a multiplication *and* an addition: two operations.
#if 0
std::int64_t product_flops(const autograd::profiler::FunctionEvent& event) {
  const auto& in = event.inputs;
  const auto& out = event.outputs;
  if (event.name == "mm" || event.name == "bmm") return out.at(0).numel() * in.at(0).sizes.data()[in.at(0).sizes.size() - 1];
  if (event.name == "addmm") return out.at(0).numel() * in.at(1).sizes[1];
  if (event.name == "convolution") return out.at(0).numel() * (in.at(1).numel() / in.at(1).sizes[0]);
  if (event.name == "convolution_input") return in.at(0).numel() * (in.at(1).numel() / in.at(1).sizes[0]);
  if (event.name == "convolution_weight") return in.at(1).numel() * (out.at(0).numel() / out.at(0).sizes[0]);
  return -1;
}
#endif

// %%
//| mistake 14-product-flops always-the-output
//| says For the gradients of a convolution the output is not the forward result. Count the products of the forward pass: its result is the first input of convolution_input and the second of convolution_weight.
#if 0
std::int64_t product_flops(const autograd::profiler::FunctionEvent& event) {
  const auto& in = event.inputs;
  const auto& out = event.outputs;
  if (event.name == "mm" || event.name == "bmm") return 2 * out.at(0).numel() * in.at(0).sizes.data()[in.at(0).sizes.size() - 1];
  if (event.name == "addmm") return 2 * out.at(0).numel() * in.at(1).sizes[1];
  if (event.name.starts_with("convolution")) return 2 * out.at(0).numel() * (in.at(1).numel() / in.at(1).sizes[0]);
  return -1;
}
#endif

// %%
//| export profiling/flops.cpp
std::int64_t autograd::profiler::flops_of(const FunctionEvent& event) {
  if (event.scope != RecordScope::FUNCTION) return 0;
  if (const WholeStep* const step = whole_step(event.name)) return step_flops(*step, event);
  if (event.outputs.empty()) return 0;
  if (event.name == "_scaled_dot_product_flash_attention_for_cpu" && event.inputs.size() >= 2) {
    const DimVector& keys = event.inputs[1].sizes;
    return 4 * event.inputs[0].numel() * keys[keys.size() - 2];
  }
  if (event.name == "_scaled_dot_product_flash_attention_for_cpu_backward" && event.inputs.size() >= 3) {
    const DimVector& keys = event.inputs[2].sizes;  // behind the gradient of the result and the queries
    return 10 * event.inputs[1].numel() * keys[keys.size() - 2];
  }
  if (event.name == "_addmm_activation" && event.inputs.size() >= 2) return (2 * event.inputs[1].sizes[1] + 1) * event.outputs[0].numel();  // addmm, and the activation
  if (const std::int64_t products = product_flops(event); products >= 0) return products;
  const auto entry = operations_per_element().find(event.name);
  return entry == operations_per_element().end() ? 0 : entry->second * largest_numel(event);
}

std::int64_t autograd::profiler::bytes_of(const FunctionEvent& event) {
  if (event.scope != RecordScope::FUNCTION) return 0;
  if (const WholeStep* const step = whole_step(event.name)) return step_bytes(*step, event);
  const bool in_place = event.name.ends_with('_');
  bool only_writes = false;
  for (const char* name : {"copy_", "fill_", "zero_", "uniform_", "normal_", "random_", "bernoulli_", "exponential_", "scatter_", "index_put_"}) only_writes = only_writes || event.name == name;
  std::int64_t bytes = 0;
  for (std::size_t i = only_writes ? 1 : 0; i < event.inputs.size(); ++i) bytes += event.inputs[i].bytes;
  if (const std::int64_t picked = picked_numel(event); picked >= 0) {
    const TensorInfo& first = event.inputs[0];
    const std::int64_t part = std::min(first.bytes, picked * static_cast<std::int64_t>(elementSize(first.dtype)));
    if (in_place) return bytes - (only_writes ? 0 : first.bytes - part) + part;
    bytes -= first.bytes - part;
  }
  for (const TensorInfo& output : event.outputs) {
    const bool is_view = !in_place && std::any_of(event.inputs.begin(), event.inputs.end(), [&](const TensorInfo& input) { return input.storage == output.storage; });
    if (is_view) return 0;
    bytes += output.bytes;
  }
  return bytes;
}

// %% [markdown]
// An operator may be made of others. Here `addmm` calls `mm`, which multiplies; both count `2 M N K`, and each count is right for what was asked for. But whoever divides by *self* time must not count the work of a callee: the few microseconds that `addmm` itself takes would seem to do all the multiplying, and the operator would stand far
// above what the machine can do. So an operator's own work is its count, less what the operators that it called have counted:
//
//       addmm   48 FLOPs ──────────────────────────┐   own: 48 - 48 = 0          softmax   50 ──────────────────┐  own: 50 - 40 = 10
//       └─ mm   48 FLOPs ──────────────┐           │                             ├─ exp    10                   │
//                                      own: 48     self time of addmm            └─ sum, div, ... 30            self time of softmax
//
// Bytes go the same way: what a callee that computes has moved, its caller does not move again.

// %%
//| export profiling/flops.cpp
void autograd::profiler::compute_own_work(std::vector<FunctionEvent>& events) {
  // Of each event, what it and those inside of it have counted: an operator's count is for all of it.
  std::vector<std::int64_t> flops_inside(events.size(), 0), bytes_inside(events.size(), 0);
  for (std::size_t i = events.size(); i-- > 0;) {
    FunctionEvent& event = events[i];
    event.self_flops = std::max<std::int64_t>(0, event.flops - flops_inside[i]);
    event.self_bytes = std::max<std::int64_t>(0, event.bytes - bytes_inside[i]);
    if (event.parent < 0) continue;
    const auto parent = static_cast<std::size_t>(event.parent);
    flops_inside[parent] += std::max(event.flops, flops_inside[i]);
    bytes_inside[parent] += event.flops > 0 ? std::max(event.bytes, bytes_inside[i]) : bytes_inside[i];  // a copy for a caller that computes is no part of the caller's work
  }
}

// %%
//| lesson
// A call of `name` with tensors of these sizes, each in a storage of its own.
FunctionEvent call_with(std::string name, const std::vector<DimVector>& inputs, const std::vector<DimVector>& outputs) {
  FunctionEvent event = made(std::move(name));
  const auto info = [](const DimVector& sizes) { return info_of(empty(sizes).impl()); };
  for (const DimVector& sizes : inputs) event.inputs.push_back(info(sizes));
  for (const DimVector& sizes : outputs) event.outputs.push_back(info(sizes));
  for (std::size_t i = 0; i < event.outputs.size(); ++i) event.outputs[i].storage = &kSources[i];
  for (TensorInfo& input : event.inputs) input.storage = nullptr;
  return event;
}

// %% {"nbgrader": {"grade": true, "grade_id": "14-product-flops-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("flops and bytes: from the shapes alone") {
  CHECK_EQ(flops_of(call_with("mm", {{2, 3}, {3, 4}}, {{2, 4}})), 48);
  CHECK_EQ(flops_of(call_with("bmm", {{5, 2, 3}, {5, 3, 4}}, {{5, 2, 4}})), 240);
  CHECK_EQ(flops_of(call_with("addmm", {{4}, {2, 3}, {3, 4}}, {{2, 4}})), 48);
  CHECK_EQ(flops_of(call_with("convolution", {{1, 3, 32, 32}, {8, 3, 5, 5}}, {{1, 8, 28, 28}})), 2 * 6272 * 75);
  CHECK_EQ(flops_of(call_with("convolution_input", {{1, 8, 28, 28}, {8, 3, 5, 5}}, {{1, 3, 32, 32}})), 2 * 6272 * 75);
  CHECK_EQ(flops_of(call_with("convolution_weight", {{1, 3, 32, 32}, {1, 8, 28, 28}}, {{8, 3, 5, 5}})), 2 * 6272 * 75);
  CHECK_EQ(flops_of(call_with("add", {{2, 1}, {1, 5}}, {{2, 5}})), 10);  // broadcast
  CHECK_EQ(flops_of(call_with("sum", {{6, 7}}, {{}})), 42);
  CHECK_EQ(flops_of(call_with("softmax", {{4, 10}}, {{4, 10}})), 200);
  CHECK_EQ(flops_of(call_with("_scaled_dot_product_flash_attention_for_cpu", {{2, 4, 8, 16}, {2, 4, 9, 16}, {2, 4, 9, 16}}, {{2, 4, 8, 16}})), 4 * 2 * 4 * 8 * 9 * 16);
  CHECK_EQ(flops_of(call_with("gather", {{4, 4}, {4, 4}}, {{4, 4}})), 0);
  CHECK_EQ(flops_of(call_with("_scaled_dot_product_flash_attention_for_cpu_backward", {{2, 4, 8, 16}, {2, 4, 8, 16}, {2, 4, 9, 16}, {2, 4, 9, 16}}, {{2, 4, 8, 16}})), 10 * 2 * 4 * 8 * 9 * 16);
  CHECK_EQ(flops_of(call_with("_addmm_activation", {{4}, {2, 3}, {3, 4}}, {{2, 4}})), 48 + 8);
  CHECK_EQ(flops_of(call_with("layer_norm", {{2, 5}, {5}, {5}}, {{2, 5}})), 80);
  CHECK_EQ(flops_of(call_with("layer_norm_backward", {{2, 5}, {2, 5}, {5}}, {{2, 5}, {5}, {5}})), 160);
  CHECK_EQ(flops_of(call_with("relu_backward", {{7}, {7}}, {{7}})), 14);

  CHECK_EQ(bytes_of(call_with("mm", {{2, 3}, {3, 4}}, {{2, 4}})), 4 * (6 + 12 + 8));
  CHECK_EQ(bytes_of(call_with("copy_", {{8}, {8}}, {{8}})), 4 * (8 + 8));        // reads one, writes the other
  CHECK_EQ(bytes_of(call_with("add_", {{8}, {8}}, {{8}})), 4 * (8 + 8 + 8));     // reads both, writes one
  FunctionEvent view = call_with("view", {{2, 3}}, {{6}});
  view.outputs[0].storage = view.inputs[0].storage;
  CHECK_EQ(bytes_of(view), 0);
}

// %%
TEST_CASE("bytes: of a table the rows that are picked or changed, and of a step all that it writes") {
  const auto with_indices = [](FunctionEvent event) {
    event.inputs[1].dtype = kLong;
    event.inputs[1].bytes *= 2;
    return event;
  };
  CHECK_EQ(bytes_of(with_indices(call_with("index_select", {{50000, 768}, {4}}, {{4, 768}}))), 2 * 4 * 768 * 4 + 4 * 8);
  CHECK_EQ(bytes_of(with_indices(call_with("embedding", {{50257, 64}, {128}}, {{128, 64}}))), 2 * 128 * 64 * 4 + 128 * 8);
  CHECK_EQ(bytes_of(with_indices(call_with("embedding", {{2, 64}, {128}}, {{128, 64}}))), (2 + 128) * 64 * 4 + 128 * 8);  // a row again costs nothing
  CHECK_EQ(bytes_of(with_indices(call_with("index_add_", {{50000, 8}, {3}, {3, 8}}, {{50000, 8}}))), 3 * (3 * 8 * 4) + 3 * 8);
  CHECK_EQ(bytes_of(with_indices(call_with("scatter_", {{50000}, {3}, {3}}, {{50000}}))), 2 * 3 * 4 + 3 * 8);
  CHECK_EQ(bytes_of(with_indices(call_with("nll_loss", {{32, 1000}, {32}}, {{}}))), 32 * 4 + 32 * 8 + 4);
  // Adam: two parameters, their gradients, and two lists of means. All is read, and all but the gradients is written.
  FunctionEvent step = call_with("fused_adam", {{3, 4}, {5}, {3, 4}, {5}, {3, 4}, {5}, {3, 4}, {5}}, {});
  step.layer = Layer::TunedCPU;
  CHECK_EQ(bytes_of(step), (4 + 3) * 17 * 4);
  CHECK_EQ(flops_of(step), 13 * 17);
  FunctionEvent momentum = call_with("fused_sgd", {{3, 4}, {5}, {3, 4}, {5}, {3, 4}, {5}}, {});
  momentum.layer = Layer::TunedCPU;
  CHECK_EQ(bytes_of(momentum), (3 + 2) * 17 * 4);
  CHECK_EQ(flops_of(momentum), 4 * 17);
  step.layer = Layer::CPU;  // nothing was done there
  CHECK_EQ(flops_of(step), 0);
  CHECK_EQ(bytes_of(step), 0);
}

// %%
TEST_CASE("own work: what the operators that it called have counted is not counted again") {
  // addmm calls mm, which has its operand copied first; softmax calls exp and sum; a module and a node of the backward pass stand between without a count of their own.
  std::vector<FunctionEvent> events = {made("Linear", 0, 100), made("addmm", 0, 90, 0), made("mm", 10, 80, 1), made("copy_", 10, 20, 2), made("softmax", 100, 150), made("exp", 100, 120, 4), made("sum", 120, 130, 4)};
  const auto counted = [&](std::size_t i, std::int64_t flops, std::int64_t bytes) {
    events[i].flops = flops;
    events[i].bytes = bytes;
  };
  counted(1, 48, 120);
  counted(2, 48, 104);
  counted(3, 0, 48);
  counted(4, 50, 80);
  counted(5, 10, 80);
  counted(6, 10, 44);
  compute_own_work(events);
  CHECK_EQ(events[1].self_flops, 0);
  CHECK_EQ(events[1].self_bytes, 16);
  CHECK_EQ(events[2].self_flops, 48);
  CHECK_EQ(events[2].self_bytes, 104);
  CHECK_EQ(events[4].self_flops, 30);
  CHECK_EQ(events[4].self_bytes, 0);
  CHECK_EQ(events[0].self_flops, 0);
}

// %% [markdown]
// ### All threads at once
//
// Now the recorder meets a program with threads: loader workers, several backward passes. Each thread has a recorder of its own, so that calls do not wait for one another. At the end someone must collect all of them, perhaps while their threads are still running, so each recorder has a lock, too. It is nearly always free, and taking a free lock
// costs some nanoseconds.
//
//       thread 1     thread 2     thread 3 (has ended)        registry, for ever
//       recorder     recorder     recorder                    ┌──────────────────────────┐
//          ▲            ▲            ▲                        │ slot 1 | slot 2 | slot 3 │ ◄─ collect: lock each, take its events
//          └────────────┴────────────┴── each slot: lock, session, recorder ─────────────┘
//
// What can go wrong is always about time of life. A profile ends while a worker is in the middle of an operator: its `end` comes when the events have been taken away, or, worse, when a *second* profile has begun and the same index means another event. So each profile has a session number, calls remember in which session they began, and the `end`
// of another session is ignored. Slots belong to the process and not to the profile; a slot whose thread has ended is used again.

// %%
//| export profiling/profiler.h
namespace autograd::profiler {

// What to record, beside names and times. All of it is on by default: Part 2 of the lesson measures what it costs.
struct ProfilerConfig {
  bool report_input_shapes = true;  // sizes and dtypes; without them there are no FLOPs and no bytes
  bool profile_memory = true;       // allocations, by event and over time
  bool with_modules = true;         // the forward pass of modules that are called as net(x), or inside of a Sequential
};

// A finished record. Source: torch/csrc/autograd/profiler_kineto.h (ProfilerResult).
class ProfilerResult {
 public:
  ProfilerResult() = default;
  ProfilerResult(std::vector<FunctionEvent> events, std::vector<MemoryEvent> memory, std::int64_t duration_ns);

  // The events of one thread after another, each thread's in the order in which they began; parents stand before their children.
  const std::vector<FunctionEvent>& events() const { return events_; }
  // Bytes held by tensors of the whole process, in order of time.
  const std::vector<MemoryEvent>& memory_timeline() const { return memory_; }
  std::int64_t duration_ns() const { return duration_ns_; }
  EventList key_averages(bool group_by_input_shape = false) const;
  // Writes a trace that Chrome (about:tracing) and Perfetto (ui.perfetto.dev) open. Throws Error if the file cannot be written.
  void save(const std::string& path) const;
  // Puts the names that parts of `root` have in its tree before the events of these modules: "Linear" becomes "fc1 (Linear)".
  void name_modules(const nn::Module& root, const std::string& prefix = "model");

 private:
  std::vector<FunctionEvent> events_;
  std::vector<MemoryEvent> memory_;
  std::int64_t duration_ns_ = 0;
};

// Begins to record what all threads do. One profile at a time: throws Error if one is running.
void enableProfiler(const ProfilerConfig& config = {});
// Ends the profile and returns what was recorded; what is not finished ends now. Throws Error if none is running.
ProfilerResult disableProfiler();
bool profilerEnabled();

// Profiles a scope:
//
//     autograd::profiler::profile profile;
//     train_step();
//     profile.stop();
//     std::cout << profile.result().key_averages().table();
//
// Source: torch/autograd/profiler.py.
class profile {
 public:
  explicit profile(const ProfilerConfig& config = {});
  ~profile();
  profile(const profile&) = delete;
  profile& operator=(const profile&) = delete;

  void stop();
  // REQUIRES: stop() was called; throws Error otherwise.
  const ProfilerResult& result() const;
  ProfilerResult& result();

 private:
  bool running_ = true;
  ProfilerResult result_;
};

// Profiles a scope and saves its trace as the file `path`. A trace that cannot be written is a warning. Source: torch/csrc/autograd/profiler_legacy.h.
class RecordProfile {
 public:
  explicit RecordProfile(std::string path) : path_(std::move(path)) { enableProfiler(); }
  ~RecordProfile();
  RecordProfile(const RecordProfile&) = delete;
  RecordProfile& operator=(const RecordProfile&) = delete;

 private:
  std::string path_;
};

}  // namespace autograd::profiler

// Names a part of the program, until the end of the block: RECORD_USER_SCOPE("load batch"). Source: aten/src/ATen/record_function.h.
#define RECORD_USER_SCOPE(name) RECORD_USER_SCOPE_ON(name, __LINE__)
#define RECORD_USER_SCOPE_ON(name, line) RECORD_USER_SCOPE_AT(name, line)
#define RECORD_USER_SCOPE_AT(name, line) RECORD_USER_SCOPE_AS(name, user_scope_##line)
#define RECORD_USER_SCOPE_AS(name, variable)                                     \
  ::tinytorch::RecordFunction variable(::tinytorch::RecordScope::USER_SCOPE);    \
  variable.before(name)

// %%
//| export profiling/profiler.cpp
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

// %%
//| export profiling/profiler.cpp
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

// %%
//| export profiling/profiler.cpp
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

// %% [markdown]
// The four calls of the observer. `begin` reads the clock last and `end` reads it first, so that the profiler's own work is charged to whatever is around the event, and not to the event.

// %%
//| export profiling/profiler.cpp
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

// %%
//| export profiling/profiler.cpp
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

// %%
//| lesson
// Profiles f() and returns the record.
ProfilerResult profiled(const std::function<void()>& f, const ProfilerConfig& config = {}) {
  profile run(config);
  f();
  run.stop();
  return run.result();
}

// The events of this name, by index.
std::vector<std::size_t> all_of(const ProfilerResult& result, std::string_view name) {
  std::vector<std::size_t> found;
  for (std::size_t i = 0; i < result.events().size(); ++i)
    if (result.events()[i].name == name) found.push_back(i);
  return found;
}
const FunctionEvent& the_event(const ProfilerResult& result, std::string_view name) {
  const std::vector<std::size_t> found = all_of(result, name);
  if (found.size() != 1) throw Error("expected one event " + std::string(name) + ", but there are " + std::to_string(found.size()));
  return result.events()[found[0]];
}

Tensor throw_in_kernel(const Tensor&) { throw Error("broken inside"); }
constinit Operator<Tensor(const Tensor&)> throwing("throwing", {.cpu = throw_in_kernel});

// %%
TEST_CASE("profile: an operator with gradients is one event, with its shapes, its layer, its FLOPs and its memory") {
  const Tensor a = ones({4, 3});
  const Tensor b = ones({3, 5});
  b.requires_grad_();
  const ProfilerResult result = profiled([&] { a.mm(b); });
  const FunctionEvent& mm = the_event(result, "mm");
  CHECK(mm.layer < Layer::HalfPrecision);  // the layer of the kernel, not Autograd, which was called first
  REQUIRE_EQ(mm.inputs.size(), 2);
  CHECK_EQ(IntArrayRef(mm.inputs[0].sizes), IntArrayRef({4, 3}));
  CHECK_EQ(IntArrayRef(mm.inputs[1].sizes), IntArrayRef({3, 5}));
  REQUIRE_EQ(mm.outputs.size(), 1);
  CHECK_EQ(IntArrayRef(mm.outputs[0].sizes), IntArrayRef({4, 5}));
  CHECK(mm.outputs[0].dtype == kFloat);
  CHECK_EQ(mm.flops, 2 * 4 * 3 * 5);
  CHECK_EQ(mm.bytes, 4 * (12 + 15 + 20));
  CHECK_GE(mm.cpu_memory_usage, 4 * 20);
  CHECK_GE(mm.peak_memory, 4 * 20);
  CHECK_EQ(mm.nodes.size(), 1);
  CHECK_EQ(mm.thread, 1);
  CHECK_GT(mm.cpu_time_ns(), 0);
  CHECK_GE(mm.start_ns, 0);
  CHECK_LE(mm.end_ns, result.duration_ns());
}

TEST_CASE("profile: whatever addmm is made of here, all that was counted is counted once") {
  const ProfilerResult result = profiled([] { addmm(ones({4}), ones({2, 3}), ones({3, 4})); });
  std::int64_t own = 0;
  for (const FunctionEvent& event : result.events()) own += event.self_flops;
  CHECK_EQ(own, the_event(result, "addmm").flops);
}

TEST_CASE("profile: nesting, self times and memory add up in a real training step") {
  manual_seed(0);
  nn::MLP model(std::vector<std::int64_t>{6, 8, 3});
  const Tensor x = randn({16, 6});
  const Tensor y = randint(0, 3, {16});
  ProfilerResult result = profiled([&] {
    RECORD_USER_SCOPE("step");
    cross_entropy_loss(model(x), y).backward();
  });
  result.name_modules(*model, "net");
  const std::vector<FunctionEvent>& events = result.events();
  CHECK_EQ(events[0].name, "step");
  std::int64_t self = 0;
  std::int64_t roots = 0;
  for (std::size_t i = 0; i < events.size(); ++i) {
    const FunctionEvent& event = events[i];
    self += event.self_cpu_time_ns;
    CHECK_GE(event.self_cpu_time_ns, 0);
    if (event.parent < 0) {
      roots += event.cpu_time_ns();
      continue;
    }
    CHECK_LT(event.parent, static_cast<std::int64_t>(i));
    const FunctionEvent& parent = events[static_cast<std::size_t>(event.parent)];
    CHECK_LE(parent.start_ns, event.start_ns);
    CHECK_LE(event.end_ns, parent.end_ns);
    CHECK_GE(parent.peak_memory + parent.live_at_start, event.peak_memory + event.live_at_start);
  }
  CHECK_EQ(self, roots);
  // Modules are there by their names in the tree, around the operators that they call.
  CHECK_EQ(the_event(result, "net (MLP)").parent, 0);
  const std::vector<std::size_t> fc1 = all_of(result, "net.fc1 (Linear)");
  REQUIRE_EQ(fc1.size(), 1);
  CHECK_EQ(events[static_cast<std::size_t>(events[fc1[0]].parent)].name, "net (MLP)");
  CHECK_GE(the_event(result, "net.fc1 (Linear)").cpu_memory_usage, 16 * 8 * 4);
}

TEST_CASE("profile: every node of the backward pass leads to the operator that recorded it") {
  const Tensor w1 = randn({3, 3});
  const Tensor w2 = randn({3, 3});
  w1.requires_grad_();
  w2.requires_grad_();
  const Tensor before = w1.exp();  // recorded before the profile
  const ProfilerResult result = profiled([&] { before.mm(w1).relu().mm(w2).sum().backward(); });
  const std::vector<std::size_t> forward = all_of(result, "mm");
  const std::vector<std::size_t> backward = all_of(result, "MmBackward0");
  REQUIRE_EQ(backward.size(), 2);
  const auto& events = result.events();
  // The engine runs the youngest node first: its forward event is the second mm.
  CHECK_EQ(events[backward[0]].forward, static_cast<std::int64_t>(forward[1]));
  CHECK_EQ(events[backward[1]].forward, static_cast<std::int64_t>(forward[0]));
  CHECK_EQ(events[static_cast<std::size_t>(the_event(result, "ReluBackward0").forward)].name, "relu");
  CHECK_EQ(the_event(result, "ExpBackward0").forward, -1);
  for (const std::size_t i : all_of(result, "AccumulateGrad")) CHECK_EQ(events[i].forward, -1);
}

TEST_CASE("profile: options, errors, and what is thrown out of an operator") {
  const ProfilerResult bare = profiled([] { ones({2}).add(1); }, {.report_input_shapes = false, .profile_memory = false, .with_modules = false});
  CHECK(the_event(bare, "add").inputs.empty());
  CHECK_EQ(the_event(bare, "add").flops, 0);
  CHECK(bare.memory_timeline().empty());

  profile running;
  CHECK(profilerEnabled());
  CHECK_ERROR(enableProfiler(), "Profiler is already enabled on this thread");
  CHECK_ERROR(running.result(), "the profile is still running");
  CHECK_ERROR(op::mm(ones({2, 3}), Tensor()), "Expected a proper Tensor");
  {
    RECORD_USER_SCOPE("around");
    CHECK_ERROR(throwing(ones({2})), "broken inside");
  }
  ones({2}).exp();
  running.stop();
  CHECK_FALSE(profilerEnabled());
  CHECK_ERROR(disableProfiler(), "Can't disable profiler when it's not running");
  CHECK_GT(the_event(running.result(), "throwing").end_ns, 0);
  CHECK_EQ(the_event(running.result(), "exp").parent, -1);  // everything before it has ended
}

TEST_CASE("profile: nothing is allocated and nothing is recorded when it is off") {
  const Tensor x = ones({8});
  x.add(x);
  const MemoryStats before = memory::stats();
  x.add(x);
  CHECK_EQ(memory::stats().allocations - before.allocations, 1);  // the result
  CHECK(record_observer.load() == nullptr);
  CHECK(profiled([] {}).events().empty());
}

TEST_CASE("profile: threads of their own, threads that outlive the profile, and threads that come again") {
  const auto work = [](int times) {
    const Tensor w = ones({4, 4});
    w.requires_grad_();
    for (int i = 0; i < times; ++i) w.mm(w).sum().backward();
  };
  std::jthread outliving([&](const std::stop_token& stop) { while (!stop.stop_requested()) work(1); });
  for (int round = 0; round < 3; ++round) {
    const ProfilerResult result = profiled([&] {
      std::vector<std::jthread> threads;
      for (int i = 0; i < 3; ++i) threads.emplace_back(work, 20);
    });
    std::map<std::uint64_t, std::size_t> products;  // by thread
    const auto& events = result.events();
    for (const FunctionEvent& event : events) {
      if (event.parent >= 0) CHECK_EQ(events[static_cast<std::size_t>(event.parent)].thread, event.thread);
      if (event.name == "MmBackward0" && event.forward >= 0) CHECK_EQ(events[static_cast<std::size_t>(event.forward)].name, "mm");
      if (event.name == "mm" && event.parent < 0) ++products[event.thread];
    }
    CHECK_GE(products.size(), 3);
    CHECK_LE(products.size(), 4);
    std::size_t of_twenty = 0;
    for (const auto& [thread, count] : products) of_twenty += count == 20 ? 1 : 0;
    CHECK_GE(of_twenty, 3);
  }
}

// %% [markdown]
// ### The table
//
// A training step has hundreds of events. Grouped by name they become a table of a dozen lines, the first thing that one looks at. (Grouped by name *and* shapes, they show which of the products it is.)
//
//       events   mm 20, mm 30, add 5, mm 10
//                 │      │      │      │                   rows     mm    count 3   self 60   total 60
//                 └──────┴──────┼──────┘                            add   count 1   self  5   total  5
//
// (`EventList`, in chapter 72, holds the rows and prints them as PyTorch does.) Self times simply add up. Totals need care when a key is inside of itself: a `Block` that contains a `Block`, an operator that calls itself on a part of its data. Its inner time is in its outer time already:
//
//       Block 100 ─── Block 60 ─── mm 50                 Block    count 2   self 50   total 100, not 160

// %%
//| export profiling/averages.h
namespace autograd::profiler {

std::string shapes_of(const FunctionEvent& event);
// Groups events by scope and name, and by the sizes of their inputs if asked for. O(events * depth). REQUIRES: self times and memory are filled in.
EventList key_averages(const std::vector<FunctionEvent>& events, bool group_by_input_shape = false);

}  // namespace autograd::profiler

// %%
//| export profiling/profiler.cpp
autograd::profiler::EventList autograd::profiler::ProfilerResult::key_averages(bool group_by_input_shape) const { return profiler::key_averages(events_, group_by_input_shape); }

// %%
//| export profiling/averages.cpp
std::string autograd::profiler::shapes_of(const FunctionEvent& event) {
  std::ostringstream out;
  out << '[';
  for (std::size_t i = 0; i < event.inputs.size(); ++i) out << (i > 0 ? ", " : "") << IntArrayRef(event.inputs[i].sizes);
  out << ']';
  return out.str();
}

// %% {"nbgrader": {"grade": false, "grade_id": "14-key-averages", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export profiling/averages.cpp
// Its contract stands at the declaration. Rows are in the order in which their keys first appear.
//
// TODO: Add each event to the row of its key.
// APPROACH: 1. The key of an event is its scope, its name and, if asked for, shapes_of(event). A std::map leads from keys to rows. 2. Remember the row of each event. 3. Add count, self time, self memory, allocations, flops and
//           bytes, each in all and its own (self_flops, self_bytes); peak_memory is the largest. 4. Add total time and total memory only if no event around it (go along the parents) is in the same row.
// EXAMPLE: Block 100 around Block 60: count 2, cpu_time_total_ns 100.
// HINT: parents stand before their children, so the rows of all events around one are known.
autograd::profiler::EventList autograd::profiler::key_averages(const std::vector<FunctionEvent>& events, bool group_by_input_shape) {
  // BEGIN SOLUTION
  EventList list;
  std::map<std::tuple<RecordScope, std::string, std::string>, std::size_t> numbers;
  std::vector<std::size_t> row_of;
  row_of.reserve(events.size());
  for (const FunctionEvent& event : events) {
    const std::string shapes = group_by_input_shape ? shapes_of(event) : std::string();
    const auto [entry, is_new] = numbers.try_emplace({event.scope, event.name, shapes}, list.rows.size());
    if (is_new) {
      FunctionEventAvg& fresh = list.rows.emplace_back();
      fresh.key = event.name;
      fresh.input_shapes = shapes;
      fresh.scope = event.scope;
    }
    const std::size_t number = entry->second;
    row_of.push_back(number);
    FunctionEventAvg& row = list.rows[number];
    ++row.count;
    row.self_cpu_time_total_ns += event.self_cpu_time_ns;
    row.self_cpu_memory_usage += event.self_cpu_memory_usage;
    row.self_allocations += event.self_allocations;
    row.peak_memory = std::max(row.peak_memory, event.peak_memory);
    row.flops += event.flops;
    row.bytes += event.bytes;
    row.self_flops += event.self_flops;
    row.self_bytes += event.self_bytes;
    bool inside_of_itself = false;
    for (std::int64_t up = event.parent; up >= 0; up = events[static_cast<std::size_t>(up)].parent)
      inside_of_itself = inside_of_itself || row_of[static_cast<std::size_t>(up)] == number;
    if (inside_of_itself) continue;
    row.cpu_time_total_ns += event.cpu_time_ns();
    row.cpu_memory_usage += event.cpu_memory_usage;
  }
  return list;
  // END SOLUTION
}

// %%
//| mistake 14-key-averages counts-the-inside-twice
//| says A Block inside of a Block is in the outer one's total already. Add a total only if nothing around the event has the same key.
#if 0
autograd::profiler::EventList autograd::profiler::key_averages(const std::vector<FunctionEvent>& events, bool group_by_input_shape) {
  EventList list;
  std::map<std::tuple<RecordScope, std::string, std::string>, std::size_t> numbers;
  for (const FunctionEvent& event : events) {
    const std::string shapes = group_by_input_shape ? shapes_of(event) : std::string();
    const auto [entry, is_new] = numbers.try_emplace({event.scope, event.name, shapes}, list.rows.size());
    if (is_new) {
      list.rows.emplace_back();
      list.rows.back().key = event.name;
      list.rows.back().input_shapes = shapes;
      list.rows.back().scope = event.scope;
    }
    FunctionEventAvg& row = list.rows[entry->second];
    ++row.count;
    row.self_cpu_time_total_ns += event.self_cpu_time_ns;
    row.self_cpu_memory_usage += event.self_cpu_memory_usage;
    row.self_allocations += event.self_allocations;
    row.peak_memory = std::max(row.peak_memory, event.peak_memory);
    row.flops += event.flops;
    row.bytes += event.bytes;
    row.self_flops += event.self_flops;
    row.self_bytes += event.self_bytes;
    row.cpu_time_total_ns += event.cpu_time_ns();
    row.cpu_memory_usage += event.cpu_memory_usage;
  }
  return list;
}
#endif

// %%
//| mistake 14-key-averages adds-peaks
//| says Peaks do not happen at the same time, so they do not add up: the peak of a row is the largest of its events.
#if 0
autograd::profiler::EventList autograd::profiler::key_averages(const std::vector<FunctionEvent>& events, bool group_by_input_shape) {
  EventList list;
  for (const FunctionEvent& event : events) {
    const std::string shapes = group_by_input_shape ? shapes_of(event) : std::string();
    FunctionEventAvg* row = nullptr;
    for (FunctionEventAvg& known : list.rows)
      if (known.key == event.name && known.scope == event.scope && known.input_shapes == shapes) row = &known;
    if (row == nullptr) {
      row = &list.rows.emplace_back();
      row->key = event.name;
      row->input_shapes = shapes;
      row->scope = event.scope;
    }
    ++row->count;
    row->self_cpu_time_total_ns += event.self_cpu_time_ns;
    row->self_cpu_memory_usage += event.self_cpu_memory_usage;
    row->self_allocations += event.self_allocations;
    row->peak_memory += event.peak_memory;
    row->flops += event.flops;
    row->bytes += event.bytes;
    row->self_flops += event.self_flops;
    row->self_bytes += event.self_bytes;
    bool inside = false;
    for (std::int64_t up = event.parent; up >= 0; up = events[static_cast<std::size_t>(up)].parent) inside = inside || events[static_cast<std::size_t>(up)].name == event.name;
    if (inside) continue;
    row->cpu_time_total_ns += event.cpu_time_ns();
    row->cpu_memory_usage += event.cpu_memory_usage;
  }
  return list;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "14-key-averages-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("key_averages: rows by key, and a total that counts what is inside of itself once") {
  std::vector<FunctionEvent> events = {made("Block", 0, 100), made("Block", 10, 70, 0), made("mm", 15, 65, 1), made("mm", 75, 80, 0), made("Block", 200, 230)};
  events[0].peak_memory = 50;
  events[4].peak_memory = 80;
  events[2].flops = 7;
  events[3].flops = 5;
  events[3].self_flops = 4;
  events[3].self_bytes = 8;
  compute_self_times(events);
  const EventList list = key_averages(events);
  REQUIRE_EQ(list.rows.size(), 2);
  CHECK_EQ(list.rows[0].key, "Block");
  CHECK_EQ(list.at("Block").count, 3);
  CHECK_EQ(list.at("Block").cpu_time_total_ns, 130);
  CHECK_EQ(list.at("Block").self_cpu_time_total_ns, 35 + 10 + 30);
  CHECK_EQ(list.at("Block").peak_memory, 80);
  CHECK_EQ(list.at("mm").count, 2);
  CHECK_EQ(list.at("mm").cpu_time_total_ns, 55);
  CHECK_EQ(list.at("mm").flops, 12);
  CHECK_EQ(list.at("mm").self_flops, 4);
  CHECK_EQ(list.at("mm").self_bytes, 8);
  CHECK_ERROR(list.at("conv"), "no event is called 'conv'");

  const ProfilerResult result = profiled([] {
    ones({2, 3}).mm(ones({3, 4}));
    ones({2, 3}).mm(ones({3, 4}));
    ones({5, 3}).mm(ones({3, 4}));
  });
  const EventList by_shape = result.key_averages(true);
  CHECK_EQ(by_shape.at("mm").count, 2);
  CHECK_EQ(by_shape.at("mm").input_shapes, "[[2, 3], [3, 4]]");
  CHECK_EQ(result.key_averages().at("mm").count, 3);
  // BEGIN HIDDEN TESTS
  // A module and an operator of one name are two rows.
  events = {made("relu", 0, 10), made("relu", 2, 8, 0)};
  events[0].scope = RecordScope::MODULE;
  compute_self_times(events);
  CHECK_EQ(key_averages(events).rows.size(), 2);
  CHECK_EQ(key_averages(events).rows[1].cpu_time_total_ns, 6);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### A trace that other tools open
//
// Chrome's trace format is a list of JSON objects. It is old, simple, and read by `about:tracing`, by Perfetto (ui.perfetto.dev) and by most profilers' viewers. Five kinds of entry are enough:
//
//       "ph": "X"   complete event     name, cat, pid, tid, ts (begin), dur      times in MICROseconds, as numbers with a fraction
//       "ph": "s"   flow starts        id, at a time within the forward event     an arrow from the forward event ...
//       "ph": "f"   flow finishes      id, at the start of the backward event     ... to its node in the backward pass
//       "ph": "C"   counter            args: live bytes                           drawn as an area
//       "ph": "M"   metadata           names of the process and of threads
//
// There are no parents in it: viewers nest entries of one thread by their times. So begin and end must be exact, to the nanosecond; a child that is rounded out of its parent is drawn beside it.

// %%
//| export profiling/trace.h
namespace autograd::profiler {

// The events as a trace in Chrome's format, JSON: categories cpu_op, backward, module and user_annotation; shapes, dtypes, layer and FLOPs among the arguments; flows of category
// fwdbwd from operators to their nodes; live bytes as a counter. O(events).
std::string chrome_trace(const std::vector<FunctionEvent>& events, const std::vector<MemoryEvent>& memory = {});
// The same into a file, whole or not at all. Throws Error if it cannot be written; what was there before is untouched.
void save_chrome_trace(const std::string& path, const std::vector<FunctionEvent>& events, const std::vector<MemoryEvent>& memory = {});

}  // namespace autograd::profiler

// %%
//| export profiling/profiler.cpp
void autograd::profiler::ProfilerResult::save(const std::string& path) const { save_chrome_trace(path, events_, memory_); }

// %%
//| export profiling/trace.cpp
namespace {
using TraceJson = nlohmann::json;

const char* trace_category(RecordScope scope) {
  switch (scope) {
    case RecordScope::FUNCTION: return "cpu_op";
    case RecordScope::BACKWARD_FUNCTION: return "backward";
    case RecordScope::MODULE: return "module";
    default: return "user_annotation";
  }
}

std::string trace_layer(Layer layer) {
  switch (layer) {
    case Layer::CPU: return "CPU";
    case Layer::HalfPrecision: return "HalfPrecision";
    case Layer::PrivateUse1: return "PrivateUse1";
    case Layer::InplaceOrView: return "InplaceOrView";
    case Layer::Autograd: return "Autograd";
    default: return "layer " + std::to_string(static_cast<int>(layer));
  }
}

// What a viewer shows of an event that is selected.
TraceJson trace_arguments(const autograd::profiler::FunctionEvent& event) {
  TraceJson arguments = TraceJson::object();
  if (!event.inputs.empty()) {
    TraceJson sizes = TraceJson::array();
    TraceJson types = TraceJson::array();
    for (const auto& tensor : event.inputs) {
      sizes.push_back(std::vector<std::int64_t>(tensor.sizes.begin(), tensor.sizes.end()));
      std::ostringstream type;
      type << tensor.dtype;
      types.push_back(type.str());
    }
    arguments["Input Dims"] = std::move(sizes);
    arguments["Input type"] = std::move(types);
  }
  if (event.scope == RecordScope::FUNCTION) arguments["layer"] = trace_layer(event.layer);
  if (event.sequence_nr >= 0) arguments["Sequence number"] = event.sequence_nr;
  if (!event.nodes.empty()) arguments["Sequence number"] = event.nodes.back();
  if (event.flops > 0) arguments["flops"] = event.flops;
  if (event.bytes > 0) arguments["bytes"] = event.bytes;
  if (event.cpu_memory_usage != 0) arguments["memory"] = event.cpu_memory_usage;
  return arguments;
}

double microseconds(std::int64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1000; }
}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "14-complete-event", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export profiling/trace.cpp
// One event as an entry of kind X.
//
// TODO: Make the JSON object of a complete event.
// APPROACH: ph "X", name, cat from trace_category, pid 1, tid the thread, ts and dur in microseconds (the helper microseconds()), args from trace_arguments.
// EXAMPLE: an event from 1500 to 4000 ns has "ts": 1.5 and "dur": 2.5.
// HINT: TraceJson{{"ph", "X"}, {"name", event.name}, ...} makes an object of pairs.
namespace {
TraceJson complete_event(const autograd::profiler::FunctionEvent& event) {
  // BEGIN SOLUTION
  return TraceJson{{"ph", "X"},
                   {"name", event.name},
                   {"cat", trace_category(event.scope)},
                   {"pid", 1},
                   {"tid", event.thread},
                   {"ts", microseconds(event.start_ns)},
                   {"dur", microseconds(event.cpu_time_ns())},
                   {"args", trace_arguments(event)}};
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 14-complete-event nanoseconds
//| says The format's times are microseconds. In nanoseconds a step of 3 ms looks like 3 seconds.
#if 0
TraceJson complete_event(const autograd::profiler::FunctionEvent& event) {
  return TraceJson{{"ph", "X"}, {"name", event.name}, {"cat", trace_category(event.scope)}, {"pid", 1}, {"tid", event.thread}, {"ts", event.start_ns}, {"dur", event.cpu_time_ns()}, {"args", trace_arguments(event)}};
}
#endif

// %%
//| mistake 14-complete-event whole-microseconds
//| says Times were rounded to whole microseconds: short events vanish, and children are no longer inside of their parents. Keep the fraction.
#if 0
TraceJson complete_event(const autograd::profiler::FunctionEvent& event) {
  return TraceJson{{"ph", "X"}, {"name", event.name}, {"cat", trace_category(event.scope)}, {"pid", 1}, {"tid", event.thread}, {"ts", event.start_ns / 1000}, {"dur", event.cpu_time_ns() / 1000}, {"args", trace_arguments(event)}};
}
#endif

// %%
//| export profiling/trace.cpp
std::string autograd::profiler::chrome_trace(const std::vector<FunctionEvent>& events, const std::vector<MemoryEvent>& memory) {
  TraceJson entries = TraceJson::array();
  entries.push_back({{"ph", "M"}, {"name", "process_name"}, {"pid", 1}, {"tid", 0}, {"args", {{"name", "tinytorch"}}}});
  std::set<std::uint64_t> threads;
  for (const FunctionEvent& event : events) threads.insert(event.thread);
  for (const std::uint64_t thread : threads)
    entries.push_back({{"ph", "M"}, {"name", "thread_name"}, {"pid", 1}, {"tid", thread}, {"args", {{"name", "thread " + std::to_string(thread)}}}});
  for (const FunctionEvent& event : events) {
    entries.push_back(complete_event(event));
    if (event.forward < 0) continue;
    const FunctionEvent& forward = events[static_cast<std::size_t>(event.forward)];
    const auto flow = [&](const char* phase, const FunctionEvent& end) {
      return TraceJson{{"ph", phase}, {"name", "fwdbwd"}, {"cat", "fwdbwd"}, {"id", event.sequence_nr}, {"pid", 1}, {"tid", end.thread}, {"ts", microseconds(end.start_ns)}};
    };
    entries.push_back(flow("s", forward));
    entries.push_back(flow("f", event));
    entries.back()["bp"] = "e";  // binds to the event around this time, not to the next one
  }
  for (const MemoryEvent& point : memory)
    entries.push_back({{"ph", "C"}, {"name", "memory"}, {"pid", 1}, {"tid", 0}, {"ts", microseconds(point.time_ns)}, {"args", {{"live bytes", point.live}}}});
  return TraceJson{{"displayTimeUnit", "ms"}, {"traceEvents", std::move(entries)}}.dump(-1, ' ', false, TraceJson::error_handler_t::replace);
}

void autograd::profiler::save_chrome_trace(const std::string& path, const std::vector<FunctionEvent>& events, const std::vector<MemoryEvent>& memory) {
  serialize::write_file_atomically(path, chrome_trace(events, memory));
}

// %% {"nbgrader": {"grade": true, "grade_id": "14-complete-event-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("trace: it parses, entries nest by their times alone, and arrows lead from operators to nodes") {
  using nlohmann::json;
  const json one = json::parse(chrome_trace({made("a \"quoted\" name", 1500, 4000)})).at("traceEvents").back();
  CHECK_EQ(one.at("ph").get<std::string>(), "X");
  CHECK_EQ(one.at("name").get<std::string>(), "a \"quoted\" name");
  CHECK_EQ(one.at("ts").get<double>(), 1.5);
  CHECK_EQ(one.at("dur").get<double>(), 2.5);
  CHECK_EQ(one.at("cat").get<std::string>(), "cpu_op");

  const Tensor w = ones({4, 4});
  w.requires_grad_();
  const ProfilerResult result = profiled([&] {
    RECORD_USER_SCOPE("step");
    w.mm(w).exp().sum().backward();
  });
  const json trace = json::parse(chrome_trace(result.events(), result.memory_timeline()));
  std::vector<json> complete;
  std::map<std::string, int> kinds;
  std::map<std::int64_t, std::vector<double>> flows;
  for (const json& entry : trace.at("traceEvents")) {
    ++kinds[entry.at("ph").get<std::string>()];
    if (entry.value("ph", "") == "X") complete.push_back(entry);
    if (entry.value("cat", "") == "fwdbwd") flows[entry.at("id").get<std::int64_t>()].push_back(entry.at("ts").get<double>());
  }
  REQUIRE_EQ(complete.size(), result.events().size());
  CHECK_EQ(kinds["s"], 3);
  CHECK_EQ(kinds["f"], 3);
  CHECK_EQ(kinds["M"], 2);
  CHECK_EQ(static_cast<std::size_t>(kinds["C"]), result.memory_timeline().size());
  for (const auto& [id, times] : flows) {
    REQUIRE_EQ(times.size(), 2);
    CHECK_LT(times[0], times[1]);
  }
  // A viewer's way to find parents: the innermost entry that is still open. It must be the recorder's parent.
  std::vector<std::size_t> open;
  for (std::size_t i = 0; i < complete.size(); ++i) {
    const auto start = complete[i].at("ts").get<double>();
    const auto ends = [&](std::size_t index) { return complete[index].at("ts").get<double>() + complete[index].at("dur").get<double>(); };
    while (!open.empty() && ends(open.back()) <= start + 1e-6) open.pop_back();
    CHECK_EQ(open.empty() ? -1 : static_cast<std::int64_t>(open.back()), result.events()[i].parent);
    open.push_back(i);
  }
  const auto& mm = complete.at(1);
  CHECK_EQ(mm.at("name").get<std::string>(), "mm");
  CHECK_EQ(mm.at("args").at("Input Dims").dump(), "[[4,4],[4,4]]");
  CHECK_NE(mm.at("args").at("layer").get<std::string>(), "Autograd");
  CHECK_EQ(mm.at("args").at("flops").get<int>(), 128);

  const tito::Scratch scratch;
  const std::string path = scratch.path("trace.json");
  result.save(path);
  std::ifstream file(path);
  CHECK_EQ(json::parse(file).dump(), trace.dump());
  CHECK_ERROR(result.save("/no/such/folder/trace.json"), "cannot write /no/such/folder/trace.json: No such file or directory");
}

// %% [markdown]
// ### The flame view
//
// A timeline of a thousand steps is a thousand times the same picture. A *flame view* throws the order away and merges what has the same ancestry: the width of a box is the time of all events with this stack of names.
//
//       events                                 merged
//       step ── Linear ── mm 20                step 100 ┬ Linear 60 ┬ mm 45
//       step ── Linear ── mm 25                         │           └ add 10
//       step ── Linear ── add 10                        └ backward 40 ─ ...
//
// It is read from the top down: a wide box with narrow boxes below it does its work itself; a wide box under a name that you did not expect is what you were looking for.

// %%
//| export profiling/flame.h
namespace autograd::profiler {

// Merges events by their stack of names, over all threads. The root stands for everything: its total is that of the events without a parent. O(events log names).
// REQUIRES: self times are filled in; parents stand before their children.
FlameNode flame_graph(const std::vector<FunctionEvent>& events);
}  // namespace autograd::profiler

// %% {"nbgrader": {"grade": false, "grade_id": "14-flame-graph", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export profiling/flame.cpp
// Its contract stands at the declaration.
//
// TODO: Put every event into the node of its stack of names.
// APPROACH: 1. Remember each event's node, as a pointer. 2. An event's node is the child of its parent's node (or of the root) under its name. 3. Add total, self and count; the root takes the totals of events without a parent.
// EXAMPLE: two times step -> Linear -> mm: one node mm with count 2.
// HINT: nodes of a std::map stay where they are when others are added, so pointers to them remain good.
autograd::profiler::FlameNode autograd::profiler::flame_graph(const std::vector<FunctionEvent>& events) {
  // BEGIN SOLUTION
  FlameNode root;
  std::vector<FlameNode*> node_of;
  node_of.reserve(events.size());
  for (const FunctionEvent& event : events) {
    FlameNode& around = event.parent < 0 ? root : *node_of[static_cast<std::size_t>(event.parent)];
    FlameNode& node = around.children[event.name];
    node.total_ns += event.cpu_time_ns();
    node.self_ns += event.self_cpu_time_ns;
    ++node.count;
    if (event.parent < 0) root.total_ns += event.cpu_time_ns();
    node_of.push_back(&node);
  }
  return root;
  // END SOLUTION
}

// %%
//| mistake 14-flame-graph merges-by-name-only
//| says Events were merged by name alone. In a flame view mm under Linear and mm under MmBackward0 are two boxes: the stack of names counts.
#if 0
autograd::profiler::FlameNode autograd::profiler::flame_graph(const std::vector<FunctionEvent>& events) {
  FlameNode root;
  for (const FunctionEvent& event : events) {
    FlameNode& node = root.children[event.name];
    node.total_ns += event.cpu_time_ns();
    node.self_ns += event.self_cpu_time_ns;
    ++node.count;
    if (event.parent < 0) root.total_ns += event.cpu_time_ns();
  }
  return root;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "14-flame-graph-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("flame: boxes by stack of names, as wide as their time") {
  std::vector<FunctionEvent> events = {made("step", 0, 100), made("Linear", 0, 60, 0), made("mm", 0, 45, 1), made("MmBackward0", 60, 100, 0), made("mm", 60, 80, 3), made("mm", 80, 100, 3)};
  compute_self_times(events);
  const FlameNode root = flame_graph(events);
  CHECK_EQ(root.total_ns, 100);
  REQUIRE_EQ(root.children.size(), 1);
  const FlameNode& step = root.children.at("step");
  CHECK_EQ(step.total_ns, 100);
  CHECK_EQ(step.self_ns, 0);
  CHECK_EQ(step.children.at("Linear").self_ns, 15);
  CHECK_EQ(step.children.at("Linear").children.at("mm").total_ns, 45);
  CHECK_EQ(step.children.at("MmBackward0").children.at("mm").total_ns, 40);
  CHECK_EQ(step.children.at("MmBackward0").children.at("mm").count, 2);

  CHECK_EQ(flame_text(root, 20),
           "[step              ]\n"
           "[Linear    ][MmBack]\n"
           "[mm     ]   [mm x2 ]\n");
  const std::string svg = flame_svg(root, 200);
  CHECK_NE(svg.find("<title>mm: "), std::string::npos);
  CHECK_NE(svg.find("x=\"120\" y=\"18\" width=\"80\""), std::string::npos);  // MmBackward0
  CHECK_NE(svg.find("height=\"54\""), std::string::npos);
  // BEGIN HIDDEN TESTS
  events = {made("a<b>", 0, 10), made("a<b>", 20, 30)};
  compute_self_times(events);
  CHECK_EQ(flame_graph(events).children.at("a<b>").count, 2);
  CHECK_NE(flame_svg(flame_graph(events), 700).find("a&lt;b&gt;"), std::string::npos);
  CHECK_EQ(flame_text(FlameNode(), 20), "");
  // END HIDDEN TESTS
}

// %% [markdown]
// ### The roofline
//
// An operator is limited by one of two things: by how fast the machine computes, or by how fast memory delivers. Which one it is depends on how much is computed with each byte:
//
//       arithmetic intensity  I = FLOPs / bytes                attainable rate = min(peak FLOP/s, I x bandwidth)
//
//       FLOP/s ^                       ________________  peak, when all vector units multiply and add
//              |                     /                o mm 512           far below the roof: the kernel is bad
//              |                   /
//              |                 /  <- bandwidth x I
//              |               /o gelu                                   at the roof: as fast as memory allows.
//              |             /                                           A better loop will not help; fusing with its neighbour will
//              |           /o add
//              +------------------------------------> FLOPs per byte (both axes logarithmic)
//                         the ridge: peak / bandwidth
//
// `add` of two float32 tensors does one operation for 12 bytes, I = 1/12; on a machine of 100 GFLOP/s and 10 GB/s the ridge lies at 10, so `add` can reach 0.8 % of the peak and not more. A product of two 512 x 512 matrices does 2 x 512^3 operations for 3 x 512^2 x 4 bytes, I = 85: it should reach the peak.

// %%
//| export profiling/roofline.h
namespace autograd::profiler {

// The highest rate of an operator with `intensity` FLOPs per byte, in FLOP/s. O(1).
double attainable(const Peaks& peaks, double intensity);

// The operators of `averages` that have FLOPs and bytes of their own, those that took longest first. Rates are own work over self time.
std::vector<RooflinePoint> roofline(const EventList& averages, const Peaks& peaks);
}  // namespace autograd::profiler

// %% {"nbgrader": {"grade": false, "grade_id": "14-attainable", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export profiling/roofline.cpp
// The roofs: memory's on the left of the ridge, arithmetic's on the right.
//
// TODO: Return the lower of the two limits.
// APPROACH: bytes per second times operations per byte is operations per second.
// EXAMPLE: 100 GFLOP/s and 10 GB/s: at 1/12 FLOP per byte 0.83 GFLOP/s, at 85 FLOP per byte 100 GFLOP/s.
double autograd::profiler::attainable(const Peaks& peaks, double intensity) {
  // BEGIN SOLUTION
  return std::min(peaks.flops_per_second, intensity * peaks.bytes_per_second);
  // END SOLUTION
}

// %%
//| mistake 14-attainable always-the-peak
//| says That is the peak of the arithmetic only. An operator with few operations per byte waits for memory: the other roof is intensity times bandwidth.
#if 0
double autograd::profiler::attainable(const Peaks& peaks, double intensity) {
  return intensity > 0 ? peaks.flops_per_second : 0;
}
#endif

// %%
//| export profiling/roofline.cpp
std::vector<autograd::profiler::RooflinePoint> autograd::profiler::roofline(const EventList& averages, const Peaks& peaks) {
  std::vector<RooflinePoint> points;
  for (const FunctionEventAvg& row : averages.rows) {
    if (row.self_flops == 0 || row.self_bytes == 0 || row.self_cpu_time_total_ns == 0) continue;
    RooflinePoint point;
    point.name = row.key;
    point.intensity = static_cast<double>(row.self_flops) / static_cast<double>(row.self_bytes);
    point.flops_per_second = static_cast<double>(row.self_flops) / (static_cast<double>(row.self_cpu_time_total_ns) * 1e-9);
    point.share = point.flops_per_second / attainable(peaks, point.intensity);
    point.time_ns = row.self_cpu_time_total_ns;
    points.push_back(std::move(point));
  }
  std::stable_sort(points.begin(), points.end(), [](const auto& a, const auto& b) { return a.time_ns > b.time_ns; });
  return points;
}

// %% {"nbgrader": {"grade": true, "grade_id": "14-attainable-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("roofline: memory's roof on the left of the ridge, arithmetic's on the right") {
  const Peaks peaks{.flops_per_second = 100e9, .bytes_per_second = 10e9};
  CHECK_EQ(attainable(peaks, 1.0 / 16), 10e9 / 16);
  CHECK_EQ(attainable(peaks, 10), 100e9);
  CHECK_EQ(attainable(peaks, 85), 100e9);

  EventList list;
  FunctionEventAvg add, mm, addmm, view;
  add.key = "add";
  add.flops = add.self_flops = 1000;
  add.bytes = add.self_bytes = 12000;
  add.self_cpu_time_total_ns = 2400;  // 5 GB/s: half of the memory's roof
  mm.key = "mm";
  mm.flops = mm.self_flops = 1000000;
  mm.bytes = mm.self_bytes = 10000;
  mm.self_cpu_time_total_ns = 40000;  // 25 GFLOP/s
  view.key = "view";
  view.self_cpu_time_total_ns = 5;
  addmm.key = "addmm";  // all of its work is mm's
  addmm.flops = 1000000;
  addmm.bytes = 11000;
  addmm.self_bytes = 1000;
  addmm.self_cpu_time_total_ns = 500;
  list.rows = {add, mm, addmm, view};
  const std::vector<RooflinePoint> points = roofline(list, peaks);
  REQUIRE_EQ(points.size(), 2);
  CHECK_EQ(points[0].name, "mm");
  CHECK_CLOSE(points[0].share, 0.25, 1e-9, 0.0);
  CHECK_CLOSE(points[1].share, 0.5, 1e-9, 0.0);
  const std::string picture = roofline_text(points, peaks);
  CHECK_NE(picture.find("a  mm"), std::string::npos);
  CHECK_NE(picture.find("peak 100 GFLOP/s, 10 GB/s, ridge at 10 FLOP/byte"), std::string::npos);
  CHECK_NE(roofline_svg(points, peaks).find("<circle"), std::string::npos);
}

// %% [markdown]
// ### Debug: the right answer, slowly
//
// This function prepares every batch: it brings each column to mean 0 and variance 1. Its results are right, its tests pass, and since it was merged the step takes twice as long. Run the demonstration and read the table: not the names, the *counts*.
//
//       columns -> mean, deviation          what should happen once for a batch ...
//          row 0: (x[0] - mean) / deviation
//          row 1: (x[1] - mean) / deviation      ... and what it does instead, 128 times

// %%
//| lesson
// As found: x (B, F) with each column brought to mean 0 and variance 1 (over B, not B - 1).
Tensor standardized_as_found(const Tensor& x) {
  const Tensor result = empty(x.sizes(), x.scalar_type());
  for (std::int64_t row = 0; row < x.size(0); ++row) {
    const Tensor mean = x.mean({0});
    const Tensor deviation = (x - mean).pow(2).mean({0}).sqrt() + 1e-5;
    result[row] = (x[row] - mean) / deviation;
  }
  return result;
}

// %%
DEMO("the profile of a preparation that is slow") {
  manual_seed(0);
  const Tensor x = rand({128, 64});
  std::printf("%s", profiled([&] { standardized_as_found(x); }).key_averages().table("self_cpu_time_total", 8).c_str());
  std::fflush(stdout);
}

// %% {"nbgrader": {"grade": false, "grade_id": "14-debug-hot-spot", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
//| exercise debug
// x (B, F) with each column brought to mean 0 and variance 1 (over B), as above. The number of operators does not depend on B.
//
// TODO: Write it so that nothing is computed twice.
// APPROACH: which calls have a count of B in the table, and which of them depend on the row?
// HINT: broadcasting: (B, F) - (F).
Tensor standardized(const Tensor& x) {
  // BEGIN SOLUTION
  const Tensor centered = x - x.mean({0});
  return centered / (centered.pow(2).mean({0}).sqrt() + 1e-5);
  // END SOLUTION
}

// %%
//| mistake 14-debug-hot-spot still-a-loop-over-rows
//| says Mean and deviation are computed once now, but each row is still written by calls of its own: their number grows with the batch. Let broadcasting do all rows at once.
#if 0
Tensor standardized(const Tensor& x) {
  const Tensor result = empty(x.sizes(), x.scalar_type());
  const Tensor mean = x.mean({0});
  const Tensor deviation = (x - mean).pow(2).mean({0}).sqrt() + 1e-5;
  for (std::int64_t row = 0; row < x.size(0); ++row) result[row] = (x[row] - mean) / deviation;
  return result;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "14-debug-hot-spot-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("debug: the same numbers from a number of calls that does not grow with the batch") {
  manual_seed(1);
  const auto calls = [](const Tensor& x, auto f) { return profiled([&] { f(x); }).events().size(); };
  const Tensor small = rand({8, 5});
  const Tensor large = rand({64, 5});
  CHECK_CLOSE(standardized(small), standardized_as_found(small), 1e-5, 1e-5);
  CHECK_GT(calls(large, standardized_as_found), 7 * calls(small, standardized_as_found));
  CHECK_EQ(calls(large, standardized) - calls(small, standardized), 0);
  CHECK_LE(calls(large, standardized), 50);
}

// %% [markdown]
// ### Debug: memory that grows
//
// This function measures accuracy on held-out data. With the small set of the tests it works. On the full set the process is killed after some minutes: memory grows with every batch, although only ten numbers for each sample are kept.
//
//       live ^            ____                  expected    ^
//            |       ____/                                  |  _   _   _   _
//            |  ____/                                       |_/ \_/ \_/ \_/ \_
//            +----------------- batch                       +----------------- batch
//
// `memory_text(result.memory_timeline())` shows the stairs. What else do ten numbers hold on to, when they come out of a model whose parameters require gradients?

// %%
//| lesson
using ImageBatch = std::pair<Tensor, Tensor>;  // images (B, F), labels (B)

// As found: the share of samples whose largest score is their label's.
double accuracy_as_found(nn::MLP& model, const std::vector<ImageBatch>& batches) {
  std::vector<Tensor> scores;
  std::vector<Tensor> labels;
  for (const auto& [images, targets] : batches) {
    scores.push_back(model(images));
    labels.push_back(targets);
  }
  return cat(scores).argmax(1).eq(cat(labels)).to(kDouble).mean().item<double>();
}

std::vector<ImageBatch> held_out(int batches) {
  std::vector<ImageBatch> made;
  for (int i = 0; i < batches; ++i) made.emplace_back(rand({32, 16}), randint(0, 4, {32}));
  return made;
}

// %%
DEMO("live memory during an evaluation that is killed on large data") {
  manual_seed(0);
  nn::MLP model(std::vector<std::int64_t>{16, 256, 4});
  const std::vector<ImageBatch> batches = held_out(24);
  const ProfilerResult result = profiled([&] { accuracy_as_found(model, batches); });
  std::printf("%s", memory_text(result.memory_timeline(), 80, 8).c_str());
  std::fflush(stdout);
}

// %% {"nbgrader": {"grade": false, "grade_id": "14-debug-leak", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
//| exercise debug
// The share of samples whose largest score is their label's. Peak memory does not depend on the number of batches (beyond their scores); gradients are recorded afterwards as before.
//
// TODO: Write the evaluation so that a batch leaves no more behind than its scores.
// APPROACH: each result of the model has a grad_fn, which holds the node, which holds what it saved for a backward pass that never comes.
// HINT: module 05 has a guard for code that needs no gradients.
double accuracy(nn::MLP& model, const std::vector<ImageBatch>& batches) {
  // BEGIN SOLUTION
  const NoGradGuard no_grad;
  double correct = 0;
  double samples = 0;
  for (const auto& [images, targets] : batches) {
    correct += model(images).argmax(1).eq(targets).sum().item<double>();
    samples += static_cast<double>(targets.numel());
  }
  return correct / samples;
  // END SOLUTION
}

// %%
//| mistake 14-debug-leak switches-gradients-off-for-good
//| says Gradients stay off after the evaluation, so that the next training step fails. Use the guard, which puts the old state back at the end of its scope.
#if 0
double accuracy(nn::MLP& model, const std::vector<ImageBatch>& batches) {
  GradMode::set_enabled(false);
  double correct = 0;
  double samples = 0;
  for (const auto& [images, targets] : batches) {
    correct += model(images).argmax(1).eq(targets).sum().item<double>();
    samples += static_cast<double>(targets.numel());
  }
  return correct / samples;
}
#endif

// %%
//| mistake 14-debug-leak clones-the-scores
//| says A clone has a grad_fn, too: it holds the graph of the whole forward pass. Record nothing in the first place, or detach.
#if 0
double accuracy(nn::MLP& model, const std::vector<ImageBatch>& batches) {
  std::vector<Tensor> scores;
  std::vector<Tensor> labels;
  for (const auto& [images, targets] : batches) {
    scores.push_back(model(images).clone());
    labels.push_back(targets);
  }
  return cat(scores).argmax(1).eq(cat(labels)).to(kDouble).mean().item<double>();
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "14-debug-leak-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("debug: an evaluation whose peak does not grow with the data") {
  manual_seed(2);
  nn::MLP model(std::vector<std::int64_t>{16, 256, 4});
  const auto peak = [&](auto f, int batches) {
    const std::vector<ImageBatch> data = held_out(batches);
    const ProfilerResult result = profiled([&] {
      RECORD_USER_SCOPE("evaluation");
      f(model, data);
    });
    return the_event(result, "evaluation").peak_memory;
  };
  const std::int64_t scores_of_a_batch = 32 * 4 * 4 + 32 * 8;
  CHECK_GT(peak(accuracy_as_found, 16), peak(accuracy_as_found, 4) + 12 * 32 * 256 * 4);
  CHECK_LE(peak(accuracy, 16), peak(accuracy, 4) + 12 * 3 * scores_of_a_batch);
  const std::vector<ImageBatch> data = held_out(5);
  CHECK_EQ(accuracy(model, data), accuracy_as_found(model, data));
  CHECK(GradMode::is_enabled());
}

// %% [markdown]
// ## Part 2: Systems analysis
//
// What does a training step consist of, what does its memory do, how far from the roof are its operators, and what did it cost to find out? `tito run 14` measures all of it on your machine.
//
//       cost of the profile  ^ x                            x  a step of tiny operators: events cost more than the work
//       as a share of step   |    x
//                            |          x         x     x     the same number of events, larger tensors
//                            +------------------------------> elements per tensor

// %%
//| lesson
// A step of the network that the whole course measures: 784-512-512-10, batch 128, Adam.
struct MeasuredStep {
  MeasuredStep() : model(std::vector<std::int64_t>{784, 512, 512, 10}), optimizer(model->parameters(), 1e-3) {
    images = rand({128, 784});
    labels = randint(0, 10, {128});
  }
  void run() {
    optimizer.zero_grad();
    Tensor loss;
    {
      RECORD_USER_SCOPE("forward");
      loss = cross_entropy_loss(model(images), labels);
    }
    {
      RECORD_USER_SCOPE("backward");
      loss.backward();
    }
    RECORD_USER_SCOPE("optimizer");
    optimizer.step();
  }
  nn::MLP model;
  optim::Adam optimizer;
  Tensor images, labels;
};

// %%
DEMO("a training step: table, flame view, and the most expensive nodes with what caused them") {
  manual_seed(0);
  MeasuredStep step;
  step.run();  // the first step allocates Adam's state
  ProfilerResult result = profiled([&] { step.run(); });
  result.name_modules(*step.model);
  std::printf("%s\n%s\n", result.key_averages().table("self_cpu_time_total", 12).c_str(), flame_text(flame_graph(result.events()), 110).c_str());
  for (const FunctionEvent& event : result.events()) {
    if (event.forward < 0 || event.cpu_time_ns() * 20 < result.duration_ns()) continue;
    const FunctionEvent& forward = result.events()[static_cast<std::size_t>(event.forward)];
    const std::string module = forward.parent < 0 ? "" : result.events()[static_cast<std::size_t>(forward.parent)].name;
    std::printf("  %-14s %10s   because of %s %s in %s, which took %s\n", event.name.c_str(), format_time(event.cpu_time_ns()).c_str(), forward.name.c_str(), shapes_of(forward).c_str(), module.c_str(),
                format_time(forward.cpu_time_ns()).c_str());
  }
  std::fflush(stdout);
}

// %%
DEMO("the memory of two training steps") {
  manual_seed(0);
  MeasuredStep step;
  memory::reset_peak();
  const ProfilerResult result = profiled([&] {
    step.run();
    step.run();
  });
  std::printf("%s", memory_text(result.memory_timeline(), 110, 12).c_str());
  std::printf("  the allocator's own peak: %zu bytes, now %zu\n%s", memory::stats().peak, memory::stats().live, result.key_averages().table("peak_memory", 8).c_str());
  std::fflush(stdout);
}

// %%
DEMO("the roofline of this machine, with one thread, and a training step under it") {
  const Peaks peaks = measure_peaks(1);
  manual_seed(0);
  MeasuredStep step;
  step.run();
  std::printf("instructions: %s\n%s", peaks.simd.c_str(), roofline_text(roofline(profiled([&] { step.run(); }).key_averages(), peaks), peaks).c_str());
  std::printf("shares above 100 %%: operands that were in a cache come faster than from memory\n");
  std::fflush(stdout);
}

// %% [markdown]
// ### What the profiler costs
//
// Two programs cannot be compared by running one after the other: the machine changes in between. So steps with and without a profile *alternate*, and medians are compared. For a step the question is whether 5 % is kept; for a single tiny operator, what an event costs in nanoseconds. (What the *test* for an observer costs when nobody looks on needs an optimized program: `benchmarks/observer.cpp`. On an AMD EPYC a call of an empty operator took 6.2 ns with the test and without it.)

// %%
//| lesson
// Medians of seconds without and with a profile, steps alternating.
std::pair<double, double> off_and_on(const std::function<void()>& work, int rounds) {
  std::vector<double> off, on;
  for (int i = 0; i < rounds; ++i) {
    Timer timer;
    work();
    off.push_back(timer.seconds());
    profile run;
    timer.reset();
    work();
    on.push_back(timer.seconds());
    run.stop();
  }
  return {median_of(off), median_of(on)};
}

// %%
DEMO("what it costs: a training step, and a tiny operator a thousand times") {
  manual_seed(0);
  MeasuredStep step;
  step.run();
  const auto [step_off, step_on] = off_and_on([&] { step.run(); }, 15);
  std::printf("  MLP step, batch 128:        off %10s   on %10s   %+.2f %%\n", format_seconds(step_off).c_str(), format_seconds(step_on).c_str(), 100 * (step_on / step_off - 1));
  const Tensor one = ones({1});
  const auto [tiny_off, tiny_on] = off_and_on([&] { for (int i = 0; i < 1000; ++i) one.add(one); }, 51);
  std::printf("  add of one element:         off %10s   on %10s   so an event costs %s\n", format_seconds(tiny_off / 1000).c_str(), format_seconds(tiny_on / 1000).c_str(),
              format_seconds((tiny_on - tiny_off) / 1000).c_str());
  std::fflush(stdout);
}

// %% [markdown]
// A point above 100 % is no error of the clock. The memory roof is what arrays allow that no cache holds; what an operator finds in a cache comes faster, and a step whose tensors fit there is full of such operators. (The arithmetic roof nobody passes: a share above 100 % to the right of the ridge says that something else ran while the peak was measured, or that a count is wrong.)
//
// Things to look for: which operator of the step has most *self* time, and is it the one with most FLOPs? How far below the roof are `mm` and `add`, and which of them could a better loop help? At what size of tensor does an event's cost stop mattering? Does live memory end a step where it began?
//
// ## Part 3: Production context
//
// All large frameworks have this module, in three parts: hooks in the dispatcher, buffers of events per thread, and views of the result.
//
//       PyTorch                          TensorFlow                        JAX
//       RecordFunction callbacks         TraceMe in the executor           TraceMe, and XLA's own events
//             │                               │                                │
//       Kineto (+ CUPTI for GPUs)        TSL profiler, XSpace protos       the same
//             │                               │                                │
//       key_averages().table(),          TensorBoard profile plugin,       TensorBoard, Perfetto
//       Chrome trace, memory view        trace viewer
//
// - **PyTorch.** `aten/src/ATen/record_function.h` is chapter 92's class: a list of callbacks instead of one observer, sampled if asked for, kept per thread and globally. `aten/src/ATen/core/dispatch/Dispatcher.h` (`callWithDispatchKeySlowPath`) is your `run_observed`. `torch/csrc/profiler/util.cpp` (`computeFlops`) is your table of formulas.
//   `torch/csrc/autograd/profiler_kineto.cpp` collects the events of threads; `torch/autograd/profiler_util.py` has `FunctionEvent`, `key_averages` and `table`. Its `evaluate_function` events in `torch/csrc/autograd/engine.cpp` carry the sequence number by which `fwdbwd` arrows are drawn.
// - **TensorFlow.** `tensorflow/core/common_runtime/executor.cc` wraps each kernel in a `TraceMe` (`tsl/profiler/lib/traceme.h`), which tests one atomic level when it is off: your one branch. Memory is annotated by scope in `tensorflow/core/framework/allocator.h` and shown as a timeline.
// - **JAX.** `jax/_src/profiler.py` starts the same tracer. Because XLA has fused everything (module 18), events are fusions and no longer operators; a map from instructions to lines of Python leads back.
//
// What they have and this module leaves out: events on a GPU, which run later than the call that launched them and need a second clock; stacks of source lines; sampling; and hardware counters (cache misses, instructions), which `perf` reads on Linux. Ours records all threads of the process; PyTorch's guard
// follows the thread that opened it into the engine's threads only. A module is an event where it is called as `net(x)` or inside of a `Sequential`, as the layers of the course's models are; `net->forward(x)` is a plain call of C++ that nobody can watch.

// %% [markdown]
// ## Integration test
//
// A convolutional network with a loader thread beside it: the whole way from the calls to the trace, checked for what must always hold.

// %%
TEST_CASE("profiling: a training step beside a loading thread, from calls to trace, table, flame view and roofline") {
  manual_seed(3);
  const Tensor weight = randn({4, 1, 3, 3});
  weight.requires_grad_();
  nn::MLP head(std::vector<std::int64_t>{4 * 6 * 6, 10});
  ProfilerResult result = profiled([&] {
    Tensor images;
    std::thread loader([&images] {
      RECORD_USER_SCOPE("load");
      images = rand({2, 1, 8, 8}).mul(2.0);
    });
    loader.join();
    RECORD_USER_SCOPE("train");
    const Tensor scores = head(conv2d(images, weight).relu());
    cross_entropy_loss(scores, randint(0, 10, {2})).backward();
  });
  result.name_modules(*head, "head");
  const std::vector<FunctionEvent>& events = result.events();
  CHECK_NE(the_event(result, "load").thread, the_event(result, "train").thread);

  // The convolution and both its gradients did the same work; its input needs no gradient, so one of them did not run.
  CHECK_EQ(the_event(result, "convolution").flops, 2 * (2 * 4 * 6 * 6) * 9);
  CHECK_EQ(the_event(result, "convolution_weight").flops, the_event(result, "convolution").flops);
  CHECK(all_of(result, "convolution_input").empty());
  const FunctionEvent& node = events[static_cast<std::size_t>(the_event(result, "convolution_weight").parent)];
  CHECK_EQ(node.name, "ConvolutionBackward0");
  CHECK_EQ(events[static_cast<std::size_t>(node.forward)].name, "convolution");

  const FlameNode flame = flame_graph(events);
  CHECK(flame.children.at("train").children.contains("head (MLP)"));
  CHECK_EQ(flame.children.at("train").total_ns, the_event(result, "train").cpu_time_ns());
  const EventList averages = result.key_averages();
  CHECK_EQ(averages.at("convolution").count, 1);
  std::int64_t self = 0;
  for (const FunctionEventAvg& row : averages.rows) self += row.self_cpu_time_total_ns;
  CHECK_EQ(self, flame.total_ns);
  const std::vector<RooflinePoint> points = roofline(averages, {.flops_per_second = 1e11, .bytes_per_second = 1e10});
  // The convolution's products stand under the roof: its own, or of the product that it calls.
  CHECK(std::any_of(points.begin(), points.end(), [](const RooflinePoint& point) { return (point.name == "convolution" || point.name == "mm" || point.name == "bmm") && point.share > 0; }));
  CHECK_FALSE(nlohmann::json::parse(chrome_trace(events, result.memory_timeline())).at("traceEvents").empty());
}

// %%
TEST_CASE("profiling: the layers of a GPT and of a ResNet are events with names and memory") {
  manual_seed(4);
  models::GPT gpt(models::GPTOptions(11, 8).n_layer(2).n_head(2).n_embd(8));
  models::ResNet resnet(1, 10, 4);
  ProfilerResult result = profiled([&] {
    gpt(randint(0, 11, {2, 8})).sum().backward();
    resnet(rand({2, 3, 8, 8})).sum().backward();
  });
  result.name_modules(*gpt, "gpt");
  result.name_modules(*resnet, "resnet");
  const EventList averages = result.key_averages();
  for (const char* name : {"gpt (GPT)", "gpt.wte (Embedding)", "gpt.wpe (Embedding)", "gpt.h.0 (Block)", "gpt.h.1 (Block)", "gpt.h.0.ln_1 (LayerNorm)", "gpt.h.0.attn (CausalSelfAttention)", "gpt.h.1.attn.c_attn (Linear)", "gpt.h.1.mlp (FeedForward)",
                           "gpt.h.1.mlp.c_proj (Linear)", "gpt.ln_f (LayerNorm)", "resnet (ResNet)", "resnet.conv1 (Conv2d)", "resnet.layer1 (Sequential)", "resnet.layer3.0 (BasicBlock)", "resnet.layer3.0.conv2 (Conv2d)", "resnet.fc (Linear)"}) {
    CAPTURE(std::string(name));
    const FunctionEventAvg& row = averages.at(name);
    CHECK(row.scope == RecordScope::MODULE);
    CHECK_EQ(row.count, 1);
    CHECK_GT(row.peak_memory, 0);
  }
  // The blocks are alike, and the model holds what each of them holds.
  CHECK_GE(averages.at("gpt (GPT)").peak_memory, averages.at("gpt.h.1 (Block)").peak_memory);
  CHECK_EQ(averages.at("gpt.h.0.attn.c_attn (Linear)").peak_memory, averages.at("gpt.h.1.attn.c_attn (Linear)").peak_memory);
}

// %% [markdown]
// ## ML systems thinking
//
// This module's pattern is Build -> Use -> **Analyze**. Run `tito run 14`, keep the output, and answer from your numbers.

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "14-explain-roof", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 1. What is worth doing?** Take the three operators with most self time in your training step. For each: its intensity, its share of what is attainable, and whether a faster loop, fewer bytes (fusing it with a neighbour) or fewer calls would help. If `mm` reached its roof, how much shorter would the step be, and which operator would then be first?
// BEGIN SOLUTION
// The answer goes from the roofline's list to the table. mm has an intensity far to the right of the ridge, so its roof is the peak; the reference loops reach a few percent of it, so a better loop helps, by up to the inverse of its share. add, mul and Adam's operators stand left of the ridge: at a high share only fewer bytes help (one
// fused pass over the parameters instead of eight, module 06), at a low share the loop itself is still the problem. The new step is (step - self time of mm + self time of mm x share); with mm near its roof the optimizer's elementwise operators usually come first. This is Amdahl's law with measured parts.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "14-explain-cost", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 2. What does looking cost?** From the last demonstration: what does an event cost, and how many events has a step? Does their product agree with the measured difference? For which programs would your profile be wrong because of its own cost, and in which direction: does it make parents or children look slower? Why may the profiler be on in all threads without one lock for all?
// BEGIN SOLUTION
// An event costs half a microsecond (two clock readings, a lock that is free, a few small allocations for shapes; on an AMD EPYC `add` of one element took 0.11 us without and 0.64 us with a profile, by benchmarks/observer.cpp), a step with Adam has three hundred events (326 there), so some 0.2 ms, half a percent of that step of 42 ms: it drowns
// in the noise, which was 5 % either way. A program of tiny operators, tens of nanoseconds each, is slowed down several times. begin() reads the clock last and end() reads it first, so the cost falls into the parent: parents of many small children look slower than they are. Each thread has its own recorder with its own lock, which only the collection at the end contends for.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "14-explain-memory", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}}
// **Question 3. Where is the peak?** From the memory demonstration: at which moment of the step is the most memory live, and what is held there? Why is the peak of the first step different from that of the second? Name two changes that lower the peak and say what each costs.
// BEGIN SOLUTION
// Activations grow through the forward pass and gradients through the backward pass, while activations are freed: the peak lies near the turn or, as the parameters are large against the batch here, at the end of the backward pass or in the optimizer, when all gradients and the optimizer's temporaries are held beside the parameters. In the first step
// Adam's two moments do not exist until the optimizer makes them, so the level afterwards is higher by twice the parameters. Checkpointing activations costs a second forward pass; a fused optimizer removes temporaries and costs code; a smaller batch costs throughput.
// END SOLUTION

// %% [markdown]
// ## Module summary
//
// - A profile is a list of events with begin, end, thread and parent. Events of one thread nest, so self times add up; totals do not.
// - The hook is one test of a pointer in the dispatcher, the engine, the allocator and the module holder. When nobody looks on, nothing else happens.
// - Each thread writes into its own recorder. Sessions have numbers, so that what ends late cannot damage the next profile.
// - FLOPs and bytes follow from shapes. Their quotient decides which roof an operator stands under, and measured peaks say how high that roof is.
// - Sequence numbers lead from an expensive node of the backward pass to the line of the forward pass that caused it.
// - Counts find hot spots, the memory timeline finds leaks, and both hide in code whose answers are right.
//
// Module 15 repeats such measurements until their differences mean something; module 16 moves operators up to their roofs.

// %%
}  // namespace tinytorch
