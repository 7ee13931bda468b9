#!/usr/bin/env python3
"""Records what PyTorch gives for functions that are composed of operators, in tests/golden/composed_operators.json, in the form of operators.json.

    python tests/golden/record_composed_operators.py             # writes the file
    python tests/golden/record_composed_operators.py --check     # fails when PyTorch gives something else than the file says

What is recorded of a case is said in record_operators.py, whose functions do it; the rows are in tests/package/cases_composed.cpp. Needs torch.
"""
import pathlib

import recording

recording.needs("torch")

import torch

import record_operators as base
from record_operators import B, D, F, L, P, U

FILE = pathlib.Path(__file__).with_name("composed_operators.json")
CASES = {}
base.numbers.calls = 20000  # inputs of their own, whatever the other scripts have
nan, inf = float("nan"), float("inf")


def case(name, *inputs, run):
    assert name not in CASES, name
    CASES[name] = (inputs, run)


# ---- Shapes and parts.
case("atleast_1d", D(1.5), run=torch.atleast_1d)
case("atleast_2d", F(3), run=torch.atleast_2d)
case("atleast_3d", F(2, 3), run=torch.atleast_3d)
case("atleast_3d.one_dimension", F(3), run=torch.atleast_3d)
case("broadcast_tensors", F(3, 1), F(2), run=lambda x, y: torch.broadcast_tensors(x, y))
case("broadcast_tensors.sizes_differ", F(3), F(2), run=lambda x, y: torch.broadcast_tensors(x, y))
case("broadcast_to", F(3, 1), run=lambda x: torch.broadcast_to(x, (2, 3, 2)))
case("movedim", F(2, 3, 4), run=lambda x: torch.movedim(x, (0, 1), (2, 0)))
case("movedim.one", F(2, 3, 4), run=lambda x: torch.movedim(x, -1, 0))
case("movedim.repeated", F(2, 3, 4), run=lambda x: torch.movedim(x, (0, 0), (1, 2)))
case("unflatten", F(2, 6), run=lambda x: x.unflatten(1, (2, -1)))
case("unflatten.wrong_size", F(2, 6), run=lambda x: x.unflatten(1, (4, 2)))
case("ravel", F(2, 3), run=torch.ravel)
case("unfold", F(2, 7), run=lambda x: x.unfold(1, 3, 2))
case("unfold.overlapping", F(5, 2), run=lambda x: x.unfold(0, 4, 1))
case("unfold.too_long", F(2, 3), run=lambda x: x.unfold(1, 4, 1))
case("diag", F(3), run=torch.diag)
case("diag.of_matrix", F(3, 4), run=lambda x: torch.diag(x, 1))
case("diag.three_dimensions", F(2, 2, 2), run=torch.diag)
case("diagflat", F(2, 2), run=lambda x: torch.diagflat(x, -1))
case("diag_embed", F(2, 3), run=lambda x: torch.diag_embed(x))
case("diag_embed.placed", F(2, 3), run=lambda x: torch.diag_embed(x, 1, 0, 2))
case("trace", F(3, 4), run=torch.trace)
case("trace.of_vector", F(3), run=torch.trace)
case("fliplr", F(2, 3), run=torch.fliplr)
case("fliplr.of_vector", F(3), run=torch.fliplr)
case("flipud", F(2, 3), run=torch.flipud)
case("tile", F(2, 3), run=lambda x: torch.tile(x, (2,)))
case("tile.more_dimensions", F(2), run=lambda x: torch.tile(x, (2, 1, 2)))
case("repeat_interleave", F(2, 3), run=lambda x: torch.repeat_interleave(x, 2, 1))
case("repeat_interleave.flat", F(2, 2), run=lambda x: torch.repeat_interleave(x, 3))
case("repeat_interleave.each", F(3, 2), L([2, 0, 1]), run=lambda x, n: torch.repeat_interleave(x, n, 0))
case("repeat_interleave.wrong_count", F(3, 2), L([2, 1]), run=lambda x, n: torch.repeat_interleave(x, n, 0))

# ---- Joining and dividing.
case("hstack", F(2, 2), F(2, 3), run=lambda x, y: torch.hstack([x, y]))
case("hstack.vectors", F(2), F(3), run=lambda x, y: torch.hstack([x, y]))
case("vstack", F(3), F(2, 3), run=lambda x, y: torch.vstack([x, y]))
case("dstack", F(2, 3), F(2, 3), run=lambda x, y: torch.dstack([x, y]))
case("column_stack", F(3), F(3, 2), run=lambda x, y: torch.column_stack([x, y]))
case("block_diag", F(2, 3), F(2), D(1.25), run=lambda x, y, z: torch.block_diag(x, y, z))
case("cartesian_prod", F(2), F(3), run=lambda x, y: torch.cartesian_prod(x, y))
case("combinations", F(4), run=lambda x: torch.combinations(x, 2))
case("combinations.replaced", F(3), run=lambda x: torch.combinations(x, 3, True))
case("combinations.of_matrix", F(2, 2), run=lambda x: torch.combinations(x))
case("meshgrid", F(2), F(3), run=lambda x, y: torch.meshgrid([x, y], indexing="ij"))
case("meshgrid.xy", F(2), F(3), run=lambda x, y: torch.meshgrid([x, y], indexing="xy"))
case("tensor_split", F(7, 2), run=lambda x: torch.tensor_split(x, 3))
case("tensor_split.at", F(2, 7), run=lambda x: torch.tensor_split(x, (1, 4, 9), 1))
case("hsplit", F(2, 4), run=lambda x: torch.hsplit(x, 2))
case("hsplit.uneven", F(2, 4), run=lambda x: torch.hsplit(x, 3))
case("vsplit", F(4, 2), run=lambda x: torch.vsplit(x, (1, 3)))
case("vsplit.of_vector", F(4), run=lambda x: torch.vsplit(x, 2))
case("dsplit", F(2, 1, 4), run=lambda x: torch.dsplit(x, 2))

# ---- Elements by index.
case("argwhere", D([[1.0, 0.0, 2.0], [0.0, 0.0, -1.0]]), run=torch.argwhere)
case("index_copy", F(4, 2), L([3, 0]), F(2, 2), run=lambda x, i, y: x.index_copy(0, i, y))
case("index_copy.sizes_differ", F(4, 2), L([3, 0]), F(3, 2), run=lambda x, i, y: x.index_copy(0, i, y))
case("index_fill", F(2, 4), L([1, 3]), run=lambda x, i: x.index_fill(1, i, 0.25))
case("index_fill.out_of_range", F(2, 4), L([4]), run=lambda x, i: x.index_fill(1, i, 0.25))
case("index_put", F(3, 4), L([0, 2]), L([1, 3]), F(2), run=lambda x, i, j, y: x.index_put((i, j), y))
case("index_put.accumulate", F(3, 2), L([2, 0, 2]), F(3, 2), run=lambda x, i, y: x.index_put((i,), y, True))
case("masked_scatter", F(2, 3), B([[True, False, True], [False, True, False]]), F(4), run=lambda x, m, y: x.masked_scatter(m, y))
case("select_scatter", F(2, 3), F(2), run=lambda x, y: torch.select_scatter(x, y, 1, -1))
case("slice_scatter", F(5, 2), F(2, 2), run=lambda x, y: torch.slice_scatter(x, y, 0, 1, 5, 2))
case("diagonal_scatter", F(3, 3), F(2), run=lambda x, y: torch.diagonal_scatter(x, y, 1))
case("take", F(2, 3), L([[5, 0], [-1, 2]]), run=lambda x, i: torch.take(x, i))
case("take.out_of_range", F(2, 3), L([6]), run=lambda x, i: torch.take(x, i))
case("take_along_dim", F(2, 3), L([[2, 0], [1, 1]]), run=lambda x, i: torch.take_along_dim(x, i, 1))
case("take_along_dim.flat", F(2, 3), L([5, 0]), run=lambda x, i: torch.take_along_dim(x, i))
case("one_hot", L([2, 0, 1]), run=lambda x: torch.nn.functional.one_hot(x, 4))
case("one_hot.counted", L([[2, 0], [1, 1]]), run=lambda x: torch.nn.functional.one_hot(x))
case("one_hot.too_few", L([2, 0]), run=lambda x: torch.nn.functional.one_hot(x, 2))

# ---- Element by element.
case("deg2rad", F(4), run=torch.deg2rad)
case("rad2deg", F(4), run=torch.rad2deg)
case("float_power", P(3), P(3), run=torch.float_power)
case("float_power.scalar", F(3), run=lambda x: torch.float_power(x, 3))
case("fmax", F(4), F(4), run=torch.fmax)
case("fmax.nan", D([nan, 1.0, nan]), D([2.0, nan, nan]), run=torch.fmax)
case("fmin", F(4), F(4), run=torch.fmin)
case("fmin.nan", D([nan, 1.0, nan]), D([2.0, nan, nan]), run=torch.fmin)
case("frac", F(5), run=torch.frac)
case("heaviside", D([-1.0, 0.0, 2.0]), D([0.5, 0.25, 0.5]), run=torch.heaviside)
case("isclose", D([1.0, 2.0, nan, inf]), D([1.0000001, 2.1, nan, inf]), run=torch.isclose)
case("isclose.equal_nan", D([1.0, nan]), D([1.1, nan]), run=lambda x, y: torch.isclose(x, y, 0.2, 0, True))
case("isin", L([[1, 2], [3, 4]]), L([2, 4, 4]), run=torch.isin)
case("isin.invert", F(4), F(2), run=lambda x, y: torch.isin(x, torch.cat([y, x[:1]]), invert=True))
case("isneginf", D([-inf, inf, nan, 1.0]), run=torch.isneginf)
case("isposinf", D([-inf, inf, nan, 1.0]), run=torch.isposinf)
case("isreal", D([-inf, inf, nan, 1.0]), run=torch.isreal)
case("logaddexp", F(4), F(4), run=torch.logaddexp)
case("logaddexp.infinite", D([-inf, inf, -inf, 800.0]), D([-inf, inf, 1.0, 799.0]), run=torch.logaddexp)
case("logaddexp2", F(4), F(4), run=torch.logaddexp2)
case("logit", U(4), run=torch.logit)
case("logit.eps", D([0.0, 0.3, 1.0]), run=lambda x: torch.logit(x, 0.01))
case("logsigmoid", F(5), run=torch.nn.functional.logsigmoid)
case("logsigmoid.large", D([-900.0, 900.0]), run=torch.nn.functional.logsigmoid)
case("nan_to_num", D([nan, inf, -inf, 1.5]), run=torch.nan_to_num)
case("nan_to_num.given", D([nan, inf, -inf, 1.5]), run=lambda x: torch.nan_to_num(x, 0.5, 2.0, -3.0))
case("signbit", D([-0.0, 0.0, -2.0, nan]), run=torch.signbit)
case("sinc", F(4), run=torch.sinc)
case("sinc.zero", D([0.0, 1.0, 0.5]), run=torch.sinc)
case("xlogy", F(4), P(4), run=torch.xlogy)
case("xlogy.zero", D([0.0, 0.0, 2.0, 0.0]), D([0.0, nan, 0.5, -1.0]), run=torch.xlogy)

# ---- Reductions, counts and order.
case("aminmax", F(3, 4), run=lambda x: torch.aminmax(x))
case("aminmax.dim", F(3, 4), run=lambda x: torch.aminmax(x, dim=1, keepdim=True))
case("aminmax.nan", D([1.0, nan, 3.0]), run=lambda x: torch.aminmax(x))
case("count_nonzero", D([[1.0, 0.0], [0.0, 0.0], [nan, 2.0]]), run=torch.count_nonzero)
case("count_nonzero.dim", D([[1.0, 0.0], [0.0, 0.0], [nan, 2.0]]), run=lambda x: torch.count_nonzero(x, (0,)))
case("nansum", D([[1.0, nan], [2.0, 4.0]]), run=torch.nansum)
case("nansum.dim", D([[1.0, nan], [nan, nan]]), run=lambda x: torch.nansum(x, 1, True))
case("nanmean", D([[1.0, nan], [2.0, 4.0]]), run=torch.nanmean)
case("nanmean.dim", D([[1.0, nan], [nan, nan]]), run=lambda x: torch.nanmean(x, 1))
case("nanmedian", D([3.0, nan, 1.0, 2.0, 7.0]), run=torch.nanmedian)
case("median", F(6), run=torch.median)
case("median.nan", D([3.0, nan, 1.0]), run=torch.median)
case("median.dim", F(2, 5), run=lambda x: torch.median(x, 1))
case("kthvalue", F(2, 5), run=lambda x: torch.kthvalue(x, 2))
case("kthvalue.kept", F(4, 2), run=lambda x: torch.kthvalue(x, 4, 0, True))
case("kthvalue.too_far", F(3), run=lambda x: torch.kthvalue(x, 4))
case("quantile", F(7), run=lambda x: torch.quantile(x, 0.3))
case("quantile.dim", F(3, 4), run=lambda x: torch.quantile(x, 0.6, 1, True))
case("quantile.several", F(5), run=lambda x: torch.quantile(x, torch.tensor([0.0, 0.5, 0.9], dtype=x.dtype)))
case("quantile.lower", F(6), run=lambda x: torch.quantile(x, 0.5, interpolation="lower"))
case("quantile.out_of_range", F(3), run=lambda x: torch.quantile(x, 1.5))
case("std_mean", F(3, 4), run=lambda x: torch.std_mean(x, (1,)))
case("std_mean.biased", F(3, 4), run=lambda x: torch.std_mean(x, (0,), False, True))
case("cummax", F(2, 5), run=lambda x: torch.cummax(x, 1))
case("cummax.ties", D([1.0, 3.0, 3.0, nan, 5.0]), run=lambda x: torch.cummax(x, 0))
case("cummin", F(4, 2), run=lambda x: torch.cummin(x, 0))
case("logcumsumexp", F(2, 4), run=lambda x: torch.logcumsumexp(x, 1))
case("logcumsumexp.infinite", D([-inf, 1.0, 700.0, 710.0]), run=lambda x: torch.logcumsumexp(x, 0))
case("diff", F(2, 5), run=lambda x: torch.diff(x))
case("diff.twice", F(5, 2), run=lambda x: torch.diff(x, 2, 0))
case("trapezoid", F(2, 5), run=lambda y: torch.trapezoid(y, dx=0.5))
case("trapezoid.places", F(2, 4), F(4), run=lambda y, x: torch.trapezoid(y, x))
case("bincount", L([3, 0, 3, 1]), run=lambda x: torch.bincount(x, minlength=6))
case("bincount.weighted", L([3, 0, 3, 1]), P(4), run=lambda x, w: torch.bincount(x, w.detach()))
case("bincount.negative", L([3, -1]), run=torch.bincount)
case("histc", F(9), run=lambda x: torch.histc(x.detach(), 5, -2, 2))
case("histc.own_range", F(9), run=lambda x: torch.histc(x.detach(), 4))
case("bucketize", F(4), D([-1.0, 0.0, 1.0]), run=lambda x, b: torch.bucketize(x.detach(), b.detach()))
case("searchsorted", D([[-1.0, 0.0, 1.0], [0.0, 0.5, 2.0]]), D([[0.0, 3.0], [0.5, 0.4]]), run=lambda s, x: torch.searchsorted(s.detach(), x.detach(), right=True))
case("searchsorted.int", D([-1.0, 0.0, 1.0]), F(2, 2), run=lambda s, x: torch.searchsorted(s.detach(), x.detach(), out_int32=True))
case("unique_consecutive", L([1, 1, 2, 2, 2, 1]), run=lambda x: torch.unique_consecutive(x, return_inverse=True, return_counts=True))
case("unique_dim", L([[1, 2], [0, 1], [1, 2]]), run=lambda x: torch.unique(x, dim=0, return_inverse=True, return_counts=True))

# ---- Products. (PyTorch fails to differentiate vander: it writes over what its own gradient needs.)
case("addmv", F(2), F(2, 3), F(3), run=lambda x, a, v: torch.addmv(x, a, v, beta=0.5, alpha=2))
case("addr", F(2, 3), F(2), F(3), run=lambda x, v, w: torch.addr(x, v, w, beta=0.5, alpha=2))
case("addbmm", F(2, 2), F(3, 2, 4), F(3, 4, 2), run=lambda x, a, b: torch.addbmm(x, a, b, beta=0.5, alpha=2))
case("baddbmm", F(3, 2, 2), F(3, 2, 4), F(3, 4, 2), run=lambda x, a, b: torch.baddbmm(x, a, b, beta=0.5, alpha=2))
case("baddbmm.sizes_differ", F(3, 2, 2), F(3, 2, 4), F(3, 3, 2), run=torch.baddbmm)
case("chain_matmul", F(2, 3), F(3, 4), F(4, 1), run=lambda a, b, c: torch.linalg.multi_dot([a, b, c]))
case("cross", F(2, 3), F(2, 3), run=lambda x, y: torch.cross(x, y, dim=1))
case("cross.sizes", F(2, 2), F(2, 2), run=lambda x, y: torch.cross(x, y, dim=1))
case("dist", F(2, 3), F(2, 3), run=lambda x, y: torch.dist(x, y, 3))
case("ger", F(2), F(3), run=torch.ger)
case("inner", F(2, 3), F(4, 3), run=torch.inner)
case("kron", F(2, 2), F(2, 3), run=torch.kron)
case("matrix_power", F(3, 3), run=lambda x: torch.matrix_power(x, 3))
case("matrix_power.zero", F(2, 2), run=lambda x: torch.matrix_power(x, 0))
case("matrix_power.inverse", F(3, 3), run=lambda x: torch.matrix_power(x + 3 * torch.eye(x.size(-1), dtype=x.dtype), -2))
case("matrix_power.not_square", F(2, 3), run=lambda x: torch.matrix_power(x, 2))
case("tensordot", F(2, 3, 4), F(4, 3, 2), run=lambda x, y: torch.tensordot(x, y, ([1, 2], [1, 0])))
case("tensordot.sizes_differ", F(2, 3), F(4, 2), run=lambda x, y: torch.tensordot(x, y, ([1], [0])))
case("vander", F(3), run=lambda x: torch.vander(x.detach()))
case("vander.increasing", F(3), run=lambda x: torch.vander(x.detach(), 4, True))
case("vdot", F(3), F(3), run=torch.vdot)
case("linalg_matrix_exp", F(3, 3), run=torch.linalg.matrix_exp)
case("linalg_matrix_exp.batch", F(2, 2, 2), run=lambda x: torch.linalg.matrix_exp(x * 3))
case("linalg_lstsq", F(4, 2), F(4, 3), run=lambda a, b: torch.linalg.lstsq(a, b)[0])
case("linalg_lstsq.residuals", F(4, 2), F(4, 3), run=lambda a, b: torch.linalg.lstsq(a.detach(), b.detach())[1])
case("linalg_lstsq.batch", F(2, 3, 3), F(2, 3, 1), run=lambda a, b: torch.linalg.lstsq(a + 3 * torch.eye(a.size(-1), dtype=a.dtype), b)[0])

# ---- Numbers from nothing.
for window in ("hann", "hamming", "blackman", "bartlett"):
    case(f"{window}_window", L([0]), run=lambda x, f=getattr(torch, f"{window}_window"): f(7, dtype=torch.float64))
    case(f"{window}_window.symmetric", L([0]), run=lambda x, f=getattr(torch, f"{window}_window"): f(6, False, dtype=torch.float64))
case("tril_indices", L([0]), run=lambda x: torch.tril_indices(3, 4, 1))
case("triu_indices", L([0]), run=lambda x: torch.triu_indices(3, 4, -1))

# ---- Shifted along dimensions, and products across.
case("roll", F(2, 3), run=lambda x: torch.roll(x, 1, 1))
case("roll.flat", F(2, 3), run=lambda x: torch.roll(x, -2))
case("roll.dimensions", F(3, 4, 2), run=lambda x: torch.roll(x, (2, -1), (0, -2)))
case("roll.twice", F(3, 4), run=lambda x: torch.roll(x, (1, 5, 1), (1, 0, 1)))
case("roll.stays", F(3, 4), run=lambda x: torch.roll(x, (3, -8), (0, 1)))
case("roll.turned", F(3, 4), run=lambda x: torch.roll(x.t(), (1, 1), (0, 1)))
case("roll.none", F(0, 3), run=lambda x: torch.roll(x, (1, 1), (0, 1)))
case("roll.counts_differ", F(3, 4), run=lambda x: torch.roll(x, (1, 1), (0,)))
case("cross.first", F(3, 2), F(3, 2), run=lambda x, y: torch.cross(x, y, dim=0))
case("cross.middle", F(2, 3, 2), F(2, 3, 2), run=lambda x, y: torch.cross(x, y, dim=-2))
case("cross.broadcast", F(2, 3), F(1, 3), run=lambda x, y: torch.linalg.cross(x, y))
case("diag_embed.below", F(2), run=lambda x: torch.diag_embed(x, -1, 1, 0))
case("logit.special", D([0.0, 1.0, -0.5, 1.5, nan, 0.25]), run=torch.logit)
case("logit.outside", D([0.0, 0.1, -0.5, 1.5, 0.9, 0.25]), run=lambda x: torch.logit(x, 0.1))


def record():
    """Without integers in place of NaN and infinities, which no conversion defines."""
    recorded = base.record(CASES)
    for name, (inputs, _) in CASES.items():
        if all(torch.isfinite(x).all() for x in inputs):
            continue
        for variant in ("Long", "Int", "Byte"):
            recorded[name].pop(variant, None)
    return {"cases": recorded}


if __name__ == "__main__":
    recording.main(FILE, record, recording.row_by_row)
