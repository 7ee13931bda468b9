#include "build/milestone_proof.h"

#include <fmt/core.h>

#include <stdexcept>

#include "build/parallel.h"

namespace tito {
namespace {

constexpr double program_seconds = 480;

// Empty when the gate is open; otherwise why not.
std::string why_closed(const StageBuild& build, const Milestone& milestone, const std::string& variant) {
  ProcessOptions options;
  options.directory = build.root();
  options.seconds = program_seconds;
  options.output_bytes = std::size_t{8} << 20;
  options.memory_bytes = std::size_t{4} << 30;
  options.environment = {{"TITO_VARIANT", variant}};
  // Tuned kernels lie above what the modules before them compute, and would hide a mistake there.
  if (!variant.empty()) options.environment.emplace_back("TINYTORCH_KERNELS", "reference");
  const ProcessResult result = run_process({(build.root() / build.program_of(milestone.name)).string()}, options);
  if (!result.ok()) return how_it_ended(result);
  const GateResult gate = judge(milestone.gates, result.output, build.root() / "data");
  return gate.open ? "" : gate.report;
}

// A gate that must not be exceeded closes when what it judges knows everything: one layer that answers XOR is none.
Proof proof_of_limit(const StageBuild& build, const Milestone& milestone, const Gate& gate) {
  Proof proof{fmt::format("{} with {} that is right everywhere", milestone.name, gate.label), ""};
  const fs::path data = build.root() / "data";
  if (judge({gate}, right_guesses(gate, data), data).open) proof.complaint = "the gate stays open; is it honest?";
  return proof;
}

// "12-block/no-residual" must be a mistake that module 12 knows.
void check_mistake(const StageBuild& build, const std::string& id) {
  if (id.empty()) return;
  for (const Module& module : build.modules()) {
    for (const Mistake& mistake : module.mistakes) {
      if (mistake.id() == id) return;
    }
  }
  throw std::runtime_error(fmt::format("milestones.toml: there is no known mistake {}", id));
}

// Without a mistake the gate opens; with one it must not.
Proof proof_of(const StageBuild& build, const Milestone& milestone, const std::string& mistake) {
  if (mistake.empty()) return {milestone.name, why_closed(build, milestone, "")};
  Proof proof{fmt::format("{} with {}", milestone.name, mistake), ""};
  if (why_closed(build, milestone, mistake).empty()) proof.complaint = "the gate stays open; is it honest?";
  return proof;
}

// Each is a training run of its own.
std::vector<Proof> proofs_of(const StageBuild& build, const Milestone& milestone, const std::vector<std::string>& mistakes) {
  for (const std::string& mistake : mistakes) check_mistake(build, mistake);
  std::vector<Proof> proofs(mistakes.size());
  in_parallel(mistakes.size(), milestone.name, [&](std::size_t i) { proofs[i] = proof_of(build, milestone, mistakes[i]); });
  return proofs;
}

}  // namespace

Program program_to_prove(const Milestone& milestone) {
  Program program{milestone.name, {}};
  if (!milestone.rests_on.empty()) return program;
  for (const std::string& id : milestone.closed_by) program.instrumented.insert(id.substr(0, 2));
  return program;
}

std::vector<Proof> prove_milestone(const StageBuild& build, const Milestone& milestone) {
  std::vector<std::string> mistakes{""};
  if (!milestone.closed_by.empty()) mistakes.push_back(milestone.closed_by.front());
  std::vector<Proof> proofs = proofs_of(build, milestone, mistakes);
  for (const Gate& gate : milestone.gates) {
    if (gate.at_most < 1) proofs.push_back(proof_of_limit(build, milestone, gate));
  }
  for (const std::string& number : milestone.rests_on) {
    const Module& module = find_module(build.modules(), number);
    Proof proof{fmt::format("{} without {}", milestone.name, module.folder()),
                "none of the module's known mistakes closes the gate; is it honest?"};
    for (const Mistake& mistake : module.mistakes) {
      if (why_closed(build, milestone, mistake.id()).empty()) continue;
      proof.complaint.clear();
      break;
    }
    proofs.push_back(proof);
  }
  return proofs;
}

std::vector<Proof> prove_further_mistakes(const StageBuild& build, const Milestone& milestone) {
  return proofs_of(build, milestone, {milestone.closed_by.begin() + 1, milestone.closed_by.end()});
}

}  // namespace tito
