// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.

#include "tinytorch/data/csv.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string_view>

namespace tinytorch {

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

// The number of a word: its place among those that came before, or the next one.
double number_of_word(std::string_view word, std::vector<std::string>& known) {
  const auto found = std::find(known.begin(), known.end(), word);
  const auto place = found - known.begin();
  if (found == known.end()) known.emplace_back(word);
  return static_cast<double>(place);
}

// For each column of the table, where its words are kept; null for columns of numbers.
std::vector<std::vector<std::string>*> columns_of_words(data::CsvTable& table, const std::vector<std::string>& categories) {
  std::vector<std::vector<std::string>*> words(table.names.size());
  for (const std::string& name : categories) words[table.index(name)] = &table.categories[name];
  return words;
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

data::CsvTable data::read_csv(const std::string& path, const CsvOptions& options) {
  const std::string text = read_text(path);
  CsvTable table;
  std::vector<double> numbers;
  std::int64_t rows = 0;
  std::size_t columns = 0;
  std::vector<std::vector<std::string>*> words;  // for each column, its words; none: it has numbers
  TORCH_CHECK_VALUE(options.header() || options.categories().empty(), "read_csv: categories name columns, which have names only with header(true)");

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
      words = columns_of_words(table, options.categories());
      continue;
    }
    std::size_t column = 0;
    while (!values.done()) {
      const std::string_view value = values.next();
      ++column;
      TORCH_CHECK(rows == 0 || column <= columns, place(column), ": one value too many\n[read_csv] the lines before have ", columns);
      const bool is_word = column <= words.size() && words[column - 1] != nullptr;
      const std::optional<double> number = value.empty() ? options.missing() : is_word ? number_of_word(value, *words[column - 1]) : parse_number(value);
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

std::size_t data::CsvTable::index(const std::string& name) const {
  const auto found = std::find(names.begin(), names.end(), name);
  TORCH_CHECK_INDEX(found != names.end(), "no column is named '", name, "'\n[CsvTable] the ", names.size(), " names are: ", ArrayRef<std::string>(names));
  return static_cast<std::size_t>(found - names.begin());
}

}  // namespace tinytorch
