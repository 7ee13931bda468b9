// From the lesson modules/80_data_kernels/data_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "tinytorch/core/half_precision.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/kernels/half_products.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/activations.h"

namespace tinytorch {

namespace {
constexpr std::int64_t kPiece = 4096;

std::uint16_t* halves_of(const Tensor& x) { return static_cast<std::uint16_t*>(x.data_ptr()); }

bool comes_in_pieces(const Tensor& self) { return kernels::is_tuned_half(self) && self.numel() >= kernels::kFewElements && self.is_contiguous(); }

// Whether an argument can go along with pieces of `self`: it has as many numbers of the same type in the same order, or is a single number.
bool goes_along(const Tensor& self, const Tensor& x) {
  if (!x.defined() || x.is_elsewhere()) return false;
  return x.dim() == 0 || (x.scalar_type() == self.scalar_type() && x.sizes() == self.sizes() && x.is_contiguous());
}
template <class T>
bool goes_along(const Tensor&, const T&) {
  return true;
}

// Whether a write to a piece of `self` leaves what later pieces read of an argument.
bool stays(const Tensor& self, const Tensor& x) { return same_elements(self, x) || !ranges_overlap(self, x); }
template <class T>
bool stays(const Tensor&, const T&) {
  return true;
}

// Numbers first to first + count of a tensor as floats; other arguments as they are.
Tensor piece_of(const Tensor& x, std::int64_t first, std::int64_t count) {
  if (x.dim() == 0) return isReducedFloatingType(x.scalar_type()) ? op::to_dtype.function(Layer::CPU)(x, kFloat) : x;
  const Tensor floats = empty({count}, kFloat);
  kernels::half_table(x.scalar_type()).widen(floats.data<float>(), halves_of(x) + first, count);
  return floats;
}
template <class T>
const T& piece_of(const T& argument, std::int64_t, std::int64_t) {
  return argument;
}

// The length of pieces of at most `most` into which `count` numbers divide about evenly, so that no piece is left with a few.
std::int64_t even_length(std::int64_t count, std::int64_t most) {
  const std::int64_t pieces = (count + most - 1) / most;
  return (count + pieces - 1) / pieces;
}

// Calls f(first, count) for pieces of `to`, and rounds the floats that it gives to their places there.
template <class F>
void write_in_pieces(const Tensor& to, F f) {
  const kernels::HalfTable& table = kernels::half_table(to.scalar_type());
  parallel_for(0, to.numel(), even_length(to.numel(), kernels::kElementwiseGrain), [&](std::int64_t first, std::int64_t stop) {
    const std::int64_t length = even_length(stop - first, kPiece);
    for (std::int64_t i = first; i < stop; i += length) {
      const std::int64_t count = std::min(length, stop - i);
      const Tensor floats = f(i, count);
      table.narrow(halves_of(to) + i, floats.template data<float>(), count);
    }
  });
}

// The form of an operator for Half and BFloat16 that works in pieces. What it cannot do goes to `whole`, chapter 83's form.
template <auto& Op, class Signature>
struct InPieces;

template <auto& Op, class... Args>
struct InPieces<Op, Operator<Tensor(const Tensor&, Args...)>> {
  static inline Tensor (*whole)(const Tensor&, Args...) = nullptr;

  static Tensor call(const Tensor& self, Args... args) {
    if (!comes_in_pieces(self) || !(goes_along(self, args) && ...)) return whole(self, std::forward<Args>(args)...);
    const Tensor result = empty(self.sizes(), self.scalar_type());
    write_in_pieces(result, [&](std::int64_t first, std::int64_t count) {
      return Op.function(Layer::TunedCPU)(piece_of(self, first, count), piece_of(args, first, count)...);
    });
    return result;
  }
};

template <auto& Op, class... Args>
struct InPieces<Op, Operator<const Tensor&(const Tensor&, Args...)>> {
  static inline const Tensor& (*whole)(const Tensor&, Args...) = nullptr;

  static const Tensor& call(const Tensor& self, Args... args) {
    if (!comes_in_pieces(self) || !((goes_along(self, args) && stays(self, args)) && ...)) return whole(self, std::forward<Args>(args)...);
    write_in_pieces(self, [&](std::int64_t first, std::int64_t count) {
      const Tensor floats = piece_of(self, first, count);
      Op.function(Layer::TunedCPU)(floats, piece_of(args, first, count)...);
      return floats;
    });
    return self;
  }
};

template <auto& Op>
using InPiecesOf = InPieces<Op, std::remove_cvref_t<decltype(Op)>>;

// How the numbers of an operand go along with those of a contiguous `self`, seen as rows of `length`: as many, the same row for each, or one number for each.
struct RowsBeside {
  std::int64_t length;
  enum Kind { Each, OneRow, NumberPerRow, Number } kind;
};

// Nothing if it is stretched in another way, or has another type.
std::optional<RowsBeside> rows_beside(const Tensor& self, const Tensor& x) {
  constexpr std::int64_t kShort = 32;
  if (goes_along(self, x)) return RowsBeside{self.numel(), x.dim() == 0 ? RowsBeside::Number : RowsBeside::Each};
  if (!x.defined() || x.is_elsewhere() || x.scalar_type() != self.scalar_type() || !x.is_contiguous() || x.numel() == 0 || x.dim() > self.dim()) return {};
  IntArrayRef own = x.sizes();
  while (!own.empty() && own[0] == 1) own = own.slice(1);
  if (x.numel() >= kShort && IntArrayRef(self.sizes()).slice(static_cast<std::size_t>(self.dim()) - own.size()) == own) return RowsBeside{x.numel(), RowsBeside::OneRow};
  const std::size_t rows = static_cast<std::size_t>(self.dim()) - 1;
  if (x.dim() == self.dim() && x.size(-1) == 1 && self.size(-1) >= kShort && x.sizes().slice(0, rows) == self.sizes().slice(0, rows)) return RowsBeside{self.size(-1), RowsBeside::NumberPerRow};
  return {};
}

// to = self (operation) other, in registers; without an `other` (undefined) the operation is one of self alone.
void combine_halves(const Tensor& to, kernels::HalfOperation operation, const Tensor& self, const Tensor& other, const RowsBeside& beside) {
  const float number = other.defined() && beside.kind == RowsBeside::Number ? static_cast<float>(other.item().to<double>()) : 0.0F;
  const Tensor floats = beside.kind == RowsBeside::NumberPerRow ? piece_of(other.flatten(), 0, other.numel()) : Tensor();
  const float* const of_row = floats.defined() ? floats.data<float>() : nullptr;
  const std::uint16_t* const numbers = beside.kind == RowsBeside::Each || beside.kind == RowsBeside::OneRow ? halves_of(other) : nullptr;
  const auto combine = kernels::half_table(self.scalar_type()).combine;
  parallel_for(0, self.numel(), kernels::kElementwiseGrain, [&, in = halves_of(self), out = halves_of(to)](std::int64_t first, std::int64_t stop) {
    for (std::int64_t i = first, count = 0; i < stop; i += count) {
      const std::int64_t row = i / beside.length, at = i % beside.length;
      count = std::min(beside.length - at, stop - i);
      combine(operation, out + i, in + i, numbers == nullptr ? nullptr : numbers + at, of_row == nullptr ? number : of_row[row], count);
    }
  });
}

// The forms of the four operations, with a factor only where it is 1. `kTurned` is the operation with its operands exchanged.
template <auto& Op, kernels::HalfOperation kOperation, kernels::HalfOperation kTurned, class... Alpha>
Tensor combined_halves(const Tensor& self, const Tensor& other, Alpha... alpha) {
  const bool turned = self.numel() < other.numel() || (self.dim() == 0 && other.dim() > 0);
  const Tensor &large = turned ? other : self, &beside = turned ? self : other;
  const std::optional<RowsBeside> rows = comes_in_pieces(large) && (alpha.equal(1) && ...) ? rows_beside(large, beside) : std::nullopt;
  if (!rows) return InPiecesOf<Op>::call(self, other, alpha...);
  const Tensor result = empty(large.sizes(), large.scalar_type());
  combine_halves(result, turned ? kTurned : kOperation, large, beside, *rows);
  return result;
}
template <auto& Op, kernels::HalfOperation kOperation, class... Alpha>
const Tensor& combined_halves_in_place(const Tensor& self, const Tensor& other, Alpha... alpha) {
  const std::optional<RowsBeside> rows = comes_in_pieces(self) && (alpha.equal(1) && ...) ? rows_beside(self, other) : std::nullopt;
  if (!rows || !stays(self, other)) return InPiecesOf<Op>::call(self, other, alpha...);
  combine_halves(self, kOperation, self, other, *rows);
  return self;
}

template <auto& Op, kernels::HalfOperation kOperation>
Tensor mapped_halves(const Tensor& self) {
  if (!comes_in_pieces(self)) return InPiecesOf<Op>::call(self);
  const Tensor result = empty(self.sizes(), self.scalar_type());
  combine_halves(result, kOperation, self, Tensor(), {self.numel(), RowsBeside::Number});
  return result;
}

Tensor (*sum_of_whole)(const Tensor&, IntArrayRef, bool) = nullptr;  // chapter 83's form

// The last of its summed dimensions that are neighbours: `self` is (outer, length, inner) around them, and those before `begin` are left.
struct LastSummed {
  std::size_t begin, end;
  std::int64_t outer, length, inner;
};

// REQUIRES: something is summed.
LastSummed last_summed(IntArrayRef sizes, const std::vector<bool>& is_summed) {
  std::size_t end = sizes.size();
  while (!is_summed[end - 1]) --end;
  std::size_t begin = end - 1;
  while (begin > 0 && (is_summed[begin - 1] || sizes[begin - 1] == 1)) --begin;
  return {begin, end, multiply_sizes(sizes.slice(0, begin)), multiply_sizes(sizes.slice(begin, end - begin)), multiply_sizes(sizes.slice(end))};
}

// Numbers are widened in registers on their way into sums, which are floats and rounded once.
Tensor sum_of_halves(const Tensor& self, IntArrayRef dim, bool keepdim) {
  if (!comes_in_pieces(self) || self.numel() <= kernels::kElementwiseGrain) return sum_of_whole(self, dim, keepdim);
  const std::vector<bool> is_summed = reduction_mask(self, dim);
  LastSummed form = last_summed(self.sizes(), is_summed);
  // All numbers are rows, too, of which the last may be shorter.
  constexpr std::int64_t kRow = 1 << 15, kColumns = 64;
  const bool of_all = form.length == self.numel();
  if (of_all) form = {0, 0, (self.numel() + kRow - 1) / kRow, kRow, 1};
  // Short lines are joined in pairs, so that more sums do not wait for each other: a line has `joined` parts, which are summed at the end.
  std::int64_t joined = 1;
  for (; form.inner > 1 && 2 * form.inner <= kColumns && form.length % 2 == 0; form.length /= 2, form.inner *= 2) joined *= 2;
  if (form.inner > 1 && form.inner < 16) return sum_of_whole(self, dim, keepdim);
  const kernels::HalfTable& table = kernels::half_table(self.scalar_type());
  Tensor sums = empty({form.outer, form.inner}, kFloat);
  const std::int64_t strips = (form.inner + kColumns - 1) / kColumns;  // columns that one task sums
  parallel_for(0, form.outer * strips, std::max<std::int64_t>(1, kernels::kElementwiseGrain / (form.length * std::min(form.inner, kColumns))), [&, from = halves_of(self), to = sums.data<float>()](std::int64_t first, std::int64_t stop) {
    for (std::int64_t task = first; task < stop; ++task) {
      const std::int64_t o = task / strips, column = task % strips * kColumns, begin = o * form.length * form.inner + column;
      if (form.inner == 1) to[task] = table.sum(from + begin, std::min(form.length, self.numel() - begin));
      else table.sum_lines(from + begin, form.inner, form.length, std::min(kColumns, form.inner - column), to + o * form.inner + column);
    }
  });
  // What else is summed lies before: a sum of floats, of which there are fewer by so much.
  DimVector left, before;
  for (std::size_t i = 0; i < form.begin; ++i) {
    left.push_back(self.sizes()[i]);
    if (is_summed[i]) before.push_back(static_cast<std::int64_t>(i));
  }
  if (joined > 1) before.push_back(static_cast<std::int64_t>(left.size()));
  left.push_back(joined);
  left.push_back(form.inner / joined);
  if (of_all) sums = op::sum.function(Layer::TunedCPU)(sums, {}, false);
  else if (!before.empty()) sums = op::sum.function(Layer::TunedCPU)(sums.view(left), before, false);
  const Tensor result = empty(reduced_sizes(self.sizes(), is_summed, keepdim), self.scalar_type());
  table.narrow(halves_of(result), sums.data<float>(), result.numel());
  return result;
}

// REQUIRES: each operator has a form for tuned kernels.
template <auto&... Ops>
void compute_in_pieces() {
  ((InPieces<Ops, std::remove_cvref_t<decltype(Ops)>>::whole = Ops.function(Layer::HalfPrecision),
    Ops.set(Layer::HalfPrecision, &InPieces<Ops, std::remove_cvref_t<decltype(Ops)>>::call)),
   ...);
}
}  // namespace

void register_half_elementwise() {
  compute_in_pieces<op::add, op::sub, op::mul, op::div, op::neg, op::abs, op::exp, op::log, op::sqrt, op::rsqrt, op::reciprocal, op::erf>();
  compute_in_pieces<op::relu, op::leaky_relu, op::gelu, op::silu, op::sigmoid, op::tanh, op::clamp, op::maximum, op::minimum, op::pow>();
  compute_in_pieces<op::add_, op::sub_, op::mul_, op::div_, op::relu_, op::addcmul, op::addcdiv, op::lerp, op::addcmul_, op::addcdiv_, op::lerp_>();
  using Operation = kernels::HalfOperation;
  op::add.set(Layer::HalfPrecision, combined_halves<op::add, Operation::Add, Operation::Add, const Scalar&>);
  op::sub.set(Layer::HalfPrecision, combined_halves<op::sub, Operation::Subtract, Operation::SubtractFrom, const Scalar&>);
  op::mul.set(Layer::HalfPrecision, combined_halves<op::mul, Operation::Multiply, Operation::Multiply>);
  op::div.set(Layer::HalfPrecision, combined_halves<op::div, Operation::Divide, Operation::DivideInto>);
  op::add_.set(Layer::HalfPrecision, combined_halves_in_place<op::add_, Operation::Add, const Scalar&>);
  op::sub_.set(Layer::HalfPrecision, combined_halves_in_place<op::sub_, Operation::Subtract, const Scalar&>);
  op::mul_.set(Layer::HalfPrecision, combined_halves_in_place<op::mul_, Operation::Multiply>);
  op::div_.set(Layer::HalfPrecision, combined_halves_in_place<op::div_, Operation::Divide>);
  op::relu.set(Layer::HalfPrecision, mapped_halves<op::relu, Operation::Relu>);
  op::neg.set(Layer::HalfPrecision, mapped_halves<op::neg, Operation::Negate>);
  op::abs.set(Layer::HalfPrecision, mapped_halves<op::abs, Operation::Absolute>);
  sum_of_whole = op::sum.function(Layer::HalfPrecision);
  op::sum.set(Layer::HalfPrecision, sum_of_halves);
}

}  // namespace tinytorch
