#include "build/stage_build.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <map>
#include <system_error>

#include "build/part_report.h"
#include "format/student.h"

namespace tito {
namespace {

constexpr std::string_view strict_warnings = "-Wall -Wextra -Wpedantic -Wshadow -Werror";
// Between what a sanitizer writes into a function, g++ sees paths that are none; the build without one has warned already.
constexpr std::string_view sanitized_warnings = "-w";
// Of a learner's unfinished code only what is certainly wrong is refused; -g1 gives the lines of a crash.
constexpr std::string_view learner_warnings = "-Wreturn-type -Werror=return-type -g1";
// A unit has all the lesson's helpers in front of its tests, and uses some of them.
constexpr std::string_view unit_warnings = "-Wno-unused-function -Wno-unused-variable -Wno-unused-but-set-variable -Wno-unused-parameter";
constexpr std::string_view clang_unit_warnings = " -Wno-unneeded-internal-declaration -Wno-unused-const-variable"
                                                 " -Wno-unused-member-function -Wno-unused-local-typedef";

// Of a notebook's cells, what may be said to a learner.
constexpr std::string_view cell_warnings = "-Wall -Wno-unused-function -Wno-unused-variable -Wno-unused-but-set-variable"
                                           " -Wno-maybe-uninitialized -Werror=return-type -g1";

// Bytes become numbers and pointers change their class in the library, where both are checked; in the tests these checks take a third of their
// compilation.
constexpr std::string_view unchecked_in_tests = " -fno-sanitize=alignment,vptr";

// g++ looks for memory to free whenever it has doubled what it holds; to do so from half a gigabyte on saves a twentieth of its time.
constexpr std::string_view seldom_collecting = " --param ggc-min-heapsize=500000";

// Of the files in tests/, which all read the whole package: what that makes g++ instantiate is half of compiling one.
constexpr std::size_t files_per_unit = 4;

// What test programs link besides runs beside every test.
constexpr std::string_view runtime_flags = "-O1";

// The package in one file, beside the programs that test it.
constexpr std::string_view package_name = "libtinytorch.so";

// What files are called in objects that several stages share, in place of the folder of one stage.
constexpr std::string_view shared_sources = "build/stage";

bool is_clang(const Toolchain& tools) { return tools.compiler.find("clang") != std::string::npos; }

std::string sanitizer_flags(Sanitizer sanitizer) {
  switch (sanitizer) {
    case Sanitizer::Memory:
      // With its checks for null pointers, g++ 12 does not take the address of a function template for a constant, which an
      // operator that brings its gradient needs. The address sanitizer finds null pointers too, and what is read behind pointers that left
      // their array: checking each sum of a pointer takes a tenth of the compilation.
      return " -fPIC -g1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined"
             " -fno-sanitize=null,returns-nonnull-attribute,nonnull-attribute,pointer-overflow -DDOCTEST_CONFIG_NO_POSIX_SIGNALS";
    case Sanitizer::Thread:
      return " -fPIC -g1 -fno-omit-frame-pointer -fsanitize=thread -DDOCTEST_CONFIG_NO_POSIX_SIGNALS";
    case Sanitizer::None:
      break;
  }
  return "";
}

std::string shell_quoted(const std::string& path) {
  if (path.find_first_of(" \t'\"$&;()") == std::string::npos) return path;
  std::string out = "'";
  for (const char c : path) out += c == '\'' ? "'\\''" : c == '$' ? "$$" : std::string(1, c);
  return out + "'";
}

bool is_header(const GeneratedFile& file) { return file.path.ends_with(".h"); }

bool same_texts(const std::vector<GeneratedFile>& left, const std::vector<GeneratedFile>& right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](const GeneratedFile& a, const GeneratedFile& b) { return a.text == b.text; });
}

std::map<std::string, std::string> texts(const Package& package) {
  std::map<std::string, std::string> out;
  for (const GeneratedFile& file : package.files) out[file.path] = file.text;
  return out;
}

}  // namespace

std::set<std::string> affected_files(const Package& package, const Package& reference) {
  const std::map<std::string, std::string> other = texts(reference);
  std::set<std::string> affected;
  for (const GeneratedFile& file : package.files) {
    const auto found = other.find(file.path);
    if (found == other.end() || found->second != file.text) affected.insert(file.path);
  }
  for (std::size_t before = affected.size() + 1; before != affected.size();) {
    before = affected.size();
    for (const GeneratedFile& file : package.files) {
      for_each_include(file.text, [&](std::string_view path) {
        if (affected.contains(std::string(path))) affected.insert(file.path);
      });
    }
  }
  return affected;
}

bool same_headers(const Package& left, const Package& right) {
  const std::map<std::string, std::string> other = texts(right);
  return std::all_of(left.files.begin(), left.files.end(), [&](const GeneratedFile& file) {
    const auto found = other.find(file.path);
    return !is_header(file) || (found != other.end() && found->second == file.text);
  });
}

std::vector<std::string> sources_of(const Package& package) {
  std::vector<std::string> out;
  for (const auto& [folder, paths] : package.sources) out.insert(out.end(), paths.begin(), paths.end());
  return out;
}

std::string Toolchain::name() const {
  std::string text = compiler.find("clang") != std::string::npos ? "clang" : "gcc";
  if (sanitizer == Sanitizer::Memory) text += "-memory";
  if (sanitizer == Sanitizer::Thread) text += "-thread";
  return text;
}

StageBuild::StageBuild(fs::path root, const std::vector<Module>& course, StageOptions options)
    : root_(std::move(root)),
      options_(std::move(options)),
      modules_(options_.stage.empty() ? course : up_to_stage(course, options_.stage)),
      directory_(root_ / "build" /
                 (!options_.folder.empty() ? options_.folder
                                           : fmt::format("stage{}-{}", modules_.empty() ? "" : modules_.back().stage(),
                                                         options_.toolchain.name()))),
      lock_(directory_),
      lines_(root_) {
  if (find_program(options_.toolchain.compiler).empty()) {
    throw std::runtime_error(
        fmt::format("there is no C++ compiler: {} is not installed (apt-get install {})", options_.toolchain.compiler,
                    options_.toolchain.compiler == "g++" ? "g++" : "clang"));
  }
  write_rules();
  add_reference();
  if (options_.variants) add_instrumented();
  add_runtime();
  if (options_.cells) {
    add_cells();
    write_if_changed(directory_ / "build.ninja", ninja_.text());
    if (shared_) shared_->finish(directory_, "cells");
    return;
  }
  test_objects_.resize(modules_.size());
  for (std::size_t i = 0; i < modules_.size(); ++i) {
    if (wants(modules_[i])) add_module_tests(i);
  }
  if (options_.variants) {
    for (std::size_t i = 0; i < modules_.size(); ++i) add_student(i);
  }
  for (const std::string_view folder : {"package", "integration", "regression"}) add_folder_tests(folder);
  for (const Program& program : options_.programs) add_program(program);
  write_if_changed(directory_ / "build.ninja", ninja_.text());
  const std::string_view kind = options_.units == Units::Plain ? "tests" : options_.units == Units::Optimized ? "run" : "edit";
  if (shared_) shared_->finish(directory_, kind);
}

FolderLock::FolderLock(const fs::path& folder) {
  fs::create_directories(folder);
  file_ = open((folder / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0) throw std::system_error(errno, std::generic_category(), "cannot write to " + folder.string());
  if (flock(file_, LOCK_EX | LOCK_NB) == 0) return;
  fmt::print(stderr, "waiting for another tito that works in {}\n", folder.string());
  flock(file_, LOCK_EX);
}

FolderLock::~FolderLock() { close(file_); }

std::string StageBuild::relative(const fs::path& path) const { return fs::relative(path, root_).string(); }

std::string StageBuild::runtime() const {
  return options_.course.empty() || options_.course == root_ ? "cli/runtime" : (options_.course / "cli/runtime").string();
}

std::string StageBuild::tests_of(const Module& module) const {
  switch (options_.units) {
    case Units::Precompiled:
      return bin(module, "edit");
    case Units::Optimized:
      return bin(module, "run");
    case Units::Plain:
      break;
  }
  return bin(module, "tests");
}

std::string StageBuild::bin(const Module& module, std::string_view kind) const {
  return relative(directory_ / "bin" / fmt::format("{}_{}", module.folder(), kind));
}

bool StageBuild::wants(const Module& module) const {
  if (!options_.only.empty() && !options_.only.contains(module.number)) return false;
  return std::any_of(module.tests.begin(), module.tests.end(),
                     [&](const Test& test) { return options_.tests == Chosen::AllTests || starts_threads(module, test); });
}

std::vector<std::string> StageBuild::library_of(const std::string& folder) const {
  std::vector<std::string> objects;
  for (std::size_t i = 0; i < reference_.owners.size(); ++i) {
    if (reference_.owners[i] == folder) objects.push_back(reference_.objects[i]);
  }
  return objects;
}

const Module& StageBuild::student_copy_of(const Module& module) const {
  for (std::size_t i = 0; i < students_.size(); ++i) {
    if (modules_[i].number == module.number) return students_[i];
  }
  throw std::logic_error("no students' copies in this build");
}

NinjaResult StageBuild::build(const std::vector<std::string>& targets, std::string label, bool keep_going) const {
  return run_ninja(NinjaOptions{root_, directory_, targets, std::move(label), keep_going}, lines_);
}

void StageBuild::write_rules() {
  const Toolchain& tools = options_.toolchain;
  ninja_.variable("builddir", relative(directory_));
  ninja_.variable("runtime", shell_quoted(runtime()));
  const bool sanitized = tools.sanitizer != Sanitizer::None;
  const std::string_view warnings = options_.learner ? learner_warnings : sanitized ? sanitized_warnings : strict_warnings;
  const bool clang = is_clang(tools);
  const bool caching = !find_program("ccache").empty();
  const std::string cache = caching ? "CCACHE_NOHASHDIR=1 ccache " : "";
  // What reads a precompiled header is cached by what the preprocessor says, which g++ has to name the header in.
  const std::string header_cache = caching && !clang ? "CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros ccache " : "";
  // A precompiled header knows its headers by all that they contain: one with other comments would be included a second time.
  const std::string with_comments = header_cache.empty() ? "" : "CCACHE_COMMENTS=1 ";
  const std::string named = clang ? "" : " -fpch-preprocess";
  const std::string common = fmt::format("{} -std=c++20 -pthread -fdiagnostics-color=never{}{}{} -MD -MF $out.d", tools.compiler, clang ? "" : seldom_collecting,
                                         sanitizer_flags(tools.sanitizer), options_.sections ? " -ffunction-sections -fdata-sections" : "");
  const std::string unit = fmt::format("-O0 -DDOCTEST_CONFIG_SUPER_FAST_ASSERTS {} {}{}{}", warnings, unit_warnings,
                                       clang ? clang_unit_warnings : "",
                                       tools.sanitizer == Sanitizer::Memory ? unchecked_in_tests : "");
  const std::string mold = find_program("mold").empty() ? "" : " -fuse-ld=mold";
  const std::string library = fmt::format("{}{} {} $flags -I $include -I $runtime -c $in -o ", cache, common, warnings);
  const std::string plain_unit = fmt::format("{}{} {} -I $include -I $runtime -I tests -c $in -o ", cache, common, unit);
  ninja_.rule("library", library + "$out", "$in", true);
  ninja_.rule("copy", fmt::format("{}{} -w $flags -I $include -I $runtime -c $in -o $out", cache, common), "$in", true);
  const std::string runtime_objects = fmt::format("{}{} {} {} -I $include -I $runtime -c $in -o ", cache, common, warnings, runtime_flags);
  ninja_.rule("runtime", runtime_objects + "$out", "$in", true);
  ninja_.rule("unit", plain_unit + "$out", "$in", true);
  if ((options_.learner || options_.cells) && !is_quick()) {
    // Several stages may make the same object at the same time, and in whichever folder it was made, it names its files alike.
    const std::string whole = fmt::format("$out.$$$$ -ffile-prefix-map={}/={}/ && mv -f $out.$$$$ $out", relative(directory_), shared_sources);
    ninja_.rule("shared_library", library + whole, "$in", true);
    ninja_.rule("shared_unit", plain_unit + whole, "$in", true);
    ninja_.rule("shared_runtime", runtime_objects + whole, "$in", true);
    const fs::path compiler = find_program(tools.compiler);
    compiling_ = fmt::format("{}\n{}\n{}\n{} {}\n", library, plain_unit, compiler.string(), fs::file_size(compiler),
                             fs::last_write_time(compiler).time_since_epoch().count());
  }
  ninja_.rule("copy_unit", fmt::format("{}{} {} -w -I $include -I $runtime -I tests -c $in -o $out", cache, common, unit),
              "$in", true);
  // Without warnings: the same code, as `tito test` compiles it, has them, and some of g++'s come of optimizing.
  ninja_.rule("optimized_unit", fmt::format("{}{} -O3 -w -I $include -I $runtime -I tests -c $in -o $out", cache, common), "$in", true);
  ninja_.rule("unit_with_pch",
              fmt::format("{}{}{} {} -Winvalid-pch -include $pch -I $include -I $runtime -I tests -c $in -o $out", header_cache, common, named, unit),
              "$in", true);
  ninja_.rule("precompile",
              fmt::format("{}{}{}{} {} -I $include -I $runtime -I tests -x c++-header -c $in -o $out", with_comments, header_cache, common, named, unit), "$in",
              true);
  const std::string edited = fmt::format("{} {} -O0 -I $include -I $runtime", common, warnings);
  ninja_.rule("edited_with_pch", edited + " -Winvalid-pch -include $pch -c $in -o $out", "$in", true);
  ninja_.rule("precompile_edited", edited + " -x c++-header -c $in -o $out", "$in", true);
  ninja_.rule("link",
              fmt::format("{} -pthread{}{} $in -o $out -Wl,-rpath,'$$ORIGIN' -lz", tools.compiler, mold, sanitizer_flags(tools.sanitizer)),
              "link $out", false);
  ninja_.rule("link_shared", fmt::format("{} -shared -Wl,-soname,{} -pthread{}{} $in -o $out -lz", tools.compiler, package_name, mold,
                                         sanitizer_flags(tools.sanitizer)),
              "link $out", false);
}

void StageBuild::write_package(const Package& package, const std::string& include) {
  write_changed(root_ / include / "tinytorch", package.files, true);
  for (const GeneratedFile& file : package.files) add_lines(fs::path(include) / "tinytorch" / file.path, file);
}

void StageBuild::add_lines(const fs::path& written, const GeneratedFile& file) {
  lines_.add(written, file);
  if (shared_) lines_.add(shared_sources / written.lexically_relative(relative(directory_)), file);
}

void StageBuild::share_objects() {
  if (compiling_.empty()) return;
  shared_.emplace(root_, reference_.package, compiling_ + fingerprint({root_ / runtime()}));
}

std::string StageBuild::compile_source(const std::string& source, const std::string& include, std::string_view level,
                                       const std::string& rule) {
  const bool simd = is_capability_source(source);
  const std::string_view folder = level == "-O0" && !simd ? "obj/quick" : "obj";
  const std::string output = fmt::format("{}.o", relative(directory_ / folder / fs::relative(root_ / include, directory_) / source));
  const std::string flags = simd ? capability_compiler_flags(source) : std::string(level);
  if (shared_ && rule == "library" && folder == "obj") {
    const std::string object = shared_->object_of_file(source, flags);
    if (!shared_->has(object)) {
      ninja_.add({object, "shared_library", {include + "/tinytorch/" + source}, {}, {{"include", include}, {"flags", flags}}});
    }
    return object;
  }
  ninja_.add({output, rule, {include + "/tinytorch/" + source}, {}, {{"include", include}, {"flags", flags}}});
  return output;
}

// Vector code means nothing without optimization, in any build.
std::string StageBuild::capability_compiler_flags(const std::string& source) const {
  return fmt::format("{} {}", options_.toolchain.sanitizer == Sanitizer::None ? "-O3" : "-O1", capability_flags(source));
}

// The sources of a module in one unit: each header is read once, which is most of a build that does not optimize. Sources for one CPU
// capability stay units of their own.
std::vector<std::string> StageBuild::compile_module(const std::string& folder, const std::vector<std::string>& sources,
                                                    const std::string& include, const std::string& rule, std::string_view level) {
  const fs::path unit = directory_ / "whole" / fs::relative(root_ / include, directory_) / (folder + ".cpp");
  const std::string_view place = level == "-O0" ? "obj" : "obj/optimized";
  std::vector<std::string> objects{relative(directory_ / place / fs::relative(unit, directory_)) + ".o"};
  std::string text;
  for (const std::string& source : sources) {
    if (is_capability_source(source)) objects.push_back(compile_source(source, include, "-O0", rule));
    else text += fmt::format("#include \"tinytorch/{}\"\n", source);
  }
  write_if_changed(unit, text);
  const bool shared = shared_ && rule == "library" && level != "-O0";
  if (shared) objects.front() = shared_->object_of(folder + ".cpp", text, level);
  if (!shared || !shared_->has(objects.front())) {
    ninja_.add({objects.front(), shared ? "shared_library" : rule, {relative(unit)}, {}, {{"include", include}, {"flags", std::string(level)}}});
  }
  return objects;
}

void StageBuild::add_reference() {
  reference_.include = relative(directory_ / "include");
  reference_.package = export_package(modules_);
  test_include_ = reference_.include;
  share_objects();
  write_package(reference_.package, reference_.include);
  if (!options_.library.empty()) {
    reference_.objects = {relative(options_.library)};
  } else if (is_quick()) {
    for (const auto& [folder, sources] : reference_.package.sources) {
      for (const std::string& object : compile_module(folder, sources, reference_.include, "library")) {
        reference_.objects.push_back(object);
        reference_.owners.push_back(folder);
      }
    }
  } else {
    for (const auto& [folder, sources] : reference_.package.sources) {
      for (const std::string& object : compile_optimized(folder, sources)) {
        reference_.objects.push_back(object);
        reference_.owners.push_back(folder);
      }
    }
  }
}

// A module's part of a library that programs run on, and not only tests. In a learner's lesson two sources may have helpers of one name, which
// one unit could not have.
std::vector<std::string> StageBuild::compile_optimized(const std::string& folder, const std::vector<std::string>& sources) {
  const bool generated = folder == "generated";
  // What somebody edits now is compiled often, and run little.
  const bool edited = !generated && folder.substr(0, 2) == options_.edited;
  if (!generated && !edited && !(options_.learner && is_lesson(folder))) return compile_module(folder, sources, reference_.include, "library", "-O1");
  std::vector<std::string> objects;
  for (const std::string& source : sources) {
    objects.push_back(edited ? compile_edited(find_module(modules_, folder), source) : compile_source(source, reference_.include, "-O1"));
  }
  return objects;
}

void StageBuild::add_runtime() {
  std::vector<std::string> sources{"test_main.cpp", "ending.cpp", "seal.cpp", "variant.cpp"};
  const bool has_tensor = texts(reference_.package).contains("core/tensor.h");
  if (has_tensor) sources.push_back("tensor_checks.cpp");
  for (const std::string& source : sources) {
    std::string output = relative(directory_ / "obj/runtime" / (source + ".o"));
    const fs::path file = root_ / runtime() / source;
    if (shared_) output = shared_->object_of("runtime/" + source, read_text(file), runtime_flags);
    if (!shared_ || !shared_->has(output)) {
      ninja_.add({output, shared_ ? "shared_runtime" : "runtime", {runtime() + "/" + source}, {}, {{"include", reference_.include}}});
    }
    runtime_.push_back(output);
    if (source == "variant.cpp") variant_ = output;
  }
}

// What stands before the module: the headers of the modules before it, for its tests with what a test uses.
std::string StageBuild::precompiled_header(const Module& module, HeaderFor purpose) {
  const bool tests = purpose == HeaderFor::Tests;
  std::string text = tests ? "#include \"tito/lesson.h\"\n" : "";
  text += "#include <algorithm>\n#include <cmath>\n#include <functional>\n"
          "#include <memory>\n#include <sstream>\n#include <string>\n#include <vector>\n";
  for (const Module& earlier : modules_) {
    if (earlier.number == module.number) break;
    for (const std::string& path : exported_paths(earlier)) {
      if (path.ends_with(".h")) text += fmt::format("#include \"tinytorch/{}\"\n", path);
    }
  }
  const fs::path header = directory_ / "precompiled" / (module.folder() + (tests ? "_tests.h" : ".h"));
  write_if_changed(header, text);
  ninja_.add({relative(header) + ".gch", tests ? "precompile" : "precompile_edited", {relative(header)}, {}, {{"include", reference_.include}}});
  return relative(header);
}

// A source that is compiled after every edit: without optimizing, behind a precompiled header, and past the cache, which could not have it.
std::string StageBuild::compile_edited(const Module& module, const std::string& source) {
  if (is_capability_source(source)) return compile_source(source, reference_.include, "-O0");
  if (edited_header_.empty()) edited_header_ = precompiled_header(module, HeaderFor::Library);
  const std::string output = relative(directory_ / "obj/edited" / source) + ".o";
  ninja_.add({output, "edited_with_pch", {reference_.include + "/tinytorch/" + source}, {edited_header_ + ".gch"},
              {{"include", reference_.include}, {"pch", edited_header_}}});
  return output;
}

std::string StageBuild::cell_header(std::string_view level) const {
  return relative(directory_ / "cells" / std::string(level.substr(1)) / "cell.h");
}

std::string StageBuild::cell_compiler(std::string_view level) const {
  // Demonstrations measure loops: these become vectors as with -O3, for a thirtieth of the time of -O1 more.
  const std::string_view vectors = level == "-O0" || is_clang(options_.toolchain) ? "" : " -ftree-loop-vectorize -fvect-cost-model=dynamic";
  return fmt::format("{} -std=c++20 -pthread -fdiagnostics-color=never{} {}{} -DDOCTEST_CONFIG_SUPER_FAST_ASSERTS {} -I {} -I {}",
                     options_.toolchain.compiler, sanitizer_flags(options_.toolchain.sanitizer), level, vectors, cell_warnings,
                     reference_.include, shell_quoted(runtime()));
}

std::string StageBuild::cell_linker() const {
  return fmt::format("{} -pthread{}{}", options_.toolchain.compiler, find_program("mold").empty() ? "" : " -fuse-ld=mold",
                     sanitizer_flags(options_.toolchain.sanitizer));
}

void StageBuild::add_cells() {
  std::string text =
      "#include \"tito/lesson.h\"\n#include <algorithm>\n#include <cmath>\n#include <functional>\n#include <iostream>\n"
      "#include <memory>\n#include <sstream>\n#include <string>\n#include <vector>\n";
  for (const Module& module : modules_) {
    for (const std::string& path : exported_paths(module)) {
      if (path.ends_with(".h")) text += fmt::format("#include \"tinytorch/{}\"\n", path);
    }
  }
  text += "#include \"tito/display.h\"\n";
  std::vector<std::string> needed = reference_.objects;
  needed.insert(needed.end(), runtime_.begin(), runtime_.end());
  for (const std::string_view level : {"-O0", "-O1"}) {
    const std::string header = cell_header(level);
    write_if_changed(root_ / header, text);
    ninja_.rule("precompile" + std::string(level),
                cell_compiler(level) + " -MD -MT $out -MF $out.d -x c++-header -c $in -o $out.partial && mv $out.partial $out", "$in", true);
    ninja_.add({header + ".gch", "precompile" + std::string(level), {header}, {}, {}});
    needed.push_back(header + ".gch");
  }
  ninja_.add({cell_target(), "phony", needed, {}, {}});
}

std::vector<std::string> StageBuild::compile_units(const std::vector<GeneratedFile>& units, const std::string& folder,
                                                   const std::string& include, const std::string& rule) {
  std::vector<std::string> objects;
  for (const GeneratedFile& unit : units) {
    const std::string source = relative(directory_ / folder / unit.path);
    add_lines(source, unit);
    if (shared_ && rule == "unit") {
      objects.push_back(shared_->object_of(unit.path, unit.text, ""));
      if (!shared_->has(objects.back())) ninja_.add({objects.back(), "shared_unit", {source}, {}, {{"include", include}}});
      continue;
    }
    objects.push_back(relative(directory_ / "obj" / folder / unit.path) + ".o");
    ninja_.add({objects.back(), rule, {source}, {}, {{"include", include}}});
  }
  return objects;
}

// A module's own units, compiled in the way that the options ask for; each way has object files of its own.
std::vector<std::string> StageBuild::compile_tests(const Module& module, const std::vector<GeneratedFile>& units) {
  if (options_.units == Units::Plain) return compile_units(units, "tests", test_include_);
  const bool optimized = options_.units == Units::Optimized;
  const std::string header = optimized ? "" : precompiled_header(module, HeaderFor::Tests);
  std::vector<std::string> objects;
  for (const GeneratedFile& unit : units) {
    const std::string source = relative(directory_ / "tests" / unit.path);
    lines_.add(source, unit);
    objects.push_back(relative(directory_ / "obj" / (optimized ? "optimized" : "precompiled") / unit.path) + ".o");
    Edge edge{objects.back(), optimized ? "optimized_unit" : "unit_with_pch", {source}, {}, {{"include", reference_.include}}};
    if (!optimized) {
      edge.implicit.push_back(header + ".gch");
      edge.variables.emplace_back("pch", header);
    }
    ninja_.add(edge);
  }
  return objects;
}

void StageBuild::link(const std::string& program, std::vector<std::string> inputs, const std::vector<std::string>& more) {
  inputs.insert(inputs.end(), more.begin(), more.end());
  inputs.insert(inputs.end(), runtime_.begin(), runtime_.end());
  ninja_.add({program, "link", inputs, {}, {}});
}

// With a sanitizer the package takes a quarter of a gigabyte: one shared object serves all programs that test it.
std::vector<std::string> StageBuild::linked_package() {
  if (options_.toolchain.sanitizer == Sanitizer::None) return reference_.objects;
  const std::string output = relative(directory_ / "bin" / package_name);
  ninja_.add({output, "link_shared", reference_.objects, {}, {}});
  return {output};
}

void StageBuild::add_module_tests(std::size_t index) {
  const Module& module = modules_[index];
  const bool whole = is_quick() || (module.library_chapter && module.number != options_.edited);  // nobody compiles it again and again
  const std::vector<GeneratedFile> units =
      test_units(module, true, options_.variants ? Bodies::Instrumented : Bodies::Reference, whole ? whole_module : tests_per_unit, options_.tests);
  write_changed(directory_ / "tests", units, false);
  test_objects_[index] = compile_tests(module, units);
  link(tests_of(module), test_objects_[index], linked_package());
  if (options_.variants && !module.library_chapter) {
    std::vector<std::string> inputs = test_objects_[index];
    const std::vector<std::string>& own = instrumented_.at(module.folder());
    inputs.insert(inputs.end(), own.begin(), own.end());
    link(variants_of(module), inputs, library_without({module.number}));
  }
}

// The module's copy with throwing holes, linked before the other modules' objects: where a header has a hole, the first
// definition of an inline function is the one that counts.
void StageBuild::add_student(std::size_t index) {
  const Module& module = modules_[index];
  const fs::path copy = directory_ / "student" / module.folder() / module.file.filename();
  write_if_changed(copy, student_copy(module));
  students_.push_back(parse_module(copy, Edition::Student));
  if (module.tests.empty() || module.library_chapter) return;

  std::vector<Module> course = modules_;
  course[index] = students_.back();
  const Package package = export_package(course);
  const bool shares_headers = same_headers(package, reference_.package);
  const std::string include = relative(directory_ / "student" / module.folder() / "include");
  write_package(package, include);

  std::vector<std::string> objects;
  for (const auto& [folder, sources] : package.sources) {
    if (folder == module.folder()) objects = compile_module(folder, sources, include, "copy");
  }
  const std::vector<GeneratedFile> units = test_units(students_.back(), true);
  std::vector<std::string> inputs = test_objects_[index];
  if (!shares_headers || !same_texts(units, test_units(module, false))) {  // lesson code may have holes too
    write_changed(directory_ / "student_tests", units, false);
    inputs = compile_units(units, "student_tests", include, "copy_unit");
  }
  inputs.insert(inputs.end(), objects.begin(), objects.end());
  link(student_of(module), inputs, library_without({module.number}));
}

// The lessons whose holes and mistakes are chosen when a program runs; chapters have none. The modules' tests are compiled against their
// headers, once for all the programs that they are part of: with nothing chosen, the bodies are the reference's.
void StageBuild::add_instrumented() {
  const Package package = export_package(modules_, Bodies::Instrumented);
  test_include_ = relative(directory_ / "variants");
  write_package(package, test_include_);
  for (const auto& [folder, sources] : package.sources) {
    if (is_lesson(folder)) instrumented_[folder] = compile_module(folder, sources, test_include_, "library");
  }
}

bool StageBuild::is_lesson(const std::string& folder) const {
  return std::any_of(modules_.begin(), modules_.end(),
                     [&](const Module& module) { return module.folder() == folder && !module.library_chapter; });
}

std::vector<std::string> StageBuild::library_without(const std::set<std::string>& numbers) const {
  std::vector<std::string> objects;
  for (std::size_t i = 0; i < reference_.objects.size(); ++i) {
    const bool replaced = !reference_.owners.empty() && numbers.contains(reference_.owners[i].substr(0, 2));
    if (!replaced) objects.push_back(reference_.objects[i]);
  }
  return objects;
}

std::string StageBuild::folder_tests(std::string_view folder) const {
  const fs::path sources = root_ / "tests" / folder;
  if (!fs::is_directory(sources)) return "";
  const bool any = std::any_of(fs::directory_iterator(sources), fs::directory_iterator(),
                               [](const fs::directory_entry& entry) { return entry.path().extension() == ".cpp"; });
  return any ? relative(directory_ / "bin" / folder) : "";
}

void StageBuild::add_folder_tests(std::string_view folder) {
  const std::string program = folder_tests(folder);
  if (program.empty()) return;
  std::vector<std::string> sources;
  for (const fs::directory_entry& entry : fs::directory_iterator(root_ / "tests" / folder)) {
    if (entry.path().extension() == ".cpp") sources.push_back(fmt::format("{}/{}", folder, entry.path().filename().string()));
  }
  std::sort(sources.begin(), sources.end());
  const bool precompiles = !is_clang(options_.toolchain);  // clang++ writes and reads another form
  if (precompiles && folder_header_.empty()) folder_header_ = precompiled_package();
  std::vector<std::string> objects;
  for (std::size_t first = 0; first < sources.size(); first += files_per_unit) {
    const fs::path unit = directory_ / "units" / fmt::format("{}_{}.cpp", folder, first / files_per_unit + 1);
    std::string text;
    for (std::size_t i = first; i < std::min(sources.size(), first + files_per_unit); ++i) text += fmt::format("#include \"{}\"\n", sources[i]);
    write_if_changed(unit, text);
    objects.push_back(relative(directory_ / "obj/units" / unit.filename()) + ".o");
    Edge edge{objects.back(), precompiles ? "unit_with_pch" : "unit", {relative(unit)}, {}, {{"include", reference_.include}}};
    if (precompiles) {
      edge.implicit.push_back(folder_header_ + ".gch");
      edge.variables.emplace_back("pch", folder_header_);
    }
    ninja_.add(edge);
  }
  link(program, objects, linked_package());
}

// The whole package with what its tests in tests/ are written with: reading that takes longer than compiling most of them.
std::string StageBuild::precompiled_package() {
  const fs::path header = directory_ / "precompiled/package_tests.h";
  write_if_changed(header, "#include \"tito/lesson.h\"\n#include \"tinytorch/tinytorch.h\"\n#include <nlohmann/json.hpp>\n");
  ninja_.add({relative(header) + ".gch", "precompile", {relative(header)}, {}, {{"include", reference_.include}}});
  return relative(header);
}

// These modules instrumented, but optimized, for a program that trains.
std::vector<std::string> StageBuild::optimized_instrumented(const std::set<std::string>& numbers) {
  std::vector<std::string> objects;
  for (const auto& [folder, sources] : reference_.package.sources) {
    if (!numbers.contains(folder.substr(0, 2))) continue;
    for (const std::string& object : compile_module(folder, sources, test_include_, "library", "-O1 -Wno-maybe-uninitialized")) objects.push_back(object);
  }
  return objects;
}

// A program has a main function of its own: it links the package, and none of the tests' runtime.
void StageBuild::add_program(const Program& program) {
  const std::string& name = program.name;
  const fs::path course = options_.course.empty() ? root_ : options_.course;
  const fs::path file = course / "milestones" / (name + ".cpp");
  const std::string source = course == root_ ? relative(file) : file.string();
  const std::string object = relative(directory_ / "obj/programs" / (name + ".cpp.o"));
  // g++ 12 takes the empty vector of an optional for an uninitialized one.
  ninja_.add({object, "library", {source}, {}, {{"include", test_include_}, {"flags", "-O1 -Wno-maybe-uninitialized"}}});
  std::vector<std::string> inputs{object};
  std::set<std::string> numbers = program.instrumented;
  if (options_.variants && numbers.empty()) {
    for (const auto& [folder, objects] : instrumented_) {
      numbers.insert(folder.substr(0, 2));
      inputs.insert(inputs.end(), objects.begin(), objects.end());
    }
  } else if (options_.variants) {
    for (const std::string& one : optimized_instrumented(numbers)) inputs.push_back(one);
  }
  for (const std::string& rest : library_without(numbers)) inputs.push_back(rest);
  if (options_.variants) inputs.push_back(variant_);
  ninja_.add({program_of(name), "link", inputs, {}, {}});
}

}  // namespace tito
