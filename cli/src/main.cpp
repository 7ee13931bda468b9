// tito: exports, checks, builds and tests the course.
#include <fmt/core.h>

#include <exception>
#include <string>
#include <string_view>

#include "build/process.h"
#include "commands/commands.h"

namespace {

constexpr int wrong_usage = 2;

// What is wrong with the first word; empty if it is a command. (CLI11 only says that a subcommand is required.)
std::string check_command(const CLI::App& app, std::string_view name) {
  std::string known;
  for (const CLI::App* command : app.get_subcommands({})) {
    if (command->get_name() == name) return "";
    if (!command->get_group().empty()) known += (known.empty() ? "" : ", ") + command->get_name();
  }
  return fmt::format("unknown command '{}'; there are: {}", name, known);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("tito: exports, checks, builds and tests the TinyTorch course", "tito");
  app.require_subcommand(1);
  tito::add_demo_command(app);
  tito::add_test_command(app);
  tito::add_run_command(app);
  tito::add_export_command(app);
  tito::add_lint_command(app);
  tito::add_student_command(app);
  tito::add_mistakes_command(app);
  tito::add_new_module_command(app);
  tito::add_bench_command(app);
  tito::add_data_command(app);
  tito::add_grade_command(app);
  tito::add_sandbox_command(app);
  tito::add_notebook_command(app);
  tito::add_milestone_command(app);
  tito::add_generate_command(app);
  tito::add_doctor_command(app);
  tito::add_init_command(app);
  tito::add_path_command(app);
  tito::add_start_command(app);
  tito::add_hint_command(app);
  tito::add_watch_command(app);
  tito::add_complete_command(app);
  tito::add_status_command(app);
  tito::add_reset_command(app);
  tito::add_update_command(app);
  if (argc == 1) {
    fmt::print("{}", app.help());
    return 0;
  }
  const std::string complaint = *argv[1] == '-' ? "" : check_command(app, argv[1]);
  if (!complaint.empty()) {
    fmt::print(stderr, "{}\n", complaint);
    return wrong_usage;
  }
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : wrong_usage;
  } catch (const tito::Interrupted& interrupted) {
    return 128 + interrupted.signal;
  } catch (const tito::Exit& exit) {
    return exit.code;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
