// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/matmul.h"

namespace tinytorch {

void check_same_dtype(const Tensor& self, const Tensor& mat2) {
  TORCH_CHECK(self.scalar_type() == mat2.scalar_type(), "expected m1 and m2 to have the same dtype, but got: ", cpp_name(self.scalar_type()),
              " != ", cpp_name(mat2.scalar_type()));
  TORCH_CHECK_NOT_IMPLEMENTED(self.scalar_type() != kBool, "\"addmm_impl_cpu_\" not implemented for 'Bool'");
}

namespace {
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

}  // namespace tinytorch
