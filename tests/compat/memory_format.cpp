// How results lie in memory: channels last, preserved and contiguous formats, transposed operands.
#include <torch/torch.h>

#include <iostream>
#include <string>
#include <vector>

using torch::Tensor;

void lies(const std::string& name, const Tensor& x) {
  std::cout << name << " " << x.sizes() << " " << x.strides() << " " << x.is_contiguous() << x.is_contiguous(torch::MemoryFormat::ChannelsLast) << " " << x.suggest_memory_format() << "\n";
}

// Convolutions, poolings and norms of pictures with the channels last.
void layers() {
  namespace nn = torch::nn;
  namespace F = torch::nn::functional;
  torch::manual_seed(1);
  const Tensor rows = torch::rand({2, 3, 6, 6});
  const Tensor last = rows.contiguous(torch::MemoryFormat::ChannelsLast);
  const auto both = [&](const std::string& name, const auto& layer) {
    const Tensor result = layer(last);
    lies(name, result);
    std::cout << torch::allclose(result, layer(rows), 1e-4, 1e-6) << layer(rows).is_contiguous() << "\n";
  };
  const Tensor weight = torch::rand({4, 3, 3, 3});
  both("conv2d", [&](const Tensor& x) { return torch::conv2d(x, weight, torch::rand({4}).mul(0)); });
  both("conv2d of a group each", [&](const Tensor& x) { return torch::conv2d(x, torch::ones({3, 1, 3, 3}), {}, 2, 1, 1, 3); });
  both("conv_transpose2d", [&](const Tensor& x) { return torch::conv_transpose2d(x, torch::ones({3, 4, 2, 2})); });
  lies("conv2d, weight last", torch::conv2d(rows, weight.contiguous(torch::MemoryFormat::ChannelsLast)));
  both("max_pool2d", [](const Tensor& x) { return torch::max_pool2d(x, 2); });
  both("its indices", [](const Tensor& x) { return std::get<1>(torch::max_pool2d_with_indices(x, 2)); });
  both("avg_pool2d", [](const Tensor& x) { return torch::avg_pool2d(x, 2); });
  both("adaptive_avg_pool2d", [](const Tensor& x) { return torch::adaptive_avg_pool2d(x, {2, 2}); });
  both("adaptive_max_pool2d", [](const Tensor& x) { return std::get<0>(torch::adaptive_max_pool2d(x, {2, 2})); });
  nn::BatchNorm2d norm(3);
  both("batch_norm", [&](const Tensor& x) { return norm(x); });
  norm->eval();
  both("batch_norm in evaluation", [&](const Tensor& x) { return norm(x); });
  both("group_norm", [&](const Tensor& x) { return nn::GroupNorm(1, 3)(x); });
  both("upsample nearest", [](const Tensor& x) { return F::interpolate(x, F::InterpolateFuncOptions().scale_factor(std::vector<double>{2, 2}).mode(torch::kNearest)); });
  both("upsample bilinear", [](const Tensor& x) { return F::interpolate(x, F::InterpolateFuncOptions().scale_factor(std::vector<double>{2, 2}).mode(torch::kBilinear).align_corners(false)); });
  both("pad", [](const Tensor& x) { return F::pad(x, F::PadFuncOptions({1, 1, 1, 1})); });
  both("reflection", [](const Tensor& x) { return F::pad(x, F::PadFuncOptions({1, 1, 1, 1}).mode(torch::kReflect)); });
  both("pixel_unshuffle", [](const Tensor& x) { return torch::pixel_unshuffle(x, 2); });
  const Tensor volume = torch::rand({2, 3, 4, 4, 4}).contiguous(torch::MemoryFormat::ChannelsLast3d);
  std::cout << torch::conv3d(volume, torch::ones({4, 3, 3, 3, 3})).strides() << torch::max_pool3d(volume, 2).strides() << nn::BatchNorm3d(3)(volume).strides() << "\n";
  std::cout << torch::max_pool2d(last[0], 2).strides() << "\n";
}

int main() {
  layers();
  const Tensor x = torch::arange(24, torch::kFloat).view({1, 2, 3, 4});
  const Tensor last = x.contiguous(torch::MemoryFormat::ChannelsLast);
  lies("x", x);
  lies("last", last);
  std::cout << torch::equal(x, last) << "\n";

  // Copies keep the order of a dense tensor.
  lies("clone", last.clone());
  lies("clone contiguous", last.clone(torch::MemoryFormat::Contiguous));
  lies("clone of a transpose", x.transpose(1, 3).clone());
  lies("clone of a slice", x.slice(3, 0, 4, 2).clone());
  lies("clone of an expanded one", torch::ones({2, 1}).expand({2, 3}).clone());
  lies("empty_like", torch::empty_like(last));
  lies("zeros_like", torch::zeros_like(last));
  lies("zeros_like contiguous", torch::zeros_like(last, torch::TensorOptions(), torch::MemoryFormat::Contiguous));
  lies("ones_like of a transpose", torch::ones_like(x[0][0].t()));
  lies("full_like", torch::full_like(last, 2));
  lies("rand_like", torch::rand_like(last));
  lies("to double", last.to(torch::kDouble));
  lies("to double of a transpose", x[0][0].t().to(torch::kDouble));
  lies("to with a format", x.to(torch::kDouble, false, true, torch::MemoryFormat::ChannelsLast));
  lies("contiguous", last.contiguous());
  lies("contiguous again", last.contiguous(torch::MemoryFormat::ChannelsLast));
  lies("empty", torch::empty({2, 3, 4, 5}, torch::kFloat, torch::MemoryFormat::ChannelsLast));
  lies("volume", torch::empty({2, 3, 4, 5, 6}, torch::TensorOptions(), torch::MemoryFormat::ChannelsLast3d));

  // Elementwise results lie as their operands do.
  lies("relu", torch::relu(last));
  lies("exp", last.exp());
  lies("negative", -last);
  lies("sum of both", last + last);
  lies("with a number", last * 2);
  lies("with a channel", last + torch::ones({2, 1, 1}));
  lies("mixed, last first", last + x);
  lies("mixed, last second", x + last);
  lies("comparison", last > 3);
  lies("where", torch::where(last > 3, last, torch::zeros({})));
  const Tensor t = torch::arange(6, torch::kFloat).view({2, 3}).t();
  lies("transposed", t + 1);
  lies("transposed exp", t.exp());
  lies("both transposed", t * t);
  lies("one transposed", t + torch::ones({3, 2}));
  lies("broadcast row", t + torch::ones({2}));
  lies("three dimensions", x[0].permute({2, 0, 1}).abs());
  lies("three dimensions and a number", 1 - x[0].permute({1, 2, 0}));
  lies("strided", torch::arange(12, torch::kFloat).view({3, 4}).slice(1, 0, 4, 2) + 1);
  lies("expanded", torch::ones({3, 1}).expand({3, 4}) + 1);
  lies("clamp", t.clamp(0, 2));
  lies("pow", t.pow(2));
  lies("to int", t.to(torch::kInt));
  lies("sigmoid", torch::sigmoid(t));
  lies("dropout", torch::dropout(t, 0.5, true));
  lies("gradient", [] {
    const Tensor w = torch::ones({2, 3}, torch::requires_grad());
    (w.t() * 2).sum().backward();
    return w.grad();
  }());

  std::cout << t + 1 << "\n" << (last + x).reshape({24}).slice(0, 0, 5) << "\n";
}
