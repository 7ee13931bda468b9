#include "build/thorough.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <random>

#include "build/ninja.h"
#include "build/process.h"
#include "format/export.h"

namespace tito {
namespace {

std::string damaged(const std::string& text, std::mt19937_64& random) {
  std::vector<std::string> lines = split_lines(text);
  const auto pick = [&] { return random() % lines.size(); };
  const std::size_t times = 1 + random() % 4;
  for (std::size_t i = 0; i < times && !lines.empty(); ++i) {
    const std::size_t line = pick();
    switch (random() % 5) {
      case 0:
        lines.erase(lines.begin() + static_cast<long>(line));
        break;
      case 1:
        lines.insert(lines.begin() + static_cast<long>(line), lines[pick()]);
        break;
      case 2:
        std::swap(lines[line], lines[pick()]);
        break;
      case 3:
        lines[line].resize(lines[line].empty() ? 0 : random() % lines[line].size());
        break;
      default:
        if (!lines[line].empty()) lines[line][random() % lines[line].size()] = static_cast<char>(random() % 256);
        break;
    }
  }
  return join_lines(lines);
}

constexpr const char* neon_compiler = "aarch64-linux-gnu-g++";

}  // namespace

std::string why_no_neon() {
  return find_program(neon_compiler).empty() ? "aarch64-linux-gnu-g++ is not installed (apt-get install g++-aarch64-linux-gnu)" : "";
}

std::string compile_for_neon(const fs::path& root, const fs::path& source) {
  // Of this machine's headers only Highway's, which are the same for every processor.
  const fs::path folder = root / "build/neon";
  fs::create_directories(folder);
  std::error_code ignored;
  fs::create_directory_symlink("/usr/include/hwy", folder / "hwy", ignored);
  const ProcessResult result = run_process({neon_compiler, "-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", "-I", root.string(), "-isystem", folder.string(), "-c", source.string(), "-o", "/dev/null"});
  return result.ok() ? "" : result.output;
}

std::string compile_as_plain_unit(const fs::path& root, const std::vector<Module>& course, const Module& module) {
  const fs::path package = root / "build/plain" / ("stage" + module.stage());
  const fs::path empty = root / "build/plain" / module.folder();
  write_changed(package / "tinytorch", export_package(up_to_stage(course, module.stage())).files, true);
  std::vector<GeneratedFile> stand_ins;
  for (const std::string& path : exported_paths(module)) {
    if (path.ends_with(".h")) stand_ins.push_back({path, "", {}, {}});
  }
  write_changed(empty / "tinytorch", stand_ins, true);
  ProcessOptions options;
  options.directory = root;
  const ProcessResult result =
      run_process({"g++", "-std=c++20", "-fsyntax-only", "-w", "-I", empty.string(), "-I", package.string(), "-I",
                   "cli/runtime", fs::relative(module.file, root).string()},
                  options);
  return result.ok() ? "" : result.output;
}

std::vector<std::string> fuzz_module_files(const std::vector<Module>& course, std::size_t tries, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::string> texts;
  for (const Module& module : course) texts.push_back(read_text(module.file));
  std::vector<std::string> complaints;
  for (std::size_t i = 1; i <= tries; ++i) {
    const std::size_t which = random() % course.size();
    const std::string text = damaged(texts[which], random);
    try {
      std::vector<Module> changed = up_to_stage(course, course[which].stage());
      for (Module& module : changed) {
        if (module.number == course[which].number) module = parse_module(course[which].file, text);
      }
      export_package(changed);
    } catch (const Diagnostic&) {
      // Refused with file and line, as it should be.
    } catch (const std::exception& error) {
      complaints.push_back(fmt::format("{}, damaged copy {} of seed {}: not a diagnostic: {}", course[which].folder(), i, seed, error.what()));
    }
  }
  return complaints;
}

FuzzResult fuzz_in_child(const fs::path& root, std::size_t tries, std::uint64_t seed) {
  ProcessOptions options;
  options.directory = root;
  options.seconds = 60 + static_cast<double>(tries);
  options.memory_bytes = std::size_t{4} << 30;
  const ProcessResult child = run_process(
      {fs::read_symlink("/proc/self/exe").string(), "fuzz", std::to_string(tries), std::to_string(seed)}, options);
  FuzzResult result;
  for (const std::string& line : split_lines(child.output)) {
    if (line.starts_with("tries ")) {
      result.tries = std::stoul(line.substr(6));
    } else if (!line.empty()) {
      result.complaints.push_back(line);
    }
  }
  if (!child.ok()) result.complaints.push_back(fmt::format("the parser's process, seed {}: {}", seed, how_it_ended(child)));
  return result;
}

namespace {
bool has_packages(const std::string& python, const std::string& packages) {
  return !find_program(python).empty() && run_process({python, "-c", "import " + packages}).ok();
}
}  // namespace

fs::path prepare_python(const fs::path& root, std::string& why_not) {
  const fs::path python = root / "build/python/bin/python";
  const std::string packages = "tensorboard, safetensors, numpy";
  if (has_packages(python.string(), packages)) return python;
  if (find_program("python3").empty()) {
    why_not = "python3 is not installed (apt-get install python3-venv)";
    return {};
  }
  ProcessOptions options;
  options.seconds = 600;
  if (!run_process({"python3", "-m", "venv", (root / "build/python").string()}, options).ok()) {
    why_not = "python3 cannot make a virtual environment (apt-get install python3-venv)";
    return {};
  }
  const ProcessResult installed = run_process({python.string(), "-m", "pip", "install", "-q", "tensorboard==2.21.0", "safetensors==0.8.0", "numpy"}, options);
  if (installed.ok() && has_packages(python.string(), packages)) return python;
  why_not = "pip cannot install tensorboard and safetensors here";
  return {};
}

std::string recording_python() {
  const char* const named = std::getenv("TINYTORCH_PYTHON");
  return named == nullptr || *named == '\0' ? "python3" : named;
}

bool has_torch(const std::string& python) { return has_packages(python, "torch, safetensors, numpy"); }

std::string why_no_fresh_machine() {
  if (find_program("debootstrap").empty()) return "debootstrap is not installed (apt-get install debootstrap)";
  if (geteuid() != 0) return "debootstrap needs root";
  if (!run_process({"unshare", "--pid", "--fork", "--mount-proc", "true"}).ok()) return "this machine does not let root mount /proc for the folder";
  return "";
}

std::string try_fresh_machine(const fs::path& root) {
  const fs::path machine = root / "build/fresh_machine";
  std::error_code ignored;
  fs::remove_all(machine, ignored);
  fs::create_directories(machine.parent_path());
  const ProcessResult made = run_process({"debootstrap", "--variant=minbase", "bookworm", machine.string()});
  if (!made.ok()) return "debootstrap failed:\n" + made.output.substr(made.output.size() - std::min<std::size_t>(made.output.size(), 2000));
  fs::create_directories(machine / "tinytorch");
  for (const fs::directory_entry& entry : fs::directory_iterator(root)) {
    const std::string name = entry.path().filename().string();
    if (name == "build" || name == ".git") continue;
    fs::copy(entry.path(), machine / "tinytorch" / name, fs::copy_options::recursive);
  }
  ProcessOptions options;
  options.seconds = 1800;
  // A /proc of its own, which goes when the process ends, and nothing of this machine's environment.
  const ProcessResult demo =
      run_process({"unshare", "--pid", "--fork", "--mount-proc=" + (machine / "proc").string(), "chroot", machine.string(), "/usr/bin/env", "-i",
                   "HOME=/root", "LANG=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "/tinytorch/tito", "demo"},
                  options);
  std::string complaint;
  if (!demo.ok()) {
    complaint = fmt::format("tito demo on a fresh machine: {}\n{}", how_it_ended(demo),
                            demo.output.substr(demo.output.size() - std::min<std::size_t>(demo.output.size(), 4000)));
  }
  fs::remove_all(machine, ignored);
  return complaint;
}

}  // namespace tito
