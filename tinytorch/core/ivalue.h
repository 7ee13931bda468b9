// From the lesson modules/99_autograd_extras/autograd_extras_dev.cpp:
// edit the module, not this file.
#pragma once

#include <memory>
#include <string>
#include <variant>
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
  IValue(Tensor value) : value_(std::move(value)) {}
  IValue(bool value) : value_(value) {}
  IValue(double value) : value_(value) {}
  template <class Int>
    requires(std::is_integral_v<Int> && !std::is_same_v<Int, bool>)
  IValue(Int value) : value_(static_cast<std::int64_t>(value)) {}
  IValue(const char* value) : value_(std::string(value)) {}
  IValue(std::string value) : value_(std::move(value)) {}
  IValue(std::vector<std::int64_t> values) : value_(std::move(values)) {}
  IValue(IntArrayRef values) : value_(values.vec()) {}
  IValue(std::vector<double> values) : value_(std::move(values)) {}
  IValue(std::vector<Tensor> values) : value_(std::move(values)) {}
  IValue(List<IValue> values) : value_(std::move(values)) {}
  IValue(Dict<IValue, IValue> entries) : value_(std::move(entries)) {}
  IValue(std::shared_ptr<const ivalue::Tuple> tuple) : value_(std::move(tuple)) {}
  // A dictionary or list of values of one kind is copied into one of values of any kind.
  template <class Key, class Value>
  IValue(const Dict<Key, Value>& entries);
  template <class T>
  IValue(const List<T>& values);

  bool isNone() const { return is<std::monostate>(); }
  bool isTensor() const { return is<Tensor>(); }
  bool isBool() const { return is<bool>(); }
  bool isDouble() const { return is<double>(); }
  bool isInt() const { return is<std::int64_t>(); }
  bool isString() const { return is<std::string>(); }
  bool isIntList() const { return is<std::vector<std::int64_t>>(); }
  bool isDoubleList() const { return is<std::vector<double>>(); }
  bool isTensorList() const { return is<std::vector<Tensor>>(); }
  bool isList() const { return is<List<IValue>>() || isIntList() || isDoubleList() || isTensorList(); }
  bool isGenericDict() const { return is<Dict<IValue, IValue>>(); }
  bool isTuple() const { return is<std::shared_ptr<const ivalue::Tuple>>(); }

  // Each throws if the value is of another kind. A list of any kind whose elements fit is also a list of their kind.
  const Tensor& toTensor() const { return get<Tensor>("Tensor"); }
  bool toBool() const { return get<bool>("Bool"); }
  double toDouble() const { return get<double>("Double"); }
  std::int64_t toInt() const { return get<std::int64_t>("Int"); }
  const std::string& toStringRef() const { return get<std::string>("String"); }
  std::vector<std::int64_t> toIntVector() const;
  std::vector<double> toDoubleVector() const;
  std::vector<Tensor> toTensorVector() const;
  List<IValue> toList() const;
  Dict<IValue, IValue> toGenericDict() const { return get<Dict<IValue, IValue>>("GenericDict"); }
  std::shared_ptr<const ivalue::Tuple> toTuple() const { return get<std::shared_ptr<const ivalue::Tuple>>("Tuple"); }
  const ivalue::Tuple& toTupleRef() const { return *get<std::shared_ptr<const ivalue::Tuple>>("Tuple"); }
  const char* tagKind() const;  // "Tensor", "Int", ...

  // What may be a key of a dictionary: None, numbers and texts. Both throw for other kinds.
  std::size_t hash() const;
  friend bool operator==(const IValue& a, const IValue& b);

 private:
  template <class T>
  bool is() const {
    return std::holds_alternative<T>(value_);
  }
  template <class T>
  const T& get(const char* kind) const {
    TORCH_CHECK(is<T>(), "Expected ", kind, " but got ", tagKind());
    return std::get<T>(value_);
  }
  template <class T>
  std::vector<T> elements(const char* kind) const;

  std::variant<std::monostate, Tensor, bool, double, std::int64_t, std::string, std::vector<std::int64_t>, std::vector<double>, std::vector<Tensor>, List<IValue>,
               Dict<IValue, IValue>, std::shared_ptr<const ivalue::Tuple>>
      value_;
};

namespace impl {
using GenericList = List<IValue>;
using GenericDict = Dict<IValue, IValue>;
}  // namespace impl

inline ivalue::Tuple::Tuple(std::vector<IValue> elements) : elements_(std::move(elements)) {}
inline std::shared_ptr<const ivalue::Tuple> ivalue::Tuple::create(std::vector<IValue> elements) { return std::make_shared<const Tuple>(std::move(elements)); }

template <class Key, class Value>
IValue::IValue(const Dict<Key, Value>& entries) {
  const Dict<IValue, IValue> generic;
  for (const auto& entry : entries) generic.insert(IValue(entry.key()), IValue(entry.value()));
  value_ = generic;
}
template <class T>
IValue::IValue(const List<T>& values) {
  const List<IValue> generic;
  for (const T& value : values) generic.push_back(IValue(value));
  value_ = generic;
}

}  // namespace tinytorch
