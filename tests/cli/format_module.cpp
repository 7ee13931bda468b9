#include "format_fixture.h"

#include <fstream>

namespace tito {

using namespace fixture;

namespace {

// Parsing the changed sample is refused in the line with `at`.
void refused(std::string_view from, std::string_view to, std::string_view at, std::string_view message) {
  const std::string text = changed(from, to);
  check_refused(text, at, message, [&] { parse_module(kFile, text); });
}

}  // namespace

TEST_CASE("module: the sample's cells, hole, mistake and tests") {
  const Module module = sample();
  CHECK_EQ(module.folder(), "05_sample");
  CHECK_EQ(module.header.size(), 3);
  REQUIRE_EQ(module.holes.size(), 1);
  const Hole& hole = module.holes[0];
  CHECK_EQ(hole.message(), "05 twice: Double the number.");
  CHECK_EQ(hole.signature, "int twice ( int number )");
  CHECK_EQ(hole.line, line_of(sample_text(), "int twice(int number) {"));
  CHECK_EQ(hole.kind, "fill");
  REQUIRE_EQ(module.mistakes.size(), 1);
  CHECK_EQ(module.mistakes[0].id(), "05-twice/squares");
  CHECK_EQ(module.mistakes[0].says, "Twice is not the square.");
  CHECK_EQ(module.mistakes[0].body, std::vector<std::string>{"  return number * number;"});
  CHECK_EQ(module.mistakes[0].body_line, line_of(sample_text(), "  return number * number;"));
  REQUIRE_EQ(module.tests.size(), 2);
  CHECK_EQ(module.tests[0].name, "twice: two of them");
  CHECK_EQ(module.tests[0].holes, std::vector<std::string>{"05-twice"});
  CHECK(module.tests[0].graded);
  CHECK(module.tests[1].is_demo);
}

TEST_CASE("module: an exercise's kind, and holes that share a test") {
  const Module module = sample("//| mistake 05-twice squares", "//| mistake 05-twice other");
  CHECK_EQ(module.mistakes[0].name, "other");
  CHECK_EQ(sample("//| export core/sample.cpp\n// Twice", "//| export core/sample.cpp\n//| exercise debug\n// Twice").holes[0].kind, "debug");
}

TEST_CASE("refused: cells that are no cells") {
  refused("// %% [markdown]\n", "// %% [markdwon]\n", "[markdwon]", "a cell begins with");
  refused("// %% [markdown]\n", "//%% [markdown]\n", "//%%", "a cell begins with '// %%'");
  refused("// %% [markdown]\n", "int x;\n// %% [markdown]\n", "int x;", "before the first cell");
  refused("// # Module 05: Sample\n", "# Module\n", "# Module\n", "every line of a markdown cell");
  const std::string empty = "// only a header\n";
  check_refused(empty, "// only", "made of cells", [&] { parse_module(kFile, empty); });
}

TEST_CASE("refused: metadata") {
  refused("{\"nbgrader\": {\"grade\": false", "{\"nbgrader\": 5, \"x\": {\"grade\": false", "\"nbgrader\": 5", "must be an object");
  refused("{\"nbgrader\": {\"grade\": false", "{\"nbgrader\": {\"grade\": fals", "\"grade\": fals,", "not a JSON object");
  refused("\"points\": 5, ", "", "05-twice-test", "needs \"points\"");
  refused("\"points\": 5, ", "\"points\": -1, ", "05-twice-test", "not negative");
  refused("\"points\": 5, ", "\"points\": 5, \"extra\": 1, ", "05-twice-test", "unknown key \"extra\"");
  refused("\"locked\": true, ", "", "05-twice-test", "\"locked\" must be");
  refused("\"schema_version\": 3", "\"schema_version\": 2", "05-twice\"", "schema_version");
  refused("\"grade_id\": \"05-twice\"", "\"grade_id\": 5", "\"grade_id\": 5", "must be a string");
  refused("\"grade_id\": \"05-twice\"", "\"grade_id\": \"05-twice-test\"", "\"05-twice-test\", \"locked\": true", "stands already in line");
  refused("\"05-twice\"", "\"twice\"", "\"twice\"", "not of the form '05-kebab-name'");
}

TEST_CASE("refused: markers") {
  refused("//| registers", "//| register", "//| register\n", "unknown marker 'register'");
  refused("//| registers", "//| registers now", "//| registers now", "takes nothing behind it");
  refused("//| registers", "//|registers", "//|registers", "malformed marker");
  refused("//| lesson", "// | lesson", "// | lesson", "malformed marker");
  refused("//| lesson", "//| export", "//| export\n", "needs something behind it");
  refused("// # Module 05: Sample", "//| lesson", "//| lesson", "a marker in a markdown cell");
  refused("//| lesson\n", "//| lesson\n//| lesson\n", "//| lesson\n//| lesson", "stands twice");
  refused("//| lesson\n", "//| lesson\n//| export core/a.cpp\n", "//| lesson", "not exported");
  refused("//| lesson\nint", "//| export core/a.cpp\n//| export core/b.cpp\nint", "core/b.cpp", "a cell of code goes to one file");
  refused("int twice_v1", "int a;\n//| lesson\nint twice_v1", "int a;\n//| lesson", "stands twice");
  refused("//| lesson\nint twice_v1", "int a;\n//| lesson\nint twice_v1", "//| lesson", "before everything else");
  refused("//| extends Tensor", "//| extends Scalar", "//| extends", "only Tensor");
  refused("//| export core/sample_methods.h", "//| export core/sample_methods.cpp", "//| extends", "to a header");
  refused("//| export core/sample.cpp\n//| registers", "//| export core/sample.h\n//| registers", "//| registers", "to a .cpp file");
  refused("//| registers\nvoid register_sample() {", "//| registers\nint register_sample() {", "//| registers", "exactly one");
  refused("//| lesson\nint", "//| exercise fill\n//| lesson\nint", "//| exercise", "\"solution\": true");
  refused("//| lesson\nint", "//| says no\n//| lesson\nint", "//| says no", "goes with an '//| mistake'");
  refused("//| export core/sample.cpp\n// Twice", "//| export core/sample.cpp\n//| exercise easy\n// Twice", "//| exercise", "fill, design, debug");
  refused("//| lesson\nint", "//| after 04\n//| lesson\nint", "//| after", "only library chapters");
  refused("//| lesson\nint twice_v1(int number) { return 2 * number; }\n", "//| lesson\n", "//| lesson", "no code");
}

TEST_CASE("refused: export paths") {
  const auto path = [](std::string_view bad, std::string_view message) {
    refused("//| lesson\nint", "//| export " + std::string(bad) + "\nint", "//| export " + std::string(bad), message);
  };
  path("/core/a.cpp", "is absolute");
  path("../core/a.cpp", "leaves tinytorch/");
  path("core/../../a.cpp", "leaves tinytorch/");
  path("core/a.cc", "must end in .h or .cpp");
  path("core/a b.cpp", "other characters");
  path("core//a.cpp", "other characters");
  path("core/tensor_extensions.h", "export generates");
  path("tinytorch.h", "export generates");
}

TEST_CASE("refused: code without a destination") {
  refused("//| lesson\n", "", "int twice_v1", "library code without a destination ('twice_v1')");
  refused("using std::vector;", "int counter = 0;", "int counter", "library code without a destination ('counter')");
  refused("DEMO(\"twice, shown\") {", "DEMONSTRATION(\"twice, shown\") {", "DEMONSTRATION", "without a destination");
}

TEST_CASE("refused: the namespace and what stands around it") {
  const std::string_view open = "// %%\nnamespace tinytorch {\n\n// %%";
  refused(open, "// %%", "once is not enough.\n\n// %%\n}  // namespace tinytorch", "closes nothing here");
  refused(open, "// %%\nnamespace tinytorch\n{\n\n// %%", "lesson.h\"\n\n// %%\nnamespace tinytorch\n", "opened by the line");
  refused(open, "// %%\nnamespace tinytorch {\nint a;\n\n// %%", "int a;", "has nothing else in it");
  refused(open, "// %%\nnamespace tinytorch {\n\n// %%\nnamespace tinytorch {\n\n// %%",
          "namespace tinytorch {\n\n// %%\nnamespace tinytorch {", "stands once");
  const std::string bare = "// %% [markdown]\n// # T\n\n// %%\n#include <map>\n";
  check_refused(bare, "// %% [markdown]", "no cell with the line 'namespace tinytorch {'", [&] { parse_module(kFile, bare); });
  refused("enough.\n\n// %%\n}  // namespace", "enough.\n\n// %%\n} // namespace", "lesson.h\"\n\n// %%\nnamespace tinytorch {",
          "no cell with the line '}  // namespace");
  refused("using std::vector;", "#include <vector>", "%%\n#include <vector>", "#include after 'namespace");
  refused("using std::vector;", "}  // namespace tinytorch\n#include <deque>\nint a;\nnamespace tinytorch {", "int a;\nnamespace tinytorch {", "stands once");
  refused("//| lesson\nint twice_v1(int number) { return 2 * number; }", "//| lesson\n}  // namespace tinytorch\n#include <deque>\nnamespace tinytorch {", "//| lesson\n", "no marker");
  refused("using std::vector;", "using std::vector;\n#include <deque>", "#include <deque>", "#include after 'namespace");
  refused("//| lesson\nint", "//| lesson\n#include <deque>\nint", "#include <deque>", "#include after 'namespace");
  refused("#include \"tito/lesson.h\"", "#include \"tito/lesson.h\"\nint early;", "int early;", "code before 'namespace tinytorch {'");
  refused("//| lesson\nint twice_v1(int number) { return 2 * number; }", "//| lesson\nnamespace tinytorch {\nint a;\n}",
          "//| lesson\nnamespace tinytorch {", "stands once");
  refused("//| lesson\nint", "//| export core/a.cpp\nnamespace tinytorch { int a; }\nint", "a.cpp\nnamespace tinytorch {",
          "inside of namespace tinytorch");
  refused("once is not enough.\n\n// %%\n}  // namespace tinytorch\n",
          "once is not enough.\n\n// %%\n}  // namespace tinytorch\n\n// %%\n//| export core/a.cpp\nint late;\n",
          "// namespace tinytorch\n\n// %%\n//| export core/a.cpp\nint late;", "code after");
}

TEST_CASE("refused: holes that are not one whole body") {
  refused("  // END SOLUTION\n", "", "// BEGIN SOLUTION", "// BEGIN SOLUTION without // END SOLUTION");
  refused("  // BEGIN SOLUTION\n", "", "// END SOLUTION", "// END SOLUTION without // BEGIN SOLUTION");
  refused("  // BEGIN SOLUTION\n", "  // BEGIN SOLUTION\n  // BEGIN SOLUTION\n", "SOLUTION\n  // BEGIN SOLUTION", "before the // END SOLUTION");
  refused("  // BEGIN SOLUTION\n", "  // Begin solution\n", "// Begin solution", "malformed line");
  refused("  // BEGIN SOLUTION\n", "  // BEGIN SOLUTION twice the number\n", "// BEGIN SOLUTION twice", "malformed line");
  refused("  // END HIDDEN TESTS\n", "", "// BEGIN HIDDEN TESTS", "without // END HIDDEN TESTS");
  refused("  const int sum = number + number;\n  return sum;\n", "", "// BEGIN SOLUTION", "an empty solution");
  refused("  // BEGIN SOLUTION\n  const int sum = number + number;\n", "  const int sum = number + number;\n  // BEGIN SOLUTION\n",
          "// BEGIN SOLUTION", "the whole body");
  refused("  // END SOLUTION\n", "  // END SOLUTION\n  return 0;\n", "// BEGIN SOLUTION", "the whole body");
  refused("  // END SOLUTION\n}", "  // END SOLUTION\n}\nint other() {\n  // BEGIN SOLUTION\n  return 1;\n  // END SOLUTION\n}",
          "other() {\n  // BEGIN SOLUTION", "a second solution");
  refused("int twice(int number) {\n  // BEGIN SOLUTION", "namespace nn {\n  // BEGIN SOLUTION",
          "// BEGIN SOLUTION", "not inside of a function");
  refused("// TODO: Double", "// Double", "int twice(int number) {", "no '// TODO: ...'");
  refused("// TODO: Double the number.", "// TODO:", "// TODO:", "on its own line");
  refused("\"solution\": true", "\"solution\": false", "// BEGIN SOLUTION", "\"solution\": true");
  refused("\"points\": 2, \"schema_version\": 3, \"solution\": true", "\"points\": 2, \"schema_version\": 3, \"solution\": false",
          "Why twice?\n//\n// BEGIN SOLUTION", "\"solution\": true");
  refused("int twice_v1", "// BEGIN HIDDEN TESTS\n// END HIDDEN TESTS\nint twice_v1", "lesson\n// BEGIN HIDDEN TESTS", "stand in tests");
  refused("\"grade\": false", "\"grade\": true, \"points\": 1", "05-twice\"", "either a solution or a graded test");
  refused("int twice(int number) {\n  // BEGIN", "int twice(int number) noexcept {\n  // BEGIN", "int number) noexcept {", "a noexcept function");
  refused("int twice(int number) {\n  // BEGIN", "constexpr int twice(int number) {\n  // BEGIN", "constexpr int twice(int number) {", "a constexpr");
  refused("int twice(int number) {\n  // BEGIN", "Twice::~Twice() {\n  // BEGIN", "Twice::~Twice() {", "a destructor");
}

TEST_CASE("refused: mistakes that fit no exercise") {
  refused("//| mistake 05-twice squares", "//| mistake 05-thrice squares", "//| mistake", "no exercise '05-thrice'");
  refused("//| mistake 05-twice squares", "//| mistake 05-twice", "//| mistake", "write '//| mistake GRADE_ID NAME'");
  refused("//| mistake 05-twice squares", "//| mistake 05-twice squares it", "//| mistake", "write '//| mistake GRADE_ID NAME'");
  refused("//| mistake 05-twice squares", "//| mistake 05-twice squares\n//| mistake 05-twice b", "twice b", "one mistake in a cell");
  refused("//| mistake 05-twice squares", "//| mistake 05-twice squares\n//| lesson", "squares\n//| lesson", "does not go with a mistake");
  refused("// %%\n//| lesson\n", "// %%\n//| mistake 05-twice squares\n#if 0\nint twice(int number) {\n  return 1;\n}\n#endif\n\n// %%\n//| lesson\n",
          "END HIDDEN TESTS\n}\n\n// %%\n//| mistake 05-twice squares", "stands twice");
  refused("#if 0\nint twice(int number) {", "int twice(int number) {", "//| mistake", "stands between '#if 0'");
  refused("#endif\n", "#endif\nint more;\n", "int more;", "code outside of '#if 0'");
  refused("int twice(int number) {\n  return number *", "int twice(int n) {\n  return number *", "int twice(int n) {", "differs from the exercise's");
  refused("  return number * number;\n}\n", "  return number * number;\n", "#if 0\nint twice(int number) {", "is not closed");
  refused("int twice(int number) {\n  return number * number;\n}", "int a;", "//| mistake", "is one function definition");
}

TEST_CASE("refused: tests with a marker or without a name") {
  refused("// %%\nusing std::vector;\n", "// %%\n//| lesson\nusing std::vector;\n", "DEMO(", "stand in cells without a marker");
  refused("DEMO(\"twice, shown\")", "DEMO(\"\")", "DEMO(", "a test has a name");
}

TEST_CASE("refused: C++ that does not scan, in the line of the module") {
  refused("return 2 * number; }", "return \"2 * number; }", "return \"2", "string without its closing");
  refused("return 2 * number; }", "return 2 * number;", "int twice_v1(int number) {", "'{' is not closed");
}

TEST_CASE("refused: folders and files with other names") {
  const auto refused_path = [](const fs::path& file, std::string_view message) {
    try {
      parse_module(file, sample_text());
      FAIL_CHECK("nothing was refused");
    } catch (const Diagnostic& diagnostic) {
      CHECK_MESSAGE(diagnostic.message.find(message) != std::string::npos, diagnostic.message);
    }
  };
  refused_path("modules/sample/sample_dev.cpp", "a folder NN_name");
  refused_path("modules/05_sample/other_dev.cpp", "is sample_dev.cpp");
  refused_path("modules/90_sample/sample_dev.cpp", "grade_id");
  CHECK_THROWS_WITH_AS(parse_module("no/such/05_sample/sample_dev.cpp"), "no/such/05_sample/sample_dev.cpp:0: cannot be read", Diagnostic);
}

TEST_CASE("refused: library chapters that do not say whom they follow") {
  const fs::path file = "modules/90_lib/lib_dev.cpp";
  const auto chapter = [](std::string_view first) {
    return "// %% [markdown]\n// # T\n\n" + std::string(first) + "// %%\nnamespace tinytorch {\n\n// %%\n}  // namespace tinytorch\n";
  };
  const auto refused_chapter = [&](std::string_view first, std::string_view at, std::string_view message) {
    const std::string text = chapter(first);
    check_refused(text, at, message, [&] { parse_module(file, text); });
  };
  CHECK_EQ(parse_module(file, chapter("// %%\n//| after 05\n#include <map>\n\n")).stage(), "05");
  CHECK_EQ(parse_module(file, chapter("// %%\n//| after 05 95\n#include <map>\n\n")).stage(), "05");
  refused_chapter("", "// %% [markdown]", "says which module it follows");
  refused_chapter("// %%\n//| after 5\n#include <map>\n\n", "//| after 5", "by its two digits");
  refused_chapter("// %%\n//| after 91\n#include <map>\n\n", "//| after 91", "by its two digits");
  for (const std::string wrong : {"04", "5", "95 96"})
    refused_chapter("// %%\n//| after 05 " + wrong + "\n#include <map>\n\n", "//| after 05 " + wrong, "a library chapter by its two digits");
  refused_chapter("// %%\n#include <set>\n\n// %%\n//| after 05\n#include <map>\n\n", "//| after 05", "in the first code cell");
}

TEST_CASE("a course: in the order of stages, library chapters behind the module they name") {
  const fs::path root = fs::temp_directory_path() / "tito_course_test";
  fs::remove_all(root);
  const auto add = [&](const std::string& folder, const std::string& after) {
    fs::create_directories(root / "modules" / folder);
    std::ofstream out(root / "modules" / folder / (folder.substr(3) + "_dev.cpp"));
    out << "// %% [markdown]\n// # T\n\n" << (after.empty() ? "" : "// %%\n//| after " + after + "\n#include <vector>\n\n")
        << "// %%\nnamespace tinytorch {\n\n// %%\n}  // namespace tinytorch\n";
  };
  add("01_b", "");
  add("90_lib", "01");
  add("00_a", "");
  add("02_c", "");
  add("91_lib_b", "00");
  fs::create_directories(root / "modules/03_empty");
  std::string order;
  const std::vector<Module> course = load_course(root);
  for (const Module& module : course) order += module.folder() + " ";
  CHECK_EQ(order, "00_a 91_lib_b 01_b 90_lib 02_c ");
  CHECK_EQ(find_module(course, "1").folder(), "01_b");
  CHECK_EQ(find_module(course, "lib").folder(), "90_lib");
  CHECK_THROWS_WITH(find_module(course, "07"), "unknown module '07'; there are: 00_a, 91_lib_b, 01_b, 90_lib, 02_c");
  add("02_broken", "x");
  CHECK_EQ(load_stage_of(root, "1").size(), 4);
  CHECK_EQ(load_stage_of(root, "lib").back().folder(), "90_lib");
  CHECK_THROWS_AS(load_stage_of(root, "02_c"), Diagnostic);
  CHECK_THROWS_WITH(load_stage_of(root, "07"), "unknown module '07'; there are: 00_a, 91_lib_b, 01_b, 90_lib, 02_broken, 02_c");
  fs::remove_all(root / "modules/02_broken");
  add("50_early", "01 90");
  add("51_early", "01 90");
  add("89_lib_c", "01");
  add("93_lib_d", "01");
  order.clear();
  for (const Module& module : load_course(root)) order += module.number + " ";
  CHECK_EQ(order, "00 91 01 89 90 50 51 93 02 ");
  // Behind a chapter that is missing, that follows another module, or that was put elsewhere itself.
  for (const std::string wrong : {"94", "91", "50"}) {
    add("52_astray", "01 " + wrong);
    try {
      load_course(root);
      FAIL("'//| after 01 " << wrong << "' was not refused");
    } catch (const Diagnostic& diagnostic) {
      CHECK_EQ(diagnostic.line, 5);
      CHECK_MESSAGE(diagnostic.message.starts_with("there is no library chapter " + wrong + " that stands by its number behind module 01; "), diagnostic.message);
    }
  }
  fs::remove_all(root / "modules/52_astray");
  std::ofstream(root / "tito") << "";
  CHECK_EQ(find_root(root / "modules/00_a"), root);
  CHECK_THROWS(find_root("/"));
  add("92_lost", "");
  CHECK_THROWS_AS(load_course(root), Diagnostic);
  fs::remove_all(root);
}

TEST_CASE("a student's copy parses, with its bodies as they are") {
  std::string text = changed("  // BEGIN SOLUTION\n", "");
  text.erase(text.find("  // END SOLUTION\n"), 18);
  const Module module = parse_module(kFile, text, Edition::Student);
  REQUIRE_EQ(module.holes.size(), 1);
  CHECK_EQ(module.holes[0].function, "twice");
  CHECK_THROWS_AS(parse_module(kFile, text), Diagnostic);
  const std::string function = "int twice(int number) {\n  const int sum = number + number;\n  return sum;\n}\n";
  text.replace(text.find(function), function.size(), "int twice;\n");
  CHECK_THROWS_WITH_AS(parse_module(kFile, text, Edition::Student), doctest::Contains("the function of this exercise is gone"), Diagnostic);
}

TEST_CASE("in a student's copy, cells of their own are no part of the lesson") {
  std::string text = changed("  // BEGIN SOLUTION\n", "");
  text.erase(text.find("  // END SOLUTION\n"), 18);
  const std::string test = "// %%\nusing std::vector;";
  REQUIRE_NE(text.find(test), std::string::npos);
  for (const char* scratch : {"%limit 5\ntwice(4)", "int counter = 0;", "auto x = twice(2);\nstd::cout << x;", "f() { ) }"}) {
    std::string with_scratch = text;
    with_scratch.insert(text.find(test), std::string("// %%\n") + scratch + "\n\n");
    const Module module = parse_module(kFile, with_scratch, Edition::Student);
    CHECK_EQ(module.cells.size(), parse_module(kFile, text, Edition::Student).cells.size() + 1);
    CHECK_EQ(module.tests.size(), parse_module(kFile, text, Edition::Student).tests.size());
    CHECK_THROWS_AS(parse_module(kFile, with_scratch), Diagnostic);
  }
}

}  // namespace tito
