// Each command adds itself to the program; its file says what it does.
#pragma once

#include <CLI/CLI.hpp>

namespace tito {

// Thrown by a command that has already said what is wrong; main returns `code`.
struct Exit {
  int code;
};

void add_export_command(CLI::App& app);
void add_lint_command(CLI::App& app);
void add_student_command(CLI::App& app);
void add_new_module_command(CLI::App& app);

void add_test_command(CLI::App& app);
void add_run_command(CLI::App& app);
void add_mistakes_command(CLI::App& app);
void add_doctor_command(CLI::App& app);
void add_demo_command(CLI::App& app);
void add_bench_command(CLI::App& app);
void add_data_command(CLI::App& app);

}  // namespace tito
