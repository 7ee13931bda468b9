#include "build/part_report.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <mutex>
#include <nlohmann/json.hpp>
#include <numeric>

#include "build/ninja.h"
#include "build/parallel.h"

namespace tito {
namespace {

using Clock = std::chrono::steady_clock;

// FNV-1a, 64 bits: it compares a build with the one before it, and guards against no one.
class Hash {
 public:
  void add(std::string_view bytes) {
    for (const char c : bytes) value_ = (value_ ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 14695981039346656037ULL;
};

void add_file(Hash& hash, const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string buffer(1 << 16, '\0');
  hash.add(file.string());
  while (in.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || in.gcount() > 0) {
    hash.add(std::string_view(buffer).substr(0, static_cast<std::size_t>(in.gcount())));
  }
}

std::vector<fs::path> files_in(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string summary(const Part& part) {
  std::string text = fmt::format("{} passed", part.passed);
  if (part.failed > 0) text += fmt::format(", {} FAILED", part.failed);
  return part.unchanged ? text + " (unchanged)" : text + fmt::format(" ({:.1f} s)", part.seconds);
}

// Parts that ran side by side: their seconds are scaled so that they add up to those that passed.
void share_time(std::vector<Part>& parts, const std::vector<std::size_t>& which, double seconds) {
  double sum = 0;
  for (const std::size_t i : which) sum += parts[i].seconds;
  for (const std::size_t i : which) parts[i].seconds *= sum > 0 ? seconds / sum : 1;
}

}  // namespace

void Part::expect(bool good, const std::string& complaint) {
  ++(good ? passed : failed);
  if (!good) complaints.push_back(complaint);
}

void Part::add(const TestRun& run) {
  passed += run.passed();
  failed += run.failed();
  for (const TestOutcome& test : run.tests) {
    if (!test.passed) complaints.push_back(describe(test));
    if (test.passed && !test.skipped.empty()) skips.push_back(test.name + ": " + test.skipped);
  }
  if (run.finished) return;
  if (run.failed() == 0) ++failed;
  complaints.push_back(describe_end(run));
}

PartReport::PartReport(fs::path memory, bool quiet) : memory_(std::move(memory)), quiet_(quiet) {
  std::ifstream in(memory_);
  const nlohmann::json stored = nlohmann::json::parse(in, nullptr, false);
  if (!stored.is_object()) return;
  for (const auto& [name, entry] : stored.items()) {
    passed_before_[name] = {entry.value("inputs", ""), entry.value("passed", std::size_t{0})};
  }
}

void PartReport::remember(const Part& part, const std::string& inputs) {
  const std::string key = part.group + "/" + part.name;
  if (part.failed == 0 && part.skips.empty()) {
    passed_before_[key] = {inputs, part.passed};
  } else {
    passed_before_.erase(key);
  }
  nlohmann::ordered_json stored;
  for (const auto& [name, entry] : passed_before_) {
    stored[name] = {{"inputs", entry.inputs}, {"passed", entry.count}};
  }
  write_if_changed(memory_, stored.dump(1) + "\n");
}

void PartReport::run(const std::string& group, const std::string& name, const std::string& inputs,
                     const std::function<void(Part&)>& work) {
  run_all(group, {{name, inputs, work}});
}

void PartReport::run_all(const std::string& group, const std::vector<Work>& all) {
  std::vector<Part> parts(all.size());
  std::vector<std::size_t> to_run;
  for (std::size_t i = 0; i < all.size(); ++i) {
    parts[i].group = group;
    parts[i].name = all[i].name;
    const auto before = passed_before_.find(group + "/" + all[i].name);
    parts[i].unchanged = !all[i].inputs.empty() && before != passed_before_.end() && before->second.inputs == all[i].inputs;
    if (parts[i].unchanged) parts[i].passed = before->second.count;
    if (!parts[i].unchanged) to_run.push_back(i);
  }
  std::mutex remembering;
  const auto run_one = [&](std::size_t i) {
    const Clock::time_point start = Clock::now();
    try {
      all[i].work(parts[i]);
    } catch (const Interrupted&) {
      throw;
    } catch (const std::exception& error) {
      parts[i].expect(false, error.what());
    }
    parts[i].seconds = std::chrono::duration<double>(Clock::now() - start).count();
    // At once: what is stopped in the middle does not run again what passed.
    const std::lock_guard lock(remembering);
    if (!all[i].inputs.empty()) remember(parts[i], all[i].inputs);
  };
  if (to_run.size() == 1) {
    run_one(to_run[0]);
  } else if (!to_run.empty()) {
    const Clock::time_point start = Clock::now();
    in_parallel(to_run.size(), "running " + group, [&](std::size_t i) { run_one(to_run[i]); });
    share_time(parts, to_run, std::chrono::duration<double>(Clock::now() - start).count());
  }
  for (const Part& part : parts) report(part);
}

void PartReport::report(const Part& part) {
  if (!quiet_) {
    for (const std::string& complaint : part.complaints) fmt::print("{}\n", complaint);
    fmt::print("{:<22} {:<24} {}\n", part.group, part.name, summary(part));
    std::fflush(stdout);
  }
  parts_.push_back(part);
}

void PartReport::skip(const std::string& group, const std::string& name, const std::string& why) {
  Part part;
  part.group = group;
  part.name = name;
  part.skips.push_back(why);
  parts_.push_back(part);
}

void PartReport::leave_out(const std::string& name, const std::string& option) {
  left_out_.push_back(fmt::format("{}: not asked for ({})", name, option));
}

std::size_t PartReport::passed() const {
  return std::accumulate(parts_.begin(), parts_.end(), std::size_t{0},
                         [](std::size_t sum, const Part& part) { return sum + part.passed; });
}

std::size_t PartReport::failed() const {
  return std::accumulate(parts_.begin(), parts_.end(), std::size_t{0},
                         [](std::size_t sum, const Part& part) { return sum + part.failed; });
}

bool PartReport::skipped_anything() const {
  return std::any_of(parts_.begin(), parts_.end(), [](const Part& part) { return !part.skips.empty(); });
}

std::string PartReport::table() const {
  std::vector<Part> groups;
  for (const Part& part : parts_) {
    auto found = std::find_if(groups.begin(), groups.end(), [&](const Part& other) { return other.group == part.group; });
    if (found == groups.end()) {
      groups.push_back(Part{});
      found = std::prev(groups.end());
      found->group = part.group;
      found->unchanged = true;
    }
    found->passed += part.passed;
    found->failed += part.failed;
    found->seconds += part.seconds;
    found->unchanged = found->unchanged && part.unchanged;
  }
  double minutes = 0;
  std::string text = fmt::format("\n{:<22} {:>8} {:>8} {:>9}\n", "part", "passed", "failed", "minutes");
  for (const Part& group : groups) {
    minutes += group.seconds / 60;
    text += fmt::format("{:<22} {:>8} {:>8} {:>9}\n", group.group, group.passed, group.failed,
                        group.unchanged ? "unchanged" : fmt::format("{:.2f}", group.seconds / 60));
  }
  text += fmt::format("{:<22} {:>8} {:>8} {:>9.2f}\n", "all", passed(), failed(), minutes);
  text += skipped_anything() || !left_out_.empty() ? "\nskipped:\n" : "\nskipped: nothing\n";
  for (const std::string& what : left_out_) text += fmt::format("  {}\n", what);
  for (const Part& part : parts_) {
    for (const std::string& why : part.skips) text += fmt::format("  {}, {}: {}\n", part.group, part.name, why);
  }
  if (failed() > 0) text += "\nfailed:\n";
  for (const Part& part : parts_) {
    if (part.failed > 0) text += fmt::format("  {}, {}: {}\n", part.group, part.name, part.failed);
  }
  return text;
}

std::string PartReport::json() const {
  nlohmann::ordered_json parts = nlohmann::ordered_json::array();
  for (const Part& part : parts_) {
    parts.push_back({{"group", part.group},
                     {"name", part.name},
                     {"passed", part.passed},
                     {"failed", part.failed},
                     {"seconds", part.seconds},
                     {"unchanged", part.unchanged},
                     {"skipped", part.skips},
                     {"complaints", part.complaints}});
  }
  const nlohmann::ordered_json out = {
      {"passed", passed()}, {"failed", failed()}, {"left_out", left_out_}, {"parts", parts}};
  return out.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

std::string fingerprint(const std::vector<fs::path>& paths, const std::string& more) {
  Hash hash;
  hash.add(more);
  for (const fs::path& path : paths) {
    if (fs::is_directory(path)) {
      for (const fs::path& file : files_in(path)) add_file(hash, file);
    } else if (fs::exists(path)) {
      add_file(hash, path);
    }
  }
  return fmt::format("{:016x}", hash.value());
}

}  // namespace tito
