// From the lesson modules/67_watching/watching_dev.cpp:
// edit the module, not this file.

#include "tinytorch/utils/tensorboard.h"

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

namespace tinytorch {

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

}  // namespace tinytorch
