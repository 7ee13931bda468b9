#include "format/units.h"

#include <algorithm>

#include "format_fixture.h"

namespace tito {

using namespace fixture;

TEST_CASE("units: the sample's tests, byte for byte") {
  const std::vector<GeneratedFile> units = test_units(sample(), true);
  REQUIRE_EQ(units.size(), 1);
  CHECK_EQ(units[0].path, "05_sample/tests_1.cpp");
  CHECK_EQ(units[0].text, R"(// Tests of 05_sample, made by tito from the lesson.
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wunused-variable"
#include "tinytorch/core/sample_methods.h"
#include "tinytorch/core/sample.h"
#include "tito/lesson.h"

namespace tinytorch {

namespace {
int twice_v1(int number) { return 2 * number; }
}  // namespace

using std::vector;

// Doubles.
TEST_CASE("twice: two of them") {
  CHECK_EQ(twice(3), 6);
  if (tito::runs_hidden_tests()) {
  CHECK_EQ(twice(-7), -14);
  }
}

DEMO("twice, shown") {
  twice_v1(2);
}

}  // namespace tinytorch
)");
}

TEST_CASE("units: includes in the middle of a lesson stand in front of the tests with the others") {
  const std::string middle = "}  // namespace tinytorch\n// What stands on Pair.\n#include \"tinytorch/core/more.h\"\nnamespace tinytorch {\n\n// %%\nusing std::vector;\n";
  const Module module = sample("using std::vector;\n", middle);
  CHECK_EQ(module.include_breaks.size(), 1);
  std::string expected = test_units(sample(), true)[0].text;
  const std::string above = "#include \"tito/lesson.h\"\n";
  expected.insert(expected.find(above) + above.size(), "#include \"tinytorch/core/more.h\"\n");
  CHECK_EQ(test_units(module, true)[0].text, expected);
}

TEST_CASE("units: without the hidden tests") {
  const std::string text = test_units(sample(), false)[0].text;
  CHECK_NE(text.find("twice(3)"), std::string::npos);
  CHECK_EQ(text.find("twice(-7)"), std::string::npos);
  const std::string all_hidden = changed("// Doubles.\n", "// BEGIN HIDDEN TESTS\n");
  const std::string shut = all_hidden.substr(0, all_hidden.find("  // BEGIN HIDDEN TESTS\n")) + "}\n// END HIDDEN TESTS\n\n" +
                           all_hidden.substr(all_hidden.find("// %%\n//| lesson"));
  CHECK_EQ(test_units(parse_module(kFile, shut), false)[0].text.find("two of them"), std::string::npos);
  const std::string whole = test_units(parse_module(kFile, shut), true)[0].text;
  CHECK_LT(whole.find("TEST_SUITE_BEGIN(\"hidden tests\");"), whole.find("two of them"));
  CHECK_LT(whole.find("two of them"), whole.find("TEST_SUITE_END();"));
  CHECK_NE(whole.find("TEST_SUITE_END();"), std::string::npos);
}

TEST_CASE("units: of the tests those that start threads, by themselves or as a loader's workers") {
  const std::string cells = "\n// %%\nTEST_CASE(\"a\") {\n  std::jthread other([] {});\n}\n\nTEST_CASE(\"b\") {\n  CHECK(true);\n}\n\n// %%\nTEST_CASE(\"c\") {\n"
                            "  options.workers(2);\n}\n\nTEST_CASE(\"d\") {\n  set_num_threads(2);\n}\n\nDEMO(\"e\") {\n  std::thread other;\n}\n";
  const Module module = sample("using std::vector;\n", "using std::vector;\n" + cells);
  const std::vector<GeneratedFile> units = test_units(module, true, Bodies::Reference, whole_module, Chosen::WithThreads);
  REQUIRE_EQ(units.size(), 1);
  std::string found;
  for (const char* name : {"a", "b", "c", "d"}) {
    if (units[0].text.find(std::string("TEST_CASE(\"") + name) != std::string::npos) found += name;
  }
  CHECK_EQ(found, "acd");
  CHECK_EQ(units[0].text.find("twice: two of them"), std::string::npos);
  CHECK_EQ(units[0].text.find("DEMO"), std::string::npos);
  CHECK(test_units(sample(), true, Bodies::Reference, whole_module, Chosen::WithThreads).empty());
}

TEST_CASE("units: many tests are spread evenly, each in one unit, in order") {
  std::string cells;
  for (int i = 0; i < 60; ++i) cells += "TEST_CASE(\"number " + std::to_string(i) + "\") {}\n";
  const std::vector<GeneratedFile> units = test_units(sample("using std::vector;\n", "using std::vector;\n" + cells), true);
  REQUIRE_EQ(units.size(), 3);
  int seen = 0;
  for (const GeneratedFile& unit : units) {
    const std::vector<std::string> lines = split_lines(unit.text);
    const auto tests = std::count_if(lines.begin(), lines.end(), [](const std::string& line) { return line.starts_with("TEST_CASE(\"number"); });
    CHECK_GE(tests, 19);
    CHECK_LE(tests, 21);
    for (int i = seen; i < seen + tests; ++i) CHECK_NE(unit.text.find("\"number " + std::to_string(i) + "\""), std::string::npos);
    seen += static_cast<int>(tests);
    CHECK_NE(unit.text.find("int twice_v1"), std::string::npos);
  }
  CHECK_EQ(seen, 60);
}

TEST_CASE("units: lines know where they come from") {
  const std::vector<std::string> source = split_lines(sample_text());
  const GeneratedFile unit = test_units(sample(), true)[0];
  const std::vector<std::string> lines = split_lines(unit.text);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (unit.origin[i] != 0) CHECK_EQ(lines[i], source[static_cast<std::size_t>(unit.origin[i]) - 1]);
    if (lines[i].starts_with("TEST_CASE")) CHECK_NE(unit.origin[i], 0);
  }
}

TEST_CASE("units: a hole in lesson code follows the bodies that are asked for") {
  const Module module = sample("//| export core/sample.cpp\n// Twice", "//| lesson\n// Twice");
  CHECK_NE(test_units(module, true)[0].text.find("return sum;"), std::string::npos);
  CHECK_EQ(test_units(module, true, Bodies::Student)[0].text.find("return sum;"), std::string::npos);
  const std::string instrumented = test_units(module, true, Bodies::Instrumented)[0].text;
  CHECK_NE(instrumented.find("::tito::variant(\"05-twice\")"), std::string::npos);
  CHECK_NE(instrumented.find("#include \"tito/variant.h\""), std::string::npos);
  CHECK_EQ(test_units(sample(), true, Bodies::Instrumented)[0].text, test_units(sample(), true)[0].text);
}

}  // namespace tito
