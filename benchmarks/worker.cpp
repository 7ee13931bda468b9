// TinyTorch's side of `tito bench`: the work of every suite. peers/torch_worker.py has the same work under the same names.
#include "worker.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>

#include "functions.h"
#include "tinytorch/tinytorch.h"

using namespace tinytorch;

namespace {

using Arguments = std::vector<long>;
using Make = std::function<Prepared(const Arguments&)>;

// Numbers from -1 to 1 that both sides can make: sin(0), sin(1), sin(2), ... in float32, from the start again after 2^20 of them.
Tensor numbers(IntArrayRef sizes) {
  constexpr std::int64_t period = 1 << 20;
  std::int64_t count = 1;
  for (const std::int64_t size : sizes) count *= size;
  const Tensor first = sin(arange(std::min(count, period), kDouble)).to(kFloat);
  if (count <= period) return first.view(sizes);
  return first.repeat({(count + period - 1) / period}).narrow(0, 0, count).view(sizes);
}

Tensor weights(IntArrayRef sizes) { return numbers(sizes) * 0.1; }

// The class of row i is i * 7 mod classes.
Tensor classes(std::int64_t rows, std::int64_t count) { return (arange(rows) * 7).remainder(count); }

// Runs without a graph; the value is the mean of the squares of what the first call gives.
Prepared forward_only(std::function<Tensor()> function) {
  const NoGradGuard no_grad;
  const double value = function().to(kDouble).square().mean().item<double>();
  return {[function = std::move(function)] {
            const NoGradGuard no_grad_here;
            return static_cast<double>(function().numel());
          },
          value};
}

Prepared unary(const Arguments& a, Tensor (*function)(const Tensor&)) {
  const Tensor x = numbers({a.at(0)});
  return forward_only([x, function] { return function(x); });
}

// The peer tinytorch-moving: of what memory bounds, only the way from and to memory.
bool only_moves = false;

// Reads all bytes of x along four streams, and no more than that.
std::uint64_t read_all(const Tensor& x) {
  const auto* const words = static_cast<const std::uint64_t*>(x.data_ptr());
  constexpr std::int64_t line = 8, ahead = 2048 / sizeof(std::uint64_t);
  const std::int64_t stream = x.numel() * static_cast<std::int64_t>(x.element_size()) / 32 / line * line;
  std::uint64_t seen[line] = {};
  for (std::int64_t i = 0; i < stream; i += line)
    for (std::int64_t from = i; from < 4 * stream; from += stream) {
      __builtin_prefetch(words + from + ahead);
      for (std::int64_t k = 0; k < line; ++k) seen[k] |= words[from + k];
    }
  std::uint64_t all = 0;
  for (const std::uint64_t word : seen) all |= word;
  return all;
}

// `work` of so many numbers as tinytorch-moving does it.
Prepared moving(const std::string& work, const Arguments& a) {
  std::int64_t numbers_moved = 1;
  for (const long size : a) numbers_moved *= size;
  const bool reads = work == "sum" || work == "sum_rows" || work == "sum_columns" || work == "cross_entropy";
  // Two arrays in and one out are the bytes of one and a half, in and out.
  const Tensor x = numbers({work == "add" ? numbers_moved / 2 * 3 : numbers_moved});
  if (reads) return {[x] { return static_cast<double>(read_all(x)); }};
  return {[x] {
    const NoGradGuard no_grad;
    return static_cast<double>(x.clone().numel());
  }};
}

// A model, an optimizer and a batch: one call is a whole step.
template <class Model, class Optimizer>
Prepared training(Model model, std::shared_ptr<Optimizer> optimizer, std::function<Tensor(Model&)> loss_of) {
  return {[model, optimizer, loss_of = std::move(loss_of)]() mutable {
    optimizer->zero_grad();
    const Tensor loss = loss_of(model);
    loss.backward();
    optimizer->step();
    return loss.item<double>();
  }};
}

Prepared mlp_step(const Arguments& a) {
  const Tensor x = numbers({a.at(0), 784});
  const Tensor y = classes(a.at(0), 10);
  nn::MLP model(std::vector<std::int64_t>{784, 512, 512, 10});
  return training<nn::MLP, optim::Adam>(model, std::make_shared<optim::Adam>(model->parameters(), optim::AdamOptions(1e-3)),
                                        [x, y](nn::MLP& m) { return cross_entropy_loss(m->forward(x), y); });
}

// The peer tinytorch-unwatched: what is measured under a profile is done without one.
bool without_profile = false;

// mlp_step under module 14's profiler, which is started and stopped for each step.
Prepared watched_mlp_step(const Arguments& a) {
  Prepared step = mlp_step(a);
  if (without_profile) return step;
  return {[call = std::move(step.call)] {
    autograd::profiler::profile run;
    const double loss = call();
    run.stop();
    return loss;
  }};
}

Prepared lenet_step(const Arguments& a) {
  const Tensor x = numbers({a.at(0), 1, 28, 28});
  const Tensor y = classes(a.at(0), 10);
  models::LeNet model(28, 5, 10);
  return training<models::LeNet, optim::SGD>(model, std::make_shared<optim::SGD>(model->parameters(), optim::SGDOptions(0.01).momentum(0.9)),
                                             [x, y](models::LeNet& m) { return cross_entropy_loss(m->forward(x), y); });
}

Prepared resnet_step(const Arguments& a) {
  const Tensor x = numbers({a.at(0), 3, 32, 32});
  const Tensor y = classes(a.at(0), 10);
  models::ResNet model = models::resnet20();
  return training<models::ResNet, optim::SGD>(model, std::make_shared<optim::SGD>(model->parameters(), optim::SGDOptions(0.01).momentum(0.9)),
                                              [x, y](models::ResNet& m) { return cross_entropy_loss(m->forward(x), y); });
}

// layers, width, heads, block, batch, vocabulary
Prepared gpt_step(const Arguments& a) {
  models::GPT model(models::GPTOptions(a.at(5), a.at(3)).n_layer(a.at(0)).n_embd(a.at(1)).n_head(a.at(2)));
  const Tensor tokens = (arange(a.at(4) * a.at(3)) * 31).remainder(a.at(5)).view({a.at(4), a.at(3)});
  return training<models::GPT, optim::AdamW>(model, std::make_shared<optim::AdamW>(model->parameters(), optim::AdamWOptions(1e-3)),
                                             [tokens](models::GPT& m) { return m->loss(tokens, tokens); });
}

// tensors, elements of each
Prepared adamw_step(const Arguments& a) {
  std::vector<Tensor> parameters;
  for (long i = 0; i < a.at(0); ++i) {
    parameters.push_back(numbers({a.at(1)}));
    parameters.back().requires_grad_();
    parameters.back().mutable_grad() = weights({a.at(1)});
  }
  const auto optimizer = std::make_shared<optim::AdamW>(parameters, optim::AdamWOptions(1e-3));
  return {[optimizer] {
    optimizer->step();
    return 1.0;
  }};
}

models::GPT gpt2_shape() {
  models::GPT model(models::GPTOptions(50257, 1024).n_layer(12).n_head(12).n_embd(768));
  model->eval();
  return model;
}

Prepared prefill(const Arguments& a) {
  models::GPT model = gpt2_shape();
  const Tensor tokens = (arange(a.at(0)) * 31).view({1, a.at(0)});
  return {[model, tokens]() mutable {
    const NoGradGuard no_grad;
    models::GPTCache cache(12);
    const Tensor last = model->features(tokens, &cache).narrow(1, tokens.size(1) - 1, 1);
    return model->logits(last).select(2, 0).item<double>();
  }};
}

// The peer tinytorch-float32: works in half precision are done in float32.
bool half_as_float = false;

// One token after a prompt of a[0]; the text grows by one with each call, and starts anew after a[1] of them.
Prepared decode(const Arguments& a, ScalarType type) {
  models::GPT model = gpt2_shape();
  if (type != kFloat && !half_as_float) model->to(type);
  const Tensor prompt = (arange(a.at(0)) * 31).view({1, a.at(0)});
  const auto cache = std::make_shared<models::GPTCache>(12);
  const long most = a.at(1);
  return {[=]() mutable {
    const NoGradGuard no_grad;
    if (cache->length() == 0 || cache->length() >= prompt.size(1) + most) {
      *cache = models::GPTCache(12);
      model->features(prompt, cache.get());
    }
    return model->logits(model->features(full({1, 1}, 42, kLong), cache.get())).select(2, 0).item<double>();
  }};
}

// One epoch: images, side, batch
Prepared loader(const Arguments& a) {
  const Tensor images = ones({a.at(0), 1, a.at(1), a.at(1)});
  auto source = std::make_shared<std::unique_ptr<data::StatelessDataLoader<data::datasets::TensorBatchDataset, data::samplers::RandomSampler>>>(
      data::make_data_loader(data::datasets::TensorBatchDataset(images, ones({a.at(0)}, kLong)), data::DataLoaderOptions(static_cast<std::size_t>(a.at(2)))));
  return {[source] {
    double rows = 0;
    for (const data::Example<>& batch : **source) rows += static_cast<double>(batch.data.size(0));
    return rows;
  }};
}

// The inputs of the suite `functions` are made when the first is prepared.
Prepared one_function(const Function& function) {
  static const auto inputs = std::make_shared<const FunctionInputs>();
  return forward_only([&function] { return function(*inputs); });
}

Prepared add_one(bool graph) {
  const Tensor x = ones({1});
  const Tensor y = ones({1});
  if (graph) x.requires_grad_();
  return {[x, y, graph] {
            if (graph) return static_cast<double>((x + y).numel());
            const NoGradGuard no_grad;
            return static_cast<double>((x + y).numel());
          },
          2.0};
}

// a[0] tiny operators one after the other, forward and backward.
Prepared chain(const Arguments& a) {
  const Tensor x = full({1}, 1.0);
  x.requires_grad_();
  const long length = a.at(0);
  return {[x, length] {
    Tensor y = x;
    for (long i = 0; i < length; ++i) y = y * x;
    y.backward();
    const double gradient = x.grad().item<double>();
    x.mutable_grad() = Tensor();
    return gradient;
  }};
}

// Batch, channels, channels of the result, side, kernel, stride, groups, and whether channels are last.
Prepared conv(const Arguments& a, bool backward) {
  const long stride = a.at(5), padding = a.at(4) / 2, groups = a.at(6);
  const MemoryFormat format = a.at(7) != 0 ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
  const Tensor x = numbers({a.at(0), a.at(1), a.at(3), a.at(3)}).contiguous(format);
  const Tensor w = weights({a.at(2), a.at(1) / groups, a.at(4), a.at(4)}).contiguous(format);
  const auto call = [=] { return conv2d(x, w, std::nullopt, stride, padding, 1, groups); };
  if (!backward) return forward_only(call);
  const Tensor ones_out = ones_like(call());
  x.requires_grad_();
  w.requires_grad_();
  return {[x, w, call, ones_out] {
    x.mutable_grad() = Tensor();
    w.mutable_grad() = Tensor();
    call().backward(ones_out);
    return static_cast<double>(w.grad().numel());
  }};
}

const std::map<std::string, Make>& works() {
  using A = Arguments;
  static const std::map<std::string, Make> table = {
      {"mm", [](const A& a) { const Tensor x = numbers({a.at(0), a.at(1)}), w = numbers({a.at(1), a.at(2)}); return forward_only([=] { return mm(x, w); }); }},
      {"linear", [](const A& a) { const Tensor x = numbers({a.at(0), a.at(1)}), w = numbers({a.at(2), a.at(1)}); return forward_only([=] { return mm(x, w.t()); }); }},
      {"bmm", [](const A& a) { const Tensor x = numbers({a.at(0), a.at(1), a.at(2)}), w = numbers({a.at(0), a.at(2), a.at(3)}); return forward_only([=] { return bmm(x, w); }); }},
      {"add", [](const A& a) { const Tensor x = numbers({a.at(0)}), y = weights({a.at(0)}); return forward_only([=] { return x + y; }); }},
      {"relu", [](const A& a) { return unary(a, [](const Tensor& x) { return relu(x); }); }},
      {"exp", [](const A& a) { return unary(a, [](const Tensor& x) { return exp(x); }); }},
      {"tanh", [](const A& a) { return unary(a, [](const Tensor& x) { return tanh(x); }); }},
      {"sigmoid", [](const A& a) { return unary(a, [](const Tensor& x) { return sigmoid(x); }); }},
      {"gelu_tanh", [](const A& a) { return unary(a, [](const Tensor& x) { return gelu(x, "tanh"); }); }},
      {"sum", [](const A& a) { return unary(a, [](const Tensor& x) { return sum(x); }); }},
      {"sum_rows", [](const A& a) { const Tensor x = numbers({a.at(0), a.at(1)}); return forward_only([=] { return x.sum(1); }); }},
      {"sum_columns", [](const A& a) { const Tensor x = numbers({a.at(0), a.at(1)}); return forward_only([=] { return x.sum(0); }); }},
      {"softmax", [](const A& a) { const Tensor x = numbers({a.at(0), a.at(1)}); return forward_only([=] { return softmax(x, 1); }); }},
      {"layer_norm", [](const A& a) { const Tensor x = numbers({a.at(0), a.at(1)}), w = ones({a.at(1)}), b = zeros({a.at(1)}); return forward_only([=] { return layer_norm(x, {w.size(0)}, w, b); }); }},
      {"cross_entropy", [](const A& a) { const Tensor x = numbers({a.at(0), a.at(1)}), y = classes(a.at(0), a.at(1)); return forward_only([=] { return cross_entropy_loss(x, y); }); }},
      {"var_mean", [](const A& a) { const Tensor x = numbers({a.at(0), a.at(1)}); return forward_only([=] { return std::get<0>(var_mean(x, IntArrayRef{1})); }); }},
      {"var", [](const A& a) { const Tensor x = numbers({a.at(0), a.at(1)}); return forward_only([=] { return x.var(IntArrayRef{1}); }); }},
      {"argmax", [](const A& a) { const Tensor x = numbers({a.at(0), a.at(1)}); return forward_only([=] { return x.argmax(1); }); }},
      {"max", [](const A& a) { const Tensor x = numbers({a.at(0), a.at(1)}); return forward_only([=] { return std::get<0>(x.max(a.at(2))); }); }},
      {"transpose", [](const A& a) { const Tensor x = numbers({a.at(0), a.at(1)}); return forward_only([=] { return x.t().contiguous(); }); }},
      {"rand", [](const A& a) { return Prepared{[n = a.at(0)] { return static_cast<double>(rand({n}).numel()); }}; }},
      {"randn", [](const A& a) { return Prepared{[n = a.at(0)] { return static_cast<double>(randn({n}).numel()); }}; }},
      {"dropout", [](const A& a) { const Tensor x = numbers({a.at(0)}); return Prepared{[=] { const NoGradGuard no_grad; return static_cast<double>(dropout(x, 0.5, true).numel()); }}; }},
      {"convolution", [](const A& a) { return conv(a, false); }},
      {"convolution_step", [](const A& a) { return conv(a, true); }},
      {"add_one", [](const A&) { return add_one(false); }},
      {"add_one_graph", [](const A&) { return add_one(true); }},
      {"chain", chain},
      {"mlp", mlp_step},
      {"watched_mlp", watched_mlp_step},
      {"lenet", lenet_step},
      {"resnet20", resnet_step},
      {"gpt", gpt_step},
      {"adamw", adamw_step},
      {"prefill", prefill},
      {"decode", [](const A& a) { return decode(a, kFloat); }},
      {"decode_bf16", [](const A& a) { return decode(a, kBFloat16); }},
      {"decode_fp16", [](const A& a) { return decode(a, kHalf); }},
      {"loader", loader},
  };
  return table;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "first") == 0) {  // from process start to a first result
    std::printf("%g\n", (ones({2}) + 1).sum().item<double>());
    return 0;
  }
  if (argc > 1 && std::strcmp(argv[1], "memory") == 0) return print_peak_bytes(lenet_step({64}), 20);
  without_profile = argc > 1 && std::strcmp(argv[1], "unwatched") == 0;
  half_as_float = argc > 1 && std::strcmp(argv[1], "float32") == 0;
  only_moves = argc > 1 && std::strcmp(argv[1], "moving") == 0;
  return serve([](const std::string& work, const Arguments& arguments) {
    if (only_moves) return moving(work, arguments);
    if (const auto found = works().find(work); found != works().end()) return found->second(arguments);
    const auto function = functions().find(work);
    return function == functions().end() ? Prepared() : one_function(function->second);
  });
}
