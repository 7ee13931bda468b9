#pragma once

#include <tinytorch/core/error.h>

#include <torch/detail/names.h>
