// From the lesson modules/83_half_precision/half_precision_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/half_precision.h"

#include <type_traits>

#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/nn/more_activations.h"

namespace tinytorch {

namespace {
// As PyTorch draws them: blocks of 16, each transformed before the next is drawn; a last one that is not full overlaps the block before it.
const Tensor& normal_in_float(const Tensor& self, double mean, double std, std::optional<Generator> generator) {
  const ExcludeLayersGuard guard(detail::above_cpu);
  const Tensor whole = to_dtype(self, kFloat);
  const std::int64_t n = self.numel();
  if (n < 16 || !self.is_contiguous() || n % 16 == 0) {
    op::normal_(whole, mean, std, generator);
  } else {
    const Tensor flat = whole.view({n});
    op::normal_(flat.slice(0, 0, n / 16 * 16), mean, std, generator);
    op::normal_(flat.slice(0, n - 16, n), mean, std, generator);
  }
  copy_into(self, whole);
  return self;
}

// Without bounds, as many integers as the dtype holds exactly: 2^11 and 2^8.
const Tensor& random_in_float(const Tensor& self, std::optional<std::int64_t> from, std::optional<std::int64_t> to, std::optional<Generator> generator) {
  const ExcludeLayersGuard guard(detail::above_cpu);
  const Tensor whole = to_dtype(self, kFloat);
  op::random_(whole, from.value_or(0), !from && !to ? (self.scalar_type() == kHalf ? 2049 : 257) : to, generator);
  copy_into(self, whole);
  return self;
}

// An operator that takes numbers of self to other places moves their bits: no float copy of a table of which a few rows are asked for.
template <auto& Op, class Signature>
struct ByBits;

template <auto& Op, class... Args>
struct ByBits<Op, Operator<Tensor(const Tensor&, Args...)>> {
  static Tensor call(const Tensor& self, Args... args) {
    const ExcludeLayersGuard guard(detail::above_cpu);
    return isReducedFloatingType(self.scalar_type()) ? Op(self.view(kShort), args...).view(self.scalar_type()) : Op(self, args...);
  }
};

template <auto&... Ops>
void move_by_bits() {
  (Ops.set(Layer::HalfPrecision, &ByBits<Ops, std::remove_cvref_t<decltype(Ops)>>::call), ...);
}
}  // namespace

void register_half_precision() {
  compute_in_float<op::add, op::add_, op::sub, op::sub_, op::mul, op::mul_,
                   op::div, op::div_, op::neg, op::pow, op::pow_tensor, op::floor_divide>();
  compute_in_float<op::exp, op::log, op::log1p, op::expm1, op::log2, op::log10, op::sqrt, op::rsqrt,
                   op::reciprocal, op::abs, op::sign, op::sin, op::cos, op::tan, op::atan, op::erf>();
  compute_in_float<op::floor, op::ceil, op::round, op::trunc, op::clamp, op::lerp, op::addcmul, op::addcdiv, op::lerp_, op::addcmul_, op::addcdiv_>();
  round_and_compute_in_float<op::eq, op::ne, op::lt, op::le, op::gt, op::ge, op::maximum, op::minimum, op::where, op::remainder>();
  compute_in_float<op::logical_not, op::logical_and, op::logical_or, op::logical_xor, op::isnan, op::isinf, op::isfinite>();
  compute_in_float<op::sum, op::amax, op::amin, op::max, op::min, op::argmax, op::argmin, op::prod,
                   op::any, op::all, op::var, op::std, op::norm, op::cumsum, op::sort, op::topk>();
  compute_in_float<op::mm, op::bmm, op::addmm, op::tril, op::triu>();
  move_by_bits<op::index, op::index_select, op::gather>();
  compute_in_float<op::index_put_, op::index_add_, op::scatter_, op::scatter_add_, op::nonzero>();
  compute_in_float<op::relu, op::relu_, op::leaky_relu, op::elu, op::gelu,
                   op::sigmoid, op::tanh, op::silu, op::softplus, op::softmax, op::log_softmax>();
  compute_in_float<op::hardsigmoid, op::hardswish, op::glu, op::hardtanh, op::threshold, op::hardshrink, op::softshrink, op::mish, op::log_sigmoid, op::prelu>();
  compute_in_float<op::nll_loss, op::nll_loss2d, op::cross_entropy, op::binary_cross_entropy, op::binary_cross_entropy_with_logits>();
  compute_in_float<op::uniform_, op::bernoulli_, op::bernoulli_tensor_, op::exponential_, op::cauchy_, op::log_normal_, op::geometric_, op::poisson>();
  op::normal_.set(Layer::HalfPrecision, normal_in_float);
  op::random_.set(Layer::HalfPrecision, random_in_float);
  detail::asks_for_gradients = [](const Tensor& self) { return self.requires_grad(); };
}

}  // namespace tinytorch
