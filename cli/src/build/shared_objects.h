// Object files that the stages of a workspace share, and notebooks: each is named after all that goes into it, so one that is there is never
// compiled again, whichever stage made it.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "format/export.h"

namespace tito {

class SharedObjects {
 public:
  // `same_for_all`: whatever else an object depends on, such as the compiler and its options.
  SharedObjects(fs::path root, const Package& package, std::string_view same_for_all);

  // Where the object of this source lies, relative to the root; `text` includes files of the package.
  std::string object_of(std::string_view name, std::string_view text, std::string_view flags);
  std::string object_of_file(const std::string& path, std::string_view flags);  // of the package
  bool has(const std::string& object) const { return fs::exists(root_ / object); }

  // Notes in the folder `stage` which objects it uses for one kind of build, and removes those that nobody has used for a day.
  void finish(const fs::path& stage, std::string_view kind) const;

 private:
  void add_includes(std::string_view text, std::set<std::string>& seen) const;

  fs::path root_;
  std::string same_for_all_;
  std::map<std::string, std::string, std::less<>> texts_;
  std::map<std::string, std::string> hashes_;
  std::set<std::string> used_;
};

// Calls `found` with each PATH of an `#include "tinytorch/PATH"` in the text.
template <class F>
void for_each_include(std::string_view text, F found) {
  constexpr std::string_view opening = "#include \"tinytorch/";
  for (std::size_t at = text.find(opening); at != std::string_view::npos; at = text.find(opening, at + 1)) {
    const std::size_t start = at + opening.size();
    found(text.substr(start, text.find('"', start) - start));
  }
}

}  // namespace tito
