// From the lesson modules/64_gradient_table/gradient_table_dev.cpp:
// edit the module, not this file.
#pragma once

#include <array>
#include <new>
#include <tuple>

#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/saved_variable.h"

namespace tinytorch {

// The parameters of a gradient after the gradient that arrives say what it needs from the forward call:
template <std::size_t I>
struct Input : Tensor {};  // input I, saved
template <std::size_t I>
struct OutputAt : Tensor {};  // output I, saved
using Output = OutputAt<0>;
template <std::size_t I>
struct Sizes : DimVector {};  // the sizes of input I
template <std::size_t I, class T>
struct Arg {  // argument I, which is no tensor
  T value{};
  operator const T&() const { return value; }
};

// Stands in place of a gradient for an input that has none (a mask, an index).
struct NoGradient {
  Tensor operator()(const Tensor&) const { return {}; }
};
inline constexpr NoGradient no_gradient{};

namespace detail {
template <class T>
inline constexpr bool is_tensor_argument = std::is_same_v<std::remove_cvref_t<T>, Tensor> ||
                                           std::is_same_v<std::remove_cvref_t<T>, std::optional<Tensor>> ||
                                           std::is_same_v<std::remove_cvref_t<T>, TensorList>;

// Always inlined, as wants_gradient() is.
[[gnu::always_inline]] inline bool needs_grad(const Tensor& tensor) { return tensor.defined() && wants_gradient(tensor); }
inline bool needs_grad(const std::optional<Tensor>& tensor) { return tensor && needs_grad(*tensor); }
inline bool needs_grad(TensorList list) {
  for (const Tensor& tensor : list)
    if (needs_grad(tensor)) return true;
  return false;
}

// The edge is made where it stays. To move one there, the processor would read it back as a whole before its halves have been written, and wait: a fiftieth of an addition.
inline void append_edges(Node& node, const Tensor& tensor) {
  Edge& place = node.add_next_edge();
  if (tensor.defined()) ::new (static_cast<void*>(&place)) Edge(gradient_edge(tensor));
}
inline void append_edges(Node& node, const std::optional<Tensor>& tensor) { append_edges(node, tensor.value_or(Tensor())); }
inline void append_edges(Node& node, TensorList list) {
  for (const Tensor& tensor : list) append_edges(node, tensor);
}

inline void append_gradients(variable_list& out, Tensor gradient) { out.push_back(std::move(gradient)); }
void append_gradients(variable_list& out, const std::vector<Tensor>& gradients);

// "log_softmax" -> "LogSoftmaxBackward0"; of the second overload "MulBackward1"
std::string node_name(const char* operator_name, bool second = false);

template <auto& Op, auto&... Others>
constexpr bool is_one_of = ((static_cast<const void*>(&Op) == static_cast<const void*>(&Others)) || ...);
// PyTorch counts the overloads of an operator in the names of nodes: x * y records MulBackward0 and x * 2 MulBackward1, x.sum() SumBackward0 and x.sum(0) SumBackward1.
template <auto& Op>
constexpr bool counts_numbers = is_one_of<Op, op::add, op::add_, op::sub, op::sub_, op::mul, op::mul_, op::div, op::div_>;
template <auto& Op>
constexpr bool counts_dims = is_one_of<Op, op::sum>;

// Whether the call is that of the second overload. A difference and a quotient cannot be turned, so that 1 - x is a call with two tensors.
template <auto& Op, class Arguments>
bool is_second_overload([[maybe_unused]] const Arguments& arguments) {
  if constexpr (counts_numbers<Op>) {
    return std::get<1>(arguments).impl().wrapped_number || (is_one_of<Op, op::add, op::mul> && std::get<0>(arguments).impl().wrapped_number);
  } else if constexpr (counts_dims<Op>) {
    return !std::get<1>(arguments).empty();
  }
  return false;
}
// How each kind of parameter is filled at the forward call and read back in the backward pass.
template <class P>
struct Keeper;

template <std::size_t I>
struct Keeper<Input<I>> {
  SavedVariable saved;
  template <class Arguments>
  void keep_input(const Arguments& arguments, bool in_place) {
    keep(std::get<I>(arguments), in_place);
  }
  void keep(const Tensor& value, bool in_place) {
    // A write in place is about to destroy input 0: what it held is kept as a copy.
    if (I == 0 && in_place) saved.save(value.clone(), false);
    else saved.save(value, false);
  }
  void keep(const std::optional<Tensor>& value, bool in_place) { keep(value.value_or(Tensor()), in_place); }
  void keep_output(TensorList) {}
  Input<I> get(Node& owner) const { return {saved.unpack(owner)}; }
  void release() { saved.reset(); }
};

template <std::size_t I>
struct Keeper<OutputAt<I>> {
  SavedVariable saved;
  template <class Arguments>
  void keep_input(const Arguments&, bool) {}
  void keep_output(TensorList outputs) { saved.save(outputs[I], true); }
  OutputAt<I> get(Node& owner) const { return {saved.unpack(owner)}; }
  void release() { saved.reset(); }
};

template <std::size_t I>
struct Keeper<Sizes<I>> {
  Sizes<I> sizes;
  template <class Arguments>
  void keep_input(const Arguments& arguments, bool) {
    sizes = Sizes<I>{DimVector(std::get<I>(arguments).sizes())};
  }
  void keep_output(TensorList) {}
  const Sizes<I>& get(Node&) const { return sizes; }
  void release() {}
};

template <std::size_t I, class T>
struct Keeper<Arg<I, T>> {
  Arg<I, T> argument;
  template <class Arguments>
  void keep_input(const Arguments& arguments, bool) {
    argument.value = T(std::get<I>(arguments));
  }
  void keep_output(TensorList) {}
  const Arg<I, T>& get(Node&) const { return argument; }
  void release() {}
};

// A gradient function with everything that its parameters ask for.
template <class P>
using KeeperOf = Keeper<std::remove_cvref_t<P>>;
template <class F, class Call = decltype(&F::operator())>
struct Keepers;
template <class F, class R, class... P>
struct Keepers<F, R (F::*)(const Tensor&, P...) const> : KeeperOf<P>... {
  template <class Arguments>
  void keep_inputs([[maybe_unused]] const Arguments& arguments, [[maybe_unused]] bool in_place) {
    (KeeperOf<P>::keep_input(arguments, in_place), ...);
  }
  void keep_outputs([[maybe_unused]] TensorList outputs) { (KeeperOf<P>::keep_output(outputs), ...); }
  R call(const Tensor& grad, [[maybe_unused]] Node& owner) const { return F{}(grad, KeeperOf<P>::get(owner)...); }
  void release() { (KeeperOf<P>::release(), ...); }
};
// The gradient function of tensor argument N with what it saved, if that argument needs a gradient.
template <std::size_t N, class F>
struct Slot {
  std::size_t edges = 0;  // more than one for a list of tensors
  std::optional<Keepers<F>> kept;

  // Whether the run asks for the gradient of one of the owner's inputs from `first` on that are this slot's.
  bool is_asked_for(const Node& owner, std::size_t first) const {
    if (asked_gradients == nullptr) return true;
    for (std::size_t edge = first; edge < first + edges; ++edge)
      if (owner.task_should_compute_output(edge)) return true;
    return false;
  }

  void append(const Tensor& grad, Node& owner, variable_list& result) const {
    if (kept && grad.defined() && is_asked_for(owner, result.size())) {
      append_gradients(result, kept->call(grad, owner));
    } else {
      result.resize(result.size() + edges);
    }
  }
  void keep_outputs(TensorList outputs) {
    if (kept) kept->keep_outputs(outputs);
  }
  void forget() {
    if (kept) kept->release();
  }
};

// The node of an operator: one slot for each of its tensor arguments. Slots are base classes, and so are keepers: tuples of them would compile
// half as long again, and there are some hundred operators.
template <class Numbers, class... Fs>
class GradientNode;
template <std::size_t... N, class... Fs>
class GradientNode<std::index_sequence<N...>, Fs...> : public Node, public Slot<N, Fs>... {
 public:
  GradientNode(const char* operator_name, bool second) : operator_name_(operator_name), second_(second) {}
  std::string name() const override { return node_name(operator_name_, second_); }

  variable_list apply(variable_list&& grads) override {
    const Tensor grad = std::move(grads[0]);
    variable_list result = std::move(grads);  // its memory serves again
    result.clear();
    result.reserve(next_edges().size());
    (Slot<N, Fs>::append(grad, *this, result), ...);
    return result;
  }
  void release_variables() override { (Slot<N, Fs>::forget(), ...); }
  void keep_outputs(TensorList outputs) { (Slot<N, Fs>::keep_outputs(outputs), ...); }

 private:
  const char* operator_name_;
  bool second_;  // its second overload was called
};
}  // namespace detail

namespace detail {
// The results of an operator, one after the other, without a copy of a single one.
inline const Tensor& outputs_of(const Tensor& result) { return result; }
inline const std::vector<Tensor>& outputs_of(const std::vector<Tensor>& results) { return results; }
template <class... T>
std::array<Tensor, sizeof...(T)> outputs_of(const std::tuple<T...>& results) {
  return std::apply([](const auto&... output) { return std::array<Tensor, sizeof...(T)>{output...}; }, results);
}

// The place among the parameters of the N-th one that is a tensor.
template <std::size_t N, class... Args>
constexpr std::size_t tensor_position() {
  std::size_t place = 0, found = 0, at = sizeof...(Args);
  ((is_tensor_argument<Args> && found++ == N ? at = place++ : place++), ...);
  return at;
}

// The Autograd layer of operator Op: records a node and calls the layers below.
template <auto& Op, class Signature, class Numbers, class... Fs>
struct Recorded;

template <auto& Op, class R, class... Args, std::size_t... N, class... Fs>
struct Recorded<Op, Operator<R(Args...)>, std::index_sequence<N...>, Fs...> {
  static constexpr bool in_place = std::is_same_v<R, const Tensor&>;
  using Arguments = std::tuple<const Args&...>;
  using RecordedNode = GradientNode<std::index_sequence<N...>, Fs...>;

  template <std::size_t Number>
  static const auto& input(const Arguments& arguments) {
    return std::get<tensor_position<Number, Args...>()>(arguments);
  }

  static bool any_needs_grad(const Arguments& arguments) {
    return ((!std::is_same_v<Fs, NoGradient> && needs_grad(input<N>(arguments))) || ...);
  }

  // A node with its edges and what the gradient functions ask for of the inputs.
  static std::shared_ptr<RecordedNode> record(const Arguments& arguments) {
    auto node = make_node<RecordedNode>(Op.name(), is_second_overload<Op>(arguments));
    (fill<Slot<N, Fs>, std::is_same_v<Fs, NoGradient>>(*node, input<N>(arguments), arguments), ...);
    return node;
  }
  template <class SlotOfInput, bool nowhere>
  static void fill(RecordedNode& node, const auto& argument, const Arguments& arguments) {
    SlotOfInput& slot = node;
    const std::size_t before = node.num_outputs();
    const bool needed = !nowhere && needs_grad(argument);
    if constexpr (nowhere || !std::is_same_v<std::remove_cvref_t<decltype(argument)>, TensorList>) {
      if (!needed) {
        node.add_next_edge();
        slot.edges = 1;
        return;
      }
    }
    append_edges(node, argument);
    if (needed) slot.kept.emplace().keep_inputs(arguments, in_place);
    slot.edges = node.num_outputs() - before;
  }

  static R below(Args... args) {
    const ExcludeLayersGuard guard(Layer::Autograd);
    return Op(std::forward<Args>(args)...);
  }

  static R call(Args... args) {
    const Arguments arguments(args...);
    if constexpr (in_place) check_inplace(std::get<0>(arguments), any_needs_grad(arguments));
    if (!is_recording() || !any_needs_grad(arguments)) return below(std::forward<Args>(args)...);
    auto node = record(arguments);
    R result = below(args...);
    const auto& held = outputs_of(result);
    const TensorList outputs(held);
    node->keep_outputs(outputs);
    if constexpr (in_place) {
      rebase_history(result, node);
    } else if constexpr (std::is_same_v<R, Tensor>) {
      set_history(result, std::move(node));  // the usual case: the count of owners is left alone
    } else {
      for (const Tensor& output : outputs) set_history(output, node);
    }
    return result;
  }
};
}  // namespace detail

// The Autograd layer made of one gradient function for each tensor argument. A gradient function takes the gradient of
// the result and what it names as further parameters. It need not sum over broadcast dimensions: the engine does.
template <auto& Op, class... Fs>
constexpr auto gradient_of(Fs...) {
  return &detail::Recorded<Op, std::remove_cvref_t<decltype(Op)>, std::index_sequence_for<Fs...>, Fs...>::call;
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

// The gradient of a reduction over `dims` (none: all) of a tensor of `sizes`, stretched back to those sizes. A view.
Tensor unreduce(const Tensor& grad, IntArrayRef sizes, IntArrayRef dims, bool keepdim);
// grad * factor; `grad` itself when the factor is 1, as the alpha of most sums and products is.
Tensor scaled(const Tensor& grad, const Scalar& factor);

// Whether a matrix lies in memory as a transposed one, which Arg<I, LiesTransposed> keeps of input I.
struct LiesTransposed {
  LiesTransposed() = default;
  explicit LiesTransposed(const Tensor& matrix) : value(matrix.stride(0) == 1 && matrix.stride(1) != 1) {}
  bool value = false;
};
// The gradient of the second factor of a product. It lies in memory as that factor does, so that the gradient of the weight behind x.mm(weight.t()) comes out dense.
Tensor mm_mat2_backward(const Tensor& grad, const Tensor& self, LiesTransposed mat2);

}  // namespace tinytorch
