#pragma once

#include <tinytorch/core/optional_array_ref.h>

#include <torch/detail/names.h>
