#include "package/operator_cases.h"

namespace tinytorch::testing {

std::vector<OperatorCase> activation_cases() {
  return {
      {"relu", CALL(relu(x[0]))},
      // At NaN, PyTorch lets the gradient of relu and elu pass.
      {"relu.special", CALL(relu(x[0])), {.at_kink = true, .leaves_out = "gradients"}},
      {"leaky_relu", CALL(leaky_relu(x[0], 0.1))},
      {"leaky_relu.special", CALL(leaky_relu(x[0], 0.1)), {.at_kink = true}},
      {"elu", CALL(elu(x[0], 0.7))},
      {"elu.special", CALL(elu(x[0], 0.7)), {.at_kink = true, .leaves_out = "gradients"}},
      {"gelu", CALL(gelu(x[0]))},
      {"gelu.special", CALL(gelu(x[0])), {.at_kink = true}},
      {"sigmoid", CALL(sigmoid(x[0]))},
      {"sigmoid.special", CALL(sigmoid(x[0])), {.at_kink = true}},
      {"tanh", CALL(tanh(x[0]))},
      {"tanh.special", CALL(tanh(x[0])), {.at_kink = true}},
      {"silu", CALL(silu(x[0]))},
      {"silu.special", CALL(silu(x[0])), {.at_kink = true}},
      {"softplus", CALL(softplus(x[0], 2.0, 1.5))},
      {"softplus.special", CALL(softplus(x[0], 2.0, 1.5)), {.at_kink = true}},
      {"gelu.tanh", CALL(gelu(x[0], "tanh"))},
      {"relu_", CALL(relu_(x[0]))},
      {"softmax", CALL(softmax(x[0], 1))},
      {"softmax.first", CALL(softmax(x[0], 0))},
      {"softmax.middle", CALL(softmax(x[0], -2))},
      {"softmax.large", CALL(softmax(x[0], 1)), {.at_kink = true}},
      {"softmax.out_of_range", CALL(softmax(x[0], 2))},
      {"log_softmax", CALL(log_softmax(x[0], 1))},
      {"log_softmax.first", CALL(log_softmax(x[0], 0))},
      {"log_softmax.middle", CALL(log_softmax(x[0], -2))},
      {"log_softmax.large", CALL(log_softmax(x[0], 1)), {.at_kink = true}},
      {"log_softmax.out_of_range", CALL(log_softmax(x[0], 2))},
  };
}

std::vector<OperatorCase> loss_cases() {
  return {
      {"mse_loss", CALL(mse_loss(x[0], x[1]))},
      {"mse_loss.none", CALL(mse_loss(x[0], x[1], Reduction::None))},
      {"mse_loss.sum", CALL(mse_loss(x[0], x[1], Reduction::Sum))},
      {"l1_loss", CALL(l1_loss(x[0], x[1]))},
      {"smooth_l1_loss", CALL(smooth_l1_loss(x[0], x[1], Reduction::Mean, 0.7))},
      {"huber_loss", CALL(huber_loss(x[0], x[1], Reduction::Mean, 0.8))},
      {"kl_div", CALL(kl_div(x[0], x[1], Reduction::Sum)), {.also_takes = "Long Int Byte"}},
      {"kl_div.log_target", CALL(kl_div(x[0], x[1], Reduction::Sum, true)), {.also_takes = "Long Int Byte"}},
      {"binary_cross_entropy", CALL(binary_cross_entropy(x[0], x[1]))},
      {"binary_cross_entropy.weighted", CALL(binary_cross_entropy(x[0], x[1], x[2], Reduction::None))},
      // The gradient divides by x (1 - x), of which little is left.
      {"binary_cross_entropy.certain", CALL(binary_cross_entropy(x[0], x[1], std::nullopt, Reduction::None)), {.at_kink = true, .gradient_rtol = 1e-8}},
      {"binary_cross_entropy.not_probability", CALL(binary_cross_entropy(x[0], x[1]))},
      {"binary_cross_entropy_with_logits", CALL(binary_cross_entropy_with_logits(x[0], x[1]))},
      {"binary_cross_entropy_with_logits.weighted", CALL(binary_cross_entropy_with_logits(x[0], x[1], x[2], x[3], Reduction::Sum))},
      {"binary_cross_entropy_with_logits.large", CALL(binary_cross_entropy_with_logits(x[0], x[1], std::nullopt, std::nullopt, Reduction::None)), {.at_kink = true}},
      {"nll_loss", CALL(nll_loss(x[0], x[1]))},
      {"nll_loss.ignored", CALL(nll_loss(x[0], x[1]))},
      {"nll_loss.out_of_range", CALL(nll_loss(x[0], x[1]))},
      {"nll_loss.batches_differ", CALL(nll_loss(x[0], x[1]))},
      {"nll_loss.weighted", CALL(nll_loss(x[0], x[1], x[2]))},
      {"nll_loss.none", CALL(nll_loss(x[0], x[1], std::nullopt, Reduction::None))},
      {"cross_entropy", CALL(cross_entropy_loss(x[0], x[1]))},
      {"cross_entropy.probabilities", CALL(cross_entropy_loss(x[0], x[1]))},
      {"cross_entropy.images", CALL(cross_entropy_loss(x[0], x[1]))},
      {"cross_entropy.out_of_range", CALL(cross_entropy_loss(x[0], x[1]))},
      {"cross_entropy.weighted", CALL(cross_entropy_loss(x[0], x[1], x[2]))},
      {"cross_entropy.sum", CALL(cross_entropy_loss(x[0], x[1], std::nullopt, Reduction::Sum))},
      {"cross_entropy.none", CALL(cross_entropy_loss(x[0], x[1], x[2], Reduction::None))},
      {"cross_entropy.ignored", CALL(cross_entropy_loss(x[0], x[1], std::nullopt, Reduction::Mean, 1))},
      // 0 / 0 is NaN in PyTorch too; its gradient is 0 there, and NaN here.
      {"cross_entropy.all_ignored", CALL(cross_entropy_loss(x[0], x[1], std::nullopt, Reduction::Mean, 1)), {.at_kink = true, .leaves_out = "gradients"}},
      {"cross_entropy.smoothed", CALL(cross_entropy_loss(x[0], x[1], x[2], Reduction::Mean, -100, 0.1))},
      {"cross_entropy.large", CALL(cross_entropy_loss(x[0], x[1], std::nullopt, Reduction::None)), {.at_kink = true}},
  };
}

}  // namespace tinytorch::testing
