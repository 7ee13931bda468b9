// AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "kernel", [&] { ... x.data_ptr<scalar_t>() ... }): runs the lambda's body with
// scalar_t as the C++ type of the dtype.
#pragma once

#include <torch/torch.h>

#define AT_DISPATCH_FLOATING_TYPES(TYPE, NAME, ...) \
  ::tinytorch::dispatch_floating_types(TYPE, NAME, [&]<class scalar_t>() { return (__VA_ARGS__)(); })
#define AT_DISPATCH_ALL_TYPES(TYPE, NAME, ...) \
  ::tinytorch::dispatch_all_types(TYPE, [&]<class scalar_t>() { return (__VA_ARGS__)(); })
