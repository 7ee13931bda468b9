#pragma once

#include <tinytorch/core/utils.h>

#include <torch/detail/names.h>
