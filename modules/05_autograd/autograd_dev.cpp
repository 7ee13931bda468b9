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
//     name: tinytorch
// ---

// %% [markdown]
// # Module 05: Autograd
//
// Here is what we build: a system that computes derivatives of any program made of tensor operators. While the program runs forward, each operator leaves a *node* behind that knows how to turn a gradient of
// its result into gradients of its inputs. Afterwards an *engine* walks the nodes backwards and applies the chain rule.
//
//     forward                                   backward
//     x --+                                     x.grad  <-- AccumulateGrad <--+
//         +--> [mul] --> [sum] --> loss                                      MulBackward <-- SumBackward <-- 1
//     w --+                                     w.grad  <-- AccumulateGrad <--+
//
// Not one line of modules 01 to 04 changes. The operators there go through a dispatcher; this module registers a function for each of them on the layer *Autograd*, and all that was written before can be differentiated, losses and layers included.
//
// **Objectives.** After this module you can
//
// - say what the graph holds, who owns it, and when its memory goes;
// - write the engine: count dependencies, run ready nodes, add up gradients;
// - write gradients for operators, and test them by finite differences;
// - explain why a write in place can make a gradient wrong, and how a version counter notices;
// - trade memory for time by recomputing (activation checkpointing), with both measured.
//
// **Where it sits.** It uses the dispatcher of module 01, the operators of 01, 02 and 04, and `Module` of 03. Optimizers (06) and training (08) stand on it.
//
// **Prerequisites.** Modules 01 to 04; the chain rule for functions of several variables; `std::shared_ptr` and `std::weak_ptr`.

// %%
//| export core/autograd_methods.h
//| extends Tensor
#include <cstdint>
#include <memory>
#include <optional>
#include "tinytorch/core/array_ref.h"

namespace tinytorch {
class Tensor;
class Node;

// What autograd adds to Tensor; chapter 99 adds hooks and the questions that are asked less often. Source: aten/src/ATen/core/TensorBase.h.
class AutogradMethods {
 public:
  // Gradients of this tensor (a single element, or weighted by `gradient` of its sizes) are added into the grad() of every leaf that it
  // was computed from, or of `inputs` only. Frees what the graph saved unless retain_graph, which create_graph implies.
  void backward() const;
  void backward(const Tensor& gradient, std::optional<bool> retain_graph = std::nullopt, bool create_graph = false,
                std::optional<ArrayRef<Tensor>> inputs = std::nullopt) const;

  bool requires_grad() const;
  Tensor& requires_grad_(bool requires_grad = true) const;  // leaves only
  bool is_leaf() const;                                     // made by the user, not by an operator that recorded
  const Tensor& grad() const;                               // undefined until a backward reaches this tensor
  Tensor& mutable_grad() const;
  std::shared_ptr<Node> grad_fn() const;  // the node that made this tensor; none for a leaf
  std::int64_t output_nr() const;         // which of the node's results it is
  Tensor detach() const;                  // the same data, outside the graph
};
}  // namespace tinytorch

// %%
//| export core/grad_mode.h
#include "tinytorch/core/dispatch.h"
//| export core/node.h
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>
#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/core/small_vector.h"
//| export core/node_watchers-inl.h
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>
#include "tinytorch/core/node.h"
//| export core/node.cpp
#include <atomic>
#include <limits>
#include "tinytorch/core/engine.h"
#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/node_watchers-inl.h"
#include "tinytorch/core/record_function.h"
//| export core/saved_variable.h
#include "tinytorch/core/node.h"
//| export core/saved_variable.cpp
#include "tinytorch/core/grad_mode.h"
//| export core/engine.h
#include "tinytorch/core/node.h"
//| export core/engine.cpp
#include <algorithm>
#include <map>
#include <queue>
#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/node_watchers-inl.h"
#include "tinytorch/core/pointer_map.h"
#include "tinytorch/core/record_function.h"
//| export core/autograd.h
#include "tinytorch/core/engine.h"
#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/saved_variable.h"
//| export core/gradient_formulas.h
#include "tinytorch/core/tensor.h"
//| export core/gradient_formulas.cpp
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"
//| export core/checkpoint.h
#include <functional>
#include "tinytorch/core/generator.h"
#include "tinytorch/core/tensor.h"
//| export core/checkpoint.cpp
#include "tinytorch/core/autograd.h"

// %%
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/linear.h"
#include "tinytorch/nn/loss.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// Something to see first. The derivative of `x^3` at 2 is 12, and nobody wrote it down: it comes out of the graph that `pow` and `sum` left behind.

// %%
DEMO("a derivative that nobody wrote down") {
  const Tensor x = tensor({2.0}, dtype(kDouble).requires_grad(true));
  const Tensor y = x.pow(3).sum();
  y.backward();
  std::cout << "y = x^3 at x = 2: " << y.item<double>() << ", dy/dx = " << x.grad().item<double>() << "\n";
}

// %% [markdown]
// ## Part 1: Foundations
//
// ### Which way to multiply
//
// Let the loss be `l = f(g(h(x)))` with tensors in between. The chain rule says that the derivative is a product of three Jacobian matrices, and a product of matrices may be computed from either end:
//
//     dl/dx  =  J_f    *    J_g     *    J_h           l has 1 element, every tensor in between n
//              (1 x n)    (n x n)      (n x n)
//
//     from the left:   ((J_f J_g) J_h)   always a row times a matrix:  O(n^2) for each step     "reverse mode"
//     from the right:  (J_f (J_g J_h))   a matrix times a matrix:      O(n^3) for each step     "forward mode"
//
// A loss is one number and the parameters are millions, so we go from the left: from the loss backwards. The Jacobians are never formed. Each operator has a function that multiplies a row by its Jacobian (the
// *vector-Jacobian product*): for `c = a * b` that is `grad_a = grad_c * b`, elementwise, and for `c = sum(a)` it is "spread the gradient over all elements". Such a function costs about as much as the operator, so a
// backward pass costs about two forward passes, for any number of parameters. Its price is memory: `grad_c * b` needs `b`, so forward values must be kept.
//
// ### What is recorded
//
// A node stands for one recorded operator. Its edges point *against* the computation, to the nodes of the operators that made its inputs. A *leaf* is a tensor that no recorded operator made: a parameter, or data. It *requires gradients* if the user said so
// (`requires_grad_()`), and then so does every result computed from it. Such a leaf has a node `AccumulateGrad`, which adds what arrives into `grad()`.
//
//     loss.grad_fn ---> [SumBackward0] --edge 0--> [MulBackward0] --edge 0--> [AccumulateGrad: x]
//                                                   saved: x, w   --edge 1--> [AccumulateGrad: w]
//
// Ownership follows the arrows. The loss owns the last node, that one owns those before it, and an accumulator owns its leaf. A leaf refers to its accumulator only weakly: if it owned it, the two would keep each other alive for ever. So the graph of a step lives exactly as long as somebody holds its loss.
//
// Whether a thread records at all is a *mode* of the thread, which `NoGradGuard` switches off for a scope. `InferenceMode` goes further: a tensor that is made in it never takes part in a graph (library chapter 99).

// %%
//| export core/autograd.h
// Options for a tensor that requires gradients: `zeros({2}, requires_grad())`.
inline TensorOptions requires_grad(bool requires_grad = true) { return TensorOptions().requires_grad(requires_grad); }

// %%
//| export core/grad_mode.h
// Whether this thread records operators. Recording is a mode of the thread, on at first. Source: c10/core/GradMode.h.
struct GradMode {
  static constexpr std::uint32_t kOff = 1;        // a bit of ThreadState::modes
  static constexpr std::uint32_t kInference = 2;  // another: the stricter mode of chapter 99, in which nothing is recorded either
  static bool is_enabled() { return (thread_state().modes & kOff) == 0; }
  static void set_enabled(bool enabled) {
    thread_state().modes = enabled ? thread_state().modes & ~kOff : thread_state().modes | kOff;
  }
};

// Records, or does not, for a scope.
class AutoGradMode {
 public:
  explicit AutoGradMode(bool enabled) : saved_(GradMode::is_enabled()) { GradMode::set_enabled(enabled); }
  ~AutoGradMode() { GradMode::set_enabled(saved_); }
  AutoGradMode(const AutoGradMode&) = delete;
  AutoGradMode& operator=(const AutoGradMode&) = delete;

 private:
  bool saved_;
};

class NoGradGuard : public AutoGradMode {
 public:
  NoGradGuard() : AutoGradMode(false) {}
};

inline bool in_inference_mode() { return (thread_state().modes & GradMode::kInference) != 0; }
inline bool is_recording() { return GradMode::is_enabled() && !in_inference_mode(); }

// %% {"nbgrader": {"grade": true, "grade_id": "05-grad-mode-test", "locked": true, "points": 1, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("grad mode: a scope without recording, also when nested") {
  const Tensor x = ones({2}, requires_grad());
  CHECK((x * 2).requires_grad());
  {
    const NoGradGuard no_grad;
    CHECK(!(x * 2).requires_grad());
    CHECK(ones({2}, requires_grad()).requires_grad());  // a new leaf still asks for gradients
    const AutoGradMode on(true);
    CHECK((x * 2).requires_grad());
  }
  CHECK(GradMode::is_enabled());
}

// %% [markdown]
// Edges and nodes, declared. `sequence_nr` counts nodes in the order of the forward pass; the engine uses it to run the youngest ready node first. Note what a node remembers of its inputs (the *outputs* of the forward operator): sizes and dtype, so that a gradient of the wrong shape is found where it is made.

// %%
//| export core/node.h
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

// %%
//| export core/node_watchers-inl.h
// Who looks at a node, which most nodes have nobody for: one pointer that is null is made and destroyed sooner than four lists that are empty.
struct NodeWatchers {
  // Hooks on the gradients that arrive, by input number, in the order of registration.
  std::vector<std::pair<std::uint32_t, std::shared_ptr<TensorHook>>> tensor_pre_hooks;
  // Where gradients that retain_grad() asked for are put, by input number, after the hooks.
  std::vector<std::pair<std::uint32_t, std::shared_ptr<Tensor>>> retained_grads;
  // Hooks on the node: called with what apply() was given and what it returned.
  std::vector<std::function<void(const variable_list& grad_inputs, const variable_list& grad_outputs)>> post_hooks;
  // In anomaly mode, where in the program the node was recorded.
  std::shared_ptr<const AnomalyRecord> anomaly_record;
};

// %%
//| export core/node.h
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

// %% [markdown]
// And what a program asks of the graph: every leaf's gradient, added to its `grad()`, or the gradients of some tensors, as results. `retain_graph` keeps what was saved, for another backward pass through the same graph;
// `create_graph` records the backward pass itself, so that its results can be differentiated again.

// %%
//| export core/engine.h
namespace autograd {
// backward() from several tensors at once. `grad_tensors` may be empty (ones, for single elements).
// With `inputs`, only those leaves accumulate.
void backward(const variable_list& tensors, const variable_list& grad_tensors = {}, std::optional<bool> retain_graph = std::nullopt,
              bool create_graph = false, const variable_list& inputs = {});
// The gradients of `outputs` with respect to `inputs`; touches no grad(). An input that was not used is an error unless allow_unused.
variable_list grad(const variable_list& outputs, const variable_list& inputs, const variable_list& grad_outputs = {},
                   std::optional<bool> retain_graph = std::nullopt, bool create_graph = false, bool allow_unused = false);
}  // namespace autograd

// %% [markdown]
// What autograd must remember about a tensor goes into the slot that module 01 left in `TensorImpl`. This is where the idea "one Tensor, growing" pays: a tensor without gradients has an empty slot of eight bytes, and there is no second class for "variables".
//
//     TensorImpl                      AutogradMeta
//     +-----------------+             +------------------------------------------+
//     | storage, sizes  |             | grad            the sum so far (leaf)     |
//     | strides, offset |   metadata  | requires_grad   set by the user (leaf)    |
//     | dtype, layers   | ----------> | grad_fn         the node that made it     |
//     | metadata   o----|             | view            whose view it is, and how |
//     +-----------------+             +------------------------------------------+

// %%
//| export core/node.h
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

// %%
//| export core/node.h
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

// %%
//| export core/node.cpp
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

// %% [markdown]
// A loop of a million steps leaves a chain of a million nodes, each owned by the one behind it. When the last handle goes, the first node's destructor would delete the second node, and so on, a million destructors one inside the other, until the stack overflows. `destroy_node`, which the
// allocator above calls, therefore puts a node on a list while another one is being destroyed further up (library chapter 99, "Letting go").

// %% {"nbgrader": {"grade": true, "grade_id": "05-chain-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("a chain of 100,000 nodes is run and freed without recursion") {
  const Tensor x = ones({1}, requires_grad());
  Tensor y = x;
  for (int i = 0; i < 100000; ++i) y = -y;
  y.backward();
  CHECK_EQ(x.grad(), ones({1}));
}

// %%
//| export core/node.cpp
AutogradMeta& materialize_autograd_meta(const Tensor& tensor) {
  TensorImpl& impl = tensor.impl();
  if (!impl.metadata) impl.metadata = std::make_unique<AutogradMeta>();
  return static_cast<AutogradMeta&>(*impl.metadata);
}

// %% [markdown]
// ### Where a gradient goes: leaves
//
// `gradient_edge(t)` answers, for any tensor, where the gradient of `t` has to be sent. A result of a recorded operator: to its `grad_fn`, at the input number that is its output number. A leaf that requires gradients: to its accumulator, which is made
// when first asked for and must be the *same one* for as long as anybody uses it, because `autograd::grad` recognises a leaf by it, and because it carries the leaf's *hooks* (functions of the user that
// see, and may replace, a gradient on its way). Anything else: nowhere.
//
// The accumulator itself is the first node to write. Its tests go back through a whole graph, as most in this lesson do: until the engine's last function, `run`, is written, they fail and name a function
// that is still missing. Three things need thought:
//
//     first gradient      take it, or copy it?     If anyone else holds it (another leaf may have received the very same tensor, or it is a
//                                                  stretched view), a later `grad += ...` would write into theirs: copy. If it is ours alone: take it.
//     next gradient       add                      In place, unless the sum itself is being recorded (create_graph).
//     two threads         lock                     Two backward passes may reach one leaf at the same time.

// %%
//| export core/node.cpp
// The last node of a leaf: adds the gradient that arrives into the leaf's grad(). Source: torch/csrc/autograd/functions/accumulate_grad.h.
class AccumulateGrad : public Node {
 public:
  explicit AccumulateGrad(Tensor leaf) : Node(std::numeric_limits<std::uint64_t>::max()), variable(std::move(leaf)) { add_input_metadata(variable); }
  std::string name() const override { return "torch::autograd::AccumulateGrad"; }
  variable_list apply(variable_list&& grads) override;
  Tensor variable;
};

// %% {"nbgrader": {"grade": false, "grade_id": "05-accumulate", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/node.cpp
// Adds the gradient that arrived (grads[0], of the leaf's sizes) into the leaf's grad; returns no gradients. Undefined counts as zero.
// Safe when several threads go back through graphs with this leaf. O(numel).
//
// TODO: Add the gradient that arrived to the leaf's.
// APPROACH: 1. Nothing defined: nothing to do. 2. Hold the mutex of meta = materialize_autograd_meta(variable), by a memory::Lock (a std::lock_guard that costs nothing while there is one thread). 3. First gradient: meta.grad takes
//   its memory, by detach(), if nothing is being recorded, it lies in memory as the leaf does (is_contiguous(order_of(variable))), and is_ours_alone() says that nobody else sees it; else a clone(order_of(variable)). 4. Later ones: `add_` in place; if GradMode is enabled, `grad = grad + incoming`.
// EXAMPLE: two backward passes through y = 3 x leave x.grad() = 6.
// HINT: std::move(grads[0]) out of the list first, or the list is a second owner.
variable_list AccumulateGrad::apply(variable_list&& grads) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}

// %% {"nbgrader": {"grade": false, "grade_id": "05-gradient-edge", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/node.cpp
// The edge along which the gradient of `tensor` is sent; an edge to nowhere if it needs none. The same node each time it is asked. O(1), except for a view whose base was written to.
//
// TODO: Say where the gradient of `tensor` goes.
// APPROACH: 1. history(tensor), if any, with the tensor's output_nr. 2. A leaf without requires_grad: an edge to nowhere, Edge().
//   3. Else the leaf's accumulator: autograd_meta(tensor)->grad_accumulator.lock(), or a new make_node<AccumulateGrad>(tensor), whose watch().tensor_pre_hooks get {0, hook} for each of the metadata's hooks, and which is remembered.
// EXAMPLE: for y = x * 2, gradient_edge(y).function is y.grad_fn(), and gradient_edge(x).function is an AccumulateGrad.
// HINT: hold the metadata's mutex around step 3, by a memory::Lock: two threads may ask at once.
Edge gradient_edge(const Tensor& tensor) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}

// %% {"nbgrader": {"grade": true, "grade_id": "05-accumulate-test", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("leaves: gradients of several passes add up") {
  const Tensor x = tensor({1.0, 2.0}, dtype(kDouble).requires_grad(true));
  (x * 3.0).sum().backward();
  (x * 3.0).sum().backward();
  CHECK_EQ(x.grad(), tensor({6.0, 6.0}, kDouble));
}

TEST_CASE("leaves: the gradient of a matrix's weight is taken, not copied") {
  const Tensor x = ones({3, 4}), weight = ones({2, 4}).requires_grad_();
  const float* arrived = nullptr;
  weight.register_hook([&arrived](const Tensor& g) { arrived = g.data<float>(); });
  x.mm(weight.t()).sum().backward();  // the gradient arrives as the transpose of a product
  CHECK_EQ(weight.grad(), full({2, 4}, 3.0));
  CHECK_EQ(weight.grad().data<float>(), arrived);
}

TEST_CASE("leaves: two leaves that receive the same tensor do not share it") {
  const Tensor a = ones({2}, dtype(kDouble).requires_grad(true));
  const Tensor b = ones({2}, dtype(kDouble).requires_grad(true));
  (a + b).sum().backward();
  a.mutable_grad().add_(5.0);
  CHECK_EQ(a.grad(), tensor({6.0, 6.0}, kDouble));
  CHECK_EQ(b.grad(), tensor({1.0, 1.0}, kDouble));
  // BEGIN HIDDEN TESTS
  CHECK(a.grad().is_contiguous());
  (a * 2.0).sum().backward();
  CHECK_EQ(a.grad(), tensor({8.0, 8.0}, kDouble));
  // END HIDDEN TESTS
}

// %% {"nbgrader": {"grade": true, "grade_id": "05-gradient-edge-test", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("edges: to the node that made a tensor, to a leaf's one accumulator, or nowhere") {
  const Tensor x = ones({2}, requires_grad());
  const Tensor y = x * 2;
  CHECK(gradient_edge(y).function == y.grad_fn());
  const Edge leaf = gradient_edge(x);
  CHECK_EQ(leaf.function->name(), "torch::autograd::AccumulateGrad");
  CHECK(gradient_edge(x).function == leaf.function);
  CHECK(!gradient_edge(ones({2})).is_valid());
}

TEST_CASE("edges: autograd::grad finds a leaf by its accumulator") {
  const Tensor x = tensor({3.0}, dtype(kDouble).requires_grad(true));
  const Tensor y = (x * x).sum();
  CHECK_EQ(autograd::grad({y}, {x})[0], tensor({6.0}, kDouble));
  CHECK(!x.grad().defined());
  // BEGIN HIDDEN TESTS
  const Tensor hooked = ones({2}, requires_grad());
  hooked.register_hook([](const Tensor& grad) { return grad * 5; });
  (hooked * 2).sum().backward();
  CHECK_EQ(hooked.grad(), full({2}, 10.0));
  const auto [largest, place] = max(hooked * 2, 0);
  CHECK(gradient_edge(largest).function == largest.grad_fn());
  CHECK(!gradient_edge(place).is_valid());
  // END HIDDEN TESTS
}

// %%
//| mistake 05-accumulate takes-what-others-hold
//| says The same tensor may have gone to another leaf, or be a view with stride 0. Keep it without a copy only if you are its single owner.
#if 0
variable_list AccumulateGrad::apply(variable_list&& grads) {
  if (!grads[0].defined()) return {};
  AutogradMeta& meta = materialize_autograd_meta(variable);
  const memory::Lock lock(meta.mutex);
  if (meta.grad.defined()) {
    meta.grad = meta.grad + grads[0];
  } else {
    meta.grad = grads[0];
  }
  return {};
}
#endif

// %%
//| mistake 05-gradient-edge new-accumulator-every-time
//| says A leaf has one accumulator: remember it in meta->grad_accumulator, or autograd::grad and hooks look at a different one.
#if 0
Edge gradient_edge(const Tensor& tensor) {
  if (std::shared_ptr<Node> function = history(tensor)) return {std::move(function), autograd_meta(tensor)->output_nr};
  if (!tensor.requires_grad()) return {};
  return {make_node<AccumulateGrad>(tensor), 0};
}
#endif

// %% [markdown]
// ### Where a gradient goes: results
//
// `set_history` ties a result to its node. It also puts the layer Autograd on the tensor, so that the next operator which receives it records, too. That bit is all that "requires gradients" means to the dispatcher: operators on other tensors never enter this
// module.
//
// A *view* is harder. It shares its storage with its base, so a write through the one changes the other, and gradients must follow:
//
//     z = x * 1            z.grad_fn = MulBackward
//     v = z[1]             v.grad_fn = SelectBackward -> MulBackward
//     z.mul_(2)            z.grad_fn = MulBackward2 -> MulBackward.   v now holds doubled values: its history is out of date!
//
// So a view remembers its base and *how it was taken* (`replay`). When its storage's version is no longer the one for which its `grad_fn` was made, the view is taken anew from the base, whose history knows of the write.
//
// For some views that would be wrong or ambiguous, and a write is refused instead: a view that was taken while recording was off (shall the write be recorded, or was it meant to go unseen, as the view did?), and one of
// several views that one operator returned (`split`, `unbind`: their nodes belong together). `CreationMeta` says which kind a view is.

// %%
//| export core/node.cpp
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

// %% [markdown]
// And the other way round: a write into a view `v` of `z` changes a part of `z`. The node `CopySlices` becomes the history of the *base*: it splits the gradient of `z`.
//
//     gradient of z after the write       the part under v    ---> the gradient of the write ---> back under v
//     [ g  g | G  G ]                     the rest            ---> stays
//              ^ v
//
// If the write forgets the old values (`copy_`, `fill_`), what goes back under `v` is zero: the old values have no influence any more.

// %%
//| export core/node.cpp
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

// %% {"nbgrader": {"grade": false, "grade_id": "05-copy-slices", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/node.cpp
// grads[0] is the gradient of the base after the write. Returns the gradient of the base before it, then those of the write's other inputs.
// O(base.numel()); does not change what it was given.
//
// TODO: Send the part of the gradient under the view through `write_`, and the rest on as it is.
// APPROACH: 1. Nothing arrived: as many undefined gradients as there are edges. 2. Copy what arrived, and take the view of the copy with replay_. 3. write_->apply of a copy of that part: its
//   first result is the gradient of the view's old values. 4. Put it where the part was (zeros if it is undefined); the whole is then the first result.
// EXAMPLE: z[0].mul_(3): a gradient of ones for z goes on as 3 in row 0 and 1 elsewhere.
// HINT: the copy matters twice: whoever sent the gradient may still hold it.
variable_list CopySlices::apply(variable_list&& grads) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}

// %%
//| export core/node.cpp
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

// %% {"nbgrader": {"grade": false, "grade_id": "05-check-inplace", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/node.cpp
// Throws Error with PyTorch's sentence if `tensor` must not be written in place now. `requires_grad` says whether it or another argument
// of the write requires gradients. O(1).
//
// TODO: Refuse writes that would make gradients wrong.
// APPROACH: 1. Without recording, or when no argument requires a gradient, everything is allowed. 2. For a view (autograd_meta(tensor)->view): check_view_write(*meta, false) knows which kinds are refused; and if the tensor
//   requires a gradient, its base must not be a leaf. 3. A leaf that requires a gradient is refused.
// EXAMPLE: w.add_(1) on a parameter throws; under NoGradGuard it is what every optimizer does.
// HINT: is_recording(); the sentences stand in the test below.
void check_inplace(const Tensor& tensor, bool requires_grad) {
  // BEGIN SOLUTION
  if (!requires_grad || !is_recording()) return;
  const AutogradMeta* const meta = autograd_meta(tensor);
  if (meta != nullptr && meta->view) {
    check_view_write(*meta, false);
    TORCH_CHECK(!tensor.requires_grad() || !meta->view->base.is_leaf(), "a view of a leaf Variable that requires grad is being used in an in-place operation.");
  }
  TORCH_CHECK(!tensor.requires_grad() || !tensor.is_leaf(), "a leaf Variable that requires grad is being used in an in-place operation.\n"
              "Its old value would be lost to the graph: write into it under NoGradGuard, or compute a new tensor.");
  // END SOLUTION
}

// %% {"nbgrader": {"grade": true, "grade_id": "05-inplace-test", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("writes in place: through a view into its base") {
  const Tensor x = ones({2, 2}, dtype(kDouble).requires_grad(true));
  const Tensor z = x * 1.0;
  z[0].mul_(3.0);
  CHECK_EQ(z.grad_fn()->name(), "torch::autograd::CopySlices");
  z.sum().backward();
  CHECK_EQ(x.grad(), tensor({{3.0, 3.0}, {1.0, 1.0}}, kDouble));
}

TEST_CASE("writes in place: overwritten values get no gradient, the new ones do") {
  const Tensor x = ones({2, 2}, dtype(kDouble).requires_grad(true));
  const Tensor y = tensor({7.0, 8.0}, dtype(kDouble).requires_grad(true));
  const Tensor z = x * 2.0;
  z[0].copy_(y);
  (z * z).sum().backward();
  CHECK_EQ(x.grad(), tensor({{0.0, 0.0}, {8.0, 8.0}}, kDouble));
  CHECK_EQ(y.grad(), tensor({14.0, 16.0}, kDouble));
  // BEGIN HIDDEN TESTS
  const Tensor a = ones({3}, dtype(kDouble).requires_grad(true));
  const Tensor b = a * 2.0;
  b.slice(0, 1, 3).mul_(tensor({5.0, 7.0}, kDouble));
  const Tensor given = tensor({1.0, 2.0, 3.0}, kDouble);
  b.backward(given);
  CHECK_EQ(a.grad(), tensor({2.0, 20.0, 42.0}, kDouble));
  CHECK_EQ(given, tensor({1.0, 2.0, 3.0}, kDouble));  // what was given is not written to
  // END HIDDEN TESTS
}

// %% {"nbgrader": {"grade": true, "grade_id": "05-check-inplace-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("writes in place: what is refused, and what an optimizer may do") {
  const Tensor w = ones({2}, requires_grad());
  CHECK_ERROR(w.add_(1), "a leaf Variable that requires grad is being used in an in-place operation.");
  CHECK_ERROR(w[0].fill_(1), "a view of a leaf Variable that requires grad is being used in an in-place operation.");
  Tensor unrecorded;
  {
    const NoGradGuard no_grad;
    w.add_(1);
    unrecorded = ones({2, 2})[0];
  }
  CHECK_ERROR(unrecorded.add_(w), "A view was created in no_grad mode and is being modified inplace with grad mode enabled.");
  CHECK_EQ(w.detach(), full({2}, 2.0));
  const Tensor plain = ones({2});
  plain.add_(w);  // a tensor without gradients joins the graph
  CHECK(plain.requires_grad());
  // BEGIN HIDDEN TESTS
  const Tensor rows = ones({2, 2});
  rows[0].add_(w);  // and so does the base of such a view
  CHECK(rows.requires_grad());
  (w * 1).add_(1);  // a result may be written to
  CHECK_ERROR((rows * 1).unbind()[1].add_(1), "Output 1 of Unbind is a view and is being modified inplace.");
  // END HIDDEN TESTS
}

// %%
//| mistake 05-copy-slices lets-everything-pass
//| says The part under the view was overwritten or changed: what reaches the old values there is the result of write_, not what arrived.
#if 0
variable_list CopySlices::apply(variable_list&& grads) {
  if (!grads[0].defined()) return variable_list(next_edges().size());
  const Tensor whole = grads[0].clone(MemoryFormat::Contiguous);
  const Tensor part = replay_(whole);
  variable_list results = write_->apply({part.clone()});
  results[0] = whole;
  return results;
}
#endif

// %%
//| mistake 05-check-inplace refuses-without-recording
//| says Under NoGradGuard a write into a leaf is what an optimizer does: check GradMode first.
#if 0
void check_inplace(const Tensor& tensor, bool requires_grad) {
  if (!requires_grad) return;
  TORCH_CHECK(!tensor.requires_grad() || !tensor.is_leaf(), "a leaf Variable that requires grad is being used in an in-place operation.");
}
#endif

// %% [markdown]
// ### Keeping values for later
//
// `grad_c * b` needs `b` as it was in the forward pass. A node keeps a handle, not a copy: copying every input would double the memory of a forward pass. But then somebody may write into `b` before the backward pass, and the gradient would be computed from
// wrong values, silently. This is what the version counter is for. Every write in place adds one to a counter in the *storage*, which all views share; a `SavedVariable` remembers the count and compares:
//
//     c = a * b          MulBackward saves b at version 0
//     b.add_(1)          b's storage is at version 1
//     c.backward()       unpack: 1 != 0: error, with the name of the node that saved it
//
// Counting is the work of the layer InplaceOrView, below Autograd: a write is counted, and a view remembers its base, also while nothing is recorded. Its few functions stand at the beginning of library chapter 95.
//
// An *output* is special. `exp` saves its own result; a handle on it would own the result, whose `grad_fn` is the node that holds the handle: a cycle that is never freed. Such a variable is kept without its history and gets it back when it is unpacked.

// %%
//| export core/saved_variable.h
// A tensor kept for the backward pass. It remembers the version of the storage, to notice writes in between; an output of the
// saving node itself is kept without its history, which would be a cycle. Source: torch/csrc/autograd/saved_variable.h.
class SavedVariable {
 public:
  SavedVariable() = default;
  SavedVariable(const Tensor& tensor, bool is_output) { save(tensor, is_output); }
  void save(const Tensor& tensor, bool is_output);  // REQUIRES: nothing was saved before
  // The tensor again. `owner` is the node that saved it. Throws if it was freed or written to.
  Tensor unpack(Node& owner) const;
  void reset() {
    data_ = Tensor();
    grad_fn_.reset();
    released_ = true;
  }

 private:
  Tensor data_;                    // a leaf itself; anything else without its history, which stands beside it
  std::shared_ptr<Node> grad_fn_;  // of an input that is not a leaf
  std::uint32_t saved_version_ = 0;
  std::uint32_t output_nr_ = 0;
  bool is_output_ = false;
  bool was_defined_ = false;
  bool released_ = false;
};

// %%
//| export core/saved_variable.cpp
void SavedVariable::save(const Tensor& tensor, bool is_output) {
  is_output_ = is_output;
  was_defined_ = tensor.defined();
  if (!was_defined_) return;
  TORCH_CHECK(!is_inference(tensor), "Inference tensors cannot be saved for backward. Please do not use Tensors created in inference mode in computation tracked by "
              "autograd. To work around this, you can make a clone to get a normal tensor and use it in autograd, or use `torch.no_grad()` instead of `torch.inference_mode()`.");
  saved_version_ = tensor.storage()->version.load();
  if (!is_output) grad_fn_ = history(tensor);
  // A handle on a tensor that is not a leaf would be a cycle once that tensor is written to and gets a new history.
  data_ = is_output || grad_fn_ ? tensor.detach() : tensor;
  if (const AutogradMeta* const meta = autograd_meta(tensor)) output_nr_ = meta->output_nr;
}

// %% {"nbgrader": {"grade": false, "grade_id": "05-unpack", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/saved_variable.cpp
// The tensor as it was saved, with its history if recording is on. Throws Error if it was freed or has been written to since. O(1), copies nothing.
//
// TODO: Give the saved tensor back, or say why it cannot be.
// APPROACH: 1. Freed already (released_): the error for a second backward pass. 2. Nothing was saved: an undefined tensor. 3. The storage's version differs from saved_version_: the error that names the tensor and
//   both versions. 4. Without recording, or for a leaf, data_ is enough. 5. Else a detached handle whose metadata gets the history: owner.shared_from_this() for an output, grad_fn_ for an input.
// EXAMPLE: y = exp(x); y.add_(1); y.sum().backward() throws "... is at version 1; expected version 0 instead."
// HINT: copy the two messages from the tests; programs recognise PyTorch's sentences. A detached handle has lost the layer Autograd, too: put it back as set_history does.
Tensor SavedVariable::unpack(Node& owner) const {
  // BEGIN SOLUTION
  TORCH_CHECK(!released_,
              "Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed). "
              "Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify "
              "retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors after "
              "calling backward.");
  if (!was_defined_) return {};
  const std::uint32_t version = data_.storage()->version.load();
  const Node* const maker = is_output_ ? &owner : grad_fn_.get();
  TORCH_CHECK(version == saved_version_, "one of the variables needed for gradient computation has been modified by an inplace operation: [CPU",
              data_.scalar_type(), "Type ", data_.sizes(), "]",
              maker ? ", which is output " + std::to_string(output_nr_) + " of " + maker->name() + "," : std::string(), " is at version ", version,
              "; expected version ", saved_version_, " instead.\n", owner.name(),
              " saved it in the forward pass: use the out-of-place form of the later operator, or clone() before it.");
  if (!GradMode::is_enabled() || (!is_output_ && !grad_fn_)) return data_;
  const Tensor attached = data_.detach();
  AutogradMeta& meta = materialize_autograd_meta(attached);
  meta.grad_fn = is_output_ ? owner.shared_from_this() : grad_fn_;
  meta.output_nr = output_nr_;
  attached.impl().layers = attached.impl().layers | Layer::Autograd;
  return attached;
  // END SOLUTION
}

// %% {"nbgrader": {"grade": true, "grade_id": "05-unpack-test", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("saved tensors: a write in between is an error that names both versions") {
  const Tensor x = ones({2}, dtype(kDouble).requires_grad(true));
  const Tensor y = x.exp();
  y.add_(1.0);
  CHECK_ERROR(y.sum().backward(), "one of the variables needed for gradient computation has been modified by an inplace operation: [CPUDoubleType [2]]");
  const Tensor b = full({2}, 2.0, kDouble);
  const Tensor c = x * b;
  b.add_(1.0);
  CHECK_ERROR(c.sum().backward(), "is at version 1; expected version 0 instead.");
  // BEGIN HIDDEN TESTS
  b.add_(1.0);
  const Tensor late = x * b;
  b.mul_(2.0);
  CHECK_ERROR(late.sum().backward(), "is at version 3; expected version 2 instead.");
  // END HIDDEN TESTS
}

TEST_CASE("saved tensors: freed by the first backward pass unless the graph is retained") {
  const Tensor x = tensor({3.0}, dtype(kDouble).requires_grad(true));
  const Tensor y = (x * x).sum();
  y.backward({}, true);
  y.backward();
  CHECK_EQ(x.grad(), tensor({12.0}, kDouble));
  CHECK_ERROR(y.backward(), "Trying to backward through the graph a second time");
  // BEGIN HIDDEN TESTS
  // What was saved comes back with its history: d/dx of d/dx (2x)^2 is 8.
  const Tensor inner = x * 2.0;
  const Tensor slope = autograd::grad({(inner * inner).sum()}, {x}, {}, true, true)[0];
  CHECK_EQ(autograd::grad({slope.sum()}, {x})[0], tensor({8.0}, kDouble));
  // END HIDDEN TESTS
}

// %%
//| mistake 05-unpack ignores-the-version
//| says The saved tensor may have been written to since: compare the storage's version with saved_version_.
#if 0
Tensor SavedVariable::unpack(Node& owner) const {
  TORCH_CHECK(!released_, "Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed).");
  if (!was_defined_) return {};
  if (!GradMode::is_enabled() || (!is_output_ && !grad_fn_)) return data_;
  const Tensor attached = data_.detach();
  AutogradMeta& meta = materialize_autograd_meta(attached);
  meta.grad_fn = is_output_ ? owner.shared_from_this() : grad_fn_;
  meta.output_nr = output_nr_;
  attached.impl().layers = attached.impl().layers | Layer::Autograd;
  return attached;
}
#endif

// %% [markdown]
// ### From a formula to a node
//
// An operator's gradient is a line of calculus, and its node is that line with edges and with what it needs of the forward pass. Here is the node of a product, written out by hand:
//
//     apply:   g (of z = x * y)  --+--> g * y    along edge 0, to x       needs y
//                                  +--> g * x    along edge 1, to y       needs x

// %%
//| lesson
// z = x * y as one node.
class ProductByHand : public Node {
 public:
  ProductByHand(const Tensor& x, const Tensor& y) : x_(x, false), y_(y, false) { set_next_edges({gradient_edge(x), gradient_edge(y)}); }
  std::string name() const override { return "ProductByHand"; }
  variable_list apply(variable_list&& grads) override {
    return {grads[0] * y_.unpack(*this), grads[0] * x_.unpack(*this)};
  }
  void release_variables() override {
    x_.reset();
    y_.reset();
  }

 private:
  SavedVariable x_, y_;
};

// Computes without recording, then ties the result to its node.
Tensor product_by_hand(const Tensor& x, const Tensor& y) {
  Tensor result;
  {
    const NoGradGuard no_grad;
    result = x * y;
  }
  set_history(result, make_node<ProductByHand>(x, y));
  return result;
}

// %% [markdown]
// We do not want to write such a class for each of some hundred operators, so we write the line of calculus alone. The *types of the parameters* say what must be kept:
//
// ```cpp
// gradient<op::mul>([](const Tensor& g, Input<1> other) { return g * other; },     // towards input 0: needs input 1
//                   [](const Tensor& g, Input<0> self) { return g * self; });      // towards input 1: needs input 0
// gradient<op::exp>([](const Tensor& g, Output result) { return g * result; });    // exp is its own derivative
// ```
//
// Templates (library chapter 64) read these parameters and make the class: a *slot* for each tensor argument with what its function asked for, filled only if that input needs a gradient. If `self` is data and only `other` is a parameter, `other`'s value is not kept, where the node above keeps both.
// What they put on the operator's layer Autograd does what `product_by_hand` does: it records a node, calls the layers below, and sets the history. PyTorch reaches the same with a code generator that reads `tools/autograd/derivatives.yaml`.

// %% {"nbgrader": {"grade": true, "grade_id": "05-slots-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("slots: only what a gradient needs is kept") {
  const Tensor data = ones({1000}, kDouble);
  const Tensor w = ones({1000}, dtype(kDouble).requires_grad(true));
  // w's gradient needs the data; nobody asks for the data's gradient, so a fresh factor beside it is let go.
  const std::size_t before = memory::stats().live;
  const Tensor kept = w * (data * 2.0);
  const std::size_t after_mul = memory::stats().live;
  const Tensor sum = w + (data * 2.0);
  const std::size_t after_add = memory::stats().live;
  CHECK_EQ(after_mul - before, 2 * 8000);    // the result and the factor
  CHECK_EQ(after_add - after_mul, 1 * 8000);  // the result alone
  // The data's gradient is not asked for, so -w itself is let go; the node by hand keeps it all the same.
  const Tensor by_table = -w * data;
  const std::size_t after_table = memory::stats().live;
  const Tensor by_hand = product_by_hand(-w, data);
  CHECK_EQ(after_table - after_add, 1 * 8000);
  CHECK_EQ(memory::stats().live - after_table, 2 * 8000);
  CHECK_EQ((*by_hand.grad_fn())({full({1000}, 3.0, kDouble)})[0], full({1000}, 3.0, kDouble));
}

// %% [markdown]
// ### The engine
//
// The graph is not a chain. In `y = f(x) + g(x)` two ways lead back to `x`'s node, and it must wait for both gradients and add them before it runs. So a run has two phases:
//
//     1. count            walk everything that the roots reach; for each node: how many edges lead into it?
//     2. run              keep a queue of ready nodes. Take one, run it, deliver its results along its edges. A node
//                         whose last edge has delivered is ready.
//
//         loss
//          |            waiting_for: add 1, f 1, g 1, x 2
//         [add]
//         /   \         x's node runs when both f and g have delivered: its gradient is the sum
//       [f]   [g]
//         \   /
//        [x: AccumulateGrad]
//
// All of this is the state of one run (`GraphTask`), not of the nodes: a node may be part of several graphs that run at once in different threads, or of a run inside another's node. PyTorch's engine keeps the same state in `GraphTask` (`torch/csrc/autograd/graph_task.h`) and adds a thread for each device.

// %%
//| export core/engine.h
// Runs the graph backwards from `roots` with gradients `grads`. With `inputs` it returns the gradients that arrive at those edges and
// accumulates nothing; without, leaves accumulate. Each call keeps its own state: several may run at once, also nested.
// O(nodes + edges). Source: torch/csrc/autograd/engine.cpp.
variable_list run_backward(const edge_list& roots, variable_list grads, bool keep_graph, bool create_graph, const edge_list& inputs,
                           bool accumulate = false);

// Sums `grad` over the dimensions that broadcasting stretched. Returns a tensor of size `sizes`.
// REQUIRES: `sizes` broadcasts to grad.sizes(). O(grad.numel()) time; returns `grad` itself if nothing was stretched.
Tensor sum_to(const Tensor& grad, IntArrayRef sizes);

// %% [markdown]
// Broadcasting is handled once, here. If `b` of size (3, 1) was stretched to (3, 4), each of its elements was used four times, and what is used n times receives n gradients: the way back is a sum.
//
//      a (3, 1) --+                        grad_a (3, 1) <-- sum over dim 1 --+
//                 +-- add --> c (3, 4)                                        +-- grad_c (3, 4)
//      b    (4) --+                        grad_b    (4) <-- sum over dim 0 --+

// %% {"nbgrader": {"grade": false, "grade_id": "05-sum-to", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/engine.cpp
// Sums `grad` over the dimensions that broadcasting stretched. Returns a tensor of size `sizes`, or `grad` itself if nothing was stretched.
// REQUIRES: `sizes` broadcasts to grad.sizes(). O(grad.numel()).
//
// TODO: Sum away what broadcasting added.
// APPROACH: 1. Same sizes: `grad` itself. 2. Counted from the last dimension, collect the dimensions of `grad` that `sizes` does not have, or has with size 1. 3. Sum over them with keepdim, and reshape.
// EXAMPLE: sum_to(ones({3, 4}), {3, 1}) is a (3, 1) of fours; to {4} it is a (4) of threes.
Tensor sum_to(const Tensor& grad, IntArrayRef sizes) {
  // BEGIN SOLUTION
  if (grad.sizes() == sizes) return grad;
  DimVector stretched;
  const std::size_t added = grad.sizes().size() - sizes.size();
  for (std::size_t i = 0; i < grad.sizes().size(); ++i)
    if (i < added || (sizes[i - added] == 1 && grad.sizes()[i] != 1)) stretched.push_back(static_cast<std::int64_t>(i));
  const Tensor total = stretched.empty() ? grad : grad.sum(stretched, true);
  return total.reshape(sizes);
  // END SOLUTION
}

// %% {"nbgrader": {"grade": true, "grade_id": "05-sum-to-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("sum_to: what broadcasting stretched is summed back") {
  CHECK_EQ(sum_to(ones({3, 4}), {3, 1}), full({3, 1}, 4.0));
  CHECK_EQ(sum_to(ones({3, 4}), {4}), full({4}, 3.0));
  CHECK_EQ(sum_to(ones({3, 4}), {}), full({}, 12.0));
  const Tensor same = ones({2});
  CHECK(sum_to(same, {2}).is_same(same));
  // BEGIN HIDDEN TESTS
  CHECK_EQ(sum_to(ones({2, 3, 4}), {3, 1}), full({3, 1}, 8.0));
  CHECK_EQ(sum_to(ones({1, 4}), {1, 1}), full({1, 1}, 4.0));
  // END HIDDEN TESTS
}

// %%
//| mistake 05-sum-to forgets-dimensions-of-size-one
//| says A dimension of size 1 was stretched too: sum over it as well as over the missing ones.
#if 0
Tensor sum_to(const Tensor& grad, IntArrayRef sizes) {
  if (grad.sizes() == sizes) return grad;
  DimVector stretched;
  for (std::size_t i = 0; i < grad.sizes().size() - sizes.size(); ++i) stretched.push_back(static_cast<std::int64_t>(i));
  return stretched.empty() ? grad : grad.sum(stretched, false);
}
#endif

// %%
//| export core/engine.cpp
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

// %% [markdown]
// For each node a run must find what has arrived so far. The walk of phase 1 gives every node a *number*, in the order in which it meets them; from then on all that the run knows stands in arrays, by number, and phase 2 searches nowhere:
//
//     numbers_    node -> number                             a hash table, asked once for each edge
//     buffers_    [0] add    [1] f    [2] g    [3] x         what has arrived; how many edges have yet to deliver
//     targets_     1   2      3        3                     for each edge of each node, in the same order: the number it leads to
//
// Gradients that meet at a node are added up. A parameter that is used a thousand times would get a thousand new tensors for that, so the engine adds to where the sum lies if nobody else can see it: the same question as in the accumulator above, and PyTorch's
// (`torch/csrc/autograd/input_buffer.cpp`). A sum that is being recorded must stay as it is, and becomes a new tensor.

// %%
//| export core/engine.cpp
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

// %% {"nbgrader": {"grade": false, "grade_id": "05-count-dependencies", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/engine.cpp
namespace {
// Gives every node that the roots reach a buffer, notes where each of its edges leads, and counts how many edges lead into it.
// No recursion: a chain may be a million long. O(nodes + edges).
//
// TODO: Find every node that the roots reach, and count the edges that lead into each.
// APPROACH: 1. enter() the roots' nodes. 2. Go through buffers_ by number; it grows at its end while you go, and when you have reached its end every node has been met. 3. For each buffer: first_target is where
//   targets_ ends now; then append one target for each edge of the node: kNowhere, or the number from enter(), whose buffer waits for one delivery more.
// EXAMPLE: for y = x * x the node of x has waiting_for == 2.
// HINT: a reference into buffers_ is invalid after enter(): index anew.
void GraphTask::count_dependencies(const edge_list& roots) {
  // BEGIN SOLUTION
  for (const Edge& root : roots) enter(*root.function);
  for (std::size_t number = 0; number < buffers_.size(); ++number) {
    buffers_[number].first_target = targets_.size();
    for (const Edge& edge : buffers_[number].node->next_edges()) {
      targets_.push_back(edge.is_valid() ? enter(*edge.function) : kNowhere);
      if (edge.is_valid()) ++buffers_[targets_.back()].waiting_for;
    }
  }
  // END SOLUTION
}
}  // namespace

// %%
//| export core/engine.cpp
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

// %% {"nbgrader": {"grade": false, "grade_id": "05-deliver", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/engine.cpp
namespace {
// Adds a gradient to what has arrived at input `input_nr` of node `number`; the node is ready when every edge into it has delivered.
//
// TODO: Hand over one gradient.
// APPROACH: 1. A defined gradient is added to what is there (add_into). 2. One edge less to wait for; at zero the node is ready: ready_.emplace(its sequence_nr(), number).
// HINT: an undefined gradient counts as delivered, too: it stands for zero.
void GraphTask::deliver(std::uint32_t number, std::uint32_t input_nr, Tensor grad) {
  // BEGIN SOLUTION
  Buffer& buffer = buffers_[number];
  if (grad.defined()) add_into(buffer.grads[input_nr], std::move(grad));
  if (--buffer.waiting_for == 0) ready_.emplace(buffer.node->sequence_nr(), number);
  // END SOLUTION
}
}  // namespace

// %% [markdown]
// A run that is asked for some inputs only, as by `autograd::grad`, has less to do. Nodes that lead to none of them are not applied and their hooks not called, and a node that is applied may have inputs that nobody asks for: it can ask the run (`task_should_compute_output`, the name in PyTorch's `Node`, too) and leave their gradients undefined. The two gradients of a product are two products
// as large as itself, so whoever asks for one of them waits half as long.
//
// `run_node` is one step: hooks may look at what arrived and replace it, `retain_grad` (asked of a tensor that is no leaf) keeps a copy, a capture takes it away for `autograd::grad`, the node is applied, and what it saved is freed unless the graph is kept.

// %%
//| export core/engine.cpp
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

// %% {"nbgrader": {"grade": false, "grade_id": "05-run", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/engine.cpp
namespace {
// Runs everything that the roots reach, each node once, when all its gradients have arrived. Returns the captured gradients, in the order of the inputs asked for. O(nodes + edges) beside the nodes' own work.
//
// TODO: Run the graph from `roots` with `grads`; return what was captured for `inputs`.
// APPROACH: 1. Count dependencies. 2. capture(inputs). 3. Each root waits for the gradient that you are about to deliver: one more. 4. Deliver grads[i] along roots[i]. 5. While a node is ready: take the youngest from the queue and run it.
// HINT: numbers_.at(root.function.get()) is a root's number; ready_.top().second is the number of the youngest.
variable_list GraphTask::run(const edge_list& roots, variable_list grads, const edge_list& inputs) {
  // BEGIN SOLUTION
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
  // END SOLUTION
}
}  // namespace

// %%
//| export core/engine.cpp
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

// %% {"nbgrader": {"grade": true, "grade_id": "05-engine-test", "locked": true, "points": 15, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("engine: two ways to one leaf add up") {
  const Tensor x = tensor({2.0, 3.0}, dtype(kDouble).requires_grad(true));
  (x * x + x.exp()).sum().backward();
  CHECK_CLOSE(x.grad(), x.detach() * 2.0 + x.detach().exp());
}

TEST_CASE("engine: a node waits for all its edges") {
  // h is used on a short and on a long way; its node must not run before the long one has delivered.
  const Tensor x = tensor({1.5}, dtype(kDouble).requires_grad(true));
  const Tensor h = x * 2.0;
  const Tensor long_way = ((h * 3.0) * 5.0) * 7.0;
  (h + long_way).sum().backward();
  CHECK_EQ(x.grad(), tensor({2.0 + 2.0 * 105.0}, kDouble));
  // BEGIN HIDDEN TESTS
  Tensor ladder = x;
  for (int i = 0; i < 10; ++i) ladder = ladder + ladder;
  CHECK_EQ(autograd::grad({ladder}, {x})[0], tensor({1024.0}, kDouble));
  // Several roots, one of them on the way of another, and results in the order of the inputs.
  const Tensor y = tensor({4.0}, dtype(kDouble).requires_grad(true));
  const Tensor product = x * y;
  const variable_list both = autograd::grad({product * product, product}, {y, x});
  CHECK_EQ(both[0], tensor({2.0 * 6.0 * 1.5 + 1.5}, kDouble));
  CHECK_EQ(both[1], tensor({2.0 * 6.0 * 4.0 + 4.0}, kDouble));
  // END HIDDEN TESTS
}

// %%
//| mistake 05-run roots-do-not-wait
//| says A root waits for the gradient that you deliver to it yourself: count that one, too, or its count goes below zero and it is never ready.
#if 0
variable_list GraphTask::run(const edge_list& roots, variable_list grads, const edge_list& inputs) {
  count_dependencies(roots);
  capture(inputs);
  for (std::size_t i = 0; i < roots.size(); ++i) deliver(numbers_.at(roots[i].function.get()), roots[i].input_nr, std::move(grads[i]));
  while (!ready_.empty()) {
    const std::uint32_t number = ready_.top().second;
    ready_.pop();
    run_node(number);
  }
  return std::move(captured_);
}
#endif

// %%
//| mistake 05-run pops-what-it-did-not-run
//| says While a node runs, others join the queue: pop() before run_node, or it takes away one of those, which then never runs.
#if 0
variable_list GraphTask::run(const edge_list& roots, variable_list grads, const edge_list& inputs) {
  count_dependencies(roots);
  capture(inputs);
  for (const Edge& root : roots) ++buffers_[numbers_.at(root.function.get())].waiting_for;
  for (std::size_t i = 0; i < roots.size(); ++i) deliver(numbers_.at(roots[i].function.get()), roots[i].input_nr, std::move(grads[i]));
  while (!ready_.empty()) {
    run_node(ready_.top().second);
    ready_.pop();
  }
  return std::move(captured_);
}
#endif

// %%
//| mistake 05-deliver overwrites
//| says A node with several edges into it receives the sum of what they bring: add to the buffer.
#if 0
void GraphTask::deliver(std::uint32_t number, std::uint32_t input_nr, Tensor grad) {
  Buffer& buffer = buffers_[number];
  if (grad.defined()) buffer.grads[input_nr] = std::move(grad);
  if (--buffer.waiting_for == 0) ready_.emplace(buffer.node->sequence_nr(), number);
}
#endif

// %%
//| mistake 05-count-dependencies counts-nodes-not-edges
//| says A node waits for every edge into it, also for those that come from a node seen before: count at each edge, not at each new node.
#if 0
void GraphTask::count_dependencies(const edge_list& roots) {
  for (const Edge& root : roots) enter(*root.function);
  for (std::size_t number = 0; number < buffers_.size(); ++number) {
    buffers_[number].first_target = targets_.size();
    for (const Edge& edge : buffers_[number].node->next_edges()) {
      const std::size_t known = buffers_.size();
      targets_.push_back(edge.is_valid() ? enter(*edge.function) : kNowhere);
      if (buffers_.size() > known) ++buffers_[targets_.back()].waiting_for;
    }
  }
}
#endif

// %% [markdown]
// Around the engine stand the functions that users call, which check what they are given (library chapter 99). `backward` accumulates into leaves; `autograd::grad` returns gradients and touches no leaf:
//
//     roots:    gradient_edge(t) of each tensor           backward:  run_backward(roots, ones, ..., {})
//     ones:     ones_like(t), if no gradient is given     grad:      run_backward(roots, ones, ..., gradient_edge(x) of each input asked for)
//
// The methods of Tensor, `backward()`, `grad()`, `requires_grad_()` and the like, call these or look into the metadata slot.

// %% {"nbgrader": {"grade": true, "grade_id": "05-double-backward-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("double backward: the gradient of a gradient") {
  const Tensor x = tensor({2.0}, dtype(kDouble).requires_grad(true));
  const Tensor first = autograd::grad({x.pow(4).sum()}, {x}, {}, true, true)[0];
  CHECK_EQ(first.detach(), tensor({32.0}, kDouble));  // 4 x^3
  const Tensor second = autograd::grad({first.sum()}, {x}, {}, true, true)[0];
  CHECK_EQ(second.detach(), tensor({48.0}, kDouble));  // 12 x^2
  second.sum().backward();
  CHECK_EQ(x.grad(), tensor({48.0}, kDouble));  // 24 x
  // BEGIN HIDDEN TESTS
  const Tensor y = tensor({3.0}, dtype(kDouble).requires_grad(true));
  const Tensor by_x = autograd::grad({(x * x * y).exp().log().sum()}, {x}, {}, true, true)[0];  // 2 x y
  CHECK_CLOSE(autograd::grad({by_x.sum()}, {y})[0], tensor({4.0}, kDouble));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### The gradients themselves
//
// First the views. A view moves no data, so neither does its gradient: `permute` is undone by the inverse permutation, `expand` by the engine's sum. `select` and `slice` show a part of a tensor; their gradient is that part in a tensor of zeros.
//
//     forward    (A, B, C) --permute({2, 0, 1})--> (C, A, B)       dims[i]: where output dimension i came from
//     backward   (A, B, C) <--permute({1, 2, 0})-- (C, A, B)       inverse[dims[i]] = i
//     example    dims = 2 0 1:  output 0 was input 2, so in the inverse, position 2 holds 0

// %%
//| export core/gradient_formulas.h
// The gradient of permute: `grad` with its dimensions put back. A view.
Tensor permute_backward(const Tensor& grad, IntArrayRef dims);
// The gradient of softmax along `dim`: (N..., C) like `grad` and `result`, the softmax. O(numel).
Tensor softmax_backward(const Tensor& grad, const Tensor& result, std::int64_t dim);

// %% {"nbgrader": {"grade": false, "grade_id": "05-permute-backward", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/gradient_formulas.cpp
// The gradient of permute: `grad` with its dimensions put back. A view.
//
// TODO: Undo the permutation.
// APPROACH: output dimension i came from input dimension dims[i]; so input dimension dims[i] comes from output dimension i.
// EXAMPLE: dims (2, 0, 1) are undone by (1, 2, 0).
// HINT: dims may be negative: wrap_dim(dims[i], grad.dim()).
Tensor permute_backward(const Tensor& grad, IntArrayRef dims) {
  // BEGIN SOLUTION
  DimVector inverse(dims.size());
  for (std::size_t i = 0; i < dims.size(); ++i) inverse[static_cast<std::size_t>(wrap_dim(dims[i], grad.dim()))] = static_cast<std::int64_t>(i);
  return grad.permute(inverse);
  // END SOLUTION
}

// %% {"nbgrader": {"grade": true, "grade_id": "05-permute-backward-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("gradients of views: back to where the elements came from") {
  const Tensor x = arange(24).to(kDouble).view({2, 3, 4}).detach().requires_grad_();
  const Tensor weight = arange(24).to(kDouble).view({4, 2, 3});
  (x.permute({2, 0, 1}) * weight).sum().backward();
  CHECK_EQ(x.grad(), weight.permute({1, 2, 0}));
  const Tensor y = ones({2, 3}, dtype(kDouble).requires_grad(true));
  (y.slice(1, 0, 3, 2) * 2.0 + y.select(1, 1).unsqueeze(1)).sum().backward();
  CHECK_EQ(y.grad(), tensor({{2.0, 2.0, 2.0}, {2.0, 2.0, 2.0}}, kDouble));
  // BEGIN HIDDEN TESTS
  const Tensor z = zeros({2, 3, 4, 5}, dtype(kDouble).requires_grad(true));
  const Tensor factor = arange(120).to(kDouble).view({5, 3, 2, 4});
  (z.permute({-1, 1, 0, -2}) * factor).sum().backward();
  CHECK_EQ(z.grad(), factor.permute({2, 1, 3, 0}));
  // END HIDDEN TESTS
}

// %%
//| mistake 05-permute-backward same-permutation
//| says The way back is the inverse permutation; only swaps are their own inverse.
#if 0
Tensor permute_backward(const Tensor& grad, IntArrayRef dims) {
  return grad.permute(dims);
}
#endif

// %% [markdown]
// The table itself is chapter 64's. Some of its lines, to be compared with your calculus (the quotient rule, a product of matrices, a function whose derivative is cheapest from its result), and one that belongs to writes in place, since `copy_` forgets the old values:
//
// ```cpp
// gradient<op::div, op::div_>([](const Tensor& g, Input<1> other) { return g / other; },
//                             [](const Tensor& g, Input<0> self, Input<1> other) { return -g * (self / other / other); });
// gradient<op::mm>([](const Tensor& g, Input<1> mat2) { return g.mm(mat2.t()); }, [](const Tensor& g, Input<0> self) { return self.t().mm(g); });
// gradient<op::sqrt>([](const Tensor& g, Output result) { return g / (result * 2); });
// gradient<op::relu>([](const Tensor& g, Output result) { return where(result <= 0, zeros({}, g.options()), g); });
// gradient<op::copy_>([](const Tensor& g) { return zeros_like(g); }, [](const Tensor& g) { return g; });
// ```

// %% [markdown]
// How does one know that a gradient is right? By asking the function itself: `(f(x + h) - f(x - h)) / 2h` is the derivative up to an error of h squared, in float64 good to about ten digits. This test needs nothing of what it tests, so it finds any error in a formula. `gradcheck` does it for each element of each input.

// %%
//| lesson
// The gradient of f at x by central differences. REQUIRES: float64.
Tensor numerical_gradient(const std::function<Tensor(const Tensor&)>& f, const Tensor& x, double h = 1e-6) {
  const NoGradGuard no_grad;
  const Tensor at = x.detach().clone();
  const Tensor gradient = zeros_like(at);
  for (std::int64_t i = 0; i < at.numel(); ++i) {
    double& element = at.data_ptr<double>()[i];
    const double middle = element;
    element = middle + h;
    const double above = f(at).item<double>();
    element = middle - h;
    const double below = f(at).item<double>();
    element = middle;
    gradient.data_ptr<double>()[i] = (above - below) / (2 * h);
  }
  return gradient;
}

bool gradcheck(const std::function<Tensor(const Tensor&)>& f, const Tensor& x) {
  const Tensor leaf = x.detach().clone().requires_grad_();
  f(leaf).backward();
  return leaf.grad().allclose(numerical_gradient(f, x), 1e-6, 1e-7);
}

// %% {"nbgrader": {"grade": true, "grade_id": "05-gradcheck-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("gradients of arithmetic agree with finite differences") {
  const Tensor x = tensor({{0.5, -1.25, 2.0}, {1.5, 0.75, -0.5}}, kDouble);
  const Tensor other = tensor({1.5, -0.5, 2.5}, kDouble);
  CHECK(gradcheck([&](const Tensor& t) { return (t * other - t / other).sum(); }, x));
  CHECK(gradcheck([&](const Tensor& t) { return (other / t).sum(); }, x));
  CHECK(gradcheck([](const Tensor& t) { return t.pow(3).mean(); }, x));
  CHECK(gradcheck([](const Tensor& t) { return (t.exp() + t.abs().sqrt() + t.abs().log()).sum(); }, x));
  CHECK(gradcheck([](const Tensor& t) { return t.mm(t.t()).sum(); }, x));
  CHECK(gradcheck([](const Tensor& t) { return (t.amax({1}) * t.max()).sum(); }, x));
  // BEGIN HIDDEN TESTS
  const Tensor column = tensor({{2.0}, {-3.0}}, kDouble);
  CHECK(gradcheck([&](const Tensor& t) { return ((x * t + x / t) * (t - other)).sum(); }, column));
  CHECK(gradcheck([&](const Tensor& t) { return x.mm((t * t).sum(1, true).expand({2, 4}).t().slice(0, 0, 3)).pow(2).sum(); }, column));
  // END HIDDEN TESTS
}

// %% [markdown]
// Activations. One of them is worth deriving by hand.
//
// Softmax is `s_i = exp(x_i) / sum_j exp(x_j)`. Every output depends on every input: `ds_i/dx_j = s_i (delta_ij - s_j)`. Multiplied by a gradient g from the left:
//
//     grad_j = sum_i g_i s_i (delta_ij - s_j)  =  s_j g_j  -  s_j * sum_i g_i s_i  =  s_j (g_j - <g, s>)
//
// The Jacobian has n^2 entries, but its product with g needs one dot product. For cross-entropy, log-softmax and the choice of one class cancel to the most useful line of deep learning, `softmax(x) - one_hot(target)`. The
// gradients of the losses, and those of `gelu`, `elu` and their like, stand in library chapter 95: you could write each of them now.

// %% {"nbgrader": {"grade": false, "grade_id": "05-softmax-backward", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/gradient_formulas.cpp
// The gradient of softmax along `dim`: (N..., C) like `grad` and `result`, the softmax. O(numel).
//
// TODO: Multiply `grad` by the Jacobian of softmax, without forming it.
// APPROACH: s (g - <g, s>), with the dot product along `dim`.
// EXAMPLE: a gradient that is the same for all classes gives zero: adding a constant to all logits changes nothing.
// HINT: sum(dim, true) keeps the dimension, so that it broadcasts.
Tensor softmax_backward(const Tensor& grad, const Tensor& result, std::int64_t dim) {
  // BEGIN SOLUTION
  const Tensor weighted = grad * result;
  return weighted - result * weighted.sum(dim, true);
  // END SOLUTION
}

// %% {"nbgrader": {"grade": true, "grade_id": "05-softmax-backward-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("gradients of activations agree with finite differences") {
  const Tensor x = tensor({{0.5, -1.25, 2.0}, {1.5, 0.75, -0.5}}, kDouble);
  const Tensor weight = tensor({1.0, -2.0, 3.0}, kDouble);
  CHECK(gradcheck([&](const Tensor& t) { return (softmax(t, 1) * weight).sum(); }, x));
  CHECK(gradcheck([&](const Tensor& t) { return (log_softmax(t, 1) * weight).sum(); }, x));
  CHECK(gradcheck([](const Tensor& t) { return (tanh(t) * sigmoid(t) + relu(t)).sum(); }, x));
}

TEST_CASE("softmax: a gradient that is the same for all classes vanishes") {
  const Tensor x = tensor({1.0, 2.0, 3.0}, dtype(kDouble).requires_grad(true));
  softmax(x, 0).sum().backward();
  CHECK_CLOSE(x.grad(), zeros({3}, kDouble), 0, 1e-15);
  // BEGIN HIDDEN TESTS
  const Tensor cube = arange(12).to(kDouble).view({2, 3, 2}).sqrt();
  const Tensor weight = arange(12).to(kDouble).view({2, 3, 2});
  for (const std::int64_t dim : {0, 1, -1}) CHECK(gradcheck([&](const Tensor& t) { return (softmax(t, dim) * weight).sum(); }, cube));
  // END HIDDEN TESTS
}

// %%
//| mistake 05-softmax-backward diagonal-only
//| says Each output depends on every input: s (1 - s) is only the diagonal of the Jacobian.
#if 0
Tensor softmax_backward(const Tensor& grad, const Tensor& result, std::int64_t dim) {
  (void)dim;
  return grad * result * (1 - result);
}
#endif

// %% [markdown]
// ### Less memory, more time: checkpointing
//
// A deep network keeps the inputs of every operator until the backward pass. *Activation checkpointing* keeps only the input of a whole block, and runs the block again when its gradient is needed:
//
//     recorded         keep  a --[1]--> b --[2]--> c --[3]--> d          memory 3 activations,  time 1 forward + backward
//     checkpointed     keep  a ----------[1 2 3]------------> d          memory 1,              time 2 forward + backward
//                      backward: run [1 2 3] again from a, recording, and go back through it at once
//
// A block may draw random numbers, as Dropout does. The second run must draw the same ones, so the node keeps a copy of the generator as it stood before the first.
//
// This is a design exercise: the contract is given, how you meet it is yours. The node is declared; its `apply` may call the engine again from inside a running engine, which works because a run keeps its own state.

// %%
//| export core/checkpoint.h
namespace autograd {
// f(input), whose inner values are not kept: the backward pass computes them again, with the same random numbers from the default
// generator. The same values and gradients as f(input), for `input` and for parameters that f uses. Source: torch/utils/checkpoint.py (reentrant); Chen et al. 2016.
Tensor checkpoint(const std::function<Tensor(const Tensor&)>& f, const Tensor& input);
}  // namespace autograd

// %%
//| export core/checkpoint.cpp
namespace {
// The default generator as `past` for a scope; after it, as it was before.
class GeneratorGuard {
 public:
  explicit GeneratorGuard(const Generator& past) : present_(default_generator().state()) { default_generator().set_state(past.state()); }
  ~GeneratorGuard() { default_generator().set_state(present_); }
  GeneratorGuard(const GeneratorGuard&) = delete;
  GeneratorGuard& operator=(const GeneratorGuard&) = delete;

 private:
  std::string present_;
};

class CheckpointNode : public Node {
 public:
  CheckpointNode(std::function<Tensor(const Tensor&)> block, const Tensor& input)
      : block_(std::move(block)), input_(input, false), generator_(default_generator().clone()) {
    set_next_edges({gradient_edge(input)});
  }
  std::string name() const override { return "CheckpointBackward"; }
  variable_list apply(variable_list&& grads) override;
  void release_variables() override { input_.reset(); }

 private:
  std::function<Tensor(const Tensor&)> block_;
  SavedVariable input_;
  Generator generator_;  // as it stood before the first run
};
}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "05-checkpoint", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/checkpoint.cpp
//| exercise design
// Runs the block again, with recording, and goes back through it with the gradient that arrived. Returns the gradient of the input; parameters inside accumulate.
//
// TODO: Recompute the block, go back through it, and return the gradient of the input.
// APPROACH: Yours. Think of: which tensor the block must run on so that nothing outside is differentiated twice; recording, which the engine has switched off; random numbers (GeneratorGuard); what is left in memory when you return.
variable_list CheckpointNode::apply(variable_list&& grads) {
  // BEGIN SOLUTION
  if (!grads[0].defined()) return {Tensor()};
  const AutoGradMode recording(true);
  const Tensor input = input_.unpack(*this).detach().requires_grad_();
  Tensor output;
  {
    const GeneratorGuard guard(generator_);
    output = block_(input);
  }
  autograd::backward({output}, {grads[0]});
  return {input.grad()};
  // END SOLUTION
}

// %%
//| export core/checkpoint.cpp
Tensor autograd::checkpoint(const std::function<Tensor(const Tensor&)>& f, const Tensor& input) {
  TORCH_CHECK(input.requires_grad() || !GradMode::is_enabled(), "None of the inputs have requires_grad=True. Gradients will be None\n"
              "[checkpoint] the block would be computed without a way back; call input.requires_grad_() if parameters inside shall learn.");
  if (!GradMode::is_enabled()) return f(input);
  const auto node = make_node<CheckpointNode>(f, input);
  Tensor output;
  {
    const NoGradGuard no_grad;
    output = f(input);
  }
  set_history(output, node);
  return output;
}

// %%
//| lesson
// A block of eight pointwise steps, which keep about eight tensors for the backward pass.
Tensor deep_block(const Tensor& x) {
  Tensor y = x;
  for (int i = 0; i < 4; ++i) y = (y * 1.01).exp().log();
  return y;
}

// %% {"nbgrader": {"grade": true, "grade_id": "05-checkpoint-test", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("checkpoint: the same gradients, for the input and for parameters inside") {
  const Tensor w = tensor({2.0, -1.0}, dtype(kDouble).requires_grad(true));
  const auto block = [&](const Tensor& t) { return (t * w).exp(); };
  const Tensor x = tensor({0.5, 0.25}, dtype(kDouble).requires_grad(true));
  block(x).sum().backward();
  const Tensor x_grad = x.grad().clone();
  const Tensor w_grad = w.grad().clone();
  x.mutable_grad() = Tensor();
  w.mutable_grad() = Tensor();
  (autograd::checkpoint(block, x) * 1.0).sum().backward();
  CHECK_EQ(x.grad(), x_grad);
  CHECK_EQ(w.grad(), w_grad);
  // BEGIN HIDDEN TESTS
  // One block inside another, on an input that is no leaf.
  x.mutable_grad() = Tensor();
  w.mutable_grad() = Tensor();
  const auto outer = [&](const Tensor& t) { return autograd::checkpoint(block, t * 0.5); };
  autograd::checkpoint(outer, x * 2.0).sum().backward();
  CHECK_CLOSE(x.grad(), x_grad);
  CHECK_CLOSE(w.grad(), w_grad);
  // END HIDDEN TESTS
}

TEST_CASE("checkpoint: keeps a fraction of the memory") {
  const Tensor x = full({10000}, 0.5, requires_grad());
  const std::size_t before = memory::stats().live;
  const Tensor recorded = deep_block(x);
  const std::size_t kept = memory::stats().live - before;
  const std::size_t middle = memory::stats().live;
  const Tensor checkpointed = autograd::checkpoint(deep_block, x);
  const std::size_t kept_checkpointed = memory::stats().live - middle;
  CHECK_EQ(recorded.detach(), checkpointed.detach());
  CHECK(kept_checkpointed * 4 < kept);
}

TEST_CASE("checkpoint: the second run draws the same random numbers, and leaves the generator where it was") {
  const auto noisy = [](const Tensor& t) { return t * randn({100}); };
  const Tensor x = ones({100}, requires_grad());
  manual_seed(3);
  const Tensor y = autograd::checkpoint(noisy, x);
  const std::string after = default_generator().state();
  y.sum().backward();
  CHECK_EQ(x.grad(), y.detach());  // y = x * noise at x = 1
  CHECK_EQ(default_generator().state(), after);
}

// %%
//| mistake 05-checkpoint runs-without-recording
//| says The engine switches recording off; the second run must record, or there is nothing to go back through.
#if 0
variable_list CheckpointNode::apply(variable_list&& grads) {
  if (!grads[0].defined()) return {Tensor()};
  const Tensor input = input_.unpack(*this).detach().requires_grad_();
  const Tensor output = block_(input);
  autograd::backward({output}, {grads[0]});
  return {input.grad()};
}
#endif

// %% [markdown]
// ### Debugging: a gradient that is not a number
//
// A colleague needs the square root where `x` is positive and 0 elsewhere. Forward all is well. After the first step every weight is NaN.
//
//     x = 0:   where(x > 0, sqrt(x), 0)          forward:  0
//              gradient of where:  0 for the branch that was not taken
//              gradient of sqrt:   0 * 1 / (2 sqrt(0))  =  0 * inf  =  NaN
//
// The branch that is not taken is computed all the same, and its gradient is multiplied by 0, which does not help against infinity.
//
// In a large model the first question is *which line*. Anomaly mode answers it: while a `DetectAnomalyGuard` lives, each node keeps the return addresses that are on the stack when it is recorded, and the engine checks every result for NaN. The error
// then names the node and, looked up from the addresses, the line of the forward pass (library chapter 99 shows how).

// %%
//| lesson
// The planted fault: right values, wrong gradients.
Tensor faulty_sqrt_or_zero(const Tensor& x) { return where(x > 0, sqrt(x), zeros_like(x)); }

// %% {"nbgrader": {"grade": false, "grade_id": "05-debug-nan", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
//| exercise debug
// sqrt(x) where x > 0, else 0; its gradient is finite everywhere: 1 / (2 sqrt(x)) where x > 0, else 0.
//
// TODO: Mend faulty_sqrt_or_zero.
// APPROACH: see that sqrt never meets a value at which its derivative is infinite.
Tensor mended_sqrt_or_zero(const Tensor& x) {
  // BEGIN SOLUTION
  const Tensor safe = where(x > 0, x, ones_like(x));
  return where(x > 0, sqrt(safe), zeros_like(x));
  // END SOLUTION
}

// %% {"nbgrader": {"grade": true, "grade_id": "05-debug-nan-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("debug: a branch that is not taken must not spoil the gradient") {
  const Tensor x = tensor({4.0, 0.0, -1.0}, dtype(kDouble).requires_grad(true));
  faulty_sqrt_or_zero(x).sum().backward();
  CHECK(std::isnan(x.grad()[1].item<double>()));  // the fault
  x.mutable_grad() = Tensor();
  const Tensor y = mended_sqrt_or_zero(x);
  CHECK_EQ(y.detach(), tensor({2.0, 0.0, 0.0}, kDouble));
  y.sum().backward();
  CHECK_EQ(x.grad(), tensor({0.25, 0.0, 0.0}, kDouble));
  // BEGIN HIDDEN TESTS
  const Tensor other = tensor({{-3.0, 0.25}, {25.0, 0.0}}, dtype(kDouble).requires_grad(true));
  const Tensor root = mended_sqrt_or_zero(other);
  CHECK_CLOSE(root.detach(), tensor({{0.0, 0.5}, {5.0, 0.0}}, kDouble));
  root.sum().backward();
  CHECK_CLOSE(other.grad(), tensor({{0.0, 1.0}, {0.1, 0.0}}, kDouble));
  // END HIDDEN TESTS
}

// %%
//| mistake 05-debug-nan mends-negatives-only
//| says At 0 the root is still infinitely steep, and 0 * inf is NaN: where x is not positive, put a harmless number such as 1 under the root.
#if 0
Tensor mended_sqrt_or_zero(const Tensor& x) {
  return where(x > 0, sqrt(x.abs()), zeros_like(x));
}
#endif

// %%
//| mistake 05-debug-nan adds-epsilon
//| says A small number under the root changes the values, and below it the root is NaN as before: choose what goes under the root with where().
#if 0
Tensor mended_sqrt_or_zero(const Tensor& x) {
  return where(x > 0, sqrt(x + 1e-12), zeros_like(x));
}
#endif

// %% [markdown]
// ### Debugging: a layer that does not learn
//
// Another colleague smooths the target of a small network with the network's own output and detaches "to save memory". The loss goes down at first, then stays; one of the two weights never moves. There is no error: an edge that leads nowhere is legal.
//
//     as found     first --(*)-- detach --+--(*)-- prediction ---------------------(-)--> loss
//                           |      X      |   |                                     |
//                           x             |  second                                 |
//                                         +--(*)-- 0.1 * prediction --(+)-- smoothed
//                                             |                        |
//                                            second               0.9 * target
//
// A gradient comes back along the lines. Which of the ways to `first` and to `second` shall it take, and which not?

// %%
//| lesson
// The planted fault: prediction = second * (first * x), and the loss of it, with `first` frozen by mistake.
Tensor faulty_loss(const Tensor& first, const Tensor& second, const Tensor& x, const Tensor& target) {
  const Tensor hidden = (first * x).detach();
  const Tensor smoothed = target * 0.9 + (second * hidden) * 0.1;
  return (second * hidden - smoothed).pow(2).mean();
}

// %% {"nbgrader": {"grade": false, "grade_id": "05-debug-frozen", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| lesson
//| exercise debug
// The same loss: both weights learn, and the smoothed target counts as a constant.
//
// TODO: Mend faulty_loss.
// APPROACH: ask each detach() and each missing one: shall a gradient go through here?
Tensor mended_loss(const Tensor& first, const Tensor& second, const Tensor& x, const Tensor& target) {
  // BEGIN SOLUTION
  const Tensor hidden = first * x;
  const Tensor prediction = second * hidden;
  const Tensor smoothed = target * 0.9 + prediction.detach() * 0.1;
  return (prediction - smoothed).pow(2).mean();
  // END SOLUTION
}

// %% {"nbgrader": {"grade": true, "grade_id": "05-debug-frozen-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("debug: both weights learn, the target is a constant") {
  const Tensor first = tensor({2.0}, dtype(kDouble).requires_grad(true));
  const Tensor second = tensor({3.0}, dtype(kDouble).requires_grad(true));
  const Tensor x = tensor({1.0}, kDouble);
  const Tensor target = tensor({1.0}, kDouble);
  faulty_loss(first, second, x, target).backward();
  CHECK(!first.grad().defined());  // the fault
  second.mutable_grad() = Tensor();
  mended_loss(first, second, x, target).backward();
  // prediction 6, smoothed 1.5, difference 4.5: d/dprediction = 2 * 4.5 = 9
  CHECK_CLOSE(first.grad(), tensor({27.0}, kDouble));
  CHECK_CLOSE(second.grad(), tensor({18.0}, kDouble));
  // BEGIN HIDDEN TESTS
  const Tensor a = tensor({1.0}, dtype(kDouble).requires_grad(true));
  const Tensor b = tensor({0.5}, dtype(kDouble).requires_grad(true));
  const Tensor loss = mended_loss(a, b, tensor({2.0}, kDouble), tensor({3.0}, kDouble));
  loss.backward();  // prediction 1, smoothed 2.8, difference -1.8
  CHECK_CLOSE(loss.detach(), tensor(3.24, kDouble));
  CHECK_CLOSE(a.grad(), tensor({-3.6}, kDouble));
  CHECK_CLOSE(b.grad(), tensor({-7.2}, kDouble));
  // END HIDDEN TESTS
}

// %%
//| mistake 05-debug-frozen detaches-nothing
//| says The smoothed target counts as a constant: detach the prediction in it, or the network also learns to move its own target.
#if 0
Tensor mended_loss(const Tensor& first, const Tensor& second, const Tensor& x, const Tensor& target) {
  const Tensor prediction = second * (first * x);
  const Tensor smoothed = target * 0.9 + prediction * 0.1;
  return (prediction - smoothed).pow(2).mean();
}
#endif

// %%
//| mistake 05-debug-frozen detaches-the-hidden-value
//| says In the smoothed target, second still gets a gradient: detach all of second * hidden there, not only hidden.
#if 0
Tensor mended_loss(const Tensor& first, const Tensor& second, const Tensor& x, const Tensor& target) {
  const Tensor hidden = first * x;
  const Tensor smoothed = target * 0.9 + (second * hidden.detach()) * 0.1;
  return (second * hidden - smoothed).pow(2).mean();
}
#endif

// %% [markdown]
// ## Part 2: Systems analysis
//
// ### What a forward pass keeps
//
// With n the batch and d the width, a layer `relu(x W + b)` computes O(n d^2) and keeps its input and its output, O(n d), until the backward pass. So the memory of training grows with depth times batch; that of inference does not grow with depth at all. The
// demonstration measures both, and checkpointing between them, with the allocator's counters.

// %%
//| lesson
// Peak bytes above the start while f runs.
template <class F>
std::size_t peak_bytes(F f) {
  memory::reset_peak();
  const std::size_t before = memory::stats().live;
  f();
  return memory::stats().peak - before;
}

std::string bar(double fraction) {
  return std::string(static_cast<std::size_t>(40 * fraction + 0.5), '#');
}

// %%
DEMO("memory of a training step against depth") {
  const Tensor weight = full({64, 64}, 0.01, requires_grad());
  const Tensor x = full({256, 64}, 0.5, requires_grad());
  const auto layer = [&](const Tensor& t) { return relu(t.mm(weight)); };
  const auto block = [&](const Tensor& t) { return layer(layer(layer(layer(t)))); };
  double widest = 0;
  std::vector<std::pair<std::string, double>> rows;
  for (int depth : {4, 8, 16, 32}) {
    const auto plain = peak_bytes([&] {
      Tensor y = x;
      for (int i = 0; i < depth; ++i) y = layer(y);
      y.sum().backward();
    });
    const auto inference = peak_bytes([&] {
      const NoGradGuard no_grad;
      Tensor y = x;
      for (int i = 0; i < depth; ++i) y = layer(y);
    });
    const auto checkpointed = peak_bytes([&] {
      Tensor y = x;
      for (int i = 0; i < depth / 4; ++i) y = autograd::checkpoint(block, y);
      y.sum().backward();
    });
    for (const auto& [name, bytes] : {std::pair{"recorded", plain}, std::pair{"checkpointed", checkpointed}, std::pair{"inference", inference}}) {
      rows.emplace_back(std::to_string(depth) + " layers, " + name, static_cast<double>(bytes) / 1024);
      widest = std::max(widest, rows.back().second);
    }
  }
  for (const auto& [name, kib] : rows) std::printf("%-26s %8.0f KiB %s\n", name.c_str(), kib, bar(kib / widest).c_str());
}

// %% [markdown]
// ### What recording costs
//
// For small tensors the graph costs more than the arithmetic: a node, its edges, its place in the engine. For large ones it disappears behind the work. The demonstration measures the time per operator of a chain of additions: plain, recorded, and recorded with its backward pass.

// %%
DEMO("time per operator: plain, recorded, and back again") {
  std::printf("%10s %12s %12s %12s   ns per operator\n", "elements", "plain", "recorded", "+ backward");
  for (const std::int64_t size : {1, 100, 10000}) {
    const int steps = size == 10000 ? 200 : 2000;
    const Tensor x = ones({size}, requires_grad());
    const auto run = [&](bool record, bool back) {
      return measure([&] {
               const AutoGradMode mode(record);
               Tensor y = x;
               for (int i = 0; i < steps; ++i) y = y + 1;
               if (back) y.backward(ones({size}));
             }).median * 1e9 / steps;
    };
    std::printf("%10lld %12.0f %12.0f %12.0f\n", static_cast<long long>(size), run(false, false), run(true, false), run(true, true));
  }
}

// %% [markdown]
// Three versions of the same idea, and what each step buys:
//
//     v1  closures on a list (a "tape")    each operator pushes a lambda; backward pops them in reverse order
//     v2  nodes and edges, recursion       only what the loss depends on runs; but deep graphs overflow the stack, and a node runs once for each way to it
//     v3  nodes, counts and a queue        each node once; no recursion; hooks, several threads (what you built, and what PyTorch does)

// %%
//| lesson
// v1: a tape of closures. It cannot free a part of the graph, knows no views and no writes in place, and runs everything that was recorded.
struct Tape {
  std::vector<std::function<void()>> steps;
  void backward() {
    for (auto step = steps.rbegin(); step != steps.rend(); ++step) (*step)();
  }
};

// v2: recursion along the edges: right only when each node is reached in one way.
void recursive_backward(Node& node, variable_list grads) {
  const NoGradGuard guard;  // or the gradients would own the graph that owns them
  const variable_list results = node.apply(std::move(grads));
  for (std::size_t i = 0; i < node.next_edges().size(); ++i)
    if (node.next_edge(i).is_valid()) recursive_backward(*node.next_edge(i).function, {results[i]});
}

// What v1 knows of a value, and a square that it records. The closure keeps x, and what it adds to.
struct TapeValue {
  Tensor value;
  Tensor grad = zeros_like(value);
};

std::shared_ptr<TapeValue> tape_square(Tape& tape, const std::shared_ptr<TapeValue>& x) {
  const auto y = std::make_shared<TapeValue>(TapeValue{x->value.pow(2)});
  tape.steps.emplace_back([x, y] { x->grad = x->grad + y->grad * (x->value * 2); });
  return y;
}

// %%
DEMO("v1, v2, v3: time and memory of a chain of squares, and of one that goes on behind the loss") {
  constexpr int squares = 200;
  const Tensor start = ones({1000});
  const auto by_tape = [&](int needed) {
    const NoGradGuard no_grad;
    Tape tape;
    auto y = std::make_shared<TapeValue>(TapeValue{start});
    auto loss = y;
    for (int i = 1; i <= squares; ++i) {
      y = tape_square(tape, y);
      if (i == needed) loss = y;
    }
    loss->grad = ones_like(start);
    tape.backward();
  };
  const auto by_graph = [&](int needed, const std::function<void(const Tensor&)>& go_back) {
    const Tensor x = start.detach().requires_grad_();
    Tensor y = x, loss;
    for (int i = 1; i <= squares; ++i) {
      y = y.pow(2);
      if (i == needed) loss = y;
    }
    go_back(loss);
  };
  std::printf("%-28s %14s %10s\n", "", "us per square", "peak KiB");
  for (const int needed : {squares, squares / 4}) {
    const auto line = [&](const char* name, const std::function<void()>& run) {
      const double kib = static_cast<double>(peak_bytes(run)) / 1024;
      std::printf("%-28s %14.2f %10.0f\n", name, measure(run, {.samples = 5}).median * 1e6 / squares, kib);
    };
    std::printf("the loss needs %d of %d\n", needed, squares);
    line("  v1: a tape", [&] { by_tape(needed); });
    line("  v2: recursion", [&] { by_graph(needed, [&](const Tensor& loss) { recursive_backward(*loss.grad_fn(), {ones_like(start)}); }); });
    line("  v3: counts and a queue", [&] { by_graph(needed, [&](const Tensor& loss) { loss.backward(ones_like(start)); }); });
  }
  std::fflush(stdout);
}

// %% [markdown]
// What to look for: the tape runs every closure whatever the loss needs, and keeps a gradient for each value until the end. The graph lets go of a gradient as soon as it was handed on, and v3 also of what a node had saved. On a chain recursion is as quick as the queue; the ladder below is where it is lost.

// %%
DEMO("v2, v3: how often does each run a node of a ladder of sums?") {
  // y_k = y_{k-1} + y_{k-1}: two ways at each step, so 2^k ways to x.
  for (const int rungs : {4, 8, 12}) {
    const Tensor x = ones({1}, requires_grad());
    int recursive_visits = 0;
    int engine_visits = 0;
    Tensor y = x * 1;
    y.register_hook([&](const Tensor&) { ++engine_visits; });
    const std::shared_ptr<Node> first = y.grad_fn();
    for (int i = 0; i < rungs; ++i) y = y + y;
    std::function<void(const Node&)> walk = [&](const Node& node) {
      if (&node == first.get()) {
        ++recursive_visits;
        return;
      }
      for (const Edge& edge : node.next_edges()) walk(*edge.function);
    };
    walk(*y.grad_fn());
    y.backward();
    std::printf("%2d rungs: recursion would run the first node %5d times, the engine ran it %d time; gradient %g\n", rungs, recursive_visits, engine_visits,
                x.grad().item<double>());
  }
}

// %% {"nbgrader": {"grade": true, "grade_id": "05-versions-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("v1 and v2 agree with the engine on a chain") {
  const Tensor x = tensor({2.0}, dtype(kDouble).requires_grad(true));
  double tape_gradient = 1;
  Tape tape;
  tape.steps.push_back([&] { tape_gradient *= 3; });      // y = 3 x
  tape.steps.push_back([&] { tape_gradient *= 2 * 6; });  // z = y^2 at y = 6
  tape.backward();
  recursive_backward(*(x * 3.0).pow(2).grad_fn(), {ones({1}, kDouble)});
  CHECK_EQ(x.grad().item<double>(), tape_gradient);
}

// %% [markdown]
// ## Part 3: Production context
//
// What you built has PyTorch's anatomy, so its source reads like yours:
//
// | yours | PyTorch | what it does beyond |
// |---|---|---|
// | `Node`, `Edge` | `torch/csrc/autograd/function.h`, `edge.h` | metadata for devices |
// | `GraphTask`, `run_backward` | `engine.cpp`, `graph_task.h`, `input_buffer.h` | one thread for each device, streams, re-entrant depth limits |
// | `SavedVariable` | `saved_variable.h` | hooks that may move what is saved to disk or to the CPU |
// | `gradient<op::mul>(...)` | `tools/autograd/derivatives.yaml`, `FunctionsManual.cpp` | generated C++ for some 2,000 operators, forward mode, complex numbers |
// | `CopySlices`, `refresh_view_history` | `functions/tensor.cpp`, `variable.cpp` | views described by strides where possible, instead of being replayed |
// | `AccumulateGrad` | `functions/accumulate_grad.h` | hooks that data-parallel training uses to send gradients while others are still being computed |
//
// The two other schools choose differently:
//
//     PyTorch, TinyTorch      run ----> graph as a by-product ----> walk it back            a new graph each step
//     TensorFlow GradientTape record ops on a tape ----> tape.gradient replays it           the tape is an object; tf.function traces it into a static graph
//     JAX                     trace f into an expression ----> transform it into its        no graph at run time: grad(f) is a function,
//                             derivative ----> compile                                      and grad(grad(f)), vmap(grad(f)) compose
//
// - TensorFlow: `tensorflow/python/eager/backprop.py` (`GradientTape`); gradients are registered by operator name with `@ops.RegisterGradient`.
// - JAX: `jax/_src/interpreters/ad.py`. Reverse mode there is forward mode (`jvp`) followed by transposition: one table of forward derivatives and one of transposes. The notes *Autodidax* build it from nothing.
//
// What production does differently from this lesson: kernels fuse forward and backward of whole blocks; and compilers (module 18) see the graph before it runs.

// %% [markdown]
// ## Integration test
//
// A network of modules 02 to 04 learns XOR, which one linear layer cannot, by plain gradient descent (`w -= 0.5 * gradient`) written out: forward, backward, a write under `NoGradGuard`.

// %% {"nbgrader": {"grade": true, "grade_id": "05-integration-test", "locked": true, "points": 10, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("integration: two layers learn XOR") {
  manual_seed(1);
  const Tensor x = tensor({{0.0, 0.0}, {0.0, 1.0}, {1.0, 0.0}, {1.0, 1.0}}, kDouble);
  const Tensor target = tensor({{0.0}, {1.0}, {1.0}, {0.0}}, kDouble);
  nn::Linear hidden(2, 8);
  nn::Linear output(8, 1);
  hidden->to(kDouble);
  output->to(kDouble);
  std::vector<Tensor> parameters = hidden->parameters();
  for (const Tensor& p : output->parameters()) parameters.push_back(p);
  double loss_value = 0;
  for (int step = 0; step < 500; ++step) {
    const Tensor loss = mse_loss(output->forward(tanh(hidden->forward(x))), target);
    loss_value = loss.item<double>();
    loss.backward();
    const NoGradGuard no_grad;
    for (const Tensor& p : parameters) {
      p.sub_(p.grad(), 0.5);
      p.mutable_grad() = Tensor();
    }
  }
  CHECK(loss_value < 0.01);
}

// %% [markdown]
// ## ML systems thinking
//
// Run the demonstrations of Part 2 before you answer; the questions ask about your numbers.
//
// 1. A model has 32 blocks. You checkpoint each block, or groups of 4, or only the whole. What is kept, what is recomputed? For which grouping is the sum of the two kinds of memory least, and why is it near the square root of the depth?
// 2. `x.grad()` accumulates. PyTorch could have overwritten it. Which programs would become simpler, which impossible?
// 3. A version counter lives in the storage and not in the tensor. Give a program in which the other choice would miss a write.
// 4. Why may an optimizer write into leaves under `NoGradGuard`, and why does the saved-tensor check still find it if you call `backward` on an old graph afterwards?

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "05-explain-memory", "locked": false, "points": 5, "schema_version": 3, "solution": true, "task": false}}
// ### Explain: where the memory of training goes
//
// Take the numbers of the demonstration "memory of a training step against depth". How do the three lines grow with depth, and which tensors are the ones that make the recorded line grow? Estimate from the slope how many bytes each layer keeps, and check your estimate against what `mm` and
// `relu` save according to their gradient functions.
//
// BEGIN SOLUTION
// Recorded grows linearly: each layer keeps the input of mm (Input<0>, for the weight's gradient; the weight itself is kept but shared) and the output of relu, which is the next layer's input, so the same tensor, and mm's result is freed because relu saves only its output. That is n * d * 4 bytes for
// each layer, 64 KiB here. Checkpointed keeps one input for each block of four layers plus, during the backward pass, one block's worth. Inference holds two activations at any depth.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "05-explain-engine", "locked": false, "points": 5, "schema_version": 3, "solution": true, "task": false}}
// ### Explain: why counts and a queue
//
// Use the demonstration of the ladder. Why does recursion run the first node 2^k times, and why would a plain "visited" mark, so that each node runs once, give wrong gradients? What exactly do the counts guarantee?
//
// BEGIN SOLUTION
// Each rung has two edges to the one before, so there are 2^k ways. With a visited mark the node would run when the first gradient arrives, and what comes later along the other edges would be lost or delivered too late. The counts guarantee that a node runs once, and only when every edge into
// it has delivered, so that it sees the full sum: this is the chain rule over all ways, regrouped node by node.
// END SOLUTION

// %% [markdown]
// ## Module summary
//
// You built automatic differentiation as frameworks have it: nodes and edges that the forward pass leaves behind, saved tensors with a version check, an engine that counts dependencies and runs ready nodes, gradients as one-line functions, histories that follow views and writes in place, hooks, double backward and
// checkpointing. The modules before this one did not change; their operators gained a layer.
//
// What to remember: reverse mode costs about two forward passes in time and all activations in memory; the graph belongs to the loss; gradients add up; a write in place is counted, and the count is checked.
//
// Next: module 06 turns gradients into steps.

// %%
}  // namespace tinytorch
