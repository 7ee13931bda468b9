// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch-cpp
// ---

// %% [markdown]
// # Library chapter 67: Watching a run
//
// A trainer tells its callbacks how far it is. This chapter has two that most runs use: one that ends a run which no longer gets better, and one that writes what the run does to a file that TensorBoard draws while it grows.
//
//     Trainer ── on_epoch ──> EarlyStopping: go on?
//        │
//        └────── on_step ───> SummaryWriter ──> runs/events.out.tfevents.... ──> tensorboard --logdir runs

// %%
//| after 08
//| export optim/early_stopping.h
#include <limits>
#include "tinytorch/optim/optimizer.h"
//| export optim/early_stopping.cpp
#include "tinytorch/core/ops.h"
//| export utils/tensorboard.h
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include "tinytorch/core/tensor.h"
//| export utils/tensorboard.cpp
#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>
#include <vector>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"

// %%
#include "tito/lesson.h"
#include "tito/scratch.h"
#include <cmath>
#include <filesystem>
#include <unistd.h>
#include "tinytorch/core/ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/data/dataloader.h"
#include "tinytorch/nn/linear.h"
#include "tinytorch/nn/loss.h"
#include "tinytorch/optim/early_stopping.h"
#include "tinytorch/optim/sgd.h"
#include "tinytorch/optim/trainer.h"
#include "tinytorch/serialize/file.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Early stopping
//
// Ends a run when a metric (usually the validation loss) has not got better for some epochs. Its memory, the best value and how long ago that was, belongs to the run: `fields()` hands it to the trainer's checkpoint, or each restart would begin a new wait.

// %%
//| export optim/early_stopping.h
namespace optim {

// Ends a run whose metric has not fallen by more than min_delta for more than `patience` epochs:
//   EarlyStopping stopping(3);
//   trainer.remember("early_stopping", stopping.fields());
//   trainer.on_epoch([&](const Progress&) { return stopping.goes_on(evaluate(validation)); });
class EarlyStopping {
 public:
  explicit EarlyStopping(std::int64_t patience, double min_delta = 0) : patience_(patience), min_delta_(min_delta) {}
  bool goes_on(double metric);
  double best() const { return best_; }
  Fields fields();

 private:
  std::int64_t patience_;
  double min_delta_;
  double best_ = std::numeric_limits<double>::infinity();
  std::int64_t waited_ = 0;  // epochs since the best
};

}  // namespace optim

// %%
//| export optim/early_stopping.cpp
optim::Fields optim::EarlyStopping::fields() { return {{"best", &best_}, {"waited", &waited_}}; }

bool optim::EarlyStopping::goes_on(double metric) {
  if (metric < best_ - min_delta_) {
    best_ = metric;
    waited_ = 0;
  } else {
    ++waited_;
  }
  return waited_ <= patience_;
}

// %%
//| lesson
// The finished epochs of a run on y = 2x whose metric is best in its second epoch, with patience 3; it resumes from `path`.
std::int64_t epochs_of_run(const std::string& path, std::int64_t at_most) {
  const Tensor x = tensor({{1.0}, {2.0}, {-1.0}, {0.5}});
  nn::Linear layer(1, 1);
  optim::SGD optimizer(layer->parameters(), 0.05);
  optim::Trainer trainer(*layer, [&](const Tensor& input) { return layer->forward(input); }, optimizer,
                         [](const Tensor& output, const Tensor& target) { return mse_loss(output, target); }, optim::TrainerOptions().epochs(at_most).checkpoint(path));
  optim::EarlyStopping stopping(3);
  trainer.remember("early_stopping", stopping.fields());
  trainer.on_epoch([&](const optim::Progress& progress) { return stopping.goes_on(progress.epoch == 2 ? 1.0 : 2.0); });
  const auto batches = data::make_data_loader<data::samplers::SequentialSampler>(data::datasets::TensorBatchDataset(x, x * 2), data::DataLoaderOptions(2));
  trainer.resume(*batches);
  trainer.fit(*batches);
  return trainer.progress().epoch;
}

// %%
TEST_CASE("early stopping: waits with patience, also across a restart, and a run that it ended stays ended") {
  optim::EarlyStopping plain(1, 0.1);
  std::vector<bool> answers;
  for (const double metric : {3.0, 2.0, 1.95, 1.5, 1.45, 1.41, 0.5}) answers.push_back(plain.goes_on(metric));
  CHECK_EQ(answers, std::vector<bool>{true, true, true, true, true, false, true});
  CHECK_EQ(plain.best(), 0.5);

  const tito::Scratch scratch;
  const std::string path = scratch.path("run");
  CHECK_EQ(epochs_of_run(path, 4), 4);    // cut off while it waits
  CHECK_EQ(epochs_of_run(path, 100), 6);  // goes on waiting: epochs 3, 4 and 5, and in the sixth it has waited for more than 3
  CHECK_EQ(epochs_of_run(path, 100), 6);
}

// %% [markdown]
// ## TensorBoard's event files
//
// An event file is a list of records that is only ever appended to, so a reader can follow it while it grows. Each record is framed so that a cut-off or damaged one is noticed:
//
//     ┌───────────────┬────────────────────┬───────────────────┬──────────────────────┐
//     │ length, 8 B   │ CRC of the length  │ the event         │ CRC of the event     │
//     └───────────────┴────────────────────┴───────────────────┴──────────────────────┘
//
// The checksum is CRC32C, rotated and shifted ("masked"), because a checksum of data that holds its own checksum is weak. The event is a protocol buffer: a list of fields, each a key (number and kind) and a value. Four kinds of value are all that is needed:
//
//     varint        7 bits a byte, low ones first, high bit: more follow      step
//     fixed64/32    8 or 4 bytes, low ones first                              time (double), value (float)
//     bytes         length as varint, then the bytes                          tag, nested message, packed numbers

// %%
//| export utils/tensorboard.h
namespace utils::tensorboard {

// Writes scalars and histograms of a run for TensorBoard, into a new file events.out.tfevents.* in `log_dir` (made if it is not there). Each value is on its way to the
// disk when the call returns. Source: torch/utils/tensorboard/writer.py.
class SummaryWriter {
 public:
  // `clock` gives the time of each event, in seconds since 1970.
  explicit SummaryWriter(const std::string& log_dir = "runs", std::function<double()> clock = now);
  ~SummaryWriter();
  SummaryWriter(const SummaryWriter&) = delete;
  SummaryWriter& operator=(const SummaryWriter&) = delete;

  void add_scalar(const std::string& tag, double value, std::int64_t step = 0);
  // The distribution of the values, in TensorFlow's buckets, which grow by a tenth from 1e-12 in both directions. O(elements * log(buckets)).
  // Throws for an empty tensor and for values that are not finite.
  void add_histogram(const std::string& tag, const Tensor& values, std::int64_t step = 0);
  const std::string& path() const { return path_; }

 private:
  static double now();
  void append(std::string_view event_fields, std::int64_t step);

  std::function<double()> clock_;
  std::string path_;
  int fd_ = -1;
};

}  // namespace utils::tensorboard

// %%
//| export utils/tensorboard.cpp
namespace {
// CRC32C (Castagnoli), bit by bit for the table, byte by byte for the data.
constexpr std::array<std::uint32_t, 256> make_crc32c_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0x82f63b78u : 0u);
    table[i] = value;
  }
  return table;
}
constexpr std::array<std::uint32_t, 256> crc32c_table = make_crc32c_table();

std::uint32_t masked_crc32c(std::string_view bytes) {
  std::uint32_t crc = 0xffffffffu;
  for (const char byte : bytes) crc = crc >> 8 ^ crc32c_table[(crc ^ static_cast<unsigned char>(byte)) & 0xff];
  return std::rotr(~crc, 15) + 0xa282ead8u;
}

template <class T>
std::string little_endian(T value) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof(T); ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
  return bytes;
}

// The fields of a protocol buffer. Zero is the default of every number here, and defaults are not written.
std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7f) | 0x80);
  return bytes + static_cast<char>(value);
}
enum WireType : std::uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
std::string field_key(std::uint64_t number, WireType type) { return varint(number << 3 | type); }

std::string double_field(std::uint64_t number, double value) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  return bits == 0 ? "" : field_key(number, kFixed64) + little_endian(bits);
}
std::string float_field(std::uint64_t number, float value) { return field_key(number, kFixed32) + little_endian(std::bit_cast<std::uint32_t>(value)); }
std::string int_field(std::uint64_t number, std::int64_t value) { return value == 0 ? "" : field_key(number, kVarint) + varint(static_cast<std::uint64_t>(value)); }
std::string bytes_field(std::uint64_t number, std::string_view value) { return field_key(number, kBytes) + varint(value.size()) + std::string(value); }
std::string packed_doubles(std::uint64_t number, const std::vector<double>& values) {
  std::string bytes;
  for (const double value : values) bytes += little_endian(std::bit_cast<std::uint64_t>(value));
  return bytes_field(number, bytes);
}

// Event.summary with one value: its tag, and the fields of what it holds.
std::string summary_field(const std::string& tag, const std::string& content) { return bytes_field(5, bytes_field(1, bytes_field(1, tag) + content)); }

// ..., -1.1e-12, -1e-12, 0, 1e-12, 1.1e-12, ... up to 1e20.
const std::vector<double>& bucket_limits() {
  static const std::vector<double> limits = [] {
    std::vector<double> positive, all;
    for (double limit = 1e-12; limit < 1e20; limit *= 1.1) positive.push_back(limit);
    for (std::size_t i = positive.size(); i-- > 0;) all.push_back(-positive[i]);
    all.push_back(0);
    all.insert(all.end(), positive.begin(), positive.end());
    return all;
  }();
  return limits;
}
}  // namespace

// %%
//| export utils/tensorboard.cpp
double utils::tensorboard::SummaryWriter::now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

utils::tensorboard::SummaryWriter::SummaryWriter(const std::string& log_dir, std::function<double()> clock) : clock_(std::move(clock)) {
  std::error_code error;
  std::filesystem::create_directories(log_dir, error);
  TORCH_CHECK(!error, "cannot make the folder ", log_dir, ": ", error.message(), "\n[SummaryWriter] check the path and its permissions.");
  char host[256] = "host";
  ::gethostname(host, sizeof host - 1);
  char seconds[32];
  std::snprintf(seconds, sizeof seconds, "%010lld", static_cast<long long>(clock_()));
  const std::string stem = log_dir + "/events.out.tfevents." + seconds + "." + host + "." + std::to_string(::getpid()) + ".";
  for (int i = 0; fd_ < 0; ++i) {  // a name that is new
    path_ = stem + std::to_string(i);
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
    TORCH_CHECK(fd_ >= 0 || errno == EEXIST, "cannot write ", path_, ": ", std::strerror(errno), "\n[SummaryWriter] check the folder and its permissions.");
  }
  append(bytes_field(3, "brain.Event:2"), 0);
}

utils::tensorboard::SummaryWriter::~SummaryWriter() { ::close(fd_); }

// One record: an Event of time, step and what it says.
void utils::tensorboard::SummaryWriter::append(std::string_view event_fields, std::int64_t step) {
  const std::string event = double_field(1, clock_()) + int_field(2, step) + std::string(event_fields);
  const std::string length = little_endian(static_cast<std::uint64_t>(event.size()));
  const std::string record = length + little_endian(masked_crc32c(length)) + event + little_endian(masked_crc32c(event));
  const ssize_t written = ::write(fd_, record.data(), record.size());
  TORCH_CHECK(written == static_cast<ssize_t>(record.size()), "cannot write ", path_, ": ", written < 0 ? std::strerror(errno) : "there is no room",
              "\n[SummaryWriter] what was written before can be read; TensorBoard leaves out a record that is cut off.");
}

void utils::tensorboard::SummaryWriter::add_scalar(const std::string& tag, double value, std::int64_t step) {
  append(summary_field(tag, float_field(2, static_cast<float>(value))), step);
}

void utils::tensorboard::SummaryWriter::add_histogram(const std::string& tag, const Tensor& values, std::int64_t step) {
  TORCH_CHECK_VALUE(values.numel() > 0, "The input has no element.");
  const Tensor flat = values.detach().to(kDouble).reshape({-1}).contiguous();
  TORCH_CHECK_VALUE(isfinite(flat).all().item<bool>(), "The histogram of '", tag, "' has values that are not finite\n[add_histogram] look at them with isfinite() first.");
  // Count. A value on a limit belongs to the bucket above it.
  const std::vector<double>& limits = bucket_limits();
  std::vector<double> counts(limits.size() - 1);
  const double* const data = flat.data<double>();
  for (std::int64_t i = 0; i < flat.numel(); ++i) {
    const auto above = std::upper_bound(limits.begin(), limits.end(), data[i]) - limits.begin();
    if (above > 0 && above < static_cast<std::ptrdiff_t>(limits.size())) ++counts[static_cast<std::size_t>(above - 1)];
  }
  // Keep the buckets from the first with a value to the last, and one empty bucket below, whose limit is the left edge of the first.
  const auto full = [](double count) { return count > 0; };
  const auto first = std::find_if(counts.begin(), counts.end(), full) - counts.begin();
  const auto last = counts.rend() - std::find_if(counts.rbegin(), counts.rend(), full);
  TORCH_CHECK_VALUE(first < last, "The histogram of '", tag, "' has only values beyond 1e20");
  std::vector<double> kept_counts{0};
  kept_counts.insert(kept_counts.end(), counts.begin() + first, counts.begin() + last);
  const std::vector<double> kept_limits(limits.begin() + first, limits.begin() + last + 1);
  const std::string histogram = double_field(1, flat.min().item<double>()) + double_field(2, flat.max().item<double>()) +
                                double_field(3, static_cast<double>(flat.numel())) + double_field(4, flat.sum().item<double>()) +
                                double_field(5, (flat * flat).sum().item<double>()) + packed_doubles(6, kept_limits) + packed_doubles(7, kept_counts);
  append(summary_field(tag, bytes_field(5, histogram)), step);
}

// %%
TEST_CASE("SummaryWriter: records in order, each with its length; a full disk is one sentence") {
  const tito::Scratch scratch;
  double time = 100;
  utils::tensorboard::SummaryWriter writer(scratch.path("runs/first"), [&] { return time++; });
  writer.add_scalar("loss", 0.5, 3);
  writer.add_histogram("weight", tensor({1.0, 2.0, -1.0}), 300);
  const std::string bytes = serialize::read_file(writer.path());
  std::vector<std::string> events;
  for (std::size_t at = 0; at < bytes.size(); at += 16 + events.back().size()) {
    std::size_t length = 0;
    for (std::size_t i = 0; i < 8; ++i) length |= static_cast<std::size_t>(static_cast<unsigned char>(bytes[at + i])) << (8 * i);
    REQUIRE_LE(at + 16 + length, bytes.size());
    events.push_back(bytes.substr(at + 12, length));
  }
  REQUIRE_EQ(events.size(), 3);
  CHECK_NE(events[0].find("brain.Event:2"), std::string::npos);
  CHECK_NE(events[1].find("loss"), std::string::npos);
  CHECK_EQ(events[1].substr(9, 2), std::string("\x10\x03"));     // field 2, a varint: 3
  CHECK_EQ(events[2].substr(9, 3), std::string("\x10\xac\x02"));  // 300 in two groups of seven bits
  utils::tensorboard::SummaryWriter second(scratch.path("runs/first"), [] { return 101.0; });
  CHECK_NE(second.path(), writer.path());
  CHECK_ERROR(writer.add_histogram("weight", zeros({0})), "The input has no element.");
  CHECK_ERROR(writer.add_histogram("weight", tensor({1.0F, NAN})), "The histogram of 'weight' has values that are not finite");
  CHECK_ERROR(utils::tensorboard::SummaryWriter("/dev/null/runs"), "cannot make the folder /dev/null/runs");
  CHECK_EQ(serialize::read_file(writer.path()), bytes);
}

// %%
}  // namespace tinytorch
