// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tinytorch/core/ops.h"

namespace tinytorch {

namespace data {

// The numbers of an IDX file, plain or compressed by gzip, in the type and shape that its header names.
// Throws Error, one sentence that names the file, if it is missing, is not IDX, is cut off, damaged, or longer than it says;
// nothing is allocated for a size that the file cannot hold. Source: torch/csrc/api/src/data/datasets/mnist.cpp.
Tensor read_idx(const std::string& path);

namespace detail {

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

}  // namespace detail
}  // namespace data

}  // namespace tinytorch
