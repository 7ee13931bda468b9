// Which lesson a learner is at.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "learn/progress.h"

namespace tito {

bool is_complete(const Progress& progress, const std::string& folder);
bool is_started(const Progress& progress, const std::string& folder);

// The first module that is not complete; nothing when all are.
std::optional<std::string> next_lesson(const Workspace& workspace, const Progress& progress);

// What a command means that names no module: the one that was started last and is not complete, else the next one.
// Throws std::runtime_error when all are complete.
std::string current_lesson(const Workspace& workspace, const Progress& progress, const std::string& name);

// The text of a section of a module's README, `**Rationale.** ...` or `## ...`: one paragraph.
std::string readme_paragraph(const Workspace& workspace, const std::string& folder, const std::string& opening);
// "Build -> Use -> Analyze".
std::string learning_pattern(const Workspace& workspace, const std::string& folder);

}  // namespace tito
