// How fast module 10's byte-pair encoding and chapter 58's WordPiece are: train on a text, or encode it, and print seconds of processor time and megabytes per second.
// benchmarks/compare_tokenizers.py runs it beside Hugging Face's tokenizers.
//
//     tokenizers train TEXT VOCAB_SIZE REPEATS        tokenizers encode TEXT VOCAB_JSON MERGES_TXT REPEATS        tokenizers wordpiece TEXT VOCAB_TXT REPEATS
#include <cstdio>
#include <ctime>
#include <fstream>
#include <sstream>
#include <string>

#include "tinytorch/text/bpe.h"
#include "tinytorch/text/wordpiece.h"

namespace {
std::string content_of(const char* path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

template <class F>
void timed(const std::string& text, int repeats, F f) {
  for (int i = 0; i < repeats; ++i) {
    const std::clock_t start = std::clock();
    const auto result = static_cast<long long>(f());
    const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    std::printf("%.6f %.3f %lld\n", seconds, static_cast<double>(text.size()) / seconds / 1e6, result);
  }
}
}  // namespace

int main(int argc, char** argv) {
  using tinytorch::text::BPETokenizer;
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "train" && argc == 5) {
    const std::string text = content_of(argv[2]);
    timed(text, std::stoi(argv[4]), [&] { return BPETokenizer::train(text, std::stol(argv[3])).merges().pairs().size(); });
    return 0;
  }
  if (what == "encode" && argc == 6) {
    const std::string text = content_of(argv[2]);
    const BPETokenizer tokenizer = BPETokenizer::from_files(argv[3], argv[4]);
    timed(text, std::stoi(argv[5]), [&] { return tokenizer.encode(text).size(); });
    return 0;
  }
  if (what == "wordpiece" && argc == 5) {
    const std::string text = content_of(argv[2]);
    const auto tokenizer = tinytorch::text::WordPieceTokenizer::from_file(argv[3]);
    timed(text, std::stoi(argv[4]), [&] { return tokenizer.encode(text).size(); });
    return 0;
  }
  std::fprintf(stderr, "usage: tokenizers train TEXT VOCAB_SIZE REPEATS | encode TEXT VOCAB_JSON MERGES_TXT REPEATS | wordpiece TEXT VOCAB_TXT REPEATS\n");
  return 2;
}
