// From the lesson modules/10_text/text_dev.cpp:
// edit the module, not this file.

#include <algorithm>

#include "tinytorch/core/error.h"
#include "tinytorch/serialize/file.h"
#include "tinytorch/text/bpe.h"
#include "tinytorch/text/byte_level.h"
#include "tinytorch/text/vocabulary_files.h"

namespace tinytorch {

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

}  // namespace tinytorch
