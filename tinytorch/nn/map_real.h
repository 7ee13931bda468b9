// From the lesson modules/02_activations/activations_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/loops.h"
#include "tinytorch/core/ops.h"

namespace tinytorch {

// f(x) for every element x, in the dtype of `self`. `name` goes into the error for other dtypes than floating
// point.
template <class F>
Tensor map_real(const char* name, const Tensor& self, F f) {
  const Tensor result = empty_beside(self, self.sizes(), self.scalar_type());
  dispatch_floating_types(self.scalar_type(), name, [&]<class T>() { map_into<T, T>(result, self, f); });
  return result;
}

}  // namespace tinytorch
