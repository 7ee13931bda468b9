// What Hugging Face's tokenizers make of the same text (tests/golden/record_tokenizers.py), and files and texts that nobody would write on purpose.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "golden/reader.h"
#include "tito/lesson.h"
#include "tito/scratch.h"

namespace tinytorch::testing {
namespace {

using Ids = std::vector<std::int64_t>;

const nlohmann::json& golden() {
  static const nlohmann::json document = read_golden("tokenizers.json");
  return document;
}

std::string training_text() {
  std::ostringstream text;
  text << std::ifstream(folder_with_golden() / "tests/golden/tokenizer_text.txt", std::ios::binary).rdbuf();
  return text.str();
}

// The recorded vocabulary and merges.
text::BPETokenizer recorded_byte_pairs() {
  const nlohmann::json& recorded = golden().at("byte_pairs");
  std::vector<std::string> tokens;
  for (const nlohmann::json& token : recorded.at("vocabulary")) tokens.push_back(text::from_printable(token.get<std::string>()).value());
  std::vector<std::pair<std::string, std::string>> merges;
  for (const nlohmann::json& merge : recorded.at("merges")) {
    const auto pair = merge.get<std::string>();
    const std::size_t space = pair.find(' ');
    merges.emplace_back(text::from_printable(pair.substr(0, space)).value(), text::from_printable(pair.substr(space + 1)).value());
  }
  return {tokens, merges};
}

std::string content_of(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

// `text` with one to four small accidents: bytes changed, left out, put in, doubled, or the end cut off.
std::string damaged(std::string text, std::mt19937& random) {
  static const std::string marks = "{}[]\":,\\ \n\r\t#0123456789-eEuĠ\x80\xff";
  const auto below = [&](std::size_t bound) { return static_cast<std::size_t>(random() % std::max<std::size_t>(bound, 1)); };
  for (std::size_t accidents = 1 + below(4); accidents > 0; --accidents) {
    const std::size_t at = below(text.size());
    switch (below(5)) {
      case 0: text[at] = static_cast<char>(static_cast<unsigned char>(below(256))); break;
      case 1: text.erase(at, 1 + below(8)); break;
      case 2: text.insert(at, 1, marks[below(marks.size())]); break;
      case 3: text.insert(at, text.substr(below(text.size()), below(40))); break;
      default: if (below(4) == 0) text.resize(at); break;
    }
    if (text.empty()) return text;
  }
  return text;
}

TEST_CASE("byte pairs: trained on the same text, the same merges and ids as Hugging Face's trainer") {
  const nlohmann::json& recorded = golden().at("byte_pairs");
  const std::string text = training_text();
  const auto special = recorded.at("special").get<std::string>();
  const auto tokenizer = text::BPETokenizer::train(
      text, text::BPETrainerOptions(recorded.at("vocab_size").get<std::int64_t>()).special_tokens({special}));
  std::vector<std::string> vocabulary;
  for (std::int64_t id = 0; id < tokenizer.vocab_size(); ++id) vocabulary.push_back(text::to_printable(tokenizer.vocabulary().token(id)));
  CHECK(vocabulary == recorded.at("vocabulary").get<std::vector<std::string>>());
  std::vector<std::string> merges;
  for (const auto& [left, right] : tokenizer.merges().pairs())
    merges.push_back(text::to_printable(tokenizer.vocabulary().token(left)) + " " + text::to_printable(tokenizer.vocabulary().token(right)));
  CHECK(merges == recorded.at("merges").get<std::vector<std::string>>());

  const Ids ids = tokenizer.encode(text);
  CHECK_EQ(ids.size(), recorded.at("text_tokens").get<std::size_t>());
  std::int64_t weighted = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) weighted += static_cast<std::int64_t>(i % 1009 + 1) * ids[i];
  CHECK_EQ(weighted % 1000000007, recorded.at("text_weighted").get<std::int64_t>());
  CHECK(tokenizer.decode(ids) == text);
}

TEST_CASE("byte pairs: words and ids of samples, from the recorded vocabulary") {
  const text::BPETokenizer tokenizer = recorded_byte_pairs();
  const nlohmann::json& recorded = golden().at("byte_pairs");
  const auto samples = golden().at("samples").get<std::vector<std::string>>();
  for (std::size_t i = 0; i < samples.size(); ++i) {
    CAPTURE(samples[i]);
    std::vector<std::string> words;
    text::for_each_word(samples[i], [&](std::string_view word) { words.push_back(text::to_printable(word)); });
    CHECK(words == recorded.at("words")[i].get<std::vector<std::string>>());
    CHECK(tokenizer.encode(samples[i]) == recorded.at("ids")[i].get<Ids>());
    CHECK(tokenizer.decode(tokenizer.encode(samples[i])) == samples[i]);
  }
}

TEST_CASE("word pieces: words and ids of samples, in lower case and as they are") {
  const nlohmann::json& recorded = golden().at("word_pieces");
  const auto samples = golden().at("samples").get<std::vector<std::string>>();
  for (const bool lower : {true, false}) {
    const text::WordPieceTokenizer tokenizer(recorded.at("vocabulary").get<std::vector<std::string>>(), text::WordPieceOptions().lower_case(lower));
    const std::string name = lower ? "lower" : "cased";
    for (std::size_t i = 0; i < samples.size(); ++i) {
      CAPTURE(name);
      CAPTURE(samples[i]);
      CHECK(text::basic_words(samples[i], lower) == recorded.at(name + "_words")[i].get<std::vector<std::string>>());
      CHECK(tokenizer.encode(samples[i]) == recorded.at(name)[i].get<Ids>());
    }
  }
}

TEST_CASE("any bytes come back from a byte-level tokenizer, and no character stops WordPiece") {
  const text::BPETokenizer tokenizer = recorded_byte_pairs();
  const text::WordPieceTokenizer pieces({"[UNK]", "a", "##a"});
  std::mt19937 random(10);
  for (int trial = 0; trial < 1500; ++trial) {
    std::string bytes;
    const std::size_t size = random() % 80;
    while (bytes.size() < size) {
      switch (random() % 4) {
        case 0: bytes += static_cast<char>(static_cast<unsigned char>(random() % 256)); break;
        case 1: bytes += static_cast<char>('a' + random() % 3); break;
        case 2: bytes += " \n'\t"[random() % 4]; break;
        default: text::append_utf8(bytes, static_cast<char32_t>(random() % 0x30000)); break;
      }
    }
    std::string joined;
    text::for_each_word(bytes, [&](std::string_view word) { joined += word; });
    CHECK(joined == bytes);
    CHECK(tokenizer.decode(tokenizer.encode(bytes)) == bytes);
    static_cast<void>(pieces.encode(bytes));
    // A cut between any two bytes: the halves give the whole.
    const std::size_t cut = bytes.empty() ? 0 : random() % bytes.size();
    Ids halves = tokenizer.encode(std::string_view(bytes).substr(0, cut));
    const Ids second = tokenizer.encode(std::string_view(bytes).substr(cut));
    halves.insert(halves.end(), second.begin(), second.end());
    CHECK(tokenizer.decode(halves) == bytes);
  }
}

TEST_CASE("a damaged vocabulary or list of merges is refused with its name, or is a vocabulary that works") {
  const tito::Scratch folder;
  const auto small = text::BPETokenizer::train("low lower lowest new newer newest wide wider widest", text::BPETrainerOptions(280));
  const std::string vocab = folder.path("vocab.json");
  const std::string merges = folder.path("merges.txt");
  small.save(vocab, merges);
  const std::string vocab_content = content_of(vocab);
  const std::string merges_content = content_of(merges);
  std::mt19937 random(11);
  int refused = 0;
  int accepted = 0;
  for (int trial = 0; trial < 1200; ++trial) {
    const bool first = trial % 2 == 0;
    const std::string bad_vocab = folder.write("v.json", first ? damaged(vocab_content, random) : vocab_content);
    const std::string bad_merges = folder.write("m.txt", first ? merges_content : damaged(merges_content, random));
    try {
      const auto tokenizer = text::BPETokenizer::from_files(bad_vocab, bad_merges);
      ++accepted;
      // A byte may have lost its token: then encode says so.
      const std::string text = "newest low widely";
      try {
        CHECK(tokenizer.decode(tokenizer.encode(text)) == text);
      } catch (const ValueError& error) {
        CHECK(std::string(error.what_without_backtrace()).find("has no token for the byte") != std::string::npos);
      }
    } catch (const Error& error) {
      ++refused;
      const std::string message = error.what_without_backtrace();
      CHECK_MESSAGE((message.find(bad_vocab) != std::string::npos || message.find(bad_merges) != std::string::npos), message);
    }
  }
  CHECK(refused > 300);
  CHECK(accepted > 50);
}

TEST_CASE("a damaged vocabulary of word pieces is refused with its name, or is one that gives every text ids within it") {
  const tito::Scratch folder;
  std::string content;
  for (const std::string& piece : golden().at("word_pieces").at("vocabulary").get<std::vector<std::string>>()) content += piece + "\n";
  content.resize(content.find('\n', 1500) + 1);  // damage hits what matters more often in a small file
  std::mt19937 random(12);
  int refused = 0;
  int accepted = 0;
  for (int trial = 0; trial < 800; ++trial) {
    const std::string path = folder.write("vocab.txt", damaged(content, random));
    CAPTURE(trial);
    try {
      const auto tokenizer = text::WordPieceTokenizer::from_file(path);
      ++accepted;
      for (const char* sample : {"Hello, world! [MASK] unspeakable", "\xff\xfe\xc3", "東京都 é e\u0301"})
        for (const std::int64_t id : tokenizer.encode(sample)) CHECK((id >= 0 && id < tokenizer.vocab_size()));
    } catch (const Error& error) {
      ++refused;
      const std::string message = error.what_without_backtrace();
      CHECK_MESSAGE(message.find(path) != std::string::npos, message);
    }
  }
  CHECK(refused > 30);
  CHECK(accepted > 100);
}

TEST_CASE("a vocabulary from a stranger takes no more memory than its size") {
  const tito::Scratch folder;
  const std::string merges = folder.write("m.txt", "#version: 0.2\n");
  const auto why = [&](const std::string& content) {
    try {
      text::BPETokenizer::from_files(folder.write("v.json", content), merges);
      return std::string("accepted");
    } catch (const Error& error) {
      return std::string(error.what_without_backtrace());
    }
  };
  CHECK(why(R"({"a": 18446744073709551615})").find("has the id 18446744073709551615") != std::string::npos);
  CHECK(why(std::string(1000000, '[')).find("is no object") != std::string::npos);
  CHECK(why("{\"a\": " + std::string(1000000, '[')).find("has an id that is no integer") != std::string::npos);
  CHECK(why(std::string(1000000, '{')).find("is no JSON") != std::string::npos);
  CHECK(why("{\"a\": 0, \"a\": 1}").find("twice") != std::string::npos);
  // One word of a hundred thousand letters is no quadratic loop.
  const text::BPETokenizer tokenizer = recorded_byte_pairs();
  const std::string letters(100000, 'e');
  CHECK(tokenizer.decode(tokenizer.encode(letters)) == letters);
}

}  // namespace
}  // namespace tinytorch::testing
