// Matrices and pictures of another size: chapters 70 and 71, and what chapter 74 reduces by an index. Recorded by tests/golden/record_breadth_operators.py.
#include <limits>

#include "package/operator_cases.h"

namespace tinytorch::testing {
namespace {

Tensor symmetric(const Tensor& x) { return x + x.mT(); }
Tensor positive(const Tensor& x) { return matmul(x, x.mT()) + threes(x); }

// Vectors whose signs are the algorithm's are compared without them.
Results sizes_of(const std::tuple<Tensor, Tensor>& results) { return std::vector<Tensor>{std::get<0>(results).abs(), std::get<1>(results).abs()}; }
Results sizes_of(const std::tuple<Tensor, Tensor, Tensor>& results) {
  return std::vector<Tensor>{std::get<0>(results).abs(), std::get<1>(results).abs(), std::get<2>(results).abs()};
}

Tensor sampled(const Inputs& x, std::int64_t mode, std::int64_t padding, bool align_corners = false) { return grid_sampler(x[0], x[1] * 0.83, mode, padding, align_corners); }

}  // namespace

std::vector<OperatorCase> linalg_cases() {
  static constexpr double infinity = std::numeric_limits<double>::infinity();
  return {
      {"linalg_inv", CALL(linalg_inv(x[0] + threes(x[0])))},
      {"linalg_inv.batch", CALL(linalg_inv(x[0] + threes(x[0])))},
      {"linalg_inv.singular", CALL(linalg_inv(x[0]))},
      {"linalg_inv.not_square", CALL(linalg_inv(x[0]))},
      {"linalg_inv.vector", CALL(linalg_inv(x[0]))},
      {"linalg_inv.integers", CALL(linalg_inv(x[0]))},
      {"linalg_det", CALL(linalg_det(x[0]))},
      {"linalg_det.batch", CALL(linalg_det(x[0] + threes(x[0])))},
      // The gradient is the matrix of cofactors, 4 in its first place; PyTorch, which divides by a pivot in place of 0, gives 0 (chapter 70 tests it).
      {"linalg_det.singular", CALL(linalg_det(x[0])), {.at_kink = true, .leaves_out = "gradients"}},
      {"linalg_det.not_square", CALL(linalg_det(x[0]))},
      {"slogdet", CALL(linalg_slogdet(x[0] + threes(x[0])))},
      {"logdet", CALL(logdet(positive(x[0])))},
      {"linalg_solve", CALL(linalg_solve(x[0] + threes(x[0]), x[1]))},
      {"linalg_solve.vector", CALL(linalg_solve(x[0] + threes(x[0]), x[1]))},
      {"linalg_solve.right", CALL(linalg_solve(x[0] + threes(x[0]), x[1], false))},
      {"linalg_solve.broadcast", CALL(linalg_solve(x[0] + threes(x[0]), x[1]))},
      {"linalg_solve.sizes_differ", CALL(linalg_solve(x[0], x[1]))},
      {"linalg_solve.singular", CALL(linalg_solve(x[0], x[1]))},
      {"linalg_cholesky", CALL(linalg_cholesky(positive(x[0])))},
      {"linalg_cholesky.upper", CALL(linalg_cholesky(positive(x[0]), true))},
      {"linalg_cholesky.not_positive", CALL(linalg_cholesky(x[0]))},
      {"cholesky_solve", CALL(cholesky_solve(x[0], linalg_cholesky(positive(x[1]))))},
      {"linalg_solve_triangular", CALL(linalg_solve_triangular(x[0] + threes(x[0]), x[1], false))},
      {"linalg_solve_triangular.upper_right", CALL(linalg_solve_triangular(x[0] + threes(x[0]), x[1], true, false))},
      {"linalg_solve_triangular.unit", CALL(linalg_solve_triangular(x[0], x[1], true, true, true))},
      {"linalg_qr", CALL(linalg_qr(x[0]))},
      {"linalg_qr.wide", CALL(linalg_qr(x[0]))},
      {"linalg_qr.complete", CALL(linalg_qr(x[0], "complete"))},
      {"linalg_qr.r_of_no_gradient", CALL(std::get<1>(linalg_qr(x[0].detach(), "r")))},
      {"linalg_qr.mode", CALL(linalg_qr(x[0], "full"))},
      {"linalg_eigh", CALL(sizes_of(linalg_eigh(symmetric(x[0]))))},
      // Only one triangle is read, and as in PyTorch both receive half of its gradient: no finite difference shows that.
      {"linalg_eigh.upper", CALL(sizes_of(linalg_eigh(x[0], "U"))), {.at_kink = true}},
      {"linalg_eigvalsh", CALL(linalg_eigvalsh(symmetric(x[0])))},
      {"linalg_svd", CALL(sizes_of(linalg_svd(x[0], false)))},
      {"linalg_svd.tall", CALL(sizes_of(linalg_svd(x[0], false)))},
      {"linalg_svd.wide", CALL(sizes_of(linalg_svd(x[0], false)))},
      {"linalg_svdvals", CALL(linalg_svdvals(x[0]))},
      {"linalg_vector_norm", CALL(linalg_vector_norm(x[0], 3))},
      {"linalg_vector_norm.dims", CALL(linalg_vector_norm(x[0], 1, {0, 2}, true))},
      {"linalg_vector_norm.nothing", CALL(linalg_vector_norm(x[0], -1))},
      {"linalg_vector_norm.widened", CALL(linalg_vector_norm(x[0], 2, std::nullopt, false, kDouble))},
      {"linalg_matrix_norm.fro", CALL(linalg_matrix_norm(x[0], "fro"))},
      {"linalg_matrix_norm.fro_placed", CALL(linalg_matrix_norm(x[0], "fro", {2, 0}, true))},
      {"linalg_matrix_norm.nuc", CALL(linalg_matrix_norm(x[0], "nuc"))},
      {"linalg_matrix_norm.nuc_placed", CALL(linalg_matrix_norm(x[0], "nuc", {2, 0}, true)), {.at_kink = true}},
      {"linalg_matrix_norm.columns", CALL(linalg_matrix_norm(x[0], 1))},
      {"linalg_matrix_norm.columns_placed", CALL(linalg_matrix_norm(x[0], 1, {2, 0}, true))},
      {"linalg_matrix_norm.smallest_column", CALL(linalg_matrix_norm(x[0], -1))},
      {"linalg_matrix_norm.smallest_column_placed", CALL(linalg_matrix_norm(x[0], -1, {2, 0}, true)), {.at_kink = true}},
      {"linalg_matrix_norm.rows", CALL(linalg_matrix_norm(x[0], infinity)), {.at_kink = true}},
      {"linalg_matrix_norm.rows_placed", CALL(linalg_matrix_norm(x[0], infinity, {2, 0}, true))},
      {"linalg_matrix_norm.smallest_row", CALL(linalg_matrix_norm(x[0], -infinity))},
      {"linalg_matrix_norm.smallest_row_placed", CALL(linalg_matrix_norm(x[0], -infinity, {2, 0}, true))},
      {"linalg_matrix_norm.largest", CALL(linalg_matrix_norm(x[0], 2))},
      {"linalg_matrix_norm.largest_placed", CALL(linalg_matrix_norm(x[0], 2, {2, 0}, true))},
      {"linalg_matrix_norm.smallest", CALL(linalg_matrix_norm(x[0], -2)), {.float_rtol = 1e-4}},
      {"linalg_matrix_norm.smallest_placed", CALL(linalg_matrix_norm(x[0], -2, {2, 0}, true)), {.leaves_out = "gradients", .float_rtol = 1e-4}},  // of a matrix of rank 2: the direction of its third singular vector is not determined
      {"linalg_matrix_norm.third", CALL(linalg_matrix_norm(x[0], 3))},
      {"linalg_norm", CALL(linalg_norm(x[0]))},
      {"linalg_norm.of_vector", CALL(linalg_norm(x[0], 3))},
      {"linalg_norm.of_matrix", CALL(linalg_norm(x[0], "nuc"))},
      {"linalg_norm.of_rows", CALL(linalg_norm(x[0], infinity, 1))},
      {"linalg_norm.three_dimensions", CALL(linalg_norm(x[0], 2))},
      {"linalg_pinv", CALL(linalg_pinv(x[0]))},
      {"linalg_matrix_rank", CALL(linalg_matrix_rank(x[0]))},
      {"cdist", CALL(cdist(x[0], x[1]))},
      {"cdist.first", CALL(cdist(x[0], x[1], 1))},
      {"cdist.third", CALL(cdist(x[0], x[1], 3))},
      {"cdist.largest", CALL(cdist(x[0], x[1], infinity))},
      {"cdist.columns_differ", CALL(cdist(x[0], x[1]))},
      {"pdist", CALL(pdist(x[0]))},
      {"pdist.first", CALL(pdist(x[0], 1))},
      {"pdist.largest", CALL(pdist(x[0], infinity))},
      {"pdist.one_dimension", CALL(pdist(x[0]))},
      {"cov", CALL(cov(x[0]))},
      {"cov.one_variable", CALL(cov(x[0], 0))},
      {"cov.weighted", CALL(cov(x[0], 1, tensor({1, 2, 1, 3}), x[1].detach()))},
      {"corrcoef", CALL(corrcoef(x[0]))},
  };
}

std::vector<OperatorCase> resizing_cases() {
  return {
      {"upsample_nearest1d", CALL(upsample_nearest1d(x[0], 6)), {.also_takes = "Long Int Bool"}},
      {"upsample_nearest1d.smaller", CALL(upsample_nearest1d(x[0], 2)), {.also_takes = "Long Int Bool"}},
      {"_upsample_nearest_exact1d", CALL(_upsample_nearest_exact1d(x[0], 6)), {.also_takes = "Long Int Bool"}},
      {"upsample_nearest2d", CALL(upsample_nearest2d(x[0], {6, 5})), {.also_takes = "Long Int Bool"}},
      {"upsample_nearest2d.smaller", CALL(upsample_nearest2d(x[0], {2, 3})), {.also_takes = "Long Int Bool"}},
      {"_upsample_nearest_exact2d", CALL(_upsample_nearest_exact2d(x[0], {6, 5})), {.also_takes = "Long Int Bool"}},
      {"upsample_nearest3d", CALL(upsample_nearest3d(x[0], {6, 5, 3})), {.also_takes = "Long Int Bool"}},
      {"upsample_nearest3d.smaller", CALL(upsample_nearest3d(x[0], {2, 3, 1})), {.also_takes = "Long Int Bool"}},
      {"_upsample_nearest_exact3d", CALL(_upsample_nearest_exact3d(x[0], {6, 5, 3})), {.also_takes = "Long Int Bool"}},
      {"upsample_nearest2d.scale", CALL(nn::functional::interpolate(x[0], nn::functional::InterpolateFuncOptions().scale_factor(std::vector<double>{1.7, 0.6}))), {.also_takes = "Long Int Bool"}},
      {"upsample_nearest2d.no_size", CALL(upsample_nearest2d(x[0], {0, 2}))},
      {"upsample_linear1d", CALL(upsample_linear1d(x[0], 6, false))},
      {"upsample_linear1d.corners", CALL(upsample_linear1d(x[0], 6, true))},
      {"upsample_linear1d.smaller", CALL(upsample_linear1d(x[0], 2, false))},
      {"upsample_bilinear2d", CALL(upsample_bilinear2d(x[0], {6, 5}, false)), {.leaves_out = "Byte"}},
      {"upsample_bilinear2d.corners", CALL(upsample_bilinear2d(x[0], {6, 5}, true)), {.leaves_out = "Byte"}},
      {"upsample_bilinear2d.smaller", CALL(upsample_bilinear2d(x[0], {2, 3}, false)), {.leaves_out = "Byte"}},
      {"upsample_trilinear3d", CALL(upsample_trilinear3d(x[0], {6, 5, 3}, false))},
      {"upsample_trilinear3d.corners", CALL(upsample_trilinear3d(x[0], {6, 5, 3}, true))},
      {"upsample_trilinear3d.smaller", CALL(upsample_trilinear3d(x[0], {2, 3, 1}, false))},
      {"upsample_bicubic2d", CALL(upsample_bicubic2d(x[0], {6, 5}, false)), {.leaves_out = "Byte"}},
      {"upsample_bicubic2d.corners", CALL(upsample_bicubic2d(x[0], {6, 5}, true)), {.leaves_out = "Byte"}},
      {"upsample_bicubic2d.smaller", CALL(upsample_bicubic2d(x[0], {2, 3}, false)), {.leaves_out = "Byte"}},
      {"upsample_bilinear2d.scale", CALL(nn::functional::interpolate(x[0], nn::functional::InterpolateFuncOptions().scale_factor(std::vector<double>{1.7, 0.6}).mode(kBilinear))), {.leaves_out = "Byte"}},
      {"_upsample_bilinear2d_aa", CALL(_upsample_bilinear2d_aa(x[0], {3, 8}, false)), {.leaves_out = "Byte"}},
      {"_upsample_bicubic2d_aa", CALL(_upsample_bicubic2d_aa(x[0], {3, 8}, false)), {.leaves_out = "Byte"}},
      {"interpolate.area", CALL(nn::functional::interpolate(x[0], nn::functional::InterpolateFuncOptions().size(std::vector<std::int64_t>{2, 3}).mode(kArea)))},
      {"grid_sampler.bilinear_zeros", CALL(sampled(x, 0, 0))},
      {"grid_sampler.bilinear_border", CALL(sampled(x, 0, 1))},
      {"grid_sampler.bilinear_reflection", CALL(sampled(x, 0, 2))},
      {"grid_sampler.nearest_zeros", CALL(sampled(x, 1, 0))},
      {"grid_sampler.nearest_border", CALL(sampled(x, 1, 1))},
      {"grid_sampler.nearest_reflection", CALL(sampled(x, 1, 2))},
      {"grid_sampler.bicubic_zeros", CALL(sampled(x, 2, 0))},
      {"grid_sampler.bicubic_border", CALL(sampled(x, 2, 1))},
      {"grid_sampler.bicubic_reflection", CALL(sampled(x, 2, 2))},
      {"grid_sampler.corners", CALL(sampled(x, 0, 2, true))},
      {"grid_sampler.volume", CALL(sampled(x, 0, 0))},
      {"grid_sampler.volume_border", CALL(sampled(x, 0, 1, true))},
      {"grid_sampler.batches_differ", CALL(grid_sampler(x[0], x[1], 0, 0, false))},
      {"grid_sampler.last_dimension", CALL(grid_sampler(x[0], x[1], 0, 0, false))},
      {"affine_grid_generator", CALL(nn::functional::affine_grid(x[0], {2, 1, 3, 4}))},
      {"affine_grid_generator.volume", CALL(nn::functional::affine_grid(x[0], {1, 1, 2, 1, 3}, true))},
      {"pixel_shuffle", CALL(pixel_shuffle(x[0], 2))},
      {"pixel_shuffle.not_divisible", CALL(pixel_shuffle(x[0], 2))},
      {"pixel_shuffle.two_dimensions", CALL(pixel_shuffle(x[0], 2))},
      // Of no pictures PyTorch gives the sizes of the input.
      {"channel_shuffle", CALL(channel_shuffle(x[0], 3)), {.leaves_out = "empty"}},
      {"channel_shuffle.not_divisible", CALL(channel_shuffle(x[0], 3))},
      {"pixel_unshuffle", CALL(pixel_unshuffle(x[0], 2)), {.leaves_out = "empty"}},
      {"pixel_unshuffle.not_divisible", CALL(pixel_unshuffle(x[0], 2))},
      {"max_unpool2d", CALL(max_unpool2d(x[0], x[1], {4, 4})), {.also_takes = "Long Int Byte Bool"}},
      {"max_unpool2d.outside", CALL(max_unpool2d(x[0], x[1], {2, 2}))},
      {"max_unpool3d", CALL(max_unpool3d(x[0], x[1], {2, 2, 4}, {2, 2, 2}, {0, 0, 0})), {.also_takes = "Long Int Byte Bool"}},
      // Python's power of integers is an integer; libtorch's norm_type is a double, as here.
      {"lp_pool1d", CALL(nn::functional::lp_pool1d(x[0], nn::LPPool1dOptions(3, 2).stride(1))), {.also_takes = "Int Byte", .leaves_out = "Long"}},
      {"lp_pool2d", CALL(nn::functional::lp_pool2d(x[0], nn::LPPool2dOptions(2, {2, 3}).ceil_mode(true))), {.also_takes = "Int Byte", .leaves_out = "Long"}},
      {"fractional_max_pool2d", CALL(fractional_max_pool2d(x[0], {2, 2}, {3, 4}, x[1])), {.also_takes = "Long Int Byte Bool"}},
      {"fractional_max_pool3d", CALL(fractional_max_pool3d(x[0], {2, 2, 1}, {2, 3, 2}, x[1])), {.also_takes = "Long Int Byte Bool"}},
      {"conv_transpose1d.beyond_stride", CALL(conv_transpose1d(x[0], x[1], {}, 1, 0, 2, 1, 3)), {.also_takes = "Int Byte"}},
      {"conv_transpose2d.beyond_stride", CALL(conv_transpose2d(x[0], x[1], {}, {1, 2}, 0, {2, 3}, 1, {3, 4})), {.also_takes = "Int Byte"}},
      {"conv_transpose1d.padded_too_much", CALL(conv_transpose1d(x[0], x[1], {}, 2, 0, 2)), {.says = "output padding must be smaller than either stride or dilation"}},
  };
}

std::vector<OperatorCase> reducing_cases() {
  return {
      {"scatter_reduce.sum", CALL(scatter_reduce(x[0], 0, x[1], x[2], "sum"))},
      {"scatter_reduce.sum_alone", CALL(scatter_reduce(x[0], 0, x[1], x[2], "sum", false))},
      {"scatter_reduce.prod", CALL(scatter_reduce(x[0], 0, x[1], x[2], "prod"))},
      {"scatter_reduce.prod_alone", CALL(scatter_reduce(x[0], 0, x[1], x[2], "prod", false))},
      {"scatter_reduce.mean", CALL(scatter_reduce(x[0], 0, x[1], x[2], "mean")), {.also_takes = "Bool"}},
      {"scatter_reduce.mean_alone", CALL(scatter_reduce(x[0], 0, x[1], x[2], "mean", false)), {.also_takes = "Bool"}},
      {"scatter_reduce.amax", CALL(scatter_reduce(x[0], 0, x[1], x[2], "amax"))},
      {"scatter_reduce.amax_alone", CALL(scatter_reduce(x[0], 0, x[1], x[2], "amax", false))},
      {"scatter_reduce.amin", CALL(scatter_reduce(x[0], 0, x[1], x[2], "amin"))},
      {"scatter_reduce.amin_alone", CALL(scatter_reduce(x[0], 0, x[1], x[2], "amin", false))},
      {"scatter_reduce", CALL(scatter_reduce(x[0], 1, x[1], x[2], "sum"))},
      {"scatter_reduce.zeros", CALL(scatter_reduce(x[0], 0, x[1], x[2], "prod")), {.at_kink = true}},
      {"scatter_reduce.out_of_range", CALL(scatter_reduce(x[0], 0, x[1], x[2], "sum"))},
      {"scatter_reduce.unknown", CALL(scatter_reduce(x[0], 0, x[1], x[2], "median"))},
      {"index_reduce.prod", CALL(index_reduce(x[0], 0, x[1], x[2], "prod"))},
      {"index_reduce.prod_alone", CALL(index_reduce(x[0], 1, x[1], x[2], "prod", false)), {.also_takes = "Bool"}},
      {"index_reduce.mean", CALL(index_reduce(x[0], 0, x[1], x[2], "mean")), {.also_takes = "Bool"}},
      {"index_reduce.mean_alone", CALL(index_reduce(x[0], 1, x[1], x[2], "mean", false)), {.also_takes = "Bool"}},
      {"index_reduce.amax", CALL(index_reduce(x[0], 0, x[1], x[2], "amax"))},
      {"index_reduce.amax_alone", CALL(index_reduce(x[0], 1, x[1], x[2], "amax", false)), {.also_takes = "Bool"}},
      {"index_reduce.amin", CALL(index_reduce(x[0], 0, x[1], x[2], "amin"))},
      {"index_reduce.amin_alone", CALL(index_reduce(x[0], 1, x[1], x[2], "amin", false)), {.also_takes = "Bool"}},
      {"bitwise_left_shift", CALL(bitwise_left_shift(x[0], x[1]))},
      {"bitwise_left_shift.small", CALL(bitwise_left_shift(x[0], x[1]))},
      {"bitwise_left_shift.floating", CALL(bitwise_left_shift(x[0], x[1]))},
      {"bitwise_right_shift", CALL(bitwise_right_shift(x[0], x[1]))},
      {"bitwise_right_shift.bool", CALL(bitwise_right_shift(x[0], x[1]))},
      {"max.all_nan", CALL(x[0].max()), {.at_kink = true}},
      {"min.all_nan", CALL(x[0].min()), {.at_kink = true}},
  };
}

}  // namespace tinytorch::testing
