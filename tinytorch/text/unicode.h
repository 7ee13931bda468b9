// From the lesson modules/59_unicode/unicode_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tinytorch {

namespace text {

// A character of a text. What is no UTF-8 (a stray byte, an overlong or cut-off form, a surrogate) counts as one invalid byte.
struct CodePoint {
  char32_t value = 0xfffd;  // U+FFFD for an invalid byte
  std::size_t length = 1;   // in bytes
  bool valid = false;
};

// The character that begins at byte `position`. REQUIRES: position < text.size(). O(1).
CodePoint decode_at(std::string_view text, std::size_t position);
// Appends the UTF-8 form of `c`, one to four bytes; of U+FFFD for what is no code point.
void append_utf8(std::string& out, char32_t c);
// Whole texts. An invalid byte becomes U+FFFD, so only valid text survives both ways. O(size).
std::u32string to_utf32(std::string_view text);
std::string to_utf8(std::u32string_view text);

// What a tokenizer has to tell apart: Unicode's categories L, N, P, Mn; the property White_Space; Cc, Cf and Co, unless they are Space.
enum class CharClass : std::uint8_t { Letter, Number, Space, Punctuation, Mark, Control, Other };

// O(1): two steps through a table of pages.
CharClass char_class(char32_t c);
// The simple lower case of `c`, or `c`. O(log n).
char32_t lower_case(char32_t c);
// Appends the canonical decomposition of `c` without nonspacing marks (Mn): "e" for U+00E9, nothing for U+0301, the Jamo of a Hangul syllable, else `c` itself. O(log n).
void append_base(std::u32string& out, char32_t c);

}  // namespace text

}  // namespace tinytorch
