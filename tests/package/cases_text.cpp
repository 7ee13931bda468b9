#include "package/operator_cases.h"

namespace tinytorch::testing {

std::vector<OperatorCase> text_cases() {
  return {
      {"embedding", CALL(embedding(x[0], x[1]))},
      {"embedding.vector", CALL(embedding(x[0], x[1]))},
      {"embedding.one", CALL(embedding(x[0], x[1]))},
      {"embedding.padding", CALL(embedding(x[0], x[1], 3))},
      {"embedding.by_frequency", CALL(embedding(x[0], x[1], -1, true))},
      {"embedding.out_of_range", CALL(embedding(x[0], x[1]))},
      {"embedding.of_reals", CALL(embedding(x[0], x[1]))},
      {"embedding.no_table", CALL(embedding(x[0], x[1]))},
      {"embedding_dense_backward", CALL(embedding_dense_backward(x[0], x[1], 4, -1, false))},
      {"embedding_dense_backward.padding", CALL(embedding_dense_backward(x[0], x[1], 4, 3, false))},
      // PyTorch refuses a gradient; here the write is not recorded.
      {"embedding_renorm_", CALL(embedding_renorm_(x[0], x[1], 1.5, 2.0)), {.leaves_out = "gradients"}},
  };
}

}  // namespace tinytorch::testing
