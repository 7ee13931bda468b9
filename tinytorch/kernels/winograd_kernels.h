// From the lesson modules/75_convolution_kernels/convolution_kernels_dev.cpp:
// edit the module, not this file.
#pragma once

#include <cstdint>

#include "tinytorch/kernels/capability_tables.h"
#include "tinytorch/kernels/gemm_kernels.h"

namespace tinytorch {

namespace kernels {

// A row of 4 x 4 tiles of an image (channels, rows, columns), whose channels are `channel` apart. The first tile's corner lies at (row, column), perhaps outside; what is outside is 0.
template <class Pixel>
struct WinogradLine {
  Pixel* image;
  std::int64_t channel, channels, rows, columns;
  std::int64_t row, column;
  std::int64_t tiles;
};

// The numbers of tiles at 36 places: number of channel c of tile t at place f is data[f * place + t * tile + c]. `tile` is a multiple of 16; behind the last channel something may be written.
template <class Number>
struct WinogradNumbers {
  Number* data;
  std::int64_t place, tile;
};

// Kernels of 3 x 3 numbers: tap v of result m and channel c is w[m * row + c * channel + v * tap], from tap 0 on. `tap` is 1, or -1 for a kernel that is turned around.
struct WinogradKernel {
  const float* w;
  std::int64_t row, channel, tap;
  std::int64_t M, C;
};

struct WinogradTable {
  // How many numbers of scratch a row of tiles needs.
  std::int64_t (*scratch)(std::int64_t tiles);
  // V = Bt d B for the pixels around each tile: 6 x 6 from its corner on.
  void (*pixels)(const WinogradLine<const float>& line, const WinogradNumbers<float>& to, float* scratch);
  // A d At for the 4 x 4 pixels of each tile.
  void (*slopes)(const WinogradLine<const float>& line, const WinogradNumbers<float>& to, float* scratch);
  // The 4 x 4 pixels At m A of each tile, as far as they are inside.
  void (*results)(const WinogradLine<float>& line, const WinogradNumbers<const float>& from, float* scratch);
  // U = G g Gt of the channels from `first` to `stop`, in panels of `width` results, a multiple of the lanes: place f, channel c, result m at to[f * place + (m / width * C + c) * width + m % width], zeros behind the last result.
  void (*kernel)(const WinogradKernel& kernel, std::int64_t width, std::int64_t place, std::int64_t first, std::int64_t stop, float* to);
  // w (M, C, 3, 3) = Gt u G for the results from `first` to `stop`; u is the sum of `parts` stacks of numbers, `part` apart: place f of (m, c) at u[f * place + m * tile + c].
  void (*kernel_gradient)(const WinogradNumbers<const float>& u, std::int64_t parts, std::int64_t part, std::int64_t first, std::int64_t stop, std::int64_t C, float* w);
};

TINYTORCH_DECLARE_PER_CAPABILITY(WinogradTable, winograd_table)

}  // namespace kernels

}  // namespace tinytorch
