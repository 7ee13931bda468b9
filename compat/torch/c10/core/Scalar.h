#pragma once

#include <tinytorch/core/scalar.h>

#include <torch/detail/names.h>
