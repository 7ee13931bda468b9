// No operator without a row.
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "package/recorded.h"
#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

namespace fs = std::filesystem;

// Operators that the table cannot hold, and who tests them instead.
const std::map<std::string, std::string> elsewhere{
    {"created", "gives a new tensor its layers: every row of a function that creates one"},
    {"to_device", "moves to a device from outside, which PyTorch does not have: chapters 84 and 66"},
    {"parameter", "registers a parameter: module 03 and 05"},
    {"bernoulli_", "PyTorch draws from Intel's generator here: chapter 90"},
    {"_scaled_dot_product_flash_attention_for_cpu_backward", "the gradients of the rows of the forward pass go through it, tuned and reference"},
    {"_thnn_fused_lstm_cell_backward", "the gradients of the rows of the forward pass go through it, tuned and reference"},
    {"grid_places", "gives what grid_sampler reads: its rows go through it"},
    {"read_nearest", "the rows of grid_sampler that ask for nearest pixels go through it"},
    {"exponential_", "PyTorch draws from Intel's generator here: chapter 90"},
};

// The headers that this program was compiled with stand beside it; without them, the exported ones do.
fs::path headers() {
  const fs::path beside = fs::read_symlink("/proc/self/exe").parent_path().parent_path() / "include/tinytorch";
  return fs::is_directory(beside) ? beside : project_folder() / "tinytorch";
}

std::set<std::string> declared_operators() {
  static const std::regex declaration(R"(extern Operator<[^;]*>\s+(\w+)\s*;)");
  std::set<std::string> names;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(headers())) {
    if (entry.path().extension() != ".h") continue;
    std::ostringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    const std::string contents = text.str();
    for (std::sregex_iterator match(contents.begin(), contents.end(), declaration), end; match != end; ++match)
      names.insert((*match)[1]);
  }
  return names;
}

}  // namespace

TEST_CASE("every operator of the headers has a row in the table") {
  std::set<std::string, std::less<>> rows;
  for (const OperatorCase& row : all_cases()) rows.emplace(row.operator_name());
  const std::set<std::string> declared = declared_operators();
  CHECK(declared.size() > 100);
  for (const std::string& name : declared)
    CHECK_MESSAGE((rows.contains(name) || elsewhere.contains(name)), name, " has no row: see docs/adding_an_operator.md");
  for (const auto& excused : elsewhere) {
    const auto& name = excused.first;
    CHECK_MESSAGE(declared.contains(name), name, " is excused but not declared");
    CHECK_MESSAGE(!rows.contains(name), name, " is excused but has a row");
  }
}

}  // namespace tinytorch::testing
