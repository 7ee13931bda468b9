// Each command adds itself to the program; its file says what it does.
#pragma once

#include <CLI/CLI.hpp>

#include <string>

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
void add_grade_command(CLI::App& app);
void add_sandbox_command(CLI::App& app);
void add_notebook_command(CLI::App& app);
void add_milestone_command(CLI::App& app);
void add_generate_command(CLI::App& app);

// A learner's commands, in a workspace.
void add_init_command(CLI::App& app);
void add_start_command(CLI::App& app);
void add_hint_command(CLI::App& app);
void add_complete_command(CLI::App& app);
void add_status_command(CLI::App& app);
void add_path_command(CLI::App& app);
void add_reset_command(CLI::App& app);
void add_update_command(CLI::App& app);
void add_watch_command(CLI::App& app);

class StageBuild;
// Builds one program of `build`; when it does not compile, prints the compiler's messages and throws Exit.
void build_for_command(const StageBuild& build, const std::string& program, const std::string& what);

struct LessonTestArguments {
  std::string module;    // empty: the one that is worked on
  bool reference = false;
  std::string sanitize;  // empty, memory or thread
  bool json = false;
  std::string compiler = "g++";
};
// `tito test` inside a workspace.
void test_in_workspace(const LessonTestArguments& arguments);

}  // namespace tito
