// From the lesson modules/67_watching/watching_dev.cpp:
// edit the module, not this file.
#pragma once

#include <limits>

#include "tinytorch/optim/optimizer.h"

namespace tinytorch {

namespace optim {

// Ends a run whose metric has not fallen by more than min_delta for more than `patience` epochs:
//   EarlyStopping stopping(3);
//   trainer.remember("early_stopping", stopping.fields());
//   trainer.on_epoch([&](const Progress&) { return stopping.goes_on(evaluate(validation)); });
class EarlyStopping {
 public:
  explicit EarlyStopping(std::int64_t patience, double min_delta = 0) : patience_(patience), min_delta_(min_delta) {}
  bool goes_on(double metric);
  double best() const { return best_; }
  Fields fields();

 private:
  std::int64_t patience_;
  double min_delta_;
  double best_ = std::numeric_limits<double>::infinity();
  std::int64_t waited_ = 0;  // epochs since the best
};

}  // namespace optim

}  // namespace tinytorch
