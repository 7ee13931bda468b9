// From the lesson modules/80_data_kernels/data_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <tuple>
#include <type_traits>
#include <vector>

#include "tinytorch/core/breadth.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/pointwise_ops.h"
#include "tinytorch/core/reduction_ops.h"
#include "tinytorch/kernels/bits.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/data_kernels.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/more_activations.h"

namespace tinytorch {

const kernels::DataKernels& kernels::chosen_data_kernels() {
  static constexpr const DataKernels* tables[] = TINYTORCH_PER_CAPABILITY(data_kernels);
  return for_capability(tables);
}

namespace {
// The kernel that a call went to before this chapter, or the reference.
template <auto& Op>
decltype(Op.function(Layer::TunedCPU)) beneath = nullptr;

template <auto& Op, class F>
void put_above(F kernel) {
  const auto standing = Op.function(Layer::TunedCPU);
  if (standing == kernel) return;  // registered again
  beneath<Op> = standing != nullptr ? standing : Op.function(Layer::CPU);
  Op.set(Layer::TunedCPU, kernel);
}

template <class T>
const kernels::IntegerTable<T>& integer_table() {
  const kernels::DataKernels& chosen = kernels::chosen_data_kernels();
  if constexpr (std::is_same_v<T, std::int64_t>) return chosen.of_long;
  else if constexpr (std::is_same_v<T, std::int32_t>) return chosen.of_int;
  else return chosen.of_byte;
}

bool has_integers(const Tensor& x) { return x.scalar_type() == kLong || x.scalar_type() == kInt || x.scalar_type() == kByte; }

// Calls f<T>.
template <class F>
void in_integer_type(ScalarType type, F f) {
  if (type == kLong) f.template operator()<std::int64_t>();
  else if (type == kInt) f.template operator()<std::int32_t>();
  else f.template operator()<std::uint8_t>();
}

// f(self, other), both contiguous and of the same sizes or one of them a single number that does not decide the dtype; else an undefined tensor.
template <class Out, class Pick>
Tensor zipped_integers(const Tensor& self, const Tensor& other, Pick pick) {
  const Tensor& larger = self.numel() < other.numel() ? other : self;
  const Tensor& smaller = self.numel() < other.numel() ? self : other;
  if (larger.numel() < kernels::kFewElements || !has_integers(larger) || !self.is_contiguous() || !other.is_contiguous()) return {};
  const bool single = smaller.numel() == 1 && smaller.dim() <= larger.dim();
  if (!single && self.sizes() != other.sizes()) return {};
  const ScalarType type = larger.scalar_type();
  if (smaller.scalar_type() != type && (!single || result_type(self, other) != type)) return {};
  const Tensor number = smaller.scalar_type() == type ? smaller : op::to_dtype.function(Layer::CPU)(smaller, type);
  const Tensor result = empty(larger.sizes(), std::is_same_v<Out, bool> ? kBool : type);
  in_integer_type(type, [&]<class T>() {
    using Result = std::conditional_t<std::is_same_v<Out, bool>, bool, T>;
    const auto kernel = pick(integer_table<T>());
    const T *const a = (&smaller == &self ? number : self).template data<T>(), *const b = (&smaller == &self ? other : number).template data<T>();
    const std::int64_t a_step = self.numel() > 1, b_step = other.numel() > 1;
    parallel_for(0, result.numel(), kernels::kElementwiseGrain,
                 [&, out = result.data<Result>()](std::int64_t first, std::int64_t stop) { kernel(a + first * a_step, a_step, b + first * b_step, b_step, stop - first, out + first); });
  });
  return result;
}

// What is done for many elements is not inlined: operators on few, of whatever dtype, only pass through here, and need not save registers for it.
template <auto& Op, auto Pick, class Result>
[[gnu::noinline]] Tensor zip_many(const Tensor& self, const Tensor& other) {
  const Tensor result = zipped_integers<Result>(self, other, Pick);
  return result.defined() ? result : beneath<Op>(self, other);
}

template <auto& Op, auto Pick, class Result = void>
Tensor zip_integers(const Tensor& self, const Tensor& other) {
  return kernels::are_few(self, other) ? Op.function(Layer::CPU)(self, other) : zip_many<Op, Pick, Result>(self, other);
}

template <auto& Op, auto Pick>
Tensor compare_integers(const Tensor& self, const Tensor& other) { return zip_integers<Op, Pick, bool>(self, other); }

template <auto& Op, auto Pick>
[[gnu::noinline]] Tensor add_many(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  const Tensor result = alpha.equal(1) ? zipped_integers<void>(self, other, Pick) : Tensor();
  return result.defined() ? result : beneath<Op>(self, other, alpha);
}

template <auto& Op, auto Pick>
Tensor add_integers(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  return kernels::are_few(self, other) ? Op.function(Layer::CPU)(self, other, alpha) : add_many<Op, Pick>(self, other, alpha);
}

Tensor not_of_integers(const Tensor& self) {
  if (!has_integers(self)) return beneath<op::logical_not>(self);
  const Tensor result = zipped_integers<bool>(self, empty({}, self.scalar_type()).fill_(0), [](const auto& table) { return table.eq; });
  return result.defined() ? result : beneath<op::logical_not>(self);
}

Tensor abs_of_integers(const Tensor& self) {
  if (!has_integers(self) || self.numel() < kernels::kFewElements || !self.is_contiguous()) return beneath<op::abs>(self);
  const Tensor result = empty(self.sizes(), self.scalar_type());
  in_integer_type(self.scalar_type(), [&]<class T>() {
    parallel_for(0, self.numel(), kernels::kElementwiseGrain,
                 [&, x = self.data<T>(), out = result.data<T>()](std::int64_t first, std::int64_t stop) { integer_table<T>().abs(x + first, stop - first, out + first); });
  });
  return result;
}

// Bounds that are integers leave the dtype as it is; what a byte cannot be, the reference has a sentence for.
Tensor clamp_integers(const Tensor& self, const std::optional<Scalar>& min, const std::optional<Scalar>& max) {
  const auto has_kernel = [&](const std::optional<Scalar>& bound) { return !bound || (bound->type() == kLong && (self.scalar_type() != kByte || (bound->toLong() >= 0 && bound->toLong() <= 255))); };
  const bool ours = has_integers(self) && self.numel() >= kernels::kFewElements && self.is_contiguous() && has_kernel(min) && has_kernel(max);
  if (!ours) return beneath<op::clamp>(self, min, max);
  const Tensor result = empty(self.sizes(), self.scalar_type());
  in_integer_type(self.scalar_type(), [&]<class T>() {
    const T low = min ? min->to<T>() : std::numeric_limits<T>::min(), high = max ? max->to<T>() : std::numeric_limits<T>::max();
    parallel_for(0, self.numel(), kernels::kElementwiseGrain, [&, x = self.data<T>(), out = result.data<T>()](std::int64_t first, std::int64_t stop) {
      integer_table<T>().clamp(x + first, stop - first, low, high, out + first);
    });
  });
  return result;
}

Tensor hardtanh_integers(const Tensor& self, const Scalar& min, const Scalar& max) {
  return has_integers(self) && min.type() == kLong && max.type() == kLong ? clamp_integers(self, min, max) : beneath<op::hardtanh>(self, min, max);
}

// Numbers of one dtype, by their bits: with a random mask a jump would be guessed wrong half of the time.
Tensor where_by_bits(const Tensor& condition, const Tensor& self, const Tensor& other) {
  const auto hand_down = [&] { return beneath<op::where>(condition, self, other); };
  const ScalarType type = self.scalar_type();
  const auto lies_beside_mask = [&](const Tensor& x) { return x.numel() == 1 ? x.dim() <= condition.dim() : x.is_contiguous() && x.sizes() == condition.sizes(); };
  const bool ours = type != kFloat && type != kDouble && other.scalar_type() == type && condition.scalar_type() == kBool && condition.is_contiguous();
  if (!ours || condition.numel() < kernels::kFewElements || !lies_beside_mask(self) || !lies_beside_mask(other)) return hand_down();
  const Tensor result = empty(condition.sizes(), type);
  const auto* const mask = static_cast<const std::uint8_t*>(condition.data_ptr());
  const std::int64_t a_step = self.numel() > 1, b_step = other.numel() > 1;
  kernels::with_bits(self.element_size(), [&]<class U>() {
    const auto choose = kernels::bits_table<U>().choose;
    const U *const a = static_cast<const U*>(self.data_ptr()), *const b = static_cast<const U*>(other.data_ptr());
    parallel_for(0, result.numel(), kernels::kElementwiseGrain, [=, out = static_cast<U*>(result.data_ptr())](std::int64_t first, std::int64_t stop) {
      choose(mask + first, a + first * a_step, a_step, b + first * b_step, b_step, stop - first, out + first);
    });
  });
  return result;
}

// Calls f<T> with any integer dtype; with no other.
template <class F>
void in_any_integer_type(ScalarType type, F f) {
  if (type == kLong) f.template operator()<std::int64_t>();
  else if (type == kInt) f.template operator()<std::int32_t>();
  else if (type == kShort) f.template operator()<std::int16_t>();
  else if (type == kChar) f.template operator()<std::int8_t>();
  else if (type == kByte) f.template operator()<std::uint8_t>();
}

template <class T>
kernels::KeepAbove<T> keep_above() {
  const kernels::DataKernels& chosen = kernels::chosen_data_kernels();
  if constexpr (std::is_same_v<T, std::int64_t>) return chosen.longs_above;
  else if constexpr (std::is_same_v<T, std::int32_t>) return chosen.ints_above;
  else if constexpr (std::is_same_v<T, std::int16_t>) return chosen.shorts_above;
  else if constexpr (std::is_same_v<T, std::int8_t>) return chosen.chars_above;
  else return chosen.bytes_above;
}

// If the dtype holds both numbers; the reference knows what else they become.
Tensor threshold_integers(const Tensor& self, const Scalar& threshold, const Scalar& value) {
  Tensor result;
  if (self.numel() >= kernels::kFewElements && self.is_contiguous() && threshold.type() == kLong && value.type() == kLong) {
    in_any_integer_type(self.scalar_type(), [&]<class T>() {
      const auto holds = [](const Scalar& number) { return number.toLong() >= std::numeric_limits<T>::min() && number.toLong() <= std::numeric_limits<T>::max(); };
      if (!holds(threshold) || !holds(value)) return;
      result = empty(self.sizes(), self.scalar_type());
      parallel_for(0, self.numel(), kernels::kElementwiseGrain, [&, x = self.data<T>(), out = result.data<T>()](std::int64_t first, std::int64_t stop) {
        keep_above<T>()(x + first, stop - first, threshold.to<T>(), value.to<T>(), out + first);
      });
    });
  }
  return result.defined() ? result : beneath<op::threshold>(self, threshold, value);
}
}  // namespace

void register_integer_arithmetic() {
  put_above<op::add>(add_integers<op::add, [](const auto& table) { return table.add; }>);
  put_above<op::sub>(add_integers<op::sub, [](const auto& table) { return table.sub; }>);
  put_above<op::mul>(zip_integers<op::mul, [](const auto& table) { return table.mul; }>);
  put_above<op::maximum>(zip_integers<op::maximum, [](const auto& table) { return table.maximum; }>);
  put_above<op::minimum>(zip_integers<op::minimum, [](const auto& table) { return table.minimum; }>);
  put_above<op::eq>(compare_integers<op::eq, [](const auto& table) { return table.eq; }>);
  put_above<op::ne>(compare_integers<op::ne, [](const auto& table) { return table.ne; }>);
  put_above<op::lt>(compare_integers<op::lt, [](const auto& table) { return table.lt; }>);
  put_above<op::le>(compare_integers<op::le, [](const auto& table) { return table.le; }>);
  put_above<op::gt>(compare_integers<op::gt, [](const auto& table) { return table.gt; }>);
  put_above<op::ge>(compare_integers<op::ge, [](const auto& table) { return table.ge; }>);
  put_above<op::bitwise_left_shift>(zip_integers<op::bitwise_left_shift, [](const auto& table) { return table.shift_left; }>);
  put_above<op::bitwise_right_shift>(zip_integers<op::bitwise_right_shift, [](const auto& table) { return table.shift_right; }>);
  put_above<op::clamp>(clamp_integers);
  put_above<op::hardtanh>(hardtanh_integers);
  put_above<op::threshold>(threshold_integers);
  put_above<op::where>(where_by_bits);
  put_above<op::abs>(abs_of_integers);
  put_above<op::logical_not>(not_of_integers);
}

namespace {
// A contiguous tensor around its reduced dimensions.
struct ReducedForm {
  std::int64_t outer = 1, size = 1, inner = 1;
};

constexpr std::int64_t kShortestRow = 16;  // of columns beside each other that a kernel pays for

// Nothing where there are few numbers, nothing to join, gaps in memory, or kept dimensions between reduced ones.
std::optional<ReducedForm> reduced_form(const Tensor& self, IntArrayRef dim) {
  if (self.numel() < kernels::kFewElements || !self.is_contiguous()) return {};
  const std::vector<bool> mask = reduction_mask(self, dim);
  ReducedForm form;
  bool reducing = false;
  for (std::size_t i = 0; i < mask.size(); ++i) {
    if (self.sizes()[i] == 1) continue;
    if (mask[i] && reducing && form.inner > 1) return {};
    reducing = reducing || mask[i];
    (mask[i] ? form.size : reducing ? form.inner : form.outer) *= self.sizes()[i];
  }
  return form.size > 1 && (form.inner == 1 || form.inner >= kShortestRow) ? std::optional(form) : std::nullopt;
}

// How numbers of type T become one of type Acc.
template <class T, class Acc>
struct IntegerFold {
  Acc first;
  Acc (*row)(const T*, std::int64_t);
  void (*row_into)(const T*, std::int64_t, Acc*);
  Acc (*join)(Acc, Acc);
};

constexpr std::int64_t kStrip = 256;  // columns

// f(outer, first column, columns) for each strip, on the threads of the pool.
template <class F>
void for_strips(const ReducedForm& form, F f) {
  const std::int64_t strips = (form.inner + kStrip - 1) / kStrip, each = std::min(form.inner, kStrip) * form.size;
  parallel_for(0, form.outer * strips, std::max<std::int64_t>(1, kernels::kElementwiseGrain / each), [&](std::int64_t first, std::int64_t stop) {
    for (std::int64_t i = first; i < stop; ++i) f(i / strips, i % strips * kStrip, std::min(kStrip, form.inner - i % strips * kStrip));
  });
}

// Writes the fold of each row to `out`. Long rows are cut into pieces, which are joined at the end.
template <class T, class Acc>
void fold_rows(const ReducedForm& form, const T* x, const IntegerFold<T, Acc>& fold, Acc* out) {
  const std::int64_t pieces = (form.size + kernels::kElementwiseGrain - 1) / kernels::kElementwiseGrain;
  if (pieces == 1) {
    parallel_for(0, form.outer, std::max<std::int64_t>(1, kernels::kElementwiseGrain / form.size), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop; ++i) out[i] = fold.row(x + i * form.size, form.size);
    });
    return;
  }
  std::vector<Acc> parts(static_cast<std::size_t>(form.outer * pieces));
  kernels::run_tasks(form.outer * pieces, [&](std::int64_t task) {
    const std::int64_t begin = task % pieces * kernels::kElementwiseGrain;
    parts[static_cast<std::size_t>(task)] = fold.row(x + task / pieces * form.size + begin, std::min(kernels::kElementwiseGrain, form.size - begin));
  });
  for (std::int64_t i = 0; i < form.outer; ++i) {
    Acc total = fold.first;
    for (std::int64_t piece = 0; piece < pieces; ++piece) total = fold.join(total, parts[static_cast<std::size_t>(i * pieces + piece)]);
    out[i] = total;
  }
}

template <class T, class Acc>
void fold_integers(const ReducedForm& form, const T* x, const IntegerFold<T, Acc>& fold, Acc* out) {
  if (form.inner == 1) return fold_rows(form, x, fold, out);
  for_strips(form, [&](std::int64_t outer, std::int64_t column, std::int64_t columns) {
    Acc* const to = out + outer * form.inner + column;
    std::fill_n(to, columns, fold.first);
    for (std::int64_t row = 0; row < form.size; ++row) fold.row_into(x + (outer * form.size + row) * form.inner + column, columns, to);
  });
}

template <class T>
IntegerFold<T, std::int64_t> summing() {
  const auto join = [](std::int64_t a, std::int64_t b) { return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b)); };
  return {0, integer_table<T>().sum, integer_table<T>().sum_into, join};
}
template <class T>
IntegerFold<T, std::int64_t> multiplying() {
  const auto join = [](std::int64_t a, std::int64_t b) { return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) * static_cast<std::uint64_t>(b)); };
  return {1, integer_table<T>().product, integer_table<T>().product_into, join};
}
template <class T, bool kLargest>
IntegerFold<T, T> taking_extreme() {
  const kernels::IntegerTable<T>& table = integer_table<T>();
  if constexpr (kLargest) return {std::numeric_limits<T>::lowest(), table.largest, table.largest_into, [](T a, T b) { return b > a ? b : a; }};
  else return {std::numeric_limits<T>::max(), table.smallest, table.smallest_into, [](T a, T b) { return b < a ? b : a; }};
}

Tensor sum_integers(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const bool bools = self.scalar_type() == kBool;
  const std::optional<ReducedForm> form = bools || has_integers(self) ? reduced_form(self, dim) : std::nullopt;
  if (!form) return beneath<op::sum>(self, dim, keepdim);
  const Tensor result = empty(reduced_sizes(self.sizes(), reduction_mask(self, dim), keepdim), kLong);
  in_integer_type(bools ? kByte : self.scalar_type(), [&]<class T>() { fold_integers(*form, static_cast<const T*>(self.data_ptr()), summing<T>(), result.data<std::int64_t>()); });
  return result;
}

Tensor prod_integers(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::optional<ReducedForm> form = has_integers(self) ? reduced_form(self, dim) : std::nullopt;
  if (!form) return beneath<op::prod>(self, dim, keepdim);
  const Tensor result = empty(reduced_sizes(self.sizes(), reduction_mask(self, dim), keepdim), kLong);
  in_integer_type(self.scalar_type(), [&]<class T>() { fold_integers(*form, self.data<T>(), multiplying<T>(), result.data<std::int64_t>()); });
  return result;
}

// Of neighbouring rows: each sum waits for the one before, and those of several rows do not wait for each other.
template <std::size_t kRows, class T>
void sum_together(const T* x, std::int64_t count, std::int64_t* out) {
  std::array<std::uint64_t, kRows> totals{};
  for (std::int64_t i = 0; i < count; ++i)
    for (std::size_t r = 0; r < kRows; ++r) {
      const std::int64_t at = static_cast<std::int64_t>(r) * count + i;
      out[at] = static_cast<std::int64_t>(totals[r] += static_cast<std::uint64_t>(std::int64_t{x[at]}));
    }
}

template <class T>
void sum_rows_so_far(const T* x, std::int64_t rows, std::int64_t count, std::int64_t* out) {
  constexpr std::int64_t together = 4;
  parallel_for(0, (rows + together - 1) / together, std::max<std::int64_t>(1, kernels::kElementwiseGrain / (together * count)), [=](std::int64_t first, std::int64_t stop) {
    std::int64_t row = first * together;
    for (; row + together <= std::min(rows, stop * together); row += together) sum_together<together>(x + row * count, count, out + row * count);
    for (; row < std::min(rows, stop * together); ++row) sum_together<1>(x + row * count, count, out + row * count);
  });
}

// Down columns each row of the result is the one before and a row of numbers.
template <class T>
void sum_columns_so_far(const ReducedForm& form, const T* x, std::int64_t* out) {
  for_strips(form, [&, add = integer_table<std::int64_t>().add](std::int64_t outer, std::int64_t column, std::int64_t columns) {
    std::array<std::int64_t, kStrip> widened;
    const std::int64_t first = outer * form.size * form.inner + column;
    std::copy_n(x + first, columns, out + first);
    for (std::int64_t at = first + form.inner; at < first + form.size * form.inner; at += form.inner) {
      const std::int64_t* row = widened.data();
      if constexpr (std::is_same_v<T, std::int64_t>) row = x + at;
      else std::copy_n(x + at, columns, widened.data());
      add(out + at - form.inner, 1, row, 1, columns, out + at);
    }
  });
}

// Sums so far are 64 bits wide whatever their numbers are. Those are widened on their way: as a tensor of their own they would be written and read once more, eight bytes each.
Tensor cumsum_integers(const Tensor& self, std::int64_t dim) {
  const std::optional<ReducedForm> form = self.dim() > 0 ? reduced_form(self, {dim}) : std::nullopt;
  if (!form) return beneath<op::cumsum>(self, dim);
  Tensor result;
  in_any_integer_type(self.scalar_type(), [&]<class T>() {
    result = empty(self.sizes(), kLong);
    if (form->inner == 1) sum_rows_so_far(self.data<T>(), form->outer, form->size, result.data<std::int64_t>());
    else sum_columns_so_far(*form, self.data<T>(), result.data<std::int64_t>());
  });
  return result.defined() ? result : beneath<op::cumsum>(self, dim);
}

// any is the largest of bools, all the smallest.
template <auto& Op, bool kAny>
Tensor truth_of_bools(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::optional<ReducedForm> form = self.scalar_type() == kBool ? reduced_form(self, dim) : std::nullopt;
  if (!form) return Op.function(Layer::CPU)(self, dim, keepdim);
  const Tensor result = empty(reduced_sizes(self.sizes(), reduction_mask(self, dim), keepdim), kBool);
  IntegerFold<std::uint8_t, std::uint8_t> fold = taking_extreme<std::uint8_t, kAny>();
  fold.first = !kAny;
  fold_integers(*form, static_cast<const std::uint8_t*>(self.data_ptr()), fold, static_cast<std::uint8_t*>(result.data_ptr()));
  return result;
}

template <auto& Op, bool kLargest>
Tensor extreme_of_integers(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::optional<ReducedForm> form = has_integers(self) ? reduced_form(self, dim) : std::nullopt;
  if (!form) return beneath<Op>(self, dim, keepdim);
  const Tensor result = empty(reduced_sizes(self.sizes(), reduction_mask(self, dim), keepdim), self.scalar_type());
  in_integer_type(self.scalar_type(), [&]<class T>() { fold_integers(*form, self.data<T>(), taking_extreme<T, kLargest>(), result.data<T>()); });
  return result;
}

// places[i] = where best[i] stands first among its numbers.
template <class T>
void first_places(const ReducedForm& form, const T* x, const T* best, std::int64_t* places) {
  const kernels::IntegerTable<T>& table = integer_table<T>();
  if (form.inner == 1) {
    parallel_for(0, form.outer, std::max<std::int64_t>(1, kernels::kElementwiseGrain / form.size), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop; ++i) places[i] = table.first_place(x + i * form.size, form.size, best[i]);
    });
    return;
  }
  for_strips(form, [&](std::int64_t outer, std::int64_t column, std::int64_t columns) {
    const std::int64_t at = outer * form.inner + column;
    for (std::int64_t row = form.size; row-- > 0;) table.place_into(x + (outer * form.size + row) * form.inner + column, columns, best + at, row, places + at);
  });
}

template <auto& Op, bool kLargest>
std::tuple<Tensor, Tensor> extreme_and_place(const Tensor& self, std::int64_t dim, bool keepdim) {
  const std::optional<ReducedForm> form = has_integers(self) && self.dim() > 0 ? reduced_form(self, {dim}) : std::nullopt;
  if (!form) return {};
  const DimVector sizes = reduced_sizes(self.sizes(), reduction_mask(self, {dim}), keepdim);
  const Tensor values = empty(sizes, self.scalar_type()), places = empty(sizes, kLong);
  in_integer_type(self.scalar_type(), [&]<class T>() {
    fold_integers(*form, self.data<T>(), taking_extreme<T, kLargest>(), values.data<T>());
    first_places(*form, self.data<T>(), values.data<T>(), places.data<std::int64_t>());
  });
  return {values, places};
}

template <auto& Op, bool kLargest>
std::tuple<Tensor, Tensor> extreme_with_place(const Tensor& self, std::int64_t dim, bool keepdim) {
  auto result = extreme_and_place<Op, kLargest>(self, dim, keepdim);
  return std::get<0>(result).defined() ? result : beneath<Op>(self, dim, keepdim);
}

template <auto& Op, bool kLargest>
Tensor place_of_extreme(const Tensor& self, std::int64_t dim, bool keepdim) {
  const Tensor places = std::get<1>(extreme_and_place<Op, kLargest>(self, dim, keepdim));
  return places.defined() ? places : beneath<Op>(self, dim, keepdim);
}
}  // namespace

void register_integer_reductions() {
  put_above<op::sum>(sum_integers);
  put_above<op::prod>(prod_integers);
  put_above<op::cumsum>(cumsum_integers);
  op::any.set(Layer::TunedCPU, truth_of_bools<op::any, true>);
  op::all.set(Layer::TunedCPU, truth_of_bools<op::all, false>);
  put_above<op::amax>(extreme_of_integers<op::amax, true>);
  put_above<op::amin>(extreme_of_integers<op::amin, false>);
  put_above<op::max>(extreme_with_place<op::max, true>);
  put_above<op::min>(extreme_with_place<op::min, false>);
  put_above<op::argmax>(place_of_extreme<op::argmax, true>);
  put_above<op::argmin>(place_of_extreme<op::argmin, false>);
}

}  // namespace tinytorch
