// From the lesson modules/58_text_extras/text_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/embedding_bag.h"

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

namespace tinytorch {

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

}  // namespace tinytorch
