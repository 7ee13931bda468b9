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
// # Module 01: Tensor
//
// A tensor is a block of memory and a recipe for reading it. Nearly everything that makes frameworks fast or surprising follows from keeping the two apart: a transpose that moves nothing, a
// sum of a matrix and a vector that copies nothing, a write through a slice that changes the original. Here we build both, and the dispatcher through which every operation of this course will pass.
//
//     x = arange(6).view({2, 3})        what you see          what is in memory
//                                         0  1  2             [ 0 | 1 | 2 | 3 | 4 | 5 ]
//     sizes (2, 3), strides (3, 1)        3  4  5               ^       ^
//                                                               |       +-- x[0][2]
//     x.t(): sizes (3, 2), strides (1, 3): the same memory      +-- x[0][0]
//
// **Objectives.** After this module you can
//
// - compute where an element lies from sizes, strides and offset, and say which operations move no data;
// - implement views, broadcasting and type promotion by PyTorch's rules, and predict which `view` must fail;
// - build a dispatcher, and explain why an operator is a table rather than a function;
// - measure what a view saves, what a stride costs, and what the order of three loops does to a matrix product.
//
// **Where it sits.** Module 00 gave errors and measurements. Everything after this module is made of tensors; module 05 adds gradients to these operators without changing a line here.
//
// **Prerequisites.** Module 00; C++ templates; what a cache line is.

// %%
//| export core/array_ref.h
#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <ostream>
#include <vector>
#include "tinytorch/core/error.h"
//| export core/intrusive_ptr.h
#include <atomic>
#include <cstdint>
#include <utility>
//| export core/scalar_type.h
#include <cstdint>
#include <ostream>
#include <type_traits>
#include "tinytorch/core/error.h"
//| export core/scalar.h
#include <cmath>
#include <concepts>
#include <limits>
#include "tinytorch/core/scalar_type.h"
//| export core/storage.h
#include <cstddef>
#include "tinytorch/core/intrusive_ptr.h"
//| export core/storage.cpp
#include <cstdlib>
#include <new>
#include "tinytorch/core/error.h"
//| export core/dispatch.h
#include <bit>
#include <optional>
#include <string_view>
#include "tinytorch/core/array_ref.h"
#include "tinytorch/core/scalar.h"
//| export core/tensor_options.h
#include "tinytorch/core/dispatch.h"
#include "tinytorch/core/options_extensions.h"
//| export core/tensor_impl.h
#include "tinytorch/core/array_ref.h"
#include "tinytorch/core/dispatch.h"
#include "tinytorch/core/storage.h"
//| export core/tensor.h
#include <tuple>
#include "tinytorch/core/tensor_extensions.h"
#include "tinytorch/core/tensor_impl.h"
#include "tinytorch/core/tensor_options.h"
//| export core/ops.h
#include "tinytorch/core/tensor.h"
//| export core/tensor_data.h
#include <functional>
#include <vector>
#include "tinytorch/core/ops.h"
//| export core/loops.h
#include <algorithm>
#include <cmath>
#include "tinytorch/core/ops.h"
//| export core/tensor.cpp
#include "tinytorch/core/ops.h"
//| export core/creation.cpp
#include <cmath>
#include <cstring>
#include "tinytorch/core/loops.h"
#include "tinytorch/core/ops.h"
//| export core/views.cpp
#include <algorithm>
#include "tinytorch/core/ops.h"
//| export core/pointwise.cpp
#include <cmath>
#include "tinytorch/core/loops.h"
#include "tinytorch/core/ops.h"
//| export core/comparison.cpp
#include <cmath>
#include "tinytorch/core/loops.h"
#include "tinytorch/core/ops.h"
//| export core/reductions.cpp
#include <cmath>
#include <limits>
#include "tinytorch/core/loops.h"
#include "tinytorch/core/ops.h"
//| export core/matmul.cpp
#include "tinytorch/core/loops.h"
#include "tinytorch/core/ops.h"

// %%
#include <cstdio>
#include "tinytorch/core/utils.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Part 1: Foundations
//
// A tensor of d dimensions is a function from indices to numbers. With sizes n and strides s it lies in memory so that
//
//     position(i1, ..., id) = offset + i1 * s1 + ... + id * sd          0 <= ik < nk
//
// Reading one element costs O(d). Changing sizes, strides or offset costs O(d) too, and gives another tensor over the same memory: a *view*. Copying costs O(n1 * ... * nd). This is the
// whole reason for strides.
//
// ### Lists of sizes
//
// Sizes travel as `IntArrayRef`, which points to integers that someone else owns, and are kept in `DimVector`, which holds up to five inside itself. A heap allocation for each would cost more than a small addition.
//
//     IntArrayRef   [pointer | length] ----> 2 3 4        to pass
//     DimVector     [2 3 4 . . | length]                  to keep: up to five inside
//     DimVector     [pointer   | length] ----> 2 3 4 5 6 7   more on the heap

// %%
//| export core/array_ref.h
// A view of `size()` consecutive elements that someone else owns: pointer and length. Like PyTorch's c10::ArrayRef it
// converts from one element, braces, std::vector and std::array, so that `sum(0)`, `sum({0, 1})` and `view(sizes)` all work.
// The elements must outlive it: use it for parameters, never to keep.
template <class T>
class ArrayRef {
 public:
  using value_type = T;
  constexpr ArrayRef() = default;
  constexpr ArrayRef(const T& one) : data_(&one), size_(1) {}
  constexpr ArrayRef(const T* data, std::size_t size) : data_(data), size_(size) {}
  constexpr ArrayRef(std::initializer_list<T> list) : size_(list.size()) {
    if (size_ > 0) data_ = list.begin();
  }
  ArrayRef(const std::vector<T>& values) : data_(values.data()), size_(values.size()) {}
  template <std::size_t N>
  constexpr ArrayRef(const std::array<T, N>& values) : data_(values.data()), size_(N) {}

  constexpr const T* begin() const { return data_; }
  constexpr const T* end() const { return data_ + size_; }
  constexpr const T* data() const { return data_; }
  constexpr std::size_t size() const { return size_; }
  constexpr bool empty() const { return size_ == 0; }
  constexpr const T& operator[](std::size_t i) const { return data_[i]; }
  constexpr const T& front() const { return data_[0]; }
  constexpr const T& back() const { return data_[size_ - 1]; }
  std::vector<T> vec() const { return std::vector<T>(begin(), end()); }

  friend bool operator==(ArrayRef a, ArrayRef b) {
    if (a.size_ != b.size_) return false;
    for (std::size_t i = 0; i < a.size_; ++i)
      if (!(a.data_[i] == b.data_[i])) return false;
    return true;
  }
  // Prints as PyTorch does: [3, 4].
  friend std::ostream& operator<<(std::ostream& out, ArrayRef list) {
    out << '[';
    for (std::size_t i = 0; i < list.size_; ++i) out << (i == 0 ? "" : ", ") << list.data_[i];
    return out << ']';
  }

 private:
  const T* data_ = nullptr;
  std::size_t size_ = 0;
};

using IntArrayRef = ArrayRef<std::int64_t>;

// %%
//| export core/array_ref.h
// A growable list of sizes or strides that keeps up to five of them inside itself, so that making a tensor of up to
// five dimensions costs no extra allocation. Source: c10/core/impl/SizesAndStrides.h.
class DimVector {
 public:
  DimVector() = default;
  explicit DimVector(std::size_t count, std::int64_t value = 0) { resize(count, value); }
  DimVector(IntArrayRef values) { assign(values); }
  DimVector(std::initializer_list<std::int64_t> values) { assign(values); }
  DimVector(const DimVector& other) { assign(other); }
  DimVector(DimVector&& other) noexcept { swap(other); }
  DimVector& operator=(const DimVector& other) {
    if (this != &other) assign(other);
    return *this;
  }
  DimVector& operator=(DimVector&& other) noexcept {
    swap(other);
    return *this;
  }
  ~DimVector() = default;

  std::int64_t* begin() { return data(); }
  std::int64_t* end() { return data() + size_; }
  const std::int64_t* begin() const { return data(); }
  const std::int64_t* end() const { return data() + size_; }
  std::int64_t* data() { return heap_ ? heap_.get() : inline_; }
  const std::int64_t* data() const { return heap_ ? heap_.get() : inline_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::int64_t& operator[](std::size_t i) { return data()[i]; }
  std::int64_t operator[](std::size_t i) const { return data()[i]; }
  std::int64_t& back() { return data()[size_ - 1]; }
  operator IntArrayRef() const { return {data(), size_}; }

  void resize(std::size_t count, std::int64_t value = 0);
  void push_back(std::int64_t value) { resize(size_ + 1, value); }
  void insert(std::size_t position, std::int64_t value);
  void erase(std::size_t position);

 private:
  void assign(IntArrayRef values) {
    resize(values.size());
    for (std::size_t i = 0; i < size_; ++i) data()[i] = values[i];
  }
  void swap(DimVector& other) noexcept {
    std::swap(heap_, other.heap_);
    std::swap(inline_, other.inline_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

  static constexpr std::size_t kInline = 5;
  std::unique_ptr<std::int64_t[]> heap_;
  std::int64_t inline_[kInline] = {};
  std::size_t size_ = 0;
  std::size_t capacity_ = kInline;
};

// %%
//| export core/array_ref.h
// Makes the list `count` long; new elements are `value`.
inline void DimVector::resize(std::size_t count, std::int64_t value) {
  if (count > capacity_) {
    const std::size_t capacity = count > 2 * capacity_ ? count : 2 * capacity_;
    auto grown = std::make_unique<std::int64_t[]>(capacity);
    for (std::size_t i = 0; i < size_; ++i) grown[i] = data()[i];
    heap_ = std::move(grown);
    capacity_ = capacity;
  }
  for (std::size_t i = size_; i < count; ++i) data()[i] = value;
  size_ = count;
}

// %%
//| export core/array_ref.h
inline void DimVector::insert(std::size_t position, std::int64_t value) {
  resize(size_ + 1);
  for (std::size_t i = size_ - 1; i > position; --i) data()[i] = data()[i - 1];
  data()[position] = value;
}

// %%
//| export core/array_ref.h
inline void DimVector::erase(std::size_t position) {
  for (std::size_t i = position; i + 1 < size_; ++i) data()[i] = data()[i + 1];
  --size_;
}

// %%
TEST_CASE("DimVector: five sizes inside, more on the heap") {
  DimVector sizes{2, 3};
  sizes.insert(1, 7);
  CHECK_EQ(IntArrayRef(sizes), IntArrayRef({2, 7, 3}));
  for (std::int64_t i = 0; i < 6; ++i) sizes.push_back(i);
  CHECK_EQ(IntArrayRef(sizes), IntArrayRef({2, 7, 3, 0, 1, 2, 3, 4, 5}));
  const DimVector copy = sizes;
  sizes.erase(0);
  CHECK_EQ(copy.size(), 9);
  CHECK_EQ(sizes[0], 7);
}

// %% [markdown]
// ### Who owns the bytes
//
// Several tensors share one storage, so someone must know when the last has gone. The object carries its own count of owners, which makes a handle one pointer wide; `std::shared_ptr` is two wide and keeps its count elsewhere.
// The count must be atomic, because tensors travel between threads.
//
//     Tensor x ---+                                     +--> bytes (64-byte aligned)
//                 +--> TensorImpl (2 owners) ---+       |
//     Tensor y ---+                             +--> StorageImpl (2 owners)
//     Tensor x.t() ---> TensorImpl (1 owner) ---+
//
// The allocator counts as well: bytes held now, their peak, and calls. From here on no lesson needs to guess what something costs in memory.

// %%
//| export core/intrusive_ptr.h
// Base class of objects that count their owners themselves. Source: c10/util/intrusive_ptr.h.
class RefCounted {
 public:
  RefCounted() = default;
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;
  virtual ~RefCounted() = default;
  std::uint32_t use_count() const { return count_.load(std::memory_order_acquire); }

 private:
  template <class T>
  friend class intrusive_ptr;
  std::atomic<std::uint32_t> count_{0};
};

// %%
//| export core/intrusive_ptr.h
// A shared owner of a RefCounted object: one pointer wide, because the count lives in the object.
// Copies are thread-safe as std::shared_ptr's are; one handle must not be changed by two threads at once.
template <class T>
class intrusive_ptr {
 public:
  intrusive_ptr() = default;
  explicit intrusive_ptr(T* object) : object_(object) { retain(); }
  intrusive_ptr(const intrusive_ptr& other) : object_(other.object_) { retain(); }
  intrusive_ptr(intrusive_ptr&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  intrusive_ptr& operator=(const intrusive_ptr& other) {
    intrusive_ptr(other).swap(*this);
    return *this;
  }
  intrusive_ptr& operator=(intrusive_ptr&& other) noexcept {
    intrusive_ptr(std::move(other)).swap(*this);
    return *this;
  }
  ~intrusive_ptr() { release(); }

  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }
  void reset() { intrusive_ptr().swap(*this); }
  void swap(intrusive_ptr& other) noexcept { std::swap(object_, other.object_); }

 private:
  void retain();
  void release();
  T* object_ = nullptr;
};

// %%
//| export core/intrusive_ptr.h
// One owner more. The increment needs no ordering: whoever copies a handle already sees the object.
template <class T>
void intrusive_ptr<T>::retain() {
  if (object_ != nullptr) object_->count_.fetch_add(1, std::memory_order_relaxed);
}

// %%
//| export core/intrusive_ptr.h
// One owner less; the last one deletes. Acquire-release makes all writes of other owners visible to the destructor.
template <class T>
void intrusive_ptr<T>::release() {
  if (object_ != nullptr && object_->count_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete object_;
  object_ = nullptr;
}

// %%
//| export core/intrusive_ptr.h
template <class T, class... Args>
intrusive_ptr<T> make_intrusive(Args&&... args) {
  return intrusive_ptr<T>(new T(std::forward<Args>(args)...));
}

// %%
//| export core/storage.h
// What the allocator has done so far, in bytes and calls. The process shares one set of counters.
struct MemoryStats {
  std::size_t live = 0;         // bytes held now
  std::size_t peak = 0;         // the most bytes held at one time since reset_peak()
  std::size_t allocations = 0;  // calls that took memory
};

namespace memory {
MemoryStats stats();
void reset_peak();
}  // namespace memory

// %%
//| export core/storage.h
// A run of bytes with an owner count: what views share. `version` counts writes in place; it is opaque to this module.
// Source: c10/core/StorageImpl.h.
class StorageImpl : public RefCounted {
 public:
  using Deleter = void (*)(void* data, std::size_t nbytes, void* context);
  explicit StorageImpl(std::size_t nbytes);
  StorageImpl(void* data, std::size_t nbytes, Deleter deleter, void* context);
  ~StorageImpl() override;

  void* data() const { return data_; }
  std::size_t nbytes() const { return nbytes_; }
  std::atomic<std::uint32_t> version{0};

 private:
  void* data_;
  std::size_t nbytes_;
  Deleter deleter_ = nullptr;
  void* context_ = nullptr;
};

using Storage = intrusive_ptr<StorageImpl>;

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
constexpr std::align_val_t kAlignment{64};  // a cache line, and the widest vector register

void* allocate_bytes(std::size_t nbytes) {
  if (nbytes == 0) return nullptr;
  void* data = ::operator new(nbytes, kAlignment, std::nothrow);
  TORCH_CHECK(data != nullptr, "DefaultCPUAllocator: can't allocate memory: you tried to allocate ", nbytes,
              " bytes. Use smaller tensors or batches, or free some first.");
  const std::size_t live = live_bytes.fetch_add(nbytes) + nbytes;
  std::size_t peak = peak_bytes.load();
  while (live > peak && !peak_bytes.compare_exchange_weak(peak, live)) {
  }
  allocation_calls.fetch_add(1);
  return data;
}

void free_bytes(void* data, std::size_t nbytes) {
  if (data == nullptr) return;
  ::operator delete(data, kAlignment);
  live_bytes.fetch_sub(nbytes);
}
}  // namespace

// %%
//| export core/storage.cpp
StorageImpl::StorageImpl(std::size_t nbytes) : data_(allocate_bytes(nbytes)), nbytes_(nbytes) {}

StorageImpl::StorageImpl(void* data, std::size_t nbytes, Deleter deleter, void* context)
    : data_(data), nbytes_(nbytes), deleter_(deleter), context_(context) {}

StorageImpl::~StorageImpl() {
  if (deleter_ != nullptr) {
    deleter_(data_, nbytes_, context_);
  } else {
    free_bytes(data_, nbytes_);
  }
}

// %%
TEST_CASE("storage: the allocator counts live bytes, the peak and the calls") {
  const MemoryStats before = memory::stats();
  {
    const Storage storage = make_intrusive<StorageImpl>(4096);
    const Storage other = storage;
    CHECK_EQ(storage->use_count(), 2);
    CHECK_EQ(memory::stats().live, before.live + 4096);
    CHECK_EQ(memory::stats().allocations, before.allocations + 1);
    CHECK_EQ(reinterpret_cast<std::uintptr_t>(storage->data()) % 64, 0);
  }
  CHECK_EQ(memory::stats().live, before.live);
}

// %% [markdown]
// ### Element types and promotion
//
// What is the type of `int64 + float32`? PyTorch orders types in three categories, and the higher category wins; within one, the wider type.
//
//     bool   <   uint8  int8  int16  int32  int64   <   float32  float64
//     ------     ---------------------------------      ----------------
//     category 0          category 1                      category 2
//
// So `int64 + float32` is `float32`: models compute in float32, and one integer tensor must not double their memory.

// %%
//| export core/scalar_type.h
// The element types. The order is part of the promotion rules: within a category the later, wider type wins.
enum class ScalarType : std::uint8_t { Bool, Byte, Char, Short, Int, Long, Float, Double };

inline constexpr ScalarType kBool = ScalarType::Bool;
inline constexpr ScalarType kUInt8 = ScalarType::Byte;
inline constexpr ScalarType kByte = ScalarType::Byte;
inline constexpr ScalarType kInt8 = ScalarType::Char;
inline constexpr ScalarType kChar = ScalarType::Char;
inline constexpr ScalarType kInt16 = ScalarType::Short;
inline constexpr ScalarType kShort = ScalarType::Short;
inline constexpr ScalarType kInt32 = ScalarType::Int;
inline constexpr ScalarType kInt = ScalarType::Int;
inline constexpr ScalarType kInt64 = ScalarType::Long;
inline constexpr ScalarType kLong = ScalarType::Long;
inline constexpr ScalarType kFloat32 = ScalarType::Float;
inline constexpr ScalarType kFloat = ScalarType::Float;
inline constexpr ScalarType kFloat64 = ScalarType::Double;
inline constexpr ScalarType kDouble = ScalarType::Double;

inline bool isFloatingType(ScalarType type) { return type >= ScalarType::Float; }
inline bool isIntegralType(ScalarType type, bool include_bool) {
  return type < ScalarType::Float && (include_bool || type != ScalarType::Bool);
}
const char* toString(ScalarType type);  // "Float", "Long", ...
const char* cpp_name(ScalarType type);  // "float", "int64_t", ...
std::size_t elementSize(ScalarType type);
inline std::ostream& operator<<(std::ostream& out, ScalarType type) { return out << toString(type); }

// %%
//| export core/scalar_type.h
// The ScalarType of a C++ type. Other integer types (long long, char) map to the one of their width and sign.
template <class T>
constexpr ScalarType scalar_type_of() {
  if constexpr (std::is_same_v<T, bool>) return ScalarType::Bool;
  else if constexpr (std::is_same_v<T, float>) return ScalarType::Float;
  else if constexpr (std::is_same_v<T, double>) return ScalarType::Double;
  else {
    static_assert(std::is_integral_v<T>, "no ScalarType for this C++ type");
    if constexpr (sizeof(T) == 1 && std::is_unsigned_v<T>) return ScalarType::Byte;
    else if constexpr (sizeof(T) == 1) return ScalarType::Char;
    else if constexpr (sizeof(T) == 2) return ScalarType::Short;
    else if constexpr (sizeof(T) == 4) return ScalarType::Int;
    else return ScalarType::Long;
  }
}

// Calls f.operator()<T>() with the C++ type of `type`: how a run-time dtype becomes a compile-time one.
template <class F>
decltype(auto) dispatch_all_types(ScalarType type, F&& f) {
  switch (type) {
    case ScalarType::Bool: return f.template operator()<bool>();
    case ScalarType::Byte: return f.template operator()<std::uint8_t>();
    case ScalarType::Char: return f.template operator()<std::int8_t>();
    case ScalarType::Short: return f.template operator()<std::int16_t>();
    case ScalarType::Int: return f.template operator()<std::int32_t>();
    case ScalarType::Long: return f.template operator()<std::int64_t>();
    case ScalarType::Float: return f.template operator()<float>();
    case ScalarType::Double: break;
  }
  return f.template operator()<double>();
}

// The same for kernels that exist for floating point only; `name` goes into the error for the others.
template <class F>
decltype(auto) dispatch_floating_types(ScalarType type, const char* name, F&& f) {
  if (type == ScalarType::Float) return f.template operator()<float>();
  TORCH_CHECK_NOT_IMPLEMENTED(type == ScalarType::Double, "\"", name, "\" not implemented for '", toString(type),
                              "'. Convert with to(kFloat) first.");
  return f.template operator()<double>();
}

// %%
//| export core/scalar_type.h
// The type that holds values of both: the higher category (bool < integer < floating point), then the wider one.
// Source: c10/core/ScalarType.cpp, promoteTypes.
ScalarType promoteTypes(ScalarType a, ScalarType b);

// Whether a result of type `from` may be written into a tensor of type `to`: never from a higher category to a lower one.
inline bool canCast(ScalarType from, ScalarType to) {
  if (isFloatingType(from) && !isFloatingType(to)) return false;
  return from == ScalarType::Bool || to != ScalarType::Bool;
}

// %%
//| export core/scalar_type.cpp
ScalarType promoteTypes(ScalarType a, ScalarType b) {
  const ScalarType low = a < b ? a : b;
  const ScalarType high = a < b ? b : a;
  // uint8 and int8 have no common type of their width: the next signed type holds both.
  if (low == ScalarType::Byte && high == ScalarType::Char) return ScalarType::Short;
  return high;
}

// %%
//| export core/scalar_type.cpp
const char* toString(ScalarType type) {
  static constexpr const char* names[] = {"Bool", "Byte", "Char", "Short", "Int", "Long", "Float", "Double"};
  return names[static_cast<std::size_t>(type)];
}

const char* cpp_name(ScalarType type) {
  static constexpr const char* names[] = {"bool", "uint8_t", "int8_t", "int16_t", "int32_t", "int64_t", "float", "double"};
  return names[static_cast<std::size_t>(type)];
}

std::size_t elementSize(ScalarType type) {
  return dispatch_all_types(type, []<class T>() { return sizeof(T); });
}

// %%
//| export core/scalar.h
// One number of any type: what `add(tensor, 2)` receives. It remembers whether it was a bool, an integer or floating point,
// which decides promotion. Source: c10/core/Scalar.h.
class Scalar {
 public:
  Scalar() : Scalar(std::int64_t{0}) {}
  template <class T>
    requires std::integral<T> && (!std::same_as<T, bool>)
  Scalar(T value) : kind_(ScalarType::Long), integer_(static_cast<std::int64_t>(value)) {}
  template <std::same_as<bool> T>
  Scalar(T value) : kind_(ScalarType::Bool), integer_(value) {}
  template <std::floating_point T>
  Scalar(T value) : kind_(ScalarType::Double), real_(static_cast<double>(value)) {}

  ScalarType type() const { return kind_; }  // Bool, Long or Double
  bool isFloatingPoint() const { return kind_ == ScalarType::Double; }
  bool isIntegral(bool include_bool) const { return isIntegralType(kind_, include_bool); }
  bool isBoolean() const { return kind_ == ScalarType::Bool; }
  // The number as a T. Throws if T cannot hold it; a negative number wraps around in an unsigned T, as in C++.
  template <class T>
  T to() const;
  double toDouble() const { return to<double>(); }
  float toFloat() const { return to<float>(); }
  std::int64_t toLong() const { return to<std::int64_t>(); }
  int toInt() const { return to<int>(); }
  bool toBool() const { return to<bool>(); }
  bool equal(double value) const { return toDouble() == value; }
  Scalar operator-() const { return isFloatingPoint() ? Scalar(-real_) : Scalar(-integer_); }
  friend std::ostream& operator<<(std::ostream& out, const Scalar& s) {
    if (s.isFloatingPoint()) return out << s.real_;
    if (s.isBoolean()) return out << (s.toBool() ? "true" : "false");
    return out << s.integer_;
  }

 private:
  template <class T>
  bool fits() const;

  ScalarType kind_;
  union {
    std::int64_t integer_;
    double real_;
  };
};

// %%
//| export core/scalar.h
// Source: c10/util/overflows.h.
template <class T>
bool Scalar::fits() const {
  using Limits = std::numeric_limits<T>;
  if constexpr (std::is_same_v<T, bool>) return true;
  else if (isFloatingPoint()) {
    if (std::is_floating_point_v<T> && !std::isfinite(real_)) return true;
    return real_ >= static_cast<double>(Limits::lowest()) && real_ <= static_cast<double>(Limits::max());
  } else if constexpr (std::is_floating_point_v<T> || sizeof(T) == sizeof(std::int64_t)) {
    return true;
  } else {
    const std::int64_t lowest = std::is_signed_v<T> ? Limits::lowest() : -static_cast<std::int64_t>(Limits::max());
    return integer_ >= lowest && integer_ <= static_cast<std::int64_t>(Limits::max());
  }
}

template <class T>
T Scalar::to() const {
  TORCH_CHECK(fits<T>(), "value cannot be converted to type ", cpp_name(scalar_type_of<T>()), " without overflow\n[Scalar::to] the value is ",
              *this, "; choose a wider dtype.");
  return isFloatingPoint() ? static_cast<T>(real_) : static_cast<T>(integer_);
}

// %%
TEST_CASE("promotion: category first, then width") {
  CHECK_EQ(promoteTypes(kFloat, kLong), kFloat);
  CHECK_EQ(promoteTypes(kByte, kChar), kShort);
  CHECK_EQ(promoteTypes(kBool, kByte), kByte);
  CHECK_EQ(promoteTypes(kInt, kLong), kLong);
  CHECK(!canCast(kFloat, kLong));
  CHECK(canCast(kLong, kFloat));
}

// %% [markdown]
// ### The dispatcher
//
// `add` will soon mean several things: the loop on this CPU, the bookkeeping for gradients, later a quantized or a compiled version. An `if` for each in each operator would not scale. So an operator is an
// object with a small table, one function pointer per *layer*. A call collects the layers that its arguments ask for, drops those this thread has switched off, and jumps to the highest.
//
//                      CPU        InplaceOrView     Autograd
//     op::add     [ add_cpu    |       -         |  (module 05)  ]
//     op::view    [ view_cpu   |  (module 05)    |  (module 05)  ]
//
//     layers = (union of the arguments' layers) & registered - excluded by the thread
//     call the highest; it may exclude itself and call the operator again
//
// Layers are bits of an integer, so all of this costs a few instructions, which Part 2 measures.

// %%
//| export core/dispatch.h
// The layers that an operator can have, from the lowest to the highest. A call runs the highest one that its arguments ask for.
// Source: c10/core/DispatchKey.h.
enum class Layer : std::uint8_t { CPU, InplaceOrView, Autograd };
inline constexpr std::size_t kLayerCount = 3;

// A set of layers, as bits. Source: c10/core/DispatchKeySet.h.
class LayerSet {
 public:
  constexpr LayerSet() = default;
  constexpr LayerSet(Layer layer) : bits_(static_cast<std::uint32_t>(1U << static_cast<unsigned>(layer))) {}
  constexpr bool has(Layer layer) const { return (bits_ & LayerSet(layer).bits_) != 0; }
  constexpr bool empty() const { return bits_ == 0; }
  constexpr Layer highest() const { return static_cast<Layer>(std::bit_width(bits_) - 1); }
  friend constexpr LayerSet operator|(LayerSet a, LayerSet b) { return from_bits(a.bits_ | b.bits_); }
  friend constexpr LayerSet operator&(LayerSet a, LayerSet b) { return from_bits(a.bits_ & b.bits_); }
  friend constexpr LayerSet operator-(LayerSet a, LayerSet b) { return from_bits(a.bits_ & ~b.bits_); }
  friend constexpr bool operator==(LayerSet a, LayerSet b) = default;

 private:
  static constexpr LayerSet from_bits(std::uint32_t bits) {
    LayerSet set;
    set.bits_ = bits;
    return set;
  }
  std::uint32_t bits_ = 0;
};

// %%
//| export core/dispatch.h
// What a thread carries along: layers switched off, and modes, whose bits belong to later modules. Worker threads
// and engines copy it from the thread that started them. Source: c10/core/impl/LocalDispatchKeySet.h.
struct ThreadState {
  LayerSet excluded;
  std::uint32_t modes = 0;
};
inline thread_local constinit ThreadState current_thread_state{};
inline ThreadState& thread_state() { return current_thread_state; }

// Puts a thread state in place for a scope.
class ThreadStateGuard {
 public:
  explicit ThreadStateGuard(ThreadState state) : saved_(thread_state()) { thread_state() = state; }
  ~ThreadStateGuard() { thread_state() = saved_; }
  ThreadStateGuard(const ThreadStateGuard&) = delete;
  ThreadStateGuard& operator=(const ThreadStateGuard&) = delete;

 private:
  ThreadState saved_;
};

// Switches layers off for a scope.
class ExcludeLayersGuard {
 public:
  explicit ExcludeLayersGuard(LayerSet layers) : saved_(thread_state().excluded) {
    thread_state().excluded = saved_ | layers;
  }
  ~ExcludeLayersGuard() { thread_state().excluded = saved_; }
  ExcludeLayersGuard(const ExcludeLayersGuard&) = delete;
  ExcludeLayersGuard& operator=(const ExcludeLayersGuard&) = delete;

 private:
  LayerSet saved_;
};

// For code that changes parameters as such (initialisation, loading): runs below the layers above InplaceOrView, so
// that writes are still counted. Source: aten/src/ATen/core/LegacyTypeDispatch.h.
class AutoDispatchBelowAutograd : public ExcludeLayersGuard {
 public:
  AutoDispatchBelowAutograd() : ExcludeLayersGuard(Layer::Autograd) {}
};

// Layers that every new tensor is born with beside its backend's. A later module may add to it, at start-up.
inline constinit LayerSet birth_layers{};

// %%
//| export core/dispatch.h
// Which layers an argument asks for. Plain values ask for none; tensors.h adds tensors, lists of them and options.
// A type that is not listed does not compile: a silent "none" for a list of tensors once swallowed gradients.
template <class T>
inline constexpr bool is_plain_argument =
    std::is_arithmetic_v<T> || std::is_enum_v<T> || std::is_same_v<T, Scalar> || std::is_same_v<T, IntArrayRef>;
template <class T>
inline constexpr bool is_plain_argument<std::optional<T>> = is_plain_argument<T>;

template <class T>
  requires is_plain_argument<T>
constexpr LayerSet layers_of(const T&) {
  return {};
}
template <class T>
  requires is_plain_argument<T>
constexpr bool is_undefined(const T&) {
  return false;
}

[[noreturn]] void fail_undefined_argument(const char* name);
[[noreturn]] void fail_no_layer(const char* name);

// %%
//| export core/dispatch.h
// An operator: a name and one function per layer. It is a global object, initialised before any code runs (constinit).
// Source: aten/src/ATen/core/dispatch/Dispatcher.h.
template <class Signature>
class Operator;

template <class R, class... Args>
class Operator<R(Args...)> {
 public:
  using Function = R (*)(Args...);
  struct Layers {
    Function cpu = nullptr;
    Function inplace_or_view = nullptr;
    Function autograd = nullptr;
  };

  constexpr Operator(const char* name, Layers layers) : name_(name) {
    set(Layer::CPU, layers.cpu);
    set(Layer::InplaceOrView, layers.inplace_or_view);
    set(Layer::Autograd, layers.autograd);
  }
  Operator(const Operator&) = delete;
  Operator& operator=(const Operator&) = delete;

  R operator()(Args... args) const;

  const char* name() const { return name_; }
  // Adds or replaces the function of one layer. At start-up only: calls do not lock.
  constexpr void set(Layer layer, Function implementation) {
    table_[static_cast<std::size_t>(layer)] = implementation;
    if (implementation != nullptr) registered_ = registered_ | layer;
  }
  Function function(Layer layer) const { return table_[static_cast<std::size_t>(layer)]; }

 private:
  const char* name_;
  LayerSet registered_;
  std::array<Function, kLayerCount> table_{};
};

// %% {"nbgrader": {"grade": false, "grade_id": "01-operator-call", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/dispatch.h
// Calls the highest layer that is registered, asked for by an argument, and not excluded in this thread.
//
// TODO: Choose the layer and call its function.
// APPROACH: 1. An undefined tensor among the arguments: fail_undefined_argument(name_).
//           2. layers_of(arg) of all arguments, joined by |; keep those in registered_; take away what the thread excludes.
//           3. None left: fail_no_layer(name_). Else call the function of the highest.
// EXAMPLE: tensors on the CPU and no other layer registered: table_[0] is called.
// HINT: A fold expression, (f(args) | ...), joins over all arguments. std::forward<Args>(args)... passes them on.
template <class R, class... Args>
R Operator<R(Args...)>::operator()(Args... args) const {
  // BEGIN SOLUTION
  if ((is_undefined(args) || ...)) fail_undefined_argument(name_);
  const LayerSet layers = ((layers_of(args) | ...) & registered_) - thread_state().excluded;
  if (layers.empty()) fail_no_layer(name_);
  return table_[static_cast<std::size_t>(layers.highest())](std::forward<Args>(args)...);
  // END SOLUTION
}

// %%
//| mistake 01-operator-call forgets-the-thread
//| says A thread can switch layers off: take thread_state().excluded away before you choose.
#if 0
template <class R, class... Args>
R Operator<R(Args...)>::operator()(Args... args) const {
  if ((is_undefined(args) || ...)) fail_undefined_argument(name_);
  const LayerSet layers = (layers_of(args) | ...) & registered_;
  if (layers.empty()) fail_no_layer(name_);
  return table_[static_cast<std::size_t>(layers.highest())](std::forward<Args>(args)...);
}
#endif

// %%
//| export core/dispatch.cpp
void fail_undefined_argument(const char* name) {
  throw Error(std::string("Expected a proper Tensor but got None (or an undefined Tensor in C++)\n[") + name +
              "] an argument is a default-constructed Tensor; give it a value first, for example with empty() or zeros().");
}

void fail_no_layer(const char* name) {
  throw NotImplementedError(std::string("Could not run '") + name + "' with these arguments: no layer of the operator accepts them.");
}

// Called once at start-up: lets each module add its layers to the operators of earlier ones. It stands here because every
// program that uses an operator links this file.
void register_all();
namespace {
[[maybe_unused]] const bool registered_at_startup = (register_all(), true);
}

// %%
//| lesson
int called_layer = -1;
Tensor in_cpu(const Tensor& self) { called_layer = 0; return self; }
Tensor in_view(const Tensor& self) { called_layer = 1; return self; }
Tensor in_autograd(const Tensor& self) { called_layer = 2; return self; }
constinit Operator<Tensor(const Tensor&)> layered("layered", {.cpu = in_cpu, .inplace_or_view = in_view, .autograd = in_autograd});
constinit Operator<Tensor(const Tensor&)> nowhere("nowhere", {});

// A tensor that asks for all layers.
Tensor asking_for(LayerSet layers) {
  return make_tensor(make_intrusive<StorageImpl>(4), kFloat, layers, {1}, {1}, 0);
}

// %% {"nbgrader": {"grade": true, "grade_id": "01-operator-call-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("dispatch: the highest layer that is asked for, registered and not excluded") {
  layered(asking_for(Layer::CPU));
  CHECK_EQ(called_layer, 0);
  const Tensor all = asking_for(LayerSet(Layer::CPU) | Layer::InplaceOrView | Layer::Autograd);
  layered(all);
  CHECK_EQ(called_layer, 2);
  {
    const AutoDispatchBelowAutograd guard;
    layered(all);
    CHECK_EQ(called_layer, 1);
  }
  layered(all);
  CHECK_EQ(called_layer, 2);
  CHECK_ERROR(layered(Tensor()), "Expected a proper Tensor but got None (or an undefined Tensor in C++)");
  CHECK_ERROR(nowhere(all), "Could not run 'nowhere'");
  // BEGIN HIDDEN TESTS
  const ExcludeLayersGuard none(LayerSet(Layer::CPU) | Layer::InplaceOrView | Layer::Autograd);
  CHECK_ERROR(layered(all), "Could not run 'layered'");
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Sizes, strides, offset
//
// `TensorOptions` say how a new tensor shall be. `TensorImpl` is the recipe: which storage, which sizes, strides and offset, and in the last dimension of a fresh tensor neighbours are neighbours in memory:
//
//     sizes    (2, 3, 4)
//     strides (12, 4, 1)      each the product of the sizes behind it
//               |  |  +------ next column: 1 further
//               |  +--------- next row: a row has 4
//               +------------ next matrix: 3 rows of 4

// %%
//| export core/tensor_options.h
// How a new tensor shall be: its dtype, and layers that later modules ask for. Fluent: `dtype(kDouble)`.
// Source: c10/core/TensorOptions.h.
class TensorOptions : public OptionsExtensions {
 public:
  TensorOptions() = default;
  TensorOptions(ScalarType type) : dtype_(type) {}

  [[nodiscard]] TensorOptions dtype(std::optional<ScalarType> type) const {
    TensorOptions changed = *this;
    changed.dtype_ = type;
    return changed;
  }
  ScalarType dtype() const;
  std::optional<ScalarType> dtype_opt() const { return dtype_; }
  bool has_dtype() const { return dtype_.has_value(); }

  [[nodiscard]] TensorOptions layers(LayerSet wanted) const {
    TensorOptions changed = *this;
    changed.layers_ = wanted;
    return changed;
  }
  LayerSet layers() const { return layers_; }

 private:
  std::optional<ScalarType> dtype_;
  LayerSet layers_ = Layer::CPU;
};

inline TensorOptions dtype(ScalarType type) { return TensorOptions(type); }
inline LayerSet layers_of(const TensorOptions& options) { return options.layers(); }
inline bool is_undefined(const TensorOptions&) { return false; }

// The floating-point type of new tensors that name none: Float at first. REQUIRES: a floating-point type.
ScalarType get_default_dtype();
void set_default_dtype(ScalarType type);

// %%
//| export core/tensor_options.cpp
namespace {
std::atomic<ScalarType> default_dtype{ScalarType::Float};
}

ScalarType get_default_dtype() { return default_dtype.load(std::memory_order_relaxed); }

void set_default_dtype(ScalarType type) {
  TORCH_CHECK_TYPE(isFloatingType(type), "only floating-point types are supported as the default type\n[set_default_dtype] got ", type,
                   "; use kFloat or kDouble.");
  default_dtype.store(type, std::memory_order_relaxed);
}

ScalarType TensorOptions::dtype() const { return dtype_.value_or(get_default_dtype()); }

// %%
//| export core/tensor_impl.h
// Room for what a later module knows about a tensor (autograd keeps its record here). Opaque to this module.
struct TensorMetadata {
  virtual ~TensorMetadata() = default;
};

// How elements lie in a storage: sizes, strides and offset, all counted in elements.
// The element at index (i, j, ...) is number offset + i * strides[0] + j * strides[1] + ...
// Source: c10/core/TensorImpl.h.
struct TensorImpl : RefCounted {
  TensorImpl(Storage where, ScalarType type, LayerSet asked, DimVector shape, DimVector steps, std::int64_t first);
  void set_geometry(DimVector shape, DimVector steps, std::int64_t first);

  Storage storage;
  DimVector sizes;
  DimVector strides;
  std::int64_t offset = 0;
  std::int64_t numel = 0;
  ScalarType dtype;
  LayerSet layers;
  bool contiguous = true;
  bool wrapped_number = false;  // made from a plain number: takes part in promotion by category only
  std::unique_ptr<TensorMetadata> metadata;
};

// %%
//| export core/tensor_impl.h
// Strides of a tensor whose last dimension is dense: each the product of the sizes behind it.
DimVector contiguous_strides(IntArrayRef sizes);
// The product of sizes; 1 for none. Throws if one is negative or the product overflows.
std::int64_t multiply_sizes(IntArrayRef sizes);

// %% {"nbgrader": {"grade": false, "grade_id": "01-contiguous-strides", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/tensor_impl.cpp
// The strides of a dense tensor with these sizes, the last dimension fastest; a size of 0 counts as 1. O(dims).
//
// TODO: Compute each stride from the sizes behind it.
// APPROACH: Walk from the last dimension to the first with a running product.
// EXAMPLE: contiguous_strides({2, 3, 4}) is {12, 4, 1}.
// HINT: An unsigned index that counts down: for (std::size_t i = n; i-- > 0;).
DimVector contiguous_strides(IntArrayRef sizes) {
  // BEGIN SOLUTION
  DimVector strides(sizes.size(), 1);
  std::int64_t step = 1;
  for (std::size_t i = sizes.size(); i-- > 0;) {
    strides[i] = step;
    step *= sizes[i] > 1 ? sizes[i] : 1;
  }
  return strides;
  // END SOLUTION
}

// %%
//| mistake 01-contiguous-strides first-dimension-fastest
//| says The last dimension is the one whose neighbours are neighbours in memory: begin at the end.
#if 0
DimVector contiguous_strides(IntArrayRef sizes) {
  DimVector strides(sizes.size(), 1);
  std::int64_t step = 1;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    strides[i] = step;
    step *= sizes[i] > 1 ? sizes[i] : 1;
  }
  return strides;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "01-contiguous-strides-test", "locked": true, "points": 2, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("contiguous_strides: each is the product of the sizes behind it") {
  CHECK_EQ(IntArrayRef(contiguous_strides({2, 3, 4})), IntArrayRef({12, 4, 1}));
  CHECK_EQ(IntArrayRef(contiguous_strides({5})), IntArrayRef({1}));
  CHECK_EQ(contiguous_strides({}).size(), 0);
  CHECK_EQ(IntArrayRef(contiguous_strides({2, 0, 3})), IntArrayRef({3, 3, 1}));
  // BEGIN HIDDEN TESTS
  CHECK_EQ(IntArrayRef(contiguous_strides({1, 7, 1, 2, 3, 5})), IntArrayRef({210, 30, 30, 15, 5, 1}));
  // END HIDDEN TESTS
}

// %%
//| export core/tensor_impl.cpp
std::int64_t multiply_sizes(IntArrayRef sizes) {
  std::int64_t product = 1;
  bool overflow = false;
  for (const std::int64_t size : sizes) {
    TORCH_CHECK(size >= 0, "Trying to create tensor with negative dimension ", size, ": ", sizes);
    overflow = __builtin_mul_overflow(product, size, &product) || overflow;
  }
  for (const std::int64_t size : sizes)
    if (size == 0) return 0;
  TORCH_CHECK(!overflow, "Storage size calculation overflowed with sizes=", sizes, "\nThe number of elements does not fit into 64 bits.");
  return product;
}

// %%
//| export core/tensor_impl.cpp
TensorImpl::TensorImpl(Storage where, ScalarType type, LayerSet asked, DimVector shape, DimVector steps, std::int64_t first)
    : storage(std::move(where)), dtype(type), layers(asked) {
  set_geometry(std::move(shape), std::move(steps), first);
}

void TensorImpl::set_geometry(DimVector shape, DimVector steps, std::int64_t first) {
  sizes = std::move(shape);
  strides = std::move(steps);
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

// %% [markdown]
// ### The Tensor
//
// The Tensor itself is a handle: a pointer to a `TensorImpl` and many methods, each of which calls the function of the same name. Copying a Tensor copies the pointer. So `const Tensor&` promises that the handle stays, not that
// the data does, and `x[0] = y` writes into the data while `x = y` makes `x` another handle. C++ tells them apart: `x[0]` is a temporary.
//
//     Tensor x = zeros({2, 3});      x ----> impl A ----> storage: 0 0 0 0 0 0
//     x[0] = ones({3});              x ----> impl A ----> storage: 1 1 1 0 0 0      writes
//     x = ones({3});                 x ----> impl B ----> another storage           points elsewhere

// %%
//| export core/tensor.h
// A handle on a TensorImpl. Copying a Tensor copies the handle, not the data; `const` does not protect the data.
// Methods call the function of the same name, where shapes, dtypes and errors are documented (ops.h).
// Source: aten/src/ATen/core/TensorBase.h.
class Tensor : public TensorExtensions {
 public:
  Tensor() = default;
  explicit Tensor(intrusive_ptr<TensorImpl> impl) : impl_(std::move(impl)) {}
  Tensor(const Tensor&) = default;
  Tensor(Tensor&&) noexcept = default;
  ~Tensor() = default;

  // x = y makes x another handle on y's data; x[i] = y, an assignment to a temporary, writes into the data.
  Tensor& operator=(const Tensor& other) & = default;
  Tensor& operator=(Tensor&& other) & noexcept = default;
  Tensor& operator=(const Tensor& other) &&;
  Tensor& operator=(Tensor&& other) &&;
  Tensor& operator=(const Scalar& value) &&;

  // Anatomy.
  bool defined() const { return static_cast<bool>(impl_); }
  bool is_same(const Tensor& other) const { return impl_.get() == other.impl_.get(); }
  TensorImpl& impl() const {
    if (!defined()) fail_undefined_argument("Tensor");
    return *impl_;
  }
  TensorImpl* unsafeGetTensorImpl() const { return impl_.get(); }
  const intrusive_ptr<TensorImpl>& getIntrusivePtr() const { return impl_; }
  std::int64_t dim() const { return static_cast<std::int64_t>(impl().sizes.size()); }
  std::int64_t ndimension() const { return dim(); }
  IntArrayRef sizes() const { return impl().sizes; }
  IntArrayRef strides() const { return impl().strides; }
  std::int64_t size(std::int64_t dim) const;
  std::int64_t stride(std::int64_t dim) const;
  std::int64_t numel() const { return impl().numel; }
  std::int64_t storage_offset() const { return impl().offset; }
  const Storage& storage() const { return impl().storage; }
  ScalarType scalar_type() const { return impl().dtype; }
  ScalarType dtype() const { return impl().dtype; }
  std::size_t element_size() const { return elementSize(scalar_type()); }
  std::size_t nbytes() const { return static_cast<std::size_t>(numel()) * element_size(); }
  bool is_contiguous() const { return impl().contiguous; }
  bool is_floating_point() const { return isFloatingType(scalar_type()); }
  TensorOptions options() const { return TensorOptions(scalar_type()); }
  bool is_alias_of(const Tensor& other) const { return storage().get() == other.storage().get(); }

  // Access. data_ptr<T>() checks the dtype; data<T>() is its unchecked twin for kernels.
  void* data_ptr() const;
  template <class T>
  T* data_ptr() const;
  template <class T>
  T* data() const {
    return static_cast<T*>(impl().storage->data()) + impl().offset;
  }
  Scalar item() const;
  template <class T>
  T item() const {
    return item().to<T>();
  }

  // Views: no data is copied.
  Tensor operator[](std::int64_t index) const;
  Tensor as_strided(IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset = std::nullopt) const;
  Tensor view(IntArrayRef size) const;
  Tensor view_as(const Tensor& other) const;
  Tensor reshape(IntArrayRef shape) const;
  Tensor flatten(std::int64_t start_dim = 0, std::int64_t end_dim = -1) const;
  Tensor squeeze() const;
  Tensor squeeze(std::int64_t dim) const;
  Tensor unsqueeze(std::int64_t dim) const;
  Tensor permute(IntArrayRef dims) const;
  Tensor transpose(std::int64_t dim0, std::int64_t dim1) const;
  Tensor t() const;
  Tensor expand(IntArrayRef size) const;
  Tensor expand_as(const Tensor& other) const;
  Tensor select(std::int64_t dim, std::int64_t index) const;
  Tensor slice(std::int64_t dim = 0, std::optional<std::int64_t> start = std::nullopt, std::optional<std::int64_t> end = std::nullopt,
               std::int64_t step = 1) const;
  Tensor narrow(std::int64_t dim, std::int64_t start, std::int64_t length) const;

  // Copies.
  Tensor contiguous() const;
  Tensor clone() const;
  Tensor to(ScalarType type) const;
  Tensor to(const TensorOptions& options) const;
  Tensor type_as(const Tensor& other) const { return to(other.scalar_type()); }
  Tensor& copy_(const Tensor& src) const;
  Tensor& fill_(const Scalar& value) const;
  Tensor& zero_() const;

  // Arithmetic.
  Tensor add(const Tensor& other, const Scalar& alpha = 1) const;
  Tensor add(const Scalar& other, const Scalar& alpha = 1) const;
  Tensor& add_(const Tensor& other, const Scalar& alpha = 1) const;
  Tensor& add_(const Scalar& other, const Scalar& alpha = 1) const;
  Tensor sub(const Tensor& other, const Scalar& alpha = 1) const;
  Tensor sub(const Scalar& other, const Scalar& alpha = 1) const;
  Tensor& sub_(const Tensor& other, const Scalar& alpha = 1) const;
  Tensor& sub_(const Scalar& other, const Scalar& alpha = 1) const;
  Tensor mul(const Tensor& other) const;
  Tensor mul(const Scalar& other) const;
  Tensor& mul_(const Tensor& other) const;
  Tensor& mul_(const Scalar& other) const;
  Tensor div(const Tensor& other) const;
  Tensor div(const Scalar& other) const;
  Tensor& div_(const Tensor& other) const;
  Tensor& div_(const Scalar& other) const;
  Tensor pow(const Scalar& exponent) const;
  Tensor neg() const;
  Tensor abs() const;
  Tensor sign() const;
  Tensor exp() const;
  Tensor log() const;
  Tensor sqrt() const;
  Tensor operator-() const { return neg(); }
  Tensor& operator+=(const Tensor& other) { return add_(other); }
  Tensor& operator+=(const Scalar& other) { return add_(other); }
  Tensor& operator-=(const Tensor& other) { return sub_(other); }
  Tensor& operator-=(const Scalar& other) { return sub_(other); }
  Tensor& operator*=(const Tensor& other) { return mul_(other); }
  Tensor& operator*=(const Scalar& other) { return mul_(other); }
  Tensor& operator/=(const Tensor& other) { return div_(other); }
  Tensor& operator/=(const Scalar& other) { return div_(other); }

  // Comparison, elementwise; equal() compares whole tensors.
  Tensor eq(const Tensor& other) const;
  Tensor eq(const Scalar& other) const;
  Tensor ne(const Tensor& other) const;
  Tensor ne(const Scalar& other) const;
  Tensor lt(const Tensor& other) const;
  Tensor lt(const Scalar& other) const;
  Tensor le(const Tensor& other) const;
  Tensor le(const Scalar& other) const;
  Tensor gt(const Tensor& other) const;
  Tensor gt(const Scalar& other) const;
  Tensor ge(const Tensor& other) const;
  Tensor ge(const Scalar& other) const;
  bool equal(const Tensor& other) const;
  bool allclose(const Tensor& other, double rtol = 1e-5, double atol = 1e-8, bool equal_nan = false) const;

  // Reductions.
  Tensor sum() const;
  Tensor sum(IntArrayRef dim, bool keepdim = false) const;
  Tensor mean() const;
  Tensor mean(IntArrayRef dim, bool keepdim = false) const;
  Tensor amax(IntArrayRef dim = {}, bool keepdim = false) const;
  Tensor max() const;
  std::tuple<Tensor, Tensor> max(std::int64_t dim, bool keepdim = false) const;
  Tensor argmax() const;
  Tensor argmax(std::int64_t dim, bool keepdim = false) const;

  // Linear algebra.
  Tensor mm(const Tensor& mat2) const;
  Tensor bmm(const Tensor& mat2) const;
  Tensor matmul(const Tensor& other) const;

 private:
  intrusive_ptr<TensorImpl> impl_;
};

using TensorList = ArrayRef<Tensor>;

// %%
//| export core/tensor.h
inline LayerSet layers_of(const Tensor& tensor) { return tensor.unsafeGetTensorImpl()->layers; }
inline bool is_undefined(const Tensor& tensor) { return !tensor.defined(); }
inline LayerSet layers_of(const std::optional<Tensor>& tensor) {
  return tensor && tensor->defined() ? layers_of(*tensor) : LayerSet();
}
inline bool is_undefined(const std::optional<Tensor>&) { return false; }
inline LayerSet layers_of(TensorList list) {
  LayerSet layers;
  for (const Tensor& tensor : list)
    if (tensor.defined()) layers = layers | layers_of(tensor);
  return layers;
}
inline bool is_undefined(TensorList list) {
  for (const Tensor& tensor : list)
    if (!tensor.defined()) return true;
  return false;
}

// %%
//| export core/tensor.h
template <class T>
T* Tensor::data_ptr() const {
  TORCH_CHECK(scalar_type() == scalar_type_of<T>(), "expected scalar type ", scalar_type_of<T>(), " but found ", scalar_type(),
              "\n[data_ptr] read it with data_ptr of its own type, or convert with to() first.");
  return data<T>();
}

// %%
//| export core/tensor.h
// A number that stands for a tensor of that dimension or counted from the end: -1 is the last. Throws IndexError.
std::int64_t wrap_dim(std::int64_t dim, std::int64_t dims);
// A tensor on existing storage. The building block of creation and views; the caller checks the geometry.
Tensor make_tensor(Storage storage, ScalarType type, LayerSet layers, DimVector sizes, DimVector strides, std::int64_t offset);

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
Tensor make_tensor(Storage storage, ScalarType type, LayerSet layers, DimVector sizes, DimVector strides, std::int64_t offset) {
  return Tensor(make_intrusive<TensorImpl>(std::move(storage), type, layers, std::move(sizes), std::move(strides), offset));
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
  char* const base = static_cast<char*>(storage()->data());
  return base == nullptr ? nullptr : base + static_cast<std::size_t>(storage_offset()) * element_size();
}

Scalar Tensor::item() const {
  TORCH_CHECK(numel() == 1, "a Tensor with ", numel(), " elements cannot be converted to Scalar\n[item] sizes ", sizes(),
              "; select one element first.");
  return dispatch_all_types(scalar_type(), [this]<class T>() { return Scalar(*data<T>()); });
}

Tensor& Tensor::operator=(const Tensor& other) && { return copy_(other); }
Tensor& Tensor::operator=(Tensor&& other) && { return copy_(other); }
Tensor& Tensor::operator=(const Scalar& value) && { return fill_(value); }

// %%
//| export core/tensor.cpp
Tensor Tensor::operator[](std::int64_t index) const { return select(0, index); }
Tensor Tensor::as_strided(IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset) const {
  return tinytorch::as_strided(*this, size, stride, storage_offset);
}
Tensor Tensor::view(IntArrayRef size) const { return tinytorch::view(*this, size); }
Tensor Tensor::view_as(const Tensor& other) const { return tinytorch::view(*this, other.sizes()); }
Tensor Tensor::reshape(IntArrayRef shape) const { return tinytorch::reshape(*this, shape); }
Tensor Tensor::flatten(std::int64_t start_dim, std::int64_t end_dim) const { return tinytorch::flatten(*this, start_dim, end_dim); }
Tensor Tensor::squeeze() const { return tinytorch::squeeze(*this); }
Tensor Tensor::squeeze(std::int64_t dim) const { return tinytorch::squeeze(*this, dim); }
Tensor Tensor::unsqueeze(std::int64_t dim) const { return tinytorch::unsqueeze(*this, dim); }
Tensor Tensor::permute(IntArrayRef dims) const { return tinytorch::permute(*this, dims); }
Tensor Tensor::transpose(std::int64_t dim0, std::int64_t dim1) const { return tinytorch::transpose(*this, dim0, dim1); }
Tensor Tensor::t() const { return tinytorch::t(*this); }
Tensor Tensor::expand(IntArrayRef size) const { return tinytorch::expand(*this, size); }
Tensor Tensor::expand_as(const Tensor& other) const { return tinytorch::expand(*this, other.sizes()); }
Tensor Tensor::select(std::int64_t dim, std::int64_t index) const { return tinytorch::select(*this, dim, index); }
Tensor Tensor::slice(std::int64_t dim, std::optional<std::int64_t> start, std::optional<std::int64_t> end, std::int64_t step) const {
  return tinytorch::slice(*this, dim, start, end, step);
}
Tensor Tensor::narrow(std::int64_t dim, std::int64_t start, std::int64_t length) const { return tinytorch::narrow(*this, dim, start, length); }
Tensor Tensor::contiguous() const { return is_contiguous() ? *this : clone(); }
Tensor Tensor::clone() const { return tinytorch::clone(*this); }
Tensor Tensor::to(ScalarType type) const { return tinytorch::to_dtype(*this, type); }
Tensor Tensor::to(const TensorOptions& options) const { return options.has_dtype() ? to(options.dtype()) : *this; }

// %%
//| export core/tensor.cpp
namespace {
// The in-place functions return the tensor they were given; methods hand that out as libtorch does.
Tensor& self_of(const Tensor& tensor) { return const_cast<Tensor&>(tensor); }
}  // namespace

Tensor& Tensor::copy_(const Tensor& src) const { return self_of(tinytorch::copy_(*this, src)); }
Tensor& Tensor::fill_(const Scalar& value) const { return self_of(tinytorch::fill_(*this, value)); }
Tensor& Tensor::zero_() const { return self_of(tinytorch::fill_(*this, 0)); }
Tensor Tensor::add(const Tensor& other, const Scalar& alpha) const { return tinytorch::add(*this, other, alpha); }
Tensor Tensor::add(const Scalar& other, const Scalar& alpha) const { return tinytorch::add(*this, wrapped_scalar(other), alpha); }
Tensor& Tensor::add_(const Tensor& other, const Scalar& alpha) const { return self_of(tinytorch::add_(*this, other, alpha)); }
Tensor& Tensor::add_(const Scalar& other, const Scalar& alpha) const { return add_(wrapped_scalar(other), alpha); }
Tensor Tensor::sub(const Tensor& other, const Scalar& alpha) const { return tinytorch::sub(*this, other, alpha); }
Tensor Tensor::sub(const Scalar& other, const Scalar& alpha) const { return tinytorch::sub(*this, wrapped_scalar(other), alpha); }
Tensor& Tensor::sub_(const Tensor& other, const Scalar& alpha) const { return self_of(tinytorch::sub_(*this, other, alpha)); }
Tensor& Tensor::sub_(const Scalar& other, const Scalar& alpha) const { return sub_(wrapped_scalar(other), alpha); }
Tensor Tensor::mul(const Tensor& other) const { return tinytorch::mul(*this, other); }
Tensor Tensor::mul(const Scalar& other) const { return tinytorch::mul(*this, wrapped_scalar(other)); }
Tensor& Tensor::mul_(const Tensor& other) const { return self_of(tinytorch::mul_(*this, other)); }
Tensor& Tensor::mul_(const Scalar& other) const { return mul_(wrapped_scalar(other)); }
Tensor Tensor::div(const Tensor& other) const { return tinytorch::div(*this, other); }
Tensor Tensor::div(const Scalar& other) const { return tinytorch::div(*this, wrapped_scalar(other)); }
Tensor& Tensor::div_(const Tensor& other) const { return self_of(tinytorch::div_(*this, other)); }
Tensor& Tensor::div_(const Scalar& other) const { return div_(wrapped_scalar(other)); }
Tensor Tensor::pow(const Scalar& exponent) const { return tinytorch::pow(*this, exponent); }
Tensor Tensor::neg() const { return tinytorch::neg(*this); }
Tensor Tensor::abs() const { return tinytorch::abs(*this); }
Tensor Tensor::sign() const { return tinytorch::sign(*this); }
Tensor Tensor::exp() const { return tinytorch::exp(*this); }
Tensor Tensor::log() const { return tinytorch::log(*this); }
Tensor Tensor::sqrt() const { return tinytorch::sqrt(*this); }

// %%
//| export core/tensor.cpp
Tensor Tensor::eq(const Tensor& other) const { return tinytorch::eq(*this, other); }
Tensor Tensor::eq(const Scalar& other) const { return tinytorch::eq(*this, wrapped_scalar(other)); }
Tensor Tensor::ne(const Tensor& other) const { return tinytorch::ne(*this, other); }
Tensor Tensor::ne(const Scalar& other) const { return tinytorch::ne(*this, wrapped_scalar(other)); }
Tensor Tensor::lt(const Tensor& other) const { return tinytorch::lt(*this, other); }
Tensor Tensor::lt(const Scalar& other) const { return tinytorch::lt(*this, wrapped_scalar(other)); }
Tensor Tensor::le(const Tensor& other) const { return tinytorch::le(*this, other); }
Tensor Tensor::le(const Scalar& other) const { return tinytorch::le(*this, wrapped_scalar(other)); }
Tensor Tensor::gt(const Tensor& other) const { return tinytorch::gt(*this, other); }
Tensor Tensor::gt(const Scalar& other) const { return tinytorch::gt(*this, wrapped_scalar(other)); }
Tensor Tensor::ge(const Tensor& other) const { return tinytorch::ge(*this, other); }
Tensor Tensor::ge(const Scalar& other) const { return tinytorch::ge(*this, wrapped_scalar(other)); }
bool Tensor::equal(const Tensor& other) const { return tinytorch::equal(*this, other); }
bool Tensor::allclose(const Tensor& other, double rtol, double atol, bool equal_nan) const {
  return tinytorch::allclose(*this, other, rtol, atol, equal_nan);
}
Tensor Tensor::sum() const { return tinytorch::sum(*this); }
Tensor Tensor::sum(IntArrayRef dim, bool keepdim) const { return tinytorch::sum(*this, dim, keepdim); }
Tensor Tensor::mean() const { return tinytorch::mean(*this); }
Tensor Tensor::mean(IntArrayRef dim, bool keepdim) const { return tinytorch::mean(*this, dim, keepdim); }
Tensor Tensor::amax(IntArrayRef dim, bool keepdim) const { return tinytorch::amax(*this, dim, keepdim); }
Tensor Tensor::max() const { return tinytorch::max(*this); }
std::tuple<Tensor, Tensor> Tensor::max(std::int64_t dim, bool keepdim) const { return tinytorch::max(*this, dim, keepdim); }
Tensor Tensor::argmax() const { return tinytorch::argmax(*this); }
Tensor Tensor::argmax(std::int64_t dim, bool keepdim) const { return tinytorch::argmax(*this, dim, keepdim); }
Tensor Tensor::mm(const Tensor& mat2) const { return tinytorch::mm(*this, mat2); }
Tensor Tensor::bmm(const Tensor& mat2) const { return tinytorch::bmm(*this, mat2); }
Tensor Tensor::matmul(const Tensor& other) const { return tinytorch::matmul(*this, other); }

// %%
TEST_CASE("anatomy: sizes, strides and offset over shared storage") {
  const Storage storage = make_intrusive<StorageImpl>(6 * sizeof(float));
  const Tensor x = make_tensor(storage, kFloat, Layer::CPU, {2, 3}, {3, 1}, 0);
  const Tensor column = make_tensor(storage, kFloat, Layer::CPU, {2}, {3}, 2);
  for (std::int64_t i = 0; i < 6; ++i) x.data<float>()[i] = static_cast<float>(i);
  CHECK_EQ(column.data<float>()[0], 2.0F);
  CHECK_EQ(column.data<float>()[column.stride(0)], 5.0F);
  CHECK(x.is_contiguous());
  CHECK(!column.is_contiguous());
  CHECK(column.is_alias_of(x));
  CHECK_EQ(storage->use_count(), 3);
  CHECK_EQ(wrap_dim(-1, 3), 2);
  CHECK_ERROR(Tensor().sizes(), "Expected a proper Tensor but got None");
}

// %% [markdown]
// ### The functions
//
// Every operation is a plain function with its contract here, and most have an operator object behind them. A function that only combines others, as `flatten` and `mean` do, needs none.
//
//     x.mul(y)  --->  mul(x, y)  --->  op::mul(x, y)  --->  mul_cpu
//     method          function:        dispatcher:          kernel:
//                     checks           which layer?         loops

// %%
//| export core/ops.h
// ---- Creation. `options` names the dtype (default: get_default_dtype(), or the type of the given values).
Tensor empty(IntArrayRef size, const TensorOptions& options = {});  // uninitialised
Tensor zeros(IntArrayRef size, const TensorOptions& options = {});
Tensor ones(IntArrayRef size, const TensorOptions& options = {});
Tensor full(IntArrayRef size, const Scalar& fill_value, const TensorOptions& options = {});
Tensor arange(const Scalar& end, const TensorOptions& options = {});
Tensor arange(const Scalar& start, const Scalar& end, const TensorOptions& options = {});
Tensor arange(const Scalar& start, const Scalar& end, const Scalar& step, const TensorOptions& options = {});
Tensor empty_like(const Tensor& self, const TensorOptions& options = {});  // self's sizes, and its dtype unless options name one
Tensor zeros_like(const Tensor& self, const TensorOptions& options = {});
Tensor ones_like(const Tensor& self, const TensorOptions& options = {});
Tensor full_like(const Tensor& self, const Scalar& fill_value, const TensorOptions& options = {});
// A 0-d tensor of `value` that takes part in promotion by its category only, as a plain number does.
Tensor wrapped_scalar(const Scalar& value);
// Every factory ends with this: gives a fresh tensor the layers that its options ask for.
Tensor created(const Tensor& fresh, const TensorOptions& options);

// ---- Views: the result shares the storage of `self`. O(dim) time, no element is copied.
Tensor as_strided(const Tensor& self, IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset = std::nullopt);
Tensor view(const Tensor& self, IntArrayRef size);  // one size may be -1
Tensor expand(const Tensor& self, IntArrayRef size);  // size 1 becomes any size, with stride 0; -1 keeps a size
Tensor permute(const Tensor& self, IntArrayRef dims);
Tensor select(const Tensor& self, std::int64_t dim, std::int64_t index);
Tensor slice(const Tensor& self, std::int64_t dim = 0, std::optional<std::int64_t> start = std::nullopt,
             std::optional<std::int64_t> end = std::nullopt, std::int64_t step = 1);
Tensor narrow(const Tensor& self, std::int64_t dim, std::int64_t start, std::int64_t length);
Tensor transpose(const Tensor& self, std::int64_t dim0, std::int64_t dim1);
Tensor t(const Tensor& self);
Tensor squeeze(const Tensor& self);
Tensor squeeze(const Tensor& self, std::int64_t dim);
Tensor unsqueeze(const Tensor& self, std::int64_t dim);
Tensor reshape(const Tensor& self, IntArrayRef shape);  // a view where the strides allow it, a copy where not
Tensor flatten(const Tensor& self, std::int64_t start_dim = 0, std::int64_t end_dim = -1);

// ---- Copies.
Tensor clone(const Tensor& self);
Tensor to_dtype(const Tensor& self, ScalarType type);  // `self` itself when it has that type
const Tensor& copy_(const Tensor& self, const Tensor& src);  // converts and broadcasts src into self
const Tensor& fill_(const Tensor& self, const Scalar& value);

// ---- Pointwise: shapes broadcast, dtypes promote. O(numel).
Tensor add(const Tensor& self, const Tensor& other, const Scalar& alpha = 1);  // self + alpha * other
Tensor sub(const Tensor& self, const Tensor& other, const Scalar& alpha = 1);
Tensor mul(const Tensor& self, const Tensor& other);
Tensor div(const Tensor& self, const Tensor& other);  // true division: integers give the default dtype
const Tensor& add_(const Tensor& self, const Tensor& other, const Scalar& alpha = 1);
const Tensor& sub_(const Tensor& self, const Tensor& other, const Scalar& alpha = 1);
const Tensor& mul_(const Tensor& self, const Tensor& other);
const Tensor& div_(const Tensor& self, const Tensor& other);
Tensor pow(const Tensor& self, const Scalar& exponent);
Tensor neg(const Tensor& self);
Tensor abs(const Tensor& self);
Tensor sign(const Tensor& self);
Tensor exp(const Tensor& self);  // exp, log and sqrt turn integers into the default dtype
Tensor log(const Tensor& self);
Tensor sqrt(const Tensor& self);
Tensor where(const Tensor& condition, const Tensor& self, const Tensor& other);  // condition: Bool

// ---- Comparison: Bool tensors.
Tensor eq(const Tensor& self, const Tensor& other);
Tensor ne(const Tensor& self, const Tensor& other);
Tensor lt(const Tensor& self, const Tensor& other);
Tensor le(const Tensor& self, const Tensor& other);
Tensor gt(const Tensor& self, const Tensor& other);
Tensor ge(const Tensor& self, const Tensor& other);
bool equal(const Tensor& self, const Tensor& other);  // same sizes and every element equal (NaN is not)
bool allclose(const Tensor& self, const Tensor& other, double rtol = 1e-5, double atol = 1e-8, bool equal_nan = false);

// ---- Reductions over the dimensions `dim` (none given: over all). O(numel).
Tensor sum(const Tensor& self);
Tensor sum(const Tensor& self, IntArrayRef dim, bool keepdim = false);  // integers and bools sum to Long
Tensor mean(const Tensor& self);
Tensor mean(const Tensor& self, IntArrayRef dim, bool keepdim = false);
Tensor amax(const Tensor& self, IntArrayRef dim = {}, bool keepdim = false);  // NaN wins
Tensor max(const Tensor& self);
std::tuple<Tensor, Tensor> max(const Tensor& self, std::int64_t dim, bool keepdim = false);  // values and indices (Long)
Tensor argmax(const Tensor& self);  // the position in the flattened tensor
Tensor argmax(const Tensor& self, std::int64_t dim, bool keepdim = false);

// ---- Products of matrices.
Tensor mm(const Tensor& self, const Tensor& mat2);      // (M, K) x (K, N) -> (M, N). O(M K N).
Tensor bmm(const Tensor& self, const Tensor& mat2);     // (B, M, K) x (B, K, N) -> (B, M, N)
Tensor matmul(const Tensor& self, const Tensor& other);  // 1-d: vectors; 2-d: mm; more: batches, which broadcast

// %%
//| export core/ops.h
// The shape that two shapes broadcast to. Throws if a pair of sizes differs and neither is 1.
DimVector infer_size(IntArrayRef a, IntArrayRef b);
// The dtype of a result from `a` and `b`: a 0-d tensor changes the other's type only by its category, a wrapped number yields to both.
ScalarType result_type(const Tensor& a, const Tensor& b);

// %%
//| export core/ops.h
// The operator objects behind the functions: one table of layers each. Functions without one are composed of these.
namespace op {
extern Operator<Tensor(const Tensor&, const TensorOptions&)> created;
extern Operator<Tensor(const Tensor&, IntArrayRef, IntArrayRef, std::optional<std::int64_t>)> as_strided;
extern Operator<Tensor(const Tensor&, IntArrayRef)> view;
extern Operator<Tensor(const Tensor&, IntArrayRef)> expand;
extern Operator<Tensor(const Tensor&, IntArrayRef)> permute;
extern Operator<Tensor(const Tensor&, std::int64_t, std::int64_t)> select;
extern Operator<Tensor(const Tensor&, std::int64_t, std::int64_t, std::int64_t, std::int64_t)> slice;
extern Operator<Tensor(const Tensor&)> clone;
extern Operator<Tensor(const Tensor&, ScalarType)> to_dtype;
extern Operator<const Tensor&(const Tensor&, const Tensor&)> copy_;
extern Operator<const Tensor&(const Tensor&, const Scalar&)> fill_;
extern Operator<Tensor(const Tensor&, const Tensor&, const Scalar&)> add;
extern Operator<Tensor(const Tensor&, const Tensor&, const Scalar&)> sub;
extern Operator<Tensor(const Tensor&, const Tensor&)> mul;
extern Operator<Tensor(const Tensor&, const Tensor&)> div;
extern Operator<const Tensor&(const Tensor&, const Tensor&, const Scalar&)> add_;
extern Operator<const Tensor&(const Tensor&, const Tensor&, const Scalar&)> sub_;
extern Operator<const Tensor&(const Tensor&, const Tensor&)> mul_;
extern Operator<const Tensor&(const Tensor&, const Tensor&)> div_;
extern Operator<Tensor(const Tensor&, const Scalar&)> pow;
extern Operator<Tensor(const Tensor&)> neg;
extern Operator<Tensor(const Tensor&)> abs;
extern Operator<Tensor(const Tensor&)> sign;
extern Operator<Tensor(const Tensor&)> exp;
extern Operator<Tensor(const Tensor&)> log;
extern Operator<Tensor(const Tensor&)> sqrt;
extern Operator<Tensor(const Tensor&, const Tensor&, const Tensor&)> where;
extern Operator<Tensor(const Tensor&, const Tensor&)> eq;
extern Operator<Tensor(const Tensor&, const Tensor&)> ne;
extern Operator<Tensor(const Tensor&, const Tensor&)> lt;
extern Operator<Tensor(const Tensor&, const Tensor&)> le;
extern Operator<Tensor(const Tensor&, const Tensor&)> gt;
extern Operator<Tensor(const Tensor&, const Tensor&)> ge;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> sum;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> amax;
extern Operator<std::tuple<Tensor, Tensor>(const Tensor&, std::int64_t, bool)> max;
extern Operator<Tensor(const Tensor&, std::int64_t, bool)> argmax;
extern Operator<Tensor(const Tensor&, const Tensor&)> mm;
extern Operator<Tensor(const Tensor&, const Tensor&)> bmm;
}  // namespace op

// %%
//| export core/ops.h
inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator+(const Tensor& a, const Scalar& b) { return a.add(b); }
inline Tensor operator+(const Scalar& a, const Tensor& b) { return add(wrapped_scalar(a), b); }
inline Tensor operator-(const Tensor& a, const Tensor& b) { return sub(a, b); }
inline Tensor operator-(const Tensor& a, const Scalar& b) { return a.sub(b); }
inline Tensor operator-(const Scalar& a, const Tensor& b) { return sub(wrapped_scalar(a), b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator*(const Tensor& a, const Scalar& b) { return a.mul(b); }
inline Tensor operator*(const Scalar& a, const Tensor& b) { return mul(wrapped_scalar(a), b); }
inline Tensor operator/(const Tensor& a, const Tensor& b) { return div(a, b); }
inline Tensor operator/(const Tensor& a, const Scalar& b) { return a.div(b); }
inline Tensor operator/(const Scalar& a, const Tensor& b) { return div(wrapped_scalar(a), b); }
inline Tensor operator==(const Tensor& a, const Tensor& b) { return eq(a, b); }
inline Tensor operator==(const Tensor& a, const Scalar& b) { return a.eq(b); }
inline Tensor operator!=(const Tensor& a, const Tensor& b) { return ne(a, b); }
inline Tensor operator!=(const Tensor& a, const Scalar& b) { return a.ne(b); }
inline Tensor operator<(const Tensor& a, const Tensor& b) { return lt(a, b); }
inline Tensor operator<(const Tensor& a, const Scalar& b) { return a.lt(b); }
inline Tensor operator<=(const Tensor& a, const Tensor& b) { return le(a, b); }
inline Tensor operator<=(const Tensor& a, const Scalar& b) { return a.le(b); }
inline Tensor operator>(const Tensor& a, const Tensor& b) { return gt(a, b); }
inline Tensor operator>(const Tensor& a, const Scalar& b) { return a.gt(b); }
inline Tensor operator>=(const Tensor& a, const Tensor& b) { return ge(a, b); }
inline Tensor operator>=(const Tensor& a, const Scalar& b) { return a.ge(b); }

// %%
TEST_CASE("a Tensor is a handle: a copy shares, an assignment to an element writes") {
  Tensor x = zeros({2, 3});
  const Tensor same = x;
  x[0] = tensor({1.0, 2.0, 3.0});
  x[1][2] = 7;
  CHECK_EQ(same, tensor({{1.0, 2.0, 3.0}, {0.0, 0.0, 7.0}}));
  x = ones({3});
  CHECK_EQ(same.sizes(), IntArrayRef({2, 3}));
  CHECK(!x.is_alias_of(same));
  CHECK_ERROR(same.item(), "a Tensor with 6 elements cannot be converted to Scalar");
  CHECK_ERROR(same.data_ptr<std::int64_t>(), "expected scalar type Long but found Float");
  CHECK_ERROR(same.size(2), "Dimension out of range (expected to be in range of [-2, 1], but got 2)");
}

// %% [markdown]
// ### Tensors from values
//
// Nested braces of any depth become one `TensorData`, because each level is an `initializer_list` of the level below.
//
//     tensor({{1, 2}, {3, 4}})
//             |   |
//             +---+--> TensorData sizes (2), values 1 2  --+
//                      TensorData sizes (2), values 3 4  --+--> sizes (2, 2), values 1 2 3 4, all Long

// %%
//| export core/tensor_data.h
// Nested braces of any depth as one value: what `tensor({{1, 2}, {3, 4}})` receives.
// Integers make Long, booleans Bool, floating-point numbers the default dtype; levels must have equal lengths.
// Source: torch/csrc/api/include/torch/detail/TensorDataContainer.h.
class TensorData {
 public:
  template <class T>
    requires std::is_arithmetic_v<T>
  TensorData(T value) : type_(kind_of<T>()), values_{Scalar(value)} {}
  TensorData(std::initializer_list<TensorData> rows);
  template <class T>
  TensorData(const std::vector<T>& values) : TensorData(values.data(), values.size()) {}
  template <class T, std::size_t N>
  TensorData(const std::array<T, N>& values) : TensorData(values.data(), N) {}
  template <class T>
  TensorData(ArrayRef<T> values) : TensorData(values.data(), values.size()) {}

  const DimVector& sizes() const { return sizes_; }
  ScalarType type() const { return type_; }
  const std::vector<Scalar>& values() const { return values_; }

 private:
  template <class T>
  TensorData(const T* values, std::size_t count) : type_(kind_of<T>()), values_(values, values + count) {
    sizes_.push_back(static_cast<std::int64_t>(count));
  }
  TensorData(const bool*, std::size_t) = delete;
  template <class T>
  static ScalarType kind_of() {
    return std::is_floating_point_v<T> ? get_default_dtype() : std::is_same_v<T, bool> ? kBool : kLong;
  }
  DimVector sizes_;
  ScalarType type_;
  std::vector<Scalar> values_;
};

Tensor tensor(const TensorData& data, const TensorOptions& options = {});
inline Tensor scalar_tensor(const Scalar& value, const TensorOptions& options = {}) { return full({}, value, options.dtype(options.dtype())); }

// A tensor over memory that someone else owns; `deleter` is called with its address when the last view is gone.
Tensor from_blob(void* data, IntArrayRef sizes, const TensorOptions& options = {});
Tensor from_blob(void* data, IntArrayRef sizes, std::function<void(void*)> deleter, const TensorOptions& options = {});

// %%
//| export core/tensor_data.cpp
TensorData::TensorData(std::initializer_list<TensorData> rows) : type_(get_default_dtype()) {
  sizes_.push_back(static_cast<std::int64_t>(rows.size()));
  if (rows.size() == 0) return;
  const TensorData& first = *rows.begin();
  type_ = first.type_;
  for (const std::int64_t size : first.sizes_) sizes_.push_back(size);
  for (const TensorData& row : rows) {
    TORCH_CHECK(IntArrayRef(row.sizes_) == IntArrayRef(first.sizes_), "Expected all sub-lists to have sizes: ", IntArrayRef(first.sizes_),
                " (e.g. the first one), but got a sub-list with sizes: ", IntArrayRef(row.sizes_));
    TORCH_CHECK(row.type_ == first.type_, "Expected all elements of the tensor to have the same scalar type: ", first.type_,
                ", but got element of scalar type: ", row.type_);
    values_.insert(values_.end(), row.values_.begin(), row.values_.end());
  }
}

// %%
//| export core/tensor_data.cpp
Tensor tensor(const TensorData& data, const TensorOptions& options) {
  Tensor result = empty(data.sizes(), options.has_dtype() ? options.dtype() : data.type());
  dispatch_all_types(result.scalar_type(), [&]<class T>() {
    T* out = result.data<T>();
    for (const Scalar& value : data.values()) *out++ = value.to<T>();
  });
  return created(result, options);
}

// %%
//| export core/tensor_data.cpp
Tensor from_blob(void* data, IntArrayRef sizes, std::function<void(void*)> deleter, const TensorOptions& options) {
  using Callback = std::function<void(void*)>;
  const std::size_t nbytes = static_cast<std::size_t>(multiply_sizes(sizes)) * elementSize(options.dtype());
  auto release = [](void* address, std::size_t, void* context) {
    const std::unique_ptr<Callback> callback(static_cast<Callback*>(context));
    if (*callback) (*callback)(address);
  };
  auto storage = make_intrusive<StorageImpl>(data, nbytes, release, new Callback(std::move(deleter)));
  const LayerSet layers = LayerSet(Layer::CPU) | birth_layers;
  return created(make_tensor(std::move(storage), options.dtype(), layers, sizes, contiguous_strides(sizes), 0), options);
}

Tensor from_blob(void* data, IntArrayRef sizes, const TensorOptions& options) { return from_blob(data, sizes, nullptr, options); }

// %%
//| export core/creation.cpp
namespace {
Tensor created_cpu(const Tensor& fresh, const TensorOptions&) { return fresh; }
}  // namespace
constinit Operator<Tensor(const Tensor&, const TensorOptions&)> op::created("created", {.cpu = created_cpu});
Tensor created(const Tensor& fresh, const TensorOptions& options) { return op::created(fresh, options); }

// %%
//| export core/creation.cpp
Tensor empty(IntArrayRef size, const TensorOptions& options) {
  const ScalarType type = options.dtype();
  const std::int64_t numel = multiply_sizes(size);
  std::int64_t nbytes = 0;
  TORCH_CHECK(!__builtin_mul_overflow(numel, static_cast<std::int64_t>(elementSize(type)), &nbytes),
              "Storage size calculation overflowed with sizes=", size);
  auto storage = make_intrusive<StorageImpl>(static_cast<std::size_t>(nbytes));
  return created(make_tensor(std::move(storage), type, LayerSet(Layer::CPU) | birth_layers, size, contiguous_strides(size), 0), options);
}

// %%
//| export core/creation.cpp
namespace {
ScalarType type_of_value(const Scalar& value) { return value.isFloatingPoint() ? get_default_dtype() : value.type(); }
}  // namespace

Tensor full(IntArrayRef size, const Scalar& fill_value, const TensorOptions& options) {
  const Tensor result = empty(size, options.has_dtype() ? options.dtype() : type_of_value(fill_value));
  fill_with(result, fill_value);
  return created(result, options);
}

Tensor zeros(IntArrayRef size, const TensorOptions& options) { return full(size, 0, options.dtype(options.dtype())); }
Tensor ones(IntArrayRef size, const TensorOptions& options) { return full(size, 1, options.dtype(options.dtype())); }

namespace {
TensorOptions options_like(const Tensor& self, const TensorOptions& options) {
  return options.dtype(options.has_dtype() ? options.dtype() : self.scalar_type());
}
}  // namespace

Tensor empty_like(const Tensor& self, const TensorOptions& options) { return empty(self.sizes(), options_like(self, options)); }
Tensor zeros_like(const Tensor& self, const TensorOptions& options) { return full_like(self, 0, options); }
Tensor ones_like(const Tensor& self, const TensorOptions& options) { return full_like(self, 1, options); }
Tensor full_like(const Tensor& self, const Scalar& fill_value, const TensorOptions& options) {
  return full(self.sizes(), fill_value, options_like(self, options));
}

// %%
//| export core/creation.cpp
Tensor wrapped_scalar(const Scalar& value) {
  const Tensor result = empty({}, value.isFloatingPoint() ? kDouble : value.type());
  dispatch_all_types(result.scalar_type(), [&]<class T>() { *result.data<T>() = value.to<T>(); });
  result.impl().wrapped_number = true;
  return result;
}

// %%
//| export core/creation.cpp
// start, start + step, ... below `end` (above it for a negative step). Long when all three are integers.
Tensor arange(const Scalar& start, const Scalar& end, const Scalar& step, const TensorOptions& options) {
  const double first = start.toDouble();
  const double last = end.toDouble();
  const double stride = step.toDouble();
  TORCH_CHECK(stride != 0, "step must be nonzero");
  TORCH_CHECK(std::isfinite(first) && std::isfinite(last), "unsupported range: ", first, " -> ", last);
  TORCH_CHECK((stride > 0 && last >= first) || (stride < 0 && last <= first),
              "upper bound and lower bound inconsistent with step sign\n[arange] start ", first, ", end ", last, ", step ", stride);
  const bool integral = start.isIntegral(true) && end.isIntegral(true) && step.isIntegral(true);
  const auto count = integral ? (end.toLong() - start.toLong() + step.toLong() - (step.toLong() > 0 ? 1 : -1)) / step.toLong()
                              : static_cast<std::int64_t>(std::ceil((last - first) / stride));
  const Tensor result = empty({count}, options.has_dtype() ? options.dtype() : integral ? kLong : get_default_dtype());
  dispatch_all_types(result.scalar_type(), [&]<class T>() {
    using Wide = std::conditional_t<std::is_floating_point_v<T>, double, std::int64_t>;
    T* out = result.data<T>();
    for (std::int64_t i = 0; i < count; ++i) out[i] = static_cast<T>(start.to<Wide>() + static_cast<Wide>(i) * step.to<Wide>());
  });
  return created(result, options);
}

Tensor arange(const Scalar& start, const Scalar& end, const TensorOptions& options) { return arange(start, end, 1, options); }
Tensor arange(const Scalar& end, const TensorOptions& options) { return arange(0, end, 1, options); }

// %%
TEST_CASE("tensors from values, ranges and memory") {
  CHECK_EQ(tensor({{1, 2}, {3, 4}}).sizes(), IntArrayRef({2, 2}));
  CHECK_EQ(tensor({1, 2}).scalar_type(), kLong);
  CHECK_EQ(tensor({1.5}).scalar_type(), kFloat);
  CHECK_EQ(tensor(true).dim(), 0);
  CHECK_EQ(tensor({}).sizes(), IntArrayRef({0}));
  CHECK_ERROR(tensor({{1, 2}, {3}}), "Expected all sub-lists to have sizes");
  CHECK_ERROR(full({2}, 300, kByte), "value cannot be converted to type uint8_t without overflow");
  CHECK_EQ(arange(5, 0, -2), tensor({5, 3, 1}));
  CHECK_EQ(arange(0, 1, 0.3).numel(), 4);
  CHECK_EQ(full({2}, 3).scalar_type(), kLong);
  CHECK_EQ(zeros_like(arange(2)), tensor({0, 0}));

  float memory[] = {1, 2, 3, 4};
  int freed = 0;
  {
    Tensor whole = from_blob(memory, {2, 2}, [&freed](void*) { ++freed; });
    const Tensor row = whole[1];
    whole = Tensor();
    row[0] = 30;
    CHECK_EQ(freed, 0);
  }
  CHECK_EQ(freed, 1);
  CHECK_EQ(memory[2], 30.0F);
}

// %% [markdown]
// ### Views
//
// A view is a new `TensorImpl` over an old storage. All of these are arithmetic on sizes, strides and offset:
//
//     x        (3, 4)  strides (4, 1)  offset 0       0  1  2  3
//     x.t()    (4, 3)          (1, 4)         0       4  5  6  7
//     x[1]     (4)             (1)            4       8  9 10 11
//     x.select(1, 2)  (3)      (4)            2       -> 2 6 10
//     x.slice(1, 0, 4, 2) (3, 2)  (4, 2)      0       -> 0 2 | 4 6 | 8 10
// %%
//| export core/views.cpp
namespace {
// A new tensor over the same storage.
Tensor alias(const Tensor& self, DimVector sizes, DimVector strides, std::int64_t offset) {
  const LayerSet layers = self.impl().layers - Layer::Autograd;
  return make_tensor(self.storage(), self.scalar_type(), layers, std::move(sizes), std::move(strides), offset);
}
}  // namespace

// %%
//| export core/views.cpp
namespace {
Tensor as_strided_cpu(const Tensor& self, IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset) {
  const std::int64_t first = storage_offset.value_or(self.storage_offset());
  const bool is_empty = multiply_sizes(size) == 0;
  double last = static_cast<double>(first);  // of a position: a double does not overflow, and is exact where it can be in bounds
  for (std::size_t i = 0; i < size.size(); ++i) last += static_cast<double>(size[i] - 1) * static_cast<double>(stride[i]);
  const double needed = (last + 1) * static_cast<double>(self.element_size());
  TORCH_CHECK(is_empty || needed <= static_cast<double>(self.storage()->nbytes()), "setStorage: sizes ", size, ", strides ", stride,
              ", storage offset ", first, ", and itemsize ", self.element_size(), " requiring a storage size of ",
              static_cast<std::size_t>(needed), " are out of bounds for storage of size ", self.storage()->nbytes());
  return alias(self, size, stride, first);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef, IntArrayRef, std::optional<std::int64_t>)> op::as_strided("as_strided",
                                                                                                         {.cpu = as_strided_cpu});

Tensor as_strided(const Tensor& self, IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset) {
  TORCH_CHECK(size.size() == stride.size(), "mismatch in length of strides and shape");
  for (const std::int64_t step : stride)
    TORCH_CHECK(step >= 0, "as_strided: Negative strides are not supported at the moment, got strides: ", stride);
  TORCH_CHECK(storage_offset.value_or(0) >= 0, "Tensor: invalid storage offset ", storage_offset.value_or(0));
  return op::as_strided(self, size, stride, storage_offset);
}

// %%
//| export core/ops.h
// The strides with which memory laid out as (sizes, strides) can be seen in the shape `shape`, or nothing if only a copy can.
// Source: aten/src/ATen/TensorUtils.cpp, computeStride.
std::optional<DimVector> compute_stride(IntArrayRef sizes, IntArrayRef strides, IntArrayRef shape);
// `shape` with its -1 worked out so that it holds `numel` elements.
DimVector infer_shape(IntArrayRef shape, std::int64_t numel);

// %%
//| export core/views.cpp
DimVector infer_shape(IntArrayRef shape, std::int64_t numel) {
  DimVector sizes(shape);
  std::int64_t known = 1;
  bool overflow = false;
  std::optional<std::size_t> open;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == -1) {
      TORCH_CHECK(!open, "only one dimension can be inferred");
      open = i;
    } else {
      TORCH_CHECK(shape[i] >= 0, "invalid shape dimension ", shape[i], " at index ", i, " of shape ", shape);
      overflow = __builtin_mul_overflow(known, shape[i], &known) || overflow;
    }
  }
  if (open && known > 0 && !overflow && numel % known == 0) {
    sizes[*open] = numel / known;
    return sizes;
  }
  TORCH_CHECK(!(open && known == 0 && numel == 0), "cannot reshape tensor of 0 elements into shape ", shape,
              " because the unspecified dimension size -1 can be any value and is ambiguous");
  TORCH_CHECK(!open && !overflow && known == numel, "shape '", shape, "' is invalid for input of size ", numel);
  return sizes;
}

// %% [markdown]
// Which shapes can a tensor take without a copy? Going from the back, dimensions that continue each other in memory form a *chunk*, in which elements are evenly spaced. New dimensions may split or join a chunk,
// but none may reach from one chunk into the next.
//
//     sizes (2, 3, 4)  strides (12, 4, 1)     4 = 4 * 1, 12 = 3 * 4: one chunk of 24   any shape fits
//     its transpose(0, 1): (3, 2, 4), (4, 12, 1)     12 != 4 * 1: chunks 3 | 2 | 4     (3, 2, 2, 2) fits, (6, 4) does not

// %% {"nbgrader": {"grade": false, "grade_id": "01-compute-stride", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/views.cpp
// The strides with which memory laid out as (sizes, strides) can be seen in the shape `shape`, or nothing if only a copy can.
// REQUIRES: both have the same number of elements. O(dims).
//
// TODO: Cut the old dimensions into chunks and place the new ones into them.
// APPROACH: 1. No elements: contiguous strides will do.
//           2. Walk the old dimensions from the back and multiply their sizes while the next one continues the chunk:
//              strides[i - 1] == chunk * chunk_stride (or its size is 1).
//           3. At the end of a chunk take new dimensions from the back until their product reaches the chunk; their
//              strides are products of the new sizes behind them, times chunk_stride. If the products differ: std::nullopt.
// EXAMPLE: compute_stride({3, 4}, {1, 3}, {3, 2, 2}) is {1, 6, 3}; for {12} it is nothing.
// HINT: New sizes of 1 fit anywhere: take them also when the chunk is full.
std::optional<DimVector> compute_stride(IntArrayRef sizes, IntArrayRef strides, IntArrayRef shape) {
  // BEGIN SOLUTION
  if (multiply_sizes(sizes) == 0) return contiguous_strides(shape);
  DimVector result(shape.size());
  std::size_t next = shape.size();  // the next dimension of `shape` to place, from the back
  std::int64_t chunk_stride = sizes.empty() ? 1 : strides.back();
  std::int64_t chunk = 1;   // elements of the old dimensions gathered so far
  std::int64_t placed = 1;  // elements of the new dimensions placed in this chunk
  for (std::size_t i = sizes.size(); i-- > 0;) {
    chunk *= sizes[i];
    // A chunk ends where the next old dimension does not continue it in memory.
    const bool last = i == 0;
    if (!last && (sizes[i - 1] == 1 || strides[i - 1] == chunk * chunk_stride)) continue;
    while (next > 0 && (placed < chunk || shape[next - 1] == 1)) {
      --next;
      result[next] = placed * chunk_stride;
      placed *= shape[next];
    }
    if (placed != chunk) return std::nullopt;
    if (!last) {
      chunk_stride = strides[i - 1];
      chunk = 1;
      placed = 1;
    }
  }
  while (next > 0) result[--next] = placed * chunk_stride;  // a 0-d tensor seen as sizes of 1
  return result;
  // END SOLUTION
}

// %%
//| mistake 01-compute-stride forgets-the-strides
//| says Sizes that fit are not enough: in a transpose the dimensions do not continue each other in memory. Compare strides[i - 1] with chunk * chunk_stride.
#if 0
std::optional<DimVector> compute_stride(IntArrayRef sizes, IntArrayRef strides, IntArrayRef shape) {
  if (multiply_sizes(sizes) != multiply_sizes(shape) || strides.size() != sizes.size()) return std::nullopt;
  return contiguous_strides(shape);
}
#endif

// %%
//| mistake 01-compute-stride only-contiguous
//| says A view is also possible where only some dimensions are out of order: chunks may be split and joined by themselves.
#if 0
std::optional<DimVector> compute_stride(IntArrayRef sizes, IntArrayRef strides, IntArrayRef shape) {
  if (!(strides == IntArrayRef(contiguous_strides(sizes)))) return std::nullopt;
  return contiguous_strides(shape);
}
#endif

// %%
//| export core/views.cpp
namespace {
Tensor view_cpu(const Tensor& self, IntArrayRef size) {
  const DimVector shape = infer_shape(size, self.numel());
  const std::optional<DimVector> strides = compute_stride(self.sizes(), self.strides(), shape);
  TORCH_CHECK(strides.has_value(),
              "view size is not compatible with input tensor's size and stride (at least one dimension spans across two contiguous "
              "subspaces). Use .reshape(...) instead.\n[view] sizes ",
              self.sizes(), ", strides ", self.strides(), ", asked for ", size);
  return alias(self, shape, *strides, self.storage_offset());
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef)> op::view("view", {.cpu = view_cpu});
Tensor view(const Tensor& self, IntArrayRef size) { return op::view(self, size); }

// %% {"nbgrader": {"grade": true, "grade_id": "01-compute-stride-test", "locked": true, "points": 6, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("view: the same memory in another shape, or an error") {
  auto strides_of = [](IntArrayRef sizes, IntArrayRef strides, IntArrayRef shape) {
    const std::optional<DimVector> found = compute_stride(sizes, strides, shape);
    return found ? found->size() == 0 ? std::vector<std::int64_t>{} : IntArrayRef(*found).vec() : std::vector<std::int64_t>{-1};
  };
  using Strides = std::vector<std::int64_t>;
  CHECK(strides_of({2, 3, 4}, {12, 4, 1}, {6, 4}) == Strides{4, 1});
  CHECK(strides_of({3, 2, 4}, {4, 12, 1}, {3, 2, 2, 2}) == Strides{4, 12, 2, 1});
  CHECK(strides_of({3, 2, 4}, {4, 12, 1}, {6, 4}) == Strides{-1});
  CHECK(strides_of({3, 4}, {1, 3}, {3, 2, 2}) == Strides{1, 6, 3});
  CHECK(strides_of({3, 4}, {1, 3}, {12}) == Strides{-1});
  CHECK(strides_of({4, 3}, {0, 1}, {2, 2, 3}) == Strides{0, 0, 1});
  CHECK(strides_of({}, {}, {1, 1}) == Strides{1, 1});
  const Tensor x = arange(24).view({2, 3, 4});
  CHECK(x.view({-1, 8}).is_alias_of(x));
  CHECK_EQ(x.view({4, 6})[1][0].item<int>(), 6);
  CHECK_ERROR(x.transpose(0, 1).view({24}), "view size is not compatible with input tensor's size and stride");
  CHECK_ERROR(x.view({5, -1}), "shape '[5, -1]' is invalid for input of size 24");
  CHECK_ERROR(x.view({-1, -1}), "only one dimension can be inferred");
  // BEGIN HIDDEN TESTS
  CHECK(strides_of({2, 1, 3}, {10, 7, 2}, {2, 3}) == Strides{10, 2});
  CHECK(strides_of({2, 3}, {10, 2}, {2, 1, 3, 1}) == Strides{10, 6, 2, 2});
  CHECK(strides_of({2, 3}, {10, 2}, {6}) == Strides{-1});
  CHECK(strides_of({0, 3}, {3, 1}, {5, 0}) == Strides{1, 1});
  CHECK(x.reshape({3, 8}).is_alias_of(x));
  CHECK(!x.transpose(0, 2).reshape({24}).is_alias_of(x));
  CHECK_EQ(x.transpose(0, 2).reshape({24})[1].item<int>(), 12);
  // END HIDDEN TESTS
}

// %%
//| export core/views.cpp
Tensor reshape(const Tensor& self, IntArrayRef shape) {
  const DimVector sizes = infer_shape(shape, self.numel());
  return compute_stride(self.sizes(), self.strides(), sizes) ? view(self, sizes) : view(self.clone(), sizes);
}

// %%
//| export core/views.cpp
Tensor flatten(const Tensor& self, std::int64_t start_dim, std::int64_t end_dim) {
  const auto first = static_cast<std::size_t>(wrap_dim(start_dim, self.dim()));
  const auto last = static_cast<std::size_t>(wrap_dim(end_dim, self.dim()));
  TORCH_CHECK(first <= last, "flatten() has invalid args: start_dim cannot come after end_dim");
  if (self.dim() == 0) return reshape(self, {1});
  DimVector shape;
  for (std::size_t i = 0; i < first; ++i) shape.push_back(self.sizes()[i]);
  shape.push_back(multiply_sizes(IntArrayRef(self.sizes().data() + first, last - first + 1)));
  for (std::size_t i = last + 1; i < self.sizes().size(); ++i) shape.push_back(self.sizes()[i]);
  return reshape(self, shape);
}

// %% [markdown]
// Expanding repeats a tensor along a dimension of size 1, and the trick is a stride of **0**: the next element is the same element. A row seen a million times still costs one row of memory.
//
//     bias (1, 3)   strides (3, 1)       memory: [ a | b | c ]
//     bias.expand({4, 3})   strides (0, 1)
//                                        row 0 --> a b c
//                                        row 1 --> the same a b c      0 further
//                                        ...

// %% {"nbgrader": {"grade": false, "grade_id": "01-expand", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/views.cpp
namespace {
// A view of `self` with sizes `size`: new dimensions in front, and dimensions of size 1 stretched, both with stride 0; -1 keeps a size.
// Throws if a size that is not 1 would change. O(dims), no data is copied.
//
// TODO: Compute sizes and strides of the expanded view.
// APPROACH: 1. Fewer sizes than dimensions: an error (the sentence stands in the tests).
//           2. From the last dimension to the first: -1 stands for the old size; new leading dimensions count as size 1.
//           3. A stretched or new dimension has stride 0, another keeps its own. alias() makes the view.
// EXAMPLE: (3, 1) with strides (1, 1) expanded to {2, 3, 4} has strides (0, 1, 0).
// HINT: `added = size.size() - self.sizes().size()` leading dimensions are new.
Tensor expand_cpu(const Tensor& self, IntArrayRef size) {
  // BEGIN SOLUTION
  TORCH_CHECK(size.size() >= self.sizes().size(), "expand(CPU", self.scalar_type(), "Type{", self.sizes(), "}, size=", size,
              "): the number of sizes provided (", size.size(), ") must be greater or equal to the number of dimensions in the tensor (",
              self.dim(), ")");
  DimVector sizes(size);
  DimVector strides(size.size());
  const std::size_t added = size.size() - self.sizes().size();
  for (std::size_t i = size.size(); i-- > 0;) {
    const std::int64_t old = i < added ? 1 : self.sizes()[i - added];
    if (size[i] == -1) {
      TORCH_CHECK(i >= added, "The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension ", i);
      sizes[i] = old;
    }
    TORCH_CHECK(old == sizes[i] || old == 1, "The expanded size of the tensor (", sizes[i], ") must match the existing size (", old,
                ") at non-singleton dimension ", i, ".  Target sizes: ", size, ".  Tensor sizes: ", self.sizes());
    strides[i] = i < added || (old == 1 && sizes[i] != 1) ? 0 : self.strides()[i - added];
  }
  return alias(self, sizes, strides, self.storage_offset());
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 01-expand copies-the-data
//| says Expanding must not copy: share the storage and give the stretched dimensions stride 0.
#if 0
Tensor expand_cpu(const Tensor& self, IntArrayRef size) {
  TORCH_CHECK(size.size() >= self.sizes().size(), "the number of sizes provided (", size.size(), ") must be greater or equal to the number of dimensions in the tensor (", self.dim(), ")");
  DimVector sizes(size);
  for (std::size_t i = 0; i < size.size(); ++i) {
    const std::size_t added = size.size() - self.sizes().size();
    const std::int64_t old = i < added ? 1 : self.sizes()[i - added];
    if (size[i] == -1) sizes[i] = old;
    TORCH_CHECK(old == sizes[i] || old == 1, "The expanded size of the tensor (", sizes[i], ") must match the existing size (", old, ") at non-singleton dimension ", i);
  }
  return copy_(empty(sizes, self.options()), self);
}
#endif

// %%
//| export core/views.cpp
constinit Operator<Tensor(const Tensor&, IntArrayRef)> op::expand("expand", {.cpu = expand_cpu});
Tensor expand(const Tensor& self, IntArrayRef size) { return op::expand(self, size); }

// %% {"nbgrader": {"grade": true, "grade_id": "01-expand-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("expand: stride 0 instead of copies") {
  const Tensor x = arange(3).view({3, 1});
  const MemoryStats before = memory::stats();
  const Tensor wide = x.expand({2, 3, 4});
  CHECK_EQ(memory::stats().allocations, before.allocations);
  CHECK(wide.is_alias_of(x));
  CHECK_EQ(wide.sizes(), IntArrayRef({2, 3, 4}));
  CHECK_EQ(wide.stride(0), 0);
  CHECK_EQ(wide.stride(1), 1);
  CHECK_EQ(wide.stride(2), 0);
  CHECK_EQ(x.expand({-1, 2}), tensor({{0, 0}, {1, 1}, {2, 2}}));
  CHECK_ERROR(x.expand({4, 1}), "The expanded size of the tensor (4) must match the existing size (3) at non-singleton dimension 0");
  CHECK_ERROR(x.expand({3}), "the number of sizes provided (1) must be greater or equal to the number of dimensions in the tensor (2)");
  CHECK_ERROR(wide.add_(1), "more than one element of the written-to tensor refers to a single memory location");
  // BEGIN HIDDEN TESTS
  CHECK_ERROR(x.expand({-1, 3, 1}), "The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension 0");
  CHECK_EQ(tensor(5).expand({2}), tensor({5, 5}));
  CHECK_EQ(ones({1}).expand({0}).numel(), 0);
  // END HIDDEN TESTS
}

// %%
//| export core/views.cpp
namespace {
Tensor permute_cpu(const Tensor& self, IntArrayRef dims) {
  DimVector sizes(dims.size());
  DimVector strides(dims.size());
  std::vector<bool> seen(dims.size());
  for (std::size_t i = 0; i < dims.size(); ++i) {
    const auto from = static_cast<std::size_t>(wrap_dim(dims[i], self.dim()));
    TORCH_CHECK(!seen[from], "permute(): duplicate dims are not allowed.");
    seen[from] = true;
    sizes[i] = self.sizes()[from];
    strides[i] = self.strides()[from];
  }
  return alias(self, sizes, strides, self.storage_offset());
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef)> op::permute("permute", {.cpu = permute_cpu});

Tensor permute(const Tensor& self, IntArrayRef dims) {
  TORCH_CHECK(dims.size() == self.sizes().size(), "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired ordering of dimensions i.e. input.dim() = ",
              self.dim(), " is not equal to len(dims) = ", dims.size());
  return op::permute(self, dims);
}

// %%
//| export core/views.cpp
Tensor transpose(const Tensor& self, std::int64_t dim0, std::int64_t dim1) {
  const std::int64_t a = wrap_dim(dim0, self.dim());
  const std::int64_t b = wrap_dim(dim1, self.dim());
  DimVector dims(self.sizes().size());
  for (std::size_t i = 0; i < dims.size(); ++i) dims[i] = static_cast<std::int64_t>(i);
  if (!dims.empty()) std::swap(dims[static_cast<std::size_t>(a)], dims[static_cast<std::size_t>(b)]);
  return permute(self, dims);
}

Tensor t(const Tensor& self) {
  TORCH_CHECK(self.dim() <= 2, "t() expects a tensor with <= 2 dimensions, but self is ", self.dim(), "D");
  return self.dim() < 2 ? transpose(self, 0, 0) : transpose(self, 0, 1);
}

// %% {"nbgrader": {"grade": false, "grade_id": "01-select", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/views.cpp
namespace {
// The view at `index` of dimension `dim`, which disappears. REQUIRES: 0 <= dim < self.dim(), 0 <= index < size(dim). O(dims).
//
// TODO: Drop the dimension and move the offset.
// APPROACH: DimVector::erase removes an entry; index steps along `dim` move the first element.
// EXAMPLE: (3, 4) with strides (4, 1), select(1, 2): sizes (3), strides (4), offset 2.
// HINT: Offsets count elements, and a step along dim is strides()[dim] of them. The view itself may begin at an offset.
Tensor select_cpu(const Tensor& self, std::int64_t dim, std::int64_t index) {
  // BEGIN SOLUTION
  DimVector sizes(self.sizes());
  DimVector strides(self.strides());
  const auto d = static_cast<std::size_t>(dim);
  sizes.erase(d);
  strides.erase(d);
  return alias(self, sizes, strides, self.storage_offset() + index * self.strides()[d]);
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 01-select forgets-the-first-offset
//| says A view of a view begins where the first view begins: add to self.storage_offset().
#if 0
Tensor select_cpu(const Tensor& self, std::int64_t dim, std::int64_t index) {
  DimVector sizes(self.sizes());
  DimVector strides(self.strides());
  const auto d = static_cast<std::size_t>(dim);
  sizes.erase(d);
  strides.erase(d);
  return alias(self, sizes, strides, index * self.strides()[d]);
}
#endif

// %%
//| export core/views.cpp
constinit Operator<Tensor(const Tensor&, std::int64_t, std::int64_t)> op::select("select", {.cpu = select_cpu});

Tensor select(const Tensor& self, std::int64_t dim, std::int64_t index) {
  TORCH_CHECK_INDEX(self.dim() > 0, "select() cannot be applied to a 0-dim tensor.");
  const std::int64_t d = wrap_dim(dim, self.dim());
  const std::int64_t size = self.size(d);
  TORCH_CHECK_INDEX(index >= -size && index < size, "select(): index ", index, " out of range for tensor of size ", self.sizes(), " at dimension ", d);
  return op::select(self, d, index < 0 ? index + size : index);
}

// %% {"nbgrader": {"grade": true, "grade_id": "01-select-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("select: one dimension less, the offset moved") {
  const Tensor x = arange(24).view({2, 3, 4});
  CHECK_EQ(x.select(1, 2).sizes(), IntArrayRef({2, 4}));
  CHECK_EQ(x.select(1, 2).storage_offset(), 8);
  CHECK_EQ(x[1][2][3].item<int>(), 23);
  CHECK_EQ(x[-1].select(1, -1), tensor({15, 19, 23}));
  CHECK(x[1].is_alias_of(x));
  CHECK_ERROR(x[2], "select(): index 2 out of range for tensor of size [2, 3, 4] at dimension 0");
  CHECK_ERROR(tensor(1)[0], "select() cannot be applied to a 0-dim tensor.");
  // BEGIN HIDDEN TESTS
  CHECK_EQ(x.transpose(0, 2)[1].storage_offset(), 1);
  CHECK_EQ(x.transpose(0, 2)[1][2][1].item<int>(), 21);
  // END HIDDEN TESTS
}

// %%
//| export core/views.cpp
namespace {
Tensor slice_cpu(const Tensor& self, std::int64_t dim, std::int64_t start, std::int64_t end, std::int64_t step) {
  DimVector sizes(self.sizes());
  DimVector strides(self.strides());
  const auto d = static_cast<std::size_t>(dim);
  const std::int64_t offset = self.storage_offset() + start * strides[d];
  sizes[d] = end > start ? 1 + (end - start - 1) / step : 0;
  if (__builtin_mul_overflow(strides[d], step, &strides[d])) strides[d] = 0;  // then there is at most one element
  return alias(self, sizes, strides, offset);
}
}  // namespace
constinit Operator<Tensor(const Tensor&, std::int64_t, std::int64_t, std::int64_t, std::int64_t)> op::slice("slice", {.cpu = slice_cpu});

// Elements start, start + step, ... below end of one dimension. Bounds count from the end when negative and are clamped, as in Python.
Tensor slice(const Tensor& self, std::int64_t dim, std::optional<std::int64_t> start, std::optional<std::int64_t> end, std::int64_t step) {
  TORCH_CHECK_INDEX(self.dim() > 0, "slice() cannot be applied to a 0-dim tensor.");
  TORCH_CHECK(step > 0, "slice step must be positive");
  const std::int64_t d = wrap_dim(dim, self.dim());
  const std::int64_t size = self.size(d);
  auto clamp = [size](std::int64_t bound) { return std::clamp<std::int64_t>(bound < 0 ? bound + size : bound, 0, size); };
  const std::int64_t first = clamp(start.value_or(0));
  const std::int64_t last = std::max(first, clamp(end.value_or(size)));
  return op::slice(self, d, first, last, step);
}

Tensor narrow(const Tensor& self, std::int64_t dim, std::int64_t start, std::int64_t length) {
  TORCH_CHECK(self.dim() > 0, "narrow() cannot be applied to a 0-dim tensor.");
  TORCH_CHECK(length >= 0, "narrow(): length must be non-negative.");
  const std::int64_t size = self.size(dim);
  TORCH_CHECK_INDEX(start >= -size && start <= size, "start out of range (expected to be in range of [", -size, ", ", size, "], but got ", start, ")");
  const std::int64_t first = start < 0 ? start + size : start;
  TORCH_CHECK(first + length <= size, "start (", first, ") + length (", length, ") exceeds dimension size (", size, ").");
  return slice(self, dim, first, first + length);
}

// %%
//| export core/views.cpp
Tensor squeeze(const Tensor& self) {
  DimVector shape;
  for (const std::int64_t size : self.sizes())
    if (size != 1) shape.push_back(size);
  return view(self, shape);
}

Tensor squeeze(const Tensor& self, std::int64_t dim) {
  const std::int64_t d = wrap_dim(dim, self.dim());
  DimVector shape(self.sizes());
  if (self.dim() > 0 && self.size(d) == 1) shape.erase(static_cast<std::size_t>(d));
  return view(self, shape);
}

Tensor unsqueeze(const Tensor& self, std::int64_t dim) {
  const std::int64_t d = wrap_dim(dim, self.dim() + 1);
  DimVector shape(self.sizes());
  shape.insert(static_cast<std::size_t>(d), 1);
  return view(self, shape);
}

// %%
TEST_CASE("views: permute, slice, narrow, squeeze share memory and refuse what does not fit") {
  const Tensor x = arange(24).view({2, 3, 4});
  CHECK_EQ(x.permute({2, 0, 1}).strides(), IntArrayRef({1, 12, 4}));
  CHECK_EQ(x.slice(2, 1, 4, 2)[0][0], tensor({1, 3}));
  CHECK_EQ(x.slice(2, -2)[1][2], tensor({22, 23}));
  CHECK_EQ(x.slice(1, 2, 1).sizes(), IntArrayRef({2, 0, 4}));
  CHECK_EQ(x.narrow(1, 1, 2).storage_offset(), 4);
  CHECK_EQ(x.unsqueeze(1).squeeze().sizes(), x.sizes());
  CHECK_EQ(x.flatten(1).sizes(), IntArrayRef({2, 12}));
  for (const Tensor& view : {x.transpose(1, 2), x.slice(0, 1), x.unsqueeze(-1)}) CHECK(view.is_alias_of(x));
  CHECK_ERROR(x.permute({0, 0, 1}), "permute(): duplicate dims are not allowed.");
  CHECK_ERROR(x.slice(0, 0, 1, 0), "slice step must be positive");
  CHECK_ERROR(x.narrow(1, 2, 2), "start (2) + length (2) exceeds dimension size (3).");
  CHECK_ERROR(x.t(), "t() expects a tensor with <= 2 dimensions, but self is 3D");
  CHECK_ERROR(x.as_strided({100}, {1}), "are out of bounds for storage of size 192");
}

// %% [markdown]
// The next exercise is a *design* exercise: only the contract is given. Audio frames, moving averages and convolutions look at a long signal through a window that slides. Copied out, windows that overlap need many times the
// memory of the signal. How little can it be?
//
//     signal               0 1 2 3 4 5 6
//     windows of 3,        [0 1 2]
//     2 apart                  [2 3 4]
//                                  [4 5 6]

// %%
//| export core/ops.h
// All windows of `size` neighbours along `dimension`, `step` apart: that dimension counts the windows, and a last one of length `size` is added.
Tensor unfold(const Tensor& self, std::int64_t dimension, std::int64_t size, std::int64_t step);

// %% {"nbgrader": {"grade": false, "grade_id": "01-unfold", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/views.cpp
//| exercise design
// All windows of `size` neighbours along `dimension`, `step` apart. The sizes are those of self, except that `dimension` has the number
// of whole windows, and a last dimension of length `size` is added. `dimension` may be negative.
// Allocates no memory for elements, whatever the sizes: writing into a window writes into self. O(dims).
// Throws "maximum size for tensor at dimension D is S but size is W" if a window is longer than the dimension, "step is N but must be > 0" for such a step.
//
// TODO: Design windows that share the memory of the tensor.
Tensor unfold(const Tensor& self, std::int64_t dimension, std::int64_t size, std::int64_t step) {
  // BEGIN SOLUTION
  const auto d = static_cast<std::size_t>(wrap_dim(dimension, self.dim()));
  const std::int64_t length = self.dim() == 0 ? 1 : self.sizes()[d];
  TORCH_CHECK(size >= 0, "size is ", size, " but must be >= 0");
  TORCH_CHECK(size <= length, "maximum size for tensor at dimension ", d, " is ", length, " but size is ", size);
  TORCH_CHECK(step > 0, "step is ", step, " but must be > 0");
  DimVector sizes(self.sizes());
  DimVector strides(self.strides());
  const std::int64_t stride = self.dim() == 0 ? 1 : strides[d];
  if (self.dim() > 0) {
    sizes[d] = (length - size) / step + 1;
    strides[d] = stride * step;
  }
  sizes.push_back(size);
  strides.push_back(stride);
  return as_strided(self, sizes, strides);
  // END SOLUTION
}

// %%
//| mistake 01-unfold copies-the-windows
//| says The values are right, but they were copied: overlapping windows can be one as_strided view, with the stride of the dimension twice.
#if 0
Tensor unfold(const Tensor& self, std::int64_t dimension, std::int64_t size, std::int64_t step) {
  const auto d = static_cast<std::size_t>(wrap_dim(dimension, self.dim()));
  TORCH_CHECK(size <= self.sizes()[d], "maximum size for tensor at dimension ", d, " is ", self.sizes()[d], " but size is ", size);
  TORCH_CHECK(step > 0, "step is ", step, " but must be > 0");
  DimVector sizes(self.sizes());
  sizes[d] = (sizes[d] - size) / step + 1;
  sizes.push_back(size);
  DimVector strides(self.strides());
  strides[d] *= step;
  strides.push_back(self.strides()[d]);
  return as_strided(self, sizes, strides).clone();
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "01-unfold-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("unfold: windows that share memory") {
  const Tensor signal = arange(7);
  const std::size_t allocations = memory::stats().allocations;
  const Tensor windows = unfold(signal, 0, 3, 2);
  CHECK_EQ(memory::stats().allocations, allocations);
  CHECK_EQ(windows, tensor({{0, 1, 2}, {2, 3, 4}, {4, 5, 6}}));
  windows[0][2] = 20;
  CHECK_EQ(windows[1][0].item<int>(), 20);
  const Tensor x = arange(12).view({3, 4});
  CHECK_EQ(unfold(x, 0, 2, 1).sizes(), IntArrayRef({2, 4, 2}));
  CHECK_EQ(unfold(x, -1, 2, 2)[2], tensor({{8, 9}, {10, 11}}));
  CHECK_ERROR(unfold(x, 1, 5, 1), "maximum size for tensor at dimension 1 is 4 but size is 5");
  CHECK_ERROR(unfold(x, 1, 2, 0), "step is 0 but must be > 0");
  // BEGIN HIDDEN TESTS
  CHECK_EQ(unfold(x.t(), 0, 3, 1)[1][2], tensor({9, 10, 11}));
  CHECK_EQ(unfold(x.slice(0, 1), 0, 1, 1)[1][3], tensor({11}));
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Loops over strided memory
//
// All kernels share one walk. It first simplifies: sizes of 1 vanish, and dimensions that continue each other for *every* operand merge. Then the innermost dimension is a plain loop, and the others count like an odometer.
//
//     sizes (2, 3, 4), all contiguous     ->  one loop of 24
//     a (3, 4) + b (4) stretched: strides (4, 1) and (0, 1)  ->  3 runs of 4
//
//     index   0 0   0 1   0 2   1 0 ...        the last dimension first; on overflow it goes
//     offset  +s2   +s2   -3*s2 +s1            back to 0 and the one before it moves

// %%
//| export core/loops.h
// A walk over N operands of one shape, each with its own strides. Dimensions of size 1 are dropped and neighbours that follow
// each other in memory for every operand are merged, so that a contiguous walk of any shape is one loop.
// Source: aten/src/ATen/TensorIterator.cpp.
template <std::size_t N>
class StridedLoop {
 public:
  using Offsets = std::array<std::int64_t, N>;
  StridedLoop(IntArrayRef sizes, const std::array<IntArrayRef, N>& strides);

  // Calls inner(offsets, count, steps) for each innermost run: element i of operand k is at offsets[k] + i * steps[k].
  template <class F>
  void run(F&& inner) const;

 private:
  bool empty_ = false;
  DimVector sizes_;                   // outermost first; at least one
  std::array<DimVector, N> strides_;  // of each operand
};

// %%
//| export core/loops.h
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

// %% {"nbgrader": {"grade": false, "grade_id": "01-strided-run", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/loops.h
// Calls inner(offsets, count, steps) for each innermost run, the first dimension slowest. O(number of runs * N), no allocation up to six dimensions.
//
// TODO: Call `inner` for each position of the outer dimensions.
// APPROACH: 1. Nothing to do if empty_. The last entry of sizes_ is the innermost dimension: it gives count, its strides steps.
//           2. Keep an index and the offsets of all operands; call inner.
//           3. Advance the last outer dimension. If it reaches its size, take its whole way back from the offsets, set it to 0, and advance the one before it. No dimension left: done.
// EXAMPLE: sizes (2, 3) and strides (10, 1): inner gets offset 0, then offset 10, each with count 3 and step 1.
// HINT: strides_[k][d] is the stride of operand k in dimension d.
template <std::size_t N>
template <class F>
void StridedLoop<N>::run(F&& inner) const {
  // BEGIN SOLUTION
  if (empty_) return;
  const std::size_t outer = sizes_.size() - 1;
  Offsets offsets{};
  Offsets steps{};
  for (std::size_t k = 0; k < N; ++k) steps[k] = strides_[k][outer];
  DimVector index(outer);
  while (true) {
    inner(offsets, sizes_[outer], steps);
    // Advance the index like an odometer: the last outer dimension first.
    std::size_t d = outer;
    while (d-- > 0) {
      for (std::size_t k = 0; k < N; ++k) offsets[k] += strides_[k][d];
      if (++index[d] < sizes_[d]) break;
      for (std::size_t k = 0; k < N; ++k) offsets[k] -= strides_[k][d] * sizes_[d];
      index[d] = 0;
    }
    if (d == static_cast<std::size_t>(-1)) return;
  }
  // END SOLUTION
}

// %%
//| mistake 01-strided-run first-dimension-first
//| says The last outer dimension moves first, as the last wheel of an odometer; only when it is full does the one before it move.
#if 0
template <std::size_t N>
template <class F>
void StridedLoop<N>::run(F&& inner) const {
  if (empty_) return;
  const std::size_t outer = sizes_.size() - 1;
  Offsets offsets{};
  Offsets steps{};
  for (std::size_t k = 0; k < N; ++k) steps[k] = strides_[k][outer];
  DimVector index(outer);
  while (true) {
    inner(offsets, sizes_[outer], steps);
    std::size_t d = 0;
    for (; d < outer; ++d) {
      for (std::size_t k = 0; k < N; ++k) offsets[k] += strides_[k][d];
      if (++index[d] < sizes_[d]) break;
      for (std::size_t k = 0; k < N; ++k) offsets[k] -= strides_[k][d] * sizes_[d];
      index[d] = 0;
    }
    if (d == outer) return;
  }
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "01-strided-run-test", "locked": true, "points": 5, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("StridedLoop: every run once, in order, merged where memory allows") {
  std::vector<std::int64_t> seen;
  auto record = [&seen](const auto& offset, std::int64_t count, const auto& step) { seen.insert(seen.end(), {offset[0], count, step[0]}); };
  StridedLoop<1>({2, 3, 4}, {IntArrayRef({12, 4, 1})}).run(record);
  CHECK(seen == std::vector<std::int64_t>{0, 24, 1});
  seen.clear();
  StridedLoop<1>({2, 3}, {IntArrayRef({10, 1})}).run(record);
  CHECK(seen == std::vector<std::int64_t>{0, 3, 1, 10, 3, 1});
  seen.clear();
  StridedLoop<1>({2, 2, 3}, {IntArrayRef({1, 10, 100})}).run(record);
  CHECK(seen == std::vector<std::int64_t>{0, 3, 100, 10, 3, 100, 1, 3, 100, 11, 3, 100});
  seen.clear();
  StridedLoop<1>({2, 0, 3}, {IntArrayRef({3, 3, 1})}).run(record);
  CHECK(seen.empty());
  StridedLoop<1>(IntArrayRef(), {IntArrayRef()}).run(record);
  CHECK(seen == std::vector<std::int64_t>{0, 1, 0});
}

// %%
//| export core/loops.h
// The strides of `self` seen in the larger shape `sizes`: 0 where it is stretched. REQUIRES: it broadcasts to `sizes`.
inline DimVector broadcast_strides(const Tensor& self, IntArrayRef sizes) {
  DimVector strides(sizes.size());
  const std::size_t added = sizes.size() - self.sizes().size();
  for (std::size_t i = added; i < sizes.size(); ++i) strides[i] = self.sizes()[i - added] == 1 ? 0 : self.strides()[i - added];
  return strides;
}

// %%
//| export core/loops.h
// out = f(a), element by element. REQUIRES: the dtypes are Out and A, and `a` broadcasts to out's sizes.
template <class Out, class A, class F>
void map_into(const Tensor& out, const Tensor& a, F f) {
  const DimVector a_strides = broadcast_strides(a, out.sizes());
  const StridedLoop<2> loop(out.sizes(), {out.strides(), IntArrayRef(a_strides)});
  Out* const to = out.data<Out>();
  const A* const from = a.data<A>();
  loop.run([&](const auto& offset, std::int64_t count, const auto& step) {
    Out* o = to + offset[0];
    const A* x = from + offset[1];
    if (step[0] == 1 && step[1] == 1) {
      for (std::int64_t i = 0; i < count; ++i) o[i] = static_cast<Out>(f(x[i]));
    } else {
      for (std::int64_t i = 0; i < count; ++i) o[i * step[0]] = static_cast<Out>(f(x[i * step[1]]));
    }
  });
}

// %%
//| export core/loops.h
// out = f(a, b), element by element. REQUIRES: the dtypes are Out, A and B, and both broadcast to out's sizes.
template <class Out, class A, class B, class F>
void zip_into(const Tensor& out, const Tensor& a, const Tensor& b, F f) {
  const DimVector a_strides = broadcast_strides(a, out.sizes());
  const DimVector b_strides = broadcast_strides(b, out.sizes());
  const StridedLoop<3> loop(out.sizes(), {out.strides(), IntArrayRef(a_strides), IntArrayRef(b_strides)});
  Out* const to = out.data<Out>();
  const A* const left = a.data<A>();
  const B* const right = b.data<B>();
  loop.run([&](const auto& offset, std::int64_t count, const auto& step) {
    Out* o = to + offset[0];
    const A* x = left + offset[1];
    const B* y = right + offset[2];
    if (step[0] == 1 && step[1] == 1 && step[2] == 1) {
      for (std::int64_t i = 0; i < count; ++i) o[i] = static_cast<Out>(f(x[i], y[i]));
    } else {
      for (std::int64_t i = 0; i < count; ++i) o[i * step[0]] = static_cast<Out>(f(x[i * step[1]], y[i * step[2]]));
    }
  });
}

// %%
//| export core/loops.h
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

// %%
//| export core/pointwise.cpp
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

// %%
//| export core/loops.h
// f(self) for floating-point functions: integers are converted to the default dtype first.
template <class F>
Tensor map_floating(const char* name, const Tensor& self, F f) {
  const Tensor input = self.is_floating_point() ? self : to_dtype(self, get_default_dtype());
  const Tensor result = empty(input.sizes(), input.options());
  dispatch_floating_types(input.scalar_type(), name, [&]<class T>() { map_into<T, T>(result, input, f); });
  return result;
}

// %% [markdown]
// ### Broadcasting and arithmetic
//
// Two shapes are laid side by side from the right. Sizes must be equal, or one of them 1 (or missing), which then stretches with stride 0: broadcasting is `expand`, not a copy.
//
//     a       (3, 1)              10            10 10 10 10       1 2 3 4      11 12 13 14
//     b          (4)              20   ----->   20 20 20 20   +   1 2 3 4  =   21 22 23 24
//     a + b   (3, 4)              30            30 30 30 30       1 2 3 4      31 32 33 34

// %% {"nbgrader": {"grade": false, "grade_id": "01-infer-size", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/pointwise.cpp
// The shape that two shapes broadcast to. Throws if a pair of sizes differs and neither is 1. O(dims).
//
// TODO: Compare the sizes from the last to the first.
// APPROACH: Position i from the back; a missing size counts as 1. Equal sizes stay, a 1 gives way to the other (also to 0).
// EXAMPLE: infer_size({3, 1}, {4}) is {3, 4}; {2, 3} and {2} do not fit.
// HINT: a[a.size() - i] with i = 1, 2, ... The dimension in the error is counted in the result.
DimVector infer_size(IntArrayRef a, IntArrayRef b) {
  // BEGIN SOLUTION
  const std::size_t dims = std::max(a.size(), b.size());
  DimVector sizes(dims);
  for (std::size_t i = 1; i <= dims; ++i) {  // from the last dimension
    const std::int64_t x = i <= a.size() ? a[a.size() - i] : 1;
    const std::int64_t y = i <= b.size() ? b[b.size() - i] : 1;
    TORCH_CHECK(x == y || x == 1 || y == 1, "The size of tensor a (", x, ") must match the size of tensor b (", y,
                ") at non-singleton dimension ", dims - i, "\nsizes ", a, " and ", b,
                " do not broadcast: counted from the last, sizes must be equal or one of them 1.");
    sizes[dims - i] = x == 1 ? y : x;
  }
  return sizes;
  // END SOLUTION
}

// %%
//| mistake 01-infer-size aligned-at-the-front
//| says Shapes are laid side by side from the last dimension: missing dimensions are in front.
#if 0
DimVector infer_size(IntArrayRef a, IntArrayRef b) {
  const std::size_t dims = std::max(a.size(), b.size());
  DimVector sizes(dims);
  for (std::size_t i = 0; i < dims; ++i) {
    const std::int64_t x = i < a.size() ? a[i] : 1;
    const std::int64_t y = i < b.size() ? b[i] : 1;
    TORCH_CHECK(x == y || x == 1 || y == 1, "The size of tensor a (", x, ") must match the size of tensor b (", y, ") at non-singleton dimension ", i);
    sizes[i] = x == 1 ? y : x;
  }
  return sizes;
}
#endif

// %%
//| mistake 01-infer-size takes-the-larger
//| says 1 gives way to 0 as well: an empty tensor plus a number is empty. Take the size that is not 1, not the larger one.
#if 0
DimVector infer_size(IntArrayRef a, IntArrayRef b) {
  const std::size_t dims = std::max(a.size(), b.size());
  DimVector sizes(dims);
  for (std::size_t i = 1; i <= dims; ++i) {
    const std::int64_t x = i <= a.size() ? a[a.size() - i] : 1;
    const std::int64_t y = i <= b.size() ? b[b.size() - i] : 1;
    TORCH_CHECK(x == y || x == 1 || y == 1, "The size of tensor a (", x, ") must match the size of tensor b (", y, ") at non-singleton dimension ", dims - i);
    sizes[dims - i] = std::max(x, y);
  }
  return sizes;
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "01-infer-size-test", "locked": true, "points": 3, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("infer_size: equal from the right, or 1") {
  CHECK_EQ(IntArrayRef(infer_size({3, 1}, {4})), IntArrayRef({3, 4}));
  CHECK_EQ(IntArrayRef(infer_size({2, 1, 4}, {3, 1})), IntArrayRef({2, 3, 4}));
  CHECK_EQ(IntArrayRef(infer_size({}, {2})), IntArrayRef({2}));
  CHECK_EQ(IntArrayRef(infer_size({0}, {1})), IntArrayRef({0}));
  CHECK_ERROR(infer_size({2, 3}, {2}), "The size of tensor a (3) must match the size of tensor b (2) at non-singleton dimension 1");
  // BEGIN HIDDEN TESTS
  CHECK_EQ(IntArrayRef(infer_size({5, 0, 1}, {1, 7})), IntArrayRef({5, 0, 7}));
  CHECK_ERROR(infer_size({0}, {2}), "The size of tensor a (0) must match the size of tensor b (2)");
  // END HIDDEN TESTS
}

// %%
//| export core/pointwise.cpp
namespace {
// How much a tensor says about the result's dtype: a plain number less than a 0-d tensor, that less than one with dimensions.
int promotion_rank(const Tensor& self) { return self.impl().wrapped_number ? 0 : self.dim() == 0 ? 1 : 2; }

int category(ScalarType type) { return isFloatingType(type) ? 2 : type == kBool ? 0 : 1; }

// The dtype with which a plain number enters: floating-point numbers as the default dtype.
ScalarType promotion_type(const Tensor& self) {
  return self.impl().wrapped_number && self.is_floating_point() ? get_default_dtype() : self.scalar_type();
}
}  // namespace

// %% [markdown]
// Which dtype does `float_tensor * 2.5` have, when 2.5 is a double in C++? A number that a program happens to write must not widen a tensor. So operands have ranks, and one of lower rank counts only when its *category* is higher.
//
//     rank   operand                          int64 tensor + it      float32 tensor + it
//      2     tensor with dimensions           by promoteTypes        by promoteTypes
//      1     0-d tensor, double               float64                float32
//      0     plain number 2.5                 float32 (default)      float32

// %% {"nbgrader": {"grade": false, "grade_id": "01-result-type", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/pointwise.cpp
// The dtype of a result from `a` and `b`. An operand of lower rank (promotion_rank) matters only if its category is higher. O(1).
//
// TODO: Decide which operand's type counts.
// APPROACH: 1. promotion_type and promotion_rank of both.
//           2. Higher rank and no lower category: that one alone. Else promoteTypes of both.
// EXAMPLE: a Float tensor and a 0-d Double one give Float; a Long tensor and a 0-d Double one give Double.
// HINT: category() orders bool < integers < floating point.
ScalarType result_type(const Tensor& a, const Tensor& b) {
  // BEGIN SOLUTION
  const ScalarType x = promotion_type(a);
  const ScalarType y = promotion_type(b);
  const int rank_x = promotion_rank(a);
  const int rank_y = promotion_rank(b);
  if (rank_x > rank_y && category(x) >= category(y)) return x;
  if (rank_y > rank_x && category(y) >= category(x)) return y;
  return promoteTypes(x, y);
  // END SOLUTION
}

// %%
//| mistake 01-result-type numbers-count-fully
//| says A plain number or a 0-d tensor must not widen a tensor of its own category: compare ranks before you promote.
#if 0
ScalarType result_type(const Tensor& a, const Tensor& b) {
  return promoteTypes(promotion_type(a), promotion_type(b));
}
#endif

// %% {"nbgrader": {"grade": true, "grade_id": "01-result-type-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("result_type: numbers and 0-d tensors count by category only") {
  const Tensor floats = ones({2});
  const Tensor longs = arange(2);
  const Tensor bytes = ones({2}, kByte);
  CHECK_EQ(result_type(longs, floats), kFloat);
  CHECK_EQ(result_type(floats, tensor(1.0, kDouble)), kFloat);
  CHECK_EQ(result_type(longs, tensor(1.0, kDouble)), kDouble);
  CHECK_EQ(result_type(bytes, wrapped_scalar(1000)), kByte);
  CHECK_EQ(result_type(longs, wrapped_scalar(2.5)), kFloat);
  CHECK_EQ(result_type(bytes, tensor({1}, kChar)), kShort);
  // BEGIN HIDDEN TESTS
  CHECK_EQ(result_type(ones({2}, kBool), wrapped_scalar(1)), kLong);
  CHECK_EQ(result_type(ones({2}, kBool), tensor(1, kByte)), kByte);
  CHECK_EQ(result_type(tensor(1), wrapped_scalar(true)), kLong);
  CHECK_EQ(result_type(tensor(1.0, kDouble), wrapped_scalar(2.5)), kDouble);
  // END HIDDEN TESTS
}

// %%
//| export core/pointwise.cpp
namespace {
// f(self, other) computed in `type`.
template <class F>
Tensor zip(const Tensor& self, const Tensor& other, ScalarType type, F f) {
  const Tensor result = empty(infer_size(self.sizes(), other.sizes()), type);
  const Tensor a = to_dtype(self, type);
  const Tensor b = to_dtype(other, type);
  dispatch_all_types(type, [&]<class T>() { zip_into<T, T, T>(result, a, b, f); });
  return result;
}

// self = f(self, other): computed in the common type, which must fit into self's.
template <class F>
const Tensor& zip_inplace(const Tensor& self, const Tensor& other, ScalarType type, F f) {
  const DimVector sizes = infer_size(self.sizes(), other.sizes());
  TORCH_CHECK(canCast(type, self.scalar_type()), "result type ", type, " can't be cast to the desired output type ", self.scalar_type());
  TORCH_CHECK(IntArrayRef(sizes) == self.sizes(), "output with shape ", self.sizes(), " doesn't match the broadcast shape ", IntArrayRef(sizes));
  check_no_internal_overlap(self);
  const bool separate = type == self.scalar_type() && (same_elements(self, other) || !ranges_overlap(self, other));
  if (!separate) {
    copy_into(self, zip(self, other, type, f));
    return self;
  }
  const Tensor b = to_dtype(other, type);
  dispatch_all_types(type, [&]<class T>() { zip_into<T, T, T>(self, self, b, f); });
  return self;
}

ScalarType division_type(const Tensor& self, const Tensor& other) {
  const ScalarType type = result_type(self, other);
  return isFloatingType(type) ? type : get_default_dtype();
}
}  // namespace

// %%
//| export core/pointwise.cpp
namespace {
// self + alpha * other with the multiplication left out when alpha is 1.
template <class F>
void with_alpha(const Scalar& alpha, F f) {
  if (alpha.equal(1)) {
    f([](auto x, auto y) { return x + y; });
  } else {
    f([alpha](auto x, auto y) {
      using T = decltype(y);
      return static_cast<T>(x + alpha.to<T>() * y);
    });
  }
}

Tensor add_cpu(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  Tensor result;
  with_alpha(alpha, [&](auto f) { result = zip(self, other, result_type(self, other), f); });
  return result;
}

const Tensor& add_inplace_cpu(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  with_alpha(alpha, [&](auto f) { zip_inplace(self, other, result_type(self, other), f); });
  return self;
}

void check_alpha(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  if (alpha.type() == kLong || !self.defined() || !other.defined()) return;
  const ScalarType type = result_type(self, other);
  TORCH_CHECK(!alpha.isBoolean() || type == kBool, "Boolean alpha only supported for Boolean results.");
  TORCH_CHECK(!alpha.isFloatingPoint() || isFloatingType(type),
              "For integral input tensors, argument alpha must not be a floating point number.");
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const Scalar&)> op::add("add", {.cpu = add_cpu});
constinit Operator<const Tensor&(const Tensor&, const Tensor&, const Scalar&)> op::add_("add_", {.cpu = add_inplace_cpu});

Tensor add(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  check_alpha(self, other, alpha);
  return op::add(self, other, alpha);
}
const Tensor& add_(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  check_alpha(self, other, alpha);
  return op::add_(self, other, alpha);
}

// %%
//| export core/pointwise.cpp
namespace {
void check_sub(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  if (!self.defined() || !other.defined()) return;
  TORCH_CHECK_NOT_IMPLEMENTED(self.scalar_type() != kBool || other.scalar_type() != kBool,
              "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` operator instead.");
  TORCH_CHECK_NOT_IMPLEMENTED(self.scalar_type() != kBool && other.scalar_type() != kBool,
              "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, use the `~` or "
              "`logical_not()` operator instead.");
  check_alpha(self, other, alpha);
}
Tensor sub_cpu(const Tensor& self, const Tensor& other, const Scalar& alpha) { return add_cpu(self, other, -alpha); }
const Tensor& sub_inplace_cpu(const Tensor& self, const Tensor& other, const Scalar& alpha) { return add_inplace_cpu(self, other, -alpha); }
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const Scalar&)> op::sub("sub", {.cpu = sub_cpu});
constinit Operator<const Tensor&(const Tensor&, const Tensor&, const Scalar&)> op::sub_("sub_", {.cpu = sub_inplace_cpu});

Tensor sub(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  check_sub(self, other, alpha);
  return op::sub(self, other, alpha);
}
const Tensor& sub_(const Tensor& self, const Tensor& other, const Scalar& alpha) {
  check_sub(self, other, alpha);
  return op::sub_(self, other, alpha);
}

// %%
//| export core/pointwise.cpp
namespace {
constexpr auto multiply = [](auto x, auto y) { return static_cast<decltype(x)>(x * y); };
Tensor mul_cpu(const Tensor& self, const Tensor& other) { return zip(self, other, result_type(self, other), multiply); }
const Tensor& mul_inplace_cpu(const Tensor& self, const Tensor& other) { return zip_inplace(self, other, result_type(self, other), multiply); }
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::mul("mul", {.cpu = mul_cpu});
constinit Operator<const Tensor&(const Tensor&, const Tensor&)> op::mul_("mul_", {.cpu = mul_inplace_cpu});
Tensor mul(const Tensor& self, const Tensor& other) { return op::mul(self, other); }
const Tensor& mul_(const Tensor& self, const Tensor& other) { return op::mul_(self, other); }

// %%
//| export core/pointwise.cpp
namespace {
template <class T>
T quotient(T x, T y) {
  if constexpr (std::is_floating_point_v<T>) return x / y;
  else return T{};  // not reached: division_type() is a floating-point type
}
constexpr auto divide = [](auto x, auto y) { return quotient(x, y); };
Tensor div_cpu(const Tensor& self, const Tensor& other) { return zip(self, other, division_type(self, other), divide); }
const Tensor& div_inplace_cpu(const Tensor& self, const Tensor& other) { return zip_inplace(self, other, division_type(self, other), divide); }
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::div("div", {.cpu = div_cpu});
constinit Operator<const Tensor&(const Tensor&, const Tensor&)> op::div_("div_", {.cpu = div_inplace_cpu});
Tensor div(const Tensor& self, const Tensor& other) { return op::div(self, other); }
const Tensor& div_(const Tensor& self, const Tensor& other) { return op::div_(self, other); }

// %%
//| export core/pointwise.cpp
void copy_into(const Tensor& to, const Tensor& from) {
  dispatch_all_types(to.scalar_type(), [&]<class T>() {
    dispatch_all_types(from.scalar_type(), [&]<class S>() { map_into<T, S>(to, from, [](S x) { return static_cast<T>(x); }); });
  });
}

void fill_with(const Tensor& to, const Scalar& value) {
  // Writes only: what new memory holds may not even be a valid bool.
  const StridedLoop<1> loop(to.sizes(), {to.strides()});
  dispatch_all_types(to.scalar_type(), [&]<class T>() {
    loop.run([data = to.data<T>(), number = value.to<T>()](const auto& offset, std::int64_t count, const auto& step) {
      for (std::int64_t i = 0; i < count; ++i) data[offset[0] + i * step[0]] = number;
    });
  });
}

// %%
//| export core/pointwise.cpp
namespace {
Tensor to_dtype_cpu(const Tensor& self, ScalarType type) {
  const Tensor result = empty(self.sizes(), type);
  copy_into(result, self);
  return result;
}

Tensor clone_cpu(const Tensor& self) { return to_dtype_cpu(self, self.scalar_type()); }

const Tensor& copy_cpu(const Tensor& self, const Tensor& src) {
  const DimVector sizes = infer_size(self.sizes(), src.sizes());
  TORCH_CHECK(IntArrayRef(sizes) == self.sizes(), "output with shape ", self.sizes(), " doesn't match the broadcast shape ", IntArrayRef(sizes));
  if (same_elements(self, src)) return self;
  check_no_internal_overlap(self);
  // Source and target may be views that overlap: then the source is copied out first.
  copy_into(self, ranges_overlap(self, src) ? clone_cpu(src) : src);
  return self;
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::clone("clone", {.cpu = clone_cpu});
constinit Operator<const Tensor&(const Tensor&, const Tensor&)> op::copy_("copy_", {.cpu = copy_cpu});
constinit Operator<Tensor(const Tensor&, ScalarType)> op::to_dtype("to", {.cpu = to_dtype_cpu});

Tensor clone(const Tensor& self) { return op::clone(self); }
const Tensor& copy_(const Tensor& self, const Tensor& src) { return op::copy_(self, src); }
Tensor to_dtype(const Tensor& self, ScalarType type) { return self.scalar_type() == type ? self : op::to_dtype(self, type); }

// %%
//| export core/pointwise.cpp
namespace {
const Tensor& fill_cpu(const Tensor& self, const Scalar& value) {
  fill_with(self, value);
  return self;
}
}  // namespace
constinit Operator<const Tensor&(const Tensor&, const Scalar&)> op::fill_("fill_", {.cpu = fill_cpu});
const Tensor& fill_(const Tensor& self, const Scalar& value) { return op::fill_(self, value); }

// %%
//| export core/pointwise.cpp
namespace {
template <class F>
Tensor map(const Tensor& self, F f) {
  const Tensor result = empty(self.sizes(), self.options());
  dispatch_all_types(self.scalar_type(), [&]<class T>() { map_into<T, T>(result, self, [f](T x) { return static_cast<T>(f(x)); }); });
  return result;
}
Tensor neg_cpu(const Tensor& self) {
  return map(self, [](auto x) { return -x; });
}
Tensor abs_cpu(const Tensor& self) {
  return map(self, [](auto x) {
    if constexpr (std::is_floating_point_v<decltype(x)>) return std::fabs(x);
    else return x < decltype(x){} ? static_cast<decltype(x)>(-x) : x;
  });
}
Tensor sign_cpu(const Tensor& self) {
  return map(self, [](auto x) { return (x > decltype(x){}) - (x < decltype(x){}); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::neg("neg", {.cpu = neg_cpu});
constinit Operator<Tensor(const Tensor&)> op::abs("abs", {.cpu = abs_cpu});
constinit Operator<Tensor(const Tensor&)> op::sign("sign", {.cpu = sign_cpu});

Tensor neg(const Tensor& self) {
  TORCH_CHECK_NOT_IMPLEMENTED(!self.defined() || self.scalar_type() != kBool,
              "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use the `~` or "
              "`logical_not()` operator instead.");
  return op::neg(self);
}
Tensor abs(const Tensor& self) { return op::abs(self); }
Tensor sign(const Tensor& self) { return op::sign(self); }

// %%
//| export core/pointwise.cpp
namespace {
Tensor exp_cpu(const Tensor& self) {
  return map_floating("exp", self, [](auto x) { return std::exp(x); });
}
Tensor log_cpu(const Tensor& self) {
  return map_floating("log", self, [](auto x) { return std::log(x); });
}
Tensor sqrt_cpu(const Tensor& self) {
  return map_floating("sqrt", self, [](auto x) { return std::sqrt(x); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&)> op::exp("exp", {.cpu = exp_cpu});
constinit Operator<Tensor(const Tensor&)> op::log("log", {.cpu = log_cpu});
constinit Operator<Tensor(const Tensor&)> op::sqrt("sqrt", {.cpu = sqrt_cpu});
Tensor exp(const Tensor& self) { return op::exp(self); }
Tensor log(const Tensor& self) { return op::log(self); }
Tensor sqrt(const Tensor& self) { return op::sqrt(self); }

// %%
//| export core/pointwise.cpp
namespace {
template <class T>
T integer_power(T base, std::int64_t exponent) {
  T result = 1;
  for (; exponent > 0; exponent /= 2, base = static_cast<T>(base * base))
    if (exponent % 2 == 1) result = static_cast<T>(result * base);
  return result;
}

Tensor pow_cpu(const Tensor& self, const Scalar& exponent) {
  const double e = exponent.toDouble();
  if (self.is_floating_point() || exponent.isFloatingPoint()) {
    if (e == 2) return map_floating("pow", self, [](auto x) { return x * x; });
    return map_floating("pow", self, [e](auto x) { return std::pow(x, static_cast<decltype(x)>(e)); });
  }
  TORCH_CHECK(e >= 0, "Integers to negative integer powers are not allowed.");
  return map(self.scalar_type() == kBool ? to_dtype(self, exponent.type()) : self, [n = exponent.toLong()](auto x) {
    if constexpr (std::is_floating_point_v<decltype(x)>) return x;
    else return integer_power(x, n);
  });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Scalar&)> op::pow("pow", {.cpu = pow_cpu});
Tensor pow(const Tensor& self, const Scalar& exponent) { return op::pow(self, exponent); }

// %%
//| export core/comparison.cpp
namespace {
// f(self, other) as a Bool tensor; both are brought to their common type first.
template <class F>
Tensor compare(const Tensor& self, const Tensor& other, F f) {
  const ScalarType type = result_type(self, other);
  const Tensor result = empty(infer_size(self.sizes(), other.sizes()), kBool);
  const Tensor a = to_dtype(self, type);
  const Tensor b = to_dtype(other, type);
  dispatch_all_types(type, [&]<class T>() { zip_into<bool, T, T>(result, a, b, f); });
  return result;
}
Tensor eq_cpu(const Tensor& self, const Tensor& other) {
  return compare(self, other, [](auto x, auto y) { return x == y; });
}
Tensor ne_cpu(const Tensor& self, const Tensor& other) {
  return compare(self, other, [](auto x, auto y) { return x != y; });
}
Tensor lt_cpu(const Tensor& self, const Tensor& other) {
  return compare(self, other, [](auto x, auto y) { return x < y; });
}
Tensor le_cpu(const Tensor& self, const Tensor& other) {
  return compare(self, other, [](auto x, auto y) { return x <= y; });
}
Tensor gt_cpu(const Tensor& self, const Tensor& other) {
  return compare(self, other, [](auto x, auto y) { return x > y; });
}
Tensor ge_cpu(const Tensor& self, const Tensor& other) {
  return compare(self, other, [](auto x, auto y) { return x >= y; });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::eq("eq", {.cpu = eq_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::ne("ne", {.cpu = ne_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::lt("lt", {.cpu = lt_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::le("le", {.cpu = le_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::gt("gt", {.cpu = gt_cpu});
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::ge("ge", {.cpu = ge_cpu});
Tensor eq(const Tensor& self, const Tensor& other) { return op::eq(self, other); }
Tensor ne(const Tensor& self, const Tensor& other) { return op::ne(self, other); }
Tensor lt(const Tensor& self, const Tensor& other) { return op::lt(self, other); }
Tensor le(const Tensor& self, const Tensor& other) { return op::le(self, other); }
Tensor gt(const Tensor& self, const Tensor& other) { return op::gt(self, other); }
Tensor ge(const Tensor& self, const Tensor& other) { return op::ge(self, other); }

// %%
//| export core/comparison.cpp
bool equal(const Tensor& self, const Tensor& other) {
  return self.sizes() == other.sizes() && eq(self, other).sum().item<std::int64_t>() == self.numel();
}

// |self - other| <= atol + rtol * |other| everywhere. Infinities are close to themselves only.
bool allclose(const Tensor& self, const Tensor& other, double rtol, double atol, bool equal_nan) {
  TORCH_CHECK(self.scalar_type() == other.scalar_type(), self.scalar_type(), " did not match ", other.scalar_type());
  const Tensor result = empty(infer_size(self.sizes(), other.sizes()), kBool);
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    zip_into<bool, T, T>(result, self, other, [=](T a, T b) {
      const auto x = static_cast<double>(a);
      const auto y = static_cast<double>(b);
      if (x == y) return true;
      if (std::isnan(x) || std::isnan(y)) return equal_nan && std::isnan(x) && std::isnan(y);
      return std::isfinite(y) && std::fabs(x - y) <= atol + rtol * std::fabs(y);
    });
  });
  return result.sum().item<std::int64_t>() == result.numel();
}

// %%
//| export core/comparison.cpp
namespace {
Tensor where_cpu(const Tensor& condition, const Tensor& self, const Tensor& other) {
  const ScalarType type = result_type(self, other);
  const DimVector sizes = infer_size(condition.sizes(), infer_size(self.sizes(), other.sizes()));
  const Tensor result = empty(sizes, type);
  copy_into(result, other);
  const Tensor chosen = to_dtype(self, type);
  const DimVector mask_strides = broadcast_strides(condition, sizes);
  const DimVector self_strides = broadcast_strides(chosen, sizes);
  const StridedLoop<3> loop(sizes, {result.strides(), IntArrayRef(mask_strides), IntArrayRef(self_strides)});
  dispatch_all_types(type, [&]<class T>() {
    loop.run([out = result.data<T>(), mask = condition.data<bool>(), in = chosen.data<T>()](const auto& offset, std::int64_t count,
                                                                                              const auto& step) {
      for (std::int64_t i = 0; i < count; ++i)
        if (mask[offset[1] + i * step[1]]) out[offset[0] + i * step[0]] = in[offset[2] + i * step[2]];
    });
  });
  return result;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&, const Tensor&)> op::where("where", {.cpu = where_cpu});

Tensor where(const Tensor& condition, const Tensor& self, const Tensor& other) {
  TORCH_CHECK(condition.scalar_type() == kBool, "where expected condition to be a boolean tensor, but got a tensor with dtype ", condition.scalar_type());
  return op::where(condition, self, other);
}

// %%
TEST_CASE("arithmetic: broadcasting, promotion, in place, NaN, empty and 0-d") {
  const Tensor column = tensor({{10}, {20}});
  CHECK_EQ(column + tensor({1, 2, 3}), tensor({{11, 12, 13}, {21, 22, 23}}));
  CHECK_EQ(add(column, column, 2), tensor({{30}, {60}}));
  CHECK_EQ(2 - tensor({0.5}), tensor({1.5}));
  CHECK_EQ(tensor({1, 2}) / 4, tensor({0.25, 0.5}));
  CHECK_EQ((zeros({0, 3}) + ones({1, 3})).sizes(), IntArrayRef({0, 3}));
  CHECK_EQ(tensor({200}, kByte) + 100, tensor({44}, kByte));
  const Tensor x = arange(6);
  x.slice(0, 1).copy_(x.slice(0, 0, 5));
  CHECK_EQ(x, tensor({0, 0, 1, 2, 3, 4}));
  x.slice(0, 0, 3) += 10;
  CHECK_EQ(x, tensor({10, 10, 11, 2, 3, 4}));
  const Tensor square = arange(4).view({2, 2});
  CHECK_EQ(square.add_(square.t()), tensor({{0, 3}, {3, 6}}));
  CHECK_ERROR(x.add_(0.5), "result type Float can't be cast to the desired output type Long");
  CHECK_ERROR(zeros({3}).add_(ones({2, 3})), "output with shape [3] doesn't match the broadcast shape [2, 3]");
  CHECK_ERROR(-tensor({true}), "Negation, the `-` operator, on a bool tensor is not supported.");
  const Tensor nan = log(tensor({-1.0}));
  CHECK(!(nan == nan).item<bool>());
  CHECK(!nan.equal(nan));
  CHECK(nan.allclose(nan, 1e-5, 1e-8, true));
  CHECK_EQ(pow(tensor({2, 3}), 3), tensor({8, 27}));
  CHECK_ERROR(pow(tensor({2}), -1), "Integers to negative integer powers are not allowed.");
  CHECK_EQ(where(tensor({true, false}), tensor({1, 2}), tensor(9)), tensor({1, 9}));
}

// %% [markdown]
// ### Reductions
//
// A sum is the same walk once more: the accumulator gets stride 0 along the dimensions that disappear, so that many elements of `x` meet one of it. The same stride that repeats on reading collects on writing.
//
//     x (2, 3) strides (3, 1)       0 1 2          sum over dim 1:  acc (2, 1) strides (1, 0)
//                                   3 4 5          sum over dim 0:  acc (1, 3) strides (0, 1)
//                                   acc[i, j] of stride 0 is one place: 0 + 1 + 2 and 3 + 4 + 5, or 0 + 3, 1 + 4, 2 + 5

// %%
//| export core/loops.h
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

// %%
//| export core/loops.h
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
    if (step[0] == 0) {
      Acc total = *a;
      for (std::int64_t i = 0; i < count; ++i) total = f(total, x[i * step[1]]);
      *a = total;
    } else {
      for (std::int64_t i = 0; i < count; ++i) a[i * step[0]] = f(a[i * step[0]], x[i * step[1]]);
    }
  });
  return acc;
}

// %%
//| export core/reductions.cpp
namespace {
Tensor sum_cpu(const Tensor& self, IntArrayRef dim, bool keepdim) {
  const std::vector<bool> mask = reduction_mask(self, dim);
  return dispatch_all_types(self.scalar_type(), [&]<class T>() {
    // Floating-point sums run in double, so that a long float sum does not lose its small terms.
    using Acc = std::conditional_t<std::is_floating_point_v<T>, double, std::int64_t>;
    const Tensor total = fold<Acc, T>(self, mask, keepdim, Acc{0}, [](Acc a, T x) { return a + static_cast<Acc>(x); });
    return std::is_floating_point_v<T> ? to_dtype(total, self.scalar_type()) : total;
  });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, IntArrayRef, bool)> op::sum("sum", {.cpu = sum_cpu});
Tensor sum(const Tensor& self, IntArrayRef dim, bool keepdim) { return op::sum(self, dim, keepdim); }
Tensor sum(const Tensor& self) { return op::sum(self, {}, false); }

// %%
//| export core/reductions.cpp
Tensor mean(const Tensor& self, IntArrayRef dim, bool keepdim) {
  TORCH_CHECK_NOT_IMPLEMENTED(self.is_floating_point(), "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got: ",
              self.scalar_type());
  const std::vector<bool> mask = reduction_mask(self, dim);
  std::int64_t count = 1;
  for (std::size_t i = 0; i < mask.size(); ++i) count *= mask[i] ? self.sizes()[i] : 1;
  return sum(self, dim, keepdim) / count;
}
Tensor mean(const Tensor& self) { return mean(self, {}, false); }

// %%
//| export core/reductions.cpp
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
//| export core/loops.h
// Calls f(k, row, stride) for every row of `self` along `dim`: element j of row k is row[j * stride]. Rows are counted in the order of
// the other dimensions, so k is also the position in a contiguous result without `dim`.
template <class T, class F>
void for_each_row(const Tensor& self, std::int64_t dim, F f) {
  DimVector sizes(self.sizes());
  DimVector strides(self.strides());
  std::int64_t step = 0;
  if (self.dim() > 0) {
    step = strides[static_cast<std::size_t>(dim)];
    sizes.erase(static_cast<std::size_t>(dim));
    strides.erase(static_cast<std::size_t>(dim));
  }
  T* const data = self.data<T>();
  std::int64_t k = 0;
  StridedLoop<1>(sizes, {IntArrayRef(strides)}).run([&](const auto& offset, std::int64_t count, const auto& inner) {
    for (std::int64_t i = 0; i < count; ++i) f(k++, data + offset[0] + i * inner[0], step);
  });
}

// %%
//| export core/reductions.cpp
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
Tensor max(const Tensor& self) {
  TORCH_CHECK(self.numel() > 0, "max(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument.");
  return amax(self, {});
}
Tensor argmax(const Tensor& self) {
  TORCH_CHECK_INDEX(self.numel() > 0, "argmax(): Expected reduction dim to be specified for input.numel() == 0.");
  return argmax(flatten(self), 0);
}

// %%
TEST_CASE("reductions: over any dimensions, empty, NaN and the first of equals") {
  const Tensor x = arange(6).view({2, 3});
  CHECK_EQ(x.sum(), tensor(15));
  CHECK_EQ(x.sum({0}), tensor({3, 5, 7}));
  CHECK_EQ(x.sum({-1}, true), tensor({{3}, {12}}));
  CHECK_EQ(x.t().sum({0}), tensor({3, 12}));
  CHECK_EQ(ones({2}, kBool).sum(), tensor(2));
  CHECK_EQ(zeros({3, 0}).sum({1}), zeros({3}));
  CHECK_EQ(x.to(kFloat).mean({0}), tensor({1.5, 2.5, 3.5}));
  CHECK_ERROR(x.mean(), "mean(): could not infer output dtype.");
  CHECK_ERROR(x.sum({0, 0}), "dim 0 appears multiple times in the list of dims");
  const auto [values, indices] = tensor({{1, 5, 5}, {9, 9, 2}}).max(1);
  CHECK_EQ(values, tensor({5, 9}));
  CHECK_EQ(indices, tensor({1, 0}));
  const Tensor with_nan = tensor({1.0, std::nan(""), 3.0});
  CHECK_EQ(with_nan.argmax(), tensor(1));
  CHECK(std::isnan(with_nan.amax().item<double>()));
  CHECK_ERROR(zeros({0}).max(), "max(): Expected reduction dim to be specified for input.numel() == 0.");
}

// %% [markdown]
// ### Matrix products
//
// `out[i][j]` is the sum over k of `a[i][k] * b[k][j]`: three loops, O(M K N) multiplications, in any order. The obvious order is `i, j, k`:
//
//     i, j, k (v1):  a[i][k] walks along a row          b[k][j] walks DOWN a column: N elements further each step
//     i, k, j (v2):  a[i][k] is one number              b[k][j] and out[i][j] walk along rows
//
//     b in memory  [ b00 b01 b02 b03 | b10 b11 b12 b13 | b20 ... ]
//     v1 touches     *                 *                 *          one number of each cache line
//     v2 touches     *   *   *   *     *   *   *   *                all of them
//
// Both do the same arithmetic. The framework keeps v2; v1 stays here to be measured. Module 16 goes on from v2.

// %% {"nbgrader": {"grade": false, "grade_id": "01-multiply-matrices", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/matmul.cpp
namespace {
// out (M, N) = a (M, K) x b (K, N). `out` and `b` are dense; element (i, k) of `a` is a[i * a_row + k * a_column].
// O(M K N), reading and writing memory in order. `out` is uninitialised before; K = 0 gives zeros.
//
// TODO: Multiply with the loops in the order i, k, j.
// APPROACH: 1. For each row i of out: set it to 0.
//           2. For each k: one factor of a, and one row of b; add factor * b_row[j] to row[j] for all j.
// EXAMPLE: (1 2) x (3 4; 5 6) adds 1 * (3 4), then 2 * (5 6): (13 16).
// HINT: Row k of b begins at b + k * N. The innermost loop has no multiplication of indices.
template <class T>
void multiply_matrices(T* out, const T* a, std::int64_t a_row, std::int64_t a_column, const T* b, std::int64_t M, std::int64_t K, std::int64_t N) {
  // BEGIN SOLUTION
  for (std::int64_t i = 0; i < M; ++i) {
    T* const row = out + i * N;
    for (std::int64_t j = 0; j < N; ++j) row[j] = T{0};
    for (std::int64_t k = 0; k < K; ++k) {
      const T factor = a[i * a_row + k * a_column];
      const T* const b_row = b + k * N;
      for (std::int64_t j = 0; j < N; ++j) row[j] = static_cast<T>(row[j] + factor * b_row[j]);
    }
  }
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 01-multiply-matrices keeps-the-last-product
//| says Each k adds to the row: the last product alone is not the sum.
#if 0
template <class T>
void multiply_matrices(T* out, const T* a, std::int64_t a_row, std::int64_t a_column, const T* b, std::int64_t M, std::int64_t K, std::int64_t N) {
  for (std::int64_t i = 0; i < M; ++i) {
    T* const row = out + i * N;
    for (std::int64_t j = 0; j < N; ++j) row[j] = T{0};
    for (std::int64_t k = 0; k < K; ++k)
      for (std::int64_t j = 0; j < N; ++j) row[j] = static_cast<T>(a[i * a_row + k * a_column] * b[k * N + j]);
  }
}
#endif

// %%
//| export core/matmul.cpp
namespace {
void check_same_dtype(const Tensor& self, const Tensor& mat2) {
  TORCH_CHECK(self.scalar_type() == mat2.scalar_type(), "expected m1 and m2 to have the same dtype, but got: ", cpp_name(self.scalar_type()),
              " != ", cpp_name(mat2.scalar_type()));
  TORCH_CHECK_NOT_IMPLEMENTED(self.scalar_type() != kBool, "\"addmm_impl_cpu_\" not implemented for 'Bool'");
}

Tensor mm_cpu(const Tensor& self, const Tensor& mat2) {
  const Tensor result = empty({self.size(0), mat2.size(1)}, self.options());
  const Tensor b = mat2.contiguous();
  dispatch_all_types(self.scalar_type(), [&]<class T>() {
    multiply_matrices(result.data<T>(), self.data<T>(), self.stride(0), self.stride(1), b.data<T>(), self.size(0), self.size(1), b.size(1));
  });
  return result;
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::mm("mm", {.cpu = mm_cpu});

Tensor mm(const Tensor& self, const Tensor& mat2) {
  TORCH_CHECK(self.dim() == 2, "self must be a matrix, got ", self.dim(), "-D tensor");
  TORCH_CHECK(mat2.dim() == 2, "mat2 must be a matrix, got ", mat2.dim(), "-D tensor");
  TORCH_CHECK(self.size(1) == mat2.size(0), "mat1 and mat2 shapes cannot be multiplied (", self.size(0), "x", self.size(1), " and ",
              mat2.size(0), "x", mat2.size(1), ")\n[mm] inner sizes ", self.size(1), " and ", mat2.size(0), " must match",
              self.size(1) == mat2.size(1) ? "; did you mean other.t()?" : ".");
  check_same_dtype(self, mat2);
  return op::mm(self, mat2);
}

// %%
//| export core/matmul.cpp
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
//| export core/matmul.cpp
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

// %% {"nbgrader": {"grade": true, "grade_id": "01-multiply-matrices-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("matrix products: values, strides, batches and errors") {
  const Tensor a = arange(6).view({2, 3});
  const Tensor b = arange(12).view({3, 4});
  CHECK_EQ(mm(a, b), tensor({{20, 23, 26, 29}, {56, 68, 80, 92}}));
  CHECK_EQ(mm(b.t(), a.t()), mm(a, b).t());
  CHECK_EQ(mm(ones({2, 0}), ones({0, 3})), zeros({2, 3}));
  CHECK_EQ(matmul(a, tensor({1, 0, 2})), tensor({4, 13}));
  CHECK_EQ(matmul(tensor({1, 2, 3}), tensor({4, 5, 6})), tensor(32));
  CHECK_EQ(bmm(ones({2, 1, 3}), ones({2, 3, 1})), full({2, 1, 1}, 3.0));
  CHECK_EQ(matmul(ones({2, 1, 2, 3}), ones({4, 3, 5})).sizes(), IntArrayRef({2, 4, 2, 5}));
  CHECK_ERROR(mm(a, a), "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)");
  CHECK_ERROR(mm(a, b.to(kFloat)), "expected m1 and m2 to have the same dtype");
  CHECK_ERROR(matmul(a, tensor({1, 2})), "size mismatch, got input (2), mat (2x3), vec (2)");
  // BEGIN HIDDEN TESTS
  CHECK_EQ(matmul(arange(12).view({2, 2, 3}), tensor({1, 1, 1})), tensor({{3, 12}, {21, 30}}));
  CHECK_EQ(mm(b.slice(1, 1, 4, 2).t(), b.slice(1, 0, 1)), tensor({{92}, {116}}));
  // END HIDDEN TESTS
}

// %%
//| lesson
// v1: the order of the formula. Both are dense matrices of floats.
Tensor mm_v1(const Tensor& a, const Tensor& b) {
  const std::int64_t M = a.size(0);
  const std::int64_t K = a.size(1);
  const std::int64_t N = b.size(1);
  const Tensor result = empty({M, N});
  float* const out = result.data<float>();
  const float* const x = a.data<float>();
  const float* const y = b.data<float>();
  for (std::int64_t i = 0; i < M; ++i)
    for (std::int64_t j = 0; j < N; ++j) {
      float total = 0;
      for (std::int64_t k = 0; k < K; ++k) total += x[i * K + k] * y[k * N + j];
      out[i * N + j] = total;
    }
  return result;
}

// %%
TEST_CASE("v1 and v2 of the matrix product agree") {
  const Tensor a = arange(12, kFloat).view({3, 4});
  const Tensor b = arange(20, kFloat).view({4, 5});
  CHECK_EQ(mm_v1(a, b), mm(a, b));
}

// %% [markdown]
// ## Part 2: Systems analysis
//
// Four questions, answered by measuring on your machine. Memory comes from the allocator's counters, time from module 00's `measure`, which takes the median of several samples.
//
//     bytes that move for one number read
//        ^
//     64 |              ____________________   a cache line for each number
//        |          __/
//        |      __/
//      4 |____/
//        +-----------------------------------> stride in bytes
//          4                64

// %%
DEMO("memory: what a view saves") {
  const Tensor x = ones({1024, 1024});
  const auto bytes_of = [](auto make) {
    const std::size_t before = memory::stats().live;
    const Tensor made = make();
    return static_cast<double>(memory::stats().live - before) / 1024;
  };
  std::printf("  x: %.0f KiB\n", static_cast<double>(x.nbytes()) / 1024);
  std::printf("  x.t()                       %8.0f KiB\n", bytes_of([&] { return x.t(); }));
  std::printf("  x.slice(0, 0, 1024, 2)      %8.0f KiB\n", bytes_of([&] { return x.slice(0, 0, 1024, 2); }));
  std::printf("  x.expand({4, 1024, 1024})   %8.0f KiB\n", bytes_of([&] { return x.expand({4, 1024, 1024}); }));
  std::printf("  the same, made contiguous   %8.0f KiB\n", bytes_of([&] { return x.expand({4, 1024, 1024}).contiguous(); }));
  std::printf("  unfold(x, 1, 9, 1)          %8.0f KiB\n", bytes_of([&] { return unfold(x, 1, 9, 1); }));
}

// %%
DEMO("time: the price of a stride") {
  const std::int64_t count = 1 << 18;
  const Tensor memory_block = ones({count * 32});
  std::printf("  stride (numbers)   bytes apart   ns per number\n");
  for (const std::int64_t stride : {1, 2, 4, 8, 16, 32}) {
    const Tensor x = memory_block.slice(0, 0, count * stride, stride);
    const double ns = measure([&] { do_not_optimize(x.sum()); }, {.samples = 5}).median / static_cast<double>(count) * 1e9;
    std::printf("  %16lld %13lld %15.2f  %s\n", static_cast<long long>(stride), static_cast<long long>(stride * 4), ns,
                std::string(static_cast<std::size_t>(std::min(40.0, ns * 4)), '#').c_str());
  }
}

// %%
DEMO("time: what a call costs before the first addition") {
  const Tensor one = ones({1});
  const Tensor many = ones({1 << 16});
  const double through = measure([&] { do_not_optimize(layered(one)); }, {.samples = 7}).median * 1e9;
  const double direct = measure([&] { do_not_optimize(in_cpu(one)); }, {.samples = 7}).median * 1e9;
  const double small = measure([&] { do_not_optimize(one + one); }, {.samples = 7}).median * 1e9;
  const double large = measure([&] { do_not_optimize(many + many); }, {.samples = 7}).median * 1e9;
  std::printf("  a function that returns its argument   %10.1f ns\n", direct);
  std::printf("  the same through the dispatcher        %10.1f ns\n", through);
  std::printf("  add of 1 element                       %10.1f ns\n", small);
  std::printf("  add of %d elements                  %10.1f ns, %.3f ns each\n", 1 << 16, large, large / (1 << 16));
}

// %%
DEMO("time: two orders of three loops") {
  std::printf("     n     v1 (i,j,k) ms   v2 (i,k,j) ms   v1 / v2\n");
  for (const std::int64_t n : {32, 64, 128, 256}) {
    const Tensor a = ones({n, n});
    const double v1 = measure([&] { do_not_optimize(mm_v1(a, a)); }, {.samples = 3}).median * 1e3;
    const double v2 = measure([&] { do_not_optimize(mm(a, a)); }, {.samples = 3}).median * 1e3;
    std::printf("  %4lld %17.3f %15.3f %9.1f  %s\n", static_cast<long long>(n), v1, v2, v1 / v2,
                std::string(static_cast<std::size_t>(std::min(40.0, v1 / v2 * 3)), '#').c_str());
  }
}

// %% [markdown]
// ## Part 3: Production context
//
// What you built has the shape and the names of PyTorch's core.
//
//     here                     PyTorch                             read
//     StorageImpl, allocator   StorageImpl, Allocator              c10/core/StorageImpl.h, c10/core/Allocator.h
//     TensorImpl, DimVector    TensorImpl, SizesAndStrides         c10/core/TensorImpl.h, c10/core/impl/SizesAndStrides.h
//     intrusive_ptr            intrusive_ptr (and weak counts)     c10/util/intrusive_ptr.h
//     Layer, LayerSet          DispatchKey, DispatchKeySet         c10/core/DispatchKey.h, c10/core/DispatchKeySet.h
//     Operator                 OperatorHandle, Dispatcher          aten/src/ATen/core/dispatch/Dispatcher.h
//     views, compute_stride    native functions, computeStride     aten/src/ATen/native/TensorShape.cpp, aten/src/ATen/TensorUtils.cpp
//     StridedLoop              TensorIterator                      aten/src/ATen/TensorIterator.cpp
//     result_type              result_type                         aten/src/ATen/native/TypeProperties.cpp
//
// **PyTorch** has over a hundred dispatch keys and more than two thousand operators, listed as data in `aten/src/ATen/native/native_functions.yaml`, from which most of the plumbing is generated. Its TensorIterator also reorders dimensions by stride and splits work
// over threads, and a result keeps the memory order of its inputs, where ours is always dense in the last dimension. Its in-place operators refuse operands that overlap in part; ours copy first.
//
// **TensorFlow** (`tensorflow/core/framework/tensor.h`) keeps tensors dense: a `Tensor` is a shape and a reference-counted buffer without strides, so a transpose is a kernel that copies. That makes every kernel simpler and leaves it to graph compilation to remove the copies. Kernels are chosen by device and dtype
// (`tensorflow/core/framework/op_kernel.h`).
//
// **JAX** arrays are immutable: there are no views to write through, `x.at[0].set(y)` gives a new array, and XLA reuses the buffer where nobody looks. Layout is the compiler's business, not the program's. NumPy has strides as here, in bytes and possibly negative.

// %% [markdown]
// ## Integration test

// %%
TEST_CASE("tensors: a slice of a transpose, broadcast and reduced") {
  const Tensor a = arange(12).view({3, 4}).t().slice(0, 1, 3);
  CHECK_EQ(a, tensor({{1, 5, 9}, {2, 6, 10}}));
  CHECK_EQ((a + tensor({10, 20, 30})).sum({1}), tensor({75, 78}));
  CHECK_EQ(mm(a.to(kFloat), ones({3, 1})), tensor({{15.0}, {18.0}}));
}

// %% [markdown]
// ## ML systems thinking
//
// The pattern is Build -> Use -> **Reflect**. Use your measurements.

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "01-explain-strides", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 1. When is a copy cheaper than a view?** A program sums the columns of a large transposed matrix a hundred times. With your stride measurement: what does each pass cost compared with a dense one, and after how many passes does `contiguous()` pay? Why does the time per number stop growing at some stride?
// BEGIN SOLUTION
// A strided pass costs the measured factor more, because each number brings a whole cache line of which the rest is thrown away. The copy costs one strided pass and one write, so with a factor f it pays after about
// (f + 1) / (f - 1) passes, two or three for a large f. Once each number has a cache line to itself a larger stride brings no more bytes; after that only pages (TLB) and prefetching make a difference.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "01-explain-layout", "locked": false, "points": 4, "schema_version": 3, "solution": true, "task": false}}
// **Question 2. Strides or immutability?** NumPy and PyTorch let views write into their base; JAX has no views, TensorFlow no strides. What does each decision make easy, and what hard, for the author of a kernel, of a compiler, and of automatic differentiation?
// BEGIN SOLUTION
// Views save memory and copies for the user who thinks in arrays, but every kernel must accept any strides (or copy first), and a compiler must prove that two names do not share memory before it reorders anything. Automatic differentiation must notice
// that a saved value was overwritten through another name (PyTorch counts versions per storage). Immutable arrays make values equal names: compilation, transformation and parallelism become simple, and the compiler gets back the copies by reusing buffers; the price is that
// updating a piece of a large array relies on that optimization. Dense buffers without strides keep kernels simple and make transposes cost a pass.
// END SOLUTION

// %% [markdown] {"nbgrader": {"grade": true, "grade_id": "01-explain-dispatch", "locked": false, "points": 3, "schema_version": 3, "solution": true, "task": false}}
// **Question 3. What does a call cost?** From your third demonstration: for which number of elements does half of the time of an addition go into the call itself? What follows for a network of many small tensors, and what could a framework do about it?
// BEGIN SOLUTION
// The fixed cost of an addition (allocating the result, sizes, the walk, the dispatcher) divided by the cost per element gives the break-even size. Most of it is allocation and set-up, not the dispatcher. Small tensors are
// overhead-bound: batch them into larger ones, fuse several operations into one call, pool allocations, or trace and compile, so that the overhead is paid once for many operations.
// END SOLUTION

// %% [markdown]
// ## Module summary
//
// - A tensor is storage plus sizes, strides and offset. Views change only the latter and share the former; the allocator's counters prove it.
// - `view` works where new dimensions fit into chunks of evenly spaced memory; `reshape` copies where they do not.
// - Broadcasting and expansion are stride 0, for reading; a reduction is stride 0 for its accumulator.
// - Promotion looks at the category first; numbers and 0-d tensors change another tensor's type by category only.
// - An operator is a table of layers. Later modules add gradients and faster kernels to the same table, and nothing here changes.
// - The order of loops decides how much of each cache line is used: the same arithmetic, another time.

// %%
}  // namespace tinytorch
