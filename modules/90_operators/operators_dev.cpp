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
// # Library chapter 90: Pointwise operators
//
// Module 01 builds the machine: storage, views, the dispatcher, the strided loop, and one operator of each kind. This chapter runs that machine over the operators that look
// at one element at a time, and over those that only join or take apart. It has no exercises. Read a group when you wonder how it works; each one says what it does and where
// PyTorch keeps it.
//
//                         creation      arange zeros_like ones_like full_like
//                         shapes        permute transpose squeeze flatten narrow
//     Tensor, loops,      arithmetic    sub div pow remainder floor_divide maximum clamp
//     dispatcher    -->   functions     log sqrt abs sin erf floor ...
//     (module 01)         comparison    eq ne lt le gt ge equal allclose where
//                         logic         logical_not bitwise_and isnan ...
//                         in place      exp_ addcmul_ lerp_ ...
//                         joining       cat stack chunk split repeat
//
// Two rules hold for all of them:
//
// * A function checks its arguments and calls the operator object of the same name in `op`, which later modules extend. A function without such an object is composed of
//   others and needs nothing from later modules: it gets gradients from its parts.
// * An in-place form without a kernel of its own computes the result and copies it into `self`.

// %%
//| after 01
//| export core/pointwise_ops.h
#include <vector>
#include "tinytorch/core/basic_ops.h"
//| export core/more_loops.h
#include <limits>
#include "tinytorch/core/loops.h"
//| export core/ranges.cpp
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/pointwise_ops.h"
//| export core/shapes.cpp
#include <algorithm>
#include "tinytorch/core/pointwise_ops.h"
//| export core/copies.cpp
#include <algorithm>
#include <cstdint>
#include <cstring>
#include "tinytorch/core/loops.h"
#include "tinytorch/core/pointwise_ops.h"
//| export core/arithmetic.cpp
#include <cmath>
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/pointwise_ops.h"
//| export core/comparison.cpp
#include <cmath>
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/pointwise_ops.h"
//| export core/elementary.cpp
#include <cmath>
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/pointwise_ops.h"
//| export core/clamp.cpp
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/pointwise_ops.h"
//| export core/division.cpp
#include <cmath>
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/pointwise_ops.h"
//| export core/logical.cpp
#include <cmath>
#include <type_traits>
#include <utility>
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/pointwise_ops.h"
//| export core/in_place.cpp
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/pointwise_ops.h"
//| export core/joining.cpp
#include <algorithm>
#include "tinytorch/core/loops.h"
#include "tinytorch/core/pointwise_ops.h"

// %%
#include <cmath>
#include <limits>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## The functions
//
// The names, defaults and shapes are libtorch's. `dim` counts from the end when negative; shapes broadcast and dtypes promote where two tensors meet.

// %%
//| export core/pointwise_ops.h
// ---- Creation.
Tensor arange(const Scalar& end, const TensorOptions& options = {});
Tensor arange(const Scalar& start, const Scalar& end, const TensorOptions& options = {});
Tensor arange(const Scalar& start, const Scalar& end, const Scalar& step, const TensorOptions& options = {});
// Of self's sizes, and of its dtype unless options name one; laid out as `memory_format` or options say, and as self when they do not.
Tensor empty_like(const Tensor& self, const TensorOptions& options = {}, std::optional<MemoryFormat> memory_format = std::nullopt);
Tensor zeros_like(const Tensor& self, const TensorOptions& options = {}, std::optional<MemoryFormat> memory_format = std::nullopt);
Tensor ones_like(const Tensor& self, const TensorOptions& options = {}, std::optional<MemoryFormat> memory_format = std::nullopt);
Tensor full_like(const Tensor& self, const Scalar& fill_value, const TensorOptions& options = {}, std::optional<MemoryFormat> memory_format = std::nullopt);
// As the four without a format, laid out as it says (Preserve, or nothing: as self).

// ---- Shapes: views of self.
Tensor permute(const Tensor& self, IntArrayRef dims);
Tensor transpose(const Tensor& self, std::int64_t dim0, std::int64_t dim1);
Tensor t(const Tensor& self);
Tensor narrow(const Tensor& self, std::int64_t dim, std::int64_t start, std::int64_t length);
Tensor squeeze(const Tensor& self);
Tensor squeeze(const Tensor& self, std::int64_t dim);
Tensor unsqueeze(const Tensor& self, std::int64_t dim);
Tensor flatten(const Tensor& self, std::int64_t start_dim = 0, std::int64_t end_dim = -1);

// ---- Arithmetic.
Tensor sub(const Tensor& self, const Tensor& other, const Scalar& alpha = 1);  // self - alpha * other
Tensor div(const Tensor& self, const Tensor& other);  // true division: integers give the default dtype
const Tensor& sub_(const Tensor& self, const Tensor& other, const Scalar& alpha = 1);
const Tensor& div_(const Tensor& self, const Tensor& other);

// ---- Comparison: Bool tensors.
Tensor eq(const Tensor& self, const Tensor& other);
Tensor ne(const Tensor& self, const Tensor& other);
Tensor lt(const Tensor& self, const Tensor& other);
Tensor le(const Tensor& self, const Tensor& other);
Tensor gt(const Tensor& self, const Tensor& other);
Tensor ge(const Tensor& self, const Tensor& other);
bool equal(const Tensor& self, const Tensor& other);  // same sizes and every element equal (NaN is not)
bool allclose(const Tensor& self, const Tensor& other, double rtol = 1e-5, double atol = 1e-8, bool equal_nan = false);
Tensor where(const Tensor& condition, const Tensor& self, const Tensor& other);  // condition: Bool

// ---- Pointwise. The first group turns integers into the default dtype.
Tensor log(const Tensor& self);
Tensor sqrt(const Tensor& self);
Tensor log1p(const Tensor& self);  // log(1 + x), exact for small x
Tensor expm1(const Tensor& self);  // exp(x) - 1, exact for small x
Tensor log2(const Tensor& self);
Tensor log10(const Tensor& self);
Tensor sin(const Tensor& self);
Tensor cos(const Tensor& self);
Tensor tan(const Tensor& self);
Tensor atan(const Tensor& self);
Tensor erf(const Tensor& self);
Tensor reciprocal(const Tensor& self);
Tensor rsqrt(const Tensor& self);  // 1 / sqrt(x)
Tensor floor(const Tensor& self);  // floor, ceil, round and trunc leave integers as they are
Tensor ceil(const Tensor& self);
Tensor round(const Tensor& self);  // halves go to the even neighbour
Tensor trunc(const Tensor& self);
Tensor square(const Tensor& self);
// min <= result <= max; where min > max, max. NaN stays NaN. Throws when both are absent.
Tensor clamp(const Tensor& self, const std::optional<Scalar>& min,
             const std::optional<Scalar>& max = std::nullopt);
Tensor clamp_min(const Tensor& self, const Scalar& min);
Tensor clamp_max(const Tensor& self, const Scalar& max);
Tensor maximum(const Tensor& self, const Tensor& other);  // NaN wins
Tensor minimum(const Tensor& self, const Tensor& other);
inline Tensor max(const Tensor& self, const Tensor& other) { return maximum(self, other); }
inline Tensor min(const Tensor& self, const Tensor& other) { return minimum(self, other); }
Tensor abs(const Tensor& self);
Tensor sign(const Tensor& self);
Tensor pow(const Tensor& self, const Scalar& exponent);
Tensor pow(const Tensor& self, const Tensor& exponent);
Tensor pow(const Scalar& self, const Tensor& exponent);
Tensor remainder(const Tensor& self, const Tensor& other);  // has the sign of `other`, as Python's %
Tensor remainder(const Tensor& self, const Scalar& other);
Tensor floor_divide(const Tensor& self, const Tensor& other);  // rounds down, as Python's //
Tensor floor_divide(const Tensor& self, const Scalar& other);
Tensor lerp(const Tensor& self, const Tensor& end, const Scalar& weight);  // self + weight * (end - self)
Tensor addcmul(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2,
               const Scalar& value = 1);  // self + value * tensor1 * tensor2
Tensor addcdiv(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2,
               const Scalar& value = 1);  // self + value * tensor1 / tensor2

// ---- Logic. logical_* and is* give Bool; bitwise_* work on bools and integers.
Tensor logical_not(const Tensor& self);
Tensor logical_and(const Tensor& self, const Tensor& other);
Tensor logical_or(const Tensor& self, const Tensor& other);
Tensor logical_xor(const Tensor& self, const Tensor& other);
Tensor bitwise_not(const Tensor& self);
Tensor bitwise_and(const Tensor& self, const Tensor& other);
Tensor bitwise_or(const Tensor& self, const Tensor& other);
Tensor bitwise_xor(const Tensor& self, const Tensor& other);
Tensor gcd(const Tensor& self, const Tensor& other);  // the greatest common divisor of integers; of 0 and n it is |n|. O(log of the smaller) each
Tensor lcm(const Tensor& self, const Tensor& other);  // their least common multiple; 0 if one is 0
inline Tensor operator&(const Tensor& a, const Tensor& b) { return bitwise_and(a, b); }
inline Tensor operator|(const Tensor& a, const Tensor& b) { return bitwise_or(a, b); }
inline Tensor operator^(const Tensor& a, const Tensor& b) { return bitwise_xor(a, b); }
inline Tensor operator!(const Tensor& self) { return logical_not(self); }
inline Tensor operator%(const Tensor& a, const Tensor& b) { return remainder(a, b); }
inline Tensor operator%(const Tensor& a, const Scalar& b) { return remainder(a, b); }
Tensor isnan(const Tensor& self);
Tensor isinf(const Tensor& self);
Tensor isfinite(const Tensor& self);
Tensor where(const Tensor& condition, const Scalar& self, const Tensor& other);
Tensor where(const Tensor& condition, const Tensor& self, const Scalar& other);
Tensor where(const Tensor& condition, const Scalar& self, const Scalar& other);
// `value` where `mask` (Bool, broadcasts) is true; keeps self's dtype.
Tensor masked_fill(const Tensor& self, const Tensor& mask, const Scalar& value);
Tensor masked_fill(const Tensor& self, const Tensor& mask, const Tensor& value);

// ---- In place: f_(self) writes f(self) into self, whose dtype must be able to hold it.
const Tensor& exp_(const Tensor& self);
const Tensor& log_(const Tensor& self);
const Tensor& sqrt_(const Tensor& self);
const Tensor& rsqrt_(const Tensor& self);
const Tensor& neg_(const Tensor& self);
const Tensor& abs_(const Tensor& self);
const Tensor& sin_(const Tensor& self);
const Tensor& cos_(const Tensor& self);
const Tensor& erf_(const Tensor& self);
const Tensor& floor_(const Tensor& self);
const Tensor& ceil_(const Tensor& self);
const Tensor& round_(const Tensor& self);
const Tensor& reciprocal_(const Tensor& self);
const Tensor& square_(const Tensor& self);
const Tensor& pow_(const Tensor& self, const Scalar& exponent);
const Tensor& clamp_(const Tensor& self, const std::optional<Scalar>& min,
                     const std::optional<Scalar>& max = std::nullopt);
const Tensor& lerp_(const Tensor& self, const Tensor& end, const Scalar& weight);
const Tensor& addcmul_(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2,
                       const Scalar& value = 1);
const Tensor& addcdiv_(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2,
                       const Scalar& value = 1);
const Tensor& masked_fill_(const Tensor& self, const Tensor& mask, const Scalar& value);
const Tensor& masked_fill_(const Tensor& self, const Tensor& mask, const Tensor& value);

// ---- Joining and taking apart.
Tensor cat(TensorList tensors,
           std::int64_t dim = 0);  // sizes agree but in `dim`; a 1-d tensor of no elements is skipped
Tensor stack(TensorList tensors, std::int64_t dim = 0);  // sizes agree; `dim` is new
std::vector<Tensor> chunk(const Tensor& self, std::int64_t chunks,
                          std::int64_t dim = 0);  // views, at most `chunks`, all but the last equal
std::vector<Tensor> split(const Tensor& self, std::int64_t split_size, std::int64_t dim = 0);
std::vector<Tensor> split_with_sizes(const Tensor& self, IntArrayRef split_sizes, std::int64_t dim = 0);
std::vector<Tensor> unbind(const Tensor& self, std::int64_t dim = 0);
namespace detail {
// Called with the views that a function, split or unbind, returns together, and the dimension that it cuts. Chapter 99 sets it: for autograd they are the outputs of one node.
using OnSeveralViews = void (*)(const std::vector<Tensor>&, const char* function, std::int64_t dim);
inline constinit OnSeveralViews on_several_views = nullptr;
}  // namespace detail
Tensor repeat(const Tensor& self, IntArrayRef repeats);

// %%
//| export core/pointwise_ops.h
namespace op {
extern Operator<Tensor(const Tensor&)> log1p;
extern Operator<Tensor(const Tensor&)> expm1;
extern Operator<Tensor(const Tensor&)> log2;
extern Operator<Tensor(const Tensor&)> log10;
extern Operator<Tensor(const Tensor&)> sin;
extern Operator<Tensor(const Tensor&)> cos;
extern Operator<Tensor(const Tensor&)> tan;
extern Operator<Tensor(const Tensor&)> atan;
extern Operator<Tensor(const Tensor&)> erf;
extern Operator<Tensor(const Tensor&)> reciprocal;
extern Operator<Tensor(const Tensor&)> rsqrt;
extern Operator<Tensor(const Tensor&)> floor;
extern Operator<Tensor(const Tensor&)> ceil;
extern Operator<Tensor(const Tensor&)> round;
extern Operator<Tensor(const Tensor&)> trunc;
extern Operator<Tensor(const Tensor&, const std::optional<Scalar>&, const std::optional<Scalar>&)> clamp;
extern Operator<Tensor(const Tensor&, const Tensor&)> maximum;
extern Operator<Tensor(const Tensor&, const Tensor&)> minimum;
extern Operator<Tensor(const Tensor&, const Tensor&)> pow_tensor;
extern Operator<Tensor(const Tensor&, const Tensor&)> remainder;
extern Operator<Tensor(const Tensor&, const Tensor&)> floor_divide;
// Of one dtype; operands broadcast, in place to self's sizes.
extern Operator<Tensor(const Tensor&, const Tensor&, const Scalar&)> lerp;
extern Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Scalar&)> addcmul;
extern Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Scalar&)> addcdiv;
extern Operator<const Tensor&(const Tensor&, const Tensor&, const Scalar&)> lerp_;
extern Operator<const Tensor&(const Tensor&, const Tensor&, const Tensor&, const Scalar&)> addcmul_;
extern Operator<const Tensor&(const Tensor&, const Tensor&, const Tensor&, const Scalar&)> addcdiv_;
extern Operator<Tensor(const Tensor&)> logical_not;
extern Operator<Tensor(const Tensor&, const Tensor&)> logical_and;
extern Operator<Tensor(const Tensor&, const Tensor&)> logical_or;
extern Operator<Tensor(const Tensor&, const Tensor&)> logical_xor;
extern Operator<Tensor(const Tensor&)> bitwise_not;
extern Operator<Tensor(const Tensor&, const Tensor&)> bitwise_and;
extern Operator<Tensor(const Tensor&, const Tensor&)> bitwise_or;
extern Operator<Tensor(const Tensor&, const Tensor&)> bitwise_xor;
extern Operator<Tensor(const Tensor&, const Tensor&)> gcd;
extern Operator<Tensor(const Tensor&, const Tensor&)> lcm;
extern Operator<Tensor(const Tensor&)> isnan;
extern Operator<Tensor(const Tensor&)> isinf;
extern Operator<Tensor(const Tensor&)> isfinite;
extern Operator<Tensor(TensorList, std::int64_t)> cat;
extern Operator<Tensor(const Tensor&, const Scalar&)> pow;
extern Operator<Tensor(const Tensor&)> abs;
extern Operator<Tensor(const Tensor&)> sign;
extern Operator<Tensor(const Tensor&)> log;
extern Operator<Tensor(const Tensor&)> sqrt;
extern Operator<Tensor(const Tensor&, const Tensor&, const Tensor&)> where;
extern Operator<Tensor(const Tensor&, const Tensor&)> eq;
extern Operator<Tensor(const Tensor&, const Tensor&)> ne;
extern Operator<Tensor(const Tensor&, const Tensor&)> lt;
extern Operator<Tensor(const Tensor&, const Tensor&)> le;
extern Operator<Tensor(const Tensor&, const Tensor&)> gt;
extern Operator<Tensor(const Tensor&, const Tensor&)> ge;
extern Operator<Tensor(const Tensor&, const Tensor&, const Scalar&)> sub;
extern Operator<Tensor(const Tensor&, const Tensor&)> div;
extern Operator<const Tensor&(const Tensor&, const Tensor&, const Scalar&)> sub_;
extern Operator<const Tensor&(const Tensor&, const Tensor&)> div_;
extern Operator<Tensor(const Tensor&, IntArrayRef)> permute;
}  // namespace op

// %%
//| export core/pointwise_ops.h
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator-(const Tensor& a, const Scalar& b) { return a.sub(b); }
inline Tensor operator-(const Scalar& a, const Tensor& b) { return sub(wrapped_scalar(a), b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator/(const Tensor& a, const Scalar& b) { return a.div(b); }
inline Tensor operator/(const Scalar& a, const Tensor& b) { return div(wrapped_scalar(a), b); }
inline Tensor operator==(const Tensor& a, const Tensor& b) { return eq(a, b); }
inline Tensor operator==(const Tensor& a, const Scalar& b) { return a.eq(b); }
inline Tensor operator!=(const Tensor& a, const Tensor& b) { return ne(a, b); }
inline Tensor operator!=(const Tensor& a, const Scalar& b) { return a.ne(b); }
inline Tensor operator<(const Tensor& a, const Tensor& b) { return lt(a, b); }
inline Tensor operator<(const Tensor& a, const Scalar& b) { return a.lt(b); }
inline Tensor operator<=(const Tensor& a, const Tensor& b) { return le(a, b); }
inline Tensor operator<=(const Tensor& a, const Scalar& b) { return a.le(b); }
inline Tensor operator>(const Tensor& a, const Tensor& b) { return gt(a, b); }
inline Tensor operator>(const Tensor& a, const Scalar& b) { return a.gt(b); }
inline Tensor operator>=(const Tensor& a, const Tensor& b) { return ge(a, b); }
inline Tensor operator>=(const Tensor& a, const Scalar& b) { return a.ge(b); }

// %% [markdown]
// ## Ranges and shapes of others
//
// Source: aten/src/ATen/native/{TensorFactories,RangeFactories}.cpp.

// %%
//| export core/ranges.cpp
// start, start + step, ... below `end` (above it for a negative step). Long when all three are integers.
Tensor arange(const Scalar& start, const Scalar& end, const Scalar& step, const TensorOptions& options) {
  const double first = start.toDouble();
  const double last = end.toDouble();
  const double stride = step.toDouble();
  TORCH_CHECK(stride != 0, "step must be nonzero");
  TORCH_CHECK(std::isfinite(first) && std::isfinite(last), "unsupported range: ", first, " -> ", last);
  TORCH_CHECK((stride > 0 && last >= first) || (stride < 0 && last <= first),
              "upper bound and lower bound inconsistent with step sign\n[arange] start ", first, ", end ", last, ", step ", stride);
  const bool integral = start.isIntegral(true) && end.isIntegral(true) && step.isIntegral(true);
  const auto count = integral ? (end.toLong() - start.toLong() + step.toLong() - (step.toLong() > 0 ? 1 : -1)) / step.toLong()
                              : static_cast<std::int64_t>(std::ceil((last - first) / stride));
  if (options.has_dtype() && isReducedFloatingType(options.dtype())) return created(to_dtype(arange(start, end, step, kFloat), options.dtype()), options);
  const Tensor result = empty({count}, options.has_dtype() ? options.dtype() : integral ? kLong : get_default_dtype());
  dispatch_all_types(result.scalar_type(), [&]<class T>() {
    T* const out = result.data<T>();
    if constexpr (std::is_floating_point_v<T>) {
      // In blocks, within which positions are ints: those become doubles in vectors.
      constexpr std::int64_t kBlock = 1024;
      for (std::int64_t block = 0; block < count; block += kBlock) {
        const double before = static_cast<double>(block);
        const int size = static_cast<int>(std::min(kBlock, count - block));
        for (int i = 0; i < size; ++i) out[block + i] = static_cast<T>(first + (before + i) * stride);
      }
    } else {
      const auto by = static_cast<std::uint64_t>(step.toLong());
      auto number = static_cast<std::uint64_t>(start.toLong());
      for (std::int64_t i = 0; i < count; ++i, number += by) out[i] = static_cast<T>(static_cast<std::int64_t>(number));
    }
  });
  return created(result, options);
}
Tensor arange(const Scalar& start, const Scalar& end, const TensorOptions& options) { return arange(start, end, 1, options); }
Tensor arange(const Scalar& end, const TensorOptions& options) { return arange(0, end, 1, options); }

// %%
//| export core/ranges.cpp
namespace detail {
// What a tensor like `self` is made with: self's dtype and device, where `options` have none. For chapter 96 too.
TensorOptions options_like(const Tensor& self, const TensorOptions& options) {
  const TensorOptions typed = options.dtype(options.has_dtype() ? options.dtype() : self.scalar_type());
  return self.is_elsewhere() && !options.has_device() ? typed.device(self.storage()->device()) : typed;
}
}  // namespace detail

namespace detail {
// Uninitialised and on the host, as `like` says, which is what options_like gave. For chapter 96 too.
Tensor empty_as(const Tensor& self, const TensorOptions& like, std::optional<MemoryFormat> memory_format) {
  const MemoryFormat format = format_of(like, memory_format).value_or(MemoryFormat::Preserve);
  return format == MemoryFormat::Preserve ? empty_beside(self, self.sizes(), like.dtype()) : empty(self.sizes(), like.dtype(), format);
}
}  // namespace detail

Tensor empty_like(const Tensor& self, const TensorOptions& options, std::optional<MemoryFormat> memory_format) {
  const TensorOptions like = detail::options_like(self, options);
  if (self.is_contiguous() && !format_of(like, memory_format)) return empty(self.sizes(), like);
  return created(detail::empty_as(self, like, memory_format), like);
}
Tensor full_like(const Tensor& self, const Scalar& fill_value, const TensorOptions& options, std::optional<MemoryFormat> memory_format) {
  const TensorOptions like = detail::options_like(self, options);
  if (self.is_contiguous() && !format_of(like, memory_format)) return full(self.sizes(), fill_value, like);
  const Tensor result = detail::empty_as(self, like, memory_format);
  fill_with(result, fill_value);
  return created(result, like);
}
Tensor zeros_like(const Tensor& self, const TensorOptions& options, std::optional<MemoryFormat> memory_format) { return full_like(self, 0, options, memory_format); }
Tensor ones_like(const Tensor& self, const TensorOptions& options, std::optional<MemoryFormat> memory_format) { return full_like(self, 1, options, memory_format); }

// %%
TEST_CASE("arange counts up to the end, and *_like takes sizes and dtype") {
  CHECK_EQ(arange(5, 0, -2), tensor({5, 3, 1}));
  CHECK_EQ(arange(0, 1, 0.3).numel(), 4);
  const Tensor falling = arange(5000, -5000, -3), halves = arange(0.5, 3000, 0.5, kDouble);
  CHECK_EQ(falling.numel(), 3334);
  for (const std::int64_t i : {0, 1, 1023, 1024, 2048, 3333}) {
    CHECK_EQ(falling[i].item<std::int64_t>(), 5000 - 3 * i);
    CHECK_EQ(halves[i].item<double>(), 0.5 * static_cast<double>(i + 1));
  }
  CHECK_EQ(arange(3000, kByte), arange(3000).to(kByte));
  CHECK_EQ(arange(3).scalar_type(), kLong);
  CHECK_EQ(arange(3.0).scalar_type(), kFloat);
  CHECK_EQ(zeros_like(arange(2)), tensor({0, 0}));
  CHECK_EQ(full_like(zeros({2}), 3, kInt), tensor({3, 3}, kInt));
  const Tensor x = zeros({2, 3, 4, 4});
  const TensorOptions last = memory_format(MemoryFormat::ChannelsLast);
  CHECK_EQ(full_like(x, 2, last), full({2, 3, 4, 4}, 2.0));
  CHECK(full_like(x, 2, last).is_contiguous(MemoryFormat::ChannelsLast));
  CHECK(empty_like(x, last).is_contiguous(MemoryFormat::ChannelsLast));
  CHECK(zeros_like(ones_like(x, last)).is_contiguous(MemoryFormat::ChannelsLast));
  CHECK(zeros_like(ones_like(x, last), memory_format(MemoryFormat::Contiguous)).is_contiguous());
  CHECK(zeros_like(ones_like(x, last), {}, MemoryFormat::Contiguous).is_contiguous());
  CHECK_EQ(empty_like(zeros({4, 6}).t().slice(0, 0, 6, 2)).strides(), IntArrayRef({1, 3}));  // no gaps, in self's order
  CHECK_ERROR(zeros_like(x, last, MemoryFormat::ChannelsLast), "Cannot set memory_format both in TensorOptions and explicit argument");
  CHECK_ERROR(arange(0, 1, 0), "step must be nonzero");
  CHECK_ERROR(arange(0, 1, -1), "upper bound and lower bound inconsistent with step sign");
}

// %% [markdown]
// ## Shapes
//
// Views made as in module 01: `as_strided` takes any sizes and strides inside the storage, `slice` moves the offset and stretches a stride, `permute` deals the sizes and strides out anew, and the others are a `permute`, a `view` or a `slice`.

// %%
//| export core/shapes.cpp
namespace {
Tensor as_strided_cpu(const Tensor& self, IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset) {
  const std::int64_t first = storage_offset.value_or(self.storage_offset());
  const bool is_empty = multiply_sizes(size) == 0;
  double last = static_cast<double>(first);  // of a position: a double does not overflow, and is exact where it can be in bounds
  for (std::size_t i = 0; i < size.size(); ++i) last += static_cast<double>(size[i] - 1) * static_cast<double>(stride[i]);
  const double needed = (last + 1) * static_cast<double>(self.element_size());
  TORCH_CHECK(is_empty || needed <= static_cast<double>(self.storage()->nbytes()), "setStorage: sizes ", size, ", strides ", stride,
              ", storage offset ", first, ", and itemsize ", self.element_size(), " requiring a storage size of ",
              static_cast<std::size_t>(needed), " are out of bounds for storage of size ", self.storage()->nbytes());
  return alias(self, size, stride, first);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef, IntArrayRef, std::optional<std::int64_t>)> op::as_strided("as_strided",
                                                                                                         {.cpu = as_strided_cpu});

Tensor as_strided(const Tensor& self, IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset) {
  TORCH_CHECK(size.size() == stride.size(), "mismatch in length of strides and shape");
  for (const std::int64_t step : stride)
    TORCH_CHECK(step >= 0, "as_strided: Negative strides are not supported at the moment, got strides: ", stride);
  TORCH_CHECK(storage_offset.value_or(0) >= 0, "Tensor: invalid storage offset ", storage_offset.value_or(0));
  return op::as_strided(self, size, stride, storage_offset);
}

// %%
//| export core/shapes.cpp
DimVector infer_shape(IntArrayRef shape, std::int64_t numel) {
  DimVector sizes(shape);
  std::int64_t known = 1;
  bool overflow = false;
  std::optional<std::size_t> open;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == -1) {
      TORCH_CHECK(!open, "only one dimension can be inferred");
      open = i;
    } else {
      TORCH_CHECK(shape[i] >= 0, "invalid shape dimension ", shape[i], " at index ", i, " of shape ", shape);
      overflow = __builtin_mul_overflow(known, shape[i], &known) || overflow;
    }
  }
  if (open && known > 0 && !overflow && numel % known == 0) {
    sizes[*open] = numel / known;
    return sizes;
  }
  TORCH_CHECK(!(open && known == 0 && numel == 0), "cannot reshape tensor of 0 elements into shape ", shape,
              " because the unspecified dimension size -1 can be any value and is ambiguous");
  TORCH_CHECK(!open && !overflow && known == numel, "shape '", shape, "' is invalid for input of size ", numel);
  return sizes;
}

// %%
//| export core/shapes.cpp
namespace {
Tensor slice_cpu(const Tensor& self, std::int64_t dim, std::int64_t start, std::int64_t end, std::int64_t step) {
  DimVector sizes(self.sizes());
  DimVector strides(self.strides());
  const auto d = static_cast<std::size_t>(dim);
  const std::int64_t offset = self.storage_offset() + start * strides[d];
  sizes[d] = end > start ? 1 + (end - start - 1) / step : 0;
  if (__builtin_mul_overflow(strides[d], step, &strides[d])) strides[d] = 0;  // then there is at most one element
  return alias(self, sizes, strides, offset);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, std::int64_t, std::int64_t, std::int64_t, std::int64_t)> op::slice("slice", {.cpu = slice_cpu});

// Elements start, start + step, ... below end of one dimension. Bounds count from the end when negative and are clamped, as in Python.
Tensor slice(const Tensor& self, std::int64_t dim, std::optional<std::int64_t> start, std::optional<std::int64_t> end, std::int64_t step) {
  TORCH_CHECK_INDEX(self.dim() > 0, "slice() cannot be applied to a 0-dim tensor.");
  TORCH_CHECK(step > 0, "slice step must be positive");
  const std::int64_t d = wrap_dim(dim, self.dim());
  const std::int64_t size = self.size(d);
  auto clamp = [size](std::int64_t bound) { return std::clamp<std::int64_t>(bound < 0 ? bound + size : bound, 0, size); };
  const std::int64_t first = clamp(start.value_or(0));
  const std::int64_t last = std::max(first, clamp(end.value_or(size)));
  return op::slice(self, d, first, last, step);
}

// %%
//| export core/shapes.cpp
namespace {
Tensor permute_cpu(const Tensor& self, IntArrayRef dims) {
  DimVector sizes(dims.size());
  DimVector strides(dims.size());
  std::vector<bool> seen(dims.size());
  for (std::size_t i = 0; i < dims.size(); ++i) {
    const auto from = static_cast<std::size_t>(wrap_dim(dims[i], self.dim()));
    TORCH_CHECK(!seen[from], "permute(): duplicate dims are not allowed.");
    seen[from] = true;
    sizes[i] = self.sizes()[from];
    strides[i] = self.strides()[from];
  }
  return alias(self, sizes, strides, self.storage_offset());
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef)> op::permute("permute", {.cpu = permute_cpu});

Tensor permute(const Tensor& self, IntArrayRef dims) {
  TORCH_CHECK(dims.size() == self.sizes().size(), "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired ordering of dimensions i.e. input.dim() = ",
              self.dim(), " is not equal to len(dims) = ", dims.size());
  return op::permute(self, dims);
}

// %%
//| export core/shapes.cpp
Tensor transpose(const Tensor& self, std::int64_t dim0, std::int64_t dim1) {
  const std::int64_t a = wrap_dim(dim0, self.dim());
  const std::int64_t b = wrap_dim(dim1, self.dim());
  DimVector dims(self.sizes().size());
  for (std::size_t i = 0; i < dims.size(); ++i) dims[i] = static_cast<std::int64_t>(i);
  if (!dims.empty()) std::swap(dims[static_cast<std::size_t>(a)], dims[static_cast<std::size_t>(b)]);
  return permute(self, dims);
}

Tensor t(const Tensor& self) {
  TORCH_CHECK(self.dim() <= 2, "t() expects a tensor with <= 2 dimensions, but self is ", self.dim(), "D");
  return self.dim() < 2 ? transpose(self, 0, 0) : transpose(self, 0, 1);
}

// %%
//| export core/shapes.cpp
Tensor flatten(const Tensor& self, std::int64_t start_dim, std::int64_t end_dim) {
  const auto first = static_cast<std::size_t>(wrap_dim(start_dim, self.dim()));
  const auto last = static_cast<std::size_t>(wrap_dim(end_dim, self.dim()));
  TORCH_CHECK(first <= last, "flatten() has invalid args: start_dim cannot come after end_dim");
  if (self.dim() == 0) return reshape(self, {1});
  DimVector shape;
  for (std::size_t i = 0; i < first; ++i) shape.push_back(self.sizes()[i]);
  shape.push_back(multiply_sizes(IntArrayRef(self.sizes().data() + first, last - first + 1)));
  for (std::size_t i = last + 1; i < self.sizes().size(); ++i) shape.push_back(self.sizes()[i]);
  return reshape(self, shape);
}

// %%
//| export core/shapes.cpp
Tensor squeeze(const Tensor& self) {
  DimVector shape;
  for (const std::int64_t size : self.sizes())
    if (size != 1) shape.push_back(size);
  return view(self, shape);
}

Tensor squeeze(const Tensor& self, std::int64_t dim) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  DimVector shape(self.sizes());
  if (self.dim() > 0 && self.size(d) == 1) shape.erase(static_cast<std::size_t>(d));
  return view(self, shape);
}

Tensor unsqueeze(const Tensor& self, std::int64_t dim) {
  const std::int64_t d = wrap_dim(dim, self.dim() + 1);
  DimVector shape(self.sizes());
  shape.insert(static_cast<std::size_t>(d), 1);
  return view(self, shape);
}

// %%
//| export core/shapes.cpp
Tensor narrow(const Tensor& self, std::int64_t dim, std::int64_t start, std::int64_t length) {
  TORCH_CHECK(self.dim() > 0, "narrow() cannot be applied to a 0-dim tensor.");
  TORCH_CHECK(length >= 0, "narrow(): length must be non-negative.");
  const std::int64_t size = self.size(dim);
  TORCH_CHECK_INDEX(start >= -size && start <= size, "start out of range (expected to be in range of [", -size, ", ", size, "], but got ", start, ")");
  const std::int64_t first = start < 0 ? start + size : start;
  TORCH_CHECK(first + length <= size, "start (", first, ") + length (", length, ") exceeds dimension size (", size, ").");
  return slice(self, dim, first, first + length);
}

// %%
TEST_CASE("shapes: permute, transpose, narrow, squeeze and flatten share memory and refuse what does not fit") {
  const Tensor x = arange(24).view({2, 3, 4});
  CHECK_EQ(x.permute({2, 0, 1}).strides(), IntArrayRef({1, 12, 4}));
  CHECK_EQ(x.narrow(1, 1, 2).storage_offset(), 4);
  CHECK_EQ(x.unsqueeze(1).squeeze().sizes(), x.sizes());
  CHECK_EQ(x.flatten(1).sizes(), IntArrayRef({2, 12}));
  for (const Tensor& view : {x.transpose(1, 2), x.narrow(0, 1, 1), x.unsqueeze(-1), x.flatten()}) CHECK(view.is_alias_of(x));
  CHECK_ERROR(x.permute({0, 0, 1}), "permute(): duplicate dims are not allowed.");
  CHECK_ERROR(x.narrow(1, 2, 2), "start (2) + length (2) exceeds dimension size (3).");
  CHECK_ERROR(x.t(), "t() expects a tensor with <= 2 dimensions, but self is 3D");
}

// %% [markdown]
// ## Copies, and memory that is written while it is read
//
// A copy is a walk that converts. Before something is written in place, three questions are asked: are two operands the same elements, does their memory overlap otherwise, and is one element of the target several of its indices?
//
//     same_elements    x += x                             read, then write, element by element: safe
//     ranges_overlap   x.slice(0, 1).copy_(x.slice(0, 0, 5))   refused; of tensors with gaps the source is copied out first
//     stride 0         x.expand({3, 2}).add_(1)           refused

// %%
//| export core/copies.cpp
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

void check_no_partial_overlap(const Tensor& written, const Tensor& read) {
  if (!written.is_alias_of(read) || same_elements(written, read) || !is_dense(written) || !is_dense(read)) return;
  TORCH_CHECK(!ranges_overlap(written, read), "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory location. "
              "Please clone() the tensor before performing the operation.\nwritten: sizes ", written.sizes(), ", strides ", written.strides(), ", offset ",
              written.storage_offset(), "; read: sizes ", read.sizes(), ", strides ", read.strides(), ", offset ", read.storage_offset());
}

// %%
//| export core/copies.cpp
void copy_into(const Tensor& to, const Tensor& from) {
  dispatch_stored_types(to.scalar_type(), [&]<class T>() {
    dispatch_stored_types(from.scalar_type(), [&]<class S>() { map_into<T, S>(to, from, [](S x) { return static_cast<T>(x); }); });
  });
}

namespace {
// A block by a loop, and copies of it: memcpy has the widest stores that the machine knows. Writes only: what new memory holds may not even be a valid bool.
template <class T>
void fill_run(T* out, std::int64_t count, T number) {
  const std::int64_t block = std::min<std::int64_t>(count, 4096 / sizeof(T));
  std::fill_n(out, block, number);
  for (std::int64_t i = block; i < count; i += block) std::memcpy(out + i, out, static_cast<std::size_t>(std::min(block, count - i)) * sizeof(T));
}
}  // namespace

void fill_with(const Tensor& to, const Scalar& value) {
  dispatch_stored_types(to.scalar_type(), [&]<class T>() {
    T* const data = to.data<T>();
    const T number = value.to<T>();
    if (to.is_contiguous()) return fill_run(data, to.numel(), number);
    StridedLoop<1>(to.sizes(), {to.strides()}).run([data, number](const auto& offset, std::int64_t count, const auto& step) {
      T* const out = data + offset[0];
      const std::int64_t apart = step[0];
      for (std::int64_t i = 0; i < count; ++i) out[i * apart] = number;
    });
  });
}

// %%
//| export core/copies.cpp
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
  check_no_partial_overlap(self, src);
  // Views with gaps may still overlap: then the source is copied out first.
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

// %%
//| export core/copies.cpp
namespace {
const Tensor& fill_cpu(const Tensor& self, const Scalar& value) {
  fill_with(self, value);
  return self;
}
}  // namespace
constinit Operator<const Tensor&(const Tensor&, const Scalar&)> op::fill_("fill_", {.cpu = fill_cpu});
const Tensor& fill_(const Tensor& self, const Scalar& value) { return op::fill_(self, value); }

// %% [markdown]
// ## Pointwise
//
// The loops are module 01's `map_into` and `zip_into`. A few small helpers name what recurs: keep the dtype, compute in the common dtype, give booleans.
//
// Source: aten/src/ATen/native/{UnaryOps,BinaryOps,TensorCompare}.cpp; the kernels are in native/cpu.

// %%
//| export core/more_loops.h
// The name of a dtype in C++, which some of PyTorch's errors print.
inline const char* type_meta_name(ScalarType type) {
  static constexpr const char* names[] = {"bool",     "unsigned char", "signed char",   "short int", "int",
                                          "long int", "c10::Half",     "c10::BFloat16", "float",     "double"};
  return names[static_cast<std::size_t>(type)];
}

// %%
//| export core/more_loops.h
// f(self) in self's dtype.
template <class F>
Tensor map_same(const Tensor& self, F f) {
  const Tensor result = empty_beside(self, self.sizes(), self.scalar_type());
  dispatch_all_types(self.scalar_type(), [&]<class T>() { map_into<T, T>(result, self, f); });
  return result;
}

// f(self) as Bool.
template <class F>
Tensor map_to_bool(const Tensor& self, F f) {
  const Tensor result = empty_beside(self, self.sizes(), kBool);
  dispatch_all_types(self.scalar_type(), [&]<class T>() { map_into<bool, T>(result, self, f); });
  return result;
}

// f(self, other) computed in the common dtype; Out is bool, or void for that dtype.
template <class Out = void, class F>
Tensor zip_promoted(const Tensor& self, const Tensor& other, F f) {
  const ScalarType type = result_type(self, other);
  const Tensor a = to_dtype(self, type);
  const Tensor b = to_dtype(other, type);
  const Tensor result = empty_beside(a, b, infer_size(a.sizes(), b.sizes()), std::is_void_v<Out> ? type : kBool);
  dispatch_all_types(type, [&]<class T>() {
    zip_into<std::conditional_t<std::is_void_v<Out>, T, bool>, T, T>(result, a, b, f);
  });
  return result;
}

// %%
//| export core/more_loops.h
// self = f(self, other): computed in the common type, which must fit into self's.
template <class F>
const Tensor& zip_in_place(const Tensor& self, const Tensor& other, ScalarType type, F f) {
  const DimVector sizes = infer_size(self.sizes(), other.sizes());
  TORCH_CHECK(canCast(type, self.scalar_type()), "result type ", type, " can't be cast to the desired output type ", self.scalar_type());
  TORCH_CHECK(IntArrayRef(sizes) == self.sizes(), "output with shape ", self.sizes(), " doesn't match the broadcast shape ", IntArrayRef(sizes));
  check_no_internal_overlap(self);
  check_no_partial_overlap(self, other);
  const bool separate = type == self.scalar_type() && (same_elements(self, other) || !ranges_overlap(self, other));
  if (!separate) {
    copy_into(self, zip_as(self, other, type, f));
    return self;
  }
  Tensor converted;
  const Tensor& b = in_type(other, type, converted);
  dispatch_all_types(type, [&]<class T>() { zip_into<T, T, T>(self, self, b, f); });
  return self;
}

// Throws if `alpha` is no factor for results of this type: a floating-point number for integers, a bool for anything but bools.
void check_alpha(const Tensor& self, const Tensor& other, const Scalar& alpha);

// %%
//| export core/arithmetic.cpp
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

// %%
//| export core/arithmetic.cpp
namespace {
const Tensor& mul_inplace_cpu(const Tensor& self, const Tensor& other) {
  return zip_in_place(self, other, result_type(self, other), [](auto x, auto y) { return static_cast<decltype(x)>(x * y); });
}
}  // namespace
constinit Operator<const Tensor&(const Tensor&, const Tensor&)> op::mul_("mul_", {.cpu = mul_inplace_cpu});
const Tensor& mul_(const Tensor& self, const Tensor& other) { return op::mul_(self, other); }

// %%
//| export core/arithmetic.cpp
namespace {
Tensor neg_cpu(const Tensor& self) {
  return map_same(self, [](auto x) { return -x; });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::neg("neg", {.cpu = neg_cpu});

Tensor neg(const Tensor& self) {
  TORCH_CHECK_NOT_IMPLEMENTED(!self.defined() || self.scalar_type() != kBool,
              "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use the `~` or "
              "`logical_not()` operator instead.");
  return op::neg(self);
}

// %%
//| export core/arithmetic.cpp
namespace {
ScalarType division_type(const Tensor& self, const Tensor& other) {
  const ScalarType type = result_type(self, other);
  return isFloatingType(type) ? type : get_default_dtype();
}
}  // namespace

// %%
//| export core/arithmetic.cpp
namespace {
void check_sub(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  if (!self.defined() || !other.defined()) return;
  TORCH_CHECK_NOT_IMPLEMENTED(self.scalar_type() != kBool || other.scalar_type() != kBool,
              "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` operator instead.");
  TORCH_CHECK_NOT_IMPLEMENTED(self.scalar_type() != kBool && other.scalar_type() != kBool,
              "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, use the `~` or "
              "`logical_not()` operator instead.");
  check_alpha(self, other, alpha);
}
// self - alpha * other is self + (-alpha) * other: the kernels of add do it.
Tensor sub_cpu(const Tensor& self, const Tensor& other, const Scalar& alpha) { return op::add.function(Layer::CPU)(self, other, -alpha); }
const Tensor& sub_inplace_cpu(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  return op::add_.function(Layer::CPU)(self, other, -alpha);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const Scalar&)> op::sub("sub", {.cpu = sub_cpu});
constinit Operator<const Tensor&(const Tensor&, const Tensor&, const Scalar&)> op::sub_("sub_", {.cpu = sub_inplace_cpu});

Tensor sub(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  check_sub(self, other, alpha);
  return op::sub(self, other, alpha);
}
const Tensor& sub_(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  check_sub(self, other, alpha);
  return op::sub_(self, other, alpha);
}

// %%
//| export core/arithmetic.cpp
namespace {
template <class T>
T quotient(T x, T y) {
  if constexpr (std::is_floating_point_v<T>) return x / y;
  else return T{};  // not reached: division_type() is a floating-point type
}
constexpr auto divide = [](auto x, auto y) { return quotient(x, y); };
Tensor div_cpu(const Tensor& self, const Tensor& other) { return zip_as(self, other, division_type(self, other), divide); }
const Tensor& div_inplace_cpu(const Tensor& self, const Tensor& other) { return zip_in_place(self, other, division_type(self, other), divide); }
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::div("div", {.cpu = div_cpu});
constinit Operator<const Tensor&(const Tensor&, const Tensor&)> op::div_("div_", {.cpu = div_inplace_cpu});
Tensor div(const Tensor& self, const Tensor& other) { return op::div(self, other); }
const Tensor& div_(const Tensor& self, const Tensor& other) { return op::div_(self, other); }

// %%
//| export core/arithmetic.cpp
namespace {
Tensor abs_cpu(const Tensor& self) {
  return map_same(self, [](auto x) {
    if constexpr (std::is_floating_point_v<decltype(x)>) return std::fabs(x);
    else return x < decltype(x){} ? static_cast<decltype(x)>(-x) : x;
  });
}
Tensor sign_cpu(const Tensor& self) {
  return map_same(self, [](auto x) { return (x > decltype(x){}) - (x < decltype(x){}); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::abs("abs", {.cpu = abs_cpu});
constinit Operator<Tensor(const Tensor&)> op::sign("sign", {.cpu = sign_cpu});

Tensor abs(const Tensor& self) { return op::abs(self); }
Tensor sign(const Tensor& self) { return op::sign(self); }

// %%
//| export core/elementary.cpp
namespace {
Tensor exp_cpu(const Tensor& self) {
  return map_floating("exp", self, [](auto x) { return std::exp(x); });
}
Tensor log_cpu(const Tensor& self) {
  return map_floating("log", self, [](auto x) { return std::log(x); });
}
Tensor sqrt_cpu(const Tensor& self) {
  return map_floating("sqrt", self, [](auto x) { return std::sqrt(x); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::exp("exp", {.cpu = exp_cpu});
constinit Operator<Tensor(const Tensor&)> op::log("log", {.cpu = log_cpu});
constinit Operator<Tensor(const Tensor&)> op::sqrt("sqrt", {.cpu = sqrt_cpu});
Tensor exp(const Tensor& self) { return op::exp(self); }
Tensor log(const Tensor& self) { return op::log(self); }
Tensor sqrt(const Tensor& self) { return op::sqrt(self); }

// %%
//| export core/division.cpp
namespace {
template <class T>
T integer_power(T base, std::int64_t exponent) {
  T result = 1;
  for (; exponent > 0; exponent /= 2, base = static_cast<T>(base * base))
    if (exponent % 2 == 1) result = static_cast<T>(result * base);
  return result;
}

Tensor pow_cpu(const Tensor& self, const Scalar& exponent) {
  const double e = exponent.toDouble();
  if (self.is_floating_point() || exponent.isFloatingPoint()) {
    // PyTorch takes these as products, roots and quotients too: the root of minus infinity is NaN, which std::pow(-inf, 0.5) is not.
    if (e == 2) return map_floating("pow", self, [](auto x) { return x * x; });
    if (e == 3) return map_floating("pow", self, [](auto x) { return x * x * x; });
    if (e == 0.5) return map_floating("pow", self, [](auto x) { return std::sqrt(x); });
    if (e == -0.5) return map_floating("pow", self, [](auto x) { return 1 / std::sqrt(x); });
    if (e == -1) return map_floating("pow", self, [](auto x) { return 1 / x; });
    if (e == -2) return map_floating("pow", self, [](auto x) { return 1 / (x * x); });
    return map_floating("pow", self, [e](auto x) { return std::pow(x, static_cast<decltype(x)>(e)); });
  }
  TORCH_CHECK(e >= 0, "Integers to negative integer powers are not allowed.");
  return map_same(self.scalar_type() == kBool ? to_dtype(self, exponent.type()) : self, [n = exponent.toLong()](auto x) {
    if constexpr (std::is_floating_point_v<decltype(x)>) return x;
    else return integer_power(x, n);
  });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Scalar&)> op::pow("pow", {.cpu = pow_cpu});
Tensor pow(const Tensor& self, const Scalar& exponent) { return op::pow(self, exponent); }

// %%
//| export core/comparison.cpp
namespace {
// f(self, other) as a Bool tensor; both are brought to their common type first.
template <class F>
Tensor compare(const Tensor& self, const Tensor& other, F f) {
  const ScalarType type = result_type(self, other);
  const Tensor result = empty_beside(self, other, infer_size(self.sizes(), other.sizes()), kBool);
  const Tensor a = to_dtype(self, type);
  const Tensor b = to_dtype(other, type);
  dispatch_all_types(type, [&]<class T>() { zip_into<bool, T, T>(result, a, b, f); });
  return result;
}
Tensor eq_cpu(const Tensor& self, const Tensor& other) {
  return compare(self, other, [](auto x, auto y) { return x == y; });
}
Tensor ne_cpu(const Tensor& self, const Tensor& other) {
  return compare(self, other, [](auto x, auto y) { return x != y; });
}
Tensor lt_cpu(const Tensor& self, const Tensor& other) {
  return compare(self, other, [](auto x, auto y) { return x < y; });
}
Tensor le_cpu(const Tensor& self, const Tensor& other) {
  return compare(self, other, [](auto x, auto y) { return x <= y; });
}
Tensor gt_cpu(const Tensor& self, const Tensor& other) {
  return compare(self, other, [](auto x, auto y) { return x > y; });
}
Tensor ge_cpu(const Tensor& self, const Tensor& other) {
  return compare(self, other, [](auto x, auto y) { return x >= y; });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::eq("eq", {.cpu = eq_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::ne("ne", {.cpu = ne_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::lt("lt", {.cpu = lt_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::le("le", {.cpu = le_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::gt("gt", {.cpu = gt_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::ge("ge", {.cpu = ge_cpu});
Tensor eq(const Tensor& self, const Tensor& other) { return op::eq(self, other); }
Tensor ne(const Tensor& self, const Tensor& other) { return op::ne(self, other); }
Tensor lt(const Tensor& self, const Tensor& other) { return op::lt(self, other); }
Tensor le(const Tensor& self, const Tensor& other) { return op::le(self, other); }
Tensor gt(const Tensor& self, const Tensor& other) { return op::gt(self, other); }
Tensor ge(const Tensor& self, const Tensor& other) { return op::ge(self, other); }

// %%
//| export core/comparison.cpp
bool equal(const Tensor& self, const Tensor& other) {
  return self.sizes() == other.sizes() && eq(self, other).sum().item<std::int64_t>() == self.numel();
}

// |self - other| <= atol + rtol * |other| everywhere. Infinities are close to themselves only.
bool allclose(const Tensor& self, const Tensor& other, double rtol, double atol, bool equal_nan) {
  TORCH_CHECK(self.scalar_type() == other.scalar_type(), self.scalar_type(), " did not match ", other.scalar_type());
  if (isReducedFloatingType(self.scalar_type())) return allclose(to_dtype(self, kFloat), to_dtype(other, kFloat), rtol, atol, equal_nan);
  const Tensor result = empty(infer_size(self.sizes(), other.sizes()), kBool);
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    zip_into<bool, T, T>(result, self, other, [=](T a, T b) {
      const auto x = static_cast<double>(a);
      const auto y = static_cast<double>(b);
      if (x == y) return true;
      if (std::isnan(x) || std::isnan(y)) return equal_nan && std::isnan(x) && std::isnan(y);
      return std::isfinite(y) && std::fabs(x - y) <= atol + rtol * std::fabs(y);
    });
  });
  return result.sum().item<std::int64_t>() == result.numel();
}

// %%
//| export core/comparison.cpp
namespace {
Tensor where_cpu(const Tensor& condition, const Tensor& self, const Tensor& other) {
  const ScalarType type = result_type(self, other);
  const DimVector sizes = infer_size(condition.sizes(), infer_size(self.sizes(), other.sizes()));
  const bool by_rows = condition.is_contiguous() && self.is_contiguous() && other.is_contiguous();
  const Tensor result = by_rows ? empty(sizes, type) : empty_in_order_of({&condition, &self, &other}, sizes, type);
  copy_into(result, other);
  const Tensor chosen = to_dtype(self, type);
  const DimVector mask_strides = broadcast_strides(condition, sizes);
  const DimVector self_strides = broadcast_strides(chosen, sizes);
  const StridedLoop<3> loop(sizes, {result.strides(), IntArrayRef(mask_strides), IntArrayRef(self_strides)});
  dispatch_all_types(type, [&]<class T>() {
    loop.run([out = result.data<T>(), mask = condition.data<bool>(), in = chosen.data<T>()](const auto& offset, std::int64_t count,
                                                                                              const auto& step) {
      T* const to = out + offset[0];
      const bool* const chosen_here = mask + offset[1];
      const T* const from = in + offset[2];
      const std::int64_t to_step = step[0], mask_step = step[1], from_step = step[2];
      for (std::int64_t i = 0; i < count; ++i)
        if (chosen_here[i * mask_step]) to[i * to_step] = from[i * from_step];
    });
  });
  return result;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&)> op::where("where", {.cpu = where_cpu});

Tensor where(const Tensor& condition, const Tensor& self, const Tensor& other) {
  TORCH_CHECK(condition.scalar_type() == kBool, "where expected condition to be a boolean tensor, but got a tensor with dtype ", condition.scalar_type());
  return op::where(condition, self, other);
}

// %%
//| export core/elementary.cpp
namespace {
Tensor log1p_cpu(const Tensor& self) {
  return map_floating("log1p", self, [](auto x) { return std::log1p(x); });
}
Tensor expm1_cpu(const Tensor& self) {
  return map_floating("expm1", self, [](auto x) { return std::expm1(x); });
}
Tensor log2_cpu(const Tensor& self) {
  return map_floating("log2", self, [](auto x) { return std::log2(x); });
}
Tensor log10_cpu(const Tensor& self) {
  return map_floating("log10", self, [](auto x) { return std::log10(x); });
}
Tensor sin_cpu(const Tensor& self) {
  return map_floating("sin", self, [](auto x) { return std::sin(x); });
}
Tensor cos_cpu(const Tensor& self) {
  return map_floating("cos", self, [](auto x) { return std::cos(x); });
}
Tensor tan_cpu(const Tensor& self) {
  return map_floating("tan", self, [](auto x) { return std::tan(x); });
}
Tensor atan_cpu(const Tensor& self) {
  return map_floating("atan", self, [](auto x) { return std::atan(x); });
}
Tensor erf_cpu(const Tensor& self) {
  return map_floating("erf", self, [](auto x) { return std::erf(x); });
}
Tensor reciprocal_cpu(const Tensor& self) {
  return map_floating("reciprocal", self, [](auto x) { return 1 / x; });
}
Tensor rsqrt_cpu(const Tensor& self) {
  return map_floating("rsqrt", self, [](auto x) { return 1 / std::sqrt(x); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::log1p("log1p", {.cpu = log1p_cpu});
constinit Operator<Tensor(const Tensor&)> op::expm1("expm1", {.cpu = expm1_cpu});
constinit Operator<Tensor(const Tensor&)> op::log2("log2", {.cpu = log2_cpu});
constinit Operator<Tensor(const Tensor&)> op::log10("log10", {.cpu = log10_cpu});
constinit Operator<Tensor(const Tensor&)> op::sin("sin", {.cpu = sin_cpu});
constinit Operator<Tensor(const Tensor&)> op::cos("cos", {.cpu = cos_cpu});
constinit Operator<Tensor(const Tensor&)> op::tan("tan", {.cpu = tan_cpu});
constinit Operator<Tensor(const Tensor&)> op::atan("atan", {.cpu = atan_cpu});
constinit Operator<Tensor(const Tensor&)> op::erf("erf", {.cpu = erf_cpu});
constinit Operator<Tensor(const Tensor&)> op::reciprocal("reciprocal", {.cpu = reciprocal_cpu});
constinit Operator<Tensor(const Tensor&)> op::rsqrt("rsqrt", {.cpu = rsqrt_cpu});

Tensor log1p(const Tensor& self) { return op::log1p(self); }
Tensor expm1(const Tensor& self) { return op::expm1(self); }
Tensor log2(const Tensor& self) { return op::log2(self); }
Tensor log10(const Tensor& self) { return op::log10(self); }
Tensor sin(const Tensor& self) { return op::sin(self); }
Tensor cos(const Tensor& self) { return op::cos(self); }
Tensor tan(const Tensor& self) { return op::tan(self); }
Tensor atan(const Tensor& self) { return op::atan(self); }
Tensor erf(const Tensor& self) { return op::erf(self); }
Tensor reciprocal(const Tensor& self) { return op::reciprocal(self); }
Tensor rsqrt(const Tensor& self) { return op::rsqrt(self); }
Tensor square(const Tensor& self) { return pow(self, Scalar(2)); }

// %%
//| export core/elementary.cpp
namespace {
// Rounding changes floating-point numbers only: integers come back as a copy.
template <class F>
Tensor rounded(const char* name, const Tensor& self, F f) {
  TORCH_CHECK_NOT_IMPLEMENTED(self.scalar_type() != kBool, "\"", name,
                              "_vml_cpu\" not implemented for 'Bool'");
  return self.is_floating_point() ? map_floating(name, self, f) : clone(self);
}
Tensor floor_cpu(const Tensor& self) {
  return rounded("floor", self, [](auto x) { return std::floor(x); });
}
Tensor ceil_cpu(const Tensor& self) {
  return rounded("ceil", self, [](auto x) { return std::ceil(x); });
}
Tensor round_cpu(const Tensor& self) {
  return rounded("round", self, [](auto x) { return std::nearbyint(x); });  // halves to even
}
Tensor trunc_cpu(const Tensor& self) {
  return rounded("trunc", self, [](auto x) { return std::trunc(x); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::floor("floor", {.cpu = floor_cpu});
constinit Operator<Tensor(const Tensor&)> op::ceil("ceil", {.cpu = ceil_cpu});
constinit Operator<Tensor(const Tensor&)> op::round("round", {.cpu = round_cpu});
constinit Operator<Tensor(const Tensor&)> op::trunc("trunc", {.cpu = trunc_cpu});
Tensor floor(const Tensor& self) { return op::floor(self); }
Tensor ceil(const Tensor& self) { return op::ceil(self); }
Tensor round(const Tensor& self) { return op::round(self); }
Tensor trunc(const Tensor& self) { return op::trunc(self); }

// %%
//| export core/more_loops.h
// Calls f(k, row, stride) for every row of `self` along `dim`: element j of row k is row[j * stride]. Rows are counted in the order of the other dimensions, so k is also the
// position in a contiguous result without `dim`.
template <class T, class F>
void for_each_row(const Tensor& self, std::int64_t dim, F f) {
  DimVector sizes(self.sizes());
  DimVector strides(self.strides());
  std::int64_t step = 0;
  if (self.dim() > 0) {
    step = strides[static_cast<std::size_t>(dim)];
    sizes.erase(static_cast<std::size_t>(dim));
    strides.erase(static_cast<std::size_t>(dim));
  }
  T* const data = self.data<T>();
  std::int64_t k = 0;
  StridedLoop<1>(sizes, {IntArrayRef(strides)}).run([&](const auto& offset, std::int64_t count, const auto& inner) {
    for (std::int64_t i = 0; i < count; ++i) f(k++, data + offset[0] + i * inner[0], step);
  });
}

// %%
//| export core/more_loops.h
// The larger (smaller) of two, where NaN wins.
template <class T>
T larger(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    if (a != a || b != b) return std::numeric_limits<T>::quiet_NaN();
  return a < b ? b : a;
}
template <class T>
T smaller(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    if (a != a || b != b) return std::numeric_limits<T>::quiet_NaN();
  return b < a ? b : a;
}

// %%
//| export core/clamp.cpp
namespace {
Tensor maximum_cpu(const Tensor& self, const Tensor& other) {
  return zip_promoted(self, other, [](auto x, auto y) { return larger(x, y); });
}
Tensor minimum_cpu(const Tensor& self, const Tensor& other) {
  return zip_promoted(self, other, [](auto x, auto y) { return smaller(x, y); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::maximum("maximum", {.cpu = maximum_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::minimum("minimum", {.cpu = minimum_cpu});
Tensor maximum(const Tensor& self, const Tensor& other) { return op::maximum(self, other); }
Tensor minimum(const Tensor& self, const Tensor& other) { return op::minimum(self, other); }

// %%
//| export core/clamp.cpp
namespace {
ScalarType clamp_type(const Tensor& self, const std::optional<Scalar>& min,
                      const std::optional<Scalar>& max) {
  ScalarType type = self.scalar_type();
  for (const std::optional<Scalar>& bound : {min, max})
    if (bound) type = result_type(empty(self.sizes(), type), wrapped_scalar(*bound));
  return type;
}

Tensor clamp_cpu(const Tensor& self, const std::optional<Scalar>& min, const std::optional<Scalar>& max) {
  const Tensor input = to_dtype(self, clamp_type(self, min, max));
  const Tensor result = empty_beside(input, input.sizes(), input.scalar_type());
  dispatch_all_types(input.scalar_type(), [&]<class T>() {
    // For uint8 a negative bound is 0, not the number that it wraps around to.
    const auto bound = [](const std::optional<Scalar>& number) {
      if (!number) return std::optional<T>();
      return std::optional<T>(std::is_same_v<T, std::uint8_t> && number->toDouble() < 0 ? T{} : number->to<T>());
    };
    const std::optional<T> low = bound(min);
    const std::optional<T> high = bound(max);
    map_into<T, T>(result, input, [low, high](T x) {
      if (low) x = larger(x, *low);
      return high ? smaller(x, *high) : x;
    });
  });
  return result;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const std::optional<Scalar>&, const std::optional<Scalar>&)>
    op::clamp("clamp", {.cpu = clamp_cpu});

Tensor clamp(const Tensor& self, const std::optional<Scalar>& min, const std::optional<Scalar>& max) {
  TORCH_CHECK(min || max, "torch.clamp: At least one of 'min' or 'max' must not be None");
  return op::clamp(self, min, max);
}
Tensor clamp_min(const Tensor& self, const Scalar& min) { return clamp(self, min, std::nullopt); }
Tensor clamp_max(const Tensor& self, const Scalar& max) { return clamp(self, std::nullopt, max); }

// %%
//| export core/division.cpp
namespace {
template <class T>
void check_divisor(T divisor) {
  if constexpr (std::is_integral_v<T>) TORCH_CHECK(divisor != 0, "ZeroDivisionError");
}

// x modulo y with the sign of y.
template <class T>
T modulo(T x, T y) {
  check_divisor(y);
  if constexpr (std::is_floating_point_v<T>) {
    const T rest = std::fmod(x, y);
    return rest != 0 && (rest < 0) != (y < 0) ? rest + y : rest;
  } else if constexpr (std::is_signed_v<T>) {
    if (y == -1) return 0;  // the quotient of the lowest integer by -1 does not exist
    const auto rest = static_cast<T>(x % y);
    return rest != 0 && (rest < 0) != (y < 0) ? static_cast<T>(rest + y) : rest;
  } else {
    return static_cast<T>(x % y);
  }
}

// x / y rounded down.
template <class T>
T floor_quotient(T x, T y) {
  check_divisor(y);
  if constexpr (std::is_floating_point_v<T>) {
    if (y == 0) return x / y;
    const T rest = std::fmod(x, y);
    const T quotient = (x - rest) / y - (rest != 0 && (rest < 0) != (y < 0) ? 1 : 0);
    if (quotient == 0) return std::copysign(T{0}, x / y);
    const T down = std::floor(quotient);  // quotient is an integer but for rounding
    return quotient - down > T{0.5} ? down + 1 : down;
  } else if constexpr (std::is_signed_v<T>) {
    if (y == -1) return static_cast<T>(-static_cast<std::uint64_t>(x));
    return static_cast<T>(x / y - (x % y != 0 && (x < 0) != (y < 0)));
  } else {
    return static_cast<T>(x / y);
  }
}

Tensor remainder_cpu(const Tensor& self, const Tensor& other) {
  return zip_promoted(self, other, [](auto x, auto y) { return modulo(x, y); });
}
Tensor floor_divide_cpu(const Tensor& self, const Tensor& other) {
  return zip_promoted(self, other, [](auto x, auto y) { return floor_quotient(x, y); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::remainder("remainder", {.cpu = remainder_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::floor_divide("floor_divide",
                                                                          {.cpu = floor_divide_cpu});
Tensor remainder(const Tensor& self, const Tensor& other) { return op::remainder(self, other); }
Tensor remainder(const Tensor& self, const Scalar& other) {
  return op::remainder(self, wrapped_scalar(other));
}
Tensor floor_divide(const Tensor& self, const Tensor& other) { return op::floor_divide(self, other); }
Tensor floor_divide(const Tensor& self, const Scalar& other) {
  return op::floor_divide(self, wrapped_scalar(other));
}

// %%
//| export core/division.cpp
namespace {
// Integers by repeated squaring, modulo 2^bits; a negative exponent gives 0 unless the base is 1 or -1.
template <class T>
T power(T base, T exponent) {
  if constexpr (std::is_floating_point_v<T>) {
    return std::pow(base, exponent);
  } else {
    if constexpr (std::is_signed_v<T>)
      if (exponent < 0)
        return base == 1 ? T{1} : base == -1 ? static_cast<T>(exponent % 2 == 0 ? 1 : -1) : T{0};
    std::uint64_t result = 1;
    auto factor = static_cast<std::uint64_t>(base);
    for (auto e = static_cast<std::uint64_t>(exponent); e > 0; e /= 2, factor *= factor)
      if (e % 2 == 1) result *= factor;
    return static_cast<T>(result);
  }
}
Tensor pow_tensor_cpu(const Tensor& self, const Tensor& exponent) {
  TORCH_CHECK_NOT_IMPLEMENTED(result_type(self, exponent) != kBool, "\"pow\" not implemented for 'Bool'");
  return zip_promoted(self, exponent, [](auto x, auto y) { return power(x, y); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::pow_tensor("pow", {.cpu = pow_tensor_cpu});
Tensor pow(const Tensor& self, const Tensor& exponent) { return op::pow_tensor(self, exponent); }
Tensor pow(const Scalar& self, const Tensor& exponent) {
  return op::pow_tensor(wrapped_scalar(self), exponent);
}

// %%
//| export core/logical.cpp
namespace {
template <class T>
bool truth(T x) {
  return x != T{};
}
Tensor logical_not_cpu(const Tensor& self) {
  return map_to_bool(self, [](auto x) { return !truth(x); });
}
Tensor logical_and_cpu(const Tensor& self, const Tensor& other) {
  return zip_promoted<bool>(self, other, [](auto x, auto y) { return truth(x) && truth(y); });
}
Tensor logical_or_cpu(const Tensor& self, const Tensor& other) {
  return zip_promoted<bool>(self, other, [](auto x, auto y) { return truth(x) || truth(y); });
}
Tensor logical_xor_cpu(const Tensor& self, const Tensor& other) {
  return zip_promoted<bool>(self, other, [](auto x, auto y) { return truth(x) != truth(y); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::logical_not("logical_not", {.cpu = logical_not_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::logical_and("logical_and",
                                                                         {.cpu = logical_and_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::logical_or("logical_or",
                                                                        {.cpu = logical_or_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::logical_xor("logical_xor",
                                                                         {.cpu = logical_xor_cpu});
Tensor logical_not(const Tensor& self) { return op::logical_not(self); }
Tensor logical_and(const Tensor& self, const Tensor& other) { return op::logical_and(self, other); }
Tensor logical_or(const Tensor& self, const Tensor& other) { return op::logical_or(self, other); }
Tensor logical_xor(const Tensor& self, const Tensor& other) { return op::logical_xor(self, other); }

// %%
//| export core/logical.cpp
namespace {
void check_bits(const char* name, ScalarType type) {
  TORCH_CHECK_NOT_IMPLEMENTED(!isFloatingType(type), "\"", name, "_cpu\" not implemented for '", type, "'");
}

// f on the bits of both; floating-point numbers were refused before.
template <class F>
Tensor zip_bits(const char* name, const Tensor& self, const Tensor& other, F f) {
  check_bits(name, result_type(self, other));
  return zip_promoted(self, other, [f](auto x, auto y) {
    if constexpr (std::is_floating_point_v<decltype(x)>) return x;
    else return static_cast<decltype(x)>(f(x, y));
  });
}
Tensor bitwise_not_cpu(const Tensor& self) {
  check_bits("bitwise_not", self.scalar_type());
  return map_same(self, [](auto x) {
    if constexpr (std::is_same_v<decltype(x), bool>) return !x;
    else if constexpr (std::is_integral_v<decltype(x)>) return static_cast<decltype(x)>(~x);
    else return x;
  });
}
Tensor bitwise_and_cpu(const Tensor& self, const Tensor& other) {
  return zip_bits("bitwise_and", self, other, [](auto x, auto y) { return x & y; });
}
Tensor bitwise_or_cpu(const Tensor& self, const Tensor& other) {
  return zip_bits("bitwise_or", self, other, [](auto x, auto y) { return x | y; });
}
Tensor bitwise_xor_cpu(const Tensor& self, const Tensor& other) {
  return zip_bits("bitwise_xor", self, other, [](auto x, auto y) { return x ^ y; });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::bitwise_not("bitwise_not", {.cpu = bitwise_not_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::bitwise_and("bitwise_and",
                                                                         {.cpu = bitwise_and_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::bitwise_or("bitwise_or",
                                                                        {.cpu = bitwise_or_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::bitwise_xor("bitwise_xor",
                                                                         {.cpu = bitwise_xor_cpu});
Tensor bitwise_not(const Tensor& self) { return op::bitwise_not(self); }
Tensor bitwise_and(const Tensor& self, const Tensor& other) { return op::bitwise_and(self, other); }
Tensor bitwise_or(const Tensor& self, const Tensor& other) { return op::bitwise_or(self, other); }
Tensor bitwise_xor(const Tensor& self, const Tensor& other) { return op::bitwise_xor(self, other); }

// %% [markdown]
// Divisors of integers go the same way. Euclid's algorithm takes remainders until nothing is left. The smallest integer has no positive twin: as in PyTorch it stands for its own absolute value, and what does not fit wraps around.
//
//     gcd(12, 18):   18 % 12 = 6    12 % 6 = 0    so 6            lcm = 12 / 6 * 18

// %%
//| export core/logical.cpp
namespace {
// |x| as an unsigned number of at least 32 bits.
template <class T>
auto magnitude(T x) {
  using Unsigned = std::make_unsigned_t<decltype(x + 0)>;
  return x < 0 ? Unsigned{0} - static_cast<Unsigned>(x) : static_cast<Unsigned>(x);
}

template <class T>
T common_divisor(T x, T y) {
  T a = static_cast<T>(magnitude(x));
  T b = static_cast<T>(magnitude(y));
  while (a != 0) {
    b = static_cast<T>(b % a);
    std::swap(a, b);
  }
  return b;
}

template <class T>
T common_multiple(T x, T y) {
  const T divisor = common_divisor(x, y);
  if (divisor == 0) return 0;
  const auto product = magnitude(x) / magnitude(divisor) * magnitude(y);
  return static_cast<T>(magnitude(static_cast<decltype(x + 0)>(product)));
}

// f on integers that are no bools; other types are refused.
template <class F>
Tensor zip_integers(const char* name, const Tensor& self, const Tensor& other, F f) {
  const ScalarType type = result_type(self, other);
  TORCH_CHECK_NOT_IMPLEMENTED(isIntegralType(type, false), "\"", name, "_cpu\" not implemented for '", type, "'");
  return zip_promoted(self, other, [f](auto x, auto y) {
    using T = decltype(x);
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) return f(x, y);
    else return x;
  });
}
Tensor gcd_cpu(const Tensor& self, const Tensor& other) {
  return zip_integers("gcd", self, other, [](auto x, auto y) { return common_divisor(x, y); });
}
Tensor lcm_cpu(const Tensor& self, const Tensor& other) {
  return zip_integers("lcm", self, other, [](auto x, auto y) { return common_multiple(x, y); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::gcd("gcd", {.cpu = gcd_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::lcm("lcm", {.cpu = lcm_cpu});
Tensor gcd(const Tensor& self, const Tensor& other) { return op::gcd(self, other); }
Tensor lcm(const Tensor& self, const Tensor& other) { return op::lcm(self, other); }

// %%
TEST_CASE("gcd and lcm: signs, zeros, and what does not fit") {
  const Tensor a = tensor({12, -18, 0, 7});
  CHECK_EQ(gcd(a, tensor({18, 12, 0, 0})), tensor({6, 6, 0, 7}));
  CHECK_EQ(lcm(a, tensor({18, 12, 0, 0})), tensor({36, 36, 0, 0}));
  CHECK_EQ(gcd(tensor({12}, kByte), tensor({-18}, kChar)), tensor({6}, kShort));
  CHECK_EQ(gcd(a, tensor({true})), ones({4}, kLong));
  const Tensor least = tensor({std::numeric_limits<std::int64_t>::min()});
  CHECK_EQ(gcd(least, tensor({6})), tensor({-2}));
  CHECK_EQ(lcm(least, tensor({6})), least);
  CHECK_EQ(lcm(least, tensor({7})), least);
  CHECK_EQ(gcd(tensor({-128}, kChar), tensor({0}, kChar)), tensor({-128}, kChar));
  CHECK_EQ(lcm(tensor({100}, kByte), tensor({7}, kByte)), tensor({188}, kByte));
  CHECK_EQ(lcm(tensor({100}, kChar), tensor({7}, kChar)), tensor({-68}, kChar));
  CHECK_ERROR(gcd(a, tensor({2.0})), "\"gcd_cpu\" not implemented for 'Float'");
  CHECK_ERROR(lcm(tensor({true}), tensor({true})), "\"lcm_cpu\" not implemented for 'Bool'");
}

// %%
//| export core/logical.cpp
namespace {
Tensor isnan_cpu(const Tensor& self) {
  return map_to_bool(self, [](auto x) { return std::isnan(static_cast<double>(x)); });
}
Tensor isinf_cpu(const Tensor& self) {
  return map_to_bool(self, [](auto x) { return std::isinf(static_cast<double>(x)); });
}
Tensor isfinite_cpu(const Tensor& self) {
  return map_to_bool(self, [](auto x) { return std::isfinite(static_cast<double>(x)); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::isnan("isnan", {.cpu = isnan_cpu});
constinit Operator<Tensor(const Tensor&)> op::isinf("isinf", {.cpu = isinf_cpu});
constinit Operator<Tensor(const Tensor&)> op::isfinite("isfinite", {.cpu = isfinite_cpu});
Tensor isnan(const Tensor& self) { return op::isnan(self); }
Tensor isinf(const Tensor& self) { return op::isinf(self); }
Tensor isfinite(const Tensor& self) { return op::isfinite(self); }

// %%
//| export core/logical.cpp
Tensor where(const Tensor& condition, const Scalar& self, const Tensor& other) {
  return where(condition, wrapped_scalar(self), other);
}
Tensor where(const Tensor& condition, const Tensor& self, const Scalar& other) {
  return where(condition, self, wrapped_scalar(other));
}
Tensor where(const Tensor& condition, const Scalar& self, const Scalar& other) {
  const ScalarType type = result_type(wrapped_scalar(self), wrapped_scalar(other));
  return where(condition, full({}, self, type), full({}, other, type));
}

Tensor masked_fill(const Tensor& self, const Tensor& mask, const Tensor& value) {
  TORCH_CHECK(mask.scalar_type() == kBool,
              "masked_fill_ only supports boolean masks, but got mask with dtype ",
              type_meta_name(mask.scalar_type()));
  TORCH_CHECK(value.dim() == 0,
              "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with ", value.dim(),
              " dimension(s).");
  return where(mask, to_dtype(value, self.scalar_type()), self);
}
Tensor masked_fill(const Tensor& self, const Tensor& mask, const Scalar& value) {
  return masked_fill(self, mask, full({}, value, self.options()));
}

// %% [markdown]
// ### In place
//
// ```
// exp_(self):   self ----> exp(self) ----> copied back into self        (copy_ counts the write, and module 05 knows its gradient)
// addcmul_:     self += value * tensor1 * tensor2, one pass             (what optimizers call for every parameter)
// addcmul:      the same of a copy; chapter 76 writes a new tensor in one pass
// ```

// %%
//| export core/in_place.cpp
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

// %%
//| export core/in_place.cpp
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

// %%
//| export core/in_place.cpp
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

// %%
//| export core/in_place.cpp
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

// %%
TEST_CASE("elementary functions: values, integers, strides, empty and 0-d") {
  const Tensor x = tensor({{-1.5, 0.25, 2.0}, {0.5, -0.75, 1.0}});
  const Tensor p = tensor({{0.125, 3.0}, {1e-6, 100.0}}, kDouble);
  CHECK_CLOSE(log1p(p),
              tensor({{0.11778303565638346, 1.3862943611198906}, {9.999995000003334e-07, 4.61512051684126}},
                     kDouble));
  CHECK_CLOSE(expm1(p.slice(1, 0, 1)), tensor({{0.13314845306682632}, {1.0000005000001665e-06}}, kDouble));
  CHECK_CLOSE(log2(p),
              tensor({{-3.0, 1.584962500721156}, {-19.931568569324174, 6.643856189774724}}, kDouble));
  CHECK_CLOSE(log10(p), tensor({{-0.9030899869919435, 0.47712125471966244}, {-6.0, 2.0}}, kDouble));
  CHECK_CLOSE(sin(x),
              tensor({{-0.997494996, 0.247403964, 0.909297407}, {0.47942555, -0.681638777, 0.841470957}}));
  CHECK_CLOSE(cos(x.t()),
              tensor({{0.070737198, 0.87758255}, {0.968912423, 0.731688857}, {-0.416146845, 0.540302336}}));
  CHECK_CLOSE(tan(x),
              tensor({{-14.1014194, 0.255341917, -2.18503976}, {0.546302497, -0.931596458, 1.55740774}}));
  CHECK_CLOSE(atan(x),
              tensor({{-0.982793689, 0.244978666, 1.10714877}, {0.463647604, -0.643501103, 0.785398185}}));
  CHECK_CLOSE(erf(x),
              tensor({{-0.966105163, 0.276326388, 0.995322287}, {0.520499885, -0.711155653, 0.842700779}}));
  CHECK_CLOSE(reciprocal(x), tensor({{-0.666666687, 4.0, 0.5}, {2.0, -1.33333337, 1.0}}));
  CHECK_CLOSE(rsqrt(p), tensor({{2.82842712474619, 0.5773502691896258}, {1000.0, 0.1}}, kDouble));
  CHECK_CLOSE(square(x), tensor({{2.25, 0.0625, 4.0}, {0.25, 0.5625, 1.0}}));
  CHECK_EQ(floor(x), tensor({{-2.0, 0.0, 2.0}, {0.0, -1.0, 1.0}}));
  CHECK_EQ(ceil(x), tensor({{-1.0, 1.0, 2.0}, {1.0, -0.0, 1.0}}));
  CHECK_EQ(round(tensor({-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.75})),
           tensor({-2.0, -2.0, -0.0, 0.0, 2.0, 2.0, 1.0}));
  CHECK_EQ(trunc(x), tensor({{-1.0, 0.0, 2.0}, {0.0, -0.0, 1.0}}));
  CHECK_CLOSE(sin(tensor({0, 1})), tensor({0.0, 0.841470957}));
  CHECK_CLOSE(reciprocal(tensor({true})), tensor({1.0}));
  CHECK_EQ(floor(tensor({3, -4})), tensor({3, -4}));
  CHECK_CLOSE(erf(tensor(0.5)), tensor(0.520499885));
  CHECK_CLOSE(erf(zeros({0, 2})), zeros({0, 2}, kFloat));
  CHECK_ERROR(floor(tensor({true})), "\"floor_vml_cpu\" not implemented for 'Bool'");
}

// %%
TEST_CASE("clamp, maximum and minimum: NaN passes through") {
  const double nan = NAN;
  const Tensor x = tensor({-2.0, 0.5, 3.0, nan});
  CHECK_EQ(clamp(x, -1, 1), tensor({-1.0, 0.5, 1.0, nan}));
  CHECK_EQ(x.clamp(0), tensor({0.0, 0.5, 3.0, nan}));
  CHECK_EQ(x.clamp_max(0.25), tensor({-2.0, 0.25, 0.25, nan}));
  CHECK_EQ(clamp(x, 3, 2), tensor({2.0, 2.0, 2.0, nan}));
  CHECK_EQ(clamp(tensor({1, 2, 3}), 1.5), tensor({1.5, 2.0, 3.0}));
  CHECK_EQ(clamp(tensor({1, 2, 3}), 2, 2), tensor({2, 2, 2}));
  CHECK_EQ(maximum(x, tensor({{0.0}, {nan}})), tensor({{0.0, 0.5, 3.0, nan}, {nan, nan, nan, nan}}));
  CHECK_EQ(minimum(x, tensor(0)), tensor({-2.0, 0.0, 0.0, nan}));
  CHECK_EQ(max(tensor({1, 5}), tensor({3, 2})), tensor({3, 5}));
  CHECK_EQ(maximum(tensor({1, 2}), tensor({1.5, 1.5}, kDouble)), tensor({1.5, 2.0}, kDouble));
  CHECK_ERROR(clamp(x, std::nullopt, std::nullopt),
              "torch.clamp: At least one of 'min' or 'max' must not be None");
  CHECK_ERROR(maximum(x, zeros({3})),
              "The size of tensor a (4) must match the size of tensor b (3) at non-singleton dimension 0");
}

// %%
TEST_CASE("remainder, floor_divide and pow round as Python does") {
  const Tensor a = tensor({7, -7, 7, -7});
  const Tensor b = tensor({3, 3, -3, -3});
  CHECK_EQ(remainder(a, b), tensor({1, 2, -2, -1}));
  CHECK_EQ(floor_divide(a, b), tensor({2, -3, -3, 2}));
  CHECK_EQ(a % 4, tensor({3, 1, 3, 1}));
  CHECK_EQ(floor_divide(a.to(kFloat) / 2, b.to(kFloat)), tensor({1.0, -2.0, -2.0, 1.0}));
  CHECK_EQ(remainder(a.to(kFloat) / 2, b.to(kFloat)), tensor({0.5, 2.5, -2.5, -0.5}));
  CHECK_EQ(floor_divide(tensor({7, -8}), 0.0), tensor({INFINITY, -INFINITY}));
  CHECK_EQ(remainder(tensor({1.0}), 0), tensor({NAN}));
  CHECK_EQ(floor_divide(tensor({1.0, 0.3}, kDouble), 0.1), tensor({9.0, 2.0}, kDouble));
  CHECK_EQ(remainder(tensor({200, 100}, kByte), tensor({255, 7}, kByte)), tensor({200, 2}, kByte));
  CHECK_EQ(pow(tensor({2, -1, -1, 3}), tensor({-1, -2, -3, 4})), tensor({0, 1, -1, 81}));
  CHECK_CLOSE(pow(tensor({2.0, 9.0}), tensor({-1.0, 0.5})), tensor({0.5, 3.0}));
  CHECK_CLOSE(pow(2, tensor({3.0, -1.0})), tensor({8.0, 0.5}));
  CHECK_CLOSE(pow(tensor({{2.0}, {3.0}}), tensor({1, 2})), tensor({{2.0, 4.0}, {3.0, 9.0}}));
  CHECK_ERROR(remainder(a, 0), "ZeroDivisionError");
  CHECK_ERROR(floor_divide(a, 0), "ZeroDivisionError");
  CHECK_ERROR(pow(tensor({true}), tensor({true})), "\"pow\" not implemented for 'Bool'");
}

// %%
TEST_CASE("logic: truth of numbers, bits of integers, and what is finite") {
  const double nan = NAN;
  const double inf = INFINITY;
  const Tensor x = tensor({0.0, 2.0, nan, -inf});
  const Tensor n = tensor({6, 3});
  CHECK_EQ(logical_not(x), tensor({true, false, false, false}));
  CHECK_EQ(logical_and(x, tensor({1, 0, 1, 1})), tensor({false, false, true, true}));
  CHECK_EQ(logical_or(x, tensor({{0}, {1}})), tensor({{false, true, true, true}, {true, true, true, true}}));
  CHECK_EQ(logical_xor(n, tensor({0.0, 1.0})), tensor({true, false}));
  CHECK_EQ(isnan(x), tensor({false, false, true, false}));
  CHECK_EQ(isinf(x), tensor({false, false, false, true}));
  CHECK_EQ(isfinite(x), tensor({true, true, false, false}));
  CHECK_EQ(isfinite(n), tensor({true, true}));
  CHECK_EQ(~n, tensor({-7, -4}));
  CHECK_EQ(~tensor({true, false}), tensor({false, true}));
  CHECK_EQ(n & tensor({5, 5}), tensor({4, 1}));
  CHECK_EQ(n | tensor({8}), tensor({14, 11}));
  CHECK_EQ(n ^ tensor({true, false}), tensor({7, 3}));
  CHECK_EQ(!n, tensor({false, false}));
  CHECK_ERROR(bitwise_not(x), "\"bitwise_not_cpu\" not implemented for 'Float'");
  CHECK_ERROR((x & x), "\"bitwise_and_cpu\" not implemented for 'Float'");
}

// %%
TEST_CASE("where with numbers, and masked_fill") {
  const double inf = INFINITY;
  const Tensor mask = tensor({{true, false}, {false, true}});
  const Tensor x = tensor({{1.0, 2.0}, {3.0, 4.0}});
  CHECK_EQ(where(mask, x, 0.5), tensor({{1.0, 0.5}, {0.5, 4.0}}));
  CHECK_EQ(where(mask, -1, x.t()), tensor({{-1.0, 3.0}, {2.0, -1.0}}));
  CHECK_EQ(where(mask, 1, 2), tensor({{1, 2}, {2, 1}}));
  CHECK_EQ(where(mask, 1.5, 2), tensor({{1.5, 2.0}, {2.0, 1.5}}));
  CHECK_EQ(x.masked_fill(mask, -INFINITY), tensor({{-inf, 2.0}, {3.0, -inf}}));
  CHECK_EQ(x.masked_fill(tensor({true, false}), tensor(7.0)), tensor({{7.0, 2.0}, {7.0, 4.0}}));
  CHECK_EQ(tensor({1, 2}).masked_fill(tensor({true, false}), 1.5), tensor({1, 2}));
  const Tensor y = x.clone();
  y.masked_fill_(mask, 0);
  CHECK_CLOSE(y, tensor({{0.0, 2.0}, {3.0, 0.0}}));
  CHECK_ERROR(x.masked_fill(zeros({2}, kLong), 1),
              "masked_fill_ only supports boolean masks, but got mask with dtype long int");
  CHECK_ERROR(x.masked_fill(mask, zeros({2})),
              "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with 1 dimension(s).");
  CHECK_ERROR(zeros({2}).masked_fill_(mask, 1),
              "output with shape [2] doesn't match the broadcast shape [2, 2]");
}

// %%
TEST_CASE("in-place forms write through views and refuse a dtype that cannot hold the result") {
  // One more than a block, and one more than several.
  for (const std::int64_t count : {1025, 5001}) {
    const Tensor x = zeros({count + 1});
    fill_(narrow(x, 0, 0, count), 2.5);
    CHECK_EQ(x.sum().item<double>(), 2.5 * static_cast<double>(count));
    CHECK_EQ(full({count}, true, kBool).sum().item<std::int64_t>(), count);
  }
  const Tensor x = tensor({{1.0, 4.0, 9.0}, {16.0, 25.0, 36.0}});
  x.t().slice(0, 0, 3, 2).sqrt_();
  x.select(0, 1).neg_().reciprocal_();
  x.select(1, 1).exp_().log_().square_().clamp_(0, 20);
  CHECK_CLOSE(x, tensor({{1.0, 16.0, 3.0}, {-0.25, 0.00159999961, -0.166666672}}));
  CHECK(x.floor_().is_same(x));
  x.add_(0.5).round_().pow_(2).abs_();
  CHECK_CLOSE(x, tensor({{4.0, 256.0, 16.0}, {0.0, 0.0, 0.0}}));
  CHECK_ERROR(tensor({1}).exp_(), "result type Float can't be cast to the desired output type Long");
  CHECK_ERROR(tensor({1}).reciprocal_(), "result type Float can't be cast to the desired output type Long");
  const Tensor row = zeros({1, 3});
  CHECK_ERROR(row.addcmul_(x, x), "output with shape [1, 3] doesn't match the broadcast shape [2, 3]");
}

// %%
TEST_CASE("addcmul, addcdiv and lerp") {
  const Tensor x = tensor({{1.0, 2.0}, {3.0, 4.0}});
  const Tensor y = tensor({5.0, -6.0});
  CHECK_CLOSE(addcmul(x, x, y, 0.5), tensor({{3.5, -4.0}, {10.5, -8.0}}));
  CHECK_CLOSE(addcdiv(x, y, x, 2), tensor({{11.0, -4.0}, {6.33333302, 1.0}}));
  CHECK_CLOSE(addcmul(y, x, y), tensor({{10.0, -18.0}, {20.0, -30.0}}));
  CHECK_EQ(addcmul(tensor({1, 2}), tensor({3, 4}), tensor({5, 6}), 2), tensor({31, 50}));
  CHECK_CLOSE(addcmul(y, tensor({1, 2}), tensor({1.5, 2.5}, kDouble)), tensor({6.5, -1.0}, kDouble));
  CHECK_CLOSE(lerp(x, y, 0.25), tensor({{2.0, 0.0}, {3.5, 1.5}}));
  CHECK_CLOSE(lerp(x, y, 0.75), tensor({{4.0, -4.0}, {4.5, -3.5}}));
  const Tensor z = x.clone();
  z.addcmul_(z.t().clone(), y, 2).addcdiv_(y, x).lerp_(y, 0.1);
  CHECK_CLOSE(z, tensor({{14.8999996, -33.9000015}, {22.6999989, -41.5499992}}));
  CHECK_ERROR(lerp(x, zeros({2, 2}, kLong), 0.5), "expected dtype float for `end` but got dtype long int");
  CHECK_ERROR(lerp(tensor({1}), tensor({2}), 0.5), "\"lerp_kernel_scalar\" not implemented for 'Long'");
  CHECK_ERROR(addcmul(x, zeros({3}), y),
              "The size of tensor a (2) must match the size of tensor b (3) at non-singleton dimension 1");
  CHECK_ERROR(addcdiv(tensor({1}), tensor({1}), tensor({1})),
              "Integer division with addcdiv is no longer supported");
}

// %%
TEST_CASE("comparison, sub, div, pow and where") {
  const Tensor x = tensor({1, 2, 3});
  CHECK_EQ(x < 2, tensor({true, false, false}));
  CHECK_EQ(tensor({{1}, {3}}) == x, tensor({{true, false, false}, {false, false, true}}));
  CHECK_EQ(x != tensor({1.0, 2.5, 3.0}), tensor({false, true, false}));
  CHECK_EQ(2 - tensor({0.5}), tensor({1.5}));
  CHECK_EQ(x / 4, tensor({0.25, 0.5, 0.75}));
  CHECK_EQ(sub(x, x, 2), tensor({-1, -2, -3}));
  const Tensor nan = log(tensor({-1.0}));
  CHECK(!(nan == nan).item<bool>());
  CHECK(!nan.equal(nan));
  CHECK(nan.allclose(nan, 1e-5, 1e-8, true));
  CHECK_EQ(abs(tensor({-2, 3})), tensor({2, 3}));
  CHECK_EQ(sign(tensor({-2.0F, 0.0F, NAN})), tensor({-1.0, 0.0, 0.0}));
  CHECK_EQ(pow(tensor({2, 3}), 3), tensor({8, 27}));
  CHECK_ERROR(pow(tensor({2}), -1), "Integers to negative integer powers are not allowed.");
  CHECK_ERROR(tensor({true}) - tensor({true}), "Subtraction, the `-` operator, with two bool tensors is not supported.");
  CHECK_EQ(where(tensor({true, false}), tensor({1, 2}), tensor(9)), tensor({1, 9}));
}

// %% [markdown]
// ## Joining and taking apart
//
// ```
// cat({a, b}, 1)            stack({a, c}, 0)             chunk / split
// +-----+---+               +-----+                      +--+--+--+-+
// |  a  | b |  one copy     |  a  |  = cat of            |  |  |  | |   views: no copy
// |     |   |  each         +--c--+    unsqueezed ones   +--+--+--+-+
// +-----+---+
// ```
//
// Source: aten/src/ATen/native/TensorShape.cpp.

// %%
//| export core/joining.cpp
namespace {
// A 1-d tensor without elements may join anything: older programs start from one and append.
bool is_skipped(const Tensor& tensor) { return tensor.dim() == 1 && tensor.numel() == 0; }

// The first tensor that is not skipped, or the first one when all are.
const Tensor& shape_giver(TensorList tensors) {
  const Tensor* const found =
      std::find_if(tensors.begin(), tensors.end(), [](const Tensor& t) { return !is_skipped(t); });
  return found == tensors.end() ? tensors.front() : *found;
}

void check_cat(TensorList tensors, std::int64_t dim) {
  const Tensor& first = shape_giver(tensors);
  for (std::size_t k = 0; k < tensors.size(); ++k) {
    const Tensor& tensor = tensors[k];
    if (is_skipped(tensor)) continue;
    TORCH_CHECK(tensor.dim() == first.dim(), "Tensors must have same number of dimensions: got ", first.dim(),
                " and ", tensor.dim());
    for (std::int64_t d = 0; d < first.dim(); ++d)
      TORCH_CHECK(d == dim || tensor.size(d) == first.size(d),
                  "Sizes of tensors must match except in dimension ", dim, ". Expected size ", first.size(d),
                  " but got size ", tensor.size(d), " for tensor number ", k, " in the list.");
  }
}

Tensor cat_cpu(TensorList tensors, std::int64_t dim) {
  ScalarType type = tensors.front().scalar_type();
  DimVector sizes(shape_giver(tensors).sizes());
  sizes[static_cast<std::size_t>(dim)] = 0;
  for (const Tensor& tensor : tensors) {
    type = promoteTypes(type, tensor.scalar_type());
    if (!is_skipped(tensor)) sizes[static_cast<std::size_t>(dim)] += tensor.size(dim);
  }
  const Tensor result = empty(sizes, type);
  std::int64_t start = 0;
  for (const Tensor& tensor : tensors) {
    if (is_skipped(tensor)) continue;
    copy_(narrow(result, dim, start, tensor.size(dim)), tensor);
    start += tensor.size(dim);
  }
  return result;
}
}  // namespace
constinit Operator<Tensor(TensorList, std::int64_t)> op::cat("cat", {.cpu = cat_cpu});

Tensor cat(TensorList tensors, std::int64_t dim) {
  TORCH_CHECK_VALUE(!tensors.empty(), "torch.cat(): expected a non-empty list of Tensors");
  for (std::size_t k = 0; k < tensors.size(); ++k)
    TORCH_CHECK(!tensors[k].defined() || tensors[k].dim() > 0, "zero-dimensional tensor (at position ", k,
                ") cannot be concatenated\n[cat] use stack() to join 0-d tensors.");
  if (is_undefined(tensors)) return op::cat(tensors, dim);
  const std::int64_t d = wrap_dim(dim, shape_giver(tensors).dim());
  check_cat(tensors, d);
  return op::cat(tensors, d);
}

// %%
//| export core/joining.cpp
Tensor stack(TensorList tensors, std::int64_t dim) {
  TORCH_CHECK(!tensors.empty(), "stack expects a non-empty TensorList");
  const std::int64_t d = wrap_dim(dim, tensors.front().dim() + 1);
  std::vector<Tensor> rows;
  rows.reserve(tensors.size());
  for (std::size_t k = 0; k < tensors.size(); ++k) {
    TORCH_CHECK(tensors[k].sizes() == tensors.front().sizes(),
                "stack expects each tensor to be equal size, but got ", tensors.front().sizes(),
                " at entry 0 and ", tensors[k].sizes(), " at entry ", k);
    rows.push_back(unsqueeze(tensors[k], d));
  }
  return cat(rows, d);
}

// %%
//| export core/joining.cpp
namespace {
std::vector<Tensor> together(std::vector<Tensor> views, const char* function, std::int64_t dim) {
  if (detail::on_several_views != nullptr) detail::on_several_views(views, function, dim);
  return views;
}
}  // namespace

std::vector<Tensor> split(const Tensor& self, std::int64_t split_size, std::int64_t dim) {
  TORCH_CHECK(self.dim() > 0, "split expects at least a 1-dimensional tensor");
  TORCH_CHECK(split_size >= 0, "split expects split_size be non-negative, but got split_size=", split_size);
  const std::int64_t size = self.size(dim);
  TORCH_CHECK(split_size > 0 || size == 0,
              "split_size can only be 0 if dimension size is 0, but got dimension size of ", size);
  std::vector<Tensor> pieces;
  if (size == 0) return together({slice(self, dim)}, "Split", dim);
  for (std::int64_t start = 0; start < size; start += split_size)
    pieces.push_back(narrow(self, dim, start, std::min(split_size, size - start)));
  return together(std::move(pieces), "Split", dim);
}

std::vector<Tensor> split_with_sizes(const Tensor& self, IntArrayRef split_sizes, std::int64_t dim) {
  TORCH_CHECK(self.dim() > 0, "split expects at least a 1-dimensional tensor");
  std::int64_t total = 0;
  for (const std::int64_t size : split_sizes) {
    TORCH_CHECK(size >= 0,
                "split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes=",
                split_sizes);
    total += size;
  }
  TORCH_CHECK(total == self.size(dim), "split_with_sizes expects split_sizes to sum exactly to ",
              self.size(dim), " (input tensor's size at dimension ", wrap_dim(dim, self.dim()),
              "), but got split_sizes=", split_sizes);
  std::vector<Tensor> pieces;
  std::int64_t start = 0;
  for (const std::int64_t size : split_sizes) {
    pieces.push_back(narrow(self, dim, start, size));
    start += size;
  }
  return together(std::move(pieces), "SplitWithSizes", dim);
}

// %%
//| export core/joining.cpp
std::vector<Tensor> chunk(const Tensor& self, std::int64_t chunks, std::int64_t dim) {
  TORCH_CHECK(self.dim() > 0, "chunk expects at least a 1-dimensional tensor");
  TORCH_CHECK(chunks > 0, "chunk expects `chunks` to be greater than 0, got: ", chunks);
  const std::int64_t size = self.size(dim);
  const std::int64_t split_size = (size + chunks - 1) / chunks;
  if (split_size > 0) return split(self, split_size, dim);
  return std::vector<Tensor>(static_cast<std::size_t>(chunks),
                             slice(self, dim));  // nothing to divide: `chunks` empty views
}

std::vector<Tensor> unbind(const Tensor& self, std::int64_t dim) {
  TORCH_CHECK_INDEX(self.dim() > 0, "Dimension specified as ", dim, " but tensor has no dimensions");
  std::vector<Tensor> slices;
  for (std::int64_t i = 0; i < self.size(dim); ++i) slices.push_back(select(self, dim, i));
  return together(std::move(slices), "Unbind", dim);
}

// %%
//| export core/joining.cpp
// (2, 3) repeated {4, 5} times is (4, 2, 5, 3) with stride 0 in the new dimensions, copied into (8, 15).
Tensor repeat(const Tensor& self, IntArrayRef repeats) {
  TORCH_CHECK(static_cast<std::int64_t>(repeats.size()) >= self.dim(),
              "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor");
  const std::size_t added = repeats.size() - self.sizes().size();
  DimVector interleaved;
  DimVector expanded;
  DimVector sizes;
  for (std::size_t i = 0; i < repeats.size(); ++i) {
    const std::int64_t size = i < added ? 1 : self.sizes()[i - added];
    TORCH_CHECK(repeats[i] >= 0, "Trying to create tensor with negative dimension ", repeats[i] * size,
                ": repeats ", repeats);
    for (const std::int64_t value : {std::int64_t{1}, size}) interleaved.push_back(value);
    for (const std::int64_t value : {repeats[i], size}) expanded.push_back(value);
    sizes.push_back(repeats[i] * size);
  }
  return reshape(clone(expand(reshape(self, interleaved), expanded)), sizes);
}

// %%
TEST_CASE("cat and stack: promotion, strides, empty parts") {
  const Tensor a = tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}});
  const Tensor b = tensor({{7, 8, 9}});
  CHECK_EQ(cat({a, b}), tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}, {7.0, 8.0, 9.0}}));
  CHECK_EQ(cat({a.t(), a.t()}, -1),
           tensor({{1.0, 4.0, 1.0, 4.0}, {2.0, 5.0, 2.0, 5.0}, {3.0, 6.0, 3.0, 6.0}}));
  CHECK_EQ(cat({zeros({0}), a, zeros({0, 3})}), tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}}));
  CHECK_EQ(cat({b, tensor({{true, false, true}})}), tensor({{7, 8, 9}, {1, 0, 1}}));
  CHECK_EQ(cat({zeros({0}), zeros({0})}), zeros({0}, kFloat));
  CHECK_EQ(stack({a, a.mul(2)}, 1),
           tensor({{{1.0, 2.0, 3.0}, {2.0, 4.0, 6.0}}, {{4.0, 5.0, 6.0}, {8.0, 10.0, 12.0}}}));
  CHECK_EQ(stack({tensor(1), tensor(2)}), tensor({1, 2}));
  CHECK_EQ(stack({a, a}, -1),
           tensor({{{1.0, 1.0}, {2.0, 2.0}, {3.0, 3.0}}, {{4.0, 4.0}, {5.0, 5.0}, {6.0, 6.0}}}));
  CHECK_ERROR(cat({}), "torch.cat(): expected a non-empty list of Tensors");
  CHECK_ERROR(cat({a, zeros({2, 4})}),
              "Sizes of tensors must match except in dimension 0. Expected size 3 but got size 4 for tensor "
              "number 1 in the list.");
  CHECK_ERROR(cat({a, zeros({3})}), "Tensors must have same number of dimensions: got 2 and 1");
  CHECK_ERROR(cat({tensor(1.0), tensor(2.0)}),
              "zero-dimensional tensor (at position 0) cannot be concatenated");
  CHECK_ERROR(cat({a, a}, 2), "Dimension out of range (expected to be in range of [-2, 1], but got 2)");
  CHECK_ERROR(stack({}), "stack expects a non-empty TensorList");
  CHECK_ERROR(stack({a, zeros({2, 4})}),
              "stack expects each tensor to be equal size, but got [2, 3] at entry 0 and [2, 4] at entry 1");
  CHECK_ERROR(cat({a, Tensor()}), "Expected a proper Tensor but got None");
}

// %%
TEST_CASE("chunk, split and unbind are views") {
  const Tensor x = arange(10).view({2, 5});
  const std::vector<Tensor> thirds = x.chunk(3, 1);
  CHECK_EQ(thirds.size(), 3);
  CHECK(thirds[1].is_alias_of(x));
  CHECK_EQ(thirds[0], tensor({{0, 1}, {5, 6}}));
  CHECK_EQ(thirds[2], tensor({{4}, {9}}));
  CHECK_EQ(x.chunk(4, 1).size(), 3);
  CHECK_EQ(zeros({0}).chunk(3).size(), 3);
  CHECK_EQ(x.split(2, 1).size(), 3);
  CHECK_EQ(x.split(2, 1)[2], tensor({{4}, {9}}));
  CHECK_EQ(x.split({1, 4}, 1)[1], tensor({{1, 2, 3, 4}, {6, 7, 8, 9}}));
  CHECK_EQ(x.unbind(1).size(), 5);
  CHECK_EQ(x.unbind(1)[3], tensor({3, 8}));
  thirds[1].fill_(0);
  CHECK_EQ(x.select(0, 1), tensor({5, 6, 0, 0, 9}));
  CHECK_ERROR(x.chunk(0), "chunk expects `chunks` to be greater than 0, got: 0");
  CHECK_ERROR(tensor(1.0).chunk(2), "chunk expects at least a 1-dimensional tensor");
  CHECK_ERROR(x.split(-1), "split expects split_size be non-negative, but got split_size=-1");
  CHECK_ERROR(x.split(0), "split_size can only be 0 if dimension size is 0, but got dimension size of 2");
  CHECK_ERROR(x.split({1, 1}, 1),
              "split_with_sizes expects split_sizes to sum exactly to 5 (input tensor's size at dimension "
              "1), but got split_sizes=[1, 1]");
  CHECK_ERROR(
      x.split({-1, 6}, 1),
      "split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes=[-1, 6]");
  CHECK_ERROR(tensor(1.0).unbind(), "Dimension specified as 0 but tensor has no dimensions");
}

// %%
TEST_CASE("repeat") {
  const Tensor x = tensor({{1, 2, 3}, {4, 5, 6}});
  CHECK_EQ(x.repeat({1, 2}), tensor({{1, 2, 3, 1, 2, 3}, {4, 5, 6, 4, 5, 6}}));
  CHECK_EQ(x.t().repeat({2, 1}), tensor({{1, 4}, {2, 5}, {3, 6}, {1, 4}, {2, 5}, {3, 6}}));
  CHECK_EQ(tensor({1, 2}).repeat({2, 2}), tensor({{1, 2, 1, 2}, {1, 2, 1, 2}}));
  CHECK_EQ(tensor(5).repeat({3}), tensor({5, 5, 5}));
  CHECK_EQ(x.repeat({0, 1}), zeros({0, 3}, kLong));
  CHECK_ERROR(x.repeat({2}),
              "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor");
}

// %%
}  // namespace tinytorch
