// tito new-module: a module to start from.
#include <fmt/core.h>

#include <fstream>
#include <memory>
#include <string>

#include "commands/commands.h"
#include "format/module.h"
#include "format/skeleton.h"

namespace tito {
namespace {

void check_name(const std::string& folder) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  const bool shaped = folder.size() > 3 && digit(folder[0]) && digit(folder[1]) && folder[2] == '_' && folder[3] >= 'a' &&
                      folder[3] <= 'z' && folder.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_", 3) == std::string::npos;
  if (!shaped) throw std::runtime_error("'" + folder + "' is no module name; write NN_name, as in 21_sparse");
  if (is_library_chapter(folder)) throw std::runtime_error("5x to 9x are library chapters, which have no exercises; copy one that is there");
}

void write_file(const fs::path& file, const std::string& text) {
  std::ofstream out(file, std::ios::binary);
  out << text;
  out.close();
  if (!out) throw std::runtime_error(file.generic_string() + " cannot be written");
  fmt::print("wrote {}\n", file.generic_string());
}

void run(const std::string& folder) {
  check_name(folder);
  const fs::path root = project_root();
  for (const fs::directory_entry& entry : fs::directory_iterator(root / "modules")) {
    const std::string other = entry.path().filename().string();
    if (other.substr(0, 3) == folder.substr(0, 3) || (other.size() > 3 && other.substr(3) == folder.substr(3))) {
      throw std::runtime_error("modules/" + other + " exists; number and name of a module are its own");
    }
  }
  const fs::path target = (root / "modules" / folder).lexically_proximate(fs::current_path());
  fs::create_directories(target);
  for (const auto& [name, text] : module_skeleton(folder.substr(0, 2), folder.substr(3))) write_file(target / name, text);
  fmt::print("next: tito export, tito test {}\n", folder.substr(0, 2));
}

}  // namespace

void add_new_module_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("new-module", "Start a module: a small one that passes lint, export and its tests");
  auto folder = std::make_shared<std::string>();
  command->add_option("name", *folder, "NN_name")->required();
  command->callback([folder] { run(*folder); });
}

}  // namespace tito
