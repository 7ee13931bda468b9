// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.
#pragma once

#include <string>
#include <vector>

#include "tinytorch/core/ops.h"

namespace tinytorch {

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

}  // namespace tinytorch
