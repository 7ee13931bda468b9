#include "build/milestone_proof.h"

#include <fmt/core.h>

namespace tito {
namespace {

constexpr double program_seconds = 240;

// Empty when the gate is open; otherwise why not.
std::string why_closed(const StageBuild& build, const Milestone& milestone, const std::string& variant) {
  ProcessOptions options;
  options.directory = build.root();
  options.seconds = program_seconds;
  options.output_bytes = std::size_t{8} << 20;
  options.memory_bytes = std::size_t{4} << 30;
  options.environment = {{"TITO_VARIANT", variant}};
  const ProcessResult result = run_process({(build.root() / build.program_of(milestone.name)).string()}, options);
  if (!result.ok()) return how_it_ended(result);
  const GateResult gate = judge(milestone, result.output, build.root() / "data");
  return gate.open ? "" : gate.report;
}

}  // namespace

std::vector<Proof> prove_milestone(const StageBuild& build, const Milestone& milestone) {
  std::vector<Proof> proofs{{milestone.name, why_closed(build, milestone, "")}};
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

}  // namespace tito
