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
//     name: tinytorch
// ---

// %% [markdown]
// # Library chapter 94: Data files and pipelines
//
// Module 07 builds the interfaces and the machinery: dataset, sampler, transform, loader. This chapter puts breadth behind the same interfaces, with the same tools. It has two halves:
// what comes from files, and what stands between a dataset and the loader.
//
//     files                                               pipelines
//     IDX (plain, .gz)     read_idx, MNIST                lambdas as transforms        Lambda, BatchLambda, TensorLambda, Collate
//     tables of numbers    read_csv, Digits               one dataset for all workers  SharedBatchDataset
//     lines of text        TextLines                      streams                      StreamSampler, StatefulDataLoader
//                                                         an epoch saved and resumed   state(), set_state()

// %%
//| after 07
//| export data/idx.h
#include <string>
#include "tinytorch/core/ops.h"
//| export data/idx.cpp
#include <zlib.h>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include "tinytorch/data/idx_header.h"
//| export data/csv.h
#include <string>
#include <vector>
#include "tinytorch/core/ops.h"
//| export data/csv.cpp
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>
//| export data/text_lines.h
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>
#include "tinytorch/data/datasets.h"
//| export data/text_lines.cpp
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
//| export data/vision.h
#include <optional>
#include <string>
#include "tinytorch/data/datasets.h"
//| export data/vision.cpp
#include <cmath>
#include <filesystem>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/data/csv.h"
#include "tinytorch/data/idx.h"
//| export data/lambda.h
#include <functional>
#include <utility>
#include "tinytorch/data/transforms.h"
//| export data/shared.h
#include <memory>
#include <optional>
#include <utility>
#include "tinytorch/data/datasets.h"
//| export data/stream.h
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>
#include "tinytorch/data/dataloader.h"
//| export data/stream.cpp
#include <algorithm>
#include "tinytorch/data/saved_state.h"
//| export data/saved_state.h
#include <cstddef>
#include <cstdint>
#include "tinytorch/data/samplers.h"
//| export data/saved_state.cpp
#include <vector>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"

// %%
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <numeric>
#include <set>
#include <sstream>
#include <thread>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/core/utils.h"
#include "tinytorch/data/dataloader.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ### IDX files, whole
//
// Module 07's `parse_idx_header` decides whether a header can be true. Here is the rest of the reader. zlib's `gzread` reads plain files as they are and unpacks compressed ones, so one path serves both.

// %%
//| export data/idx.h
namespace data {

// The numbers of an IDX file, plain or compressed by gzip, in the type and shape that its header names.
// Throws Error, one sentence that names the file, if it is missing, is not IDX, is cut off, damaged, or longer than it says;
// nothing is allocated for a size that the file cannot hold. Source: torch/csrc/api/src/data/datasets/mnist.cpp.
Tensor read_idx(const std::string& path);

}  // namespace data

// %%
//| export data/idx.cpp
namespace {

// A file that is unpacked while it is read, if it is compressed.
class PackedFile {
 public:
  explicit PackedFile(const std::string& path) : path_(path), file_(gzopen(path.c_str(), "rb"), gzclose) {
    TORCH_CHECK(file_ != nullptr && !std::filesystem::is_directory(path), "cannot open ", path, ": ", file_ != nullptr ? "it is a folder" : std::strerror(errno),
                "\n[read_idx] check the path; a relative one starts at ", std::filesystem::current_path().string());
  }

  // Reads up to `count` bytes; fewer at the end of the file. Throws if the compressed data is damaged.
  std::int64_t read_some(char* to, std::int64_t count) {
    std::int64_t done = 0;
    while (done < count) {
      const auto piece = static_cast<unsigned>(std::min<std::int64_t>(count - done, std::int64_t{1} << 30));
      const int got = gzread(file_.get(), to + done, piece);
      int error = Z_OK;
      const char* const message = gzerror(file_.get(), &error);
      TORCH_CHECK(got >= 0 && (error == Z_OK || error == Z_STREAM_END), path_, ": the compressed data is damaged or cut off (", message, ")\n[read_idx] fetch it again");
      if (got == 0) break;
      done += got;
    }
    return done;
  }

  void read(char* to, std::int64_t count, const char* what) {
    const std::int64_t got = read_some(to, count);
    TORCH_CHECK(got == count, path_, ": the file is cut off: it ends after ", got, " of ", count, " bytes of its ", what, "\n[read_idx] fetch it again");
  }

  // The most bytes that the file can hold when unpacked.
  std::int64_t capacity() const {
    constexpr std::int64_t best_ratio = 1032;  // of deflate; see zlib's "Technical Details"
    const auto bytes = static_cast<std::int64_t>(std::filesystem::file_size(path_));
    return gzdirect(file_.get()) != 0 ? bytes : bytes * best_ratio;
  }

 private:
  std::string path_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
};

}  // namespace

// %%
//| export data/idx.cpp
Tensor data::read_idx(const std::string& path) {
  PackedFile file(path);
  std::string bytes(4, '\0');
  file.read(bytes.data(), 4, "header");
  // The fourth byte counts the dimensions, so the header has at most 4 + 4 x 255 bytes. A file that is not IDX ends at the magic number.
  const auto dims = static_cast<unsigned char>(bytes[3]);
  if (bytes[0] == 0 && bytes[1] == 0) {
    bytes.resize(4 + 4 * std::size_t{dims});
    file.read(bytes.data() + 4, 4 * std::int64_t{dims}, "header");
  }
  const detail::IdxHeader header = detail::parse_idx_header(bytes, file.capacity() - static_cast<std::int64_t>(bytes.size()), path);

  const Tensor values = empty(header.sizes, header.type);
  file.read(static_cast<char*>(values.data_ptr()), header.nbytes, "values");
  char more = 0;
  TORCH_CHECK(file.read_some(&more, 1) == 0, path, ": the file goes on after the ", header.nbytes, " bytes that its header announces\n[read_idx] the header is damaged: fetch it again");

  // To the byte order of this machine.
  const auto width = static_cast<std::ptrdiff_t>(values.element_size());
  if (width > 1) {
    char* const first = static_cast<char*>(values.data_ptr());
    for (char* element = first; element < first + header.nbytes; element += width) std::reverse(element, element + width);
  }
  return values;
}

// %%
//| lesson
// A folder for the files of a test, removed at its end.
class Scratch {
 public:
  Scratch() {
    static std::atomic<int> count{0};
    folder_ = std::filesystem::temp_directory_path() / str("tinytorch_data_", std::chrono::steady_clock::now().time_since_epoch().count(), "_", count++);
    std::filesystem::create_directory(folder_);
  }
  ~Scratch() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  std::string write(const std::string& name, std::string_view bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }

 private:
  std::filesystem::path folder_;
};

// %%
TEST_CASE("read_idx: plain and compressed, and every way in which a file can be wrong") {
  using namespace std::string_literals;
  const Scratch scratch;
  const std::string good = "\0\0\x08\x02\0\0\0\x02\0\0\0\x03\x01\x02\x03\x04\x05\xff"s;
  const Tensor expected = tensor({{1, 2, 3}, {4, 5, 255}}).to(kByte);
  CHECK_EQ(data::read_idx(scratch.write("good.idx", good)), expected);
  CHECK_EQ(data::read_idx(scratch.write("short.idx", "\0\0\x0B\x01\0\0\0\x02\x01\x00\xff\xfe"s)), tensor({256, -2}).to(kShort));
  // `good`, as `gzip -n` packs it.
  const std::string packed =
      "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x63\x60\xe0\x60\x62\x60\x60\x00\x61\x66\x46\x26\x66\x16\xd6\xff\x00\xf0\xde\x5f\x21\x12\x00\x00\x00"s;
  CHECK_EQ(data::read_idx(scratch.write("good.idx.gz", packed)), expected);

  CHECK_ERROR(data::read_idx(scratch.path("missing.idx")), "No such file or directory");
  CHECK_ERROR(data::read_idx(scratch.path("")), "it is a folder");
  CHECK_ERROR(data::read_idx(scratch.write("empty.idx", "")), "the file is cut off: it ends after 0 of 4 bytes of its header");
  CHECK_ERROR(data::read_idx(scratch.write("header.idx", good.substr(0, 9))), "of its header");
  CHECK_ERROR(data::read_idx(scratch.write("values.idx", good.substr(0, 16))), "cut off");
  CHECK_ERROR(data::read_idx(scratch.write("long.idx", good + "x")), "the file goes on after the 6 bytes that its header announces");
  CHECK_ERROR(data::read_idx(scratch.write("png.idx", "\x89PNG")), "not an IDX file");
  CHECK_ERROR(data::read_idx(scratch.write("cut.idx.gz", packed.substr(0, 20))), "cut off");
  std::string damaged = packed;
  damaged[25] = static_cast<char>(damaged[25] ^ 0x10);
  CHECK_ERROR(data::read_idx(scratch.write("damaged.idx.gz", damaged)), "damaged");

  // A header that asks for 2^62 bytes: refused before anything is allocated.
  memory::reset_peak();
  const std::size_t before = memory::stats().live;
  CHECK_ERROR(data::read_idx(scratch.write("huge.idx", "\0\0\x08\x02\x80\0\0\0\x80\0\0\0abc"s)), "its header is damaged");
  CHECK_EQ(memory::stats().peak, before);
}

// %% [markdown]
// ### Tables of numbers
//
// CSV is the other format that everyone meets. It has no header that counts anything, so nothing is known before the last line is read,
// and its errors are those of people: a missing value, a column too many, a decimal comma. An error therefore says *where*: line and column,
// and the column's name if there are names.
//
//     height,width,label        <- names, if header(true)
//     1.5,2.0,0                 <- line 2: three values for three names
//     1.7,x,1                   <- iris.csv:3: column 2 (width): 'x' is not a number
//
// How to read it fast is no secret but worth measuring (Part 2): the obvious `std::getline` with `std::stringstream` and `std::stod` makes a
// string for each value and asks for the locale each time. `std::from_chars` reads a number where it stands.

// %%
//| export data/csv.h
namespace data {

// How a table is written.
class CsvOptions {
 public:
  // Between values; spaces and tabs around a value never count.
  CsvOptions& delimiter(char value) {
    delimiter_ = value;
    return *this;
  }
  char delimiter() const { return delimiter_; }
  // Whether the first line has the names of the columns.
  CsvOptions& header(bool value) {
    header_ = value;
    return *this;
  }
  bool header() const { return header_; }

 private:
  char delimiter_ = ',';
  bool header_ = false;
};

// A table of numbers.
struct CsvTable {
  std::vector<std::string> names;  // empty without a header
  Tensor values;                   // (rows, columns), Double

  // The column with this name, as a view (rows). Throws IndexError if there is none.
  Tensor column(const std::string& name) const;
};

// Reads lines of numbers; a number may stand in double quotes. Empty lines do not count. Throws Error that names file, line and column
// for anything but a number, and for a line with more or fewer values than the first.
CsvTable read_csv(const std::string& path, const CsvOptions& options = CsvOptions());

}  // namespace data

// %%
//| export data/csv.cpp
namespace {

// Walks over the values of a line.
class CsvLine {
 public:
  CsvLine(std::string_view line, char delimiter) : rest_(line), delimiter_(delimiter) {}
  bool done() const { return done_; }

  // The next value, without the blanks and quotes around it. A quote that is not closed, or closed before the value ends, is part of it.
  std::string_view next() {
    skip_blanks();
    const char* const start = rest_.data();
    std::string_view value;
    const std::size_t close = rest_.starts_with('"') ? rest_.find('"', 1) : std::string_view::npos;
    const bool quoted = close != std::string_view::npos;
    if (quoted) {
      value = rest_.substr(1, close - 1);
      rest_.remove_prefix(close + 1);
      skip_blanks();
    }
    const std::size_t end = std::min(rest_.find(delimiter_), rest_.size());
    if (!quoted || end > 0) value = std::string_view(start, static_cast<std::size_t>(rest_.data() + end - start));
    done_ = end == rest_.size();
    rest_.remove_prefix(std::min(rest_.size(), end + 1));
    while (!value.empty() && is_blank(value.back())) value.remove_suffix(1);
    return value;
  }

 private:
  bool is_blank(char c) const { return (c == ' ' || c == '\t') && c != delimiter_; }
  void skip_blanks() {
    while (!rest_.empty() && is_blank(rest_.front())) rest_.remove_prefix(1);
  }
  std::string_view rest_;
  char delimiter_;
  bool done_ = false;
};

// The number that `text` is, as a whole; nothing if it is none.
std::optional<double> parse_number(std::string_view text) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string read_text(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  const bool folder = std::filesystem::is_directory(path);
  TORCH_CHECK(file.is_open() && !folder, "cannot open ", path, ": ", folder ? "it is a folder" : std::strerror(errno),
              "\n[read_csv] check the path; a relative one starts at ", std::filesystem::current_path().string());
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

// %%
//| export data/csv.cpp
data::CsvTable data::read_csv(const std::string& path, const CsvOptions& options) {
  const std::string text = read_text(path);
  CsvTable table;
  std::vector<double> numbers;
  std::int64_t rows = 0;
  std::size_t columns = 0;

  // The place of an error: "file:line: column 3 (width)".
  std::int64_t line_number = 0;
  const auto place = [&](std::size_t column) {
    return str(path, ":", line_number, ": column ", column, column <= table.names.size() ? " (" + table.names[column - 1] + ")" : "");
  };

  std::string_view rest = text;
  if (rest.starts_with("\xef\xbb\xbf")) rest.remove_prefix(3);  // the mark with which some programs begin UTF-8
  while (!rest.empty()) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") == std::string_view::npos) continue;

    CsvLine values(line, options.delimiter());
    if (options.header() && columns == 0) {
      while (!values.done()) table.names.emplace_back(values.next());
      columns = table.names.size();
      continue;
    }
    std::size_t column = 0;
    while (!values.done()) {
      const std::string_view value = values.next();
      ++column;
      TORCH_CHECK(rows == 0 || column <= columns, place(column), ": one value too many\n[read_csv] the lines before have ", columns);
      const std::optional<double> number = parse_number(value);
      TORCH_CHECK(number, place(column), ": '", value, "' is not a number\n[read_csv] ",
                  value.empty() ? "a value is missing" : "all values must be numbers; header(true) skips a line of names");
      numbers.push_back(*number);
    }
    if (columns == 0) columns = column;
    TORCH_CHECK(column == columns, place(column), ": the line has ", column, " values, ", columns, " are expected\n[read_csv] was the file cut off?");
    ++rows;
  }
  TORCH_CHECK(rows > 0, path, ": there are no numbers in it\n[read_csv] the file has ", line_number, " lines");

  table.values = empty({rows, static_cast<std::int64_t>(columns)}, kDouble);
  std::copy(numbers.begin(), numbers.end(), table.values.data<double>());
  return table;
}

// %%
//| export data/csv.cpp
Tensor data::CsvTable::column(const std::string& name) const {
  const auto found = std::find(names.begin(), names.end(), name);
  TORCH_CHECK_INDEX(found != names.end(), "no column is named '", name, "'\n[CsvTable] the ", names.size(), " names are: ", ArrayRef<std::string>(names));
  return values.select(1, found - names.begin());
}

// %%
TEST_CASE("read_csv: numbers, names, quotes, and where an error is") {
  const Scratch scratch;
  const data::CsvTable plain = data::read_csv(scratch.write("plain.csv", "1,2.5,-3e2\r\n\r\n 4 ,\"5\", +6\n"));
  CHECK_EQ(plain.values, tensor({{1.0, 2.5, -300.0}, {4.0, 5.0, 6.0}}, kDouble));
  CHECK(plain.names.empty());

  const std::string text = "\xef\xbb\xbfheight;\"the; width\"\n1;2\n3;4";
  const data::CsvTable named = data::read_csv(scratch.write("named.csv", text), data::CsvOptions().delimiter(';').header(true));
  CHECK_EQ(named.names, std::vector<std::string>{"height", "the; width"});
  CHECK_EQ(named.column("the; width"), tensor({2.0, 4.0}, kDouble));
  CHECK_ERROR(named.column("depth"), "no column is named 'depth'");

  const auto bad = [&scratch](const char* content, bool header = false) {
    return data::read_csv(scratch.write("bad.csv", content), data::CsvOptions().header(header));
  };
  CHECK_ERROR(bad("a,b\n1,2\n3,x\n", true), "bad.csv:3: column 2 (b): 'x' is not a number");
  CHECK_ERROR(bad("1,2\n3,\n"), "bad.csv:2: column 2: '' is not a number\n[read_csv] a value is missing");
  CHECK_ERROR(bad("1,2\n3,4,5\n"), "bad.csv:2: column 3: one value too many");
  CHECK_ERROR(bad("1,2,3\n4,5\n"), "bad.csv:2: column 2: the line has 2 values, 3 are expected");
  CHECK_ERROR(bad("1,2 3\n"), "column 2: '2 3' is not a number");
  CHECK_ERROR(bad("1,\"2\"x\n"), "column 2: '\"2\"x' is not a number");
  CHECK_ERROR(bad("1,\"2\n"), "column 2: '\"2' is not a number");
  CHECK_ERROR(bad("1,1e999\n"), "'1e999' is not a number");
  CHECK_ERROR(bad("\n \n"), "there are no numbers in it");
  CHECK_ERROR(bad("a,b\n1,2,3\n", true), "column 3: the line has 3 values, 2 are expected");
  CHECK_ERROR(data::read_csv(scratch.path("missing.csv")), "No such file or directory");
}

// %% [markdown]
// ### Reading numbers
//
// And the table. v1 below is how a table is usually read for the first time; `read_csv` looks at every character once.

// %%
//| lesson
// The table as a vector, by getline, stringstream and stod. No checks.
std::vector<double> read_csv_v1(const std::string& path) {
  std::ifstream file(path);
  std::vector<double> numbers;
  for (std::string line; std::getline(file, line);) {
    std::stringstream values(line);
    for (std::string value; std::getline(values, value, ',');) numbers.push_back(std::stod(value));
  }
  return numbers;
}

// %%
TEST_CASE("read_csv and its first version read the same numbers") {
  const std::string path = find_data("digits/optdigits.csv");
  const std::vector<double> expected = read_csv_v1(path);
  const Tensor table = data::read_csv(path).values;
  CHECK_EQ(table.sizes(), IntArrayRef({1797, 65}));
  CHECK_EQ(table.flatten(), tensor(expected, kDouble));
}

// %%
DEMO("a table: streams and strings against from_chars") {
  const std::string path = find_data("digits/optdigits.csv");
  const auto bytes = static_cast<double>(std::filesystem::file_size(path));
  const double v1 = measure([&] { do_not_optimize(read_csv_v1(path)); }, {.samples = 5}).median;
  const double v2 = measure([&] { do_not_optimize(data::read_csv(path)); }, {.samples = 5}).median;
  std::cout << std::fixed << std::setprecision(1) << "v1 stringstream, stod  " << std::setw(9) << format_seconds(v1) << std::setw(8) << bytes / v1 / 1e6 << " MB/s\n"
            << "v2 from_chars          " << std::setw(9) << format_seconds(v2) << std::setw(8) << bytes / v2 / 1e6 << " MB/s   " << v1 / v2 << " x\n";
}

// %% [markdown]
// ### Lines of text
//
// A text of a gigabyte is one string and a list of where its lines begin: 8 bytes per line, not a `std::string` of 32 bytes and an
// allocation per line. And since every worker gets a copy of the dataset, both lie behind one `std::shared_ptr`: a copy costs two
// pointers.
//
//     TextLines (worker 0) --+                +--> text    "the first line\nthe second\n..."
//     TextLines (worker 1) --+--> one object -+
//     TextLines (loader)   --+                +--> begins  [0, 15, 26, ...]

// %%
//| export data/text_lines.h
namespace data::datasets {

// The lines of a text file, without their ends (\n or \r\n). Copies share the text.
class TextLines : public Dataset<TextLines, std::string> {
 public:
  // Reads the whole file. Throws Error if it cannot be read.
  explicit TextLines(const std::string& path);
  std::string get(std::size_t index) override { return std::string(line(index)); }
  std::optional<std::size_t> size() const override { return lines_->begins.size() - 1; }
  // Line `index` where it stands; valid as long as a copy of the dataset lives. Throws IndexError.
  std::string_view line(std::size_t index) const;

 private:
  struct Lines {
    std::string text;
    std::vector<std::size_t> begins;  // of each line, and the end of the last
  };
  std::shared_ptr<const Lines> lines_;
};

}  // namespace data::datasets

// %%
//| export data/text_lines.cpp
data::datasets::TextLines::TextLines(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  const bool folder = std::filesystem::is_directory(path);
  TORCH_CHECK(file.is_open() && !folder, "cannot open ", path, ": ", folder ? "it is a folder" : std::strerror(errno),
              "\n[TextLines] check the path; a relative one starts at ", std::filesystem::current_path().string());
  auto lines = std::make_shared<Lines>();
  lines->text.assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  // A last line without an end counts like the others.
  if (!lines->text.empty() && lines->text.back() != '\n') lines->text += '\n';
  lines->begins.push_back(0);
  for (std::size_t end = lines->text.find('\n'); end != std::string::npos; end = lines->text.find('\n', end + 1)) lines->begins.push_back(end + 1);
  lines_ = std::move(lines);
}

std::string_view data::datasets::TextLines::line(std::size_t index) const {
  TORCH_CHECK_INDEX(index < *size(), "index ", index, " is out of range for a text of ", *size(), " lines");
  const std::size_t begin = lines_->begins[index];
  std::string_view text = std::string_view(lines_->text).substr(begin, lines_->begins[index + 1] - begin - 1);
  if (text.ends_with('\r')) text.remove_suffix(1);
  return text;
}

// %%
TEST_CASE("TextLines: lines without their ends, shared by copies") {
  const Scratch scratch;
  data::datasets::TextLines lines(scratch.write("text.txt", "one\n\r\nthree\r\nfour"));
  CHECK_EQ(lines.size().value(), 4);
  CHECK_EQ(lines.get_batch({3, 0}), std::vector<std::string>{"four", "one"});
  CHECK_EQ(lines.get(1), "");
  CHECK_EQ(lines.get(2), "three");
  CHECK_THROWS_AS(lines.get(4), IndexError);
  const data::datasets::TextLines copy = lines;
  CHECK_EQ(static_cast<const void*>(copy.line(0).data()), static_cast<const void*>(lines.line(0).data()));
  CHECK_EQ(data::datasets::TextLines(scratch.write("empty.txt", "")).size().value(), 0);
  CHECK_ERROR(data::datasets::TextLines(scratch.path("missing.txt")), "No such file or directory");
}

// %% [markdown]
// ### Two datasets of handwritten digits
//
// `Digits` ships with the course: 1,797 images of 8 x 8 pixels with 17 grey levels, written by 43 people (Alpaydin and Kaynak, 1998). `MNIST` reads
// LeCun's files, 28 x 28, if you have them. Both give images of shape (1, H, W) with values from 0 to 1, and a target from 0 to 9.
//
// What is learnt is judged on examples that were not learnt from, so `Digits` keeps a fifth of its images apart. Which ones must never
// change, or two runs cannot be compared, and they must not be the last fifth, because the file is not in random order. A permutation from a
// generator of its own, with a fixed seed, does both, and leaves the default generator's stream alone:
//
//     file order     0  1  2  3  4  ...  1796
//     randperm       a fixed shuffle, from Generator(seed)
//                    [ first 20 %: test ][ the rest: train ]

// %%
//| export data/vision.h
namespace data {

// Indices of the examples to learn from and of those to judge by: Long, disjoint, together all of 0 ... size - 1.
struct Split {
  Tensor train;
  Tensor test;
};

// A random split that is the same for the same arguments, always. The test part has ceil(size x test_fraction) examples.
// REQUIRES: 0 <= test_fraction <= 1.
Split train_test_split(std::int64_t size, double test_fraction = 0.2, std::uint64_t seed = 0);

}  // namespace data

namespace data::datasets {

// Images (N, 1, H, W) with values in [0, 1], and one class (Long) for each.
class ImageDataset {
 public:
  const Tensor& images() const { return images_; }
  const Tensor& targets() const { return targets_; }

 protected:
  Tensor images_, targets_;
};

// The 8 x 8 handwritten digits of data/digits, a fixed fifth of them for testing.
class Digits : public Dataset<Digits>, public ImageDataset {
 public:
  enum class Mode { kTrain, kTest };
  // `path` names the table (64 pixels from 0 to 16, then the class); without it, find_data() looks for it.
  explicit Digits(Mode mode = Mode::kTrain, const std::string& path = "");
  Example<> get(std::size_t index) override;
  std::optional<std::size_t> size() const override { return static_cast<std::size_t>(images_.size(0)); }
  bool is_train() const noexcept { return mode_ == Mode::kTrain; }

 private:
  Mode mode_;
};

// LeCun, Cortes and Burges's 28 x 28 digits: 60,000 to learn from, 10,000 to test. `root` is the folder of the IDX files under their original
// names, plain or .gz. Source: torch/csrc/api/src/data/datasets/mnist.cpp.
class MNIST : public Dataset<MNIST>, public ImageDataset {
 public:
  enum class Mode { kTrain, kTest };
  explicit MNIST(const std::string& root, Mode mode = Mode::kTrain);
  Example<> get(std::size_t index) override;
  std::optional<std::size_t> size() const override { return static_cast<std::size_t>(images_.size(0)); }
  bool is_train() const noexcept { return mode_ == Mode::kTrain; }

 private:
  Mode mode_;
};

}  // namespace data::datasets

// %%
//| export data/vision.cpp
data::Split data::train_test_split(std::int64_t size, double test_fraction, std::uint64_t seed) {
  TORCH_CHECK_VALUE(size >= 0 && test_fraction >= 0 && test_fraction <= 1, "train_test_split needs a fraction from 0 to 1 of a size that is not negative, but got ",
                    test_fraction, " of ", size);
  const Tensor order = randperm(size, Generator(seed));
  const auto test = static_cast<std::int64_t>(std::ceil(static_cast<double>(size) * test_fraction));
  return {order.narrow(0, test, size - test), order.narrow(0, 0, test)};
}

// %%
//| export data/vision.cpp
namespace {

data::Example<> image_example(const data::datasets::ImageDataset& dataset, std::size_t index) {
  const auto i = static_cast<std::int64_t>(index);
  return {dataset.images()[i], dataset.targets()[i]};
}

// Throws unless every target is one of `classes` classes.
void check_classes(const Tensor& targets, std::int64_t classes, const std::string& path) {
  const std::int64_t* const first = targets.data_ptr<std::int64_t>();
  for (std::int64_t i = 0; i < targets.numel(); ++i)
    TORCH_CHECK(first[i] >= 0 && first[i] < classes, path, ": the class of example ", i, " is ", first[i], ", not one of 0 to ", classes - 1);
}

}  // namespace

data::Example<> data::datasets::Digits::get(std::size_t index) { return image_example(*this, index); }
data::Example<> data::datasets::MNIST::get(std::size_t index) { return image_example(*this, index); }

// %%
//| export data/vision.cpp
data::datasets::Digits::Digits(Mode mode, const std::string& path) : mode_(mode) {
  const std::string file = path.empty() ? find_data("digits/optdigits.csv") : path;
  const Tensor table = read_csv(file).values;
  TORCH_CHECK(table.size(1) == 65, file, ": 65 values a line are expected (64 pixels and the class), but there are ", table.size(1));
  const Tensor targets = table.select(1, 64).to(kLong);
  check_classes(targets, 10, file);

  const Split split = train_test_split(table.size(0));
  const Tensor& chosen = mode == Mode::kTrain ? split.train : split.test;
  images_ = index_select(table.narrow(1, 0, 64), 0, chosen).to(kFloat).div(16).view({-1, 1, 8, 8});
  targets_ = index_select(targets, 0, chosen);
}

// %%
//| export data/vision.cpp
namespace {

// The IDX file of this name, plain or compressed, which must have the magic number `magic`: type Byte in the third byte, dimensions in the last.
Tensor read_mnist_file(const std::string& root, const std::string& name, const char* kind, std::uint32_t magic) {
  std::string path = (std::filesystem::path(root) / name).string();
  if (!std::filesystem::exists(path)) path += ".gz";
  TORCH_CHECK(std::filesystem::exists(path), "Error opening ", kind, " file at ", (std::filesystem::path(root) / name).string(),
              "\n[MNIST] neither this file nor ", name, ".gz is there");
  const Tensor values = data::read_idx(path);
  TORCH_CHECK(values.scalar_type() == kByte && values.dim() == static_cast<std::int64_t>(magic & 0xff), "Expected to read number ", magic, " but found another instead\n[MNIST] ",
              path, " holds ", values.dim(), " dimensions of ", values.scalar_type(), "; is it the ", kind, " file?");
  return values;
}

}  // namespace

// %%
//| export data/vision.cpp
data::datasets::MNIST::MNIST(const std::string& root, Mode mode) : mode_(mode) {
  constexpr std::uint32_t image_magic = 2051;
  constexpr std::uint32_t target_magic = 2049;
  const std::string prefix = mode == Mode::kTrain ? "train" : "t10k";
  const Tensor images = read_mnist_file(root, prefix + "-images-idx3-ubyte", "images", image_magic);
  const Tensor targets = read_mnist_file(root, prefix + "-labels-idx1-ubyte", "targets", target_magic);
  TORCH_CHECK(images.size(1) == 28 && images.size(2) == 28, "Expected images of 28 x 28 pixels but found ", images.size(1), " x ", images.size(2), " in ", root);
  TORCH_CHECK(images.size(0) == targets.size(0), "Expected as many images as targets but found ", images.size(0), " images and ", targets.size(0), " targets in ", root);
  images_ = images.to(kFloat).div_(255).unsqueeze(1);
  targets_ = targets.to(kLong);
  check_classes(targets_, 10, root);
}

// %%
TEST_CASE("train_test_split: disjoint, complete, the same every time, and nobody else's stream is touched") {
  manual_seed(1);
  const std::string stream = default_generator().state();
  const data::Split split = data::train_test_split(11, 0.2);
  CHECK_EQ(split.test.numel(), 3);
  CHECK_EQ(split.train.numel(), 8);
  std::set<std::int64_t> all;
  for (const Tensor& part : {split.train, split.test})
    for (std::int64_t i = 0; i < part.numel(); ++i) all.insert(part[i].item<std::int64_t>());
  CHECK_EQ(all.size(), 11);
  CHECK_EQ(data::train_test_split(11, 0.2).test, split.test);
  CHECK(!data::train_test_split(11, 0.2, 1).train.equal(split.train));
  CHECK_EQ(default_generator().state(), stream);
  CHECK_THROWS_AS(data::train_test_split(5, 1.5), ValueError);
}

// %%
TEST_CASE("Digits: 1,437 images to learn from and 360 to be judged by") {
  data::datasets::Digits train(data::datasets::Digits::Mode::kTrain);
  data::datasets::Digits test(data::datasets::Digits::Mode::kTest);
  CHECK_EQ(train.images().sizes(), IntArrayRef({1437, 1, 8, 8}));
  CHECK_EQ(test.images().sizes(), IntArrayRef({360, 1, 8, 8}));
  CHECK_EQ(train.size().value(), 1437);
  CHECK(train.is_train());
  CHECK_EQ(train.images().amax().item<float>(), 1.0f);
  CHECK_EQ(test.images().neg().amax().item<float>(), 0.0f);
  // The whole file has 182 ones and 174 eights.
  CHECK_EQ((train.targets() == 1).sum().item<std::int64_t>() + (test.targets() == 1).sum().item<std::int64_t>(), 182);
  CHECK_EQ((train.targets() == 8).sum().item<std::int64_t>() + (test.targets() == 8).sum().item<std::int64_t>(), 174);
  const data::Example<> example = test.get(7);
  CHECK_EQ(example.data.sizes(), IntArrayRef({1, 8, 8}));
  CHECK_EQ(example.target.dim(), 0);
  CHECK(example.data.is_alias_of(test.images()));

  const Scratch scratch;
  CHECK_ERROR(data::datasets::Digits(data::datasets::Digits::Mode::kTest, scratch.write("narrow.csv", "1,2,3\n")), "65 values a line are expected");
}

// %%
TEST_CASE("MNIST: files of the original names, and what can be wrong with them") {
  using namespace std::string_literals;
  using data::datasets::MNIST;
  const Scratch scratch;
  const std::string root = scratch.path("");
  CHECK_ERROR(MNIST(root), "Error opening images file at " + scratch.path("train-images-idx3-ubyte"));
  scratch.write("t10k-images-idx3-ubyte", "\0\0\x08\x03\0\0\0\x02\0\0\0\x1c\0\0\0\x1c"s + std::string(784, '\xff') + std::string(784, '\0'));
  CHECK_ERROR(MNIST(root, MNIST::Mode::kTest), "Error opening targets file at ");
  scratch.write("t10k-labels-idx1-ubyte", "\0\0\x08\x01\0\0\0\x02\x07\x09"s);
  MNIST test(root, MNIST::Mode::kTest);
  CHECK(!test.is_train());
  CHECK_EQ(test.images().sizes(), IntArrayRef({2, 1, 28, 28}));
  CHECK_EQ(test.get(0).data, ones({1, 28, 28}));
  CHECK_EQ(test.targets(), tensor({7, 9}));
  scratch.write("t10k-labels-idx1-ubyte", "\0\0\x08\x01\0\0\0\x02\x07\x0a"s);
  CHECK_ERROR(MNIST(root, MNIST::Mode::kTest), "the class of example 1 is 10");
  scratch.write("t10k-labels-idx1-ubyte", "\0\0\x08\x01\0\0\0\x01\x07"s);
  CHECK_ERROR(MNIST(root, MNIST::Mode::kTest), "2 images and 1 targets");
  scratch.write("t10k-labels-idx1-ubyte", "\0\0\x08\x02\0\0\0\x01\0\0\0\x01\x07"s);
  CHECK_ERROR(MNIST(root, MNIST::Mode::kTest), "Expected to read number 2049");
}

// %%
TEST_CASE("MNIST: the real test set, if TINYTORCH_DATA names a folder that has it") {
  const char* const folder = std::getenv("TINYTORCH_DATA");
  const std::string root = folder == nullptr ? "" : (std::filesystem::path(folder) / "mnist").string();
  if (folder == nullptr || !std::filesystem::exists(root + "/t10k-images-idx3-ubyte.gz")) {
    MESSAGE("skipped: TINYTORCH_DATA does not name a folder with mnist/t10k-images-idx3-ubyte.gz");
    return;
  }
  const data::datasets::MNIST test(root, data::datasets::MNIST::Mode::kTest);
  CHECK_EQ(test.images().sizes(), IntArrayRef({10000, 1, 28, 28}));
  CHECK_EQ(test.targets().slice(0, 0, 10), tensor({7, 2, 1, 0, 4, 1, 4, 9, 5, 9}));
  CHECK_EQ((test.targets() == 5).sum().item<std::int64_t>(), 892);
  CHECK_CLOSE(test.images().mean().item<double>(), 0.1325, 1e-3, 0);
}

// %% [markdown]
// ### Transforms from functions
//
// A transform of module 07 is a class with one function. For a function that is used once, a lambda is shorter; these classes hold one. The copy in each worker calls it at the same time as the others, so a
// lambda must not change what it captured.

// %%
//| export data/lambda.h
namespace data::transforms {

// A batch transform, or a transform, from a function. Source: torch/data/transforms/lambda.h.
template <class Input, class Output = Input>
class BatchLambda : public BatchTransform<Input, Output> {
 public:
  using FunctionType = std::function<Output(Input)>;
  explicit BatchLambda(FunctionType function) : function_(std::move(function)) {}
  Output apply_batch(Input input_batch) override { return function_(std::move(input_batch)); }

 private:
  FunctionType function_;
};

template <class Input, class Output = Input>
class Lambda : public Transform<Input, Output> {
 public:
  using FunctionType = std::function<Output(Input)>;
  explicit Lambda(FunctionType function) : function_(std::move(function)) {}
  Output apply(Input input) override { return function_(std::move(input)); }

 private:
  FunctionType function_;
};

// Changes the data tensor of each example by a function.
template <class Target = Tensor>
class TensorLambda : public TensorTransform<Target> {
 public:
  using FunctionType = std::function<Tensor(Tensor)>;
  explicit TensorLambda(FunctionType function) : function_(std::move(function)) {}
  Tensor operator()(Tensor input) override { return function_(std::move(input)); }

 private:
  FunctionType function_;
};

// A collation from a function: dataset.map(Collate<Example<>>([](std::vector<Example<>> examples) { ... })).
template <class T, class BatchType = std::vector<T>>
using Collate = BatchLambda<BatchType, T>;

}  // namespace data::transforms

// %%
//| lesson
// Example i is a (2, 1, 2) full of i, with target i.
struct Ramp : data::datasets::Dataset<Ramp> {
  data::Example<> get(std::size_t index) override {
    return {full({2, 1, 2}, static_cast<double>(index), kFloat), tensor(static_cast<std::int64_t>(index))};
  }
  std::optional<std::size_t> size() const override { return 5; }
};

// Example i is i squared, with target i.
struct Squares : data::datasets::Dataset<Squares, data::Example<std::int64_t, std::int64_t>> {
  explicit Squares(std::size_t count_of_squares) : count(count_of_squares) {}
  data::Example<std::int64_t, std::int64_t> get(std::size_t index) override {
    const auto i = static_cast<std::int64_t>(index);
    return {i * i, i};
  }
  std::optional<std::size_t> size() const override { return count; }
  std::size_t count;
};

// All targets of an epoch, in the order of delivery.
template <class Loader>
std::vector<std::int64_t> targets_of(Loader& loader) {
  std::vector<std::int64_t> targets;
  for (auto& batch : loader)
    for (auto& example : batch) targets.push_back(example.target);
  return targets;
}

std::vector<std::int64_t> first_numbers(std::int64_t count) {
  std::vector<std::int64_t> numbers(static_cast<std::size_t>(count));
  std::iota(numbers.begin(), numbers.end(), std::int64_t{0});
  return numbers;
}

// %%
TEST_CASE("lambdas: by tensor, by example, by batch, and as the collation") {
  using namespace data;
  auto chained = Ramp()
                     .map(transforms::TensorLambda<>([](Tensor x) { return x + 1; }))
                     .map(transforms::Normalize<>({1.0, 0.0}, {1.0, 2.0}))
                     .map(transforms::Lambda<Example<>>([](Example<> e) { return Example<>(e.data, e.target * 10); }));
  const std::vector<Example<>> batch = chained.get_batch({3, 0});
  CHECK_EQ(batch.at(0).data, tensor({{{3.0, 3.0}}, {{2.0, 2.0}}}));
  CHECK_EQ(batch.at(1).data, tensor({{{0.0, 0.0}}, {{0.5, 0.5}}}));
  CHECK_EQ(batch.at(0).target, tensor(30));

  auto counted = Ramp().map(transforms::BatchLambda<std::vector<Example<>>, std::size_t>([](const auto& examples) { return examples.size(); }));
  CHECK_EQ(counted.get_batch({1, 2, 3}), 3);
  auto first = Ramp().map(transforms::Collate<Example<>>([](std::vector<Example<>> examples) { return examples.front(); }));
  CHECK_EQ(first.get_batch({2, 1}).target, tensor(2));
}

// %% [markdown]
// ### One dataset for all workers
//
// Every worker of a stateless loader copies the dataset. If the data is a Tensor, the copies share one storage; if it is a `std::vector`, each worker has all of it again. For what must not be copied (an
// open file, a connection, a cache) `SharedBatchDataset` puts any dataset behind a pointer:
//
//     worker 0 --+
//     worker 1 --+--> SharedBatchDataset --> one dataset, whose get_batch is thread-safe
//     worker 2 --+

// %%
//| export data/shared.h
namespace data::datasets {

// One dataset object for all workers, for datasets that must not be copied. get_batch() must then be safe to call from
// several threads at once. Source: torch/data/datasets/shared.h.
template <class UnderlyingDataset>
class SharedBatchDataset
    : public BatchDataset<SharedBatchDataset<UnderlyingDataset>, typename UnderlyingDataset::BatchType,
                          typename UnderlyingDataset::BatchRequestType> {
 public:
  using BatchType = typename UnderlyingDataset::BatchType;
  using BatchRequestType = typename UnderlyingDataset::BatchRequestType;

  SharedBatchDataset(std::shared_ptr<UnderlyingDataset> shared_dataset) : dataset_(std::move(shared_dataset)) {}

  BatchType get_batch(BatchRequestType request) override { return dataset_->get_batch(std::move(request)); }
  std::optional<std::size_t> size() const override { return dataset_->size(); }
  void reset() { dataset_->reset(); }

  UnderlyingDataset& operator*() { return *dataset_; }
  const UnderlyingDataset& operator*() const { return *dataset_; }
  UnderlyingDataset* operator->() { return dataset_.get(); }
  const UnderlyingDataset* operator->() const { return dataset_.get(); }

 private:
  std::shared_ptr<UnderlyingDataset> dataset_;
};

template <class UnderlyingDataset, class... Args>
SharedBatchDataset<UnderlyingDataset> make_shared_dataset(Args&&... args) {
  return std::make_shared<UnderlyingDataset>(std::forward<Args>(args)...);
}

}  // namespace data::datasets

// %%
TEST_CASE("SharedBatchDataset: copies are one dataset") {
  auto shared = data::datasets::make_shared_dataset<data::datasets::TensorDataset>(arange(4));
  auto other = shared;
  CHECK_EQ(&*shared, &*other);
  CHECK_EQ(shared->size().value(), 4);
  CHECK_EQ(other.get_batch({3, 1}).at(0).data, tensor(3));
}

// %% [markdown]
// The allocator counts tensors only, so this demonstration looks at the memory of the whole process.

// %%
DEMO("a dataset of 32 MiB in four workers: shared, and copied") {
  constexpr std::size_t floats = 8 * 1024 * 1024;
  struct InTensor : data::datasets::Dataset<InTensor, float> {
    float get(std::size_t index) override { return values.data<float>()[index]; }
    std::optional<std::size_t> size() const override { return floats; }
    Tensor values = zeros({static_cast<std::int64_t>(floats)});
  };
  struct InVector : data::datasets::Dataset<InVector, float> {
    float get(std::size_t index) override { return values[index]; }
    std::optional<std::size_t> size() const override { return floats; }
    std::vector<float> values = std::vector<float>(floats);
  };
  const auto growth = [](auto dataset) {
    const std::int64_t before = resident_bytes();
    auto loader = data::make_data_loader<data::samplers::SequentialSampler>(std::move(dataset), data::DataLoaderOptions(64).workers(4));
    auto first = loader->begin();
    do_not_optimize(*first);
    return format_bytes(std::max<std::int64_t>(0, resident_bytes() - before));
  };
  std::cout << "what the process holds with four workers beyond the one dataset that it had before\n";
  std::cout << "  dataset with a Tensor        " << growth(InTensor()) << '\n';
  std::cout << "  the same, in SharedBatchDataset " << growth(data::datasets::make_shared_dataset<InVector>()) << '\n';
  std::cout << "  dataset with a std::vector   " << growth(InVector()) << '\n';
}

// %% [markdown]
// ### An epoch saved and resumed
//
// A sampler's state is a position, and for the random one its permutation; a loader's is the sampler's at the beginning of the epoch and the number of batches that were delivered (module 07 says why). What
// comes out of a checkpoint is a claim like any other file's: each entry is looked at before anything changes.
//
//     RandomSampler      indices (N)  the permutation          index ()  how many were given
//     StatelessDataLoader             sampler.indices, sampler.index, delivered, batch_size

// %%
//| export data/saved_state.h
namespace data::detail {

// The tensor `key` of a saved state. Throws if it is missing or is not whole numbers of `dim` dimensions.
Tensor saved_tensor(const State& state, const char* key, std::int64_t dim);
// The position `key`, which must be in [0, limit].
std::int64_t saved_position(const State& state, const char* key, std::int64_t limit);
State state_of_position(const char* key, std::size_t position);

}  // namespace data::detail

// %%
//| export data/saved_state.cpp
Tensor data::detail::saved_tensor(const State& state, const char* key, std::int64_t dim) {
  const auto found = state.find(key);
  TORCH_CHECK(found != state.end(), "The saved state has no '", key, "'\n[set_state] it was not made by this kind of sampler");
  TORCH_CHECK(found->second.defined() && found->second.dim() == dim && isIntegralType(found->second.scalar_type(), false),
              "The saved state is damaged: '", key, "' must be whole numbers of ", dim, " dimensions\n[set_state] take what state() gave");
  return found->second;
}

std::int64_t data::detail::saved_position(const State& state, const char* key, std::int64_t limit) {
  const auto position = saved_tensor(state, key, 0).item<std::int64_t>();
  TORCH_CHECK(position >= 0 && position <= limit, "The saved state is damaged: '", key, "' is ", position, ", outside of [0, ", limit,
              "]\n[set_state] was it made for a dataset of this size?");
  return position;
}

data::State data::detail::state_of_position(const char* key, std::size_t position) { return {{key, tensor(static_cast<std::int64_t>(position))}}; }

// %%
//| export data/saved_state.cpp
data::State data::samplers::SequentialSampler::state() const { return detail::state_of_position("index", index_); }

void data::samplers::SequentialSampler::set_state(const State& state) {
  index_ = static_cast<std::size_t>(detail::saved_position(state, "index", static_cast<std::int64_t>(size_)));
}

// %%
//| export data/saved_state.cpp
data::State data::samplers::RandomSampler::state() const {
  return {{"index", tensor(index_)}, {"indices", indices_}};
}

void data::samplers::RandomSampler::set_state(const State& state) {
  const Tensor indices = detail::saved_tensor(state, "indices", 1).to(kLong).contiguous();
  const std::int64_t position = detail::saved_position(state, "index", indices.numel());
  // Every index once: a damaged permutation would show some examples twice, or point outside of the dataset.
  std::vector<bool> seen(static_cast<std::size_t>(indices.numel()));
  for (std::int64_t i = 0; i < indices.numel(); ++i) {
    const std::int64_t index = indices.data<std::int64_t>()[i];
    TORCH_CHECK(index >= 0 && index < indices.numel() && !seen[static_cast<std::size_t>(index)],
                "The saved state is damaged: 'indices' is not a permutation of 0 ... ", indices.numel() - 1, "\n[set_state] entry ", i, " is ", index);
    seen[static_cast<std::size_t>(index)] = true;
  }
  indices_ = indices.to(indices_.scalar_type());
  index_ = position;
}

// %%
//| export data/saved_state.cpp
data::State data::detail::pack_epoch(const EpochState& epoch, std::size_t batch_size) {
  TORCH_CHECK_NOT_IMPLEMENTED(!epoch.sampler.empty(), "This loader's sampler cannot be saved\n[DataLoader::state] it does not override state() and set_state()");
  State state;
  for (const auto& [key, value] : epoch.sampler) state["sampler." + key] = value;
  state["delivered"] = tensor(static_cast<std::int64_t>(epoch.delivered));
  state["batch_size"] = tensor(static_cast<std::int64_t>(batch_size));
  return state;
}

data::detail::EpochState data::detail::unpack_epoch(const State& state, std::size_t batch_size) {
  const auto number = [&state](const char* key) {
    const auto found = state.find(key);
    TORCH_CHECK(found != state.end() && found->second.defined() && found->second.numel() == 1, "The saved state has no number '", key,
                "'\n[DataLoader::set_state] take what state() gave");
    return static_cast<std::size_t>(found->second.item<std::int64_t>());
  };
  EpochState epoch;
  epoch.delivered = number("delivered");
  TORCH_CHECK(number("batch_size") == batch_size, "The saved state is of a loader with batch_size ", number("batch_size"), ", this one has ", batch_size,
              "\n[DataLoader::set_state] use the same batch size to go on");
  for (const auto& [key, value] : state)
    if (key.starts_with("sampler.")) epoch.sampler[key.substr(8)] = value;
  return epoch;
}

// %%
TEST_CASE("samplers: a saved state goes on where it stood, a damaged one changes nothing") {
  data::samplers::RandomSampler sampler(20);
  sampler.next(7);
  const data::State state = sampler.state();
  const auto expected = sampler.next(13);
  data::samplers::RandomSampler other(20);
  other.set_state(state);
  CHECK_EQ(other.index(), 7);
  CHECK_EQ(*other.next(13), *expected);

  data::State damaged = state;
  damaged["index"] = tensor(21);
  CHECK_ERROR(other.set_state(damaged), "'index' is 21, outside of [0, 20]");
  damaged = state;
  damaged["indices"] = zeros({20}, kLong);
  CHECK_ERROR(other.set_state(damaged), "'indices' is not a permutation");
  CHECK_ERROR(other.set_state({}), "The saved state has no 'indices'");
  CHECK_EQ(other.index(), 20);

  data::samplers::SequentialSampler sequential(5);
  CHECK_EQ(*sequential.next(3), std::vector<std::size_t>{0, 1, 2});
  data::samplers::SequentialSampler resumed(5);
  resumed.set_state(sequential.state());
  CHECK_EQ(*resumed.next(3), std::vector<std::size_t>{3, 4});
  CHECK(!resumed.next(3).has_value());
}

// %%
TEST_CASE("DataLoader: a saved epoch goes on with the next batch, whatever was in flight") {
  using data::DataLoaderOptions;
  for (const std::size_t workers : {0, 2}) {
    CAPTURE(workers);
    manual_seed(3);
    auto loader = data::make_data_loader(Squares(30), DataLoaderOptions(4).workers(workers));
    std::vector<std::int64_t> whole;
    data::State saved;
    for (auto& batch : *loader) {
      for (auto& example : batch) whole.push_back(example.target);
      if (whole.size() == 12) saved = loader->state();
    }
    CHECK(loader->state().empty());  // between epochs

    auto other = data::make_data_loader(Squares(30), DataLoaderOptions(4).workers(2 - workers));
    other->set_state(saved);
    const std::vector<std::int64_t> rest = targets_of(*other);
    CHECK_EQ(rest, std::vector<std::int64_t>(whole.begin() + 12, whole.end()));
    CHECK_EQ(targets_of(*other).size(), 30);

    auto wider = data::make_data_loader(Squares(30), DataLoaderOptions(5));
    CHECK_ERROR(wider->set_state(saved), "The saved state is of a loader with batch_size 4, this one has 5");
    saved["delivered"] = tensor(9);
    CHECK_ERROR(other->set_state(saved), "9 batches were delivered, but an epoch has 8");
    saved.erase("delivered");
    CHECK_ERROR(other->set_state(saved), "The saved state has no number 'delivered'");
  }
}

// %% [markdown]
// ### Streams
//
// A stream has no indices: nobody can ask for example 7 of a log that is still being written. So the request is a number, and the dataset decides what comes. libtorch has two ways to load one:
//
//     StreamDataset + StreamSampler      stateless loader: each worker has its own copy of the stream; the sampler ends the epoch after so many examples
//     StatefulDataset                    stateful loader: all workers share one dataset, which ends the epoch itself, by giving no batch

// %%
//| export data/stream.h
namespace data::samplers {

// A request by number alone, for streams.
struct BatchSize {
  explicit BatchSize(std::size_t count) : size_(count) {}
  std::size_t size() const noexcept { return size_; }
  operator std::size_t() const noexcept { return size_; }

  std::size_t size_;
};

// For datasets that are streams: says how many examples to read, until the epoch has had `epoch_size` of them.
// Source: torch/data/samplers/stream.h.
class StreamSampler : public Sampler<BatchSize> {
 public:
  explicit StreamSampler(std::size_t epoch_size) : epoch_size_(epoch_size) {}
  void reset(std::optional<std::size_t> new_size = std::nullopt) override;
  std::optional<BatchSize> next(std::size_t batch_size) override;
  State state() const override;
  void set_state(const State& state) override;

 private:
  std::size_t examples_retrieved_so_far_ = 0;
  std::size_t epoch_size_;
};

}  // namespace data::samplers

// %%
//| export data/stream.cpp
void data::samplers::StreamSampler::reset(std::optional<std::size_t> new_size) {
  if (new_size) epoch_size_ = *new_size;
  examples_retrieved_so_far_ = 0;
}

std::optional<data::samplers::BatchSize> data::samplers::StreamSampler::next(std::size_t batch_size) {
  if (examples_retrieved_so_far_ >= epoch_size_) return std::nullopt;
  const std::size_t count = std::min(batch_size, epoch_size_ - examples_retrieved_so_far_);
  examples_retrieved_so_far_ += count;
  return BatchSize(count);
}

data::State data::samplers::StreamSampler::state() const {
  return detail::state_of_position("examples_retrieved_so_far", examples_retrieved_so_far_);
}

void data::samplers::StreamSampler::set_state(const State& state) {
  examples_retrieved_so_far_ =
      static_cast<std::size_t>(detail::saved_position(state, "examples_retrieved_so_far", static_cast<std::int64_t>(epoch_size_)));
}

// %%
//| export data/stream.h
namespace data {

// A stream that all workers share; its get_batch() must be thread-safe. Source: torch/data/dataloader/stateful.h.
template <class Dataset>
class StatefulDataLoader : public DataLoaderBase<Dataset, typename Dataset::BatchType::value_type, typename Dataset::BatchRequestType> {
 public:
  using super = DataLoaderBase<Dataset, typename Dataset::BatchType::value_type, typename Dataset::BatchRequestType>;
  using typename super::BatchRequestType;

  StatefulDataLoader(Dataset dataset, const DataLoaderOptions& options);

 private:
  void reset() override {
    this->main_thread_dataset_->reset();
    super::reset();
  }
  std::optional<BatchRequestType> get_batch_request() override { return BatchRequestType(this->options_.batch_size); }
};

// A loader of a stream.
template <class Dataset>
  requires(Dataset::is_stateful)
std::unique_ptr<StatefulDataLoader<Dataset>> make_data_loader(Dataset dataset, DataLoaderOptions options = DataLoaderOptions()) {
  return std::make_unique<StatefulDataLoader<Dataset>>(std::move(dataset), options);
}

}  // namespace data

// %%
//| export data/stream.h
template <class Dataset>
data::StatefulDataLoader<Dataset>::StatefulDataLoader(Dataset dataset, const DataLoaderOptions& options)
    : super(options, std::make_unique<Dataset>(std::move(dataset))) {
  for (std::size_t i = 0; i < this->options_.workers; ++i) {
    this->workers_.emplace_back([this] { this->worker_thread(*this->main_thread_dataset_); });
  }
}

// %%
TEST_CASE("StreamSampler: numbers of examples, until the epoch has had enough") {
  data::samplers::StreamSampler stream(5);
  CHECK_EQ(stream.next(3)->size(), 3);
  CHECK_EQ(stream.next(3)->size(), 2);
  CHECK(!stream.next(3).has_value());
}

// %%
TEST_CASE("DataLoader: a stream that all workers share") {
  // Counts down; each request takes up to `request` numbers.
  struct Countdown : data::datasets::BatchDataset<Countdown, std::optional<std::vector<int>>, std::size_t> {
    explicit Countdown(int first) : start(first), left(std::make_shared<std::atomic<int>>(first)) {}
    std::optional<std::vector<int>> get_batch(std::size_t request) override {
      std::vector<int> batch;
      while (batch.size() < request) {
        const int value = left->fetch_sub(1);
        if (value <= 0) break;
        batch.push_back(value);
      }
      if (batch.empty()) return std::nullopt;
      return batch;
    }
    std::optional<std::size_t> size() const override { return std::nullopt; }
    void reset() { left->store(start); }
    int start;
    std::shared_ptr<std::atomic<int>> left;
  };
  for (const std::size_t workers : {0, 2}) {
    auto loader = data::make_data_loader(
        Countdown(20).map(data::transforms::BatchLambda<std::vector<int>, int>([](std::vector<int> x) { return std::accumulate(x.begin(), x.end(), 0); })),
        data::DataLoaderOptions(3).workers(workers));
    for (int epoch = 0; epoch < 2; ++epoch) {
      int sum = 0;
      for (const int part : *loader) sum += part;
      CHECK_EQ(sum, 210);
    }
  }
}

// %% [markdown]
// ### What module 07's loader promises
//
// Tests of the loader beyond those that stand in the lesson: iterators past the end, options, order and timeouts.

// %%
TEST_CASE("Iterator: one pass, its end, and past it") {
  int made = 0;
  auto pass = std::make_shared<data::detail::Pass<int>>();
  pass->next_batch = [&made] { return made < 3 ? std::optional<int>(++made) : std::nullopt; };
  data::Iterator<int> it(pass);
  const data::Iterator<int> end;
  CHECK_EQ(made, 0);  // nothing is made before somebody looks
  CHECK_EQ(*it, 1);
  CHECK_EQ(made, 1);
  CHECK_EQ(*++it, 2);
  CHECK(it != end);
  ++it;
  ++it;
  CHECK(it == end);
  CHECK_ERROR(*it, "Attempted to dereference iterator that was past the end");
  CHECK_ERROR(++it, "Attempted to increment iterator past the end");
  data::Iterator<int> sentinel;
  CHECK_ERROR(*sentinel, "Dereferencing the DataLoader's past-the-end iterator is not allowed");
  CHECK_ERROR(++sentinel, "Incrementing the DataLoader's past-the-end iterator is not allowed");
}

// %%
TEST_CASE("DataLoader: batches stay in order when some take longer") {
  struct Uneven : data::datasets::Dataset<Uneven, data::Example<std::int64_t, std::int64_t>> {
    data::Example<std::int64_t, std::int64_t> get(std::size_t index) override {
      if (index % 4 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      return {0, static_cast<std::int64_t>(index)};
    }
    std::optional<std::size_t> size() const override { return 24; }
  };
  auto loader = data::make_data_loader<data::samplers::SequentialSampler>(Uneven(), data::DataLoaderOptions(1).workers(4));
  CHECK_EQ(targets_of(*loader), first_numbers(24));
}

// %%
TEST_CASE("DataLoader: a worker that is too slow runs into the timeout") {
  struct Stuck : data::datasets::Dataset<Stuck, int> {
    int get(std::size_t) override {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      return 1;
    }
    std::optional<std::size_t> size() const override { return 1; }
  };
  auto loader = data::make_data_loader(Stuck(), data::DataLoaderOptions(1).workers(1).timeout(std::chrono::milliseconds(5)));
  CHECK_ERROR(*loader->begin(), "Timeout in DataLoader queue while waiting for next batch (timeout was 5 ms)");
}

// %%
TEST_CASE("DataLoader: options that make no sense") {
  using data::DataLoaderOptions;
  CHECK_ERROR(data::make_data_loader(Squares(5), DataLoaderOptions(0)), "batch_size must be positive");
  CHECK_ERROR(data::make_data_loader(Squares(5), DataLoaderOptions(1).workers(2).max_jobs(0)), "max_jobs must be positive");
  CHECK_EQ(DataLoaderOptions(3).workers(4).max_jobs().has_value(), false);
  CHECK_EQ(data::FullDataLoaderOptions(DataLoaderOptions(3).workers(4)).max_jobs, 8);
}

// %%
}  // namespace tinytorch
