// Bugs of modules and losses that were found, each once.
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tinytorch/tinytorch.h"
#include "tito/lesson.h"
#include "tito/scratch.h"

namespace tinytorch::testing {
namespace {

struct CollectedWarnings : WarningHandler {
  void process(const Warning& warning) override { messages.push_back(warning.msg()); }
  std::vector<std::string> messages;
};

// A module that keeps more than its parameters.
struct CountingImpl : nn::Module {
  CountingImpl() { layer = register_module("layer", nn::Linear(2, 1)); }
  Tensor forward(const Tensor& x) {
    ++seen;
    return layer(x);
  }
  void save(serialize::OutputArchive& archive) const override {
    Module::save(archive);
    archive.write("seen", seen);
  }
  void load(serialize::InputArchive& archive) override {
    Module::load(archive);
    archive.read("seen", seen);
  }
  nn::Linear layer{nullptr};
  std::int64_t seen = 0;
};

}  // namespace

// It copied parameters and buffers only, and did not ask the module.
TEST_CASE("a Trainer takes up what a module adds to its checkpoint") {
  const tito::Scratch scratch;
  const auto run = [&](std::int64_t epochs) {
    manual_seed(1);
    auto model = std::make_shared<CountingImpl>();
    optim::SGD optimizer(model->parameters(), 0.1);
    optim::Trainer trainer(*model, [&](const Tensor& x) { return model->forward(x); }, optimizer, [](const Tensor& output, const Tensor& target) { return mse_loss(output, target); },
                           optim::TrainerOptions().epochs(epochs).checkpoint(scratch.path("checkpoint")));
    const auto loader = data::make_data_loader(data::datasets::TensorBatchDataset(ones({4, 2}), zeros({4, 1})), data::DataLoaderOptions(2));
    trainer.resume(*loader);
    trainer.fit(*loader);
    return model->seen;
  };
  CHECK_EQ(run(1), 2);
  CHECK_EQ(run(3), 6);
}

// The clone set its own mode last, for all of its children.
TEST_CASE("a clone of a Sequential keeps a child that is frozen in evaluation mode") {
  nn::Sequential net(nn::Linear(2, 2), nn::Dropout(0.5));
  net->ptr(1)->eval();
  const auto copy = std::dynamic_pointer_cast<nn::SequentialImpl>(net->clone());
  CHECK(copy->is_training());
  CHECK(copy->ptr(0)->is_training());
  CHECK(!copy->ptr(1)->is_training());
}

// They printed parentheses, which libtorch does not.
TEST_CASE("SmoothL1Loss and HuberLoss print their names alone") {
  std::ostringstream text;
  text << nn::SmoothL1Loss() << ' ' << nn::HuberLoss();
  CHECK_EQ(text.str(), "torch::nn::SmoothL1Loss torch::nn::HuberLoss");
}

// They gave an integer result.
TEST_CASE("kl_div refuses integers") {
  CHECK_ERROR(kl_div(tensor({1, 2}), tensor({1, 2})), "kl_div: Integral inputs not supported.");
  CHECK_ERROR(kl_div(tensor({1.0, 2.0}), tensor({1, 2})), "kl_div: Integral inputs not supported.");
}

// libtorch warns about sizes that differ in mse_loss, smooth_l1_loss and huber_loss; l1_loss warned too.
TEST_CASE("nn::functional::l1_loss broadcasts without a warning") {
  CollectedWarnings warnings;
  const WarningUtils::WarningHandlerGuard guard(&warnings);
  nn::functional::l1_loss(ones({3, 1}), ones({3}));
  CHECK(warnings.messages.empty());
  nn::functional::mse_loss(ones({3, 1}), ones({3}));
  CHECK_EQ(warnings.messages.size(), 1);
}

// The gradient kept the dtype that the parameter had when an older graph, still there, was recorded.
TEST_CASE("a converted module's gradients have its new dtype, whatever graphs there are") {
  nn::Linear layer(2, 1);
  const Tensor older = layer(ones({1, 2})).sum();
  layer->to(kDouble);
  const Tensor newer = layer(ones({1, 2}, kDouble)).sum();
  CHECK_EQ(autograd::grad({newer}, {layer->weight}, {}, true)[0].scalar_type(), kDouble);
  newer.backward();
  CHECK_EQ(layer->bias.grad().scalar_type(), kDouble);
}

}  // namespace tinytorch::testing
