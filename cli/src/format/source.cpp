#include "format/source.h"

#include <algorithm>

#include "format/cpp_scan.h"

namespace tito {
namespace {

std::string cpp_literal(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string indent_of(std::string_view line) { return std::string(line.substr(0, line.find_first_not_of(" \t"))); }

bool returns_nothing(const Cell& cell, const Hole& hole) {
  std::vector<Item> level = scan_items(join_lines(cell.body));
  while (!level.empty()) {
    std::vector<Item> below;
    for (const Item& item : level) {
      if (item.kind == Item::Kind::Function && item.definition && item.head == hole.signature) return item.returns_nothing;
      below.insert(below.end(), item.members.begin(), item.members.end());
    }
    level = std::move(below);
  }
  return false;
}

// The hole and the mistakes as branches in front of the solution.
void add_variants(const Module& module, const Cell& cell, const Hole& hole, Source& out) {
  const std::string pad = indent_of(cell.body[hole.body_first]);
  const int line = cell.body_line + static_cast<int>(hole.body_first);
  out.push_back({pad + "if (::tito::variant(" + cpp_literal(hole.grade_id) + ")) throw NotImplemented(" +
                     cpp_literal(hole.message()) + ");",
                 line});
  const bool nothing = returns_nothing(cell, hole);
  for (const Mistake& mistake : module.mistakes) {
    if (mistake.grade_id != hole.grade_id) continue;
    out.push_back({pad + "if (::tito::variant(" + cpp_literal(mistake.id()) + ")) {", mistake.line});
    for (std::size_t i = 0; i < mistake.body.size(); ++i) {
      const std::string& text = mistake.body[i];
      out.push_back({is_blank(text) ? "" : "  " + text, mistake.body_line + static_cast<int>(i)});
    }
    if (nothing) out.push_back({pad + "  return;", mistake.line});
    out.push_back({pad + "}", mistake.line});
  }
}

}  // namespace

const Hole* hole_of(const Module& module, std::size_t cell) {
  for (const Hole& hole : module.holes) {
    if (hole.cell == cell) return &hole;
  }
  return nullptr;
}

bool has_hole(const Module& module, std::size_t cell) { return hole_of(module, cell) != nullptr; }

Source cell_code(const Module& module, std::size_t cell_index, Bodies bodies) {
  const Cell& cell = module.cells[cell_index];
  const Hole* hole = hole_of(module, cell_index);
  if (module.edition == Edition::Student) bodies = Bodies::Reference;  // its bodies are what the student wrote
  Source out;
  for (std::size_t i = 0; i < cell.body.size(); ++i) {
    const std::string& text = cell.body[i];
    const int line = cell.body_line + static_cast<int>(i);
    if (text.starts_with("//|")) continue;
    if (hole != nullptr) {
      const bool scaffold = i >= hole->todo_first && i <= hole->todo_last;
      const bool around = module.edition == Edition::Reference && (i + 1 == hole->body_first || i == hole->body_last + 1);
      const bool in_body = i >= hole->body_first && i <= hole->body_last;
      if (i == hole->body_first && bodies == Bodies::Instrumented) add_variants(module, cell, *hole, out);
      if (scaffold) {
        // The blank comment line that sets the scaffold off goes with it.
        if (i == hole->todo_first && !out.empty() && trim(out.back().text) == "//") out.pop_back();
        continue;
      }
      if (around) continue;
      if (in_body && bodies == Bodies::Student) {
        if (i == hole->body_first) {
          out.push_back({indent_of(text) + "throw NotImplemented(" + cpp_literal(hole->message()) + ");", line});
        }
        continue;
      }
    }
    out.push_back({text, line});
  }
  return out;
}

bool is_include_cell(const Module& module, std::size_t index) {
  const Cell& cell = module.cells[index];
  if (cell.kind != Cell::Kind::Code || index >= module.open_cell || cell.marker("mistake") != nullptr) return false;
  bool directives = false;
  for (const std::string& line : cell.body) {
    const std::string_view text = trim(line);
    if (text.empty() || text.starts_with("//")) continue;
    if (text.front() != '#') return false;
    directives = true;
  }
  return directives;
}

Source include_lines(const Module& module, std::string_view path) {
  Source out;
  for (std::size_t i = 0; i < module.open_cell; ++i) {
    if (!is_include_cell(module, i)) continue;
    const Cell& cell = module.cells[i];
    std::string_view target;
    std::size_t next_marker = 0;
    for (std::size_t j = 0; j < cell.body.size(); ++j) {
      const std::string& text = cell.body[j];
      if (text.starts_with("//|")) {
        const Marker& marker = cell.markers[next_marker++];
        if (marker.word == "export") target = marker.argument;
      } else if (target == path && !is_blank(text)) {
        out.push_back({text, cell.body_line + static_cast<int>(j)});
      }
    }
  }
  if (!path.empty()) return out;
  for (const std::size_t i : module.include_breaks) {
    const Cell& cell = module.cells[i];
    for (std::size_t j = 0; j < cell.body.size(); ++j) {
      if (cell.body[j].starts_with("#include")) out.push_back({cell.body[j], cell.body_line + static_cast<int>(j)});
    }
  }
  return out;
}

Source tidy(const Source& lines) {
  std::string text;
  for (const SourceLine& line : lines) text += line.text + "\n";
  const std::vector<bool> inside = lines_inside_literals(text);
  Source out;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const bool blank = !inside[i] && is_blank(lines[i].text);
    if (blank && (out.empty() || out.back().text.empty())) continue;
    out.push_back(blank ? SourceLine{"", lines[i].origin} : lines[i]);
  }
  while (!out.empty() && out.back().text.empty()) out.pop_back();
  return out;
}

GeneratedFile generated_file(std::string path, const Module* module, const Source& lines) {
  GeneratedFile file;
  file.path = std::move(path);
  if (module != nullptr) file.source = module->file;
  for (const SourceLine& line : lines) {
    file.text += line.text;
    file.text += '\n';
    file.origin.push_back(line.origin);
  }
  return file;
}

}  // namespace tito
