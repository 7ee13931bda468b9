#include "notebook/student_notebook.h"

#include <fmt/core.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "format/leaks.h"
#include "format/student.h"
#include "learn/text_files.h"
#include "notebook/kernel.h"

namespace tito {
namespace {

using Json = nlohmann::json;

// A text in a notebook is a string or a list of its lines.
std::string joined_text(const Json& text) {
  if (text.is_string()) return text.get<std::string>();
  std::string out;
  for (const Json& line : text) out += line.get<std::string>();
  return out;
}

void collect_texts(const Json& value, std::string& out) {
  if (value.is_string()) out += value.get<std::string>() + "\n";
  if (!value.is_structured()) return;
  for (const Json& item : value) collect_texts(item, out);
}

std::string as_prose(const std::string& metadata, const std::string& text) {
  std::string out = "// %% [markdown] " + metadata + "\n";
  for (const std::string& line : split_lines(text)) out += "// " + line + "\n";
  return out;
}

}  // namespace

std::vector<Cell> cells_of_notebook(const std::string& json) {
  Json notebook = Json::parse(json);
  std::string percent;
  for (Json& cell : notebook.at("cells")) {
    const std::string source = joined_text(cell.at("source"));
    if (cell.at("cell_type") == "code") {
      percent += "// %% " + cell.at("metadata").dump() + "\n" + source + "\n";
    } else {
      percent += as_prose(cell.at("metadata").dump(), source);
    }
    cell.erase("source");
  }
  std::string others;
  collect_texts(notebook, others);
  return parse_cells("notebook", percent + as_prose("{}", others)).cells;
}

std::vector<Finding> leaks_in_notebooks(const std::vector<const Module*>& modules, const fs::path& python) {
  if (modules.empty()) return {};  // library chapters only: nothing is handed out
  const fs::path folder = fs::temp_directory_path() / fmt::format("tito-notebooks-{}", getpid());
  for (const Module* module : modules) write_atomically(folder / (module->folder() + ".cpp"), student_copy(*module));
  ProcessOptions options;
  options.environment = {{"PYTHONPATH", notebook_folder().string()}};
  const ProcessResult result = run_process({python.string(), "-m", "tinytorch_kernel.convert", folder.string(), folder.string()}, options);
  if (!result.ok()) throw std::runtime_error(fmt::format("students' notebooks could not be made:\n{}", result.output));
  std::vector<Finding> findings;
  for (const Module* module : modules) {
    const std::vector<Cell> cells = cells_of_notebook(read_text(folder / (module->folder() + ".ipynb")));
    for (Finding& leak : find_leaks(*module, cells, "notebook")) findings.push_back(std::move(leak));
  }
  fs::remove_all(folder);
  return findings;
}

}  // namespace tito
