// Lines of a module on their way into generated files, each with the place it comes from.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "format/export.h"
#include "format/module.h"

namespace tito {

struct SourceLine {
  std::string text;
  int origin = 0;  // line in the module file; 0: made by tito
};

using Source = std::vector<SourceLine>;

// The code of a cell: without markers, scaffold and the comments around solutions; holes as `bodies` says.
Source cell_code(const Module& module, std::size_t cell, Bodies bodies);

// The include lines of all include cells: those under '//| export PATH', and with an empty path the unmarked ones.
Source include_lines(const Module& module, std::string_view path);

bool is_include_cell(const Module& module, std::size_t cell);

// The cell's hole; null when it has none.
const Hole* hole_of(const Module& module, std::size_t cell);

// Whether a hole of this cell is replaced under `bodies`, so that its file needs what the replacement names.
bool has_hole(const Module& module, std::size_t cell);

// Collapses runs of blank lines (not inside literals) and drops blank lines at both ends.
Source tidy(const Source& lines);

GeneratedFile generated_file(std::string path, const Module* module, const Source& lines);

}  // namespace tito
