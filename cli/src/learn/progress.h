// What a learner has done, in .tito/progress.toml. When the file is damaged, it is rebuilt from their modules and from
// tinytorch/, and not trusted.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "learn/workspace.h"

namespace tito {

struct ModuleProgress {
  std::string started;            // when, "2026-11-21T07:10:00Z"; empty: not yet
  std::string completed;          // when; empty: not yet
  std::set<std::string> passed;   // graded cells whose tests passed when they were last run
  std::map<std::string, int> hints;  // exercise -> how many were shown

  bool operator==(const ModuleProgress&) const = default;
};

struct Progress {
  std::map<std::string, ModuleProgress> modules;  // by folder, "05_autograd"
  std::set<std::string> milestones;               // that have opened

  bool operator==(const Progress&) const = default;
};

std::string progress_text(const Progress& progress);
// Nothing when the text is damaged: not TOML, not what tito writes, or another text than tito wrote.
std::optional<Progress> parse_progress(const std::string& text);

// What the modules themselves show: started is what differs from the handed-out copy, complete is what stands in tinytorch/
// as the module exports it now.
Progress rebuilt_progress(const Workspace& workspace);
// The same for one module.
ModuleProgress rebuilt_progress(const Workspace& workspace, const std::string& folder);

// Reads the file; when it is damaged, keeps it as progress.toml.damaged, writes a rebuilt one, and says so.
Progress read_progress(const Workspace& workspace);
// Reads the record, changes it and writes it, while no other tito does: a test that ran for minutes takes back nothing that was
// written meanwhile. Returns what was written.
Progress change_progress(const Workspace& workspace, const std::function<void(Progress&)>& change);

std::string now();

}  // namespace tito
