#include "format/skeleton.h"

#include <cctype>

namespace tito {
namespace {

// @NN@ is the number, @name@ the name, @Name@ the name as a title.
constexpr std::string_view kLesson = R"lesson(// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//       format_version: '1.3'
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch
// ---

// %% [markdown]
// # Module @NN@: @Name@
//
// What this module builds, and why anyone wants it, in a few sentences. The running example here is a moving sum: it is
// what a smoothed loss curve needs.
//
// **Objectives.** After this module you can
//
// - center data, and say which dimension the mean was taken over;
// - write a sum over a sliding window whose time does not depend on the window.
//
// **Where it sits.** It uses the tensors of module 01 and nothing later.
//
// **Prerequisites.** Module 01: shapes, broadcasting, dtypes.

// %%
//| export @name@/@name@.h
#include <cstdint>
#include "tinytorch/core/tensor.h"
//| export @name@/@name@.cpp
#include "tinytorch/core/error.h"
#include "tinytorch/core/ops.h"

// %%
#include <cstdio>
#include "tinytorch/core/ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Part 1: Foundations
//
// The mathematics of the module, with its complexity.
//
// ### Centering
//
// Subtracting the mean moves data to where 0 is in the middle. The mean is one number, and broadcasting brings it to every
// element without a copy:
//
//     x (4)     1   2   3   6
//     mean ()       3            stride 0: read four times
//     x - mean -2  -1   0   3

// %%
//| export @name@/@name@.h
// `self` minus its mean. Same shape; integers become the default dtype. O(self.numel()) time.
Tensor @name@_centered(const Tensor& self);

// The sum over each run of `window` neighbours of a 1-D float tensor of n elements: n - window + 1 sums.
// Throws Error if `self` is not 1-D and float, or unless 1 <= window <= n. O(n) time, whatever the window.
Tensor @name@_moving_sum(const Tensor& self, std::int64_t window);

// %% {"nbgrader": {"grade": false, "grade_id": "@NN@-centered", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export @name@/@name@.cpp
// `self` minus its mean: shape in, same shape out.
//
// TODO: Subtract the mean of all elements.
// APPROACH: 1. Take the mean over everything, a 0-d tensor. 2. Subtract it; broadcasting does the rest.
// EXAMPLE: @name@_centered(tensor({1.0, 3.0})) is [-1, 1].
// HINT: mean() of an integer tensor is an error, so convert first.
Tensor @name@_centered(const Tensor& self) {
  // BEGIN SOLUTION
  const Tensor x = self.is_floating_point() ? self : self.to(kFloat);
  return x - x.mean();
  // END SOLUTION
}

// %%
//| mistake @NN@-centered sum-for-mean
//| says The sum was subtracted: divide it by the number of elements, or take mean().
#if 0
Tensor @name@_centered(const Tensor& self) {
  const Tensor x = self.is_floating_point() ? self : self.to(kFloat);
  return x - x.sum();
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "@NN@-centered-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("@name@_centered: the mean is gone, the differences stay") {
  const Tensor x = tensor({{1.0, 2.0}, {3.0, 6.0}});
  CHECK_CLOSE(@name@_centered(x), tensor({{-2.0, -1.0}, {0.0, 3.0}}));
  // BEGIN HIDDEN TESTS
  CHECK_CLOSE(@name@_centered(tensor({2, 4})), tensor({-1.0, 1.0}));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### A sum that slides
//
// Two neighbouring windows share all but two elements, so one sum gives the next: add what enters, subtract what leaves.
//
//     x        1   2   3   4   5
//             [--------]           1 + 2 + 3 = 6
//                 [--------]       6 + 4 - 1 = 9

// %% {"nbgrader": {"grade": false, "grade_id": "@NN@-moving-sum", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export @name@/@name@.cpp
//| exercise design
// The contract is in the header. The test looks at values, at errors, and at the memory taken: one tensor for the result.
//
// TODO: Design a moving sum that keeps its contract.
Tensor @name@_moving_sum(const Tensor& self, std::int64_t window) {
  // BEGIN SOLUTION
  TORCH_CHECK(self.dim() == 1 && self.scalar_type() == kFloat, "moving_sum: expected a 1-D float tensor, got sizes ", self.sizes());
  const std::int64_t n = self.size(0);
  TORCH_CHECK(window >= 1 && window <= n, "moving_sum: window ", window, " must be between 1 and ", n);
  const Tensor result = empty({n - window + 1}, kFloat);
  const float* x = self.data<float>();
  const std::int64_t step = self.stride(0);
  float* out = result.data<float>();
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    sum += x[i * step];
    if (i >= window) sum -= x[(i - window) * step];
    if (i + 1 >= window) out[i + 1 - window] = static_cast<float>(sum);
  }
  return result;
  // END SOLUTION
}

// %%
//| mistake @NN@-moving-sum nothing-leaves
//| says The element that leaves the window is still in the sum: subtract it when the window moves on.
#if 0
Tensor @name@_moving_sum(const Tensor& self, std::int64_t window) {
  TORCH_CHECK(self.dim() == 1 && self.scalar_type() == kFloat, "moving_sum: expected a 1-D float tensor");
  TORCH_CHECK(window >= 1 && window <= self.size(0), "moving_sum: window ", window, " does not fit");
  const Tensor result = empty({self.size(0) - window + 1}, kFloat);
  double sum = 0;
  for (std::int64_t i = 0; i < self.size(0); ++i) {
    sum += self[i].item<float>();
    if (i + 1 >= window) result.data<float>()[i + 1 - window] = static_cast<float>(sum);
  }
  return result;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "@NN@-moving-sum-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("@name@_moving_sum: add what enters, subtract what leaves") {
  const Tensor x = tensor({1.0, 2.0, 3.0, 4.0, 5.0});
  CHECK_CLOSE(@name@_moving_sum(x, 3), tensor({6.0, 9.0, 12.0}));
  CHECK_CLOSE(@name@_moving_sum(x.slice(0, 0, 5, 2), 2), tensor({4.0, 8.0}));
  CHECK_ERROR(@name@_moving_sum(x, 6), "window 6");
  const std::size_t before = memory::stats().allocations;
  const Tensor result = @name@_moving_sum(x, 2);
  CHECK_EQ(memory::stats().allocations, before + 1);
  // BEGIN HIDDEN TESTS
  CHECK_CLOSE(@name@_moving_sum(x, 1), x);
  CHECK_ERROR(@name@_moving_sum(ones({2, 2}), 1), "1-D");
  // END HIDDEN TESTS
}

// %% [markdown]
// ## Part 2: Systems analysis
//
// What the two versions cost is measured when this runs. The first sums every window anew; the second is the one above.
//
//     time
//       v1: n * window   ################
//       v2: n            ##

// %%
//| lesson
// v1: sums every window anew. O(n * window) time.
Tensor @name@_moving_sum_v1(const Tensor& self, std::int64_t window) {
  const Tensor result = empty({self.size(0) - window + 1}, kFloat);
  for (std::int64_t i = 0; i < result.size(0); ++i) {
    result.data<float>()[i] = self.narrow(0, i, window).sum().item<float>();
  }
  return result;
}

// %%
DEMO("the moving sum: time and memory of v1 and v2") {
  for (const std::int64_t window : {10, 100}) {
    const Tensor x = ones({2000});
    const double v1 = measure([&] { @name@_moving_sum_v1(x, window); }).median;
    const double v2 = measure([&] { @name@_moving_sum(x, window); }).median;
    memory::reset_peak();
    const std::size_t before = memory::stats().live;
    @name@_moving_sum(x, window);
    std::printf("window %4d: v1 %s, v2 %s; v2 takes %zu bytes\n", static_cast<int>(window), format_seconds(v1).c_str(),
                format_seconds(v2).c_str(), memory::stats().peak - before);
  }
}

// %% [markdown]
// ## Part 3: Production context
//
// PyTorch has this as `avg_pool1d` (`aten/src/ATen/native/AveragePool2d.cpp` on the CPU), which sums every window anew: windows
// are small there, and vector units like independent sums. TensorFlow pools likewise
// (`tensorflow/core/kernels/avgpooling_op.cc`); JAX writes it as a `reduce_window` (`jax/_src/lax/windowed_reductions.py`) and
// leaves the choice to its compiler.
//
//     x --> [ window sums ] --> / window --> y
//              |
//              +-- independent: vectorises, O(n * window)
//              +-- sliding: O(n), each sum waits for the one before

// %% [markdown]
// ## Integration test

// %%
TEST_CASE("@name@: the two functions work together") {
  const Tensor x = tensor({1.0, 2.0, 3.0, 6.0});
  CHECK_CLOSE(@name@_moving_sum(@name@_centered(x).to(kFloat), 4), tensor({0.0}));
}

// %% [markdown]
// ## ML systems thinking

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "@NN@-explain-window", "locked": false, "points": 2, "schema_version": 3, "solution": true, "task": false}}
// At which window did v2 begin to win in your measurement, and what does that say about why PyTorch sums small windows anew?
//
// BEGIN SOLUTION
// v2 wins from the start here because v1 pays for a view and a reduction in each window. A fused v1 would win for small
// windows: its sums are independent, so vector units compute several at once, while each sum of v2 waits for the last.
// END SOLUTION

// %% [markdown]
// ## Module summary
//
// What was built, what was measured, and which module uses it next.

// %%
}  // namespace tinytorch
)lesson";

constexpr std::string_view kReadme = R"readme(# Module @NN@: @Name@

What this module teaches, in two or three sentences.

- **Pattern**: Build -> Use -> Reflect
- **Rationale**: why this pattern fits what is to be learned here.
- **Key activities**: center data; design a moving sum that keeps its contract; measure both versions.
- **Exports**: `@name@/@name@.h`, `@name@/@name@.cpp`
- **Textbook**: *Machine Learning Systems*, chapter AI Training.
)readme";

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

}  // namespace

std::vector<std::pair<std::string, std::string>> module_skeleton(std::string_view number, std::string_view name) {
  std::string title(name);
  title[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(title[0])));
  const auto fill = [&](std::string_view text) {
    return replace_all(replace_all(replace_all(std::string(text), "@NN@", number), "@Name@", replace_all(title, "_", " ")),
                       "@name@", name);
  };
  return {{std::string(name) + "_dev.cpp", fill(kLesson)}, {"README.md", fill(kReadme)}};
}

}  // namespace tito
