#pragma once

#include <tinytorch/core/function_ref.h>

#include <torch/detail/names.h>
