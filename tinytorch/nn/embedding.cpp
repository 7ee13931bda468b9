// From the lesson modules/58_text_extras/text_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/embedding.h"

#include <ostream>
#include <utility>

#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/init.h"

namespace tinytorch {

namespace {
// `padding_idx` counted from the start; -1 for none.
std::int64_t padding_row(std::optional<std::int64_t> padding_idx, std::int64_t rows) {
  if (!padding_idx) return -1;
  TORCH_CHECK(*padding_idx >= -rows && *padding_idx < rows,
              "Padding_idx must be within num_embeddings\n[embedding] got ", *padding_idx, " for ", rows, " rows.");
  return *padding_idx < 0 ? *padding_idx + rows : *padding_idx;
}
}  // namespace

Tensor nn::functional::embedding(const Tensor& input, const Tensor& weight, const EmbeddingFuncOptions& options) {
  const std::int64_t rows = weight.dim() == 2 ? weight.size(0) : 0;
  const std::int64_t padding = padding_row(weight.dim() == 2 ? options.padding_idx() : std::nullopt, rows);
  if (options.max_norm()) {
    const NoGradGuard guard;  // the table may be a parameter
    embedding_renorm_(weight, input, *options.max_norm(), options.norm_type());
  }
  return tinytorch::embedding(weight, input, padding, options.scale_grad_by_freq(), options.sparse());
}

nn::EmbeddingImpl::EmbeddingImpl(std::int64_t num_embeddings, std::int64_t embedding_dim) : EmbeddingImpl(EmbeddingOptions(num_embeddings, embedding_dim)) {}
nn::EmbeddingImpl::EmbeddingImpl(EmbeddingOptions options_) : options(std::move(options_)) {
  EmbeddingImpl::reset();
}

void nn::EmbeddingImpl::reset() {
  const DimVector sizes{options.num_embeddings(), options.embedding_dim()};
  if (options.padding_idx()) options.padding_idx(padding_row(options.padding_idx(), options.num_embeddings()));
  const Tensor given = options.weight();
  if (!given.defined()) {
    weight = register_parameter("weight", empty({options.num_embeddings(), options.embedding_dim()}));
    reset_parameters();
    return;
  }
  TORCH_CHECK(given.sizes() == IntArrayRef(sizes),
              "Shape of weight does not match num_embeddings and embedding_dim\n[Embedding] got ", given.sizes(), " for ",
              IntArrayRef(sizes), ".");
  // A clone has a weight already, and must not share the handle that was given.
  weight = weight.defined() ? register_parameter("weight", given.detach(), weight.requires_grad())
                            : register_parameter("weight", given);
}

void nn::EmbeddingImpl::reset_parameters() {
  init::normal_(weight);
  const NoGradGuard guard;
  if (options.padding_idx()) weight[*options.padding_idx()].fill_(0);
}

Tensor nn::EmbeddingImpl::forward(const Tensor& indices) {
  return functional::embedding(indices, weight,
                               functional::EmbeddingFuncOptions()
                                   .padding_idx(options.padding_idx())
                                   .max_norm(options.max_norm())
                                   .norm_type(options.norm_type())
                                   .scale_grad_by_freq(options.scale_grad_by_freq())
                                   .sparse(options.sparse()));
}

void nn::EmbeddingImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Embedding(num_embeddings=" << options.num_embeddings()
         << ", embedding_dim=" << options.embedding_dim();
  if (options.padding_idx()) stream << ", padding_idx=" << *options.padding_idx();
  if (options.max_norm()) stream << ", max_norm=" << *options.max_norm();
  if (options.norm_type() != 2) stream << ", norm_type=" << options.norm_type();
  if (options.scale_grad_by_freq()) stream << ", scale_grad_by_freq=true";
  if (options.sparse()) stream << ", sparse=true";
  stream << ')';
}

nn::Embedding nn::Embedding::from_pretrained(const Tensor& embeddings,
                                             const EmbeddingFromPretrainedOptions& options) {
  TORCH_CHECK(embeddings.dim() == 2, "Embeddings parameter is expected to be 2-dimensional\n[from_pretrained] got sizes ",
              embeddings.sizes(), ".");
  Embedding module(EmbeddingOptions(embeddings.size(0), embeddings.size(1))
                       .weight(embeddings)
                       .padding_idx(options.padding_idx())
                       .max_norm(options.max_norm())
                       .norm_type(options.norm_type())
                       .scale_grad_by_freq(options.scale_grad_by_freq())
                       .sparse(options.sparse()));
  module->weight.requires_grad_(!options.freeze());
  return module;
}

}  // namespace tinytorch
