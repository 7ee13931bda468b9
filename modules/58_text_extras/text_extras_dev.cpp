// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch-cpp
// ---

// %% [markdown]
// # Library chapter 58: More for text
//
// What models around module 10 need besides: the table of an embedding as a module with PyTorch's options, the tokenizer of BERT and its relatives, and positions as modules.
//
//     ids --nn::Embedding--> vectors --nn::PositionalEncoding--> vectors with a place
//      ^
//      +-- text::WordPieceTokenizer <-- text

// %%
//| after 10
//| export text/wordpiece.h
#include <string>
#include <string_view>
#include <utility>
#include <vector>
#include "tinytorch/core/arg.h"
#include "tinytorch/text/vocabulary.h"
//| export text/wordpiece.cpp
#include <algorithm>
#include "tinytorch/core/error.h"
#include "tinytorch/serialize/file.h"
#include "tinytorch/text/unicode.h"
//| export nn/embedding.h
#include <optional>
#include "tinytorch/core/arg.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/embedding_ops.h"
//| export nn/embedding.cpp
#include <ostream>
#include <utility>
#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/init.h"
//| export nn/embedding_bag.h
#include <cstdint>
#include <optional>
#include <variant>
#include "tinytorch/core/arg.h"
#include "tinytorch/core/dispatch.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/loss_modules.h"
//| export nn/embedding_bag.cpp
#include <algorithm>
#include <cstdint>
#include <ostream>
#include <type_traits>
#include <utility>
#include <vector>
#include "tinytorch/core/grad_mode.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/embedding.h"
#include "tinytorch/nn/init.h"
//| export nn/position_modules.h
#include "tinytorch/core/arg.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/dropout.h"
#include "tinytorch/nn/positions.h"
//| export nn/position_modules.cpp
#include <ostream>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/nn/init.h"

// %%
#include "tito/lesson.h"
#include "tito/scratch.h"
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <unistd.h>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"

// %%
namespace tinytorch {

// %%
//| lesson
using Ids = std::vector<std::int64_t>;

// %% [markdown]
// ### The table as a module
//
// The module around module 10's `embedding` owns the table. A new table holds normal numbers, with a row of zeros for
// the padding; `from_pretrained` takes a table that exists, and does not train it unless it is asked to.

// %%
//| export nn/embedding.h
namespace nn {

// Options of a table of num_embeddings rows of embedding_dim numbers; `weight`, if given, is that table.
struct EmbeddingOptions {
  EmbeddingOptions(std::int64_t num_embeddings, std::int64_t embedding_dim)
      : num_embeddings_(num_embeddings), embedding_dim_(embedding_dim) {}
  TORCH_ARG(std::int64_t, num_embeddings);
  TORCH_ARG(std::int64_t, embedding_dim);
  TORCH_ARG(std::optional<std::int64_t>, padding_idx) = std::nullopt;
  TORCH_ARG(std::optional<double>, max_norm) = std::nullopt;
  TORCH_ARG(double, norm_type) = 2.0;
  TORCH_ARG(bool, scale_grad_by_freq) = false;
  TORCH_ARG(bool, sparse) = false;
  TORCH_ARG(Tensor, weight) = Tensor();
};

struct EmbeddingFromPretrainedOptions {
  TORCH_ARG(bool, freeze) = true;
  TORCH_ARG(std::optional<std::int64_t>, padding_idx) = std::nullopt;
  TORCH_ARG(std::optional<double>, max_norm) = std::nullopt;
  TORCH_ARG(double, norm_type) = 2.0;
  TORCH_ARG(bool, scale_grad_by_freq) = false;
  TORCH_ARG(bool, sparse) = false;
};

namespace functional {
struct EmbeddingFuncOptions {
  TORCH_ARG(std::optional<std::int64_t>, padding_idx) = std::nullopt;
  TORCH_ARG(std::optional<double>, max_norm) = std::nullopt;
  TORCH_ARG(double, norm_type) = 2.0;
  TORCH_ARG(bool, scale_grad_by_freq) = false;
  TORCH_ARG(bool, sparse) = false;
};

// embedding(weight, input) with the options; a negative padding_idx counts from the end of the table. With
// max_norm the rows that are read are first shortened in place. Source:
// torch/csrc/api/include/torch/nn/functional/embedding.h.
Tensor embedding(const Tensor& input, const Tensor& weight, const EmbeddingFuncOptions& options = {});
}  // namespace functional

// A trained table: forward of indices of any shape gives their sizes + (embedding_dim). Born normal (0, 1), its
// padding row zero. Source: torch/csrc/api/src/nn/modules/embedding.cpp.
class EmbeddingImpl : public Cloneable<EmbeddingImpl> {
 public:
  EmbeddingImpl(std::int64_t num_embeddings, std::int64_t embedding_dim);
  explicit EmbeddingImpl(EmbeddingOptions options_);
  void reset() override;
  void reset_parameters();
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& indices);

  EmbeddingOptions options;
  Tensor weight;  // (num_embeddings, embedding_dim)
};

class Embedding : public ModuleHolder<EmbeddingImpl> {
 public:
  using ModuleHolder<EmbeddingImpl>::ModuleHolder;
  using Impl [[maybe_unused]] = EmbeddingImpl;

  // A module on an existing table (V, D), which it shares; `freeze` (the default) keeps it from being trained.
  static Embedding from_pretrained(const Tensor& embeddings, const EmbeddingFromPretrainedOptions& options = {});
};

}  // namespace nn

// %%
//| export nn/embedding.cpp
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

// %%
TEST_CASE("nn::Embedding: PyTorch's numbers for a seed, options, and a table that exists") {
  manual_seed(0);
  nn::Embedding table(nn::EmbeddingOptions(5, 3).padding_idx(1));
  CHECK_CLOSE(table->weight.detach(),
              tensor({{1.5410, -0.2934, -2.1788}, {0.0, 0.0, 0.0}, {0.4033, 0.8380, -0.7193},
                      {-0.4033, -0.5966, 0.1820}, {-0.8567, 1.1006, -1.0712}}), 1e-4, 1e-4);
  CHECK_EQ(table(tensor({{1, 4}})).sizes(), IntArrayRef({1, 2, 3}));
  table(tensor({1, 4, 4})).sum().backward();
  CHECK_EQ(table->weight.grad().sum({1}), tensor({0.0, 0.0, 0.0, 0.0, 6.0}));
  CHECK_EQ(table->named_parameters().keys(), std::vector<std::string>{"weight"});

  std::ostringstream text;
  text << nn::Embedding(nn::EmbeddingOptions(5, 3).padding_idx(-1).max_norm(1.5));
  CHECK_EQ(text.str(), "torch::nn::Embedding(num_embeddings=5, embedding_dim=3, padding_idx=4, max_norm=1.5)");
  CHECK_ERROR(nn::Embedding(nn::EmbeddingOptions(5, 3).padding_idx(5)), "Padding_idx must be within num_embeddings");

  const Tensor known = tensor({{3.0, 4.0}, {0.3, 0.4}});
  nn::Embedding fixed = nn::Embedding::from_pretrained(known);
  CHECK_FALSE(fixed->weight.requires_grad());
  CHECK_EQ(fixed(tensor({1})), known.slice(0, 1));
  CHECK(fixed->weight.is_alias_of(known));
  const auto copy = std::dynamic_pointer_cast<nn::EmbeddingImpl>(fixed->clone());
  CHECK_FALSE(copy->weight.is_alias_of(known));
  CHECK_EQ(copy->weight, known);
  CHECK_FALSE(copy->weight.requires_grad());
  nn::Embedding bounded = nn::Embedding::from_pretrained(known, nn::EmbeddingFromPretrainedOptions().freeze(false).max_norm(1));
  CHECK(bounded->weight.requires_grad());
  CHECK_CLOSE(bounded(tensor({0})).detach(), tensor({{0.6, 0.8}}));
  CHECK_ERROR(nn::Embedding::from_pretrained(known[0]), "Embeddings parameter is expected to be 2-dimensional");
  CHECK_ERROR(nn::Embedding(nn::EmbeddingOptions(3, 2).weight(known)), "Shape of weight does not match");
}

// %% [markdown]
// ### Bags of rows
//
// A text classifier, or a recommender that knows what somebody bought, needs no order: it takes the sum, the mean or the maximum of the rows of a *bag* of ids. Bags are not equally long, so they are given as one line of ids
// and the offset at which each begins (or, all equally long, as a matrix).
//
//     ids      1 2 4 | 5 4 3 | 2 0          offsets 0 3 3 6: the second bag, from 3 to 3, is empty
//     bag      0 0 0   2 2 2   3 3          and gives a row of zeros
//
// PyTorch's kernel adds the rows up where they lie. Here the rows are read by `embedding` and added by `index_add`, which have gradients already: it costs a copy of the rows, (ids, D), and no line of a gradient.
// Where nobody wants a gradient, as in a program that answers questions, sums and means are made where the rows lie: in the same order, so with the same bits, and without the copy. That is an operator, `sum_bags`; chapter 89 has vectors for it.

// %%
//| export nn/embedding_bag.h
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

// %%
//| export nn/embedding_bag.cpp
nn::EmbeddingBagImpl::EmbeddingBagImpl(std::int64_t num_embeddings, std::int64_t embedding_dim) : EmbeddingBagImpl(EmbeddingBagOptions(num_embeddings, embedding_dim)) {}

namespace {

const char* mode_name(const nn::EmbeddingBagMode& mode) {
  return std::holds_alternative<enumtype::kSum>(mode) ? "sum" : std::holds_alternative<enumtype::kMean>(mode) ? "mean" : "max";
}

// Where each bag begins, and behind the last one the number of ids.
Tensor bag_bounds(const Tensor& input, const nn::functional::EmbeddingBagFuncOptions& options) {
  const Tensor& offsets = options.offsets();
  if (input.dim() == 2) {
    TORCH_CHECK(!offsets.defined(), "If input is 2D, then offsets has to be null, as input is treated is a mini-batch of fixed length sequences. However, found offsets of type Tensor");
    return arange(input.size(0) + 1, kLong) * input.size(1);
  }
  TORCH_CHECK(input.dim() == 1, "input has to be 1D or 2D Tensor, but got Tensor of dimension ", input.dim());
  TORCH_CHECK(offsets.defined() && offsets.dim() == 1, "offsets has to be a 1D Tensor", offsets.defined() ? "" : " but got null");
  const Tensor begins = to_host(offsets).to(kLong).contiguous();
  const std::int64_t given = begins.numel(), *const from = begins.data_ptr<std::int64_t>();
  TORCH_CHECK(!options.include_last_offset() || given > 0, "include_last_offset: number of offset should be at least 1");
  const Tensor result = empty({options.include_last_offset() ? given : given + 1}, kLong);
  auto* const bounds = result.data_ptr<std::int64_t>();
  std::copy_n(from, given, bounds);
  if (!options.include_last_offset()) bounds[given] = input.size(0);
  TORCH_CHECK(bounds[0] == 0, "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. However, got ", bounds[0]);
  for (std::int64_t i = 1; i < result.numel(); ++i)
    TORCH_CHECK(bounds[i - 1] <= bounds[i] && bounds[i] <= input.size(0), "offsets must not fall, and not pass the end of input: offsets[", i - 1, "] is ", bounds[i - 1], " and what follows ends at ", bounds[i], " of ",
                input.size(0), " ids");
  return result;
}

// Numbers of two bytes are added up in float.
template <class T>
void sum_bags_of(const Tensor& table, const Tensor& ids, const Tensor& bounds, bool mean, std::int64_t left_out, const Tensor& result) {
  using Sum = std::conditional_t<sizeof(T) == 2, float, T>;
  const std::int64_t V = table.size(0), D = table.size(1), *const bound = bounds.data_ptr<std::int64_t>(), *const id = ids.data_ptr<std::int64_t>();
  const T* const rows = table.data_ptr<T>();
  T* const out = result.data_ptr<T>();
  std::vector<Sum> sums(static_cast<std::size_t>(D));
  for (std::int64_t bag = 0; bag < result.size(0); ++bag) {
    std::fill(sums.begin(), sums.end(), Sum{0});
    std::int64_t summed = 0;
    for (std::int64_t i = bound[bag]; i < bound[bag + 1]; ++i) {
      TORCH_CHECK_INDEX(id[i] >= 0 && id[i] < V, "index out of range in self\n[embedding_bag] found the index ", id[i], ", but the table has ", V, " rows.");
      if (id[i] == left_out) continue;
      ++summed;
      for (std::int64_t d = 0; d < D; ++d) sums[static_cast<std::size_t>(d)] += static_cast<Sum>(rows[id[i] * D + d]);
    }
    const Sum size = static_cast<Sum>(mean ? std::max<std::int64_t>(1, summed) : 1);
    for (std::int64_t d = 0; d < D; ++d) out[bag * D + d] = static_cast<T>(sums[static_cast<std::size_t>(d)] / size);
  }
}

Tensor sum_bags_cpu(const Tensor& table, const Tensor& ids, const Tensor& bounds, bool mean, std::int64_t left_out) {
  const Tensor result = empty({bounds.numel() - 1, table.size(1)}, table.scalar_type());
  const auto sum = [&]<class T>() { sum_bags_of<T>(table, ids, bounds, mean, left_out, result); };
  if (table.scalar_type() == kHalf) sum.template operator()<Half>();
  else if (table.scalar_type() == kBFloat16) sum.template operator()<BFloat16>();
  else dispatch_floating_types(table.scalar_type(), "sum_bags", sum);
  return result;
}

// Whether sum_bags does it: sums or means of rows as they are, for which nobody wants a gradient.
bool sums_bags(const Tensor& ids, const Tensor& weight, const nn::functional::EmbeddingBagFuncOptions& options) {
  const bool plain = !options.per_sample_weights().defined() && !options.max_norm() && !std::holds_alternative<enumtype::kMax>(options.mode());
  const bool numbers = weight.is_floating_point() && weight.is_contiguous() && !weight.is_elsewhere() && !ids.is_elsewhere();
  return plain && numbers && !(is_recording() && weight.requires_grad());
}

// rows (n, D), bag by bag with `counts` rows each -> (bags, D); an empty bag gives zeros.
Tensor largest_of_bags(const Tensor& rows, const std::vector<std::int64_t>& counts) {
  std::vector<Tensor> results;
  std::int64_t first = 0;
  for (const std::int64_t count : counts) {
    results.push_back(count == 0 ? zeros({rows.size(1)}, rows.scalar_type()) : std::get<0>(rows.narrow(0, first, count).max(0)));
    first += count;
  }
  return stack(results);
}

void check_embedding_bag(const Tensor& input, const nn::functional::EmbeddingBagFuncOptions& options) {
  const Tensor& weights = options.per_sample_weights();
  const bool largest = std::holds_alternative<enumtype::kMax>(options.mode());
  TORCH_CHECK(!largest || !options.scale_grad_by_freq(), "max mode does not support scaling the gradient by the frequency");
  TORCH_CHECK(!largest || !options.sparse(), "max mode does not support sparse weights");
  if (!weights.defined()) return;
  TORCH_CHECK(weights.sizes() == input.sizes(), "embedding_bag: If per_sample_weights (", weights.sizes(), ") is not null, then it must have the same shape as the input (", input.sizes(), ")");
  TORCH_CHECK(std::holds_alternative<enumtype::kSum>(options.mode()),
              "embedding_bag: per_sample_weights was not null. per_sample_weights is only supported for mode='kSum' (got mode='", mode_name(options.mode()), "').Please open a feature request on GitHub.");
}

}  // namespace

constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, bool, std::int64_t)> op::sum_bags("sum_bags", {.cpu = sum_bags_cpu});

Tensor nn::functional::embedding_bag(const Tensor& input, const Tensor& weight, const EmbeddingBagFuncOptions& options) {
  check_embedding_bag(input, options);
  const Tensor bounds = bag_bounds(input, options);
  const std::int64_t V = weight.size(0), D = weight.size(1);
  const std::optional<std::int64_t>& padding = options.padding_idx();
  TORCH_CHECK(!padding || (*padding >= -V && *padding < V), "Padding_idx must be within num_embeddings\n[embedding_bag] got ", padding.value_or(0), " for ", V, " rows.");
  const std::optional<std::int64_t> left_out = padding && *padding < 0 ? *padding + V : padding;

  const Tensor ids = input.to(kLong).contiguous().view({-1});
  if (sums_bags(ids, weight, options)) return op::sum_bags(weight, ids, bounds, std::holds_alternative<enumtype::kMean>(options.mode()), left_out.value_or(-1));

  // The places that count, the bag of each, and how many each bag has.
  const auto* const bound = bounds.data_ptr<std::int64_t>();
  std::vector<std::int64_t> places, bag_of, counts(static_cast<std::size_t>(bounds.numel() - 1), 0);
  for (std::size_t bag = 0; bag < counts.size(); ++bag)
    for (std::int64_t i = bound[bag]; i < bound[bag + 1]; ++i) {
      if (left_out && ids.data_ptr<std::int64_t>()[i] == *left_out) continue;
      places.push_back(i);
      bag_of.push_back(static_cast<std::int64_t>(bag));
      ++counts[bag];
    }
  const auto numbers = [](const std::vector<std::int64_t>& values) { return values.empty() ? zeros({0}, kLong) : tensor(values); };
  const Tensor kept = numbers(places);
  Tensor rows = functional::embedding(ids.index_select(0, kept), weight,
                                      EmbeddingFuncOptions().max_norm(options.max_norm()).norm_type(options.norm_type()).scale_grad_by_freq(options.scale_grad_by_freq()).sparse(options.sparse()));
  if (std::holds_alternative<enumtype::kMax>(options.mode())) return largest_of_bags(rows, counts);
  if (options.per_sample_weights().defined()) rows = rows * options.per_sample_weights().reshape({-1}).index_select(0, kept).unsqueeze(1);
  const Tensor sums = zeros({static_cast<std::int64_t>(counts.size()), D}, rows.scalar_type()).index_add(0, numbers(bag_of), rows);
  if (std::holds_alternative<enumtype::kSum>(options.mode())) return sums;
  return sums / numbers(counts).clamp_min(1).to(rows.scalar_type()).unsqueeze(1);
}

nn::EmbeddingBagImpl::EmbeddingBagImpl(EmbeddingBagOptions options_) : options(std::move(options_)) { EmbeddingBagImpl::reset(); }

void nn::EmbeddingBagImpl::reset() {
  const std::int64_t V = options.num_embeddings();
  if (const std::optional<std::int64_t> padding = options.padding_idx()) {
    TORCH_CHECK(*padding >= -V && *padding < V, "Padding_idx must be within num_embeddings\n[EmbeddingBag] got ", *padding, " for ", V, " rows.");
    options.padding_idx(*padding < 0 ? *padding + V : *padding);
  }
  const Tensor given = options.weight();
  if (!given.defined()) {
    weight = register_parameter("weight", empty({V, options.embedding_dim()}));
    return reset_parameters();
  }
  TORCH_CHECK(given.sizes() == IntArrayRef({V, options.embedding_dim()}), "Shape of weight does not match num_embeddings and embedding_dim\n[EmbeddingBag] got ", given.sizes(), " for [", V, ", ", options.embedding_dim(), "].");
  // A clone has a weight already, and must not share the handle that was given.
  weight = weight.defined() ? register_parameter("weight", given.detach(), weight.requires_grad()) : register_parameter("weight", given);
}

void nn::EmbeddingBagImpl::reset_parameters() {
  init::normal_(weight);
  const NoGradGuard guard;
  if (options.padding_idx()) weight[*options.padding_idx()].fill_(0);
}

Tensor nn::EmbeddingBagImpl::forward(const Tensor& input, const Tensor& offsets, const Tensor& per_sample_weights) {
  return functional::embedding_bag(input, weight,
                                   functional::EmbeddingBagFuncOptions()
                                       .offsets(offsets)
                                       .max_norm(options.max_norm())
                                       .norm_type(options.norm_type())
                                       .scale_grad_by_freq(options.scale_grad_by_freq())
                                       .mode(options.mode())
                                       .sparse(options.sparse())
                                       .per_sample_weights(per_sample_weights)
                                       .include_last_offset(options.include_last_offset())
                                       .padding_idx(options.padding_idx()));
}

void nn::EmbeddingBagImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::EmbeddingBag(num_embeddings=" << options.num_embeddings() << ", embedding_dim=" << options.embedding_dim();
  if (options.max_norm()) stream << ", max_norm=" << *options.max_norm();
  if (options.norm_type() != 2) stream << ", norm_type=" << options.norm_type();
  if (options.scale_grad_by_freq()) stream << ", scale_grad_by_freq=true";
  if (options.sparse()) stream << ", sparse=true";
  if (!std::holds_alternative<enumtype::kMean>(options.mode())) stream << ", mode=" << (std::holds_alternative<enumtype::kSum>(options.mode()) ? "kSum" : "kMax");
  if (options.include_last_offset()) stream << ", include_last_offset=true";
  if (options.padding_idx()) stream << ", padding_idx=" << *options.padding_idx();
  stream << ')';
}

nn::EmbeddingBag nn::EmbeddingBag::from_pretrained(const Tensor& embeddings, const EmbeddingBagFromPretrainedOptions& options) {
  TORCH_CHECK(embeddings.dim() == 2, "Embeddings parameter is expected to be 2-dimensional\n[from_pretrained] got sizes ", embeddings.sizes(), ".");
  EmbeddingBag module(EmbeddingBagOptions(embeddings.size(0), embeddings.size(1))
                          .weight(embeddings)
                          .max_norm(options.max_norm())
                          .norm_type(options.norm_type())
                          .scale_grad_by_freq(options.scale_grad_by_freq())
                          .mode(options.mode())
                          .sparse(options.sparse())
                          .include_last_offset(options.include_last_offset())
                          .padding_idx(options.padding_idx()));
  module->weight.requires_grad_(!options.freeze());
  return module;
}

// %%
// Recorded from PyTorch 2.15.0 in float64; the loss is the sum of the results, weighted with 1, 2, 3, ...
TEST_CASE("embedding_bag: sums, means and maxima of bags, with PyTorch's gradients") {
  namespace F = nn::functional;
  const Tensor weight = (arange(12, kDouble).view({6, 2}) * 0.5 - 2).sin().requires_grad_();
  const Tensor ids = tensor({1, 2, 4, 5, 4, 3, 2, 0}), offsets = tensor({0, 3, 3, 6});
  const auto check = [&](const F::EmbeddingBagFuncOptions& options, const std::vector<double>& expected, const std::vector<double>& gradient) {
    const Tensor result = F::embedding_bag(ids, weight, F::EmbeddingBagFuncOptions(options).offsets(offsets));
    CHECK_CLOSE(result.detach().view({-1}), tensor(expected, kDouble), 1e-13, 1e-15);
    weight.mutable_grad() = Tensor();
    (result * arange(1, 9, kDouble).view({4, 2})).sum().backward();
    CHECK_CLOSE(weight.grad().view({-1}), tensor(gradient, kDouble), 1e-13, 1e-15);
  };
  const auto of = [](const nn::EmbeddingBagMode& mode) { return F::EmbeddingBagFuncOptions().mode(mode); };
  const std::vector<double> sums = {0.0678264420177852, 0.5984721441039565, 0.0, 0.0, 1.8918884196934453, 1.245183903018391, -0.9092974268256817, -0.5180694479998514};
  check(of(kSum), sums, {7, 8, 1, 2, 8, 10, 5, 6, 6, 8, 5, 6});
  check(of(kSum).scale_grad_by_freq(true), sums, {7, 8, 1, 2, 4, 5, 5, 6, 3, 4, 5, 6});
  check(of(kMean), {0.0226088140059284, 0.19949071470131885, 0.0, 0.0, 0.6306294732311485, 0.41506130100613037, -0.45464871341284085, -0.2590347239999257},
        {3.5, 4.0, 1 / 3.0, 2 / 3.0, 23 / 6.0, 14 / 3.0, 5 / 3.0, 2.0, 2.0, 8 / 3.0, 5 / 3.0, 2.0});
  check(of(kMax), {0.9092974268256817, 0.5984721441039565, 0.0, 0.0, 0.9092974268256817, 0.9974949866040544, 0.0, 0.479425538604203}, {0, 0, 0, 0, 7, 8, 0, 6, 6, 2, 0, 0});
  check(of(kMean).padding_idx(4), {-0.42073549240394825, 0.0, 0.0, 0.0, 0.4912954964338819, 0.32335587945721733, -0.45464871341284085, -0.2590347239999257},
        {3.5, 4.0, 0.5, 1.0, 4.0, 5.0, 2.5, 3.0, 0.0, 0.0, 2.5, 3.0});
  const Tensor each = linspace(0.5, 2, 8, kDouble).requires_grad_();
  check(of(kSum).per_sample_weights(each), {0.4236121182198991, 0.6584581777974319, 0.0, 0.0, 2.7176380646013962, 1.9788092000164612, -1.8185948536513634, -1.1388729399863178},
        {14.0, 16.0, 0.5, 1.0, 13.214285714285715, 15.714285714285715, 7.857142857142857, 9.428571428571429, 7.714285714285714, 10.0, 5.7142857142857135, 6.857142857142857});
  CHECK_CLOSE(each.grad(), tensor({-1.8003220620163025, 0.958851077208406, 2.106241715033595, -1.3990993258383828, 8.137319998752147, 10.192324843663808, 3.835404308833624, -14.345041880612207}, kDouble), 1e-13, 1e-15);

  CHECK_EQ(F::embedding_bag(ids, weight, of(kSum).offsets(tensor({0, 3, 3, 6, 8})).include_last_offset(true)), F::embedding_bag(ids, weight, of(kSum).offsets(offsets)));
  CHECK_EQ(F::embedding_bag(ids.view({2, 4}), weight, of(kMax)), F::embedding_bag(ids, weight, of(kMax).offsets(tensor({0, 4}))));

  CHECK_ERROR(F::embedding_bag(ids, weight), "offsets has to be a 1D Tensor but got null");
  CHECK_ERROR(F::embedding_bag(ids.view({2, 4}), weight, of(kSum).offsets(offsets)), "If input is 2D, then offsets has to be null");
  CHECK_ERROR(F::embedding_bag(ids, weight, of(kSum).offsets(tensor({1, 3}))), "offsets[0] has to be 0");
  CHECK_ERROR(F::embedding_bag(ids, weight, of(kSum).offsets(tensor({0, 9}))), "offsets must not fall, and not pass the end of input");
  CHECK_ERROR(F::embedding_bag(ids, weight, of(kMean).offsets(offsets).per_sample_weights(each)), "per_sample_weights is only supported for mode='kSum' (got mode='mean')");
  CHECK_ERROR(F::embedding_bag(ids, weight, of(kMax).offsets(offsets).scale_grad_by_freq(true)), "max mode does not support scaling the gradient by the frequency");
  CHECK_ERROR(F::embedding_bag(tensor({1, 6}), weight, of(kSum).offsets(tensor({0}))), "index out of range in self");
}

TEST_CASE("embedding_bag: without a gradient the same bits, straight from the table") {
  namespace F = nn::functional;
  manual_seed(581);
  for (const ScalarType type : {kFloat, kDouble})
    for (const std::int64_t D : {1, 5, 16, 39, 64}) {
      const Tensor weight = randn({30, D}, type).requires_grad_(), ids = randint(0, 30, {200}, kLong), offsets = tensor({0, 3, 3, 10, 90, 200});
      weight.detach()[29].fill_(std::nan(""));
      for (const nn::EmbeddingBagMode& mode : {nn::EmbeddingBagMode(kSum), nn::EmbeddingBagMode(kMean)})
        for (const std::int64_t padding : {-31, 4, -1}) {
          auto options = F::EmbeddingBagFuncOptions().mode(mode).offsets(offsets);
          if (padding >= -30) options.padding_idx(padding);
          const Tensor recorded = F::embedding_bag(ids, weight, options).detach();
          CHECK_EQ(F::embedding_bag(ids, weight.detach(), options).nan_to_num(7), recorded.nan_to_num(7));
          CHECK_EQ(F::embedding_bag(ids.to(kInt), weight.detach(), options).nan_to_num(7), recorded.nan_to_num(7));
          CHECK_EQ(F::embedding_bag(ids, weight.detach().t().contiguous().t(), options).nan_to_num(7), recorded.nan_to_num(7));
        }
      for (const ScalarType half : {kHalf, kBFloat16}) {  // added up in float, and rounded once
        const Tensor rounded = weight.detach().to(half);
        CHECK_EQ(F::embedding_bag(ids, rounded, F::EmbeddingBagFuncOptions().offsets(offsets)).nan_to_num(7), F::embedding_bag(ids, rounded.to(kFloat), F::EmbeddingBagFuncOptions().offsets(offsets)).to(half).nan_to_num(7));
      }
      CHECK_EQ(F::embedding_bag(ids.slice(0, 0, 0).view({0, 4}), weight.detach(), F::EmbeddingBagFuncOptions().mode(kSum)).sizes(), IntArrayRef({0, D}));
      CHECK_ERROR(F::embedding_bag(tensor({1, 30}), weight.detach(), F::EmbeddingBagFuncOptions().mode(kSum).offsets(tensor({0}))), "index out of range in self");
    }
}

TEST_CASE("nn::EmbeddingBag: a module with its table, printing, a table that exists") {
  manual_seed(0);
  nn::EmbeddingBag bag(nn::EmbeddingBagOptions(5, 3).mode(kSum).padding_idx(-1));
  manual_seed(0);
  const nn::Embedding table(nn::EmbeddingOptions(5, 3).padding_idx(4));
  CHECK_EQ(bag->weight.detach(), table->weight.detach());
  CHECK_CLOSE(bag(tensor({0, 4, 1}), tensor({0, 2})).detach(), table->weight.detach().narrow(0, 0, 2));
  CHECK_EQ(bag->named_parameters().keys(), std::vector<std::string>{"weight"});
  std::ostringstream text;
  text << bag;
  CHECK_EQ(text.str(), "torch::nn::EmbeddingBag(num_embeddings=5, embedding_dim=3, mode=kSum, padding_idx=4)");
  const Tensor known = tensor({{3.0, 4.0}, {1.0, 0.0}});
  nn::EmbeddingBag fixed = nn::EmbeddingBag::from_pretrained(known);
  CHECK_FALSE(fixed->weight.requires_grad());
  CHECK_EQ(fixed(tensor({{0, 1}})), tensor({{2.0, 2.0}}));
  CHECK_ERROR(nn::EmbeddingBag(nn::EmbeddingBagOptions(5, 3).padding_idx(5)), "Padding_idx must be within num_embeddings");
  CHECK_ERROR(nn::EmbeddingBag(nn::EmbeddingBagOptions(3, 2).weight(known)), "Shape of weight does not match");
}

// %% [markdown]
// ### WordPiece, for BERT
//
// BERT's vocabulary was made in another way (Schuster and Nakajima 2012) and is applied in another: no merges, only a list of
// pieces. A word is cut from the left, each time by the longest piece that fits; pieces inside a word are written with `##`.
//
//       tokenization     token ##ization            "tokenization" is no piece; "token" is the longest that begins it
//       xylophonique     [UNK]                      some rest fits no piece: the whole word is unknown
//
// Before that, text is made uniform: control characters go, Chinese characters stand alone, and for "uncased" models accents and
// capitals go too. So WordPiece is no round trip: `Café` comes back as `cafe`. It was made for understanding, not for writing.

// %%
//| export text/wordpiece.h
namespace text {

struct WordPieceOptions {
  TORCH_ARG(bool, lower_case) = true;  // for "uncased" vocabularies: lower case, and no accents
  TORCH_ARG(std::string, unknown) = "[UNK]";
  TORCH_ARG(std::int64_t, max_characters) = 100;  // a longer word is unknown
};

// The words that BERT's tokenizer sees: separated by white space, with punctuation and Chinese characters on their own, without
// control characters; in lower case and without accents if asked. O(size). Source: google-research/bert, tokenization.py.
std::vector<std::string> basic_words(std::string_view text, bool lower_case);
// The longest pieces of `word` from the left; those inside the word have "##" before them in the vocabulary. Nothing if they cannot
// cover the word. O(n^2) look-ups for n characters.
std::optional<std::vector<std::int64_t>> longest_pieces(std::string_view word, const Vocabulary& vocabulary);

// What a BERT model takes: ids, and for each 0 in the first text and 1 in the second.
struct BertInput {
  std::vector<std::int64_t> input_ids;
  std::vector<std::int64_t> token_type_ids;
};

// BERT's tokenizer, for a list of pieces (vocab.txt). [CLS], [SEP], [MASK], [PAD] and the unknown token are kept whole where they
// stand in a text.
class WordPieceTokenizer : public Tokenizer {
 public:
  // Throws ValueError if the unknown token is not in the vocabulary.
  explicit WordPieceTokenizer(const std::vector<std::string>& tokens, const WordPieceOptions& options = {});
  // vocab.txt: one piece in each line. Throws Error if it cannot be read.
  static WordPieceTokenizer from_file(const std::string& vocab_txt, const WordPieceOptions& options = {});

  // The pieces of the text, without [CLS] and [SEP].
  std::vector<std::int64_t> encode(std::string_view text) const override;
  // [CLS] text [SEP], or [CLS] text [SEP] second [SEP]. Throws ValueError if the vocabulary lacks these.
  BertInput bert_input(std::string_view text, std::optional<std::string_view> second = std::nullopt) const;
  // The words with spaces between them: not the text that was encoded.
  std::string decode(IntArrayRef ids) const override;
  std::int64_t vocab_size() const override { return vocabulary_.size(); }
  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  Vocabulary vocabulary_;
  WordPieceOptions options_;
  std::int64_t unknown_;
  std::vector<std::pair<std::string, std::int64_t>> special_;
};

}  // namespace text

// %%
//| export text/wordpiece.cpp
// The longest pieces of `word` from the left; those inside the word have "##" before them in the vocabulary. Nothing if they cannot
// cover the word. O(n^2) look-ups for n characters.
std::optional<std::vector<std::int64_t>> text::longest_pieces(std::string_view word, const Vocabulary& vocabulary) {
  std::vector<std::int64_t> pieces;
  std::string piece;
  for (std::size_t begin = 0; begin < word.size();) {
    std::size_t end = word.size();
    std::optional<std::int64_t> id;
    while (end > begin) {
      piece = begin > 0 ? "##" : "";
      piece += word.substr(begin, end - begin);
      id = vocabulary.find(piece);
      if (id) break;
      --end;
      while (end > begin && (word[end] & 0xc0) == 0x80) --end;
    }
    if (!id) return std::nullopt;
    pieces.push_back(*id);
    begin = end;
  }
  return pieces;
}

// %%
TEST_CASE("longest_pieces: the longest piece first, ## inside a word, all or nothing") {
  const text::Vocabulary pieces({"un", "##aff", "##able", "##a", "able", "u", "caf", "##\u00e9", "##\u00e9s", "\u00e9"});
  CHECK_EQ(*text::longest_pieces("unaffable", pieces), Ids{0, 1, 2});
  CHECK_EQ(*text::longest_pieces("able", pieces), Ids{4});
  CHECK_EQ(*text::longest_pieces("caf\u00e9s", pieces), Ids{6, 8});
  CHECK_EQ(*text::longest_pieces("ua", pieces), Ids{5, 3});
  CHECK_FALSE(text::longest_pieces("unable!", pieces).has_value());
  CHECK_FALSE(text::longest_pieces("unfair", pieces).has_value());
  CHECK_EQ(*text::longest_pieces("", pieces), Ids{});
  CHECK_EQ(*text::longest_pieces("\u00e9a", pieces), Ids{9, 3});
  CHECK_FALSE(text::longest_pieces("\u00e8", pieces).has_value());
}

// %% [markdown]
// The words that are cut, and the tokenizer around both.
//
//       "Café-bar, 東京!"  -->  cafe  -  bar  ,  東  京  !            basic_words, in lower case

// %%
//| export text/wordpiece.cpp
namespace {
// The blocks that BERT treats as Chinese.
bool is_ideograph(char32_t c) {
  return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
         (c >= 0x2a700 && c <= 0x2b73f) || (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b820 && c <= 0x2ceaf) ||
         (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

// Punctuation, and all of ASCII that is neither letter nor number nor space: $ + < = > ^ ` | ~ too.
bool is_separate(char32_t c) {
  if (c < 0x80) return c > ' ' && c < 0x7f && text::char_class(c) != text::CharClass::Letter && text::char_class(c) != text::CharClass::Number;
  return text::char_class(c) == text::CharClass::Punctuation;
}

// Control characters, and what stands for damaged text, go; other white space counts as a space.
bool is_dropped(char32_t c) {
  const bool line_control = c == 0x0b || c == 0x0c || c == 0x85;  // of class Space, but controls to BERT
  return c == 0xfffd || line_control || text::char_class(c) == text::CharClass::Control;
}
}  // namespace

std::vector<std::string> text::basic_words(std::string_view text, bool lower_case) {
  // Make the text uniform.
  std::u32string uniform;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = decode_at(text, at);
    at += c.length;
    if (is_dropped(c.value)) continue;
    const bool alone = is_ideograph(c.value);
    if (alone) uniform += U' ';
    if (lower_case) {
      append_base(uniform, c.value);
    } else {
      uniform += c.value;
    }
    if (alone) uniform += U' ';
  }
  if (lower_case)
    for (char32_t& c : uniform) c = tinytorch::text::lower_case(c);
  // Cut it.
  std::vector<std::string> words;
  bool inside = false;
  for (const char32_t c : uniform) {
    const bool space = char_class(c) == CharClass::Space;
    const bool alone = !space && is_separate(c);
    if (!space) {
      if (!inside || alone) words.emplace_back();
      append_utf8(words.back(), c);
    }
    inside = !space && !alone;
  }
  return words;
}

text::WordPieceTokenizer::WordPieceTokenizer(const std::vector<std::string>& tokens, const WordPieceOptions& options)
    : vocabulary_(tokens), options_(options), unknown_(vocabulary_.find(options.unknown()).value_or(-1)) {
  TORCH_CHECK_VALUE(unknown_ >= 0, "the vocabulary has no token \"", options.unknown(),
                    "\" for unknown words\n[WordPieceTokenizer] name it by WordPieceOptions().unknown(...).");
  for (const std::string& token : {options.unknown(), std::string("[CLS]"), std::string("[SEP]"), std::string("[PAD]"), std::string("[MASK]")})
    if (const auto id = vocabulary_.find(token)) special_.emplace_back(token, *id);
}

text::WordPieceTokenizer text::WordPieceTokenizer::from_file(const std::string& vocab_txt, const WordPieceOptions& options) {
  const std::string bytes = serialize::read_file(vocab_txt);
  std::vector<std::string> tokens;
  for (std::size_t begin = 0; begin < bytes.size();) {
    const std::size_t end = std::min(bytes.find('\n', begin), bytes.size());
    std::string_view line = std::string_view(bytes).substr(begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    tokens.emplace_back(line);
    begin = end + 1;
  }
  try {
    return WordPieceTokenizer(tokens, options);
  } catch (Error& error) {
    error.add_context("while reading " + vocab_txt);
    throw;
  }
}

std::vector<std::int64_t> text::WordPieceTokenizer::encode(std::string_view text) const {
  std::vector<std::int64_t> ids;
  split_at_special(text, special_, [&](std::string_view part, std::int64_t special) {
    if (special >= 0) {
      ids.push_back(special);
      return;
    }
    for (const std::string& word : basic_words(part, options_.lower_case())) {
      const auto characters = std::count_if(word.begin(), word.end(), [](char c) { return (c & 0xc0) != 0x80; });
      const auto pieces = characters > options_.max_characters() ? std::nullopt : longest_pieces(word, vocabulary_);
      if (pieces) {
        ids.insert(ids.end(), pieces->begin(), pieces->end());
      } else {
        ids.push_back(unknown_);
      }
    }
  });
  return ids;
}

text::BertInput text::WordPieceTokenizer::bert_input(std::string_view text, std::optional<std::string_view> second) const {
  const auto cls = vocabulary_.find("[CLS]");
  const auto sep = vocabulary_.find("[SEP]");
  TORCH_CHECK_VALUE(cls && sep, "the vocabulary has no [CLS] or no [SEP]\n[bert_input] BERT's vocabularies have both; encode() gives the pieces alone.");
  BertInput input{{*cls}, {0}};
  const auto append = [&](std::vector<std::int64_t> ids, std::int64_t type) {
    ids.push_back(*sep);
    input.input_ids.insert(input.input_ids.end(), ids.begin(), ids.end());
    input.token_type_ids.insert(input.token_type_ids.end(), ids.size(), type);
  };
  append(encode(text), 0);
  if (second) append(encode(*second), 1);
  return input;
}

std::string text::WordPieceTokenizer::decode(IntArrayRef ids) const {
  std::string out;
  for (const std::int64_t id : ids) {
    const std::string& piece = vocabulary_.token(id);
    if (piece.starts_with("##") && !out.empty()) {
      out += piece.substr(2);
    } else {
      out += (out.empty() ? "" : " ") + piece;
    }
  }
  return out;
}

// %%
TEST_CASE("WordPieceTokenizer: uniform words, pieces, unknown words, BERT's input") {
  using Words = std::vector<std::string>;
  CHECK_EQ(text::basic_words("Caf\u00e9-bar,  \u6771\u4eac!", true), Words{"cafe", "-", "bar", ",", "\u6771", "\u4eac", "!"});
  CHECK_EQ(text::basic_words("Caf\u00e9\u200b \tA\u0301$5\n", false), Words{"Caf\u00e9", "A\u0301", "$", "5"});
  CHECK_EQ(text::basic_words("\u0130stanbul a\xff\u0085z \u00a0", true), Words{"istanbul", "az"});
  const tito::Scratch folder;
  const auto bert = text::WordPieceTokenizer::from_file(
      folder.write("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\n##s\nworld\n!\nun\n##able\n"));
  CHECK_EQ(bert.encode("Hello, worlds!"), Ids{5, 1, 7, 6, 8});
  CHECK_EQ(bert.encode("H\u00e9llo [MASK] unables"), Ids{5, 4, 9, 10, 6});
  CHECK_EQ(bert.decode({5, 7, 6, 8}), "hello worlds !");
  const text::BertInput pair = bert.bert_input("hello", "world !");
  CHECK_EQ(pair.input_ids, Ids{2, 5, 3, 7, 8, 3});
  CHECK_EQ(pair.token_type_ids, Ids{0, 0, 0, 1, 1, 1});
  CHECK_EQ(bert.encode(std::string(101, 's')), Ids{1});
  CHECK_ERROR(text::WordPieceTokenizer(std::vector<std::string>{"a"}), "the vocabulary has no token \"[UNK]\"");
  CHECK_ERROR(text::WordPieceTokenizer::from_file(folder.write("v.txt", "[UNK]\na\na\n")), "is in the vocabulary twice");
}

// %% [markdown]
// ### Positions as modules
//
// Module 10's first two ways as modules. Both add to x (..., T, D) what belongs to its rows.
//
//       tokens (B, T) --Embedding--> (B, T, D) --+--> PositionalEncoding (a buffer) or LearnedPositions (a parameter) --> (B, T, D)

// %%
//| export nn/position_modules.h
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

// %%
//| export nn/position_modules.cpp
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

// %%
TEST_CASE("PositionalEncoding and LearnedPositions: added by position, one trained, one not") {
  const Tensor x = zeros({2, 3, 4});
  nn::PositionalEncoding fixed(nn::PositionalEncodingOptions(4, 10));
  CHECK_EQ(fixed(x)[1], nn::functional::sinusoidal_positions(3, 4));
  CHECK_EQ(fixed(x, 5)[0], nn::functional::sinusoidal_positions(8, 4).slice(0, 5));
  CHECK(fixed->parameters().empty());
  CHECK_EQ(fixed->named_buffers().keys(), std::vector<std::string>{"table"});
  CHECK_ERROR(fixed(x, 8), "positions: 8 to 11 go beyond the 10 that the table has");
  CHECK_ERROR(fixed(zeros({2, 3, 5})), "expected (..., T, 4), but got sizes [2, 3, 5]");
  nn::LearnedPositions learned(10, 4);
  learned(x, 2).sum().backward();
  CHECK_EQ(learned->weight.grad().sum({1}), tensor({0.0, 0.0, 8.0, 8.0, 8.0, 0.0, 0.0, 0.0, 0.0, 0.0}));
  CHECK_EQ(learned(x)[0].detach(), learned->weight.detach().slice(0, 0, 3));
}

// %%
}  // namespace tinytorch
