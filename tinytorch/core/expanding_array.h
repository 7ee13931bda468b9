// From the lesson modules/81_image_options/image_options_dev.cpp:
// edit the module, not this file.
#pragma once

#include <array>
#include <initializer_list>
#include <optional>
#include <ostream>
#include <vector>

#include "tinytorch/core/array_ref.h"

namespace tinytorch {

// D values, given as D or as one for all: kernel_size(3) and kernel_size({3, 5}). One is printed as a number, several as a list. Source: torch/csrc/api/include/torch/expanding_array.h.
template <std::size_t D, class T = std::int64_t>
class ExpandingArray {
 public:
  ExpandingArray(std::initializer_list<T> list) : ExpandingArray(ArrayRef<T>(list)) {}
  ExpandingArray(const std::vector<T>& values) : ExpandingArray(ArrayRef<T>(values)) {}
  ExpandingArray(ArrayRef<T> values) {
    TORCH_CHECK(values.size() == D, "Expected ", D, " values, but instead got ", values.size());
    for (std::size_t i = 0; i < D; ++i) values_[i] = values[i];
  }
  ExpandingArray(const std::array<T, D>& values) : values_(values) {}
  ExpandingArray(T single) { values_.fill(single); }

  std::array<T, D>& operator*() { return values_; }
  const std::array<T, D>& operator*() const { return values_; }
  std::array<T, D>* operator->() { return &values_; }
  const std::array<T, D>* operator->() const { return &values_; }
  operator ArrayRef<T>() const { return values_; }
  std::size_t size() const noexcept { return D; }

 private:
  std::array<T, D> values_;
};

template <std::size_t D, class T>
std::ostream& operator<<(std::ostream& out, const ExpandingArray<D, T>& values) {
  if constexpr (D == 1) return out << (*values)[0];
  else return out << ArrayRef<T>(values);
}

// The same where a value may be left out: {5, nullopt}.
template <std::size_t D, class T = std::int64_t>
class ExpandingArrayWithOptionalElem : public ExpandingArray<D, std::optional<T>> {
 public:
  using ExpandingArray<D, std::optional<T>>::ExpandingArray;
  ExpandingArrayWithOptionalElem(T single) : ExpandingArray<D, std::optional<T>>(std::optional<T>(single)) {}
};

template <std::size_t D, class T>
std::ostream& operator<<(std::ostream& out, const ExpandingArrayWithOptionalElem<D, T>& values) {
  for (std::size_t i = 0; i < D; ++i) {
    if (D > 1) out << (i == 0 ? "[" : ", ");
    if ((*values)[i]) out << *(*values)[i];
    else out << "None";
  }
  return D > 1 ? out << ']' : out;
}

}  // namespace tinytorch
