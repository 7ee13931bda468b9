// A learner's workspace: the folders that `tito init` makes, and the modules in it.
//
//   modules/NN_name/        the learner's: a student's copy of the lesson, and its README
//   tinytorch/              the package of what they have completed
//   data/                   the course's small data
//   .tito/workspace.toml    marks the folder
//   .tito/progress.toml     what they have done (learn/progress.h)
//   .tito/course/           all that was handed out, as it came, and the lessons' mistakes.json (learn/handed_out.h)
//   .tito/backup/           what `tito reset` took away
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/module.h"

namespace tito {

class Workspace {
 public:
  Workspace(fs::path root, fs::path course) : root_(std::move(root)), course_(std::move(course)) {}

  const fs::path& root() const { return root_; }
  const fs::path& course() const { return course_; }  // the course's own folder, with the reference

  // "05_autograd", in order; without library chapters.
  std::vector<std::string> folders() const;
  // "5", "05", "autograd" -> "05_autograd". Throws std::runtime_error and lists them otherwise.
  std::string find(std::string_view name) const;

  fs::path file_of(const std::string& folder) const;         // the learner's
  fs::path handed_out_file(const std::string& folder) const;  // as it came
  fs::path mistakes_file(const std::string& folder) const;
  fs::path lock_file() const { return root_ / "build/workspace.lock"; }  // held by who changes .tito/
  fs::path progress_file() const { return root_ / ".tito/progress.toml"; }
  fs::path package() const { return root_ / "tinytorch"; }

  // The learner's module. Throws Diagnostic on what cannot be read as one.
  Module module(const std::string& folder) const;
  // The same with the graded tests as they were handed out, which is what counts. `changed` gets the names of those
  // that differ.
  Module module_with_course_tests(const std::string& folder, std::vector<std::string>* changed = nullptr) const;

 private:
  fs::path root_;
  fs::path course_;
};

// The workspace around the working folder; nothing outside of one. Completes an update that was cut off.
std::optional<Workspace> find_workspace();
// Throws std::runtime_error with what to do, outside of one.
Workspace require_workspace();

// What a workspace holds of the course: path in the workspace -> text. The learner's own files are those in modules/.
std::map<std::string, std::string> course_files(const fs::path& course);

// Makes `folder` a workspace. Throws std::runtime_error if something stands there.
void create_workspace(const fs::path& folder, const fs::path& course);

}  // namespace tito
