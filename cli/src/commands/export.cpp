// tito export: writes tinytorch/ from the modules, or checks that it is what they say.
#include <fmt/core.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "commands/commands.h"
#include "format/export.h"

namespace tito {
namespace {

struct ExportOptions {
  bool check = false;
  bool json = false;
  std::string stage;
  std::string out;
};

void check_folder(const fs::path& folder, const Package& package, bool json) {
  const auto findings = compare_with_folder(folder, package.files);
  if (json) {
    nlohmann::json report = {{"ok", findings.empty()}, {"files", package.files.size()}};
    report["findings"] = nlohmann::json::array();
    for (const auto& [path, what] : findings) report["findings"].push_back({{"path", path}, {"what", what}});
    fmt::print("{}\n", report.dump(2));
  } else {
    for (const auto& [path, what] : findings) fmt::print("{} {}\n", (folder / path).generic_string(), what);
    fmt::print("{} files from the modules: {}\n", package.files.size(),
               findings.empty() ? "all are as exported" : "run 'tito export'");
  }
  if (!findings.empty()) throw Exit{1};
}

void write_folder(const fs::path& folder, const Package& package) {
  const auto changed = write_changed_paths(folder, package.files, true);
  for (const std::string& path : changed) {
    const fs::path file = folder / path;
    fmt::print("{} {}\n", fs::exists(file) ? "rewrote" : "removed", file.generic_string());
  }
  fmt::print("{} files from the modules, {} changed\n", package.files.size(), changed.size());
  const auto strays = compare_with_folder(folder, package.files);
  for (const auto& [path, what] : strays) fmt::print(stderr, "{} {}; move it away\n", (folder / path).generic_string(), what);
  if (!strays.empty()) throw Exit{1};
}

void run_export(const ExportOptions& options) {
  const fs::path root = project_root();
  if (!options.stage.empty() && options.out.empty()) {
    throw std::runtime_error("--stage needs --out DIR: an earlier stage must not replace tinytorch/");
  }
  const std::vector<Module> course = options.stage.empty() ? load_course(root) : load_stage_of(root, options.stage);
  const Package package = export_package(course);
  const fs::path folder = options.out.empty() ? (root / "tinytorch").lexically_proximate(fs::current_path()) : fs::path(options.out);
  if (options.check) {
    check_folder(folder, package, options.json);
  } else {
    write_folder(folder, package);
  }
}

}  // namespace

void add_export_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("export", "Write tinytorch/ from the modules");
  auto options = std::make_shared<ExportOptions>();
  command->add_flag("--check", options->check, "Change nothing; fail if tinytorch/ is not what the modules say");
  command->add_flag("--json", options->json, "With --check: the findings as JSON")->needs("--check");
  command->add_option("--stage", options->stage, "Only the modules up to this one (with --out)");
  command->add_option("--out", options->out, "Write there instead of tinytorch/");
  command->callback([options] { run_export(*options); });
}

}  // namespace tito
