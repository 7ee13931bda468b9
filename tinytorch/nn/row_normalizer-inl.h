// From the lesson modules/02_activations/activations_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace tinytorch {

// The elements of one row of a strided tensor.
template <class T>
struct Row {
  T* data;
  std::int64_t stride;
  T& operator[](std::int64_t j) const { return data[j * stride]; }
};

// What a softmax must know of a row: its maximum, and the sum of exp(x - maximum), so that the sum of exp(x)
// is sum * exp(maximum) without ever being computed.
template <class T>
struct RowNormalizer {
  T maximum = -std::numeric_limits<T>::infinity();
  double sum = 0;

  // The logarithm of the sum of exp(x).
  T logsumexp() const { return static_cast<T>(static_cast<double>(maximum) + std::log(sum)); }
};

// The maximum of values[0], ..., values[count - 1], and the sum of exp(x - maximum) over them.
// Reads each value exactly once, in any order, and keeps O(1) memory: a row may be longer than the cache. No
// finite value overflows; -inf adds nothing; NaN or +inf makes the sum NaN. Without values, or with only
// -inf, the maximum is -inf and the sum 0. O(count).
template <class Values>
auto row_normalizer(const Values& values, std::int64_t count)
    -> RowNormalizer<std::decay_t<decltype(values[0])>> {
  RowNormalizer<std::decay_t<decltype(values[0])>> so_far;
  for (std::int64_t j = 0; j < count; ++j) {
    const auto x = values[j];
    if (x > so_far.maximum) {
      // A new maximum: the sum against the old one shrinks; the new one itself counts exp(0), or NaN if it is
      // infinite.
      so_far.sum = so_far.sum * std::exp(so_far.maximum - x) + std::exp(x - x);
      so_far.maximum = x;
    } else if (x != -std::numeric_limits<decltype(so_far.maximum)>::infinity()) {
      so_far.sum += std::exp(x - so_far.maximum);
    }
  }
  return so_far;
}

}  // namespace tinytorch
