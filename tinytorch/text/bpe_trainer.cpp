// From the lesson modules/10_text/text_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <numeric>
#include <queue>

#include "tinytorch/core/error.h"
#include "tinytorch/text/bpe.h"
#include "tinytorch/text/byte_level.h"

namespace tinytorch {

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

}  // namespace tinytorch
