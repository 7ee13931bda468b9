#include "format/module.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "format/cpp_scan.h"

namespace tito {
namespace {

constexpr std::string_view kOpen = "namespace tinytorch {";
constexpr std::string_view kClose = "}  // namespace tinytorch";

bool is_comment_or_blank(std::string_view line) {
  const std::string_view text = trim(line);
  return text.empty() || text.starts_with("//");
}

// Whether a cell closes the namespace, includes headers and opens it again.
bool is_include_break(const Cell& cell) {
  std::vector<std::string_view> lines;
  for (const std::string& line : cell.body) {
    if (!is_comment_or_blank(line)) lines.push_back(line);
  }
  return lines.size() > 2 && lines.front() == kClose && lines.back() == kOpen &&
         std::all_of(lines.begin() + 1, lines.end() - 1, [](std::string_view line) { return line.starts_with("#include"); });
}

// The two numbers of '//| after 05 95': a module, and a library chapter, which may be left out.
std::pair<std::string, std::string> after_words(const std::string& argument) {
  const std::size_t blank = argument.find(' ');
  if (blank == std::string::npos) return {argument, ""};
  return {argument.substr(0, blank), argument.substr(blank + 1)};
}

bool is_two_digits(std::string_view text) { return text.size() == 2 && text.find_first_not_of("0123456789") == std::string_view::npos; }

// The one place in a cell's body where a comment line says `word`, and complaints about others.
struct Region {
  std::size_t begin = 0, end = 0;  // indices of the two comment lines
};

class ModuleParser {
 public:
  ModuleParser(const fs::path& file, std::string_view text, Edition edition) {
    module_.file = file;
    module_.edition = edition;
    CellFile cells = parse_cells(file, text);
    module_.header = std::move(cells.header);
    module_.cells = std::move(cells.cells);
  }

  Module run() {
    read_name();
    find_namespace();
    for (std::size_t i = 0; i < module_.cells.size(); ++i) read_cell(i);
    check_ids();
    match_mistakes();
    assign_holes_to_tests();
    if (module_.library_chapter && module_.after.empty()) {
      refuse(1, "a library chapter says which module it follows: '//| after 05' in its first code cell");
    }
    return std::move(module_);
  }

 private:
  [[noreturn]] void refuse(int line, const std::string& text) const { throw Diagnostic(module_.file, line, text); }

  static int line_of(const Cell& cell, std::size_t index) { return cell.body_line + static_cast<int>(index); }

  // From the path modules/NN_name/name_dev.cpp.
  void read_name() {
    const std::string folder = fs::absolute(module_.file).parent_path().filename().string();
    const bool numbered = folder.size() > 3 && std::isdigit(static_cast<unsigned char>(folder[0])) != 0 &&
                          std::isdigit(static_cast<unsigned char>(folder[1])) != 0 && folder[2] == '_';
    if (!numbered) refuse(0, "a module lies in a folder NN_name, as in modules/05_autograd/autograd_dev.cpp");
    module_.number = folder.substr(0, 2);
    module_.name = folder.substr(3);
    module_.library_chapter = is_library_chapter(folder);
    if (module_.file.filename() != module_.name + "_dev.cpp") {
      refuse(0, "the file of folder " + folder + " is " + module_.name + "_dev.cpp");
    }
  }

  void find_namespace() {
    std::optional<std::size_t> open, close;
    for (std::size_t i = 0; i < module_.cells.size(); ++i) {
      const Cell& cell = module_.cells[i];
      if (cell.kind != Cell::Kind::Code || cell.marker("export") != nullptr || cell.marker("mistake") != nullptr) continue;
      if (open && !close && is_include_break(cell)) {
        if (!cell.markers.empty()) refuse(cell.markers.front().line, "these includes serve the tests: no marker");
        module_.include_breaks.push_back(i);
        continue;
      }
      for (std::size_t j = 0; j < cell.body.size(); ++j) {
        const std::string_view text = cell.body[j];
        if (text == kOpen) {
          if (open) refuse(line_of(cell, j), "'namespace tinytorch {' stands once in a module");
          open = i;
        } else if (text == kClose) {
          if (!open || close) refuse(line_of(cell, j), "'}  // namespace tinytorch' closes nothing here");
          close = i;
        } else if (text.starts_with("namespace tinytorch")) {
          refuse(line_of(cell, j), "the namespace is opened by the line 'namespace tinytorch {'");
        }
      }
    }
    if (!open) refuse(1, "no cell with the line 'namespace tinytorch {'");
    if (!close) {
      refuse(module_.cells[*open].body_line, "no cell with the line '}  // namespace tinytorch' (two spaces before //)");
    }
    module_.open_cell = *open;
    module_.close_cell = *close;
    for (const std::size_t i : {*open, *close}) {
      const Cell& cell = module_.cells[i];
      for (std::size_t j = 0; j < cell.body.size(); ++j) {
        const std::string_view text = cell.body[j];
        if (text != kOpen && text != kClose && !is_comment_or_blank(text)) {
          refuse(line_of(cell, j), "the cell that opens or closes the namespace has nothing else in it");
        }
      }
    }
  }

  void read_cell(std::size_t index) {
    const Cell& cell = module_.cells[index];
    check_regions(cell);
    if (cell.kind == Cell::Kind::Markdown) return;
    read_after(index);
    if (cell.marker("mistake") != nullptr) return read_mistake(index);
    if (index == module_.open_cell || index == module_.close_cell || breaks_for_includes(module_, index)) return;
    if (is_scratch(index)) {
      module_.cells[index].body.clear();
      return;
    }
    check_marker_combination(cell);
    check_marker_places(cell);
    const std::vector<Item> items = scan(cell);
    check_includes(index, items);
    if (cell.marker("export") == nullptr && cell.marker("lesson") == nullptr) {
      check_unmarked(index, items);
    } else if (items.empty() && index < module_.close_cell) {
      const bool exercise = module_.edition == Edition::Student && !cell.grade_id().empty();
      refuse(cell.markers.front().line, exercise ? "the function of this exercise is gone" : "a cell with a marker and no code");
    }
    if (cell.nbgrader_flag("solution")) read_hole(index, items);
    if (cell.marker("registers") != nullptr) check_registers(cell, items);
    read_tests(index, items);
  }

  std::vector<Item> scan(const Cell& cell) const {
    try {
      return scan_items(join_lines(cell.body));
    } catch (const ScanError& error) {
      refuse(line_of(cell, error.line), error.what());
    }
  }

  // BEGIN and END comments stand on lines of their own, in pairs, not nested.
  void check_regions(const Cell& cell) const {
    for (const Region& region : find_regions(cell, "SOLUTION")) {
      if (cell.nbgrader_flag("solution") || cell.marker("mistake") != nullptr) continue;
      refuse(line_of(cell, region.begin), "a solution in a cell whose metadata has no \"solution\": true");
    }
    for (const Region& region : find_regions(cell, "HIDDEN TESTS")) {
      const bool can_have_tests = cell.kind == Cell::Kind::Code && cell.markers.empty();
      if (!can_have_tests) refuse(line_of(cell, region.begin), "hidden tests stand in tests");
    }
  }

  std::vector<Region> find_regions(const Cell& cell, std::string_view what) const {
    const std::string begin = "// BEGIN " + std::string(what);
    const std::string end = "// END " + std::string(what);
    std::vector<Region> regions;
    bool open = false;
    for (std::size_t i = 0; i < cell.body.size(); ++i) {
      const std::string_view text = trim(cell.body[i]);
      const int line = line_of(cell, i);
      if (text == begin) {
        if (open) refuse(line, begin + " before the " + end + " of the one above");
        regions.push_back({i, i});
        open = true;
      } else if (text == end) {
        if (!open) refuse(line, end + " without " + begin + " in this cell");
        regions.back().end = i;
        open = false;
      } else if (looks_like_region(text, what)) {
        refuse(line, "malformed line; write exactly '" + begin + "' or '" + end + "'");
      }
    }
    const bool explain = cell.kind == Cell::Kind::Markdown && what == "SOLUTION";
    if (open && !explain) refuse(line_of(cell, regions.back().begin), begin + " without " + end + " in this cell");
    return regions;
  }

  // "//BEGIN SOLUTION", "// begin solution", "/// END SOLUTION", "// BEGIN SOLUTION The answer" ...
  static bool looks_like_region(std::string_view text, std::string_view what) {
    for (const char* word : {"BEGIN ", "END "}) {
      if (text.find(word + std::string(what)) != std::string_view::npos) return true;
    }
    if (!text.starts_with("//")) return false;
    std::string upper;
    for (const char c : text) {
      if (std::isalpha(static_cast<unsigned char>(c)) != 0) upper += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    std::string wanted;
    for (const char c : what) {
      if (c != ' ') wanted += c;
    }
    return upper == "BEGIN" + wanted || upper == "END" + wanted;
  }

  void read_after(std::size_t index) {
    const Cell& cell = module_.cells[index];
    const Marker* after = cell.marker("after");
    if (after == nullptr) return;
    if (!module_.library_chapter) refuse(after->line, "only library chapters (modules/5x_... to 9x_...) have '//| after'");
    for (std::size_t i = 0; i < index; ++i) {
      if (module_.cells[i].kind == Cell::Kind::Code) refuse(after->line, "'//| after' stands in the first code cell");
    }
    const auto [module, chapter] = after_words(after->argument);
    if (!is_two_digits(module) || is_library_chapter(module)) {
      refuse(after->line, "'//| after' names a module by its two digits, as in '//| after 05'");
    }
    if (!chapter.empty() && (!is_two_digits(chapter) || !is_library_chapter(chapter))) {
      refuse(after->line, "behind its module '//| after' names a library chapter by its two digits, as in '//| after 05 95'");
    }
    module_.after = module;
  }

  void check_marker_combination(const Cell& cell) const {
    std::set<std::string> words;
    for (const Marker& marker : cell.markers) {
      const bool repeats = !words.insert(marker.word).second;
      if (repeats && marker.word != "export") refuse(marker.line, "marker '" + marker.word + "' stands twice in this cell");
      if (marker.word == "export") check_export_path(marker);
    }
    const auto needs = [&](const char* word, bool fulfilled, const char* what) {
      const Marker* marker = cell.marker(word);
      if (marker != nullptr && !fulfilled) refuse(marker->line, "'//| " + std::string(word) + "' goes with " + what);
    };
    const Marker* target = cell.marker("export");
    const std::string path = target != nullptr ? target->argument : "";
    needs("lesson", target == nullptr, "a cell that is not exported");
    needs("extends", path.ends_with(".h"), "an '//| export' to a header");
    needs("registers", path.ends_with(".cpp"), "an '//| export' to a .cpp file");
    needs("exercise", cell.nbgrader_flag("solution"), "a cell whose metadata has \"solution\": true");
    needs("says", false, "an '//| mistake'");
    if (const Marker* extends = cell.marker("extends")) {
      static const std::set<std::string> kTargets = {"Tensor", "TensorOptions", "Module"};
      if (!kTargets.contains(extends->argument)) refuse(extends->line, "only Tensor, TensorOptions and Module can be extended");
    }
    if (const Marker* exercise = cell.marker("exercise")) {
      static const std::set<std::string> kKinds = {"fill", "design", "debug", "optimize"};
      if (!kKinds.contains(exercise->argument)) refuse(exercise->line, "an exercise is fill, design, debug or optimize");
    }
  }

  void check_export_path(const Marker& marker) const {
    const std::string& path = marker.argument;
    const auto complain = [&](const char* what) { refuse(marker.line, "export path '" + path + "' " + what); };
    if (path.starts_with("/")) complain("is absolute; it is relative to tinytorch/");
    if (!path.ends_with(".h") && !path.ends_with(".cpp")) complain("must end in .h or .cpp");
    for (const fs::path& part : fs::path(path)) {
      if (part == ".." || part == ".") complain("leaves tinytorch/ or is not in its shortest form");
    }
    const bool plain = path.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_-/.") == std::string::npos;
    if (!plain || path.find("//") != std::string::npos) complain("has other characters than a-z 0-9 _ - / .");
    static const std::set<std::string> kGenerated = {"core/tensor_extensions.h", "core/options_extensions.h",
                                                     "nn/module_extensions.h",   "core/register_all.cpp",
                                                     "tinytorch.h",              "sources.cmake"};
    if (kGenerated.contains(path)) complain("is a file that export generates");
  }

  // Markers are the first lines of a cell; only include cells have them further down.
  void check_marker_places(const Cell& cell) const {
    bool code_above = false;
    bool only_directives = true;
    for (const std::string& text : cell.body) {
      if (!is_comment_or_blank(text) && trim(text).front() != '#') only_directives = false;
    }
    for (std::size_t i = 0; i < cell.body.size(); ++i) {
      const std::string& text = cell.body[i];
      const bool is_marker = text.starts_with("//|");
      if (is_marker && code_above && !only_directives) {
        refuse(line_of(cell, i), "markers stand before everything else in a cell");
      }
      if (!is_marker && !trim(text).empty()) code_above = true;
    }
    if (only_directives) return;
    int exports = 0;
    for (const Marker& marker : cell.markers) {
      if (marker.word == "export" && ++exports > 1) {
        refuse(marker.line, "a cell of code goes to one file; only cells of includes may have several exports");
      }
    }
  }

  static bool wraps_itself(const std::vector<Item>& items) {
    return std::any_of(items.begin(), items.end(), [](const Item& item) {
      return item.kind == Item::Kind::Namespace && (item.name == "tinytorch" || item.name.starts_with("tinytorch::"));
    });
  }

  void check_includes(std::size_t index, const std::vector<Item>& items) const {
    const Cell& cell = module_.cells[index];
    const bool before = index < module_.open_cell;
    const bool wrapped = wraps_itself(items);
    for (const Item& item : items) {
      const int line = line_of(cell, item.line);
      const bool directive = item.kind == Item::Kind::Directive;
      if (directive && item.keyword == "include" && !before) {
        refuse(line, "#include after 'namespace tinytorch {'; includes stand in a cell before it");
      }
      if (!directive && before && !wrapped) {
        refuse(line, "code before 'namespace tinytorch {'; only includes, and cells that open and close the namespace "
                     "themselves, stand there");
      }
    }
    if (wrapped && !before) {
      refuse(line_of(cell, items.front().line), "this cell opens namespace tinytorch inside of namespace tinytorch");
    }
    if (index > module_.close_cell && !items.empty()) {
      refuse(line_of(cell, items.front().line), "code after '}  // namespace tinytorch'");
    }
  }

  bool may_be_unmarked(std::size_t index, const Item& item) const {
    return item.kind == Item::Kind::Test || item.kind == Item::Kind::Using ||
           (item.kind == Item::Kind::Directive && index < module_.open_cell);
  }

  // A cell in which a learner tries something out, in the notebook that is paired with this file. It is theirs, and no part
  // of the lesson.
  bool is_scratch(std::size_t index) const {
    const Cell& cell = module_.cells[index];
    if (module_.edition != Edition::Student || !cell.markers.empty() || !cell.grade_id().empty()) return false;
    if (index > module_.close_cell) return true;
    try {
      const std::vector<Item> items = scan_items(join_lines(cell.body));
      return std::any_of(items.begin(), items.end(), [&](const Item& item) { return !may_be_unmarked(index, item); });
    } catch (const ScanError&) {
      return true;
    }
  }

  void check_unmarked(std::size_t index, const std::vector<Item>& items) const {
    const Cell& cell = module_.cells[index];
    for (const Item& item : items) {
      if (!may_be_unmarked(index, item)) {
        refuse(line_of(cell, item.line),
               "library code without a destination" + (item.name.empty() ? "" : " ('" + item.name + "')") +
                   ": give the cell '//| export PATH' or '//| lesson'");
      }
    }
  }

  static const Item* find_function_at(const std::vector<Item>& items, std::size_t offset) {
    for (const Item& item : items) {
      if (item.open == Item::kNone || offset <= item.open || offset >= item.close) continue;
      if (item.kind == Item::Kind::Function) return &item;
      return find_function_at(item.members, offset);
    }
    return nullptr;
  }

  static void collect_functions(const std::vector<Item>& items, std::vector<const Item*>& out) {
    for (const Item& item : items) {
      if (item.kind == Item::Kind::Function && item.definition) out.push_back(&item);
      collect_functions(item.members, out);
    }
  }

  static std::size_t offset_of_line(const Cell& cell, std::size_t index) {
    std::size_t offset = 0;
    for (std::size_t i = 0; i < index; ++i) offset += cell.body[i].size() + 1;
    return offset;
  }

  void read_hole(std::size_t index, const std::vector<Item>& items) {
    const Cell& cell = module_.cells[index];
    if (cell.nbgrader_flag("grade")) refuse(cell.line, "a cell has either a solution or a graded test");
    Hole hole;
    hole.cell = index;
    hole.grade_id = cell.grade_id();
    const Marker* exercise = cell.marker("exercise");
    hole.kind = exercise != nullptr ? exercise->argument : "fill";
    const Item& function = module_.edition == Edition::Reference ? body_between_comments(cell, items, hole)
                                                                 : body_of_only_function(cell, items, hole);
    hole.function = function.name;
    hole.signature = function.head;
    hole.line = line_of(cell, function.name_line);
    refuse_bad_hole(function, hole.line);
    read_scaffold(cell, function, hole);
    module_.holes.push_back(std::move(hole));
  }

  // The hole fills its function: "{" ends the line above BEGIN SOLUTION, "}" follows END SOLUTION.
  const Item& body_between_comments(const Cell& cell, const std::vector<Item>& items, Hole& hole) const {
    const std::vector<Region> regions = find_regions(cell, "SOLUTION");
    if (regions.empty()) refuse(cell.line, "a solution cell without '// BEGIN SOLUTION'");
    if (regions.size() > 1) refuse(line_of(cell, regions[1].begin), "a second solution in one cell; one hole per cell");
    const Region region = regions[0];
    const int line = line_of(cell, region.begin);
    const Item* function = find_function_at(items, offset_of_line(cell, region.begin));
    if (function == nullptr) refuse(line, "BEGIN SOLUTION is not inside of a function");
    const std::size_t begin_offset = offset_of_line(cell, region.begin);
    const std::size_t end_offset = offset_of_line(cell, region.end) + cell.body[region.end].size();
    const std::string text = join_lines(cell.body);
    const auto only_space = [&](std::size_t first, std::size_t stop) {
      return first <= stop && text.substr(first, stop - first).find_first_not_of(" \t\n") == std::string::npos;
    };
    if (!only_space(function->open + 1, begin_offset) || !only_space(end_offset, function->close)) {
      refuse(line, "a solution is the whole body of its function, not a part of it (and no lambda's)");
    }
    hole.body_first = region.begin + 1;
    hole.body_last = region.end - 1;
    if (region.end == region.begin + 1) refuse(line, "an empty solution");
    return *function;
  }

  // A student's copy has no comments around its body: the cell's one function is the hole, helpers aside.
  const Item& body_of_only_function(const Cell& cell, const std::vector<Item>& items, Hole& hole) const {
    std::vector<const Item*> functions;
    collect_functions(items, functions);
    if (functions.empty()) refuse(cell.line, "the function of this exercise is gone");
    const Item& function = *functions.back();
    const std::string text = join_lines(cell.body);
    const auto line_at = [&](std::size_t offset) {
      return static_cast<std::size_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(offset), '\n'));
    };
    hole.body_first = line_at(function.open) + 1;
    hole.body_last = line_at(function.close) - 1;
    return function;
  }

  void refuse_bad_hole(const Item& function, int line) const {
    if (function.is_destructor) refuse(line, "a destructor cannot be an exercise: an empty hole throws");
    if (function.is_noexcept) refuse(line, "a noexcept function cannot be an exercise: an empty hole throws");
    if (function.is_constexpr) refuse(line, "a constexpr function cannot be an exercise: an empty hole throws");
  }

  // From "// TODO:" to the end of the comment above the function.
  void read_scaffold(const Cell& cell, const Item& function, Hole& hole) const {
    for (std::size_t i = 0; i < function.name_line && i < cell.body.size(); ++i) {
      const std::string_view text = trim(cell.body[i]);
      if (!text.starts_with("// TODO:")) continue;
      hole.todo = trim(text.substr(8));
      hole.todo_first = i;
      hole.todo_last = i;
      while (hole.todo_last + 1 < cell.body.size() && trim(cell.body[hole.todo_last + 1]).starts_with("//")) ++hole.todo_last;
      if (hole.todo.empty()) refuse(line_of(cell, i), "the TODO says on its own line what is to be done");
      return;
    }
    refuse(hole.line, "no '// TODO: ...' comment above the function of this exercise");
  }

  void check_registers(const Cell& cell, const std::vector<Item>& items) const {
    const Marker* marker = cell.marker("registers");
    std::vector<const Item*> functions;
    collect_functions(items, functions);
    const auto callable = std::count_if(functions.begin(), functions.end(), [](const Item* function) {
      return function->returns_nothing && !function->internal && function->signature.ends_with("()");
    });
    if (callable != 1) refuse(marker->line, "'//| registers' wants exactly one 'void name() {...}' in its cell");
  }

  void read_mistake(std::size_t index) {
    const Cell& cell = module_.cells[index];
    Mistake mistake;
    mistake.cell = index;
    mistake.line = cell.line;
    for (const Marker& marker : cell.markers) {
      if (marker.word == "says") {
        mistake.says += (mistake.says.empty() ? "" : " ") + marker.argument;
      } else if (marker.word == "mistake") {
        if (!mistake.grade_id.empty()) refuse(marker.line, "one mistake in a cell");
        const std::size_t space = marker.argument.find(' ');
        if (space == std::string::npos || marker.argument.find(' ', space + 1) != std::string::npos) {
          refuse(marker.line, "write '//| mistake GRADE_ID NAME'");
        }
        mistake.grade_id = marker.argument.substr(0, space);
        mistake.name = marker.argument.substr(space + 1);
        mistake.line = marker.line;
      } else {
        refuse(marker.line, "marker '" + marker.word + "' does not go with a mistake");
      }
    }
    module_.mistakes.push_back(std::move(mistake));
  }

  void check_ids() const {
    std::map<std::string, int> seen;
    for (const Cell& cell : module_.cells) {
      const std::string id = cell.grade_id();
      if (id.empty()) continue;
      const auto [place, fresh] = seen.emplace(id, cell.line);
      if (!fresh) refuse(cell.line, "grade_id '" + id + "' stands already in line " + std::to_string(place->second));
      const bool shaped = id.starts_with(module_.number + "-") && id.size() > 3 &&
                          id.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") == std::string::npos;
      if (!shaped) refuse(cell.line, "grade_id '" + id + "' is not of the form '" + module_.number + "-kebab-name'");
    }
  }

  void match_mistakes() {
    std::set<std::string> ids;
    for (Mistake& mistake : module_.mistakes) {
      if (!ids.insert(mistake.id()).second) refuse(mistake.line, "mistake '" + mistake.id() + "' stands twice");
      const auto hole = std::find_if(module_.holes.begin(), module_.holes.end(),
                                     [&](const Hole& other) { return other.grade_id == mistake.grade_id; });
      if (hole == module_.holes.end()) refuse(mistake.line, "no exercise '" + mistake.grade_id + "' in this module");
      read_mistake_body(*hole, mistake);
    }
  }

  // The lines between the braces of the one function between #if 0 and #endif.
  void read_mistake_body(const Hole& hole, Mistake& mistake) const {
    const Cell& cell = module_.cells[mistake.cell];
    std::vector<std::string> lines = cell.body;
    std::optional<std::size_t> opens, closes;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (trim(lines[i]) == "#if 0" && !opens) opens = i;
      if (trim(lines[i]) == "#endif") closes = i;
    }
    if (!opens || !closes || *closes < *opens) refuse(mistake.line, "a mistake stands between '#if 0' and '#endif'");
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (i > *opens && i < *closes) continue;
      if (i != *opens && i != *closes && !is_comment_or_blank(lines[i])) refuse(line_of(cell, i), "code outside of '#if 0'");
      lines[i].clear();
    }
    const std::string text = join_lines(lines);
    std::vector<Item> items;
    try {
      items = scan_items(text);
    } catch (const ScanError& error) {
      refuse(line_of(cell, error.line), error.what());
    }
    std::vector<const Item*> functions;
    collect_functions(items, functions);
    if (functions.size() != 1) refuse(mistake.line, "a mistake is one function definition, that of '" + hole.function + "'");
    const Item& function = *functions[0];
    if (function.head != hole.signature) {
      refuse(line_of(cell, function.line), "the mistake's function differs from the exercise's: '" + function.head +
                                               "' instead of '" + hole.signature + "'");
    }
    mistake.body = split_lines(text.substr(function.open + 1, function.close - function.open - 1));
    mistake.body_line = line_of(cell, static_cast<std::size_t>(std::count(
                                          text.begin(), text.begin() + static_cast<std::ptrdiff_t>(function.open), '\n')));
    while (!mistake.body.empty() && trim(mistake.body.front()).empty()) {
      mistake.body.erase(mistake.body.begin());
      ++mistake.body_line;
    }
    while (!mistake.body.empty() && trim(mistake.body.back()).empty()) mistake.body.pop_back();
  }

  void read_tests(std::size_t index, const std::vector<Item>& items) {
    const Cell& cell = module_.cells[index];
    std::size_t next_free = 0;
    for (const Item& item : items) {
      if (item.kind == Item::Kind::Test) {
        if (!cell.markers.empty()) refuse(line_of(cell, item.line), "tests and demonstrations stand in cells without a marker");
        Test test;
        test.name = item.name;
        test.is_demo = item.keyword == "DEMO";
        test.grade_id = cell.grade_id();
        test.graded = cell.nbgrader_flag("grade");
        test.cell = index;
        test.first = item.line;
        test.last = item.last_line;
        while (test.first > next_free && trim(cell.body[test.first - 1]).starts_with("//")) --test.first;
        test.line = line_of(cell, item.line);
        if (test.name.empty()) refuse(test.line, "a test has a name: TEST_CASE(\"what holds\")");
        module_.tests.push_back(std::move(test));
      }
      next_free = item.last_line + 1;
    }
  }

  // The graded test behind a hole tests it; holes add up until the next graded test.
  void assign_holes_to_tests() {
    std::size_t hole = 0;
    std::vector<std::string> open;
    std::size_t last_cell = Item::kNone;
    for (Test& test : module_.tests) {
      if (test.is_demo) continue;
      if (test.cell != last_cell) {
        const bool has_new = hole < module_.holes.size() && module_.holes[hole].cell < test.cell;
        if (has_new && test.graded) open.clear();
        if (test.graded) {
          for (; hole < module_.holes.size() && module_.holes[hole].cell < test.cell; ++hole) {
            open.push_back(module_.holes[hole].grade_id);
          }
        }
      }
      last_cell = test.cell;
      if (test.graded) test.holes = open;
    }
  }

  Module module_;
};

// A folder modules/NN_name before its file is parsed.
struct Folder {
  std::string number;
  std::string name;
  std::string stage;
  bool library_chapter = false;
  fs::path file;
  std::string chapter_before;  // the library chapter behind which it stands, where its number does not say so

  // Where it stands in the course.
  auto place() const {
    const bool is_moved = !chapter_before.empty();
    return std::tuple(stage, library_chapter, is_moved ? chapter_before : number, is_moved, number, name);
  }

  // Whether a person who writes `text` means this module.
  bool is(std::string_view text) const {
    const bool short_number = text.size() == 1 && number == "0" + std::string(text);
    return short_number || text == number || text == name || text == number + "_" + name;
  }
};

// Relative to the current folder where it is inside of it, so that messages stay short.
fs::path short_path(const fs::path& path) {
  const fs::path relative = path.lexically_proximate(fs::current_path());
  return !relative.empty() && *relative.begin() == ".." ? path : relative;
}

// What its `//| after NN` says; behind all others without one.
std::pair<std::string, std::string> place_of_chapter(const fs::path& file) {
  constexpr std::string_view kMarker = "//| after ";
  for (const std::string& line : split_lines(read_text(file))) {
    if (line.starts_with(kMarker)) return after_words(line.substr(kMarker.size()));
  }
  return {"99", ""};
}

bool has_lesson(const fs::path& folder) {
  return std::any_of(fs::directory_iterator(folder), fs::directory_iterator(),
                     [](const fs::directory_entry& entry) { return entry.path().extension() == ".cpp"; });
}

// In the order of the stages, library chapters behind the module they follow: by their numbers, or behind the chapter that they name.
std::vector<Folder> module_folders(const fs::path& root) {
  std::vector<Folder> folders;
  for (const fs::directory_entry& entry : fs::directory_iterator(fs::absolute(root).lexically_normal() / "modules")) {
    const std::string text = entry.path().filename().string();
    const bool numbered = entry.is_directory() && text.size() > 3 && std::isdigit(static_cast<unsigned char>(text[0])) != 0 &&
                          std::isdigit(static_cast<unsigned char>(text[1])) != 0 && text[2] == '_';
    if (!numbered || !has_lesson(entry.path())) continue;
    Folder folder{text.substr(0, 2), text.substr(3), text.substr(0, 2), is_library_chapter(text), {}, {}};
    folder.file = short_path(entry.path() / (folder.name + "_dev.cpp"));
    if (folder.library_chapter) std::tie(folder.stage, folder.chapter_before) = place_of_chapter(folder.file);
    folders.push_back(std::move(folder));
  }
  std::sort(folders.begin(), folders.end(), [](const Folder& a, const Folder& b) { return a.place() < b.place(); });
  return folders;
}

// Throws Diagnostic if the chapter behind which `folder` stands is not there, or not where its number says.
void check_chapter_before(const Folder& folder, const std::vector<Folder>& folders) {
  if (folder.chapter_before.empty()) return;
  const bool is_there = std::any_of(folders.begin(), folders.end(), [&](const Folder& other) {
    return other.library_chapter && other.number == folder.chapter_before && other.stage == folder.stage && other.chapter_before.empty();
  });
  if (is_there) return;
  const std::vector<std::string> lines = split_lines(read_text(folder.file));
  const auto marker = std::find(lines.begin(), lines.end(), "//| after " + folder.stage + " " + folder.chapter_before);
  throw Diagnostic(folder.file, static_cast<std::size_t>(marker - lines.begin()) + 1,
                   "there is no library chapter " + folder.chapter_before + " that stands by its number behind module " + folder.stage +
                       "; '//| after " + folder.stage + " NN' names one, '//| after " + folder.stage + "' puts this chapter where its own number says");
}

}  // namespace

std::string Hole::message() const { return grade_id.substr(0, 2) + " " + function + ": " + todo; }

Module parse_module(const fs::path& file, std::string_view text, Edition edition) {
  return ModuleParser(file, text, edition).run();
}

Module parse_module(const fs::path& file, Edition edition) { return parse_module(file, read_text(file), edition); }

std::vector<Module> load_course(const fs::path& root) {
  const std::vector<Folder> folders = module_folders(root);
  std::vector<Module> course;
  for (const Folder& folder : folders) {
    course.push_back(parse_module(folder.file));
    check_chapter_before(folder, folders);
  }
  return course;
}

std::vector<fs::path> module_files(const fs::path& root, std::string_view name) {
  const std::vector<Folder> folders = module_folders(root);
  const auto wanted = std::find_if(folders.begin(), folders.end(), [&](const Folder& folder) { return folder.is(name); });
  if (wanted == folders.end()) {
    std::string names;
    for (const Folder& folder : folders) names += (names.empty() ? "" : ", ") + folder.number + "_" + folder.name;
    throw std::runtime_error("unknown module '" + std::string(name) + "'; there are: " + names);
  }
  std::vector<fs::path> files;
  for (const Folder& folder : folders) {
    if (folder.stage <= wanted->stage) files.push_back(folder.file);
  }
  return files;
}

std::vector<Module> load_stage_of(const fs::path& root, std::string_view name) {
  std::vector<Module> modules;
  for (const fs::path& file : module_files(root, name)) modules.push_back(parse_module(file));
  return modules;
}

fs::path find_root(const fs::path& from) {
  for (fs::path folder = fs::absolute(from); ; folder = folder.parent_path()) {
    if (fs::is_directory(folder / "modules") && fs::exists(folder / "tito")) return folder;
    if (folder == folder.parent_path()) break;
  }
  throw std::runtime_error("no TinyTorch course here: neither this folder nor one above it has modules/ and tito");
}

fs::path course_folder() {
  const char* given = std::getenv("TITO_ROOT");
  if (given != nullptr && *given != '\0') return find_root(given);
  const fs::path program = fs::read_symlink("/proc/self/exe");
  const fs::path installed = program.parent_path().parent_path() / "share/tinytorch";
  if (fs::is_directory(installed / "modules") && fs::is_directory(installed / "cli/runtime")) return installed;
  return find_root(program.parent_path());
}

fs::path project_root() {
  const char* given = std::getenv("TITO_ROOT");
  return find_root(given == nullptr || *given == '\0' ? fs::current_path() : fs::path(given));
}

bool breaks_for_includes(const Module& module, std::size_t cell) {
  return std::find(module.include_breaks.begin(), module.include_breaks.end(), cell) != module.include_breaks.end();
}

const Module& find_module(const std::vector<Module>& course, std::string_view name) {
  std::string list;
  for (const Module& module : course) {
    const bool short_number = name.size() == 1 && module.number == "0" + std::string(name);
    if (name == module.number || name == module.name || name == module.folder() || short_number) return module;
    list += (list.empty() ? "" : ", ") + module.folder();
  }
  throw std::runtime_error("unknown module '" + std::string(name) + "'; there are: " + list);
}

}  // namespace tito
