// Generated lines become lines of the module file.
#include "build/line_map.h"

#include "tito/lesson.h"

namespace tito {
namespace {

LineMap example() {
  LineMap map("/course");
  map.add("build/include/tinytorch/core/add.cpp",
          {"core/add.cpp", "", "/course/modules/01_tensor/tensor_dev.cpp", {0, 0, 410, 411, 412}});
  return map;
}

}  // namespace

TEST_CASE("line map: a line of the module, relative and absolute") {
  const LineMap map = example();
  CHECK_EQ(map.find("build/include/tinytorch/core/add.cpp", 4)->line, 411);
  CHECK_EQ(map.find("./build/include/tinytorch/core/add.cpp", 4)->file, "modules/01_tensor/tensor_dev.cpp");
  CHECK_EQ(map.find("/course/build/include/tinytorch/core/add.cpp", 5)->line, 412);
  CHECK_EQ(map.find("../../build/include/tinytorch/core/add.cpp", 5)->line, 412);
}

TEST_CASE("line map: lines that no module wrote, and other files, are not translated") {
  const LineMap map = example();
  CHECK_FALSE(map.find("build/include/tinytorch/core/add.cpp", 1));
  CHECK_FALSE(map.find("build/include/tinytorch/core/add.cpp", 0));
  CHECK_FALSE(map.find("build/include/tinytorch/core/add.cpp", 6));
  CHECK_FALSE(map.find("tests/package/tensor.cpp", 3));
}

TEST_CASE("line map: a compiler's message and its excerpt") {
  const std::string message =
      "In file included from build/include/tinytorch/core/add.cpp:3:\n"
      "build/include/tinytorch/core/add.cpp:4:10: error: 'x' was not declared\n"
      "    4 |   return x;\n"
      "      |          ^\n"
      "/usr/include/c++/12/vector:4:1: note: here\n"
      "    4 |   other\n";
  CHECK_EQ(example().translate(message),
           "In file included from modules/01_tensor/tensor_dev.cpp:410:\n"
           "modules/01_tensor/tensor_dev.cpp:411:10: error: 'x' was not declared\n"
           "  411 |   return x;\n"
           "      |          ^\n"
           "/usr/include/c++/12/vector:4:1: note: here\n"
           "    4 |   other\n");
}

TEST_CASE("line map: a sanitizer's stack frame") {
  CHECK_EQ(example().translate("  #1 0x55 in add /course/build/include/tinytorch/core/add.cpp:5:3\n"),
           "  #1 0x55 in add modules/01_tensor/tensor_dev.cpp:412:3\n");
}

TEST_CASE("line map: text without places is left alone") {
  CHECK_EQ(example().translate("a: b\n\nstd::vector, 10:30, core/add.cpp\n"),
           "a: b\n\nstd::vector, 10:30, core/add.cpp\n");
  CHECK_EQ(example().translate(""), "");
}

}  // namespace tito
