// What the profiler costs: a call through the dispatcher with and without the test for an observer, one tiny operator off and on, and a training step off and on (784-512-512-10, batch 128, Adam).
// The two sides alternate; medians and their quotients are printed.
//
//   g++ -std=c++20 -O2 -I. benchmarks/observer.cpp LIBTINYTORCH.a -lz -lpthread -o observer && ./observer [STEPS]
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <vector>

#include "tinytorch/tinytorch.h"

using namespace tinytorch;

namespace {
[[gnu::noinline]] Tensor same(const Tensor& x) { return x; }
constinit Operator<Tensor(const Tensor&)> nothing("nothing", {.cpu = same});

[[gnu::noinline]] Tensor watched(const Tensor& x) { return nothing(x); }

// The same call without the test: what the dispatcher did before there was an observer.
[[gnu::noinline]] Tensor unwatched(const Tensor& x) {
  if (is_undefined(x)) fail_undefined_argument(nothing.name());
  static volatile unsigned registered_bit = static_cast<unsigned>(Layer::CPU);
  const LayerSet registered(static_cast<Layer>(registered_bit));  // loaded, as the operator's is
  const LayerSet layers = (layers_of(x) & registered) - thread_state().excluded;
  if (layers.empty()) fail_no_layer(nothing.name(), layers);
  return nothing.function(layers.highest())(x);
}

struct Medians {
  double a, b;
};
// Medians of seconds of a() and b(), which alternate.
Medians alternate(const std::function<void()>& a, const std::function<void()>& b, int rounds) {
  std::vector<double> of_a, of_b;
  for (int i = 0; i < rounds; ++i) {
    Timer timer;
    a();
    of_a.push_back(timer.seconds());
    timer.reset();
    b();
    of_b.push_back(timer.seconds());
  }
  return {median_of(of_a), median_of(of_b)};
}

// The same work without and with a profile; starting and stopping it is not timed.
Medians off_and_on(const std::function<void()>& work, int rounds) {
  std::vector<double> off, on;
  for (int i = 0; i < rounds; ++i) {
    Timer timer;
    work();
    off.push_back(timer.seconds());
    autograd::profiler::profile run;
    timer.reset();
    work();
    on.push_back(timer.seconds());
    run.stop();
  }
  return {median_of(off), median_of(on)};
}
}  // namespace

int main(int argc, char** argv) {
  const int steps = argc > 1 ? std::atoi(argv[1]) : 15;
  const Tensor one = ones({1});
  constexpr int calls = 10000;
  const auto repeat = [&](Tensor (*call)(const Tensor&)) { return [call, &one] { for (int i = 0; i < calls; ++i) call(one); }; };
  const Medians test = alternate(repeat(unwatched), repeat(watched), 501);
  std::printf("call of an empty operator: %.2f ns without the test, %.2f ns with it\n", test.a / calls * 1e9, test.b / calls * 1e9);

  const Medians tiny = off_and_on([&] { for (int i = 0; i < 1000; ++i) one.add(one); }, 101);
  std::printf("add of one element:        %.1f ns off, %.1f ns on\n", tiny.a * 1e6, tiny.b * 1e6);

  manual_seed(0);
  nn::MLP model(std::vector<std::int64_t>{784, 512, 512, 10});
  optim::Adam optimizer(model->parameters(), 1e-3);
  const Tensor images = rand({128, 784});
  const Tensor labels = randint(0, 10, {128});
  const auto step = [&] {
    optimizer.zero_grad();
    cross_entropy_loss(model(images), labels).backward();
    optimizer.step();
  };
  step();
  const Medians training = off_and_on(step, steps);
  std::size_t events = 0;
  {
    autograd::profiler::profile run;
    step();
    run.stop();
    events = run.result().events().size();
  }
  std::printf("MLP step, batch 128:       %.3f ms off, %.3f ms on (%+.2f %%), %zu events\n", training.a * 1e3, training.b * 1e3, 100 * (training.b / training.a - 1), events);
  return 0;
}
