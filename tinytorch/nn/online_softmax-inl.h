// From the lesson modules/11_attention/attention_dev.cpp:
// edit the module, not this file.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace tinytorch {

// What a softmax remembers of a row whose scores arrive in blocks: the largest score so far, and the sum of exp(score - maximum).
// Source: Milakov and Gimelshein, Online normalizer calculation for softmax, 2018.
template <class T>
struct OnlineSoftmax {
  T maximum = -std::numeric_limits<T>::infinity();
  T sum = 0;

  // The logarithm of the sum of exp(score); 0 for a row in which everything was hidden.
  T logsumexp() const { return sum == 0 ? T{0} : maximum + std::log(sum); }
};

// Takes the next `count` scores of a row into `state` and turns them, in place, into exp(score - the new maximum). Returns the factor by which everything that was summed with the old maximum must be
// multiplied: 1 if the maximum stayed. Hidden scores (-inf) become 0; NaN stays NaN. O(count).
template <class T>
T absorb_block(OnlineSoftmax<T>& state, T* scores, std::int64_t count) {
  T maximum = state.maximum;
  for (std::int64_t j = 0; j < count; ++j) maximum = std::max(maximum, scores[j]);
  const T subtracted = maximum == -std::numeric_limits<T>::infinity() ? T{0} : maximum;
  const T correction = std::exp(state.maximum - subtracted);
  T sum = 0;
  for (std::int64_t j = 0; j < count; ++j) {
    scores[j] = std::exp(scores[j] - subtracted);
    sum += scores[j];
  }
  state.maximum = maximum;
  state.sum = correction * state.sum + sum;
  return correction;
}

}  // namespace tinytorch
