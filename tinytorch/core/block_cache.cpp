// From the lesson modules/70_memory/memory_dev.cpp:
// edit the module, not this file.

#include "tinytorch/core/block_cache.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <mutex>
#include <new>
#include "tinytorch/core/error.h"
#include "tinytorch/core/utils.h"
#ifdef __linux__
#include <sys/mman.h>
#endif

namespace tinytorch {

namespace {
constexpr std::align_val_t kLine{64};
constexpr std::size_t kHuge = std::size_t{2} << 20;  // a huge page
constexpr int kStepBits = 3;                         // eight classes to a doubling
constexpr std::size_t kSmallestBits = 9;             // up to 512 bytes all sizes are one class

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool keeps_blocks = false;
#else
constexpr bool keeps_blocks = true;
#endif

struct SizeClass {
  std::size_t index, bytes;
};

// The class of a size: the least 2^e * (8 + s) / 8 that is not below it.
SizeClass class_of(std::size_t nbytes) {
  constexpr std::size_t smallest = std::size_t{1} << kSmallestBits;
  if (nbytes <= smallest) return {0, smallest};
  const std::size_t bits = static_cast<std::size_t>(std::bit_width(nbytes - 1)) - 1;  // 2^bits <= nbytes - 1
  const std::size_t shift = bits - kStepBits;
  const std::size_t steps = ((nbytes - 1) >> shift) + 1;  // 9 to 16 of size 2^shift
  return {(bits - kSmallestBits) * (std::size_t{1} << kStepBits) + steps - (std::size_t{1} << kStepBits), steps << shift};
}

// More than this no machine has, and rounding up must not overflow.
constexpr std::size_t kMostBytes = std::size_t{1} << 56;
constexpr std::size_t kClasses = (56 - kSmallestBits) * 8 + 1;
}  // namespace

std::size_t memory::block_size(std::size_t nbytes) { return keeps_blocks && nbytes < kMostBytes ? class_of(nbytes).bytes : nbytes; }

namespace {
// A block from the system, or nullptr.
void* system_block(std::size_t bytes) noexcept {
#ifdef __linux__
  if (keeps_blocks && bytes >= kHuge) {
    // Ask for a huge page more than is needed, and give back what lies before and behind the aligned piece.
    void* const wide = ::mmap(nullptr, bytes + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (wide == MAP_FAILED) return nullptr;
    char* const first = static_cast<char*>(wide);
    const std::size_t before = (kHuge - reinterpret_cast<std::uintptr_t>(first) % kHuge) % kHuge;
    if (before != 0) ::munmap(first, before);
    ::munmap(first + before + bytes, kHuge - before);
    ::madvise(first + before, bytes, MADV_HUGEPAGE);  // advice: where there are no huge pages, small ones do
    return first + before;
  }
#endif
  return ::operator new(bytes, bytes >= kHuge ? std::align_val_t{kHuge} : kLine, std::nothrow);
}

void free_to_system(void* block, std::size_t bytes) noexcept {
#ifdef __linux__
  if (keeps_blocks && bytes >= kHuge) {
    ::munmap(block, bytes);
    return;
  }
#endif
  ::operator delete(block, bytes >= kHuge ? std::align_val_t{kHuge} : kLine);
}
}  // namespace

namespace {
struct FreeBlock {
  FreeBlock* next;
};

struct FreeList {
  std::mutex lock;
  FreeBlock* first = nullptr;
};

// No destructors: tensors of static storage duration die after any other static object may have.
constinit FreeList lists[kClasses]{};
constinit std::atomic<std::size_t> in_use_bytes{0}, cached_bytes{0}, peak_bytes{0}, hit_count{0}, miss_count{0}, emptied_count{0};

constexpr std::size_t kUndecided = ~std::size_t{0};
constinit std::atomic<std::size_t> limit_bytes{kUndecided};

std::size_t decide_limit() noexcept {
  std::size_t limit = 0;
  if (keeps_blocks) {
    try {
      limit = static_cast<std::size_t>(parse_bytes(value_of_key(read_if_there("/proc/meminfo"), "MemTotal"))) / 4;
    } catch (const std::exception&) {
      limit = std::size_t{1} << 30;  // a system that does not say how much it has
    }
    if (const char* const asked = std::getenv("TINYTORCH_MEMORY_CACHE"); asked != nullptr) {
      try {
        limit = static_cast<std::size_t>(parse_bytes(asked));
      } catch (const std::exception&) {
        std::cerr << "Warning: TINYTORCH_MEMORY_CACHE is '" << asked << "'; it may be a number of bytes as in 512M, 2G or 0, and is ignored.\n";
      }
    }
  }
  std::size_t undecided = kUndecided;
  limit_bytes.compare_exchange_strong(undecided, limit);
  return limit_bytes.load();
}

void note_peak() {
  const std::size_t reserved = in_use_bytes.load(std::memory_order_relaxed) + cached_bytes.load(std::memory_order_relaxed);
  std::size_t peak = peak_bytes.load(std::memory_order_relaxed);
  while (reserved > peak && !peak_bytes.compare_exchange_weak(peak, reserved, std::memory_order_relaxed)) {
  }
}

// Takes the first block of a list; nullptr if there is none.
FreeBlock* take(FreeList& list) {
  const std::lock_guard lock(list.lock);
  FreeBlock* const block = list.first;
  if (block != nullptr) list.first = block->next;
  return block;
}

// The bytes of a class: class_of, backwards.
std::size_t class_bytes(std::size_t index) {
  if (index == 0) return std::size_t{1} << kSmallestBits;
  const std::size_t bits = kSmallestBits + (index - 1) / 8, steps = (index - 1) % 8 + 9;
  return steps << (bits - kStepBits);
}
}  // namespace

std::size_t memory::empty_cache() {
  std::size_t freed = 0;
  for (std::size_t index = 0; index < kClasses; ++index) {
    FreeBlock* block = nullptr;
    {
      const std::lock_guard lock(lists[index].lock);
      std::swap(block, lists[index].first);
    }
    for (FreeBlock* next = nullptr; block != nullptr; block = next, freed += class_bytes(index)) {
      next = block->next;
      free_to_system(block, class_bytes(index));
    }
  }
  cached_bytes.fetch_sub(freed, std::memory_order_relaxed);
  emptied_count.fetch_add(1, std::memory_order_relaxed);
  return freed;
}

void* memory::allocate_block(std::size_t nbytes) {
  if (nbytes >= kMostBytes) return nullptr;
  if constexpr (!keeps_blocks) {
    void* const block = system_block(nbytes);
    if (block == nullptr) return nullptr;
    in_use_bytes.fetch_add(nbytes, std::memory_order_relaxed);
    miss_count.fetch_add(1, std::memory_order_relaxed);
    note_peak();
    return block;
  }
  const SizeClass size = class_of(nbytes);
  if (void* const block = take(lists[size.index]); block != nullptr) {
    cached_bytes.fetch_sub(size.bytes, std::memory_order_relaxed);
    in_use_bytes.fetch_add(size.bytes, std::memory_order_relaxed);
    hit_count.fetch_add(1, std::memory_order_relaxed);
    return block;
  }
  void* block = system_block(size.bytes);
  if (block == nullptr && empty_cache() > 0) block = system_block(size.bytes);
  if (block == nullptr) return nullptr;
  in_use_bytes.fetch_add(size.bytes, std::memory_order_relaxed);
  miss_count.fetch_add(1, std::memory_order_relaxed);
  note_peak();
  return block;
}

void memory::free_block(void* block, std::size_t nbytes) noexcept {
  const SizeClass size = keeps_blocks ? class_of(nbytes) : SizeClass{0, nbytes};
  in_use_bytes.fetch_sub(size.bytes, std::memory_order_relaxed);
  const std::size_t limit = cache_limit();
  if (size.bytes > limit) return free_to_system(block, size.bytes);
  // Count first, so that threads that free at the same time do not all fit.
  if (cached_bytes.fetch_add(size.bytes, std::memory_order_relaxed) + size.bytes > limit) {
    empty_cache();
    if (cached_bytes.load(std::memory_order_relaxed) > limit) {
      cached_bytes.fetch_sub(size.bytes, std::memory_order_relaxed);
      return free_to_system(block, size.bytes);
    }
  }
  auto* const freed = static_cast<FreeBlock*>(block);
  FreeList& list = lists[size.index];
  const std::lock_guard lock(list.lock);
  freed->next = list.first;
  list.first = freed;
}

std::size_t memory::cache_limit() {
  const std::size_t limit = limit_bytes.load(std::memory_order_relaxed);
  return limit != kUndecided ? limit : decide_limit();
}

void memory::set_cache_limit(std::size_t bytes) {
  limit_bytes.store(keeps_blocks ? std::min(bytes, kMostBytes) : 0, std::memory_order_relaxed);
  if (cached_bytes.load(std::memory_order_relaxed) > cache_limit()) empty_cache();
}

memory::CacheStats memory::cache_stats() {
  return {in_use_bytes.load(), cached_bytes.load(), peak_bytes.load(), hit_count.load(), miss_count.load(), emptied_count.load()};
}

}  // namespace tinytorch
