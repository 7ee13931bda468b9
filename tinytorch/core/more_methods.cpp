// From the lesson modules/96_surface/surface_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/more_methods.h"

#include "tinytorch/core/more_ops.h"

namespace tinytorch {

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

}  // namespace tinytorch
