#pragma once

#include <array>
#include <cstdio>
#include <string>

#include "tito/lesson.h"

namespace tinytorch::testing {

// What a command prints; its exit status must be 0.
inline std::string output_of(const std::string& command) {
  std::FILE* const pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::string text;
  std::array<char, 4096> buffer{};
  for (std::size_t count; (count = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0;) text.append(buffer.data(), count);
  CHECK_EQ(pclose(pipe), 0);
  return text;
}

}  // namespace tinytorch::testing
