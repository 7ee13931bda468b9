#pragma once

#include <tinytorch/core/error.h>
#include <tinytorch/core/warning.h>

#include <torch/detail/names.h>
