// From the lesson modules/58_text_extras/text_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/text/wordpiece.h"

#include <algorithm>

#include "tinytorch/core/error.h"
#include "tinytorch/serialize/file.h"
#include "tinytorch/text/unicode.h"

namespace tinytorch {

// The longest pieces of `word` from the left; those inside the word have "##" before them in the vocabulary. Nothing if they cannot
// cover the word. O(n^2) look-ups for n characters.
std::optional<std::vector<std::int64_t>> text::longest_pieces(std::string_view word, const Vocabulary& vocabulary) {
  std::vector<std::int64_t> pieces;
  std::string piece;
  for (std::size_t begin = 0; begin < word.size();) {
    std::size_t end = word.size();
    std::optional<std::int64_t> id;
    while (end > begin) {
      piece = begin > 0 ? "##" : "";
      piece += word.substr(begin, end - begin);
      id = vocabulary.find(piece);
      if (id) break;
      --end;
      while (end > begin && (word[end] & 0xc0) == 0x80) --end;
    }
    if (!id) return std::nullopt;
    pieces.push_back(*id);
    begin = end;
  }
  return pieces;
}

namespace {
// The blocks that BERT treats as Chinese.
bool is_ideograph(char32_t c) {
  return (c >= 0x4e00 && c <= 0x9fff) || (c >= 0x3400 && c <= 0x4dbf) || (c >= 0x20000 && c <= 0x2a6df) ||
         (c >= 0x2a700 && c <= 0x2b73f) || (c >= 0x2b740 && c <= 0x2b81f) || (c >= 0x2b820 && c <= 0x2ceaf) ||
         (c >= 0xf900 && c <= 0xfaff) || (c >= 0x2f800 && c <= 0x2fa1f);
}

// Punctuation, and all of ASCII that is neither letter nor number nor space: $ + < = > ^ ` | ~ too.
bool is_separate(char32_t c) {
  if (c < 0x80) return c > ' ' && c < 0x7f && text::char_class(c) != text::CharClass::Letter && text::char_class(c) != text::CharClass::Number;
  return text::char_class(c) == text::CharClass::Punctuation;
}

// Control characters, and what stands for damaged text, go; other white space counts as a space.
bool is_dropped(char32_t c) {
  const bool line_control = c == 0x0b || c == 0x0c || c == 0x85;  // of class Space, but controls to BERT
  return c == 0xfffd || line_control || text::char_class(c) == text::CharClass::Control;
}
}  // namespace

std::vector<std::string> text::basic_words(std::string_view text, bool lower_case) {
  // Make the text uniform.
  std::u32string uniform;
  for (std::size_t at = 0; at < text.size();) {
    const CodePoint c = decode_at(text, at);
    at += c.length;
    if (is_dropped(c.value)) continue;
    const bool alone = is_ideograph(c.value);
    if (alone) uniform += U' ';
    if (lower_case) {
      append_base(uniform, c.value);
    } else {
      uniform += c.value;
    }
    if (alone) uniform += U' ';
  }
  if (lower_case)
    for (char32_t& c : uniform) c = tinytorch::text::lower_case(c);
  // Cut it.
  std::vector<std::string> words;
  bool inside = false;
  for (const char32_t c : uniform) {
    const bool space = char_class(c) == CharClass::Space;
    const bool alone = !space && is_separate(c);
    if (!space) {
      if (!inside || alone) words.emplace_back();
      append_utf8(words.back(), c);
    }
    inside = !space && !alone;
  }
  return words;
}

text::WordPieceTokenizer::WordPieceTokenizer(const std::vector<std::string>& tokens, const WordPieceOptions& options)
    : vocabulary_(tokens), options_(options), unknown_(vocabulary_.find(options.unknown()).value_or(-1)) {
  TORCH_CHECK_VALUE(unknown_ >= 0, "the vocabulary has no token \"", options.unknown(),
                    "\" for unknown words\n[WordPieceTokenizer] name it by WordPieceOptions().unknown(...).");
  for (const std::string& token : {options.unknown(), std::string("[CLS]"), std::string("[SEP]"), std::string("[PAD]"), std::string("[MASK]")})
    if (const auto id = vocabulary_.find(token)) special_.emplace_back(token, *id);
}

text::WordPieceTokenizer text::WordPieceTokenizer::from_file(const std::string& vocab_txt, const WordPieceOptions& options) {
  const std::string bytes = serialize::read_file(vocab_txt);
  std::vector<std::string> tokens;
  for (std::size_t begin = 0; begin < bytes.size();) {
    const std::size_t end = std::min(bytes.find('\n', begin), bytes.size());
    std::string_view line = std::string_view(bytes).substr(begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    tokens.emplace_back(line);
    begin = end + 1;
  }
  try {
    return WordPieceTokenizer(tokens, options);
  } catch (Error& error) {
    error.add_context("while reading " + vocab_txt);
    throw;
  }
}

std::vector<std::int64_t> text::WordPieceTokenizer::encode(std::string_view text) const {
  std::vector<std::int64_t> ids;
  split_at_special(text, special_, [&](std::string_view part, std::int64_t special) {
    if (special >= 0) {
      ids.push_back(special);
      return;
    }
    for (const std::string& word : basic_words(part, options_.lower_case())) {
      const auto characters = std::count_if(word.begin(), word.end(), [](char c) { return (c & 0xc0) != 0x80; });
      const auto pieces = characters > options_.max_characters() ? std::nullopt : longest_pieces(word, vocabulary_);
      if (pieces) {
        ids.insert(ids.end(), pieces->begin(), pieces->end());
      } else {
        ids.push_back(unknown_);
      }
    }
  });
  return ids;
}

text::BertInput text::WordPieceTokenizer::bert_input(std::string_view text, std::optional<std::string_view> second) const {
  const auto cls = vocabulary_.find("[CLS]");
  const auto sep = vocabulary_.find("[SEP]");
  TORCH_CHECK_VALUE(cls && sep, "the vocabulary has no [CLS] or no [SEP]\n[bert_input] BERT's vocabularies have both; encode() gives the pieces alone.");
  BertInput input{{*cls}, {0}};
  const auto append = [&](std::vector<std::int64_t> ids, std::int64_t type) {
    ids.push_back(*sep);
    input.input_ids.insert(input.input_ids.end(), ids.begin(), ids.end());
    input.token_type_ids.insert(input.token_type_ids.end(), ids.size(), type);
  };
  append(encode(text), 0);
  if (second) append(encode(*second), 1);
  return input;
}

std::string text::WordPieceTokenizer::decode(IntArrayRef ids) const {
  std::string out;
  for (const std::int64_t id : ids) {
    const std::string& piece = vocabulary_.token(id);
    if (piece.starts_with("##") && !out.empty()) {
      out += piece.substr(2);
    } else {
      out += (out.empty() ? "" : " ") + piece;
    }
  }
  return out;
}

}  // namespace tinytorch
