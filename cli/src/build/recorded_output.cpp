#include "build/recorded_output.h"

#include <fmt/core.h>

#include "format/cells.h"

namespace tito {

std::string compare_with_recorded(const fs::path& program, const fs::path& folder, const fs::path& recorded) {
  const std::string name = program.filename().string();
  if (!fs::exists(recorded)) return fmt::format("{}: {} is missing", name, recorded.string());
  fs::remove_all(folder);
  fs::create_directories(folder);
  ProcessOptions options;
  options.directory = folder;
  options.seconds = 120;
  const ProcessResult result = run_process({program.string()}, options);
  if (!result.ok()) return fmt::format("{}: {}\n{}", name, how_it_ended(result), result.output);
  const std::vector<std::string> printed = split_lines(result.output);
  const std::vector<std::string> expected = split_lines(read_text(recorded));
  if (printed == expected) return "";
  const auto line = [](const std::vector<std::string>& lines, std::size_t i) {
    return i < lines.size() ? lines[i] : std::string("(nothing)");
  };
  std::size_t i = 0;
  while (i < printed.size() && i < expected.size() && printed[i] == expected[i]) ++i;
  return fmt::format("{}, line {}: prints {}\n  recorded: {}", name, i + 1, line(printed, i), line(expected, i));
}

}  // namespace tito
