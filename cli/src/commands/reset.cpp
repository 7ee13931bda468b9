// tito reset NN: a module as it was handed out; what stood there becomes a backup.
#include <fmt/core.h>

#include <iostream>
#include <memory>

#include "commands/commands.h"
#include "learn/handed_out.h"
#include "learn/lessons.h"
#include "learn/text_files.h"

namespace tito {
namespace {

fs::path free_backup(const Workspace& workspace, const std::string& folder) {
  for (int i = 1;; ++i) {
    const fs::path file = workspace.root() / ".tito/backup" / fmt::format("{}_{}.cpp", folder, i);
    if (!fs::exists(file)) return file;
  }
}

bool agreed(const std::string& folder) {
  fmt::print("This replaces your {} by the one that was handed out; yours is kept as a backup. Go on? [y/N] ", folder);
  std::fflush(stdout);
  std::string answer;
  std::getline(std::cin, answer);
  return answer == "y" || answer == "yes";
}

void run_reset(const std::string& name, bool yes) {
  const Workspace workspace = require_workspace();
  const std::string folder = workspace.find(name);
  const std::string mine = read_if_there(workspace.file_of(folder));
  const std::string handed_out = handed_out_lesson(workspace, folder);
  if (mine == handed_out) return fmt::print("{} is as it was handed out.\n", folder);
  if (!yes && !agreed(folder)) {
    fmt::print("Nothing was changed.\n");
    throw Exit{1};
  }
  const fs::path backup = free_backup(workspace, folder);
  write_atomically(backup, mine);
  write_atomically(workspace.file_of(folder), handed_out);
  change_progress(workspace, [&](Progress& progress) { progress.modules.erase(folder); });
  fmt::print("{} is as it was handed out; yours is {}\n", folder, backup.lexically_relative(workspace.root()).string());
}

}  // namespace

void add_reset_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("reset", "In a workspace: a module as it was handed out; keeps a backup");
  const auto module = std::make_shared<std::string>();
  const auto yes = std::make_shared<bool>(false);
  command->add_option("module", *module, "05 or autograd")->required();
  command->add_flag("--yes", *yes, "do not ask");
  command->callback([module, yes] { run_reset(*module, *yes); });
}

}  // namespace tito
