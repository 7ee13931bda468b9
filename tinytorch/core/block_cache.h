// From the lesson modules/70_memory/memory_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstddef>

namespace tinytorch {

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

}  // namespace tinytorch
