// From the lesson modules/07_data/data_dev.cpp:
// edit the module, not this file.

#include "tinytorch/data/idx_header.h"

#include <cstring>
#include <utility>

namespace tinytorch {

namespace {
ScalarType idx_type(unsigned char code, const std::string& path) {
  constexpr std::pair<unsigned char, ScalarType> types[] = {{0x08, kByte}, {0x09, kChar}, {0x0B, kShort}, {0x0C, kInt}, {0x0D, kFloat}, {0x0E, kDouble}};
  for (const auto& [known, type] : types)
    if (known == code) return type;
  throw Error(path + ": not an IDX file: the type in its header is " + std::to_string(code) + "\n[read_idx] types are 8, 9, 11, 12, 13 and 14");
}
}  // namespace

// What the header says, checked: type, sizes, and the bytes of the values, which are at most `capacity`.
// Throws Error if the first two bytes are not 0 ("not an IDX file"), and if the sizes ask for more than `capacity` bytes, or for a number
// that does not fit into 64 bits ("cut off").
data::detail::IdxHeader data::detail::parse_idx_header(std::string_view bytes, std::int64_t capacity, const std::string& path) {
  TORCH_CHECK(bytes[0] == 0 && bytes[1] == 0, path, ": not an IDX file: it does not begin with two zero bytes\n[read_idx] is it the right file?");
  IdxHeader header;
  header.type = idx_type(static_cast<unsigned char>(bytes[2]), path);
  header.nbytes = static_cast<std::int64_t>(elementSize(header.type));
  bool overflow = false;
  for (std::size_t at = 4; at < bytes.size(); at += 4) {
    const std::int64_t size = big_endian(bytes.substr(at));
    header.sizes.push_back(size);
    overflow = __builtin_mul_overflow(header.nbytes, size, &header.nbytes) || overflow;
  }
  TORCH_CHECK(!overflow && header.nbytes <= capacity, path, ": the file is cut off, or its header is damaged: the header says sizes ",
              IntArrayRef(header.sizes), " of ", header.type, ", the file can hold at most ", capacity, " bytes of values\n[read_idx] fetch it again");
  return header;
}

}  // namespace tinytorch
