// From the lesson modules/63_archives/archives_dev.cpp:
// edit the module, not this file.
#pragma once

#include <concepts>
#include <functional>
#include <iosfwd>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tinytorch/core/ivalue.h"
#include "tinytorch/core/tensor.h"

namespace tinytorch {

namespace serialize {

// Named tensors and values to write. Names are joined by dots where archives are nested. The file is a safetensors file: eight bytes of length, a JSON header with name, dtype, shape and place of each tensor, then
// the bytes; values and a checksum stand in the header's metadata. Python's safetensors opens it. Source: torch/csrc/api/include/torch/serialize/output-archive.h.
class OutputArchive {
 public:
  void write(const std::string& key, const Tensor& tensor, bool is_buffer = false);
  void write(const std::string& key, double value);
  void write(const std::string& key, const std::string& value);
  void write(const std::string& key, const char* value) { write(key, std::string(value)); }
  void write(const std::string& key, const OutputArchive& nested);
  void write(const std::string& key, const IValue& value);  // a tensor, a bool, an integer, a real number or a text
  template <std::integral T>
  void write(const std::string& key, T value) {
    write_integer(key, static_cast<std::int64_t>(value));
  }
  template <class... Ts>
  void operator()(Ts&&... arguments) {
    write(std::forward<Ts>(arguments)...);
  }

  void save_to(const std::string& path) const;  // atomically
  void save_to(std::ostream& stream) const;
  // By `writer(data, size)`, which returns how many bytes it took.
  void save_to(const std::function<std::size_t(const void*, std::size_t)>& writer) const;
  std::string bytes() const;

 private:
  void write_integer(const std::string& key, std::int64_t value);
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> values_;
};

}  // namespace serialize

namespace serialize {

// Files of PyTorch itself begin as zip archives do. Library chapter 53 puts their reader here: bytes and name to tensors.
using PytorchFileReader = std::map<std::string, Tensor> (*)(std::string_view bytes, const std::string& name);
inline constinit PytorchFileReader read_pytorch_file = nullptr;

// What an OutputArchive wrote, or the tensors in a file that Python's torch.save or libtorch wrote. Loading checks the whole file before anything is used, and executes nothing.
class InputArchive {
 public:
  // All of them put the tensors on `device` if one is named.
  void load_from(const std::string& path, std::optional<Device> device = std::nullopt);
  void load_from(std::istream& stream, std::optional<Device> device = std::nullopt);
  void load_from(const char* data, std::size_t size, std::optional<Device> device = std::nullopt);
  // By `read(position, buffer, count)`, which returns how many bytes it gave, and `size()`.
  void load_from(const std::function<std::size_t(std::uint64_t, void*, std::size_t)>& read, const std::function<std::size_t()>& size,
                 std::optional<Device> device = std::nullopt);

  // Throws if the archive has no such key, or a value of another kind, or an integer that T does not hold.
  void read(const std::string& key, Tensor& tensor, bool is_buffer = false) const;
  void read(const std::string& key, double& value) const;
  void read(const std::string& key, std::string& value) const;
  void read(const std::string& key, IValue& value) const;  // whatever was written
  void read(const std::string& key, InputArchive& nested) const;  // everything below `key.`
  template <std::integral T>
  void read(const std::string& key, T& value) const {
    const std::int64_t found = read_integer(key);
    if (static_cast<std::int64_t>(static_cast<T>(found)) != found) refuse_integer(key, found);
    value = static_cast<T>(found);
  }
  bool try_read(const std::string& key, Tensor& tensor, bool is_buffer = false) const;
  bool try_read(const std::string& key, IValue& value) const;
  bool try_read(const std::string& key, InputArchive& nested) const;
  template <class... Ts>
  void operator()(Ts&&... arguments) {
    read(std::forward<Ts>(arguments)...);
  }
  bool has_value(const std::string& key) const;
  // The names at this level: of tensors, of values, and of nested archives.
  std::vector<std::string> keys() const;
  // Every tensor, by its full name.
  const std::map<std::string, Tensor>& tensors() const { return tensors_; }
  // Where it was loaded from, for error sentences.
  const std::string& name() const { return name_; }
  // Whether the parameters and buffers in it are in their module already, so that only a module's further values are left to read.
  bool restored() const { return restored_; }
  void set_restored(bool restored) { restored_ = restored; }

 private:
  void load_bytes(std::string_view bytes, const std::string& name);
  void move_to(std::optional<Device> device);
  std::int64_t read_integer(const std::string& key) const;
  [[noreturn]] void refuse_integer(const std::string& key, std::int64_t value) const;
  std::string name_ = "archive";
  bool restored_ = false;
  std::map<std::string, Tensor> tensors_;
  std::map<std::string, std::string> values_;
};

}  // namespace serialize

}  // namespace tinytorch
