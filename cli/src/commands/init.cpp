// tito init DIR: a workspace of the learner's own.
#include <fmt/core.h>

#include <cstdlib>
#include <memory>

#include "build/process.h"
#include "commands/commands.h"
#include "learn/workspace.h"

namespace tito {
namespace {

// Why there is no repository, or no first commit; empty when both are there.
std::string make_repository(const fs::path& folder) {
  if (find_program("git").empty()) return "git is not installed, so this folder is not a repository yet (apt-get install git; git init)";
  ProcessOptions options;
  options.directory = folder;
  const auto git = [&](const Command& arguments) {
    Command command{"git"};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return run_process(command, options);
  };
  if (!git({"init", "-q", "-b", "main"}).ok()) return "git could not make a repository of it";
  if (!git({"add", "-A"}).ok()) return "git could not add the files";
  if (!git({"commit", "-q", "-m", "The TinyTorch course as it was handed out"}).ok()) {
    return "git does not know who you are yet, so nothing is committed: git config --global user.name and user.email, then git commit";
  }
  return "";
}

void run_init(const std::string& name) {
  const fs::path folder = name;
  const fs::path course = course_folder();
  if (find_workspace()) throw std::runtime_error("this is inside of a workspace already; make the new one somewhere else");
  create_workspace(folder, course);
  const std::string complaint = make_repository(folder);
  fmt::print("Made {} with {} modules.\n", folder.string(), Workspace(folder, course).folders().size());
  if (!complaint.empty()) fmt::print("{}\n", complaint);
  if (find_program("tito").empty()) {
    fmt::print("\nSo that your shell finds tito (once):\n    mkdir -p ~/.local/bin && ln -s {} ~/.local/bin/tito\n",
               fs::exists(course / "tito") ? (course / "tito").string() : fs::read_symlink("/proc/self/exe").string());
  }
  fmt::print("\nNext:\n    cd {}\n    tito start 00\n", folder.string());
}

}  // namespace

void add_init_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("init", "Make a workspace of your own, to learn in");
  const auto folder = std::make_shared<std::string>();
  command->add_option("folder", *folder, "the folder to make")->required();
  command->callback([folder] { run_init(*folder); });
}

}  // namespace tito
