// From the lesson modules/09_cnn/cnn_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tinytorch/nn/norm.h"

namespace tinytorch {

namespace nn {

// What a batch norm layer computes: moves its running averages in training, normalizes by them in evaluation.
template <std::size_t D, class Derived>
Tensor forward_batch_norm(BatchNormImplBase<D, Derived>& layer, const Tensor& input) {
  const std::int64_t dims = static_cast<std::int64_t>(D) + 2;
  TORCH_CHECK(input.dim() == dims || (D == 1 && input.dim() == 2), "expected ", D == 1 ? "2D or 3D" : str(dims, "D"), " input (got ", input.dim(), "D input)");
  const bool by_batch = layer.is_training() || !layer.options.track_running_stats();
  if (by_batch) check_values_per_channel(input);
  double factor = layer.options.momentum().value_or(0);
  if (layer.is_training() && layer.options.track_running_stats()) {
    layer.num_batches_tracked.add_(1);
    if (!layer.options.momentum()) factor = 1 / layer.num_batches_tracked.template item<double>();
  }
  const bool moves = layer.is_training() || !by_batch;
  return batch_norm(input, layer.weight, layer.bias, moves ? layer.running_mean : Tensor(), moves ? layer.running_var : Tensor(), by_batch, factor, layer.options.eps());
}

}  // namespace nn

}  // namespace tinytorch
