// tito lint: whether the modules have the shape that the course asks for.
#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "commands/commands.h"
#include "format/export.h"
#include "format/lint.h"
#include "notebook/kernel.h"
#include "notebook/python.h"
#include "notebook/student_notebook.h"

namespace tito {
namespace {

struct LintOptions {
  std::string module;
  bool json = false;
  bool quiet = false;
};

bool is_error(const Finding& finding) { return finding.level == Finding::Level::Error; }

void print_json(const std::vector<Finding>& findings) {
  nlohmann::json list = nlohmann::json::array();
  for (const Finding& finding : findings) {
    list.push_back({{"level", is_error(finding) ? "error" : "note"},
                    {"file", finding.file.generic_string()},
                    {"line", finding.line},
                    {"rule", finding.rule},
                    {"message", finding.message}});
  }
  fmt::print("{}\n", list.dump(2));
}

void print_text(const std::vector<Finding>& findings, bool quiet) {
  for (const Finding& finding : findings) {
    if (quiet && !is_error(finding)) continue;
    fmt::print("{}:{}: {}: {} [{}]\n", finding.file.generic_string(), finding.line, is_error(finding) ? "error" : "note",
               finding.message, finding.rule);
  }
}

// Those of the modules, or of `only`, that students get as notebooks.
std::vector<const Module*> lessons(const std::vector<Module>& course, const Module* only) {
  std::vector<const Module*> out;
  for (const Module& module : course) {
    if (!module.library_chapter && (only == nullptr || only == &module)) out.push_back(&module);
  }
  return out;
}

void run_lint(const LintOptions& options) {
  const fs::path root = project_root();
  const std::vector<Module> course = options.module.empty() ? load_course(root) : load_stage_of(root, options.module);
  const Module* only = options.module.empty() ? nullptr : &find_module(course, options.module);
  export_package(course);  // refuses what cannot be exported
  std::vector<Finding> findings;
  for (const Module& module : course) {
    if (only != nullptr && &module != only) continue;
    for (Finding& finding : lint_module(module, course)) findings.push_back(std::move(finding));
  }
  const fs::path python = python_if_installed(notebook_folder() / "requirements.txt");
  if (!python.empty()) {
    for (Finding& leak : leaks_in_notebooks(lessons(course, only), python)) findings.push_back(std::move(leak));
  }
  const auto errors = std::count_if(findings.begin(), findings.end(), is_error);
  if (options.json) {
    print_json(findings);
  } else {
    print_text(findings, options.quiet);
    fmt::print("{} modules: {} errors, {} notes\n", only != nullptr ? 1 : course.size(), errors,
               findings.size() - static_cast<std::size_t>(errors));
    if (python.empty()) fmt::print("students' notebooks were not made and searched: jupytext is not installed ('tito notebook' does that)\n");
  }
  if (errors != 0) throw Exit{1};
}

}  // namespace

void add_lint_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("lint", "Check that modules have the shape the course asks for");
  auto options = std::make_shared<LintOptions>();
  command->add_option("module", options->module, "Only this module");
  command->add_flag("--json", options->json, "The findings as JSON");
  command->add_flag("--quiet", options->quiet, "Errors only, no notes");
  command->callback([options] { run_lint(*options); });
}

}  // namespace tito
