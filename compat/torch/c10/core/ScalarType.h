#pragma once

#include <tinytorch/core/scalar_type.h>

#include <torch/detail/names.h>
