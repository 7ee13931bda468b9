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

// The name of a file of results without the suite's: the runs of one machine and one number of threads.
std::string set_of(const ResultsOfRun& run) {
  std::string suite;
  for (const BenchJson& result : run.content.at("results")) {
    const std::string name = result.at("suite");
    if (!suite.empty() && name != suite) return run.name;
    suite = name;
  }
  std::replace(suite.begin(), suite.end(), '-', '_');
  const std::string ending = "_" + suite;
  const bool ends = run.name.size() > ending.size() && run.name.compare(run.name.size() - ending.size(), ending.size(), ending) == 0;
  return ends ? run.name.substr(0, run.name.size() - ending.size()) : run.name;
}

// The sets in the order of their names, and the runs of each.
std::map<std::string, std::vector<const ResultsOfRun*>> sets_of(const std::vector<ResultsOfRun>& runs) {
  std::map<std::string, std::vector<const ResultsOfRun*>> sets;
  for (const ResultsOfRun& run : runs) sets[set_of(run)].push_back(&run);
  return sets;
}

// Of a set's runs each says what machine it was on, if that is not what the one before has said.
void add_machines(std::string& page, const std::vector<ResultsOfRun>& runs) {
  page += "## Measured on\n\n";
  if (runs.empty()) page += "Nothing was measured yet.\n\n";
  for (const auto& [set, members] : sets_of(runs)) {
    page += fmt::format("**{}**\n\n", set);
    std::string machine;
    for (const ResultsOfRun* run : members) {
      const BenchJson& m = run->content.at("machine");
      const std::string busy = run->content.at("settings").value("busy processes", "");
      const std::string here = fmt::format("{} with {}, {} cores, {}, {}; {} threads{}; ", m.at("cpu").get<std::string>(), vector_instructions(m), m.at("cores").get<int>(), m.at("os").get<std::string>(), m.at("compiler").get<std::string>(),
                                           run->content.at("settings").at("threads").get<std::string>(), busy.empty() ? "" : fmt::format(", {} busy beside them", busy));
      std::string versions;
      for (const auto& [name, version] : run->content.at("versions").items()) versions += fmt::format("{} {}, ", name, version.get<std::string>());
      const double load = m.at("load").get<double>();
      page += fmt::format("- `{}.json`: {}{}{}; load average {:.1f}{}\n", run->name, here == machine ? "" : here, versions, m.at("date").get<std::string>(), load,
                          load > m.at("cores").get<int>() ? " (**other programs wanted the processors as well: repeat it on a quiet machine before you believe it**)" : "");
      machine = here;
    }
    page += "\n";
  }
}

// One ratio that a target asks about.
struct Answer {
  std::string line, name, run, set, peer, ratio, verdict;
  double value, least, aim;
};

std::vector<Answer> answers_to(const BenchJson& cases, const std::vector<ResultsOfRun>& runs) {
  std::vector<Answer> answers;
  for (const BenchJson& one : cases) {
    const double least = one.at("at_least").get<double>();
    if (least == 0) continue;
    Answer answer{one.at("line"), one.at("name"), "", "", one.at("peers").at(0), "", "not measured", 0, least, one.at("aim").get<double>()};
    const std::size_t before = answers.size();
    for (const ResultsOfRun& run : runs) {
      const BenchJson* ratio = ratio_in(run, one, answer.peer);
      if (ratio == nullptr) continue;
      answer.run = run.name;
      answer.set = set_of(run);
      answer.ratio = readable_ratio(*ratio);
      answer.value = ratio->at("ratio").get<double>();
      answer.verdict = verdict_on(*ratio, least);
      answers.push_back(answer);
    }
    if (answers.size() == before) answers.push_back(answer);
  }
  return answers;
}

// The least and the greatest ratio of a row's cases in one set; empty where there is none.
template <class Belongs>
std::string summary_of(const std::vector<Answer>& answers, Belongs belongs) {
  const Answer *low = nullptr, *high = nullptr;
  bool missed = false, open = false;
  for (const Answer& answer : answers) {
    if (!belongs(answer)) continue;
    if (low == nullptr || answer.value < low->value) low = &answer;
    if (high == nullptr || answer.value > high->value) high = &answer;
    missed = missed || answer.verdict == "**not met**";
    open = open || answer.verdict == "undecided";
  }
  if (low == nullptr) return "";
  const std::string range = low == high ? fmt::format("{:.2f}", low->value) : fmt::format("{:.2f} to {:.2f}", low->value, high->value);
  return missed ? "**" + range + "**" : open ? range + " ?" : range;
}

// One row for a line, its peer and target, one column for a set.
void add_summary(std::string& page, const std::vector<Answer>& answers, const std::vector<ResultsOfRun>& runs) {
  page += "## In short\n\nHow many times as fast as the peer TinyTorch is: the least and the greatest ratio of a line's cases; above 1 TinyTorch is faster. **Bold**: a case is below what is wanted, with all of its interval. \"?\": what is wanted lies inside of a case's interval.\n\n";
  std::string head = "| work | against | at least | aim |", rule = "|---|---|---|---|";
  const auto sets = sets_of(runs);
  for (const auto& [set, members] : sets) {
    std::string words = set;
    std::replace(words.begin(), words.end(), '_', ' ');
    head += fmt::format(" {} |", words);
    rule += "---|";
  }
  page += head + "\n" + rule + "\n";
  std::vector<const Answer*> rows;
  const auto same_row = [](const Answer& a, const Answer& b) { return a.line == b.line && a.peer == b.peer && a.least == b.least; };
  for (const Answer& answer : answers) {
    if (std::none_of(rows.begin(), rows.end(), [&](const Answer* row) { return same_row(*row, answer); })) rows.push_back(&answer);
  }
  for (const Answer* row : rows) {
    page += fmt::format("| {} | {} | {} | {} |", row->line, row->peer, row->least, row->aim);
    for (const auto& column : sets) page += fmt::format(" {} |", summary_of(answers, [&](const Answer& answer) { return answer.set == column.first && same_row(*row, answer); }));
    page += "\n";
  }
}

// The texts of benchmarks/not_met.md, each under the line that it is about.
struct Reasons {
  std::string beginning;
  std::vector<std::pair<std::string, std::string>> sections;

  const std::string* about(const std::string& line) const {
    for (const auto& [title, text] : sections)
      if (title == line) return &text;
    return nullptr;
  }
};

Reasons read_reasons(const fs::path& root) {
  Reasons reasons;
  for (const std::string& line : split_lines(read_if_there(root / "benchmarks/not_met.md"))) {
    if (line.rfind("### ", 0) == 0) reasons.sections.emplace_back(line.substr(4), "");
    else (reasons.sections.empty() ? reasons.beginning : reasons.sections.back().second) += line + "\n";
  }
  return reasons;
}

bool is_in_question(const Answer& answer) { return answer.verdict == "**not met**" || answer.verdict == "undecided"; }

// The lines of which a run has missed a case, or cannot say, in the order of the cases.
std::vector<std::string> lines_in_question(const std::vector<Answer>& answers) {
  std::vector<std::string> lines;
  for (const Answer& answer : answers) {
    if (is_in_question(answer) && std::find(lines.begin(), lines.end(), answer.line) == lines.end()) lines.push_back(answer.line);
  }
  return lines;
}

void add_reasons(std::string& page, const std::vector<Answer>& answers, const Reasons& reasons) {
  page += "\n## Where a line is not met\n\n" + reasons.beginning;
  for (const std::string& line : lines_in_question(answers)) {
    page += fmt::format("### {}\n\n", line);
    for (const Answer& answer : answers) {
      if (answer.line == line && is_in_question(answer)) page += fmt::format("- {}, `{}`, against {}: {} of {}, {}\n", answer.name, answer.set, answer.peer, answer.ratio, answer.least, answer.verdict);
    }
    const std::string* text = reasons.about(line);
    page += text == nullptr ? "\n" : *text;
  }
}

void add_targets(std::string& page, const std::vector<Answer>& answers) {
  page += "## Every case with a target\n\nRatio with the 95 % interval. The peer of a case is the first one that `benchmarks/cases.json` names for it.\n\n";
  page += "| work | case | run | against | ratio | at least | aim | |\n|---|---|---|---|---|---|---|---|\n";
  for (const Answer& answer : answers) page += fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} |\n", answer.line, answer.name, answer.run, answer.peer, answer.ratio, answer.least, answer.aim, answer.verdict);
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
  const std::vector<ResultsOfRun> runs = results_in(root / "benchmarks/results");
  const std::vector<Answer> answers = answers_to(read_json_file(root / "benchmarks/cases.json"), runs);
  std::string page = "# Performance\n\n";
  page += "This page is written by `./tito bench --page` from `benchmarks/results/*.json`, which `./tito bench` leaves; `./tito test` compares them, so that no number of its tables and lists is typed in. The sentences of \"Where a line is not met\" are written by hand (`benchmarks/not_met.md`).\n";
  page += "How it is measured: [benchmarks/README.md](../benchmarks/README.md). All times: [performance_times.md](performance_times.md). What was changed, tried and found, in order: [benchmarks/notes.md](../benchmarks/notes.md).\n\n";
  page += "    ./tito bench --install torch,numpy,onnxruntime      # peers, into an environment of their own\n";
  page += "    ./tito bench all --threads 1 --json benchmarks/results/one_thread.json\n    ./tito bench --page\n\n";
  add_summary(page, answers, runs);
  add_reasons(page, answers, read_reasons(root));
  add_machines(page, runs);
  add_targets(page, answers);
  return page;
}

std::string performance_times_page(const fs::path& root) {
  std::string page = "# All times\n\nWritten by `./tito bench --page`, as [performance.md](performance.md) is. Median of the rounds of one call. A rate counts the arithmetic, or else the bytes, that the work cannot do without.\n";
  for (const ResultsOfRun& run : results_in(root / "benchmarks/results")) add_times(page, run);
  return page;
}

std::string check_performance_page(const fs::path& root) {
  if (!fs::exists(root / "benchmarks/cases.json")) return "";
  std::string complaints;
  const auto compare = [&](const char* file, const std::string& page) {
    if (page != read_if_there(root / file)) complaints += fmt::format("{} is not what benchmarks/results says; run: ./tito bench --page\n", file);
  };
  compare("docs/performance.md", performance_page(root));
  compare("docs/performance_times.md", performance_times_page(root));
  const std::vector<Answer> answers = answers_to(read_json_file(root / "benchmarks/cases.json"), results_in(root / "benchmarks/results"));
  const Reasons reasons = read_reasons(root);
  for (const Answer& answer : answers) {
    if (answer.verdict == "**not met**" && reasons.about(answer.line) == nullptr)
      complaints += fmt::format("{} of {} is not met, and benchmarks/not_met.md does not say why; write under \"### {}\" what was tried, what a profile shows and what stands in the way\n", answer.name, answer.run, answer.line);
  }
  const std::vector<std::string> open = lines_in_question(answers);
  for (const auto& [title, text] : reasons.sections) {
    if (std::find(open.begin(), open.end(), title) == open.end()) complaints += fmt::format("benchmarks/not_met.md has \"### {}\", but there is no such line that a run misses; delete it\n", title);
  }
  return complaints;
}

}  // namespace tito
