// Models that Hugging Face's transformers saved are loaded from their folders and compute what they compute there.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "golden/damage.h"
#include "golden/reader.h"
#include "tito/lesson.h"
#include "tito/scratch.h"

namespace tinytorch::testing {
namespace {

// Writes the recorded files into a folder of this name in `scratch`, and returns its path.
std::string write(const tito::Scratch& scratch, const std::string& name, const nlohmann::json& files) {
  const std::filesystem::path folder = std::filesystem::path(scratch.path()) / name;
  std::filesystem::create_directory(folder);
  for (const auto& [file, content] : files.items()) {
    std::string bytes;
    if (content.contains("text")) {
      bytes = content.at("text").get<std::string>();
    } else {
      const std::string digits = content.at("hex").get<std::string>();
      for (std::size_t i = 0; i + 1 < digits.size(); i += 2) bytes.push_back(static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16)));
    }
    std::ofstream(folder / file, std::ios::binary) << bytes;
  }
  return folder.string();
}

Tensor long_matrix(const nlohmann::json& rows) {
  std::vector<Tensor> parts;
  for (const nlohmann::json& row : rows) parts.push_back(tensor(row.get<std::vector<std::int64_t>>()));
  return stack(parts);
}

// Every ninth logit, as the script records them.
Tensor some_of(const Tensor& logits) { return logits.slice(2, std::nullopt, std::nullopt, 9); }

}  // namespace

TEST_CASE("GPT-2 as transformers saves it, in four layouts: the same logits, the same greedy text") {
  const nlohmann::json golden = read_golden("pretrained.json").at("gpt2");
  const tito::Scratch scratch;
  const NoGradGuard no_grad;
  const Tensor ids = long_matrix(golden.at("ids"));
  for (const auto& [key, files] : golden.at("folders").items()) {
    const std::string name = key;
    CAPTURE(name);
    models::GPT model = models::load_gpt2(write(scratch, name, files));
    const Tensor logits = some_of(model->forward(ids));
    CHECK_CLOSE(logits, tensor_from(golden.at(name == "half" ? "half_logits" : "logits")), 1e-4, 1e-4);
    if (name == "half") continue;
    const auto continued = models::generate(model, {golden.at("prompt_ids").get<std::vector<std::int64_t>>()},
                                            models::GenerateOptions().max_new_tokens(12).sampling(models::SamplingOptions().temperature(0)));
    CHECK_EQ(continued.at(0), golden.at("continuation").get<std::vector<std::int64_t>>());
  }
}

TEST_CASE("BERT as transformers saves it: the same vectors and sentence embeddings") {
  const nlohmann::json golden = read_golden("pretrained.json").at("bert");
  const tito::Scratch scratch;
  const NoGradGuard no_grad;
  const Tensor ids = long_matrix(golden.at("ids")), mask = long_matrix(golden.at("mask")), types = long_matrix(golden.at("types"));
  for (const auto& [key, files] : golden.at("folders").items()) {
    const std::string name = key;
    CAPTURE(name);
    models::Bert model = models::load_bert(write(scratch, name, files));
    const models::BertOutput output = model->forward(ids, mask, types);
    CHECK_CLOSE(output.last_hidden_state[0], tensor_from(golden.at("hidden")[0]), 1e-4, 1e-4);
    CHECK_CLOSE(output.last_hidden_state[1].narrow(0, 0, 4), tensor_from(golden.at("hidden")[1]), 1e-4, 1e-4);
    CHECK_CLOSE(models::mean_embedding(output.last_hidden_state, mask), tensor_from(golden.at("embedding")), 1e-4, 1e-4);
    CHECK_EQ(output.pooler_output.defined(), name == "encoder");
    if (output.pooler_output.defined()) CHECK_CLOSE(output.pooler_output, tensor_from(golden.at("pooled")), 1e-4, 1e-4);
  }
}

TEST_CASE("damaged folders of models: the config, the index and the vocabulary are read, or refused with a sentence") {
  const nlohmann::json golden = read_golden("pretrained.json");
  const NoGradGuard no_grad;
  Damage damage(88);
  int read = 0;
  const auto check = [&](const nlohmann::json& files, const std::string& file, const auto& load) {
    CAPTURE(file);
    const tito::Scratch scratch;
    const std::string folder = write(scratch, "model", files);
    const std::string sound = files.at(file).at("text").get<std::string>();
    for (int i = 0; i < 250; ++i) {
      std::ofstream(folder + "/" + file, std::ios::binary) << damage.apply(sound);
      CAPTURE(damage.what());
      CHECK_EQ(complaint_of([&] {
                 load(folder);
                 ++read;
               }),
               "");
    }
  };
  const auto load_gpt2 = [](const std::string& folder) { models::load_gpt2(folder)->forward(tensor({{1, 2, 3}})); };
  const auto load_bert = [](const std::string& folder) { models::load_bert(folder)->forward(tensor({{1, 2, 3}})); };
  const nlohmann::json& gpt2 = golden.at("gpt2").at("folders");
  check(gpt2.at("language model"), "config.json", load_gpt2);
  check(gpt2.at("sharded"), "model.safetensors.index.json", load_gpt2);
  check(gpt2.at("language model"), "vocab.json", [](const std::string& folder) { text::BPETokenizer::from_files(folder + "/vocab.json", folder + "/merges.txt"); });
  check(golden.at("bert").at("folders").at("encoder"), "config.json", load_bert);
  CHECK_GT(read, 20);  // damaged entries that nobody reads
}

}  // namespace tinytorch::testing
