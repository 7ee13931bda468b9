// From the lesson modules/54_recurrent/recurrent_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <optional>
#include <tuple>
#include <vector>

#include "tinytorch/core/tensor.h"

namespace tinytorch {

namespace nn::utils::rnn {

// Sequences of unequal lengths without their filling. data (sum of lengths, ...): the first steps of all sequences, longest first, then the second steps, ...; batch_sizes (T), Long: how many sequences have a step t.
// sorted_indices and unsorted_indices, Long (B), or undefined where the sequences came in falling length: the order of packing, and back. Source: torch/csrc/api/include/torch/nn/utils/rnn.h.
class PackedSequence {
 public:
  PackedSequence() = default;
  explicit PackedSequence(Tensor data, Tensor batch_sizes, Tensor sorted_indices = {}, Tensor unsorted_indices = {});
  const Tensor& data() const { return data_; }
  const Tensor& batch_sizes() const { return batch_sizes_; }
  const Tensor& sorted_indices() const { return sorted_indices_; }
  const Tensor& unsorted_indices() const { return unsorted_indices_; }

 private:
  Tensor data_, batch_sizes_, sorted_indices_, unsorted_indices_;
};

// The permutation that undoes `permutation`, Long (n). O(n).
Tensor invert_permutation(const Tensor& permutation);

// input (T, B, ...), or (B, T, ...) if batch_first, with lengths, Long (B), from 1 to T. Throws unless the lengths fall, or enforce_sorted is false: then the sequences are sorted, and pad_packed_sequence and the layers
// bring them back into their order. O(size of the result).
PackedSequence pack_padded_sequence(Tensor input, Tensor lengths, bool batch_first = false, bool enforce_sorted = true);

// The inverse: ((T, B, ...) or (B, T, ...) filled up with padding_value, lengths (B)). total_length: T, if it is to be more than the longest length. Throws if it is less.
std::tuple<Tensor, Tensor> pad_packed_sequence(PackedSequence sequence, bool batch_first = false, double padding_value = 0.0, std::optional<std::int64_t> total_length = std::nullopt);

// Sequences (T_i, ...) as one (T, B, ...) or (B, T, ...) with padding_value behind the shorter ones; and packed.
Tensor pad_sequence(const std::vector<Tensor>& sequences, bool batch_first = false, double padding_value = 0);
PackedSequence pack_sequence(const std::vector<Tensor>& sequences, bool enforce_sorted = true);

}  // namespace nn::utils::rnn

}  // namespace tinytorch
