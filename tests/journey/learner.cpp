// A learner goes from an empty workspace through the course, with the program itself: each exercise is filled in the file, one
// after the other, and the tests are watched.
//
// TITO_JOURNEY names the last module to go to (00 without it), TITO_JOURNEY_EACH the last in which there is a test after each
// exercise (all without it); behind it a module is tested empty and when all is filled. TITO_JOURNEY_FOLDER keeps the workspace there,
// and the next run goes on where this one was stopped. Prints how long each module took.
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "build/process.h"
#include "learn/exercises.h"
#include "learn/progress.h"
#include "learn/text_files.h"
#include "learn/workspace.h"
#include "tito/lesson.h"

namespace tito {
namespace {

const fs::path course = fs::weakly_canonical(TITO_SOURCE_ROOT);

using Clock = std::chrono::steady_clock;

double seconds_between(Clock::time_point begin, Clock::time_point end) { return std::chrono::duration<double>(end - begin).count(); }

std::string variable(const char* name, const std::string& otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}

ProcessResult run_tito(const fs::path& where, const Command& arguments) {
  Command command{(course / "build/cli/tito").string()};
  command.insert(command.end(), arguments.begin(), arguments.end());
  ProcessOptions options;
  options.directory = where;
  options.environment = {{"TITO_ROOT", course.string()}};
  options.seconds = 1800;
  return run_process(command, options);
}

// Puts the reference's body where the hole is empty.
void fill(const fs::path& file, const Module& reference, const Hole& hole) {
  const Module mine = parse_module(file, Edition::Student);
  std::vector<std::string> lines = split_lines(read_text(file));
  const auto own = std::find_if(mine.holes.begin(), mine.holes.end(), [&](const Hole& other) { return other.grade_id == hole.grade_id; });
  REQUIRE(own != mine.holes.end());
  const Cell& cell = mine.cells[own->cell];
  const std::ptrdiff_t body = cell.body_line - 1;
  lines.erase(lines.begin() + body + static_cast<std::ptrdiff_t>(own->body_first), lines.begin() + body + static_cast<std::ptrdiff_t>(own->body_last) + 1);
  const std::vector<std::string>& source = reference.cells[hole.cell].body;
  lines.insert(lines.begin() + body + static_cast<std::ptrdiff_t>(own->body_first), source.begin() + static_cast<std::ptrdiff_t>(hole.body_first),
               source.begin() + static_cast<std::ptrdiff_t>(hole.body_last) + 1);
  write_atomically(file, join_lines(lines));
}

bool is_empty_in(const fs::path& file, const Hole& hole) {
  const Module mine = parse_module(file, Edition::Student);
  return std::any_of(mine.holes.begin(), mine.holes.end(), [&](const Hole& own) { return own.grade_id == hole.grade_id && is_empty(mine, own); });
}

nlohmann::json test_report(const fs::path& workspace, const std::string& number) {
  const ProcessResult result = run_tito(workspace, {"test", number, "--json"});
  nlohmann::json report = nlohmann::json::parse(result.output, nullptr, false);
  if (!report.is_object()) FAIL(result.output);
  return report;
}

std::string state_of(const nlohmann::json& report, const std::string& exercise) {
  for (const nlohmann::json& entry : report["exercises"]) {
    if (entry["id"] == exercise) return entry["state"];
  }
  return "missing";
}

// The exercise's own tests: those that no exercise before it has.
std::vector<const Test*> own_tests(const Module& module, const Hole& hole) {
  std::vector<const Test*> out;
  for (const Test& test : module.tests) {
    if (test.graded && !test.holes.empty() && test.holes.back() == hole.grade_id) out.push_back(&test);
  }
  return out;
}

// The exercise whose emptiness a test of the report names, from `holes` on; nothing when it does not fail by a name.
const Hole* waits_for(const nlohmann::json& report, const Test& test, const std::vector<Hole>& holes, std::size_t first) {
  for (const nlohmann::json& failure : report["failures"]) {
    if (failure["test"] != test.name) continue;
    const std::string values = failure["values"];
    for (std::size_t i = first; i < holes.size(); ++i) {
      if (values.find(holes[i].message()) != std::string::npos) return &holes[i];
    }
  }
  return nullptr;
}

// While the exercise is empty, its tests fail by the name of one that is.
void check_fails_by_name(const nlohmann::json& report, const Module& module, std::size_t index) {
  CHECK_EQ(state_of(report, module.holes[index].grade_id), "empty");
  for (const Test* test : own_tests(module, module.holes[index])) {
    CHECK_MESSAGE(waits_for(report, *test, module.holes, 0) != nullptr, test->name);
  }
}

// When it is filled, they pass, but for one that names an exercise further down.
void check_passes(const nlohmann::json& report, const Module& module, std::size_t index) {
  bool waits = false;
  for (const Test* test : own_tests(module, module.holes[index])) waits = waits || waits_for(report, *test, module.holes, index + 1) != nullptr;
  if (!waits) CHECK_MESSAGE(state_of(report, module.holes[index].grade_id) == "passed", report["text"].get<std::string>());
  else CHECK_NE(state_of(report, module.holes[index].grade_id), "empty");
}

// Whether a graded test follows this hole before the next one.
bool is_tested_at_once(const Module& module, std::size_t index) {
  const std::size_t next = index + 1 < module.holes.size() ? module.holes[index + 1].cell : module.cells.size();
  return std::any_of(module.tests.begin(), module.tests.end(),
                     [&](const Test& test) { return test.graded && test.cell > module.holes[index].cell && test.cell < next; });
}

void go_through(const fs::path& workspace, const Module& module, bool each) {
  CAPTURE(module.folder());
  const Clock::time_point begin = Clock::now();
  const fs::path file = workspace / "modules" / module.folder() / module.file.filename();
  const ProcessResult started = run_tito(workspace, {"start", module.number});
  REQUIRE_MESSAGE(started.ok(), started.output);
  const Clock::time_point ready = Clock::now();
  nlohmann::json before;  // the last report: what is true until the next exercise is filled
  for (std::size_t i = 0; i < module.holes.size(); ++i) {
    const Hole& hole = module.holes[i];
    CAPTURE(hole.grade_id);
    if (!is_empty_in(file, hole)) continue;  // an earlier run was stopped behind it
    if (i == 0) before = test_report(workspace, module.number);
    if (before.is_object()) check_fails_by_name(before, module, i);
    fill(file, module, hole);
    if (!each || !is_tested_at_once(module, i)) continue;
    before = test_report(workspace, module.number);
    REQUIRE_MESSAGE(before["compiled"] == true, before["messages"].get<std::string>());
    check_passes(before, module, i);
  }
  const nlohmann::json last = test_report(workspace, module.number);
  CHECK_MESSAGE(last["ok"] == true, last["text"].get<std::string>());
  for (const Hole& hole : module.holes) {
    if (!own_tests(module, hole).empty()) CHECK_MESSAGE(state_of(last, hole.grade_id) == "passed", hole.grade_id);
  }
  const Clock::time_point tested = Clock::now();
  const ProcessResult completed = run_tito(workspace, {"complete", module.number});
  CHECK_MESSAGE(completed.ok(), completed.output);
  fmt::print("{}: {:.0f} s, {:.0f} of them to begin with, {:.0f} to complete it\n", module.folder(), seconds_between(begin, Clock::now()),
             seconds_between(begin, ready), seconds_between(tested, Clock::now()));
  std::fflush(stdout);
}

}  // namespace

TEST_CASE("journey: module after module, from an empty workspace") {
  const std::string stop = variable("TITO_JOURNEY", "00");
  const std::string each = variable("TITO_JOURNEY_EACH", stop);
  const std::string kept = variable("TITO_JOURNEY_FOLDER", "");
  const fs::path folder = kept.empty() ? fs::temp_directory_path() / ("tito_journey_" + std::to_string(getpid())) : fs::path(kept);
  if (kept.empty()) fs::remove_all(folder);
  fs::create_directories(folder);
  const fs::path workspace = folder / "my-torch";
  if (!fs::exists(workspace)) REQUIRE(run_tito(folder, {"init", workspace.string()}).ok());
  for (const Module& module : load_course(course)) {
    if (module.library_chapter || module.number > stop) continue;
    const Progress progress = read_progress({workspace, course});
    const auto entry = progress.modules.find(module.folder());
    if (entry == progress.modules.end() || entry->second.completed.empty()) go_through(workspace, module, module.number <= each);
  }
  if (kept.empty()) fs::remove_all(folder);
}

}  // namespace tito
