// From the lesson modules/91_selection/selection_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/indexing.h"

#include <algorithm>
#include <sstream>

#include "tinytorch/core/index_loops.h"

namespace tinytorch {

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

indexing::TensorIndex::TensorIndex(const char* text) : kind_(TensorIndexType::Ellipsis) {
  TORCH_CHECK_VALUE(std::string_view(text) == "...",
                    "Expected \"...\" to represent an ellipsis index, but got \"", text, "\"");
}

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

}  // namespace tinytorch
