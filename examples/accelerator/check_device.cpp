// Holds the accelerator's kernels to the CPU's: shapes that do not fit its tiles, strides, broadcasting, empty tensors, gradients, and what must end in an error. Returns 1 when something differs.
#include <tinytorch/tinytorch.h>

#include <cstdio>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "systolic/device.h"

using namespace tinytorch;

namespace {
int failures = 0;

void check(bool holds, const std::string& what) {
  std::printf("%s  %s\n", holds ? "ok    " : "FAILED", what.c_str());
  if (!holds) ++failures;
}

// Whether f computes on the device, of copies with the same strides, what it computes here, without help of the CPU.
bool same_there(const std::function<Tensor(const std::vector<Tensor>&)>& f, const std::vector<Tensor>& inputs, double tolerance = 1e-5) {
  std::vector<Tensor> here, there;
  for (const Tensor& x : inputs) {
    here.push_back(x.clone());
    there.push_back(x.to("systolic"));
  }
  systolic::reset_fallbacks();
  const Tensor result = f(there);
  const bool alone = systolic::fallbacks().empty();
  const Tensor expected = f(here);
  const bool same = result.device().is_privateuseone() && result.sizes() == expected.sizes() && result.scalar_type() == expected.scalar_type() && allclose(result.cpu(), expected, tolerance, tolerance, true);
  return alone && same;
}

void check_elementwise() {
  const std::vector<std::pair<const char*, std::function<Tensor(const std::vector<Tensor>&)>>> two = {
      {"add", [](const auto& x) { return x[0].add(x[1], 0.5); }},
      {"sub", [](const auto& x) { return x[0] - x[1]; }},
      {"mul", [](const auto& x) { return x[0] * x[1]; }},
      {"div", [](const auto& x) { return x[0] / x[1]; }},
      {"le", [](const auto& x) { return x[0] <= x[1]; }},
      {"where", [](const auto& x) { return where(x[0] <= 0, x[0], x[1]); }},
      {"a number on either side", [](const auto& x) { return 2 * x[0] + (1 - x[1]) / 3 + where(x[0] <= 0, 1.5, x[1]); }},
      {"in place", [](const auto& x) { return x[0].clone().add_(x[1], -0.1).mul_(0.5).sub_(x[1]).mul_(x[1]); }},
      {"exp, relu, neg", [](const auto& x) { return exp(x[0]) + relu(x[0]) - (-x[1]); }},
  };
  for (const auto& [name, f] : two) {
    bool same = true;
    // One element, what no tile divides, more than one tile, rows and columns that stretch, transposes, steps, nothing.
    const Tensor big = randn({70, 131}), steps = randn({6, 9}).slice(1, 0, 9, 2);
    same = same && same_there(f, {randn({1}), randn({1})}) && same_there(f, {big, randn({70, 131})}) && same_there(f, {randn({9000}), randn({9000})});
    same = same && same_there(f, {big, randn({131})}) && same_there(f, {big, randn({70, 1})}) && same_there(f, {randn({5, 4, 3}), randn({5, 1, 3})});
    same = same && same_there(f, {randn({7, 5}).t(), randn({5, 7})}) && same_there(f, {steps, randn({6, 5})}) && same_there(f, {randn({0, 3}), randn({0, 3})}) && same_there(f, {randn({}), randn({})});
    check(same, name);
  }
  check(same_there([](const auto& x) { return x[0].clone(); }, {randn({3, 4, 5}).permute({2, 0, 1})}), "clone of a permuted tensor");
  check(same_there(
            [](const auto& x) {
              const Tensor y = x[0].clone();
              y.slice(1, 1, 4).copy_(x[1]);
              y.select(0, 2).fill_(7);
              return y;
            },
            {randn({3, 5}), randn({3})}),
        "copy_ and fill_ into views");
}

void check_products() {
  bool plain = true, turned = true, with_bias = true;
  for (const std::int64_t M : {1, 16, 33, 600}) {
    for (const std::int64_t K : {1, 16, 50, 1100}) {
      const std::int64_t N = M == 600 ? 3 : 20;
      const double tolerance = 1e-4;
      plain = plain && same_there([](const auto& x) { return x[0].mm(x[1]); }, {randn({M, K}), randn({K, N})}, tolerance);
      turned = turned && same_there([](const auto& x) { return x[0].t().mm(x[1].t()); }, {randn({K, M}), randn({N, K})}, tolerance);
      with_bias = with_bias && same_there([](const auto& x) { return addmm(x[2], x[0], x[1], 0.5, 2); }, {randn({M, K}), randn({K, N}), randn({N})}, tolerance);
    }
  }
  check(plain && same_there([](const auto& x) { return x[0].mm(x[1]); }, {randn({3, 0}), randn({0, 2})}), "mm");
  check(turned, "mm of transposes");
  check(with_bias, "addmm");
}

void check_rows() {
  bool sums = true;
  for (const DimVector& dims : std::vector<DimVector>{{}, {0}, {1}, {2}, {0, 2}, {1, 2}, {0, 1, 2}})
    for (const bool keepdim : {false, true})
      for (const Tensor& x : {randn({5, 6, 7}), randn({7, 6, 5}).permute({2, 0, 1}), randn({3, 700, 2})})
        sums = sums && same_there([&](const auto& t) { return t[0].sum(dims, keepdim); }, {x}, 1e-4);
  check(sums && same_there([](const auto& x) { return x[0].sum({1}); }, {randn({3, 0})}) && same_there([](const auto& x) { return x[0].sum(); }, {randn({})}), "sum");
  bool softmaxes = true;
  for (const std::int64_t dim : {0, 1, 2}) {
    softmaxes = softmaxes && same_there([=](const auto& x) { return softmax(x[0], dim); }, {randn({3, 40, 5}) * 30});
    softmaxes = softmaxes && same_there([=](const auto& x) { return log_softmax(x[0], dim); }, {randn({3, 4, 50}) * 30});
  }
  check(softmaxes, "softmax and log_softmax");
  const Tensor logits = randn({500, 10}), classes = randint(10, {500}, kLong);
  classes.slice(0, 0, 500, 7).fill_(-100);
  const auto loss = [](std::int64_t reduction) { return [=](const auto& x) { return cross_entropy_loss(x[0], x[1], {}, reduction); }; };
  check(same_there(loss(Reduction::Mean), {logits, classes}) && same_there(loss(Reduction::Sum), {logits, classes}, 1e-4), "cross_entropy, with samples that are ignored");
}

// What the machine does not compute comes from the CPU, is counted, and costs two copies.
void check_fallbacks() {
  const Tensor x = randn({4, 4}).to("systolic"), ids = tensor({1, 2, 3}).to("systolic");
  systolic::reset_fallbacks();
  systolic::machine().reset_usage();
  const Tensor big = ids + (std::int64_t{1} << 40);  // a Long would not survive as a float
  check(equal(big.cpu(), tensor({1, 2, 3}) + (std::int64_t{1} << 40)) && equal(x.argmax(1).cpu(), x.cpu().argmax(1)), "what the machine cannot do is computed by the CPU");
  const auto usage = systolic::machine().usage();
  check(systolic::fallbacks() == std::map<std::string, int>{{"add", 1}, {"argmax", 1}}, "and counted");
  // In: two results. Out: two arguments, and the three tensors that this function looked at.
  check(usage.at("host to device").programs == 2 && usage.at("device to host").programs == 5, "with its copies there and back");
}

template <class F>
bool fails(F f, const std::string& sentence) {
  try {
    f();
  } catch (const Error& error) {
    if (std::string(error.what_without_backtrace()).find(sentence) != std::string::npos) return true;
    std::printf("        %s\n", error.what_without_backtrace());
  }
  return false;
}

void check_errors() {
  const Tensor x = ones({2, 2}), there = x.to("systolic");
  check(fails([&] { there.mm(x); }, "Expected all tensors to be on the same device, but found at least two devices, systolic:0 and cpu!\n[mm] tensor 2 lies on cpu; move it with to(\"systolic:0\") first."),
        "a tensor of the host among those of the device");
  check(fails([&] { there.data_ptr<float>(); }, "can't read systolic:0 device type tensor on the host. Use Tensor.cpu() to copy the tensor to host memory first."), "reading the device's memory on the host");
  check(fails([&] { there.sin(); }, "Could not run 'sin' with arguments from the 'SYSTOLIC' backend.\n[sin] no kernel is registered for systolic"), "an operator without a kernel");
  check(fails([&] { zeros({3000, 3000}).to("systolic"); }, "systolic out of memory. Tried to allocate 36000000 bytes"), "more than fits into its memory");
  check(fails([&] { x.to("systolic:1"); }, "there is no systolic:1"), "a device that is not there");
  check(fails([&] { there.mm(ones({3, 2}).to("systolic")); }, "mat1 and mat2 shapes cannot be multiplied (2x2 and 3x2)"), "shapes are checked before any device is asked");
  std::ostringstream text;
  text << there;
  check(text.str() == " 1  1\n 1  1\n[ SYSTOLICFloatType{2,2} ]", "printing brings the numbers over");
}

void check_gradients() {
  manual_seed(1);
  nn::Sequential here(nn::Linear(20, 33), nn::ReLU(), nn::Linear(33, 7));
  manual_seed(1);
  nn::Sequential there(nn::Linear(20, 33), nn::ReLU(), nn::Linear(33, 7));
  there->to(Device("systolic"));
  const Tensor x = randn({19, 20}), y = randint(7, {19}, kLong);
  const Tensor moved = x.clone().requires_grad_(), kept = x.clone().requires_grad_();
  nn::functional::cross_entropy(here->forward(kept), y).backward();
  nn::functional::cross_entropy(there->forward(moved.to("systolic")), y.to("systolic")).backward();
  bool same = !moved.grad().is_elsewhere() && allclose(moved.grad(), kept.grad(), 1e-4, 1e-6);
  for (std::size_t i = 0; i < here->parameters().size(); ++i) {
    const Tensor there_grad = there->parameters()[i].grad();
    same = same && there_grad.is_elsewhere() && allclose(there_grad.cpu(), here->parameters()[i].grad(), 1e-4, 1e-6);
  }
  check(same, "gradients of a network, and across the link to its input");
  // A second derivative, all on the device.
  const Tensor z = tensor({1.0, 2.0, 3.0}).to("systolic").requires_grad_();
  const Tensor first = autograd::grad({(z * z * z).sum()}, {z}, {}, true, true)[0];
  first.sum().backward();
  check(equal(z.grad().cpu(), tensor({6.0, 12.0, 18.0})), "a second derivative");
}
}  // namespace

int main() {
  systolic::join();
  manual_seed(0);
  check_elementwise();
  check_products();
  check_rows();
  check_fallbacks();
  check_errors();
  check_gradients();
  const std::size_t before = systolic::machine().free_bytes();
  { const Tensor gone = zeros({1000}).to("systolic"); }
  check(systolic::machine().free_bytes() == before, "memory comes back");
  return failures == 0 ? 0 : 1;
}
