// From the lesson modules/74_tensor_breadth/tensor_breadth_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>
#include <type_traits>

#include "tinytorch/core/breadth.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/half_precision.h"
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/activations.h"

namespace tinytorch {

namespace {
Tensor frac_cpu(const Tensor& self) { return self - trunc(self); }
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::frac("frac", {.cpu = frac_cpu, .autograd = gradient_of<op::frac>([](const Tensor& g) { return g; })});
Tensor frac(const Tensor& self) { return op::frac(self); }
Tensor deg2rad(const Tensor& self) { return self * (3.14159265358979323846 / 180); }
Tensor rad2deg(const Tensor& self) { return self * (180 / 3.14159265358979323846); }
Tensor sinc(const Tensor& self) {
  const Tensor x = where(self == 0, ones_like(self), self) * 3.14159265358979323846;
  return where(self == 0, full({}, 1, x.scalar_type()), sin(x) / x);
}
// Of chapter 89 too, whose kernel computes it in one pass. What was cut away gets nothing, and what is no probability NaN.
Tensor logit_backward(const Tensor& g, const Tensor& self, double low, double high) {
  const Tensor nan = full({}, std::numeric_limits<double>::quiet_NaN(), self.scalar_type());
  const Tensor slopes = where(logical_and(self >= 0, self <= 1), g / (self * (1 - self)), nan);
  return where(logical_or(self < low, self > high), zeros({}, g.options()), slopes);
}
namespace {
Tensor logit_cpu(const Tensor& self, double low, double high) {
  const Tensor x = clamp(self, Scalar(low), Scalar(high));
  return log(x / (1 - x));
}
}  // namespace
constinit Operator<Tensor(const Tensor&, double, double)> op::logit(
    "logit", {.cpu = logit_cpu, .autograd = gradient_of<op::logit>([](const Tensor& g, Input<0> self, Arg<1, double> low, Arg<2, double> high) { return logit_backward(g, self, low, high); })});
Tensor logit(const Tensor& self, std::optional<double> eps) {
  const Tensor x = isFloatingType(self.scalar_type()) ? self : self.to(get_default_dtype());
  const double infinity = std::numeric_limits<double>::infinity();
  if (!eps || *eps < 0) return op::logit(x, -infinity, infinity);
  // As the dtype rounds them.
  const Tensor low = full({}, *eps, x.scalar_type());
  return op::logit(x, low.item<double>(), (1 - low).item<double>());
}
Tensor xlogy(const Tensor& self, const Tensor& other) {
  // The logarithm is taken of 1 where x is 0, so that neither the value nor the gradient is 0 * infinity.
  const Tensor nothing = (self == 0).logical_and(isnan(other).logical_not());
  return self * log(where(nothing, full({}, 1, other.scalar_type()), other));
}
namespace {
void check_floats(const char* name, ScalarType type) { TORCH_CHECK_NOT_IMPLEMENTED(isFloatingType(type), "\"", name, "\" not implemented for '", type, "'"); }

// Equal infinities are no distance apart, though their difference is NaN.
Tensor logaddexp_cpu(const Tensor& self, const Tensor& other) {
  const Tensor larger_one = maximum(self, other);
  return larger_one + log1p(exp(where(self == other, zeros({}, larger_one.options()), -abs(self - other))));
}

// What x has of exp(x) + exp(y): half of it where both are the same infinity.
Tensor share_of_first(const Tensor& x, const Tensor& y) {
  const Tensor distance = x - y;
  return sigmoid(where(logical_and(x == y, isinf(x)), zeros({}, distance.options()), distance));
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::logaddexp("logaddexp", {.cpu = logaddexp_cpu, .autograd = gradient_of<op::logaddexp>(
    [](const Tensor& g, Input<0> self, Input<1> other) { return g * share_of_first(self, other); },
    [](const Tensor& g, Input<0> self, Input<1> other) { return g * share_of_first(other, self); })});
Tensor logaddexp(const Tensor& self, const Tensor& other) {
  check_floats("logaddexp_cpu", result_type(self, other));
  return op::logaddexp(self, other);
}
Tensor logaddexp2(const Tensor& self, const Tensor& other) {
  check_floats("logaddexp2_cpu", result_type(self, other));
  const double log_2 = 0.69314718055994530942;
  return logaddexp(self * log_2, other * log_2) / log_2;
}
Tensor fmax(const Tensor& self, const Tensor& other) { return where(isnan(other), self, where(isnan(self), other, maximum(self, other))); }
Tensor fmin(const Tensor& self, const Tensor& other) { return where(isnan(other), self, where(isnan(self), other, minimum(self, other))); }
Tensor heaviside(const Tensor& self, const Tensor& values) {
  TORCH_CHECK(self.scalar_type() == values.scalar_type(), "heaviside is not yet implemented for tensors with different dtypes.");
  return where(self == 0, values, (self > 0).to(self.scalar_type()));
}
Tensor float_power(const Tensor& self, const Tensor& exponent) { return pow(self.to(kDouble), exponent.to(kDouble)); }
Tensor float_power(const Tensor& self, const Scalar& exponent) { return pow(self.to(kDouble), exponent.toDouble()); }

namespace {
Tensor nan_to_num_cpu(const Tensor& self, double nan, double posinf, double neginf) {
  return map_floating("nan_to_num", self, [=](auto x) {
    using T = decltype(x);
    if (std::isnan(x)) return static_cast<T>(nan);
    return std::isinf(x) ? static_cast<T>(x > 0 ? posinf : neginf) : x;
  });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, double, double, double)> op::nan_to_num("nan_to_num", {.cpu = nan_to_num_cpu, .autograd = gradient_of<op::nan_to_num>([](const Tensor& g, Input<0> self) {
  return where(isfinite(self), g, zeros({}, g.options()));
})});

Tensor nan_to_num(const Tensor& self, std::optional<double> nan, std::optional<double> posinf, std::optional<double> neginf) {
  if (!self.is_floating_point()) return clone(self);
  double largest = std::numeric_limits<double>::max();
  if (self.scalar_type() == kFloat) largest = static_cast<double>(std::numeric_limits<float>::max());
  if (self.scalar_type() == kHalf) largest = 65504;
  if (self.scalar_type() == kBFloat16) largest = 3.3895313892515355e38;
  return op::nan_to_num(self, nan.value_or(0), posinf.value_or(largest), neginf.value_or(-largest));
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
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(), "std_mean only support floating point and complex dtypes");
  return {tinytorch::std(self, dim, unbiased, keepdim), mean(self, dim, keepdim)};
}

namespace {
// The rank of a row's element in rising order, from 0, NaN behind all numbers; of the median in a row with NaN that of the first NaN.
struct Rank {
  std::int64_t position;
  bool nan_wins;
};

// Copies the numbers for which `keep` holds, and gives their count. Writes each and goes on if it shall stay: a jump would be guessed wrong every other time. `to` has room for one more than that.
template <class T, class Keep>
std::int64_t copy_kept(const T* from, std::int64_t count, T* to, Keep keep) {
  std::int64_t kept = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    to[kept] = from[i];
    kept += static_cast<std::int64_t>(keep(from[i]));
  }
  return kept;
}

// The number that would be at `position` if they were sorted. They are rearranged; `between` is scratch memory for count + 1. O(count) on average.
template <class T>
T number_of_rank(T* numbers, std::int64_t count, std::int64_t position, T* between) {
  constexpr std::int64_t kEach = 64;
  if (count > 4096) {
    // Two numbers of a sorted sample that almost surely lie on both sides of the wanted one (four standard deviations of its rank in the sample), then only what is between them.
    std::vector<T> sample;
    for (std::int64_t i = 0; i < count; i += kEach) sample.push_back(numbers[i]);
    std::sort(sample.begin(), sample.end());
    const auto size = static_cast<std::int64_t>(sample.size());
    const auto margin = static_cast<std::int64_t>(2 * std::sqrt(static_cast<double>(size)));
    const T low = sample[static_cast<std::size_t>(std::max<std::int64_t>(0, position / kEach - margin))], high = sample[static_cast<std::size_t>(std::min(size - 1, position / kEach + margin))];
    std::int64_t below = 0;
    const std::int64_t kept = copy_kept(numbers, count, between, [&](T x) {
      below += static_cast<std::int64_t>(x < low);
      return static_cast<int>(low <= x) & static_cast<int>(x <= high);
    });
    if (below <= position && position < below + kept) {
      std::nth_element(between, between + (position - below), between + kept);
      return between[position - below];
    }
  }
  std::nth_element(numbers, numbers + position, numbers + count);
  return numbers[position];
}

// Where in `row` the element of that rank stands; equal numbers, and NaN, rank in the order of the row, as in a stable sort. Scratch memory as above. O(count) on average.
template <class T>
std::int64_t place_of(Rank rank, const T* row, std::int64_t count, T* numbers, T* between) {
  // The place of the one before which `skipped` others are wanted too.
  const auto find_after = [&](std::int64_t skipped, auto wanted) {
    const T* found = std::find_if(row, row + count, wanted);
    for (; skipped > 0; --skipped) found = std::find_if(found + 1, row + count, wanted);
    return static_cast<std::int64_t>(found - row);
  };
  const std::int64_t known = copy_kept(row, count, numbers, [](T x) { return x == x; });
  if (rank.nan_wins ? known < count : rank.position >= known) return find_after(rank.nan_wins ? 0 : rank.position - known, [](T x) { return x != x; });
  const T number = number_of_rank(numbers, known, rank.position, between);
  const auto smaller = static_cast<std::int64_t>(std::count_if(row, row + count, [&](T x) { return x < number; }));
  return find_after(rank.position - smaller, [&](T x) { return x == number; });
}

// The places along `dim`, which has size 1 in the result.
Tensor places_of(Rank rank, const Tensor& self, std::int64_t dim) {
  Tensor rows = self.detach().transpose(dim, -1);
  if (isReducedFloatingType(rows.scalar_type())) rows = rows.to(kFloat);
  rows = rows.contiguous();
  const std::int64_t count = rows.size(-1);
  const Tensor places = empty({rows.numel() / count}, kLong);
  const Tensor numbers = empty({count + 1}, rows.options()), between = empty({count + 1}, rows.options());
  dispatch_all_types(rows.scalar_type(), [&]<class T>() {
    for (std::int64_t i = 0; i < places.numel(); ++i) places.data<std::int64_t>()[i] = place_of(rank, rows.data<T>() + i * count, count, numbers.data<T>(), between.data<T>());
  });
  DimVector sizes(rows.sizes());
  sizes.back() = 1;
  return places.view(sizes).transpose(dim, -1);
}

std::tuple<Tensor, Tensor> element_of_rank(Rank rank, const Tensor& self, std::int64_t dim, bool keepdim) {
  const Tensor index = places_of(rank, self, dim);
  const Tensor values = gather(self, dim, index);
  return keepdim ? std::tuple(values, index) : std::tuple(values.squeeze(dim), index.squeeze(dim));
}
}  // namespace

std::tuple<Tensor, Tensor> median(const Tensor& self, std::int64_t dim, bool keepdim) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  if (self.dim() == 0) return {clone(self), zeros({}, kLong)};
  TORCH_CHECK_INDEX(self.size(d) > 0, "median(): Expected reduction dim ", d, " to have non-zero size.");
  return element_of_rank({(self.size(d) - 1) / 2, true}, self, d, keepdim);
}
Tensor median(const Tensor& self) {
  if (self.numel() == 0) return full({}, std::numeric_limits<double>::quiet_NaN(), self.scalar_type());
  const Tensor flat = self.reshape({-1});
  const Tensor value = std::get<0>(median(flat, 0));
  if (!value.requires_grad()) return value;
  // All elements that are equal to it share its gradient.
  const Tensor number = value.detach(), nan = isnan(number);
  return nan.item<bool>() ? masked_select(flat, isnan(flat)).mean() : masked_select(flat, flat == number).amax({0});
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
  return element_of_rank({k - 1, false}, self, d, keepdim);
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
template <class T>
bool is_not_a_number(T x) {
  if constexpr (std::is_floating_point_v<T>) return std::isnan(x);
  else return false;
}

// Of `count` numbers that follow each other: the largest (smallest) so far, and where it stands, the last of equal ones. Behind a NaN only NaNs are taken.
template <bool kLargest, class T>
void running_extreme_of_row(const T* x, std::int64_t count, T* values, std::int64_t* places) {
  T best = x[0];
  std::int64_t place = 0, j = 0;
  for (; j < count && !is_not_a_number(x[j]); ++j) {
    const bool stays = kLargest ? best > x[j] : best < x[j];
    best = stays ? best : x[j];
    place = best == x[j] ? j : place;
    values[j] = best;
    places[j] = place;
  }
  for (; j < count; ++j) {
    if (is_not_a_number(x[j])) {
      best = x[j];
      place = j;
    }
    values[j] = best;
    places[j] = place;
  }
}

// Of the columns of a matrix (rows, columns), row by row: each is compared with the results of the row before.
template <bool kLargest, class T>
void running_extreme_of_columns(const T* x, std::int64_t rows, std::int64_t columns, T* values, std::int64_t* places) {
  std::copy(x, x + columns, values);
  std::fill(places, places + columns, 0);
  for (std::int64_t j = 1; j < rows; ++j) {
    const T* const before = values;
    const std::int64_t* const place_before = places;
    x += columns;
    values += columns;
    places += columns;
    for (std::int64_t k = 0; k < columns; ++k) {
      const T best = before[k];
      const bool taken = is_not_a_number(x[k]) || (!is_not_a_number(best) && (kLargest ? x[k] >= best : x[k] <= best));
      values[k] = taken ? x[k] : best;
      places[k] = taken ? j : place_before[k];
    }
  }
}

// The largest (smallest) so far along `dim`, and where it stands.
template <bool kLargest>
std::tuple<Tensor, Tensor> running_extreme(const Tensor& self, std::int64_t dim) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  if (self.dim() == 0) return {clone(self), zeros({}, kLong)};
  const Tensor x = detail::widened(self.detach(), {}).contiguous();
  const Tensor values = empty(x.sizes(), x.scalar_type()), places = empty(x.sizes(), kLong);
  if (self.numel() == 0) return {clone(self), places};
  const std::int64_t rows = x.size(d);
  std::int64_t columns = 1;
  for (std::int64_t inner = d + 1; inner < x.dim(); ++inner) columns *= x.size(inner);
  dispatch_all_types(x.scalar_type(), [&]<class T>() {
    for (std::int64_t at = 0; at < x.numel(); at += rows * columns) {
      T* const value = values.data<T>() + at;
      std::int64_t* const place = places.data<std::int64_t>() + at;
      if (columns == 1) running_extreme_of_row<kLargest>(x.data<T>() + at, rows, value, place);
      else running_extreme_of_columns<kLargest>(x.data<T>() + at, rows, columns, value, place);
    }
  });
  return {self.requires_grad() ? gather(self, d, places) : values.to(self.scalar_type()), places};
}
}  // namespace
std::tuple<Tensor, Tensor> cummax(const Tensor& self, std::int64_t dim) { return running_extreme<true>(self, dim); }
std::tuple<Tensor, Tensor> cummin(const Tensor& self, std::int64_t dim) { return running_extreme<false>(self, dim); }

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
  if (!weighted) {  // counted where it is seen, without a tensor of ones
    const Tensor counts = zeros({size}, kLong), dense = places.contiguous();
    std::int64_t* const count = counts.data<std::int64_t>();
    const std::int64_t* const place = dense.data<std::int64_t>();
    for (std::int64_t i = 0; i < dense.numel(); ++i) ++count[place[i]];
    return counts;
  }
  const ScalarType type = weights->scalar_type() == kFloat ? kFloat : kDouble;
  return zeros({size}, type).index_add_(0, places, weights->to(type));
}

namespace {
// A search for the first place whose number is not less than `value` (with Right: greater), among `count` numbers from `place` on.
template <bool Right, class T>
struct Search {
  T value;
  std::int64_t place, count;

  // Looks at the number in the middle. The steps are those of std::lower_bound, so that numbers in no order give PyTorch's place too; but what each of them decides is a mask of bits, since a jump would be guessed wrong every other time.
  void step(const T* sorted) {
    const std::int64_t half = count / 2;
    const T middle = sorted[place + half];
    const auto lies_before = static_cast<std::int64_t>(Right ? !(value < middle) : middle < value);
    place += (half + 1) & -lies_before;
    count = half - (lies_before & ~count & 1);  // count - half - 1 behind the middle, half before it
  }
};

// The places of `wanted` values. Each step of a search waits for the one before; eight searches side by side keep the processor busy meanwhile. O(wanted log count).
template <bool Right, class T>
void find_places(const T* sorted, std::int64_t count, const T* values, std::int64_t wanted, std::int64_t* places) {
  constexpr std::int64_t kTogether = 8;
  for (std::int64_t first = 0; first < wanted; first += kTogether) {
    const std::int64_t searches = std::min(kTogether, wanted - first);
    std::array<Search<Right, T>, kTogether> all;
    for (std::int64_t i = 0; i < kTogether; ++i) all[static_cast<std::size_t>(i)] = {values[first + std::min(i, searches - 1)], 0, count};
    for (std::int64_t least = count; least > 0; least = (least - 1) / 2)
      for (Search<Right, T>& search : all) search.step(sorted);
    for (std::int64_t i = 0; i < searches; ++i) {
      Search<Right, T>& search = all[static_cast<std::size_t>(i)];
      while (search.count > 0) search.step(sorted);
      places[first + i] = search.value == search.value ? search.place : count;  // NaN is greater than every number
    }
  }
}
}  // namespace
Tensor searchsorted(const Tensor& sorted_sequence, const Tensor& self, bool out_int32, bool right) {
  const bool one_for_all = sorted_sequence.dim() == 1;
  bool fits = one_for_all || sorted_sequence.dim() == self.dim();
  for (std::int64_t i = 0; fits && !one_for_all && i + 1 < self.dim(); ++i) fits = self.size(i) == sorted_sequence.size(i);
  TORCH_CHECK(fits, "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and input value tensor must match, "
              "but we got boundaries tensor ", sorted_sequence.sizes(), " and input value tensor ", self.sizes());
  ScalarType type = promoteTypes(sorted_sequence.scalar_type(), self.scalar_type());
  if (type == kBool || isReducedFloatingType(type)) type = kFloat;
  const Tensor sequence = sorted_sequence.detach().to(type).contiguous(), wanted = self.detach().to(type).contiguous();
  const Tensor result = empty(self.sizes(), kLong);
  const std::int64_t length = sequence.size(-1), row_length = self.dim() == 0 ? 1 : self.size(-1);
  dispatch_all_types(type, [&]<class T>() {
    const std::int64_t rows = one_for_all ? 1 : self.numel() / std::max<std::int64_t>(1, row_length), each = one_for_all ? self.numel() : row_length;
    for (std::int64_t row = 0; row < rows; ++row) {
      const T *const sorted = sequence.data<T>() + row * length, *const values = wanted.data<T>() + row * each;
      std::int64_t* const places = result.data<std::int64_t>() + row * each;
      if (right) find_places<true>(sorted, length, values, each, places);
      else find_places<false>(sorted, length, values, each, places);
    }
  });
  return out_int32 ? result.to(kInt) : result;
}

namespace {
// The place of each element among the sorted ones, where an equal number stands if there is one.
Tensor found_among(const Tensor& elements, const Tensor& sorted) {
  const Tensor places = searchsorted(sorted, elements).clamp_max(sorted.numel() - 1);
  return sorted.index({places}) == elements;
}
}  // namespace
Tensor isin(const Tensor& elements, const Tensor& test_elements, bool, bool invert) {
  constexpr std::int64_t kFew = 64;  // so few are compared one by one
  const Tensor wanted = test_elements.reshape({-1});
  const ScalarType type = result_type(elements, wanted);
  const bool sorts = wanted.numel() > kFew && type != kBool && !isReducedFloatingType(type);
  const Tensor found = sorts ? found_among(elements.to(type), std::get<0>(sort(wanted.to(type)))) : (elements.unsqueeze(-1) == wanted).any(-1);
  return invert ? found.logical_not() : found;
}
Tensor bucketize(const Tensor& self, const Tensor& boundaries, bool out_int32, bool right) {
  TORCH_CHECK(boundaries.dim() == 1, "bucketize(): boundaries tensor must be 1 dimension, but got dim(", boundaries.dim(), ")");
  return searchsorted(boundaries, self, out_int32, right);
}

namespace {
constexpr std::string_view reductions[] = {"sum", "prod", "mean", "amax", "amin"};
enum : std::int64_t { kBySum, kByProduct, kByMean, kByLargest, kBySmallest };

// Calls f(element of `to`, element of `src`) for every element of `index` (Long, at least one dimension), which says where along `dim` the first is.
template <class T, class F>
void for_each_scattered(const Tensor& to, std::int64_t dim, const Tensor& index, const Tensor& src, F f) {
  DimVector strides(to.strides());
  const std::int64_t along = strides[static_cast<std::size_t>(dim)], size = to.size(dim);
  strides[static_cast<std::size_t>(dim)] = 0;
  const StridedLoop<3> loop(index.sizes(), {IntArrayRef(strides), index.strides(), src.strides()});
  loop.run([&](const auto& offset, std::int64_t count, const auto& step) {
    T* const out = to.data<T>() + offset[0];
    const std::int64_t* const where = index.data<std::int64_t>() + offset[1];
    const T* const in = src.data<T>() + offset[2];
    const std::int64_t out_step = step[0], where_step = step[1], in_step = step[2];
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t at = where[i * where_step];
      TORCH_CHECK(at >= 0 && at < size, "index ", at, " is out of bounds for dimension ", dim, " with size ", size);
      f(out[i * out_step + at * along], in[i * in_step]);
    }
  });
}

// What a reduction begins with.
template <class T>
T neutral(std::int64_t reduce) {
  using Limits = std::numeric_limits<T>;
  if (reduce == kByLargest) return Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
  if (reduce == kBySmallest) return Limits::has_infinity ? Limits::infinity() : Limits::max();
  return static_cast<T>(reduce == kByProduct ? 1 : 0);
}

template <class T>
T joined(std::int64_t reduce, T a, T b) {
  if (reduce == kByLargest) return larger(a, b);
  if (reduce == kBySmallest) return smaller(a, b);
  return static_cast<T>(reduce == kByProduct ? a * b : a + b);
}

Tensor scatter_reduce_cpu(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src, std::int64_t reduce, bool include_self) {
  const Tensor result = clone(self, MemoryFormat::Contiguous);
  const auto vector_of = [](const Tensor& x) { return x.dim() == 0 ? x.view({1}) : x; };
  const Tensor to = vector_of(result), from = vector_of(src), where_to = to_dtype(vector_of(index), kLong);
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    if (!include_self) for_each_scattered<T>(to, dim, where_to, from, [reduce](T& out, T) { out = neutral<T>(reduce); });
    for_each_scattered<T>(to, dim, where_to, from, [reduce](T& out, T in) { out = joined<T>(reduce, out, in); });
  });
  if (reduce != kByMean) return result;
  const Tensor counts = scatter_add(include_self ? ones(self.sizes(), kLong) : zeros(self.sizes(), kLong), dim, index, ones(index.sizes(), kLong)).clamp_min(1);
  return self.is_floating_point() ? result / counts.to(self.scalar_type()) : floor_divide(result, counts.to(self.scalar_type()));
}

// What is joined to self at no place of `index` keeps its gradient; elsewhere only with include_self.
Tensor of_self(const Tensor& grad, std::int64_t dim, const Tensor& index, bool include_self) { return include_self ? grad : scatter(grad, dim, index, 0); }

// How many numbers were joined at each place, self's among them with include_self; at least 1.
Tensor numbers_joined(const Tensor& like, std::int64_t dim, const Tensor& index, bool include_self) {
  return scatter_add(include_self ? ones_like(like) : zeros_like(like), dim, index, ones(index.sizes(), like.options())).clamp_min(1);
}

// The part of src that `index` reaches.
Tensor fitted(const Tensor& src, const Tensor& index) {
  Tensor part = src;
  for (std::int64_t d = 0; d < index.dim(); ++d) part = part.narrow(d, 0, index.size(d));
  return part;
}

// The gradient over the number of those that are the extreme at their place, for each of them.
Tensor share_of_extreme(const Tensor& grad, const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src, const Tensor& result, bool include_self) {
  const Tensor here = of_self((self == result).to(grad.scalar_type()), dim, index, include_self);
  const Tensor there = (fitted(src, index) == result.gather(dim, index)).to(grad.scalar_type());
  return grad / scatter_add(here, dim, index, there).clamp_min(1);
}
}  // namespace

namespace {
Tensor scatter_reduce_self_backward(const Tensor& grad, const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src, const Tensor& result, std::int64_t reduce, bool include_self) {
  switch (reduce) {
    case kByProduct: {
      // The product of the others: the whole divided by one's own, or, of a zero, computed with a 1 in its place.
      const Tensor own = where(self == 0, ones_like(self), self);
      return of_self(grad * scatter_reduce(own, dim, index, src, "prod", include_self) / own, dim, index, include_self);
    }
    case kByMean: return of_self(grad / numbers_joined(grad, dim, index, include_self), dim, index, include_self);
    case kByLargest:
    case kBySmallest: return of_self((self == result).to(grad.scalar_type()) * share_of_extreme(grad, self, dim, index, src, result, include_self), dim, index, include_self);
    default: return of_self(grad, dim, index, include_self);
  }
}

// The gradient for the part of src that index reaches.
Tensor scatter_reduce_part_backward(const Tensor& grad, const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src, const Tensor& result, std::int64_t reduce, bool include_self) {
  switch (reduce) {
    case kByProduct: {
      // Of a place with one zero among the sources, only that zero's gradient is not zero.
      const Tensor is_zero = src == 0;
      const Tensor zeros_there = scatter_add(zeros_like(self), dim, index, is_zero.to(self.scalar_type())).gather(dim, index);
      const Tensor lone = is_zero.logical_and(zeros_there == 1);
      const Tensor without = scatter_reduce(self, dim, index, where(lone, ones_like(src), src), "prod", include_self);
      const Tensor plain = (grad * result).gather(dim, index) / where(is_zero, ones_like(src), src);
      return where(lone, (grad * without).gather(dim, index), plain);
    }
    case kByMean: return (grad / numbers_joined(grad, dim, index, include_self)).gather(dim, index);
    case kByLargest:
    case kBySmallest: return (src == result.gather(dim, index)).to(grad.scalar_type()) * share_of_extreme(grad, self, dim, index, src, result, include_self).gather(dim, index);
    default: return grad.gather(dim, index);
  }
}

Tensor scatter_reduce_src_backward(const Tensor& grad, const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src, const Tensor& result, std::int64_t reduce, bool include_self) {
  const Tensor part = scatter_reduce_part_backward(grad, self, dim, index, fitted(src, index), result, reduce, include_self);
  if (part.sizes() == src.sizes()) return part;
  Tensor whole = zeros_like(src);
  fitted(whole, index).copy_(part);
  return whole;
}

// Bits moved by a number of places that may be negative or too large.
template <class F>
Tensor shifted(const char* name, const Tensor& self, const Tensor& other, F f) {
  const ScalarType type = result_type(self, other);
  TORCH_CHECK_NOT_IMPLEMENTED(isIntegralType(type, false), "\"", name, "\" not implemented for '", type, "'");
  return zip_promoted(self, other, [f](auto x, auto places) {
    using T = decltype(x);
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) return f(x, places);
    else return x;
  });
}
Tensor bitwise_left_shift_cpu(const Tensor& self, const Tensor& other) {
  return shifted("lshift_cpu", self, other, [](auto x, auto places) {
    using T = decltype(x);
    constexpr int bits = static_cast<int>(sizeof(T) * 8);
    return static_cast<std::make_signed_t<T>>(places) < 0 || static_cast<std::int64_t>(places) >= bits ? T{0} : static_cast<T>(static_cast<std::make_unsigned_t<T>>(x) << places);
  });
}
Tensor bitwise_right_shift_cpu(const Tensor& self, const Tensor& other) {
  return shifted("rshift_cpu", self, other, [](auto x, auto places) {
    using T = decltype(x);
    constexpr int most = static_cast<int>(sizeof(T) * 8) - (std::is_signed_v<T> ? 1 : 0);
    const bool beyond = static_cast<std::make_signed_t<T>>(places) < 0 || static_cast<std::int64_t>(places) >= most;
    if (beyond) return static_cast<T>(std::is_signed_v<T> && x < T{0} ? -1 : 0);
    return static_cast<T>(x >> places);
  });
}
}  // namespace

constinit Operator<Tensor(const Tensor&, std::int64_t, const Tensor&, const Tensor&, std::int64_t, bool)> op::scatter_reduce("scatter_reduce", {
    .cpu = scatter_reduce_cpu,
    .autograd = gradient_of<op::scatter_reduce>(
        [](const Tensor& g, Input<0> self, Arg<1, std::int64_t> dim, Input<2> index, Input<3> src, Output result, Arg<4, std::int64_t> reduce, Arg<5, bool> include_self) {
          return scatter_reduce_self_backward(g, self, dim.value, index, fitted(src, index), result, reduce.value, include_self.value);
        },
        no_gradient,
        [](const Tensor& g, Input<0> self, Arg<1, std::int64_t> dim, Input<2> index, Input<3> src, Output result, Arg<4, std::int64_t> reduce, Arg<5, bool> include_self) {
          return scatter_reduce_src_backward(g, self, dim.value, index, src, result, reduce.value, include_self.value);
        })});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::bitwise_left_shift("bitwise_left_shift", {.cpu = bitwise_left_shift_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::bitwise_right_shift("bitwise_right_shift", {.cpu = bitwise_right_shift_cpu});

void register_choosing() {
  compute_in_float<op::scatter_reduce, op::nan_to_num, op::frac, op::logaddexp>();
  // Made of other operators, which a device from outside may have.
  op::frac.set(Layer::PrivateUse1, frac_cpu);
  op::logaddexp.set(Layer::PrivateUse1, logaddexp_cpu);
}

Tensor scatter_reduce(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce, bool include_self) {
  const auto* const found = std::find(std::begin(reductions), std::end(reductions), reduce);
  TORCH_CHECK(found != std::end(reductions), "reduce argument must be either sum, prod, mean, amax or amin, got ", reduce);
  TORCH_CHECK(self.scalar_type() == src.scalar_type(), "scatter(): Expected self.dtype to be equal to src.dtype");
  TORCH_CHECK(index.scalar_type() == kLong || index.scalar_type() == kInt, "scatter(): Expected dtype int32/int64 for index");
  const std::int64_t d = wrap_dim(dim, self.dim());
  if (index.numel() == 0) return clone(self);
  const auto dims = [](const Tensor& x) { return std::max<std::int64_t>(x.dim(), 1); };
  TORCH_CHECK(dims(index) == dims(self), "Index tensor must have the same number of dimensions as self tensor");
  TORCH_CHECK(dims(index) == dims(src), "Index tensor must have the same number of dimensions as src tensor");
  for (std::int64_t i = 0; i < index.dim(); ++i)
    TORCH_CHECK(index.size(i) <= src.size(i) && (i == d || index.size(i) <= self.size(i)), "Expected index ", index.sizes(), " to be no larger than self ", self.sizes(), " apart from dimension ", d,
                " and to be no larger size than src ", src.sizes());
  return op::scatter_reduce(self, d, index, src, found - std::begin(reductions), include_self);
}

Tensor index_reduce(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source, std::string_view reduce, bool include_self) {
  TORCH_CHECK(reduce == "prod" || reduce == "mean" || reduce == "amax" || reduce == "amin", "index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got ", reduce, ".");
  TORCH_CHECK(index.dim() <= 1, "index_reduce_(): Index is supposed to be a vector, but got dim: ", index.dim());
  TORCH_CHECK(index.scalar_type() == kLong || index.scalar_type() == kInt, "index_reduce_(): Expected dtype int32/int64 for index");
  TORCH_CHECK(self.scalar_type() == source.scalar_type(), "index_reduce_(): self and source must have the same scalar type");
  const std::int64_t d = wrap_dim(dim, self.dim());
  TORCH_CHECK(source.dim() == 0 || index.numel() == source.size(d), "index_reduce_(): Number of indices (", index.numel(), ") should be equal to source.size(dim) (", source.dim() == 0 ? 1 : source.size(d), ")");
  DimVector shape(static_cast<std::size_t>(std::max<std::int64_t>(source.dim(), 1)), 1);
  shape[static_cast<std::size_t>(d)] = index.numel();
  const Tensor slices = source.dim() == 0 ? source.view({1}) : source;
  return scatter_reduce(self, d, index.view(shape).expand(slices.sizes()), slices, reduce, include_self);
}

Tensor bitwise_left_shift(const Tensor& self, const Tensor& other) { return op::bitwise_left_shift(self, other); }
Tensor bitwise_left_shift(const Tensor& self, const Scalar& other) { return op::bitwise_left_shift(self, wrapped_scalar(other)); }
Tensor bitwise_right_shift(const Tensor& self, const Tensor& other) { return op::bitwise_right_shift(self, other); }
Tensor bitwise_right_shift(const Tensor& self, const Scalar& other) { return op::bitwise_right_shift(self, wrapped_scalar(other)); }

}  // namespace tinytorch
