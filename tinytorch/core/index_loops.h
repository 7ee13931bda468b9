// From the lesson modules/91_selection/selection_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/pointwise_ops.h"

namespace tinytorch {

// Adds to the Long tensor `positions` the offsets of `index` (Long, of the same sizes) along a dimension of the given size and stride. Throws for an index outside of [0,
// size).
void add_positions(const Tensor& positions, const Tensor& index, std::int64_t dim, std::int64_t size, std::int64_t stride);

// Calls f(element, other_element) over `sizes`: element is at base + position + its strides, each operand with its own strides.
template <class T, class F>
void for_each_position(IntArrayRef sizes, const Tensor& self, IntArrayRef self_strides,
                       const Tensor& positions, const Tensor& other, F f) {
  const DimVector position_strides = broadcast_strides(positions, sizes);
  const StridedLoop<3> loop(sizes, {self_strides, IntArrayRef(position_strides), other.strides()});
  loop.run([&, base = self.data<T>(), where = positions.data<std::int64_t>(), out = other.data<T>()](
               const auto& offset, std::int64_t count, const auto& step) {
    T* const element = base + offset[0];
    const std::int64_t* const position = where + offset[1];
    T* const other_element = out + offset[2];
    const std::int64_t step_0 = step[0], step_1 = step[1], step_2 = step[2];
    for (std::int64_t i = 0; i < count; ++i) f(element[i * step_0 + position[i * step_1]], other_element[i * step_2]);
  });
}

}  // namespace tinytorch
