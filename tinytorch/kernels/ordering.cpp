// From the lesson modules/52_order_kernels/order_kernels_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numeric>
#include <tuple>
#include <type_traits>
#include <utility>

#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/kernels/elementwise.h"
#include "tinytorch/kernels/parallel.h"

namespace tinytorch {

namespace {
// Bits whose order as unsigned numbers is that of sort: NaN last, both zeros the same.
template <class T>
auto ordered_bits(T x) {
  using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(x)) return ~Bits{0};
    const Bits bits = std::bit_cast<Bits>(x == 0 ? T{0} : x), sign = Bits{1} << (sizeof(T) * 8 - 1);
    return (bits & sign) != 0 ? ~bits : bits | sign;
  } else {
    return static_cast<Bits>(static_cast<Bits>(x) ^ (Bits{1} << (sizeof(Bits) * 8 - 1)));
  }
}

template <class Bits>
struct Numbered {
  Bits bits, position;
  bool operator<(const Numbered& other) const { return bits != other.bits ? bits < other.bits : position < other.position; }
};

// By the bits; equal ones keep their order. The row ends in one of the two places, which is returned. `varies` has the bits that are not the same in all numbers. O(n) for each byte that varies.
template <class Bits>
Numbered<Bits>* radix_sort(Numbered<Bits>* row, Numbered<Bits>* other, std::int64_t size, Bits varies) {
  for (std::size_t shift = 0; shift < 8 * sizeof(Bits); shift += 8) {
    if ((varies >> shift & 255) == 0) continue;
    std::array<std::size_t, 256> places{};
    for (std::int64_t i = 0; i < size; ++i) ++places[row[i].bits >> shift & 255];
    std::exclusive_scan(places.begin(), places.end(), places.begin(), std::size_t{0});
    for (std::int64_t i = 0; i < size; ++i) other[places[row[i].bits >> shift & 255]++] = row[i];
    std::swap(row, other);
  }
  return row;
}

// The first k by insertion: most of a long row are behind the k-th so far, which takes one comparison.
template <class T, class Bits>
void keep_first(const T* from, std::int64_t size, std::int64_t step, std::int64_t k, Bits flip, Numbered<Bits>* first) {
  for (std::int64_t j = 0; j < size; ++j) {
    const auto bits = static_cast<Bits>(ordered_bits(from[j * step]) ^ flip);
    if (j >= k && bits >= first[k - 1].bits) continue;
    std::int64_t at = std::min(j, k - 1);
    for (; at > 0 && bits < first[at - 1].bits; --at) first[at] = first[at - 1];
    first[at] = {bits, static_cast<Bits>(j)};
  }
}

constexpr std::int64_t kRadixFrom = 256, kInsertUpTo = 64, kCountFrom = 64;

// The first k in order, in one of the two places, each with room for `size`.
template <class T, class Bits>
const Numbered<Bits>* order_row(const T* from, std::int64_t size, std::int64_t step, std::int64_t k, Bits flip, Numbered<Bits>* row, Numbered<Bits>* other) {
  if (k <= kInsertUpTo && k <= size / 16) {
    keep_first(from, size, step, k, flip, row);
    return row;
  }
  Bits varies = 0;
  for (std::int64_t j = 0; j < size; ++j) {
    const auto bits = static_cast<Bits>(ordered_bits(from[j * step]) ^ flip);
    row[j] = {bits, static_cast<Bits>(j)};
    varies |= bits ^ row[0].bits;
  }
  if (size >= kRadixFrom) return radix_sort(row, other, size, varies);
  std::partial_sort(row, row + k, row + size);
  return row;
}

// The first k of each row (outer, size, inner) along the middle, and where they were.
template <class T>
void order_rows(const T* x, std::int64_t outer, std::int64_t size, std::int64_t inner, std::int64_t k, bool descending, T* values, std::int64_t* indices) {
  using Bits = decltype(ordered_bits(T{}));
  const Bits flip = descending ? ~Bits{0} : Bits{0};
  parallel_for(0, outer * inner, std::max<std::int64_t>(1, kernels::kElementwiseGrain / (8 * size)), [=](std::int64_t first, std::int64_t stop) {
    const Tensor room = empty({2 * size * static_cast<std::int64_t>(sizeof(Numbered<Bits>))}, kByte);
    auto* const row = static_cast<Numbered<Bits>*>(room.data_ptr());
    for (std::int64_t i = first; i < stop; ++i) {
      const T* const from = x + i / inner * size * inner + i % inner;
      const std::int64_t to = i / inner * k * inner + i % inner;
      const Numbered<Bits>* const sorted = order_row(from, size, inner, k, flip, row, row + size);
      for (std::int64_t j = 0; j < k; ++j) {
        const auto position = static_cast<std::int64_t>(sorted[j].position);
        values[to + j * inner] = from[position * inner];
        indices[to + j * inner] = position;
      }
    }
  });
}

// All of each row of bytes, of which there are 256: how many there are of each says where each begins.
template <class T>
void order_bytes(const T* x, std::int64_t outer, std::int64_t size, std::int64_t inner, bool descending, T* values, std::int64_t* indices) {
  const std::size_t flip = (std::is_signed_v<T> ? 128U : 0U) ^ (descending ? 255U : 0U);
  const auto key_of = [flip](T number) { return static_cast<std::size_t>(static_cast<std::uint8_t>(number)) ^ flip; };
  parallel_for(0, outer * inner, std::max<std::int64_t>(1, kernels::kElementwiseGrain / (2 * size)), [=](std::int64_t first, std::int64_t stop) {
    for (std::int64_t i = first; i < stop; ++i) {
      const std::int64_t at = i / inner * size * inner + i % inner;
      std::array<std::int64_t, 256> places{};
      for (std::int64_t j = 0; j < size; ++j) ++places[key_of(x[at + j * inner])];
      std::exclusive_scan(places.begin(), places.end(), places.begin(), std::int64_t{0});
      for (std::int64_t j = 0; j < size; ++j) {
        const std::int64_t to = at + places[key_of(x[at + j * inner])]++ * inner;
        values[to] = x[at + j * inner];
        indices[to] = j;
      }
    }
  });
}

// Undefined tensors where the reference shall do it.
std::tuple<Tensor, Tensor> ordered(const Tensor& self, std::int64_t dim, std::int64_t k, bool descending) {
  const ScalarType type = self.scalar_type();
  const bool has_kernel = type != kHalf && type != kBFloat16;
  if (!has_kernel || self.dim() == 0 || self.numel() == 0 || k == 0 || self.size(dim) > std::numeric_limits<std::int32_t>::max()) return {};
  const Tensor x = self.contiguous();
  // Not the stride: that of a dimension of size 1 may be anything.
  const std::int64_t size = x.size(dim), inner = multiply_sizes(x.sizes().slice(static_cast<std::size_t>(dim) + 1));
  DimVector sizes(x.sizes());
  sizes[static_cast<std::size_t>(dim)] = k;
  const Tensor values = empty(sizes, type), indices = empty(sizes, kLong);
  dispatch_all_types(type, [&]<class T>() {
    const std::int64_t outer = x.numel() / (size * inner);
    if constexpr (sizeof(T) == 1)
      if (k == size && size >= kCountFrom) return order_bytes(x.data<T>(), outer, size, inner, descending, values.data<T>(), indices.data<std::int64_t>());
    order_rows(x.data<T>(), outer, size, inner, k, descending, values.data<T>(), indices.data<std::int64_t>());
  });
  return {values, indices};
}

std::tuple<Tensor, Tensor> sort_tuned(const Tensor& self, std::int64_t dim, bool descending) {
  auto result = ordered(self, dim, self.dim() == 0 ? 1 : self.size(dim), descending);
  return std::get<0>(result).defined() ? result : op::sort.function(Layer::CPU)(self, dim, descending);
}

std::tuple<Tensor, Tensor> topk_tuned(const Tensor& self, std::int64_t k, std::int64_t dim, bool largest, bool sorted) {
  auto result = ordered(self, dim, k, largest);
  return std::get<0>(result).defined() ? result : op::topk.function(Layer::CPU)(self, k, dim, largest, sorted);
}
}  // namespace

void register_tuned_ordering() {
  op::sort.set(Layer::TunedCPU, sort_tuned);
  op::topk.set(Layer::TunedCPU, topk_tuned);
}

}  // namespace tinytorch
