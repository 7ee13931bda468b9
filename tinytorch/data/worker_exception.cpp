// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.

#include "tinytorch/data/worker_exception.h"

#include <utility>

namespace tinytorch {

data::WorkerException::WorkerException(std::exception_ptr original) : original_exception(std::move(original)), message("Caught exception in DataLoader worker thread.") {
  try {
    std::rethrow_exception(original_exception);
  } catch (const std::exception& e) {
    message += " Original message: ";
    message += e.what();
  } catch (...) {
    message += " It is not a std::exception.";
  }
}

}  // namespace tinytorch
