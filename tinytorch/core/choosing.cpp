// From the lesson modules/74_tensor_breadth/tensor_breadth_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cmath>
#include <limits>

#include "tinytorch/core/breadth.h"
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"

namespace tinytorch {

Tensor frac(const Tensor& self) { return self - trunc(self); }
Tensor deg2rad(const Tensor& self) { return self * (3.14159265358979323846 / 180); }
Tensor rad2deg(const Tensor& self) { return self * (180 / 3.14159265358979323846); }
Tensor sinc(const Tensor& self) {
  const Tensor x = where(self == 0, ones_like(self), self) * 3.14159265358979323846;
  return where(self == 0, full({}, 1, x.scalar_type()), sin(x) / x);
}
Tensor logit(const Tensor& self, std::optional<double> eps) {
  const Tensor x = eps ? clamp(self, Scalar(*eps), Scalar(1 - *eps)) : self;
  return log(x / (1 - x));
}
Tensor xlogy(const Tensor& self, const Tensor& other) {
  // The logarithm is taken of 1 where x is 0, so that neither the value nor the gradient is 0 * infinity.
  const Tensor nothing = (self == 0).logical_and(isnan(other).logical_not());
  return self * log(where(nothing, full({}, 1, other.scalar_type()), other));
}
Tensor logaddexp(const Tensor& self, const Tensor& other) {
  const Tensor larger_one = maximum(self, other);
  const Tensor equal_infinities = isinf(self).logical_and(self == other);
  const Tensor apart = where(equal_infinities, full({}, 0, larger_one.scalar_type()), -abs(self - other));
  return where(equal_infinities, larger_one, larger_one + log1p(exp(apart)));
}
Tensor logaddexp2(const Tensor& self, const Tensor& other) {
  const double log_2 = 0.69314718055994530942;
  return logaddexp(self * log_2, other * log_2) / log_2;
}
Tensor fmax(const Tensor& self, const Tensor& other) { return where(isnan(self), other, where(isnan(other), self, maximum(self, other))); }
Tensor fmin(const Tensor& self, const Tensor& other) { return where(isnan(self), other, where(isnan(other), self, minimum(self, other))); }
Tensor heaviside(const Tensor& self, const Tensor& values) {
  TORCH_CHECK(self.scalar_type() == values.scalar_type(), "heaviside is not yet implemented for tensors with different dtypes.");
  return where(self == 0, values, (self > 0).to(self.scalar_type()));
}
Tensor float_power(const Tensor& self, const Tensor& exponent) { return pow(self.to(kDouble), exponent.to(kDouble)); }
Tensor float_power(const Tensor& self, const Scalar& exponent) { return pow(self.to(kDouble), exponent.toDouble()); }

Tensor nan_to_num(const Tensor& self, std::optional<double> nan, std::optional<double> posinf, std::optional<double> neginf) {
  if (!self.is_floating_point()) return clone(self);
  double largest = std::numeric_limits<double>::max();
  if (self.scalar_type() == kFloat) largest = static_cast<double>(std::numeric_limits<float>::max());
  if (self.scalar_type() == kHalf) largest = 65504;
  if (self.scalar_type() == kBFloat16) largest = 3.3895313892515355e38;
  const auto number = [&](double value) { return full({}, value, self.scalar_type()); };
  const Tensor numbers = where(isnan(self), number(nan.value_or(0)), self);
  const Tensor below = where(isposinf(numbers), number(posinf.value_or(largest)), numbers);
  return where(isneginf(below), number(neginf.value_or(-largest)), below);
}

Tensor div(const Tensor& self, const Tensor& other, std::optional<std::string_view> rounding_mode) {
  if (!rounding_mode) return div(self, other);
  if (*rounding_mode == "floor") return floor_divide(self, other);
  TORCH_CHECK(*rounding_mode == "trunc", "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '", *rounding_mode, "'");
  if (isFloatingType(result_type(self, other))) return trunc(div(self, other));
  return floor_divide(abs(self), abs(other)) * sign(self) * sign(other);
}
Tensor div(const Tensor& self, const Scalar& other, std::optional<std::string_view> rounding_mode) { return div(self, wrapped_scalar(other), rounding_mode); }

Tensor round(const Tensor& self, std::int64_t decimals) {
  if (!self.is_floating_point() || decimals == 0) return round(self);
  const double ten_power = std::pow(10.0, static_cast<double>(decimals < 0 ? -decimals : decimals));
  return decimals > 0 ? round(self * ten_power) / ten_power : round(self / ten_power) * ten_power;
}
Tensor clamp(const Tensor& self, const std::optional<Tensor>& min, const std::optional<Tensor>& max) {
  TORCH_CHECK(min || max, "torch.clamp: At least one of 'min' or 'max' must not be None");
  const Tensor raised = min ? maximum(self, *min) : self;
  return max ? minimum(raised, *max) : raised;
}

Tensor isclose(const Tensor& self, const Tensor& other, double rtol, double atol, bool equal_nan) {
  TORCH_CHECK(self.scalar_type() == other.scalar_type(), self.scalar_type(), " did not match ", other.scalar_type());
  TORCH_CHECK(rtol >= 0, "rtol must be greater than or equal to zero, but got ", rtol);
  TORCH_CHECK(atol >= 0, "atol must be greater than or equal to zero, but got ", atol);
  Tensor close = self == other;
  if (equal_nan) close = close.logical_or(isnan(self).logical_and(isnan(other)));
  if (self.scalar_type() == kBool) return close;
  const Tensor x = self.is_floating_point() ? self : self.to(get_default_dtype());
  const Tensor y = other.is_floating_point() ? other : other.to(get_default_dtype());
  const Tensor error = abs(x - y);
  return close.logical_or(isfinite(error).logical_and(error <= abs(y * rtol) + atol));
}
Tensor isposinf(const Tensor& self) { return self.is_floating_point() ? self == std::numeric_limits<double>::infinity() : zeros(self.sizes(), kBool); }
Tensor isneginf(const Tensor& self) { return self.is_floating_point() ? self == -std::numeric_limits<double>::infinity() : zeros(self.sizes(), kBool); }
Tensor isreal(const Tensor& self) { return ones(self.sizes(), kBool); }
Tensor signbit(const Tensor& self) {
  if (self.is_floating_point()) return copysign(ones_like(self.detach()), self.detach()) < 0;
  return self.scalar_type() == kBool ? zeros(self.sizes(), kBool) : self < 0;
}
Tensor isin(const Tensor& elements, const Tensor& test_elements, bool, bool invert) {
  const Tensor found = (elements.unsqueeze(-1) == test_elements.reshape({-1})).any(-1);
  return invert ? found.logical_not() : found;
}

namespace {
// The elements of a dense tensor of doubles, for a range-based loop; it keeps the tensor.
class DoubleList {
 public:
  explicit DoubleList(const Tensor& tensor) : tensor_(tensor.contiguous()) {}
  const double* begin() const { return tensor_.data<double>(); }
  const double* end() const { return begin() + tensor_.numel(); }

 private:
  Tensor tensor_;
};
}  // namespace

Tensor nansum(const Tensor& self) { return sum(self.is_floating_point() ? masked_fill(self, isnan(self), 0) : self); }
Tensor nansum(const Tensor& self, IntArrayRef dim, bool keepdim) { return sum(self.is_floating_point() ? masked_fill(self, isnan(self), 0) : self, dim, keepdim); }
Tensor nanmean(const Tensor& self) { return nansum(self) / sum(isnan(self).logical_not()); }
Tensor nanmean(const Tensor& self, IntArrayRef dim, bool keepdim) { return nansum(self, dim, keepdim) / sum(isnan(self).logical_not(), dim, keepdim); }
Tensor count_nonzero(const Tensor& self) { return sum(self != 0); }
Tensor count_nonzero(const Tensor& self, IntArrayRef dim) { return sum(self != 0, dim); }
std::tuple<Tensor, Tensor> aminmax(const Tensor& self, std::optional<std::int64_t> dim, bool keepdim) {
  if (!dim) return {amin(self), amax(self)};
  return {amin(self, *dim, keepdim), amax(self, *dim, keepdim)};
}
std::tuple<Tensor, Tensor> std_mean(const Tensor& self, IntArrayRef dim, bool unbiased, bool keepdim) {
  return {tinytorch::std(self, dim, unbiased, keepdim), mean(self, dim, keepdim)};
}

namespace {
// Element `position` of each sorted row, and where it stood.
std::tuple<Tensor, Tensor> sorted_element(const Tensor& self, const Tensor& position, std::int64_t dim, bool keepdim) {
  const Tensor order = argsort(self.detach(), dim);
  const Tensor index = gather(order, dim, position);
  const Tensor values = gather(self, dim, index);
  return keepdim ? std::tuple(values, index) : std::tuple(values.squeeze(dim), index.squeeze(dim));
}
}  // namespace

std::tuple<Tensor, Tensor> median(const Tensor& self, std::int64_t dim, bool keepdim) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  if (self.dim() == 0) return {clone(self), zeros({}, kLong)};
  TORCH_CHECK_INDEX(self.size(d) > 0, "median(): Expected reduction dim ", d, " to have non-zero size.");
  // NaN is the largest in this order: a row that has one gives its last element.
  const Tensor has_nan = isnan(self).any(d, true);
  const Tensor position = where(has_nan, full({}, self.size(d) - 1, kLong), full({}, (self.size(d) - 1) / 2, kLong));
  return sorted_element(self, position, d, keepdim);
}
Tensor median(const Tensor& self) {
  if (self.numel() == 0) return full({}, std::numeric_limits<double>::quiet_NaN(), self.scalar_type());
  return std::get<0>(median(self.reshape({-1}), 0));
}
Tensor nanmedian(const Tensor& self) {
  const Tensor numbers = masked_select(self, isnan(self).logical_not());
  return numbers.numel() == 0 ? median(self) : median(numbers);
}
std::tuple<Tensor, Tensor> kthvalue(const Tensor& self, std::int64_t k, std::int64_t dim, bool keepdim) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  const std::int64_t size = self.dim() == 0 ? 1 : self.size(d);
  TORCH_CHECK(k >= 1 && k <= size, "kthvalue(): selected number k out of range for dimension ", d);
  if (self.dim() == 0) return {clone(self), zeros({}, kLong)};
  DimVector one(self.sizes());
  one[static_cast<std::size_t>(d)] = 1;
  return sorted_element(self, full(one, k - 1, kLong), d, keepdim);
}

Tensor quantile(const Tensor& self, const Tensor& q, std::optional<std::int64_t> dim, bool keepdim, std::string_view interpolation) {
  TORCH_CHECK(self.numel() > 0, "quantile() input tensor must be non-empty");
  TORCH_CHECK(q.dim() <= 1, "quantile() q must be a scalar or 1D tensor");
  TORCH_CHECK(self.scalar_type() == kFloat || self.scalar_type() == kDouble, "quantile() input tensor must be either float or double dtype");
  TORCH_CHECK(q.scalar_type() == self.scalar_type(), "quantile() q tensor must be same dtype as the input tensor");
  TORCH_CHECK(((q >= 0).logical_and(q <= 1)).all().item<bool>(), "quantile() q values must be in the range [0, 1]");
  const bool known = interpolation == "linear" || interpolation == "lower" || interpolation == "higher" || interpolation == "nearest" || interpolation == "midpoint";
  TORCH_CHECK(known, "quantile() interpolation must be one of linear, lower, higher, midpoint or nearest, but got ", interpolation);

  // What the result of one q looks like.
  const bool along = dim && self.dim() > 0;
  const std::int64_t d = dim ? wrap_dim(*dim, self.dim()) : 0;
  DimVector sizes(self.sizes());
  for (std::size_t i = sizes.size(); i-- > 0;) {
    if (along && i != static_cast<std::size_t>(d)) continue;
    if (keepdim) sizes[i] = 1;
    else sizes.erase(i);
  }

  const Tensor rows = along ? self.transpose(d, -1) : self.reshape({-1});
  const Tensor sorted = std::get<0>(sort(rows));
  const std::int64_t last = sorted.size(-1) - 1;
  const Tensor greatest = sorted.narrow(-1, last, 1);  // NaN where the row has one
  std::vector<Tensor> results;
  for (const double wanted : DoubleList(q.to(kDouble).reshape({-1}))) {
    const double place = wanted * static_cast<double>(last);
    const double below = interpolation == "higher" ? std::ceil(place) : interpolation == "nearest" ? std::nearbyint(place) : std::floor(place);
    const double above = interpolation == "lower" ? below : std::max(below, std::ceil(place));
    const double weight = above == below ? 0 : interpolation == "midpoint" ? 0.5 : place - below;
    const Tensor low = sorted.narrow(-1, static_cast<std::int64_t>(below), 1);
    const Tensor high = sorted.narrow(-1, static_cast<std::int64_t>(above), 1);
    const Tensor value = where(isnan(greatest), greatest, weight == 0 ? low : lerp(low, high, weight));
    results.push_back((along ? value.transpose(d, -1) : value).reshape(sizes));
  }
  return q.dim() == 0 ? results[0] : stack(results);
}
Tensor quantile(const Tensor& self, double q, std::optional<std::int64_t> dim, bool keepdim, std::string_view interpolation) {
  TORCH_CHECK(q >= 0 && q <= 1, "quantile() q must be in the range [0, 1] but got ", q);
  return quantile(self, full({}, q, self.scalar_type()), dim, keepdim, interpolation);
}

namespace {
// The values along `dim` with the largest (smallest) so far in place of each.
std::tuple<Tensor, Tensor> running_extreme(const Tensor& self, std::int64_t dim, bool largest) {
  if (self.dim() == 0) return {clone(self), zeros({}, kLong)};
  const std::int64_t d = wrap_dim(dim, self.dim());
  const Tensor rows = self.detach().contiguous();
  const Tensor index = zeros(self.sizes(), kLong);
  if (self.numel() == 0) return {clone(self), index};
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    std::int64_t* const first_index = index.data<std::int64_t>();
    for_each_row<T>(rows, d, [&](std::int64_t, const T* row, std::int64_t step) {
      std::int64_t* const out = first_index + (row - rows.data<T>());
      std::int64_t best = 0;
      for (std::int64_t j = 0; j < self.size(d); ++j) {
        const T x = row[j * step];
        const T y = row[best * step];
        const auto is_nan = [](T value) { return std::isnan(static_cast<double>(value)); };
        if (is_nan(x) || (!is_nan(y) && (largest ? x >= y : x <= y))) best = j;
        out[j * step] = best;
      }
    });
  });
  return {gather(self, d, index), index};
}
}  // namespace
std::tuple<Tensor, Tensor> cummax(const Tensor& self, std::int64_t dim) { return running_extreme(self, dim, true); }
std::tuple<Tensor, Tensor> cummin(const Tensor& self, std::int64_t dim) { return running_extreme(self, dim, false); }

Tensor dist(const Tensor& self, const Tensor& other, const Scalar& p) { return norm(self - other, p); }
Tensor trace(const Tensor& self) {
  TORCH_CHECK(self.dim() == 2, "trace: expected a matrix, but got tensor with dim ", self.dim());
  return sum(diagonal(self));
}

Tensor histc(const Tensor& self, std::int64_t bins, const Scalar& min, const Scalar& max) {
  TORCH_CHECK(bins > 0, "torch.histogram(): bins must be > 0, but got ", bins);
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(), "\"histogram_cpu\" not implemented for '", self.scalar_type(), "'");
  double low = min.toDouble();
  double high = max.toDouble();
  if (low == high && self.numel() > 0) {
    low = amin(self).item<double>();
    high = amax(self).item<double>();
  }
  if (low == high) {
    low -= 1;
    high += 1;
  }
  TORCH_CHECK(std::isfinite(low) && std::isfinite(high), "torch.histc: range of [", low, ", ", high, "] is not finite");
  TORCH_CHECK(low < high, "torch.histc: max must be larger than min");
  const Tensor counts = zeros({bins}, kDouble);
  for (const double x : DoubleList(self.detach().to(kDouble).reshape({-1}))) {
    if (!(x >= low && x <= high)) continue;
    const auto bin = static_cast<std::int64_t>((x - low) / (high - low) * static_cast<double>(bins));
    counts.data<double>()[std::min(bin, bins - 1)] += 1;
  }
  return counts.to(self.scalar_type());
}

Tensor bincount(const Tensor& self, const std::optional<Tensor>& weights, std::int64_t minlength) {
  TORCH_CHECK(minlength >= 0, "minlength should be >= 0");
  TORCH_CHECK(self.dim() == 1 && !self.is_floating_point(), "bincount only supports 1-d non-negative integral inputs.");
  TORCH_CHECK(self.numel() == 0 || self.min().item<std::int64_t>() >= 0, "bincount only supports 1-d non-negative integral inputs.");
  const bool weighted = weights && weights->defined();
  TORCH_CHECK(!weighted || weights->sizes() == self.sizes(), "weights should be 1-d and have the same length as input");
  const std::int64_t size = self.numel() == 0 ? minlength : std::max(minlength, self.max().item<std::int64_t>() + 1);
  const Tensor places = self.to(kLong);
  if (!weighted) return zeros({size}, kLong).index_add_(0, places, ones_like(places));
  const ScalarType type = weights->scalar_type() == kFloat ? kFloat : kDouble;
  return zeros({size}, type).index_add_(0, places, weights->to(type));
}

Tensor searchsorted(const Tensor& sorted_sequence, const Tensor& self, bool out_int32, bool right) {
  const bool one_for_all = sorted_sequence.dim() == 1;
  bool fits = one_for_all || sorted_sequence.dim() == self.dim();
  for (std::int64_t i = 0; fits && !one_for_all && i + 1 < self.dim(); ++i) fits = self.size(i) == sorted_sequence.size(i);
  TORCH_CHECK(fits, "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and input value tensor must match, "
              "but we got boundaries tensor ", sorted_sequence.sizes(), " and input value tensor ", self.sizes());
  const Tensor sequence = sorted_sequence.detach().to(kDouble).contiguous();
  const Tensor wanted = self.detach().to(kDouble).contiguous();
  const Tensor result = empty(self.sizes(), kLong);
  const std::int64_t length = sequence.size(-1);
  const std::int64_t row_length = self.dim() == 0 ? 1 : self.size(-1);
  for (std::int64_t i = 0; i < self.numel(); ++i) {
    const double* const first = sequence.data<double>() + (one_for_all ? 0 : i / row_length * length);
    const double value = wanted.data<double>()[i];
    // NaN is greater than every number.
    const double* const place = std::isnan(value) ? first + length : right ? std::upper_bound(first, first + length, value) : std::lower_bound(first, first + length, value);
    result.data<std::int64_t>()[i] = place - first;
  }
  return out_int32 ? result.to(kInt) : result;
}
Tensor bucketize(const Tensor& self, const Tensor& boundaries, bool out_int32, bool right) {
  TORCH_CHECK(boundaries.dim() == 1, "bucketize(): boundaries tensor must be 1 dimension, but got dim(", boundaries.dim(), ")");
  return searchsorted(boundaries, self, out_int32, right);
}

}  // namespace tinytorch
