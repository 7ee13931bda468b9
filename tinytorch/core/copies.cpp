// From the lesson modules/90_operators/operators_dev.cpp:
// edit the module, not this file.

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "tinytorch/core/loops.h"
#include "tinytorch/core/pointwise_ops.h"

namespace tinytorch {

bool same_elements(const Tensor& a, const Tensor& b) {
  return a.is_alias_of(b) && a.scalar_type() == b.scalar_type() && a.storage_offset() == b.storage_offset() && a.sizes() == b.sizes() &&
         a.strides() == b.strides();
}

bool ranges_overlap(const Tensor& a, const Tensor& b) {
  if (!a.is_alias_of(b) || a.numel() == 0 || b.numel() == 0) return false;
  auto end = [](const Tensor& x) {
    std::int64_t last = x.storage_offset();
    for (std::size_t i = 0; i < x.sizes().size(); ++i) last += (x.sizes()[i] - 1) * x.strides()[i];
    return static_cast<std::size_t>(last + 1) * x.element_size();
  };
  auto begin = [](const Tensor& x) { return static_cast<std::size_t>(x.storage_offset()) * x.element_size(); };
  return begin(a) < end(b) && begin(b) < end(a);
}

void check_no_internal_overlap(const Tensor& written) {
  for (std::size_t i = 0; i < written.sizes().size(); ++i)
    TORCH_CHECK(written.strides()[i] != 0 || written.sizes()[i] <= 1,
                "unsupported operation: more than one element of the written-to tensor refers to a single memory location. Please clone() "
                "the tensor before performing the operation.\nsizes ", written.sizes(), ", strides ", written.strides());
}

void check_no_partial_overlap(const Tensor& written, const Tensor& read) {
  if (!written.is_alias_of(read) || same_elements(written, read) || !is_dense(written) || !is_dense(read)) return;
  TORCH_CHECK(!ranges_overlap(written, read), "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory location. "
              "Please clone() the tensor before performing the operation.\nwritten: sizes ", written.sizes(), ", strides ", written.strides(), ", offset ",
              written.storage_offset(), "; read: sizes ", read.sizes(), ", strides ", read.strides(), ", offset ", read.storage_offset());
}

void copy_into(const Tensor& to, const Tensor& from) {
  dispatch_stored_types(to.scalar_type(), [&]<class T>() {
    dispatch_stored_types(from.scalar_type(), [&]<class S>() { map_into<T, S>(to, from, [](S x) { return static_cast<T>(x); }); });
  });
}

namespace {
// A block by a loop, and copies of it: memcpy has the widest stores that the machine knows. Writes only: what new memory holds may not even be a valid bool.
template <class T>
void fill_run(T* out, std::int64_t count, T number) {
  const std::int64_t block = std::min<std::int64_t>(count, 4096 / sizeof(T));
  std::fill_n(out, block, number);
  for (std::int64_t i = block; i < count; i += block) std::memcpy(out + i, out, static_cast<std::size_t>(std::min(block, count - i)) * sizeof(T));
}
}  // namespace

void fill_with(const Tensor& to, const Scalar& value) {
  dispatch_stored_types(to.scalar_type(), [&]<class T>() {
    T* const data = to.data<T>();
    const T number = value.to<T>();
    if (to.is_contiguous()) return fill_run(data, to.numel(), number);
    StridedLoop<1>(to.sizes(), {to.strides()}).run([data, number](const auto& offset, std::int64_t count, const auto& step) {
      T* const out = data + offset[0];
      const std::int64_t apart = step[0];
      for (std::int64_t i = 0; i < count; ++i) out[i * apart] = number;
    });
  });
}

namespace {
// A copy in row order, or in self's own where it has one without gaps.
Tensor copied(const Tensor& self, ScalarType type, bool keeps_order) {
  const Tensor result = keeps_order && is_dense(self) ? empty_beside(self, self.sizes(), type) : empty(self.sizes(), type);
  copy_into(result, self);
  return result;
}

Tensor to_dtype_cpu(const Tensor& self, ScalarType type) { return copied(self, type, true); }
Tensor clone_cpu(const Tensor& self, bool keeps_order) { return copied(self, self.scalar_type(), keeps_order); }

const Tensor& copy_cpu(const Tensor& self, const Tensor& src) {
  const DimVector sizes = infer_size(self.sizes(), src.sizes());
  TORCH_CHECK(IntArrayRef(sizes) == self.sizes(), "output with shape ", self.sizes(), " doesn't match the broadcast shape ", IntArrayRef(sizes));
  if (same_elements(self, src)) return self;
  check_no_internal_overlap(self);
  check_no_partial_overlap(self, src);
  // Views with gaps may still overlap: then the source is copied out first.
  copy_into(self, ranges_overlap(self, src) ? clone_cpu(src, true) : src);
  return self;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, bool)> op::clone("clone", {.cpu = clone_cpu});
constinit Operator<const Tensor&(const Tensor&, const Tensor&)> op::copy_("copy_", {.cpu = copy_cpu});
constinit Operator<Tensor(const Tensor&, ScalarType)> op::to_dtype("to", {.cpu = to_dtype_cpu});

Tensor clone(const Tensor& self) { return op::clone(self, true); }
Tensor in_row_order(const Tensor& self) { return self.is_contiguous() ? self : op::clone(self, false); }
const Tensor& copy_(const Tensor& self, const Tensor& src) { return op::copy_(self, src); }
Tensor to_dtype(const Tensor& self, ScalarType type) { return self.scalar_type() == type ? self : op::to_dtype(self, type); }

namespace {
const Tensor& fill_cpu(const Tensor& self, const Scalar& value) {
  fill_with(self, value);
  return self;
}
}  // namespace
constinit Operator<const Tensor&(const Tensor&, const Scalar&)> op::fill_("fill_", {.cpu = fill_cpu});
const Tensor& fill_(const Tensor& self, const Scalar& value) { return op::fill_(self, value); }

}  // namespace tinytorch
