// From the lesson modules/90_operators/operators_dev.cpp:
// edit the module, not this file.

#include <algorithm>

#include "tinytorch/core/loops.h"
#include "tinytorch/core/pointwise_ops.h"

namespace tinytorch {

namespace {
// A 1-d tensor without elements may join anything: older programs start from one and append.
bool is_skipped(const Tensor& tensor) { return tensor.dim() == 1 && tensor.numel() == 0; }

// The first tensor that is not skipped, or the first one when all are.
const Tensor& shape_giver(TensorList tensors) {
  const Tensor* const found =
      std::find_if(tensors.begin(), tensors.end(), [](const Tensor& t) { return !is_skipped(t); });
  return found == tensors.end() ? tensors.front() : *found;
}

void check_cat(TensorList tensors, std::int64_t dim) {
  const Tensor& first = shape_giver(tensors);
  for (std::size_t k = 0; k < tensors.size(); ++k) {
    const Tensor& tensor = tensors[k];
    if (is_skipped(tensor)) continue;
    TORCH_CHECK(tensor.dim() == first.dim(), "Tensors must have same number of dimensions: got ", first.dim(),
                " and ", tensor.dim());
    for (std::int64_t d = 0; d < first.dim(); ++d)
      TORCH_CHECK(d == dim || tensor.size(d) == first.size(d),
                  "Sizes of tensors must match except in dimension ", dim, ". Expected size ", first.size(d),
                  " but got size ", tensor.size(d), " for tensor number ", k, " in the list.");
  }
}

Tensor cat_cpu(TensorList tensors, std::int64_t dim) {
  ScalarType type = tensors.front().scalar_type();
  DimVector sizes(shape_giver(tensors).sizes());
  sizes[static_cast<std::size_t>(dim)] = 0;
  for (const Tensor& tensor : tensors) {
    type = promoteTypes(type, tensor.scalar_type());
    if (!is_skipped(tensor)) sizes[static_cast<std::size_t>(dim)] += tensor.size(dim);
  }
  const Tensor result = empty(sizes, type);
  std::int64_t start = 0;
  for (const Tensor& tensor : tensors) {
    if (is_skipped(tensor)) continue;
    copy_(narrow(result, dim, start, tensor.size(dim)), tensor);
    start += tensor.size(dim);
  }
  return result;
}
}  // namespace
constinit Operator<Tensor(TensorList, std::int64_t)> op::cat("cat", {.cpu = cat_cpu});

Tensor cat(TensorList tensors, std::int64_t dim) {
  TORCH_CHECK_VALUE(!tensors.empty(), "torch.cat(): expected a non-empty list of Tensors");
  for (std::size_t k = 0; k < tensors.size(); ++k)
    TORCH_CHECK(!tensors[k].defined() || tensors[k].dim() > 0, "zero-dimensional tensor (at position ", k,
                ") cannot be concatenated\n[cat] use stack() to join 0-d tensors.");
  if (is_undefined(tensors)) return op::cat(tensors, dim);
  const std::int64_t d = wrap_dim(dim, shape_giver(tensors).dim());
  check_cat(tensors, d);
  return op::cat(tensors, d);
}

Tensor stack(TensorList tensors, std::int64_t dim) {
  TORCH_CHECK(!tensors.empty(), "stack expects a non-empty TensorList");
  const std::int64_t d = wrap_dim(dim, tensors.front().dim() + 1);
  std::vector<Tensor> rows;
  rows.reserve(tensors.size());
  for (std::size_t k = 0; k < tensors.size(); ++k) {
    TORCH_CHECK(tensors[k].sizes() == tensors.front().sizes(),
                "stack expects each tensor to be equal size, but got ", tensors.front().sizes(),
                " at entry 0 and ", tensors[k].sizes(), " at entry ", k);
    rows.push_back(unsqueeze(tensors[k], d));
  }
  return cat(rows, d);
}

namespace {
std::vector<Tensor> together(std::vector<Tensor> views, const char* function, std::int64_t dim) {
  if (detail::on_several_views != nullptr) detail::on_several_views(views, function, dim);
  return views;
}
}  // namespace

std::vector<Tensor> split(const Tensor& self, std::int64_t split_size, std::int64_t dim) {
  TORCH_CHECK(self.dim() > 0, "split expects at least a 1-dimensional tensor");
  TORCH_CHECK(split_size >= 0, "split expects split_size be non-negative, but got split_size=", split_size);
  const std::int64_t size = self.size(dim);
  TORCH_CHECK(split_size > 0 || size == 0,
              "split_size can only be 0 if dimension size is 0, but got dimension size of ", size);
  std::vector<Tensor> pieces;
  if (size == 0) return together({slice(self, dim)}, "Split", dim);
  for (std::int64_t start = 0; start < size; start += split_size)
    pieces.push_back(narrow(self, dim, start, std::min(split_size, size - start)));
  return together(std::move(pieces), "Split", dim);
}

std::vector<Tensor> split_with_sizes(const Tensor& self, IntArrayRef split_sizes, std::int64_t dim) {
  TORCH_CHECK(self.dim() > 0, "split expects at least a 1-dimensional tensor");
  std::int64_t total = 0;
  for (const std::int64_t size : split_sizes) {
    TORCH_CHECK(size >= 0,
                "split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes=",
                split_sizes);
    total += size;
  }
  TORCH_CHECK(total == self.size(dim), "split_with_sizes expects split_sizes to sum exactly to ",
              self.size(dim), " (input tensor's size at dimension ", wrap_dim(dim, self.dim()),
              "), but got split_sizes=", split_sizes);
  std::vector<Tensor> pieces;
  std::int64_t start = 0;
  for (const std::int64_t size : split_sizes) {
    pieces.push_back(narrow(self, dim, start, size));
    start += size;
  }
  return together(std::move(pieces), "SplitWithSizes", dim);
}

std::vector<Tensor> chunk(const Tensor& self, std::int64_t chunks, std::int64_t dim) {
  TORCH_CHECK(self.dim() > 0, "chunk expects at least a 1-dimensional tensor");
  TORCH_CHECK(chunks > 0, "chunk expects `chunks` to be greater than 0, got: ", chunks);
  const std::int64_t size = self.size(dim);
  const std::int64_t split_size = (size + chunks - 1) / chunks;
  if (split_size > 0) return split(self, split_size, dim);
  return std::vector<Tensor>(static_cast<std::size_t>(chunks),
                             slice(self, dim));  // nothing to divide: `chunks` empty views
}

std::vector<Tensor> unbind(const Tensor& self, std::int64_t dim) {
  TORCH_CHECK_INDEX(self.dim() > 0, "Dimension specified as ", dim, " but tensor has no dimensions");
  std::vector<Tensor> slices;
  for (std::int64_t i = 0; i < self.size(dim); ++i) slices.push_back(select(self, dim, i));
  return together(std::move(slices), "Unbind", dim);
}

// (2, 3) repeated {4, 5} times is (4, 2, 5, 3) with stride 0 in the new dimensions, copied into (8, 15).
Tensor repeat(const Tensor& self, IntArrayRef repeats) {
  TORCH_CHECK(static_cast<std::int64_t>(repeats.size()) >= self.dim(),
              "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor");
  const std::size_t added = repeats.size() - self.sizes().size();
  DimVector interleaved;
  DimVector expanded;
  DimVector sizes;
  for (std::size_t i = 0; i < repeats.size(); ++i) {
    const std::int64_t size = i < added ? 1 : self.sizes()[i - added];
    TORCH_CHECK(repeats[i] >= 0, "Trying to create tensor with negative dimension ", repeats[i] * size,
                ": repeats ", repeats);
    for (const std::int64_t value : {std::int64_t{1}, size}) interleaved.push_back(value);
    for (const std::int64_t value : {repeats[i], size}) expanded.push_back(value);
    sizes.push_back(repeats[i] * size);
  }
  return reshape(clone(expand(reshape(self, interleaved), expanded)), sizes);
}

}  // namespace tinytorch
