#!/usr/bin/env python3
"""Records what PyTorch's operators give in tests/golden/operators.json, which the tests in tests/package compare with.

    python tests/golden/record_operators.py             # writes the file
    python tests/golden/record_operators.py --check     # fails when PyTorch gives something else than the file says

A case is named after its operator, "add" or "add.alpha", and has the same name in the table in tests/package. From one
call on its inputs the script records the result for float64, float32 and both half precisions, for integers and bools in place of the
floating-point inputs, for 0-d and for empty inputs; the gradients of a weighted sum of the float64 results; whether the results share storage with the inputs; and where
PyTorch refuses, the first sentence of its error. Beside the cases stand the dtypes of results of pairs of dtypes. Needs torch.
"""
import math
import pathlib

import recording

recording.needs("torch")

import torch

FILE = pathlib.Path(__file__).with_name("operators.json")
CASES = {}
NAMES = {torch.float64: "Double", torch.float32: "Float", torch.int64: "Long", torch.int32: "Int", torch.int16: "Short",
         torch.int8: "Char", torch.uint8: "Byte", torch.bool: "Bool", torch.float16: "Half", torch.bfloat16: "BFloat16"}
OTHER_TYPES = {"Float": torch.float32, "Half": torch.float16, "BFloat16": torch.bfloat16, "Long": torch.int64, "Int": torch.int32, "Short": torch.int16,
               "Char": torch.int8, "Byte": torch.uint8, "Bool": torch.bool}
DIGITS = {torch.float32: 9, torch.float16: 5, torch.bfloat16: 4}  # which tell any two numbers of the dtype apart


# ---- Inputs.

def scattered(count, seed):
    """Distinct numbers of [0, 1) with three digits, in no order."""
    return torch.tensor([((i * 379 + seed * 211 + 97) % 1009) / 1009 for i in range(count)], dtype=torch.float64)


def numbers(shape, low, high):
    count = math.prod(shape)
    numbers.calls += 1
    return (low + (high - low) * scattered(count, numbers.calls)).mul(1000).round().div(1000).reshape(shape)


numbers.calls = 0


def F(*shape):
    return numbers(shape, -2, 2)


def P(*shape):
    return numbers(shape, 0.3, 2.3)


def U(*shape):
    return numbers(shape, 0.05, 0.95)


def D(values):
    return torch.tensor(values, dtype=torch.float64)


def L(values):
    return torch.tensor(values, dtype=torch.int64)


def B(values):
    return torch.tensor(values, dtype=torch.bool)


def case(name, *inputs, run):
    assert name not in CASES, name
    CASES[name] = (inputs, run)


# ---- Variants of the inputs. tests/package/recorded.cpp makes the same ones.

def with_floats(inputs, change):
    return [change(x) if x.is_floating_point() else x for x in inputs]


def as_type(x, dtype):
    if dtype == torch.bool:
        return x > 0
    if dtype == torch.uint8:
        return (x * 3).abs().to(dtype)
    if not dtype.is_floating_point:
        return (x * 3).to(dtype)
    return x.to(dtype)


def variants(inputs):
    yield "Double", list(inputs)
    if not any(x.is_floating_point() for x in inputs):
        return
    for name, dtype in OTHER_TYPES.items():
        yield name, with_floats(inputs, lambda x: as_type(x, dtype))
    if all(x.is_floating_point() and x.numel() > 0 for x in inputs):
        yield "0-d", [x.reshape(-1)[0].clone() for x in inputs]
        if all(x.dim() > 0 for x in inputs):
            yield "empty", [x[:0].clone() for x in inputs]


# ---- Results.

def number(x):
    if isinstance(x, (bool, int)):
        return int(x)
    if math.isnan(x) or math.isinf(x):
        return str(x)
    return x


def written(tensor):
    tensor = tensor.detach()
    values = tensor.reshape(-1).tolist()
    if tensor.dtype in DIGITS:
        values = [float(f"{v:.{DIGITS[tensor.dtype]}g}") for v in values]
    return [NAMES[tensor.dtype], list(tensor.shape), [number(v) for v in values]]


def outputs_of(result):
    if isinstance(result, bool):
        return [torch.tensor(result)]
    return [result] if isinstance(result, torch.Tensor) else list(result)


def first_sentence(error):
    return str(error).split("\n")[0].split(". ")[0].rstrip(".")


def attempt(run, inputs):
    torch.manual_seed(7)
    try:
        return [written(x) for x in outputs_of(run(*[x.clone() for x in inputs]))]
    except (RuntimeError, IndexError, ValueError, TypeError, NotImplementedError) as error:
        return {"error": first_sentence(error)}


def weights(tensor):
    return (torch.arange(tensor.numel(), dtype=torch.float64) * 0.37 + 0.5).reshape(tensor.shape)


def gradients(run, inputs):
    """Of sum(weights * outputs), for each floating-point input; None where PyTorch has no gradient."""
    floats = [i for i, x in enumerate(inputs) if x.is_floating_point()]
    for wanted in (floats, floats[:1]):  # weights of losses take no gradient
        leaves = [x.clone().requires_grad_(i in wanted) for i, x in enumerate(inputs)]
        torch.manual_seed(7)
        try:
            results = [x for x in outputs_of(run(*[x.clone() for x in leaves])) if x.requires_grad]
            if not results:
                return None
            total = sum((x * weights(x)).sum() for x in results)
            got = dict(zip(wanted, torch.autograd.grad(total, [leaves[i] for i in wanted], allow_unused=True)))
        except RuntimeError as error:
            assert "is not implemented" in str(error) or "not differentiable" in str(error), error
            continue
        return [None if got.get(i) is None else written(got[i]) for i in floats]
    return None


def shares_storage(run, inputs):
    """For each result, whether it lies in the storage of an input."""
    torch.manual_seed(7)
    inputs = [x.clone() for x in inputs]
    storages = {x.untyped_storage().data_ptr() for x in inputs if x.numel() > 0}
    return [int(x.untyped_storage().data_ptr() in storages) for x in outputs_of(run(*inputs))]


# For two operands of each pair of dtypes, in the order of NAMES: the dtype of the result, or "-" where PyTorch refuses.
BINARY = {"add": torch.add, "sub": torch.sub, "mul": torch.mul, "div": torch.div, "pow": torch.pow, "remainder": torch.remainder,
          "maximum": torch.maximum, "eq": torch.eq, "logical_and": torch.logical_and, "bitwise_and": torch.bitwise_and,
          "where": lambda x, y: torch.where(x > 0, x, y), "cat": lambda x, y: torch.cat([x.reshape(1), y.reshape(1)])}


def promotion():
    def result_dtype(function, left, right):
        try:
            return NAMES[function(left, right).dtype]
        except RuntimeError:
            return "-"

    table = {}
    for name, function in BINARY.items():
        for form, left, right in (("1-d with 1-d", (1,), (1,)), ("1-d with 0-d", (1,), ()), ("0-d with 1-d", (), (1,))):
            rows = [[result_dtype(function, torch.ones(left, dtype=a), torch.ones(right, dtype=b)) for b in NAMES] for a in NAMES]
            table[f"{name}, {form}"] = [" ".join(row) for row in rows]
        if name in ("add", "sub", "mul", "div", "pow", "remainder", "eq"):
            rows = [[result_dtype(function, torch.ones(1, dtype=a), scalar) for scalar in (True, 1, 1.0)] for a in NAMES]
            table[f"{name}, 1-d with a number"] = [" ".join(row) for row in rows]
    return table


def record(cases):
    recorded = {}
    for name, (inputs, run) in cases.items():
        entry = {"inputs": [written(x) for x in inputs]}
        for variant, changed in variants(inputs):
            entry[variant] = attempt(run, changed)
            if isinstance(entry[variant], dict) and variant == "Double":
                break
        if isinstance(entry["Double"], list):
            entry["shares"] = shares_storage(run, inputs)
        if isinstance(entry["Double"], list) and any(x.is_floating_point() for x in inputs):
            got = gradients(run, inputs)
            if got is not None:
                entry["gradients"] = got
        recorded[name] = entry
    return recorded


# ---- Views and copies.

case("as_strided", F(2, 3), run=lambda x: x.as_strided((2, 2), (1, 2), 1))
case("as_strided.overlapping", F(5), run=lambda x: x.as_strided((3, 3), (1, 1)))
case("as_strided.too_large", F(4), run=lambda x: x.as_strided((3, 3), (2, 1)))
case("view", F(2, 6), run=lambda x: x.view(3, 4))
case("view.inferred", F(2, 6), run=lambda x: x.view(4, -1))
case("view.of_no_elements", F(0, 3), run=lambda x: x.view(3, 0))
case("view.wrong_size", F(2, 3), run=lambda x: x.view(4, 2))
case("view.two_inferred", F(2, 3), run=lambda x: x.view(-1, -1))
case("view.of_transposed", F(2, 3), run=lambda x: x.t().view(6))
case("expand", F(3, 1), run=lambda x: x.expand(2, 3, 4))
case("expand.keeps", F(3, 1), run=lambda x: x.expand(-1, 2))
case("expand.wrong_size", F(3, 2), run=lambda x: x.expand(3, 4))
case("permute", F(2, 3, 4), run=lambda x: x.permute(2, 0, 1))
case("permute.negative", F(2, 3, 4), run=lambda x: x.permute(-1, 0, -2))
case("permute.repeated", F(2, 3), run=lambda x: x.permute(0, 0))
case("permute.too_few", F(2, 3), run=lambda x: x.permute(0))
case("transpose", F(2, 3, 4), run=lambda x: x.transpose(0, -1))
case("transpose.out_of_range", F(2, 3), run=lambda x: x.transpose(0, 2))
case("t", F(2, 3), run=lambda x: x.t())
case("t.three_dimensions", F(2, 3, 4), run=lambda x: x.t())
case("select", F(2, 3, 4), run=lambda x: x.select(1, -1))
case("select.out_of_range", F(2, 3), run=lambda x: x.select(0, 2))
case("select.of_0d", D(1.5), run=lambda x: x.select(0, 0))
case("slice", F(5, 3), run=lambda x: x[1:5:2])
case("slice.negative", F(5, 3), run=lambda x: x[:, -2:])
case("slice.beyond", F(5, 3), run=lambda x: x[3:100])
case("slice.nothing", F(5, 3), run=lambda x: x[4:2])
case("narrow", F(5, 3), run=lambda x: x.narrow(0, 1, 3))
case("narrow.too_long", F(5, 3), run=lambda x: x.narrow(0, 3, 3))
case("squeeze", F(1, 3, 1), run=lambda x: x.squeeze())
case("squeeze.dim", F(1, 3, 1), run=lambda x: x.squeeze(-1))
case("squeeze.larger", F(1, 3, 1), run=lambda x: x.squeeze(1))
case("unsqueeze", F(2, 3), run=lambda x: x.unsqueeze(-1))
case("unsqueeze.out_of_range", F(2, 3), run=lambda x: x.unsqueeze(4))
case("reshape", F(2, 6), run=lambda x: x.reshape(3, -1))
case("reshape.of_transposed", F(2, 3), run=lambda x: x.t().reshape(-1))
case("reshape.wrong_size", F(2, 3), run=lambda x: x.reshape(5))
case("flatten", F(2, 3, 2), run=lambda x: x.flatten())
case("flatten.part", F(2, 3, 2), run=lambda x: x.flatten(1))
case("diagonal", F(3, 4), run=lambda x: x.diagonal())
case("diagonal.above", F(2, 3, 4), run=lambda x: x.diagonal(1, -2, -1))
case("diagonal.below", F(3, 4), run=lambda x: x.diagonal(-1))
case("chunk", F(5, 3), run=lambda x: x.chunk(3))
case("split", F(5, 3), run=lambda x: x.split(2))
case("split_with_sizes", F(5, 3), run=lambda x: x.split([1, 0, 4]))
case("split_with_sizes.wrong_sum", F(5, 3), run=lambda x: x.split([1, 2]))
case("unbind", F(2, 3), run=lambda x: x.unbind(1))
case("clone", F(2, 3), run=lambda x: x.clone())
case("contiguous", F(2, 3), run=lambda x: x.t().contiguous())
case("to_dtype", F(2, 3), run=lambda x: x.to(torch.float32))
case("to_dtype.long", F(2, 3), run=lambda x: x.to(torch.int64))
case("to_dtype.bool", D([0.0, -0.0, 0.5, math.nan]), run=lambda x: x.to(torch.bool))
case("copy_", F(2, 3), F(3), run=lambda x, y: x.copy_(y))
case("copy_.too_large", F(3), F(2, 3), run=lambda x, y: x.copy_(y))
case("fill_", F(2, 3), run=lambda x: x.fill_(1.5))
case("zero_", F(2, 3), run=lambda x: x.zero_())
case("cat", F(2, 3), F(2, 1), run=lambda x, y: torch.cat([x, y], 1))
case("cat.skips_empty", F(2, 3), D([]), run=lambda x, y: torch.cat([x, y]))
case("cat.one", F(2, 3), run=lambda x: torch.cat([x]))
case("cat.promotes", F(2), L([1, 2]), run=lambda x, y: torch.cat([x, y]))
case("cat.sizes_differ", F(2, 3), F(3, 2), run=lambda x, y: torch.cat([x, y]))
case("cat.of_nothing", run=lambda: torch.cat([]))
case("cat.of_0d", D(1.0), D(2.0), run=lambda x, y: torch.cat([x, y]))
case("stack", F(2, 3), F(2, 3), run=lambda x, y: torch.stack([x, y], 1))
case("stack.last", F(2), F(2), run=lambda x, y: torch.stack([x, y], -1))
case("stack.sizes_differ", F(2), F(3), run=lambda x, y: torch.stack([x, y]))
case("repeat", F(2, 3), run=lambda x: x.repeat(2, 1, 2))
case("flip", F(2, 3), run=lambda x: x.flip(0, 1))

# ---- Creation.

case("zeros", run=lambda: torch.zeros(2, 3))
case("ones", run=lambda: torch.ones(2, 0))
case("full", run=lambda: torch.full((2,), 1.5))
case("full.of_integer", run=lambda: torch.full((2,), 3))
case("full.of_bool", run=lambda: torch.full((2,), True))
case("zeros.negative", run=lambda: torch.zeros(2, -1))
case("arange", run=lambda: torch.arange(5))
case("arange.step", run=lambda: torch.arange(1.0, 2.0, 0.3))
case("arange.down", run=lambda: torch.arange(5, -1, -2))
case("arange.wrong_way", run=lambda: torch.arange(1, 5, -1))
case("arange.no_step", run=lambda: torch.arange(1, 5, 0))
case("linspace", run=lambda: torch.linspace(-1, 2, 7))
case("linspace.one", run=lambda: torch.linspace(3, 4, 1))
case("linspace.negative", run=lambda: torch.linspace(0, 1, -1))
case("eye", run=lambda: torch.eye(2, 3))
case("zeros_like", F(2, 3), run=lambda x: torch.zeros_like(x))
case("ones_like", F(2, 3), run=lambda x: torch.ones_like(x))
case("full_like", F(2, 3), run=lambda x: torch.full_like(x, 2))

# ---- Pointwise.

case("add", F(2, 3), F(3), run=lambda x, y: x + y)
case("add.alpha", F(2, 1), F(3), run=lambda x, y: torch.add(x, y, alpha=2))
case("add.scalar", F(2, 3), run=lambda x: x + 2)
case("add.real_scalar", F(2, 3), run=lambda x: x + 1.5)
case("add.sizes_differ", F(2, 3), F(2), run=lambda x, y: x + y)
case("sub", F(2, 3), F(2, 1), run=lambda x, y: torch.sub(x, y, alpha=3))
case("sub.from_scalar", F(2, 3), run=lambda x: 2 - x)
case("mul", F(2, 3), F(2, 3), run=lambda x, y: x * y)
case("mul.0d", F(2, 3), D(1.5), run=lambda x, y: x * y)
case("mul.scalar", F(2, 3), run=lambda x: x * 2)
case("div", F(2, 3), P(3), run=lambda x, y: x / y)
case("div.scalar", F(2, 3), run=lambda x: x / 4)
case("div.by_zero", D([1.0, -1.0, 0.0]), run=lambda x: x / 0.0)
case("div.scalar_by", P(2, 3), run=lambda x: 1 / x)
case("add_", F(2, 3), F(3), run=lambda x, y: x.add_(y, alpha=2))
case("add_.scalar", F(2, 3), run=lambda x: x.add_(1))
case("add_.too_large", F(3), F(2, 3), run=lambda x, y: x.add_(y))
case("add_.into_integers", L([1, 2]), D([0.5, 1.5]), run=lambda x, y: x.add_(y))
case("sub_", F(2, 3), F(3), run=lambda x, y: x.sub_(y))
case("mul_", F(2, 3), F(2, 1), run=lambda x, y: x.mul_(y))
case("div_", F(2, 3), P(2, 3), run=lambda x, y: x.div_(y))
case("pow", F(2, 3), run=lambda x: x.pow(3))
case("pow.fraction", P(2, 3), run=lambda x: x.pow(2.5))
case("pow.square", F(2, 3), run=lambda x: x.pow(2))
case("pow.zero", F(2, 3), run=lambda x: x.pow(0))
case("pow.half", P(2, 3), run=lambda x: x.pow(0.5))
case("pow.negative", P(2, 3), run=lambda x: x.pow(-1.0))
case("pow.negative_integer", L([1, 2]), run=lambda x: x.pow(-1))
case("pow_tensor", P(2, 3), F(3), run=lambda x, y: torch.pow(x, y))
case("pow_tensor.of_scalar", F(3), run=lambda x: torch.pow(2.0, x))
case("pow_tensor.zeros", D([0.0, 0.0, 2.0]), D([0.0, 2.0, 0.0]), run=lambda x, y: torch.pow(x, y))
for name in ("neg", "abs", "sign", "exp", "sin", "cos", "tan", "atan", "erf", "expm1", "floor", "ceil", "round", "trunc", "square",
             "isnan", "isinf", "isfinite", "logical_not"):
    case(name, F(2, 3), run=lambda x, f=getattr(torch, name): f(x))
    if name in ("isnan", "isinf", "isfinite", "logical_not", "sign", "round", "exp", "erf", "atan"):
        case(name + ".special", D([0.0, -0.0, math.inf, -math.inf, math.nan, 2.5, -1.5, 0.5]), run=lambda x, f=getattr(torch, name): f(x))
for name in ("log", "sqrt", "log1p", "log2", "log10", "reciprocal", "rsqrt"):
    case(name, P(2, 3), run=lambda x, f=getattr(torch, name): f(x))
    case(name + ".special", D([0.0, -0.0, math.inf, -math.inf, math.nan, -1.0, -2.0]), run=lambda x, f=getattr(torch, name): f(x))
case("abs.kink", D([-1.0, 0.0, 2.0]), run=lambda x: x.abs())
for name in ("exp_", "sin_", "cos_", "erf_", "floor_", "ceil_", "round_", "neg_", "abs_", "square_"):
    case(name, F(2, 3), run=lambda x, n=name: getattr(x, n)())
for name in ("log_", "sqrt_", "rsqrt_", "reciprocal_"):
    case(name, P(2, 3), run=lambda x, n=name: getattr(x, n)())
case("pow_", F(2, 3), run=lambda x: x.pow_(2))
case("clamp", F(2, 3), run=lambda x: x.clamp(-0.5, 0.7))
case("clamp.min", F(2, 3), run=lambda x: x.clamp(min=0.1))
case("clamp.max", F(2, 3), run=lambda x: x.clamp(max=0.1))
case("clamp.integers", F(2, 3), run=lambda x: x.clamp(-1, 1))
case("clamp.kinks", D([-1.0, -0.5, 0.0, 0.5, 2.0, math.nan]), run=lambda x: x.clamp(-0.5, 0.5))
case("clamp.crossed", F(2, 3), run=lambda x: x.clamp(1.0, -1.0))
case("clamp.without_bounds", F(2, 3), run=lambda x: x.clamp())
case("clamp_", F(2, 3), run=lambda x: x.clamp_(-0.5, 0.7))
case("clamp_min", F(2, 3), run=lambda x: x.clamp_min(0.2))
case("clamp_max", F(2, 3), run=lambda x: x.clamp_max(0.2))
case("maximum", F(2, 3), F(3), run=lambda x, y: torch.maximum(x, y))
case("maximum.ties", D([1.0, 2.0, 3.0]), D([1.0, 3.0, 2.0]), run=lambda x, y: torch.maximum(x, y))
case("maximum.nan", D([1.0, math.nan]), D([math.nan, 2.0]), run=lambda x, y: torch.maximum(x, y))
case("minimum", F(2, 3), F(3), run=lambda x, y: torch.minimum(x, y))
case("minimum.ties", D([1.0, 2.0, 3.0]), D([1.0, 3.0, 2.0]), run=lambda x, y: torch.minimum(x, y))
case("remainder", F(2, 3), P(3), run=lambda x, y: torch.remainder(x, y))
case("remainder.signs", L([7, -7, 7, -7]), L([3, 3, -3, -3]), run=lambda x, y: torch.remainder(x, y))
case("remainder.scalar", F(2, 3), run=lambda x: torch.remainder(x, 0.7))
case("floor_divide", F(2, 3), P(3), run=lambda x, y: torch.floor_divide(x, y))
case("floor_divide.signs", L([7, -7, 7, -7]), L([3, 3, -3, -3]), run=lambda x, y: torch.floor_divide(x, y))
case("floor_divide.by_zero", L([7]), L([0]), run=lambda x, y: torch.floor_divide(x, y))
case("lerp", F(2, 3), F(2, 3), run=lambda x, y: torch.lerp(x, y, 0.3))
case("lerp_", F(2, 3), F(3), run=lambda x, y: x.lerp_(y, 0.7))
case("addcmul", F(2, 3), F(2, 3), F(3), run=lambda x, y, z: torch.addcmul(x, y, z, value=0.5))
case("addcmul_", F(2, 3), F(2, 3), F(3), run=lambda x, y, z: x.addcmul_(y, z, value=2))
case("addcdiv", F(2, 3), F(2, 3), P(3), run=lambda x, y, z: torch.addcdiv(x, y, z, value=0.5))
case("addcdiv_", F(2, 3), F(2, 3), P(3), run=lambda x, y, z: x.addcdiv_(y, z, value=2.0))
for name in ("eq", "ne", "lt", "le", "gt", "ge"):
    case(name, D([[1.0, 2.0, 3.0], [-1.0, math.nan, 0.0]]), D([2.0, 2.0, 0.0]), run=lambda x, y, f=getattr(torch, name): f(x, y))
    case(name + ".scalar", F(2, 3), run=lambda x, f=getattr(torch, name): f(x, 0.5))
case("equal", F(2, 3), run=lambda x: torch.equal(x, x + 0))
case("equal.nan", D([math.nan]), run=lambda x: torch.equal(x, x + 0))
case("allclose", F(2, 3), run=lambda x: torch.allclose(x, x + 1e-9))
for name in ("logical_and", "logical_or", "logical_xor"):
    case(name, D([0.0, 0.0, 2.0, math.nan]), D([0.0, 1.0, 0.0, 1.0]), run=lambda x, y, f=getattr(torch, name): f(x, y))
for name in ("bitwise_and", "bitwise_or", "bitwise_xor"):
    case(name, L([12, -1, 5]), L([10, 6, 0]), run=lambda x, y, f=getattr(torch, name): f(x, y))
    case(name + ".bool", B([True, True, False]), B([True, False, False]), run=lambda x, y, f=getattr(torch, name): f(x, y))
    case(name + ".floating", F(2), F(2), run=lambda x, y, f=getattr(torch, name): f(x, y))
case("bitwise_not", L([0, 5, -1]), run=lambda x: torch.bitwise_not(x))
case("bitwise_not.bool", B([True, False]), run=lambda x: ~x)
case("where", B([[True, False, True], [False, True, False]]), F(2, 3), F(3), run=lambda c, x, y: torch.where(c, x, y))
case("where.scalar", B([True, False, True]), F(2, 3), run=lambda c, x: torch.where(c, x, 0.5))
case("where.not_bool", L([1, 0]), F(2), F(2), run=lambda c, x, y: torch.where(c, x, y))
case("masked_fill", F(2, 3), B([True, False, True]), run=lambda x, m: x.masked_fill(m, 0.5))
case("masked_fill_", F(2, 3), B([[True], [False]]), run=lambda x, m: x.masked_fill_(m, 2))
case("masked_fill.tensor", F(2, 3), B([True, False, True]), D(0.5), run=lambda x, m, v: x.masked_fill(m, v))
case("masked_fill.not_bool", F(2), L([0, 1]), run=lambda x, m: x.masked_fill(m, 1.0))

# ---- Reductions.

case("sum", F(2, 3, 2), run=lambda x: x.sum())
case("sum.dims", F(2, 3, 2), run=lambda x: x.sum((0, -1)))
case("sum.keepdim", F(2, 3, 2), run=lambda x: x.sum(1, keepdim=True))
case("sum.repeated", F(2, 3), run=lambda x: x.sum((0, 0)))
case("sum.out_of_range", F(2, 3), run=lambda x: x.sum(2))
case("mean", F(2, 3), run=lambda x: x.mean())
case("mean.dims", F(2, 3), run=lambda x: x.mean(0, keepdim=True))
case("mean.of_integers", L([1, 2]), run=lambda x: x.mean())
case("amax", F(2, 3), run=lambda x: x.amax(1))
case("amax.ties", D([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]), run=lambda x: x.amax(1))
case("amax.nan", D([1.0, math.nan, 3.0]), run=lambda x: x.amax())
case("amin", F(2, 3), run=lambda x: x.amin((0, 1), keepdim=True))
case("amin.ties", D([[1.0, 3.0, 1.0], [2.0, 2.0, 2.0]]), run=lambda x: x.amin(1))
case("max", F(2, 3), run=lambda x: x.max(1))
case("max.all", F(2, 3), run=lambda x: x.max())
case("max.all_ties", D([3.0, 1.0, 3.0]), run=lambda x: x.max())
case("max.ties", D([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]), run=lambda x: x.max(1, keepdim=True))
case("max.of_nothing", F(2, 0), run=lambda x: x.max())
case("max.of_no_column", F(2, 0), run=lambda x: x.max(1))
case("min", F(2, 3), run=lambda x: x.min(0))
case("min.all", F(2, 3), run=lambda x: x.min())
case("argmax", F(2, 3), run=lambda x: x.argmax(1))
case("argmax.all", F(2, 3), run=lambda x: x.argmax())
case("argmax.nan", D([1.0, math.nan, 3.0]), run=lambda x: x.argmax())
case("argmax.of_nothing", F(0), run=lambda x: x.argmax())
case("argmin", F(2, 3), run=lambda x: x.argmin(0, keepdim=True))
case("argmin.all", F(2, 3), run=lambda x: x.argmin())
case("prod", F(2, 3), run=lambda x: x.prod())
case("prod.dim", F(2, 3), run=lambda x: x.prod(1, keepdim=True))
case("prod.zeros", D([[0.0, 2.0, 3.0], [0.0, 0.0, 4.0]]), run=lambda x: x.prod(1))
case("any", D([[0.0, 0.0], [0.0, 2.0]]), run=lambda x: x.any(1))
case("any.all", D([[0.0, 0.0], [0.0, 2.0]]), run=lambda x: x.any())
case("all", D([[1.0, 0.0], [1.0, 2.0]]), run=lambda x: x.all(1))
case("all.all", D([[1.0, 0.0], [1.0, 2.0]]), run=lambda x: x.all())
case("var", F(3, 4), run=lambda x: x.var())
case("var.dim", F(3, 4), run=lambda x: x.var(1, unbiased=False, keepdim=True))
case("std", F(3, 4), run=lambda x: x.std())
case("std.dim", F(3, 4), run=lambda x: x.std(0, unbiased=False))
case("var_mean", F(3, 4), run=lambda x: torch.var_mean(x, 1))
case("norm", F(3, 4), run=lambda x: x.norm())
case("norm.one", F(3, 4), run=lambda x: x.norm(1, 1))
case("norm.three", F(3, 4), run=lambda x: x.norm(3, 0, keepdim=True))
case("norm.infinity", F(3, 4), run=lambda x: x.norm(math.inf, 1))
case("norm.zero", D([0.0, 2.0, 0.0]), run=lambda x: x.norm(0))
case("norm.of_zeros", D([0.0, 0.0]), run=lambda x: x.norm())
case("cumsum", F(2, 3), run=lambda x: x.cumsum(1))
case("cumsum.first", F(2, 3), run=lambda x: x.cumsum(0))
case("logsumexp", F(2, 3), run=lambda x: x.logsumexp(1))
case("logsumexp.dims", F(2, 3), run=lambda x: x.logsumexp((0, 1), keepdim=True))
case("logsumexp.large", D([[1000.0, 1000.0], [-1000.0, -1001.0], [-math.inf, -math.inf]]), run=lambda x: x.logsumexp(1))
case("sort", F(2, 4), run=lambda x: x.sort(1))
case("sort.descending", F(4), run=lambda x: x.sort(descending=True))
case("sort.stable", D([2.0, 1.0, 2.0, 1.0]), run=lambda x: torch.sort(x, stable=True))
case("argsort", F(2, 4), run=lambda x: x.argsort(1))
case("topk", F(2, 4), run=lambda x: x.topk(2, 1))
case("topk.smallest", F(2, 4), run=lambda x: x.topk(3, 1, largest=False))
case("topk.too_many", F(2, 4), run=lambda x: x.topk(5, 1))

# ---- Indexing.

case("index_select", F(3, 4), L([2, 0, 2]), run=lambda x, i: x.index_select(0, i))
case("index_select.columns", F(3, 4), L([3, 1]), run=lambda x, i: x.index_select(1, i))
case("index_select.out_of_range", F(3), L([3]), run=lambda x, i: x.index_select(0, i))
case("index_select.of_reals", F(3), D([1.0]), run=lambda x, i: x.index_select(0, i))
case("index_add_", F(3, 2), L([0, 2, 0]), F(3, 2), run=lambda x, i, s: x.index_add_(0, i, s))
case("index_add", F(3, 2), L([0, 2]), F(2, 2), run=lambda x, i, s: x.index_add(0, i, s, alpha=2))
case("gather", F(3, 4), L([[0, 3], [1, 1], [2, 0]]), run=lambda x, i: x.gather(1, i))
case("gather.out_of_range", F(3, 4), L([[4]]), run=lambda x, i: x.gather(1, i))
case("gather.dimensions_differ", F(3, 4), L([0]), run=lambda x, i: x.gather(1, i))
case("scatter_", F(3, 4), L([[0, 3], [1, 2]]), F(2, 2), run=lambda x, i, s: x.scatter_(1, i, s))
case("scatter", F(3, 4), L([[0, 3], [1, 2]]), F(2, 2), run=lambda x, i, s: x.scatter(1, i, s))
case("scatter.value", F(3, 4), L([[0, 3], [1, 2]]), run=lambda x, i: x.scatter(1, i, 9.0))
case("scatter_add_", F(3, 4), L([[0, 0], [1, 2]]), F(2, 2), run=lambda x, i, s: x.scatter_add_(1, i, s))
case("scatter_add", F(3, 4), L([[0, 2, 0, 1]]), F(1, 4), run=lambda x, i, s: x.scatter_add(0, i, s))
case("index", F(3, 4), L([2, 0]), run=lambda x, i: x[i])
case("index.second", F(3, 4), L([2, 0]), run=lambda x, i: x[:, i])
case("index.pairs", F(3, 4), L([2, 0]), L([1, 3]), run=lambda x, i, j: x[i, j])
case("index.broadcast", F(3, 4), L([[2], [0]]), L([1, 3]), run=lambda x, i, j: x[i, j])
case("index.mask", F(3, 4), B([True, False, True]), run=lambda x, m: x[m])
case("index.negative", F(3, 4), L([-1, -3]), run=lambda x, i: x[i])
case("index.out_of_range", F(3, 4), L([3]), run=lambda x, i: x[i])
case("index.mask_too_long", F(3, 4), B([True, False, True, True]), run=lambda x, m: x[m])
case("index.slices", F(3, 4), run=lambda x: x[1:, None, ..., ::2])
case("index.too_many", F(3, 4), run=lambda x: x[0, 0, 0])
case("index_put_", F(3, 4), L([2, 0]), F(2, 4), run=lambda x, i, v: x.index_put_((i,), v))
case("index_put_.accumulate", F(3, 4), L([2, 0, 2]), F(3, 4), run=lambda x, i, v: x.index_put_((i,), v, accumulate=True))
case("masked_select", F(2, 3), B([[True, False, True], [False, True, False]]), run=lambda x, m: x.masked_select(m))
case("nonzero", D([[0.0, 1.0], [2.0, 0.0]]), run=lambda x: x.nonzero())
case("tril", F(3, 4), run=lambda x: x.tril())
case("tril.above", F(2, 3, 3), run=lambda x: x.tril(1))
case("triu", F(3, 4), run=lambda x: x.triu(-1))

# ---- Matrices.

case("mm", F(2, 3), F(3, 4), run=lambda x, y: x.mm(y))
case("mm.inner_zero", F(2, 0), F(0, 3), run=lambda x, y: x.mm(y))
case("mm.inner_sizes_differ", F(2, 3), F(4, 5), run=lambda x, y: x.mm(y))
case("mm.of_vector", F(3), F(3, 2), run=lambda x, y: x.mm(y))
case("mm.dtypes_differ", F(2, 2), L([[1, 2], [3, 4]]), run=lambda x, y: x.mm(y))
case("bmm", F(2, 2, 3), F(2, 3, 2), run=lambda x, y: x.bmm(y))
case("bmm.batches_differ", F(2, 2, 3), F(3, 3, 2), run=lambda x, y: x.bmm(y))
case("matmul", F(2, 3), F(3, 4), run=lambda x, y: x.matmul(y))
case("matmul.vectors", F(3), F(3), run=lambda x, y: x.matmul(y))
case("matmul.vector_matrix", F(3), F(3, 2), run=lambda x, y: x.matmul(y))
case("matmul.matrix_vector", F(2, 3), F(3), run=lambda x, y: x.matmul(y))
case("matmul.batches", F(2, 1, 2, 3), F(3, 3, 2), run=lambda x, y: x.matmul(y))
case("matmul.batch_vector", F(2, 2, 3), F(3), run=lambda x, y: x.matmul(y))
case("matmul.inner_sizes_differ", F(2, 3), F(2, 3), run=lambda x, y: x.matmul(y))
case("matmul.batches_differ", F(2, 2, 3), F(3, 3, 2), run=lambda x, y: x.matmul(y))
case("addmm", F(4), F(2, 3), F(3, 4), run=lambda b, x, y: torch.addmm(b, x, y))
case("addmm.scaled", F(2, 4), F(2, 3), F(3, 4), run=lambda b, x, y: torch.addmm(b, x, y, beta=0.5, alpha=2))
case("addmm.inner_sizes_differ", F(2), F(2, 3), F(2, 2), run=lambda b, x, y: torch.addmm(b, x, y))
case("mv", F(2, 3), F(3), run=lambda x, y: x.mv(y))
case("dot", F(3), F(3), run=lambda x, y: x.dot(y))
case("dot.sizes_differ", F(3), F(2), run=lambda x, y: x.dot(y))
case("outer", F(2), F(3), run=lambda x, y: torch.outer(x, y))

# ---- Activations.

F_ = torch.nn.functional
SPECIAL = [0.0, 1000.0, -1000.0, math.inf, -math.inf, math.nan]
ACTIVATIONS = {
    "relu": torch.relu, "leaky_relu": lambda x: F_.leaky_relu(x, 0.1), "elu": lambda x: F_.elu(x, 0.7), "gelu": F_.gelu,
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "silu": F_.silu, "softplus": lambda x: F_.softplus(x, 2.0, 1.5)}
for name, f in ACTIVATIONS.items():
    case(name, F(2, 3), run=f)
    case(name + ".special", D(SPECIAL), run=f)
case("gelu.tanh", F(2, 3), run=lambda x: F_.gelu(x, approximate="tanh"))
case("relu_", F(2, 3), run=lambda x: torch.relu_(x))
for name in ("softmax", "log_softmax"):
    f = getattr(torch, name)
    case(name, F(2, 3), run=lambda x, f=f: f(x, 1))
    case(name + ".first", F(2, 3), run=lambda x, f=f: f(x, 0))
    case(name + ".middle", F(2, 3, 2), run=lambda x, f=f: f(x, -2))
    case(name + ".large", D([[1000.0, 1000.5], [-1000.0, 3.0], [-math.inf, 0.0], [-math.inf, -math.inf]]), run=lambda x, f=f: f(x, 1))
    case(name + ".out_of_range", F(2, 3), run=lambda x, f=f: f(x, 2))

# ---- Losses.

case("mse_loss", F(2, 3), F(2, 3), run=lambda x, y: F_.mse_loss(x, y))
case("mse_loss.none", F(2, 3), F(2, 3), run=lambda x, y: F_.mse_loss(x, y, reduction="none"))
case("mse_loss.sum", F(2, 3), F(2, 3), run=lambda x, y: F_.mse_loss(x, y, reduction="sum"))
case("l1_loss", F(2, 3), F(2, 3), run=lambda x, y: F_.l1_loss(x, y))
case("smooth_l1_loss", F(2, 3), F(2, 3), run=lambda x, y: F_.smooth_l1_loss(x, y, beta=0.7))
case("huber_loss", F(2, 3), F(2, 3), run=lambda x, y: F_.huber_loss(x, y, delta=0.8))
case("kl_div", F(2, 3), U(2, 3), run=lambda x, y: F_.kl_div(x, y, reduction="sum"))
case("kl_div.log_target", F(2, 3), F(2, 3), run=lambda x, y: F_.kl_div(x, y, reduction="sum", log_target=True))
case("binary_cross_entropy", U(2, 3), U(2, 3), run=lambda x, y: F_.binary_cross_entropy(x, y))
case("binary_cross_entropy.weighted", U(2, 3), U(2, 3), P(3), run=lambda x, y, w: F_.binary_cross_entropy(x, y, w, reduction="none"))
case("binary_cross_entropy.certain", D([0.0, 1.0, 0.0, 1.0]), D([0.0, 1.0, 1.0, 0.0]), run=lambda x, y: F_.binary_cross_entropy(x, y, reduction="none"))
case("binary_cross_entropy.not_probability", D([1.5]), D([1.0]), run=lambda x, y: F_.binary_cross_entropy(x, y))
LOGITS = F_.binary_cross_entropy_with_logits
case("binary_cross_entropy_with_logits", F(2, 3), U(2, 3), run=lambda x, y: LOGITS(x, y))
case("binary_cross_entropy_with_logits.weighted", F(2, 3), U(2, 3), P(3), P(3), run=lambda x, y, w, p: LOGITS(x, y, w, pos_weight=p, reduction="sum"))
case("binary_cross_entropy_with_logits.large", D([1000.0, -1000.0, 1000.0, -1000.0]), D([1.0, 0.0, 0.0, 1.0]), run=lambda x, y: LOGITS(x, y, reduction="none"))
case("nll_loss", F(3, 4), L([2, 0, 3]), run=lambda x, t: F_.nll_loss(x, t))
case("nll_loss.weighted", F(3, 4), L([2, 0, 3]), P(4), run=lambda x, t, w: F_.nll_loss(x, t, w))
case("nll_loss.none", F(3, 4), L([2, 0, 3]), run=lambda x, t: F_.nll_loss(x, t, reduction="none"))
case("nll_loss.ignored", F(3, 4), L([2, -100, 3]), run=lambda x, t: F_.nll_loss(x, t))
case("nll_loss.out_of_range", F(3, 4), L([2, 4, 3]), run=lambda x, t: F_.nll_loss(x, t))
case("nll_loss.batches_differ", F(3, 4), L([2, 1]), run=lambda x, t: F_.nll_loss(x, t))
case("cross_entropy", F(3, 4), L([2, 0, 3]), run=lambda x, t: F_.cross_entropy(x, t))
case("cross_entropy.weighted", F(3, 4), L([2, 0, 3]), P(4), run=lambda x, t, w: F_.cross_entropy(x, t, w))
case("cross_entropy.sum", F(3, 4), L([2, 0, 3]), run=lambda x, t: F_.cross_entropy(x, t, reduction="sum"))
case("cross_entropy.none", F(3, 4), L([2, 0, -100]), P(4), run=lambda x, t, w: F_.cross_entropy(x, t, w, reduction="none"))
case("cross_entropy.ignored", F(3, 4), L([2, 1, 3]), run=lambda x, t: F_.cross_entropy(x, t, ignore_index=1))
case("cross_entropy.all_ignored", F(2, 4), L([1, 1]), run=lambda x, t: F_.cross_entropy(x, t, ignore_index=1))
case("cross_entropy.smoothed", F(3, 4), L([2, 0, 3]), P(4), run=lambda x, t, w: F_.cross_entropy(x, t, w, label_smoothing=0.1))
case("cross_entropy.probabilities", F(3, 4), U(3, 4), run=lambda x, t: F_.cross_entropy(x, t))
case("cross_entropy.images", F(2, 3, 2), L([[0, 2], [1, 1]]), run=lambda x, t: F_.cross_entropy(x, t))
case("cross_entropy.large", D([[1000.0, -1000.0], [1000.0, -1000.0]]), L([0, 1]), run=lambda x, t: F_.cross_entropy(x, t, reduction="none"))
case("cross_entropy.out_of_range", F(3, 4), L([2, 4, 3]), run=lambda x, t: F_.cross_entropy(x, t))

# ---- Random numbers, after manual_seed(7).

case("uniform_", F(2, 3), run=lambda x: x.uniform_(-1, 3))
case("uniform_.long", F(40), run=lambda x: x.uniform_())
case("uniform_.crossed", F(2), run=lambda x: x.uniform_(1, 0))
case("normal_", F(2, 3), run=lambda x: x.normal_(1, 2))
case("normal_.long", F(37), run=lambda x: x.normal_())
case("normal_.negative", F(2), run=lambda x: x.normal_(0, -1))
case("random_", F(2, 3), run=lambda x: x.random_(3, 9))
case("bernoulli_tensor_", F(2, 3), U(2, 3), run=lambda x, p: x.bernoulli_(p))
case("bernoulli", U(2, 3), run=lambda x: torch.bernoulli(x))
case("rand", run=lambda: torch.rand(20))
case("randn", run=lambda: torch.randn(5))
case("randn.long", run=lambda: torch.randn(35, dtype=torch.float64))
case("randint", run=lambda: torch.randint(-5, 100, (12,)))
case("randperm", run=lambda: torch.randperm(20))
case("multinomial", U(2, 4), run=lambda x: torch.multinomial(x, 5, replacement=True))


# ---- More activations, distances and losses.

case("hardtanh", F(2, 3), run=lambda x: F_.hardtanh(x, -0.8, 1.1))
case("hardtanh.kinks", D([-1.0, -0.5, 0.0, 0.5, 1.0, math.nan]), run=lambda x: F_.hardtanh(x))
case("relu6", F(2, 3), run=lambda x: F_.relu6(x * 4))
case("threshold", F(2, 3), run=lambda x: F_.threshold(x, 0.1, -0.7))
case("hardshrink", F(2, 3), run=lambda x: F_.hardshrink(x, 0.6))
case("softshrink", F(2, 3), run=lambda x: F_.softshrink(x, 0.6))
case("softshrink.negative", F(2), run=lambda x: F_.softshrink(x, -1.0))
case("mish", F(2, 3), run=lambda x: F_.mish(x))
case("log_sigmoid", F(2, 3), run=lambda x: F_.logsigmoid(x))
case("selu", F(2, 3), run=lambda x: F_.selu(x))
case("celu", F(2, 3), run=lambda x: F_.celu(x, 0.7))
case("celu.zero", F(2), run=lambda x: F_.celu(x, 0.0))
for name, f in (("threshold", lambda x: F_.threshold(x, 0.0, 0.0)), ("hardshrink", F_.hardshrink), ("softshrink", F_.softshrink), ("mish", F_.mish),
                ("log_sigmoid", F_.logsigmoid), ("selu", F_.selu), ("celu", F_.celu)):
    case(name + ".special", D(SPECIAL), run=f)
case("glu", F(2, 4), run=lambda x: F_.glu(x))
case("glu.first", F(2, 3), run=lambda x: F_.glu(x, 0))
case("glu.odd", F(2, 3), run=lambda x: F_.glu(x))
case("prelu", F(2, 3), P(3), run=lambda x, w: F_.prelu(x, w))
case("prelu.one", F(2, 3), P(1), run=lambda x, w: F_.prelu(x, w))
case("prelu.images", F(2, 3, 2), P(3), run=lambda x, w: F_.prelu(x, w))
case("prelu.mismatch", F(2, 3), P(2), run=lambda x, w: F_.prelu(x, w))
case("rrelu", F(2, 3), run=lambda x: F_.rrelu(x, 0.1, 0.3))
case("rrelu.training", F(2, 3), run=lambda x: F_.rrelu(x, 0.1, 0.3, training=True))
case("softsign", F(2, 3), run=lambda x: F_.softsign(x))
case("tanhshrink", F(2, 3), run=lambda x: F_.tanhshrink(x))
case("softmin", F(2, 3), run=lambda x: F_.softmin(x, 1))
case("hardtanh_", F(2, 3), run=lambda x: F_.hardtanh_(x))
case("relu6_", F(2, 3), run=lambda x: F_.relu6(x, inplace=True))
case("threshold_", F(2, 3), run=lambda x: F_.threshold_(x, 0.1, -0.7))
case("leaky_relu_", F(2, 3), run=lambda x: F_.leaky_relu_(x, 0.1))
case("elu_", F(2, 3), run=lambda x: F_.elu_(x, 0.7))
case("selu_", F(2, 3), run=lambda x: F_.selu_(x))
case("celu_", F(2, 3), run=lambda x: F_.celu_(x, 0.7))
case("bilinear", F(2, 3), F(2, 4), F(5, 3, 4), F(5), run=lambda a, b, w, c: F_.bilinear(a, b, w, c))
case("bilinear.sequence", F(2, 2, 3), F(2, 2, 4), F(5, 3, 4), run=lambda a, b, w: F_.bilinear(a, b, w))
case("pairwise_distance", F(2, 3), F(2, 3), run=lambda x, y: F_.pairwise_distance(x, y))
case("pairwise_distance.p", F(2, 3), F(3), run=lambda x, y: F_.pairwise_distance(x, y, 3.0, keepdim=True))
case("cosine_similarity", F(2, 3), F(2, 3), run=lambda x, y: F_.cosine_similarity(x, y))
case("cosine_similarity.first", F(2, 3), F(3), run=lambda x, y: F_.cosine_similarity(x, y, 0))
case("normalize", F(2, 3), run=lambda x: F_.normalize(x))
case("normalize.p", F(2, 3), run=lambda x: F_.normalize(x, 1.0, 0))
case("layer_norm", D([[0.5, -1.25, 2.0, 0.75], [1.5, 0.25, -0.5, 3.0]]), D([1.5, -0.5, 0.25, 2.0]), D([0.1, 0.2, -0.3, 0.4]), run=lambda x, w, b: torch.layer_norm(x, (4,), w, b, 1e-3))
case("layer_norm.plain", D([[[0.5, -1.25], [2.0, 0.75]], [[1.5, 0.25], [-0.5, 3.0]]]), run=lambda x: torch.layer_norm(x, (2,)))
case("layer_norm.two_dims", D([[[0.5, -1.25], [2.0, 0.75]], [[1.5, 0.25], [-0.5, 3.0]]]), D([[1.5, -0.5], [0.25, 2.0]]), run=lambda x, w: torch.layer_norm(x, (2, 2), w))
case("layer_norm.sizes_differ", D([[0.5, -1.25, 2.0]]), run=lambda x: torch.layer_norm(x, (4,)))
case("layer_norm.weight_differs", D([[0.5, -1.25, 2.0]]), D([1.0, 2.0]), run=lambda x, w: torch.layer_norm(x, (3,), w))
case("rms_norm", D([[0.5, -1.25, 2.0, 0.75], [1.5, 0.25, -0.5, 3.0]]), D([1.5, -0.5, 0.25, 2.0]), run=lambda x, w: torch.rms_norm(x, (4,), w, 1e-3))
case("rms_norm.plain", D([[0.5, -1.25, 2.0, 0.75], [1.5, 0.25, -0.5, 3.0]]), run=lambda x: torch.rms_norm(x, (4,)))
case("pad", F(2, 3), run=lambda x: F_.pad(x, (1, 2, 0, 1), value=0.5))
case("pad.negative", F(2, 3), run=lambda x: F_.pad(x, (-1, 1)))
case("pad.reflect", F(2, 4), run=lambda x: F_.pad(x, (3, 1), mode="reflect"))
case("pad.replicate", F(2, 3), run=lambda x: F_.pad(x, (2, 1), mode="replicate"))
case("pad.circular", F(2, 3), run=lambda x: F_.pad(x, (3, 2), mode="circular"))
case("pad.odd", F(2, 3), run=lambda x: F_.pad(x, (1,)))
case("margin_ranking_loss", F(4), F(4), D([1.0, -1.0, 1.0, -1.0]), run=lambda x, y, t: F_.margin_ranking_loss(x, y, t, 0.3))
case("hinge_embedding_loss", F(4), D([1.0, -1.0, 1.0, -1.0]), run=lambda x, t: F_.hinge_embedding_loss(x, t, 0.7))
case("hinge_embedding_loss.none", F(4), D([1.0, -1.0, 0.0, -1.0]), run=lambda x, t: F_.hinge_embedding_loss(x, t, 0.7, reduction="none"))
case("soft_margin_loss", F(2, 3), D([[1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]]), run=lambda x, t: F_.soft_margin_loss(x, t))
case("cosine_embedding_loss", F(2, 3), F(2, 3), D([1.0, -1.0]), run=lambda x, y, t: F_.cosine_embedding_loss(x, y, t, 0.1))
case("cosine_embedding_loss.one", F(3), F(3), L(-1), run=lambda x, y, t: F_.cosine_embedding_loss(x, y, t, -0.9))
case("triplet_margin_loss", F(2, 3), F(2, 3), F(2, 3), run=lambda a, p, n: F_.triplet_margin_loss(a, p, n, 3.0))
case("triplet_margin_loss.swap", F(2, 3), F(2, 3), F(2, 3), run=lambda a, p, n: F_.triplet_margin_loss(a, p, n, 3.0, 1, swap=True, reduction="none"))
case("multi_margin_loss", F(3, 4), L([2, 0, 3]), run=lambda x, t: F_.multi_margin_loss(x, t))
case("multi_margin_loss.weighted", F(3, 4), L([2, 0, 3]), P(4), run=lambda x, t, w: F_.multi_margin_loss(x, t, 2, 0.5, w, reduction="sum"))
case("multi_margin_loss.one", F(4), L(2), run=lambda x, t: F_.multi_margin_loss(x, t, reduction="none"))
case("multi_margin_loss.out_of_range", F(2, 3), L([0, 3]), run=lambda x, t: F_.multi_margin_loss(x, t))
case("multilabel_margin_loss", F(2, 4), L([[3, 0, -1, 1], [1, -1, 2, 2]]), run=lambda x, t: F_.multilabel_margin_loss(x, t))
case("multilabel_margin_loss.one", F(4), L([0, 1, -1, 3]), run=lambda x, t: F_.multilabel_margin_loss(x, t, reduction="none"))
case("multilabel_soft_margin_loss", F(2, 3), U(2, 3), P(3), run=lambda x, t, w: F_.multilabel_soft_margin_loss(x, t, w))
case("poisson_nll_loss", F(2, 3), P(2, 3), run=lambda x, t: F_.poisson_nll_loss(x, t))
case("poisson_nll_loss.full", F(2, 3), P(2, 3), run=lambda x, t: torch.poisson_nll_loss(x, t, True, True, 1e-8, 0))
case("poisson_nll_loss.rate", P(2, 3), P(2, 3), run=lambda x, t: F_.poisson_nll_loss(x, t, log_input=False, reduction="sum"))

# ---- Tables of embeddings (module 10). The inputs are written out, so that cases before them change nothing here.

TABLE = [[0.5, -1.25, 2.0], [1.5, 0.75, -0.5], [-2.0, 0.25, 1.0], [0.125, 3.0, -1.5]]
POSITIONS = [[[0.5, 1.0, -1.0], [2.0, 0.25, 0.75]], [[-0.5, 1.5, 1.25], [0.125, -2.0, 3.0]]]
case("embedding", D(TABLE), L([[3, 0], [3, 1]]), run=lambda w, i: F_.embedding(i, w))
case("embedding.vector", D(TABLE), L([2, 2, 0]), run=lambda w, i: F_.embedding(i, w))
case("embedding.one", D(TABLE), L(2), run=lambda w, i: F_.embedding(i, w))
case("embedding.padding", D(TABLE), L([[3, 0], [3, 1]]), run=lambda w, i: F_.embedding(i, w, padding_idx=3))
case("embedding.by_frequency", D(TABLE), L([[3, 0], [3, 1]]), run=lambda w, i: F_.embedding(i, w, scale_grad_by_freq=True))
case("embedding.out_of_range", D(TABLE), L([1, 4]), run=lambda w, i: F_.embedding(i, w))
case("embedding.of_reals", D(TABLE), D([1.0]), run=lambda w, i: F_.embedding(i, w))
case("embedding.no_table", D([1.0, 2.0]), L([1]), run=lambda w, i: F_.embedding(i, w))
case("embedding_dense_backward", D(POSITIONS), L([[3, 0], [3, 1]]), run=lambda g, i: torch.ops.aten.embedding_dense_backward(g, i, 4, -1, False))
case("embedding_dense_backward.padding", D(POSITIONS), L([[3, 0], [3, 1]]), run=lambda g, i: torch.ops.aten.embedding_dense_backward(g, i, 4, 3, False))
case("embedding_renorm_", D(TABLE), L([3, 0, 3]), run=lambda w, i: torch.embedding_renorm_(w, i, 1.5, 2.0))



# ---- Attention. The operator's log-sum-exp is PyTorch's own; elsewhere the function is recorded.
flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
case("_scaled_dot_product_flash_attention_for_cpu", F(1, 2, 3, 4), F(1, 2, 5, 4), F(1, 2, 5, 4), run=lambda q, k, v: flash(q, k, v))
case("_scaled_dot_product_flash_attention_for_cpu.causal", F(2, 1, 4, 3), F(2, 1, 4, 3), F(2, 1, 4, 3), run=lambda q, k, v: flash(q, k, v, 0.0, True, scale=0.7))
case("_scaled_dot_product_flash_attention_for_cpu.dropout", F(1, 1, 2, 3), F(1, 1, 2, 3), F(1, 1, 2, 3), run=lambda q, k, v: flash(q, k, v, 0.5))
case("scaled_dot_product_attention", F(2, 3, 4), F(2, 5, 4), F(2, 5, 3), run=lambda q, k, v: F_.scaled_dot_product_attention(q, k, v))
case("scaled_dot_product_attention.causal", F(1, 2, 4, 3), F(1, 2, 4, 3), F(1, 2, 4, 3), run=lambda q, k, v: F_.scaled_dot_product_attention(q, k, v, is_causal=True))
case("scaled_dot_product_attention.may_look", F(1, 2, 2, 3), F(1, 2, 3, 3), F(1, 2, 3, 3), B([[True, False, True], [False, False, False]]),
     run=lambda q, k, v, m: F_.scaled_dot_product_attention(q, k, v, m))
case("scaled_dot_product_attention.added", F(1, 2, 2, 3), F(1, 2, 3, 3), F(1, 2, 3, 3), F(2, 3), run=lambda q, k, v, m: F_.scaled_dot_product_attention(q, k, v, m, scale=0.5))
case("scaled_dot_product_attention.groups", F(1, 4, 2, 3), F(1, 2, 3, 3), F(1, 2, 3, 3), run=lambda q, k, v: F_.scaled_dot_product_attention(q, k, v, enable_gqa=True))
case("scaled_dot_product_attention.groups_differ", F(1, 3, 2, 3), F(1, 2, 3, 3), F(1, 2, 3, 3), run=lambda q, k, v: F_.scaled_dot_product_attention(q, k, v, enable_gqa=True))
case("scaled_dot_product_attention.mask_and_causal", F(1, 2, 2, 3), F(1, 2, 3, 3), F(1, 2, 3, 3), F(2, 3), run=lambda q, k, v, m: F_.scaled_dot_product_attention(q, k, v, m, is_causal=True))
case("scaled_dot_product_attention.features_differ", F(1, 2, 2, 3), F(1, 2, 3, 4), F(1, 2, 3, 4), run=lambda q, k, v: F_.scaled_dot_product_attention(q, k, v))
case("scaled_dot_product_attention.mask_too_small", F(1, 2, 4, 3), F(1, 2, 5, 3), F(1, 2, 5, 3), F(3, 5), run=lambda q, k, v, m: F_.scaled_dot_product_attention(q, k, v, m))

# ---- Recurrent cells.
case("rnn_tanh_cell", F(2, 3), F(2, 2), F(2, 3), F(2, 2), F(2), F(2), run=torch.rnn_tanh_cell)
case("rnn_relu_cell", F(2, 3), F(2, 2), F(2, 3), F(2, 2), F(2), F(2), run=torch.rnn_relu_cell)
case("gru_cell", F(2, 3), F(2, 2), F(6, 3), F(6, 2), F(6), F(6), run=torch.gru_cell)
case("lstm_cell", F(2, 3), F(2, 2), F(2, 2), F(8, 3), F(8, 2), F(8), F(8), run=lambda x, h, c, *w: torch.lstm_cell(x, (h, c), *w))
case("lstm_cell.batches_differ", F(2, 3), F(3, 2), F(3, 2), F(8, 3), F(8, 2), run=lambda x, h, c, *w: torch.lstm_cell(x, (h, c), *w))
case("gru_cell.input_differs", F(2, 4), F(2, 2), F(6, 3), F(6, 2), run=torch.gru_cell)

# ---- The breadth of Tensor.
case("acos", U(2, 3), run=torch.acos)
case("acos.special", D([-1.0, 1.0, 2.0, math.nan]), run=torch.acos)
case("asin", U(2, 3), run=torch.asin)
case("sinh", F(2, 3), run=torch.sinh)
case("cosh", F(2, 3), run=torch.cosh)
case("asinh", F(2, 3), run=torch.asinh)
case("acosh", P(2, 3), run=lambda x: torch.acosh(x + 1))
case("atanh", U(2, 3), run=torch.atanh)
case("exp2", F(2, 3), run=torch.exp2)
case("erfc", F(2, 3), run=torch.erfc)
case("erfinv", U(2, 3), run=torch.erfinv)
case("erfinv.special", D([-1.0, 1.0, 0.0, 1.5, 0.99999, -1e-9]), run=torch.erfinv)
case("lgamma", P(2, 3), run=torch.lgamma)
case("polygamma", P(2, 3), run=lambda x: torch.polygamma(1, x))
case("polygamma.digamma", P(2, 3), run=torch.digamma)
case("polygamma.digamma_special", D([0.0, -1.0, -0.5, 30.0, -7.25]), run=torch.digamma)
case("polygamma.third", P(2, 3), run=lambda x: torch.polygamma(3, x))
case("atan2", F(2, 3), P(3), run=torch.atan2)
case("atan2.special", D([0.0, -0.0, 1.0, math.inf]), D([-1.0, -1.0, 0.0, -math.inf]), run=torch.atan2)
case("fmod", F(2, 3), P(3), run=torch.fmod)
case("fmod.scalar", F(2, 3), run=lambda x: torch.fmod(x, 0.7))
case("hypot", F(2, 3), P(3), run=torch.hypot)
case("copysign", F(2, 3), F(3), run=torch.copysign)
case("copysign.zero", D([0.0, 1.0, -2.0]), D([-1.0, -0.0, 3.0]), run=torch.copysign)
case("cumprod", F(2, 3), run=lambda x: x.cumprod(1))
case("cumprod.first", F(3, 2), run=lambda x: x.cumprod(0))
case("cumprod.zeros", D([[2.0, 0.0, 3.0, -1.0], [0.0, 4.0, 0.0, 1.0]]), run=lambda x: x.cumprod(1))

# ---- A product and what follows it. PyTorch has no derivative of it.
case("_addmm_activation", F(4), F(2, 3), F(3, 4), run=lambda b, x, y: torch._addmm_activation(b, x, y))
case("_addmm_activation.scaled_gelu", F(2, 4), F(2, 3), F(3, 4), run=lambda b, x, y: torch._addmm_activation(b, x, y, beta=0.5, alpha=0.3, use_gelu=True))
case("_addmm_activation.inner_sizes_differ", F(2), F(2, 3), F(2, 2), run=lambda b, x, y: torch._addmm_activation(b, x, y))

# ---- Cut between -3 and 3.
case("hardsigmoid", F(2, 3), run=lambda x: F_.hardsigmoid(x * 2))
case("hardswish", F(2, 3), run=lambda x: F_.hardswish(x * 2))
for name, f in (("hardsigmoid", F_.hardsigmoid), ("hardswish", F_.hardswish)):
    case(f"{name}.special", D([-3.0, 3.0, -4.0, 4.0, 0.0, -0.0, math.inf, -1.5]), run=f)

# ---- Labels without places. Behind a log-softmax: PyTorch's gradient of log-probabilities is that of the scores.
CTC = lambda x, t, *lengths, **options: F_.ctc_loss(torch.log_softmax(x, -1), t, *lengths, **options)
case("ctc_loss", F(5, 2, 4), L([[1, 2, 2], [3, 1, 0]]), run=lambda x, t: CTC(x, t, (5, 4), (3, 2)))
case("ctc_loss.none", F(5, 3, 3), L([[2, 1], [1, 1], [0, 0]]), run=lambda x, t: CTC(x, t, (5, 3, 2), (2, 2, 0), reduction="none"))
case("ctc_loss.behind_each_other", F(4, 2, 4), L([0, 1, 2, 2]), run=lambda x, t: CTC(x, t, (4, 4), (1, 3), blank=3, reduction="sum"))
case("ctc_loss.one", F(4, 3), L([2, 1]), run=lambda x, t: CTC(x, t, (4,), (2,)))
case("ctc_loss.too_short", F(4, 2, 3), L([[1, 1], [1, 2]]), run=lambda x, t: CTC(x, t, (2, 4), (2, 2), zero_infinity=True))
case("ctc_loss.lengths_differ", F(4, 2, 3), L([[1, 1], [1, 2]]), run=lambda x, t: CTC(x, t, (4,), (2, 2)))
case("ctc_loss.blank_out_of_range", F(4, 2, 3), L([[1, 1], [1, 2]]), run=lambda x, t: CTC(x, t, (4, 4), (2, 2), blank=3))

# ---- What an LSTM's step does behind its products. PyTorch has it as one function on GPUs only.
def fused_lstm_cell(input_gates, hidden_gates, cx):
    i, f, g, o = (input_gates + hidden_gates).chunk(4, -1)
    i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
    cy = f * cx + i * g
    return o * cy.tanh(), cy, torch.cat([i, f, g, o], -1)


case("_thnn_fused_lstm_cell", F(2, 12), F(2, 12), F(2, 3), run=fused_lstm_cell)
case("_thnn_fused_lstm_cell.one", F(8), F(8), F(2), run=fused_lstm_cell)

# ---- Numbers picked of images.
case("nll_loss2d", F(2, 3, 2, 2), L([[[0, 2], [1, 1]], [[2, 0], [0, 1]]]), run=lambda x, t: F_.nll_loss(x, t))
case("nll_loss2d.weighted", F(2, 3, 3), L([[0, 2, 1], [1, -100, 2]]), P(3), run=lambda x, t, w: F_.nll_loss(x, t, w))
case("nll_loss2d.sum", F(2, 3, 2), L([[0, 2], [1, 1]]), run=lambda x, t: F_.nll_loss(x, t, ignore_index=1, reduction="sum"))
case("nll_loss2d.none", F(2, 3, 2), L([[0, 2], [1, -100]]), P(3), run=lambda x, t, w: F_.nll_loss(x, t, w, reduction="none"))
case("nll_loss2d.all_ignored", F(2, 3, 2), L([[1, 1], [1, 1]]), run=lambda x, t: F_.nll_loss(x, t, ignore_index=1))
case("nll_loss2d.out_of_range", F(2, 3, 2), L([[0, 2], [3, 1]]), run=lambda x, t: F_.nll_loss(x, t))
case("mse_loss.broadcast", F(2, 3), F(3), run=lambda x, y: F_.mse_loss(x, y))
case("huber_loss.none", F(2, 3), F(2, 3), run=lambda x, y: F_.huber_loss(x, y, reduction="none", delta=0.8))
case("smooth_l1_loss.sum", F(2, 3), F(2, 3), run=lambda x, y: F_.smooth_l1_loss(x, y, reduction="sum", beta=0.7))

# ---- Bags of rows, as chapter 58 has them where nobody wants a gradient.
case("sum_bags", F(4, 5), L([3, 0, 1, 3, 3, 2]), run=lambda w, i: F_.embedding_bag(i, w.detach(), torch.tensor([0, 2, 2]), mode="sum", padding_idx=1))
case("sum_bags.mean", F(4, 5), L([3, 0, 1, 3, 3, 2]), run=lambda w, i: F_.embedding_bag(i, w.detach(), torch.tensor([0, 2, 2]), mode="mean", padding_idx=1))


def changed(stored, recorded):
    """gelu of infinity aside: on some processors PyTorch's float32 kernel gives NaN there."""
    return [name for name in recording.differences(stored, recorded) if name != "cases: gelu.special"]


if __name__ == "__main__":
    recording.main(FILE, lambda: {"promotion": promotion(), "cases": record(CASES)}, recording.row_by_row, changed)
