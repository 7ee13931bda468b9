// tito: exports, checks, builds and tests the course.
#include <fmt/core.h>

#include <exception>

#include "commands/commands.h"

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
  tito::add_doctor_command(app);
  if (argc == 1) {
    fmt::print("{}", app.help());
    return 0;
  }
  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const tito::Exit& exit) {
    return exit.code;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
