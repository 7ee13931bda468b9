// From the lesson modules/10_text/text_dev.cpp:
// edit the module, not this file.
#pragma once

#include <utility>

#include "tinytorch/core/arg.h"
#include "tinytorch/text/merges.h"
#include "tinytorch/text/vocabulary.h"

namespace tinytorch {

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

}  // namespace tinytorch
