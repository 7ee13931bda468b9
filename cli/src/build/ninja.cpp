#include "build/ninja.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <sstream>
#include <system_error>

#include "build/progress.h"

namespace tito {
namespace {

// Marks ninja's own status lines, which no compiler prints.
constexpr char status_mark = '\x01';

std::string escaped(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (c == '$' || c == ' ' || c == ':') out += '$';
    out += c;
  }
  return out;
}

// Follows what ninja prints: status lines, and for failures "FAILED: outputs", the command, and its messages.
class NinjaOutput {
 public:
  NinjaOutput(NinjaResult& result, ProgressBar& progress) : result_(result), progress_(progress) {}

  void line(std::string_view text) {
    if (!text.empty() && text[0] == status_mark) return status(text.substr(1));
    if (text.starts_with("FAILED: ")) return failure(text.substr(8));
    if (text.starts_with("ninja: build stopped") || text.starts_with("ninja: no work to do") ||
        text.starts_with("ninja: Entering directory")) {
      return;
    }
    if (command_follows_) {
      command_follows_ = false;
      return;
    }
    messages_ += text;
    messages_ += '\n';
  }

  // Warnings of steps that succeeded are dropped: without -Werror they are not the learner's concern here.
  std::string messages() const { return messages_; }

 private:
  void status(std::string_view text) {
    std::size_t numbers[2] = {0, 0};
    const char* at = text.data();
    for (std::size_t& number : numbers) {
      const auto parsed = std::from_chars(at, text.data() + text.size(), number);
      at = parsed.ptr + 1;
    }
    result_.steps = numbers[0];
    progress_.update(numbers[0], numbers[1], text.substr(static_cast<std::size_t>(at - text.data())));
    command_follows_ = false;
  }
  void failure(std::string_view outputs) {
    std::istringstream names{std::string(outputs)};
    for (std::string name; names >> name;) result_.failed_files.push_back(name);
    command_follows_ = true;
  }

  NinjaResult& result_;
  ProgressBar& progress_;
  std::string messages_;
  bool command_follows_ = false;
};

// Keeps the first lines of long compiler output: later errors usually follow from the first.
std::string shortened(const std::string& text, std::size_t max_lines) {
  std::size_t lines = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\n' && ++lines == max_lines) {
      const std::size_t left = static_cast<std::size_t>(std::count(text.begin() + static_cast<long>(i) + 1, text.end(), '\n'));
      return left == 0 ? text : text.substr(0, i + 1) + fmt::format("({} more lines)\n", left);
    }
  }
  return text;
}

}  // namespace

void NinjaFile::variable(std::string_view name, std::string_view value) {
  text_ += fmt::format("{} = {}\n", name, value);
}

void NinjaFile::rule(std::string_view name, std::string_view command, std::string_view description,
                     bool has_depfile) {
  text_ += fmt::format("rule {}\n  command = {}\n  description = {}\n", name, command, description);
  if (has_depfile) text_ += "  depfile = $out.d\n  deps = gcc\n";
}

void NinjaFile::add(const Edge& edge) {
  if (!outputs_.insert(edge.output).second) return;
  text_ += fmt::format("build {}: {}", escaped(edge.output), edge.rule);
  for (const std::string& input : edge.inputs) text_ += " " + escaped(input);
  if (!edge.implicit.empty()) text_ += " |";
  for (const std::string& input : edge.implicit) text_ += " " + escaped(input);
  text_ += '\n';
  for (const auto& [name, value] : edge.variables) text_ += fmt::format("  {} = {}\n", name, value);
}

NinjaResult run_ninja(const NinjaOptions& options, const LineMap& lines) {
  if (find_program("ninja").empty()) {
    throw std::runtime_error("ninja is not installed: apt-get install ninja-build");
  }
  const fs::path file = fs::relative(options.directory, options.root) / "build.ninja";
  Command command{"ninja", "-f", file.string(), "-j", std::to_string(processor_count())};
  if (options.keep_going) command.insert(command.end(), {"-k", "0"});
  command.insert(command.end(), options.targets.begin(), options.targets.end());

  NinjaResult result;
  ProgressBar progress(options.label);
  NinjaOutput output(result, progress);
  ProcessOptions process;
  process.directory = options.root;
  process.environment = {{"NINJA_STATUS", std::string(1, status_mark) + "%f %t "}, {"LC_ALL", "C"}};
  process.on_line = [&](std::string_view text) { output.line(text); };
  const ProcessResult ninja = run_process(command, process);
  result.ok = ninja.ok();
  result.seconds = ninja.seconds;
  if (!result.ok) result.messages = shortened(lines.translate(output.messages()), 60);
  if (!result.ok && result.messages.empty()) result.messages = "ninja: " + how_it_ended(ninja) + "\n";
  if (!result.ok && ninja.output.find("No space left on device") != std::string::npos) {
    throw std::runtime_error(fmt::format("the disk that holds {} is full; free some space and run this again",
                                         options.directory.string()));
  }
  return result;
}

void write_if_changed(const fs::path& file, std::string_view text) {
  std::ifstream in(file, std::ios::binary);
  if (in && std::string(std::istreambuf_iterator<char>(in), {}) == text) return;
  in.close();
  fs::create_directories(file.parent_path());
  const fs::path temporary = file.string() + ".new";
  std::ofstream out(temporary, std::ios::binary);
  out << text;
  out.close();
  if (!out) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw std::runtime_error(fmt::format("cannot write {}: {}", file.string(), std::generic_category().message(errno)));
  }
  fs::rename(temporary, file);
}

}  // namespace tito
