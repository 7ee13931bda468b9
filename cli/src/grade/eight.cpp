#include "grade/eight.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>

#include "build/parallel.h"
#include "format/student.h"
#include "grade/grader.h"
#include "learn/text_files.h"

namespace tito {
namespace {

using Lines = std::vector<std::string>;

const Hole& hole_named(const Module& module, const std::string& id) {
  const auto found = std::find_if(module.holes.begin(), module.holes.end(), [&](const Hole& hole) { return hole.grade_id == id; });
  if (found == module.holes.end()) throw std::runtime_error("no exercise " + id + " in " + module.folder());
  return *found;
}

// The student's copy with these bodies in its exercises: grade_id -> the lines between the braces.
std::string filled(const Module& module, const std::map<std::string, Lines>& bodies) {
  const Module copy = parse_module(module.file, student_copy(module), Edition::Student);
  std::string out = join_lines(copy.header);
  for (std::size_t i = 0; i < copy.cells.size(); ++i) {
    Lines body = copy.cells[i].body;
    for (const Hole& hole : copy.holes) {
      const auto found = bodies.find(hole.grade_id);
      if (hole.cell != i || found == bodies.end()) continue;
      const auto first = body.begin() + static_cast<std::ptrdiff_t>(hole.body_first);
      const auto stop = body.begin() + static_cast<std::ptrdiff_t>(hole.body_last) + 1;
      body.insert(body.erase(first, stop), found->second.begin(), found->second.end());
    }
    out += "\n" + copy.cells[i].title_line + "\n" + join_lines(body);
  }
  return out;
}

std::map<std::string, Lines> right_bodies(const Module& module) {
  std::map<std::string, Lines> bodies;
  for (const Hole& hole : module.holes) {
    const Lines& body = module.cells[hole.cell].body;
    bodies[hole.grade_id] = Lines(body.begin() + static_cast<std::ptrdiff_t>(hole.body_first),
                                  body.begin() + static_cast<std::ptrdiff_t>(hole.body_last) + 1);
  }
  return bodies;
}

// Every graded test replaced by one that checks nothing and is worth a hundred points.
std::string with_empty_tests(const Module& module, const std::string& text) {
  const CellFile file = parse_cells(module.file, text);
  std::string out = join_lines(file.header);
  int count = 0;
  for (const Cell& cell : file.cells) {
    const bool test = cell.nbgrader_flag("grade") && cell.nbgrader_flag("locked");
    std::string title = cell.title_line;
    if (test) title.replace(title.find("\"points\": "), title.find(',', title.find("\"points\": ")) - title.find("\"points\": "), "\"points\": 100");
    out += "\n" + title + "\n" + (test ? fmt::format("TEST_CASE(\"nothing {}\") {{\n}}\n", ++count) : join_lines(cell.body));
  }
  return out;
}

std::pair<std::string, Lines> hard_coded(const Module& module, const fs::path& tests) {
  for (const Hole& hole : module.holes) {
    const fs::path file = tests / "hard_coded" / (hole.grade_id + ".txt");
    if (fs::exists(file)) return {hole.grade_id, split_lines(read_text(file))};
  }
  throw std::runtime_error(fmt::format("{} has no body for an exercise of {} that knows the tests' answers", (tests / "hard_coded").string(), module.folder()));
}

// An exercise with a test of its own that little else stands on: the last one.
const Hole& last_exercise(const Module& module) { return module.holes.back(); }

Submission submission_of(const std::string& name, const std::string& text, const fs::path& folder) {
  const fs::path file = folder / (name + ".cpp");
  write_atomically(file, text);
  return read_submission(file);
}

fs::path work_folder(const StageBuild& build, const Module& module) { return build.directory() / "grading" / module.folder(); }

// In the sandbox where there is one, else with the limits alone: then the scores must be the same.
Sandbox sandbox_for(const fs::path& folder) {
  fs::create_directories(folder);
  try {
    return Sandbox::isolated(folder);
  } catch (const std::runtime_error&) {
    return Sandbox::none();
  }
}

GradingLimits limits_for_trials() {
  GradingLimits limits;
  limits.seconds_per_test = 4;
  return limits;
}

constexpr std::string_view by_visible_tests = "hard-coded, by visible tests";

// The grades by name; the hard-coded one also as it would be without hidden tests. Like a class, those with the same text are graded once.
std::map<std::string, Grade> grades_of_eight(const StageBuild& build, const Module& module, const fs::path& tests) {
  const fs::path folder = work_folder(build, module);
  const Grader grader(build, module, sandbox_for(folder), folder, limits_for_trials());
  std::map<std::string, std::vector<std::string>> names;  // by fingerprint
  std::vector<std::pair<std::string, Submission>> different;
  for (const auto& [name, text] : eight_submissions(module, tests)) {
    const Submission submission = submission_of(name, text, folder / "eight");
    std::vector<std::string>& same = names[grader.fingerprint(submission)];
    if (same.empty()) different.emplace_back(name, submission);
    same.push_back(name);
  }
  std::map<std::string, Grade> out;
  std::mutex mutex;
  in_parallel(different.size(), "grading eight submissions of " + module.folder(), [&](std::size_t i) {
    const auto& [name, submission] = different[i];
    const bool twice = name == "hard-coded";
    const auto [grade, visible] = twice ? grader.grade_also_visible(submission) : std::pair(grader.grade(submission), Grade());
    const std::lock_guard lock(mutex);
    for (const std::string& other : names.at(grader.fingerprint(submission))) out[other] = grade;
    if (twice) out[std::string(by_visible_tests)] = visible;
  });
  return out;
}

std::set<std::string> failed_cells(const Grade& grade) {
  std::set<std::string> out;
  for (const GradedCell& cell : grade.cells) {
    if (!cell.passed) out.insert(cell.grade_id);
  }
  return out;
}

bool any_text_has(const Grade& grade, std::string_view part) {
  return std::any_of(grade.cells.begin(), grade.cells.end(), [&](const GradedCell& cell) { return cell.text.find(part) != std::string::npos; });
}

Answer::State state_of(const Grade& grade, const std::string& id) {
  for (const Answer& answer : grade.answers) {
    if (answer.grade_id == id) return answer.state;
  }
  return Answer::State::Missing;
}

std::string first_text(const Grade& grade) {
  for (const Answer& answer : grade.answers) {
    if (answer.state == Answer::State::Refused) return answer.grade_id + ": " + answer.message;
  }
  for (const GradedCell& cell : grade.cells) {
    if (!cell.passed) return cell.text;
  }
  return "";
}

fs::path expected_file(const fs::path& tests) { return tests / "expected.json"; }

nlohmann::ordered_json expected_scores(const fs::path& tests) {
  const std::string text = read_if_there(expected_file(tests));
  return text.empty() ? nlohmann::ordered_json::object() : nlohmann::ordered_json::parse(text);
}

// The cell that the exercise is tested by: the first graded one from it on.
std::string test_of(const Module& module, const std::string& id) {
  for (const Test& test : module.tests) {
    if (test.graded && std::find(test.holes.begin(), test.holes.end(), id) != test.holes.end()) return test.grade_id;
  }
  return "";
}

// What each of the eight must show, beside its score; empty when it does.
std::string complaint_about(const std::string& name, const std::map<std::string, Grade>& grades, const Module& module, const fs::path& tests) {
  const Grade& grade = grades.at(name);
  const std::string last = last_exercise(module).grade_id;
  const auto want = [](bool good, const std::string& text) { return good ? std::string() : text; };
  if (name == "right") return want(failed_cells(grade).empty(), "the reference's own bodies lose points:\n" + first_text(grade));
  if (name == "untouched") return want(grade.score() == 0, fmt::format("empty exercises get {:g} points", grade.score()));
  if (name == "hard-coded") {
    const std::string test = test_of(module, hard_coded(module, tests).first);
    if (!failed_cells(grade).contains(test)) return "its hidden test passes:\n" + first_text(grade);
    // Only hidden tests tell it from a right one.
    const Grade& visible = grades.at(std::string(by_visible_tests));
    return want(!failed_cells(visible).contains(test), "it does not pass the visible test:\n" + first_text(visible));
  }
  if (name == "syntax-error") {
    const auto refused = std::count_if(grade.answers.begin(), grade.answers.end(), [](const Answer& answer) { return answer.state == Answer::State::Refused; });
    return want(state_of(grade, last) == Answer::State::Refused && refused == 1, fmt::format("{} answers are refused:\n{}", refused, first_text(grade)));
  }
  if (name == "segfault") return want(any_text_has(grade, "the program crashed in this test"), "no test says that it crashed:\n" + first_text(grade));
  if (name == "endless-loop") return want(any_text_has(grade, "the test did not end"), "no test says that it did not end:\n" + first_text(grade));
  if (name == "tampered") {
    return want(failed_cells(grade) == failed_cells(grades.at("wrong")), "changed tests change what fails");
  }
  const std::string says = module.mistakes.front().says;
  const bool told = std::any_of(grade.mistakes.begin(), grade.mistakes.end(), [&](const KnownMistake& mistake) { return mistake.says == says; });
  return want(!failed_cells(grade).empty() && told, "the known mistake is not recognized:\n" + first_text(grade));
}

}  // namespace

std::vector<std::pair<std::string, std::string>> eight_submissions(const Module& module, const fs::path& tests) {
  const std::map<std::string, Lines> right = right_bodies(module);
  const auto with = [&](const std::string& id, const Lines& body) {
    std::map<std::string, Lines> bodies = right;
    bodies[id] = body;
    return filled(module, bodies);
  };
  const std::string last = last_exercise(module).grade_id;
  const Mistake& mistake = module.mistakes.at(0);
  const std::string wrong = with(hole_named(module, mistake.grade_id).grade_id, mistake.body);
  const auto [known, answers] = hard_coded(module, tests);
  return {{"endless-loop", with(last, {"  for (volatile int i = 0;; i = i + 1) {", "  }"})},  // first, since it takes longest
          {"right", filled(module, right)},
          {"wrong", wrong},
          {"hard-coded", with(known, answers)},
          {"untouched", filled(module, {})},
          {"syntax-error", with(last, {"  int x = ;", "  return this is not C++;"})},
          {"segfault", with(last, {"  *static_cast<volatile int*>(nullptr) = 1;", "  throw 1;"})},
          {"tampered", with_empty_tests(module, wrong)}};
}

std::vector<Proof> prove_grading(const StageBuild& build, const Module& module, const fs::path& tests) {
  const nlohmann::ordered_json expected = expected_scores(tests);
  const std::map<std::string, Grade> grades = grades_of_eight(build, module, tests);
  std::vector<Proof> proofs;
  for (const auto& [name, text] : eight_submissions(module, tests)) {
    Proof proof{module.folder() + ", " + name, complaint_about(name, grades, module, tests)};
    const double score = grades.at(name).score();
    const bool known = expected.contains(module.folder()) && expected[module.folder()].contains(name);
    if (!known) {
      proof.complaint += fmt::format("no score is recorded: tito grade eight {} --record", module.number);
    } else if (expected[module.folder()][name] != score) {
      proof.complaint += fmt::format("{:g} points instead of {}\n{}", score, expected[module.folder()][name].dump(), first_text(grades.at(name)));
    }
    proofs.push_back(proof);
  }
  return proofs;
}

void record_eight(const StageBuild& build, const Module& module, const fs::path& tests) {
  nlohmann::ordered_json expected = expected_scores(tests);
  nlohmann::ordered_json& entry = expected[module.folder()] = nlohmann::ordered_json::object();
  const std::map<std::string, Grade> grades = grades_of_eight(build, module, tests);
  for (const auto& [name, text] : eight_submissions(module, tests)) {
    const Grade& grade = grades.at(name);
    entry[name] = grade.score();
    const std::string complaint = complaint_about(name, grades, module, tests);
    fmt::print("{} {}: {:g} of {:g} points in {:.1f} s{}\n", module.folder(), name, grade.score(), grade.points(), grade.seconds,
               complaint.empty() ? "" : "; " + complaint);
  }
  write_atomically(expected_file(tests), expected.dump(1) + "\n");
}

// ---- Isolation.

namespace {

// Something outside of the sandbox that a submission must not reach.
class Outside {
 public:
  explicit Outside(const fs::path& folder) : folder_(folder) {
    fs::remove_all(folder_);
    write_atomically(secret(), secret_text());
    write_atomically(gradebook(), "grades");
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(socket_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(socket_, 8) != 0 ||
        getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
      throw std::runtime_error("no socket to listen on");
    }
    port_ = address.sin_port;
  }
  ~Outside() { close(socket_); }
  Outside(const Outside&) = delete;
  Outside& operator=(const Outside&) = delete;

  fs::path secret() const { return folder_ / "solutions.txt"; }
  fs::path gradebook() const { return folder_ / "gradebook.db"; }
  fs::path written() const { return folder_ / "written.txt"; }
  static std::string secret_text() { return "the solution is 42"; }
  unsigned short port() const { return port_; }  // in network order

  bool was_called() const {
    pollfd waiting{socket_, POLLIN, 0};
    return poll(&waiting, 1, 200) > 0;
  }

 private:
  fs::path folder_;
  int socket_ = -1;
  unsigned short port_ = 0;
};

// The attempt as the body of median_of, which says by its error how far it came.
struct Attempt {
  std::string name;
  std::string helpers;  // above the function
  std::string body;
};

std::vector<Attempt> attempts(const Outside& outside) {
  const std::string quoted_secret = nlohmann::json(outside.secret().string()).dump();
  const std::string quoted_grades = nlohmann::json(outside.gradebook().string()).dump();
  const std::string quoted_new = nlohmann::json(outside.written().string()).dump();
  const std::string end = "  throw std::runtime_error(\"refused\");";
  return {
      {"network",
       "extern \"C\" int socket(int, int, int) noexcept;\nextern \"C\" int connect(int, const void*, unsigned);\n",
       fmt::format("  const struct {{ unsigned short family, port; unsigned address; char rest[8]; }} there = {{2, {}, 0x0100007f, {{}}}};\n"
                   "  if (connect(socket(2, 1, 0), &there, sizeof there) == 0) throw std::runtime_error(\"reached the network\");\n{}",
                   outside.port(), end)},
      {"file to read", "",
       fmt::format("  if (std::FILE* file = std::fopen({}, \"r\")) {{\n    char text[100] = {{}};\n    static_cast<void>(!std::fgets(text, sizeof text, file));\n"
                   "    throw std::runtime_error(std::string(\"reached \") + text);\n  }}\n{}", quoted_secret, end)},
      {"file to write", "",
       fmt::format("  if (std::FILE* file = std::fopen({}, \"w\")) {{\n    std::fputs(\"here\", file);\n    std::fclose(file);\n"
                   "    throw std::runtime_error(\"reached a file\");\n  }}\n{}", quoted_new, end)},
      {"gradebook", "",
       fmt::format("  if (std::FILE* file = std::fopen({}, \"a\")) {{\n    std::fputs(\", all of them\", file);\n    std::fclose(file);\n"
                   "    throw std::runtime_error(\"reached the gradebook\");\n  }}\n{}", quoted_grades, end)},
      {"fork bomb", "extern \"C\" void _exit(int);\n",
       "  int started = 0;\n  for (int i = 0; i < 50; ++i) {\n    const int child = ::fork();\n    if (child == 0) _exit(0);\n    started += child > 0;\n  }\n"
       "  if (started > 0) throw std::runtime_error(\"reached \" + std::to_string(started) + \" processes\");\n" + end},
  };
}

// What it takes to write into the report what the tests would write: every test passed, and the program came to its end.
// `then` is what happens when it stands there.
Attempt forgery(const Module& module, const std::string& name, const std::string& body, const std::string& then) {
  std::string report = "{\"event\":\"start\"}\n";
  for (const Test& test : module.tests) {
    if (test.is_demo) continue;
    const nlohmann::ordered_json begun = {{"event", "test"}, {"test", test.name}, {"file", "tests.cpp"}, {"line", 1}};
    const nlohmann::ordered_json done = {{"event", "done"}, {"test", test.name}, {"passed", true}, {"checks", 1}, {"seconds", 0.0}};
    report += begun.dump() + "\n" + done.dump() + "\n";
  }
  report += "{\"event\":\"end\",\"tests\":1,\"failed\":0,\"checks\":1}\n";
  const std::string helpers = fmt::format(
      "extern \"C\" void _exit(int);\nextern \"C\" long write(int, const void*, unsigned long);\nextern \"C\" int ftruncate(int, long) noexcept;\n"
      "static int forge() {{\n  const std::string report = {};\n{}  {}\n  return 0;\n}}\n", nlohmann::json(report).dump(), body, then);
  return {name, helpers, "  forge();\n  throw std::runtime_error(\"refused\");"};
}

std::vector<Attempt> forgeries(const Module& module) {
  // The report's place is among the program's arguments.
  const std::string by_its_path =
      "  std::string words(4096, '\\0');\n  std::FILE* own = std::fopen(\"/proc/self/cmdline\", \"r\");\n"
      "  words.resize(std::fread(words.data(), 1, words.size(), own));\n  std::fclose(own);\n"
      "  const std::size_t at = words.find(\"--json=\") + 7;\n"
      "  std::FILE* file = std::fopen(words.substr(at, words.find('\\0', at) - at).c_str(), \"w\");\n"
      "  std::fputs(report.c_str(), file);\n  std::fclose(file);\n";
  const std::string through_open_files =
      "  for (int file = 3; file < 64; ++file) {\n    ftruncate(file, 0);\n    write(file, report.data(), report.size());\n  }\n";
  std::vector<Attempt> out{forgery(module, "a report written by its path", by_its_path, "_exit(0);"),
                           forgery(module, "a report written through open files", through_open_files, "_exit(0);"),
                           forgery(module, "a report written before main", by_its_path, "_exit(0);")};
  out.back().helpers += "static const int before_main = forge();\n";
  return out;
}

std::string with_attempt(const Module& module, const Attempt& attempt) {
  std::string text = filled(module, {{"00-median", split_lines(attempt.body)}});
  const std::size_t function = text.find("double median_of(std::vector<double> values) {", text.find("\"00-median\""));
  return text.insert(text.rfind('\n', function) + 1, attempt.helpers);
}

// Whether an attempt came through, by its own word or by what is outside.
bool came_through(const Attempt& attempt, const Grade& grade, const Outside& outside) {
  if (attempt.name == "network" && outside.was_called()) return true;
  if (attempt.name == "file to write" && fs::exists(outside.written())) return true;
  if (attempt.name == "gradebook" && read_text(outside.gradebook()) != "grades") return true;
  return any_text_has(grade, "reached ") || any_text_has(grade, Outside::secret_text());
}

}  // namespace

std::vector<Proof> prove_reports(const StageBuild& build, const Module& module) {
  const fs::path folder = work_folder(build, module);
  const std::vector<Attempt> tried = forgeries(module);
  std::vector<Proof> proofs;
  for (const bool sealed : {true, false}) {
    GradingLimits limits = limits_for_trials();
    limits.sealed_reports = sealed;
    const Grader grader(build, module, sandbox_for(folder), folder, limits);
    std::vector<Proof> found(tried.size());
    in_parallel(tried.size(), sealed ? "forged reports" : "forged reports that are believed", [&](std::size_t i) {
      const Grade grade = grader.grade(submission_of(fmt::format("forgery {}", i), with_attempt(module, tried[i]), folder / "eight"));
      Proof proof{fmt::format("{}, {}", tried[i].name, sealed ? "sealed" : "not sealed"), ""};
      if (state_of(grade, "00-median") != Answer::State::Answered) {
        proof.complaint = "the forgery does not compile: " + first_text(grade);
      } else if (sealed && grade.score() != 0) {
        proof.complaint = fmt::format("it gets {:g} of {:g} points", grade.score(), grade.points());
      } else if (!sealed && grade.score() == 0) {
        proof.complaint = "it gets no points without a seal either, so it proves nothing:\n" + first_text(grade);
      }
      found[i] = proof;
    });
    proofs.insert(proofs.end(), found.begin(), found.end());
  }
  return proofs;
}

std::string why_no_isolation(const StageBuild& build, const Module& module) {
  const fs::path folder = work_folder(build, module);
  fs::create_directories(folder);
  try {
    Sandbox::isolated(folder);
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

std::vector<Proof> prove_isolation(const StageBuild& build, const Module& module) {
  const fs::path folder = work_folder(build, module);
  fs::create_directories(folder);
  std::vector<Proof> proofs;
  for (const bool isolated : {true, false}) {
    const Grader grader(build, module, isolated ? Sandbox::isolated(folder) : Sandbox::none(), folder, limits_for_trials());
    const Outside outside(folder / "outside");
    const std::vector<Attempt> tried = attempts(outside);
    std::vector<Proof> found(tried.size());
    in_parallel(tried.size(), isolated ? "attempts in the sandbox" : "attempts without it", [&](std::size_t i) {
      const Attempt& attempt = tried[i];
      const Grade grade = grader.grade(submission_of(fmt::format("attempt {}", attempt.name), with_attempt(module, attempt), folder / "eight"));
      Proof proof{fmt::format("{} {}", attempt.name, isolated ? "in the sandbox" : "without it"), ""};
      if (state_of(grade, "00-median") != Answer::State::Answered) {
        proof.complaint = "the attempt does not compile: " + first_text(grade);
      } else if (came_through(attempt, grade, outside) == isolated) {
        proof.complaint = isolated ? "it comes through:\n" + first_text(grade) : "it is refused without a sandbox too, so it proves nothing:\n" + first_text(grade);
      } else if (isolated && !any_text_has(grade, "refused")) {
        proof.complaint = "it was never run:\n" + first_text(grade);
      }
      found[i] = proof;
    });
    proofs.insert(proofs.end(), found.begin(), found.end());
  }
  return proofs;
}

}  // namespace tito
