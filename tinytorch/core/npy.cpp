// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/npy.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <sstream>

#include "tinytorch/core/error.h"

namespace tinytorch {

namespace {

struct NpyHeader {
  std::string descr;  // '<f4': little-endian, float, 4 bytes
  std::vector<int64_t> sizes;
};

// The text from behind `before` up to `after`; nothing if either is missing.
std::string_view between(std::string_view text, std::string_view before, char after) {
  const size_t start = text.find(before);
  if (start == std::string_view::npos) return {};
  text.remove_prefix(start + before.size());
  const size_t end = text.find(after);
  return end == std::string_view::npos ? std::string_view() : text.substr(0, end);
}

// Reads {'descr': '<f4', 'fortran_order': False, 'shape': (64, 32), }.
NpyHeader parse_npy_header(std::string_view text, const std::string& path) {
  NpyHeader header;
  header.descr = between(text, "'descr': '", '\'');
  const std::string_view shape = between(text, "'shape': (", ')');
  const bool has_shape = !shape.empty() || text.find("'shape': ()") != std::string_view::npos;
  TORCH_CHECK(
      !header.descr.empty() && has_shape, path,
      ": the header has no descr or no shape\n[read_npy] only plain arrays that np.save wrote can be read");
  TORCH_CHECK(text.find("'fortran_order': False") != std::string_view::npos, path,
              ": the array is not in row-major order\n[read_npy] save np.ascontiguousarray(array)");

  std::istringstream parts{std::string(shape)};
  for (std::string part; std::getline(parts, part, ',');) {
    const size_t first = part.find_first_not_of(' ');
    if (first == std::string::npos) continue;  // after the comma of (3,)
    int64_t size = -1;
    const auto [end, error] = std::from_chars(part.data() + first, part.data() + part.size(), size);
    TORCH_CHECK(error == std::errc() && end == part.data() + part.size() && size >= 0, path, ": the shape (",
                shape, ") is not a list of sizes\n[read_npy] the header is damaged: save the file again");
    header.sizes.push_back(size);
  }
  return header;
}

template <class T>
std::vector<double> to_doubles(const char* bytes, int64_t count) {
  std::vector<double> values(static_cast<size_t>(count));
  for (double& value : values) {
    T element;
    std::memcpy(&element, bytes, sizeof(T));
    bytes += sizeof(T);
    value = static_cast<double>(element);
  }
  return values;
}

struct NpyType {
  const char* descr;
  int64_t bytes;
  std::vector<double> (*convert)(const char* bytes, int64_t count);
};
constexpr NpyType npy_types[] = {{"<f4", 4, to_doubles<float>},   {"<f8", 8, to_doubles<double>},
                                 {"<i4", 4, to_doubles<int32_t>}, {"<i8", 8, to_doubles<int64_t>},
                                 {"|u1", 1, to_doubles<uint8_t>}, {"|b1", 1, to_doubles<uint8_t>}};
static_assert(std::endian::native == std::endian::little, "read_npy takes little-endian numbers as they are");

// Takes bytes from the front of a file that may be shorter than it should be.
class ByteReader {
 public:
  ByteReader(std::string_view bytes, const std::string& path) : rest_(bytes), path_(path) {}

  bool done() const { return rest_.empty(); }
  int64_t left() const { return static_cast<int64_t>(rest_.size()); }

  std::string_view take(int64_t count, const std::string& what) {
    TORCH_CHECK(count <= left(), path_, ": the file ends inside ", what, ": ", count, " bytes are needed, ",
                left(), " are left\n[read_npy] it was cut off: fetch or save it again");
    const std::string_view taken = rest_.substr(0, static_cast<size_t>(count));
    rest_.remove_prefix(taken.size());
    return taken;
  }

  // An unsigned number of `count` bytes, the lowest one first.
  int64_t take_number(int64_t count, const std::string& what) {
    const std::string_view digits = take(count, what);
    int64_t value = 0;
    for (size_t i = digits.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(digits[i]);
    return value;
  }

 private:
  std::string_view rest_;
  const std::string& path_;
};

}  // namespace

std::vector<NumericArray> read_npy(const std::string& path, int64_t expected_arrays) {
  const std::string bytes = read_file(path, "read_npy");
  ByteReader reader(bytes, path);
  std::vector<NumericArray> arrays;
  while (!reader.done()) {
    const std::string which = str("array ", arrays.size());
    TORCH_CHECK(
        reader.take(6, "the start of " + which) == "\x93NUMPY", path, ": ", which,
        " does not begin with NumPy's magic string\n[read_npy] only files that np.save wrote can be read");
    const int64_t major = reader.take_number(1, "the version");
    reader.take_number(1, "the version");
    const int64_t header_length = reader.take_number(major == 1 ? 2 : 4, "the length of the header");
    NpyHeader header = parse_npy_header(reader.take(header_length, "the header of " + which), path);
    const NpyType* type = std::find_if(std::begin(npy_types), std::end(npy_types),
                                       [&](const NpyType& row) { return header.descr == row.descr; });
    TORCH_CHECK(type != std::end(npy_types), path, ": values of type ", header.descr,
                " cannot be read\n[read_npy] save them as float32, float64, int32, int64 or uint8");

    int64_t count = 1;
    bool overflow = false;
    for (int64_t size : header.sizes) overflow |= __builtin_mul_overflow(count, size, &count);
    TORCH_CHECK(!overflow && count <= reader.left() / type->bytes, path,
                ": the file ends inside the values of ", which, ": its sizes ask for more than the ",
                reader.left() / type->bytes,
                " values that are left\n[read_npy] it was cut off: fetch or save it again");
    const std::string_view data = reader.take(count * type->bytes, "the values");
    arrays.push_back({std::move(header.sizes), type->convert(data.data(), count)});
  }
  TORCH_CHECK(expected_arrays < 0 || static_cast<int64_t>(arrays.size()) == expected_arrays, path,
              ": expected ", expected_arrays, " arrays but found ", arrays.size(),
              "\n[read_npy] is it the right file, and complete?");
  return arrays;
}

}  // namespace tinytorch
