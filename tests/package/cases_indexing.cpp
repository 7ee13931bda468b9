#include "package/operator_cases.h"

namespace tinytorch::testing {

using indexing::Slice;

std::vector<OperatorCase> indexing_cases() {
  return {
      {"index_select", CALL(x[0].index_select(0, x[1]))},
      // PyTorch says "index out of range in self".
      {"index_select.out_of_range", CALL(x[0].index_select(0, x[1])), {.says = "index 3 is out of bounds for dimension 0 with size 3"}},
      {"index_select.of_reals", CALL(x[0].index_select(0, x[1]))},
      {"index_select.columns", CALL(x[0].index_select(1, x[1]))},
      {"index_add_", CALL(x[0].index_add_(0, x[1], x[2]))},
      {"index_add", CALL(x[0].index_add(0, x[1], x[2], 2))},
      {"gather", CALL(x[0].gather(1, x[1]))},
      {"gather.out_of_range", CALL(x[0].gather(1, x[1]))},
      {"gather.dimensions_differ", CALL(x[0].gather(1, x[1]))},
      {"scatter_", CALL(x[0].scatter_(1, x[1], x[2]))},
      {"scatter", CALL(x[0].scatter(1, x[1], x[2]))},
      {"scatter.value", CALL(x[0].scatter(1, x[1], 9.0))},
      {"scatter_add_", CALL(x[0].scatter_add_(1, x[1], x[2]))},
      {"scatter_add", CALL(x[0].scatter_add(0, x[1], x[2]))},
      {"index", CALL(x[0].index({x[1]}))},
      {"index.second", CALL(x[0].index({Slice(), x[1]}))},
      {"index.pairs", CALL(x[0].index({x[1], x[2]}))},
      {"index.broadcast", CALL(x[0].index({x[1], x[2]}))},
      {"index.mask", CALL(x[0].index({x[1]}))},
      {"index.negative", CALL(x[0].index({x[1]}))},
      {"index.out_of_range", CALL(x[0].index({x[1]}))},
      {"index.mask_too_long", CALL(x[0].index({x[1]}))},
      {"index_put_", CALL(x[0].index_put_({x[1]}, x[2]))},
      {"index_put_.accumulate", CALL(x[0].index_put_(std::vector<std::optional<Tensor>>{x[1]}, x[2], true))},
      {"masked_select", CALL(x[0].masked_select(x[1]))},
      {"nonzero", CALL(x[0].nonzero())},
      {"cat", CALL(cat({x[0], x[1]}, 1))},
      {"cat.skips_empty", CALL(cat({x[0], x[1]}))},
      {"cat.promotes", CALL(cat({x[0], x[1]}))},
      {"cat.sizes_differ", CALL(cat({x[0], x[1]}))},
      {"cat.of_0d", CALL(cat({x[0], x[1]}))},
      {"cat.one", CALL(cat({x[0]}))},
      {"cat.of_nothing", CALL(cat(TensorList()))},
      {"stack", CALL(stack({x[0], x[1]}, 1))},
      {"stack.last", CALL(stack({x[0], x[1]}, -1))},
      {"stack.sizes_differ", CALL(stack({x[0], x[1]}))},
      {"repeat", CALL(x[0].repeat({2, 1, 2}))},
      {"flip", CALL(x[0].flip({0, 1}))},
      {"tril", CALL(x[0].tril())},
      {"tril.above", CALL(x[0].tril(1))},
      {"triu", CALL(x[0].triu(-1))},
  };
}

}  // namespace tinytorch::testing
