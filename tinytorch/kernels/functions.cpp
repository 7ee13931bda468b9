// From the lesson modules/79_function_kernels/function_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <numeric>
#include <type_traits>
#include <vector>

#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/breadth.h"
#include "tinytorch/core/special.h"
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

template <auto& Op, auto Pick>
Tensor between_tuned(const Tensor& self, const Scalar& p, const Scalar& q) {
  return has_function_kernel(self) ? function_of(self, Pick, p, q) : Op.function(Layer::CPU)(self, p, q);
}

// A width that no float holds is infinite among floats, as in the reference.
template <auto& Op, auto Pick>
Tensor shrink_tuned(const Tensor& self, const Scalar& width) {
  if (!has_function_kernel(self)) return Op.function(Layer::CPU)(self, width);
  const double l = width.toDouble();
  return function_of(self, Pick, self.scalar_type() == kFloat ? static_cast<double>(static_cast<float>(l)) : l);
}

Tensor logit_tuned(const Tensor& self, double low, double high) {
  return has_function_kernel(self) ? function_of(self, [](const auto& table) { return table.logit; }, low, high) : op::logit.function(Layer::CPU)(self, low, high);
}

Tensor polygamma_tuned(const Tensor& self, std::int64_t n) {
  if (!has_function_kernel(self) || n > 1) return op::polygamma.function(Layer::CPU)(self, n);
  return function_of(self, [n](const auto& table) { return n == 0 ? table.digamma : table.trigamma; });
}

// Bools in self's order of memory.
template <auto& Op, auto Pick>
Tensor question_tuned(const Tensor& self) {
  if (!has_function_kernel(self)) return Op.function(Layer::CPU)(self);
  const Tensor result = empty_beside(self, self.sizes(), kBool);
  if (!self.is_contiguous() && !(self.strides() == result.strides() && is_dense(self))) return Op.function(Layer::CPU)(self);
  in_its_type(self, [&]<class T>() {
    const auto kernel = Pick(function_table<T>());
    parallel_for(0, self.numel(), kernels::kElementwiseGrain, [=, x = self.data<T>(), out = result.data<bool>()](std::int64_t first, std::int64_t stop) { kernel(x + first, stop - first, out + first); });
  });
  return result;
}

// f(self, other). REQUIRES: both contiguous and of one dtype; `other` of the same form or a single number.
template <class Pick>
Tensor pair_of(const Tensor& self, const Tensor& other, Pick pick, const Scalar& p = 0) {
  const Tensor result = empty(self.sizes(), self.scalar_type());
  const std::int64_t step = other.sizes() == self.sizes() ? 1 : 0;
  in_its_type(self, [&]<class T>() {
    const auto kernel = pick(function_table<T>());
    parallel_for(0, self.numel(), kernels::kElementwiseGrain, [&, x = self.data<T>(), y = other.data<T>(), out = result.data<T>()](std::int64_t first, std::int64_t stop) {
      kernel(x + first, y + first * step, step, stop - first, p.to<T>(), out + first);
    });
  });
  return result;
}

bool broadcasts_to(IntArrayRef sizes, IntArrayRef larger) {
  const std::size_t more = larger.size() - sizes.size();
  for (std::size_t i = 0; i < sizes.size(); ++i)
    if (sizes[i] != 1 && sizes[i] != larger[i + more]) return false;
  return true;
}

// Whether the result has self's form and dtype, for which there are kernels: `other` is a single number of any dtype, or broadcasts.
bool is_like_first(const Tensor& self, const Tensor& other) {
  if (!has_function_kernel(self) || !self.is_contiguous() || other.dim() > self.dim()) return false;
  if (other.numel() == 1) return result_type(self, other) == self.scalar_type();
  return other.scalar_type() == self.scalar_type() && broadcasts_to(other.sizes(), self.sizes());
}

// The only dimension of self along which `other` changes; -1 where there are more.
std::int64_t only_dimension(const Tensor& self, const Tensor& other) {
  std::int64_t only = -1;
  for (std::int64_t d = 0; d < other.dim(); ++d) {
    if (other.size(d) == 1) continue;
    if (only >= 0) return -1;
    only = d + self.dim() - other.dim();
  }
  return only;
}

// f(self, other) where `other` changes along dimension d only: a row of all of its numbers, or rows of one number each.
template <class Pick>
Tensor pair_by_rows(const Tensor& self, const Tensor& other, std::int64_t d, Pick pick) {
  const Tensor result = empty(self.sizes(), self.scalar_type()), numbers = other.contiguous();
  const std::int64_t count = self.size(d), inner = multiply_sizes(self.sizes().slice(static_cast<std::size_t>(d) + 1));
  const std::int64_t length = inner == 1 ? count : inner, step = inner == 1 ? 1 : 0;
  in_its_type(self, [&]<class T>() {
    const auto kernel = pick(function_table<T>());
    parallel_for(0, self.numel() / length, std::max<std::int64_t>(1, kernels::kElementwiseGrain / length), [&, x = self.data<T>(), y = numbers.data<T>(), out = result.data<T>()](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop; ++i) kernel(x + i * length, step == 1 ? y : y + i % count, step, length, T{0}, out + i * length);
    });
  });
  return result;
}

// REQUIRES: is_like_first(self, other).
template <class Pick>
Tensor pair_like_first(const Tensor& self, const Tensor& other, Pick pick) {
  constexpr std::int64_t long_enough = 32;  // for a call of the kernel
  if (other.numel() == 1) return pair_of(self, other.scalar_type() == self.scalar_type() ? other : to_dtype(other, self.scalar_type()), pick);
  const std::int64_t d = only_dimension(self, other);
  const bool by_rows = d >= 0 && (d == self.dim() - 1 ? self.size(d) : multiply_sizes(self.sizes().slice(static_cast<std::size_t>(d) + 1))) >= long_enough;
  return by_rows ? pair_by_rows(self, other, d, pick) : pair_of(self, other.expand(self.sizes()).contiguous(), pick);
}

template <auto& Op, auto Pick>
Tensor pair_tuned(const Tensor& self, const Tensor& other) {
  return is_like_first(self, other) ? pair_like_first(self, other, Pick) : Op.function(Layer::CPU)(self, other);
}

// Either operand may be the one that is stretched.
Tensor logaddexp_tuned(const Tensor& self, const Tensor& other) {
  const bool turned = !is_like_first(self, other) && is_like_first(other, self);
  return pair_tuned<op::logaddexp, [](const auto& table) { return table.logaddexp; }>(turned ? other : self, turned ? self : other);
}

Tensor pow_tuned(const Tensor& self, const Scalar& exponent) {
  const double e = exponent.toDouble();
  if (const Tensor simple = kernels::simple_power(self, e); simple.defined()) return simple;
  if (!has_function_kernel(self) || !self.is_contiguous() || e == -2) return op::pow.function(Layer::CPU)(self, exponent);
  return pair_of(self, full({}, exponent, self.scalar_type()), [](const auto& table) { return table.pow; });
}

// One base for all exponents too.
Tensor pow_tensor_tuned(const Tensor& self, const Tensor& exponent) {
  if (self.numel() == 1 && exponent.numel() > 1 && is_like_first(exponent, self)) return pair_like_first(exponent, self, [](const auto& table) { return table.power_of_base; });
  return pair_tuned<op::pow_tensor, [](const auto& table) { return table.pow; }>(self, exponent);
}

// x (outer, count, inner) multiplied along the middle. Blocks of a fixed size, whatever the number of threads.
template <class T>
void multiply_along(const T* x, std::int64_t outer, std::int64_t count, std::int64_t inner, T* out) {
  constexpr std::int64_t columns = 1024;
  const auto& table = function_table<T>();
  if (inner > 1) {
    const std::int64_t blocks = (inner + columns - 1) / columns;
    parallel_for(0, outer * blocks, std::max<std::int64_t>(1, kernels::kElementwiseGrain / (count * std::min(inner, columns))), [=](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop; ++i) {
        const std::int64_t begin = i % blocks * columns, width = std::min(columns, inner - begin);
        std::array<double, columns> totals;
        std::fill_n(totals.begin(), width, 1.0);
        for (std::int64_t k = 0; k < count; ++k) table.multiply_to(x + (i / blocks * count + k) * inner + begin, width, totals.data());
        std::transform(totals.begin(), totals.begin() + width, out + i / blocks * inner + begin, [](double total) { return static_cast<T>(total); });
      }
    });
  } else if (outer > 1) {
    parallel_for(0, outer, std::max<std::int64_t>(1, kernels::kElementwiseGrain / count), [=](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop; ++i) out[i] = static_cast<T>(table.product(x + i * count, count));
    });
  } else {
    std::vector<double> parts(static_cast<std::size_t>((count + kernels::kElementwiseGrain - 1) / kernels::kElementwiseGrain));
    parallel_for(0, std::ssize(parts), 1, [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop; ++i) {
        const std::int64_t begin = i * kernels::kElementwiseGrain;
        parts[static_cast<std::size_t>(i)] = table.product(x + begin, std::min(kernels::kElementwiseGrain, count - begin));
      }
    });
    out[0] = static_cast<T>(std::accumulate(parts.begin(), parts.end(), 1.0, std::multiplies<>()));
  }
}

// Along all dimensions or one.
Tensor prod_tuned(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const bool ours = has_function_kernel(self) && self.is_contiguous() && (dim.empty() || (dim.size() == 1 && dim[0] >= -self.dim() && dim[0] < self.dim()));
  if (!ours) return op::prod.function(Layer::CPU)(self, dim, keepdim);
  std::int64_t count = self.numel(), inner = 1;
  DimVector sizes(keepdim ? self.sizes().size() : 0, 1);
  if (!dim.empty()) {
    const auto d = static_cast<std::size_t>(dim[0] < 0 ? dim[0] + self.dim() : dim[0]);
    count = self.sizes()[d];
    inner = multiply_sizes(self.sizes().slice(d + 1));
    sizes = DimVector(self.sizes());
    if (keepdim) sizes[d] = 1;
    else sizes.erase(d);
  }
  const Tensor result = empty(sizes, self.scalar_type());
  in_its_type(self, [&]<class T>() { multiply_along(self.data<T>(), self.numel() / (count * inner), count, inner, result.data<T>()); });
  return result;
}

// What each scan does with a number, and where it begins.
struct SumSoFar {
  static constexpr double kBegin = 0;
  static double with(double total, double x) { return total + x; }
};
struct ProductSoFar {
  static constexpr double kBegin = 1;
  static double with(double total, double x) { return total * x; }
};

// Sums or products so far, in double, of x (outer, count, inner) along the middle: rows four at a time, which do not wait for each other.
template <class T, class Scan>
void scan_along(const T* x, std::int64_t outer, std::int64_t count, std::int64_t inner, T* out) {
  constexpr std::int64_t columns = 1024;
  if (inner > 1) {
    const std::int64_t blocks = (inner + columns - 1) / columns;
    parallel_for(0, outer * blocks, std::max<std::int64_t>(1, kernels::kElementwiseGrain / (count * std::min(inner, columns))), [=](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop; ++i) {
        const std::int64_t at = i % blocks * columns, width = std::min(columns, inner - at);
        std::array<double, columns> totals;
        std::fill_n(totals.begin(), width, Scan::kBegin);
        for (std::int64_t k = 0; k < count; ++k) {
          const std::int64_t row = (i / blocks * count + k) * inner + at;
          for (std::int64_t j = 0; j < width; ++j) out[row + j] = static_cast<T>(totals[static_cast<std::size_t>(j)] = Scan::with(totals[static_cast<std::size_t>(j)], static_cast<double>(x[row + j])));
        }
      }
    });
  } else {
    constexpr std::int64_t together = 4;
    parallel_for(0, (outer + together - 1) / together, std::max<std::int64_t>(1, kernels::kElementwiseGrain / (together * count)), [=](std::int64_t first, std::int64_t stop) {
      const std::int64_t end = std::min(stop * together, outer);
      std::int64_t row = first * together;
      for (; row + together <= end; row += together) {
        std::array<double, together> totals;
        totals.fill(Scan::kBegin);
        for (std::int64_t k = 0; k < count; ++k)
          for (std::int64_t r = 0; r < together; ++r) {
            double& total = totals[static_cast<std::size_t>(r)];
            out[(row + r) * count + k] = static_cast<T>(total = Scan::with(total, static_cast<double>(x[(row + r) * count + k])));
          }
      }
      for (; row < end; ++row) {
        double total = Scan::kBegin;
        for (std::int64_t k = 0; k < count; ++k) out[row * count + k] = static_cast<T>(total = Scan::with(total, static_cast<double>(x[row * count + k])));
      }
    });
  }
}

template <auto& Op, class Scan>
Tensor scan_tuned(const Tensor& self, std::int64_t dim) {
  if (!has_function_kernel(self) || !self.is_contiguous()) return Op.function(Layer::CPU)(self, dim);
  const std::int64_t count = self.size(dim), inner = multiply_sizes(self.sizes().slice(static_cast<std::size_t>(dim) + 1));
  if (inner > 1 && inner < 8) return Op.function(Layer::CPU)(self, dim);  // such rows are not worth a block each
  const Tensor result = empty(self.sizes(), self.scalar_type());
  in_its_type(self, [&]<class T>() { scan_along<T, Scan>(self.data<T>(), self.numel() / (count * inner), count, inner, result.data<T>()); });
  return result;
}

bool is_weight(const std::optional<Tensor>& weight) { return weight && weight->defined(); }

bool has_loss_kernel(const Tensor& self, const Tensor& target) { return has_function_kernel(self) && target.scalar_type() == self.scalar_type() && target.sizes() == self.sizes(); }

// The sums of chapter 77, whose order is the same for any number of threads.
Tensor reduced(const Tensor& loss, std::int64_t reduction) {
  if (reduction == Reduction::None) return loss;
  return reduction == Reduction::Mean ? mean(loss) : sum(loss);
}

Tensor bce_with_logits_tuned(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, const std::optional<Tensor>& pos_weight, std::int64_t reduction) {
  const bool ours = has_loss_kernel(self, target) && !is_weight(weight) && !is_weight(pos_weight);
  if (!ours) return op::binary_cross_entropy_with_logits.function(Layer::CPU)(self, target, weight, pos_weight, reduction);
  return reduced(pair_of(self.contiguous(), target.contiguous(), [](const auto& table) { return table.bce_with_logits; }), reduction);
}

// The reference checks each probability and says which one is none.
bool are_probabilities(const Tensor& x) { return amin(x, {}).item<double>() >= 0 && amax(x, {}).item<double>() <= 1; }

Tensor bce_tuned(const Tensor& self, const Tensor& target, const std::optional<Tensor>& weight, std::int64_t reduction) {
  if (!has_loss_kernel(self, target) || is_weight(weight) || !are_probabilities(self)) return op::binary_cross_entropy.function(Layer::CPU)(self, target, weight, reduction);
  return reduced(pair_of(self.contiguous(), target.contiguous(), [](const auto& table) { return table.bce; }), reduction);
}

template <auto& Op, auto Pick>
Tensor distance_loss_tuned(const Tensor& self, const Tensor& target, std::int64_t reduction, double p) {
  if (!has_loss_kernel(self, target)) return Op.function(Layer::CPU)(self, target, reduction, p);
  return reduced(pair_of(self.contiguous(), target.contiguous(), Pick, p), reduction);
}

Tensor mse_loss_tuned(const Tensor& self, const Tensor& target, std::int64_t reduction) {
  if (!has_loss_kernel(self, target) || reduction < Reduction::None || reduction > Reduction::Sum) return op::mse_loss.function(Layer::CPU)(self, target, reduction);
  return reduced(pair_of(self.contiguous(), target.contiguous(), [](const auto& table) { return table.squared_error; }, 0), reduction);
}

Tensor nan_to_num_tuned(const Tensor& self, double nan, double posinf, double neginf) {
  if (!has_function_kernel(self) || !self.is_contiguous()) return op::nan_to_num.function(Layer::CPU)(self, nan, posinf, neginf);
  const Tensor result = empty(self.sizes(), self.scalar_type());
  in_its_type(self, [&]<class T>() {
    parallel_for(0, self.numel(), kernels::kElementwiseGrain, [=, x = self.data<T>(), out = result.data<T>(), kernel = function_table<T>().nan_to_num](std::int64_t first, std::int64_t stop) {
      kernel(x + first, stop - first, static_cast<T>(nan), static_cast<T>(posinf), static_cast<T>(neginf), out + first);
    });
  });
  return result;
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
  op::tan.set(tuned, function_tuned<op::tan, [](const auto& table) { return table.tan; }>);
  op::atan.set(tuned, function_tuned<op::atan, [](const auto& table) { return table.atan; }>);
  op::fmod.set(tuned, pair_tuned<op::fmod, [](const auto& table) { return table.fmod; }>);
  op::remainder.set(tuned, pair_tuned<op::remainder, [](const auto& table) { return table.remainder; }>);
  op::floor_divide.set(tuned, pair_tuned<op::floor_divide, [](const auto& table) { return table.floor_divide; }>);
  op::exp2.set(tuned, function_tuned<op::exp2, [](const auto& table) { return table.exp2; }>);
  op::log2.set(tuned, function_tuned<op::log2, [](const auto& table) { return table.log2; }>);
  op::log10.set(tuned, function_tuned<op::log10, [](const auto& table) { return table.log10; }>);
  op::asin.set(tuned, function_tuned<op::asin, [](const auto& table) { return table.asin; }>);
  op::acos.set(tuned, function_tuned<op::acos, [](const auto& table) { return table.acos; }>);
  op::erfinv.set(tuned, function_tuned<op::erfinv, [](const auto& table) { return table.erfinv; }>);
  op::atan2.set(tuned, pair_tuned<op::atan2, [](const auto& table) { return table.atan2; }>);
  op::sinh.set(tuned, function_tuned<op::sinh, [](const auto& table) { return table.sinh; }>);
  op::cosh.set(tuned, function_tuned<op::cosh, [](const auto& table) { return table.cosh; }>);
  op::asinh.set(tuned, function_tuned<op::asinh, [](const auto& table) { return table.asinh; }>);
  op::acosh.set(tuned, function_tuned<op::acosh, [](const auto& table) { return table.acosh; }>);
  op::atanh.set(tuned, function_tuned<op::atanh, [](const auto& table) { return table.atanh; }>);
  op::erfc.set(tuned, function_tuned<op::erfc, [](const auto& table) { return table.erfc; }>);
  op::hypot.set(tuned, pair_tuned<op::hypot, [](const auto& table) { return table.hypot; }>);
  op::copysign.set(tuned, pair_tuned<op::copysign, [](const auto& table) { return table.copysign; }>);
  op::logaddexp.set(tuned, logaddexp_tuned);
  op::lgamma.set(tuned, function_tuned<op::lgamma, [](const auto& table) { return table.lgamma; }>);
  op::polygamma.set(tuned, polygamma_tuned);
  op::frac.set(tuned, function_tuned<op::frac, [](const auto& table) { return table.frac; }>);
  op::sign.set(tuned, function_tuned<op::sign, [](const auto& table) { return table.sign; }>);
  op::logit.set(tuned, logit_tuned);
  op::hardsigmoid.set(tuned, function_tuned<op::hardsigmoid, [](const auto& table) { return table.hardsigmoid; }>);
  op::hardswish.set(tuned, function_tuned<op::hardswish, [](const auto& table) { return table.hardswish; }>);
  op::hardtanh.set(tuned, between_tuned<op::hardtanh, [](const auto& table) { return table.hardtanh; }>);
  op::threshold.set(tuned, between_tuned<op::threshold, [](const auto& table) { return table.threshold; }>);
  op::hardshrink.set(tuned, shrink_tuned<op::hardshrink, [](const auto& table) { return table.hardshrink; }>);
  op::softshrink.set(tuned, shrink_tuned<op::softshrink, [](const auto& table) { return table.softshrink; }>);
  op::isnan.set(tuned, question_tuned<op::isnan, [](const auto& table) { return table.isnan; }>);
  op::isinf.set(tuned, question_tuned<op::isinf, [](const auto& table) { return table.isinf; }>);
  op::isfinite.set(tuned, question_tuned<op::isfinite, [](const auto& table) { return table.isfinite; }>);
  op::pow.set(tuned, pow_tuned);
  op::pow_tensor.set(tuned, pow_tensor_tuned);
  op::prelu.set(tuned, pair_tuned<op::prelu, [](const auto& table) { return table.prelu; }>);
  op::prod.set(tuned, prod_tuned);
  op::cumsum.set(tuned, scan_tuned<op::cumsum, SumSoFar>);
  op::cumprod.set(tuned, scan_tuned<op::cumprod, ProductSoFar>);
  op::mish.set(tuned, function_tuned<op::mish, [](const auto& table) { return table.mish; }>);
  op::log_sigmoid.set(tuned, function_tuned<op::log_sigmoid, [](const auto& table) { return table.log_sigmoid; }>);
  op::elu.set(tuned, elu_tuned);
  op::softplus.set(tuned, softplus_tuned);
  op::binary_cross_entropy_with_logits.set(tuned, bce_with_logits_tuned);
  op::binary_cross_entropy.set(tuned, bce_tuned);
  op::mse_loss.set(tuned, mse_loss_tuned);
  op::smooth_l1_loss.set(tuned, distance_loss_tuned<op::smooth_l1_loss, [](const auto& table) { return table.smooth_l1; }>);
  op::huber_loss.set(tuned, distance_loss_tuned<op::huber_loss, [](const auto& table) { return table.huber; }>);
  op::nan_to_num.set(tuned, nan_to_num_tuned);
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
