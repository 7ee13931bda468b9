// From the lesson modules/60_overloads/overloads_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/overloads.h"

#include <algorithm>
#include <utility>

#include "tinytorch/core/dict.h"
#include "tinytorch/core/inplace_or_view.h"
#include "tinytorch/core/more_loops.h"
#include "tinytorch/core/random.h"
#include "tinytorch/nn/more_activations.h"
#include "tinytorch/nn/padding.h"

namespace tinytorch {

Tensor prod(const Tensor& self, std::optional<ScalarType> dtype) { return detail::in_dtype(prod(detail::in_dtype(self, dtype)), dtype); }
Tensor prod(const Tensor& self, std::int64_t dim, bool keepdim, std::optional<ScalarType> dtype) { return detail::in_dtype(prod(detail::in_dtype(self, dtype), dim, keepdim), dtype); }
Tensor cumsum(const Tensor& self, std::int64_t dim, std::optional<ScalarType> dtype) { return detail::in_dtype(cumsum(detail::in_dtype(self, dtype), dim), dtype); }
Tensor cumprod(const Tensor& self, std::int64_t dim, std::optional<ScalarType> dtype) { return detail::in_dtype(cumprod(detail::in_dtype(self, dtype), dim), dtype); }
Tensor nansum(const Tensor& self, IntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) { return detail::in_dtype(nansum(detail::in_dtype(self, dtype), dim, keepdim), dtype); }

Tensor norm(const Tensor& self, const std::optional<Scalar>& p, IntArrayRef dim, bool keepdim, ScalarType dtype) {
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(), "linalg.vector_norm: Expected a floating point or complex tensor as input. Got ", self.scalar_type());
  TORCH_CHECK(promoteTypes(self.scalar_type(), dtype) == dtype, "linalg.vector_norm: the dtype of the input (", self.scalar_type(), ") should be convertible without narrowing to the specified dtype (", dtype, ")");
  return norm(to_dtype(self, dtype), p, dim, keepdim);
}

Tensor any(const Tensor& self, const OptionalIntArrayRef& dim, bool keepdim) { return op::any(self, dims_or_all(dim), keepdim); }
Tensor all(const Tensor& self, const OptionalIntArrayRef& dim, bool keepdim) { return op::all(self, dims_or_all(dim), keepdim); }

std::tuple<Tensor, Tensor> var_mean(const Tensor& self, IntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim) {
  return {var(self, dim, correction, keepdim), mean(self, dim, keepdim)};
}
std::tuple<Tensor, Tensor> std_mean(const Tensor& self, IntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim) {
  return {tinytorch::std(self, dim, correction, keepdim), mean(self, dim, keepdim)};
}

Tensor argmax(const Tensor& self, std::optional<std::int64_t> dim, bool keepdim) {
  if (dim) return argmax(self, *dim, keepdim);
  const Tensor position = argmax(self);
  return keepdim ? position.view(DimVector(self.sizes().size(), 1)) : position;
}

Tensor lerp(const Tensor& self, const Tensor& end, const Tensor& weight) {
  TORCH_CHECK(self.scalar_type() == end.scalar_type(), "expected dtype ", type_meta_name(self.scalar_type()), " for `end` but got dtype ", type_meta_name(end.scalar_type()));
  TORCH_CHECK(self.scalar_type() == weight.scalar_type(), "expected dtype ", type_meta_name(self.scalar_type()), " for `weight` but got dtype ", type_meta_name(weight.scalar_type()));
  // From the nearer end, so that weight 1 gives `end` itself.
  const Tensor way = end - self;
  return where(weight.abs() < 0.5, self + weight * way, end - way * (1 - weight));
}

namespace {
void check_fills(const Tensor& value) { TORCH_CHECK(value.dim() == 0, "fill_ only supports 0-dimension value tensor but got tensor with ", value.dim(), " dimensions."); }
}  // namespace

Tensor fill(const Tensor& self, const Scalar& value) { return full_like(self, value); }
Tensor fill(const Tensor& self, const Tensor& value) {
  check_fills(value);
  return to_dtype(value, self.scalar_type()).expand(self.sizes()).clone();
}
Tensor& Tensor::fill_(const Tensor& value) const {
  check_fills(value);
  return copy_(value.expand(sizes()));
}

Tensor index_fill(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& value) {
  TORCH_CHECK(value.dim() == 0, "index_fill_ only supports a 0-dimensional value tensor, but got tensor with ", value.dim(), " dimension(s).");
  DimVector sizes(self.sizes());
  if (self.dim() > 0) sizes[static_cast<std::size_t>(wrap_dim(dim, self.dim()))] = index.numel();
  return index_copy(self, dim, index, to_dtype(value, self.scalar_type()).expand(sizes));
}

Tensor scatter(const Tensor& self, std::int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce) { return clone(self).scatter_(dim, index, src, reduce); }
Tensor scatter(const Tensor& self, std::int64_t dim, const Tensor& index, const Scalar& value, std::string_view reduce) { return clone(self).scatter_(dim, index, value, reduce); }

Tensor squeeze(const Tensor& self, IntArrayRef dim) {
  DimVector dims;
  for (const std::int64_t d : dim) dims.push_back(wrap_dim(d, self.dim()));
  std::sort(dims.begin(), dims.end());
  const auto twice = std::adjacent_find(dims.begin(), dims.end());
  TORCH_CHECK(twice == dims.end(), "dim ", *twice, " appears multiple times in the list of dims");
  Tensor result = self.view(self.sizes());
  for (std::size_t i = dims.size(); i-- > 0;) result = squeeze(result, dims[i]);  // from the last, so that those before it keep their numbers
  return result;
}

Tensor narrow(const Tensor& self, std::int64_t dim, const Tensor& start, std::int64_t length) {
  TORCH_CHECK(start.dim() == 0 && isIntegralType(start.scalar_type(), false), "start must be an 0-dim integral Tensor.");
  return narrow(self, dim, start.item<std::int64_t>(), length);
}

std::vector<Tensor> tensor_split(const Tensor& self, const Tensor& tensor_indices_or_sections, std::int64_t dim) {
  const Tensor& given = tensor_indices_or_sections;
  TORCH_CHECK(given.scalar_type() == kLong, "tensor_split expected tensor_indices_or_sections to have dtype of long, but got ", given.scalar_type());
  TORCH_CHECK(given.dim() <= 1, "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or one-dimensional tensor, but got a tensor with ", given.dim(), " dims");
  if (given.dim() == 0) return tensor_split(self, given.item<std::int64_t>(), dim);
  const Tensor places = given.contiguous();
  return tensor_split(self, IntArrayRef(places.data<std::int64_t>(), static_cast<std::size_t>(places.numel())), dim);
}

namespace {
Tensor of_length(const Tensor& result, std::optional<std::int64_t> dim, std::optional<std::int64_t> output_size) {
  const std::int64_t length = result.size(dim.value_or(0));
  TORCH_CHECK(!output_size || *output_size == length, "allocated size does not match required size\n[repeat_interleave] output_size is ", *output_size, ", the repeats make ", length, ".");
  return result;
}
}  // namespace

Tensor repeat_interleave(const Tensor& repeats, std::optional<std::int64_t> output_size) {
  TORCH_CHECK(repeats.dim() == 1, "repeat_interleave only accept 1D vector as repeat");
  return of_length(repeat_interleave(arange(repeats.size(0), repeats.scalar_type()), repeats), 0, output_size);
}
Tensor repeat_interleave(const Tensor& self, const Tensor& repeats, std::optional<std::int64_t> dim, std::optional<std::int64_t> output_size) {
  return of_length(repeat_interleave(self, repeats, dim), dim, output_size);
}
Tensor repeat_interleave(const Tensor& self, std::int64_t repeats, std::optional<std::int64_t> dim, std::optional<std::int64_t> output_size) {
  const Tensor result = repeat_interleave(self, repeats, dim);
  TORCH_CHECK(!output_size || *output_size == result.size(dim.value_or(0)), "repeat_interleave: Invalid output_size, expected ", result.size(dim.value_or(0)), " but got ", *output_size);
  return result;
}

// NaN is the largest when sorted, so what is no NaN stands in front.
std::tuple<Tensor, Tensor> nanmedian(const Tensor& self, std::int64_t dim, bool keepdim) {
  if (self.dim() == 0) return {clone(self), zeros({}, kLong)};
  const auto [values, places] = sort(self, dim);
  const Tensor middle = clamp_min(floor_divide(self.eq(self).sum({dim}, true) - 1, 2), 0);
  const Tensor value = gather(values, dim, middle), place = gather(places, dim, middle);
  return {keepdim ? value : value.squeeze(dim), keepdim ? place : place.squeeze(dim)};
}

namespace {
std::vector<Tensor> each(TensorList tensors, Tensor (*f)(const Tensor&)) {
  std::vector<Tensor> results;
  for (const Tensor& tensor : tensors) results.push_back(f(tensor));
  return results;
}
}  // namespace
std::vector<Tensor> atleast_1d(TensorList tensors) { return each(tensors, atleast_1d); }
std::vector<Tensor> atleast_2d(TensorList tensors) { return each(tensors, atleast_2d); }
std::vector<Tensor> atleast_3d(TensorList tensors) { return each(tensors, atleast_3d); }

Tensor pad(const Tensor& self, IntArrayRef pad, std::string_view mode, std::optional<double> value) {
  nn::functional::PadFuncOptions options(std::vector<std::int64_t>(pad.begin(), pad.end()));
  TORCH_CHECK(mode == "constant" || !value || *value == 0, "Padding mode \"", mode, "\" doesn't take in value argument");
  if (mode == "reflect") options.mode(kReflect);
  else if (mode == "replicate") options.mode(kReplicate);
  else if (mode == "circular") options.mode(kCircular);
  else TORCH_CHECK_NOT_IMPLEMENTED(mode == "constant", "Unrecognised padding mode ", mode);
  return nn::functional::pad(self, options.value(value.value_or(0)));
}

Tensor ldexp(const Tensor& self, const Tensor& other) { return self * pow(2.0, other); }
Tensor msort(const Tensor& self) { return std::get<0>(sort(self, 0)); }

Tensor put(const Tensor& self, const Tensor& index, const Tensor& source, bool accumulate) {
  TORCH_CHECK(index.scalar_type() == kLong, "put_(): Expected a long tensor for index, but got ", index.scalar_type());
  TORCH_CHECK(self.scalar_type() == source.scalar_type(), "put_(): self and source expected to have the same dtype, but got self.dtype = ", self.scalar_type(), " and source.dtype = ", source.scalar_type());
  TORCH_CHECK_INDEX(index.numel() == source.numel(), "put_(): Expected source and index to have the same number of elements, but got source.numel() = ", source.numel(), ", index.numel() = ", index.numel());
  const Tensor flat = index_put(self.reshape({-1}), std::vector<std::optional<Tensor>>{index.reshape({-1})}, source.reshape({-1}), accumulate);
  return flat.view(self.sizes());
}

Tensor renorm(const Tensor& self, const Scalar& p, std::int64_t dim, const Scalar& maxnorm) {
  TORCH_CHECK(p.toDouble() > 0, "renorm: non-positive-norm not supported");
  TORCH_CHECK(maxnorm.toDouble() >= 0, "renorm: expected maxnorm to be >= 0 but got ", maxnorm.toDouble());
  TORCH_CHECK(self.dim() > 1, "renorm: input needs at least 2 dimensions, got ", self.dim(), " dimensions");
  DimVector others;
  for (std::int64_t d = 0; d < self.dim(); ++d)
    if (d != wrap_dim(dim, self.dim())) others.push_back(d);
  const Tensor size = norm(self, p, others, true);
  return self * where(size > maxnorm, maxnorm.toDouble() / (size + 1e-7), ones({}, self.options()));
}

Tensor as_strided_scatter(const Tensor& self, const Tensor& src, IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset) {
  const Tensor result = clone(self);
  const Tensor part = as_strided(result, size, stride, storage_offset);
  TORCH_CHECK(part.sizes() == src.sizes(), "expected src to have a size equal to the slice of self. src size = ", src.sizes(), ", slice size = ", part.sizes());
  part.copy_(src);
  return result;
}

namespace {
template <class Methods>
const Tensor& tensor_of(const Methods* self) {
  return static_cast<const Tensor&>(*self);
}

// What the tensor holds before it is written: a copy where a graph may want to keep it.
template <class Methods>
Tensor unwritten(const Methods* self) {
  const Tensor& tensor = tensor_of(self);
  return layers_of(tensor).has(Layer::Autograd) ? clone(tensor) : tensor;
}

template <class Methods>
Tensor& write(const Methods* self, const Tensor& result, const Tensor& other = Tensor()) {
  return const_cast<Tensor&>(detail::write_result(tensor_of(self), result, other));
}
}  // namespace

Tensor MoreMethods::squeeze(IntArrayRef dim) const { return tinytorch::squeeze(tensor_of(this), dim); }
Tensor MoreMethods::narrow(std::int64_t dim, const Tensor& start, std::int64_t length) const { return tinytorch::narrow(tensor_of(this), dim, start, length); }
Tensor MoreMethods::div(const Tensor& other, std::optional<std::string_view> rounding_mode) const { return tinytorch::div(tensor_of(this), other, rounding_mode); }
Tensor MoreMethods::div(const Scalar& other, std::optional<std::string_view> rounding_mode) const { return tinytorch::div(tensor_of(this), other, rounding_mode); }
Tensor& MoreMethods::div_(const Tensor& other, std::optional<std::string_view> rounding_mode) const { return write(this, tinytorch::div(unwritten(this), other, rounding_mode), other); }
Tensor& MoreMethods::div_(const Scalar& other, std::optional<std::string_view> rounding_mode) const { return write(this, tinytorch::div(unwritten(this), other, rounding_mode)); }
Tensor MoreMethods::round(std::int64_t decimals) const { return tinytorch::round(tensor_of(this), decimals); }
Tensor& MoreMethods::round_(std::int64_t decimals) const { return write(this, tinytorch::round(unwritten(this), decimals)); }
Tensor MoreMethods::clamp_min(const Tensor& min) const { return tinytorch::clamp_min(tensor_of(this), min); }
Tensor MoreMethods::clamp_max(const Tensor& max) const { return tinytorch::clamp_max(tensor_of(this), max); }
Tensor& MoreMethods::clamp_min_(const Tensor& min) const { return write(this, tinytorch::clamp_min(unwritten(this), min), min); }
Tensor& MoreMethods::clamp_max_(const Tensor& max) const { return write(this, tinytorch::clamp_max(unwritten(this), max), max); }
Tensor MoreMethods::lerp(const Tensor& end, const Tensor& weight) const { return tinytorch::lerp(tensor_of(this), end, weight); }
Tensor& MoreMethods::lerp_(const Tensor& end, const Tensor& weight) const { return write(this, tinytorch::lerp(unwritten(this), end, weight), end); }
Tensor MoreMethods::where(const Tensor& condition, const Scalar& other) const { return tinytorch::where(condition, tensor_of(this), other); }
Tensor& MoreMethods::pow_(const Tensor& exponent) const { return write(this, tinytorch::pow(unwritten(this), exponent), exponent); }
Tensor MoreMethods::bernoulli(double p, std::optional<Generator> generator) const { return empty_like(tensor_of(this)).bernoulli_(p, std::move(generator)); }
Tensor MoreMethods::index(const List<std::optional<Tensor>>& indices) const { return index(indices.vec()); }
Tensor& MoreMethods::index_put_(const List<std::optional<Tensor>>& indices, const Tensor& values, bool accumulate) const { return index_put_(indices.vec(), values, accumulate); }
Tensor MoreMethods::scatter(std::int64_t dim, const Tensor& index, const Tensor& src, std::string_view reduce) const { return tinytorch::scatter(tensor_of(this), dim, index, src, reduce); }
Tensor MoreMethods::scatter(std::int64_t dim, const Tensor& index, const Scalar& value, std::string_view reduce) const { return tinytorch::scatter(tensor_of(this), dim, index, value, reduce); }
Tensor MoreMethods::mean(std::optional<ScalarType> dtype) const { return tinytorch::mean(tensor_of(this), dtype); }
Tensor MoreMethods::mean(IntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) const { return tinytorch::mean(tensor_of(this), dim, keepdim, dtype); }
Tensor MoreMethods::max(const Tensor& other) const { return maximum(other); }
Tensor MoreMethods::min(const Tensor& other) const { return minimum(other); }
Tensor MoreMethods::argmax(std::optional<std::int64_t> dim, bool keepdim) const { return tinytorch::argmax(tensor_of(this), dim, keepdim); }
Tensor MoreMethods::prod(std::optional<ScalarType> dtype) const { return tinytorch::prod(tensor_of(this), dtype); }
Tensor MoreMethods::prod(std::int64_t dim, bool keepdim, std::optional<ScalarType> dtype) const { return tinytorch::prod(tensor_of(this), dim, keepdim, dtype); }
Tensor MoreMethods::any(const OptionalIntArrayRef& dim, bool keepdim) const { return tinytorch::any(tensor_of(this), dim, keepdim); }
Tensor MoreMethods::all(const OptionalIntArrayRef& dim, bool keepdim) const { return tinytorch::all(tensor_of(this), dim, keepdim); }
Tensor MoreMethods::norm(const std::optional<Scalar>& p, ScalarType dtype) const { return tinytorch::norm(tensor_of(this), p, dtype); }
Tensor MoreMethods::norm(const std::optional<Scalar>& p, IntArrayRef dim, bool keepdim, ScalarType dtype) const { return tinytorch::norm(tensor_of(this), p, dim, keepdim, dtype); }
Tensor MoreMethods::cumsum(std::int64_t dim, std::optional<ScalarType> dtype) const { return tinytorch::cumsum(tensor_of(this), dim, dtype); }
Tensor MoreMethods::argsort(bool stable, std::int64_t dim, bool descending) const { return std::get<1>(sort(stable, dim, descending)); }

Tensor BreadthMethods::xlogy(const Scalar& other) const { return tinytorch::xlogy(tensor_of(this), other); }
Tensor& BreadthMethods::xlogy_(const Scalar& other) const { return write(this, tinytorch::xlogy(unwritten(this), other)); }
Tensor BreadthMethods::divide(const Tensor& other, std::optional<std::string_view> rounding_mode) const { return tinytorch::div(tensor_of(this), other, rounding_mode); }
Tensor BreadthMethods::divide(const Scalar& other, std::optional<std::string_view> rounding_mode) const { return tinytorch::div(tensor_of(this), other, rounding_mode); }
Tensor& BreadthMethods::divide_(const Tensor& other, std::optional<std::string_view> rounding_mode) const { return tensor_of(this).div_(other, rounding_mode); }
Tensor& BreadthMethods::divide_(const Scalar& other, std::optional<std::string_view> rounding_mode) const { return tensor_of(this).div_(other, rounding_mode); }
Tensor& BreadthMethods::bitwise_and_(const Scalar& other) const { return bitwise_and_(wrapped_scalar(other)); }
Tensor& BreadthMethods::bitwise_or_(const Scalar& other) const { return bitwise_or_(wrapped_scalar(other)); }
Tensor& BreadthMethods::bitwise_xor_(const Scalar& other) const { return bitwise_xor_(wrapped_scalar(other)); }
Tensor& BreadthMethods::bitwise_left_shift_(const Scalar& other) const { return bitwise_left_shift_(wrapped_scalar(other)); }
Tensor& BreadthMethods::bitwise_right_shift_(const Scalar& other) const { return bitwise_right_shift_(wrapped_scalar(other)); }
Tensor BreadthMethods::nansum(IntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) const { return tinytorch::nansum(tensor_of(this), dim, keepdim, dtype); }
Tensor BreadthMethods::nanmean(IntArrayRef dim, bool keepdim, std::optional<ScalarType> dtype) const { return tinytorch::nanmean(tensor_of(this), dim, keepdim, dtype); }
std::tuple<Tensor, Tensor> BreadthMethods::nanmedian(std::int64_t dim, bool keepdim) const { return tinytorch::nanmedian(tensor_of(this), dim, keepdim); }
Tensor BreadthMethods::cumprod(std::int64_t dim, std::optional<ScalarType> dtype) const { return tinytorch::cumprod(tensor_of(this), dim, dtype); }
Tensor BreadthMethods::moveaxis(IntArrayRef source, IntArrayRef destination) const { return tinytorch::movedim(tensor_of(this), source, destination); }
Tensor BreadthMethods::repeat_interleave(std::int64_t repeats, std::optional<std::int64_t> dim, std::optional<std::int64_t> output_size) const { return tinytorch::repeat_interleave(tensor_of(this), repeats, dim, output_size); }
Tensor BreadthMethods::repeat_interleave(const Tensor& repeats, std::optional<std::int64_t> dim, std::optional<std::int64_t> output_size) const { return tinytorch::repeat_interleave(tensor_of(this), repeats, dim, output_size); }
std::vector<Tensor> BreadthMethods::tensor_split(const Tensor& tensor_indices_or_sections, std::int64_t dim) const { return tinytorch::tensor_split(tensor_of(this), tensor_indices_or_sections, dim); }
Tensor BreadthMethods::index_put(const List<std::optional<Tensor>>& indices, const Tensor& values, bool accumulate) const { return index_put(indices.vec(), values, accumulate); }
Tensor BreadthMethods::index_fill(std::int64_t dim, const Tensor& index, const Tensor& value) const { return tinytorch::index_fill(tensor_of(this), dim, index, value); }
Tensor& BreadthMethods::index_fill_(std::int64_t dim, const Tensor& index, const Tensor& value) const { return write(this, tinytorch::index_fill(unwritten(this), dim, index, value), value); }

Tensor OverloadMethods::ldexp(const Tensor& other) const { return tinytorch::ldexp(tensor_of(this), other); }
Tensor& OverloadMethods::ldexp_(const Tensor& other) const { return write(this, tinytorch::ldexp(unwritten(this), other), other); }
Tensor OverloadMethods::msort() const { return tinytorch::msort(tensor_of(this)); }
Tensor OverloadMethods::narrow_copy(std::int64_t dim, std::int64_t start, std::int64_t length) const { return tinytorch::narrow_copy(tensor_of(this), dim, start, length); }
Tensor OverloadMethods::put(const Tensor& index, const Tensor& source, bool accumulate) const { return tinytorch::put(tensor_of(this), index, source, accumulate); }
Tensor& OverloadMethods::put_(const Tensor& index, const Tensor& source, bool accumulate) const { return write(this, tinytorch::put(unwritten(this), index, source, accumulate), source); }
Tensor OverloadMethods::renorm(const Scalar& p, std::int64_t dim, const Scalar& maxnorm) const { return tinytorch::renorm(tensor_of(this), p, dim, maxnorm); }
Tensor& OverloadMethods::renorm_(const Scalar& p, std::int64_t dim, const Scalar& maxnorm) const { return write(this, tinytorch::renorm(unwritten(this), p, dim, maxnorm)); }
Tensor OverloadMethods::as_strided_scatter(const Tensor& src, IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset) const { return tinytorch::as_strided_scatter(tensor_of(this), src, size, stride, storage_offset); }
std::vector<Tensor> OverloadMethods::unsafe_chunk(std::int64_t chunks, std::int64_t dim) const { return tinytorch::unsafe_chunk(tensor_of(this), chunks, dim); }
std::vector<Tensor> OverloadMethods::unsafe_split(std::int64_t split_size, std::int64_t dim) const { return tinytorch::unsafe_split(tensor_of(this), split_size, dim); }
Tensor OverloadMethods::new_empty_strided(IntArrayRef size, IntArrayRef stride, const TensorOptions& options) const {
  return empty_strided(size, stride, options.has_dtype() ? options : options.dtype(tensor_of(this).scalar_type()));
}
Tensor OverloadMethods::new_empty_strided(IntArrayRef size, IntArrayRef stride) const { return new_empty_strided(size, stride, TensorOptions()); }
Tensor OverloadMethods::prelu(const Tensor& weight) const { return tinytorch::prelu(tensor_of(this), weight); }
Tensor OverloadMethods::hardshrink(const Scalar& lambd) const { return tinytorch::hardshrink(tensor_of(this), lambd); }

}  // namespace tinytorch
