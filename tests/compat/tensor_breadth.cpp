// What tensors can do besides: special functions, reductions, rearranging, choosing, scattering, products, forms in place.
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <iostream>
#include <limits>
#include <string>

using torch::Tensor;

const double nan_value = std::nan("");
const double infinity = std::numeric_limits<double>::infinity();

void show(const std::string& what, const std::function<void()>& operation) {
  try {
    operation();
    std::cout << what << ": no error\n";
  } catch (const c10::Error& error) {
    const std::string text = error.what_without_backtrace();
    std::cout << what << ": " << text.substr(0, text.find('\n')) << "\n";
  }
}

Tensor numbers(torch::IntArrayRef sizes, double start = 0) {
  int64_t count = 1;
  for (const int64_t size : sizes) count *= size;
  return torch::cos(torch::arange(count, torch::kDouble) * 1.3 + start).view(sizes);
}

void elementwise() {
  const Tensor x = torch::linspace(-0.9, 0.9, 5, torch::kDouble);
  std::cout << x.acos() << x.asin() << x.sinh() << x.cosh() << x.asinh() << (x + 2).acosh() << x.atanh() << x.exp2() << "\n";
  std::cout << x.erfc() << x.erfinv() << (x + 1).lgamma() << (x + 1).digamma() << x.frac() << x.deg2rad() << x.rad2deg() << x.sinc() << "\n";
  std::cout << torch::polygamma(1, x + 1) << torch::logit((x + 1) / 2) << x.logit(0.2) << torch::expm1(x) << "\n";
  const Tensor y = torch::tensor({2.0, -1.0, 0.0, 0.5, -2.0}, torch::kDouble);
  std::cout << torch::atan2(x, y) << torch::hypot(x, y) << torch::xlogy(y, x + 1) << torch::logaddexp(x, y) << torch::logaddexp2(x, y) << torch::copysign(x, y) << torch::copysign(x, -1.0) << "\n";
  std::cout << torch::fmod(y, 0.75) << torch::remainder(y, 0.75) << torch::fmax(x, y) << torch::fmin(x, y) << torch::heaviside(y, x) << torch::float_power(y, 2) << "\n";
  const Tensor odd = torch::tensor({nan_value, infinity, -infinity, -0.0, 1.0}, torch::kDouble);
  std::cout << odd.nan_to_num() << odd.nan_to_num(7.0, 8.0, -8.0) << odd.isposinf() << odd.isneginf() << odd.signbit() << odd.isreal() << odd.sgn() << odd.isclose(odd, 0, 0, true) << "\n";
  const Tensor i = torch::tensor({6, 5, -4, 3}, torch::kInt);
  std::cout << i.bitwise_and(3) << i.bitwise_or(8) << i.bitwise_xor(1) << i.bitwise_not() << i.bitwise_left_shift(torch::tensor({1, 2, 1, 0}, torch::kInt)) << "\n";
  std::cout << i.clip(-1, 5) << i.divide(4) << i.fmod(4) << i.remainder(4) << i.floor_divide(4) << i.negative() << i.positive() << "\n";
}

void in_place() {
  Tensor x = torch::arange(1, 7, torch::kDouble).view({2, 3});
  x.subtract_(1).multiply_(2).divide_(4).clip_(0.2, 2);
  std::cout << x << "\n";
  x.fmod_(0.6);
  x.hypot_(torch::zeros({3}, torch::kDouble));
  std::cout << x << "\n" << x.cumsum_(1) << "\n" << x.tril_() << "\n" << x.t_().sizes() << x.unsqueeze_(0).sizes() << x.squeeze_().sizes() << x.transpose_(0, 1).sizes() << "\n";
  Tensor square = torch::zeros({3, 3}, torch::kDouble);
  square.fill_diagonal_(2).addmm_(torch::ones({3, 2}, torch::kDouble), torch::ones({2, 3}, torch::kDouble), 1, 0.5).addr_(torch::arange(3, torch::kDouble), torch::ones({3}, torch::kDouble));
  std::cout << square << "\n" << torch::ones({3}, torch::kDouble).addmv(square, torch::ones({3}, torch::kDouble).mul(2), 0.5, 2) << "\n";
  Tensor y = torch::zeros({3, 4}, torch::kDouble);
  y.index_fill_(0, torch::tensor({1}), 5).index_copy_(1, torch::tensor({3, 0}), torch::arange(6, torch::kDouble).view({3, 2})).masked_scatter_(y == 5, torch::tensor({-1.0, -2.0, -3.0}, torch::kDouble));
  std::cout << y << "\n";
  y.lt_(1);
  std::cout << y << "\n";
  show("a long into an int", [] { torch::ones({2}, torch::kInt).multiply_(1.5); });
  Tensor z = torch::tensor({12, -18, 0, 7});
  const Tensor twelve = torch::full({4}, 12, torch::kLong);
  std::cout << torch::gcd(z, twelve) << torch::lcm(z, twelve) << z.lcm(torch::tensor({4, 6, 9, 2})) << z.gcd_(twelve).lcm_(torch::tensor(4)) << "\n";
  std::cout << z.greater_(3).less_equal_(1) << y.not_equal_(1).true_divide_(4).float_power_(2).greater_equal_(0.0625) << "\n";
  show("gcd", [&] { z.gcd(torch::ones({4})); });
  show("float_power_", [] { torch::ones({2}).float_power_(2); });
}

void reductions() {
  const Tensor x = torch::tensor({{3.0, nan_value, 2.0, 2.0}, {-1.0, 5.0, 0.0, 4.0}}, torch::kDouble);
  std::cout << x.nansum() << x.nansum(1) << x.nanmean() << x.nanmean(0, true) << x.count_nonzero() << x.count_nonzero(torch::IntArrayRef{1}) << x.nanmedian() << x.median() << "\n";
  const Tensor n = x.nan_to_num(9.0);
  const auto [middle, where] = n.median(1);
  const auto [second, place] = n.kthvalue(2, 1);
  std::cout << middle << where << second << place << "\n";
  const auto [commonest, found] = n.mode();
  const auto [of_rows, found_in] = torch::mode(torch::tensor({{1, 2, 2}, {1, 0, 2}}), 0, true);
  std::cout << commonest << found << of_rows << found_in << "\n";
  show("mode", [] { torch::zeros({2, 0}).mode(); });
  const auto [highest, highest_at] = n.cummax(1);
  const auto [lowest, lowest_at] = n.cummin(1);
  std::cout << highest << highest_at << lowest << lowest_at << n.cumprod(1) << torch::logcumsumexp(n, 1) << "\n";
  const auto [smallest, largest] = n.aminmax(1);
  const auto [deviation, mean] = torch::std_mean(n, 1);
  std::cout << smallest << largest << deviation << mean << "\n";
  std::cout << n.quantile(0.3) << n.quantile(torch::tensor({0.0, 0.5, 1.0}, torch::kDouble), 1) << n.quantile(0.5, 0, true, "lower") << n.dist(n + 1, 3) << n.narrow(1, 0, 2).trace() << "\n";
  std::cout << n.histc(4, 0, 8) << torch::bincount(torch::tensor({0, 2, 2, 5})) << torch::bincount(torch::tensor({0, 1}), torch::tensor({0.5, 0.25}, torch::kDouble), 4) << n.diff() << n.diff(2, 1) << "\n";
  std::cout << torch::cov(n) << torch::corrcoef(n) << torch::trapezoid(n, 1.0, 1) << torch::vander(torch::tensor({1.0, 2.0, 3.0})) << "\n";
  std::cout << torch::bucketize(torch::tensor({1.0, 2.5, 9.0}), torch::tensor({1.0, 2.0, 3.0})) << torch::searchsorted(torch::tensor({1, 3, 5}), torch::tensor({0, 3, 6}), false, true) << torch::isin(torch::tensor({1, 2, 3}), torch::tensor({2, 4})) << "\n";
}

void rearranging() {
  const Tensor x = torch::arange(12).view({3, 4});
  std::cout << x.roll(1, 0) << x.roll({1, -1}, {0, 1}) << x.rot90() << x.fliplr() << x.flipud() << x.tile({1, 2}) << x.repeat_interleave(2, 0) << x.repeat_interleave(torch::tensor({1, 0, 2}), 0) << "\n";
  std::cout << x.movedim(0, 1).sizes() << x.swapaxes(0, 1).sizes() << x.unflatten(1, {2, 2}).sizes() << x.ravel().sizes() << torch::tensor({1, 2}).broadcast_to({3, 2}) << x.diag() << x.diag(1) << torch::tensor({1, 2}).diag_embed() << torch::tensor({1, 2}).diagflat(1) << "\n";
  std::cout << x.select_scatter(torch::tensor({9, 9, 9}), 1, 2) << x.slice_scatter(torch::zeros({1, 4}, torch::kLong), 0, 1, 2) << x.diagonal_scatter(torch::tensor({7, 7, 7})) << "\n";
  for (const Tensor& piece : x.tensor_split(3, 1)) std::cout << piece.sizes();
  for (const Tensor& piece : x.tensor_split({1, 3}, 1)) std::cout << piece.sizes();
  for (const Tensor& piece : torch::hsplit(x, 2)) std::cout << piece.sizes();
  std::cout << "\n" << torch::hstack({x, x}).sizes() << torch::vstack({x, x}).sizes() << torch::dstack({x, x}).sizes() << torch::column_stack({torch::tensor({1, 2}), torch::tensor({3, 4})}) << torch::block_diag({torch::ones({1, 2}), torch::ones({2, 1})}) << "\n";
  const auto grids = torch::meshgrid({torch::tensor({1, 2}), torch::tensor({3, 4, 5})}, "ij");
  std::cout << grids[0] << grids[1] << torch::cartesian_prod({torch::tensor({1, 2}), torch::tensor({3, 4})}) << torch::combinations(torch::tensor({1, 2, 3})) << torch::tril_indices(3, 3) << torch::triu_indices(2, 3, 1) << "\n";
  show("unflatten", [&] { x.unflatten(1, {3, 2}); });
  show("movedim", [&] { x.movedim({0, 0}, {1, 0}); });
}

void choosing() {
  const Tensor x = torch::arange(12, torch::kDouble).view({3, 4});
  std::cout << x.take(torch::tensor({{0, 5}, {11, -1}})) << x.take_along_dim(torch::tensor({{1}, {0}, {3}}), 1) << x.index_fill(1, torch::tensor({0, 2}), -1) << x.masked_scatter(x > 8, torch::full({3}, -5.0, torch::kDouble)) << x.index_put({torch::tensor({0, 2})}, torch::zeros({4}, torch::kDouble)) << "\n";
  const Tensor index = torch::tensor({{0, 1, 1, 0}, {2, 2, 0, 1}, {0, 0, 0, 0}});
  for (const char* reduce : {"sum", "prod", "mean", "amax", "amin"}) std::cout << torch::ones({3, 4}, torch::kDouble).scatter_reduce(0, index, x, reduce) << torch::ones({3, 4}, torch::kDouble).scatter_reduce(0, index, x, reduce, false) << "\n";
  std::cout << torch::zeros({2, 4}, torch::kDouble).index_reduce(0, torch::tensor({0, 1, 0}), x, "amax") << (x > 6).argwhere() << "\n";
  show("take", [&] { x.take(torch::tensor({12})); });
  show("reduce", [&] { x.scatter_reduce(0, index, x, "most"); });
}

void products() {
  const Tensor a = numbers({2, 3, 4}), b = numbers({2, 4, 2}, 1), v = numbers({3}), w = numbers({3}, 2);
  std::cout << torch::baddbmm(torch::ones({2, 3, 2}, torch::kDouble), a, b, 0.5, 2) << torch::addbmm(torch::ones({3, 2}, torch::kDouble), a, b) << torch::addmv(v, a[0], numbers({4}, 3)) << torch::addr(torch::zeros({3, 3}, torch::kDouble), v, w) << "\n";
  std::cout << torch::vdot(v, w) << torch::inner(a[0], a[1]) << v.ger(w) << torch::kron(torch::eye(2, torch::kDouble), v.view({1, 3})) << torch::cross(v, w) << numbers({2, 2}).matrix_power(3) << torch::tensordot(a, b, {2}, {1}).sizes() << torch::chain_matmul({numbers({2, 3}), numbers({3, 2})}) << "\n";
}

void created() {
  const Tensor x = torch::ones({2}, torch::kDouble);
  std::cout << x.new_zeros({2, 2}) << x.new_ones({1}) << x.new_full({2}, 3, torch::kInt) << x.new_empty({4}).sizes() << x.is_same_size(torch::zeros({2})) << x.is_signed() << torch::ones({1}).is_nonzero() << "\n";
  std::cout << torch::logspace(0, 2, 3) << torch::hann_window(4) << torch::hamming_window(4) << torch::blackman_window(5).slice(0, 1) << torch::bartlett_window(5) << "\n";
}

// Numbers beside tensors, second names, further arguments.
void forms() {
  const Tensor x = numbers({2, 3}), l = torch::tensor({7, -7, 3});
  std::cout << (l & 3) << (l | 8) << (l ^ 1) << torch::bitwise_and(l, 3) << (1 & l) << torch::rsub(x, 1) << x.clamp(x * 0, x * 0 + 1) << "\n";
  std::cout << std::get<0>(torch::var_mean(x)) << x.std(1, torch::optional<at::Scalar>(0), false) << std::get<1>(torch::sort(x, true, 1, true)) << torch::trapz(x) << "\n";
  std::cout << torch::ones({2, 3}, torch::kDouble).scatter_(1, torch::tensor({{0, 1}, {2, 2}}), 3, "multiply") << x.numpy_T().sizes() << x.data().requires_grad() << "\n";
  std::cout << torch::promote_types(torch::kInt, torch::kHalf) << torch::can_cast(torch::kFloat, torch::kInt) << torch::is_floating_point(x) << torch::numel(x) << torch::IntArrayRef({1, 2, 3}).slice(1) << torch::IntArrayRef({1}).equals({1}) << "\n";
  torch::Generator generator = at::detail::createCPUGenerator(42);
  std::cout << torch::randint(5, {3}, generator) << "\n";
  torch::set_default_dtype(torch::scalarTypeToTypeMeta(torch::kDouble));
  std::cout << torch::ones({1}) << torch::typeMetaToScalarType(torch::ones({1}).dtype()) << "\n";
  torch::set_default_dtype(caffe2::TypeMeta::Make<float>());
  Tensor handle = torch::ones({1}), second = handle;
  std::cout << handle.use_count() << "\n";
  handle.reset();
  std::cout << handle.defined() << second.use_count() << "\n";
  try {
    AT_ERROR("no ", 3);
  } catch (const c10::Error& error) {
    std::cout << error.what_without_backtrace() << "\n";
  }
}

void gradients() {
  const Tensor x = numbers({2, 3}).requires_grad_();
  const auto of = [&](const Tensor& result) { return torch::autograd::grad({result.pow(2).sum()}, {x})[0]; };
  std::cout << of(x.cumprod(1)) << of(x.roll(1, 1)) << of(std::get<0>(x.median(1))) << of(x.sinc()) << of(torch::logcumsumexp(x, 1)) << of(x.quantile(0.4, 1)) << of(x.repeat_interleave(2, 1)) << of(std::get<0>(x.cummax(1))) << "\n";
  std::cout << of(x.erfc()) << of(torch::hypot(x, x + 1)) << of(torch::kron(x, x)) << of(x.take(torch::tensor({0, 0, 5}))) << of(x.diff()) << of(torch::zeros({2, 3}, torch::kDouble).scatter_reduce(1, torch::tensor({{0, 0, 1}, {2, 2, 2}}), x, "mean")) << "\n";
  std::cout << x.mean().grad_fn()->name() << " " << x.mean(1).grad_fn()->name() << "\n";
}

void norms() {
  const Tensor x = numbers({2, 3, 4});
  const Tensor A = x[0] + torch::eye(3, 4, torch::kDouble);
  for (const double order : {1.0, -1.0, 2.0, -2.0, infinity, -infinity}) std::cout << torch::linalg_norm(A, order).item<float>() << " ";
  std::cout << torch::linalg_norm(x).item<float>() << " " << torch::linalg_norm(A, "fro").item<float>() << " " << torch::linalg_norm(A, "nuc").item<float>() << " " << torch::linalg_norm(A[0], 3).item<float>() << "\n";
  std::cout << torch::linalg_norm(x, 2, {0, 2}) << torch::linalg_norm(x, 1, 1) << torch::linalg_norm(A, infinity, {1, 0}, true) << "\n";
  std::cout << torch::linalg_vector_norm(x, 3, torch::IntArrayRef({0, 2})) << torch::linalg_vector_norm(x, 0) << torch::linalg_vector_norm(A, infinity, {1}, true) << "\n";
  std::cout << torch::linalg_vector_norm(A.to(torch::kFloat), 1, torch::nullopt, false, torch::kDouble).dtype() << "\n";
  std::cout << torch::linalg_matrix_norm(x) << torch::linalg_matrix_norm(x, "nuc", {2, 0}, true).sizes() << torch::linalg_matrix_norm(x, -infinity, {0, 2}) << torch::linalg_matrix_norm(torch::ones({3, 0}), 1) << "\n";
  show("order", [&] { torch::linalg_norm(A, 3); });
  show("name", [&] { torch::linalg_norm(A, "x"); });
  show("three dimensions", [&] { torch::linalg_norm(x, 2); });
  show("three named", [&] { torch::linalg_norm(x, 2, {0, 1, 2}); });
  show("of a vector", [&] { torch::linalg_matrix_norm(A[0]); });
  show("the same twice", [&] { torch::linalg_matrix_norm(A, "fro", {0, 0}); });
  show("integers", [&] { torch::linalg_vector_norm(torch::arange(3)); });
  show("narrower", [&] { torch::linalg_vector_norm(A, 2, torch::nullopt, false, torch::kFloat); });
  show("nothing", [&] { torch::linalg_vector_norm(torch::ones({0}), -1); });
  const Tensor leaf = A.clone().requires_grad_();
  (torch::linalg_norm(leaf, 2) + torch::linalg_norm(leaf, "nuc") + torch::linalg_norm(leaf, 1)).backward();
  std::cout << leaf.grad() << "\n";
}

int main() {
  norms();
  elementwise();
  in_place();
  reductions();
  rearranging();
  choosing();
  products();
  created();
  forms();
  gradients();
}
