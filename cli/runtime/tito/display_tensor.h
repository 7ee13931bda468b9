// Tensors as tables and heat maps. Reads the elements through sizes, strides and the data pointer alone, so that it works
// while the operators are still being written.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "tinytorch/core/tensor.h"
#include "tito/display.h"

namespace tito {

inline constexpr std::int64_t most_shown = 4096;  // elements that are sent; of larger tensors, the first ones

template <class T>
double element_as(const char* address) {
  T value;
  std::memcpy(&value, address, sizeof value);
  return static_cast<double>(value);
}

inline double element_at(tinytorch::ScalarType type, const char* data, std::int64_t offset) {
  using tinytorch::ScalarType;
  switch (type) {
    case ScalarType::Bool:
    case ScalarType::Byte:
      return element_as<std::uint8_t>(data + offset);
    case ScalarType::Char:
      return element_as<std::int8_t>(data + offset);
    case ScalarType::Short:
      return element_as<std::int16_t>(data + offset * 2);
    case ScalarType::Int:
      return element_as<std::int32_t>(data + offset * 4);
    case ScalarType::Long:
      return element_as<std::int64_t>(data + offset * 8);
    case ScalarType::Half:
      return element_as<tinytorch::Half>(data + offset * 2);
    case ScalarType::BFloat16:
      return element_as<tinytorch::BFloat16>(data + offset * 2);
    case ScalarType::Float:
      return element_as<float>(data + offset * 4);
    case ScalarType::Double:
      return element_as<double>(data + offset * 8);
  }
  return 0;
}

inline std::string_view type_name(tinytorch::ScalarType type) {
  using tinytorch::ScalarType;
  switch (type) {
    case ScalarType::Bool:
      return "bool";
    case ScalarType::Byte:
      return "uint8";
    case ScalarType::Char:
      return "int8";
    case ScalarType::Short:
      return "int16";
    case ScalarType::Int:
      return "int32";
    case ScalarType::Long:
      return "int64";
    case ScalarType::Half:
      return "float16";
    case ScalarType::BFloat16:
      return "bfloat16";
    case ScalarType::Float:
      return "float32";
    case ScalarType::Double:
      return "float64";
  }
  return "";
}

// In the order of the rows; at most `count`.
inline std::vector<double> first_elements(const tinytorch::Tensor& tensor, std::int64_t count) {
  const std::vector<std::int64_t> sizes(tensor.sizes().begin(), tensor.sizes().end());
  const std::vector<std::int64_t> strides(tensor.strides().begin(), tensor.strides().end());
  std::vector<std::int64_t> at(sizes.size(), 0);
  std::vector<double> out;
  std::int64_t left = 1;
  for (const std::int64_t size : sizes) left *= size;
  const char* data = left == 0 ? nullptr : static_cast<const char*>(tensor.data_ptr());
  for (left = left < count ? left : count; left > 0; --left) {
    std::int64_t offset = 0;
    for (std::size_t d = 0; d < at.size(); ++d) offset += at[d] * strides[d];
    out.push_back(element_at(tensor.scalar_type(), data, offset));
    for (std::size_t d = at.size(); d-- > 0;) {
      if (++at[d] < sizes[d]) break;
      at[d] = 0;
    }
  }
  return out;
}

inline void display_tensor(std::string_view kind, const tinytorch::Tensor& tensor, const std::string& title) {
  if (!tensor.defined()) {
    std::cout << "an undefined tensor" << std::endl;
    return;
  }
  display(kind, "\"title\":" + json_text(title) + ",\"dtype\":" + json_text(type_name(tensor.scalar_type())) +
                    ",\"sizes\":" + json_numbers(tensor.sizes()) + ",\"values\":" + json_numbers(first_elements(tensor, most_shown)));
}

inline void show(const tinytorch::Tensor& tensor, const std::string& title = "") { display_tensor("tensor", tensor, title); }
inline void heat_map(const tinytorch::Tensor& tensor, const std::string& title = "") { display_tensor("heat_map", tensor, title); }

inline void show(const std::vector<tinytorch::Tensor>& tensors) {
  for (const tinytorch::Tensor& tensor : tensors) show(tensor);
}

}  // namespace tito
