// From the lesson modules/91_selection/selection_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/loops.h"
#include "tinytorch/core/matmul.h"
#include "tinytorch/core/matrix_ops.h"

namespace tinytorch {

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

namespace {
Tensor addmm_cpu(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta,
                 const Scalar& alpha) {
  const Tensor product = mm(mat1, mat2);
  const Tensor added = expand(self, product.sizes());
  dispatch_all_types(product.scalar_type(), [&]<class T>() {
    const T a = alpha.to<T>();
    const T b = beta.to<T>();
    // With beta = 0 the NaNs of `self` do not count.
    if (b == T{}) map_into<T, T>(product, product, [a](T x) { return static_cast<T>(a * x); });
    else
      zip_into<T, T, T>(product, product, added, [a, b](T x, T y) { return static_cast<T>(a * x + b * y); });
  });
  return product;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Scalar&, const Scalar&)>
    op::addmm("addmm", {.cpu = addmm_cpu});

void check_addmm(const Tensor& self, const Tensor& mat1, const Tensor& mat2) {
  TORCH_CHECK(mat1.dim() == 2, "mat1 must be a matrix, got ", mat1.dim(), "-D tensor");
  TORCH_CHECK(mat2.dim() == 2, "mat2 must be a matrix, got ", mat2.dim(), "-D tensor");
  TORCH_CHECK(mat1.size(1) == mat2.size(0), "mat1 and mat2 shapes cannot be multiplied (", mat1.size(0), "x",
              mat1.size(1), " and ", mat2.size(0), "x", mat2.size(1), ")\n[addmm] inner sizes ", mat1.size(1),
              " and ", mat2.size(0), " must match",
              mat1.size(1) == mat2.size(1) ? "; did you mean mat2.t()?" : ".");
  TORCH_CHECK(self.scalar_type() == mat2.scalar_type(), "self and mat2 must have the same dtype, but got ",
              self.scalar_type(), " and ", mat2.scalar_type());
}

Tensor addmm(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta,
             const Scalar& alpha) {
  check_addmm(self, mat1, mat2);
  return op::addmm(self, mat1, mat2, beta, alpha);
}

Tensor mv(const Tensor& self, const Tensor& vec) {
  TORCH_CHECK(self.dim() == 2 && vec.dim() == 1, "vector + matrix @ vector expected, got 1, ", self.dim(),
              ", ", vec.dim());
  TORCH_CHECK(self.size(1) == vec.size(0), "size mismatch, got input (", self.size(0), "), mat (",
              self.size(0), "x", self.size(1), "), vec (", vec.size(0), ")");
  return mm(self, unsqueeze(vec, 1)).squeeze(1);
}

Tensor dot(const Tensor& self, const Tensor& tensor) {
  TORCH_CHECK(self.dim() == 1 && tensor.dim() == 1, "1D tensors expected, but got ", self.dim(), "D and ",
              tensor.dim(), "D tensors");
  TORCH_CHECK(self.scalar_type() == tensor.scalar_type(),
              "dot : expected both vectors to have same dtype, but found ", self.scalar_type(), " and ",
              tensor.scalar_type());
  return matmul(self, tensor);
}

Tensor outer(const Tensor& self, const Tensor& vec2) {
  TORCH_CHECK(self.dim() == 1, "outer: Expected 1-D argument self, but got ", self.dim(), "-D");
  TORCH_CHECK(vec2.dim() == 1, "outer: Expected 1-D argument vec2, but got ", vec2.dim(), "-D");
  return mul(unsqueeze(self, 1), vec2);
}

}  // namespace tinytorch
