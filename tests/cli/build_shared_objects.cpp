// Objects that several stages of a workspace share are named after all that goes into them.
#include <doctest/doctest.h>
#include <unistd.h>

#include <chrono>
#include <fstream>

#include "build/shared_objects.h"

namespace tito {
namespace {

struct Folder {
  fs::path path = fs::temp_directory_path() / ("tito_objects_" + std::to_string(getpid()));
  Folder() { fs::create_directories(path / "build/objects"); }
  ~Folder() { fs::remove_all(path); }
};

Package package_with(const std::string& inner) {
  Package package;
  package.files = {{"a.h", "#include \"tinytorch/b.h\"\nint a();\n", {}, {}},
                   {"b.h", inner, {}, {}},
                   {"other.h", "int other();\n", {}, {}},
                   {"a.cpp", "#include \"tinytorch/a.h\"\nint a() { return b; }\n", {}, {}}};
  return package;
}

std::string object_of_a(const fs::path& root, const Package& package, std::string_view compiler = "g++", std::string_view flags = "-O1") {
  return SharedObjects(root, package, compiler).object_of_file("a.cpp", flags);
}

void touch(const fs::path& file, std::chrono::hours age) {
  std::ofstream(file) << "object";
  fs::last_write_time(file, fs::file_time_type::clock::now() - age);
}

}  // namespace

TEST_CASE("shared objects: whatever goes into one is in its name, and nothing else") {
  const Folder folder;
  const Package package = package_with("const int b = 1;\n");
  const std::string object = object_of_a(folder.path, package);
  CHECK_EQ(object_of_a(folder.path, package), object);
  CHECK_NE(object_of_a(folder.path, package_with("const int b = 2;\n")), object);  // included by what it includes
  CHECK_NE(object_of_a(folder.path, package, "clang++"), object);
  CHECK_NE(object_of_a(folder.path, package, "g++", "-O0"), object);
  Package more = package;
  more.files[2].text = "int another();\n";  // not included
  more.files.push_back({"later.h", "int later();\n", {}, {}});
  CHECK_EQ(object_of_a(folder.path, more), object);
  // Of which lessons the stage was made, its generated headers say in a comment.
  const std::string head = "// The methods.\n// Generated from the lessons 00 to ";
  CHECK_EQ(object_of_a(folder.path, package_with(head + "01.\nint b;\n")), object_of_a(folder.path, package_with(head + "02.\nint b;\n")));
  CHECK_NE(object_of_a(folder.path, package_with(head + "01.\nint b;\n")), object_of_a(folder.path, package_with(head + "01.\nint c;\n")));
  Package changed = package;
  changed.files[3].text += "\n";
  CHECK_NE(object_of_a(folder.path, changed), object);
}

TEST_CASE("shared objects: what no stage uses any more is removed, a day later") {
  const Folder folder;
  const fs::path objects = folder.path / "build/objects";
  SharedObjects shared(folder.path, package_with(""), "g++");
  const fs::path used = folder.path / shared.object_of_file("a.cpp", "-O1");
  fs::create_directories(folder.path / "build/stage01-gcc");
  fs::create_directories(folder.path / "build/stage02-gcc");
  std::ofstream(folder.path / "build/stage01-gcc/objects-edit.txt") << "build/objects/of_another_stage.o\n";
  touch(used, std::chrono::hours(100));
  touch(objects / "of_another_stage.o", std::chrono::hours(100));
  touch(objects / "old.o", std::chrono::hours(100));
  touch(objects / "new.o", std::chrono::hours(1));
  shared.finish(folder.path / "build/stage02-gcc", "edit");
  CHECK(fs::exists(used));
  CHECK(fs::exists(objects / "of_another_stage.o"));
  CHECK(fs::exists(objects / "new.o"));
  CHECK_FALSE(fs::exists(objects / "old.o"));
}

}  // namespace tito
