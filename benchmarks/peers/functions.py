"""The suite `functions` of `tito bench` for PyTorch: the functions of benchmarks/functions.h under the same names, with the same inputs."""
import torch
import torch.nn.functional as F


class Inputs:
    def __init__(self):
        side = 1024
        hashes = (torch.arange(side * side) * 2654435761).remainder(1 << 32)
        self.count = side * side
        self.uniform = hashes.double() / 2147483648.0 - 1
        self.x = (self.uniform * 3).float().view(side, side)
        self.y = (self.uniform.flip(0) * 0.5 + 1).float().view(side, side)
        self.part = (self.uniform * 0.499 + 0.5).float().view(side, side)
        self.flat = self.x.view(-1)
        self.mask = (hashes.flip(0) >= 1 << 31).view(side, side)
        self.longs = hashes.remainder(1000)
        self.ints = self.longs.int().view(side, side)
        self.places = hashes.flip(0).remainder(side).view(side, side)
        self.order = (torch.arange(side) * 389).remainder(side)
        self.few, self.others = self.x[:512, :64].contiguous(), self.y[:512, :64].contiguous()
        self.slope, self.edges = torch.full((1,), 0.2), torch.linspace(-3, 3, 1000)
        self.classes = self.longs[:side]


def gradient(at, f):
    """f(x) and the gradient of the sum of its numbers."""
    with torch.enable_grad():
        x = at.detach().requires_grad_()
        y = f(x)
        return torch.autograd.grad(y, x, torch.ones_like(y))[0]


FUNCTIONS = {
    "acos": lambda i: torch.acos(i.uniform.float()),
    "add-int64": lambda i: i.longs + i.longs,
    "amax-of-columns": lambda i: torch.amax(i.x, 0),
    "any-of-rows": lambda i: torch.any(i.mask, 1),
    "asin": lambda i: torch.asin(i.part),
    "atan": lambda i: torch.atan(i.x),
    "atan2": lambda i: torch.atan2(i.x, i.y),
    "binary_cross_entropy": lambda i: F.binary_cross_entropy(i.part, i.part),
    "bincount": lambda i: torch.bincount(i.longs),
    "cat": lambda i: torch.cat([i.x, i.y], 1),
    "cdist": lambda i: torch.cdist(i.few, i.others),
    "copysign": lambda i: torch.copysign(i.x, i.y),
    "cosine_similarity": lambda i: F.cosine_similarity(i.x, i.y, 1),
    "cummax": lambda i: torch.cummax(i.x, 1)[0],
    "cumprod": lambda i: torch.cumprod(i.y, 1),
    "cumsum-of-columns": lambda i: torch.cumsum(i.x, 0),
    "cumsum-of-rows": lambda i: torch.cumsum(i.x, 1),
    "diff": lambda i: torch.diff(i.x),
    "eq-int64": lambda i: i.longs == 5,
    "erfinv": lambda i: torch.erfinv(i.part),
    "exp2": lambda i: torch.exp2(i.x),
    "expm1": lambda i: torch.expm1(i.x),
    "flip-of-columns": lambda i: torch.flip(i.x, (1,)),
    "flip-of-rows": lambda i: torch.flip(i.x, (0,)),
    "float-to-int64": lambda i: i.x.long(),
    "floor_divide": lambda i: torch.floor_divide(i.x, i.y),
    "fmod": lambda i: torch.fmod(i.x, i.y),
    "frac": lambda i: torch.frac(i.x),
    "full": lambda i: torch.full((i.count,), 2.0),
    "gather": lambda i: torch.gather(i.x, 1, i.places),
    "gelu": lambda i: F.gelu(i.x),
    "gradient-of-cdist": lambda i: gradient(i.few, lambda x: torch.cdist(x, i.others)),
    "gradient-of-diagonal": lambda i: gradient(i.x, lambda x: torch.diagonal(x)),
    "gradient-of-elu": lambda i: gradient(i.x, lambda x: F.elu(x)),
    "gradient-of-flip-of-columns": lambda i: gradient(i.x, lambda x: torch.flip(x, (1,))),
    "gradient-of-hardtanh": lambda i: gradient(i.x, lambda x: F.hardtanh(x)),
    "gradient-of-mse_loss": lambda i: gradient(i.x, lambda x: F.mse_loss(x, i.y)),
    "gradient-of-pad": lambda i: gradient(i.x, lambda x: F.pad(x, (1, 1, 1, 1))),
    "gradient-of-selu": lambda i: gradient(i.x, lambda x: F.selu(x)),
    "gradient-of-softmax-of-columns": lambda i: gradient(i.x, lambda x: torch.softmax(x, 0)),
    "gradient-of-softplus": lambda i: gradient(i.x, lambda x: F.softplus(x)),
    "hardshrink": lambda i: F.hardshrink(i.x),
    "hardtanh": lambda i: F.hardtanh(i.x),
    "huber_loss": lambda i: F.huber_loss(i.x, i.y),
    "index-by-a-mask": lambda i: i.x[i.mask],
    "index-by-rows": lambda i: i.x[i.order],
    "index_select-of-columns": lambda i: torch.index_select(i.x, 1, i.order),
    "int64-to-float": lambda i: i.longs.float(),
    "isnan": lambda i: torch.isnan(i.x),
    "kl_div": lambda i: F.kl_div(i.x, i.y, reduction="sum"),
    "l1_loss": lambda i: F.l1_loss(i.x, i.y),
    "lerp": lambda i: torch.lerp(i.x, i.y, 0.3),
    "lgamma": lambda i: torch.lgamma(i.y),
    "linspace": lambda i: torch.linspace(0, 1, i.count),
    "log10": lambda i: torch.log10(i.y),
    "log1p": lambda i: torch.log1p(i.y),
    "log2": lambda i: torch.log2(i.y),
    "log_softmax-of-columns": lambda i: torch.log_softmax(i.x, 0),
    "logaddexp": lambda i: torch.logaddexp(i.x, i.y),
    "logsumexp": lambda i: torch.logsumexp(i.x, 1),
    "masked_fill": lambda i: torch.masked_fill(i.x, i.mask, 0.0),
    "max-int64": lambda i: i.longs.max(),
    "median": lambda i: i.x.median(),
    "mse_loss": lambda i: F.mse_loss(i.x, i.y),
    "mul-int64": lambda i: i.longs * 3,
    "nan_to_num": lambda i: torch.nan_to_num(i.x),
    "nll_loss": lambda i: F.nll_loss(i.x, i.classes),
    "nonzero": lambda i: torch.nonzero(i.mask),
    "norm": lambda i: i.x.norm(),
    "norm-of-rows": lambda i: i.x.norm(2, 1),
    "one_hot": lambda i: F.one_hot(i.classes, 1000),
    "pad": lambda i: F.pad(i.x, (1, 1, 1, 1)),
    "pow": lambda i: torch.pow(i.y, 1.7),
    "pow-of-tensors": lambda i: torch.pow(i.y, i.x),
    "prelu": lambda i: F.prelu(i.x, i.slope),
    "prod": lambda i: i.y.prod(),
    "prod-of-rows": lambda i: i.y.prod(1),
    "reciprocal": lambda i: torch.reciprocal(i.y),
    "remainder": lambda i: torch.remainder(i.x, i.y),
    "repeat": lambda i: i.x.repeat(1, 2),
    "roll": lambda i: torch.roll(i.x, 1, 1),
    "round": lambda i: torch.round(i.x),
    "scatter": lambda i: torch.scatter(i.x, 1, i.order.expand(1024, 1024).contiguous(), i.y),
    "scatter_add": lambda i: torch.scatter_add(i.x, 1, i.places, i.y),
    "searchsorted": lambda i: torch.searchsorted(i.edges, i.x),
    "selu": lambda i: F.selu(i.x),
    "sign": lambda i: torch.sign(i.x),
    "sin": lambda i: torch.sin(i.x),
    "sinh": lambda i: torch.sinh(i.x),
    "smooth_l1_loss": lambda i: F.smooth_l1_loss(i.x, i.y),
    "softmax-of-columns": lambda i: torch.softmax(i.x, 0),
    "softplus": lambda i: F.softplus(i.x),
    "softshrink": lambda i: F.softshrink(i.x),
    "sort-of-int64": lambda i: torch.sort(i.longs, 0)[0],
    "sort-of-rows": lambda i: torch.sort(i.x, 1)[0],
    "sort-of-a-million": lambda i: torch.sort(i.flat, 0)[0],
    "sqrt": lambda i: torch.sqrt(i.y),
    "std": lambda i: i.x.std(),
    "sum-int64": lambda i: i.longs.sum(),
    "sum-of-bools": lambda i: i.mask.sum(),
    "sum-of-columns-int32": lambda i: i.ints.sum(0),
    "tan": lambda i: torch.tan(i.part),
    "threshold": lambda i: F.threshold(i.x, 0.1, -0.7),
    "topk-of-5": lambda i: torch.topk(i.x, 5, 1)[0],
    "topk-of-500": lambda i: torch.topk(i.x, 500, 1)[0],
    "unique-of-floats": lambda i: torch.unique(i.flat, return_inverse=True, return_counts=True)[0],
    "unique-of-int64": lambda i: torch.unique(i.longs),
    "where": lambda i: torch.where(i.mask, i.x, i.y),
}


def works(forward_only):
    """A work for each function; the inputs are made when the first is prepared."""
    made = []

    def work(function):
        def prepare():
            if not made:
                made.append(Inputs())
            return forward_only(lambda: function(made[0]))
        return prepare
    return {name: work(function) for name, function in FUNCTIONS.items()}
