// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/node.h"

#include <atomic>
#include <limits>

#include "tinytorch/core/engine.h"
#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/node_watchers-inl.h"
#include "tinytorch/core/record_function.h"

namespace tinytorch {

namespace {
// Nodes count up in the order of the forward pass; the engine runs the youngest ready one first. A thread takes many numbers at a time: adding to a
// counter that all threads share takes as long as half an operator. (In PyTorch each thread counts for itself, at::sequence_number.)
std::atomic<std::uint64_t> numbers_taken{0};
thread_local constinit std::uint64_t next_sequence_nr = 0;

std::uint64_t take_sequence_nr() {
  constexpr std::uint64_t at_a_time = 1024;
  if (next_sequence_nr % at_a_time == 0) next_sequence_nr = numbers_taken.fetch_add(at_a_time, std::memory_order_relaxed);
  return next_sequence_nr++;
}
}  // namespace
AutogradMeta::AutogradMeta() {}  // written out: with the default one std::make_unique would fill all of it with zeros before
AutogradMeta::~AutogradMeta() = default;

Node::Node() : sequence_nr_(take_sequence_nr()) {
  if (anomaly_mode.load(std::memory_order_relaxed)) watch().anomaly_record = record_place();
  if (RecordObserver* const observer = record_observer.load()) observer->node(sequence_nr_);
}

NodeWatchers& Node::watch() {
  if (!watchers_) watchers_.reset(new NodeWatchers());
  return *watchers_;
}

void DeleteWatchers::operator()(NodeWatchers* watchers) const { delete watchers; }

std::uint32_t Node::add_input_metadata(const Tensor& output) {
  InputMetadata& added = input_metadata_.add();
  added.sizes = output.impl().sizes;
  added.dtype = output.scalar_type();
  return static_cast<std::uint32_t>(input_metadata_.size() - 1);
}

AutogradMeta& materialize_autograd_meta(const Tensor& tensor) {
  TensorImpl& impl = tensor.impl();
  if (!impl.metadata) impl.metadata = std::make_unique<AutogradMeta>();
  return static_cast<AutogradMeta&>(*impl.metadata);
}

// The last node of a leaf: adds the gradient that arrives into the leaf's grad(). Source: torch/csrc/autograd/functions/accumulate_grad.h.
class AccumulateGrad : public Node {
 public:
  explicit AccumulateGrad(Tensor leaf) : Node(std::numeric_limits<std::uint64_t>::max()), variable(std::move(leaf)) { add_input_metadata(variable); }
  std::string name() const override { return "torch::autograd::AccumulateGrad"; }
  variable_list apply(variable_list&& grads) override;
  Tensor variable;
};

// Adds the gradient that arrived (grads[0], of the leaf's sizes) into the leaf's grad; returns no gradients. Undefined counts as zero.
// Safe when several threads go back through graphs with this leaf. O(numel).
variable_list AccumulateGrad::apply(variable_list&& grads) {
  if (!grads[0].defined()) return {};
  AutogradMeta& meta = materialize_autograd_meta(variable);
  const memory::Lock lock(meta.mutex);
  const Tensor incoming = std::move(grads[0]);
  grads.clear();
  if (!meta.grad.defined()) {
    // Memory that nobody else sees is taken; a shared or stretched gradient is copied, since later sums write into it. An optimizer walks over both side by side, so a gradient lies as its leaf does.
    const MemoryFormat order = order_of(variable);
    meta.grad = !GradMode::is_enabled() && incoming.is_contiguous(order) && is_ours_alone(incoming) ? incoming.detach() : incoming.clone(order);
  } else if (GradMode::is_enabled()) {
    meta.grad = meta.grad + incoming;
  } else {
    meta.grad.add_(incoming);
  }
  return {};
}

// The edge along which the gradient of `tensor` is sent; an edge to nowhere if it needs none. The same node each time it is asked. O(1), except for a view whose base was written to.
Edge gradient_edge(const Tensor& tensor) {
  if (std::shared_ptr<Node> function = history(tensor)) return {std::move(function), autograd_meta(tensor)->output_nr};
  if (!tensor.requires_grad()) return {};
  AutogradMeta* const meta = autograd_meta(tensor);
  const memory::Lock lock(meta->mutex);
  std::shared_ptr<Node> accumulator = meta->grad_accumulator.lock();
  if (!accumulator) {
    accumulator = make_node<AccumulateGrad>(tensor);
    for (const auto& hook : meta->hooks) accumulator->watch().tensor_pre_hooks.emplace_back(0, hook);
    meta->grad_accumulator = accumulator;
  }
  return {std::move(accumulator), 0};
}

namespace {
// What retain_grad() asked for stays with the tensor when its history changes. REQUIRES: it asked.
void move_retained_grad(const AutogradMeta& meta, const std::shared_ptr<Node>& from, const std::shared_ptr<Node>& to, std::uint32_t input_nr) {
  if (from) std::erase_if(from->watch().retained_grads, [&](const auto& kept) { return kept.second == meta.retained_grad; });
  to->watch().retained_grads.emplace_back(input_nr, meta.retained_grad);
}

// A view's grad_fn is out of date once its storage was written to through another tensor: then the view is taken anew from the
// base, whose history knows of the write.
void refresh_view_history(const Tensor& tensor, AutogradMeta& meta) {
  ViewMeta& view = *meta.view;
  const std::uint32_t version = tensor.storage()->version.load();
  if (view.version == version || (!meta.grad_fn && !view.base.requires_grad())) return;
  check_view_write(meta, true);
  const AutoGradMode recording(true);
  const Tensor again = view.replay(view.base);
  const AutogradMeta* fresh = autograd_meta(again);
  if (meta.retained_grad) move_retained_grad(meta, meta.grad_fn, fresh->grad_fn, fresh->output_nr);
  meta.grad_fn = fresh->grad_fn;
  meta.output_nr = fresh->output_nr;
  view.version = version;
}
}  // namespace

bool base_wants_gradient(const ViewMeta& view) { return wants_gradient(view.base); }

std::shared_ptr<Node> history_of_view(const Tensor& tensor, AutogradMeta& meta) {
  const memory::Lock lock(meta.mutex);
  refresh_view_history(tensor, meta);
  return meta.grad_fn;
}

void set_history(const Tensor& tensor, std::shared_ptr<Node> node) {
  if (!tensor.defined() || !tensor.is_floating_point()) return;
  AutogradMeta& meta = materialize_autograd_meta(tensor);
  const std::uint32_t output_nr = node->add_input_metadata(tensor);
  if (meta.retained_grad) move_retained_grad(meta, meta.grad_fn, node, output_nr);
  meta.grad_fn = std::move(node);
  meta.output_nr = output_nr;
  if (meta.view) meta.view->version = tensor.storage()->version.load();
  tensor.impl().layers = tensor.impl().layers | Layer::Autograd;
}

// A write into a view, seen from the base: the part of the gradient under the view goes through `write`, the rest passes on.
// Source: torch/csrc/autograd/functions/tensor.h, CopySlices.
class CopySlices : public Node {
 public:
  CopySlices(const Tensor& base, std::function<Tensor(const Tensor&)> view, std::shared_ptr<Node> write)
      : replay_(std::move(view)), write_(std::move(write)) {
    edge_list edges(write_->next_edges().begin(), write_->next_edges().end());
    edges[0] = gradient_edge(base);  // what the view held came from the base
    set_next_edges(std::move(edges));
  }
  std::string name() const override { return "torch::autograd::CopySlices"; }
  variable_list apply(variable_list&& grads) override;
  void release_variables() override {
    if (write_) write_->release_variables();
  }

 private:
  std::function<Tensor(const Tensor&)> replay_;
  std::shared_ptr<Node> write_;
};

// grads[0] is the gradient of the base after the write. Returns the gradient of the base before it, then those of the write's other inputs.
// O(base.numel()); does not change what it was given.
variable_list CopySlices::apply(variable_list&& grads) {
  if (!grads[0].defined()) return variable_list(next_edges().size());
  const Tensor whole = grads[0].clone(MemoryFormat::Contiguous);
  const Tensor part = replay_(whole);
  variable_list results = write_->apply({part.clone()});
  if (results[0].defined()) {
    part.copy_(results[0]);
  } else {
    part.zero_();
  }
  results[0] = whole;
  return results;
}

void rebase_history(const Tensor& tensor, const std::shared_ptr<Node>& node) {
  AutogradMeta& meta = materialize_autograd_meta(tensor);
  if (!meta.view) {
    set_history(tensor, node);
    return;
  }
  node->add_input_metadata(tensor);
  set_history(meta.view->base, make_node<CopySlices>(meta.view->base, meta.view->replay, node));
  meta.view->version = tensor.storage()->version.load() - 1;  // out of date: taken anew when asked for
  tensor.impl().layers = tensor.impl().layers | Layer::Autograd;
}

// Throws Error with PyTorch's sentence if `tensor` must not be written in place now. `requires_grad` says whether it or another argument
// of the write requires gradients. O(1).
void check_inplace(const Tensor& tensor, bool requires_grad) {
  if (!requires_grad || !is_recording()) return;
  const AutogradMeta* const meta = autograd_meta(tensor);
  if (meta != nullptr && meta->view) {
    check_view_write(*meta, false);
    TORCH_CHECK(!tensor.requires_grad() || !meta->view->base.is_leaf(), "a view of a leaf Variable that requires grad is being used in an in-place operation.");
  }
  TORCH_CHECK(!tensor.requires_grad() || !tensor.is_leaf(), "a leaf Variable that requires grad is being used in an in-place operation.\n"
              "Its old value would be lost to the graph: write into it under NoGradGuard, or compute a new tensor.");
}

}  // namespace tinytorch
