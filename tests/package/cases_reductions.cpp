#include <cmath>

#include "package/operator_cases.h"

namespace tinytorch::testing {

std::vector<OperatorCase> reduction_cases() {
  return {
      {"sum", CALL(x[0].sum())},
      {"sum.dims", CALL(x[0].sum({0, -1}))},
      {"sum.keepdim", CALL(x[0].sum(1, true))},
      {"sum.repeated", CALL(x[0].sum({0, 0}))},
      {"sum.out_of_range", CALL(x[0].sum(2))},
      {"mean", CALL(x[0].mean())},
      {"mean.dims", CALL(x[0].mean(0, true))},
      {"mean.of_integers", CALL(x[0].mean())},
      {"amax", CALL(x[0].amax(1))},
      {"amax.ties", CALL(x[0].amax(1)), {.at_kink = true}},
      {"amax.nan", CALL(x[0].amax()), {.at_kink = true}},
      {"amin", CALL(x[0].amin({0, 1}, true))},
      {"amin.ties", CALL(x[0].amin(1)), {.at_kink = true}},
      {"max", CALL(x[0].max(1))},
      {"max.all", CALL(x[0].max())},
      {"max.all_ties", CALL(x[0].max()), {.at_kink = true}},
      {"max.ties", CALL(x[0].max(1, true)), {.at_kink = true}},
      {"max.of_nothing", CALL(x[0].max())},
      {"max.of_no_column", CALL(x[0].max(1))},
      {"min", CALL(x[0].min(0))},
      {"min.all", CALL(x[0].min())},
      {"argmax", CALL(x[0].argmax(1)), {.also_takes = "Bool"}},
      {"argmax.all", CALL(x[0].argmax()), {.also_takes = "Bool"}},
      {"argmax.nan", CALL(x[0].argmax()), {.also_takes = "Bool"}},
      {"argmax.of_nothing", CALL(x[0].argmax())},
      {"argmin", CALL(x[0].argmin(0, true)), {.also_takes = "Bool"}},
      {"argmin.all", CALL(x[0].argmin()), {.also_takes = "Bool"}},
      {"prod", CALL(x[0].prod())},
      {"prod.dim", CALL(x[0].prod(1, true))},
      {"prod.zeros", CALL(x[0].prod(1))},
      {"any", CALL(x[0].any(1))},
      {"any.all", CALL(x[0].any())},
      {"all", CALL(x[0].all(1))},
      {"all.all", CALL(x[0].all())},
      {"var", CALL(x[0].var())},
      {"var.dim", CALL(x[0].var(1, false, true))},
      {"std", CALL(x[0].std())},
      {"std.dim", CALL(x[0].std(0, false))},
      {"var_mean", CALL(var_mean(x[0], 1))},
      {"norm", CALL(x[0].norm())},
      {"norm.one", CALL(x[0].norm(1, 1))},
      {"norm.three", CALL(x[0].norm(3, 0, true))},
      {"norm.infinity", CALL(x[0].norm(INFINITY, 1))},
      // A count has no gradient in PyTorch, and one of zeros here.
      {"norm.zero", CALL(x[0].norm(0)), {.at_kink = true, .leaves_out = "gradients"}},
      {"norm.of_zeros", CALL(x[0].norm()), {.at_kink = true}},
      {"cumsum", CALL(x[0].cumsum(1))},
      {"cumsum.first", CALL(x[0].cumsum(0))},
      {"logsumexp", CALL(x[0].logsumexp(1))},
      {"logsumexp.dims", CALL(x[0].logsumexp({0, 1}, true))},
      {"logsumexp.large", CALL(x[0].logsumexp(1)), {.at_kink = true}},
      {"sort", CALL(x[0].sort(1))},
      {"sort.descending", CALL(x[0].sort(-1, true))},
      {"sort.stable", CALL(x[0].sort()), {.at_kink = true}},
      {"argsort", CALL(x[0].argsort(1))},
      {"topk", CALL(x[0].topk(2, 1)), {.also_takes = "Bool"}},
      // Which of equal elements comes first is not defined.
      {"topk.smallest", CALL(x[0].topk(3, 1, false)), {.also_takes = "Bool", .leaves_out = "Byte"}},
      {"topk.too_many", CALL(x[0].topk(5, 1))},
  };
}

std::vector<OperatorCase> matrix_cases() {
  return {
      {"mm", CALL(x[0].mm(x[1]))},
      // PyTorch asks for the dtype only where there is something to multiply.
      {"mm.inner_zero", CALL(x[0].mm(x[1])), {.leaves_out = "Bool"}},
      {"mm.inner_sizes_differ", CALL(x[0].mm(x[1]))},
      {"mm.of_vector", CALL(x[0].mm(x[1]))},
      {"mm.dtypes_differ", CALL(x[0].mm(x[1])), {.says = "expected m1 and m2 to have the same dtype, but got: double != int64_t"}},
      {"bmm", CALL(x[0].bmm(x[1]))},
      {"bmm.batches_differ", CALL(x[0].bmm(x[1]))},
      {"matmul", CALL(x[0].matmul(x[1]))},
      {"matmul.vectors", CALL(x[0].matmul(x[1]))},
      {"matmul.vector_matrix", CALL(x[0].matmul(x[1]))},
      {"matmul.matrix_vector", CALL(x[0].matmul(x[1]))},
      {"matmul.batches", CALL(x[0].matmul(x[1]))},
      {"matmul.batch_vector", CALL(x[0].matmul(x[1]))},
      {"matmul.inner_sizes_differ", CALL(x[0].matmul(x[1]))},
      {"matmul.batches_differ", CALL(x[0].matmul(x[1]))},
      {"addmm", CALL(addmm(x[0], x[1], x[2]))},
      {"addmm.scaled", CALL(addmm(x[0], x[1], x[2], 0.5, 2))},
      {"addmm.inner_sizes_differ", CALL(addmm(x[0], x[1], x[2]))},
      // PyTorch has no derivative of it; chapter 62 tests ours.
      {"_addmm_activation", CALL(_addmm_activation(x[0], x[1], x[2])), {.leaves_out = "gradients"}},
      {"_addmm_activation.scaled_gelu", CALL(_addmm_activation(x[0], x[1], x[2], 0.5, 0.3, true)), {.leaves_out = "gradients"}},
      {"_addmm_activation.inner_sizes_differ", CALL(_addmm_activation(x[0], x[1], x[2]))},
      {"mv", CALL(x[0].mv(x[1]))},
      {"dot", CALL(x[0].dot(x[1]))},
      {"dot.sizes_differ", CALL(x[0].dot(x[1]))},
      {"outer", CALL(outer(x[0], x[1]))},
  };
}

}  // namespace tinytorch::testing
