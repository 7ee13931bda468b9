// tito student: writes the student's copy of a module.
#include <fmt/core.h>

#include <fstream>
#include <memory>
#include <string>

#include "commands/commands.h"
#include "format/student.h"

namespace tito {
namespace {

struct StudentOptions {
  std::string module;
  std::string out;
};

void run_student(const StudentOptions& options) {
  const fs::path root = project_root();
  const std::vector<Module> course = load_stage_of(root, options.module);
  const Module& module = find_module(course, options.module);
  const std::string text = student_copy(module);
  if (options.out.empty()) {
    fmt::print("{}", text);
    return;
  }
  const fs::path file = fs::path(options.out) / module.folder() / (module.name + "_dev.cpp");
  if (fs::exists(file)) {
    if (read_text(file) == text) {
      fmt::print("{} is up to date\n", file.generic_string());
      return;
    }
    throw std::runtime_error(file.generic_string() + " exists and has other content; it may be somebody's work, so it stays");
  }
  fs::create_directories(file.parent_path());
  std::ofstream stream(file, std::ios::binary);
  stream << text;
  stream.close();
  if (!stream) throw std::runtime_error(file.generic_string() + " cannot be written");
  fmt::print("wrote {} ({} exercises)\n", file.generic_string(), module.holes.size());
}

}  // namespace

void add_student_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("student", "Write the student's copy of a module: holes instead of solutions");
  auto options = std::make_shared<StudentOptions>();
  command->add_option("module", options->module, "Number or name of the module")->required();
  command->add_option("--out", options->out, "Write DIR/NN_name/name_dev.cpp instead of printing");
  command->callback([options] { run_student(*options); });
}

}  // namespace tito
