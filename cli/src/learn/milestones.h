// Milestones: the history of the field as programs on the learner's own package. Each opens with a module, and its gate is
// computed here, from the data and from what the program says, not by the learner's code.
//
// milestones/milestones.toml lists them; the program NAME.cpp prints, beside what it likes, lines
//
//   guess FILE ROW CLASS      its answer for one row of a data file (rows count from 0)
//
// and tito compares the answers with the labels in the file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "build/process.h"
#include "format/module.h"

namespace tito {

// Of the rows of a data file that the gate asks for, the share that must be right, or must not be exceeded.
struct Gate {
  std::string label;        // "with a hidden layer"; the second word of a guess line
  std::string data;         // "digits/optdigits.csv", in data/; or labels in MNIST's format, where the name ends in .gz
  int from = 0;              // only rows from this one on
  std::vector<int> classes;  // only rows with these labels; empty: all
  int every = 1;            // only each n-th of those rows, from the first on (what was held out)
  double at_least = 0;
  double at_most = 1;
};

// A further run of a milestone's program, where a public data set has been fetched.
struct LargerRun {
  std::string data;      // "tinyshakespeare.txt", in the folder that TINYTORCH_DATA names
  std::string argument;  // with which the program is called
  std::vector<Gate> gates;
};

struct Milestone {
  std::string name;   // "1958_perceptron"
  std::string title;
  std::string after;  // "03": it opens when this module is complete
  std::vector<std::string> rests_on;  // modules without which it must fail
  std::vector<std::string> closed_by;  // known mistakes that must close its gate: "12-block/no-residual"
  std::string story;
  std::vector<Gate> gates;
  std::vector<LargerRun> larger;
};

// In the order of the file; empty when there is none. Throws Diagnostic.
std::vector<Milestone> read_milestones(const fs::path& course);

// "2019_gpt", "gpt" or "2019" names the milestone 2019_gpt. Throws std::runtime_error with those that there are.
const Milestone& find_milestone(const std::vector<Milestone>& milestones, const std::string& name);

// What a milestone's program prints, without its lines "guess ...", as soon as it is there: a piece is held back only while it may become such a line.
class WithoutGuesses {
 public:
  // What may be shown after `text`.
  std::string add(std::string_view text);

 private:
  std::string held_;           // the beginning of a line, as long as it may be that of a guess
  bool line_is_shown_ = false;
  bool line_is_guess_ = false;
};

struct GateResult {
  bool open = false;
  std::string report;  // a sentence for each gate
};

// `output` is what the program printed, `data` the folder of the data files. Without gates nothing is open.
GateResult judge(const std::vector<Gate>& gates, const std::string& output, const fs::path& data);

// What a program would print that says everything right at this gate.
std::string right_guesses(const Gate& gate, const fs::path& data);

}  // namespace tito
