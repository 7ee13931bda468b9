// From the lesson modules/58_text_extras/text_extras_dev.cpp:
// edit the module, not this file.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tinytorch/core/arg.h"
#include "tinytorch/text/vocabulary.h"

namespace tinytorch {

namespace text {

struct WordPieceOptions {
  TORCH_ARG(bool, lower_case) = true;  // for "uncased" vocabularies: lower case, and no accents
  TORCH_ARG(std::string, unknown) = "[UNK]";
  TORCH_ARG(std::int64_t, max_characters) = 100;  // a longer word is unknown
};

// The words that BERT's tokenizer sees: separated by white space, with punctuation and Chinese characters on their own, without
// control characters; in lower case and without accents if asked. O(size). Source: google-research/bert, tokenization.py.
std::vector<std::string> basic_words(std::string_view text, bool lower_case);
// The longest pieces of `word` from the left; those inside the word have "##" before them in the vocabulary. Nothing if they cannot
// cover the word. O(n^2) look-ups for n characters.
std::optional<std::vector<std::int64_t>> longest_pieces(std::string_view word, const Vocabulary& vocabulary);

// What a BERT model takes: ids, and for each 0 in the first text and 1 in the second.
struct BertInput {
  std::vector<std::int64_t> input_ids;
  std::vector<std::int64_t> token_type_ids;
};

// BERT's tokenizer, for a list of pieces (vocab.txt). [CLS], [SEP], [MASK], [PAD] and the unknown token are kept whole where they
// stand in a text.
class WordPieceTokenizer : public Tokenizer {
 public:
  // Throws ValueError if the unknown token is not in the vocabulary.
  explicit WordPieceTokenizer(const std::vector<std::string>& tokens, const WordPieceOptions& options = {});
  // vocab.txt: one piece in each line. Throws Error if it cannot be read.
  static WordPieceTokenizer from_file(const std::string& vocab_txt, const WordPieceOptions& options = {});

  // The pieces of the text, without [CLS] and [SEP].
  std::vector<std::int64_t> encode(std::string_view text) const override;
  // [CLS] text [SEP], or [CLS] text [SEP] second [SEP]. Throws ValueError if the vocabulary lacks these.
  BertInput bert_input(std::string_view text, std::optional<std::string_view> second = std::nullopt) const;
  // The words with spaces between them: not the text that was encoded.
  std::string decode(IntArrayRef ids) const override;
  std::int64_t vocab_size() const override { return vocabulary_.size(); }
  const Vocabulary& vocabulary() const { return vocabulary_; }

 private:
  Vocabulary vocabulary_;
  WordPieceOptions options_;
  std::int64_t unknown_;
  std::vector<std::pair<std::string, std::int64_t>> special_;
};

}  // namespace text

}  // namespace tinytorch
