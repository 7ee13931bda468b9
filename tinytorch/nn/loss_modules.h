// From the lesson modules/04_losses/losses_dev.cpp:
// edit the module, not this file.
#pragma once

#include <concepts>
#include <variant>

#include "tinytorch/core/arg.h"
#include "tinytorch/core/enum.h"
#include "tinytorch/nn/cloneable.h"
#include "tinytorch/nn/loss.h"

namespace tinytorch {

TORCH_ENUM_DECLARE(None);
TORCH_ENUM_DECLARE(Mean);
TORCH_ENUM_DECLARE(Sum);
TORCH_ENUM_DECLARE(BatchMean);

namespace enumtype {
// The number that the functions of nn/loss.h take. kBatchMean sums; its user divides by the batch.
template <class Variant>
Reduction::Reduction reduction_get_enum(const Variant& reduction) {
  if (std::holds_alternative<kNone>(reduction)) return Reduction::None;
  return std::holds_alternative<kMean>(reduction) ? Reduction::Mean : Reduction::Sum;
}
}  // namespace enumtype

// The options of the losses. A default Tensor as weight means none.
// Source: torch/csrc/api/include/torch/nn/options/loss.h.
namespace nn {

using LossReduction = std::variant<enumtype::kNone, enumtype::kMean, enumtype::kSum>;
using KLDivReduction = std::variant<enumtype::kNone, enumtype::kBatchMean, enumtype::kSum, enumtype::kMean>;

struct L1LossOptions {
  using reduction_t = LossReduction;
  L1LossOptions() = default;
  template <std::convertible_to<reduction_t> R>
  L1LossOptions(R reduction) : reduction_(reduction) {}
  TORCH_ARG(reduction_t, reduction) = kMean;
};

struct MSELossOptions {
  using reduction_t = LossReduction;
  MSELossOptions() = default;
  template <std::convertible_to<reduction_t> R>
  MSELossOptions(R reduction) : reduction_(reduction) {}
  TORCH_ARG(reduction_t, reduction) = kMean;
};

struct SmoothL1LossOptions {
  using reduction_t = LossReduction;
  SmoothL1LossOptions() = default;
  template <std::convertible_to<reduction_t> R>
  SmoothL1LossOptions(R reduction) : reduction_(reduction) {}
  TORCH_ARG(reduction_t, reduction) = kMean;
  TORCH_ARG(std::optional<double>, beta) = std::nullopt;  // 1 if none
};

struct HuberLossOptions {
  using reduction_t = LossReduction;
  HuberLossOptions() = default;
  template <std::convertible_to<reduction_t> R>
  HuberLossOptions(R reduction) : reduction_(reduction) {}
  TORCH_ARG(reduction_t, reduction) = kMean;
  TORCH_ARG(double, delta) = 1.0;
};

struct KLDivLossOptions {
  using reduction_t = KLDivReduction;
  KLDivLossOptions() = default;
  template <std::convertible_to<reduction_t> R>
  KLDivLossOptions(R reduction) : reduction_(reduction) {}
  TORCH_ARG(reduction_t, reduction) = kMean;
  TORCH_ARG(bool, log_target) = false;
};

struct BCELossOptions {
  using reduction_t = LossReduction;
  TORCH_ARG(Tensor, weight);
  TORCH_ARG(reduction_t, reduction) = kMean;
};

struct BCEWithLogitsLossOptions {
  using reduction_t = LossReduction;
  TORCH_ARG(Tensor, weight);
  TORCH_ARG(reduction_t, reduction) = kMean;
  TORCH_ARG(Tensor, pos_weight);
};

struct NLLLossOptions {
  using reduction_t = LossReduction;
  TORCH_ARG(Tensor, weight);
  TORCH_ARG(std::int64_t, ignore_index) = -100;
  TORCH_ARG(reduction_t, reduction) = kMean;
};

struct CrossEntropyLossOptions {
  using reduction_t = LossReduction;
  TORCH_ARG(Tensor, weight);
  TORCH_ARG(std::int64_t, ignore_index) = -100;
  TORCH_ARG(reduction_t, reduction) = kMean;
  TORCH_ARG(double, label_smoothing) = 0.0;
};

}  // namespace nn

// The losses with options. Those that compare elements warn when the shapes differ.
// Source: torch/csrc/api/include/torch/nn/functional/loss.h.
namespace nn::functional {
using L1LossFuncOptions = L1LossOptions;
using MSELossFuncOptions = MSELossOptions;
using SmoothL1LossFuncOptions = SmoothL1LossOptions;
using HuberLossFuncOptions = HuberLossOptions;
using KLDivFuncOptions = KLDivLossOptions;
using BinaryCrossEntropyFuncOptions = BCELossOptions;
using BinaryCrossEntropyWithLogitsFuncOptions = BCEWithLogitsLossOptions;
using NLLLossFuncOptions = NLLLossOptions;
using CrossEntropyFuncOptions = CrossEntropyLossOptions;

Tensor l1_loss(const Tensor& input, const Tensor& target, const L1LossFuncOptions& options = {});
Tensor mse_loss(const Tensor& input, const Tensor& target, const MSELossFuncOptions& options = {});
Tensor smooth_l1_loss(const Tensor& input, const Tensor& target, const SmoothL1LossFuncOptions& options = {});
Tensor smooth_l1_loss(const Tensor& input, const Tensor& target, const SmoothL1LossFuncOptions& options, double beta);
Tensor huber_loss(const Tensor& input, const Tensor& target, const HuberLossFuncOptions& options = {});
Tensor kl_div(const Tensor& input, const Tensor& target, const KLDivFuncOptions& options = {});
Tensor binary_cross_entropy(const Tensor& input, const Tensor& target,
                            const BinaryCrossEntropyFuncOptions& options = {});
Tensor binary_cross_entropy_with_logits(const Tensor& input, const Tensor& target,
                                        const BinaryCrossEntropyWithLogitsFuncOptions& options = {});
Tensor nll_loss(const Tensor& input, const Tensor& target, const NLLLossFuncOptions& options = {});
Tensor cross_entropy(const Tensor& input, const Tensor& target, const CrossEntropyFuncOptions& options = {});
}  // namespace nn::functional

// The losses as modules: forward(input, target) applies the function of nn::functional with the options.
// Source: torch/csrc/api/include/torch/nn/modules/loss.h.
namespace nn {

class L1LossImpl : public Cloneable<L1LossImpl> {
 public:
  explicit L1LossImpl(const L1LossOptions& options_ = {});
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input, const Tensor& target);
  L1LossOptions options;
};
TORCH_MODULE(L1Loss);

class MSELossImpl : public Cloneable<MSELossImpl> {
 public:
  explicit MSELossImpl(const MSELossOptions& options_ = {});
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input, const Tensor& target);
  MSELossOptions options;
};
TORCH_MODULE(MSELoss);

class SmoothL1LossImpl : public Cloneable<SmoothL1LossImpl> {
 public:
  explicit SmoothL1LossImpl(const SmoothL1LossOptions& options_ = {});
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input, const Tensor& target);
  SmoothL1LossOptions options;
};
TORCH_MODULE(SmoothL1Loss);

class HuberLossImpl : public Cloneable<HuberLossImpl> {
 public:
  explicit HuberLossImpl(const HuberLossOptions& options_ = {});
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input, const Tensor& target);
  HuberLossOptions options;
};
TORCH_MODULE(HuberLoss);

class KLDivLossImpl : public Cloneable<KLDivLossImpl> {
 public:
  explicit KLDivLossImpl(const KLDivLossOptions& options_ = {});
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input, const Tensor& target);
  KLDivLossOptions options;
};
TORCH_MODULE(KLDivLoss);

class BCELossImpl : public Cloneable<BCELossImpl> {
 public:
  explicit BCELossImpl(const BCELossOptions& options_ = {});
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input, const Tensor& target);
  BCELossOptions options;
  Tensor weight;  // a buffer; undefined if there is none
};
TORCH_MODULE(BCELoss);

class BCEWithLogitsLossImpl : public Cloneable<BCEWithLogitsLossImpl> {
 public:
  explicit BCEWithLogitsLossImpl(const BCEWithLogitsLossOptions& options_ = {});
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input, const Tensor& target);
  BCEWithLogitsLossOptions options;
  Tensor weight;      // a buffer; undefined if there is none
  Tensor pos_weight;  // a buffer; undefined if there is none
};
TORCH_MODULE(BCEWithLogitsLoss);

class NLLLossImpl : public Cloneable<NLLLossImpl> {
 public:
  explicit NLLLossImpl(const NLLLossOptions& options_ = {});
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input, const Tensor& target);
  NLLLossOptions options;
  Tensor weight;  // a buffer; undefined if there is none
};
TORCH_MODULE(NLLLoss);

class CrossEntropyLossImpl : public Cloneable<CrossEntropyLossImpl> {
 public:
  explicit CrossEntropyLossImpl(const CrossEntropyLossOptions& options_ = {});
  void reset() override;
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input, const Tensor& target);
  CrossEntropyLossOptions options;
  Tensor weight;  // a buffer; undefined if there is none
};
TORCH_MODULE(CrossEntropyLoss);

}  // namespace nn

}  // namespace tinytorch
