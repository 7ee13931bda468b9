// From the lesson modules/99_autograd_extras/autograd_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/ivalue.h"

namespace tinytorch {

const char* IValue::tagKind() const {
  static constexpr const char* kinds[] = {"None", "Tensor", "Bool", "Double", "Int", "String", "IntList", "DoubleList", "TensorList"};
  return kinds[value_.index()];
}

}  // namespace tinytorch
