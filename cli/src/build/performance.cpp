#include "build/performance.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "format/cells.h"
#include "learn/text_files.h"

namespace tito {
namespace {

using BenchJson = nlohmann::ordered_json;

struct ResultsOfRun {
  std::string name;  // of the file, without .json
  BenchJson content;
};

BenchJson read_json_file(const fs::path& file) {
  try {
    return BenchJson::parse(read_text(file));
  } catch (const nlohmann::json::exception& error) {
    throw std::runtime_error(fmt::format("{} cannot be read as JSON: {}", file.string(), error.what()));
  }
}

std::vector<ResultsOfRun> results_in(const fs::path& folder) {
  std::vector<ResultsOfRun> runs;
  for (const std::string& file : files_below(folder)) {
    if (fs::path(file).extension() != ".json") continue;
    runs.push_back({fs::path(file).stem().string(), read_json_file(folder / file)});
    if (!runs.back().content.contains("ratios")) throw std::runtime_error(fmt::format("{} is not a file of tito bench", (folder / file).string()));
  }
  return runs;
}

double middle_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

std::string readable_seconds(double seconds) {
  if (seconds >= 1) return fmt::format("{:.2f} s", seconds);
  if (seconds >= 1e-3) return fmt::format("{:.2f} ms", seconds * 1e3);
  if (seconds >= 1e-6) return fmt::format("{:.2f} us", seconds * 1e6);
  return fmt::format("{:.0f} ns", seconds * 1e9);
}

std::string readable_ratio(const BenchJson& ratio) {
  const std::string value = fmt::format("{:.2f}", ratio.at("ratio").get<double>());
  if (ratio.at("low").is_null()) return value + " (no interval)";
  return fmt::format("{} [{:.2f}, {:.2f}]", value, ratio.at("low").get<double>(), ratio.at("high").get<double>());
}

// The ratio of a case to one peer; nothing if it was not measured.
const BenchJson* ratio_in(const ResultsOfRun& run, const BenchJson& one, const std::string& peer) {
  for (const BenchJson& ratio : run.content.at("ratios")) {
    if (ratio.at("suite") == one.at("suite") && ratio.at("name") == one.at("name") && ratio.at("against") == peer) return &ratio;
  }
  return nullptr;
}

// Whether the target is met: by the interval where there is one. Within its ends nobody can say.
std::string verdict_on(const BenchJson& ratio, double target) {
  const double value = ratio.at("ratio").get<double>();
  const double low = ratio.at("low").is_null() ? value : ratio.at("low").get<double>();
  const double high = ratio.at("high").is_null() ? value : ratio.at("high").get<double>();
  return low >= target ? "met" : high < target ? "**not met**" : "undecided";
}

// The widest vector instructions that the processor has; kernels are chosen by them.
std::string vector_instructions(const BenchJson& machine) {
  const std::vector<std::string> has = machine.value("simd", std::vector<std::string>{});
  const auto with = [&](const std::string& name) { return std::find(has.begin(), has.end(), name) != has.end(); };
  return with("avx512f") ? "AVX-512" : with("avx2") ? "AVX2" : has.empty() ? "no vector instructions" : has.back();
}

std::string machine_text(const ResultsOfRun& run) {
  const BenchJson& m = run.content.at("machine");
  std::string versions;
  for (const auto& [name, version] : run.content.at("versions").items()) versions += fmt::format("{}{} {}", versions.empty() ? "" : ", ", name, version.get<std::string>());
  const std::string busy = run.content.at("settings").value("busy processes", "");
  const double load = m.at("load").get<double>();
  const int cores = m.at("cores").get<int>();
  return fmt::format("- `{}.json`: {} with {}, {} cores, {}, {}; {} threads{}; {}; {}; load average {:.1f}{}\n", run.name, m.at("cpu").get<std::string>(), vector_instructions(m), cores, m.at("os").get<std::string>(),
                     m.at("compiler").get<std::string>(), run.content.at("settings").at("threads").get<std::string>(), busy.empty() ? "" : fmt::format(", {} busy beside them", busy), versions, m.at("date").get<std::string>(), load,
                     load > cores ? " (**other programs wanted the processors as well: repeat it on a quiet machine before you believe it**)" : "");
}

void add_targets(std::string& page, const BenchJson& cases, const std::vector<ResultsOfRun>& runs) {
  page += "## What we want to reach\n\nRatio: how many times as fast as the peer TinyTorch is, with the 95 % interval; above 1 TinyTorch is faster. The peer of a line is the first one named in its case.\n\n";
  page += "| work | case | run | against | ratio | at least | aim | |\n|---|---|---|---|---|---|---|---|\n";
  for (const BenchJson& one : cases) {
    const double least = one.at("at_least").get<double>();
    if (least == 0) continue;
    const std::string peer = one.at("peers").at(0);
    bool measured = false;
    for (const ResultsOfRun& run : runs) {
      const BenchJson* ratio = ratio_in(run, one, peer);
      if (ratio == nullptr) continue;
      measured = true;
      page += fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} |\n", one.at("line").get<std::string>(), one.at("name").get<std::string>(), run.name, peer, readable_ratio(*ratio), least,
                          one.at("aim").get<double>(), verdict_on(*ratio, least));
    }
    if (!measured) page += fmt::format("| {} | {} | | {} | | {} | {} | not measured |\n", one.at("line").get<std::string>(), one.at("name").get<std::string>(), peer, least, one.at("aim").get<double>());
  }
}

void add_times(std::string& page, const ResultsOfRun& run) {
  page += fmt::format("\n### {}\n\n| suite | case | who | median | rate | ratio | |\n|---|---|---|---|---|---|---|\n", run.name);
  for (const BenchJson& result : run.content.at("results")) {
    const std::string subject = result.at("subject");
    const std::vector<double> seconds = result.at("seconds");
    const std::string note = result.at("note");
    std::string time, rate, ratio;
    if (!seconds.empty()) {
      const double middle = middle_of(seconds);
      time = result.at("suite") == "memory" ? fmt::format("{:.1f} MB", middle * 1e-6) : readable_seconds(middle);
      if (result.at("flops").get<double>() > 0) rate = fmt::format("{:.3g} GFLOP/s", result.at("flops").get<double>() / middle * 1e-9);
      else if (result.at("bytes").get<double>() > 0) rate = fmt::format("{:.3g} GB/s", result.at("bytes").get<double>() / middle * 1e-9);
    }
    if (const BenchJson* found = ratio_in(run, result, subject)) ratio = readable_ratio(*found);
    page += fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", result.at("suite").get<std::string>(), result.at("name").get<std::string>(), subject, time, rate, ratio, note);
  }
}

}  // namespace

std::string performance_page(const fs::path& root) {
  const BenchJson cases = read_json_file(root / "benchmarks/cases.json");
  const std::vector<ResultsOfRun> runs = results_in(root / "benchmarks/results");
  std::string page = "# Performance\n\n";
  page += "This page is written by `./tito bench --page` from `benchmarks/results/*.json`, which `./tito bench` leaves; `./tito test` compares them, so that no number of its tables is typed in. The notes are written by hand (`benchmarks/notes.md`), and name what they measured.\n";
  page += "How it is measured: [benchmarks/README.md](../benchmarks/README.md).\n\n";
  page += "    ./tito bench --install torch,numpy,onnxruntime      # peers, into an environment of their own\n";
  page += "    ./tito bench all --threads 1 --json benchmarks/results/one_thread.json\n    ./tito bench --page\n\n## Measured on\n\n";
  for (const ResultsOfRun& run : runs) page += machine_text(run);
  if (runs.empty()) page += "Nothing was measured yet.\n";
  page += "\n";
  add_targets(page, cases, runs);
  if (const std::string notes = read_if_there(root / "benchmarks/notes.md"); !notes.empty()) page += "\n## Where a line is not met\n\n" + notes;
  page += "\n## All times\n\nMedian of the rounds of one call. A rate counts the arithmetic, or else the bytes, that the work cannot do without.\n";
  for (const ResultsOfRun& run : runs) add_times(page, run);
  return page;
}

std::string check_performance_page(const fs::path& root) {
  if (!fs::exists(root / "benchmarks/cases.json")) return "";
  if (performance_page(root) == read_if_there(root / "docs/performance.md")) return "";
  return "docs/performance.md is not what benchmarks/results says; run: ./tito bench --page\n";
}

}  // namespace tito
