// From the lesson modules/53_weights/weights_dev.cpp:
// edit the module, not this file.

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

namespace tinytorch {

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

void register_pytorch_files() {
  serialize::read_pytorch_file = [](std::string_view bytes, const std::string& name) {
    std::map<std::string, Tensor> tensors;
    for (const auto& entry : serialize::named_tensors(serialize::parse_checkpoint(bytes, name))) tensors[entry.key()] = entry.value().detach();
    return tensors;
  };
}

}  // namespace tinytorch
