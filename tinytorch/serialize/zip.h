// From the lesson modules/53_weights/weights_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace tinytorch {

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

}  // namespace tinytorch
