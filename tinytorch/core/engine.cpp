// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/engine.h"

#include <algorithm>
#include <map>
#include <queue>

#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/node_watchers-inl.h"
#include "tinytorch/core/pointer_map.h"
#include "tinytorch/core/record_function.h"

namespace tinytorch {

// Sums `grad` over the dimensions that broadcasting stretched. Returns a tensor of size `sizes`, or `grad` itself if nothing was stretched.
// REQUIRES: `sizes` broadcasts to grad.sizes(). O(grad.numel()).
Tensor sum_to(const Tensor& grad, IntArrayRef sizes) {
  if (grad.sizes() == sizes) return grad;
  DimVector stretched;
  const std::size_t added = grad.sizes().size() - sizes.size();
  for (std::size_t i = 0; i < grad.sizes().size(); ++i)
    if (i < added || (sizes[i - added] == 1 && grad.sizes()[i] != 1)) stretched.push_back(static_cast<std::int64_t>(i));
  const Tensor total = stretched.empty() ? grad : grad.sum(stretched, true);
  return total.reshape(sizes);
}

namespace {
// Whether a tensor of `from` broadcasts to `to`.
bool expands_to(IntArrayRef from, IntArrayRef to) {
  if (from.size() > to.size()) return false;
  for (std::size_t i = 1; i <= from.size(); ++i)
    if (from[from.size() - i] != to[to.size() - i] && from[from.size() - i] != 1) return false;
  return true;
}

// Brings what a node returned to the shape and dtype of the tensor that it is the gradient of.
Tensor fit_gradient(Tensor grad, const Edge& edge, const Node& from, std::size_t index) {
  const InputMetadata& expected = edge.function->input_metadata(edge.input_nr);
  if (grad.sizes() == IntArrayRef(expected.sizes) && grad.scalar_type() == expected.dtype) return grad;
  TORCH_CHECK(expands_to(expected.sizes, grad.sizes()), "Function ", from.name(), " returned an invalid gradient at index ", index, " - got ",
              grad.sizes(), " but expected shape compatible with ", IntArrayRef(expected.sizes));
  return sum_to(grad, expected.sizes).to(expected.dtype);
}

// slot += grad; nothing yet counts as zero. A sum that the run alone holds, and that is not recorded, is added to where it lies.
void add_into(Tensor& slot, Tensor grad) {
  if (!slot.defined()) {
    slot = std::move(grad);
  } else if (!GradMode::is_enabled() && is_ours_alone(slot)) {
    slot.add_(grad);
  } else {
    slot = slot + grad;
  }
}
}  // namespace

namespace {
constexpr std::uint32_t kNowhere = ~std::uint32_t{0};

// The sums of what has arrived at a node's inputs. Almost every node has one, which needs no list; the list is made when the node is applied.
class Arrived {
 public:
  explicit Arrived(std::size_t count) {
    if (count > 1) others_.list().resize(count - 1);
  }
  Tensor& operator[](std::size_t input) { return input == 0 ? first_ : others_.list()[input - 1]; }
  // As a list with room for `results`, in which the node may return its own; in the memory of `list`, which is empty.
  variable_list take(std::size_t results, variable_list list) {
    list.reserve(std::max(others_.size() + 1, results));
    list.push_back(std::move(first_));
    if (!others_.empty()) list.insert(list.end(), std::make_move_iterator(others_.list().begin()), std::make_move_iterator(others_.list().end()));
    return list;
  }

 private:
  Tensor first_;
  LazyVector<Tensor> others_;
};

// The state of one backward run.
class GraphTask : public AskedGradients {
 public:
  GraphTask(bool keep_graph, bool accumulate) : keep_graph_(keep_graph), accumulate_(accumulate) {}
  variable_list run(const edge_list& roots, variable_list grads, const edge_list& inputs);
  bool asks_for(const Node& node, std::size_t index) const override;

 private:
  // What the run knows of one node. The roots keep the nodes alive.
  struct Buffer {
    Node* node;
    Arrived grads;                 // by input number
    std::size_t waiting_for = 0;   // edges that have not delivered yet
    std::size_t first_target = 0;  // where the targets of its edges begin
    bool leads = false;            // leads on to one of the inputs asked for
  };

  std::uint32_t enter(Node& node);
  void count_dependencies(const edge_list& roots);
  void mark_leading();
  void capture(const edge_list& inputs);
  // Whether what arrives at the node leads on to one of the inputs, or is what they ask for.
  bool wants(std::uint32_t number) const { return captured_.empty() || buffers_[number].leads || captures_.contains(number); }
  void deliver(std::uint32_t number, std::uint32_t input_nr, Tensor grad);
  void run_node(std::uint32_t number);
  // The numbers that the node's edges lead to; kNowhere for an edge to nowhere.
  ArrayRef<std::uint32_t> targets(const Buffer& buffer) const { return {targets_.data() + buffer.first_target, buffer.node->num_outputs()}; }

  bool keep_graph_;
  bool accumulate_;
  PointerMap<Node, std::uint32_t> numbers_;
  std::vector<Buffer> buffers_;
  std::vector<std::uint32_t> targets_;
  std::priority_queue<std::pair<std::uint64_t, std::uint32_t>> ready_;                   // sequence number and number; the youngest first
  std::multimap<std::uint32_t, std::pair<std::uint32_t, std::size_t>> captures_;         // number -> input number, position in captured_
  variable_list captured_;
  variable_list spare_;  // memory for the next node's gradients
};

// The number of `node`, which gets a buffer when it is new.
std::uint32_t GraphTask::enter(Node& node) {
  const std::uint32_t number = numbers_.at_or_put(&node, static_cast<std::uint32_t>(buffers_.size()));
  if (number == buffers_.size()) buffers_.push_back({&node, Arrived(node.num_inputs())});
  return number;
}
}  // namespace

namespace {
// Gives every node that the roots reach a buffer, notes where each of its edges leads, and counts how many edges lead into it.
// No recursion: a chain may be a million long. O(nodes + edges).
void GraphTask::count_dependencies(const edge_list& roots) {
  for (const Edge& root : roots) enter(*root.function);
  for (std::size_t number = 0; number < buffers_.size(); ++number) {
    buffers_[number].first_target = targets_.size();
    for (const Edge& edge : buffers_[number].node->next_edges()) {
      targets_.push_back(edge.is_valid() ? enter(*edge.function) : kNowhere);
      if (edge.is_valid()) ++buffers_[targets_.back()].waiting_for;
    }
  }
}
}  // namespace

namespace {
// With inputs given, only nodes that lead on to one of them need to run: found from the far end of the graph to the roots.
void GraphTask::mark_leading() {
  std::vector<std::uint32_t> order;  // every node before those that its edges lead to
  std::vector<std::size_t> waiting_for;
  for (std::uint32_t number = 0; number < buffers_.size(); ++number) {
    waiting_for.push_back(buffers_[number].waiting_for);
    if (waiting_for.back() == 0) order.push_back(number);
  }
  for (std::size_t i = 0; i < order.size(); ++i)
    for (const std::uint32_t target : targets(buffers_[order[i]]))
      if (target != kNowhere && --waiting_for[target] == 0) order.push_back(target);
  for (auto number = order.rbegin(); number != order.rend(); ++number)
    for (const std::uint32_t target : targets(buffers_[*number]))
      if (target != kNowhere && wants(target)) buffers_[*number].leads = true;
}

// A node on the way to one of the inputs may have others beside it: a product whose left factor is asked for need not compute the gradient of the right one, which is half of its work.
bool GraphTask::asks_for(const Node& node, std::size_t index) const {
  const auto entry = numbers_.find(&node);
  return entry == numbers_.end() || wants(targets(buffers_[entry->second])[index]);
}

// Notes whose gradients to take away for autograd::grad.
void GraphTask::capture(const edge_list& inputs) {
  captured_.resize(inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) if (const auto entry = numbers_.find(inputs[i].function.get()); entry != numbers_.end()) captures_.emplace(entry->second, std::pair{inputs[i].input_nr, i});
  if (!captures_.empty()) mark_leading();
}
}  // namespace

namespace {
// Adds a gradient to what has arrived at input `input_nr` of node `number`; the node is ready when every edge into it has delivered.
void GraphTask::deliver(std::uint32_t number, std::uint32_t input_nr, Tensor grad) {
  Buffer& buffer = buffers_[number];
  if (grad.defined()) add_into(buffer.grads[input_nr], std::move(grad));
  if (--buffer.waiting_for == 0) ready_.emplace(buffer.node->sequence_nr(), number);
}
}  // namespace

namespace {
// A node on which somebody keeps an eye.
variable_list apply_watched(Node& node, variable_list grads) {
  const variable_list grad_outputs = grads;
  variable_list results = anomaly_mode.load(std::memory_order_relaxed) ? apply_with_checks(node, std::move(grads)) : node(std::move(grads));
  if (const NodeWatchers* const watchers = node.watchers())
    for (const auto& hook : watchers->post_hooks) hook(results, grad_outputs);
  return results;
}

// Hooks, captures, the node itself, and delivery of what it returned.
void GraphTask::run_node(std::uint32_t number) {
  Buffer& buffer = buffers_[number];
  Node& node = *buffer.node;
  RecordFunction record(RecordScope::BACKWARD_FUNCTION);
  if (record.isActive()) record.before(node.name(), static_cast<std::int64_t>(node.sequence_nr()));
  variable_list grads = buffer.grads.take(node.num_outputs(), std::move(spare_));
  const NodeWatchers* const watchers = wants(number) ? node.watchers() : nullptr;
  if (watchers != nullptr) call_hooks(*watchers, grads);
  bool runs = captured_.empty() || buffer.leads;
  if (!captures_.empty()) {
    for (auto [capture, end] = captures_.equal_range(number); capture != end; ++capture) {
      captured_[capture->second.second] = grads[capture->second.first];
      runs = runs || (accumulate_ && node.next_edges().empty());  // a leaf among the inputs of backward() accumulates
    }
  }
  variable_list results;
  if (runs) {
    const bool watched = anomaly_mode.load(std::memory_order_relaxed) || (watchers != nullptr && !watchers->post_hooks.empty());
    results = watched ? apply_watched(node, std::move(grads)) : node(std::move(grads));
    if (!keep_graph_) node.release_variables();
  }
  grads.clear();
  results.resize(node.num_outputs());
  for (std::size_t i = 0; i < results.size(); ++i) {
    const Edge& edge = node.next_edge(i);
    if (!edge.is_valid()) continue;
    deliver(targets(buffer)[i], edge.input_nr, results[i].defined() ? fit_gradient(std::move(results[i]), edge, node, i) : Tensor());
  }
  results.clear();
  spare_ = std::move(results);
}
}  // namespace

namespace {
// Runs everything that the roots reach, each node once, when all its gradients have arrived. Returns the captured gradients, in the order of the inputs asked for. O(nodes + edges) beside the nodes' own work.
variable_list GraphTask::run(const edge_list& roots, variable_list grads, const edge_list& inputs) {
  count_dependencies(roots);
  capture(inputs);
  for (const Edge& root : roots) ++buffers_[numbers_.at(root.function.get())].waiting_for;
  for (std::size_t i = 0; i < roots.size(); ++i) deliver(numbers_.at(roots[i].function.get()), roots[i].input_nr, std::move(grads[i]));
  while (!ready_.empty()) {
    const std::uint32_t number = ready_.top().second;
    ready_.pop();
    run_node(number);
  }
  return std::move(captured_);
}
}  // namespace

namespace {
// While it lives, the nodes of this thread ask `asked` which gradients are wanted.
class AskedGradientsGuard {
 public:
  explicit AskedGradientsGuard(const AskedGradients* asked) : before_(std::exchange(asked_gradients, asked)) {}
  ~AskedGradientsGuard() { asked_gradients = before_; }
  AskedGradientsGuard(const AskedGradientsGuard&) = delete;
  AskedGradientsGuard& operator=(const AskedGradientsGuard&) = delete;

 private:
  const AskedGradients* before_;
};
}  // namespace

variable_list run_backward(const edge_list& roots, variable_list grads, bool keep_graph, bool create_graph, const edge_list& inputs, bool accumulate) {
  const AutoGradMode recording(create_graph);
  GraphTask task(keep_graph, accumulate);
  const AskedGradientsGuard guard(inputs.empty() ? nullptr : &task);
  return task.run(roots, std::move(grads), inputs);
}

}  // namespace tinytorch
