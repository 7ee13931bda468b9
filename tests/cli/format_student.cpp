#include "format/student.h"

#include <map>
#include <set>

#include "format/export.h"
#include "format/units.h"
#include "format_fixture.h"

namespace tito {

using namespace fixture;

namespace {

std::string trimmed(std::string_view line) {
  const std::size_t first = line.find_first_not_of(" \t");
  return first == std::string_view::npos ? "" : std::string(line.substr(first, line.find_last_not_of(" \t") - first + 1));
}

// The lines of `lines` without indentation, blank lines and comments, as one text.
std::string code_of(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) {
    const std::string text = trimmed(line);
    if (!text.empty() && !text.starts_with("//")) out += text + "\n";
  }
  return out;
}

// Nothing of a body, a mistake or a hidden test is in the copy. Bodies of one line may be so short that they occur
// elsewhere with right.
void check_nothing_leaks(const Module& module) {
  const std::string copy = code_of(split_lines(student_copy(module)));
  CAPTURE(module.folder());
  for (const Hole& hole : module.holes) {
    const std::vector<std::string>& body = module.cells[hole.cell].body;
    const std::string code = code_of({body.begin() + static_cast<std::ptrdiff_t>(hole.body_first),
                                      body.begin() + static_cast<std::ptrdiff_t>(hole.body_last) + 1});
    CAPTURE(hole.grade_id);
    if (code.size() > 40) CHECK_EQ(copy.find(code), std::string::npos);
    CHECK_NE(student_copy(module).find("throw NotImplemented(\"" + hole.grade_id.substr(0, 2) + " " + hole.function), std::string::npos);
  }
  for (const Mistake& mistake : module.mistakes) {
    const std::string code = code_of(mistake.body);
    CAPTURE(mistake.id());
    if (code.size() > 40) CHECK_EQ(copy.find(code), std::string::npos);
    CHECK_EQ(student_copy(module).find(mistake.says), std::string::npos);
  }
  for (const char* word : {"BEGIN SOLUTION", "END SOLUTION", "HIDDEN TESTS", "//| mistake", "//| says"}) {
    CHECK_EQ(student_copy(module).find(word), std::string::npos);
  }
}

}  // namespace

TEST_CASE("student: the sample's copy") {
  const std::string copy = student_copy(sample());
  CHECK_NE(copy.find(R"(
//| export core/sample.cpp
// Twice `number`. O(1).
//
// TODO: Double the number.
// APPROACH: 1. Add it to itself.
int twice(int number) {
  throw NotImplemented("05 twice: Double the number.");
}

)" + std::string(kTestTitle) + R"(
// Doubles.
TEST_CASE("twice: two of them") {
  CHECK_EQ(twice(3), 6);
}

// %%
//| lesson
)"),
           std::string::npos);
  CHECK_NE(copy.find("// Why twice?\n//\n\n// %%\n}  // namespace tinytorch\n"), std::string::npos);
  CHECK(copy.starts_with("// ---\n// jupyter: ...\n// ---\n\n// %% [markdown]\n// # Module 05: Sample\n"));
  check_nothing_leaks(sample());
}

TEST_CASE("student: what the checks for leaks would see") {
  // The same searches find the body, the mistake and the hidden test in the module itself.
  const std::string text = sample_text();
  for (const char* word : {"return sum;", "number * number", "twice(-7)", "Twice is not", "once is not enough"}) {
    CHECK_NE(text.find(word), std::string::npos);
    CHECK_EQ(student_copy(sample()).find(word), std::string::npos);
  }
}

TEST_CASE("student: the copy exports as the package with empty holes does") {
  const Module copy = parse_module(kFile, student_copy(sample()), Edition::Student);
  std::map<std::string, std::string> expected;
  for (const GeneratedFile& file : export_package(std::vector<Module>{sample()}, Bodies::Student).files) expected[file.path] = file.text;
  for (const GeneratedFile& file : export_package(std::vector<Module>{copy}).files) CHECK_EQ(file.text, expected.at(file.path));
  CHECK_EQ(test_units(copy, true)[0].text, test_units(sample(), false)[0].text);
}

TEST_CASE("student: with its body filled in, the copy exports as the module does") {
  std::string copy = student_copy(sample());
  const std::string hole = "  throw NotImplemented(\"05 twice: Double the number.\");\n";
  copy.replace(copy.find(hole), hole.size(), "  const int sum = number + number;\n  return sum;\n");
  const Module filled = parse_module(kFile, copy, Edition::Student);
  std::map<std::string, std::string> expected;
  for (const GeneratedFile& file : export_package(std::vector<Module>{sample()}).files) expected[file.path] = file.text;
  for (const GeneratedFile& file : export_package(std::vector<Module>{filled}).files) CHECK_EQ(file.text, expected.at(file.path));
}

TEST_CASE("student: no copy of the course gives anything away, and each exports with its holes empty") {
  const std::vector<Module> course = load_course(TITO_SOURCE_ROOT);
  REQUIRE_FALSE(course.empty());
  std::map<std::string, std::string> expected;
  for (const GeneratedFile& file : export_package(course, Bodies::Student).files) expected[file.path] = file.text;
  std::vector<Module> copies;
  for (const Module& module : course) {
    check_nothing_leaks(module);
    copies.push_back(parse_module(module.file, student_copy(module), Edition::Student));
    CHECK_EQ(copies.back().holes.size(), module.holes.size());
  }
  for (const GeneratedFile& file : export_package(copies).files) {
    CAPTURE(file.path);
    CHECK(file.text == expected.at(file.path));
  }
}

}  // namespace tito
