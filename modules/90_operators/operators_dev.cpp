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
// # Library chapter 90: The breadth of operators
//
// Module 01 builds the machine: storage, views, the dispatcher, the strided loop, and one operator of each kind. This chapter runs
// that machine over the rest of PyTorch's everyday operators. It has no exercises. Read a group when you wonder how it works; each
// one says what it does and where PyTorch keeps it.
//
// ```
//                     random numbers   uniform_ normal_ randint randperm multinomial ...
//   Tensor, loops,    pointwise        sin erf floor clamp maximum logical_not isnan ...
//   dispatcher   -->  joining          cat stack chunk split repeat
//   (module 01)       indexing         gather scatter_ index_select index index_put_ nonzero
//                     reductions       min prod any all var norm cumsum sort topk
//                     creation         eye linspace tril triu
//                     linear algebra   addmm mv dot outer einsum
// ```
//
// Two rules hold for all of them:
//
// * A function checks its arguments and calls the operator object of the same name in `op`, which later modules extend. A function
//   without such an object is composed of others and needs nothing from later modules: it gets gradients from its parts.
// * An in-place form without a kernel of its own computes the result and copies it into `self`.

// %%
//| after 01
//| export core/more_methods.h
#include <concepts>
#include <initializer_list>
#include <optional>
#include <tuple>
#include <vector>
#include "tinytorch/core/array_ref.h"
#include "tinytorch/core/generator.h"
#include "tinytorch/core/scalar.h"

// %%
//| export core/more_methods.h
//| extends Tensor
namespace tinytorch {

class Tensor;
namespace indexing {
class TensorIndex;
}

// The Tensor methods of the operators in more_ops.h, random.h and indexing.h; each calls the function of its name, where it is documented.
class MoreMethods {
 public:
  // Pointwise.
  Tensor log1p() const;
  Tensor expm1() const;
  Tensor log2() const;
  Tensor log10() const;
  Tensor sin() const;
  Tensor cos() const;
  Tensor tan() const;
  Tensor atan() const;
  Tensor erf() const;
  Tensor floor() const;
  Tensor ceil() const;
  Tensor round() const;
  Tensor trunc() const;
  Tensor reciprocal() const;
  Tensor rsqrt() const;
  Tensor square() const;
  Tensor clamp(const std::optional<Scalar>& min, const std::optional<Scalar>& max = std::nullopt) const;
  Tensor clamp_min(const Scalar& min) const;
  Tensor clamp_max(const Scalar& max) const;
  Tensor maximum(const Tensor& other) const;
  Tensor minimum(const Tensor& other) const;
  Tensor remainder(const Tensor& other) const;
  Tensor remainder(const Scalar& other) const;
  Tensor floor_divide(const Tensor& other) const;
  Tensor floor_divide(const Scalar& other) const;
  Tensor logical_not() const;
  Tensor logical_and(const Tensor& other) const;
  Tensor logical_or(const Tensor& other) const;
  Tensor logical_xor(const Tensor& other) const;
  Tensor bitwise_not() const;
  Tensor operator~() const;
  Tensor isnan() const;
  Tensor isinf() const;
  Tensor isfinite() const;
  Tensor lerp(const Tensor& end, const Scalar& weight) const;
  Tensor addcmul(const Tensor& tensor1, const Tensor& tensor2, const Scalar& value = 1) const;
  Tensor addcdiv(const Tensor& tensor1, const Tensor& tensor2, const Scalar& value = 1) const;
  Tensor where(const Tensor& condition, const Tensor& other) const;
  Tensor masked_fill(const Tensor& mask, const Scalar& value) const;
  Tensor masked_fill(const Tensor& mask, const Tensor& value) const;

  // Pointwise, in place.
  Tensor& exp_() const;
  Tensor& log_() const;
  Tensor& sqrt_() const;
  Tensor& rsqrt_() const;
  Tensor& neg_() const;
  Tensor& abs_() const;
  Tensor& sin_() const;
  Tensor& cos_() const;
  Tensor& erf_() const;
  Tensor& floor_() const;
  Tensor& ceil_() const;
  Tensor& round_() const;
  Tensor& reciprocal_() const;
  Tensor& square_() const;
  Tensor& pow_(const Scalar& exponent) const;
  Tensor& clamp_(const std::optional<Scalar>& min, const std::optional<Scalar>& max = std::nullopt) const;
  Tensor& clamp_min_(const Scalar& min) const;
  Tensor& clamp_max_(const Scalar& max) const;
  Tensor& lerp_(const Tensor& end, const Scalar& weight) const;
  Tensor& addcmul_(const Tensor& tensor1, const Tensor& tensor2, const Scalar& value = 1) const;
  Tensor& addcdiv_(const Tensor& tensor1, const Tensor& tensor2, const Scalar& value = 1) const;
  Tensor& masked_fill_(const Tensor& mask, const Scalar& value) const;
  Tensor& masked_fill_(const Tensor& mask, const Tensor& value) const;
  Tensor& logical_not_() const;

  // Random, in place.
  Tensor& uniform_(double from = 0, double to = 1, std::optional<Generator> generator = std::nullopt) const;
  Tensor& normal_(double mean = 0, double std = 1, std::optional<Generator> generator = std::nullopt) const;
  Tensor& random_(std::int64_t from, std::optional<std::int64_t> to,
                  std::optional<Generator> generator = std::nullopt) const;
  Tensor& random_(std::int64_t to, std::optional<Generator> generator = std::nullopt) const;
  Tensor& random_(std::optional<Generator> generator = std::nullopt) const;
  Tensor& bernoulli_(const Tensor& p, std::optional<Generator> generator = std::nullopt) const;
  Tensor& bernoulli_(double p = 0.5, std::optional<Generator> generator = std::nullopt) const;
  Tensor& exponential_(double lambd = 1, std::optional<Generator> generator = std::nullopt) const;
  Tensor bernoulli(std::optional<Generator> generator = std::nullopt) const;
  Tensor multinomial(std::int64_t num_samples, bool replacement = false,
                     std::optional<Generator> generator = std::nullopt) const;

  // Joining and taking apart.
  std::vector<Tensor> chunk(std::int64_t chunks, std::int64_t dim = 0) const;
  std::vector<Tensor> split(std::int64_t split_size, std::int64_t dim = 0) const;
  std::vector<Tensor> split(IntArrayRef split_size, std::int64_t dim = 0) const;
  std::vector<Tensor> split_with_sizes(IntArrayRef split_sizes, std::int64_t dim = 0) const;
  std::vector<Tensor> unbind(std::int64_t dim = 0) const;
  Tensor repeat(IntArrayRef repeats) const;
  Tensor flip(IntArrayRef dims) const;

  // Indexing.
  Tensor index(ArrayRef<indexing::TensorIndex> indices) const;
  Tensor index(std::initializer_list<indexing::TensorIndex> indices) const;
  Tensor index(const std::vector<std::optional<Tensor>>& indices) const;
  Tensor& index_put_(ArrayRef<indexing::TensorIndex> indices, const Tensor& rhs) const;
  Tensor& index_put_(ArrayRef<indexing::TensorIndex> indices, const Scalar& v) const;
  Tensor& index_put_(std::initializer_list<indexing::TensorIndex> indices, const Tensor& rhs) const;
  Tensor& index_put_(std::initializer_list<indexing::TensorIndex> indices, const Scalar& v) const;
  Tensor& index_put_(const std::vector<std::optional<Tensor>>& indices, const Tensor& values,
                     bool accumulate = false) const;
  Tensor index_select(std::int64_t dim, const Tensor& index) const;
  Tensor& index_add_(std::int64_t dim, const Tensor& index, const Tensor& source,
                     const Scalar& alpha = 1) const;
  Tensor index_add(std::int64_t dim, const Tensor& index, const Tensor& source,
                   const Scalar& alpha = 1) const;
  Tensor gather(std::int64_t dim, const Tensor& index, bool sparse_grad = false) const;
  Tensor& scatter_(std::int64_t dim, const Tensor& index, const Tensor& src) const;
  Tensor& scatter_(std::int64_t dim, const Tensor& index, const Scalar& value) const;
  Tensor scatter(std::int64_t dim, const Tensor& index, const Tensor& src) const;
  Tensor scatter(std::int64_t dim, const Tensor& index, const Scalar& value) const;
  Tensor& scatter_add_(std::int64_t dim, const Tensor& index, const Tensor& src) const;
  Tensor scatter_add(std::int64_t dim, const Tensor& index, const Tensor& src) const;
  Tensor masked_select(const Tensor& mask) const;
  Tensor nonzero() const;

  // Reductions.
  Tensor prod() const;
  Tensor prod(std::int64_t dim, bool keepdim = false) const;
  Tensor amin(IntArrayRef dim = {}, bool keepdim = false) const;
  Tensor min() const;
  std::tuple<Tensor, Tensor> min(std::int64_t dim, bool keepdim = false) const;
  Tensor argmin(std::optional<std::int64_t> dim = std::nullopt, bool keepdim = false) const;
  Tensor any() const;
  Tensor any(std::int64_t dim, bool keepdim = false) const;
  Tensor all() const;
  Tensor all(std::int64_t dim, bool keepdim = false) const;
  // var({1}) means dimension 1: a plain bool parameter would take {1} for `true`.
  Tensor var() const;
  template <std::same_as<bool> Bool>
  Tensor var(Bool unbiased) const;
  Tensor var(IntArrayRef dim, bool unbiased = true, bool keepdim = false) const;
  Tensor std() const;
  template <std::same_as<bool> Bool>
  Tensor std(Bool unbiased) const;
  Tensor std(IntArrayRef dim, bool unbiased = true, bool keepdim = false) const;
  Tensor norm(const Scalar& p = 2) const;
  Tensor norm(const std::optional<Scalar>& p, IntArrayRef dim, bool keepdim = false) const;
  Tensor cumsum(std::int64_t dim) const;
  std::tuple<Tensor, Tensor> sort(std::int64_t dim = -1, bool descending = false) const;
  Tensor argsort(std::int64_t dim = -1, bool descending = false) const;
  std::tuple<Tensor, Tensor> topk(std::int64_t k, std::int64_t dim = -1, bool largest = true,
                                  bool sorted = true) const;

  // Matrices.
  Tensor tril(std::int64_t diagonal = 0) const;
  Tensor triu(std::int64_t diagonal = 0) const;
  Tensor diagonal(std::int64_t offset = 0, std::int64_t dim1 = 0, std::int64_t dim2 = 1) const;
  Tensor addmm(const Tensor& mat1, const Tensor& mat2, const Scalar& beta = 1, const Scalar& alpha = 1) const;
  Tensor mv(const Tensor& vec) const;
  Tensor dot(const Tensor& tensor) const;
  Tensor outer(const Tensor& vec2) const;
};

}  // namespace tinytorch

// %%
//| export core/random.h
#include "tinytorch/core/generator.h"
#include "tinytorch/core/ops.h"
//| export core/random.cpp
#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
//| export core/indexing.h
#include <string_view>
#include "tinytorch/core/ops.h"
//| export core/indexing.cpp
#include <algorithm>
#include <sstream>
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
//| export core/more_ops.h
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/core/random.h"
//| export core/more_loops.h
#include "tinytorch/core/loops.h"
//| export core/more_methods.cpp
#include "tinytorch/core/more_ops.h"
//| export core/elementary.cpp
#include <cmath>
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
//| export core/extremes.cpp
#include <cmath>
#include <limits>
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
//| export core/division.cpp
#include <cmath>
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
//| export core/logical.cpp
#include <cmath>
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
//| export core/in_place.cpp
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
//| export core/joining.cpp
#include <algorithm>
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"
//| export core/gather.cpp
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
//| export core/statistics.cpp
#include <cmath>
#include <limits>
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"
//| export core/ordering.cpp
#include <algorithm>
#include <cmath>
#include <numeric>
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"
//| export core/more_creation.cpp
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"
//| export core/linear_algebra.cpp
#include <algorithm>
#include <cctype>
#include <string>
#include "tinytorch/core/loops.h"
#include "tinytorch/core/more_ops.h"

// %%
#include <cmath>
#include <limits>
#include "tito/lesson.h"
#include "tinytorch/core/tensor_data.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## The functions
//
// The names, defaults and shapes are libtorch's. `dim` counts from the end when negative; shapes broadcast and dtypes promote where two
// tensors meet.

// %%
//| export core/random.h
// The functions that draw random numbers. All take the generator to draw from (default: default_generator()) and hold its mutex meanwhile.
// The same seed gives PyTorch's CPU numbers. Where PyTorch runs on an Intel processor it draws bernoulli_ with one probability for all
// elements (and so dropout) and exponential_ from Intel's MKL, and its numbers differ from these; on other processors they agree.

// A generator is a plain value to the dispatcher: it asks for no layer.
template <>
inline constexpr bool is_plain_argument<Generator> = true;

// ---- In place: every element of `self` drawn anew.
const Tensor& uniform_(const Tensor& self, double from = 0, double to = 1,
                       std::optional<Generator> generator = std::nullopt);
const Tensor& normal_(const Tensor& self, double mean = 0, double std = 1,
                      std::optional<Generator> generator = std::nullopt);
// Integers, each equally likely: of [from, to); of [0, to); or as many as the dtype holds exactly from 0 on.
const Tensor& random_(const Tensor& self, std::int64_t from, std::optional<std::int64_t> to,
                      std::optional<Generator> generator = std::nullopt);
const Tensor& random_(const Tensor& self, std::int64_t to, std::optional<Generator> generator = std::nullopt);
const Tensor& random_(const Tensor& self, std::optional<Generator> generator = std::nullopt);
// 1 with probability p, else 0. `p` may be a tensor, which broadcasts.
const Tensor& bernoulli_(const Tensor& self, double p = 0.5,
                         std::optional<Generator> generator = std::nullopt);
const Tensor& bernoulli_(const Tensor& self, const Tensor& p,
                         std::optional<Generator> generator = std::nullopt);
const Tensor& exponential_(const Tensor& self, double lambd = 1,
                           std::optional<Generator> generator = std::nullopt);

// ---- New tensors.
Tensor rand(IntArrayRef size, const TensorOptions& options = {});  // uniform in [0, 1)
Tensor rand(IntArrayRef size, std::optional<Generator> generator, const TensorOptions& options = {});
Tensor randn(IntArrayRef size, const TensorOptions& options = {});  // mean 0, standard deviation 1
Tensor randn(IntArrayRef size, std::optional<Generator> generator, const TensorOptions& options = {});
Tensor randint(std::int64_t high, IntArrayRef size,
               const TensorOptions& options = kLong);  // integers of [low, high)
Tensor randint(std::int64_t low, std::int64_t high, IntArrayRef size, const TensorOptions& options = kLong);
Tensor randint(std::int64_t low, std::int64_t high, IntArrayRef size, std::optional<Generator> generator,
               const TensorOptions& options = kLong);
Tensor randperm(std::int64_t n, const TensorOptions& options = kLong);  // 0 ... n - 1 in random order
Tensor randperm(std::int64_t n, std::optional<Generator> generator, const TensorOptions& options = kLong);
Tensor rand_like(const Tensor& self, const TensorOptions& options = {});
Tensor randn_like(const Tensor& self, const TensorOptions& options = {});
Tensor randint_like(const Tensor& self, std::int64_t high, const TensorOptions& options = {});
Tensor randint_like(const Tensor& self, std::int64_t low, std::int64_t high,
                    const TensorOptions& options = {});
Tensor normal(double mean, double std, IntArrayRef size, std::optional<Generator> generator = std::nullopt,
              const TensorOptions& options = {});
Tensor normal(const Tensor& mean, double std = 1, std::optional<Generator> generator = std::nullopt);
Tensor normal(double mean, const Tensor& std, std::optional<Generator> generator = std::nullopt);
Tensor normal(const Tensor& mean, const Tensor& std, std::optional<Generator> generator = std::nullopt);
Tensor bernoulli(const Tensor& self,
                 std::optional<Generator> generator = std::nullopt);  // probabilities in, zeros and ones out
Tensor bernoulli(const Tensor& self, double p, std::optional<Generator> generator = std::nullopt);
// Indices (Long) drawn with probabilities proportional to `self`: (C) -> (num_samples), (N, C) -> (N, num_samples).
Tensor multinomial(const Tensor& self, std::int64_t num_samples, bool replacement = false,
                   std::optional<Generator> generator = std::nullopt);

namespace op {
extern Operator<const Tensor&(const Tensor&, double, double, std::optional<Generator>)> uniform_;
extern Operator<const Tensor&(const Tensor&, double, double, std::optional<Generator>)> normal_;
extern Operator<const Tensor&(const Tensor&, std::optional<std::int64_t>, std::optional<std::int64_t>,
                              std::optional<Generator>)>
    random_;
extern Operator<const Tensor&(const Tensor&, double, std::optional<Generator>)> bernoulli_;
extern Operator<const Tensor&(const Tensor&, const Tensor&, std::optional<Generator>)> bernoulli_tensor_;
extern Operator<const Tensor&(const Tensor&, double, std::optional<Generator>)> exponential_;
}  // namespace op

// %%
//| export core/more_ops.h
// ---- Pointwise. The first group turns integers into the default dtype.
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
Tensor repeat(const Tensor& self, IntArrayRef repeats);
Tensor flip(const Tensor& self, IntArrayRef dims);

// ---- Indexing along a dimension. Indices are Long (or Int) and not negative.
Tensor index_select(const Tensor& self, std::int64_t dim, const Tensor& index);
Tensor index_add(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source,
                 const Scalar& alpha = 1);
const Tensor& index_add_(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source,
                         const Scalar& alpha = 1);
// With dim = 1: result[i][j] = self[i][index[i][j]]; the result has index's sizes.
Tensor gather(const Tensor& self, std::int64_t dim, const Tensor& index, bool sparse_grad = false);
// With dim = 1: self[i][index[i][j]] = src[i][j] (scatter_add_: +=).
const Tensor& scatter_(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src);
const Tensor& scatter_(const Tensor& self, std::int64_t dim, const Tensor& index, const Scalar& value);
const Tensor& scatter_add_(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src);
Tensor scatter(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src);
Tensor scatter(const Tensor& self, std::int64_t dim, const Tensor& index, const Scalar& value);
Tensor scatter_add(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src);
Tensor masked_select(const Tensor& self, const Tensor& mask);  // 1-d
Tensor nonzero(const Tensor& self);  // (count, dim) Long: the indices of the elements that are not 0

// ---- Reductions.
Tensor prod(const Tensor& self);
Tensor prod(const Tensor& self, std::int64_t dim, bool keepdim = false);
Tensor amin(const Tensor& self, IntArrayRef dim = {}, bool keepdim = false);
Tensor min(const Tensor& self);
std::tuple<Tensor, Tensor> min(const Tensor& self, std::int64_t dim,
                               bool keepdim = false);  // values and indices
Tensor argmin(const Tensor& self, std::optional<std::int64_t> dim = std::nullopt, bool keepdim = false);
Tensor any(const Tensor& self);
Tensor any(const Tensor& self, std::int64_t dim, bool keepdim = false);
Tensor all(const Tensor& self);
Tensor all(const Tensor& self, std::int64_t dim, bool keepdim = false);
// Sum of squared deviations over (count - 1) when unbiased, over count when not.
Tensor var(const Tensor& self);
Tensor var(const Tensor& self, IntArrayRef dim, bool unbiased = true, bool keepdim = false);
Tensor std(const Tensor& self);
Tensor std(const Tensor& self, IntArrayRef dim, bool unbiased = true, bool keepdim = false);
std::tuple<Tensor, Tensor> var_mean(const Tensor& self, IntArrayRef dim, bool unbiased = true,
                                    bool keepdim = false);
template <std::same_as<bool> Bool>
Tensor var(const Tensor& self, Bool unbiased) {
  return var(self, IntArrayRef(), unbiased);
}
template <std::same_as<bool> Bool>
Tensor std(const Tensor& self, Bool unbiased) {
  return tinytorch::std(self, IntArrayRef(), unbiased);
}
// (sum |x|^p)^(1/p); p = 0 counts what is not 0, +-infinity is the largest and smallest |x|.
Tensor norm(const Tensor& self, const Scalar& p = 2);
Tensor norm(const Tensor& self, const std::optional<Scalar>& p, IntArrayRef dim, bool keepdim = false);
Tensor cumsum(const Tensor& self, std::int64_t dim);
std::tuple<Tensor, Tensor> sort(const Tensor& self, std::int64_t dim = -1,
                                bool descending = false);  // stable; values and indices; NaN is largest
Tensor argsort(const Tensor& self, std::int64_t dim = -1, bool descending = false);
std::tuple<Tensor, Tensor> topk(const Tensor& self, std::int64_t k, std::int64_t dim = -1,
                                bool largest = true, bool sorted = true);

// ---- Creation and matrices.
Tensor eye(std::int64_t n, const TensorOptions& options = {});
Tensor eye(std::int64_t n, std::int64_t m, const TensorOptions& options = {});
Tensor linspace(const Scalar& start, const Scalar& end, std::int64_t steps,
                const TensorOptions& options = {});  // both ends included
Tensor tril(const Tensor& self,
            std::int64_t diagonal = 0);  // the lower triangle of the last two dimensions; the rest 0
Tensor triu(const Tensor& self, std::int64_t diagonal = 0);
Tensor diagonal(const Tensor& self, std::int64_t offset = 0, std::int64_t dim1 = 0,
                std::int64_t dim2 = 1);  // a view
Tensor addmm(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta = 1,
             const Scalar& alpha = 1);                 // beta * self + alpha * mat1 x mat2
Tensor mv(const Tensor& self, const Tensor& vec);      // (M, K) x (K) -> (M)
Tensor dot(const Tensor& self, const Tensor& tensor);  // (K) x (K) -> a 0-d tensor
Tensor outer(const Tensor& self, const Tensor& vec2);  // (M) x (N) -> (M, N)
// Einstein's notation, "bij,bjk->bik": letters name dimensions, and one that the result does not name is summed over. Without "->" the
// result has the letters that occur once, in alphabetical order. Contracts from left to right, each pair by one bmm.
Tensor einsum(std::string_view equation, TensorList tensors);

// %%
//| export core/more_ops.h
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
extern Operator<Tensor(const Tensor&)> isnan;
extern Operator<Tensor(const Tensor&)> isinf;
extern Operator<Tensor(const Tensor&)> isfinite;
extern Operator<Tensor(TensorList, std::int64_t)> cat;
extern Operator<Tensor(const Tensor&, std::int64_t, const Tensor&)> index_select;
extern Operator<const Tensor&(const Tensor&, std::int64_t, const Tensor&, const Tensor&)> index_add_;
extern Operator<Tensor(const Tensor&, std::int64_t, const Tensor&)> gather;
extern Operator<const Tensor&(const Tensor&, std::int64_t, const Tensor&, const Tensor&)> scatter_;
extern Operator<const Tensor&(const Tensor&, std::int64_t, const Tensor&, const Tensor&)> scatter_add_;
extern Operator<Tensor(const Tensor&)> nonzero;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> prod;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> amin;
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> min;
extern Operator<Tensor(const Tensor&, std::int64_t, bool)> argmin;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> any;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> all;
extern Operator<Tensor(const Tensor&, IntArrayRef, double, bool)>
    var;  // dims, correction (1: unbiased), keepdim
extern Operator<Tensor(const Tensor&, IntArrayRef, double, bool)> std;
extern Operator<Tensor(const Tensor&, double, IntArrayRef, bool)> norm;
extern Operator<Tensor(const Tensor&, std::int64_t)> cumsum;
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> sort;
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, std::int64_t, bool, bool)> topk;
extern Operator<Tensor(const Tensor&, std::int64_t)> tril;
extern Operator<Tensor(const Tensor&, std::int64_t)> triu;
extern Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Scalar&, const Scalar&)> addmm;
}  // namespace op

// %%
//| export core/indexing.h
// What stands in x.index({...}): an integer, a boolean, a Slice, None, Ellipsis (or "...") or a tensor of indices or booleans.
// Source: aten/src/ATen/TensorIndexing.h.
namespace indexing {

enum class TensorIndexType : std::uint8_t { None, Ellipsis, Integer, Boolean, Slice, Tensor };

struct EllipsisIndexType {};
inline constexpr EllipsisIndexType Ellipsis{};
inline constexpr std::nullopt_t None = std::nullopt;

// start, start + step, ... below stop; both count from the end when negative.
class Slice {
 public:
  Slice(std::optional<std::int64_t> start = std::nullopt, std::optional<std::int64_t> stop = std::nullopt,
        std::optional<std::int64_t> step = std::nullopt)
      : start_(start), stop_(stop), step_(step.value_or(1)) {}
  std::optional<std::int64_t> start() const { return start_; }
  std::optional<std::int64_t> stop() const { return stop_; }
  std::int64_t step() const { return step_; }

 private:
  std::optional<std::int64_t> start_;
  std::optional<std::int64_t> stop_;
  std::int64_t step_;
};

class TensorIndex {
 public:
  TensorIndex(std::nullopt_t) : kind_(TensorIndexType::None) {}
  TensorIndex(EllipsisIndexType) : kind_(TensorIndexType::Ellipsis) {}
  TensorIndex(const char* text);  // "..." only
  template <class T>
  requires std::integral<T> &&(!std::same_as<T, bool>)TensorIndex(T integer)
      : kind_(TensorIndexType::Integer), integer_(static_cast<std::int64_t>(integer)) {}
  template <std::same_as<bool> T>
  TensorIndex(T boolean) : kind_(TensorIndexType::Boolean), integer_(boolean) {}
  TensorIndex(tinytorch::indexing::Slice slice) : kind_(TensorIndexType::Slice), slice_(slice) {}
  TensorIndex(tinytorch::Tensor tensor) : kind_(TensorIndexType::Tensor), tensor_(std::move(tensor)) {}

  TensorIndexType kind() const { return kind_; }
  bool is_none() const { return kind_ == TensorIndexType::None; }
  bool is_ellipsis() const { return kind_ == TensorIndexType::Ellipsis; }
  bool is_integer() const { return kind_ == TensorIndexType::Integer; }
  bool is_boolean() const { return kind_ == TensorIndexType::Boolean; }
  bool is_slice() const { return kind_ == TensorIndexType::Slice; }
  bool is_tensor() const { return kind_ == TensorIndexType::Tensor; }
  std::int64_t integer() const { return integer_; }
  bool boolean() const { return integer_ != 0; }
  const tinytorch::indexing::Slice& slice() const { return slice_; }
  const tinytorch::Tensor& tensor() const { return tensor_; }

 private:
  TensorIndexType kind_;
  std::int64_t integer_ = 0;
  tinytorch::indexing::Slice slice_;
  tinytorch::Tensor tensor_;
};

}  // namespace indexing

// self[indices]: a view when no tensor is among the indices, a copy when one is.
Tensor index(const Tensor& self, ArrayRef<indexing::TensorIndex> indices);
const Tensor& index_put_(const Tensor& self, ArrayRef<indexing::TensorIndex> indices, const Tensor& rhs);
// One index tensor per leading dimension; an absent one takes the whole dimension. With `accumulate`, values that meet in one place add up.
Tensor index(const Tensor& self, const std::vector<std::optional<Tensor>>& indices);
const Tensor& index_put_(const Tensor& self, const std::vector<std::optional<Tensor>>& indices,
                         const Tensor& values, bool accumulate = false);

namespace op {
// The indexed dimensions stand first: `indices` are Long, of one shape, within bounds, one for each of self's first dimensions.
extern Operator<Tensor(const Tensor&, TensorList)> index;
extern Operator<const Tensor&(const Tensor&, TensorList, const Tensor&, bool)> index_put_;
}  // namespace op

// %% [markdown]
// ## Random numbers
//
// A generator makes 32 random bits at a time (module 00). What a distribution does with them decides whether the same seed gives the
// same numbers as PyTorch, so every function here consumes the stream exactly as PyTorch's CPU kernels do:
//
// ```
// uniform, float    24 bits of one draw            x = bits / 2^24
// uniform, double   53 bits of two draws           x = bits / 2^53
// normal, < 16      one number after another, in double (two uniforms make two normals; the second waits in the generator)
// normal, >= 16     uniforms first, then blocks of 16 turned into normals in place:
//
//     | u0 ... u7 | v0 ... v7 |     r = sqrt(-2 log(1 - u)),  a = 2 pi v
//     | r cos(a)  |  r sin(a) |     (Box-Muller)
//
//     21 elements:  [ 0 ....... 15 ][ 16..20 ]   the last 16 are drawn again and overwrite what stood there
//                        [ 5 .............. 20 ]
// integers          one draw modulo the range (two draws where the range has 2^28 numbers or more)
// randperm          Fisher-Yates: swap position i with one of i ... n - 1
// ```
//
// A tensor that is not contiguous is filled in the order of its memory, as PyTorch's iterator walks it.
//
// Source: aten/src/ATen/native/cpu/DistributionTemplates.h, aten/src/ATen/core/DistributionsHelper.h.

// %%
//| export core/more_loops.h
// The name of a dtype in C++, which some of PyTorch's errors print.
inline const char* type_meta_name(ScalarType type) {
  static constexpr const char* names[] = {"bool", "unsigned char", "signed char", "short int",
                                          "int",  "long int",      "float",       "double"};
  return names[static_cast<std::size_t>(type)];
}

// %%
//| export core/random.cpp
namespace {
// The generator to draw from, locked.
class Draw {
 public:
  explicit Draw(std::optional<Generator> generator)
      : generator_(generator ? *std::move(generator) : default_generator()), lock_(generator_.mutex()) {}
  Generator* operator->() { return &generator_; }

  template <class T>
  T uniform() {
    if constexpr (std::is_same_v<T, float>) return generator_.uniform_float();
    else return generator_.uniform_double();
  }

 private:
  Generator generator_;
  std::lock_guard<std::mutex> lock_;
};

// The dimensions of `self` by falling stride: the order in which its elements lie in memory.
DimVector memory_order(const Tensor& self) {
  DimVector order(self.sizes().size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    return self.strides()[static_cast<std::size_t>(a)] > self.strides()[static_cast<std::size_t>(b)];
  });
  return order;
}

// Sets every element to f(), in the order in which the elements lie in memory.
template <class T, class F>
void fill_in_memory_order(const Tensor& self, F f) {
  DimVector sizes;
  DimVector strides;
  for (const std::int64_t d : memory_order(self)) {
    sizes.push_back(self.size(d));
    strides.push_back(self.stride(d));
  }
  T* const data = self.data<T>();
  StridedLoop<1>(sizes, {IntArrayRef(strides)})
      .run([&](const auto& offset, std::int64_t count, const auto& step) {
        for (std::int64_t i = 0; i < count; ++i) data[offset[0] + i * step[0]] = f();
      });
}
}  // namespace

// %%
//| export core/random.cpp
namespace {
const Tensor& uniform_cpu(const Tensor& self, double from, double to, std::optional<Generator> generator) {
  dispatch_floating_types(self.scalar_type(), "check_uniform_bounds", [&]<class T>() {
    constexpr double largest = std::numeric_limits<T>::max();
    TORCH_CHECK(from <= to, "uniform_ expects to return a [from, to) range, but found from=", from,
                " > to=", to);
    TORCH_CHECK(to - from <= largest, "uniform_ expects to-from <= std::numeric_limits<", self.scalar_type(),
                ">::max(), but found to=", to, " and from=", from,
                " which result in to-from to exceed the limit");
    Draw draw(std::move(generator));
    const T low = static_cast<T>(from);
    const T width = static_cast<T>(to) - low;
    // One rounding for product and sum, as the instruction does that PyTorch's compiler chooses here.
    fill_in_memory_order<T>(self, [&] { return std::fma(draw.uniform<T>(), width, low); });
  });
  return self;
}
}  // namespace
constinit Operator<const Tensor&(const Tensor&, double, double, std::optional<Generator>)> op::uniform_(
    "uniform_", {.cpu = uniform_cpu});
const Tensor& uniform_(const Tensor& self, double from, double to, std::optional<Generator> generator) {
  return op::uniform_(self, from, to, std::move(generator));
}

// %%
//| export core/random.cpp
namespace {
// Turns 16 uniform numbers into 16 normal ones, in place.
template <class T>
void box_muller_16(T* data, T mean, T std) {
  for (int j = 0; j < 8; ++j) {
    const T u = 1 - data[j];  // (0, 1]: its logarithm is finite
    const T v = data[j + 8];
    const T radius = std::sqrt(-2 * std::log(u));
    const T angle = 2 * static_cast<T>(3.14159265358979323846) * v;
    data[j] = radius * std::cos(angle) * std + mean;
    data[j + 8] = radius * std::sin(angle) * std + mean;
  }
}

// Blocks of 16. When the count is not a multiple of 16, the last 16 elements are drawn anew.
template <class T>
void normal_blocks(T* data, std::int64_t count, T mean, T std, Draw& draw) {
  for (std::int64_t i = 0; i < count; ++i) data[i] = draw.uniform<T>();
  for (std::int64_t i = 0; i + 16 <= count; i += 16) box_muller_16(data + i, mean, std);
  if (count % 16 == 0) return;
  T* const last = data + count - 16;
  for (int j = 0; j < 16; ++j) last[j] = draw.uniform<T>();
  box_muller_16(last, mean, std);
}

const Tensor& normal_cpu(const Tensor& self, double mean, double std, std::optional<Generator> generator) {
  dispatch_floating_types(self.scalar_type(), "normal_kernel_cpu", [&]<class T>() {
    Draw draw(std::move(generator));
    if (self.numel() >= 16 && self.is_contiguous()) {
      normal_blocks(self.data<T>(), self.numel(), static_cast<T>(mean), static_cast<T>(std), draw);
    } else {
      fill_in_memory_order<T>(self, [&] { return static_cast<T>(draw->normal_double() * std + mean); });
    }
  });
  return self;
}
}  // namespace
constinit Operator<const Tensor&(const Tensor&, double, double, std::optional<Generator>)> op::normal_(
    "normal_", {.cpu = normal_cpu});
const Tensor& normal_(const Tensor& self, double mean, double std, std::optional<Generator> generator) {
  TORCH_CHECK(std >= 0.0, "normal expects std >= 0.0, but found std ", std);
  return op::normal_(self, mean, std, std::move(generator));
}

// %%
//| export core/random.cpp
namespace {
// The largest n such that T holds each of 0 ... n exactly.
template <class T>
constexpr std::uint64_t largest_exact() {
  if constexpr (std::is_floating_point_v<T>) return std::uint64_t{1} << std::numeric_limits<T>::digits;
  else return static_cast<std::uint64_t>(std::numeric_limits<T>::max());
}

// Integers of [low, low + range). A remainder favours small numbers by about range / 2^bits, so large ranges take 64 bits.
template <class T>
void fill_integers(const Tensor& self, std::int64_t low, std::uint64_t range, Draw& draw) {
  const bool wide = range == 0 || range >= (std::uint64_t{1} << 28);
  fill_in_memory_order<T>(self, [&] {
    const std::uint64_t bits = wide ? draw->random64() : draw->random();
    // A range of 0 stands for 2^64: every number, which the bits are already.
    const std::uint64_t value = range == 0 ? bits : bits % range + static_cast<std::uint64_t>(low);
    return static_cast<T>(static_cast<std::int64_t>(value));
  });
}

template <class T>
void check_range_fits(std::int64_t from, std::int64_t last, ScalarType type) {
  const auto lowest = std::is_floating_point_v<T>
                          ? -static_cast<std::int64_t>(largest_exact<T>())
                          : static_cast<std::int64_t>(std::numeric_limits<T>::lowest());
  const auto highest = static_cast<std::int64_t>(largest_exact<T>());
  TORCH_CHECK(from >= lowest && from <= highest, "from is out of bounds for ", type_meta_name(type));
  TORCH_CHECK(last >= lowest && last <= highest, "to - 1 is out of bounds for ", type_meta_name(type));
}

const Tensor& random_cpu(const Tensor& self, std::optional<std::int64_t> from, std::optional<std::int64_t> to,
                         std::optional<Generator> generator) {
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    Draw draw(std::move(generator));
    if (from) {
      const std::int64_t last = to ? *to - 1 : static_cast<std::int64_t>(largest_exact<T>());
      check_range_fits<T>(*from, last, self.scalar_type());
      fill_integers<T>(self, *from, static_cast<std::uint64_t>(last) - static_cast<std::uint64_t>(*from) + 1,
                       draw);
      return;
    }
    // Without bounds: 64 random bits for the types that hold more than 32, else 32.
    constexpr bool wide = std::is_same_v<T, std::int64_t> || std::is_same_v<T, double>;
    constexpr std::uint64_t range = largest_exact<T>() + 1;
    fill_in_memory_order<T>(
        self, [&] { return static_cast<T>((wide ? draw->random64() : draw->random()) % range); });
  });
  return self;
}
}  // namespace
constinit Operator<const Tensor&(const Tensor&, std::optional<std::int64_t>, std::optional<std::int64_t>,
                                 std::optional<Generator>)>
    op::random_("random_", {.cpu = random_cpu});

const Tensor& random_(const Tensor& self, std::int64_t from, std::optional<std::int64_t> to,
                      std::optional<Generator> generator) {
  TORCH_CHECK(!to || from < *to, "random_ expects 'from' to be less than 'to', but got from=", from,
              " >= to=", to.value_or(0));
  return op::random_(self, from, to, std::move(generator));
}
const Tensor& random_(const Tensor& self, std::int64_t to, std::optional<Generator> generator) {
  return random_(self, 0, to, std::move(generator));
}
const Tensor& random_(const Tensor& self, std::optional<Generator> generator) {
  return op::random_(self, std::nullopt, std::nullopt, std::move(generator));
}

// %%
//| export core/random.cpp
namespace {
const Tensor& bernoulli_cpu(const Tensor& self, double p, std::optional<Generator> generator) {
  Draw draw(std::move(generator));
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    fill_in_memory_order<T>(self, [&] { return static_cast<T>(draw.uniform<double>() < p); });
  });
  return self;
}

const Tensor& bernoulli_tensor_cpu(const Tensor& self, const Tensor& p, std::optional<Generator> generator) {
  const DimVector p_strides = broadcast_strides(p, self.sizes());
  Draw draw(std::move(generator));
  dispatch_floating_types(p.scalar_type(), "bernoulli_tensor_cpu_p_", [&]<class P>() {
    dispatch_all_types(self.scalar_type(), [&]<class T>() {
      const StridedLoop<2> loop(self.sizes(), {self.strides(), IntArrayRef(p_strides)});
      loop.run([&, out = self.data<T>(), in = p.data<P>()](const auto& offset, std::int64_t count,
                                                           const auto& step) {
        for (std::int64_t i = 0; i < count; ++i) {
          const P chance = in[offset[1] + i * step[1]];
          TORCH_CHECK(chance >= 0 && chance <= 1,
                      "Expected p_in >= 0 && p_in <= 1 to be true, but got false.\n[bernoulli_] found the "
                      "probability ",
                      chance);
          out[offset[0] + i * step[0]] = static_cast<T>(draw.uniform<P>() < chance);
        }
      });
    });
  });
  return self;
}

const Tensor& exponential_cpu(const Tensor& self, double lambd, std::optional<Generator> generator) {
  dispatch_floating_types(self.scalar_type(), "exponential_cpu", [&]<class T>() {
    Draw draw(std::move(generator));
    fill_in_memory_order<T>(self,
                            [&] { return static_cast<T>(-std::log1p(-draw.uniform<double>()) / lambd); });
  });
  return self;
}
}  // namespace
constinit Operator<const Tensor&(const Tensor&, double, std::optional<Generator>)> op::bernoulli_(
    "bernoulli_", {.cpu = bernoulli_cpu});
constinit Operator<const Tensor&(const Tensor&, const Tensor&, std::optional<Generator>)>
    op::bernoulli_tensor_("bernoulli_", {.cpu = bernoulli_tensor_cpu});
constinit Operator<const Tensor&(const Tensor&, double, std::optional<Generator>)> op::exponential_(
    "exponential_", {.cpu = exponential_cpu});

const Tensor& bernoulli_(const Tensor& self, double p, std::optional<Generator> generator) {
  TORCH_CHECK(p >= 0 && p <= 1, "bernoulli_ expects p to be in [0, 1], but got p=", p);
  return op::bernoulli_(self, p, std::move(generator));
}
const Tensor& bernoulli_(const Tensor& self, const Tensor& p, std::optional<Generator> generator) {
  return op::bernoulli_tensor_(self, p.expand(self.sizes()), std::move(generator));
}
const Tensor& exponential_(const Tensor& self, double lambd, std::optional<Generator> generator) {
  TORCH_CHECK(lambd > 0.0, "exponential_ expects lambda > 0.0, but found lambda=", lambd);
  return op::exponential_(self, lambd, std::move(generator));
}

// %%
//| export core/random.cpp
Tensor rand(IntArrayRef size, std::optional<Generator> generator, const TensorOptions& options) {
  return created(uniform_(empty(size, options.dtype()), 0, 1, std::move(generator)), options);
}
Tensor rand(IntArrayRef size, const TensorOptions& options) { return rand(size, std::nullopt, options); }
Tensor randn(IntArrayRef size, std::optional<Generator> generator, const TensorOptions& options) {
  return created(normal_(empty(size, options.dtype()), 0, 1, std::move(generator)), options);
}
Tensor randn(IntArrayRef size, const TensorOptions& options) { return randn(size, std::nullopt, options); }

Tensor randint(std::int64_t low, std::int64_t high, IntArrayRef size, std::optional<Generator> generator,
               const TensorOptions& options) {
  return created(random_(empty(size, options.dtype()), low, high, std::move(generator)), options);
}
Tensor randint(std::int64_t low, std::int64_t high, IntArrayRef size, const TensorOptions& options) {
  return randint(low, high, size, std::nullopt, options);
}
Tensor randint(std::int64_t high, IntArrayRef size, const TensorOptions& options) {
  return randint(0, high, size, std::nullopt, options);
}

// %%
//| export core/random.cpp
Tensor randperm(std::int64_t n, std::optional<Generator> generator, const TensorOptions& options) {
  const Tensor result = empty({n}, options.dtype());
  TORCH_CHECK_NOT_IMPLEMENTED(result.scalar_type() != kBool, "\"randperm\" not implemented for 'Bool'");
  dispatch_all_types(result.scalar_type(), [&]<class T>() {
    TORCH_CHECK(n == 0 || static_cast<std::uint64_t>(n - 1) <= largest_exact<T>(),
                "value cannot be converted to type ", options.dtype(),
                " without overflow\n[randperm] the numbers up to ", n - 1,
                " do not fit; choose a wider dtype.");
    T* const data = result.data<T>();
    for (std::int64_t i = 0; i < n; ++i) data[i] = static_cast<T>(i);
    // One draw is enough while n is small against 2^32; beyond that its remainder would favour small numbers.
    const bool wide = n >= std::numeric_limits<std::uint32_t>::max() / 20;
    Draw draw(std::move(generator));
    for (std::int64_t i = 0; i < n - 1; ++i) {
      const std::uint64_t bits = wide ? draw->random64() : draw->random();
      std::swap(data[i], data[i + static_cast<std::int64_t>(bits % static_cast<std::uint64_t>(n - i))]);
    }
  });
  return created(result, options);
}
Tensor randperm(std::int64_t n, const TensorOptions& options) { return randperm(n, std::nullopt, options); }

// %%
//| export core/random.cpp
namespace {
TensorOptions options_like(const Tensor& self, const TensorOptions& options) {
  return options.dtype(options.dtype_opt().value_or(self.scalar_type()));
}

// An uninitialised tensor of self's sizes whose elements lie in memory in self's order: transposed like self.
Tensor empty_in_order_of(const Tensor& self, ScalarType type) {
  const DimVector order = memory_order(self);
  DimVector sizes;
  DimVector back(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    sizes.push_back(self.size(order[i]));
    back[static_cast<std::size_t>(order[i])] = static_cast<std::int64_t>(i);
  }
  return permute(empty(sizes, type), back);
}
}  // namespace

Tensor rand_like(const Tensor& self, const TensorOptions& options) {
  const TensorOptions wanted = options_like(self, options);
  return created(uniform_(empty_in_order_of(self, wanted.dtype())), wanted);
}
Tensor randn_like(const Tensor& self, const TensorOptions& options) {
  const TensorOptions wanted = options_like(self, options);
  return created(normal_(empty_in_order_of(self, wanted.dtype())), wanted);
}
Tensor randint_like(const Tensor& self, std::int64_t low, std::int64_t high, const TensorOptions& options) {
  const TensorOptions wanted = options_like(self, options);
  return created(random_(empty_in_order_of(self, wanted.dtype()), low, high), wanted);
}
Tensor randint_like(const Tensor& self, std::int64_t high, const TensorOptions& options) {
  return randint_like(self, 0, high, options);
}

// %%
//| export core/random.cpp
Tensor normal(double mean, double std, IntArrayRef size, std::optional<Generator> generator,
              const TensorOptions& options) {
  return created(normal_(empty(size, options.dtype()), mean, std, std::move(generator)), options);
}
Tensor normal(const Tensor& mean, double std, std::optional<Generator> generator) {
  return normal_(empty_like(mean), 0, std, std::move(generator)) + mean;
}
Tensor normal(const Tensor& mean, const Tensor& std, std::optional<Generator> generator) {
  TORCH_CHECK(std.numel() == 0 || std.min().ge(0).item<bool>(), "normal expects all elements of std >= 0.0");
  const DimVector sizes = infer_size(mean.sizes(), std.sizes());
  return normal_(empty(sizes, result_type(mean, std)), 0, 1, std::move(generator)) * std + mean;
}
Tensor normal(double mean, const Tensor& std, std::optional<Generator> generator) {
  return normal(full({}, mean, std.options()), std, std::move(generator));
}

Tensor bernoulli(const Tensor& self, std::optional<Generator> generator) {
  return bernoulli_(empty_like(self), self, std::move(generator));
}
Tensor bernoulli(const Tensor& self, double p, std::optional<Generator> generator) {
  return bernoulli_(empty_like(self), p, std::move(generator));
}

// %%
//| export core/random.cpp
namespace {
// One index per sample: the first whose cumulative probability reaches a uniform number.
void draw_with_replacement(const Tensor& weights, const Tensor& result, Draw& draw) {
  const std::int64_t categories = weights.size(1);
  const std::int64_t samples = result.size(1);
  std::vector<double> cumulative(static_cast<std::size_t>(categories));
  for (std::int64_t row = 0; row < weights.size(0); ++row) {
    const double* const weight = weights.data<double>() + row * categories;
    std::partial_sum(weight, weight + categories, cumulative.begin());
    for (double& value : cumulative) value /= cumulative.back();
    for (std::int64_t i = 0; i < samples; ++i) {
      const auto found = std::lower_bound(cumulative.begin(), cumulative.end() - 1, draw.uniform<double>());
      result.data<std::int64_t>()[row * samples + i] = found - cumulative.begin();
    }
  }
}
}  // namespace

Tensor multinomial(const Tensor& self, std::int64_t num_samples, bool replacement,
                   std::optional<Generator> generator) {
  TORCH_CHECK(self.dim() == 1 || self.dim() == 2, "prob_dist must be 1 or 2 dim");
  TORCH_CHECK(self.is_floating_point(),
              "multinomial only supports floating-point dtypes for input, got: ", self.scalar_type());
  TORCH_CHECK(num_samples > 0, "cannot sample n_sample <= 0 samples");
  TORCH_CHECK(replacement || num_samples <= self.size(-1),
              "cannot sample n_sample > prob_dist.size(-1) samples without replacement");
  TORCH_CHECK(
      self.numel() == 0 ||
          (self.min() >= 0).logical_and(self.max() < std::numeric_limits<double>::infinity()).item<bool>(),
      "probability tensor contains either `inf`, `nan` or element < 0");
  TORCH_CHECK(self.numel() == 0 || (self.sum(-1) > 0).all().item<bool>(),
              "invalid multinomial distribution (sum of probabilities <= 0)");
  if (!replacement || num_samples == 1) {
    // The arrival that comes first, of processes with rates `self`, is distributed as `self` (and so on for the next ones).
    const Tensor arrivals = self / exponential_(empty_like(self), 1, std::move(generator));
    return std::get<1>(arrivals.topk(num_samples, -1));
  }
  const Tensor rows = self.to(kDouble).reshape({-1, self.size(-1)}).contiguous();
  const Tensor result = empty({rows.size(0), num_samples}, kLong);
  Draw draw(std::move(generator));
  draw_with_replacement(rows, result, draw);
  return self.dim() == 1 ? result.squeeze(0) : result;
}

// %%
TEST_CASE("uniform_: 24 bits for a float, 53 for a double, as PyTorch draws them") {
  manual_seed(42);
  CHECK_EQ(rand({5}), tensor({0.882269263, 0.915003955, 0.38286376, 0.959305644, 0.390448213}));
  manual_seed(42);
  CHECK_EQ(rand({5}, kDouble), tensor({0.05815448596142969, 0.06291016742457756, 0.12358607277440903,
                                       0.05258016436107704, 0.5261718968547618},
                                      kDouble));
  manual_seed(42);
  CHECK_EQ(empty({8}).uniform_(-1.0 / 28, 1.0 / 28),
           tensor({0.0273049492, 0.0296431407, -0.00836687442, 0.0328075476, -0.0078251278, 0.00720681064,
                   -0.0173876807, 0.0209743809}));
  manual_seed(42);
  CHECK_EQ(empty({5}).uniform_(-0.3, 0.7),
           tensor({0.582269251, 0.615003943, 0.0828637481, 0.659305632, 0.0904482007}));
  manual_seed(42);
  CHECK_EQ(empty({7}, kDouble).uniform_(-1.0 / 28, 1.0 / 28),
           tensor({-0.031560393859897874, -0.031220702326815886, -0.02688670908754221, -0.031958559688494495,
                   0.0018694212039115602, -0.0016582318723228826, 0.03251683573208154},
                  kDouble));
  manual_seed(42);
  CHECK_EQ(empty({3, 4}).t().uniform_(), tensor({{0.882269263, 0.390448213, 0.940771461},
                                                 {0.915003955, 0.600895345, 0.133185923},
                                                 {0.38286376, 0.256572485, 0.934598088},
                                                 {0.959305644, 0.793641329, 0.59357965}}));
  manual_seed(42);
  CHECK_EQ(empty({4, 6}).slice(1, 0, 6, 2).uniform_(), tensor({{0.882269263, 0.915003955, 0.38286376},
                                                               {0.959305644, 0.390448213, 0.600895345},
                                                               {0.256572485, 0.793641329, 0.940771461},
                                                               {0.133185923, 0.934598088, 0.59357965}}));
  CHECK_ERROR(empty({2}).uniform_(2, 1),
              "uniform_ expects to return a [from, to) range, but found from=2 > to=1");
  CHECK_ERROR(rand({2}, kLong), "\"check_uniform_bounds\" not implemented for 'Long'");
}

// %%
TEST_CASE("normal_: one by one below 16 elements, in blocks of 16 from there on") {
  manual_seed(42);
  CHECK_CLOSE(randn({5}), tensor({0.336690366, 0.128809407, 0.234462366, 0.23033303, -1.12285638}));
  manual_seed(42);
  CHECK_CLOSE(randn({3}, kDouble),
              tensor({0.33669035438385886, 0.1288094051365897, 0.23446236336153173}, kDouble));
  manual_seed(42);
  CHECK_CLOSE(randn({16}), tensor({1.92691529, 1.48728406, 0.900717199, -2.10552096, 0.678418458, -1.23454487,
                                   -0.0430674776, -1.60466695, -0.752135277, 1.64872301, -0.392478645,
                                   -1.40360713, -0.727881312, -0.559430182, -0.768838882, 0.76244539}));
  manual_seed(42);
  CHECK_CLOSE(randn({21}),
              tensor({1.92691529,  1.48728406,   0.900717199,  -2.10552096,  0.678418458,  1.07831764,
                      0.800800562, 1.68062055,   0.355859905,  -0.686622977, -0.493356347, 0.241487786,
                      -1.11090386, 0.041759491,  -0.251575291, 0.859858513,  -0.309726775, -0.395710498,
                      0.803409338, -0.621595383, -0.592000544}));
  manual_seed(42);
  CHECK_CLOSE(randn({21}, kDouble),
              tensor({0.2995562877502637,   0.24237779080894106,  0.28320739441795323,   -0.23294220898382634,
                      0.6711532211923003,   1.0352472972512925,   -0.010085521702337353, 0.08948016046560357,
                      0.038435238263354446, -0.11824373914203358, -1.744556661084211,    -0.46946014308389283,
                      0.45729973935936413,  1.108461181451433,    0.8651734647119074,    0.855215961472287,
                      0.2494118796915765,   0.2615836907112959,   -1.526543923410825,    -0.33113931395169954,
                      -0.6377842272222147},
                     kDouble));
  manual_seed(42);
  CHECK_CLOSE(empty({4}).normal_(2, 3), tensor({3.01007104, 2.38642812, 2.70338702, 2.69099903}));
  manual_seed(42);
  CHECK_CLOSE(empty({18}).normal_(2, 3),
              tensor({7.78074598, 6.46185207, 0.507807374, 3.31876779, -0.274393439, 5.23495293, 4.40240192,
                      7.04186153, 3.06757975, -0.0598689318, 3.83139944, 6.00421333, 1.30512702, 2.12527847,
                      1.24527407, 4.57957554, 1.07081962, 0.812868476}));
  manual_seed(42);
  CHECK_CLOSE(
      empty({20, 2}).select(1, 0).normal_(),
      tensor({0.336690366,  0.128809407, 0.234462366, 0.23033303,  -1.12285638,  -0.186328292, 2.20820141,
              -0.637997031, 0.461657226, 0.267350882, 0.534904659, 0.809357226,  1.11029029,   -1.68979895,
              -0.988959908, 0.957971811, 1.32213509,  0.817189753, -0.765838623, -0.750622332}));
  manual_seed(42);
  CHECK_CLOSE(randn({3, 5}), tensor({{0.336690366, 0.128809407, 0.234462366, 0.23033303, -1.12285638},
                                     {-0.186328292, 2.20820141, -0.637997031, 0.461657226, 0.267350882},
                                     {0.534904659, 0.809357226, 1.11029029, -1.68979895, -0.988959908}}));
  manual_seed(42);
  CHECK_CLOSE(randn({0}), zeros({0}, kFloat));
  CHECK_EQ(rand({}), tensor(0.882269263));
  CHECK_ERROR(empty({2}).normal_(0, -1), "normal expects std >= 0.0, but found std -1");
  CHECK_ERROR(empty({2}, kLong).normal_(), "\"normal_kernel_cpu\" not implemented for 'Long'");
}

// %%
TEST_CASE("randint, random_ and randperm") {
  manual_seed(42);
  CHECK_EQ(randint(10, {8}), tensor({2, 7, 6, 4, 6, 5, 0, 4}));
  manual_seed(42);
  CHECK_EQ(randint(-5, 5, {8}), tensor({-3, 2, 1, -1, 1, 0, -5, -1}));
  manual_seed(42);
  CHECK_EQ(randint(0, int64_t{1} << 40, {4}),
           tensor({441507790259, 395924837646, 458615280711, 810017303572}));
  manual_seed(42);
  CHECK_EQ(randint(0, int64_t{1} << 30, {4}), tensor({199900595, 787846414, 127521863, 415968276}));
  manual_seed(42);
  CHECK_EQ(randint(0, (int64_t{1} << 28) - 1, {4}), tensor({266460267, 199900607, 56755051, 250975504}));
  manual_seed(42);
  CHECK_EQ(randint(0, 10, {4}, kFloat), tensor({2.0, 7.0, 6.0, 4.0}));
  manual_seed(42);
  CHECK_EQ(empty({4}, kByte).random_(), tensor({102, 179, 92, 14}, kByte));
  manual_seed(42);
  CHECK_EQ(empty({4}, kLong).random_(),
           tensor({6909045637428952499, 8314211556539077902, 4279532810384561223, 1819927849474927636}));
  manual_seed(42);
  CHECK_EQ(empty({4}, kInt).random_(), tensor({1608637542, 1273642419, 1935803228, 787846414}, kInt));
  manual_seed(42);
  CHECK_EQ(empty({4}, kBool).random_(), tensor({false, true, false, false}));
  manual_seed(42);
  CHECK_EQ(empty({4}, kFloat).random_(), tensor({14801927.0, 15351016.0, 6423145.0, 16094432.0}));
  manual_seed(42);
  CHECK_EQ(empty({4}, kDouble).random_(),
           tensor({523809042610868.0, 566644413140339.0, 1113164382588524.0, 473600017246026.0}, kDouble));
  manual_seed(42);
  CHECK_EQ(empty({4}, kShort).random_(-3, std::optional<std::int64_t>()),
           tensor({7462, 30290, 20273, 31571}, kShort));
  manual_seed(42);
  CHECK_EQ(empty({2}, kLong).random_(std::numeric_limits<std::int64_t>::min(), std::optional<std::int64_t>()),
           tensor({6909045637428952499, -909160480315697906}));
  manual_seed(42);
  CHECK_EQ(randperm(10), tensor({2, 6, 1, 8, 4, 5, 0, 9, 3, 7}));
  manual_seed(42);
  CHECK_EQ(randperm(5, kInt), tensor({2, 4, 3, 0, 1}, kInt));
  CHECK_EQ(randperm(0), zeros({0}, kLong));
  CHECK_ERROR(randint(5, 5, {2}), "random_ expects 'from' to be less than 'to', but got from=5 >= to=5");
  CHECK_ERROR(empty({2}, kByte).random_(0, 300), "to - 1 is out of bounds for unsigned char");
  CHECK_ERROR(empty({2}, kByte).random_(-1, 3), "from is out of bounds for unsigned char");
  CHECK_ERROR(randperm(-1), "Trying to create tensor with negative dimension -1: [-1]");
  CHECK_ERROR(randperm(3, kBool), "\"randperm\" not implemented for 'Bool'");
}

// %%
TEST_CASE("bernoulli, exponential_, multinomial and normal with tensors") {
  manual_seed(42);
  CHECK_EQ(bernoulli(full({8}, 0.5)), tensor({0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0}));
  manual_seed(42);
  CHECK_EQ(bernoulli(full({8}, 0.3, kDouble)), tensor({1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0}, kDouble));
  manual_seed(42);
  CHECK_EQ(empty({8}).bernoulli_(0.3), tensor({1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0}));
  manual_seed(42);
  CHECK_EQ(empty({8}).bernoulli_(tensor(0.3)), tensor({0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0}));
  manual_seed(42);
  CHECK_CLOSE(empty({4}).exponential_(), tensor({0.0599140152, 0.064976126, 0.131916776, 0.0540129505}));
  manual_seed(42);
  CHECK_EQ(multinomial(tensor({1.0, 2.0, 3.0, 4.0}), 6, true), tensor({0, 0, 1, 0, 2, 2}));
  manual_seed(42);
  CHECK_EQ(multinomial(tensor({{1.0, 2.0, 3.0, 4.0}, {4.0, 3.0, 2.0, 1.0}}, kDouble), 5, true),
           tensor({{0, 0, 1, 0, 2}, {1, 3, 3, 0, 0}}));
  manual_seed(42);
  CHECK_EQ(multinomial(tensor({1.0, 2.0, 3.0, 4.0}), 2), tensor({3, 1}));
  manual_seed(42);
  CHECK_CLOSE(normal(tensor({1.0, 10.0, 100.0}), tensor({0.1, 1.0, 10.0})),
              tensor({1.03366899, 10.128809, 102.34462}));
  manual_seed(42);
  CHECK_CLOSE(normal(tensor({1.0, 10.0, 100.0}), 2.0), tensor({1.67338073, 10.2576189, 100.468925}));
  manual_seed(42);
  CHECK_CLOSE(normal(2.0, tensor({1.0, 10.0, 100.0})), tensor({2.33669043, 3.28809404, 25.4462357}));
  manual_seed(42);
  CHECK_CLOSE(normal(2.0, 3.0, {3}), tensor({3.01007104, 2.38642812, 2.70338702}));
  manual_seed(42);
  CHECK_EQ(rand_like(zeros({2, 2}).t()), tensor({{0.882269263, 0.38286376}, {0.915003955, 0.959305644}}));
  CHECK_ERROR(bernoulli(zeros({2}, kLong)), "\"bernoulli_tensor_cpu_p_\" not implemented for 'Long'");
  CHECK_ERROR(bernoulli(tensor({2.0})), "Expected p_in >= 0 && p_in <= 1 to be true, but got false.");
  CHECK_ERROR(zeros({2}).bernoulli_(1.5), "bernoulli_ expects p to be in [0, 1], but got p=1.5");
  CHECK_ERROR(zeros({2}).exponential_(-1), "exponential_ expects lambda > 0.0, but found lambda=-1");
  CHECK_ERROR(multinomial(zeros({2}), 2), "invalid multinomial distribution (sum of probabilities <= 0)");
  CHECK_ERROR(multinomial(tensor({1.0, -1.0}), 1),
              "probability tensor contains either `inf`, `nan` or element < 0");
  CHECK_ERROR(multinomial(tensor({1.0, 1.0}), 3),
              "cannot sample n_sample > prob_dist.size(-1) samples without replacement");
  CHECK_ERROR(multinomial(tensor({1, 1}), 1),
              "multinomial only supports floating-point dtypes for input, got: Long");
  CHECK_ERROR(multinomial(tensor(1.0), 1), "prob_dist must be 1 or 2 dim");
  CHECK_ERROR(normal(zeros({2}), -ones({2})), "normal expects all elements of std >= 0.0");
}

// %%
TEST_CASE("random functions draw from the generator they are given, and leave the default one alone") {
  manual_seed(1);
  const Tensor expected = rand({3});
  manual_seed(1);
  Generator generator(42);
  const Tensor first = rand({3}, generator);
  CHECK_EQ(first, rand({3}, Generator(42)));
  CHECK_EQ(rand({3}), expected);
  CHECK(!rand({3}, generator).equal(first));
}

// %% [markdown]
// ## Pointwise
//
// The loops are module 01's `map_into` and `zip_into`. Three small helpers name what recurs: keep the dtype, compute in the common dtype,
// give booleans.
//
// Source: aten/src/ATen/native/{UnaryOps,BinaryOps,TensorCompare}.cpp; the kernels are in native/cpu.

// %%
//| export core/more_loops.h
// f(self) in self's dtype.
template <class F>
Tensor map_same(const Tensor& self, F f) {
  const Tensor result = empty(self.sizes(), self.scalar_type());
  dispatch_all_types(self.scalar_type(), [&]<class T>() { map_into<T, T>(result, self, f); });
  return result;
}

// f(self) as Bool.
template <class F>
Tensor map_to_bool(const Tensor& self, F f) {
  const Tensor result = empty(self.sizes(), kBool);
  dispatch_all_types(self.scalar_type(), [&]<class T>() { map_into<bool, T>(result, self, f); });
  return result;
}

// f(self, other) computed in the common dtype; Out is bool, or void for that dtype.
template <class Out = void, class F>
Tensor zip_promoted(const Tensor& self, const Tensor& other, F f) {
  const ScalarType type = result_type(self, other);
  const Tensor a = to_dtype(self, type);
  const Tensor b = to_dtype(other, type);
  const Tensor result = empty(infer_size(a.sizes(), b.sizes()), std::is_void_v<Out> ? type : kBool);
  dispatch_all_types(type, [&]<class T>() {
    zip_into<std::conditional_t<std::is_void_v<Out>, T, bool>, T, T>(result, a, b, f);
  });
  return result;
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
//| export core/extremes.cpp
namespace {
// The larger (smaller) of two, where NaN wins.
template <class T>
T larger(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<T>::quiet_NaN();
  return a < b ? b : a;
}
template <class T>
T smaller(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    if (std::isnan(a) || std::isnan(b)) return std::numeric_limits<T>::quiet_NaN();
  return b < a ? b : a;
}
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
//| export core/extremes.cpp
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
  const Tensor result = empty(input.sizes(), input.scalar_type());
  dispatch_all_types(input.scalar_type(), [&]<class T>() {
    const std::optional<T> low = min ? std::optional<T>(min->to<T>()) : std::nullopt;
    const std::optional<T> high = max ? std::optional<T>(max->to<T>()) : std::nullopt;
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

Tensor addcmul(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2, const Scalar& value) {
  return addcmul_(broadcast_copy(self, tensor1, tensor2), tensor1, tensor2, value);
}
Tensor addcdiv(const Tensor& self, const Tensor& tensor1, const Tensor& tensor2, const Scalar& value) {
  return addcdiv_(broadcast_copy(self, tensor1, tensor2), tensor1, tensor2, value);
}
Tensor lerp(const Tensor& self, const Tensor& end, const Scalar& weight) {
  return lerp_(broadcast_copy(self, end, end), end, weight);
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
  const Tensor x = tensor({-2.0, 0.5, 3.0, NAN});
  CHECK_EQ(clamp(x, -1, 1), tensor({-1.0, 0.5, 1.0, NAN}));
  CHECK_EQ(x.clamp(0), tensor({0.0, 0.5, 3.0, NAN}));
  CHECK_EQ(x.clamp_max(0.25), tensor({-2.0, 0.25, 0.25, NAN}));
  CHECK_EQ(clamp(x, 3, 2), tensor({2.0, 2.0, 2.0, NAN}));
  CHECK_EQ(clamp(tensor({1, 2, 3}), 1.5), tensor({1.5, 2.0, 3.0}));
  CHECK_EQ(clamp(tensor({1, 2, 3}), 2, 2), tensor({2, 2, 2}));
  CHECK_EQ(maximum(x, tensor({{0.0}, {NAN}})), tensor({{0.0, 0.5, 3.0, NAN}, {NAN, NAN, NAN, NAN}}));
  CHECK_EQ(minimum(x, tensor(0)), tensor({-2.0, 0.0, 0.0, NAN}));
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
  const Tensor x = tensor({0.0, 2.0, NAN, -INFINITY});
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
  const Tensor mask = tensor({{true, false}, {false, true}});
  const Tensor x = tensor({{1.0, 2.0}, {3.0, 4.0}});
  CHECK_EQ(where(mask, x, 0.5), tensor({{1.0, 0.5}, {0.5, 4.0}}));
  CHECK_EQ(where(mask, -1, x.t()), tensor({{-1.0, 3.0}, {2.0, -1.0}}));
  CHECK_EQ(where(mask, 1, 2), tensor({{1, 2}, {2, 1}}));
  CHECK_EQ(where(mask, 1.5, 2), tensor({{1.5, 2.0}, {2.0, 1.5}}));
  CHECK_EQ(x.masked_fill(mask, -INFINITY), tensor({{-INFINITY, 2.0}, {3.0, -INFINITY}}));
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
  z.addcmul_(z.t(), y, 2).addcdiv_(y, x).lerp_(y, 0.1);
  CHECK_CLOSE(z, tensor({{14.8999996, -33.9000015}, {22.6999989, -41.5499992}}));
  CHECK_ERROR(lerp(x, zeros({2, 2}, kLong), 0.5), "expected dtype float for `end` but got dtype long int");
  CHECK_ERROR(lerp(tensor({1}), tensor({2}), 0.5), "\"lerp_kernel_scalar\" not implemented for 'Long'");
  CHECK_ERROR(addcmul(x, zeros({3}), y),
              "The size of tensor a (2) must match the size of tensor b (3) at non-singleton dimension 1");
  CHECK_ERROR(addcdiv(tensor({1}), tensor({1}), tensor({1})),
              "Integer division with addcdiv is no longer supported");
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
std::vector<Tensor> split(const Tensor& self, std::int64_t split_size, std::int64_t dim) {
  TORCH_CHECK(self.dim() > 0, "split expects at least a 1-dimensional tensor");
  TORCH_CHECK(split_size >= 0, "split expects split_size be non-negative, but got split_size=", split_size);
  const std::int64_t size = self.size(dim);
  TORCH_CHECK(split_size > 0 || size == 0,
              "split_size can only be 0 if dimension size is 0, but got dimension size of ", size);
  std::vector<Tensor> pieces;
  if (size == 0) return {slice(self, dim)};
  for (std::int64_t start = 0; start < size; start += split_size)
    pieces.push_back(narrow(self, dim, start, std::min(split_size, size - start)));
  return pieces;
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
  return pieces;
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
  return slices;
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
//| export core/joining.cpp
Tensor flip(const Tensor& self, IntArrayRef dims) {
  std::vector<bool> seen(self.sizes().size());
  Tensor result = self;
  for (const std::int64_t dim : dims) {
    const std::int64_t d = wrap_dim(dim, self.dim());
    if (self.dim() == 0) continue;
    TORCH_CHECK(!seen[static_cast<std::size_t>(d)], "dim ", d, " appears multiple times in the list of dims");
    seen[static_cast<std::size_t>(d)] = true;
    result = index_select(result, d, arange(self.size(d) - 1, -1, -1, kLong));
  }
  return result.is_same(self) ? clone(self) : result;
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
TEST_CASE("repeat and flip") {
  const Tensor x = tensor({{1, 2, 3}, {4, 5, 6}});
  CHECK_EQ(x.repeat({1, 2}), tensor({{1, 2, 3, 1, 2, 3}, {4, 5, 6, 4, 5, 6}}));
  CHECK_EQ(x.t().repeat({2, 1}), tensor({{1, 4}, {2, 5}, {3, 6}, {1, 4}, {2, 5}, {3, 6}}));
  CHECK_EQ(tensor({1, 2}).repeat({2, 2}), tensor({{1, 2, 1, 2}, {1, 2, 1, 2}}));
  CHECK_EQ(tensor(5).repeat({3}), tensor({5, 5, 5}));
  CHECK_EQ(x.repeat({0, 1}), zeros({0, 3}, kLong));
  CHECK_EQ(x.flip({1}), tensor({{3, 2, 1}, {6, 5, 4}}));
  CHECK_EQ(x.flip({0, -1}), tensor({{6, 5, 4}, {3, 2, 1}}));
  CHECK_EQ(tensor(5).flip({0}), tensor(5));
  CHECK_EQ(zeros({0, 2}).flip({0}), zeros({0, 2}, kFloat));
  CHECK_ERROR(x.repeat({2}),
              "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor");
  CHECK_ERROR(x.flip({0, 0}), "dim 0 appears multiple times in the list of dims");
}

// %% [markdown]
// ## Reading and writing at indices
//
// One walk serves all of them. Indices are turned into *positions*, offsets in elements from the tensor's first one; then every element of
// the index meets its element of the tensor, and what is left of the tensor's dimensions is walked with its own strides.
//
// ```
// gather(self, 1, index)              self (2, 3), strides (3, 1)
//   index    [[2, 0],                 position = index * stride(1)       element = base + i * 3 + position
//             [1, 1]]
//                                     +---+---+---+
//   result   [[c, a],                 | a | b | c |
//             [e, e]]                 +---+---+---+
//                                     | d | e | f |
//                                     +---+---+---+
// index_select, index_add_            gather and scatter_add_ with an index of stride 0 along the other dimensions
// index({i, j})                       position = i * stride(0) + j * stride(1)
// ```
//
// Source: aten/src/ATen/native/TensorAdvancedIndexing.cpp, aten/src/ATen/TensorIndexing.h.

// %%
//| export core/more_loops.h
// Adds to the Long tensor `positions` the offsets of `index` (Long, of the same sizes) along a dimension of the given size and stride.
// Throws for an index outside of [0, size).
inline void add_positions(const Tensor& positions, const Tensor& index, std::int64_t dim, std::int64_t size,
                          std::int64_t stride) {
  zip_into<std::int64_t, std::int64_t, std::int64_t>(
      positions, positions, index, [=](std::int64_t position, std::int64_t i) {
        TORCH_CHECK_INDEX(i >= 0 && i < size, "index ", i, " is out of bounds for dimension ", dim,
                          " with size ", size);
        return position + i * stride;
      });
}

// Calls f(element, other_element) over `sizes`: element is at base + position + its strides, each operand with its own strides.
template <class T, class F>
void for_each_position(IntArrayRef sizes, const Tensor& self, IntArrayRef self_strides,
                       const Tensor& positions, const Tensor& other, F f) {
  const DimVector position_strides = broadcast_strides(positions, sizes);
  const StridedLoop<3> loop(sizes, {self_strides, IntArrayRef(position_strides), other.strides()});
  loop.run([&, base = self.data<T>(), where = positions.data<std::int64_t>(), out = other.data<T>()](
               const auto& offset, std::int64_t count, const auto& step) {
    for (std::int64_t i = 0; i < count; ++i)
      f(base[offset[0] + i * step[0] + where[offset[1] + i * step[1]]], out[offset[2] + i * step[2]]);
  });
}

// %%
//| export core/gather.cpp
namespace {
// A 0-d tensor counts as a vector of one element.
Tensor at_least_1d(const Tensor& self) { return self.dim() == 0 ? view(self, {1}) : self; }

void check_index_type(const char* name, const Tensor& index) {
  TORCH_CHECK(index.scalar_type() == kLong || index.scalar_type() == kInt, name,
              "(): Expected dtype int32/int64 for index");
}

// f(element of self, element of other) for every element of `index`, whose sizes `other` has (or exceeds).
template <class F>
void walk_along(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& other, F f) {
  const Tensor source = at_least_1d(self);
  const Tensor where = to_dtype(at_least_1d(index), kLong);
  const Tensor positions = zeros(where.sizes(), kLong);
  add_positions(positions, where, dim, source.size(dim), source.stride(dim));
  DimVector strides(source.strides());
  strides[static_cast<std::size_t>(dim)] = 0;
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    for_each_position<T>(where.sizes(), source, strides, positions, at_least_1d(other), f);
  });
}

Tensor gather_cpu(const Tensor& self, std::int64_t dim, const Tensor& index) {
  const Tensor result = empty(index.sizes(), self.scalar_type());
  if (index.numel() > 0)
    walk_along(self, dim, index, result, [](const auto& element, auto& out) { out = element; });
  return result;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, std::int64_t, const Tensor&)> op::gather("gather",
                                                                                  {.cpu = gather_cpu});

Tensor gather(const Tensor& self, std::int64_t dim, const Tensor& index, bool) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  check_index_type("gather", index);
  if (index.numel() > 0) {
    TORCH_CHECK(std::max<std::int64_t>(index.dim(), 1) == std::max<std::int64_t>(self.dim(), 1),
                "Index tensor must have the same number of dimensions as input tensor");
    for (std::int64_t i = 0; i < self.dim(); ++i)
      TORCH_CHECK(i == d || index.size(i) <= self.size(i), "Size does not match at dimension ", i,
                  " expected index ", index.sizes(), " to be no larger than self ", self.sizes(),
                  " apart from dimension ", d);
  }
  return op::gather(self, d, index);
}

// %%
//| export core/gather.cpp
namespace {
const Tensor& scatter_cpu(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src) {
  const Tensor from = src.is_alias_of(self) ? clone(src) : src;
  walk_along(self, dim, index, from, [](auto& element, const auto& value) { element = value; });
  return self;
}
const Tensor& scatter_add_cpu(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src) {
  const Tensor from = src.is_alias_of(self) ? clone(src) : src;
  walk_along(self, dim, index, from, [](auto& element, const auto& value) {
    element = static_cast<std::decay_t<decltype(element)>>(element + value);
  });
  return self;
}

void check_scatter(const char* name, const Tensor& self, std::int64_t dim, const Tensor& index,
                   const Tensor& src) {
  check_index_type(name, index);
  TORCH_CHECK(self.scalar_type() == src.scalar_type(), name,
              "(): Expected self.dtype to be equal to src.dtype");
  if (index.numel() == 0) return;
  const auto dims = [](const Tensor& tensor) { return std::max<std::int64_t>(tensor.dim(), 1); };
  TORCH_CHECK(dims(index) == dims(self),
              "Index tensor must have the same number of dimensions as self tensor");
  TORCH_CHECK(dims(index) == dims(src), "Index tensor must have the same number of dimensions as src tensor");
  bool fits = true;
  for (std::int64_t i = 0; i < index.dim(); ++i)
    fits = fits && at_least_1d(src).size(i) >= index.size(i) &&
           (i == dim || at_least_1d(self).size(i) >= index.size(i));
  TORCH_CHECK(fits, "Expected index ", index.sizes(), " to be no larger than self ", self.sizes(),
              " apart from dimension ", dim, " and to be no larger size than src ", src.sizes());
}
}  // namespace
constinit Operator<const Tensor&(const Tensor&, std::int64_t, const Tensor&, const Tensor&)> op::scatter_(
    "scatter_", {.cpu = scatter_cpu});
constinit Operator<const Tensor&(const Tensor&, std::int64_t, const Tensor&, const Tensor&)> op::scatter_add_(
    "scatter_add_", {.cpu = scatter_add_cpu});

// %%
//| export core/gather.cpp
const Tensor& scatter_(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  check_scatter("scatter", self, d, index, src);
  return index.numel() == 0 ? self : op::scatter_(self, d, index, src);
}
const Tensor& scatter_(const Tensor& self, std::int64_t dim, const Tensor& index, const Scalar& value) {
  return scatter_(self, dim, index, expand(full({}, value, self.options()), index.sizes()));
}
const Tensor& scatter_add_(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  check_scatter("scatter", self, d, index, src);
  return index.numel() == 0 ? self : op::scatter_add_(self, d, index, src);
}
Tensor scatter(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src) {
  return scatter_(clone(self), dim, index, src);
}
Tensor scatter(const Tensor& self, std::int64_t dim, const Tensor& index, const Scalar& value) {
  return scatter_(clone(self), dim, index, value);
}
Tensor scatter_add(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src) {
  return scatter_add_(clone(self), dim, index, src);
}

// %%
//| export core/gather.cpp
namespace {
// The vector `index` laid along dimension `dim` of a tensor of these sizes, with stride 0 along the others.
Tensor laid_along(const Tensor& index, std::int64_t dim, IntArrayRef sizes) {
  DimVector shape(sizes.size(), 1);
  shape[static_cast<std::size_t>(dim)] = index.numel();
  return expand(reshape(index, shape), sizes);
}

Tensor index_select_cpu(const Tensor& self, std::int64_t dim, const Tensor& index) {
  const Tensor source = at_least_1d(self);
  DimVector sizes(source.sizes());
  sizes[static_cast<std::size_t>(dim)] = index.numel();
  const Tensor result = gather_cpu(source, dim, laid_along(index, dim, sizes));
  return self.dim() == 0 ? view(result, IntArrayRef()) : result;
}

const Tensor& index_add_cpu(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source) {
  const Tensor values = at_least_1d(source);
  return values.numel() == 0 ? self
                             : scatter_add_cpu(self, dim, laid_along(index, dim, values.sizes()), values);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, std::int64_t, const Tensor&)> op::index_select(
    "index_select", {.cpu = index_select_cpu});
constinit Operator<const Tensor&(const Tensor&, std::int64_t, const Tensor&, const Tensor&)> op::index_add_(
    "index_add_", {.cpu = index_add_cpu});

Tensor index_select(const Tensor& self, std::int64_t dim, const Tensor& index) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  TORCH_CHECK_INDEX(index.dim() <= 1, "index_select(): Index is supposed to be a vector");
  TORCH_CHECK(index.scalar_type() == kLong || index.scalar_type() == kInt,
              "index_select(): Expected dtype int32 or int64 for index");
  TORCH_CHECK(self.dim() > 0 || index.numel() == 1,
              "index_select(): Index to scalar can have only 1 value, got ", index.numel(), " value(s)");
  return op::index_select(self, d, index);
}

// %%
//| export core/gather.cpp
const Tensor& index_add_(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source,
                         const Scalar& alpha) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  TORCH_CHECK_INDEX(index.dim() <= 1,
                    "index_add_(): Index is supposed to be a vector, but got dim: ", index.dim(),
                    " with type: ", index.scalar_type(), " and size: ", index.sizes());
  check_index_type("index_add_", index);
  TORCH_CHECK(self.scalar_type() == source.scalar_type(), "index_add_(): self (", self.scalar_type(),
              ") and source (", source.scalar_type(), ") must have the same scalar type");
  const std::int64_t count = source.dim() == 0 ? 1 : source.size(d);
  TORCH_CHECK(index.numel() == count, "index_add_(): Number of indices (", index.numel(),
              ") should be equal to source.size(dim): (", count, "), for dim: ", d);
  bool matches = self.dim() == source.dim();
  for (std::int64_t i = 0; matches && i < self.dim(); ++i) matches = i == d || self.size(i) == source.size(i);
  TORCH_CHECK(matches,
              "source tensor shape must match self tensor shape, excluding the specified dimension. Got "
              "self.shape = ",
              self.sizes(), " source.shape = ", source.sizes());
  return op::index_add_(self, d, index, alpha.equal(1) ? source : (source * alpha).to(self.scalar_type()));
}
Tensor index_add(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source,
                 const Scalar& alpha) {
  return index_add_(clone(self), dim, index, source, alpha);
}

// %%
//| export core/gather.cpp
namespace {
Tensor nonzero_cpu(const Tensor& self) {
  const Tensor flags = logical_not(logical_not(self)).contiguous();
  const bool* const flag = flags.data<bool>();
  const std::int64_t dims = self.dim();
  const Tensor result = empty({flags.sum().item<std::int64_t>(), dims}, kLong);
  std::int64_t* out = result.data<std::int64_t>();
  for (std::int64_t i = 0; i < self.numel(); ++i) {
    if (!flag[i]) continue;
    std::int64_t rest = i;  // the index of element i, from the last dimension
    for (std::int64_t d = dims; d-- > 0; rest /= self.size(d)) out[d] = rest % self.size(d);
    out += dims;
  }
  return result;
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::nonzero("nonzero", {.cpu = nonzero_cpu});
Tensor nonzero(const Tensor& self) { return op::nonzero(self); }

Tensor masked_select(const Tensor& self, const Tensor& mask) {
  TORCH_CHECK(mask.scalar_type() == kBool, "masked_select: expected BoolTensor for mask");
  const DimVector sizes = infer_size(self.sizes(), mask.sizes());
  return index(expand(self, sizes), std::vector<std::optional<Tensor>>{expand(mask, sizes)});
}

// %%
//| export core/indexing.cpp
namespace {
// Tensor indices as op::index wants them.
struct PreparedIndices {
  std::vector<Tensor> indices;  // Long, broadcast to one shape, negative ones counted from the end
  DimVector dims;               // which dimension each of them indexes
  DimVector order;              // a permutation of self's dimensions: indexed ones first
  bool adjacent = true;  // whether the indexed dimensions are neighbours: then the result keeps their place
};

// A boolean mask over k dimensions stands for k index tensors: the coordinates of its true elements.
void append_mask(const Tensor& self, const Tensor& mask, std::int64_t& dim, PreparedIndices& prepared) {
  for (std::int64_t i = 0; i < mask.dim(); ++i)
    TORCH_CHECK_INDEX(mask.size(i) == self.size(dim + i), "The shape of the mask ", mask.sizes(),
                      " at index ", i, " does not match the shape of the indexed tensor ", self.sizes(),
                      " at index ", dim + i);
  const Tensor coordinates = nonzero(mask);
  for (std::int64_t i = 0; i < mask.dim(); ++i) {
    prepared.indices.push_back(select(coordinates, 1, i));
    prepared.dims.push_back(dim++);
  }
}

// Long, with negative indices counted from the end; throws for one that is out of bounds.
Tensor checked_index(const Tensor& index, std::int64_t dim, std::int64_t size) {
  const Tensor result = clone(to_dtype(index, kLong));
  map_into<std::int64_t, std::int64_t>(result, result, [=](std::int64_t i) {
    TORCH_CHECK_INDEX(i >= -size && i < size, "index ", i, " is out of bounds for dimension ", dim,
                      " with size ", size);
    return i < 0 ? i + size : i;
  });
  return result;
}

void broadcast_indices(std::vector<Tensor>& indices) {
  DimVector shape;
  try {
    for (const Tensor& index : indices) shape = infer_size(shape, index.sizes());
  } catch (const Error&) {
    std::ostringstream shapes;
    for (std::size_t i = 0; i < indices.size(); ++i) shapes << (i == 0 ? "" : ", ") << indices[i].sizes();
    TORCH_CHECK_INDEX(false, "shape mismatch: indexing tensors could not be broadcast together with shapes ",
                      shapes.str());
  }
  for (Tensor& index : indices) index = expand(index, shape);
}
}  // namespace

// %%
//| export core/indexing.cpp
namespace {
std::int64_t dimensions_taken(const Tensor& index) {
  return index.scalar_type() == kBool || index.scalar_type() == kByte ? index.dim() : 1;
}

PreparedIndices prepare_indices(const Tensor& self, const std::vector<std::optional<Tensor>>& indices) {
  std::int64_t taken = 0;
  for (const std::optional<Tensor>& index : indices)
    taken += index && index->defined() ? dimensions_taken(*index) : 1;
  TORCH_CHECK_INDEX(taken <= self.dim(), "too many indices for tensor of dimension ", self.dim(), " (got ",
                    taken, ")");
  PreparedIndices prepared;
  std::int64_t dim = 0;
  for (const std::optional<Tensor>& index : indices) {
    if (!index || !index->defined()) {
      ++dim;
      continue;
    }
    const ScalarType type = index->scalar_type();
    TORCH_CHECK_INDEX(type == kLong || type == kInt || type == kByte || type == kBool,
                      "tensors used as indices must be long, int, byte or bool tensors");
    if (type == kByte || type == kBool) {
      append_mask(self, *index, dim, prepared);
    } else {
      prepared.indices.push_back(checked_index(*index, dim, self.size(dim)));
      prepared.dims.push_back(dim++);
    }
  }
  broadcast_indices(prepared.indices);
  prepared.order = prepared.dims;
  for (std::size_t i = 0; i + 1 < prepared.dims.size(); ++i)
    prepared.adjacent = prepared.adjacent && prepared.dims[i + 1] == prepared.dims[i] + 1;
  for (std::int64_t d = 0; d < self.dim(); ++d)
    if (std::find(prepared.dims.begin(), prepared.dims.end(), d) == prepared.dims.end())
      prepared.order.push_back(d);
  return prepared;
}

// The permutation that takes op::index's result, (index's dimensions, the rest), to where the user expects them.
DimVector result_order(const PreparedIndices& prepared) {
  const std::int64_t index_dims = prepared.indices.front().dim();
  const auto rest = static_cast<std::int64_t>(prepared.order.size() - prepared.dims.size());
  const std::int64_t before = prepared.adjacent ? prepared.dims[0] : 0;
  DimVector order;
  for (std::int64_t i = 0; i < before; ++i) order.push_back(index_dims + i);
  for (std::int64_t i = 0; i < index_dims; ++i) order.push_back(i);
  for (std::int64_t i = before; i < rest; ++i) order.push_back(index_dims + i);
  return order;
}
}  // namespace

// %%
//| export core/indexing.cpp
namespace {
// The positions of all index tuples, and the walk over them and the remaining dimensions of self.
template <class F>
void walk_indices(const Tensor& self, TensorList indices, const Tensor& other, F f) {
  const Tensor positions = zeros(indices.front().sizes(), kLong);
  for (std::size_t d = 0; d < indices.size(); ++d)
    add_positions(positions, indices[d], static_cast<std::int64_t>(d), self.sizes()[d], self.strides()[d]);
  // other's dimensions: those of an index first, in which self stands still, then the rest of self's.
  DimVector self_strides(static_cast<std::size_t>(positions.dim()), 0);
  DimVector position_sizes(positions.sizes());
  for (std::size_t d = indices.size(); d < self.sizes().size(); ++d) {
    self_strides.push_back(self.strides()[d]);
    position_sizes.push_back(1);
  }
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    for_each_position<T>(other.sizes(), self, self_strides, view(positions, position_sizes), other, f);
  });
}

DimVector indexed_sizes(const Tensor& self, TensorList indices) {
  DimVector sizes(indices.front().sizes());
  for (std::size_t d = indices.size(); d < self.sizes().size(); ++d) sizes.push_back(self.sizes()[d]);
  return sizes;
}

Tensor index_cpu(const Tensor& self, TensorList indices) {
  const Tensor result = empty(indexed_sizes(self, indices), self.scalar_type());
  walk_indices(self, indices, result, [](const auto& element, auto& out) { out = element; });
  return result;
}

const Tensor& index_put_cpu(const Tensor& self, TensorList indices, const Tensor& values, bool accumulate) {
  const Tensor from = values.is_alias_of(self) ? clone(values) : values;
  if (accumulate) {
    walk_indices(self, indices, from, [](auto& element, const auto& value) {
      element = static_cast<std::decay_t<decltype(element)>>(element + value);
    });
  } else {
    walk_indices(self, indices, from, [](auto& element, const auto& value) { element = value; });
  }
  return self;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, TensorList)> op::index("index", {.cpu = index_cpu});
constinit Operator<const Tensor&(const Tensor&, TensorList, const Tensor&, bool)> op::index_put_(
    "index_put_", {.cpu = index_put_cpu});

// %%
//| export core/indexing.cpp
namespace {
// All of self, as a view.
Tensor slice_all(const Tensor& self) { return view(self, self.sizes()); }

// `values` may have more dimensions than its target when the surplus ones have size 1.
Tensor without_leading_ones(const Tensor& values, std::int64_t dims) {
  std::int64_t surplus = 0;
  while (values.dim() - surplus > dims && values.size(surplus) == 1) ++surplus;
  if (surplus == 0) return values;
  return view(values, IntArrayRef(values.sizes().data() + surplus,
                                  values.sizes().size() - static_cast<std::size_t>(surplus)));
}

Tensor broadcast_values(const Tensor& values, IntArrayRef sizes) {
  const Tensor trimmed = without_leading_ones(values, static_cast<std::int64_t>(sizes.size()));
  bool fits = trimmed.sizes().size() <= sizes.size();
  for (std::size_t i = 1; fits && i <= trimmed.sizes().size(); ++i) {
    const std::int64_t size = trimmed.sizes()[trimmed.sizes().size() - i];
    fits = size == 1 || size == sizes[sizes.size() - i];
  }
  TORCH_CHECK(fits, "shape mismatch: value tensor of shape ", values.sizes(),
              " cannot be broadcast to indexing result of shape ", sizes);
  return expand(trimmed, sizes);
}
}  // namespace

// %%
//| export core/indexing.cpp
Tensor index(const Tensor& self, const std::vector<std::optional<Tensor>>& indices) {
  const PreparedIndices prepared = prepare_indices(self, indices);
  if (prepared.indices.empty()) return slice_all(self);
  const Tensor result = op::index(permute(self, prepared.order), prepared.indices);
  return prepared.dims[0] == 0 || !prepared.adjacent ? result
                                                     : permute(result, result_order(prepared)).contiguous();
}

const Tensor& index_put_(const Tensor& self, const std::vector<std::optional<Tensor>>& indices,
                         const Tensor& values, bool accumulate) {
  TORCH_CHECK(self.scalar_type() == values.scalar_type(),
              "Index put requires the source and destination dtypes match, got ", self.scalar_type(),
              " for the destination and ", values.scalar_type(), " for the source.");
  const PreparedIndices prepared = prepare_indices(self, indices);
  if (prepared.indices.empty()) return accumulate ? add_(self, values) : copy_(self, values);
  const Tensor target = permute(self, prepared.order);
  // `values` broadcasts to the shape that index() would give; then its dimensions go where op::index_put_ wants them.
  const DimVector front_sizes = indexed_sizes(target, prepared.indices);
  const DimVector order = result_order(prepared);
  DimVector sizes(order.size());
  DimVector back(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    sizes[i] = front_sizes[static_cast<std::size_t>(order[i])];
    back[static_cast<std::size_t>(order[i])] = static_cast<std::int64_t>(i);
  }
  op::index_put_(target, prepared.indices, permute(broadcast_values(values, sizes), back), accumulate);
  return self;
}

// %%
//| export core/indexing.cpp
indexing::TensorIndex::TensorIndex(const char* text) : kind_(TensorIndexType::Ellipsis) {
  TORCH_CHECK_VALUE(std::string_view(text) == "...",
                    "Expected \"...\" to represent an ellipsis index, but got \"", text, "\"");
}

// %%
//| export core/indexing.cpp
namespace {
using indexing::TensorIndex;

std::int64_t dimensions_taken(const TensorIndex& index) {
  if (index.is_tensor()) return dimensions_taken(index.tensor());
  return index.is_integer() || index.is_slice() ? 1 : 0;
}

Tensor select_index(const Tensor& self, std::int64_t dim, std::int64_t index) {
  TORCH_CHECK_INDEX(self.dim() > 0,
                    "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in "
                    "C++ to convert a 0-dim tensor to a number");
  const std::int64_t size = self.size(dim);
  TORCH_CHECK_INDEX(index >= -size && index < size, "index ", index, " is out of bounds for dimension ", dim,
                    " with size ", size);
  return select(self, dim, index);
}

Tensor slice_index(const Tensor& self, std::int64_t dim, const indexing::Slice& range) {
  TORCH_CHECK_VALUE(range.step() != 0, "slice step cannot be zero");
  TORCH_CHECK_VALUE(range.step() > 0, "step must be greater than zero");
  return slice(self, dim, range.start(), range.stop(), range.step());
}

// Applies all indices that need no copy, and notes index tensors at the dimension that they index.
class BasicIndexing {
 public:
  explicit BasicIndexing(const Tensor& self) : result(self) {}
  void apply(const TensorIndex& index, std::int64_t dims_of_ellipsis);

  Tensor result;
  std::vector<std::optional<Tensor>> tensors;  // by dimension of `result`

 private:
  void note(const Tensor& index);
  std::int64_t dim_ = 0;  // the dimension of `result` that the next index applies to
};
}  // namespace

// %%
//| export core/indexing.cpp
namespace {
// A mask of several dimensions is noted as the index tensors that it stands for, so that `tensors` and dimensions go side by side.
void BasicIndexing::note(const Tensor& index) {
  tensors.resize(static_cast<std::size_t>(dim_));
  const bool mask = index.scalar_type() == kBool || index.scalar_type() == kByte;
  if (!mask) {
    tensors.emplace_back(index);
    ++dim_;
    return;
  }
  PreparedIndices prepared;
  append_mask(result, index, dim_, prepared);
  tensors.insert(tensors.end(), prepared.indices.begin(), prepared.indices.end());
}

void BasicIndexing::apply(const TensorIndex& index, std::int64_t dims_of_ellipsis) {
  switch (index.kind()) {
    case indexing::TensorIndexType::None:
      result = unsqueeze(result, dim_++);
      break;
    case indexing::TensorIndexType::Ellipsis:
      dim_ += dims_of_ellipsis;
      break;
    case indexing::TensorIndexType::Integer:
      result = select_index(result, dim_, index.integer());
      break;
    case indexing::TensorIndexType::Slice:
      result = slice_index(result, dim_++, index.slice());
      break;
    case indexing::TensorIndexType::Boolean:
      result = unsqueeze(result, dim_);
      note(zeros({index.boolean() ? 1 : 0}, kLong));
      break;
    case indexing::TensorIndexType::Tensor:
      if (index.tensor().dim() > 0 || !isIntegralType(index.tensor().scalar_type(), true))
        note(index.tensor());
      else if (index.tensor().scalar_type() == kBool)
        apply(TensorIndex(index.tensor().item<bool>()), dims_of_ellipsis);
      else result = select_index(result, dim_, index.tensor().item<std::int64_t>());
      break;
  }
}

BasicIndexing apply_indices(const Tensor& self, ArrayRef<TensorIndex> indices) {
  std::int64_t taken = 0;
  for (const TensorIndex& index : indices) taken += dimensions_taken(index);
  const bool single_integer = indices.size() == 1 && indices[0].is_integer();
  TORCH_CHECK_INDEX(taken <= self.dim() || single_integer, "too many indices for tensor of dimension ",
                    self.dim());
  BasicIndexing basic(self);
  for (const TensorIndex& index : indices) basic.apply(index, self.dim() - taken);
  return basic;
}
}  // namespace

// %%
//| export core/indexing.cpp
Tensor index(const Tensor& self, ArrayRef<indexing::TensorIndex> indices) {
  const BasicIndexing basic = apply_indices(self, indices);
  if (!basic.tensors.empty()) return index(basic.result, basic.tensors);
  return basic.result.is_same(self) ? slice_all(self) : basic.result;
}

const Tensor& index_put_(const Tensor& self, ArrayRef<indexing::TensorIndex> indices, const Tensor& rhs) {
  const BasicIndexing basic = apply_indices(self, indices);
  if (!basic.tensors.empty()) {
    index_put_(basic.result, basic.tensors, rhs);
  } else {
    copy_(basic.result, without_leading_ones(rhs, basic.result.dim()));
  }
  return self;
}

// %%
using indexing::Ellipsis, indexing::None, indexing::Slice;

// %%
TEST_CASE("gather and index_select") {
  const Tensor x = tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}});
  CHECK_EQ(x.gather(1, tensor({{2, 0}, {1, 1}})), tensor({{3.0, 1.0}, {5.0, 5.0}}));
  CHECK_EQ(x.gather(0, tensor({{1, 0}})), tensor({{4.0, 2.0}}));
  CHECK_EQ(x.t().gather(-1, tensor({{1}, {0}, {1}}, kInt)), tensor({{4.0}, {2.0}, {6.0}}));
  CHECK_EQ(tensor(7).gather(0, tensor({0, 0})), tensor({7, 7}));
  CHECK_EQ(x.gather(1, zeros({0}, kLong)), zeros({0}, kFloat));
  CHECK_EQ(x.index_select(1, tensor({2, 0, 2})), tensor({{3.0, 1.0, 3.0}, {6.0, 4.0, 6.0}}));
  CHECK_EQ(x.t().index_select(0, tensor({1})), tensor({{2.0, 5.0}}));
  CHECK_EQ(x.index_select(0, tensor(1)), tensor({{4.0, 5.0, 6.0}}));
  CHECK_EQ(x.index_select(0, zeros({0}, kLong)), zeros({0, 3}, kFloat));
  CHECK_EQ(tensor(7).index_select(0, tensor({0})), tensor(7));
  CHECK_ERROR(x.gather(1, tensor({0})),
              "Index tensor must have the same number of dimensions as input tensor");
  CHECK_ERROR(x.gather(1, tensor({{0, 5}})), "index 5 is out of bounds for dimension 1 with size 3");
  CHECK_ERROR(x.gather(0, tensor({{0, 0, 0, 0}})),
              "Size does not match at dimension 1 expected index [1, 4] to be no larger than self [2, 3] "
              "apart from dimension 0");
  CHECK_ERROR(x.gather(1, tensor({{0.0}})), "gather(): Expected dtype int32/int64 for index");
  CHECK_ERROR(x.index_select(0, tensor({{0}})), "index_select(): Index is supposed to be a vector");
  CHECK_ERROR(x.index_select(0, tensor({5})), "index 5 is out of bounds for dimension 0 with size 2");
  CHECK_ERROR(x.index_select(0, tensor({1.0})), "index_select(): Expected dtype int32 or int64 for index");
  CHECK_ERROR(tensor(1.0).index_select(0, tensor({0, 0})),
              "index_select(): Index to scalar can have only 1 value, got 2 value(s)");
}

// %%
TEST_CASE("scatter_, scatter_add_ and index_add_") {
  const Tensor index = tensor({{2, 0, 2}, {1, 1, 0}});
  const Tensor src = tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}});
  CHECK_EQ(zeros({2, 3}).scatter_(1, tensor({{2, 0}, {1, 0}}), src),
           tensor({{2.0, 0.0, 1.0}, {5.0, 4.0, 0.0}}));
  CHECK_EQ(zeros({3, 3}).scatter_add_(0, index, src),
           tensor({{0.0, 2.0, 6.0}, {4.0, 5.0, 0.0}, {1.0, 0.0, 3.0}}));
  CHECK_EQ(zeros({2, 3}).scatter_add(1, index, src), tensor({{2.0, 0.0, 4.0}, {6.0, 9.0, 0.0}}));
  CHECK_EQ(ones({3, 3}).t().scatter(0, index, 9),
           tensor({{1.0, 9.0, 9.0}, {9.0, 9.0, 1.0}, {9.0, 1.0, 9.0}}));
  CHECK_EQ(zeros({2, 3}).scatter_(1, zeros({0}, kLong), src), tensor({{0.0, 0.0, 0.0}, {0.0, 0.0, 0.0}}));
  CHECK_EQ(ones({3, 3}).index_add_(0, tensor({2, 0}), src),
           tensor({{5.0, 6.0, 7.0}, {1.0, 1.0, 1.0}, {2.0, 3.0, 4.0}}));
  CHECK_EQ(ones({2, 4}).index_add(1, tensor({1, 1, 0}), src, 0.5),
           tensor({{2.5, 2.5, 1.0, 1.0}, {4.0, 5.5, 1.0, 1.0}}));
  CHECK_ERROR(zeros({2, 3}).scatter_(1, index, zeros({2, 3}, kLong)),
              "scatter(): Expected self.dtype to be equal to src.dtype");
  CHECK_ERROR(zeros({2, 2}).scatter_(1, index, src), "index 2 is out of bounds for dimension 1 with size 2");
  CHECK_ERROR(zeros({2, 3}).scatter_(1, tensor({{0, 1}}), tensor({{1.0}})),
              "Expected index [1, 2] to be no larger than self [2, 3] apart from dimension 1 and to be no "
              "larger size than src [1, 1]");
  CHECK_ERROR(zeros({2, 3}).scatter_add_(1, tensor({0, 1}), src),
              "Index tensor must have the same number of dimensions as self tensor");
  CHECK_ERROR(zeros({3, 3}).index_add_(0, tensor({0}), src),
              "index_add_(): Number of indices (1) should be equal to source.size(dim): (2), for dim: 0");
  CHECK_ERROR(zeros({3, 3}).index_add_(0, tensor({0, 5}), src),
              "index 5 is out of bounds for dimension 0 with size 3");
  CHECK_ERROR(zeros({3, 4}).index_add_(0, tensor({0, 1}), src),
              "source tensor shape must match self tensor shape, excluding the specified dimension. Got "
              "self.shape = [3, 4] source.shape = [2, 3]");
  CHECK_ERROR(zeros({3, 3}, kLong).index_add_(0, tensor({0, 1}), src),
              "index_add_(): self (Long) and source (Float) must have the same scalar type");
}

// %%
TEST_CASE("nonzero and masked_select") {
  const Tensor x = tensor({{0.0, 2.0, NAN}, {4.0, 0.0, 6.0}});
  CHECK_EQ(nonzero(x), tensor({{0, 1}, {0, 2}, {1, 0}, {1, 2}}));
  CHECK_EQ(nonzero(x.t()), tensor({{0, 1}, {1, 0}, {2, 0}, {2, 1}}));
  CHECK_EQ(nonzero(tensor(3)), zeros({1, 0}, kLong));
  CHECK_EQ(nonzero(zeros({0, 3})), zeros({0, 2}, kLong));
  CHECK_EQ(masked_select(x, x > 3), tensor({4.0, 6.0}));
  CHECK_EQ(masked_select(x, tensor({true, false, false})), tensor({0.0, 4.0}));
  CHECK_ERROR(masked_select(x, zeros({3}, kLong)), "masked_select: expected BoolTensor for mask");
}

// %%
TEST_CASE("index: integers, slices, None and Ellipsis make views") {
  const Tensor x = arange(24).view({2, 3, 4});
  CHECK_EQ(x.index({1}), tensor({{12, 13, 14, 15}, {16, 17, 18, 19}, {20, 21, 22, 23}}));
  CHECK_EQ(x.index({1, -1}), tensor({20, 21, 22, 23}));
  CHECK_EQ(x.index({Slice(), 1, Slice(0, std::nullopt, 2)}), tensor({{4, 6}, {16, 18}}));
  CHECK_EQ(x.index({Ellipsis, -1}), tensor({{3, 7, 11}, {15, 19, 23}}));
  CHECK_EQ(x.index({"...", Slice(1, 3)}),
           tensor({{{1, 2}, {5, 6}, {9, 10}}, {{13, 14}, {17, 18}, {21, 22}}}));
  CHECK_EQ(x.index({None, 0, Ellipsis, None, 2}), tensor({{{2}, {6}, {10}}}));
  CHECK_EQ(x.index({Slice(std::nullopt, -1), Slice(-2)}), tensor({{{4, 5, 6, 7}, {8, 9, 10, 11}}}));
  CHECK_EQ(x.index({true, 0, 0}), tensor({{0, 1, 2, 3}}));
  CHECK_EQ(x.index({false}), zeros({0, 2, 3, 4}, kLong));
  CHECK_EQ(tensor(5).index({Ellipsis}), tensor(5));
  CHECK(x.index({Slice(), 1}).is_alias_of(x));
  x.index({0, Slice(), 0}) = tensor({-1, -2, -3});
  x.index({1, 1}) = 7;
  CHECK_EQ(x, tensor({{{-1, 1, 2, 3}, {-2, 5, 6, 7}, {-3, 9, 10, 11}},
                      {{12, 13, 14, 15}, {7, 7, 7, 7}, {20, 21, 22, 23}}}));
  CHECK_ERROR(x.index({5}), "index 5 is out of bounds for dimension 0 with size 2");
  CHECK_ERROR(x.index({0, 0, 0, 0}), "too many indices for tensor of dimension 3");
  CHECK_ERROR(tensor(1.0).index({0}),
              "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ "
              "to convert a 0-dim tensor to a number");
  CHECK_ERROR(x.index({Slice(0, 2, 0)}), "slice step cannot be zero");
  CHECK_ERROR(x.index({Slice(0, 2, -1)}), "step must be greater than zero");
  CHECK_ERROR(x.index({"..", 0}), "Expected \"...\" to represent an ellipsis index, but got \"..\"");
}

// %%
TEST_CASE("index: tensors of indices and masks copy") {
  const Tensor x = arange(24).view({2, 3, 4});
  const Tensor i = tensor({1, 0});
  const Tensor j = tensor({{0, -1}, {2, 1}});
  CHECK_EQ(x.index({i}), tensor({{{12, 13, 14, 15}, {16, 17, 18, 19}, {20, 21, 22, 23}},
                                 {{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9, 10, 11}}}));
  CHECK_EQ(x.index({i, j}), tensor({{{12, 13, 14, 15}, {8, 9, 10, 11}}, {{20, 21, 22, 23}, {4, 5, 6, 7}}}));
  CHECK_EQ(x.index({Slice(), j}),
           tensor({{{{0, 1, 2, 3}, {8, 9, 10, 11}}, {{8, 9, 10, 11}, {4, 5, 6, 7}}},
                   {{{12, 13, 14, 15}, {20, 21, 22, 23}}, {{20, 21, 22, 23}, {16, 17, 18, 19}}}}));
  CHECK_EQ(x.index({Slice(), Slice(), i}),
           tensor({{{1, 0}, {5, 4}, {9, 8}}, {{13, 12}, {17, 16}, {21, 20}}}));
  CHECK_EQ(x.index({i, Slice(), j}), tensor({{{12, 16, 20}, {3, 7, 11}}, {{14, 18, 22}, {1, 5, 9}}}));
  CHECK_EQ(x.index({0, Slice(), i}), tensor({{1, 0}, {5, 4}, {9, 8}}));
  CHECK_EQ(x.index({Ellipsis, j, i}), tensor({{{1, 8}, {9, 4}}, {{13, 20}, {21, 16}}}));
  CHECK_EQ(x.index({None, i, Slice(1, 3)}),
           tensor({{{{16, 17, 18, 19}, {20, 21, 22, 23}}, {{4, 5, 6, 7}, {8, 9, 10, 11}}}}));
  CHECK_EQ(x.transpose(0, 2).index({j}),
           tensor({{{{0, 12}, {4, 16}, {8, 20}}, {{3, 15}, {7, 19}, {11, 23}}},
                   {{{2, 14}, {6, 18}, {10, 22}}, {{1, 13}, {5, 17}, {9, 21}}}}));
  CHECK_EQ(x.index({x > 20}), tensor({21, 22, 23}));
  CHECK_EQ(x.index({tensor({true, false}), Slice(0, 1)}), tensor({{{0, 1, 2, 3}}}));
  CHECK_EQ(x.index({Slice(), tensor({true, false, true}), i}), tensor({{1, 8}, {13, 20}}));
  CHECK_EQ(x.index({tensor({{true, false, false}, {false, true, true}})}),
           tensor({{0, 1, 2, 3}, {16, 17, 18, 19}, {20, 21, 22, 23}}));
  CHECK_EQ(x.index({tensor(1), tensor(-1)}), tensor({20, 21, 22, 23}));
  CHECK_EQ(x.index({zeros({0}, kLong)}), zeros({0, 3, 4}, kLong));
  CHECK_EQ(x.index({tensor({0, 1}, kByte)}),
           tensor({{{12, 13, 14, 15}, {16, 17, 18, 19}, {20, 21, 22, 23}}}));
  CHECK_ERROR(x.index({tensor({5})}), "index 5 is out of bounds for dimension 0 with size 2");
  CHECK_ERROR(x.index({tensor({true, false, true})}),
              "The shape of the mask [3] at index 0 does not match the shape of the indexed tensor [2, 3, 4] "
              "at index 0");
  CHECK_ERROR(x.index({tensor({1.0})}), "tensors used as indices must be long, int, byte or bool tensors");
  CHECK_ERROR(x.index({i, tensor({0, 1, 2})}),
              "shape mismatch: indexing tensors could not be broadcast together with shapes [2], [3]");
}

// %%
TEST_CASE("index_put_: writing, broadcasting, accumulating") {
  const Tensor x = zeros({3, 4});
  const Tensor i = tensor({0, 2, 0});
  x.index_put_({i}, tensor({1.0, 2.0, 3.0, 4.0}));
  CHECK_CLOSE(x, tensor({{1.0, 2.0, 3.0, 4.0}, {0.0, 0.0, 0.0, 0.0}, {1.0, 2.0, 3.0, 4.0}}));
  x.index_put_({i, i}, 9);
  CHECK_CLOSE(x, tensor({{9.0, 2.0, 3.0, 4.0}, {0.0, 0.0, 0.0, 0.0}, {1.0, 2.0, 9.0, 4.0}}));
  x.index_put_({Slice(), tensor({3, 1})}, tensor({{-1.0, -2.0}}));
  CHECK_CLOSE(x, tensor({{9.0, -2.0, 3.0, -1.0}, {0.0, -2.0, 0.0, -1.0}, {1.0, -2.0, 9.0, -1.0}}));
  x.index_put_({x < 0}, 0.5);
  CHECK_CLOSE(x, tensor({{9.0, 0.5, 3.0, 0.5}, {0.0, 0.5, 0.0, 0.5}, {1.0, 0.5, 9.0, 0.5}}));
  x.index_put_({1, Slice(1, 3)}, tensor({{7.0, 8.0}}));
  CHECK_CLOSE(x, tensor({{9.0, 0.5, 3.0, 0.5}, {0.0, 7.0, 8.0, 0.5}, {1.0, 0.5, 9.0, 0.5}}));
  x.index_put_(std::vector<std::optional<Tensor>>{i}, ones({4}), true);
  CHECK_CLOSE(x, tensor({{11.0, 2.5, 5.0, 2.5}, {0.0, 7.0, 8.0, 0.5}, {2.0, 1.5, 10.0, 1.5}}));
  x.t().index_put_(std::vector<std::optional<Tensor>>{std::nullopt, tensor({-1, -1})}, ones({4, 2}), true);
  CHECK_CLOSE(x, tensor({{11.0, 2.5, 5.0, 2.5}, {0.0, 7.0, 8.0, 0.5}, {4.0, 3.5, 12.0, 3.5}}));
  CHECK_ERROR(
      x.index_put_({tensor({0})}, zeros({2, 4})),
      "shape mismatch: value tensor of shape [2, 4] cannot be broadcast to indexing result of shape [1, 4]");
  CHECK_ERROR(x.index_put_({tensor({0})}, zeros({4}, kDouble)),
              "Index put requires the source and destination dtypes match, got Float for the destination and "
              "Double for the source.");
}

// %% [markdown]
// ## Reductions, scans and orderings
//
// Most are module 01's `fold` with another function. Sums and products of floating-point numbers run in double, so that long ones keep
// their small terms. Variance takes two passes (mean first): the one-pass formula E[x^2] - E[x]^2 cancels when the mean is large
// against the spread.
//
// Source: aten/src/ATen/native/{ReduceOps,Sorting}.cpp, native/cpu/{ReduceOpsKernel,SortingKernel}.cpp.

// %%
//| export core/extremes.cpp
namespace {
Tensor amin_cpu(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  TORCH_CHECK(self.numel() > 0 || !dim.empty(),
              "amin(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
              "dim with the 'dim' argument.");
  for (std::size_t i = 0; i < mask.size(); ++i)
    TORCH_CHECK_INDEX(!mask[i] || self.sizes()[i] > 0, "amin(): Expected reduction dim ", i,
                      " to have non-zero size.");
  return dispatch_all_types(self.scalar_type(), [&]<class T>() {
    const T highest =
        std::is_floating_point_v<T> ? std::numeric_limits<T>::infinity() : std::numeric_limits<T>::max();
    return fold<T, T>(self, mask, keepdim, highest, [](T a, T x) { return smaller(a, x); });
  });
}

std::tuple<Tensor, Tensor> min_cpu(const Tensor& self, std::int64_t dim, bool keepdim) {
  const std::int64_t size = self.dim() == 0 ? 1 : self.size(dim);
  TORCH_CHECK_INDEX(size > 0, "min(): Expected reduction dim ", dim, " to have non-zero size.");
  std::vector<bool> mask(self.sizes().size());
  if (!mask.empty()) mask[static_cast<std::size_t>(dim)] = true;
  const DimVector sizes = reduced_sizes(self.sizes(), mask, keepdim);
  const Tensor values = empty(sizes, self.options());
  const Tensor indices = empty(sizes, kLong);
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    for_each_row<T>(self, dim, [&](std::int64_t k, const T* row, std::int64_t stride) {
      std::int64_t best = 0;
      for (std::int64_t j = 1; j < size; ++j) {
        const T x = row[j * stride];
        const T lowest = row[best * stride];
        if (x < lowest || (x != x && lowest == lowest)) best = j;  // the first NaN wins
      }
      values.data<T>()[k] = row[best * stride];
      indices.data<std::int64_t>()[k] = best;
    });
  });
  return {values, indices};
}
Tensor argmin_cpu(const Tensor& self, std::int64_t dim, bool keepdim) {
  TORCH_CHECK_INDEX(self.dim() == 0 || self.size(dim) > 0, "argmin(): Expected reduction dim ", dim,
                    " to have non-zero size.");
  return std::get<1>(min_cpu(self, dim, keepdim));
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef, bool)> op::amin("amin", {.cpu = amin_cpu});
constinit Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> op::min("min",
                                                                                          {.cpu = min_cpu});
constinit Operator<Tensor(const Tensor&, std::int64_t, bool)> op::argmin("argmin", {.cpu = argmin_cpu});

// %%
//| export core/extremes.cpp
Tensor amin(const Tensor& self, IntArrayRef dim, bool keepdim) { return op::amin(self, dim, keepdim); }
Tensor min(const Tensor& self) {
  TORCH_CHECK(self.numel() > 0,
              "min(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
              "dim with the 'dim' argument.");
  return amin(self);
}
std::tuple<Tensor, Tensor> min(const Tensor& self, std::int64_t dim, bool keepdim) {
  return op::min(self, wrap_dim(dim, self.dim()), keepdim);
}
Tensor argmin(const Tensor& self, std::optional<std::int64_t> dim, bool keepdim) {
  if (dim) return op::argmin(self, wrap_dim(*dim, self.dim()), keepdim);
  TORCH_CHECK_INDEX(self.numel() > 0,
                    "argmin(): Expected reduction dim to be specified for input.numel() == 0.");
  const Tensor position = op::argmin(reshape(self, {-1}), 0, false);
  return keepdim ? reshape(position, DimVector(self.sizes().size(), 1)) : position;
}

// %%
//| export core/statistics.cpp
namespace {
Tensor prod_cpu(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  return dispatch_all_types(self.scalar_type(), [&]<class T>() {
    using Acc = std::conditional_t<std::is_floating_point_v<T>, double, std::int64_t>;
    using Wrapping = std::conditional_t<std::is_floating_point_v<T>, double,
                                        std::uint64_t>;  // integers overflow modulo 2^64
    const Tensor product = fold<Acc, T>(self, mask, keepdim, Acc{1}, [](Acc a, T x) {
      return static_cast<Acc>(static_cast<Wrapping>(a) * static_cast<Wrapping>(x));
    });
    return std::is_floating_point_v<T> ? to_dtype(product, self.scalar_type()) : product;
  });
}

Tensor any_cpu(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  return dispatch_all_types(self.scalar_type(), [&]<class T>() {
    return fold<bool, T>(self, mask, keepdim, false, [](bool a, T x) { return a || x != T{}; });
  });
}
Tensor all_cpu(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  return dispatch_all_types(self.scalar_type(), [&]<class T>() {
    return fold<bool, T>(self, mask, keepdim, true, [](bool a, T x) { return a && x != T{}; });
  });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef, bool)> op::prod("prod", {.cpu = prod_cpu});
constinit Operator<Tensor(const Tensor&, IntArrayRef, bool)> op::any("any", {.cpu = any_cpu});
constinit Operator<Tensor(const Tensor&, IntArrayRef, bool)> op::all("all", {.cpu = all_cpu});
Tensor prod(const Tensor& self) { return op::prod(self, {}, false); }
Tensor prod(const Tensor& self, std::int64_t dim, bool keepdim) { return op::prod(self, dim, keepdim); }
Tensor any(const Tensor& self) { return op::any(self, {}, false); }
Tensor any(const Tensor& self, std::int64_t dim, bool keepdim) { return op::any(self, dim, keepdim); }
Tensor all(const Tensor& self) { return op::all(self, {}, false); }
Tensor all(const Tensor& self, std::int64_t dim, bool keepdim) { return op::all(self, dim, keepdim); }

// %%
//| export core/statistics.cpp
namespace {
// How many elements each result is made of.
std::int64_t reduced_count(const Tensor& self, const std::vector<bool>& mask) {
  std::int64_t count = 1;
  for (std::size_t i = 0; i < mask.size(); ++i) count *= mask[i] ? self.sizes()[i] : 1;
  return count;
}

// In double: the sum of squared deviations from `means`, over the masked dimensions, which stay with size 1.
Tensor squared_deviations(const Tensor& self, const Tensor& means) {
  const Tensor result = zeros(means.sizes(), kDouble);
  const DimVector result_strides = broadcast_strides(result, self.sizes());
  const DimVector mean_strides = broadcast_strides(means, self.sizes());
  const StridedLoop<3> loop(self.sizes(),
                            {IntArrayRef(result_strides), IntArrayRef(mean_strides), self.strides()});
  dispatch_floating_types(self.scalar_type(), "var", [&]<class T>() {
    loop.run([out = result.data<double>(), mean = means.data<double>(), in = self.data<T>()](
                 const auto& offset, std::int64_t count, const auto& step) {
      for (std::int64_t i = 0; i < count; ++i) {
        const double deviation =
            static_cast<double>(in[offset[2] + i * step[2]]) - mean[offset[1] + i * step[1]];
        out[offset[0] + i * step[0]] += deviation * deviation;
      }
    });
  });
  return result;
}

// The variance in double. `correction` is subtracted from the count: 1 makes the estimate unbiased.
Tensor variance(const Tensor& self, IntArrayRef dim, double correction, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  const auto count = static_cast<double>(reduced_count(self, mask));
  const Tensor total = dispatch_all_types(self.scalar_type(), [&]<class T>() {
    return fold<double, T>(self, mask, true, 0.0, [](double a, T x) { return a + static_cast<double>(x); });
  });
  const Tensor result = squared_deviations(self, total / count) / std::max(0.0, count - correction);
  return keepdim ? result : view(result, reduced_sizes(self.sizes(), mask, false));
}

Tensor var_cpu(const Tensor& self, IntArrayRef dim, double correction, bool keepdim) {
  return to_dtype(variance(self, dim, correction, keepdim), self.scalar_type());
}
Tensor std_cpu(const Tensor& self, IntArrayRef dim, double correction, bool keepdim) {
  return to_dtype(sqrt(variance(self, dim, correction, keepdim)), self.scalar_type());
}
void check_var(const Tensor& self) {
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(),
                              "std and var only support floating point and complex dtypes");
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef, double, bool)> op::var("var", {.cpu = var_cpu});
constinit Operator<Tensor(const Tensor&, IntArrayRef, double, bool)> op::std("std", {.cpu = std_cpu});

Tensor var(const Tensor& self, IntArrayRef dim, bool unbiased, bool keepdim) {
  check_var(self);
  return op::var(self, dim, unbiased ? 1 : 0, keepdim);
}
Tensor var(const Tensor& self) { return var(self, IntArrayRef()); }
Tensor std(const Tensor& self, IntArrayRef dim, bool unbiased, bool keepdim) {
  check_var(self);
  return op::std(self, dim, unbiased ? 1 : 0, keepdim);
}
Tensor std(const Tensor& self) { return tinytorch::std(self, IntArrayRef()); }
std::tuple<Tensor, Tensor> var_mean(const Tensor& self, IntArrayRef dim, bool unbiased, bool keepdim) {
  return {var(self, dim, unbiased, keepdim), mean(self, dim, keepdim)};
}

// %%
//| export core/statistics.cpp
namespace {
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// (sum |x|^p)^(1/p), in double.
Tensor p_norm(const Tensor& self, const std::vector<bool>& mask, double p, bool keepdim) {
  return dispatch_floating_types(self.scalar_type(), "norm", [&]<class T>() {
    const auto folded = [&](double init, auto f) {
      return fold<double, T>(self, mask, keepdim, init,
                             [f](double a, T x) { return f(a, std::fabs(static_cast<double>(x))); });
    };
    if (p == kInfinity) return folded(0, [](double a, double x) { return x > a || std::isnan(x) ? x : a; });
    if (p == -kInfinity)
      return folded(kInfinity, [](double a, double x) { return x < a || std::isnan(x) ? x : a; });
    if (p == 0) return folded(0, [](double a, double x) { return a + (x != 0); });
    if (p == 1) return folded(0, [](double a, double x) { return a + x; });
    if (p == 2) return sqrt(folded(0, [](double a, double x) { return a + x * x; }));
    return pow(folded(0, [p](double a, double x) { return a + std::pow(x, p); }), 1 / p);
  });
}

Tensor norm_cpu(const Tensor& self, double p, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  if (std::isinf(p)) {
    TORCH_CHECK(self.numel() > 0 || !dim.empty(), "linalg.vector_norm cannot compute the ", p,
                " norm on an empty tensor because the operation does not have an identity");
    for (std::size_t i = 0; i < mask.size(); ++i)
      TORCH_CHECK(!mask[i] || self.sizes()[i] > 0, "linalg.vector_norm cannot compute the ", p,
                  " norm on the dimension ", i,
                  "because this dimension is empty and the operation does not have an identity");
  }
  return to_dtype(p_norm(self, mask, p, keepdim), self.scalar_type());
}
}  // namespace
constinit Operator<Tensor(const Tensor&, double, IntArrayRef, bool)> op::norm("norm", {.cpu = norm_cpu});

Tensor norm(const Tensor& self, const std::optional<Scalar>& p, IntArrayRef dim, bool keepdim) {
  TORCH_CHECK_NOT_IMPLEMENTED(
      self.is_floating_point(),
      "linalg.vector_norm: Expected a floating point or complex tensor as input. Got ", self.scalar_type());
  return op::norm(self, p.value_or(2).toDouble(), dim, keepdim);
}
Tensor norm(const Tensor& self, const Scalar& p) { return norm(self, p, IntArrayRef(), false); }

// %%
//| export core/statistics.cpp
namespace {
Tensor cumsum_cpu(const Tensor& self, std::int64_t dim) {
  const Tensor result = clone(to_dtype(self, self.is_floating_point() ? self.scalar_type() : kLong));
  const std::int64_t size = self.dim() == 0 ? 1 : self.size(dim);
  dispatch_all_types(result.scalar_type(), [&]<class T>() {
    using Acc = std::conditional_t<std::is_floating_point_v<T>, double, std::int64_t>;
    for_each_row<T>(result, dim, [&](std::int64_t, T* row, std::int64_t stride) {
      Acc total = 0;
      for (std::int64_t j = 0; j < size; ++j) {
        total += static_cast<Acc>(row[j * stride]);
        row[j * stride] = static_cast<T>(total);
      }
    });
  });
  return result;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, std::int64_t)> op::cumsum("cumsum", {.cpu = cumsum_cpu});
Tensor cumsum(const Tensor& self, std::int64_t dim) { return op::cumsum(self, wrap_dim(dim, self.dim())); }

// %%
//| export core/ordering.cpp
namespace {
// Whether a comes before b in ascending order; NaN is the largest number.
template <class T>
bool before(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    if (std::isnan(a) || std::isnan(b)) return !std::isnan(a) && std::isnan(b);
  return a < b;
}

// Of every row along `dim`, the first k elements in order, with their indices. Equal elements keep their order.
std::tuple<Tensor, Tensor> first_in_order(const Tensor& self, std::int64_t dim, std::int64_t k,
                                          bool descending) {
  const std::int64_t size = self.dim() == 0 ? 1 : self.size(dim);
  DimVector sizes(self.sizes());
  if (!sizes.empty()) sizes[static_cast<std::size_t>(dim)] = k;
  const Tensor values = empty(sizes, self.scalar_type());
  const Tensor indices = empty(sizes, kLong);
  const std::int64_t step = self.dim() == 0 ? 1 : values.stride(dim);
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    // Walks the rows of both at once: row number r of self belongs to row number r of the result.
    std::vector<T*> rows_out;
    for_each_row<T>(values, dim, [&](std::int64_t, T* row, std::int64_t) { rows_out.push_back(row); });
    for_each_row<T>(self, dim, [&](std::int64_t r, const T* row, std::int64_t stride) {
      std::iota(order.begin(), order.end(), std::int64_t{0});
      const auto ahead = [&](std::int64_t i, std::int64_t j) {
        const T a = row[i * stride];
        const T b = row[j * stride];
        if (descending ? before(b, a) : before(a, b)) return true;
        return !(descending ? before(a, b) : before(b, a)) && i < j;
      };
      std::partial_sort(order.begin(), order.begin() + k, order.end(), ahead);
      T* const value = rows_out[static_cast<std::size_t>(r)];
      std::int64_t* const index = indices.data<std::int64_t>() + (value - values.data<T>());
      for (std::int64_t j = 0; j < k; ++j) {
        index[j * step] = order[static_cast<std::size_t>(j)];
        value[j * step] = row[order[static_cast<std::size_t>(j)] * stride];
      }
    });
  });
  return {values, indices};
}

std::tuple<Tensor, Tensor> sort_cpu(const Tensor& self, std::int64_t dim, bool descending) {
  return first_in_order(self, dim, self.dim() == 0 ? 1 : self.size(dim), descending);
}
// `sorted` = false would allow any order; this one is as good as another.
std::tuple<Tensor, Tensor> topk_cpu(const Tensor& self, std::int64_t k, std::int64_t dim, bool largest,
                                    bool) {
  return first_in_order(self, dim, self.dim() == 0 ? 1 : k, largest);
}
}  // namespace
constinit Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> op::sort("sort",
                                                                                           {.cpu = sort_cpu});
constinit Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, std::int64_t, bool, bool)>
    op::topk("topk", {.cpu = topk_cpu});

std::tuple<Tensor, Tensor> sort(const Tensor& self, std::int64_t dim, bool descending) {
  return op::sort(self, wrap_dim(dim, self.dim()), descending);
}
Tensor argsort(const Tensor& self, std::int64_t dim, bool descending) {
  return std::get<1>(sort(self, dim, descending));
}
std::tuple<Tensor, Tensor> topk(const Tensor& self, std::int64_t k, std::int64_t dim, bool largest,
                                bool sorted) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  TORCH_CHECK(k >= 0 && k <= (self.dim() > 0 ? self.size(d) : 1), "selected index k out of range");
  return op::topk(self, k, d, largest, sorted);
}

// %%
TEST_CASE("min, amin and argmin: NaN wins, the first of equals") {
  const Tensor x = tensor({{3.0, -1.0, 2.0}, {-1.0, 5.0, -1.0}});
  CHECK_EQ(min(x), tensor(-1.0));
  CHECK_EQ(max(x), tensor(5.0));
  CHECK_EQ(x.amin({0}), tensor({-1.0, -1.0, -1.0}));
  CHECK_EQ(x.amin({0, 1}, true), tensor({{-1.0}}));
  CHECK_EQ(std::get<0>(x.min(1)), tensor({-1.0, -1.0}));
  CHECK_EQ(std::get<1>(x.min(1)), tensor({1, 0}));
  CHECK_EQ(std::get<1>(x.t().min(0, true)), tensor({{1, 0}}));
  CHECK_EQ(x.argmin(), tensor(1));
  CHECK_EQ(x.argmin(0), tensor({1, 0, 1}));
  CHECK_EQ(x.argmin(std::nullopt, true), tensor({{1}}));
  CHECK_EQ(min(tensor({1.0, NAN, 0.0})), tensor(NAN));
  CHECK_EQ(tensor({1.0, NAN, NAN}).argmin(), tensor(1));
  CHECK_EQ(std::get<0>(tensor(4).min(0)), tensor(4));
  CHECK_EQ(tensor({3, 2}, kByte).min(), tensor(2, kByte));
  CHECK_EQ(zeros({2, 0}).amin({0}), zeros({0}, kFloat));
  CHECK_ERROR(zeros({0}).min(),
              "min(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
              "dim with the 'dim' argument.");
  CHECK_ERROR(max(zeros({0})),
              "max(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
              "dim with the 'dim' argument.");
  CHECK_ERROR(zeros({0, 2}).min(0), "min(): Expected reduction dim 0 to have non-zero size.");
  CHECK_ERROR(zeros({0, 2}).amin({0}), "amin(): Expected reduction dim 0 to have non-zero size.");
  CHECK_ERROR(zeros({0, 2}).amin(),
              "amin(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
              "dim with the 'dim' argument.");
  CHECK_ERROR(zeros({0}).argmin(),
              "argmin(): Expected reduction dim to be specified for input.numel() == 0.");
  CHECK_ERROR(zeros({0, 2}).argmin(0), "argmin(): Expected reduction dim 0 to have non-zero size.");
  CHECK_ERROR(x.min(5), "Dimension out of range (expected to be in range of [-2, 1], but got 5)");
}

// %%
TEST_CASE("prod, any and all") {
  const Tensor x = tensor({{1.5, -2.0}, {0.0, 4.0}});
  CHECK_CLOSE(x.prod(), tensor(-0.0));
  CHECK_CLOSE(x.prod(0), tensor({0.0, -8.0}));
  CHECK_CLOSE(x.t().prod(0, true), tensor({{-3.0, 0.0}}));
  CHECK_EQ(tensor({2, 3}, kInt).prod(), tensor(6));
  CHECK_EQ(full({70}, -2, kLong).prod(), tensor(0));
  CHECK_EQ(tensor({true, true}).prod(), tensor(1));
  CHECK_CLOSE(zeros({0, 2}).prod(0), tensor({1.0, 1.0}));
  CHECK_EQ(x.any(), tensor(true));
  CHECK_EQ(x.all(), tensor(false));
  CHECK_EQ(x.all(1), tensor({true, false}));
  CHECK_EQ(x.any(0, true), tensor({{true, true}}));
  CHECK_EQ(tensor(NAN).any(), tensor(true));
  CHECK_EQ(zeros({0}).all(), tensor(true));
  CHECK_EQ(zeros({0, 2}).any(0), tensor({false, false}));
  CHECK_ERROR(x.any(2), "Dimension out of range (expected to be in range of [-2, 1], but got 2)");
}

// %%
TEST_CASE("var, std and norm") {
  const Tensor x = tensor({{1.0, 2.5, -3.0}, {0.5, 8.0, -1.0}});
  CHECK_CLOSE(x.var(), tensor(14.166667));
  CHECK_CLOSE(x.var(false), tensor(11.8055553));
  CHECK_CLOSE(x.var({1}), tensor({8.08333302, 23.25}));
  CHECK_CLOSE(x.var({0}, false, true), tensor({{0.0625, 7.5625, 1.0}}));
  CHECK_CLOSE(x.std(), tensor(3.76386333));
  CHECK_CLOSE(x.t().std({0, 1}), tensor(3.76386333));
  CHECK_CLOSE(x.std({-1}, false), tensor({2.32139802, 3.93700385}));
  CHECK_CLOSE((x.to(kDouble) + 1e8).var(), tensor(14.166666666666668, kDouble));
  CHECK_CLOSE(tensor(5.0).var(), tensor(NAN));
  CHECK_CLOSE(tensor({5.0}).std(), tensor(NAN));
  CHECK_CLOSE(zeros({0}).var(false), tensor(NAN));
  CHECK_CLOSE(std::get<1>(var_mean(x, 0)), tensor({0.75, 5.25, -2.0}));
  CHECK_CLOSE(x.norm(), tensor(9.02773476));
  CHECK_CLOSE(x.norm(1), tensor(16.0));
  CHECK_CLOSE(x.norm(3), tensor(8.22659492));
  CHECK_CLOSE(x.norm(INFINITY), tensor(8.0));
  CHECK_CLOSE(x.norm(-INFINITY), tensor(0.5));
  CHECK_CLOSE(x.norm(0), tensor(6.0));
  CHECK_CLOSE(x.norm(2, {1}), tensor({4.03112888, 8.07774734}));
  CHECK_CLOSE(x.t().norm(1, {0}, true), tensor({{6.5, 9.5}}));
  CHECK_CLOSE(x.norm(std::nullopt, {0, 1}), tensor(9.02773476));
  CHECK_CLOSE(zeros({0}).norm(), tensor(0.0));
  CHECK_CLOSE(full({4}, 1e30).norm(), tensor(2.00000003e+30));
  CHECK_ERROR(tensor({1, 2}).var(), "std and var only support floating point and complex dtypes");
  CHECK_ERROR(tensor({1, 2}).norm(),
              "linalg.vector_norm: Expected a floating point or complex tensor as input. Got Long");
  CHECK_ERROR(zeros({0}).norm(INFINITY),
              "linalg.vector_norm cannot compute the inf norm on an empty tensor because the operation does "
              "not have an identity");
  CHECK_ERROR(x.var({0, 0}), "dim 0 appears multiple times in the list of dims");
}

// %%
TEST_CASE("cumsum, sort, argsort and topk") {
  const Tensor x = tensor({{3.0, 1.0, NAN, 2.0}, {1.0, 4.0, 1.0, -5.0}});
  CHECK_CLOSE(x.cumsum(1), tensor({{3.0, 4.0, NAN, NAN}, {1.0, 5.0, 6.0, 1.0}}));
  CHECK_CLOSE(x.t().cumsum(0), tensor({{3.0, 1.0}, {4.0, 5.0}, {NAN, 6.0}, {NAN, 1.0}}));
  CHECK_CLOSE(x.cumsum(0), tensor({{3.0, 1.0, NAN, 2.0}, {4.0, 5.0, NAN, -3.0}}));
  CHECK_EQ(tensor({true, true}).cumsum(0), tensor({1, 2}));
  CHECK_EQ(tensor({1, 2}, kInt).cumsum(0), tensor({1, 3}));
  CHECK_CLOSE(tensor(3.0).cumsum(0), tensor(3.0));
  CHECK_CLOSE(zeros({0}).cumsum(0), zeros({0}, kFloat));
  CHECK_EQ(std::get<0>(x.sort()), tensor({{1.0, 2.0, 3.0, NAN}, {-5.0, 1.0, 1.0, 4.0}}));
  CHECK_EQ(std::get<1>(x.sort()), tensor({{1, 3, 0, 2}, {3, 0, 2, 1}}));
  CHECK_EQ(std::get<1>(x.sort(-1, true)), tensor({{2, 0, 3, 1}, {1, 0, 2, 3}}));
  CHECK_EQ(std::get<0>(x.sort(0)), tensor({{1.0, 1.0, 1.0, -5.0}, {3.0, 4.0, NAN, 2.0}}));
  CHECK_EQ(x.t().argsort(0), tensor({{1, 3}, {3, 0}, {0, 2}, {2, 1}}));
  CHECK_EQ(std::get<0>(tensor(2).sort()), tensor(2));
  CHECK_EQ(std::get<0>(x.topk(2)), tensor({{NAN, 3.0}, {4.0, 1.0}}));
  CHECK_EQ(std::get<1>(x.topk(1, 0)), tensor({{0, 1, 0, 0}}));
  CHECK_EQ(std::get<0>(x.topk(2, 1, false)), tensor({{1.0, 2.0}, {-5.0, 1.0}}));
  CHECK_EQ(std::get<1>(tensor(2).topk(1)), tensor(0));
  CHECK_EQ(std::get<0>(x.topk(0)), zeros({2, 0}, kFloat));
  CHECK_ERROR(x.topk(5), "selected index k out of range");
  CHECK_ERROR(x.topk(-1), "selected index k out of range");
  CHECK_ERROR(x.cumsum(4), "Dimension out of range (expected to be in range of [-2, 1], but got 4)");
  CHECK_ERROR(tensor(2).sort(1), "Dimension out of range (expected to be in range of [-1, 0], but got 1)");
}

// %% [markdown]
// ## Creation and matrices
//
// Source: aten/src/ATen/native/{TensorFactories,RangeFactories,TriangularOps,LinearAlgebra,Linear}.cpp.

// %%
//| export core/more_creation.cpp
Tensor eye(std::int64_t n, std::int64_t m, const TensorOptions& options) {
  TORCH_CHECK(n >= 0, "n must be greater or equal to 0, got ", n);
  TORCH_CHECK(m >= 0, "m must be greater or equal to 0, got ", m);
  const Tensor result = zeros({n, m}, options.dtype());
  fill_(diagonal(result), 1);
  return created(result, options);
}
Tensor eye(std::int64_t n, const TensorOptions& options) { return eye(n, n, options); }

// %%
//| export core/more_creation.cpp
// Counts from the nearer end, so that both ends are exact.
Tensor linspace(const Scalar& start, const Scalar& end, std::int64_t steps, const TensorOptions& options) {
  TORCH_CHECK(steps >= 0, "number of steps must be non-negative");
  const Tensor result = empty({steps}, options.dtype());
  dispatch_all_types(result.scalar_type(), [&]<class T>() {
    using Wide = std::conditional_t<std::is_floating_point_v<T>, T, float>;
    const auto first = start.to<T>();
    const auto last = end.to<T>();
    const Wide step =
        steps > 1 ? (static_cast<Wide>(last) - static_cast<Wide>(first)) / static_cast<Wide>(steps - 1)
                  : Wide{0};
    T* const out = result.data<T>();
    for (std::int64_t i = 0; i < steps; ++i) {
      const bool near_start = i < steps / 2 || steps == 1;
      out[i] = static_cast<T>(near_start ? static_cast<Wide>(first) + step * static_cast<Wide>(i)
                                         : static_cast<Wide>(last) - step * static_cast<Wide>(steps - i - 1));
    }
  });
  return created(result, options);
}

// %%
//| export core/more_creation.cpp
namespace {
// A copy of self in which the elements of the last two dimensions stay where keep(row, column).
template <class F>
Tensor triangle(const Tensor& self, F keep) {
  const Tensor result = clone(self);
  const std::int64_t rows = self.size(-2);
  const std::int64_t columns = self.size(-1);
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    T* out = result.data<T>();
    for (std::int64_t i = 0; i < self.numel(); ++i, ++out)
      if (!keep(i / columns % rows, i % columns)) *out = T{};
  });
  return result;
}
Tensor tril_cpu(const Tensor& self, std::int64_t diagonal) {
  return triangle(self, [=](std::int64_t row, std::int64_t column) { return column - row <= diagonal; });
}
Tensor triu_cpu(const Tensor& self, std::int64_t diagonal) {
  return triangle(self, [=](std::int64_t row, std::int64_t column) { return column - row >= diagonal; });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, std::int64_t)> op::tril("tril", {.cpu = tril_cpu});
constinit Operator<Tensor(const Tensor&, std::int64_t)> op::triu("triu", {.cpu = triu_cpu});

Tensor tril(const Tensor& self, std::int64_t diagonal) {
  TORCH_CHECK(self.dim() >= 2, "tril: input tensor must have at least 2 dimensions");
  return op::tril(self, diagonal);
}
Tensor triu(const Tensor& self, std::int64_t diagonal) {
  TORCH_CHECK(self.dim() >= 2, "triu: input tensor must have at least 2 dimensions");
  return op::triu(self, diagonal);
}

// %%
//| export core/more_creation.cpp
// One step along the diagonal is one along each of the two dimensions: their strides add up. The diagonal becomes the last dimension.
Tensor diagonal(const Tensor& self, std::int64_t offset, std::int64_t dim1, std::int64_t dim2) {
  const std::int64_t row = wrap_dim(dim1, self.dim());
  const std::int64_t column = wrap_dim(dim2, self.dim());
  TORCH_CHECK(row != column, "diagonal dimensions cannot be identical ", dim1, ", ", dim2);
  const std::int64_t rows = self.size(row) + std::min<std::int64_t>(offset, 0);
  const std::int64_t columns = self.size(column) - std::max<std::int64_t>(offset, 0);
  const std::int64_t length = std::max<std::int64_t>(0, std::min(rows, columns));
  DimVector sizes;
  DimVector strides;
  for (std::int64_t d = 0; d < self.dim(); ++d) {
    if (d == row || d == column) continue;
    sizes.push_back(self.size(d));
    strides.push_back(self.stride(d));
  }
  sizes.push_back(length);
  strides.push_back(self.stride(row) + self.stride(column));
  const std::int64_t first = offset >= 0 ? offset * self.stride(column) : -offset * self.stride(row);
  return as_strided(self, sizes, strides, self.storage_offset() + (length > 0 ? first : 0));
}

// %%
//| export core/linear_algebra.cpp
namespace {
Tensor addmm_cpu(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta,
                 const Scalar& alpha) {
  const Tensor product = mm(mat1, mat2);
  const Tensor added = expand(self, product.sizes());
  dispatch_all_types(product.scalar_type(), [&]<class T>() {
    const T a = alpha.to<T>();
    const T b = beta.to<T>();
    // With beta = 0 the NaNs of `self` do not count.
    if (b == T{}) map_into<T, T>(product, product, [a](T x) { return static_cast<T>(a * x); });
    else
      zip_into<T, T, T>(product, product, added, [a, b](T x, T y) { return static_cast<T>(a * x + b * y); });
  });
  return product;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Scalar&, const Scalar&)>
    op::addmm("addmm", {.cpu = addmm_cpu});

Tensor addmm(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta,
             const Scalar& alpha) {
  TORCH_CHECK(mat1.dim() == 2, "mat1 must be a matrix, got ", mat1.dim(), "-D tensor");
  TORCH_CHECK(mat2.dim() == 2, "mat2 must be a matrix, got ", mat2.dim(), "-D tensor");
  TORCH_CHECK(mat1.size(1) == mat2.size(0), "mat1 and mat2 shapes cannot be multiplied (", mat1.size(0), "x",
              mat1.size(1), " and ", mat2.size(0), "x", mat2.size(1), ")\n[addmm] inner sizes ", mat1.size(1),
              " and ", mat2.size(0), " must match",
              mat1.size(1) == mat2.size(1) ? "; did you mean mat2.t()?" : ".");
  TORCH_CHECK(self.scalar_type() == mat2.scalar_type(), "self and mat2 must have the same dtype, but got ",
              self.scalar_type(), " and ", mat2.scalar_type());
  return op::addmm(self, mat1, mat2, beta, alpha);
}

// %%
//| export core/linear_algebra.cpp
Tensor mv(const Tensor& self, const Tensor& vec) {
  TORCH_CHECK(self.dim() == 2 && vec.dim() == 1, "vector + matrix @ vector expected, got 1, ", self.dim(),
              ", ", vec.dim());
  TORCH_CHECK(self.size(1) == vec.size(0), "size mismatch, got input (", self.size(0), "), mat (",
              self.size(0), "x", self.size(1), "), vec (", vec.size(0), ")");
  return mm(self, unsqueeze(vec, 1)).squeeze(1);
}

Tensor dot(const Tensor& self, const Tensor& tensor) {
  TORCH_CHECK(self.dim() == 1 && tensor.dim() == 1, "1D tensors expected, but got ", self.dim(), "D and ",
              tensor.dim(), "D tensors");
  TORCH_CHECK(self.scalar_type() == tensor.scalar_type(),
              "dot : expected both vectors to have same dtype, but found ", self.scalar_type(), " and ",
              tensor.scalar_type());
  return matmul(self, tensor);
}

Tensor outer(const Tensor& self, const Tensor& vec2) {
  TORCH_CHECK(self.dim() == 1, "outer: Expected 1-D argument self, but got ", self.dim(), "-D");
  TORCH_CHECK(vec2.dim() == 1, "outer: Expected 1-D argument vec2, but got ", vec2.dim(), "-D");
  return mul(unsqueeze(self, 1), vec2);
}

// %%
//| export core/linear_algebra.cpp
namespace {
// A tensor whose dimensions have names, one letter each.
struct Labelled {
  Tensor tensor;
  std::string labels;
};

bool has(std::string_view labels, char label) { return labels.find(label) != std::string_view::npos; }

// The equation taken apart: the letters of each operand and of the result.
struct Equation {
  std::vector<std::string> operands;
  std::string result;
};

Equation parse_equation(std::string_view equation) {
  Equation parsed;
  parsed.operands.emplace_back();
  const std::size_t arrow = equation.find("->");
  for (std::size_t i = 0; i < equation.size(); ++i) {
    const char c = equation[i];
    if (i == arrow) ++i;
    else if (c == ',' && i < arrow) parsed.operands.emplace_back();
    else if (c != ' ') {
      TORCH_CHECK(std::isalpha(static_cast<unsigned char>(c)), "einsum(): invalid subscript given at index ",
                  i, " in the equation string, subscripts must be in [a-zA-Z]");
      (i < arrow ? parsed.operands.back() : parsed.result) += c;
    }
  }
  if (arrow != std::string_view::npos) return parsed;
  std::string all;
  for (const std::string& labels : parsed.operands) all += labels;
  std::sort(all.begin(), all.end());
  for (const char label : all)
    if (std::count(all.begin(), all.end(), label) == 1) parsed.result += label;
  return parsed;
}
}  // namespace

// %%
//| export core/linear_algebra.cpp
namespace {
// The operand with each letter once: a letter that stands twice takes the diagonal of its dimensions.
Labelled label_operand(const Tensor& tensor, const std::string& labels, std::size_t number) {
  TORCH_CHECK(static_cast<std::int64_t>(labels.size()) == tensor.dim(),
              "einsum(): the number of subscripts in the equation (", labels.size(),
              ") does not match the number of dimensions (", tensor.dim(), ") for operand ", number,
              " and no ellipsis was given");
  Labelled operand{tensor, labels};
  for (std::size_t i = 0; i < operand.labels.size(); ++i) {
    const std::size_t again = operand.labels.find(operand.labels[i], i + 1);
    if (again == std::string::npos) continue;
    const auto first = static_cast<std::int64_t>(i);
    const auto second = static_cast<std::int64_t>(again);
    TORCH_CHECK(operand.tensor.size(first) == operand.tensor.size(second), "einsum(): subscript ",
                operand.labels[i], " is repeated for operand ", number, " but the sizes don't match, ",
                operand.tensor.size(second), " != ", operand.tensor.size(first));
    operand.tensor = diagonal(operand.tensor, 0, first, second);
    operand.labels += operand.labels[i];
    operand.labels.erase(again, 1);
    operand.labels.erase(i, 1);
    --i;
  }
  return operand;
}

// Sums over the letters that are not in `kept`.
Labelled sum_others(const Labelled& operand, std::string_view kept) {
  std::vector<std::int64_t> dims;
  std::string labels;
  for (std::size_t i = 0; i < operand.labels.size(); ++i) {
    if (has(kept, operand.labels[i])) labels += operand.labels[i];
    else dims.push_back(static_cast<std::int64_t>(i));
  }
  return {dims.empty() ? operand.tensor : sum(operand.tensor, dims), labels};
}

// The operand's dimensions in the order of `labels`, all of which it has.
Tensor in_order(const Labelled& operand, const std::string& labels) {
  DimVector dims;
  for (const char label : labels) dims.push_back(static_cast<std::int64_t>(operand.labels.find(label)));
  return permute(operand.tensor, dims);
}

// The sizes of some of the operand's letters, and their product.
DimVector sizes_of(const Labelled& operand, const std::string& labels) {
  DimVector sizes;
  for (const char label : labels)
    sizes.push_back(operand.tensor.size(static_cast<std::int64_t>(operand.labels.find(label))));
  return sizes;
}
}  // namespace

// %%
//| export core/linear_algebra.cpp
namespace {
// Multiplies two operands and sums over the letters that both have and nobody needs later:
// (batch, left, summed) x (batch, summed, right) -> (batch, left, right).
Labelled contract(const Labelled& a, const Labelled& b, std::string_view kept) {
  std::string batch;
  std::string left;
  std::string summed;
  std::string right;
  for (const char label : a.labels)
    (!has(b.labels, label) ? left : has(kept, label) ? batch : summed) += label;
  for (const char label : b.labels)
    if (!has(a.labels, label)) right += label;
  const std::int64_t B = multiply_sizes(sizes_of(a, batch));
  const std::int64_t M = multiply_sizes(sizes_of(a, left));
  const std::int64_t K = multiply_sizes(sizes_of(a, summed));
  const std::int64_t N = multiply_sizes(sizes_of(b, right));
  const Tensor product = bmm(reshape(in_order(a, batch + left + summed), {B, M, K}),
                             reshape(in_order(b, batch + summed + right), {B, K, N}));
  DimVector sizes = sizes_of(a, batch + left);
  for (const std::int64_t size : sizes_of(b, right)) sizes.push_back(size);
  return {reshape(product, sizes), batch + left + right};
}

void check_operands(const Equation& equation, TensorList tensors) {
  TORCH_CHECK(!tensors.empty(), "einsum(): must provide at least one operand");
  TORCH_CHECK(tensors.size() >= equation.operands.size(),
              "einsum(): fewer operands were provided than specified in the equation");
  TORCH_CHECK(tensors.size() <= equation.operands.size(),
              "einsum(): more operands were provided than specified in the equation");
  for (const char label : equation.result) {
    const bool known = std::any_of(equation.operands.begin(), equation.operands.end(),
                                   [label](const std::string& labels) { return has(labels, label); });
    TORCH_CHECK(known, "einsum(): output subscript ", label,
                " does not appear in the equation for any input operand");
    TORCH_CHECK(std::count(equation.result.begin(), equation.result.end(), label) == 1,
                "einsum(): output subscript ", label, " appears more than once in the output");
  }
}
}  // namespace

Tensor einsum(std::string_view equation, TensorList tensors) {
  const Equation parsed = parse_equation(equation);
  check_operands(parsed, tensors);
  std::vector<Labelled> operands;
  for (std::size_t i = 0; i < tensors.size(); ++i)
    operands.push_back(label_operand(tensors[i], parsed.operands[i], i));
  Labelled total;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    std::string later = parsed.result;
    for (std::size_t j = i + 1; j < operands.size(); ++j) later += operands[j].labels;
    if (i == 0) {
      total = sum_others(operands[0], later);
      continue;
    }
    for (const char label : total.labels) {
      if (!has(operands[i].labels, label)) continue;
      const std::int64_t seen = sizes_of(total, {label})[0];
      const std::int64_t size = sizes_of(operands[i], {label})[0];
      TORCH_CHECK(seen == size, "einsum(): subscript ", label, " has size ", size, " for operand ", i,
                  " which does not broadcast with previously seen size ", seen);
    }
    total = contract(total, sum_others(operands[i], later + total.labels), later);
  }
  return in_order(total, parsed.result);
}

// %%
TEST_CASE("eye, linspace, tril, triu and diagonal") {
  CHECK_EQ(eye(2), tensor({{1.0, 0.0}, {0.0, 1.0}}));
  CHECK_EQ(eye(2, 3, kLong), tensor({{1, 0, 0}, {0, 1, 0}}));
  CHECK_EQ(eye(0), zeros({0, 0}, kFloat));
  CHECK_EQ(linspace(0, 1, 7), tensor({0.0, 0.166666672, 0.333333343, 0.5, 0.666666627, 0.833333313, 1.0}));
  CHECK_EQ(linspace(-1, 3, 4, kDouble),
           tensor({-1.0, 0.33333333333333326, 1.6666666666666667, 3.0}, kDouble));
  CHECK_EQ(linspace(0, 10, 5, kLong), tensor({0, 2, 5, 7, 10}));
  CHECK_EQ(linspace(2, 9, 1), tensor({2.0}));
  CHECK_EQ(linspace(2, 9, 0), zeros({0}, kFloat));
  const Tensor x = arange(12).view({3, 4});
  CHECK_EQ(x.tril(), tensor({{0, 0, 0, 0}, {4, 5, 0, 0}, {8, 9, 10, 0}}));
  CHECK_EQ(x.triu(1), tensor({{0, 1, 2, 3}, {0, 0, 6, 7}, {0, 0, 0, 11}}));
  CHECK_EQ(x.t().tril(-1), tensor({{0, 0, 0}, {1, 0, 0}, {2, 6, 0}, {3, 7, 11}}));
  CHECK_EQ(x.view({1, 3, 4}).triu(-1), tensor({{{0, 1, 2, 3}, {4, 5, 6, 7}, {0, 9, 10, 11}}}));
  CHECK_EQ(x.diagonal(), tensor({0, 5, 10}));
  CHECK_EQ(x.diagonal(1), tensor({1, 6, 11}));
  CHECK_EQ(x.diagonal(-2), tensor({8}));
  CHECK_EQ(x.diagonal(9), zeros({0}, kLong));
  CHECK_EQ(x.view({2, 3, 2}).diagonal(0, 0, 2), tensor({{0, 7}, {2, 9}, {4, 11}}));
  CHECK_ERROR(eye(-1), "n must be greater or equal to 0, got -1");
  CHECK_ERROR(linspace(0, 1, -1), "number of steps must be non-negative");
  CHECK_ERROR(zeros({3}).tril(), "tril: input tensor must have at least 2 dimensions");
  CHECK_ERROR(x.diagonal(0, 0, 0), "diagonal dimensions cannot be identical 0, 0");
}

// %%
TEST_CASE("addmm, mv, dot and outer") {
  const Tensor a = tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}});
  const Tensor v = tensor({1.0, -1.0, 0.5});
  CHECK_CLOSE(addmm(tensor({10.0, 20.0}), a, a.t()), tensor({{24.0, 52.0}, {42.0, 97.0}}));
  CHECK_CLOSE(addmm(ones({3, 3}), a.t(), a, 0.5, 2),
              tensor({{34.5, 44.5, 54.5}, {44.5, 58.5, 72.5}, {54.5, 72.5, 90.5}}));
  CHECK_CLOSE(addmm(full({2, 2}, NAN), a, a.t(), 0), tensor({{14.0, 32.0}, {32.0, 77.0}}));
  CHECK_CLOSE(addmm(zeros({2}), zeros({3, 0}), zeros({0, 2})), tensor({{0.0, 0.0}, {0.0, 0.0}, {0.0, 0.0}}));
  CHECK_CLOSE(a.mv(v), tensor({0.5, 2.0}));
  CHECK_CLOSE(dot(v, v), tensor(2.25));
  CHECK_CLOSE(outer(v, tensor({2.0, 3.0})), tensor({{2.0, 3.0}, {-2.0, -3.0}, {1.0, 1.5}}));
  CHECK_CLOSE(dot(zeros({0}), zeros({0})), tensor(0.0));
  CHECK_ERROR(addmm(v, a, a), "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)");
  CHECK_ERROR(addmm(v, v, a), "mat1 must be a matrix, got 1-D tensor");
  CHECK_ERROR(addmm(zeros({4}), a, a.t()),
              "The expanded size of the tensor (2) must match the existing size (4) at non-singleton "
              "dimension 1.  Target sizes: [2, 2].  Tensor sizes: [4]");
  CHECK_ERROR(addmm(zeros({2}, kDouble), a, a.t()),
              "self and mat2 must have the same dtype, but got Double and Float");
  CHECK_ERROR(a.mv(zeros({2})), "size mismatch, got input (2), mat (2x3), vec (2)");
  CHECK_ERROR(dot(a, a), "1D tensors expected, but got 2D and 2D tensors");
  CHECK_ERROR(dot(v, zeros({2})),
              "inconsistent tensor size, expected tensor [3] and src [2] to have the same number of "
              "elements, but got 3 and 2 elements respectively");
  CHECK_ERROR(outer(a, v), "outer: Expected 1-D argument self, but got 2-D");
}

// %%
TEST_CASE("einsum: products, traces, transposes, batches") {
  const Tensor a = tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}});
  const Tensor c = arange(12, kFloat).view({2, 3, 2});
  CHECK_CLOSE(einsum("ij,kj->ik", {a, a}), tensor({{14.0, 32.0}, {32.0, 77.0}}));
  CHECK_CLOSE(einsum("ij->ji", {a}), tensor({{1.0, 4.0}, {2.0, 5.0}, {3.0, 6.0}}));
  CHECK_CLOSE(einsum("ij->", {a}), tensor(21.0));
  CHECK_CLOSE(einsum("ba", {a}), tensor({{1.0, 4.0}, {2.0, 5.0}, {3.0, 6.0}}));
  CHECK_CLOSE(einsum("ij,ij->j", {a, a}), tensor({17.0, 29.0, 45.0}));
  CHECK_CLOSE(einsum("bij, bj -> bi", {c.transpose(1, 2), a}), tensor({{16.0, 22.0}, {124.0, 139.0}}));
  CHECK_CLOSE(einsum("bij,jk,bk->ki", {c, a.t().matmul(a).narrow(0, 0, 2), a}),
              tensor({{1046.0, 1436.0, 1826.0}, {1733.0, 2447.0, 3161.0}, {2592.0, 3726.0, 4860.0}}));
  CHECK_CLOSE(einsum("i,j->ij", {tensor({1.0, 2.0}), tensor({3.0, 4.0})}), tensor({{3.0, 4.0}, {6.0, 8.0}}));
  CHECK_CLOSE(einsum("ii->i", {a.slice(1, 0, 2)}), tensor({1.0, 5.0}));
  CHECK_CLOSE(einsum("ii", {a.slice(1, 0, 2)}), tensor(6.0));
  CHECK_CLOSE(einsum("iji->j", {c}), tensor({7.0, 11.0, 15.0}));
  CHECK_ERROR(
      einsum("ij,jk->ik", {a, a}),
      "einsum(): subscript j has size 2 for operand 1 which does not broadcast with previously seen size 3");
  CHECK_ERROR(einsum("ij,jk", {a}), "einsum(): fewer operands were provided than specified in the equation");
  CHECK_ERROR(einsum("ijk", {a}),
              "einsum(): the number of subscripts in the equation (3) does not match the number of "
              "dimensions (2) for operand 0 and no ellipsis was given");
  CHECK_ERROR(einsum("ij->iz", {a}),
              "einsum(): output subscript z does not appear in the equation for any input operand");
  CHECK_ERROR(einsum("ii->i", {a}),
              "einsum(): subscript i is repeated for operand 0 but the sizes don't match, 3 != 2");
  CHECK_ERROR(
      einsum("i1", {a}),
      "einsum(): invalid subscript given at index 1 in the equation string, subscripts must be in [a-zA-Z]");
}

// %%
//| export core/more_methods.cpp
namespace {
const Tensor& tensor_of(const MoreMethods* self) { return static_cast<const Tensor&>(*self); }
// In-place functions return the tensor they were given; methods hand that out as libtorch does.
Tensor& same(const Tensor& self) { return const_cast<Tensor&>(self); }
}  // namespace

Tensor MoreMethods::log1p() const { return tinytorch::log1p(tensor_of(this)); }
Tensor MoreMethods::expm1() const { return tinytorch::expm1(tensor_of(this)); }
Tensor MoreMethods::log2() const { return tinytorch::log2(tensor_of(this)); }
Tensor MoreMethods::log10() const { return tinytorch::log10(tensor_of(this)); }
Tensor MoreMethods::sin() const { return tinytorch::sin(tensor_of(this)); }
Tensor MoreMethods::cos() const { return tinytorch::cos(tensor_of(this)); }
Tensor MoreMethods::tan() const { return tinytorch::tan(tensor_of(this)); }
Tensor MoreMethods::atan() const { return tinytorch::atan(tensor_of(this)); }
Tensor MoreMethods::erf() const { return tinytorch::erf(tensor_of(this)); }
Tensor MoreMethods::floor() const { return tinytorch::floor(tensor_of(this)); }
Tensor MoreMethods::ceil() const { return tinytorch::ceil(tensor_of(this)); }
Tensor MoreMethods::round() const { return tinytorch::round(tensor_of(this)); }
Tensor MoreMethods::trunc() const { return tinytorch::trunc(tensor_of(this)); }
Tensor MoreMethods::reciprocal() const { return tinytorch::reciprocal(tensor_of(this)); }
Tensor MoreMethods::rsqrt() const { return tinytorch::rsqrt(tensor_of(this)); }
Tensor MoreMethods::square() const { return tinytorch::square(tensor_of(this)); }
Tensor MoreMethods::clamp(const std::optional<Scalar>& min, const std::optional<Scalar>& max) const {
  return tinytorch::clamp(tensor_of(this), min, max);
}
Tensor MoreMethods::clamp_min(const Scalar& min) const { return tinytorch::clamp_min(tensor_of(this), min); }
Tensor MoreMethods::clamp_max(const Scalar& max) const { return tinytorch::clamp_max(tensor_of(this), max); }
Tensor MoreMethods::maximum(const Tensor& other) const { return tinytorch::maximum(tensor_of(this), other); }
Tensor MoreMethods::minimum(const Tensor& other) const { return tinytorch::minimum(tensor_of(this), other); }
Tensor MoreMethods::remainder(const Tensor& other) const {
  return tinytorch::remainder(tensor_of(this), other);
}
Tensor MoreMethods::remainder(const Scalar& other) const {
  return tinytorch::remainder(tensor_of(this), other);
}
Tensor MoreMethods::floor_divide(const Tensor& other) const {
  return tinytorch::floor_divide(tensor_of(this), other);
}
Tensor MoreMethods::floor_divide(const Scalar& other) const {
  return tinytorch::floor_divide(tensor_of(this), other);
}
Tensor MoreMethods::logical_not() const { return tinytorch::logical_not(tensor_of(this)); }
Tensor MoreMethods::logical_and(const Tensor& other) const {
  return tinytorch::logical_and(tensor_of(this), other);
}
Tensor MoreMethods::logical_or(const Tensor& other) const {
  return tinytorch::logical_or(tensor_of(this), other);
}
Tensor MoreMethods::logical_xor(const Tensor& other) const {
  return tinytorch::logical_xor(tensor_of(this), other);
}
Tensor MoreMethods::bitwise_not() const { return tinytorch::bitwise_not(tensor_of(this)); }
Tensor MoreMethods::operator~() const { return tinytorch::bitwise_not(tensor_of(this)); }
Tensor MoreMethods::isnan() const { return tinytorch::isnan(tensor_of(this)); }
Tensor MoreMethods::isinf() const { return tinytorch::isinf(tensor_of(this)); }
Tensor MoreMethods::isfinite() const { return tinytorch::isfinite(tensor_of(this)); }
Tensor MoreMethods::lerp(const Tensor& end, const Scalar& weight) const {
  return tinytorch::lerp(tensor_of(this), end, weight);
}
Tensor MoreMethods::addcmul(const Tensor& tensor1, const Tensor& tensor2, const Scalar& value) const {
  return tinytorch::addcmul(tensor_of(this), tensor1, tensor2, value);
}
Tensor MoreMethods::addcdiv(const Tensor& tensor1, const Tensor& tensor2, const Scalar& value) const {
  return tinytorch::addcdiv(tensor_of(this), tensor1, tensor2, value);
}
Tensor MoreMethods::where(const Tensor& condition, const Tensor& other) const {
  return tinytorch::where(condition, tensor_of(this), other);
}
Tensor MoreMethods::masked_fill(const Tensor& mask, const Scalar& value) const {
  return tinytorch::masked_fill(tensor_of(this), mask, value);
}
Tensor MoreMethods::masked_fill(const Tensor& mask, const Tensor& value) const {
  return tinytorch::masked_fill(tensor_of(this), mask, value);
}

// %%
//| export core/more_methods.cpp
Tensor& MoreMethods::exp_() const { return same(tinytorch::exp_(tensor_of(this))); }
Tensor& MoreMethods::log_() const { return same(tinytorch::log_(tensor_of(this))); }
Tensor& MoreMethods::sqrt_() const { return same(tinytorch::sqrt_(tensor_of(this))); }
Tensor& MoreMethods::rsqrt_() const { return same(tinytorch::rsqrt_(tensor_of(this))); }
Tensor& MoreMethods::neg_() const { return same(tinytorch::neg_(tensor_of(this))); }
Tensor& MoreMethods::abs_() const { return same(tinytorch::abs_(tensor_of(this))); }
Tensor& MoreMethods::sin_() const { return same(tinytorch::sin_(tensor_of(this))); }
Tensor& MoreMethods::cos_() const { return same(tinytorch::cos_(tensor_of(this))); }
Tensor& MoreMethods::erf_() const { return same(tinytorch::erf_(tensor_of(this))); }
Tensor& MoreMethods::floor_() const { return same(tinytorch::floor_(tensor_of(this))); }
Tensor& MoreMethods::ceil_() const { return same(tinytorch::ceil_(tensor_of(this))); }
Tensor& MoreMethods::round_() const { return same(tinytorch::round_(tensor_of(this))); }
Tensor& MoreMethods::reciprocal_() const { return same(tinytorch::reciprocal_(tensor_of(this))); }
Tensor& MoreMethods::square_() const { return same(tinytorch::square_(tensor_of(this))); }
Tensor& MoreMethods::pow_(const Scalar& exponent) const {
  return same(tinytorch::pow_(tensor_of(this), exponent));
}
Tensor& MoreMethods::clamp_(const std::optional<Scalar>& min, const std::optional<Scalar>& max) const {
  return same(tinytorch::clamp_(tensor_of(this), min, max));
}
Tensor& MoreMethods::clamp_min_(const Scalar& min) const {
  return same(tinytorch::clamp_(tensor_of(this), min, std::nullopt));
}
Tensor& MoreMethods::clamp_max_(const Scalar& max) const {
  return same(tinytorch::clamp_(tensor_of(this), std::nullopt, max));
}
Tensor& MoreMethods::lerp_(const Tensor& end, const Scalar& weight) const {
  return same(tinytorch::lerp_(tensor_of(this), end, weight));
}
Tensor& MoreMethods::addcmul_(const Tensor& tensor1, const Tensor& tensor2, const Scalar& value) const {
  return same(tinytorch::addcmul_(tensor_of(this), tensor1, tensor2, value));
}
Tensor& MoreMethods::addcdiv_(const Tensor& tensor1, const Tensor& tensor2, const Scalar& value) const {
  return same(tinytorch::addcdiv_(tensor_of(this), tensor1, tensor2, value));
}
Tensor& MoreMethods::masked_fill_(const Tensor& mask, const Scalar& value) const {
  return same(tinytorch::masked_fill_(tensor_of(this), mask, value));
}
Tensor& MoreMethods::masked_fill_(const Tensor& mask, const Tensor& value) const {
  return same(tinytorch::masked_fill_(tensor_of(this), mask, value));
}
Tensor& MoreMethods::logical_not_() const {
  return same(tinytorch::copy_(tensor_of(this), tinytorch::logical_not(tensor_of(this))));
}

// %%
//| export core/more_methods.cpp
Tensor& MoreMethods::uniform_(double from, double to, std::optional<Generator> generator) const {
  return same(tinytorch::uniform_(tensor_of(this), from, to, std::move(generator)));
}
Tensor& MoreMethods::normal_(double mean, double std, std::optional<Generator> generator) const {
  return same(tinytorch::normal_(tensor_of(this), mean, std, std::move(generator)));
}
Tensor& MoreMethods::random_(std::int64_t from, std::optional<std::int64_t> to,
                             std::optional<Generator> generator) const {
  return same(tinytorch::random_(tensor_of(this), from, to, std::move(generator)));
}
Tensor& MoreMethods::random_(std::int64_t to, std::optional<Generator> generator) const {
  return same(tinytorch::random_(tensor_of(this), to, std::move(generator)));
}
Tensor& MoreMethods::random_(std::optional<Generator> generator) const {
  return same(tinytorch::random_(tensor_of(this), std::move(generator)));
}
Tensor& MoreMethods::bernoulli_(const Tensor& p, std::optional<Generator> generator) const {
  return same(tinytorch::bernoulli_(tensor_of(this), p, std::move(generator)));
}
Tensor& MoreMethods::bernoulli_(double p, std::optional<Generator> generator) const {
  return same(tinytorch::bernoulli_(tensor_of(this), p, std::move(generator)));
}
Tensor& MoreMethods::exponential_(double lambd, std::optional<Generator> generator) const {
  return same(tinytorch::exponential_(tensor_of(this), lambd, std::move(generator)));
}
Tensor MoreMethods::bernoulli(std::optional<Generator> generator) const {
  return tinytorch::bernoulli(tensor_of(this), std::move(generator));
}
Tensor MoreMethods::multinomial(std::int64_t num_samples, bool replacement,
                                std::optional<Generator> generator) const {
  return tinytorch::multinomial(tensor_of(this), num_samples, replacement, std::move(generator));
}

// %%
//| export core/more_methods.cpp
std::vector<Tensor> MoreMethods::chunk(std::int64_t chunks, std::int64_t dim) const {
  return tinytorch::chunk(tensor_of(this), chunks, dim);
}
std::vector<Tensor> MoreMethods::split(std::int64_t split_size, std::int64_t dim) const {
  return tinytorch::split(tensor_of(this), split_size, dim);
}
std::vector<Tensor> MoreMethods::split(IntArrayRef split_size, std::int64_t dim) const {
  return tinytorch::split_with_sizes(tensor_of(this), split_size, dim);
}
std::vector<Tensor> MoreMethods::split_with_sizes(IntArrayRef split_sizes, std::int64_t dim) const {
  return tinytorch::split_with_sizes(tensor_of(this), split_sizes, dim);
}
std::vector<Tensor> MoreMethods::unbind(std::int64_t dim) const {
  return tinytorch::unbind(tensor_of(this), dim);
}
Tensor MoreMethods::repeat(IntArrayRef repeats) const { return tinytorch::repeat(tensor_of(this), repeats); }
Tensor MoreMethods::flip(IntArrayRef dims) const { return tinytorch::flip(tensor_of(this), dims); }

// %%
//| export core/more_methods.cpp
Tensor MoreMethods::index(ArrayRef<indexing::TensorIndex> indices) const {
  return tinytorch::index(tensor_of(this), indices);
}
Tensor MoreMethods::index(std::initializer_list<indexing::TensorIndex> indices) const {
  return tinytorch::index(tensor_of(this), ArrayRef<indexing::TensorIndex>(indices));
}
Tensor MoreMethods::index(const std::vector<std::optional<Tensor>>& indices) const {
  return tinytorch::index(tensor_of(this), indices);
}
Tensor& MoreMethods::index_put_(ArrayRef<indexing::TensorIndex> indices, const Tensor& rhs) const {
  return same(tinytorch::index_put_(tensor_of(this), indices, rhs));
}
Tensor& MoreMethods::index_put_(ArrayRef<indexing::TensorIndex> indices, const Scalar& v) const {
  return same(
      tinytorch::index_put_(tensor_of(this), indices, tinytorch::full({}, v, tensor_of(this).options())));
}
Tensor& MoreMethods::index_put_(std::initializer_list<indexing::TensorIndex> indices,
                                const Tensor& rhs) const {
  return same(tinytorch::index_put_(tensor_of(this), ArrayRef<indexing::TensorIndex>(indices), rhs));
}
Tensor& MoreMethods::index_put_(std::initializer_list<indexing::TensorIndex> indices, const Scalar& v) const {
  return same(tinytorch::index_put_(tensor_of(this), ArrayRef<indexing::TensorIndex>(indices),
                                    tinytorch::full({}, v, tensor_of(this).options())));
}
Tensor& MoreMethods::index_put_(const std::vector<std::optional<Tensor>>& indices, const Tensor& values,
                                bool accumulate) const {
  return same(tinytorch::index_put_(tensor_of(this), indices, values, accumulate));
}
Tensor MoreMethods::index_select(std::int64_t dim, const Tensor& index) const {
  return tinytorch::index_select(tensor_of(this), dim, index);
}
Tensor& MoreMethods::index_add_(std::int64_t dim, const Tensor& index, const Tensor& source,
                                const Scalar& alpha) const {
  return same(tinytorch::index_add_(tensor_of(this), dim, index, source, alpha));
}
Tensor MoreMethods::index_add(std::int64_t dim, const Tensor& index, const Tensor& source,
                              const Scalar& alpha) const {
  return tinytorch::index_add(tensor_of(this), dim, index, source, alpha);
}
Tensor MoreMethods::gather(std::int64_t dim, const Tensor& index, bool sparse_grad) const {
  return tinytorch::gather(tensor_of(this), dim, index, sparse_grad);
}
Tensor& MoreMethods::scatter_(std::int64_t dim, const Tensor& index, const Tensor& src) const {
  return same(tinytorch::scatter_(tensor_of(this), dim, index, src));
}
Tensor& MoreMethods::scatter_(std::int64_t dim, const Tensor& index, const Scalar& value) const {
  return same(tinytorch::scatter_(tensor_of(this), dim, index, value));
}
Tensor MoreMethods::scatter(std::int64_t dim, const Tensor& index, const Tensor& src) const {
  return tinytorch::scatter(tensor_of(this), dim, index, src);
}
Tensor MoreMethods::scatter(std::int64_t dim, const Tensor& index, const Scalar& value) const {
  return tinytorch::scatter(tensor_of(this), dim, index, value);
}
Tensor& MoreMethods::scatter_add_(std::int64_t dim, const Tensor& index, const Tensor& src) const {
  return same(tinytorch::scatter_add_(tensor_of(this), dim, index, src));
}
Tensor MoreMethods::scatter_add(std::int64_t dim, const Tensor& index, const Tensor& src) const {
  return tinytorch::scatter_add(tensor_of(this), dim, index, src);
}
Tensor MoreMethods::masked_select(const Tensor& mask) const {
  return tinytorch::masked_select(tensor_of(this), mask);
}
Tensor MoreMethods::nonzero() const { return tinytorch::nonzero(tensor_of(this)); }

// %%
//| export core/more_methods.cpp
Tensor MoreMethods::prod() const { return tinytorch::prod(tensor_of(this)); }
Tensor MoreMethods::prod(std::int64_t dim, bool keepdim) const {
  return tinytorch::prod(tensor_of(this), dim, keepdim);
}
Tensor MoreMethods::amin(IntArrayRef dim, bool keepdim) const {
  return tinytorch::amin(tensor_of(this), dim, keepdim);
}
Tensor MoreMethods::min() const { return tinytorch::min(tensor_of(this)); }
std::tuple<Tensor, Tensor> MoreMethods::min(std::int64_t dim, bool keepdim) const {
  return tinytorch::min(tensor_of(this), dim, keepdim);
}
Tensor MoreMethods::argmin(std::optional<std::int64_t> dim, bool keepdim) const {
  return tinytorch::argmin(tensor_of(this), dim, keepdim);
}
Tensor MoreMethods::any() const { return tinytorch::any(tensor_of(this)); }
Tensor MoreMethods::any(std::int64_t dim, bool keepdim) const {
  return tinytorch::any(tensor_of(this), dim, keepdim);
}
Tensor MoreMethods::all() const { return tinytorch::all(tensor_of(this)); }
Tensor MoreMethods::all(std::int64_t dim, bool keepdim) const {
  return tinytorch::all(tensor_of(this), dim, keepdim);
}
Tensor MoreMethods::var() const { return tinytorch::var(tensor_of(this)); }
template <std::same_as<bool> Bool>
Tensor MoreMethods::var(Bool unbiased) const {
  return tinytorch::var(tensor_of(this), IntArrayRef(), unbiased);
}
template Tensor MoreMethods::var(bool) const;
Tensor MoreMethods::var(IntArrayRef dim, bool unbiased, bool keepdim) const {
  return tinytorch::var(tensor_of(this), dim, unbiased, keepdim);
}
Tensor MoreMethods::std() const { return tinytorch::std(tensor_of(this)); }
template <std::same_as<bool> Bool>
Tensor MoreMethods::std(Bool unbiased) const {
  return tinytorch::std(tensor_of(this), IntArrayRef(), unbiased);
}
template Tensor MoreMethods::std(bool) const;
Tensor MoreMethods::std(IntArrayRef dim, bool unbiased, bool keepdim) const {
  return tinytorch::std(tensor_of(this), dim, unbiased, keepdim);
}
Tensor MoreMethods::norm(const Scalar& p) const { return tinytorch::norm(tensor_of(this), p); }
Tensor MoreMethods::norm(const std::optional<Scalar>& p, IntArrayRef dim, bool keepdim) const {
  return tinytorch::norm(tensor_of(this), p, dim, keepdim);
}
Tensor MoreMethods::cumsum(std::int64_t dim) const { return tinytorch::cumsum(tensor_of(this), dim); }
std::tuple<Tensor, Tensor> MoreMethods::sort(std::int64_t dim, bool descending) const {
  return tinytorch::sort(tensor_of(this), dim, descending);
}
Tensor MoreMethods::argsort(std::int64_t dim, bool descending) const {
  return tinytorch::argsort(tensor_of(this), dim, descending);
}
std::tuple<Tensor, Tensor> MoreMethods::topk(std::int64_t k, std::int64_t dim, bool largest,
                                             bool sorted) const {
  return tinytorch::topk(tensor_of(this), k, dim, largest, sorted);
}

// %%
//| export core/more_methods.cpp
Tensor MoreMethods::tril(std::int64_t diagonal) const { return tinytorch::tril(tensor_of(this), diagonal); }
Tensor MoreMethods::triu(std::int64_t diagonal) const { return tinytorch::triu(tensor_of(this), diagonal); }
Tensor MoreMethods::diagonal(std::int64_t offset, std::int64_t dim1, std::int64_t dim2) const {
  return tinytorch::diagonal(tensor_of(this), offset, dim1, dim2);
}
Tensor MoreMethods::addmm(const Tensor& mat1, const Tensor& mat2, const Scalar& beta,
                          const Scalar& alpha) const {
  return tinytorch::addmm(tensor_of(this), mat1, mat2, beta, alpha);
}
Tensor MoreMethods::mv(const Tensor& vec) const { return tinytorch::mv(tensor_of(this), vec); }
Tensor MoreMethods::dot(const Tensor& tensor) const { return tinytorch::dot(tensor_of(this), tensor); }
Tensor MoreMethods::outer(const Tensor& vec2) const { return tinytorch::outer(tensor_of(this), vec2); }

// %%
}  // namespace tinytorch
