// From the lesson modules/92_parts/parts_dev.cpp:
// edit the module, not this file.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#if defined(__has_include)
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define TINYTORCH_KNOWS_SINGLE_THREADED 1
#endif
#endif

namespace tinytorch {

namespace memory {
// Whether no second thread has been started so far. "No" where the system cannot tell.
inline bool single_threaded() {
#ifdef TINYTORCH_KNOWS_SINGLE_THREADED
  return __libc_single_threaded != 0;
#else
  return false;
#endif
}

// count += delta, and what it was before; several threads may do it at once. O(1). Always inlined: a call takes longer than the addition, and g++ counts
// the branch of many threads, which is seldom taken, as if it were as long as it looks.
template <class T>
[[gnu::always_inline]] inline T add_shared(std::atomic<T>& count, T delta, std::memory_order order) {
  if (!single_threaded()) return count.fetch_add(delta, order);
  const T before = count.load(std::memory_order_relaxed);
  count.store(static_cast<T>(before + delta), std::memory_order_relaxed);
  return before;
}

// Holds a mutex as std::lock_guard does; a process with one thread needs none, and an uncontended mutex costs fifty instructions.
class Lock {
 public:
  explicit Lock(std::mutex& mutex) : mutex_(single_threaded() ? nullptr : &mutex) {
    if (mutex_ != nullptr) mutex_->lock();
  }
  ~Lock() {
    if (mutex_ != nullptr) mutex_->unlock();
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  std::mutex* mutex_;
};

// Under these sanitizers each object is an allocation of its own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kKeepsBlocks = false;
#else
inline constexpr bool kKeepsBlocks = true;
#endif
inline constexpr std::size_t kSmallStep = 64;    // sizes are rounded up to a multiple of it, and blocks begin at one
inline constexpr std::size_t kSmallLimit = 512;  // the largest size that is kept
inline constexpr std::size_t kKeptBytes = std::size_t{1} << 20;  // of one size in one thread

// The blocks that this thread has freed, by size. It needs no destructor of its own, so that it can be used to the very end of the thread.
struct SmallLists {
  struct Block {
    Block* next;
  };
  Block* first[kSmallLimit / kSmallStep];
  std::size_t kept[kSmallLimit / kSmallStep];  // how many there are
  bool open;                                   // false before the first use, and again when the thread ends
  bool ended;
};
inline thread_local constinit SmallLists small_lists{};

void* allocate_small_anew(std::size_t nbytes);
void free_small_anew(void* block, std::size_t nbytes) noexcept;

// Memory for `nbytes`, which begins at a multiple of 64. REQUIRES: 0 < nbytes <= kSmallLimit. Throws std::bad_alloc. O(1).
inline void* allocate_small(std::size_t nbytes) {
  const std::size_t list = (nbytes - 1) / kSmallStep;
  SmallLists& lists = small_lists;
  SmallLists::Block* const block = lists.first[list];
  if (block == nullptr) return allocate_small_anew(nbytes);
  lists.first[list] = block->next;
  --lists.kept[list];
  return block;
}

// Gives back what allocate_small(nbytes) returned, in whatever thread. O(1).
inline void free_small(void* block, std::size_t nbytes) noexcept {
  const std::size_t list = (nbytes - 1) / kSmallStep;
  SmallLists& lists = small_lists;
  if (!lists.open || lists.kept[list] >= kKeptBytes / ((list + 1) * kSmallStep)) {
    free_small_anew(block, nbytes);
    return;
  }
  auto* const freed = static_cast<SmallLists::Block*>(block);
  freed->next = lists.first[list];
  lists.first[list] = freed;
  ++lists.kept[list];
}

// A base class whose objects come from there.
struct Pooled {
  static void* operator new(std::size_t nbytes) { return nbytes <= kSmallLimit ? allocate_small(nbytes) : ::operator new(nbytes); }
  static void operator delete(void* object, std::size_t nbytes) noexcept {
    if (nbytes <= kSmallLimit) free_small(object, nbytes);
    else ::operator delete(object);  // clang before 19 knows no form with a size
  }
};

// The same for the standard library's containers and shared pointers.
template <class T>
struct PooledAllocator {
  using value_type = T;
  PooledAllocator() = default;
  template <class U>
  PooledAllocator(const PooledAllocator<U>&) {}
  T* allocate(std::size_t count) { return static_cast<T*>(Pooled::operator new(count * sizeof(T))); }
  void deallocate(T* first, std::size_t count) noexcept { Pooled::operator delete(first, count * sizeof(T)); }
  friend bool operator==(const PooledAllocator&, const PooledAllocator&) { return true; }
};
}  // namespace memory

}  // namespace tinytorch
