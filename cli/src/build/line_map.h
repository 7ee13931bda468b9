// From the lines of generated files back to the lines of the module files that people edit.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/export.h"

namespace tito {

struct Place {
  std::string file;
  int line = 0;
};

class LineMap {
 public:
  explicit LineMap(fs::path root) : root_(std::move(root)) {}

  // `written` is where the file stands, as the compiler names it: relative to the root.
  void add(const fs::path& written, const GeneratedFile& file);

  // The place in a module file; nothing for other files and for lines that no module wrote.
  std::optional<Place> find(std::string_view file, int line) const;

  // What a compiler, a sanitizer or a test printed, with each "file:line" in a generated file replaced by the line of
  // the module, and gcc's numbered excerpts renumbered.
  std::string translate(std::string_view text) const;

 private:
  struct Origin {
    std::string source;
    std::vector<int> lines;
  };

  const Origin* origin_of(std::string_view file) const;

  fs::path root_;
  std::map<std::string, Origin, std::less<>> files_;
};

}  // namespace tito
