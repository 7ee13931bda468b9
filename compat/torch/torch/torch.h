// All of TinyTorch under libtorch's name.
#pragma once

#include <tinytorch/tinytorch.h>

#include <torch/detail/names.h>
