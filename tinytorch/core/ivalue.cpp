// From the lesson modules/99_autograd_extras/autograd_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/ivalue.h"

#include <functional>
#include <variant>

namespace tinytorch {

struct IValue::Content {
  std::variant<Tensor, bool, double, std::int64_t, std::string, std::vector<std::int64_t>, std::vector<double>, std::vector<Tensor>, List<IValue>, Dict<IValue, IValue>,
               std::shared_ptr<const ivalue::Tuple>>
      value;
};

ivalue::Tuple::Tuple(std::vector<IValue> elements) : elements_(std::move(elements)) {}
std::shared_ptr<const ivalue::Tuple> ivalue::Tuple::create(std::vector<IValue> elements) { return std::make_shared<const Tuple>(std::move(elements)); }

IValue::IValue(Tensor value) : content_(new Content{std::move(value)}) {}
IValue::IValue(bool value) : content_(new Content{value}) {}
IValue::IValue(double value) : content_(new Content{value}) {}
IValue::IValue(std::int64_t value) : content_(new Content{value}) {}
IValue::IValue(const char* value) : IValue(std::string(value)) {}
IValue::IValue(std::string value) : content_(new Content{std::move(value)}) {}
IValue::IValue(std::vector<std::int64_t> values) : content_(new Content{std::move(values)}) {}
IValue::IValue(IntArrayRef values) : IValue(values.vec()) {}
IValue::IValue(std::vector<double> values) : content_(new Content{std::move(values)}) {}
IValue::IValue(std::vector<Tensor> values) : content_(new Content{std::move(values)}) {}
IValue::IValue(List<IValue> values) : content_(new Content{std::move(values)}) {}
IValue::IValue(Dict<IValue, IValue> entries) : content_(new Content{std::move(entries)}) {}
IValue::IValue(std::shared_ptr<const ivalue::Tuple> tuple) : content_(new Content{std::move(tuple)}) {}

// The value if it is a T, else null.
template <class T>
const T* IValue::get_if() const {
  return content_ == nullptr ? nullptr : std::get_if<T>(&content_->value);
}
template <class T>
const T& IValue::get(const char* kind) const {
  const T* const value = get_if<T>();
  TORCH_CHECK(value != nullptr, "Expected ", kind, " but got ", tagKind());
  return *value;
}

bool IValue::isTensor() const { return get_if<Tensor>() != nullptr; }
bool IValue::isBool() const { return get_if<bool>() != nullptr; }
bool IValue::isDouble() const { return get_if<double>() != nullptr; }
bool IValue::isInt() const { return get_if<std::int64_t>() != nullptr; }
bool IValue::isString() const { return get_if<std::string>() != nullptr; }
bool IValue::isIntList() const { return get_if<std::vector<std::int64_t>>() != nullptr; }
bool IValue::isDoubleList() const { return get_if<std::vector<double>>() != nullptr; }
bool IValue::isTensorList() const { return get_if<std::vector<Tensor>>() != nullptr; }
bool IValue::isList() const { return get_if<List<IValue>>() != nullptr || isIntList() || isDoubleList() || isTensorList(); }
bool IValue::isGenericDict() const { return get_if<Dict<IValue, IValue>>() != nullptr; }
bool IValue::isTuple() const { return get_if<std::shared_ptr<const ivalue::Tuple>>() != nullptr; }

const Tensor& IValue::toTensor() const { return get<Tensor>("Tensor"); }
bool IValue::toBool() const { return get<bool>("Bool"); }
double IValue::toDouble() const { return get<double>("Double"); }
std::int64_t IValue::toInt() const { return get<std::int64_t>("Int"); }
const std::string& IValue::toStringRef() const { return get<std::string>("String"); }
Dict<IValue, IValue> IValue::toGenericDict() const { return get<Dict<IValue, IValue>>("GenericDict"); }
std::shared_ptr<const ivalue::Tuple> IValue::toTuple() const { return get<std::shared_ptr<const ivalue::Tuple>>("Tuple"); }
const ivalue::Tuple& IValue::toTupleRef() const { return *get<std::shared_ptr<const ivalue::Tuple>>("Tuple"); }

const char* IValue::tagKind() const {
  static constexpr const char* kinds[] = {"Tensor", "Bool", "Double", "Int", "String", "IntList", "DoubleList", "TensorList", "GenericList", "GenericDict", "Tuple"};
  return isNone() ? "None" : kinds[content_->value.index()];
}

// The elements of a list that holds Ts: as a vector of them, or as values that are all of this kind.
template <class T>
std::vector<T> IValue::elements(const char* kind) const {
  const auto* const list = get_if<List<IValue>>();
  if (list == nullptr) return get<std::vector<T>>(kind);
  std::vector<T> all;
  for (const IValue& element : *list) {
    const T* const value = element.get_if<T>();
    TORCH_CHECK(value != nullptr, "Expected ", kind, " but got a list that holds ", element.tagKind());
    all.push_back(*value);
  }
  return all;
}
std::vector<std::int64_t> IValue::toIntVector() const { return elements<std::int64_t>("IntList"); }
std::vector<double> IValue::toDoubleVector() const { return elements<double>("DoubleList"); }
std::vector<Tensor> IValue::toTensorVector() const { return elements<Tensor>("TensorList"); }

List<IValue> IValue::toList() const {
  const auto copied = [](const auto& values) { return List<IValue>(std::vector<IValue>(values.begin(), values.end())); };
  if (isIntList()) return copied(get<std::vector<std::int64_t>>("IntList"));
  if (isDoubleList()) return copied(get<std::vector<double>>("DoubleList"));
  if (isTensorList()) return copied(get<std::vector<Tensor>>("TensorList"));
  return get<List<IValue>>("GenericList");
}

std::size_t IValue::hash() const {
  if (isNone()) return 0;
  if (isBool()) return std::hash<bool>{}(toBool());
  if (isInt()) return std::hash<std::int64_t>{}(toInt());
  if (isDouble()) return std::hash<double>{}(toDouble());
  TORCH_CHECK_TYPE(isString(), "unhashable type: '", tagKind(), "'\n[Dict] a key is None, a number or a text.");
  return std::hash<std::string>{}(toStringRef());
}

bool operator==(const IValue& a, const IValue& b) {
  if (a.isNone() || b.isNone()) return a.isNone() && b.isNone();
  if (a.content_->value.index() != b.content_->value.index()) return false;
  if (a.isBool()) return a.toBool() == b.toBool();
  if (a.isInt()) return a.toInt() == b.toInt();
  if (a.isDouble()) return a.toDouble() == b.toDouble();
  TORCH_CHECK_TYPE(a.isString(), "cannot compare two values of kind ", a.tagKind(), "\n[IValue] compare what they hold.");
  return a.toStringRef() == b.toStringRef();
}

}  // namespace tinytorch
