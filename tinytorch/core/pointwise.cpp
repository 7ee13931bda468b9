// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.

#include <cmath>

#include "tinytorch/core/loops.h"
#include "tinytorch/core/basic_ops.h"

namespace tinytorch {

bool same_elements(const Tensor& a, const Tensor& b) {
  return a.is_alias_of(b) && a.scalar_type() == b.scalar_type() && a.storage_offset() == b.storage_offset() && a.sizes() == b.sizes() &&
         a.strides() == b.strides();
}

bool ranges_overlap(const Tensor& a, const Tensor& b) {
  if (!a.is_alias_of(b) || a.numel() == 0 || b.numel() == 0) return false;
  auto end = [](const Tensor& x) {
    std::int64_t last = x.storage_offset();
    for (std::size_t i = 0; i < x.sizes().size(); ++i) last += (x.sizes()[i] - 1) * x.strides()[i];
    return static_cast<std::size_t>(last + 1) * x.element_size();
  };
  auto begin = [](const Tensor& x) { return static_cast<std::size_t>(x.storage_offset()) * x.element_size(); };
  return begin(a) < end(b) && begin(b) < end(a);
}

void check_no_internal_overlap(const Tensor& written) {
  for (std::size_t i = 0; i < written.sizes().size(); ++i)
    TORCH_CHECK(written.strides()[i] != 0 || written.sizes()[i] <= 1,
                "unsupported operation: more than one element of the written-to tensor refers to a single memory location. Please clone() "
                "the tensor before performing the operation.\nsizes ", written.sizes(), ", strides ", written.strides());
}

// The shape that two shapes broadcast to. Throws if a pair of sizes differs and neither is 1. O(dims).
DimVector infer_size(IntArrayRef a, IntArrayRef b) {
  const std::size_t dims = std::max(a.size(), b.size());
  DimVector sizes(dims);
  for (std::size_t i = 1; i <= dims; ++i) {  // from the last dimension
    const std::int64_t x = i <= a.size() ? a[a.size() - i] : 1;
    const std::int64_t y = i <= b.size() ? b[b.size() - i] : 1;
    TORCH_CHECK(x == y || x == 1 || y == 1, "The size of tensor a (", x, ") must match the size of tensor b (", y,
                ") at non-singleton dimension ", dims - i, "\nsizes ", a, " and ", b,
                " do not broadcast: counted from the last, sizes must be equal or one of them 1.");
    sizes[dims - i] = x == 1 ? y : x;
  }
  return sizes;
}

namespace {
// How much a tensor says about the result's dtype: a plain number less than a 0-d tensor, that less than one with dimensions.
int promotion_rank(const Tensor& self) { return self.impl().wrapped_number ? 0 : self.dim() == 0 ? 1 : 2; }

int category(ScalarType type) { return isFloatingType(type) ? 2 : type == kBool ? 0 : 1; }

// The dtype with which a plain number enters: floating-point numbers as the default dtype.
ScalarType promotion_type(const Tensor& self) {
  return self.impl().wrapped_number && self.is_floating_point() ? get_default_dtype() : self.scalar_type();
}
}  // namespace

// The dtype of a result from `a` and `b`. An operand of lower rank (promotion_rank) matters only if its category is higher. O(1).
ScalarType result_type(const Tensor& a, const Tensor& b) {
  const ScalarType x = promotion_type(a);
  const ScalarType y = promotion_type(b);
  const int rank_x = promotion_rank(a);
  const int rank_y = promotion_rank(b);
  if (rank_x > rank_y && category(x) >= category(y)) return x;
  if (rank_y > rank_x && category(y) >= category(x)) return y;
  return promoteTypes(x, y);
}

namespace {
// self + alpha * other with the multiplication left out when alpha is 1.
template <class F>
void with_alpha(const Scalar& alpha, F f) {
  if (alpha.equal(1)) {
    f([](auto x, auto y) { return x + y; });
  } else {
    f([alpha](auto x, auto y) {
      using T = decltype(y);
      return static_cast<T>(x + alpha.to<T>() * y);
    });
  }
}

Tensor add_cpu(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  Tensor result;
  with_alpha(alpha, [&](auto f) { result = zip_as(self, other, result_type(self, other), f); });
  return result;
}

const Tensor& add_inplace_cpu(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  with_alpha(alpha, [&](auto f) { zip_in_place(self, other, result_type(self, other), f); });
  return self;
}
}  // namespace

void check_alpha(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  if (alpha.type() == kLong || !self.defined() || !other.defined()) return;
  const ScalarType type = result_type(self, other);
  TORCH_CHECK(!alpha.isBoolean() || type == kBool, "Boolean alpha only supported for Boolean results.");
  TORCH_CHECK(!alpha.isFloatingPoint() || isFloatingType(type),
              "For integral input tensors, argument alpha must not be a floating point number.");
}
constinit Operator<Tensor(const Tensor&, const Tensor&, const Scalar&)> op::add("add", {.cpu = add_cpu});
constinit Operator<const Tensor&(const Tensor&, const Tensor&, const Scalar&)> op::add_("add_", {.cpu = add_inplace_cpu});

Tensor add(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  check_alpha(self, other, alpha);
  return op::add(self, other, alpha);
}
const Tensor& add_(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  check_alpha(self, other, alpha);
  return op::add_(self, other, alpha);
}

namespace {
constexpr auto multiply = [](auto x, auto y) { return static_cast<decltype(x)>(x * y); };
Tensor mul_cpu(const Tensor& self, const Tensor& other) { return zip_as(self, other, result_type(self, other), multiply); }
const Tensor& mul_inplace_cpu(const Tensor& self, const Tensor& other) { return zip_in_place(self, other, result_type(self, other), multiply); }
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::mul("mul", {.cpu = mul_cpu});
constinit Operator<const Tensor&(const Tensor&, const Tensor&)> op::mul_("mul_", {.cpu = mul_inplace_cpu});
Tensor mul(const Tensor& self, const Tensor& other) { return op::mul(self, other); }
const Tensor& mul_(const Tensor& self, const Tensor& other) { return op::mul_(self, other); }

void copy_into(const Tensor& to, const Tensor& from) {
  dispatch_stored_types(to.scalar_type(), [&]<class T>() {
    dispatch_stored_types(from.scalar_type(), [&]<class S>() { map_into<T, S>(to, from, [](S x) { return static_cast<T>(x); }); });
  });
}

void fill_with(const Tensor& to, const Scalar& value) {
  // Writes only: what new memory holds may not even be a valid bool.
  const StridedLoop<1> loop(to.sizes(), {to.strides()});
  dispatch_stored_types(to.scalar_type(), [&]<class T>() {
    loop.run([data = to.data<T>(), number = value.to<T>()](const auto& offset, std::int64_t count, const auto& step) {
      for (std::int64_t i = 0; i < count; ++i) data[offset[0] + i * step[0]] = number;
    });
  });
}

namespace {
// A copy in row order, or in self's own where it has one without gaps.
Tensor copied(const Tensor& self, ScalarType type, bool keeps_order) {
  const Tensor result = keeps_order && is_dense(self) ? empty_beside(self, self.sizes(), type) : empty(self.sizes(), type);
  copy_into(result, self);
  return result;
}

Tensor to_dtype_cpu(const Tensor& self, ScalarType type) { return copied(self, type, true); }
Tensor clone_cpu(const Tensor& self, bool keeps_order) { return copied(self, self.scalar_type(), keeps_order); }

const Tensor& copy_cpu(const Tensor& self, const Tensor& src) {
  const DimVector sizes = infer_size(self.sizes(), src.sizes());
  TORCH_CHECK(IntArrayRef(sizes) == self.sizes(), "output with shape ", self.sizes(), " doesn't match the broadcast shape ", IntArrayRef(sizes));
  if (same_elements(self, src)) return self;
  check_no_internal_overlap(self);
  // Source and target may be views that overlap: then the source is copied out first.
  copy_into(self, ranges_overlap(self, src) ? clone_cpu(src, true) : src);
  return self;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, bool)> op::clone("clone", {.cpu = clone_cpu});
constinit Operator<const Tensor&(const Tensor&, const Tensor&)> op::copy_("copy_", {.cpu = copy_cpu});
constinit Operator<Tensor(const Tensor&, ScalarType)> op::to_dtype("to", {.cpu = to_dtype_cpu});

Tensor clone(const Tensor& self) { return op::clone(self, true); }
Tensor in_row_order(const Tensor& self) { return self.is_contiguous() ? self : op::clone(self, false); }
const Tensor& copy_(const Tensor& self, const Tensor& src) { return op::copy_(self, src); }
Tensor to_dtype(const Tensor& self, ScalarType type) { return self.scalar_type() == type ? self : op::to_dtype(self, type); }

namespace {
const Tensor& fill_cpu(const Tensor& self, const Scalar& value) {
  fill_with(self, value);
  return self;
}
}  // namespace
constinit Operator<const Tensor&(const Tensor&, const Scalar&)> op::fill_("fill_", {.cpu = fill_cpu});
const Tensor& fill_(const Tensor& self, const Scalar& value) { return op::fill_(self, value); }

namespace {
template <class F>
Tensor map(const Tensor& self, F f) {
  const Tensor result = empty_beside(self, self.sizes(), self.scalar_type());
  dispatch_all_types(self.scalar_type(), [&]<class T>() { map_into<T, T>(result, self, [f](T x) { return static_cast<T>(f(x)); }); });
  return result;
}
Tensor neg_cpu(const Tensor& self) {
  return map(self, [](auto x) { return -x; });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::neg("neg", {.cpu = neg_cpu});

Tensor neg(const Tensor& self) {
  TORCH_CHECK_NOT_IMPLEMENTED(!self.defined() || self.scalar_type() != kBool,
              "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use the `~` or "
              "`logical_not()` operator instead.");
  return op::neg(self);
}

namespace {
Tensor exp_cpu(const Tensor& self) {
  return map_floating("exp", self, [](auto x) { return std::exp(x); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::exp("exp", {.cpu = exp_cpu});
Tensor exp(const Tensor& self) { return op::exp(self); }

}  // namespace tinytorch
