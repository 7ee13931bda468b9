// The notebooks that students get, searched like the student's copies that they are made from.
#pragma once

#include <string>
#include <vector>

#include "format/lint.h"

namespace tito {

// The cells of a notebook, and last one of prose with every other text that is in it: metadata, outputs, attachments.
// Throws nlohmann::json::exception for what is no notebook.
std::vector<Cell> cells_of_notebook(const std::string& json);

// Makes the students' notebooks of `modules` with `python`, which has jupytext, in a folder of their own, and looks for what must not be in them.
std::vector<Finding> leaks_in_notebooks(const std::vector<const Module*>& modules, const fs::path& python);

}  // namespace tito
