// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.

#include "tinytorch/kernels/products.h"

#include <cstdint>

#include "tinytorch/core/matmul.h"
#include "tinytorch/core/matrix_ops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/gemm.h"

namespace tinytorch {

namespace {
template <class T>
kernels::MatrixView<T> view_of(const Tensor& matrix) {
  return {matrix.data<T>(), matrix.stride(-2), matrix.stride(-1)};
}

// Calls f<float> or f<double>; false for other dtypes.
template <class F>
bool for_float_or_double(ScalarType type, F f) {
  if (type == kFloat) f.template operator()<float>();
  if (type == kDouble) f.template operator()<double>();
  return type == kFloat || type == kDouble;
}

Tensor mm_tuned(const Tensor& self, const Tensor& mat2) {
  if (self.scalar_type() != kFloat && self.scalar_type() != kDouble) return op::mm.function(Layer::CPU)(self, mat2);
  const Tensor result = empty({self.size(0), mat2.size(1)}, self.options());
  for_float_or_double(self.scalar_type(), [&]<class T>() {
    kernels::multiply<T>(self.size(0), mat2.size(1), self.size(1), T{1}, view_of<T>(self), view_of<T>(mat2), T{0}, {nullptr, 0, 0}, result.data<T>(), mat2.size(1));
  });
  return result;
}

// Whether `self` can be broadcast to (M, N), and its strides as that.
bool fits(const Tensor& self, std::int64_t M, std::int64_t N, std::int64_t& row, std::int64_t& column) {
  const std::int64_t dims = self.dim();
  if (dims > 2) return false;
  const std::int64_t rows = dims == 2 ? self.size(0) : 1, columns = dims >= 1 ? self.size(-1) : 1;
  row = dims < 2 || rows == 1 ? 0 : self.stride(0);
  column = dims < 1 || columns == 1 ? 0 : self.stride(-1);
  return (rows == M || rows == 1) && (columns == N || columns == 1);
}

}  // namespace

std::optional<Tensor> kernels::addmm_with(Activation activation, const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha) {
  const ScalarType type = self.scalar_type();
  const std::int64_t M = mat1.size(0), N = mat2.size(1);
  std::int64_t row = 0, column = 0;
  const bool ours = (type == kFloat || type == kDouble) && mat1.scalar_type() == type && mat2.scalar_type() == type && fits(self, M, N, row, column);
  if (!ours) return std::nullopt;
  const Tensor result = empty({M, N}, self.options());
  for_float_or_double(type, [&]<class T>() {
    // With beta = 0 the NaNs of `self` do not count.
    const T scale = beta.to<T>();
    const MatrixView<T> start{scale == T{0} ? nullptr : self.data<T>(), row, column == 0 && N == 1 ? 1 : column};
    multiply<T>(M, N, mat1.size(1), alpha.to<T>(), view_of<T>(mat1), view_of<T>(mat2), scale, start, result.data<T>(), N, activation);
  });
  return result;
}

namespace {
Tensor addmm_tuned(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha) {
  const std::optional<Tensor> result = kernels::addmm_with(kernels::Activation::None, self, mat1, mat2, beta, alpha);
  return result ? *result : op::addmm.function(Layer::CPU)(self, mat1, mat2, beta, alpha);
}
}  // namespace

void register_tuned_products() {
  op::mm.set(Layer::TunedCPU, mm_tuned);
  op::addmm.set(Layer::TunedCPU, addmm_tuned);
}

}  // namespace tinytorch
