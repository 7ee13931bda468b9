// From the lesson modules/00_setup/setup_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/utils.h"

#include <sys/resource.h>
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "tinytorch/core/error.h"

namespace tinytorch {

// The text after the colon on the first line whose text before the colon is `key`; without spaces and tabs around either. Empty if no line has this key. O(length of text);
// the result points into `text`, nothing is copied.
std::string_view value_of_key(std::string_view text, std::string_view key) {
  const auto trim = [](std::string_view s) {
    const size_t first = s.find_first_not_of(" \t\r");
    if (first == std::string_view::npos) return std::string_view();
    return s.substr(first, s.find_last_not_of(" \t\r") - first + 1);
  };
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    const size_t colon = line.find(':');
    if (colon != std::string_view::npos && trim(line.substr(0, colon)) == key)
      return trim(line.substr(colon + 1));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return {};
}

// Digits, perhaps spaces, perhaps a unit: B (or none), K/kB/KiB, M/MB/MiB, G/GB/GiB, in powers of 1024.
int64_t parse_bytes(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string unit(end, text.data() + text.size());
  std::erase(unit, ' ');
  int64_t scale = 0;
  if (unit.empty() || unit == "B") scale = 1;
  if (unit == "K" || unit == "kB" || unit == "KiB") scale = int64_t{1} << 10;
  if (unit == "M" || unit == "MB" || unit == "MiB") scale = int64_t{1} << 20;
  if (unit == "G" || unit == "GB" || unit == "GiB") scale = int64_t{1} << 30;
  TORCH_CHECK_VALUE(error == std::errc() && scale != 0 && value >= 0 && value <= (int64_t{1} << 62) / scale,
                    "'", text,
                    "' is not a number of bytes\n[parse_bytes] expected digits and perhaps a unit (B, K, kB, "
                    "M, G), as in 32K");
  return value * scale;
}

std::string format_bytes(int64_t bytes) {
  constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (std::abs(value) >= 1024 && unit + 1 < std::size(units)) {
    value /= 1024;
    ++unit;
  }
  std::ostringstream out;
  out.precision(std::abs(value) >= 100 || unit == 0 ? 0 : 1);
  out << std::fixed << value << ' ' << units[unit];
  return out.str();
}

std::string read_if_there(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

int64_t resident_bytes() {
  const std::string status = read_if_there("/proc/self/status");
  const std::string_view resident = value_of_key(status, "VmRSS");
  return resident.empty() ? 0 : parse_bytes(resident);
}

int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
  return usage.ru_maxrss;
#else
  return int64_t{usage.ru_maxrss} * 1024;
#endif
}

double Timer::now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// O(n log n). Throws ValueError that begins "median of no values" if there are none.
double median_of(std::vector<double> values) {
  TORCH_CHECK_VALUE(!values.empty(), "median of no values\n[median_of] pass at least one value");
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

// The contract. `function` is called at least once before anything that counts. A sample is calls_per_sample calls between two readings of the clock, and so many that it
// takes at least options.sample_seconds by that clock; all samples make the same number of calls. options.samples of them count; median, minimum and maximum are seconds per
// call among those. The clock is read at most twice per sample and 100 times besides. Memory O(samples). What `function` throws passes through. Throws ValueError if
// options.samples < 1.
Measurement measure(const std::function<void()>& function, MeasureOptions options,
                    const std::function<double()>& clock) {
  TORCH_CHECK_VALUE(options.samples >= 1, "a measurement needs at least one sample, but samples is ",
                    options.samples, "\n[measure] set MeasureOptions::samples to 1 or more");
  const Timer timer;
  const std::function<double()> now = clock ? clock : [&timer] { return timer.seconds(); };
  const auto time_of = [&](int64_t calls) {
    const double start = now();
    for (int64_t i = 0; i < calls; ++i) function();
    return now() - start;
  };

  // Warm up, and double the number of calls until a sample is long enough.
  function();
  constexpr int64_t most_calls = int64_t{1} << 30;
  int64_t calls = 1;
  while (time_of(calls) < options.sample_seconds && calls < most_calls) calls *= 2;

  std::vector<double> seconds;
  for (int i = 0; i < options.samples; ++i) seconds.push_back(time_of(calls) / static_cast<double>(calls));
  const auto [fastest, slowest] = std::minmax_element(seconds.begin(), seconds.end());
  return {median_of(seconds), *fastest, *slowest, options.samples, calls};
}

std::string format_seconds(double seconds) {
  struct Unit {
    double size;
    const char* name;
  };
  constexpr Unit units[] = {{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}, {1e-9, "ns"}};
  const Unit* unit = std::find_if(std::begin(units), std::end(units) - 1,
                                  [&](const Unit& u) { return std::abs(seconds) >= u.size; });
  std::ostringstream out;
  const double value = seconds / unit->size;
  out.precision(std::abs(value) < 10 ? 2 : std::abs(value) < 100 ? 1 : 0);
  out << std::fixed << value << ' ' << unit->name;
  return out.str();
}

std::string read_file(const std::string& path, const char* reader) {
  std::error_code ignored;
  TORCH_CHECK(!std::filesystem::is_directory(path, ignored), "cannot read ", path, ": it is a folder\n[",
              reader, "] name a file in it");
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  TORCH_CHECK(file.is_open(), "cannot open ", path, ": ", std::strerror(errno), "\n[", reader,
              "] check the path; a relative one starts at ", std::filesystem::current_path(ignored).string());
  std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  TORCH_CHECK(!file.bad(), "cannot read ", path, " to its end\n[", reader, "] reading failed after ",
              bytes.size(), " bytes; check the disk");
  return bytes;
}

std::string find_data(std::string_view name) {
  std::string looked_for;
  std::error_code ignored;
  const auto is_there = [&](const std::filesystem::path& path) {
    looked_for += "\n  " + path.string();
    return std::filesystem::exists(path, ignored);
  };
  if (const char* folder = std::getenv("TINYTORCH_DATA")) {
    const std::filesystem::path path = std::filesystem::path(folder) / name;
    if (is_there(path)) return path.string();
  }
  std::filesystem::path below;
  for (std::filesystem::path here = std::filesystem::current_path(); here != below;
       here = here.parent_path()) {
    const std::filesystem::path path = here / "data" / name;
    if (is_there(path)) return path.string();
    below = here;
  }
  throw Error(TINYTORCH_HERE,
              str("cannot find the data file ", name, "\n[find_data] start the program in a folder of the ",
                  "repository, or set TINYTORCH_DATA to the folder with the data; looked for", looked_for));
}

// Numbers may be written as 3, -2.5 or 1e-3. Errors: "PATH:LINE: 'TEXT' is not a number" and "PATH:LINE: expected N values but found M", "PATH: there are no numbers in it",
// and read_file's. Lines count from 1.
NumericArray read_numeric_text(const std::string& path) {
  const std::string text = read_file(path, "read_numeric_text");
  NumericArray table{{0, 0}, {}};
  int64_t& rows = table.sizes[0];
  int64_t& columns = table.sizes[1];
  const auto is_gap = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  const auto is_separator = [&](char c) { return c == ',' || is_gap(c); };

  int64_t line = 0;
  for (const char *at = text.data(), *const text_end = at + text.size(); at < text_end;) {
    ++line;
    const char* const line_end = std::find(at, text_end, '\n');
    int64_t count = 0;
    at = std::find_if_not(at, line_end, is_gap);
    while (at < line_end && *at != '#') {
      double value = 0;
      const auto [after, error] = std::from_chars(at, line_end, value);
      TORCH_CHECK(error == std::errc() && (after == line_end || is_separator(*after)), path, ":", line, ": '",
                  std::string(at, std::find_if(at, line_end, is_separator)),
                  "' is not a number\n[read_numeric_text] ", "value ", count + 1,
                  " of the line; only numbers, and lines that begin with #, may stand in the file");
      table.values.push_back(value);
      ++count;
      at = std::find_if_not(after, line_end, is_gap);
      if (at < line_end && *at == ',') at = std::find_if_not(at + 1, line_end, is_gap);
    }
    if (count > 0) {
      if (rows == 0) columns = count;
      TORCH_CHECK(count == columns, path, ":", line, ": expected ", columns, " values but found ", count,
                  "\n[read_numeric_text] each line must have as many values as the first; a short last line "
                  "means that ",
                  "the file was cut off: fetch it again");
      ++rows;
    }
    at = std::min(line_end + 1, text_end);
  }
  TORCH_CHECK(rows > 0, path, ": there are no numbers in it\n[read_numeric_text] the file has ", text.size(),
              " bytes; is it the right one, and complete?");
  return table;
}

}  // namespace tinytorch
