// Tuned kernels against the reference ones: every row of the table, for each CPU capability that this machine has; with the inputs as they were recorded, and with inputs that are
// large enough for kernels to take them.
#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <thread>

#include "package/recorded.h"
#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

// Calls a row; an error becomes its sentence.
Outcome outcome_of(const OperatorCase& row, const Inputs& inputs) {
  Outcome outcome;
  manual_seed(7);
  try {
    for (const Tensor& result : row.call(inputs)) outcome.tensors.push_back(result.detach());
  } catch (const Error& error) {
    outcome.error = error.what_without_backtrace();
  } catch (const std::exception& error) {
    outcome.error = row.name + ": " + error.what();
  }
  return outcome;
}

// The gradients of sum(results * results) for the inputs; undefined where there is none.
std::vector<Tensor> gradients_of(const OperatorCase& row, const Inputs& plain) {
  Inputs inputs;
  for (const Tensor& x : plain) inputs.push_back(x.is_floating_point() ? x.clone().requires_grad_() : x);
  manual_seed(7);
  Tensor sum = zeros({}, kDouble);
  for (const Tensor& result : row.call(inputs))
    if (result.is_floating_point() && result.requires_grad()) sum = sum + (result * result).sum();
  if (sum.requires_grad()) sum.backward();
  std::vector<Tensor> gradients;
  for (const Tensor& x : inputs) gradients.push_back(x.is_floating_point() ? x.grad() : Tensor());
  return gradients;
}

std::string why_not_same(const OperatorCase& row, const Outcome& tuned, const Outcome& reference) {
  if (tuned.error != reference.error) return "says \"" + tuned.error + "\" where the reference says \"" + reference.error + "\"";
  if (tuned.tensors.size() != reference.tensors.size()) return "another number of results";
  for (std::size_t i = 0; i < tuned.tensors.size(); ++i) {
    const bool single = reference.tensors[i].scalar_type() == kFloat;
    const std::string complaint = tito::why_not_close(tuned.tensors[i], reference.tensors[i], single ? row.options.float_rtol : 1e-12, single ? 1e-6 : 1e-13);
    if (!complaint.empty()) return "result " + std::to_string(i) + ": " + complaint;
  }
  return "";
}

// Runs f once for each capability that this machine has.
template <class F>
void for_each_capability(F f) {
  for (int c = 0; c <= static_cast<int>(kernels::hardware_capability()); ++c) {
    const kernels::CapabilityGuard guard(static_cast<kernels::CPUCapability>(c));
    CAPTURE(get_cpu_capability());
    f();
  }
}

// ---- Inputs for which kernels are meant.

// x, `times` times along `dim`, its floating-point numbers a little smaller from place to place: no two repeats are the same.
Tensor repeated(const Tensor& x, std::int64_t dim, std::int64_t times) {
  std::vector<std::int64_t> repeats(static_cast<std::size_t>(x.dim()), 1);
  repeats[static_cast<std::size_t>(dim)] = times;
  const Tensor larger = x.repeat(repeats);
  if (!x.is_floating_point()) return larger;
  const Tensor factors = 1 - arange(larger.numel(), kDouble).remainder(89).view(larger.sizes()) * 0.003;
  return (larger.to(kDouble) * factors).to(x.scalar_type());
}

// x as large as `like`, where it broadcasts to its sizes.
Tensor stretched(const Tensor& x, const Tensor& like) {
  const std::size_t more = static_cast<std::size_t>(std::max<std::int64_t>(0, like.dim() - x.dim()));
  for (std::size_t i = 0; i < x.sizes().size(); ++i)
    if (x.dim() > like.dim() || (x.sizes()[i] != 1 && x.sizes()[i] != like.sizes()[i + more])) return x;
  return x.expand(like.sizes()).contiguous();
}

// The inputs with 700 numbers and more in the first one, grown along its first, its second or its last dimension: alone, or with all others that have the same size there; and once with others stretched to the
// first one's sizes before. What a row does not allow
// ends in an error, the reference's too.
std::vector<Inputs> enlarged(const Inputs& inputs) {
  if (inputs.empty() || inputs[0].dim() == 0 || inputs[0].numel() == 0) return {};
  const Tensor& first = inputs[0];
  const std::int64_t times = std::clamp<std::int64_t>(700 / first.numel() + 1, 2, 700);
  std::vector<Inputs> all;
  for (const std::int64_t dim : std::set<std::int64_t>{0, first.dim() > 2 ? 1 : 0, first.dim() - 1}) {
    Inputs alone = inputs, together = inputs;
    alone[0] = together[0] = repeated(first, dim, times);
    bool others = false;
    for (std::size_t i = 1; i < inputs.size(); ++i) {
      const std::int64_t at = dim == first.dim() - 1 ? inputs[i].dim() - 1 : dim;
      if (at < 0 || at >= inputs[i].dim() || inputs[i].size(at) != first.size(dim)) continue;
      together[i] = repeated(inputs[i], at, times);
      others = true;
    }
    all.push_back(alone);
    if (others) all.push_back(together);
  }
  Inputs same_sizes;
  for (const Tensor& x : inputs) {
    const Tensor large = stretched(x, first);
    same_sizes.push_back(large.dim() > 0 ? repeated(large, 0, times) : large);
  }
  if (inputs.size() > 1) all.push_back(same_sizes);
  return all;
}

// Rows that name sizes for inputs of their own, and trust their callers (the gradients of other rows call these operators), and those whose results grow with a power of the inputs.
bool stays_small(const OperatorCase& row) {
  static const std::set<std::string_view> names{"im2col", "col2im", "convolution_input", "convolution_weight", "combinations", "cartesian_prod", "meshgrid", "kron"};
  return names.contains(row.operator_name());
}

// `times` the error that sums in another order may have. The squares that gradients_of adds up make float's larger.
std::string why_far(const Tensor& tuned, const Tensor& reference, double times = 1) {
  const bool single = reference.scalar_type() == kFloat;
  const Tensor finite = reference.is_floating_point() && reference.numel() > 0 ? where(isfinite(reference), reference.abs(), zeros({}, reference.options())) : Tensor();
  const double size = finite.defined() ? std::max(1.0, finite.max().item<double>()) : 1.0;
  return tito::why_not_close(tuned, reference, (single ? 2e-5 : 1e-11) * times, (single ? 2e-6 : 1e-12) * times * size);
}

// ---- Whether the kernels ran.

// Counts, by operator: calls that went to the tuned function, how many of these called no other operator, and calls of the reference.
std::map<std::string, int, std::less<>> tuned_calls, alone_calls, reference_calls;

class CallsSeen : public RecordObserver {
 public:
  CallsSeen() { record_observer.store(this); }
  ~CallsSeen() { record_observer.store(nullptr); }
  CallsSeen(const CallsSeen&) = delete;
  CallsSeen& operator=(const CallsSeen&) = delete;

  void begin(RecordFunction& call) override {
    if (call.scope() != RecordScope::FUNCTION || std::this_thread::get_id() != thread_) return;
    if (!inner_.empty()) inner_.back() = true;
    inner_.push_back(false);
  }
  void end(RecordFunction& call) noexcept override {
    if (call.scope() != RecordScope::FUNCTION || std::this_thread::get_id() != thread_) return;
    const bool called_others = inner_.back();
    inner_.pop_back();
    if (call.layer() != Layer::TunedCPU) return;
    ++tuned_calls[std::string(call.name())];
    if (!called_others) ++alone_calls[std::string(call.name())];
  }
  void memory(std::ptrdiff_t, std::size_t) noexcept override {}
  void node(std::uint64_t) noexcept override {}

 private:
  const std::thread::id thread_ = std::this_thread::get_id();
  std::vector<bool> inner_;
};

template <auto& Op, class Function = typename std::remove_cvref_t<decltype(Op)>::Function>
struct Counted;
template <auto& Op, class R, class... Args>
struct Counted<Op, R (*)(Args...)> {
  static inline R (*reference)(Args...) = nullptr;
  static R call(Args... args) {
    ++reference_calls[Op.name()];
    return reference(std::forward<Args>(args)...);
  }
};

// Operators whose tuned function hands what it does not do to the reference.
template <auto&... Ops>
class ReferenceCounter {
 public:
  ReferenceCounter() {
    ((Counted<Ops>::reference = Ops.function(Layer::CPU), Ops.set(Layer::CPU, Counted<Ops>::call)), ...);
  }
  ~ReferenceCounter() { (Ops.set(Layer::CPU, Counted<Ops>::reference), ...); }
  ReferenceCounter(const ReferenceCounter&) = delete;
  ReferenceCounter& operator=(const ReferenceCounter&) = delete;
  std::set<std::string> names() const { return {Ops.name()...}; }
};
using TunedOperators = ReferenceCounter<
    op::exp, op::log, op::tanh, op::sigmoid, op::erf, op::silu, op::relu, op::relu_, op::gelu, op::leaky_relu, op::neg, op::abs, op::sqrt, op::rsqrt, op::reciprocal, op::floor, op::ceil, op::round,
    op::trunc, op::pow, op::clamp, op::add, op::sub, op::add_, op::sub_, op::mul, op::div, op::mul_, op::div_, op::maximum, op::minimum, op::eq, op::ne, op::lt, op::le, op::gt, op::ge, op::where,
    op::addcmul, op::addcdiv, op::lerp, op::addcmul_, op::addcdiv_, op::lerp_, op::clone, op::to_dtype, op::copy_, op::uniform_, op::normal_, op::bernoulli_, op::bernoulli_tensor_, op::sum, op::norm, op::var, op::std, op::amax, op::amin, op::max, op::min,
    op::argmax, op::argmin, op::softmax, op::log_softmax, op::cross_entropy, op::layer_norm, op::rms_norm, op::batch_norm, op::channel_affine, op::group_norm, op::resample, op::pick_pixels, op::pick_pixels_backward, op::read_bilinear, op::read_nearest, op::grid_places, op::window_means, op::window_means_backward, op::_adaptive_avg_pool2d, op::_adaptive_avg_pool2d_backward, op::mm, op::addmm, op::_addmm_activation, op::bmm, op::convolution, op::convolution_input,
    op::convolution_weight, op::max_pool2d_with_indices, op::gather, op::scatter_add_, op::embedding, op::embedding_dense_backward, op::index_select, op::index_add_, op::sum_bags,
    op::_scaled_dot_product_flash_attention_for_cpu, op::_scaled_dot_product_flash_attention_for_cpu_backward, op::_thnn_fused_lstm_cell, op::_thnn_fused_lstm_cell_backward, op::log1p, op::expm1, op::sin, op::cos, op::elu, op::softplus, op::log_sigmoid, op::mish,
    op::binary_cross_entropy_with_logits, op::tril, op::triu, op::tan, op::atan, op::fmod, op::remainder, op::floor_divide, op::prod, op::cumsum, op::cumprod, op::sort, op::topk, op::nonzero,
    op::index, op::index_put_, op::fill_, op::scatter_,
    op::exp2, op::log2, op::log10, op::asin, op::acos, op::erfinv, op::atan2, op::pow_tensor, op::prelu,
    op::mse_loss, op::smooth_l1_loss, op::huber_loss, op::binary_cross_entropy, op::nan_to_num,
    op::cdist, op::pad,
    op::sinh, op::cosh, op::asinh, op::acosh, op::atanh, op::erfc, op::hypot,
    op::frac, op::sign, op::copysign, op::logit, op::roll, op::cross, op::hardsigmoid, op::hardswish, op::glu, op::hardtanh, op::threshold, op::hardshrink, op::softshrink, op::isnan, op::isinf, op::isfinite, op::logaddexp, op::lgamma, op::polygamma>;
// Those that have a kernel for bools or integers only.
using TunedLogic = ReferenceCounter<op::logical_and, op::logical_or, op::logical_xor, op::logical_not, op::bitwise_and, op::bitwise_or, op::bitwise_xor, op::bitwise_not, op::any, op::all,
                                    op::bitwise_left_shift, op::bitwise_right_shift>;

// Gradients of their own, whose reference is composed of operators.
const std::set<std::string, std::less<>> kFusedGradients{"relu_backward", "sigmoid_backward", "tanh_backward", "silu_backward", "gelu_backward", "gelu_tanh_backward", "elu_backward", "softplus_backward",
                                                         "leaky_relu_backward", "hardtanh_backward", "shrink_backward", "logit_backward", "distance_backward", "nll_loss_backward", "hardswish_backward", "glu_backward", "_cdist_backward", "softmax_backward",
                                                         "log_softmax_backward", "cross_entropy_backward", "layer_norm_backward", "rms_norm_backward",
                                                         "batch_norm_backward", "group_norm_backward", "read_bilinear_backward"};

// What f() calls, with the kernels watched: adds to `proven` the operators that a kernel computed, to `met` all whose tuned function was called.
template <class F>
auto watched(std::set<std::string>& proven, std::set<std::string>& met, F f) {
  tuned_calls.clear();
  alone_calls.clear();
  reference_calls.clear();
  const CallsSeen seen;
  auto result = f();
  for (const auto& [name, calls] : tuned_calls) {
    met.insert(name);
    if (kFusedGradients.contains(name) ? alone_calls[name] > 0 : calls > reference_calls[name]) proven.insert(name);
  }
  return result;
}

// A kernel as a program outside of the library adds it: for one shape only.
int own_calls = 0;
Tensor (*mm_before)(const Tensor&, const Tensor&) = nullptr;
Tensor mm_own(const Tensor& self, const Tensor& mat2) {
  if (self.size(0) != 8) return mm_before(self, mat2);
  ++own_calls;
  return mm_before(self, mat2);
}

}  // namespace

TEST_CASE("a program adds a kernel of its own, and autograd stands above it") {
  const bool tuned = birth_layers.has(Layer::TunedCPU);  // not with TINYTORCH_KERNELS=reference
  mm_before = op::mm.function(Layer::TunedCPU);
  op::mm.set(Layer::TunedCPU, mm_own);
  own_calls = 0;
  const Tensor w = ones({3, 2}).requires_grad_();
  mm(ones({8, 3}), w).sum().backward();
  mm(ones({7, 3}), w);
  {
    const kernels::ReferenceKernelsGuard reference;
    mm(ones({8, 3}), w);
  }
  op::mm.set(Layer::TunedCPU, mm_before);
  CHECK_EQ(own_calls, tuned ? 1 : 0);
  CHECK_EQ(w.grad(), full({3, 2}, 8.0));
}

TEST_CASE("tuned kernels give what the reference gives, for every variant of the inputs") {
  for_each_capability([] {
    for (const OperatorCase& row : all_cases()) {
      for (const auto& entry : recorded(row.name).outcomes) {
        const auto& variant = entry.first;
        if (row.options.leaves_out.find(variant) != std::string_view::npos) continue;  // not defined: some operators trust their callers
        const Inputs inputs = inputs_of(recorded(row.name), variant);
        Inputs copies;
        for (const Tensor& x : inputs) copies.push_back(x.clone());
        const Outcome reference = [&] {
          const kernels::ReferenceKernelsGuard guard;
          return outcome_of(row, copies);
        }();
        const std::string complaint = why_not_same(row, outcome_of(row, inputs), reference);
        CHECK_MESSAGE(complaint.empty(), row.name, " of ", variant, ": ", complaint);
      }
    }
  });
}

TEST_CASE("tuned kernels give the reference's gradients") {
  std::size_t compared = 0;
  for (const OperatorCase& row : all_cases()) {
    if (row.in_place() || row.options.at_kink || !recorded(row.name).outcomes.at("Double").error.empty() || !recorded(row.name).gradients) continue;
    const Inputs inputs = inputs_of(recorded(row.name), "Double");
    const std::vector<Tensor> tuned = gradients_of(row, inputs);
    const std::vector<Tensor> reference = [&] {
      const kernels::ReferenceKernelsGuard guard;
      return gradients_of(row, inputs);
    }();
    for (std::size_t i = 0; i < tuned.size(); ++i) {
      CHECK_EQ(tuned[i].defined(), reference[i].defined());
      if (!tuned[i].defined() || !reference[i].defined()) continue;
      ++compared;
      const std::string complaint = tito::why_not_close(tuned[i], reference[i], 1e-10, 1e-12);
      CHECK_MESSAGE(complaint.empty(), row.name, ", gradient ", i, ": ", complaint);
    }
  }
  CHECK(compared > 50);
}

TEST_CASE("tuned kernels give what the reference gives for inputs that they take, and they do run") {
  const TunedOperators operators;
  const TunedLogic logic;
  std::set<std::string> of_numbers = operators.names();
  of_numbers.insert(kFusedGradients.begin(), kFusedGradients.end());
  std::set<std::string> proven_somewhere;  // rows of bools are recorded as a variant of others, or once
  for (const std::string variant : {"Float", "Double", "Bool"}) {
    const std::set<std::string> expected = variant == "Bool" ? std::set<std::string>() : of_numbers;
    std::set<std::string> proven, met;
    std::size_t compared = 0;
    for (const OperatorCase& row : all_cases()) {
      const auto& outcomes = recorded(row.name).outcomes;
      if (stays_small(row) || !outcomes.contains(variant) || row.options.leaves_out.find(variant) != std::string_view::npos) continue;
      for (const Inputs& inputs : enlarged(inputs_of(recorded(row.name), variant))) {
        const auto results = [&] {
          Inputs copies;
          for (const Tensor& x : inputs) copies.push_back(x.clone());
          return outcome_of(row, copies);
        };
        const Outcome reference = [&] {
          const kernels::ReferenceKernelsGuard guard;
          return results();
        }();
        if (!reference.error.empty()) continue;  // not a row's inputs
        ++compared;
        const auto compare = [&](const Outcome& tuned) {
          CAPTURE(row.name);
          CAPTURE(variant);
          CAPTURE(inputs[0].sizes());
          REQUIRE_EQ(tuned.error, "");
          REQUIRE_EQ(tuned.tensors.size(), reference.tensors.size());
          for (std::size_t i = 0; i < tuned.tensors.size(); ++i) {
            const std::string complaint = why_far(tuned.tensors[i], reference.tensors[i]);
            CHECK_MESSAGE(complaint.empty(), "result ", i, ": ", complaint);
          }
        };
        for_each_capability([&] { compare(watched(proven, met, results)); });
        // Gradients of factors and correlations magnify what float rounds; they have no kernels of their own.
        if (row.in_place() || !recorded(row.name).gradients || row.operator_name().starts_with("linalg_") || row.operator_name() == "corrcoef") continue;
        const auto gradients = [&] { return gradients_of(row, inputs); };
        const std::vector<Tensor> expected_gradients = [&] {
          const kernels::ReferenceKernelsGuard guard;
          return gradients();
        }();
        const std::vector<Tensor> tuned = watched(proven, met, gradients);
        // Attention's gradients are differences of sums of a head's 90 numbers, and nothing is left of some.
        const double times = row.operator_name().starts_with("_scaled_dot_product") ? 50 : 10;
        for (std::size_t i = 0; i < tuned.size(); ++i) {
          CHECK_EQ(tuned[i].defined(), expected_gradients[i].defined());
          if (!tuned[i].defined() || !expected_gradients[i].defined()) continue;
          const std::string complaint = why_far(tuned[i], expected_gradients[i], times);
          CHECK_MESSAGE(complaint.empty(), row.name, " of ", variant, inputs[0].sizes(), ", gradient ", i, ": ", complaint);
        }
      }
    }
    CHECK_GT(compared, variant == "Bool" ? 100 : 500);
    if (!birth_layers.has(Layer::TunedCPU)) return;  // TINYTORCH_KERNELS=reference
    for (const std::string& name : expected) CHECK_MESSAGE(proven.contains(name), "no kernel ran for ", name, " of ", variant);
    proven_somewhere.insert(proven.begin(), proven.end());
    for (const std::string& name : met) CHECK_MESSAGE((of_numbers.contains(name) || logic.names().contains(name)), name, " has a kernel and is not expected here");
  }
  for (const std::string& name : logic.names()) CHECK_MESSAGE(proven_somewhere.contains(name), "no kernel ran for ", name);
}

}  // namespace tinytorch::testing
