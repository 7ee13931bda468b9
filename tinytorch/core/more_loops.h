// From the lesson modules/90_operators/operators_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/loops.h"

namespace tinytorch {

// The name of a dtype in C++, which some of PyTorch's errors print.
inline const char* type_meta_name(ScalarType type) {
  static constexpr const char* names[] = {"bool", "unsigned char", "signed char", "short int",
                                          "int",  "long int",      "float",       "double"};
  return names[static_cast<std::size_t>(type)];
}

// f(self) in self's dtype.
template <class F>
Tensor map_same(const Tensor& self, F f) {
  const Tensor result = empty(self.sizes(), self.scalar_type());
  dispatch_all_types(self.scalar_type(), [&]<class T>() { map_into<T, T>(result, self, f); });
  return result;
}

// f(self) as Bool.
template <class F>
Tensor map_to_bool(const Tensor& self, F f) {
  const Tensor result = empty(self.sizes(), kBool);
  dispatch_all_types(self.scalar_type(), [&]<class T>() { map_into<bool, T>(result, self, f); });
  return result;
}

// f(self, other) computed in the common dtype; Out is bool, or void for that dtype.
template <class Out = void, class F>
Tensor zip_promoted(const Tensor& self, const Tensor& other, F f) {
  const ScalarType type = result_type(self, other);
  const Tensor a = to_dtype(self, type);
  const Tensor b = to_dtype(other, type);
  const Tensor result = empty(infer_size(a.sizes(), b.sizes()), std::is_void_v<Out> ? type : kBool);
  dispatch_all_types(type, [&]<class T>() {
    zip_into<std::conditional_t<std::is_void_v<Out>, T, bool>, T, T>(result, a, b, f);
  });
  return result;
}

// Adds to the Long tensor `positions` the offsets of `index` (Long, of the same sizes) along a dimension of the given size and stride.
// Throws for an index outside of [0, size).
inline void add_positions(const Tensor& positions, const Tensor& index, std::int64_t dim, std::int64_t size,
                          std::int64_t stride) {
  zip_into<std::int64_t, std::int64_t, std::int64_t>(
      positions, positions, index, [=](std::int64_t position, std::int64_t i) {
        TORCH_CHECK_INDEX(i >= 0 && i < size, "index ", i, " is out of bounds for dimension ", dim,
                          " with size ", size);
        return position + i * stride;
      });
}

// Calls f(element, other_element) over `sizes`: element is at base + position + its strides, each operand with its own strides.
template <class T, class F>
void for_each_position(IntArrayRef sizes, const Tensor& self, IntArrayRef self_strides,
                       const Tensor& positions, const Tensor& other, F f) {
  const DimVector position_strides = broadcast_strides(positions, sizes);
  const StridedLoop<3> loop(sizes, {self_strides, IntArrayRef(position_strides), other.strides()});
  loop.run([&, base = self.data<T>(), where = positions.data<std::int64_t>(), out = other.data<T>()](
               const auto& offset, std::int64_t count, const auto& step) {
    for (std::int64_t i = 0; i < count; ++i)
      f(base[offset[0] + i * step[0] + where[offset[1] + i * step[1]]], out[offset[2] + i * step[2]]);
  });
}

}  // namespace tinytorch
