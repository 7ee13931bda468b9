// From the lesson modules/10_text/text_dev.cpp:
// edit the module, not this file.

#include "tinytorch/text/byte_level.h"

#include "tinytorch/text/unicode.h"

namespace tinytorch {

namespace {
// For each byte its printable character: itself for 0x21 to 0x7e, 0xa1 to 0xac and 0xae to 0xff; for the others,
// in order, U+0100, U+0101, ...
std::array<char32_t, 256> number_byte_characters() {
  std::array<char32_t, 256> characters{};
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
    characters[byte] = printable ? byte : next++;
  }
  return characters;
}
}  // namespace

const std::array<char32_t, 256>& text::byte_characters() {
  static const std::array<char32_t, 256> characters = number_byte_characters();
  return characters;
}

std::string text::to_printable(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) append_utf8(out, byte_characters()[static_cast<unsigned char>(byte)]);
  return out;
}

std::optional<std::string> text::from_printable(std::string_view printable) {
  // The largest stand-in is U+0143.
  static const std::array<int, 0x144> byte_of = [] {
    std::array<int, 0x144> bytes;
    bytes.fill(-1);
    for (int byte = 0; byte < 256; ++byte) {
      const char32_t c = byte_characters()[static_cast<std::size_t>(byte)];
      if (c < bytes.size()) bytes[c] = byte;
    }
    return bytes;
  }();
  std::string out;
  for (std::size_t at = 0; at < printable.size();) {
    const CodePoint c = decode_at(printable, at);
    if (!c.valid || c.value >= byte_of.size() || byte_of[c.value] < 0) return std::nullopt;
    out += static_cast<char>(static_cast<unsigned char>(byte_of[c.value]));
    at += c.length;
  }
  return out;
}

namespace {
enum class WordKind : std::uint8_t { Letter, Number, Space, Neither };

WordKind kind_of(char32_t c) {
  switch (text::char_class(c)) {
    case text::CharClass::Letter: return WordKind::Letter;
    case text::CharClass::Number: return WordKind::Number;
    case text::CharClass::Space: return WordKind::Space;
    default: return WordKind::Neither;
  }
}

struct KindAt {
  WordKind kind = WordKind::Neither;
  std::size_t length = 1;  // of the character, in bytes
};

// The kind of the character that begins at byte `at`; ASCII by a table.
KindAt kind_at(std::string_view text, std::size_t at) {
  static const std::array<WordKind, 128> ascii = [] {
    std::array<WordKind, 128> kinds{};
    for (char32_t c = 0; c < 128; ++c) kinds[c] = kind_of(c);
    return kinds;
  }();
  const auto byte = static_cast<unsigned char>(text[at]);
  if (byte < 128) return {ascii[byte], 1};
  const text::CodePoint c = text::decode_at(text, at);
  return {c.valid ? kind_of(c.value) : WordKind::Neither, c.length};
}

// The longest run of characters of one kind.
struct KindRun {
  WordKind kind = WordKind::Neither;
  std::size_t last = 0;  // where its last character begins
  std::size_t end = 0;
};

KindRun run_at(std::string_view text, std::size_t begin) {
  const KindAt first = kind_at(text, begin);
  KindRun run{first.kind, begin, begin + first.length};
  while (run.end < text.size()) {
    const KindAt next = kind_at(text, run.end);
    if (next.kind != run.kind) break;
    run.last = run.end;
    run.end += next.length;
  }
  return run;
}
}  // namespace

// The end of the word that begins at byte `begin`, by GPT-2's pattern. REQUIRES: begin < text.size().
// O(length of the word, and one character beyond).
std::size_t text::word_end(std::string_view text, std::size_t begin) {
  for (const std::string_view contraction : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
    if (text.substr(begin).starts_with(contraction)) return begin + contraction.size();
  const std::size_t first = text[begin] == ' ' ? begin + 1 : begin;
  if (first < text.size()) {
    const KindRun run = run_at(text, first);
    if (run.kind != WordKind::Space) return run.end;
  }
  const KindRun spaces = run_at(text, begin);
  return spaces.end == text.size() || spaces.last == begin ? spaces.end : spaces.last;
}

}  // namespace tinytorch
