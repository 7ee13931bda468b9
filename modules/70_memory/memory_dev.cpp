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
// # Library chapter 70: Memory that is kept
//
// Module 00 measured it: the first touch of a page costs more than what is computed with it. A training step makes the same tensors as the step before, and general memory hands large blocks back to the system in between, so every step pays for fresh pages again. This chapter keeps freed
// blocks for the next tensor of that size.
//
//     tensor dies --> free_block --> list of its size class --> allocate_block --> next tensor        pages are there already
//                          |                                         |
//                     over the limit                            list is empty
//                          v                                         v
//                       system                                    system                                fresh pages, zeroed one by one
//
// Objects of up to 512 bytes do not come here; chapter 92 has lists of each thread for them.

// %%
//| after 00
//| export core/block_cache.h
#include <cstddef>
//| export core/block_cache.cpp
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

// %%
//| export core/block_cache.cpp
#ifdef __linux__
#include <sys/mman.h>
#endif

// %%
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <thread>
#include <vector>
#include "tinytorch/core/block_cache.h"
#include "tinytorch/core/utils.h"
#include "tito/lesson.h"

// %%
namespace tinytorch {

// %% [markdown]
// ## Size classes
//
// A list for each size in bytes would hardly ever have the block that is wanted. So sizes are rounded up, eight steps to a doubling: at most an eighth of a block is unused, and pages that nobody touches cost nothing anyway. A class is found by the position of the highest bit and the three bits behind it:
//
//     bytes          513 .. 576   577 .. 640   ...   961 .. 1024   1025 .. 1152   ...
//     block             576          640        ...      1024          1152        ...      2^e * (8 + s) / 8
//
// Blocks of 2 MB and more come straight from the system and begin at a multiple of 2 MB, so that the system can use *huge pages*: one entry of the processor's page table, and one fault, for 2 MB instead of 4 KB. Below that a huge page would be mostly empty; those blocks come from `operator new`.
// Every block begins at a multiple of 64: a cache line, and the widest vector register.

// %%
//| export core/block_cache.h
namespace memory {

// What the cache of blocks holds and has done so far, in bytes and calls.
struct CacheStats {
  std::size_t in_use = 0;         // bytes of blocks that were handed out and not yet given back, rounded up as they are
  std::size_t cached = 0;         // bytes of free blocks that are kept
  std::size_t peak_reserved = 0;  // the most that in_use + cached ever was
  std::size_t hits = 0;           // blocks that came from a list
  std::size_t misses = 0;         // blocks that came from the system
  std::size_t emptied = 0;        // times that the lists were emptied: on request, at the limit, or because the system had no more
};
CacheStats cache_stats();

// How many bytes a block for `nbytes` has.
std::size_t block_size(std::size_t nbytes);

// Memory for `nbytes` > 0 that begins at a multiple of 64, uninitialised; from 2 MB on at a multiple of 2 MB. nullptr if the system has none, even after everything that was kept went back to it. O(1) from a list; any thread.
void* allocate_block(std::size_t nbytes);

// Gives back what allocate_block(nbytes) returned; any thread. A block that does not fit under the limit empties the cache, one that is larger than the limit goes to the system. O(1) but for that.
void free_block(void* block, std::size_t nbytes) noexcept;

// Gives all free blocks back to the system; returns how many bytes these were. Source: torch.cuda.empty_cache.
std::size_t empty_cache();

// The most bytes of free blocks that are kept: at first what the variable TINYTORCH_MEMORY_CACHE says ("512M", "2G", "0"), or a quarter of the machine's memory. Always 0 under the address and thread sanitizers, which must see each block's end.
std::size_t cache_limit();

// Sets it, and gives back what is above it.
void set_cache_limit(std::size_t bytes);

}  // namespace memory

// %%
//| export core/block_cache.cpp
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

// %%
//| export core/block_cache.cpp
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

// %%
TEST_CASE("blocks: sizes are rounded up by an eighth at most, and begin where vectors and huge pages want them") {
  for (std::size_t nbytes = 1; nbytes < (std::size_t{1} << 40); nbytes += 1 + nbytes / 7) {
    for (const std::size_t size : {nbytes, memory::block_size(nbytes), memory::block_size(nbytes) + 1}) {
      const std::size_t block = memory::block_size(size);
      CHECK(block >= size);
      CHECK_EQ(memory::block_size(block), block);
      if (size > 512) CHECK(block - size <= size / 8);
    }
  }
  for (const std::size_t nbytes : {std::size_t{1}, std::size_t{600}, std::size_t{100000}, (std::size_t{2} << 20) + 5}) {
    void* const block = memory::allocate_block(nbytes);
    CHECK_EQ(reinterpret_cast<std::uintptr_t>(block) % 64, 0);
    if (nbytes >= (std::size_t{2} << 20)) CHECK_EQ(reinterpret_cast<std::uintptr_t>(block) % (std::size_t{2} << 20), 0);
    std::memset(block, 1, nbytes);
    memory::free_block(block, nbytes);
  }
}

// %% [markdown]
// ## The lists
//
// A free block holds the address of the next one in its own first bytes. The block freed last is taken first: if anything of it is still in a cache, it is that one. A lock for each class is held for these two or three instructions, so threads that make tensors of different sizes do not meet, and a block may be freed by another thread than
// the one that took it.
//
// *How much is kept?* Anything may be kept for nothing: a program that loads a file through ever larger buffers frees blocks that nobody asks for again. So there is a limit, and a block that would go beyond it first empties all lists. What the program still needs comes back within a step, what it does not need does not.
// When the system has no more memory, the lists are emptied too, and the system is asked again, before anybody is told.

// %%
//| export core/block_cache.cpp
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

// %%
//| lesson
// Sets a limit for a scope, beginning and ending with an empty cache.
class CacheLimitGuard {
 public:
  explicit CacheLimitGuard(std::size_t bytes) : before_(memory::cache_limit()) {
    memory::empty_cache();
    memory::set_cache_limit(bytes);
  }
  ~CacheLimitGuard() {
    memory::set_cache_limit(before_);
    memory::empty_cache();
  }
  CacheLimitGuard(const CacheLimitGuard&) = delete;
  CacheLimitGuard& operator=(const CacheLimitGuard&) = delete;

 private:
  std::size_t before_;
};

constexpr std::size_t kMegabyte = std::size_t{1} << 20;

// Whether blocks are kept at all: not under a sanitizer.
bool blocks_are_kept() {
  memory::set_cache_limit(std::max(memory::cache_limit(), kMegabyte));
  return memory::cache_limit() > 0;
}

// %%
TEST_CASE("blocks: what was freed last is taken first, by any size of the class") {
  if (!blocks_are_kept()) return;
  const CacheLimitGuard guard(64 * kMegabyte);
  const memory::CacheStats before = memory::cache_stats();
  void* const first = memory::allocate_block(3 * kMegabyte);
  void* const second = memory::allocate_block(3 * kMegabyte);
  CHECK_EQ(memory::cache_stats().misses, before.misses + 2);
  CHECK_EQ(memory::cache_stats().in_use, before.in_use + 6 * kMegabyte);
  memory::free_block(first, 3 * kMegabyte);
  memory::free_block(second, 3 * kMegabyte);
  CHECK_EQ(memory::cache_stats().cached, before.cached + 6 * kMegabyte);
  CHECK_EQ(memory::cache_stats().in_use, before.in_use);
  void* const third = memory::allocate_block(3 * kMegabyte - 1000);
  CHECK_EQ(third, second);
  CHECK_EQ(memory::cache_stats().hits, before.hits + 1);
  CHECK_EQ(memory::allocate_block(3 * kMegabyte), first);
  memory::free_block(first, 3 * kMegabyte);
  memory::free_block(third, 3 * kMegabyte - 1000);
  CHECK_EQ(memory::empty_cache(), before.cached + 6 * kMegabyte);
  CHECK_EQ(memory::cache_stats().cached, 0);
  CHECK(memory::cache_stats().peak_reserved >= before.in_use + 6 * kMegabyte);
}

TEST_CASE("blocks: never more kept than the limit, and nothing with a limit of 0") {
  if (!blocks_are_kept()) return;
  const CacheLimitGuard guard(10 * kMegabyte);
  std::vector<void*> blocks;
  for (int i = 0; i < 6; ++i) blocks.push_back(memory::allocate_block(4 * kMegabyte));
  void* const large = memory::allocate_block(12 * kMegabyte);
  const std::size_t emptied = memory::cache_stats().emptied;
  for (void* block : blocks) {
    memory::free_block(block, 4 * kMegabyte);
    CHECK(memory::cache_stats().cached <= 10 * kMegabyte);
    CHECK(memory::cache_stats().cached >= 4 * kMegabyte);
  }
  CHECK_EQ(memory::cache_stats().emptied, emptied + 2);  // 4, 8, 12 -> 4, 8, 12 -> 4, 8
  memory::free_block(large, 12 * kMegabyte);             // larger than the limit: goes at once, the others stay
  CHECK_EQ(memory::cache_stats().cached, 8 * kMegabyte);
  memory::set_cache_limit(0);
  CHECK_EQ(memory::cache_stats().cached, 0);
  memory::free_block(memory::allocate_block(4000), 4000);
  CHECK_EQ(memory::cache_stats().cached, 0);
}

TEST_CASE("blocks: threads take and free each other's, and nobody has a block twice") {
  const CacheLimitGuard guard(8 * kMegabyte);
  const memory::CacheStats before = memory::cache_stats();
  constexpr int kThreads = 4;
  struct Held {
    unsigned char* block;
    std::size_t nbytes;
    unsigned char mark;
  };
  std::array<std::mutex, kThreads> locks;
  std::array<std::vector<Held>, kThreads> desks;  // what a thread left there, another one takes and frees
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<unsigned>(t));
      for (int step = 0; step < 2000; ++step) {
        const std::size_t nbytes = std::size_t{600} << (random() % 12);
        const auto mark = static_cast<unsigned char>(random());
        auto* const block = static_cast<unsigned char*>(memory::allocate_block(nbytes));
        std::memset(block, mark, std::min<std::size_t>(nbytes, 700));
        block[nbytes - 1] = mark;
        const std::size_t desk = random() % kThreads;
        const std::lock_guard lock(locks[desk]);
        desks[desk].push_back({block, nbytes, mark});
        if (desks[desk].size() < 4) continue;
        const Held other = desks[desk].front();
        desks[desk].erase(desks[desk].begin());
        for (std::size_t i = 0; i < 600; i += 37) wrong += other.block[i] == other.mark ? 0 : 1;
        wrong += other.block[other.nbytes - 1] == other.mark ? 0 : 1;
        memory::free_block(other.block, other.nbytes);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<Held>& desk : desks)
    for (const Held& held : desk) memory::free_block(held.block, held.nbytes);
  CHECK_EQ(wrong.load(), 0);
  CHECK_EQ(memory::cache_stats().in_use, before.in_use);
  CHECK(memory::cache_stats().cached <= 8 * kMegabyte);
  memory::empty_cache();
  CHECK_EQ(memory::cache_stats().cached, 0);
}

TEST_CASE("blocks: a system without memory is asked again after the cache was emptied") {
  const bool kept = blocks_are_kept();
  const CacheLimitGuard guard(16 * kMegabyte);
  memory::free_block(memory::allocate_block(3 * kMegabyte), 3 * kMegabyte);
  const std::size_t emptied = memory::cache_stats().emptied;
  if (kept) {
    // More than the addresses of this machine: the system says no.
    CHECK_EQ(memory::allocate_block(std::size_t{1} << 55), nullptr);
    CHECK_EQ(memory::cache_stats().emptied, emptied + 1);
    CHECK_EQ(memory::cache_stats().cached, 0);
  }
  CHECK_EQ(memory::allocate_block(~std::size_t{0}), nullptr);  // rounding up does not wrap around
  CHECK_EQ(memory::allocate_block(~std::size_t{0} - 100), nullptr);
}

// %% [markdown]
// ## What it is worth
//
// The demonstration takes a block, writes into each page and gives it back, with nothing kept and with the cache. What is missing between the two is the kernel's work: finding pages, zeroing them, entering them into the table.
//
//     nothing kept    take | fault fault fault fault ... | write | give back: take the pages out again
//     kept            take | write | give back

// %%
DEMO("blocks: time to take, write and free, with nothing kept and from the cache") {
  std::printf("%10s %14s %14s\n", "size", "nothing kept", "from the cache");
  for (const std::size_t nbytes : {std::size_t{4} << 10, std::size_t{256} << 10, 4 * kMegabyte, 64 * kMegabyte}) {
    const auto use = [&] {
      auto* const block = static_cast<unsigned char*>(memory::allocate_block(nbytes));
      std::memset(block, 1, nbytes);
      do_not_optimize(block);
      memory::free_block(block, nbytes);
    };
    double fresh = 0;
    {
      const CacheLimitGuard guard(0);
      fresh = measure(use, {.samples = 3}).median;
    }
    const CacheLimitGuard guard(256 * kMegabyte);
    std::printf("%10s %14s %14s\n", format_bytes(static_cast<int64_t>(nbytes)).c_str(), format_seconds(fresh).c_str(), format_seconds(measure(use, {.samples = 3}).median).c_str());
  }
  const memory::CacheStats stats = memory::cache_stats();
  std::printf("so far %zu blocks from the lists, %zu from the system; at most %s at a time\n", stats.hits, stats.misses, format_bytes(static_cast<int64_t>(stats.peak_reserved)).c_str());
}

// %% [markdown]
// ## Where to read on
//
// On GPUs asking for memory stops everything that runs, so PyTorch's `c10/cuda/CUDACachingAllocator.cpp` keeps all it ever got, splits blocks and joins neighbours again; `torch.cuda.empty_cache` is the request to let go. On CPUs PyTorch asks the C library (`c10/core/impl/alloc_cpu.cpp`) and pays for the pages.
// TensorFlow's `tsl/framework/bfc_allocator.cc` is best-fit with coalescing, JAX keeps three quarters of a GPU from the start. Classes without splitting, as here, are what jemalloc does: less memory is shared between sizes, and every operation takes constant time.

// %%
}  // namespace tinytorch
