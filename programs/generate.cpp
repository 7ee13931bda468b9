// A published model of GPT-2's kind goes on with a text: the program behind `tito generate`.
//
//   generate --model=FOLDER --prompt=TEXT [--max-tokens=N] [--temperature=T] [--top-k=K] [--top-p=P] [--repetition-penalty=R] [--seed=S] [--stop=TEXT ...]
//
// FOLDER holds what is published on the Hugging Face hub: config.json, the weights, vocab.json and merges.txt. Each token is printed as soon as it is there. What is wrong with the folder or an option
// is one sentence, and then the exit status is 1.
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tinytorch/tinytorch.h"

namespace {

using namespace tinytorch;

struct Arguments {
  std::string model;
  std::string prompt;
  std::int64_t max_tokens = 50;
  models::SamplingOptions sampling;
  std::uint64_t seed = 0;
  std::vector<std::string> stops;
};

template <class Number>
Number number(std::string_view name, const std::string& text, Number least, Number most, const char* rule) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  TORCH_CHECK_VALUE(error == std::errc() && end == text.data() + text.size() && value >= least && value <= most, name, " is ", rule, ", but got '", text, "'");
  return value;
}

Arguments read_arguments(int argc, char** argv) {
  constexpr std::int64_t many = 1'000'000'000;
  Arguments result;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument(argv[i]);
    const std::size_t equals = argument.find('=');
    TORCH_CHECK_VALUE(argument.starts_with("--") && equals != std::string_view::npos, "an option is written --NAME=VALUE, but got '", argument, "'");
    const std::string_view name = argument.substr(0, equals);
    const std::string value(argument.substr(equals + 1));
    if (name == "--model") result.model = value;
    else if (name == "--prompt") result.prompt = value;
    else if (name == "--stop") result.stops.push_back(value);
    else if (name == "--max-tokens") result.max_tokens = number<std::int64_t>(name, value, 0, many, "a whole number from 0 to 1000000000");
    else if (name == "--top-k") result.sampling.top_k(number<std::int64_t>(name, value, 0, many, "a whole number from 0 to 1000000000"));
    else if (name == "--temperature") result.sampling.temperature(number<double>(name, value, 0, 1e9, "a number that is not negative"));
    else if (name == "--top-p") result.sampling.top_p(number<double>(name, value, 1e-12, 1, "a number above 0 and at most 1"));
    else if (name == "--repetition-penalty") result.sampling.repetition_penalty(number<double>(name, value, 1e-9, 1e9, "a number above 0"));
    else if (name == "--seed") result.seed = number<std::uint64_t>(name, value, 0, ~std::uint64_t{0}, "a whole number that is not negative");
    else TORCH_CHECK_VALUE(false, "there is no option '", name, "'");
  }
  TORCH_CHECK_VALUE(!result.model.empty(), "--model is missing: the folder with config.json, model.safetensors, vocab.json and merges.txt");
  return result;
}

text::BPETokenizer load_tokenizer(const std::string& folder) {
  const std::filesystem::path root(folder);
  TORCH_CHECK(std::filesystem::is_directory(root), "there is no folder ", folder);
  for (const char* file : {"config.json", "vocab.json", "merges.txt"})
    TORCH_CHECK(std::filesystem::exists(root / file), "the folder ", folder, " has no ", file, ": a model of GPT-2's kind comes with config.json, model.safetensors, vocab.json and merges.txt");
  return text::BPETokenizer::from_files((root / "vocab.json").string(), (root / "merges.txt").string());
}

// The tokens to go on from: those of the prompt, or for an empty one the end of the text before.
std::vector<std::int64_t> begin(const text::BPETokenizer& tokenizer, const std::string& prompt, std::optional<std::int64_t> end) {
  if (!prompt.empty()) return tokenizer.encode(prompt);
  TORCH_CHECK_VALUE(end, "the prompt is empty, and the vocabulary has no <|endoftext|> to begin with");
  return {*end};
}

void run(const Arguments& arguments) {
  text::BPETokenizer tokenizer = load_tokenizer(arguments.model);
  const std::string end_of_text = "<|endoftext|>";
  const std::optional<std::int64_t> end = tokenizer.vocabulary().find(end_of_text);
  if (end) tokenizer.add_special_token(end_of_text);
  const std::vector<std::int64_t> prompt = begin(tokenizer, arguments.prompt, end);
  models::GPT model = models::load_gpt2(arguments.model);
  TORCH_CHECK(tokenizer.vocab_size() <= model->options.vocab_size(), "vocab.json has ", tokenizer.vocab_size(), " tokens, but the model knows ", model->options.vocab_size(),
              ": they belong to different models");

  const auto show = [](const std::string& piece) {
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    std::fflush(stdout);
  };
  // A model may have room for more tokens than its vocabulary names; such a one has no text.
  const auto text_of = [&](std::int64_t token) { return token == end || token >= tokenizer.vocab_size() ? std::string() : tokenizer.decode({token}); };
  const models::StopStrings checked(arguments.stops);  // before anything is shown
  manual_seed(arguments.seed);
  show(arguments.prompt);
  models::generate_text(model, prompt, text_of, models::GenerateOptions().max_new_tokens(arguments.max_tokens).sampling(arguments.sampling).end_token(end), arguments.stops, show);
  show("\n");
}

}  // namespace

int main(int argc, char** argv) {
  try {
    run(read_arguments(argc, argv));
    return 0;
  } catch (const Error& error) {
    std::fprintf(stderr, "generate: %s\n", error.what_without_backtrace());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "generate: %s\n", error.what());
  }
  return 1;
}
