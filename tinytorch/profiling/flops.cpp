// From the lesson modules/14_profiling/profiling_dev.cpp:
// edit the module, not this file.

#include "tinytorch/profiling/flops.h"

#include <algorithm>
#include <unordered_map>

namespace tinytorch {

namespace {
// Operations for each element of the largest tensor of the call.
const std::unordered_map<std::string_view, std::int64_t>& operations_per_element() {
  static const std::unordered_map<std::string_view, std::int64_t> table = [] {
    std::unordered_map<std::string_view, std::int64_t> made;
    for (const char* name : {"abs",     "add",        "add_",   "all",        "amax",       "amin",    "any",     "argmax", "argmin",     "atan",    "ceil",    "clamp",   "cos",
                             "cumsum",  "div",        "div_",   "elu",        "eq",         "erf",     "exp",     "expm1",  "floor",      "floor_divide", "ge", "gelu",    "gt",
                             "le",      "leaky_relu", "lerp",    "lerp_",  "log",        "log10",      "log1p",   "log2",    "lt",     "max",        "maximum", "min",     "minimum", "mul",
                             "mul_",    "ne",         "neg",    "norm",       "pow",        "pow_",    "prod",    "reciprocal", "relu",   "relu_",   "remainder", "round", "rsqrt",
                             "sigmoid", "sign",       "silu",   "sin",        "softplus",   "sqrt",    "sub",     "sub_",   "sum",        "tan",     "tanh",    "trunc",   "where"})
      made[name] = 1;
    for (const char* name : {"addcmul", "addcdiv", "addcmul_", "addcdiv_", "var", "std"}) made[name] = 3;
    for (const char* name : {"softmax", "log_softmax", "cross_entropy"}) made[name] = 5;
    return made;
  }();
  return table;
}

std::int64_t largest_numel(const autograd::profiler::FunctionEvent& event) {
  std::int64_t largest = 0;
  for (const auto& tensor : event.inputs) largest = std::max(largest, tensor.numel());
  for (const auto& tensor : event.outputs) largest = std::max(largest, tensor.numel());
  return largest;
}
}  // namespace

// Operations of a product-like operator: mm, bmm, addmm, convolution, convolution_input, convolution_weight; -1 for another name. The tensors are, in order:
// mm and bmm (mat1, mat2); addmm (self, mat1, mat2); convolution (input, weight) -> result; convolution_input (gradient of the result, weight) -> gradient of the input;
// convolution_weight (input, gradient of the result) -> gradient of the weight.
namespace {
std::int64_t product_flops(const autograd::profiler::FunctionEvent& event) {
  const auto& in = event.inputs;
  const auto& out = event.outputs;
  if (event.name == "mm" || event.name == "bmm") return 2 * out.at(0).numel() * in.at(0).sizes.data()[in.at(0).sizes.size() - 1];
  if (event.name == "addmm") return 2 * out.at(0).numel() * in.at(1).sizes[1];
  const auto convolution = [](const autograd::profiler::TensorInfo& result, const autograd::profiler::TensorInfo& weight) {
    return weight.numel() == 0 ? 0 : 2 * result.numel() * (weight.numel() / weight.sizes[0]);
  };
  if (event.name == "convolution") return convolution(out.at(0), in.at(1));
  if (event.name == "convolution_input") return convolution(in.at(0), in.at(1));
  if (event.name == "convolution_weight") return convolution(in.at(1), out.at(0));
  return -1;
}
}  // namespace

std::int64_t autograd::profiler::flops_of(const FunctionEvent& event) {
  if (event.scope != RecordScope::FUNCTION || event.outputs.empty()) return 0;
  if (event.name == "_scaled_dot_product_flash_attention_for_cpu" && event.inputs.size() >= 2) {
    const DimVector& keys = event.inputs[1].sizes;
    return 4 * event.inputs[0].numel() * keys[keys.size() - 2];
  }
  if (const std::int64_t products = product_flops(event); products >= 0) return products;
  const auto entry = operations_per_element().find(event.name);
  return entry == operations_per_element().end() ? 0 : entry->second * largest_numel(event);
}

std::int64_t autograd::profiler::bytes_of(const FunctionEvent& event) {
  if (event.scope != RecordScope::FUNCTION) return 0;
  const bool in_place = event.name.ends_with('_');
  bool only_writes = false;
  for (const char* name : {"copy_", "fill_", "zero_", "uniform_", "normal_", "random_", "bernoulli_", "exponential_"}) only_writes = only_writes || event.name == name;
  std::int64_t bytes = 0;
  for (std::size_t i = only_writes ? 1 : 0; i < event.inputs.size(); ++i) bytes += event.inputs[i].bytes;
  for (const TensorInfo& output : event.outputs) {
    const bool is_view = !in_place && std::any_of(event.inputs.begin(), event.inputs.end(), [&](const TensorInfo& input) { return input.storage == output.storage; });
    if (is_view) return 0;
    bytes += output.bytes;
  }
  return bytes;
}

}  // namespace tinytorch
