// From the lesson modules/00_setup/setup_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/utils.h"

#include <sys/resource.h>
#include <sys/utsname.h>
#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <ostream>
#include <sstream>
#include <thread>

#include "tinytorch/core/error.h"

namespace tinytorch {

// The text after the colon on the first line whose text before the colon is `key`; without spaces and tabs
// around either. Empty if no line has this key. O(length of text); the result points into `text`, nothing is
// copied.
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
// Throws ValueError for anything else.
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

namespace {

// The whole file, or "" if it cannot be read. For the small files in /proc and /sys, which may be missing.
std::string read_if_there(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

int64_t bytes_or_zero(std::string_view text) { return text.empty() ? 0 : parse_bytes(text); }

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

}  // namespace

int64_t resident_bytes() { return bytes_or_zero(value_of_key(read_if_there("/proc/self/status"), "VmRSS")); }

int64_t peak_resident_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
#ifdef __APPLE__
  return usage.ru_maxrss;
#else
  return int64_t{usage.ru_maxrss} * 1024;
#endif
}

namespace {

std::string compiler_name() {
#if defined(__clang__)
  return "clang " __clang_version__;
#elif defined(__GNUC__)
  return "g++ " __VERSION__;
#else
  return {};
#endif
}

std::string standard_name() {
  if constexpr (__cplusplus > 202002L) return "C++23 or later";
  return __cplusplus == 202002L ? "C++20" : "before C++20";
}

// The extensions that matter for kernels, in the order in which they came, out of the flags in /proc/cpuinfo.
std::vector<std::string> simd_extensions(std::string_view flags) {
  std::istringstream words{std::string(flags)};
  const std::vector<std::string> present{std::istream_iterator<std::string>(words), {}};
  std::vector<std::string> found;
  for (const char* name :
       {"sse2", "sse4_2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512bw", "avx512_vnni", "avx512_bf16",
        "amx_tile", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2"}) {
    if (std::find(present.begin(), present.end(), name) != present.end()) found.emplace_back(name);
  }
  return found;
}

std::vector<CacheInfo> data_caches() {
  std::vector<CacheInfo> caches;
  for (int index = 0;; ++index) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index);
    const std::string type = first_line(read_if_there(folder + "/type"));
    if (type.empty()) return caches;
    if (type == "Instruction") continue;
    const int level = std::atoi(read_if_there(folder + "/level").c_str());
    caches.push_back({level, bytes_or_zero(first_line(read_if_there(folder + "/size")))});
  }
}

}  // namespace

SystemInfo system_info() {
  SystemInfo info;
  utsname name{};
  if (uname(&name) == 0) info.os = std::string(name.sysname) + " " + name.release + " " + name.machine;
  info.compiler = compiler_name();
  info.standard = standard_name();
#ifdef __OPTIMIZE__
  info.optimized = true;
#endif

  const std::string cpuinfo = read_if_there("/proc/cpuinfo");
  info.cpu_model = value_of_key(cpuinfo, "model name");
  info.cores = static_cast<int>(std::thread::hardware_concurrency());
  info.memory_bytes = bytes_or_zero(value_of_key(read_if_there("/proc/meminfo"), "MemTotal"));
  info.cache_line_bytes = bytes_or_zero(
      first_line(read_if_there("/sys/devices/system/cpu/cpu0/cache/index0/coherency_line_size")));
  info.caches = data_caches();
  const std::string_view x86_flags = value_of_key(cpuinfo, "flags");
  info.simd = simd_extensions(x86_flags.empty() ? value_of_key(cpuinfo, "Features") : x86_flags);
  return info;
}

std::ostream& operator<<(std::ostream& out, const SystemInfo& info) {
  const auto known = [](const std::string& s) { return s.empty() ? std::string("unknown") : s; };
  out << "system    " << known(info.os) << '\n';
  out << "compiler  " << known(info.compiler) << ", " << info.standard
      << (info.optimized ? ", optimized\n" : ", not optimized\n");
  out << "cpu       " << known(info.cpu_model) << ", " << info.cores
      << (info.cores == 1 ? " core\n" : " cores\n");
  out << "memory    " << (info.memory_bytes == 0 ? "unknown" : format_bytes(info.memory_bytes)) << '\n';
  out << "caches   ";
  for (const CacheInfo& cache : info.caches) out << " L" << cache.level << ' ' << format_bytes(cache.bytes);
  if (info.caches.empty()) out << " unknown";
  if (info.cache_line_bytes != 0) out << ", lines of " << info.cache_line_bytes << " bytes";
  out << "\nsimd     ";
  for (const std::string& extension : info.simd) out << ' ' << extension;
  if (info.simd.empty()) out << " unknown";
  return out << '\n';
}

// O(n log n). Throws ValueError that begins "median of no values" if there are none.
double median_of(std::vector<double> values) {
  TORCH_CHECK_VALUE(!values.empty(), "median of no values\n[median_of] pass at least one value");
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

// The contract. `function` is called at least once before anything that counts. A sample is calls_per_sample
// calls between two readings of the clock, and so many that it takes at least options.sample_seconds by that
// clock; all samples make the same number of calls. options.samples of them count; median, minimum and
// maximum are seconds per call among those. The clock is read at most twice per sample and 100 times besides.
// Memory O(samples). What `function` throws passes through. Throws ValueError if options.samples < 1.
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

namespace {

// The bytes of a file. `reader` names the function in errors.
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

}  // namespace

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

// Numbers may be written as 3, -2.5 or 1e-3. Errors: "PATH:LINE: 'TEXT' is not a number" and "PATH:LINE:
// expected N values but found M", "PATH: there are no numbers in it", and read_file's. Lines count from 1.
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

namespace {

struct NpyHeader {
  std::string descr;  // '<f4': little-endian, float, 4 bytes
  std::vector<int64_t> sizes;
};

// The text from behind `before` up to `after`; nothing if either is missing.
std::string_view between(std::string_view text, std::string_view before, char after) {
  const size_t start = text.find(before);
  if (start == std::string_view::npos) return {};
  text.remove_prefix(start + before.size());
  const size_t end = text.find(after);
  return end == std::string_view::npos ? std::string_view() : text.substr(0, end);
}

// Reads {'descr': '<f4', 'fortran_order': False, 'shape': (64, 32), }.
NpyHeader parse_npy_header(std::string_view text, const std::string& path) {
  NpyHeader header;
  header.descr = between(text, "'descr': '", '\'');
  const std::string_view shape = between(text, "'shape': (", ')');
  const bool has_shape = !shape.empty() || text.find("'shape': ()") != std::string_view::npos;
  TORCH_CHECK(
      !header.descr.empty() && has_shape, path,
      ": the header has no descr or no shape\n[read_npy] only plain arrays that np.save wrote can be read");
  TORCH_CHECK(text.find("'fortran_order': False") != std::string_view::npos, path,
              ": the array is not in row-major order\n[read_npy] save np.ascontiguousarray(array)");

  std::istringstream parts{std::string(shape)};
  for (std::string part; std::getline(parts, part, ',');) {
    const size_t first = part.find_first_not_of(' ');
    if (first == std::string::npos) continue;  // after the comma of (3,)
    int64_t size = -1;
    const auto [end, error] = std::from_chars(part.data() + first, part.data() + part.size(), size);
    TORCH_CHECK(error == std::errc() && end == part.data() + part.size() && size >= 0, path, ": the shape (",
                shape, ") is not a list of sizes\n[read_npy] the header is damaged: save the file again");
    header.sizes.push_back(size);
  }
  return header;
}

template <class T>
std::vector<double> to_doubles(const char* bytes, int64_t count) {
  std::vector<double> values(static_cast<size_t>(count));
  for (double& value : values) {
    T element;
    std::memcpy(&element, bytes, sizeof(T));
    bytes += sizeof(T);
    value = static_cast<double>(element);
  }
  return values;
}

struct NpyType {
  const char* descr;
  int64_t bytes;
  std::vector<double> (*convert)(const char* bytes, int64_t count);
};
constexpr NpyType npy_types[] = {{"<f4", 4, to_doubles<float>},   {"<f8", 8, to_doubles<double>},
                                 {"<i4", 4, to_doubles<int32_t>}, {"<i8", 8, to_doubles<int64_t>},
                                 {"|u1", 1, to_doubles<uint8_t>}, {"|b1", 1, to_doubles<uint8_t>}};
static_assert(std::endian::native == std::endian::little, "read_npy takes little-endian numbers as they are");

// Takes bytes from the front of a file that may be shorter than it should be.
class ByteReader {
 public:
  ByteReader(std::string_view bytes, const std::string& path) : rest_(bytes), path_(path) {}

  bool done() const { return rest_.empty(); }
  int64_t left() const { return static_cast<int64_t>(rest_.size()); }

  std::string_view take(int64_t count, const std::string& what) {
    TORCH_CHECK(count <= left(), path_, ": the file ends inside ", what, ": ", count, " bytes are needed, ",
                left(), " are left\n[read_npy] it was cut off: fetch or save it again");
    const std::string_view taken = rest_.substr(0, static_cast<size_t>(count));
    rest_.remove_prefix(taken.size());
    return taken;
  }

  // An unsigned number of `count` bytes, the lowest one first.
  int64_t take_number(int64_t count, const std::string& what) {
    const std::string_view digits = take(count, what);
    int64_t value = 0;
    for (size_t i = digits.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(digits[i]);
    return value;
  }

 private:
  std::string_view rest_;
  const std::string& path_;
};

}  // namespace

std::vector<NumericArray> read_npy(const std::string& path, int64_t expected_arrays) {
  const std::string bytes = read_file(path, "read_npy");
  ByteReader reader(bytes, path);
  std::vector<NumericArray> arrays;
  while (!reader.done()) {
    const std::string which = str("array ", arrays.size());
    TORCH_CHECK(
        reader.take(6, "the start of " + which) == "\x93NUMPY", path, ": ", which,
        " does not begin with NumPy's magic string\n[read_npy] only files that np.save wrote can be read");
    const int64_t major = reader.take_number(1, "the version");
    reader.take_number(1, "the version");
    const int64_t header_length = reader.take_number(major == 1 ? 2 : 4, "the length of the header");
    NpyHeader header = parse_npy_header(reader.take(header_length, "the header of " + which), path);
    const NpyType* type = std::find_if(std::begin(npy_types), std::end(npy_types),
                                       [&](const NpyType& row) { return header.descr == row.descr; });
    TORCH_CHECK(type != std::end(npy_types), path, ": values of type ", header.descr,
                " cannot be read\n[read_npy] save them as float32, float64, int32, int64 or uint8");

    int64_t count = 1;
    bool overflow = false;
    for (int64_t size : header.sizes) overflow |= __builtin_mul_overflow(count, size, &count);
    TORCH_CHECK(!overflow && count <= reader.left() / type->bytes, path,
                ": the file ends inside the values of ", which, ": its sizes ask for more than the ",
                reader.left() / type->bytes,
                " values that are left\n[read_npy] it was cut off: fetch or save it again");
    const std::string_view data = reader.take(count * type->bytes, "the values");
    arrays.push_back({std::move(header.sizes), type->convert(data.data(), count)});
  }
  TORCH_CHECK(expected_arrays < 0 || static_cast<int64_t>(arrays.size()) == expected_arrays, path,
              ": expected ", expected_arrays, " arrays but found ", arrays.size(),
              "\n[read_npy] is it the right file, and complete?");
  return arrays;
}

}  // namespace tinytorch
