// From the lesson modules/05_autograd/autograd_dev.cpp:
// edit the module, not this file.
#pragma once

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

}  // namespace tinytorch
