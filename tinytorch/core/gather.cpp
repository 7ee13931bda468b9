// From the lesson modules/91_selection/selection_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/index_loops.h"
#include "tinytorch/core/indexing.h"

namespace tinytorch {

void add_positions(const Tensor& positions, const Tensor& index, std::int64_t dim, std::int64_t size, std::int64_t stride) {
  zip_into<std::int64_t, std::int64_t, std::int64_t>(
      positions, positions, index, [=](std::int64_t position, std::int64_t i) {
        TORCH_CHECK_INDEX(i >= 0 && i < size, "index ", i, " is out of bounds for dimension ", dim,
                          " with size ", size);
        return position + i * stride;
      });
}

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

}  // namespace tinytorch
