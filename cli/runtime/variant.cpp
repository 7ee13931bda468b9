#include "tito/variant.h"

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace tito::detail {

constinit Variants variants = Variants::Unknown;

namespace {

// A function's static, since a hole may be asked for before this file's globals are made.
std::vector<std::string>& selected() {
  static std::vector<std::string> items;
  return items;
}

}  // namespace

bool read_variants() {
  const char* text = std::getenv("TITO_VARIANT");
  std::string_view rest = text == nullptr ? "" : text;
  std::vector<std::string> items;
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    items.emplace_back(rest.substr(0, comma));
    rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
  }
  selected() = items;
  variants = items.empty() ? Variants::None : Variants::Some;
  return !items.empty();
}

bool is_selected(const char* id) {
  const std::string_view name(id);
  for (const std::string& item : selected()) {
    if (item == name) return true;
    const bool all_holes = item.ends_with('*') && name.find('/') == std::string_view::npos;
    if (all_holes && name.starts_with(std::string_view(item).substr(0, item.size() - 1))) return true;
  }
  return false;
}

}  // namespace tito::detail
