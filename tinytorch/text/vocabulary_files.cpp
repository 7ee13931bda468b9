// From the lesson modules/59_unicode/unicode_dev.cpp:
// edit the module, not this file.

#include "tinytorch/text/vocabulary_files.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <utility>

#include "tinytorch/core/error.h"
#include "tinytorch/serialize/file.h"

namespace tinytorch {

namespace {
using nlohmann::json;

// Takes the events of a JSON parser; accepts {"token": id, ...} and nothing else.
class VocabularyReader : public json::json_sax_t {
 public:
  std::vector<std::pair<std::string, std::uint64_t>> entries;
  std::string problem;

  bool start_object(std::size_t) override { return depth_++ == 0 ? true : refuse("holds an object in the object"); }
  bool end_object() override { return true; }
  bool key(std::string& text) override {
    key_ = text;
    return true;
  }
  bool number_unsigned(std::uint64_t value) override {
    if (depth_ == 0) return refuse("is no object");
    entries.emplace_back(key_, value);
    return true;
  }
  bool number_integer(std::int64_t) override { return refuse("has a negative id"); }
  bool number_float(double, const std::string&) override { return refuse("has an id that is no integer"); }
  bool null() override { return refuse("has an id that is no integer"); }
  bool boolean(bool) override { return refuse("has an id that is no integer"); }
  bool string(std::string&) override { return refuse("has an id that is no integer"); }
  bool binary(binary_t&) override { return refuse("has an id that is no integer"); }
  bool start_array(std::size_t) override { return refuse("has an id that is no integer"); }
  bool end_array() override { return true; }
  bool parse_error(std::size_t position, const std::string&, const json::exception&) override {
    return refuse("is no JSON from byte " + std::to_string(position) + " on");
  }

 private:
  bool refuse(const std::string& why) {
    problem = depth_ == 0 ? "is no object" : why;
    if (!key_.empty()) problem += ", at the token \"" + key_ + "\"";
    return false;
  }
  int depth_ = 0;
  std::string key_;
};
}  // namespace

std::vector<std::string> text::read_vocabulary_json(const std::string& path) {
  const std::string bytes = serialize::read_file(path);
  VocabularyReader reader;
  const auto refuse = [&](const std::string& why) {
    throw Error("cannot read the vocabulary " + path + ": it " + why +
                "\n[read_vocabulary_json] a vocabulary is one object of tokens and their ids, 0 to n - 1.");
  };
  if (!json::sax_parse(bytes, &reader)) refuse(reader.problem);
  std::vector<std::string> tokens(reader.entries.size());
  std::vector<bool> taken(tokens.size());
  for (auto& [token, id] : reader.entries) {
    if (id >= tokens.size())
      refuse("has " + std::to_string(tokens.size()) + " tokens, but \"" + token + "\" has the id " + std::to_string(id));
    if (taken[id]) refuse("gives the id " + std::to_string(id) + " twice, also to \"" + token + "\"");
    taken[id] = true;
    tokens[id] = std::move(token);
  }
  return tokens;
}

std::string text::json_text(std::string_view text) { return json(text).dump(); }

}  // namespace tinytorch
