// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.
#pragma once

#include "tinytorch/core/basic_ops.h"
#include "tinytorch/core/function_ref.h"

namespace tinytorch {

// A walk over N operands of one shape, each with its own strides. Dimensions of size 1 are dropped and neighbours that follow
// each other in memory for every operand are merged, so that a contiguous walk of any shape is one loop. Source: aten/src/ATen/TensorIterator.cpp.
template <std::size_t N>
class StridedLoop {
 public:
  using Offsets = std::array<std::int64_t, N>;
  StridedLoop(IntArrayRef sizes, const std::array<IntArrayRef, N>& strides);

  // Calls inner(offsets, count, steps) for each innermost run: element i of operand k is at offsets[k] + i * steps[k].
  // An inner loop copies the steps that it needs: as far as the compiler knows, an int64 that it writes could be one of them.
  using Inner = function_ref<void(const Offsets& offsets, std::int64_t count, const Offsets& steps)>;
  void run(Inner inner) const;

 private:
  bool advance(DimVector& index, Offsets& offsets) const;

  bool empty_ = false;
  DimVector sizes_;                   // outermost first; at least one
  std::array<DimVector, N> strides_;  // of each operand
};

template <std::size_t N>
StridedLoop<N>::StridedLoop(IntArrayRef sizes, const std::array<IntArrayRef, N>& strides) {
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    empty_ = empty_ || sizes[i] == 0;
    if (sizes[i] == 1) continue;
    bool follows = !sizes_.empty();
    for (std::size_t k = 0; follows && k < N; ++k) follows = strides_[k].back() == strides[k][i] * sizes[i];
    if (!follows) sizes_.push_back(1);
    sizes_.back() *= sizes[i];
    for (std::size_t k = 0; k < N; ++k) {
      if (follows) strides_[k].back() = strides[k][i];
      else strides_[k].push_back(strides[k][i]);
    }
  }
  if (sizes_.empty()) {
    sizes_.push_back(1);
    for (DimVector& steps : strides_) steps.push_back(0);
  }
}

// Moves `index`, which counts all dimensions but the innermost, one step on, the last of them first, and with it the offsets of all operands. False when every position has been seen.
// O(N) on average.
template <std::size_t N>
bool StridedLoop<N>::advance(DimVector& index, Offsets& offsets) const {
  for (std::size_t d = index.size(); d-- > 0;) {
    for (std::size_t k = 0; k < N; ++k) offsets[k] += strides_[k][d];
    if (++index[d] < sizes_[d]) return true;
    for (std::size_t k = 0; k < N; ++k) offsets[k] -= strides_[k][d] * sizes_[d];
    index[d] = 0;
  }
  return false;
}

// No allocation up to six dimensions.
template <std::size_t N>
void StridedLoop<N>::run(Inner inner) const {
  if (empty_) return;
  const std::size_t innermost = sizes_.size() - 1;
  Offsets steps{};
  for (std::size_t k = 0; k < N; ++k) steps[k] = strides_[k][innermost];
  DimVector index(innermost);
  Offsets offsets{};
  do inner(offsets, sizes_[innermost], steps);
  while (advance(index, offsets));
}

// The strides of `self` seen in the larger shape `sizes`: 0 where it is stretched. REQUIRES: it broadcasts to `sizes`.
inline DimVector broadcast_strides(const Tensor& self, IntArrayRef sizes) {
  DimVector strides(sizes.size());
  const std::size_t added = sizes.size() - self.sizes().size();
  for (std::size_t i = added; i < sizes.size(); ++i) strides[i] = self.sizes()[i - added] == 1 ? 0 : self.strides()[i - added];
  return strides;
}

// Chapter 84: whether a tensor's elements fill a run of memory, in some order of its dimensions; and an uninitialised tensor of `sizes` in the memory order of `operands`, as PyTorch's TensorIterator chooses it for elementwise results.
bool is_dense(const Tensor& self);
Tensor empty_in_order_of(std::initializer_list<const Tensor*> operands, IntArrayRef sizes, ScalarType type);

// A new result beside its operands: in row order where they are.
inline Tensor empty_beside(const Tensor& a, IntArrayRef sizes, ScalarType type) { return a.is_contiguous() ? empty(sizes, type) : empty_in_order_of({&a}, sizes, type); }
inline Tensor empty_beside(const Tensor& a, const Tensor& b, IntArrayRef sizes, ScalarType type) {
  return a.is_contiguous() && b.is_contiguous() ? empty(sizes, type) : empty_in_order_of({&a, &b}, sizes, type);
}

// Whether x can be read beside `out` without a walk: both dense and of the same sizes and order, or x a single number.
inline bool lies_beside(const Tensor& out, const Tensor& x) {
  if (!out.is_contiguous()) return x.strides() == out.strides() && x.sizes() == out.sizes() && is_dense(out);
  return x.numel() == 1 || (x.is_contiguous() && x.sizes() == out.sizes());
}

// Calls inner for `out` and operands that are stretched to its sizes: once where all lie beside each other.
inline void walk(const Tensor& out, const Tensor& a, StridedLoop<2>::Inner inner) {
  if (lies_beside(out, a)) return inner({}, out.numel(), {1, a.numel() > 1});
  const DimVector a_strides = broadcast_strides(a, out.sizes());
  StridedLoop<2>(out.sizes(), {out.strides(), IntArrayRef(a_strides)}).run(inner);
}
inline void walk(const Tensor& out, const Tensor& a, const Tensor& b, StridedLoop<3>::Inner inner) {
  if (lies_beside(out, a) && lies_beside(out, b)) return inner({}, out.numel(), {1, a.numel() > 1, b.numel() > 1});
  const DimVector a_strides = broadcast_strides(a, out.sizes());
  const DimVector b_strides = broadcast_strides(b, out.sizes());
  StridedLoop<3>(out.sizes(), {out.strides(), IntArrayRef(a_strides), IntArrayRef(b_strides)}).run(inner);
}

// out = f(a), element by element. REQUIRES: the dtypes are Out and A, and `a` broadcasts to out's sizes.
template <class Out, class A, class F>
void map_into(const Tensor& out, const Tensor& a, F f) {
  Out* const to = out.data<Out>();
  const A* const from = a.data<A>();
  if (out.numel() == 1) {  // needs no loop
    *to = static_cast<Out>(f(*from));
    return;
  }
  walk(out, a, [&](const auto& offset, std::int64_t count, const auto& step) {
    Out* o = to + offset[0];
    const A* x = from + offset[1];
    const std::int64_t o_step = step[0], x_step = step[1];
    if (o_step == 1 && x_step == 1) {
      for (std::int64_t i = 0; i < count; ++i) o[i] = static_cast<Out>(f(x[i]));
    } else {
      for (std::int64_t i = 0; i < count; ++i) o[i * o_step] = static_cast<Out>(f(x[i * x_step]));
    }
  });
}

// out = f(a, b), element by element. REQUIRES: the dtypes are Out, A and B, and both broadcast to out's sizes.
template <class Out, class A, class B, class F>
void zip_into(const Tensor& out, const Tensor& a, const Tensor& b, F f) {
  Out* const to = out.data<Out>();
  const A* const left = a.data<A>();
  const B* const right = b.data<B>();
  if (out.numel() == 1) {
    *to = static_cast<Out>(f(*left, *right));
    return;
  }
  walk(out, a, b, [&](const auto& offset, std::int64_t count, const auto& step) {
    Out* o = to + offset[0];
    const A* x = left + offset[1];
    const B* y = right + offset[2];
    const std::int64_t o_step = step[0], x_step = step[1], y_step = step[2];
    if (o_step == 1 && x_step == 1 && y_step == 1) {
      for (std::int64_t i = 0; i < count; ++i) o[i] = static_cast<Out>(f(x[i], y[i]));
    } else {
      for (std::int64_t i = 0; i < count; ++i) o[i * o_step] = static_cast<Out>(f(x[i * x_step], y[i * y_step]));
    }
  });
}

// The kernels behind copy_ and fill_, for other kernels: they write into a tensor without a call through the dispatcher, so that a
// result is not counted as changed in place before anyone has seen it.
void copy_into(const Tensor& to, const Tensor& from);  // converts; REQUIRES: `from` broadcasts to to's sizes, and they do not overlap
void fill_with(const Tensor& to, const Scalar& value);

// Whether both are the same elements in the same order, so that reading one while writing the other is safe.
bool same_elements(const Tensor& a, const Tensor& b);
// Whether the memory between their first and last elements overlaps.
bool ranges_overlap(const Tensor& a, const Tensor& b);
// Refuses to write into a tensor in which several indices are one element, as in the result of expand().
void check_no_internal_overlap(const Tensor& written);
// Refuses to write into some elements of a tensor that is read, but not into the very same ones. As in PyTorch, only of tensors without gaps:
// of others the ranges may overlap and the elements not.
void check_no_partial_overlap(const Tensor& written, const Tensor& read);

// f(self) for floating-point functions: integers are converted to the default dtype first.
template <class F>
Tensor map_floating(const char* name, const Tensor& self, F f) {
  const Tensor input = self.is_floating_point() ? self : to_dtype(self, get_default_dtype());
  const Tensor result = empty_beside(input, input.sizes(), input.scalar_type());
  dispatch_floating_types(input.scalar_type(), name, [&]<class T>() { map_into<T, T>(result, input, f); });
  return result;
}

// `self` in `type`: itself, or a copy that `converted` then owns.
inline const Tensor& in_type(const Tensor& self, ScalarType type, Tensor& converted) {
  return self.scalar_type() == type ? self : converted = to_dtype(self, type);
}

// f(self, other) computed in `type`.
template <class F>
Tensor zip_as(const Tensor& self, const Tensor& other, ScalarType type, F f) {
  const bool same_sizes = self.sizes() == other.sizes();
  const Tensor result = same_sizes ? empty_beside(self, other, self.sizes(), type) : empty_beside(self, other, infer_size(self.sizes(), other.sizes()), type);
  Tensor converted_self, converted_other;
  const Tensor& a = in_type(self, type, converted_self);
  const Tensor& b = in_type(other, type, converted_other);
  dispatch_all_types(type, [&]<class T>() { zip_into<T, T, T>(result, a, b, f); });
  return result;
}

// Marks the dimensions to reduce; an empty list means all. Throws for a dimension out of range or named twice.
inline std::vector<bool> reduction_mask(const Tensor& self, IntArrayRef dims) {
  std::vector<bool> mask(self.sizes().size(), dims.empty());
  for (std::size_t i = 0; i < dims.size(); ++i) {
    const auto d = static_cast<std::size_t>(wrap_dim(dims[i], self.dim()));
    TORCH_CHECK(mask.empty() ? i == 0 : !mask[d], "dim ", d, " appears multiple times in the list of dims");
    if (!mask.empty()) mask[d] = true;
  }
  return mask;
}

// The sizes that remain: 1 for a reduced dimension with keepdim, else without it.
inline DimVector reduced_sizes(IntArrayRef sizes, const std::vector<bool>& mask, bool keepdim) {
  DimVector result;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (!mask[i]) result.push_back(sizes[i]);
    else if (keepdim) result.push_back(1);
  }
  return result;
}

// Folds `self` (elements of type T) over the masked dimensions into accumulators of type Acc that begin with `init`:
// acc = f(acc, x). The accumulator has stride 0 along the reduced dimensions, so one strided walk does it.
template <class Acc, class T, class F>
Tensor fold(const Tensor& self, const std::vector<bool>& mask, bool keepdim, Acc init, F f) {
  const Tensor acc = full(reduced_sizes(self.sizes(), mask, keepdim), init, scalar_type_of<Acc>());
  const DimVector kept_strides = contiguous_strides(reduced_sizes(self.sizes(), mask, true));
  DimVector acc_strides(mask.size());
  for (std::size_t i = 0; i < mask.size(); ++i) acc_strides[i] = mask[i] ? 0 : kept_strides[i];
  const StridedLoop<2> loop(self.sizes(), {IntArrayRef(acc_strides), self.strides()});
  Acc* const to = acc.data<Acc>();
  const T* const from = self.data<T>();
  loop.run([&](const auto& offset, std::int64_t count, const auto& step) {
    Acc* a = to + offset[0];
    const T* x = from + offset[1];
    const std::int64_t a_step = step[0], x_step = step[1];
    if (a_step == 0) {
      Acc total = *a;
      for (std::int64_t i = 0; i < count; ++i) total = f(total, x[i * x_step]);
      *a = total;
    } else {
      for (std::int64_t i = 0; i < count; ++i) a[i * a_step] = f(a[i * a_step], x[i * x_step]);
    }
  });
  return acc;
}

}  // namespace tinytorch
