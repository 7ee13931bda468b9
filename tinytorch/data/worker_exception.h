// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.
#pragma once

#include <exception>
#include <string>

namespace tinytorch {

namespace data {

// What the loader's thread throws for an exception in a worker. The original one can be thrown again.
// Source: torch/data/worker_exception.h.
struct WorkerException : public std::exception {
  explicit WorkerException(std::exception_ptr original);
  const char* what() const noexcept override { return message.c_str(); }

  std::exception_ptr original_exception;
  std::string message;
};

}  // namespace data

}  // namespace tinytorch
