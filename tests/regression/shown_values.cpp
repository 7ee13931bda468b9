// What a failing check shows of its values: elements, not "{?}".
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tito/lesson.h"

namespace tinytorch::testing {
namespace {

template <class T>
std::string shown(const T& value) {
  return doctest::toString(value).c_str();
}

TEST_CASE("a failing check shows the elements of vectors, pairs and optional values") {
  CHECK_EQ(shown(std::vector<std::int64_t>{3, 1, 2}), "{3, 1, 2}");
  CHECK_EQ(shown(std::vector<std::int64_t>()), "{}");
  CHECK_EQ(shown(std::vector<bool>{true, false}), "{true, false}");
  CHECK_EQ(shown(std::vector<std::string>{"a", "b c"}), "{a, b c}");
  CHECK_EQ(shown(std::vector<std::vector<int>>{{1}, {}}), "{{1}, {}}");
  CHECK_EQ(shown(std::vector<std::pair<int, std::optional<int>>>{{1, std::nullopt}, {2, 4}}), "{(1, nullopt), (2, 4)}");
  CHECK_EQ(shown(std::vector<int>(25, 7)), "{7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, ...}");
}

}  // namespace
}  // namespace tinytorch::testing
