// Saving and loading: tensors, modules, optimizers, archives.
#include <torch/torch.h>

#include <iostream>
#include <sstream>
#include <string>
#include <vector>

namespace nn = torch::nn;
using torch::Tensor;

nn::Sequential make_net() { return nn::Sequential(nn::Linear(3, 4), nn::Tanh(), nn::Linear(4, 1)); }

void fill(const nn::Sequential& net, double start) {
  torch::NoGradGuard no_grad;
  for (Tensor& parameter : net->parameters()) parameter.copy_(torch::cos(torch::arange(parameter.numel()) + start).view_as(parameter));
}

void tensors() {
  std::stringstream stream;
  torch::save(torch::tensor({{1.5, 2.5}, {3.5, 4.5}}, torch::kDouble), stream);
  Tensor back;
  torch::load(back, stream);
  std::cout << back << "\n";
  std::stringstream many;
  torch::save(std::vector<Tensor>{torch::arange(3), torch::tensor({true, false}), torch::tensor({0.5}, torch::kHalf)}, many);
  std::vector<Tensor> list;
  torch::load(list, many);
  for (const Tensor& one : list) std::cout << one << "\n";
  torch::save(torch::ones({2, 2}).t(), "tensor.pt");
  torch::load(back, "tensor.pt");
  std::cout << back << "\n";
}

void modules_and_optimizers() {
  nn::Sequential net = make_net();
  fill(net, 1);
  torch::optim::Adam optimizer(net->parameters(), torch::optim::AdamOptions(0.1));
  const Tensor x = torch::linspace(-1, 1, 6).view({2, 3});
  const auto step = [&x](nn::Sequential& model, torch::optim::Optimizer& with) {
    with.zero_grad();
    const Tensor loss = model->forward(x).pow(2).sum();
    loss.backward();
    with.step();
    return loss.item<double>();
  };
  for (int i = 0; i < 3; ++i) step(net, optimizer);
  torch::save(net, "net.pt");
  torch::save(optimizer, "optimizer.pt");

  nn::Sequential other = make_net();
  torch::load(other, "net.pt");
  torch::optim::Adam resumed(other->parameters(), torch::optim::AdamOptions(0.5));
  torch::load(resumed, "optimizer.pt");
  std::cout << resumed.param_groups()[0].options().get_lr() << " " << resumed.state().size() << "\n";
  for (int i = 0; i < 3; ++i) std::cout << (step(net, optimizer) == step(other, resumed));
  std::cout << "\n" << other->forward(x) << "\n";
}

void archives() {
  torch::serialize::OutputArchive inner;
  inner.write("weight", torch::full({2}, 3.0));
  torch::serialize::OutputArchive archive;
  archive.write("x", torch::arange(4), /*is_buffer=*/true);
  archive.write("inside", inner);
  archive.save_to("archive.pt");

  torch::serialize::InputArchive read;
  read.load_from("archive.pt");
  Tensor x;
  read.read("x", x, true);
  torch::serialize::InputArchive inside;
  read.read("inside", inside);
  Tensor weight;
  inside.read("weight", weight);
  std::cout << x << "\n" << weight << "\n";
  std::cout << read.try_read("nothing", x) << "\n";
}

int main() {
  tensors();
  modules_and_optimizers();
  archives();
}
