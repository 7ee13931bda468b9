// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch
// ---

// %% [markdown]
// # Library chapter 91: Printing
//
// `std::cout << tensor` prints what PyTorch's C++ frontend prints, to the character, so that outputs can be compared. All elements share one format, which is chosen by the smallest and the largest of
// them: whole numbers without a point, fixed with four digits, a common scale in front of very large or very small ones, or an exponent if they differ too much. Matrices that are wider than
// the line are split into groups of columns.
//
//     std::cout << tensor({{1.0, 2.5}, {3.0, 1000.0}});
//
//     1.0000e+00  2.5000e+00          or, for {{1.0, 2.5}}:      1.0000  2.5000
//     3.0000e+00  1.0000e+03                                    [ CPUFloatType{1,2} ]
//     [ CPUFloatType{2,2} ]

// %%
//| after 01
//| export core/formatting.h
#include <ostream>
#include "tinytorch/core/ops.h"
//| export core/formatting.cpp
#include <algorithm>
#include <cmath>
#include <iomanip>
#include <limits>
#include <string>
#include <vector>
#include "tinytorch/core/ops.h"

// %%
#include <limits>
#include <sstream>
#include "tinytorch/core/formatting.h"
#include "tinytorch/core/tensor_data.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %%
//| export core/formatting.h
// Prints all elements, then dtype and sizes: `[ CPUFloatType{2,2} ]`. Lines hold up to `linesize` characters. The stream's format is left as it was.
// Source: aten/src/ATen/core/Formatting.cpp.
std::ostream& print(std::ostream& stream, const Tensor& tensor, std::int64_t linesize);
std::ostream& operator<<(std::ostream& stream, const Tensor& tensor);

// %%
//| export core/formatting.cpp
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

// %%
//| export core/formatting.cpp
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

// %%
//| export core/formatting.cpp
std::ostream& print(std::ostream& stream, const Tensor& tensor, std::int64_t linesize) {
  if (!tensor.defined()) return stream << "[ Tensor (undefined) ]";
  const FormatGuard guard(stream);
  const AutoDispatchBelowAutograd below;
  const Tensor dense = tensor.to(kDouble).contiguous();
  const double* const values = dense.data<double>();
  if (dense.dim() == 0) {
    stream << std::defaultfloat << values[0] << '\n';
  } else if (dense.numel() > 0) {
    if (dense.dim() == 1) print_vector(stream, values, dense.size(0));
    else if (dense.dim() == 2) print_matrix(stream, values, dense.size(0), dense.size(1), linesize, 0);
    else print_matrices(stream, dense, linesize);
  }
  stream << "[ CPU" << tensor.scalar_type() << "Type{";
  for (std::size_t d = 0; d < dense.sizes().size(); ++d) stream << (d == 0 ? "" : ",") << dense.sizes()[d];
  return stream << "} ]";
}

std::ostream& operator<<(std::ostream& stream, const Tensor& tensor) { return print(stream, tensor, 80); }

// %%
TEST_CASE("printing: PyTorch's text, recorded") {
  auto text = [](const Tensor& tensor) {
    std::ostringstream out;
    out << tensor;
    return out.str();
  };
  const float infinity = std::numeric_limits<float>::infinity();
  CHECK_EQ(text(tensor(3)),
           "3\n"
           "[ CPULongType{} ]");
  CHECK_EQ(text(tensor(2.5)),
           "2.5\n"
           "[ CPUFloatType{} ]");
  CHECK_EQ(text(tensor(true)),
           "1\n"
           "[ CPUBoolType{} ]");
  CHECK_EQ(text(tensor(1e20,kDouble)),
           "1e+20\n"
           "[ CPUDoubleType{} ]");
  CHECK_EQ(text(tensor({1,2,300})),
           "   1\n"
           "   2\n"
           " 300\n"
           "[ CPULongType{3} ]");
  CHECK_EQ(text(tensor({1.5,-2.25})),
           " 1.5000\n"
           "-2.2500\n"
           "[ CPUFloatType{2} ]");
  CHECK_EQ(text(tensor({1e-3,5e-3})),
           "0.001 *\n"
           " 1.0000\n"
           " 5.0000\n"
           "[ CPUFloatType{2} ]");
  CHECK_EQ(text(tensor({1e6,2.5e6+0.5},kDouble)),
           "1000000 *\n"
           " 1.0000\n"
           " 2.5000\n"
           "[ CPUDoubleType{2} ]");
  CHECK_EQ(text(tensor({1e-9,1e9},kDouble)),
           " 1.0000e-09\n"
           " 1.0000e+09\n"
           "[ CPUDoubleType{2} ]");
  CHECK_EQ(text(tensor({1e10,1.0},kDouble)),
           " 1.0000e+10\n"
           " 1.0000e+00\n"
           "[ CPUDoubleType{2} ]");
  CHECK_EQ(text(tensor({1e-120,1.5},kDouble)),
           " 1.0000e-120\n"
           "  1.5000e+00\n"
           "[ CPUDoubleType{2} ]");
  CHECK_EQ(text(zeros({0})),
           "[ CPUFloatType{0} ]");
  CHECK_EQ(text(zeros({2,0})),
           "[ CPUFloatType{2,0} ]");
  CHECK_EQ(text(zeros({2,0,3})),
           "[ CPUFloatType{2,0,3} ]");
  CHECK_EQ(text(tensor({infinity,-infinity,1.5f})),
           "    inf\n"
           "   -inf\n"
           " 1.5000\n"
           "[ CPUFloatType{3} ]");
  CHECK_EQ(text(tensor({infinity,2.0f})),
           "inf\n"
           " 2\n"
           "[ CPUFloatType{2} ]");
  CHECK_EQ(text(tensor({infinity})),
           "inf\n"
           "[ CPUFloatType{1} ]");
  CHECK_EQ(text(tensor({true,false})),
           " 1\n"
           " 0\n"
           "[ CPUBoolType{2} ]");
  CHECK_EQ(text(ones({2,2},kByte)),
           " 1  1\n"
           " 1  1\n"
           "[ CPUByteType{2,2} ]");
  CHECK_EQ(text(arange(12).view({3,4})),
           "  0   1   2   3\n"
           "  4   5   6   7\n"
           "  8   9  10  11\n"
           "[ CPULongType{3,4} ]");
  CHECK_EQ(text(arange(60,kFloat).view({2,30})),
           "Columns 1 to 20  0   1   2   3   4   5   6   7   8   9  10  11  12  13  14  15  16  17  18  19\n"
           " 30  31  32  33  34  35  36  37  38  39  40  41  42  43  44  45  46  47  48  49\n"
           "\n"
           "Columns 21 to 30 20  21  22  23  24  25  26  27  28  29\n"
           " 50  51  52  53  54  55  56  57  58  59\n"
           "[ CPUFloatType{2,30} ]");
  CHECK_EQ(text(arange(60,kFloat).view({2,30})*0.25),
           "Columns 1 to 8  0.0000   0.2500   0.5000   0.7500   1.0000   1.2500   1.5000   1.7500\n"
           "  7.5000   7.7500   8.0000   8.2500   8.5000   8.7500   9.0000   9.2500\n"
           "\n"
           "Columns 9 to 16  2.0000   2.2500   2.5000   2.7500   3.0000   3.2500   3.5000   3.7500\n"
           "  9.5000   9.7500  10.0000  10.2500  10.5000  10.7500  11.0000  11.2500\n"
           "\n"
           "Columns 17 to 24  4.0000   4.2500   4.5000   4.7500   5.0000   5.2500   5.5000   5.7500\n"
           " 11.5000  11.7500  12.0000  12.2500  12.5000  12.7500  13.0000  13.2500\n"
           "\n"
           "Columns 25 to 30  6.0000   6.2500   6.5000   6.7500   7.0000   7.2500\n"
           " 13.5000  13.7500  14.0000  14.2500  14.5000  14.7500\n"
           "[ CPUFloatType{2,30} ]");
  CHECK_EQ(text(arange(24).view({2,3,4})),
           "(1,.,.) = \n"
           "  0   1   2   3\n"
           "   4   5   6   7\n"
           "   8   9  10  11\n"
           "\n"
           "(2,.,.) = \n"
           " 12  13  14  15\n"
           "  16  17  18  19\n"
           "  20  21  22  23\n"
           "[ CPULongType{2,3,4} ]");
  CHECK_EQ(text(arange(24).view({2,3,4})*0.5),
           "(1,.,.) = \n"
           " 0.0000  0.5000  1.0000  1.5000\n"
           "  2.0000  2.5000  3.0000  3.5000\n"
           "  4.0000  4.5000  5.0000  5.5000\n"
           "\n"
           "(2,.,.) = \n"
           "  6.0000   6.5000   7.0000   7.5000\n"
           "   8.0000   8.5000   9.0000   9.5000\n"
           "  10.0000  10.5000  11.0000  11.5000\n"
           "[ CPUFloatType{2,3,4} ]");
  CHECK_EQ(text(arange(24,kDouble).view({2,3,4})*0.00005),
           "(1,.,.) = \n"
           "0.0001 *\n"
           "  0.0000  0.5000  1.0000  1.5000\n"
           "   2.0000  2.5000  3.0000  3.5000\n"
           "   4.0000  4.5000  5.0000  5.5000\n"
           "\n"
           "(2,.,.) = \n"
           "0.001 *\n"
           "  0.6000  0.6500  0.7000  0.7500\n"
           "   0.8000  0.8500  0.9000  0.9500\n"
           "   1.0000  1.0500  1.1000  1.1500\n"
           "[ CPUDoubleType{2,3,4} ]");
  CHECK_EQ(text(arange(16).view({2,2,2,2})),
           "(1,1,.,.) = \n"
           " 0  1\n"
           "  2  3\n"
           "\n"
           "(2,1,.,.) = \n"
           "  8   9\n"
           "  10  11\n"
           "\n"
           "(1,2,.,.) = \n"
           " 4  5\n"
           "  6  7\n"
           "\n"
           "(2,2,.,.) = \n"
           " 12  13\n"
           "  14  15\n"
           "[ CPULongType{2,2,2,2} ]");
  CHECK_EQ(text(arange(12,kFloat).view({3,4})*100000.5),
           " 0.0000e+00  1.0000e+05  2.0000e+05  3.0000e+05\n"
           " 4.0000e+05  5.0000e+05  6.0000e+05  7.0000e+05\n"
           " 8.0000e+05  9.0000e+05  1.0000e+06  1.1000e+06\n"
           "[ CPUFloatType{3,4} ]");
  CHECK_EQ(text(arange(12,kFloat).view({3,4}).t()*0.001),
           "0.01 *\n"
           " 0.0000  0.4000  0.8000\n"
           "  0.1000  0.5000  0.9000\n"
           "  0.2000  0.6000  1.0000\n"
           "  0.3000  0.7000  1.1000\n"
           "[ CPUFloatType{4,3} ]");
  CHECK_EQ(text(arange(48,kDouble).view({1,2,24})*1000000.5),
           "(1,.,.) = \n"
           "Columns 1 to 6  0.0000e+00  1.0000e+06  2.0000e+06  3.0000e+06  4.0000e+06  5.0000e+06\n"
           "  2.4000e+07  2.5000e+07  2.6000e+07  2.7000e+07  2.8000e+07  2.9000e+07\n"
           "\n"
           "Columns 7 to 12  6.0000e+06  7.0000e+06  8.0000e+06  9.0000e+06  1.0000e+07  1.1000e+07\n"
           "  3.0000e+07  3.1000e+07  3.2000e+07  3.3000e+07  3.4000e+07  3.5000e+07\n"
           "\n"
           "Columns 13 to 18  1.2000e+07  1.3000e+07  1.4000e+07  1.5000e+07  1.6000e+07  1.7000e+07\n"
           "  3.6000e+07  3.7000e+07  3.8000e+07  3.9000e+07  4.0000e+07  4.1000e+07\n"
           "\n"
           "Columns 19 to 24  1.8000e+07  1.9000e+07  2.0000e+07  2.1000e+07  2.2000e+07  2.3000e+07\n"
           "  4.2000e+07  4.3000e+07  4.4000e+07  4.5000e+07  4.6000e+07  4.7000e+07\n"
           "[ CPUDoubleType{1,2,24} ]");
  CHECK_EQ(text(tensor({{-1.0,99999.5}})),
           "    -1.0000  99999.5000\n"
           "[ CPUFloatType{1,2} ]");
  CHECK_EQ(text(tensor({{0.5,0.01}})),
           " 0.5000  0.0100\n"
           "[ CPUFloatType{1,2} ]");
  CHECK_EQ(text(tensor({123456789,1})),
           "1.23457e+08\n"
           "         1\n"
           "[ CPULongType{2} ]");
  CHECK_EQ(text(tensor({1234567890,1})),
           " 1.2346e+09\n"
           " 1.0000e+00\n"
           "[ CPULongType{2} ]");
  CHECK_EQ(text(tensor({-5,3},kInt)),
           "-5\n"
           " 3\n"
           "[ CPUIntType{2} ]");
  CHECK_EQ(text(full({1,1},0.1)),
           " 0.1000\n"
           "[ CPUFloatType{1,1} ]");
  CHECK_EQ(text(tensor({99999.96})),
           " 99999.9609\n"
           "[ CPUFloatType{1} ]");
  CHECK_EQ(text(Tensor()), "[ Tensor (undefined) ]");
  CHECK_EQ(text(arange(24).view({2, 3, 4}).transpose(0, 2)), text(arange(24).view({2, 3, 4}).transpose(0, 2).contiguous()));
  std::ostringstream out;
  out << tensor({1.5}) << 2.25;
  CHECK_EQ(out.str(), " 1.5000\n[ CPUFloatType{1} ]2.25");
}

// %%
}  // namespace tinytorch
