// From the lesson modules/99_autograd_extras/autograd_extras_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/ivalue.h"

#include <functional>

namespace tinytorch {

const char* IValue::tagKind() const {
  static constexpr const char* kinds[] = {"None", "Tensor", "Bool", "Double", "Int", "String", "IntList", "DoubleList", "TensorList", "GenericList", "GenericDict", "Tuple"};
  return kinds[value_.index()];
}

// The elements of a list that holds Ts: as a vector of them, or as values that are all of this kind.
template <class T>
std::vector<T> IValue::elements(const char* kind) const {
  if (!is<List<IValue>>()) return get<std::vector<T>>(kind);
  std::vector<T> all;
  for (const IValue& element : std::get<List<IValue>>(value_)) {
    const T* const value = std::get_if<T>(&element.value_);
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
  if (isIntList()) return copied(std::get<std::vector<std::int64_t>>(value_));
  if (isDoubleList()) return copied(std::get<std::vector<double>>(value_));
  if (isTensorList()) return copied(std::get<std::vector<Tensor>>(value_));
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
  if (a.value_.index() != b.value_.index()) return false;
  if (a.isNone()) return true;
  if (a.isBool()) return a.toBool() == b.toBool();
  if (a.isInt()) return a.toInt() == b.toInt();
  if (a.isDouble()) return a.toDouble() == b.toDouble();
  TORCH_CHECK_TYPE(a.isString(), "cannot compare two values of kind ", a.tagKind(), "\n[IValue] compare what they hold.");
  return a.toStringRef() == b.toStringRef();
}

}  // namespace tinytorch
