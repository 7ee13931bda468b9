// From the lesson modules/99_autograd_extras/autograd_extras_dev.cpp:
// edit the module, not this file.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tinytorch/core/dict.h"
#include "tinytorch/core/tensor.h"

namespace tinytorch {

class IValue;
namespace ivalue {

// A list that cannot change.
class Tuple {
 public:
  explicit Tuple(std::vector<IValue> elements);
  static std::shared_ptr<const Tuple> create(std::vector<IValue> elements);
  const std::vector<IValue>& elements() const { return elements_; }

 private:
  std::vector<IValue> elements_;
};

}  // namespace ivalue

// One value: nothing, a tensor, a number, a text, a list, a tuple or a dictionary. Source: aten/src/ATen/core/ivalue.h.
class IValue {
 public:
  IValue() = default;
  IValue(std::nullopt_t) {}
  IValue(Tensor value);
  IValue(bool value);
  IValue(double value);
  IValue(std::int64_t value);
  template <class Int>
    requires(std::is_integral_v<Int> && !std::is_same_v<Int, bool> && !std::is_same_v<Int, std::int64_t>)
  IValue(Int value) : IValue(static_cast<std::int64_t>(value)) {}
  IValue(const char* value);
  IValue(std::string value);
  IValue(std::vector<std::int64_t> values);
  IValue(IntArrayRef values);
  IValue(std::vector<double> values);
  IValue(std::vector<Tensor> values);
  IValue(List<IValue> values);
  IValue(Dict<IValue, IValue> entries);
  IValue(std::shared_ptr<const ivalue::Tuple> tuple);
  // A dictionary or list of values of one kind is copied into one of values of any kind.
  template <class Key, class Value>
  IValue(const Dict<Key, Value>& entries);
  template <class T>
  IValue(const List<T>& values);

  bool isNone() const { return content_ == nullptr; }
  bool isTensor() const;
  bool isBool() const;
  bool isDouble() const;
  bool isInt() const;
  bool isString() const;
  bool isIntList() const;
  bool isDoubleList() const;
  bool isTensorList() const;
  bool isList() const;
  bool isGenericDict() const;
  bool isTuple() const;

  // Each throws if the value is of another kind. A list of any kind whose elements fit is also a list of their kind.
  const Tensor& toTensor() const;
  bool toBool() const;
  double toDouble() const;
  std::int64_t toInt() const;
  const std::string& toStringRef() const;
  std::vector<std::int64_t> toIntVector() const;
  std::vector<double> toDoubleVector() const;
  std::vector<Tensor> toTensorVector() const;
  List<IValue> toList() const;
  Dict<IValue, IValue> toGenericDict() const;
  std::shared_ptr<const ivalue::Tuple> toTuple() const;
  const ivalue::Tuple& toTupleRef() const;
  const char* tagKind() const;  // "Tensor", "Int", ...

  // What may be a key of a dictionary: None, numbers and texts. Both throw for other kinds.
  std::size_t hash() const;
  friend bool operator==(const IValue& a, const IValue& b);

 private:
  // A std::variant, which stands in the source: copying and moving one is much code, which each file that saw it would compile.
  struct Content;
  template <class T>
  const T* get_if() const;
  template <class T>
  const T& get(const char* kind) const;
  template <class T>
  std::vector<T> elements(const char* kind) const;

  std::shared_ptr<const Content> content_;  // null: None. Copies share it, since it never changes.
};

namespace impl {
using GenericList = List<IValue>;
using GenericDict = Dict<IValue, IValue>;
}  // namespace impl

template <class Key, class Value>
IValue::IValue(const Dict<Key, Value>& entries) {
  const Dict<IValue, IValue> generic;
  for (const auto& entry : entries) generic.insert(IValue(entry.key()), IValue(entry.value()));
  *this = IValue(generic);
}
template <class T>
IValue::IValue(const List<T>& values) {
  const List<IValue> generic;
  for (const T& value : values) generic.push_back(IValue(value));
  *this = IValue(generic);
}

}  // namespace tinytorch
