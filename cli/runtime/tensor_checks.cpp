// How a failing check shows tensors, and how CHECK_EQ and CHECK_CLOSE compare them.
//
// The elements are read through sizes, strides and the data pointer alone, so that a mistake in an operator
// cannot hide itself by also breaking the comparison.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <sstream>
#include <string>
#include <vector>

#include "tinytorch/core/tensor.h"
#include "tito/difference.h"
#include "tito/lesson.h"

namespace tito {
namespace {

using tinytorch::ScalarType;
using tinytorch::Tensor;

// One element, in the widest type that holds it exactly.
struct Element {
  bool integral = true;
  std::int64_t whole = 0;
  double real = 0;

  double value() const { return integral ? static_cast<double>(whole) : real; }
};

template <class T>
T read(const char* address) {
  T value;
  std::memcpy(&value, address, sizeof value);
  return value;
}

std::size_t bytes_of(ScalarType type) {
  switch (type) {
    case ScalarType::Byte:
    case ScalarType::Char:
    case ScalarType::Bool:
      return 1;
    case ScalarType::Short:
    case ScalarType::Half:
    case ScalarType::BFloat16:
      return 2;
    case ScalarType::Int:
    case ScalarType::Float:
      return 4;
    default:
      return 8;
  }
}

Element read_element(ScalarType type, const char* address) {
  switch (type) {
    case ScalarType::Byte:
      return {true, read<std::uint8_t>(address), 0};
    case ScalarType::Char:
      return {true, read<std::int8_t>(address), 0};
    case ScalarType::Bool:
      return {true, read<std::uint8_t>(address), 0};
    case ScalarType::Short:
      return {true, read<std::int16_t>(address), 0};
    case ScalarType::Int:
      return {true, read<std::int32_t>(address), 0};
    case ScalarType::Long:
      return {true, read<std::int64_t>(address), 0};
    case ScalarType::Half:
      return {false, 0, static_cast<float>(read<tinytorch::Half>(address))};
    case ScalarType::BFloat16:
      return {false, 0, static_cast<float>(read<tinytorch::BFloat16>(address))};
    case ScalarType::Float:
      return {false, 0, read<float>(address)};
    default:
      return {false, 0, read<double>(address)};
  }
}

std::vector<std::int64_t> sizes_of(const Tensor& tensor) {
  return {tensor.sizes().begin(), tensor.sizes().end()};
}

std::int64_t count_of(const std::vector<std::int64_t>& sizes) {
  std::int64_t count = 1;
  for (const std::int64_t size : sizes) count *= size;
  return count;
}

// Position `index` of `sizes` in row-major order.
std::vector<std::int64_t> position(std::int64_t index, const std::vector<std::int64_t>& sizes) {
  std::vector<std::int64_t> at(sizes.size());
  for (std::size_t d = sizes.size(); d-- > 0;) {
    at[d] = index % sizes[d];
    index /= sizes[d];
  }
  return at;
}

Element element(const Tensor& tensor, const std::vector<std::int64_t>& at) {
  std::int64_t offset = 0;
  for (std::size_t d = 0; d < at.size(); ++d) offset += at[d] * tensor.strides()[d];
  const ScalarType type = tensor.scalar_type();
  const char* data = static_cast<const char*>(tensor.data_ptr());
  return read_element(type, data + offset * static_cast<std::int64_t>(bytes_of(type)));
}

std::string text_of(const Element& element, int digits) {
  if (element.integral) return std::to_string(element.whole);
  std::ostringstream out;
  out.precision(digits);
  out << element.real;
  return out.str();
}

std::string text_of(const std::vector<std::int64_t>& numbers) {
  std::string text = "[";
  for (std::size_t i = 0; i < numbers.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(numbers[i]);
  return text + "]";
}

std::string text_of(ScalarType type) {
  std::ostringstream out;
  out << type;
  return out.str();
}

bool same(const Element& left, const Element& right) {
  if (left.integral) return left.whole == right.whole;
  return left.real == right.real || (std::isnan(left.real) && std::isnan(right.real));
}

// Why two tensors cannot be compared element by element; empty when they can.
std::string different_kind(const Tensor& left, const Tensor& right) {
  if (left.defined() != right.defined()) return "one of the two tensors is undefined";
  if (!left.defined()) return "";
  if (left.scalar_type() != right.scalar_type()) {
    return "the dtypes differ: " + text_of(left.scalar_type()) + " and " + text_of(right.scalar_type());
  }
  if (sizes_of(left) != sizes_of(right)) {
    return "the shapes differ: " + text_of(sizes_of(left)) + " and " + text_of(sizes_of(right));
  }
  return "";
}

std::string first_difference(const Tensor& left, const Tensor& right) {
  const std::string kind = different_kind(left, right);
  if (!kind.empty() || !left.defined()) return kind;
  const std::vector<std::int64_t> sizes = sizes_of(left);
  std::int64_t count = 0;
  std::string first;
  for (std::int64_t i = 0; i < count_of(sizes); ++i) {
    const std::vector<std::int64_t> at = position(i, sizes);
    const Element a = element(left, at);
    const Element b = element(right, at);
    if (same(a, b)) continue;
    if (++count == 1)
      first = "first difference at " + text_of(at) + ": " + text_of(a, 17) + " and " + text_of(b, 17);
  }
  if (count > 1) first += " (" + std::to_string(count) + " elements differ)";
  return first;
}

double default_rtol(ScalarType type) {
  switch (type) {
    case ScalarType::Half:
      return 1e-3;
    case ScalarType::BFloat16:
      return 1.6e-2;
    case ScalarType::Float:
      return 1.3e-6;
    case ScalarType::Double:
      return 1e-7;
    default:
      return 0;
  }
}

double default_atol(ScalarType type) {
  switch (type) {
    case ScalarType::Half:
    case ScalarType::BFloat16:
    case ScalarType::Float:
      return 1e-5;
    case ScalarType::Double:
      return 1e-7;
    default:
      return 0;
  }
}

}  // namespace

std::string why_not_close(const Tensor& actual, const Tensor& expected, double rtol, double atol) {
  const std::string kind = different_kind(actual, expected);
  if (!kind.empty() || !actual.defined()) return kind;
  const double relative = rtol < 0 ? default_rtol(actual.scalar_type()) : rtol;
  const double absolute = atol < 0 ? default_atol(actual.scalar_type()) : atol;
  const std::vector<std::int64_t> sizes = sizes_of(actual);
  double worst = 0;
  std::string complaint;
  for (std::int64_t i = 0; i < count_of(sizes); ++i) {
    const std::vector<std::int64_t> at = position(i, sizes);
    const Element a = element(actual, at);
    const Element b = element(expected, at);
    if (same(a, b)) continue;
    const double difference = std::abs(a.value() - b.value());
    const double allowed = absolute + relative * std::abs(b.value());
    if (difference <= allowed || (!complaint.empty() && !(difference - allowed > worst))) continue;
    worst = difference - allowed;
    std::ostringstream text;
    text << "the worst difference is at " << text_of(at) << ": " << text_of(a, 9) << " and " << text_of(b, 9)
         << " differ by " << difference << ", " << allowed << " is allowed";
    complaint = text.str();
  }
  return complaint;
}

}  // namespace tito

namespace doctest {

String StringMaker<tinytorch::Tensor>::convert(const tinytorch::Tensor& tensor) {
  if (!tensor.defined()) return "an undefined tensor";
  constexpr std::int64_t shown = 12;
  const std::vector<std::int64_t> sizes = tito::sizes_of(tensor);
  const std::int64_t count = tito::count_of(sizes);
  std::string text = tito::text_of(tensor.scalar_type()) + tito::text_of(sizes) + " {";
  for (std::int64_t i = 0; i < std::min(count, shown); ++i) {
    text += (i == 0 ? "" : ", ") + tito::text_of(tito::element(tensor, tito::position(i, sizes)), 6);
  }
  text += count > shown ? ", ...}" : "}";
  return text.c_str();
}

namespace detail {

bool RelationalComparator<0, tinytorch::Tensor, tinytorch::Tensor>::operator()(
    const tinytorch::Tensor& left, const tinytorch::Tensor& right) const {
  tito::last_difference() = tito::first_difference(left, right);
  return tito::last_difference().empty();
}

}  // namespace detail
}  // namespace doctest
