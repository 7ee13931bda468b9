// From the lesson modules/58_text_extras/text_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/position_modules.h"

#include <ostream>

#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/init.h"

namespace tinytorch {

nn::LearnedPositionsImpl::LearnedPositionsImpl(std::int64_t max_length, std::int64_t embedding_dim) : max_length_(max_length), embedding_dim_(embedding_dim) { LearnedPositionsImpl::reset(); }

nn::PositionalEncodingImpl::PositionalEncodingImpl(const PositionalEncodingOptions& options_) : options(options_) { PositionalEncodingImpl::reset(); }

namespace {
// Rows offset .. offset + T of a table of positions, for x (..., T, D).
Tensor rows_for(const Tensor& table, const Tensor& x, std::int64_t offset) {
  TORCH_CHECK_VALUE(x.dim() >= 2 && x.size(-1) == table.size(1), "positions: expected (..., T, ", table.size(1), "), but got sizes ", x.sizes());
  const std::int64_t end = offset + x.size(-2);
  TORCH_CHECK_INDEX(offset >= 0 && end <= table.size(0), "positions: ", offset, " to ", end, " go beyond the ", table.size(0),
                    " that the table has\n[positions] cut the sequence, or make the module with a larger max_length.");
  return table.slice(0, offset, end);
}
}  // namespace

void nn::PositionalEncodingImpl::reset() {
  table = register_buffer("table", functional::sinusoidal_positions(options.max_length(), options.embedding_dim()));
}

Tensor nn::PositionalEncodingImpl::forward(const Tensor& x, std::int64_t offset) {
  return dropout(x + rows_for(table, x, offset), options.dropout(), is_training());
}

void nn::PositionalEncodingImpl::pretty_print(std::ostream& stream) const {
  stream << "tinytorch::nn::PositionalEncoding(embedding_dim=" << options.embedding_dim() << ", max_length=" << options.max_length()
         << ", dropout=" << options.dropout() << ')';
}

void nn::LearnedPositionsImpl::reset() {
  weight = register_parameter("weight", empty({max_length_, embedding_dim_}));
  init::normal_(weight, 0.0, 0.02);
}

Tensor nn::LearnedPositionsImpl::forward(const Tensor& x, std::int64_t offset) { return x + rows_for(weight, x, offset); }

void nn::LearnedPositionsImpl::pretty_print(std::ostream& stream) const {
  stream << "tinytorch::nn::LearnedPositions(max_length=" << max_length_ << ", embedding_dim=" << embedding_dim_ << ')';
}

}  // namespace tinytorch
