// From the lesson modules/94_data_files/data_files_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tinytorch/data/datasets.h"

namespace tinytorch {

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

}  // namespace tinytorch
