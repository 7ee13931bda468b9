// From the lesson modules/97_nn_extras/nn_extras_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "tinytorch/core/arg.h"
#include "tinytorch/core/enum.h"
#include "tinytorch/core/ops.h"

namespace tinytorch {

TORCH_ENUM_DECLARE(Constant);
TORCH_ENUM_DECLARE(Reflect);
TORCH_ENUM_DECLARE(Replicate);
TORCH_ENUM_DECLARE(Circular);

namespace nn::functional {

struct PadFuncOptions {
  using mode_t = std::variant<enumtype::kConstant, enumtype::kReflect, enumtype::kReplicate, enumtype::kCircular>;
  PadFuncOptions(std::vector<std::int64_t> pad) : pad_(std::move(pad)) {}
  TORCH_ARG(std::vector<std::int64_t>, pad);
  TORCH_ARG(mode_t, mode) = kConstant;
  TORCH_ARG(double, value) = 0;
};

// `input` with pad[0] elements before and pad[1] behind each row of the last dimension, pad[2] and pad[3] of the one
// before it, and so on. For reflect the amounts are less than the size, for circular at most the size. O(numel).
Tensor pad(const Tensor& input, const PadFuncOptions& options);

}  // namespace nn::functional

enum class PadMode : std::uint8_t { Constant, Reflect, Replicate, Circular };  // in the order of PadFuncOptions::mode_t

// Where position i of a padded dimension takes its element from, which was of `size` and begins at 0; -1 for the constant.
struct PadSource {
  std::int64_t size;
  PadMode mode;
  std::int64_t operator()(std::int64_t i) const;
};

namespace op {
// The amounts as in PadFuncOptions, in bounds; then the mode and the constant.
extern Operator<Tensor(const Tensor&, IntArrayRef, PadMode, double)> pad;
}  // namespace op

}  // namespace tinytorch
