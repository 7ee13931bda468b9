// From the lesson modules/63_archives/archives_dev.cpp:
// edit the module, not this file.

#include "tinytorch/serialize/archive.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <istream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <set>
#include <sstream>
#include <zlib.h>

#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/core/tensor_data.h"

namespace tinytorch {

namespace {
// The names that the format keeps for itself.
void refuse_reserved(const std::string& key) {
  TORCH_CHECK_VALUE(key != "__metadata__" && key != "format" && key != "crc32", "cannot save '", key, "': the archive uses this name itself\n[write] choose another name.");
}
const char* safetensors_name(ScalarType type);
}  // namespace

bool serialize::InputArchive::has_value(const std::string& key) const { return values_.contains(key); }

void serialize::OutputArchive::write(const std::string& key, const Tensor& tensor, bool) {
  refuse_reserved(key);
  TORCH_CHECK(tensor.defined(), "cannot save the undefined tensor '", key, "'");
  TORCH_CHECK(*safetensors_name(tensor.scalar_type()) != '\0', "cannot save '", key, "': archives hold no tensors of dtype ", tensor.scalar_type());
  tensors_[key] = tensor.detach();
}
void serialize::OutputArchive::write_integer(const std::string& key, std::int64_t value) {
  refuse_reserved(key);
  values_[key] = "i:" + std::to_string(value);
}
void serialize::OutputArchive::write(const std::string& key, double value) {
  refuse_reserved(key);
  // By its bits, so that it comes back exactly.
  values_[key] = "d:" + std::to_string(std::bit_cast<std::uint64_t>(value));
}
void serialize::OutputArchive::write(const std::string& key, const std::string& value) {
  refuse_reserved(key);
  values_[key] = "s:" + value;
}
void serialize::OutputArchive::write(const std::string& key, const IValue& value) {
  if (value.isTensor()) return write(key, value.toTensor());
  if (value.isInt()) return write(key, value.toInt());
  if (value.isDouble()) return write(key, value.toDouble());
  if (value.isString()) return write(key, value.toStringRef());
  TORCH_CHECK(value.isBool(), "cannot save '", key, "': archives hold tensors, bools, integers, real numbers and texts");
  refuse_reserved(key);
  values_[key] = value.toBool() ? "b:1" : "b:0";
}
void serialize::OutputArchive::write(const std::string& key, const OutputArchive& nested) {
  for (const auto& [name, tensor] : nested.tensors_) tensors_[key + "." + name] = tensor;
  for (const auto& [name, value] : nested.values_) values_[key + "." + name] = value;
}

namespace {
using nlohmann::json;
using ScalarTypeName = std::pair<ScalarType, const char*>;
constexpr ScalarTypeName kTypeNames[] = {{kDouble, "F64"}, {kFloat, "F32"}, {kLong, "I64"}, {kInt, "I32"},   {kShort, "I16"},
                                         {kChar, "I8"},    {kByte, "U8"},   {kBool, "BOOL"}, {kHalf, "F16"}, {kBFloat16, "BF16"}};

const char* safetensors_name(ScalarType type) {
  for (const auto& [known, name] : kTypeNames)
    if (known == type) return name;
  return "";
}

std::string crc_of(std::string_view bytes) {
  return std::to_string(::crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}
}  // namespace

std::string serialize::OutputArchive::bytes() const {
  json header = json::object();
  std::string data;
  // The widest elements first, so that each tensor begins on a multiple of its element size.
  for (const std::size_t width : {8, 4, 2, 1}) {
    for (const auto& [key, tensor] : tensors_) {
      if (tensor.element_size() != width) continue;
      const Tensor dense = tensor.contiguous();
      const std::size_t begin = data.size();
      if (dense.nbytes() > 0) data.append(static_cast<const char*>(dense.data_ptr()), dense.nbytes());
      header[key] = {{"dtype", safetensors_name(dense.scalar_type())}, {"shape", dense.sizes().vec()}, {"data_offsets", {begin, data.size()}}};
    }
  }
  header["__metadata__"] = values_;
  header["__metadata__"]["format"] = "tinytorch";
  header["__metadata__"]["crc32"] = crc_of(data);
  std::string text;
  try {
    text = header.dump();
  } catch (const json::exception&) {
    throw Error("cannot save: a key or a text value is not UTF-8\n[save] the names in the header are JSON; encode other bytes as a tensor of kByte.");
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data begins on a multiple of eight bytes
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(text.size() >> (8 * i) & 0xff);
  return file + text + data;
}

void serialize::OutputArchive::save_to(std::ostream& stream) const {
  const std::string all = bytes();
  stream.write(all.data(), static_cast<std::streamsize>(all.size()));
  TORCH_CHECK(stream.good(), "cannot write to the stream\n[save] it took fewer than ", all.size(), " bytes.");
}
void serialize::OutputArchive::save_to(const std::function<std::size_t(const void*, std::size_t)>& writer) const {
  const std::string all = bytes();
  const std::size_t taken = writer(all.data(), all.size());
  TORCH_CHECK(taken == all.size(), "cannot write to the writer\n[save] it took ", taken, " of ", all.size(), " bytes.");
}

namespace {
using ByteRanges = std::map<std::uint64_t, std::uint64_t>;  // where each tensor's bytes begin, and where they end

// One tensor of the header, checked against the bytes that are there.
Tensor read_tensor(const json& entry, std::string_view data, const std::string& file, const std::string& key, ByteRanges& ranges) {
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
  if (end > begin && !ranges.emplace(begin, end).second) fail("shares its bytes with another tensor");
  if (!fits || nbytes != end - begin) fail("of shape " + entry["shape"].dump() + " does not match its " + std::to_string(end - begin) + " bytes");
  const Tensor tensor = empty(sizes, *type);
  if (nbytes > 0) std::memcpy(tensor.data_ptr(), data.data() + begin, nbytes);
  if (*type == kBool)
    for (std::uint64_t i = 0; i < nbytes; ++i)
      if (static_cast<unsigned char>(data[begin + i]) > 1) fail("of dtype BOOL holds a byte that is neither 0 nor 1");
  return tensor;
}
}  // namespace

void serialize::InputArchive::load_bytes(std::string_view bytes, const std::string& name) {
  if (bytes.starts_with("PK\3\4") && read_pytorch_file != nullptr) {
    tensors_ = read_pytorch_file(bytes, name);
    values_.clear();
    name_ = name;
    return;
  }
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
  ByteRanges ranges;
  for (const auto& [key, entry] : header.items()) {
    if (key == "__metadata__") {
      if (!entry.is_object()) fail("its __metadata__ is not a JSON object");
      for (const auto& [value_key, value] : entry.items()) {
        if (!value.is_string()) fail("its metadata '" + value_key + "' is not text");
        values[value_key] = value.get<std::string>();
      }
    } else {
      tensors[key] = read_tensor(entry, data, name, key, ranges);
    }
  }
  std::uint64_t used = 0;  // the ranges must follow each other without a gap or an overlap
  for (const auto& [begin, end] : ranges) {
    if (begin != used) fail("bytes " + std::to_string(std::min(begin, used)) + " to " + std::to_string(std::max(begin, used)) + (begin > used ? " belong to no tensor" : " belong to two tensors"));
    used = end;
  }
  if (used != data.size()) fail("its tensors hold " + std::to_string(used) + " bytes, but the file has " + std::to_string(data.size()));
  if (const auto sum = values.find("crc32"); sum != values.end() && sum->second != crc_of(data)) fail("the checksum of its data does not match");
  values.erase("crc32");
  values.erase("format");
  name_ = name;
  tensors_ = std::move(tensors);
  values_ = std::move(values);
}

void serialize::InputArchive::move_to(std::optional<Device> device) {
  if (!device) return;
  for (auto& [name, tensor] : tensors_) tensor = tensor.to(*device);
}
void serialize::InputArchive::load_from(std::istream& stream, std::optional<Device> device) {
  load_bytes(std::string(std::istreambuf_iterator<char>(stream), {}), "stream");
  move_to(device);
}
void serialize::InputArchive::load_from(const char* data, std::size_t size, std::optional<Device> device) { load_bytes({data, size}, "buffer"), move_to(device); }
void serialize::InputArchive::load_from(const std::function<std::size_t(std::uint64_t, void*, std::size_t)>& read, const std::function<std::size_t()>& size,
                                        std::optional<Device> device) {
  std::string bytes(size(), '\0');
  bytes.resize(read(0, bytes.data(), bytes.size()));
  load_bytes(bytes, "reader");
  move_to(device);
}

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
std::int64_t serialize::InputArchive::read_integer(const std::string& key) const {
  return number_of<std::int64_t>(value_of(values_, key, 'i', name_), key, name_);
}
void serialize::InputArchive::refuse_integer(const std::string& key, std::int64_t value) const {
  throw ValueError("the value '" + key + "' in " + name_ + " is out of range: " + std::to_string(value));
}
void serialize::InputArchive::read(const std::string& key, double& value) const {
  value = std::bit_cast<double>(number_of<std::uint64_t>(value_of(values_, key, 'd', name_), key, name_));
}
void serialize::InputArchive::read(const std::string& key, std::string& value) const { value = value_of(values_, key, 's', name_); }

bool serialize::InputArchive::try_read(const std::string& key, Tensor& tensor, bool) const {
  const auto found = tensors_.find(key);
  if (found == tensors_.end()) return false;
  tensor = found->second;
  return true;
}

bool serialize::InputArchive::try_read(const std::string& key, IValue& value) const {
  const auto found = values_.find(key);
  if (found == values_.end()) {
    Tensor tensor;
    if (!try_read(key, tensor)) return false;
    value = std::move(tensor);
    return true;
  }
  double real;
  std::string text;
  switch (found->second.empty() ? ' ' : found->second[0]) {
    case 'i': value = read_integer(key); break;
    case 'd': read(key, real), value = real; break;
    case 'b': value = value_of(values_, key, 'b', name_) == "1"; break;
    default: read(key, text), value = std::move(text);
  }
  return true;
}
void serialize::InputArchive::read(const std::string& key, IValue& value) const {
  TORCH_CHECK(try_read(key, value), "No such serialized IValue '", key, "'\n[load] ", name_, " has nothing of this name.");
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
  std::set<std::string> names;
  for (const auto& [name, tensor] : tensors_) names.insert(name.substr(0, name.find('.')));
  for (const auto& [name, value] : values_) names.insert(name.substr(0, name.find('.')));
  return {names.begin(), names.end()};
}

}  // namespace tinytorch
