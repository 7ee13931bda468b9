// From the lesson modules/99_autograd_extras/autograd_extras_dev.cpp:
// edit the module, not this file.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "tinytorch/core/tensor.h"

namespace tinytorch {

// One value: nothing, a tensor, a number, a text, or a list. Source: aten/src/ATen/core/ivalue.h.
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

  bool isNone() const { return is<std::monostate>(); }
  bool isTensor() const { return is<Tensor>(); }
  bool isBool() const { return is<bool>(); }
  bool isDouble() const { return is<double>(); }
  bool isInt() const { return is<std::int64_t>(); }
  bool isString() const { return is<std::string>(); }
  bool isIntList() const { return is<std::vector<std::int64_t>>(); }
  bool isDoubleList() const { return is<std::vector<double>>(); }
  bool isTensorList() const { return is<std::vector<Tensor>>(); }

  // Each throws if the value is of another kind.
  const Tensor& toTensor() const { return get<Tensor>("Tensor"); }
  bool toBool() const { return get<bool>("Bool"); }
  double toDouble() const { return get<double>("Double"); }
  std::int64_t toInt() const { return get<std::int64_t>("Int"); }
  const std::string& toStringRef() const { return get<std::string>("String"); }
  std::vector<std::int64_t> toIntVector() const { return get<std::vector<std::int64_t>>("IntList"); }
  std::vector<double> toDoubleVector() const { return get<std::vector<double>>("DoubleList"); }
  std::vector<Tensor> toTensorVector() const { return get<std::vector<Tensor>>("TensorList"); }
  const char* tagKind() const;  // "Tensor", "Int", ...

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

  std::variant<std::monostate, Tensor, bool, double, std::int64_t, std::string, std::vector<std::int64_t>, std::vector<double>, std::vector<Tensor>> value_;
};

}  // namespace tinytorch
