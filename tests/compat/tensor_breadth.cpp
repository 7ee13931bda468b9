// The breadth of Tensor: elementary functions, second names, forms in place, rearranging, choosing, counting.
#include <torch/torch.h>

#include <functional>
#include <iostream>
#include <string>
#include <vector>

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

void elementwise() {
  const Tensor x = torch::tensor({-0.75, -0.25, 0.5, 0.875}, torch::kDouble);
  std::cout << x.acos() << "\n" << x.arcsin() << "\n" << torch::sinh(x) << "\n" << x.cosh() << "\n" << x.asinh() << "\n" << (x + 2).acosh() << "\n" << x.arctanh() << "\n";
  std::cout << x.exp2() << "\n" << x.erfc() << "\n" << x.erfinv() << "\n" << (x + 3).lgamma() << "\n" << (x + 3).digamma() << "\n" << x.frac() << "\n" << x.rad2deg() << "\n" << x.sinc() << "\n";
  std::cout << x.sgn() << "\n" << x.signbit() << "\n" << x.absolute() << "\n" << x.negative() << "\n" << x.fix() << "\n" << x.atan2(x.flip(0)) << "\n" << x.hypot(torch::ones(4, torch::kDouble)) << "\n";
  std::cout << x.fmod(0.3) << "\n" << x.remainder(0.3) << "\n" << x.copysign(-1) << "\n" << x.heaviside(torch::zeros(4, torch::kDouble)) << "\n" << torch::logaddexp(x, x) << "\n" << x.fmax(x.flip(0)) << "\n";
  std::cout << x.clip(-0.5, 0.5) << "\n" << (x.abs()).logit() << "\n" << (x / 0).nan_to_num(1, 2, 3) << "\n" << (x / 0).isposinf() << "\n" << x.float_power(2) << "\n" << x.isclose(x + 1e-9) << "\n";
  std::cout << x.greater(0) << "\n" << x.less_equal(torch::zeros({4})) << "\n" << x.not_equal(0.5) << "\n" << x.multiply(2) << "\n" << x.subtract(x, 2) << "\n" << x.true_divide(2) << "\n";
  const Tensor bits = torch::tensor({12, 10, -1});
  std::cout << bits.bitwise_and(6) << "\n" << bits.bitwise_or(1) << "\n" << bits.bitwise_xor(bits.flip(0)) << "\n" << bits.bitwise_not() << "\n";
  std::cout << torch::tensor({7, -7}).floor_divide(2) << "\n" << torch::tensor({7, -7}).remainder(4) << "\n" << torch::tensor({7, -7}).fmod(4) << "\n";
}

void in_place() {
  Tensor x = torch::arange(6, torch::kFloat).view({2, 3});
  x.multiply_(2).subtract_(1).clip_(0, 8).tril_();
  std::cout << x << "\n" << x.t_().sizes() << x.unsqueeze_(0).sizes() << x.squeeze_().sizes() << x.transpose_(0, 1).sizes() << "\n";
  x.fill_diagonal_(7);
  x.index_fill_(1, torch::tensor({2}), -1);
  x.index_copy_(0, torch::tensor({1}), torch::ones({1, 3}));
  std::cout << x << "\n";
  x.masked_scatter_(x > 5, torch::tensor({40.0f, 50.0f}));
  std::cout << x << "\n" << x.cumsum_(1) << "\n" << x.eq_(1) << "\n";
  Tensor whole = torch::tensor({5, 3});
  show("fraction into integers", [&] { whole.divide_(2); });
  show("tanh_ of integers", [&] { whole.tanh_(); });
  std::cout << whole.bitwise_xor_(torch::tensor({1, 1})).bitwise_not_() << "\n";
}

void rearranging() {
  const Tensor x = torch::arange(24).view({2, 3, 4});
  std::cout << x.movedim(0, 2).sizes() << x.movedim({0, 1}, {2, 0}).sizes() << x.swapaxes(0, 1).sizes() << x.unflatten(2, {2, 2}).sizes() << x.ravel().sizes() << x.mT().sizes() << "\n";
  std::cout << x[0].roll(1, 0) << "\n" << x[0].roll({1, -1}, {0, 1}) << "\n" << x[0].rot90() << "\n" << x[0].fliplr() << "\n" << x[0].flipud() << "\n" << torch::arange(3).tile({2, 2}) << "\n";
  std::cout << torch::arange(3).repeat_interleave(2) << "\n" << torch::arange(3).repeat_interleave(torch::tensor({0, 2, 1})) << "\n" << torch::arange(3).diag() << "\n" << torch::arange(3).diag_embed(1) << "\n" << torch::arange(2).diagflat(-1) << "\n";
  std::cout << torch::tensor({1, 4, 9, 16}).diff() << "\n" << torch::tensor({1, 4, 9, 16}).diff(2) << "\n" << torch::zeros({2, 2}).select_scatter(torch::ones(2), 0, 1) << "\n" << torch::zeros({2, 3}).slice_scatter(torch::ones({2, 1}), 1, 1, 2) << "\n";
  for (const Tensor& part : torch::arange(7).tensor_split(3)) std::cout << part.sizes();
  for (const Tensor& part : torch::arange(7).tensor_split({1, 3})) std::cout << part.sizes();
  for (const Tensor& part : torch::meshgrid({torch::arange(2), torch::arange(3)}, "ij")) std::cout << part << "\n";
  std::cout << torch::hstack({torch::ones({2, 1}), torch::zeros({2, 2})}) << "\n" << torch::vstack({torch::ones(2), torch::zeros(2)}) << "\n" << torch::column_stack({torch::arange(2), torch::arange(2)}) << "\n" << torch::dstack({torch::ones(2), torch::zeros(2)}).sizes() << "\n";
  std::cout << torch::block_diag({torch::ones({1, 2}), torch::full({2, 1}, 3.0)}) << "\n" << torch::cartesian_prod({torch::arange(2), torch::arange(3, 5)}) << "\n" << torch::combinations(torch::arange(3)) << "\n" << torch::tril_indices(3, 3, -1) << "\n";
  show("unflatten", [&] { x.unflatten(2, {3, 2}); });
  show("roll", [&] { x.roll({1, 2}, {0}); });
  show("movedim", [&] { x.movedim({0, 0}, {1, 2}); });
}

void choosing_and_counting() {
  const Tensor x = torch::tensor({{3.0, 1.0, 2.0}, {-1.0, 5.0, 0.0}});
  std::cout << x.take(torch::tensor({0, -1, 4})) << "\n" << x.take_along_dim(x.argsort(1, false), 1) << "\n" << x.argwhere().sizes() << x.nonzero().sizes() << "\n" << x.count_nonzero() << "\n" << x.count_nonzero(1) << "\n";
  std::cout << x.median() << "\n" << std::get<0>(x.median(1)) << "\n" << std::get<1>(x.median(1)) << "\n" << std::get<0>(x.kthvalue(2)) << "\n" << x.quantile(0.4) << "\n" << x.quantile(torch::tensor({0.0f, 0.5f}), 1) << "\n" << x.nanmean() << "\n" << x.nansum(0) << "\n";
  std::cout << std::get<0>(x.cummax(1)) << "\n" << std::get<1>(x.cummin(1)) << "\n" << x.cumprod(1) << "\n" << x.trace() << "\n" << x.dist(x.flip(0)) << "\n" << x.histc(3, -1, 5) << "\n" << torch::tensor({1, 3, 1}).bincount() << "\n" << torch::tensor({1, 0}).bincount(torch::tensor({0.5f, 0.25f}), 3) << "\n";
  const auto [smallest, largest] = x.aminmax();
  std::cout << smallest << "\n" << largest << "\n" << torch::searchsorted(torch::tensor({1, 3, 5}), torch::tensor({0, 3, 9})) << "\n" << torch::bucketize(torch::tensor({2.0}), torch::tensor({1.0, 3.0})) << "\n";
  std::cout << x.index_fill(1, torch::tensor({0}), 9) << "\n" << x.masked_scatter(x > 2, torch::tensor({7.0f, 8.0f})) << "\n" << torch::isin(torch::arange(4), torch::tensor({1, 3})) << "\n";
  show("kthvalue", [&] { x.kthvalue(4); });
  show("bincount", [&] { torch::tensor({-1}).bincount(); });
  show("take", [&] { x.take(torch::tensor({6})); });
}

void products() {
  const Tensor a = torch::arange(4, torch::kDouble).view({2, 2});
  const Tensor v = torch::tensor({1.0, -1.0}, torch::kDouble);
  std::cout << torch::mv(a, v).sizes() << "\n" << torch::addmv(v, a, v, 0.5, 2) << "\n" << torch::addr(a, v, v) << "\n" << a.matrix_power(3) << "\n" << torch::kron(a, v.unsqueeze(0)) << "\n" << v.vdot(v) << "\n" << a.inner(v) << "\n";
  std::cout << torch::cross(torch::tensor({1.0, 0.0, 0.0}), torch::tensor({0.0, 1.0, 0.0}), 0) << "\n" << torch::baddbmm(a.expand({2, 2, 2}), a.expand({2, 2, 2}), a.expand({2, 2, 2}))[1] << "\n" << torch::tensordot(a, a, {0}, {1}) << "\n" << torch::chain_matmul({a, a, a}) << "\n";
  std::cout << a.new_zeros({1, 2}) << a.new_full({2}, 3, torch::kLong) << a.is_same_size(v) << a.is_signed() << v[0].is_nonzero() << a.is_complex() << "\n";
}

int main() {
  elementwise();
  in_place();
  rearranging();
  choosing_and_counting();
  products();
}
