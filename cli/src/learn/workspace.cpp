#include "learn/workspace.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>

#include "build/known_mistakes.h"
#include "build/process.h"
#include "fetch/sets.h"
#include "format/student.h"
#include "learn/handed_out.h"
#include "learn/text_files.h"
#include "learn/update.h"

namespace tito {
namespace {

constexpr std::string_view readme = R"(# My TinyTorch

Your own workspace for the TinyTorch course. You work in `modules/`, one file for each module, from 00 on; everything else is made from it.

    tito path            what comes next, and why
    tito start 00        get ready for a module
    tito test 00         compile your file and run its tests
    tito watch 00        the same on every save, in a live screen
    tito run 00          its demonstrations and measurements
    tito notebook 00     the lesson in JupyterLab; what you write there stands in your file too
    tito hint 00         the next hint for the exercise you are at
    tito complete 00     all tests, of this module and of those before it; your package in tinytorch/ grows
    tito status          where you stand

`tito reset NN` brings back a module as it was handed out (and keeps yours as a backup), `tito update` brings in a newer course and keeps your work.

| folder | holds |
|---|---|
| `modules/` | the lessons; your answers stand in them |
| `tinytorch/` | the framework as far as you have built it; never edited by hand |
| `data/` | the course's small data, with sources and licences |
| `.tito/` | your progress, and the lessons as they were handed out |
)";

// The last ones are what `tito data get` downloads.
constexpr std::string_view gitignore = R"(/build/
.ipynb_checkpoints/
/data/mnist/
/data/fashion-mnist/
/data/cifar-10-batches-bin*/
/data/cifar-10-binary.tar.gz
/data/tinyshakespeare.txt
/data/*.part
)";

constexpr std::string_view marker = R"(# This folder is a TinyTorch workspace, made by `tito init`.
format = 1
)";

bool is_module_folder(const std::string& name) {
  return name.size() > 3 && std::isdigit(static_cast<unsigned char>(name[0])) != 0 &&
         std::isdigit(static_cast<unsigned char>(name[1])) != 0 && name[2] == '_' && !is_library_chapter(name);
}

std::string file_name(const std::string& folder) { return folder.substr(3) + "_dev.cpp"; }

// Whether `tito data get` brought this file of the course's data/: then it is no part of the course.
bool is_downloaded(const std::vector<PublicSet>& sets, const fs::path& file) {
  return file.extension() == ".part" || std::any_of(sets.begin(), sets.end(), [&](const PublicSet& set) {
    const bool unpacked = !set.unpacks.empty() && *file.begin() == set.unpacks;
    return unpacked || std::any_of(set.files.begin(), set.files.end(), [&](const PublicFile& one) {
      return (set.folder / one.name).lexically_normal() == file;
    });
  });
}

// A text per graded cell of the lesson.
std::map<std::string, const Cell*> graded_tests(const CellFile& file) {
  std::map<std::string, const Cell*> out;
  for (const Cell& cell : file.cells) {
    if (cell.kind == Cell::Kind::Code && cell.nbgrader_flag("grade") && cell.nbgrader_flag("locked")) out[cell.grade_id()] = &cell;
  }
  return out;
}

std::string text_of(const Cell& cell) { return cell.title_line + "\n" + join_lines(cell.body); }

}  // namespace

std::vector<std::string> Workspace::folders() const {
  std::vector<std::string> out;
  if (!fs::is_directory(root_ / "modules")) return out;
  for (const fs::directory_entry& entry : fs::directory_iterator(root_ / "modules")) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && is_module_folder(name)) out.push_back(name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string Workspace::find(std::string_view name) const {
  std::string list;
  for (const std::string& folder : folders()) {
    const std::string number = folder.substr(0, 2);
    if (name == folder || name == number || name == folder.substr(3) || "0" + std::string(name) == number) return folder;
    list += (list.empty() ? "" : ", ") + folder;
  }
  throw std::runtime_error(fmt::format("unknown module '{}'; this workspace has: {}", name, list));
}

fs::path Workspace::file_of(const std::string& folder) const {
  // Short in messages where that is the same file.
  const fs::path file = root_ / "modules" / folder / file_name(folder);
  return fs::current_path() == root_ ? file.lexically_relative(root_) : file;
}

fs::path Workspace::handed_out_file(const std::string& folder) const {
  return root_ / ".tito/course" / folder / file_name(folder);
}

fs::path Workspace::mistakes_file(const std::string& folder) const { return root_ / ".tito/course" / folder / "mistakes.json"; }

Module Workspace::module(const std::string& folder) const { return parse_module(file_of(folder), Edition::Student); }

Module Workspace::module_with_course_tests(const std::string& folder, std::vector<std::string>* changed) const {
  const fs::path file = file_of(folder);
  const std::string text = read_text(file);
  const CellFile mine = parse_cells(file, text);
  const CellFile handed_out = parse_cells(handed_out_file(folder), handed_out_lesson(*this, folder));
  std::map<std::string, const Cell*> tests = graded_tests(handed_out);
  std::vector<std::string> lines = split_lines(text);
  // From the last cell on, so that the lines of those before it stay where they are.
  for (std::size_t i = mine.cells.size(); i-- > 0;) {
    const auto test = tests.find(mine.cells[i].grade_id());
    if (test == tests.end()) continue;
    const Cell& counts = *test->second;
    tests.erase(test);
    if (text_of(counts) == text_of(mine.cells[i])) continue;
    if (changed != nullptr) changed->push_back(counts.grade_id());
    const auto first = lines.begin() + (mine.cells[i].line - 1);
    const auto stop = i + 1 < mine.cells.size() ? lines.begin() + (mine.cells[i + 1].line - 1) : lines.end();
    const auto length = static_cast<std::size_t>(stop - first);
    std::vector<std::string> replacement = split_lines(text_of(counts));
    replacement.resize(std::max(replacement.size() + 1, length));
    lines.insert(lines.erase(first, stop), replacement.begin(), replacement.end());
  }
  if (!tests.empty()) {
    throw Diagnostic(file, 0, fmt::format("the graded test {} is gone; your editor's undo brings it back, or 'tito reset {}'",
                                          tests.begin()->first, folder.substr(0, 2)));
  }
  return parse_module(file, join_lines(lines), Edition::Student);
}

std::optional<Workspace> find_workspace() {
  for (fs::path folder = fs::current_path();; folder = folder.parent_path()) {
    if (folder == folder.parent_path()) return std::nullopt;
    if (!fs::is_regular_file(folder / ".tito/workspace.toml")) continue;
    const Workspace workspace(folder, course_folder());
    for (const std::string& path : finish_update(workspace)) {
      fmt::print(stderr, "{} was edited while an update was cut off; it stays as it is, and 'tito update' merges it\n", path);
    }
    return workspace;
  }
}

Workspace require_workspace() {
  if (std::optional<Workspace> workspace = find_workspace()) return *workspace;
  throw std::runtime_error("this is not a workspace: make one with 'tito init DIR', and work inside it");
}

std::map<std::string, std::string> course_files(const fs::path& course) {
  std::map<std::string, std::string> files;
  files["README.md"] = readme;
  files[".gitignore"] = gitignore;
  files[".tito/workspace.toml"] = marker;
  for (const Module& module : load_course(course)) {
    if (module.library_chapter) continue;
    const std::string folder = module.folder();
    const std::string copy = student_copy(module);
    files["modules/" + folder + "/" + file_name(folder)] = copy;
    const std::string mistakes = read_if_there(tito::mistakes_file(module));
    if (!mistakes.empty()) files[".tito/course/" + folder + "/mistakes.json"] = mistakes;
    const std::string module_readme = read_if_there(course / "modules" / folder / "README.md");
    if (!module_readme.empty()) files["modules/" + folder + "/README.md"] = module_readme;
  }
  const fs::path table = course / "data/sets.toml";
  const std::vector<PublicSet> sets = fs::exists(table) ? read_sets(table) : std::vector<PublicSet>();
  for (const std::string& path : files_below(course / "data")) {
    if (!is_downloaded(sets, path)) files["data/" + path] = read_text(course / "data" / path);
  }
  for (const auto& [path, text] : std::map(files)) {
    if (path.starts_with("modules/") || path.starts_with("data/")) files[handed_out_path(path)] = text;
  }
  return files;
}

void create_workspace(const fs::path& folder, const fs::path& course) {
  if (fs::exists(folder) && !(fs::is_directory(folder) && fs::is_empty(folder))) {
    throw std::runtime_error(fmt::format("{} is there already and not empty; choose another folder", folder.string()));
  }
  const fs::path target = fs::absolute(folder).lexically_normal();
  const fs::path clean = target.filename().empty() ? target.parent_path() : target;
  const fs::path growing = fmt::format("{}.new-{}", clean.string(), getpid());
  try {
    Checksums checksums;
    for (const auto& [path, text] : course_files(course)) {
      write_atomically(growing / path, text);
      if (path.starts_with(".tito/course/")) checksums[path] = hash_of(text);
    }
    write_checksums(growing, checksums);
    fs::create_directories(growing / "tinytorch");
    if (fs::exists(clean)) fs::remove(clean);
    fs::rename(growing, clean);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(growing, ignored);
    throw;
  }
}

}  // namespace tito
