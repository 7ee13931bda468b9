// From the lesson modules/10_text/text_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <functional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace tinytorch {

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

namespace text {

// Replaces the pair (left, right) in `word` by `id`, from the left on, and calls changed(a, b, by) for every pair that
// thereby becomes rarer (by = -1) or more frequent (+1); the pair itself is not reported. O(size of the word).
void replace_pair(std::vector<std::int64_t>& word, std::int64_t left, std::int64_t right, std::int64_t id,
                  const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& changed);

}  // namespace text

}  // namespace tinytorch
