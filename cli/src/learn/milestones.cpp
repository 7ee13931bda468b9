#include "learn/milestones.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <sstream>
#define TOML_EXCEPTIONS 1
#include <toml++/toml.h>

#include "learn/text_files.h"

namespace tito {
namespace {

std::vector<std::string> strings(const toml::array* array) {
  std::vector<std::string> out;
  if (array == nullptr) return out;
  for (const toml::node& node : *array) out.push_back(node.value_or(std::string()));
  return out;
}

Gate gate_of(const toml::table& table) {
  Gate gate;
  gate.label = table["label"].value_or(std::string());
  gate.data = table["data"].value_or(std::string());
  gate.from = table["from"].value_or(0);
  gate.every = table["every"].value_or(1);
  gate.at_least = table["at_least"].value_or(0.0);
  gate.at_most = table["at_most"].value_or(1.0);
  if (const toml::array* classes = table["classes"].as_array()) {
    for (const toml::node& node : *classes) gate.classes.push_back(node.value_or(-1));
  }
  return gate;
}

std::vector<Gate> gates_of(const toml::table& table) {
  std::vector<Gate> gates;
  if (const toml::array* all = table["gate"].as_array()) {
    for (const toml::node& node : *all) {
      if (const toml::table* gate = node.as_table()) gates.push_back(gate_of(*gate));
    }
  }
  return gates;
}

Milestone milestone_of(const toml::table& table) {
  Milestone milestone;
  milestone.name = table["name"].value_or(std::string());
  milestone.title = table["title"].value_or(std::string());
  milestone.after = table["after"].value_or(std::string());
  milestone.story = table["story"].value_or(std::string());
  milestone.rests_on = strings(table["rests_on"].as_array());
  milestone.closed_by = strings(table["closed_by"].as_array());
  milestone.gates = gates_of(table);
  if (const toml::array* runs = table["larger"].as_array()) {
    for (const toml::node& node : *runs) {
      if (const toml::table* run = node.as_table())
        milestone.larger.push_back({(*run)["data"].value_or(std::string()), (*run)["argument"].value_or(std::string()), gates_of(*run)});
    }
  }
  return milestone;
}

// In MNIST's format: four bytes that say so, four that count, and a byte for each label.
std::vector<int> packed_labels_of(const fs::path& file) {
  const ProcessResult unpacked = run_process({"gzip", "-dc", file.string()});
  constexpr std::size_t head = 8;
  if (!unpacked.ok() || unpacked.output.size() < head || !unpacked.output.starts_with(std::string("\0\0\x08\x01", 4))) {
    throw std::runtime_error(fmt::format("{} does not have the labels that judge this run: 'tito data get' brings them", file.string()));
  }
  std::vector<int> labels;
  for (std::size_t i = head; i < unpacked.output.size(); ++i) labels.push_back(static_cast<unsigned char>(unpacked.output[i]));
  return labels;
}

// The labels of a data file: the last number of each line.
std::vector<int> labels_of(const fs::path& file) {
  if (file.extension() == ".gz") return packed_labels_of(file);
  std::vector<int> labels;
  for (const std::string& line : split_lines(read_text(file))) {
    if (!line.empty()) labels.push_back(std::atoi(line.c_str() + line.rfind(',') + 1));
  }
  return labels;
}

// Row -> class, from the lines "guess LABEL ROW CLASS".
std::map<int, int> guesses_of(const std::string& output, const std::string& label) {
  std::map<int, int> guesses;
  for (const std::string& line : split_lines(output)) {
    std::istringstream words(line);
    std::string word, name;
    int row = 0, guess = 0;
    if (words >> word >> name >> row >> guess && word == "guess" && name == label) guesses[row] = guess;
  }
  return guesses;
}

// The share of the rows asked for whose guess is right; a row without a guess is wrong.
double accuracy(const Gate& gate, const std::vector<int>& labels, const std::map<int, int>& guesses) {
  std::size_t asked = 0;
  std::size_t right = 0;
  int position = 0;
  for (std::size_t row = static_cast<std::size_t>(gate.from); row < labels.size(); ++row) {
    const bool wanted = gate.classes.empty() || std::find(gate.classes.begin(), gate.classes.end(), labels[row]) != gate.classes.end();
    if (!wanted || position++ % gate.every != 0) continue;
    ++asked;
    const auto guess = guesses.find(static_cast<int>(row));
    right += guess != guesses.end() && guess->second == labels[row] ? 1 : 0;
  }
  return asked == 0 ? 0 : static_cast<double>(right) / static_cast<double>(asked);
}

}  // namespace

std::vector<Milestone> read_milestones(const fs::path& course) {
  const fs::path file = course / "milestones/milestones.toml";
  const std::string text = read_if_there(file);
  std::vector<Milestone> out;
  try {
    const toml::table table = toml::parse(text);
    if (const toml::array* all = table["milestone"].as_array()) {
      for (const toml::node& node : *all) {
        if (const toml::table* entry = node.as_table()) out.push_back(milestone_of(*entry));
      }
    }
  } catch (const toml::parse_error& error) {
    throw Diagnostic(file, static_cast<int>(error.source().begin.line), std::string(error.description()));
  }
  return out;
}

const Milestone& find_milestone(const std::vector<Milestone>& milestones, const std::string& name) {
  std::string known;
  for (const Milestone& milestone : milestones) {
    const std::size_t line = milestone.name.find('_');
    if (name == milestone.name || name == milestone.name.substr(0, line) || name == milestone.name.substr(line + 1)) return milestone;
    known += (known.empty() ? "" : ", ") + milestone.name;
  }
  throw std::runtime_error(fmt::format("unknown milestone '{}'; there are: {}", name, known));
}

std::string WithoutGuesses::add(std::string_view text) {
  constexpr std::string_view guess = "guess ";
  std::string shown;
  for (const char letter : text) {
    if (line_is_shown_) {
      shown += letter;
    } else if (!line_is_guess_) {
      held_ += letter;
      line_is_guess_ = held_ == guess;
      line_is_shown_ = !guess.starts_with(held_);
      if (line_is_shown_) shown += held_;
    }
    if (letter != '\n') continue;
    held_.clear();
    line_is_shown_ = line_is_guess_ = false;
  }
  return shown;
}

std::string right_guesses(const Gate& gate, const fs::path& data) {
  std::string out;
  int row = 0;
  for (const int label : labels_of(data / gate.data)) out += fmt::format("guess {} {} {}\n", gate.label, row++, label);
  return out;
}

GateResult judge(const std::vector<Gate>& gates, const std::string& output, const fs::path& data) {
  GateResult result{!gates.empty(), ""};
  for (const Gate& gate : gates) {
    const std::map<int, int> guesses = guesses_of(output, gate.label);
    const double share = accuracy(gate, labels_of(data / gate.data), guesses);
    const bool good = !guesses.empty() && share >= gate.at_least && share <= gate.at_most;
    std::string wanted;
    if (gate.at_least > 0) wanted += fmt::format("at least {:.1f} %", 100 * gate.at_least);
    if (gate.at_most < 1) wanted += fmt::format("{}at most {:.1f} %", wanted.empty() ? "" : " and ", 100 * gate.at_most);
    result.report += guesses.empty() ? fmt::format("{}: it says nothing; {} are asked for\n", gate.label, wanted)
                                     : fmt::format("{}: {:.1f} % right; asked for: {}\n", gate.label, 100 * share, wanted);
    result.open = result.open && good;
  }
  return result;
}

}  // namespace tito
