#include "package/operator_cases.h"

namespace tinytorch::testing {

std::vector<OperatorCase> text_cases() {
  return {
      {"embedding", CALL(embedding(x[0], x[1]))},
      {"embedding.vector", CALL(embedding(x[0], x[1]))},
      {"embedding.one", CALL(embedding(x[0], x[1]))},
      // The gradients of these two leave a row out, or divide by how often it was read.
      {"embedding.padding", CALL(embedding(x[0], x[1], 3)), {.at_kink = true}},
      {"embedding.by_frequency", CALL(embedding(x[0], x[1], -1, true)), {.at_kink = true}},
      {"embedding.out_of_range", CALL(embedding(x[0], x[1]))},
      {"embedding.of_reals", CALL(embedding(x[0], x[1]))},
      {"embedding.no_table", CALL(embedding(x[0], x[1]))},
      {"embedding_dense_backward", CALL(embedding_dense_backward(x[0], x[1], 4, -1, false))},
      {"embedding_dense_backward.padding", CALL(embedding_dense_backward(x[0], x[1], 4, 3, false))},
      // Without a gradient, of floating-point numbers only.
      {"sum_bags", CALL(op::sum_bags(x[0].contiguous(), x[1].contiguous(), tensor({0, 2, 2, 6}), false, 1)), {.leaves_out = "Long Int Short Char Byte Bool empty 0-d"}},
      {"sum_bags.mean", CALL(op::sum_bags(x[0].contiguous(), x[1].contiguous(), tensor({0, 2, 2, 6}), true, 1)), {.leaves_out = "Long Int Short Char Byte Bool empty 0-d"}},
      // PyTorch has no gradient of it; here it is composed of operators that have.
      {"embedding_renorm_", CALL(embedding_renorm_(x[0], x[1], 1.5, 2.0)), {.leaves_out = "gradients"}},
  };
}

}  // namespace tinytorch::testing
