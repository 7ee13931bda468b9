// From the lesson modules/96_surface/surface_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/formatting.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iomanip>
#include <limits>
#include <string>
#include <vector>

#include "tinytorch/core/ops.h"

namespace tinytorch {

namespace {
// Restores a stream's flags, precision and fill.
class FormatGuard {
 public:
  explicit FormatGuard(std::ostream& stream) : stream_(stream), saved_(nullptr) { saved_.copyfmt(stream); }
  ~FormatGuard() { stream_.copyfmt(saved_); }
  FormatGuard(const FormatGuard&) = delete;
  FormatGuard& operator=(const FormatGuard&) = delete;

 private:
  std::ostream& stream_;
  std::ios saved_;
};

// How all numbers of one block are printed: divided by `scale`, `width` characters wide.
struct NumberFormat {
  double scale = 1;
  int width = 0;
};

// The number of digits before the point; 0 and below for numbers smaller than 1.
double digits_of(double magnitude) { return magnitude == 0 ? 1 : std::floor(std::log10(magnitude)) + 1; }

// Chooses the format for `count` numbers and sets the stream to it.
NumberFormat choose_format(std::ostream& stream, const double* values, std::int64_t count) {
  bool whole = true;
  double smallest = std::numeric_limits<double>::infinity();
  double largest = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    if (!std::isfinite(values[i])) continue;
    whole = whole && values[i] == std::ceil(values[i]);
    smallest = std::min(smallest, std::fabs(values[i]));
    largest = std::max(largest, std::fabs(values[i]));
  }
  const bool none_finite = std::isinf(smallest);
  const double least = none_finite ? 1 : digits_of(smallest);
  const double most = none_finite ? 1 : digits_of(largest);
  if (whole) {
    if (most > 9) {
      stream << std::scientific << std::setprecision(4);
      return {1, 11};
    }
    stream << std::defaultfloat;
    return {1, static_cast<int>(most) + 1};
  }
  if (most - least > 4) {
    stream << std::scientific << std::setprecision(4);
    return {1, std::fabs(most) > 99 || std::fabs(least) > 99 ? 12 : 11};
  }
  stream << std::fixed << std::setprecision(4);
  if (most > 5 || most < 0) return {std::pow(10, most - 1), 7};
  return {1, most == 0 ? 7 : static_cast<int>(most) + 6};
}

void print_scale(std::ostream& stream, double scale) {
  const FormatGuard guard(stream);
  stream << std::defaultfloat << std::setprecision(16) << scale << " *" << '\n';
}
}  // namespace

namespace {
void print_vector(std::ostream& stream, const double* values, std::int64_t count) {
  const NumberFormat format = choose_format(stream, values, count);
  if (format.scale != 1) print_scale(stream, format.scale);
  for (std::int64_t i = 0; i < count; ++i) stream << std::setw(format.width) << values[i] / format.scale << '\n';
}

// A dense matrix, in groups of as many columns as fit on a line.
void print_matrix(std::ostream& stream, const double* values, std::int64_t rows, std::int64_t columns, std::int64_t linesize, std::int64_t indent) {
  const NumberFormat format = choose_format(stream, values, rows * columns);
  const std::string margin(static_cast<std::size_t>(indent), ' ');
  const std::int64_t per_line = std::max<std::int64_t>((linesize - indent) / (format.width + 1), 1);
  for (std::int64_t first = 0; first < columns; first += per_line) {
    const std::int64_t last = std::min(first + per_line, columns) - 1;
    if (per_line < columns) {
      if (first != 0) stream << '\n';
      stream << "Columns " << first + 1 << " to " << last + 1 << margin;
    }
    if (format.scale != 1) {
      print_scale(stream, format.scale);
      stream << margin;
    }
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t column = first; column <= last; ++column)
        stream << std::setw(format.width) << values[row * columns + column] / format.scale << (column == last ? '\n' : ' ');
      if (row != rows - 1) stream << margin << (format.scale != 1 ? " " : "");
    }
  }
}

// Three dimensions and more: matrix after matrix, the first index fastest.
void print_matrices(std::ostream& stream, const Tensor& dense, std::int64_t linesize) {
  const std::size_t outer = dense.sizes().size() - 2;
  const std::int64_t rows = dense.size(-2);
  const std::int64_t columns = dense.size(-1);
  const std::int64_t matrices = dense.numel() / (rows * columns);
  std::vector<std::int64_t> index(outer);
  for (std::int64_t k = 0; k < matrices; ++k) {
    std::int64_t offset = 0;
    stream << (k == 0 ? "" : "\n") << '(';
    for (std::size_t d = 0; d < outer; ++d) {
      offset += index[d] * dense.strides()[d];
      stream << index[d] + 1 << ',';
    }
    stream << ".,.) = \n";
    print_matrix(stream, dense.data<double>() + offset, rows, columns, linesize, 1);
    for (std::size_t d = 0; d < outer && ++index[d] == dense.sizes()[d]; ++d) index[d] = 0;
  }
}
}  // namespace

namespace {
// As many digits as it takes to read the same number back; an exponent below 1e-4 and from 1e16 on.
std::string shortest_text(double value) {
  if (!std::isfinite(value)) return std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf";
  const bool fixed = value == 0 || (std::fabs(value) >= 1e-4 && std::fabs(value) < 1e16);
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value, fixed ? std::chars_format::fixed : std::chars_format::scientific).ptr;
  return {text, end};
}
}  // namespace

std::ostream& print(std::ostream& stream, const Tensor& tensor, std::int64_t linesize) {
  if (!tensor.defined()) return stream << "[ Tensor (undefined) ]";
  const FormatGuard guard(stream);
  const AutoDispatchBelowAutograd below;
  const Tensor dense = to_host(tensor).to(kDouble).contiguous();
  const double* const values = dense.data<double>();
  if (dense.dim() == 0) {
    stream << shortest_text(values[0]) << '\n';
  } else if (dense.numel() > 0) {
    if (dense.dim() == 1) print_vector(stream, values, dense.size(0));
    else if (dense.dim() == 2) print_matrix(stream, values, dense.size(0), dense.size(1), linesize, 0);
    else print_matrices(stream, dense, linesize);
  }
  stream << "[ " << tensor.toString() << '{';
  for (std::size_t d = 0; d < dense.sizes().size(); ++d) stream << (d == 0 ? "" : ",") << dense.sizes()[d];
  return stream << "} ]";
}

std::ostream& operator<<(std::ostream& stream, const Tensor& tensor) { return print(stream, tensor, 80); }

}  // namespace tinytorch
