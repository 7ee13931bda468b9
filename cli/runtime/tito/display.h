// Pictures and tables in a notebook, for a cell with statements:
//
//   tito::show(tensor)                     a table; a last line `tensor` without a semicolon does the same
//   tito::heat_map(tensor)                 a matrix as colours
//   tito::plot({{"loss", losses}})         curves
//   tito::graph(loss)                      the autograd graph behind a tensor
//
// Each prints one line of JSON behind a mark, which the kernel turns into HTML or SVG; in a terminal it prints nothing.
#pragma once

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "tito/json_text.h"

namespace tito {

// In a notebook a program prints line by line, so that a crash takes nothing with it.
inline const bool prints_lines = std::getenv("TITO_DISPLAY") != nullptr && std::setvbuf(stdout, nullptr, _IOLBF, 1 << 16) == 0;

// JSON has no NaN and no infinity: they are written as texts.
inline std::string json_number(double value) {
  if (std::isnan(value)) return "\"nan\"";
  if (std::isinf(value)) return value < 0 ? "\"-inf\"" : "\"inf\"";
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", value);
  return text;
}

template <class Values>
std::string json_numbers(const Values& values) {
  std::string out = "[";
  for (const auto value : values) out += (out.size() == 1 ? "" : ",") + json_number(static_cast<double>(value));
  return out + "]";
}

// `kind` says what the kernel makes of `fields`, the inside of a JSON object.
inline void display(std::string_view kind, const std::string& fields) {
  if (std::getenv("TITO_DISPLAY") == nullptr) return;
  std::cout.flush();
  std::printf("\x1e{\"kind\":%s,%s}\n", json_text(kind).c_str(), fields.c_str());
  std::fflush(stdout);
}

// One curve; without x, against 0, 1, 2, ...
struct Series {
  std::string name;
  std::vector<double> y;
  std::vector<double> x = {};
};

inline void plot(const std::vector<Series>& series, const std::string& title = "", const std::string& x_label = "",
                 const std::string& y_label = "") {
  std::string curves;
  for (const Series& one : series) {
    curves += (curves.empty() ? "" : ",") + std::string("{\"name\":") + json_text(one.name) + ",\"x\":" + json_numbers(one.x) +
              ",\"y\":" + json_numbers(one.y) + "}";
  }
  display("plot", "\"series\":[" + curves + "],\"title\":" + json_text(title) + ",\"x_label\":" + json_text(x_label) +
                      ",\"y_label\":" + json_text(y_label));
}

inline void plot(const std::vector<double>& values, const std::string& title = "") { plot({Series{"", values}}, title); }

template <class T>
concept Printable = requires(std::ostream& out, const T& value) { out << value; };

// The value of a cell's last line.
template <class T>
void show(const T& value) {
  if constexpr (Printable<T>) {
    std::ostringstream text;
    text << std::boolalpha << value;
    std::cout << text.str() << '\n';
  } else if constexpr (requires { value.begin() != value.end(); }) {
    std::cout << '{';
    const char* between = "";
    for (const auto& one : value) {
      std::cout << between;
      if constexpr (Printable<std::remove_cvref_t<decltype(one)>>) {
        std::cout << one;
      } else {
        std::cout << "...";
      }
      between = ", ";
    }
    std::cout << "}\n";
  } else {
    std::cout << "a value that has no operator<<\n";
  }
  std::cout.flush();
}

}  // namespace tito

#if __has_include("tinytorch/core/tensor.h")
#include "tito/display_tensor.h"
#endif
#if __has_include("tinytorch/core/node.h")
#include "tito/display_graph.h"
#endif
