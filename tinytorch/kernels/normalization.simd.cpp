// From the lesson modules/87_norm_kernels/norm_kernels_dev.cpp:
// edit the module, not this file.

#ifndef TINYTORCH_CAPABILITY
#define TINYTORCH_CAPABILITY DEFAULT
#endif
#include <hwy/cache_control.h>
#include "tinytorch/kernels/normalization_kernels.h"
#include "tinytorch/kernels/row_vectors-inl.h"

namespace tinytorch {

namespace kernels::TINYTORCH_CAPABILITY {
namespace {
// Up to a vector of numbers at `from`, which may be null: then `fill`.
template <class T>
HWY_INLINE Vector<T> load_or(const T* from, std::int64_t i, std::int64_t lanes, T fill) {
  return from == nullptr ? hn::Set(Tag<T>(), fill) : load_lanes(from + i, lanes);
}

// How a row is normalized: (x - center) * scale + shift.
template <class T>
struct RowScale {
  T center, scale, shift;
};
// Around the row's mean, or around 0 with the sum of squares.
template <bool kCentered, class T>
HWY_INLINE RowScale<T> scale_of(const Moments& row, std::int64_t count, double eps) {
  const double rstd = 1 / __builtin_sqrt(row.squares / static_cast<double>(count) + eps);
  if constexpr (!kCentered) return {T{0}, static_cast<T>(rstd), T{0}};
  const T center = static_cast<T>(row.mean);
  return {center, static_cast<T>(rstd), static_cast<T>((static_cast<double>(center) - row.mean) * rstd)};
}
template <bool kCentered, class T>
HWY_INLINE RowScale<T> row_scale(const T* x, std::int64_t count, double eps) {
  return scale_of<kCentered, T>(kCentered ? moments(x, count) : Moments{0, sum_of_squares(x, count)}, count, eps);
}
template <class T>
HWY_INLINE Vector<T> normalized(Vector<T> x, const RowScale<T>& row) {
  const Tag<T> d;
  return hn::MulAdd(hn::Sub(x, hn::Set(d, row.center)), hn::Set(d, row.scale), hn::Set(d, row.shift));
}

// What writes a row's results, vector by vector.
template <bool kBeyondCache, class T>
struct WriteNormalized {
  const T* x;
  RowScale<T> row;
  const T *weight, *bias;
  T* out;
  HWY_INLINE void operator()(std::int64_t i, std::int64_t lanes) const {
    write_lanes<kBeyondCache>(hn::MulAdd(normalized<T>(load_lanes(x + i, lanes), row), load_or(weight, i, lanes, T{1}), load_or(bias, i, lanes, T{0})), out + i, lanes);
  }
};

// The moments of a row whose sum is `sum`, or of one that is not centered the sum of squares in their place; meanwhile the sum of the row behind it if there is one, and use(i, lanes) for each vector.
template <bool kCentered, class T, class Use>
HWY_INLINE Moments moments_under_way(const T* x, std::int64_t count, double sum, bool one_more, double* next_sum, Use use) {
  const Tag<T> d;
  constexpr std::int64_t L = kLanes<T>;
  Spread<T> spread(static_cast<T>(sum / static_cast<double>(count)));
  Squares<T> squares;
  Totals<T> next;
  std::int64_t i = 0;
  for (; i + 8 * L <= count; i += 8 * L) {
    fetch_far_ahead<8 * L>(x + i);
    for (std::int64_t v = 0; v < 8; v += 4) {
      if constexpr (kCentered) spread.add_four_vectors(x + i + v * L);
      else squares.add_two_vectors(x + i + v * L), squares.add_two_vectors(x + i + (v + 2) * L);
    }
    if constexpr (kCentered) {
      const T* const at = x + count + i;
      if (one_more)
        next.add(sum_of_eight(hn::LoadU(d, at), hn::LoadU(d, at + L), hn::LoadU(d, at + 2 * L), hn::LoadU(d, at + 3 * L), hn::LoadU(d, at + 4 * L), hn::LoadU(d, at + 5 * L), hn::LoadU(d, at + 6 * L), hn::LoadU(d, at + 7 * L)));
    }
    for (std::int64_t v = 0; v < 8; ++v) use(i + v * L, L);
  }
  for (std::int64_t k = i; k < count; k += L) {
    const std::int64_t lanes = count - k < L ? count - k : L;
    if (kCentered && one_more) next.add(load_lanes(x + count + k, lanes));
    use(k, lanes);
  }
  *next_sum = next.total();
  if constexpr (!kCentered) return {0, squares.total(x + i, count - i)};
  spread.add_rest(x + i, count - i);
  return spread.moments(count);
}

// Rows that stay in a near cache, three of them under way at once as for softmax (chapter 77): the moments of one, the sum of the next, and the results of the one before.
template <bool kCentered, bool kBeyondCache, class T>
void short_row_norm(const T* x, std::int64_t rows, std::int64_t count, const T* weight, const T* bias, double eps, T* out) {
  const auto write = [=](std::int64_t row, Moments of_row) HWY_ATTR { return WriteNormalized<kBeyondCache, T>{x + row * count, scale_of<kCentered, T>(of_row, count, eps), weight, bias, out + row * count}; };
  double sum = 0;
  if constexpr (kCentered) sums_of<1, false>(&x, count, &sum, [](auto v) HWY_ATTR { return v; });
  auto before = write(0, moments_under_way<kCentered>(x, count, sum, rows > 1, &sum, [](std::int64_t, std::int64_t) {}));
  for (std::int64_t row = 1; row < rows; ++row)
    before = write(row, moments_under_way<kCentered>(x + row * count, count, sum, row + 1 < rows, &sum, [before](std::int64_t i, std::int64_t lanes) HWY_ATTR { before(i, lanes); }));
  for (std::int64_t i = 0; i < count; i += kLanes<T>) before(i, count - i < kLanes<T> ? count - i : kLanes<T>);
}

template <bool kCentered, class T>
void row_norm(const T* x, std::int64_t rows, std::int64_t count, const T* weight, const T* bias, double eps, bool beyond_cache, T* out) {
  constexpr std::int64_t short_row = 4096;  // numbers of which the first two caches hold three rows
  beyond_cache = beyond_cache && is_aligned_row(out, count);
  if (count <= short_row) return beyond_cache ? short_row_norm<kCentered, true>(x, rows, count, weight, bias, eps, out) : short_row_norm<kCentered, false>(x, rows, count, weight, bias, eps, out);
  for (std::int64_t row = 0; row < rows; ++row, x += count, out += count) {
    const RowScale<T> scale = row_scale<kCentered>(x, count, eps);
    write_vectors(x, count, out, beyond_cache, [=](std::int64_t i, Vector<T> v, std::int64_t lanes) HWY_ATTR {
      return hn::MulAdd(normalized<T>(v, scale), load_or(weight, i, lanes, T{1}), load_or(bias, i, lanes, T{0}));
    });
  }
}

void flush_normalized() { hwy::FlushStream(); }

// The gradient of the input of one row.
template <bool kCentered, class T>
void row_input_gradient(const T* grad, const T* x, std::int64_t count, const T* weight, const RowScale<T>& row, T* out) {
  const Tag<T> d;
  Totals<T> sums, products;
  for_each_vector(x, count, [&](std::int64_t i, Vector<T> v, std::int64_t lanes) HWY_ATTR {
    const Vector<T> h = hn::Mul(load_or(grad, i, lanes, T{0}), load_or(weight, i, lanes, T{1}));  // 0 behind the row's end
    if constexpr (kCentered) sums.add(h);
    products.add(hn::Mul(h, normalized<T>(v, row)));
  });
  const Vector<T> mean = hn::Set(d, static_cast<T>(sums.total() / static_cast<double>(count)));
  const Vector<T> mean_product = hn::Set(d, static_cast<T>(products.total() / static_cast<double>(count)));
  for_each_vector(x, count, [=](std::int64_t i, Vector<T> v, std::int64_t lanes) HWY_ATTR {
    const Vector<T> h = hn::Mul(load_or(grad, i, lanes, T{0}), load_or(weight, i, lanes, T{1}));
    const Vector<T> rest = hn::NegMulAdd(normalized<T>(v, row), mean_product, hn::Sub(h, mean));
    put(hn::Mul(rest, hn::Set(Tag<T>(), row.scale)), out + i, lanes);
  });
}

// totals += the rows' share in the gradient of the weight.
template <class T>
void add_weight_gradient(const T* grad, const T* x, std::int64_t rows, std::int64_t count, const RowScale<T>* scales, double* totals) {
  const Tag<T> d;
  std::int64_t j = 0;
  for (; j + kLanes<T> <= count; j += kLanes<T>) {
    Vector<T> sum = hn::Zero(d);
    for (std::int64_t r = 0; r < rows; ++r) sum = hn::MulAdd(hn::LoadU(d, grad + r * count + j), normalized<T>(hn::LoadU(d, x + r * count + j), scales[r]), sum);
    add_to(totals + j, sum);
  }
  for (; j < count; ++j)
    for (std::int64_t r = 0; r < rows; ++r)
      totals[j] += static_cast<double>(grad[r * count + j]) * static_cast<double>((x[r * count + j] - scales[r].center) * scales[r].scale + scales[r].shift);
}

template <bool kCentered, class T>
void row_norm_backward(const T* grad, const T* x, std::int64_t rows, std::int64_t count, const T* weight, double eps, T* out, double* totals) {
  RowScale<T> scales[8] = {};
  for (std::int64_t r = 0; r < rows; ++r) scales[r] = row_scale<kCentered>(x + r * count, count, eps);
  if (totals != nullptr) add_weight_gradient(grad, x, rows, count, scales, totals);
  for (std::int64_t r = 0; r < rows; ++r) row_input_gradient<kCentered>(grad + r * count, x + r * count, count, weight, scales[r], out + r * count);
}

template <class T>
void affine(const T* x, std::int64_t count, T center, T scale, T shift, T* out) {
  const RowScale<T> row{center, scale, shift};
  for_each_vector(x, count, [=](std::int64_t i, Vector<T> v, std::int64_t lanes) HWY_ATTR { put(normalized<T>(v, row), out + i, lanes); });
}

template <class T>
void affine_channels(const T* x, std::int64_t count, const T* centers, const T* scales, const T* shifts, T* out) {
  for_each_vector(x, count, [=](std::int64_t i, Vector<T> v, std::int64_t lanes) HWY_ATTR {
    put(hn::MulAdd(hn::Sub(v, load_or(centers, i, lanes, T{0})), load_or(scales, i, lanes, T{0}), load_or(shifts, i, lanes, T{0})), out + i, lanes);
  });
}

template <class T>
GradientSums gradient_sums(const T* grad, const T* x, std::int64_t count, T center, std::int64_t ahead) {
  const Tag<T> d;
  constexpr std::int64_t L = kLanes<T>;
  const Vector<T> centers = hn::Set(d, center);
  Totals<T> sums, products;
  std::int64_t i = 0;
  for (; i + 4 * L <= count; i += 4 * L) {
    const T *const g = grad + i, *const at = x + i;
    fetch_ahead<4 * L>(g, ahead * static_cast<std::int64_t>(sizeof(T)));
    fetch_ahead<4 * L>(at, ahead * static_cast<std::int64_t>(sizeof(T)));
    const Vector<T> g0 = hn::LoadU(d, g), g1 = hn::LoadU(d, g + L), g2 = hn::LoadU(d, g + 2 * L), g3 = hn::LoadU(d, g + 3 * L);
    const Vector<T> left = hn::MulAdd(g0, hn::Sub(hn::LoadU(d, at), centers), hn::Mul(g1, hn::Sub(hn::LoadU(d, at + L), centers)));
    const Vector<T> right = hn::MulAdd(g2, hn::Sub(hn::LoadU(d, at + 2 * L), centers), hn::Mul(g3, hn::Sub(hn::LoadU(d, at + 3 * L), centers)));
    sums.add(hn::Add(hn::Add(g0, g1), hn::Add(g2, g3)));
    products.add(hn::Add(left, right));
  }
  for_each_vector(grad + i, count - i, [&](std::int64_t j, Vector<T> g, std::int64_t lanes) HWY_ATTR {
    sums.add(g);
    products.add(hn::Mul(g, hn::Sub(load_or(x, i + j, lanes, T{0}), centers)));
  });
  return {sums.total(), products.total()};
}

template <class T>
void combine(const T* grad, const T* x, std::int64_t count, T center, T a, T b, T c, T* out) {
  const Tag<T> d;
  const Vector<T> centers = hn::Set(d, center), as = hn::Set(d, a), bs = hn::Set(d, b), cs = hn::Set(d, c);
  for_each_vector(grad, count, [=](std::int64_t i, Vector<T> g, std::int64_t lanes) HWY_ATTR {
    put(hn::MulAdd(g, as, hn::MulAdd(hn::Sub(load_or(x, i, lanes, T{0}), centers), bs, cs)), out + i, lanes);
  });
}

template <class T>
void group_norm(const T* x, std::int64_t channels, std::int64_t count, const T* weight, const T* bias, double eps, T* out) {
  const RowScale<T> group = row_scale<true>(x, channels * count, eps);
  for (std::int64_t c = 0; c < channels; ++c) {
    const T w = weight == nullptr ? T{1} : weight[c], b = bias == nullptr ? T{0} : bias[c];
    affine(x + c * count, count, group.center, group.scale * w, group.shift * w + b, out + c * count);
  }
}

template <class T>
void group_norm_backward(const T* grad, const T* x, std::int64_t channels, std::int64_t count, const T* weight, double eps, T* out, double* of_weight, double* of_bias) {
  const RowScale<T> group = row_scale<true>(x, channels * count, eps);
  const double scale = static_cast<double>(group.scale), shift = static_cast<double>(group.shift), numbers = static_cast<double>(channels * count);
  double sum = 0, products = 0;  // of h, and of h with the normalized input
  for (std::int64_t c = 0; c < channels; ++c) {
    const GradientSums channel = gradient_sums(grad + c * count, x + c * count, count, group.center, count);
    of_bias[c] = channel.grad;
    of_weight[c] = scale * channel.products + shift * channel.grad;
    const double w = weight == nullptr ? 1.0 : static_cast<double>(weight[c]);
    sum += w * of_bias[c];
    products += w * of_weight[c];
  }
  const double mean = sum / numbers, mean_product = products / numbers;
  const T b = static_cast<T>(-scale * scale * mean_product), rest = static_cast<T>(-scale * (mean + shift * mean_product));
  for (std::int64_t c = 0; c < channels; ++c) {
    const T a = group.scale * (weight == nullptr ? T{1} : weight[c]);
    combine(grad + c * count, x + c * count, count, group.center, a, b, rest, out + c * count);
  }
}

template <class T>
void gradient_sums_channels(const T* grad, const T* x, std::int64_t rows, std::int64_t count, const T* centers, double* sums, double* products) {
  const Tag<T> d;
  std::int64_t j = 0;
  for (; j + kLanes<T> <= count; j += kLanes<T>) {
    const Vector<T> center = hn::LoadU(d, centers + j);
    Vector<T> sum = hn::Zero(d), product = hn::Zero(d);
    for (std::int64_t r = 0; r < rows; ++r) {
      const Vector<T> g = hn::LoadU(d, grad + r * count + j);
      sum = hn::Add(sum, g);
      product = hn::MulAdd(g, hn::Sub(hn::LoadU(d, x + r * count + j), center), product);
    }
    add_to(sums + j, sum);
    add_to(products + j, product);
  }
  for (; j < count; ++j)
    for (std::int64_t r = 0; r < rows; ++r) {
      sums[j] += static_cast<double>(grad[r * count + j]);
      products[j] += static_cast<double>(grad[r * count + j]) * static_cast<double>(x[r * count + j] - centers[j]);
    }
}

template <class T>
void combine_channels(const T* grad, const T* x, std::int64_t count, const T* centers, const T* a, const T* b, const T* c, T* out) {
  for_each_vector(grad, count, [=](std::int64_t i, Vector<T> g, std::int64_t lanes) HWY_ATTR {
    const Vector<T> distance = hn::Sub(load_or(x, i, lanes, T{0}), load_or(centers, i, lanes, T{0}));
    put(hn::MulAdd(g, load_or(a, i, lanes, T{0}), hn::MulAdd(distance, load_or(b, i, lanes, T{0}), load_or(c, i, lanes, T{0}))), out + i, lanes);
  });
}

template <bool kCentered, class T>
constexpr RowNormTable<T> row_norm_table_of() {
  return {row_norm<kCentered, T>, row_norm_backward<kCentered, T>};
}
template <class T>
constexpr NormalizationTable<T> normalization_table_of() {
  return {row_norm_table_of<true, T>(), row_norm_table_of<false, T>(), {group_norm<T>, group_norm_backward<T>}, flush_normalized, affine<T>, affine_channels<T>, gradient_sums<T>, combine<T>, gradient_sums_channels<T>, combine_channels<T>};
}
}  // namespace

constinit const NormalizationKernels normalization_kernels = {normalization_table_of<float>(), normalization_table_of<double>()};
}  // namespace kernels::TINYTORCH_CAPABILITY

}  // namespace tinytorch
