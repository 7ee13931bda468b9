#pragma once

#include "tinytorch/tinytorch.h"

namespace tinytorch::testing {

// The default dtype, until the end of a test.
struct DefaultDtype {
  explicit DefaultDtype(ScalarType type) : before(get_default_dtype()) { set_default_dtype(type); }
  ~DefaultDtype() { set_default_dtype(before); }
  ScalarType before;
};

}  // namespace tinytorch::testing
