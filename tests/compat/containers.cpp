// Activations as modules, and modules that hold others: what they print and compute, how their entries are named and found.
#include <torch/torch.h>

#include <iostream>
#include <string>

namespace nn = torch::nn;
using torch::Tensor;

Tensor numbers(torch::IntArrayRef sizes, double start) {
  Tensor out = torch::empty(sizes, torch::kDouble);
  out.copy_(torch::sin(torch::arange(out.numel(), torch::kDouble) * 0.7 + start).view(sizes) * 4);
  return out;
}

template <class Activation>
void show(Activation activation) {
  activation->to(torch::kDouble);
  activation->eval();
  const Tensor x = numbers({2, 4}, 0.2).set_requires_grad(true);
  const Tensor y = activation(x);
  (y * torch::arange(1, y.numel() + 1, torch::kDouble).view(y.sizes())).sum().backward();
  std::cout << activation << "\n" << y.detach() << "\n" << x.grad() << "\n";
}

struct TwiceImpl : nn::Module {
  Tensor forward(Tensor x, double factor = 2) { return x * factor; }

 protected:
  FORWARD_HAS_DEFAULT_ARGS({1, nn::AnyValue(2.0)})
};
TORCH_MODULE(Twice);

void activations() {
  show(nn::ELU(nn::ELUOptions().alpha(0.5)));
  show(nn::SELU());
  show(nn::CELU(nn::CELUOptions().alpha(2)));
  show(nn::GELU());
  show(nn::GELU(nn::GELUOptions().approximate("tanh")));
  show(nn::SiLU());
  show(nn::Mish());
  show(nn::GLU());
  show(nn::ReLU());
  show(nn::ReLU6());
  show(nn::RReLU());
  show(nn::LeakyReLU(nn::LeakyReLUOptions().negative_slope(0.3)));
  show(nn::PReLU(nn::PReLUOptions().init(0.4)));
  show(nn::Hardshrink(nn::HardshrinkOptions(1)));
  show(nn::Hardtanh(nn::HardtanhOptions().min_val(-2).max_val(1)));
  show(nn::Softshrink(1.5));
  show(nn::Tanhshrink());
  show(nn::Sigmoid());
  show(nn::LogSigmoid());
  show(nn::Softplus(nn::SoftplusOptions().beta(2).threshold(3)));
  show(nn::Softsign());
  show(nn::Tanh());
  show(nn::Threshold(nn::ThresholdOptions(1, -3)));
  show(nn::Softmax(1));
  show(nn::Softmin(1));
  show(nn::LogSoftmax(1));
  std::cout << nn::Softmax2d() << "\n" << nn::Softmax2d()(numbers({1, 3, 2, 1}, 0.3)) << "\n";
  std::cout << nn::Identity()(numbers({2}, 0.1)) << nn::Flatten()(numbers({2, 2, 2}, 0.1)).sizes() << nn::Unflatten(nn::UnflattenOptions(1, {2, 2}))(numbers({2, 4}, 0.1)).sizes() << "\n";
}

void sequences() {
  nn::Sequential net({{"hidden", nn::Linear(3, 4)}, {"relu", nn::ReLU()}, {"out", nn::Linear(4, 2)}});
  std::cout << net << "\n" << net->size() << " " << net->is_empty() << "\n";
  for (const auto& item : net->named_parameters()) std::cout << item.key() << " " << item.value().sizes() << "\n";
  net->push_back("end", nn::Tanh());
  net->push_back(nn::Identity());
  std::cout << net << "\n" << net->ptr(0)->name() << " " << net->at<nn::LinearImpl>(2).options.out_features() << "\n";
  std::cout << net->forward(torch::ones({5, 3})).sizes() << "\n";
  nn::Sequential twice{Twice()};
  std::cout << twice->forward(torch::ones({2})) << twice->forward(torch::ones({2}), 5.0) << "\n";
  net->extend(*nn::Sequential(nn::Dropout(0.2), nn::Softmax(1)));
  std::cout << net->size() << "\n";
  for (const auto& child : net->named_children()) std::cout << child.key() << " " << child.value()->name() << "\n";

  nn::ModuleList list{nn::Linear(2, 3), nn::ReLU()};
  list->push_back(nn::Linear(3, 1));
  list->insert(3, nn::Dropout(0.1));  // before the end libtorch registers it under another's name
  list->extend(*nn::ModuleList(nn::Tanh(), nn::Identity()));
  std::cout << list << "\n" << list->size() << " " << list[2]->name() << "\n";
  for (const auto& module : *list) std::cout << module->name() << " ";
  std::cout << "\n" << list->at<nn::LinearImpl>(0).options.in_features() << "\n";

  nn::AnyModule any{nn::Linear(2, 1)};
  any.get<nn::Linear>()->weight.data().fill_(2);
  any.get<nn::Linear>()->bias.data().zero_();
  std::cout << any.forward(torch::ones({1, 2})) << " " << any.is_empty() << " " << any.ptr()->name() << "\n";
}

void dictionaries() {
  torch::OrderedDict<std::string, std::shared_ptr<nn::Module>> entries;
  entries.insert("linear", nn::Linear(2, 3).ptr());
  entries.insert("act", nn::ReLU().ptr());
  nn::ModuleDict dict(entries);
  std::cout << dict << "\n" << dict->size() << " " << dict->contains("act") << dict->contains("none") << "\n";
  for (const auto& item : dict->items()) std::cout << item.first << " " << item.second->name() << "\n";
  for (const std::string& key : dict->keys()) std::cout << key << " ";
  const auto popped = dict->pop("act");
  std::cout << popped->name() << " " << dict->size() << " " << dict["linear"]->name() << "\n";

  nn::ParameterList list;
  list->append(torch::ones({2, 2}));
  list->append(torch::zeros({3}));
  std::cout << list << "\n" << list->size() << " " << list[0].sizes() << "\n";
  nn::ParameterDict named;
  named->insert("weight", torch::ones({2, 3}));
  named->insert("bias", torch::zeros({3}));
  std::cout << named << "\n" << named->size() << " " << named->contains("bias") << " " << named["weight"].sizes() << "\n";
  for (const std::string& key : named->keys()) std::cout << key << " ";
  std::cout << named->pop("bias").sizes() << " " << named->size() << "\n";
}

int main() {
  std::cout << std::boolalpha;  // printing some modules leaves it on in libtorch
  activations();
  sequences();
  dictionaries();
}
