#include "build/generate_test.h"

#include <fmt/core.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "build/process.h"
#include "format/cells.h"

namespace tito {
namespace {

using nlohmann::json;

std::string bytes_of(const std::string& digits) {
  std::string bytes;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) bytes.push_back(static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  return bytes;
}

void write_model(const json& files, const fs::path& folder) {
  fs::remove_all(folder);
  fs::create_directories(folder);
  for (const auto& [name, content] : files.items()) {
    const std::string bytes = content.contains("text") ? content.at("text").get<std::string>() : bytes_of(content.at("hex").get<std::string>());
    std::ofstream(folder / name, std::ios::binary) << bytes;
  }
}

std::string with_folder(std::string text, const fs::path& folder) {
  const std::string placeholder = "{model}";
  for (std::size_t at = text.find(placeholder); at != std::string::npos; at = text.find(placeholder)) text.replace(at, placeholder.size(), folder.string());
  return text;
}

class GenerateTest {
 public:
  GenerateTest(fs::path program, fs::path folder, const json& files) : program_(std::move(program)), folder_(std::move(folder)), files_(files) {}

  std::string complaint(const json& test) const {
    write_model(files_, folder_);
    if (test.contains("without")) fs::remove(folder_ / test.at("without").get<std::string>());
    const ProcessResult result = run(test.at("arguments"));
    if (test.contains("error")) return about_error(result, with_folder(test.at("error").get<std::string>(), folder_));
    if (!result.ok()) return fmt::format("{}\n{}", how_it_ended(result), result.output);
    if (test.contains("repeats")) {
      if (run(test.at("arguments")).output != result.output) return "the same seed wrote something else";
      return run(test.at("other")).output == result.output ? "another seed wrote the same" : "";
    }
    const std::string expected = test.contains("hex") ? bytes_of(test.at("hex").get<std::string>()) : test.at("text").get<std::string>();
    return result.output == expected ? "" : fmt::format("prints {}\nexpected {}", json(result.output).dump(-1, ' ', true, json::error_handler_t::replace), json(expected).dump(-1, ' ', true, json::error_handler_t::replace));
  }

 private:
  ProcessResult run(const json& arguments) const {
    Command command{program_.string()};
    for (const json& argument : arguments) command.push_back(with_folder(argument.get<std::string>(), folder_));
    ProcessOptions options;
    options.seconds = 60;
    return run_process(command, options);
  }

  static std::string about_error(const ProcessResult& result, const std::string& expected) {
    if (result.status != 1) return fmt::format("{}, not exit status 1\n{}", how_it_ended(result), result.output);
    return result.output.starts_with(expected) ? "" : fmt::format("says {}\nexpected {}", result.output, expected);
  }

  fs::path program_;
  fs::path folder_;
  const json& files_;
};

}  // namespace

std::vector<Proof> prove_generate(const fs::path& root, const fs::path& program, const fs::path& folder) {
  const json files = json::parse(read_text(root / "tests/golden/pretrained.json")).at("gpt2").at("folders").at("language model");
  const GenerateTest tests(program, folder, files);
  std::vector<Proof> proofs;
  for (const json& test : json::parse(read_text(root / "tests/generate/cases.json"))) {
    proofs.push_back({test.at("name").get<std::string>(), tests.complaint(test)});
  }
  return proofs;
}

}  // namespace tito
