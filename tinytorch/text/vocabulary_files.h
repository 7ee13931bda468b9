// From the lesson modules/59_unicode/unicode_dev.cpp:
// edit the module, not this file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace tinytorch {

namespace text {

// The tokens of a file {"token": id, ...}, by id. Throws Error, with the file and what is wrong in it, unless the ids are 0 to n - 1, each
// once. O(size).
std::vector<std::string> read_vocabulary_json(const std::string& path);
// `text` as JSON writes it, with quotes. REQUIRES: UTF-8.
std::string json_text(std::string_view text);

}  // namespace text

}  // namespace tinytorch
