// From the lesson modules/58_text_extras/text_extras_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "tinytorch/core/arg.h"
#include "tinytorch/core/dispatch.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/loss_modules.h"

namespace tinytorch {

TORCH_ENUM_DECLARE(Max);

namespace nn {

using EmbeddingBagMode = std::variant<enumtype::kSum, enumtype::kMean, enumtype::kMax>;

// Options of a table as EmbeddingOptions has them, and how a bag becomes one row. With include_last_offset the offsets end with the number of ids. Ids that are padding_idx are left out of their bags.
struct EmbeddingBagOptions {
  EmbeddingBagOptions(std::int64_t num_embeddings, std::int64_t embedding_dim) : num_embeddings_(num_embeddings), embedding_dim_(embedding_dim) {}
  TORCH_ARG(std::int64_t, num_embeddings);
  TORCH_ARG(std::int64_t, embedding_dim);
  TORCH_ARG(std::optional<double>, max_norm) = std::nullopt;
  TORCH_ARG(double, norm_type) = 2.0;
  TORCH_ARG(bool, scale_grad_by_freq) = false;
  TORCH_ARG(EmbeddingBagMode, mode) = kMean;
  TORCH_ARG(bool, sparse) = false;
  TORCH_ARG(Tensor, weight) = Tensor();
  TORCH_ARG(bool, include_last_offset) = false;
  TORCH_ARG(std::optional<std::int64_t>, padding_idx) = std::nullopt;
};

struct EmbeddingBagFromPretrainedOptions {
  TORCH_ARG(bool, freeze) = true;
  TORCH_ARG(std::optional<double>, max_norm) = std::nullopt;
  TORCH_ARG(double, norm_type) = 2.0;
  TORCH_ARG(bool, scale_grad_by_freq) = false;
  TORCH_ARG(EmbeddingBagMode, mode) = kMean;
  TORCH_ARG(bool, sparse) = false;
  TORCH_ARG(bool, include_last_offset) = false;
  TORCH_ARG(std::optional<std::int64_t>, padding_idx) = std::nullopt;
};

namespace functional {
struct EmbeddingBagFuncOptions {
  TORCH_ARG(Tensor, offsets) = Tensor();
  TORCH_ARG(std::optional<double>, max_norm) = std::nullopt;
  TORCH_ARG(double, norm_type) = 2.0;
  TORCH_ARG(bool, scale_grad_by_freq) = false;
  TORCH_ARG(EmbeddingBagMode, mode) = kMean;
  TORCH_ARG(bool, sparse) = false;
  TORCH_ARG(Tensor, per_sample_weights) = Tensor();
  TORCH_ARG(bool, include_last_offset) = false;
  TORCH_ARG(std::optional<std::int64_t>, padding_idx) = std::nullopt;
};

// input (n) with offsets (bags), or (bags, length) without -> (bags, D). per_sample_weights, of input's sizes, multiply the rows (sum only). Throws on what does not fit. O(n D).
// Source: torch/csrc/api/include/torch/nn/functional/embedding.h.
Tensor embedding_bag(const Tensor& input, const Tensor& weight, const EmbeddingBagFuncOptions& options = {});
}  // namespace functional
}  // namespace nn

namespace op {
// The sums or means of bags: table (V, D), ids (n) in [0, V), and bounds (bags + 1), which rise from 0 to n at most -> (bags, D). The ids of bag b stand from bounds[b] to bounds[b + 1]; those that are `left_out` do not count. An empty bag gives zeros.
// `table` of floating-point numbers, `ids` and `bounds` int64, all of them contiguous. It has no gradient. Throws IndexError for an id that names no row. O(n D).
extern Operator<Tensor(const Tensor& table, const Tensor& ids, const Tensor& bounds, bool mean, std::int64_t left_out)> sum_bags;
}  // namespace op

namespace nn {
// A trained table whose rows are summed, averaged or maximized by bags. Born normal (0, 1), its padding row zero. Source: torch/csrc/api/src/nn/modules/embedding.cpp.
class EmbeddingBagImpl : public Cloneable<EmbeddingBagImpl> {
 public:
  EmbeddingBagImpl(std::int64_t num_embeddings, std::int64_t embedding_dim);
  explicit EmbeddingBagImpl(EmbeddingBagOptions options_);
  void reset() override;
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input, const Tensor& offsets = {}, const Tensor& per_sample_weights = {});

  EmbeddingBagOptions options;
  Tensor weight;  // (num_embeddings, embedding_dim)
};

class EmbeddingBag : public ModuleHolder<EmbeddingBagImpl> {
 public:
  using ModuleHolder<EmbeddingBagImpl>::ModuleHolder;
  using Impl [[maybe_unused]] = EmbeddingBagImpl;

  // A module on an existing table (V, D), which it shares; `freeze` (the default) keeps it from being trained.
  static EmbeddingBag from_pretrained(const Tensor& embeddings, const EmbeddingBagFromPretrainedOptions& options = {});
};

}  // namespace nn

}  // namespace tinytorch
