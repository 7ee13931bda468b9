#include "format/lint.h"

#include <algorithm>
#include <fstream>

#include "format/export.h"
#include "format/skeleton.h"
#include "format/student.h"
#include "format/units.h"
#include "format_fixture.h"

namespace tito {
namespace {

// What the skeleton uses.
const std::vector<Module>& modules_below() {
  static const std::vector<Module> modules = up_to_stage(load_course(TITO_SOURCE_ROOT), "01");
  return modules;
}

// The skeleton of a new module in a folder of its own, to be spoilt in one place.
class Lesson {
 public:
  Lesson() {
    fs::remove_all(root_);
    fs::create_directories(folder());
    for (const auto& [name, text] : module_skeleton("20", "sketch")) (name == "README.md" ? readme_ : lesson_) = text;
  }
  ~Lesson() { fs::remove_all(root_); }

  Lesson& change(std::string_view from, std::string_view to) { return replace(lesson_, from, to); }
  Lesson& change_readme(std::string_view from, std::string_view to) { return replace(readme_, from, to); }
  Lesson& erase(std::string_view first, std::string_view stop) {
    const std::size_t begin = lesson_.find(first);
    REQUIRE_MESSAGE(begin != std::string::npos, std::string(first));
    const std::size_t end = lesson_.find(stop, begin + first.size());
    REQUIRE_MESSAGE(end != std::string::npos, std::string(stop));
    lesson_.erase(begin, end - begin);
    return *this;
  }

  std::string text() const { return lesson_; }

  // The findings, with the modules of the repository in front for what it includes.
  std::vector<Finding> findings() const {
    std::ofstream(folder() / "sketch_dev.cpp") << lesson_;
    if (!readme_.empty()) std::ofstream(folder() / "README.md") << readme_;
    std::vector<Module> course = modules_below();
    course.push_back(parse_module(folder() / "sketch_dev.cpp"));
    for (const std::string& more : later_) course.push_back(parse_module("modules/21_later/later_dev.cpp", more));
    return lint_module(course[course.size() - 1 - later_.size()], course);
  }

  Lesson& without_readme() {
    readme_.clear();
    return *this;
  }

  Lesson& followed_by(const std::string& text) {
    later_.push_back(text);
    return *this;
  }

 private:
  Lesson& replace(std::string& text, std::string_view from, std::string_view to) {
    const std::size_t at = text.find(from);
    REQUIRE_MESSAGE(at != std::string::npos, std::string(from));
    text.replace(at, from.size(), to);
    return *this;
  }
  fs::path folder() const { return root_ / "modules/20_sketch"; }

  fs::path root_ = fs::temp_directory_path() / "tito_lint_test";
  std::string lesson_, readme_;
  std::vector<std::string> later_;
};

// Exactly one finding, of this rule, that says this.
void finds(const Lesson& lesson, std::string_view rule, std::string_view message, Finding::Level level = Finding::Level::Error) {
  CAPTURE(std::string(message));
  const std::vector<Finding> findings = lesson.findings();
  std::string all;
  for (const Finding& finding : findings) all += finding.rule + ": " + finding.message + "\n";
  CAPTURE(all);
  REQUIRE_EQ(findings.size(), 1);
  CHECK_EQ(findings[0].rule, std::string(rule));
  CHECK_NE(findings[0].message.find(message), std::string::npos);
  CHECK(findings[0].level == level);
  CHECK_GE(findings[0].line, 1);
}

}  // namespace

TEST_CASE("lint: a new module has no finding, and its copy and tests can be made") {
  const Lesson lesson;
  CHECK(lesson.findings().empty());
  const Module module = parse_module("modules/20_sketch/sketch_dev.cpp", lesson.text());
  CHECK_EQ(module.holes.size(), 2);
  CHECK_EQ(module.mistakes.size(), 2);
  CHECK_NOTHROW(parse_module(module.file, student_copy(module), Edition::Student));
  CHECK_FALSE(test_units(module, true).empty());
}

TEST_CASE("lint: sections and their order") {
  finds(Lesson().change("## Part 2: Systems analysis", "## Measurements"), "section-order", "'## Part 2: Systems analysis' is missing");
  finds(Lesson().change("## Module summary", "## Summary"), "section-order", "'## Module summary' is missing");
  finds(Lesson().change("# Module 20: Sketch", "# Sketch"), "title", "'# Module 20: Name'");
  finds(Lesson().change("format_name: percent", "format_name: light"), "header", "jupytext");
  finds(Lesson().change("**Objectives.**", "**Aims.**"), "opening", "objectives");
  finds(Lesson().change("**Prerequisites.** M", "M"), "opening", "prerequisites");
  finds(Lesson().change("// %%\n}  // namespace", "// %% [markdown]\n// Goodbye.\n\n// %%\n}  // namespace"), "summary-last", "only the end");
  const std::vector<Finding> swapped = Lesson().change("## Integration test", "## Later").change("## ML systems thinking", "## Integration test")
                                           .change("## Later", "## ML systems thinking").findings();
  CHECK(std::any_of(swapped.begin(), swapped.end(), [](const Finding& finding) {
    return finding.rule == "section-order" && finding.message == "the section 'ML systems thinking' comes too early";
  }));
}

TEST_CASE("lint: blocks have a diagram and a test") {
  finds(Lesson().change("//     x (4)     1   2   3   6\n", ""), "diagram", "'Centering' has no diagram");
  finds(Lesson().change("//     x --> [ window sums ] --> / window --> y\n//              |\n", "//\n"), "diagram", "Part 3 has no diagram");
  finds(Lesson().change("// ### A sum that slides\n", "// ### A number\n//\n// No picture.\n\n// %%\n//| export sketch/sketch.cpp\n"
                        "int sketch_extra(int a) {\n  a += 1;\n  return a;\n}\n\n// %%\nTEST_CASE(\"one more\") { CHECK_EQ(sketch_extra(1), 2); }\n\n"
                        "// %% [markdown]\n// ### A sum that slides\n"),
        "diagram", "'A number' has no diagram", Finding::Level::Note);
  finds(Lesson().change("//     time\n", ""), "diagram", "Part 2 has no picture", Finding::Level::Note);
  finds(Lesson().change("// ### A sum that slides\n", "// ### A sum that slides\n//\n//     a\n//     b\n//     c\n\n"
                        "// %%\n//| export sketch/sketch.cpp\nint sketch_extra(int a) {\n  a += 1;\n  return a;\n}\n\n"
                        "// %% [markdown]\n// ### Another\n"),
        "test-after", "'A sum that slides' implements something and does not test it");
}

TEST_CASE("lint: the later parts") {
  finds(Lesson().change("    memory::reset_peak();\n    const std::size_t before = memory::stats().live;\n", "    const std::size_t before = 0;\n")
            .change("memory::stats().peak - before", "before"),
        "memory", "no DEMO in Part 2 measures memory");
  finds(Lesson().change("const double v1 = measure([&] { sketch_moving_sum_v1(x, window); }).median", "const double v1 = 1")
            .change("const double v2 = measure([&] { sketch_moving_sum(x, window); }).median", "const double v2 = 2")
            .change("format_seconds(v1).c_str()", "str(v1).c_str()")
            .change("format_seconds(v2).c_str()", "str(v2).c_str()")
            .change("time and memory", "memory"),
        "measurement", "measures time");
  finds(Lesson().erase("DEMO(", "// %% [markdown]"), "measurement", "no DEMO");
  finds(Lesson().change("TensorFlow pools", "Another framework pools"), "production", "TensorFlow");
  finds(Lesson().change("AveragePool2d.cpp", "AveragePool2d").change("avgpooling_op.cc", "avgpooling_op").change("windowed_reductions.py", "windowed_reductions"),
        "production", "names no source file");
  finds(Lesson().erase("TEST_CASE(\"sketch: the two functions", "// %% [markdown]"), "integration", "no TEST_CASE");
  finds(Lesson().erase("// %% [markdown] {", "// %% [markdown]\n// ## Module summary"), "explain", "no explain exercise");
}

TEST_CASE("lint: exercises") {
  finds(Lesson().change("//| exercise design\n", "").change("//\n// TODO: Design a moving", "// APPROACH: none. HINT: none.\n//\n// TODO: Design a moving")
            .change("// TODO: Design a moving sum that keeps its contract.\n", "// TODO: Design a moving sum.\n// APPROACH: yours. HINT: one pass.\n"),
        "exercise-kinds", "no design exercise");
  finds(Lesson().change_readme("Reflect", "Analyze"), "exercise-kinds", "two debug exercises; this one has 0");
  finds(Lesson().change_readme("Reflect", "Optimize"), "exercise-kinds", "has an optimize exercise");
  finds(Lesson().change("// `self` minus its mean: shape in, same shape out.\n//\n", ""), "contract", "'sketch_centered' has no contract");
  finds(Lesson().change("// APPROACH: 1. Take", "// 1. Take"), "scaffold", "no APPROACH");
  finds(Lesson().change("// EXAMPLE: sketch_c", "// sketch_c").change("// HINT: mean()", "// mean()"), "scaffold", "neither EXAMPLE nor HINT");
  finds(Lesson().change("\"points\": 4", "\"points\": 0"), "points", "gives no points");
  finds(Lesson().change("\"20-centered-test\", \"locked\": true", "\"20-centered-test\", \"locked\": false"), "ids", "is not locked");
  finds(Lesson().change("\"20-centered\", \"locked\": false", "\"20-centered\", \"locked\": true"), "ids", "is locked");
  finds(Lesson().change("\"points\": 4, \"schema_version\": 3,", "\"schema_version\": 3, \"points\": 4,"), "metadata", "\"points\": 4, \"schema_version\"");
  finds(Lesson().erase("//| mistake 20-centered", "// %% {\"nbgrader\""), "mistake", "no known mistake for the exercise 'sketch_centered'", Finding::Level::Note);
  finds(Lesson().change("//| says The sum was subtracted: divide it by the number of elements, or take mean().\n", ""), "mistake", "no '//| says");
  finds(Lesson().change("TEST_CASE(\"sketch: the two functions work together", "TEST_CASE(\"sketch_centered: the mean is gone, the differences stay"),
        "test-name", "stands already in line");
}

TEST_CASE("lint: what a student gets has no solution and no hidden test, and all points") {
  const Module module = parse_module("modules/20_sketch/sketch_dev.cpp", Lesson().text());
  const Hole& hole = module.holes.front();
  const std::vector<std::string>& body = module.cells[hole.cell].body;
  const std::string solution = join_lines({body.begin() + static_cast<std::ptrdiff_t>(hole.body_first), body.begin() + static_cast<std::ptrdiff_t>(hole.body_last) + 1});
  const std::string line = "  const Tensor x = tensor({{1.0, 2.0}, {3.0, 6.0}});\n";
  finds(Lesson().change(line, line + solution), "student-copy", "the solution of '" + hole.grade_id + "'");
  const std::string end = "  // END SOLUTION\n}\n\n// %%\n//| mistake 20-centered";
  finds(Lesson().change(end, "  // END SOLUTION\n}\nTensor sketch_more(const Tensor& self) { return self; }\n\n// %%\n//| mistake 20-centered"), "student-copy",
        "is not the last function of its cell");
  const std::string lesson = Lesson().text();
  const std::size_t begin = lesson.find("  // BEGIN HIDDEN TESTS\n") + 24;
  const std::string hidden = lesson.substr(begin, lesson.find("  // END HIDDEN TESTS", begin) - begin);
  finds(Lesson().change("  // BEGIN HIDDEN TESTS\n", hidden + "  // BEGIN HIDDEN TESTS\n"), "student-copy", "hidden tests of");
  const std::size_t first = lesson.find("TEST_CASE(\"sketch_centered: the mean is gone");
  const std::string whole = lesson.substr(first, lesson.find("\n}\n", first) + 3 - first);
  std::string bare = whole;
  for (const std::string_view word : {"  // BEGIN HIDDEN TESTS\n", "  // END HIDDEN TESTS\n"}) bare.erase(bare.find(word), word.size());
  finds(Lesson().change(whole, "// BEGIN HIDDEN TESTS\n" + bare + "// END HIDDEN TESTS\n"), "points", "is hidden as a whole");
}

// Parts of what is the instructor's, each put where a student would read it.
TEST_CASE("lint: leaks of a few lines are found in prose, comments, tests and examples") {
  const std::string prose = "// What was built, what was measured, and which module uses it next.\n";
  const std::string in_test = "  const Tensor x = tensor({1.0, 2.0, 3.0, 6.0});\n";
  const std::string part = "part of the solution of '20-moving-sum': ";
  finds(Lesson().change(prose, "// The loop says sum += x[i *\n// step]; if (i >= window) sum -= x[(i - window) * step]; and no more.\n"), "student-copy", part + "sum += x[i * step];");
  finds(Lesson().change(prose, "// Write `TORCH_CHECK(window >= 1 && window <= n, \"moving_sum: window \", window, \" must be between 1 and \", n);` first.\n"), "student-copy", part);
  finds(Lesson().change(in_test, in_test + "    sum += x[i * step];  // as above\n\n    if (i >= window)   sum -= x[(i - window) * step];\n"), "student-copy", part);
  finds(Lesson().change("//| lesson\n", "//| lesson\n// double sum = 0;\n// for (std::int64_t i = 0; i < n; ++i) {\n"), "student-copy", part + "double sum = 0;");
  finds(Lesson().change("  const Tensor result = empty({self.size(0) - window + 1}, kFloat);\n  for", "  const float* x = self.data<float>();\n  const std::int64_t step = self.stride(0);\n  for"),
        "student-copy", part);
  finds(Lesson().change("// HINT: mean()", "// const Tensor x = self.is_floating_point() ? self : self.to(kFloat);\n// HINT: mean()"), "student-copy", "part of the solution of '20-centered'");
  finds(Lesson().change(prose, "// It checks CHECK_CLOSE(sketch_moving_sum(x, 1), x); CHECK_ERROR(sketch_moving_sum(ones({2, 2}), 1), \"1-D\"); too.\n"), "student-copy", "hidden tests of '20-moving-sum-test'");
  finds(Lesson().change(prose, "// windows: its sums are independent, so vector units compute several at once, while each sum of v2 waits for the last.\n//\n"
                               "// v2 wins from the start here because v1 pays for a view and a reduction in each window. A fused v1 would win for small\n"
                               "// windows: its sums are independent, so vector units compute several at once, while each sum of v2 waits for the last.\n"),
        "student-copy", "the answer of '20-explain-window'");
  finds(Lesson().change("  return x - x.mean();\n", "  return self - self.to(kFloat).mean();\n").change("  const Tensor x = self.is_floating_point() ? self : self.to(kFloat);\n", "")
            .change(prose, "// In short: return self - self.to(kFloat).mean(); that is all.\n"), "student-copy", "the solution of '20-centered'");
}

TEST_CASE("lint: lines that a lesson needs elsewhere too are no leaks") {
  const std::string loop = "    sum += x[i * step];\n    if (i >= window) sum -= x[(i - window) * step];\n";
  const std::string exported = "// %%\n//| export sketch/sketch.cpp\nnamespace {\ndouble part_of(const float* x, int n) {\n" + loop + "}\n}\n\n// %% [markdown]\n// ### A sum that slides";
  CHECK(Lesson().change("// %% [markdown]\n// ### A sum that slides", exported).findings().empty());
  const std::string lesson = "//| lesson\n// v1: sums every window anew.";
  const std::string faulty = "//| lesson\ndouble faulty(const float* x, int n) {\n" + loop + "}\n// v1: sums every window anew.";
  finds(Lesson().change(lesson, faulty), "student-copy", "part of the solution of '20-moving-sum'");
  finds(Lesson().change("//| exercise design", "//| exercise debug").change(lesson, faulty), "exercise-kinds", "no design exercise");
  CHECK(Lesson().change("  const Tensor x = tensor({1.0, 2.0, 3.0, 6.0});\n", "  double sum = 0;\n  const Tensor x = tensor({1.0, 2.0, 3.0, 6.0});\n").findings().empty());
}

TEST_CASE("lint: a graded test at once after each exercise") {
  const std::vector<Finding> findings = Lesson().erase("TEST_CASE(\"sketch_moving_sum: add", "// %% [markdown]").findings();
  const auto has = [&](std::string_view rule, std::string_view part) {
    return std::any_of(findings.begin(), findings.end(), [&](const Finding& finding) {
      return finding.rule == rule && finding.message.find(part) != std::string::npos;
    });
  };
  CHECK(has("test-after", "no graded test follows the exercise 'sketch_moving_sum'"));
  CHECK(has("test-after", "'sketch_moving_sum' is not tested before the section 'Part 2: Systems analysis'"));
  CHECK(has("test-after", "the section 'A sum that slides' implements something"));
  CHECK(has("points", "has no TEST_CASE"));
}

TEST_CASE("lint: no use of later modules") {
  const std::string later = "// %% [markdown]\n// # Module 21: Later\n\n// %%\nnamespace tinytorch {\n\n// %%\n"
                            "//| export nn/later.h\nstruct Later {};\n\n// %%\n}  // namespace tinytorch\n";
  const std::string_view include = "#include \"tinytorch/core/error.h\"\n";
  finds(Lesson().change(include, "#include \"tinytorch/core/error.h\"\n#include \"tinytorch/nn/later.h\"\n").followed_by(later), "forward-use",
        "tinytorch/nn/later.h comes only with 21_later");
  finds(Lesson().change(include, "#include \"tinytorch/core/error.h\"\n#include \"tinytorch/nn/none.h\"\n"), "forward-use", "no module exports");
  finds(Lesson().change(include, "#include \"tinytorch/core/error.h\"\n#include \"tinytorch/tinytorch.h\"\n"), "forward-use", "includes later modules");
  finds(Lesson().change("#include \"tito/lesson.h\"\n", ""), "includes", "tito/lesson.h");
  finds(Lesson().change("//| export sketch/sketch.h\n#include <cstdint>\n", "//| export sketch/sketch.h\n#include <cmath>\n#include <cstdint>\n"), "includes", "<cmath> makes every program");
}

TEST_CASE("lint: what is defined of a class stands behind the class") {
  const std::string member = "// %%\n//| export sketch/early.cpp\nnamespace tinytorch {\nint Early::number() const { return 1; }\n}\n\n";
  const std::string type = "// %%\n//| export sketch/early.h\nnamespace tinytorch {\nstruct Early {\n  int number() const;\n};\n}\n\n";
  const std::string_view first = "// %%\n//| export sketch/sketch.h\n#include <cstdint>";
  finds(Lesson().change(first, member + type + std::string(first)), "order", "Early::number stands before the class Early (line ");
  CHECK(Lesson().change(first, type + member + std::string(first)).findings().empty());
}

TEST_CASE("lint: mixins whose methods clash") {
  const std::string cell = "// %%\n//| export sketch/methods.h\n//| extends Tensor\nnamespace tinytorch {\nclass SketchMethods {\n public:\n"
                           "  void sketched() const;\n  int numel(int a) const;\n};\n}\n\n// %%\n//| export sketch/sketch.h\n#include <cstdint>";
  finds(Lesson().change("// %%\n//| export sketch/sketch.h\n#include <cstdint>", cell), "mixin-clash",
        "SketchMethods::numel and Tensor::numel (01_tensor)");
  const std::string two = "// %%\n//| export sketch/more.h\n//| extends Tensor\nnamespace tinytorch {\nclass MoreMethods {\n public:\n"
                          "  void sketched(int a) const;\n};\n}\n\n";
  std::string both = cell;
  both.replace(both.find("  int numel(int a) const;\n"), 26, "");
  finds(Lesson().change("// %%\n//| export sketch/sketch.h\n#include <cstdint>", two + both), "mixin-clash", "SketchMethods::sketched and MoreMethods::sketched");
}

TEST_CASE("lint: the README") {
  finds(Lesson().change_readme("Reflect", "Ponder"), "readme", "pattern");
  finds(Lesson().change_readme("**Rationale**", "**Why**"), "readme", "rationale");
  finds(Lesson().change_readme("**Key activities**", "**What to do**"), "readme", "key activities");
  finds(Lesson().change_readme("*Machine Learning Systems*", "*A Book*"), "readme", "Machine Learning Systems");
  finds(Lesson().change_readme("**Exports**", "**Files**"), "readme", "exports");
  finds(Lesson().without_readme(), "readme", "no README.md");
}

TEST_CASE("lint: a lesson that is too long") {
  std::string filler;
  for (int i = 0; i < 2300; ++i) filler += "// One more line.\n";
  finds(Lesson().change("// What was built,", filler + "// What was built,"), "length", "beyond 2,500", Finding::Level::Note);
}

TEST_CASE("lint: a library chapter") {
  const auto rules = [](const std::string& text) {
    const Module module = parse_module("modules/90_lib/lib_dev.cpp", text);
    std::string out;
    for (const Finding& finding : lint_module(module, std::vector<Module>{module})) out += finding.rule + " ";
    return out;
  };
  const std::string head = "// format_name: percent\n// language: c++\n\n// %% [markdown]\n// # Library chapter 90: Lib\n\n// %%\n//| after 05\n"
                           "#include \"tito/lesson.h\"\n\n// %%\nnamespace tinytorch {\n\n// %%\n//| export core/lib.cpp\n"
                           "int lib(int a) {\n  a += 1;\n  return a;\n}\n\n";
  const std::string test = "// %%\nTEST_CASE(\"lib\") { CHECK_EQ(lib(1), 2); }\n\n";
  const std::string end = "// %%\n}  // namespace tinytorch\n";
  std::string hole(fixture::kSolutionTitle);
  hole.replace(hole.find("05-twice"), 8, "90-more");
  hole += "\n//| export core/lib.cpp\n// TODO: More.\nint more() {\n  // BEGIN SOLUTION\n  return 1;\n  // END SOLUTION\n}\n\n";
  CHECK_EQ(rules(head + test + end), "readme ");
  CHECK_EQ(rules(head + end), "test-after readme ");
  CHECK_EQ(rules(head + hole + test + end), "library-chapter readme ");
}

}  // namespace tito
