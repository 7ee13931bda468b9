// From the lesson modules/93_nn_modules/nn_modules_dev.cpp:
// edit the module, not this file.
#pragma once

#include <functional>

#include "tinytorch/core/arg.h"
#include "tinytorch/nn/activations.h"
#include "tinytorch/nn/cloneable.h"

namespace tinytorch {

// leaky_relu and elu over the elements of `self`, which they return.
const Tensor& leaky_relu_(const Tensor& self, const Scalar& negative_slope = 0.01);
const Tensor& elu_(const Tensor& self, const Scalar& alpha = 1, const Scalar& scale = 1, const Scalar& input_scale = 1);

// Source: torch/csrc/api/include/torch/nn/options/activation.h.
namespace nn {

struct ReLUOptions {
  ReLUOptions(bool inplace = false) : inplace_(inplace) {}
  TORCH_ARG(bool, inplace);
};
struct LeakyReLUOptions {
  TORCH_ARG(double, negative_slope) = 1e-2;
  TORCH_ARG(bool, inplace) = false;
};
struct ELUOptions {
  TORCH_ARG(double, alpha) = 1.0;
  TORCH_ARG(bool, inplace) = false;
};
struct GELUOptions {
  TORCH_ARG(std::string, approximate) = "none";
};
struct SoftplusOptions {
  TORCH_ARG(double, beta) = 1.0;
  TORCH_ARG(double, threshold) = 20.0;
};
struct SoftmaxOptions {
  SoftmaxOptions(std::int64_t dim) : dim_(dim) {}
  TORCH_ARG(std::int64_t, dim);
};
struct LogSoftmaxOptions {
  LogSoftmaxOptions(std::int64_t dim) : dim_(dim) {}
  TORCH_ARG(std::int64_t, dim);
};

}  // namespace nn

namespace nn::functional {

using ReLUFuncOptions = ReLUOptions;
using LeakyReLUFuncOptions = LeakyReLUOptions;
using ELUFuncOptions = ELUOptions;
using GELUFuncOptions = GELUOptions;
using SoftplusFuncOptions = SoftplusOptions;
struct SoftmaxFuncOptions {
  SoftmaxFuncOptions(std::int64_t dim) : dim_(dim) {}
  TORCH_ARG(std::int64_t, dim);
  TORCH_ARG(std::optional<ScalarType>, dtype) = std::nullopt;
};
struct LogSoftmaxFuncOptions {
  LogSoftmaxFuncOptions(std::int64_t dim) : dim_(dim) {}
  TORCH_ARG(std::int64_t, dim);
  TORCH_ARG(std::optional<ScalarType>, dtype) = std::nullopt;
};

inline Tensor relu(Tensor input, const ReLUFuncOptions& options = {}) {
  return options.inplace() ? tinytorch::relu_(input) : tinytorch::relu(input);
}
inline Tensor leaky_relu(Tensor input, const LeakyReLUFuncOptions& options = {}) {
  return options.inplace() ? tinytorch::leaky_relu_(input, options.negative_slope())
                           : tinytorch::leaky_relu(input, options.negative_slope());
}
inline Tensor elu(Tensor input, const ELUFuncOptions& options = {}) {
  return options.inplace() ? tinytorch::elu_(input, options.alpha()) : tinytorch::elu(input, options.alpha());
}
inline Tensor gelu(const Tensor& input, const GELUFuncOptions& options = {}) {
  return tinytorch::gelu(input, options.approximate());
}
inline Tensor silu(const Tensor& input) { return tinytorch::silu(input); }
inline Tensor softplus(const Tensor& input, const SoftplusFuncOptions& options = {}) {
  return tinytorch::softplus(input, options.beta(), options.threshold());
}
inline Tensor softmax(const Tensor& input, const SoftmaxFuncOptions& options) {
  return tinytorch::softmax(input, options.dim(), options.dtype());
}
inline Tensor log_softmax(const Tensor& input, const LogSoftmaxFuncOptions& options) {
  return tinytorch::log_softmax(input, options.dim(), options.dtype());
}

}  // namespace nn::functional

namespace nn {

// Any function of a Tensor as a module: Functional(relu), Functional(elu, 0.5, 1.0, 1.0) with further arguments bound.
class FunctionalImpl : public Cloneable<FunctionalImpl> {
 public:
  using Function = std::function<Tensor(Tensor)>;
  explicit FunctionalImpl(Function function);
  template <class F, class... Args>
    requires(sizeof...(Args) > 0)
  explicit FunctionalImpl(F function, Args&&... args)
      : function_([function, ... bound = std::forward<Args>(args)](Tensor input) { return function(input, bound...); }) {}
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input) { return function_(std::move(input)); }
  Tensor operator()(Tensor input) { return forward(std::move(input)); }

 private:
  Function function_;
};
TORCH_MODULE(Functional);

class ReLUImpl : public Cloneable<ReLUImpl> {
 public:
  explicit ReLUImpl(const ReLUOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input) { return functional::relu(input, options); }
  ReLUOptions options;
};
TORCH_MODULE(ReLU);
class LeakyReLUImpl : public Cloneable<LeakyReLUImpl> {
 public:
  explicit LeakyReLUImpl(const LeakyReLUOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input) { return functional::leaky_relu(input, options); }
  LeakyReLUOptions options;
};
TORCH_MODULE(LeakyReLU);
class ELUImpl : public Cloneable<ELUImpl> {
 public:
  explicit ELUImpl(const ELUOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(Tensor input) { return functional::elu(input, options); }
  ELUOptions options;
};
TORCH_MODULE(ELU);
class GELUImpl : public Cloneable<GELUImpl> {
 public:
  explicit GELUImpl(const GELUOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return functional::gelu(input, options); }
  GELUOptions options;
};
TORCH_MODULE(GELU);

}  // namespace nn

namespace nn {

class SigmoidImpl : public Cloneable<SigmoidImpl> {
 public:
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return sigmoid(input); }
};
TORCH_MODULE(Sigmoid);
class TanhImpl : public Cloneable<TanhImpl> {
 public:
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return tanh(input); }
};
TORCH_MODULE(Tanh);
class SiLUImpl : public Cloneable<SiLUImpl> {
 public:
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return silu(input); }
};
TORCH_MODULE(SiLU);
class SoftplusImpl : public Cloneable<SoftplusImpl> {
 public:
  explicit SoftplusImpl(const SoftplusOptions& options_ = {});
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return functional::softplus(input, options); }
  SoftplusOptions options;
};
TORCH_MODULE(Softplus);
class SoftmaxImpl : public Cloneable<SoftmaxImpl> {
 public:
  explicit SoftmaxImpl(std::int64_t dim);
  explicit SoftmaxImpl(const SoftmaxOptions& options_);
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return softmax(input, options.dim()); }
  SoftmaxOptions options;
};
TORCH_MODULE(Softmax);
class LogSoftmaxImpl : public Cloneable<LogSoftmaxImpl> {
 public:
  explicit LogSoftmaxImpl(std::int64_t dim);
  explicit LogSoftmaxImpl(const LogSoftmaxOptions& options_);
  void reset() override {}
  void pretty_print(std::ostream& stream) const override;
  Tensor forward(const Tensor& input) { return log_softmax(input, options.dim()); }
  LogSoftmaxOptions options;
};
TORCH_MODULE(LogSoftmax);

}  // namespace nn

}  // namespace tinytorch
