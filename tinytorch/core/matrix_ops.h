// From the lesson modules/91_selection/selection_dev.cpp:
// edit the module, not this file.
#pragma once

#include <string_view>

#include "tinytorch/core/pointwise_ops.h"

namespace tinytorch {

// ---- Matrices.
Tensor bmm(const Tensor& self, const Tensor& mat2);     // (B, M, K) x (B, K, N) -> (B, M, N)
Tensor matmul(const Tensor& self, const Tensor& other);  // 1-d: vectors; 2-d: mm; more: batches, which broadcast
Tensor tril(const Tensor& self,
            std::int64_t diagonal = 0);  // the lower triangle of the last two dimensions; the rest 0
Tensor triu(const Tensor& self, std::int64_t diagonal = 0);
Tensor diagonal(const Tensor& self, std::int64_t offset = 0, std::int64_t dim1 = 0,
                std::int64_t dim2 = 1);  // a view
Tensor addmm(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const Scalar& beta = 1,
             const Scalar& alpha = 1);                 // beta * self + alpha * mat1 x mat2
// Throws, in addmm's words, unless mat1 and mat2 are matrices that can be multiplied, and `self` has their dtype.
void check_addmm(const Tensor& self, const Tensor& mat1, const Tensor& mat2);
Tensor mv(const Tensor& self, const Tensor& vec);      // (M, K) x (K) -> (M)
Tensor dot(const Tensor& self, const Tensor& tensor);  // (K) x (K) -> a 0-d tensor
Tensor outer(const Tensor& self, const Tensor& vec2);  // (M) x (N) -> (M, N)
// Einstein's notation, "bij,bjk->bik": letters name dimensions, and one that the result does not name is summed over. Without "->" the result has the letters that occur once,
// in alphabetical order. Contracts from left to right, each pair by one bmm. "..." stands for all dimensions that no letter names; those of several operands are laid side by side from
// the right and broadcast, as sizes of 1 do everywhere; without "->" they stand first in the result, and are summed over if the result leaves them out.
Tensor einsum(std::string_view equation, TensorList tensors);

namespace op {
extern Operator<Tensor(const Tensor&, const Tensor&)> bmm;
extern Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Scalar&, const Scalar&)> addmm;
extern Operator<Tensor(const Tensor&, std::int64_t)> tril;
extern Operator<Tensor(const Tensor&, std::int64_t)> triu;
}  // namespace op

}  // namespace tinytorch
