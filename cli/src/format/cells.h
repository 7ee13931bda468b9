// The cells of a module file: jupytext's percent format with TinyTorch's markers.
#pragma once

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "format/diagnostic.h"

namespace tito {

// `text` without the blanks at its ends.
std::string_view trim(std::string_view text);
bool is_blank(std::string_view line);

// A line `//| word argument`.
struct Marker {
  std::string word;
  std::string argument;
  int line = 0;
};

struct Cell {
  enum class Kind { Markdown, Code };

  Kind kind = Kind::Code;
  int line = 0;                   // of its "// %%"
  std::string title_line;         // the "// %%" line as written
  nlohmann::json metadata;        // the object on that line; null when there is none
  std::vector<std::string> body;  // the lines below, with markers, without trailing blank lines
  int body_line = 0;              // of body[0]
  std::vector<Marker> markers;    // code cells only

  const Marker* marker(std::string_view word) const;
  // The value of a flag in the nbgrader object; false when there is none.
  bool nbgrader_flag(const char* key) const;
  std::string grade_id() const;
  double points() const;
};

struct CellFile {
  fs::path file;
  std::vector<std::string> header;  // lines before the first cell
  std::vector<Cell> cells;
};

// Throws Diagnostic on a malformed cell line, metadata or marker.
CellFile parse_cells(const fs::path& file, std::string_view text);

std::vector<std::string> split_lines(std::string_view text);
std::string join_lines(const std::vector<std::string>& lines);

// Throws Diagnostic when the file cannot be read.
std::string read_text(const fs::path& file);

}  // namespace tito
