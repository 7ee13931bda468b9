// Modules: trees of them, what they print, their parameters, copies, conversion.
#include <torch/torch.h>

#include <iostream>
#include <string>

namespace nn = torch::nn;
using torch::Tensor;

struct BlockImpl : nn::Module {
  BlockImpl(int64_t features, double p) : linear(register_module("linear", nn::Linear(features, features))), dropout(register_module("dropout", nn::Dropout(p))) {
    scale = register_parameter("scale", torch::full({features}, 2.0));
    calls = register_buffer("calls", torch::zeros({1}, torch::kLong));
  }
  Tensor forward(Tensor x) {
    calls += 1;
    return x + dropout(torch::relu(linear(x))) * scale;
  }
  nn::Linear linear;
  nn::Dropout dropout;
  Tensor scale, calls;
};
TORCH_MODULE(Block);

struct Net : nn::Module {
  Net() {
    first = register_module("first", nn::Linear(nn::LinearOptions(4, 3).bias(false)));
    for (int i = 0; i < 2; ++i) blocks->push_back(Block(3, 0.5));
    register_module("blocks", blocks);
    head = register_module("head", nn::Sequential(nn::Linear(3, 2), nn::ReLU(), nn::Linear(2, 1)));
  }
  Tensor forward(Tensor x) {
    x = first->forward(x);
    for (const auto& block : *blocks) x = block->as<Block>()->forward(x);
    return head->forward(x);
  }
  nn::Linear first{nullptr};
  nn::ModuleList blocks;
  nn::Sequential head{nullptr};
};

// Numbers that no random stream decides.
void fill(nn::Module& module) {
  torch::NoGradGuard no_grad;
  double start = 0;
  for (Tensor& parameter : module.parameters()) parameter.copy_(torch::sin(torch::arange(parameter.numel()) + (start += 1)).view_as(parameter));
}

int main() {
  std::cout << std::boolalpha;  // printing some modules leaves it on in libtorch
  const auto owner = std::make_shared<Net>();  // named_modules() wants that
  Net& net = *owner;
  std::cout << net << "\n";
  for (const auto& item : net.named_parameters()) std::cout << item.key() << " " << item.value().sizes() << " " << item.value().requires_grad() << "\n";
  for (const auto& item : net.named_buffers()) std::cout << item.key() << " " << item.value().sizes() << "\n";
  for (const auto& item : net.named_modules("net")) std::cout << item.key() << "\n";
  std::cout << net.parameters().size() << " " << net.children().size() << " " << net.modules().size() << "\n";
  fill(net);
  net.eval();
  const Tensor x = torch::linspace(-1, 1, 8).view({2, 4});
  std::cout << net.forward(x) << "\n" << net.is_training() << net.blocks[0]->is_training() << "\n";

  net.zero_grad();
  net.forward(x).sum().backward();
  std::cout << net.first->weight.grad() << "\n";
  net.apply([](nn::Module& module) {
    if (auto* linear = module.as<nn::Linear>()) linear->weight.set_requires_grad(false);
  });
  std::cout << net.first->weight.requires_grad() << net.blocks[0]->as<Block>()->scale.requires_grad() << "\n";

  Block block(2, 0.0);
  fill(*block);
  {
    torch::NoGradGuard no_grad;
    block->scale.zero_();
  }
  std::cout << block->scale.detach() << "\n";
  block->to(torch::kDouble);
  std::cout << block->linear->weight.dtype() << " " << block->calls.dtype() << "\n";
  block->to(torch::kCPU);
  block->to(torch::Device("cpu"), torch::kFloat);
  std::cout << block->linear->weight.dtype() << " " << block->linear->weight.device() << "\n";

  nn::Sequential named({{"up", nn::Linear(2, 4)}, {"act", nn::Tanh()}, {"down", nn::Linear(4, 2)}});
  std::cout << named << "\n" << named->size() << "\n";
  std::cout << nn::Bilinear(2, 3, 4) << nn::Flatten() << nn::LeakyReLU(nn::LeakyReLUOptions().negative_slope(0.2)) << nn::Softmax(1) << nn::Dropout(0.25) << nn::CrossEntropyLoss() << nn::CTCLoss() << "\n";
  std::cout << nn::Conv1d(nn::Conv1dOptions(2, 3, 3).stride(2)) << nn::MaxPool1d(nn::MaxPool1dOptions(2).padding(1)) << nn::AvgPool1d(3) << nn::AdaptiveAvgPool1d(4) << nn::ConvTranspose1d(nn::ConvTranspose1dOptions(1, 2, 3).dilation(2)) << nn::CrossMapLRN2d(nn::CrossMapLRN2dOptions(3).alpha(0.5).k(2)) << nn::LPPool1d(nn::LPPool1dOptions(2, 3)) << "\n";
  std::cout << nn::MultiheadAttention(4, 2) << "\n" << nn::CrossMapLRN2d(3)(torch::arange(1, 5, torch::kDouble).view({1, 2, 2, 1})).flatten() << "\n" << block->name() << " " << nn::Linear(1, 1)->name() << " " << net.name() << "\n";
  try {
    net.register_module("first", nn::Linear(1, 1));
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    std::cout << text.substr(0, text.find('\n')) << "\n";
  }
}
