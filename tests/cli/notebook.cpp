// A lesson as a notebook, and what its cells are compiled against.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "format/leaks.h"
#include "format/source.h"
#include "notebook/lesson.h"
#include "notebook/student_notebook.h"

namespace tito {
namespace {

Module lesson(std::string_view number) {
  const std::vector<Module> course = load_course(TITO_SOURCE_ROOT);
  return find_module(course, number);
}

bool says(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("a notebook has the lesson's cells without the wrong bodies") {
  const Module module = lesson("04");
  const std::string text = notebook_text(module);
  CHECK(says(read_text(module.file), "//| mistake"));
  CHECK_FALSE(says(text, "//| mistake"));
  CHECK(says(text, "// BEGIN SOLUTION"));
  const CellFile cells = parse_cells(module.file, text);
  CHECK_EQ(cells.cells.size() + module.mistakes.size(), module.cells.size());
}

TEST_CASE("below a notebook lie the modules before it, and the classes by which it extends others") {
  const std::vector<Module> course = load_stage_of(TITO_SOURCE_ROOT, "05");
  const std::vector<Module> below = modules_below(course, find_module(course, "05"));
  REQUIRE_FALSE(below.empty());
  const auto own = std::find_if(below.begin(), below.end(), [](const Module& module) { return module.number == "05"; });
  REQUIRE(own != below.end());
  CHECK(own->tests.empty());
  const Package package = export_package(below);
  std::string extensions, engine;
  for (const GeneratedFile& file : package.files) {
    if (file.path == "core/tensor_extensions.h") extensions = file.text;
    if (file.path == "core/engine.cpp") engine = file.text;
  }
  CHECK(says(extensions, "public AutogradMethods"));
  CHECK(says(extensions, "public HistoryMethods"));  // a library chapter's behind the lesson
  CHECK_EQ(engine, "");
  // Of a chapter behind the lesson its mixins, and the headers of its own that these include; nothing that stands on the lesson.
  const std::vector<Module> tensors = load_stage_of(TITO_SOURCE_ROOT, "01");
  std::set<std::string> paths;
  for (const GeneratedFile& file : export_package(modules_below(tensors, find_module(tensors, "01"))).files) paths.insert(file.path);
  for (const char* path : {"core/device_methods.h", "core/accessor.h", "core/device_options.h", "core/more_methods.h"}) CHECK(paths.contains(path));
  for (const char* path : {"core/tensor.h", "core/ops.h", "core/layouts.h", "core/more_ops.h"}) CHECK_FALSE(paths.contains(path));
  const std::vector<Module> first = load_stage_of(TITO_SOURCE_ROOT, "00");
  CHECK_EQ(modules_below(first, first.front()).size(), 0);
}

TEST_CASE("chapters behind a lesson that register functions for its tensors join its notebook") {
  const std::vector<Module> stage = load_stage_of(TITO_SOURCE_ROOT, "05");
  std::set<std::string> joined;
  for (const Module& chapter : chapters_used(stage, find_module(stage, "05"), {})) joined.insert(chapter.folder());
  CHECK(joined.contains("64_gradient_table"));
  for (const Module& chapter : stage) {
    const bool registers = std::any_of(chapter.cells.begin(), chapter.cells.end(), [](const Cell& cell) { return cell.marker("registers") != nullptr; });
    if (chapter.after != "05" || !registers) continue;
    CAPTURE(chapter.folder());
    CHECK(joined.contains(chapter.folder()));
  }
}

TEST_CASE("what a lesson includes is there for its cells") {
  for (const Module& module : load_course(TITO_SOURCE_ROOT)) {
    if (module.number > "16") continue;
    const std::vector<Module> stage = load_stage_of(TITO_SOURCE_ROOT, module.number);
    std::set<std::string> there;
    for (const GeneratedFile& file : export_package(modules_below(stage, module)).files) there.insert(file.path);
    for (const GeneratedFile& file : generated_for_cells(stage, module)) there.insert(file.path);
    // The lesson's own, and what stands on it.
    for (std::size_t i = 0; i < stage.size(); ++i) {
      if (stage[i].number < module.number) continue;
      const std::vector<std::string> paths = exported_paths(stage[i]);
      there.insert(paths.begin(), paths.end());
    }
    for (const std::string& path : exported_paths(module)) {
      for (const SourceLine& line : include_lines(module, path)) {
        constexpr std::string_view opening = "#include \"tinytorch/";
        if (!line.text.starts_with(opening)) continue;
        const std::string wanted = line.text.substr(opening.size(), line.text.rfind('"') - opening.size());
        CAPTURE(path);
        CAPTURE(wanted);
        CHECK(there.contains(wanted));
      }
    }
  }
}

// A notebook around one cell of each kind, with `source` in the code cell and `output` in what it showed.
std::string small_notebook(const std::string& source, const std::string& output) {
  const nlohmann::json code = {{"cell_type", "code"}, {"metadata", nlohmann::json::object()}, {"source", source},
                               {"outputs", {{{"output_type", "stream"}, {"name", "stdout"}, {"text", {output}}}}}};
  const nlohmann::json prose = {{"cell_type", "markdown"}, {"metadata", nlohmann::json::object()}, {"source", {"# Title\n", "More."}}};
  return nlohmann::json{{"cells", {prose, code}}, {"metadata", nlohmann::json::object()}, {"nbformat", 4}}.dump();
}

TEST_CASE("what a student gets as a notebook is searched, outputs and all") {
  const std::vector<Cell> cells = cells_of_notebook(small_notebook("//| lesson\nint one() { return 1; }", "said"));
  REQUIRE_EQ(cells.size(), 3);
  CHECK_EQ(cells[0].body, std::vector<std::string>{"// # Title", "// More."});
  CHECK(cells[1].marker("lesson") != nullptr);
  CHECK_EQ(cells[1].body.back(), "int one() { return 1; }");
  CHECK(says(join_lines(cells[2].body), "// said"));

  const Module module = lesson("04");
  const std::string solution = "  const std::int64_t C = input.size(1);\n  const Tensor labels = target.contiguous();\n";
  REQUIRE(says(read_text(module.file), solution));
  const auto leaks = [&](const std::string& source, const std::string& output) {
    return find_leaks(module, cells_of_notebook(small_notebook(source, output)), "notebook");
  };
  CHECK(leaks("int one() { return 1; }", "said").empty());
  for (const std::vector<Finding>& found : {leaks(solution, "said"), leaks("", solution)}) {
    REQUIRE_EQ(found.size(), 1);
    CHECK(says(found[0].message, "the student's notebook has part of the solution of '04-"));
  }
}

TEST_CASE("notebooks share the objects of what they stand on, where these see the same Tensor") {
  const fs::path root = fs::temp_directory_path() / ("tito_notebooks_" + std::to_string(getpid()));
  const auto objects = [&](std::string_view number, bool learner = false) {
    const std::vector<Module> stage = load_stage_of(TITO_SOURCE_ROOT, number);
    const Module& module = find_module(stage, number);
    StageOptions options = cell_options(module, {});
    options.course = TITO_SOURCE_ROOT;
    options.learner = learner;
    return StageBuild(root, modules_below(stage, module), options).library_of("01_tensor");
  };
  const std::vector<std::string> third = objects("03");
  CHECK_EQ(third.size(), 1);                // the course's lesson is one unit
  CHECK_GT(objects("03", true).size(), 1);  // in a learner's, two sources may have helpers of one name
  CHECK_EQ(third, objects("04"));
  CHECK_NE(third, objects("05"));  // autograd gives Tensor methods
  // In a workspace also with `tito test`.
  StageOptions tests;
  tests.course = TITO_SOURCE_ROOT;
  tests.learner = true;
  tests.only = {"none"};
  CHECK_EQ(objects("05", true), StageBuild(root, load_stage_of(TITO_SOURCE_ROOT, "05"), tests).library_of("01_tensor"));
  fs::remove_all(root);
}

}  // namespace tito
