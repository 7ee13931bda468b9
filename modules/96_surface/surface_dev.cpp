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
// # Library chapter 96: The surface of a tensor
//
// Where values come from, and how they come out again: `tensor({{1, 2}, {3, 4}})`, ranges, memory that someone else owns, random numbers, and printing. And the methods of
// `Tensor` that the operators of chapters 90 and 91 add. No exercises.
//
//     {{1, 2}, {3, 4}}   arange   from_blob   randn  ---->  Tensor  ---->  x.log().max(1)   std::cout << x

// %%
//| after 01
//| export core/more_methods.h
#include <concepts>
#include <initializer_list>
#include <optional>
#include <tuple>
#include <vector>
#include <string_view>
#include "tinytorch/core/array_ref.h"
#include "tinytorch/core/generator.h"
#include "tinytorch/core/optional_array_ref.h"
#include "tinytorch/core/scalar.h"

// %%
//| export core/more_methods.h
//| extends Tensor
namespace tinytorch {

class Tensor;
template <class T>
class List;
namespace indexing {
class TensorIndex;
}

// The Tensor methods of the operators of chapters 90, 91 and 96 (ops.h); each calls the function of its name, where it is documented. Further forms of arguments are chapter 60's.
class MoreMethods {
 public:
  // Shapes.
  Tensor view_as(const Tensor& other) const;
  Tensor flatten(std::int64_t start_dim = 0, std::int64_t end_dim = -1) const;
  Tensor squeeze() const;
  Tensor squeeze(std::int64_t dim) const;
  Tensor squeeze(IntArrayRef dim) const;
  Tensor unsqueeze(std::int64_t dim) const;
  Tensor permute(IntArrayRef dims) const;
  Tensor transpose(std::int64_t dim0, std::int64_t dim1) const;
  Tensor t() const;
  Tensor expand_as(const Tensor& other) const;
  Tensor narrow(std::int64_t dim, std::int64_t start, std::int64_t length) const;
  Tensor narrow(std::int64_t dim, const Tensor& start, std::int64_t length) const;

  // Arithmetic.
  Tensor sub(const Tensor& other, const Scalar& alpha = 1) const;
  Tensor sub(const Scalar& other, const Scalar& alpha = 1) const;
  Tensor& sub_(const Tensor& other, const Scalar& alpha = 1) const;
  Tensor& sub_(const Scalar& other, const Scalar& alpha = 1) const;
  Tensor div(const Tensor& other) const;
  Tensor div(const Scalar& other) const;
  Tensor& div_(const Tensor& other) const;
  Tensor& div_(const Scalar& other) const;
  Tensor div(const Tensor& other, std::optional<std::string_view> rounding_mode) const;
  Tensor div(const Scalar& other, std::optional<std::string_view> rounding_mode) const;
  Tensor& div_(const Tensor& other, std::optional<std::string_view> rounding_mode) const;
  Tensor& div_(const Scalar& other, std::optional<std::string_view> rounding_mode) const;
  Tensor& operator-=(const Tensor& other) const { return sub_(other); }
  Tensor& operator-=(const Scalar& other) const { return sub_(other); }
  Tensor& operator/=(const Tensor& other) const { return div_(other); }
  Tensor& operator/=(const Scalar& other) const { return div_(other); }
  Tensor pow(const Scalar& exponent) const;
  Tensor pow(const Tensor& exponent) const;
  Tensor abs() const;
  Tensor sign() const;
  Tensor log() const;
  Tensor sqrt() const;

  // Comparison, elementwise; equal() compares whole tensors.
  Tensor eq(const Tensor& other) const;
  Tensor eq(const Scalar& other) const;
  Tensor ne(const Tensor& other) const;
  Tensor ne(const Scalar& other) const;
  Tensor lt(const Tensor& other) const;
  Tensor lt(const Scalar& other) const;
  Tensor le(const Tensor& other) const;
  Tensor le(const Scalar& other) const;
  Tensor gt(const Tensor& other) const;
  Tensor gt(const Scalar& other) const;
  Tensor ge(const Tensor& other) const;
  Tensor ge(const Scalar& other) const;
  bool equal(const Tensor& other) const;
  bool allclose(const Tensor& other, double rtol = 1e-5, double atol = 1e-8, bool equal_nan = false) const;

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
  Tensor round(std::int64_t decimals) const;
  Tensor trunc() const;
  Tensor reciprocal() const;
  Tensor rsqrt() const;
  Tensor square() const;
  Tensor clamp(const std::optional<Scalar>& min, const std::optional<Scalar>& max = std::nullopt) const;
  Tensor clamp(const Tensor& min, const Tensor& max) const;  // bounds by element; chapter 74
  Tensor clamp_min(const Scalar& min) const;
  Tensor clamp_max(const Scalar& max) const;
  Tensor clamp_min(const Tensor& min) const;
  Tensor clamp_max(const Tensor& max) const;
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
  Tensor lerp(const Tensor& end, const Tensor& weight) const;
  Tensor addcmul(const Tensor& tensor1, const Tensor& tensor2, const Scalar& value = 1) const;
  Tensor addcdiv(const Tensor& tensor1, const Tensor& tensor2, const Scalar& value = 1) const;
  Tensor where(const Tensor& condition, const Tensor& other) const;
  Tensor where(const Tensor& condition, const Scalar& other) const;
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
  Tensor& round_(std::int64_t decimals) const;
  Tensor& reciprocal_() const;
  Tensor& square_() const;
  Tensor& pow_(const Scalar& exponent) const;
  Tensor& pow_(const Tensor& exponent) const;
  Tensor& clamp_(const std::optional<Scalar>& min, const std::optional<Scalar>& max = std::nullopt) const;
  Tensor& clamp_min_(const Scalar& min) const;
  Tensor& clamp_max_(const Scalar& max) const;
  Tensor& clamp_min_(const Tensor& min) const;
  Tensor& clamp_max_(const Tensor& max) const;
  Tensor& lerp_(const Tensor& end, const Scalar& weight) const;
  Tensor& lerp_(const Tensor& end, const Tensor& weight) const;
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
  Tensor& cauchy_(double median = 0, double sigma = 1, std::optional<Generator> generator = std::nullopt) const;
  Tensor& log_normal_(double mean = 1, double std = 2, std::optional<Generator> generator = std::nullopt) const;
  Tensor& geometric_(double p, std::optional<Generator> generator = std::nullopt) const;
  Tensor bernoulli(std::optional<Generator> generator = std::nullopt) const;
  Tensor bernoulli(double p, std::optional<Generator> generator = std::nullopt) const;
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
  Tensor index(const List<std::optional<Tensor>>& indices) const;
  Tensor& index_put_(ArrayRef<indexing::TensorIndex> indices, const Tensor& rhs) const;
  Tensor& index_put_(ArrayRef<indexing::TensorIndex> indices, const Scalar& v) const;
  Tensor& index_put_(std::initializer_list<indexing::TensorIndex> indices, const Tensor& rhs) const;
  Tensor& index_put_(std::initializer_list<indexing::TensorIndex> indices, const Scalar& v) const;
  Tensor& index_put_(const std::vector<std::optional<Tensor>>& indices, const Tensor& values,
                     bool accumulate = false) const;
  Tensor& index_put_(const List<std::optional<Tensor>>& indices, const Tensor& values, bool accumulate = false) const;
  Tensor index_select(std::int64_t dim, const Tensor& index) const;
  Tensor& index_add_(std::int64_t dim, const Tensor& index, const Tensor& source,
                     const Scalar& alpha = 1) const;
  Tensor index_add(std::int64_t dim, const Tensor& index, const Tensor& source,
                   const Scalar& alpha = 1) const;
  Tensor gather(std::int64_t dim, const Tensor& index, bool sparse_grad = false) const;
  Tensor& scatter_(std::int64_t dim, const Tensor& index, const Tensor& src) const;
  Tensor& scatter_(std::int64_t dim, const Tensor& index, const Scalar& value) const;
  // What is there and what comes are joined, by "add" or "multiply"; chapter 74.
  Tensor& scatter_(std::int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce) const;
  Tensor& scatter_(std::int64_t dim, const Tensor& index, const Scalar& value, std::string_view reduce) const;
  Tensor scatter(std::int64_t dim, const Tensor& index, const Tensor& src) const;
  Tensor scatter(std::int64_t dim, const Tensor& index, const Scalar& value) const;
  Tensor scatter(std::int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce) const;
  Tensor scatter(std::int64_t dim, const Tensor& index, const Scalar& value, std::string_view reduce) const;
  Tensor& scatter_add_(std::int64_t dim, const Tensor& index, const Tensor& src) const;
  Tensor scatter_add(std::int64_t dim, const Tensor& index, const Tensor& src) const;
  Tensor masked_select(const Tensor& mask) const;
  Tensor nonzero() const;

  // Reductions.
  Tensor mean() const;
  Tensor mean(IntArrayRef dim, bool keepdim = false) const;
  Tensor mean(std::optional<ScalarType> dtype) const;
  Tensor mean(IntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) const;
  template <OptionalDims Dims>
  Tensor mean(const Dims& dim, bool keepdim = false, std::optional<ScalarType> dtype = std::nullopt) const;
  Tensor amax(IntArrayRef dim = {}, bool keepdim = false) const;
  Tensor max() const;
  Tensor max(const Tensor& other) const;
  std::tuple<Tensor, Tensor> max(std::int64_t dim, bool keepdim = false) const;
  Tensor argmax() const;
  Tensor argmax(std::int64_t dim, bool keepdim = false) const;
  Tensor argmax(std::optional<std::int64_t> dim, bool keepdim = false) const;
  Tensor prod() const;
  Tensor prod(std::int64_t dim, bool keepdim = false) const;
  Tensor prod(std::optional<ScalarType> dtype) const;
  Tensor prod(std::int64_t dim, bool keepdim, std::optional<ScalarType> dtype) const;
  Tensor amin(IntArrayRef dim = {}, bool keepdim = false) const;
  Tensor min() const;
  Tensor min(const Tensor& other) const;
  std::tuple<Tensor, Tensor> min(std::int64_t dim, bool keepdim = false) const;
  Tensor argmin(std::optional<std::int64_t> dim = std::nullopt, bool keepdim = false) const;
  Tensor any() const;
  Tensor any(std::int64_t dim, bool keepdim = false) const;
  Tensor any(const OptionalIntArrayRef& dim, bool keepdim) const;
  Tensor all() const;
  Tensor all(std::int64_t dim, bool keepdim = false) const;
  Tensor all(const OptionalIntArrayRef& dim, bool keepdim) const;
  // var({1}) means dimension 1: a plain bool parameter would take {1} for `true`.
  Tensor var() const;
  template <std::same_as<bool> Bool>
  Tensor var(Bool unbiased) const;
  Tensor var(IntArrayRef dim, bool unbiased = true, bool keepdim = false) const;
  Tensor var(IntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim = false) const;
  template <OptionalDims Dims, class Correction>
  Tensor var(const Dims& dim, const Correction& correction, bool keepdim = false) const;
  Tensor std() const;
  template <std::same_as<bool> Bool>
  Tensor std(Bool unbiased) const;
  Tensor std(IntArrayRef dim, bool unbiased = true, bool keepdim = false) const;
  Tensor std(IntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim = false) const;
  template <OptionalDims Dims, class Correction>
  Tensor std(const Dims& dim, const Correction& correction, bool keepdim = false) const;
  Tensor norm(const Scalar& p = 2) const;
  Tensor norm(const std::optional<Scalar>& p, IntArrayRef dim, bool keepdim = false) const;
  Tensor norm(const std::optional<Scalar>& p, ScalarType dtype) const;
  Tensor norm(const std::optional<Scalar>& p, IntArrayRef dim, bool keepdim, ScalarType dtype) const;
  Tensor cumsum(std::int64_t dim) const;
  Tensor cumsum(std::int64_t dim, std::optional<ScalarType> dtype) const;
  std::tuple<Tensor, Tensor> sort(std::int64_t dim = -1, bool descending = false) const;
  std::tuple<Tensor, Tensor> sort(std::optional<bool> stable, std::int64_t dim = -1, bool descending = false) const;
  Tensor argsort(std::int64_t dim = -1, bool descending = false) const;
  Tensor argsort(bool stable, std::int64_t dim, bool descending = false) const;
  std::tuple<Tensor, Tensor> topk(std::int64_t k, std::int64_t dim = -1, bool largest = true,
                                  bool sorted = true) const;

  // Matrices.
  Tensor bmm(const Tensor& mat2) const;
  Tensor matmul(const Tensor& other) const;
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
//| export core/tensor_data.h
#include <functional>
#include <ostream>
#include <string>
#include <vector>
#include "tinytorch/core/pointwise_ops.h"
//| export core/random.h
#include "tinytorch/core/generator.h"
#include "tinytorch/core/pointwise_ops.h"
//| export core/ops.h
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/matrix_ops.h"
#include "tinytorch/core/pointwise_ops.h"
#include "tinytorch/core/reduction_ops.h"
#include "tinytorch/core/warning.h"
//| export core/more_ops.h
#include "tinytorch/core/ops.h"
#include "tinytorch/core/random.h"
//| export core/random.cpp
#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>
#include "tinytorch/core/index_loops.h"
#include "tinytorch/core/more_ops.h"
//| export core/creation.cpp
#include "tinytorch/core/basic_ops.h"
#include "tinytorch/core/loops.h"
//| export core/more_creation.cpp
#include <cmath>
#include "tinytorch/core/ops.h"
//| export core/more_methods.cpp
#include "tinytorch/core/more_ops.h"
//| export core/formatting.h
#include <ostream>
#include "tinytorch/core/ops.h"
//| export core/formatting.cpp
#include <algorithm>
#include <charconv>
#include <cmath>
#include <iomanip>
#include <limits>
#include <string>
#include <vector>
#include "tinytorch/core/ops.h"

// %%
#include <cmath>
#include <limits>
#include <sstream>
#include "tinytorch/core/formatting.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %%
//| export core/more_ops.h
static_assert(sizeof(Tensor) == sizeof(void*), "a Tensor is a handle, one pointer wide");

// %% [markdown]
// ## Tensors from values
//
// Nested braces of any depth become one `TensorData`, because each level is an `initializer_list` of the level below.
//
//     tensor({{1, 2}, {3, 4}})
//             |   |
//             +---+--> TensorData sizes (2), values 1 2  --+
//                      TensorData sizes (2), values 3 4  --+--> sizes (2, 2), values 1 2 3 4, all Int
//
// Values keep the type they have in C++, and all must have the same one: `{1.0, NAN}` is a double and a float, and an error, because nobody can tell which was meant. The tensor's dtype follows from the
// type by a rule of its own: int and int64 make Long, float and double the default dtype, everything else stays. So `tensor({1, 2})` is what Python's `torch.tensor([1, 2])` is.

// %%
//| export core/tensor_data.h
// Nested braces of any depth as one value: what `tensor({{1, 2}, {3, 4}})` receives. All values must have one type, and the levels equal lengths.
// Source: torch/csrc/api/include/torch/detail/TensorDataContainer.h.
class TensorData {
 public:
  template <class T>
    requires(std::is_arithmetic_v<T> || ReducedFloat<T>)
  TensorData(T value) : type_(scalar_type_of<T>()), values_{Scalar(value)} {}
  TensorData(std::initializer_list<TensorData> rows);
  template <class T>
  TensorData(const std::vector<T>& values) : TensorData(values.data(), values.size()) {}
  template <class T, std::size_t N>
  TensorData(const std::array<T, N>& values) : TensorData(values.data(), N) {}
  template <class T>
  TensorData(ArrayRef<T> values) : TensorData(values.data(), values.size()) {}

  const DimVector& sizes() const { return sizes_; }
  ScalarType type() const { return type_; }  // of the values
  const std::vector<Scalar>& values() const { return values_; }

 private:
  template <class T>
  TensorData(const T* values, std::size_t count) : type_(scalar_type_of<T>()), values_(values, values + count) {
    sizes_.push_back(static_cast<std::int64_t>(count));
  }
  TensorData(const bool*, std::size_t) = delete;
  DimVector sizes_;
  ScalarType type_;
  std::vector<Scalar> values_;
};

std::ostream& operator<<(std::ostream& out, const TensorData& data);  // {{1, 2}, {3, 4}}

// Without a dtype in the options: Long of ints and int64s, the default dtype of floats and doubles, else the values' own.
Tensor tensor(const TensorData& data, const TensorOptions& options = {});
inline Tensor scalar_tensor(const Scalar& value, const TensorOptions& options = {}) { return full({}, value, options.dtype(options.dtype())); }

// A tensor over memory that someone else owns; `deleter` is called with its address when the last view is gone. `strides` are counted in elements, `storage_offset` too;
// without strides the memory is dense, the last dimension fastest. Throws for a negative size or stride. Source: aten/src/ATen/templates/Functions.h.
Tensor from_blob(void* data, IntArrayRef sizes, const TensorOptions& options = {});
Tensor from_blob(void* data, IntArrayRef sizes, std::function<void(void*)> deleter, const TensorOptions& options = {});
Tensor from_blob(void* data, IntArrayRef sizes, IntArrayRef strides, const TensorOptions& options = {});
Tensor from_blob(void* data, IntArrayRef sizes, IntArrayRef strides, std::function<void(void*)> deleter, const TensorOptions& options = {});
Tensor from_blob(void* data, IntArrayRef sizes, IntArrayRef strides, std::int64_t storage_offset, std::function<void(void*)> deleter, const TensorOptions& options = {});

// %%
//| export core/tensor_data.cpp
namespace {
// The values of dimension `dim` and those behind it; `value` is the next one.
void write_braces(std::ostream& out, const TensorData& data, std::size_t dim, const Scalar*& value) {
  if (dim == data.sizes().size()) {
    const Scalar& one = *value++;
    if (one.isFloatingPoint()) out << one.toDouble();
    else out << one.toLong();
    return;
  }
  out << '{';
  for (std::int64_t i = 0; i < data.sizes()[dim]; ++i) {
    if (i > 0) out << ", ";
    write_braces(out, data, dim + 1, value);
  }
  out << '}';
}

std::string with_blanks(IntArrayRef sizes) {
  std::string text;
  for (const std::int64_t size : sizes) text.append(text.empty() ? "" : " ").append(std::to_string(size));
  return text;
}
}  // namespace

std::ostream& operator<<(std::ostream& out, const TensorData& data) {
  const Scalar* first = data.values().data();
  write_braces(out, data, 0, first);
  return out;
}

// %%
//| export core/tensor_data.cpp
TensorData::TensorData(std::initializer_list<TensorData> rows) : type_(get_default_dtype()) {
  sizes_.push_back(static_cast<std::int64_t>(rows.size()));
  if (rows.size() == 0) return;
  const TensorData& first = *rows.begin();
  type_ = first.type_;
  for (const std::int64_t size : first.sizes_) sizes_.push_back(size);
  for (const TensorData& row : rows) {
    TORCH_CHECK(IntArrayRef(row.sizes_) == IntArrayRef(first.sizes_), "Expected all sub-lists to have sizes: ", with_blanks(first.sizes_), " (e.g. ", first,
                "), but got sub-list ", row, " with sizes: ", with_blanks(row.sizes_));
    TORCH_CHECK(row.type_ == first.type_, "Expected all elements of the tensor to have the same scalar type: ", first.type_,
                ", but got element of scalar type: ", row.type_, "\n[tensor] write all values in one C++ type: 1.0 is a double, 1.0F and NAN are floats.");
    values_.insert(values_.end(), row.values_.begin(), row.values_.end());
  }
}

// %%
//| export core/tensor_data.cpp
Tensor tensor(const TensorData& data, const TensorOptions& options) {
  const ScalarType type = data.type() == kInt ? kLong : data.type() == kFloat || data.type() == kDouble ? get_default_dtype() : data.type();
  Tensor result = empty(data.sizes(), options.dtype_opt().value_or(type));
  dispatch_stored_types(result.scalar_type(), [&]<class T>() {
    T* out = result.data<T>();
    for (const Scalar& value : data.values()) *out++ = value.to<T>();
  });
  return created(result, options);
}

// %%
//| export core/tensor_data.cpp
Tensor from_blob(void* data, IntArrayRef sizes, IntArrayRef strides, std::int64_t storage_offset, std::function<void(void*)> deleter, const TensorOptions& options) {
  using Callback = std::function<void(void*)>;
  TORCH_CHECK(sizes.size() == strides.size(), "dimensionality of sizes (", sizes.size(), ") must match dimensionality of strides (", strides.size(), ")");
  std::int64_t elements = multiply_sizes(sizes) == 0 ? 0 : storage_offset + 1;
  for (std::size_t d = 0; d < sizes.size(); ++d) {
    TORCH_CHECK(strides[d] >= 0, "Storage size calculation overflowed with sizes=", sizes, " and strides=", strides, "\n[from_blob] a stride must not be negative.");
    if (elements > 0) elements += (sizes[d] - 1) * strides[d];
  }
  const std::size_t nbytes = static_cast<std::size_t>(elements) * elementSize(options.dtype());
  auto release = [](void* address, std::size_t, void* context) {
    const std::unique_ptr<Callback> callback(static_cast<Callback*>(context));
    if (*callback) (*callback)(address);
  };
  auto storage = make_intrusive<StorageImpl>(data, nbytes, release, new Callback(std::move(deleter)));
  const LayerSet layers = LayerSet(Layer::CPU) | birth_layers;
  return created(make_tensor(std::move(storage), options.dtype(), layers, sizes, strides, storage_offset), options);
}

Tensor from_blob(void* data, IntArrayRef sizes, IntArrayRef strides, std::function<void(void*)> deleter, const TensorOptions& options) {
  return from_blob(data, sizes, strides, 0, std::move(deleter), options);
}
Tensor from_blob(void* data, IntArrayRef sizes, IntArrayRef strides, const TensorOptions& options) { return from_blob(data, sizes, strides, 0, nullptr, options); }
Tensor from_blob(void* data, IntArrayRef sizes, std::function<void(void*)> deleter, const TensorOptions& options) {
  return from_blob(data, sizes, contiguous_strides(sizes), 0, std::move(deleter), options);
}
Tensor from_blob(void* data, IntArrayRef sizes, const TensorOptions& options) { return from_blob(data, sizes, contiguous_strides(sizes), 0, nullptr, options); }

// %%
TEST_CASE("tensors from values, ranges and memory") {
  CHECK_EQ(tensor({{1, 2}, {3, 4}}).sizes(), IntArrayRef({2, 2}));
  CHECK_EQ(tensor({1, 2}).scalar_type(), kLong);
  CHECK_EQ(tensor({1.5}).scalar_type(), kFloat);
  CHECK_EQ(tensor(true).dim(), 0);
  CHECK_EQ(tensor({}).sizes(), IntArrayRef({0}));
  CHECK_ERROR(tensor({{1, 2}, {3}}), "Expected all sub-lists to have sizes: 2 (e.g. {1, 2}), but got sub-list {3} with sizes: 1");
  const std::int64_t two = 2;
  CHECK_ERROR(tensor({1.0, 2.0F}), "Expected all elements of the tensor to have the same scalar type: Double, but got element of scalar type: Float");
  CHECK_ERROR(tensor({{1}, {two}}), "Expected all elements of the tensor to have the same scalar type: Int, but got element of scalar type: Long");
  CHECK_ERROR(tensor({1, 2.0}), "Expected all elements of the tensor to have the same scalar type: Int, but got element of scalar type: Double");
  CHECK_EQ(tensor({two, two}).scalar_type(), kLong);
  CHECK_EQ(tensor({1.5F}).scalar_type(), kFloat);
  CHECK_EQ(tensor(std::vector<double>{1.5}).scalar_type(), kFloat);
  CHECK_EQ(tensor(std::vector<std::uint8_t>{255}), full({1}, 255, kByte));
  CHECK_EQ(tensor(static_cast<short>(2)).scalar_type(), kShort);
  CHECK_EQ(tensor({Half(1.5), Half(2.0)}).scalar_type(), kHalf);
  CHECK_EQ(str(TensorData{{1.5, 2.0}, {0.25, 3.0}}), "{{1.5, 2}, {0.25, 3}}");
  CHECK_ERROR(full({2}, 300, kByte), "value cannot be converted to type uint8_t without overflow");
  CHECK_EQ(arange(5, 0, -2), tensor({5, 3, 1}));
  CHECK_EQ(arange(0, 1, 0.3).numel(), 4);
  CHECK_EQ(full({2}, 3).scalar_type(), kLong);
  CHECK_EQ(zeros_like(arange(2)), tensor({0, 0}));

  float memory[] = {1, 2, 3, 4};
  int freed = 0;
  {
    Tensor whole = from_blob(memory, {2, 2}, [&freed](void*) { ++freed; });
    const Tensor row = whole[1];
    whole = Tensor();
    row[0] = 30;
    CHECK_EQ(freed, 0);
  }
  CHECK_EQ(freed, 1);
  CHECK_EQ(memory[2], 30.0F);
  CHECK_EQ(from_blob(memory, {2, 2}, IntArrayRef{1, 2}), tensor({{1.0, 30.0}, {2.0, 4.0}}));
  CHECK_EQ(from_blob(memory, {2}, IntArrayRef{2}, 1, [&freed](void*) { ++freed; }), tensor({2.0, 4.0}));
  CHECK_EQ(freed, 2);
  CHECK_EQ(from_blob(memory, {2}, IntArrayRef{3}, [&freed](void*) { ++freed; }, kFloat).storage()->nbytes(), 16);
  CHECK_ERROR(from_blob(memory, {2, 2}, IntArrayRef{1}), "dimensionality of sizes (2) must match dimensionality of strides (1)");
  CHECK_ERROR(from_blob(memory, {2}, IntArrayRef{-1}), "Storage size calculation overflowed with sizes=[2] and strides=[-1]");
}

// %% [markdown]
// ## New tensors
//
// First the functions that module 01 declares. Each factory ends with `created`, an operator, so that a later module hears of every tensor that asks for its layer; most ask for nothing, and then there is no call.
//
// Source: aten/src/ATen/native/{TensorFactories,RangeFactories}.cpp.

// %%
//| export core/creation.cpp
namespace {
Tensor created_cpu(const Tensor& fresh, const TensorOptions&) { return fresh; }
// Most new tensors ask for nothing, so they need no call.
bool ask_for_nothing(const TensorOptions& options) {
  return options.layers() == LayerSet(Layer::CPU) && options.device().is_cpu() && (thread_state().modes & birth_modes) == 0;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const TensorOptions&)> op::created("created", {.cpu = created_cpu});
Tensor created(const Tensor& fresh, const TensorOptions& options) {
  require_device("empty", options.device());
  return op::created(to_device(fresh, options.device()), options);
}

// %%
//| export core/creation.cpp
Tensor empty(IntArrayRef size, const TensorOptions& options) {
  if (options.has_memory_format()) return empty(size, options, std::nullopt);
  const ScalarType type = options.dtype();
  const std::int64_t numel = multiply_sizes(size);
  std::int64_t nbytes = 0;
  TORCH_CHECK(!__builtin_mul_overflow(numel, static_cast<std::int64_t>(elementSize(type)), &nbytes),
              "Storage size calculation overflowed with sizes=", size);
  auto storage = make_intrusive<StorageImpl>(static_cast<std::size_t>(nbytes));
  Tensor fresh(make_intrusive<TensorImpl>(std::move(storage), type, LayerSet(Layer::CPU) | birth_layers, size, numel));
  if (!ask_for_nothing(options)) return created(fresh, options);
  return fresh;
}

// %%
//| export core/creation.cpp
namespace {
ScalarType type_of_value(const Scalar& value) { return value.isFloatingPoint() ? get_default_dtype() : value.type(); }
}  // namespace

Tensor full(IntArrayRef size, const Scalar& fill_value, const TensorOptions& options) {
  Tensor result = empty(size, options.dtype_opt().value_or(type_of_value(fill_value)));
  // A long one by the operator, which has a kernel that shares it among threads.
  if (result.numel() < 1 << 15) fill_with(result, fill_value);
  else op::fill_(result, fill_value);
  if (!ask_for_nothing(options)) return created(result, options);
  return result;
}

Tensor zeros(IntArrayRef size, const TensorOptions& options) { return full(size, 0, options.dtype(options.dtype())); }
Tensor ones(IntArrayRef size, const TensorOptions& options) { return full(size, 1, options.dtype(options.dtype())); }

// %%
//| export core/creation.cpp
Tensor wrapped_scalar(const Scalar& value) {
  const Tensor result = empty({}, value.isFloatingPoint() ? kDouble : value.type());
  dispatch_all_types(result.scalar_type(), [&]<class T>() { *result.data<T>() = value.to<T>(); });
  result.impl().wrapped_number = true;
  return result;
}

// %%
//| export core/ops.h
// ---- Creation. `options` names the dtype (default: get_default_dtype(), or the type of the given values).
Tensor eye(std::int64_t n, const TensorOptions& options = {});
Tensor eye(std::int64_t n, std::int64_t m, const TensorOptions& options = {});
Tensor linspace(const Scalar& start, const Scalar& end, std::int64_t steps,
                const TensorOptions& options = {});  // both ends included

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
  if (const ScalarType type = options.dtype(); isReducedFloatingType(type)) {  // between ends that the dtype has, in float
    const auto rounded = [type](const Scalar& end_point) { return full({}, end_point, type).item(); };
    return created(to_dtype(linspace(rounded(start), rounded(end), steps, kFloat), type), options);
  }
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
TEST_CASE("eye and linspace") {
  CHECK_EQ(eye(2), tensor({{1.0, 0.0}, {0.0, 1.0}}));
  CHECK_EQ(eye(2, 3, kLong), tensor({{1, 0, 0}, {0, 1, 0}}));
  CHECK_EQ(eye(0), zeros({0, 0}, kFloat));
  CHECK_EQ(linspace(0, 1, 7), tensor({0.0, 0.166666672, 0.333333343, 0.5, 0.666666627, 0.833333313, 1.0}));
  CHECK_EQ(linspace(-1, 3, 4, kDouble),
           tensor({-1.0, 0.33333333333333326, 1.6666666666666667, 3.0}, kDouble));
  CHECK_EQ(linspace(0, 10, 5, kLong), tensor({0, 2, 5, 7, 10}));
  CHECK_EQ(linspace(2, 9, 1), tensor({2.0}));
  CHECK_EQ(linspace(2, 9, 0), zeros({0}, kFloat));
  CHECK_ERROR(eye(-1), "n must be greater or equal to 0, got -1");
  CHECK_ERROR(linspace(0, 1, -1), "number of steps must be non-negative");
}

// %% [markdown]
// ## Random numbers
//
// A generator makes 32 random bits at a time (module 00). What a distribution does with them decides whether the same seed gives the same numbers as PyTorch, so every
// function here consumes the stream exactly as PyTorch's CPU kernels do:
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
//| export core/random.h
// The functions that draw random numbers. All take the generator to draw from (default: default_generator()) and hold its mutex meanwhile. The same seed gives PyTorch's CPU
// numbers. Where PyTorch runs on an Intel processor it draws bernoulli_ with one probability for all elements (and so dropout) and exponential_ from Intel's MKL, and its
// numbers differ from these; on other processors they agree.

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
const Tensor& cauchy_(const Tensor& self, double median = 0, double sigma = 1, std::optional<Generator> generator = std::nullopt);
const Tensor& log_normal_(const Tensor& self, double mean = 1, double std = 2, std::optional<Generator> generator = std::nullopt);  // exp of a normal number
const Tensor& geometric_(const Tensor& self, double p, std::optional<Generator> generator = std::nullopt);  // how many trials until the first success: 1, 2, ...

// ---- New tensors.
Tensor rand(IntArrayRef size, const TensorOptions& options = {});  // uniform in [0, 1)
Tensor rand(IntArrayRef size, std::optional<Generator> generator, const TensorOptions& options = {});
Tensor randn(IntArrayRef size, const TensorOptions& options = {});  // mean 0, standard deviation 1
Tensor randn(IntArrayRef size, std::optional<Generator> generator, const TensorOptions& options = {});
Tensor randint(std::int64_t high, IntArrayRef size,
               const TensorOptions& options = kLong);  // integers of [low, high)
Tensor randint(std::int64_t low, std::int64_t high, IntArrayRef size, const TensorOptions& options = kLong);
Tensor randint(std::int64_t high, IntArrayRef size, std::optional<Generator> generator, const TensorOptions& options = kLong);
Tensor randint(std::int64_t low, std::int64_t high, IntArrayRef size, std::optional<Generator> generator,
               const TensorOptions& options = kLong);
Tensor randperm(std::int64_t n, const TensorOptions& options = kLong);  // 0 ... n - 1 in random order
Tensor randperm(std::int64_t n, std::optional<Generator> generator, const TensorOptions& options = kLong);
Tensor rand_like(const Tensor& self, const TensorOptions& options = {}, std::optional<MemoryFormat> memory_format = std::nullopt);
Tensor randn_like(const Tensor& self, const TensorOptions& options = {}, std::optional<MemoryFormat> memory_format = std::nullopt);
Tensor randint_like(const Tensor& self, std::int64_t high, const TensorOptions& options = {}, std::optional<MemoryFormat> memory_format = std::nullopt);
Tensor randint_like(const Tensor& self, std::int64_t low, std::int64_t high, const TensorOptions& options = {}, std::optional<MemoryFormat> memory_format = std::nullopt);
Tensor normal(double mean, double std, IntArrayRef size, std::optional<Generator> generator = std::nullopt,
              const TensorOptions& options = {});
Tensor normal(const Tensor& mean, double std = 1, std::optional<Generator> generator = std::nullopt);
Tensor normal(double mean, const Tensor& std, std::optional<Generator> generator = std::nullopt);
Tensor normal(const Tensor& mean, const Tensor& std, std::optional<Generator> generator = std::nullopt);
Tensor bernoulli(const Tensor& self,
                 std::optional<Generator> generator = std::nullopt);  // probabilities in, zeros and ones out
Tensor bernoulli(const Tensor& self, double p, std::optional<Generator> generator = std::nullopt);
Tensor poisson(const Tensor& self, std::optional<Generator> generator = std::nullopt);  // rates in, counts out, of the same floating-point type
// Indices (Long) drawn with probabilities proportional to `self`: (C) -> (num_samples), (N, C) -> (N, num_samples).
Tensor multinomial(const Tensor& self, std::int64_t num_samples, bool replacement = false,
                   std::optional<Generator> generator = std::nullopt);

// While it lives, uniform_ and normal_ leave this thread's tensors as they are, and draw nothing: for a model whose weights come from a file right after it is made. What is not
// loaded then holds whatever was in memory. Source of the idea: torch/nn/utils/init.py (skip_init).
class SkipRandomFill {
 public:
  static constexpr std::uint32_t kSkip = 4;  // a bit of ThreadState::modes
  SkipRandomFill() : saved_(thread_state().modes) { thread_state().modes |= kSkip; }
  ~SkipRandomFill() { thread_state().modes = saved_; }
  SkipRandomFill(const SkipRandomFill&) = delete;
  SkipRandomFill& operator=(const SkipRandomFill&) = delete;
  static bool is_on() { return (thread_state().modes & kSkip) != 0; }

 private:
  std::uint32_t saved_;
};

namespace op {
extern Operator<const Tensor&(const Tensor&, double, double, std::optional<Generator>)> uniform_;
extern Operator<const Tensor&(const Tensor&, double, double, std::optional<Generator>)> normal_;
extern Operator<const Tensor&(const Tensor&, std::optional<std::int64_t>, std::optional<std::int64_t>,
                              std::optional<Generator>)>
    random_;
extern Operator<const Tensor&(const Tensor&, double, std::optional<Generator>)> bernoulli_;
extern Operator<const Tensor&(const Tensor&, const Tensor&, std::optional<Generator>)> bernoulli_tensor_;
extern Operator<const Tensor&(const Tensor&, double, std::optional<Generator>)> exponential_;
extern Operator<const Tensor&(const Tensor&, double, double, std::optional<Generator>)> cauchy_;
extern Operator<const Tensor&(const Tensor&, double, double, std::optional<Generator>)> log_normal_;
extern Operator<const Tensor&(const Tensor&, double, std::optional<Generator>)> geometric_;
extern Operator<Tensor(const Tensor&, std::optional<Generator>)> poisson;
}  // namespace op

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
  return SkipRandomFill::is_on() ? self : op::uniform_(self, from, to, std::move(generator));
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
  return SkipRandomFill::is_on() ? self : op::normal_(self, mean, std, std::move(generator));
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
namespace {
constexpr double kPi = 3.14159265358979323846;

const Tensor& cauchy_cpu(const Tensor& self, double median, double sigma, std::optional<Generator> generator) {
  dispatch_floating_types(self.scalar_type(), "cauchy_cpu", [&]<class T>() {
    Draw draw(std::move(generator));
    fill_in_memory_order<T>(self, [&] { return static_cast<T>(median + sigma * std::tan(kPi * (draw.uniform<double>() - 0.5))); });
  });
  return self;
}

const Tensor& log_normal_cpu(const Tensor& self, double mean, double std, std::optional<Generator> generator) {
  dispatch_floating_types(self.scalar_type(), "log_normal_cpu", [&]<class T>() {
    Draw draw(std::move(generator));
    fill_in_memory_order<T>(self, [&] { return static_cast<T>(std::exp(draw->normal_double() * std + mean)); });
  });
  return self;
}

const Tensor& geometric_cpu(const Tensor& self, double p, std::optional<Generator> generator) {
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    Draw draw(std::move(generator));
    fill_in_memory_order<T>(self, [&] { return static_cast<T>(std::ceil(std::log(draw.uniform<double>()) / std::log1p(-p))); });
  });
  return self;
}
}  // namespace
constinit Operator<const Tensor&(const Tensor&, double, double, std::optional<Generator>)> op::cauchy_("cauchy_", {.cpu = cauchy_cpu});
constinit Operator<const Tensor&(const Tensor&, double, double, std::optional<Generator>)> op::log_normal_("log_normal_", {.cpu = log_normal_cpu});
constinit Operator<const Tensor&(const Tensor&, double, std::optional<Generator>)> op::geometric_("geometric_", {.cpu = geometric_cpu});

const Tensor& cauchy_(const Tensor& self, double median, double sigma, std::optional<Generator> generator) {
  TORCH_CHECK(sigma > 0.0, "cauchy_ expects sigma > 0.0, but found sigma=", sigma);
  TORCH_CHECK(self.is_floating_point(), "Cauchy distribution is a continuous probability distribution. dtype must be a floating point but you specified ", self.dtype());
  return op::cauchy_(self, median, sigma, std::move(generator));
}
const Tensor& log_normal_(const Tensor& self, double mean, double std, std::optional<Generator> generator) {
  TORCH_CHECK(std > 0.0, "log_normal_ expects std > 0.0, but found std=", std);
  return op::log_normal_(self, mean, std, std::move(generator));
}
const Tensor& geometric_(const Tensor& self, double p, std::optional<Generator> generator) {
  TORCH_CHECK(0 < p && p < 1, "geometric_ expects p to be in (0, 1), but got p=", p);
  TORCH_CHECK_NOT_IMPLEMENTED(self.scalar_type() != kBool, "\"geometric_cpu\" not implemented for 'Bool'");
  return op::geometric_(self, p, std::move(generator));
}

// %%
//| export core/random.cpp
namespace {
// From 10 on: a point under a hat over the distribution, taken or drawn again (W. Hoermann, 1993, The transformed rejection method for generating Poisson random variables, PTRS).
std::int64_t draw_many(double rate, Draw& draw) {
  const double root = std::sqrt(rate), log_rate = std::log(rate);
  const double b = 0.931 + 2.53 * root;
  const double a = -0.059 + 0.02483 * b;
  const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
  const double squeeze = 0.9277 - 3.6224 / (b - 2);
  while (true) {
    const double u = draw.uniform<double>() - 0.5, v = draw.uniform<double>();
    const double edge = 0.5 - std::fabs(u);
    const double k = std::floor((2 * a / edge + b) * u + rate + 0.43);
    if (edge >= 0.07 && v <= squeeze) return static_cast<std::int64_t>(k);
    if (k < 0 || (edge < 0.013 && v > edge)) continue;
    if (std::log(v) + std::log(inverse_alpha) - std::log(a / (edge * edge) + b) <= -rate + k * log_rate - std::lgamma(k + 1)) return static_cast<std::int64_t>(k);
  }
}

// Below: how many uniform numbers can be multiplied before the product is exp(-rate) or less.
std::int64_t draw_few(double rate, Draw& draw) {
  if (rate == 0) return 0;
  const double end = std::exp(-rate);
  double product = 1;
  for (std::int64_t count = 0;; ++count) {
    product *= draw.uniform<double>();
    if (product <= end) return count;
  }
}

Tensor poisson_cpu(const Tensor& self, std::optional<Generator> generator) {
  const Tensor result = empty(self.sizes(), self.scalar_type());
  dispatch_floating_types(self.scalar_type(), "poisson_cpu", [&]<class T>() {
    Draw draw(std::move(generator));
    const StridedLoop<2> loop(self.sizes(), {result.strides(), self.strides()});
    loop.run([&, out = result.data<T>(), in = self.data<T>()](const auto& offset, std::int64_t count, const auto& step) {
      for (std::int64_t i = 0; i < count; ++i) {
        const auto rate = static_cast<double>(in[offset[1] + i * step[1]]);
        TORCH_CHECK(rate >= 0, "invalid Poisson rate, expected rate to be non-negative");
        out[offset[0] + i * step[0]] = static_cast<T>(rate < 10 ? draw_few(rate, draw) : draw_many(rate, draw));
      }
    });
  });
  return result;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, std::optional<Generator>)> op::poisson("poisson", {.cpu = poisson_cpu});
Tensor poisson(const Tensor& self, std::optional<Generator> generator) { return op::poisson(self, std::move(generator)); }

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
Tensor randint(std::int64_t high, IntArrayRef size, std::optional<Generator> generator, const TensorOptions& options) {
  return randint(0, high, size, std::move(generator), options);
}

// %%
//| export core/random.cpp
Tensor randperm(std::int64_t n, std::optional<Generator> generator, const TensorOptions& options) {
  if (const ScalarType type = options.dtype(); isReducedFloatingType(type)) {
    const std::int64_t most = type == kHalf ? 2049 : 257;  // beyond, two numbers would be one
    TORCH_CHECK(n <= most, "n cannot be greater than ", most, " for ", type, " type.");
    return created(to_dtype(randperm(n, std::move(generator), kFloat), type), options);
  }
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
namespace detail {
TensorOptions options_like(const Tensor& self, const TensorOptions& options);  // chapter 90
Tensor empty_as(const Tensor& self, const TensorOptions& like, std::optional<MemoryFormat> memory_format);
}

Tensor rand_like(const Tensor& self, const TensorOptions& options, std::optional<MemoryFormat> memory_format) {
  const TensorOptions wanted = detail::options_like(self, options);
  return created(uniform_(detail::empty_as(self, wanted, memory_format)), wanted);
}
Tensor randn_like(const Tensor& self, const TensorOptions& options, std::optional<MemoryFormat> memory_format) {
  const TensorOptions wanted = detail::options_like(self, options);
  return created(normal_(detail::empty_as(self, wanted, memory_format)), wanted);
}
Tensor randint_like(const Tensor& self, std::int64_t low, std::int64_t high, const TensorOptions& options, std::optional<MemoryFormat> memory_format) {
  const TensorOptions wanted = detail::options_like(self, options);
  return created(random_(detail::empty_as(self, wanted, memory_format), low, high), wanted);
}
Tensor randint_like(const Tensor& self, std::int64_t high, const TensorOptions& options, std::optional<MemoryFormat> memory_format) {
  return randint_like(self, 0, high, options, memory_format);
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
void draw_with_replacement(const Tensor& sums, const Tensor& result, Draw& draw) {
  const std::int64_t categories = sums.size(1);
  const std::int64_t samples = result.size(1);
  for (std::int64_t row = 0; row < sums.size(0); ++row) {
    double* const sum = sums.data<double>() + row * categories;
    const double total = sum[categories - 1];
    const auto draw_each = [&](auto is_below) {
      for (std::int64_t i = 0; i < samples; ++i) {
        const double* const found = std::lower_bound(sum, sum + categories - 1, draw.uniform<double>(), is_below);
        result.data<std::int64_t>()[row * samples + i] = found - sum;
      }
    };
    // For a few samples only the sums that are looked at are divided.
    if (samples < categories / 16) {
      draw_each([total](double so_far, double number) { return so_far / total < number; });
    } else {
      std::for_each(sum, sum + categories, [total](double& so_far) { so_far /= total; });
      draw_each([](double so_far, double number) { return so_far < number; });
    }
  }
}

constexpr const char* kNoProbabilities = "probability tensor contains either `inf`, `nan` or element < 0";
constexpr const char* kNothingToDraw = "invalid multinomial distribution (sum of probabilities <= 0)";

// The sums of each row's weights so far, (rows, categories) in double. Throws if a weight is none.
Tensor sums_of_weights(const Tensor& self) {
  const std::int64_t categories = self.size(-1), rows = categories == 0 ? 0 : self.numel() / categories;
  const Tensor sums = empty({rows, categories}, kDouble).copy_(self.reshape({rows, categories}));
  bool are_weights = true, have_sums = true;
  for (std::int64_t row = 0; row < rows; ++row) {
    double* const weight = sums.data<double>() + row * categories;
    double total = 0;
    for (std::int64_t i = 0; i < categories; ++i) {
      are_weights &= weight[i] >= 0 && weight[i] < std::numeric_limits<double>::infinity();
      total += weight[i];
      weight[i] = total;
    }
    have_sums &= total > 0;
  }
  TORCH_CHECK(are_weights, kNoProbabilities);
  TORCH_CHECK(have_sums, kNothingToDraw);
  return sums;
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
  if (!replacement || num_samples == 1) {
    TORCH_CHECK(self.numel() == 0 || (self.min() >= 0).logical_and(self.max() < std::numeric_limits<double>::infinity()).item<bool>(),
                kNoProbabilities);
    TORCH_CHECK(self.numel() == 0 || (self.sum(-1) > 0).all().item<bool>(), kNothingToDraw);
    // The arrival that comes first, of processes with rates `self`, is distributed as `self` (and so on for the next ones).
    const Tensor arrivals = self / exponential_(empty_like(self), 1, std::move(generator));
    return std::get<1>(arrivals.topk(num_samples, -1));
  }
  const Tensor sums = sums_of_weights(self);
  const Tensor result = empty({sums.size(0), num_samples}, kLong);
  Draw draw(std::move(generator));
  draw_with_replacement(sums, result, draw);
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
TEST_CASE("SkipRandomFill: nothing is written, and nothing is drawn") {
  manual_seed(42);
  const Tensor untouched = ones({20});
  {
    const SkipRandomFill skip;
    untouched.normal_();
    untouched.uniform_(5, 6);
    const SkipRandomFill nested;
  }
  CHECK_EQ(untouched, ones({20}));
  CHECK_EQ(rand({}), tensor(0.882269263));
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
TEST_CASE("cauchy_, log_normal_, geometric_ and poisson: PyTorch's numbers, recorded") {
  manual_seed(0);
  CHECK_CLOSE(empty({4}).cauchy_(), tensor({10.597729682922363, 0.7647672891616821, -0.12829934060573578, 3.9330732822418213}));
  CHECK_CLOSE(empty({2}, kDouble).cauchy_(1, 3), tensor({2.469966730097306, 4.896510707718919}, kDouble));
  manual_seed(0);
  CHECK_CLOSE(empty({4}).log_normal_(), tensor({59.2634162902832, 1.5115599632263184, 0.03481946140527725, 8.47281265258789}));
  CHECK_CLOSE(empty({3}, kDouble).log_normal_(0, 0.5), tensor({0.5814320474450209, 0.49693417929333616, 1.2234483937532386}, kDouble));
  manual_seed(0);
  CHECK_EQ(empty({6}).geometric_(0.3), tensor({1.0, 1.0, 3.0, 1.0, 2.0, 1.0}));
  CHECK_EQ(empty({4}, kLong).geometric_(0.01), tensor({172, 105, 54, 124}));
  CHECK_EQ(empty({3}, kByte).geometric_(0.5), tensor({2, 3, 2}, kByte));
  manual_seed(0);
  const Tensor rates = tensor({{0.5, 3.0, 0.0}, {12.0, 100.0, 9.9}});
  CHECK_EQ(poisson(rates), tensor({{2.0, 4.0, 0.0}, {13.0, 99.0, 10.0}}));
  CHECK_EQ(poisson(rates.t()), tensor({{0.0, 9.0}, {5.0, 90.0}, {0.0, 11.0}}));
  CHECK_EQ(poisson(rates.to(kDouble) * 1000), tensor({{528.0, 3044.0, 0.0}, {12095.0, 100059.0, 9920.0}}, kDouble));
  CHECK_ERROR(empty({2}).cauchy_(0, 0), "cauchy_ expects sigma > 0.0, but found sigma=0");
  CHECK_ERROR(empty({2}, kLong).cauchy_(), "Cauchy distribution is a continuous probability distribution. dtype must be a floating point but you specified long int");
  CHECK_ERROR(empty({2}).log_normal_(0, 0), "log_normal_ expects std > 0.0, but found std=0");
  CHECK_ERROR(empty({2}, kLong).log_normal_(), "\"log_normal_cpu\" not implemented for 'Long'");
  CHECK_ERROR(empty({2}).geometric_(1), "geometric_ expects p to be in (0, 1), but got p=1");
  CHECK_ERROR(empty({2}, kBool).geometric_(0.5), "\"geometric_cpu\" not implemented for 'Bool'");
  CHECK_ERROR(poisson(tensor({-1.0})), "invalid Poisson rate, expected rate to be non-negative");
  CHECK_ERROR(poisson(tensor({1})), "\"poisson_cpu\" not implemented for 'Long'");
}

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
  // A few of many categories are the first of more.
  const Tensor weights = arange(1, 401, kDouble).remainder(7);
  manual_seed(5);
  const Tensor few = multinomial(weights, 20, true);
  manual_seed(5);
  CHECK_EQ(multinomial(weights, 60, true).narrow(0, 0, 20), few);
  CHECK((weights.index_select(0, few) > 0).all().item<bool>());
  CHECK_ERROR(multinomial(tensor({{1.0, 2.0}, {0.0, 0.0}}), 2, true), "invalid multinomial distribution (sum of probabilities <= 0)");
  CHECK_ERROR(multinomial(tensor({1.0, -1.0}), 2, true), "probability tensor contains either `inf`, `nan` or element < 0");
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
// ## Methods
//
// Each calls the function of its name. A method in a mixin knows only that some `Tensor` derives from it, so it casts.

// %%
//| export core/more_methods.cpp
namespace {
const Tensor& tensor_of(const MoreMethods* self) { return static_cast<const Tensor&>(*self); }
// In-place functions return the tensor they were given; methods hand that out as libtorch does.
Tensor& same(const Tensor& self) { return const_cast<Tensor&>(self); }
}  // namespace

Tensor MoreMethods::view_as(const Tensor& other) const { return tinytorch::view(tensor_of(this), other.sizes()); }
Tensor MoreMethods::flatten(std::int64_t start_dim, std::int64_t end_dim) const { return tinytorch::flatten(tensor_of(this), start_dim, end_dim); }
Tensor MoreMethods::squeeze() const { return tinytorch::squeeze(tensor_of(this)); }
Tensor MoreMethods::squeeze(std::int64_t dim) const { return tinytorch::squeeze(tensor_of(this), dim); }
Tensor MoreMethods::unsqueeze(std::int64_t dim) const { return tinytorch::unsqueeze(tensor_of(this), dim); }
Tensor MoreMethods::expand_as(const Tensor& other) const { return tinytorch::expand(tensor_of(this), other.sizes()); }
Tensor MoreMethods::narrow(std::int64_t dim, std::int64_t start, std::int64_t length) const { return tinytorch::narrow(tensor_of(this), dim, start, length); }
Tensor MoreMethods::pow(const Scalar& exponent) const { return tinytorch::pow(tensor_of(this), exponent); }
Tensor MoreMethods::abs() const { return tinytorch::abs(tensor_of(this)); }
Tensor MoreMethods::sign() const { return tinytorch::sign(tensor_of(this)); }
Tensor MoreMethods::log() const { return tinytorch::log(tensor_of(this)); }
Tensor MoreMethods::sqrt() const { return tinytorch::sqrt(tensor_of(this)); }
Tensor MoreMethods::eq(const Tensor& other) const { return tinytorch::eq(tensor_of(this), other); }
Tensor MoreMethods::eq(const Scalar& other) const { return tinytorch::eq(tensor_of(this), wrapped_scalar(other)); }
Tensor MoreMethods::ne(const Tensor& other) const { return tinytorch::ne(tensor_of(this), other); }
Tensor MoreMethods::ne(const Scalar& other) const { return tinytorch::ne(tensor_of(this), wrapped_scalar(other)); }
Tensor MoreMethods::lt(const Tensor& other) const { return tinytorch::lt(tensor_of(this), other); }
Tensor MoreMethods::lt(const Scalar& other) const { return tinytorch::lt(tensor_of(this), wrapped_scalar(other)); }
Tensor MoreMethods::le(const Tensor& other) const { return tinytorch::le(tensor_of(this), other); }
Tensor MoreMethods::le(const Scalar& other) const { return tinytorch::le(tensor_of(this), wrapped_scalar(other)); }
Tensor MoreMethods::gt(const Tensor& other) const { return tinytorch::gt(tensor_of(this), other); }
Tensor MoreMethods::gt(const Scalar& other) const { return tinytorch::gt(tensor_of(this), wrapped_scalar(other)); }
Tensor MoreMethods::ge(const Tensor& other) const { return tinytorch::ge(tensor_of(this), other); }
Tensor MoreMethods::ge(const Scalar& other) const { return tinytorch::ge(tensor_of(this), wrapped_scalar(other)); }
bool MoreMethods::equal(const Tensor& other) const { return tinytorch::equal(tensor_of(this), other); }
bool MoreMethods::allclose(const Tensor& other, double rtol, double atol, bool equal_nan) const {
  return tinytorch::allclose(tensor_of(this), other, rtol, atol, equal_nan);
}
Tensor MoreMethods::mean() const { return tinytorch::mean(tensor_of(this)); }
Tensor MoreMethods::mean(IntArrayRef dim, bool keepdim) const { return tinytorch::mean(tensor_of(this), dim, keepdim); }
Tensor MoreMethods::amax(IntArrayRef dim, bool keepdim) const { return tinytorch::amax(tensor_of(this), dim, keepdim); }
Tensor MoreMethods::max() const { return tinytorch::max(tensor_of(this)); }
std::tuple<Tensor, Tensor> MoreMethods::max(std::int64_t dim, bool keepdim) const { return tinytorch::max(tensor_of(this), dim, keepdim); }
Tensor MoreMethods::argmax() const { return tinytorch::argmax(tensor_of(this)); }
Tensor MoreMethods::argmax(std::int64_t dim, bool keepdim) const { return tinytorch::argmax(tensor_of(this), dim, keepdim); }
Tensor MoreMethods::bmm(const Tensor& mat2) const { return tinytorch::bmm(tensor_of(this), mat2); }
Tensor MoreMethods::matmul(const Tensor& other) const { return tinytorch::matmul(tensor_of(this), other); }
Tensor MoreMethods::pow(const Tensor& exponent) const { return tinytorch::pow(tensor_of(this), exponent); }
Tensor MoreMethods::permute(IntArrayRef dims) const { return tinytorch::permute(tensor_of(this), dims); }
Tensor MoreMethods::transpose(std::int64_t dim0, std::int64_t dim1) const { return tinytorch::transpose(tensor_of(this), dim0, dim1); }
Tensor MoreMethods::t() const { return tinytorch::t(tensor_of(this)); }
Tensor MoreMethods::sub(const Tensor& other, const Scalar& alpha) const { return tinytorch::sub(tensor_of(this), other, alpha); }
Tensor MoreMethods::sub(const Scalar& other, const Scalar& alpha) const { return sub(wrapped_scalar(other), alpha); }
Tensor& MoreMethods::sub_(const Tensor& other, const Scalar& alpha) const { return same(tinytorch::sub_(tensor_of(this), other, alpha)); }
Tensor& MoreMethods::sub_(const Scalar& other, const Scalar& alpha) const { return sub_(wrapped_scalar(other), alpha); }
Tensor MoreMethods::div(const Tensor& other) const { return tinytorch::div(tensor_of(this), other); }
Tensor MoreMethods::div(const Scalar& other) const { return div(wrapped_scalar(other)); }
Tensor& MoreMethods::div_(const Tensor& other) const { return same(tinytorch::div_(tensor_of(this), other)); }
Tensor& MoreMethods::div_(const Scalar& other) const { return div_(wrapped_scalar(other)); }

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
Tensor& MoreMethods::cauchy_(double median, double sigma, std::optional<Generator> generator) const {
  return same(tinytorch::cauchy_(tensor_of(this), median, sigma, std::move(generator)));
}
Tensor& MoreMethods::log_normal_(double mean, double std, std::optional<Generator> generator) const {
  return same(tinytorch::log_normal_(tensor_of(this), mean, std, std::move(generator)));
}
Tensor& MoreMethods::geometric_(double p, std::optional<Generator> generator) const {
  return same(tinytorch::geometric_(tensor_of(this), p, std::move(generator)));
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
Tensor MoreMethods::var(IntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim) const {
  return tinytorch::var(tensor_of(this), dim, correction, keepdim);
}
Tensor MoreMethods::std(IntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim) const {
  return tinytorch::std(tensor_of(this), dim, correction, keepdim);
}
Tensor MoreMethods::norm(const Scalar& p) const { return tinytorch::norm(tensor_of(this), p); }
Tensor MoreMethods::norm(const std::optional<Scalar>& p, IntArrayRef dim, bool keepdim) const {
  return tinytorch::norm(tensor_of(this), p, dim, keepdim);
}
Tensor MoreMethods::cumsum(std::int64_t dim) const { return tinytorch::cumsum(tensor_of(this), dim); }
std::tuple<Tensor, Tensor> MoreMethods::sort(std::int64_t dim, bool descending) const {
  return tinytorch::sort(tensor_of(this), dim, descending);
}
std::tuple<Tensor, Tensor> MoreMethods::sort(std::optional<bool> stable, std::int64_t dim, bool descending) const {
  return tinytorch::sort(tensor_of(this), stable, dim, descending);
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

// %% [markdown]
// ## Printing
//
// `std::cout << tensor` prints what PyTorch's C++ frontend prints, to the character, so that outputs can be compared. All elements share one format, which is chosen by the
// smallest and the largest of them: whole numbers without a point, fixed with four digits, a common scale in front of very large or very small ones, or an exponent if they
// differ too much. Matrices that are wider than the line are split into groups of columns.
//
//     std::cout << tensor({{1.0, 2.5}, {3.0, 1000.0}});
//
//     1.0000e+00  2.5000e+00          or, for {{1.0, 2.5}}:      1.0000  2.5000
//     3.0000e+00  1.0000e+03                                    [ CPUFloatType{1,2} ]
//     [ CPUFloatType{2,2} ]

// %%
//| export core/formatting.h
// Prints all elements, then dtype and sizes: `[ CPUFloatType{2,2} ]`. Lines hold up to `linesize` characters. The stream's format is left as it was.
// Source: aten/src/ATen/core/Formatting.cpp.
std::ostream& print(std::ostream& stream, const Tensor& tensor, std::int64_t linesize);
std::ostream& operator<<(std::ostream& stream, const Tensor& tensor);

// %%
//| export core/formatting.cpp
namespace {
// Restores a stream's flags, precision and fill.
class FormatGuard {
 public:
  explicit FormatGuard(std::ostream& stream) : stream_(stream), saved_(nullptr) { saved_.copyfmt(stream); }
  ~FormatGuard() { stream_.copyfmt(saved_); }
  FormatGuard(const FormatGuard&) = delete;
  FormatGuard& operator=(const FormatGuard&) = delete;

 private:
  std::ostream& stream_;
  std::ios saved_;
};

// How all numbers of one block are printed: divided by `scale`, `width` characters wide.
struct NumberFormat {
  double scale = 1;
  int width = 0;
};

// The number of digits before the point; 0 and below for numbers smaller than 1.
double digits_of(double magnitude) { return magnitude == 0 ? 1 : std::floor(std::log10(magnitude)) + 1; }

// Chooses the format for `count` numbers and sets the stream to it.
NumberFormat choose_format(std::ostream& stream, const double* values, std::int64_t count) {
  bool whole = true;
  double smallest = std::numeric_limits<double>::infinity();
  double largest = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(values[i])) continue;
    whole = whole && values[i] == std::ceil(values[i]);
    smallest = std::min(smallest, std::fabs(values[i]));
    largest = std::max(largest, std::fabs(values[i]));
  }
  const bool none_finite = std::isinf(smallest);
  const double least = none_finite ? 1 : digits_of(smallest);
  const double most = none_finite ? 1 : digits_of(largest);
  if (whole) {
    if (most > 9) {
      stream << std::scientific << std::setprecision(4);
      return {1, 11};
    }
    stream << std::defaultfloat;
    return {1, static_cast<int>(most) + 1};
  }
  if (most - least > 4) {
    stream << std::scientific << std::setprecision(4);
    return {1, std::fabs(most) > 99 || std::fabs(least) > 99 ? 12 : 11};
  }
  stream << std::fixed << std::setprecision(4);
  if (most > 5 || most < 0) return {std::pow(10, most - 1), 7};
  return {1, most == 0 ? 7 : static_cast<int>(most) + 6};
}

void print_scale(std::ostream& stream, double scale) {
  const FormatGuard guard(stream);
  stream << std::defaultfloat << std::setprecision(16) << scale << " *" << '\n';
}
}  // namespace

// %%
//| export core/formatting.cpp
namespace {
void print_vector(std::ostream& stream, const double* values, std::int64_t count) {
  const NumberFormat format = choose_format(stream, values, count);
  if (format.scale != 1) print_scale(stream, format.scale);
  for (std::int64_t i = 0; i < count; ++i) stream << std::setw(format.width) << values[i] / format.scale << '\n';
}

// A dense matrix, in groups of as many columns as fit on a line.
void print_matrix(std::ostream& stream, const double* values, std::int64_t rows, std::int64_t columns, std::int64_t linesize, std::int64_t indent) {
  const NumberFormat format = choose_format(stream, values, rows * columns);
  const std::string margin(static_cast<std::size_t>(indent), ' ');
  const std::int64_t per_line = std::max<std::int64_t>((linesize - indent) / (format.width + 1), 1);
  for (std::int64_t first = 0; first < columns; first += per_line) {
    const std::int64_t last = std::min(first + per_line, columns) - 1;
    if (per_line < columns) {
      if (first != 0) stream << '\n';
      stream << "Columns " << first + 1 << " to " << last + 1 << margin;
    }
    if (format.scale != 1) {
      print_scale(stream, format.scale);
      stream << margin;
    }
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t column = first; column <= last; ++column)
        stream << std::setw(format.width) << values[row * columns + column] / format.scale << (column == last ? '\n' : ' ');
      if (row != rows - 1) stream << margin << (format.scale != 1 ? " " : "");
    }
  }
}

// Three dimensions and more: matrix after matrix, the first index fastest.
void print_matrices(std::ostream& stream, const Tensor& dense, std::int64_t linesize) {
  const std::size_t outer = dense.sizes().size() - 2;
  const std::int64_t rows = dense.size(-2);
  const std::int64_t columns = dense.size(-1);
  const std::int64_t matrices = dense.numel() / (rows * columns);
  std::vector<std::int64_t> index(outer);
  for (std::int64_t k = 0; k < matrices; ++k) {
    std::int64_t offset = 0;
    stream << (k == 0 ? "" : "\n") << '(';
    for (std::size_t d = 0; d < outer; ++d) {
      offset += index[d] * dense.strides()[d];
      stream << index[d] + 1 << ',';
    }
    stream << ".,.) = \n";
    print_matrix(stream, dense.data<double>() + offset, rows, columns, linesize, 1);
    for (std::size_t d = 0; d < outer && ++index[d] == dense.sizes()[d]; ++d) index[d] = 0;
  }
}
}  // namespace

// %%
//| export core/formatting.cpp
namespace {
// As many digits as it takes to read the same number back; an exponent below 1e-4 and from 1e16 on.
std::string shortest_text(double value) {
  if (!std::isfinite(value)) return std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf";
  const bool fixed = value == 0 || (std::fabs(value) >= 1e-4 && std::fabs(value) < 1e16);
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value, fixed ? std::chars_format::fixed : std::chars_format::scientific).ptr;
  return {text, end};
}
}  // namespace

// %%
//| export core/formatting.cpp
std::ostream& print(std::ostream& stream, const Tensor& tensor, std::int64_t linesize) {
  if (!tensor.defined()) return stream << "[ Tensor (undefined) ]";
  const FormatGuard guard(stream);
  const AutoDispatchBelowAutograd below;
  const Tensor dense = to_host(tensor).to(kDouble).contiguous();
  const double* const values = dense.data<double>();
  if (dense.dim() == 0) {
    stream << shortest_text(values[0]) << '\n';
  } else if (dense.numel() > 0) {
    if (dense.dim() == 1) print_vector(stream, values, dense.size(0));
    else if (dense.dim() == 2) print_matrix(stream, values, dense.size(0), dense.size(1), linesize, 0);
    else print_matrices(stream, dense, linesize);
  }
  stream << "[ " << tensor.toString() << '{';
  for (std::size_t d = 0; d < dense.sizes().size(); ++d) stream << (d == 0 ? "" : ",") << dense.sizes()[d];
  return stream << "} ]";
}

std::ostream& operator<<(std::ostream& stream, const Tensor& tensor) { return print(stream, tensor, 80); }

// %%
TEST_CASE("printing: PyTorch's text, recorded") {
  auto text = [](const Tensor& tensor) {
    std::ostringstream out;
    out << tensor;
    return out.str();
  };
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK_EQ(text(tensor(3)),
           "3\n"
           "[ CPULongType{} ]");
  CHECK_EQ(text(tensor(2.5)),
           "2.5\n"
           "[ CPUFloatType{} ]");
  CHECK_EQ(text(tensor(0.1)),
           "0.10000000149011612\n"
           "[ CPUFloatType{} ]");
  CHECK_EQ(text(tensor(1234567.891, kDouble)),
           "1234567.891\n"
           "[ CPUDoubleType{} ]");
  CHECK_EQ(text(tensor(1e-7)),
           "1.0000000116860974e-07\n"
           "[ CPUFloatType{} ]");
  CHECK_EQ(text(tensor(123456789)),
           "123456789\n"
           "[ CPULongType{} ]");
  CHECK_EQ(text(tensor({0.1, 2.5, 65504.0}, kHalf)),
           " 9.9976e-02\n"
           " 2.5000e+00\n"
           " 6.5504e+04\n"
           "[ CPUHalfType{3} ]");
  CHECK_EQ(text(tensor({0.1, 2.5, 1e30}, kBFloat16)),
           " 1.0010e-01\n"
           " 2.5000e+00\n"
           " 1.0003e+30\n"
           "[ CPUBFloat16Type{3} ]");
  CHECK_EQ(text(tensor(true)),
           "1\n"
           "[ CPUBoolType{} ]");
  CHECK_EQ(text(tensor(1e20,kDouble)),
           "1e+20\n"
           "[ CPUDoubleType{} ]");
  CHECK_EQ(text(tensor({1,2,300})),
           "   1\n"
           "   2\n"
           " 300\n"
           "[ CPULongType{3} ]");
  CHECK_EQ(text(tensor({1.5,-2.25})),
           " 1.5000\n"
           "-2.2500\n"
           "[ CPUFloatType{2} ]");
  CHECK_EQ(text(tensor({1e-3,5e-3})),
           "0.001 *\n"
           " 1.0000\n"
           " 5.0000\n"
           "[ CPUFloatType{2} ]");
  CHECK_EQ(text(tensor({1e6,2.5e6+0.5},kDouble)),
           "1000000 *\n"
           " 1.0000\n"
           " 2.5000\n"
           "[ CPUDoubleType{2} ]");
  CHECK_EQ(text(tensor({1e-9,1e9},kDouble)),
           " 1.0000e-09\n"
           " 1.0000e+09\n"
           "[ CPUDoubleType{2} ]");
  CHECK_EQ(text(tensor({1e10,1.0},kDouble)),
           " 1.0000e+10\n"
           " 1.0000e+00\n"
           "[ CPUDoubleType{2} ]");
  CHECK_EQ(text(tensor({1e-120,1.5},kDouble)),
           " 1.0000e-120\n"
           "  1.5000e+00\n"
           "[ CPUDoubleType{2} ]");
  CHECK_EQ(text(zeros({0})),
           "[ CPUFloatType{0} ]");
  CHECK_EQ(text(zeros({2,0})),
           "[ CPUFloatType{2,0} ]");
  CHECK_EQ(text(zeros({2,0,3})),
           "[ CPUFloatType{2,0,3} ]");
  CHECK_EQ(text(tensor({infinity,-infinity,1.5f})),
           "    inf\n"
           "   -inf\n"
           " 1.5000\n"
           "[ CPUFloatType{3} ]");
  CHECK_EQ(text(tensor({infinity,2.0f})),
           "inf\n"
           " 2\n"
           "[ CPUFloatType{2} ]");
  CHECK_EQ(text(tensor({infinity})),
           "inf\n"
           "[ CPUFloatType{1} ]");
  CHECK_EQ(text(tensor({true,false})),
           " 1\n"
           " 0\n"
           "[ CPUBoolType{2} ]");
  CHECK_EQ(text(ones({2,2},kByte)),
           " 1  1\n"
           " 1  1\n"
           "[ CPUByteType{2,2} ]");
  CHECK_EQ(text(arange(12).view({3,4})),
           "  0   1   2   3\n"
           "  4   5   6   7\n"
           "  8   9  10  11\n"
           "[ CPULongType{3,4} ]");
  CHECK_EQ(text(arange(60,kFloat).view({2,30})),
           "Columns 1 to 20  0   1   2   3   4   5   6   7   8   9  10  11  12  13  14  15  16  17  18  19\n"
           " 30  31  32  33  34  35  36  37  38  39  40  41  42  43  44  45  46  47  48  49\n"
           "\n"
           "Columns 21 to 30 20  21  22  23  24  25  26  27  28  29\n"
           " 50  51  52  53  54  55  56  57  58  59\n"
           "[ CPUFloatType{2,30} ]");
  CHECK_EQ(text(arange(60,kFloat).view({2,30})*0.25),
           "Columns 1 to 8  0.0000   0.2500   0.5000   0.7500   1.0000   1.2500   1.5000   1.7500\n"
           "  7.5000   7.7500   8.0000   8.2500   8.5000   8.7500   9.0000   9.2500\n"
           "\n"
           "Columns 9 to 16  2.0000   2.2500   2.5000   2.7500   3.0000   3.2500   3.5000   3.7500\n"
           "  9.5000   9.7500  10.0000  10.2500  10.5000  10.7500  11.0000  11.2500\n"
           "\n"
           "Columns 17 to 24  4.0000   4.2500   4.5000   4.7500   5.0000   5.2500   5.5000   5.7500\n"
           " 11.5000  11.7500  12.0000  12.2500  12.5000  12.7500  13.0000  13.2500\n"
           "\n"
           "Columns 25 to 30  6.0000   6.2500   6.5000   6.7500   7.0000   7.2500\n"
           " 13.5000  13.7500  14.0000  14.2500  14.5000  14.7500\n"
           "[ CPUFloatType{2,30} ]");
  CHECK_EQ(text(arange(24).view({2,3,4})),
           "(1,.,.) = \n"
           "  0   1   2   3\n"
           "   4   5   6   7\n"
           "   8   9  10  11\n"
           "\n"
           "(2,.,.) = \n"
           " 12  13  14  15\n"
           "  16  17  18  19\n"
           "  20  21  22  23\n"
           "[ CPULongType{2,3,4} ]");
  CHECK_EQ(text(arange(24).view({2,3,4})*0.5),
           "(1,.,.) = \n"
           " 0.0000  0.5000  1.0000  1.5000\n"
           "  2.0000  2.5000  3.0000  3.5000\n"
           "  4.0000  4.5000  5.0000  5.5000\n"
           "\n"
           "(2,.,.) = \n"
           "  6.0000   6.5000   7.0000   7.5000\n"
           "   8.0000   8.5000   9.0000   9.5000\n"
           "  10.0000  10.5000  11.0000  11.5000\n"
           "[ CPUFloatType{2,3,4} ]");
  CHECK_EQ(text(arange(24,kDouble).view({2,3,4})*0.00005),
           "(1,.,.) = \n"
           "0.0001 *\n"
           "  0.0000  0.5000  1.0000  1.5000\n"
           "   2.0000  2.5000  3.0000  3.5000\n"
           "   4.0000  4.5000  5.0000  5.5000\n"
           "\n"
           "(2,.,.) = \n"
           "0.001 *\n"
           "  0.6000  0.6500  0.7000  0.7500\n"
           "   0.8000  0.8500  0.9000  0.9500\n"
           "   1.0000  1.0500  1.1000  1.1500\n"
           "[ CPUDoubleType{2,3,4} ]");
  CHECK_EQ(text(arange(16).view({2,2,2,2})),
           "(1,1,.,.) = \n"
           " 0  1\n"
           "  2  3\n"
           "\n"
           "(2,1,.,.) = \n"
           "  8   9\n"
           "  10  11\n"
           "\n"
           "(1,2,.,.) = \n"
           " 4  5\n"
           "  6  7\n"
           "\n"
           "(2,2,.,.) = \n"
           " 12  13\n"
           "  14  15\n"
           "[ CPULongType{2,2,2,2} ]");
  CHECK_EQ(text(arange(12,kFloat).view({3,4})*100000.5),
           " 0.0000e+00  1.0000e+05  2.0000e+05  3.0000e+05\n"
           " 4.0000e+05  5.0000e+05  6.0000e+05  7.0000e+05\n"
           " 8.0000e+05  9.0000e+05  1.0000e+06  1.1000e+06\n"
           "[ CPUFloatType{3,4} ]");
  CHECK_EQ(text(arange(12,kFloat).view({3,4}).t()*0.001),
           "0.01 *\n"
           " 0.0000  0.4000  0.8000\n"
           "  0.1000  0.5000  0.9000\n"
           "  0.2000  0.6000  1.0000\n"
           "  0.3000  0.7000  1.1000\n"
           "[ CPUFloatType{4,3} ]");
  CHECK_EQ(text(arange(48,kDouble).view({1,2,24})*1000000.5),
           "(1,.,.) = \n"
           "Columns 1 to 6  0.0000e+00  1.0000e+06  2.0000e+06  3.0000e+06  4.0000e+06  5.0000e+06\n"
           "  2.4000e+07  2.5000e+07  2.6000e+07  2.7000e+07  2.8000e+07  2.9000e+07\n"
           "\n"
           "Columns 7 to 12  6.0000e+06  7.0000e+06  8.0000e+06  9.0000e+06  1.0000e+07  1.1000e+07\n"
           "  3.0000e+07  3.1000e+07  3.2000e+07  3.3000e+07  3.4000e+07  3.5000e+07\n"
           "\n"
           "Columns 13 to 18  1.2000e+07  1.3000e+07  1.4000e+07  1.5000e+07  1.6000e+07  1.7000e+07\n"
           "  3.6000e+07  3.7000e+07  3.8000e+07  3.9000e+07  4.0000e+07  4.1000e+07\n"
           "\n"
           "Columns 19 to 24  1.8000e+07  1.9000e+07  2.0000e+07  2.1000e+07  2.2000e+07  2.3000e+07\n"
           "  4.2000e+07  4.3000e+07  4.4000e+07  4.5000e+07  4.6000e+07  4.7000e+07\n"
           "[ CPUDoubleType{1,2,24} ]");
  CHECK_EQ(text(tensor({{-1.0,99999.5}})),
           "    -1.0000  99999.5000\n"
           "[ CPUFloatType{1,2} ]");
  CHECK_EQ(text(tensor({{0.5,0.01}})),
           " 0.5000  0.0100\n"
           "[ CPUFloatType{1,2} ]");
  CHECK_EQ(text(tensor({123456789,1})),
           "1.23457e+08\n"
           "         1\n"
           "[ CPULongType{2} ]");
  CHECK_EQ(text(tensor({1234567890,1})),
           " 1.2346e+09\n"
           " 1.0000e+00\n"
           "[ CPULongType{2} ]");
  CHECK_EQ(text(tensor({-5,3},kInt)),
           "-5\n"
           " 3\n"
           "[ CPUIntType{2} ]");
  CHECK_EQ(text(full({1,1},0.1)),
           " 0.1000\n"
           "[ CPUFloatType{1,1} ]");
  CHECK_EQ(text(tensor({99999.96})),
           " 99999.9609\n"
           "[ CPUFloatType{1} ]");
  CHECK_EQ(text(Tensor()), "[ Tensor (undefined) ]");
  CHECK_EQ(text(arange(24).view({2, 3, 4}).transpose(0, 2)), text(arange(24).view({2, 3, 4}).transpose(0, 2).contiguous()));
  std::ostringstream out;
  out << tensor({1.5}) << 2.25;
  CHECK_EQ(out.str(), " 1.5000\n[ CPUFloatType{1} ]2.25");
}

// %%
}  // namespace tinytorch
