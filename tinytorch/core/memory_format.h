// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <ostream>

#include "tinytorch/core/array_ref.h"

namespace tinytorch {

// How a tensor shall lie in memory. Source: c10/core/MemoryFormat.h.
enum class MemoryFormat : std::int8_t { Contiguous, Preserve, ChannelsLast, ChannelsLast3d };

inline std::ostream& operator<<(std::ostream& out, MemoryFormat format) {
  constexpr const char* names[] = {"Contiguous", "Preserve", "ChannelsLast", "ChannelsLast3d"};
  return out << names[static_cast<std::size_t>(format)];
}

// Whether elements are found by strides, or only those that are not zero are kept.
enum class Layout : std::int8_t { Strided, Sparse };
inline constexpr Layout kStrided = Layout::Strided;
inline constexpr Layout kSparse = Layout::Sparse;

inline std::ostream& operator<<(std::ostream& out, Layout layout) { return out << (layout == Layout::Strided ? "Strided" : "Sparse"); }

// The strides of a dense tensor (N, C, ...) whose channels are fastest. REQUIRES: sizes of four or five dimensions. O(dims).
inline DimVector channels_last_strides(IntArrayRef sizes) {
  DimVector strides(sizes.size());
  std::int64_t step = 1;
  const auto place = [&](std::size_t dim) {
    strides[dim] = step;
    step *= sizes[dim] > 1 ? sizes[dim] : 1;
  };
  place(1);
  for (std::size_t dim = sizes.size(); dim-- > 2;) place(dim);
  place(0);
  return strides;
}

// Whether memory of these strides is dense with the channels fastest; a size of 1 may have any stride. O(dims).
inline bool is_channels_last(IntArrayRef sizes, IntArrayRef strides) {
  const DimVector expected = channels_last_strides(sizes);
  for (std::size_t i = 0; i < sizes.size(); ++i)
    if (sizes[i] != 1 && strides[i] != expected[i]) return false;
  return true;
}

}  // namespace tinytorch
