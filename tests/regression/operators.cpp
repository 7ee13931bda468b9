// Bugs that were found, once each: what went wrong stands in the name of the test. A new case comes with the change that
// mends the bug, and must fail without it.
#include <limits>

#include "tinytorch/tinytorch.h"
#include "tito/lesson.h"

namespace tinytorch {

// sin(self) had saved self, which the write then changed: backward() was refused.
TEST_CASE("sin_, log_, clamp_ and their like keep the values that their gradients need") {
  const Tensor x = tensor({0.5, 1.5}, kDouble).requires_grad_();
  Tensor y = x * 1;
  y.sin_();
  y.sum().backward();
  CHECK_CLOSE(x.grad(), x.detach().cos());

  x.mutable_grad() = Tensor();
  y = x * 2;
  y.log_();
  y.pow_(2);
  y.clamp_(-10, 10);
  y.sum().backward();
  CHECK_CLOSE(x.grad(), (x.detach() * 2).log() * 2 / x.detach());
}

// source * alpha was of Long, and its bytes were read as bools.
TEST_CASE("index_add of bools with an alpha adds bools") {
  const Tensor sum = zeros({3}, kBool).index_add(0, tensor({0, 2}), tensor({true, true}), 2);
  CHECK_EQ(sum, tensor({true, false, true}));
}

// The loop over the dims ended at the first one.
TEST_CASE("flip of a 0-d tensor checks every dim") {
  CHECK_ERROR(tensor(1.0).flip({0, 1}), "Dimension out of range (expected to be in range of [-1, 0], but got 1)");
}

// The range of all 64-bit numbers has 2^64 values, which does not fit in 64 bits: a division by zero.
TEST_CASE("random_ with the lowest bound and no upper one reaches all 64 bits") {
  manual_seed(3);
  const Tensor x = empty({64}, kLong).random_(std::numeric_limits<std::int64_t>::min(), std::optional<std::int64_t>());
  CHECK(x.lt(0).any().item<bool>());
  CHECK(x.gt(0).any().item<bool>());
}

// The gradient of the source had the index's sizes: backward() was refused.
TEST_CASE("scatter_add takes a source larger than its index, and gives it a gradient of its own sizes") {
  const Tensor source = ones({3, 3}, kDouble).requires_grad_();
  zeros({2, 2}, kDouble).scatter_add(0, tensor({{1, 0}}), source).sum().backward();
  CHECK_EQ(source.grad(), tensor({{1.0, 1.0, 0.0}, {0.0, 0.0, 0.0}, {0.0, 0.0, 0.0}}, kDouble));
}

// A view that was taken while nothing was recorded could be written to when only the other operand required a gradient.
TEST_CASE("a view made under NoGradGuard of a plain tensor refuses a recorded write") {
  const Tensor base = zeros({2, 2});
  Tensor row;
  {
    const NoGradGuard no_grad;
    row = base[0];
  }
  CHECK_ERROR(row.add_(ones({2}, requires_grad())), "A view was created in no_grad mode and is being modified inplace with grad mode enabled.");
}

// A gradient with channels last was copied into rows, whatever its leaf's order was.
TEST_CASE("a leaf's gradient lies in memory as the leaf does") {
  const Tensor rows = randn({2, 3, 4, 5}), last = rows.contiguous(MemoryFormat::ChannelsLast);
  for (const Tensor& leaf : {rows.clone().requires_grad_(), last.clone(MemoryFormat::ChannelsLast).requires_grad_()}) {
    for (const Tensor& grad : {rows, last}) {
      leaf.mutable_grad() = Tensor();
      (leaf * 2).backward(grad);
      CHECK_EQ(leaf.grad(), rows * 2);
      CHECK_EQ(leaf.grad().strides(), leaf.strides());
      (leaf * 2).backward(grad);
      CHECK_EQ(leaf.grad(), rows * 4);
    }
  }
}

// A place that was NaN made weights of NaN, which made NaN of the zeros around a volume; PyTorch 2.15 has 0, and no gradients there.
TEST_CASE("grid_sample of volumes: what is no number lies outside") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  const Tensor volume = arange(8.0, kDouble).view({1, 1, 2, 2, 2}).requires_grad_();
  const Tensor grid = tensor({nan, 0.0, 0.0, 0.0, nan, 0.0, 0.0, 0.0, nan, infinity, 0.0, 0.0, 0.0, -infinity, 0.0, 0.1, 0.2, 0.3}, kDouble).view({1, 6, 1, 1, 3}).requires_grad_();
  for (const std::int64_t mode : {0, 1}) {
    const Tensor read = grid_sampler(volume, grid, mode, 0, false);
    CHECK_CLOSE(read.flatten(), tensor({0.0, 0.0, 0.0, 0.0, 0.0, mode == 0 ? 5.2 : 7.0}, kDouble));
    volume.mutable_grad() = grid.mutable_grad() = Tensor();
    read.sum().backward();
    const Tensor shares = tensor({0.024, 0.036, 0.056, 0.084, 0.096, 0.144, 0.224, 0.336}, kDouble);
    CHECK_CLOSE(volume.grad().flatten(), mode == 0 ? shares : tensor({0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0}, kDouble));
    if (mode == 0) CHECK_CLOSE(grid.grad().view({6, 3}), cat({zeros({5, 3}, kDouble), tensor({{1.0, 2.0, 4.0}}, kDouble)}));
  }
}

}  // namespace tinytorch
