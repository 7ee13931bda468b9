// From the lesson modules/84_devices/devices_dev.cpp:
// edit the module, not this file.

#include <atomic>

#include "tinytorch/core/block_cache.h"
#include "tinytorch/core/error.h"
#include "tinytorch/core/record_function.h"
#include "tinytorch/core/storage.h"

namespace tinytorch {

namespace {
std::atomic<std::size_t> live_bytes{0};
std::atomic<std::size_t> peak_bytes{0};
std::atomic<std::size_t> allocation_calls{0};
}  // namespace

MemoryStats memory::stats() { return {live_bytes.load(), peak_bytes.load(), allocation_calls.load()}; }

void memory::reset_peak() { peak_bytes.store(live_bytes.load()); }

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

}  // namespace tinytorch
