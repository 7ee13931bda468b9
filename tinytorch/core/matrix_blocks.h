// From the lesson modules/68_matrices/matrices_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/core/ops.h"
#include "tinytorch/core/tensor_data.h"

namespace tinytorch {

// For chapter 68's sources: pieces of matrices that are worked by loops, and by products where they are large.
namespace matrices {

// A piece of a matrix in memory. Loops want its columns to be contiguous (row_stride 1), or its rows (column_stride 1).
template <class T>
struct Block {
  T* data;
  std::int64_t rows, columns, row_stride, column_stride;

  T& operator()(std::int64_t i, std::int64_t j) const { return data[i * row_stride + j * column_stride]; }
  T* row(std::int64_t i) const { return data + i * row_stride; }
  T* column(std::int64_t j) const { return data + j * column_stride; }
  Block part(std::int64_t i, std::int64_t j, std::int64_t part_rows, std::int64_t part_columns) const { return {row(i) + j * column_stride, part_rows, part_columns, row_stride, column_stride}; }
  Block t() const { return {data, columns, rows, column_stride, row_stride}; }
  Tensor tensor() const { return from_blob(data, {rows, columns}, {row_stride, column_stride}, scalar_type_of<T>()); }
};

// A copy of (..., m, n) in the order of rows, whatever the input's memory.
Tensor row_copy(const Tensor& A);

// Of (..., m, n): how many matrices, the sizes before m and n followed by `matrix`, and each matrix transposed.
inline std::int64_t matrix_count(const Tensor& A) {
  std::int64_t count = 1;
  for (std::int64_t d = 0; d < A.dim() - 2; ++d) count *= A.size(d);
  return count;
}
inline DimVector batch_of(const Tensor& A, IntArrayRef matrix = {}) {
  DimVector sizes(IntArrayRef(A.sizes().data(), A.sizes().size() - 2));
  for (const std::int64_t size : matrix) sizes.push_back(size);
  return sizes;
}
inline Tensor mT(const Tensor& x) { return x.transpose(-2, -1); }

// Matrix b of the contiguous x.
template <class T>
Block<T> matrix_at(const Tensor& x, std::int64_t b) {
  const std::int64_t rows = x.size(-2), columns = x.size(-1);
  return {x.data<T>() + b * rows * columns, rows, columns, columns, 1};
}

// Calls f(b, matrix_at(x, b)) for each matrix.
template <class T, class F>
void for_each_matrix(const Tensor& x, F f) {
  const std::int64_t count = matrix_count(x);
  Block<T> matrix = matrix_at<T>(x, 0);
  for (std::int64_t b = 0; b < count; ++b, matrix.data += matrix.rows * matrix.columns) f(b, matrix);
}

// y -= factor x
template <class T>
void subtract_multiple(T* __restrict y, T factor, const T* __restrict x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) y[i] -= factor * x[i];
}

// x /= divisor
template <class T>
void divide_by(T* x, T divisor, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) x[i] /= divisor;
}

// c -= a b
template <class T>
void subtract_product(const Block<T>& c, const Tensor& a, const Tensor& b) {
  if (c.column_stride != 1) return subtract_product(c.t(), b.t(), a.t());
  const Tensor product = mm(a, b);
  for (std::int64_t i = 0; i < c.rows; ++i) subtract_multiple(c.row(i), T{1}, product.data<T>() + i * c.columns, c.columns);
}

// Throws, in the words of PyTorch's function `name`, unless A is a matrix or a batch of them, `square` if so wanted, of float or double.
void check_matrix(const char* name, const Tensor& A, bool square = false);

}  // namespace matrices

}  // namespace tinytorch
