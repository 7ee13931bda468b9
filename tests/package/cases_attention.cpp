#include "package/operator_cases.h"

namespace tinytorch::testing {

namespace {
std::vector<Tensor> as_list(const std::tuple<Tensor, Tensor, Tensor>& results) { return {std::get<0>(results), std::get<1>(results), std::get<2>(results)}; }
}  // namespace

std::vector<OperatorCase> attention_cases() {
  return {
      {"_scaled_dot_product_flash_attention_for_cpu", CALL(_scaled_dot_product_flash_attention_for_cpu(x[0], x[1], x[2]))},
      {"_scaled_dot_product_flash_attention_for_cpu.causal", CALL(_scaled_dot_product_flash_attention_for_cpu(x[0], x[1], x[2], 0, true, std::nullopt, 0.7))},
      {"_scaled_dot_product_flash_attention_for_cpu.dropout", CALL(_scaled_dot_product_flash_attention_for_cpu(x[0], x[1], x[2], 0.5))},
      {"scaled_dot_product_attention", CALL(scaled_dot_product_attention(x[0], x[1], x[2]))},
      {"scaled_dot_product_attention.causal", CALL(scaled_dot_product_attention(x[0], x[1], x[2], std::nullopt, 0, true))},
      {"scaled_dot_product_attention.may_look", CALL(scaled_dot_product_attention(x[0], x[1], x[2], x[3]))},
      // With an empty batch PyTorch does not look at the mask, whose size does not fit.
      {"scaled_dot_product_attention.added", CALL(scaled_dot_product_attention(x[0], x[1], x[2], x[3], 0, false, 0.5)), {.leaves_out = "empty"}},
      {"scaled_dot_product_attention.groups", CALL(scaled_dot_product_attention(x[0], x[1], x[2], std::nullopt, 0, false, std::nullopt, true))},
      {"scaled_dot_product_attention.groups_differ", CALL(scaled_dot_product_attention(x[0], x[1], x[2], std::nullopt, 0, false, std::nullopt, true))},
      {"scaled_dot_product_attention.mask_and_causal", CALL(scaled_dot_product_attention(x[0], x[1], x[2], x[3], 0, true))},
      {"scaled_dot_product_attention.features_differ", CALL(scaled_dot_product_attention(x[0], x[1], x[2]))},
      {"scaled_dot_product_attention.mask_too_small", CALL(scaled_dot_product_attention(x[0], x[1], x[2], x[3]))},
      {"rnn_tanh_cell", CALL(rnn_tanh_cell(x[0], x[1], x[2], x[3], x[4], x[5]))},
      {"rnn_relu_cell", CALL(rnn_relu_cell(x[0], x[1], x[2], x[3], x[4], x[5]))},
      // PyTorch writes these gates in place, which integers do not allow.
      {"gru_cell", CALL(gru_cell(x[0], x[1], x[2], x[3], x[4], x[5])), {.also_takes = "Long Int Byte"}},
      {"gru_cell.input_differs", CALL(gru_cell(x[0], x[1], x[2], x[3]))},
      {"lstm_cell", CALL(lstm_cell(x[0], {x[1], x[2]}, x[3], x[4], x[5], x[6])), {.also_takes = "Long Int Byte"}},
      {"lstm_cell.batches_differ", CALL(lstm_cell(x[0], {x[1], x[2]}, x[3], x[4]))},
      {"_thnn_fused_lstm_cell", CALL(as_list(_thnn_fused_lstm_cell(x[0], x[1], x[2])))},
      {"_thnn_fused_lstm_cell.one", CALL(as_list(_thnn_fused_lstm_cell(x[0], x[1], x[2])))},
  };
}

}  // namespace tinytorch::testing
