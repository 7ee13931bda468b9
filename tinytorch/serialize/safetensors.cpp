// From the lesson modules/53_weights/weights_dev.cpp:
// edit the module, not this file.

#include "tinytorch/serialize/safetensors.h"

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

namespace tinytorch {

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

}  // namespace tinytorch
