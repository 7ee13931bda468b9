// What a lesson's tests and demonstrations are written with: doctest, DEMO, CHECK_CLOSE and CHECK_ERROR.
// A test that needs what a machine may lack says MESSAGE("skipped: why") and returns. One that measures says REPORT_RATIO(reached, wanted).
//
// The header names Tensor without including it, so that the lesson that defines Tensor can use it too.
#pragma once

// doctest's own toString, whatever other functions of this name (PyTorch's has one) the values bring along.
#define DOCTEST_STRINGIFY(...) ::doctest::toString(__VA_ARGS__)
#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace tinytorch {
class Tensor;
}

namespace tito {

// Where a check stands, and its text.
struct At {
  const char* file;
  int line;
  const char* text;
};

// Reports a check by its outcome: an empty `complaint` passes.
void report_check(const At& at, std::string_view complaint);

// What keeps two tensors from being close: dtype, shape, or the worst element; empty when nothing does. A
// negative tolerance means the default of the dtype, which is torch.testing's: 1.3e-6 and 1e-5 for float32,
// 1e-7 for float64.
std::string why_not_close(const tinytorch::Tensor& actual, const tinytorch::Tensor& expected, double rtol,
                          double atol);
std::string why_not_close(double actual, double expected, double rtol, double atol);

template <class Actual, class Expected>
void check_close(const At& at, const Actual& actual, const Expected& expected, double rtol = -1,
                 double atol = -1) {
  if constexpr (std::is_arithmetic_v<Actual> && std::is_arithmetic_v<Expected>) {
    report_check(at, why_not_close(static_cast<double>(actual), static_cast<double>(expected), rtol, atol));
  } else {
    report_check(at, why_not_close(actual, expected, rtol, atol));
  }
}

std::string why_not_error(std::string_view message, std::string_view part);

template <class Error, class Body>
void check_error(const At& at, std::string_view part, Body body) {
  try {
    body();
  } catch (const Error& error) {
    return report_check(at, why_not_error(error.what_without_backtrace(), part));
  }
  report_check(at, "no error was thrown");
}

// Reports that something ran `reached` times as fast as its baseline, in the test that runs. No ratio fails a test; one below `wanted` gives no points.
void report_ratio(double reached, double wanted);

// False in a program that runs the tests a student has (TITO_TESTS=visible).
bool runs_hidden_tests();

// A demonstration: `test_program --demos` runs them in the order of the lesson.
struct Demo {
  Demo(const char* name, const char* file, int line, void (*run)());
};

}  // namespace tito

#define TITO_AT(text) (::tito::At{__FILE__, __LINE__, text})

#define CHECK_CLOSE(...) ::tito::check_close(TITO_AT("CHECK_CLOSE( " #__VA_ARGS__ " )"), __VA_ARGS__)

#define CHECK_ERROR(expression, part)                                                                 \
  ::tito::check_error<::tinytorch::Error>(TITO_AT("CHECK_ERROR( " #expression ", " #part " )"), part, \
                                          [&] { static_cast<void>(expression); })

#define REPORT_RATIO(reached, wanted) ::tito::report_ratio(reached, wanted)

#define TITO_DEMO(function, name)                                                                   \
  static void function();                                                                           \
  static const ::tito::Demo DOCTEST_CAT(function, _registered)(name, __FILE__, __LINE__, function); \
  static void function()
#define DEMO(name) TITO_DEMO(DOCTEST_ANONYMOUS(tito_demo_), name)

// CHECK_EQ of two tensors compares dtype, shape and every element (NaN equals NaN).
namespace doctest {

template <>
struct StringMaker<tinytorch::Tensor> {
  static String convert(const tinytorch::Tensor& tensor);
};

// {1, 2, 3}; of more than 20 elements the first 20.
template <class T>
struct StringMaker<std::vector<T>> {
  static String convert(const std::vector<T>& values) {
    constexpr std::size_t shown = 20;
    String text = "{";
    for (std::size_t i = 0; i < values.size() && i < shown; ++i) {
      if (i > 0) text += ", ";
      text += toString(static_cast<const T&>(values[i]));
    }
    if (values.size() > shown) text += ", ...";
    text += "}";
    return text;
  }
};

template <class First, class Second>
struct StringMaker<std::pair<First, Second>> {
  static String convert(const std::pair<First, Second>& values) {
    return String("(") + toString(values.first) + ", " + toString(values.second) + ")";
  }
};

template <class T>
struct StringMaker<std::optional<T>> {
  static String convert(const std::optional<T>& value) { return value ? toString(*value) : String("nullopt"); }
};

namespace detail {

template <>
struct RelationalComparator<0, tinytorch::Tensor, tinytorch::Tensor> {
  bool operator()(const tinytorch::Tensor& left, const tinytorch::Tensor& right) const;
};

}  // namespace detail
}  // namespace doctest
