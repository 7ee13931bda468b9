// Colours, on a terminal only.
#pragma once

#include <string>
#include <string_view>

namespace tito {

struct Style {
  bool colours = false;

  std::string red(std::string_view text) const { return in("31", text); }
  std::string green(std::string_view text) const { return in("32", text); }
  std::string yellow(std::string_view text) const { return in("33", text); }
  std::string bold(std::string_view text) const { return in("1", text); }
  std::string faint(std::string_view text) const { return in("2", text); }

 private:
  std::string in(std::string_view code, std::string_view text) const;
};

// For standard output: with colours if it is a terminal and NO_COLOR is not set.
Style output_style();

// The text in lines of at most `width` characters, each behind `indent`.
std::string wrapped(std::string_view text, std::size_t width, std::string_view indent);

}  // namespace tito
