// From the lesson modules/50_copy_kernels/copy_kernels_dev.cpp:
// edit the module, not this file.

#include "tinytorch/kernels/copy.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "tinytorch/core/loops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/core/system_info.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/copy_kernels.h"
#include "tinytorch/kernels/gemm.h"
#include "tinytorch/kernels/half_products.h"
#include "tinytorch/kernels/parallel.h"
#include "tinytorch/kernels/rows.h"

namespace tinytorch {

namespace {
const kernels::CopyKernels& copy_table() {
  using namespace kernels;
  static constexpr const CopyKernels* tables[] = TINYTORCH_PER_CAPABILITY(copy_kernels);
  return for_capability(tables);
}

}  // namespace

std::int64_t kernels::last_cache_bytes() {
  static const std::int64_t bytes = [] {
    std::int64_t most = 0;
    for (const CacheInfo& cache : system_info().caches) most = std::max(most, cache.bytes);
    return most > 0 ? most : std::int64_t{32} << 20;
  }();
  return bytes;
}

void kernels::copy_bytes(void* to, const void* from, std::int64_t count) {
  const bool lie_alike = (reinterpret_cast<std::uintptr_t>(to) ^ reinterpret_cast<std::uintptr_t>(from)) % 32 == 0;
  if (lie_alike || count <= 2048) std::memcpy(to, from, static_cast<std::size_t>(count));
  else copy_table().bytes(to, from, count);
}

namespace {
std::byte* bytes_of(const Tensor& x) { return static_cast<std::byte*>(x.data_ptr()); }

// One run of memory.
void copy_run_of_bytes(const Tensor& to, const Tensor& from) {
  constexpr std::int64_t grain = std::int64_t{1} << 18;
  const std::int64_t bytes = to.numel() * static_cast<std::int64_t>(to.element_size());
  const auto copy = bytes > kernels::last_cache_bytes() ? copy_table().bytes_past_caches : kernels::copy_bytes;
  parallel_for(0, bytes, grain, [&](std::int64_t first, std::int64_t stop) { copy(bytes_of(to) + first, bytes_of(from) + first, stop - first); });
}

// The dimension of stride 1 in operand k; -1 if there is none.
int dense_dimension(const kernels::Rows<2>& rows, std::size_t k) {
  for (std::size_t d = rows.sizes().size(); d-- > 0;)
    if (rows.strides(k)[d] == 1) return static_cast<int>(d);
  return -1;
}

// The other dimensions, as a walk of their own.
kernels::Rows<2> without(const kernels::Rows<2>& rows, int first, int second) {
  DimVector sizes, to, from;
  for (int d = 0; d < static_cast<int>(rows.sizes().size()); ++d) {
    if (d == first || d == second) continue;
    const auto i = static_cast<std::size_t>(d);
    sizes.push_back(rows.sizes()[i]);
    to.push_back(rows.strides(0)[i]);
    from.push_back(rows.strides(1)[i]);
  }
  sizes.push_back(1);  // every element of it is a row
  to.push_back(0);
  from.push_back(0);
  return {sizes, {IntArrayRef(to), IntArrayRef(from)}, false};
}

// Rows of kLength numbers, or of one number so many times, whose first numbers are steps apart. A length that the compiler knows is a move or two, where a call for each row takes longer than the numbers.
template <class U, std::size_t kLength>
void copy_short_rows(U* to, std::int64_t to_step, const U* from, std::int64_t from_step, std::int64_t rows, bool repeats) {
  if (repeats) {
    for (std::int64_t r = 0; r < rows; ++r, to += to_step, from += from_step) std::fill_n(to, kLength, *from);
  } else {
    for (std::int64_t r = 0; r < rows; ++r, to += to_step, from += from_step) std::memcpy(to, from, kLength * sizeof(U));
  }
}

template <class U>
using ShortRows = void (*)(U* to, std::int64_t to_step, const U* from, std::int64_t from_step, std::int64_t rows, bool repeats);

// Null for other lengths.
template <class U>
ShortRows<U> short_rows(std::int64_t length) {
  switch (length) {
    case 2: return copy_short_rows<U, 2>;
    case 3: return copy_short_rows<U, 3>;
    case 4: return copy_short_rows<U, 4>;
    case 5: return copy_short_rows<U, 5>;
    case 6: return copy_short_rows<U, 6>;
    case 7: return copy_short_rows<U, 7>;
    case 8: return copy_short_rows<U, 8>;
    case 16: return copy_short_rows<U, 16>;
    default: return nullptr;
  }
}

// Rows along dimension i, in bands of rows that lie a step of another dimension apart.
template <class U>
void copy_in_bands(const kernels::Rows<2>& rows, int i, U* to, const U* from, bool repeats, ShortRows<U> copy) {
  const int last = static_cast<int>(rows.sizes().size()) - 1, k = i == last ? last - 1 : last;
  const kernels::Rows<2> planes = without(rows, i, k);
  const std::int64_t length = rows.sizes()[static_cast<std::size_t>(i)], lines = rows.sizes()[static_cast<std::size_t>(k)];
  const std::int64_t to_step = rows.strides(0)[static_cast<std::size_t>(k)], from_step = rows.strides(1)[static_cast<std::size_t>(k)];
  const std::int64_t band = std::max<std::int64_t>(1, kernels::kElementwiseGrain / length), bands = (lines + band - 1) / band;
  const std::int64_t grain = std::max<std::int64_t>(1, kernels::kElementwiseGrain / (std::min(band, lines) * length));
  parallel_for(0, planes.count() * bands, grain, [&](std::int64_t first, std::int64_t stop) {
    for (std::int64_t task = first; task < stop; ++task) {
      const std::int64_t line = task % bands * band;
      planes.run(task / bands, task / bands + 1, [&](const auto& places) {
        copy(to + places[0] + line * to_step, to_step, from + places[1] + line * from_step, from_step, std::min(band, lines - line), repeats);
      });
    }
  });
}

// Elements of type U, by their bits. Returns false, and does nothing, where no dimension is dense in `to`, or none in `from` that has no number to repeat.
template <class U>
bool copy_permuted(const Tensor& to, const Tensor& from, const kernels::BitsMover<U>& mover) {
  const DimVector from_strides = broadcast_strides(from, to.sizes());
  const kernels::Rows<2> rows(to.sizes(), {to.strides(), IntArrayRef(from_strides)});
  const int i = dense_dimension(rows, 0), j = dense_dimension(rows, 1);
  const bool repeats = i >= 0 && rows.strides(1)[static_cast<std::size_t>(i)] == 0;
  if (i < 0 || (j < 0 && !repeats)) return false;
  const kernels::Rows<2> planes = without(rows, i, repeats ? i : j);
  U* const target = static_cast<U*>(to.data_ptr());
  const U* const source = static_cast<const U*>(from.data_ptr());
  const std::int64_t length = rows.sizes()[static_cast<std::size_t>(i)];
  if (const ShortRows<U> copy = short_rows<U>(length); copy != nullptr && planes.count() > 1 && (repeats || i == j)) {
    copy_in_bands(rows, i, target, source, repeats, copy);
    return true;
  }
  if (repeats && planes.count() == 1) {
    parallel_for(0, length, kernels::kElementwiseGrain, [&](std::int64_t first, std::int64_t stop) { mover.repeat(target + first, source[0], stop - first); });
    return true;
  }
  if (repeats) {
    parallel_for(0, planes.count(), std::max<std::int64_t>(1, kernels::kElementwiseGrain / length), [&](std::int64_t first, std::int64_t stop) {
      planes.run(first, stop, [&](const auto& places) { mover.repeat(target + places[0], source[places[1]], length); });
    });
    return true;
  }
  if (i == j) {
    parallel_for(0, planes.count(), std::max<std::int64_t>(1, kernels::kElementwiseGrain / length), [&](std::int64_t first, std::int64_t stop) {
      planes.run(first, stop, [&](const auto& places) { kernels::copy_bytes(target + places[0], source + places[1], length * static_cast<std::int64_t>(sizeof(U))); });
    });
    return true;
  }
  // A task is a band of lines of the target of one plane; where no cache holds the result, a part of such a band.
  const std::int64_t lines = rows.sizes()[static_cast<std::size_t>(j)], element = sizeof(U);
  const std::int64_t to_row = rows.strides(0)[static_cast<std::size_t>(j)], from_row = rows.strides(1)[static_cast<std::size_t>(i)];
  const bool beyond_cache = to.numel() * element > kernels::cache_sizes().second;
  const std::int64_t band = beyond_cache ? kernels::kTurnedColumns : std::max<std::int64_t>(64, kernels::kElementwiseGrain / 8 / length / 64 * 64);
  const std::int64_t part = beyond_cache ? 16 * kernels::kTurnedBytes / element : length;
  const std::int64_t bands = (lines + band - 1) / band, parts = (length + part - 1) / part;
  const std::int64_t grain = std::max<std::int64_t>(1, kernels::kElementwiseGrain / (std::min(band, lines) * std::min(part, length)));
  parallel_for(0, planes.count() * bands * parts, grain, [&](std::int64_t first, std::int64_t stop) {
    const Tensor buffers = beyond_cache ? empty({2 * kernels::kTurnedBytes * kernels::kTurnedColumns}, kByte) : Tensor();
    for (std::int64_t task = first; task < stop; ++task) {
      const std::int64_t plane = task / (bands * parts), line = task / parts % bands * band, at = task % parts * part;
      planes.run(plane, plane + 1, [&](const auto& places) {
        mover.transpose(target + places[0] + line * to_row + at, to_row, source + places[1] + at * from_row + line, from_row, std::min(part, length - at), std::min(band, lines - line),
                        beyond_cache ? static_cast<U*>(buffers.data_ptr()) : nullptr);
      });
    }
  });
  return true;
}

// Numbers that lie apart in one or both: row by row, number by number.
template <class U>
void copy_apart(const Tensor& to, const Tensor& from) {
  const DimVector from_strides = broadcast_strides(from, to.sizes());
  const kernels::Rows<2> rows(to.sizes(), {to.strides(), IntArrayRef(from_strides)});
  const auto copy = [target = static_cast<U*>(to.data_ptr()), source = static_cast<const U*>(from.data_ptr()), steps = rows.steps()](const auto& places, std::int64_t first, std::int64_t stop) {
    for (std::int64_t i = first; i < stop; ++i) target[places[0] + i * steps[0]] = source[places[1] + i * steps[1]];
  };
  if (rows.count() == 1) {
    parallel_for(0, rows.length(), kernels::kElementwiseGrain, [&](std::int64_t first, std::int64_t stop) { copy(kernels::Rows<2>::Places{}, first, stop); });
    return;
  }
  parallel_for(0, rows.count(), std::max<std::int64_t>(1, kernels::kElementwiseGrain / rows.length()), [&](std::int64_t first, std::int64_t stop) {
    rows.run(first, stop, [&](const auto& places) { copy(places, 0, rows.length()); });
  });
}

template <class U>
void copy_bits(const Tensor& to, const Tensor& from, const kernels::BitsMover<U>& mover) {
  if (!copy_permuted(to, from, mover)) copy_apart<U>(to, from);
}

template <class To, class From>
bool convert_run(const Tensor& to, const Tensor& from, kernels::ConvertKernel<To, From> convert) {
  const bool reads = from.scalar_type() == scalar_type_of<From>() || (std::is_same_v<From, std::uint8_t> && from.scalar_type() == kBool);
  if (to.scalar_type() != scalar_type_of<To>() || !reads) return false;
  To* const target = to.data<To>();
  const From* const source = static_cast<const From*>(from.data_ptr());
  parallel_for(0, to.numel(), kernels::kElementwiseGrain, [&](std::int64_t first, std::int64_t stop) { convert(target + first, source + first, stop - first); });
  return true;
}

// Half and BFloat16 to float and back, by the kernels of chapter 65.
bool convert_half_run(const Tensor& to, const Tensor& from) {
  const bool widens = isReducedFloatingType(from.scalar_type());
  const Tensor& half = widens ? from : to;
  if (!isReducedFloatingType(half.scalar_type()) || (widens ? to : from).scalar_type() != kFloat) return false;
  const kernels::HalfTable& table = kernels::half_table(half.scalar_type());
  float* const floats = (widens ? to : from).data<float>();
  std::uint16_t* const bits = static_cast<std::uint16_t*>(half.data_ptr());
  parallel_for(0, to.numel(), kernels::kElementwiseGrain, [&](std::int64_t first, std::int64_t stop) {
    if (widens) table.widen(floats + first, bits + first, stop - first);
    else table.narrow(bits + first, floats + first, stop - first);
  });
  return true;
}

// Whether it was done by kernels.
bool copied(const Tensor& to, const Tensor& from) {
  const bool dense = to.is_contiguous() && from.is_contiguous() && to.sizes() == from.sizes();
  if (to.scalar_type() == from.scalar_type()) {
    if (dense) {
      copy_run_of_bytes(to, from);
      return true;
    }
    if (to.element_size() == 1) copy_apart<std::uint8_t>(to, from);
    if (to.element_size() == 2) copy_bits<std::uint16_t>(to, from, copy_table().of_2);
    if (to.element_size() == 4) copy_bits<std::uint32_t>(to, from, copy_table().of_4);
    if (to.element_size() == 8) copy_bits<std::uint64_t>(to, from, copy_table().of_8);
    return to.element_size() <= 8;
  }
  const kernels::CopyKernels& table = copy_table();
  return dense && (convert_run<float, double>(to, from, table.float_of_double) || convert_run<double, float>(to, from, table.double_of_float) ||
                   convert_run<float, std::int64_t>(to, from, table.float_of_long) || convert_run<float, std::uint8_t>(to, from, table.float_of_byte) ||
                   convert_run<float, std::int32_t>(to, from, table.float_of_int) || convert_run<std::int32_t, float>(to, from, table.int_of_float) ||
                   convert_run<std::int64_t, float>(to, from, table.long_of_float) || convert_run<std::int64_t, std::int32_t>(to, from, table.long_of_int) ||
                   convert_run<std::int32_t, std::int64_t>(to, from, table.int_of_long) || convert_run<std::int64_t, std::uint8_t>(to, from, table.long_of_byte) ||
                   convert_run<double, std::int64_t>(to, from, table.double_of_long) || convert_run<bool, float>(to, from, table.bool_of_float) ||
                   convert_run<bool, std::int64_t>(to, from, table.bool_of_long) || convert_half_run(to, from));
}
}  // namespace

void kernels::copy_elements(const Tensor& to, const Tensor& from) {
  if (to.numel() < kFewElements || !copied(to, from)) copy_into(to, from);
}

namespace {
// A copy in row order, or in self's own where it has one without gaps.
Tensor copied_tuned(const Tensor& self, ScalarType type, bool keeps_order) {
  const Tensor result = keeps_order && is_dense(self) ? empty_beside(self, self.sizes(), type) : empty(self.sizes(), type);
  kernels::copy_elements(result, self);
  return result;
}

Tensor to_dtype_tuned(const Tensor& self, ScalarType type) {
  if (self.numel() < kernels::kFewElements) return op::to_dtype.function(Layer::CPU)(self, type);
  return copied_tuned(self, type, true);
}

Tensor clone_tuned(const Tensor& self, bool keeps_order) {
  if (self.numel() < kernels::kFewElements) return op::clone.function(Layer::CPU)(self, keeps_order);
  return copied_tuned(self, self.scalar_type(), keeps_order);
}

const Tensor& copy_tuned(const Tensor& self, const Tensor& src) {
  const bool takes = self.numel() >= kernels::kFewElements && src.numel() > 0 && IntArrayRef(infer_size(self.sizes(), src.sizes())) == self.sizes() && !ranges_overlap(self, src);
  if (!takes) return op::copy_.function(Layer::CPU)(self, src);
  check_no_internal_overlap(self);
  kernels::copy_elements(self, src);
  return self;
}
}  // namespace

void register_copy_kernels() {
  op::clone.set(Layer::TunedCPU, clone_tuned);
  op::to_dtype.set(Layer::TunedCPU, to_dtype_tuned);
  op::copy_.set(Layer::TunedCPU, copy_tuned);
}

}  // namespace tinytorch
