// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/loops.h"
#include "tinytorch/core/ops.h"

namespace tinytorch {

namespace {
// out (M, N) = a (M, K) x b (K, N). `out` and `b` are dense; element (i, k) of `a` is a[i * a_row + k * a_column].
// O(M K N), reading and writing memory in order. `out` is uninitialised before; K = 0 gives zeros.
template <class T>
void multiply_matrices(T* out, const T* a, std::int64_t a_row, std::int64_t a_column, const T* b, std::int64_t M, std::int64_t K, std::int64_t N) {
  for (std::int64_t i = 0; i < M; ++i) {
    T* const row = out + i * N;
    for (std::int64_t j = 0; j < N; ++j) row[j] = T{0};
    for (std::int64_t k = 0; k < K; ++k) {
      const T factor = a[i * a_row + k * a_column];
      const T* const b_row = b + k * N;
      for (std::int64_t j = 0; j < N; ++j) row[j] = static_cast<T>(row[j] + factor * b_row[j]);
    }
  }
}
}  // namespace

namespace {
void check_same_dtype(const Tensor& self, const Tensor& mat2) {
  TORCH_CHECK(self.scalar_type() == mat2.scalar_type(), "expected m1 and m2 to have the same dtype, but got: ", cpp_name(self.scalar_type()),
              " != ", cpp_name(mat2.scalar_type()));
  TORCH_CHECK_NOT_IMPLEMENTED(self.scalar_type() != kBool, "\"addmm_impl_cpu_\" not implemented for 'Bool'");
}

Tensor mm_cpu(const Tensor& self, const Tensor& mat2) {
  const Tensor result = empty({self.size(0), mat2.size(1)}, self.options());
  const Tensor b = mat2.contiguous();
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    multiply_matrices(result.data<T>(), self.data<T>(), self.stride(0), self.stride(1), b.data<T>(), self.size(0), self.size(1), b.size(1));
  });
  return result;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::mm("mm", {.cpu = mm_cpu});

Tensor mm(const Tensor& self, const Tensor& mat2) {
  TORCH_CHECK(self.dim() == 2, "self must be a matrix, got ", self.dim(), "-D tensor");
  TORCH_CHECK(mat2.dim() == 2, "mat2 must be a matrix, got ", mat2.dim(), "-D tensor");
  TORCH_CHECK(self.size(1) == mat2.size(0), "mat1 and mat2 shapes cannot be multiplied (", self.size(0), "x", self.size(1), " and ",
              mat2.size(0), "x", mat2.size(1), ")\n[mm] inner sizes ", self.size(1), " and ", mat2.size(0), " must match",
              self.size(1) == mat2.size(1) ? "; did you mean other.t()?" : ".");
  check_same_dtype(self, mat2);
  return op::mm(self, mat2);
}

namespace {
Tensor bmm_cpu(const Tensor& self, const Tensor& mat2) {
  const std::int64_t batch = self.size(0);
  const std::int64_t M = self.size(1);
  const std::int64_t K = self.size(2);
  const std::int64_t N = mat2.size(2);
  const Tensor result = empty({batch, M, N}, self.options());
  const Tensor b = mat2.contiguous();
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    for (std::int64_t i = 0; i < batch; ++i)
      multiply_matrices(result.data<T>() + i * M * N, self.data<T>() + i * self.stride(0), self.stride(1), self.stride(2),
                        b.data<T>() + i * K * N, M, K, N);
  });
  return result;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::bmm("bmm", {.cpu = bmm_cpu});

Tensor bmm(const Tensor& self, const Tensor& mat2) {
  TORCH_CHECK(self.dim() == 3, "batch1 must be a 3D tensor");
  TORCH_CHECK(mat2.dim() == 3, "batch2 must be a 3D tensor");
  TORCH_CHECK(self.size(0) == mat2.size(0) && self.size(2) == mat2.size(1), "Expected size for first two dimensions of batch2 tensor to be: [",
              self.size(0), ", ", self.size(2), "] but got: [", mat2.size(0), ", ", mat2.size(1), "].");
  check_same_dtype(self, mat2);
  return op::bmm(self, mat2);
}

namespace {
// (..., M, K) x (..., K, N): the leading dimensions broadcast, and are folded into one batch.
Tensor batched_matmul(const Tensor& self, const Tensor& other) {
  const IntArrayRef a(self.sizes().data(), self.sizes().size() - 2);
  const IntArrayRef b(other.sizes().data(), other.sizes().size() - 2);
  const DimVector batch = infer_size(a, b);
  DimVector a_sizes = batch;
  DimVector b_sizes = batch;
  DimVector out_sizes = batch;
  for (const std::int64_t d : {-2, -1}) {
    a_sizes.push_back(self.size(d));
    b_sizes.push_back(other.size(d));
  }
  out_sizes.push_back(self.size(-2));
  out_sizes.push_back(other.size(-1));
  const std::int64_t count = multiply_sizes(batch);
  const Tensor folded = bmm(self.expand(a_sizes).reshape({count, self.size(-2), self.size(-1)}),
                            other.expand(b_sizes).reshape({count, other.size(-2), other.size(-1)}));
  return folded.view(out_sizes);
}
}  // namespace

Tensor matmul(const Tensor& self, const Tensor& other) {
  TORCH_CHECK(self.dim() > 0 && other.dim() > 0, "both arguments to matmul need to be at least 1D, but they are ", self.dim(), "D and ", other.dim(), "D");
  if (self.dim() == 1 && other.dim() == 1) {
    TORCH_CHECK(self.numel() == other.numel(), "inconsistent tensor size, expected tensor ", self.sizes(), " and src ", other.sizes(),
                " to have the same number of elements, but got ", self.numel(), " and ", other.numel(), " elements respectively");
    return mm(self.unsqueeze(0), other.unsqueeze(1)).view(IntArrayRef());
  }
  if (self.dim() == 1) return matmul(self.unsqueeze(0), other).squeeze(-2);
  if (other.dim() == 1) {
    const std::int64_t columns = self.size(-1);
    const std::int64_t rows = columns == 0 ? 0 : self.numel() / columns;
    TORCH_CHECK(columns == other.size(0), "size mismatch, got input (", rows, "), mat (", rows, "x", columns, "), vec (", other.size(0), ")");
    return matmul(self, other.unsqueeze(1)).squeeze(-1);
  }
  if (self.dim() == 2 && other.dim() == 2) return mm(self, other);
  if (other.dim() == 2) {
    // A shared matrix: fold the batch into the rows of one product instead of repeating the matrix.
    DimVector sizes(self.sizes());
    sizes.back() = other.size(1);
    return mm(self.reshape({-1, self.size(-1)}), other).view(sizes);
  }
  return batched_matmul(self, other);
}

}  // namespace tinytorch
