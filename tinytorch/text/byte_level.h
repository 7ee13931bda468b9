// From the lesson modules/10_text/text_dev.cpp:
// edit the module, not this file.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace tinytorch {

namespace text {

// GPT-2's printable character for each byte; all 256 differ.
const std::array<char32_t, 256>& byte_characters();
// Bytes in printable form (UTF-8), and back; nothing if `printable` has a character that stands for no byte.
std::string to_printable(std::string_view bytes);
std::optional<std::string> from_printable(std::string_view printable);

}  // namespace text

namespace text {

// The end of the word that begins at byte `begin`, by GPT-2's pattern. REQUIRES: begin < text.size().
// O(length of the word, and one character beyond).
std::size_t word_end(std::string_view text, std::size_t begin);
// Calls f(word) for each word of `text`; one after the other they are the text. O(size).
template <class F>
void for_each_word(std::string_view text, F f) {
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = word_end(text, begin);
    f(text.substr(begin, end - begin));
    begin = end;
  }
}

}  // namespace text

}  // namespace tinytorch
