// From the lesson modules/67_watching/watching_dev.cpp:
// edit the module, not this file.

#include "tinytorch/optim/early_stopping.h"

#include "tinytorch/core/ops.h"

namespace tinytorch {

optim::Fields optim::EarlyStopping::fields() { return {{"best", &best_}, {"waited", &waited_}}; }

bool optim::EarlyStopping::goes_on(double metric) {
  if (metric < best_ - min_delta_) {
    best_ = metric;
    waited_ = 0;
  } else {
    ++waited_;
  }
  return waited_ <= patience_;
}

}  // namespace tinytorch
