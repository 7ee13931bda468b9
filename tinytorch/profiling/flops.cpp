// From the lesson modules/14_profiling/profiling_dev.cpp:
// edit the module, not this file.

#include "tinytorch/profiling/flops.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <unordered_map>

namespace tinytorch {

namespace {
// Operations for each element of the largest tensor of the call.
const std::unordered_map<std::string, std::int64_t>& operations_per_element() {
  static const std::unordered_map<std::string, std::int64_t> table = [] {
    std::unordered_map<std::string, std::int64_t> made;
    for (const char* name : {"abs",     "add",        "add_",   "all",        "amax",       "amin",    "any",     "argmax", "argmin",     "atan",    "ceil",    "clamp",   "cos",
                             "cumsum",  "div",        "div_",   "elu",        "eq",         "erf",     "exp",     "expm1",  "floor",      "floor_divide", "ge", "gelu",    "gt",
                             "le",      "leaky_relu", "lerp",    "lerp_",  "log",        "log10",      "log1p",   "log2",    "lt",     "max",        "maximum", "min",     "minimum", "mul",
                             "mul_",    "ne",         "neg",    "norm",       "pow",        "pow_",    "prod",    "reciprocal", "relu",   "relu_",   "remainder", "round", "rsqrt",
                             "sigmoid", "sign",       "silu",   "sin",        "softplus",   "sqrt",    "sub",     "sub_",   "sum",        "tan",     "tanh",    "trunc",   "where"})
      made[name] = 1;
    for (const char* name : {"acos", "acosh", "asin", "asinh", "atan2", "atanh", "cosh", "erfc", "erfinv", "exp2", "fmod", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "hypot", "lgamma", "log_sigmoid", "logaddexp", "logit", "mean",
                             "mish", "prelu", "sinh", "softshrink", "threshold"})
      made[name] = 1;
    for (const char* name : {"elu_backward",       "gelu_backward", "gelu_tanh_backward", "glu_backward",  "hardswish_backward", "hardtanh_backward", "leaky_relu_backward",
                             "logit_backward", "relu_backward", "shrink_backward",    "sigmoid_backward", "silu_backward",   "softplus_backward", "channel_affine"})
      made[name] = 2;
    for (const char* name : {"addcmul", "addcdiv", "addcmul_", "addcdiv_", "var", "std"}) made[name] = 3;
    for (const char* name : {"softmax", "log_softmax", "cross_entropy"}) made[name] = 5;
    for (const char* name : {"softmax_backward", "log_softmax_backward", "rms_norm"}) made[name] = 4;
    made["cross_entropy_backward"] = 6;
    for (const char* name : {"layer_norm", "batch_norm", "group_norm"}) {
      made[name] = 8;
      made[name + std::string("_backward")] = 16;
    }
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

// The whole step of an optimizer in one call. Its tensors are lists of the same length, one after the other: parameters, gradients, and a list for each kind of state.
struct WholeStep {
  const char* name;
  std::int64_t operations;  // for each parameter
  std::size_t fewest_lists, most_lists;
};

const WholeStep* whole_step(std::string_view name) {
  static constexpr WholeStep steps[] = {{"fused_sgd", 2, 2, 3}, {"fused_adagrad", 7, 3, 3}, {"fused_rmsprop", 9, 3, 5}, {"fused_adam", 13, 4, 5}};
  const auto found = std::find_if(std::begin(steps), std::end(steps), [&](const WholeStep& step) { return step.name == name; });
  return found == std::end(steps) ? nullptr : found;
}

// How many lists the tensors of such a call are: as few as their sizes allow. 0 if none fits.
std::size_t lists_of(const WholeStep& step, const std::vector<autograd::profiler::TensorInfo>& tensors) {
  for (std::size_t lists = step.fewest_lists; lists <= step.most_lists; ++lists) {
    const std::size_t length = tensors.size() / lists;
    if (length == 0 || length * lists != tensors.size()) continue;
    bool fits = true;
    for (std::size_t i = length; i < tensors.size(); ++i) fits = fits && IntArrayRef(tensors[i].sizes) == IntArrayRef(tensors[i - length].sizes);
    if (fits) return lists;
  }
  return 0;
}

// The kernel for a whole step runs in a layer of its own. On the layer CPU nothing happens in this call: the optimizer composes its step of other operators.
bool was_done(const autograd::profiler::FunctionEvent& event) { return event.layer != Layer::CPU; }

std::int64_t step_flops(const WholeStep& step, const autograd::profiler::FunctionEvent& event) {
  const std::size_t lists = was_done(event) ? lists_of(step, event.inputs) : 0;
  if (lists == 0) return 0;
  std::int64_t parameters = 0;
  for (std::size_t i = 0; i < event.inputs.size() / lists; ++i) parameters += event.inputs[i].numel();
  return (step.operations + 2 * static_cast<std::int64_t>(lists - step.fewest_lists)) * parameters;
}

std::int64_t step_bytes(const WholeStep& step, const autograd::profiler::FunctionEvent& event) {
  const std::size_t lists = was_done(event) ? lists_of(step, event.inputs) : 0;
  std::int64_t read = 0, gradients = 0;
  for (std::size_t i = 0; lists > 0 && i < event.inputs.size(); ++i) {
    const std::size_t length = event.inputs.size() / lists;
    read += event.inputs[i].bytes;
    if (i / length == 1) gradients += event.inputs[i].bytes;
  }
  return 2 * read - gradients;
}

// How many elements of its first tensor an operator picks or changes; -1 for one that needs all of them. Of index_put_, which may stretch its values and count a mask's elements, at least so many.
std::int64_t picked_numel(const autograd::profiler::FunctionEvent& event) {
  const auto& in = event.inputs;
  if (in.size() < 2 || event.outputs.empty()) return -1;
  for (const char* name : {"embedding", "gather", "index", "index_select"})
    if (event.name == name) return event.outputs[0].numel();
  if (event.name == "sum_bags") return in[0].sizes.empty() || in[0].sizes[0] == 0 ? -1 : in[1].numel() * (in[0].numel() / in[0].sizes[0]);
  for (const char* name : {"nll_loss", "nll_loss2d", "scatter_", "scatter_add_"})
    if (event.name == name) return in[1].numel();
  if (event.name == "index_add_" || event.name == "index_put_") return in.back().numel();
  return -1;
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
  if (event.scope != RecordScope::FUNCTION) return 0;
  if (const WholeStep* const step = whole_step(event.name)) return step_flops(*step, event);
  if (event.outputs.empty()) return 0;
  if (event.name == "_scaled_dot_product_flash_attention_for_cpu" && event.inputs.size() >= 2) {
    const DimVector& keys = event.inputs[1].sizes;
    return 4 * event.inputs[0].numel() * keys[keys.size() - 2];
  }
  if (event.name == "_scaled_dot_product_flash_attention_for_cpu_backward" && event.inputs.size() >= 3) {
    const DimVector& keys = event.inputs[2].sizes;  // behind the gradient of the result and the queries
    return 10 * event.inputs[1].numel() * keys[keys.size() - 2];
  }
  if (event.name == "_addmm_activation" && event.inputs.size() >= 2) return (2 * event.inputs[1].sizes[1] + 1) * event.outputs[0].numel();  // addmm, and the activation
  if (const std::int64_t products = product_flops(event); products >= 0) return products;
  const auto entry = operations_per_element().find(event.name);
  return entry == operations_per_element().end() ? 0 : entry->second * largest_numel(event);
}

std::int64_t autograd::profiler::bytes_of(const FunctionEvent& event) {
  if (event.scope != RecordScope::FUNCTION) return 0;
  if (const WholeStep* const step = whole_step(event.name)) return step_bytes(*step, event);
  const bool in_place = event.name.ends_with('_');
  bool only_writes = false;
  for (const char* name : {"copy_", "fill_", "zero_", "uniform_", "normal_", "random_", "bernoulli_", "exponential_", "scatter_", "index_put_"}) only_writes = only_writes || event.name == name;
  std::int64_t bytes = 0;
  for (std::size_t i = only_writes ? 1 : 0; i < event.inputs.size(); ++i) bytes += event.inputs[i].bytes;
  if (const std::int64_t picked = picked_numel(event); picked >= 0) {
    const TensorInfo& first = event.inputs[0];
    const std::int64_t part = std::min(first.bytes, picked * static_cast<std::int64_t>(elementSize(first.dtype)));
    if (in_place) return bytes - (only_writes ? 0 : first.bytes - part) + part;
    bytes -= first.bytes - part;
  }
  for (const TensorInfo& output : event.outputs) {
    const bool is_view = !in_place && std::any_of(event.inputs.begin(), event.inputs.end(), [&](const TensorInfo& input) { return input.storage == output.storage; });
    if (is_view) return 0;
    bytes += output.bytes;
  }
  return bytes;
}

void autograd::profiler::compute_own_work(std::vector<FunctionEvent>& events) {
  // Of each event, what it and those inside of it have counted: an operator's count is for all of it.
  std::vector<std::int64_t> flops_inside(events.size(), 0), bytes_inside(events.size(), 0);
  for (std::size_t i = events.size(); i-- > 0;) {
    FunctionEvent& event = events[i];
    event.self_flops = std::max<std::int64_t>(0, event.flops - flops_inside[i]);
    event.self_bytes = std::max<std::int64_t>(0, event.bytes - bytes_inside[i]);
    if (event.parent < 0) continue;
    const auto parent = static_cast<std::size_t>(event.parent);
    flops_inside[parent] += std::max(event.flops, flops_inside[i]);
    bytes_inside[parent] += event.flops > 0 ? std::max(event.bytes, bytes_inside[i]) : bytes_inside[i];  // a copy for a caller that computes is no part of the caller's work
  }
}

}  // namespace tinytorch
