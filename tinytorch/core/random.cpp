// From the lesson modules/96_surface/surface_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/random.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>

#include "tinytorch/core/index_loops.h"
#include "tinytorch/core/more_ops.h"

namespace tinytorch {

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

}  // namespace tinytorch
