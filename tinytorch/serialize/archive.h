// From the lesson modules/08_training/training_dev.cpp:
// edit the module, not this file.
#pragma once

#include <iosfwd>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tinytorch/core/tensor.h"

namespace tinytorch {

namespace serialize {

// Named tensors and values to write. Names are joined by dots where archives are nested. The file is a safetensors file:
// eight bytes of length, a JSON header with name, dtype, shape and place of each tensor, then the bytes; values and a checksum stand in
// the header's metadata. Python's safetensors opens it. Source: torch/csrc/api/include/torch/serialize/output-archive.h.
class OutputArchive {
 public:
  void write(const std::string& key, const Tensor& tensor, bool is_buffer = false);
  void write(const std::string& key, std::int64_t value);
  void write(const std::string& key, double value);
  void write(const std::string& key, const std::string& value);
  void write(const std::string& key, const OutputArchive& nested);

  void save_to(const std::string& path) const;  // atomically
  void save_to(std::ostream& stream) const;
  std::string bytes() const;

 private:
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> values_;
};

}  // namespace serialize

namespace serialize {

// What an OutputArchive wrote. Loading checks the whole file before anything is used, and executes nothing.
class InputArchive {
 public:
  void load_from(const std::string& path);
  void load_from(std::istream& stream);
  void load_from_bytes(std::string_view bytes, const std::string& name);

  // Throws if the archive has no such key, or a value of another kind.
  void read(const std::string& key, Tensor& tensor, bool is_buffer = false) const;
  void read(const std::string& key, std::int64_t& value) const;
  void read(const std::string& key, double& value) const;
  void read(const std::string& key, std::string& value) const;
  void read(const std::string& key, InputArchive& nested) const;  // everything below `key.`
  bool try_read(const std::string& key, Tensor& tensor, bool is_buffer = false) const;
  bool try_read(const std::string& key, InputArchive& nested) const;
  std::vector<std::string> keys() const;
  const std::string& name() const { return name_; }

 private:
  std::string name_ = "archive";
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> values_;
};

}  // namespace serialize

}  // namespace tinytorch
