// From the lesson modules/74_tensor_breadth/tensor_breadth_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <initializer_list>
#include <numeric>

#include "tinytorch/core/breadth.h"
#include "tinytorch/core/gradient.h"
#include "tinytorch/core/more_ops.h"

namespace tinytorch {

Tensor movedim(const Tensor& self, IntArrayRef source, IntArrayRef destination) {
  TORCH_CHECK(source.size() == destination.size(), "movedim: Invalid source or destination dims: source (", source, " dims) should contain the same number of dims as destination (",
              destination, " dims)");
  const auto dims = static_cast<std::size_t>(std::max<std::int64_t>(self.dim(), 1));  // a 0-d tensor takes 0 and -1
  std::vector<std::int64_t> order(dims, -1);
  std::vector<bool> moved(dims, false);
  for (std::size_t i = 0; i < source.size(); ++i) {
    const std::int64_t from = wrap_dim(source[i], self.dim());
    const auto to = static_cast<std::size_t>(wrap_dim(destination[i], self.dim()));
    TORCH_CHECK(!moved[static_cast<std::size_t>(from)], "movedim: repeated dim in `source` (", source, ")");
    TORCH_CHECK(order[to] == -1, "movedim: repeated dim in `destination` (", destination, ")");
    order[to] = from;
    moved[static_cast<std::size_t>(from)] = true;
  }
  if (self.dim() == 0) return self;
  std::size_t next = 0;
  for (std::int64_t& dim : order) {
    if (dim >= 0) continue;
    while (moved[next]) ++next;
    dim = static_cast<std::int64_t>(next++);
  }
  return permute(self, order);
}
Tensor movedim(const Tensor& self, std::int64_t source, std::int64_t destination) { return movedim(self, IntArrayRef(source), IntArrayRef(destination)); }

Tensor unflatten(const Tensor& self, std::int64_t dim, IntArrayRef sizes) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  TORCH_CHECK(!sizes.empty(), "unflatten: sizes must be non-empty");
  std::int64_t known = 1;
  bool open = false;
  for (const std::int64_t size : sizes) {
    if (size == -1) open = true;
    else known *= size;
  }
  const bool fits = open ? known != 0 && self.size(d) % known == 0 : known == self.size(d);
  TORCH_CHECK(fits, "unflatten: Provided sizes ", sizes, " don't multiply up to the size of dim ", d, " (", self.size(d), ") in the input tensor");
  DimVector shape(self.sizes());
  shape.erase(static_cast<std::size_t>(d));
  for (std::size_t i = 0; i < sizes.size(); ++i) shape.insert(static_cast<std::size_t>(d) + i, sizes[i] == -1 ? self.size(d) / known : sizes[i]);
  return view(self, shape);
}
Tensor ravel(const Tensor& self) { return self.contiguous().view({-1}); }
Tensor broadcast_to(const Tensor& self, IntArrayRef size) { return expand(self, size); }
std::vector<Tensor> broadcast_tensors(TensorList tensors) {
  DimVector sizes;
  for (const Tensor& tensor : tensors) sizes = infer_size(sizes, tensor.sizes());
  std::vector<Tensor> results;
  for (const Tensor& tensor : tensors) results.push_back(expand(tensor, sizes));
  return results;
}
Tensor atleast_1d(const Tensor& self) { return self.dim() == 0 ? self.reshape({1}) : self; }
Tensor atleast_2d(const Tensor& self) { return self.dim() < 2 ? atleast_1d(self).unsqueeze(0) : self; }
Tensor atleast_3d(const Tensor& self) { return self.dim() < 3 ? atleast_2d(self).unsqueeze(-1) : self; }

std::vector<Tensor> tensor_split(const Tensor& self, IntArrayRef indices, std::int64_t dim) {
  TORCH_CHECK(self.dim() > 0, "tensor_split expected at least a 1-dimensional tensor, but got a tensor with ", self.dim(), " dims");
  std::vector<Tensor> parts;
  std::int64_t begin = 0;
  for (const std::int64_t end : indices) {
    parts.push_back(slice(self, dim, begin, end));
    begin = end;
  }
  parts.push_back(slice(self, dim, begin));
  return parts;
}
std::vector<Tensor> tensor_split(const Tensor& self, std::int64_t sections, std::int64_t dim) {
  TORCH_CHECK(self.dim() > 0, "tensor_split expected at least a 1-dimensional tensor, but got a tensor with ", self.dim(), " dims");
  TORCH_CHECK(sections > 0, "number of sections must be larger than 0, got ", sections);
  const std::int64_t size = self.size(dim);
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 1; i < sections; ++i) indices.push_back(i * (size / sections) + std::min(i, size % sections));
  return tensor_split(self, indices, dim);
}

namespace {
// Equal parts only.
std::vector<Tensor> split_equally(const char* name, const Tensor& self, std::int64_t sections, std::int64_t least_dims, std::int64_t dim) {
  TORCH_CHECK(self.dim() >= least_dims, "torch.", name, " requires a tensor with at least ", least_dims, " dimension, but got a tensor with ", self.dim(), " dimensions!");
  TORCH_CHECK(sections > 0 && self.size(dim) % sections == 0, "torch.", name, " attempted to split along dimension ", dim, ", but the size of the dimension ", self.size(dim),
              " is not divisible by the split_size ", sections, "!");
  return tensor_split(self, sections, dim);
}
std::vector<Tensor> split_there(const char* name, const Tensor& self, IntArrayRef indices, std::int64_t least_dims, std::int64_t dim) {
  TORCH_CHECK(self.dim() >= least_dims, "torch.", name, " requires a tensor with at least ", least_dims, " dimension, but got a tensor with ", self.dim(), " dimensions!");
  return tensor_split(self, indices, dim);
}
}  // namespace
std::vector<Tensor> hsplit(const Tensor& self, std::int64_t sections) { return split_equally("hsplit", self, sections, 1, self.dim() == 1 ? 0 : 1); }
std::vector<Tensor> hsplit(const Tensor& self, IntArrayRef indices) { return split_there("hsplit", self, indices, 1, self.dim() == 1 ? 0 : 1); }
std::vector<Tensor> vsplit(const Tensor& self, std::int64_t sections) { return split_equally("vsplit", self, sections, 2, 0); }
std::vector<Tensor> vsplit(const Tensor& self, IntArrayRef indices) { return split_there("vsplit", self, indices, 2, 0); }
std::vector<Tensor> dsplit(const Tensor& self, std::int64_t sections) { return split_equally("dsplit", self, sections, 3, 2); }
std::vector<Tensor> dsplit(const Tensor& self, IntArrayRef indices) { return split_there("dsplit", self, indices, 3, 2); }

namespace {
Tensor roll_cpu(const Tensor& self, IntArrayRef behind) {
  Tensor result = self;
  for (std::int64_t d = 0; d < self.dim(); ++d) {
    const std::int64_t first = behind[static_cast<std::size_t>(d)], size = self.size(d);
    if (first > 0) result = cat({result.narrow(d, size - first, first), result.narrow(d, 0, size - first)}, d);
  }
  return result;
}

Tensor roll_backward(const Tensor& g, IntArrayRef behind) {
  DimVector back(behind);
  for (std::size_t d = 0; d < back.size(); ++d) back[d] = back[d] == 0 ? 0 : g.size(static_cast<std::int64_t>(d)) - back[d];
  return op::roll(g, back);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef)> op::roll("roll", {.cpu = roll_cpu, .autograd = gradient_of<op::roll>([](const Tensor& g, Arg<1, DimVector> behind) { return roll_backward(g, behind.value); })});
Tensor roll(const Tensor& self, IntArrayRef shifts, IntArrayRef dims) {
  TORCH_CHECK(!shifts.empty(), "`shifts` required");
  if (dims.empty() && shifts.size() == 1) return roll(self.reshape({-1}), shifts, 0).reshape(self.sizes());
  TORCH_CHECK(shifts.size() == dims.size(), "shifts and dimensions must align. shifts: ", shifts.size(), ", dims:", dims.size());
  DimVector behind(static_cast<std::size_t>(self.dim()), 0);  // so many of the last come first
  for (std::size_t i = 0; i < shifts.size(); ++i) {
    TORCH_CHECK_INDEX(self.dim() > 0, "Dimension specified as ", dims[i], " but tensor has no dimensions");
    const std::int64_t size = self.size(dims[i]);
    std::int64_t& all = behind[static_cast<std::size_t>(wrap_dim(dims[i], self.dim()))];
    if (size > 0) all = (all + shifts[i] % size + size) % size;
  }
  const bool stays = std::all_of(behind.begin(), behind.end(), [](std::int64_t count) { return count == 0; });
  return stays ? clone(self) : op::roll(self, behind);
}

Tensor rot90(const Tensor& self, std::int64_t k, IntArrayRef dims) {
  TORCH_CHECK(dims.size() == 2, "expected total rotation dims == 2, but got dims = ", dims.size());
  TORCH_CHECK(self.dim() >= 2, "expected total dims >= 2, but got total dims = ", self.dim());
  TORCH_CHECK(wrap_dim(dims[0], self.dim()) != wrap_dim(dims[1], self.dim()), "expected rotation dims to be different, but got dim0 = ", dims[0], " and dim1 = ", dims[1]);
  switch (((k % 4) + 4) % 4) {
    case 1: return flip(self, dims[1]).transpose(dims[0], dims[1]);
    case 2: return flip(self, dims);
    case 3: return flip(self, dims[0]).transpose(dims[0], dims[1]);
    default: return clone(self);
  }
}
Tensor fliplr(const Tensor& self) {
  TORCH_CHECK(self.dim() >= 2, "Input must be >= 2-d.");
  return flip(self, 1);
}
Tensor flipud(const Tensor& self) {
  TORCH_CHECK(self.dim() >= 1, "Input must be >= 1-d.");
  return flip(self, 0);
}
Tensor tile(const Tensor& self, IntArrayRef dims) {
  DimVector repeats(dims);
  while (static_cast<std::int64_t>(repeats.size()) < self.dim()) repeats.insert(0, 1);
  return repeat(self, repeats);
}
Tensor repeat_interleave(const Tensor& self, std::int64_t repeats, std::optional<std::int64_t> dim) {
  TORCH_CHECK(repeats >= 0, "repeats can not be negative");
  const Tensor input = dim ? self : self.reshape({-1});
  const std::int64_t d = dim ? wrap_dim(*dim, self.dim()) : 0;
  DimVector wide(input.sizes());
  wide.insert(static_cast<std::size_t>(d) + 1, repeats);
  return input.unsqueeze(d + 1).expand(wide).flatten(d, d + 1);
}
Tensor repeat_interleave(const Tensor& self, const Tensor& repeats, std::optional<std::int64_t> dim) {
  const Tensor input = dim ? self : self.reshape({-1});
  const std::int64_t d = dim ? wrap_dim(*dim, self.dim()) : 0;
  if (repeats.numel() == 1) return repeat_interleave(self, repeats.item<std::int64_t>(), dim);
  TORCH_CHECK(repeats.dim() == 1 && repeats.size(0) == input.size(d), "repeats must have the same size as input along dim, but got repeats.size(0) = ", repeats.numel(),
              " and input.size(", d, ") = ", input.size(d));
  const Tensor counts = repeats.to(kLong).contiguous();
  std::vector<std::int64_t> index;
  for (std::int64_t i = 0; i < counts.numel(); ++i) {
    TORCH_CHECK(counts.data<std::int64_t>()[i] >= 0, "repeats can not be negative");
    index.insert(index.end(), static_cast<std::size_t>(counts.data<std::int64_t>()[i]), i);
  }
  const Tensor places = empty({static_cast<std::int64_t>(index.size())}, kLong);
  std::copy(index.begin(), index.end(), places.data<std::int64_t>());
  return index_select(input, d, places);
}

namespace {
Tensor diag_embed_cpu(const Tensor& self, std::int64_t offset, std::int64_t first, std::int64_t second) {
  DimVector sizes(self.sizes());
  const std::int64_t side = self.size(-1) + (offset < 0 ? -offset : offset);
  sizes.erase(sizes.size() - 1);
  sizes.insert(static_cast<std::size_t>(std::min(first, second)), side);
  sizes.insert(static_cast<std::size_t>(std::max(first, second)), side);
  const Tensor result = zeros(sizes, self.scalar_type());
  diagonal(result, offset, first, second).copy_(self);
  return result;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, std::int64_t, std::int64_t, std::int64_t)> op::diag_embed(
    "diag_embed", {.cpu = diag_embed_cpu,
                   .autograd = gradient_of<op::diag_embed>([](const Tensor& g, Arg<1, std::int64_t> offset, Arg<2, std::int64_t> first, Arg<3, std::int64_t> second) { return diagonal(g, offset, first, second); })});

Tensor diag_embed(const Tensor& self, std::int64_t offset, std::int64_t dim1, std::int64_t dim2) {
  TORCH_CHECK(self.dim() > 0, "diag_embed: expected a tensor of at least one dimension, but got none");
  const std::int64_t first = wrap_dim(dim1, self.dim() + 1), second = wrap_dim(dim2, self.dim() + 1);
  TORCH_CHECK(first != second, "diagonal dimensions cannot be identical ", dim1, ", ", dim2);
  return op::diag_embed(self, offset, first, second);
}
Tensor diag(const Tensor& self, std::int64_t diagonal) {
  TORCH_CHECK(self.dim() == 1 || self.dim() == 2, "diag(): Supports 1D or 2D tensors. Got ", self.dim(), "D");
  return self.dim() == 1 ? diag_embed(self, diagonal) : clone(tinytorch::diagonal(self, diagonal));
}
Tensor diagflat(const Tensor& self, std::int64_t offset) { return diag_embed(self.reshape({-1}), offset); }

namespace {
template <class F>
std::vector<Tensor> each(TensorList tensors, F f) {
  std::vector<Tensor> results;
  for (const Tensor& tensor : tensors) results.push_back(f(tensor));
  return results;
}
}  // namespace
Tensor hstack(TensorList tensors) {
  TORCH_CHECK(!tensors.empty(), "hstack expects a non-empty TensorList");
  const std::vector<Tensor> parts = each(tensors, atleast_1d);
  return cat(parts, parts[0].dim() == 1 ? 0 : 1);
}
Tensor vstack(TensorList tensors) {
  TORCH_CHECK(!tensors.empty(), "vstack expects a non-empty TensorList");
  return cat(each(tensors, atleast_2d), 0);
}
Tensor dstack(TensorList tensors) {
  TORCH_CHECK(!tensors.empty(), "dstack expects a non-empty TensorList");
  return cat(each(tensors, atleast_3d), 2);
}
Tensor column_stack(TensorList tensors) {
  TORCH_CHECK(!tensors.empty(), "column_stack expects a non-empty TensorList");
  return cat(each(tensors, [](const Tensor& x) { return x.dim() <= 1 ? x.reshape({x.numel(), 1}) : x; }), 1);
}
Tensor block_diag(TensorList tensors) {
  const std::vector<Tensor> blocks = each(tensors, atleast_2d);
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  ScalarType type = blocks.empty() ? get_default_dtype() : blocks[0].scalar_type();
  for (const Tensor& block : blocks) {
    TORCH_CHECK(block.dim() == 2, "torch.block_diag: Input tensors must have 2 or fewer dimensions. Got a tensor with ", block.dim(), " dimensions");
    rows += block.size(0);
    columns += block.size(1);
    type = promoteTypes(type, block.scalar_type());
  }
  const Tensor result = zeros({rows, columns}, type);
  rows = columns = 0;
  for (const Tensor& block : blocks) {
    result.narrow(0, rows, block.size(0)).narrow(1, columns, block.size(1)).copy_(block);
    rows += block.size(0);
    columns += block.size(1);
  }
  return result;
}
std::vector<Tensor> meshgrid(TensorList tensors, std::string_view indexing) {
  TORCH_CHECK(!tensors.empty(), "meshgrid expects a non-empty TensorList");
  TORCH_CHECK(indexing == "ij" || indexing == "xy", "torch.meshgrid: indexing must be one of \"xy\" or \"ij\", but received: ", indexing);
  DimVector sizes;
  for (const Tensor& tensor : tensors) {
    TORCH_CHECK(tensor.dim() <= 1, "torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: ", tensor.sizes());
    sizes.push_back(tensor.numel());
  }
  std::vector<Tensor> grids;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    DimVector shape(sizes.size(), 1);
    shape[i] = sizes[i];
    const Tensor grid = tensors[i].reshape(shape).expand(sizes);
    grids.push_back(indexing == "xy" && sizes.size() > 1 ? grid.transpose(0, 1) : grid);
  }
  return grids;
}
Tensor combinations(const Tensor& self, std::int64_t r, bool with_replacement) {
  TORCH_CHECK(self.dim() == 1, "Expect a 1D vector, but got shape ", self.sizes());
  TORCH_CHECK(r >= 0, "Expect a non-negative number, but got ", r);
  if (r == 0) return empty({0}, self.options());
  // All rows of positions, and of these the ascending ones.
  std::vector<Tensor> positions(static_cast<std::size_t>(r), arange(self.numel()));
  const std::vector<Tensor> grids = meshgrid(positions, "ij");
  Tensor ascends = ones(grids[0].sizes(), kBool);
  for (std::size_t i = 0; i + 1 < grids.size(); ++i) ascends = ascends.logical_and(with_replacement ? grids[i] <= grids[i + 1] : grids[i] < grids[i + 1]);
  std::vector<Tensor> columns;
  for (const Tensor& grid : grids) columns.push_back(self.index_select(0, grid.masked_select(ascends)));
  return stack(columns, 1);
}
Tensor chain_matmul(TensorList matrices) {
  TORCH_CHECK(!matrices.empty(), "chain_matmul(): Expected one or more matrices");
  Tensor product = matrices[0];
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    TORCH_CHECK(matrices[i].dim() == 2, "Tensor dimension is ", matrices[i].dim(), ", expected 2 instead.");
    if (i > 0) product = mm(product, matrices[i]);
  }
  return product;
}
Tensor cartesian_prod(TensorList tensors) {
  for (const Tensor& tensor : tensors) TORCH_CHECK(tensor.dim() == 1, "Expect a 1D vector, but got shape ", tensor.sizes());
  if (tensors.size() == 1) return tensors[0];
  return stack(each(meshgrid(tensors), ravel), 1);
}
Tensor diff(const Tensor& self, std::int64_t n, std::int64_t dim) {
  TORCH_CHECK(self.dim() > 0, "diff expects input to be at least one-dimensional");
  TORCH_CHECK(n >= 0, "order must be non-negative but got ", n);
  Tensor result = n == 0 ? clone(self) : self;
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t size = result.size(dim);
    if (size == 0) break;
    const Tensor later = result.narrow(dim, 1, size - 1);
    const Tensor earlier = result.narrow(dim, 0, size - 1);
    result = self.scalar_type() == kBool ? logical_xor(later, earlier) : later - earlier;
  }
  return result;
}

Tensor select_scatter(const Tensor& self, const Tensor& src, std::int64_t dim, std::int64_t index) {
  const Tensor result = clone(self);
  const Tensor part = result.select(dim, index);
  TORCH_CHECK(part.sizes() == src.sizes(), "expected src to have a size equal to the slice of self. src size = ", src.sizes(), ", slice size = ", part.sizes());
  part.copy_(src);
  return result;
}
Tensor slice_scatter(const Tensor& self, const Tensor& src, std::int64_t dim, std::optional<std::int64_t> start, std::optional<std::int64_t> end, std::int64_t step) {
  const Tensor result = clone(self);
  const Tensor part = slice(result, dim, start, end, step);
  TORCH_CHECK(part.sizes() == src.sizes(), "expected src to have a size equal to the slice of self. src size = ", src.sizes(), ", slice size = ", part.sizes());
  part.copy_(src);
  return result;
}
Tensor diagonal_scatter(const Tensor& self, const Tensor& src, std::int64_t offset, std::int64_t dim1, std::int64_t dim2) {
  const Tensor result = clone(self);
  const Tensor part = diagonal(result, offset, dim1, dim2);
  TORCH_CHECK(part.sizes() == src.sizes(), "expected src to have a size equal to the slice of self. src size = ", src.sizes(), ", slice size = ", part.sizes());
  part.copy_(src);
  return result;
}

namespace {
// `index` as the only index, along `dim`.
std::vector<std::optional<Tensor>> along(std::int64_t dim, const Tensor& index) {
  std::vector<std::optional<Tensor>> indices(static_cast<std::size_t>(dim));
  indices.emplace_back(index);
  return indices;
}
}  // namespace

Tensor take(const Tensor& self, const Tensor& index) {
  TORCH_CHECK(index.scalar_type() == kLong, "take(): Expected a long tensor for index, but got ", index.scalar_type());
  TORCH_CHECK_INDEX(self.numel() > 0 || index.numel() == 0, "take(): tried to take from an empty tensor");
  const Tensor places = index.contiguous();
  const std::int64_t count = self.numel();
  bool from_end = false;
  for (const std::int64_t place : ArrayRef<std::int64_t>(places.data_ptr<std::int64_t>(), static_cast<std::size_t>(places.numel()))) {
    TORCH_CHECK_INDEX(place >= -count && place < count, "out of range: tried to access index ", place, " on a tensor of ", count, " elements.");
    from_end = from_end || place < 0;
  }
  const Tensor flat = (from_end ? where(places < 0, places + count, places) : places).reshape({-1});
  return gather(self.reshape({-1}), 0, flat).view(index.sizes());
}
Tensor take_along_dim(const Tensor& self, const Tensor& indices, std::optional<std::int64_t> dim) {
  TORCH_CHECK(indices.scalar_type() == kLong, "torch.take_along_dim(): dtype of indices should be Long but got ", indices.scalar_type());
  if (!dim) return gather(self.reshape({-1}), 0, indices.reshape({-1}));
  TORCH_CHECK(self.dim() == indices.dim(), "torch.take_along_dim(): input and indices should have the same number of dimensions, but got ", self.dim(), " dimensions for input, and ",
              indices.dim(), " dimensions for indices");
  const auto d = static_cast<std::size_t>(wrap_dim(*dim, self.dim()));
  // All dimensions but `dim` broadcast.
  DimVector self_sizes(self.sizes());
  DimVector index_sizes(indices.sizes());
  self_sizes[d] = index_sizes[d] = 1;
  const DimVector common = infer_size(self_sizes, index_sizes);
  self_sizes = index_sizes = common;
  self_sizes[d] = self.sizes()[d];
  index_sizes[d] = indices.sizes()[d];
  return gather(expand(self, self_sizes), *dim, expand(indices, index_sizes));
}
Tensor index_put(const Tensor& self, const std::vector<std::optional<Tensor>>& indices, const Tensor& values, bool accumulate) {
  return index_put_(clone(self), indices, values, accumulate);
}
Tensor index_copy(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& source) {
  TORCH_CHECK_INDEX(index.dim() < 2, "index_copy_(): Index should have dimension 1 or 0 (got ", index.dim(), ")");
  TORCH_CHECK(self.scalar_type() == source.scalar_type(), "index_copy_(): self and source expected to have the same dtype, but got (self) ", self.scalar_type(), " and (source) ",
              source.scalar_type());
  const std::int64_t d = wrap_dim(dim, self.dim());
  const std::int64_t given = source.dim() == 0 ? 1 : source.size(d);
  TORCH_CHECK_INDEX(index.numel() == given, "index_copy_(): Number of indices (", index.numel(), ") should be equal to source.size(dim) (", given, ")");
  return index_put_(clone(self), along(d, index), source);
}
Tensor index_fill(const Tensor& self, std::int64_t dim, const Tensor& index, const Scalar& value) {
  TORCH_CHECK_INDEX(index.scalar_type() == kLong, "index_fill_(): Expected dtype int64 for index.");
  TORCH_CHECK(index.dim() <= 1, "Index has to be a vector/scalar");
  return index_put_(clone(self), along(wrap_dim(dim, self.dim()), index), full({}, value, self.scalar_type()));
}
Tensor masked_scatter(const Tensor& self, const Tensor& mask, const Tensor& source) {
  TORCH_CHECK(self.scalar_type() == source.scalar_type(), "masked_scatter: expected self and source to have same dtypes but got ", self.scalar_type(), " and ", source.scalar_type());
  TORCH_CHECK(mask.scalar_type() == kBool, "masked_scatter_ only supports boolean masks, but got mask with dtype ", mask.scalar_type());
  const Tensor where_true = expand(mask, infer_size(self.sizes(), mask.sizes()));
  const std::int64_t count = sum(where_true).item<std::int64_t>();
  TORCH_CHECK(count <= source.numel(), "Number of elements of source < number of ones in mask");
  const Tensor result = clone(expand(self, where_true.sizes()));
  return index_put_(result, std::vector<std::optional<Tensor>>{where_true}, source.reshape({-1}).narrow(0, 0, count));
}
std::vector<Tensor> where(const Tensor& condition) { return nonzero(atleast_1d(condition)).unbind(1); }
Tensor argwhere(const Tensor& self) { return nonzero(self); }

namespace {
// beta * self + alpha * product, where beta = 0 forgets self, NaN and all.
Tensor weighted(const Tensor& self, const Tensor& product, const Scalar& beta, const Scalar& alpha) {
  const auto of_that_type = [&](const Scalar& factor) { return isIntegralType(product.scalar_type(), true) ? Scalar(factor.to<std::int64_t>()) : factor; };
  const Tensor scaled = alpha.equal(1) ? product : product * of_that_type(alpha);
  if (beta.equal(0)) return scaled;
  return beta.equal(1) ? self + scaled : self * of_that_type(beta) + scaled;
}
}  // namespace
Tensor baddbmm(const Tensor& self, const Tensor& batch1, const Tensor& batch2, const Scalar& beta, const Scalar& alpha) { return weighted(self, bmm(batch1, batch2), beta, alpha); }
Tensor addbmm(const Tensor& self, const Tensor& batch1, const Tensor& batch2, const Scalar& beta, const Scalar& alpha) { return weighted(self, sum(bmm(batch1, batch2), 0).to(batch1.scalar_type()), beta, alpha); }
Tensor addmv(const Tensor& self, const Tensor& mat, const Tensor& vec, const Scalar& beta, const Scalar& alpha) { return weighted(self, mv(mat, vec), beta, alpha); }
Tensor addr(const Tensor& self, const Tensor& vec1, const Tensor& vec2, const Scalar& beta, const Scalar& alpha) { return weighted(self, outer(vec1, vec2), beta, alpha); }
Tensor vdot(const Tensor& self, const Tensor& other) { return dot(self, other); }
Tensor ger(const Tensor& self, const Tensor& vec2) { return outer(self, vec2); }
Tensor inner(const Tensor& self, const Tensor& other) {
  if (self.dim() == 0 || other.dim() == 0) return self * other;
  TORCH_CHECK(self.size(-1) == other.size(-1), "inner() the last dimension must match on both input tensors but got shapes ", self.sizes(), " and ", other.sizes());
  return tensordot(self, other, -1, -1);
}
Tensor kron(const Tensor& self, const Tensor& other) {
  const auto dims = static_cast<std::size_t>(std::max(self.dim(), other.dim()));
  if (dims == 0) return self * other;
  DimVector left(dims, 1);
  DimVector right(dims, 1);
  for (std::size_t i = 0; i < self.sizes().size(); ++i) left[dims - self.sizes().size() + i] = self.sizes()[i];
  for (std::size_t i = 0; i < other.sizes().size(); ++i) right[dims - other.sizes().size() + i] = other.sizes()[i];
  DimVector a;
  DimVector b;
  DimVector result;
  for (std::size_t i = 0; i < dims; ++i) {
    a.push_back(left[i]);
    a.push_back(1);
    b.push_back(1);
    b.push_back(right[i]);
    result.push_back(left[i] * right[i]);
  }
  if (multiply_sizes(result) < 4096 || right.back() == 1) return (self.reshape(a) * other.reshape(b)).reshape(result);
  // Along the last dimension both are written out first, so that what is multiplied are long rows.
  DimVector times(dims, 1);
  times.back() = left.back();
  for (DimVector* sizes : {&a, &b}) {
    sizes->erase(sizes->size() - 1);
    sizes->back() = result.back();
  }
  return (repeat_interleave(self.reshape(left), right.back(), -1).reshape(a) * repeat(other.reshape(right), times).reshape(b)).reshape(result);
}
namespace {
Tensor cross_cpu(const Tensor& a, const Tensor& b, std::int64_t dim) {
  const auto part = [dim](const Tensor& x, std::int64_t i) { return x.select(dim, i); };
  return stack({part(a, 1) * part(b, 2) - part(a, 2) * part(b, 1), part(a, 2) * part(b, 0) - part(a, 0) * part(b, 2), part(a, 0) * part(b, 1) - part(a, 1) * part(b, 0)}, dim);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, std::int64_t)> op::cross("cross", {.cpu = cross_cpu, .autograd = gradient_of<op::cross>(
    [](const Tensor& g, Input<1> other, Arg<2, std::int64_t> dim) { return op::cross(other, g, dim); },
    [](const Tensor& g, Input<0> self, Arg<2, std::int64_t> dim) { return op::cross(g, self, dim); })});
Tensor cross(const Tensor& self, const Tensor& other, std::optional<std::int64_t> dim) {
  const DimVector sizes = infer_size(self.sizes(), other.sizes());
  const Tensor a = expand(self, sizes);
  const Tensor b = expand(other, sizes);
  std::int64_t d = -1;
  if (dim) {
    d = wrap_dim(*dim, a.dim());
  } else {
    for (std::int64_t i = a.dim(); i-- > 0;) d = a.size(i) == 3 ? i : d;
    TORCH_CHECK(d >= 0, "no dimension of size 3 in input");
  }
  TORCH_CHECK(a.size(d) == 3, "linalg.cross: inputs dimension ", d, " must have length 3. Got ", self.size(d), " and ", other.size(d));
  const ScalarType type = result_type(self, other);
  return op::cross(a.to(type), b.to(type), d);
}
Tensor tensordot(const Tensor& self, const Tensor& other, IntArrayRef dims_self, IntArrayRef dims_other) {
  TORCH_CHECK(dims_self.size() == dims_other.size(), "both dimension lists should have same length");
  // The summed dimensions go to the end of one and to the front of the other; then it is a product of matrices.
  const auto split = [](const Tensor& x, IntArrayRef dims) {
    std::vector<std::int64_t> kept;
    std::vector<std::int64_t> summed;
    for (const std::int64_t dim : dims) summed.push_back(wrap_dim(dim, x.dim()));
    for (std::int64_t i = 0; i < x.dim(); ++i)
      if (std::find(summed.begin(), summed.end(), i) == summed.end()) kept.push_back(i);
    return std::pair(kept, summed);
  };
  auto [rows, left] = split(self, dims_self);
  auto [columns, right] = split(other, dims_other);
  std::int64_t K = 1;
  DimVector sizes;
  for (std::size_t i = 0; i < left.size(); ++i) {
    TORCH_CHECK(self.size(left[i]) == other.size(right[i]), "contracted dimensions need to match, but first has size ", self.size(left[i]), " in dim ", dims_self[i],
                " and second has size ", other.size(right[i]), " in dim ", dims_other[i]);
    K *= self.size(left[i]);
  }
  std::int64_t M = 1;
  std::int64_t N = 1;
  for (const std::int64_t dim : rows) {
    sizes.push_back(self.size(dim));
    M *= self.size(dim);
  }
  for (const std::int64_t dim : columns) {
    sizes.push_back(other.size(dim));
    N *= other.size(dim);
  }
  rows.insert(rows.end(), left.begin(), left.end());
  right.insert(right.end(), columns.begin(), columns.end());
  return mm(permute(self, rows).reshape({M, K}), permute(other, right).reshape({K, N})).reshape(sizes);
}

Tensor trapezoid(const Tensor& y, const Scalar& dx, std::int64_t dim) {
  if (y.size(dim) == 0) return zeros_like(y).sum(dim);
  return (y.narrow(dim, 0, y.size(dim) - 1) + y.narrow(dim, 1, y.size(dim) - 1)).sum(dim) * (dx.toDouble() / 2);
}
Tensor trapezoid(const Tensor& y, const Tensor& x, std::int64_t dim) {
  if (y.size(dim) == 0) return zeros_like(y).sum(dim);
  Tensor width = diff(x, 1, x.dim() == 1 ? 0 : dim);
  if (x.dim() == 1) {
    // A vector of places lies along `dim`.
    DimVector sizes(static_cast<std::size_t>(y.dim()), 1);
    sizes[static_cast<std::size_t>(wrap_dim(dim, y.dim()))] = width.size(0);
    width = width.view(sizes);
  }
  return ((y.narrow(dim, 0, y.size(dim) - 1) + y.narrow(dim, 1, y.size(dim) - 1)) * width).sum(dim) / 2;
}
Tensor logcumsumexp(const Tensor& self, std::int64_t dim) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(), "\"logcumsumexp_out_cpu\" not implemented for '", self.scalar_type(), "'");
  Tensor result = self.clone();
  const std::int64_t n = self.dim() == 0 ? 1 : self.size(d);
  // What reaches back `step` places is joined with what reaches back as far from there.
  for (std::int64_t step = 1; step < n; step *= 2)
    result = cat({result.narrow(d, 0, step), logaddexp(result.narrow(d, step, n - step), result.narrow(d, 0, n - step))}, d);
  return result;
}

Tensor logspace(const Scalar& start, const Scalar& end, std::int64_t steps, double base, const TensorOptions& options) {
  const Tensor exponents = linspace(start, end, steps, kDouble);
  return created(pow(base, exponents).to(options.dtype().toScalarType()), options);
}
Tensor empty_strided(IntArrayRef size, IntArrayRef stride, const TensorOptions& options) {
  TORCH_CHECK(size.size() == stride.size(), "mismatch in length of strides and shape");
  std::int64_t elements = multiply_sizes(size) == 0 ? 0 : 1;
  for (std::size_t i = 0; elements > 0 && i < size.size(); ++i) elements += (size[i] - 1) * stride[i];
  return created(empty({elements}, options.dtype().toScalarType()).as_strided(size, stride, 0), options);
}
namespace {
// The places (2, count) of a matrix that lie in columns begin(row) to end(row) of each row, row by row.
template <class Begin, class End>
Tensor places_of_rows(std::int64_t row, std::int64_t col, Begin begin, End end, const TensorOptions& options) {
  TORCH_CHECK(row >= 0, "row must be non-negative, got", row);
  TORCH_CHECK(col >= 0, "col must be non-negative, got", col);
  const auto column = [&](std::int64_t wanted) { return std::clamp<std::int64_t>(wanted, 0, col); };
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < row; ++i) count += column(end(i)) - column(begin(i));
  const Tensor places = empty({2, count}, kLong);
  std::int64_t *rows = places.data<std::int64_t>(), *columns = rows + count;
  for (std::int64_t i = 0; i < row; ++i) {
    for (std::int64_t j = column(begin(i)); j < column(end(i)); ++j) {
      *rows++ = i;
      *columns++ = j;
    }
  }
  return created(places.to(options.dtype().toScalarType()), options);
}
}  // namespace

Tensor tril_indices(std::int64_t row, std::int64_t col, std::int64_t offset, const TensorOptions& options) {
  return places_of_rows(row, col, [](std::int64_t) { return std::int64_t{0}; }, [offset](std::int64_t i) { return i + offset + 1; }, options);
}
Tensor triu_indices(std::int64_t row, std::int64_t col, std::int64_t offset, const TensorOptions& options) {
  return places_of_rows(row, col, [offset](std::int64_t i) { return i + offset; }, [col](std::int64_t) { return col; }, options);
}
Tensor vander(const Tensor& x, std::optional<std::int64_t> N, bool increasing) {
  TORCH_CHECK(x.dim() == 1, "x must be a one-dimensional tensor.");
  const std::int64_t count = N.value_or(x.size(0));
  TORCH_CHECK(count >= 0, "N must be non-negative.");
  Tensor powers = arange(count, kLong);
  if (!increasing) powers = powers.flip({0});
  return pow(x.unsqueeze(-1), powers);
}

namespace {
// sum of parts[k] cos(2 pi k i / period) for i = 0, 1, ...
Tensor window_of_cosines(const char* name, std::int64_t length, bool periodic, std::initializer_list<double> parts, const TensorOptions& options) {
  TORCH_CHECK(length >= 0, name, " requires non-negative window_length, got window_length=", length);
  if (length == 1) return ones({1}, options);
  const double turn = 2 * 3.14159265358979323846 / static_cast<double>(periodic ? length : length - 1);
  const Tensor places = arange(length, options.dtype().toScalarType());
  Tensor window = zeros({length}, options.dtype().toScalarType());
  double k = 0;
  for (const double part : parts) window = window + part * cos(places * (turn * k++));
  return created(window, options);
}
}  // namespace
Tensor hann_window(std::int64_t window_length, bool periodic, const TensorOptions& options) {
  return window_of_cosines("hann_window", window_length, periodic, {0.5, -0.5}, options);
}
Tensor hamming_window(std::int64_t window_length, bool periodic, double alpha, double beta, const TensorOptions& options) {
  return window_of_cosines("hamming_window", window_length, periodic, {alpha, -beta}, options);
}
Tensor blackman_window(std::int64_t window_length, bool periodic, const TensorOptions& options) {
  return window_of_cosines("blackman_window", window_length, periodic, {0.42, -0.5, 0.08}, options);
}
Tensor bartlett_window(std::int64_t window_length, bool periodic, const TensorOptions& options) {
  TORCH_CHECK(window_length >= 0, "bartlett_window requires non-negative window_length, got window_length=", window_length);
  if (window_length == 1) return ones({1}, options);
  const double half = static_cast<double>(periodic ? window_length : window_length - 1) / 2;
  return created(1 - abs(arange(window_length, options.dtype().toScalarType()) / half - 1), options);
}

}  // namespace tinytorch
