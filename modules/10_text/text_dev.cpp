// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//       format_version: '1.3'
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch
// ---

// %% [markdown]
// # Module 10: Text
//
// A language model does not read text. It reads a list of integers, and each integer picks a row of a table of numbers. This module builds both
// halves of that: the *tokenizer*, which cuts a text into pieces and numbers them, and the *embedding*, which turns a number into a vector that can
// be trained.
//
// The cutting decides more than it seems. It fixes how long a text is for the model, how large the first and the last layer are, and which texts can
// be written at all. A tokenizer of whole words meets unknown words; one of characters makes sequences five times as long. Byte-pair encoding lies
// between, learns its pieces from data, and can represent every sequence of bytes. It is what GPT-2 and its descendants use, and you will read their
// files.
//
// **Objectives.** After this module you can
//
// - train a byte-level byte-pair encoding, apply it, and say why the obvious loops are quadratic;
// - read GPT-2's `vocab.json` and `merges.txt`, and cut text exactly as that model expects;
// - implement an embedding whose gradient reaches only the rows that were used, and say what the dense gradient costs;
// - give a model positions in three ways: sinusoids, a learned table, and rotation.
//
// **Where it sits.** Chapter 59 knows which characters are letters, and reads JSON; chapter 58 follows, with BERT's WordPiece. Gradients come from
// module 05, modules and options from module 03. Module 11's attention and module 12's GPT take what this module makes.
//
// **Prerequisites.** Modules 01 to 08; UTF-8 on the level of "a character is one to four bytes"; heaps and hash tables.

// %%
//| export text/char_tokenizer.h
#include "tinytorch/text/vocabulary.h"
//| export text/char_tokenizer.cpp
#include <set>
#include "tinytorch/core/error.h"
#include "tinytorch/text/unicode.h"
//| export text/byte_level.h
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
//| export text/byte_level.cpp
#include "tinytorch/text/unicode.h"
//| export text/merges.h
#include <cstdint>
#include <functional>
#include <unordered_map>
#include <utility>
#include <vector>
//| export text/merges.cpp
#include <algorithm>
#include <queue>
#include <tuple>
#include "tinytorch/core/error.h"
//| export text/bpe.h
#include <utility>
#include "tinytorch/core/arg.h"
#include "tinytorch/text/merges.h"
#include "tinytorch/text/vocabulary.h"
//| export text/bpe.cpp
#include <algorithm>
#include "tinytorch/core/error.h"
#include "tinytorch/text/byte_level.h"
//| export text/bpe_trainer.cpp
#include <algorithm>
#include <numeric>
#include <queue>
#include "tinytorch/core/error.h"
#include "tinytorch/text/bpe.h"
#include "tinytorch/text/byte_level.h"
//| export text/bpe_files.cpp
#include <algorithm>
#include "tinytorch/core/error.h"
#include "tinytorch/serialize/file.h"
#include "tinytorch/text/bpe.h"
#include "tinytorch/text/byte_level.h"
#include "tinytorch/text/vocabulary_files.h"
//| export nn/embedding_ops.h
#include <tuple>
#include "tinytorch/core/ops.h"
//| export nn/embedding_ops.cpp
#include <algorithm>
#include <optional>
#include <set>
#include <vector>
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/more_ops.h"
//| export nn/positions.h
#include "tinytorch/core/ops.h"
//| export nn/positions.cpp
#include <cmath>
#include <utility>
#include "tinytorch/core/more_ops.h"

// %%
#include "tito/lesson.h"
#include "tito/scratch.h"
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <unistd.h>
#include <vector>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/nn/linear.h"
#include "tinytorch/optim/adam.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Part 1: Foundations
//
// ### Characters, numbered
//
// The simplest tokenizer gives each character that occurs in the training text a number. Its vocabulary is small, it needs no training, and its
// sequences are as long as the text. For a first GPT on Shakespeare's plays, with 65 different characters, it is enough.
//
//       text       h  e  l  l  o                alphabet, sorted by code point:
//       ids        1  0  2  2  3                0 e   1 h   2 l   3 o
//
//       "help"     h  e  l  p   <- not in the alphabet: an error, or a special "unknown" token
//
// That last line is what every tokenizer has to answer. Here it is an error; later, bytes make it go away.
//
// The interface that all tokenizers share is small: a text becomes ids, ids become a text, and a vocabulary has a size, which is the number of rows
// of the embedding. It stands in chapter 59, with the `Vocabulary`: a list of tokens, `token(id)` and the way back, `find(token)`.

// %%
//| export text/char_tokenizer.h
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

// %%
//| export text/char_tokenizer.cpp
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

// %% {"nbgrader": {"grade": false, "grade_id": "10-char-encode", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export text/char_tokenizer.cpp
// One id for each character of `text`. Throws ValueError, with the character and its place, for one that is not
// in the alphabet. O(size).
//
// TODO: Walk over the characters and look each one up.
// APPROACH: 1. decode_at(text, at).length is the number of bytes of the character at byte `at`.
//           2. characters_.find(text.substr(at, length)) is its id, or nothing.
// EXAMPLE: With the alphabet of "hello", "hole" becomes 1 3 2 0.
// HINT: TORCH_CHECK_VALUE(condition, "the character \"", character, "\" is not in the alphabet").
std::vector<std::int64_t> text::CharTokenizer::encode(std::string_view text) const {
  // BEGIN SOLUTION
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
  // END SOLUTION
}

// %%
//| mistake 10-char-encode bytes-for-characters
//| says A character beyond ASCII has two to four bytes in UTF-8, and was cut into them. decode_at() says how long the character at a place is.
#if 0
std::vector<std::int64_t> text::CharTokenizer::encode(std::string_view text) const {
  std::vector<std::int64_t> ids;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const std::optional<std::int64_t> id = characters_.find(text.substr(at, 1));
    TORCH_CHECK_VALUE(id.has_value(), "the character \"", text.substr(at, 1), "\" is not in the alphabet");
    ids.push_back(*id);
  }
  return ids;
}
#endif

// %%
//| mistake 10-char-encode drops-the-unknown
//| says A character outside of the alphabet vanished without a word. The model would then read another text than the user wrote: report it.
#if 0
std::vector<std::int64_t> text::CharTokenizer::encode(std::string_view text) const {
  std::vector<std::int64_t> ids;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = decode_at(text, at).length;
    if (const auto id = characters_.find(text.substr(at, length))) ids.push_back(*id);
    at += length;
  }
  return ids;
}
#endif

// %%
//| lesson
using Ids = std::vector<std::int64_t>;

// %% {"nbgrader": {"grade": true, "grade_id": "10-char-encode-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("CharTokenizer: one id for each character, and an error for others") {
  const text::CharTokenizer letters("hello");
  CHECK_EQ(letters.vocab_size(), 4);
  CHECK_EQ(letters.encode("hole"), Ids{1, 3, 2, 0});
  CHECK_EQ(letters.decode({1, 0, 2, 2, 3}), "hello");
  const text::CharTokenizer accents("d\u00e9j\u00e0 \u4f60\u597d \U0001f642");
  CHECK_EQ(accents.vocab_size(), 8);
  CHECK_EQ(accents.encode("\u00e9\u597d\U0001f642"), Ids{4, 6, 7});
  CHECK_EQ(accents.decode(accents.encode("j\u00e0 \u4f60d\u00e9")), "j\u00e0 \u4f60d\u00e9");
  CHECK_ERROR(letters.encode("help"), "the character \"p\" is not in the alphabet");
  CHECK_ERROR(letters.decode({4}), "there is no token with the id 4");
  CHECK_ERROR(text::CharTokenizer("a\xff"), "the text is not UTF-8");
  // BEGIN HIDDEN TESTS
  CHECK_EQ(letters.encode(""), Ids{});
  CHECK_ERROR(letters.encode("hell\u00f6"), "the character \"\u00f6\" is not in the alphabet");
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Bytes, and how to write them down
//
// Any text, in any script, is a sequence of bytes, and there are only 256 of them. A tokenizer whose smallest pieces are bytes knows no unknown
// character: emoji, combining marks, even a broken file survive. The price is length: Chinese takes three bytes a character. Merging frequent
// neighbours, below, pays that back.
//
// GPT-2 keeps its vocabulary in text files, and there a byte like 0x00 or a space is awkward. So each byte is written as a printable character. Bytes
// that are printable in Latin-1 stand for themselves; the other 68 get the characters from U+0100 on, in order:
//
//       byte    0x21 '!' .. 0x7e '~'   0xa1 .. 0xac   0xae .. 0xff        188 of them: themselves
//       byte    0x00 0x01 ... 0x20 (space) 0x7f ... 0xa0 0xad              68 of them
//                 |    |         |           |
//               U+0100 U+0101  U+0120 'Ġ'  U+0121 ...
//
// That is why GPT-2's tokens look like `Ġthe`: the Ġ is a space. Inside, we keep tokens as plain bytes, and use the printable form only in files.

// %%
//| export text/byte_level.h
namespace text {

// GPT-2's printable character for each byte; all 256 differ.
const std::array<char32_t, 256>& byte_characters();
// Bytes in printable form (UTF-8), and back; nothing if `printable` has a character that stands for no byte.
std::string to_printable(std::string_view bytes);
std::optional<std::string> from_printable(std::string_view printable);

}  // namespace text

// %% {"nbgrader": {"grade": false, "grade_id": "10-byte-characters", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export text/byte_level.cpp
namespace {
// For each byte its printable character: itself for 0x21 to 0x7e, 0xa1 to 0xac and 0xae to 0xff; for the others,
// in order, U+0100, U+0101, ...
//
// TODO: Give each of the 256 bytes its character.
// APPROACH: Walk over the bytes with a counter of those that are not printable.
// EXAMPLE: 'A' stays U+0041, the space 0x20 becomes U+0120, 0xad becomes U+0143, the last one.
std::array<char32_t, 256> number_byte_characters() {
  // BEGIN SOLUTION
  std::array<char32_t, 256> characters{};
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
    characters[byte] = printable ? byte : next++;
  }
  return characters;
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 10-byte-characters adds-to-all
//| says The bytes that are not printable are numbered one after the other from U+0100 on. byte + 0x100 is right only up to 0x20; from 0x7f on it
//| says leaves gaps.
#if 0
std::array<char32_t, 256> number_byte_characters() {
  std::array<char32_t, 256> characters{};
  for (char32_t byte = 0; byte < 256; ++byte) {
    const bool printable =
        (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);
    characters[byte] = printable ? byte : byte + 0x100;
  }
  return characters;
}
#endif

// %%
//| mistake 10-byte-characters forgets-the-soft-hyphen
//| says 0xad, the soft hyphen, is invisible and not in the list of printable bytes: it gets the last of the stand-ins, U+0143.
#if 0
std::array<char32_t, 256> number_byte_characters() {
  std::array<char32_t, 256> characters{};
  char32_t next = 0x100;
  for (char32_t byte = 0; byte < 256; ++byte)
    characters[byte] = (byte >= 0x21 && byte <= 0x7e) || byte >= 0xa1 ? byte : next++;
  return characters;
}
#endif

// %%
//| export text/byte_level.cpp
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

// %% {"nbgrader": {"grade": true, "grade_id": "10-byte-characters-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("byte_characters: 256 printable characters, GPT-2's") {
  const auto stand_in = [](std::size_t byte) { return static_cast<std::uint32_t>(text::byte_characters()[byte]); };
  CHECK_EQ(stand_in('A'), 0x41u);
  CHECK_EQ(stand_in(0x00), 0x100u);
  CHECK_EQ(stand_in(0x20), 0x120u);
  CHECK_EQ(stand_in(0x7f), 0x121u);
  CHECK_EQ(stand_in(0xa0), 0x142u);
  CHECK_EQ(stand_in(0xad), 0x143u);
  CHECK_EQ(stand_in(0xff), 0xffu);
  CHECK_EQ(text::to_printable(" the\n"), "\u0120the\u010a");
  CHECK_EQ(*text::from_printable("\u0120caf\u00c3\u00a9"), " caf\u00e9");
  CHECK_FALSE(text::from_printable("a b").has_value());
  CHECK_FALSE(text::from_printable("\u4e2d").has_value());
  // BEGIN HIDDEN TESTS
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(static_cast<unsigned char>(byte));
  CHECK_EQ(*text::from_printable(text::to_printable(all)), all);
  CHECK_FALSE(text::from_printable("\xff").has_value());
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Words first
//
// If merges could cross spaces, the vocabulary would fill with pieces like `of the` and `dog.`. So GPT-2 first cuts the text into *words* by a
// regular expression, and merges only inside of them:
//
//       's|'t|'re|'ve|'m|'ll|'d | ?\p{L}+ | ?\p{N}+ | ?[^\s\p{L}\p{N}]+ | \s+(?!\S) | \s+
//       `--- contractions ---'    letters   numbers     neither           white space
//
//       "I've  got 42 apples!\n"   ->   I   've   ␣   ␣got   ␣42   ␣apples   !   \n
//
// The alternatives are tried in this order at each place. A single space belongs to the word behind it (` ?`). Of several white-space characters the
// last one is left (`\s+(?!\S)`: as many as possible, so that no visible character follows), because it may belong to the next word.
//
// A regular expression engine that knows Unicode's categories is a large dependency for one pattern. Written by hand it is a function of twenty
// lines: one pass over the characters, each put into one of four kinds. Bytes that are no UTF-8 count as "neither", so any file can be cut, and the
// pieces add up to it again.

// %%
//| export text/byte_level.h
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

// %%
//| export text/byte_level.cpp
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

// %% {"nbgrader": {"grade": false, "grade_id": "10-word-end", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export text/byte_level.cpp
// The end of the word that begins at byte `begin`, by GPT-2's pattern. REQUIRES: begin < text.size().
// O(length of the word, and one character beyond).
//
// TODO: Find where the word ends, alternative by alternative.
// APPROACH: 1. One of the seven contractions: its end.
//           2. An optional space ' ', then a run of letters, of numbers, or of neither: the end of the run.
//           3. White space. If its run reaches the end of the text or has one character, its end; else where its
//              last character begins.
// EXAMPLE: In "a  b", the words are "a", " " and " b".
// HINT: run_at(text, i) gives kind, last and end of the run at byte i.
std::size_t text::word_end(std::string_view text, std::size_t begin) {
  // BEGIN SOLUTION
  for (const std::string_view contraction : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
    if (text.substr(begin).starts_with(contraction)) return begin + contraction.size();
  const std::size_t first = text[begin] == ' ' ? begin + 1 : begin;
  if (first < text.size()) {
    const KindRun run = run_at(text, first);
    if (run.kind != WordKind::Space) return run.end;
  }
  const KindRun spaces = run_at(text, begin);
  return spaces.end == text.size() || spaces.last == begin ? spaces.end : spaces.last;
  // END SOLUTION
}

// %%
//| mistake 10-word-end takes-all-the-space
//| says A run of white space took also the last space, which belongs to the word behind it: "a  b" is "a", " ", " b".
#if 0
std::size_t text::word_end(std::string_view text, std::size_t begin) {
  for (const std::string_view contraction : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
    if (text.substr(begin).starts_with(contraction)) return begin + contraction.size();
  const std::size_t first = text[begin] == ' ' ? begin + 1 : begin;
  if (first < text.size()) {
    const KindRun run = run_at(text, first);
    if (run.kind != WordKind::Space) return run.end;
  }
  return run_at(text, begin).end;
}
#endif

// %%
//| mistake 10-word-end any-space-leads
//| says Only the space ' ' belongs to the word behind it. A line break or a tab before a word is a word of its own.
#if 0
std::size_t text::word_end(std::string_view text, std::size_t begin) {
  for (const std::string_view contraction : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
    if (text.substr(begin).starts_with(contraction)) return begin + contraction.size();
  const std::size_t first = kind_at(text, begin).kind == WordKind::Space ? begin + 1 : begin;
  if (first < text.size()) {
    const KindRun run = run_at(text, first);
    if (run.kind != WordKind::Space) return run.end;
  }
  const KindRun spaces = run_at(text, begin);
  return spaces.end == text.size() || spaces.last == begin ? spaces.end : spaces.last;
}
#endif

// %%
//| mistake 10-word-end contraction-behind-a-space
//| says The contractions are tried where the word begins, without the optional space: " 's" is " '" and "s".
#if 0
std::size_t text::word_end(std::string_view text, std::size_t begin) {
  const std::size_t first = text[begin] == ' ' ? begin + 1 : begin;
  for (const std::string_view contraction : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
    if (first < text.size() && text.substr(first).starts_with(contraction)) return first + contraction.size();
  if (first < text.size()) {
    const KindRun run = run_at(text, first);
    if (run.kind != WordKind::Space) return run.end;
  }
  const KindRun spaces = run_at(text, begin);
  return spaces.end == text.size() || spaces.last == begin ? spaces.end : spaces.last;
}
#endif

// %%
//| lesson
// The words with bars between them.
std::string words_of(std::string_view text) {
  std::string out;
  text::for_each_word(text, [&](std::string_view word) { out += (out.empty() ? "" : "|") + std::string(word); });
  return out;
}

// %% {"nbgrader": {"grade": true, "grade_id": "10-word-end-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("word_end: GPT-2's pattern on letters, numbers, white space and the rest") {
  CHECK_EQ(words_of("I've  got 42 apples!\n"), "I|'ve| | got| 42| apples|!|\n");
  CHECK_EQ(words_of("a  b"), "a| | b");
  CHECK_EQ(words_of("a\n\n  b"), "a|\n\n | b");
  CHECK_EQ(words_of("a\nb\tc"), "a|\n|b|\t|c");
  CHECK_EQ(words_of("they'll don't 's ''s I'M"), "they|'ll| don|'t| '|s| ''|s| I|'|M");
  CHECK_EQ(words_of("end   "), "end|   ");
  CHECK_EQ(words_of("x=3.14;"), "x|=|3|.|14|;");
  // Letters and numbers of any script; marks and emoji are neither.
  CHECK_EQ(words_of("na\u00efve \u4f60\u597d\u0663\u0664 e\u0301t\u00e9"), "na\u00efve| \u4f60\u597d|\u0663\u0664| e|\u0301|t\u00e9");
  CHECK_EQ(words_of(" \U0001f600\U0001f3fd!a"), " \U0001f600\U0001f3fd!|a");
  CHECK_EQ(words_of("a\xff\xfe b"), "a|\xff\xfe| b");
  // BEGIN HIDDEN TESTS
  CHECK_EQ(words_of(""), "");
  CHECK_EQ(words_of(" "), " ");
  CHECK_EQ(words_of("\u00a0\u00a0a"), "\u00a0|\u00a0|a");
  CHECK_EQ(words_of("a\u3000 b'"), "a|\u3000| b|'");
  CHECK_EQ(words_of("\xe2\x82"), "\xe2\x82");
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Merging the most frequent neighbours
//
// Byte-pair encoding (Gage 1994 for compression; Sennrich et al. 2015 for translation) starts from single bytes and repeats one step: count all pairs
// of neighbours in the training text, and make the most frequent pair a new token. The list of merges, in this order, is all that is learned. To
// encode a word later, the same merges are applied in the same order.
//
//       words (count)            most frequent pair       becomes
//       l o w (5)                l o   (7)                lo w (5)    lo w e r (2)    n e w (6)
//       l o w e r (2)            lo w  (7)                low (5)     low e r (2)     n e w (6)
//       n e w (6)                n e   (6), before e w    low (5)     low e r (2)     ne w (6)
//
// Applying: a table says for each pair when it was learned (its *rank*) and what it becomes. In each step the pair of lowest rank is merged, the
// leftmost first. The obvious loop looks through the whole word in every step, so a word of n bytes costs O(n^2). For English words that is nothing;
// for a line of 10,000 dashes, a base64 blob, or a language without spaces it is a server that hangs. Here is the obvious version, to test and
// measure against.

// %%
//| export text/merges.h
namespace text {

// The merges of a byte-pair encoding: for two neighbouring tokens, what they become and when that was learned.
class MergeTable {
 public:
  struct Merge {
    std::int64_t rank = 0;
    std::int64_t id = 0;
  };

  // A further merge; its rank is the number of merges before it. Throws ValueError if the pair is there already.
  void add(std::int64_t left, std::int64_t right, std::int64_t id);
  // The merge of a pair, or null. O(1).
  const Merge* find(std::int64_t left, std::int64_t right) const;
  // All pairs, by rank.
  const std::vector<std::pair<std::int64_t, std::int64_t>>& pairs() const { return pairs_; }

 private:
  struct Hash {
    std::size_t operator()(std::uint64_t key) const { return key * 0x9e3779b97f4a7c15u >> 20; }
  };
  std::unordered_map<std::uint64_t, Merge, Hash> merges_;
  std::vector<std::pair<std::int64_t, std::int64_t>> pairs_;
};

// Two token ids as one number. REQUIRES: both are in [0, 2^32).
inline std::uint64_t pair_key(std::int64_t left, std::int64_t right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint64_t>(right);
}

// Applies the merges to the tokens of one word, in place: always the pair of lowest rank, the leftmost of these
// first, until no pair is in the table. O(n log n) for n tokens.
void merge_word(std::vector<std::int64_t>& word, const MergeTable& merges);

}  // namespace text

// %%
//| export text/merges.cpp
void text::MergeTable::add(std::int64_t left, std::int64_t right, std::int64_t id) {
  const auto rank = static_cast<std::int64_t>(pairs_.size());
  const bool fresh = merges_.emplace(pair_key(left, right), Merge{rank, id}).second;
  TORCH_CHECK_VALUE(fresh, "the pair of the tokens ", left, " and ", right, " is merged twice\n[MergeTable] as merge ",
                    find(left, right)->rank, " and ", rank, ".");
  pairs_.emplace_back(left, right);
}

const text::MergeTable::Merge* text::MergeTable::find(std::int64_t left, std::int64_t right) const {
  const auto place = merges_.find(pair_key(left, right));
  return place == merges_.end() ? nullptr : &place->second;
}

// %%
//| lesson
// v1: looks through the whole word for every merge. O(n^2).
void merge_word_v1(Ids& word, const text::MergeTable& merges) {
  while (true) {
    const text::MergeTable::Merge* best = nullptr;
    std::size_t where = 0;
    for (std::size_t i = 0; i + 1 < word.size(); ++i) {
      const text::MergeTable::Merge* merge = merges.find(word[i], word[i + 1]);
      if (merge != nullptr && (best == nullptr || merge->rank < best->rank)) {
        best = merge;
        where = i;
      }
    }
    if (best == nullptr) return;
    word[where] = best->id;
    word.erase(word.begin() + static_cast<std::ptrdiff_t>(where) + 1);
  }
}

// %% [markdown]
// A merge changes only its neighbourhood: two pairs vanish, two appear. So keep all candidate pairs in a heap, lowest rank first, and the tokens in a
// doubly linked list, from which one can be removed in O(1). Removing candidates from the middle of a heap is awkward; leave them in, and when one
// comes out, check whether it still describes what stands there.
//
//       tokens      h     u     g     s           heap (rank, position)
//       next        1 --> 2 --> 3 --> end         (0, 1: "ug")  (2, 0: "hu")  (5, 2: "gs")
//
//       "ug" comes out: token 1 becomes "ug", token 2 is removed
//       tokens      h     ug    .     s           (2, 0: "hu")  now stale: right of h is no u
//       next        1 --> 3 --------> end         new candidates: "h ug" and "ug s", if they are in the table

// %% {"nbgrader": {"grade": false, "grade_id": "10-merge-word", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export text/merges.cpp
// Applies the merges to the tokens of one word, in place: always the pair of lowest rank, the leftmost of these
// first, until no pair is in the table. O(n log n) for n tokens.
//
// TODO: Merge with a heap of candidates and a linked list of tokens.
// APPROACH: 1. next[i] and previous[i] are i + 1 and i - 1 at first; n is the end.
//           2. A candidate is (rank, position, left, right). Push one for each pair that the table has.
//           3. Pop the smallest. It is stale unless word[position] is its left token and word[next[position]] its
//              right one: then drop it.
//           4. Otherwise write the new token to `position`, mark its right neighbour as removed (-1), unlink it, and push the
//              two new pairs.
//           5. At the end, close the gaps.
// EXAMPLE: With merges (0, 1) -> 2 and (2, 2) -> 3, the word 0 1 0 1 becomes 3.
// HINT: std::priority_queue gives the largest; std::greater<> turns a tuple's order around.
void text::merge_word(std::vector<std::int64_t>& word, const MergeTable& merges) {
  // BEGIN SOLUTION
  const std::size_t n = word.size();
  std::vector<std::size_t> next(n);
  std::vector<std::size_t> previous(n);
  for (std::size_t i = 0; i < n; ++i) {
    next[i] = i + 1;
    previous[i] = i == 0 ? n : i - 1;
  }
  using Candidate = std::tuple<std::int64_t, std::size_t, std::int64_t, std::int64_t>;
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  const auto push = [&](std::size_t i) {
    if (i == n || next[i] == n) return;
    if (const MergeTable::Merge* merge = merges.find(word[i], word[next[i]]))
      candidates.emplace(merge->rank, i, word[i], word[next[i]]);
  };
  for (std::size_t i = 0; i < n; ++i) push(i);
  while (!candidates.empty()) {
    const auto [rank, i, left, right] = candidates.top();
    candidates.pop();
    if (word[i] != left || next[i] == n || word[next[i]] != right) continue;
    const std::size_t removed = next[i];
    word[i] = merges.find(left, right)->id;
    word[removed] = -1;
    next[i] = next[removed];
    if (next[i] != n) previous[next[i]] = i;
    push(previous[i]);
    push(i);
  }
  word.erase(std::remove(word.begin(), word.end(), -1), word.end());
  // END SOLUTION
}

// %%
//| mistake 10-merge-word trusts-every-candidate
//| says A candidate that came out of the heap no longer described what stood at its place: an earlier merge had taken one of its tokens. Compare both
//| says tokens before merging.
#if 0
void text::merge_word(std::vector<std::int64_t>& word, const MergeTable& merges) {
  const std::size_t n = word.size();
  std::vector<std::size_t> next(n);
  std::vector<std::size_t> previous(n);
  for (std::size_t i = 0; i < n; ++i) {
    next[i] = i + 1;
    previous[i] = i == 0 ? n : i - 1;
  }
  using Candidate = std::tuple<std::int64_t, std::size_t, std::int64_t, std::int64_t>;
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  const auto push = [&](std::size_t i) {
    if (i == n || next[i] == n) return;
    if (const MergeTable::Merge* merge = merges.find(word[i], word[next[i]]))
      candidates.emplace(merge->rank, i, word[i], word[next[i]]);
  };
  for (std::size_t i = 0; i < n; ++i) push(i);
  while (!candidates.empty()) {
    const auto [rank, i, left, right] = candidates.top();
    candidates.pop();
    if (word[i] == -1 || next[i] == n) continue;
    const std::size_t removed = next[i];
    word[i] = merges.find(left, right)->id;
    word[removed] = -1;
    next[i] = next[removed];
    if (next[i] != n) previous[next[i]] = i;
    push(previous[i]);
    push(i);
  }
  word.erase(std::remove(word.begin(), word.end(), -1), word.end());
}
#endif

// %%
//| mistake 10-merge-word from-left-to-right
//| says The first pair from the left that is in the table was merged. Order decides: the pair that was learned first (the lowest rank) goes first,
//| says wherever it stands.
#if 0
void text::merge_word(std::vector<std::int64_t>& word, const MergeTable& merges) {
  for (std::size_t i = 0; i + 1 < word.size();) {
    if (const MergeTable::Merge* merge = merges.find(word[i], word[i + 1])) {
      word[i] = merge->id;
      word.erase(word.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      i = 0;
    } else {
      ++i;
    }
  }
}
#endif

// %%
//| mistake 10-merge-word forgets-the-left-neighbour
//| says After a merge two new pairs exist: with the token to the right, and with the one to the left. The left one was never looked at.
#if 0
void text::merge_word(std::vector<std::int64_t>& word, const MergeTable& merges) {
  const std::size_t n = word.size();
  std::vector<std::size_t> next(n);
  for (std::size_t i = 0; i < n; ++i) next[i] = i + 1;
  using Candidate = std::tuple<std::int64_t, std::size_t, std::int64_t, std::int64_t>;
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  const auto push = [&](std::size_t i) {
    if (i == n || next[i] == n) return;
    if (const MergeTable::Merge* merge = merges.find(word[i], word[next[i]]))
      candidates.emplace(merge->rank, i, word[i], word[next[i]]);
  };
  for (std::size_t i = 0; i < n; ++i) push(i);
  while (!candidates.empty()) {
    const auto [rank, i, left, right] = candidates.top();
    candidates.pop();
    if (word[i] != left || next[i] == n || word[next[i]] != right) continue;
    const std::size_t removed = next[i];
    word[i] = merges.find(left, right)->id;
    word[removed] = -1;
    next[i] = next[removed];
    push(i);
  }
  word.erase(std::remove(word.begin(), word.end(), -1), word.end());
}
#endif

// %%
//| lesson
Ids merged(Ids word, const text::MergeTable& merges) {
  text::merge_word(word, merges);
  return word;
}

// A table of merges of tokens below `letters` and of what comes from them, in no order; always the same one.
text::MergeTable scattered_merges(std::int64_t letters, std::int64_t count) {
  text::MergeTable merges;
  std::uint64_t state = 88172645463325252u;
  const auto below = [&](std::int64_t bound) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return static_cast<std::int64_t>(state % static_cast<std::uint64_t>(bound));
  };
  for (std::int64_t id = letters; id < letters + count;) {
    const std::int64_t left = below(id);
    const std::int64_t right = below(id);
    if (merges.find(left, right) == nullptr) merges.add(left, right, id++);
  }
  return merges;
}

// %% {"nbgrader": {"grade": true, "grade_id": "10-merge-word-test", "locked": true, "points": 8, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("merge_word: by rank, the leftmost first, as the obvious loop does") {
  text::MergeTable merges;
  merges.add(0, 1, 4);  // ab
  merges.add(1, 2, 5);  // bc
  merges.add(4, 4, 6);  // abab
  merges.add(3, 4, 7);  // dab
  CHECK_EQ(merged({0, 1, 0, 1}, merges), Ids{6});
  CHECK_EQ(merged({0, 1, 2}, merges), Ids{4, 2});  // ab was learned before bc
  CHECK_EQ(merged({1, 2, 0, 1}, merges), Ids{5, 4});
  CHECK_EQ(merged({3, 0, 1}, merges), Ids{7});
  CHECK_EQ(merged({0, 1, 0, 1, 0, 1}, merges), Ids{6, 4});
  CHECK_EQ(merged({2, 2, 3}, merges), Ids{2, 2, 3});
  text::MergeTable pairs;
  pairs.add(0, 0, 1);
  CHECK_EQ(merged({0, 0, 0}, pairs), Ids{1, 0});
  CHECK_ERROR(pairs.add(0, 0, 2), "is merged twice");
  // Random tables and words, against v1.
  const text::MergeTable random = scattered_merges(4, 60);
  std::uint64_t state = 12345;
  for (int trial = 0; trial < 200; ++trial) {
    Ids word;
    for (int i = 0; i < trial % 40; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      word.push_back(static_cast<std::int64_t>(state >> 62));
    }
    Ids expected = word;
    merge_word_v1(expected, random);
    CHECK_EQ(merged(word, random), expected);
  }
  // BEGIN HIDDEN TESTS
  CHECK_EQ(merged({}, merges), Ids{});
  CHECK_EQ(merged({3}, merges), Ids{3});
  CHECK_EQ(merged(Ids(1001, 0), pairs).size(), 501);
  // END HIDDEN TESTS
}

// %% [markdown]
// ### The tokenizer
//
// Around the merges stand the splitting, the table of the 256 single bytes, and *special tokens*: pieces like `<|endoftext|>` that never come from
// merging, separate documents, and must not be cut. They are looked for before anything else.
//
//       "a cat<|endoftext|>"
//         |  split at special tokens      "a cat"                     <|endoftext|>
//         |  words                        "a"      " cat"                  |
//         |  bytes                        61       20 63 61 74             |
//         v  merges                       64       3797                  50256        (GPT-2's ids)
//
// Words repeat: of a hundred words of a text, most were seen a moment ago. So each call remembers what a word became, and merges only new ones.

// %%
//| export text/bpe.h
namespace text {

struct BPETrainerOptions {
  BPETrainerOptions(std::int64_t vocab_size = 30000) : vocab_size_(vocab_size) {}
  TORCH_ARG(std::int64_t, vocab_size);         // special tokens and the 256 bytes included
  TORCH_ARG(std::int64_t, min_frequency) = 0;  // a pair that is rarer is not merged
  TORCH_ARG(std::vector<std::string>, special_tokens);
};

// Byte-level byte-pair encoding as in GPT-2 (Radford et al. 2019): every text, and every sequence of bytes, has ids,
// and decode(encode(text)) == text. Inside, tokens are plain bytes.
class BPETokenizer : public Tokenizer {
 public:
  // `tokens` by id, and merges as pairs of tokens, in the order in which they were learned. Throws ValueError if a
  // merge names what is no token, or makes none.
  BPETokenizer(const std::vector<std::string>& tokens,
               const std::vector<std::pair<std::string, std::string>>& merges);

  // Learns merges from a text until there are `vocab_size` tokens or no pair occurs often enough. The ids are those
  // of Hugging Face's trainer: special tokens, bytes by their printable characters, merges; among equally
  // frequent pairs the one with the smaller ids comes first. Throws ValueError if vocab_size leaves no room for bytes.
  static BPETokenizer train(std::string_view text, const BPETrainerOptions& options = {});

  // GPT-2's files. Throws Error, with the file and what is wrong in it, for a damaged one.
  static BPETokenizer from_files(const std::string& vocab_json, const std::string& merges_txt);
  void save(const std::string& vocab_json, const std::string& merges_txt) const;

  // Makes `token` special: encode() never cuts it. Returns its id, a new one if it is no token yet.
  std::int64_t add_special_token(const std::string& token);

  // O(size) for words that repeat, O(n log n) for a new word of n bytes. Throws ValueError for a byte that the
  // vocabulary has no token for (GPT-2's has all).
  std::vector<std::int64_t> encode(std::string_view text) const override;
  // The bytes of the tokens. A part of a text may begin or end within a character.
  std::string decode(IntArrayRef ids) const override;
  std::int64_t vocab_size() const override { return vocabulary_.size(); }

  const Vocabulary& vocabulary() const { return vocabulary_; }
  const MergeTable& merges() const { return merges_; }

 private:
  void append_word(std::vector<std::int64_t>& ids, std::string_view word) const;

  Vocabulary vocabulary_;
  MergeTable merges_;
  std::vector<std::int64_t> byte_ids_;  // for each byte its id, or -1
  std::vector<std::pair<std::string, std::int64_t>> special_;
};

}  // namespace text

// %%
//| export text/bpe.cpp
text::BPETokenizer::BPETokenizer(const std::vector<std::string>& tokens,
                                 const std::vector<std::pair<std::string, std::string>>& merges)
    : vocabulary_(tokens), byte_ids_(256, -1) {
  for (int byte = 0; byte < 256; ++byte)
    if (const auto id = vocabulary_.find(std::string(1, static_cast<char>(static_cast<unsigned char>(byte)))))
      byte_ids_[static_cast<std::size_t>(byte)] = *id;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const auto& [left, right] = merges[i];
    const auto id_of = [&](const std::string& token) {
      const auto id = vocabulary_.find(token);
      TORCH_CHECK_VALUE(id.has_value(), "merge ", i, " needs the token \"", to_printable(token),
                        "\", which is not in the vocabulary\n[BPETokenizer] vocabulary and merges must come from one "
                        "training.");
      return *id;
    };
    merges_.add(id_of(left), id_of(right), id_of(left + right));
  }
}

std::int64_t text::BPETokenizer::add_special_token(const std::string& token) {
  TORCH_CHECK_VALUE(!token.empty(), "a special token cannot be empty");
  const std::int64_t id = vocabulary_.add(token);
  const bool known = std::any_of(special_.begin(), special_.end(), [&](const auto& entry) { return entry.second == id; });
  if (!known) special_.emplace_back(token, id);
  return id;
}

void text::BPETokenizer::append_word(std::vector<std::int64_t>& ids, std::string_view word) const {
  std::vector<std::int64_t> tokens;
  tokens.reserve(word.size());
  for (const char c : word) {
    const auto byte = static_cast<unsigned char>(c);
    TORCH_CHECK_VALUE(byte_ids_[byte] >= 0, "the vocabulary has no token for the byte ", static_cast<int>(byte),
                      "\n[BPETokenizer] train with all 256 bytes, or leave such characters out.");
    tokens.push_back(byte_ids_[byte]);
  }
  merge_word(tokens, merges_);
  ids.insert(ids.end(), tokens.begin(), tokens.end());
}

std::vector<std::int64_t> text::BPETokenizer::encode(std::string_view text) const {
  std::vector<std::int64_t> ids;
  // Where the ids of a word stand in `ids` already.
  std::unordered_map<std::string_view, std::pair<std::size_t, std::size_t>> seen;
  split_at_special(text, special_, [&](std::string_view part, std::int64_t special) {
    if (special >= 0) {
      ids.push_back(special);
      return;
    }
    for_each_word(part, [&](std::string_view word) {
      const std::size_t begin = ids.size();
      const auto known = seen.find(word);
      if (known != seen.end()) {
        for (std::size_t i = known->second.first; i < known->second.second; ++i) ids.push_back(ids[i]);
        return;
      }
      append_word(ids, word);
      seen.emplace(word, std::pair(begin, ids.size()));
    });
  });
  return ids;
}

std::string text::BPETokenizer::decode(IntArrayRef ids) const {
  std::string out;
  for (const std::int64_t id : ids) out += vocabulary_.token(id);
  return out;
}

// %%
TEST_CASE("BPETokenizer: words, merges, special tokens, and any bytes") {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(static_cast<unsigned char>(byte)));
  for (const char* token : {"ca", "cat", " cat", "a "}) tokens.emplace_back(token);
  text::BPETokenizer tokenizer(tokens, {{"c", "a"}, {"ca", "t"}, {" ", "cat"}, {"a", " "}});
  CHECK_EQ(tokenizer.encode("a cat cat"), Ids{'a', 258, 258});  // "a " crosses a word, so it is never made
  CHECK_EQ(tokenizer.add_special_token("<|end|>"), 260);
  CHECK_EQ(tokenizer.add_special_token("<|end|>"), 260);
  CHECK_EQ(tokenizer.encode("cat<|end|>cat"), Ids{257, 260, 257});
  CHECK_EQ(tokenizer.decode({257, 260, 257}), "cat<|end|>cat");
  const std::string odd("\xff\x00 caf\xc3\xa9 \xf0\x9f", 11);
  CHECK_EQ(tokenizer.decode(tokenizer.encode(odd)), odd);
  CHECK_ERROR(tokenizer.decode({261}), "there is no token with the id 261");
  CHECK_ERROR(text::BPETokenizer({"a", "b"}, {{"a", "b"}}), "merge 0 needs the token \"ab\"");
  CHECK_ERROR(text::BPETokenizer({"a", "a"}, {}), "the token \"a\" is in the vocabulary twice");
  CHECK_ERROR(text::BPETokenizer({"a"}, {}).encode("ab"), "the vocabulary has no token for the byte 98");
}

// %% [markdown]
// ### Training
//
// Counting every pair of the text again after each merge costs O(text) a merge. Two ideas make it fast. First, the text becomes a table of distinct
// words with their counts: Shakespeare's million characters have some 26,000 of them. Second, a merge changes counts only where the pair occurs:
//
//       word  x a b y  (count 5)      merge (a b) -> c       word  x c y
//             (x a) -5    (x c) +5
//             (b y) -5    (c y) +5                            all other pairs of all other words: as before
//
// So keep for each pair its count and the words in which it occurs, and the pairs in a heap by count. As before, entries of the heap may be out of
// date: one whose count is no longer right is pushed back with the right one. That works because the count of an old pair can only fall, so an entry
// is never too small.
//
// You write the step that must be exact: replacing the pair in a word and saying which counts change. The trap is the overlap: in `a a a a`, merging
// (a a) must give two tokens, and the pairs between them are new on both sides.

// %%
//| export text/merges.h
namespace text {

// Replaces the pair (left, right) in `word` by `id`, from the left on, and calls changed(a, b, by) for every pair that
// thereby becomes rarer (by = -1) or more frequent (+1); the pair itself is not reported. O(size of the word).
void replace_pair(std::vector<std::int64_t>& word, std::int64_t left, std::int64_t right, std::int64_t id,
                  const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& changed);

}  // namespace text

// %% {"nbgrader": {"grade": false, "grade_id": "10-replace-pair", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export text/merges.cpp
// Replaces the pair (left, right) in `word` by `id`, from the left on, and calls changed(a, b, by) for every pair that
// thereby becomes rarer (by = -1) or more frequent (+1); the pair itself is not reported. O(size of the word).
//
// TODO: Replace the pair and report how the neighbouring pairs change.
// APPROACH: 1. Walk with a place to read and a place to write, so that nothing is erased in the middle.
//           2. At an occurrence: the token before it, as it stands *now* in the written part, had a pair with
//              `left` and gets one with `id`; the token behind had one with `right` and gets one with `id`.
// EXAMPLE: x a b y with (a, b) -> c reports (x, a) -1, (x, c) +1, (b, y) -1, (c, y) +1.
// HINT: In a a a a, the token behind the first occurrence is an `a` that may itself be replaced next: then the pair
//       (id, a) just reported as +1 is reported as -1 again. That is right.
void text::replace_pair(std::vector<std::int64_t>& word, std::int64_t left, std::int64_t right, std::int64_t id,
                        const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& changed) {
  // BEGIN SOLUTION
  std::size_t written = 0;
  for (std::size_t read = 0; read < word.size(); ++read) {
    const bool found = word[read] == left && read + 1 < word.size() && word[read + 1] == right;
    if (!found) {
      word[written++] = word[read];
      continue;
    }
    if (written > 0) {
      changed(word[written - 1], left, -1);
      changed(word[written - 1], id, +1);
    }
    if (read + 2 < word.size()) {
      changed(right, word[read + 2], -1);
      changed(id, word[read + 2], +1);
    }
    word[written++] = id;
    ++read;
  }
  word.resize(written);
  // END SOLUTION
}

// %%
//| mistake 10-replace-pair looks-at-the-old-neighbour
//| says In a a a a the token before the second occurrence is the new one, not the old a: use the part of the word that is already written.
#if 0
void text::replace_pair(std::vector<std::int64_t>& word, std::int64_t left, std::int64_t right, std::int64_t id,
                        const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& changed) {
  const std::vector<std::int64_t> old = word;
  word.clear();
  for (std::size_t read = 0; read < old.size(); ++read) {
    const bool found = old[read] == left && read + 1 < old.size() && old[read + 1] == right;
    if (!found) {
      word.push_back(old[read]);
      continue;
    }
    if (read > 0) {
      changed(old[read - 1], left, -1);
      changed(old[read - 1], id, +1);
    }
    if (read + 2 < old.size()) {
      changed(right, old[read + 2], -1);
      changed(id, old[read + 2], +1);
    }
    word.push_back(id);
    ++read;
  }
}
#endif

// %%
//| mistake 10-replace-pair forgets-what-vanished
//| says The new pairs were counted, but the pairs that vanished kept their counts, so they will be merged although they no longer occur: report -1
//| says for (before, left) and (right, behind).
#if 0
void text::replace_pair(std::vector<std::int64_t>& word, std::int64_t left, std::int64_t right, std::int64_t id,
                        const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& changed) {
  std::size_t written = 0;
  for (std::size_t read = 0; read < word.size(); ++read) {
    const bool found = word[read] == left && read + 1 < word.size() && word[read + 1] == right;
    if (!found) {
      word[written++] = word[read];
      continue;
    }
    if (written > 0) changed(word[written - 1], id, +1);
    if (read + 2 < word.size()) changed(id, word[read + 2], +1);
    word[written++] = id;
    ++read;
  }
  word.resize(written);
}
#endif

// %%
//| lesson
using PairCounts = std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t>;

PairCounts count_pairs(const Ids& word) {
  PairCounts counts;
  for (std::size_t i = 0; i + 1 < word.size(); ++i) ++counts[{word[i], word[i + 1]}];
  return counts;
}

// The counts of the pairs after a replacement, by what replace_pair reports; without those of the pair itself and zeros.
PairCounts counts_after(Ids& word, std::int64_t left, std::int64_t right, std::int64_t id) {
  PairCounts counts = count_pairs(word);
  text::replace_pair(word, left, right, id,
                     [&](std::int64_t a, std::int64_t b, std::int64_t by) { counts[{a, b}] += by; });
  std::erase_if(counts, [&](const auto& entry) {
    return entry.second == 0 || entry.first == std::pair(left, right);
  });
  return counts;
}

// %% {"nbgrader": {"grade": true, "grade_id": "10-replace-pair-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("replace_pair: the word, and the counts that change") {
  Ids word{7, 1, 2, 8};
  std::vector<Ids> reports;
  text::replace_pair(word, 1, 2, 9, [&](std::int64_t a, std::int64_t b, std::int64_t by) { reports.push_back({a, b, by}); });
  CHECK_EQ(word, Ids{7, 9, 8});
  std::sort(reports.begin(), reports.end());
  CHECK_EQ(reports, std::vector<Ids>{{2, 8, -1}, {7, 1, -1}, {7, 9, 1}, {9, 8, 1}});
  // What is reported must be what counting again gives, in words full of overlaps.
  for (int bits = 0; bits < 256; ++bits) {
    Ids letters;
    for (int i = 0; i < 8; ++i) letters.push_back(bits >> i & 1);
    for (const auto& [left, right] : {std::pair(0, 0), std::pair(0, 1), std::pair(1, 1)}) {
      Ids replaced = letters;
      const PairCounts reported = counts_after(replaced, left, right, 5);
      PairCounts expected = count_pairs(replaced);
      expected.erase({left, right});
      CHECK(reported == expected);
    }
  }
  Ids run{3, 3, 3, 3, 3};
  counts_after(run, 3, 3, 4);
  CHECK_EQ(run, Ids{4, 4, 3});
  // BEGIN HIDDEN TESTS
  Ids none{1, 1, 1};
  CHECK(counts_after(none, 1, 2, 9) == count_pairs({1, 1, 1}));
  CHECK_EQ(none, Ids{1, 1, 1});
  Ids empty;
  counts_after(empty, 1, 2, 9);
  CHECK(empty.empty());
  // END HIDDEN TESTS
}

// %% [markdown]
// The trainer around it: distinct words, counts and places of pairs, the heap. Between equally frequent pairs the smaller ids win, as in Hugging
// Face's trainer, so that both learn the same merges from the same text. A pair may also make a token that exists already (`th` + `e` and `t` +
// `he`): it then gets that token's id.

// %%
//| export text/bpe_trainer.cpp
namespace {
struct PairUse {
  std::int64_t count = 0;
  std::vector<std::size_t> words;  // where it occurs, or did
  bool merged = false;             // it may come back, when another merge makes a token that exists already
};

class BPETrainer {
 public:
  BPETrainer(std::string_view text, std::vector<std::string> tokens, const std::vector<std::int64_t>& byte_ids)
      : tokens_(std::move(tokens)), vocabulary_(tokens_) {
    std::unordered_map<std::string_view, std::size_t> place;
    text::for_each_word(text, [&](std::string_view word) {
      const auto [known, fresh] = place.emplace(word, words_.size());
      if (fresh) {
        counts_.push_back(0);
        auto& ids = words_.emplace_back();
        for (const char c : word) ids.push_back(byte_ids[static_cast<unsigned char>(c)]);
      }
      ++counts_[known->second];
    });
    for (std::size_t w = 0; w < words_.size(); ++w) {
      for (std::size_t i = 0; i + 1 < words_[w].size(); ++i) {
        PairUse& use = pairs_[text::pair_key(words_[w][i], words_[w][i + 1])];
        use.count += counts_[w];
        if (use.words.empty() || use.words.back() != w) use.words.push_back(w);
      }
    }
    for (const auto& [key, use] : pairs_) heap_.push({use.count, key});
  }

  void learn(std::int64_t vocab_size, std::int64_t min_frequency) {
    while (vocabulary_.size() < vocab_size && !heap_.empty()) {
      const Entry best = heap_.top();
      heap_.pop();
      const std::int64_t now = pairs_[best.key].count;
      if (now != best.count) {
        if (now > 0) heap_.push({now, best.key});
        continue;
      }
      if (now < std::max<std::int64_t>(min_frequency, 1)) return;
      merge(best.key);
    }
  }

  text::BPETokenizer tokenizer() const { return {tokens_, merges_}; }

 private:
  struct Entry {
    std::int64_t count;
    std::uint64_t key;  // (left, right): its order is that of the ids
    bool operator<(const Entry& other) const { return count != other.count ? count < other.count : key > other.key; }
  };

  void merge(std::uint64_t key) {
    const auto left = static_cast<std::int64_t>(key >> 32);
    const auto right = static_cast<std::int64_t>(key & 0xffffffff);
    const std::string token = vocabulary_.token(left) + vocabulary_.token(right);
    const std::int64_t id = vocabulary_.add(token);
    if (id == static_cast<std::int64_t>(tokens_.size())) tokens_.push_back(token);
    PairUse& pair = pairs_[key];
    if (!pair.merged) merges_.emplace_back(vocabulary_.token(left), vocabulary_.token(right));
    const std::vector<std::size_t> places = std::move(pair.words);
    pair.words.clear();
    pair.count = 0;
    pair.merged = true;

    std::vector<std::uint64_t> grown;
    for (const std::size_t w : places) {
      text::replace_pair(words_[w], left, right, id, [&](std::int64_t a, std::int64_t b, std::int64_t by) {
        const std::uint64_t changed = text::pair_key(a, b);
        if (changed == key) return;
        PairUse& use = pairs_[changed];
        use.count += by * counts_[w];
        if (by < 0) return;
        if (use.words.empty() || use.words.back() != w) use.words.push_back(w);
        grown.push_back(changed);
      });
    }
    std::sort(grown.begin(), grown.end());
    grown.erase(std::unique(grown.begin(), grown.end()), grown.end());
    for (const std::uint64_t changed : grown)
      if (pairs_[changed].count > 0) heap_.push({pairs_[changed].count, changed});
  }

  std::vector<std::string> tokens_;
  text::Vocabulary vocabulary_;
  std::vector<std::pair<std::string, std::string>> merges_;
  std::vector<std::vector<std::int64_t>> words_;
  std::vector<std::int64_t> counts_;  // how often each word occurs
  std::unordered_map<std::uint64_t, PairUse> pairs_;
  std::priority_queue<Entry> heap_;
};
}  // namespace

text::BPETokenizer text::BPETokenizer::train(std::string_view text, const BPETrainerOptions& options) {
  const auto& special = options.special_tokens();
  const auto least = static_cast<std::int64_t>(special.size()) + 256;
  TORCH_CHECK_VALUE(options.vocab_size() >= least, "a vocabulary of ", options.vocab_size(), " tokens is too small\n[BPETokenizer::train] ",
                    special.size(), " special tokens and 256 bytes need ", least, ".");
  // Bytes in the order of their printable characters.
  std::vector<std::size_t> bytes(256);
  std::iota(bytes.begin(), bytes.end(), 0);
  std::sort(bytes.begin(), bytes.end(), [](std::size_t a, std::size_t b) { return byte_characters()[a] < byte_characters()[b]; });
  std::vector<std::string> tokens = special;
  std::vector<std::int64_t> byte_ids(256);
  for (const std::size_t byte : bytes) {
    byte_ids[byte] = static_cast<std::int64_t>(tokens.size());
    tokens.emplace_back(1, static_cast<char>(static_cast<unsigned char>(byte)));
  }
  BPETrainer trainer(text, std::move(tokens), byte_ids);
  trainer.learn(options.vocab_size(), options.min_frequency());
  BPETokenizer tokenizer = trainer.tokenizer();
  for (const std::string& token : special) tokenizer.add_special_token(token);
  return tokenizer;
}

// %%
//| lesson
// v1 of training: counts every pair of every word again for each merge.
std::vector<std::pair<std::string, std::string>> learn_merges_v1(std::string_view text, std::int64_t count) {
  std::map<std::string, std::int64_t> frequencies;
  text::for_each_word(text, [&](std::string_view word) { ++frequencies[std::string(word)]; });
  std::vector<std::pair<std::vector<std::string>, std::int64_t>> words;
  for (const auto& [word, frequency] : frequencies) {
    words.emplace_back(std::vector<std::string>(), frequency);
    for (const char c : word) words.back().first.emplace_back(1, c);
  }
  std::vector<std::pair<std::string, std::string>> merges;
  while (static_cast<std::int64_t>(merges.size()) < count) {
    std::map<std::pair<std::string, std::string>, std::int64_t> counts;
    for (const auto& [word, frequency] : words)
      for (std::size_t i = 0; i + 1 < word.size(); ++i) counts[{word[i], word[i + 1]}] += frequency;
    if (counts.empty()) break;
    const auto best = std::max_element(counts.begin(), counts.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    merges.push_back(best->first);
    const auto& [left, right] = merges.back();
    for (auto& [word, frequency] : words) {
      std::vector<std::string> replaced;
      for (std::size_t i = 0; i < word.size(); ++i) {
        const bool found = i + 1 < word.size() && word[i] == left && word[i + 1] == right;
        replaced.push_back(found ? left + right : word[i]);
        if (found) ++i;
      }
      word = replaced;
    }
  }
  return merges;
}

// A text of made-up words, some frequent, most rare; always the same one.
std::string made_up_text(std::size_t words) {
  static const char* const syllables[] = {"ka", "lo", "mir", "ten", "su", "pa", "or", "el", "qui", "dan", "es", "tho"};
  std::string text;
  std::uint64_t state = 2024;
  for (std::size_t i = 0; i < words; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    // The product of two uniform numbers favours small ones.
    std::uint64_t number = (state >> 54) * (state >> 44 & 1023) >> 10;
    for (bool more = true; more; more = number != 0) {
      text += syllables[number % 12];
      number /= 12;
    }
    text += (i + 1) % 11 == 0 ? ".\n" : " ";
  }
  return text;
}

// %%
TEST_CASE("training: the merges of a small text, and those that counting again would find") {
  const auto small = text::BPETokenizer::train("low low low low low lower lower new new new new new new", text::BPETrainerOptions(262));
  std::string learned;
  for (const auto& [left, right] : small.merges().pairs())
    learned += small.vocabulary().token(left) + "+" + small.vocabulary().token(right) + ",";
  // The words are "low" 1, " low" 4, " lower" 2, " new" 6. Of equally frequent pairs that with the smaller ids comes
  // first, and the space has a large one.
  CHECK_EQ(learned, "l+o,lo+w,e+w,n+ew, +low, +new,");
  const std::string text = made_up_text(600);
  const auto v1 = learn_merges_v1(text, 60);
  const auto tokenizer = text::BPETokenizer::train(text, text::BPETrainerOptions(256 + 60));
  // The two choose differently among equally frequent pairs, so the lengths are compared, not the order.
  std::vector<std::string> all;
  for (int byte = 0; byte < 256; ++byte) all.emplace_back(1, static_cast<char>(static_cast<unsigned char>(byte)));
  for (const auto& [left, right] : v1)
    if (std::find(all.begin(), all.end(), left + right) == all.end()) all.push_back(left + right);
  const auto length = [&](const text::BPETokenizer& by) { return static_cast<double>(by.encode(text).size()); };
  const double ratio = length(tokenizer) / length(text::BPETokenizer(all, v1));
  CHECK(ratio > 0.95);
  CHECK(ratio < 1.05);
  CHECK_EQ(tokenizer.vocab_size(), 316);
  CHECK_EQ(tokenizer.decode(tokenizer.encode(text)), text);
  CHECK_EQ(text::BPETokenizer::train("aaaa bbbb", text::BPETrainerOptions(300).min_frequency(3)).vocab_size(), 258);
  const auto with_special = text::BPETokenizer::train("a b", text::BPETrainerOptions(258).special_tokens({"<|endoftext|>"}));
  CHECK_EQ(with_special.encode("<|endoftext|>!"), Ids{0, 1});
  CHECK_ERROR(text::BPETokenizer::train("a", text::BPETrainerOptions(255)), "a vocabulary of 255 tokens is too small");
}

// %% [markdown]
// ### Files that others wrote
//
// GPT-2 was published as two text files, and thousands of models since use the same form:
//
//       vocab.json    {"!": 0, "\"": 1, ..., "\u0120the": 262, ..., "<|endoftext|>": 50256}
//       merges.txt    #version: 0.2
//                     Ġ t            <- the first merge: " " + "t", in printable form
//                     Ġ a
//
// A file from the network is input that nobody has checked. A tokenizer must not crash on it, must not take gigabytes because an id says
// 4,000,000,000, and must not accept a vocabulary in which two tokens share an id and find out during training. Chapter 59's `read_vocabulary_json`
// takes one flat object of distinct texts and distinct numbers 0 .. n - 1, and refuses everything else with a sentence that names file and place.
// What the tokens and merges mean is checked here.

// %%
//| export text/bpe_files.cpp
namespace {
// The tokens of vocab.json as bytes, by id.
std::vector<std::string> read_vocabulary(const std::string& path) {
  std::vector<std::string> tokens = text::read_vocabulary_json(path);
  for (std::string& token : tokens) {
    const std::optional<std::string> bytes = text::from_printable(token);
    TORCH_CHECK(bytes && !bytes->empty(), "cannot read the vocabulary ", path, ": it has the token \"", token,
                "\", which stands for no bytes\n[BPETokenizer] tokens are written in GPT-2's printable form.");
    token = *bytes;
  }
  return tokens;
}

// The pairs of merges.txt as bytes.
std::vector<std::pair<std::string, std::string>> read_merges(const std::string& path) {
  const std::string bytes = serialize::read_file(path);
  std::vector<std::pair<std::string, std::string>> merges;
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < bytes.size();) {
    const std::size_t end = std::min(bytes.find('\n', begin), bytes.size());
    std::string_view line = std::string_view(bytes).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    const std::size_t space = line.find(' ');
    const auto left = text::from_printable(line.substr(0, space));
    const auto right = text::from_printable(space == std::string_view::npos ? "" : line.substr(space + 1));
    TORCH_CHECK(left && right && !left->empty() && !right->empty(), "cannot read the merges ", path, ": line ", number,
                " is not two tokens with a space between them\n[BPETokenizer] tokens are written in GPT-2's printable form.");
    merges.emplace_back(*left, *right);
  }
  return merges;
}
}  // namespace

text::BPETokenizer text::BPETokenizer::from_files(const std::string& vocab_json, const std::string& merges_txt) {
  const std::vector<std::string> tokens = read_vocabulary(vocab_json);
  const auto merges = read_merges(merges_txt);
  try {
    return BPETokenizer(tokens, merges);
  } catch (Error& error) {
    error.add_context("while reading " + vocab_json + " and " + merges_txt);
    throw;
  }
}

void text::BPETokenizer::save(const std::string& vocab_json, const std::string& merges_txt) const {
  std::string vocabulary = "{";
  for (std::int64_t id = 0; id < vocab_size(); ++id)
    vocabulary += (id == 0 ? "" : ", ") + json_text(to_printable(vocabulary_.token(id))) + ": " + std::to_string(id);
  std::string merges = "#version: 0.2\n";
  for (const auto& [left, right] : merges_.pairs())
    merges += to_printable(vocabulary_.token(left)) + " " + to_printable(vocabulary_.token(right)) + "\n";
  serialize::write_file_atomically(vocab_json, vocabulary + "}\n");
  serialize::write_file_atomically(merges_txt, merges);
}

// %%
TEST_CASE("BPETokenizer: GPT-2's files written and read, and damaged ones refused") {
  const tito::Scratch folder;
  const std::string text = made_up_text(200) + "caf\u00e9 \U0001f642\n";
  const auto tokenizer = text::BPETokenizer::train(text, text::BPETrainerOptions(300).special_tokens({"<|endoftext|>"}));
  const std::string vocab = folder.path("vocab.json");
  const std::string merges = folder.path("merges.txt");
  tokenizer.save(vocab, merges);
  text::BPETokenizer again = text::BPETokenizer::from_files(vocab, merges);
  CHECK_EQ(again.add_special_token("<|endoftext|>"), 0);
  CHECK_EQ(again.vocab_size(), tokenizer.vocab_size());
  CHECK_EQ(again.encode(text + "<|endoftext|>" + text), tokenizer.encode(text + "<|endoftext|>" + text));

  // GPT-2's own way to write: escaped, with line ends of Windows in the merges.
  const auto escaped = text::BPETokenizer::from_files(
      folder.write("v.json", R"({"t": 1, "\u0120": 0, "h": 2, "\u0120t": 3, "\u0120th": 4})"),
      folder.write("m.txt", "#version: 0.2\r\n\u0120 t\r\n\u0120t h\r\n"));
  CHECK_EQ(escaped.encode(" tht th"), Ids{4, 1, 4});

  CHECK_ERROR(text::BPETokenizer::from_files(folder.write("v.json", R"({"a": 0, "b": 4000000000})"), merges), "has 2 tokens, but \"b\" has the id 4000000000");
  CHECK_ERROR(text::BPETokenizer::from_files(folder.write("v.json", R"({"a b": 0})"), merges), "which stands for no bytes");
  const auto merges_error = [&](const std::string& content, const char* why) {
    CHECK_ERROR(text::BPETokenizer::from_files(folder.write("v.json", R"({"a": 0, "b": 1, "ab": 2})"), folder.write("m.txt", content)), why);
  };
  merges_error("a b\na\n", "line 2 is not two tokens");
  merges_error("a b c\n", "line 1 is not two tokens");
  merges_error("b a\n", "merge 0 needs the token \"ba\"");
  merges_error("a b\na b\n", "is merged twice");
  CHECK_ERROR(text::BPETokenizer::from_files(folder.path("nothing.json"), merges), "nothing.json");
}

// %% [markdown]
// ### From an id to a vector
//
// A network computes with real numbers, and an id is none: token 17 is not "more" than token 16. So each token gets a vector of its own, a row of a
// table of parameters (V, D), and the table is trained with everything else. Looking up rows is the same as multiplying one-hot vectors with the
// table, without the V - 1 products with zero for each token:
//
//       ids (2, 2)        weight (5, 3)                          embedding (2, 2, 3)
//       [ 3  0 ]      0 [ a0 a1 a2 ] <-------------+             [ [ d0 d1 d2 ] [ a0 a1 a2 ] ]
//       [ 3  1 ]      1 [ b0 b1 b2 ]               |             [ [ d0 d1 d2 ] [ b0 b1 b2 ] ]
//                     2 [ c0 c1 c2 ]               |
//                     3 [ d0 d1 d2 ]    ids[0][1] = 0
//                     4 [ e0 e1 e2 ]
//
// (Chapter 58 wraps the table in the module `nn::Embedding`, with PyTorch's options.) The gradient goes the other way: what arrives at a position is
// added to the row that was read there. Row d was read twice and receives a sum of two; rows c and e receive nothing. One position, the *padding*
// that fills short sentences, is kept out of training altogether. Time: O(N D) forward for N positions, whatever V is; the dense gradient also has V
// D zeros to write, and Part 2 measures what they cost.
//
// Two options come with it, both PyTorch's. `scale_grad_by_freq` divides what a row receives by how often it was read in the batch. `max_norm`
// shortens the rows that are read, before they are read.

// %%
//| export nn/embedding_ops.h
// Row indices[i, ...] of `weight` (V, D), for each index: sizes of `indices` + (D), in the dtype of `weight`.
// `indices` is Long or Int, any shape; each index is in [0, V). In the backward pass the row `padding_idx`
// receives no gradient (-1: none is left out), and with `scale_grad_by_freq` what a row receives is divided by
// the number of its positions in `indices`. The gradient is dense; `sparse` must be false.
// Throws IndexError for an index out of range. O(numel(indices) * D) time, independent of V.
// Source: aten/src/ATen/native/Embedding.cpp.
Tensor embedding(const Tensor& weight, const Tensor& indices, std::int64_t padding_idx = -1,
                 bool scale_grad_by_freq = false, bool sparse = false);
// The gradient of embedding() with respect to its weight: (num_weights, D), from grad_output, whose sizes are
// those of `indices` + (D). O(num_weights * D + numel(grad_output)).
Tensor embedding_dense_backward(const Tensor& grad_output, const Tensor& indices, std::int64_t num_weights,
                                std::int64_t padding_idx, bool scale_grad_by_freq);
// Scales the rows of `self` that `indices` names to a norm of max_norm, those that are longer. A layer calls it
// on its parameter under a NoGradGuard. O(numel(indices) * D).
const Tensor& embedding_renorm_(const Tensor& self, const Tensor& indices, double max_norm, double norm_type);

namespace op {
// (weight, indices, padding_idx, scale_grad_by_freq)
extern Operator<Tensor(const Tensor&, const Tensor&, std::int64_t, bool)> embedding;
// (grad_output, indices, num_weights, padding_idx, scale_grad_by_freq)
extern Operator<Tensor(const Tensor&, const Tensor&, std::int64_t, std::int64_t, bool)>
    embedding_dense_backward;
}  // namespace op

// %%
//| export nn/embedding_ops.cpp
namespace {
// `row` itself, which must be one of 0 .. rows - 1.
std::int64_t checked_row(std::int64_t row, std::int64_t rows) {
  TORCH_CHECK_INDEX(row >= 0 && row < rows, "index out of range in self\n[embedding] found the index ", row,
                    "; the table has ", rows, " rows, so indices are 0 to ", rows - 1,
                    ": is num_embeddings the size of the vocabulary?");
  return row;
}

// The indices one after the other, as Long.
Tensor flat_indices(const Tensor& indices) {
  return to_dtype(indices, kLong).contiguous().view({indices.numel()});
}
}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "10-embedding-rows", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/embedding_ops.cpp
namespace {
// out[i] = weight[ids[i]] for `count` ids, where `out` is (count, D) and contiguous. Row r of the table begins at
// weight + r * strides[0]; its elements are strides[1] apart. Throws IndexError by checked_row(). O(count * D).
//
// TODO: Copy the row of each id.
// APPROACH: 1. checked_row(ids[i], rows) is the row, or throws.
//           2. Copy D elements to out + i * D, one by one: the table may be a view whose elements are apart.
// EXAMPLE: With rows [[1, 2], [3, 4]] and the ids 1, 1, 0 the output is 3 4 3 4 1 2.
template <class T>
void copy_rows(T* out, const T* weight, const std::int64_t* ids, std::int64_t count, std::int64_t rows,
               std::int64_t D, IntArrayRef strides) {
  // BEGIN SOLUTION
  for (std::int64_t i = 0; i < count; ++i) {
    const T* const row = weight + checked_row(ids[i], rows) * strides[0];
    for (std::int64_t d = 0; d < D; ++d) out[i * D + d] = row[d * strides[1]];
  }
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 10-embedding-rows counts-from-the-end
//| says A negative index was taken from the end of the table. An id is a name, not a position: -1 is a mistake somewhere before (a padding value that
//| says was never replaced), and checked_row() should report it.
#if 0
template <class T>
void copy_rows(T* out, const T* weight, const std::int64_t* ids, std::int64_t count, std::int64_t rows,
               std::int64_t D, IntArrayRef strides) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t r = ids[i] < 0 ? ids[i] + rows : ids[i];
    const T* const row = weight + checked_row(r, rows) * strides[0];
    for (std::int64_t d = 0; d < D; ++d) out[i * D + d] = row[d * strides[1]];
  }
}
#endif

// %%
//| mistake 10-embedding-rows assumes-a-dense-table
//| says The rows of a transposed or sliced table came out wrong: row r begins at r * strides[0], and its elements are strides[1] apart.
#if 0
template <class T>
void copy_rows(T* out, const T* weight, const std::int64_t* ids, std::int64_t count, std::int64_t rows,
               std::int64_t D, IntArrayRef strides) {
  static_cast<void>(strides);
  for (std::int64_t i = 0; i < count; ++i) {
    const T* const row = weight + checked_row(ids[i], rows) * D;
    for (std::int64_t d = 0; d < D; ++d) out[i * D + d] = row[d];
  }
}
#endif

// %% {"nbgrader": {"grade": false, "grade_id": "10-embedding-backward", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/embedding_ops.cpp
namespace {
// table[ids[i]] += grad[i] * factor for `count` ids: `table` is (rows, D) and begins as zeros, `grad` is (count,
// D), both contiguous. Positions whose id is `padding_idx` add nothing. `counts` is null, and the factor 1; or
// counts[r] says how often row r occurs among the ids, and the factor is 1 / counts[r]. Throws IndexError by
// checked_row(). O(count * D): no other row is touched.
//
// TODO: Add the gradient of each position to the row that was read there.
// APPROACH: 1. Skip the padding. 2. row = checked_row(ids[i], rows). 3. Add D products to table + row * D.
// EXAMPLE: For the ids 1, 1, 0 and gradients of ones, row 1 receives 2 and row 0 receives 1; with counts, 1 and 1.
template <class T>
void add_rows(T* table, const T* grad, const std::int64_t* ids, std::int64_t count, std::int64_t rows,
              std::int64_t D, std::int64_t padding_idx, const std::int64_t* counts) {
  // BEGIN SOLUTION
  for (std::int64_t i = 0; i < count; ++i) {
    if (ids[i] == padding_idx) continue;
    const std::int64_t row = checked_row(ids[i], rows);
    const double factor = counts == nullptr ? 1.0 : 1.0 / static_cast<double>(counts[row]);
    for (std::int64_t d = 0; d < D; ++d)
      table[row * D + d] = static_cast<T>(table[row * D + d] + grad[i * D + d] * static_cast<T>(factor));
  }
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 10-embedding-backward overwrites
//| says A row that was read at several positions kept the gradient of the last one only. What is used n times receives the sum of n gradients: +=
//| says instead of =.
#if 0
template <class T>
void add_rows(T* table, const T* grad, const std::int64_t* ids, std::int64_t count, std::int64_t rows,
              std::int64_t D, std::int64_t padding_idx, const std::int64_t* counts) {
  for (std::int64_t i = 0; i < count; ++i) {
    if (ids[i] == padding_idx) continue;
    const std::int64_t row = checked_row(ids[i], rows);
    const double factor = counts == nullptr ? 1.0 : 1.0 / static_cast<double>(counts[row]);
    for (std::int64_t d = 0; d < D; ++d)
      table[row * D + d] = static_cast<T>(0 + grad[i * D + d] * static_cast<T>(factor));
  }
}
#endif

// %%
//| mistake 10-embedding-backward trains-the-padding
//| says The row of the padding received a gradient. It stands for "no word here" and must stay as it is: leave out positions whose id is padding_idx.
#if 0
template <class T>
void add_rows(T* table, const T* grad, const std::int64_t* ids, std::int64_t count, std::int64_t rows,
              std::int64_t D, std::int64_t padding_idx, const std::int64_t* counts) {
  static_cast<void>(padding_idx);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t row = checked_row(ids[i], rows);
    const double factor = counts == nullptr ? 1.0 : 1.0 / static_cast<double>(counts[row]);
    for (std::int64_t d = 0; d < D; ++d)
      table[row * D + d] = static_cast<T>(table[row * D + d] + grad[i * D + d] * static_cast<T>(factor));
  }
}
#endif

// %% [markdown]
// The operators around the two loops are given. The gradient of the gradient closes the circle: backward is linear in what arrives, and transposing
// "add to row" gives "read the row" again, so the derivative of `embedding_dense_backward` is an `embedding`, with the same positions left out and
// the same factors.
//
//       embedding                weight (V, D)  --- read rows --->  output (N, D)
//       embedding_dense_backward grad_weight    <--- add rows ---   grad_output
//       its gradient             g (V, D)       --- read rows --->  (N, D)

// %%
//| export nn/embedding_ops.cpp
namespace {
// How often each of 0 .. rows - 1 occurs among the indices.
std::vector<std::int64_t> occurrences(const Tensor& flat, std::int64_t rows) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(rows));
  const std::int64_t* const ids = flat.data<std::int64_t>();
  for (std::int64_t i = 0; i < flat.numel(); ++i) ++counts[static_cast<std::size_t>(checked_row(ids[i], rows))];
  return counts;
}

Tensor embedding_cpu(const Tensor& weight, const Tensor& indices, std::int64_t, bool) {
  const Tensor flat = flat_indices(indices);
  DimVector sizes(indices.sizes());
  sizes.push_back(weight.size(1));
  const Tensor result = empty(sizes, weight.scalar_type());
  dispatch_stored_types(weight.scalar_type(), [&]<class T>() {
    copy_rows(result.data<T>(), weight.data<T>(), flat.data<std::int64_t>(), flat.numel(), weight.size(0),
              weight.size(1), weight.strides());
  });
  return result;
}

Tensor embedding_dense_backward_cpu(const Tensor& grad_output, const Tensor& indices,
                                    std::int64_t num_weights, std::int64_t padding_idx,
                                    bool scale_grad_by_freq) {
  const Tensor flat = flat_indices(indices);
  const Tensor grad = grad_output.contiguous();
  const std::int64_t D = grad.size(-1);
  const Tensor result = zeros({num_weights, D}, grad.scalar_type());
  const auto counts = scale_grad_by_freq ? occurrences(flat, num_weights) : std::vector<std::int64_t>();
  dispatch_all_types(grad.scalar_type(), [&]<class T>() {
    add_rows(result.data<T>(), grad.data<T>(), flat.data<std::int64_t>(), flat.numel(), num_weights, D,
             padding_idx, scale_grad_by_freq ? counts.data() : nullptr);
  });
  return result;
}

// What add_rows() multiplies the gradient of each position with: sizes of `indices` + (1).
Tensor position_factors(const Tensor& indices, std::int64_t num_weights, std::int64_t padding_idx,
                        bool scale_grad_by_freq, ScalarType type) {
  const Tensor flat = flat_indices(indices);
  const auto counts = scale_grad_by_freq ? occurrences(flat, num_weights) : std::vector<std::int64_t>();
  const Tensor factors = empty({flat.numel()}, kDouble);
  for (std::int64_t i = 0; i < flat.numel(); ++i) {
    const std::int64_t id = flat.data<std::int64_t>()[i];
    const double shared = scale_grad_by_freq ? static_cast<double>(counts[static_cast<std::size_t>(id)]) : 1.0;
    factors.data<double>()[i] = id == padding_idx ? 0.0 : 1.0 / shared;
  }
  DimVector sizes(indices.sizes());
  sizes.push_back(1);
  return factors.view(sizes).to(type);
}
}  // namespace

constinit Operator<Tensor(const Tensor&, const Tensor&, std::int64_t, bool)> op::embedding(
    "embedding", {.cpu = embedding_cpu,
                  .autograd = gradient_of<op::embedding>(
                      [](const Tensor& g, Sizes<0> weight, Input<1> indices, Arg<2, std::int64_t> padding_idx,
                         Arg<3, bool> scale_grad_by_freq) {
                        return tinytorch::embedding_dense_backward(g, indices, weight[0], padding_idx,
                                                        scale_grad_by_freq);
                      },
                      no_gradient)});

constinit Operator<Tensor(const Tensor&, const Tensor&, std::int64_t, std::int64_t, bool)>
    op::embedding_dense_backward(
        "embedding_dense_backward",
        {.cpu = embedding_dense_backward_cpu,
         .autograd = gradient_of<op::embedding_dense_backward>(
             [](const Tensor& g, Input<1> indices, Arg<2, std::int64_t> num_weights,
                Arg<3, std::int64_t> padding_idx, Arg<4, bool> scale_grad_by_freq) {
               return tinytorch::embedding(g, indices) * position_factors(indices, num_weights, padding_idx,
                                                               scale_grad_by_freq, g.scalar_type());
             },
             no_gradient)});

// %%
//| export nn/embedding_ops.cpp
namespace {
void check_indices(const char* function, const Tensor& indices) {
  TORCH_CHECK(indices.scalar_type() == kLong || indices.scalar_type() == kInt,
              "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but "
              "got torch.",
              indices.scalar_type(), "Tensor instead (while checking arguments for ", function,
              ")\n[embedding] indices name rows; convert them with to(kLong).");
}
}  // namespace

Tensor embedding(const Tensor& weight, const Tensor& indices, std::int64_t padding_idx, bool scale_grad_by_freq,
                 bool sparse) {
  TORCH_CHECK(weight.dim() == 2, "'weight' must be 2-D\n[embedding] got sizes ", weight.sizes(),
              "; a table has one row for each index.");
  check_indices("embedding", indices);
  TORCH_CHECK_NOT_IMPLEMENTED(!sparse, "embedding: there are no sparse gradients\n[embedding] with sparse = false "
                                       "the gradient is dense, and zero but for the rows that were read.");
  return op::embedding(weight, indices, padding_idx, scale_grad_by_freq);
}

Tensor embedding_dense_backward(const Tensor& grad_output, const Tensor& indices, std::int64_t num_weights,
                                std::int64_t padding_idx, bool scale_grad_by_freq) {
  check_indices("embedding_backward", indices);
  DimVector expected(indices.sizes());
  expected.push_back(grad_output.dim() > 0 ? grad_output.size(-1) : 0);
  TORCH_CHECK(grad_output.sizes() == IntArrayRef(expected),
              "embedding_dense_backward: grad_output of size ", grad_output.sizes(),
              " does not belong to indices of size ", indices.sizes(),
              "\n[embedding_dense_backward] its sizes are those of the indices and the length of a row.");
  return op::embedding_dense_backward(grad_output, indices, num_weights, padding_idx, scale_grad_by_freq);
}

const Tensor& embedding_renorm_(const Tensor& self, const Tensor& indices, double max_norm, double norm_type) {
  TORCH_CHECK(self.dim() == 2, "Expected 2-dimensional tensor, but got ", self.dim(),
              "-dimensional tensor for argument #1 'self' (while checking arguments for embedding_renorm_)");
  check_indices("embedding_renorm_", indices);
  const Tensor flat = flat_indices(indices);
  const std::int64_t* const ids = flat.data<std::int64_t>();
  std::set<std::int64_t> used;
  for (std::int64_t i = 0; i < flat.numel(); ++i) used.insert(checked_row(ids[i], self.size(0)));
  const Tensor rows = empty({static_cast<std::int64_t>(used.size())}, kLong);
  std::copy(used.begin(), used.end(), rows.data<std::int64_t>());
  const Tensor values = index_select(self, 0, rows);
  const Tensor norms = norm(values, norm_type, {1}, /*keepdim=*/true);
  // The 1e-7 is PyTorch's.
  const Tensor scale = where(norms > max_norm, max_norm / (norms + 1e-7), ones_like(norms));
  return index_put_(self, std::vector<std::optional<Tensor>>{rows}, values * scale);
}

// %% {"nbgrader": {"grade": true, "grade_id": "10-embedding-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("embedding: rows by index, and gradients to the rows that were read") {
  const Tensor weight = tensor({{0.0, 0.5}, {1.0, 1.5}, {2.0, 2.5}, {3.0, 3.5}}).requires_grad_();
  const Tensor ids = tensor({{3, 0}, {3, 1}});
  const Tensor out = embedding(weight, ids, 1);
  CHECK_EQ(out, tensor({{{3.0, 3.5}, {0.0, 0.5}}, {{3.0, 3.5}, {1.0, 1.5}}}));
  (out * tensor({{1.0, 2.0}, {4.0, 8.0}}).unsqueeze(2)).sum().backward();
  CHECK_EQ(weight.grad(), tensor({{2.0, 2.0}, {0.0, 0.0}, {0.0, 0.0}, {5.0, 5.0}}));

  // Divided by how often a row was read; an Int index; an index without dimensions.
  const Tensor g = ones({3, 2});
  CHECK_EQ(embedding_dense_backward(g, tensor({2, 2, 0}), 3, -1, true), tensor({{1.0, 1.0}, {0.0, 0.0}, {1.0, 1.0}}));
  CHECK_EQ(embedding(weight.detach(), tensor({2}, kInt)), tensor({{2.0, 2.5}}));
  CHECK_EQ(embedding(weight.detach(), tensor(1)), tensor({1.0, 1.5}));
  // A transposed table is read by its strides.
  CHECK_EQ(embedding(weight.detach().t(), tensor({1, 1})), tensor({{0.5, 1.5, 2.5, 3.5}, {0.5, 1.5, 2.5, 3.5}}));

  CHECK_ERROR(embedding(weight, tensor({0, 4})), "index out of range in self");
  CHECK_ERROR(embedding(weight, tensor({-1})), "found the index -1; the table has 4 rows, so indices are 0 to 3");
  CHECK_ERROR(embedding(weight, tensor({1.0})), "one of the following scalar types: Long, Int; but got torch.FloatTensor");
  CHECK_ERROR(embedding(weight[0], ids), "'weight' must be 2-D");
  // BEGIN HIDDEN TESTS
  CHECK_EQ(embedding(weight.detach(), empty({0, 5}, kLong)).sizes(), IntArrayRef({0, 5, 2}));
  CHECK_EQ(embedding_dense_backward(g, tensor({2, 0, 2}), 3, 2, false), tensor({{1.0, 1.0}, {0.0, 0.0}, {0.0, 0.0}}));
  CHECK_ERROR(embedding_dense_backward(g, tensor({1, 5, 1}), 3, -1, false), "index out of range in self");
  CHECK_ERROR(embedding_dense_backward(g, tensor({1, 1}), 3, -1, false), "does not belong to indices of size [2]");
  // END HIDDEN TESTS
}

// %%
TEST_CASE("embedding_renorm_: long rows are shortened, once") {
  const Tensor table = tensor({{3.0, 4.0}, {0.3, 0.4}, {6.0, 8.0}});
  embedding_renorm_(table, tensor({0, 1, 0}), 1.0, 2.0);
  CHECK_CLOSE(table, tensor({{0.6, 0.8}, {0.3, 0.4}, {6.0, 8.0}}));
  embedding_renorm_(table, tensor({2}), 7.0, 1.0);
  CHECK_CLOSE(table[2], tensor({3.0, 4.0}));
  CHECK_ERROR(embedding_renorm_(table, tensor({3}), 1.0, 2.0), "index out of range in self");
}

// %% [markdown]
// ### Design: the gradient without its zeros
//
// A batch of 2,048 positions touches at most 2,048 rows of a table of 50,257. The dense gradient is then 96 % zeros, and for D = 768 it has 154 MB,
// which are written, read by the optimizer, and sent to other machines in data-parallel training. What is needed is only: which rows, and what each
// receives.
//
//       indices      3   0   3   1            rows      0   1   3          each row once, in order
//       gradients    g0  g1  g2  g3           values    g1  g3  g0+g2      what it receives
//       dense        g1  g3  0  g0+g2  0  0  0  0  ...                     a place for each row of the table
//
// PyTorch's answer is a sparse tensor in "coalesced" form: exactly these two tensors. Which data structure finds equal rows is your design (sorting,
// a hash table, counting). The contract bounds the memory: no structure may have a place for each row of the table, so its size is not even a
// parameter.

// %%
//| export nn/embedding_ops.h
namespace nn::functional {
// The gradient of an embedding without its zeros, (rows, values): `rows` (U) of Long, ascending, each row that `indices`
// names except `padding_idx`; `values` (U, D), the sum of grad_output over the positions of the row, in the order of the positions.
// For a step of gradient descent: weight.index_add_(0, rows, values, -lr). The sizes of `grad_output` are those of
// `indices` + (D). O(N log N + N D) time for N positions; memory besides the result: O(N) numbers.
std::tuple<Tensor, Tensor> embedding_row_gradient(const Tensor& grad_output, const Tensor& indices,
                                                  std::int64_t padding_idx = -1);
}  // namespace nn::functional

// %% {"nbgrader": {"grade": false, "grade_id": "10-row-gradient", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/embedding_ops.cpp
//| exercise design
// The gradient of an embedding without its zeros, (rows, values): `rows` (U) of Long, ascending, each row that `indices`
// names except `padding_idx`; `values` (U, D), the sum of grad_output over the positions of the row, in the order of the positions.
// O(N log N + N D) time for N positions; memory besides the result: O(N) numbers.
//
// TODO: Find the distinct rows and sum what each receives.
std::tuple<Tensor, Tensor> nn::functional::embedding_row_gradient(const Tensor& grad_output, const Tensor& indices,
                                                                  std::int64_t padding_idx) {
  // BEGIN SOLUTION
  const Tensor flat = flat_indices(indices);
  const std::int64_t* const ids = flat.data<std::int64_t>();
  const std::int64_t D = grad_output.size(-1);
  // Positions by row; within a row in their order.
  std::vector<std::int64_t> order;
  for (std::int64_t i = 0; i < flat.numel(); ++i)
    if (ids[i] != padding_idx) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) { return ids[a] < ids[b]; });
  std::vector<std::int64_t> distinct;
  for (const std::int64_t i : order)
    if (distinct.empty() || distinct.back() != ids[i]) distinct.push_back(ids[i]);

  const Tensor rows = empty({static_cast<std::int64_t>(distinct.size())}, kLong);
  std::copy(distinct.begin(), distinct.end(), rows.data<std::int64_t>());
  const Tensor values = zeros({rows.numel(), D}, grad_output.scalar_type());
  const Tensor grad = grad_output.detach().contiguous();
  dispatch_all_types(grad.scalar_type(), [&]<class T>() {
    std::int64_t row = -1;
    for (std::size_t k = 0; k < order.size(); ++k) {
      if (k == 0 || ids[order[k]] != ids[order[k - 1]]) ++row;
      const T* const from = grad.data<T>() + order[k] * D;
      T* const to = values.data<T>() + row * D;
      for (std::int64_t d = 0; d < D; ++d) to[d] = static_cast<T>(to[d] + from[d]);
    }
  });
  return {rows, values};
  // END SOLUTION
}

// %%
//| mistake 10-row-gradient lists-positions
//| says A row that was read twice is listed twice. The contract asks for each row once, with the sum: an optimizer that keeps state per row would
//| says otherwise update it twice in one step.
#if 0
std::tuple<Tensor, Tensor> nn::functional::embedding_row_gradient(const Tensor& grad_output, const Tensor& indices,
                                                                  std::int64_t padding_idx) {
  static_cast<void>(padding_idx);
  return {flat_indices(indices), grad_output.detach().reshape({indices.numel(), grad_output.size(-1)})};
}
#endif

// %%
//| mistake 10-row-gradient goes-through-the-dense-one
//| says The result is right, but a table of zeros was made on the way: the memory grows with the largest index. Work with the positions only.
#if 0
std::tuple<Tensor, Tensor> nn::functional::embedding_row_gradient(const Tensor& grad_output, const Tensor& indices,
                                                                  std::int64_t padding_idx) {
  const Tensor flat = flat_indices(indices);
  const std::int64_t V = flat.numel() == 0 ? 0 : flat.max().item<std::int64_t>() + 1;
  const Tensor dense = embedding_dense_backward(grad_output.detach(), indices, V, padding_idx, false);
  const Tensor counts = zeros({V}, kLong);
  for (std::int64_t i = 0; i < flat.numel(); ++i)
    if (flat.data<std::int64_t>()[i] != padding_idx) ++counts.data<std::int64_t>()[flat.data<std::int64_t>()[i]];
  const Tensor rows = counts.nonzero().view({-1});
  return {rows, dense.index_select(0, rows)};
}
#endif

// %%
//| lesson
// The most bytes that calling f held beyond what was held before.
template <class F>
double peak_of(F f) {
  memory::reset_peak();
  const std::size_t before = memory::stats().live;
  f();
  return static_cast<double>(memory::stats().peak - before);
}

// `count` ids below `vocabulary`, without pattern.
Tensor scattered_ids(std::int64_t count, std::int64_t vocabulary) {
  const Tensor x = arange(count).to(kDouble) * 0.61803398875;
  return ((x - x.to(kLong).to(kDouble)) * static_cast<double>(vocabulary)).to(kLong);
}

// %%
using nn::functional::embedding_row_gradient;

// %% {"nbgrader": {"grade": true, "grade_id": "10-row-gradient-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("embedding_row_gradient: each row once, the sums, and memory that knows no vocabulary") {
  const Tensor grad = tensor({{{1.0, 2.0}, {3.0, 4.0}}, {{10.0, 20.0}, {5.0, 6.0}}});
  const auto [rows, values] = embedding_row_gradient(grad, tensor({{3, 0}, {3, 1}}));
  CHECK_EQ(rows, tensor({0, 1, 3}));
  CHECK_EQ(values, tensor({{3.0, 4.0}, {5.0, 6.0}, {11.0, 22.0}}));
  const auto [kept, sums] = embedding_row_gradient(grad, tensor({{3, 0}, {3, 1}}), 3);
  CHECK_EQ(kept, tensor({0, 1}));
  CHECK_EQ(sums, tensor({{3.0, 4.0}, {5.0, 6.0}}));
  // The dense gradient is zeros with the values at the rows.
  const Tensor ids = scattered_ids(300, 50);
  const Tensor many = arange(300 * 4).to(kFloat).view({300, 4}).remainder(7) - 3;
  const auto [used, sum] = embedding_row_gradient(many, ids);
  CHECK_EQ(zeros({50, 4}).index_add_(0, used, sum), embedding_dense_backward(many, ids, 50, -1, false));
  // Ids of a table that is a thousand times as large.
  const Tensor large = ids * 100000;
  CHECK(peak_of([&] { return embedding_row_gradient(many, large); }) <= 3 * static_cast<double>(many.nbytes()));
  CHECK_EQ(std::get<0>(embedding_row_gradient(many, large)), used * 100000);
  // BEGIN HIDDEN TESTS
  const auto [no_rows, no_values] = embedding_row_gradient(zeros({0, 4}), zeros({0}, kLong));
  CHECK_EQ(no_rows.sizes(), IntArrayRef({0}));
  CHECK_EQ(no_values.sizes(), IntArrayRef({0, 4}));
  CHECK_EQ(std::get<1>(embedding_row_gradient(many.to(kDouble), ids.to(kInt))), sum.to(kDouble));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Where a token stands
//
// An embedding gives a word the same vector wherever it stands, and attention (module 11) treats its input as a set: "dog bites man" and "man bites
// dog" would be the same. So the position has to enter the numbers. Three ways are in use:
//
//       sinusoidal   x + s(position)           a fixed table of sines and cosines of many wavelengths      Transformer, 2017
//       learned      x + P[position]           a second embedding, trained                                 GPT-2, BERT
//       rotary       turn pairs of x by        applied to queries and keys; only differences of           RoFormer, LLaMA
//                    angles that grow          positions matter
//
// The sinusoids (Vaswani et al. 2017) give each pair of columns a frequency, from one radian a step down to 1/10000:
//
//       s(p)[2k]     = sin(p / 10000^(2k / D))         p = 0:  0 1 0 1 0 1 ...
//       s(p)[2k + 1] = cos(p / 10000^(2k / D))         p = 1:  sin 1, cos 1, sin 0.01, cos 0.01, ...   (D = 4)
//
// like the hands of a clock: the first pair turns fast, the last one hardly moves, together they name the position. And s(p + n) is s(p) turned by
// angles that depend on n only, so a linear layer can learn to look n steps back.

// %%
//| export nn/positions.h
namespace nn::functional {
// The table (length, dim) of sinusoids in `float`: column 2k of row p holds sin(p / base^(2k / dim)), column 2k + 1 the cosine.
// Throws ValueError unless dim is even. O(length * dim).
Tensor sinusoidal_positions(std::int64_t length, std::int64_t dim, double base = 10000.0);

// x (..., T, D), of which row t stands at position offset + t: each pair of numbers k = 0 .. D/2 - 1 is turned by the angle
// position / base^(2k / D). The pairs are (x[k], x[k + D/2]), or with `interleaved` (x[2k], x[2k + 1]). The dot product of
// two turned rows depends on the difference of their positions only. Throws ValueError unless D is even. O(numel).
// Source: Su et al. 2021; pairs as in GPT-NeoX and LLaMA, interleaved as in the paper and in GPT-J.
Tensor rotary_embedding(const Tensor& x, std::int64_t offset = 0, double base = 10000.0, bool interleaved = false);
}  // namespace nn::functional

// %% {"nbgrader": {"grade": false, "grade_id": "10-sinusoidal", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/positions.cpp
// The table (length, dim) of sinusoids in `float`: column 2k of row p holds sin(p / base^(2k / dim)), column 2k + 1 the cosine.
// Throws ValueError unless dim is even. O(length * dim).
//
// TODO: Fill the table.
// APPROACH: Two loops with std::sin and std::cos in double; write through data<float>().
// EXAMPLE: sinusoidal_positions(2, 4) is [[0, 1, 0, 1], [0.8415, 0.5403, 0.0100, 1.0000]].
// HINT: TORCH_CHECK_VALUE(dim % 2 == 0, ...).
Tensor nn::functional::sinusoidal_positions(std::int64_t length, std::int64_t dim, double base) {
  // BEGIN SOLUTION
  TORCH_CHECK_VALUE(dim % 2 == 0, "sinusoidal_positions: dim must be even, but is ", dim,
                    "\n[sinusoidal_positions] a sine and a cosine go together.");
  const Tensor table = empty({length, dim}, kFloat);
  float* const out = table.data<float>();
  for (std::int64_t p = 0; p < length; ++p) {
    for (std::int64_t c = 0; c < dim; c += 2) {
      const double angle = static_cast<double>(p) / std::pow(base, static_cast<double>(c) / static_cast<double>(dim));
      out[p * dim + c] = static_cast<float>(std::sin(angle));
      out[p * dim + c + 1] = static_cast<float>(std::cos(angle));
    }
  }
  return table;
  // END SOLUTION
}

// %%
//| mistake 10-sinusoidal a-frequency-for-each-column
//| says A sine and its cosine must have the same frequency: columns 2k and 2k + 1 share the exponent 2k / dim. Only then is a step in position a
//| says rotation of the pair.
#if 0
Tensor nn::functional::sinusoidal_positions(std::int64_t length, std::int64_t dim, double base) {
  TORCH_CHECK_VALUE(dim % 2 == 0, "sinusoidal_positions: dim must be even, but is ", dim);
  const Tensor table = empty({length, dim}, kFloat);
  for (std::int64_t p = 0; p < length; ++p) {
    for (std::int64_t c = 0; c < dim; ++c) {
      const double angle = static_cast<double>(p) / std::pow(base, static_cast<double>(c) / static_cast<double>(dim));
      table.data<float>()[p * dim + c] = static_cast<float>(c % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  }
  return table;
}
#endif

// %%
//| mistake 10-sinusoidal halves-the-exponent
//| says The exponent is 2k / dim for pair k, so that the slowest frequency is near 1 / base. With k / dim it stops at its root.
#if 0
Tensor nn::functional::sinusoidal_positions(std::int64_t length, std::int64_t dim, double base) {
  TORCH_CHECK_VALUE(dim % 2 == 0, "sinusoidal_positions: dim must be even, but is ", dim);
  const Tensor table = empty({length, dim}, kFloat);
  for (std::int64_t p = 0; p < length; ++p) {
    for (std::int64_t k = 0; k < dim / 2; ++k) {
      const double angle = static_cast<double>(p) / std::pow(base, static_cast<double>(k) / static_cast<double>(dim));
      table.data<float>()[p * dim + 2 * k] = static_cast<float>(std::sin(angle));
      table.data<float>()[p * dim + 2 * k + 1] = static_cast<float>(std::cos(angle));
    }
  }
  return table;
}
#endif

// %%
using nn::functional::rotary_embedding;
using nn::functional::sinusoidal_positions;

// %% {"nbgrader": {"grade": true, "grade_id": "10-sinusoidal-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("sinusoidal_positions: pairs of one frequency, from fast to slow") {
  CHECK_CLOSE(sinusoidal_positions(3, 4), tensor({{0.0, 1.0, 0.0, 1.0}, {0.8414710, 0.5403023, 0.0099998, 0.9999500},
                                                  {0.9092974, -0.4161468, 0.0199987, 0.9998000}}), 1e-5, 1e-6);
  // Every row has the length sqrt(D / 2), and the product of two rows knows only how far apart they are.
  const Tensor table = sinusoidal_positions(50, 32);
  const Tensor products = table.mm(table.t());
  CHECK_CLOSE(products[7][7], full({}, 16.0), 1e-5, 0.0);
  CHECK_CLOSE(products[3][10], products[40][47], 1e-4, 1e-4);
  CHECK_ERROR(sinusoidal_positions(3, 5), "dim must be even, but is 5");
  // BEGIN HIDDEN TESTS
  CHECK_EQ(sinusoidal_positions(0, 4).sizes(), IntArrayRef({0, 4}));
  CHECK_CLOSE(sinusoidal_positions(2, 2, 7.0)[1], tensor({0.8414710, 0.5403023}), 1e-5, 1e-6);
  // END HIDDEN TESTS
}

// %% [markdown]
// Rotary positions (Su et al. 2021) take the last observation and build on it. Instead of adding a vector, they *turn* each pair of numbers of a
// query or key by an angle that grows with the position. Turning keeps lengths, and the product of a query turned by 7 steps with a key turned by 4
// is the same as with 3 and 0: attention sees distances.
//
//       pair k of x, as a point        turned by a = position / base^(2k / D)
//            ^  . x'
//            | /                       x1' = x1 cos a - x2 sin a
//            |/   . x                  x2' = x2 cos a + x1 sin a
//            +--------->
//
// Which numbers form a pair is a convention, and weights that were trained with one do not work with the other: halves (x[k] with x[k + D/2]) in
// LLaMA, neighbours (x[2k] with x[2k + 1]) in the paper.

// %% {"nbgrader": {"grade": false, "grade_id": "10-rotary", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export nn/positions.cpp
namespace {
// The pairs (first, second), each (..., T, D/2), turned by the angles whose cosines and sines are (T, D/2).
//
// TODO: Turn each pair by its angle.
// APPROACH: Two expressions of tensors; the angles broadcast over the leading dimensions. Gradients follow by themselves.
// EXAMPLE: The pair (1, 0) turned by 90 degrees is (0, 1).
std::pair<Tensor, Tensor> turned(const Tensor& first, const Tensor& second, const Tensor& cosines, const Tensor& sines) {
  // BEGIN SOLUTION
  return {first * cosines - second * sines, second * cosines + first * sines};
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 10-rotary turns-backward
//| says The pairs turn the wrong way round. Distances still work, but published weights expect x1 cos a - x2 sin a.
#if 0
std::pair<Tensor, Tensor> turned(const Tensor& first, const Tensor& second, const Tensor& cosines, const Tensor& sines) {
  return {first * cosines + second * sines, second * cosines - first * sines};
}
#endif

// %%
//| mistake 10-rotary uses-the-new-first
//| says The second number was computed from the first one after it was turned. Both need the old pair; the length of the rows shows it.
#if 0
std::pair<Tensor, Tensor> turned(const Tensor& first, const Tensor& second, const Tensor& cosines, const Tensor& sines) {
  const Tensor changed = first * cosines - second * sines;
  return {changed, second * cosines + changed * sines};
}
#endif

// %%
//| export nn/positions.cpp
Tensor nn::functional::rotary_embedding(const Tensor& x, std::int64_t offset, double base, bool interleaved) {
  TORCH_CHECK_VALUE(x.dim() >= 2 && x.size(-1) % 2 == 0, "rotary_embedding: expected (..., T, D) with an even D, but got sizes ",
                    x.sizes(), "\n[rotary_embedding] numbers are turned in pairs.");
  const std::int64_t T = x.size(-2);
  const std::int64_t D = x.size(-1);
  // (T, D/2), in double: float would lose the angle of far positions.
  const Tensor frequencies = (arange(0, D, 2, kDouble) * (-std::log(base) / static_cast<double>(D))).exp();
  const Tensor angles = arange(offset, offset + T, 1, kDouble).unsqueeze(1) * frequencies;
  const Tensor cosines = angles.cos().to(x.scalar_type());
  const Tensor sines = angles.sin().to(x.scalar_type());
  if (interleaved) {
    const auto [first, second] = turned(x.slice(-1, 0, D, 2), x.slice(-1, 1, D, 2), cosines, sines);
    return stack({first, second}, -1).reshape(x.sizes());
  }
  const auto [first, second] = turned(x.slice(-1, 0, D / 2), x.slice(-1, D / 2, D), cosines, sines);
  return cat({first, second}, -1);
}

// %% {"nbgrader": {"grade": true, "grade_id": "10-rotary-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("rotary_embedding: pairs are turned, lengths stay, products see distances") {
  const Tensor x = tensor({{1.0, 2.0, 3.0, 4.0}, {1.0, 2.0, 3.0, 4.0}}, kDouble);
  const double c = std::cos(1.0);
  const double s = std::sin(1.0);
  const double c2 = std::cos(0.01);
  const double s2 = std::sin(0.01);
  CHECK_CLOSE(rotary_embedding(x), tensor({{1.0, 2.0, 3.0, 4.0}, {c - 3 * s, 2 * c2 - 4 * s2, 3 * c + s, 4 * c2 + 2 * s2}}, kDouble));
  CHECK_CLOSE(rotary_embedding(x, 0, 10000.0, true), tensor({{1.0, 2.0, 3.0, 4.0}, {c - 2 * s, 2 * c + s, 3 * c2 - 4 * s2, 4 * c2 + 3 * s2}}, kDouble));
  // Step by step, as a model that writes one token at a time: the offset counts.
  CHECK_CLOSE(rotary_embedding(x.slice(0, 1), 1), rotary_embedding(x).slice(0, 1));
  manual_seed(3);
  const Tensor q = randn({8}, kDouble);
  const Tensor k = randn({8}, kDouble);
  const auto product = [&](std::int64_t at_q, std::int64_t at_k) {
    return (rotary_embedding(q.view({1, 8}), at_q) * rotary_embedding(k.view({1, 8}), at_k)).sum();
  };
  CHECK_CLOSE(product(7, 4), product(1003, 1000), 1e-9, 1e-9);
  CHECK_CLOSE(rotary_embedding(q.view({1, 8}), 50).norm(), q.norm(), 1e-12, 0.0);
  CHECK_ERROR(rotary_embedding(zeros({2, 3})), "expected (..., T, D) with an even D, but got sizes [2, 3]");
  // BEGIN HIDDEN TESTS
  const Tensor heads = randn({2, 3, 5, 8}, kDouble);
  CHECK_CLOSE(rotary_embedding(heads)[1][2], rotary_embedding(heads[1][2]));
  CHECK_EQ(rotary_embedding(zeros({1, 2}, kFloat)).scalar_type(), kFloat);
  const Tensor leaf = randn({3, 4}, kDouble).requires_grad_();
  rotary_embedding(leaf).pow(2).sum().backward();
  CHECK_CLOSE(leaf.grad(), leaf.detach() * 2);  // turning keeps the length
  // END HIDDEN TESTS
}


// %% [markdown]
// ## Part 2: Systems analysis
//
// Four questions, measured when this file runs. What does the obvious loop cost on long words? What does counting again cost in training? What does a
// larger vocabulary buy, and what does it cost? And what does a dense gradient cost?
//
//       time per byte of one word                     length of the text in tokens
//          ^            / v1: grows with n               ^ \
//          |          /                                  |   \___          a larger vocabulary: shorter
//          |        /                                    |       \_____    sequences, but a larger table
//          |  -----------  v2: log n                     |             \______
//          +---------------------> n                     +---------------------> tokens in the vocabulary

// %%
//| lesson
std::string bar(double value, double most, double length = 30) {
  return std::string(static_cast<std::size_t>(std::max(0.0, std::min(value / most, 1.0) * length)), '#');
}

// %%
DEMO("merging one long word: the obvious loop against heap and list") {
  const auto tokenizer = text::BPETokenizer::train(made_up_text(400), text::BPETrainerOptions(400));
  std::printf("    bytes   v1 ns/byte   v2 ns/byte\n");
  for (const std::size_t n : {4, 16, 64, 256, 1024}) {
    Ids word;
    const std::string letters = made_up_text(n);
    for (std::size_t i = 0; word.size() < n; ++i)
      if (letters[i] >= 'a') word.push_back(*tokenizer.vocabulary().find(letters.substr(i, 1)));
    const auto per_byte = [&](auto merge) {
      return measure([&] { Ids copy = word; merge(copy, tokenizer.merges()); do_not_optimize(copy.data()); }, {.samples = 3}).median / static_cast<double>(n) * 1e9;
    };
    const double v1 = per_byte(merge_word_v1);
    const double v2 = per_byte(text::merge_word);
    std::printf("  %7zu %12.1f %12.1f  %s\n", n, v1, v2, bar(v1 / v2, 20).c_str());
  }
  std::cout << std::flush;
}

// %%
DEMO("training: count again, or update counts") {
  std::printf("    words   merges      v1 ms      v2 ms   v1 / v2\n");
  for (const std::size_t words : {200, 400, 800}) {
    const std::string text = made_up_text(words);
    const double v1 = measure([&] { do_not_optimize(learn_merges_v1(text, 40).size()); }, {.samples = 1}).median;
    const double v2 = measure([&] { do_not_optimize(text::BPETokenizer::train(text, text::BPETrainerOptions(296)).vocab_size()); }, {.samples = 1}).median;
    std::printf("  %7zu %8d %10.2f %10.2f %9.1f  %s\n", words, 40, v1 * 1e3, v2 * 1e3, v1 / v2, bar(v1 / v2, 60).c_str());
  }
  std::cout << std::flush;
}

// %%
DEMO("what a larger vocabulary buys") {
  const std::string text = made_up_text(4000);
  std::printf("  vocabulary   tokens   bytes per token   table of D = 64, KiB\n");
  for (const std::int64_t size : {256, 300, 400, 600, 1000}) {
    const auto tokenizer = text::BPETokenizer::train(text, text::BPETrainerOptions(size));
    const auto tokens = static_cast<double>(tokenizer.encode(text).size());
    const double per_token = static_cast<double>(text.size()) / tokens;
    const Tensor table = zeros({tokenizer.vocab_size(), 64});
    std::printf("  %10lld %8.0f %17.2f %22.0f  %s\n", static_cast<long long>(tokenizer.vocab_size()), tokens, per_token,
                static_cast<double>(table.nbytes()) / 1024, bar(per_token, 8).c_str());
  }
  std::cout << std::flush;
}

// %%
DEMO("memory and time of the gradient of an embedding") {
  const std::int64_t N = 256;
  const std::int64_t D = 32;
  const Tensor grad = ones({N, D});
  std::printf("  vocabulary   dense KiB   rows KiB   dense us   rows us\n");
  for (const std::int64_t V : {1000, 4000, 16000, 64000}) {
    const Tensor ids = scattered_ids(N, V);
    const auto dense = [&] { return embedding_dense_backward(grad, ids, V, -1, false); };
    const auto rows = [&] { return embedding_row_gradient(grad, ids); };
    const double dense_time = measure([&] { do_not_optimize(dense()); }, {.samples = 3}).median;
    const double rows_time = measure([&] { do_not_optimize(rows()); }, {.samples = 3}).median;
    const double dense_bytes = peak_of(dense);
    std::printf("  %10lld %11.0f %10.0f %10.1f %9.1f  %s\n", static_cast<long long>(V), dense_bytes / 1024, peak_of(rows) / 1024,
                dense_time * 1e6, rows_time * 1e6, bar(dense_bytes, 64000.0 * 32 * 4).c_str());
  }
  std::cout << std::flush;
}

// %% [markdown]
// `tito run 10` prints the measurements. Look for: from how many bytes on the heap pays for itself; how v1 of training grows with the number of words
// while v2 hardly does; where bytes per token stop growing; and which column of the last table knows the size of the vocabulary.

// %% [markdown]
// ## Part 3: Production context
//
// The parts are the same everywhere; what differs is where they run and what the embedding's gradient is.
//
//       text --> tokenizer (CPU, Rust or C++) --> ids --> embedding (device) --> + positions --> blocks
//                Hugging Face tokenizers                  torch.nn.Embedding
//                tiktoken, SentencePiece                  tf.nn.embedding_lookup, jnp.take
//
// - **PyTorch.** `aten/src/ATen/native/Embedding.cpp` has the functions you wrote: `embedding` is an `index_select`, `embedding_dense_backward_cpu`
//   adds rows in parallel by giving each thread a range of rows, and `embedding_sparse_backward` returns rows and values, as your design does.
//   `torch/csrc/api/src/nn/modules/embedding.cpp` is the module.
// - **TensorFlow.** The gradient of `tf.gather` is an `IndexedSlices`: values and indices, not coalesced
//   (`tensorflow/python/framework/indexed_slices.py`), and optimizers have sparse kernels for it. `tensorflow/core/kernels/resource_variable_ops.cc`
//   gathers rows out of variables that may live on parameter servers.
// - **JAX.** `jnp.take` or `table[ids]`; the gradient is a dense scatter-add (`jax/_src/lax/slicing.py`), and XLA often fuses it with the optimizer's
//   update. On TPUs a lookup is sometimes written as a one-hot product, because matrix units are that much faster.
// - **Tokenizers.** Hugging Face's `tokenizers` (Rust; `tokenizers/src/models/bpe/trainer.rs` has the heap with outdated entries, `word.rs` the merge
//   with heap and list) and OpenAI's `tiktoken` (`src/lib.rs`: for short words the quadratic loop, because it stays in the cache). SentencePiece
//   trains on raw text without splitting into words first, and marks spaces by `▁`.
// - **Positions.** Rotary positions won: LLaMA, Mistral, Qwen and GPT-NeoX use them. Stretching `base` lets a trained model read longer texts than it
//   was trained on.
//
// What this module leaves out: unigram models, dropout of merges, offsets into the original text, and tokenizers that train on more text than fits
// into memory.

// %% [markdown]
// ## Integration test
//
// From a text to vectors and back: train, save, load, encode, embed, and train a table so that it tells two kinds of words apart.

// %%
TEST_CASE("text: from a file of text to trained vectors") {
  const tito::Scratch folder;
  const std::string text = made_up_text(300) + "d\u00e9j\u00e0 vu \U0001f642\U0001f3fd \xff\n";
  text::BPETokenizer::train(text, text::BPETrainerOptions(300).special_tokens({"<|endoftext|>"}))
      .save(folder.path("vocab.json"), folder.path("merges.txt"));
  text::BPETokenizer tokenizer = text::BPETokenizer::from_files(folder.path("vocab.json"), folder.path("merges.txt"));
  const std::int64_t end = tokenizer.add_special_token("<|endoftext|>");
  const std::vector<std::int64_t> ids = tokenizer.encode(text + "<|endoftext|>");
  CHECK_EQ(tokenizer.decode(ids), text + "<|endoftext|>");
  CHECK_EQ(ids.back(), end);
  CHECK(ids.size() < text.size() * 3 / 4);

  // Tell tokens with an even id from the others, by one linear layer on their vectors.
  manual_seed(1);
  const Tensor tokens = tensor(std::vector<std::int64_t>(ids.begin(), ids.begin() + 64)).view({4, 16});
  const Tensor table = randn({tokenizer.vocab_size(), 8}).requires_grad_();
  const Tensor positions = sinusoidal_positions(16, 8);
  nn::Linear out(8, 1);
  const Tensor before = table.detach().clone();
  const Tensor target = tokens.remainder(2).to(kFloat) * 2 - 1;
  std::vector<Tensor> parameters = out->parameters();
  parameters.push_back(table);
  optim::Adam optimizer(parameters, optim::AdamOptions(0.05));
  double first = 0;
  double last = 0;
  for (int step = 0; step < 60; ++step) {
    optimizer.zero_grad();
    const Tensor loss = (out(embedding(table, tokens, end) + positions).squeeze(-1) - target).pow(2).mean();
    loss.backward();
    optimizer.step();
    (step == 0 ? first : last) = loss.item<double>();
  }
  CHECK(last < 0.3 * first);
  // Rows that were never read are as they were; those that were have moved.
  const Tensor moved = (table.detach() - before).abs().sum({1});
  std::vector<bool> used(static_cast<std::size_t>(tokenizer.vocab_size()));
  for (std::size_t i = 0; i < 64; ++i) used[static_cast<std::size_t>(ids[i])] = true;
  for (std::int64_t id = 0; id < tokenizer.vocab_size(); ++id)
    CHECK_EQ(moved[id].item<float>() > 0, static_cast<bool>(used[static_cast<std::size_t>(id)]));
}

// %% [markdown]
// ## ML systems thinking
//
// The pattern is Build -> Use -> **Reflect**. Use your measurements.

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "10-explain-vocabulary", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 1. How large a vocabulary?** From the third demonstration take bytes per token for two sizes of vocabulary. For a model with width D, T
// tokens of context and attention that costs T^2, what does the larger vocabulary change: in the first layer, in the last layer, in attention, in the
// text that fits into the context? GPT-2 has 50,257 tokens, recent models 128,000 and more. Which of your numbers argues for that, and what argues
// against a million?
// BEGIN SOLUTION
// The table and the last layer grow with V D; the loss holds V logits per position (module 04). Fewer tokens per text make attention cheaper by the
// square of the ratio, and the same context holds more text. Bytes per token grow ever more slowly with V: each doubling adds less, while the tables
// double. Rare tokens are also seen too seldom to be trained well. Multilingual text argues for more: with few merges for a script, its speakers pay
// several times as many tokens for the same sentence. At a million the last layer dominates time and memory of all but the largest models.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "10-explain-sparse", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 2. Dense or rows?** Your design's gradient is smaller by a factor that you measured. Still PyTorch's default is the dense one. What does
// Adam do with a row whose gradient is zero in this step, and what would it do with a row that is not listed? What becomes of weight decay and of
// momentum? What changes when the table is also the last layer (tied weights)?
// BEGIN SOLUTION
// With a zero gradient Adam still moves the row: its running mean decays and is applied for many steps more; weight decay shrinks it too. A row that
// is not listed is left alone by a "lazy" optimizer, so the two train different models; only plain SGD is the same. That is why sparse gradients need
// optimizers of their own (SparseAdam). With tied weights every row receives a gradient from the softmax in every step, so nothing is sparse any
// more: the dense gradient costs nothing extra.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "10-explain-tokens", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 3. What the model cannot see.** Encode `strawberry`, ` strawberry`, `1234567` and a line of Python with a tokenizer that you trained.
// Why is it hard for a model to count letters, to add long numbers, or to treat a word at the start of a line as the same word? A user sends 20,000
// times the letter "a" to your server: what happens with v1, what with v2? Which rule of the splitting would you change, and what would then become
// incompatible?
// BEGIN SOLUTION
// The model gets ids: the letters inside a token are nowhere in its input and must be learned from context. Numbers are cut by frequency, so digits
// of one place fall into different positions of tokens; models therefore split numbers into single digits or groups of three. The space belongs to
// the word, so a word at the start of a line is another token with another row. 20,000 times "a" is one word of letters: v1 needs on the order of n^2
// = 4e8 look-ups, v2 some 20,000 log n. Changing the pattern changes ids of the same text: every trained model, and every stored sequence of ids, is
// tied to the tokenizer that made them.
// END SOLUTION

// %% [markdown]
// ## Module summary
//
// - A tokenizer decides what a model can see and how long its sequences are. On bytes there are no unknown characters, and decoding gives back
//   exactly what was encoded.
// - Byte-pair encoding is a greedy loop; a heap whose outdated entries are recognized when they come out, and a linked list, make both applying and
//   training it fast.
// - Published vocabularies are input from strangers: check everything, name the place, take no memory on their word.
// - An embedding is a product with one-hot vectors, computed as a look-up; its gradient adds rows. Dense, it costs the whole table in each step; as
//   rows and values, it costs what was used.
// - Positions are added (sinusoids, a learned table) or turned into queries and keys (rotary), where only distances remain. Module 11 uses them in
//   attention.

// %%
}  // namespace tinytorch
