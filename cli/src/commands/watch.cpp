// tito watch NN: a live screen that tests the module whenever its file is saved.
#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "commands/commands.h"
#include "learn/explain.h"
#include "learn/handed_out.h"
#include "learn/hints.h"
#include "learn/lessons.h"
#include "learn/screen.h"

namespace tito {
namespace {

using Json = nlohmann::json;

// Tests the module in a process of its own, again and again.
class Tester {
 public:
  explicit Tester(Command command) : command_(std::move(command)) {}
  ~Tester() { stop(); }
  Tester(const Tester&) = delete;
  Tester& operator=(const Tester&) = delete;

  // Drops a run that is under way, and begins a new one.
  void start() {
    stop();
    cancelled_ = false;
    running_ = true;
    thread_ = std::jthread([this] { run(); });
  }
  bool running() const { return running_; }
  bool interrupted() const { return interrupted_; }
  // The result of a run, once.
  std::optional<Json> take() {
    const std::lock_guard lock(mutex_);
    std::optional<Json> out = std::move(result_);
    result_.reset();
    return out;
  }

 private:
  void stop() {
    cancelled_ = true;
    if (thread_.joinable()) thread_.join();
  }
  void run() {
    ProcessOptions options;
    options.cancelled = &cancelled_;
    Json result;
    try {
      const ProcessResult process = run_process(command_, options);
      result = Json::parse(process.output.substr(std::min(process.output.find('{'), process.output.size())), nullptr, false);
      if (!result.is_object()) result = Json{{"text", process.output}, {"ok", false}};
    } catch (const Interrupted&) {
      interrupted_ = true;
    } catch (const std::exception& error) {
      result = Json{{"text", error.what()}, {"ok", false}};
    }
    const std::lock_guard lock(mutex_);
    if (!cancelled_) result_ = result;
    running_ = false;
  }

  Command command_;
  std::atomic<bool> cancelled_ = false;
  std::atomic<bool> running_ = false;
  std::atomic<bool> interrupted_ = false;
  std::mutex mutex_;
  std::optional<Json> result_;
  std::jthread thread_;
};

class WatchScreen {
 public:
  WatchScreen(Workspace workspace, std::string folder, bool reference)
      : workspace_(std::move(workspace)), folder_(std::move(folder)), tester_(command(folder_, reference)) {}

  int run() {
    for (bool changed = true;;) {
      changed = test_if_saved() || changed;
      changed = take_result() || changed;
      const ScreenSize size = screen_size();
      changed = changed || size.rows != size_.rows || size.columns != size_.columns || tester_.running() != was_running_;
      size_ = size;
      was_running_ = tester_.running();
      if (changed) draw(lines(), size_);
      const int key = read_key(100);
      if (key == 'q' || key == 3 || key == -1) return 0;
      if (tester_.interrupted()) return 1;
      changed = key != 0;
      if (key == 'h') show_hint();
      if (key == 'n') choose_next();
    }
  }

 private:
  static Command command(const std::string& folder, bool reference) {
    Command command{fs::read_symlink("/proc/self/exe").string(), "test", folder, "--json"};
    if (reference) command.push_back("--reference");
    return command;
  }

  bool test_if_saved() {
    std::error_code error;
    const fs::file_time_type time = fs::last_write_time(workspace_.file_of(folder_), error);
    if (error || time == saved_) return false;
    saved_ = time;
    hint_.clear();
    tester_.start();
    return true;
  }

  bool take_result() {
    std::optional<Json> result = tester_.take();
    if (!result) return false;
    result_ = std::move(*result);
    exercises_ = result_.value("exercises", Json::array());
    if (chosen_ >= exercises_.size() || exercises_[chosen_].value("state", "") == "passed") choose_first();
    return true;
  }

  bool is_open(std::size_t i) const {
    return exercises_[i].value("state", "") != "passed" && exercises_[i].value("kind", "") != "explain";
  }
  void choose_first() {
    for (chosen_ = 0; chosen_ < exercises_.size() && !is_open(chosen_); ++chosen_) {
    }
  }
  void choose_next() {
    hint_.clear();
    for (std::size_t step = 1; step <= exercises_.size(); ++step) {
      const std::size_t i = (chosen_ + step) % exercises_.size();
      if (!is_open(i)) continue;
      chosen_ = i;
      return;
    }
  }

  void show_hint() {
    hint_.clear();
    if (chosen_ >= exercises_.size()) return;
    const std::string id = exercises_[chosen_].value("id", "");
    try {
      const Module module = workspace_.module(folder_);
      for (const Hole& hole : module.holes) {
        if (hole.grade_id != id) continue;
        const std::vector<std::string> hints = hints_of(module, hole, handed_out_mistakes(workspace_, folder_));
        if (hints.empty()) {
          hint_ = "There is no hint for it: the contract above the function says all there is.";
          return;
        }
        const std::size_t number = next_hint(workspace_, folder_, hole, hints.size()).number;
        hint_ = fmt::format("Hint {} of {} for {}: {}", number, hints.size(), hole.function, hints[number - 1]);
      }
    } catch (const std::exception& error) {
      hint_ = error.what();
    }
  }

  std::string header() const {
    const std::string left = fmt::format(" {}  {} passed, {} failed", folder_, result_.value("passed", 0), result_.value("failed", 0));
    double earned = 0, points = 0;
    for (const Json& exercise : exercises_) {
      earned += exercise.value("earned", 0.0);
      points += exercise.value("kind", "") == "explain" ? 0 : exercise.value("points", 0.0);
    }
    const std::string right = fmt::format("{:g}/{:g} points  {} ", earned, points, tester_.running() ? "testing..." : "saved files are tested");
    const std::size_t room = size_.columns > left.size() + right.size() ? size_.columns - left.size() - right.size() : 1;
    return "\033[7m" + left + std::string(room, ' ') + right + "\033[0m";
  }

  std::vector<std::string> exercise_lines() const {
    std::vector<std::string> out;
    for (std::size_t i = 0; i < exercises_.size(); ++i) {
      const Json& exercise = exercises_[i];
      const std::string state = exercise.value("state", "");
      const std::string mark = state == "passed" ? "\033[32mdone\033[0m" : state == "failing" ? "\033[31mopen\033[0m" : state == "empty" ? "    " : " -  ";
      const std::string points = exercise.value("points", 0.0) > 0 ? fmt::format("{:g}/{:g}", exercise.value("earned", 0.0), exercise.value("points", 0.0)) : "";
      out.push_back(fmt::format(" {} {} {:>5}  {:<32.32} {:>7}  {}", i == chosen_ ? ">" : " ", mark, exercise.value("line", 0),
                                exercise.value("function", ""), points, exercise.value("todo", "")));
    }
    return out;
  }

  // The first failure on top, the exercises below it, the keys on the last line.
  std::vector<std::string> lines() const {
    std::vector<std::string> out{header(), ""};
    const std::vector<std::string> exercises = exercise_lines();
    const std::vector<std::string> hint = split_lines(wrapped(hint_, size_.columns > 4 ? size_.columns - 4 : 1, "  "));
    const std::size_t rows = std::max<std::size_t>(size_.rows, 8);
    const std::size_t below = std::min(exercises.size(), rows / 2) + (hint.empty() ? 0 : hint.size() + 1) + 2;
    std::vector<std::string> text = split_lines(result_.value("text", tester_.running() ? "compiling and testing" : ""));
    for (std::size_t i = 0; i < text.size() && out.size() + below < rows; ++i) out.push_back(colour_of(text[i]) + text[i] + "\033[0m");
    while (out.size() + below < rows) out.emplace_back();
    if (!hint.empty()) {
      for (const std::string& line : hint) out.push_back("\033[33m" + line + "\033[0m");
      out.emplace_back();
    }
    // The chosen exercise stays in sight.
    const std::size_t shown = std::min(exercises.size(), rows / 2);
    const std::size_t first = chosen_ < shown ? 0 : std::min(chosen_ - shown + 1, exercises.size() - shown);
    for (std::size_t i = first; i < first + shown; ++i) out.push_back(exercises[i]);
    out.emplace_back();
    out.resize(rows - 1);
    out.push_back("\033[7m h \033[0m hint   \033[7m n \033[0m next exercise   \033[7m q \033[0m quit");
    return out;
  }

  static std::string colour_of(const std::string& line) {
    if (line.starts_with("FAILED") || line.starts_with("ERROR")) return "\033[31m";
    return line.starts_with("NEXT") ? "\033[1m" : "";
  }

  Workspace workspace_;
  std::string folder_;
  Tester tester_;
  ScreenSize size_;
  bool was_running_ = false;
  fs::file_time_type saved_{};
  Json result_ = Json::object();
  Json exercises_ = Json::array();
  std::size_t chosen_ = 0;
  std::string hint_;
};

void run_watch(const std::string& name, bool reference) {
  const Workspace workspace = require_workspace();
  const Progress progress = read_progress(workspace);
  const std::string folder = current_lesson(workspace, progress, name);
  LessonOptions options;
  options.reference = reference;
  stage_modules(workspace, progress, folder, options);  // refuses here, with a sentence, what it would refuse on the screen
  const int result = with_screen([&] { return WatchScreen(workspace, folder, reference).run(); });
  if (result != 0) throw Exit{result};
}

}  // namespace

void add_watch_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("watch", "In a workspace: a live screen that tests a module on every save");
  const auto module = std::make_shared<std::string>();
  const auto reference = std::make_shared<bool>(false);
  command->add_option("module", *module, "05 or autograd");
  command->add_flag("--reference", *reference, "borrow the course's modules for those that are not complete");
  command->callback([module, reference] { run_watch(*module, *reference); });
}

}  // namespace tito
