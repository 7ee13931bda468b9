// A newer course in a workspace that has work in it: all of it or nothing, and every line of the learner's stays.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "learn/workspace.h"

namespace tito {

struct Update {
  std::map<std::string, std::string> files;  // path in the workspace -> its new text; only what changes
  std::vector<std::string> conflicts;        // a sentence each
  std::vector<std::string> kept;             // files that stay as the learner has them: a sentence each
  std::vector<std::string> changed_modules;
};

// What has to change. What only the learner changed stays, what only the course changed is replaced, and what both did is put
// together. In lessons, what does not fit together is a conflict, or with `keep_mine` stays as the learner has it; other files stay anyway.
Update plan_update(const Workspace& workspace, bool keep_mine);

// Puts the files into place. A kill at any moment leaves the workspace as it was, or with an update that finish_update
// completes.
void apply_update(const Workspace& workspace, const Update& update);

// Completes an update that was cut off after it was decided; every command calls it first. A file that was edited since
// stays as it is; its path is returned.
std::vector<std::string> finish_update(const Workspace& workspace);

}  // namespace tito
