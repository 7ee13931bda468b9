// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/core/small_vector.h"

namespace tinytorch {

class Node;

// An arrow of the graph, against the direction of the computation: to input `input_nr` of `function`.
// Source: torch/csrc/autograd/edge.h.
struct Edge {
  std::shared_ptr<Node> function;
  std::uint32_t input_nr = 0;
  bool is_valid() const { return function != nullptr; }
};

// What a node knows of one of its inputs, which is an output of the forward operator.
struct InputMetadata {
  DimVector sizes;
  ScalarType dtype{};
};

using edge_list = std::vector<Edge>;
using variable_list = std::vector<Tensor>;
using TensorHook = std::function<Tensor(const Tensor&)>;

// Anomaly mode, for debugging: a node that is made in it keeps where in the program it was recorded, and the engine applies nodes with
// checks. Chapter 99 has the two functions and the guard that switches the mode on.
struct AnomalyRecord;
inline constinit std::atomic<bool> anomaly_mode{false};
std::shared_ptr<const AnomalyRecord> record_place();
variable_list apply_with_checks(Node& node, variable_list&& grads);

// A node holds them by a pointer, and only what asks for them has to know what they are.
struct NodeWatchers;
struct DeleteWatchers {
  void operator()(NodeWatchers* watchers) const;
};

// What a run of autograd::grad, or of backward() with inputs, asks of the nodes: some of the gradients that they could compute.
class AskedGradients {
 public:
  // Whether the gradient of the node's input `index` leads on to one of the run's inputs.
  virtual bool asks_for(const Node& node, std::size_t index) const = 0;

 protected:
  ~AskedGradients() = default;
};
// Of the run that goes on in this thread; null where it asks for all.
inline constinit thread_local const AskedGradients* asked_gradients = nullptr;

// One recorded operator: turns gradients of its outputs into gradients of its inputs. Source: torch/csrc/autograd/function.h.
class Node : public std::enable_shared_from_this<Node>, public memory::Pooled {
 public:
  Node();
  explicit Node(std::uint64_t sequence_nr) : sequence_nr_(sequence_nr) {}
  virtual ~Node() = default;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // Gradients of the outputs in (undefined stands for zero), gradients of the inputs out, one for each next edge.
  virtual variable_list apply(variable_list&& grads) = 0;
  variable_list operator()(variable_list&& grads) { return apply(std::move(grads)); }
  virtual std::string name() const = 0;
  // Frees what was saved for apply().
  virtual void release_variables() {}

  const SmallVector<Edge, 2>& next_edges() const { return next_edges_; }
  const Edge& next_edge(std::size_t index) const { return next_edges_[index]; }
  void add_next_edge(Edge edge) { next_edges_.add() = std::move(edge); }
  Edge& add_next_edge() { return next_edges_.add(); }  // to nowhere as yet
  void set_next_edges(edge_list edges) {
    next_edges_.clear();
    for (Edge& edge : edges) add_next_edge(std::move(edge));
  }
  std::uint64_t sequence_nr() const { return sequence_nr_; }
  std::size_t num_inputs() const { return input_metadata_.size(); }
  std::size_t num_outputs() const { return next_edges_.size(); }
  const InputMetadata& input_metadata(std::size_t index) const { return input_metadata_[index]; }
  std::uint32_t add_input_metadata(const Tensor& output);

  // Whether the run that applies this node wants the gradient of its input `index`; otherwise apply() may leave it undefined.
  bool task_should_compute_output(std::size_t index) const { return next_edge(index).is_valid() && (asked_gradients == nullptr || asked_gradients->asks_for(*this, index)); }

  const NodeWatchers* watchers() const { return watchers_.get(); }  // null for most nodes
  NodeWatchers& watch();                                            // made on demand

 private:
  friend void destroy_node(Node* node);
  std::unique_ptr<NodeWatchers, DeleteWatchers> watchers_;
  std::uint64_t sequence_nr_;
  SmallVector<Edge, 2> next_edges_;
  SmallVector<InputMetadata, 1> input_metadata_;
  Node* next_to_delete_ = nullptr;
};

// Destroys a node without recursing into the nodes that it alone kept alive. The last of its counts of owners, which lies in it, gives the memory back.
void destroy_node(Node* node);

// Puts a node and the counts of its owners into one block of memory.
template <class T>
struct NodeAllocator : memory::PooledAllocator<T> {
  template <class U>
  struct rebind {
    using other = NodeAllocator<U>;
  };
  NodeAllocator() = default;
  template <class U>
  NodeAllocator(const NodeAllocator<U>&) {}
  void destroy(T* node) { destroy_node(node); }
};

template <class T, class... Args>
std::shared_ptr<T> make_node(Args&&... args) {
  return std::allocate_shared<T>(NodeAllocator<T>(), std::forward<Args>(args)...);
}

// How a view came to be, where that forbids a later write through it. Source: torch/csrc/autograd/variable.h.
enum class CreationMeta : std::uint8_t { Default, InCustomFunction, MultiOutputNode, NoGradMode, InferenceMode };

// What autograd knows of a view: whose it is, and how to take the same view of another tensor of base's shape.
struct ViewMeta {
  Tensor base;
  std::function<Tensor(const Tensor&)> replay;
  std::uint32_t version = 0;  // the storage's version for which grad_fn holds
  CreationMeta creation = CreationMeta::Default;
  const char* one_of = nullptr;  // the function that returned it with others, and its place among them
  std::size_t place = 0;
};

// What autograd knows of a tensor; lives in the tensor's metadata slot. Source: torch/csrc/autograd/variable.h.
struct AutogradMeta : TensorMetadata {
  AutogradMeta();
  ~AutogradMeta() override;

  Tensor grad;
  std::shared_ptr<Tensor> retained_grad;  // where the hook of retain_grad() puts it: the hook may outlive the tensor
  bool requires_grad = false;             // of a leaf; others require grad through grad_fn
  std::uint32_t output_nr = 0;
  std::shared_ptr<Node> grad_fn;             // the node that computes this tensor's gradient onwards; none for a leaf
  std::weak_ptr<Node> grad_accumulator;      // a leaf's node, made on demand
  LazyVector<std::shared_ptr<TensorHook>> hooks;
  std::unique_ptr<ViewMeta> view;  // of a view
  std::mutex mutex;

  // A graph that is still there keeps the old accumulator, which expects gradients of the old dtype.
  void dtype_changes() override {
    const memory::Lock lock(mutex);
    grad_accumulator.reset();
  }
};

inline AutogradMeta* autograd_meta(const Tensor& tensor) { return static_cast<AutogradMeta*>(tensor.impl().metadata.get()); }  // null if there is none yet
AutogradMeta& materialize_autograd_meta(const Tensor& tensor);

bool base_wants_gradient(const ViewMeta& view);
// Whether `tensor` requires a gradient. A view does when its base does, whatever it was made under. Always inlined: every recorded operator asks it of each
// argument, and a call takes longer than the answer.
[[gnu::always_inline]] inline bool wants_gradient(const Tensor& tensor) {
  const AutogradMeta* const meta = autograd_meta(tensor);
  return meta != nullptr && (meta->requires_grad || meta->grad_fn || (meta->view && base_wants_gradient(*meta->view)));
}

// The node that computes the gradient of `tensor` onwards; null for a leaf. A view's is brought up to date first.
std::shared_ptr<Node> history_of_view(const Tensor& tensor, AutogradMeta& meta);
inline std::shared_ptr<Node> history(const Tensor& tensor) {
  AutogradMeta* const meta = autograd_meta(tensor);
  if (meta == nullptr) return nullptr;
  return meta->view ? history_of_view(tensor, *meta) : meta->grad_fn;
}
// Where the gradient of `tensor` goes: to its grad_fn, to the accumulator of a leaf, or nowhere.
Edge gradient_edge(const Tensor& tensor);
// The order in memory that `tensor` lies in without gaps: rows, or images with channels last; rows where it is neither.
inline MemoryFormat order_of(const Tensor& tensor) { return tensor.is_contiguous() ? MemoryFormat::Contiguous : tensor.suggest_memory_format(); }
// Whether nobody else sees the numbers of `tensor`, which lie without gaps in memory: there is neither another handle on it nor another tensor on its storage, but for the base of a view that the view alone holds.
inline bool is_ours_alone(const Tensor& tensor) {
  if (!tensor.is_contiguous(order_of(tensor)) || tensor.getIntrusivePtr()->use_count() != 1) return false;
  const AutogradMeta* const meta = autograd_meta(tensor);
  const bool hides_base = meta != nullptr && meta->view && meta->view->base.getIntrusivePtr()->use_count() == 1;
  return tensor.storage()->use_count() == (hides_base ? 2 : 1);
}
// Makes `node` the one that computes the gradient of `tensor`.
void set_history(const Tensor& tensor, std::shared_ptr<Node> node);
// The same after a write in place: if `tensor` is a view, its base's history changes.
void rebase_history(const Tensor& tensor, const std::shared_ptr<Node>& node);
// Throws if `tensor` must not be written in place. `requires_grad`: some argument of the write requires gradients.
void check_inplace(const Tensor& tensor, bool requires_grad);
// Lets a node's hooks look at the gradients that arrived, and replace them; keeps those that retain_grad() asked for. In chapter 99.
void call_hooks(const NodeWatchers& watchers, variable_list& grads);
// Throws, in PyTorch's words, if a view of its kind must not be written through, or (`indirect`) its base not be written to. In chapter 99.
void check_view_write(const AutogradMeta& meta, bool indirect);

// A storage that was made in inference mode counts no writes: its version is this number.
inline constexpr std::uint32_t kNoVersion = ~std::uint32_t{0};
inline bool is_inference(const Tensor& tensor) { return tensor.storage()->version.load(std::memory_order_relaxed) == kNoVersion; }

}  // namespace tinytorch
