// From the lesson modules/15_benchmarking/benchmarking_dev.cpp:
// edit the module, not this file.

#include "tinytorch/benchmarking/results.h"

#include <algorithm>
#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>

#include "tinytorch/core/error.h"
#include "tinytorch/core/system_info.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/serialize/file.h"

namespace tinytorch {

namespace {

// The first number in /proc/loadavg.
double load_average() {
  const std::string text = read_if_there("/proc/loadavg");
  return text.empty() ? 0.0 : std::atof(text.c_str());
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace

benchmarking::Machine benchmarking::this_machine() {
  const SystemInfo info = system_info();
  return {info.cpu_model, info.os, info.compiler, info.cores, info.memory_bytes, info.simd, load_average(), utc_now()};
}

std::string benchmarking::results_text(const ResultFile& file) {
  const Machine& m = file.machine;
  nlohmann::ordered_json document;
  document["machine"] = {{"cpu", m.cpu}, {"cores", m.cores}, {"memory_bytes", m.memory_bytes}, {"os", m.os}, {"compiler", m.compiler}, {"simd", m.simd}, {"load", m.load}, {"date", m.date}};
  document["versions"] = file.versions;
  document["settings"] = file.settings;
  document["results"] = nlohmann::ordered_json::array();
  for (const Result& result : file.results) {
    document["results"].push_back({{"suite", result.suite}, {"name", result.name}, {"subject", result.subject}, {"seconds", result.seconds}, {"calls", result.calls},
                                   {"flops", result.flops}, {"bytes", result.bytes}, {"note", result.note}});
  }
  return document.dump(1) + "\n";
}

void benchmarking::write_results(const std::string& path, const ResultFile& file) { serialize::write_file_atomically(path, results_text(file)); }

benchmarking::ResultFile benchmarking::read_results(const std::string& path) {
  const std::string text = read_file(path, "read_results");
  ResultFile file;
  try {
    const nlohmann::json document = nlohmann::json::parse(text);
    const nlohmann::json& m = document.at("machine");
    file.machine = {m.at("cpu"), m.at("os"), m.at("compiler"), m.at("cores"), m.at("memory_bytes"), m.at("simd"), m.at("load"), m.at("date")};
    file.versions = document.at("versions");
    file.settings = document.at("settings");
    for (const nlohmann::json& r : document.at("results")) {
      file.results.push_back({r.at("suite"), r.at("name"), r.at("subject"), r.at("seconds"), r.at("calls"), r.at("flops"), r.at("bytes"), r.at("note")});
    }
  } catch (const nlohmann::json::exception& error) {
    TORCH_CHECK(false, path, " is not a file of benchmark results\n[read_results] ", error.what());
  }
  for (const Result& result : file.results)
    for (const double time : result.seconds)
      TORCH_CHECK(time > 0 && std::isfinite(time), path, " has a time of ", time, " (", result.suite, ": ", result.name, ", ", result.subject,
                  ")\n[read_results] a time is a positive number of seconds; measure this case again, or delete it from the file.");
  return file;
}

namespace {

// Of median(after) / median(before), at 95 %: both sides are resampled 1,000 times.
benchmarking::Interval interval_of_ratio(const std::vector<double>& before, const std::vector<double>& after) {
  Generator generator(0);
  std::vector<double> ratios;
  for (int i = 0; i < 1000; ++i) {
    const double later = benchmarking::median(benchmarking::resample(after, generator));
    ratios.push_back(later / benchmarking::median(benchmarking::resample(before, generator)));
  }
  return {benchmarking::quantile(ratios, 0.025), benchmarking::quantile(ratios, 0.975)};
}

}  // namespace

// The ratio of medians, its bootstrap interval, and the verdict by the picture above.
benchmarking::Change benchmarking::compare_samples(const std::vector<double>& before, const std::vector<double>& after, double tolerance) {
  TORCH_CHECK_VALUE(!before.empty() && !after.empty(), "compare_samples needs values on both sides, but got ", before.size(), " and ", after.size());
  Change change;
  change.ratio = median(after) / median(before);
  if (before.size() < 6 || after.size() < 6) return change;
  change.interval = interval_of_ratio(before, after);
  const auto [low, high] = change.interval;
  if (low > 1 + tolerance) {
    change.verdict = Verdict::Slower;
  } else if (high < 1 / (1 + tolerance)) {
    change.verdict = Verdict::Faster;
  } else if (low >= 1 / (1 + tolerance) && high <= 1 + tolerance) {
    change.verdict = Verdict::Same;
  }
  return change;
}

std::string_view benchmarking::name_of(Verdict verdict) {
  constexpr std::string_view names[] = {"faster", "the same", "slower", "no verdict"};
  return names[static_cast<std::size_t>(verdict)];
}

namespace {
// The same case of the same subject; nullptr if the file has none.
const benchmarking::Result* find_case(const benchmarking::ResultFile& file, const benchmarking::Result& like) {
  const auto same = [&](const benchmarking::Result& other) { return other.suite == like.suite && other.name == like.name && other.subject == like.subject; };
  const auto found = std::find_if(file.results.begin(), file.results.end(), same);
  return found == file.results.end() ? nullptr : &*found;
}

// Adds what has times in `here` and none in the other file.
void add_missing(std::vector<std::string>& sentences, const benchmarking::ResultFile& here, const benchmarking::ResultFile& other, const char* other_name) {
  for (const benchmarking::Result& one : here.results) {
    const benchmarking::Result* const found = find_case(other, one);
    if (one.seconds.empty() || (found != nullptr && !found->seconds.empty())) continue;
    sentences.push_back(str(one.suite, ": ", one.name, ", ", one.subject, found == nullptr ? " is not in the " : " has no times in the ", other_name, " file",
                            found != nullptr && !found->note.empty() ? str(" (", found->note, ")") : ""));
  }
}
}  // namespace

std::vector<std::string> benchmarking::not_compared(const ResultFile& before, const ResultFile& after) {
  std::vector<std::string> sentences;
  add_missing(sentences, before, after, "second");
  add_missing(sentences, after, before, "first");
  return sentences;
}

std::vector<benchmarking::Change> benchmarking::compare_files(const ResultFile& before, const ResultFile& after, double tolerance) {
  std::vector<Change> changes;
  for (const Result& old : before.results) {
    const Result* const now = find_case(after, old);
    if (now == nullptr || old.seconds.empty() || now->seconds.empty()) continue;
    Change change = compare_samples(old.seconds, now->seconds, tolerance);
    change.suite = old.suite;
    change.name = old.name;
    change.subject = old.subject;
    changes.push_back(std::move(change));
  }
  return changes;
}

std::string benchmarking::why_not_comparable(const ResultFile& before, const ResultFile& after) {
  std::string why;
  const auto differ = [&](const char* what, const std::string& left, const std::string& right) {
    if (left != right) why += str(why.empty() ? "" : "; ", what, " '", left, "' and '", right, "'");
  };
  differ("CPU", before.machine.cpu, after.machine.cpu);
  differ("cores", std::to_string(before.machine.cores), std::to_string(after.machine.cores));
  differ("compiler", before.machine.compiler, after.machine.compiler);
  std::map<std::string, std::string> all = before.settings;
  all.insert(after.settings.begin(), after.settings.end());
  const auto setting = [](const ResultFile& file, const std::string& name) {
    const auto found = file.settings.find(name);
    return found == file.settings.end() ? "" : found->second;
  };
  for (const auto& [name, value] : all) {
    const bool unknown = (name == "capability" || name == "kernels") && before.settings.count(name) != after.settings.count(name);
    if (!unknown) differ(name.c_str(), setting(before, name), setting(after, name));
  }
  return why;
}

}  // namespace tinytorch
