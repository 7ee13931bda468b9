// From the lesson modules/53_weights/weights_dev.cpp:
// edit the module, not this file.

#include "tinytorch/serialize/zip.h"

#include <zlib.h>
#include <algorithm>
#include <cstring>
#include <limits>

#include "tinytorch/core/error.h"

namespace tinytorch {

namespace {
constexpr std::uint64_t kLocalHeader = 0x04034b50;
constexpr std::uint64_t kDirectoryEntry = 0x02014b50;
constexpr std::uint64_t kEndRecord = 0x06054b50;
constexpr std::uint64_t kEndRecord64 = 0x06064b50;
constexpr std::uint64_t kEndLocator64 = 0x07064b50;
constexpr std::uint64_t kIn64Bits = 0xffffffff;  // in place of a size: it stands in the extra field
}  // namespace

void serialize::ZipReader::refuse(const std::string& why) const {
  throw Error("PytorchStreamReader failed reading zip archive: " + why + "\n[load] " + name_ + " is damaged, or was not written by torch.save; fetch or write it again.");
}

// The little-endian number of `width` bytes at `position`.
std::uint64_t serialize::ZipReader::number(std::uint64_t position, std::uint64_t width) const {
  std::uint64_t value = 0;
  const std::string_view bytes = piece(position, width);
  for (std::uint64_t i = 0; i < width; ++i) value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  return value;
}

std::string_view serialize::ZipReader::piece(std::uint64_t position, std::uint64_t size) const {
  if (position > archive_.size() || size > archive_.size() - position)
    refuse("the file ends after " + std::to_string(archive_.size()) + " bytes, within a record of the directory");
  return archive_.substr(position, size);
}

const serialize::ZipReader::Record& serialize::ZipReader::find(const std::string& record) const {
  const auto found = records_.find(record);
  if (found == records_.end()) refuse("file not found: " + record);
  return found->second;
}

bool serialize::ZipReader::contains(const std::string& record) const { return records_.contains(record); }

std::vector<std::string> serialize::ZipReader::names() const {
  std::vector<std::string> all;
  for (const auto& entry : records_) all.push_back(entry.first);
  return all;
}

// Where the end record begins: it is followed by a comment that it counts, and then the file ends.
std::uint64_t serialize::ZipReader::end_record() const {
  constexpr std::uint64_t kBytes = 22;
  for (std::uint64_t back = kBytes; back <= archive_.size() && back <= kBytes + 0xffff; ++back) {
    const std::uint64_t at = archive_.size() - back;
    if (number(at, 4) == kEndRecord && number(at + 20, 2) == back - kBytes) return at;
  }
  refuse("failed finding central directory");
}

serialize::ZipReader::ZipReader(std::string_view archive, std::string name) : archive_(archive), name_(std::move(name)) {
  std::uint64_t limit = end_record();
  std::uint64_t count = number(limit + 10, 2);
  std::uint64_t bytes = number(limit + 12, 4);
  std::uint64_t directory = number(limit + 16, 4);
  if (limit >= 20 && number(limit - 20, 4) == kEndLocator64) {
    limit = number(limit - 20 + 8, 8);
    if (number(limit, 4) != kEndRecord64) refuse("the 64-bit end record is not where it should be");
    piece(limit, 56);
    count = number(limit + 32, 8);
    bytes = number(limit + 40, 8);
    directory = number(limit + 48, 8);
  }
  if (directory > limit || bytes > limit - directory || count > bytes / 46) refuse("the central directory lies outside the file");
  std::map<std::uint64_t, std::uint64_t> ranges;
  std::uint64_t at = directory;
  for (std::uint64_t i = 0; i < count; ++i) at = read_entry(at, directory, directory + bytes, ranges);
  std::uint64_t used = 0;
  for (const auto& [begin, end] : ranges) {
    if (begin < used) refuse("two records share the bytes from " + std::to_string(begin) + " to " + std::to_string(used));
    used = end;
  }
}

// Reads the directory's entry at `at`, and the header of its record. Returns where the next entry begins.
std::uint64_t serialize::ZipReader::read_entry(std::uint64_t at, std::uint64_t directory, std::uint64_t directory_end, std::map<std::uint64_t, std::uint64_t>& ranges) {
  if (number(at, 4) != kDirectoryEntry) refuse("an entry of the central directory does not begin as it should");
  const std::uint64_t flags = number(at + 8, 2);
  const std::uint64_t method = number(at + 10, 2);
  Record record{.begin = 0, .packed = number(at + 20, 4), .size = number(at + 24, 4), .crc = number(at + 16, 4), .deflated = method == 8};
  std::uint64_t header = number(at + 42, 4);
  const std::uint64_t name_size = number(at + 28, 2);
  const std::uint64_t extra = at + 46 + name_size;
  const std::uint64_t extra_end = extra + number(at + 30, 2);
  const std::uint64_t next = extra_end + number(at + 32, 2);
  if (next > directory_end) refuse("an entry of the central directory reaches beyond its end");
  const std::string name(piece(at + 46, name_size));
  if (flags & 1) refuse("the record '" + name + "' is encrypted");
  if (method != 0 && method != 8) refuse("the record '" + name + "' is packed by method " + std::to_string(method) + ", which is not supported");

  // Numbers that need 64 bits stand in the extra field 1, in this order.
  for (std::uint64_t field = extra; field + 4 <= extra_end;) {
    const std::uint64_t field_end = field + 4 + number(field + 2, 2);
    if (field_end > extra_end) refuse("the record '" + name + "' has an extra field that reaches beyond its end");
    if (number(field, 2) == 1) {
      std::uint64_t place = field + 4;
      for (std::uint64_t* value : {&record.size, &record.packed, &header}) {
        if (*value != kIn64Bits) continue;
        if (place + 8 > field_end) refuse("the record '" + name + "' lacks a 64-bit size");
        *value = number(place, 8);
        place += 8;
      }
    }
    field = field_end;
  }

  if (header > directory || number(header, 4) != kLocalHeader) refuse("the record '" + name + "' does not begin as it should");
  const std::uint64_t local_name_size = number(header + 26, 2);
  record.begin = header + 30 + local_name_size + number(header + 28, 2);
  if (piece(header + 30, local_name_size) != name) refuse("the record '" + name + "' has another name where it begins");
  if (record.begin > directory || record.packed > directory - record.begin) refuse("the record '" + name + "' reaches beyond the data");
  const bool fits = record.deflated ? record.size / 1032 <= record.packed : record.size == record.packed;
  if (!fits) refuse("the record '" + name + "' claims " + std::to_string(record.size) + " bytes from " + std::to_string(record.packed) + " packed ones");
  if (!ranges.emplace(header, record.begin + record.packed).second || !records_.emplace(name, record).second) refuse("the record '" + name + "' is there twice");
  return next;
}

void serialize::ZipReader::read(const std::string& record_name, void* target) const {
  const Record& record = find(record_name);
  if (record.deflated) {
    inflate_into(record, record_name, static_cast<unsigned char*>(target));
  } else if (record.size > 0) {
    std::memcpy(target, archive_.data() + record.begin, record.size);
  }
  if (::crc32_z(0, static_cast<const unsigned char*>(target), record.size) != record.crc && record.size > 0) refuse("the checksum of the record '" + record_name + "' does not match");
}

std::string serialize::ZipReader::read(const std::string& record) const {
  std::string bytes(size(record), '\0');
  read(record, bytes.data());
  return bytes;
}

void serialize::ZipReader::inflate_into(const Record& record, const std::string& record_name, unsigned char* target) const {
  constexpr std::uint64_t kStep = std::numeric_limits<uInt>::max() / 2;  // zlib counts in 32 bits
  z_stream stream{};
  if (::inflateInit2(&stream, -MAX_WBITS) != Z_OK) refuse("zlib cannot begin");
  // An empty record may have no target; zlib wants one.
  unsigned char none = 0;
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(archive_.data() + record.begin));
  stream.next_out = record.size > 0 ? target : &none;
  std::uint64_t in_left = record.packed;
  std::uint64_t out_left = record.size;
  int status = Z_OK;
  while (status == Z_OK) {
    if (stream.avail_in == 0) in_left -= stream.avail_in = static_cast<uInt>(std::min(in_left, kStep));
    if (stream.avail_out == 0) out_left -= stream.avail_out = static_cast<uInt>(std::min(out_left, kStep));
    status = ::inflate(&stream, Z_NO_FLUSH);
  }
  const bool complete = status == Z_STREAM_END && out_left == 0 && stream.avail_out == 0;
  ::inflateEnd(&stream);
  if (!complete) refuse("the record '" + record_name + "' does not unpack to the " + std::to_string(record.size) + " bytes that it claims");
}

namespace {
void append_number(std::string& to, std::uint64_t value, int width) {
  for (int i = 0; i < width; ++i) to.push_back(static_cast<char>(value >> (8 * i) & 0xff));
}

// What a local header and a directory entry have in common: from the version that is needed to unpack, to the length of the extra field.
void append_common(std::string& to, std::uint64_t crc, const std::string& name, std::uint64_t extra_size) {
  append_number(to, 45, 2);      // version 4.5: 64-bit sizes
  append_number(to, 0x0800, 2);  // the name is UTF-8
  append_number(to, 0, 2);       // stored
  append_number(to, 0, 2);       // 00:00
  append_number(to, 0x21, 2);    // 1980-01-01: equal contents make equal files
  append_number(to, crc, 4);
  append_number(to, kIn64Bits, 4);
  append_number(to, kIn64Bits, 4);
  append_number(to, name.size(), 2);
  append_number(to, extra_size, 2);
}
}  // namespace

void serialize::ZipWriter::add(const std::string& name, std::string_view bytes) {
  const std::uint64_t header = archive_.size();
  const std::uint64_t crc = ::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size());
  // The extra field holds the sizes (20 bytes) and a filler (4 bytes and more), so that the data begin on a multiple of 64.
  const std::uint64_t unfilled = header + 30 + name.size() + 20 + 4;
  const std::uint64_t filler = (64 - unfilled % 64) % 64;
  append_number(archive_, kLocalHeader, 4);
  append_common(archive_, crc, name, 24 + filler);
  archive_ += name;
  append_number(archive_, 1, 2);
  append_number(archive_, 16, 2);
  append_number(archive_, bytes.size(), 8);
  append_number(archive_, bytes.size(), 8);
  append_number(archive_, 0x4246, 2);
  append_number(archive_, filler, 2);
  archive_.append(filler, 'Z');
  archive_ += bytes;

  append_number(directory_, kDirectoryEntry, 4);
  append_number(directory_, 45, 2);
  append_common(directory_, crc, name, 28);
  append_number(directory_, 0, 2);  // no comment
  append_number(directory_, 0, 2);  // the first disk
  append_number(directory_, 0, 2);  // not text
  append_number(directory_, 0, 4);
  append_number(directory_, kIn64Bits, 4);
  directory_ += name;
  append_number(directory_, 1, 2);
  append_number(directory_, 24, 2);
  append_number(directory_, bytes.size(), 8);
  append_number(directory_, bytes.size(), 8);
  append_number(directory_, header, 8);
  ++count_;
}

std::string serialize::ZipWriter::finish() {
  const std::uint64_t directory = archive_.size();
  archive_ += directory_;
  const std::uint64_t end = archive_.size();
  append_number(archive_, kEndRecord64, 4);
  append_number(archive_, 44, 8);  // bytes of this record that follow
  append_number(archive_, 45, 2);
  append_number(archive_, 45, 2);
  append_number(archive_, 0, 8);  // one disk
  append_number(archive_, count_, 8);
  append_number(archive_, count_, 8);
  append_number(archive_, directory_.size(), 8);
  append_number(archive_, directory, 8);
  append_number(archive_, kEndLocator64, 4);
  append_number(archive_, 0, 4);
  append_number(archive_, end, 8);
  append_number(archive_, 1, 4);
  append_number(archive_, kEndRecord, 4);
  append_number(archive_, 0, 4);
  append_number(archive_, 0xffff, 2);
  append_number(archive_, 0xffff, 2);
  append_number(archive_, kIn64Bits, 4);
  append_number(archive_, kIn64Bits, 4);
  append_number(archive_, 0, 2);
  return std::move(archive_);
}

}  // namespace tinytorch
