#include "learn/style.h"

#include <fmt/core.h>

#include <cstdlib>
#include <sstream>

#include "build/progress.h"

namespace tito {

std::string Style::in(std::string_view code, std::string_view text) const {
  return colours ? fmt::format("\033[{}m{}\033[0m", code, text) : std::string(text);
}

Style output_style() { return Style{stdout_is_terminal() && std::getenv("NO_COLOR") == nullptr}; }

std::string wrapped(std::string_view text, std::size_t width, std::string_view indent) {
  std::istringstream words{std::string(text)};
  std::string out;
  std::string line;
  for (std::string word; words >> word;) {
    if (!line.empty() && line.size() + 1 + word.size() > width) {
      out += std::string(indent) + line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  if (!line.empty()) out += std::string(indent) + line + "\n";
  return out;
}

}  // namespace tito
