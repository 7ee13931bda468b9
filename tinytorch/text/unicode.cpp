// From the lesson modules/59_unicode/unicode_dev.cpp:
// edit the module, not this file.

#include "tinytorch/text/unicode.h"

namespace tinytorch {

text::CodePoint text::decode_at(std::string_view text, std::size_t position) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(position);
  if (lead < 0x80) return {lead, 1, true};
  const std::size_t length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() - position < length) return {};
  char32_t value = lead & (0xff >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(position + i) & 0xc0) != 0x80) return {};
    value = value << 6 | (byte(position + i) & 0x3f);
  }
  constexpr char32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < smallest[length] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)) return {};
  return {value, length, true};
}

void text::append_utf8(std::string& out, char32_t c) {
  if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) c = 0xfffd;
  const auto append = [&](char32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (c < 0x80) {
    append(c);
  } else if (c < 0x800) {
    append(0xc0 | c >> 6);
    append(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    append(0xe0 | c >> 12);
    append(0x80 | (c >> 6 & 0x3f));
    append(0x80 | (c & 0x3f));
  } else {
    append(0xf0 | c >> 18);
    append(0x80 | (c >> 12 & 0x3f));
    append(0x80 | (c >> 6 & 0x3f));
    append(0x80 | (c & 0x3f));
  }
}

std::u32string text::to_utf32(std::string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = decode_at(text, at);
    out += c.value;
    at += c.length;
  }
  return out;
}

std::string text::to_utf8(std::u32string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char32_t c : text) append_utf8(out, c);
  return out;
}

}  // namespace tinytorch
