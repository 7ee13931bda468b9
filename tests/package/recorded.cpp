#include "package/recorded.h"

#include "golden/reader.h"

namespace tinytorch::testing {
namespace {

Outcome outcome_from(const nlohmann::json& written) {
  Outcome outcome;
  if (written.is_object()) {
    outcome.error = written.at("error").get<std::string>();
  } else {
    for (const nlohmann::json& tensor : written) outcome.tensors.push_back(tensor_from(tensor));
  }
  return outcome;
}

Recorded recorded_from(const nlohmann::json& written) {
  Recorded out;
  for (const auto& [key, value] : written.items()) {
    if (key == "inputs") {
      out.inputs = outcome_from(value).tensors;
    } else if (key == "shares") {
      for (const nlohmann::json& flag : value) out.shares.push_back(flag.get<int>() != 0);
    } else if (key == "gradients") {
      out.gradients.emplace();
      for (const nlohmann::json& one : value) out.gradients->push_back(one.is_null() ? Tensor() : tensor_from(one));
    } else {
      out.outcomes.emplace(key, outcome_from(value));
    }
  }
  return out;
}

struct File {
  std::map<std::string, Recorded> cases;
  std::map<std::string, std::vector<std::string>> promotion;
};

const File& file() {
  static const File contents = [] {
    const nlohmann::json document = read_golden("operators.json");
    File out;
    for (const nlohmann::json& part : {document, read_golden("image_operators.json"), read_golden("breadth_operators.json"), read_golden("composed_operators.json")})
      for (const auto& [name, written] : part.at("cases").items()) out.cases.emplace(name, recorded_from(written));
    for (const auto& [name, rows] : document.at("promotion").items())
      out.promotion.emplace(name, rows.get<std::vector<std::string>>());
    return out;
  }();
  return contents;
}

// As as_type() in record_operators.py.
Tensor as_type(const Tensor& x, ScalarType type) {
  if (type == kBool) return x > 0;
  if (type == kUInt8) return (x * 3).abs().to(type);
  return (isFloatingType(type) ? x : x * 3).to(type);
}

Tensor changed(const Tensor& x, const std::string& variant) {
  if (!x.is_floating_point() || variant == "Double") return x.clone();
  if (variant == "0-d") return x.reshape({-1}).select(0, 0).clone();
  if (variant == "empty") return x.slice(0, 0, 0).clone();
  return as_type(x, dtype_named(variant)).clone();
}

}  // namespace

const Recorded& recorded(const std::string& name) {
  const auto found = file().cases.find(name);
  if (found == file().cases.end())
    throw std::runtime_error("nothing is recorded for " + name + "; add it to tests/golden/record_operators.py or its like");
  return found->second;
}

std::vector<std::string> recorded_names() {
  std::vector<std::string> names;
  for (const auto& [name, unused] : file().cases) names.push_back(name);
  return names;
}

const std::map<std::string, std::vector<std::string>>& recorded_promotion() { return file().promotion; }

Inputs inputs_of(const Recorded& of, const std::string& variant) {
  Inputs inputs;
  for (const Tensor& x : of.inputs) inputs.push_back(changed(x, variant));
  return inputs;
}

Tensor weights_like(const Tensor& like) { return (arange(like.numel(), kDouble) * 0.37 + 0.5).view(like.sizes()); }

std::filesystem::path project_folder() { return folder_with_golden(); }

}  // namespace tinytorch::testing
