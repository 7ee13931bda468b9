// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tinytorch/core/ops.h"

namespace tinytorch {

namespace data::detail {

struct IdxHeader {
  ScalarType type = kByte;
  DimVector sizes;
  std::int64_t nbytes = 0;  // of the values
};

// REQUIRES: bytes.size() is 4 + 4 x (the number in bytes[3]).
IdxHeader parse_idx_header(std::string_view bytes, std::int64_t capacity, const std::string& path);

// The four bytes as one number, most significant first.
inline std::uint32_t big_endian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (const char byte : bytes.substr(0, 4)) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

}  // namespace data::detail

}  // namespace tinytorch
