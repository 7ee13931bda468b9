// From the lesson modules/10_text/text_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/text/vocabulary.h"

namespace tinytorch {

namespace text {

// One id for each character (code point) of an alphabet, numbered by code point.
class CharTokenizer : public Tokenizer {
 public:
  // The alphabet is the characters of `text`. Throws ValueError if it is not UTF-8.
  explicit CharTokenizer(std::string_view text);
  // Throws ValueError for a character that is not in the alphabet. O(size).
  std::vector<std::int64_t> encode(std::string_view text) const override;
  std::string decode(IntArrayRef ids) const override;
  std::int64_t vocab_size() const override { return characters_.size(); }
  const Vocabulary& vocabulary() const { return characters_; }

 private:
  Vocabulary characters_;
};

}  // namespace text

}  // namespace tinytorch
