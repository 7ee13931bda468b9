// Saving and loading: tensors, lists, modules, nested archives, what is missing and what does not fit.
#include <torch/torch.h>

#include <cstdio>
#include <functional>
#include <iostream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace nn = torch::nn;
using torch::Tensor;

void show(const std::string& what, const std::function<void()>& operation) {
  try {
    operation();
    std::cout << what << ": no error\n";
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    std::cout << what << ": " << text.substr(0, text.find('\n')) << "\n";
  }
}

// What is wrong with a file is said in words of the reader's own.
void refused(const std::string& what, const std::function<void()>& operation) {
  try {
    operation();
    std::cout << what << " was taken\n";
  } catch (const std::exception&) {
    std::cout << what << " was refused\n";
  }
}

struct NetImpl : nn::Module {
  explicit NetImpl(int64_t hidden = 3) {
    layers = register_module("layers", nn::Sequential(nn::Linear(2, hidden), nn::BatchNorm1d(hidden), nn::Linear(hidden, 1)));
    scale = register_parameter("scale", torch::ones({1}));
    seen = register_buffer("seen", torch::zeros({1}, torch::kLong));
  }
  Tensor forward(const Tensor& x) {
    seen += x.size(0);
    return layers->forward(x) * scale;
  }
  nn::Sequential layers{nullptr};
  Tensor scale, seen;
};
TORCH_MODULE(Net);

void tensors() {
  for (const auto type : {torch::kFloat, torch::kDouble, torch::kLong, torch::kInt, torch::kShort, torch::kByte, torch::kChar, torch::kBool, torch::kHalf, torch::kBFloat16}) {
    std::stringstream stream;
    const Tensor x = torch::arange(6).view({2, 3}).t().to(type);
    torch::save(x, stream);
    Tensor y;
    torch::load(y, stream);
    std::cout << y.dtype() << " " << y.sizes() << " " << torch::equal(x, y) << "\n";
  }
  std::stringstream stream;
  torch::save(torch::ones({2}, torch::requires_grad()), stream);
  Tensor loaded;
  torch::load(loaded, stream);
  std::cout << loaded.detach() << "\n";
  torch::save({torch::zeros({1}), torch::arange(3), torch::empty({0, 2})}, "archives_list.pt");
  std::vector<Tensor> several;
  torch::load(several, "archives_list.pt");
  for (const Tensor& one : several) std::cout << one.sizes() << one.dtype() << " ";
  std::cout << "\n";
  std::remove("archives_list.pt");
  refused("no file", [] {
    Tensor x;
    torch::load(x, "there_is_no_such_file.pt");
  });
  refused("no archive", [] {
    std::stringstream text("no archive at all");
    Tensor x;
    torch::load(x, text);
  });
}

void modules() {
  torch::manual_seed(5);
  Net net(3);
  const Tensor x = torch::linspace(-1, 1, 8).view({4, 2});
  net(x);
  net->eval();
  const Tensor before = net(x);
  std::stringstream stream;
  torch::save(net, stream);
  torch::manual_seed(6);
  Net other(3);
  other->eval();
  std::cout << torch::allclose(before, other(x)) << " ";
  torch::load(other, stream);
  std::cout << torch::equal(before, other(x)) << other->seen.item<int64_t>() << other->scale.requires_grad() << "\n";
}

void nested() {
  torch::serialize::OutputArchive inner;
  inner.write("a", torch::tensor({1.5, 2.5}));
  inner.write("flag", torch::IValue(true));
  torch::serialize::OutputArchive outer;
  outer.write("inner", inner);
  outer.write("count", torch::IValue(static_cast<int64_t>(7)));
  outer.write("rate", torch::IValue(0.25));
  outer.write("name", torch::IValue("digits"));
  outer.write("buffer", torch::arange(2), /*is_buffer=*/true);
  std::stringstream stream;
  outer.save_to(stream);

  torch::serialize::InputArchive archive;
  archive.load_from(stream);
  Tensor a, buffer, missing;
  torch::IValue count, rate, name, flag;
  torch::serialize::InputArchive part;
  archive.read("inner", part);
  part.read("a", a);
  part.read("flag", flag);
  archive.read("count", count);
  archive.read("rate", rate);
  archive.read("name", name);
  archive.read("buffer", buffer, true);
  std::cout << a << "\n" << buffer << "\n" << count.toInt() << " " << rate.toDouble() << " " << name.toStringRef() << " " << flag.toBool() << "\n";
  std::cout << archive.try_read("nothing", missing) << archive.try_read("inner", part) << "\n";
  const std::vector<std::string> keys = archive.keys();
  for (const std::string& key : std::set<std::string>(keys.begin(), keys.end())) std::cout << key << " ";
  std::cout << "\n";
  show("missing", [&] { archive.read("nothing", missing); });
  show("missing archive", [&] { archive.read("nothing", part); });
}

// A module that keeps more than parameters, below one that does not.
struct CountingImpl : nn::Module {
  CountingImpl() : layer(register_module("layer", nn::Linear(2, 1))) {}
  void save(torch::serialize::OutputArchive& archive) const override {
    nn::Module::save(archive);
    archive.write("seen", seen);
  }
  void load(torch::serialize::InputArchive& archive) override {
    nn::Module::load(archive);
    torch::IValue value;
    archive.read("seen", value);
    seen = value.toInt();
  }
  nn::Linear layer;
  std::int64_t seen = 0;
};
TORCH_MODULE(Counting);

struct ParentImpl : nn::Module {
  ParentImpl() : child(register_module("child", Counting())) {}
  Counting child;
};
TORCH_MODULE(Parent);

void overridden() {
  Parent one, other;
  one->child->seen = 41;
  std::stringstream stream;
  torch::save(one, stream);
  torch::load(other, stream);
  std::cout << other->child->seen << torch::equal(other->child->layer->weight, one->child->layer->weight) << one->is_serializable() << "\n";
  std::stringstream again;
  torch::save(one, again);
  torch::load(other, again, torch::kCPU);
  CountingImpl alone;
  torch::serialize::OutputArchive out;
  alone.save(out);
  std::cout << other->child->layer->weight.device() << "\n";
  const auto copy = nn::Linear(2, 2)->clone(torch::Device(torch::kCPU));
  std::cout << copy->parameters().size() << "\n";
}

void own() {
  const auto bytes = torch::pickle_save(torch::tensor({1.0, 2.0}));
  std::cout << torch::pickle_load(bytes).toTensor() << "\n";
}

int main() {
  std::cout << std::boolalpha;
  tensors();
  modules();
  nested();
  overridden();
  own();
}
