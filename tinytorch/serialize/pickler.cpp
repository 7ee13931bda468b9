// From the lesson modules/53_weights/weights_dev.cpp:
// edit the module, not this file.

#include <bit>
#include <cstring>
#include <map>

#include "tinytorch/core/ops.h"
#include "tinytorch/serialize/file.h"
#include "tinytorch/serialize/pickle.h"
#include "tinytorch/serialize/zip.h"

namespace tinytorch {

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

}  // namespace tinytorch
