#include "format/skeleton.h"

#include <cstdlib>

#include "format/export.h"
#include "format/student.h"
#include "format/units.h"
#include "format_fixture.h"

namespace tito {
namespace {

bool compiles(const fs::path& include, const fs::path& file) {
  const std::string runtime = (fs::path(TITO_SOURCE_ROOT) / "cli/runtime").string();
  const std::string command = "g++ -std=c++20 -fsyntax-only -Wall -Wextra -Wpedantic -Wshadow -Werror -I '" + include.string() +
                              "' -I '" + runtime + "' '" + file.string() + "'";
  return std::system(command.c_str()) == 0;
}

}  // namespace

TEST_CASE("new-module: what it writes compiles against the course, with solutions and without") {
  const fs::path dir = fs::temp_directory_path() / "tito_skeleton_test";
  fs::remove_all(dir);
  const Module skeleton = parse_module("modules/20_sketch/sketch_dev.cpp", module_skeleton("20", "sketch")[0].second);
  std::vector<Module> course = up_to_stage(load_course(TITO_SOURCE_ROOT), "01");
  course.push_back(skeleton);
  write_changed(dir / "reference/tinytorch", export_package(course).files, true);
  write_changed(dir, test_units(skeleton, true), false);
  CHECK(compiles(dir / "reference", dir / "reference/tinytorch/sketch/sketch.cpp"));
  CHECK(compiles(dir / "reference", dir / "20_sketch/tests_1.cpp"));
  course.back() = parse_module(skeleton.file, student_copy(skeleton), Edition::Student);
  write_changed(dir / "student/tinytorch", export_package(course).files, true);
  const fs::path copy = dir / "student/tinytorch/sketch/sketch.cpp";
  CHECK_NE(read_text(copy).find("NotImplemented"), std::string::npos);
  // An empty hole leaves parameters unused: the one warning a student's copy may give.
  const std::string command = "g++ -std=c++20 -fsyntax-only -Wall -Wextra -Werror -Wno-unused-parameter -I '" +
                              (dir / "student").string() + "' '" + copy.string() + "'";
  CHECK_EQ(std::system(command.c_str()), 0);
  fs::remove_all(dir);
}

}  // namespace tito
