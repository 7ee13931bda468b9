// Programs whose output is compared with a recorded one.
#pragma once

#include <string>

#include "build/process.h"

namespace tito {

// Runs `program` in `folder`, which is emptied before. Empty when it ends well and prints what the file `recorded` holds; else what
// went wrong: how it ended, or the first line that differs.
std::string compare_with_recorded(const fs::path& program, const fs::path& folder, const fs::path& recorded);

}  // namespace tito
