// tito sandbox: becomes a command in the sandbox of `tito grade`. For the notebook's kernel, when it runs submissions.
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "commands/commands.h"
#include "grade/sandbox.h"

namespace tito {
namespace {

struct SandboxArguments {
  std::string folder;
  std::string directory;
  std::vector<std::string> readable;
  std::vector<std::string> writable;
  std::vector<std::string> variables;
  std::vector<std::string> command;
  bool starts_programs = false;
};

void become(const SandboxArguments& arguments) {
  const Sandbox sandbox = Sandbox::isolated(arguments.folder);
  Reach reach;
  reach.directory = arguments.directory;
  reach.readable.assign(arguments.readable.begin(), arguments.readable.end());
  reach.writable.assign(arguments.writable.begin(), arguments.writable.end());
  for (const std::string& variable : arguments.variables) {
    const std::size_t equals = std::min(variable.find('='), variable.size() - 1);
    reach.environment.emplace_back(variable.substr(0, equals), variable.substr(equals + 1));
  }
  reach.starts_programs = arguments.starts_programs;
  Command whole = sandbox.wrapper(reach);
  whole.insert(whole.end(), arguments.command.begin(), arguments.command.end());
  std::vector<char*> words;
  for (std::string& word : whole) words.push_back(word.data());
  words.push_back(nullptr);
  std::fflush(nullptr);
  execvp(words[0], words.data());
  throw std::runtime_error("the sandbox could not be started");
}

}  // namespace

void add_sandbox_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("sandbox", "Run a command as submissions are run")->group("");
  const auto arguments = std::make_shared<SandboxArguments>();
  command->add_option("--folder", arguments->folder, "for a small file of the sandbox's own")->required();
  command->add_option("--directory", arguments->directory, "where it runs")->required();
  command->add_option("--read", arguments->readable, "a path that it may read")->allow_extra_args(false);
  command->add_option("--write", arguments->writable, "a path that it may write")->allow_extra_args(false);
  command->add_option("--variable", arguments->variables, "NAME=VALUE in its environment")->allow_extra_args(false);
  command->add_flag("--starts-programs", arguments->starts_programs, "as compilers do");
  command->add_option("command", arguments->command, "behind --")->required();
  command->positionals_at_end();
  command->callback([arguments] { become(*arguments); });
}

}  // namespace tito
