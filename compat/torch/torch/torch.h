// All of TinyTorch under libtorch's name.
#pragma once

#include <tinytorch/tinytorch.h>

#include <c10/util/Exception.h>
#include <c10/util/Logging.h>
#include <torch/detail/names.h>
#include <torch/version.h>
