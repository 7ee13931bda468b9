// From the lesson modules/95_gradients/gradients_dev.cpp:
// edit the module, not this file.

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

namespace tinytorch {

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

template <>
constexpr bool detail::counts_dims<op::mean> = true;
template <>
constexpr bool detail::counts_dims<op::prod> = true;

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

}  // namespace tinytorch
