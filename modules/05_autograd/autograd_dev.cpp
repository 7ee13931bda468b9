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
// # Module 05: Autograd
//
// (opening)

// %%
//| export core/autograd_methods.h
//| extends Tensor
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>

namespace tinytorch {
class Tensor;
class Node;

// What autograd adds to Tensor. Source: aten/src/ATen/core/TensorBase.h.
class AutogradMethods {
 public:
  // Gradients of this tensor (a single element, or weighted by `gradient` of its sizes) are added into the grad() of every
  // leaf that it was computed from. Frees what the graph saved unless retain_graph.
  void backward() const;
  void backward(const Tensor& gradient, bool retain_graph = false, bool create_graph = false) const;

  bool requires_grad() const;
  Tensor& requires_grad_(bool requires_grad = true) const;  // leaves only
  bool is_leaf() const;                                     // made by the user, not by an operator that recorded
  const Tensor& grad() const;                               // undefined until a backward reaches this tensor
  Tensor& mutable_grad() const;
  void retain_grad() const;  // keep grad() for a tensor that is not a leaf
  std::shared_ptr<Node> grad_fn() const;
  std::int64_t output_nr() const;
  std::int64_t _version() const;  // writes in place to the storage so far

  Tensor detach() const;    // the same data, outside the graph
  Tensor& detach_() const;  // takes this tensor out of the graph
  bool is_view() const;
  const Tensor& _base() const;

  // `hook` is called with the gradient of this tensor and may return another, or nothing; returns the position for remove_hook.
  template <class F>
  std::size_t register_hook(F hook) const {
    if constexpr (std::is_void_v<std::invoke_result_t<F, const Tensor&>>) {
      return add_hook([hook](const Tensor& grad) {
        hook(grad);
        return std::decay_t<decltype(grad)>();
      });
    } else {
      return add_hook(hook);
    }
  }
  void remove_hook(std::size_t position) const;

 private:
  std::size_t add_hook(std::function<Tensor(const Tensor&)> hook) const;
};
}  // namespace tinytorch

// %%
//| export core/autograd_options.h
//| extends TensorOptions
namespace tinytorch {
class TensorOptions;

// What autograd adds to TensorOptions: `dtype(kFloat).requires_grad(true)`.
class AutogradOptions {
 public:
  TensorOptions requires_grad(bool requires_grad) const;
  bool requires_grad() const;
};
}  // namespace tinytorch

// %%
//| export nn/module_gradients.h
//| extends Module
namespace tinytorch::nn {
class Module;

// What autograd adds to Module.
class ModuleGradients {
 public:
  // Forgets the gradients of all parameters: makes them undefined, or zero if not set_to_none.
  void zero_grad(bool set_to_none = true);
};
}  // namespace tinytorch::nn

// %%
//| export core/grad_mode.h
#include "tinytorch/core/dispatch.h"
//| export core/node.h
#include <memory>
#include <mutex>
#include <string>
#include <vector>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"
//| export core/node.cpp
#include <atomic>
#include <limits>
#include "tinytorch/core/engine.h"
#include "tinytorch/core/grad_mode.h"
//| export core/saved_variable.h
#include "tinytorch/core/node.h"
//| export core/saved_variable.cpp
#include "tinytorch/core/grad_mode.h"
//| export core/engine.h
#include "tinytorch/core/node.h"
//| export core/engine.cpp
#include <algorithm>
#include <queue>
#include <unordered_map>
#include <unordered_set>
#include "tinytorch/core/grad_mode.h"
//| export core/gradient.h
#include <tuple>
#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/saved_variable.h"
//| export core/autograd.h
#include "tinytorch/core/engine.h"
#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/gradient.h"
//| export core/autograd.cpp
#include "tinytorch/core/ops.h"
//| export core/gradients_basic.cpp
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"
//| export core/gradients_more.cpp
#include <algorithm>
#include <cmath>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
//| export nn/gradients.cpp
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/nn/module.h"

// %%
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Part 1: Foundations

// %%
//| export core/grad_mode.h
// Whether this thread records operators. Recording is a mode of the thread, on at first. Source: c10/core/GradMode.h.
struct GradMode {
  static constexpr std::uint32_t kOff = 1;  // a bit of ThreadState::modes
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
  ScalarType dtype;
};

using edge_list = std::vector<Edge>;
using variable_list = std::vector<Tensor>;
using TensorHook = std::function<Tensor(const Tensor&)>;

// %%
//| export core/node.h
// One recorded operator: turns gradients of its outputs into gradients of its inputs. Source: torch/csrc/autograd/function.h.
class Node : public std::enable_shared_from_this<Node> {
 public:
  Node();
  explicit Node(std::uint64_t sequence_nr) : sequence_nr_(sequence_nr) {}
  virtual ~Node() = default;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // Gradients of the outputs in (undefined stands for zero), gradients of the inputs out, one for each next edge.
  virtual variable_list apply(variable_list&& grads) = 0;
  virtual std::string name() const = 0;
  // Frees what was saved for apply().
  virtual void release_variables() {}

  const edge_list& next_edges() const { return next_edges_; }
  const Edge& next_edge(std::size_t index) const { return next_edges_[index]; }
  void set_next_edges(edge_list edges) { next_edges_ = std::move(edges); }
  std::uint64_t sequence_nr() const { return sequence_nr_; }
  std::size_t num_inputs() const { return input_metadata_.size(); }
  const InputMetadata& input_metadata(std::size_t index) const { return input_metadata_[index]; }
  std::uint32_t add_input_metadata(const Tensor& output);

  // Hooks on the gradients that arrive, by input number, in the order of registration.
  std::vector<std::pair<std::uint32_t, std::shared_ptr<TensorHook>>> tensor_pre_hooks;
  // Hooks on the node: called with what apply() was given and what it returned.
  std::vector<std::function<void(const variable_list& grad_inputs, const variable_list& grad_outputs)>> post_hooks;

 private:
  friend void delete_node(Node* node);
  std::uint64_t sequence_nr_;
  edge_list next_edges_;
  std::vector<InputMetadata> input_metadata_;
  Node* next_to_delete_ = nullptr;
};

// Deletes a node without recursing into the nodes that it alone kept alive.
void delete_node(Node* node);

template <class T, class... Args>
std::shared_ptr<T> make_node(Args&&... args) {
  return std::shared_ptr<T>(new T(std::forward<Args>(args)...), [](T* node) { delete_node(node); });
}

// %%
//| export core/node.h
// What autograd knows of a tensor; lives in the tensor's metadata slot. Source: torch/csrc/autograd/variable.h.
struct AutogradMeta : TensorMetadata {
  Tensor grad;
  std::shared_ptr<Tensor> retained_grad;  // where the hook of retain_grad() puts it: the hook may outlive the tensor
  bool requires_grad = false;             // of a leaf; others require grad through grad_fn
  std::uint32_t output_nr = 0;
  std::shared_ptr<Node> grad_fn;             // the node that computes this tensor's gradient onwards; none for a leaf
  std::weak_ptr<Node> grad_accumulator;      // a leaf's node, made on demand
  std::vector<std::shared_ptr<TensorHook>> hooks;

  // For a view: the tensor whose storage it looks into, and how to take the same view of another tensor of base's shape.
  Tensor base;
  std::function<Tensor(const Tensor&)> replay;
  std::uint32_t view_version = 0;  // the storage's version for which grad_fn holds
  bool made_without_grad = false;
  std::mutex mutex;
};

AutogradMeta* autograd_meta(const Tensor& tensor);  // null if there is none yet
AutogradMeta& materialize_autograd_meta(const Tensor& tensor);

// The node that computes the gradient of `tensor` onwards; null for a leaf. A view's is brought up to date first.
std::shared_ptr<Node> history(const Tensor& tensor);
// Where the gradient of `tensor` goes: to its grad_fn, to the accumulator of a leaf, or nowhere.
Edge gradient_edge(const Tensor& tensor);
// Makes `node` the one that computes the gradient of `tensor`.
void set_history(const Tensor& tensor, const std::shared_ptr<Node>& node);
// The same after a write in place: if `tensor` is a view, its base's history changes.
void rebase_history(const Tensor& tensor, const std::shared_ptr<Node>& node);
void check_inplace(const Tensor& tensor);

// %%
//| export core/node.cpp
namespace {
// Nodes count up in the order of the forward pass; the engine runs the youngest ready one first.
std::atomic<std::uint64_t> next_sequence_nr{0};
}  // namespace
Node::Node() : sequence_nr_(next_sequence_nr.fetch_add(1, std::memory_order_relaxed)) {}

std::uint32_t Node::add_input_metadata(const Tensor& output) {
  input_metadata_.push_back({output.sizes(), output.scalar_type()});
  return static_cast<std::uint32_t>(input_metadata_.size() - 1);
}

// %%
//| export core/node.cpp
namespace {
// Nodes waiting for deletion in this thread, linked through the nodes themselves so that it needs no memory of its own.
thread_local constinit Node* waiting_for_deletion = nullptr;
thread_local constinit bool deleting = false;
}  // namespace

void delete_node(Node* node) {
  node->next_to_delete_ = waiting_for_deletion;
  waiting_for_deletion = node;
  if (deleting) return;  // the loop further up the stack takes it
  deleting = true;
  while (waiting_for_deletion != nullptr) {
    Node* const first = waiting_for_deletion;
    waiting_for_deletion = first->next_to_delete_;
    delete first;
  }
  deleting = false;
}

// %%
//| export core/node.cpp
AutogradMeta* autograd_meta(const Tensor& tensor) { return static_cast<AutogradMeta*>(tensor.impl().metadata.get()); }

AutogradMeta& materialize_autograd_meta(const Tensor& tensor) {
  TensorImpl& impl = tensor.impl();
  if (!impl.metadata) impl.metadata = std::make_unique<AutogradMeta>();
  return static_cast<AutogradMeta&>(*impl.metadata);
}

// %%
//| export core/node.cpp
// The last node of a leaf: adds the gradient that arrives into the leaf's grad(). Source: torch/csrc/autograd/functions/accumulate_grad.h.
class AccumulateGrad : public Node {
 public:
  explicit AccumulateGrad(Tensor leaf) : Node(std::numeric_limits<std::uint64_t>::max()), variable(std::move(leaf)) { add_input_metadata(variable); }
  std::string name() const override { return "AccumulateGrad"; }
  variable_list apply(variable_list&& grads) override;
  Tensor variable;
};

// %%
//| export core/node.cpp
variable_list AccumulateGrad::apply(variable_list&& grads) {
  if (!grads[0].defined()) return {};
  AutogradMeta& meta = materialize_autograd_meta(variable);
  const std::lock_guard lock(meta.mutex);
  const Tensor incoming = std::move(grads[0]);
  grads.clear();
  if (!meta.grad.defined()) {
    // A gradient that nobody else holds is taken as it is; a shared or stretched one is copied, since later sums write into it.
    const bool sole = incoming.is_contiguous() && incoming.getIntrusivePtr()->use_count() == 1 && incoming.storage()->use_count() == 1;
    meta.grad = sole ? incoming : incoming.clone();
  } else if (GradMode::is_enabled()) {
    meta.grad = meta.grad + incoming;
  } else {
    meta.grad.add_(incoming);
  }
  return {};
}

// %%
//| export core/node.cpp
namespace {
// A view's grad_fn is out of date once its storage was written to through another tensor: then the view is taken anew from the
// base, whose history knows of the write.
void refresh_view_history(const Tensor& tensor, AutogradMeta& meta) {
  const std::uint32_t version = tensor.storage()->version.load();
  if (meta.view_version == version) return;
  if (meta.base.requires_grad()) {
    const AutoGradMode recording(true);
    const Tensor again = meta.replay(meta.base);
    const AutogradMeta* fresh = autograd_meta(again);
    meta.grad_fn = fresh->grad_fn;
    meta.output_nr = fresh->output_nr;
  }
  meta.view_version = version;
}

}  // namespace

std::shared_ptr<Node> history(const Tensor& tensor) {
  AutogradMeta* const meta = autograd_meta(tensor);
  if (meta == nullptr) return nullptr;
  if (meta->base.defined()) {
    const std::lock_guard lock(meta->mutex);
    refresh_view_history(tensor, *meta);
  }
  return meta->grad_fn;
}

// %%
//| export core/node.cpp
Edge gradient_edge(const Tensor& tensor) {
  if (std::shared_ptr<Node> function = history(tensor)) return {std::move(function), autograd_meta(tensor)->output_nr};
  AutogradMeta* const meta = autograd_meta(tensor);
  if (meta == nullptr || !meta->requires_grad) return {};
  const std::lock_guard lock(meta->mutex);
  std::shared_ptr<Node> accumulator = meta->grad_accumulator.lock();
  if (!accumulator) {
    accumulator = make_node<AccumulateGrad>(tensor);
    for (const auto& hook : meta->hooks) accumulator->tensor_pre_hooks.emplace_back(0, hook);
    meta->grad_accumulator = accumulator;
  }
  return {std::move(accumulator), 0};
}

// %%
//| export core/node.cpp
void set_history(const Tensor& tensor, const std::shared_ptr<Node>& node) {
  if (!tensor.defined() || !tensor.is_floating_point()) return;
  AutogradMeta& meta = materialize_autograd_meta(tensor);
  meta.grad_fn = node;
  meta.output_nr = node->add_input_metadata(tensor);
  meta.view_version = tensor.storage()->version.load();
  tensor.impl().layers = tensor.impl().layers | Layer::Autograd;
}

// %%
//| export core/node.cpp
// A write into a view, seen from the base: the part of the gradient under the view goes through `write`, the rest passes on.
// Source: torch/csrc/autograd/functions/tensor.h, CopySlices.
class CopySlices : public Node {
 public:
  CopySlices(const Tensor& base, std::function<Tensor(const Tensor&)> view, std::shared_ptr<Node> write)
      : replay_(std::move(view)), write_(std::move(write)) {
    edge_list edges = write_->next_edges();
    edges[0] = gradient_edge(base);  // what the view held came from the base
    set_next_edges(std::move(edges));
  }
  std::string name() const override { return "CopySlices"; }
  variable_list apply(variable_list&& grads) override;
  void release_variables() override {
    if (write_) write_->release_variables();
  }

 private:
  std::function<Tensor(const Tensor&)> replay_;
  std::shared_ptr<Node> write_;
};

// %%
//| export core/node.cpp
variable_list CopySlices::apply(variable_list&& grads) {
  if (!grads[0].defined()) return variable_list(next_edges().size());
  const Tensor whole = grads[0].clone();
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

// %%
//| export core/node.cpp
void rebase_history(const Tensor& tensor, const std::shared_ptr<Node>& node) {
  AutogradMeta& meta = materialize_autograd_meta(tensor);
  if (!meta.base.defined()) {
    set_history(tensor, node);
    return;
  }
  node->add_input_metadata(tensor);
  set_history(meta.base, make_node<CopySlices>(meta.base, meta.replay, node));
  meta.view_version = tensor.storage()->version.load() - 1;  // out of date: taken anew when asked for
  tensor.impl().layers = tensor.impl().layers | Layer::Autograd;
}

// %%
//| export core/node.cpp
void check_inplace(const Tensor& tensor) {
  if (!GradMode::is_enabled() || !tensor.requires_grad()) return;
  TORCH_CHECK(!tensor.is_leaf(), "a leaf Variable that requires grad is being used in an in-place operation.\n"
              "Its old value would be lost to the graph: write into it under NoGradGuard, or compute a new tensor.");
  const AutogradMeta* const meta = autograd_meta(tensor);
  if (!meta->base.defined()) return;
  TORCH_CHECK(!meta->made_without_grad, "A view was created in no_grad mode and is being modified inplace with grad mode enabled. "
              "Given that this use case is ambiguous and error-prone, it is forbidden.");
  TORCH_CHECK(!meta->base.is_leaf(), "a view of a leaf Variable that requires grad is being used in an in-place operation.");
}

// %%
//| export core/saved_variable.h
// A tensor kept for the backward pass. It remembers the version of the storage, to notice writes in between; an output of the
// saving node itself is kept without its history, which would be a cycle. Source: torch/csrc/autograd/saved_variable.h.
class SavedVariable {
 public:
  SavedVariable() = default;
  SavedVariable(const Tensor& tensor, bool is_output);
  // The tensor again. `owner` is the node that saved it. Throws if it was freed or written to.
  Tensor unpack(const std::shared_ptr<Node>& owner) const;
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
SavedVariable::SavedVariable(const Tensor& tensor, bool is_output) : is_output_(is_output), was_defined_(tensor.defined()) {
  if (!was_defined_) return;
  saved_version_ = tensor.storage()->version.load();
  if (!is_output) grad_fn_ = history(tensor);
  // A handle on a tensor that is not a leaf would be a cycle once that tensor is written to and gets a new history.
  data_ = is_output || grad_fn_ ? tensor.detach() : tensor;
  output_nr_ = static_cast<std::uint32_t>(tensor.output_nr());
}

// %%
//| export core/saved_variable.cpp
Tensor SavedVariable::unpack(const std::shared_ptr<Node>& owner) const {
  TORCH_CHECK(!released_,
              "Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed). "
              "Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify "
              "retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors after "
              "calling backward.");
  if (!was_defined_) return {};
  const std::uint32_t version = data_.storage()->version.load();
  const std::shared_ptr<Node>& maker = is_output_ ? owner : grad_fn_;
  TORCH_CHECK(version == saved_version_, "one of the variables needed for gradient computation has been modified by an inplace operation: [CPU",
              data_.scalar_type(), "Type ", data_.sizes(), "]",
              maker ? ", which is output " + std::to_string(output_nr_) + " of " + maker->name() + "," : std::string(), " is at version ", version,
              "; expected version ", saved_version_, " instead.\n", owner->name(),
              " saved it in the forward pass: use the out-of-place form of the later operator, or clone() before it.");
  if (!GradMode::is_enabled() || (!is_output_ && !grad_fn_)) return data_;
  const Tensor attached = data_.detach();
  AutogradMeta& meta = materialize_autograd_meta(attached);
  meta.grad_fn = is_output_ ? owner : grad_fn_;
  meta.output_nr = output_nr_;
  attached.impl().layers = attached.impl().layers | Layer::Autograd;
  return attached;
}

// %%
//| export core/gradient.h
// The parameters of a gradient after the gradient that arrives say what it needs from the forward call:
template <std::size_t I>
struct Input : Tensor {};  // input I, saved
template <std::size_t I>
struct OutputAt : Tensor {};  // output I, saved
using Output = OutputAt<0>;
template <std::size_t I>
struct Sizes : DimVector {};  // the sizes of input I
template <std::size_t I>
struct InputList : std::vector<Tensor> {};  // the tensors of list I, saved
template <std::size_t I>
struct Geometries : std::vector<DimVector> {};  // the sizes of each tensor of list I
template <std::size_t I, class T>
struct Arg {  // argument I, which is no tensor
  T value{};
  operator const T&() const { return value; }
};

// Stands in place of a gradient for an input that has none (a mask, an index).
struct NoGradient {};
inline constexpr NoGradient no_gradient{};

// %%
//| export core/gradient.h
namespace detail {
// Owned forms of arguments, for keeping.
template <class T>
struct Owned {
  using type = T;
};
template <>
struct Owned<IntArrayRef> {
  using type = DimVector;
};
template <class T>
using owned_t = typename Owned<std::remove_cvref_t<T>>::type;

template <class T>
inline constexpr bool is_tensor_argument = std::is_same_v<std::remove_cvref_t<T>, Tensor> ||
                                           std::is_same_v<std::remove_cvref_t<T>, std::optional<Tensor>> ||
                                           std::is_same_v<std::remove_cvref_t<T>, TensorList>;

inline bool needs_grad(const Tensor& tensor) { return tensor.defined() && tensor.requires_grad(); }
inline bool needs_grad(const std::optional<Tensor>& tensor) { return tensor && needs_grad(*tensor); }
inline bool needs_grad(TensorList list) {
  for (const Tensor& tensor : list)
    if (needs_grad(tensor)) return true;
  return false;
}

inline void append_edges(edge_list& edges, const Tensor& tensor) { edges.push_back(tensor.defined() ? gradient_edge(tensor) : Edge()); }
inline void append_edges(edge_list& edges, const std::optional<Tensor>& tensor) { append_edges(edges, tensor.value_or(Tensor())); }
inline void append_edges(edge_list& edges, TensorList list) {
  for (const Tensor& tensor : list) append_edges(edges, tensor);
}

inline void append_gradients(variable_list& out, Tensor gradient) { out.push_back(std::move(gradient)); }
inline void append_gradients(variable_list& out, std::vector<Tensor> gradients) { out.insert(out.end(), gradients.begin(), gradients.end()); }

// "log_softmax" -> "LogSoftmaxBackward0"
std::string node_name(const char* operator_name);
}  // namespace detail

// %%
//| export core/gradient.h
namespace detail {
// How each kind of parameter is filled at the forward call and read back in the backward pass.
template <class P>
struct Keeper;

template <std::size_t I>
struct Keeper<Input<I>> {
  SavedVariable saved;
  template <class Arguments>
  void keep_input(const Arguments& arguments, bool in_place) {
    const std::optional<Tensor> value = std::get<I>(arguments);
    // A write in place is about to destroy input 0: what it held is kept as a copy.
    saved = SavedVariable(!value ? Tensor() : I == 0 && in_place ? value->clone() : *value, false);
  }
  void keep_output(const std::vector<Tensor>&) {}
  Input<I> get(const std::shared_ptr<Node>& owner) const { return {saved.unpack(owner)}; }
  void release() { saved.reset(); }
};

template <std::size_t I>
struct Keeper<OutputAt<I>> {
  SavedVariable saved;
  template <class Arguments>
  void keep_input(const Arguments&, bool) {}
  void keep_output(const std::vector<Tensor>& outputs) { saved = SavedVariable(outputs[I], true); }
  OutputAt<I> get(const std::shared_ptr<Node>& owner) const { return {saved.unpack(owner)}; }
  void release() { saved.reset(); }
};

template <std::size_t I>
struct Keeper<Sizes<I>> {
  Sizes<I> sizes;
  template <class Arguments>
  void keep_input(const Arguments& arguments, bool) {
    sizes = Sizes<I>{DimVector(std::get<I>(arguments).sizes())};
  }
  void keep_output(const std::vector<Tensor>&) {}
  const Sizes<I>& get(const std::shared_ptr<Node>&) const { return sizes; }
  void release() {}
};

template <std::size_t I>
struct Keeper<InputList<I>> {
  std::vector<SavedVariable> saved;
  template <class Arguments>
  void keep_input(const Arguments& arguments, bool) {
    for (const Tensor& tensor : std::get<I>(arguments)) saved.emplace_back(tensor, false);
  }
  void keep_output(const std::vector<Tensor>&) {}
  InputList<I> get(const std::shared_ptr<Node>& owner) const {
    InputList<I> tensors;
    for (const SavedVariable& variable : saved) tensors.push_back(variable.unpack(owner));
    return tensors;
  }
  void release() {
    for (SavedVariable& variable : saved) variable.reset();
  }
};

template <std::size_t I>
struct Keeper<Geometries<I>> {
  Geometries<I> sizes;
  template <class Arguments>
  void keep_input(const Arguments& arguments, bool) {
    for (const Tensor& tensor : std::get<I>(arguments)) sizes.push_back(tensor.sizes());
  }
  void keep_output(const std::vector<Tensor>&) {}
  const Geometries<I>& get(const std::shared_ptr<Node>&) const { return sizes; }
  void release() {}
};

template <std::size_t I, class T>
struct Keeper<Arg<I, T>> {
  Arg<I, T> argument;
  template <class Arguments>
  void keep_input(const Arguments& arguments, bool) {
    argument.value = T(std::get<I>(arguments));
  }
  void keep_output(const std::vector<Tensor>&) {}
  const Arg<I, T>& get(const std::shared_ptr<Node>&) const { return argument; }
  void release() {}
};

// A gradient function with everything that its parameters ask for.
template <class F, class Call = decltype(&F::operator())>
struct Keepers;
template <class F, class R, class... P>
struct Keepers<F, R (F::*)(const Tensor&, P...) const> {
  std::tuple<Keeper<std::remove_cvref_t<P>>...> keepers;
  template <class Arguments>
  void keep_inputs(const Arguments& arguments, bool in_place) {
    std::apply([&](auto&... keeper) { (keeper.keep_input(arguments, in_place), ...); }, keepers);
  }
  void keep_outputs(const std::vector<Tensor>& outputs) {
    std::apply([&](auto&... keeper) { (keeper.keep_output(outputs), ...); }, keepers);
  }
  R call(const Tensor& grad, const std::shared_ptr<Node>& owner) const {
    return std::apply([&](const auto&... keeper) { return F{}(grad, keeper.get(owner)...); }, keepers);
  }
  void release() {
    std::apply([](auto&... keeper) { (keeper.release(), ...); }, keepers);
  }
};
template <>
struct Keepers<NoGradient, void> {};
}  // namespace detail

// %%
//| export core/gradient.h
namespace detail {
template <class F>
struct KeepersOf {
  using type = Keepers<F>;
};
template <>
struct KeepersOf<NoGradient> {
  using type = Keepers<NoGradient, void>;
};

// One gradient function with what it saved, if its input needs a gradient.
template <class F>
struct Slot {
  std::size_t edges = 0;  // more than one for a list of tensors
  std::optional<typename KeepersOf<F>::type> kept;

  void apply(const Tensor& grad, const std::shared_ptr<Node>& owner, variable_list& result) const {
    if constexpr (!std::is_same_v<F, NoGradient>) {
      if (kept && grad.defined()) {
        append_gradients(result, kept->call(grad, owner));
        return;
      }
    }
    result.resize(result.size() + edges);
  }
  void keep_outputs(const std::vector<Tensor>& outputs) {
    if constexpr (!std::is_same_v<F, NoGradient>)
      if (kept) kept->keep_outputs(outputs);
  }
  void release() {
    if constexpr (!std::is_same_v<F, NoGradient>)
      if (kept) kept->release();
  }
};

// The node of an operator: one slot for each of its tensor arguments.
template <class... Fs>
class GradientNode : public Node {
 public:
  explicit GradientNode(const char* operator_name) : operator_name_(operator_name) {}
  std::string name() const override { return node_name(operator_name_); }

  variable_list apply(variable_list&& grads) override {
    variable_list result;
    result.reserve(next_edges().size());
    std::apply([&](const auto&... slot) { (slot.apply(grads[0], shared_from_this(), result), ...); }, slots);
    return result;
  }
  void release_variables() override {
    std::apply([](auto&... slot) { (slot.release(), ...); }, slots);
  }

  std::tuple<Slot<Fs>...> slots;

 private:
  const char* operator_name_;
};
}  // namespace detail

// %%
//| export core/gradient.h
namespace detail {
inline std::vector<Tensor> outputs_of(const Tensor& result) { return {result}; }
template <class... T>
std::vector<Tensor> outputs_of(const std::tuple<T...>& result) {
  return std::apply([](const auto&... output) { return std::vector<Tensor>{output...}; }, result);
}

// The Autograd layer of operator Op: records a node and calls the layers below.
template <auto& Op, class Signature, class... Fs>
struct Recorded;

template <auto& Op, class R, class... Args, class... Fs>
struct Recorded<Op, Operator<R(Args...)>, Fs...> {
  static constexpr bool in_place = std::is_same_v<R, const Tensor&>;
  using Arguments = std::tuple<const Args&...>;
  template <std::size_t N>
  static constexpr bool differentiable = !std::is_same_v<std::tuple_element_t<N, std::tuple<Fs...>>, NoGradient>;

  // Calls f.operator()<N>(argument) for the N-th gradient function and the N-th tensor argument.
  template <std::size_t N = 0, std::size_t I = 0, class F>
  static void for_each_input(const Arguments& arguments, F f) {
    if constexpr (N < sizeof...(Fs) && I < sizeof...(Args)) {
      constexpr bool is_input = is_tensor_argument<std::tuple_element_t<I, std::tuple<Args...>>>;
      if constexpr (is_input) f.template operator()<N>(std::get<I>(arguments));
      for_each_input<N + (is_input ? 1 : 0), I + 1>(arguments, f);
    }
  }

  static bool any_needs_grad(const Arguments& arguments) {
    bool any = false;
    for_each_input(arguments, [&]<std::size_t N>(const auto& argument) {
      if constexpr (differentiable<N>) any = any || needs_grad(argument);
    });
    return any;
  }

  // A node with its edges and what the gradient functions ask for of the inputs.
  static std::shared_ptr<GradientNode<Fs...>> record(const Arguments& arguments) {
    auto node = make_node<GradientNode<Fs...>>(Op.name());
    edge_list edges;
    for_each_input(arguments, [&]<std::size_t N>(const auto& argument) {
      auto& slot = std::get<N>(node->slots);
      const std::size_t before = edges.size();
      if constexpr (differentiable<N>) {
        append_edges(edges, argument);
        if (needs_grad(argument)) slot.kept.emplace().keep_inputs(arguments, in_place);
      } else {
        edges.emplace_back();
      }
      slot.edges = edges.size() - before;
    });
    node->set_next_edges(std::move(edges));
    return node;
  }

  static R below(Args... args) {
    const ExcludeLayersGuard guard(Layer::Autograd);
    return Op(std::forward<Args>(args)...);
  }

  static R call(Args... args) {
    const Arguments arguments(args...);
    if constexpr (in_place) check_inplace(std::get<0>(arguments));
    if (!GradMode::is_enabled() || !any_needs_grad(arguments)) return below(std::forward<Args>(args)...);
    const auto node = record(arguments);
    R result = below(args...);
    const std::vector<Tensor> outputs = outputs_of(result);
    std::apply([&](auto&... slot) { (slot.keep_outputs(outputs), ...); }, node->slots);
    if constexpr (in_place) {
      rebase_history(result, node);
    } else {
      for (const Tensor& output : outputs) set_history(output, node);
    }
    return result;
  }
};
}  // namespace detail

// %%
//| export core/gradient.h
// The Autograd layer made of one gradient function for each tensor argument. A gradient function takes the gradient of
// the result and what it names as further parameters. It need not sum over broadcast dimensions: the engine does.
template <auto& Op, class... Fs>
constexpr auto gradient_of(Fs...) {
  return &detail::Recorded<Op, std::remove_cvref_t<decltype(Op)>, Fs...>::call;
}

// Gives an operator of an earlier module its gradients, and its form in place, if named, the same.
template <auto& Op, class... Fs>
void gradient(Fs... functions) {
  Op.set(Layer::Autograd, gradient_of<Op>(functions...));
}
template <auto& Op, auto& InPlace, class... Fs>
  requires requires { InPlace.name(); }
void gradient(Fs... functions) {
  Op.set(Layer::Autograd, gradient_of<Op>(functions...));
  InPlace.set(Layer::Autograd, gradient_of<InPlace>(functions...));
}

// %%
//| export core/gradient.h
namespace detail {
void mark_view(const Tensor& view, const Tensor& of, std::function<Tensor(const Tensor&)> replay);

template <auto& Op, class Signature>
struct Tracked;
template <auto& Op, class... Args>
struct Tracked<Op, Operator<Tensor(const Tensor&, Args...)>> {
  static Tensor call(const Tensor& self, Args... args) {
    const LayerSet autograd_and_this = LayerSet(Layer::Autograd) | Layer::InplaceOrView;
    Tensor result = [&] {
      const ExcludeLayersGuard guard(autograd_and_this);
      return Op(self, args...);
    }();
    if (self.is_floating_point())
      mark_view(result, self, [kept = std::tuple<owned_t<Args>...>(args...)](const Tensor& other) {
        return std::apply([&](const auto&... arguments) { return Op(other, arguments...); }, kept);
      });
    return result;
  }
};

template <auto& Op, class Signature>
struct Counted;
template <auto& Op, class... Args>
struct Counted<Op, Operator<const Tensor&(const Tensor&, Args...)>> {
  static const Tensor& call(const Tensor& self, Args... args) {
    {
      const ExcludeLayersGuard guard(LayerSet(Layer::Autograd) | Layer::InplaceOrView);
      Op(self, std::forward<Args>(args)...);
    }
    self.storage()->version.fetch_add(1);
    return self;
  }
};
}  // namespace detail

// The InplaceOrView layer of a view: the result remembers whose view it is and how it was taken.
template <auto& Op>
constexpr auto tracked() {
  return &detail::Tracked<Op, std::remove_cvref_t<decltype(Op)>>::call;
}
// The InplaceOrView layer of an operator in place: counts the write.
template <auto& Op>
constexpr auto counted() {
  return &detail::Counted<Op, std::remove_cvref_t<decltype(Op)>>::call;
}
template <auto&... Ops>
void track_views() {
  (Ops.set(Layer::InplaceOrView, tracked<Ops>()), ...);
}
template <auto&... Ops>
void count_writes() {
  (Ops.set(Layer::InplaceOrView, counted<Ops>()), ...);
}

// %%
//| export core/gradient.cpp
std::string detail::node_name(const char* operator_name) {
  std::string name;
  bool capital = true;
  for (const char* c = operator_name; *c != '\0'; ++c) {
    if (*c == '_') {
      capital = true;
      continue;
    }
    name += capital && *c >= 'a' && *c <= 'z' ? static_cast<char>(*c - 'a' + 'A') : *c;
    capital = false;
  }
  return name + "Backward0";
}

void detail::mark_view(const Tensor& view, const Tensor& of, std::function<Tensor(const Tensor&)> replay) {
  AutogradMeta& meta = materialize_autograd_meta(view);
  const AutogradMeta* const parent = autograd_meta(of);
  if (parent != nullptr && parent->base.defined()) {
    meta.base = parent->base;
    meta.replay = [first = parent->replay, second = std::move(replay)](const Tensor& other) { return second(first(other)); };
  } else {
    meta.base = of;
    meta.replay = std::move(replay);
  }
  meta.made_without_grad = !GradMode::is_enabled() || (parent != nullptr && parent->made_without_grad);
  meta.view_version = view.storage()->version.load();
  // A later write into the base may give this view a history: it always asks for the Autograd layer.
  view.impl().layers = view.impl().layers | Layer::Autograd;
}

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

namespace autograd {
// backward() from several tensors at once. `grad_tensors` may be empty (ones, for single elements).
// With `inputs`, only those leaves accumulate.
void backward(const variable_list& tensors, const variable_list& grad_tensors = {}, std::optional<bool> retain_graph = std::nullopt,
              bool create_graph = false, const variable_list& inputs = {});
// The gradients of `outputs` with respect to `inputs`; touches no grad(). An input that was not used is an error unless allow_unused.
variable_list grad(const variable_list& outputs, const variable_list& inputs, const variable_list& grad_outputs = {},
                   std::optional<bool> retain_graph = std::nullopt, bool create_graph = false, bool allow_unused = false);
}  // namespace autograd

// %%
//| export core/engine.cpp
Tensor sum_to(const Tensor& grad, IntArrayRef sizes) {
  if (grad.sizes() == sizes) return grad;
  DimVector stretched;
  const std::size_t added = grad.sizes().size() - sizes.size();
  for (std::size_t i = 0; i < grad.sizes().size(); ++i)
    if (i < added || (sizes[i - added] == 1 && grad.sizes()[i] != 1)) stretched.push_back(static_cast<std::int64_t>(i));
  const Tensor total = stretched.empty() ? grad : grad.sum(stretched, true);
  return total.reshape(sizes);
}

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
Tensor fit_gradient(const Tensor& grad, const Edge& edge, const Node& from, std::size_t index) {
  const InputMetadata& expected = edge.function->input_metadata(edge.input_nr);
  TORCH_CHECK(expands_to(expected.sizes, grad.sizes()), "Function ", from.name(), " returned an invalid gradient at index ", index, " - got ",
              grad.sizes(), " but expected shape compatible with ", IntArrayRef(expected.sizes));
  return sum_to(grad, expected.sizes).to(expected.dtype);
}

void add_into(Tensor& slot, Tensor grad) { slot = slot.defined() ? slot + grad : std::move(grad); }
}  // namespace

// %%
//| export core/engine.cpp
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

// %%
//| export core/engine.cpp
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

// %%
//| export core/engine.cpp
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

// %%
//| export core/engine.cpp
namespace {
// Adds a gradient to what its node has received; the node is ready when every edge into it has delivered.
void GraphTask::deliver(const Edge& edge, Tensor grad) {
  Buffer& buffer = buffers_.at(edge.function.get());
  if (grad.defined()) add_into(buffer.grads[edge.input_nr], std::move(grad));
  if (--buffer.waiting_for == 0) ready_.push(&buffer);
}
}  // namespace

// %%
//| export core/engine.cpp
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

// %%
//| export core/engine.cpp
namespace {
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

// %%
//| export core/engine.cpp
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

// %%
//| export core/engine.cpp
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

// %%
//| export core/autograd.h
// Options for a tensor that requires gradients: `zeros({2}, requires_grad())`.
inline TensorOptions requires_grad(bool requires_grad = true) { return TensorOptions().requires_grad(requires_grad); }

// %%
//| export core/autograd.cpp
namespace {
const Tensor& self_of(const AutogradMethods& methods) { return static_cast<const Tensor&>(methods); }
}  // namespace

void AutogradMethods::backward() const { autograd::backward({self_of(*this)}); }
void AutogradMethods::backward(const Tensor& gradient, bool retain_graph, bool create_graph) const {
  autograd::backward({self_of(*this)}, {gradient}, retain_graph || create_graph, create_graph);
}

std::shared_ptr<Node> AutogradMethods::grad_fn() const { return history(self_of(*this)); }

bool AutogradMethods::requires_grad() const {
  const AutogradMeta* const meta = autograd_meta(self_of(*this));
  if (meta == nullptr) return false;
  return meta->requires_grad || (meta->base.defined() ? history(self_of(*this)) : meta->grad_fn) != nullptr;
}

bool AutogradMethods::is_leaf() const { return grad_fn() == nullptr; }

std::int64_t AutogradMethods::output_nr() const {
  const AutogradMeta* const meta = autograd_meta(self_of(*this));
  return meta == nullptr ? 0 : meta->output_nr;
}

std::int64_t AutogradMethods::_version() const { return self_of(*this).storage()->version.load(); }

// %%
//| export core/autograd.cpp
Tensor& AutogradMethods::requires_grad_(bool requires_grad) const {
  const Tensor& self = self_of(*this);
  TORCH_CHECK(!requires_grad || self.is_floating_point(), "only Tensors of floating point and complex dtype can require gradients");
  TORCH_CHECK(is_leaf() || requires_grad, "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
              "subgraph that doesn't require differentiation use var_no_grad = var.detach().");
  if (is_leaf() && requires_grad != this->requires_grad()) {
    materialize_autograd_meta(self).requires_grad = requires_grad;
    TensorImpl& impl = self.impl();
    impl.layers = requires_grad ? impl.layers | Layer::Autograd : impl.layers - Layer::Autograd;
  }
  return const_cast<Tensor&>(self);
}

// %%
//| export core/autograd.cpp
const Tensor& AutogradMethods::grad() const {
  static const Tensor none;
  const AutogradMeta* const meta = autograd_meta(self_of(*this));
  if (meta == nullptr) return none;
  return meta->retained_grad ? *meta->retained_grad : meta->grad;
}

Tensor& AutogradMethods::mutable_grad() const {
  AutogradMeta& meta = materialize_autograd_meta(self_of(*this));
  return meta.retained_grad ? *meta.retained_grad : meta.grad;
}

// %%
//| export core/autograd.cpp
// A second handle on the same bytes, without the graph. It shares the version counter, so a write through it is noticed.
Tensor AutogradMethods::detach() const {
  const TensorImpl& impl = self_of(*this).impl();
  return make_tensor(impl.storage, impl.dtype, impl.layers - Layer::Autograd, impl.sizes, impl.strides, impl.offset);
}

Tensor& AutogradMethods::detach_() const {
  const Tensor& self = self_of(*this);
  TORCH_CHECK(!is_view(), "Can't detach views in-place. Use detach() instead.");
  self.impl().metadata.reset();
  self.impl().layers = self.impl().layers - Layer::Autograd;
  return const_cast<Tensor&>(self);
}

bool AutogradMethods::is_view() const {
  const AutogradMeta* const meta = autograd_meta(self_of(*this));
  return meta != nullptr && meta->base.defined();
}

const Tensor& AutogradMethods::_base() const {
  TORCH_CHECK(is_view(), "Can't get base of non-view Variable");
  return autograd_meta(self_of(*this))->base;
}

// %%
//| export core/autograd.cpp
std::size_t AutogradMethods::add_hook(std::function<Tensor(const Tensor&)> hook) const {
  const Tensor& self = self_of(*this);
  TORCH_CHECK(requires_grad(), "cannot register a hook on a variable that doesn't require gradient");
  AutogradMeta& meta = materialize_autograd_meta(self);
  auto shared = std::make_shared<TensorHook>(std::move(hook));
  const Edge edge = gradient_edge(self);
  edge.function->tensor_pre_hooks.emplace_back(edge.input_nr, shared);
  meta.hooks.push_back(std::move(shared));
  return meta.hooks.size() - 1;
}

void AutogradMethods::remove_hook(std::size_t position) const {
  AutogradMeta* const meta = autograd_meta(self_of(*this));
  TORCH_CHECK(meta != nullptr && position < meta->hooks.size() && meta->hooks[position], "Invalid index, no hook at position ", position);
  // The node may hold the hook too: it is replaced by one that does nothing, so that positions stay.
  *meta->hooks[position] = [](const Tensor&) { return Tensor(); };
}

void AutogradMethods::retain_grad() const {
  const Tensor& self = self_of(*this);
  TORCH_CHECK(requires_grad(), "can't retain_grad on Tensor that has requires_grad=False");
  AutogradMeta& meta = materialize_autograd_meta(self);
  if (is_leaf() || meta.retained_grad) return;
  meta.retained_grad = std::make_shared<Tensor>();
  register_hook([slot = meta.retained_grad](const Tensor& grad) { *slot = slot->defined() ? *slot + grad : grad.clone(); });
}

// %%
//| export core/autograd.cpp
TensorOptions AutogradOptions::requires_grad(bool requires_grad) const {
  const auto& self = static_cast<const TensorOptions&>(*this);
  return self.layers(requires_grad ? self.layers() | Layer::Autograd : self.layers() - Layer::Autograd);
}
bool AutogradOptions::requires_grad() const { return static_cast<const TensorOptions&>(*this).layers().has(Layer::Autograd); }

// %%
//| export core/autograd.h
// The gradient of a reduction over `dims` (none: all) of a tensor of `sizes`, stretched back to those sizes. A view.
Tensor unreduce(const Tensor& grad, IntArrayRef sizes, IntArrayRef dims, bool keepdim);

// %%
//| export core/gradients_basic.cpp
namespace {
// The gradient of a view's part, in a tensor of the whole's sizes: zero elsewhere.
template <class F>
Tensor into_zeros(const Tensor& grad, IntArrayRef sizes, F view_of) {
  const Tensor whole = zeros(sizes, grad.options());
  view_of(whole).copy_(grad);
  return whole;
}

Tensor as_strided_backward(const Tensor& grad, const Tensor& self, IntArrayRef size, IntArrayRef stride, std::int64_t offset) {
  // Which element of the storage each element of the view is; several may be the same one.
  const auto count = static_cast<std::int64_t>(self.storage()->nbytes() / self.element_size());
  const Tensor positions = arange(count).as_strided(size, stride, offset).reshape({-1});
  const Tensor stored = scatter_add(zeros({count}, grad.options()), 0, positions, grad.reshape({-1}));
  return index_select(stored, 0, arange(count).as_strided(self.sizes(), self.strides(), self.storage_offset()).reshape({-1})).view(self.sizes());
}

}  // namespace

// `grad` of a reduction, stretched back over the reduced dimensions.
Tensor unreduce(const Tensor& grad, IntArrayRef sizes, IntArrayRef dims, bool keepdim) {
  DimVector shape(sizes);
  for (const std::int64_t dim : dims)
    if (!shape.empty()) shape[static_cast<std::size_t>(wrap_dim(dim, static_cast<std::int64_t>(sizes.size())))] = 1;
  if (dims.empty()) shape = DimVector(sizes.size(), 1);
  return (keepdim ? grad : grad.reshape(shape)).expand(sizes);
}

// %%
//| export core/gradients_basic.cpp
//| registers
void register_view_gradients() {
  gradient<op::as_strided>([](const Tensor& g, Input<0> self, Arg<1, DimVector> size, Arg<2, DimVector> stride, Arg<3, std::optional<std::int64_t>> offset) {
    return as_strided_backward(g, self, size.value, stride.value, offset.value.value_or(self.storage_offset()));
  });
  gradient<op::view>([](const Tensor& g, Sizes<0> sizes) { return g.reshape(sizes); });
  gradient<op::expand>([](const Tensor& g) { return g; });
  gradient<op::permute>([](const Tensor& g, Arg<1, DimVector> dims) {
    DimVector inverse(dims.value.size());
    for (std::size_t i = 0; i < inverse.size(); ++i) inverse[static_cast<std::size_t>(wrap_dim(dims.value[i], g.dim()))] = static_cast<std::int64_t>(i);
    return g.permute(inverse);
  });
  gradient<op::select>([](const Tensor& g, Sizes<0> sizes, Arg<1, std::int64_t> dim, Arg<2, std::int64_t> index) {
    return into_zeros(g, sizes, [&](const Tensor& whole) { return whole.select(dim, index); });
  });
  gradient<op::slice>([](const Tensor& g, Sizes<0> sizes, Arg<1, std::int64_t> dim, Arg<2, std::int64_t> start, Arg<3, std::int64_t> end,
                         Arg<4, std::int64_t> step) {
    return into_zeros(g, sizes, [&](const Tensor& whole) { return whole.slice(dim, start.value, end.value, step); });
  });
  track_views<op::as_strided, op::view, op::expand, op::permute, op::select, op::slice>();
}

// %%
//| export core/gradients_basic.cpp
//| registers
void register_basic_gradients() {
  gradient<op::add, op::add_>([](const Tensor& g) { return g; }, [](const Tensor& g, Arg<2, Scalar> alpha) { return g * alpha.value; });
  gradient<op::sub, op::sub_>([](const Tensor& g) { return g; }, [](const Tensor& g, Arg<2, Scalar> alpha) { return g * -alpha.value; });
  gradient<op::mul, op::mul_>([](const Tensor& g, Input<1> other) { return g * other; }, [](const Tensor& g, Input<0> self) { return g * self; });
  gradient<op::div, op::div_>([](const Tensor& g, Input<1> other) { return g / other; },
                              [](const Tensor& g, Input<0> self, Input<1> other) { return -g * (self / other / other); });
  gradient<op::pow>([](const Tensor& g, Input<0> self, Arg<1, Scalar> exponent) {
    const double e = exponent.value.toDouble();
    return e == 0 ? zeros_like(self) : g * (self.pow(e - 1) * e);
  });
  gradient<op::neg>([](const Tensor& g) { return -g; });
  gradient<op::abs>([](const Tensor& g, Input<0> self) { return g * self.sign(); });
  gradient<op::sign>([](const Tensor& g) { return zeros_like(g); });
  gradient<op::exp>([](const Tensor& g, Output result) { return g * result; });
  gradient<op::log>([](const Tensor& g, Input<0> self) { return g / self; });
  gradient<op::sqrt>([](const Tensor& g, Output result) { return g / (result * 2); });
  gradient<op::where>(no_gradient, [](const Tensor& g, Input<0> condition) { return where(condition, g, zeros({}, g.options())); },
                      [](const Tensor& g, Input<0> condition) { return where(condition, zeros({}, g.options()), g); });
}

// %%
//| export core/gradients_basic.cpp
//| registers
void register_copy_gradients() {
  gradient<op::clone>([](const Tensor& g) { return g; });
  gradient<op::to_dtype>([](const Tensor& g) { return g; });
  gradient<op::copy_>([](const Tensor& g) { return zeros_like(g); }, [](const Tensor& g) { return g; });
  gradient<op::fill_>([](const Tensor& g) { return zeros_like(g); });
  count_writes<op::copy_, op::fill_, op::add_, op::sub_, op::mul_, op::div_>();
  op::created.set(Layer::Autograd, [](const Tensor& fresh, const TensorOptions&) {
    fresh.requires_grad_(true);
    return fresh;
  });
  birth_layers = birth_layers | Layer::InplaceOrView;
}

// %%
//| export core/gradients_basic.cpp
//| registers
void register_reduction_gradients() {
  gradient<op::sum>([](const Tensor& g, Sizes<0> sizes, Arg<1, DimVector> dim, Arg<2, bool> keepdim) { return unreduce(g, sizes, dim.value, keepdim); });
  gradient<op::amax>([](const Tensor& g, Input<0> self, Output result, Arg<1, DimVector> dim, Arg<2, bool> keepdim) {
    // Elements that tie for the largest share the gradient equally.
    const Tensor hits = (self == unreduce(result, self.sizes(), dim.value, keepdim)).to(g.scalar_type());
    return unreduce(g, self.sizes(), dim.value, keepdim) * hits / hits.sum(dim.value, true);
  });
  gradient<op::mm>([](const Tensor& g, Input<1> mat2) { return g.mm(mat2.t()); }, [](const Tensor& g, Input<0> self) { return self.t().mm(g); });
  gradient<op::bmm>([](const Tensor& g, Input<1> mat2) { return g.bmm(mat2.transpose(1, 2)); },
                    [](const Tensor& g, Input<0> self) { return self.transpose(1, 2).bmm(g); });
}

// %%
//| export core/gradients_more.cpp
namespace {
// A value of a reduction that was chosen by its index: the gradient goes back to that place.
Tensor to_chosen(const Tensor& g, const Tensor& indices, IntArrayRef sizes, std::int64_t dim, bool keepdim) {
  if (sizes.empty()) return g;
  return scatter_add(zeros(sizes, g.options()), dim, keepdim ? indices : indices.unsqueeze(dim), keepdim ? g : g.unsqueeze(dim));
}

// The product of the others, for each element: with one zero only that element has any, with two none has.
Tensor prod_backward(const Tensor& g, const Tensor& self, IntArrayRef dims, bool keepdim) {
  const Tensor is_zero = self.eq(0);
  const Tensor rest = where(is_zero, ones({}, self.options()), self);
  const Tensor zero_count = is_zero.sum(dims, true);
  const Tensor none = zeros({}, self.options());
  const Tensor others = op::prod(rest, dims, true) / rest;
  return unreduce(g, self.sizes(), dims, keepdim) * where(is_zero, where(zero_count.eq(1), others, none), where(zero_count.eq(0), others, none));
}

Tensor var_backward(const Tensor& g, const Tensor& self, IntArrayRef dims, double correction, bool keepdim) {
  const Tensor difference = self - self.mean(dims, true);
  const double count = static_cast<double>(self.numel()) / static_cast<double>(std::max<std::int64_t>(1, difference.mean(dims, true).numel()));
  return unreduce(g, self.sizes(), dims, keepdim) * difference * (2 / (count - correction));
}

Tensor norm_backward(const Tensor& g, const Tensor& self, const Tensor& result, double p, IntArrayRef dims, bool keepdim) {
  const Tensor grad = unreduce(g, self.sizes(), dims, keepdim);
  if (p == 0) return zeros_like(self);
  if (p == 1) return grad * self.sign();
  const Tensor norm_of = unreduce(result, self.sizes(), dims, keepdim);
  if (std::isinf(p)) {
    const Tensor hits = self.abs().eq(norm_of).to(g.scalar_type());
    return grad * self.sign() * hits / hits.sum(dims, true);
  }
  const Tensor direction = p == 2 ? self / norm_of : self * pow(self.abs(), p - 2) / pow(norm_of, p - 1);
  return grad * where(norm_of.eq(0), zeros({}, self.options()), direction);
}
}  // namespace

// %%
//| export core/gradients_more.cpp
//| registers
void register_elementary_gradients() {
  gradient<op::log1p>([](const Tensor& g, Input<0> self) { return g / (self + 1); });
  gradient<op::expm1>([](const Tensor& g, Output result) { return g * (result + 1); });
  gradient<op::log2>([](const Tensor& g, Input<0> self) { return g / (self * 0.69314718055994530942); });
  gradient<op::log10>([](const Tensor& g, Input<0> self) { return g / (self * 2.30258509299404568402); });
  gradient<op::sin>([](const Tensor& g, Input<0> self) { return g * cos(self); });
  gradient<op::cos>([](const Tensor& g, Input<0> self) { return g * -sin(self); });
  gradient<op::tan>([](const Tensor& g, Output result) { return g * (result * result + 1); });
  gradient<op::atan>([](const Tensor& g, Input<0> self) { return g / (self * self + 1); });
  gradient<op::erf>([](const Tensor& g, Input<0> self) { return g * (exp(-self * self) * 1.12837916709551257390); });
  gradient<op::reciprocal>([](const Tensor& g, Output result) { return -g * (result * result); });
  gradient<op::rsqrt>([](const Tensor& g, Output result) { return g * (result * result * result * -0.5); });
  gradient<op::floor>([](const Tensor& g) { return zeros_like(g); });
  gradient<op::ceil>([](const Tensor& g) { return zeros_like(g); });
  gradient<op::round>([](const Tensor& g) { return zeros_like(g); });
  gradient<op::trunc>([](const Tensor& g) { return zeros_like(g); });
  gradient<op::clamp>([](const Tensor& g, Input<0> self, Arg<1, std::optional<Scalar>> min, Arg<2, std::optional<Scalar>> max) {
    Tensor kept = g;
    if (min.value) kept = where(self >= *min.value, kept, zeros({}, g.options()));
    if (max.value) kept = where(self <= *max.value, kept, zeros({}, g.options()));
    return kept;
  });
}

// %%
//| export core/gradients_more.cpp
namespace {
// The part of a gradient that goes to the winner of maximum or minimum; each gets half where both are equal.
Tensor to_winner(const Tensor& g, const Tensor& wins, const Tensor& ties) {
  return where(ties, g * 0.5, where(wins, g, zeros({}, g.options())));
}
}  // namespace

// %%
//| export core/gradients_more.cpp
//| registers
void register_two_operand_gradients() {
  gradient<op::maximum>([](const Tensor& g, Input<0> self, Input<1> other) { return to_winner(g, self > other, self == other); },
                        [](const Tensor& g, Input<0> self, Input<1> other) { return to_winner(g, other > self, self == other); });
  gradient<op::minimum>([](const Tensor& g, Input<0> self, Input<1> other) { return to_winner(g, self < other, self == other); },
                        [](const Tensor& g, Input<0> self, Input<1> other) { return to_winner(g, other < self, self == other); });
  gradient<op::pow_tensor>(
      [](const Tensor& g, Input<0> self, Input<1> exponent) {
        return g * where(exponent.eq(0), zeros({}, g.options()), exponent * pow(self, exponent - 1));
      },
      [](const Tensor& g, Input<0> self, Output result) {
        const Tensor safe = where(self.eq(0), ones({}, self.options()), self);
        return g * (result * log(safe));
      });
  gradient<op::remainder>([](const Tensor& g) { return g; },
                          [](const Tensor& g, Input<0> self, Input<1> other) { return -g * floor_divide(self, other); });
  gradient<op::lerp_>([](const Tensor& g, Arg<2, Scalar> weight) { return g * (1 - weight.value.toDouble()); },
                      [](const Tensor& g, Arg<2, Scalar> weight) { return g * weight.value; });
  gradient<op::addcmul_>([](const Tensor& g) { return g; },
                         [](const Tensor& g, Input<2> tensor2, Arg<3, Scalar> value) { return g * (tensor2 * value.value); },
                         [](const Tensor& g, Input<1> tensor1, Arg<3, Scalar> value) { return g * (tensor1 * value.value); });
  gradient<op::addcdiv_>([](const Tensor& g) { return g; },
                         [](const Tensor& g, Input<2> tensor2, Arg<3, Scalar> value) { return g * value.value / tensor2; },
                         [](const Tensor& g, Input<1> tensor1, Input<2> tensor2, Arg<3, Scalar> value) {
                           return -g * (tensor1 * value.value / (tensor2 * tensor2));
                         });
  gradient<op::addmm>(
      [](const Tensor& g, Arg<3, Scalar> beta) { return g * beta.value; },
      [](const Tensor& g, Input<2> mat2, Arg<4, Scalar> alpha) { return g.mm(mat2.t()) * alpha.value; },
      [](const Tensor& g, Input<1> mat1, Arg<4, Scalar> alpha) { return mat1.t().mm(g) * alpha.value; });
}

// %%
//| export core/gradients_more.cpp
//| registers
void register_more_reduction_gradients() {
  gradient<op::prod>([](const Tensor& g, Input<0> self, Arg<1, DimVector> dims, Arg<2, bool> keepdim) { return prod_backward(g, self, dims.value, keepdim); });
  gradient<op::amin>([](const Tensor& g, Input<0> self, Output result, Arg<1, DimVector> dims, Arg<2, bool> keepdim) {
    const Tensor hits = (self == unreduce(result, self.sizes(), dims.value, keepdim)).to(g.scalar_type());
    return unreduce(g, self.sizes(), dims.value, keepdim) * hits / hits.sum(dims.value, true);
  });
  gradient<op::min>([](const Tensor& g, OutputAt<1> indices, Sizes<0> sizes, Arg<1, std::int64_t> dim, Arg<2, bool> keepdim) {
    return to_chosen(g, indices, sizes, dim, keepdim);
  });
  gradient<op::max>([](const Tensor& g, OutputAt<1> indices, Sizes<0> sizes, Arg<1, std::int64_t> dim, Arg<2, bool> keepdim) {
    return to_chosen(g, indices, sizes, dim, keepdim);
  });
  gradient<op::sort>([](const Tensor& g, OutputAt<1> indices, Sizes<0> sizes, Arg<1, std::int64_t> dim) {
    return to_chosen(g, indices, sizes, dim, true);
  });
  gradient<op::topk>([](const Tensor& g, OutputAt<1> indices, Sizes<0> sizes, Arg<2, std::int64_t> dim) {
    return to_chosen(g, indices, sizes, dim, true);
  });
  gradient<op::var>([](const Tensor& g, Input<0> self, Arg<1, DimVector> dims, Arg<2, double> correction, Arg<3, bool> keepdim) {
    return var_backward(g, self, dims.value, correction, keepdim);
  });
  gradient<op::std>([](const Tensor& g, Input<0> self, Output result, Arg<1, DimVector> dims, Arg<2, double> correction, Arg<3, bool> keepdim) {
    const Tensor half = where(result.eq(0), zeros({}, g.options()), g / (result * 2));
    return var_backward(half, self, dims.value, correction, keepdim);
  });
  gradient<op::norm>([](const Tensor& g, Input<0> self, Output result, Arg<1, double> p, Arg<2, DimVector> dims, Arg<3, bool> keepdim) {
    return norm_backward(g, self, result, p, dims.value, keepdim);
  });
  gradient<op::cumsum>([](const Tensor& g, Arg<1, std::int64_t> dim) {
    return g.dim() == 0 ? g : flip(cumsum(flip(g, dim.value), dim), dim.value);
  });
  gradient<op::tril>([](const Tensor& g, Arg<1, std::int64_t> diagonal) { return tril(g, diagonal); });
  gradient<op::triu>([](const Tensor& g, Arg<1, std::int64_t> diagonal) { return triu(g, diagonal); });
}

// %%
//| export core/gradients_more.cpp
//| registers
void register_indexing_gradients() {
  gradient<op::cat>([](const Tensor& g, Geometries<0> sizes, Arg<1, std::int64_t> dim) {
    std::vector<Tensor> pieces;
    std::int64_t start = 0;
    for (const DimVector& piece : sizes) {
      const bool skipped = piece.size() == 1 && piece[0] == 0 && g.dim() != 1;  // an empty vector joins anything
      const std::int64_t length = skipped ? 0 : piece[static_cast<std::size_t>(wrap_dim(dim, g.dim()))];
      pieces.push_back(skipped ? zeros({0}, g.options()) : g.narrow(dim, start, length));
      start += length;
    }
    return pieces;
  });
  gradient<op::index_select>([](const Tensor& g, Sizes<0> sizes, Arg<1, std::int64_t> dim, Input<2> index) {
    return index_add(zeros(sizes, g.options()), dim, index, g);
  }, no_gradient);
  gradient<op::gather>([](const Tensor& g, Sizes<0> sizes, Arg<1, std::int64_t> dim, Input<2> index) {
    return scatter_add(zeros(sizes, g.options()), dim, index, g);
  }, no_gradient);
  gradient<op::index_add_>([](const Tensor& g) { return g; }, no_gradient,
                           [](const Tensor& g, Arg<1, std::int64_t> dim, Input<2> index) { return index_select(g, dim, index); });
  gradient<op::scatter_add_>([](const Tensor& g) { return g; }, no_gradient,
                             [](const Tensor& g, Arg<1, std::int64_t> dim, Input<2> index) { return gather(g, dim, index); });
  gradient<op::scatter_>([](const Tensor& g, Arg<1, std::int64_t> dim, Input<2> index) { return scatter(g, dim, index, zeros(index.sizes(), g.options())); },
                         no_gradient, [](const Tensor& g, Arg<1, std::int64_t> dim, Input<2> index) { return gather(g, dim, index); });
  gradient<op::index>([](const Tensor& g, Sizes<0> sizes, InputList<1> indices) {
    const Tensor whole = zeros(sizes, g.options());
    op::index_put_(whole, indices, g, true);
    return whole;
  }, no_gradient);
  gradient<op::index_put_>([](const Tensor& g, InputList<1> indices, Sizes<2> sizes, Arg<3, bool> accumulate) {
    if (accumulate) return g;
    const Tensor kept = g.clone();
    op::index_put_(kept, indices, zeros(sizes, g.options()), false);
    return kept;
  }, no_gradient, [](const Tensor& g, InputList<1> indices) { return op::index(g, indices); });
}

// %%
//| export core/gradients_more.cpp
//| registers
void register_random_gradients() {
  const auto none = [](const Tensor& g) { return zeros_like(g); };
  gradient<op::uniform_>(none);
  gradient<op::normal_>(none);
  gradient<op::random_>(none);
  gradient<op::bernoulli_>(none);
  gradient<op::bernoulli_tensor_>(none, no_gradient);
  gradient<op::exponential_>(none);
  count_writes<op::uniform_, op::normal_, op::random_, op::bernoulli_, op::bernoulli_tensor_, op::exponential_>();
  count_writes<op::lerp_, op::addcmul_, op::addcdiv_, op::index_add_, op::scatter_, op::scatter_add_, op::index_put_>();
}

// %%
//| export nn/gradients.cpp
namespace {
constexpr double kSqrtHalf = 0.70710678118654752440;       // 1 / sqrt(2)
constexpr double kNormalDensity = 0.39894228040143267794;  // 1 / sqrt(2 pi)
constexpr double kGeluScale = 0.79788456080286535588;      // sqrt(2 / pi)

Tensor gelu_backward(const Tensor& g, const Tensor& x, bool tanh_approximation) {
  if (!tanh_approximation) {
    const Tensor below = (erf(x * kSqrtHalf) + 1) * 0.5;
    const Tensor density = exp(x * x * -0.5) * kNormalDensity;
    return g * (below + x * density);
  }
  const Tensor square = x * x;
  const Tensor t = tanh((x + x * square * 0.044715) * kGeluScale);
  return g * ((t + 1) * 0.5 + x * (1 - t * t) * ((square * (3 * 0.044715) + 1) * (0.5 * kGeluScale)));
}

// exp(x) where x <= 0, and 1 elsewhere: the other branch must not overflow, or its gradient would be 0 * inf.
Tensor exp_below_zero(const Tensor& x) { return exp(where(x > 0, zeros_like(x), x)); }
}  // namespace

// %%
//| export nn/gradients.cpp
//| registers
void register_activation_gradients() {
  gradient<op::relu, op::relu_>([](const Tensor& g, Output result) { return g * (result > 0); });
  gradient<op::leaky_relu>([](const Tensor& g, Input<0> self, Arg<1, Scalar> slope) { return where(self > 0, g, g * slope.value); });
  gradient<op::elu>([](const Tensor& g, Input<0> self, Arg<1, Scalar> alpha) { return where(self > 0, g, g * (exp_below_zero(self) * alpha.value)); });
  gradient<op::gelu>([](const Tensor& g, Input<0> self, Arg<1, bool> tanh_approximation) { return gelu_backward(g, self, tanh_approximation); });
  gradient<op::sigmoid>([](const Tensor& g, Output result) { return g * (result * (1 - result)); });
  gradient<op::tanh>([](const Tensor& g, Output result) { return g * (1 - result * result); });
  gradient<op::silu>([](const Tensor& g, Input<0> self) {
    const Tensor s = sigmoid(self);
    return g * (s * (self * (1 - s) + 1));
  });
  gradient<op::softplus>([](const Tensor& g, Input<0> self, Arg<1, Scalar> beta, Arg<2, Scalar> threshold) {
    const Tensor scaled = self * beta.value;
    return where(scaled > threshold.value, g, g * sigmoid(scaled));
  });
  gradient<op::softmax>([](const Tensor& g, Output result, Arg<1, std::int64_t> dim) {
    const Tensor weighted = g * result;
    return weighted - result * weighted.sum(dim.value, true);
  });
  gradient<op::log_softmax>([](const Tensor& g, Output result, Arg<1, std::int64_t> dim) { return g - exp(result) * g.sum(dim.value, true); });
  count_writes<op::relu_>();
}

// %%
//| export nn/gradients.cpp
namespace {
// What each sample's loss counts: the weight of its class, 0 where it is ignored.
Tensor sample_weights(const Tensor& self, const Tensor& target, const Tensor& weight, std::int64_t ignore_index) {
  const Tensor ignored = target.eq(ignore_index);
  const Tensor classes = where(ignored, zeros({}, kLong), target);
  const Tensor weights = weight.defined() ? index_select(weight, 0, classes) : ones({target.size(0)}, self.options());
  return where(ignored, zeros({}, self.options()), weights);
}

// What reaches each sample of the gradient of the reduced loss: (N).
Tensor per_sample(const Tensor& g, const Tensor& weights, std::int64_t reduction) {
  return reduction == Reduction::Mean ? g * weights / weights.sum() : g * weights;
}

// -coefficient at each sample's class, 0 elsewhere: (N, C).
Tensor at_targets(const Tensor& coefficient, const Tensor& self, const Tensor& target, std::int64_t ignore_index) {
  const Tensor classes = where(target.eq(ignore_index), zeros({}, kLong), target).unsqueeze(1);
  return scatter_add(zeros(self.sizes(), self.options()), 1, classes, -coefficient.unsqueeze(1));
}

Tensor nll_loss_backward(const Tensor& g, const Tensor& self, const Tensor& target, const Tensor& weight, std::int64_t reduction, std::int64_t ignore_index) {
  return at_targets(per_sample(g, sample_weights(self, target, weight, ignore_index), reduction), self, target, ignore_index);
}

// softmax(self) - one_hot(target), for each sample as much as its loss counts.
Tensor cross_entropy_backward(const Tensor& g, const Tensor& self, const Tensor& target, const Tensor& weight, std::int64_t reduction,
                              std::int64_t ignore_index) {
  const Tensor coefficient = per_sample(g, sample_weights(self, target, weight, ignore_index), reduction);
  return softmax(self, 1) * coefficient.unsqueeze(1) + at_targets(coefficient, self, target, ignore_index);
}

// The gradient of an elementwise loss before its reduction.
Tensor unreduced(const Tensor& g, const Tensor& self, const Tensor& weight, std::int64_t reduction) {
  const Tensor each = reduction == Reduction::Mean ? g / self.numel() : g;
  return weight.defined() ? each * weight : each;
}
}  // namespace

// %%
//| export nn/gradients.cpp
//| registers
void register_loss_gradients() {
  gradient<op::nll_loss>([](const Tensor& g, Input<0> self, Input<1> target, Input<2> weight, Arg<3, std::int64_t> reduction,
                            Arg<4, std::int64_t> ignore_index) { return nll_loss_backward(g, self, target, weight, reduction, ignore_index); });
  gradient<op::cross_entropy>([](const Tensor& g, Input<0> self, Input<1> target, Input<2> weight, Arg<3, std::int64_t> reduction,
                                 Arg<4, std::int64_t> ignore_index) { return cross_entropy_backward(g, self, target, weight, reduction, ignore_index); });
  gradient<op::binary_cross_entropy>(
      [](const Tensor& g, Input<0> self, Input<1> target, Input<2> weight, Arg<3, std::int64_t> reduction) {
        const Tensor spread = clamp_min(self * (1 - self), 1e-12);
        return unreduced(g, self, weight, reduction) * ((self - target) / spread);
      },
      [](const Tensor& g, Input<0> self, Input<2> weight, Arg<3, std::int64_t> reduction) {
        return unreduced(g, self, weight, reduction) * (clamp_min(log(1 - self), -100) - clamp_min(log(self), -100));
      });
  gradient<op::binary_cross_entropy_with_logits>(
      [](const Tensor& g, Input<0> self, Input<1> target, Input<2> weight, Input<3> pos_weight, Arg<4, std::int64_t> reduction) {
        const Tensor positive = pos_weight.defined() ? pos_weight * target : Tensor(target);
        return unreduced(g, self, weight, reduction) * (sigmoid(self) * (positive + (1 - target)) - positive);
      },
      [](const Tensor& g, Input<0> self, Input<2> weight, Input<3> pos_weight, Arg<4, std::int64_t> reduction) {
        const Tensor slope = pos_weight.defined() ? (pos_weight - 1) * softplus(-self) - self : -self;
        return unreduced(g, self, weight, reduction) * slope;
      });
}

// %%
//| export nn/gradients.cpp
//| registers
void register_parameters() {
  op::parameter.set(Layer::InplaceOrView, [](const Tensor& tensor, bool requires_grad) {
    if (tensor.defined()) tensor.requires_grad_(requires_grad);
    return tensor;
  });
}

void nn::ModuleGradients::zero_grad(bool set_to_none) {
  for (const Tensor& parameter : static_cast<nn::Module&>(*this).parameters()) {
    Tensor& grad = parameter.mutable_grad();
    if (!grad.defined()) continue;
    if (set_to_none) {
      grad = Tensor();
    } else {
      grad = grad.detach();
      grad.zero_();
    }
  }
}

// %% [markdown]
// ## Part 2: Systems analysis

// %% [markdown]
// ## Part 3: Production context

// %% [markdown]
// ## Integration test

// %% [markdown]
// ## ML systems thinking

// %% [markdown]
// ## Module summary

// %%
}  // namespace tinytorch
