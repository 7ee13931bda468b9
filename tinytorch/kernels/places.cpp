// From the lesson modules/80_data_kernels/data_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <optional>
#include <vector>

#include "tinytorch/core/breadth.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/pointwise_ops.h"
#include "tinytorch/kernels/bits.h"
#include "tinytorch/kernels/copy.h"
#include "tinytorch/kernels/data_kernels.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/kernels/parallel.h"

namespace tinytorch {

namespace {
constexpr std::int64_t kBlock = 1024;  // numbers whose places wait in a buffer

// Writes where flags are true, and returns how many are. REQUIRES: count <= kBlock; `places` has room for count + 1.
std::int64_t true_places(const std::uint8_t* flag, std::int64_t count, std::int32_t* places) {
  std::int64_t n = 0, i = 0;
  for (; i + 8 <= count; i += 8) {
    std::uint64_t eight;
    std::memcpy(&eight, flag + i, 8);
    if (eight == 0) continue;
    for (std::int64_t j = i; j < i + 8; ++j) {
      places[n] = static_cast<std::int32_t>(j);
      n += flag[j] != 0;
    }
  }
  for (; i < count; ++i) {
    places[n] = static_cast<std::int32_t>(i);
    n += flag[i] != 0;
  }
  return n;
}

// The coordinates of true flags [first, stop) of a tensor of these sizes.
void write_coordinates(const std::uint8_t* flag, std::int64_t first, std::int64_t stop, IntArrayRef sizes, std::int64_t* out) {
  std::array<std::int32_t, kBlock + 1> places;
  const std::size_t last = sizes.size() - 1;
  DimVector outer(last);
  for (std::int64_t i = first; i < stop;) {
    const std::int64_t row = i / sizes[last], column = i % sizes[last];
    const std::int64_t count = std::min({stop - i, sizes[last] - column, kBlock});
    for (std::size_t d = last, rest = static_cast<std::size_t>(row); d-- > 0; rest /= static_cast<std::size_t>(sizes[d])) outer[d] = static_cast<std::int64_t>(rest) % sizes[d];
    const std::int64_t found = true_places(flag + i, count, places.data());
    for (std::int64_t k = 0; k < found; ++k) {
      for (std::size_t d = 0; d < last; ++d) *out++ = outer[d];
      *out++ = column + places[static_cast<std::size_t>(k)];
    }
    i += count;
  }
}

Tensor nonzero_tuned(const Tensor& self) {
  if (self.numel() < kernels::kFewElements || self.dim() == 0) return op::nonzero.function(Layer::CPU)(self);
  const Tensor flags = (self.scalar_type() == kBool ? self : ne(self, wrapped_scalar(0))).contiguous();
  const auto* const flag = static_cast<const std::uint8_t*>(flags.data_ptr());
  const kernels::Pieces pieces{0, self.numel(), kernels::kElementwiseGrain};
  std::vector<std::int64_t> begins(static_cast<std::size_t>(pieces.count() + 1));  // where each piece writes first
  kernels::run_tasks(pieces.count(), [&](std::int64_t i) {
    begins[static_cast<std::size_t>(i + 1)] = kernels::chosen_data_kernels().of_byte.count_nonzero(flag + pieces.first(i), pieces.stop(i) - pieces.first(i));
  });
  std::partial_sum(begins.begin(), begins.end(), begins.begin());
  const Tensor result = empty({begins.back(), self.dim()}, kLong);
  kernels::run_tasks(pieces.count(), [&](std::int64_t i) {
    write_coordinates(flag, pieces.first(i), pieces.stop(i), self.sizes(), result.data<std::int64_t>() + begins[static_cast<std::size_t>(i)] * self.dim());
  });
  return result;
}
}  // namespace

namespace {
// What index tensors pick of a tensor: `inner` neighbours in memory at each of `count` places.
struct Picked {
  struct Index {
    Tensor kept;  // keeps the memory alive
    const std::int64_t* at;
    std::int64_t step, size, stride;  // of the index, and of the dimension that it indexes
  };
  std::vector<Index> indices;
  std::int64_t count = 0, inner = 1;

  // The places of indices [first, stop). Returns false, and what it wrote means nothing, if one of them is out of range.
  bool places(std::int64_t first, std::int64_t stop, std::int64_t* place) const {
    std::uint64_t signs = 0;
    std::fill_n(place, stop - first, 0);
    for (const Index& index : indices) {
      const std::int64_t* const at = index.at + first * index.step;
      const std::int64_t step = index.step;
      const auto stride = static_cast<std::uint64_t>(index.stride);
      const auto highest = static_cast<std::uint64_t>(index.size - 1);
      for (std::int64_t i = 0; i < stop - first; ++i) {
        const auto number = static_cast<std::uint64_t>(at[i * step]);
        signs |= number | (highest - number);
        place[i] = static_cast<std::int64_t>(static_cast<std::uint64_t>(place[i]) + number * stride);
      }
    }
    return static_cast<std::int64_t>(signs) >= 0;
  }
};

// Nothing where there is little to do, or the dimensions that are not indexed do not lie side by side.
std::optional<Picked> picked_from(const Tensor& self, TensorList indices) {
  Picked picked;
  picked.count = indices.front().numel();
  for (std::size_t d = self.sizes().size(); d-- > indices.size(); picked.inner *= self.sizes()[d])
    if (self.sizes()[d] != 1 && self.strides()[d] != picked.inner) return {};
  if (picked.count * picked.inner < kernels::kFewElements || self.numel() == 0) return {};
  for (std::size_t d = 0; d < indices.size(); ++d) {
    if (indices[d].scalar_type() != kLong) return {};
    const Tensor index = indices[d].dim() == 1 ? indices[d] : indices[d].contiguous();
    picked.indices.push_back({index, index.data<std::int64_t>(), index.dim() == 1 ? index.stride(0) : 1, self.sizes()[d], self.strides()[d]});
  }
  return picked;
}

// One number or a row.
template <class U>
void copy_few(U* to, const U* from, std::int64_t count) {
  if (count == 1) *to = *from;
  else kernels::copy_bytes(to, from, count * static_cast<std::int64_t>(sizeof(U)));
}

// Whether all places were in range; if not, some of `out` is missing.
template <class U>
bool read_places(const Picked& picked, const U* x, U* out) {
  std::atomic<bool> in_range = true;
  const std::int64_t grain = std::max<std::int64_t>(1, kernels::kElementwiseGrain / picked.inner);
  parallel_for(0, picked.count, grain, [&](std::int64_t begin, std::int64_t end) {
    std::array<std::int64_t, kBlock> place;
    for (std::int64_t first = begin; first < end; first += kBlock) {
      const std::int64_t stop = std::min(end, first + kBlock);
      if (!picked.places(first, stop, place.data())) {
        in_range = false;
        return;
      }
      for (std::int64_t i = first; i < stop; ++i) copy_few(out + i * picked.inner, x + place[static_cast<std::size_t>(i - first)], picked.inner);
    }
  });
  return in_range;
}

Tensor index_tuned(const Tensor& self, TensorList indices) {
  const auto hand_down = [&] { return op::index.function(Layer::CPU)(self, indices); };
  const std::optional<Picked> picked = picked_from(self, indices);
  if (!picked) return hand_down();
  DimVector sizes(indices.front().sizes());
  for (std::size_t d = indices.size(); d < self.sizes().size(); ++d) sizes.push_back(self.sizes()[d]);
  const Tensor result = empty(sizes, self.scalar_type());
  bool in_range = false;
  kernels::with_bits(self.element_size(), [&]<class U>() { in_range = read_places(*picked, static_cast<const U*>(self.data_ptr()), static_cast<U*>(result.data_ptr())); });
  return in_range ? result : hand_down();
}

// All places, or an undefined tensor if one is out of range.
Tensor all_places(const Picked& picked) {
  const Tensor places = empty({picked.count}, kLong);
  std::atomic<bool> in_range = true;
  parallel_for(0, picked.count, kernels::kElementwiseGrain, [&](std::int64_t first, std::int64_t stop) {
    if (!picked.places(first, stop, places.data<std::int64_t>() + first)) in_range = false;
  });
  return in_range ? places : Tensor();
}

bool is_growing(const std::int64_t* place, std::int64_t count) {
  std::int64_t not_more = 0;
  for (std::int64_t i = 1; i < count; ++i) not_more |= place[i] <= place[i - 1];
  return not_more == 0;
}

// f(first place, last place, first column, last column), on the threads of the pool: columns are shared, and each task goes through all places; or the places are, where they are known to differ.
template <class F>
void share_places(const Picked& picked, bool differ, F f) {
  if (differ) {
    parallel_for(0, picked.count, std::max<std::int64_t>(1, kernels::kElementwiseGrain / picked.inner), [&](std::int64_t first, std::int64_t stop) { f(first, stop, 0, picked.inner); });
  } else {
    parallel_for(0, picked.inner, std::max<std::int64_t>(64, kernels::kElementwiseGrain / picked.count), [&](std::int64_t first, std::int64_t stop) { f(0, picked.count, first, stop); });
  }
}

// x[place[i] + j] = values[i, j], or the one value that there is.
template <class U>
void write_places(const Picked& picked, const std::int64_t* place, const U* values, bool single, U* x) {
  share_places(picked, is_growing(place, picked.count), [&](std::int64_t first, std::int64_t stop, std::int64_t column, std::int64_t end) {
    for (std::int64_t i = first; i < stop; ++i) {
      if (single) std::fill_n(x + place[i] + column, end - column, *values);
      else copy_few(x + place[i] + column, values + i * picked.inner + column, end - column);
    }
  });
}

template <class T>
void add_places(const Picked& picked, const std::int64_t* place, const T* values, bool single, T* x) {
  share_places(picked, false, [&](std::int64_t first, std::int64_t stop, std::int64_t column, std::int64_t end) {
    for (std::int64_t i = first; i < stop; ++i) {
      T* const to = x + place[i];
      const T* const from = values + (single ? 0 : i * picked.inner);
      for (std::int64_t j = column; j < end; ++j) to[j] = static_cast<T>(to[j] + from[single ? 0 : j]);
    }
  });
}

// Whether all elements are one.
bool is_one_number(const Tensor& x) {
  for (std::size_t d = 0; d < x.sizes().size(); ++d)
    if (x.sizes()[d] != 1 && x.strides()[d] != 0) return false;
  return true;
}

const Tensor& index_put_tuned(const Tensor& self, TensorList indices, const Tensor& values, bool accumulate) {
  const auto hand_down = [&]() -> const Tensor& { return op::index_put_.function(Layer::CPU)(self, indices, values, accumulate); };
  const ScalarType type = self.scalar_type();
  const bool ours = values.scalar_type() == type && !values.is_alias_of(self) && (!accumulate || type == kFloat || type == kDouble || type == kLong);
  const std::optional<Picked> picked = ours ? picked_from(self, indices) : std::nullopt;
  if (!picked || std::any_of(indices.begin(), indices.end(), [&](const Tensor& index) { return index.is_alias_of(self); })) return hand_down();
  const Tensor places = all_places(*picked);
  if (!places.defined()) return hand_down();
  const bool single = is_one_number(values);
  const Tensor from = single ? values : values.contiguous();
  const std::int64_t* const place = places.data<std::int64_t>();
  if (!accumulate) {
    kernels::with_bits(self.element_size(), [&]<class U>() { write_places(*picked, place, static_cast<const U*>(from.data_ptr()), single, static_cast<U*>(self.data_ptr())); });
  } else if (type == kFloat) {
    add_places(*picked, place, from.data<float>(), single, self.data<float>());
  } else if (type == kDouble) {
    add_places(*picked, place, from.data<double>(), single, self.data<double>());
  } else {
    add_places(*picked, place, from.data<std::int64_t>(), single, self.data<std::int64_t>());
  }
  return self;
}

// The number's bits, in vectors of the machine.
const Tensor& fill_tuned(const Tensor& self, const Scalar& value) {
  if (self.numel() < kernels::kFewElements || !self.is_contiguous()) return op::fill_.function(Layer::CPU)(self, value);
  const Tensor number = empty({}, self.scalar_type());
  fill_with(number, value);
  kernels::with_bits(self.element_size(), [&]<class U>() {
    const auto fill = kernels::bits_table<U>().fill;
    U* const to = static_cast<U*>(self.data_ptr());
    const U bits = *static_cast<const U*>(number.data_ptr());
    parallel_for(0, self.numel(), kernels::kElementwiseGrain, [=](std::int64_t first, std::int64_t stop) { fill(to + first, stop - first, bits); });
  });
  return self;
}

// As bytes, whatever the dtype is.
Tensor roll_tuned(const Tensor& self, IntArrayRef behind) {
  std::size_t last = behind.size() - 1;
  while (behind[last] == 0) --last;
  const IntArrayRef sizes = self.sizes();
  std::int64_t rows = 1, length = static_cast<std::int64_t>(self.element_size());
  for (std::size_t d = 0; d < sizes.size(); ++d) (d < last ? rows : length) *= sizes[d];
  const std::int64_t first = length / sizes[last] * behind[last];  // bytes that come first
  const auto source_of = [&](std::int64_t row) {
    std::int64_t source = 0, step = 1;
    for (std::size_t d = last; d-- > 0; row /= sizes[d]) {
      const std::int64_t at = row % sizes[d] - behind[d];
      source += (at < 0 ? at + sizes[d] : at) * step;
      step *= sizes[d];
    }
    return source;
  };
  const bool rows_stay = std::all_of(behind.begin(), behind.begin() + static_cast<std::ptrdiff_t>(last), [](std::int64_t count) { return count == 0; });
  const Tensor x = self.contiguous(), result = empty(sizes, self.scalar_type());
  const auto *const from = static_cast<const std::byte*>(x.data_ptr());
  auto *const to = static_cast<std::byte*>(result.data_ptr());
  parallel_for(0, rows, std::max<std::int64_t>(1, 4 * kernels::kElementwiseGrain / std::max<std::int64_t>(1, length)), [&](std::int64_t begin, std::int64_t stop) {
    for (std::int64_t row = begin; row < stop; ++row) {
      const std::byte* const source = from + (rows_stay ? row : source_of(row)) * length;
      kernels::copy_bytes(to + row * length, source + length - first, first);
      kernels::copy_bytes(to + row * length + first, source, length - first);
    }
  });
  return result;
}

Tensor cross_tuned(const Tensor& self, const Tensor& other, std::int64_t dim) {
  const ScalarType type = self.scalar_type();
  if ((type != kFloat && type != kDouble) || other.scalar_type() != type || other.sizes() != self.sizes()) return op::cross.function(Layer::CPU)(self, other, dim);
  std::int64_t inner = 1;
  for (std::int64_t d = dim + 1; d < self.dim(); ++d) inner *= self.size(d);
  const Tensor x = self.contiguous(), y = other.contiguous(), result = empty(self.sizes(), type);
  const auto run = [&]<class T>(T) {
    parallel_for(0, self.numel() / 3, kernels::kElementwiseGrain, [=, a = x.data<T>(), b = y.data<T>(), out = result.data<T>()](std::int64_t first, std::int64_t stop) {
      const auto triple = [=](std::int64_t i, std::int64_t j, std::int64_t k) {
        out[i] = a[j] * b[k] - a[k] * b[j];
        out[j] = a[k] * b[i] - a[i] * b[k];
        out[k] = a[i] * b[j] - a[j] * b[i];
      };
      if (inner == 1)
        for (std::int64_t t = first; t < stop; ++t) triple(3 * t, 3 * t + 1, 3 * t + 2);
      else
        for (std::int64_t t = first; t < stop;) {
          const std::int64_t outer = t / inner, end = std::min(stop, (outer + 1) * inner);
          for (std::int64_t i = t + 2 * outer * inner; t < end; ++t, ++i) triple(i, i + inner, i + 2 * inner);
        }
    });
  };
  if (type == kFloat) run(float{});
  else run(double{});
  return result;
}
}  // namespace

void register_tuned_places() {
  op::roll.set(Layer::TunedCPU, roll_tuned);
  op::cross.set(Layer::TunedCPU, cross_tuned);
  op::nonzero.set(Layer::TunedCPU, nonzero_tuned);
  op::index.set(Layer::TunedCPU, index_tuned);
  op::index_put_.set(Layer::TunedCPU, index_put_tuned);
  op::fill_.set(Layer::TunedCPU, fill_tuned);
}

}  // namespace tinytorch
