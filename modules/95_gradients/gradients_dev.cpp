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
// # Library chapter 95: Gradients of the library's operators
//
// Module 05 gives the operators of module 01 and some activations their gradients. This chapter does the same for all others: one line of
// calculus each, written with operators, so that second derivatives follow. PyTorch keeps the same table in `tools/autograd/derivatives.yaml`, from which it
// generates its C++.
//
//     operator            what arrives: g                    what goes back
//     gather         (N, K) picked from (N, C)     scatter_add into zeros (N, C)
//     cat            the joined tensor             its pieces, by narrow
//     cumsum         each prefix                   the sums from the other end

// %%
//| after 05
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
//| export core/autograd_options.h
//| extends TensorOptions
#include <optional>

namespace tinytorch {
class TensorOptions;

// What autograd adds to TensorOptions: `dtype(kDouble).requires_grad(true)`.
class AutogradOptions {
 public:
  [[nodiscard]] TensorOptions requires_grad(std::optional<bool> requires_grad) const;  // nothing: as if it had not been named
  bool requires_grad() const;
  bool has_requires_grad() const { return has_requires_grad_; }

 private:
  bool has_requires_grad_ = false;
};
}  // namespace tinytorch

// %%
//| export core/inplace_or_view.h
#include "tinytorch/core/gradient.h"
//| export core/gradient_lists.h
#include "tinytorch/core/gradient.h"
//| export core/gradients_more.cpp
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/gradient_lists.h"
#include "tinytorch/core/inplace_or_view.h"
#include "tinytorch/core/more_ops.h"
//| export nn/gradients_more.cpp
#include <cstdint>
#include <limits>
#include <optional>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/inplace_or_view.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/nn/module.h"

// %%
#include <optional>
#include <utility>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/linear.h"
#include "tinytorch/nn/loss.h"
#include "tito/lesson.h"
#include <cmath>

// %%
namespace tinytorch {

// %% [markdown]
// ## The layer InplaceOrView
//
// Below the layer Autograd lies InplaceOrView. It works also while nothing is recorded: a write is counted, and a view remembers its base, whether or not anyone asks for gradients.
//
//     x.add_(1)     Autograd       records AddBackward0
//                   InplaceOrView  version + 1
//                   CPU            adds
//
// What it counts is the version of the *storage*. A storage that was made in inference mode counts nothing: its version is the mark `kNoVersion`, and it may be written to in that mode only.

// %%
//| export core/inplace_or_view.h
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

void mark_view(const Tensor& view, const Tensor& of, std::function<Tensor(const Tensor&)> replay);
void check_inference_write(const Tensor& self);  // an inference tensor may be written to in inference mode only
void bump_version(const Tensor& self);           // counts a write, unless the storage counts none

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
    if (self.is_floating_point() && !is_inference(self))
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
    check_inference_write(self);
    {
      const ExcludeLayersGuard guard(LayerSet(Layer::Autograd) | Layer::InplaceOrView);
      Op(self, std::forward<Args>(args)...);
    }
    bump_version(self);
    return self;
  }
};
}  // namespace detail

// %%
//| export core/inplace_or_view.h
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
//| export core/inplace_or_view.cpp
void detail::check_inference_write(const Tensor& self) {
  TORCH_CHECK(!is_inference(self) || in_inference_mode(), "Inplace update to inference tensor outside InferenceMode is not allowed."
              "You can make a clone to get a normal tensor before doing inplace update.See https://github.com/pytorch/rfcs/pull/17 for more details.");
}

void detail::bump_version(const Tensor& self) {
  if (is_inference(self)) return;
  std::atomic<std::uint32_t>& version = self.storage()->version;
  if (version.fetch_add(1) + 1 == kNoVersion) version.fetch_add(1);
}

void detail::mark_view(const Tensor& view, const Tensor& of, std::function<Tensor(const Tensor&)> replay) {
  const AutogradMeta* const parent = autograd_meta(of);
  auto made = std::make_unique<ViewMeta>();
  made->creation = in_inference_mode() ? CreationMeta::InferenceMode : !GradMode::is_enabled() ? CreationMeta::NoGradMode : CreationMeta::Default;
  if (parent != nullptr && parent->view) {
    made->base = parent->view->base;
    made->replay = [first = parent->view->replay, second = std::move(replay)](const Tensor& other) { return second(first(other)); };
    if (made->creation == CreationMeta::Default) made->creation = parent->view->creation;  // a view of such a view is one
  } else {
    made->base = of;
    made->replay = std::move(replay);
  }
  made->version = view.storage()->version.load();
  materialize_autograd_meta(view).view = std::move(made);
  // A later write into the base may give this view a history: it always asks for the Autograd layer.
  view.impl().layers = view.impl().layers | Layer::Autograd;
}

// %%
//| export core/inplace_or_view.cpp
TensorOptions AutogradOptions::requires_grad(std::optional<bool> requires_grad) const {
  const auto& self = static_cast<const TensorOptions&>(*this);
  TensorOptions changed = self.layers(requires_grad.value_or(false) ? self.layers() | Layer::Autograd : self.layers() - Layer::Autograd);
  static_cast<AutogradOptions&>(changed).has_requires_grad_ = requires_grad.has_value();
  return changed;
}
bool AutogradOptions::requires_grad() const { return static_cast<const TensorOptions&>(*this).layers().has(Layer::Autograd); }

// %%
//| export core/gradients_more.cpp
//| registers
void register_inplace_or_view() {
  track_views<op::as_strided, op::view, op::expand, op::permute, op::select, op::slice>();
  count_writes<op::copy_, op::fill_, op::add_, op::sub_, op::mul_, op::div_>();
  op::created.set(Layer::InplaceOrView, [](const Tensor& fresh, const TensorOptions&) {
    if (in_inference_mode()) fresh.storage()->version.store(kNoVersion);
    return fresh;
  });
  op::created.set(Layer::Autograd, [](const Tensor& fresh, const TensorOptions& options) {
    const ExcludeLayersGuard guard(Layer::Autograd);
    return op::created(fresh, options).requires_grad_(true);
  });
  birth_layers = birth_layers | Layer::InplaceOrView;
  birth_modes |= GradMode::kInference;
}

// %%
TEST_CASE("options say whether requires_grad was named") {
  const auto part = [](const TensorOptions& options) {
    const std::string text = str(options);
    const std::size_t begin = text.find("requires_grad=");
    return text.substr(begin, text.find(", pinned") - begin);
  };
  CHECK_EQ(part(TensorOptions()), "requires_grad=false (default)");
  CHECK_EQ(part(TensorOptions().requires_grad(false)), "requires_grad=false");
  CHECK_EQ(part(TensorOptions().requires_grad(true)), "requires_grad=true");
  CHECK_EQ(part(TensorOptions().requires_grad(true).requires_grad(std::nullopt)), "requires_grad=false (default)");
  CHECK_EQ(part(ones({2}, requires_grad()).options()), "requires_grad=false (default)");
  CHECK(requires_grad(false).has_requires_grad());
  CHECK_FALSE(ones({2}, requires_grad(false)).requires_grad());
}

TEST_CASE("writes are counted and views remember their base, also while nothing is recorded") {
  const NoGradGuard no_grad;
  const Tensor x = ones({2, 3});
  const Tensor row = x[0];
  row.add_(1);
  x.mul_(2);
  CHECK_EQ(x._version(), 2);
  CHECK_EQ(row._version(), 2);
  CHECK(row.is_view());
  CHECK(row._base().is_same(x));
  CHECK(row.view({3, 1})._base().is_same(x));
  CHECK(!x.is_view());
}

// %% [markdown]
// ## Lists of tensors
//
// Two further kinds of parameter for gradient functions, for operators such as `cat` that take a list.

// %%
//| export core/gradient_lists.h
template <std::size_t I>
struct InputList : std::vector<Tensor> {};  // the tensors of list I, saved
template <std::size_t I>
struct Geometries : std::vector<DimVector> {};  // the sizes of each tensor of list I

namespace detail {
template <std::size_t I>
struct Keeper<InputList<I>> {
  std::vector<SavedVariable> saved;
  template <class Arguments>
  void keep_input(const Arguments& arguments, bool) {
    for (const Tensor& tensor : std::get<I>(arguments)) saved.emplace_back(tensor, false);
  }
  void keep_output(TensorList) {}
  InputList<I> get(Node& owner) const {
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
  void keep_output(TensorList) {}
  const Geometries<I>& get(Node&) const { return sizes; }
  void release() {}
};
}  // namespace detail

// %%
//| export core/gradients_more.cpp
namespace {
// A value of a reduction that was chosen by its index: the gradient goes back to that place.
Tensor to_chosen(const Tensor& g, const Tensor& indices, IntArrayRef sizes, std::int64_t dim, bool keepdim) {
  if (sizes.empty()) return g;
  return scatter_add(zeros(sizes, g.options()), dim, keepdim ? indices : indices.unsqueeze(dim), keepdim ? g : g.unsqueeze(dim));
}

// For each element of the last dimension, the product of the others: of those before it times of those after it, each in doubling steps
// (Hillis and Steele, 1986). It divides by nothing, so zeros do no harm, and it has gradients of any order. O(n log n).
Tensor product_of_others(const Tensor& x) {
  const std::int64_t n = x.size(-1);
  const auto product_before = [n](const Tensor& y) {
    Tensor product = cat({ones_like(y.narrow(-1, 0, 1)), y.narrow(-1, 0, n - 1)}, -1);
    for (std::int64_t step = 1; step < n; step *= 2)
      product = cat({product.narrow(-1, 0, step), product.narrow(-1, step, n - step) * product.narrow(-1, 0, n - step)}, -1);
    return product;
  };
  return product_before(x) * flip(product_before(flip(x, {-1})), {-1});
}

Tensor prod_backward(const Tensor& g, const Tensor& self, const Tensor& result, IntArrayRef dims, bool keepdim) {
  const Tensor grad = unreduce(g, self.sizes(), dims, keepdim);
  if (!self.eq(0).any().item<bool>()) return grad * unreduce(result, self.sizes(), dims, keepdim) / self;
  // The reduced dimensions go to the end and become one.
  std::vector<bool> reduced(self.sizes().size(), dims.empty());
  for (const std::int64_t dim : dims) reduced[static_cast<std::size_t>(wrap_dim(dim, self.dim()))] = true;
  DimVector order, shape;
  for (const bool last : {false, true})
    for (std::size_t i = 0; i < reduced.size(); ++i) {
      if (reduced[i] != last) continue;
      order.push_back(static_cast<std::int64_t>(i));
      if (!last) shape.push_back(self.sizes()[i]);
    }
  shape.push_back(-1);
  const Tensor moved = self.permute(order);
  DimVector inverse(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) inverse[static_cast<std::size_t>(order[i])] = static_cast<std::int64_t>(i);
  return grad * product_of_others(moved.reshape(shape)).reshape(moved.sizes()).permute(inverse);
}

Tensor var_backward(const Tensor& g, const Tensor& self, IntArrayRef dims, double correction, bool keepdim) {
  const Tensor difference = self - self.mean(dims, true);
  const double count = static_cast<double>(self.numel()) / static_cast<double>(std::max<std::int64_t>(1, difference.mean(dims, true).numel()));
  return unreduce(g, self.sizes(), dims, keepdim) * difference * (2 / (count - correction));
}

}  // namespace

// Where two entries of a maximum are equal, each gets half. The direction at norm 0 is 0.
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

// %% [markdown]
// ## Functions of one tensor
//
// Rounding is flat almost everywhere, so its gradient is zero: a network behind a `round` learns nothing, without an error.

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
TEST_CASE("gradients of elementary functions") {
  const Tensor x = tensor({0.25, 0.5}, dtype(kDouble).requires_grad(true));
  (sin(x) + log1p(x) + rsqrt(x)).sum().backward();
  // cos(x) + 1 / (1 + x) - 1 / (2 x sqrt(x))
  CHECK_CLOSE(x.grad(), tensor({-2.2310875782893553, 0.1300356661839447}, kDouble), 1e-12, 0);
  const Tensor y = tensor({-2.0, 0.5, 2.0}, dtype(kDouble).requires_grad(true));
  (clamp(y, -1, 1) + round(y)).sum().backward();
  CHECK_EQ(y.grad(), tensor({0.0, 1.0, 0.0}, kDouble));
}

// %% [markdown]
// ## Functions of two tensors

// %%
//| export core/gradients_more.cpp
namespace {
// The gradient of maximum or minimum towards one side: none where that side lost, half where both are equal. Where one is NaN, nobody lost.
Tensor unless_lost(const Tensor& g, const Tensor& lost, const Tensor& ties) {
  return where(lost, zeros({}, g.options()), where(ties, g * 0.5, g));
}

// The same in place and not.
template <auto& Lerp, auto& Addcmul, auto& Addcdiv>
void gradients_of_updates() {
  gradient<Lerp>([](const Tensor& g, Arg<2, Scalar> weight) { return g * (1 - weight.value.toDouble()); },
                 [](const Tensor& g, Arg<2, Scalar> weight) { return g * weight.value; });
  gradient<Addcmul>([](const Tensor& g) { return g; },
                    [](const Tensor& g, Input<2> tensor2, Arg<3, Scalar> value) { return g * (tensor2 * value.value); },
                    [](const Tensor& g, Input<1> tensor1, Arg<3, Scalar> value) { return g * (tensor1 * value.value); });
  gradient<Addcdiv>([](const Tensor& g) { return g; },
                    [](const Tensor& g, Input<2> tensor2, Arg<3, Scalar> value) { return g * value.value / tensor2; },
                    [](const Tensor& g, Input<1> tensor1, Input<2> tensor2, Arg<3, Scalar> value) {
                      return -g * (tensor1 * value.value / (tensor2 * tensor2));
                    });
}
}  // namespace

// %%
//| export core/gradients_more.cpp
//| registers
void register_two_operand_gradients() {
  gradient<op::maximum>([](const Tensor& g, Input<0> self, Input<1> other) { return unless_lost(g, self < other, self == other); },
                        [](const Tensor& g, Input<0> self, Input<1> other) { return unless_lost(g, other < self, self == other); });
  gradient<op::minimum>([](const Tensor& g, Input<0> self, Input<1> other) { return unless_lost(g, self > other, self == other); },
                        [](const Tensor& g, Input<0> self, Input<1> other) { return unless_lost(g, other > self, self == other); });
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
  gradients_of_updates<op::lerp, op::addcmul, op::addcdiv>();
  gradients_of_updates<op::lerp_, op::addcmul_, op::addcdiv_>();
  gradient<op::addmm>(
      [](const Tensor& g, Arg<3, Scalar> beta) { return scaled(g, beta.value); },
      [](const Tensor& g, Input<2> mat2, Arg<4, Scalar> alpha) { return scaled(g.mm(mat2.t()), alpha.value); },
      [](const Tensor& g, Input<1> mat1, Arg<2, LiesTransposed> mat2, Arg<4, Scalar> alpha) { return scaled(mm_mat2_backward(g, mat1, mat2.value), alpha.value); });
}

// %%
TEST_CASE("gradients of two tensors: where one is NaN, both have the gradient") {
  const Tensor a = tensor({NAN, 1.0F}, dtype(kDouble).requires_grad(true));
  const Tensor b = tensor({1.0F, NAN}, dtype(kDouble).requires_grad(true));
  (maximum(a, b) + minimum(a, b)).sum().backward();
  CHECK_EQ(a.grad(), tensor({2.0, 2.0}, kDouble));
  CHECK_EQ(b.grad(), tensor({2.0, 2.0}, kDouble));
}

TEST_CASE("gradients of two tensors: ties are shared") {
  const Tensor a = tensor({1.0, 2.0, 3.0}, dtype(kDouble).requires_grad(true));
  const Tensor b = tensor({1.0, 5.0, 2.0}, dtype(kDouble).requires_grad(true));
  maximum(a, b).sum().backward();
  CHECK_EQ(a.grad(), tensor({0.5, 0.0, 1.0}, kDouble));
  CHECK_EQ(b.grad(), tensor({0.5, 1.0, 0.0}, kDouble));
}

// %% [markdown]
// ## Reductions and sorting

// %%
//| export core/gradients_more.cpp
template <>
constexpr bool detail::counts_dims<op::mean> = true;
template <>
constexpr bool detail::counts_dims<op::prod> = true;

// %%
//| export core/gradients_more.cpp
//| registers
void register_more_reduction_gradients() {
  // The mean is a sum and a quotient, but one node: n equal shares of the gradient.
  gradient<op::mean>([](const Tensor& g, Sizes<0> sizes, Arg<1, DimVector> dims, Arg<2, bool> keepdim) {
    const double count = static_cast<double>(Tensor(unreduce(g, sizes, dims.value, keepdim)).numel()) / static_cast<double>(std::max<std::int64_t>(1, g.numel()));
    return unreduce(g / count, sizes, dims.value, keepdim);
  });
  gradient<op::prod>([](const Tensor& g, Input<0> self, Output result, Arg<1, DimVector> dims, Arg<2, bool> keepdim) {
    return prod_backward(g, self, result, dims.value, keepdim);
  });
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
TEST_CASE("gradients of prod: one zero, two zeros") {
  const Tensor x = tensor({{2.0, 0.0, 3.0}, {0.0, 0.0, 3.0}}, dtype(kDouble).requires_grad(true));
  prod(x, 1).sum().backward();
  CHECK_EQ(x.grad(), tensor({{0.0, 6.0, 0.0}, {0.0, 0.0, 0.0}}, kDouble));
  // Between the two zeros of the second row the second derivative is the third element.
  const Tensor first = autograd::grad({prod(x, 1).sum()}, {x}, {}, true, true)[0];
  const Tensor second = autograd::grad({first[1][0]}, {x})[0];
  CHECK_EQ(second, tensor({{0.0, 0.0, 0.0}, {0.0, 3.0, 0.0}}, kDouble));
}

// %% [markdown]
// ## Indexing and joining
//
// Reading and writing by index are each other's gradients. A position that is read twice receives twice: the way back must add.

// %%
//| export core/gradients_more.cpp
namespace {
// The gradient of a source that was scattered: what arrived at the places it went to, and zero for the part of it that the index left out.
Tensor from_places(const Tensor& g, std::int64_t dim, const Tensor& index, IntArrayRef sizes) {
  const Tensor taken = gather(g, dim, index);
  if (taken.sizes() == sizes) return taken;
  const Tensor whole = zeros(sizes, g.options());
  Tensor used = whole;
  for (std::int64_t i = 0; i < index.dim(); ++i) used = used.narrow(i, 0, index.size(i));
  used.copy_(taken);
  return whole;
}

// Whether no element is in the view twice: each step passes all that the smaller steps reach.
bool has_each_once(IntArrayRef size, IntArrayRef stride) {
  std::vector<std::pair<std::int64_t, std::int64_t>> steps;
  for (std::size_t i = 0; i < size.size(); ++i)
    if (size[i] > 1) steps.emplace_back(stride[i], size[i]);
  std::sort(steps.begin(), steps.end());
  std::int64_t reached = 0;
  for (const auto& [step, count] : steps) {
    if (step <= reached) return false;
    reached += step * (count - 1);
  }
  return true;
}

Tensor as_strided_backward(const Tensor& grad, const Tensor& self, IntArrayRef size, IntArrayRef stride, std::int64_t offset) {
  // A view such as a diagonal: zeros, and the gradient written into the same view of them. Such a self has all of its memory.
  if (self.is_contiguous() && self.storage()->nbytes() == static_cast<std::size_t>(self.numel()) * self.element_size() && has_each_once(size, stride)) {
    const Tensor whole = zeros(self.sizes(), grad.options());
    whole.as_strided(size, stride, offset).copy_(grad);
    return whole;
  }
  // Which element of the storage each element of the view is; several may be the same one.
  const auto count = static_cast<std::int64_t>(self.storage()->nbytes() / self.element_size());
  const Tensor positions = arange(count).as_strided(size, stride, offset).reshape({-1});
  const Tensor stored = scatter_add(zeros({count}, grad.options()), 0, positions, grad.reshape({-1}));
  return index_select(stored, 0, arange(count).as_strided(self.sizes(), self.strides(), self.storage_offset()).reshape({-1})).view(self.sizes());
}
}  // namespace

// %%
//| export core/gradients_more.cpp
//| registers
void register_indexing_gradients() {
  gradient<op::as_strided>([](const Tensor& g, Input<0> self, Arg<1, DimVector> size, Arg<2, DimVector> stride, Arg<3, std::optional<std::int64_t>> offset) {
    return as_strided_backward(g, self, size.value, stride.value, offset.value.value_or(self.storage_offset()));
  });
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
                             [](const Tensor& g, Arg<1, std::int64_t> dim, Input<2> index, Sizes<3> sizes) { return from_places(g, dim, index, sizes); });
  gradient<op::scatter_>([](const Tensor& g, Arg<1, std::int64_t> dim, Input<2> index) { return scatter(g, dim, index, zeros(index.sizes(), g.options())); },
                         no_gradient, [](const Tensor& g, Arg<1, std::int64_t> dim, Input<2> index, Sizes<3> sizes) { return from_places(g, dim, index, sizes); });
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
TEST_CASE("gradients of indexing: of a source that is larger than the index, only the part that was used") {
  const Tensor source = ones({2, 3}, dtype(kDouble).requires_grad(true));
  const Tensor index = tensor({{1, 0}});
  scatter_add(zeros({2, 2}, kDouble), 1, index, source).sum().backward();
  CHECK_EQ(source.grad(), tensor({{1.0, 1.0, 0.0}, {0.0, 0.0, 0.0}}, kDouble));
  source.mutable_grad() = Tensor();
  (scatter(zeros({2, 2}, kDouble), 1, index, source) * 3.0).sum().backward();
  CHECK_EQ(source.grad(), tensor({{3.0, 3.0, 0.0}, {0.0, 0.0, 0.0}}, kDouble));
}

TEST_CASE("gradients of strided views: of each element once, of some twice, of rows that are shared, and of the second order") {
  const Tensor weights = tensor({1.0, 2.0, 3.0}, kDouble);
  const auto gradient_of_view = [&](const Tensor& x, IntArrayRef stride) {
    const Tensor view = x.as_strided({3}, stride, 0);
    const Tensor first = autograd::grad({(view * view * weights).sum()}, {x}, {}, std::nullopt, true)[0];
    const Tensor second = autograd::grad({first.sum()}, {x})[0];
    return std::pair(first.detach(), second);
  };
  const Tensor x = arange(9).to(kDouble).view({3, 3}).requires_grad_();
  // The diagonal: 0, 4 and 8, times 2 and their weights.
  CHECK_EQ(gradient_of_view(x, {4}).first, tensor({{0.0, 0.0, 0.0}, {0.0, 16.0, 0.0}, {0.0, 0.0, 48.0}}, kDouble));
  CHECK_EQ(gradient_of_view(x, {4}).second, tensor({{2.0, 0.0, 0.0}, {0.0, 4.0, 0.0}, {0.0, 0.0, 6.0}}, kDouble));
  // One element three times.
  CHECK_EQ(gradient_of_view((x + 1).detach().requires_grad_(), {0}).first, tensor({{12.0, 0.0, 0.0}, {0.0, 0.0, 0.0}, {0.0, 0.0, 0.0}}, kDouble));
  // Windows that overlap: 0 1, 1 2, 2 3.
  const Tensor windows = arange(4).to(kDouble).requires_grad_();
  windows.as_strided({3, 2}, {1, 1}, 0).sum().backward();
  CHECK_EQ(windows.grad(), tensor({1.0, 2.0, 2.0, 1.0}, kDouble));
  // The lower half of a larger memory, and a matrix that is turned: their diagonals.
  const Tensor half = arange(8).to(kDouble).view({4, 2}).narrow(0, 2, 2).detach().requires_grad_(), turned = arange(4).to(kDouble).view({2, 2}).t().detach().requires_grad_();
  half.as_strided({2}, {3}, 4).sum().backward();
  turned.as_strided({2}, {1}, 1).sum().backward();
  CHECK_EQ(half.grad(), tensor({{1.0, 0.0}, {0.0, 1.0}}, kDouble));
  CHECK_EQ(turned.grad(), tensor({{0.0, 1.0}, {1.0, 0.0}}, kDouble));
}

TEST_CASE("gradients of indexing: what is read twice receives twice") {
  const Tensor x = tensor({1.0, 2.0, 3.0}, dtype(kDouble).requires_grad(true));
  const Tensor y = cat({index_select(x, 0, tensor({2, 2, 0})), x * 10.0}, 0);
  y.sum().backward();
  CHECK_EQ(x.grad(), tensor({11.0, 10.0, 12.0}, kDouble));
}

// %% [markdown]
// ## Overwriting
//
// Random numbers overwrite what was there: nothing of the old value is left, so its gradient is zero.

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
  gradient<op::cauchy_>(none);
  gradient<op::log_normal_>(none);
  gradient<op::geometric_>(none);
  gradient<op::poisson>(none);
  count_writes<op::uniform_, op::normal_, op::random_, op::bernoulli_, op::bernoulli_tensor_, op::exponential_, op::cauchy_, op::log_normal_, op::geometric_>();
  count_writes<op::lerp_, op::addcmul_, op::addcdiv_, op::index_add_, op::scatter_, op::scatter_add_, op::index_put_>();
}

// %%
TEST_CASE("gradients of writes in place: overwritten values get none, and the version counts") {
  const Tensor x = ones({2}, dtype(kDouble).requires_grad(true));
  const Tensor y = x * 3.0;
  uniform_(y);
  CHECK_EQ(y._version(), 1);
  y.sum().backward();
  CHECK_EQ(x.grad(), zeros({2}, kDouble));
  for (Tensor& (MoreMethods::*draw)(double, double, std::optional<Generator>) const : {&MoreMethods::cauchy_, &MoreMethods::log_normal_}) {
    const Tensor z = x * 3.0;
    (z.*draw)(1, 2, std::nullopt);
    CHECK_EQ(z._version(), 1);
    CHECK_EQ(autograd::grad({z.sum()}, {x})[0], zeros({2}, kDouble));
  }
  const Tensor z = x * 3.0;
  CHECK_EQ(z.geometric_(0.5)._version(), 1);
  CHECK_EQ(autograd::grad({(z + poisson(x)).sum()}, {x})[0], zeros({2}, kDouble));
}

// %% [markdown]
// ## Activations and losses
//
// `where` computes both branches, and a branch that is not taken must not overflow: its gradient would be `0 * inf`. At NaN the comparisons are written so that the gradient is PyTorch's.

// %%
//| export nn/gradients_more.cpp
namespace {
constexpr double kSqrtHalf = 0.70710678118654752440;       // 1 / sqrt(2)
constexpr double kNormalDensity = 0.39894228040143267794;  // 1 / sqrt(2 pi)
constexpr double kGeluScale = 0.79788456080286535588;      // sqrt(2 / pi)
}  // namespace

// g times the slope of gelu at x; also the form that chapter 89 records.
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

namespace {
// exp(x) where x <= 0, and 1 elsewhere: the other branch must not overflow, or its gradient would be 0 * inf.
Tensor exp_below_zero(const Tensor& x) { return exp(where(x > 0, zeros_like(x), x)); }
}  // namespace

// %%
//| export nn/gradients_more.cpp
//| registers
void register_more_activation_gradients() {
  gradient<op::leaky_relu>([](const Tensor& g, Input<0> self, Arg<1, Scalar> slope) { return where(self > 0, g, g * slope.value); });
  gradient<op::elu>([](const Tensor& g, Input<0> self, Arg<1, Scalar> alpha) { return where(self <= 0, g * (exp_below_zero(self) * alpha.value), g); });
  gradient<op::gelu>([](const Tensor& g, Input<0> self, Arg<1, bool> tanh_approximation) { return gelu_backward(g, self, tanh_approximation); });
  gradient<op::silu>([](const Tensor& g, Input<0> self) {
    const Tensor s = sigmoid(self);
    return g * (s * (self * (1 - s) + 1));
  });
  gradient<op::softplus>([](const Tensor& g, Input<0> self, Arg<1, Scalar> beta, Arg<2, Scalar> threshold) {
    const Tensor scaled = self * beta.value;
    return where(scaled > threshold.value, g, g * sigmoid(scaled));
  });
  count_writes<op::relu_>();
}

// %%
TEST_CASE("gradients of activations at NaN") {
  const Tensor x = tensor({NAN, -1.0F, 2.0F}, dtype(kDouble).requires_grad(true));
  relu(x).sum().backward();
  CHECK_EQ(x.grad(), tensor({1.0, 0.0, 1.0}, kDouble));
  x.mutable_grad() = Tensor();
  elu(x).sum().backward();
  CHECK_CLOSE(x.grad(), tensor({1.0, 0.36787944117144233, 1.0}, kDouble));
}

// %%
//| export nn/gradients_more.cpp
// What reaches each sample of the gradient of the reduced loss, in the shape of the target. A sample counts as much as the weight of its
// class. Ignored ones get 0 whatever the others do: where all are ignored the mean is 0 / 0, and its gradient still
// changes nothing. Weights that are all 0 do give 0 / 0.
Tensor gradient_per_sample(const Tensor& g, const Tensor& self, const Tensor& target, const Tensor& weight, std::int64_t reduction,
                  std::int64_t ignore_index) {
  const Tensor ignored = target.eq(ignore_index);
  const Tensor nothing = zeros({}, self.options());
  const Tensor classes = where(ignored, zeros({}, kLong), target);
  const Tensor weights = weight.defined() ? index_select(weight, 0, classes.flatten()).view(target.sizes()) : ones(target.sizes(), self.options());
  if (reduction != Reduction::Mean) return where(ignored, nothing, g * weights);
  return where(ignored, nothing, g * weights / where(ignored, nothing, weights).sum());
}

namespace {
// -coefficient at each sample's class, 0 elsewhere: (N, C), or (N, C, K) for targets (N, K).
Tensor at_targets(const Tensor& coefficient, const Tensor& self, const Tensor& target, std::int64_t ignore_index) {
  const Tensor classes = where(target.eq(ignore_index), zeros({}, kLong), target).unsqueeze(1);
  return scatter_add_(zeros(self.sizes(), self.options()), 1, classes, -coefficient.unsqueeze(1));  // nobody else has the zeros
}

}  // namespace

std::optional<Tensor> if_defined(const Tensor& tensor) { return tensor.defined() ? std::optional(tensor) : std::nullopt; }

// Of nll_loss and nll_loss2d. Of chapter 89 too, which walks over the targets where no graph is recorded.
Tensor nll_loss_backward(const Tensor& g, const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction, std::int64_t ignore_index) {
  return at_targets(gradient_per_sample(g, self, target, weight.value_or(Tensor()), reduction, ignore_index), self, target, ignore_index);
}

namespace {
// softmax(self) - one_hot(target), for each sample as much as its loss counts.
Tensor cross_entropy_backward(const Tensor& g, const Tensor& self, const Tensor& target, const Tensor& weight, std::int64_t reduction,
                              std::int64_t ignore_index) {
  const Tensor coefficient = gradient_per_sample(g, self, target, weight, reduction, ignore_index);
  return softmax(self, 1) * coefficient.unsqueeze(1) + at_targets(coefficient, self, target, ignore_index);
}

// The gradient of an elementwise loss before its reduction.
Tensor unreduced(const Tensor& g, const Tensor& self, const Tensor& weight, std::int64_t reduction) {
  const Tensor each = reduction == Reduction::Mean ? g / self.numel() : g;
  return weight.defined() ? each * weight : each;
}
}  // namespace

// What reaches a of a loss that is a parabola up to |a - b| = most, with the slope factor (a - b), and a line beyond. Of chapter 89 too, which computes it in one pass.
// `factor` multiplies g, which is one number where the loss is reduced.
Tensor distance_backward(const Tensor& g, const Tensor& a, const Tensor& b, std::int64_t reduction, double factor, double most) {
  const Tensor difference = a - b;
  const Tensor slope = most < std::numeric_limits<double>::infinity() ? clamp(difference, -most, most) : difference;
  return unreduced(g * factor, difference, {}, reduction) * slope;
}

// %%
//| export nn/gradients_more.cpp
//| registers
void register_loss_gradients() {
  gradient<op::nll_loss>([](const Tensor& g, Input<0> self, Input<1> target, Input<2> weight, Arg<3, std::int64_t> reduction,
                            Arg<4, std::int64_t> ignore_index) { return nll_loss_backward(g, self, target, if_defined(weight), reduction, ignore_index); });
  gradient<op::nll_loss2d>([](const Tensor& g, Input<0> self, Input<1> target, Input<2> weight, Arg<3, std::int64_t> reduction,
                              Arg<4, std::int64_t> ignore_index) { return nll_loss_backward(g, self, target, if_defined(weight), reduction, ignore_index); });
  gradient<op::cross_entropy>([](const Tensor& g, Input<0> self, Input<1> target, Input<2> weight, Arg<3, std::int64_t> reduction,
                                 Arg<4, std::int64_t> ignore_index) { return cross_entropy_backward(g, self, target, weight, reduction, ignore_index); });
  constexpr double infinity = std::numeric_limits<double>::infinity();
  gradient<op::mse_loss>(
      [](const Tensor& g, Input<0> self, Input<1> target, Arg<2, std::int64_t> reduction) { return distance_backward(g, self, target, reduction, 2, infinity); },
      [](const Tensor& g, Input<0> self, Input<1> target, Arg<2, std::int64_t> reduction) { return distance_backward(g, target, self, reduction, 2, infinity); });
  gradient<op::smooth_l1_loss>(
      [](const Tensor& g, Input<0> self, Input<1> target, Arg<2, std::int64_t> reduction, Arg<3, double> beta) { return distance_backward(g, self, target, reduction, 1 / beta.value, beta); },
      [](const Tensor& g, Input<0> self, Input<1> target, Arg<2, std::int64_t> reduction, Arg<3, double> beta) { return distance_backward(g, target, self, reduction, 1 / beta.value, beta); });
  gradient<op::huber_loss>(
      [](const Tensor& g, Input<0> self, Input<1> target, Arg<2, std::int64_t> reduction, Arg<3, double> delta) { return distance_backward(g, self, target, reduction, 1, delta); },
      [](const Tensor& g, Input<0> self, Input<1> target, Arg<2, std::int64_t> reduction, Arg<3, double> delta) { return distance_backward(g, target, self, reduction, 1, delta); });
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
TEST_CASE("gradients of losses: softmax - one_hot") {
  const Tensor x = tensor({{0.0, 1.0, 2.0}, {1.0, 1.0, 1.0}}, dtype(kDouble).requires_grad(true));
  cross_entropy_loss(x, tensor({2, 0})).backward();
  const Tensor expected = (softmax(x.detach(), 1) - tensor({{0.0, 0.0, 1.0}, {1.0, 0.0, 0.0}}, kDouble)) / 2;
  CHECK_CLOSE(x.grad(), expected);
}

TEST_CASE("gradients of losses: an ignored sample gets 0, weights that are all 0 give 0 / 0") {
  // 1 where the gradient is NaN.
  const auto nan_at = [](const Tensor& slope) { return slope.ne(slope).to(kLong); };
  const auto slope = [](auto loss, const Tensor& target, const Tensor& weight, double smoothing = 0) {
    const Tensor x = tensor({{1.0, 2.0, 3.0}, {0.5, -1.0, 2.0}}, dtype(kDouble).requires_grad(true));
    loss(x, target, weight, smoothing).backward();
    return x.grad();
  };
  const auto nll = [](const Tensor& x, const Tensor& target, const Tensor& weight, double) {
    return nll_loss(x, target, weight);
  };
  const auto entropy = [](const Tensor& x, const Tensor& target, const Tensor& weight, double smoothing) {
    return cross_entropy_loss(x, target, weight, Reduction::Mean, -100, smoothing);
  };
  const Tensor nothing = zeros({2, 3}, kDouble);
  const Tensor none = tensor({-100, -100});
  CHECK_EQ(slope(nll, none, {}), nothing);
  CHECK_EQ(slope(entropy, none, {}), nothing);
  CHECK_EQ(slope(entropy, none, {}, 0.1), nothing);
  const Tensor first = tensor({1, -100});
  const Tensor weightless = tensor({1.0, 0.0, 0.0}, kDouble);
  CHECK_EQ(nan_at(slope(nll, first, weightless)), tensor({{0, 1, 0}, {0, 0, 0}}));
  CHECK_EQ(nan_at(slope(entropy, first, weightless)), tensor({{1, 1, 1}, {0, 0, 0}}));
  CHECK_EQ(nan_at(slope(entropy, first, weightless, 0.1)), tensor({{1, 1, 1}, {0, 0, 0}}));
  CHECK_EQ(nan_at(slope(entropy, tensor({1, 2}), weightless)), full({2, 3}, 1));
  CHECK_EQ(slope(entropy, tensor({0, 1}), weightless)[1], zeros({3}, kDouble));
}

// %% [markdown]
// ## Modules
//
// `register_parameter` (module 03) passes every parameter through `op::parameter`, which did nothing so far. Now it makes parameters ask for gradients, and `Linear`, `Sequential` and the MLP can be trained without a change. `zero_grad` of a module forgets the gradients of all its parameters.

// %%
//| export nn/gradients_more.cpp
//| registers
void register_parameters() {
  op::parameter.set(Layer::InplaceOrView, [](const Tensor& tensor, bool requires_grad) {
    if (tensor.defined()) tensor.requires_grad_(requires_grad);
    return tensor;
  });
}

// %%
//| export nn/gradients_more.cpp
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

// %%
TEST_CASE("modules: parameters require gradients, and a whole network has them") {
  manual_seed(0);
  nn::Linear layer(3, 2);
  CHECK(layer->weight.requires_grad());
  const Tensor x = ones({4, 3});
  layer->forward(x).sum().backward();
  CHECK_EQ(layer->weight.grad(), full({2, 3}, 4.0));
  CHECK_EQ(layer->bias.grad(), full({2}, 4.0));
}

TEST_CASE("modules: zero_grad forgets, or makes zero") {
  nn::Linear layer(3, 2);
  layer->forward(ones({4, 3})).sum().backward();
  layer->zero_grad(false);
  CHECK_EQ(layer->weight.grad(), zeros({2, 3}));
  layer->zero_grad();
  CHECK(!layer->weight.grad().defined());
}

// %%
}  // namespace tinytorch
