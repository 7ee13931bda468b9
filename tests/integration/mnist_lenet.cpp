// Real images: LeNet on MNIST's test files, the first 8,000 to learn from and the last 2,000 to judge by.
#include <cstdlib>
#include <filesystem>
#include <string>

#include "tinytorch/tinytorch.h"
#include "tito/lesson.h"

namespace tinytorch {
namespace {

// Under a sanitizer and without optimizing, 32,000 images take longer than a test may; tests on fewer images run there.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool is_quick = false;
#else
constexpr bool is_quick = true;
#endif

}  // namespace

TEST_CASE("LeNet reads at least 97.5 % of MNIST digits that it has not seen") {
  if (!is_quick) {
    MESSAGE("skipped: it takes too long under a sanitizer");
    return;
  }
  const char* const data_folder = std::getenv("TINYTORCH_DATA");
  if (data_folder == nullptr) {
    MESSAGE("skipped: TINYTORCH_DATA is not set; it names the folder that holds mnist/");
    return;
  }
  const std::string folder = std::string(data_folder) + "/mnist";
  if (!std::filesystem::exists(folder + "/t10k-images-idx3-ubyte.gz")) {
    MESSAGE(("skipped: there is no " + folder + "/t10k-images-idx3-ubyte.gz"));
    return;
  }
  const data::datasets::MNIST mnist(folder, data::datasets::MNIST::Mode::kTest);
  REQUIRE_EQ(mnist.images().sizes(), IntArrayRef({10'000, 1, 28, 28}));
  manual_seed(1);
  models::LeNet model(28, 5);
  optim::Adam optimizer(model->parameters(), 2e-3);
  optim::Trainer trainer(*model, [&](const Tensor& x) { return model->forward(x); }, optimizer,
                         [](const Tensor& output, const Tensor& target) { return cross_entropy_loss(output, target); },
                         optim::TrainerOptions().epochs(6));
  const auto loader = data::make_data_loader<data::samplers::RandomSampler>(
      data::datasets::TensorBatchDataset(mnist.images().narrow(0, 0, 8'000), mnist.targets().narrow(0, 0, 8'000)), data::DataLoaderOptions(64));
  trainer.fit(*loader);
  const NoGradGuard no_grad;
  const Tensor guesses = model->forward(mnist.images().narrow(0, 8'000, 2'000)).argmax(1);
  const double accuracy = guesses.eq(mnist.targets().narrow(0, 8'000, 2'000)).to(kDouble).mean().item<double>();
  CHECK_GE(accuracy, 0.975);
}

}  // namespace tinytorch
