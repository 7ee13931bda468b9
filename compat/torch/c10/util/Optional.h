#pragma once

#include <torch/detail/names.h>
