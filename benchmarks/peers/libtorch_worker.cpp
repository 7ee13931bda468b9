// libtorch's side of the suite `overhead`: the same calls in C++, where no Python stands between them.
#include <torch/torch.h>

#include "../worker.h"

namespace {

Prepared prepare(const std::string& work, const std::vector<long>& arguments) {
  using torch::Tensor;
  if (work == "add_one" || work == "add_one_graph") {
    const bool graph = work == "add_one_graph";
    Tensor x = torch::ones({1}), y = torch::ones({1});
    if (graph) x.requires_grad_();
    return {[x, y, graph] {
              if (graph) return static_cast<double>((x + y).numel());
              const torch::NoGradGuard no_grad;
              return static_cast<double>((x + y).numel());
            },
            2.0};
  }
  if (work == "chain") {
    Tensor x = torch::ones({1});
    x.requires_grad_();
    const long length = arguments.at(0);
    return {[x, length] {
      Tensor y = x;
      for (long i = 0; i < length; ++i) y = y * x;
      y.backward();
      const double gradient = x.grad().item<double>();
      x.mutable_grad() = Tensor();
      return gradient;
    }};
  }
  return {};
}

}  // namespace

int main(int argc, char**) {
  if (argc > 1) {
    std::printf("%g\n", (torch::ones({2}) + 1).sum().item<double>());
    return 0;
  }
  torch::set_num_threads(1);
  return serve(prepare);
}
