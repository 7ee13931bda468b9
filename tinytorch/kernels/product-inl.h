// From the lesson modules/16_kernels/kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <numeric>

#include "tinytorch/kernels/gemm.h"
#include "tinytorch/kernels/parallel.h"

namespace tinytorch {

namespace kernels {

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
inline thread_local Workspace packed_a;
inline thread_local Workspace packed_b;

inline std::int64_t parts_of(std::int64_t size, std::int64_t most) { return (size + most - 1) / most; }

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
  MatrixView<T> a, b;
  T beta;
  MatrixView<T> start;
  T* out;
  std::int64_t out_row;
  Activation activation = Activation::None;

  // The tile at (i, j) for the K of a block that begins at `k`: the first block starts from `start`, the later ones from the result so far. Only the last one completes the sums, so only there the activation may follow.
  Tile<T> tile_at(std::int64_t i, std::int64_t j, std::int64_t k, std::int64_t count) const {
    T* const place = out + i * out_row + j;
    const Activation last = k + count == K ? activation : Activation::None;
    if (k > 0) return {nullptr, 0, 0, nullptr, 0, count, place, out_row, place, out_row, alpha, T{1}, last};
    return {nullptr, 0, 0, nullptr, 0, count, place, out_row, start.data == nullptr ? nullptr : start.data + i * start.row + j * start.column, start.row, alpha, beta, last};
  }
  const T* a_at(std::int64_t i, std::int64_t k) const { return a.data + i * a.row + k * a.column; }
  const T* b_at(std::int64_t k, std::int64_t j) const { return b.data + k * b.row + j * b.column; }
};

}  // namespace kernels

namespace kernels {

// Whether the sums are made as dot products of contiguous lines: for so few rows packing the lines of B costs more than it gains; short lines pay more for the sum across their lanes.
template <class T>
bool goes_by_lines(const Product<T>& p) {
  const bool lines = (p.a.column == 1 || p.K == 1) && (p.b.row == 1 || p.K == 1);
  return lines && std::min(p.M, p.N) <= (p.K >= 256 ? 32 : 16);
}

// Whether nothing is divided into blocks: a small product, or few rows through lines that half the second cache holds.
template <class T>
bool is_small(const Product<T>& p, const GemmTable<T>& table) {
  const bool stays = p.a.column == 1 && p.b.column == 1 && p.M <= 3 * table.rows && 2 * p.N * p.K * static_cast<std::int64_t>(sizeof(T)) <= cache_sizes().second;
  return p.M * p.N * p.K <= 128 * 128 * 128 || stays;
}

// How small products of one shape are computed: A is read in place, B too where a line of the panel is contiguous. Strips of columns are tasks if there is enough to do.
// What does not depend on where the matrices lie is found first, since its divisions take as long as a tenth of a product of 32 x 32: a stack of matrices (chapter 62) finds it once.
template <class T>
class SmallProduct {
 public:
  // Like `p`, of which only sizes and strides count.
  SmallProduct(const Product<T>& p, const GemmTable<T>& table, std::int64_t most_k)
      : table_(table), k_parts_(parts_of(p.K, most_k)), strips_(parts_of(p.N, table.columns)), row_parts_(parts_of(p.M, table.rows)), blocks_(p.K, k_parts_), panels_(p.M, row_parts_) {}

  void multiply(const Product<T>& p) const {
    // Half a million multiply-adds are some microseconds: below that a second thread would come too late.
    if (p.M * p.N * p.K < 1 << 19) {
      for (std::int64_t strip = 0; strip < strips_; ++strip) multiply_strip(p, strip, {0, row_parts_});
    } else {
      // Few strips are cut into several tasks each, if their lines are read in place.
      const std::int64_t pieces = p.b.column == 1 ? std::clamp<std::int64_t>(8 / strips_, 1, parts_of(row_parts_, 2)) : 1;
      run_tasks(strips_ * pieces, [&](std::int64_t task) { multiply_strip(p, task / pieces, Parts(row_parts_, pieces)[task % pieces]); });
    }
  }

 private:
  void multiply_strip(const Product<T>& p, std::int64_t strip, const Part& own) const {
    const std::int64_t j = strip * table_.columns;
    const int columns = static_cast<int>(std::min<std::int64_t>(table_.columns, p.N - j));
    const bool in_place = p.b.column == 1 && (columns == table_.columns || columns == table_.columns / 2);
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
        Tile<T> tile = p.tile_at(rows.first, j, block.first, block.count);
        tile.a = p.a_at(rows.first, block.first);
        tile.a_row = p.a.row;
        tile.a_k = p.a.column;
        tile.b = panel;
        tile.b_k = panel_k;
        table_.tile(tile, static_cast<int>(rows.count), columns, false);
      }
    }
  }

  const GemmTable<T>& table_;
  std::int64_t k_parts_, strips_, row_parts_;
  Parts blocks_, panels_;
};

}  // namespace kernels

namespace kernels {

// The panels of A: each row of regions cut into panels of nearly equal height.
template <class F>
void for_panels(std::int64_t row, std::int64_t rows, std::int64_t most, F&& f) {
  const std::int64_t count = parts_of(rows, most);
  const Parts parts(rows, count);
  for (std::int64_t i = 0; i < count; ++i) f(row + parts[i].first, parts[i].count);
}

// Whether tiles read A where it lies: its rows are contiguous, at most four of a tile's share their places in the first cache, which has eight lines or more for each, and where a tile has many, they are read for few columns only (a packed one is read faster).
template <class T>
bool reads_a_in_place(const Product<T>& p, const GemmTable<T>& table) {
  constexpr std::int64_t page = 4096;
  return p.a.column == 1 && (table.rows < 12 || p.N <= 8 * table.columns) && table.rows * std::gcd(p.a.row * std::int64_t{sizeof(T)}, page) <= 4 * page;
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
  void pack(const GemmTable<T>& table, const Part& own) const {
    for (std::int64_t panel = first_packed + own.first; panel < first_packed + own.first + own.count; ++panel) table.pack(packed_at(panel), panel_columns, in_place(panel), p.b.column, p.b.row, columns_of(panel), k.count);
  }
  // The tile of the rows from `row` on and of one of the panels; these rows of A are packed, or read in place where that is nullptr.
  Tile<T> tile_at(std::int64_t row, std::int64_t panel, const T* packed_a_panel) const {
    Tile<T> tile = p.tile_at(row, left + panel * panel_columns, k.first, k.count);
    tile.a = packed_a_panel != nullptr ? packed_a_panel : p.a_at(row, k.first);
    tile.a_row = p.a.row;
    tile.a_k = p.a.column;
    const bool is_packed = panel >= first_packed;
    tile.b = is_packed ? packed_at(panel) : in_place(panel);
    tile.b_k = is_packed ? panel_columns : p.b.row;
    return tile;
  }
};

// What chapter 62 adds for the products of T, when the program starts.
template <class T>
struct MoreWays {
  // Computes a product if its shape has a way of its own, else does nothing and returns false.
  bool (*by_shape)(const Product<T>& product, const GemmTable<T>& table) = nullptr;
  // Computes what multiply_row_of_tiles does.
  void (*row_of_tiles)(const BlockOfB<T>& block, const GemmTable<T>& table, const Region& region, Part rows, const T* packed_a_panel) = nullptr;
};
template <class T>
inline constinit MoreWays<T> more_ways{};

}  // namespace kernels

}  // namespace tinytorch
