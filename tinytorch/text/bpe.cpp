// From the lesson modules/10_text/text_dev.cpp:
// edit the module, not this file.

#include "tinytorch/text/bpe.h"

#include <algorithm>

#include "tinytorch/core/error.h"
#include "tinytorch/text/byte_level.h"

namespace tinytorch {

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

}  // namespace tinytorch
