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
// # Library chapter 64: Gradients as a table
//
// Module 05 writes the node of one product by hand. Here the nodes of all operators are made of their formulas alone: one function for each tensor argument, whose parameters say what it needs of the forward call. Then comes the table itself, for the operators of modules 01 and 02.
//
//     gradient function  --parameters-->  Keeper for each: how to save it, how to give it back
//     Slot               = function + keepers, if its input needs a gradient
//     GradientNode       = slots; apply() calls each
//     Recorded::call     = the function on the Autograd layer: record, call the layers below, set history

// %%
//| after 05
//| export core/gradient.h
#include <array>
#include <new>
#include <tuple>
#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/saved_variable.h"
//| export core/gradients_basic.cpp
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"
//| export core/gradients_views.cpp
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/gradient_formulas.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"
//| export nn/gradients.cpp
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/gradient_formulas.h"
#include "tinytorch/nn/activations.h"

// %%
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/activations.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## What a gradient asks for
//
// The parameters of a gradient function after the gradient that arrives name an input, an output, the sizes of an input, or an argument that is no tensor:
//
// ```cpp
// gradient<op::mul>([](const Tensor& g, Input<1> other) { return g * other; },     // towards input 0: needs input 1
//                   [](const Tensor& g, Input<0> self) { return g * self; });      // towards input 1: needs input 0
// gradient<op::exp>([](const Tensor& g, Output result) { return g * result; });    // exp is its own derivative
// ```

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

// %% [markdown]
// ## From parameters to a node
//
// A `Keeper` for each parameter saves what it stands for, and gives it back in the backward pass. `Keepers` are those of one function; a `Slot` has them only if its input needs a gradient.

// %%
//| export core/gradient.h
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

// %% [markdown]
// `Recorded<Op, ...>::call` is what the layer Autograd holds for an operator. It goes through the call's arguments and the gradient functions side by side: the N-th function belongs to the N-th tensor argument.

// %%
//| export core/gradient.h
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

// %%
//| export core/gradient.h
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

// %%
//| export core/gradient.cpp
void detail::append_gradients(variable_list& out, const std::vector<Tensor>& gradients) { out.insert(out.end(), gradients.begin(), gradients.end()); }

std::string detail::node_name(const char* operator_name, bool second) {
  std::string name;
  bool capital = true;
  for (const char* c = operator_name; *c != '\0'; ++c) {
    if (*c == '_') {
      capital = true;
      continue;
    }
    name += capital && *c >= 'a' && *c <= 'z' ? static_cast<char>(*c - 'a' + 'A') : *c;
    capital = *c >= '0' && *c <= '9';
  }
  return name + "Backward" + (second ? "1" : "0");
}

// %%
TEST_CASE("nodes: names as PyTorch has them, of operators and their overloads") {
  const Tensor w = ones({3}, requires_grad());
  CHECK_EQ((w * ones({3})).grad_fn()->name(), "MulBackward0");
  CHECK_EQ((w + ones({3})).grad_fn()->name(), "AddBackward0");
  CHECK_EQ((2 * w).grad_fn()->name(), "MulBackward1");
  CHECK_EQ(w.sum().grad_fn()->name(), "SumBackward0");
  CHECK_EQ(w.sum(0).grad_fn()->name(), "SumBackward1");
  CHECK_EQ(detail::node_name("max_pool2d_with_indices"), "MaxPool2DWithIndicesBackward0");
}

TEST_CASE("nodes: an edge for each tensor argument, to nowhere where no gradient is asked for") {
  const Tensor w = ones({3}, requires_grad());
  const Tensor y = w * ones({3});
  CHECK_EQ(y.grad_fn()->num_outputs(), 2);
  CHECK(y.grad_fn()->next_edge(0).is_valid());
  CHECK(!y.grad_fn()->next_edge(1).is_valid());
}

// %%
//| lesson
// a * b, which counts the gradients that it computes.
int gradients_of_left = 0, gradients_of_right = 0;
Tensor counted_product_cpu(const Tensor& a, const Tensor& b) { return a * b; }
extern Operator<Tensor(const Tensor&, const Tensor&)> counted_product;
constinit Operator<Tensor(const Tensor&, const Tensor&)> counted_product("counted_product",
                                                                         {.cpu = counted_product_cpu, .autograd = gradient_of<counted_product>([](const Tensor& g, Input<1> b) { return ++gradients_of_left, g * b; },
                                                                                                                                               [](const Tensor& g, Input<0> a) { return ++gradients_of_right, g * a; })});

// %%
TEST_CASE("nodes: only those gradients are computed that a run asks for") {
  const Tensor a = tensor({2.0, 3.0}, requires_grad()), b = tensor({5.0, 7.0}, requires_grad()), c = a + 1;
  const auto counts = [&](const std::vector<Tensor>& inputs) {
    gradients_of_left = gradients_of_right = 0;
    const std::vector<Tensor> gradients = autograd::grad({counted_product(c, b).sum()}, inputs);
    for (std::size_t i = 0; i < inputs.size(); ++i) CHECK_EQ(gradients[i], inputs[i].is_same(b) ? c.detach() : b.detach());
    return std::pair{gradients_of_left, gradients_of_right};
  };
  CHECK_EQ(counts({a}), std::pair{1, 0});
  CHECK_EQ(counts({c}), std::pair{1, 0});
  CHECK_EQ(counts({b}), std::pair{0, 1});
  CHECK_EQ(counts({b, a}), std::pair{1, 1});
  gradients_of_left = gradients_of_right = 0;
  counted_product(c, b).sum().backward({}, true, false, std::vector<Tensor>{b});
  CHECK_EQ(std::pair(gradients_of_left, gradients_of_right), std::pair{0, 1});
  CHECK(!a.grad().defined());
  counted_product(c, b).sum().backward();
  CHECK_EQ(std::pair(gradients_of_left, gradients_of_right), std::pair{1, 2});
}

// %% [markdown]
// ## Views
//
// A view's gradient moves no data, either, or puts the part back into zeros.

// %%
//| export core/gradients_views.cpp
namespace {
// The gradient of a view's part, in a tensor of the whole's sizes: zero elsewhere.
template <class F>
Tensor into_zeros(const Tensor& grad, IntArrayRef sizes, F view_of) {
  const Tensor whole = zeros(sizes, grad.options());
  view_of(whole).copy_(grad);
  return whole;
}
}  // namespace

// %%
//| export core/gradients_views.cpp
//| registers
void register_view_gradients() {
  gradient<op::view>([](const Tensor& g, Sizes<0> sizes) { return g.reshape(sizes); });
  gradient<op::expand>([](const Tensor& g) { return g; });
  gradient<op::permute>([](const Tensor& g, Arg<1, DimVector> dims) { return permute_backward(g, dims.value); });
  gradient<op::select>([](const Tensor& g, Sizes<0> sizes, Arg<1, std::int64_t> dim, Arg<2, std::int64_t> index) {
    return into_zeros(g, sizes, [&](const Tensor& whole) { return whole.select(dim, index); });
  });
  gradient<op::slice>([](const Tensor& g, Sizes<0> sizes, Arg<1, std::int64_t> dim, Arg<2, std::int64_t> start, Arg<3, std::int64_t> end,
                         Arg<4, std::int64_t> step) {
    return into_zeros(g, sizes, [&](const Tensor& whole) { return whole.slice(dim, start.value, end.value, step); });
  });
}

// %% [markdown]
// ## Arithmetic, copies and reductions
//
// Compare each line with your calculus: the quotient rule, the power rule. `abs` has no derivative at 0; like PyTorch we take 0 there (a *subgradient*). `copy_` and `fill_` forget the old values: zeros go back.

// %%
//| export core/gradient.h
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

// %%
//| export core/gradients_basic.cpp
// `grad` of a reduction, stretched back over the reduced dimensions.
Tensor unreduce(const Tensor& grad, IntArrayRef sizes, IntArrayRef dims, bool keepdim) {
  DimVector shape(sizes);
  for (const std::int64_t dim : dims)
    if (!shape.empty()) shape[static_cast<std::size_t>(wrap_dim(dim, static_cast<std::int64_t>(sizes.size())))] = 1;
  if (dims.empty()) shape = DimVector(sizes.size(), 1);
  return (keepdim ? grad : grad.reshape(shape)).expand(sizes);
}

Tensor scaled(const Tensor& grad, const Scalar& factor) { return factor.equal(1) ? grad : grad * factor; }

Tensor mm_mat2_backward(const Tensor& grad, const Tensor& self, LiesTransposed mat2) { return mat2.value ? grad.t().mm(self).t() : self.t().mm(grad); }

// %%
//| export core/gradients_basic.cpp
//| registers
void register_basic_gradients() {
  gradient<op::add, op::add_>([](const Tensor& g) { return g; }, [](const Tensor& g, Arg<2, Scalar> alpha) { return scaled(g, alpha.value); });
  gradient<op::sub, op::sub_>([](const Tensor& g) { return g; }, [](const Tensor& g, Arg<2, Scalar> alpha) { return scaled(-g, alpha.value); });
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
  gradient<op::mm>([](const Tensor& g, Input<1> mat2) { return g.mm(mat2.t()); },
                   [](const Tensor& g, Input<0> self, Arg<1, LiesTransposed> mat2) { return mm_mat2_backward(g, self, mat2.value); });
  gradient<op::bmm>([](const Tensor& g, Input<1> mat2) { return g.bmm(mat2.transpose(1, 2)); },
                    [](const Tensor& g, Input<0> self) { return self.transpose(1, 2).bmm(g); });
}

// %% [markdown]
// ## Activations
//
// Those whose slope is cheapest from the result keep the result, which the next layer keeps in any case.

// %%
//| export nn/gradients.cpp
//| registers
void register_activation_gradients() {
  gradient<op::relu, op::relu_>([](const Tensor& g, Output result) { return where(result <= 0, zeros({}, g.options()), g); });
  gradient<op::sigmoid>([](const Tensor& g, Output result) { return g * (result * (1 - result)); });
  gradient<op::tanh>([](const Tensor& g, Output result) { return g * (1 - result * result); });
  gradient<op::softmax>([](const Tensor& g, Output result, Arg<1, std::int64_t> dim) { return softmax_backward(g, result, dim); });
  gradient<op::log_softmax>([](const Tensor& g, Output result, Arg<1, std::int64_t> dim) { return g - exp(result) * g.sum(dim.value, true); });
}

// %%
//| lesson
// Whether the gradients of f at `inputs` agree with its slope along a direction, by central differences. REQUIRES: float64, inputs that do not require gradients.
bool slopes_agree(const std::function<Tensor(const std::vector<Tensor>&)>& f, const std::vector<Tensor>& inputs) {
  std::vector<Tensor> leaves, above, below, directions;
  for (const Tensor& input : inputs) {
    directions.push_back(cos(arange(input.numel()).to(kDouble) + static_cast<double>(directions.size())).view(input.sizes()));
    leaves.push_back(input.clone().requires_grad_());
    above.push_back(input + directions.back() * 1e-6);
    below.push_back(input - directions.back() * 1e-6);
  }
  const variable_list grads = autograd::grad({f(leaves)}, leaves);
  Tensor slope = zeros({}, kDouble);
  for (std::size_t i = 0; i < grads.size(); ++i) slope = slope + (grads[i] * directions[i]).sum();
  return slope.allclose((f(above) - f(below)) / 2e-6, 1e-6, 1e-7);
}

// %%
TEST_CASE("the table agrees with finite differences") {
  const Tensor a = tensor({{0.5, -1.25, 2.0}, {1.75, 0.75, -0.5}}, kDouble);
  const Tensor b = tensor({{1.5, 0.5, 2.5}}, kDouble);
  const Tensor m = tensor({{1.0, 2.0}, {-1.0, 0.5}, {0.25, 3.0}}, kDouble);
  const auto agree = [&](const auto& f) { return slopes_agree([&](const std::vector<Tensor>& x) { return f(x[0], x[1]); }, {a, b}); };
  CHECK(agree([](const Tensor& x, const Tensor& y) { return (x * y + x / y - y.sub(x, 3)).pow(2).sum(); }));
  CHECK(agree([](const Tensor& x, const Tensor& y) { return (x.abs().sqrt() * y.log() + (-x).exp()).sum(); }));
  CHECK(agree([](const Tensor& x, const Tensor& y) { return (where(x > y, x * x, y * y * y)).sum(); }));
  CHECK(agree([](const Tensor& x, const Tensor& y) { return (x.amax({1}, true) * y + x.sum({0}) * y).sum(); }));
  CHECK(agree([](const Tensor& x, const Tensor& y) { return (sigmoid(x) * tanh(y) + relu(x) + softmax(x, 1) * y + log_softmax(x, 0)).sum(); }));
  CHECK(agree([](const Tensor& x, const Tensor& y) { return (x.t().select(0, 1) * 2 + x.slice(1, 0, 3, 2).sum({1}) * y.expand({2, 3}).select(1, 2)).sum(); }));
  CHECK(agree([](const Tensor& x, const Tensor& y) {
    const Tensor z = x * 1.0;
    z.mul_(y).add_(x).div_(y);
    z[0].copy_(y[0]);
    return (z * z).sum();
  }));
  const auto product = [](const std::vector<Tensor>& x) { return x[0].mm(x[1]).pow(2).sum() + x[0].unsqueeze(0).bmm(x[1].unsqueeze(0)).sum(); };
  CHECK(slopes_agree(product, {a, m}));
  CHECK(slopes_agree([&](const std::vector<Tensor>& x) { return product({x[0], x[1].t()}); }, {a, m.t().contiguous()}));
}

TEST_CASE("reductions: what ties for the largest shares the gradient") {
  const Tensor x = tensor({3.0, 1.0, 3.0}, dtype(kDouble).requires_grad(true));
  x.amax().backward();
  CHECK_EQ(x.grad(), tensor({0.5, 0.0, 0.5}, kDouble));
}

TEST_CASE("products: the gradient of a transposed factor lies as the factor does") {
  const Tensor x = ones({4, 3}, kDouble);
  const Tensor w = ones({2, 3}, dtype(kDouble).requires_grad(true));
  const Tensor grad = autograd::grad({x.mm(w.t()).sum()}, {w})[0];
  CHECK_EQ(grad, full({2, 3}, 4.0, kDouble));
  CHECK(grad.is_contiguous());
}

// %%
}  // namespace tinytorch
