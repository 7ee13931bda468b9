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
// # Library chapter 84: Where a tensor lives, and what is inside
//
// Two things that programs do around a tensor rather than with it. They say where it shall live and of which type it shall be: `x.to(device)`, `zeros({2}, torch::device(torch::kCPU).dtype(torch::kDouble))`. And they reach
// into it: a loop over its elements through an `accessor`, new sizes for the same tensor with `resize_`, other data under the same handle with `set_data`. And a third thing: a device that the library does not know joins it,
// with memory that the host cannot read.
// Before all that stand the bodies of what module 01 declares: how a storage gets its bytes, which type a tensor has if nobody names one, and how a tensor hands out its elements. No exercises.
//
//     x.to(kCPU, kDouble)          another tensor, or x itself when nothing changes
//     x.accessor<float, 2>()       a[i][j], as fast as the pointer arithmetic it hides
//     x.resize_({5})               the same tensor, with room for five
//     x.set_data(y)                every handle on x now sees y's numbers

// %%
//| after 01
//| export core/accessor.h
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include "tinytorch/core/array_ref.h"
//| export core/device_options.h
#include <iosfwd>
#include <optional>
#include "tinytorch/core/device.h"
#include "tinytorch/core/memory_format.h"
//| export core/device_methods.h
#include <limits>
#include <optional>
#include "tinytorch/core/accessor.h"
#include "tinytorch/core/device.h"
#include "tinytorch/core/memory_format.h"
#include "tinytorch/core/scalar_type.h"

// %% [markdown]
// ## What is added to TensorOptions and to Tensor

// %%
//| export core/device_options.h
//| extends TensorOptions
namespace tinytorch {
class TensorOptions;

// What devices add to TensorOptions: `TensorOptions().device(kCPU).dtype(kLong)`. Source: c10/core/TensorOptions.h.
class DeviceOptions {
 public:
  [[nodiscard]] TensorOptions device(std::optional<Device> device) const;
  [[nodiscard]] TensorOptions device(DeviceType type, DeviceIndex index) const;
  Device device() const { return device_.value_or(Device(DeviceType::CPU)); }
  std::optional<Device> device_opt() const { return device_; }
  DeviceIndex device_index() const { return device().index(); }
  bool has_device() const { return device_.has_value(); }
  // Tensors are strided, and no memory is pinned: anything else is refused here.
  [[nodiscard]] TensorOptions layout(Layout layout) const;
  [[nodiscard]] TensorOptions pinned_memory(bool pinned) const;
  Layout layout() const { return kStrided; }
  bool pinned_memory() const { return false; }
  std::optional<Layout> layout_opt() const { return has_layout_ ? std::optional(kStrided) : std::nullopt; }
  std::optional<bool> pinned_memory_opt() const { return has_pinned_memory_ ? std::optional(false) : std::nullopt; }
  bool has_layout() const { return has_layout_; }
  bool has_pinned_memory() const { return has_pinned_memory_; }
  // What `empty`, the `*_like` functions and `to` lay elements out in; other functions do not ask.
  [[nodiscard]] TensorOptions memory_format(std::optional<MemoryFormat> memory_format) const;
  std::optional<MemoryFormat> memory_format_opt() const { return memory_format_; }
  bool has_memory_format() const { return memory_format_.has_value(); }

 protected:
  void set_device(std::optional<Device> device) { device_ = device; }
  void set_memory_format(std::optional<MemoryFormat> format) { memory_format_ = format; }

 private:
  std::optional<Device> device_;
  std::optional<MemoryFormat> memory_format_;
  bool has_layout_ = false;
  bool has_pinned_memory_ = false;
};

// Options that name one thing only: `zeros({2}, device(kCPU))`.
TensorOptions device(const Device& device);
TensorOptions layout(Layout layout);
TensorOptions memory_format(MemoryFormat memory_format);
// "TensorOptions(dtype=long int, device=cpu (default), ...": what is named, and of the rest what it will be.
std::ostream& operator<<(std::ostream& out, const TensorOptions& options);
}  // namespace tinytorch

// %%
//| export core/accessor.h
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

// %%
//| export core/device_methods.h
//| extends Tensor
namespace tinytorch {
class Storage;
class Tensor;
class TensorOptions;

// Devices, conversion and access. Source: aten/src/ATen/core/TensorBase.h.
class DeviceMethods {
 public:
  Device device() const;  // the CPU, or a device from outside (core/backend.h)
  DeviceIndex get_device() const { return device().index(); }
  bool is_cpu() const { return device().is_cpu(); }
  bool is_cuda() const { return device().is_cuda(); }

  // The tensor with another dtype or on another device, or itself when it is so already (a copy of itself with `copy`). Throws for a device that is not there. O(numel).
  // It lies as `memory_format` says; nothing, or Preserve, keeps the order. `options` may name it instead.
  Tensor to(ScalarType dtype, bool non_blocking = false, bool copy = false, std::optional<MemoryFormat> memory_format = std::nullopt) const;
  Tensor to(TypeMeta dtype, bool non_blocking = false, bool copy = false, std::optional<MemoryFormat> memory_format = std::nullopt) const;
  Tensor to(Device device, ScalarType dtype, bool non_blocking = false, bool copy = false, std::optional<MemoryFormat> memory_format = std::nullopt) const;
  Tensor to(const TensorOptions& options, bool non_blocking = false, bool copy = false, std::optional<MemoryFormat> memory_format = std::nullopt) const;
  Tensor to(const Tensor& other, bool non_blocking = false, bool copy = false, std::optional<MemoryFormat> memory_format = std::nullopt) const;
  Tensor toType(ScalarType dtype) const;
  Tensor type_as(const Tensor& other) const;
  Tensor cpu() const;
  Tensor cuda() const;  // throws: there is none

  MemoryFormat suggest_memory_format() const;  // the one that the strides are in
  Layout layout() const { return kStrided; }
  std::int64_t ndimension() const;
  std::size_t nbytes() const;
  std::size_t itemsize() const;
  std::string toString() const;  // "CPUFloatType"
  Tensor& zero_() const;

  // The elements as a[i][j]: no check of an index, no call. REQUIRES that the tensor outlives the accessor. Throws if the tensor has not N dimensions, or another dtype than T.
  template <class T, std::size_t N>
  TensorAccessor<T, N> accessor() const&;
  template <class T, std::size_t N>
  TensorAccessor<T, N> accessor() && = delete;
  // The same with sizes and strides inside, as kernels for a graphics card want it; with 32 bits the tensor must have fewer than 2^31 elements.
  template <class T, std::size_t N, template <class U> class PtrTraits = DefaultPtrTraits>
  PackedTensorAccessor32<T, N, PtrTraits> packed_accessor32() const&;
  template <class T, std::size_t N, template <class U> class PtrTraits = DefaultPtrTraits>
  PackedTensorAccessor64<T, N, PtrTraits> packed_accessor64() const&;
  template <class T>
  const T* const_data_ptr() const;
  template <class T>
  T* mutable_data_ptr() const;

  // Gives this tensor the sizes `size`, densely, last dimension fastest. What the storage held stays; what is added is uninitialised, and views of it see the same storage. Throws for a tensor that
  // requires gradients, and for memory that someone else owns (from_blob) when it would have to grow. O(bytes that move).
  const Tensor& resize_(IntArrayRef size) const;
  const Tensor& resize_as_(const Tensor& other) const;
  // Lets this tensor, for every handle on it, lie in other memory: in all of `source`, or from element `storage_offset` of it with these sizes and strides (dense without). Its dtype stays; the storage grows
  // when it must. Without a source there are no elements. Throws for a tensor that requires gradients, and for a source tensor of another dtype.
  Tensor& set_() const;
  Tensor& set_(const Storage& source) const;
  Tensor& set_(const Storage& source, std::int64_t storage_offset, IntArrayRef size, IntArrayRef stride = {}) const;
  Tensor& set_(const Tensor& source) const;
  Tensor& set_(const Tensor& source, std::int64_t storage_offset, IntArrayRef size, IntArrayRef stride = {}) const;
  // Puts the data, sizes and dtype of `new_data` under this tensor, for every handle on it. What autograd knows about it stays.
  void set_data(const Tensor& new_data) const;

 private:
  void* checked_data(ScalarType type) const;  // throws if the dtype is another
  IntArrayRef checked_sizes(std::size_t dims) const;  // throws if there are not so many dimensions
  IntArrayRef all_strides() const;
  void check_below_2_31() const;
};

namespace detail {
// Whether a tensor requires gradients. Chapter 83 sets it, when there is an autograd to ask.
using TensorQuestion = bool (*)(const Tensor&);
inline constinit TensorQuestion asks_for_gradients = nullptr;
}
}  // namespace tinytorch

// %%
//| export core/backend.h
#include <cstddef>
#include <string>
#include "tinytorch/core/tensor.h"
//| export core/backend.cpp
#include <atomic>
#include <vector>
#include "tinytorch/core/basic_ops.h"
#include "tinytorch/core/loops.h"
//| export core/storage.cpp
#include <atomic>
#include "tinytorch/core/block_cache.h"
#include "tinytorch/core/error.h"
#include "tinytorch/core/record_function.h"
#include "tinytorch/core/storage.h"
//| export core/tensor_options.cpp
#include <atomic>
#include "tinytorch/core/tensor_options.h"
//| export core/tensor.cpp
#include "tinytorch/core/basic_ops.h"
//| export core/device_options.cpp
#include <ostream>
#include "tinytorch/core/tensor_options.h"
//| export core/device_methods.cpp
#include <cstring>
#include <string>
#include <utility>
#include "tinytorch/core/backend.h"
#include "tinytorch/core/basic_ops.h"
#include "tinytorch/core/layouts.h"
//| export core/layouts.h
#include <optional>
#include "tinytorch/core/basic_ops.h"
#include "tinytorch/core/memory_format.h"
//| export core/layouts.cpp
#include <algorithm>
#include <initializer_list>
#include <string>
#include <utility>
#include <vector>
#include "tinytorch/core/loops.h"

// %%
#include <cstring>
#include <sstream>
#include <vector>
#include "tinytorch/core/backend.h"
#include "tinytorch/core/formatting.h"
#include "tinytorch/core/ops.h"
#include "tinytorch/core/tensor_data.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## The bytes of a storage
//
// A storage of the CPU keeps up to 64 bytes in itself and asks chapter 92 (small blocks) or chapter 70 (large ones) for more; one that is made from a pointer gives it to its deleter. Both kinds are counted where bytes are taken and given back.
//
//     nbytes    <= 64       room_, inside the StorageImpl
//               <= kSmallLimit   memory::allocate_small     lists of this thread
//               larger           memory::allocate_block     kept by the process

// %%
//| export core/storage.cpp
namespace {
std::atomic<std::size_t> live_bytes{0};
std::atomic<std::size_t> peak_bytes{0};
std::atomic<std::size_t> allocation_calls{0};
}  // namespace

MemoryStats memory::stats() { return {live_bytes.load(), peak_bytes.load(), allocation_calls.load()}; }

void memory::reset_peak() { peak_bytes.store(live_bytes.load()); }

// %%
//| export core/storage.cpp
namespace {
void count_taken(std::size_t nbytes) {
  const std::size_t live = memory::add_shared(live_bytes, nbytes, std::memory_order_relaxed) + nbytes;
  std::size_t peak = peak_bytes.load(std::memory_order_relaxed);
  while (live > peak && !peak_bytes.compare_exchange_weak(peak, live)) {
  }
  memory::add_shared(allocation_calls, std::size_t{1}, std::memory_order_relaxed);
  if (RecordObserver* const observer = record_observer.load()) observer->memory(static_cast<std::ptrdiff_t>(nbytes), live);
}

void count_given_back(std::size_t nbytes) {
  const std::size_t live = memory::add_shared(live_bytes, std::size_t{0} - nbytes, std::memory_order_relaxed) - nbytes;
  if (RecordObserver* const observer = record_observer.load()) observer->memory(-static_cast<std::ptrdiff_t>(nbytes), live);
}
}  // namespace

// %%
//| export core/storage.cpp
void StorageImpl::take_bytes(std::size_t nbytes) {
  // Few bytes lie in the object: one block of memory less to ask for. Of others, what was freed a moment ago serves again: small blocks of this thread (chapter 92), larger ones of the process (chapter 70). General memory at a multiple of 64 is slow to get.
  void* data = nullptr;
  if (nbytes > memory::kSmallLimit) data = memory::allocate_block(nbytes);
  else if (nbytes > sizeof room_ || !memory::kKeepsBlocks) data = nbytes == 0 ? nullptr : memory::allocate_small(nbytes);
  else if (nbytes > 0) data = room_;
  TORCH_CHECK(data != nullptr || nbytes == 0, "DefaultCPUAllocator: can't allocate memory: you tried to allocate ", nbytes,
              " bytes. Use smaller tensors or batches, or free some first.");
  data_ = data;
  nbytes_ = nbytes;
  if (nbytes > 0) count_taken(nbytes);
}

void StorageImpl::give_bytes_back(void* data, std::size_t nbytes) noexcept {
  if (data == nullptr) return;
  if (nbytes > memory::kSmallLimit) memory::free_block(data, nbytes);
  else if (data != room_) memory::free_small(data, nbytes);
  count_given_back(nbytes);
}

StorageImpl::StorageImpl(std::size_t nbytes) { take_bytes(nbytes); }

StorageImpl::StorageImpl(void* data, std::size_t nbytes, Deleter deleter, void* context)
    : data_(data), nbytes_(nbytes), deleter_(deleter), context_(context) {}

StorageImpl::~StorageImpl() {
  if (deleter_ != nullptr) {
    deleter_(data_, nbytes_, context_);
  } else {
    give_bytes_back(data_, nbytes_);
  }
}

// %% [markdown]
// ## Options, sizes and elements

// %%
//| export core/tensor_options.cpp
namespace {
std::atomic<ScalarType> default_dtype{ScalarType::Float};
}

TypeMeta get_default_dtype() { return TypeMeta(default_dtype.load(std::memory_order_relaxed)); }

void set_default_dtype(ScalarType type) {
  TORCH_CHECK_TYPE(isFloatingType(type), "only floating-point types are supported as the default type\n[set_default_dtype] got ", type,
                   "; use kFloat or kDouble.");
  default_dtype.store(type, std::memory_order_relaxed);
}

TypeMeta TensorOptions::dtype() const { return TypeMeta(dtype_.value_or(get_default_dtype())); }

// %%
//| export core/tensor.cpp
std::int64_t multiply_unusual_sizes(IntArrayRef sizes) {
  std::int64_t product = 1;
  bool overflow = false;
  bool none = false;
  for (const std::int64_t size : sizes) {
    TORCH_CHECK(size >= 0, "Trying to create tensor with negative dimension ", size, ": ", sizes);
    overflow = __builtin_mul_overflow(product, size, &product) || overflow;
    none = none || size == 0;
  }
  if (none) return 0;
  TORCH_CHECK(!overflow, "Storage size calculation overflowed with sizes=", sizes, "\nThe number of elements does not fit into 64 bits.");
  return product;
}

// %%
//| export core/tensor.cpp
TensorImpl::TensorImpl(Storage where, ScalarType type, LayerSet asked, IntArrayRef shape, IntArrayRef steps, std::int64_t first)
    : storage(std::move(where)), dtype(type), layers(isReducedFloatingType(type) ? asked | Layer::HalfPrecision : asked) {
  set_geometry(shape, steps, first);
}

TensorImpl::TensorImpl(const TensorImpl& same, LayerSet asked)
    : storage(same.storage), sizes(same.sizes), strides(same.strides), offset(same.offset), numel(same.numel), dtype(same.dtype), layers(asked), contiguous(same.contiguous) {}

void TensorImpl::set_geometry(IntArrayRef shape, IntArrayRef steps, std::int64_t first) {
  sizes.assign(shape);
  strides.assign(steps);
  offset = first;
  numel = multiply_sizes(sizes);
  // Dense when every stride is the product of the sizes behind it; a size of 1 may have any stride.
  contiguous = true;
  std::int64_t step = 1;
  for (std::size_t i = sizes.size(); i-- > 0;) {
    if (sizes[i] == 1) continue;
    contiguous = contiguous && strides[i] == step;
    step *= sizes[i];
  }
  contiguous = contiguous || numel == 0;
}

// %%
//| export core/tensor.cpp
std::int64_t wrap_dim(std::int64_t dim, std::int64_t dims) {
  const std::int64_t range = dims == 0 ? 1 : dims;
  TORCH_CHECK_INDEX(dim >= -range && dim < range, "Dimension out of range (expected to be in range of [", -range, ", ", range - 1,
                    "], but got ", dim, ")");
  return dim < 0 ? dim + range : dim;
}

// %%
//| export core/tensor.cpp
Tensor make_tensor(Storage storage, ScalarType type, LayerSet layers, IntArrayRef sizes, IntArrayRef strides, std::int64_t offset) {
  return Tensor(make_intrusive<TensorImpl>(std::move(storage), type, layers, sizes, strides, offset));
}

// %%
//| export core/tensor.cpp
std::int64_t Tensor::size(std::int64_t dim) const {
  TORCH_CHECK_INDEX(this->dim() > 0, "Dimension specified as ", dim, " but tensor has no dimensions");
  return sizes()[static_cast<std::size_t>(wrap_dim(dim, this->dim()))];
}

std::int64_t Tensor::stride(std::int64_t dim) const {
  TORCH_CHECK_INDEX(this->dim() > 0, "Dimension specified as ", dim, " but tensor has no dimensions");
  return strides()[static_cast<std::size_t>(wrap_dim(dim, this->dim()))];
}

// %%
//| export core/tensor.cpp
void* Tensor::data_ptr() const {
  if (is_elsewhere()) fail_read_elsewhere(impl());
  char* const base = static_cast<char*>(storage()->data());
  return base == nullptr ? nullptr : base + static_cast<std::size_t>(storage_offset()) * element_size();
}

Scalar Tensor::item() const {
  TORCH_CHECK(numel() == 1, "a Tensor with ", numel(), " elements cannot be converted to Scalar\n[item] sizes ", sizes(),
              "; select one element first.");
  if (is_elsewhere()) return to_host(*this).item();
  return dispatch_stored_types(scalar_type(), [this]<class T>() { return Scalar(*data<T>()); });
}

TensorOptions Tensor::options() const {
  return TensorOptions(scalar_type()).device(is_elsewhere() ? storage()->device() : Device(DeviceType::CPU)).layout(kStrided);
}

Tensor& Tensor::operator=(const Tensor& other) && { return copy_(other); }
Tensor& Tensor::operator=(Tensor&& other) && { return copy_(other); }
Tensor& Tensor::operator=(const Scalar& value) && { return fill_(value); }

// %% [markdown]
// ## Devices
//
// A device in the options is kept there and asked for when a tensor is made: options for a graphics card may be built, and the first tensor with them is refused with the name of the device. `to` moves to the device, if
// there is such a one, and converts the dtype on the host.

// %%
//| export core/device_options.cpp
TensorOptions DeviceOptions::device(std::optional<Device> device) const {
  TensorOptions changed = static_cast<const TensorOptions&>(*this);
  static_cast<DeviceOptions&>(changed).device_ = device;
  return changed;
}

TensorOptions DeviceOptions::device(DeviceType type, DeviceIndex index) const { return device(Device(type, index)); }

TensorOptions device(const Device& device) { return TensorOptions(device); }

TensorOptions DeviceOptions::layout(Layout layout) const {
  TORCH_CHECK_NOT_IMPLEMENTED(layout == kStrided, "Could not run 'empty' with the layout ", layout, "\n[layout] tensors are strided here.");
  TensorOptions changed = static_cast<const TensorOptions&>(*this);
  static_cast<DeviceOptions&>(changed).has_layout_ = true;
  return changed;
}
TensorOptions DeviceOptions::pinned_memory(bool pinned) const {
  TORCH_CHECK(!pinned, "Cannot pin memory: there is no graphics card to copy it to.");
  TensorOptions changed = static_cast<const TensorOptions&>(*this);
  static_cast<DeviceOptions&>(changed).has_pinned_memory_ = true;
  return changed;
}
TensorOptions DeviceOptions::memory_format(std::optional<MemoryFormat> memory_format) const {
  TensorOptions changed = static_cast<const TensorOptions&>(*this);
  static_cast<DeviceOptions&>(changed).memory_format_ = memory_format;
  return changed;
}
TensorOptions layout(Layout layout) { return TensorOptions().layout(layout); }
TensorOptions memory_format(MemoryFormat memory_format) { return TensorOptions(memory_format); }

std::ostream& operator<<(std::ostream& out, const TensorOptions& options) {
  const auto print = [&out](const char* label, const auto& value, bool named) { out << label << value << (named ? "" : " (default)"); };
  const bool gradients = options.layers().has(Layer::Autograd);
  // Before module 05 options have no requires_grad that could be named.
  const bool names_gradients = [](const auto& all) {
    if constexpr (requires { all.has_requires_grad(); }) return all.has_requires_grad();
    else return false;
  }(options);
  print("TensorOptions(dtype=", options.dtype(), options.has_dtype());
  print(", device=", options.device(), options.has_device());
  print(", layout=", options.layout(), options.has_layout());
  print(", requires_grad=", gradients ? "true" : "false", gradients || names_gradients);
  print(", pinned_memory=", "false", options.has_pinned_memory());
  out << ", memory_format=";
  if (options.has_memory_format()) out << *options.memory_format_opt();
  else out << "(nullopt)";
  return out << ")";
}

// %%
//| export core/layouts.h
// The format that options or an argument name, if one does. Throws if both do.
std::optional<MemoryFormat> format_of(const TensorOptions& options, std::optional<MemoryFormat> memory_format);
// A copy laid out as `memory_format` says; Preserve (or nothing) keeps the strides of a tensor that is dense in some order. O(numel).
Tensor clone(const Tensor& self, std::optional<MemoryFormat> memory_format);

// %%
//| export core/device_methods.cpp
namespace {
const Tensor& tensor_of(const DeviceMethods& methods) { return static_cast<const Tensor&>(methods); }

Tensor converted(const Tensor& self, ScalarType dtype, bool copy, std::optional<MemoryFormat> memory_format) {
  const MemoryFormat format = memory_format.value_or(MemoryFormat::Preserve);
  const bool lies_so = format == MemoryFormat::Preserve || self.suggest_memory_format() == format;  // as PyTorch asks: any strides that are not channels last pass for Contiguous
  if (dtype == self.scalar_type()) return copy || !lies_so ? clone(self, format) : self;
  const Tensor result = to_dtype(self, dtype);
  return format == MemoryFormat::Preserve ? result : result.contiguous(format);
}
}  // namespace

Device DeviceMethods::device() const { return tensor_of(*this).storage()->device(); }

Tensor DeviceMethods::to(ScalarType dtype, bool, bool copy, std::optional<MemoryFormat> memory_format) const { return converted(tensor_of(*this), dtype, copy, memory_format); }
Tensor DeviceMethods::to(TypeMeta dtype, bool, bool copy, std::optional<MemoryFormat> memory_format) const { return converted(tensor_of(*this), dtype, copy, memory_format); }

Tensor DeviceMethods::to(Device device, ScalarType dtype, bool, bool copy, std::optional<MemoryFormat> memory_format) const {
  const Tensor& self = tensor_of(*this);
  if (device.is_cpu() && !self.is_elsewhere()) return converted(self, dtype, copy, memory_format);
  const Tensor result = to_device(self.is_elsewhere() ? self : converted(self, dtype, false, memory_format), device);
  return converted(result, dtype, copy && result.is_same(self), self.is_elsewhere() ? memory_format : std::nullopt);
}

Tensor DeviceMethods::to(const TensorOptions& options, bool, bool copy, std::optional<MemoryFormat> memory_format) const {
  TORCH_CHECK(!options.layers().has(Layer::Autograd), "Operators taking TensorOptions cannot take a TensorOptions with options.requires_grad set as true. This isn't implemented yet.");
  const Tensor& self = tensor_of(*this);
  return to(options.has_device() ? options.device() : device(), options.dtype_opt().value_or(self.scalar_type()), false, copy, format_of(options, memory_format));
}

Tensor DeviceMethods::to(const Tensor& other, bool, bool copy, std::optional<MemoryFormat> memory_format) const { return to(other.device(), other.scalar_type(), false, copy, memory_format); }
Tensor DeviceMethods::toType(ScalarType dtype) const { return to(dtype); }
Tensor DeviceMethods::type_as(const Tensor& other) const { return to(other); }
Tensor DeviceMethods::cpu() const { return to_host(tensor_of(*this)); }

Tensor DeviceMethods::cuda() const {
  require_cpu("cuda", kCUDA);
  return cpu();
}

// %%
//| export core/device_methods.cpp
std::int64_t DeviceMethods::ndimension() const { return tensor_of(*this).dim(); }
std::size_t DeviceMethods::nbytes() const { return static_cast<std::size_t>(tensor_of(*this).numel()) * itemsize(); }
std::size_t DeviceMethods::itemsize() const { return tensor_of(*this).element_size(); }
std::string DeviceMethods::toString() const { return DeviceTypeName(device().type()) + tinytorch::toString(tensor_of(*this).scalar_type()) + "Type"; }
Tensor& DeviceMethods::zero_() const { return tensor_of(*this).fill_(0); }

// %%
TEST_CASE("device, to: another dtype, another device, or the tensor itself") {
  const Tensor x = tensor({1.5, 2.5});
  CHECK_EQ(x.device(), Device(kCPU));
  CHECK(x.is_cpu());
  CHECK_FALSE(x.is_cuda());
  CHECK_EQ(x.to(kLong), tensor({1, 2}));
  CHECK(x.to(kFloat).is_same(x));
  CHECK(x.to(kCPU).is_same(x));
  CHECK(x.to(Device("cpu")).is_same(x));
  CHECK(x.to("cpu").is_same(x));
  CHECK(x.cpu().is_same(x));
  const Tensor copy = x.to(kFloat, false, true);
  CHECK_EQ(copy, x);
  CHECK(!copy.is_alias_of(x));
  CHECK_EQ(x.to(kCPU, kDouble).scalar_type(), kDouble);
  CHECK_EQ(x.to(dtype(kInt).device(kCPU)).scalar_type(), kInt);
  CHECK_EQ(x.to(tensor({1})).scalar_type(), kLong);
  CHECK_EQ(x.to(tensor({1}).dtype()).scalar_type(), kLong);
  CHECK_ERROR(x.to(kCUDA), "Could not run 'to' with arguments from the 'CUDA' backend.\n[to] tensors live on the CPU here, not on cuda");
  CHECK_ERROR(x.to(Device(kCUDA, 1), kFloat), "not on cuda:1");
  CHECK_ERROR(x.cuda(), "Could not run 'cuda'");
  CHECK_ERROR(Tensor().device(), "Expected a proper Tensor");
}

TEST_CASE("TensorOptions: a device is kept, and asked for when a tensor is made") {
  CHECK_EQ(zeros({2}, kCPU), zeros({2}));
  CHECK_EQ(ones({2}, device(kCPU).dtype(kLong)), tensor({1, 1}));
  const TensorOptions options = TensorOptions().dtype(kDouble).device(kCUDA, 1);
  CHECK_EQ(options.device().str(), "cuda:1");
  CHECK_EQ(options.device_index(), 1);
  CHECK(options.has_device());
  CHECK_FALSE(TensorOptions(kFloat).has_device());
  CHECK_FALSE(options.device(std::nullopt).has_device());
  CHECK(TensorOptions("cuda").device().is_cuda());
  CHECK_ERROR(zeros({2}, options), "Could not run 'empty' with arguments from the 'CUDA' backend.");
  CHECK_ERROR(tensor({1, 2}, kCUDA), "use torch::kCPU, and ask torch::cuda::is_available()");
}

TEST_CASE("dtype: prints as a C++ type, and is a ScalarType where one is asked for") {
  std::ostringstream out;
  out << zeros({1}).dtype() << ' ' << zeros({1}, kLong).dtype() << ' ' << zeros({1}, kBFloat16).dtype() << ' ' << zeros({1}).scalar_type();
  CHECK_EQ(out.str(), "float long int c10::BFloat16 Float");
  CHECK(zeros({1}).dtype() == kFloat);
  CHECK(kFloat == zeros({1}).dtype());
  CHECK(zeros({1}).dtype() != zeros({1}, kInt).dtype());
  CHECK_EQ(zeros({2}, tensor({1}).dtype()).scalar_type(), kLong);
  CHECK_EQ(zeros({1}, kDouble).toString(), "CPUDoubleType");
  CHECK_EQ(zeros({3}, kShort).nbytes(), 6);
}

// %% [markdown]
// ## Loops over elements
//
// `x[i][j].item<float>()` makes two tensors to read one number. An accessor keeps pointer, sizes and strides, and each `[i]` moves the pointer: an accessor of N dimensions gives one of N - 1, and the last gives the element.
//
//     auto a = x.accessor<float, 2>();       a        { data, sizes (3, 4), strides (4, 1) }
//     a[2]                                   a[2]     { data + 2 * 4, sizes (4), strides (1) }
//     a[2][1] = 5;                                      data[2 * 4 + 1 * 1]
//
// The dtype and the number of dimensions are checked once, when it is made. (The classes stand at the top of this chapter: the methods of Tensor name them.)

// %%
//| export core/device_methods.h
template <class T, std::size_t N>
TensorAccessor<T, N> DeviceMethods::accessor() const& {
  const IntArrayRef sizes = checked_sizes(N);
  return {static_cast<T*>(checked_data(scalar_type_of<std::remove_const_t<T>>())), sizes.data(), all_strides().data()};
}

template <class T, std::size_t N, template <class U> class PtrTraits>
PackedTensorAccessor32<T, N, PtrTraits> DeviceMethods::packed_accessor32() const& {
  check_below_2_31();
  const IntArrayRef sizes = checked_sizes(N);
  return {static_cast<T*>(checked_data(scalar_type_of<std::remove_const_t<T>>())), sizes.data(), all_strides().data()};
}

template <class T, std::size_t N, template <class U> class PtrTraits>
PackedTensorAccessor64<T, N, PtrTraits> DeviceMethods::packed_accessor64() const& {
  const IntArrayRef sizes = checked_sizes(N);
  return {static_cast<T*>(checked_data(scalar_type_of<std::remove_const_t<T>>())), sizes.data(), all_strides().data()};
}

template <class T>
const T* DeviceMethods::const_data_ptr() const {
  return static_cast<const T*>(checked_data(scalar_type_of<T>()));
}
template <class T>
T* DeviceMethods::mutable_data_ptr() const {
  return static_cast<T*>(checked_data(scalar_type_of<T>()));
}

// %%
//| export core/device_methods.cpp
void* DeviceMethods::checked_data(ScalarType type) const {
  const Tensor& self = tensor_of(*this);
  TORCH_CHECK(self.scalar_type() == type, "expected scalar type ", type, " but found ", self.scalar_type(),
              "\n[accessor] ask for the tensor's own type, or convert with to() first.");
  return self.data_ptr();
}

IntArrayRef DeviceMethods::checked_sizes(std::size_t dims) const {
  const Tensor& self = tensor_of(*this);
  TORCH_CHECK(self.sizes().size() == dims, "TensorAccessor expected ", dims, " dims but tensor has ", self.dim());
  return self.sizes();
}

IntArrayRef DeviceMethods::all_strides() const { return tensor_of(*this).strides(); }

void DeviceMethods::check_below_2_31() const {
  TORCH_CHECK(tensor_of(*this).numel() <= std::numeric_limits<std::int32_t>::max(), "numel needs to be smaller than int32_t max; otherwise, please use packed_accessor64");
}

// %%
TEST_CASE("accessor: reads and writes elements of any layout, checked once") {
  const Tensor x = tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}});
  const Tensor turned = x.t();
  auto a = turned.accessor<float, 2>();
  CHECK_EQ(a.size(0), 3);
  CHECK_EQ(a.stride(0), 1);
  CHECK_EQ(a.sizes(), IntArrayRef({3, 2}));
  CHECK_EQ(a[2][1], 6.0F);
  a[0][1] = 40;
  CHECK_EQ(x, tensor({{1.0, 2.0, 3.0}, {40.0, 5.0, 6.0}}));
  CHECK_EQ((turned.accessor<const float, 2>()[1].data() - x.data_ptr<float>()), 1);
  const auto packed = turned.packed_accessor32<float, 2>();
  CHECK_EQ(packed[2][0], 3.0F);
  CHECK_EQ(packed.stride(1), 3);
  CHECK_EQ(turned.packed_accessor64<float, 2>().size(1), 2);
  CHECK_ERROR((x.accessor<float, 3>()), "TensorAccessor expected 3 dims but tensor has 2");
  CHECK_ERROR((x.accessor<double, 2>()), "expected scalar type Double but found Float");
  CHECK_EQ(*x.const_data_ptr<float>(), 1.0F);
  CHECK_ERROR(x.mutable_data_ptr<std::int64_t>(), "expected scalar type Long but found Float");
}

// %% [markdown]
// ## A device from outside
//
// A framework cannot know every chip. PyTorch keeps one type of device free for whoever builds the next one, `PrivateUse1`, and asks three things of them: a name, an allocator, and copies to and from their memory. Nothing in the framework is
// recompiled, the device's code lies in a library of its own, and from then on `x.to("systolic")` works. Here the three are one class, `Backend`:
//
//     host                                                     device
//     Tensor --> TensorImpl --> DeviceStorage                  its memory
//                sizes          device: systolic:0             +--------------+
//                strides        address: 0x400 ----- no -----> | . . 1.5 2.5  |     copy_to_device, copy_from_device
//                layers         (a number for the host)        +--------------+     are the only ways across
//                  PrivateUse1  the kernels of the device
//                  Elsewhere    nobody reads this on the host
//
// Sizes, strides and offset stay on the host, so views of a device's tensor cost nothing there either. The bytes do not: `data_ptr`, an accessor or a loop of the CPU's kernels end in a sentence, not in a crash or in wrong numbers. An operator is
// found as ever: the tensor asks for `PrivateUse1`, and the operator has a function there or not (chapter 66 says how to give it one). What is between the two is never guessed: no operator copies its arguments to another device on
// its own, because a training step that crosses the bus for each operator is slower than the CPU alone, and nobody sees why.

// %%
//| export core/backend.h
// What a device from outside brings: memory, and copies to and from it. Addresses are the device's; the host does not read through them. Calls come from any thread.
// Source: c10/core/Allocator.h, aten/src/ATen/detail/PrivateUse1HooksInterface.h.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual DeviceIndex device_count() const { return 1; }
  // The address of memory for nbytes > 0. Throws when there is no room.
  virtual void* allocate(std::size_t nbytes, DeviceIndex index) = 0;
  virtual void deallocate(void* address, std::size_t nbytes, DeviceIndex index) noexcept = 0;
  // nbytes > 0. When they return, the copy is done, and everything that was asked of the device before it.
  virtual void copy_to_device(void* address, const void* host, std::size_t nbytes, DeviceIndex index) = 0;
  virtual void copy_from_device(void* host, const void* address, std::size_t nbytes, DeviceIndex index) = 0;
  // An operator without a kernel for the device was computed on the CPU (chapter 66): its arguments came over, its results go back.
  virtual void fell_back(const char* /*operator_name*/) {}
};

// Makes `backend` the one of all devices of type PrivateUse1, and `name` the name of their type. The backend lives as long as the process. Throws if there is one already.
void register_backend(const std::string& name, Backend& backend);
// The backend of a device. Throws if there is no such device.
Backend& backend_of(const char* function, const Device& device);

// A dense tensor without values in the memory of a device from outside. For its kernels.
Tensor empty_on_device(IntArrayRef sizes, ScalarType type, const Device& device);
// Where the first element of a device's tensor lies, in the device's memory. Throws for a tensor of the host.
void* device_address(const Tensor& self);

template <>
inline constexpr bool is_plain_argument<Device> = true;
namespace op {
extern Operator<Tensor(const Tensor&, const Device&)> to_device;
}

// %%
//| export core/backend.cpp
namespace {
std::atomic<Backend*> backend_from_outside{nullptr};

// Bytes in a device's memory. Nothing of them can be read here, and they cannot be resized.
class DeviceStorage : public StorageImpl {
 public:
  DeviceStorage(Backend& backend, std::size_t nbytes, Device device)
      : StorageImpl(nbytes == 0 ? nullptr : backend.allocate(nbytes, device.index()), nbytes, [](void*, std::size_t, void*) {}, nullptr), backend_(backend), device_(device) {}
  ~DeviceStorage() override {
    if (nbytes() > 0) backend_.deallocate(data(), nbytes(), device_.index());
  }
  Device device() const override { return device_; }

 private:
  Backend& backend_;
  Device device_;
};

constexpr LayerSet kLayersElsewhere = LayerSet(Layer::PrivateUse1) | Layer::Elsewhere;

// A device without an index is the first of its type.
Device with_index(const Device& device) { return device.has_index() || device.is_cpu() ? device : Device(device.type(), 0); }

Tensor make_on_device(IntArrayRef sizes, IntArrayRef strides, ScalarType type, const Device& device) {
  const Device there = with_index(device);
  const std::size_t nbytes = static_cast<std::size_t>(multiply_sizes(sizes)) * elementSize(type);
  return make_tensor(Storage(new DeviceStorage(backend_of("empty", there), nbytes, there)), type, kLayersElsewhere | (birth_layers - Layer::TunedCPU), sizes, strides, 0);
}

// Reckoned as a number: it is no pointer of the host's.
void* address_of(const Tensor& self) {
  return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(self.storage()->data()) + static_cast<std::uintptr_t>(self.storage_offset()) * self.element_size());
}

// How many bytes lie between the first element and the end of the last one.
std::size_t span_of(const Tensor& self) {
  if (self.numel() == 0) return 0;
  std::int64_t last = 0;
  for (std::size_t i = 0; i < self.sizes().size(); ++i) last += (self.sizes()[i] - 1) * self.strides()[i];
  return static_cast<std::size_t>(last + 1) * self.element_size();
}

// A tensor of the host with the elements of `self` and its strides; what lies between them comes along.
Tensor mirrored(const Tensor& self) {
  const std::size_t nbytes = span_of(self);
  auto storage = make_intrusive<StorageImpl>(nbytes);
  const Device device = self.storage()->device();
  if (nbytes > 0) backend_of("to", device).copy_from_device(storage->data(), address_of(self), nbytes, device.index());
  return make_tensor(std::move(storage), self.scalar_type(), LayerSet(Layer::CPU) | birth_layers, self.sizes(), self.strides(), 0);
}
}  // namespace

void register_backend(const std::string& name, Backend& backend) {
  register_privateuse1_backend(name);
  Backend* none = nullptr;
  TORCH_CHECK(backend_from_outside.compare_exchange_strong(none, &backend), "a backend is registered for '", name, "' already\n[register_backend] a process has one device from outside.");
}

void require_device(const char* function, const Device& device) {
  if (!device.is_cpu()) backend_of(function, device);
}

Backend& backend_of(const char* function, const Device& device) {
  Backend* const backend = backend_from_outside.load();
  if (!device.is_privateuseone() || backend == nullptr) require_cpu(function, device.is_cpu() ? Device(kPrivateUse1) : device);
  TORCH_CHECK(device.index() < backend->device_count(), "invalid device ordinal\n[", function, "] there is no ", device, "; devices of this type: ", static_cast<int>(backend->device_count()));
  return *backend;
}

Tensor empty_on_device(IntArrayRef sizes, ScalarType type, const Device& device) { return make_on_device(sizes, contiguous_strides(sizes), type, device); }

void* device_address(const Tensor& self) {
  TORCH_CHECK(self.is_elsewhere(), "Expected a tensor on a device, but it is on ", self.storage()->device(), "\n[device_address] move it there with to() first.");
  return address_of(self);
}

// %%
//| export core/backend.cpp
void fail_read_elsewhere(const TensorImpl& tensor) {
  const Device device = tensor.storage->device();
  throw TypeError(str("can't read ", device, " device type tensor on the host. Use Tensor.cpu() to copy the tensor to host memory first.\n[data_ptr] sizes ", IntArrayRef(tensor.sizes), "; its bytes lie in the memory of ", device,
                      ", where a kernel of that device finds them by device_address()."));
}

void fail_no_kernel_elsewhere(const char* name) {
  throw NotImplementedError(str("Could not run '", name, "' with arguments from the '", get_privateuse1_backend(false), "' backend.\n[", name, "] no kernel is registered for ", get_privateuse1_backend(),
                                ": give it one with device_kernel<op::", name, ", ...>(), let the CPU compute it with compute_on_cpu<op::", name, ">(), or bring the arguments over with cpu()."));
}

// %%
//| export core/backend.cpp
namespace {
Tensor host_to_device(const Tensor& self, const Device& device) {
  const Device there = with_index(device);
  Backend& backend = backend_of("to", there);
  const Tensor dense = is_dense(self) ? self : self.contiguous();
  const Tensor result = make_on_device(dense.sizes(), dense.strides(), dense.scalar_type(), there);
  if (dense.numel() > 0) backend.copy_to_device(address_of(result), dense.data_ptr(), dense.nbytes(), there.index());
  return result;
}

Tensor device_to_any(const Tensor& self, const Device& device) {
  const Tensor here = mirrored(self);
  const Tensor dense = is_dense(here) ? here : here.contiguous();
  return device.is_cpu() ? dense : host_to_device(dense, device);
}

// Across devices through the host: self's elements with whatever lies between them come over, are written, and go back.
const Tensor& copy_across(const Tensor& self, const Tensor& src) {
  const ExcludeLayersGuard below(LayerSet(Layer::Autograd) | Layer::InplaceOrView);
  const Tensor from = to_host(src);
  if (!self.is_elsewhere()) return copy_(self, from), self;
  check_no_internal_overlap(self);
  const Device device = self.storage()->device();
  const Tensor here = self.is_contiguous() ? empty(self.sizes(), self.scalar_type()) : mirrored(self);
  copy_(here, from);
  if (const std::size_t nbytes = span_of(self); nbytes > 0) backend_of("copy_", device).copy_to_device(address_of(self), here.storage()->data(), nbytes, device.index());
  return self;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Device&)> op::to_device("_to_copy", {.cpu = host_to_device});

Tensor to_host(const Tensor& self) { return self.is_elsewhere() ? op::to_device(self, kCPU) : self; }
Tensor to_device(const Tensor& self, const Device& device) { return with_index(device) == self.storage()->device() || (device.is_cpu() && !self.is_elsewhere()) ? self : op::to_device(self, device); }

// %% [markdown]
// What any device can do is registered here: its tensors are made, moved, copied and looked at through views. `copy_` between two places brings what differs in type or strides into order on the host, so that the bus carries dense runs of
// bytes; a device that can do better within its own memory puts its own function there.

// %%
//| export core/backend.cpp
//| registers
void register_device_copies() {
  op::to_device.set(Layer::PrivateUse1, device_to_any);
  op::copy_.set(Layer::PrivateUse1, copy_across);
  const auto shared = [](auto&... ops) { (ops.set(Layer::PrivateUse1, ops.function(Layer::CPU)), ...); };
  shared(op::created, op::as_strided, op::view, op::expand, op::select, op::slice);
}

// %%
//| lesson
// A device for the tests. Its addresses are numbers from 64 on, which no host may read through.
class Attic : public Backend {
 public:
  void* allocate(std::size_t nbytes, DeviceIndex) override {
    TORCH_CHECK(used_ + nbytes <= memory_.size(), "the attic is full");
    used_ += (nbytes + 63) / 64 * 64;
    return reinterpret_cast<void*>(used_ - (nbytes + 63) / 64 * 64 + 64);
  }
  void deallocate(void*, std::size_t, DeviceIndex) noexcept override { ++freed; }
  void copy_to_device(void* address, const void* host, std::size_t nbytes, DeviceIndex) override {
    std::memcpy(at(address), host, nbytes);
    bytes_in += nbytes;
  }
  void copy_from_device(void* host, const void* address, std::size_t nbytes, DeviceIndex) override {
    std::memcpy(host, at(address), nbytes);
    bytes_out += nbytes;
  }
  std::size_t bytes_in = 0, bytes_out = 0, freed = 0;

 private:
  std::byte* at(const void* address) { return memory_.data() + (reinterpret_cast<std::size_t>(address) - 64); }
  std::vector<std::byte> memory_ = std::vector<std::byte>(1 << 16);
  std::size_t used_ = 0;
};

Attic& attic() {
  static Attic device;
  [[maybe_unused]] static const bool registered = (register_backend("attic", device), true);
  return device;
}

// %%
TEST_CASE("a device from outside: made there, moved there and back, seen through views") {
  Attic& device = attic();
  CHECK_EQ(Device("attic:0").str(), "attic:0");
  const Tensor x = tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}});
  const std::size_t in = device.bytes_in, out = device.bytes_out;
  const Tensor there = x.to("attic");
  CHECK_EQ(there.device(), Device("attic:0"));
  CHECK(there.is_elsewhere());
  CHECK_EQ(there.toString(), "ATTICFloatType");
  CHECK_EQ(device.bytes_in - in, 24);
  CHECK(there.to("attic:0").is_same(there));
  CHECK_EQ(there.cpu(), x);
  CHECK_EQ(device.bytes_out - out, 24);
  // Views are the host's business, and what crosses is what they show.
  CHECK_EQ(there.select(0, 1).cpu(), tensor({4.0, 5.0, 6.0}));
  CHECK_EQ(device.bytes_out - out, 36);
  CHECK_EQ(there.slice(1, 0, 3, 2).cpu(), tensor({{1.0, 3.0}, {4.0, 6.0}}));
  CHECK_EQ(there.view({3, 2}).select(1, 1).cpu(), tensor({2.0, 4.0, 6.0}));
  CHECK_EQ(there[1][2].item<float>(), 6.0F);
  CHECK_EQ(x.t().to("attic").strides(), IntArrayRef({1, 3}));
  CHECK_EQ(x.t().to("attic").cpu(), x.t());
  CHECK_EQ(there.options().device(), Device("attic:0"));
  CHECK_EQ(full({2}, 7, there.options()).cpu(), tensor({7.0, 7.0}));
  CHECK_EQ(zeros({2}, dtype(kLong).device(Device("attic"))).cpu(), tensor({0, 0}));
  CHECK_EQ(x.to(Device("attic"), kDouble).cpu().scalar_type(), kDouble);
  CHECK_EQ(x.to(there).device(), Device("attic:0"));
  CHECK_EQ(zeros({0, 3}).to("attic").cpu().sizes(), IntArrayRef({0, 3}));
  const std::size_t freed = device.freed;
  { const Tensor gone = x.to("attic"); }
  CHECK_EQ(device.freed - freed, 1);
}

TEST_CASE("a device from outside: copy_ writes across, into views and from other types") {
  attic();
  const Tensor there = zeros({2, 3}, device(Device("attic")));
  there.copy_(tensor({{1, 2, 3}, {4, 5, 6}}));
  CHECK_EQ(there.cpu(), tensor({{1.0, 2.0, 3.0}, {4.0, 5.0, 6.0}}));
  there.slice(1, 0, 3, 2).copy_(tensor({10.0, 30.0}));
  CHECK_EQ(there.cpu(), tensor({{10.0, 2.0, 30.0}, {10.0, 5.0, 30.0}}));
  const Tensor here = zeros({3});
  here.copy_(there.select(0, 1));
  CHECK_EQ(here, tensor({10.0, 5.0, 30.0}));
  there.select(0, 0).copy_(there.select(0, 1));
  CHECK_EQ(there.select(0, 0).cpu(), here);
  CHECK_ERROR(there.copy_(zeros({4})), "The size of tensor a (3) must match the size of tensor b (4)");
}

TEST_CASE("a device from outside: what the host may not do ends in a sentence") {
  attic();
  const Tensor x = ones({2});
  const Tensor there = x.to("attic");
  const std::string sentence = "can't read attic:0 device type tensor on the host. Use Tensor.cpu() to copy the tensor to host memory first.";
  CHECK_ERROR(there.data_ptr(), sentence);
  CHECK_ERROR(there.data_ptr<float>(), sentence);
  CHECK_ERROR(there.data<float>(), sentence);
  CHECK_ERROR((there.accessor<float, 1>()), sentence);
  CHECK_ERROR(op::mul.function(Layer::CPU)(there, there), sentence);
  // Without a kernel nothing runs, whether all arguments lie there or some.
  const std::string no_kernel = "Could not run 'mul' with arguments from the 'ATTIC' backend.\n[mul] no kernel is registered for attic: give it one with device_kernel<op::mul, ...>()";
  CHECK_ERROR(there * there, no_kernel);
  CHECK_ERROR(there * x, no_kernel);
  CHECK_ERROR(x * there, no_kernel);
  CHECK_ERROR(there * 2, no_kernel);
  CHECK_ERROR(x.mul_(there), "Could not run 'mul_' with arguments from the 'ATTIC' backend.");
  CHECK_ERROR(x.to("attic:3"), "invalid device ordinal\n[to] there is no attic:3; devices of this type: 1");
  CHECK_ERROR(there.resize_({100}), "Trying to resize storage that is not resizable");
  CHECK_ERROR(device_address(x), "Expected a tensor on a device, but it is on cpu");
  Attic second;
  CHECK_ERROR(register_backend("attic", second), "a backend is registered for 'attic' already");
  CHECK_ERROR(register_backend("cellar", second), "has already been set! Current backend: attic");
}

// %% [markdown]
// ## The order in memory
//
// `x.contiguous(MemoryFormat::ChannelsLast)` is x itself when its channels are fastest already, and a copy laid out so when not. What is copied stays the same tensor to everyone who asks for elements.
//
// A chain of elementwise operators keeps the order of its operands, or each link would copy from one order into the other. The result's dimensions are sorted by the operands' strides, the first operand's first; a dimension that an operand stretches says nothing.
//
//     x.t() + 1        in the order of x.t(): (3, 2) with strides (1, 3)
//     x.t() + y        of x.t(), the first that has an opinion
//     x[:, ::2] + 1    rows first, without the gaps
//
// Copies keep the order of a tensor without gaps. Convolutions, poolings and norms compute rows and lay the result out as their input was, with the channels last where it has them there. Everything else (products, reductions) gives rows.

// %%
//| export core/layouts.h
// Uninitialised, of self's sizes and strides; in row order where self has gaps.
Tensor empty_as_copied(const Tensor& self, ScalarType type);
// Whether x is images (N, C, H, W) whose channels are last in memory, and which do not lie in rows as well, as those of one channel or one pixel do.
bool has_channels_last(const Tensor& x);
// `result` with its channels last if those of `input` are; otherwise as it is. O(numel) where it copies.
Tensor in_format_of(const Tensor& input, const Tensor& result);

// %%
//| export core/layouts.cpp
namespace {
DimVector strides_in(IntArrayRef sizes, MemoryFormat format) {
  if (format == MemoryFormat::Contiguous) return contiguous_strides(sizes);
  TORCH_CHECK(format != MemoryFormat::Preserve, "unsupported memory format ", format);
  const std::size_t dims = format == MemoryFormat::ChannelsLast ? 4 : 5;
  TORCH_CHECK(sizes.size() == dims, "required rank ", dims, " tensor to use channels_last", dims == 5 ? "_3d" : "", " format");
  return channels_last_strides(sizes);
}

}  // namespace

bool is_dense(const Tensor& self) {
  if (self.is_contiguous()) return true;
  // Sorted by stride, each stride is the product of the sizes before it.
  std::vector<std::pair<std::int64_t, std::int64_t>> dims;
  for (std::size_t i = 0; i < self.sizes().size(); ++i)
    if (self.sizes()[i] != 1) dims.emplace_back(self.strides()[i], self.sizes()[i]);
  std::sort(dims.begin(), dims.end());
  std::int64_t step = 1;
  for (const auto& [stride, size] : dims) {
    if (stride != step) return false;
    step *= size;
  }
  return true;
}

namespace {
Tensor empty_laid_out(IntArrayRef sizes, ScalarType type, const DimVector& strides) {
  const Tensor dense = empty(sizes, type);
  return make_tensor(dense.storage(), type, dense.impl().layers, sizes, strides, 0);
}

// The strides of an operand in the result's sizes; 0 where it is stretched.
DimVector strides_within(const Tensor& operand, IntArrayRef sizes) {
  DimVector strides(sizes.size());
  const std::size_t added = sizes.size() - operand.sizes().size();
  for (std::size_t i = added; i < sizes.size(); ++i) strides[i] = operand.sizes()[i - added] == 1 && sizes[i] != 1 ? 0 : operand.strides()[i - added];
  return strides;
}

// Whether dimension a should be slower than b: 1 yes, -1 no, 0 no operand says. Source: TensorIteratorBase::reorder_dimensions.
int slower(const std::vector<DimVector>& operands, IntArrayRef sizes, std::size_t a, std::size_t b) {
  for (const DimVector& strides : operands) {
    if (strides[a] == 0 || strides[b] == 0) continue;
    if (strides[a] != strides[b]) return strides[a] > strides[b] ? 1 : -1;
    if (sizes[a] > sizes[b]) return 1;
  }
  return 0;
}
}  // namespace

Tensor empty_in_order_of(std::initializer_list<const Tensor*> operands, IntArrayRef sizes, ScalarType type) {
  const Tensor& first = **operands.begin();
  const bool alike = std::all_of(operands.begin(), operands.end(), [&](const Tensor* x) { return x->sizes() == sizes && x->strides() == first.strides(); });
  if (alike && is_dense(first)) return empty_laid_out(sizes, type, DimVector(first.strides()));
  std::vector<DimVector> strides;
  for (const Tensor* operand : operands) strides.push_back(strides_within(*operand, sizes));
  // The dimensions, fastest first: an insertion sort, since not every two can be compared.
  std::vector<std::size_t> order(sizes.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = order.size() - 1 - i;
  for (std::size_t i = 1; i < order.size(); ++i) {
    std::size_t moving = i;
    for (std::size_t other = i; other-- > 0;) {
      const int comparison = slower(strides, sizes, order[other], order[moving]);
      if (comparison < 0) break;
      if (comparison == 0) continue;
      std::swap(order[other], order[moving]);
      moving = other;
    }
  }
  DimVector result(sizes.size());
  std::int64_t step = 1;
  for (const std::size_t d : order) {
    result[d] = step;
    step *= sizes[d];
  }
  return empty_laid_out(sizes, type, result);
}

Tensor empty_as_copied(const Tensor& self, ScalarType type) { return is_dense(self) ? empty_laid_out(self.sizes(), type, DimVector(self.strides())) : empty(self.sizes(), type); }

std::optional<MemoryFormat> format_of(const TensorOptions& options, std::optional<MemoryFormat> memory_format) {
  TORCH_CHECK(!options.has_memory_format() || !memory_format, "Cannot set memory_format both in TensorOptions and explicit argument; please delete the redundant setter.");
  return options.has_memory_format() ? options.memory_format_opt() : memory_format;
}

Tensor empty(IntArrayRef size, const TensorOptions& options, std::optional<MemoryFormat> memory_format) {
  const MemoryFormat format = format_of(options, memory_format).value_or(MemoryFormat::Contiguous);
  return created(empty_laid_out(size, options.dtype(), strides_in(size, format)), options);
}

Tensor clone(const Tensor& self, std::optional<MemoryFormat> memory_format) {
  const MemoryFormat format = memory_format.value_or(MemoryFormat::Preserve);
  if (format == MemoryFormat::Preserve || format == MemoryFormat::Contiguous) return op::clone(self, format == MemoryFormat::Preserve);
  return copy_(empty_laid_out(self.sizes(), self.scalar_type(), strides_in(self.sizes(), format)), self);
}

bool has_channels_last(const Tensor& x) { return x.dim() == 4 && !x.is_contiguous() && x.is_contiguous(MemoryFormat::ChannelsLast); }

Tensor in_format_of(const Tensor& input, const Tensor& result) {
  const MemoryFormat format = input.suggest_memory_format();
  return format == MemoryFormat::Contiguous || result.dim() != input.dim() ? result : result.contiguous(format);
}

bool Tensor::is_contiguous(MemoryFormat memory_format) const {
  if (memory_format == MemoryFormat::Contiguous || memory_format == MemoryFormat::Preserve) return is_contiguous();
  return dim() == (memory_format == MemoryFormat::ChannelsLast ? 4 : 5) && is_channels_last(sizes(), strides());
}
Tensor Tensor::contiguous(MemoryFormat memory_format) const {
  TORCH_CHECK(memory_format != MemoryFormat::Preserve, "preserve memory format is unsupported by the contiguous operator");
  return is_contiguous(memory_format) ? *this : tinytorch::clone(*this, memory_format);
}
Tensor Tensor::clone(std::optional<MemoryFormat> memory_format) const { return tinytorch::clone(*this, memory_format); }

MemoryFormat DeviceMethods::suggest_memory_format() const {
  const Tensor& self = static_cast<const Tensor&>(*this);
  if (self.is_contiguous()) return MemoryFormat::Contiguous;
  if (self.is_contiguous(MemoryFormat::ChannelsLast)) return MemoryFormat::ChannelsLast;
  return self.is_contiguous(MemoryFormat::ChannelsLast3d) ? MemoryFormat::ChannelsLast3d : MemoryFormat::Contiguous;
}

// %%
TEST_CASE("channels last: the same elements in another order of memory") {
  const Tensor x = arange(24).view({2, 3, 2, 2});
  const Tensor y = x.contiguous(MemoryFormat::ChannelsLast);
  CHECK(has_channels_last(y));
  CHECK(!has_channels_last(x));
  CHECK(!has_channels_last(y[0]));
  CHECK(!has_channels_last(y.narrow(1, 0, 1).contiguous(MemoryFormat::ChannelsLast)));
  CHECK_EQ(y.strides(), IntArrayRef({12, 1, 6, 3}));
  CHECK_EQ(y, x);
  CHECK(y.is_contiguous(MemoryFormat::ChannelsLast));
  CHECK_FALSE(y.is_contiguous());
  CHECK(y.contiguous(MemoryFormat::ChannelsLast).is_same(y));
  CHECK_EQ(y.suggest_memory_format(), MemoryFormat::ChannelsLast);
  CHECK_EQ(y.contiguous().strides(), x.strides());
  CHECK_EQ(y.clone(MemoryFormat::Preserve).strides(), y.strides());
  CHECK_EQ(y.clone(MemoryFormat::Contiguous).strides(), x.strides());
  CHECK_EQ(empty({1, 2, 3, 4, 5}, kFloat, MemoryFormat::ChannelsLast3d).strides(), IntArrayRef({120, 1, 40, 10, 2}));
  CHECK_ERROR(x[0].contiguous(MemoryFormat::ChannelsLast), "required rank 4 tensor to use channels_last format");
  CHECK_EQ(ones({2}, TensorOptions().layout(kStrided).dtype(kLong).pinned_memory(false)), ones({2}, kLong));
  // Options name a format for empty and to; zeros does not ask for it.
  const TensorOptions last = memory_format(MemoryFormat::ChannelsLast);
  CHECK_EQ(last.memory_format_opt(), MemoryFormat::ChannelsLast);
  CHECK_FALSE(last.memory_format(std::nullopt).has_memory_format());
  CHECK_EQ(empty({2, 3, 2, 2}, last).strides(), y.strides());
  CHECK_EQ(empty({2, 3, 2, 2}, MemoryFormat::ChannelsLast).strides(), y.strides());
  CHECK_EQ(zeros({2, 3, 2, 2}, last).strides(), x.strides());
  CHECK_EQ(x.to(last.dtype(kFloat)).strides(), y.strides());
  CHECK_EQ(x.to(last), x);
  CHECK(y.to(last).is_same(y));
  CHECK_EQ(y.to(memory_format(MemoryFormat::Contiguous)).strides(), x.strides());
  CHECK_EQ(x.to(kCPU, kFloat, false, false, MemoryFormat::ChannelsLast).strides(), y.strides());
  CHECK_EQ(x.to(y, false, false, MemoryFormat::ChannelsLast).strides(), y.strides());
  // As in PyTorch: strides that are no format pass for Contiguous, unless a copy is made.
  const Tensor t = ones({2, 3}).t();
  CHECK(t.to(kFloat, false, false, MemoryFormat::Contiguous).is_same(t));
  CHECK_EQ(t.to(kFloat, false, true, MemoryFormat::Contiguous).strides(), IntArrayRef({2, 1}));
  CHECK_EQ(t.to(kDouble, false, false, MemoryFormat::Contiguous).strides(), IntArrayRef({2, 1}));
  CHECK_EQ(t.to(kFloat, false, true).strides(), IntArrayRef({1, 3}));
  CHECK_ERROR(x.to(last, false, false, MemoryFormat::ChannelsLast), "Cannot set memory_format both in TensorOptions and explicit argument; please delete the redundant setter.");
  CHECK_ERROR(empty({2}, last), "required rank 4 tensor to use channels_last format");
  CHECK_ERROR(empty({2}, memory_format(MemoryFormat::Preserve)), "unsupported memory format Preserve");
  CHECK_ERROR(TensorOptions().layout(kSparse), "Could not run 'empty' with the layout Sparse");
  CHECK_ERROR(x.contiguous(MemoryFormat::Preserve), "preserve memory format is unsupported by the contiguous operator");
}

TEST_CASE("options print what they name, and what they will be where they name nothing") {
  CHECK_EQ(str(TensorOptions()), "TensorOptions(dtype=float (default), device=cpu (default), layout=Strided (default), requires_grad=false (default), pinned_memory=false (default), memory_format=(nullopt))");
  CHECK_EQ(str(dtype(kLong).device(kCPU).layout(kStrided).pinned_memory(false).memory_format(MemoryFormat::ChannelsLast).layers(Layer::Autograd)),
           "TensorOptions(dtype=long int, device=cpu, layout=Strided, requires_grad=true, pinned_memory=false, memory_format=ChannelsLast)");
  const TensorOptions of_tensor = zeros({2}, kLong).options();
  CHECK_EQ(str(of_tensor), "TensorOptions(dtype=long int, device=cpu, layout=Strided, requires_grad=false (default), pinned_memory=false (default), memory_format=(nullopt))");
  CHECK_EQ(of_tensor.layout_opt(), kStrided);
  CHECK_FALSE(of_tensor.pinned_memory_opt().has_value());
  CHECK_FALSE(TensorOptions().layout_opt().has_value());
  CHECK(get_default_dtype() == kFloat);
  CHECK_EQ(str(get_default_dtype()), "float");
}

TEST_CASE("elementwise results and copies lie as their operands do") {
  const Tensor x = arange(6, kFloat).view({2, 3});
  const Tensor t = x.t();
  CHECK_EQ((t + 1).strides(), IntArrayRef({1, 3}));
  CHECK_EQ(t + 1, (x + 1).t());
  CHECK_EQ((t * t).strides(), IntArrayRef({1, 3}));
  CHECK_EQ((t + ones({3, 2})).strides(), IntArrayRef({1, 3}));
  CHECK_EQ((ones({3, 2}) + t).strides(), IntArrayRef({2, 1}));
  CHECK_EQ((t + ones({2})).strides(), IntArrayRef({1, 3}));  // a row has no opinion about rows
  CHECK_EQ((ones({2}) + t).strides(), IntArrayRef({1, 3}));
  CHECK_EQ(t.clone().strides(), IntArrayRef({1, 3}));
  CHECK_EQ(t.to(kDouble).strides(), IntArrayRef({1, 3}));
  CHECK_EQ(t.clone(MemoryFormat::Contiguous).strides(), IntArrayRef({2, 1}));
  CHECK_EQ(t.contiguous().strides(), IntArrayRef({2, 1}));
  CHECK_EQ(x.slice(1, 0, 3, 2).clone().strides(), IntArrayRef({2, 1}));
  CHECK_EQ((ones({3, 1}).expand({3, 4}) + 1).strides(), IntArrayRef({4, 1}));
  CHECK_EQ(t.reshape({6}), tensor({0.0, 3.0, 1.0, 4.0, 2.0, 5.0}));
}

// %% [markdown]
// ## The same bytes, another type
//
// `x.view(kInt)` reads x's bytes as integers: nothing is copied, and a write goes through. Types of the same size keep sizes and strides. Of a narrower one there are more in the last dimension, whose elements must lie side by side; of a wider one fewer, and the sizes,
// the strides and the beginning must be whole numbers of it. To autograd the result is a tensor without a history, also when x has one; its writes count in x's version.
//
//     x.view(kByte)     float (2, 3)     strides (3, 1)      ->  uint8   (2, 12)   strides (12, 1)
//     x.view(kDouble)   float (2, 4)     strides (4, 1)      ->  float64 (2, 2)    strides (2, 1)

// %%
//| export core/layouts.cpp
Tensor Tensor::view(ScalarType dtype) const {
  const auto from = static_cast<std::int64_t>(element_size());
  const auto to = static_cast<std::int64_t>(elementSize(dtype));
  const std::string which = str("to view ", scalar_type(), " as ", dtype, " (different element sizes)");
  DimVector sizes = impl().sizes;
  DimVector strides = impl().strides;
  std::int64_t offset = storage_offset();
  if (from != to) {
    TORCH_CHECK(dim() > 0, "self.dim() cannot be 0 ", which);
    const std::size_t last = sizes.size() - 1;
    const std::int64_t ratio = from > to ? from / to : to / from;
    const auto check = [&](std::int64_t value, const auto&... name) { TORCH_CHECK(from > to || value % ratio == 0, name..., " must be divisible by ", ratio, " ", which, ", but got ", value); };
    const auto rescale = [&](std::int64_t& value) { value = from > to ? value * ratio : value / ratio; };
    check(sizes[last], "self.size(-1)");
    check(offset, "self.storage_offset()");
    TORCH_CHECK(strides[last] == 1, "self.stride(-1) must be 1 ", which, ", but got ", strides[last]);
    rescale(sizes[last]);
    rescale(offset);
    for (std::size_t i = 0; i < last; ++i) {
      check(strides[i], "self.stride(", i, ")");
      rescale(strides[i]);
    }
  }
  return make_tensor(storage(), dtype, impl().layers - Layer::Autograd - Layer::HalfPrecision, sizes, strides, offset);
}

// %%
TEST_CASE("view(dtype): the same bytes, of narrower and wider types too") {
  const Tensor x = tensor({{1.0, 2.0, 3.0, 4.0}, {5.0, 6.0, 7.0, 8.0}});
  CHECK_EQ(x.view(kInt)[0][0].item<int>(), 0x3F800000);
  CHECK_EQ(x.view(kByte).sizes(), IntArrayRef({2, 16}));
  CHECK_EQ(x.view(kByte).strides(), IntArrayRef({16, 1}));
  CHECK_EQ(x.view(kByte).slice(1, 0, 4)[0], tensor({0, 0, 128, 63}, kByte));
  const Tensor wide = x.slice(1, 2, 4).view(kLong);
  CHECK_EQ(wide.sizes(), IntArrayRef({2, 1}));
  CHECK_EQ(wide.strides(), IntArrayRef({2, 1}));
  CHECK_EQ(wide.storage_offset(), 1);
  CHECK_EQ(wide.view(kFloat), x.slice(1, 2, 4));
  CHECK(wide.is_alias_of(x));
  CHECK_EQ(x.t().view(kInt).strides(), IntArrayRef({1, 4}));
  x.view(kInt)[0][0] = 0;
  CHECK_EQ(x[0][0].item<float>(), 0.0F);
  // A narrow float joins the layer that computes it, and leaves it again.
  CHECK(x.view(kBFloat16).impl().layers.has(Layer::HalfPrecision));
  CHECK_FALSE(x.to(kHalf).view(kShort).impl().layers.has(Layer::HalfPrecision));
  CHECK_ERROR(x.slice(1, 0, 3).view(kLong), "self.size(-1) must be divisible by 2 to view Float as Long (different element sizes), but got 3");
  CHECK_ERROR(x.slice(1, 1, 3).view(kDouble), "self.storage_offset() must be divisible by 2 to view Float as Double (different element sizes), but got 1");
  CHECK_ERROR(x.slice(1, 0, 4, 2).view(kDouble), "self.stride(-1) must be 1 to view Float as Double (different element sizes), but got 2");
  CHECK_ERROR(x.t().view(kShort), "self.stride(-1) must be 1 to view Float as Short (different element sizes), but got 4");
  CHECK_ERROR(x.as_strided({2, 2}, {3, 1}).view(kLong), "self.stride(0) must be divisible by 2 to view Float as Long (different element sizes), but got 3");
  CHECK_ERROR(x[0][0].view(kLong), "self.dim() cannot be 0 to view Float as Long (different element sizes)");
  CHECK_EQ(x[0][1].view(kInt).item<int>(), 0x40000000);
  CHECK_EQ(zeros({0}).view(kLong).sizes(), IntArrayRef({0}));
}

// %% [markdown]
// ## The same tensor, another size
//
// `resize_` is how a tensor that serves as a buffer grows: `out` arguments and readers use it. The storage grows when it must and never shrinks; other tensors on the same storage stay valid, because the storage itself takes new
// memory, not the tensor a new storage. `set_data` goes the other way: the handles stay and the storage changes, which is what conversion of a module does with each parameter. Where the dtype changes, autograd forgets the node that collects the tensor's gradient, since that expects the old one (`torch/csrc/autograd/variable.cpp`, `set_data`).

// %%
//| export core/device_methods.cpp
void StorageImpl::resize(std::size_t nbytes) {
  TORCH_CHECK(deleter_ == nullptr, "Trying to resize storage that is not resizable");
  void* const before = data_;
  const std::size_t nbytes_before = nbytes_;
  take_bytes(nbytes);
  if (data_ != before && data_ != nullptr && before != nullptr) std::memcpy(data_, before, nbytes < nbytes_before ? nbytes : nbytes_before);
  give_bytes_back(before, nbytes_before);
}

const Tensor& DeviceMethods::resize_(IntArrayRef size) const {
  const Tensor& self = tensor_of(*this);
  TensorImpl& impl = self.impl();
  TORCH_CHECK(detail::asks_for_gradients == nullptr || !detail::asks_for_gradients(self),
              "cannot resize variables that require grad\n[resize_] its gradient would have other sizes; resize a detach() of it.");
  const std::int64_t numel = multiply_sizes(size);
  std::int64_t needed = 0;
  TORCH_CHECK(!__builtin_mul_overflow(numel + impl.offset, static_cast<std::int64_t>(self.element_size()), &needed),
              "Storage size calculation overflowed with sizes=", size);
  if (numel > 0 && static_cast<std::size_t>(needed) > impl.storage->nbytes()) impl.storage->resize(static_cast<std::size_t>(needed));
  impl.set_geometry(size, contiguous_strides(size), impl.offset);
  return self;
}

const Tensor& DeviceMethods::resize_as_(const Tensor& other) const { return resize_(other.sizes()); }

Tensor& DeviceMethods::set_(const Storage& source, std::int64_t storage_offset, IntArrayRef size, IntArrayRef stride) const {
  const Tensor& self = tensor_of(*this);
  TensorImpl& impl = self.impl();
  TORCH_CHECK(detail::asks_for_gradients == nullptr || !detail::asks_for_gradients(self),
              "a leaf Variable that requires grad is being used in an in-place operation.\n[set_] it would lose its history with its memory; use a detach() of it.");
  TORCH_CHECK(source->device() == self.device(), "Attempted to set the storage of a tensor on device \"", self.device(), "\" to a storage on different device \"", source->device(), "\".");
  TORCH_CHECK(storage_offset >= 0, "Tensor: invalid storage offset ", storage_offset);
  const std::int64_t numel = multiply_sizes(size);
  const DimVector steps = stride.empty() ? contiguous_strides(size) : DimVector(stride);
  TORCH_CHECK(size.size() == steps.size(), "unequal size length (", size.size(), ") and stride length (", steps.size(), ")");
  std::int64_t last = storage_offset, needed = 0;
  bool fits = true;
  for (std::size_t d = 0; d < size.size() && numel > 0; ++d) {
    std::int64_t reach = 0;
    fits = fits && steps[d] >= 0 && !__builtin_mul_overflow(size[d] - 1, steps[d], &reach) && !__builtin_add_overflow(last, reach, &last);
  }
  fits = fits && !__builtin_mul_overflow(last + 1, static_cast<std::int64_t>(self.element_size()), &needed);
  TORCH_CHECK(fits, "Storage size calculation overflowed with sizes=", size, " and strides=", IntArrayRef(steps));
  if (numel > 0 && static_cast<std::size_t>(needed) > source->nbytes()) source->resize(static_cast<std::size_t>(needed));
  impl.storage = source;
  impl.set_geometry(size, steps, storage_offset);
  return const_cast<Tensor&>(self);
}

Tensor& DeviceMethods::set_() const { return set_(Storage(make_intrusive<StorageImpl>(std::size_t{0})), 0, {0}); }

Tensor& DeviceMethods::set_(const Storage& source) const {
  return set_(source, 0, {static_cast<std::int64_t>(source->nbytes() / static_cast<std::size_t>(tensor_of(*this).element_size()))});
}

Tensor& DeviceMethods::set_(const Tensor& source) const {
  if (&source.impl() == &tensor_of(*this).impl()) return const_cast<Tensor&>(tensor_of(*this));
  return set_(source, source.storage_offset(), source.sizes(), source.strides());
}

Tensor& DeviceMethods::set_(const Tensor& source, std::int64_t storage_offset, IntArrayRef size, IntArrayRef stride) const {
  const Tensor& self = tensor_of(*this);
  TORCH_CHECK(source.scalar_type() == self.scalar_type(), "Could not set tensor of type ", source.dtype().name(), " to a tensor of type ", self.dtype().name());
  return set_(source.storage(), storage_offset, size, stride);
}

void DeviceMethods::set_data(const Tensor& new_data) const {
  TensorImpl& to = tensor_of(*this).impl();
  const TensorImpl& from = new_data.impl();
  if (to.metadata != nullptr && to.dtype != from.dtype) to.metadata->dtype_changes();
  to.storage = from.storage;
  to.dtype = from.dtype;
  const LayerSet history = LayerSet(Layer::Autograd) | Layer::InplaceOrView;
  to.layers = (to.layers & history) | (from.layers - history);
  to.set_geometry(from.sizes, from.strides, from.offset);
}

// %%
TEST_CASE("resize_: the same tensor and storage with other sizes") {
  const Tensor x = arange(6).view({2, 3});
  const Tensor second = x[1];
  x.resize_({3, 4});
  CHECK_EQ(x.sizes(), IntArrayRef({3, 4}));
  CHECK_EQ(x.strides(), IntArrayRef({4, 1}));
  CHECK_EQ(x.flatten().slice(0, 0, 6), arange(6));
  CHECK_EQ(x.storage().nbytes(), 96);
  second[0] = 30;  // still the same memory
  CHECK_EQ(x[0][3].item<int>(), 30);
  x.resize_({2, 2});
  CHECK_EQ(x, tensor({{0, 1}, {2, 30}}));
  CHECK_EQ(x.storage()->nbytes(), 96);
  CHECK_EQ(x.resize_as_(arange(3)).sizes(), IntArrayRef({3}));
  CHECK_EQ(second.resize_({7}).storage()->nbytes(), 96);
  CHECK_EQ(zeros({0}).resize_({}).dim(), 0);
  float memory[] = {1, 2, 3, 4};
  const Tensor lent = from_blob(memory, {4});
  CHECK_EQ(lent.resize_({2}), tensor({1.0, 2.0}));
  CHECK_ERROR(lent.resize_({5}), "Trying to resize storage that is not resizable");
  CHECK_ERROR(x.resize_({-1}), "Trying to create tensor with negative dimension -1");
}

TEST_CASE("set_data: every handle sees the new data") {
  const Tensor x = zeros({2, 2});
  const Tensor handle = x;
  x.set_data(tensor({1, 2, 3}));
  CHECK_EQ(handle, tensor({1, 2, 3}));
  CHECK(handle.is_same(x));
  x.set_data(x.to(kHalf));
  CHECK_EQ(handle.scalar_type(), kHalf);
  CHECK_ERROR(x.set_data(Tensor()), "Expected a proper Tensor");
}

TEST_CASE("set_: the same tensor in other memory") {
  const Tensor numbers = arange(6).to(kFloat);
  const Tensor x = zeros({2, 2});
  const Tensor handle = x, view = x[0];
  CHECK_EQ(x.set_(numbers), numbers);
  CHECK_EQ(handle, numbers);
  CHECK(x.storage().is_alias_of(numbers.storage()));
  CHECK_EQ(view, zeros({2}));  // keeps the memory it had
  CHECK_EQ(x.set_(numbers.t()), numbers);
  CHECK_EQ(x.set_(numbers.storage(), 1, {2, 2}, {2, 1}), tensor({{1.0, 2.0}, {3.0, 4.0}}));
  CHECK_EQ(x.set_(numbers, 2, {3}), tensor({2.0, 3.0, 4.0}));
  CHECK_EQ(zeros({1}, kInt).set_(numbers.storage()).numel(), 6);  // the same bytes, read as another dtype
  CHECK_EQ(zeros({1}, kDouble).set_(numbers.storage()).numel(), 3);
  CHECK_EQ(x.set_(numbers, 4, {4}).storage().nbytes(), 32);  // the storage grows
  CHECK_EQ(x.slice(0, 0, 2), tensor({4.0, 5.0}));
  CHECK_EQ(numbers, arange(6).to(kFloat));
  CHECK_EQ(x.set_().sizes(), IntArrayRef({0}));
  CHECK_ERROR(zeros({2}, kDouble).set_(numbers), "Could not set tensor of type float to a tensor of type double");
  CHECK_ERROR(x.set_(numbers, 2, {3}, {1, 1}), "unequal size length (1) and stride length (2)");
  CHECK_ERROR(x.set_(numbers, -1, {3}, {1}), "Tensor: invalid storage offset -1");
  CHECK_ERROR(x.set_(numbers, 0, {3}, {-1}), "Storage size calculation overflowed with sizes=[3] and strides=[-1]");
  CHECK_ERROR(x.set_(numbers, 0, {-3}, {1}), "Trying to create tensor with negative dimension -3");
  CHECK_EQ(x.numel(), 0);  // nothing of that was half done
}

// %%
}  // namespace tinytorch
