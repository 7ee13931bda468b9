// One function, many forms of arguments: numbers in place of tensors, dtypes of results, dimensions that may be absent, bounds, weights and places as tensors,
// functions that write in place. Methods beside functions, results with their dtypes, and what is refused.
#include <torch/torch.h>

#include <exception>
#include <iostream>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

using torch::Tensor;

void show(const Tensor& x) { std::cout << x.dtype() << ' ' << x << "\n"; }
void show(const std::vector<Tensor>& list) {
  for (const Tensor& x : list) show(x);
}
void show(const std::tuple<Tensor, Tensor>& pair) {
  show(std::get<0>(pair));
  show(std::get<1>(pair));
}

std::string first_sentence(const std::string& what) { return what.substr(0, what.find('\n')); }

template <class Function>
void refused(Function function) {
  try {
    function();
    std::cout << "not refused\n";
  } catch (const std::exception& error) {
    std::cout << first_sentence(error.what()) << "\n";
  }
}

const Tensor x = torch::tensor({1.5, -2.0, 3.0, 0.5}, torch::kFloat);
const Tensor n = torch::tensor({7, -7, 4, 2});
const Tensor m = torch::tensor({{1.0, 2.0, 3.0}, {4.0, 6.0, 8.0}}, torch::kFloat);
const Tensor bytes = torch::full({4}, 200, torch::kByte);

void numbers() {
  std::cout << "numbers\n";
  for (const Tensor& t : {x, n}) {
    show(torch::add(t, 2));
    show(torch::sub(t, 1, 2));
    show(torch::subtract(t, 0.5));
    show(torch::mul(t, 2.0));
    show(torch::multiply(t, 3));
    show(torch::div(t, 2));
    show(torch::divide(t, 4));
    show(torch::divide(t, 2, "floor"));
    show(torch::divide(t, t + 8, "trunc"));
    show(torch::true_divide(t, 2));
    show(torch::eq(t, 3));
    show(torch::ne(t, 3));
    show(torch::lt(t, 1.5));
    show(torch::le(t, 1.5));
    show(torch::gt(t, 1.5));
    show(torch::ge(t, 1.5));
    show(torch::not_equal(t, 2));
    show(torch::less(t, 2));
    show(torch::less_equal(t, 2));
    show(torch::greater(t, 2));
    show(torch::greater_equal(t, 2));
    show(torch::remainder(7, t));
    show(torch::xlogy(t, 1));
    show(torch::xlogy(0, t));
    show(torch::float_power(2, t));
    show(torch::isin(t, 3));
    std::cout << torch::result_type(t, 2) << ' ' << torch::result_type(t, 2.5) << ' ' << torch::result_type(2.5, t) << "\n";
  }
  show(torch::bitwise_and(6, n));
  show(torch::bitwise_or(1, n));
  show(torch::bitwise_xor(5, n));
  show(torch::bitwise_left_shift(1, n.abs()));
  show(torch::bitwise_right_shift(1024, n.abs()));
  show(torch::isin(4, n));
  show(torch::bucketize(2.5, torch::tensor({1.0, 2.0, 3.0})));
  std::cout << torch::result_type(2, 2.5) << ' ' << torch::result_type(2, 3) << "\n";
}

void dtypes() {
  std::cout << "dtypes\n";
  show(torch::sum(bytes, torch::kDouble));
  show(bytes.sum(torch::kByte));
  show(torch::sum(m, {0}, true, torch::kDouble));
  show(torch::mean(n, torch::kFloat));
  show(n.mean(torch::kDouble));
  show(torch::mean(n.view({2, 2}), {1}, false, torch::kFloat));
  show(n.view({2, 2}).mean({0}, true, torch::kDouble));
  show(torch::prod(n, torch::kFloat));
  show(n.prod(torch::kInt));
  show(n.view({2, 2}).prod(1, true, torch::kDouble));
  show(torch::cumsum(bytes, 0, torch::kByte));
  show(bytes.cumsum(0, torch::kFloat));
  show(torch::cumprod(n, 0, torch::kDouble));
  show(n.cumprod(0, torch::kInt));
  show(torch::nansum(m, {1}, false, torch::kDouble));
  show(m.nanmean({1}, false, torch::kDouble));
  show(m.norm(2, torch::kDouble).mul(1000).round());
  show(torch::norm(m, 1, {1}, true, torch::kDouble));
  refused([] { n.norm(2, torch::kFloat); });
  refused([] { m.to(torch::kDouble).norm(2, torch::kFloat); });
  refused([] { n.mean(); });
}

void absent_dimensions() {
  std::cout << "absent dimensions\n";
  const at::OptionalIntArrayRef absent;
  const std::vector<std::int64_t> first{0};
  const at::OptionalIntArrayRef one = first;
  for (const at::OptionalIntArrayRef& dims : {absent, one}) {
    show(torch::sum(m, dims));
    show(m.sum(dims, true));
    show(m.sum(dims, false, torch::kDouble));
    show(torch::mean(m, dims));
    show(m.mean(dims, true));
    show(m.mean(dims, false, torch::kDouble));
    show(torch::var(m, dims, false));
    show(m.var(dims, false, true));
    show(torch::std(m, dims, false).mul(100).round());
    show(m.std(dims, false).mul(100).round());
    show(m.var(dims, std::optional<at::Scalar>(0), true));
    show(m.any(dims, true));
    show(torch::all(m, dims));
    show(torch::var_mean(m, dims, std::optional<at::Scalar>(0), false));
  }
  const std::optional<std::int64_t> none, last = -1;
  show(m.argmax(none));
  show(m.argmax(none, true));
  show(torch::argmax(m, last, true));
  show(m.count_nonzero(last));
}

void by_element() {
  std::cout << "by element\n";
  const Tensor low = torch::tensor({0.0, -3.0, 3.5, 0.0}, torch::kFloat);
  show(torch::clamp_min(x, low));
  show(x.clamp_max(low));
  show(x.clone().clamp_min_(low));
  show(x.clone().clamp_max_(low));
  show(torch::lerp(x, x + 4, torch::tensor({0.0, 0.25, 0.75, 1.0}, torch::kFloat)));
  show(x.clone().lerp_(x + 4, torch::full({4}, 0.5F)));
  show(x.where(x > 1, 0));
  show(n.where(n > 1, 0.5));
  show(x.max(low));
  show(n.min(x));
  show(torch::fill(x, 2));
  show(torch::fill(n, torch::tensor(2.5)));
  show(x.clone().fill_(torch::tensor(7)));
  show(x.index_fill(0, torch::tensor({0, 2}), torch::tensor(9)));
  show(n.clone().index_fill_(0, torch::tensor({-1}), torch::tensor(9)));
  show(n.clone().pow_(torch::tensor({2, 3, 0, 1})));
  show(n.div(2, "floor"));
  show(n.div(x, "trunc"));
  show(n.clone().div_(2, "trunc"));
  show(x.clone().divide_(n, "floor"));
  show(torch::tensor({1.256, -3.141}).round(2));
  show(torch::tensor({1250.0, 1350.0}).round_(-2));
  show(x.xlogy(2).mul(100).round());
  show(n.clone().bitwise_and_(6));
  show(n.clone().bitwise_or_(1));
  show(n.clone().bitwise_xor_(3));
  show(n.clone().bitwise_left_shift_(2));
  show(n.clone().bitwise_right_shift_(1));
  show(x.scatter(0, torch::tensor({0, 0}), torch::tensor({10.0, 20.0}, torch::kFloat), "add"));
  show(x.scatter(0, torch::tensor({1}), 3, "multiply"));
  show(x.argsort(true, 0, true));
  show(x.bernoulli(1.0));
  refused([&] { x.lerp(x, x.to(torch::kDouble)); });
  refused([] { x.clone().fill_(torch::tensor({1.0, 2.0})); });
  refused([] { x.index_fill(0, torch::tensor({0}), torch::tensor({1.0, 2.0})); });
  refused([&] { n.clone().clamp_min_(low); });
  refused([] { n.clone().pow_(x); });
  refused([] { n.clone().div_(2); });
  refused([] { n.div(2, "up"); });
}

void places() {
  std::cout << "places\n";
  show(x.narrow(0, torch::tensor(1), 2));
  show(x.tensor_split(torch::tensor(3)));
  show(torch::tensor_split(x, torch::tensor({1, 3})));
  show(torch::repeat_interleave(torch::tensor({2, 0, 1})));
  show(x.repeat_interleave(torch::tensor({1, 0, 2, 1}), 0, 4));
  show(x.repeat_interleave(2, 0, 8));
  std::cout << torch::ones({1, 2, 1, 3}).squeeze({0, 2}).sizes() << torch::squeeze(torch::ones({1, 2, 1}), {0, 1}).sizes() << "\n";
  std::cout << torch::moveaxis(torch::ones({2, 3, 4}), {0, 1}, {1, 2}).sizes() << torch::ones({2, 3, 4}).moveaxis({0}, {-1}).sizes() << "\n";
  c10::List<std::optional<Tensor>> chosen;
  chosen.push_back(torch::tensor({2, 0}));
  show(x.index(chosen));
  show(x.index_put(chosen, torch::tensor({5.0, 6.0}, torch::kFloat)));
  show(x.clone().index_put_(chosen, torch::tensor({5.0, 6.0}, torch::kFloat), true));
  show(torch::tensor({{4.0, 2.0, 3.0, 1.0}, {9.0, 8.0, 7.0, 6.0}}).nanmedian(1));
  show(torch::atleast_2d({x, torch::tensor(1)}));
  show(torch::split(x, {1, 3}));
  show(torch::einsum("i,i->", {x, x}, {{0, 1}}));
  std::cout << torch::is_nonzero(torch::tensor(2)) << torch::is_same_size(x, n) << torch::is_same_size(x, m) << "\n";
  show(torch::positive(x));
  show(torch::detach(x));
  show(torch::pad(m, {1, 0}, "constant", 9));
  show(torch::pad(m, {1, 1}, "reflect"));
  refused([] { x.narrow(0, torch::tensor({1}), 2); });
  refused([] { x.tensor_split(torch::tensor({1}, torch::kInt)); });
  refused([] { x.tensor_split(torch::tensor({{1}})); });
  refused([] { torch::ones({1, 2}).squeeze({0, -2}); });
  refused([] { torch::repeat_interleave(torch::tensor(3)); });
  refused([] { x.repeat_interleave(2, 0, 5); });
  refused([] { torch::pad(m, {1, 1}, "mirror"); });
  refused([] { torch::pad(m, {1, 1}, "reflect", 1); });
}

void further_names() {
  std::cout << "further names\n";
  show(torch::ldexp(n, torch::tensor({2, -1, 0, 3})));
  show(x.clone().ldexp_(torch::tensor({2, -1, 0, 3})));
  show(torch::tensor({{3, 1}, {2, 5}}).msort());
  show(x.narrow_copy(0, 1, 2));
  show(x.put(torch::tensor({0, -1}), torch::tensor({5.0, 6.0}, torch::kFloat)));
  show(m.clone().put_(torch::tensor({0, 5, 5}), torch::tensor({5.0, 6.0, 7.0}, torch::kFloat), true));
  show(m.renorm(1, 0, 3).mul(1000).round());
  show(m.clone().renorm_(2, 1, 100));
  show(x.as_strided_scatter(torch::tensor({9.0, 8.0}, torch::kFloat), {2}, {2}));
  show(x.unsafe_chunk(2));
  show(x.unsafe_split(3));
  std::cout << x.new_empty_strided({2, 3}, {1, 2}).strides() << x.new_empty_strided({2}, {1}, torch::kInt).dtype() << "\n";
  show(x.hardshrink(1));
  show(x.prelu(torch::tensor({0.25}, torch::kFloat)));
  Tensor y = x.clone();
  show(torch::sigmoid_(torch::zero_(y)));
  show(torch::clamp_max_(torch::fill_(y, torch::tensor(3)), 2));
  show(torch::negative_(torch::trunc_(y)));
  show(y);
  refused([] { x.put(torch::tensor({0}), torch::tensor({1.0, 2.0}, torch::kFloat)); });
  refused([] { x.put(torch::tensor({0}), torch::tensor({1})); });
  refused([] { x.renorm(2, 0, 1); });
  refused([] { m.renorm(0, 0, 1); });
  refused([] { m.renorm(2, 0, -1); });
  refused([] { x.as_strided_scatter(torch::ones({3}), {2}, {2}); });
}

void gradients() {
  std::cout << "gradients\n";
  const auto slope = [](const Tensor& at, auto function) {
    const Tensor leaf = at.clone().requires_grad_(true);
    function(leaf).sum().backward();
    return leaf.grad();
  };
  show(slope(torch::tensor(2.0), [](const Tensor& v) { return torch::zeros({3}).fill_(v) * 2; }));
  show(slope(x, [](const Tensor& v) { return torch::cumsum(v, 0, torch::kDouble) * 2; }));
  show(slope(x, [](const Tensor& v) { return v.clamp_min(torch::tensor({0.0, 0.0, 4.0, 0.0}, torch::kFloat)); }));
  show(slope(x, [](const Tensor& v) { return v.lerp(torch::ones({4}), torch::full({4}, 0.25F)); }));
  show(slope(x, [](const Tensor& v) { return v.put(torch::tensor({0}), torch::tensor({5.0}, torch::kFloat)) * n; }));
  show(slope(x, [](const Tensor& v) { return v.narrow_copy(0, 1, 2) * 3; }));
  show(slope(x, [](const Tensor& v) { return (v * 1).pow_(torch::full({4}, 2.0F)); }));
}

int main() {
  numbers();
  dtypes();
  absent_dimensions();
  by_element();
  places();
  further_names();
  gradients();
}
