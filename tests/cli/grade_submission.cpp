#include "grade/submission.h"

#include <algorithm>

#include "format/student.h"
#include "grade/grader.h"
#include "learner_fixture.h"
#include "tito/lesson.h"

namespace tito {
namespace {

const Module& reference() {
  static const Module module = [] {
    std::string text = fixture::tiny_lesson;
    const std::string check = "  CHECK_EQ(twice(3), 6);\n";
    text = fixture::with_replaced(text, check, check + "  // BEGIN HIDDEN TESTS\n  CHECK_EQ(twice(-5), -10);\n  // END HIDDEN TESTS\n");
    return parse_module("modules/00_tiny/tiny_dev.cpp", text);
  }();
  return module;
}

AnswerSheet sheet_of(const std::string& twice) { return AnswerSheet(reference(), Submission{"ada", {{"00-twice", twice}}}); }

const Answer& twice_of(const AnswerSheet& sheet) { return sheet.answers.front(); }

std::string refusal(const std::string& twice) {
  const AnswerSheet sheet = sheet_of(twice);
  return twice_of(sheet).state == Answer::State::Refused ? twice_of(sheet).message : "";
}

constexpr const char* good = "//| export core/tiny.cpp\n// TODO: Multiply x by two.\nint twice(int x) {\n  return x + x;\n}\n";

}  // namespace

TEST_CASE("submission: notebooks and module files, and of two cells with one id the last") {
  const fixture::TemporaryFolder folder;
  write_atomically(folder.path() / "ada.ipynb", R"({"cells": [
    {"cell_type": "code", "metadata": {"nbgrader": {"grade_id": "00-twice"}}, "source": "first"},
    {"cell_type": "code", "metadata": {}, "source": "her own"},
    {"cell_type": "code", "metadata": {"nbgrader": {"grade_id": "00-twice"}}, "source": ["int twice(int x) {\n", "}"]}]})");
  const Submission notebook = read_submission(folder.path() / "ada.ipynb");
  CHECK_EQ(notebook.name, "ada");
  CHECK_EQ(notebook.cells.size(), 1);
  CHECK_EQ(notebook.cells.at("00-twice"), "int twice(int x) {\n}");
  write_atomically(folder.path() / "bob.cpp", "// %% {\"nbgrader\": {\"grade_id\": \"00-twice\"}}\nint twice(int x) {\n}\n// %%x\n// %% broken {\nmore\n");
  CHECK_EQ(read_submission(folder.path() / "bob.cpp").cells.at("00-twice"), "int twice(int x) {\n}\n");
  write_atomically(folder.path() / "eve.ipynb", "PK\x03\x04");
  CHECK_THROWS_WITH_AS(read_submission(folder.path() / "eve.ipynb"), doctest::Contains("this is not a notebook"), Diagnostic);
}

TEST_CASE("submission: only answers count; tests, hidden ones included, are the instructor's") {
  AnswerSheet sheet(reference(), Submission{"ada", {{"00-twice", good}, {"00-twice-test", "TEST_CASE(\"nothing\") {}"}}});
  CHECK(twice_of(sheet).state == Answer::State::Answered);
  CHECK(sheet.answers.at(1).state == Answer::State::Missing);
  const Module module = sheet.module();
  CHECK_EQ(module.tests.front().name, "twice: a number and itself");
  const std::string text = sheet.text();
  CHECK_NE(text.find("return x + x;"), std::string::npos);
  CHECK_NE(text.find("twice(-5)"), std::string::npos);
  CHECK_EQ(text.find("nothing"), std::string::npos);
  CHECK_NE(text.find("throw NotImplemented(\"00 sum_to: "), std::string::npos);
  CHECK_EQ(text.find("squares"), std::string::npos);
}

TEST_CASE("submission: an untouched cell is empty, a changed marker is the instructor's, a line of its own begins no cell") {
  const CellFile copy = parse_cells("x", student_copy(reference()));
  const Cell& cell = copy.cells.at(reference().holes.front().cell);
  CHECK(twice_of(sheet_of(join_lines(cell.body))).state == Answer::State::Empty);
  const AnswerSheet moved = sheet_of("//| export core/other.h\n" + std::string(good).substr(std::string(good).find('\n') + 1));
  CHECK(twice_of(moved).state == Answer::State::Answered);
  CHECK_EQ(twice_of(moved).body.front(), "//| export core/tiny.cpp");
  const AnswerSheet split = sheet_of("int twice(int x) {\n// %%\n  return x + x;\n}\n");
  CHECK(twice_of(split).state == Answer::State::Answered);
  CHECK_EQ(split.module().cells.size(), reference().cells.size() - reference().mistakes.size());
}

TEST_CASE("submission: what is not one function, or reaches into the tests, is refused") {
  CHECK(twice_of(sheet_of("int twice(int x) {\n  return x;\n")).state == Answer::State::Refused);
  CHECK_NE(refusal("// nothing left\n").find("the function of this exercise is gone"), std::string::npos);
  CHECK_NE(refusal("int thrice(int x) {\n  return x;\n}\n").find("is thrice, not twice"), std::string::npos);
  CHECK_NE(refusal("#define CHECK_EQ(a, b)\nint twice(int x) {\n  return x;\n}\n").find("no preprocessor lines"), std::string::npos);
  CHECK_NE(refusal("TEST_CASE(\"mine\") {\n}\nint twice(int x) {\n  return x;\n}\n").find("no tests of its own"), std::string::npos);
  const auto with = [](const std::string& line) { return refusal(line + "\nint twice(int x) {\n  return x;\n}\n"); };
  CHECK_NE(with("namespace doctest { extern int g; }").find("does not use what tests it: doctest"), std::string::npos);
  CHECK_NE(with("extern \"C\" void _ZN4tito10expect_endEv();").find("does not use what tests it"), std::string::npos);
  CHECK_NE(with("namespace ti\\\nto { void expect_end(); }").find("does not use what tests it: namespace tito"), std::string::npos);
  CHECK_NE(with("extern int state __asm__(\"state\");").find("has no assembler"), std::string::npos);
  CHECK_NE(with("__attribute__((used, constructor)) static void first() {}").find("has no assembler"), std::string::npos);
  CHECK_NE(with("[[gnu::section(\".preinit_array\")]] int early = 1;").find("has no assembler"), std::string::npos);
  CHECK_EQ(with("static int section(int x) {\n  return x;  // see tito hint\n}"), "");
  CHECK_EQ(refusal("int helper(int x) {\n  return 2 * x;\n}\nint twice(int x) {\n  return helper(x);\n}\n"), "");
}

TEST_CASE("submission: a line of the module is a line of the student's cell") {
  AnswerSheet sheet = sheet_of(good);
  const Module module = sheet.module();
  const Cell& cell = module.cells.at(module.holes.front().cell);
  const auto inside = std::find(cell.body.begin(), cell.body.end(), "  return x + x;");
  REQUIRE(inside != cell.body.end());
  const int line = cell.body_line + static_cast<int>(inside - cell.body.begin());
  CHECK(sheet.place(module, line) == std::pair<std::string, int>("00-twice", 4));
  CHECK_EQ(sheet.at(module, line), &sheet.answers.front());
  CHECK(sheet.place(module, 1) == std::pair<std::string, int>("", 0));
}

TEST_CASE("grade: written as JSON and read again") {
  Grade grade;
  grade.answers.push_back({"00-twice", "twice", Answer::State::Refused, "it does not compile", {}, 0});
  grade.cells = {{"00-twice-test", 2, true, ""}, {"00-sum-to-test", 3, false, "FAILED"}};
  grade.mistakes.push_back({"00-twice/squares", "Twice is a sum.", {}});
  grade.by_hand = 1;
  const Grade again = grade_of(nlohmann::json::parse(json_of(grade).dump()));
  CHECK_EQ(again.score(), 2);
  CHECK_EQ(again.points(), 5);
  CHECK_EQ(again.by_hand, 1);
  CHECK(again.answers.front().state == Answer::State::Refused);
  CHECK_EQ(again.cells.back().text, "FAILED");
  CHECK_EQ(again.mistakes.front().says, "Twice is a sum.");
  CHECK_EQ(json_of(again).dump(), json_of(grade).dump());
}

}  // namespace tito
