// From the lesson modules/10_text/text_dev.cpp:
// edit the module, not this file.

#include "tinytorch/text/merges.h"

#include <algorithm>
#include <queue>
#include <tuple>

#include "tinytorch/core/error.h"

namespace tinytorch {

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

// Applies the merges to the tokens of one word, in place: always the pair of lowest rank, the leftmost of these
// first, until no pair is in the table. O(n log n) for n tokens.
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
}

// Replaces the pair (left, right) in `word` by `id`, from the left on, and calls changed(a, b, by) for every pair that
// thereby becomes rarer (by = -1) or more frequent (+1); the pair itself is not reported. O(size of the word).
void text::replace_pair(std::vector<std::int64_t>& word, std::int64_t left, std::int64_t right, std::int64_t id,
                        const std::function<void(std::int64_t, std::int64_t, std::int64_t)>& changed) {
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
}

}  // namespace tinytorch
