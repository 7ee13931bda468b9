#pragma once

#include <tinytorch/core/irange.h>

#include <torch/detail/names.h>
