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
// # Library chapter 99: Around autograd
//
// Module 05 builds the graph and the engine. This chapter adds what users of autograd ask for beside it: hooks on tensors, inference mode, custom functions, and anomaly mode, which finds the line of the forward pass that a
// failing backward pass belongs to. None of it changes the engine.
//
//     hooks            look at a gradient on its way, or replace it
//     InferenceMode    tensors that no graph will ever need: no counting, no remembering
//     Function<T>      forward and backward written by hand, as one node
//     AnomalyMode      from a NaN in the backward pass to the line of the forward pass

// %%
//| after 05
//| export core/history_methods.h
//| extends Tensor
#include <cstdint>
#include <functional>
#include <type_traits>

namespace tinytorch {
class Tensor;

// What this chapter adds to Tensor. Source: aten/src/ATen/core/TensorBase.h.
class HistoryMethods {
 public:
  // `hook` is called with the gradient of this tensor, when it is complete, and may return another, or nothing. Hooks run in the order
  // in which they were registered. Returns the position for remove_hook. A write in place leaves earlier hooks with the value before it.
  template <class F>
  unsigned register_hook(F hook) const {
    if constexpr (std::is_void_v<std::invoke_result_t<F, const Tensor&>>) {
      return add_hook([hook](const auto& grad) {
        hook(grad);
        return std::decay_t<decltype(grad)>();
      });
    } else {
      return add_hook(hook);
    }
  }
  void remove_hook(unsigned position) const;
  void retain_grad() const;  // keep grad() for a tensor that is not a leaf
  bool retains_grad() const;

  const Tensor& set_requires_grad(bool requires_grad) const;  // of a leaf; says nothing for others
  Tensor& detach_() const;                                    // takes this tensor out of the graph
  bool is_view() const;
  const Tensor& _base() const;
  std::int64_t _version() const;  // writes in place to the storage so far
  bool is_inference() const;      // made in inference mode

 private:
  unsigned add_hook(std::function<Tensor(const Tensor&)> hook) const;
};
}  // namespace tinytorch

// %%
//| export core/inference_mode.h
#include "tinytorch/core/grad_mode.h"
//| export core/tensor_history.cpp
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/node_watchers-inl.h"
#include "tinytorch/core/pointwise_ops.h"
//| export core/autograd.cpp
#include "tinytorch/core/engine.h"
#include "tinytorch/core/ops.h"
//| export core/destroy_node.cpp
#include "tinytorch/core/node.h"
//| export core/anomaly_mode.h
#include <string>
#include <vector>
#include "tinytorch/core/node.h"
//| export core/anomaly_mode.cpp
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>
#include "tinytorch/core/node_watchers-inl.h"
//| export core/dict.h
#include <functional>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>
#include "tinytorch/core/error.h"
//| export core/ivalue.h
#include <memory>
#include <string>
#include <vector>
#include "tinytorch/core/dict.h"
#include "tinytorch/core/tensor.h"
//| export core/ivalue.cpp
#include <functional>
#include <variant>
//| export core/custom_function.h
#include <string>
#include <type_traits>
#include <typeinfo>
#include <unordered_map>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/inference_mode.h"
#include "tinytorch/core/ivalue.h"
//| export core/custom_function.cpp
#include <algorithm>
#include <cstdlib>
#include <cxxabi.h>
#include "tinytorch/core/inplace_or_view.h"
#include "tinytorch/core/ops.h"

// %%
#include <atomic>
#include <cmath>
#include <exception>
#include <string>
#include <thread>
#include <vector>
#include "tinytorch/core/anomaly_mode.h"
#include "tinytorch/core/custom_function.h"
#include "tinytorch/core/inplace_or_view.h"
#include "tinytorch/core/checkpoint.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Hooks
//
// A hook is a function that sees the gradient of one tensor when it is complete, that is, when all that lead to the tensor have delivered. The engine calls it before the node that the gradient is for: the tensor's `grad_fn`, or the accumulator of
// a leaf. Data-parallel training hangs its communication on hooks; clipping and debugging do as well.
//
//     g arrives ---> hook 0 ---> hook 1 ---> ... ---> retain_grad keeps a copy ---> the node
//                    each may return another tensor of the same sizes, which goes on in place of g

// %%
//| export core/tensor_history.cpp
namespace {
const Tensor& tensor_of(const HistoryMethods& methods) { return static_cast<const Tensor&>(methods); }
const ViewMeta* view_of(const Tensor& tensor) {
  const AutogradMeta* const meta = autograd_meta(tensor);
  return meta == nullptr ? nullptr : meta->view.get();
}
}  // namespace

unsigned HistoryMethods::add_hook(std::function<Tensor(const Tensor&)> hook) const {
  const Tensor& self = tensor_of(*this);
  TORCH_CHECK(self.requires_grad(), "cannot register a hook on a variable that doesn't require gradient");
  auto shared = std::make_shared<TensorHook>(std::move(hook));
  const Edge edge = gradient_edge(self);
  edge.function->watch().tensor_pre_hooks.emplace_back(edge.input_nr, shared);
  AutogradMeta& meta = materialize_autograd_meta(self);
  meta.hooks.push_back(std::move(shared));
  return static_cast<unsigned>(meta.hooks.size() - 1);
}

void HistoryMethods::remove_hook(unsigned position) const {
  AutogradMeta* const meta = autograd_meta(tensor_of(*this));
  TORCH_CHECK(meta != nullptr && position < meta->hooks.size(), "Invalid index, no hook at position ", position);
  *meta->hooks[position] = nullptr;  // the node holds it too; it stays, empty, so that positions stay
}

bool HistoryMethods::retains_grad() const {
  const AutogradMeta* const meta = autograd_meta(tensor_of(*this));
  return meta != nullptr && meta->retained_grad != nullptr;
}

void HistoryMethods::retain_grad() const {
  const Tensor& self = tensor_of(*this);
  TORCH_CHECK(self.requires_grad(), "can't retain_grad on Tensor that has requires_grad=False");
  if (self.is_leaf() || retains_grad()) return;
  AutogradMeta& meta = materialize_autograd_meta(self);
  meta.retained_grad = std::make_shared<Tensor>();
  meta.grad_fn->watch().retained_grads.emplace_back(meta.output_nr, meta.retained_grad);
}

void call_hooks(const NodeWatchers& watchers, variable_list& grads) {
  std::size_t position = 0;
  for (const auto& [input, hook] : watchers.tensor_pre_hooks) {
    Tensor& grad = grads[input];
    if (!*hook) continue;
    if (Tensor replaced = (*hook)(grad); replaced.defined()) {
      TORCH_CHECK(!grad.defined() || replaced.sizes() == grad.sizes(), "hook '", position, "' has changed the size of value\n[register_hook] from ", grad.sizes(), " to ", replaced.sizes());
      grad = std::move(replaced);
    }
    ++position;
  }
  for (const auto& [input, kept] : watchers.retained_grads)
    if (grads[input].defined()) *kept = kept->defined() ? *kept + grads[input] : grads[input].clone();
}

// %%
TEST_CASE("hooks: see a gradient, replace it, and go") {
  const Tensor x = ones({2}, dtype(kDouble).requires_grad(true));
  const Tensor y = x * 3.0;
  Tensor seen;
  y.register_hook([&](const Tensor& g) { seen = g; });
  const unsigned doubling = x.register_hook([](const Tensor& g) { return g * 2.0; });
  y.sum().backward();
  CHECK_EQ(seen, ones({2}, kDouble));
  CHECK_EQ(x.grad(), full({2}, 6.0, kDouble));
  x.remove_hook(doubling);
  x.remove_hook(doubling);  // says nothing the second time
  x.mutable_grad() = Tensor();
  (x * 3.0).sum().backward();
  CHECK_EQ(x.grad(), full({2}, 3.0, kDouble));
  CHECK_ERROR(x.remove_hook(7), "Invalid index, no hook at position 7");
  CHECK_ERROR(ones({2}).register_hook([](const Tensor& g) { return g; }), "cannot register a hook on a variable that doesn't require gradient");
}

TEST_CASE("hooks: in the order of registration, each sees what the one before returned, and retain_grad keeps the last") {
  const Tensor x = ones({2}, dtype(kDouble).requires_grad(true));
  const Tensor y = x * 2.0;
  std::vector<double> seen;
  y.register_hook([&](const Tensor& g) { seen.push_back(g[0].item<double>()); return g * 10.0; });
  y.retain_grad();
  y.register_hook([&](const Tensor& g) { seen.push_back(g[0].item<double>()); return g + 1.0; });
  y.sum().backward();
  CHECK(seen == std::vector<double>{1, 10});
  CHECK_EQ(y.grad(), full({2}, 11.0, kDouble));
  CHECK_EQ(x.grad(), full({2}, 22.0, kDouble));
}

TEST_CASE("hooks: a leaf's hook sees the sum of all ways, once") {
  const Tensor x = ones({1}, dtype(kDouble).requires_grad(true));
  int calls = 0;
  double seen = 0;
  x.register_hook([&](const Tensor& g) { ++calls; seen = g.item<double>(); });
  (x * 2.0 + x * 3.0).sum().backward();
  CHECK_EQ(calls, 1);
  CHECK_EQ(seen, 5.0);
  CHECK_EQ(autograd::grad({(x * 4.0).sum()}, {x})[0], tensor({4.0}, kDouble));  // captured behind the hook
  CHECK_EQ(calls, 2);
}

TEST_CASE("hooks: a write in place leaves earlier hooks behind and takes retain_grad along") {
  const Tensor x = ones({2}, dtype(kDouble).requires_grad(true));
  const Tensor y = x * 2.0;
  y.register_hook([](const Tensor& g) { return g * 2.0; });
  y.retain_grad();
  y.mul_(3.0);
  y.register_hook([](const Tensor& g) { return g * 5.0; });
  y.sum().backward();
  CHECK_EQ(x.grad(), full({2}, 60.0, kDouble));
  CHECK_EQ(y.grad(), full({2}, 5.0, kDouble));
}

TEST_CASE("hooks: the sizes of a gradient cannot change") {
  const Tensor x = ones({2}, requires_grad());
  const Tensor y = x * 2;
  y.register_hook([](const Tensor&) { return ones({7}); });
  CHECK_ERROR(y.sum().backward(), "hook '0' has changed the size of value");
}

TEST_CASE("retain_grad: the gradient of a result in the middle, summed over passes") {
  const Tensor x = ones({2}, dtype(kDouble).requires_grad(true));
  const Tensor y = x * 3.0;
  CHECK(!y.retains_grad());
  y.retain_grad();
  CHECK(y.retains_grad());
  const Tensor z = (y * y).sum();
  z.backward({}, true);
  CHECK_EQ(y.grad(), full({2}, 6.0, kDouble));
  z.backward();
  CHECK_EQ(y.grad(), full({2}, 12.0, kDouble));
  CHECK_ERROR(ones({2}).retain_grad(), "can't retain_grad on Tensor that has requires_grad=False");
}

// %% [markdown]
// ## Starting and stopping
//
// `backward` and `grad` start from the same roots: the edge of each tensor, with the gradient that was given for it, or one where it has a single element. What else they take, and what they refuse:

// %%
//| export core/autograd.cpp
namespace {
// The edges where a backward run starts, and the gradients to start with.
std::pair<edge_list, variable_list> starting_points(const variable_list& tensors, const variable_list& given) {
  TORCH_CHECK(given.empty() || given.size() == tensors.size(), "got ", tensors.size(), " tensors and ", given.size(), " gradients");
  edge_list roots;
  variable_list grads;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    roots.push_back(tensors[i].defined() ? gradient_edge(tensors[i]) : Edge());
    TORCH_CHECK(roots.back().is_valid(), "element ", i, " of tensors does not require grad and does not have a grad_fn\n"
                "Nothing it was computed from has requires_grad, or it was computed under NoGradGuard.");
    Tensor grad = given.empty() ? Tensor() : given[i];
    if (!grad.defined()) {
      TORCH_CHECK(tensors[i].numel() == 1, "grad can be implicitly created only for scalar outputs\n[backward] sizes ", tensors[i].sizes(),
                  "; reduce to one element, for example with sum(), or pass a gradient of these sizes.");
      grad = ones_like(tensors[i].detach());
    }
    TORCH_CHECK(grad.sizes() == tensors[i].sizes(), "invalid gradient at index ", i, " - got ", grad.sizes(), " but expected shape compatible with ", tensors[i].sizes());
    grads.push_back(std::move(grad));
  }
  return {std::move(roots), std::move(grads)};
}
}  // namespace

// %%
//| export core/autograd.cpp
namespace {
edge_list edges_of_inputs(const variable_list& inputs) {
  edge_list edges;
  for (const Tensor& input : inputs) {
    edges.push_back(input.defined() ? gradient_edge(input) : Edge());
    TORCH_CHECK_VALUE(edges.back().is_valid(), "One of the differentiated Tensors does not require grad");
  }
  return edges;
}
}  // namespace

void autograd::backward(const variable_list& tensors, const variable_list& grad_tensors, std::optional<bool> retain_graph, bool create_graph,
                        const variable_list& inputs) {
  if (create_graph)
    TORCH_WARN_ONCE("Using backward() with create_graph=True will create a reference cycle between the parameter and its gradient which can cause a memory leak. "
                    "We recommend using autograd.grad when creating the graph to avoid this. If you have to use this function, make sure to reset the .grad fields "
                    "of your parameters to None after use to break the cycle and avoid the leak.");
  auto [roots, grads] = starting_points(tensors, grad_tensors);
  const edge_list targets = edges_of_inputs(inputs);
  for (const Tensor& input : inputs) input.retain_grad();  // one that is no leaf receives its gradient too
  run_backward(roots, std::move(grads), retain_graph.value_or(create_graph), create_graph, targets, true);
}

variable_list autograd::grad(const variable_list& outputs, const variable_list& inputs, const variable_list& grad_outputs,
                             std::optional<bool> retain_graph, bool create_graph, bool allow_unused) {
  TORCH_CHECK(!inputs.empty(), "grad requires non-empty inputs.");
  auto [roots, grads] = starting_points(outputs, grad_outputs);
  variable_list result = run_backward(roots, std::move(grads), retain_graph.value_or(create_graph), create_graph, edges_of_inputs(inputs));
  for (std::size_t i = 0; i < result.size(); ++i)
    TORCH_CHECK(allow_unused || result[i].defined(), "element ", i, "of the differentiated Tensors appears to not have been used in the graph. "  // libtorch's words, as they are
                "Set allow_unused=True if this is the desired behavior.");
  return result;
}

// %% [markdown]
// The methods of Tensor that module 05 declares look into the metadata slot, or call these.

// %%
//| export core/autograd.cpp
namespace {
const Tensor& self_of(const AutogradMethods& methods) { return static_cast<const Tensor&>(methods); }
}  // namespace

void AutogradMethods::backward() const { autograd::backward({self_of(*this)}); }
void AutogradMethods::backward(const Tensor& gradient, std::optional<bool> retain_graph, bool create_graph, std::optional<ArrayRef<Tensor>> inputs) const {
  TORCH_CHECK(!inputs || !inputs->empty(), "'inputs' argument to backward cannot be empty");
  autograd::backward({self_of(*this)}, {gradient}, retain_graph, create_graph, inputs ? inputs->vec() : variable_list());
}

std::shared_ptr<Node> AutogradMethods::grad_fn() const { return history(self_of(*this)); }

bool AutogradMethods::requires_grad() const { return wants_gradient(self_of(*this)); }

bool AutogradMethods::is_leaf() const { return grad_fn() == nullptr; }

std::int64_t AutogradMethods::output_nr() const {
  const AutogradMeta* const meta = autograd_meta(self_of(*this));
  return meta == nullptr ? 0 : meta->output_nr;
}

// %%
//| export core/autograd.cpp
Tensor& AutogradMethods::requires_grad_(bool requires_grad) const {
  const Tensor& self = self_of(*this);
  TORCH_CHECK(!requires_grad || self.is_floating_point(), "only Tensors of floating point and complex dtype can require gradients");
  TORCH_CHECK(!requires_grad || !is_inference(self) || in_inference_mode(), "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.");
  TORCH_CHECK(is_leaf() || requires_grad, "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
              "subgraph that doesn't require differentiation use var_no_grad = var.detach().");
  if (is_leaf() && requires_grad != this->requires_grad()) {
    materialize_autograd_meta(self).requires_grad = requires_grad;
    TensorImpl& impl = self.impl();
    impl.layers = requires_grad || autograd_meta(self)->view ? impl.layers | Layer::Autograd : impl.layers - Layer::Autograd;
  }
  return const_cast<Tensor&>(self);
}

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

// A second handle on the same bytes, without the graph. It shares the version counter, so a write through it is noticed.
Tensor AutogradMethods::detach() const {
  const TensorImpl& impl = self_of(*this).impl();
  return Tensor(make_intrusive<TensorImpl>(impl, impl.layers - Layer::Autograd));
}

// %%
TEST_CASE("backward: only the inputs asked for accumulate, also where they are no leaves") {
  const Tensor a = ones({2}, dtype(kDouble).requires_grad(true));
  const Tensor b = ones({2}, dtype(kDouble).requires_grad(true));
  const Tensor y = a * 2.0;
  const Tensor z = (y * b).sum();
  const std::vector<Tensor> inputs = {y, b};
  z.backward({}, true, false, inputs);
  CHECK(!a.grad().defined());
  CHECK_EQ(b.grad(), full({2}, 2.0, kDouble));
  CHECK_EQ(y.grad(), full({2}, 1.0, kDouble));
  z.backward();
  CHECK_EQ(a.grad(), full({2}, 2.0, kDouble));
  CHECK_ERROR(y.sum().backward({}, false, false, std::vector<Tensor>()), "'inputs' argument to backward cannot be empty");
}

TEST_CASE("backward and grad: what is refused, and how") {
  const Tensor x = ones({2}, requires_grad());
  CHECK_ERROR((x * 2).backward(), "grad can be implicitly created only for scalar outputs");
  CHECK_ERROR(ones({1}).backward(), "element 0 of tensors does not require grad and does not have a grad_fn");
  CHECK_ERROR((x * 2).backward(ones({3})), "invalid gradient at index 0 - got [3] but expected shape compatible with [2]");
  CHECK_ERROR(autograd::backward({x.sum(), x.sum()}, {ones({})}), "got 2 tensors and 1 gradients");
  CHECK_ERROR(autograd::grad({x.sum()}, {ones({1}, requires_grad())}), "appears to not have been used in the graph");
  CHECK_ERROR(autograd::grad({x.sum()}, {ones({1})}), "One of the differentiated Tensors does not require grad");
  CHECK_ERROR(autograd::grad({x.sum()}, {}), "grad requires non-empty inputs.");
  CHECK(!autograd::grad({x.sum()}, {ones({1}, requires_grad())}, {}, {}, false, true)[0].defined());
  CHECK_ERROR(ones({2}, kLong).requires_grad_(), "only Tensors of floating point and complex dtype can require gradients");
  CHECK_ERROR((x * 2).requires_grad_(false), "you can only change requires_grad flags of leaf variables.");
}

TEST_CASE("engine: broadcasting, dtypes, and several roots") {
  const Tensor a = ones({3, 1}, requires_grad());
  const Tensor b = ones({4}, dtype(kDouble).requires_grad(true));
  const Tensor c = a + b;
  autograd::backward({c.sum(), a.sum()});
  CHECK_EQ(a.grad(), full({3, 1}, 5.0));
  CHECK_EQ(b.grad(), full({4}, 3.0, kDouble));
}

TEST_CASE("saved tensors: an output that saves itself is freed with its graph") {
  const std::size_t before = memory::stats().live;
  {
    const Tensor x = ones({1000}, requires_grad());
    const Tensor y = x.exp().exp();
  }
  CHECK_EQ(memory::stats().live, before);
}

TEST_CASE("grad: several outputs and inputs, weights, and graphs of gradients") {
  const Tensor a = tensor({2.0}, dtype(kDouble).requires_grad(true));
  const Tensor b = tensor({3.0}, dtype(kDouble).requires_grad(true));
  const variable_list grads = autograd::grad({a * b, a + b}, {b, a, a * 1.0, b}, {tensor({10.0}, kDouble), tensor({1.0}, kDouble)}, {}, false, true);
  CHECK_EQ(grads[0], tensor({21.0}, kDouble));
  CHECK_EQ(grads[1], tensor({31.0}, kDouble));
  CHECK(!grads[2].defined());  // a new tensor, on no way from the outputs
  CHECK_EQ(grads[3], grads[0]);
  CHECK(!grads[0].requires_grad());
  CHECK(autograd::grad({a * b}, {a}, {}, true, true)[0].requires_grad());
  CHECK(!a.grad().defined());
}

// %% [markdown]
// ## Letting go
//
// A loop of a million steps leaves a chain of a million nodes, each owned by the one behind it. When the last handle goes, the first node is deleted, which deletes the second one inside its destructor, and so on: a million destructors, one inside the
// other, and the stack overflows. Every `std::shared_ptr` to a node is therefore made with an allocator of module 05, whose `destroy_node` only puts the node on a list if one is already being destroyed further up:
//
//     destroy_node(a) ---> list: a     loop: take a, destroy it --> its edge lets go of b
//                                                destroy_node(b) --> "someone is at it": list: b, return
//                                      loop: take b, destroy it --> ...
//
// The list runs through the nodes themselves, so that destroying needs no memory. PyTorch does the same in `deleteNode` (`torch/csrc/autograd/function.cpp`). Node and counts of owners lie in one block, which is freed when the last strong or weak owner is gone.
// `enable_shared_from_this` holds a weak one, which keeps the block of a node that waits. It ends inside the destructor, so the loop holds another until the destructor has returned. The node that all begins with needs none: whoever gave up its last owner still holds the block.

// %%
//| export core/destroy_node.cpp
namespace {
// Nodes waiting for their end in this thread, linked through the nodes themselves so that it needs no memory of its own.
thread_local constinit Node* waiting_for_deletion = nullptr;
thread_local constinit bool deleting = false;
}  // namespace

void destroy_node(Node* node) {
  if (deleting) {  // the loop further up the stack takes it
    node->next_to_delete_ = waiting_for_deletion;
    waiting_for_deletion = node;
    return;
  }
  deleting = true;
  node->~Node();
  while (waiting_for_deletion != nullptr) {
    Node* const first = waiting_for_deletion;
    waiting_for_deletion = first->next_to_delete_;
    const std::weak_ptr<Node> keeps_memory = first->weak_from_this();  // the counts lie in the same block: it must outlast the destructor
    first->~Node();
  }
  deleting = false;
}

// %%
TEST_CASE("nodes: a chain that nobody went back through is freed without recursion") {
  const Tensor x = ones({1}, requires_grad());
  std::weak_ptr<Node> first;
  {
    Tensor y = -x;
    first = y.grad_fn();
    for (int i = 0; i < 200000; ++i) y = -y;
    CHECK(!first.expired());
  }
  CHECK(first.expired());
}

// %% [markdown]
// ## Views, bases and versions
//
// Questions that a program may ask about a tensor's place in the graph, and the sentences with which a write in place is refused (module 05 says why).

// %%
//| export core/tensor_history.cpp
const Tensor& HistoryMethods::set_requires_grad(bool requires_grad) const {
  const Tensor& self = tensor_of(*this);
  if (self.is_leaf()) self.requires_grad_(requires_grad);
  return self;
}

Tensor& HistoryMethods::detach_() const {
  const Tensor& self = tensor_of(*this);
  TORCH_CHECK(!is_view(), "Can't detach views in-place. Use detach() instead.");
  AutogradMeta& meta = materialize_autograd_meta(self);
  meta.requires_grad = false;
  meta.grad_fn.reset();
  meta.output_nr = 0;
  self.impl().layers = self.impl().layers - Layer::Autograd;
  return const_cast<Tensor&>(self);
}

bool HistoryMethods::is_view() const { return view_of(tensor_of(*this)) != nullptr; }

const Tensor& HistoryMethods::_base() const {
  const ViewMeta* const view = view_of(tensor_of(*this));
  TORCH_CHECK(view != nullptr, "Can't get base of non-view Variable");
  return view->base;
}

bool HistoryMethods::is_inference() const { return tinytorch::is_inference(tensor_of(*this)); }

std::int64_t HistoryMethods::_version() const {
  TORCH_CHECK(!is_inference(), "Inference tensors do not track version counter.");
  return tensor_of(*this).storage()->version.load();
}

// %%
//| export core/tensor_history.cpp
namespace {
// The node of views that split, chunk or unbind returned together. Their gradients side by side are the gradient of the whole; one that is missing stands for zeros.
// With a node each, as a slice alone has, the gradient of every piece would be a tensor of the whole's size, mostly zeros, and these would be added. Source: torch/csrc/autograd/FunctionsManual.cpp (split_backward).
class SeveralViewsBackward : public Node {
 public:
  SeveralViewsBackward(const char* function, std::int64_t dim, bool of_lines) : function_(function), dim_(dim), of_lines_(of_lines) {}

  variable_list apply(variable_list&& grads) override {
    const auto some = std::find_if(grads.begin(), grads.end(), [](const Tensor& grad) { return grad.defined(); });
    if (some == grads.end()) return {Tensor()};
    const TensorOptions options = some->options();
    for (std::size_t i = 0; i < grads.size(); ++i)
      if (!grads[i].defined()) grads[i] = zeros(input_metadata(i).sizes, options);
    return {of_lines_ ? stack(grads, dim_) : cat(grads, dim_)};
  }
  std::string name() const override { return str(function_, "Backward0"); }

 private:
  const char* function_;
  std::int64_t dim_;
  bool of_lines_;  // unbind's pieces have lost the dimension
};

// Whether each view was recorded as one operator on the same tensor: then one node can take the place of all of theirs. A device from outside needs no `cat`.
bool have_one_source(const std::vector<Tensor>& views) {
  const auto source = [](const Tensor& view) -> const Node* {
    const AutogradMeta* const meta = autograd_meta(view);
    const bool recorded = meta != nullptr && meta->view && meta->view->creation == CreationMeta::Default && meta->grad_fn && meta->grad_fn->num_outputs() == 1;
    return recorded && !view.is_elsewhere() ? meta->grad_fn->next_edge(0).function.get() : nullptr;
  };
  return !views.empty() && source(views.front()) != nullptr && std::all_of(views.begin(), views.end(), [&](const Tensor& view) { return source(view) == source(views.front()); });
}
}  // namespace

// %%
//| export core/tensor_history.cpp
//| registers
// Views that split, chunk or unbind return together belong to one node, and none may be written through while gradients are recorded.
void register_several_views() {
  detail::on_several_views = [](const std::vector<Tensor>& views, const char* function, std::int64_t dim) {
    if (have_one_source(views)) {
      const Edge whole = autograd_meta(views.front())->grad_fn->next_edge(0);
      const auto node = make_node<SeveralViewsBackward>(function, dim, std::string_view(function) == "Unbind");
      node->add_next_edge(whole);
      for (const Tensor& view : views) set_history(view, node);
    }
    for (std::size_t i = 0; i < views.size(); ++i) {
      AutogradMeta* const meta = autograd_meta(views[i]);
      if (meta == nullptr || !meta->view || meta->view->creation != CreationMeta::Default) continue;
      meta->view->creation = CreationMeta::MultiOutputNode;
      meta->view->one_of = function;
      meta->view->place = i;
    }
  };
}

// %%
//| export core/tensor_history.cpp
// Throws, in PyTorch's words, if a view of this kind must not be written through, or (`indirect`) its base not be written to.
void check_view_write(const AutogradMeta& meta, bool indirect) {
  const CreationMeta creation = meta.view->creation;
  if (creation == CreationMeta::Default) return;
  const std::string modified = indirect ? " its base or another view of its base has been modified inplace" : " is being modified inplace";
  const bool inference = creation == CreationMeta::InferenceMode;
  std::string what;
  if (inference || creation == CreationMeta::NoGradMode || !meta.grad_fn) {
    what = meta.grad_fn ? str("Output ", meta.output_nr, " of ", meta.grad_fn->name(), " is a view of a view which") : std::string("A view");
    what += inference ? " was created in inference mode and" + modified + " in normal mode." : " was created in no_grad mode and" + modified + " with grad mode enabled.";
  } else {
    // The sentence names the function, not the node: where the base was written to, each of several has a node of its own again.
    const bool several = meta.view->one_of != nullptr && !indirect;
    what = str("Output ", several ? meta.view->place : meta.output_nr, " of ", several ? std::string(meta.view->one_of) : meta.grad_fn->name(), " is a view and", modified, ".");
  }
  TORCH_CHECK(creation != CreationMeta::MultiOutputNode, what, " This view is the output of a function that returns multiple views. Such functions do not "
              "allow the output views to be modified inplace. You should replace the inplace operation by an out-of-place one.");
  TORCH_CHECK(creation != CreationMeta::InCustomFunction, what, " This view was created inside a custom Function (or because an input was returned as-is) and "
              "the autograd logic to handle view+inplace would override the custom backward associated with the custom Function, leading to incorrect "
              "gradients. This behavior is forbidden. You can fix this by cloning the output of the custom Function.");
  const char* const block = inference ? "inference_mode" : "no_grad";
  TORCH_CHECK(false, what, " Given that this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving both the view and the inplace "
              "either both inside the ", block, " block (if you don't want the inplace to be tracked) or both outside (if you want the inplace to be tracked).");
}

// %%
TEST_CASE("views: a write through one that was made without recording is refused") {
  const Tensor w = ones({2}, requires_grad());
  const Tensor plain = ones({2, 2});
  const Tensor recorded = ones({2, 2}, requires_grad()) * 1;
  Tensor row_of_plain, row;
  {
    const NoGradGuard no_grad;
    row_of_plain = plain[0];
    row = recorded[0];
    row_of_plain.mul_(2);  // both inside: nothing is recorded
  }
  CHECK_ERROR(row_of_plain.mul_(w), "A view was created in no_grad mode and is being modified inplace with grad mode enabled. Given that this use case is ambiguous");
  CHECK(row.requires_grad());
  CHECK(row.is_leaf());
  CHECK_ERROR(row.mul_(2), "A view was created in no_grad mode and is being modified inplace with grad mode enabled.");
  CHECK_ERROR(row.narrow(0, 0, 1).mul_(2), "Output 0 of SliceBackward0 is a view of a view which was created in no_grad mode and is being modified inplace");
  recorded.mul_(2);
  CHECK_ERROR(row.grad_fn(), "A view was created in no_grad mode and its base or another view of its base has been modified inplace with grad mode enabled.");
}

TEST_CASE("views: none of several that were returned together may be written through") {
  const Tensor x = ones({4}, requires_grad()) * 1;
  const std::vector<Tensor> halves = x.split(2);
  CHECK_ERROR(halves[1].mul_(2), "Output 1 of Split is a view and is being modified inplace. This view is the output of a function that returns multiple views.");
  CHECK_ERROR(x.chunk(2)[0].zero_(), "returns multiple views");
  CHECK_ERROR(x.view({2, 2}).unbind()[0].mul_(2), "Output 0 of Unbind is a view");
  ones({4}).split(2)[0].mul_(2);  // nothing is recorded
  const NoGradGuard no_grad;
  halves[0].mul_(2);
  CHECK_EQ(x.detach(), tensor({2.0, 2.0, 1.0, 1.0}));
}

TEST_CASE("views: several that were returned together have one node, and missing gradients are zeros") {
  const Tensor x = arange(12.0).view({3, 4}).set_requires_grad(true);
  const std::vector<Tensor> parts = x.split({1, 2, 1}, 1);
  CHECK_EQ(parts[0].grad_fn()->name(), "SplitWithSizesBackward0");
  CHECK_EQ(parts[0].grad_fn(), parts[2].grad_fn());
  CHECK_EQ(parts[2].output_nr(), 2);
  ((parts[0] * 2).sum() + (parts[1] * parts[1]).sum()).backward();
  CHECK_EQ(x.grad(), tensor({{2.0, 2.0, 4.0, 0.0}, {2.0, 10.0, 12.0, 0.0}, {2.0, 18.0, 20.0, 0.0}}));
  const std::vector<Tensor> lines = (x * 1).unbind(1);
  CHECK_EQ(lines[3].grad_fn()->name(), "UnbindBackward0");
  CHECK_EQ(autograd::grad({(lines[3] * lines[1]).sum()}, {x})[0].select(1, 3), x.detach().select(1, 1));
  // Twice: the gradient of a gradient goes through the joined pieces.
  const std::vector<Tensor> halves = x.chunk(2);
  const Tensor first = autograd::grad({halves[0].pow(3).sum() + halves[1].sum()}, {x}, {}, true, true)[0];
  CHECK_EQ(autograd::grad({first.sum()}, {x})[0], cat({x.detach().narrow(0, 0, 2) * 6, zeros({1, 4})}));
}

TEST_CASE("views: one follows a write into its base") {
  const Tensor x = ones({2, 2}, dtype(kDouble).requires_grad(true));
  const Tensor z = x * 1.0;
  const Tensor row = z[1];
  z.mul_(5.0);
  row.sum().backward();
  CHECK_EQ(x.grad(), tensor({{0.0, 0.0}, {5.0, 5.0}}, kDouble));
}

TEST_CASE("views: of views of views, written through, have the gradients of the base") {
  const Tensor x = ones({2, 3}, dtype(kDouble).requires_grad(true));
  const Tensor base = x * 1.0;
  const Tensor inner = base.t().narrow(0, 1, 2).select(1, 0);  // base[0, 1:3]
  inner.mul_(tensor({2.0, 3.0}, kDouble));
  inner.add_(1.0);
  CHECK(inner._base().is_same(base));
  CHECK_EQ(base.grad_fn()->name(), "torch::autograd::CopySlices");
  (base * tensor({{1.0, 10.0, 100.0}, {1.0, 1.0, 1.0}}, kDouble)).sum().backward();
  CHECK_EQ(x.grad(), tensor({{1.0, 20.0, 300.0}, {1.0, 1.0, 1.0}}, kDouble));
}

TEST_CASE("views: a plain base joins the graph when something that requires gradients is written into a view") {
  const Tensor base = zeros({2, 2}, kDouble);
  const Tensor other_row = base[1];
  const Tensor y = tensor({3.0, 4.0}, dtype(kDouble).requires_grad(true));
  base[0].copy_(y);
  CHECK(base.requires_grad());
  CHECK(!base.is_leaf());
  (base.sum() + other_row.sum()).backward();
  CHECK_EQ(y.grad(), ones({2}, kDouble));
}

TEST_CASE("tensors: what one may ask, and take out of the graph") {
  const Tensor x = ones({2}, requires_grad());
  const Tensor y = x * 2;
  CHECK(!y.detach().is_view());
  CHECK_EQ(y.output_nr(), 0);
  CHECK_ERROR(y._base(), "Can't get base of non-view Variable");
  CHECK_ERROR(y[0].detach_(), "Can't detach views in-place. Use detach() instead.");
  y.detach_();
  CHECK(y.is_leaf());
  CHECK(!y.requires_grad());
  x.mutable_grad() = ones({2});
  x.detach_();
  CHECK(x.grad().defined());  // as in PyTorch
  CHECK(!x.requires_grad());
  CHECK(x.set_requires_grad(true).requires_grad());
  CHECK((x * 2).set_requires_grad(false).requires_grad());
}

// %% [markdown]
// ## Inference mode
//
// Under `NoGradGuard` a tensor is made without history, but it may join a graph later, so that writes into it must still be counted and views of it remember their base. A server that only predicts needs neither. In inference mode new tensors are
// *inference tensors*: no view of them is tracked and no write counted. The price is that they can never be saved for a backward pass, nor be written to outside: an error, because nobody could notice that a saved value changed.
//
//     made in                      a view of it      a write into it                in a graph later
//     normal                       remembers         counted                        yes
//     NoGradGuard                  remembers         counted                        yes
//     InferenceMode                plain             not counted; only in the mode  as an operand that need not be saved

// %%
//| export core/inference_mode.h
// For a scope: nothing is recorded, and new tensors are inference tensors. With false, the opposite, inside such a scope.
// Source: c10/core/InferenceMode.h.
class InferenceMode {
 public:
  explicit InferenceMode(bool enabled = true) : saved_(thread_state().modes) {
    constexpr std::uint32_t both = GradMode::kOff | GradMode::kInference;
    thread_state().modes = enabled ? saved_ | both : saved_ & ~both;
  }
  ~InferenceMode() { thread_state().modes = saved_; }
  InferenceMode(const InferenceMode&) = delete;
  InferenceMode& operator=(const InferenceMode&) = delete;
  static bool is_enabled() { return in_inference_mode(); }

 private:
  std::uint32_t saved_;
};

// %%
TEST_CASE("inference mode: what is made in it, and what is not") {
  const Tensor normal = ones({3});
  const Tensor w = ones({3}, requires_grad());
  {
    const InferenceMode guard;
    CHECK(InferenceMode::is_enabled());
    CHECK(!GradMode::is_enabled());
    CHECK((normal * 2).is_inference());
    CHECK(!normal.view({3}).is_inference());
    CHECK(normal.view({3}).is_view());
    CHECK(ones({2}, requires_grad()).requires_grad());
    CHECK(ones({2}, requires_grad()).is_inference());
    normal.add_(1);
    w.add_(1);  // nothing is recorded, so a leaf may be written to
    const AutoGradMode on(true);
    CHECK(!(w * 2).requires_grad());
    const InferenceMode off(false);
    CHECK(!InferenceMode::is_enabled());
    CHECK((w * 2).requires_grad());
    CHECK(!(w * 2).is_inference());
  }
  CHECK(!InferenceMode::is_enabled());
  CHECK(GradMode::is_enabled());
  CHECK_EQ(normal._version(), 1);
  CHECK_EQ(w._version(), 1);
}

TEST_CASE("inference mode: what its tensors may do outside") {
  Tensor made;
  {
    const InferenceMode guard;
    made = ones({3});
    made.add_(1);
  }
  const Tensor w = ones({3}, requires_grad());
  CHECK(made.is_inference());
  CHECK(made[0].is_inference());
  CHECK(made.detach().is_inference());
  CHECK(!made.clone().is_inference());
  CHECK_ERROR(made._version(), "Inference tensors do not track version counter.");
  CHECK_ERROR(made.add_(1), "Inplace update to inference tensor outside InferenceMode is not allowed.");
  CHECK_ERROR(made[0].add_(1), "Inplace update to inference tensor outside InferenceMode is not allowed.");
  CHECK_ERROR(made.copy_(w), "Inplace update to inference tensor outside InferenceMode is not allowed.");
  CHECK_ERROR(made.requires_grad_(), "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.");
  CHECK_ERROR(made * w, "Inference tensors cannot be saved for backward.");
  CHECK((made + w).requires_grad());
  CHECK((made.clone() * w).requires_grad());
  const Tensor recorded = w * 2;
  recorded.add_(made);
  CHECK_ERROR(recorded.mul_(made), "Inference tensors cannot be saved for backward.");
}

TEST_CASE("inference mode: a view made in it of a recorded tensor cannot be written to outside") {
  const Tensor w = ones({3}, requires_grad());
  const Tensor x = w * 1;
  Tensor view;
  {
    const InferenceMode guard;
    view = x.view({3});
  }
  CHECK_ERROR(view.add_(w), "A view was created in inference mode and is being modified inplace in normal mode.");
}

// %% [markdown]
// ## Values of any kind
//
// A custom function may keep numbers, texts and lists beside its tensors. They go into a map of `IValue`s, each of which holds one value of one of a few kinds. PyTorch's interpreter passes arguments in them, and
// a checkpoint written by Python is one: a dictionary, whose values may be dictionaries, lists and tuples again.
//
//     IValue ── None, Bool, Int, Double, String, Tensor
//            ── IntList, DoubleList, TensorList           elements of one kind
//            ── List, Dict, Tuple                         elements of any kind: IValues
//
// A `Dict` or a `List` is a handle, as in Python: a copy names the same entries.

// %%
//| export core/dict.h
// A dictionary that iterates in the order of insertion. Copies share their entries. Finding is O(1). A reference into it is good until the next insertion.
// Source: aten/src/ATen/core/Dict.h.
template <class Key, class Value>
class Dict {
 public:
  class Entry {
   public:
    Entry(Key key, Value value) : key_(std::move(key)), value_(std::move(value)) {}
    const Key& key() const { return key_; }
    const Value& value() const { return value_; }
    void setValue(Value value) { value_ = std::move(value); }

   private:
    Key key_;
    Value value_;
  };

  Dict() : entries_(std::make_shared<Entries>()) {}
  std::size_t size() const { return entries_->list.size(); }
  bool empty() const { return size() == 0; }
  auto begin() const { return entries_->list.cbegin(); }
  auto end() const { return entries_->list.cend(); }

  bool contains(const Key& key) const { return entries_->positions.contains(key); }
  const Value& at(const Key& key) const {
    const auto found = entries_->positions.find(key);
    if (found == entries_->positions.end()) throw IndexError("Argument passed to at() was not in the map.\n[Dict] ask contains() first.");
    return entries_->list[found->second].value();
  }
  // Adds an entry, unless the key is there; says whether it did.
  bool insert(Key key, Value value) const {
    if (!entries_->positions.emplace(key, size()).second) return false;
    entries_->list.emplace_back(std::move(key), std::move(value));
    return true;
  }
  void insert_or_assign(Key key, Value value) const {
    const auto found = entries_->positions.find(key);
    if (found == entries_->positions.end()) {
      insert(std::move(key), std::move(value));
    } else {
      entries_->list[found->second].setValue(std::move(value));
    }
  }
  void clear() const {
    entries_->list.clear();
    entries_->positions.clear();
  }
  const void* id() const { return entries_.get(); }

 private:
  struct Hash {
    std::size_t operator()(const Key& key) const {
      if constexpr (requires { key.hash(); }) return key.hash();
      else return std::hash<Key>{}(key);
    }
  };
  struct Entries {
    std::vector<Entry> list;
    std::unordered_map<Key, std::size_t, Hash> positions;
  };
  std::shared_ptr<Entries> entries_;
};

// A list whose copies share their elements. Source: aten/src/ATen/core/List.h.
template <class T>
class List {
 public:
  List() : elements_(std::make_shared<std::vector<T>>()) {}
  explicit List(std::vector<T> elements) : elements_(std::make_shared<std::vector<T>>(std::move(elements))) {}
  std::size_t size() const { return elements_->size(); }
  bool empty() const { return elements_->empty(); }
  auto begin() const { return elements_->cbegin(); }
  auto end() const { return elements_->cend(); }
  const T& get(std::size_t position) const {
    TORCH_CHECK_INDEX(position < size(), "list index out of range\n[List] it has ", size(), " elements, position ", position, " was asked for.");
    return (*elements_)[position];
  }
  const T& operator[](std::size_t position) const { return get(position); }
  void push_back(T value) const { elements_->push_back(std::move(value)); }
  void clear() const { elements_->clear(); }
  const std::vector<T>& vec() const { return *elements_; }
  const void* id() const { return elements_.get(); }

 private:
  std::shared_ptr<std::vector<T>> elements_;
};

// %%
//| export core/ivalue.h
class IValue;
namespace ivalue {

// A list that cannot change.
class Tuple {
 public:
  explicit Tuple(std::vector<IValue> elements);
  static std::shared_ptr<const Tuple> create(std::vector<IValue> elements);
  const std::vector<IValue>& elements() const { return elements_; }

 private:
  std::vector<IValue> elements_;
};

}  // namespace ivalue

// One value: nothing, a tensor, a number, a text, a list, a tuple or a dictionary. Source: aten/src/ATen/core/ivalue.h.
class IValue {
 public:
  IValue() = default;
  IValue(std::nullopt_t) {}
  IValue(Tensor value);
  IValue(bool value);
  IValue(double value);
  IValue(std::int64_t value);
  template <class Int>
    requires(std::is_integral_v<Int> && !std::is_same_v<Int, bool> && !std::is_same_v<Int, std::int64_t>)
  IValue(Int value) : IValue(static_cast<std::int64_t>(value)) {}
  IValue(const char* value);
  IValue(std::string value);
  IValue(std::vector<std::int64_t> values);
  IValue(IntArrayRef values);
  IValue(std::vector<double> values);
  IValue(std::vector<Tensor> values);
  IValue(List<IValue> values);
  IValue(Dict<IValue, IValue> entries);
  IValue(std::shared_ptr<const ivalue::Tuple> tuple);
  // A dictionary or list of values of one kind is copied into one of values of any kind.
  template <class Key, class Value>
  IValue(const Dict<Key, Value>& entries);
  template <class T>
  IValue(const List<T>& values);

  bool isNone() const { return content_ == nullptr; }
  bool isTensor() const;
  bool isBool() const;
  bool isDouble() const;
  bool isInt() const;
  bool isString() const;
  bool isIntList() const;
  bool isDoubleList() const;
  bool isTensorList() const;
  bool isList() const;
  bool isGenericDict() const;
  bool isTuple() const;

  // Each throws if the value is of another kind. A list of any kind whose elements fit is also a list of their kind.
  const Tensor& toTensor() const;
  bool toBool() const;
  double toDouble() const;
  std::int64_t toInt() const;
  const std::string& toStringRef() const;
  std::vector<std::int64_t> toIntVector() const;
  std::vector<double> toDoubleVector() const;
  std::vector<Tensor> toTensorVector() const;
  List<IValue> toList() const;
  Dict<IValue, IValue> toGenericDict() const;
  std::shared_ptr<const ivalue::Tuple> toTuple() const;
  const ivalue::Tuple& toTupleRef() const;
  const char* tagKind() const;  // "Tensor", "Int", ...

  // What may be a key of a dictionary: None, numbers and texts. Both throw for other kinds.
  std::size_t hash() const;
  friend bool operator==(const IValue& a, const IValue& b);

 private:
  // A std::variant, which stands in the source: copying and moving one is much code, which each file that saw it would compile.
  struct Content;
  template <class T>
  const T* get_if() const;
  template <class T>
  const T& get(const char* kind) const;
  template <class T>
  std::vector<T> elements(const char* kind) const;

  std::shared_ptr<const Content> content_;  // null: None. Copies share it, since it never changes.
};

namespace impl {
using GenericList = List<IValue>;
using GenericDict = Dict<IValue, IValue>;
}  // namespace impl

template <class Key, class Value>
IValue::IValue(const Dict<Key, Value>& entries) {
  const Dict<IValue, IValue> generic;
  for (const auto& entry : entries) generic.insert(IValue(entry.key()), IValue(entry.value()));
  *this = IValue(generic);
}
template <class T>
IValue::IValue(const List<T>& values) {
  const List<IValue> generic;
  for (const T& value : values) generic.push_back(IValue(value));
  *this = IValue(generic);
}

// %%
//| export core/ivalue.cpp
struct IValue::Content {
  std::variant<Tensor, bool, double, std::int64_t, std::string, std::vector<std::int64_t>, std::vector<double>, std::vector<Tensor>, List<IValue>, Dict<IValue, IValue>,
               std::shared_ptr<const ivalue::Tuple>>
      value;
};

ivalue::Tuple::Tuple(std::vector<IValue> elements) : elements_(std::move(elements)) {}
std::shared_ptr<const ivalue::Tuple> ivalue::Tuple::create(std::vector<IValue> elements) { return std::make_shared<const Tuple>(std::move(elements)); }

IValue::IValue(Tensor value) : content_(new Content{std::move(value)}) {}
IValue::IValue(bool value) : content_(new Content{value}) {}
IValue::IValue(double value) : content_(new Content{value}) {}
IValue::IValue(std::int64_t value) : content_(new Content{value}) {}
IValue::IValue(const char* value) : IValue(std::string(value)) {}
IValue::IValue(std::string value) : content_(new Content{std::move(value)}) {}
IValue::IValue(std::vector<std::int64_t> values) : content_(new Content{std::move(values)}) {}
IValue::IValue(IntArrayRef values) : IValue(values.vec()) {}
IValue::IValue(std::vector<double> values) : content_(new Content{std::move(values)}) {}
IValue::IValue(std::vector<Tensor> values) : content_(new Content{std::move(values)}) {}
IValue::IValue(List<IValue> values) : content_(new Content{std::move(values)}) {}
IValue::IValue(Dict<IValue, IValue> entries) : content_(new Content{std::move(entries)}) {}
IValue::IValue(std::shared_ptr<const ivalue::Tuple> tuple) : content_(new Content{std::move(tuple)}) {}

// The value if it is a T, else null.
template <class T>
const T* IValue::get_if() const {
  return content_ == nullptr ? nullptr : std::get_if<T>(&content_->value);
}
template <class T>
const T& IValue::get(const char* kind) const {
  const T* const value = get_if<T>();
  TORCH_CHECK(value != nullptr, "Expected ", kind, " but got ", tagKind());
  return *value;
}

bool IValue::isTensor() const { return get_if<Tensor>() != nullptr; }
bool IValue::isBool() const { return get_if<bool>() != nullptr; }
bool IValue::isDouble() const { return get_if<double>() != nullptr; }
bool IValue::isInt() const { return get_if<std::int64_t>() != nullptr; }
bool IValue::isString() const { return get_if<std::string>() != nullptr; }
bool IValue::isIntList() const { return get_if<std::vector<std::int64_t>>() != nullptr; }
bool IValue::isDoubleList() const { return get_if<std::vector<double>>() != nullptr; }
bool IValue::isTensorList() const { return get_if<std::vector<Tensor>>() != nullptr; }
bool IValue::isList() const { return get_if<List<IValue>>() != nullptr || isIntList() || isDoubleList() || isTensorList(); }
bool IValue::isGenericDict() const { return get_if<Dict<IValue, IValue>>() != nullptr; }
bool IValue::isTuple() const { return get_if<std::shared_ptr<const ivalue::Tuple>>() != nullptr; }

const Tensor& IValue::toTensor() const { return get<Tensor>("Tensor"); }
bool IValue::toBool() const { return get<bool>("Bool"); }
double IValue::toDouble() const { return get<double>("Double"); }
std::int64_t IValue::toInt() const { return get<std::int64_t>("Int"); }
const std::string& IValue::toStringRef() const { return get<std::string>("String"); }
Dict<IValue, IValue> IValue::toGenericDict() const { return get<Dict<IValue, IValue>>("GenericDict"); }
std::shared_ptr<const ivalue::Tuple> IValue::toTuple() const { return get<std::shared_ptr<const ivalue::Tuple>>("Tuple"); }
const ivalue::Tuple& IValue::toTupleRef() const { return *get<std::shared_ptr<const ivalue::Tuple>>("Tuple"); }

const char* IValue::tagKind() const {
  static constexpr const char* kinds[] = {"Tensor", "Bool", "Double", "Int", "String", "IntList", "DoubleList", "TensorList", "GenericList", "GenericDict", "Tuple"};
  return isNone() ? "None" : kinds[content_->value.index()];
}

// The elements of a list that holds Ts: as a vector of them, or as values that are all of this kind.
template <class T>
std::vector<T> IValue::elements(const char* kind) const {
  const auto* const list = get_if<List<IValue>>();
  if (list == nullptr) return get<std::vector<T>>(kind);
  std::vector<T> all;
  for (const IValue& element : *list) {
    const T* const value = element.get_if<T>();
    TORCH_CHECK(value != nullptr, "Expected ", kind, " but got a list that holds ", element.tagKind());
    all.push_back(*value);
  }
  return all;
}
std::vector<std::int64_t> IValue::toIntVector() const { return elements<std::int64_t>("IntList"); }
std::vector<double> IValue::toDoubleVector() const { return elements<double>("DoubleList"); }
std::vector<Tensor> IValue::toTensorVector() const { return elements<Tensor>("TensorList"); }

List<IValue> IValue::toList() const {
  const auto copied = [](const auto& values) { return List<IValue>(std::vector<IValue>(values.begin(), values.end())); };
  if (isIntList()) return copied(get<std::vector<std::int64_t>>("IntList"));
  if (isDoubleList()) return copied(get<std::vector<double>>("DoubleList"));
  if (isTensorList()) return copied(get<std::vector<Tensor>>("TensorList"));
  return get<List<IValue>>("GenericList");
}

std::size_t IValue::hash() const {
  if (isNone()) return 0;
  if (isBool()) return std::hash<bool>{}(toBool());
  if (isInt()) return std::hash<std::int64_t>{}(toInt());
  if (isDouble()) return std::hash<double>{}(toDouble());
  TORCH_CHECK_TYPE(isString(), "unhashable type: '", tagKind(), "'\n[Dict] a key is None, a number or a text.");
  return std::hash<std::string>{}(toStringRef());
}

bool operator==(const IValue& a, const IValue& b) {
  if (a.isNone() || b.isNone()) return a.isNone() && b.isNone();
  if (a.content_->value.index() != b.content_->value.index()) return false;
  if (a.isBool()) return a.toBool() == b.toBool();
  if (a.isInt()) return a.toInt() == b.toInt();
  if (a.isDouble()) return a.toDouble() == b.toDouble();
  TORCH_CHECK_TYPE(a.isString(), "cannot compare two values of kind ", a.tagKind(), "\n[IValue] compare what they hold.");
  return a.toStringRef() == b.toStringRef();
}

// %%
TEST_CASE("a value of any kind gives back what was put in, and nothing else") {
  CHECK(IValue().isNone());
  CHECK_EQ(IValue(3).toInt(), 3);
  CHECK_EQ(IValue(2.5).toDouble(), 2.5);
  CHECK(IValue(true).isBool());
  CHECK_EQ(IValue("text").toStringRef(), "text");
  CHECK(IValue(std::vector<std::int64_t>{1, 2}).toIntVector() == std::vector<std::int64_t>{1, 2});
  CHECK(IValue(ones({2})).isTensor());
  CHECK_ERROR(IValue(3).toTensor(), "Expected Tensor but got Int");
}

// %%
TEST_CASE("lists, tuples and dictionaries of any kind: copies share, keys are found, order is kept") {
  impl::GenericDict dict;
  dict.insert("weight", ones({2}));
  dict.insert(7, "seven");
  const IValue value = dict;
  dict.insert("later", IValue());  // seen through every handle
  CHECK_EQ(value.toGenericDict().size(), 3);
  CHECK_EQ(value.toGenericDict().at(7).toStringRef(), "seven");
  CHECK(!dict.insert(7, "again"));
  CHECK_EQ(dict.at(7).toStringRef(), "seven");
  dict.insert_or_assign(7, 7.5);
  CHECK_EQ(dict.at(7).toDouble(), 7.5);
  std::string order;
  for (const auto& entry : dict) order += entry.key().isInt() ? "7 " : entry.key().toStringRef() + " ";
  CHECK_EQ(order, "weight 7 later ");
  CHECK_ERROR(dict.at("bias"), "Argument passed to at() was not in the map.");
  CHECK_ERROR(dict.insert(ones({1}), 1), "unhashable type: 'Tensor'");

  impl::GenericList list;
  list.push_back(1);
  list.push_back(2);
  CHECK(IValue(list).toIntVector() == std::vector<std::int64_t>{1, 2});
  list.push_back("three");
  CHECK_ERROR(IValue(list).toIntVector(), "Expected IntList but got a list that holds String");
  CHECK_ERROR(list.get(3), "list index out of range");
  CHECK_EQ(IValue(std::vector<double>{0.5}).toList().get(0).toDouble(), 0.5);
  CHECK_EQ(IValue(ivalue::Tuple::create({1, "x"})).toTupleRef().elements()[1].toStringRef(), "x");

  Dict<std::string, Tensor> state;
  state.insert("bias", zeros({3}));
  CHECK_EQ(IValue(state).toGenericDict().at("bias").toTensor(), zeros({3}));
}

// %% [markdown]
// ## Custom functions
//
// Gradients of operators follow from those of their parts. Sometimes one knows better: a formula that needs less memory, that is exact where the composed one cancels, or a gradient that is not the true one on purpose (rounding that lets gradients pass). Then one writes
// forward and backward oneself, as a class with two static functions, and calls `apply`:
//
// ```cpp
// struct Cube : autograd::Function<Cube> {
//   static Tensor forward(autograd::AutogradContext* ctx, const Tensor& x) {
//     ctx->save_for_backward({x});
//     return x * x * x;
//   }
//   static variable_list backward(autograd::AutogradContext* ctx, variable_list grads) {
//     const Tensor x = ctx->get_saved_variables()[0];
//     return {grads[0] * 3 * x * x};  // one gradient for each argument of forward, none for those that are no tensors
//   }
// };
// Tensor y = Cube::apply(x);
// ```
//
// `apply` runs forward without recording and makes one node of it:
//
//     arguments ---> forward, not recorded ---> results --- history ---> [CppNode<Cube>: context] --edges--> of the tensor arguments
//                         |                                                  ^
//                         +--- save_for_backward, saved_data ----------------+
//
// The context may say more: that an argument was written to (`mark_dirty`), that a result has no gradient (`mark_non_differentiable`), that absent gradients shall arrive as undefined tensors instead of zeros. If backward is made of operators, second derivatives follow, as everywhere.

// %%
//| export core/custom_function.h
namespace autograd {
using Variable = Tensor;
using tinytorch::AutoGradMode;
using tinytorch::Edge;
using tinytorch::edge_list;
using tinytorch::GradMode;
using tinytorch::InferenceMode;
using tinytorch::Node;
using tinytorch::variable_list;
using tensor_list = variable_list;

// What forward hands to backward. Source: torch/csrc/autograd/custom_function.h.
class AutogradContext {
 public:
  AutogradContext() = default;
  AutogradContext(const AutogradContext&) = delete;
  AutogradContext& operator=(const AutogradContext&) = delete;

  // Values that are not tensors.
  std::unordered_map<std::string, IValue> saved_data;

  // In forward, once: tensors that backward needs, arguments or results. Writes in between are noticed.
  void save_for_backward(variable_list to_save) { to_save_ = std::move(to_save); }
  // Arguments that forward wrote to; each must be returned.
  void mark_dirty(const variable_list& inputs);
  // Results without a gradient.
  void mark_non_differentiable(const variable_list& outputs);
  // With false, a gradient that did not arrive is an undefined tensor, not one of zeros.
  void set_materialize_grads(bool value) { materialize_grads_ = value; }

  // In backward: the tensors as they were saved. Throws if they were freed or written to.
  variable_list get_saved_variables() const;
  // In backward: whether anybody needs the gradient of tensor argument `index`.
  bool needs_input_grad(std::size_t index) const;

 private:
  friend class FunctionNode;
  using Impls = std::vector<TensorImpl*>;  // few, and each once
  static Impls impls_of(const variable_list& tensors);

  Impls dirty_;
  Impls non_differentiable_;
  variable_list to_save_;
  std::vector<SavedVariable> saved_;
  bool materialize_grads_ = true;
  std::weak_ptr<Node> node_;  // owns this context
};
}  // namespace autograd

// %%
//| export core/custom_function.h
namespace autograd {
// The node of a custom function, as far as it does not depend on which.
class FunctionNode : public Node {
 public:
  variable_list apply(variable_list&& grads) override;
  void release_variables() override;

  // Takes note of one argument of forward.
  void add_argument(const Tensor& argument);
  void add_argument(const std::optional<Tensor>& argument);
  void add_argument(TensorList arguments);
  template <class T>
  void add_argument(const T&) {
    add_other_argument();
  }
  // After the last argument: makes the edges. False if nothing is to be recorded.
  bool begin();
  // Gives the results of forward their history, and saves what forward asked to save.
  variable_list finish(variable_list outputs, bool records);

  AutogradContext context;

 private:
  virtual variable_list backward(variable_list grads) = 0;
  void add_other_argument();
  Tensor finish_output(const Tensor& output, bool records, std::size_t count);

  std::vector<bool> is_tensor_;  // of each argument
  variable_list inputs_;         // the tensor arguments, until finish()
  std::mutex mutex_;             // backward of one node runs in one thread at a time
};

// A readable form of typeid(...).name().
std::string demangle(const char* name);

template <class T>
class CppNode final : public FunctionNode {
 public:
  std::string name() const override { return "torch::autograd::CppNode<" + demangle(typeid(T).name()) + ">"; }  // as libtorch names it

 private:
  variable_list backward(variable_list grads) override { return T::backward(&context, std::move(grads)); }
};

template <class T, class... Args>
using forward_t = decltype(T::forward(nullptr, std::declval<Args>()...));

// Base class of custom functions: struct F : Function<F> with static functions
//   Tensor or variable_list forward(AutogradContext*, any arguments...)
//   variable_list backward(AutogradContext*, variable_list grads)
// F::apply(arguments...) returns what forward returns. Only arguments of type Tensor, optional<Tensor> and TensorList are part of the graph.
template <class T>
struct Function {
  template <class X = T, class... Args>
  static auto apply(Args&&... args) -> std::enable_if_t<std::is_same_v<X, T>, forward_t<X, Args...>> {
    const auto node = make_node<CppNode<T>>();
    (node->add_argument(args), ...);
    const bool records = node->begin();
    auto outputs = [&] {
      const NoGradGuard no_grad;
      return X::forward(&node->context, std::forward<Args>(args)...);
    }();
    if constexpr (std::is_same_v<decltype(outputs), Tensor>) {
      return node->finish({std::move(outputs)}, records)[0];
    } else {
      return node->finish(std::move(outputs), records);
    }
  }
};
}  // namespace autograd

// %%
//| export core/custom_function.cpp
std::string autograd::demangle(const char* name) {
  int status = 0;
  char* const readable = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string text = status == 0 ? readable : name;
  std::free(readable);
  return text;
}

variable_list autograd::AutogradContext::get_saved_variables() const {
  variable_list tensors;
  const std::shared_ptr<Node> owner = node_.lock();
  for (const SavedVariable& saved : saved_) tensors.push_back(saved.unpack(*owner));
  return tensors;
}

bool autograd::AutogradContext::needs_input_grad(std::size_t index) const {
  const std::shared_ptr<Node> node = node_.lock();
  TORCH_CHECK(index < node->num_outputs(), "needs_input_grad: index ", index, " is out of range for a function of ", node->num_outputs(), " tensor arguments");
  return node->task_should_compute_output(index);
}

namespace {
bool is_among(const std::vector<TensorImpl*>& impls, const Tensor& tensor) { return std::ranges::find(impls, tensor.unsafeGetTensorImpl()) != impls.end(); }
}  // namespace

void autograd::AutogradContext::mark_dirty(const variable_list& inputs) { dirty_ = impls_of(inputs); }
void autograd::AutogradContext::mark_non_differentiable(const variable_list& outputs) { non_differentiable_ = impls_of(outputs); }

autograd::AutogradContext::Impls autograd::AutogradContext::impls_of(const variable_list& tensors) {
  Impls impls;
  for (const Tensor& tensor : tensors)
    if (!is_among(impls, tensor)) impls.push_back(tensor.unsafeGetTensorImpl());
  return impls;
}

// %%
//| export core/custom_function.cpp
void autograd::FunctionNode::add_other_argument() { is_tensor_.push_back(false); }
void autograd::FunctionNode::add_argument(const Tensor& argument) {
  is_tensor_.push_back(true);
  inputs_.push_back(argument);
}
void autograd::FunctionNode::add_argument(const std::optional<Tensor>& argument) {
  if (argument && argument->defined()) {
    add_argument(*argument);
  } else {
    add_other_argument();
  }
}
void autograd::FunctionNode::add_argument(TensorList arguments) {
  for (const Tensor& argument : arguments) add_argument(argument);
}

bool autograd::FunctionNode::begin() {
  context.node_ = weak_from_this();
  bool any = false;
  for (const Tensor& input : inputs_) any = any || (input.defined() && input.requires_grad());
  if (!any || !is_recording()) return false;
  edge_list edges;
  for (const Tensor& input : inputs_) edges.push_back(input.defined() ? gradient_edge(input) : Edge());
  set_next_edges(std::move(edges));
  return true;
}

// %% [markdown]
// A result may be one of four things: a new tensor; an argument that forward wrote to, whose history changes as after any write in place; an argument as it was, which is returned as a view of itself, because its own history must stay; or a tensor that was marked to have no gradient.

// %%
//| export core/custom_function.cpp
Tensor autograd::FunctionNode::finish_output(const Tensor& output, bool records, std::size_t count) {
  const bool is_dirty = is_among(context.dirty_, output);
  bool is_input = false;
  for (const Tensor& input : inputs_) is_input = is_input || input.is_same(output);
  const bool differentiable = records && output.is_floating_point() && !is_among(context.non_differentiable_, output);
  const NoGradGuard no_grad;
  const Tensor result = is_input && !is_dirty ? output.view(output.sizes()) : output;
  if (!differentiable) {
    if (records) add_input_metadata(output);
    return result.requires_grad() && !result.is_view() ? result.detach() : result;
  }
  if (is_dirty) {
    TORCH_CHECK(!(output.is_leaf() && output.requires_grad()), "a leaf Variable that requires grad has been used in an in-place operation.");
    TORCH_CHECK(!output.is_view() || count == 1, "If your Function modifies inplace an input that is a view of another Tensor, your Function cannot return more than one Tensor. "
                "This is not supported by the current autograd engine.");
    rebase_history(output, shared_from_this());
    return output;
  }
  set_history(result, shared_from_this());
  if (AutogradMeta& meta = *autograd_meta(result); meta.view) meta.view->creation = CreationMeta::InCustomFunction;
  return result;
}

variable_list autograd::FunctionNode::finish(variable_list outputs, bool records) {
  std::size_t dirty = 0;
  for (const Tensor& output : outputs) dirty += is_among(context.dirty_, output) ? 1 : 0;
  TORCH_CHECK(dirty == context.dirty_.size(), "Some elements marked as dirty during the forward method were not returned as output. "
              "The inputs that are modified inplace must all be outputs of the Function.");
  for (Tensor& output : outputs)
    if (output.defined()) {
      if (is_among(context.dirty_, output)) detail::bump_version(output);
      output = finish_output(output, records, outputs.size());
    }
  if (records)
    for (const Tensor& tensor : context.to_save_) {
      const bool is_output = tensor.defined() && tensor.grad_fn().get() == this;
      context.saved_.emplace_back(tensor, is_output);
    }
  context.to_save_.clear();
  inputs_.clear();
  return outputs;
}

// %%
//| export core/custom_function.cpp
variable_list autograd::FunctionNode::apply(variable_list&& grads) {
  for (std::size_t i = 0; i < grads.size(); ++i)
    if (!grads[i].defined() && context.materialize_grads_) grads[i] = zeros(input_metadata(i).sizes, input_metadata(i).dtype);
  const std::lock_guard lock(mutex_);
  variable_list of_arguments = backward(std::move(grads));
  while (of_arguments.size() > is_tensor_.size() && !of_arguments.back().defined()) of_arguments.pop_back();
  TORCH_CHECK(of_arguments.size() == is_tensor_.size(), "function ", name(), " returned an incorrect number of gradients (expected ", is_tensor_.size(), ", got ",
              of_arguments.size(), ")");
  variable_list of_tensors;
  for (std::size_t i = 0; i < of_arguments.size(); ++i) {
    TORCH_CHECK(is_tensor_[i] || !of_arguments[i].defined(), "function ", name(), " returned a gradient different that is defined at position ", i + 1,
                ", std the corresponding forward input was not a Variable");
    if (is_tensor_[i]) of_tensors.push_back(std::move(of_arguments[i]));
  }
  return of_tensors;
}

void autograd::FunctionNode::release_variables() {
  for (SavedVariable& saved : context.saved_) saved.reset();
}

// %%
//| lesson
struct Power : autograd::Function<Power> {  // x^n, with a number beside the tensor and an optional weight
  static Tensor forward(autograd::AutogradContext* ctx, const Tensor& x, std::int64_t n, const std::optional<Tensor>& weight) {
    ctx->save_for_backward({x});
    ctx->saved_data["n"] = n;
    ctx->saved_data["weighted"] = weight.has_value();
    const Tensor power = x.pow(n);
    return weight ? power * *weight : power;
  }
  static variable_list backward(autograd::AutogradContext* ctx, variable_list grads) {
    const Tensor x = ctx->get_saved_variables()[0];
    const std::int64_t n = ctx->saved_data["n"].toInt();
    if (ctx->saved_data["weighted"].toBool()) return {grads[0] * x.pow(n - 1) * n, Tensor(), grads[0] * x.pow(n)};
    return {grads[0] * x.pow(n - 1) * n, Tensor(), Tensor()};
  }
};

struct SumAndProduct : autograd::Function<SumAndProduct> {  // two results and a mask
  static variable_list forward(autograd::AutogradContext* ctx, const Tensor& x, const Tensor& y) {
    const Tensor product = x * y;
    const Tensor mask = x > y;
    const Tensor floor_of_sum = (x + y).detach();
    ctx->save_for_backward({x, y, product});
    ctx->mark_non_differentiable({mask, floor_of_sum});
    return {x + y, product, mask, floor_of_sum};
  }
  static variable_list backward(autograd::AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    CHECK(grads[0].defined());  // zeros where nothing arrived
    return {grads[0] + grads[1] * saved[1], ctx->needs_input_grad(1) ? grads[0] + grads[1] * saved[0] : Tensor()};
  }
};

struct TwiceInPlace : autograd::Function<TwiceInPlace> {
  static Tensor forward(autograd::AutogradContext* ctx, Tensor x) {
    x.mul_(2);
    ctx->mark_dirty({x});
    return x;
  }
  static variable_list backward(autograd::AutogradContext*, variable_list grads) { return {grads[0] * 2}; }
};

// %%
TEST_CASE("custom functions: any arguments, and second derivatives") {
  const Tensor x = tensor({2.0, 3.0}, dtype(kDouble).requires_grad(true));
  const Tensor y = Power::apply(x, 3, std::nullopt);
  CHECK_EQ(y.detach(), tensor({8.0, 27.0}, kDouble));
  CHECK(y.grad_fn()->name().ends_with("Power>"));
  CHECK_EQ(y.grad_fn()->next_edges().size(), 1);
  const Tensor first = autograd::grad({y.sum()}, {x}, {}, true, true)[0];
  CHECK_EQ(first.detach(), tensor({12.0, 27.0}, kDouble));
  CHECK_EQ(autograd::grad({first.sum()}, {x})[0], tensor({12.0, 18.0}, kDouble));
  const Tensor weight = tensor({10.0, 10.0}, dtype(kDouble).requires_grad(true));
  Power::apply(x, 2, std::optional<Tensor>(weight)).sum().backward();
  CHECK_EQ(weight.grad(), tensor({4.0, 9.0}, kDouble));
  const NoGradGuard no_grad;
  CHECK(!Power::apply(x, 2, std::nullopt).requires_grad());
}

TEST_CASE("custom functions: several results, some without a gradient") {
  const Tensor x = tensor({2.0}, dtype(kDouble).requires_grad(true));
  const Tensor y = tensor({5.0}, dtype(kDouble).requires_grad(true));
  const variable_list results = SumAndProduct::apply(x, y);
  CHECK_EQ(results[1].output_nr(), 1);
  CHECK(!results[2].requires_grad());
  CHECK(!results[3].requires_grad());
  results[1].sum().backward({}, true);
  CHECK_EQ(x.grad(), tensor({5.0}, kDouble));
  CHECK_EQ(y.grad(), tensor({2.0}, kDouble));
  (results[0] + results[1]).sum().backward();
  CHECK_EQ(x.grad(), tensor({11.0}, kDouble));
  CHECK_ERROR(results[0].sum().backward(), "Trying to backward through the graph a second time");
  const Tensor again = autograd::grad({SumAndProduct::apply(x, x)[1]}, {x}, {}, true, true)[0];
  CHECK_EQ(autograd::grad({again}, {x})[0], tensor({2.0}, kDouble));
}

TEST_CASE("custom functions: an argument that forward wrote to") {
  const Tensor x = ones({3}, dtype(kDouble).requires_grad(true));
  CHECK_ERROR(TwiceInPlace::apply(x), "a leaf Variable that requires grad has been used in an in-place operation.");
  const Tensor w = ones({3}, dtype(kDouble).requires_grad(true));
  const Tensor y = w * 1.0;
  const Tensor z = TwiceInPlace::apply(y);
  CHECK(z.is_same(y));
  CHECK_EQ(y._version(), 2);
  y.sum().backward();
  CHECK_EQ(w.grad(), full({3}, 2.0, kDouble));
  const Tensor base = w * 1.0;
  TwiceInPlace::apply(base[0]);
  CHECK_EQ(base.grad_fn()->name(), "torch::autograd::CopySlices");
  w.mutable_grad() = Tensor();
  base.sum().backward();
  CHECK_EQ(w.grad(), tensor({2.0, 1.0, 1.0}, kDouble));
  const Tensor plain = ones({2});
  CHECK(TwiceInPlace::apply(plain).is_same(plain));
  CHECK_EQ(plain._version(), 2);
}

// %%
//| lesson
struct AsItIs : autograd::Function<AsItIs> {
  static Tensor forward(autograd::AutogradContext*, Tensor x) { return x; }
  static variable_list backward(autograd::AutogradContext*, variable_list grads) { return {grads[0] * 2}; }
};
struct DirtyButNotReturned : autograd::Function<DirtyButNotReturned> {
  static Tensor forward(autograd::AutogradContext* ctx, Tensor x) {
    x.mul_(2);
    ctx->mark_dirty({x});
    return x * 1;
  }
  static variable_list backward(autograd::AutogradContext*, variable_list grads) { return grads; }
};
struct OneGradientTooFew : autograd::Function<OneGradientTooFew> {
  static Tensor forward(autograd::AutogradContext*, const Tensor& x, double factor) { return x * factor; }
  static variable_list backward(autograd::AutogradContext*, variable_list grads) { return grads; }
};
struct GradientOfANumber : autograd::Function<GradientOfANumber> {
  static Tensor forward(autograd::AutogradContext*, const Tensor& x, double factor) { return x * factor; }
  static variable_list backward(autograd::AutogradContext*, variable_list grads) { return {grads[0], grads[0]}; }
};
struct WithoutZeros : autograd::Function<WithoutZeros> {
  static variable_list forward(autograd::AutogradContext* ctx, const Tensor& x) {
    ctx->set_materialize_grads(false);
    return {x * 2, x * 3};
  }
  static variable_list backward(autograd::AutogradContext*, variable_list grads) {
    CHECK(!grads[0].defined());
    return {grads[1] * 3};
  }
};

// %%
TEST_CASE("custom functions: what is refused, and an argument returned as it is") {
  const Tensor x = ones({3}, dtype(kDouble).requires_grad(true));
  const Tensor same = AsItIs::apply(x);
  CHECK(!same.is_same(x));
  CHECK(same.is_view());
  same.sum().backward();
  CHECK_EQ(x.grad(), full({3}, 2.0, kDouble));
  CHECK(x.is_leaf());
  CHECK_ERROR(AsItIs::apply(x * 1.0).mul_(2), "This view was created inside a custom Function (or because an input was returned as-is)");
  CHECK_ERROR(DirtyButNotReturned::apply(x * 1.0), "Some elements marked as dirty during the forward method were not returned as output.");
  CHECK_ERROR(OneGradientTooFew::apply(x, 2.0).sum().backward(), "returned an incorrect number of gradients (expected 2, got 1)");
  CHECK_ERROR(GradientOfANumber::apply(x, 2.0).sum().backward(), "returned a gradient different that is defined at position 2");
  x.mutable_grad() = Tensor();
  WithoutZeros::apply(x)[1].sum().backward();
  CHECK_EQ(x.grad(), full({3}, 3.0, kDouble));
}

// %% [markdown]
// ## Anomaly mode
//
// A NaN in a gradient names at best a node, say `SqrtBackward0`, and there may be a hundred of those. The line to look at is in the forward pass, which is over. So each node made in anomaly mode keeps the *calls in progress* at that moment: the return addresses on the
// stack, which `backtrace()` of the C library copies out in about a microsecond. Names and lines are looked up only if something fails, by `addr2line`, which comes with the compiler and reads the debug information that `-g` leaves in a program (without it, names of functions remain).
//
//     forward    y = loss_of(x) ---> sqrt ---> SqrtBackward0 { 0x4011d6, 0x401242, 0x4013aa, ... }
//     backward   SqrtBackward0 returns NaN ---> addr2line ---> "loss_of(...) at model.cpp:17", "main at train.cpp:40"

// %%
//| export core/anomaly_mode.h
// The calls in progress at one point of the program, innermost first, kept as addresses.
class StackTrace {
 public:
  static StackTrace here();
  // A line for each call: "function at file:line", as far as the program's symbols and debug information (-g) tell.
  std::vector<std::string> lines() const;
  std::string text() const;
  // The line of the innermost call that is not the framework's own.
  std::string caller() const;

 private:
  std::vector<void*> calls_;
};

// A mode for debugging, of all threads: nodes remember where they were recorded; a gradient that is NaN is an error; and an error in a
// backward pass warns with the calls that led to the node. Costs time: for finding faults only. Source: torch/csrc/autograd/anomaly_mode.h.
class AnomalyMode {
 public:
  static bool is_enabled() { return anomaly_mode.load(std::memory_order_relaxed); }
  static bool should_check_nan() { return check_nan_.load(std::memory_order_relaxed); }
  static void set_enabled(bool enabled, bool check_nan = true) {
    anomaly_mode = enabled;
    check_nan_ = check_nan;
  }

 private:
  static inline std::atomic<bool> check_nan_{true};
};

// Anomaly mode for a scope.
class DetectAnomalyGuard {
 public:
  DetectAnomalyGuard(bool check_nan = true);
  ~DetectAnomalyGuard() { AnomalyMode::set_enabled(was_enabled_, checked_nan_); }
  DetectAnomalyGuard(const DetectAnomalyGuard&) = delete;
  DetectAnomalyGuard& operator=(const DetectAnomalyGuard&) = delete;

 private:
  bool was_enabled_ = AnomalyMode::is_enabled();
  bool checked_nan_ = AnomalyMode::should_check_nan();
};

namespace autograd {
using tinytorch::AnomalyMode;
using tinytorch::DetectAnomalyGuard;
}  // namespace autograd

// %%
//| export core/anomaly_mode.cpp
StackTrace StackTrace::here() {
  StackTrace trace;
  trace.calls_.resize(64);
  trace.calls_.resize(static_cast<std::size_t>(backtrace(trace.calls_.data(), 64)));
  return trace;
}

namespace {
// Where in which file of the process a call stands.
struct CodePlace {
  std::string file;
  std::uintptr_t offset = 0;
};

CodePlace place_of_call(void* return_address) {
  Dl_info info{};
  link_map* object = nullptr;
  const auto address = reinterpret_cast<std::uintptr_t>(return_address) - 1;  // it stands behind the call
  if (dladdr1(return_address, &info, reinterpret_cast<void**>(&object), RTLD_DL_LINKMAP) == 0 || object == nullptr) return {"", address};
  std::error_code ignored;
  const std::string program = std::filesystem::read_symlink("/proc/self/exe", ignored).string();
  return {*object->l_name == '\0' ? program : std::string(object->l_name), address - object->l_addr};
}

// What addr2line says about some places in one file: "function at file:line" for each.
std::vector<std::string> look_up(const std::string& file, const std::vector<std::uintptr_t>& offsets) {
  std::vector<std::string> lines(offsets.size(), "?? at ??:0");
  if (file.empty() || file.find('\'') != std::string::npos) return lines;
  std::string command = "addr2line -C -f -e '" + file + "'";
  for (const std::uintptr_t offset : offsets) {
    char text[32];
    std::snprintf(text, sizeof text, " %#zx", static_cast<std::size_t>(offset));
    command += text;
  }
  FILE* const pipe = popen((command + " 2>/dev/null").c_str(), "r");
  if (pipe == nullptr) return lines;
  const auto read_line = [pipe] {
    std::string line;
    for (int c = std::fgetc(pipe); c != EOF && c != '\n'; c = std::fgetc(pipe)) line += static_cast<char>(c);
    return line;
  };
  for (std::string& line : lines) {
    const std::string function = read_line();
    const std::string where = read_line();
    if (!function.empty()) line = function + " at " + where;
  }
  pclose(pipe);
  return lines;
}

bool is_own(const std::string& line) {
  for (const char* const part : {"tinytorch/core/", "tinytorch/nn/", "tinytorch::Node::", "tinytorch::detail::", "tinytorch::Operator<", "tinytorch::make_node", "tinytorch::record_place", "tinytorch::StackTrace"})
    if (line.find(part) != std::string::npos) return true;
  return line.starts_with("??");
}
}  // namespace

std::vector<std::string> StackTrace::lines() const {
  std::vector<std::string> all;
  for (std::size_t i = 0; i < calls_.size();) {
    const std::string file = place_of_call(calls_[i]).file;
    std::vector<std::uintptr_t> offsets;  // neighbours in the same file are looked up together
    for (CodePlace place = place_of_call(calls_[i]); place.file == file; place = place_of_call(calls_[i])) {
      offsets.push_back(place.offset);
      if (++i == calls_.size()) break;
    }
    for (std::string& line : look_up(file, offsets)) all.push_back(std::move(line));
  }
  return all;
}

std::string StackTrace::text() const {
  std::string text;
  for (const std::string& line : lines()) text += "  " + line + "\n";
  return text;
}

std::string StackTrace::caller() const {
  for (const std::string& line : lines())
    if (!is_own(line)) return line;
  return "an unknown function";
}

// %% [markdown]
// In the engine, a node is applied with checks while the mode is on. A node that is recorded *during* a backward pass (`create_graph`) has a parent, the node that was being applied: the warning follows the parents down to the forward pass.

// %%
//| export core/anomaly_mode.cpp
struct AnomalyRecord {
  StackTrace place;
  std::shared_ptr<Node> parent;  // the node in whose gradient function this one was recorded
};

namespace {
thread_local constinit Node* being_applied = nullptr;

struct BeingAppliedGuard {
  explicit BeingAppliedGuard(Node* node) : before(std::exchange(being_applied, node)) {}
  ~BeingAppliedGuard() { being_applied = before; }
  BeingAppliedGuard(const BeingAppliedGuard&) = delete;
  BeingAppliedGuard& operator=(const BeingAppliedGuard&) = delete;
  Node* before;
};

const AnomalyRecord* record_of(const Node& node) { return node.watchers() == nullptr ? nullptr : node.watchers()->anomaly_record.get(); }

void warn_with_calls(const Node& node) {
  const AnomalyRecord* record = record_of(node);
  if (record == nullptr) {
    TORCH_WARN("Error detected in ", node.name(), ". No forward pass information available. Enable detect anomaly during forward pass for more information.");
    return;
  }
  TORCH_WARN("Error detected in ", node.name(), ". Traceback of forward call that caused the error:\n", record->place.text());
  while (const std::shared_ptr<Node> parent = record->parent) {
    record = record_of(*parent);
    if (record == nullptr) return;
    TORCH_WARN("\n\nPrevious calculation was induced by ", parent->name(), ". Traceback of forward call that induced the previous calculation:\n", record->place.text());
  }
}
}  // namespace

std::shared_ptr<const AnomalyRecord> record_place() {
  return std::make_shared<AnomalyRecord>(AnomalyRecord{StackTrace::here(), being_applied == nullptr ? nullptr : being_applied->shared_from_this()});
}

// Applies `node`. A NaN among its results is an error; an error warns with the calls that were in progress when the node was recorded, and
// its message says the line.
variable_list apply_with_checks(Node& node, variable_list&& grads) {
  const BeingAppliedGuard guard(&node);
  try {
    variable_list results = node(std::move(grads));
    for (std::size_t i = 0; i < results.size() && AnomalyMode::should_check_nan(); ++i)
      TORCH_CHECK(!results[i].defined() || results[i].equal(results[i]), "Function '", node.name(), "' returned nan values in its ", i, "th output.");
    return results;
  } catch (Error& error) {
    warn_with_calls(node);
    if (const AnomalyRecord* const record = record_of(node)) error.add_context(node.name() + " was recorded by " + record->place.caller());
    throw;
  }
}

DetectAnomalyGuard::DetectAnomalyGuard(bool check_nan) {
  TORCH_WARN_ONCE("This mode should be enabled only for debugging as the different tests will slow down your program execution.");
  AnomalyMode::set_enabled(true, check_nan);
}

// %%
//| lesson
// Collects warnings instead of printing them.
struct CollectedWarnings : WarningHandler {
  void process(const Warning& warning) override { messages.push_back(warning.msg()); }
  std::vector<std::string> messages;
};

[[gnu::noinline]] Tensor root_of_a_zero(const Tensor& x) { return (x * 0).sqrt(); }

// %%
TEST_CASE("anomaly mode: a NaN in a gradient names the node and the function of the forward pass") {
  CollectedWarnings warnings;
  const WarningUtils::WarningHandlerGuard handler(&warnings);
  const Tensor x = ones({1}, requires_grad());
  (root_of_a_zero(x) * 0).sum().backward();  // without the mode: silently NaN
  CHECK(std::isnan(x.grad().item<double>()));
  const DetectAnomalyGuard guard;
  const Tensor y = (root_of_a_zero(x) * 0).sum();
  CHECK_ERROR(y.backward(), "Function 'SqrtBackward0' returned nan values in its 0th output.");
  REQUIRE(!warnings.messages.empty());
  const std::string& last = warnings.messages.back();
  CHECK(last.find("Error detected in SqrtBackward0. Traceback of forward call that caused the error:") == 0);
  CHECK(last.find("root_of_a_zero") != std::string::npos);
}

TEST_CASE("anomaly mode: the message itself says who recorded the node; a failed version check does, too") {
  CollectedWarnings warnings;
  const WarningUtils::WarningHandlerGuard handler(&warnings);
  const DetectAnomalyGuard guard(false);
  const Tensor x = ones({1}, requires_grad());
  const Tensor root = (x * 2).sqrt();
  root.add_(1);
  CHECK_ERROR(root.sum().backward(), "has been modified by an inplace operation");
  const Tensor y = root_of_a_zero(x).sum();
  y.backward();  // NaN is not looked for
  CHECK(std::isnan(x.grad().item<double>()));
}

TEST_CASE("anomaly mode: a node of a second derivative leads back to the first") {
  CollectedWarnings warnings;
  const WarningUtils::WarningHandlerGuard handler(&warnings);
  const DetectAnomalyGuard guard;
  const Tensor x = tensor({0.0}, dtype(kDouble).requires_grad(true));
  const Tensor first = autograd::grad({x.pow(1.5)}, {x}, {}, true, true)[0];
  warnings.messages.clear();
  CHECK_ERROR(autograd::grad({first}, {x}, {tensor({0.0}, kDouble)}), "returned nan values");
  CHECK_EQ(warnings.messages.size(), 2);
  CHECK(warnings.messages.back().find("Previous calculation was induced by PowBackward0.") != std::string::npos);
}

// %% [markdown]
// ## Threads, and engines inside engines
//
// A run's state belongs to the run, so several may go on at once: in threads, each through a graph of its own with leaves in common, and inside each other, when a node or a hook calls `backward`.

// %%
TEST_CASE("threads go back through graphs with common leaves, hooks and views") {
  const Tensor x = ones({100, 10}, dtype(kDouble).requires_grad(true));
  std::atomic<int> hooked{0};
  x.register_hook([&](const Tensor&) { ++hooked; });
  std::vector<std::thread> threads;
  std::vector<std::exception_ptr> errors(4);  // an exception must not leave its thread
  for (std::size_t i = 0; i < errors.size(); ++i)
    threads.emplace_back([&, i] {
      try {
        for (int step = 0; step < 25; ++step) {
          const Tensor y = x * 2.0;
          y[static_cast<std::int64_t>(i)].mul_(1.0);
          y.sum().backward();
        }
      } catch (...) {
        errors[i] = std::current_exception();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
  CHECK_EQ(x.grad(), full({100, 10}, 200.0, kDouble));
  CHECK_EQ(hooked, 100);
}

TEST_CASE("a backward pass inside a backward pass, and checkpoints inside checkpoints") {
  const Tensor x = tensor({2.0}, dtype(kDouble).requires_grad(true));
  const Tensor inner = tensor({3.0}, dtype(kDouble).requires_grad(true));
  const Tensor y = x * x;
  y.register_hook([&](const Tensor&) {
    const AutoGradMode recording(true);
    (inner * inner).sum().backward();
  });
  y.sum().backward();
  CHECK_EQ(x.grad(), tensor({4.0}, kDouble));
  CHECK_EQ(inner.grad(), tensor({6.0}, kDouble));
  x.mutable_grad() = Tensor();
  const auto cube = [](const Tensor& t) { return t * t * t; };
  const auto nested = [&](const Tensor& t) { return autograd::checkpoint(cube, t) * t; };
  autograd::checkpoint(nested, x).sum().backward();
  CHECK_EQ(x.grad(), tensor({32.0}, kDouble));  // 4 x^3
}

// %% [markdown]
// What checkpointing (module 05) is for: the memory of a whole training step.

// %%
//| lesson
// Eight pointwise steps, which keep about eight tensors for the backward pass.
Tensor eight_steps(const Tensor& x) {
  Tensor y = x;
  for (int i = 0; i < 4; ++i) y = (y * 1.01).exp().log();
  return y;
}

// %%
TEST_CASE("checkpoint: the peak of a whole step falls") {
  const Tensor x = full({10000}, 0.5, requires_grad());
  const auto peak_of = [&](const auto& four_blocks) {
    memory::reset_peak();
    const std::size_t before = memory::stats().live;
    four_blocks().sum().backward();
    return memory::stats().peak - before;
  };
  const std::size_t recorded = peak_of([&] { return eight_steps(eight_steps(eight_steps(eight_steps(x)))); });
  const std::size_t checkpointed = peak_of([&] {
    Tensor y = x;
    for (int i = 0; i < 4; ++i) y = autograd::checkpoint(eight_steps, y);
    return y;
  });
  CHECK(checkpointed * 2 < recorded);
}

// %% [markdown]
// ## Properties
//
// What holds for every program of operators: the gradient is linear in what is sent back, it is the derivative along any direction, and adding programs adds gradients. The programs here are drawn at random, from a seed that a failing test prints.

// %%
//| lesson
// A program of `steps` random operators on x, which keeps its sizes and stays away from kinks. The same generator, the same program.
Tensor random_program(const Tensor& x, std::uint64_t seed, int steps) {
  Generator choose(seed);
  std::vector<Tensor> values = {x};
  const auto any = [&] { return values[choose.random() % values.size()]; };
  for (int step = 0; step < steps; ++step) {
    switch (choose.random() % 9) {
      case 0: values.push_back(any() + any() * 0.5); break;
      case 1: values.push_back(any() * any() * 0.1); break;
      case 2: values.push_back(any().sin()); break;
      case 3: values.push_back((any() * 0.1).exp()); break;
      case 4: values.push_back(any() / (any() * any() + 2)); break;
      case 5: values.push_back(any() - any().mean({0}, true)); break;
      case 6: values.push_back(any().t().reshape({-1}).view({x.size(1), x.size(0)}).t()); break;
      case 7: {
        const Tensor fresh = any() * 1.5;
        fresh[0].mul_(0.5);
        values.push_back(fresh);
        break;
      }
      default: values.push_back(autograd::checkpoint([](const Tensor& t) { return t.cos() * 0.5; }, any())); break;
    }
  }
  return values.back() + x * 0.1;
}

// %%
TEST_CASE("random programs: gradients are linear, and agree with differences along a direction") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    manual_seed(seed);
    const Tensor x = randn({2, 3}, dtype(kDouble).requires_grad(true));
    const Tensor y = random_program(x, seed, 12);
    const Tensor u = randn({2, 3}, kDouble);
    const Tensor v = randn({2, 3}, kDouble);
    const auto back = [&](const Tensor& g) { return autograd::grad({random_program(x, seed, 12)}, {x}, {g})[0]; };
    CHECK_CLOSE(back(u * 2 + v * -3), back(u) * 2 + back(v) * -3, 1e-9, 1e-11);
    // <u, J d> by differences, and <J^T u, d>
    const Tensor d = randn({2, 3}, kDouble);
    const double h = 1e-6;
    const auto value = [&](double step) {
      const Tensor at = (x.detach() + d * step).requires_grad_();
      return (random_program(at, seed, 12).detach() * u).sum().item<double>();
    };
    const double by_differences = (value(h) - value(-h)) / (2 * h);
    const double by_graph = (back(u) * d).sum().item<double>();
    CHECK(std::abs(by_differences - by_graph) <= 1e-6 * (1 + std::abs(by_graph)));
  }
}

// %%
}  // namespace tinytorch
