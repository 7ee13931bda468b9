// Builds a stage (the package of modules 00..N) and its test programs.
//
// Everything stands in build/stageNN-COMPILER[-SANITIZER]/: the generated package under include/tinytorch, the test
// units, and one build.ninja for all of it, so that what two programs share is compiled once.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "build/ninja.h"
#include "build/shared_objects.h"
#include "format/export.h"
#include "format/module.h"
#include "format/units.h"

namespace tito {

enum class Sanitizer { None, Memory, Thread };  // Memory: address and undefined behaviour

struct Toolchain {
  std::string compiler = "g++";
  Sanitizer sanitizer = Sanitizer::None;

  // "gcc", "gcc-memory", "clang"
  std::string name() const;
};

// How test units are compiled.
enum class Units {
  Plain,        // -O0
  Precompiled,  // -O0 with the headers of earlier modules precompiled: quicker to edit with, slower from nothing
  Optimized,    // -O3, as CMake compiles the library, for demonstrations that measure
};

// A program of the course's milestones/: NAME for NAME.cpp.
struct Program {
  std::string name;
  // With `variants`: the numbers of the modules whose mistakes it is to have; the others are the optimized package, so that it can train.
  // Empty: all of them, none optimized.
  std::set<std::string> instrumented;
};

struct StageOptions {
  std::string stage;  // the number of its last module; empty: the whole course
  Toolchain toolchain;
  Units units = Units::Plain;
  // The library too without optimizing, a module at a time: for what is built once and only tested. So it is under a
  // sanitizer, where optimizing takes several times as long as all the tests.
  bool quick_library = false;
  // The package of the last stage as a library that is built already, for tests to link instead of compiling their own.
  fs::path library;
  // A learner's own package: warnings do not stop it, and crashes are told by line.
  bool learner = false;
  std::string edited;                // the number of the module that somebody works on: made to compile quickly
  fs::path course;                   // has cli/runtime; empty: the root
  bool variants = false;             // also the students' copies and the instrumented package
  std::vector<Program> programs;
  std::set<std::string> only;        // numbers of the modules whose tests are wanted; empty: all
  Chosen tests = Chosen::AllTests;   // of these tests
  std::string folder;                // in build/; empty: named after the stage and the toolchain
  bool cells = false;                // for a notebook: precompiled headers for its cells, and no test programs
  bool sections = false;             // each function in a section of its own, so that what nobody calls is not linked
};

// Keeps others from working in a folder while it lives.
class FolderLock {
 public:
  explicit FolderLock(const fs::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int file_;
};

// The files of `package` that differ from those in `reference`, and all that include one of them, directly or not.
std::set<std::string> affected_files(const Package& package, const Package& reference);
bool same_headers(const Package& left, const Package& right);
std::vector<std::string> sources_of(const Package& package);

class StageBuild {
 public:
  // Generates the sources and the build.ninja. Throws Diagnostic on what cannot be exported.
  StageBuild(fs::path root, const std::vector<Module>& course, StageOptions options);

  const fs::path& root() const { return root_; }
  const fs::path& directory() const { return directory_; }
  fs::path runtime_folder() const { return fs::absolute(root_ / runtime()).lexically_normal(); }
  const std::vector<Module>& modules() const { return modules_; }
  const LineMap& lines() const { return lines_; }

  // Whether the options ask for tests of this module.
  bool wants(const Module& module) const;
  // Paths of programs, relative to the root; they are targets for build().
  std::string tests_of(const Module& module) const;
  std::string student_of(const Module& module) const { return bin(module, "student"); }    // with empty holes
  std::string variants_of(const Module& module) const { return bin(module, "variants"); }  // see tito/variant.h
  // The tests in tests/FOLDER; empty when there are none.
  std::string folder_tests(std::string_view folder) const;
  // One of the options' programs, on this package; with `variants`, on the instrumented one, or a package with some instrumented modules.
  std::string program_of(std::string_view name) const { return relative(directory_ / "bin" / name); }
  // The module as a student gets it (parsed from its copy); only with `variants`.
  const Module& student_copy_of(const Module& module) const;
  const StageOptions& options() const { return options_; }
  // Object files of one module's part of the library; empty when the library is one file.
  std::vector<std::string> library_of(const std::string& folder) const;
  // Object files of the library itself.
  const std::vector<std::string>& library() const { return reference_.objects; }
  // Object files of the library without those of these modules (by number), for which a program has others; in one library of all, which those
  // stand in front of, they are not looked at again: what they define is there already.
  std::vector<std::string> library_without(const std::set<std::string>& numbers) const;
  const Package& package() const { return reference_.package; }
  // What every test program links besides: its main function and the like.
  const std::vector<std::string>& runtime_objects() const { return runtime_; }

  // With `cells`: how the cells of a notebook are compiled and linked, from the root. Each ends up behind one header,
  // which is precompiled for either level, "-O0" and "-O1".
  std::string cell_header(std::string_view level) const;
  std::string cell_compiler(std::string_view level) const;  // a command line without input and output
  std::string cell_linker() const;
  std::string capability_compiler_flags(const std::string& source) const;  // how one that is compiled for a CPU capability differs from others
  std::string cell_target() const { return relative(directory_ / "cells/all"); }  // all that they stand on; of shared objects some are no targets
  const std::string& include() const { return reference_.include; }

  NinjaResult build(const std::vector<std::string>& targets, std::string label, bool keep_going = false) const;

 private:
  // A package as it was generated, and what it compiles to.
  struct Variant {
    Package package;
    std::string include;  // the folder with its tinytorch/
    std::vector<std::string> objects;
    std::vector<std::string> owners;  // beside `objects`, the folder of the module that each is of; empty for one library of all
  };

  std::string bin(const Module& module, std::string_view kind) const;
  std::string relative(const fs::path& path) const;
  std::string runtime() const;
  void write_rules();
  void add_reference();
  void add_runtime();
  void add_module_tests(std::size_t index);
  void add_student(std::size_t index);
  void add_instrumented();
  void add_folder_tests(std::string_view folder);
  void add_program(const Program& program);
  bool is_lesson(const std::string& folder) const;
  std::vector<std::string> optimized_instrumented(const std::set<std::string>& numbers);
  void add_cells();
  void write_package(const Package& package, const std::string& include);
  void add_lines(const fs::path& written, const GeneratedFile& file);
  void share_objects();
  std::string compile_source(const std::string& source, const std::string& include, std::string_view level,
                             const std::string& rule = "library");
  std::vector<std::string> compile_module(const std::string& folder, const std::vector<std::string>& sources,
                                          const std::string& include, const std::string& rule, std::string_view level = "-O0");
  bool is_quick() const { return options_.quick_library || options_.toolchain.sanitizer != Sanitizer::None; }
  std::vector<std::string> compile_units(const std::vector<GeneratedFile>& units, const std::string& folder,
                                         const std::string& include, const std::string& rule = "unit");
  std::vector<std::string> compile_tests(const Module& module, const std::vector<GeneratedFile>& units);
  enum class HeaderFor { Library, Tests };
  std::string precompiled_header(const Module& module, HeaderFor purpose);
  std::string precompiled_package();
  std::string compile_edited(const Module& module, const std::string& source);
  std::vector<std::string> compile_optimized(const std::string& folder, const std::vector<std::string>& sources);
  void link(const std::string& program, std::vector<std::string> inputs, const std::vector<std::string>& more);
  std::vector<std::string> linked_package();

  fs::path root_;
  StageOptions options_;
  std::vector<Module> modules_;
  std::vector<Module> students_;  // with `variants`: beside modules_, by index
  fs::path directory_;
  FolderLock lock_;
  LineMap lines_;
  NinjaFile ninja_;
  std::string compiling_;                // the rules by which objects are made, and the compiler
  std::optional<SharedObjects> shared_;  // in a learner's workspace, and of what notebooks stand on
  Variant reference_;
  std::string test_include_;               // what tests of modules and programs are compiled against
  std::map<std::string, std::vector<std::string>> instrumented_;  // with `variants`: a lesson's objects by its folder
  std::vector<std::vector<std::string>> test_objects_;  // beside modules_, by index
  std::vector<std::string> runtime_;  // objects every test program links
  std::string edited_header_;         // in front of the edited module's sources
  std::string folder_header_;         // in front of the tests in tests/
  std::string variant_;               // the one of them that reads TITO_VARIANT
};

}  // namespace tito
