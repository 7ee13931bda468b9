// From the lesson modules/59_unicode/unicode_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tinytorch/core/array_ref.h"

namespace tinytorch {

namespace text {

// Text to ids and back. Ids are 0 .. vocab_size() - 1.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::vector<std::int64_t> encode(std::string_view text) const = 0;
  // Throws IndexError for an id outside of the vocabulary.
  virtual std::string decode(IntArrayRef ids) const = 0;
  virtual std::int64_t vocab_size() const = 0;
};

// A list of distinct tokens, each with its place as id.
class Vocabulary {
 public:
  Vocabulary() = default;
  // Throws ValueError if a token is there twice.
  explicit Vocabulary(const std::vector<std::string>& tokens);

  std::int64_t size() const { return static_cast<std::int64_t>(tokens_.size()); }
  // The id of `token`, nothing if it is no token. O(length).
  std::optional<std::int64_t> find(std::string_view token) const;
  // The token with this id. Throws IndexError.
  const std::string& token(std::int64_t id) const;
  // The id of `token`, which is added if it is new.
  std::int64_t add(std::string_view token);

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::int64_t, Hash, std::equal_to<>> ids_;
};

// The parts of `text` between occurrences of the special tokens, and these: f(part, id), where id is -1 for
// ordinary text. At each place the longest special token that begins there wins.
void split_at_special(std::string_view text, const std::vector<std::pair<std::string, std::int64_t>>& special,
                      const std::function<void(std::string_view, std::int64_t)>& f);

}  // namespace text

}  // namespace tinytorch
