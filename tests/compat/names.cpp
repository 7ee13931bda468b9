// Programs name, open, alias and specialise namespaces of libtorch, and have names of their own beside them.
#include <torch/torch.h>

#include <iostream>
#include <string>

// The namespace opened again, also a nested one.
namespace torch {
inline int64_t number_of_elements(const Tensor& x) { return x.numel(); }
namespace nn {
struct DoublerImpl : Module {
  Tensor forward(const Tensor& x) { return x * 2; }
};
TORCH_MODULE(Doubler);
}  // namespace nn
}  // namespace torch

namespace torch::nn::functional {
inline Tensor doubled(const Tensor& x) { return x + x; }
}  // namespace torch::nn::functional

// Aliases of namespaces and types.
namespace t = torch;
namespace tnn = ::torch::nn;
using Floats = torch::Tensor;
using namespace torch::indexing;

// The user's own names beside libtorch's.
namespace mine {
struct Tensor {
  int value = 3;
};
inline int relu(int x) { return x < 0 ? 0 : x; }
namespace nn {
struct Linear {
  int width = 5;
};
}  // namespace nn
namespace optim {
inline std::string name() { return "mine"; }
}  // namespace optim
}  // namespace mine

// A class that is called like a nested namespace or a function of libtorch.
struct at_home {
  int torches = 2;
};
struct Module {
  int torch_count() const { return 1; }
};
static int sigmoid(int x) { return -x; }

// A specialisation of a template of libtorch.
struct Meters {
  double value;
};
namespace torch::data::transforms {
template <>
struct Stack<Example<Meters, Meters>> : public Collation<double, std::vector<Example<Meters, Meters>>> {
  double apply_batch(std::vector<Example<Meters, Meters>> examples) override {
    double sum = 0;
    for (const auto& example : examples) sum += example.data.value;
    return sum;
  }
};
}  // namespace torch::data::transforms

struct Lengths : torch::data::datasets::Dataset<Lengths, torch::data::Example<Meters, Meters>> {
  torch::data::Example<Meters, Meters> get(size_t index) override { return {Meters{static_cast<double>(index)}, Meters{0}}; }
  torch::optional<size_t> size() const override { return 3; }
};

void whole_namespace() {
  using namespace torch;
  nn::Linear linear(2, 3);
  optim::SGD optimizer(linear->parameters(), optim::SGDOptions(0.1));
  auto dataset = data::datasets::TensorDataset(torch::ones({2, 2}));
  std::cout << torch::zeros({2}).sizes() << linear->weight.sizes() << *dataset.size() << number_of_elements(torch::eye(3)) << "\n";
}

int main() {
  const ::torch::Tensor x = torch::arange(4, torch::kFloat);
  std::cout << torch::number_of_elements(x) << tnn::Doubler()(x) << torch::nn::functional::doubled(x) << t::sum(x) << "\n";
  std::cout << mine::Tensor().value << mine::relu(-4) << mine::nn::Linear().width << mine::optim::name() << at_home().torches << Module().torch_count() << sigmoid(2) << "\n";
  const Floats part = x.index({Slice(1, None, 2)});
  std::cout << part << "\n";
  const at::Tensor same = at::ones({2});
  const c10::ScalarType type = at::kInt;
  std::cout << (same + at::relu(same)).to(type) << c10::toString(c10::kDouble) << at::IntArrayRef({1, 2}) << "\n";
  std::cout << torch::data::transforms::Stack<torch::data::Example<Meters, Meters>>().apply_batch({Lengths().get(1), Lengths().get(2)}) << "\n";
  whole_namespace();
  {
    // The word itself as a name of one's own: a member, a parameter, a variable that hides the namespace.
    struct Lamp {
      int torch;
    };
    const auto lit = [](int torch) { return Lamp{torch + 1}; };
    const int torch = lit(4).torch;
    std::cout << torch << "\n";
  }
  using at::Tensor;
  const Tensor named = at::full({2}, 7, at::kLong);
  std::cout << named << "\n";

  // The version, and standard containers, which print with libtorch.
  std::cout << TORCH_VERSION_MAJOR << " " << TORCH_VERSION_MINOR << " " << TORCH_VERSION << "\n";
  std::cout << std::vector<int64_t>{1, 2} << "; " << std::vector<std::pair<std::string, double>>{{"a", 0.5}} << "; " << std::vector<int>(101, 7) << "\n";
  ::torch::OrderedDict<std::string, int> sizes;
  sizes.insert("rows", 2);
  sizes.insert("columns", 3);
  std::cout << sizes.keys() << ": " << sizes.values() << "\n";
}
