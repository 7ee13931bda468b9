// tito doctor: what this machine has, what is missing, and with --peaks what it can do at most.
#include <fmt/core.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "build/library.h"
#include "build/process.h"
#include "build/stage_build.h"
#include "commands/commands.h"

namespace tito {
namespace {

using Json = nlohmann::ordered_json;

struct DebianPackage {
  const char* name;
  const char* purpose;
  bool required;
};

constexpr DebianPackage packages[] = {
    {"g++", "compiles everything", true},
    {"cmake", "builds the framework and the command line", true},
    {"make", "what cmake uses by default", true},
    {"ninja-build", "runs the builds of tito", true},
    {"zlib1g-dev", "compressed data files", true},
    {"libcli11-dev", "the command line's options", true},
    {"libtomlplusplus-dev", "progress, milestones, data sets: TOML", true},
    {"libhwy-dev", "kernels in vector instructions", true},
    {"libfmt-dev", "the command line's texts", true},
    {"nlohmann-json3-dev", "JSON", true},
    {"doctest-dev", "tests", true},
    {"libcurl4-openssl-dev", "tito data: downloads", true},
    {"libssl-dev", "tito data: checksums", true},
    {"ccache", "does not compile the same thing twice", false},
    {"mold", "links quickly", false},
    {"clang", "the second compiler of tito test --thorough", false},
    {"bubblewrap", "tito grade: keeps submissions apart from your files", false},
    {"g++-aarch64-linux-gnu", "kernels for ARM in tito test --thorough", false},
    {"graphviz", "notebooks: pictures of autograd graphs", false},
    {"clangd", "notebooks: completion of members, types of names", false},
    {"debootstrap", "the fresh machine of tito test --thorough", false},
};

std::string first_line(const Command& command) {
  if (find_program(command[0]).empty()) return "";
  const std::string output = run_process(command).output;
  return output.substr(0, output.find('\n'));
}

std::string read_line(const fs::path& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

// The value of the first "key : value" line in a file of /proc.
std::string proc_value(const fs::path& file, std::string_view key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos || !line.starts_with(key)) continue;
    const std::size_t start = line.find_first_not_of(" \t", colon + 1);
    return start == std::string::npos ? "" : line.substr(start);
  }
  return "";
}

std::vector<std::string> simd_extensions() {
  std::istringstream flags(proc_value("/proc/cpuinfo", "flags") + " " + proc_value("/proc/cpuinfo", "Features"));
  const std::set<std::string> wanted{"sse4_2", "avx",         "avx2",    "fma",      "f16c", "avx512f", "avx512bw", "avx512vnni",
                                     "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "sve",  "sve2",    "bf16"};
  std::vector<std::string> found;
  for (std::string flag; flags >> flag;) {
    if (wanted.contains(flag)) found.push_back(flag);
  }
  return found;
}

Json caches() {
  Json out = Json::array();
  const fs::path folder = "/sys/devices/system/cpu/cpu0/cache";
  for (int i = 0; fs::exists(folder / fmt::format("index{}", i)); ++i) {
    const fs::path index = folder / fmt::format("index{}", i);
    out.push_back({{"level", read_line(index / "level")},
                   {"type", read_line(index / "type")},
                   {"size", read_line(index / "size")},
                   {"line_bytes", read_line(index / "coherency_line_size")}});
  }
  return out;
}

// Installed versions of Debian packages; nothing where there is no dpkg.
Json package_report() {
  Json out = Json::array();
  const bool has_dpkg = !find_program("dpkg-query").empty();
  for (const DebianPackage& package : packages) {
    std::string version;
    if (has_dpkg) {
      const ProcessResult result =
          run_process({"dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package.name});
      if (result.ok() && result.output.starts_with("installed ")) version = result.output.substr(10);
    }
    out.push_back({{"package", package.name},
                   {"purpose", package.purpose},
                   {"required", package.required},
                   {"version", version}});
  }
  return out;
}

Json examine() {
  const std::string memory = proc_value("/proc/meminfo", "MemTotal");
  const fs::path here = fs::current_path();
  const fs::space_info disk = fs::space(here);
  return {{"compilers", {{"g++", first_line({"g++", "--version"})}, {"clang++", first_line({"clang++", "--version"})}}},
          {"tools",
           {{"cmake", first_line({"cmake", "--version"})},
            {"ninja", first_line({"ninja", "--version"})},
            {"ccache", first_line({"ccache", "--version"})},
            {"mold", first_line({"mold", "--version"})}}},
          {"cpu", {{"model", proc_value("/proc/cpuinfo", "model name")}, {"processors", processor_count()}, {"simd", simd_extensions()}}},
          {"caches", caches()},
          {"memory_kib", memory.empty() ? 0 : std::stoll(memory)},
          {"disk", {{"folder", here.string()}, {"free_bytes", disk.available}}},
          {"packages", package_report()}};
}

// What a program of benchmarks/ prints, built from the library; `option` asked for it.
std::string output_of(const std::string& program, const std::string& option) {
  const fs::path root = course_folder();
  if (!fs::exists(root / "benchmarks" / (program + ".cpp"))) {
    throw std::runtime_error(fmt::format("{0} builds the library, which an installed tito has no sources of; use ./tito doctor {0} in a checkout of the course", option));
  }
  const NinjaResult built = build_library(root, {program});
  if (!built.ok) {
    fmt::print(stderr, "{}\nbenchmarks/{}.cpp does not build\n", built.messages, program);
    throw Exit{1};
  }
  const ProcessResult result = run_process({(library_folder(root) / "bin" / program).string()});
  if (!result.ok()) {
    fmt::print(stderr, "benchmarks/{}.cpp: {}\n{}", program, how_it_ended(result), result.output);
    throw Exit{1};
  }
  return result.output;
}

void print_peaks(const Json& peaks) {
  for (const Json& one : peaks) {
    fmt::print("{:<12} {} thread(s): {:.1f} GFLOP/s float32 ({}), {:.1f} GB/s of memory\n", "peaks", one["threads"].get<int>(),
               one["flops_per_second"].get<double>() * 1e-9, one["simd"].get<std::string>(), one["bytes_per_second"].get<double>() * 1e-9);
  }
}

std::string or_missing(const std::string& text) { return text.empty() ? "not found" : text; }

void print_report(const Json& report) {
  for (const char* group : {"compilers", "tools"}) {
    for (const auto& [name, version] : report[group].items()) {
      fmt::print("{:<12} {}\n", name, or_missing(version.get<std::string>()));
    }
  }
  const Json& cpu = report["cpu"];
  fmt::print("{:<12} {}, {} processors\n", "CPU", or_missing(cpu["model"].get<std::string>()),
             cpu["processors"].get<unsigned>());
  std::string simd;
  for (const Json& name : cpu["simd"]) simd += name.get<std::string>() + " ";
  fmt::print("{:<12} {}\n", "SIMD", or_missing(simd));
  for (const Json& cache : report["caches"]) {
    fmt::print("{:<12} L{} {}: {}, lines of {} bytes\n", "cache", cache["level"].get<std::string>(),
               cache["type"].get<std::string>(), cache["size"].get<std::string>(),
               cache["line_bytes"].get<std::string>());
  }
  fmt::print("{:<12} {:.1f} GiB\n", "memory", report["memory_kib"].get<double>() / (1 << 20));
  fmt::print("{:<12} {:.1f} GiB free at {}\n", "disk", report["disk"]["free_bytes"].get<double>() / (1 << 30),
             report["disk"]["folder"].get<std::string>());
  for (const Json& package : report["packages"]) {
    const std::string version = package["version"];
    const std::string state = !version.empty() ? version : package["required"].get<bool>() ? "MISSING" : "not installed (optional)";
    fmt::print("{:<20} {:<28} {}\n", package["package"].get<std::string>(), state, package["purpose"].get<std::string>());
  }
}

std::vector<std::string> missing_packages(const Json& report) {
  std::vector<std::string> missing;
  for (const Json& package : report["packages"]) {
    if (package["required"].get<bool>() && package["version"].get<std::string>().empty()) {
      missing.push_back(package["package"].get<std::string>());
    }
  }
  return missing;
}

void run_doctor(bool json, bool peaks) {
  Json report = examine();
  if (peaks) report["peaks"] = Json::parse(output_of("peaks", "--peaks"));
  if (json) {
    fmt::print("{}\n", report.dump(2));
  } else {
    print_report(report);
    if (peaks) print_peaks(report["peaks"]);
  }
  const std::vector<std::string> missing = missing_packages(report);
  const bool has_dpkg = !find_program("dpkg-query").empty();
  if (!has_dpkg && !json) fmt::print("\nThis is not Debian or Ubuntu, so the packages above could not be looked up.\n");
  if (missing.empty() || !has_dpkg) return;
  std::string names;
  for (const std::string& name : missing) names += " " + name;
  if (!json) fmt::print("\nInstall what is missing: apt-get install{}\n", names);
  throw Exit{1};
}

}  // namespace

void add_doctor_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("doctor", "Say what this machine has, and what is missing");
  const auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "print one JSON object");
  const auto peaks = std::make_shared<bool>(false);
  command->add_flag("--peaks", *peaks, "measure what it can do at most: FLOP/s and bytes/s (builds the library)");
  const auto tune = std::make_shared<bool>(false);
  command->add_flag("--tune", *tune, "find the blocks of matrix products by measuring, and keep them for this machine (builds the library)")->excludes("--json", "--peaks");
  command->callback([json, peaks, tune] {
    if (*tune) fmt::print("{}", output_of("tune", "--tune"));
    else run_doctor(*json, *peaks);
  });
}

}  // namespace tito
