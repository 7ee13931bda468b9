// From the lesson modules/81_image_options/image_options_dev.cpp:
// edit the module, not this file.

#include "tinytorch/nn/image_options.h"

namespace tinytorch {

nn::functional::PadFuncOptions::mode_t nn::detail::pad_mode_of(const conv_padding_mode_t& mode) {
  if (std::holds_alternative<enumtype::kReflect>(mode)) return kReflect;
  if (std::holds_alternative<enumtype::kReplicate>(mode)) return kReplicate;
  if (std::holds_alternative<enumtype::kCircular>(mode)) return kCircular;
  return kConstant;
}

const char* nn::detail::name_of(const conv_padding_mode_t& mode) {
  static constexpr const char* names[] = {"kZeros", "kReflect", "kReplicate", "kCircular"};
  return names[mode.index()];
}

std::ostream& nn::operator<<(std::ostream& out, const BatchNormOptions& options) {
  out << '(' << options.num_features() << ", eps=" << options.eps() << ", momentum=";
  if (options.momentum()) out << *options.momentum();
  else out << "None";
  return out << ", affine=" << (options.affine() ? "true" : "false") << ", track_running_stats=" << (options.track_running_stats() ? "true" : "false") << ')';
}

}  // namespace tinytorch
