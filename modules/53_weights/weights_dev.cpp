// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch-cpp
// ---

// %% [markdown]
// # Library chapter 53: Published weights
//
// Somebody has trained a model for weeks and published the result: a file of named tensors. This chapter opens such files, and writes files that others open. Two formats hold nearly all of them.
//
//     safetensors    | length | JSON header: name, dtype, shape, place | bytes of all tensors |
//                      nothing to interpret; a tensor is a range of the file, so the file can be mapped instead of read
//
//     PyTorch's .pt  zip archive
//                      archive/data.pkl     a pickle: a program for a small stack machine, which builds dictionaries and tensors
//                      archive/data/0 ...   the storages, as bytes
//                      archive/version
//
// A pickle is a program, and Python's own machine for it can be told to call any function with any arguments. A file from the internet could delete your home directory when it is opened. So the reader here
// knows the few instructions that data need and a short list of functions, and refuses everything else by name, before anything of it is done. Python's `torch.load(weights_only=True)` does the same.
//
// Every number in a file may be wrong, by damage or on purpose. Both readers check each before they use it, and say in one sentence what does not fit.

// %%
//| after 08
//| export serialize/zip.h
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>
//| export serialize/zip.cpp
#include <zlib.h>
#include <algorithm>
#include <cstring>
#include <limits>
#include "tinytorch/core/error.h"
//| export serialize/pickle.h
#include <string>
#include <string_view>
#include <vector>
#include "tinytorch/core/ivalue.h"
#include "tinytorch/core/ordered_dict.h"
//| export serialize/unpickler.cpp
#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include "tinytorch/core/ops.h"
#include "tinytorch/serialize/archive.h"
#include "tinytorch/serialize/file.h"
#include "tinytorch/serialize/pickle.h"
#include "tinytorch/serialize/zip.h"
//| export serialize/pickler.cpp
#include <bit>
#include <cstring>
#include <map>
#include "tinytorch/core/ops.h"
#include "tinytorch/serialize/file.h"
#include "tinytorch/serialize/pickle.h"
#include "tinytorch/serialize/zip.h"
//| export serialize/safetensors.h
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>
#include "tinytorch/core/ordered_dict.h"
#include "tinytorch/core/tensor.h"
//| export serialize/safetensors.cpp
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include "tinytorch/core/ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/serialize/file.h"

// %%
#include "tito/lesson.h"
#include "tito/scratch.h"
#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <unistd.h>
#include "tinytorch/core/ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/nn/linear.h"
#include "tinytorch/nn/sequential.h"
#include "tinytorch/serialize/file.h"
#include "tinytorch/serialize/pickle.h"
#include "tinytorch/serialize/safetensors.h"
#include "tinytorch/serialize/save.h"
#include "tinytorch/serialize/zip.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Zip archives
//
// A zip archive is read from its end: the last record says where the *central directory* lies, and this says for each record its name, its size, its checksum, and where its bytes begin.
//
//     | header, bytes of record 1 | header, bytes of record 2 | ... | central directory | end record |
//                ^                          ^                            |     |    ^          |
//                +--------------------------+----------------------------+-----+    +----------+
//
// All these numbers come from the file. The reader checks that each record lies in front of the directory and that no two records share bytes: with overlapping records, a file of kilobytes can unpack to terabytes. `deflate` packs at most 1,032 bytes
// into one; a claim beyond that is refused before memory is asked for.
//
// The writer packs nothing (weights are noise, they hardly shrink), and begins the bytes of each record on a multiple of 64 in the file, as PyTorch does, so that the file can be mapped. It always writes the 64-bit
// form of the sizes: one way for small and large files.

// %%
//| export serialize/zip.h
namespace serialize {

// The records of a zip archive that lies in memory. The constructor checks the directory; read() checks the CRC of what it reads. Records may be stored or deflated, sizes may have 64 bits; encrypted archives are refused.
// Every complaint is an Error that names the archive. REQUIRES: `archive` outlives the reader.
// Source: PKWARE's APPNOTE.TXT 6.3; PyTorch's caffe2/serialize/inline_container.cc.
class ZipReader {
 public:
  ZipReader(std::string_view archive, std::string name);

  std::vector<std::string> names() const;
  bool contains(const std::string& record) const;
  std::uint64_t size(const std::string& record) const { return find(record).size; }
  // Writes the size(record) bytes of the record to `target`.
  void read(const std::string& record, void* target) const;
  std::string read(const std::string& record) const;

 private:
  struct Record {
    std::uint64_t begin = 0;   // of its packed bytes in the archive
    std::uint64_t packed = 0;  // how many they are
    std::uint64_t size = 0;    // and how many unpacked
    std::uint64_t crc = 0;
    bool deflated = false;
  };
  [[noreturn]] void refuse(const std::string& why) const;
  std::uint64_t number(std::uint64_t position, std::uint64_t width) const;
  std::string_view piece(std::uint64_t position, std::uint64_t size) const;
  const Record& find(const std::string& record) const;
  std::uint64_t end_record() const;
  std::uint64_t read_entry(std::uint64_t at, std::uint64_t directory, std::uint64_t directory_end, std::map<std::uint64_t, std::uint64_t>& ranges);
  void inflate_into(const Record& record, const std::string& record_name, unsigned char* target) const;

  std::string_view archive_;
  std::string name_;
  std::map<std::string, Record> records_;
};

// Builds a zip archive in memory: records are stored as they are, each begins on a multiple of 64 bytes.
class ZipWriter {
 public:
  void add(const std::string& name, std::string_view bytes);
  // The archive. Nothing may be added afterwards.
  std::string finish();

 private:
  std::string archive_;
  std::string directory_;
  std::uint64_t count_ = 0;
};

}  // namespace serialize

// %%
//| export serialize/zip.cpp
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

// %%
//| export serialize/zip.cpp
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

// %%
//| export serialize/zip.cpp
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

// %%
//| export serialize/zip.cpp
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

// %%
TEST_CASE("zip: what was added is read back, on multiples of 64 bytes") {
  serialize::ZipWriter writer;
  writer.add("archive/data.pkl", "abc");
  writer.add("archive/data/0", std::string(1000, 'x'));
  writer.add("archive/empty", "");
  const std::string archive = writer.finish();
  const serialize::ZipReader reader(archive, "test.zip");
  CHECK(reader.names() == std::vector<std::string>{"archive/data.pkl", "archive/data/0", "archive/empty"});
  CHECK_EQ(reader.read("archive/data.pkl"), "abc");
  CHECK_EQ(reader.read("archive/data/0"), std::string(1000, 'x'));
  CHECK_EQ(reader.size("archive/empty"), 0);
  CHECK_EQ(reader.read("archive/empty"), "");
  CHECK_EQ(archive.find("abc") % 64, 0);
  CHECK_EQ(archive.find("xxx") % 64, 0);
  CHECK_ERROR(reader.read("archive/data/1"), "file not found: archive/data/1");
}

// %%
TEST_CASE("zip: a changed byte, a cut, two records on the same bytes and impossible sizes are refused") {
  serialize::ZipWriter writer;
  writer.add("a", std::string(100, 'x'));
  writer.add("b", std::string(100, 'y'));
  const std::string archive = writer.finish();
  std::string changed = archive;
  changed[archive.find("xxx") + 50] = 'z';
  CHECK_ERROR(serialize::ZipReader(changed, "test.zip").read("a"), "the checksum of the record 'a' does not match\n[load] test.zip");
  CHECK_ERROR(serialize::ZipReader(archive.substr(0, archive.size() - 1), "test.zip"), "failed finding central directory");
  CHECK_ERROR(serialize::ZipReader("", "test.zip"), "failed finding central directory");

  // The directory's last entry points to the first record.
  std::string twice = archive;
  const std::size_t second = archive.find("b", archive.rfind("PK\x01\x02"));
  twice.replace(second + 1 + 4 + 16, 8, std::string(8, '\0'));
  CHECK_ERROR(serialize::ZipReader(twice, "test.zip"), "the record 'b' has another name where it begins");
  // ... and calls it by its name.
  twice[second] = 'a';
  CHECK_ERROR(serialize::ZipReader(twice, "test.zip"), "the record 'a' is there twice");

  // A deflated record that claims a terabyte.
  std::string bomb = archive;
  const std::size_t entry = bomb.find("PK\x01\x02");
  bomb[entry + 10] = 8;
  bomb[entry + 46 + 1 + 4 + 5] = 1;
  CHECK_ERROR(serialize::ZipReader(bomb, "test.zip"), "the record 'a' claims 1099511627876 bytes from 100 packed ones");
}

// %% [markdown]
// ## Pickles
//
// A pickle is a sequence of instructions of one byte each, some with an argument, for a machine with a stack and a numbered memory. This one builds `{"epoch": 3}`:
//
//     instruction            stack after it
//     }  EMPTY_DICT          {}
//     X  BINUNICODE epoch    {} "epoch"
//     K  BININT1 3           {} "epoch" 3
//     s  SETITEM             {"epoch": 3}
//     .  STOP
//
// A tensor is a call: `GLOBAL torch._utils _rebuild_tensor_v2` pushes the function, then come its arguments (a storage, offset, sizes, strides, requires_grad), and `REDUCE` calls. The storage is named by a *persistent id*,
// `('storage', FloatStorage, '0', 'cpu', 6)`: six floats in the record `data/0`. Two tensors that share memory name the same record, and share it again when they are loaded.
//
// Python's machine would import whatever `GLOBAL` names. `os.system` is such a name. Here it is compared with a list:
//
//     collections.OrderedDict                         a dictionary
//     torch._utils._rebuild_tensor_v2, _rebuild_parameter
//     torch.FloatStorage, LongStorage, ...            types in persistent ids
//     torch.Size
//     torch.jit._pickle.build_intlist, ...            how libtorch marks lists
//     __torch__.anything                              a module of a TorchScript archive (libtorch's torch::save): read as a dictionary of what it holds; its code is not looked at
//
// What remains dangerous without any call: a list that contains itself (whoever walks through it never ends, and its memory is never given back), and lists nested a million deep (freeing them overflows the stack). Both are refused.

// %%
//| export serialize/pickle.h
// The bytes of a file as Python's torch.save makes it; torch.load opens it, also with weights_only=True. `value` holds tensors, numbers, texts, None, and lists, tuples and dictionaries of these; tensors that share
// storage share it in the file. Throws for an undefined tensor, a text that is not UTF-8, and values nested more than 100 deep. O(bytes).
// Source: torch/csrc/jit/serialization/pickle.h.
std::vector<char> pickle_save(const IValue& value);

// What Python's torch.save or libtorch's pickle_save and save wrote. Only data is read: a function beyond those that build tensors and dictionaries is refused by name, and nothing is executed. Tensors of
// other devices come to the CPU. Throws Error if the file is damaged, hostile, or older than PyTorch 1.6.
IValue pickle_load(const std::vector<char>& data);

namespace serialize {

// The same from and to a file; it is written atomically.
IValue load_checkpoint(const std::string& path);
void save_checkpoint(const IValue& value, const std::string& path);
// From bytes in memory; `name` stands in error sentences.
IValue parse_checkpoint(std::string_view bytes, const std::string& name);

// Every tensor in nested dictionaries and lists, by the path to it: {"model": {"fc.weight": W}} has "model.fc.weight". What is no tensor is left out.
OrderedDict<std::string, Tensor> named_tensors(const IValue& value);
// A state_dict as a value to save.
IValue to_value(const OrderedDict<std::string, Tensor>& state);

}  // namespace serialize

// %% [markdown]
// ### The machine
//
// What lies on the stack is a plain value, or one of three things that exist only until the call for which they were pushed: a function, a storage, or a tuple of arguments that holds such things. These may not get into a list or a dictionary.

// %%
//| export serialize/unpickler.cpp
namespace {
constexpr int kMostNesting = 100;

struct Global {
  std::string name;
};
struct LoadedStorage {
  Storage storage;
  ScalarType type;
  std::int64_t numel;
};
struct Arguments;
using Object = std::variant<IValue, Global, LoadedStorage, std::shared_ptr<const Arguments>>;
struct Arguments {
  std::vector<Object> elements;
};

struct StorageType {
  const char* name;
  ScalarType type;
};
constexpr StorageType kStorageTypes[] = {
    {"torch.DoubleStorage", kDouble}, {"torch.FloatStorage", kFloat}, {"torch.HalfStorage", kHalf}, {"torch.BFloat16Storage", kBFloat16}, {"torch.LongStorage", kLong},
    {"torch.IntStorage", kInt},       {"torch.ShortStorage", kShort}, {"torch.CharStorage", kChar}, {"torch.ByteStorage", kByte},         {"torch.BoolStorage", kBool},
};

const StorageType* storage_type_named(const std::string& name) {
  for (const StorageType& type : kStorageTypes)
    if (name == type.name) return &type;
  return nullptr;
}

// The functions that a pickle may name; a class of a TorchScript module stands for the dictionary of its attributes.
bool is_allowed(const std::string& name) {
  static constexpr const char* kFunctions[] = {"collections.OrderedDict",           "torch._utils._rebuild_tensor_v2",     "torch._utils._rebuild_parameter",   "torch.Size",
                                               "torch.jit._pickle.build_intlist",   "torch.jit._pickle.build_doublelist", "torch.jit._pickle.build_tensorlist",
                                               "torch.jit._pickle.build_boollist"};
  for (const char* function : kFunctions)
    if (name == function) return true;
  return storage_type_named(name) != nullptr || name.starts_with("__torch__.");
}
}  // namespace

// %%
//| export serialize/unpickler.cpp
namespace {
// Runs one pickle. What it has built is taken apart again if anything is refused, so that no cycle stays in memory.
class Unpickler {
 public:
  Unpickler(const serialize::ZipReader& archive, std::string prefix, std::string name)
      : archive_(archive), prefix_(std::move(prefix)), name_(std::move(name)), pickle_(archive.read(prefix_ + "data.pkl")) {}
  ~Unpickler() {
    if (done_) return;
    for (const auto& dict : dicts_) dict.clear();
    for (const auto& list : lists_) list.clear();
  }
  Unpickler(const Unpickler&) = delete;
  Unpickler& operator=(const Unpickler&) = delete;

  IValue load();

 private:
  [[noreturn]] void refuse(const std::string& why) const;
  // The bytes of the pickle.
  std::string_view take(std::uint64_t count);
  std::uint64_t take_number(int width);
  std::string take_line();
  // The stack.
  void push(IValue value) { stack_.emplace_back(std::move(value)); }
  Object pop();
  IValue pop_plain() { return plain(pop()); }
  std::vector<Object> pop_to_mark();
  IValue plain(const Object& object) const;
  Object memorized(std::uint64_t key) const;
  // The instructions.
  void run(unsigned char instruction);
  bool run_value(unsigned char instruction);
  bool run_container(unsigned char instruction);
  bool run_call(unsigned char instruction);
  void push_integer(std::string_view bytes);
  void push_double();
  void push_tuple(std::vector<Object> elements);
  void append(std::vector<Object> elements);
  void set_items(const std::vector<Object>& keys_and_values);
  void push_global(const std::string& name);
  Dict<IValue, IValue> new_dict();
  void build();
  // The functions.
  Object call(const std::string& function, const std::vector<Object>& arguments);
  LoadedStorage storage_of(const Object& persistent_id);
  LoadedStorage load_storage(const StorageType& type, const std::string& key, std::int64_t numel);
  IValue rebuild_tensor(const std::vector<Object>& arguments);
  IValue rebuild_parameter(const std::vector<Object>& arguments);
  std::vector<std::int64_t> integers_of(const Object& object, const char* what) const;
  Tensor tensor_on(const Storage& storage, ScalarType type, IntArrayRef sizes, IntArrayRef strides, std::int64_t offset, bool requires_grad) const;
  void check_nesting(const IValue& root) const;

  const serialize::ZipReader& archive_;
  std::string prefix_;
  std::string name_;
  std::string pickle_;
  std::size_t position_ = 0;
  std::vector<Object> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, Object> memory_;
  std::map<std::string, std::pair<const StorageType*, LoadedStorage>> storages_;
  std::vector<Dict<IValue, IValue>> dicts_;
  std::vector<List<IValue>> lists_;
  std::unordered_set<const void*> modules_;  // dictionaries that stand for TorchScript modules
  std::vector<std::shared_ptr<const ivalue::Tuple>> tuples_;
  std::unordered_map<const void*, int> tuple_depths_;
  bool done_ = false;
};

void Unpickler::refuse(const std::string& why) const {
  throw Error("cannot load " + name_ + ": " + why + "\n[load] at byte " + std::to_string(position_) + " of data.pkl; the file is damaged, or holds more than tensors, numbers, texts, lists and dictionaries.");
}

IValue Unpickler::load() {
  for (;;) {
    const auto instruction = static_cast<unsigned char>(take(1)[0]);
    if (instruction == '.') break;
    run(instruction);
  }
  if (stack_.size() != 1 || !marks_.empty()) refuse("the pickle ends with " + std::to_string(stack_.size()) + " values on its stack instead of one");
  const IValue value = pop_plain();
  check_nesting(value);
  done_ = true;
  return value;
}
}  // namespace

// %% [markdown]
// ### Bytes and stack
//
// No instruction may take what is not there, or reach below the last mark.

// %%
//| export serialize/unpickler.cpp
namespace {
std::string_view Unpickler::take(std::uint64_t count) {
  if (count > pickle_.size() - position_) refuse("the pickle ends in the middle of an instruction");
  const std::string_view bytes = std::string_view(pickle_).substr(position_, count);
  position_ += count;
  return bytes;
}

std::uint64_t Unpickler::take_number(int width) {
  std::uint64_t value = 0;
  const std::string_view bytes = take(static_cast<std::uint64_t>(width));
  for (int i = 0; i < width; ++i) value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[static_cast<std::size_t>(i)])) << (8 * i);
  return value;
}

std::string Unpickler::take_line() {
  const std::size_t end = pickle_.find('\n', position_);
  if (end == std::string::npos) refuse("the pickle ends in the middle of a name");
  const std::string line = pickle_.substr(position_, end - position_);
  position_ = end + 1;
  return line;
}

Object Unpickler::pop() {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) refuse("an instruction takes a value from an empty stack");
  Object top = std::move(stack_.back());
  stack_.pop_back();
  return top;
}

std::vector<Object> Unpickler::pop_to_mark() {
  if (marks_.empty()) refuse("an instruction asks for a mark that was not set");
  const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  marks_.pop_back();
  std::vector<Object> values(std::make_move_iterator(first), std::make_move_iterator(stack_.end()));
  stack_.erase(first, stack_.end());
  return values;
}

// The value, if it is one that may be kept.
IValue Unpickler::plain(const Object& object) const {
  if (const auto* value = std::get_if<IValue>(&object)) return *value;
  if (const auto* global = std::get_if<Global>(&object)) refuse("the function " + global->name + " stands where a value should be");
  refuse("a storage stands where a value should be");
}

Object Unpickler::memorized(std::uint64_t key) const {
  const auto found = memory_.find(key);
  if (found == memory_.end()) refuse("the pickle asks for value " + std::to_string(key) + " of its memory, which it has not stored");
  return found->second;
}

void Unpickler::run(unsigned char instruction) {
  if (run_value(instruction) || run_container(instruction) || run_call(instruction)) return;
  static constexpr char kDigits[] = "0123456789abcdef";
  refuse(std::string("the pickle has the instruction 0x") + kDigits[instruction >> 4] + kDigits[instruction & 15] + ", which builds no data");
}
}  // namespace

// %% [markdown]
// ### Instructions

// %%
//| export serialize/unpickler.cpp
namespace {
bool Unpickler::run_value(unsigned char instruction) {
  switch (instruction) {
    case 0x80:  // PROTO
      if (const std::uint64_t protocol = take_number(1); protocol < 2 || protocol > 5) refuse("the pickle is of protocol " + std::to_string(protocol));
      return true;
    case 0x95: take(8); return true;                                     // FRAME
    case 'N': push(IValue()); return true;                               // NONE
    case 0x88: push(true); return true;                                  // NEWTRUE
    case 0x89: push(false); return true;                                 // NEWFALSE
    case 'K': push(static_cast<std::int64_t>(take_number(1))); return true;  // BININT1
    case 'M': push(static_cast<std::int64_t>(take_number(2))); return true;  // BININT2
    case 'J': push_integer(take(4)); return true;                        // BININT
    case 0x8a: push_integer(take(take_number(1))); return true;          // LONG1
    case 'G': push_double(); return true;                                // BINFLOAT
    case 'U': case 0x8c: push(std::string(take(take_number(1)))); return true;  // SHORT_BINSTRING, SHORT_BINUNICODE
    case 'T': case 'X': push(std::string(take(take_number(4)))); return true;   // BINSTRING, BINUNICODE
    default: return false;
  }
}

// A whole number: little-endian, in two's complement.
void Unpickler::push_integer(std::string_view bytes) {
  if (bytes.size() > 8) refuse("a whole number has " + std::to_string(bytes.size()) + " bytes, more than 64 bits hold");
  std::uint64_t value = !bytes.empty() && (static_cast<unsigned char>(bytes.back()) & 0x80) ? ~std::uint64_t{0} : 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  push(static_cast<std::int64_t>(value));
}

void Unpickler::push_double() {
  std::uint64_t bits = 0;  // big-endian, as nothing else here
  for (const char byte : take(8)) bits = bits << 8 | static_cast<unsigned char>(byte);
  push(std::bit_cast<double>(bits));
}

bool Unpickler::run_container(unsigned char instruction) {
  switch (instruction) {
    case '(': marks_.push_back(stack_.size()); return true;  // MARK
    case ')': push_tuple({}); return true;                   // EMPTY_TUPLE
    case 0x85: case 0x86: case 0x87: {                       // TUPLE1, TUPLE2, TUPLE3
      std::vector<Object> elements(static_cast<std::size_t>(instruction - 0x84));
      for (std::size_t i = elements.size(); i-- > 0;) elements[i] = pop();
      push_tuple(std::move(elements));
      return true;
    }
    case 't': push_tuple(pop_to_mark()); return true;       // TUPLE
    case ']': push(lists_.emplace_back()); return true;     // EMPTY_LIST
    case '}': push(new_dict()); return true;                // EMPTY_DICT
    case 'a': {                                             // APPEND
      Object element = pop();
      append({std::move(element)});
      return true;
    }
    case 'e': append(pop_to_mark()); return true;           // APPENDS
    case 's': {                                             // SETITEM
      Object value = pop();
      Object key = pop();
      set_items({std::move(key), std::move(value)});
      return true;
    }
    case 'u': set_items(pop_to_mark()); return true;        // SETITEMS
    case 'q': case 'r': case 0x94: {                        // BINPUT, LONG_BINPUT, MEMOIZE
      const std::uint64_t key = instruction == 0x94 ? memory_.size() : take_number(instruction == 'q' ? 1 : 4);
      if (stack_.empty()) refuse("an instruction stores the top of an empty stack");
      memory_[key] = stack_.back();
      return true;
    }
    case 'h': stack_.push_back(memorized(take_number(1))); return true;  // BINGET
    case 'j': stack_.push_back(memorized(take_number(4))); return true;  // LONG_BINGET
    default: return false;
  }
}

// A tuple of plain values is a value. One that holds a function or a storage is the arguments of a call.
void Unpickler::push_tuple(std::vector<Object> elements) {
  std::vector<IValue> values;
  int depth = 1;
  for (const Object& element : elements) {
    const auto* value = std::get_if<IValue>(&element);
    if (value == nullptr) {
      for (const Object& other : elements)
        if (std::holds_alternative<std::shared_ptr<const Arguments>>(other)) refuse("a tuple holds a storage within another tuple");
      stack_.emplace_back(std::make_shared<const Arguments>(Arguments{std::move(elements)}));
      return;
    }
    if (value->isTuple()) depth = std::max(depth, tuple_depths_.at(&value->toTupleRef()) + 1);
    values.push_back(*value);
  }
  if (depth > kMostNesting) refuse("values are nested more than " + std::to_string(kMostNesting) + " deep");
  const auto tuple = ivalue::Tuple::create(std::move(values));
  tuple_depths_[tuple.get()] = depth;
  tuples_.push_back(tuple);  // stays alive, so that no other gets its address
  push(tuple);
}

void Unpickler::append(std::vector<Object> elements) {
  const IValue list = pop_plain();
  if (!list.isList()) refuse(std::string("an instruction appends to a value of kind ") + list.tagKind());
  for (const Object& element : elements) list.toList().push_back(plain(element));
  push(list);
}

void Unpickler::set_items(const std::vector<Object>& keys_and_values) {
  const IValue dict = pop_plain();
  if (!dict.isGenericDict() || keys_and_values.size() % 2 != 0) refuse("an instruction sets entries of something that is no dictionary, or a key without a value");
  for (std::size_t i = 0; i < keys_and_values.size(); i += 2) {
    const IValue key = plain(keys_and_values[i]);
    if (!key.isString() && !key.isInt() && !key.isBool() && !key.isDouble() && !key.isNone()) refuse(std::string("a dictionary has a key of kind ") + key.tagKind());
    dict.toGenericDict().insert_or_assign(key, plain(keys_and_values[i + 1]));
  }
  push(dict);
}

Dict<IValue, IValue> Unpickler::new_dict() { return dicts_.emplace_back(); }
}  // namespace

// %% [markdown]
// ### Calls
//
// The only functions are those of the list, and each is a few lines here.

// %%
//| export serialize/unpickler.cpp
namespace {
bool Unpickler::run_call(unsigned char instruction) {
  switch (instruction) {
    case 'c': {  // GLOBAL
      const std::string module = take_line();
      push_global(module + "." + take_line());
      return true;
    }
    case 0x93: {  // STACK_GLOBAL
      const IValue name = pop_plain();
      const IValue module = pop_plain();
      if (!name.isString() || !module.isString()) refuse("the name of a function is no text");
      push_global(module.toStringRef() + "." + name.toStringRef());
      return true;
    }
    case 'Q': {  // BINPERSID
      const Object id = pop();
      stack_.emplace_back(storage_of(id));
      return true;
    }
    case 'R': case 0x81: {  // REDUCE, NEWOBJ
      const Object arguments = pop();
      const Object function = pop();
      const auto* global = std::get_if<Global>(&function);
      if (global == nullptr) refuse("the pickle calls something that is no function");
      std::vector<Object> values;
      if (const auto* special = std::get_if<std::shared_ptr<const Arguments>>(&arguments)) {
        values = (*special)->elements;
      } else {
        const IValue tuple = plain(arguments);
        if (!tuple.isTuple()) refuse("the arguments of " + global->name + " are no tuple");
        values.assign(tuple.toTupleRef().elements().begin(), tuple.toTupleRef().elements().end());
      }
      stack_.push_back(call(global->name, values));
      return true;
    }
    case 'b': build(); return true;  // BUILD
    default: return false;
  }
}

void Unpickler::push_global(const std::string& name) {
  if (!is_allowed(name)) {
    throw Error("Unsupported global: GLOBAL " + name + " was not an allowed global by default.\n[load] " + name_ + " asks for a call of " + name +
                "; a file of weights needs no such call, and nothing was executed. Save a state_dict of tensors, or do not trust the file.");
  }
  stack_.emplace_back(Global{name});
}

// Attributes for an object: a TorchScript module takes them as its entries. What Python hangs on an OrderedDict (a state_dict's versions) is not kept.
void Unpickler::build() {
  const IValue state = pop_plain();
  const IValue object = pop_plain();
  if (!object.isGenericDict() || !state.isGenericDict()) refuse("an instruction sets attributes of something that has none");
  if (modules_.contains(object.toGenericDict().id()))
    for (const auto& entry : state.toGenericDict()) object.toGenericDict().insert_or_assign(entry.key(), entry.value());
  push(object);
}

Object Unpickler::call(const std::string& function, const std::vector<Object>& arguments) {
  if (function == "torch._utils._rebuild_tensor_v2") return rebuild_tensor(arguments);
  if (function == "torch._utils._rebuild_parameter") return rebuild_parameter(arguments);
  if (function == "collections.OrderedDict" && arguments.empty()) return IValue(new_dict());
  if (function.starts_with("__torch__.") && arguments.empty()) {
    const Dict<IValue, IValue> module = new_dict();
    modules_.insert(module.id());
    return IValue(module);
  }
  // torch.Size of a tuple, and a list that is marked with its kind.
  if (arguments.size() == 1 && storage_type_named(function) == nullptr) {
    const IValue only = plain(arguments[0]);
    if (function == "torch.Size" ? only.isTuple() : function.starts_with("torch.jit._pickle.") && only.isList()) return only;
  }
  refuse("the arguments of " + function + " are not what it takes");
}

// ('storage', type, key, location, number of elements)
LoadedStorage Unpickler::storage_of(const Object& persistent_id) {
  const auto* id = std::get_if<std::shared_ptr<const Arguments>>(&persistent_id);
  if (id == nullptr || (*id)->elements.size() != 5) refuse("a persistent id names no storage");
  const std::vector<Object>& parts = (*id)->elements;
  const auto* global = std::get_if<Global>(&parts[1]);
  const StorageType* const type = global == nullptr ? nullptr : storage_type_named(global->name);
  const IValue kind = plain(parts[0]);
  const IValue key = plain(parts[2]);
  const IValue numel = plain(parts[4]);
  if (type == nullptr || !kind.isString() || kind.toStringRef() != "storage" || !key.isString() || !numel.isInt()) refuse("a persistent id names no storage");
  const auto found = storages_.find(key.toStringRef());
  if (found == storages_.end()) {
    const LoadedStorage loaded = load_storage(*type, key.toStringRef(), numel.toInt());
    storages_[key.toStringRef()] = {type, loaded};
    return loaded;
  }
  if (found->second.first != type || found->second.second.numel != numel.toInt()) refuse("the storage '" + key.toStringRef() + "' is named with two types or sizes");
  return found->second.second;
}

LoadedStorage Unpickler::load_storage(const StorageType& type, const std::string& key, std::int64_t numel) {
  const std::string record = prefix_ + "data/" + key;
  const std::uint64_t bytes = archive_.size(record);
  const auto width = static_cast<std::int64_t>(elementSize(type.type));
  std::int64_t claimed = 0;
  if (numel < 0 || __builtin_mul_overflow(numel, width, &claimed) || static_cast<std::uint64_t>(claimed) != bytes)
    refuse("the storage '" + key + "' of " + std::to_string(numel) + " elements of " + std::to_string(width) + " bytes has " + std::to_string(bytes) + " bytes");
  const LoadedStorage loaded{make_intrusive<StorageImpl>(static_cast<std::size_t>(claimed)), type.type, numel};
  if (numel == 0) return loaded;
  archive_.read(record, loaded.storage->data());
  const auto* first = static_cast<const unsigned char*>(loaded.storage->data());
  if (type.type == kBool && std::any_of(first, first + numel, [](unsigned char value) { return value > 1; })) refuse("the storage '" + key + "' of booleans has a byte that is neither 0 nor 1");
  return loaded;
}
}  // namespace

// %% [markdown]
// A tensor may have any strides, but no element of it may lie outside its storage: the last one is at `offset + sum of (size - 1) * stride`. This is computed with overflow in mind.

// %%
//| export serialize/unpickler.cpp
namespace {
std::vector<std::int64_t> Unpickler::integers_of(const Object& object, const char* what) const {
  const IValue value = plain(object);
  if (!value.isTuple() || value.toTupleRef().elements().size() > 64) refuse(std::string(what) + " of a tensor are no tuple of at most 64 whole numbers");
  std::vector<std::int64_t> integers;
  for (const IValue& element : value.toTupleRef().elements()) {
    if (!element.isInt() || element.toInt() < 0) refuse(std::string(what) + " of a tensor are not all whole numbers from 0 on");
    integers.push_back(element.toInt());
  }
  return integers;
}

// (storage, offset, sizes, strides, requires_grad, hooks); Python may add metadata.
IValue Unpickler::rebuild_tensor(const std::vector<Object>& arguments) {
  if (arguments.size() < 6 || arguments.size() > 7) refuse("_rebuild_tensor_v2 takes six or seven arguments, not " + std::to_string(arguments.size()));
  const auto* on = std::get_if<LoadedStorage>(&arguments[0]);
  if (on == nullptr) refuse("a tensor has no storage");
  const IValue offset = plain(arguments[1]);
  const IValue requires_grad = plain(arguments[4]);
  if (!offset.isInt() || offset.toInt() < 0 || !requires_grad.isBool()) refuse("a tensor has an offset that is no whole number, or a requires_grad that is no boolean");
  const std::vector<std::int64_t> sizes = integers_of(arguments[2], "the sizes");
  const std::vector<std::int64_t> strides = integers_of(arguments[3], "the strides");
  if (sizes.size() != strides.size()) refuse("a tensor has " + std::to_string(sizes.size()) + " sizes and " + std::to_string(strides.size()) + " strides");

  const bool is_empty = std::find(sizes.begin(), sizes.end(), 0) != sizes.end();
  std::int64_t last = offset.toInt();
  std::int64_t numel = 1;
  bool fits = true;
  for (std::size_t d = 0; d < sizes.size() && !is_empty; ++d) {
    std::int64_t reach = 0;
    fits = fits && !__builtin_mul_overflow(sizes[d] - 1, strides[d], &reach) && !__builtin_add_overflow(last, reach, &last) && !__builtin_mul_overflow(numel, sizes[d], &numel);
  }
  if (is_empty ? offset.toInt() > on->numel : !fits || last >= on->numel)
    refuse(str("a tensor of sizes ", IntArrayRef(sizes), " and strides ", IntArrayRef(strides), " from element ", offset.toInt(), " on reaches beyond its storage of ", on->numel, " elements"));
  if (requires_grad.toBool() && !isFloatingType(on->type)) refuse("a tensor of whole numbers claims to require gradients");
  return tensor_on(on->storage, on->type, sizes, strides, offset.toInt(), requires_grad.toBool());
}

// (tensor, requires_grad, hooks)
IValue Unpickler::rebuild_parameter(const std::vector<Object>& arguments) {
  if (arguments.size() != 3) refuse("_rebuild_parameter takes three arguments, not " + std::to_string(arguments.size()));
  const IValue data = plain(arguments[0]);
  const IValue requires_grad = plain(arguments[1]);
  if (!data.isTensor() || !requires_grad.isBool() || (requires_grad.toBool() && !data.toTensor().is_floating_point())) refuse("the arguments of _rebuild_parameter are not what it takes");
  const Tensor& tensor = data.toTensor();
  return tensor_on(tensor.storage(), tensor.scalar_type(), tensor.sizes(), tensor.strides(), tensor.storage_offset(), requires_grad.toBool());
}

Tensor Unpickler::tensor_on(const Storage& storage, ScalarType type, IntArrayRef sizes, IntArrayRef strides, std::int64_t offset, bool requires_grad) const {
  const LayerSet layers = LayerSet(Layer::CPU) | birth_layers;
  const Tensor tensor = created(make_tensor(storage, type, layers, sizes, strides, offset), TensorOptions(type));
  if (requires_grad) tensor.requires_grad_();
  return tensor;
}
}  // namespace

// %% [markdown]
// ### No cycles, no bottomless nesting
//
// A walk over everything that was built, in a loop and not by recursion (it would overflow on exactly the files that it is to refuse). A container that is met again while the walk is still inside it contains itself.

// %%
//| export serialize/unpickler.cpp
namespace {
// The containers in a container, and by what it is known.
const void* identity_of(const IValue& value) {
  if (value.isTuple()) return &value.toTupleRef();
  if (value.isGenericDict()) return value.toGenericDict().id();
  return value.isList() ? value.toList().id() : nullptr;
}

std::vector<IValue> containers_in(const IValue& value) {
  std::vector<IValue> inside;
  const auto add = [&](const IValue& element) {
    if (identity_of(element) != nullptr) inside.push_back(element);
  };
  if (value.isTuple()) std::for_each(value.toTupleRef().elements().begin(), value.toTupleRef().elements().end(), add);
  if (value.isList()) std::for_each(value.toList().begin(), value.toList().end(), add);
  if (value.isGenericDict())
    for (const auto& entry : value.toGenericDict()) add(entry.value());
  return inside;
}

void Unpickler::check_nesting(const IValue& root) const {
  struct Visit {
    const void* id;
    std::vector<IValue> inside;
    int height = 1;  // of what was seen in it so far
  };
  constexpr int kOpen = 0;
  std::unordered_map<const void*, int> heights;  // kOpen while the walk is inside
  std::vector<Visit> path;
  const auto enter = [&](const IValue& value) {
    heights[identity_of(value)] = kOpen;
    path.push_back({identity_of(value), containers_in(value)});
  };
  if (identity_of(root) != nullptr) enter(root);
  while (!path.empty()) {
    Visit& visit = path.back();
    if (path.size() > kMostNesting || visit.height > kMostNesting) refuse("values are nested more than " + std::to_string(kMostNesting) + " deep");
    if (visit.inside.empty()) {
      const int height = visit.height;
      heights[visit.id] = height;
      path.pop_back();
      if (!path.empty()) path.back().height = std::max(path.back().height, height + 1);
      continue;
    }
    const IValue next = visit.inside.back();
    visit.inside.pop_back();
    const auto known = heights.find(identity_of(next));
    if (known == heights.end()) {
      enter(next);
    } else {
      if (known->second == kOpen) refuse("a list or a dictionary contains itself");
      visit.height = std::max(visit.height, known->second + 1);
    }
  }
}
}  // namespace

// %% [markdown]
// ### Loading and saving
//
// The record `data.pkl` stands in the archive's one folder, whatever its name. The byte order is recorded since PyTorch 2.1; before that it was the machine's, and all are little-endian by now.

// %%
//| export serialize/unpickler.cpp
IValue serialize::parse_checkpoint(std::string_view bytes, const std::string& name) {
  const ZipReader archive(bytes, name);
  std::string prefix;
  for (const std::string& record : archive.names()) {
    if (!record.ends_with("/data.pkl") || record.find('/') + 9 != record.size()) continue;
    TORCH_CHECK(prefix.empty(), "cannot load ", name, ": it has two records data.pkl\n[load] the file is damaged.");
    prefix = record.substr(0, record.size() - 8);
  }
  TORCH_CHECK(!prefix.empty(), "cannot load ", name, ": it has no record data.pkl\n[load] the zip archive was not written by torch.save.");
  if (archive.contains(prefix + "byteorder")) {
    const std::string order = archive.read(prefix + "byteorder");
    TORCH_CHECK(order == "little", "cannot load ", name, ": its byte order is '", order, "'\n[load] load and save it on a machine with the byte order 'little'.");
  }
  return Unpickler(archive, prefix, name).load();
}

IValue pickle_load(const std::vector<char>& data) { return serialize::parse_checkpoint({data.data(), data.size()}, "buffer"); }

IValue serialize::load_checkpoint(const std::string& path) { return parse_checkpoint(read_file(path), path); }

// %%
//| export serialize/unpickler.cpp
namespace {
// A value that appears in many places is walked through in each; shared ones could make a small file endless.
constexpr int kMostVisits = 10'000'000;

void collect(const IValue& value, const std::string& path, OrderedDict<std::string, Tensor>& tensors, int& visits) {
  TORCH_CHECK(++visits <= kMostVisits, "named_tensors: the value has more than ", kMostVisits, " parts\n[named_tensors] take the dictionary you need out of it first.");
  const auto below = [&](const std::string& name) { return path.empty() ? name : path + "." + name; };
  if (value.isTensor()) {
    TORCH_CHECK(!tensors.contains(path), "named_tensors: two tensors are called '", path, "'\n[named_tensors] a key with a dot and a nested dictionary spell the same name.");
    tensors.insert(path, value.toTensor());
  } else if (value.isGenericDict()) {
    for (const auto& entry : value.toGenericDict()) {
      if (entry.key().isString()) collect(entry.value(), below(entry.key().toStringRef()), tensors, visits);
      if (entry.key().isInt()) collect(entry.value(), below(std::to_string(entry.key().toInt())), tensors, visits);
    }
  } else if (value.isList() || value.isTuple()) {
    const std::vector<IValue> elements = value.isTuple() ? value.toTupleRef().elements() : value.toList().vec();
    for (std::size_t i = 0; i < elements.size(); ++i) collect(elements[i], below(std::to_string(i)), tensors, visits);
  }
}
}  // namespace

OrderedDict<std::string, Tensor> serialize::named_tensors(const IValue& value) {
  OrderedDict<std::string, Tensor> tensors("Tensor");
  int visits = 0;
  collect(value, "", tensors, visits);
  return tensors;
}

IValue serialize::to_value(const OrderedDict<std::string, Tensor>& state) {
  const Dict<IValue, IValue> value;
  for (const auto& entry : state) value.insert(entry.key(), entry.value());
  return value;
}

// %% [markdown]
// The writer needs no memory of what it wrote: sharing is in the names of the storages. It writes protocol 2, as PyTorch does.

// %%
//| export serialize/pickler.cpp
namespace {
bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    const std::size_t more = first < 0x80 ? 0 : first >= 0xc2 && first < 0xe0 ? 1 : first >= 0xe0 && first < 0xf0 ? 2 : first >= 0xf0 && first < 0xf5 ? 3 : text.size();
    if (more >= text.size() - i) return false;
    std::uint32_t code = more == 0 ? first : first & (0x3fU >> more);
    for (std::size_t k = 1; k <= more; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      code = code << 6 | (next & 0x3fU);
    }
    if ((more == 2 && code < 0x800) || (more == 3 && (code < 0x10000 || code > 0x10ffff)) || (code >= 0xd800 && code < 0xe000)) return false;
    i += more + 1;
  }
  return true;
}

const char* storage_name(ScalarType type) {
  switch (type) {
    case kDouble: return "DoubleStorage";
    case kFloat: return "FloatStorage";
    case kHalf: return "HalfStorage";
    case kBFloat16: return "BFloat16Storage";
    case kLong: return "LongStorage";
    case kInt: return "IntStorage";
    case kShort: return "ShortStorage";
    case kChar: return "CharStorage";
    case kByte: return "ByteStorage";
    case kBool: return "BoolStorage";
    default: throw Error(str("cannot save a tensor of dtype ", type, "\n[pickle_save] convert it with to() first."));
  }
}

// Writes the pickle of a value, and notes the storages that belong to it.
class Pickler {
 public:
  std::string run(const IValue& value) {
    out_ = "\x80\x02";
    write(value, 0);
    return out_ + ".";
  }
  struct Saved {
    Storage storage;
    ScalarType type;
    std::uint64_t bytes() const { return storage->nbytes() / elementSize(type) * elementSize(type); }
  };
  const std::vector<Saved>& storages() const { return storages_; }

 private:
  void number(std::uint64_t value, int width) {
    for (int i = 0; i < width; ++i) out_.push_back(static_cast<char>(value >> (8 * i) & 0xff));
  }
  void write(const IValue& value, int depth);
  void write_integer(std::int64_t value);
  void write_double(double value);
  void write_text(const std::string& text);
  void write_tuple(IntArrayRef values);
  void write_tensor(const Tensor& tensor);

  std::string out_;
  std::vector<Saved> storages_;
  std::map<std::pair<const StorageImpl*, ScalarType>, std::size_t> numbers_;
};

void Pickler::write_integer(std::int64_t value) {
  if (value >= 0 && value < 256) {
    out_ += 'K';
    number(static_cast<std::uint64_t>(value), 1);
  } else if (value >= INT32_MIN && value <= INT32_MAX) {
    out_ += 'J';
    number(static_cast<std::uint64_t>(value), 4);
  } else {
    out_ += "\x8a\x08";
    number(static_cast<std::uint64_t>(value), 8);
  }
}

void Pickler::write_double(double value) {
  const auto bits = std::bit_cast<std::uint64_t>(value);
  out_ += 'G';
  for (int shift = 56; shift >= 0; shift -= 8) out_.push_back(static_cast<char>(bits >> shift & 0xff));
}

void Pickler::write_text(const std::string& text) {
  TORCH_CHECK(is_utf8(text) && text.size() <= UINT32_MAX, "cannot save a text that is not UTF-8\n[pickle_save] Python would not open the file; keep other bytes in a tensor of kByte.");
  out_ += 'X';
  number(text.size(), 4);
  out_ += text;
}

void Pickler::write_tuple(IntArrayRef values) {
  out_ += '(';
  for (const std::int64_t value : values) write_integer(value);
  out_ += 't';
}

void Pickler::write_tensor(const Tensor& tensor) {
  TORCH_CHECK(tensor.defined(), "cannot save an undefined tensor\n[pickle_save] leave it out, or save None.");
  const char* const type = storage_name(tensor.scalar_type());
  const Saved saved{tensor.storage(), tensor.scalar_type()};
  const auto [found, is_new] = numbers_.try_emplace({tensor.storage().get(), tensor.scalar_type()}, storages_.size());
  if (is_new) storages_.push_back(saved);

  out_ += "ctorch._utils\n_rebuild_tensor_v2\n((";
  write_text("storage");
  out_ += std::string("ctorch\n") + type + "\n";
  write_text(std::to_string(found->second));
  write_text("cpu");
  write_integer(static_cast<std::int64_t>(saved.bytes() / elementSize(saved.type)));
  out_ += "tQ";
  write_integer(tensor.storage_offset());
  write_tuple(tensor.sizes());
  write_tuple(tensor.strides());
  out_ += tensor.requires_grad() ? '\x88' : '\x89';
  out_ += "ccollections\nOrderedDict\n)RtR";
}

void Pickler::write(const IValue& value, int depth) {
  TORCH_CHECK(depth < 100, "cannot save values that are nested more than 100 deep\n[pickle_save] does a list or dictionary contain itself?");
  if (value.isNone()) out_ += 'N';
  if (value.isBool()) out_ += value.toBool() ? '\x88' : '\x89';
  if (value.isInt()) write_integer(value.toInt());
  if (value.isDouble()) write_double(value.toDouble());
  if (value.isString()) write_text(value.toStringRef());
  if (value.isTensor()) write_tensor(value.toTensor());
  if (value.isList()) {
    out_ += "](";
    for (const IValue& element : value.toList()) write(element, depth + 1);
    out_ += 'e';
  }
  if (value.isTuple()) {
    out_ += '(';
    for (const IValue& element : value.toTupleRef().elements()) write(element, depth + 1);
    out_ += 't';
  }
  if (value.isGenericDict()) {
    out_ += "}(";
    for (const auto& entry : value.toGenericDict()) {
      write(entry.key(), depth + 1);
      write(entry.value(), depth + 1);
    }
    out_ += 'u';
  }
}

std::string checkpoint_bytes(const IValue& value) {
  Pickler pickler;
  serialize::ZipWriter archive;
  archive.add("archive/data.pkl", pickler.run(value));
  archive.add("archive/byteorder", "little");
  std::size_t number = 0;
  for (const Pickler::Saved& saved : pickler.storages())
    archive.add("archive/data/" + std::to_string(number++), {static_cast<const char*>(saved.storage->data()), saved.bytes()});
  archive.add("archive/version", "3\n");
  return archive.finish();
}
}  // namespace

std::vector<char> pickle_save(const IValue& value) {
  const std::string bytes = checkpoint_bytes(value);
  return {bytes.begin(), bytes.end()};
}

void serialize::save_checkpoint(const IValue& value, const std::string& path) { write_file_atomically(path, checkpoint_bytes(value)); }

// %% [markdown]
// A state that Python would save as `{"model": model.state_dict(), "epoch": 3, ...}`, there and back:

// %%
TEST_CASE("pickle: numbers, texts, lists, tuples, dictionaries and tensors come back as they were") {
  impl::GenericDict inner;
  inner.insert("weight", arange(6, kFloat).view({2, 3}));
  inner.insert("count", tensor(41));
  inner.insert("mask", tensor({true, false, true}));
  impl::GenericDict all;
  all.insert("model", inner);
  all.insert("epoch", 3);
  all.insert("big", std::int64_t{-5000000000});
  all.insert("small", -7);
  all.insert("lr", 0.1);
  all.insert("name", "M\u00fcller \U0001F600");
  all.insert("nothing", IValue());
  all.insert("yes", true);
  all.insert("list", std::vector<std::int64_t>{1, 300, 70000});
  all.insert("tuple", ivalue::Tuple::create({0.9, "x"}));
  all.insert(7, "an integer key");
  const auto read = pickle_load(pickle_save(all)).toGenericDict();
  CHECK_EQ(read.size(), all.size());
  CHECK_EQ(read.at("epoch").toInt(), 3);
  CHECK_EQ(read.at("big").toInt(), -5000000000);
  CHECK_EQ(read.at("small").toInt(), -7);
  CHECK_EQ(read.at("lr").toDouble(), 0.1);
  CHECK_EQ(read.at("name").toStringRef(), "M\u00fcller \U0001F600");
  CHECK(read.at("nothing").isNone());
  CHECK(read.at("yes").toBool());
  CHECK(read.at("list").toIntVector() == std::vector<std::int64_t>{1, 300, 70000});
  CHECK_EQ(read.at("tuple").toTupleRef().elements()[0].toDouble(), 0.9);
  CHECK_EQ(read.at(7).toStringRef(), "an integer key");
  const auto model = read.at("model").toGenericDict();
  CHECK_EQ(model.at("weight").toTensor(), arange(6, kFloat).view({2, 3}));
  CHECK_EQ(model.at("count").toTensor(), tensor(41));
  CHECK_EQ(model.at("mask").toTensor(), tensor({true, false, true}));
  const auto names = serialize::named_tensors(read);
  CHECK(names.keys() == std::vector<std::string>{"model.weight", "model.count", "model.mask"});
}

// %%
TEST_CASE("pickle: tensors that share a storage share it again, with their strides; gradients are asked for again") {
  const Tensor base = arange(12, kDouble);
  impl::GenericDict dict;
  dict.insert("columns", base.view({3, 4}).t());
  dict.insert("row", base.slice(0, 4, 8));
  dict.insert("same", base.view({3, 4}));
  dict.insert("parameter", ones({2}, requires_grad()));
  dict.insert("empty", empty({0, 3}));
  const std::vector<char> bytes = pickle_save(dict);
  const auto read = pickle_load(bytes).toGenericDict();
  const Tensor columns = read.at("columns").toTensor();
  CHECK_EQ(columns, base.view({3, 4}).t());
  CHECK(columns.strides() == IntArrayRef({1, 4}));
  CHECK_EQ(read.at("row").toTensor(), base.slice(0, 4, 8));
  read.at("row").toTensor().fill_(-1.0);
  CHECK_EQ(columns.select(1, 1), full({4}, -1.0, kDouble));  // the same memory
  CHECK_EQ(read.at("same").toTensor().select(0, 1), full({4}, -1.0, kDouble));
  CHECK(read.at("parameter").toTensor().requires_grad());
  CHECK(!columns.requires_grad());
  CHECK(read.at("empty").toTensor().sizes() == IntArrayRef({0, 3}));
  const std::string_view text(bytes.data(), bytes.size());
  CHECK(serialize::ZipReader(text, "").names() ==
        std::vector<std::string>{"archive/byteorder", "archive/data.pkl", "archive/data/0", "archive/data/1", "archive/data/2", "archive/version"});
}

// %%
TEST_CASE("pickle: what cannot be saved is refused") {
  CHECK_ERROR(pickle_save(IValue(Tensor())), "cannot save an undefined tensor");
  CHECK_ERROR(pickle_save("\xff"), "cannot save a text that is not UTF-8");
  impl::GenericList itself;
  itself.push_back(itself);
  CHECK_ERROR(pickle_save(itself), "nested more than 100 deep");
  itself.clear();
}

// %% [markdown]
// ### Files that mean harm
//
// Each of these is what a file could hold in place of weights.

// %%
//| lesson
// An archive with this pickle and a storage '0' of six floats.
std::string archive_with(const std::string& pickle) {
  serialize::ZipWriter archive;
  archive.add("archive/data.pkl", pickle);
  archive.add("archive/data/0", std::string(24, '\0'));
  return archive.finish();
}
IValue load_pickle(const std::string& pickle) { return serialize::parse_checkpoint(archive_with(pickle), "model.pt"); }

// A pickle that builds one tensor on the storage, with these instructions for offset, sizes and strides.
std::string tensor_pickle(const std::string& geometry, const std::string& numel = "K\x06") {
  return "\x80\x02" "ctorch._utils\n_rebuild_tensor_v2\n((X\x07" + std::string(3, '\0') + "storagectorch\nFloatStorage\nX\x01" + std::string(3, '\0') + "0X\x03" + std::string(3, '\0') + "cpu" + numel + "tQ" +
         geometry + "\x89)tR.";
}

// %%
TEST_CASE("pickle: a call of anything but the known functions is refused by its name, before it happens") {
  CHECK_ERROR(load_pickle("\x80\x02" "cposix\nsystem\nX\x04" + std::string(3, '\0') + "true\x85R."), "Unsupported global: GLOBAL posix.system was not an allowed global by default.\n[load] model.pt");
  CHECK_ERROR(load_pickle("\x80\x02" "c__builtin__\neval\n."), "GLOBAL __builtin__.eval");
  CHECK_ERROR(load_pickle("\x80\x04\x8c\x02os\x8c\x06system\x93."), "GLOBAL os.system");
  CHECK_ERROR(load_pickle("\x80\x02" "ctorch.hub\nload\n."), "GLOBAL torch.hub.load");
  CHECK_ERROR(load_pickle("\x80\x02" "ctorch._utils\n_rebuild_tensor_v2\n."), "the function torch._utils._rebuild_tensor_v2 stands where a value should be");
  CHECK_ERROR(load_pickle("\x80\x02" "ccollections\nOrderedDict\nK\x01\x85R."), "the arguments of collections.OrderedDict are not what it takes");
  CHECK_ERROR(load_pickle("\x80\x02i."), "the instruction 0x69, which builds no data");
  // The good ones.
  CHECK(load_pickle("\x80\x02" "ccollections\nOrderedDict\n)R.").toGenericDict().empty());
  CHECK_EQ(load_pickle(tensor_pickle("K\x01K\x02\x85K\x02\x85")).toTensor(), zeros({2}));
}

// %%
TEST_CASE("pickle: no tensor reaches beyond its storage, whatever its numbers") {
  CHECK_ERROR(load_pickle(tensor_pickle("K\x01K\x06\x85K\x01\x85")), "a tensor of sizes [6] and strides [1] from element 1 on reaches beyond its storage of 6 elements");
  CHECK_ERROR(load_pickle(tensor_pickle("K\x01K\x02\x85K\x05\x85")), "reaches beyond its storage");
  CHECK_ERROR(load_pickle(tensor_pickle("J\xff\xff\xff\xffK\x02\x85K\x01\x85")), "an offset that is no whole number");
  CHECK_ERROR(load_pickle(tensor_pickle("K\x05K\x02\x85J\xff\xff\xff\xff\x85")), "the strides of a tensor are not all whole numbers from 0 on");
  CHECK_ERROR(load_pickle(tensor_pickle("K" + std::string(1, '\0') + "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85")), "reaches beyond its storage");
  CHECK_ERROR(load_pickle(tensor_pickle("K" + std::string(1, '\0') + "K\x02K\x03\x86K\x01\x85")), "a tensor has 2 sizes and 1 strides");
  CHECK_ERROR(load_pickle(tensor_pickle("K\x01K\x02\x85K\x01\x85", "K\x07")), "the storage '0' of 7 elements of 4 bytes has 24 bytes");
}

// %%
TEST_CASE("pickle: containers that contain themselves, bottomless nesting and broken programs are refused") {
  CHECK_ERROR(load_pickle("\x80\x02]q\x01h\x01" "a."), "a list or a dictionary contains itself");
  CHECK_ERROR(load_pickle("\x80\x02}q\x01K\x01h\x01s."), "a list or a dictionary contains itself");
  CHECK_ERROR(load_pickle("\x80\x02]q\x01h\x01\x85" "a."), "a list or a dictionary contains itself");
  const int deep = 200000;
  CHECK_ERROR(load_pickle("\x80\x02" + std::string(deep, ']') + std::string(deep - 1, 'a') + "."), "values are nested more than 100 deep");
  CHECK_ERROR(load_pickle("\x80\x02)" + std::string(deep, '\x85') + "."), "values are nested more than 100 deep");
  std::string mixed = "\x80\x02";
  for (int i = 0; i < deep; ++i) mixed += "](";
  for (int i = 0; i < deep; ++i) mixed += "ta";
  CHECK_ERROR(load_pickle(mixed + "."), "values are nested more than 100 deep");

  CHECK_ERROR(load_pickle("\x80\x02"), "the pickle ends in the middle of an instruction");
  CHECK_ERROR(load_pickle("\x80\x02X\xff\xff\xff\xff" "abc."), "the pickle ends in the middle of an instruction");
  CHECK_ERROR(load_pickle("\x80\x02" "a."), "takes a value from an empty stack");
  CHECK_ERROR(load_pickle("\x80\x02]((aK\x01" "e."), "takes a value from an empty stack");
  CHECK_ERROR(load_pickle("\x80\x02t."), "asks for a mark that was not set");
  CHECK_ERROR(load_pickle("\x80\x02h\x05."), "value 5 of its memory, which it has not stored");
  CHECK_ERROR(load_pickle("\x80\x02}]K\x01s."), "a dictionary has a key of kind GenericList");
  CHECK_ERROR(load_pickle("\x80\x02K\x01K\x02."), "ends with 2 values on its stack");
  CHECK_ERROR(load_pickle("\x80\x02\x8a\x09" + std::string(9, '\1') + "."), "a whole number has 9 bytes");
}

// %%
TEST_CASE("pickle: small lists that hold each other twice, ninety deep, cost no more than their bytes") {
  // l0 = [], l1 = [l0, l0], l2 = [l1, l1], ...
  std::string pickle = "\x80\x02]q" + std::string(1, '\0');
  for (char level = 1; level <= 90; ++level) {
    pickle += std::string("](h") + static_cast<char>(level - 1) + "h" + static_cast<char>(level - 1) + "eq" + level;
  }
  // Each list stays on the stack below the next one; the last takes them all.
  pickle += "t";
  pickle.insert(2, "(");
  const IValue value = load_pickle(pickle + ".");
  CHECK_EQ(value.toTupleRef().elements().size(), 91);
  CHECK_ERROR(serialize::named_tensors(value), "the value has more than 10000000 parts");
}

// %% [markdown]
// ## safetensors
//
// Eight bytes of length, a JSON header, the bytes of all tensors one behind the other:
//
//     {"wte.weight": {"dtype": "F32", "shape": [50257, 768], "data_offsets": [0, 154389504]}, ..., "__metadata__": {"format": "pt"}}
//
// A tensor in it is a pointer and a shape. So the file is *mapped*: the operating system lends addresses that stand for the file's bytes and reads a page when somebody touches it. Opening a file of ten gigabytes takes as long as reading its header,
// and processes that open the same file share its pages. The mapping is private: who writes into such a tensor gets a copy of that page, and the file stays as it is.
//
// Module 08's archive is this format with a checksum in its metadata. Here is the reader for other people's files, with mapping, and files in several pieces.

// %%
//| export serialize/safetensors.h
namespace safetensors {

class Mapping;

// A safetensors file, opened. The constructor checks the header and everything it says about the file; the tensors are not read.
// Throws Error if the file cannot be opened or anything in it does not fit: the length of the header, its JSON, a name that is there twice, a dtype, a shape, places that overlap, leave gaps or reach beyond the file.
// Source: safetensors/src/tensor.rs of Hugging Face.
class safe_open {
 public:
  explicit safe_open(const std::string& path);

  // In the order of their bytes in the file.
  const std::vector<std::string>& keys() const { return keys_; }
  bool contains(const std::string& name) const;
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  // The tensor `name`. O(1): it lies in the mapped file, which stays mapped while any tensor of it lives; writing into it changes this process's view and never the file. A tensor that the file does not align is
  // copied. Throws if there is none.
  // REQUIRES: the file is not cut short while the tensor lives.
  Tensor get_tensor(const std::string& name) const;

 private:
  friend OrderedDict<std::string, Tensor> load(std::string_view bytes);
  struct Entry {
    std::string dtype;
    DimVector sizes;
    std::uint64_t begin = 0;  // in the data
    std::uint64_t end = 0;
  };
  safe_open(std::string_view bytes, std::string name);
  void parse(std::string_view bytes);
  void check_ranges(std::uint64_t data_bytes) const;

  std::string name_;
  std::shared_ptr<Mapping> mapping_;
  std::string_view data_;
  std::map<std::string, Entry> entries_;
  std::vector<std::string> keys_;
  std::map<std::string, std::string> metadata_;
};

// All tensors of a file, mapped as safe_open::get_tensor does, and of bytes in memory, copied.
OrderedDict<std::string, Tensor> load_file(const std::string& path);
OrderedDict<std::string, Tensor> load(std::string_view bytes);

// The bytes of a file with these tensors, as Python's safetensors.torch.save makes them; and the file, written atomically. A tensor that is not contiguous is written as if it were; tensors that share memory are written twice.
std::string save(const OrderedDict<std::string, Tensor>& tensors, const std::map<std::string, std::string>& metadata = {});
void save_file(const OrderedDict<std::string, Tensor>& tensors, const std::string& path, const std::map<std::string, std::string>& metadata = {});

// Large models come in several files with an index. load_sharded takes the folder, the index or a single file; save_sharded writes model.safetensors, or model-00001-of-0000N.safetensors and so on with at most `max_shard_size` bytes of
// tensors each (one tensor may be larger) and the index model.safetensors.index.json, which is written last.
// Throws Error if the index names a file outside its folder, a tensor that its file does not hold, or a tensor in a file that the index does not name.
OrderedDict<std::string, Tensor> load_sharded(const std::string& path);
void save_sharded(const OrderedDict<std::string, Tensor>& tensors, const std::string& folder, std::uint64_t max_shard_size = 5'000'000'000);

}  // namespace safetensors

// %% [markdown]
// ### The file in memory

// %%
//| export serialize/safetensors.cpp
// The bytes of a file, lent by the operating system until the last owner is gone.
class safetensors::Mapping {
 public:
  explicit Mapping(const std::string& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    TORCH_CHECK(file >= 0, "No such file or directory: ", path, "\n[safe_open] cannot open it: ", std::strerror(errno), "; relative paths begin at the current folder.");
    struct stat status {};
    const bool regular = ::fstat(file, &status) == 0 && S_ISREG(status.st_mode);
    size_ = regular ? static_cast<std::size_t>(status.st_size) : 0;
    if (size_ > 0) address_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    const int error = errno;
    ::close(file);
    TORCH_CHECK(regular, "cannot map ", path, ": it is not a regular file\n[safe_open] a folder, pipe or device cannot be mapped.");
    TORCH_CHECK(address_ != MAP_FAILED, "cannot map ", path, ": ", std::strerror(error));
  }
  ~Mapping() {
    if (address_ != nullptr && address_ != MAP_FAILED) ::munmap(address_, size_);
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  std::string_view bytes() const { return {static_cast<const char*>(address_), size_}; }

 private:
  void* address_ = nullptr;
  std::size_t size_ = 0;
};

// %% [markdown]
// ### The header
//
// The JSON parser would take the last of two equal names, so duplicates are looked for while it parses.

// %%
//| export serialize/safetensors.cpp
namespace {
using nlohmann::json;

[[noreturn]] void refuse(const std::string& name, const std::string& why) {
  throw Error("Error while deserializing header: " + why + "\n[safetensors] " + name + " is damaged or no safetensors file; fetch or write it again.");
}

// The JSON object in `text`, in which no object has a key twice and nothing is nested deeper than the formats need.
json parse_object(std::string_view text, const std::string& name) {
  std::vector<std::set<std::string>> keys;
  const json::parser_callback_t watch = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > 8) refuse(name, "its JSON is nested more than 8 deep");
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second) refuse(name, "the name " + value.dump(-1, ' ', true, json::error_handler_t::replace) + " is there twice");
    return true;
  };
  json parsed = json::parse(text, watch, false);
  if (!parsed.is_object()) refuse(name, "its JSON is not one object");
  return parsed;
}

struct FileType {
  const char* name;
  ScalarType type;
};
// In the order in which the format's library writes them.
constexpr FileType kFileTypes[] = {{"I64", kLong}, {"F64", kDouble}, {"F32", kFloat}, {"I32", kInt}, {"BF16", kBFloat16}, {"F16", kHalf}, {"I16", kShort}, {"I8", kChar}, {"U8", kByte}, {"BOOL", kBool}};

const FileType* file_type_named(const std::string& name) {
  for (const FileType& type : kFileTypes)
    if (name == type.name) return &type;
  return nullptr;
}

const FileType& file_type_of(ScalarType scalar_type) {
  for (const FileType& type : kFileTypes)
    if (type.type == scalar_type) return type;
  throw Error(str("cannot save a tensor of dtype ", scalar_type, "\n[safetensors] convert it with to() first."));
}
}  // namespace

safetensors::safe_open::safe_open(const std::string& path) : name_(path), mapping_(std::make_shared<Mapping>(path)) { parse(mapping_->bytes()); }
safetensors::safe_open::safe_open(std::string_view bytes, std::string name) : name_(std::move(name)) { parse(bytes); }
bool safetensors::safe_open::contains(const std::string& name) const { return entries_.contains(name); }

void safetensors::safe_open::parse(std::string_view bytes) {
  constexpr std::uint64_t kLongestHeader = 100'000'000;  // as the format's own library
  if (bytes.size() < 8) refuse(name_, "header too small: the file has " + std::to_string(bytes.size()) + " bytes");
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < 8; ++i) length |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  if (length > kLongestHeader) refuse(name_, "header too large: " + std::to_string(length) + " bytes");
  if (length > bytes.size() - 8) refuse(name_, "invalid header length: " + std::to_string(length) + " bytes of header, but only " + std::to_string(bytes.size() - 8) + " follow");
  if (length == 0 || bytes[8] != '{') refuse(name_, "invalid header start: it does not begin with {");
  data_ = bytes.substr(8 + length);

  const json header = parse_object(bytes.substr(8, length), name_);
  for (const auto& [key, value] : header.items()) {
    if (key == "__metadata__") {
      if (!value.is_object()) refuse(name_, "__metadata__ is not an object");
      for (const auto& [word, text] : value.items()) {
        if (!text.is_string()) refuse(name_, "the metadata '" + word + "' is not a text");
        metadata_[word] = text.get<std::string>();
      }
      continue;
    }
    const auto fail = [&, &tensor = key](const std::string& why) { refuse(name_, "tensor '" + tensor + "' " + why); };
    if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") || !value.contains("data_offsets")) fail("has not exactly dtype, shape and data_offsets");
    const json& shape = value["shape"];
    const json& offsets = value["data_offsets"];
    if (!value["dtype"].is_string() || file_type_named(value["dtype"].get<std::string>()) == nullptr)
      fail("has the dtype " + value["dtype"].dump(-1, ' ', true, json::error_handler_t::replace) + ", which is not supported");
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned()) fail("has data_offsets that are not two whole numbers");
    Entry entry{.dtype = value["dtype"].get<std::string>(), .sizes = {}, .begin = offsets[0].get<std::uint64_t>(), .end = offsets[1].get<std::uint64_t>()};
    if (entry.begin > entry.end || entry.end > data_.size()) fail("lies at bytes " + offsets.dump() + " of " + std::to_string(data_.size()));
    // A damaged file may claim any sizes: their product must not overflow on the way.
    std::uint64_t nbytes = elementSize(file_type_named(entry.dtype)->type);
    bool fits = shape.is_array() && shape.size() <= 64;
    for (std::size_t d = 0; fits && d < shape.size(); ++d) {
      fits = shape[d].is_number_unsigned() && shape[d].get<std::uint64_t>() < std::uint64_t{1} << 62 && !__builtin_mul_overflow(nbytes, shape[d].get<std::uint64_t>(), &nbytes);
      if (fits) entry.sizes.push_back(shape[d].get<std::int64_t>());
    }
    if (!fits || nbytes != entry.end - entry.begin) fail("of shape " + shape.dump(-1, ' ', true, json::error_handler_t::replace).substr(0, 100) + " and dtype " + entry.dtype + " does not fit its " + std::to_string(entry.end - entry.begin) + " bytes");
    entries_.emplace(key, std::move(entry));
    keys_.push_back(key);
  }
  std::stable_sort(keys_.begin(), keys_.end(), [this](const std::string& a, const std::string& b) { return std::pair(entries_[a].begin, entries_[a].end) < std::pair(entries_[b].begin, entries_[b].end); });
  check_ranges(data_.size());
}

// The tensors follow each other without a gap or an overlap, from the first byte to the last: nothing can be hidden between them.
void safetensors::safe_open::check_ranges(std::uint64_t data_bytes) const {
  std::uint64_t used = 0;
  for (const std::string& key : keys_) {
    const Entry& entry = entries_.at(key);
    if (entry.begin != used)
      refuse(name_, "tensor '" + key + "' begins at byte " + std::to_string(entry.begin) + " of the data, where the one before it ends at " + std::to_string(used));
    used = entry.end;
  }
  if (used != data_bytes) refuse(name_, "the tensors end at byte " + std::to_string(used) + " of the data, which has " + std::to_string(data_bytes));
}

// %%
//| export serialize/safetensors.cpp
Tensor safetensors::safe_open::get_tensor(const std::string& name) const {
  const auto found = entries_.find(name);
  TORCH_CHECK(found != entries_.end(), "File does not contain tensor ", name, "\n[get_tensor] ", name_, " has ", keys_.size(), " tensors; keys() lists them.");
  const Entry& entry = found->second;
  const ScalarType type = file_type_named(entry.dtype)->type;
  const std::size_t nbytes = entry.end - entry.begin;
  const char* const begin = data_.data() + entry.begin;
  if (nbytes == 0) return empty(entry.sizes, type);
  if (type == kBool && std::any_of(begin, begin + nbytes, [](char byte) { return static_cast<unsigned char>(byte) > 1; }))
    refuse(name_, "tensor '" + name + "' of dtype BOOL holds a byte that is neither 0 nor 1");

  const bool aligned = reinterpret_cast<std::uintptr_t>(begin) % elementSize(type) == 0;
  if (mapping_ != nullptr && aligned) return from_blob(const_cast<char*>(begin), entry.sizes, [mapping = mapping_](void*) {}, type);
  const Tensor copy = empty(entry.sizes, type);
  std::memcpy(copy.data_ptr(), begin, nbytes);
  return copy;
}

OrderedDict<std::string, Tensor> safetensors::load(std::string_view bytes) {
  const safe_open file(bytes, "buffer");
  OrderedDict<std::string, Tensor> tensors("Tensor");
  for (const std::string& key : file.keys()) tensors.insert(key, file.get_tensor(key));
  return tensors;
}

OrderedDict<std::string, Tensor> safetensors::load_file(const std::string& path) {
  const safe_open file(path);
  OrderedDict<std::string, Tensor> tensors("Tensor");
  for (const std::string& key : file.keys()) tensors.insert(key, file.get_tensor(key));
  return tensors;
}

// %% [markdown]
// The writer puts the widest elements first, so that every tensor begins on a multiple of its element's size, then orders by dtype and name: the same tensors make the same bytes, and they are the bytes that Python's package writes.

// %%
//| export serialize/safetensors.cpp
std::string safetensors::save(const OrderedDict<std::string, Tensor>& tensors, const std::map<std::string, std::string>& metadata) {
  std::vector<std::pair<std::string, Tensor>> ordered = tensors.pairs();
  for (const auto& [name, tensor] : ordered) {
    TORCH_CHECK_VALUE(name != "__metadata__", "cannot save a tensor called __metadata__\n[safetensors] the format keeps this name for itself.");
    TORCH_CHECK(tensor.defined(), "cannot save the undefined tensor '", name, "'\n[safetensors] leave it out.");
  }
  const auto place = [](const auto& entry) { return std::pair(&file_type_of(entry.second.scalar_type()), std::string_view(entry.first)); };
  std::sort(ordered.begin(), ordered.end(), [&](const auto& a, const auto& b) { return place(a) < place(b); });
  std::string data;
  std::string header = "{";
  try {
    if (!metadata.empty()) header += "\"__metadata__\":" + json(metadata).dump() + ",";
    for (const auto& [name, tensor] : ordered) {
      const Tensor dense = tensor.detach().contiguous();
      const std::size_t begin = data.size();
      if (dense.nbytes() > 0) data.append(static_cast<const char*>(dense.data_ptr()), dense.nbytes());
      header += json(name).dump() + ":{\"dtype\":\"" + file_type_of(dense.scalar_type()).name + "\",\"shape\":" + json(dense.sizes().vec()).dump() + ",\"data_offsets\":[" + std::to_string(begin) + "," +
                std::to_string(data.size()) + "]},";
    }
  } catch (const json::exception&) {
    throw Error("cannot save: a name or a metadata text is not UTF-8\n[safetensors] the header is JSON.");
  }
  if (header.back() == ',') header.pop_back();
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
  return file + header + data;
}

void safetensors::save_file(const OrderedDict<std::string, Tensor>& tensors, const std::string& path, const std::map<std::string, std::string>& metadata) {
  serialize::write_file_atomically(path, save(tensors, metadata));
}

// %%
TEST_CASE("safetensors: every dtype comes back, mapped, and writing into a tensor leaves the file as it is") {
  const tito::Scratch scratch;
  OrderedDict<std::string, Tensor> tensors;
  for (const ScalarType type : {kBool, kByte, kChar, kShort, kInt, kLong, kHalf, kBFloat16, kFloat, kDouble}) tensors.insert(toString(type), tensor({0, 1, 1, 0, 1, 1}).view({2, 3}).to(type));
  tensors.insert("scalar", scalar_tensor(2.5));
  tensors.insert("empty", empty({0, 4}));
  tensors.insert("columns", arange(6, kFloat).view({2, 3}).t());
  safetensors::save_file(tensors, scratch.path("a.safetensors"), {{"format", "pt"}});
  const safetensors::safe_open file(scratch.path("a.safetensors"));
  CHECK_EQ(file.metadata().at("format"), "pt");
  CHECK_EQ(file.keys().size(), tensors.size());
  for (const auto& entry : tensors) CHECK_EQ(file.get_tensor(entry.key()), entry.value());
  CHECK_ERROR(file.get_tensor("bias"), "File does not contain tensor bias");

  const std::string before = serialize::read_file(scratch.path("a.safetensors"));
  const std::size_t taken = memory::stats().live;
  const Tensor mapped = safetensors::load_file(scratch.path("a.safetensors"))["Double"];
  CHECK_EQ(memory::stats().live, taken);  // no memory of ours
  mapped.fill_(7.0);
  CHECK_EQ(mapped.sum().item<double>(), 42.0);
  CHECK_EQ(serialize::read_file(scratch.path("a.safetensors")), before);
  CHECK_EQ(safetensors::load(before)["Double"].sum().item<double>(), 4.0);
  CHECK_ERROR(safetensors::safe_open(scratch.path("b.safetensors")), "No such file or directory: " + scratch.path("b.safetensors"));
  CHECK_ERROR(safetensors::safe_open(scratch.path("")), "it is not a regular file");
}

// %%
//| lesson
// A file with this header and `bytes` bytes of data.
std::string file_with(const std::string& header, std::size_t bytes) {
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(header.size() >> (8 * i) & 0xff);
  return file + header + std::string(bytes, '\0');
}

// %%
TEST_CASE("safetensors: numbers of sixteen bits") {
  std::string file = file_with(R"({"h":{"dtype":"F16","shape":[6],"data_offsets":[0,12]},"b":{"dtype":"BF16","shape":[3],"data_offsets":[12,18]}})", 0);
  for (const unsigned bits : {0x3c00U, 0xc000U, 0x7bffU, 0x0001U, 0x8000U, 0x7c00U, 0x3f80U, 0xc020U, 0x0080U}) {
    file.push_back(static_cast<char>(bits & 0xff));
    file.push_back(static_cast<char>(bits >> 8));
  }
  const auto tensors = safetensors::load(file);
  CHECK_EQ(tensors["h"].scalar_type(), kHalf);
  CHECK_EQ(tensors["b"].scalar_type(), kBFloat16);
  const Tensor half = tensors["h"].to(kFloat);
  const double expected[] = {1.0, -2.0, 65504.0, 0x1p-24, -0.0, std::numeric_limits<double>::infinity()};
  for (std::int64_t i = 0; i < 6; ++i) CHECK_EQ(half[i].item<double>(), expected[i]);
  CHECK(std::signbit(half[4].item<double>()));
  CHECK_EQ(tensors["b"].to(kFloat), tensor({1.0, -2.5, 0x1p-126}));
}

// %%
TEST_CASE("safetensors: every number of the header is checked") {
  const auto load = [](const std::string& header, std::size_t bytes = 8) { return safetensors::load(file_with(header, bytes)); };
  CHECK_EQ(load(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}   )")["a"], zeros({2}));
  CHECK_EQ(safetensors::load(file_with("{}", 0)).size(), 0);
  CHECK_ERROR(safetensors::load("1234567"), "header too small: the file has 7 bytes\n[safetensors] buffer");
  CHECK_ERROR(safetensors::load(std::string(8, '\xff')), "header too large: 18446744073709551615 bytes");
  CHECK_ERROR(safetensors::load(file_with("{}", 0).substr(0, 9)), "invalid header length: 2 bytes of header, but only 1 follow");
  CHECK_ERROR(load(" {}", 0), "invalid header start");
  CHECK_ERROR(load("{\"a\":", 0), "its JSON is not one object");
  CHECK_ERROR(load(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})"), "the name \"a\" is there twice");
  CHECK_ERROR(load(R"({"a":{"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]}})"), "the name \"dtype\" is there twice");
  CHECK_ERROR(load(R"({"a":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}})"), "tensor 'a' has the dtype \"C64\", which is not supported");
  CHECK_ERROR(load(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})"), "tensor 'a' of shape [3] and dtype F32 does not fit its 8 bytes");
  CHECK_ERROR(load(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})"), "tensor 'a' of shape [-2]");
  CHECK_ERROR(load(R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})"), "tensor 'a' of shape [4294967296,4294967296]");
  CHECK_ERROR(load(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,16]}})"), "tensor 'a' lies at bytes [0,16] of 8");
  CHECK_ERROR(load(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})"), "tensor 'a' lies at bytes [8,0] of 8");
  CHECK_ERROR(load(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8.0]}})"), "data_offsets that are not two whole numbers");
  CHECK_ERROR(load(R"({"a":{"dtype":"U8","shape":[6],"data_offsets":[0,6]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})"), "tensor 'b' begins at byte 4 of the data, where the one before it ends at 6");
  CHECK_ERROR(load(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})"), "tensor 'b' begins at byte 4 of the data, where the one before it ends at 2");
  CHECK_ERROR(load(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})"), "the tensors end at byte 2 of the data, which has 8");
  CHECK_ERROR(load(R"({"__metadata__":{"format":1}})", 0), "the metadata 'format' is not a text");
  CHECK_ERROR(load(R"({"a":)" + std::string(100000, '[') + std::string(100000, ']') + "}", 0), "nested more than 8 deep");
  std::string flags = file_with(R"({"a":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}})", 0) + "\x02";
  CHECK_ERROR(safetensors::load(flags), "tensor 'a' of dtype BOOL holds a byte that is neither 0 nor 1");
  OrderedDict<std::string, Tensor> reserved;
  reserved.insert("__metadata__", ones({1}));
  CHECK_ERROR(safetensors::save(reserved), "cannot save a tensor called __metadata__");
}

// %% [markdown]
// ### In several files
//
//     model.safetensors.index.json          {"metadata": {"total_size": 548105171}, "weight_map": {"wte.weight": "model-00001-of-00002.safetensors", ...}}
//     model-00001-of-00002.safetensors
//     model-00002-of-00002.safetensors
//
// The index comes from outside too. A name like `../../secret` in it must not lead the reader anywhere.

// %%
//| export serialize/safetensors.cpp
namespace {
constexpr const char* kIndexName = "model.safetensors.index.json";

OrderedDict<std::string, Tensor> load_by_index(const std::filesystem::path& index) {
  const json content = parse_object(serialize::read_file(index.string()), index.string());
  if (!content.contains("weight_map") || !content["weight_map"].is_object()) refuse(index.string(), "the index has no weight_map");
  std::map<std::string, std::set<std::string>> names_in;
  for (const auto& [name, file] : content["weight_map"].items()) {
    if (!file.is_string()) refuse(index.string(), "the index names no file for tensor '" + name + "'");
    const std::string file_name = file.get<std::string>();
    if (file_name.find('/') != std::string::npos || file_name.find('\0') != std::string::npos || !file_name.ends_with(".safetensors"))
      refuse(index.string(), "the index names the file '" + file_name + "', which is no safetensors file beside it");
    names_in[file_name].insert(name);
  }
  OrderedDict<std::string, Tensor> tensors("Tensor");
  for (const auto& [file_name, names] : names_in) {
    const safetensors::safe_open file((index.parent_path() / file_name).string());
    for (const std::string& name : names)
      if (!file.contains(name)) refuse(index.string(), "the index says that tensor '" + name + "' is in " + file_name + ", which does not hold it");
    for (const std::string& name : file.keys()) {
      if (!names.contains(name)) refuse(index.string(), file_name + " holds tensor '" + name + "', which the index does not place there");
      tensors.insert(name, file.get_tensor(name));
    }
  }
  return tensors;
}
}  // namespace

OrderedDict<std::string, Tensor> safetensors::load_sharded(const std::string& path) {
  if (path.ends_with(".json")) return load_by_index(path);
  if (!std::filesystem::is_directory(path)) return load_file(path);
  const std::filesystem::path folder(path);
  if (std::filesystem::exists(folder / kIndexName)) return load_by_index(folder / kIndexName);
  return load_file((folder / "model.safetensors").string());
}

void safetensors::save_sharded(const OrderedDict<std::string, Tensor>& tensors, const std::string& folder, std::uint64_t max_shard_size) {
  std::vector<OrderedDict<std::string, Tensor>> shards(1);
  std::uint64_t in_shard = 0;
  std::uint64_t total = 0;
  for (const auto& entry : tensors) {
    TORCH_CHECK(entry.value().defined(), "cannot save the undefined tensor '", entry.key(), "'\n[safetensors] leave it out.");
    if (!shards.back().is_empty() && in_shard + entry.value().nbytes() > max_shard_size) {
      shards.emplace_back();
      in_shard = 0;
    }
    shards.back().insert(entry.key(), entry.value());
    in_shard += entry.value().nbytes();
    total += entry.value().nbytes();
  }
  const std::filesystem::path root(folder);
  const std::map<std::string, std::string> metadata{{"format", "pt"}};
  if (shards.size() == 1) {
    save_file(tensors, (root / "model.safetensors").string(), metadata);
    std::filesystem::remove(root / kIndexName);  // of a larger model that was here before: it would be read in place of this one
    return;
  }
  const auto five_digits = [](std::size_t number) {
    const std::string digits = std::to_string(number);
    return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
  };
  json index = {{"metadata", {{"total_size", total}}}, {"weight_map", json::object()}};
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string name = "model-" + five_digits(i + 1) + "-of-" + five_digits(shards.size()) + ".safetensors";
    save_file(shards[i], (root / name).string(), metadata);
    for (const auto& entry : shards[i]) index["weight_map"][entry.key()] = name;
  }
  serialize::write_file_atomically((root / kIndexName).string(), index.dump(2) + "\n");
  std::filesystem::remove(root / "model.safetensors");  // of a smaller one: Hugging Face's readers would take it first
}

// %%
TEST_CASE("safetensors: a model in several files, and an index that lies") {
  const tito::Scratch scratch;
  OrderedDict<std::string, Tensor> tensors;
  for (int i = 0; i < 5; ++i) tensors.insert("layer." + std::to_string(i), full({10}, i, kFloat));
  safetensors::save_sharded(tensors, scratch.path("."), 100);  // two tensors of 40 bytes each
  CHECK(std::filesystem::exists(scratch.path("model-00003-of-00003.safetensors")));
  for (const std::string& from : {scratch.path("."), scratch.path("model.safetensors.index.json")}) {
    const auto read = safetensors::load_sharded(from);
    CHECK_EQ(read.size(), 5);
    for (const auto& entry : tensors) CHECK_EQ(read[entry.key()], entry.value());
  }
  CHECK_EQ(safetensors::load_sharded(scratch.path("model-00001-of-00003.safetensors")).size(), 2);

  const std::string index = serialize::read_file(scratch.path("model.safetensors.index.json"));
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = index;
    changed.replace(changed.find(from), from.size(), to);
    std::ofstream(scratch.path("changed.json")) << changed;
    return safetensors::load_sharded(scratch.path("changed.json"));
  };
  CHECK_ERROR(with("\"model-00001", "\"../model-00001"), "which is no safetensors file beside it");
  CHECK_ERROR(with("layer.0", "layer.9"), "the index says that tensor 'layer.9' is in model-00001-of-00003.safetensors, which does not hold it");
  CHECK_ERROR(with("model-00003-of-00003", "model-00009-of-00003"), "No such file or directory");
  CHECK_ERROR(with("weight_map", "weights"), "the index has no weight_map");

  // Another model in the same folder: what is read is what was saved last.
  OrderedDict<std::string, Tensor> other;
  for (int i = 0; i < 5; ++i) other.insert("layer." + std::to_string(i), full({10}, i + 7, kFloat));
  safetensors::save_sharded(other, scratch.path("."), 1000);
  CHECK_EQ(safetensors::load_file(scratch.path("model.safetensors")).size(), 5);
  CHECK_EQ(safetensors::load_sharded(scratch.path("."))["layer.4"], full({10}, 11, kFloat));
  safetensors::save_sharded(tensors, scratch.path("."), 100);
  CHECK_EQ(safetensors::load_sharded(scratch.path("."))["layer.4"], full({10}, 4, kFloat));
  CHECK_FALSE(std::filesystem::exists(scratch.path("model.safetensors")));
}

// %% [markdown]
// ## A model's weights
//
// Both readers give named tensors, and `load_state_dict` puts them into a module that has these names. Module 08's `load(model, path)` opens PyTorch's files as well, by this reader: it knows them by their first bytes. (`save(model, path)` writes safetensors,
// whatever the file is called; `serialize::save_checkpoint` writes what Python's `torch.load` opens.)

// %%
//| export serialize/unpickler.cpp
//| registers
void register_pytorch_files() {
  serialize::read_pytorch_file = [](std::string_view bytes, const std::string& name) {
    std::map<std::string, Tensor> tensors;
    for (const auto& entry : serialize::named_tensors(serialize::parse_checkpoint(bytes, name))) tensors[entry.key()] = entry.value().detach();
    return tensors;
  };
}

// %%
TEST_CASE("a module's state_dict travels through both formats") {
  const tito::Scratch scratch;
  manual_seed(1);
  nn::Sequential model(nn::Linear(4, 3), nn::Linear(3, 2));
  serialize::save_checkpoint(serialize::to_value(model->state_dict()), scratch.path("model.pt"));
  safetensors::save_file(model->state_dict(), scratch.path("model.safetensors"));
  const Tensor input = ones({1, 4});
  const Tensor expected = model->forward(input);
  for (const bool pickled : {true, false}) {
    nn::Sequential fresh(nn::Linear(4, 3), nn::Linear(3, 2));
    const auto state = pickled ? serialize::named_tensors(serialize::load_checkpoint(scratch.path("model.pt"))) : safetensors::load_file(scratch.path("model.safetensors"));
    const auto keys = fresh->load_state_dict(state);
    CHECK(keys.missing_keys.empty());
    CHECK_EQ(fresh->forward(input), expected);
  }
}

// %% [markdown]
// ### A module with a word to say
//
// `save` and `load` are virtual, as in libtorch. The default writes the module's own tensors and lets each child write its part under its name; an override calls it and adds to the archive. A child may even write something else than its tensors:
// then nothing can be checked beforehand, each module reads what it wrote, and what was read is put back if one of them throws.

// %%
//| lesson
// Keeps how many examples it has seen beside its layer.
struct CountingImpl : nn::Module {
  CountingImpl() { layer = register_module("layer", nn::Linear(2, 1)); }
  void save(serialize::OutputArchive& archive) const override {
    Module::save(archive);
    archive.write("seen", seen);
  }
  void load(serialize::InputArchive& archive) override {
    Module::load(archive);
    archive.read("seen", seen);
  }
  nn::Linear layer{nullptr};
  std::int64_t seen = 0;
};

// Stores its weight's sum only.
struct PackedImpl : nn::Module {
  explicit PackedImpl(bool broken = false) : broken_(broken) { weight = register_parameter("weight", zeros({3})); }
  void save(serialize::OutputArchive& archive) const override { archive.write("sum", weight.sum().item<double>()); }
  void load(serialize::InputArchive& archive) override {
    double sum = 0;
    archive.read("sum", sum);
    const AutoDispatchBelowAutograd below_autograd;
    weight.fill_(sum / 3);
    TORCH_CHECK(!broken_, "cannot unpack");
  }
  Tensor weight;
  bool broken_;
};

struct PartsImpl : nn::Module {
  explicit PartsImpl(bool packed, bool broken = false) {
    first = register_module("first", std::make_shared<CountingImpl>());
    if (packed) second = register_module("second", std::make_shared<PackedImpl>(broken));
  }
  std::shared_ptr<CountingImpl> first;
  std::shared_ptr<PackedImpl> second;
};

// %%
TEST_CASE("save and load: a module that overrides them keeps what it adds, wherever it stands in the tree") {
  for (const bool packed : {false, true}) {
    CAPTURE(packed);
    auto model = std::make_shared<PartsImpl>(packed), other = std::make_shared<PartsImpl>(packed);
    model->first->seen = 7;
    if (packed) model->second->weight.detach().fill_(2);
    std::stringstream stream;
    save(model, stream);
    load(other, stream);
    CHECK_EQ(other->first->seen, 7);
    CHECK_EQ(other->first->layer->weight.detach(), model->first->layer->weight.detach());
    if (packed) CHECK_EQ(other->second->weight.detach(), full({3}, 2.0));
  }
  auto model = std::make_shared<PartsImpl>(true), broken = std::make_shared<PartsImpl>(true, true);
  const Tensor before = broken->first->layer->weight.detach().clone();
  std::stringstream stream;
  save(model, stream);
  CHECK_ERROR(load(broken, stream), "No such serialized tensor 'second.weight'");
  CHECK_EQ(broken->first->layer->weight.detach(), before);
  CHECK_EQ(broken->second->weight.detach(), zeros({3}));
}

// %%
TEST_CASE("load() opens PyTorch's files too, and refuses what does not fit") {
  const tito::Scratch scratch;
  manual_seed(1);
  nn::Linear layer(4, 3);
  impl::GenericDict checkpoint;
  checkpoint.insert("model", serialize::to_value(layer->state_dict()));
  checkpoint.insert("epoch", 3);
  serialize::save_checkpoint(serialize::to_value(layer->state_dict()), scratch.path("state.pt"));
  serialize::save_checkpoint(checkpoint, scratch.path("checkpoint.pt"));

  nn::Linear fresh(4, 3);
  load(fresh, scratch.path("state.pt"));
  CHECK_EQ(fresh->weight.detach(), layer->weight.detach());
  CHECK(fresh->weight.requires_grad());
  nn::Linear other(4, 3);
  CHECK_ERROR(load(other, scratch.path("checkpoint.pt")), "No such serialized tensor 'weight'");
  serialize::InputArchive archive;
  archive.load_from(scratch.path("checkpoint.pt"));
  serialize::InputArchive model;
  archive.read("model", model);
  other->load(model);
  CHECK_EQ(other->bias.detach(), layer->bias.detach());
  nn::Linear larger(5, 3);
  CHECK_ERROR(load(larger, scratch.path("state.pt")), "size mismatch for weight");
}

// %%
}  // namespace tinytorch
