#include "format/lint.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <map>
#include <optional>
#include <set>

#include <fmt/core.h>

#include "format/cpp_scan.h"
#include "format/export.h"
#include "format/leaks.h"
#include "format/source.h"
#include "format/student.h"

namespace tito {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

bool contains_any(const std::string& text, std::initializer_list<std::string_view> words) {
  return std::any_of(words.begin(), words.end(), [&](std::string_view word) { return text.find(word) != std::string::npos; });
}

// A heading of the lesson's prose: "## Part 1: Foundations" has level 2.
struct Heading {
  std::size_t cell = 0;
  int level = 0;
  std::string text;
  int line = 0;
};

// From one heading to the next of the same or a higher level: cells [first, stop).
struct Section {
  std::size_t first = 0, stop = 0;
  int line = 0;
  std::string title;
};

// The sections every lesson has, in order.
struct RequiredSection {
  std::string_view begins;
  std::string_view example;
};
constexpr std::array<RequiredSection, 6> kSections = {{
    {"Part 1:", "## Part 1: Foundations"},
    {"Part 2:", "## Part 2: Systems analysis"},
    {"Part 3:", "## Part 3: Production context"},
    {"Integration test", "## Integration test"},
    {"ML systems thinking", "## ML systems thinking"},
    {"Module summary", "## Module summary"},
}};

class Linter {
 public:
  Linter(const Module& module, std::span<const Module> course) : module_(module), course_(course) {}

  std::vector<Finding> run() {
    read_headings();
    check_header();
    check_title();
    if (module_.library_chapter) {
      check_library_chapter();
    } else {
      check_sections();
      check_opening();
      check_blocks();
      check_systems_analysis();
      check_production();
      check_integration();
      check_thinking();
      check_holes();
      check_exercise_kinds();
      check_mistakes();
      check_student_copy();
    }
    check_graded_cells();
    check_test_names();
    check_includes();
    check_order();
    check_mixins();
    check_readme();
    check_length();
    std::stable_sort(findings_.begin(), findings_.end(), [&](const Finding& a, const Finding& b) {
      return std::pair(a.file != module_.file, a.line) < std::pair(b.file != module_.file, b.line);
    });
    return std::move(findings_);
  }

 private:
  void error(int line, const char* rule, const std::string& message) {
    findings_.push_back({Finding::Level::Error, module_.file, line, rule, message});
  }
  void note(int line, const char* rule, const std::string& message) {
    findings_.push_back({Finding::Level::Note, module_.file, line, rule, message});
  }

  const Cell& cell(std::size_t i) const { return module_.cells[i]; }
  bool is_prose(std::size_t i) const { return cell(i).kind == Cell::Kind::Markdown; }

  // ---- the outline ----

  void read_headings() {
    for (std::size_t i = 0; i < module_.cells.size(); ++i) {
      if (!is_prose(i)) continue;
      bool fenced = false;
      for (std::size_t j = 0; j < cell(i).body.size(); ++j) {
        std::string_view text = cell(i).body[j];
        text.remove_prefix(std::min<std::size_t>(text.size(), 2));
        if (text.starts_with(" ")) text.remove_prefix(1);
        if (text.starts_with("```")) fenced = !fenced;
        const std::size_t level = text.find_first_not_of('#');
        if (fenced || level == 0 || level == std::string_view::npos || text[level] != ' ') continue;
        headings_.push_back({i, static_cast<int>(level), std::string(trim(text.substr(level))),
                             cell(i).body_line + static_cast<int>(j)});
      }
    }
  }

  Section section_at(std::size_t heading) const {
    const Heading& head = headings_[heading];
    Section section{head.cell, module_.cells.size(), head.line, head.text};
    for (std::size_t i = heading + 1; i < headings_.size(); ++i) {
      if (headings_[i].level <= head.level) {
        section.stop = headings_[i].cell;
        break;
      }
    }
    // Two headings may share a cell.
    section.stop = std::max(section.stop, section.first + 1);
    return section;
  }

  std::optional<Section> find_section(std::string_view begins) const {
    for (std::size_t i = 0; i < headings_.size(); ++i) {
      if (headings_[i].level == 2 && headings_[i].text.starts_with(begins)) return section_at(i);
    }
    return std::nullopt;
  }

  std::string prose(const Section& section) const {
    std::string text;
    for (std::size_t i = section.first; i < section.stop; ++i) {
      if (is_prose(i)) text += join_lines(cell(i).body);
    }
    return text;
  }

  void check_header() {
    const std::string header = join_lines(module_.header);
    if (header.find("format_name: percent") == std::string::npos || header.find("language: c++") == std::string::npos) {
      error(1, "header", "the file begins with jupytext's header: format_name percent, and a kernelspec with language c++");
    }
  }

  void check_title() {
    const std::string wanted = module_.library_chapter ? "# Library chapter " + module_.number + ": " : "# Module " + module_.number + ": ";
    const bool right = is_prose(0) && !cell(0).body.empty() && cell(0).body[0].starts_with("// " + wanted) &&
                       cell(0).body[0].size() > wanted.size() + 3;
    if (!right) error(cell(0).line, "title", "the first cell is prose and begins with '" + wanted + "Name'");
  }

  void check_sections() {
    std::size_t next = 0;
    int last_line = 0;
    for (const RequiredSection& wanted : kSections) {
      std::optional<std::size_t> found;
      for (std::size_t i = 0; i < headings_.size(); ++i) {
        if (headings_[i].level == 2 && headings_[i].text.starts_with(wanted.begins)) found = i;
      }
      if (!found) {
        error(std::max(last_line, 1), "section-order", "the section '" + std::string(wanted.example) + "' is missing");
      } else if (*found < next) {
        error(headings_[*found].line, "section-order", "the section '" + headings_[*found].text + "' comes too early");
      } else {
        next = *found + 1;
        last_line = headings_[*found].line;
      }
    }
    check_summary_last();
  }

  void check_summary_last() {
    const std::optional<Section> summary = find_section("Module summary");
    if (!summary) return;
    for (std::size_t i = summary->first + 1; i < module_.cells.size(); ++i) {
      if (i == module_.close_cell) continue;
      error(cell(i).line, "summary-last", "after the module summary only the end of the namespace may stand");
      return;
    }
  }

  void check_opening() {
    const std::optional<Section> part_1 = find_section("Part 1:");
    const Section opening{0, part_1 ? std::max<std::size_t>(part_1->first, 1) : 1, 1, "opening"};
    const std::string text = lower(prose(opening));
    if (text.find("objective") == std::string::npos) error(cell(0).line, "opening", "the opening states the objectives");
    if (text.find("prerequisite") == std::string::npos) error(cell(0).line, "opening", "the opening states the prerequisites");
  }

  // ---- building blocks: prose with a diagram, implementation, test ----

  // Three lines together that are set off: by four spaces, or by a code fence that names no language.
  bool has_diagram(std::size_t first, std::size_t stop) const {
    for (std::size_t i = first; i < stop; ++i) {
      if (!is_prose(i)) continue;
      int lines = 0;
      bool fenced = false, code = false;
      for (const std::string& line : cell(i).body) {
        const std::string_view text = std::string_view(line).substr(std::min<std::size_t>(line.size(), 2));
        if (trim(text).starts_with("```")) {
          fenced = !fenced;
          code = fenced && trim(text).size() > 3 && !trim(text).starts_with("```text");
          lines = 0;
        } else if (trim(text).empty()) {
          continue;
        } else if (fenced ? !code : text.starts_with("     ")) {
          if (++lines == 3) return true;
        } else {
          lines = 0;
        }
      }
    }
    return false;
  }

  bool defines_functions(std::size_t i) const {
    if (is_prose(i) || cell(i).marker("export") == nullptr || is_include_cell(module_, i)) return false;
    return has_function(scan_items(join_lines(cell(i).body)));
  }

  static bool has_function(const std::vector<Item>& items) {
    return std::any_of(items.begin(), items.end(), [](const Item& item) {
      if (item.kind == Item::Kind::Function) return item.definition && item.last_line > item.line + 2;
      return item.kind == Item::Kind::Namespace && has_function(item.members);
    });
  }

  bool has_test(std::size_t i, bool demo_counts) const {
    return std::any_of(module_.tests.begin(), module_.tests.end(),
                       [&](const Test& test) { return test.cell == i && (demo_counts || !test.is_demo); });
  }

  bool has_hole_in(std::size_t first, std::size_t stop) const {
    return std::any_of(module_.holes.begin(), module_.holes.end(),
                       [&](const Hole& hole) { return hole.cell >= first && hole.cell < stop; });
  }

  void check_blocks() {
    const std::optional<Section> part_1 = find_section("Part 1:");
    const std::optional<Section> part_2 = find_section("Part 2:");
    if (!part_1) return;
    const std::size_t stop = part_2 ? part_2->first : part_1->stop;
    for (std::size_t i = 0; i < headings_.size(); ++i) {
      if (headings_[i].level != 3 || headings_[i].cell < part_1->first || headings_[i].cell >= stop) continue;
      Section block = section_at(i);
      block.stop = std::min(block.stop, stop);
      check_block(block);
    }
  }

  void check_block(const Section& block) {
    bool implements = false, tests = false;
    for (std::size_t i = block.first; i < block.stop; ++i) {
      implements = implements || defines_functions(i);
      tests = tests || has_test(i, false);
    }
    if (!implements) return;
    if (!tests) error(block.line, "test-after", "the section '" + block.title + "' implements something and does not test it");
    if (!has_diagram(block.first, block.stop)) {
      const std::string message = "the section '" + block.title + "' has no diagram (lines set off by four spaces)";
      if (has_hole_in(block.first, block.stop)) {
        error(block.line, "diagram", message);
      } else {
        note(block.line, "diagram", message);
      }
    }
  }

  // ---- the later parts ----

  std::string demonstrations(const Section& section) const {
    std::string text;
    for (const Test& test : module_.tests) {
      if (!test.is_demo || test.cell < section.first || test.cell >= section.stop) continue;
      for (std::size_t i = test.first; i <= test.last; ++i) text += cell(test.cell).body[i] + "\n";
    }
    return text;
  }

  // The lesson's own helper functions may do the measuring.
  std::string measuring_code(const Section& section) const {
    std::string text = demonstrations(section);
    if (text.empty()) return text;
    for (const Cell& one : module_.cells) {
      if (one.marker("lesson") == nullptr) continue;
      for (const Item& item : scan_items(join_lines(one.body))) {
        if (item.kind == Item::Kind::Function && text.find(item.name + "(") != std::string::npos) text += join_lines(one.body);
      }
    }
    return lower(text);
  }

  void check_systems_analysis() {
    const std::optional<Section> part = find_section("Part 2:");
    if (!part) return;
    const std::string text = measuring_code(*part);
    if (text.empty()) return error(part->line, "measurement", "Part 2 has no DEMO that measures something");
    if (!contains_any(text, {"memory::", "memorystats", "memory_", "peak", "resident", "rss", "getrusage", "allocations"})) {
      error(part->line, "memory", "no DEMO in Part 2 measures memory");
    }
    if (!contains_any(text, {"measure", "seconds", "timer", "chrono", "time_"})) {
      error(part->line, "measurement", "no DEMO in Part 2 measures time");
    }
    if (!has_diagram(part->first, part->stop)) note(part->line, "diagram", "Part 2 has no picture of how memory and time scale");
  }

  void check_production() {
    const std::optional<Section> part = find_section("Part 3:");
    if (!part) return;
    const std::string text = prose(*part);
    for (const char* framework : {"PyTorch", "TensorFlow", "JAX"}) {
      if (text.find(framework) == std::string::npos) {
        error(part->line, "production", std::string("Part 3 does not say what ") + framework + " does");
      }
    }
    if (!contains_any(text, {".cpp", ".h", ".py", ".cc", ".yaml"})) {
      error(part->line, "production", "Part 3 names no source file to read");
    }
    if (!has_diagram(part->first, part->stop)) error(part->line, "diagram", "Part 3 has no diagram");
  }

  void check_integration() {
    const std::optional<Section> section = find_section("Integration test");
    if (!section) return;
    for (std::size_t i = section->first; i < section->stop; ++i) {
      if (has_test(i, false)) return;
    }
    error(section->line, "integration", "the integration test section has no TEST_CASE");
  }

  static bool is_explain(const Cell& one) {
    return one.kind == Cell::Kind::Markdown && one.nbgrader_flag("grade") && one.nbgrader_flag("solution");
  }

  void check_thinking() {
    const std::optional<Section> section = find_section("ML systems thinking");
    if (!section) return;
    for (std::size_t i = section->first; i < section->stop; ++i) {
      if (is_explain(cell(i))) return;
    }
    error(section->line, "explain", "ML systems thinking has no explain exercise (a prose cell with grade, solution and points)");
  }

  // ---- exercises ----

  void check_holes() {
    for (const Hole& hole : module_.holes) {
      const Cell& one = cell(hole.cell);
      std::string scaffold;
      for (std::size_t i = hole.todo_first; i <= hole.todo_last; ++i) scaffold += one.body[i] + "\n";
      bool contract = false;
      for (std::size_t i = 0; i < hole.todo_first; ++i) {
        const std::string_view text = trim(one.body[i]);
        contract = contract || (text.starts_with("// ") && !text.starts_with("//|"));
      }
      if (!contract) error(hole.line, "contract", "the exercise '" + hole.function + "' has no contract above its TODO");
      if (hole.kind == "fill" && scaffold.find("APPROACH") == std::string::npos) {
        error(hole.line, "scaffold", "the exercise '" + hole.function + "' has no APPROACH");
      }
      if (hole.kind == "fill" && !contains_any(scaffold, {"EXAMPLE", "HINT"})) {
        error(hole.line, "scaffold", "the exercise '" + hole.function + "' has neither EXAMPLE nor HINT");
      }
      const bool tested = std::any_of(module_.tests.begin(), module_.tests.end(), [&](const Test& test) {
        return std::find(test.holes.begin(), test.holes.end(), hole.grade_id) != test.holes.end();
      });
      if (!tested) error(hole.line, "test-after", "no graded test follows the exercise '" + hole.function + "'");
      check_test_is_near(hole);
    }
  }

  // Between a hole and its test may stand its mistakes, and code and prose of the same section.
  void check_test_is_near(const Hole& hole) {
    for (std::size_t i = hole.cell + 1; i < module_.cells.size(); ++i) {
      if (has_test(i, false)) return;
      for (const Heading& heading : headings_) {
        if (heading.cell == i && heading.level <= 3) {
          return error(hole.line, "test-after",
                       "the exercise '" + hole.function + "' is not tested before the section '" + heading.text + "'");
        }
      }
    }
  }

  std::string pattern() const {
    const fs::path readme = module_.file.parent_path() / "README.md";
    if (!fs::exists(readme)) return "";
    for (const std::string& line : split_lines(read_text(readme))) {
      const std::string text = lower(line);
      if (text.find("pattern") == std::string::npos) continue;
      for (const char* kind : {"reflect", "analyze", "optimize"}) {
        if (text.find(kind) != std::string::npos) return kind;
      }
    }
    return "";
  }

  void check_exercise_kinds() {
    std::map<std::string, int> count;
    for (const Hole& hole : module_.holes) ++count[hole.kind];
    if (count["design"] == 0) error(1, "exercise-kinds", "no design exercise ('//| exercise design')");
    const std::string kind = pattern();
    if (kind == "analyze" && count["debug"] < 2) {
      error(1, "exercise-kinds", "an Analyze module has two debug exercises; this one has " + std::to_string(count["debug"]));
    }
    if (kind == "optimize" && count["optimize"] == 0) error(1, "exercise-kinds", "an Optimize module has an optimize exercise");
  }

  void check_mistakes() {
    for (const Mistake& mistake : module_.mistakes) {
      if (mistake.says.empty()) error(mistake.line, "mistake", "the mistake '" + mistake.id() + "' has no '//| says ...'");
    }
    for (const Hole& hole : module_.holes) {
      const bool any = std::any_of(module_.mistakes.begin(), module_.mistakes.end(),
                                   [&](const Mistake& mistake) { return mistake.grade_id == hole.grade_id; });
      if (!any) note(hole.line, "mistake", "no known mistake for the exercise '" + hole.function + "'");
    }
  }

  // Keys sorted, one space after each colon and comma.
  static std::string as_jupytext_writes(const nlohmann::json& value) {
    if (!value.is_structured()) return value.dump();
    std::string out;
    for (const auto& [key, item] : value.items()) {
      out += (out.empty() ? "" : ", ") + (value.is_object() ? nlohmann::json(key).dump() + ": " : "") + as_jupytext_writes(item);
    }
    return value.is_object() ? "{" + out + "}" : "[" + out + "]";
  }

  // Searched by content: what a student gets has no solution and no hidden test in it, and is worth as much.
  void check_student_copy() {
    const std::string text_of_copy = student_copy(module_);
    const CellFile copy = parse_cells(module_.file, text_of_copy);
    for (Finding& leak : find_leaks(module_, copy.cells, "copy")) findings_.push_back(std::move(leak));
    // In a copy that somebody worked on, the last function of a cell is the exercise: helpers stand above it.
    const Module parsed = parse_module(module_.file, text_of_copy, Edition::Student);
    for (std::size_t i = 0; i < module_.holes.size(); ++i) {
      if (parsed.holes[i].function == module_.holes[i].function) continue;
      error(module_.holes[i].line, "student-copy",
            "'" + module_.holes[i].function + "' is not the last function of its cell; give what follows a cell of its own");
    }
    double points = 0;
    double given = 0;
    for (const Cell& one : module_.cells) points += one.points();
    for (const Cell& one : copy.cells) given += one.points();
    if (points == given) return;
    error(1, "points", fmt::format("the module gives {:g} points, the student's copy {:g}: a graded cell is hidden as a whole", points, given));
  }

  void check_graded_cells() {
    for (std::size_t i = 0; i < module_.cells.size(); ++i) {
      const Cell& one = cell(i);
      if (!one.metadata.is_null() && !one.title_line.ends_with(" " + as_jupytext_writes(one.metadata))) {
        error(one.line, "metadata", "jupytext would write " + as_jupytext_writes(one.metadata));
      }
      const bool graded = one.nbgrader_flag("grade");
      const bool solution = one.nbgrader_flag("solution");
      if (graded && one.points() <= 0) error(one.line, "points", "the graded cell '" + one.grade_id() + "' gives no points");
      if (is_prose(i)) continue;
      if (graded && !one.nbgrader_flag("locked")) error(one.line, "ids", "the graded cell '" + one.grade_id() + "' is not locked");
      if (solution && one.nbgrader_flag("locked")) error(one.line, "ids", "the solution '" + one.grade_id() + "' is locked");
      if (graded && !has_test(i, false)) error(one.line, "points", "the graded cell '" + one.grade_id() + "' has no TEST_CASE");
    }
  }

  void check_test_names() {
    std::map<std::string, int> seen;
    for (const Test& test : module_.tests) {
      const auto [place, fresh] = seen.emplace(test.name, test.line);
      if (!fresh) error(test.line, "test-name", "the name '" + test.name + "' stands already in line " + std::to_string(place->second));
    }
  }

  // ---- what concerns other modules and files ----

  void check_includes() {
    std::map<std::string, const Module*> owner;
    for (const Module& other : course_) {
      for (const std::string& path : exported_paths(other)) owner.emplace("tinytorch/" + path, &other);
    }
    static const std::set<std::string> kGenerated = {"tinytorch/core/tensor_extensions.h", "tinytorch/core/options_extensions.h",
                                                     "tinytorch/nn/module_extensions.h"};
    bool lesson_header = false;
    for (std::size_t i = 0; i < module_.close_cell; ++i) {
      if (i >= module_.open_cell && !breaks_for_includes(module_, i)) continue;
      if (is_prose(i) || cell(i).marker("mistake") != nullptr) continue;
      std::string exported;
      for (std::size_t j = 0; j < cell(i).body.size(); ++j) {
        const std::string& text = cell(i).body[j];
        if (text.starts_with("//| export ")) exported = text.substr(11);
        if (is_public_header(exported)) check_weight(text, cell(i).body_line + static_cast<int>(j));
        const std::size_t open = text.find('"');
        if (!text.starts_with("#include") || open == std::string::npos) continue;
        const int line = cell(i).body_line + static_cast<int>(j);
        const std::string path = text.substr(open + 1, text.rfind('"') - open - 1);
        if (path == "tito/lesson.h") lesson_header = true;
        if (path.starts_with("tinytorch/") && !kGenerated.contains(path)) check_include(path, line, for_tests(i), owner);
      }
    }
    if (!module_.tests.empty() && !lesson_header) {
      error(cell(module_.open_cell).line, "includes", "tests need #include \"tito/lesson.h\" in an include cell without a marker");
    }
  }

  // Headers of the standard library that cost a compiler more than the few names that ours need of them.
  void check_weight(const std::string& text, int line) {
    for (const std::string_view heavy : {"<algorithm>", "<chrono>", "<cmath>", "<condition_variable>", "<filesystem>", "<fstream>", "<iomanip>", "<iostream>", "<numeric>", "<queue>", "<random>", "<ranges>", "<regex>", "<sstream>",
                                         "<thread>", "<unordered_set>"}) {
      if (text.starts_with("#include " + std::string(heavy)))
        error(line, "includes", std::string(heavy) + " makes every program that includes tinytorch.h slower to compile; move what needs it into a source, or into a header that ends in -inl.h");
    }
  }

  // Whether a cell's includes serve the tests alone. Tests may use the library chapters of their stage, which come to learners prebuilt.
  bool for_tests(std::size_t i) const { return cell(i).marker("export") == nullptr; }

  void check_include(const std::string& path, int line, bool for_tests, const std::map<std::string, const Module*>& owner) {
    const auto found = owner.find(path);
    if (path == "tinytorch/tinytorch.h") {
      error(line, "forward-use", "tinytorch.h includes later modules; include the headers that are used");
    } else if (found == owner.end()) {
      error(line, "forward-use", "no module exports " + path);
    } else if (for_tests && found->second->library_chapter && found->second->stage() == module_.stage()) {
      return;
    } else if (position(*found->second) > position(module_)) {
      error(line, "forward-use", path + " comes only with " + found->second->folder());
    }
  }

  std::size_t position(const Module& module) const {
    for (std::size_t i = 0; i < course_.size(); ++i) {
      if (course_[i].folder() == module.folder()) return i;
    }
    return course_.size();
  }

  // A notebook runs cells from top to bottom: what a source file's cell defines of a class stands behind the class, if both are in this lesson.
  void check_order() {
    std::map<std::string, std::size_t> class_cells;
    for (std::size_t i = 0; i < module_.cells.size(); ++i) {
      if (exports_to(i, ".h")) {
        const std::vector<Item> items = scan_items(join_lines(cell(i).body));
        std::vector<const Item*> classes;
        collect(items, Item::Kind::Class, classes);
        for (const Item* type : classes) class_cells.emplace(last_name(type->name), i);
      }
    }
    for (std::size_t i = 0; i < module_.cells.size(); ++i) {
      if (!exports_to(i, ".cpp")) continue;
      const std::vector<Item> items = scan_items(join_lines(cell(i).body));
      std::vector<const Item*> functions;
      collect(items, Item::Kind::Function, functions);
      for (const Item* function : functions) {
        const std::size_t member = function->name.rfind("::");
        if (member == std::string::npos) continue;
        const std::string owner = last_name(function->name.substr(0, member));
        const auto found = class_cells.find(owner);
        if (found != class_cells.end() && found->second > i) {
          error(cell(i).body_line + static_cast<int>(function->name_line), "order",
                function->name + " stands before the class " + owner + " (line " + std::to_string(cell(found->second).line) +
                    "), so this lesson does not run as a notebook; move it behind the class");
        }
      }
    }
  }

  bool exports_to(std::size_t i, std::string_view extension) const {
    if (is_prose(i)) return false;
    const Marker* exported = cell(i).marker("export");
    return exported != nullptr && exported->argument.ends_with(extension);
  }

  struct Methods {
    std::string owner;
    const Module* module = nullptr;
    std::map<std::string, int> lines;  // by method
  };

  static std::string last_name(const std::string& name) {
    const std::size_t at = name.rfind("::");
    return at == std::string::npos ? name : name.substr(at + 2);
  }

  // What a cell defines of a kind, outside of classes.
  static void collect(const std::vector<Item>& items, Item::Kind kind, std::vector<const Item*>& out) {
    for (const Item& item : items) {
      if (item.kind == kind && item.definition) out.push_back(&item);
      if (item.kind == Item::Kind::Namespace) collect(item.members, kind, out);
    }
  }

  static Methods methods_of(const Module& module, const Cell& one, const Item& type) {
    Methods methods{last_name(type.name), &module, {}};
    for (const Item& member : type.members) {
      if (member.kind != Item::Kind::Function || member.head.starts_with("friend")) continue;
      const std::string name = last_name(member.name);
      const bool special = name == methods.owner || name == "~" + methods.owner || name == "operator=";
      if (!special) methods.lines.emplace(name, one.body_line + static_cast<int>(member.name_line));
    }
    return methods;
  }

  // The extended class itself and its mixins, in course order.
  std::vector<Methods> methods_for(const std::string& target) const {
    std::vector<Methods> all;
    for (const Module& other : course_) {
      for (const Cell& one : other.cells) {
        const Marker* exported = one.marker("export");
        if (exported == nullptr || !exported->argument.ends_with(".h")) continue;
        const Marker* extends = one.marker("extends");
        const std::vector<Item> items = scan_items(join_lines(one.body));
        std::vector<const Item*> classes;
        collect(items, Item::Kind::Class, classes);
        for (const Item* type : classes) {
          const bool mixin = extends != nullptr && extends->argument == target && type == classes.front();
          if (mixin || last_name(type->name) == target) all.push_back(methods_of(other, one, *type));
        }
      }
    }
    return all;
  }

  void check_mixins() {
    for (const char* target : {"Tensor", "TensorOptions", "Module"}) {
      const std::vector<Methods> all = methods_for(target);
      for (std::size_t i = 0; i < all.size(); ++i) {
        if (all[i].module->folder() != module_.folder()) continue;
        for (std::size_t j = 0; j < all.size(); ++j) {
          const bool other_first = j < i || (j > i && all[j].module->folder() != module_.folder() && all[j].owner == target);
          if (other_first) report_clash(all[i], all[j]);
        }
      }
    }
  }

  void report_clash(const Methods& mine, const Methods& theirs) {
    for (const auto& [name, line] : mine.lines) {
      if (!theirs.lines.contains(name)) continue;
      error(line, "mixin-clash", mine.owner + "::" + name + " and " + theirs.owner + "::" + name + " (" +
                                     theirs.module->folder() + ") hide each other or are ambiguous, whatever their signatures");
    }
  }

  void check_library_chapter() {
    for (const Hole& hole : module_.holes) error(hole.line, "library-chapter", "a library chapter has no exercises");
    bool implements = false;
    for (std::size_t i = 0; i < module_.cells.size(); ++i) implements = implements || defines_functions(i);
    const bool tests = std::any_of(module_.tests.begin(), module_.tests.end(), [](const Test& test) { return !test.is_demo; });
    if (implements && !tests) error(1, "test-after", "the chapter has no test");
  }

  void check_readme() {
    const fs::path readme = module_.file.parent_path() / "README.md";
    const auto complain = [&](const std::string& message) {
      findings_.push_back({Finding::Level::Error, readme, 1, "readme", message});
    };
    if (!fs::exists(readme)) return complain("the module has no README.md");
    const std::string text = lower(read_text(readme));
    if (text.find("exports") == std::string::npos) complain("does not say what the module exports");
    if (module_.library_chapter) return;
    if (pattern().empty()) complain("does not state the pattern: Build -> Use -> Reflect, Analyze or Optimize");
    if (text.find("rationale") == std::string::npos) complain("gives no rationale for the pattern");
    if (text.find("key activities") == std::string::npos) complain("lists no key activities");
    if (text.find("machine learning systems") == std::string::npos) {
      complain("names no chapter of the textbook Machine Learning Systems");
    }
  }

  void check_length() {
    const Cell& last = module_.cells.back();
    const int lines = last.body_line + static_cast<int>(last.body.size());
    if (lines > 2500) note(lines, "length", "the lesson has " + std::to_string(lines) + " lines; beyond 2,500 move breadth to a library chapter");
  }

  const Module& module_;
  std::span<const Module> course_;
  std::vector<Heading> headings_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> lint_module(const Module& module, std::span<const Module> course) {
  return Linter(module, course).run();
}

}  // namespace tito
