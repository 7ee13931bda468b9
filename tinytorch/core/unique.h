// From the lesson modules/82_more_functions/more_functions_dev.cpp:
// edit the module, not this file.
#pragma once

#include <optional>
#include <tuple>

#include "tinytorch/core/ops.h"

namespace tinytorch {

// ---- Values that occur. What is not asked for is an empty tensor. The results have no gradient.
// The values in rising order, for each element of self the position of its value (in self's shape), and how often each occurs. Sorts always. O(n log n).
std::tuple<Tensor, Tensor, Tensor> _unique2(const Tensor& self, bool sorted = true, bool return_inverse = false, bool return_counts = false);
std::tuple<Tensor, Tensor> _unique(const Tensor& self, bool sorted = true, bool return_inverse = false);
// The same for runs of equal neighbours: {1, 1, 2, 1} gives {1, 2, 1}. O(n).
std::tuple<Tensor, Tensor, Tensor> unique_consecutive(const Tensor& self, bool return_inverse = false, bool return_counts = false);
// The different slices of self along `dim`, in lexicographic order.
std::tuple<Tensor, Tensor, Tensor> unique_dim(const Tensor& self, std::int64_t dim, bool sorted = true, bool return_inverse = false, bool return_counts = false);

// The value that occurs most often along `dim`, the smallest of several, and where one of its elements stands; the gradient goes to that one. NaNs are all different (PyTorch's answer depends on their order). Throws IndexError for a dimension without elements. O(n log n).
std::tuple<Tensor, Tensor> mode(const Tensor& self, std::int64_t dim = -1, bool keepdim = false);

// (...) of Long -> (..., C): a one at the class of each element, zeros elsewhere. C is `num_classes`, or one more than the largest class when -1. O(numel * C).
Tensor one_hot(const Tensor& self, std::int64_t num_classes = -1);

namespace nn::functional {
inline Tensor one_hot(const Tensor& tensor, std::int64_t num_classes = -1) { return tinytorch::one_hot(tensor, num_classes); }
}  // namespace nn::functional

}  // namespace tinytorch
