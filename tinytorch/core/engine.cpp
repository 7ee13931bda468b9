// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/engine.h"

#include <algorithm>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include "tinytorch/core/grad_mode.h"

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
Tensor fit_gradient(const Tensor& grad, const Edge& edge, const Node& from, std::size_t index) {
  const InputMetadata& expected = edge.function->input_metadata(edge.input_nr);
  TORCH_CHECK(expands_to(expected.sizes, grad.sizes()), "Function ", from.name(), " returned an invalid gradient at index ", index, " - got ",
              grad.sizes(), " but expected shape compatible with ", IntArrayRef(expected.sizes));
  return sum_to(grad, expected.sizes).to(expected.dtype);
}

void add_into(Tensor& slot, Tensor grad) { slot = slot.defined() ? slot + grad : std::move(grad); }
}  // namespace

namespace {
// The state of one backward run.
class GraphTask {
 public:
  GraphTask(bool keep_graph, const edge_list& inputs, bool accumulate) : keep_graph_(keep_graph), accumulate_(accumulate), captured_(inputs.size()) {
    for (std::size_t i = 0; i < inputs.size(); ++i) captures_[inputs[i].function.get()].emplace_back(inputs[i].input_nr, i);
  }
  variable_list run(const edge_list& roots, variable_list grads);

 private:
  struct Buffer {
    std::shared_ptr<Node> node;
    variable_list grads;
    std::size_t waiting_for = 0;  // edges that have not delivered yet
    bool leads = false;           // leads on to one of the inputs asked for
  };
  struct ByAge {
    bool operator()(const Buffer* a, const Buffer* b) const { return a->node->sequence_nr() < b->node->sequence_nr(); }
  };

  void count_dependencies(const edge_list& roots);
  void mark_leading(const std::vector<Node*>& in_finishing_order);
  void deliver(const Edge& edge, Tensor grad);
  void run_node(Buffer& buffer);

  bool keep_graph_;
  bool accumulate_;
  std::unordered_map<Node*, Buffer> buffers_;
  std::priority_queue<Buffer*, std::vector<Buffer*>, ByAge> ready_;
  std::unordered_map<Node*, std::vector<std::pair<std::uint32_t, std::size_t>>> captures_;
  variable_list captured_;
};
}  // namespace

namespace {
// Finds every node that the roots reach and how many edges lead into each. Depth first with a stack of its own: a chain may be a million long.
void GraphTask::count_dependencies(const edge_list& roots) {
  std::vector<std::pair<Node*, std::size_t>> stack;  // a node and the next of its edges to follow
  std::vector<Node*> finished;
  auto visit = [&](const std::shared_ptr<Node>& node) {
    auto [position, is_new] = buffers_.try_emplace(node.get());
    if (!is_new) return;
    position->second.node = node;
    position->second.grads.resize(node->num_inputs());
    stack.emplace_back(node.get(), 0);
  };
  for (const Edge& root : roots) {
    visit(root.function);
    while (!stack.empty()) {
      auto& [node, next] = stack.back();
      if (next == node->next_edges().size()) {
        finished.push_back(node);
        stack.pop_back();
        continue;
      }
      const Edge& edge = node->next_edges()[next++];
      if (!edge.is_valid()) continue;
      visit(edge.function);
      ++buffers_.at(edge.function.get()).waiting_for;
    }
  }
  if (!captures_.empty()) mark_leading(finished);
}
}  // namespace

namespace {
// With inputs given, only nodes that lead on to one of them need to run. A node finishes after all that it leads to.
void GraphTask::mark_leading(const std::vector<Node*>& in_finishing_order) {
  for (Node* const node : in_finishing_order) {
    Buffer& buffer = buffers_.at(node);
    for (const Edge& edge : node->next_edges()) {
      if (!edge.is_valid()) continue;
      buffer.leads = buffer.leads || captures_.contains(edge.function.get()) || buffers_.at(edge.function.get()).leads;
    }
  }
}
}  // namespace

namespace {
// Adds a gradient to what its node has received; the node is ready when every edge into it has delivered.
void GraphTask::deliver(const Edge& edge, Tensor grad) {
  Buffer& buffer = buffers_.at(edge.function.get());
  if (grad.defined()) add_into(buffer.grads[edge.input_nr], std::move(grad));
  if (--buffer.waiting_for == 0) ready_.push(&buffer);
}
}  // namespace

namespace {
// Hooks, captures, the node itself, and delivery of what it returned.
void GraphTask::run_node(Buffer& buffer) {
  Node& node = *buffer.node;
  for (const auto& [input, hook] : node.tensor_pre_hooks) {
    if (!buffer.grads[input].defined()) continue;
    if (Tensor replaced = (*hook)(buffer.grads[input]); replaced.defined()) buffer.grads[input] = std::move(replaced);
  }
  bool runs = captures_.empty() || buffer.leads;
  if (const auto found = captures_.find(&node); found != captures_.end()) {
    for (const auto& [input, position] : found->second) captured_[position] = buffer.grads[input];
    runs = runs || accumulate_;
  }
  variable_list results;
  if (runs) {
    const variable_list grad_outputs = node.post_hooks.empty() ? variable_list() : buffer.grads;
    results = node.apply(std::move(buffer.grads));
    for (const auto& hook : node.post_hooks) hook(results, grad_outputs);
    if (!keep_graph_) node.release_variables();
  }
  buffer.grads.clear();
  for (std::size_t i = 0; i < node.next_edges().size(); ++i) {
    const Edge& edge = node.next_edges()[i];
    if (!edge.is_valid()) continue;
    deliver(edge, i < results.size() && results[i].defined() ? fit_gradient(results[i], edge, node, i) : Tensor());
  }
}
}  // namespace

namespace {
// Runs everything that the roots reach, each node once, when all its gradients have arrived. Returns the captured gradients, in the order of the inputs asked for. O(nodes + edges) beside the nodes' own work.
variable_list GraphTask::run(const edge_list& roots, variable_list grads) {
  count_dependencies(roots);
  for (const Edge& root : roots) ++buffers_.at(root.function.get()).waiting_for;
  for (std::size_t i = 0; i < roots.size(); ++i) deliver(roots[i], std::move(grads[i]));
  while (!ready_.empty()) {
    Buffer& buffer = *ready_.top();
    ready_.pop();
    run_node(buffer);
    buffer.node.reset();
  }
  return std::move(captured_);
}
}  // namespace

variable_list run_backward(const edge_list& roots, variable_list grads, bool keep_graph, bool create_graph, const edge_list& inputs, bool accumulate) {
  const AutoGradMode recording(create_graph);
  return GraphTask(keep_graph, inputs, accumulate).run(roots, std::move(grads));
}

namespace {
// The edges where a backward run starts, and the gradients to start with.
std::pair<edge_list, variable_list> starting_points(const variable_list& tensors, const variable_list& given) {
  TORCH_CHECK(given.empty() || given.size() == tensors.size(), "got ", tensors.size(), " tensors and ", given.size(), " gradients");
  edge_list roots;
  variable_list grads;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    roots.push_back(gradient_edge(tensors[i]));
    TORCH_CHECK(roots.back().is_valid(), "element ", i, " of tensors does not require grad and does not have a grad_fn\n"
                "Nothing it was computed from has requires_grad, or it was computed under NoGradGuard.");
    Tensor grad = given.empty() ? Tensor() : given[i];
    if (!grad.defined()) {
      TORCH_CHECK(tensors[i].numel() == 1, "grad can be implicitly created only for scalar outputs\n[backward] sizes ", tensors[i].sizes(),
                  "; reduce to one element, for example with sum(), or pass a gradient of these sizes.");
      grad = ones_like(tensors[i].detach());
    }
    TORCH_CHECK(grad.sizes() == tensors[i].sizes(), "Mismatch in shape: grad_output[", i, "] has a shape of ", grad.sizes(), " and output[", i,
                "] has a shape of ", tensors[i].sizes(), ".");
    grads.push_back(std::move(grad));
  }
  return {std::move(roots), std::move(grads)};
}
}  // namespace

void autograd::backward(const variable_list& tensors, const variable_list& grad_tensors, std::optional<bool> retain_graph, bool create_graph,
                        const variable_list& inputs) {
  auto [roots, grads] = starting_points(tensors, grad_tensors);
  edge_list targets;
  for (const Tensor& input : inputs) {
    targets.push_back(gradient_edge(input));
    TORCH_CHECK(targets.back().is_valid(), "One of the differentiated Tensors does not require grad");
  }
  run_backward(roots, std::move(grads), retain_graph.value_or(create_graph), create_graph, targets, true);
}

variable_list autograd::grad(const variable_list& outputs, const variable_list& inputs, const variable_list& grad_outputs,
                             std::optional<bool> retain_graph, bool create_graph, bool allow_unused) {
  auto [roots, grads] = starting_points(outputs, grad_outputs);
  edge_list targets;
  for (const Tensor& input : inputs) {
    targets.push_back(gradient_edge(input));
    TORCH_CHECK(targets.back().is_valid(), "One of the differentiated Tensors does not require grad");
  }
  variable_list result = run_backward(roots, std::move(grads), retain_graph.value_or(create_graph), create_graph, targets);
  for (const Tensor& grad : result)
    TORCH_CHECK(allow_unused || grad.defined(), "One of the differentiated Tensors appears to not have been used in the graph. "
                "Set allow_unused=True if this is the desired behavior.");
  return result;
}

}  // namespace tinytorch
