#pragma once

#include <tinytorch/core/intrusive_ptr.h>

#include <torch/detail/names.h>
