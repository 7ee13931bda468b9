#include "format/units.h"

#include <algorithm>
#include <string>

#include "format/source.h"

namespace tito {
namespace {

void append(Source& out, const Source& lines) { out.insert(out.end(), lines.begin(), lines.end()); }

// For each line of a cell, whether it belongs to the hidden tests (the two comment lines included).
std::vector<bool> hidden_lines(const Cell& cell) {
  std::vector<bool> hidden;
  bool inside = false;
  for (const std::string& line : cell.body) {
    const std::string_view text = trim(line);
    if (text == "// BEGIN HIDDEN TESTS") inside = true;
    hidden.push_back(inside);
    if (text == "// END HIDDEN TESTS") inside = false;
  }
  return hidden;
}

// Hidden tests stay in the unit and run when the test program is told to; a student's copy has none. A test that is
// hidden as a whole goes into a suite of that name, which the program can leave out.
Source test_lines(const Module& module, const Test& test, bool with_hidden) {
  const Cell& cell = module.cells[test.cell];
  const std::vector<bool> hidden = hidden_lines(cell);
  const bool as_a_whole = hidden[test.first];
  if (as_a_whole && !with_hidden) return {};
  Source out;
  for (std::size_t i = test.first; i <= test.last; ++i) {
    const std::string_view text = trim(cell.body[i]);
    const bool begins = text == "// BEGIN HIDDEN TESTS";
    if (begins || text == "// END HIDDEN TESTS") {
      if (with_hidden && !as_a_whole) out.push_back({begins ? "  if (tito::runs_hidden_tests()) {" : "  }", 0});
    } else if (!hidden[i] || with_hidden) {
      out.push_back({cell.body[i], cell.body_line + static_cast<int>(i)});
    }
  }
  if (as_a_whole) {
    out.insert(out.begin(), {"TEST_SUITE_BEGIN(\"hidden tests\");", 0});
    out.push_back({"TEST_SUITE_END();", 0});
  }
  return out;
}

// What stands in unmarked cells of the lesson beside the tests: using declarations.
Source using_lines(const Module& module, std::size_t index) {
  const Cell& cell = module.cells[index];
  std::vector<bool> taken(cell.body.size());
  for (const Test& test : module.tests) {
    if (test.cell != index) continue;
    for (std::size_t i = test.first; i <= test.last; ++i) taken[i] = true;
  }
  Source out;
  for (std::size_t i = 0; i < cell.body.size(); ++i) {
    const std::string_view text = trim(cell.body[i]);
    if (!taken[i] && !text.empty() && !text.starts_with("//")) {
      out.push_back({cell.body[i], cell.body_line + static_cast<int>(i)});
    }
  }
  return out;
}

Source includes(const Module& module, Bodies bodies) {
  Source out;
  for (const std::string& path : exported_paths(module)) {
    if (path.ends_with(".h")) out.push_back({"#include \"tinytorch/" + path + "\"", 0});
  }
  append(out, include_lines(module, ""));
  const bool holes = std::any_of(module.holes.begin(), module.holes.end(), [&](const Hole& hole) {
    return module.cells[hole.cell].marker("lesson") != nullptr;
  });
  if (holes && bodies == Bodies::Instrumented) out.push_back({"#include \"tito/variant.h\"", 0});
  return out;
}

// Lesson code, in lesson order, in unnamed namespaces; not every unit uses all of it.
Source shared_code(const Module& module, Bodies bodies) {
  Source out;
  for (std::size_t i = module.open_cell + 1; i < module.close_cell; ++i) {
    const Cell& cell = module.cells[i];
    if (cell.kind != Cell::Kind::Code || cell.marker("mistake") != nullptr || cell.marker("export") != nullptr) continue;
    if (breaks_for_includes(module, i)) continue;
    out.push_back({"", 0});
    if (cell.marker("lesson") == nullptr) {
      append(out, using_lines(module, i));
    } else {
      out.push_back({"namespace {", 0});
      append(out, cell_code(module, i, bodies));
      out.push_back({"}  // namespace", 0});
    }
  }
  return out;
}

}  // namespace

bool starts_threads(const Module& module, const Test& test) {
  const std::vector<std::string>& body = module.cells[test.cell].body;
  for (std::size_t i = test.first; i <= test.last; ++i) {
    for (const char* const start : {"std::thread", "std::jthread", "workers(", "num_threads("}) {
      if (body[i].find(start) != std::string::npos) return !test.is_demo;
    }
  }
  return false;
}

std::vector<GeneratedFile> test_units(const Module& module, bool with_hidden, Bodies bodies, std::size_t per_unit, Chosen chosen) {
  std::vector<Source> tests;
  for (const Test& test : module.tests) {
    if (chosen == Chosen::WithThreads && !starts_threads(module, test)) continue;
    Source lines = test_lines(module, test, with_hidden);
    if (!lines.empty()) tests.push_back(std::move(lines));
  }
  const std::size_t units = tests.size() / per_unit + (tests.size() % per_unit == 0 ? 0 : 1);
  std::vector<GeneratedFile> files;
  for (std::size_t unit = 0; unit < units; ++unit) {
    // Spread evenly: 30 tests are two units of 15.
    const std::size_t first = tests.size() * unit / units;
    const std::size_t stop = tests.size() * (unit + 1) / units;
    Source out = {{"// Tests of " + module.folder() + ", made by tito from the lesson.", 0},
                  {"#pragma GCC diagnostic ignored \"-Wunused-function\"", 0},
                  {"#pragma GCC diagnostic ignored \"-Wunused-variable\"", 0}};
    append(out, includes(module, bodies));
    out.push_back({"", 0});
    out.push_back({"namespace tinytorch {", 0});
    append(out, shared_code(module, bodies));
    for (std::size_t i = first; i < stop; ++i) {
      out.push_back({"", 0});
      append(out, tests[i]);
    }
    out.push_back({"", 0});
    out.push_back({"}  // namespace tinytorch", 0});
    files.push_back(generated_file(module.folder() + "/tests_" + std::to_string(unit + 1) + ".cpp", &module, tidy(out)));
  }
  return files;
}

}  // namespace tito
