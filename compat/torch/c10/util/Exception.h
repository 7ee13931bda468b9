#pragma once

#include <tinytorch/core/check_op.h>
#include <tinytorch/core/error.h>
#include <tinytorch/core/warning.h>

#include <torch/detail/names.h>

#define AT_ERROR(...)                \
  do {                               \
    TORCH_CHECK(false, __VA_ARGS__); \
  } while (false)
