// From the lesson modules/84_devices/devices_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "tinytorch/core/array_ref.h"

namespace tinytorch {
template <class T>
struct DefaultPtrTraits {
  using PtrType = T*;
};

// Elements of type T in N dimensions, over memory that someone else keeps alive. Source: torch/headeronly/core/TensorAccessor.h.
template <class T, std::size_t N, template <class U> class PtrTraits = DefaultPtrTraits, class index_t = std::int64_t>
class TensorAccessor {
  static_assert(N > 0, "accessor is used for indexing tensor, for scalars use *data_ptr<T>()");

 public:
  using PtrType = typename PtrTraits<T>::PtrType;
  TensorAccessor(PtrType data, const index_t* sizes, const index_t* strides) : data_(data), sizes_(sizes), strides_(strides) {}

  ArrayRef<index_t> sizes() const { return {sizes_, N}; }
  ArrayRef<index_t> strides() const { return {strides_, N}; }
  index_t size(index_t dim) const { return sizes_[dim]; }
  index_t stride(index_t dim) const { return strides_[dim]; }
  PtrType data() const { return data_; }

  // The next dimension's accessor; in the last dimension, the element. REQUIRES: 0 <= i < size(0).
  decltype(auto) operator[](index_t i) const {
    if constexpr (N == 1) return static_cast<T&>(data_[i * strides_[0]]);
    else return TensorAccessor<T, N - 1, PtrTraits, index_t>(data_ + i * strides_[0], sizes_ + 1, strides_ + 1);
  }

 private:
  PtrType data_;
  const index_t* sizes_;
  const index_t* strides_;
};

// The same with its own copy of sizes and strides.
template <class T, std::size_t N, template <class U> class PtrTraits = DefaultPtrTraits, class index_t = std::int64_t>
class GenericPackedTensorAccessor {
 public:
  using PtrType = typename PtrTraits<T>::PtrType;
  template <class S>
  GenericPackedTensorAccessor(PtrType data, const S* sizes, const S* strides) : data_(data) {
    for (std::size_t i = 0; i < N; ++i) {
      sizes_[i] = static_cast<index_t>(sizes[i]);
      strides_[i] = static_cast<index_t>(strides[i]);
    }
  }

  index_t size(index_t dim) const { return sizes_[dim]; }
  index_t stride(index_t dim) const { return strides_[dim]; }
  PtrType data() const { return data_; }
  decltype(auto) operator[](index_t i) const { return TensorAccessor<T, N, PtrTraits, index_t>(data_, sizes_, strides_)[i]; }

 private:
  PtrType data_;
  index_t sizes_[N];
  index_t strides_[N];
};

template <class T, std::size_t N, template <class U> class PtrTraits = DefaultPtrTraits>
using PackedTensorAccessor32 = GenericPackedTensorAccessor<T, N, PtrTraits, std::int32_t>;
template <class T, std::size_t N, template <class U> class PtrTraits = DefaultPtrTraits>
using PackedTensorAccessor64 = GenericPackedTensorAccessor<T, N, PtrTraits, std::int64_t>;
}  // namespace tinytorch
