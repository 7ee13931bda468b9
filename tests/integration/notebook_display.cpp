// What a cell of a notebook hands to the kernel: a line of JSON for a tensor, a heat map or a graph.
#include "tito/display.h"

#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "tinytorch/tinytorch.h"
#include "tito/lesson.h"

namespace tinytorch {
namespace {

// What `shows` prints on stdout in a notebook, which is told apart by a variable.
std::string printed(const std::function<void()>& shows) {
  std::FILE* const file = std::tmpfile();
  REQUIRE(file != nullptr);
  std::fflush(stdout);
  const int terminal = dup(STDOUT_FILENO);
  dup2(fileno(file), STDOUT_FILENO);
  setenv("TITO_DISPLAY", "1", 1);
  shows();
  std::cout.flush();
  std::fflush(stdout);
  unsetenv("TITO_DISPLAY");
  dup2(terminal, STDOUT_FILENO);
  close(terminal);
  std::rewind(file);
  std::string text;
  for (std::array<char, 4096> part; const std::size_t size = std::fread(part.data(), 1, part.size(), file);) text.append(part.data(), size);
  std::fclose(file);
  return text;
}

nlohmann::json handed_over(const std::function<void()>& shows) {
  const std::string text = printed(shows);
  REQUIRE_EQ(text.substr(0, 1), "\x1e");
  return nlohmann::json::parse(text.substr(1));
}

}  // namespace

TEST_CASE("notebook: tensors of every dtype, by their strides") {
  const std::pair<ScalarType, std::string> types[] = {{kBool, "bool"},   {kUInt8, "uint8"},  {kInt8, "int8"},         {kInt16, "int16"},     {kInt32, "int32"},
                                                      {kInt64, "int64"}, {kHalf, "float16"}, {kBFloat16, "bfloat16"}, {kFloat, "float32"}, {kDouble, "float64"}};
  for (const auto& type : types) {
    const std::string& name = type.second;
    CAPTURE(name);
    const Tensor tensor = tinytorch::tensor({{0.0, 1.0}, {1.0, 0.0}, {1.0, 1.0}}).to(type.first).t();
    const nlohmann::json shown = handed_over([&] { tito::show(tensor, "a \"name\""); });
    CHECK_EQ(shown, nlohmann::json{{"kind", "tensor"}, {"title", "a \"name\""}, {"dtype", name}, {"sizes", {2, 3}}, {"values", {0, 1, 1, 1, 0, 1}}});
  }
  CHECK_EQ(handed_over([] { tito::heat_map(tinytorch::tensor({0.5, std::nan("")})); }).at("values"), nlohmann::json{0.5, "nan"});
  CHECK_EQ(handed_over([] { tito::show(zeros({0, 3})); }).at("values").size(), 0);
  CHECK_EQ(printed([] { tito::show(Tensor()); }), "an undefined tensor\n");
}

TEST_CASE("notebook: the graph behind a tensor") {
  const Tensor x = ones({2, 3}, requires_grad());
  const nlohmann::json shown = handed_over([&] { tito::graph((x * x).sum(), "squares"); });
  CHECK_EQ(shown.at("kind"), "graph");
  std::vector<std::string> names;
  for (const nlohmann::json& node : shown.at("nodes")) names.push_back(node.at("name"));
  CHECK_EQ(names.size(), 3);
  CHECK_EQ(names[0], "SumBackward0");
  CHECK_EQ(names[1], "MulBackward0");
  CHECK_EQ(shown.at("nodes")[1].at("sizes"), "[2, 3]");
  // The product reads x twice: two arrows end at the leaf.
  CHECK_EQ(shown.at("edges"), nlohmann::json{{0, 1}, {1, 2}, {1, 2}});
  CHECK_EQ(shown.at("left_out"), 0);
  CHECK(handed_over([&] { tito::graph(x.detach()); }).at("nodes").empty());
}

}  // namespace tinytorch
