// Reads what the scripts of this folder record. A tensor is written as [dtype, shape, values], where "nan", "inf" and "-inf" stand for
// the numbers of that name.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "tinytorch/tinytorch.h"

namespace tinytorch::testing {

// The nearest folder from the working folder upwards that has tests/golden.
inline std::filesystem::path folder_with_golden() {
  for (std::filesystem::path folder = std::filesystem::current_path();; folder = folder.parent_path()) {
    if (std::filesystem::is_directory(folder / "tests/golden")) return folder;
    if (folder == folder.root_path()) throw std::runtime_error("run the tests inside the project: tests/golden is not found");
  }
}

inline nlohmann::json read_golden(const std::string& name) {
  std::ifstream in(folder_with_golden() / "tests/golden" / name);
  if (!in) throw std::runtime_error("tests/golden/" + name + " cannot be read; its script records it");
  return nlohmann::json::parse(in);
}

inline ScalarType dtype_named(const std::string& name) {
  for (const ScalarType type : {kBool, kUInt8, kInt8, kInt16, kInt32, kInt64, kHalf, kBFloat16, kFloat, kDouble})
    if (name == toString(type)) return type;
  throw std::runtime_error("no dtype is called " + name);
}

inline Tensor tensor_from(const nlohmann::json& written) {
  std::vector<double> values;
  for (const nlohmann::json& value : written.at(2))
    values.push_back(value.is_string() ? std::strtod(value.get<std::string>().c_str(), nullptr) : value.get<double>());
  const Tensor flat = empty({static_cast<std::int64_t>(values.size())}, kDouble);
  for (std::size_t i = 0; i < values.size(); ++i) flat.data<double>()[i] = values[i];
  return flat.view(written.at(1).get<std::vector<std::int64_t>>()).to(dtype_named(written.at(0).get<std::string>()));
}

}  // namespace tinytorch::testing
