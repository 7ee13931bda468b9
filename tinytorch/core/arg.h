// From the lesson modules/03_layers/layers_dev.cpp:
// edit the module, not this file.
#pragma once

#include <utility>

namespace tinytorch {

// Declares in an options struct the member `name_` with a setter that can be chained, `options.name(value)`,
// and a getter, `options.name()`. What follows it in the struct is private. Source:
// torch/csrc/api/include/torch/arg.h.
#define TORCH_ARG(T, name)                                 \
 public:                                                   \
  auto name(T new_##name)->decltype(*this) {               \
    this->name##_ = std::move(new_##name);                 \
    return *this;                                          \
  }                                                        \
  const T& name() const noexcept { return this->name##_; } \
  T& name() noexcept { return this->name##_; }             \
                                                           \
 private:                                                  \
  T name##_

}  // namespace tinytorch
