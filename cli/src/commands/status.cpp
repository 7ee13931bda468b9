// tito status: where the learner stands: modules, points, milestones; Reflect, Analyze and Optimize apart.
#include <fmt/core.h>

#include <array>
#include <memory>
#include <nlohmann/json.hpp>

#include "commands/commands.h"
#include "learn/explain.h"
#include "learn/lessons.h"
#include "learn/milestones.h"

namespace tito {
namespace {

// What an exercise shows that a learner can do.
constexpr std::array<const char*, 4> outcomes = {"build", "reflect", "analyze", "optimize"};

std::size_t outcome_of(const Exercise& exercise) {
  if (exercise.kind == "design" || exercise.kind == "explain") return 1;
  if (exercise.kind == "debug") return 2;
  return exercise.kind == "optimize" ? 3 : 0;
}

struct Points {
  double earned = 0, possible = 0, by_hand = 0;
};

struct ModuleStatus {
  std::string folder;
  std::string state;
  std::array<Points, 4> points;
};

std::string state_of(const Workspace& workspace, const Progress& progress, const std::string& folder) {
  if (is_complete(progress, folder)) {
    const ModuleProgress rebuilt = rebuilt_progress(workspace, folder);
    return rebuilt.completed.empty() ? "changed since it was complete" : "complete";
  }
  return is_started(progress, folder) ? "started" : "";
}

ModuleStatus status_of(const Workspace& workspace, const Progress& progress, const std::string& folder) {
  ModuleStatus status{folder, "", {}};
  try {
    const Module module = workspace.module(folder);
    const auto entry = progress.modules.find(folder);
    for (const Exercise& exercise : exercises_of(module, entry == progress.modules.end() ? std::set<std::string>() : entry->second.passed)) {
      Points& points = status.points[outcome_of(exercise)];
      if (exercise.kind == "explain") {
        points.by_hand += exercise.points;
      } else {
        points.earned += exercise.earned;
        points.possible += exercise.points;
      }
    }
    status.state = state_of(workspace, progress, folder);
  } catch (const Diagnostic& error) {
    status.state = error.what();
  }
  return status;
}

std::string shown(const Points& points) {
  if (points.possible == 0 && points.by_hand == 0) return "-";
  std::string text = points.possible > 0 ? fmt::format("{:g}/{:g}", points.earned, points.possible) : "";
  if (points.by_hand > 0) text += fmt::format("{}{:g} by hand", text.empty() ? "" : " + ", points.by_hand);
  return text;
}

void print_text(const std::vector<ModuleStatus>& all, const std::vector<Milestone>& milestones, const Progress& progress) {
  const Style style = output_style();
  fmt::print("{}\n", style.bold(fmt::format("{:<18} {:>9} {:>18} {:>9} {:>9}  {}", "module", "build", "reflect", "analyze", "optimize", "")));
  std::array<Points, 4> sum;
  for (const ModuleStatus& module : all) {
    const std::string state = module.state == "complete" ? style.green(module.state) : module.state;
    fmt::print("{:<18} {:>9} {:>18} {:>9} {:>9}  {}\n", module.folder, shown(module.points[0]), shown(module.points[1]), shown(module.points[2]),
               shown(module.points[3]), state);
    for (std::size_t i = 0; i < sum.size(); ++i) {
      sum[i].earned += module.points[i].earned;
      sum[i].possible += module.points[i].possible;
      sum[i].by_hand += module.points[i].by_hand;
    }
  }
  fmt::print("{:<18} {:>9} {:>18} {:>9} {:>9}\n", "all", shown(sum[0]), shown(sum[1]), shown(sum[2]), shown(sum[3]));
  if (!milestones.empty()) fmt::print("\n");
  for (const Milestone& milestone : milestones) {
    const bool open = progress.milestones.contains(milestone.name);
    fmt::print("{}  {}\n", open ? style.green("open  ") : "closed", milestone.title + (open ? "" : " (after module " + milestone.after + ")"));
  }
}

std::string json_of(const std::vector<ModuleStatus>& all, const std::vector<Milestone>& milestones, const Progress& progress) {
  nlohmann::ordered_json modules = nlohmann::ordered_json::array();
  for (const ModuleStatus& module : all) {
    nlohmann::ordered_json entry = {{"module", module.folder}, {"state", module.state}};
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
      entry[outcomes[i]] = {{"earned", module.points[i].earned}, {"possible", module.points[i].possible}, {"by_hand", module.points[i].by_hand}};
    }
    modules.push_back(entry);
  }
  nlohmann::ordered_json opened = nlohmann::ordered_json::object();
  for (const Milestone& milestone : milestones) opened[milestone.name] = progress.milestones.contains(milestone.name);
  return nlohmann::ordered_json{{"modules", modules}, {"milestones", opened}}.dump(2) + "\n";
}

void run_status(bool json) {
  const Workspace workspace = require_workspace();
  const Progress progress = read_progress(workspace);
  const std::vector<Milestone> milestones = read_milestones(workspace.course());
  std::vector<ModuleStatus> all;
  for (const std::string& folder : workspace.folders()) all.push_back(status_of(workspace, progress, folder));
  if (json) return fmt::print("{}", json_of(all, milestones, progress));
  print_text(all, milestones, progress);
}

}  // namespace

void add_status_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("status", "In a workspace: where you stand");
  const auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "print one JSON object");
  command->callback([json] { run_status(*json); });
}

}  // namespace tito
