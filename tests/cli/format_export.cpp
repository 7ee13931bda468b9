#include "format/export.h"

#include <algorithm>
#include <fstream>
#include <map>

#include "format_fixture.h"

namespace tito {

using namespace fixture;

namespace {

std::map<std::string, std::string> texts(const std::vector<Module>& modules, Bodies bodies = Bodies::Reference) {
  std::map<std::string, std::string> out;
  for (const GeneratedFile& file : export_package(modules, bodies).files) out[file.path] = file.text;
  return out;
}

std::map<std::string, std::string> texts(const Module& module, Bodies bodies = Bodies::Reference) {
  return texts(std::vector<Module>{module}, bodies);
}

std::string without_indent(std::string_view line) {
  return std::string(line.substr(std::min(line.size(), line.find_first_not_of(' '))));
}

// Another module, 06_next, whose code cells are `cells`.
Module next_module(std::string_view cells) {
  return parse_module("modules/06_next/next_dev.cpp",
                      "// %% [markdown]\n// # Module 06: Next\n\n// %%\nnamespace tinytorch {\n\n" + std::string(cells) +
                          "\n// %%\n}  // namespace tinytorch\n");
}

void refused(std::string_view from, std::string_view to, std::string_view at, std::string_view message) {
  const std::string text = changed(from, to);
  check_refused(text, at, message, [&] { texts(parse_module(kFile, text)); });
}

}  // namespace

TEST_CASE("export: what the sample becomes, byte for byte") {
  const auto files = texts(sample());
  CHECK_EQ(files.at("core/sample.h"), R"(// From the lesson modules/05_sample/sample_dev.cpp:
// edit the module, not this file.
#pragma once

#include <vector>

namespace tinytorch {

// Twice the number.
int twice(int number);

namespace nn {
struct Pair {
  int first = 0;
};
}  // namespace nn

}  // namespace tinytorch
)");
  CHECK_EQ(files.at("core/sample.cpp"), R"(// From the lesson modules/05_sample/sample_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/sample.h"

#include <cmath>

namespace tinytorch {

// Twice `number`. O(1).
int twice(int number) {
  const int sum = number + number;
  return sum;
}

void register_sample() {
  // nothing yet
}

}  // namespace tinytorch
)");
  CHECK_EQ(files.at("core/sample_methods.h"), R"(// From the lesson modules/05_sample/sample_dev.cpp:
// edit the module, not this file.
#pragma once

namespace tinytorch {
class SampleMethods {
 public:
  void sample() const;
};
}  // namespace tinytorch
)");
}

TEST_CASE("export: the files that join the modules") {
  const auto files = texts({sample(), next_module("// %%\n//| export nn/module.h\nclass Module {};\n\n"
                                                  "// %%\n//| export nn/next.cpp\n//| registers\n"
                                                  "void nn::register_next() {}\n")});
  CHECK_EQ(files.at("core/tensor_extensions.h"), R"(// The methods that lessons add to Tensor.
// Generated from the lessons 05_sample to 06_next: edit the module, not this file.
#pragma once

#include "tinytorch/core/sample_methods.h"

namespace tinytorch {

class TensorExtensions : public SampleMethods {};

}  // namespace tinytorch
)");
  CHECK_NE(files.at("core/options_extensions.h").find("class OptionsExtensions {};"), std::string::npos);
  CHECK_NE(files.at("nn/module_extensions.h").find("namespace tinytorch::nn {\n\nclass ModuleExtensions {};"), std::string::npos);
  CHECK_EQ(texts(sample()).count("nn/module_extensions.h"), 0);
  const auto nested = texts(next_module("// %%\n//| export nn/module.h\nclass Module {};\n\n// %%\n//| export nn/methods.h\n"
                                        "//| extends Module\nnamespace nn { class Methods {}; }\n"));
  CHECK_NE(nested.at("nn/module_extensions.h").find("class ModuleExtensions : public Methods {};"), std::string::npos);
  CHECK_EQ(files.at("core/register_all.cpp"), R"(// Joins what the lessons register, in their order.
// Generated from the lessons 05_sample to 06_next: edit the module, not this file.

namespace tinytorch {

void register_sample();  // 05_sample
namespace nn { void register_next(); }  // 06_next
void register_all();

void register_all() {
  register_sample();
  nn::register_next();
}

}  // namespace tinytorch
)");
  CHECK_EQ(files.at("tinytorch.h"), R"(// All of TinyTorch.
// Generated from the lessons 05_sample to 06_next: edit the module, not this file.
#pragma once

#include "tinytorch/core/sample_methods.h"
#include "tinytorch/core/sample.h"
#include "tinytorch/nn/module.h"
)");
  CHECK_EQ(files.at("sources.cmake"), R"(# The sources of each lesson, for CMakeLists.txt.
# Generated from the lessons 05_sample to 06_next: edit the module, not this file.
set(TINYTORCH_SOURCES_05_sample
  core/sample.cpp)
set(TINYTORCH_SOURCES_06_next
  nn/next.cpp)
set(TINYTORCH_SOURCES_generated
  core/register_all.cpp)
set(TINYTORCH_MODULES
  05_sample
  06_next
  generated)
)");
}

TEST_CASE("export: every line with an origin is that line of the module") {
  const std::vector<std::string> source = split_lines(sample_text());
  for (const Bodies bodies : {Bodies::Reference, Bodies::Student, Bodies::Instrumented}) {
    int mapped = 0;
    for (const GeneratedFile& file : export_package(std::vector<Module>{sample()}, bodies).files) {
      const std::vector<std::string> lines = split_lines(file.text);
      REQUIRE_EQ(lines.size(), file.origin.size());
      for (std::size_t i = 0; i < lines.size(); ++i) {
        if (file.origin[i] == 0) continue;
        ++mapped;
        const bool made = lines[i].find("NotImplemented") != std::string::npos || lines[i].find("::tito::") != std::string::npos;
        const std::string& origin = source.at(static_cast<std::size_t>(file.origin[i]) - 1);
        if (!made && lines[i] != "  }") CHECK_EQ(without_indent(lines[i]), without_indent(origin));
      }
    }
    CHECK_GT(mapped, 20);
  }
}

TEST_CASE("export: prose changes nothing") {
  CHECK(texts(sample()) == texts(sample("// # Module 05: Sample\n", "// # Module 05: Sample\n//\n// More words.\n")));
}

TEST_CASE("export: holes throw in the student's package") {
  const auto files = texts(sample(), Bodies::Student);
  CHECK_NE(files.at("core/sample.cpp").find("int twice(int number) {\n  throw NotImplemented(\"05 twice: Double the number.\");\n}\n"),
           std::string::npos);
  CHECK_EQ(files.at("core/sample.cpp").find("number + number"), std::string::npos);
  CHECK_EQ(files.at("core/sample.h"), texts(sample()).at("core/sample.h"));
}

TEST_CASE("export: instrumented bodies choose among hole, mistakes and solution") {
  const std::string text = texts(sample(), Bodies::Instrumented).at("core/sample.cpp");
  CHECK_NE(text.find(R"(int twice(int number) {
  if (::tito::variant("05-twice")) throw NotImplemented("05 twice: Double the number.");
  if (::tito::variant("05-twice/squares")) {
    return number * number;
  }
  const int sum = number + number;
  return sum;
}
)"),
           std::string::npos);
  CHECK_NE(text.find("#include \"tito/variant.h\"\n"), std::string::npos);
}

TEST_CASE("export: an instrumented void function returns after its mistake") {
  std::string text = changed("int twice(int number) {\n  // BEGIN SOLUTION\n  const int sum = number + number;\n  return sum;",
                             "void twice(int number) {\n  // BEGIN SOLUTION\n  go(number);");
  const std::string from = "int twice(int number) {\n  return number * number;";
  text.replace(text.find(from), from.size(), "void twice(int number) {\n  stop(number);");
  const auto files = texts(parse_module(kFile, text), Bodies::Instrumented);
  CHECK_NE(files.at("core/sample.cpp").find("squares\")) {\n    stop(number);\n    return;\n  }\n  go(number);\n"), std::string::npos);
}

TEST_CASE("export: a message with quotes and backslashes stays a C++ string") {
  const auto files = texts(sample("TODO: Double the number.", R"(TODO: Say "a\b".)"), Bodies::Student);
  CHECK_NE(files.at("core/sample.cpp").find(R"(NotImplemented("05 twice: Say \"a\\b\".");)"), std::string::npos);
}

TEST_CASE("export: blank lines collapse, but not inside of raw strings") {
  const auto files = texts(sample("int twice(int number);\n", "int twice(int number);\n\n\n\nconst char* text = R\"(a\n\n\nb)\";\n"));
  CHECK_NE(files.at("core/sample.h").find("number);\n\nconst char* text = R\"(a\n\n\nb)\";\n"), std::string::npos);
}

TEST_CASE("export: includes keep their order when other directives stand among them") {
  const auto plain = texts(sample("#include <vector>\n", "#include \"b.h\"\n#include <vector>\n#include \"a.h\"\n#include <vector>\n"));
  CHECK_NE(plain.at("core/sample.h").find("once\n\n#include <vector>\n\n#include \"b.h\"\n#include \"a.h\"\n\nname"), std::string::npos);
  const auto ordered = texts(sample("#include <vector>\n", "#define TARGET \"x\"\n#include \"b.h\"\n#include <vector>\n"));
  CHECK_NE(ordered.at("core/sample.h").find("once\n\n#define TARGET \"x\"\n#include \"b.h\"\n#include <vector>\n\nname"), std::string::npos);
}

TEST_CASE("export: a source includes the header of its name, its own in front and another module's where the author says") {
  const Module declares = parse_module("modules/05_plan/plan_dev.cpp", "// %% [markdown]\n// # Module 05: Plan\n\n// %%\nnamespace tinytorch {\n\n"
                                       "// %%\n//| export core/plan.h\nint plan();\n\n// %%\n}  // namespace tinytorch\n");
  const Module defines = parse_module("modules/06_next/next_dev.cpp", "// %% [markdown]\n// # Module 06: Next\n\n// %%\n//| export core/plan.cpp\n#include \"tinytorch/core/a.h\"\n"
                                      "#include \"tinytorch/core/plan.h\"\n\n// %%\nnamespace tinytorch {\n\n// %%\n//| export core/plan.cpp\nint plan() { return 1; }\n\n"
                                      "// %%\n}  // namespace tinytorch\n");
  const std::string text = texts({declares, defines}).at("core/plan.cpp");
  CHECK_NE(text.find("file.\n\n#include \"tinytorch/core/a.h\"\n#include \"tinytorch/core/plan.h\"\n\nnamespace"), std::string::npos);
  const Module both = parse_module("modules/05_plan/plan_dev.cpp", "// %% [markdown]\n// # Module 05: Plan\n\n// %%\n//| export core/plan.cpp\n#include \"tinytorch/core/a.h\"\n"
                                   "#include \"tinytorch/core/plan.h\"\n\n// %%\nnamespace tinytorch {\n\n// %%\n//| export core/plan.h\nint plan();\n\n"
                                   "// %%\n//| export core/plan.cpp\nint plan() { return 1; }\n\n// %%\n}  // namespace tinytorch\n");
  CHECK_NE(texts(both).at("core/plan.cpp").find("file.\n\n#include \"tinytorch/core/plan.h\"\n\n#include \"tinytorch/core/a.h\"\n\nnamespace"), std::string::npos);
}

TEST_CASE("export: a .simd.cpp is compiled once for each CPU capability") {
  const Module module = next_module("// %%\n//| export kernels/sample.simd.cpp\nnamespace kernels::TINYTORCH_CAPABILITY { int answer() { return 42; } }\n\n"
                                    "// %%\n//| export kernels/sample.cpp\nint plain() { return 1; }\n");
  const std::vector<Module> modules{module};
  const Package package = export_package(modules);
  CHECK_EQ(package.sources[0].second, std::vector<std::string>{"kernels/sample.simd.DEFAULT.cpp", "kernels/sample.simd.AVX2.cpp",
                                                               "kernels/sample.simd.AVX512.cpp", "kernels/sample.cpp"});
  const auto files = texts(modules);
  CHECK(files.contains("kernels/sample.simd.cpp"));
  const std::string inclusion = "#define TINYTORCH_CAPABILITY AVX2\n#include \"tinytorch/kernels/sample.simd.cpp\"\n";
  CHECK(files.at("kernels/sample.simd.AVX2.cpp").ends_with("#ifdef __x86_64__\n" + inclusion + "#endif\n"));
  CHECK(files.at("kernels/sample.simd.DEFAULT.cpp").find("#ifdef") == std::string::npos);
  CHECK(files.at("kernels/sample.simd.DEFAULT.cpp").find("#define TOOLCHAIN_MISS_SYS_AUXV_H\n#define TINYTORCH_CAPABILITY DEFAULT\n") != std::string::npos);
  CHECK(is_capability_source("kernels/sample.simd.AVX2.cpp"));
  CHECK(!is_capability_source("kernels/sample.simd.cpp"));
  CHECK_EQ(capability_flags("kernels/sample.cpp"), "");
  CHECK_EQ(capability_flags("kernels/sample.simd.DEFAULT.cpp"), "");
}

TEST_CASE("export: the header of everything leaves out what only .simd.cpp files include") {
  const Module module = next_module("// %%\n//| export kernels/sample-inl.h\nnamespace kernels::TINYTORCH_CAPABILITY { inline int answer() { return 42; } }\n\n"
                                    "// %%\n//| export kernels/sample.h\nint answer();\n\n");
  const auto files = texts(std::vector<Module>{module});
  CHECK(files.contains("kernels/sample-inl.h"));
  CHECK(files.at("tinytorch.h").find("kernels/sample.h") != std::string::npos);
  CHECK(files.at("tinytorch.h").find("-inl.h") == std::string::npos);
}

TEST_CASE("export refused: a name defined twice") {
  refused("// Twice `number`. O(1).", "int twice(int n) { return n; }\n// Twice `number`. O(1).", "O(1).\n//\n// TODO: Double the number.\n// APPROACH: 1. Add it to itself.\nint twice(", "'twice' is exported twice");
  refused("struct Pair {", "struct Pair {};\nstruct Pair {", "struct Pair {};\nstruct Pair {", "'nn::Pair' is exported twice");
  refused("void register_sample() {", "const int table[] = {1};\nint table = 3;\nvoid register_sample() {", "int table = 3;", "'table' is exported twice");
  refused("int twice(int number);", "static int help() { return 1; }\nnamespace { int help() { return 2; } }\nint twice(int number);",
          "namespace { int help()", "'help' is exported twice");
}

TEST_CASE("export allows: overloads, declarations, specialisations, branches of #if") {
  const auto allowed = [](std::string_view code) {
    CAPTURE(std::string(code));
    CHECK_NOTHROW(texts(sample("struct Pair {", std::string(code) + "\nstruct Pair {")));
  };
  allowed("int f(int a) { return a; }\nint f(long a) { return 1; }");
  allowed("int f(int a);\nint f(int a);\nint f(int a) { return a; }");
  allowed("template <class T> struct S {};\ntemplate <> struct S<int> {};");
  allowed("template <class T> T g() { return 1; }\ntemplate <> int g<int>() { return 2; }");
  allowed("#ifdef X\nint f() { return 1; }\n#endif\n#ifndef X\nint f() { return 2; }\n#endif");
  allowed("struct A { int f() const { return 1; } int f() { return 2; } };");
  allowed("extern int a;\ninline int a = 3;");
}

TEST_CASE("export refused: what two modules may not share") {
  const auto check = [](std::string_view cells, std::string_view message) {
    CAPTURE(std::string(message));
    try {
      texts({sample(), next_module(cells)});
      FAIL_CHECK("nothing was refused");
    } catch (const Diagnostic& diagnostic) {
      CHECK_EQ(diagnostic.file.string(), "modules/06_next/next_dev.cpp");
      CHECK_GT(diagnostic.line, 6);
      CHECK_MESSAGE(diagnostic.message.find(message) != std::string::npos, diagnostic.message);
    }
  };
  check("// %%\n//| export core/sample.cpp\nint a = 1;\n", "is exported by modules/05_sample/sample_dev.cpp already");
  check("// %%\n//| export core/next.cpp\nint twice(int n) { return n; }\n", "'twice' is exported twice");
  check("// %%\n//| export nn/next.h\nstruct nn::Pair { int a; };\n", "'nn::Pair' is exported twice");
  CHECK_NOTHROW(texts({next_module("// %%\n//| export core/a.cpp\nstatic int f() { return 1; }\n")}));
}

TEST_CASE("export refused: a grade_id that another module has") {
  std::string text = sample_text();
  Module other = parse_module("modules/05_twin/twin_dev.cpp", text);
  CHECK_THROWS_WITH_AS(texts({sample(), other}), doctest::Contains("stands already in modules/05_sample"), Diagnostic);
}

TEST_CASE("export refused: a mixin without a class") {
  refused("class SampleMethods {\n public:\n  void sample() const;\n};", "void sample();", "//| extends Tensor", "wants a class");
}

TEST_CASE("export: folders are rewritten only where they differ, and others' files stay") {
  const fs::path dir = fs::temp_directory_path() / "tito_export_test";
  fs::remove_all(dir);
  const std::vector<GeneratedFile> files = export_package(std::vector<Module>{sample()}).files;
  CHECK_EQ(write_changed(dir, files, true), files.size());
  CHECK_EQ(write_changed(dir, files, true), 0);
  CHECK(compare_with_folder(dir, files).empty());

  std::ofstream(dir / "core/sample.h", std::ios::app) << " ";
  fs::remove(dir / "tinytorch.h");
  std::ofstream(dir / "core/mine.cpp") << "int mine;\n";
  fs::create_directories(dir / "old");
  std::ofstream(dir / "old/gone.h") << "// From the lesson modules/04_old/old_dev.cpp:\n// edit the module, not this file.\n";
  using Findings = std::vector<std::pair<std::string, std::string>>;
  CHECK(compare_with_folder(dir, files) == Findings{{"core/sample.h", "differs from what the modules say"},
                                                    {"tinytorch.h", "is missing"},
                                                    {"core/mine.cpp", "does not come from a module"},
                                                    {"old/gone.h", "does not come from a module"}});
  CHECK(write_changed_paths(dir, files, true) == std::vector<std::string>{"core/sample.h", "tinytorch.h", "old/gone.h"});
  CHECK(compare_with_folder(dir, files) == Findings{{"core/mine.cpp", "does not come from a module"}});
  CHECK_FALSE(fs::exists(dir / "old"));
  fs::remove_all(dir);
}

}  // namespace tito
