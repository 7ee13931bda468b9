#include "package/operator_cases.h"

namespace tinytorch::testing {

using indexing::Ellipsis;
using indexing::None;
using indexing::Slice;

std::vector<OperatorCase> view_cases() {
  return {
      {"as_strided", CALL(x[0].as_strided({2, 2}, {1, 2}, 1)), {.needs_contiguous = true}},
      {"as_strided.overlapping", CALL(x[0].as_strided({3, 3}, {1, 1})), {.needs_contiguous = true}},
      {"as_strided.too_large", CALL(x[0].as_strided({3, 3}, {2, 1}))},
      // Shared bytes without a history are no view to autograd, so copies are compared.
      {"view.as_int", CALL(x[0].view(kInt).clone()), {.needs_contiguous = true}},
      {"view.as_byte", CALL(x[0].view(kByte).clone()), {.needs_contiguous = true}},
      {"view.as_long", CALL(x[0].view(kLong).clone()), {.needs_contiguous = true}},
      {"view.not_divisible", CALL(x[0].to(kFloat).view(kLong))},
      {"view", CALL(x[0].view({3, 4})), {.needs_contiguous = true}},
      {"view.inferred", CALL(x[0].view({4, -1})), {.needs_contiguous = true}},
      {"view.of_no_elements", CALL(x[0].view({3, 0}))},
      {"view.wrong_size", CALL(x[0].view({4, 2}))},
      {"view.two_inferred", CALL(x[0].view({-1, -1}))},
      {"view.of_transposed", CALL(x[0].t().view(6))},
      {"expand", CALL(x[0].expand({2, 3, 4}))},
      {"expand.keeps", CALL(x[0].expand({-1, 2}))},
      {"expand.wrong_size", CALL(x[0].expand({3, 4}))},
      {"permute", CALL(x[0].permute({2, 0, 1}))},
      {"permute.negative", CALL(x[0].permute({-1, 0, -2}))},
      {"permute.repeated", CALL(x[0].permute({0, 0}))},
      {"permute.too_few", CALL(x[0].permute(0))},
      {"transpose", CALL(x[0].transpose(0, -1))},
      {"transpose.out_of_range", CALL(x[0].transpose(0, 2))},
      {"t", CALL(x[0].t())},
      {"t.three_dimensions", CALL(x[0].t())},
      {"select", CALL(x[0].select(1, -1))},
      {"select.out_of_range", CALL(x[0].select(0, 2))},
      {"select.of_0d", CALL(x[0].select(0, 0))},
      {"slice", CALL(x[0].slice(0, 1, 5, 2))},
      {"slice.negative", CALL(x[0].slice(1, -2))},
      {"slice.beyond", CALL(x[0].slice(0, 3, 100))},
      {"slice.nothing", CALL(x[0].slice(0, 4, 2))},
      {"narrow", CALL(x[0].narrow(0, 1, 3))},
      {"narrow.too_long", CALL(x[0].narrow(0, 3, 3))},
      {"squeeze", CALL(x[0].squeeze())},
      {"squeeze.dim", CALL(x[0].squeeze(-1))},
      {"squeeze.larger", CALL(x[0].squeeze(1))},
      {"unsqueeze", CALL(x[0].unsqueeze(-1))},
      {"unsqueeze.out_of_range", CALL(x[0].unsqueeze(4))},
      {"reshape", CALL(x[0].reshape({3, -1}))},
      {"reshape.of_transposed", CALL(x[0].t().reshape(-1))},
      {"reshape.wrong_size", CALL(x[0].reshape(5))},
      {"flatten", CALL(x[0].flatten())},
      {"flatten.part", CALL(x[0].flatten(1))},
      {"diagonal", CALL(x[0].diagonal())},
      {"diagonal.above", CALL(x[0].diagonal(1, -2, -1))},
      {"diagonal.below", CALL(x[0].diagonal(-1))},
      {"chunk", CALL(x[0].chunk(3))},
      {"split", CALL(x[0].split(2))},
      {"split_with_sizes", CALL(x[0].split({1, 0, 4}))},
      {"split_with_sizes.wrong_sum", CALL(x[0].split({1, 2}))},
      {"unbind", CALL(x[0].unbind(1))},
      {"clone", CALL(x[0].clone())},
      {"contiguous", CALL(x[0].t().contiguous())},
      {"to_dtype", CALL(x[0].to(kFloat)), {.at_kink = true}},
      {"to_dtype.long", CALL(x[0].to(kLong))},
      {"to_dtype.bool", CALL(x[0].to(kBool))},
      {"index.slices", CALL(x[0].index({Slice(1), None, Ellipsis, Slice(None, None, 2)}))},
      {"index.too_many", CALL(x[0].index({0, 0, 0}))},
  };
}

std::vector<OperatorCase> creation_cases() {
  return {
      {"zeros", CALL(zeros({2, 3}))},
      {"ones", CALL(ones({2, 0}))},
      {"full", CALL(full(2, 1.5))},
      {"full.of_integer", CALL(full(2, 3))},
      {"full.of_bool", CALL(full(2, true))},
      {"zeros.negative", CALL(zeros({2, -1})), {.says = "Trying to create tensor with negative dimension -1: [2, -1]"}},
      {"arange", CALL(arange(5))},
      {"arange.step", CALL(arange(1.0, 2.0, 0.3))},
      {"arange.down", CALL(arange(5, -1, -2))},
      {"arange.wrong_way", CALL(arange(1, 5, -1))},
      {"arange.no_step", CALL(arange(1, 5, 0))},
      {"linspace", CALL(linspace(-1, 2, 7))},
      {"linspace.one", CALL(linspace(3, 4, 1))},
      {"linspace.negative", CALL(linspace(0, 1, -1))},
      {"eye", CALL(eye(2, 3))},
      {"zeros_like", CALL(zeros_like(x[0]))},
      {"ones_like", CALL(ones_like(x[0]))},
      {"full_like", CALL(full_like(x[0], 2))},
  };
}

}  // namespace tinytorch::testing
