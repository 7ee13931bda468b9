// From the lesson modules/10_text/text_dev.cpp:
// edit the module, not this file.

#include "tinytorch/text/char_tokenizer.h"

#include <set>

#include "tinytorch/core/error.h"
#include "tinytorch/text/unicode.h"

namespace tinytorch {

text::CharTokenizer::CharTokenizer(std::string_view text) {
  std::set<char32_t> alphabet;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = decode_at(text, at);
    TORCH_CHECK_VALUE(c.valid, "the text is not UTF-8\n[CharTokenizer] its byte ", at,
                      " belongs to no character; a byte-level tokenizer takes any bytes.");
    alphabet.insert(c.value);
    at += c.length;
  }
  for (const char32_t c : alphabet) {
    std::string character;
    append_utf8(character, c);
    characters_.add(character);
  }
}

std::string text::CharTokenizer::decode(IntArrayRef ids) const {
  std::string out;
  for (const std::int64_t id : ids) out += characters_.token(id);
  return out;
}

// One id for each character of `text`. Throws ValueError, with the character and its place, for one that is not
// in the alphabet. O(size).
std::vector<std::int64_t> text::CharTokenizer::encode(std::string_view text) const {
  std::vector<std::int64_t> ids;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = decode_at(text, at).length;
    const std::string_view character = text.substr(at, length);
    const std::optional<std::int64_t> id = characters_.find(character);
    TORCH_CHECK_VALUE(id.has_value(), "the character \"", character, "\" is not in the alphabet\n[CharTokenizer] it is byte ",
                      at, " of the text; the alphabet has ", characters_.size(), " characters.");
    ids.push_back(*id);
    at += length;
  }
  return ids;
}

}  // namespace tinytorch
