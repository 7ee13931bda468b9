// tito generate --model DIR --prompt TEXT: a published model of GPT-2's kind goes on with a text. The work is programs/generate.cpp's.
#include <fmt/core.h>

#include <memory>

#include "build/library.h"
#include "commands/commands.h"
#include "format/module.h"

namespace tito {
namespace {

struct GenerateArguments {
  std::string model;
  std::string prompt;
  std::int64_t max_tokens = 50;
  double temperature = 1;
  std::int64_t top_k = 0;
  double top_p = 1;
  double repetition_penalty = 1;
  std::uint64_t seed = 0;
  std::vector<std::string> stop;
};

Command command_line(const fs::path& program, const GenerateArguments& arguments) {
  Command command{program.string(),
                  "--model=" + arguments.model,
                  "--prompt=" + arguments.prompt,
                  fmt::format("--max-tokens={}", arguments.max_tokens),
                  fmt::format("--temperature={}", arguments.temperature),
                  fmt::format("--top-k={}", arguments.top_k),
                  fmt::format("--top-p={}", arguments.top_p),
                  fmt::format("--repetition-penalty={}", arguments.repetition_penalty),
                  fmt::format("--seed={}", arguments.seed)};
  for (const std::string& stop : arguments.stop) command.push_back("--stop=" + stop);
  return command;
}

void generate(const GenerateArguments& arguments) {
  const fs::path root = project_root();
  if (!fs::exists(root / "CMakeLists.txt")) throw std::runtime_error("tito generate builds the library, so it wants a checkout of the course: TITO_ROOT names one");
  const NinjaResult made = build_library(root, {"generate"});
  if (!made.ok) {
    fmt::print(stderr, "{}\nthe program generate does not build\n", made.messages);
    throw Exit{1};
  }
  ProcessOptions options;
  options.show = true;  // its text goes straight to ours, token by token
  const ProcessResult result = run_process(command_line(library_folder(root) / "bin/generate", arguments), options);
  if (result.ok()) return;
  if (result.status != 1) fmt::print(stderr, "generate: {}\n", how_it_ended(result));  // with 1 it has said what is wrong
  throw Exit{1};
}

}  // namespace

void add_generate_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("generate", "A model in GPT-2's files goes on with a text");
  const auto arguments = std::make_shared<GenerateArguments>();
  command->add_option("--model", arguments->model, "A folder with config.json, model.safetensors, vocab.json and merges.txt")->required();
  command->add_option("--prompt", arguments->prompt, "The text to go on with")->required();
  command->add_option("--max-tokens", arguments->max_tokens, "How many tokens at most")->capture_default_str();
  command->add_option("--temperature", arguments->temperature, "0: always the most likely token")->capture_default_str();
  command->add_option("--top-k", arguments->top_k, "Choose among the k most likely; 0: among all")->capture_default_str();
  command->add_option("--top-p", arguments->top_p, "Choose among the most likely that together reach p")->capture_default_str();
  command->add_option("--repetition-penalty", arguments->repetition_penalty, "Above 1: tokens that occurred become less likely")->capture_default_str();
  command->add_option("--seed", arguments->seed, "The same seed writes the same text")->capture_default_str();
  command->add_option("--stop", arguments->stop, "End before this text; may be given several times")->take_all()->expected(1);
  command->callback([arguments] { generate(*arguments); });
}

}  // namespace tito
