// From the lesson modules/59_unicode/unicode_dev.cpp:
// edit the module, not this file.

#include "tinytorch/text/vocabulary.h"

#include "tinytorch/core/error.h"

namespace tinytorch {

text::Vocabulary::Vocabulary(const std::vector<std::string>& tokens) {
  for (const std::string& token : tokens) {
    const std::int64_t id = size();
    TORCH_CHECK_VALUE(add(token) == id, "the token \"", token, "\" is in the vocabulary twice\n[Vocabulary] as ids ",
                      *find(token), " and ", id, "; a token has one id.");
  }
}

std::optional<std::int64_t> text::Vocabulary::find(std::string_view token) const {
  const auto place = ids_.find(token);
  return place == ids_.end() ? std::nullopt : std::optional(place->second);
}

const std::string& text::Vocabulary::token(std::int64_t id) const {
  TORCH_CHECK_INDEX(id >= 0 && id < size(), "there is no token with the id ", id, "\n[Vocabulary] ids are 0 to ",
                    size() - 1, ": is this the tokenizer that the ids were made with?");
  return tokens_[static_cast<std::size_t>(id)];
}

std::int64_t text::Vocabulary::add(std::string_view token) {
  const auto [place, fresh] = ids_.emplace(std::string(token), size());
  if (fresh) tokens_.emplace_back(token);
  return place->second;
}

void text::split_at_special(std::string_view text,
                            const std::vector<std::pair<std::string, std::int64_t>>& special,
                            const std::function<void(std::string_view, std::int64_t)>& f) {
  // Where each special token occurs next; searched again only when that place has been passed.
  std::vector<std::size_t> next(special.size());
  for (std::size_t i = 0; i < special.size(); ++i) next[i] = text.find(special[i].first);
  std::size_t at = 0;
  while (at < text.size()) {
    std::size_t best = special.size();
    for (std::size_t i = 0; i < special.size(); ++i) {
      if (next[i] != std::string_view::npos && next[i] < at) next[i] = text.find(special[i].first, at);
      if (next[i] == std::string_view::npos) continue;
      if (best == special.size() || next[i] < next[best] ||
          (next[i] == next[best] && special[i].first.size() > special[best].first.size()))
        best = i;
    }
    const std::size_t end = best == special.size() ? text.size() : next[best];
    if (end > at) f(text.substr(at, end - at), -1);
    if (best == special.size()) return;
    f(special[best].first, special[best].second);
    at = end + special[best].first.size();
  }
}

}  // namespace tinytorch
