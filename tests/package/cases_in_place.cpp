#include "package/operator_cases.h"

namespace tinytorch::testing {

std::vector<OperatorCase> in_place_cases() {
  return {
      {"copy_", CALL(x[0].copy_(x[1]))},
      {"copy_.too_large", CALL(x[0].copy_(x[1]))},
      {"fill_", CALL(x[0].fill_(1.5))},
      {"zero_", CALL(x[0].zero_())},
      {"add_", CALL(x[0].add_(x[1], 2))},
      {"add_.scalar", CALL(x[0].add_(1))},
      {"add_.too_large", CALL(x[0].add_(x[1]))},
      {"add_.into_integers", CALL(x[0].add_(x[1]))},
      {"sub_", CALL(x[0].sub_(x[1]))},
      {"mul_", CALL(x[0].mul_(x[1]))},
      {"div_", CALL(x[0].div_(x[1]))},
      {"exp_", CALL(x[0].exp_())},
      {"sin_", CALL(x[0].sin_())},
      {"cos_", CALL(x[0].cos_())},
      {"erf_", CALL(x[0].erf_())},
      {"floor_", CALL(x[0].floor_())},
      {"ceil_", CALL(x[0].ceil_())},
      {"round_", CALL(x[0].round_())},
      {"neg_", CALL(x[0].neg_())},
      {"abs_", CALL(x[0].abs_()), {.also_takes = "Bool"}},
      {"square_", CALL(x[0].square_())},
      {"log_", CALL(x[0].log_())},
      {"sqrt_", CALL(x[0].sqrt_())},
      {"rsqrt_", CALL(x[0].rsqrt_())},
      {"reciprocal_", CALL(x[0].reciprocal_())},
      {"pow_", CALL(x[0].pow_(2))},
      {"clamp_", CALL(x[0].clamp_(-0.5, 0.7))},
      {"lerp_", CALL(x[0].lerp_(x[1], 0.7))},
      {"addcmul_", CALL(x[0].addcmul_(x[1], x[2], 2)), {.also_takes = "Bool"}},
      {"addcdiv_", CALL(x[0].addcdiv_(x[1], x[2], 2.0))},
      {"masked_fill_", CALL(x[0].masked_fill_(x[1], 2))},
  };
}

std::vector<OperatorCase> random_cases() {
  return {
      {"uniform_", CALL(x[0].uniform_(-1, 3)), {.needs_contiguous = true}},
      {"uniform_.long", CALL(x[0].uniform_())},
      {"uniform_.crossed", CALL(x[0].uniform_(1, 0))},
      {"normal_", CALL(x[0].normal_(1, 2)), {.needs_contiguous = true}},
      {"normal_.long", CALL(x[0].normal_()), {.needs_contiguous = true}},
      {"normal_.negative", CALL(x[0].normal_(0, -1))},
      {"random_", CALL(x[0].random_(3, 9)), {.needs_contiguous = true}},
      {"cauchy_", CALL(x[0].cauchy_(1, 2)), {.needs_contiguous = true}},
      {"cauchy_.no_width", CALL(x[0].cauchy_(0, 0))},
      {"log_normal_", CALL(x[0].log_normal_(0.5, 0.25)), {.needs_contiguous = true}},
      {"log_normal_.no_width", CALL(x[0].log_normal_(0, 0))},
      {"geometric_", CALL(x[0].geometric_(0.3)), {.needs_contiguous = true}},
      {"geometric_.certain", CALL(x[0].geometric_(1))},
      {"poisson", CALL(poisson(x[0])), {.at_kink = true}},
      {"poisson.many", CALL(poisson(x[0])), {.at_kink = true}},
      {"poisson.negative", CALL(poisson(x[0]))},
      {"bernoulli_tensor_", CALL(x[0].bernoulli_(x[1]))},
      // PyTorch gives zeros for a gradient; here there is none.
      {"bernoulli", CALL(bernoulli(x[0])), {.leaves_out = "gradients"}},
      {"rand", CALL(rand(20))},
      {"randn", CALL(randn(5))},
      {"randn.long", CALL(randn(35, kDouble))},
      {"randint", CALL(randint(-5, 100, 12))},
      {"randperm", CALL(randperm(20))},
      {"multinomial", CALL(x[0].multinomial(5, true))},
  };
}

}  // namespace tinytorch::testing
