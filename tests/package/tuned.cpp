// Tuned kernels against the reference ones: every row of the table, for each CPU capability that this machine has.
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

}  // namespace tinytorch::testing
