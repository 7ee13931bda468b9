// From the lesson modules/01_tensor/tensor_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/storage.h"

#include "tinytorch/core/block_cache.h"
#include "tinytorch/core/error.h"
#include "tinytorch/core/record_function.h"

namespace tinytorch {

namespace {
std::atomic<std::size_t> live_bytes{0};
std::atomic<std::size_t> peak_bytes{0};
std::atomic<std::size_t> allocation_calls{0};
}  // namespace

MemoryStats memory::stats() { return {live_bytes.load(), peak_bytes.load(), allocation_calls.load()}; }

void memory::reset_peak() { peak_bytes.store(live_bytes.load()); }

namespace {
void* allocate_bytes(std::size_t nbytes) {
  if (nbytes == 0) return nullptr;
  // What was freed a moment ago serves again: small blocks of this thread (chapter 92), larger ones of the process (chapter 70). General memory at a multiple of 64 is slow to get.
  void* data = nbytes <= memory::kSmallLimit ? memory::allocate_small(nbytes) : memory::allocate_block(nbytes);
  TORCH_CHECK(data != nullptr, "DefaultCPUAllocator: can't allocate memory: you tried to allocate ", nbytes,
              " bytes. Use smaller tensors or batches, or free some first.");
  const std::size_t live = memory::add_shared(live_bytes, nbytes, std::memory_order_relaxed) + nbytes;
  std::size_t peak = peak_bytes.load(std::memory_order_relaxed);
  while (live > peak && !peak_bytes.compare_exchange_weak(peak, live)) {
  }
  memory::add_shared(allocation_calls, std::size_t{1}, std::memory_order_relaxed);
  if (RecordObserver* const observer = record_observer.load()) observer->memory(static_cast<std::ptrdiff_t>(nbytes), live);
  return data;
}

void free_bytes(void* data, std::size_t nbytes) {
  if (data == nullptr) return;
  if (nbytes <= memory::kSmallLimit) memory::free_small(data, nbytes);
  else memory::free_block(data, nbytes);
  const std::size_t live = memory::add_shared(live_bytes, std::size_t{0} - nbytes, std::memory_order_relaxed) - nbytes;
  if (RecordObserver* const observer = record_observer.load()) observer->memory(-static_cast<std::ptrdiff_t>(nbytes), live);
}
}  // namespace

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

}  // namespace tinytorch
