// tito update: the course as it is now, in a workspace that has work in it.
#include <fmt/core.h>

#include <memory>

#include "commands/commands.h"
#include "learn/lessons.h"
#include "learn/update.h"

namespace tito {
namespace {

void run_update(bool keep_mine) {
  const Workspace workspace = require_workspace();
  const Update update = plan_update(workspace, keep_mine);
  if (!update.conflicts.empty()) {
    for (const std::string& conflict : update.conflicts) fmt::print(stderr, "{}\n", conflict);
    fmt::print(stderr, "Nothing was changed. 'tito update --mine' keeps your version there and takes the rest of the course.\n");
    throw Exit{1};
  }
  if (update.files.empty() && update.kept.empty()) return fmt::print("This workspace has the course as it is.\n");
  apply_update(workspace, update);
  for (const std::string& sentence : update.kept) fmt::print("{}.\n", sentence);
  for (const std::string& folder : update.changed_modules) fmt::print("{} is up to date; what you wrote in it is there.\n", folder);
  fmt::print("{} files updated.\n", update.files.size());
}

}  // namespace

void add_update_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("update", "In a workspace: bring in a newer course; your work stays");
  const auto keep_mine = std::make_shared<bool>(false);
  command->add_flag("--mine", *keep_mine, "where you and the course changed the same lines, keep yours");
  command->callback([keep_mine] { run_update(*keep_mine); });
}

}  // namespace tito
