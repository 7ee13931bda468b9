// What a run writes for other programs: event files that TensorBoard reads, and checkpoints that Python's safetensors opens.
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <string>
#include <vector>

#include "golden/reader.h"
#include "integration/output_of.h"
#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

std::string hex(const std::string& bytes) {
  std::string text;
  for (const char byte : bytes) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", static_cast<unsigned>(static_cast<unsigned char>(byte)));
    text += two;
  }
  return text;
}

std::string new_folder() {
  std::string name = (std::filesystem::temp_directory_path() / "watching-XXXXXX").string();
  REQUIRE(mkdtemp(name.data()) != nullptr);
  return name;
}

}  // namespace

TEST_CASE("a trainer's callbacks: each step, each epoch, and one that ends the run") {
  nn::Linear layer(nn::LinearOptions(2, 1).bias(false));
  {
    const NoGradGuard no_grad;
    layer->weight.zero_();
  }
  const Tensor x = tensor({{1.0, 0.0}, {0.0, 1.0}, {1.0, 1.0}, {2.0, -1.0}, {-1.0, 0.5}, {0.5, 2.0}, {-2.0, 1.0}, {1.5, 1.0}});
  const auto batches = data::make_data_loader<data::samplers::SequentialSampler>(
      data::datasets::TensorBatchDataset(x, x.mm(tensor({{2.0}, {-1.0}}))), data::DataLoaderOptions(4));
  optim::SGD optimizer(layer->parameters(), 0.05);
  optim::Trainer trainer(*layer, [&](const Tensor& input) { return layer->forward(input); }, optimizer,
                         [](const Tensor& output, const Tensor& target) { return mse_loss(output, target); },
                         optim::TrainerOptions().epochs(100));
  int steps = 0;
  std::vector<double> losses;
  trainer.on_step([&](const optim::Progress&) { ++steps; });
  trainer.on_epoch([&](const optim::Progress& progress) {
    losses.push_back(progress.mean_loss());
    return progress.mean_loss() > 0.01;
  });
  trainer.fit(*batches);
  CHECK_LT(losses.size(), 100);
  CHECK_EQ(steps, 2 * static_cast<int>(losses.size()));
  CHECK_LE(losses.back(), 0.01);
  CHECK_GT(losses.front(), losses.back());
  CHECK(trainer.progress().stopped);
  CHECK(layer->is_training());
}

TEST_CASE("SummaryWriter writes the bytes that the tensorboard package writes") {
  const nlohmann::json golden = read_golden("events.json");
  const std::string folder = new_folder();
  double time = 1699999999.25;  // the first call names the file
  {
    utils::tensorboard::SummaryWriter writer(folder, [&] { return time++; });
    writer.add_scalar("loss/train", 0.6931472, 0);
    writer.add_scalar("loss/train", 0.0, 1);
    writer.add_scalar("Genauigkeit \u00fc", std::numeric_limits<double>::quiet_NaN(), 123456789012);
    writer.add_histogram("fc1.weight", tensor(golden.at("histogram").get<std::vector<double>>(), kDouble), 300);
    writer.add_histogram("ones", ones({1}), -1);
    CHECK_EQ(hex(serialize::read_file(writer.path())), golden.at("bytes").get<std::string>());
  }
  std::filesystem::remove_all(folder);
}

TEST_CASE("thorough: tensorboard and safetensors, the real packages, open what a run writes" * doctest::skip()) {
  const char* const python = std::getenv("TINYTORCH_PYTHON");
  if (python == nullptr) {
    MESSAGE("skipped: TINYTORCH_PYTHON names no Python with tensorboard and safetensors");
    return;
  }
  const std::string folder = new_folder();
  const std::string checkpoint = folder + "/model.safetensors";
  manual_seed(3);
  nn::MLP model(std::vector<std::int64_t>{4, 5, 3});
  save(model, checkpoint);
  {
    utils::tensorboard::SummaryWriter writer(folder + "/runs");
    for (int step = 0; step < 100; ++step) {
      writer.add_scalar("loss", 1.0 / (1 + step), step);
      writer.add_histogram("weights", model->parameters()[0], step);
    }
  }
  const nlohmann::json found = nlohmann::json::parse(output_of(
      std::string(python) + " " + (folder_with_golden() / "tests/golden/read_with_python.py").string() + " " + folder + "/runs " + checkpoint));
  const nlohmann::json& losses = found.at("scalars").at("loss");
  REQUIRE_EQ(losses.size(), 100);
  for (std::size_t step = 0; step < 100; ++step) {
    CHECK_EQ(losses[step][0].get<std::size_t>(), step);
    CHECK_CLOSE(losses[step][1].get<double>(), 1.0 / static_cast<double>(1 + step), 1e-6, 0.0);
  }
  const nlohmann::json& weights = found.at("histograms").at("weights");
  REQUIRE_EQ(weights.size(), 100);
  CHECK_EQ(weights[99][1].get<double>(), 20.0);
  CHECK_CLOSE(weights[99][2].get<double>(), model->parameters()[0].detach().sum().item<double>(), 1e-5, 1e-6);
  CHECK_EQ(found.at("format").get<std::string>(), "tinytorch");
  for (const auto& entry : model->named_parameters()) {
    const nlohmann::json& read = found.at("tensors").at(entry.key());
    CHECK_EQ(read[0].get<std::string>(), "float32");
    CHECK_EQ(read[1].get<std::vector<std::int64_t>>(), entry.value().sizes().vec());
    const std::vector<double> values = read[2].get<std::vector<double>>();
    CHECK_EQ(tensor(values, kDouble).to(kFloat), entry.value().detach().reshape({-1}));
  }
  std::filesystem::remove_all(folder);
}

}  // namespace tinytorch::testing
