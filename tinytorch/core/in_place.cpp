// From the lesson modules/90_operators/operators_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/pointwise_ops.h"

namespace tinytorch {

namespace {
// Writes an operator's result back into its input.
const Tensor& written_back(const Tensor& self, const Tensor& result) {
  TORCH_CHECK(canCast(result.scalar_type(), self.scalar_type()), "result type ", result.scalar_type(),
              " can't be cast to the desired output type ", self.scalar_type());
  TORCH_CHECK(self.sizes() == result.sizes(), "output with shape ", self.sizes(),
              " doesn't match the broadcast shape ", result.sizes());
  return copy_(self, result);
}

// What self holds before it is written: a copy where a graph may want to keep it.
Tensor unwritten(const Tensor& self) { return layers_of(self).has(Layer::Autograd) ? clone(self) : self; }
}  // namespace

const Tensor& exp_(const Tensor& self) { return written_back(self, exp(self)); }
const Tensor& log_(const Tensor& self) { return written_back(self, log(unwritten(self))); }
const Tensor& sqrt_(const Tensor& self) { return written_back(self, sqrt(self)); }
const Tensor& rsqrt_(const Tensor& self) { return written_back(self, rsqrt(self)); }
const Tensor& neg_(const Tensor& self) { return written_back(self, neg(self)); }
const Tensor& abs_(const Tensor& self) { return written_back(self, abs(unwritten(self))); }
const Tensor& sin_(const Tensor& self) { return written_back(self, sin(unwritten(self))); }
const Tensor& cos_(const Tensor& self) { return written_back(self, cos(unwritten(self))); }
const Tensor& erf_(const Tensor& self) { return written_back(self, erf(unwritten(self))); }
const Tensor& floor_(const Tensor& self) { return written_back(self, floor(self)); }
const Tensor& ceil_(const Tensor& self) { return written_back(self, ceil(self)); }
const Tensor& round_(const Tensor& self) { return written_back(self, round(self)); }
const Tensor& reciprocal_(const Tensor& self) { return written_back(self, reciprocal(self)); }
const Tensor& square_(const Tensor& self) { return written_back(self, square(unwritten(self))); }
const Tensor& pow_(const Tensor& self, const Scalar& exponent) {
  return written_back(self, pow(unwritten(self), exponent));
}
const Tensor& clamp_(const Tensor& self, const std::optional<Scalar>& min, const std::optional<Scalar>& max) {
  return written_back(self, clamp(unwritten(self), min, max));
}
const Tensor& masked_fill_(const Tensor& self, const Tensor& mask, const Tensor& value) {
  return written_back(self, masked_fill(self, mask, value));
}
const Tensor& masked_fill_(const Tensor& self, const Tensor& mask, const Scalar& value) {
  return written_back(self, masked_fill(self, mask, value));
}

namespace {
// self = f(self, a, b). The operands have self's dtype; one that shares memory with self, laid out otherwise, is copied first.
template <class T, class F>
void update(const Tensor& self, const Tensor& a, const Tensor& b, F f) {
  const DimVector a_strides = broadcast_strides(a, self.sizes());
  const DimVector b_strides = broadcast_strides(b, self.sizes());
  const StridedLoop<3> loop(self.sizes(), {self.strides(), IntArrayRef(a_strides), IntArrayRef(b_strides)});
  loop.run([&, out = self.data<T>(), x = a.data<T>(), y = b.data<T>()](const auto& offset, std::int64_t count,
                                                                       const auto& step) {
    for (std::int64_t i = 0; i < count; ++i) {
      T& element = out[offset[0] + i * step[0]];
      element = f(element, x[offset[1] + i * step[1]], y[offset[2] + i * step[2]]);
    }
  });
}

// `operand` ready to be read while self is written.
Tensor beside(const Tensor& self, const Tensor& operand) {
  const Tensor converted = to_dtype(operand, self.scalar_type());
  return converted.is_alias_of(self) && !converted.is_same(self) ? clone(converted) : converted;
}

ScalarType common_type(const Tensor& self, const Tensor& a, const Tensor& b) {
  const ScalarType first = result_type(self, a);
  return result_type(empty(infer_size(self.sizes(), a.sizes()), first), b);
}

void check_update(const Tensor& self, const Tensor& a, const Tensor& b) {
  const bool same = a.scalar_type() == self.scalar_type() && b.scalar_type() == self.scalar_type();
  const ScalarType type = same ? self.scalar_type() : common_type(self, a, b);
  TORCH_CHECK(canCast(type, self.scalar_type()), "result type ", type,
              " can't be cast to the desired output type ", self.scalar_type());
  const DimVector sizes = infer_size(infer_size(self.sizes(), a.sizes()), b.sizes());
  TORCH_CHECK(IntArrayRef(sizes) == self.sizes(), "output with shape ", self.sizes(),
              " doesn't match the broadcast shape ", IntArrayRef(sizes));
  check_no_partial_overlap(self, a);
  check_no_partial_overlap(self, b);
}
}  // namespace

namespace {
const Tensor& addcmul_cpu(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2,
                          const Scalar& value) {
  const Tensor a = beside(self, tensor1);
  const Tensor b = beside(self, tensor2);
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    update<T>(self, a, b, [v = value.to<T>()](T x, T y, T z) { return static_cast<T>(x + v * y * z); });
  });
  return self;
}
const Tensor& addcdiv_cpu(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2,
                          const Scalar& value) {
  const Tensor a = beside(self, tensor1);
  const Tensor b = beside(self, tensor2);
  dispatch_floating_types(self.scalar_type(), "addcdiv_cpu_out", [&]<class T>() {
    update<T>(self, a, b, [v = value.to<T>()](T x, T y, T z) { return x + v * y / z; });
  });
  return self;
}
const Tensor& lerp_cpu(const Tensor& self, const Tensor& end, const Scalar& weight) {
  const Tensor target = beside(self, end);
  dispatch_floating_types(self.scalar_type(), "lerp_kernel_scalar", [&]<class T>() {
    const T w = weight.to<T>();
    // From the nearer end, so that weights 0 and 1 are exact.
    zip_into<T, T, T>(self, self, target, [w](T x, T y) {
      return std::abs(w) < T{0.5} ? x + w * (y - x) : y - (y - x) * (1 - w);
    });
  });
  return self;
}
}  // namespace
constinit Operator<const Tensor&(const Tensor&, const Tensor&, const Tensor&, const Scalar&)> op::addcmul_(
    "addcmul_", {.cpu = addcmul_cpu});
constinit Operator<const Tensor&(const Tensor&, const Tensor&, const Tensor&, const Scalar&)> op::addcdiv_(
    "addcdiv_", {.cpu = addcdiv_cpu});
constinit Operator<const Tensor&(const Tensor&, const Tensor&, const Scalar&)> op::lerp_("lerp_",
                                                                                         {.cpu = lerp_cpu});

const Tensor& addcmul_(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2,
                       const Scalar& value) {
  check_update(self, tensor1, tensor2);
  return op::addcmul_(self, tensor1, tensor2, value);
}
const Tensor& addcdiv_(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2,
                       const Scalar& value) {
  TORCH_CHECK(tensor1.is_floating_point() || tensor2.is_floating_point(),
              "Integer division with addcdiv is no longer supported, and in a future  release addcdiv will "
              "perform a true division of tensor1 and tensor2.");
  check_update(self, tensor1, tensor2);
  return op::addcdiv_(self, tensor1, tensor2, value);
}
const Tensor& lerp_(const Tensor& self, const Tensor& end, const Scalar& weight) {
  TORCH_CHECK(self.scalar_type() == end.scalar_type(), "expected dtype ", type_meta_name(self.scalar_type()),
              " for `end` but got dtype ", type_meta_name(end.scalar_type()));
  check_update(self, end, end);
  return op::lerp_(self, end, weight);
}

namespace {
// A copy of self in the shape and dtype that it and the others have in common, for an in-place form to work on.
Tensor broadcast_copy(const Tensor& self, const Tensor& a, const Tensor& b) {
  const Tensor wide = expand(self, infer_size(infer_size(self.sizes(), a.sizes()), b.sizes()));
  const ScalarType type = common_type(self, a, b);
  return type == self.scalar_type() ? clone(wide) : to_dtype(wide, type);
}
}  // namespace

namespace {
Tensor addcmul_of_copy(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2, const Scalar& value) {
  return addcmul_(broadcast_copy(self, tensor1, tensor2), tensor1, tensor2, value);
}
Tensor addcdiv_of_copy(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2, const Scalar& value) {
  return addcdiv_(broadcast_copy(self, tensor1, tensor2), tensor1, tensor2, value);
}
Tensor lerp_of_copy(const Tensor& self, const Tensor& end, const Scalar& weight) {
  return lerp_(broadcast_copy(self, end, end), end, weight);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Scalar&)> op::addcmul(
    "addcmul", {.cpu = addcmul_of_copy});
constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Scalar&)> op::addcdiv(
    "addcdiv", {.cpu = addcdiv_of_copy});
constinit Operator<Tensor(const Tensor&, const Tensor&, const Scalar&)> op::lerp("lerp", {.cpu = lerp_of_copy});

namespace {
bool are_of_one_type(const Tensor& self, const Tensor& a, const Tensor& b) {
  return a.scalar_type() == self.scalar_type() && b.scalar_type() == self.scalar_type();
}
}  // namespace

Tensor addcmul(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2, const Scalar& value) {
  return are_of_one_type(self, tensor1, tensor2) ? op::addcmul(self, tensor1, tensor2, value)
                                                 : addcmul_of_copy(self, tensor1, tensor2, value);
}
Tensor addcdiv(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2, const Scalar& value) {
  return are_of_one_type(self, tensor1, tensor2) ? op::addcdiv(self, tensor1, tensor2, value)
                                                 : addcdiv_of_copy(self, tensor1, tensor2, value);
}
Tensor lerp(const Tensor& self, const Tensor& end, const Scalar& weight) {
  return are_of_one_type(self, end, end) ? op::lerp(self, end, weight) : lerp_of_copy(self, end, weight);
}

}  // namespace tinytorch
