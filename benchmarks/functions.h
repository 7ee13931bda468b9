// The suite `functions`: operators that a program calls now and then, each with the same inputs of a million elements. peers/functions.py has the same functions under the same names.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <tuple>

#include "tinytorch/tinytorch.h"

// Without a pattern, and the same on both sides: multiples of a large prime, modulo 2^32.
struct FunctionInputs {
  static constexpr std::int64_t side = 1024, count = side * side;
  tinytorch::Tensor hashes = (tinytorch::arange(count) * 2654435761).remainder(std::int64_t{1} << 32);
  tinytorch::Tensor uniform = hashes.to(tinytorch::kDouble) / 2147483648.0 - 1;  // [-1, 1)
  tinytorch::Tensor x = (uniform * 3).to(tinytorch::kFloat).view({side, side});
  tinytorch::Tensor y = (uniform.flip(0) * 0.5 + 1).to(tinytorch::kFloat).view({side, side});  // [0.5, 1.5)
  tinytorch::Tensor part = (uniform * 0.499 + 0.5).to(tinytorch::kFloat).view({side, side});  // (0, 1)
  tinytorch::Tensor flat = x.view({count});
  tinytorch::Tensor mask = (hashes.flip(0) >= (std::int64_t{1} << 31)).view({side, side});
  tinytorch::Tensor longs = hashes.remainder(1000);
  tinytorch::Tensor ints = longs.to(tinytorch::kInt).view({side, side});
  tinytorch::Tensor places = hashes.flip(0).remainder(side).view({side, side});
  tinytorch::Tensor order = (tinytorch::arange(side) * 389).remainder(side);  // all of them once
  tinytorch::Tensor few = x.slice(0, 0, 512).slice(1, 0, 64).contiguous(), others = y.slice(0, 0, 512).slice(1, 0, 64).contiguous();
  tinytorch::Tensor slope = tinytorch::full({1}, 0.2), edges = tinytorch::linspace(-3, 3, 1000);
  tinytorch::Tensor classes = longs.slice(0, 0, side);
};

using Function = std::function<tinytorch::Tensor(const FunctionInputs&)>;

// f(x) and the gradient of the sum of its numbers.
template <class F>
tinytorch::Tensor gradient(const tinytorch::Tensor& at, F f) {
  const tinytorch::AutoGradMode recording(true);
  const tinytorch::Tensor x = at.detach().requires_grad_(), y = f(x);
  return tinytorch::autograd::grad({y}, {x}, {tinytorch::ones_like(y)})[0];
}

inline const std::map<std::string, Function>& functions() {
  using namespace tinytorch;
  using I = FunctionInputs;
  static const std::map<std::string, Function> table = {
      {"acos", [](const I& i) { return acos(i.uniform.to(kFloat)); }},
      {"add-int64", [](const I& i) { return i.longs + i.longs; }},
      {"amax-of-columns", [](const I& i) { return amax(i.x, {0}); }},
      {"any-of-rows", [](const I& i) { return any(i.mask, 1); }},
      {"asin", [](const I& i) { return asin(i.part); }},
      {"atan", [](const I& i) { return atan(i.x); }},
      {"atan2", [](const I& i) { return atan2(i.x, i.y); }},
      {"binary_cross_entropy", [](const I& i) { return binary_cross_entropy(i.part, i.part); }},
      {"bincount", [](const I& i) { return bincount(i.longs); }},
      {"cat", [](const I& i) { return cat({i.x, i.y}, 1); }},
      {"cdist", [](const I& i) { return cdist(i.few, i.others); }},
      {"copysign", [](const I& i) { return copysign(i.x, i.y); }},
      {"cosine_similarity", [](const I& i) { return cosine_similarity(i.x, i.y, 1); }},
      {"cummax", [](const I& i) { return std::get<0>(cummax(i.x, 1)); }},
      {"cumprod", [](const I& i) { return cumprod(i.y, 1); }},
      {"cumsum-of-columns", [](const I& i) { return cumsum(i.x, 0); }},
      {"cumsum-of-rows", [](const I& i) { return cumsum(i.x, 1); }},
      {"diff", [](const I& i) { return diff(i.x); }},
      {"eq-int64", [](const I& i) { return i.longs == 5; }},
      {"erfinv", [](const I& i) { return erfinv(i.part); }},
      {"exp2", [](const I& i) { return exp2(i.x); }},
      {"expm1", [](const I& i) { return expm1(i.x); }},
      {"flip-of-columns", [](const I& i) { return flip(i.x, 1); }},
      {"flip-of-rows", [](const I& i) { return flip(i.x, 0); }},
      {"float-to-int64", [](const I& i) { return i.x.to(kLong); }},
      {"floor_divide", [](const I& i) { return floor_divide(i.x, i.y); }},
      {"fmod", [](const I& i) { return fmod(i.x, i.y); }},
      {"frac", [](const I& i) { return frac(i.x); }},
      {"full", [](const I& i) { return full({i.count}, 2.0); }},
      {"gather", [](const I& i) { return gather(i.x, 1, i.places); }},
      {"gelu", [](const I& i) { return gelu(i.x); }},
      {"gradient-of-cdist", [](const I& i) { return gradient(i.few, [&i](const Tensor& x) { return cdist(x, i.others); }); }},
      {"gradient-of-diagonal", [](const I& i) { return gradient(i.x, [](const Tensor& x) { return diagonal(x); }); }},
      {"gradient-of-elu", [](const I& i) { return gradient(i.x, [](const Tensor& x) { return elu(x); }); }},
      {"gradient-of-flip-of-columns", [](const I& i) { return gradient(i.x, [](const Tensor& x) { return flip(x, 1); }); }},
      {"gradient-of-hardtanh", [](const I& i) { return gradient(i.x, [](const Tensor& x) { return hardtanh(x); }); }},
      {"gradient-of-mse_loss", [](const I& i) { return gradient(i.x, [&i](const Tensor& x) { return mse_loss(x, i.y); }); }},
      {"gradient-of-pad", [](const I& i) { return gradient(i.x, [](const Tensor& x) { return nn::functional::pad(x, nn::functional::PadFuncOptions({1, 1, 1, 1})); }); }},
      {"gradient-of-selu", [](const I& i) { return gradient(i.x, [](const Tensor& x) { return selu(x); }); }},
      {"gradient-of-softmax-of-columns", [](const I& i) { return gradient(i.x, [](const Tensor& x) { return softmax(x, 0); }); }},
      {"gradient-of-softplus", [](const I& i) { return gradient(i.x, [](const Tensor& x) { return softplus(x); }); }},
      {"hardshrink", [](const I& i) { return hardshrink(i.x); }},
      {"hardtanh", [](const I& i) { return hardtanh(i.x); }},
      {"huber_loss", [](const I& i) { return huber_loss(i.x, i.y); }},
      {"index-by-a-mask", [](const I& i) { return i.x.index({i.mask}); }},
      {"index-by-rows", [](const I& i) { return i.x.index({i.order}); }},
      {"index_select-of-columns", [](const I& i) { return index_select(i.x, 1, i.order); }},
      {"int64-to-float", [](const I& i) { return i.longs.to(kFloat); }},
      {"isnan", [](const I& i) { return isnan(i.x); }},
      {"kl_div", [](const I& i) { return kl_div(i.x, i.y, Reduction::Sum); }},
      {"l1_loss", [](const I& i) { return l1_loss(i.x, i.y); }},
      {"lerp", [](const I& i) { return lerp(i.x, i.y, 0.3); }},
      {"lgamma", [](const I& i) { return lgamma(i.y); }},
      {"linspace", [](const I& i) { return linspace(0, 1, i.count); }},
      {"log10", [](const I& i) { return log10(i.y); }},
      {"log1p", [](const I& i) { return log1p(i.y); }},
      {"log2", [](const I& i) { return log2(i.y); }},
      {"log_softmax-of-columns", [](const I& i) { return log_softmax(i.x, 0); }},
      {"logaddexp", [](const I& i) { return logaddexp(i.x, i.y); }},
      {"logsumexp", [](const I& i) { return logsumexp(i.x, {1}); }},
      {"masked_fill", [](const I& i) { return masked_fill(i.x, i.mask, 0.0); }},
      {"max-int64", [](const I& i) { return i.longs.max(); }},
      {"median", [](const I& i) { return i.x.median(); }},
      {"mse_loss", [](const I& i) { return mse_loss(i.x, i.y); }},
      {"mul-int64", [](const I& i) { return i.longs * 3; }},
      {"nan_to_num", [](const I& i) { return nan_to_num(i.x); }},
      {"nll_loss", [](const I& i) { return nll_loss(i.x, i.classes); }},
      {"nonzero", [](const I& i) { return nonzero(i.mask); }},
      {"norm", [](const I& i) { return i.x.norm(); }},
      {"norm-of-rows", [](const I& i) { return i.x.norm(2, {1}); }},
      {"one_hot", [](const I& i) { return one_hot(i.classes, 1000); }},
      {"pad", [](const I& i) { return nn::functional::pad(i.x, nn::functional::PadFuncOptions({1, 1, 1, 1})); }},
      {"pow", [](const I& i) { return pow(i.y, 1.7); }},
      {"pow-of-tensors", [](const I& i) { return pow(i.y, i.x); }},
      {"prelu", [](const I& i) { return prelu(i.x, i.slope); }},
      {"prod", [](const I& i) { return i.y.prod(); }},
      {"prod-of-rows", [](const I& i) { return i.y.prod(1); }},
      {"reciprocal", [](const I& i) { return reciprocal(i.y); }},
      {"remainder", [](const I& i) { return remainder(i.x, i.y); }},
      {"repeat", [](const I& i) { return i.x.repeat({1, 2}); }},
      {"roll", [](const I& i) { return roll(i.x, 1, 1); }},
      {"round", [](const I& i) { return round(i.x); }},
      {"scatter", [](const I& i) { return scatter(i.x, 1, i.order.expand({1024, 1024}).contiguous(), i.y); }},
      {"scatter_add", [](const I& i) { return scatter_add(i.x, 1, i.places, i.y); }},
      {"searchsorted", [](const I& i) { return searchsorted(i.edges, i.x); }},
      {"selu", [](const I& i) { return selu(i.x); }},
      {"sign", [](const I& i) { return sign(i.x); }},
      {"sin", [](const I& i) { return sin(i.x); }},
      {"sinh", [](const I& i) { return sinh(i.x); }},
      {"smooth_l1_loss", [](const I& i) { return smooth_l1_loss(i.x, i.y, Reduction::Mean, 1.0); }},
      {"softmax-of-columns", [](const I& i) { return softmax(i.x, 0); }},
      {"softplus", [](const I& i) { return softplus(i.x); }},
      {"softshrink", [](const I& i) { return softshrink(i.x); }},
      {"sort-of-int64", [](const I& i) { return std::get<0>(sort(i.longs, 0)); }},
      {"sort-of-rows", [](const I& i) { return std::get<0>(sort(i.x, 1)); }},
      {"sort-of-a-million", [](const I& i) { return std::get<0>(sort(i.flat, 0)); }},
      {"sqrt", [](const I& i) { return sqrt(i.y); }},
      {"std", [](const I& i) { return i.x.std(); }},
      {"sum-int64", [](const I& i) { return i.longs.sum(); }},
      {"sum-of-bools", [](const I& i) { return i.mask.sum(); }},
      {"sum-of-columns-int32", [](const I& i) { return i.ints.sum(0); }},
      {"tan", [](const I& i) { return tan(i.part); }},
      {"threshold", [](const I& i) { return threshold(i.x, 0.1, -0.7); }},
      {"topk-of-5", [](const I& i) { return std::get<0>(topk(i.x, 5, 1)); }},
      {"topk-of-500", [](const I& i) { return std::get<0>(topk(i.x, 500, 1)); }},
      {"unique-of-floats", [](const I& i) { return std::get<0>(_unique2(i.flat, true, true, true)); }},
      {"unique-of-int64", [](const I& i) { return std::get<0>(_unique2(i.longs, true)); }},
      {"where", [](const I& i) { return where(i.mask, i.x, i.y); }},
  };
  return table;
}
