// From the lesson modules/89_training_kernels/training_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/copy.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/kernels/function_kernels.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/nn/more_activations.h"

namespace tinytorch {

namespace {
template <class T>
const kernels::FunctionTable<T>& function_table() {
  using namespace kernels;
  static constexpr const FunctionKernels* tables[] = TINYTORCH_PER_CAPABILITY(function_kernels);
  const FunctionKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

bool has_function_kernel(const Tensor& x) { return x.numel() >= kernels::kFewElements && (x.scalar_type() == kFloat || x.scalar_type() == kDouble); }

template <class F>
void in_its_type(const Tensor& x, F f) {
  if (x.scalar_type() == kFloat) f.template operator()<float>();
  else f.template operator()<double>();
}

// f(self) as a new tensor in self's order of memory. REQUIRES: has_function_kernel.
template <class Pick>
Tensor function_of(const Tensor& self, Pick pick, const Scalar& p = 0, const Scalar& q = 0) {
  const Tensor result = empty_beside(self, self.sizes(), self.scalar_type());
  const bool dense = self.is_contiguous() || (self.strides() == result.strides() && is_dense(self));
  if (!dense) kernels::copy_elements(result, self);
  in_its_type(self, [&]<class T>() {
    const auto kernel = pick(function_table<T>());
    T* const out = result.data<T>();
    parallel_for(0, self.numel(), kernels::kElementwiseGrain, [&, in = dense ? self.data<T>() : out](std::int64_t first, std::int64_t stop) {
      kernel(in + first, stop - first, p.to<T>(), q.to<T>(), out + first);
    });
  });
  return result;
}

template <auto& Op, auto Pick>
Tensor function_tuned(const Tensor& self) {
  return has_function_kernel(self) ? function_of(self, Pick) : Op.function(Layer::CPU)(self);
}

Tensor elu_tuned(const Tensor& self, const Scalar& alpha) {
  return has_function_kernel(self) ? function_of(self, [](const auto& table) { return table.elu; }, alpha) : op::elu.function(Layer::CPU)(self, alpha);
}

Tensor softplus_tuned(const Tensor& self, const Scalar& beta, const Scalar& threshold) {
  return has_function_kernel(self) ? function_of(self, [](const auto& table) { return table.softplus; }, beta, threshold) : op::softplus.function(Layer::CPU)(self, beta, threshold);
}

bool is_weight(const std::optional<Tensor>& weight) { return weight && weight->defined(); }

Tensor bce_with_logits_tuned(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, const std::optional<Tensor>& pos_weight, std::int64_t reduction) {
  const bool ours = has_function_kernel(self) && target.scalar_type() == self.scalar_type() && target.sizes() == self.sizes() && !is_weight(weight) && !is_weight(pos_weight);
  if (!ours) return op::binary_cross_entropy_with_logits.function(Layer::CPU)(self, target, weight, pos_weight, reduction);
  const Tensor x = self.contiguous(), t = target.contiguous(), loss = empty(x.sizes(), x.scalar_type());
  in_its_type(x, [&]<class T>() {
    const auto kernel = function_table<T>().bce_with_logits;
    parallel_for(0, x.numel(), kernels::kElementwiseGrain, [&, from = x.data<T>(), at = t.data<T>(), to = loss.data<T>()](std::int64_t first, std::int64_t stop) {
      kernel(from + first, at + first, stop - first, to + first);
    });
  });
  if (reduction == Reduction::None) return loss;
  return reduction == Reduction::Mean ? mean(loss) : sum(loss);
}
}  // namespace

namespace {
bool are_bools(const Tensor& self) { return self.scalar_type() == kBool && self.is_contiguous() && self.numel() >= kernels::kFewElements; }

// As bytes: what is not 0 is true, whatever wrote it there.
template <auto& Op, auto F>
Tensor bools_tuned(const Tensor& self, const Tensor& other) {
  if (!are_bools(self) || !are_bools(other) || self.sizes() != other.sizes()) return Op.function(Layer::CPU)(self, other);
  const Tensor result = empty(self.sizes(), kBool);
  const auto *const a = reinterpret_cast<const std::uint8_t*>(self.data<bool>()), *const b = reinterpret_cast<const std::uint8_t*>(other.data<bool>());
  bool* const out = result.data<bool>();
  parallel_for(0, self.numel(), kernels::kElementwiseGrain, [=](std::int64_t first, std::int64_t stop) {
    for (std::int64_t i = first; i < stop; ++i) out[i] = F(a[i] != 0, b[i] != 0);
  });
  return result;
}

template <auto& Op>
Tensor not_tuned(const Tensor& self) {
  if (!are_bools(self)) return Op.function(Layer::CPU)(self);
  const Tensor result = empty(self.sizes(), kBool);
  const auto* const a = reinterpret_cast<const std::uint8_t*>(self.data<bool>());
  bool* const out = result.data<bool>();
  parallel_for(0, self.numel(), kernels::kElementwiseGrain, [=](std::int64_t first, std::int64_t stop) {
    for (std::int64_t i = first; i < stop; ++i) out[i] = a[i] == 0;
  });
  return result;
}

// Of each row the columns up to the diagonal, or from it on; zeros beside them.
template <auto& Op, bool Upper>
Tensor triangle_tuned(const Tensor& self, std::int64_t diagonal) {
  if (!self.is_contiguous() || self.numel() < kernels::kFewElements) return Op.function(Layer::CPU)(self, diagonal);
  const std::int64_t height = self.size(-2), width = self.size(-1), bytes = self.element_size();
  const Tensor result = empty(self.sizes(), self.scalar_type());
  const auto* const from = static_cast<const char*>(self.data_ptr());
  auto* const to = static_cast<char*>(result.data_ptr());
  parallel_for(0, self.numel() / width, std::max<std::int64_t>(1, kernels::kElementwiseGrain / width), [=](std::int64_t first, std::int64_t stop) {
    for (std::int64_t row = first; row < stop; ++row) {
      // Columns before `cut` are below or on the diagonal, or below it for the upper triangle.
      const std::int64_t cut = std::clamp<std::int64_t>(row % height + diagonal + (Upper ? 0 : 1), 0, width);
      const std::int64_t begin = row * width * bytes, middle = begin + cut * bytes, end = begin + width * bytes;
      std::copy(from + (Upper ? middle : begin), from + (Upper ? end : middle), to + (Upper ? middle : begin));
      std::fill(to + (Upper ? begin : middle), to + (Upper ? middle : end), '\0');
    }
  });
  return result;
}
}  // namespace

void register_tuned_functions() {
  constexpr Layer tuned = Layer::TunedCPU;
  op::log1p.set(tuned, function_tuned<op::log1p, [](const auto& table) { return table.log1p; }>);
  op::expm1.set(tuned, function_tuned<op::expm1, [](const auto& table) { return table.expm1; }>);
  op::sin.set(tuned, function_tuned<op::sin, [](const auto& table) { return table.sin; }>);
  op::cos.set(tuned, function_tuned<op::cos, [](const auto& table) { return table.cos; }>);
  op::mish.set(tuned, function_tuned<op::mish, [](const auto& table) { return table.mish; }>);
  op::log_sigmoid.set(tuned, function_tuned<op::log_sigmoid, [](const auto& table) { return table.log_sigmoid; }>);
  op::elu.set(tuned, elu_tuned);
  op::softplus.set(tuned, softplus_tuned);
  op::binary_cross_entropy_with_logits.set(tuned, bce_with_logits_tuned);
  op::logical_and.set(tuned, bools_tuned<op::logical_and, [](bool a, bool b) { return a & b; }>);
  op::logical_or.set(tuned, bools_tuned<op::logical_or, [](bool a, bool b) { return a | b; }>);
  op::logical_xor.set(tuned, bools_tuned<op::logical_xor, [](bool a, bool b) { return a != b; }>);
  op::bitwise_and.set(tuned, bools_tuned<op::bitwise_and, [](bool a, bool b) { return a & b; }>);
  op::bitwise_or.set(tuned, bools_tuned<op::bitwise_or, [](bool a, bool b) { return a | b; }>);
  op::bitwise_xor.set(tuned, bools_tuned<op::bitwise_xor, [](bool a, bool b) { return a != b; }>);
  op::logical_not.set(tuned, not_tuned<op::logical_not>);
  op::bitwise_not.set(tuned, not_tuned<op::bitwise_not>);
  op::tril.set(tuned, triangle_tuned<op::tril, false>);
  op::triu.set(tuned, triangle_tuned<op::triu, true>);
}

}  // namespace tinytorch
