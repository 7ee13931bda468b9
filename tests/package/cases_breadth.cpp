#include "package/operator_cases.h"

namespace tinytorch::testing {

std::vector<OperatorCase> breadth_cases() {
  return {
      {"acos", CALL(acos(x[0]))},
      {"acos.special", CALL(acos(x[0])), {.at_kink = true}},
      {"asin", CALL(asin(x[0]))},
      {"sinh", CALL(sinh(x[0]))},
      {"cosh", CALL(cosh(x[0]))},
      {"asinh", CALL(asinh(x[0]))},
      {"acosh", CALL(acosh(x[0] + 1))},
      {"atanh", CALL(atanh(x[0]))},
      {"exp2", CALL(exp2(x[0]))},
      {"erfc", CALL(erfc(x[0]))},
      {"erfinv", CALL(erfinv(x[0]))},
      {"erfinv.special", CALL(erfinv(x[0])), {.at_kink = true}},
      {"lgamma", CALL(lgamma(x[0]))},
      // PyTorch's first derivative of digamma is an approximation, good to nine digits (polygamma(1, 1) is pi^2 / 6: chapter 74 tests that).
      {"polygamma", CALL(polygamma(1, x[0])), {.leaves_out = "Double 0-d"}},
      {"polygamma.digamma", CALL(digamma(x[0])), {.gradient_rtol = 1e-7}},
      // At a pole the gradient is infinite; PyTorch's is 5.7e32 there.
      {"polygamma.digamma_special", CALL(digamma(x[0])), {.at_kink = true, .leaves_out = "gradients"}},
      {"polygamma.third", CALL(polygamma(3, x[0]))},
      {"atan2", CALL(atan2(x[0], x[1]))},
      {"atan2.special", CALL(atan2(x[0], x[1])), {.at_kink = true}},
      {"fmod", CALL(fmod(x[0], x[1]))},
      {"fmod.scalar", CALL(fmod(x[0], 0.7))},
      {"hypot", CALL(hypot(x[0], x[1]))},
      {"copysign", CALL(copysign(x[0], x[1]))},
      {"copysign.zero", CALL(copysign(x[0], x[1])), {.at_kink = true}},
      {"cumprod", CALL(x[0].cumprod(1))},
      {"cumprod.first", CALL(x[0].cumprod(0))},
      {"cumprod.zeros", CALL(x[0].cumprod(1)), {.at_kink = true}},
  };
}

}  // namespace tinytorch::testing
