// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tinytorch/core/arg.h"
#include "tinytorch/core/ops.h"

namespace tinytorch {

namespace data {

// How a table is written; setters chain: CsvOptions().delimiter(';').header(true).
struct CsvOptions {
  // Between values; spaces and tabs around a value never count.
  TORCH_ARG(char, delimiter) = ',';
  // Whether the first line has the names of the columns.
  TORCH_ARG(bool, header) = false;
  // What an empty value means, NaN for instance; without it an empty value is an error.
  TORCH_ARG(std::optional<double>, missing);
  // The names of columns that hold words, not numbers. Each new word gets the next number: 0, 1, 2, ...
  TORCH_ARG(std::vector<std::string>, categories);
};

// A table of numbers.
struct CsvTable {
  std::vector<std::string> names;  // empty without a header
  Tensor values;                   // (rows, columns), Double
  // For each column of words: word number i stands in `values` as i.
  std::map<std::string, std::vector<std::string>> categories;

  // The place of a column, and the column as a view (rows). Throw IndexError if none has this name.
  std::size_t index(const std::string& name) const;
  Tensor column(const std::string& name) const { return values.select(1, static_cast<std::int64_t>(index(name))); }
};

// Reads lines of numbers (and of words, where the options name their columns); a value may stand in double quotes, on one line, without quotes inside. Empty lines do not count. Throws Error
// that names file, line and column for anything but a number, and for a line with more or fewer values than the first; IndexError for a category that is no column.
CsvTable read_csv(const std::string& path, const CsvOptions& options = CsvOptions());

}  // namespace data

}  // namespace tinytorch
