// From the lesson modules/93_nn_modules/nn_modules_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/more_dropout.h"

#include <cmath>
#include <ostream>

#include "tinytorch/core/more_ops.h"

namespace tinytorch {

nn::Dropout2dImpl::Dropout2dImpl(const Dropout2dOptions& options_) : options(options_) { Dropout2dImpl::reset(); }
nn::Dropout3dImpl::Dropout3dImpl(const Dropout3dOptions& options_) : options(options_) { Dropout3dImpl::reset(); }
nn::AlphaDropoutImpl::AlphaDropoutImpl(const AlphaDropoutOptions& options_) : options(options_) { AlphaDropoutImpl::reset(); }

namespace {
void check_probability(double p) {
  TORCH_CHECK(p >= 0 && p <= 1, "dropout probability has to be between 0 and 1, but got ", p);
}

// Whether dropout leaves `input` as it is; checks p.
bool nothing_to_drop(const Tensor& input, double p, bool train) {
  check_probability(p);
  return !train || p == 0 || input.numel() == 0;
}

// 1 where an element, or with `by_feature` a whole channel (n, c), is kept, else 0; broadcasts against `input`.
Tensor keep_mask(const Tensor& input, double p, bool by_feature) {
  if (!by_feature) return empty_like(input).bernoulli_(1 - p);
  TORCH_CHECK(input.dim() >= 2, "Feature dropout requires at least 2 dimensions in the input");
  DimVector sizes(static_cast<std::size_t>(input.dim()), 1);
  sizes[0] = input.size(0);
  sizes[1] = input.size(1);
  return empty(sizes, input.options()).bernoulli_(1 - p);
}

// What alpha dropout computes, as input * factor + shift.
struct Affine {
  Tensor factor;
  Tensor shift;
};
Affine alpha_affine(const Tensor& input, double p, bool by_feature) {
  constexpr double kAlpha = 1.7580993408473766;  // -(lower limit of selu)
  const double scale = 1 / std::sqrt((kAlpha * kAlpha * p + 1) * (1 - p));
  const Tensor keep = keep_mask(input, p, by_feature);
  return {keep * scale, (keep - 1) * (kAlpha * scale) + kAlpha * scale * p};
}

Tensor alpha_dropped(const Tensor& input, double p, bool by_feature) {
  if (p == 1) return input * zeros({}, input.options());
  const Affine map = alpha_affine(input, p, by_feature);
  return input * map.factor + map.shift;
}

Tensor& alpha_dropped_(Tensor& input, double p, bool by_feature) {
  if (p == 1) return input.mul_(zeros({}, input.options()));
  const Affine map = alpha_affine(input, p, by_feature);
  return input.mul_(map.factor).add_(map.shift);
}
}  // namespace

Tensor feature_dropout(const Tensor& input, double p, bool train) {
  if (nothing_to_drop(input, p, train)) return input;
  if (p == 1) return input * zeros({}, input.options());
  return input * keep_mask(input, p, true).div_(1 - p);
}
Tensor& feature_dropout_(Tensor& input, double p, bool train) {
  if (nothing_to_drop(input, p, train)) return input;
  if (p == 1) return input.mul_(zeros({}, input.options()));
  return input.mul_(keep_mask(input, p, true).div_(1 - p));
}
Tensor alpha_dropout(const Tensor& input, double p, bool train) {
  return nothing_to_drop(input, p, train) ? input : alpha_dropped(input, p, false);
}
Tensor& alpha_dropout_(Tensor& input, double p, bool train) {
  return nothing_to_drop(input, p, train) ? input : alpha_dropped_(input, p, false);
}
Tensor feature_alpha_dropout(const Tensor& input, double p, bool train) {
  return nothing_to_drop(input, p, train) ? input : alpha_dropped(input, p, true);
}
Tensor& feature_alpha_dropout_(Tensor& input, double p, bool train) {
  return nothing_to_drop(input, p, train) ? input : alpha_dropped_(input, p, true);
}

namespace {
// Drops channels of a batch of `batched_dim` dimensions, or of a single sample, which has one less.
Tensor drop_channels(Tensor input, const nn::functional::DropoutFuncOptions& options, std::int64_t batched_dim) {
  const bool batched = input.dim() == batched_dim;
  Tensor samples = batched ? input : input.unsqueeze(0);
  const Tensor result = options.inplace() ? feature_dropout_(samples, options.p(), options.training())
                                          : feature_dropout(samples, options.p(), options.training());
  if (options.inplace()) return input;
  return batched ? result : result.squeeze(0);
}
}  // namespace

Tensor nn::functional::dropout(Tensor input, const DropoutFuncOptions& options) {
  return options.inplace() ? tinytorch::dropout_(input, options.p(), options.training())
                           : tinytorch::dropout(input, options.p(), options.training());
}
Tensor nn::functional::dropout2d(Tensor input, const Dropout2dFuncOptions& options) {
  return drop_channels(std::move(input), options, 4);
}
Tensor nn::functional::dropout3d(Tensor input, const Dropout3dFuncOptions& options) {
  return drop_channels(std::move(input), options, 5);
}
Tensor nn::functional::alpha_dropout(Tensor input, const AlphaDropoutFuncOptions& options) {
  return options.inplace() ? tinytorch::alpha_dropout_(input, options.p(), options.training())
                           : tinytorch::alpha_dropout(input, options.p(), options.training());
}
Tensor nn::functional::feature_alpha_dropout(Tensor input, const FeatureAlphaDropoutFuncOptions& options) {
  return options.inplace() ? tinytorch::feature_alpha_dropout_(input, options.p(), options.training())
                           : tinytorch::feature_alpha_dropout(input, options.p(), options.training());
}

namespace {
void print_dropout(std::ostream& stream, const char* name, const nn::DropoutOptions& options) {
  stream << "torch::nn::" << name << "(p=" << options.p() << ", inplace=" << (options.inplace() ? "true" : "false") << ')';
}

template <class FuncOptions>
FuncOptions func_options(const nn::DropoutOptions& options, bool training) {
  return FuncOptions().p(options.p()).inplace(options.inplace()).training(training);
}
}  // namespace

void nn::Dropout2dImpl::reset() { check_probability(options.p()); }
void nn::Dropout3dImpl::reset() { check_probability(options.p()); }
void nn::AlphaDropoutImpl::reset() { check_probability(options.p()); }
void nn::FeatureAlphaDropoutImpl::reset() { check_probability(options.p()); }

Tensor nn::Dropout2dImpl::forward(Tensor input) {
  return functional::dropout2d(std::move(input), func_options<functional::Dropout2dFuncOptions>(options, is_training()));
}
Tensor nn::Dropout3dImpl::forward(Tensor input) {
  return functional::dropout3d(std::move(input), func_options<functional::Dropout3dFuncOptions>(options, is_training()));
}
Tensor nn::AlphaDropoutImpl::forward(Tensor input) {
  return functional::alpha_dropout(std::move(input),
                                   func_options<functional::AlphaDropoutFuncOptions>(options, is_training()));
}
Tensor nn::FeatureAlphaDropoutImpl::forward(Tensor input) {
  return functional::feature_alpha_dropout(
      std::move(input), func_options<functional::FeatureAlphaDropoutFuncOptions>(options, is_training()));
}

void nn::Dropout2dImpl::pretty_print(std::ostream& stream) const { print_dropout(stream, "Dropout2d", options); }
void nn::Dropout3dImpl::pretty_print(std::ostream& stream) const { print_dropout(stream, "Dropout3d", options); }
void nn::AlphaDropoutImpl::pretty_print(std::ostream& stream) const { print_dropout(stream, "AlphaDropout", options); }
void nn::FeatureAlphaDropoutImpl::pretty_print(std::ostream& stream) const {
  print_dropout(stream, "FeatureAlphaDropout", options);
}

}  // namespace tinytorch
