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
// Module 05 gives the operators of module 01 and the activations and losses their gradients. This chapter does the same for the operators of chapter 90: one line of
// calculus each, written with operators, so that second derivatives follow. PyTorch keeps the same table in `tools/autograd/derivatives.yaml`, from which it
// generates its C++.
//
//     operator            what arrives: g                    what goes back
//     gather         (N, K) picked from (N, C)     scatter_add into zeros (N, C)
//     cat            the joined tensor             its pieces, by narrow
//     cumsum         each prefix                   the sums from the other end

// %%
//| after 05
//| export core/gradients_more.cpp
#include <algorithm>
#include <cmath>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"

// %%
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

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
TEST_CASE("gradients of prod: one zero, two zeros") {
  const Tensor x = tensor({{2.0, 0.0, 3.0}, {0.0, 0.0, 3.0}}, dtype(kDouble).requires_grad(true));
  prod(x, 1).sum().backward();
  CHECK_EQ(x.grad(), tensor({{0.0, 6.0, 0.0}, {0.0, 0.0, 0.0}}, kDouble));
}

// %% [markdown]
// ## Indexing and joining
//
// Reading and writing by index are each other's gradients. A position that is read twice receives twice: the way back must add.

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
TEST_CASE("gradients of indexing: what is read twice receives twice") {
  const Tensor x = tensor({1.0, 2.0, 3.0}, dtype(kDouble).requires_grad(true));
  const Tensor y = cat({index_select(x, 0, tensor({2, 2, 0})), x * 10.0}, 0);
  y.sum().backward();
  CHECK_EQ(x.grad(), tensor({11.0, 10.0, 12.0}, kDouble));
}

// %% [markdown]
// ## Writes in place
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
  count_writes<op::uniform_, op::normal_, op::random_, op::bernoulli_, op::bernoulli_tensor_, op::exponential_>();
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
}

// %%
}  // namespace tinytorch

