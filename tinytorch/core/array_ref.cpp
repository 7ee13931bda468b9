// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/array_ref.h"

#include <cstdint>

namespace tinytorch {

// Makes room for at least `count`, on the heap. It is not in the header: there it would be compiled into every function that makes a list, whose
// usual path, for up to five sizes, would save registers for it.
void DimVector::grow(std::size_t count) {
  const std::size_t capacity = count > 2 * capacity_ ? count : 2 * capacity_;
  auto* const grown = new std::int64_t[capacity];
  for (std::size_t i = 0; i < size_; ++i) grown[i] = data_[i];
  release();
  data_ = grown;
  capacity_ = capacity;
}

}  // namespace tinytorch
