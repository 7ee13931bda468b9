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
// # Library chapter 62: What follows a product
//
// A layer of a network is a product, a bias, and a function of each number. Written as three operators, the result passes through memory three times:
//
//     mm      -->  write out                                 product
//     + bias  -->  read out, write out                       a pass for the bias
//     relu    -->  read out, write another tensor            a pass for the activation
//
//     addmm, relu                write out; read it, write another           the bias is what the sums start from (module 16)
//     _addmm_activation          write out                                   relu before the number leaves its register
//
// A pass costs by the bytes of the result, `M N`, and the product by `M N K` operations. So the larger K is, the less there is to gain: this chapter's demonstration measures it.
//
// PyTorch has this operator under a name with an underscore, which says that it may change: `at::_addmm_activation`. Its compiler and its transformer layers call it for speed on GPUs. On a CPU PyTorch computes addmm first, and then relu or gelu in place.

// %%
//| after 16
//| export kernels/fused_products.h
#include "tinytorch/core/dispatch.h"
#include "tinytorch/core/scalar.h"
#include "tinytorch/core/tensor.h"
//| export kernels/fused_products.cpp
#include <optional>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/matrix_ops.h"
#include "tinytorch/kernels/products.h"
#include "tinytorch/nn/activations.h"

// %%
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/matmul.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/nn/activations.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## The operator
//
// The reference is what the name says, one operator after the other. The tuned kernel puts relu into the product. gelu, the form with erf as in PyTorch, stays a pass of its own, which chapter 76 makes fast: its arithmetic is nearly all of what that pass costs, and fusing can save the rest only. The second demonstration below measures how little that is.
//
// Where a gradient will be asked for, the operator consists of the two others. The gradient of gelu needs the number *before* the activation, which a fused kernel never stores; and relu's gradient is `g` where the result is above 0, which is the gradient of relu as it stands. So there is one rule for each derivative, and none here.

// %%
//| export kernels/fused_products.h
// relu(beta * self + alpha * mat1 x mat2), or gelu (with erf) of it: mat1 (M, K), mat2 (K, N), `self` broadcasts to (M, N). Errors are addmm's.
// Source: aten/src/ATen/native/LinearAlgebra.cpp, addmm_activation_out_cpu.
Tensor _addmm_activation(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta = 1, const Scalar& alpha = 1, bool use_gelu = false);

namespace op {
extern Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Scalar&, const Scalar&, bool)> _addmm_activation;
}  // namespace op

// %%
//| export kernels/fused_products.cpp
namespace {
Tensor addmm_then_activation(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha, bool use_gelu) {
  const Tensor sum = addmm(self, mat1, mat2, beta, alpha);
  return use_gelu ? gelu(sum) : relu(sum);
}

Tensor addmm_activation_autograd(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha, bool use_gelu) {
  if (is_recording() && (self.requires_grad() || mat1.requires_grad() || mat2.requires_grad())) return addmm_then_activation(self, mat1, mat2, beta, alpha, use_gelu);
  const ExcludeLayersGuard below(Layer::Autograd);
  return op::_addmm_activation(self, mat1, mat2, beta, alpha, use_gelu);
}

Tensor addmm_activation_tuned(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha, bool use_gelu) {
  const std::optional<Tensor> result = use_gelu ? std::nullopt : kernels::addmm_with(kernels::Activation::ReLU, self, mat1, mat2, beta, alpha);
  return result ? *result : op::_addmm_activation.function(Layer::CPU)(self, mat1, mat2, beta, alpha, use_gelu);
}
}  // namespace

constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Scalar&, const Scalar&, bool)>
    op::_addmm_activation("_addmm_activation", {.cpu = addmm_then_activation, .autograd = addmm_activation_autograd});

Tensor _addmm_activation(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha, bool use_gelu) {
  check_addmm(self, mat1, mat2);
  return op::_addmm_activation(self, mat1, mat2, beta, alpha, use_gelu);
}

// %%
//| export kernels/fused_products.cpp
//| registers
void register_fused_products() { op::_addmm_activation.set(Layer::TunedCPU, addmm_activation_tuned); }

// %%
TEST_CASE("_addmm_activation: what addmm and the activation give, bit for bit, on every way through the kernels") {
  manual_seed(1);
  for (const auto& [M, K, N] : std::vector<std::array<std::int64_t, 3>>{{1, 30, 40}, {5, 300, 70}, {60, 40, 50}, {200, 700, 300}, {3, 0, 4}}) {
    CAPTURE(M);
    const Tensor bias = randn({N}), x = randn({M, K}), w = randn({N, K});
    for (const bool use_gelu : {false, true}) {
      const Tensor sum = addmm(bias, x, w.t(), 0.5, 2);
      CHECK_EQ(_addmm_activation(bias, x, w.t(), 0.5, 2, use_gelu), use_gelu ? gelu(sum) : relu(sum));
    }
  }
  CHECK_EQ(_addmm_activation(tensor({-3.0F, 4.0F}), ones({2, 1}), ones({1, 2})), tensor({{0.0F, 5.0F}, {0.0F, 5.0F}}));
  const Tensor nan = full({2}, std::numeric_limits<float>::quiet_NaN());
  CHECK_EQ(_addmm_activation(nan, ones({1, 1}), ones({1, 2})), nan.view({1, 2}));
  CHECK_EQ(_addmm_activation(nan, ones({1, 1}), ones({1, 2}), 0), ones({1, 2}));
  CHECK_EQ(_addmm_activation(tensor({-30}), ones({2, 3}, kLong), ones({3, 1}, kLong)), zeros({2, 1}, kLong));
  CHECK_ERROR(_addmm_activation(ones({3}), ones({2, 3}), ones({2, 3})), "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)");
}

TEST_CASE("_addmm_activation: gradients, first and second") {
  const auto inputs = [] {
    manual_seed(2);
    return std::vector<Tensor>{randn({4}, kDouble).requires_grad_(), randn({3, 5}, kDouble).requires_grad_(), randn({5, 4}, kDouble).requires_grad_()};
  };
  for (const bool use_gelu : {false, true}) {
    const auto gradients = [&](auto f) {
      const std::vector<Tensor> x = inputs();
      const std::vector<Tensor> first = autograd::grad({f(x).pow(2).sum()}, x, {}, true, true);
      Tensor sum = zeros({}, kDouble);
      for (const Tensor& g : first) sum = sum + g.pow(2).sum();
      return std::pair(first, autograd::grad({sum}, x));
    };
    const auto fused = gradients([&](const std::vector<Tensor>& x) { return _addmm_activation(x[0], x[1], x[2], 1, 1, use_gelu); });
    const auto apart = gradients([&](const std::vector<Tensor>& x) { return use_gelu ? gelu(addmm(x[0], x[1], x[2])) : relu(addmm(x[0], x[1], x[2])); });
    for (std::size_t i = 0; i < 3; ++i) {
      CHECK_EQ(fused.first[i], apart.first[i]);
      CHECK_EQ(fused.second[i], apart.second[i]);
    }
  }
  // Without a gradient to record, a tensor that could have one goes through the kernel too, and leads nowhere.
  const NoGradGuard no_grad;
  const std::vector<Tensor> x = inputs();
  CHECK(!_addmm_activation(x[0], x[1], x[2]).requires_grad());
}

// %% [markdown]
// ## What it is worth
//
// The two sides take turns. The shapes are the first layer of an MLP with a batch of 128, a layer whose K is short, and the wide half of a transformer's feed-forward.

// %%
DEMO("addmm and relu: in one kernel, and one after the other") {
  const int threads = get_num_threads();
  set_num_threads(1);
  std::printf("%6s %6s %6s %16s %12s %8s\n", "M", "K", "N", "addmm, relu us", "one kernel", "ratio");
  for (const auto& [M, K, N] : std::vector<std::array<std::int64_t, 3>>{{128, 784, 512}, {128, 512, 512}, {4096, 64, 512}, {512, 768, 3072}}) {
    const Tensor bias = rand({N}), x = randn({M, K}), w = randn({N, K});
    std::vector<double> apart, together;
    for (int round = 0; round < 9; ++round) {
      apart.push_back(measure([&] { do_not_optimize(relu(addmm(bias, x, w.t()))); }, {.samples = 3}).minimum);
      together.push_back(measure([&] { do_not_optimize(_addmm_activation(bias, x, w.t())); }, {.samples = 3}).minimum);
    }
    const double a = median_of(apart), t = median_of(together);
    std::printf("%6d %6d %6d %16.1f %12.1f %8.3f\n", static_cast<int>(M), static_cast<int>(K), static_cast<int>(N), a * 1e6, t * 1e6, a / t);
  }
  set_num_threads(threads);
}

// %% [markdown]
// ## Why gelu is not fused
//
// relu is one instruction for a vector, and what it saves is the whole pass. gelu is some thirty, wherever they are done. So the most that fusing could save is a difference of three times: the product and gelu, less the product alone, less gelu of as many numbers that lie in the first cache, from which a fused kernel would take them too.

// %%
DEMO("addmm and gelu: what one kernel could save at most") {
  const int threads = get_num_threads();
  set_num_threads(1);
  std::printf("%6s %6s %6s %10s %14s %12s %9s\n", "M", "K", "N", "addmm us", "addmm, gelu", "gelu, cached", "at most");
  for (const auto& [M, K, N] : std::vector<std::array<std::int64_t, 3>>{{768, 128, 512}, {1024, 384, 1536}, {128, 768, 3072}, {2048, 64, 256}}) {
    constexpr std::int64_t near = 2048;  // numbers, of which input and result fit into the first cache
    const Tensor bias = rand({N}), x = randn({M, K}), w = randn({N, K}) * (1 / std::sqrt(static_cast<double>(K))), few = randn({near});
    const std::int64_t times = M * N / near;
    std::vector<double> products, apart, cached;
    for (int round = 0; round < 9; ++round) {
      products.push_back(measure([&] { do_not_optimize(addmm(bias, x, w.t())); }, {.samples = 3}).minimum);
      apart.push_back(measure([&] { do_not_optimize(gelu(addmm(bias, x, w.t()))); }, {.samples = 3}).minimum);
      cached.push_back(static_cast<double>(times) * measure([&] { do_not_optimize(gelu(few)); }, {.samples = 3}).minimum);
    }
    const double p = median_of(products), a = median_of(apart), c = median_of(cached);
    std::printf("%6d %6d %6d %10.1f %14.1f %12.1f %8.1f%%\n", static_cast<int>(M), static_cast<int>(K), static_cast<int>(N), p * 1e6, a * 1e6, c * 1e6, 100 * (a - p - c) / a);
  }
  set_num_threads(threads);
}

// %% [markdown]
// On an Intel processor with AVX-512, in microseconds, and how long a fused kernel really took, of the time of both one after the other:
//
//        M     K     N      addmm   addmm, gelu   gelu, cached    at most     gelu in each tile, when its sums are complete
//      768   128   512        623           791            162      0.7 %     1.02
//     1024   384  1536       7580          8258            670      0.1 %     1.01
//      128   768  3072       3990          4134            168      none      1.02
//     2048    64   256        455           661            219      none      1.03
//
// That kernel was built: gelu over each tile of twelve rows as soon as its last block of K was done, from the first cache; then over whole rows of tiles. Neither was faster than the pass, with AVX2 as little as with AVX-512. The pass runs through memory that the product has just written, in long lines, while the
// tile's function begins anew for every two vectors of a row. So it was taken out again.
//
// On GPUs it is different: there a pass costs a launch and the way to memory and back, arithmetic is nearly free, and cuBLASLt (`CUBLASLT_EPILOGUE_GELU_BIAS`) and CUTLASS's epilogues apply gelu to the sums in registers. oneDNN does so on CPUs as well, with post-ops that its code generator puts behind the sums
// (`src/cpu/x64/injectors/jit_uni_eltwise_injector.cpp`).

// %%
}  // namespace tinytorch
