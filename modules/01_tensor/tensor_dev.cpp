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
//| export core/promotion.h
#include "tinytorch/core/scalar_type.h"
//| export core/storage.h
#include <cstddef>
#include "tinytorch/core/device.h"
#include "tinytorch/core/intrusive_ptr.h"
//| export core/dispatch.h
#include <string_view>
#include "tinytorch/core/layer_set.h"
#include "tinytorch/core/promotion.h"
//| export core/tensor_options.h
#include "tinytorch/core/device.h"
#include "tinytorch/core/dispatch.h"
#include "tinytorch/core/options_extensions.h"
//| export core/tensor_impl.h
#include "tinytorch/core/array_ref.h"
#include "tinytorch/core/dispatch.h"
#include "tinytorch/core/storage.h"
//| export core/functions.h
#include "tinytorch/core/tensor_options.h"
//| export core/tensor.h
#include <tuple>
#include "tinytorch/core/functions.h"
#include "tinytorch/core/memory_format.h"
#include "tinytorch/core/optional_array_ref.h"
#include "tinytorch/core/tensor_extensions.h"
#include "tinytorch/core/tensor_impl.h"
//| export core/basic_ops.h
#include "tinytorch/core/tensor.h"
//| export core/loops.h
#include "tinytorch/core/basic_ops.h"
#include "tinytorch/core/function_ref.h"
//| export core/views.cpp
#include "tinytorch/core/basic_ops.h"
#include "tinytorch/core/small_vector.h"
//| export core/pointwise.cpp
#include <algorithm>
#include <cmath>
#include "tinytorch/core/loops.h"
#include "tinytorch/core/basic_ops.h"
//| export core/reductions.cpp
#include "tinytorch/core/loops.h"
#include "tinytorch/core/basic_ops.h"
//| export core/matmul.h
#include "tinytorch/core/basic_ops.h"

// %%
#include <cstdio>
#include "tinytorch/core/utils.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Part 1: Foundations
//
// A tensor of d dimensions is a function from indices to numbers. Its sizes together are its *shape*; with d = 0 it has no index and one number (a *0-d tensor*). A *stride* says how many elements further in memory the next index
// of its dimension lies. With sizes n and strides s a tensor lies in memory so that
//
//     position(i1, ..., id) = offset + i1 * s1 + ... + id * sd          0 <= ik < nk
//
// Reading one element costs O(d). Changing sizes, strides or offset costs O(d) too, and gives another tensor over the same memory: a *view*. Copying costs O(n1 * ... * nd). This is the whole reason for strides.
//
// Sizes and strides are kept in a `DimVector`, which holds up to five numbers inside itself, and passed as an `IntArrayRef`, a pointer and a length (library chapter 92): a heap allocation for each list would cost more than a small addition.
// Use a `DimVector` as a `std::vector<std::int64_t>`: `DimVector(n, value)`, `size()`, `back()`, `push_back(x)`, `erase(i)`. It converts to an `IntArrayRef`, and can be made from one.

// %% [markdown]
// ### Who owns the bytes
//
// Several tensors share one storage, so someone must know when the last has gone. The object carries its own count of owners, so that a handle, `intrusive_ptr`, is one pointer wide;
// `std::shared_ptr` is two wide. The count is atomic, because tensors travel between threads.
//
//     Tensor x ---+                                     +--> bytes (64-byte aligned)
//                 +--> TensorImpl (2 owners) ---+       |
//     Tensor y ---+                             +--> StorageImpl (2 owners)
//     Tensor x.t() ---> TensorImpl (1 owner) ---+
//
// Up to 64 bytes lie in the `StorageImpl` itself, so that a tensor of a few numbers asks for two blocks of memory and not for three. The allocator counts as well: bytes held now, their peak, and calls. From here on no lesson needs to guess what something costs in memory.
// How bytes are taken, counted and given back stands in library chapter 84.

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
// A run of bytes with an owner count: what views share. Up to 64 bytes lie in the object itself. `version` counts writes in place; it is opaque to this module.
// Source: c10/core/StorageImpl.h.
class StorageImpl : public RefCounted {
 public:
  using Deleter = void (*)(void* data, std::size_t nbytes, void* context);
  explicit StorageImpl(std::size_t nbytes);
  StorageImpl(void* data, std::size_t nbytes, Deleter deleter, void* context);
  ~StorageImpl() override;

  void* data() const { return data_; }  // of a device's memory: an address that only the device understands
  std::size_t nbytes() const { return nbytes_; }
  virtual Device device() const { return DeviceType::CPU; }
  void resize(std::size_t nbytes);  // keeps the bytes that fit; chapter 84
  std::atomic<std::uint32_t> version{0};

 private:
  void take_bytes(std::size_t nbytes);                          // sets data_ and nbytes_
  void give_bytes_back(void* data, std::size_t nbytes) noexcept;

  void* data_;
  std::size_t nbytes_;
  Deleter deleter_ = nullptr;
  void* context_ = nullptr;
  alignas(64) std::byte room_[64];
};

// The handle on it that tensors share. Source: c10/core/Storage.h.
class Storage : public intrusive_ptr<StorageImpl> {
 public:
  using intrusive_ptr::intrusive_ptr;
  Storage() = default;
  Storage(intrusive_ptr impl) : intrusive_ptr(std::move(impl)) {}

  const void* data() const { return get()->data(); }
  void* mutable_data() const { return get()->data(); }
  DataPtr data_ptr() const { return {get()->data(), device()}; }
  DataPtr mutable_data_ptr() const { return data_ptr(); }
  std::size_t nbytes() const { return get()->nbytes(); }
  std::size_t use_count() const { return get()->use_count(); }
  bool unique() const { return use_count() == 1; }
  Device device() const { return get()->device(); }
  DeviceType device_type() const { return device().type(); }
  bool is_alias_of(const Storage& other) const { return get() == other.get(); }
  StorageImpl* unsafeGetStorageImpl() const { return get(); }
};

// %%
TEST_CASE("storage: the allocator counts live bytes, the peak and the calls") {
  const MemoryStats before = memory::stats();
  {
    const Storage storage = make_intrusive<StorageImpl>(4096);
    const Storage other = storage;
    CHECK_EQ(storage.use_count(), 2);
    CHECK_EQ(memory::stats().live, before.live + 4096);
    CHECK_EQ(memory::stats().allocations, before.allocations + 1);
    CHECK_EQ(reinterpret_cast<std::uintptr_t>(storage->data()) % 64, 0);
  }
  CHECK_EQ(memory::stats().live, before.live);
}

// %% [markdown]
// ### Element types and promotion
//
// The type of a tensor's elements is its *dtype*. What is the dtype of `int64 + float32`? PyTorch orders types in three categories, and the higher category wins; within one, the wider type.
//
//     bool   <   uint8  int8  int16  int32  int64   <   float32  float64
//     ------     ---------------------------------      ----------------
//     category 0          category 1                      category 2
//
// The types themselves, `Scalar` (one number of any type) and `dispatch_all_types` (a switch that turns a type known at run time into a template argument) stand in library chapter 92. What is decided here is promotion:
// `int64 + float32` is `float32`, because models compute in float32, and one integer tensor must not double their memory.

// %%
//| export core/promotion.h
// The type that holds values of both: the higher category (bool < integer < floating point), then the wider one. Source: c10/core/ScalarType.cpp, promoteTypes.
ScalarType promoteTypes(ScalarType a, ScalarType b);

// Whether a result of type `from` may be written into a tensor of type `to`: never from a higher category to a lower one.
inline bool canCast(ScalarType from, ScalarType to) {
  if (isFloatingType(from) && !isFloatingType(to)) return false;
  return from == ScalarType::Bool || to != ScalarType::Bool;
}

// %%
//| export core/promotion.cpp
ScalarType promoteTypes(ScalarType a, ScalarType b) {
  const ScalarType low = a < b ? a : b;
  const ScalarType high = a < b ? b : a;
  // uint8 and int8 have no common type of their width: the next signed type holds both.
  if (low == ScalarType::Byte && high == ScalarType::Char) return ScalarType::Short;
  if (low == ScalarType::Half && high == ScalarType::BFloat16) return ScalarType::Float;
  return high;
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
// `add` will soon mean several things: the loop on this CPU (its *kernel*), the bookkeeping for gradients, later a version for other hardware. An `if` for each in each operator would not scale. So an operator is an
// object with a small table, one function pointer per *layer*. A call collects the layers that its arguments ask for, drops those this thread has switched off, and jumps to the highest.
//
//                      CPU       TunedCPU      HalfPrecision    PrivateUse1      InplaceOrView     Autograd
//     op::add     [ add_cpu    | (module 16) |  (chapter 83)  |  (a device)    |       -         |  (module 05)  ]
//     op::view    [ view_cpu   |      -      |       -        |  (chapter 66)  |  (module 05)    |  (module 05)  ]
//
//     layers = (union of the arguments' layers) & registered - excluded by the thread
//     call the highest; it may exclude itself and call the operator again
//
// Layers are bits of an integer, so all of this costs a few instructions, which Part 2 measures. `Layer` names them from the lowest to the highest, a `LayerSet` is a set of them. Both, and what a thread has switched off, stand in library chapter 92:
//
//     a | b    a & b    a - b                          two sets joined, intersected, one taken away from the other
//     set.has(Layer::CPU)  set.empty()  set.highest()
//     layers_of(arg)                                   the layers that one argument asks for; a plain value asks for none
//     thread_state().excluded                          what this thread has switched off; ExcludeLayersGuard does so for a scope,
//                                                      AutoDispatchBelowAutograd does it for Autograd
//
// An argument may also be a tensor without value, made by `Tensor x;`: `is_undefined(arg)` says so, and no operator accepts it.
//
// One bit is no layer but a mark, `Elsewhere`. A tensor carries it if its bytes lie in the memory of a device from outside of the library, and an operator (in `registered`) as long as it has no function for such devices.
// Where both carry it, `&` keeps it, and nothing may run. You need no test for it: the mark is the sign bit, and `empty()` is true when it is left.

// %%
//| export core/dispatch.h
[[noreturn]] void fail_undefined_argument(const char* name);
[[noreturn]] void fail_no_kernel_elsewhere(const char* name);  // chapter 84
[[noreturn]] void fail_no_layer(const char* name, LayerSet left);

// An operator: a name and one function per layer. It is a global object, initialised before any code runs (constinit). Source: aten/src/ATen/core/dispatch/Dispatcher.h.
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
    if (implementation == nullptr) return;
    registered_ = (layer == Layer::PrivateUse1 ? registered_ - Layer::Elsewhere : registered_) | layer;
  }
  Function function(Layer layer) const { return table_[static_cast<std::size_t>(layer)]; }

 private:
  // Calls the function of one layer; an observer, if there is one (module 14), sees the call.
  R run(Layer layer, Args... args) const {
    if (record_observer.load(std::memory_order_relaxed) != nullptr) [[unlikely]]
      return run_observed(layer, std::forward<Args>(args)...);
    return function(layer)(std::forward<Args>(args)...);
  }
  R run_observed(Layer layer, Args... args) const;

  const char* name_;
  LayerSet registered_ = Layer::Elsewhere;
  std::array<Function, kLayerCount> table_{};
};

// %% {"nbgrader": {"grade": false, "grade_id": "01-operator-call", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/dispatch.h
// Calls the highest layer that is registered, asked for by an argument, and not excluded in this thread.
//
// TODO: Choose the layer and call its function.
// APPROACH: 1. An undefined tensor among the arguments: fail_undefined_argument(name_).
//           2. layers_of(arg) of all arguments, joined by |; keep those in registered_; take away what the thread excludes.
//           3. None left: fail_no_layer(name_, layers). Else run(layer, arguments...) calls the function of the highest.
// EXAMPLE: tensors on the CPU and no other layer registered: run(Layer::CPU, args...).
// HINT: A fold expression, (f(args) | ...), joins over all arguments. std::forward<Args>(args)... passes them on.
template <class R, class... Args>
R Operator<R(Args...)>::operator()(Args... args) const {
  // BEGIN SOLUTION
  if ((is_undefined(args) || ...)) fail_undefined_argument(name_);
  const LayerSet layers = ((layers_of(args) | ...) & registered_) - thread_state().excluded;
  if (layers.empty()) fail_no_layer(name_, layers);
  return run(layers.highest(), std::forward<Args>(args)...);
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
  if (layers.empty()) fail_no_layer(name_, layers);
  return run(layers.highest(), std::forward<Args>(args)...);
}
#endif

// %%
//| export core/dispatch.h
// Kept apart from run(), so that a call that nobody watches stays small.
template <class R, class... Args>
[[gnu::noinline]] R Operator<R(Args...)>::run_observed(Layer layer, Args... args) const {
  RecordFunction record(RecordScope::FUNCTION);
  if (record.isActive()) {
    (note_tensors(record, args), ...);
    record.before(name_, -1, this, layer);
  }
  R result = function(layer)(std::forward<Args>(args)...);
  if (record.isActive()) note_tensors(record, result);
  return result;
}

// %%
//| export core/dispatch.cpp
void fail_undefined_argument(const char* name) {
  throw Error(std::string("Expected a proper Tensor but got None (or an undefined Tensor in C++)\n[") + name +
              "] an argument is a default-constructed Tensor; give it a value first, for example with empty() or zeros().");
}

void fail_no_layer(const char* name, LayerSet left) {
  if (left.has(Layer::Elsewhere)) fail_no_kernel_elsewhere(name);
  throw NotImplementedError(std::string("Could not run '") + name + "' with these arguments: no layer of the operator accepts them.");
}

// Called once at start-up: lets each module add its layers to the operators of earlier ones. It stands here because every program that uses an operator links this file.
void register_all();
namespace {
[[maybe_unused]] const bool registered_at_startup = (register_all(), true);
}

// %%
//| lesson
// An argument that asks for layers, as a tensor will.
struct Asking {
  LayerSet layers;
  bool defined = true;
};
LayerSet layers_of(const Asking& argument) { return argument.layers; }
bool is_undefined(const Asking& argument) { return !argument.defined; }
void note_tensors(RecordFunction&, const Asking&) {}

int called_layer = -1;
int in_cpu(const Asking&) { return called_layer = 0; }
int in_view(const Asking&) { return called_layer = 1; }
int in_autograd(const Asking&) { return called_layer = 2; }
constinit Operator<int(const Asking&)> layered("layered", {.cpu = in_cpu, .inplace_or_view = in_view, .autograd = in_autograd});
constinit Operator<int(const Asking&)> nowhere("nowhere", {});

// %% {"nbgrader": {"grade": true, "grade_id": "01-operator-call-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("dispatch: the highest layer that is asked for, registered and not excluded") {
  layered(Asking{Layer::CPU});
  CHECK_EQ(called_layer, 0);
  const Asking all{LayerSet(Layer::CPU) | Layer::InplaceOrView | Layer::Autograd};
  layered(all);
  CHECK_EQ(called_layer, 2);
  {
    const AutoDispatchBelowAutograd guard;
    layered(all);
    CHECK_EQ(called_layer, 1);
  }
  layered(all);
  CHECK_EQ(called_layer, 2);
  const Asking undefined{Layer::CPU, false};
  CHECK_ERROR(layered(undefined), "Expected a proper Tensor but got None (or an undefined Tensor in C++)");
  CHECK_ERROR(nowhere(all), "Could not run 'nowhere'");
  const Asking elsewhere{LayerSet(Layer::PrivateUse1) | Layer::Elsewhere | Layer::Autograd};
  CHECK_ERROR(layered(elsewhere), "Could not run 'layered' with arguments from the");
  // BEGIN HIDDEN TESTS
  const ExcludeLayersGuard none(LayerSet(Layer::CPU) | Layer::InplaceOrView | Layer::Autograd);
  CHECK_ERROR(layered(all), "Could not run 'layered'");
  // END HIDDEN TESTS
}

// %% [markdown]
// ### Sizes, strides, offset
//
// `TensorOptions` say how a new tensor shall be. `TensorImpl` is the recipe: which storage, which sizes, strides and offset. In a fresh tensor the rows follow each other without gaps, and neighbours in the last dimension are neighbours in memory.
// Such a tensor is called *contiguous*, or dense:
//
//     sizes    (2, 3, 4)
//     strides (12, 4, 1)      each the product of the sizes behind it
//               |  |  +------ next column: 1 further
//               |  +--------- next row: a row has 4
//               +------------ next matrix: 3 rows of 4
//
// How a `TensorImpl` takes its geometry and finds out whether it is contiguous stands in library chapter 84.

// %%
//| export core/tensor_options.h
// How a new tensor shall be: its dtype, and layers that later modules ask for. Fluent: `dtype(kDouble)`. Source: c10/core/TensorOptions.h.
class TensorOptions : public OptionsExtensions {
 public:
  TensorOptions() = default;
  TensorOptions(ScalarType type) : dtype_(type) {}
  TensorOptions(TypeMeta type) : dtype_(type) {}
  template <std::convertible_to<Device> T>
  TensorOptions(const T& device) { set_device(device); }
  TensorOptions(MemoryFormat format) { set_memory_format(format); }

  [[nodiscard]] TensorOptions dtype(std::optional<ScalarType> type) const {
    TensorOptions changed = *this;
    changed.dtype_ = type;
    return changed;
  }
  TypeMeta dtype() const;
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
inline void note_tensors(RecordFunction&, const TensorOptions&) {}

// The floating-point type of new tensors that name none: Float at first. REQUIRES: a floating-point type.
TypeMeta get_default_dtype();
inline ScalarType get_default_dtype_as_scalartype() { return get_default_dtype(); }
void set_default_dtype(ScalarType type);

// %%
//| export core/tensor_impl.h
// Room for what a later module knows about a tensor (autograd keeps its record here). Opaque to this module.
struct TensorMetadata : memory::Pooled {
  virtual ~TensorMetadata() = default;
  virtual void dtype_changes() {}  // under the same tensor: what was noted of the old one is out of date
};

// How elements lie in a storage: sizes, strides and offset, all counted in elements.
// The element at index (i, j, ...) is number offset + i * strides[0] + j * strides[1] + ... Source: c10/core/TensorImpl.h.
struct TensorImpl : RefCounted {
  TensorImpl(Storage where, ScalarType type, LayerSet asked, IntArrayRef shape, IntArrayRef steps, std::int64_t first);
  // Dense, from the storage's beginning. REQUIRES: `count` is the product of the sizes.
  TensorImpl(Storage where, ScalarType type, LayerSet asked, IntArrayRef shape, std::int64_t count);
  TensorImpl(const TensorImpl& same, LayerSet asked);  // the same elements, with nothing known about them
  void set_geometry(IntArrayRef shape, IntArrayRef steps, std::int64_t first);

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
// Refuses to let the host read a device's memory; chapter 84.
[[noreturn]] void fail_read_elsewhere(const TensorImpl& tensor);

// Strides of a tensor whose last dimension is dense: each the product of the sizes behind it.
DimVector contiguous_strides(IntArrayRef sizes);
// The product of sizes; 1 for none. Throws if one is negative or the product overflows.
std::int64_t multiply_unusual_sizes(IntArrayRef sizes);  // chapter 84
inline std::int64_t multiply_sizes(IntArrayRef sizes) {
  std::int64_t product = 1;
  bool unusual = false;
  for (const std::int64_t size : sizes) unusual = size < 0 || __builtin_mul_overflow(product, size, &product) || unusual;
  return unusual ? multiply_unusual_sizes(sizes) : product;
}

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

// %% [markdown]
// A tensor that was just made has these strides. Each result of an operator is made so; the other constructors, which take strides, stand in chapter 84.

// %%
//| export core/tensor_impl.cpp
TensorImpl::TensorImpl(Storage where, ScalarType type, LayerSet asked, IntArrayRef shape, std::int64_t count)
    : storage(std::move(where)), sizes(shape), strides(contiguous_strides(shape)), numel(count), dtype(type),
      layers(isReducedFloatingType(type) ? asked | Layer::HalfPrecision : asked) {}

// %% [markdown]
// ### The Tensor
//
// The Tensor itself is a handle: a pointer to a `TensorImpl` and many methods, each of which calls the function of the same name. Copying a Tensor copies the pointer. So `const Tensor&` promises that the handle stays, not that
// the data does, and `x[0] = y` writes into the data while `x = y` makes `x` another handle. C++ tells them apart: `x[0]` is a temporary.
//
//     Tensor x = zeros({2, 3});      x ----> impl A ----> storage: 0 0 0 0 0 0
//     x[0] = ones({3});              x ----> impl A ----> storage: 1 1 1 0 0 0      writes
//     x = ones({3});                 x ----> impl B ----> another storage           points elsewhere

// %% [markdown]
// ### The functions
//
// Every operation is a plain function with its contract here, and most have an operator object behind them. A function that only combines others, as `flatten` and `mean` do, needs none. A name that ends in `_` writes into its first argument, *in place*.
//
//     x.mul(y)  --->  mul(x, y)  --->  op::mul(x, y)  --->  mul_cpu
//     method          function:        dispatcher:          kernel:
//                     checks           which layer?         loops
//
// This module writes the kernels from which most can be learned: views, a product, a sum, a product of matrices. The bodies of the other functions stand in library chapters: making tensors (96), reading their elements (84), copies and the rest of arithmetic (90).
// Read the contracts in the next cell (*broadcasting* is explained below). Of the class after it only remember that methods forward to functions; what it has for later chapters (formats, devices) can wait.

// %%
//| export core/functions.h
class Tensor;

// ---- Creation. `options` names the dtype (default: get_default_dtype(), or the type of the given values).
Tensor empty(IntArrayRef size, const TensorOptions& options = {});  // uninitialised
Tensor empty(IntArrayRef size, const TensorOptions& options, std::optional<MemoryFormat> memory_format);  // laid out so (Contiguous when absent); chapter 84
Tensor zeros(IntArrayRef size, const TensorOptions& options = {});
Tensor ones(IntArrayRef size, const TensorOptions& options = {});
Tensor full(IntArrayRef size, const Scalar& fill_value, const TensorOptions& options = {});
// A 0-d tensor of `value` that takes part in promotion by its category only, as a plain number does.
Tensor wrapped_scalar(const Scalar& value);
// Every factory ends with this: gives a fresh tensor the layers that its options ask for.
Tensor created(const Tensor& fresh, const TensorOptions& options);

// ---- Views: the result shares the storage of `self`. O(dim) time, no element is copied.
Tensor as_strided(const Tensor& self, IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset = std::nullopt);
Tensor view(const Tensor& self, IntArrayRef size);  // one size may be -1
Tensor expand(const Tensor& self, IntArrayRef size);  // size 1 becomes any size, with stride 0; -1 keeps a size
Tensor select(const Tensor& self, std::int64_t dim, std::int64_t index);
Tensor slice(const Tensor& self, std::int64_t dim = 0, std::optional<std::int64_t> start = std::nullopt,
             std::optional<std::int64_t> end = std::nullopt, std::int64_t step = 1);
Tensor reshape(const Tensor& self, IntArrayRef shape);  // a view where the strides allow it, a copy where not

// ---- Copies.
Tensor clone(const Tensor& self);  // in self's order of memory, if that has no gaps
Tensor in_row_order(const Tensor& self);  // `self` itself when it is contiguous
Tensor to_dtype(const Tensor& self, ScalarType type);  // `self` itself when it has that type
const Tensor& copy_(const Tensor& self, const Tensor& src);  // converts and broadcasts src into self
const Tensor& fill_(const Tensor& self, const Scalar& value);

// ---- Pointwise: shapes broadcast, dtypes promote. O(numel).
Tensor add(const Tensor& self, const Tensor& other, const Scalar& alpha = 1);  // self + alpha * other
Tensor mul(const Tensor& self, const Tensor& other);
const Tensor& add_(const Tensor& self, const Tensor& other, const Scalar& alpha = 1);
const Tensor& mul_(const Tensor& self, const Tensor& other);
Tensor neg(const Tensor& self);
Tensor exp(const Tensor& self);  // integers become the default dtype

// ---- Reductions over the dimensions `dim` (none given: over all). O(numel).
Tensor sum(const Tensor& self);
Tensor sum(const Tensor& self, IntArrayRef dim, bool keepdim = false);  // integers and bools sum to Long

// ---- Products of matrices.
Tensor mm(const Tensor& self, const Tensor& mat2);      // (M, K) x (K, N) -> (M, N). O(M K N).

// %%
//| export core/tensor.h
// A handle on a TensorImpl. Copying a Tensor copies the handle, not the data; `const` does not protect the data.
// Methods call the function of the same name, where shapes, dtypes and errors are documented (functions.h, and ops.h for those that
// later chapters add through TensorExtensions). Source: aten/src/ATen/core/TensorBase.h.
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
  void reset() { impl_.reset(); }  // lets go: the handle is undefined
  std::size_t use_count() const { return defined() ? impl_->use_count() : 0; }
  const intrusive_ptr<TensorImpl>& getIntrusivePtr() const { return impl_; }
  std::int64_t dim() const { return static_cast<std::int64_t>(impl().sizes.size()); }
  IntArrayRef sizes() const { return impl().sizes; }
  IntArrayRef strides() const { return impl().strides; }
  std::int64_t size(std::int64_t dim) const;
  std::int64_t stride(std::int64_t dim) const;
  std::int64_t numel() const { return impl().numel; }
  std::int64_t storage_offset() const { return impl().offset; }
  const Storage& storage() const { return impl().storage; }
  ScalarType scalar_type() const { return impl().dtype; }
  TypeMeta dtype() const { return TypeMeta(impl().dtype); }
  std::size_t element_size() const { return elementSize(scalar_type()); }
  bool is_contiguous() const { return impl().contiguous; }
  bool is_contiguous(MemoryFormat memory_format) const;  // chapter 84, as the other members with a format
  bool is_floating_point() const { return isFloatingType(scalar_type()); }
  bool is_elsewhere() const { return impl().layers.has(Layer::Elsewhere); }  // on a device from outside, whose memory the host cannot read
  TensorOptions options() const;  // with dtype, device and layout named; chapter 84
  bool is_alias_of(const Tensor& other) const { return storage().get() == other.storage().get(); }

  // Access. data_ptr<T>() checks the dtype; data<T>() is its twin for kernels, which does not. Both throw where the bytes lie in a device's memory.
  Tensor data() const;  // the same data without a history; chapter 74
  void* data_ptr() const;
  template <class T>
  T* data_ptr() const;
  template <class T>
  [[gnu::always_inline]] T* data() const {
    const TensorImpl& self = impl();
    if (self.layers.has(Layer::Elsewhere)) [[unlikely]] fail_read_elsewhere(self);
    return static_cast<T*>(self.storage->data()) + self.offset;
  }
  Scalar item() const;
  template <class T>
  T item() const {
    return item().to<T>();
  }

  // Views: no data is copied.
  Tensor operator[](std::int64_t index) const { return tinytorch::select(*this, 0, index); }
  Tensor as_strided(IntArrayRef size, IntArrayRef stride, std::optional<std::int64_t> storage_offset = std::nullopt) const { return tinytorch::as_strided(*this, size, stride, storage_offset); }
  Tensor view(IntArrayRef size) const { return tinytorch::view(*this, size); }
  Tensor view(ScalarType dtype) const;  // the same bytes read as another type; chapter 84
  Tensor reshape(IntArrayRef shape) const { return tinytorch::reshape(*this, shape); }
  Tensor expand(IntArrayRef size) const { return tinytorch::expand(*this, size); }
  Tensor select(std::int64_t dim, std::int64_t index) const { return tinytorch::select(*this, dim, index); }
  Tensor slice(std::int64_t dim = 0, std::optional<std::int64_t> start = std::nullopt, std::optional<std::int64_t> end = std::nullopt,
               std::int64_t step = 1) const {
    return tinytorch::slice(*this, dim, start, end, step);
  }

  // Copies.
  Tensor contiguous() const { return is_contiguous() ? *this : tinytorch::in_row_order(*this); }
  Tensor contiguous(MemoryFormat memory_format) const;
  Tensor clone() const { return tinytorch::clone(*this); }
  Tensor clone(std::optional<MemoryFormat> memory_format) const;
  Tensor& copy_(const Tensor& src, bool /*non_blocking*/ = false) const { return self_of(tinytorch::copy_(*this, src)); }
  Tensor& fill_(const Scalar& value) const { return self_of(tinytorch::fill_(*this, value)); }
  Tensor& fill_(const Tensor& value) const;  // by a 0-d tensor; chapter 60

  // Arithmetic.
  Tensor add(const Tensor& other, const Scalar& alpha = 1) const { return tinytorch::add(*this, other, alpha); }
  Tensor add(const Scalar& other, const Scalar& alpha = 1) const { return tinytorch::add(*this, wrapped_scalar(other), alpha); }
  Tensor& add_(const Tensor& other, const Scalar& alpha = 1) const { return self_of(tinytorch::add_(*this, other, alpha)); }
  Tensor& add_(const Scalar& other, const Scalar& alpha = 1) const { return add_(wrapped_scalar(other), alpha); }
  Tensor mul(const Tensor& other) const { return tinytorch::mul(*this, other); }
  Tensor mul(const Scalar& other) const { return tinytorch::mul(*this, wrapped_scalar(other)); }
  Tensor& mul_(const Tensor& other) const { return self_of(tinytorch::mul_(*this, other)); }
  Tensor& mul_(const Scalar& other) const { return mul_(wrapped_scalar(other)); }
  Tensor neg() const { return tinytorch::neg(*this); }
  Tensor exp() const { return tinytorch::exp(*this); }
  Tensor operator-() const { return neg(); }
  Tensor& operator+=(const Tensor& other) { return add_(other); }
  Tensor& operator+=(const Scalar& other) { return add_(other); }
  Tensor& operator*=(const Tensor& other) { return mul_(other); }
  Tensor& operator*=(const Scalar& other) { return mul_(other); }

  // Reductions.
  Tensor sum(std::optional<ScalarType> dtype = std::nullopt) const { return dtype ? to_dtype(to_dtype(*this, *dtype).sum(), *dtype) : tinytorch::sum(*this); }
  Tensor sum(IntArrayRef dim, bool keepdim = false, std::optional<ScalarType> dtype = std::nullopt) const {
    return dtype ? to_dtype(to_dtype(*this, *dtype).sum(dim, keepdim), *dtype) : tinytorch::sum(*this, dim, keepdim);
  }
  template <OptionalDims Dims>
  Tensor sum(const Dims& dim, bool keepdim = false, std::optional<ScalarType> dtype = std::nullopt) const {
    return sum(dims_or_all(dim), keepdim, dtype);
  }

  // Linear algebra.
  Tensor mm(const Tensor& mat2) const { return tinytorch::mm(*this, mat2); }

 private:
  // In-place functions return the tensor they were given; methods hand it out as libtorch does.
  static Tensor& self_of(const Tensor& tensor) { return const_cast<Tensor&>(tensor); }

  intrusive_ptr<TensorImpl> impl_;
};

using TensorList = ArrayRef<Tensor>;

// Chapter 84: what lies on a device, for the host; and a tensor of the host on a device.
Tensor to_host(const Tensor& self);
Tensor to_device(const Tensor& self, const Device& device);
void require_device(const char* function, const Device& device);  // throws if no tensor can live there

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
inline void note_tensors(RecordFunction& record, const Tensor& tensor) {
  if (tensor.defined()) record.add_tensor(*tensor.unsafeGetTensorImpl());
}
inline void note_tensors(RecordFunction& record, const std::optional<Tensor>& tensor) { note_tensors(record, tensor.value_or(Tensor())); }
inline void note_tensors(RecordFunction& record, TensorList list) {
  for (const Tensor& tensor : list) note_tensors(record, tensor);
}
template <class... T>
void note_tensors(RecordFunction& record, const std::tuple<T...>& tensors) {
  std::apply([&](const auto&... tensor) { (note_tensors(record, tensor), ...); }, tensors);
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
Tensor make_tensor(Storage storage, ScalarType type, LayerSet layers, IntArrayRef sizes, IntArrayRef strides, std::int64_t offset);

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

// %%
//| export core/basic_ops.h
// The shape that two shapes broadcast to. Throws if a pair of sizes differs and neither is 1.
DimVector infer_size(IntArrayRef a, IntArrayRef b);
// The dtype of a result from `a` and `b`: a 0-d tensor changes the other's type only by its category, a wrapped number yields to both.
ScalarType result_type(const Tensor& a, const Tensor& b);

// %%
//| export core/basic_ops.h
// The operator objects behind the functions: one table of layers each. Functions without one are composed of these.
namespace op {
extern Operator<Tensor(const Tensor&, const TensorOptions&)> created;
extern Operator<Tensor(const Tensor&, IntArrayRef, IntArrayRef, std::optional<std::int64_t>)> as_strided;
extern Operator<Tensor(const Tensor&, IntArrayRef)> view;
extern Operator<Tensor(const Tensor&, IntArrayRef)> expand;
extern Operator<Tensor(const Tensor&, std::int64_t, std::int64_t)> select;
extern Operator<Tensor(const Tensor&, std::int64_t, std::int64_t, std::int64_t, std::int64_t)> slice;
extern Operator<Tensor(const Tensor&, bool)> clone;  // whether it keeps self's order in memory
extern Operator<Tensor(const Tensor&, ScalarType)> to_dtype;
extern Operator<const Tensor&(const Tensor&, const Tensor&)> copy_;
extern Operator<const Tensor&(const Tensor&, const Scalar&)> fill_;
extern Operator<Tensor(const Tensor&, const Tensor&, const Scalar&)> add;
extern Operator<Tensor(const Tensor&, const Tensor&)> mul;
extern Operator<const Tensor&(const Tensor&, const Tensor&, const Scalar&)> add_;
extern Operator<const Tensor&(const Tensor&, const Tensor&)> mul_;
extern Operator<Tensor(const Tensor&)> neg;
extern Operator<Tensor(const Tensor&)> exp;
extern Operator<Tensor(const Tensor&, IntArrayRef, bool)> sum;
extern Operator<Tensor(const Tensor&, const Tensor&)> mm;
}  // namespace op

// %%
//| export core/basic_ops.h
inline Tensor operator+(const Tensor& a, const Tensor& b) { return add(a, b); }
inline Tensor operator+(const Tensor& a, const Scalar& b) { return a.add(b); }
inline Tensor operator+(const Scalar& a, const Tensor& b) { return add(wrapped_scalar(a), b); }
inline Tensor operator*(const Tensor& a, const Tensor& b) { return mul(a, b); }
inline Tensor operator*(const Tensor& a, const Scalar& b) { return a.mul(b); }
inline Tensor operator*(const Scalar& a, const Tensor& b) { return mul(wrapped_scalar(a), b); }

// %%
// For the tests: `arange` and `tensor({{1, 2}, {3, 4}})` are made of this module's parts (library chapters 90 and 96).
}  // namespace tinytorch
#include "tinytorch/core/ops.h"
#include "tinytorch/core/tensor_data.h"
namespace tinytorch {

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
// A new tensor is two blocks of memory: the bytes, and how to read them. `empty` is no more than this, with checks and options around it; `zeros`, `ones` and `full` then write into what it gives.
//
// ```cpp
// const std::int64_t numel = multiply_sizes(size);
// auto storage = make_intrusive<StorageImpl>(static_cast<std::size_t>(numel) * elementSize(type));
// return Tensor(make_intrusive<TensorImpl>(std::move(storage), type, Layer::CPU, size, numel));
// ```

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
// A new tensor over the same storage.
Tensor alias(const Tensor& self, IntArrayRef sizes, IntArrayRef strides, std::int64_t offset) {
  const LayerSet layers = self.impl().layers - Layer::Autograd;
  return make_tensor(self.storage(), self.scalar_type(), layers, sizes, strides, offset);
}

// %%
//| export core/basic_ops.h
// The strides with which memory laid out as (sizes, strides) can be seen in the shape `shape`, or nothing if only a copy can. Source: aten/src/ATen/TensorUtils.cpp, computeStride.
std::optional<DimVector> compute_stride(IntArrayRef sizes, IntArrayRef strides, IntArrayRef shape);
// A view: a new tensor over the storage of `self`; the caller checks the geometry. O(dims).
Tensor alias(const Tensor& self, IntArrayRef sizes, IntArrayRef strides, std::int64_t offset);
// `shape` with its -1 worked out so that it holds `numel` elements.
DimVector infer_shape(IntArrayRef shape, std::int64_t numel);

// %% [markdown]
// Which shapes can a tensor take without a copy? Going from the back, dimensions that continue each other in memory form a *chunk*, in which elements are evenly spaced. New dimensions may split or join a chunk, but none may reach from one chunk into the next.
//
//     sizes (2, 3, 4)  strides (12, 4, 1)     4 = 4 * 1, 12 = 3 * 4: one chunk of 24   any shape fits
//     its transpose(0, 1): (3, 2, 4), (4, 12, 1)     12 != 4 * 1: chunks 3 | 2 | 4     (3, 2, 2, 2) fits, (6, 4) does not
//
// By hand, for sizes (3, 4) with strides (1, 3), a transpose, in the shape (3, 2, 2):
//
//     chunks from the back: 4 elements, 3 apart     the 3 before them has stride 1, not 4 * 3, so it begins another
//                           3 elements, 1 apart
//
//     into the chunk of 4:  place 2: stride 3          2 of 4 placed
//                           place 2: stride 2 * 3      4 of 4: the chunk is full
//     into the chunk of 3:  place 3: stride 1          so the strides are (1, 6, 3); the shape (12) would have met a full chunk of 4 with 12
//
// Cutting the old dimensions into chunks is given; the walk over memory further down merges dimensions by the same rule. You place the new ones.

// %%
//| export core/views.cpp
namespace {
// Elements that are evenly spaced: `count` of them, `stride` apart.
struct Chunk {
  std::int64_t count = 1;
  std::int64_t stride = 1;
};

// The chunks of memory laid out as (sizes, strides), the last one first. O(dims).
SmallVector<Chunk, 5> chunks_of(IntArrayRef sizes, IntArrayRef strides) {
  SmallVector<Chunk, 5> chunks;
  Chunk* chunk = nullptr;  // the one that is being gathered
  for (std::size_t i = sizes.size(); i-- > 0;) {
    const bool continues = chunk != nullptr && (sizes[i] == 1 || strides[i] == chunk->count * chunk->stride);
    if (!continues) {
      chunk = &chunks.add();
      chunk->stride = strides[i];
    }
    chunk->count *= sizes[i];
  }
  if (chunks.empty()) chunks.add();  // a 0-d tensor has one element
  return chunks;
}
}  // namespace

// %% {"nbgrader": {"grade": false, "grade_id": "01-compute-stride", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/views.cpp
// The strides with which memory laid out as (sizes, strides) can be seen in the shape `shape`, or nothing if only a copy can.
// REQUIRES: both have the same number of elements. O(dims).
//
// TODO: Place the new dimensions into the chunks.
// APPROACH: 1. No elements: contiguous strides will do.
//           2. For each chunk of chunks_of(sizes, strides), the last one first: take new dimensions from the back until the product of
//              their sizes reaches its count. The stride of each is the product of those that this chunk got before it, times the chunk's stride.
//           3. If the product is not the count in the end: std::nullopt.
// EXAMPLE: compute_stride({3, 4}, {1, 3}, {3, 2, 2}) is {1, 6, 3}; for {12} it is nothing.
// HINT: New sizes of 1 fit anywhere: take them also when the chunk is full.
std::optional<DimVector> compute_stride(IntArrayRef sizes, IntArrayRef strides, IntArrayRef shape) {
  // BEGIN SOLUTION
  if (multiply_sizes(sizes) == 0) return contiguous_strides(shape);
  DimVector result(shape.size());
  std::size_t next = shape.size();  // the next dimension of `shape` to place, from the back
  for (const Chunk& chunk : chunks_of(sizes, strides)) {
    std::int64_t placed = 1;
    while (next > 0 && (placed < chunk.count || shape[next - 1] == 1)) {
      --next;
      result[next] = placed * chunk.stride;
      placed *= shape[next];
    }
    if (placed != chunk.count) return std::nullopt;
  }
  return result;
  // END SOLUTION
}

// %%
//| mistake 01-compute-stride forgets-the-strides
//| says Sizes that fit are not enough: in a transpose the dimensions do not continue each other in memory. Place the new ones chunk by chunk.
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
//| mistake 01-compute-stride leaves-out-ones
//| says A new dimension of size 1 fits anywhere: take it also when the chunk is full, or it is left without a stride.
#if 0
std::optional<DimVector> compute_stride(IntArrayRef sizes, IntArrayRef strides, IntArrayRef shape) {
  if (multiply_sizes(sizes) == 0) return contiguous_strides(shape);
  DimVector result(shape.size());
  std::size_t next = shape.size();
  for (const Chunk& chunk : chunks_of(sizes, strides)) {
    std::int64_t placed = 1;
    while (next > 0 && placed < chunk.count) {
      --next;
      result[next] = placed * chunk.stride;
      placed *= shape[next];
    }
    if (placed != chunk.count) return std::nullopt;
  }
  return result;
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
  CHECK_ERROR(view(Tensor(), {1}), "[view] an argument is a default-constructed Tensor");
  // END HIDDEN TESTS
}

// %%
//| export core/views.cpp
Tensor reshape(const Tensor& self, IntArrayRef shape) {
  const DimVector sizes = infer_shape(shape, self.numel());
  return compute_stride(self.sizes(), self.strides(), sizes) ? view(self, sizes) : view(in_row_order(self), sizes);
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
// A view of `self` with sizes `size`: new dimensions in front, and dimensions of size 1 stretched, both with stride 0. O(dims), no data is copied.
// REQUIRES: counted from the last, each size of self is 1 or the one in `size`, which has at least as many.
//
// TODO: Compute the strides of the expanded view.
// APPROACH: 1. `added = size.size() - self.sizes().size()` leading dimensions are new: dimension i - added of self stands at i.
//           2. A stretched or new dimension has stride 0, another keeps its own. alias() makes the view.
// EXAMPLE: (3, 1) with strides (1, 1) expanded to {2, 3, 4} has strides (0, 1, 0).
// HINT: DimVector(n) has n zeros. A dimension is stretched if its size changes.
Tensor expand_cpu(const Tensor& self, IntArrayRef size) {
  // BEGIN SOLUTION
  const std::size_t added = size.size() - self.sizes().size();
  DimVector strides(size.size());
  for (std::size_t i = added; i < size.size(); ++i)
    if (self.sizes()[i - added] == size[i]) strides[i] = self.strides()[i - added];
  return alias(self, size, strides, self.storage_offset());
  // END SOLUTION
}
}  // namespace

// %%
//| mistake 01-expand copies-the-data
//| says Expanding must not copy: share the storage and give the stretched dimensions stride 0.
#if 0
Tensor expand_cpu(const Tensor& self, IntArrayRef size) {
  const Tensor result = empty(size, self.options());
  const std::size_t added = size.size() - self.sizes().size();
  DimVector strides(size.size());
  for (std::size_t i = added; i < size.size(); ++i)
    if (self.sizes()[i - added] == size[i]) strides[i] = self.strides()[i - added];
  return copy_(result, alias(self, size, strides, self.storage_offset()));
}
#endif

// %%
//| mistake 01-expand aligned-at-the-front
//| says Sizes are laid side by side from the last dimension: the new dimensions stand in front.
#if 0
Tensor expand_cpu(const Tensor& self, IntArrayRef size) {
  DimVector strides(size.size());
  for (std::size_t i = 0; i < self.sizes().size(); ++i)
    if (self.sizes()[i] == size[i]) strides[i] = self.strides()[i];
  return alias(self, size, strides, self.storage_offset());
}
#endif

// %%
//| export core/views.cpp
constinit Operator<Tensor(const Tensor&, IntArrayRef)> op::expand("expand", {.cpu = expand_cpu});

Tensor expand(const Tensor& self, IntArrayRef size) {
  TORCH_CHECK(size.size() >= self.sizes().size(), "expand(CPU", self.scalar_type(), "Type{", self.sizes(), "}, size=", size,
              "): the number of sizes provided (", size.size(), ") must be greater or equal to the number of dimensions in the tensor (",
              self.dim(), ")");
  DimVector sizes(size);
  const std::size_t added = size.size() - self.sizes().size();
  for (std::size_t i = size.size(); i-- > 0;) {
    const std::int64_t old = i < added ? 1 : self.sizes()[i - added];
    TORCH_CHECK(size[i] != -1 || i >= added, "The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension ", i);
    if (size[i] == -1) sizes[i] = old;
    TORCH_CHECK(old == sizes[i] || old == 1, "The expanded size of the tensor (", sizes[i], ") must match the existing size (", old,
                ") at non-singleton dimension ", i, ".  Target sizes: ", size, ".  Tensor sizes: ", self.sizes());
  }
  return op::expand(self, sizes);
}

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

// %% [markdown]
// Two more views are arithmetic of the same kind (library chapter 90). `slice(dim, start, end, step)` moves the offset by `start` steps and makes the stride `step` times as long; its bounds count from the end when negative and are clamped, as in Python.
// `as_strided(size, stride, offset)` is the most general view: any sizes and strides that stay inside the storage. Nothing says that each element appears only once.

// %%
TEST_CASE("slices and what is made of views share memory and refuse what does not fit") {
  const Tensor x = arange(24).view({2, 3, 4});
  CHECK_EQ(x.slice(2, 1, 4, 2)[0][0], tensor({1, 3}));
  CHECK_EQ(x.slice(2, -2)[1][2], tensor({22, 23}));
  CHECK_EQ(x.slice(1, 2, 1).sizes(), IntArrayRef({2, 0, 4}));
  for (const Tensor& view : {x.transpose(1, 2), x.slice(0, 1), x.unsqueeze(-1)}) CHECK(view.is_alias_of(x));
  CHECK_ERROR(x.slice(0, 0, 1, 0), "slice step must be positive");
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
//| export core/basic_ops.h
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
// All kernels share one walk. It first simplifies: sizes of 1 vanish, and dimensions that continue each other for *every* operand merge. Then the innermost dimension is a plain loop, and the others count like an odometer. A kernel is handed over by its address (`function_ref`, chapter 92; PyTorch's TensorIterator does the same): the walk is compiled once, only the inner loop again for each kernel and dtype.
//
//     sizes (2, 3, 4), all contiguous     ->  one loop of 24
//     a (3, 4) + b (4) stretched: strides (4, 1) and (0, 1)  ->  3 runs of 4
//
//     index   0 0     0 1     0 2     (0 3)    1 0 ...      the last of the outer dimensions first; when it has
//     offset   0      +s2     +s2      +s2    -3*s2 +s1     reached its size it goes back and the one before it moves

// %%
//| export core/loops.h
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
// Moves `index`, which counts all dimensions but the innermost, one step on, the last of them first, and with it the offsets of all operands. False when every position has been seen.
// O(N) on average.
//
// TODO: Move on like an odometer.
// APPROACH: Beginning with the last entry of `index`: one more, and each offset takes one step of that dimension. If it has not reached its size: true.
//           Else take its whole way back from the offsets, set it to 0, and go on with the entry before it. No entry left: false.
// EXAMPLE: sizes (2, 3) and strides (10, 1): index (0) with offset 0 becomes (1) with offset 10; after that there is no more.
// HINT: strides_[k][d] is the stride of operand k in dimension d, sizes_[d] its size.
template <std::size_t N>
bool StridedLoop<N>::advance(DimVector& index, Offsets& offsets) const {
  // BEGIN SOLUTION
  for (std::size_t d = index.size(); d-- > 0;) {
    for (std::size_t k = 0; k < N; ++k) offsets[k] += strides_[k][d];
    if (++index[d] < sizes_[d]) return true;
    for (std::size_t k = 0; k < N; ++k) offsets[k] -= strides_[k][d] * sizes_[d];
    index[d] = 0;
  }
  return false;
  // END SOLUTION
}

// %%
//| mistake 01-strided-run first-dimension-first
//| says The last outer dimension moves first, as the last wheel of an odometer; only when it is full does the one before it move.
#if 0
template <std::size_t N>
bool StridedLoop<N>::advance(DimVector& index, Offsets& offsets) const {
  for (std::size_t d = 0; d < index.size(); ++d) {
    for (std::size_t k = 0; k < N; ++k) offsets[k] += strides_[k][d];
    if (++index[d] < sizes_[d]) return true;
    for (std::size_t k = 0; k < N; ++k) offsets[k] -= strides_[k][d] * sizes_[d];
    index[d] = 0;
  }
  return false;
}
#endif

// %%
//| mistake 01-strided-run never-goes-back
//| says A dimension that is full goes back to 0, and the offsets with it: take its stride times its size away again.
#if 0
template <std::size_t N>
bool StridedLoop<N>::advance(DimVector& index, Offsets& offsets) const {
  for (std::size_t d = index.size(); d-- > 0;) {
    for (std::size_t k = 0; k < N; ++k) offsets[k] += strides_[k][d];
    if (++index[d] < sizes_[d]) return true;
    index[d] = 0;
  }
  return false;
}
#endif

// %%
//| export core/loops.h
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
  // BEGIN HIDDEN TESTS
  std::vector<std::int64_t> walked, expected;
  StridedLoop<2>({3, 2, 4, 2}, {IntArrayRef({5, 60, 700, 1}), IntArrayRef({0, 9, 2, 100})}).run([&](const auto& offset, std::int64_t count, const auto& step) {
    for (std::int64_t i = 0; i < count; ++i) walked.insert(walked.end(), {offset[0] + i * step[0], offset[1] + i * step[1]});
  });
  for (std::int64_t a = 0; a < 3; ++a)
    for (std::int64_t b = 0; b < 2; ++b)
      for (std::int64_t c = 0; c < 4; ++c)
        for (std::int64_t d = 0; d < 2; ++d) expected.insert(expected.end(), {5 * a + 60 * b + 700 * c + d, 9 * b + 2 * c + 100 * d});
  CHECK(walked == expected);
  // END HIDDEN TESTS
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

// %%
//| export core/loops.h
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

// %%
//| export core/loops.h
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
// Refuses to write into some elements of a tensor that is read, but not into the very same ones. As in PyTorch, only of tensors without gaps:
// of others the ranges may overlap and the elements not.
void check_no_partial_overlap(const Tensor& written, const Tensor& read);

// %%
//| export core/loops.h
// f(self) for floating-point functions: integers are converted to the default dtype first.
template <class F>
Tensor map_floating(const char* name, const Tensor& self, F f) {
  const Tensor input = self.is_floating_point() ? self : to_dtype(self, get_default_dtype());
  const Tensor result = empty_beside(input, input.sizes(), input.scalar_type());
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
  if (x == y) return x;
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

// %% [markdown]
// Now an operator of two tensors takes a line. `zip_as` joins what every one of them needs: the shape of the result, the conversion to one type, and the walk.

// %%
//| export core/loops.h
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

// %%
//| export core/pointwise.cpp
namespace {
Tensor mul_cpu(const Tensor& self, const Tensor& other) {
  return zip_as(self, other, result_type(self, other), [](auto x, auto y) { return static_cast<decltype(x)>(x * y); });
}
}  // namespace
constinit Operator<Tensor(const Tensor&, const Tensor&)> op::mul("mul", {.cpu = mul_cpu});
Tensor mul(const Tensor& self, const Tensor& other) { return op::mul(self, other); }

// %% [markdown]
// `add`, `neg`, `exp` and copies are the same walk with another lambda (library chapter 90). Writing *in place* asks for more care. The common type must fit into self's, and so must the shape. A stretched tensor is refused: several of its indices are one element. And what is
// read may lie in the memory that is written:
//
//     x.slice(0, 1).copy_(x.slice(0, 0, 5))       x: 0 1 2 3 4 5
//                                                     \ \ \ \ \       element by element, x[0] would go to x[1], from there to x[2], ...
//                                                    0 0 0 0 0 0
//
// PyTorch refuses that, and so do we; `clone()` the source first. `ranges_overlap` finds it out from offsets, sizes and strides. If both are the very same elements, as in `x += x`, each is read before it is written, and all is well. Of a tensor with gaps, every second element say, the
// ranges may overlap and the elements not: there the source is copied out first.

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
  const char* const overlap = "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory location.";
  CHECK_ERROR(x.slice(0, 1).copy_(x.slice(0, 0, 5)), overlap);
  x.slice(0, 1).copy_(x.slice(0, 0, 5).clone());
  CHECK_EQ(x, tensor({0, 0, 1, 2, 3, 4}));
  x.slice(0, 0, 3) += 10;
  CHECK_EQ(x, tensor({10, 10, 11, 2, 3, 4}));
  const Tensor square = arange(4).view({2, 2});
  CHECK_ERROR(square.add_(square.t()), overlap);
  CHECK_EQ(square.add_(square.t().clone()), tensor({{0, 3}, {3, 6}}));
  CHECK_ERROR(x.add_(0.5), "result type Float can't be cast to the desired output type Long");
  CHECK_ERROR(zeros({3}).add_(ones({2, 3})), "output with shape [3] doesn't match the broadcast shape [2, 3]");
  CHECK_ERROR(-tensor({true}), "Negation, the `-` operator, on a bool tensor is not supported.");
}

// %% [markdown]
// ### Reductions
//
// A *reduction* makes one number of many, along some dimensions. A sum is the same walk once more: the accumulator gets stride 0 along the dimensions that disappear, so that many elements of `x` meet one of it. The same stride that repeats on reading collects on writing.
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
TEST_CASE("sum: over any dimensions, strides and dtypes, also of nothing") {
  const Tensor x = arange(6).view({2, 3});
  CHECK_EQ(x.sum(), tensor(15));
  CHECK_EQ(x.sum({0}), tensor({3, 5, 7}));
  CHECK_EQ(x.sum({-1}, true), tensor({{3}, {12}}));
  CHECK_EQ(x.t().sum({0}), tensor({3, 12}));
  CHECK_EQ(ones({2}, kBool).sum(), tensor(2));
  CHECK_EQ(zeros({3, 0}).sum({1}), zeros({3}));
  CHECK_ERROR(x.sum({0, 0}), "dim 0 appears multiple times in the list of dims");
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
// Both do the same arithmetic. The framework keeps v2; v1 stays here to be measured, and so does v3, the first step of what production does: v2 reads and writes a number of `out` for each multiplication, v3 keeps a small tile of the result in registers
// until k has run through. Module 16 goes on from there.

// %%
//| export core/matmul.h
// Throws unless both have one dtype, which must not be Bool.
void check_same_dtype(const Tensor& self, const Tensor& mat2);

// %% {"nbgrader": {"grade": false, "grade_id": "01-multiply-matrices", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/matmul.h
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
void check_same_dtype(const Tensor& self, const Tensor& mat2) {
  TORCH_CHECK(self.scalar_type() == mat2.scalar_type(), "expected m1 and m2 to have the same dtype, but got: ", cpp_name(self.scalar_type()),
              " != ", cpp_name(mat2.scalar_type()));
  TORCH_CHECK_NOT_IMPLEMENTED(self.scalar_type() != kBool, "\"addmm_impl_cpu_\" not implemented for 'Bool'");
}

namespace {
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

// %% {"nbgrader": {"grade": true, "grade_id": "01-multiply-matrices-test", "locked": true, "points": 4, "schema_version": 3, "solution": false, "task": false}}
TEST_CASE("mm: values, strides and errors") {
  const Tensor a = arange(6).view({2, 3});
  const Tensor b = arange(12).view({3, 4});
  CHECK_EQ(mm(a, b), tensor({{20, 23, 26, 29}, {56, 68, 80, 92}}));
  CHECK_EQ(mm(b.t(), a.t()), mm(a, b).t());
  CHECK_EQ(mm(ones({2, 0}), ones({0, 3})), zeros({2, 3}));
  CHECK_ERROR(mm(a, a), "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)");
  CHECK_ERROR(mm(a, b.to(kFloat)), "expected m1 and m2 to have the same dtype");
  // BEGIN HIDDEN TESTS
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
//| lesson
// v3: a tile of two rows and four columns of the result stays in registers while k runs. Both are dense matrices of floats.
// REQUIRES: an even number of rows, a multiple of four columns.
Tensor mm_v3(const Tensor& a, const Tensor& b) {
  const std::int64_t M = a.size(0);
  const std::int64_t K = a.size(1);
  const std::int64_t N = b.size(1);
  const Tensor result = empty({M, N});
  for (std::int64_t i = 0; i < M; i += 2)
    for (std::int64_t j = 0; j < N; j += 4) {
      const float* const x = a.data<float>() + i * K;
      const float* y = b.data<float>() + j;
      float p0 = 0, p1 = 0, p2 = 0, p3 = 0, q0 = 0, q1 = 0, q2 = 0, q3 = 0;
      for (std::int64_t k = 0; k < K; ++k, y += N) {
        p0 += x[k] * y[0], p1 += x[k] * y[1], p2 += x[k] * y[2], p3 += x[k] * y[3];
        q0 += x[k + K] * y[0], q1 += x[k + K] * y[1], q2 += x[k + K] * y[2], q3 += x[k + K] * y[3];
      }
      float* const out = result.data<float>() + i * N + j;
      out[0] = p0, out[1] = p1, out[2] = p2, out[3] = p3;
      out[N] = q0, out[N + 1] = q1, out[N + 2] = q2, out[N + 3] = q3;
    }
  return result;
}

// %%
TEST_CASE("v1, v2 and v3 of the matrix product agree") {
  const Tensor a = arange(24, kFloat).view({4, 6});
  const Tensor b = arange(48, kFloat).view({6, 8});
  CHECK_EQ(mm_v1(a, b), mm(a, b));
  CHECK_EQ(mm_v3(a, b), mm(a, b));
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
//| lesson
// A function, and an operator that has nothing else.
Tensor itself(const Tensor& self) { return self; }
constinit Operator<Tensor(const Tensor&)> dispatched_itself("itself", {.cpu = itself});

// %%
DEMO("time: what a call costs before the first addition") {
  const Tensor one = ones({1});
  const Tensor many = ones({1 << 16});
  const double through = measure([&] { do_not_optimize(dispatched_itself(one)); }, {.samples = 7}).median * 1e9;
  const double direct = measure([&] { do_not_optimize(itself(one)); }, {.samples = 7}).median * 1e9;
  const double small = measure([&] { do_not_optimize(one + one); }, {.samples = 7}).median * 1e9;
  const double large = measure([&] { do_not_optimize(many + many); }, {.samples = 7}).median * 1e9;
  std::printf("  a function that returns its argument   %10.1f ns\n", direct);
  std::printf("  the same through the dispatcher        %10.1f ns\n", through);
  std::printf("  add of 1 element                       %10.1f ns\n", small);
  std::printf("  add of %d elements                  %10.1f ns, %.3f ns each\n", 1 << 16, large, large / (1 << 16));
}

// %%
DEMO("time: two orders of three loops, and a tile in registers") {
  std::printf("     n     v1 (i,j,k) ms   v2 (i,k,j) ms      v3 (tile) ms   v1 / v2   v2 / v3\n");
  for (const std::int64_t n : {32, 64, 128, 256}) {
    const Tensor a = ones({n, n});
    const double v1 = measure([&] { do_not_optimize(mm_v1(a, a)); }, {.samples = 3}).median * 1e3;
    const double v2 = measure([&] { do_not_optimize(mm(a, a)); }, {.samples = 3}).median * 1e3;
    const double v3 = measure([&] { do_not_optimize(mm_v3(a, a)); }, {.samples = 3}).median * 1e3;
    std::printf("  %4lld %17.3f %15.3f %17.3f %9.1f %9.1f  %s\n", static_cast<long long>(n), v1, v2, v3, v1 / v2, v2 / v3,
                std::string(static_cast<std::size_t>(std::min(40.0, v1 / v3 * 3)), '#').c_str());
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
// over threads; an elementwise result keeps the memory order of its operands there, as here. Its in-place operators refuse operands that overlap in part, as ours do.
//
// **TensorFlow** (`tensorflow/core/framework/tensor.h`) keeps tensors dense: a `Tensor` is a shape and a reference-counted buffer without strides, so a transpose is a kernel that copies. That makes every kernel simpler and leaves it to graph compilation to remove the copies. Kernels are chosen by device and dtype
// (`tensorflow/core/framework/op_kernel.h`).
//
// **JAX** arrays are immutable: there are no views to write through, `x.at[0].set(y)` gives a new array, and XLA reuses the buffer where nobody looks (`jax/_src/array.py`). Layout is the compiler's business, not the program's. NumPy has strides as here, in bytes and possibly negative.

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
