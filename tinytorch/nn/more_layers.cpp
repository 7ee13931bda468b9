// From the lesson modules/93_nn_modules/nn_modules_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/more_layers.h"

#include <cmath>
#include <ostream>

#include "tinytorch/nn/init.h"

namespace tinytorch {

nn::FlattenImpl::FlattenImpl(const FlattenOptions& options_) : options(options_) {}
nn::UnflattenImpl::UnflattenImpl(std::int64_t dim, std::vector<std::int64_t> sizes) : UnflattenImpl(UnflattenOptions(dim, std::move(sizes))) {}
nn::UnflattenImpl::UnflattenImpl(UnflattenOptions options_) : options(std::move(options_)) {}
nn::BilinearImpl::BilinearImpl(std::int64_t in1_features, std::int64_t in2_features, std::int64_t out_features)
    : BilinearImpl(BilinearOptions(in1_features, in2_features, out_features)) {}
nn::BilinearImpl::BilinearImpl(const BilinearOptions& options_) : options(options_) { BilinearImpl::reset(); }

namespace {
void check_bilinear(const Tensor& input1, const Tensor& input2, const Tensor& weight, const Tensor& bias) {
  TORCH_CHECK(input1.dim() == input2.dim(), "bilinear(): input dimensions do not match: got ", input1.dim(), " and ",
              input2.dim());
  for (std::int64_t d = 0; d + 1 < input1.dim(); ++d)
    TORCH_CHECK(input1.size(d) == input2.size(d), "bilinear(): input batch dimensions do not match at dim ", d, ": got ",
                input1.size(d), " and ", input2.size(d));
  TORCH_CHECK(weight.dim() == 3, "bilinear(): weight must have 3 dimensions, got ", weight.dim());
  TORCH_CHECK(input1.size(-1) == weight.size(1), "bilinear(): input1 size does not match weight size: got ",
              input1.size(-1), " but expected ", weight.size(1));
  TORCH_CHECK(input2.size(-1) == weight.size(2), "bilinear(): input2 size does not match weight size: got ",
              input2.size(-1), " but expected ", weight.size(2));
  TORCH_CHECK(!bias.defined() || bias.size(0) == weight.size(0), "bilinear(): bias size does not match weight size: got ",
              bias.defined() ? bias.size(0) : 0, " but expected ", weight.size(0));
}
}  // namespace

Tensor bilinear(const Tensor& input1, const Tensor& input2, const Tensor& weight, const Tensor& bias) {
  check_bilinear(input1, input2, weight, bias);
  const std::int64_t K = weight.size(0);
  const std::int64_t I = weight.size(1);
  const std::int64_t J = weight.size(2);
  DimVector sizes(input1.sizes());
  sizes.back() = 1;
  const std::int64_t N = multiply_sizes(sizes);
  sizes.back() = K;
  const Tensor left = input1.reshape({N, I}).mm(weight.permute({1, 0, 2}).reshape({I, K * J})).view({N, K, J});
  const Tensor output = (left * input2.reshape({N, 1, J})).sum({-1}).to(left.scalar_type()).view(sizes);
  return bias.defined() ? output + bias : output;
}

void nn::IdentityImpl::pretty_print(std::ostream& stream) const { stream << "torch::nn::Identity()"; }

void nn::FlattenImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Flatten(start_dim=" << options.start_dim() << ", end_dim=" << options.end_dim() << ')';
}

Tensor nn::UnflattenImpl::forward(const Tensor& input) {
  const auto dim = static_cast<std::size_t>(wrap_dim(options.dim(), input.dim()));
  DimVector sizes;
  for (std::size_t d = 0; d < dim; ++d) sizes.push_back(input.sizes()[d]);
  for (const std::int64_t size : options.sizes()) sizes.push_back(size);
  for (std::size_t d = dim + 1; d < input.sizes().size(); ++d) sizes.push_back(input.sizes()[d]);
  return input.view(sizes);
}

void nn::UnflattenImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Unflatten(dim=" << options.dim() << ", unflattened_size={";
  for (std::size_t i = 0; i < options.sizes().size(); ++i) stream << (i > 0 ? ", " : "") << options.sizes()[i];
  stream << "})";
}

void nn::BilinearImpl::reset() {
  weight = register_parameter("weight", empty({options.out_features(), options.in1_features(), options.in2_features()}));
  bias = options.bias() ? register_parameter("bias", empty({options.out_features()}))
                        : register_parameter("bias", Tensor(), /*requires_grad=*/false);
  reset_parameters();
}

void nn::BilinearImpl::reset_parameters() {
  const double bound = 1.0 / std::sqrt(static_cast<double>(options.in1_features()));
  init::uniform_(weight, -bound, bound);
  if (bias.defined()) init::uniform_(bias, -bound, bound);
}

void nn::BilinearImpl::pretty_print(std::ostream& stream) const {
  stream << "torch::nn::Bilinear(in1_features=" << options.in1_features() << ", in2_features=" << options.in2_features()
         << ", out_features=" << options.out_features() << ", bias=" << (options.bias() ? "true" : "false") << ')';
}

}  // namespace tinytorch
