// From the lesson modules/65_half_kernels/half_kernels_dev.cpp:
// edit the module, not this file.

#include "tinytorch/kernels/half_products.h"

#include <algorithm>
#include <cstdint>

#include "tinytorch/core/half_precision.h"
#include "tinytorch/core/matmul.h"
#include "tinytorch/core/matrix_ops.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/kernels/capability.h"
#include "tinytorch/kernels/gemm.h"
#include "tinytorch/kernels/parallel.h"

namespace tinytorch {

const kernels::HalfTable& kernels::half_table(ScalarType type) {
  static constexpr const HalfKernels* tables[] = TINYTORCH_PER_CAPABILITY(half_kernels);
  const HalfKernels& kernels = for_capability(tables);
  return type == kHalf ? kernels.of_half : kernels.of_bfloat16;
}

bool kernels::is_tuned_half(const Tensor& x) { return isReducedFloatingType(x.scalar_type()) && (layers_of(x) - thread_state().excluded).has(Layer::TunedCPU); }

namespace {
std::uint16_t* bits_of(const Tensor& x) { return static_cast<std::uint16_t*>(x.data_ptr()); }

// The second operand of a product. Its lines are contiguous: its columns if by_columns, else its rows.
struct HalfMatrix {
  const std::uint16_t* data;
  std::int64_t line;
  bool by_columns;
};

// Columns [first, stop) of a (M, K) x b, into `sums` (M, N). Few rows.
void multiply_in_place(const kernels::HalfTable& table, const Tensor& a, const HalfMatrix& b, std::int64_t first, std::int64_t stop, const Tensor& sums) {
  const std::int64_t K = a.size(1), N = sums.size(1);
  const kernels::HalfProduct product{a.data<float>(), K, b.data + first * (b.by_columns ? b.line : 1), b.line, a.size(0), K, stop - first, sums.data<float>() + first, N};
  (b.by_columns ? table.multiply_columns : table.multiply_rows)(product);
}

// a (M, K) x b into `sums` (M, N), of which a panel of columns at a time is widened.
void multiply_panels(const kernels::HalfTable& table, const Tensor& a, const HalfMatrix& b, const Tensor& sums) {
  const std::int64_t M = a.size(0), K = a.size(1), N = sums.size(1);
  const std::int64_t most = std::clamp<std::int64_t>((1 << 18) / std::max<std::int64_t>(K, 1) / 64 * 64, 64, N);
  const Tensor panel = empty({most, K}, kFloat);
  float* const numbers = panel.data<float>();
  for (std::int64_t j = 0; j < N; j += most) {
    const std::int64_t columns = std::min(most, N - j);
    const std::int64_t lines = b.by_columns ? columns : K, length = b.by_columns ? K : columns;
    const std::uint16_t* const from = b.data + j * (b.by_columns ? b.line : 1);
    parallel_for(0, lines, std::max<std::int64_t>(1, (1 << 15) / std::max<std::int64_t>(length, 1)), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop; ++i) table.widen(numbers + i * length, from + i * b.line, length);
    });
    const kernels::MatrixView<float> widened{numbers, b.by_columns ? 1 : length, b.by_columns ? length : 1};
    kernels::multiply<float>(M, columns, K, 1, {a.data<float>(), K, 1}, widened, 0, {nullptr, 0, 0}, sums.data<float>() + j, N);
  }
}

// alpha * mat1 (M, K) x mat2 (K, N) (+ beta * start (M, N), if it is defined), summed in float and rounded once to the operands' type. O(M N K).
Tensor product_of_halves(const Tensor& start, const Tensor& mat1, const Tensor& mat2, float beta, float alpha) {
  const ExcludeLayersGuard guard(detail::above_cpu);
  const std::int64_t M = mat1.size(0), N = mat2.size(1), K = mat1.size(1);
  const Tensor result = empty({M, N}, mat1.scalar_type());
  if (result.numel() == 0) return result;
  const Tensor a = to_dtype(mat1, kFloat).contiguous();
  const Tensor matrix = mat2.stride(0) == 1 || mat2.stride(1) == 1 ? mat2 : mat2.contiguous();
  const bool by_columns = matrix.stride(0) == 1;
  const HalfMatrix b{bits_of(matrix), matrix.stride(by_columns ? 1 : 0), by_columns};
  const Tensor added = !start.defined() || start.stride(1) == 1 || N == 1 ? start : start.contiguous();
  const Tensor sums = empty({M, N}, kFloat);
  const kernels::HalfTable& table = kernels::half_table(mat1.scalar_type());
  const auto finish = [&](std::int64_t i, std::int64_t first, std::int64_t stop) {
    const std::uint16_t* const from = added.defined() ? bits_of(added) + i * added.stride(0) + first : nullptr;
    table.finish(bits_of(result) + i * N + first, sums.data<float>() + i * N + first, alpha, from, beta, stop - first);
  };
  if (M <= (by_columns ? 16 : 8)) {
    // Some hundred thousand products are a task; of rows it has a piece that is long enough to be a stream.
    const std::int64_t grain = std::max<std::int64_t>(b.by_columns ? 16 : 2048, (1 << 18) / (M * std::max<std::int64_t>(K, 1)) / 16 * 16);
    kernels::run_pieces({0, N, grain}, [&](std::int64_t first, std::int64_t stop) {
      multiply_in_place(table, a, b, first, stop, sums);
      for (std::int64_t i = 0; i < M; ++i) finish(i, first, stop);
    });
  } else {
    multiply_panels(table, a, b, sums);
    parallel_for(0, M, std::max<std::int64_t>(1, (1 << 15) / N), [&](std::int64_t first, std::int64_t stop) {
      for (std::int64_t i = first; i < stop; ++i) finish(i, 0, N);
    });
  }
  return result;
}

Tensor (*mm_in_float)(const Tensor&, const Tensor&) = nullptr;
Tensor (*addmm_in_float)(const Tensor&, const Tensor&, const Tensor&, const Scalar&, const Scalar&) = nullptr;

Tensor mm_of_halves(const Tensor& self, const Tensor& mat2) {
  if (!kernels::is_tuned_half(self)) return mm_in_float(self, mat2);
  return product_of_halves(Tensor(), self, mat2, 0, 1);
}

Tensor addmm_of_halves(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta, const Scalar& alpha) {
  const ScalarType type = self.scalar_type();
  if (!kernels::is_tuned_half(self) || mat1.scalar_type() != type || mat2.scalar_type() != type) return addmm_in_float(self, mat1, mat2, beta, alpha);
  const ExcludeLayersGuard guard(detail::above_cpu);
  const Tensor start = expand(self, {mat1.size(0), mat2.size(1)});
  // With beta = 0 the NaNs of `self` do not count.
  const float scale = beta.to<float>();
  return product_of_halves(scale == 0 ? Tensor() : start, mat1, mat2, scale, alpha.to<float>());
}
}  // namespace

void register_half_products() {
  mm_in_float = op::mm.function(Layer::HalfPrecision);
  addmm_in_float = op::addmm.function(Layer::HalfPrecision);
  op::mm.set(Layer::HalfPrecision, mm_of_halves);
  op::addmm.set(Layer::HalfPrecision, addmm_of_halves);
}

}  // namespace tinytorch
