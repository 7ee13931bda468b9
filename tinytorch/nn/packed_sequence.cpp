// From the lesson modules/54_recurrent/recurrent_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/packed_sequence.h"

#include <algorithm>
#include <utility>

#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"

namespace tinytorch {

namespace {

using Lengths = std::vector<std::int64_t>;

Lengths numbers_of(const Tensor& tensor) {
  const Tensor values = tensor.contiguous();
  const auto* const first = values.data_ptr<std::int64_t>();
  return Lengths(first, first + values.numel());
}

// Without the first dimension.
Lengths row_sizes(const Tensor& tensor) {
  TORCH_CHECK(tensor.dim() > 0, "a sequence has at least one dimension, its steps");
  return Lengths(tensor.sizes().begin() + 1, tensor.sizes().end());
}

Lengths checked_lengths(const Tensor& input, const Tensor& lengths) {
  TORCH_CHECK(input.dim() >= 2 && input.numel() > 0, "Cannot pack empty tensors.");
  TORCH_CHECK(lengths.dim() == 1 && lengths.scalar_type() == kLong, "'lengths' argument should be a 1D CPU int64 tensor, but got ", lengths.dim(), "D ", lengths.scalar_type(), " tensor");
  TORCH_CHECK(lengths.size(0) == input.size(1), "Expected `len(lengths)` to be equal to batch_size, but got ", lengths.size(0), " (batch_size=", input.size(1), ")");
  const Lengths numbers = numbers_of(lengths);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    TORCH_CHECK(numbers[i] > 0, "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0");
    TORCH_CHECK(numbers[i] <= input.size(0), "lengths[", i, "] is ", numbers[i], ", but input has ", input.size(0), " steps\n[pack_padded_sequence] is batch_first what you meant?");
    TORCH_CHECK(i == 0 || numbers[i] <= numbers[i - 1],
                "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to sidestep this requirement if you do "
                "not need ONNX exportability.");
  }
  return numbers;
}

}  // namespace

nn::utils::rnn::PackedSequence::PackedSequence(Tensor data, Tensor batch_sizes, Tensor sorted_indices, Tensor unsorted_indices)
    : data_(std::move(data)), batch_sizes_(std::move(batch_sizes)), sorted_indices_(std::move(sorted_indices)), unsorted_indices_(std::move(unsorted_indices)) {
  if (sorted_indices_.defined() && !unsorted_indices_.defined()) unsorted_indices_ = invert_permutation(sorted_indices_);
}

Tensor nn::utils::rnn::invert_permutation(const Tensor& permutation) {
  if (!permutation.defined()) return Tensor();
  return empty_like(permutation).scatter(0, permutation, arange(permutation.numel()));
}

nn::utils::rnn::PackedSequence nn::utils::rnn::pack_padded_sequence(Tensor input, Tensor lengths, bool batch_first, bool enforce_sorted) {
  if (batch_first) input = input.transpose(0, 1);
  Tensor order;
  if (!enforce_sorted) {
    TORCH_CHECK(lengths.dim() == 1 && input.dim() >= 2 && lengths.size(0) == input.size(1), "Expected `len(lengths)` to be equal to batch_size, but got ", lengths.numel(), " (batch_size=", input.size(1), ")");
    std::tie(lengths, order) = sort(lengths, 0, true);
    input = input.index_select(1, order);
  }
  const Lengths steps = checked_lengths(input, lengths);
  Lengths rows, batch_sizes;
  const std::int64_t B = input.size(1);
  for (std::int64_t t = 0; t < steps.front(); ++t) {
    std::int64_t count = 0;
    for (; count < B && steps[static_cast<std::size_t>(count)] > t; ++count) rows.push_back(t * B + count);
    batch_sizes.push_back(count);
  }
  return PackedSequence(input.flatten(0, 1).index_select(0, tensor(rows)), tensor(batch_sizes), order);
}

std::tuple<Tensor, Tensor> nn::utils::rnn::pad_packed_sequence(PackedSequence sequence, bool batch_first, double padding_value, std::optional<std::int64_t> total_length) {
  const Lengths batch_sizes = numbers_of(sequence.batch_sizes());
  const auto longest = static_cast<std::int64_t>(batch_sizes.size());
  TORCH_CHECK(!total_length || *total_length >= longest, "Expected total_length to be at least the length of the longest sequence in input, but got total_length=", total_length.value_or(0),
              " and max sequence length being ", longest);
  const Tensor& data = sequence.data();
  const std::int64_t T = total_length.value_or(longest), B = batch_sizes.front(), filling = data.size(0);
  // One row of filling stands behind the data, for all places that have no step.
  Lengths rows, lengths(static_cast<std::size_t>(B), 0);
  std::int64_t next = 0;
  for (std::int64_t t = 0; t < T; ++t)
    for (std::int64_t b = 0; b < B; ++b) {
      const bool real = t < longest && b < batch_sizes[static_cast<std::size_t>(t)];
      rows.push_back(real ? next++ : filling);
      if (real) ++lengths[static_cast<std::size_t>(b)];
    }
  DimVector one_row(data.sizes());
  one_row[0] = 1;
  DimVector sizes{T, B};
  for (const std::int64_t size : row_sizes(data)) sizes.push_back(size);
  Tensor padded = cat({data, full(one_row, padding_value, data.scalar_type())}).index_select(0, tensor(rows)).view(sizes);
  Tensor counts = tensor(lengths);
  if (sequence.unsorted_indices().defined()) {
    padded = padded.index_select(1, sequence.unsorted_indices());
    counts = counts.index_select(0, sequence.unsorted_indices());
  }
  return {batch_first ? padded.transpose(0, 1) : padded, counts};
}

Tensor nn::utils::rnn::pad_sequence(const std::vector<Tensor>& sequences, bool batch_first, double padding_value) {
  TORCH_CHECK(!sequences.empty(), "received an empty list of sequences");
  std::int64_t longest = 0;
  for (const Tensor& sequence : sequences) longest = std::max(longest, sequence.size(0));
  std::vector<Tensor> filled;
  for (const Tensor& sequence : sequences) {
    TORCH_CHECK(row_sizes(sequence) == row_sizes(sequences[0]), "The size of tensor a (", IntArrayRef(row_sizes(sequence)), ") must match the size of tensor b (", IntArrayRef(row_sizes(sequences[0])),
                ")\n[pad_sequence] sequences may differ in their first dimension only.");
    DimVector rest(sequence.sizes());
    rest[0] = longest - sequence.size(0);
    filled.push_back(cat({sequence, full(rest, padding_value, sequence.scalar_type())}));
  }
  return stack(filled, batch_first ? 0 : 1);
}

nn::utils::rnn::PackedSequence nn::utils::rnn::pack_sequence(const std::vector<Tensor>& sequences, bool enforce_sorted) {
  Lengths lengths;
  for (const Tensor& sequence : sequences) lengths.push_back(sequence.size(0));
  const Tensor padded = pad_sequence(sequences);
  return pack_padded_sequence(padded, tensor(lengths), false, enforce_sorted);
}

}  // namespace tinytorch
