// From the lesson modules/90_operators/operators_dev.cpp:
// edit the module, not this file.
#pragma once

#include <limits>

#include "tinytorch/core/loops.h"

namespace tinytorch {

// The name of a dtype in C++, which some of PyTorch's errors print.
inline const char* type_meta_name(ScalarType type) {
  static constexpr const char* names[] = {"bool",     "unsigned char", "signed char",   "short int", "int",
                                          "long int", "c10::Half",     "c10::BFloat16", "float",     "double"};
  return names[static_cast<std::size_t>(type)];
}

// f(self) in self's dtype.
template <class F>
Tensor map_same(const Tensor& self, F f) {
  const Tensor result = empty_beside(self, self.sizes(), self.scalar_type());
  dispatch_all_types(self.scalar_type(), [&]<class T>() { map_into<T, T>(result, self, f); });
  return result;
}

// f(self) as Bool.
template <class F>
Tensor map_to_bool(const Tensor& self, F f) {
  const Tensor result = empty_beside(self, self.sizes(), kBool);
  dispatch_all_types(self.scalar_type(), [&]<class T>() { map_into<bool, T>(result, self, f); });
  return result;
}

// f(self, other) computed in the common dtype; Out is bool, or void for that dtype.
template <class Out = void, class F>
Tensor zip_promoted(const Tensor& self, const Tensor& other, F f) {
  const ScalarType type = result_type(self, other);
  const Tensor a = to_dtype(self, type);
  const Tensor b = to_dtype(other, type);
  const Tensor result = empty_beside(a, b, infer_size(a.sizes(), b.sizes()), std::is_void_v<Out> ? type : kBool);
  dispatch_all_types(type, [&]<class T>() {
    zip_into<std::conditional_t<std::is_void_v<Out>, T, bool>, T, T>(result, a, b, f);
  });
  return result;
}

// self = f(self, other): computed in the common type, which must fit into self's.
template <class F>
const Tensor& zip_in_place(const Tensor& self, const Tensor& other, ScalarType type, F f) {
  const DimVector sizes = infer_size(self.sizes(), other.sizes());
  TORCH_CHECK(canCast(type, self.scalar_type()), "result type ", type, " can't be cast to the desired output type ", self.scalar_type());
  TORCH_CHECK(IntArrayRef(sizes) == self.sizes(), "output with shape ", self.sizes(), " doesn't match the broadcast shape ", IntArrayRef(sizes));
  check_no_internal_overlap(self);
  check_no_partial_overlap(self, other);
  const bool separate = type == self.scalar_type() && (same_elements(self, other) || !ranges_overlap(self, other));
  if (!separate) {
    copy_into(self, zip_as(self, other, type, f));
    return self;
  }
  Tensor converted;
  const Tensor& b = in_type(other, type, converted);
  dispatch_all_types(type, [&]<class T>() { zip_into<T, T, T>(self, self, b, f); });
  return self;
}

// Throws if `alpha` is no factor for results of this type: a floating-point number for integers, a bool for anything but bools.
void check_alpha(const Tensor& self, const Tensor& other, const Scalar& alpha);

// Calls f(k, row, stride) for every row of `self` along `dim`: element j of row k is row[j * stride]. Rows are counted in the order of the other dimensions, so k is also the
// position in a contiguous result without `dim`.
template <class T, class F>
void for_each_row(const Tensor& self, std::int64_t dim, F f) {
  DimVector sizes(self.sizes());
  DimVector strides(self.strides());
  std::int64_t step = 0;
  if (self.dim() > 0) {
    step = strides[static_cast<std::size_t>(dim)];
    sizes.erase(static_cast<std::size_t>(dim));
    strides.erase(static_cast<std::size_t>(dim));
  }
  T* const data = self.data<T>();
  std::int64_t k = 0;
  StridedLoop<1>(sizes, {IntArrayRef(strides)}).run([&](const auto& offset, std::int64_t count, const auto& inner) {
    for (std::int64_t i = 0; i < count; ++i) f(k++, data + offset[0] + i * inner[0], step);
  });
}

// The larger (smaller) of two, where NaN wins.
template <class T>
T larger(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    if (a != a || b != b) return std::numeric_limits<T>::quiet_NaN();
  return a < b ? b : a;
}
template <class T>
T smaller(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    if (a != a || b != b) return std::numeric_limits<T>::quiet_NaN();
  return b < a ? b : a;
}

}  // namespace tinytorch
