#!/usr/bin/env python3
"""Records what PyTorch gives for the operators of library chapters 68 and 69 and some of 74, 82 and 90 in tests/golden/breadth_operators.json, in the form of operators.json.

    python tests/golden/record_breadth_operators.py             # writes the file
    python tests/golden/record_breadth_operators.py --check     # fails when PyTorch gives something else than the file says

What is recorded of a case is said in record_operators.py, whose functions do it; the rows are in tests/package/cases_matrices.cpp. Needs torch.
"""
import pathlib

import recording

recording.needs("torch")

import torch
import torch.nn.functional as F_

import record_operators as base
from record_operators import B, D, F, L, P, U

FILE = pathlib.Path(__file__).with_name("breadth_operators.json")
CASES = {}
base.numbers.calls = 8000  # inputs of their own, whatever record_operators.py has


def case(name, *inputs, run):
    assert name not in CASES, name
    CASES[name] = (inputs, run)


def eye(x):
    return torch.eye(x.size(-1), dtype=x.dtype) * 3


def symmetric(x):
    return x + x.mT


def positive(x):
    return x @ x.mT + eye(x)


# ---- Chapter 68: matrices. Functions of vectors whose signs are free take their sizes.
case("linalg_inv", F(3, 3), run=lambda x: torch.linalg.inv(x + eye(x)))
case("linalg_inv.batch", F(2, 2, 2), run=lambda x: torch.linalg.inv(x + eye(x)))
case("linalg_inv.singular", D([[1.0, 2.0], [2.0, 4.0]]), run=torch.linalg.inv)
case("linalg_inv.not_square", F(2, 3), run=torch.linalg.inv)
case("linalg_inv.vector", F(3), run=torch.linalg.inv)
case("linalg_inv.integers", L([[1, 2], [3, 4]]), run=torch.linalg.inv)
case("linalg_det", F(3, 3), run=torch.linalg.det)
case("linalg_det.batch", F(2, 4, 4), run=lambda x: torch.linalg.det(x + eye(x)))
case("linalg_det.singular", D([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]]), run=torch.linalg.det)
case("linalg_det.not_square", F(2, 3), run=torch.linalg.det)
case("slogdet", F(2, 3, 3), run=lambda x: torch.linalg.slogdet(x + eye(x)))
case("logdet", F(3, 3), run=lambda x: torch.logdet(positive(x)))
case("linalg_solve", F(3, 3), F(3, 2), run=lambda a, b: torch.linalg.solve(a + eye(a), b))
case("linalg_solve.vector", F(3, 3), F(3), run=lambda a, b: torch.linalg.solve(a + eye(a), b))
case("linalg_solve.right", F(3, 3), F(2, 3), run=lambda a, b: torch.linalg.solve(a + eye(a), b, left=False))
case("linalg_solve.broadcast", F(2, 3, 3), F(3, 2), run=lambda a, b: torch.linalg.solve(a + eye(a), b))
case("linalg_solve.sizes_differ", F(3, 3), F(2, 2), run=torch.linalg.solve)
case("linalg_solve.singular", D([[1.0, 2.0], [2.0, 4.0]]), F(2, 1), run=torch.linalg.solve)
case("linalg_cholesky", F(3, 3), run=lambda x: torch.linalg.cholesky(positive(x)))
case("linalg_cholesky.upper", F(2, 3, 3), run=lambda x: torch.linalg.cholesky(positive(x), upper=True))
case("linalg_cholesky.not_positive", D([[1.0, 2.0], [2.0, 1.0]]), run=torch.linalg.cholesky)
case("cholesky_solve", F(3, 2), F(3, 3), run=lambda b, x: torch.cholesky_solve(b, torch.linalg.cholesky(positive(x))))
case("linalg_solve_triangular", F(3, 3), F(3, 2), run=lambda a, b: torch.linalg.solve_triangular(a + eye(a), b, upper=False))
case("linalg_solve_triangular.upper_right", F(3, 3), F(2, 3), run=lambda a, b: torch.linalg.solve_triangular(a + eye(a), b, upper=True, left=False))
case("linalg_solve_triangular.unit", F(3, 3), F(3, 2), run=lambda a, b: torch.linalg.solve_triangular(a, b, upper=True, unitriangular=True))
case("linalg_qr", F(4, 3), run=torch.linalg.qr)
case("linalg_qr.wide", F(2, 2, 4), run=torch.linalg.qr)
case("linalg_qr.complete", F(3, 3), run=lambda x: torch.linalg.qr(x, mode="complete"))
case("linalg_qr.r_of_no_gradient", F(3, 2), run=lambda x: torch.linalg.qr(x.detach(), mode="r")[1])
case("linalg_qr.mode", F(3, 2), run=lambda x: torch.linalg.qr(x, mode="full"))
case("linalg_eigh", F(3, 3), run=lambda x: [y.abs() for y in torch.linalg.eigh(symmetric(x))])
case("linalg_eigh.upper", F(2, 2, 2), run=lambda x: [y.abs() for y in torch.linalg.eigh(x, UPLO="U")])
case("linalg_eigvalsh", F(4, 4), run=lambda x: torch.linalg.eigvalsh(symmetric(x)))
case("linalg_svd", F(3, 3), run=lambda x: [y.abs() for y in torch.linalg.svd(x, full_matrices=False)])
case("linalg_svd.tall", F(4, 2), run=lambda x: [y.abs() for y in torch.linalg.svd(x, full_matrices=False)])
case("linalg_svd.wide", F(2, 2, 3), run=lambda x: [y.abs() for y in torch.linalg.svd(x, full_matrices=False)])
case("linalg_svdvals", F(2, 3, 2), run=torch.linalg.svdvals)
case("linalg_pinv", F(4, 2), run=torch.linalg.pinv)
case("linalg_matrix_rank", D([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 0.0, 1.0]]), run=torch.linalg.matrix_rank)
case("cdist", F(3, 2), F(4, 2), run=torch.cdist)
case("cdist.first", F(2, 3, 2), F(1, 2, 2), run=lambda x, y: torch.cdist(x, y, p=1))
case("cdist.third", F(3, 2), F(2, 2), run=lambda x, y: torch.cdist(x, y, p=3.0))
case("cdist.largest", F(3, 2), F(2, 2), run=lambda x, y: torch.cdist(x, y, p=float("inf")))
case("cdist.columns_differ", F(3, 2), F(2, 3), run=torch.cdist)
case("cov", F(3, 5), run=torch.cov)
case("cov.one_variable", F(5), run=lambda x: torch.cov(x, correction=0))
case("cov.weighted", F(2, 4), P(4), run=lambda x, w: torch.cov(x, fweights=torch.tensor([1, 2, 1, 3]), aweights=w.detach()))
case("corrcoef", F(3, 5), run=torch.corrcoef)

# ---- Chapter 69: pictures of another size.
for kind, sizes in (("1d", (2, 2, 4)), ("2d", (1, 2, 3, 4)), ("3d", (1, 1, 2, 3, 2))):
    more = (6, 5, 3)[:len(sizes) - 2]
    fewer = (2, 3, 1)[:len(sizes) - 2]
    case(f"upsample_nearest{kind}", F(*sizes), run=lambda x, s=more: F_.interpolate(x, s))
    case(f"upsample_nearest{kind}.smaller", F(*sizes), run=lambda x, s=fewer: F_.interpolate(x, s))
    case(f"_upsample_nearest_exact{kind}", F(*sizes), run=lambda x, s=more: F_.interpolate(x, s, mode="nearest-exact"))
case("upsample_nearest2d.scale", F(1, 1, 3, 4), run=lambda x: F_.interpolate(x, scale_factor=(1.7, 0.6)))
case("upsample_nearest2d.no_size", F(1, 1, 3, 4), run=lambda x: F_.interpolate(x, (0, 2)))
for name, mode, sizes in (("upsample_linear1d", "linear", (2, 2, 4)), ("upsample_bilinear2d", "bilinear", (1, 2, 3, 4)), ("upsample_trilinear3d", "trilinear", (1, 1, 2, 3, 2)), ("upsample_bicubic2d", "bicubic", (1, 2, 3, 4))):
    more = (6, 5, 3)[:len(sizes) - 2]
    fewer = (2, 3, 1)[:len(sizes) - 2]
    case(name, F(*sizes), run=lambda x, s=more, m=mode: F_.interpolate(x, s, mode=m))
    case(name + ".corners", F(*sizes), run=lambda x, s=more, m=mode: F_.interpolate(x, s, mode=m, align_corners=True))
    case(name + ".smaller", F(*sizes), run=lambda x, s=fewer, m=mode: F_.interpolate(x, s, mode=m))
case("upsample_bilinear2d.scale", F(1, 1, 3, 4), run=lambda x: F_.interpolate(x, scale_factor=(1.7, 0.6), mode="bilinear"))
case("_upsample_bilinear2d_aa", F(1, 1, 7, 6), run=lambda x: F_.interpolate(x, (3, 8), mode="bilinear", antialias=True))
case("_upsample_bicubic2d_aa", F(1, 1, 7, 6), run=lambda x: F_.interpolate(x, (3, 8), mode="bicubic", antialias=True))
case("interpolate.area", F(1, 2, 5, 4), run=lambda x: F_.interpolate(x, (2, 3), mode="area"))
for mode in ("bilinear", "nearest", "bicubic"):
    for padding in ("zeros", "border", "reflection"):
        case(f"grid_sampler.{mode}_{padding}", F(1, 2, 3, 4), F(1, 3, 2, 2),
             run=lambda x, g, m=mode, p=padding: F_.grid_sample(x, g * 0.83, mode=m, padding_mode=p, align_corners=False))
case("grid_sampler.corners", F(2, 1, 3, 4), F(2, 2, 2, 2), run=lambda x, g: F_.grid_sample(x, g * 0.83, padding_mode="reflection", align_corners=True))
case("grid_sampler.volume", F(1, 2, 2, 3, 2), F(1, 2, 1, 3, 3), run=lambda x, g: F_.grid_sample(x, g * 0.83, align_corners=False))
case("grid_sampler.volume_border", F(1, 2, 2, 3, 2), F(1, 2, 1, 3, 3), run=lambda x, g: F_.grid_sample(x, g * 0.83, padding_mode="border", align_corners=True))
case("grid_sampler.batches_differ", F(2, 1, 3, 4), F(1, 2, 2, 2), run=lambda x, g: F_.grid_sample(x, g, align_corners=False))
case("grid_sampler.last_dimension", F(1, 1, 3, 4), F(1, 2, 2, 3), run=lambda x, g: F_.grid_sample(x, g, align_corners=False))
case("affine_grid_generator", F(2, 2, 3), run=lambda t: F_.affine_grid(t, (2, 1, 3, 4), align_corners=False))
case("affine_grid_generator.volume", F(1, 3, 4), run=lambda t: F_.affine_grid(t, (1, 1, 2, 1, 3), align_corners=True))
case("pixel_shuffle", F(2, 8, 2, 3), run=lambda x: F_.pixel_shuffle(x, 2))
case("pixel_shuffle.not_divisible", F(1, 3, 2, 2), run=lambda x: F_.pixel_shuffle(x, 2))
case("pixel_shuffle.two_dimensions", F(3, 2), run=lambda x: F_.pixel_shuffle(x, 2))
case("pixel_unshuffle", F(2, 2, 4, 6), run=lambda x: F_.pixel_unshuffle(x, 2))
case("pixel_unshuffle.not_divisible", F(1, 3, 4), run=lambda x: F_.pixel_unshuffle(x, 2))
case("max_unpool2d", F(1, 2, 2, 2), L([[[[0, 3], [9, 10]], [[5, 6], [8, 15]]]]), run=lambda x, i: F_.max_unpool2d(x, i, 2))
case("max_unpool2d.outside", F(1, 1, 1, 1), L([[[[4]]]]), run=lambda x, i: F_.max_unpool2d(x, i, 2))
case("max_unpool3d", F(1, 1, 1, 2), L([[[[3, 12]]]]), run=lambda x, i: F_.max_unpool3d(x, i, 2))
case("lp_pool1d", P(1, 2, 5), run=lambda x: F_.lp_pool1d(x, 3, 2, 1))
case("lp_pool2d", P(1, 2, 5, 4), run=lambda x: F_.lp_pool2d(x, 2, (2, 3), ceil_mode=True))
case("fractional_max_pool2d", F(1, 2, 5, 6), U(1, 2, 2), run=lambda x, s: F_.fractional_max_pool2d(x, 2, (3, 4), return_indices=True, _random_samples=s.detach()))
case("fractional_max_pool3d", F(1, 1, 4, 5, 4), U(1, 1, 3), run=lambda x, s: F_.fractional_max_pool3d(x, (2, 2, 1), (2, 3, 2), return_indices=True, _random_samples=s.detach()))

# ---- Output padding of a transposed convolution beyond the stride, which only the dilation limits.
case("conv_transpose1d.beyond_stride", F(1, 2, 3), F(2, 1, 2), run=lambda x, w: F_.conv_transpose1d(x, w, stride=1, dilation=3, output_padding=2))
case("conv_transpose2d.beyond_stride", F(1, 1, 2, 3), F(1, 2, 2, 2), run=lambda x, w: F_.conv_transpose2d(x, w, stride=(1, 2), dilation=(3, 4), output_padding=(2, 3)))
case("conv_transpose1d.padded_too_much", F(1, 1, 3), F(1, 1, 3), run=lambda x, w: F_.conv_transpose1d(x, w, stride=2, output_padding=2))

# ---- Chapter 74: reducing where an index says; shifts.
I = L([[0, 2, 0, 1], [2, 1, 1, 2]])
for reduce in ("sum", "prod", "mean", "amax", "amin"):
    case(f"scatter_reduce.{reduce}", F(3, 4), I, P(2, 4), run=lambda x, i, y, r=reduce: x.scatter_reduce(0, i, y, r))
    case(f"scatter_reduce.{reduce}_alone", F(3, 4), I, P(2, 4), run=lambda x, i, y, r=reduce: x.scatter_reduce(0, i, y, r, include_self=False))
case("scatter_reduce", F(2, 3), L([[1, 1], [0, 1]]), F(2, 2), run=lambda x, i, y: x.scatter_reduce(1, i, y, "sum"))
case("scatter_reduce.zeros", F(3), L([0, 0, 1, 2, 2]), D([0.0, 2.0, 0.0, 0.0, 0.0]), run=lambda x, i, y: x.scatter_reduce(0, i, y, "prod"))
case("scatter_reduce.out_of_range", F(3), L([0, 3]), F(2), run=lambda x, i, y: x.scatter_reduce(0, i, y, "sum"))
case("scatter_reduce.unknown", F(3), L([0, 1]), F(2), run=lambda x, i, y: x.scatter_reduce(0, i, y, "median"))
for reduce in ("prod", "mean", "amax", "amin"):
    case(f"index_reduce.{reduce}", F(3, 2), L([2, 0, 2]), P(3, 2), run=lambda x, i, y, r=reduce: x.index_reduce(0, i, y, r))
    case(f"index_reduce.{reduce}_alone", F(2, 3), L([2, 0, 2]), P(2, 3), run=lambda x, i, y, r=reduce: x.index_reduce(1, i, y, r, include_self=False))
case("bitwise_left_shift", L([1, -3, 5, 7, 1]), L([2, 1, 64, -1, 63]), run=torch.bitwise_left_shift)
case("bitwise_left_shift.small", L([100, -3]).to(torch.int8), L([1, 7]).to(torch.int8), run=torch.bitwise_left_shift)
case("bitwise_left_shift.floating", F(2), F(2), run=torch.bitwise_left_shift)
case("bitwise_right_shift", L([16, -3, 5, -7, -1]), L([2, 1, 64, -1, 63]), run=torch.bitwise_right_shift)
case("bitwise_right_shift.bool", B([True, False]), B([True, False]), run=torch.bitwise_right_shift)
# The largest of numbers of which some are NaN.
case("max.all_nan", D([1.0, float("nan"), 3.0, float("nan")]), run=lambda x: x.max())
case("min.all_nan", D([1.0, float("nan"), 3.0]), run=lambda x: x.min())

# ---- Chapters 68 and 69: distances of the rows of one matrix, channels of grouped convolutions.
case("pdist", F(4, 3), run=torch.pdist)
case("pdist.first", F(3, 2), run=lambda x: torch.pdist(x, 1))
case("pdist.largest", D([[0.5, -1.0], [2.0, 0.25], [-1.5, 0.75]]), run=lambda x: torch.pdist(x, float("inf")))
case("pdist.one_dimension", F(3), run=torch.pdist)
case("channel_shuffle", F(2, 6, 2, 1), run=lambda x: torch.channel_shuffle(x, 3))
case("channel_shuffle.not_divisible", F(1, 4, 2), run=lambda x: torch.channel_shuffle(x, 3))

# ---- More random numbers, norms of matrices, the same bytes read as another type.
case("cauchy_", F(2, 3), run=lambda x: x.cauchy_(1, 2))
case("cauchy_.no_width", F(2), run=lambda x: x.cauchy_(0, 0))
case("log_normal_", F(2, 3), run=lambda x: x.log_normal_(0.5, 0.25))
case("log_normal_.no_width", F(2), run=lambda x: x.log_normal_(0, 0))
case("geometric_", F(2, 3), run=lambda x: x.geometric_(0.3))
case("geometric_.certain", F(2), run=lambda x: x.geometric_(1))
case("poisson", P(2, 3), run=torch.poisson)
case("poisson.many", D([[12.0, 100.5, 0.0], [9.99, 10.0, 3000.0]]), run=torch.poisson)
case("poisson.negative", F(3), run=torch.poisson)
case("linalg_vector_norm", F(2, 3), run=lambda x: torch.linalg.vector_norm(x, 3))
case("linalg_vector_norm.dims", F(2, 3, 2), run=lambda x: torch.linalg.vector_norm(x, 1, (0, 2), True))
case("linalg_vector_norm.nothing", F(0), run=lambda x: torch.linalg.vector_norm(x, -1))
case("linalg_vector_norm.widened", F(2, 3), run=lambda x: torch.linalg.vector_norm(x, 2, dtype=torch.float64))
inf = float("inf")
for name, order in {"fro": "fro", "nuc": "nuc", "columns": 1, "smallest_column": -1, "rows": inf, "smallest_row": -inf, "largest": 2, "smallest": -2}.items():
    case(f"linalg_matrix_norm.{name}", F(2, 3, 4), run=lambda x, o=order: torch.linalg.matrix_norm(x, o))
    case(f"linalg_matrix_norm.{name}_placed", F(3, 2, 4), run=lambda x, o=order: torch.linalg.matrix_norm(x, o, (2, 0), True))
case("linalg_matrix_norm.third", F(2, 3), run=lambda x: torch.linalg.matrix_norm(x, 3))
case("linalg_norm", F(2, 3, 2), run=torch.linalg.norm)
case("linalg_norm.of_vector", F(4), run=lambda x: torch.linalg.norm(x, 3))
case("linalg_norm.of_matrix", F(2, 3), run=lambda x: torch.linalg.norm(x, "nuc"))
case("linalg_norm.of_rows", F(2, 3), run=lambda x: torch.linalg.norm(x, inf, 1))
case("linalg_norm.three_dimensions", F(2, 3, 2), run=lambda x: torch.linalg.norm(x, 2))
case("view.as_int", F(2, 4), run=lambda x: x.view(torch.int32).clone())
case("view.as_byte", F(2, 4), run=lambda x: x.view(torch.uint8).clone())
case("view.as_long", F(2, 4), run=lambda x: x.view(torch.int64).clone())
case("view.not_divisible", F(2, 3), run=lambda x: x.float().view(torch.int64))

# ---- Chapters 90 and 82: divisors, and the value that occurs most often.
least = -2**63
case("gcd", L([[12, -18, 0, 7]]), L([[18], [12], [0]]), run=torch.gcd)
case("gcd.least", L([least, least, 0]), L([6, 7, least]), run=torch.gcd)
case("gcd.small", L([-128, 100, -128]).to(torch.int8), L([0, -75, -128]).to(torch.int8), run=torch.gcd)
case("gcd.mixed", L([12, 255]).to(torch.uint8), L([-18, 51]).to(torch.int8), run=torch.gcd)
case("gcd.floating", F(2), F(2), run=torch.gcd)
case("gcd.sizes_differ", L([1, 2]), L([1, 2, 3]), run=torch.gcd)
case("lcm", L([[12, -18, 0, 7]]), L([[18], [12], [0]]), run=torch.lcm)
case("lcm.wraps", L([least, 2**62]), L([6, 3]), run=torch.lcm)
case("lcm.small", L([100, -128]).to(torch.int8), L([7, 3]).to(torch.int8), run=torch.lcm)
case("lcm.bytes", L([100, 9]).to(torch.uint8), L([7, 6]).to(torch.uint8), run=torch.lcm)
case("lcm.floating", F(2), F(2), run=torch.lcm)
case("mode", D([[3.0, 1.0, 3.0, 1.0], [2.0, 2.0, 5.0, 0.0]]), run=torch.mode)
case("mode.first", D([[3.0, 1.0], [2.0, 1.0], [3.0, 4.0]]), run=lambda x: torch.mode(x, 0, True))
case("mode.many", D([i * 5 % 7 for i in range(60)]), run=torch.mode)
case("mode.nothing", F(2, 0), run=torch.mode)
case("resample", F(2, 4, 3), run=lambda x: torch.einsum("ij,njk->nik", torch.tensor([[0.5, 0, 2.0, 0], [0, 0, 0, 0], [0, 1.75, 0, -1.0]], dtype=x.dtype), x))
case(
    "read_bilinear", F(1, 2, 12), F(1, 4), F(1, 4),
    run=lambda a, y, x: F_.grid_sample(a.view(1, 2, 3, 4), torch.stack([x * (2 / 3) - 1, y - 1], -1).view(1, 1, 4, 2), align_corners=True).view(1, 2, 4),
)


if __name__ == "__main__":
    recording.main(FILE, lambda: {"cases": base.record(CASES)}, recording.row_by_row)
