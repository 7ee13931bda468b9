// From the lesson modules/58_text_extras/text_extras_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/arg.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/dropout.h"
#include "tinytorch/nn/positions.h"

namespace tinytorch {

namespace nn {

struct PositionalEncodingOptions {
  PositionalEncodingOptions(std::int64_t embedding_dim, std::int64_t max_length = 5000)
      : embedding_dim_(embedding_dim), max_length_(max_length) {}
  TORCH_ARG(std::int64_t, embedding_dim);
  TORCH_ARG(std::int64_t, max_length);
  TORCH_ARG(double, dropout) = 0.0;
};

// dropout(x + sinusoids) for x (..., T, D), whose row t stands at position offset + t. The table is a buffer and is not trained.
// Throws IndexError if offset + T goes beyond max_length.
class PositionalEncodingImpl : public Cloneable<PositionalEncodingImpl> {
 public:
  explicit PositionalEncodingImpl(const PositionalEncodingOptions& options_);
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& x, std::int64_t offset = 0);

  PositionalEncodingOptions options;
  Tensor table;  // (max_length, embedding_dim)
};
TORCH_MODULE(PositionalEncoding);

// x + P[offset .. offset + T) for x (..., T, D), with a trained table P, born normal (0, 0.02) as GPT-2's. Throws IndexError if
// offset + T goes beyond max_length: a learned table knows nothing of later positions.
class LearnedPositionsImpl : public Cloneable<LearnedPositionsImpl> {
 public:
  LearnedPositionsImpl(std::int64_t max_length, std::int64_t embedding_dim);
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& x, std::int64_t offset = 0);

  Tensor weight;  // (max_length, embedding_dim)

 private:
  std::int64_t max_length_;
  std::int64_t embedding_dim_;
};
TORCH_MODULE(LearnedPositions);

}  // namespace nn

}  // namespace tinytorch
