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
// # Module 08: Training
//
// (opening)

// %%
//| export nn/module_serialization.h
//| extends Module
namespace tinytorch::serialize {
class OutputArchive;
class InputArchive;
}  // namespace tinytorch::serialize

namespace tinytorch::nn {
class Module;

// What serialization adds to Module: parameters and buffers, by their dotted names, to and from an archive.
class ModuleSerialization {
 public:
  void save(serialize::OutputArchive& archive) const;
  // Checks every name, shape and dtype first: a checkpoint that does not fit changes nothing.
  void load(serialize::InputArchive& archive);
};
}  // namespace tinytorch::nn

// %%
//| export serialize/archive.h
#include <iosfwd>
#include <map>
#include <string>
#include <string_view>
#include <vector>
#include "tinytorch/core/tensor.h"
//| export serialize/archive.cpp
#include <bit>
#include <cstring>
#include <istream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <ostream>
#include <sstream>
#include <zlib.h>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tinytorch/data/samplers.h"
#include "tinytorch/serialize/file.h"
//| export serialize/file.h
#include <string>
#include <string_view>
//| export serialize/file.cpp
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tinytorch/core/error.h"
//| export serialize/save.h
#include <memory>
#include "tinytorch/nn/module.h"
#include "tinytorch/optim/optimizer.h"
#include "tinytorch/serialize/archive.h"
//| export serialize/save.cpp
#include "tinytorch/core/ops.h"
#include "tinytorch/core/tensor_data.h"
//| export nn/clip_grad.h
#include "tinytorch/core/autograd.h"
//| export nn/clip_grad.cpp
#include <cmath>
#include "tinytorch/core/more_ops.h"
//| export optim/trainer.h
#include <functional>
#include <optional>
#include <string>
#include "tinytorch/core/autograd.h"
#include "tinytorch/core/generator.h"
#include "tinytorch/data/dataloader.h"
#include "tinytorch/nn/module.h"
#include "tinytorch/optim/lr_scheduler.h"
#include "tinytorch/optim/optimizer.h"
//| export optim/trainer.cpp
#include <filesystem>
#include "tinytorch/core/ops.h"
#include "tinytorch/nn/clip_grad.h"
#include "tinytorch/serialize/save.h"

// %%
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Part 1: Foundations
//
// ### A file that is whole or not there

// %%
//| export serialize/file.h
namespace serialize {

// Writes `bytes` to `path` so that at every moment, also after a crash or a power cut, the path names either the old file or the whole new one:
// beside it, fsync, rename, fsync of the folder. Throws, and leaves the old file, if any step fails (a full disk, no permission).
void write_file_atomically(const std::string& path, std::string_view bytes);

// The bytes of a file. Throws a sentence with the path if it cannot be read.
std::string read_file(const std::string& path);

}  // namespace serialize

// %%
//| export serialize/file.cpp
namespace {
// A file descriptor that is closed at the end of its scope.
struct Descriptor {
  explicit Descriptor(int number) : fd(number) {}
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd;
};

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

[[noreturn]] void fail_to_write(const std::string& path, const std::string& unfinished, int error) {
  if (!unfinished.empty()) ::unlink(unfinished.c_str());
  throw Error("cannot write " + path + ": " + std::strerror(error) + "\n[save] " +
              (error == ENOSPC ? "the disk is full; free some space and save again. " : "check the folder and its permissions. ") +
              "What was saved there before is untouched.");
}
}  // namespace

// %%
//| export serialize/file.cpp
void serialize::write_file_atomically(const std::string& path, std::string_view bytes) {
  // Write beside the target, on the same file system, so that the rename is one step.
  const std::string unfinished = path + ".tmp" + std::to_string(::getpid());
  {
    const Descriptor file(::open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
    if (file.fd < 0) fail_to_write(path, "", errno);
    for (std::string_view rest = bytes; !rest.empty();) {
      const ssize_t written = ::write(file.fd, rest.data(), rest.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail_to_write(path, unfinished, errno);
      rest.remove_prefix(static_cast<std::size_t>(written));
    }
    // The bytes must be on the disk before the name is.
    if (::fsync(file.fd) != 0) fail_to_write(path, unfinished, errno);
  }
  if (::rename(unfinished.c_str(), path.c_str()) != 0) fail_to_write(path, unfinished, errno);
  const Descriptor folder(::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.fd >= 0) ::fsync(folder.fd);
}

// %%
//| export serialize/file.cpp
std::string serialize::read_file(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status {};
  if (file.fd < 0 || ::fstat(file.fd, &status) != 0 || S_ISDIR(status.st_mode)) {
    const int error = file.fd >= 0 && S_ISDIR(status.st_mode) ? EISDIR : errno;
    throw Error("open file failed because of errno " + std::to_string(error) + " on fopen: " + std::strerror(error) + ", file path: " + path +
                "\n[load] check the path; relative paths begin at the current folder.");
  }
  std::string bytes(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count = ::read(file.fd, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    TORCH_CHECK(count >= 0, "cannot read ", path, ": ", std::strerror(errno));
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  bytes.resize(done);
  return bytes;
}

// %% [markdown]
// ### Archives

// %%
//| export serialize/archive.h
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

// %%
//| export serialize/archive.h
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

// %%
//| export serialize/archive.cpp
void serialize::OutputArchive::write(const std::string& key, const Tensor& tensor, bool) {
  TORCH_CHECK(tensor.defined(), "cannot save the undefined tensor '", key, "'");
  tensors_[key] = tensor.detach();
}
void serialize::OutputArchive::write(const std::string& key, std::int64_t value) { values_[key] = "i:" + std::to_string(value); }
void serialize::OutputArchive::write(const std::string& key, double value) {
  // By its bits, so that it comes back exactly.
  values_[key] = "d:" + std::to_string(std::bit_cast<std::uint64_t>(value));
}
void serialize::OutputArchive::write(const std::string& key, const std::string& value) { values_[key] = "s:" + value; }
void serialize::OutputArchive::write(const std::string& key, const OutputArchive& nested) {
  for (const auto& [name, tensor] : nested.tensors_) tensors_[key + "." + name] = tensor;
  for (const auto& [name, value] : nested.values_) values_[key + "." + name] = value;
}

// %%
//| export serialize/archive.cpp
namespace {
using nlohmann::json;
using ScalarTypeName = std::pair<ScalarType, const char*>;
constexpr ScalarTypeName kTypeNames[] = {{kDouble, "F64"}, {kFloat, "F32"}, {kLong, "I64"}, {kInt, "I32"},
                                         {kShort, "I16"},  {kChar, "I8"},   {kByte, "U8"},  {kBool, "BOOL"}};

const char* safetensors_name(ScalarType type) {
  for (const auto& [known, name] : kTypeNames)
    if (known == type) return name;
  return "";
}

std::string crc_of(std::string_view bytes) {
  return std::to_string(::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}
}  // namespace

// %%
//| export serialize/archive.cpp
std::string serialize::OutputArchive::bytes() const {
  json header = json::object();
  std::string data;
  for (const auto& [key, tensor] : tensors_) {
    const Tensor dense = tensor.contiguous();
    const std::size_t begin = data.size();
    if (dense.nbytes() > 0) data.append(static_cast<const char*>(dense.data_ptr()), dense.nbytes());
    header[key] = {{"dtype", safetensors_name(dense.scalar_type())}, {"shape", dense.sizes().vec()}, {"data_offsets", {begin, data.size()}}};
  }
  header["__metadata__"] = values_;
  header["__metadata__"]["format"] = "tinytorch";
  header["__metadata__"]["crc32"] = crc_of(data);
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begins on a multiple of eight bytes
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(text.size() >> (8 * i) & 0xff);
  return file + text + data;
}

void serialize::OutputArchive::save_to(const std::string& path) const { write_file_atomically(path, bytes()); }
void serialize::OutputArchive::save_to(std::ostream& stream) const {
  const std::string all = bytes();
  stream.write(all.data(), static_cast<std::streamsize>(all.size()));
}

// %%
//| export serialize/archive.cpp
namespace {
// One tensor of the header, checked against the bytes that are there.
Tensor read_tensor(const json& entry, std::string_view data, const std::string& file, const std::string& key) {
  const auto fail = [&](const std::string& why) {
    throw Error("cannot load " + file + ": tensor '" + key + "' " + why + "\n[load] the file is damaged or no checkpoint; use an older one.");
  };
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") || !entry.contains("data_offsets")) fail("has no dtype, shape or data_offsets");
  std::optional<ScalarType> type;
  for (const auto& [known, name] : kTypeNames)
    if (entry["dtype"] == name) type = known;
  if (!type) fail("has a dtype that is not supported: " + entry["dtype"].dump());
  const json& offsets = entry["data_offsets"];
  if (!entry["shape"].is_array() || !offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() || !offsets[1].is_number_unsigned())
    fail("has a shape or data_offsets that are not lists of whole numbers");
  const auto begin = offsets[0].get<std::uint64_t>();
  const auto end = offsets[1].get<std::uint64_t>();
  if (begin > end || end > data.size()) fail("lies outside the file: bytes " + offsets.dump() + " of " + std::to_string(data.size()));
  // Multiply the sizes with care: a damaged file may claim any.
  std::uint64_t nbytes = elementSize(*type);
  DimVector sizes;
  bool fits = entry["shape"].size() <= 64;
  for (const json& size : entry["shape"]) {
    fits = fits && size.is_number_unsigned() && size.get<std::uint64_t>() < (std::uint64_t{1} << 62) &&
           !__builtin_mul_overflow(nbytes, size.get<std::uint64_t>(), &nbytes);
    if (!fits) break;
    sizes.push_back(size.get<std::int64_t>());
  }
  if (!fits || nbytes != end - begin) fail("of shape " + entry["shape"].dump() + " does not match its " + std::to_string(end - begin) + " bytes");
  const Tensor tensor = empty(sizes, *type);
  if (nbytes > 0) std::memcpy(tensor.data_ptr(), data.data() + begin, nbytes);
  if (*type == kBool)
    for (std::uint64_t i = 0; i < nbytes; ++i)
      if (static_cast<unsigned char>(data[begin + i]) > 1) fail("of dtype BOOL holds a byte that is neither 0 nor 1");
  return tensor;
}
}  // namespace

// %%
//| export serialize/archive.cpp
void serialize::InputArchive::load_from_bytes(std::string_view bytes, const std::string& name) {
  const auto fail = [&](const std::string& why) {
    throw Error("cannot load " + name + ": " + why + "\n[load] the file is damaged or no checkpoint; use an older one.");
  };
  if (bytes.size() < 8) fail("it has " + std::to_string(bytes.size()) + " bytes, too few for a checkpoint");
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < 8; ++i) length |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  if (length > bytes.size() - 8) fail("its header should have " + std::to_string(length) + " bytes, but only " + std::to_string(bytes.size() - 8) + " follow");
  const std::string_view text = bytes.substr(8, length);
  const std::string_view data = bytes.substr(8 + length);
  const json header = json::parse(text, nullptr, false);
  if (!header.is_object()) fail("its header is not a JSON object");

  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> values;
  std::uint64_t used = 0;
  for (const auto& [key, entry] : header.items()) {
    if (key == "__metadata__") {
      if (!entry.is_object()) fail("its __metadata__ is not a JSON object");
      for (const auto& [value_key, value] : entry.items()) {
        if (!value.is_string()) fail("its metadata '" + value_key + "' is not text");
        values[value_key] = value.get<std::string>();
      }
    } else {
      tensors[key] = read_tensor(entry, data, name, key);
      used += tensors[key].nbytes();
    }
  }
  if (used != data.size()) fail("its tensors hold " + std::to_string(used) + " bytes, but the file has " + std::to_string(data.size()));
  if (const auto sum = values.find("crc32"); sum != values.end() && sum->second != crc_of(data)) fail("the checksum of its data does not match");
  values.erase("crc32");
  values.erase("format");
  name_ = name;
  tensors_ = std::move(tensors);
  values_ = std::move(values);
}

void serialize::InputArchive::load_from(const std::string& path) { load_from_bytes(read_file(path), path); }
void serialize::InputArchive::load_from(std::istream& stream) {
  load_from_bytes(std::string(std::istreambuf_iterator<char>(stream), {}), "stream");
}

// %%
//| export serialize/archive.cpp
namespace {
// The text of a value that was written with this mark ('i', 'd' or 's').
std::string value_of(const std::map<std::string, std::string>& values, const std::string& key, char mark, const std::string& file) {
  const auto found = values.find(key);
  TORCH_CHECK(found != values.end(), "No such serialized value '", key, "'\n[load] ", file, " has no value of this name.");
  TORCH_CHECK(found->second.size() >= 2 && found->second[0] == mark && found->second[1] == ':', "the value '", key, "' in ", file, " is of another type");
  return found->second.substr(2);
}

template <class T>
T number_of(const std::string& text, const std::string& key, const std::string& file) {
  std::istringstream stream(text);
  T value{};
  stream >> value;
  TORCH_CHECK(stream && stream.peek() == std::istringstream::traits_type::eof(), "the value '", key, "' in ", file, " is not a number: '", text, "'");
  return value;
}
}  // namespace

void serialize::InputArchive::read(const std::string& key, Tensor& tensor, bool is_buffer) const {
  TORCH_CHECK(try_read(key, tensor, is_buffer), "No such serialized tensor '", key, "'\n[load] ", name_, " has no tensor of this name.");
}
void serialize::InputArchive::read(const std::string& key, std::int64_t& value) const {
  value = number_of<std::int64_t>(value_of(values_, key, 'i', name_), key, name_);
}
void serialize::InputArchive::read(const std::string& key, double& value) const {
  value = std::bit_cast<double>(number_of<std::uint64_t>(value_of(values_, key, 'd', name_), key, name_));
}
void serialize::InputArchive::read(const std::string& key, std::string& value) const { value = value_of(values_, key, 's', name_); }

// %%
//| export serialize/archive.cpp
bool serialize::InputArchive::try_read(const std::string& key, Tensor& tensor, bool) const {
  const auto found = tensors_.find(key);
  if (found == tensors_.end()) return false;
  tensor = found->second;
  return true;
}

bool serialize::InputArchive::try_read(const std::string& key, InputArchive& nested) const {
  const std::string prefix = key + ".";
  nested = InputArchive();
  nested.name_ = name_;
  for (const auto& [name, tensor] : tensors_)
    if (name.starts_with(prefix)) nested.tensors_[name.substr(prefix.size())] = tensor;
  for (const auto& [name, value] : values_)
    if (name.starts_with(prefix)) nested.values_[name.substr(prefix.size())] = value;
  return !nested.tensors_.empty() || !nested.values_.empty();
}

void serialize::InputArchive::read(const std::string& key, InputArchive& nested) const {
  TORCH_CHECK(try_read(key, nested), "No such serialized submodule: '", key, "'\n[load] ", name_, " has nothing below this name.");
}

std::vector<std::string> serialize::InputArchive::keys() const {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors_) names.push_back(name);
  for (const auto& [name, value] : values_) names.push_back(name);
  return names;
}

// %%
//| export serialize/archive.cpp
//| registers
void register_archive_access() {
  serialize::archive_access.write = [](serialize::OutputArchive& archive, const std::string& key, const Tensor& value) { archive.write(key, value); };
  serialize::archive_access.read = [](serialize::InputArchive& archive, const std::string& key) {
    Tensor value;
    archive.read(key, value);
    return value;
  };
}

// %% [markdown]
// ### Modules and optimizers

// %%
//| export serialize/save.cpp
namespace {
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

NamedTensors state_of_module(const nn::Module& module) {
  NamedTensors state;
  for (const auto& entry : module.named_parameters()) state.emplace_back(entry.key(), entry.value());
  for (const auto& entry : module.named_buffers()) state.emplace_back(entry.key(), entry.value());
  return state;
}
}  // namespace

void nn::ModuleSerialization::save(serialize::OutputArchive& archive) const {
  for (const auto& [name, tensor] : state_of_module(static_cast<const nn::Module&>(*this))) archive.write(name, tensor);
}

// %%
//| export serialize/save.cpp
void nn::ModuleSerialization::load(serialize::InputArchive& archive) {
  NamedTensors state = state_of_module(static_cast<const nn::Module&>(*this));
  std::vector<Tensor> saved(state.size());
  for (std::size_t i = 0; i < state.size(); ++i) {
    const auto& [name, tensor] = state[i];
    archive.read(name, saved[i]);
    TORCH_CHECK(saved[i].sizes() == tensor.sizes(), "size mismatch for ", name, ": copying a param with shape ", saved[i].sizes(),
                " from checkpoint, the shape in current model is ", tensor.sizes(), ".\n[load] ", archive.name(), " was saved from another architecture.");
    TORCH_CHECK(saved[i].scalar_type() == tensor.scalar_type(), "dtype mismatch for ", name, ": ", archive.name(), " has ", saved[i].scalar_type(),
                ", the current model ", tensor.scalar_type(), "\n[load] convert the model with to() first.");
  }
  const AutoDispatchBelowAutograd below_autograd;
  for (std::size_t i = 0; i < state.size(); ++i) state[i].second.copy_(saved[i]);
}

// %%
//| export serialize/save.h
namespace serialize {

// The state of an optimizer, parameter by parameter in the order of its groups, and each group's learning rate.
OutputArchive& operator<<(OutputArchive& archive, const optim::Optimizer& optimizer);
InputArchive& operator>>(InputArchive& archive, optim::Optimizer& optimizer);
OutputArchive& operator<<(OutputArchive& archive, const nn::Module& module);
InputArchive& operator>>(InputArchive& archive, nn::Module& module);
OutputArchive& operator<<(OutputArchive& archive, const Tensor& tensor);
InputArchive& operator>>(InputArchive& archive, Tensor& tensor);
OutputArchive& operator<<(OutputArchive& archive, const std::vector<Tensor>& tensors);
InputArchive& operator>>(InputArchive& archive, std::vector<Tensor>& tensors);

template <class T>
OutputArchive& operator<<(OutputArchive& archive, const std::shared_ptr<T>& module) {
  return archive << static_cast<const nn::Module&>(*module);
}
template <class T>
InputArchive& operator>>(InputArchive& archive, std::shared_ptr<T>& module) {
  return archive >> static_cast<nn::Module&>(*module);
}
template <class T>
OutputArchive& operator<<(OutputArchive& archive, const nn::ModuleHolder<T>& module) {
  return archive << static_cast<const nn::Module&>(*module);
}
template <class T>
InputArchive& operator>>(InputArchive& archive, nn::ModuleHolder<T>& module) {
  return archive >> static_cast<nn::Module&>(*module);
}

}  // namespace serialize

// Writes a tensor, a list of tensors, a module or an optimizer to a file (atomically) or a stream.
template <class Value, class Target>
void save(const Value& value, Target&& target) {
  serialize::OutputArchive archive;
  archive << value;
  archive.save_to(std::forward<Target>(target));
}

// Reads what save() wrote. A file that is damaged or does not fit throws and changes nothing.
template <class Value, class Source>
void load(Value& value, Source&& source) {
  serialize::InputArchive archive;
  archive.load_from(std::forward<Source>(source));
  archive >> value;
}

// %%
//| export serialize/save.cpp
serialize::OutputArchive& serialize::operator<<(OutputArchive& archive, const nn::Module& module) {
  module.save(archive);
  return archive;
}
serialize::InputArchive& serialize::operator>>(InputArchive& archive, nn::Module& module) {
  module.load(archive);
  return archive;
}
serialize::OutputArchive& serialize::operator<<(OutputArchive& archive, const Tensor& tensor) {
  archive.write("0", tensor);
  return archive;
}
serialize::InputArchive& serialize::operator>>(InputArchive& archive, Tensor& tensor) {
  archive.read("0", tensor);
  return archive;
}
serialize::OutputArchive& serialize::operator<<(OutputArchive& archive, const std::vector<Tensor>& tensors) {
  archive.write("size", static_cast<std::int64_t>(tensors.size()));
  for (std::size_t i = 0; i < tensors.size(); ++i) archive.write(std::to_string(i), tensors[i]);
  return archive;
}
serialize::InputArchive& serialize::operator>>(InputArchive& archive, std::vector<Tensor>& tensors) {
  std::int64_t size = 0;
  archive.read("size", size);
  TORCH_CHECK(size >= 0 && static_cast<std::size_t>(size) < archive.keys().size(), archive.name(), " claims to hold ", size, " tensors");
  std::vector<Tensor> loaded(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < loaded.size(); ++i) archive.read(std::to_string(i), loaded[i]);
  tensors = std::move(loaded);
  return archive;
}

// %%
//| export serialize/save.cpp
serialize::OutputArchive& serialize::operator<<(OutputArchive& archive, const optim::Optimizer& optimizer) {
  archive.write("optimizer", optimizer.name());
  std::int64_t position = 0;
  for (std::size_t g = 0; g < optimizer.param_groups().size(); ++g) {
    const optim::OptimizerParamGroup& group = optimizer.param_groups()[g];
    archive.write("group." + std::to_string(g) + ".lr", group.options().get_lr());
    for (const Tensor& parameter : group.params()) {
      const std::string prefix = "state." + std::to_string(position++) + ".";
      const auto found = optimizer.state().find(parameter.unsafeGetTensorImpl());
      if (found == optimizer.state().end()) continue;
      for (const auto& [name, counter] : found->second->named_counters()) archive.write(prefix + name, *counter);
      for (const auto& [name, tensor] : found->second->named_tensors())
        if (tensor->defined()) archive.write(prefix + name, *tensor);
    }
  }
  archive.write("parameters", position);
  return archive;
}

// %%
//| export serialize/save.cpp
serialize::InputArchive& serialize::operator>>(InputArchive& archive, optim::Optimizer& optimizer) {
  std::string name;
  archive.read("optimizer", name);
  TORCH_CHECK(name == optimizer.name(), "cannot load ", archive.name(), ": it holds the state of ", name, ", this optimizer is ", optimizer.name());
  std::vector<Tensor> parameters;
  for (const optim::OptimizerParamGroup& group : optimizer.param_groups()) parameters.insert(parameters.end(), group.params().begin(), group.params().end());
  std::int64_t count = 0;
  archive.read("parameters", count);
  TORCH_CHECK(count == static_cast<std::int64_t>(parameters.size()), "loaded state dict contains a parameter group that doesn't match the size of optimizer's group\n[load] ",
              archive.name(), " has state for ", count, " parameters, this optimizer has ", parameters.size());

  // Read and check everything before the optimizer changes.
  std::vector<double> rates(optimizer.param_groups().size());
  for (std::size_t g = 0; g < rates.size(); ++g) archive.read("group." + std::to_string(g) + ".lr", rates[g]);
  optim::Optimizer::State loaded;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    InputArchive entry;
    if (!archive.try_read("state." + std::to_string(i), entry)) continue;
    std::unique_ptr<optim::OptimizerParamState> state = optimizer.make_state();
    for (const auto& [key, counter] : state->named_counters()) entry.read(key, *counter);
    for (const auto& [key, tensor] : state->named_tensors()) {
      if (!entry.try_read(key, *tensor)) continue;
      TORCH_CHECK(tensor->sizes() == parameters[i].sizes(), "cannot load ", archive.name(), ": ", key, " of parameter ", i, " has sizes ", tensor->sizes(),
                  ", the parameter has ", parameters[i].sizes());
    }
    loaded[parameters[i].unsafeGetTensorImpl()] = std::move(state);
  }
  optimizer.state() = std::move(loaded);
  for (std::size_t g = 0; g < rates.size(); ++g) optimizer.param_groups()[g].options().set_lr(rates[g]);
  return archive;
}

// %% [markdown]
// ### Clipping

// %%
//| export nn/clip_grad.h
namespace nn::utils {

// Scales all gradients together so that their common norm is at most max_norm; returns the norm before.
// norm_type: 2, 1, ... or infinity. Source: Pascanu et al. 2013; torch/csrc/api/include/torch/nn/utils/clip_grad.h.
double clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm, double norm_type = 2.0, bool error_if_nonfinite = false);

// Limits each element of each gradient to [-clip_value, clip_value].
void clip_grad_value_(const std::vector<Tensor>& parameters, double clip_value);

}  // namespace nn::utils

// %%
//| export nn/clip_grad.cpp
double nn::utils::clip_grad_norm_(const std::vector<Tensor>& parameters, double max_norm, double norm_type, bool error_if_nonfinite) {
  const NoGradGuard no_grad;
  double total = 0;
  for (const Tensor& parameter : parameters) {
    if (!parameter.grad().defined()) continue;
    const Tensor magnitude = parameter.grad().detach().abs().to(kDouble);
    if (std::isinf(norm_type)) {
      if (magnitude.numel() > 0) total = std::max(total, magnitude.max().item<double>());
    } else {
      total += magnitude.pow(norm_type).sum().item<double>();
    }
  }
  const double norm = std::isinf(norm_type) ? total : std::pow(total, 1.0 / norm_type);
  TORCH_CHECK(!error_if_nonfinite || std::isfinite(norm), "The total norm of order ", norm_type,
              " for gradients from `parameters` is non-finite, so it cannot be clipped. To disable this error and scale the gradients with the "
              "non-finite norm anyway, set `error_if_nonfinite=false`");
  const double scale = std::min(1.0, max_norm / (norm + 1e-6));
  for (const Tensor& parameter : parameters)
    if (parameter.grad().defined()) parameter.mutable_grad().mul_(scale);
  return norm;
}

void nn::utils::clip_grad_value_(const std::vector<Tensor>& parameters, double clip_value) {
  const NoGradGuard no_grad;
  for (const Tensor& parameter : parameters)
    if (parameter.grad().defined()) clamp_(parameter.mutable_grad(), -clip_value, clip_value);
}

// %% [markdown]
// ### The trainer

// %%
//| export optim/trainer.h
namespace optim {

struct TrainerOptions {
  TORCH_ARG(std::int64_t, epochs) = 1;
  TORCH_ARG(std::int64_t, accumulate) = 1;         // batches whose gradients are added up before one step
  TORCH_ARG(double, clip_norm) = 0;                // 0: do not clip
  TORCH_ARG(std::string, checkpoint);              // where to save; empty: nowhere
  TORCH_ARG(std::int64_t, checkpoint_every) = 0;   // steps between checkpoints; 0: at the end of each epoch
};

// How far a run is, and what its last step gave.
struct Progress {
  std::int64_t epoch = 0;    // finished epochs
  std::int64_t batch = 0;    // batches done in this epoch
  std::int64_t step = 0;     // updates of the parameters so far
  double loss = 0;           // of the last batch
  double grad_norm = 0;      // before clipping, if clip_norm is set
};

// The training loop: forward, backward, clip, update, checkpoint. A run that was cut off and resumed gives the numbers of one that was not,
// bit for bit: the checkpoint holds parameters, optimizer, schedule, the place in the epoch and the random generator.
class Trainer {
 public:
  using Forward = std::function<Tensor(const Tensor& input)>;
  using Loss = std::function<Tensor(const Tensor& output, const Tensor& target)>;

  Trainer(nn::Module& module, Forward forward, Optimizer& optimizer, Loss loss, TrainerOptions options = {})
      : module_(module), forward_(std::move(forward)), optimizer_(optimizer), loss_(std::move(loss)), options_(std::move(options)) {}

  // Trains until options.epochs are done, from where resume() left off if it was called.
  template <class Loader>
  void fit(Loader& loader);

  // Takes up the checkpoint if there is one; says whether there was. Throws, and changes nothing, if it does not fit.
  template <class Loader>
  bool resume(Loader& loader);

  void set_scheduler(LRScheduler& scheduler) { scheduler_ = &scheduler; }  // stepped after each epoch
  void on_step(std::function<void(const Progress&)> callback) { step_callbacks_.push_back(std::move(callback)); }
  // A callback that returns false ends the training after this epoch.
  void on_epoch(std::function<bool(const Progress&)> callback) { epoch_callbacks_.push_back(std::move(callback)); }
  const Progress& progress() const { return progress_; }

 private:
  // Adds the gradients of one batch; after `accumulate` of them, or at the end of the epoch, updates.
  void train_batch(const Tensor& input, const Tensor& target);
  void update();
  bool finish_epoch();
  void save_checkpoint(const data::State& loader_state) const;
  std::optional<data::State> load_checkpoint();

  nn::Module& module_;
  Forward forward_;
  Optimizer& optimizer_;
  Loss loss_;
  TrainerOptions options_;
  LRScheduler* scheduler_ = nullptr;
  Progress progress_;
  std::int64_t pending_ = 0;  // batches whose gradients wait for the update
  std::vector<std::function<void(const Progress&)>> step_callbacks_;
  std::vector<std::function<bool(const Progress&)>> epoch_callbacks_;
};

}  // namespace optim

// %%
//| export optim/trainer.h
template <class Loader>
void optim::Trainer::fit(Loader& loader) {
  bool going = true;
  while (going && progress_.epoch < options_.epochs()) {
    module_.train();
    std::int64_t last_saved = progress_.step;
    for (auto& batch : loader) {
      train_batch(batch.data, batch.target);
      const bool due = options_.checkpoint_every() > 0 && pending_ == 0 && progress_.step - last_saved >= options_.checkpoint_every();
      if (!due || options_.checkpoint().empty()) continue;
      save_checkpoint(loader.state());
      last_saved = progress_.step;
    }
    if (pending_ > 0) update();
    going = finish_epoch();
    if (!options_.checkpoint().empty()) save_checkpoint({});
  }
}

template <class Loader>
bool optim::Trainer::resume(Loader& loader) {
  const std::optional<data::State> loader_state = load_checkpoint();
  if (!loader_state) return false;
  loader.set_state(*loader_state);
  return true;
}

// %%
//| export optim/trainer.cpp
void optim::Trainer::train_batch(const Tensor& input, const Tensor& target) {
  const Tensor loss = loss_(forward_(input), target);
  // The gradients of `accumulate` batches add up to those of one batch of all their samples.
  (loss / options_.accumulate()).backward();
  progress_.loss = loss.item<double>();
  ++progress_.batch;
  if (++pending_ == options_.accumulate()) update();
}

void optim::Trainer::update() {
  if (options_.clip_norm() > 0) progress_.grad_norm = nn::utils::clip_grad_norm_(module_.parameters(), options_.clip_norm());
  optimizer_.step();
  optimizer_.zero_grad();
  pending_ = 0;
  ++progress_.step;
  for (const auto& callback : step_callbacks_) callback(progress_);
}

bool optim::Trainer::finish_epoch() {
  ++progress_.epoch;
  if (scheduler_ != nullptr) scheduler_->step();
  bool going = true;
  for (const auto& callback : epoch_callbacks_) going = callback(progress_) && going;
  progress_.batch = 0;
  return going;
}

// %%
//| export optim/trainer.cpp
void optim::Trainer::save_checkpoint(const data::State& loader_state) const {
  serialize::OutputArchive archive;
  serialize::OutputArchive module;
  serialize::OutputArchive optimizer;
  module << module_;
  optimizer << optimizer_;
  archive.write("module", module);
  archive.write("optimizer", optimizer);
  archive.write("epoch", progress_.epoch);
  archive.write("batch", progress_.batch);
  archive.write("step", progress_.step);
  archive.write("schedule", scheduler_ == nullptr ? std::int64_t{0} : scheduler_->step_count());
  archive.write("generator", default_generator().state());
  for (const auto& [key, tensor] : loader_state) archive.write("loader." + key, tensor);
  archive.save_to(options_.checkpoint());
}

// %%
//| export optim/trainer.cpp
std::optional<data::State> optim::Trainer::load_checkpoint() {
  if (options_.checkpoint().empty() || !std::filesystem::exists(options_.checkpoint())) return std::nullopt;
  serialize::InputArchive archive;
  archive.load_from(options_.checkpoint());
  // Read everything first; then change, with the checks that may still throw in front.
  Progress progress;
  std::int64_t schedule = 0;
  std::string generator;
  serialize::InputArchive module;
  serialize::InputArchive optimizer;
  archive.read("epoch", progress.epoch);
  archive.read("batch", progress.batch);
  archive.read("step", progress.step);
  archive.read("schedule", schedule);
  archive.read("generator", generator);
  archive.read("module", module);
  archive.read("optimizer", optimizer);
  data::State loader_state;
  serialize::InputArchive loader;
  if (archive.try_read("loader", loader))
    for (const std::string& key : loader.keys()) loader.read(key, loader_state[key]);
  module >> module_;
  optimizer >> optimizer_;
  default_generator().set_state(generator);
  if (scheduler_ != nullptr) scheduler_->set_step_count(schedule);
  progress_ = progress;
  pending_ = 0;
  return loader_state;
}

// %% [markdown]
// ## Part 2: Systems analysis

// %% [markdown]
// ## Part 3: Production context

// %% [markdown]
// ## Integration test

// %% [markdown]
// ## ML systems thinking

// %% [markdown]
// ## Module summary

// %%
}  // namespace tinytorch
