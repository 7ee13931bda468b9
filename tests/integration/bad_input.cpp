// Bad input to a run: each gets one clear sentence that names the file, what was there stays, and nothing is half written or half loaded.
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tinytorch/tinytorch.h"
#include "tito/lesson.h"
#include "tito/scratch.h"

namespace tinytorch {
namespace {

void write(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

// As if the disk were full: files cannot grow beyond `bytes` for a scope.
class LittleRoom {
 public:
  explicit LittleRoom(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &saved_);
    rlimit lower = saved_;
    lower.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &lower);
  }
  ~LittleRoom() {
    setrlimit(RLIMIT_FSIZE, &saved_);
    std::signal(SIGXFSZ, handler_);
  }
  LittleRoom(const LittleRoom&) = delete;
  LittleRoom& operator=(const LittleRoom&) = delete;

 private:
  rlimit saved_{};
  void (*handler_)(int);
};

// The first line of what `action` throws: the sentence that a user reads first.
template <class Action>
std::string sentence_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    const std::string text = error.what_without_backtrace();
    return text.substr(0, text.find('\n'));
  }
  return "nothing was thrown";
}

// A run with everything that has state, and that saves after every third step.
struct Run {
  Run(std::uint64_t seed, const std::string& checkpoint, std::size_t batch_size = 4)
      : model(seeded(seed)),
        optimizer(model->parameters(), 0.02),
        schedule(optimizer, 4),
        trainer(*model, [this](const Tensor& x) { return model->forward(x); }, optimizer,
                [](const Tensor& output, const Tensor& target) { return cross_entropy_loss(output, target); },
                optim::TrainerOptions().epochs(2).checkpoint(checkpoint).checkpoint_every(3)) {
    const Tensor inputs = (arange(128, kFloat) * 0.37).sin().view({32, 4});
    loader = data::make_data_loader<data::samplers::RandomSampler>(
        data::datasets::TensorBatchDataset(inputs, (inputs.sum({1}) > 0).to(kLong)), data::DataLoaderOptions(batch_size));
    trainer.set_scheduler(schedule);
    trainer.remember("early_stopping", stopping.fields());
    trainer.on_epoch([this](const optim::Progress& progress) { return stopping.goes_on(progress.mean_loss()); });
  }
  static nn::Sequential seeded(std::uint64_t seed) {
    manual_seed(seed);
    const nn::Linear first(4, 8);
    const nn::Linear second(8, 2);
    return nn::Sequential(first, nn::ReLU(), nn::Dropout(0.3), second);
  }
  nn::Sequential model;
  optim::Adam optimizer;
  optim::CosineAnnealingLR schedule;
  optim::EarlyStopping stopping{5};
  optim::Trainer trainer;
  std::unique_ptr<data::StatelessDataLoader<data::datasets::TensorBatchDataset, data::samplers::RandomSampler>> loader;
};

// What must not change when a checkpoint is refused.
std::vector<Tensor> everything(const Run& run) {
  std::vector<Tensor> all;
  for (const Tensor& parameter : run.model->parameters()) all.push_back(parameter.detach().clone());
  all.push_back(tensor({static_cast<double>(run.optimizer.state().size()), run.optimizer.param_groups()[0].options().get_lr(),
                        static_cast<double>(run.schedule.step_count()), static_cast<double>(run.trainer.progress().step), run.stopping.best()},
                       kDouble));
  return all;
}

// A sound checkpoint in the middle of the first epoch.
std::string sound_checkpoint(const std::string& path) {
  struct PowerCut {};
  Run run(5, path);
  run.trainer.on_step([](const optim::Progress& progress) {
    if (progress.step == 5) throw PowerCut();
  });
  CHECK_THROWS_AS(run.trainer.fit(*run.loader), PowerCut);
  return serialize::read_file(path);
}

}  // namespace

TEST_CASE("a damaged or foreign checkpoint: one sentence, and the run is as it was") {
  const tito::Scratch folder;
  const std::string path = folder.path("run.ckpt");
  const std::string sound = sound_checkpoint(path);
  const auto refused = [&](const std::string& bytes, const std::string& expected, std::size_t batch_size = 4) {
    CAPTURE(expected);
    write(path, bytes);
    Run other(6, path, batch_size);
    const std::vector<Tensor> before = everything(other);
    const std::string stream = default_generator().state();
    CHECK_EQ(sentence_of([&] { other.trainer.resume(*other.loader); }), expected);
    const std::vector<Tensor> after = everything(other);
    for (std::size_t i = 0; i < before.size(); ++i) CHECK_EQ(after[i], before[i]);
    CHECK_EQ(default_generator().state(), stream);
    CHECK_EQ(serialize::read_file(path), bytes);
  };
  const std::string refusal = "cannot load " + path + ": ";
  refused("", refusal + "it has 0 bytes, too few for a checkpoint");
  const std::size_t header = 8 + static_cast<unsigned char>(sound[0]) + 256 * static_cast<unsigned char>(sound[1]);
  refused(sound.substr(0, 500), refusal + "its header should have " + std::to_string(header - 8) + " bytes, but only 492 follow");
  refused("epoch,loss\n1,0.5\n", refusal + "its header should have " + std::to_string(0x6f6c2c68636f7065ULL) + " bytes, but only 9 follow");
  std::string flipped = sound;
  flipped.back() ^= 1;
  refused(flipped, refusal + "the checksum of its data does not match");
  refused(sound, "The saved state is of a loader with batch_size 4, this one has 8", 8);

  // Sound files of something else.
  serialize::OutputArchive foreign;
  foreign.write("weights", ones({3}));
  refused(foreign.bytes(), "No such serialized value 'epoch'");

  write(path, sound);
  Run resumed(6, path);
  CHECK(resumed.trainer.resume(*resumed.loader));
  CHECK_EQ(resumed.trainer.progress().step, 3);
}

TEST_CASE("a full disk while a run saves: the sentence, the old checkpoint, nothing beside it, and the run can go on when there is room") {
  const tito::Scratch folder;
  const std::string path = folder.path("run.ckpt");
  const std::string sound = sound_checkpoint(path);
  Run run(6, path);
  REQUIRE(run.trainer.resume(*run.loader));
  {
    const LittleRoom limit(300);
    CHECK_EQ(sentence_of([&] { run.trainer.fit(*run.loader); }), "cannot write " + path + ": File too large");
  }
  CHECK_EQ(serialize::read_file(path), sound);
  CHECK_EQ(folder.files(), 1);
  Run again(7, path);
  REQUIRE(again.trainer.resume(*again.loader));
  again.trainer.fit(*again.loader);
  Run whole(5, folder.path("whole"));
  whole.trainer.fit(*whole.loader);
  for (std::size_t i = 0; i < whole.model->parameters().size(); ++i)
    CHECK_EQ(again.model->parameters()[i].detach(), whole.model->parameters()[i].detach());

  CHECK_EQ(sentence_of([&] { save(ones({1000}), std::string("/dev/full")); }), "cannot write /dev/full: No space left on device");
  CHECK_EQ(sentence_of([&] { save(ones({3}), folder.path("missing/x")); }), "cannot write " + folder.path("missing/x") + ": No such file or directory");
}

TEST_CASE("data files that are missing or cut off: a sentence with the path") {
  const tito::Scratch folder;
  const std::string missing = folder.path("none.safetensors");
  Tensor x = ones({2});
  CHECK_EQ(sentence_of([&] { load(x, missing); }), "open file failed because of errno 2 on fopen: No such file or directory, file path: " + missing);
  CHECK_EQ(x, ones({2}));
  CHECK_NE(sentence_of([&] { data::datasets::Digits(data::datasets::Digits::Mode::kTrain, folder.path("none.csv")); }).find(folder.path("none.csv")), std::string::npos);
  write(folder.path("cut.csv"), "0,0,5,13,9,1\n0,0");
  CHECK_NE(sentence_of([&] { data::datasets::Digits(data::datasets::Digits::Mode::kTrain, folder.path("cut.csv")); }).find(folder.path("cut.csv")), std::string::npos);
  const std::string images = folder.path("t10k-images-idx3-ubyte"), labels = folder.path("t10k-labels-idx1-ubyte");
  CHECK_NE(sentence_of([&] { data::datasets::MNIST(folder.path(""), data::datasets::MNIST::Mode::kTest); }).find("t10k-images-idx3-ubyte"), std::string::npos);
  const std::string head = std::string("\0\0\x08\x03\0\0\0\x02\0\0\0\x1c\0\0\0\x1c", 16);
  write(images, head + std::string(28 * 28 + 5, 'x'));  // two images are promised
  write(labels, std::string("\0\0\x08\x01\0\0\0\x02\1\2", 10));
  CHECK_NE(sentence_of([&] { data::datasets::MNIST(folder.path(""), data::datasets::MNIST::Mode::kTest); }).find("t10k-images-idx3-ubyte"), std::string::npos);
}

namespace {

// One archive with everything an archive can hold.
std::string rich_archive() {
  serialize::OutputArchive inner, archive;
  inner.write("ids", tensor({3, 1, 2}));
  inner.write("rate", 0.1);
  archive.write("weight", arange(20).to(kFloat).view({4, 5}));
  archive.write("flags", tensor({true, false}));
  archive.write("empty", zeros({0, 3}, kDouble));
  archive.write("count", -5);
  archive.write("text", std::string("two words"));
  archive.write("inner", inner);
  return archive.bytes();
}

// Damages a sound archive `tries` times: each copy loads (what was damaged did not matter) or is refused with a sentence.
void load_damaged_copies(std::uint64_t seed, int tries) {
  const std::string sound = rich_archive();
  std::mt19937_64 random(seed);
  const auto below = [&](std::size_t bound) { return static_cast<std::size_t>(random() % bound); };
  const std::string digits = "0123456789{}[]\",:.-eE";
  int refused = 0;
  for (int i = 0; i < tries; ++i) {
    CAPTURE(seed);
    CAPTURE(i);
    std::string bytes = sound;
    for (std::size_t changes = 1 + below(4); changes > 0; --changes) {
      const std::size_t at = below(bytes.size());
      switch (below(6)) {
        case 0: bytes[at] = static_cast<char>(below(256)); break;
        case 1: bytes[at] = digits[below(digits.size())]; break;
        case 2: bytes.resize(at + 1); break;
        case 3: bytes.insert(at, sound.substr(below(sound.size()), below(40))); break;
        case 4: bytes.erase(at, below(40)); break;
        default: bytes[below(std::min<std::size_t>(bytes.size(), 8))] = static_cast<char>(below(256)); break;
      }
      if (bytes.empty()) bytes = "x";
    }
    serialize::InputArchive archive;
    try {
      archive.load_from(bytes.data(), bytes.size());
      for (const std::string& key : archive.keys()) {
        Tensor value;
        if (archive.try_read(key, value)) CHECK_LE(value.nbytes(), sound.size() * 4);
      }
    } catch (const Error& error) {
      const std::string text = error.what_without_backtrace();
      if (!text.starts_with("cannot load buffer: ")) CHECK_EQ(text, "a sentence that begins with: cannot load buffer: ");
      ++refused;
    }
  }
  CHECK_GT(refused, tries / 2);
}

}  // namespace

TEST_CASE("2,000 damaged archives load or are refused, each with a sentence") { load_damaged_copies(20240517, 2000); }

TEST_CASE("thorough: a million damaged archives" * doctest::skip()) {
  const std::uint64_t seed = std::random_device()();
  std::printf("damaged archives: seed %llu\n", static_cast<unsigned long long>(seed));
  load_damaged_copies(seed, 1'000'000);
}

TEST_CASE("hostile archives: deep nesting, gigantic claims and many keys end in a sentence, not in a crash or gigabytes") {
  const auto with_header = [](const std::string& header) {
    std::string file(8, '\0');
    for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
    return file + header;
  };
  const auto load = [](const std::string& bytes) {
    return sentence_of([&] {
      serialize::InputArchive archive;
      archive.load_from(bytes.data(), bytes.size());
    });
  };
  const std::string deep = std::string(1'000'000, '[') + std::string(1'000'000, ']');
  CHECK_EQ(load(with_header(deep)), "cannot load buffer: its header is not a JSON object");
  CHECK_EQ(load(with_header("{\"w\":" + deep + "}")), "cannot load buffer: tensor 'w' has no dtype, shape or data_offsets");
  CHECK_EQ(load(std::string(8, '\xff') + "{}"), "cannot load buffer: its header should have 18446744073709551615 bytes, but only 2 follow");
  CHECK_EQ(load(with_header(R"({"w":{"dtype":"F64","shape":[1152921504606846976],"data_offsets":[0,0]}})")),
           "cannot load buffer: tensor 'w' of shape [1152921504606846976] does not match its 0 bytes");
  CHECK_EQ(load(with_header(R"({"w":{"dtype":"F64","shape":[9223372036854775807,2,0],"data_offsets":[0,0]}})")),
           "cannot load buffer: tensor 'w' of shape [9223372036854775807,2,0] does not match its 0 bytes");
  // An optimizer's state that claims a list of four billion tensors stops at the first that is missing.
  const Tensor p = ones({2});
  p.requires_grad_();
  optim::LBFGS optimizer({p});
  serialize::OutputArchive archive;
  archive << optimizer;
  for (const char* list : {"old_dirs", "old_stps", "ro"}) archive.write(std::string("state.0.") + list + ".size", 4294967295LL);
  for (const char* counter : {"func_evals", "n_iter"}) archive.write(std::string("state.0.") + counter, 1);
  for (const char* number : {"t", "prev_loss"}) archive.write(std::string("state.0.") + number, 1.0);
  const std::string bytes = archive.bytes();
  CHECK_EQ(sentence_of([&] { tinytorch::load(optimizer, bytes.data(), bytes.size()); }), "No such serialized tensor 'state.0.old_dirs.0'");
  CHECK(optimizer.state().empty());
}

}  // namespace tinytorch
