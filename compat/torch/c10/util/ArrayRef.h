#pragma once

#include <tinytorch/core/array_ref.h>

#include <torch/detail/names.h>
