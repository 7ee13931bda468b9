// Laws that hold for all tensors, on shapes, layouts and values drawn at random. A failure names the seed; TINYTORCH_SEED=n repeats it.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tinytorch/tinytorch.h"
#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

constexpr int rounds = 60;

std::uint64_t chosen_seed() {
  if (const char* const given = std::getenv("TINYTORCH_SEED")) return std::strtoull(given, nullptr, 10);
  return std::random_device{}();
}

// Draws shapes, layouts and values.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : engine_(seed) {}

  std::int64_t between(std::int64_t low, std::int64_t high) { return std::uniform_int_distribution<std::int64_t>(low, high)(engine_); }
  bool coin() { return between(0, 1) == 1; }

  DimVector shape(std::int64_t least_dims, std::int64_t most_dims, std::int64_t least_size = 0) {
    DimVector sizes;
    for (std::int64_t dims = between(least_dims, most_dims); dims > 0; --dims) sizes.push_back(between(least_size, 4));
    return sizes;
  }

  // Whole numbers in a double: sums and products of a few are exact.
  Tensor whole_numbers(IntArrayRef sizes) {
    const Tensor result = empty(sizes, kDouble);
    for (std::int64_t i = 0; i < result.numel(); ++i) result.data_ptr<double>()[i] = static_cast<double>(between(-8, 8));
    return result;
  }

  // The same in a layout that is not dense: permuted, or every second element of something larger.
  Tensor scattered(IntArrayRef sizes) {
    if (sizes.empty()) return whole_numbers(sizes);
    if (coin()) {
      const std::vector<std::int64_t> order = permutation(static_cast<std::int64_t>(sizes.size()));
      DimVector permuted(sizes.size());
      for (std::size_t d = 0; d < sizes.size(); ++d) permuted[static_cast<std::size_t>(order[d])] = sizes[d];
      return whole_numbers(permuted).permute(order);
    }
    DimVector larger(sizes);
    const auto d = static_cast<std::size_t>(between(0, static_cast<std::int64_t>(sizes.size()) - 1));
    larger[d] = 2 * sizes[d] + 1;
    return whole_numbers(larger).slice(static_cast<std::int64_t>(d), 1, std::nullopt, 2);
  }

  std::vector<std::int64_t> permutation(std::int64_t count) {
    std::vector<std::int64_t> order(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int64_t>(i);
    std::shuffle(order.begin(), order.end(), engine_);
    return order;
  }

  // A shape that broadcasts with `sizes`: some sizes 1, some leading dimensions missing.
  DimVector partner(const DimVector& sizes) {
    DimVector result;
    const auto missing = static_cast<std::size_t>(between(0, static_cast<std::int64_t>(sizes.size())));
    for (std::size_t d = missing; d < sizes.size(); ++d) result.push_back(coin() ? 1 : sizes[d]);
    return result;
  }

 private:
  std::mt19937_64 engine_;
};

// Runs `law` on many draws, each with a seed of its own.
void for_all(const std::function<void(Draw&)>& law) {
  const std::uint64_t first = chosen_seed();
  for (int round = 0; round < (std::getenv("TINYTORCH_SEED") != nullptr ? 1 : rounds); ++round) {
    const std::uint64_t seed = first + static_cast<std::uint64_t>(round);
    CAPTURE(seed);
    Draw draw(seed);
    law(draw);
  }
}

// The element at `index` of a tensor that `sizes`, the larger shape, was broadcast from; read through strides alone.
double element_of(const Tensor& x, const std::vector<std::int64_t>& index) {
  std::int64_t offset = x.storage_offset();
  const std::size_t added = index.size() - x.sizes().size();
  for (std::size_t d = 0; d < x.sizes().size(); ++d) offset += (x.sizes()[d] == 1 ? 0 : index[d + added]) * x.strides()[d];
  return static_cast<const double*>(x.storage()->data())[offset];
}

// Calls f(index) for every index of a shape.
void for_each_index(IntArrayRef sizes, const std::function<void(const std::vector<std::int64_t>&)>& f) {
  std::vector<std::int64_t> index(sizes.size());
  for (std::int64_t rest = multiply_sizes(sizes), i = 0; i < rest; ++i) {
    std::int64_t left = i;
    for (std::size_t d = sizes.size(); d-- > 0;) {
      index[d] = left % sizes[d];
      left /= sizes[d];
    }
    f(index);
  }
}

struct Linear {
  const char* name;
  std::function<Tensor(const Tensor&)> call;  // of (3, 4)
};

std::vector<Linear> linear_functions() {
  const Tensor weight = arange(20, kDouble).view({4, 5}) - 7;
  return {{"sum", [](const Tensor& x) { return x.sum(); }},
          {"sum of a dimension", [](const Tensor& x) { return x.sum({1}, true); }},
          {"cumsum", [](const Tensor& x) { return x.cumsum(0); }},
          {"mm", [weight](const Tensor& x) { return x.mm(weight); }},
          {"transpose", [](const Tensor& x) { return x.t(); }},
          {"gather", [](const Tensor& x) { return x.gather(1, tensor({{3, 0}, {1, 1}, {2, 0}})); }},
          {"index", [](const Tensor& x) { return x.index({tensor({2, 0, 2})}); }},
          {"tril", [](const Tensor& x) { return x.tril(); }},
          {"flip", [](const Tensor& x) { return x.flip({0, 1}); }},
          {"repeat", [](const Tensor& x) { return x.repeat({2, 1}); }},
          {"cat", [](const Tensor& x) { return cat({x, x * 2}, 1); }},
          {"einsum", [weight](const Tensor& x) { return einsum("ij,jk->ki", {x, weight}); }},
          {"as_strided", [](const Tensor& x) { return x.contiguous().as_strided({3, 2}, {4, 2}, 1); }}};
}

struct Smooth {
  const char* name;
  std::function<Tensor(const Tensor&)> call;  // of any shape to the same shape
};

std::vector<Smooth> smooth_functions() {
  return {{"exp", [](const Tensor& x) { return (x * 0.25).exp(); }},
          {"sin", [](const Tensor& x) { return x.sin(); }},
          {"tanh", [](const Tensor& x) { return x.tanh(); }},
          {"square", [](const Tensor& x) { return x * x; }},
          {"reciprocal", [](const Tensor& x) { return 1 / (x * x + 1); }},
          {"softmax", [](const Tensor& x) { return softmax(x, -1); }},
          {"cumsum", [](const Tensor& x) { return x.cumsum(-1); }},
          {"turned", [](const Tensor& x) { return x.flip({-1}).contiguous(); }},
          {"minus its mean", [](const Tensor& x) { return x - x.mean({-1}, true); }},
          {"log", [](const Tensor& x) { return (x * x + 1).log(); }}};
}

}  // namespace

TEST_CASE("property: an operation of two shapes is that of their elements") {
  for_all([](Draw& draw) {
    const DimVector full_shape = draw.shape(0, 4);
    const Tensor a = draw.scattered(draw.partner(full_shape));
    const Tensor b = draw.scattered(draw.partner(full_shape));
    const DimVector sizes = infer_size(a.sizes(), b.sizes());
    CAPTURE(IntArrayRef(sizes));
    const Tensor sum = a + b;
    const Tensor product = a * b;
    const Tensor less = a < b;
    REQUIRE(sum.sizes() == IntArrayRef(sizes));
    for_each_index(sizes, [&](const std::vector<std::int64_t>& index) {
      REQUIRE(element_of(sum, index) == element_of(a, index) + element_of(b, index));
      REQUIRE(element_of(product, index) == element_of(a, index) * element_of(b, index));
    });
    CHECK_EQ(a.expand(sizes) + b.expand(sizes), sum);
    CHECK_EQ(less, a.expand(sizes).contiguous() < b.expand(sizes).contiguous());
    CHECK_EQ(b + a, sum);
    // Into a target of the whole shape, in place.
    const Tensor target = draw.scattered(sizes);
    const Tensor before = target.clone();
    target.add_(a);
    CHECK_EQ(target, before + a);
  });
}

TEST_CASE("property: views of views are views, and know their elements") {
  for_all([](Draw& draw) {
    const DimVector sizes = draw.shape(1, 4, 1);
    const Tensor x = draw.scattered(sizes);
    const std::int64_t dims = x.dim();
    const std::vector<std::int64_t> order = draw.permutation(dims);
    std::vector<std::int64_t> back(order.size());
    for (std::size_t d = 0; d < order.size(); ++d) back[static_cast<std::size_t>(order[d])] = static_cast<std::int64_t>(d);
    CHECK_EQ(x.permute(order).permute(back), x);
    CHECK_EQ(x.permute(order).permute(back).strides(), x.strides());

    const std::int64_t dim = draw.between(0, dims - 1);
    const std::int64_t other = draw.between(0, dims - 1);
    CHECK_EQ(x.transpose(dim, other), x.transpose(other, dim));
    CHECK_EQ(x.transpose(dim, other).transpose(dim, other), x);
    CHECK_EQ(x.unsqueeze(dim).squeeze(dim), x);

    // A slice of a slice is one slice.
    const std::int64_t size = x.size(dim);
    const std::int64_t start = draw.between(0, size - 1);
    const std::int64_t step = draw.between(1, 3);
    const Tensor once = x.slice(dim, start, size, step);
    const std::int64_t again = draw.between(0, once.size(dim) - 1);
    CHECK_EQ(once.slice(dim, again, std::nullopt, 2), x.slice(dim, start + again * step, size, 2 * step));
    CHECK_EQ(once.select(dim, again), x.select(dim, start + again * step));
    CHECK_EQ(cat(x.split(step, dim), dim), x);
    CHECK_EQ(stack(x.unbind(dim), dim), x);

    // What reshape gives has the same elements in the same order, whether it copies or not.
    const Tensor flat = x.reshape({-1});
    CHECK_EQ(flat.view(x.sizes()), x);
    CHECK_EQ(x.permute(order).reshape({-1}), x.permute(order).contiguous().view({-1}));

    // A write through any view is seen through the base.
    const Tensor base = x.clone();
    const Tensor view = base.permute(order).select(0, 0);
    view.fill_(100);
    CHECK_EQ(base.eq(100).sum().item<std::int64_t>(), view.numel());
  });
}

TEST_CASE("property: linear functions are linear") {
  for_all([](Draw& draw) {
    const Tensor x = draw.scattered({3, 4});
    const Tensor y = draw.scattered({3, 4});
    const auto factor = static_cast<double>(draw.between(-5, 5));
    for (const Linear& linear : linear_functions()) {
      CAPTURE(linear.name);
      CHECK_EQ(linear.call(x * factor + y), linear.call(x) * factor + linear.call(y));
      // The gradient of a linear function does not depend on where it is taken.
      const Tensor at_x = x.clone().requires_grad_();
      const Tensor at_y = y.clone().requires_grad_();
      const Tensor weights = draw.whole_numbers(linear.call(x).sizes());
      (linear.call(at_x) * weights).sum().backward();
      (linear.call(at_y) * weights).sum().backward();
      CHECK_EQ(at_x.grad(), at_y.grad());
      // And it is the adjoint: <w, f(x)> = <f'(w), x>.
      CHECK_EQ((linear.call(x) * weights).sum(), (at_x.grad() * x).sum());
    }
  });
}

TEST_CASE("property: the gradient of a chain is the product of its links") {
  for_all([](Draw& draw) {
    const std::vector<Smooth> functions = smooth_functions();
    const auto pick = [&]() -> const Smooth& { return functions[static_cast<std::size_t>(draw.between(0, static_cast<std::int64_t>(functions.size()) - 1))]; };
    const Smooth& inner = pick();
    const Smooth& outer = pick();
    CAPTURE(inner.name);
    CAPTURE(outer.name);
    const Tensor values = draw.scattered(draw.shape(1, 3, 1)) * 0.3;
    const Tensor weights = draw.whole_numbers(values.sizes());

    const Tensor x = values.clone().requires_grad_();
    outer.call(inner.call(x)).backward(weights);

    // The same in two steps that share nothing but numbers.
    const Tensor middle = inner.call(values).detach().requires_grad_();
    outer.call(middle).backward(weights);
    const Tensor again = values.clone().requires_grad_();
    inner.call(again).backward(middle.grad());
    CHECK_CLOSE(x.grad(), again.grad(), 1e-12, 1e-12);

    // And along a line: d/dt <w, f(x + t d)> = <gradient, d>, by a central difference.
    const Tensor direction = draw.whole_numbers(values.sizes());
    const double h = 1e-6;
    const auto along = [&](double t) { return (outer.call(inner.call(values + direction * t)) * weights).sum().item<double>(); };
    const double slope = (along(h) - along(-h)) / (2 * h);
    const double expected = (x.grad() * direction).sum().item<double>();
    const double size = 1 + (x.grad().abs() * direction.abs()).sum().item<double>();
    CHECK(std::abs(slope - expected) <= 1e-4 * size);
  });
}

}  // namespace tinytorch::testing
