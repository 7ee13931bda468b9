// tito data: the public data sets, and downloading them.
#include <fmt/core.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "commands/commands.h"
#include "fetch/download.h"
#include "learn/workspace.h"

namespace tito {
namespace {

struct GetArguments {
  std::string name;
  std::string to;
  std::string mirror;
};

std::vector<PublicSet> known_sets() { return read_sets(course_folder() / "data/sets.toml"); }

// Where find_data() looks: the folder that TINYTORCH_DATA names, the workspace's data/, or the project's own.
fs::path data_folder(const std::string& to) {
  if (!to.empty()) return to;
  const char* const named = std::getenv("TINYTORCH_DATA");
  if (named != nullptr && *named != '\0') return named;
  if (const std::optional<Workspace> workspace = find_workspace()) return workspace->root() / "data";
  try {
    return project_root() / "data";
  } catch (const std::runtime_error&) {
    throw std::runtime_error("where to? Go into your workspace, or name a folder with --to or TINYTORCH_DATA");
  }
}

void list() {
  for (const PublicSet& set : known_sets()) {
    std::int64_t bytes = 0;
    for (const PublicFile& file : set.files) bytes += file.bytes;
    fmt::print("{:<16} {:>6.1f} MB  {}\n{:<27} {}\n{:<27} licence: {}\n", set.name, static_cast<double>(bytes) / 1e6, set.title, "", set.source, "", set.licence);
  }
}

// One line that is written over, where there is a terminal.
void show_progress(const std::string& name, std::int64_t done, std::int64_t all) {
  if (isatty(STDERR_FILENO) == 0) return;
  fmt::print(stderr, "\r{:<30} {:>5.1f} of {:.1f} MB, {:>3}%{}", name, static_cast<double>(done) / 1e6, static_cast<double>(all) / 1e6, 100 * done / all,
             done == all ? "\n" : "");
  std::fflush(stderr);
}

void get(const GetArguments& arguments) {
  const std::vector<PublicSet> sets = known_sets();
  const PublicSet& set = find_set(sets, arguments.name);
  const fs::path folder = data_folder(arguments.to);
  fmt::print("{}\nfrom {}\nlicence: {}\n", set.title, set.source, set.licence);
  for (const PublicFile& file : set.files) {
    PublicSet one = set;
    one.files = {file};
    DownloadOptions options;
    options.mirror = arguments.mirror;
    options.on_progress = [&](std::int64_t done, std::int64_t all) { show_progress(file.name, done, all); };
    fetch_set(one, folder, options, [](const PublicFile& fetched, Fetched how) {
      const char* const words = how == Fetched::AlreadyThere ? "already there" : how == Fetched::Resumed ? "downloaded the rest, checksum right" : "downloaded, checksum right";
      fmt::print("{:<30} {}\n", fetched.name, words);
    });
  }
  fmt::print("in {}\n", (folder / (set.unpacks.empty() ? set.folder : fs::path(set.unpacks))).lexically_normal().string());
}

}  // namespace

void add_data_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("data", "Public data sets: list them, download one");
  command->require_subcommand(1);
  command->add_subcommand("list", "What there is, with sizes, sources and licences")->callback([] { list(); });
  CLI::App* get_command = command->add_subcommand("get", "Download a set; goes on where an interrupted download stopped");
  auto arguments = std::make_shared<GetArguments>();
  get_command->add_option("name", arguments->name, "The set, as `tito data list` names it")->required();
  get_command->add_option("--to", arguments->to, "The data folder (TINYTORCH_DATA, or data/ of the workspace or the project)");
  get_command->add_option("--mirror", arguments->mirror, "A URL that has the same files");
  get_command->callback([arguments] { get(*arguments); });
}

}  // namespace tito
