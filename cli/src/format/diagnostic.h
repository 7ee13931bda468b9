// A complaint about a file that a person edits: where, and what is wrong.
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>

namespace tito {

namespace fs = std::filesystem;

struct Diagnostic : std::runtime_error {
  // `line` counts from 1; 0 means the file as a whole.
  Diagnostic(fs::path file_path, int line_number, std::string text)
      : std::runtime_error(file_path.string() + ":" + std::to_string(line_number) + ": " + text),
        file(std::move(file_path)),
        line(line_number),
        message(std::move(text)) {}

  fs::path file;
  int line;
  std::string message;
};

}  // namespace tito
