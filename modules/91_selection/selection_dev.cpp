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
// # Library chapter 91: Indexing, reductions and matrices
//
// The operators that look at many elements for one result, or choose among elements by an index. No exercises. Each group says how it works and where PyTorch keeps it.
//
//                         indexing       gather scatter_ index_select index_add_ nonzero masked_select   x.index({Slice(1), None, mask})
//     module 01,    -->   reductions     mean max min argmax prod any all var norm
//     chapter 90          order          cumsum sort topk
//                         matrices       bmm matmul addmm mv dot outer einsum   tril triu diagonal

// %%
//| after 01
//| export core/indexing.h
#include <string_view>
#include "tinytorch/core/pointwise_ops.h"
//| export core/index_loops.h
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/pointwise_ops.h"
//| export core/gather.cpp
#include "tinytorch/core/index_loops.h"
#include "tinytorch/core/indexing.h"
//| export core/indexing.cpp
#include <algorithm>
#include <sstream>
#include "tinytorch/core/index_loops.h"
#include "tinytorch/core/indexing.h"
//| export core/reduction_ops.h
#include <concepts>
#include <tuple>
#include "tinytorch/core/pointwise_ops.h"
//| export core/extremes.cpp
#include <cmath>
#include <limits>
#include "tinytorch/core/index_loops.h"
#include "tinytorch/core/indexing.h"
#include "tinytorch/core/reduction_ops.h"
//| export core/statistics.cpp
#include <algorithm>
#include <cmath>
#include <limits>
#include "tinytorch/core/index_loops.h"
#include "tinytorch/core/reduction_ops.h"
//| export core/ordering.cpp
#include <algorithm>
#include <cmath>
#include <numeric>
#include "tinytorch/core/index_loops.h"
#include "tinytorch/core/reduction_ops.h"
//| export core/matrix_ops.h
#include <string_view>
#include "tinytorch/core/pointwise_ops.h"
//| export core/triangles.cpp
#include <algorithm>
#include "tinytorch/core/layouts.h"
#include "tinytorch/core/loops.h"
#include "tinytorch/core/matrix_ops.h"
//| export core/products.cpp
#include "tinytorch/core/loops.h"
#include "tinytorch/core/matmul.h"
#include "tinytorch/core/matrix_ops.h"
//| export core/einsum.cpp
#include <algorithm>
#include <cctype>
#include <string>
#include "tinytorch/core/matrix_ops.h"

// %%
#include <cmath>
#include <limits>
#include "tinytorch/core/more_ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Reading and writing at indices
//
// One walk serves all of them. Indices are turned into *positions*, offsets in elements from the tensor's first one; then every element of the index meets its element of the
// tensor, and what is left of the tensor's dimensions is walked with its own strides.
//
// ```
// gather(self, 1, index)              self (2, 3), strides (3, 1)
//   index    [[2, 0],                 position = index * stride(1)       element = base + i * 3 + position
//             [1, 1]]
//                                     +---+---+---+
//   result   [[c, a],                 | a | b | c |
//             [e, e]]                 +---+---+---+
//                                     | d | e | f |
//                                     +---+---+---+
// index_select, index_add_            gather and scatter_add_ with an index of stride 0 along the other dimensions
// index({i, j})                       position = i * stride(0) + j * stride(1)
// ```
//
// Source: aten/src/ATen/native/TensorAdvancedIndexing.cpp, aten/src/ATen/TensorIndexing.h.

// %%
//| export core/indexing.h
// ---- Indexing along a dimension. Indices are Long (or Int) and not negative.
Tensor index_select(const Tensor& self, std::int64_t dim, const Tensor& index);
Tensor index_add(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source,
                 const Scalar& alpha = 1);
const Tensor& index_add_(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source,
                         const Scalar& alpha = 1);
// With dim = 1: result[i][j] = self[i][index[i][j]]; the result has index's sizes.
Tensor gather(const Tensor& self, std::int64_t dim, const Tensor& index, bool sparse_grad = false);
// With dim = 1: self[i][index[i][j]] = src[i][j] (scatter_add_: +=).
const Tensor& scatter_(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src);
const Tensor& scatter_(const Tensor& self, std::int64_t dim, const Tensor& index, const Scalar& value);
const Tensor& scatter_add_(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src);
Tensor scatter(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src);
Tensor scatter(const Tensor& self, std::int64_t dim, const Tensor& index, const Scalar& value);
Tensor scatter_add(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src);
Tensor masked_select(const Tensor& self, const Tensor& mask);  // 1-d
Tensor flip(const Tensor& self, IntArrayRef dims);
Tensor nonzero(const Tensor& self);  // (count, dim) Long: the indices of the elements that are not 0

// %%
//| export core/indexing.h
namespace op {
extern Operator<Tensor(const Tensor&, std::int64_t, const Tensor&)> index_select;
extern Operator<const Tensor&(const Tensor&, std::int64_t, const Tensor&, const Tensor&)> index_add_;
extern Operator<Tensor(const Tensor&, std::int64_t, const Tensor&)> gather;
extern Operator<const Tensor&(const Tensor&, std::int64_t, const Tensor&, const Tensor&)> scatter_;
extern Operator<const Tensor&(const Tensor&, std::int64_t, const Tensor&, const Tensor&)> scatter_add_;
extern Operator<Tensor(const Tensor&)> nonzero;
}  // namespace op

// %%
//| export core/indexing.h
// What stands in x.index({...}): an integer, a boolean, a Slice, None, Ellipsis (or "...") or a tensor of indices or booleans.
// Source: aten/src/ATen/TensorIndexing.h.
namespace indexing {

enum class TensorIndexType : std::uint8_t { None, Ellipsis, Integer, Boolean, Slice, Tensor };

struct EllipsisIndexType {};
inline constexpr EllipsisIndexType Ellipsis{};
inline constexpr std::nullopt_t None = std::nullopt;

// start, start + step, ... below stop; both count from the end when negative.
class Slice {
 public:
  Slice(std::optional<std::int64_t> start = std::nullopt, std::optional<std::int64_t> stop = std::nullopt,
        std::optional<std::int64_t> step = std::nullopt)
      : start_(start), stop_(stop), step_(step.value_or(1)) {}
  std::optional<std::int64_t> start() const { return start_; }
  std::optional<std::int64_t> stop() const { return stop_; }
  std::int64_t step() const { return step_; }

 private:
  std::optional<std::int64_t> start_;
  std::optional<std::int64_t> stop_;
  std::int64_t step_;
};

class TensorIndex {
 public:
  TensorIndex(std::nullopt_t) : kind_(TensorIndexType::None) {}
  TensorIndex(EllipsisIndexType) : kind_(TensorIndexType::Ellipsis) {}
  TensorIndex(const char* text);  // "..." only
  template <class T>
  requires std::integral<T> &&(!std::same_as<T, bool>)TensorIndex(T integer)
      : kind_(TensorIndexType::Integer), integer_(static_cast<std::int64_t>(integer)) {}
  template <std::same_as<bool> T>
  TensorIndex(T boolean) : kind_(TensorIndexType::Boolean), integer_(boolean) {}
  TensorIndex(tinytorch::indexing::Slice slice) : kind_(TensorIndexType::Slice), slice_(slice) {}
  TensorIndex(tinytorch::Tensor tensor) : kind_(TensorIndexType::Tensor), tensor_(std::move(tensor)) {}

  TensorIndexType kind() const { return kind_; }
  bool is_none() const { return kind_ == TensorIndexType::None; }
  bool is_ellipsis() const { return kind_ == TensorIndexType::Ellipsis; }
  bool is_integer() const { return kind_ == TensorIndexType::Integer; }
  bool is_boolean() const { return kind_ == TensorIndexType::Boolean; }
  bool is_slice() const { return kind_ == TensorIndexType::Slice; }
  bool is_tensor() const { return kind_ == TensorIndexType::Tensor; }
  std::int64_t integer() const { return integer_; }
  bool boolean() const { return integer_ != 0; }
  const tinytorch::indexing::Slice& slice() const { return slice_; }
  const tinytorch::Tensor& tensor() const { return tensor_; }

 private:
  TensorIndexType kind_;
  std::int64_t integer_ = 0;
  tinytorch::indexing::Slice slice_;
  tinytorch::Tensor tensor_;
};

}  // namespace indexing

// self[indices]: a view when no tensor is among the indices, a copy when one is.
Tensor index(const Tensor& self, ArrayRef<indexing::TensorIndex> indices);
const Tensor& index_put_(const Tensor& self, ArrayRef<indexing::TensorIndex> indices, const Tensor& rhs);
// One index tensor per leading dimension; an absent one takes the whole dimension. With `accumulate`, values that meet in one place add up.
Tensor index(const Tensor& self, const std::vector<std::optional<Tensor>>& indices);
const Tensor& index_put_(const Tensor& self, const std::vector<std::optional<Tensor>>& indices,
                         const Tensor& values, bool accumulate = false);

namespace op {
// The indexed dimensions stand first: `indices` are Long, of one shape, within bounds, one for each of self's first dimensions.
extern Operator<Tensor(const Tensor&, TensorList)> index;
extern Operator<const Tensor&(const Tensor&, TensorList, const Tensor&, bool)> index_put_;
}  // namespace op

// %%
//| export core/index_loops.h
// Adds to the Long tensor `positions` the offsets of `index` (Long, of the same sizes) along a dimension of the given size and stride. Throws for an index outside of [0,
// size).
void add_positions(const Tensor& positions, const Tensor& index, std::int64_t dim, std::int64_t size, std::int64_t stride);

// Calls f(element, other_element) over `sizes`: element is at base + position + its strides, each operand with its own strides.
template <class T, class F>
void for_each_position(IntArrayRef sizes, const Tensor& self, IntArrayRef self_strides,
                       const Tensor& positions, const Tensor& other, F f) {
  const DimVector position_strides = broadcast_strides(positions, sizes);
  const StridedLoop<3> loop(sizes, {self_strides, IntArrayRef(position_strides), other.strides()});
  loop.run([&, base = self.data<T>(), where = positions.data<std::int64_t>(), out = other.data<T>()](
               const auto& offset, std::int64_t count, const auto& step) {
    T* const element = base + offset[0];
    const std::int64_t* const position = where + offset[1];
    T* const other_element = out + offset[2];
    const std::int64_t step_0 = step[0], step_1 = step[1], step_2 = step[2];
    for (std::int64_t i = 0; i < count; ++i) f(element[i * step_0 + position[i * step_1]], other_element[i * step_2]);
  });
}

// %%
//| export core/gather.cpp
void add_positions(const Tensor& positions, const Tensor& index, std::int64_t dim, std::int64_t size, std::int64_t stride) {
  zip_into<std::int64_t, std::int64_t, std::int64_t>(
      positions, positions, index, [=](std::int64_t position, std::int64_t i) {
        TORCH_CHECK_INDEX(i >= 0 && i < size, "index ", i, " is out of bounds for dimension ", dim,
                          " with size ", size);
        return position + i * stride;
      });
}

// %%
//| export core/gather.cpp
namespace {
// A 0-d tensor counts as a vector of one element.
Tensor at_least_1d(const Tensor& self) { return self.dim() == 0 ? view(self, {1}) : self; }

void check_index_type(const char* name, const Tensor& index) {
  TORCH_CHECK(index.scalar_type() == kLong || index.scalar_type() == kInt, name,
              "(): Expected dtype int32/int64 for index");
}

// f(element of self, element of other) for every element of `index`, whose sizes `other` has (or exceeds).
template <class F>
void walk_along(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& other, F f) {
  const Tensor source = at_least_1d(self);
  const Tensor where = to_dtype(at_least_1d(index), kLong);
  const Tensor positions = zeros(where.sizes(), kLong);
  add_positions(positions, where, dim, source.size(dim), source.stride(dim));
  DimVector strides(source.strides());
  strides[static_cast<std::size_t>(dim)] = 0;
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    for_each_position<T>(where.sizes(), source, strides, positions, at_least_1d(other), f);
  });
}

Tensor gather_cpu(const Tensor& self, std::int64_t dim, const Tensor& index) {
  const Tensor result = empty(index.sizes(), self.scalar_type());
  if (index.numel() > 0)
    walk_along(self, dim, index, result, [](const auto& element, auto& out) { out = element; });
  return result;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, std::int64_t, const Tensor&)> op::gather("gather",
                                                                                  {.cpu = gather_cpu});

Tensor gather(const Tensor& self, std::int64_t dim, const Tensor& index, bool) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  check_index_type("gather", index);
  if (index.numel() > 0) {
    TORCH_CHECK(std::max<std::int64_t>(index.dim(), 1) == std::max<std::int64_t>(self.dim(), 1),
                "Index tensor must have the same number of dimensions as input tensor");
    for (std::int64_t i = 0; i < self.dim(); ++i)
      TORCH_CHECK(i == d || index.size(i) <= self.size(i), "Size does not match at dimension ", i,
                  " expected index ", index.sizes(), " to be no larger than self ", self.sizes(),
                  " apart from dimension ", d);
  }
  return op::gather(self, d, index);
}

// %%
//| export core/gather.cpp
namespace {
const Tensor& scatter_cpu(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src) {
  const Tensor from = src.is_alias_of(self) ? clone(src) : src;
  walk_along(self, dim, index, from, [](auto& element, const auto& value) { element = value; });
  return self;
}
const Tensor& scatter_add_cpu(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src) {
  const Tensor from = src.is_alias_of(self) ? clone(src) : src;
  walk_along(self, dim, index, from, [](auto& element, const auto& value) {
    element = static_cast<std::decay_t<decltype(element)>>(element + value);
  });
  return self;
}

void check_scatter(const char* name, const Tensor& self, std::int64_t dim, const Tensor& index,
                   const Tensor& src) {
  check_index_type(name, index);
  TORCH_CHECK(self.scalar_type() == src.scalar_type(), name,
              "(): Expected self.dtype to be equal to src.dtype");
  if (index.numel() == 0) return;
  const auto dims = [](const Tensor& tensor) { return std::max<std::int64_t>(tensor.dim(), 1); };
  TORCH_CHECK(dims(index) == dims(self),
              "Index tensor must have the same number of dimensions as self tensor");
  TORCH_CHECK(dims(index) == dims(src), "Index tensor must have the same number of dimensions as src tensor");
  bool fits = true;
  for (std::int64_t i = 0; i < index.dim(); ++i)
    fits = fits && at_least_1d(src).size(i) >= index.size(i) &&
           (i == dim || at_least_1d(self).size(i) >= index.size(i));
  TORCH_CHECK(fits, "Expected index ", index.sizes(), " to be no larger than self ", self.sizes(),
              " apart from dimension ", dim, " and to be no larger size than src ", src.sizes());
  check_no_partial_overlap(self, src);
}
}  // namespace
constinit Operator<const Tensor&(const Tensor&, std::int64_t, const Tensor&, const Tensor&)> op::scatter_(
    "scatter_", {.cpu = scatter_cpu});
constinit Operator<const Tensor&(const Tensor&, std::int64_t, const Tensor&, const Tensor&)> op::scatter_add_(
    "scatter_add_", {.cpu = scatter_add_cpu});

// %%
//| export core/gather.cpp
const Tensor& scatter_(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  check_scatter("scatter", self, d, index, src);
  return index.numel() == 0 ? self : op::scatter_(self, d, index, src);
}
const Tensor& scatter_(const Tensor& self, std::int64_t dim, const Tensor& index, const Scalar& value) {
  return scatter_(self, dim, index, expand(full({}, value, self.options()), index.sizes()));
}
const Tensor& scatter_add_(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  check_scatter("scatter", self, d, index, src);
  return index.numel() == 0 ? self : op::scatter_add_(self, d, index, src);
}
Tensor scatter(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src) {
  return scatter_(clone(self), dim, index, src);
}
Tensor scatter(const Tensor& self, std::int64_t dim, const Tensor& index, const Scalar& value) {
  return scatter_(clone(self), dim, index, value);
}
Tensor scatter_add(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src) {
  return scatter_add_(clone(self), dim, index, src);
}

// %%
//| export core/gather.cpp
namespace {
// The vector `index` laid along dimension `dim` of a tensor of these sizes, with stride 0 along the others.
Tensor laid_along(const Tensor& index, std::int64_t dim, IntArrayRef sizes) {
  DimVector shape(sizes.size(), 1);
  shape[static_cast<std::size_t>(dim)] = index.numel();
  return expand(reshape(index, shape), sizes);
}

Tensor index_select_cpu(const Tensor& self, std::int64_t dim, const Tensor& index) {
  const Tensor source = at_least_1d(self);
  DimVector sizes(source.sizes());
  sizes[static_cast<std::size_t>(dim)] = index.numel();
  const Tensor result = gather_cpu(source, dim, laid_along(index, dim, sizes));
  return self.dim() == 0 ? view(result, IntArrayRef()) : result;
}

const Tensor& index_add_cpu(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source) {
  const Tensor values = at_least_1d(source);
  return values.numel() == 0 ? self
                             : scatter_add_cpu(self, dim, laid_along(index, dim, values.sizes()), values);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, std::int64_t, const Tensor&)> op::index_select(
    "index_select", {.cpu = index_select_cpu});
constinit Operator<const Tensor&(const Tensor&, std::int64_t, const Tensor&, const Tensor&)> op::index_add_(
    "index_add_", {.cpu = index_add_cpu});

Tensor index_select(const Tensor& self, std::int64_t dim, const Tensor& index) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  TORCH_CHECK_INDEX(index.dim() <= 1, "index_select(): Index is supposed to be a vector");
  TORCH_CHECK(index.scalar_type() == kLong || index.scalar_type() == kInt,
              "index_select(): Expected dtype int32 or int64 for index");
  TORCH_CHECK(self.dim() > 0 || index.numel() == 1,
              "index_select(): Index to scalar can have only 1 value, got ", index.numel(), " value(s)");
  return op::index_select(self, d, index);
}

// %%
//| export core/gather.cpp
const Tensor& index_add_(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source,
                         const Scalar& alpha) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  TORCH_CHECK_INDEX(index.dim() <= 1,
                    "index_add_(): Index is supposed to be a vector, but got dim: ", index.dim(),
                    " with type: ", index.scalar_type(), " and size: ", index.sizes());
  check_index_type("index_add_", index);
  TORCH_CHECK(self.scalar_type() == source.scalar_type(), "index_add_(): self (", self.scalar_type(),
              ") and source (", source.scalar_type(), ") must have the same scalar type");
  const std::int64_t count = source.dim() == 0 ? 1 : source.size(d);
  TORCH_CHECK(index.numel() == count, "index_add_(): Number of indices (", index.numel(),
              ") should be equal to source.size(dim): (", count, "), for dim: ", d);
  bool matches = self.dim() == source.dim();
  for (std::int64_t i = 0; matches && i < self.dim(); ++i) matches = i == d || self.size(i) == source.size(i);
  TORCH_CHECK(matches,
              "source tensor shape must match self tensor shape, excluding the specified dimension. Got "
              "self.shape = ",
              self.sizes(), " source.shape = ", source.sizes());
  return op::index_add_(self, d, index, alpha.equal(1) ? source : (source * alpha).to(self.scalar_type()));
}
Tensor index_add(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source,
                 const Scalar& alpha) {
  return index_add_(clone(self), dim, index, source, alpha);
}

// %%
//| export core/gather.cpp
Tensor flip(const Tensor& self, IntArrayRef dims) {
  std::vector<bool> seen(self.sizes().size());
  Tensor result = self;
  for (const std::int64_t dim : dims) {
    const std::int64_t d = wrap_dim(dim, self.dim());
    if (self.dim() == 0) continue;
    TORCH_CHECK(!seen[static_cast<std::size_t>(d)], "dim ", d, " appears multiple times in the list of dims");
    seen[static_cast<std::size_t>(d)] = true;
    result = index_select(result, d, arange(self.size(d) - 1, -1, -1, kLong));
  }
  return result.is_same(self) ? clone(self) : result;
}

// %%
//| export core/gather.cpp
namespace {
Tensor nonzero_cpu(const Tensor& self) {
  const Tensor flags = logical_not(logical_not(self)).contiguous();
  const bool* const flag = flags.data<bool>();
  const std::int64_t dims = self.dim();
  const Tensor result = empty({flags.sum().item<std::int64_t>(), dims}, kLong);
  std::int64_t* out = result.data<std::int64_t>();
  for (std::int64_t i = 0; i < self.numel(); ++i) {
    if (!flag[i]) continue;
    std::int64_t rest = i;  // the index of element i, from the last dimension
    for (std::int64_t d = dims; d-- > 0; rest /= self.size(d)) out[d] = rest % self.size(d);
    out += dims;
  }
  return result;
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::nonzero("nonzero", {.cpu = nonzero_cpu});
Tensor nonzero(const Tensor& self) { return op::nonzero(self); }

Tensor masked_select(const Tensor& self, const Tensor& mask) {
  TORCH_CHECK(mask.scalar_type() == kBool, "masked_select: expected BoolTensor for mask");
  const DimVector sizes = infer_size(self.sizes(), mask.sizes());
  return index(expand(self, sizes), std::vector<std::optional<Tensor>>{expand(mask, sizes)});
}

// %%
//| export core/indexing.cpp
namespace {
// Tensor indices as op::index wants them.
struct PreparedIndices {
  std::vector<Tensor> indices;  // Long, broadcast to one shape, negative ones counted from the end
  DimVector dims;               // which dimension each of them indexes
  DimVector order;              // a permutation of self's dimensions: indexed ones first
  bool adjacent = true;  // whether the indexed dimensions are neighbours: then the result keeps their place
};

// A boolean mask over k dimensions stands for k index tensors: the coordinates of its true elements.
void append_mask(const Tensor& self, const Tensor& mask, std::int64_t& dim, PreparedIndices& prepared) {
  for (std::int64_t i = 0; i < mask.dim(); ++i)
    TORCH_CHECK_INDEX(mask.size(i) == self.size(dim + i), "The shape of the mask ", mask.sizes(),
                      " at index ", i, " does not match the shape of the indexed tensor ", self.sizes(),
                      " at index ", dim + i);
  const Tensor coordinates = nonzero(mask);
  for (std::int64_t i = 0; i < mask.dim(); ++i) {
    prepared.indices.push_back(select(coordinates, 1, i));
    prepared.dims.push_back(dim++);
  }
}

// Long, with negative indices counted from the end; throws for one that is out of bounds.
Tensor checked_index(const Tensor& index, std::int64_t dim, std::int64_t size) {
  const Tensor result = clone(to_dtype(index, kLong));
  map_into<std::int64_t, std::int64_t>(result, result, [=](std::int64_t i) {
    TORCH_CHECK_INDEX(i >= -size && i < size, "index ", i, " is out of bounds for dimension ", dim,
                      " with size ", size);
    return i < 0 ? i + size : i;
  });
  return result;
}

void broadcast_indices(std::vector<Tensor>& indices) {
  DimVector shape;
  try {
    for (const Tensor& index : indices) shape = infer_size(shape, index.sizes());
  } catch (const Error&) {
    std::ostringstream shapes;
    for (std::size_t i = 0; i < indices.size(); ++i) shapes << (i == 0 ? "" : ", ") << indices[i].sizes();
    TORCH_CHECK_INDEX(false, "shape mismatch: indexing tensors could not be broadcast together with shapes ",
                      shapes.str());
  }
  for (Tensor& index : indices) index = expand(index, shape);
}
}  // namespace

// %%
//| export core/indexing.cpp
namespace {
std::int64_t dimensions_taken(const Tensor& index) {
  return index.scalar_type() == kBool || index.scalar_type() == kByte ? index.dim() : 1;
}

PreparedIndices prepare_indices(const Tensor& self, const std::vector<std::optional<Tensor>>& indices) {
  std::int64_t taken = 0;
  for (const std::optional<Tensor>& index : indices)
    taken += index && index->defined() ? dimensions_taken(*index) : 1;
  TORCH_CHECK_INDEX(taken <= self.dim(), "too many indices for tensor of dimension ", self.dim(), " (got ",
                    taken, ")");
  PreparedIndices prepared;
  std::int64_t dim = 0;
  for (const std::optional<Tensor>& index : indices) {
    if (!index || !index->defined()) {
      ++dim;
      continue;
    }
    const ScalarType type = index->scalar_type();
    TORCH_CHECK_INDEX(type == kLong || type == kInt || type == kByte || type == kBool,
                      "tensors used as indices must be long, int, byte or bool tensors");
    if (type == kByte || type == kBool) {
      append_mask(self, *index, dim, prepared);
    } else {
      prepared.indices.push_back(checked_index(*index, dim, self.size(dim)));
      prepared.dims.push_back(dim++);
    }
  }
  broadcast_indices(prepared.indices);
  prepared.order = prepared.dims;
  for (std::size_t i = 0; i + 1 < prepared.dims.size(); ++i)
    prepared.adjacent = prepared.adjacent && prepared.dims[i + 1] == prepared.dims[i] + 1;
  for (std::int64_t d = 0; d < self.dim(); ++d)
    if (std::find(prepared.dims.begin(), prepared.dims.end(), d) == prepared.dims.end())
      prepared.order.push_back(d);
  return prepared;
}

// The permutation that takes op::index's result, (index's dimensions, the rest), to where the user expects them.
DimVector result_order(const PreparedIndices& prepared) {
  const std::int64_t index_dims = prepared.indices.front().dim();
  const auto rest = static_cast<std::int64_t>(prepared.order.size() - prepared.dims.size());
  const std::int64_t before = prepared.adjacent ? prepared.dims[0] : 0;
  DimVector order;
  for (std::int64_t i = 0; i < before; ++i) order.push_back(index_dims + i);
  for (std::int64_t i = 0; i < index_dims; ++i) order.push_back(i);
  for (std::int64_t i = before; i < rest; ++i) order.push_back(index_dims + i);
  return order;
}
}  // namespace

// %%
//| export core/indexing.cpp
namespace {
// The positions of all index tuples, and the walk over them and the remaining dimensions of self.
template <class F>
void walk_indices(const Tensor& self, TensorList indices, const Tensor& other, F f) {
  const Tensor positions = zeros(indices.front().sizes(), kLong);
  for (std::size_t d = 0; d < indices.size(); ++d)
    add_positions(positions, indices[d], static_cast<std::int64_t>(d), self.sizes()[d], self.strides()[d]);
  // other's dimensions: those of an index first, in which self stands still, then the rest of self's.
  DimVector self_strides(static_cast<std::size_t>(positions.dim()), 0);
  DimVector position_sizes(positions.sizes());
  for (std::size_t d = indices.size(); d < self.sizes().size(); ++d) {
    self_strides.push_back(self.strides()[d]);
    position_sizes.push_back(1);
  }
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    for_each_position<T>(other.sizes(), self, self_strides, view(positions, position_sizes), other, f);
  });
}

DimVector indexed_sizes(const Tensor& self, TensorList indices) {
  DimVector sizes(indices.front().sizes());
  for (std::size_t d = indices.size(); d < self.sizes().size(); ++d) sizes.push_back(self.sizes()[d]);
  return sizes;
}

Tensor index_cpu(const Tensor& self, TensorList indices) {
  const Tensor result = empty(indexed_sizes(self, indices), self.scalar_type());
  walk_indices(self, indices, result, [](const auto& element, auto& out) { out = element; });
  return result;
}

const Tensor& index_put_cpu(const Tensor& self, TensorList indices, const Tensor& values, bool accumulate) {
  check_no_partial_overlap(self, values);
  const Tensor from = values.is_alias_of(self) ? clone(values) : values;
  if (accumulate) {
    walk_indices(self, indices, from, [](auto& element, const auto& value) {
      element = static_cast<std::decay_t<decltype(element)>>(element + value);
    });
  } else {
    walk_indices(self, indices, from, [](auto& element, const auto& value) { element = value; });
  }
  return self;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, TensorList)> op::index("index", {.cpu = index_cpu});
constinit Operator<const Tensor&(const Tensor&, TensorList, const Tensor&, bool)> op::index_put_(
    "index_put_", {.cpu = index_put_cpu});

// %%
//| export core/indexing.cpp
namespace {
// All of self, as a view.
Tensor slice_all(const Tensor& self) { return view(self, self.sizes()); }

// `values` may have more dimensions than its target when the surplus ones have size 1.
Tensor without_leading_ones(const Tensor& values, std::int64_t dims) {
  std::int64_t surplus = 0;
  while (values.dim() - surplus > dims && values.size(surplus) == 1) ++surplus;
  if (surplus == 0) return values;
  return view(values, IntArrayRef(values.sizes().data() + surplus,
                                  values.sizes().size() - static_cast<std::size_t>(surplus)));
}

Tensor broadcast_values(const Tensor& values, IntArrayRef sizes) {
  const Tensor trimmed = without_leading_ones(values, static_cast<std::int64_t>(sizes.size()));
  bool fits = trimmed.sizes().size() <= sizes.size();
  for (std::size_t i = 1; fits && i <= trimmed.sizes().size(); ++i) {
    const std::int64_t size = trimmed.sizes()[trimmed.sizes().size() - i];
    fits = size == 1 || size == sizes[sizes.size() - i];
  }
  TORCH_CHECK(fits, "shape mismatch: value tensor of shape ", values.sizes(),
              " cannot be broadcast to indexing result of shape ", sizes);
  return expand(trimmed, sizes);
}
}  // namespace

// %%
//| export core/indexing.cpp
Tensor index(const Tensor& self, const std::vector<std::optional<Tensor>>& indices) {
  const PreparedIndices prepared = prepare_indices(self, indices);
  if (prepared.indices.empty()) return slice_all(self);
  // One index behind whole dimensions picks along its own.
  if (prepared.indices.size() == 1 && prepared.dims[0] > 0 && prepared.indices[0].dim() == 1)
    return index_select(self, prepared.dims[0], prepared.indices[0]);
  const Tensor result = op::index(permute(self, prepared.order), prepared.indices);
  return prepared.dims[0] == 0 || !prepared.adjacent ? result
                                                     : permute(result, result_order(prepared)).contiguous();
}

const Tensor& index_put_(const Tensor& self, const std::vector<std::optional<Tensor>>& indices,
                         const Tensor& values, bool accumulate) {
  TORCH_CHECK(self.scalar_type() == values.scalar_type(),
              "Index put requires the source and destination dtypes match, got ", self.scalar_type(),
              " for the destination and ", values.scalar_type(), " for the source.");
  const PreparedIndices prepared = prepare_indices(self, indices);
  if (prepared.indices.empty()) return accumulate ? add_(self, values) : copy_(self, values);
  const Tensor target = permute(self, prepared.order);
  // `values` broadcasts to the shape that index() would give; then its dimensions go where op::index_put_ wants them.
  const DimVector front_sizes = indexed_sizes(target, prepared.indices);
  const DimVector order = result_order(prepared);
  DimVector sizes(order.size());
  DimVector back(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    sizes[i] = front_sizes[static_cast<std::size_t>(order[i])];
    back[static_cast<std::size_t>(order[i])] = static_cast<std::int64_t>(i);
  }
  op::index_put_(target, prepared.indices, permute(broadcast_values(values, sizes), back), accumulate);
  return self;
}

// %%
//| export core/indexing.cpp
indexing::TensorIndex::TensorIndex(const char* text) : kind_(TensorIndexType::Ellipsis) {
  TORCH_CHECK_VALUE(std::string_view(text) == "...",
                    "Expected \"...\" to represent an ellipsis index, but got \"", text, "\"");
}

// %%
//| export core/indexing.cpp
namespace {
using indexing::TensorIndex;

std::int64_t dimensions_taken(const TensorIndex& index) {
  if (index.is_tensor()) return dimensions_taken(index.tensor());
  return index.is_integer() || index.is_slice() ? 1 : 0;
}

Tensor select_index(const Tensor& self, std::int64_t dim, std::int64_t index) {
  TORCH_CHECK_INDEX(self.dim() > 0,
                    "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in "
                    "C++ to convert a 0-dim tensor to a number");
  const std::int64_t size = self.size(dim);
  TORCH_CHECK_INDEX(index >= -size && index < size, "index ", index, " is out of bounds for dimension ", dim,
                    " with size ", size);
  return select(self, dim, index);
}

Tensor slice_index(const Tensor& self, std::int64_t dim, const indexing::Slice& range) {
  TORCH_CHECK_VALUE(range.step() != 0, "slice step cannot be zero");
  TORCH_CHECK_VALUE(range.step() > 0, "step must be greater than zero");
  return slice(self, dim, range.start(), range.stop(), range.step());
}

// Applies all indices that need no copy, and notes index tensors at the dimension that they index.
class BasicIndexing {
 public:
  explicit BasicIndexing(const Tensor& self) : result(self) {}
  void apply(const TensorIndex& index, std::int64_t dims_of_ellipsis);

  Tensor result;
  std::vector<std::optional<Tensor>> tensors;  // by dimension of `result`

 private:
  void note(const Tensor& index);
  std::int64_t dim_ = 0;  // the dimension of `result` that the next index applies to
};
}  // namespace

// %%
//| export core/indexing.cpp
namespace {
// A mask of several dimensions is noted as the index tensors that it stands for, so that `tensors` and dimensions go side by side.
void BasicIndexing::note(const Tensor& index) {
  tensors.resize(static_cast<std::size_t>(dim_));
  const bool mask = index.scalar_type() == kBool || index.scalar_type() == kByte;
  if (!mask) {
    tensors.emplace_back(index);
    ++dim_;
    return;
  }
  PreparedIndices prepared;
  append_mask(result, index, dim_, prepared);
  tensors.insert(tensors.end(), prepared.indices.begin(), prepared.indices.end());
}

void BasicIndexing::apply(const TensorIndex& index, std::int64_t dims_of_ellipsis) {
  switch (index.kind()) {
    case indexing::TensorIndexType::None:
      result = unsqueeze(result, dim_++);
      break;
    case indexing::TensorIndexType::Ellipsis:
      dim_ += dims_of_ellipsis;
      break;
    case indexing::TensorIndexType::Integer:
      result = select_index(result, dim_, index.integer());
      break;
    case indexing::TensorIndexType::Slice:
      result = slice_index(result, dim_++, index.slice());
      break;
    case indexing::TensorIndexType::Boolean:
      result = unsqueeze(result, dim_);
      note(zeros({index.boolean() ? 1 : 0}, kLong));
      break;
    case indexing::TensorIndexType::Tensor:
      if (index.tensor().dim() > 0 || !isIntegralType(index.tensor().scalar_type(), true))
        note(index.tensor());
      else if (index.tensor().scalar_type() == kBool)
        apply(TensorIndex(index.tensor().item<bool>()), dims_of_ellipsis);
      else result = select_index(result, dim_, index.tensor().item<std::int64_t>());
      break;
  }
}

BasicIndexing apply_indices(const Tensor& self, ArrayRef<TensorIndex> indices) {
  std::int64_t taken = 0;
  for (const TensorIndex& index : indices) taken += dimensions_taken(index);
  const bool single_integer = indices.size() == 1 && indices[0].is_integer();
  TORCH_CHECK_INDEX(taken <= self.dim() || single_integer, "too many indices for tensor of dimension ",
                    self.dim());
  BasicIndexing basic(self);
  for (const TensorIndex& index : indices) basic.apply(index, self.dim() - taken);
  return basic;
}
}  // namespace

// %%
//| export core/indexing.cpp
Tensor index(const Tensor& self, ArrayRef<indexing::TensorIndex> indices) {
  const BasicIndexing basic = apply_indices(self, indices);
  if (!basic.tensors.empty()) return index(basic.result, basic.tensors);
  return basic.result.is_same(self) ? slice_all(self) : basic.result;
}

const Tensor& index_put_(const Tensor& self, ArrayRef<indexing::TensorIndex> indices, const Tensor& rhs) {
  const BasicIndexing basic = apply_indices(self, indices);
  if (!basic.tensors.empty()) {
    index_put_(basic.result, basic.tensors, rhs);
  } else {
    copy_(basic.result, without_leading_ones(rhs, basic.result.dim()));
  }
  return self;
}

// %%
using indexing::Ellipsis, indexing::None, indexing::Slice;

// %%
TEST_CASE("gather and index_select") {
  const Tensor x = tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}});
  CHECK_EQ(x.gather(1, tensor({{2, 0}, {1, 1}})), tensor({{3.0, 1.0}, {5.0, 5.0}}));
  CHECK_EQ(x.gather(0, tensor({{1, 0}})), tensor({{4.0, 2.0}}));
  CHECK_EQ(x.t().gather(-1, tensor({{1}, {0}, {1}}, kInt)), tensor({{4.0}, {2.0}, {6.0}}));
  CHECK_EQ(tensor(7).gather(0, tensor({0, 0})), tensor({7, 7}));
  CHECK_EQ(x.gather(1, zeros({0}, kLong)), zeros({0}, kFloat));
  CHECK_EQ(x.index_select(1, tensor({2, 0, 2})), tensor({{3.0, 1.0, 3.0}, {6.0, 4.0, 6.0}}));
  CHECK_EQ(x.t().index_select(0, tensor({1})), tensor({{2.0, 5.0}}));
  CHECK_EQ(x.index_select(0, tensor(1)), tensor({{4.0, 5.0, 6.0}}));
  CHECK_EQ(x.index_select(0, zeros({0}, kLong)), zeros({0, 3}, kFloat));
  CHECK_EQ(tensor(7).index_select(0, tensor({0})), tensor(7));
  CHECK_ERROR(x.gather(1, tensor({0})),
              "Index tensor must have the same number of dimensions as input tensor");
  CHECK_ERROR(x.gather(1, tensor({{0, 5}})), "index 5 is out of bounds for dimension 1 with size 3");
  CHECK_ERROR(x.gather(0, tensor({{0, 0, 0, 0}})),
              "Size does not match at dimension 1 expected index [1, 4] to be no larger than self [2, 3] "
              "apart from dimension 0");
  CHECK_ERROR(x.gather(1, tensor({{0.0}})), "gather(): Expected dtype int32/int64 for index");
  CHECK_ERROR(x.index_select(0, tensor({{0}})), "index_select(): Index is supposed to be a vector");
  CHECK_ERROR(x.index_select(0, tensor({5})), "index 5 is out of bounds for dimension 0 with size 2");
  CHECK_ERROR(x.index_select(0, tensor({1.0})), "index_select(): Expected dtype int32 or int64 for index");
  CHECK_ERROR(tensor(1.0).index_select(0, tensor({0, 0})),
              "index_select(): Index to scalar can have only 1 value, got 2 value(s)");
}

// %%
TEST_CASE("scatter_, scatter_add_ and index_add_") {
  const Tensor index = tensor({{2, 0, 2}, {1, 1, 0}});
  const Tensor src = tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}});
  CHECK_EQ(zeros({2, 3}).scatter_(1, tensor({{2, 0}, {1, 0}}), src),
           tensor({{2.0, 0.0, 1.0}, {5.0, 4.0, 0.0}}));
  CHECK_EQ(zeros({3, 3}).scatter_add_(0, index, src),
           tensor({{0.0, 2.0, 6.0}, {4.0, 5.0, 0.0}, {1.0, 0.0, 3.0}}));
  CHECK_EQ(zeros({2, 3}).scatter_add(1, index, src), tensor({{2.0, 0.0, 4.0}, {6.0, 9.0, 0.0}}));
  CHECK_EQ(ones({3, 3}).t().scatter(0, index, 9),
           tensor({{1.0, 9.0, 9.0}, {9.0, 9.0, 1.0}, {9.0, 1.0, 9.0}}));
  CHECK_EQ(zeros({2, 3}).scatter_(1, zeros({0}, kLong), src), tensor({{0.0, 0.0, 0.0}, {0.0, 0.0, 0.0}}));
  CHECK_EQ(ones({3, 3}).index_add_(0, tensor({2, 0}), src),
           tensor({{5.0, 6.0, 7.0}, {1.0, 1.0, 1.0}, {2.0, 3.0, 4.0}}));
  CHECK_EQ(ones({2, 4}).index_add(1, tensor({1, 1, 0}), src, 0.5),
           tensor({{2.5, 2.5, 1.0, 1.0}, {4.0, 5.5, 1.0, 1.0}}));
  CHECK_ERROR(zeros({2, 3}).scatter_(1, index, zeros({2, 3}, kLong)),
              "scatter(): Expected self.dtype to be equal to src.dtype");
  CHECK_ERROR(zeros({2, 2}).scatter_(1, index, src), "index 2 is out of bounds for dimension 1 with size 2");
  CHECK_ERROR(zeros({2, 3}).scatter_(1, tensor({{0, 1}}), tensor({{1.0}})),
              "Expected index [1, 2] to be no larger than self [2, 3] apart from dimension 1 and to be no "
              "larger size than src [1, 1]");
  CHECK_ERROR(zeros({2, 3}).scatter_add_(1, tensor({0, 1}), src),
              "Index tensor must have the same number of dimensions as self tensor");
  CHECK_ERROR(zeros({3, 3}).index_add_(0, tensor({0}), src),
              "index_add_(): Number of indices (1) should be equal to source.size(dim): (2), for dim: 0");
  CHECK_ERROR(zeros({3, 3}).index_add_(0, tensor({0, 5}), src),
              "index 5 is out of bounds for dimension 0 with size 3");
  CHECK_ERROR(zeros({3, 4}).index_add_(0, tensor({0, 1}), src),
              "source tensor shape must match self tensor shape, excluding the specified dimension. Got "
              "self.shape = [3, 4] source.shape = [2, 3]");
  CHECK_ERROR(zeros({3, 3}, kLong).index_add_(0, tensor({0, 1}), src),
              "index_add_(): self (Long) and source (Float) must have the same scalar type");
}

// %%
TEST_CASE("flip") {
  const Tensor x = tensor({{1, 2, 3}, {4, 5, 6}});
  CHECK_EQ(x.flip({1}), tensor({{3, 2, 1}, {6, 5, 4}}));
  CHECK_EQ(x.flip({0, -1}), tensor({{6, 5, 4}, {3, 2, 1}}));
  CHECK_EQ(tensor(5).flip({0}), tensor(5));
  CHECK_EQ(zeros({0, 2}).flip({0}), zeros({0, 2}, kFloat));
  CHECK_ERROR(x.flip({0, 0}), "dim 0 appears multiple times in the list of dims");
}

// %%
TEST_CASE("nonzero and masked_select") {
  const double nan = NAN;
  const Tensor x = tensor({{0.0, 2.0, nan}, {4.0, 0.0, 6.0}});
  CHECK_EQ(nonzero(x), tensor({{0, 1}, {0, 2}, {1, 0}, {1, 2}}));
  CHECK_EQ(nonzero(x.t()), tensor({{0, 1}, {1, 0}, {2, 0}, {2, 1}}));
  CHECK_EQ(nonzero(tensor(3)), zeros({1, 0}, kLong));
  CHECK_EQ(nonzero(zeros({0, 3})), zeros({0, 2}, kLong));
  CHECK_EQ(masked_select(x, x > 3), tensor({4.0, 6.0}));
  CHECK_EQ(masked_select(x, tensor({true, false, false})), tensor({0.0, 4.0}));
  CHECK_ERROR(masked_select(x, zeros({3}, kLong)), "masked_select: expected BoolTensor for mask");
}

// %%
TEST_CASE("index: integers, slices, None and Ellipsis make views") {
  const Tensor x = arange(24).view({2, 3, 4});
  CHECK_EQ(x.index({1}), tensor({{12, 13, 14, 15}, {16, 17, 18, 19}, {20, 21, 22, 23}}));
  CHECK_EQ(x.index({1, -1}), tensor({20, 21, 22, 23}));
  CHECK_EQ(x.index({Slice(), 1, Slice(0, std::nullopt, 2)}), tensor({{4, 6}, {16, 18}}));
  CHECK_EQ(x.index({Ellipsis, -1}), tensor({{3, 7, 11}, {15, 19, 23}}));
  CHECK_EQ(x.index({"...", Slice(1, 3)}),
           tensor({{{1, 2}, {5, 6}, {9, 10}}, {{13, 14}, {17, 18}, {21, 22}}}));
  CHECK_EQ(x.index({None, 0, Ellipsis, None, 2}), tensor({{{2}, {6}, {10}}}));
  CHECK_EQ(x.index({Slice(std::nullopt, -1), Slice(-2)}), tensor({{{4, 5, 6, 7}, {8, 9, 10, 11}}}));
  CHECK_EQ(x.index({true, 0, 0}), tensor({{0, 1, 2, 3}}));
  CHECK_EQ(x.index({false}), zeros({0, 2, 3, 4}, kLong));
  CHECK_EQ(tensor(5).index({Ellipsis}), tensor(5));
  CHECK(x.index({Slice(), 1}).is_alias_of(x));
  x.index({0, Slice(), 0}) = tensor({-1, -2, -3});
  x.index({1, 1}) = 7;
  CHECK_EQ(x, tensor({{{-1, 1, 2, 3}, {-2, 5, 6, 7}, {-3, 9, 10, 11}},
                      {{12, 13, 14, 15}, {7, 7, 7, 7}, {20, 21, 22, 23}}}));
  CHECK_ERROR(x.index({5}), "index 5 is out of bounds for dimension 0 with size 2");
  CHECK_ERROR(x.index({0, 0, 0, 0}), "too many indices for tensor of dimension 3");
  CHECK_ERROR(tensor(1.0).index({0}),
              "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ "
              "to convert a 0-dim tensor to a number");
  CHECK_ERROR(x.index({Slice(0, 2, 0)}), "slice step cannot be zero");
  CHECK_ERROR(x.index({Slice(0, 2, -1)}), "step must be greater than zero");
  CHECK_ERROR(x.index({"..", 0}), "Expected \"...\" to represent an ellipsis index, but got \"..\"");
}

// %%
TEST_CASE("index: tensors of indices and masks copy") {
  const Tensor x = arange(24).view({2, 3, 4});
  const Tensor i = tensor({1, 0});
  const Tensor j = tensor({{0, -1}, {2, 1}});
  CHECK_EQ(x.index({i}), tensor({{{12, 13, 14, 15}, {16, 17, 18, 19}, {20, 21, 22, 23}},
                                 {{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9, 10, 11}}}));
  CHECK_EQ(x.index({i, j}), tensor({{{12, 13, 14, 15}, {8, 9, 10, 11}}, {{20, 21, 22, 23}, {4, 5, 6, 7}}}));
  CHECK_EQ(x.index({Slice(), j}),
           tensor({{{{0, 1, 2, 3}, {8, 9, 10, 11}}, {{8, 9, 10, 11}, {4, 5, 6, 7}}},
                   {{{12, 13, 14, 15}, {20, 21, 22, 23}}, {{20, 21, 22, 23}, {16, 17, 18, 19}}}}));
  CHECK_EQ(x.index({Slice(), Slice(), i}),
           tensor({{{1, 0}, {5, 4}, {9, 8}}, {{13, 12}, {17, 16}, {21, 20}}}));
  CHECK_EQ(x.index({i, Slice(), j}), tensor({{{12, 16, 20}, {3, 7, 11}}, {{14, 18, 22}, {1, 5, 9}}}));
  CHECK_EQ(x.index({0, Slice(), i}), tensor({{1, 0}, {5, 4}, {9, 8}}));
  CHECK_EQ(x.index({Ellipsis, j, i}), tensor({{{1, 8}, {9, 4}}, {{13, 20}, {21, 16}}}));
  CHECK_EQ(x.index({None, i, Slice(1, 3)}),
           tensor({{{{16, 17, 18, 19}, {20, 21, 22, 23}}, {{4, 5, 6, 7}, {8, 9, 10, 11}}}}));
  CHECK_EQ(x.transpose(0, 2).index({j}),
           tensor({{{{0, 12}, {4, 16}, {8, 20}}, {{3, 15}, {7, 19}, {11, 23}}},
                   {{{2, 14}, {6, 18}, {10, 22}}, {{1, 13}, {5, 17}, {9, 21}}}}));
  CHECK_EQ(x.index({x > 20}), tensor({21, 22, 23}));
  CHECK_EQ(x.index({tensor({true, false}), Slice(0, 1)}), tensor({{{0, 1, 2, 3}}}));
  CHECK_EQ(x.index({Slice(), tensor({true, false, true}), i}), tensor({{1, 8}, {13, 20}}));
  CHECK_EQ(x.index({tensor({{true, false, false}, {false, true, true}})}),
           tensor({{0, 1, 2, 3}, {16, 17, 18, 19}, {20, 21, 22, 23}}));
  CHECK_EQ(x.index({tensor(1), tensor(-1)}), tensor({20, 21, 22, 23}));
  CHECK_EQ(x.index({zeros({0}, kLong)}), zeros({0, 3, 4}, kLong));
  CHECK_EQ(x.index({tensor({0, 1}, kByte)}),
           tensor({{{12, 13, 14, 15}, {16, 17, 18, 19}, {20, 21, 22, 23}}}));
  CHECK_ERROR(x.index({tensor({5})}), "index 5 is out of bounds for dimension 0 with size 2");
  CHECK_ERROR(x.index({tensor({true, false, true})}),
              "The shape of the mask [3] at index 0 does not match the shape of the indexed tensor [2, 3, 4] "
              "at index 0");
  CHECK_ERROR(x.index({tensor({1.0})}), "tensors used as indices must be long, int, byte or bool tensors");
  CHECK_ERROR(x.index({i, tensor({0, 1, 2})}),
              "shape mismatch: indexing tensors could not be broadcast together with shapes [2], [3]");
}

// %%
TEST_CASE("index: one index behind whole dimensions, as the transposed tensor's rows") {
  const Tensor x = arange(2 * 5 * 3).view({2, 5, 3}), rows = tensor({4, 0, -1, 2}), mask = rows.narrow(0, 0, 3) > 0;
  CHECK_EQ(x.index({Slice(), rows}), x.transpose(0, 1).index({rows}).transpose(0, 1));
  CHECK_EQ(x.index({Ellipsis, rows.clamp(-1, 2)}), x.permute({2, 0, 1}).index({rows.clamp(-1, 2)}).permute({1, 2, 0}));
  CHECK_EQ(x.index({Slice(), Slice(), mask}), x.narrow(2, 0, 1));
  CHECK_EQ(x.index({Slice(0, 0), rows}).sizes(), IntArrayRef({0, 4, 3}));
  CHECK_EQ(x.index({Slice(), empty({0}, kLong)}).sizes(), IntArrayRef({2, 0, 3}));
  CHECK_ERROR(x.index({Slice(), tensor({0, 5})}), "index 5 is out of bounds for dimension 1 with size 5");
}

TEST_CASE("index_put_: writing, broadcasting, accumulating") {
  const Tensor x = zeros({3, 4});
  const Tensor i = tensor({0, 2, 0});
  x.index_put_({i}, tensor({1.0, 2.0, 3.0, 4.0}));
  CHECK_CLOSE(x, tensor({{1.0, 2.0, 3.0, 4.0}, {0.0, 0.0, 0.0, 0.0}, {1.0, 2.0, 3.0, 4.0}}));
  x.index_put_({i, i}, 9);
  CHECK_CLOSE(x, tensor({{9.0, 2.0, 3.0, 4.0}, {0.0, 0.0, 0.0, 0.0}, {1.0, 2.0, 9.0, 4.0}}));
  x.index_put_({Slice(), tensor({3, 1})}, tensor({{-1.0, -2.0}}));
  CHECK_CLOSE(x, tensor({{9.0, -2.0, 3.0, -1.0}, {0.0, -2.0, 0.0, -1.0}, {1.0, -2.0, 9.0, -1.0}}));
  x.index_put_({x < 0}, 0.5);
  CHECK_CLOSE(x, tensor({{9.0, 0.5, 3.0, 0.5}, {0.0, 0.5, 0.0, 0.5}, {1.0, 0.5, 9.0, 0.5}}));
  x.index_put_({1, Slice(1, 3)}, tensor({{7.0, 8.0}}));
  CHECK_CLOSE(x, tensor({{9.0, 0.5, 3.0, 0.5}, {0.0, 7.0, 8.0, 0.5}, {1.0, 0.5, 9.0, 0.5}}));
  x.index_put_(std::vector<std::optional<Tensor>>{i}, ones({4}), true);
  CHECK_CLOSE(x, tensor({{11.0, 2.5, 5.0, 2.5}, {0.0, 7.0, 8.0, 0.5}, {2.0, 1.5, 10.0, 1.5}}));
  x.t().index_put_(std::vector<std::optional<Tensor>>{std::nullopt, tensor({-1, -1})}, ones({4, 2}), true);
  CHECK_CLOSE(x, tensor({{11.0, 2.5, 5.0, 2.5}, {0.0, 7.0, 8.0, 0.5}, {4.0, 3.5, 12.0, 3.5}}));
  CHECK_ERROR(
      x.index_put_({tensor({0})}, zeros({2, 4})),
      "shape mismatch: value tensor of shape [2, 4] cannot be broadcast to indexing result of shape [1, 4]");
  CHECK_ERROR(x.index_put_({tensor({0})}, zeros({4}, kDouble)),
              "Index put requires the source and destination dtypes match, got Float for the destination and "
              "Double for the source.");
}

// %% [markdown]
// ## Reductions, scans and orderings
//
// Most are module 01's `fold` with another function. Sums and products of floating-point numbers run in double, so that long ones keep their small terms. Variance takes two
// passes (mean first): the one-pass formula E[x^2] - E[x]^2 cancels when the mean is large against the spread.
//
// Source: aten/src/ATen/native/{ReduceOps,Sorting}.cpp, native/cpu/{ReduceOpsKernel,SortingKernel}.cpp.

// %%
//| export core/reduction_ops.h
// ---- Reductions over the dimensions `dim` (none given: over all). O(numel).
Tensor mean(const Tensor& self);
Tensor mean(const Tensor& self, IntArrayRef dim, bool keepdim = false);
Tensor amax(const Tensor& self, IntArrayRef dim = {}, bool keepdim = false);  // NaN wins
Tensor max(const Tensor& self);
std::tuple<Tensor, Tensor> max(const Tensor& self, std::int64_t dim, bool keepdim = false);  // values and indices (Long)
Tensor argmax(const Tensor& self);  // the position in the flattened tensor
Tensor argmax(const Tensor& self, std::int64_t dim, bool keepdim = false);
Tensor prod(const Tensor& self);
Tensor prod(const Tensor& self, std::int64_t dim, bool keepdim = false);
Tensor amin(const Tensor& self, IntArrayRef dim = {}, bool keepdim = false);
Tensor min(const Tensor& self);
std::tuple<Tensor, Tensor> min(const Tensor& self, std::int64_t dim,
                               bool keepdim = false);  // values and indices
Tensor argmin(const Tensor& self, std::optional<std::int64_t> dim = std::nullopt, bool keepdim = false);
Tensor any(const Tensor& self);
Tensor any(const Tensor& self, std::int64_t dim, bool keepdim = false);
Tensor all(const Tensor& self);
Tensor all(const Tensor& self, std::int64_t dim, bool keepdim = false);
// Sum of squared deviations over (count - 1) when unbiased, over count when not.
Tensor var(const Tensor& self);
Tensor var(const Tensor& self, IntArrayRef dim, bool unbiased = true, bool keepdim = false);
Tensor std(const Tensor& self);
Tensor std(const Tensor& self, IntArrayRef dim, bool unbiased = true, bool keepdim = false);
std::tuple<Tensor, Tensor> var_mean(const Tensor& self, IntArrayRef dim, bool unbiased = true,
                                    bool keepdim = false);
std::tuple<Tensor, Tensor> var_mean(const Tensor& self);
// Over (count - correction); nothing means 1.
Tensor var(const Tensor& self, IntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim = false);
Tensor std(const Tensor& self, IntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim = false);
template <std::same_as<bool> Bool>
Tensor var(const Tensor& self, Bool unbiased) {
  return var(self, IntArrayRef(), unbiased);
}
template <std::same_as<bool> Bool>
Tensor std(const Tensor& self, Bool unbiased) {
  return tinytorch::std(self, IntArrayRef(), unbiased);
}
// (sum |x|^p)^(1/p); p = 0 counts what is not 0, +-infinity is the largest and smallest |x|.
Tensor norm(const Tensor& self, const Scalar& p = 2);
Tensor norm(const Tensor& self, const std::optional<Scalar>& p, IntArrayRef dim, bool keepdim = false);
Tensor cumsum(const Tensor& self, std::int64_t dim);
std::tuple<Tensor, Tensor> sort(const Tensor& self, std::int64_t dim = -1,
                                bool descending = false);  // stable; values and indices; NaN is largest
std::tuple<Tensor, Tensor> sort(const Tensor& self, std::optional<bool> stable, std::int64_t dim = -1,
                                bool descending = false);
Tensor argsort(const Tensor& self, std::int64_t dim = -1, bool descending = false);
std::tuple<Tensor, Tensor> topk(const Tensor& self, std::int64_t k, std::int64_t dim = -1,
                                bool largest = true, bool sorted = true);

// %%
//| export core/reduction_ops.h
namespace op {
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> mean;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> amax;
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> max;
extern Operator<Tensor(const Tensor&, std::int64_t, bool)> argmax;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> amin;
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> min;
extern Operator<Tensor(const Tensor&, std::int64_t, bool)> argmin;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> prod;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> any;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> all;
extern Operator<Tensor(const Tensor&, IntArrayRef, double, bool)>
    var;
extern Operator<Tensor(const Tensor&, IntArrayRef, double, bool)> std;
extern Operator<Tensor(const Tensor&, double, IntArrayRef, bool)> norm;
extern Operator<Tensor(const Tensor&, std::int64_t)> cumsum;
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> sort;
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, std::int64_t, bool, bool)> topk;
}  // namespace op

// %%
//| export core/statistics.cpp
namespace {
// Made of two operators, and one in the graph: MeanBackward0.
Tensor mean_cpu(const Tensor& self, IntArrayRef dim, bool keepdim) {
  // Two bytes: the sum is divided before it is rounded.
  if (isReducedFloatingType(self.scalar_type())) return to_dtype(mean_cpu(to_dtype(self, kFloat), dim, keepdim), self.scalar_type());
  const std::vector<bool> mask = reduction_mask(self, dim);
  std::int64_t count = 1;
  for (std::size_t i = 0; i < mask.size(); ++i) count *= mask[i] ? self.sizes()[i] : 1;
  return sum(self, dim, keepdim) / count;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef, bool)> op::mean("mean", {.cpu = mean_cpu});
Tensor mean(const Tensor& self, IntArrayRef dim, bool keepdim) {
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(), "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got: ",
              self.scalar_type());
  return op::mean(self, dim, keepdim);
}
Tensor mean(const Tensor& self) { return mean(self, {}, false); }

// %%
//| export core/extremes.cpp
namespace {
// The larger of two, where NaN wins: a comparison alone would lose it.
template <class T>
bool beats(T candidate, T best) {
  if constexpr (std::is_floating_point_v<T>)
    if (std::isnan(candidate)) return !std::isnan(best);
  return candidate > best;
}

Tensor amax_cpu(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  TORCH_CHECK(!dim.empty() || self.numel() > 0, "amax(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument.");
  for (std::size_t i = 0; i < mask.size(); ++i)
    TORCH_CHECK_INDEX(!mask[i] || self.sizes()[i] > 0, "amax(): Expected reduction dim ", i, " to have non-zero size.");
  return dispatch_all_types(self.scalar_type(), [&]<class T>() {
    const T lowest = std::is_floating_point_v<T> ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::lowest();
    return fold<T, T>(self, mask, keepdim, lowest, [](T a, T x) { return beats(x, a) ? x : a; });
  });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef, bool)> op::amax("amax", {.cpu = amax_cpu});
Tensor amax(const Tensor& self, IntArrayRef dim, bool keepdim) { return op::amax(self, dim, keepdim); }

// %%
//| export core/extremes.cpp
namespace {
std::tuple<Tensor, Tensor> largest(const char* name, const Tensor& self, std::int64_t dim, bool keepdim) {
  const std::int64_t size = self.dim() == 0 ? 1 : self.size(dim);
  TORCH_CHECK_INDEX(size > 0, name, "(): Expected reduction dim ", dim, " to have non-zero size.");
  std::vector<bool> mask(self.sizes().size());
  if (!mask.empty()) mask[static_cast<std::size_t>(dim)] = true;
  const DimVector sizes = reduced_sizes(self.sizes(), mask, keepdim);
  const Tensor values = empty(sizes, self.options());
  const Tensor indices = empty(sizes, kLong);
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    for_each_row<T>(self, dim, [&](std::int64_t k, const T* row, std::int64_t stride) {
      std::int64_t best = 0;
      for (std::int64_t j = 1; j < size; ++j)
        if (beats(row[j * stride], row[best * stride])) best = j;
      values.data<T>()[k] = row[best * stride];
      indices.data<std::int64_t>()[k] = best;
    });
  });
  return {values, indices};
}
std::tuple<Tensor, Tensor> max_cpu(const Tensor& self, std::int64_t dim, bool keepdim) { return largest("max", self, dim, keepdim); }
Tensor argmax_cpu(const Tensor& self, std::int64_t dim, bool keepdim) { return std::get<1>(largest("argmax", self, dim, keepdim)); }
}  // namespace
constinit Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> op::max("max", {.cpu = max_cpu});
constinit Operator<Tensor(const Tensor&, std::int64_t, bool)> op::argmax("argmax", {.cpu = argmax_cpu});
std::tuple<Tensor, Tensor> max(const Tensor& self, std::int64_t dim, bool keepdim) { return op::max(self, wrap_dim(dim, self.dim()), keepdim); }
Tensor argmax(const Tensor& self, std::int64_t dim, bool keepdim) { return op::argmax(self, wrap_dim(dim, self.dim()), keepdim); }
namespace {
// The extreme of all elements, as the mean of the NaNs where it is one: each of them then has its share of the gradient, as in PyTorch.
Tensor shared_by_nans(const Tensor& self, const Tensor& extreme) {
  const bool matters = layers_of(self).has(Layer::Autograd) && self.is_floating_point() && std::isnan(extreme.item<double>());
  return matters ? self.index({self.isnan()}).mean() : extreme;
}
}  // namespace
Tensor max(const Tensor& self) {
  TORCH_CHECK(self.numel() > 0, "max(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument.");
  return shared_by_nans(self, amax(self, {}));
}
Tensor argmax(const Tensor& self) {
  TORCH_CHECK_INDEX(self.numel() > 0, "argmax(): Expected reduction dim to be specified for input.numel() == 0.");
  return argmax(flatten(self), 0);
}

// %%
//| export core/extremes.cpp
namespace {
Tensor amin_cpu(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  TORCH_CHECK(self.numel() > 0 || !dim.empty(),
              "amin(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
              "dim with the 'dim' argument.");
  for (std::size_t i = 0; i < mask.size(); ++i)
    TORCH_CHECK_INDEX(!mask[i] || self.sizes()[i] > 0, "amin(): Expected reduction dim ", i,
                      " to have non-zero size.");
  return dispatch_all_types(self.scalar_type(), [&]<class T>() {
    const T highest =
        std::is_floating_point_v<T> ? std::numeric_limits<T>::infinity() : std::numeric_limits<T>::max();
    return fold<T, T>(self, mask, keepdim, highest, [](T a, T x) { return smaller(a, x); });
  });
}

std::tuple<Tensor, Tensor> min_cpu(const Tensor& self, std::int64_t dim, bool keepdim) {
  const std::int64_t size = self.dim() == 0 ? 1 : self.size(dim);
  TORCH_CHECK_INDEX(size > 0, "min(): Expected reduction dim ", dim, " to have non-zero size.");
  std::vector<bool> mask(self.sizes().size());
  if (!mask.empty()) mask[static_cast<std::size_t>(dim)] = true;
  const DimVector sizes = reduced_sizes(self.sizes(), mask, keepdim);
  const Tensor values = empty(sizes, self.options());
  const Tensor indices = empty(sizes, kLong);
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    for_each_row<T>(self, dim, [&](std::int64_t k, const T* row, std::int64_t stride) {
      std::int64_t best = 0;
      for (std::int64_t j = 1; j < size; ++j) {
        const T x = row[j * stride];
        const T lowest = row[best * stride];
        if (x < lowest || (x != x && lowest == lowest)) best = j;  // the first NaN wins
      }
      values.data<T>()[k] = row[best * stride];
      indices.data<std::int64_t>()[k] = best;
    });
  });
  return {values, indices};
}
Tensor argmin_cpu(const Tensor& self, std::int64_t dim, bool keepdim) {
  TORCH_CHECK_INDEX(self.dim() == 0 || self.size(dim) > 0, "argmin(): Expected reduction dim ", dim,
                    " to have non-zero size.");
  return std::get<1>(min_cpu(self, dim, keepdim));
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef, bool)> op::amin("amin", {.cpu = amin_cpu});
constinit Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> op::min("min",
                                                                                          {.cpu = min_cpu});
constinit Operator<Tensor(const Tensor&, std::int64_t, bool)> op::argmin("argmin", {.cpu = argmin_cpu});

// %%
//| export core/extremes.cpp
Tensor amin(const Tensor& self, IntArrayRef dim, bool keepdim) { return op::amin(self, dim, keepdim); }
Tensor min(const Tensor& self) {
  TORCH_CHECK(self.numel() > 0,
              "min(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
              "dim with the 'dim' argument.");
  return shared_by_nans(self, amin(self));
}
std::tuple<Tensor, Tensor> min(const Tensor& self, std::int64_t dim, bool keepdim) {
  return op::min(self, wrap_dim(dim, self.dim()), keepdim);
}
Tensor argmin(const Tensor& self, std::optional<std::int64_t> dim, bool keepdim) {
  if (dim) return op::argmin(self, wrap_dim(*dim, self.dim()), keepdim);
  TORCH_CHECK_INDEX(self.numel() > 0,
                    "argmin(): Expected reduction dim to be specified for input.numel() == 0.");
  const Tensor position = op::argmin(reshape(self, {-1}), 0, false);
  return keepdim ? reshape(position, DimVector(self.sizes().size(), 1)) : position;
}

// %%
//| export core/statistics.cpp
namespace {
Tensor prod_cpu(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  return dispatch_all_types(self.scalar_type(), [&]<class T>() {
    using Acc = std::conditional_t<std::is_floating_point_v<T>, double, std::int64_t>;
    using Wrapping = std::conditional_t<std::is_floating_point_v<T>, double,
                                        std::uint64_t>;  // integers overflow modulo 2^64
    const Tensor product = fold<Acc, T>(self, mask, keepdim, Acc{1}, [](Acc a, T x) {
      return static_cast<Acc>(static_cast<Wrapping>(a) * static_cast<Wrapping>(x));
    });
    return std::is_floating_point_v<T> ? to_dtype(product, self.scalar_type()) : product;
  });
}

// The answer for uint8 is uint8, from the time when that was the type of masks.
Tensor truth_of(const Tensor& self, const Tensor& answer) { return self.scalar_type() == kByte ? to_dtype(answer, kByte) : answer; }

Tensor any_cpu(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  return truth_of(self, dispatch_all_types(self.scalar_type(), [&]<class T>() {
    return fold<bool, T>(self, mask, keepdim, false, [](bool a, T x) { return a || x != T{}; });
  }));
}
Tensor all_cpu(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  return truth_of(self, dispatch_all_types(self.scalar_type(), [&]<class T>() {
    return fold<bool, T>(self, mask, keepdim, true, [](bool a, T x) { return a && x != T{}; });
  }));
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef, bool)> op::prod("prod", {.cpu = prod_cpu});
constinit Operator<Tensor(const Tensor&, IntArrayRef, bool)> op::any("any", {.cpu = any_cpu});
constinit Operator<Tensor(const Tensor&, IntArrayRef, bool)> op::all("all", {.cpu = all_cpu});
Tensor prod(const Tensor& self) { return op::prod(self, {}, false); }
Tensor prod(const Tensor& self, std::int64_t dim, bool keepdim) { return op::prod(self, dim, keepdim); }
Tensor any(const Tensor& self) { return op::any(self, {}, false); }
Tensor any(const Tensor& self, std::int64_t dim, bool keepdim) { return op::any(self, dim, keepdim); }
Tensor all(const Tensor& self) { return op::all(self, {}, false); }
Tensor all(const Tensor& self, std::int64_t dim, bool keepdim) { return op::all(self, dim, keepdim); }

// %%
//| export core/statistics.cpp
namespace {
// How many elements each result is made of.
std::int64_t reduced_count(const Tensor& self, const std::vector<bool>& mask) {
  std::int64_t count = 1;
  for (std::size_t i = 0; i < mask.size(); ++i) count *= mask[i] ? self.sizes()[i] : 1;
  return count;
}

// In double: the sum of squared deviations from `means`, over the masked dimensions, which stay with size 1.
Tensor squared_deviations(const Tensor& self, const Tensor& means) {
  const Tensor result = zeros(means.sizes(), kDouble);
  const DimVector result_strides = broadcast_strides(result, self.sizes());
  const DimVector mean_strides = broadcast_strides(means, self.sizes());
  const StridedLoop<3> loop(self.sizes(),
                            {IntArrayRef(result_strides), IntArrayRef(mean_strides), self.strides()});
  dispatch_floating_types(self.scalar_type(), "var", [&]<class T>() {
    loop.run([out = result.data<double>(), mean = means.data<double>(), in = self.data<T>()](
                 const auto& offset, std::int64_t count, const auto& step) {
      for (std::int64_t i = 0; i < count; ++i) {
        const double deviation =
            static_cast<double>(in[offset[2] + i * step[2]]) - mean[offset[1] + i * step[1]];
        out[offset[0] + i * step[0]] += deviation * deviation;
      }
    });
  });
  return result;
}

// The variance in double. `correction` is subtracted from the count: 1 makes the estimate unbiased.
Tensor variance(const Tensor& self, IntArrayRef dim, double correction, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  const auto count = static_cast<double>(reduced_count(self, mask));
  const Tensor total = dispatch_all_types(self.scalar_type(), [&]<class T>() {
    return fold<double, T>(self, mask, true, 0.0, [](double a, T x) { return a + static_cast<double>(x); });
  });
  const Tensor result = squared_deviations(self, total / count) / std::max(0.0, count - correction);
  return keepdim ? result : view(result, reduced_sizes(self.sizes(), mask, false));
}

Tensor var_cpu(const Tensor& self, IntArrayRef dim, double correction, bool keepdim) {
  return to_dtype(variance(self, dim, correction, keepdim), self.scalar_type());
}
Tensor std_cpu(const Tensor& self, IntArrayRef dim, double correction, bool keepdim) {
  return to_dtype(sqrt(variance(self, dim, correction, keepdim)), self.scalar_type());
}
void check_var(const Tensor& self) {
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(),
                              "std and var only support floating point and complex dtypes");
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef, double, bool)> op::var("var", {.cpu = var_cpu});
constinit Operator<Tensor(const Tensor&, IntArrayRef, double, bool)> op::std("std", {.cpu = std_cpu});

Tensor var(const Tensor& self, IntArrayRef dim, bool unbiased, bool keepdim) {
  check_var(self);
  return op::var(self, dim, unbiased ? 1 : 0, keepdim);
}
Tensor var(const Tensor& self) { return var(self, IntArrayRef()); }
Tensor std(const Tensor& self, IntArrayRef dim, bool unbiased, bool keepdim) {
  check_var(self);
  return op::std(self, dim, unbiased ? 1 : 0, keepdim);
}
Tensor std(const Tensor& self) { return tinytorch::std(self, IntArrayRef()); }
Tensor var(const Tensor& self, IntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim) {
  check_var(self);
  return op::var(self, dim, correction.value_or(1).to<double>(), keepdim);
}
Tensor std(const Tensor& self, IntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim) {
  check_var(self);
  return op::std(self, dim, correction.value_or(1).to<double>(), keepdim);
}
std::tuple<Tensor, Tensor> var_mean(const Tensor& self, IntArrayRef dim, bool unbiased, bool keepdim) {
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(), "var_mean only support floating point and complex dtypes");
  return {var(self, dim, unbiased, keepdim), mean(self, dim, keepdim)};
}
std::tuple<Tensor, Tensor> var_mean(const Tensor& self) { return var_mean(self, IntArrayRef()); }

// %%
//| export core/statistics.cpp
namespace {
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// (sum |x|^p)^(1/p), in double.
Tensor p_norm(const Tensor& self, const std::vector<bool>& mask, double p, bool keepdim) {
  return dispatch_floating_types(self.scalar_type(), "norm", [&]<class T>() {
    const auto folded = [&](double init, auto f) {
      return fold<double, T>(self, mask, keepdim, init,
                             [f](double a, T x) { return f(a, std::fabs(static_cast<double>(x))); });
    };
    if (p == kInfinity) return folded(0, [](double a, double x) { return x > a || std::isnan(x) ? x : a; });
    if (p == -kInfinity)
      return folded(kInfinity, [](double a, double x) { return x < a || std::isnan(x) ? x : a; });
    if (p == 0) return folded(0, [](double a, double x) { return a + (x != 0); });
    if (p == 1) return folded(0, [](double a, double x) { return a + x; });
    if (p == 2) return sqrt(folded(0, [](double a, double x) { return a + x * x; }));
    return pow(folded(0, [p](double a, double x) { return a + std::pow(x, p); }), 1 / p);
  });
}

Tensor norm_cpu(const Tensor& self, double p, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  if (p < 0 || p == kInfinity) {
    TORCH_CHECK(self.numel() > 0 || !dim.empty(), "linalg.vector_norm cannot compute the ", p,
                " norm on an empty tensor because the operation does not have an identity");
    for (std::size_t i = 0; i < mask.size(); ++i)
      TORCH_CHECK(!mask[i] || self.sizes()[i] > 0, "linalg.vector_norm cannot compute the ", p,
                  " norm on the dimension ", i,
                  "because this dimension is empty and the operation does not have an identity");
  }
  return to_dtype(p_norm(self, mask, p, keepdim), self.scalar_type());
}
}  // namespace
constinit Operator<Tensor(const Tensor&, double, IntArrayRef, bool)> op::norm("norm", {.cpu = norm_cpu});

Tensor norm(const Tensor& self, const std::optional<Scalar>& p, IntArrayRef dim, bool keepdim) {
  TORCH_CHECK_NOT_IMPLEMENTED(
      self.is_floating_point(),
      "linalg.vector_norm: Expected a floating point or complex tensor as input. Got ", self.scalar_type());
  return op::norm(self, p.value_or(2).toDouble(), dim, keepdim);
}
Tensor norm(const Tensor& self, const Scalar& p) { return norm(self, p, IntArrayRef(), false); }

// %%
//| export core/statistics.cpp
namespace {
Tensor cumsum_cpu(const Tensor& self, std::int64_t dim) {
  const Tensor result = clone(to_dtype(self, self.is_floating_point() ? self.scalar_type() : kLong));
  const std::int64_t size = self.dim() == 0 ? 1 : self.size(dim);
  dispatch_all_types(result.scalar_type(), [&]<class T>() {
    using Acc = std::conditional_t<std::is_floating_point_v<T>, double, std::int64_t>;
    for_each_row<T>(result, dim, [&](std::int64_t, T* row, std::int64_t stride) {
      Acc total = 0;
      for (std::int64_t j = 0; j < size; ++j) {
        total += static_cast<Acc>(row[j * stride]);
        row[j * stride] = static_cast<T>(total);
      }
    });
  });
  return result;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, std::int64_t)> op::cumsum("cumsum", {.cpu = cumsum_cpu});
Tensor cumsum(const Tensor& self, std::int64_t dim) { return op::cumsum(self, wrap_dim(dim, self.dim())); }

// %%
//| export core/ordering.cpp
namespace {
// Whether a comes before b in ascending order; NaN is the largest number.
template <class T>
bool before(T a, T b) {
  if constexpr (std::is_floating_point_v<T>)
    if (std::isnan(a) || std::isnan(b)) return !std::isnan(a) && std::isnan(b);
  return a < b;
}

// Of every row along `dim`, the first k elements in order, with their indices. Equal elements keep their order.
std::tuple<Tensor, Tensor> first_in_order(const Tensor& self, std::int64_t dim, std::int64_t k,
                                          bool descending) {
  const std::int64_t size = self.dim() == 0 ? 1 : self.size(dim);
  DimVector sizes(self.sizes());
  if (!sizes.empty()) sizes[static_cast<std::size_t>(dim)] = k;
  const Tensor values = empty(sizes, self.scalar_type());
  const Tensor indices = empty(sizes, kLong);
  const std::int64_t step = self.dim() == 0 ? 1 : values.stride(dim);
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    // Walks the rows of both at once: row number r of self belongs to row number r of the result.
    std::vector<T*> rows_out;
    for_each_row<T>(values, dim, [&](std::int64_t, T* row, std::int64_t) { rows_out.push_back(row); });
    for_each_row<T>(self, dim, [&](std::int64_t r, const T* row, std::int64_t stride) {
      std::iota(order.begin(), order.end(), std::int64_t{0});
      const auto ahead = [&](std::int64_t i, std::int64_t j) {
        const T a = row[i * stride];
        const T b = row[j * stride];
        if (descending ? before(b, a) : before(a, b)) return true;
        return !(descending ? before(a, b) : before(b, a)) && i < j;
      };
      std::partial_sort(order.begin(), order.begin() + k, order.end(), ahead);
      T* const value = rows_out[static_cast<std::size_t>(r)];
      std::int64_t* const index = indices.data<std::int64_t>() + (value - values.data<T>());
      for (std::int64_t j = 0; j < k; ++j) {
        index[j * step] = order[static_cast<std::size_t>(j)];
        value[j * step] = row[order[static_cast<std::size_t>(j)] * stride];
      }
    });
  });
  return {values, indices};
}

std::tuple<Tensor, Tensor> sort_cpu(const Tensor& self, std::int64_t dim, bool descending) {
  return first_in_order(self, dim, self.dim() == 0 ? 1 : self.size(dim), descending);
}
// `sorted` = false would allow any order; this one is as good as another.
std::tuple<Tensor, Tensor> topk_cpu(const Tensor& self, std::int64_t k, std::int64_t dim, bool largest,
                                    bool) {
  return first_in_order(self, dim, self.dim() == 0 ? 1 : k, largest);
}
}  // namespace
constinit Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> op::sort("sort",
                                                                                           {.cpu = sort_cpu});
constinit Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, std::int64_t, bool, bool)>
    op::topk("topk", {.cpu = topk_cpu});

std::tuple<Tensor, Tensor> sort(const Tensor& self, std::int64_t dim, bool descending) {
  return op::sort(self, wrap_dim(dim, self.dim()), descending);
}
std::tuple<Tensor, Tensor> sort(const Tensor& self, std::optional<bool>, std::int64_t dim, bool descending) {
  return sort(self, dim, descending);
}
Tensor argsort(const Tensor& self, std::int64_t dim, bool descending) {
  return std::get<1>(sort(self, dim, descending));
}
std::tuple<Tensor, Tensor> topk(const Tensor& self, std::int64_t k, std::int64_t dim, bool largest,
                                bool sorted) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  TORCH_CHECK(k >= 0 && k <= (self.dim() > 0 ? self.size(d) : 1), "selected index k out of range");
  return op::topk(self, k, d, largest, sorted);
}

// %%
TEST_CASE("min, amin and argmin: NaN wins, the first of equals") {
  const double nan = NAN;
  const Tensor x = tensor({{3.0, -1.0, 2.0}, {-1.0, 5.0, -1.0}});
  CHECK_EQ(min(x), tensor(-1.0));
  CHECK_EQ(max(x), tensor(5.0));
  CHECK_EQ(x.amin({0}), tensor({-1.0, -1.0, -1.0}));
  CHECK_EQ(x.amin({0, 1}, true), tensor({{-1.0}}));
  CHECK_EQ(std::get<0>(x.min(1)), tensor({-1.0, -1.0}));
  CHECK_EQ(std::get<1>(x.min(1)), tensor({1, 0}));
  CHECK_EQ(std::get<1>(x.t().min(0, true)), tensor({{1, 0}}));
  CHECK_EQ(x.argmin(), tensor(1));
  CHECK_EQ(x.argmin(0), tensor({1, 0, 1}));
  CHECK_EQ(x.argmin(std::nullopt, true), tensor({{1}}));
  CHECK_EQ(min(tensor({1.0, nan, 0.0})), tensor(nan));
  CHECK_EQ(tensor({1.0, nan, nan}).argmin(), tensor(1));
  CHECK_EQ(std::get<0>(tensor(4).min(0)), tensor(4));
  CHECK_EQ(tensor({3, 2}, kByte).min(), tensor(2, kByte));
  CHECK_EQ(zeros({2, 0}).amin({0}), zeros({0}, kFloat));
  CHECK_ERROR(zeros({0}).min(),
              "min(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
              "dim with the 'dim' argument.");
  CHECK_ERROR(max(zeros({0})),
              "max(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
              "dim with the 'dim' argument.");
  CHECK_ERROR(zeros({0, 2}).min(0), "min(): Expected reduction dim 0 to have non-zero size.");
  CHECK_ERROR(zeros({0, 2}).amin({0}), "amin(): Expected reduction dim 0 to have non-zero size.");
  CHECK_ERROR(zeros({0, 2}).amin(),
              "amin(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction "
              "dim with the 'dim' argument.");
  CHECK_ERROR(zeros({0}).argmin(),
              "argmin(): Expected reduction dim to be specified for input.numel() == 0.");
  CHECK_ERROR(zeros({0, 2}).argmin(0), "argmin(): Expected reduction dim 0 to have non-zero size.");
  CHECK_ERROR(x.min(5), "Dimension out of range (expected to be in range of [-2, 1], but got 5)");
}

// %%
TEST_CASE("prod, any and all") {
  const Tensor x = tensor({{1.5, -2.0}, {0.0, 4.0}});
  CHECK_CLOSE(x.prod(), tensor(-0.0));
  CHECK_CLOSE(x.prod(0), tensor({0.0, -8.0}));
  CHECK_CLOSE(x.t().prod(0, true), tensor({{-3.0, 0.0}}));
  CHECK_EQ(tensor({2, 3}, kInt).prod(), tensor(6));
  CHECK_EQ(full({70}, -2, kLong).prod(), tensor(0));
  CHECK_EQ(tensor({true, true}).prod(), tensor(1));
  CHECK_CLOSE(zeros({0, 2}).prod(0), tensor({1.0, 1.0}));
  CHECK_EQ(x.any(), tensor(true));
  CHECK_EQ(x.all(), tensor(false));
  CHECK_EQ(x.all(1), tensor({true, false}));
  CHECK_EQ(x.any(0, true), tensor({{true, true}}));
  CHECK_EQ(tensor(NAN).any(), tensor(true));
  CHECK_EQ(zeros({0}).all(), tensor(true));
  CHECK_EQ(zeros({0, 2}).any(0), tensor({false, false}));
  CHECK_ERROR(x.any(2), "Dimension out of range (expected to be in range of [-2, 1], but got 2)");
}

// %%
TEST_CASE("var, std and norm") {
  const Tensor x = tensor({{1.0, 2.5, -3.0}, {0.5, 8.0, -1.0}});
  CHECK_CLOSE(x.var(), tensor(14.166667));
  CHECK_CLOSE(x.var(false), tensor(11.8055553));
  CHECK_CLOSE(x.var({1}), tensor({8.08333302, 23.25}));
  CHECK_CLOSE(x.var({0}, false, true), tensor({{0.0625, 7.5625, 1.0}}));
  CHECK_CLOSE(x.std(), tensor(3.76386333));
  CHECK_CLOSE(x.t().std({0, 1}), tensor(3.76386333));
  CHECK_CLOSE(x.std({-1}, false), tensor({2.32139802, 3.93700385}));
  CHECK_CLOSE((x.to(kDouble) + 1e8).var(), tensor(14.166666666666668, kDouble));
  CHECK_CLOSE(tensor(5.0).var(), tensor(NAN));
  CHECK_CLOSE(tensor({5.0}).std(), tensor(NAN));
  CHECK_CLOSE(zeros({0}).var(false), tensor(NAN));
  CHECK_CLOSE(std::get<1>(var_mean(x, 0)), tensor({0.75, 5.25, -2.0}));
  CHECK_EQ(std::get<0>(var_mean(x)), var(x));
  CHECK_EQ(tinytorch::std(x, 1, Scalar(0)), tinytorch::std(x, 1, false));
  CHECK_CLOSE(var(x, IntArrayRef{0}, Scalar(-2)) * 4, var(x, 0, false) * 2);
  CHECK_CLOSE(x.norm(), tensor(9.02773476));
  CHECK_CLOSE(x.norm(1), tensor(16.0));
  CHECK_CLOSE(x.norm(3), tensor(8.22659492));
  CHECK_CLOSE(x.norm(INFINITY), tensor(8.0));
  CHECK_CLOSE(x.norm(-INFINITY), tensor(0.5));
  CHECK_CLOSE(x.norm(0), tensor(6.0));
  CHECK_CLOSE(x.norm(2, {1}), tensor({4.03112888, 8.07774734}));
  CHECK_CLOSE(x.t().norm(1, {0}, true), tensor({{6.5, 9.5}}));
  CHECK_CLOSE(x.norm(std::nullopt, {0, 1}), tensor(9.02773476));
  CHECK_CLOSE(zeros({0}).norm(), tensor(0.0));
  CHECK_CLOSE(full({4}, 1e30).norm(), tensor(2.00000003e+30));
  CHECK_ERROR(tensor({1, 2}).var(), "std and var only support floating point and complex dtypes");
  CHECK_ERROR(tensor({1, 2}).norm(),
              "linalg.vector_norm: Expected a floating point or complex tensor as input. Got Long");
  CHECK_ERROR(zeros({0}).norm(-1), "linalg.vector_norm cannot compute the -1 norm on an empty tensor because the operation does not have an identity");
  CHECK_ERROR(zeros({0}).norm(INFINITY),
              "linalg.vector_norm cannot compute the inf norm on an empty tensor because the operation does "
              "not have an identity");
  CHECK_ERROR(x.var({0, 0}), "dim 0 appears multiple times in the list of dims");
}

// %%
TEST_CASE("cumsum, sort, argsort and topk") {
  const double nan = NAN;
  const Tensor x = tensor({{3.0, 1.0, nan, 2.0}, {1.0, 4.0, 1.0, -5.0}});
  CHECK_CLOSE(x.cumsum(1), tensor({{3.0, 4.0, nan, nan}, {1.0, 5.0, 6.0, 1.0}}));
  CHECK_CLOSE(x.t().cumsum(0), tensor({{3.0, 1.0}, {4.0, 5.0}, {nan, 6.0}, {nan, 1.0}}));
  CHECK_CLOSE(x.cumsum(0), tensor({{3.0, 1.0, nan, 2.0}, {4.0, 5.0, nan, -3.0}}));
  CHECK_EQ(tensor({true, true}).cumsum(0), tensor({1, 2}));
  CHECK_EQ(tensor({1, 2}, kInt).cumsum(0), tensor({1, 3}));
  CHECK_CLOSE(tensor(3.0).cumsum(0), tensor(3.0));
  CHECK_CLOSE(zeros({0}).cumsum(0), zeros({0}, kFloat));
  CHECK_EQ(std::get<0>(x.sort()), tensor({{1.0, 2.0, 3.0, nan}, {-5.0, 1.0, 1.0, 4.0}}));
  CHECK_EQ(std::get<1>(x.sort()), tensor({{1, 3, 0, 2}, {3, 0, 2, 1}}));
  CHECK_EQ(std::get<1>(x.sort(-1, true)), tensor({{2, 0, 3, 1}, {1, 0, 2, 3}}));
  CHECK_EQ(std::get<0>(x.sort(0)), tensor({{1.0, 1.0, 1.0, -5.0}, {3.0, 4.0, nan, 2.0}}));
  CHECK_EQ(x.t().argsort(0), tensor({{1, 3}, {3, 0}, {0, 2}, {2, 1}}));
  CHECK_EQ(std::get<0>(tensor(2).sort()), tensor(2));
  CHECK_EQ(std::get<0>(x.topk(2)), tensor({{nan, 3.0}, {4.0, 1.0}}));
  CHECK_EQ(std::get<1>(x.topk(1, 0)), tensor({{0, 1, 0, 0}}));
  CHECK_EQ(std::get<0>(x.topk(2, 1, false)), tensor({{1.0, 2.0}, {-5.0, 1.0}}));
  CHECK_EQ(std::get<1>(tensor(2).topk(1)), tensor(0));
  CHECK_EQ(std::get<0>(x.topk(0)), zeros({2, 0}, kFloat));
  CHECK_ERROR(x.topk(5), "selected index k out of range");
  CHECK_ERROR(x.topk(-1), "selected index k out of range");
  CHECK_ERROR(x.cumsum(4), "Dimension out of range (expected to be in range of [-2, 1], but got 4)");
  CHECK_ERROR(tensor(2).sort(1), "Dimension out of range (expected to be in range of [-1, 0], but got 1)");
}

// %%
TEST_CASE("mean, max, amax and argmax: empty, NaN and the first of equals") {
  const Tensor x = arange(6).view({2, 3});
  CHECK_EQ(x.to(kFloat).mean({0}), tensor({1.5, 2.5, 3.5}));
  CHECK_ERROR(x.mean(), "mean(): could not infer output dtype.");
  const auto [values, indices] = tensor({{1, 5, 5}, {9, 9, 2}}).max(1);
  CHECK_EQ(values, tensor({5, 9}));
  CHECK_EQ(indices, tensor({1, 0}));
  const Tensor with_nan = tensor({1.0, std::nan(""), 3.0});
  CHECK_EQ(with_nan.argmax(), tensor(1));
  CHECK(std::isnan(with_nan.amax().item<double>()));
  CHECK_ERROR(zeros({0}).max(), "max(): Expected reduction dim to be specified for input.numel() == 0.");
}

// %% [markdown]
// ## Matrices
//
// A product of batches is a loop over products of matrices (module 01's kernel); `matmul` folds everything else into one of the two.
//
//     (2, 1, M, K) x (4, K, N)    batches broadcast to (2, 4), seen as (8, M, K) x (8, K, N)   one bmm
//     (2, 4, M, K) x (K, N)       a shared matrix: rows folded, (8 M, K) x (K, N)              one mm
//
// Source: aten/src/ATen/native/{TriangularOps,LinearAlgebra,Linear}.cpp.

// %%
//| export core/matrix_ops.h
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

// %%
//| export core/matrix_ops.h
namespace op {
extern Operator<Tensor(const Tensor&, const Tensor&)> bmm;
extern Operator<Tensor(const Tensor&, const Tensor&, const Tensor&, const Scalar&, const Scalar&)> addmm;
extern Operator<Tensor(const Tensor&, std::int64_t)> tril;
extern Operator<Tensor(const Tensor&, std::int64_t)> triu;
}  // namespace op

// %%
//| export core/products.cpp
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

// %%
//| export core/products.cpp
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

// %%
//| export core/triangles.cpp
namespace {
// A copy of self in which the elements of the last two dimensions stay where keep(row, column).
template <class F>
Tensor triangle(const Tensor& self, F keep) {
  const Tensor result = clone(self, MemoryFormat::Contiguous);
  const std::int64_t rows = self.size(-2);
  const std::int64_t columns = self.size(-1);
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    T* out = result.data<T>();
    for (std::int64_t i = 0; i < self.numel(); ++i, ++out)
      if (!keep(i / columns % rows, i % columns)) *out = T{};
  });
  return result;
}
Tensor tril_cpu(const Tensor& self, std::int64_t diagonal) {
  return triangle(self, [=](std::int64_t row, std::int64_t column) { return column - row <= diagonal; });
}
Tensor triu_cpu(const Tensor& self, std::int64_t diagonal) {
  return triangle(self, [=](std::int64_t row, std::int64_t column) { return column - row >= diagonal; });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, std::int64_t)> op::tril("tril", {.cpu = tril_cpu});
constinit Operator<Tensor(const Tensor&, std::int64_t)> op::triu("triu", {.cpu = triu_cpu});

Tensor tril(const Tensor& self, std::int64_t diagonal) {
  TORCH_CHECK(self.dim() >= 2, "tril: input tensor must have at least 2 dimensions");
  return op::tril(self, diagonal);
}
Tensor triu(const Tensor& self, std::int64_t diagonal) {
  TORCH_CHECK(self.dim() >= 2, "triu: input tensor must have at least 2 dimensions");
  return op::triu(self, diagonal);
}

// %%
//| export core/triangles.cpp
// One step along the diagonal is one along each of the two dimensions: their strides add up. The diagonal becomes the last dimension.
Tensor diagonal(const Tensor& self, std::int64_t offset, std::int64_t dim1, std::int64_t dim2) {
  const std::int64_t row = wrap_dim(dim1, self.dim());
  const std::int64_t column = wrap_dim(dim2, self.dim());
  TORCH_CHECK(row != column, "diagonal dimensions cannot be identical ", dim1, ", ", dim2);
  const std::int64_t rows = self.size(row) + std::min<std::int64_t>(offset, 0);
  const std::int64_t columns = self.size(column) - std::max<std::int64_t>(offset, 0);
  const std::int64_t length = std::max<std::int64_t>(0, std::min(rows, columns));
  DimVector sizes;
  DimVector strides;
  for (std::int64_t d = 0; d < self.dim(); ++d) {
    if (d == row || d == column) continue;
    sizes.push_back(self.size(d));
    strides.push_back(self.stride(d));
  }
  sizes.push_back(length);
  strides.push_back(self.stride(row) + self.stride(column));
  const std::int64_t first = offset >= 0 ? offset * self.stride(column) : -offset * self.stride(row);
  return as_strided(self, sizes, strides, self.storage_offset() + (length > 0 ? first : 0));
}

// %%
//| export core/products.cpp
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

// %%
//| export core/products.cpp
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

// %%
//| export core/einsum.cpp
namespace {
// A tensor whose dimensions have names, one letter each.
struct Labelled {
  Tensor tensor;
  std::string labels;
};

bool has(std::string_view labels, char label) { return labels.find(label) != std::string_view::npos; }

// The equation taken apart: the letters of each operand and of the result.
struct Equation {
  std::vector<std::string> operands;
  std::string result;
};

// Within labels, one '.' stands for a whole ellipsis until the operands' dimensions are known.
void check_ellipsis(std::string_view equation, std::size_t at, const std::string& labels, const std::string& place, const char* found) {
  TORCH_CHECK(!has(labels, '.'), "einsum(): found '.' for ", place, found);
  TORCH_CHECK(equation.substr(at, 3) == "...", "einsum(): found '.' for ", place, " that is not part of any ellipsis", place == "output" ? " (...)" : "");
}

Equation parse_equation(std::string_view equation) {
  Equation parsed;
  parsed.operands.emplace_back();
  const std::size_t arrow = equation.find("->");
  for (std::size_t i = 0; i < equation.size(); ++i) {
    const char c = equation[i];
    if (i == arrow) ++i;
    else if (c == ',' && i < arrow) parsed.operands.emplace_back();
    else if (c == '.') {
      if (i < arrow) check_ellipsis(equation, i, parsed.operands.back(), str("operand ", parsed.operands.size() - 1), " for which an ellipsis was already found");
      else check_ellipsis(equation, i, parsed.result, "output", " but an ellipsis (...) was already found");
      (i < arrow ? parsed.operands.back() : parsed.result) += c;
      i += 2;
    } else if (c != ' ') {
      TORCH_CHECK(std::isalpha(static_cast<unsigned char>(c)), "einsum(): invalid subscript given at index ",
                  i, " in the equation string, subscripts must be in [a-zA-Z]");
      (i < arrow ? parsed.operands.back() : parsed.result) += c;
    }
  }
  if (arrow != std::string_view::npos) return parsed;
  std::string all;
  for (const std::string& labels : parsed.operands) all += labels;
  std::sort(all.begin(), all.end());
  if (has(all, '.')) parsed.result += '.';
  for (const char label : all)
    if (label != '.' && std::count(all.begin(), all.end(), label) == 1) parsed.result += label;
  return parsed;
}

// Gives the dimensions behind each '.' labels of their own, characters that no equation can hold: the last dimension of every ellipsis has the same one.
void name_ellipses(Equation& equation, TensorList tensors) {
  std::size_t longest = 0;
  std::vector<std::size_t> covered;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::string& labels = equation.operands[i];
    covered.push_back(0);
    if (!has(labels, '.')) continue;
    const auto dims = static_cast<std::size_t>(tensors[i].dim());
    TORCH_CHECK(labels.size() - 1 <= dims, "einsum(): the number of subscripts in the equation (", labels.size() - 1,
                ") is more than the number of dimensions (", dims, ") for operand ", i);
    covered.back() = dims - (labels.size() - 1);
    longest = std::max(longest, covered.back());
  }
  TORCH_CHECK(longest <= 64, "einsum(): an ellipsis may stand for at most 64 dimensions");
  std::string names;
  for (std::size_t d = 0; d < longest; ++d) names += static_cast<char>(128 + d);
  const auto put = [&names](std::string& labels, std::size_t count) {
    const std::size_t at = labels.find('.');
    if (at != std::string::npos) labels.replace(at, 1, names.substr(names.size() - count));
  };
  for (std::size_t i = 0; i < tensors.size(); ++i) put(equation.operands[i], covered[i]);
  put(equation.result, longest);
}
}  // namespace

// %%
//| export core/einsum.cpp
namespace {
// The operand with each letter once: a letter that stands twice takes the diagonal of its dimensions.
Labelled label_operand(const Tensor& tensor, const std::string& labels, std::size_t number) {
  TORCH_CHECK(static_cast<std::int64_t>(labels.size()) == tensor.dim(),
              "einsum(): the number of subscripts in the equation (", labels.size(),
              ") does not match the number of dimensions (", tensor.dim(), ") for operand ", number,
              " and no ellipsis was given");
  Labelled operand{tensor, labels};
  for (std::size_t i = 0; i < operand.labels.size(); ++i) {
    const std::size_t again = operand.labels.find(operand.labels[i], i + 1);
    if (again == std::string::npos) continue;
    const auto first = static_cast<std::int64_t>(i);
    const auto second = static_cast<std::int64_t>(again);
    TORCH_CHECK(operand.tensor.size(first) == operand.tensor.size(second), "einsum(): subscript ",
                operand.labels[i], " is repeated for operand ", number, " but the sizes don't match, ",
                operand.tensor.size(second), " != ", operand.tensor.size(first));
    operand.tensor = diagonal(operand.tensor, 0, first, second);
    operand.labels += operand.labels[i];
    operand.labels.erase(again, 1);
    operand.labels.erase(i, 1);
    --i;
  }
  return operand;
}

// The operand without `label`, whose size there is 1.
Labelled without(const Labelled& operand, char label) {
  const std::size_t at = operand.labels.find(label);
  std::string labels = operand.labels;
  labels.erase(at, 1);
  return {select(operand.tensor, static_cast<std::int64_t>(at), 0), labels};
}

// Sums over the letters that are not in `kept`.
Labelled sum_others(const Labelled& operand, std::string_view kept) {
  std::vector<std::int64_t> dims;
  std::string labels;
  for (std::size_t i = 0; i < operand.labels.size(); ++i) {
    if (has(kept, operand.labels[i])) labels += operand.labels[i];
    else dims.push_back(static_cast<std::int64_t>(i));
  }
  return {dims.empty() ? operand.tensor : sum(operand.tensor, dims), labels};
}

// The operand's dimensions in the order of `labels`, all of which it has.
Tensor in_order(const Labelled& operand, const std::string& labels) {
  DimVector dims;
  for (const char label : labels) dims.push_back(static_cast<std::int64_t>(operand.labels.find(label)));
  return permute(operand.tensor, dims);
}

// The sizes of some of the operand's letters, and their product.
DimVector sizes_of(const Labelled& operand, const std::string& labels) {
  DimVector sizes;
  for (const char label : labels)
    sizes.push_back(operand.tensor.size(static_cast<std::int64_t>(operand.labels.find(label))));
  return sizes;
}
}  // namespace

// %%
//| export core/einsum.cpp
namespace {
// Multiplies two operands and sums over the letters that both have and nobody needs later: (batch, left, summed) x (batch, summed, right) -> (batch, left, right).
Labelled contract(const Labelled& a, const Labelled& b, std::string_view kept) {
  std::string batch;
  std::string left;
  std::string summed;
  std::string right;
  for (const char label : a.labels)
    (!has(b.labels, label) ? left : has(kept, label) ? batch : summed) += label;
  for (const char label : b.labels)
    if (!has(a.labels, label)) right += label;
  const std::int64_t B = multiply_sizes(sizes_of(a, batch));
  const std::int64_t M = multiply_sizes(sizes_of(a, left));
  const std::int64_t K = multiply_sizes(sizes_of(a, summed));
  const std::int64_t N = multiply_sizes(sizes_of(b, right));
  const Tensor product = bmm(reshape(in_order(a, batch + left + summed), {B, M, K}),
                             reshape(in_order(b, batch + summed + right), {B, K, N}));
  DimVector sizes = sizes_of(a, batch + left);
  for (const std::int64_t size : sizes_of(b, right)) sizes.push_back(size);
  return {reshape(product, sizes), batch + left + right};
}

void check_operands(const Equation& equation, TensorList tensors) {
  TORCH_CHECK(!tensors.empty(), "einsum(): must provide at least one operand");
  TORCH_CHECK(tensors.size() >= equation.operands.size(),
              "einsum(): fewer operands were provided than specified in the equation");
  TORCH_CHECK(tensors.size() <= equation.operands.size(),
              "einsum(): more operands were provided than specified in the equation");
  for (const char label : equation.result) {
    if (label == '.') continue;  // without one in an operand it stands for no dimension
    const bool known = std::any_of(equation.operands.begin(), equation.operands.end(),
                                   [label](const std::string& labels) { return has(labels, label); });
    TORCH_CHECK(known, "einsum(): output subscript ", label,
                " does not appear in the equation for any input operand");
    TORCH_CHECK(std::count(equation.result.begin(), equation.result.end(), label) == 1,
                "einsum(): output subscript ", label, " appears more than once in the output");
  }
}
}  // namespace

Tensor einsum(std::string_view equation, TensorList tensors) {
  Equation parsed = parse_equation(equation);
  check_operands(parsed, tensors);
  name_ellipses(parsed, tensors);
  std::vector<Labelled> operands;
  for (std::size_t i = 0; i < tensors.size(); ++i)
    operands.push_back(label_operand(tensors[i], parsed.operands[i], i));
  Labelled total;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    std::string later = parsed.result;
    for (std::size_t j = i + 1; j < operands.size(); ++j) later += operands[j].labels;
    if (i == 0) {
      total = sum_others(operands[0], later);
      continue;
    }
    for (const char label : std::string(total.labels)) {
      if (!has(operands[i].labels, label)) continue;
      const std::int64_t seen = sizes_of(total, {label})[0];
      const std::int64_t size = sizes_of(operands[i], {label})[0];
      TORCH_CHECK(seen == size || seen == 1 || size == 1, "einsum(): ", std::isalpha(static_cast<unsigned char>(label)) ? str("subscript ", label) : std::string("a dimension covered by the ellipsis"),
                  " has size ", size, " for operand ", i, " which does not broadcast with previously seen size ", seen);
      // A size of 1 broadcasts: the other operand alone has this letter then.
      if (seen < size) total = without(total, label);
      else if (size < seen) operands[i] = without(operands[i], label);
    }
    const Labelled next = sum_others(operands[i], later + total.labels);
    total = contract(sum_others(total, later + next.labels), next, later);
  }
  return in_order(total, parsed.result);
}

// %%
TEST_CASE("bmm and matmul: vectors, matrices, batches that broadcast") {
  const Tensor a = arange(6).view({2, 3});
  CHECK_EQ(matmul(a, tensor({1, 0, 2})), tensor({4, 13}));
  CHECK_EQ(matmul(tensor({1, 2, 3}), tensor({4, 5, 6})), tensor(32));
  CHECK_EQ(bmm(ones({2, 1, 3}), ones({2, 3, 1})), full({2, 1, 1}, 3.0));
  CHECK_EQ(matmul(ones({2, 1, 2, 3}), ones({4, 3, 5})).sizes(), IntArrayRef({2, 4, 2, 5}));
  CHECK_EQ(matmul(arange(12).view({2, 2, 3}), tensor({1, 1, 1})), tensor({{3, 12}, {21, 30}}));
  CHECK_ERROR(matmul(a, tensor({1, 2})), "size mismatch, got input (2), mat (2x3), vec (2)");
}

// %%
TEST_CASE("tril, triu and diagonal") {
  const Tensor x = arange(12).view({3, 4});
  CHECK_EQ(x.tril(), tensor({{0, 0, 0, 0}, {4, 5, 0, 0}, {8, 9, 10, 0}}));
  CHECK_EQ(x.triu(1), tensor({{0, 1, 2, 3}, {0, 0, 6, 7}, {0, 0, 0, 11}}));
  CHECK_EQ(x.t().tril(-1), tensor({{0, 0, 0}, {1, 0, 0}, {2, 6, 0}, {3, 7, 11}}));
  CHECK_EQ(x.view({1, 3, 4}).triu(-1), tensor({{{0, 1, 2, 3}, {4, 5, 6, 7}, {0, 9, 10, 11}}}));
  CHECK_EQ(x.diagonal(), tensor({0, 5, 10}));
  CHECK_EQ(x.diagonal(1), tensor({1, 6, 11}));
  CHECK_EQ(x.diagonal(-2), tensor({8}));
  CHECK_EQ(x.diagonal(9), zeros({0}, kLong));
  CHECK_EQ(x.view({2, 3, 2}).diagonal(0, 0, 2), tensor({{0, 7}, {2, 9}, {4, 11}}));
  CHECK_ERROR(zeros({3}).tril(), "tril: input tensor must have at least 2 dimensions");
  CHECK_ERROR(x.diagonal(0, 0, 0), "diagonal dimensions cannot be identical 0, 0");
}

// %%
TEST_CASE("addmm, mv, dot and outer") {
  const Tensor a = tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}});
  const Tensor v = tensor({1.0, -1.0, 0.5});
  CHECK_CLOSE(addmm(tensor({10.0, 20.0}), a, a.t()), tensor({{24.0, 52.0}, {42.0, 97.0}}));
  CHECK_CLOSE(addmm(ones({3, 3}), a.t(), a, 0.5, 2),
              tensor({{34.5, 44.5, 54.5}, {44.5, 58.5, 72.5}, {54.5, 72.5, 90.5}}));
  CHECK_CLOSE(addmm(full({2, 2}, NAN), a, a.t(), 0), tensor({{14.0, 32.0}, {32.0, 77.0}}));
  CHECK_CLOSE(addmm(zeros({2}), zeros({3, 0}), zeros({0, 2})), tensor({{0.0, 0.0}, {0.0, 0.0}, {0.0, 0.0}}));
  CHECK_CLOSE(a.mv(v), tensor({0.5, 2.0}));
  CHECK_CLOSE(dot(v, v), tensor(2.25));
  CHECK_CLOSE(outer(v, tensor({2.0, 3.0})), tensor({{2.0, 3.0}, {-2.0, -3.0}, {1.0, 1.5}}));
  CHECK_CLOSE(dot(zeros({0}), zeros({0})), tensor(0.0));
  CHECK_ERROR(addmm(v, a, a), "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)");
  CHECK_ERROR(addmm(v, v, a), "mat1 must be a matrix, got 1-D tensor");
  CHECK_ERROR(addmm(zeros({4}), a, a.t()),
              "The expanded size of the tensor (2) must match the existing size (4) at non-singleton "
              "dimension 1.  Target sizes: [2, 2].  Tensor sizes: [4]");
  CHECK_ERROR(addmm(zeros({2}, kDouble), a, a.t()),
              "self and mat2 must have the same dtype, but got Double and Float");
  CHECK_ERROR(a.mv(zeros({2})), "size mismatch, got input (2), mat (2x3), vec (2)");
  CHECK_ERROR(dot(a, a), "1D tensors expected, but got 2D and 2D tensors");
  CHECK_ERROR(dot(v, zeros({2})),
              "inconsistent tensor size, expected tensor [3] and src [2] to have the same number of "
              "elements, but got 3 and 2 elements respectively");
  CHECK_ERROR(outer(a, v), "outer: Expected 1-D argument self, but got 2-D");
}

// %%
TEST_CASE("einsum: products, traces, transposes, batches") {
  const Tensor a = tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}});
  const Tensor c = arange(12, kFloat).view({2, 3, 2});
  CHECK_CLOSE(einsum("ij,kj->ik", {a, a}), tensor({{14.0, 32.0}, {32.0, 77.0}}));
  CHECK_CLOSE(einsum("ij->ji", {a}), tensor({{1.0, 4.0}, {2.0, 5.0}, {3.0, 6.0}}));
  CHECK_CLOSE(einsum("ij->", {a}), tensor(21.0));
  CHECK_CLOSE(einsum("ba", {a}), tensor({{1.0, 4.0}, {2.0, 5.0}, {3.0, 6.0}}));
  CHECK_CLOSE(einsum("ij,ij->j", {a, a}), tensor({17.0, 29.0, 45.0}));
  CHECK_CLOSE(einsum("bij, bj -> bi", {c.transpose(1, 2), a}), tensor({{16.0, 22.0}, {124.0, 139.0}}));
  CHECK_CLOSE(einsum("bij,jk,bk->ki", {c, a.t().matmul(a).narrow(0, 0, 2), a}),
              tensor({{1046.0, 1436.0, 1826.0}, {1733.0, 2447.0, 3161.0}, {2592.0, 3726.0, 4860.0}}));
  CHECK_CLOSE(einsum("i,j->ij", {tensor({1.0, 2.0}), tensor({3.0, 4.0})}), tensor({{3.0, 4.0}, {6.0, 8.0}}));
  CHECK_CLOSE(einsum("ii->i", {a.slice(1, 0, 2)}), tensor({1.0, 5.0}));
  CHECK_CLOSE(einsum("ii", {a.slice(1, 0, 2)}), tensor(6.0));
  CHECK_CLOSE(einsum("iji->j", {c}), tensor({7.0, 11.0, 15.0}));
  const Tensor d = arange(24, kFloat).view({2, 3, 4});
  CHECK_CLOSE(einsum("...ij,...jk->...ik", {d, ones({4, 2})}).select(2, 0), tensor({{6.0, 22.0, 38.0}, {54.0, 70.0, 86.0}}));
  CHECK_CLOSE(einsum("...i->...", {d}), tensor({{6.0, 22.0, 38.0}, {54.0, 70.0, 86.0}}));
  CHECK_CLOSE(einsum("i...->i", {d}), tensor({66.0, 210.0}));  // what the result leaves out is summed
  CHECK_EQ(einsum("i...", {d}).sizes(), IntArrayRef({3, 4, 2}));
  CHECK_EQ(einsum("i...j->ji", {d}).sizes(), IntArrayRef({4, 2}));
  CHECK_CLOSE(einsum("b...,...->b...", {arange(6, kFloat).view({2, 3}), tensor({1.0, 2.0, 3.0})}), tensor({{0.0, 2.0, 6.0}, {3.0, 8.0, 15.0}}));
  CHECK_EQ(einsum("i...,j...->ij...", {ones({2, 1, 4}), ones({3, 5, 1})}).sizes(), IntArrayRef({2, 3, 5, 4}));
  CHECK_CLOSE(einsum("ij,jk->ik", {arange(6, kFloat).view({2, 3}), ones({1, 2})}), tensor({{3.0, 3.0}, {12.0, 12.0}}));
  CHECK_EQ(einsum("ij->ij...", {a}), a);
  CHECK_ERROR(einsum("i..", {a}), "einsum(): found '.' for operand 0 that is not part of any ellipsis");
  CHECK_ERROR(einsum("...i...", {a}), "einsum(): found '.' for operand 0 for which an ellipsis was already found");
  CHECK_ERROR(einsum("...->..", {a}), "einsum(): found '.' for output that is not part of any ellipsis (...)");
  CHECK_ERROR(einsum("...->......", {a}), "einsum(): found '.' for output but an ellipsis (...) was already found");
  CHECK_ERROR(einsum("ijk...", {a}), "einsum(): the number of subscripts in the equation (3) is more than the number of dimensions (2) for operand 0");
  CHECK_ERROR(einsum("...,...", {d, a}), "einsum(): a dimension covered by the ellipsis has size");
  CHECK_ERROR(
      einsum("ij,jk->ik", {a, a}),
      "einsum(): subscript j has size 2 for operand 1 which does not broadcast with previously seen size 3");
  CHECK_ERROR(einsum("ij,jk", {a}), "einsum(): fewer operands were provided than specified in the equation");
  CHECK_ERROR(einsum("ijk", {a}),
              "einsum(): the number of subscripts in the equation (3) does not match the number of "
              "dimensions (2) for operand 0 and no ellipsis was given");
  CHECK_ERROR(einsum("ij->iz", {a}),
              "einsum(): output subscript z does not appear in the equation for any input operand");
  CHECK_ERROR(einsum("ii->i", {a}),
              "einsum(): subscript i is repeated for operand 0 but the sizes don't match, 3 != 2");
  CHECK_ERROR(
      einsum("i1", {a}),
      "einsum(): invalid subscript given at index 1 in the equation string, subscripts must be in [a-zA-Z]");
}

// %%
}  // namespace tinytorch
