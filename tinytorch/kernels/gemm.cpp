// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.

#include "tinytorch/kernels/gemm.h"

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <numeric>
#include <hwy/cache_control.h>

#include "tinytorch/core/system_info.h"
#include "tinytorch/kernels/parallel.h"

namespace tinytorch {

kernels::CacheSizes kernels::cache_sizes() {
  static const CacheSizes sizes = [] {
    CacheSizes found{32 << 10, 512 << 10};
    for (const CacheInfo& cache : system_info().caches) {
      if (cache.level == 1 && cache.bytes > 0) found.first = cache.bytes;
      if (cache.level == 2 && cache.bytes > 0) found.second = cache.bytes;
    }
    return found;
  }();
  return sizes;
}

// See the declaration.
kernels::BlockSizes kernels::block_sizes(CacheSizes caches, std::int64_t element, std::int64_t rows, std::int64_t columns) {
  const std::int64_t K = std::max<std::int64_t>(32, caches.first / ((rows + columns) * element) / 32 * 32);
  const std::int64_t N = std::max<std::int64_t>(columns, caches.second / 2 / (K * element) / columns * columns);
  return {K, N};
}

// Each element is in exactly one region, and no region is empty. Regions begin at columns that are multiples of tile_columns, and lie beside each other only where the rows do not give 24. Where the result has 16 tiles
// or more there are at least 12 regions, better some more, and none has more than three times the elements of an average one; where it has fewer, a region may be a tile.
// The regions depend on the arguments only, not on the number of threads.
std::vector<kernels::Region> kernels::divide_result(std::int64_t M, std::int64_t N, std::int64_t tile_rows, std::int64_t tile_columns) {
  const std::int64_t strips = (N + tile_columns - 1) / tile_columns;
  const std::int64_t levels = (M + tile_rows - 1) / tile_rows;
  const std::int64_t row_parts = std::min<std::int64_t>(levels, 32);
  const std::int64_t column_parts = std::min(strips, (32 + row_parts / 2) / row_parts);  // rounded
  std::vector<Region> regions;
  for (std::int64_t r = 0; r < row_parts; ++r) {
    const std::int64_t top = levels * r / row_parts * tile_rows;
    const std::int64_t bottom = std::min(M, levels * (r + 1) / row_parts * tile_rows);
    for (std::int64_t c = 0; c < column_parts; ++c) {
      const std::int64_t left = strips * c / column_parts * tile_columns;
      const std::int64_t right = std::min(N, strips * (c + 1) / column_parts * tile_columns);
      regions.push_back({top, bottom - top, left, right - left});
    }
  }
  return regions;
}

template <>
const kernels::GemmTable<float>& kernels::gemm_table<float>() {
  static constexpr const GemmKernels* tables[] = TINYTORCH_PER_CAPABILITY(gemm_kernels);
  return for_capability(tables).in_float;
}
template <>
const kernels::GemmTable<double>& kernels::gemm_table<double>() {
  static constexpr const GemmKernels* tables[] = TINYTORCH_PER_CAPABILITY(gemm_kernels);
  return for_capability(tables).in_double;
}

namespace {
// Memory that a thread keeps for its panels, aligned to cache lines; it only grows.
class Workspace {
 public:
  template <class T>
  T* room_for(std::int64_t count) {
    const std::size_t bytes = (static_cast<std::size_t>(count) * sizeof(T) + 4095) / 4096 * 4096;
    if (bytes > bytes_) {
      memory_.reset();
      memory_.reset(static_cast<std::byte*>(::operator new(bytes, std::align_val_t{64})));
      bytes_ = bytes;
    }
    return reinterpret_cast<T*>(memory_.get());
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete(memory, std::align_val_t{64}); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  std::size_t bytes_ = 0;
};
thread_local Workspace packed_a;
thread_local Workspace packed_b;

std::int64_t parts_of(std::int64_t size, std::int64_t most) { return (size + most - 1) / most; }

struct Part {
  std::int64_t first, count;
};

// `size` cut into parts as evenly as whole numbers allow: the first ones have one more. It divides once for all of them, since a division takes as long as a tenth of a small tile.
class Parts {
 public:
  Parts(std::int64_t size, std::int64_t parts) : least_(size / parts), longer_(size % parts) {}
  Part operator[](std::int64_t part) const { return {part * least_ + std::min(part, longer_), least_ + (part < longer_ ? 1 : 0)}; }

 private:
  std::int64_t least_, longer_;
};

// A product that is being computed: what all its parts share.
template <class T>
struct Product {
  std::int64_t M, N, K;
  T alpha;
  kernels::MatrixView<T> a, b;
  T beta;
  kernels::MatrixView<T> start;
  T* out;
  std::int64_t out_row;
  kernels::Activation activation = kernels::Activation::None;

  // The tile at (i, j) for the K of a block that begins at `k`: the first block starts from `start`, the later ones from the result so far. Only the last one completes the sums, so only there the activation may follow.
  kernels::Tile<T> tile_at(std::int64_t i, std::int64_t j, std::int64_t k, std::int64_t count) const {
    T* const place = out + i * out_row + j;
    const kernels::Activation last = k + count == K ? activation : kernels::Activation::None;
    if (k > 0) return {nullptr, 0, 0, nullptr, 0, count, place, out_row, place, out_row, alpha, T{1}, last};
    return {nullptr, 0, 0, nullptr, 0, count, place, out_row, start.data == nullptr ? nullptr : start.data + i * start.row + j * start.column, start.row, alpha, beta, last};
  }
  const T* a_at(std::int64_t i, std::int64_t k) const { return a.data + i * a.row + k * a.column; }
  const T* b_at(std::int64_t k, std::int64_t j) const { return b.data + k * b.row + j * b.column; }
};

// How small products of one shape are computed: A is read in place, B too where a line of the panel is contiguous. Strips of columns are tasks if there is enough to do.
// What does not depend on where the matrices lie is found once, since its divisions take as long as a tenth of a product of 32 x 32.
template <class T>
class SmallProduct {
 public:
  // Like `p`, of which only sizes and strides count.
  SmallProduct(const Product<T>& p, const kernels::GemmTable<T>& table, std::int64_t most_k)
      : table_(table),
        // Tiles of three rows, which AVX2 has registers for, pay only where B stays in the first cache.
        wide_(p.b.column == 1 && p.N % (2 * table.columns) == 0 && (table.rows >= 12 || p.N * p.K <= 64 * 64)),
        width_(wide_ ? 2 * table.columns : table.columns),
        k_parts_(parts_of(p.K, most_k)),
        strips_(parts_of(p.N, width_)),
        row_parts_(parts_of(p.M, wide_ ? table.rows / 2 : table.rows)),
        blocks_(p.K, k_parts_),
        panels_(p.M, row_parts_) {}

  void multiply(const Product<T>& p) const {
    // Half a million multiply-adds are some microseconds: below that a second thread would come too late.
    if (p.M * p.N * p.K < 1 << 19) {
      for (std::int64_t strip = 0; strip < strips_; ++strip) multiply_strip(p, strip, {0, row_parts_});
    } else {
      // Few strips are cut into several tasks each, if their lines are read in place.
      const std::int64_t pieces = p.b.column == 1 ? std::clamp<std::int64_t>(8 / strips_, 1, parts_of(row_parts_, 2)) : 1;
      kernels::run_tasks(strips_ * pieces, [&](std::int64_t task) { multiply_strip(p, task / pieces, Parts(row_parts_, pieces)[task % pieces]); });
    }
  }

 private:
  void multiply_strip(const Product<T>& p, std::int64_t strip, const Part& own) const {
    const std::int64_t j = strip * width_;
    const int columns = static_cast<int>(std::min(width_, p.N - j));
    const bool in_place = p.b.column == 1 && (wide_ || columns == table_.columns || columns == table_.columns / 2);
    for (std::int64_t part = 0; part < k_parts_; ++part) {
      const Part block = blocks_[part];
      const T* panel = p.b_at(block.first, j);
      std::int64_t panel_k = p.b.row;
      if (!in_place) {
        T* const packed = packed_b.room_for<T>(block.count * table_.columns);
        table_.pack(packed, table_.columns, panel, p.b.column, p.b.row, columns, block.count);
        panel = packed;
        panel_k = table_.columns;
      }
      for (std::int64_t r = own.first; r < own.first + own.count; ++r) {
        const Part rows = panels_[r];
        kernels::Tile<T> tile = p.tile_at(rows.first, j, block.first, block.count);
        tile.a = p.a_at(rows.first, block.first);
        tile.a_row = p.a.row;
        tile.a_k = p.a.column;
        tile.b = panel;
        tile.b_k = panel_k;
        if (wide_) table_.wide_tile(tile, static_cast<int>(rows.count));
        else table_.tile(tile, static_cast<int>(rows.count), columns, false);
      }
    }
  }

  const kernels::GemmTable<T>& table_;
  bool wide_;
  std::int64_t width_, k_parts_, strips_, row_parts_;
  Parts blocks_, panels_;
};

// The panels of A: each row of regions cut into panels of nearly equal height.
template <class F>
void for_panels(std::int64_t row, std::int64_t rows, std::int64_t most, F&& f) {
  const std::int64_t count = parts_of(rows, most);
  const Parts parts(rows, count);
  for (std::int64_t i = 0; i < count; ++i) f(row + parts[i].first, parts[i].count);
}

// Whether tiles read A where it lies: its rows are contiguous, at most four of a tile's share their places in the first cache, which has eight lines or more for each, and where a tile has many, they are read for few columns only (a packed one is read faster).
template <class T>
bool reads_a_in_place(const Product<T>& p, const kernels::GemmTable<T>& table) {
  constexpr std::int64_t page = 4096;
  return p.a.column == 1 && (table.rows < 12 || p.N <= 8 * table.columns) && table.rows * std::gcd(p.a.row * std::int64_t{sizeof(T)}, page) <= 4 * page;
}

// What one tile of `tiles` asks for while it multiplies K steps: its share of `rows` rows that lie `step` apart, along which K runs.
template <class T>
kernels::Wanted<T> share_of_rows(const T* from, std::int64_t step, std::int64_t rows, std::int64_t tile, std::int64_t tiles) {
  const Part share = Parts(rows, tiles)[tile];
  return {from + share.first * step, step, 64 / static_cast<std::int64_t>(sizeof(T)), static_cast<int>(share.count)};
}

// The same of K lines that lie `step` apart, each one or two lines of the cache, of which the first is asked for: processors fetch lines in pairs, and asking for both gained nothing.
template <class T>
kernels::Wanted<T> share_of_lines(const T* from, std::int64_t step, std::int64_t K, std::int64_t tile, std::int64_t tiles) {
  constexpr std::int64_t line = 64 / sizeof(T);
  const Part share = Parts(K, tiles)[tile];
  const std::int64_t count = parts_of(share.count, std::max<std::int64_t>(1, K / line));
  return {from + share.first * step, step, count * step, static_cast<int>(count)};
}

// Whether a tile may read B where it lies, although it asks for lines sixteen steps ahead: lines that are `step` apart have places beside each other in two thirds of the first cache, which finds the place of a line by its address modulo a page.
template <class T>
bool lines_have_room(std::int64_t step) {
  constexpr std::int64_t page = 4096;
  return 3 * 16 * std::gcd(step * std::int64_t{sizeof(T)}, page) <= 2 * kernels::cache_sizes().first;
}

// Few rows: all of A is packed first, if need be, and who computes a panel of B's columns packs that panel too, if need be, for all of K, and uses it while it is near.
template <class T>
void multiply_few_rows(const Product<T>& p, const kernels::GemmTable<T>& table, kernels::BlockSizes sizes) {
  const std::int64_t k_parts = parts_of(p.K, sizes.K), strips = parts_of(p.N, table.columns);
  const Parts blocks(p.K, k_parts);
  const bool packs_a = !reads_a_in_place(p, table);
  T* const a_panels = packs_a ? packed_a.room_for<T>(p.M * p.K) : nullptr;
  const std::int64_t levels = parts_of(p.M, table.rows), level_tasks = packs_a ? parts_of(levels, 4) : 0;
  kernels::run_tasks(k_parts * level_tasks, [&](std::int64_t task) {
    const Part block = blocks[task / level_tasks], own = Parts(levels, level_tasks)[task % level_tasks];
    for (std::int64_t level = own.first; level < own.first + own.count; ++level) {
      const Part rows = Parts(p.M, levels)[level];
      table.pack(a_panels + p.M * block.first + rows.first * block.count, static_cast<int>(rows.count), p.a_at(rows.first, block.first), p.a.row, p.a.column, static_cast<int>(rows.count), block.count);
    }
  });
  const bool lines = p.b.column == 1, in_place = lines && lines_have_room<T>(p.b.row);
  const std::int64_t tasks = std::min<std::int64_t>(strips, 32);
  kernels::run_tasks(tasks, [&](std::int64_t task) {
    const Part own = Parts(strips, tasks)[task];
    T* const packed = packed_b.room_for<T>(table.columns * p.K);
    for (std::int64_t j = own.first * table.columns; j < std::min(p.N, (own.first + own.count) * table.columns); j += table.columns) {
      const int columns = static_cast<int>(std::min<std::int64_t>(table.columns, p.N - j));
      const bool packs = !in_place || columns < table.columns;
      if (packs) table.pack(packed, table.columns, p.b_at(0, j), p.b.column, p.b.row, columns, p.K);
      for (std::int64_t k_part = 0; k_part < k_parts; ++k_part) {
        const Part block = blocks[k_part];
        // After this part of the panel comes its next one, then the next panel.
        const bool again = k_part + 1 < k_parts;
        const T* const next = again ? p.b_at(blocks[k_part + 1].first, j) : p.b_at(0, j + table.columns);
        const bool asks = lines && (again || j + table.columns < p.N);
        std::int64_t level = 0;
        for_panels(0, p.M, table.rows, [&](std::int64_t row, std::int64_t rows) {
          kernels::Tile<T> tile = p.tile_at(row, j, block.first, block.count);
          tile.a = packs_a ? a_panels + p.M * block.first + row * block.count : p.a_at(row, block.first);
          tile.a_row = p.a.row;
          tile.a_k = p.a.column;
          tile.b = packs ? packed + block.first * table.columns : p.b_at(block.first, j);
          tile.b_k = packs ? table.columns : p.b.row;
          table.tile_and_ask(tile, static_cast<int>(rows), columns, packs_a, asks ? share_of_lines(next, p.b.row, block.count, level, levels) : kernels::Wanted<T>{});
          ++level;
        });
      }
    }
  });
}

// Whether a product of few rows is turned around: B is a matrix of many contiguous lines, long enough to pay for turning a sum, A's rows fill tiles' columns but for a sixteenth, and the lines that a tile reads have places beside each other in the first cache, which has one for each page of its size.
template <class T>
bool turns_around(const Product<T>& p, const kernels::GemmTable<T>& table) {
  constexpr std::int64_t page = 4096;
  const std::int64_t width = parts_of(p.M, table.columns) * table.columns;
  return p.b.row == 1 && p.M <= 192 && p.N >= 32 * table.rows && p.K >= 384 && 16 * width <= 17 * p.M && table.rows * std::gcd(p.b.column * std::int64_t{sizeof(T)}, page) <= kernels::cache_sizes().first;
}

// out = activation(alpha * sums + beta * start) for `count` numbers of a row.
template <class T>
void finish_part_of_row(const Product<T>& p, std::int64_t i, std::int64_t j, std::int64_t count, const T* sums) {
  T* const out = p.out + i * p.out_row + j;
  if (p.start.data == nullptr) {
    for (std::int64_t n = 0; n < count; ++n) out[n] = p.alpha * sums[n];
  } else {
    const T* const start = p.start.data + i * p.start.row + j;
    for (std::int64_t n = 0; n < count; ++n) out[n] = p.alpha * sums[n] + p.beta * start[n];
  }
  if (p.activation == kernels::Activation::ReLU)
    for (std::int64_t n = 0; n < count; ++n) out[n] = out[n] < T{0} ? T{0} : out[n];
}

// The transposed product: B's lines are the rows of tiles, A's rows the columns, packed. A task computes the columns of four panels, which lie in its own memory until they are complete, and are turned then.
template <class T>
void multiply_turned(const Product<T>& p, const kernels::GemmTable<T>& table) {
  constexpr std::int64_t size = sizeof(T);
  const kernels::CacheSizes caches = kernels::cache_sizes();
  const std::int64_t strips = parts_of(p.M, table.columns), width = strips * table.columns;
  // A panel of B's lines fits into the first cache, A's rows into half of the second.
  const std::int64_t k_parts = parts_of(p.K, std::max<std::int64_t>(64, std::min(caches.first * 3 / 4 / (table.rows * size), caches.second / 2 / (width * size))));
  const Parts blocks(p.K, k_parts);
  T* const rows_of_a = packed_b.room_for<T>(width * p.K);
  const auto strip_at = [&](const Part& block, std::int64_t strip) { return rows_of_a + width * block.first + strip * table.columns * block.count; };
  kernels::run_tasks(k_parts * strips, [&](std::int64_t task) {
    const Part block = blocks[task / strips];
    const std::int64_t strip = task % strips, i = strip * table.columns;
    table.pack(strip_at(block, strip), table.columns, p.a_at(i, block.first), p.a.row, p.a.column, static_cast<int>(std::min<std::int64_t>(table.columns, p.M - i)), block.count);
  });
  const std::int64_t group = 4 * table.rows;
  kernels::run_tasks(parts_of(p.N, group), [&](std::int64_t task) {
    const std::int64_t left = task * group, lines = std::min(group, p.N - left);
    T* const sums = packed_a.room_for<T>(2 * group * width);
    T* const turned = sums + group * width;
    for (std::int64_t k_part = 0; k_part < k_parts; ++k_part) {
      const Part block = blocks[k_part];
      for_panels(0, lines, table.rows, [&](std::int64_t row, std::int64_t rows) {
        // After the last panel comes the first one's next block, or the next task's first panel.
        const bool is_last = row + rows == lines, again = is_last && k_part + 1 < k_parts;
        const std::int64_t next = again ? left : left + row + rows, next_k = again ? blocks[k_part + 1].first : is_last ? 0 : block.first;
        const Parts shares(std::min<std::int64_t>(table.rows, p.N - next), strips);
        for (std::int64_t strip = 0; strip < strips; ++strip) {
          T* const place = sums + row * width + strip * table.columns;
          const Part share = shares[strip];
          table.tile_and_ask({p.b_at(block.first, left + row), p.b.column, 1, strip_at(block, strip), table.columns, block.count, place, width, k_part > 0 ? place : nullptr, width, T{1}, T{1}}, static_cast<int>(rows), table.columns, false,
                             {p.b_at(next_k, next + share.first), p.b.column, 64 / size, static_cast<int>(share.count), false});
        }
      });
    }
    table.pack(turned, static_cast<int>(lines), sums, width, 1, static_cast<int>(lines), p.M);
    for (std::int64_t i = 0; i < p.M; ++i) finish_part_of_row(p, i, left, lines, turned + i * lines);
  });
}

// A block of B: some of its columns, for some of K, as panels in `room`; those before `first_packed` are read in place, where B lies.
template <class T>
struct BlockOfB {
  const Product<T>& p;
  int panel_columns;
  Part k;
  std::int64_t left, width, first_packed;
  T* room;

  std::int64_t panels() const { return parts_of(width, panel_columns); }
  std::int64_t packed() const { return panels() - first_packed; }
  int columns_of(std::int64_t panel) const { return static_cast<int>(std::min<std::int64_t>(panel_columns, width - panel * panel_columns)); }
  const T* in_place(std::int64_t panel) const { return p.b_at(k.first, left + panel * panel_columns); }
  T* packed_at(std::int64_t panel) const { return room + (panel - first_packed) * panel_columns * k.count; }
  // Packs some of the panels that are packed.
  void pack(const kernels::GemmTable<T>& table, const Part& own) const {
    for (std::int64_t panel = first_packed + own.first; panel < first_packed + own.first + own.count; ++panel) table.pack(packed_at(panel), panel_columns, in_place(panel), p.b.column, p.b.row, columns_of(panel), k.count);
  }
  // Lets a tile read one of the panels.
  void give(kernels::Tile<T>& tile, std::int64_t panel) const {
    const bool is_packed = panel >= first_packed;
    tile.b = is_packed ? packed_at(panel) : in_place(panel);
    tile.b_k = is_packed ? panel_columns : p.b.row;
  }
};

// The regions of some columns, as tasks: one row of regions below the other for a few threads, and side by side for four or more, those of a side after one another, so that a thread's share of them lies in one side and reads a part of B, not all of it.
std::vector<kernels::Region> regions_in_order(int threads, std::int64_t rows, std::int64_t width, std::int64_t tile_rows, std::int64_t tile_columns) {
  const std::int64_t strips = parts_of(width, tile_columns), most = std::min(threads / 2, 4);
  // A side is four panels of B or more, since each packs A's panels for itself.
  const std::int64_t sides = std::max<std::int64_t>(1, std::min(most, strips / 4));
  std::vector<kernels::Region> regions;
  for (std::int64_t side = 0; side < sides; ++side) {
    const Part own = Parts(strips, sides)[side];
    const std::int64_t left = own.first * tile_columns;
    for (kernels::Region region : kernels::divide_result(rows, std::min(width - left, own.count * tile_columns), tile_rows, tile_columns)) {
      region.column += left;
      regions.push_back(region);
    }
  }
  return regions;
}

// Block by block, in packed panels, on all threads.
template <class T>
void multiply_blocks(const Product<T>& p, const kernels::GemmTable<T>& table, kernels::BlockSizes sizes) {
  // With few rows a number of B is used a few times only: lines that are contiguous are then read in place.
  const bool packs_b = p.b.column != 1 || p.M > 3 * table.rows;
  if (turns_around(p, table)) return multiply_turned(p, table);
  const std::int64_t all_strips = parts_of(p.N, table.columns);
  constexpr std::int64_t few_rows = 432;
  const int threads = in_parallel_region() ? 1 : get_num_threads();
  if (packs_b && p.M <= few_rows && p.K <= 32 * sizes.K && all_strips >= 2 * threads) return multiply_few_rows(p, table, sizes);
  const std::int64_t k_parts = parts_of(p.K, sizes.K), column_parts = parts_of(all_strips, std::max<std::int64_t>(1, sizes.N / table.columns));
  const bool packs_a = !reads_a_in_place(p, table);
  const Parts blocks(p.K, k_parts), groups(all_strips, column_parts);
  // One block's panels are packed while those of the one before are used: all threads meet once for each block. One thread alone, that waits for nobody, does so only where B's columns do not fit into one block.
  const std::int64_t steps = column_parts * k_parts;
  const bool ahead = threads > 1 || column_parts > 1;
  const std::int64_t room = (packs_b ? groups[0].count : 1) * table.columns * blocks[0].count;
  T* const rooms = packed_b.room_for<T>((ahead ? 2 : 1) * room);
  const auto block_at = [&](std::int64_t step) {
    const Part strips = groups[step / k_parts];
    const std::int64_t left = strips.first * table.columns, width = std::min(p.N - left, strips.count * table.columns);
    // A panel at the edge is packed in any case.
    return BlockOfB<T>{p, table.columns, blocks[step % k_parts], left, width, packs_b ? 0 : width / table.columns, rooms + (ahead ? step % 2 : 0) * room};
  };
  std::vector<kernels::Region> regions;
  for (std::int64_t step = 0; step < steps; ++step) {
    const BlockOfB<T> block = block_at(step);
    if (!ahead || step == 0) {
      const std::int64_t pairs = parts_of(block.packed(), 2);
      kernels::run_tasks(pairs, [&](std::int64_t task) { block.pack(table, Parts(block.packed(), pairs)[task]); });
    }
    if (step % k_parts == 0) regions = regions_in_order(threads, p.M, block.width, table.rows, table.columns);
    const std::int64_t tasks = static_cast<std::int64_t>(regions.size());
    const bool packs_next = ahead && step + 1 < steps;
    const BlockOfB<T> next = block_at(packs_next ? step + 1 : step);
    kernels::run_tasks(tasks, [&](std::int64_t task) {
      if (packs_next) next.pack(table, Parts(next.packed(), tasks)[task]);
      const kernels::Region& region = regions[static_cast<std::size_t>(task)];
      const std::int64_t tiles = parts_of(region.columns, table.columns);
      T* const a_panel = packs_a ? packed_a.room_for<T>(table.rows * block.k.count) : nullptr;
      for_panels(region.row, region.rows, table.rows, [&](std::int64_t row, std::int64_t rows) {
        if (packs_a) table.pack(a_panel, static_cast<int>(rows), p.a_at(row, block.k.first), p.a.row, p.a.column, static_cast<int>(rows), block.k.count);
        for (std::int64_t j = region.column; j < region.column + region.columns; j += table.columns) {
          const std::int64_t panel = j / table.columns;
          kernels::Tile<T> tile = p.tile_at(row, block.left + j, block.k.first, block.k.count);
          tile.a = packs_a ? a_panel : p.a_at(row, block.k.first);
          tile.a_row = p.a.row;
          tile.a_k = p.a.column;
          block.give(tile, panel);
          kernels::Wanted<T> wanted;
          const std::int64_t below = row + rows, rows_below = std::min<std::int64_t>(table.rows, p.M - below), index = (j - region.column) / table.columns;
          if (rows_below > 0 && p.a.column == 1) wanted = share_of_rows(p.a_at(below, block.k.first), p.a.row, rows_below, index, tiles);
          else if (rows_below > 0 && p.a.row == 1) wanted = share_of_lines(p.a_at(below, block.k.first), p.a.column, block.k.count, index, tiles);
          table.tile_and_ask(tile, static_cast<int>(rows), block.columns_of(panel), packs_a, wanted);
        }
      });
    });
  }
}

// Dot products of contiguous lines, for few rows (or few columns): pieces of the longer side are tasks.
template <class T>
void multiply_lines(const Product<T>& p, const kernels::GemmTable<T>& table) {
  const bool by_columns = p.N >= p.M;
  const std::int64_t other = by_columns ? p.M : p.N;
  const std::int64_t grain = parts_of(parts_of(1 << 18, other * p.K), 4) * 4;
  kernels::run_pieces({0, by_columns ? p.N : p.M, grain}, [&](std::int64_t first, std::int64_t stop) {
    const std::int64_t i = by_columns ? 0 : first;
    const std::int64_t j = by_columns ? first : 0;
    const T* const start = p.start.data == nullptr ? nullptr : p.start.data + i * p.start.row + j;
    table.multiply_lines({p.a_at(i, 0), p.a.row, p.b_at(0, j), p.b.column, by_columns ? p.M : stop - first, by_columns ? stop - first : p.N, p.K, p.out + i * p.out_row + j,
                          p.out_row, start, p.start.row, p.alpha, p.beta, p.activation});
  });
}

// One row times a matrix with contiguous lines: pieces of the row are tasks.
template <class T>
void multiply_row(const Product<T>& p, const kernels::GemmTable<T>& table) {
  kernels::run_pieces({0, p.N, parts_of(parts_of(1 << 18, p.K), 1024) * 1024}, [&](std::int64_t first, std::int64_t stop) {
    const T* const start = p.start.data == nullptr ? nullptr : p.start.data + first;
    table.multiply_row({p.a.data, 0, p.a.column, p.b.data + first, p.b.row, p.K, p.out + first, 0, start, 0, p.alpha, p.beta, p.activation}, stop - first);
  });
}

// Whether the sums are made as dot products of contiguous lines: for so few rows packing the lines of B costs more than it gains; short lines pay more for the sum across their lanes.
template <class T>
bool goes_by_lines(const Product<T>& p) {
  const bool lines = (p.a.column == 1 || p.K == 1) && (p.b.row == 1 || p.K == 1);
  return lines && std::min(p.M, p.N) <= (p.K >= 256 ? 32 : 16);
}

// Whether nothing is divided into blocks: a small product, or few rows through lines that half the second cache holds.
template <class T>
bool is_small(const Product<T>& p, const kernels::GemmTable<T>& table) {
  const bool stays = p.a.column == 1 && p.b.column == 1 && p.M <= 3 * table.rows && 2 * p.N * p.K * static_cast<std::int64_t>(sizeof(T)) <= kernels::cache_sizes().second;
  return p.M * p.N * p.K <= 128 * 128 * 128 || stays;
}

template <class T>
void multiply_nothing(const Product<T>& p) {
  for (std::int64_t i = 0; i < p.M; ++i)
    for (std::int64_t j = 0; j < p.N; ++j) {
      const T value = p.start.data == nullptr ? T{0} : p.beta * p.start.data[i * p.start.row + j * p.start.column];
      p.out[i * p.out_row + j] = p.activation == kernels::Activation::ReLU && value < T{0} ? T{0} : value;
    }
}
}  // namespace

template <class T>
void kernels::multiply(std::int64_t M, std::int64_t N, std::int64_t K, T alpha, MatrixView<T> a, MatrixView<T> b, T beta, MatrixView<T> start, T* out, std::int64_t out_row,
                       Activation activation) {
  if (M == 0 || N == 0) return;
  // A column is a row of the transposed product.
  if (N == 1 && M > 1 && out_row == 1)
    return multiply(std::int64_t{1}, M, K, alpha, MatrixView<T>{b.data, b.column, b.row}, MatrixView<T>{a.data, a.column, a.row}, beta, MatrixView<T>{start.data, start.column, start.row}, out, M, activation);
  Product<T> product{M, N, K, alpha, a, b, beta, start, out, out_row, activation};
  if (K == 0) return multiply_nothing(product);
  const GemmTable<T>& table = gemm_table<T>();
  const bool by_lines = goes_by_lines(product);
  // Kernels read a start whose rows are contiguous. Of one number for each row tiles get as many copies as the widest of them has columns; any other start is copied into the result first, and so it is where others than tiles finish the sums.
  std::vector<T> repeated;
  if (start.data != nullptr && start.column != 1 && N > 1) {
    if (start.column == 0 && M > 1 && b.row != 1 && !by_lines) {
      const std::int64_t copies = 2 * table.columns;
      for (std::int64_t i = 0; i < M; ++i) repeated.insert(repeated.end(), static_cast<std::size_t>(copies), start.data[i * start.row]);
      product.start = {repeated.data(), copies, 0};
    } else {
      multiply_nothing(Product<T>{M, N, 0, alpha, a, b, T{1}, start, out, out_row});
      product.start = {out, out_row, 1};
    }
  }
  if (by_lines) return multiply_lines(product, table);
  if (M == 1 && b.column == 1) return multiply_row(product, table);
  const BlockSizes sizes = blocks_in_use<T>();
  if (is_small(product, table)) return SmallProduct<T>(product, table, sizes.K).multiply(product);
  multiply_blocks(product, table, sizes);
}

namespace {
// `count` products like `first`, whose operands lie behind one another. Few large ones divide themselves; of small ones, several make a task.
template <class T>
void multiply_like(const Product<T>& first, std::int64_t count, std::int64_t a_step, std::int64_t b_step) {
  // Field by field: a copy of `first` would be written in vectors and read back in single numbers, which waits for the write to end.
  const auto product_at = [&](std::int64_t i) {
    return Product<T>{first.M, first.N, first.K, first.alpha, {first.a.data + i * a_step, first.a.row, first.a.column}, {first.b.data + i * b_step, first.b.row, first.b.column}, first.beta, first.start, first.out + i * first.M * first.N, first.out_row, first.activation};
  };
  const auto for_each = [&](const auto& multiply_one) {
    const auto some = [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) multiply_one(product_at(i));
    };
    const std::int64_t work = std::max<std::int64_t>(1, first.M * first.N * first.K);
    if (count < 4 && work > (1 << 20)) some(0, count);
    else parallel_for(0, count, std::max<std::int64_t>(1, (1 << 18) / work), some);
  };
  const kernels::GemmTable<T>& table = kernels::gemm_table<T>();
  if (first.M > 1 && first.N > 1 && first.K > 0 && !goes_by_lines(first) && is_small(first, table)) {
    const SmallProduct<T> small(first, table, kernels::blocks_in_use<T>().K);
    for_each([&](const Product<T>& p) { small.multiply(p); });
  } else {
    for_each([](const Product<T>& p) { kernels::multiply(p.M, p.N, p.K, p.alpha, p.a, p.b, p.beta, p.start, p.out, p.out_row); });
  }
}
}  // namespace

template <class T>
void kernels::multiply_batch(std::int64_t count, std::int64_t M, std::int64_t N, std::int64_t K, MatrixView<T> a, std::int64_t a_step, MatrixView<T> b, std::int64_t b_step, T* out) {
  multiply_like(Product<T>{M, N, K, T{1}, a, b, T{0}, {nullptr, 0, 0}, out, N}, count, a_step, b_step);
}

template void kernels::multiply(std::int64_t, std::int64_t, std::int64_t, float, MatrixView<float>, MatrixView<float>, float, MatrixView<float>, float*, std::int64_t, kernels::Activation);
template void kernels::multiply(std::int64_t, std::int64_t, std::int64_t, double, MatrixView<double>, MatrixView<double>, double, MatrixView<double>, double*, std::int64_t, kernels::Activation);
template void kernels::multiply_batch(std::int64_t, std::int64_t, std::int64_t, std::int64_t, MatrixView<float>, std::int64_t, MatrixView<float>, std::int64_t, float*);
template void kernels::multiply_batch(std::int64_t, std::int64_t, std::int64_t, std::int64_t, MatrixView<double>, std::int64_t, MatrixView<double>, std::int64_t, double*);

}  // namespace tinytorch
