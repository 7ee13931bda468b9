// From the lesson modules/76_vector_math/vector_math_dev.cpp:
// edit the module, not this file.

#include "tinytorch/kernels/elementwise.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <type_traits>

#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/copy.h"
#include "tinytorch/kernels/elementwise_kernels.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/activations.h"

namespace tinytorch {

namespace {
template <class T>
const kernels::ElementwiseTable<T>& elementwise_table() {
  using namespace kernels;
  static constexpr const ElementwiseKernels* tables[] = TINYTORCH_PER_CAPABILITY(elementwise_kernels);
  const ElementwiseKernels& chosen = for_capability(tables);
  if constexpr (std::is_same_v<T, float>) return chosen.in_float;
  else return chosen.in_double;
}

bool is_single_or_double(ScalarType type) { return type == kFloat || type == kDouble; }

// Calls f.operator()<T>() for the two types that have kernels. REQUIRES: is_single_or_double(type).
template <class F>
decltype(auto) with_kernel_type(ScalarType type, F f) {
  return type == kFloat ? f.template operator()<float>() : f.template operator()<double>();
}

// One long row, in pieces on the threads of the pool.
template <class T, class Out>
void run_row(kernels::ElementwiseKernel<T, Out> kernel, const kernels::Elementwise<T, Out>& row) {
  parallel_for(0, row.count, kernels::kElementwiseGrain, [&](std::int64_t first, std::int64_t stop) {
    kernels::Elementwise<T, Out> piece = row;
    piece.out += first;
    piece.a += first * row.a_step;
    piece.b += first * row.b_step;
    piece.c += first * row.c_step;
    piece.count = stop - first;
    kernel(piece);
  });
}

// f(self) as a new tensor in self's order of memory. REQUIRES: float or double.
template <class Pick>
Tensor mapped(const Tensor& self, Pick pick, const Scalar& p = 0, const Scalar& q = 0) {
  const Tensor result = empty_beside(self, self.sizes(), self.scalar_type());
  // Both without gaps, in the same order: one row, whatever the dimensions are called.
  const bool dense = self.is_contiguous() || (self.strides() == result.strides() && is_dense(self));
  if (!dense) kernels::copy_elements(result, self);
  with_kernel_type(self.scalar_type(), [&]<class T>() {
    T* const out = result.data<T>();
    const T* const in = dense ? self.data<T>() : out;
    run_row<T, T>(pick(elementwise_table<T>()), {out, in, nullptr, nullptr, 1, 0, 0, self.numel(), p.to<T>(), q.to<T>(), dense && kernels::passes_caches(self.numel(), sizeof(T))});
  });
  return result;
}

bool takes_elementwise(const Tensor& self) { return self.numel() >= kernels::kFewElements && is_single_or_double(self.scalar_type()); }

template <auto& Op, auto Pick>
Tensor map_tuned(const Tensor& self) {
  return takes_elementwise(self) ? mapped(self, Pick) : Op.function(Layer::CPU)(self);
}

const Tensor& relu_inplace_tuned(const Tensor& self) {
  if (!takes_elementwise(self) || !is_dense(self)) return op::relu_.function(Layer::CPU)(self);
  with_kernel_type(self.scalar_type(), [&]<class T>() {
    T* const data = self.data<T>();
    run_row<T, T>(elementwise_table<T>().relu, {data, data, nullptr, nullptr, 1, 0, 0, self.numel(), T{}, T{}, false});
  });
  return self;
}

Tensor gelu_tuned(const Tensor& self, bool tanh_approximation) {
  if (!takes_elementwise(self)) return op::gelu.function(Layer::CPU)(self, tanh_approximation);
  return mapped(self, [&](const auto& table) { return tanh_approximation ? table.gelu_tanh : table.gelu; });
}

Tensor leaky_relu_tuned(const Tensor& self, const Scalar& negative_slope) {
  if (!takes_elementwise(self)) return op::leaky_relu.function(Layer::CPU)(self, negative_slope);
  return mapped(self, [](const auto& table) { return table.leaky_relu; }, negative_slope);
}

Tensor clamp_tuned(const Tensor& self, const std::optional<Scalar>& min, const std::optional<Scalar>& max) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const double low = min ? min->toDouble() : -infinity, high = max ? max->toDouble() : infinity;
  if (!takes_elementwise(self) || std::isnan(low) || std::isnan(high)) return op::clamp.function(Layer::CPU)(self, min, max);
  return mapped(self, [](const auto& table) { return table.clamp; }, low, high);
}
}  // namespace

Tensor kernels::simple_power(const Tensor& self, double e) {
  const bool is_simple = e == 1 || e == 2 || e == 3 || e == 0.5 || e == -0.5 || e == -1;
  if (!takes_elementwise(self) || !is_simple) return {};
  if (e == 1) return clone(self);  // the slope of a square asks for it
  return mapped(self, [e](const auto& table) { return e == 2 ? table.square : e == 3 ? table.cube : e == 0.5 ? table.sqrt : e == -0.5 ? table.rsqrt : table.reciprocal; });
}

namespace {
// The dimensions, slowest in memory first: those of a result in channels last are images, rows, columns, channels, and its rows are its pixels.
std::vector<std::size_t> order_in_memory(IntArrayRef strides) {
  std::vector<std::size_t> order(strides.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return strides[a] > strides[b]; });
  return order;
}

DimVector reordered(const DimVector& values, const std::vector<std::size_t>& order) {
  DimVector result;
  for (const std::size_t d : order) result.push_back(values[d]);
  return result;
}

// Two operands and where the result goes, as rows that kernels can walk.
class Pair {
 public:
  Pair(const Tensor& self, const Tensor& other, ScalarType type) : a_(in_type(self, type)), b_(in_type(other, type)) {}

  // Writes f(a, b) to `out`, whose dtype is that of Out. Returns false, and does nothing, where an operand's numbers do not lie in rows.
  template <class T, class Out>
  bool run(kernels::ElementwiseKernel<T, Out> kernel, const Tensor& out, T p, bool in_place) const;

 private:
  template <class T, class Out>
  bool walk(kernels::ElementwiseKernel<T, Out> kernel, const Tensor& out, T p, bool in_place) const;

  // `x` in the order of memory of `out`, if it is of its sizes: a copy in blocks where it lies otherwise.
  static Tensor in_order_of(const Tensor& out, const Tensor& x) {
    if (x.sizes() != out.sizes() || x.strides() == out.strides()) return x;
    const Tensor copy = empty_beside(out, out.sizes(), x.scalar_type());
    kernels::copy_elements(copy, x);
    return copy;
  }

  // Single numbers are converted, tensors are of the type already.
  static Tensor in_type(const Tensor& x, ScalarType type) { return x.scalar_type() == type ? x : op::to_dtype.function(Layer::CPU)(x, type); }

  Pair(const Tensor& a, const Tensor& b) : a_(a), b_(b) {}

  Tensor a_, b_;
};

template <class T, class Out>
bool Pair::run(kernels::ElementwiseKernel<T, Out> kernel, const Tensor& out, T p, bool in_place) const {
  if (walk<T, Out>(kernel, out, p, in_place)) return true;
  // Rows beside columns: the copies, and rows of what they give, are faster than steps from number to number.
  const Pair ordered(in_order_of(out, a_), in_order_of(out, b_));
  return (!ordered.a_.is_same(a_) || !ordered.b_.is_same(b_)) && ordered.walk<T, Out>(kernel, out, p, in_place);
}

template <class T, class Out>
bool Pair::walk(kernels::ElementwiseKernel<T, Out> kernel, const Tensor& out, T p, bool in_place) const {
  DimVector sizes(out.sizes()), out_strides(out.strides()), a_strides = broadcast_strides(a_, sizes), b_strides = broadcast_strides(b_, sizes);
  if (!out.is_contiguous()) {
    const std::vector<std::size_t> order = order_in_memory(out.strides());
    for (DimVector* dims : {&sizes, &out_strides, &a_strides, &b_strides}) *dims = reordered(*dims, order);
  }
  const kernels::Rows<3> rows(sizes, {IntArrayRef(out_strides), IntArrayRef(a_strides), IntArrayRef(b_strides)});
  const auto [out_step, a_step, b_step] = rows.steps();
  if (out_step != 1 || a_step < 0 || a_step > 1 || b_step < 0 || b_step > 1 || (rows.count() > 1 && rows.length() < 8)) return false;
  const bool long_rows = rows.length() * static_cast<std::int64_t>(sizeof(Out)) >= 4096;
  const kernels::Elementwise<T, Out> row{out.data<Out>(), a_.data<T>(), b_.data<T>(), nullptr, a_step, b_step, 0, rows.length(), p, T{}, !in_place && long_rows && kernels::passes_caches(rows.numel(), sizeof(Out))};
  if (rows.count() == 1) {
    run_row<T, Out>(kernel, row);
    return true;
  }
  const std::int64_t grain = std::max<std::int64_t>(1, kernels::kElementwiseGrain / rows.length());
  parallel_for(0, rows.count(), grain, [&](std::int64_t first, std::int64_t stop) {
    rows.run(first, stop, [&](const auto& places) {
      kernels::Elementwise<T, Out> one = row;
      one.out += places[0];
      one.a += places[1];
      one.b += places[2];
      kernel(one);
    });
  });
  return true;
}

// Whether kernels take the two: float or double, or a single number beside such a tensor.
bool takes_pair(const Tensor& self, const Tensor& other) {
  if (self.scalar_type() == other.scalar_type()) return is_single_or_double(self.scalar_type());
  const Tensor& larger = self.numel() < other.numel() ? other : self;
  const Tensor& smaller = self.numel() < other.numel() ? self : other;
  return smaller.numel() == 1 && is_single_or_double(larger.scalar_type()) && result_type(self, other) == larger.scalar_type();
}

ScalarType type_of_pair(const Tensor& self, const Tensor& other) { return (self.numel() < other.numel() ? other : self).scalar_type(); }

// f(self, other) as a new tensor, or an undefined one where the kernels do not do it.
template <bool Compares, class Pick>
Tensor zipped(const Tensor& self, const Tensor& other, const Scalar& p, Pick pick) {
  if (!takes_pair(self, other)) return {};
  const ScalarType type = type_of_pair(self, other);
  const Tensor result = empty_beside(self, other, infer_size(self.sizes(), other.sizes()), Compares ? kBool : type);
  if (result.numel() == 0) return {};
  const bool done = with_kernel_type(type, [&]<class T>() {
    using Out = std::conditional_t<Compares, bool, T>;
    return Pair(self, other, type).template run<T, Out>(pick(elementwise_table<T>()), result, p.to<T>(), false);
  });
  return done ? result : Tensor();
}

// self = f(self, other). Returns false, and does nothing, where the kernels do not do it.
template <class Pick>
bool zipped_in_place(const Tensor& self, const Tensor& other, const Scalar& p, Pick pick) {
  if (!takes_pair(self, other) || type_of_pair(self, other) != self.scalar_type()) return false;
  if (!is_dense(self) || (!same_elements(self, other) && ranges_overlap(self, other))) return false;
  if (self.sizes() != other.sizes() && IntArrayRef(infer_size(self.sizes(), other.sizes())) != self.sizes()) return false;
  return with_kernel_type(self.scalar_type(), [&]<class T>() {
    return Pair(self, other, self.scalar_type()).template run<T, T>(pick(elementwise_table<T>()), self, p.to<T>(), true);
  });
}

template <auto& Op, auto Pick, bool Compares = false>
Tensor zip_tuned(const Tensor& self, const Tensor& other) {
  if (kernels::are_few(self, other)) return Op.function(Layer::CPU)(self, other);
  const Tensor result = zipped<Compares>(self, other, 0, Pick);
  return result.defined() ? result : Op.function(Layer::CPU)(self, other);
}

template <auto& Op, auto Pick>
const Tensor& zip_inplace_tuned(const Tensor& self, const Tensor& other) {
  return !kernels::are_few(self, other) && zipped_in_place(self, other, 0, Pick) ? self : Op.function(Layer::CPU)(self, other);
}

// add and sub: a + p b, with p = alpha or -alpha.
Scalar scaled_by(const Scalar& alpha, bool negative) { return negative ? Scalar(-alpha.toDouble()) : Scalar(alpha.toDouble()); }

template <auto& Op, bool Negative>
Tensor add_tuned(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  if (kernels::are_few(self, other)) return Op.function(Layer::CPU)(self, other, alpha);
  const bool plain = !Negative && alpha.equal(1);
  const Tensor result = zipped<false>(self, other, scaled_by(alpha, Negative), [plain](const auto& table) { return plain ? table.add : table.add_scaled; });
  return result.defined() ? result : Op.function(Layer::CPU)(self, other, alpha);
}

template <auto& Op, bool Negative>
const Tensor& add_inplace_tuned(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  if (kernels::are_few(self, other)) return Op.function(Layer::CPU)(self, other, alpha);
  const bool plain = !Negative && alpha.equal(1);
  const bool done = zipped_in_place(self, other, scaled_by(alpha, Negative), [plain](const auto& table) { return plain ? table.add : table.add_scaled; });
  return done ? self : Op.function(Layer::CPU)(self, other, alpha);
}
}  // namespace

namespace {
Tensor where_tuned(const Tensor& condition, const Tensor& self, const Tensor& other) {
  const bool takes = condition.numel() >= kernels::kFewElements && condition.scalar_type() == kBool && (takes_pair(self, other) || self.scalar_type() == other.scalar_type());
  const ScalarType type = type_of_pair(self, other);
  const auto hand_down = [&] { return op::where.function(Layer::CPU)(condition, self, other); };
  const bool by_rows = condition.is_contiguous() && self.is_contiguous() && other.is_contiguous();
  if (!takes || !by_rows || !is_single_or_double(type)) return hand_down();
  const DimVector sizes = infer_size(condition.sizes(), infer_size(self.sizes(), other.sizes()));
  const DimVector own = contiguous_strides(sizes), mask = broadcast_strides(condition, sizes), first = broadcast_strides(self, sizes), second = broadcast_strides(other, sizes);
  const kernels::Rows<4> rows(sizes, {IntArrayRef(own), IntArrayRef(mask), IntArrayRef(first), IntArrayRef(second)});
  const auto steps = rows.steps();
  const std::int64_t a_step = steps[2], b_step = steps[3];
  if (rows.numel() == 0 || steps[0] != 1 || steps[1] != 1 || a_step < 0 || a_step > 1 || b_step < 0 || b_step > 1) return hand_down();
  const Tensor a = self.scalar_type() == type ? self : op::to_dtype.function(Layer::CPU)(self, type);
  const Tensor b = other.scalar_type() == type ? other : op::to_dtype.function(Layer::CPU)(other, type);
  const Tensor result = empty(sizes, type);
  with_kernel_type(type, [&]<class T>() {
    const auto choose = elementwise_table<T>().where;
    T* const to = result.data<T>();
    const bool* const chooses = condition.data<bool>();
    const T *const x = a.data<T>(), *const y = b.data<T>();
    if (rows.count() == 1) {
      parallel_for(0, rows.length(), kernels::kElementwiseGrain, [&](std::int64_t begin, std::int64_t end) {
        choose(to + begin, chooses + begin, x + begin * a_step, y + begin * b_step, a_step, b_step, end - begin);
      });
    } else {
      parallel_for(0, rows.count(), std::max<std::int64_t>(1, kernels::kElementwiseGrain / rows.length()), [&](std::int64_t begin, std::int64_t end) {
        rows.run(begin, end, [&](const auto& places) { choose(to + places[0], chooses + places[1], x + places[2], y + places[3], a_step, b_step, rows.length()); });
      });
    }
  });
  return result;
}

// Whether self, a and b are without gaps, in the same order of memory and of one dtype and shape.
bool lie_alike(const Tensor& self, const Tensor& a, const Tensor& b) {
  if (!takes_elementwise(self) || !is_dense(self)) return false;
  for (const Tensor& x : {a, b})
    if (x.scalar_type() != self.scalar_type() || x.sizes() != self.sizes() || (x.strides() != self.strides() && !(self.is_contiguous() && x.is_contiguous()))) return false;
  return true;
}

// out = f(self, a, b) of tensors that lie alike; `out` may be self.
template <class Pick>
void update_into(const Tensor& out, const Tensor& self, const Tensor& a, const Tensor& b, const Scalar& p, Pick pick) {
  with_kernel_type(self.scalar_type(), [&]<class T>() {
    run_row<T, T>(pick(elementwise_table<T>()), {out.data<T>(), self.data<T>(), a.data<T>(), b.data<T>(), 1, 1, 1, self.numel(), p.to<T>(), T{}, false});
  });
}

// self = f(self, a, b) of tensors that lie alike, none a part of another. Returns false, and does nothing, otherwise.
template <class Pick>
bool updated(const Tensor& self, const Tensor& a, const Tensor& b, const Scalar& p, Pick pick) {
  const auto is_apart = [&](const Tensor& x) { return same_elements(self, x) || !ranges_overlap(self, x); };
  if (!lie_alike(self, a, b) || !is_apart(a) || !is_apart(b)) return false;
  update_into(self, self, a, b, p, pick);
  return true;
}

// f(self, a, b) as a new tensor, which costs one reading less than a copy that is updated. An undefined tensor where they do not lie alike.
template <class Pick>
Tensor updated_copy(const Tensor& self, const Tensor& a, const Tensor& b, const Scalar& p, Pick pick) {
  if (!lie_alike(self, a, b)) return {};
  const Tensor result = empty_beside(self, self.sizes(), self.scalar_type());
  update_into(result, self, a, b, p, pick);
  return result;
}

const Tensor& addcmul_tuned(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2, const Scalar& value) {
  const bool done = updated(self, tensor1, tensor2, value, [](const auto& table) { return table.addcmul; });
  return done ? self : op::addcmul_.function(Layer::CPU)(self, tensor1, tensor2, value);
}
Tensor addcmul_copy_tuned(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2, const Scalar& value) {
  const Tensor result = updated_copy(self, tensor1, tensor2, value, [](const auto& table) { return table.addcmul; });
  return result.defined() ? result : op::addcmul.function(Layer::CPU)(self, tensor1, tensor2, value);
}
Tensor addcdiv_copy_tuned(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2, const Scalar& value) {
  const Tensor result = updated_copy(self, tensor1, tensor2, value, [](const auto& table) { return table.addcdiv; });
  return result.defined() ? result : op::addcdiv.function(Layer::CPU)(self, tensor1, tensor2, value);
}
Tensor lerp_copy_tuned(const Tensor& self, const Tensor& end, const Scalar& weight) {
  const Tensor result = updated_copy(self, end, end, weight, [](const auto& table) { return table.lerp; });
  return result.defined() ? result : op::lerp.function(Layer::CPU)(self, end, weight);
}
const Tensor& addcdiv_tuned(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2, const Scalar& value) {
  const bool done = updated(self, tensor1, tensor2, value, [](const auto& table) { return table.addcdiv; });
  return done ? self : op::addcdiv_.function(Layer::CPU)(self, tensor1, tensor2, value);
}
const Tensor& lerp_tuned(const Tensor& self, const Tensor& end, const Scalar& weight) {
  const bool done = updated(self, end, end, weight, [](const auto& table) { return table.lerp; });
  return done ? self : op::lerp_.function(Layer::CPU)(self, end, weight);
}
}  // namespace

// Puts the elementwise kernels above the reference.
void register_elementwise_kernels() {
  constexpr Layer tuned = Layer::TunedCPU;
  op::exp.set(tuned, map_tuned<op::exp, [](const auto& table) { return table.exp; }>);
  op::log.set(tuned, map_tuned<op::log, [](const auto& table) { return table.log; }>);
  op::tanh.set(tuned, map_tuned<op::tanh, [](const auto& table) { return table.tanh; }>);
  op::sigmoid.set(tuned, map_tuned<op::sigmoid, [](const auto& table) { return table.sigmoid; }>);
  op::erf.set(tuned, map_tuned<op::erf, [](const auto& table) { return table.erf; }>);
  op::silu.set(tuned, map_tuned<op::silu, [](const auto& table) { return table.silu; }>);
  op::relu.set(tuned, map_tuned<op::relu, [](const auto& table) { return table.relu; }>);
  op::relu_.set(tuned, relu_inplace_tuned);
  op::gelu.set(tuned, gelu_tuned);
  op::leaky_relu.set(tuned, leaky_relu_tuned);
  op::neg.set(tuned, map_tuned<op::neg, [](const auto& table) { return table.neg; }>);
  op::abs.set(tuned, map_tuned<op::abs, [](const auto& table) { return table.abs; }>);
  op::sqrt.set(tuned, map_tuned<op::sqrt, [](const auto& table) { return table.sqrt; }>);
  op::rsqrt.set(tuned, map_tuned<op::rsqrt, [](const auto& table) { return table.rsqrt; }>);
  op::reciprocal.set(tuned, map_tuned<op::reciprocal, [](const auto& table) { return table.reciprocal; }>);
  op::floor.set(tuned, map_tuned<op::floor, [](const auto& table) { return table.floor; }>);
  op::ceil.set(tuned, map_tuned<op::ceil, [](const auto& table) { return table.ceil; }>);
  op::round.set(tuned, map_tuned<op::round, [](const auto& table) { return table.round; }>);
  op::trunc.set(tuned, map_tuned<op::trunc, [](const auto& table) { return table.trunc; }>);
  op::clamp.set(tuned, clamp_tuned);
  op::add.set(tuned, add_tuned<op::add, false>);
  op::sub.set(tuned, add_tuned<op::sub, true>);
  op::add_.set(tuned, add_inplace_tuned<op::add_, false>);
  op::sub_.set(tuned, add_inplace_tuned<op::sub_, true>);
  op::mul.set(tuned, zip_tuned<op::mul, [](const auto& table) { return table.mul; }>);
  op::div.set(tuned, zip_tuned<op::div, [](const auto& table) { return table.div; }>);
  op::mul_.set(tuned, zip_inplace_tuned<op::mul_, [](const auto& table) { return table.mul; }>);
  op::div_.set(tuned, zip_inplace_tuned<op::div_, [](const auto& table) { return table.div; }>);
  op::maximum.set(tuned, zip_tuned<op::maximum, [](const auto& table) { return table.maximum; }>);
  op::minimum.set(tuned, zip_tuned<op::minimum, [](const auto& table) { return table.minimum; }>);
  op::eq.set(tuned, zip_tuned<op::eq, [](const auto& table) { return table.eq; }, true>);
  op::ne.set(tuned, zip_tuned<op::ne, [](const auto& table) { return table.ne; }, true>);
  op::lt.set(tuned, zip_tuned<op::lt, [](const auto& table) { return table.lt; }, true>);
  op::le.set(tuned, zip_tuned<op::le, [](const auto& table) { return table.le; }, true>);
  op::gt.set(tuned, zip_tuned<op::gt, [](const auto& table) { return table.gt; }, true>);
  op::ge.set(tuned, zip_tuned<op::ge, [](const auto& table) { return table.ge; }, true>);
  op::where.set(tuned, where_tuned);
  op::addcmul_.set(tuned, addcmul_tuned);
  op::addcdiv_.set(tuned, addcdiv_tuned);
  op::lerp_.set(tuned, lerp_tuned);
  op::addcmul.set(tuned, addcmul_copy_tuned);
  op::addcdiv.set(tuned, addcdiv_copy_tuned);
  op::lerp.set(tuned, lerp_copy_tuned);
}

}  // namespace tinytorch
