#include "commands/bench_suites.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "build/library.h"
#include "build/performance.h"
#include "build/process.h"
#include "commands/commands.h"
#include "learn/text_files.h"
#include "notebook/python.h"

namespace tito {
namespace {

// Runs a command that prints; throws when it fails.
void run_shown(const Command& command, const ProcessOptions& given = {}) {
  ProcessOptions options = given;
  options.show = true;
  const ProcessResult result = run_process(command, options);
  if (!result.ok()) throw std::runtime_error(fmt::format("{} failed: {}", fs::path(command[0]).filename().string(), how_it_ended(result)));
}

void run_quiet(const Command& command) {
  const ProcessResult result = run_process(command);
  if (!result.ok()) throw std::runtime_error(fmt::format("{} failed ({}):\n{}", fs::path(command[0]).filename().string(), how_it_ended(result), result.output));
}

fs::path python_of_peers(const SuiteArguments& arguments) {
  return arguments.python.empty() ? python_environments() / "peers/bin/python" : fs::path(arguments.python);
}

void install_peers(const fs::path& root, const SuiteArguments& arguments) {
  const fs::path environment = python_environments() / "peers";
  fmt::print("installing {} into {}\n", fmt::join(arguments.install, ", "), environment.string());
  Command command{"python3", (root / "benchmarks/peers/install.py").string(), environment.string()};
  command.insert(command.end(), arguments.install.begin(), arguments.install.end());
  run_shown(command);
}

// What `python -c CODE` prints, without the newline; nothing when it fails.
std::string python_says(const fs::path& python, const std::string& code) {
  if (!fs::exists(python)) return "";
  const ProcessResult result = run_process({python.string(), "-c", code});
  if (!result.ok()) return "";
  return result.output.substr(0, result.output.find('\n'));
}

// "0.1.0 (a3f18ee)", with "-dirty" behind the commit where files differ from it; the version alone where git does not know it.
std::string version_of(const fs::path& root) {
  const std::string version = "0.1.0";
  if (find_program("git").empty()) return version;
  const ProcessResult commit = run_process({"git", "-C", root.string(), "describe", "--always", "--dirty"});
  return commit.ok() ? fmt::format("{} ({})", version, commit.output.substr(0, commit.output.find('\n'))) : version;
}

// Compiles a program of benchmarks/ behind the library, unless it is newer than everything that it is made of.
fs::path build_bench_program(const fs::path& root, const std::string& name) {
  const fs::path program = root / "build/bench" / name;
  fs::create_directories(program.parent_path());
  const fs::path source = root / "benchmarks" / (name + ".cpp");
  const auto older_than = [&](const fs::path& input) { return fs::last_write_time(program) < fs::last_write_time(input); };
  if (fs::exists(program) && !older_than(source) && !older_than(root / "benchmarks/worker.h") && !older_than(root / "benchmarks/comparison.h") && !older_than(root / "benchmarks/functions.h") && !older_than(library_file(root))) return program;
  fmt::print(stderr, "compiling benchmarks/{}.cpp\n", name);
  Command compile{"g++", "-std=c++20", "-O2", "-Wall", "-Wextra", "-I" + root.string(), source.string(), library_file(root).string(), "-lz", "-pthread", "-o", program.string()};
  if (!find_program("ccache").empty()) {
    const std::string object = program.string() + ".o";
    run_quiet({"ccache", "g++", "-std=c++20", "-O2", "-Wall", "-Wextra", "-I" + root.string(), "-c", source.string(), "-o", object});
    compile = {"g++", object, library_file(root).string(), "-lz", "-pthread", "-o", program.string()};
  }
  run_quiet(compile);
  return program;
}

struct Libtorch {
  fs::path folder;  // with include/ and lib/; empty: there is none
  std::vector<std::string> includes() const {
    return {"-isystem", (folder / "include").string(), "-isystem", (folder / "include/torch/csrc/api/include").string()};
  }
};

fs::path build_libtorch_worker(const fs::path& root, const Libtorch& libtorch) {
  const fs::path program = root / "build/bench/libtorch_worker";
  const fs::path source = root / "benchmarks/peers/libtorch_worker.cpp";
  const auto newer_than = [&](const fs::path& input) { return fs::last_write_time(program) > fs::last_write_time(input); };
  if (fs::exists(program) && newer_than(source) && newer_than(root / "benchmarks/worker.h")) return program;
  fmt::print(stderr, "compiling benchmarks/peers/libtorch_worker.cpp behind libtorch's header (a minute)\n");
  fs::create_directories(program.parent_path());
  const std::string lib = (libtorch.folder / "lib").string();
  Command command{"g++", "-std=c++20", "-O2", "-w"};
  for (const std::string& one : libtorch.includes()) command.push_back(one);
  for (const std::string& one : {source.string(), "-L" + lib, "-Wl,-rpath," + lib, std::string("-Wl,--no-as-needed"), std::string("-ltorch"), std::string("-ltorch_cpu"),
                                 std::string("-lc10"), std::string("-Wl,--allow-shlib-undefined"), std::string("-o"), program.string()})
    command.push_back(one);
  run_quiet(command);
  return program;
}

std::vector<std::string> suites_of(const fs::path& root, const SuiteArguments& arguments) {
  std::vector<std::string> known;
  for (const auto& one : nlohmann::json::parse(read_text(root / "benchmarks/cases.json"))) {
    const std::string suite = one.at("suite");
    if (std::find(known.begin(), known.end(), suite) == known.end()) known.push_back(suite);
  }
  if (arguments.suites.empty() || arguments.suites == std::vector<std::string>{"all"}) return known;
  for (const std::string& suite : arguments.suites) {
    if (std::find(known.begin(), known.end(), suite) == known.end())
      throw std::runtime_error(fmt::format("there is no suite '{}'; there are {} (and edit-loop and build, which measure tito itself)", suite, fmt::join(known, ", ")));
  }
  return arguments.suites;
}

void write_header_programs(const fs::path& folder) {
  std::ofstream(folder / "header_tinytorch.cpp") << "#include <tinytorch/tinytorch.h>\nint main() { return static_cast<int>(tinytorch::ones({2}).numel()); }\n";
  std::ofstream(folder / "header_libtorch.cpp") << "#include <torch/torch.h>\nint main() { return static_cast<int>(torch::ones({2}).numel()); }\n";
}

// The command line and the environment of one run of benchmarks/bench.cpp.
class SuiteRun {
 public:
  SuiteRun(fs::path root, const SuiteArguments& arguments, std::vector<std::string> suites)
      : root_(std::move(root)), arguments_(arguments), suites_(std::move(suites)), python_(python_of_peers(arguments)) {
    versions_["tinytorch"] = version_of(root_);
    for (const char* package : {"torch", "numpy", "onnxruntime"}) {
      versions_[package] = python_says(python_, fmt::format("import {0}; print({0}.__version__)", package));
      if (!versions_[package].empty()) set(std::string("VERSION_") + package, versions_[package]);
    }
    for (const std::string& peer : arguments.against) {
      if (versions_.at(package_of(peer)).empty()) throw std::runtime_error(fmt::format("{0} is not installed for {1}; run: ./tito bench --install {0}", package_of(peer), python_.string()));
    }
  }

  void run(const fs::path& bench, const fs::path& worker, const fs::path& out) {
    const std::string threads = std::to_string(arguments_.threads);
    command_ = {bench.string(), "--cases", (root_ / "benchmarks/cases.json").string(), "--out", out.string(), "--threads", threads,
                "--seconds", fmt::format("{}", arguments_.seconds), "--busy", std::to_string(arguments_.busy), "--ours", worker.string()};
    for (const std::string& suite : suites_) add("--suite", suite);
    options_.environment.emplace_back("OMP_NUM_THREADS", threads);
    options_.environment.emplace_back("OPENBLAS_NUM_THREADS", threads);
    write_header_programs(folder());
    set("VERSION_tinytorch", versions_.at("tinytorch"));
    set("first_tinytorch", worker.string() + " first");
    set("lenet_tinytorch", worker.string() + " memory");
    set("header_tinytorch", fmt::format("g++ -std=c++20 -O2 -I{} -c {} -o /dev/null", root_.string(), (folder() / "header_tinytorch.cpp").string()));
    bool any = false;
    for (const std::string& peer : bench_peers) any = (add_peer(peer, worker) && package_of(peer) != "tinytorch") || any;
    if (!any) fmt::print("No peers are installed, so TinyTorch is measured alone; run: ./tito bench --install torch,numpy\n");
    std::fflush(stdout);
    run_shown(command_, options_);
    fmt::print("\nwritten: {}\n", out.string());
  }

 private:
  static std::string package_of(const std::string& peer) { return peer == "libtorch" ? "torch" : peer.substr(0, peer.find('-')); }
  fs::path folder() const { return root_ / "build/bench"; }
  void add(const std::string& option, const std::string& value) {
    command_.push_back(option);
    command_.push_back(value);
  }
  void set(const std::string& name, const std::string& value) { options_.environment.emplace_back("TITO_BENCH_" + name, value); }
  bool has_suite(const std::string& suite) const { return std::find(suites_.begin(), suites_.end(), suite) != suites_.end(); }

  // Whether the peer takes part. `worker` is TinyTorch's own, which is a peer too where it does in float32 what is measured in half precision.
  bool add_peer(const std::string& peer, const fs::path& worker) {
    const std::vector<std::string>& asked = arguments_.against;
    const bool by_name = std::find(asked.begin(), asked.end(), peer) != asked.end();
    if (!asked.empty() && !by_name) return false;
    if (peer == "torch-compile" && !by_name) return false;  // compiles for minutes
    if (peer == "libtorch" && !has_suite("overhead") && !has_suite("start-up") && !has_suite("memory")) return false;
    if (peer == "tinytorch-float32" && !has_suite("decode")) return false;
    if (peer == "tinytorch-unwatched" && !has_suite("overhead")) return false;
    if (peer == "tinytorch-moving" && !has_suite("memory-bound")) return false;
    const std::string package = package_of(peer);
    if (versions_.at(package).empty()) return false;
    add("--peer", peer + "=" + (peer == "libtorch" ? libtorch_command() : package == "tinytorch" ? worker.string() + peer.substr(package.size()).replace(0, 1, " ") : python_command(peer, package)));
    return true;
  }

  std::string python_command(const std::string& peer, const std::string& package) {
    if (peer == "torch") set("first_torch", fmt::format("{} -c 'import torch; print((torch.ones(2) + 1).sum().item())'", python_.string()));
    if (peer == "torch") set("lenet_torch", fmt::format("{} {} memory", python_.string(), (root_ / "benchmarks/peers/torch_worker.py").string()));
    const std::string variant = peer == package ? "" : " " + peer.substr(package.size() + 1);
    return fmt::format("{} {}{}", python_.string(), (root_ / "benchmarks/peers" / (package + "_worker.py")).string(), variant);
  }

  std::string libtorch_command() {
    const Libtorch libtorch{python_says(python_, "import torch, os; print(os.path.dirname(torch.__file__))")};
    const std::string worker = build_libtorch_worker(root_, libtorch).string();
    set("VERSION_libtorch", versions_.at("torch"));
    set("first_libtorch", worker + " first");
    set("lenet_libtorch", worker + " memory");
    set("header_libtorch", fmt::format("g++ -std=c++20 -O2 -w {} -c {} -o /dev/null", fmt::join(libtorch.includes(), " "), (folder() / "header_libtorch.cpp").string()));
    return worker;
  }

  fs::path root_;
  const SuiteArguments& arguments_;
  std::vector<std::string> suites_;
  fs::path python_;
  std::map<std::string, std::string> versions_;  // of TinyTorch, and of the packages that Python has; empty: not installed
  Command command_;
  ProcessOptions options_;
};

void compare_results(const fs::path& bench, const std::vector<std::string>& files) {
  const ProcessResult result = run_process({bench.string(), "--compare", files.at(0), files.at(1)});
  fmt::print("{}", result.output);
  if (!result.ok()) throw Exit{result.status > 0 ? result.status : 1};
}

}  // namespace

const std::vector<std::string> bench_peers = {"torch", "torch-fused", "torch-channels-last", "torch-compile", "torch-index-select", "libtorch", "numpy", "onnxruntime", "tinytorch-float32", "tinytorch-unwatched", "tinytorch-moving"};

void bench_suites(const SuiteArguments& arguments) {
  const fs::path root = project_root();
  if (!arguments.install.empty()) return install_peers(root, arguments);
  if (arguments.page) {
    write_atomically(root / "docs/performance.md", performance_page(root));
    return write_atomically(root / "docs/performance_times.md", performance_times_page(root));
  }
  for (const std::string& peer : arguments.against) {
    if (std::find(bench_peers.begin(), bench_peers.end(), peer) == bench_peers.end())
      throw std::runtime_error(fmt::format("there is no peer '{}'; there are {}", peer, fmt::join(bench_peers, ", ")));
  }
  SuiteRun run(root, arguments, suites_of(root, arguments));
  if (const NinjaResult built = build_library(root, {"tinytorch"}); !built.ok) throw std::runtime_error(built.messages);
  const fs::path bench = build_bench_program(root, "bench");
  if (!arguments.compare.empty()) return compare_results(bench, arguments.compare);
  const fs::path out = arguments.json.empty() ? root / "build/bench/result.json" : fs::absolute(arguments.json);
  run.run(bench, build_bench_program(root, "worker"), out);
}

}  // namespace tito
