"""PyTorch's side of `tito bench`: the work of benchmarks/worker.cpp under the same names, in the same lines of text (worker.h).

    python torch_worker.py [fused] [channels-last] [compile] [memory]

fused: fused optimizers. channels-last: images and convolutions in that layout. compile: models through torch.compile.
memory: takes 20 steps of LeNet and prints the most bytes that the process held at one time.
OMP_NUM_THREADS says how many threads it may use.
"""
import math
import os
import sys

import torch
import torch.nn.functional as F
from torch import nn

import functions
from lines import serve

VARIANTS = set(sys.argv[1:])
FUSED = {"fused": True} if "fused" in VARIANTS else {}
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


PERIOD = 1 << 20


def numbers(*sizes):
    count = math.prod(sizes)
    first = torch.arange(min(count, PERIOD), dtype=torch.float64).sin().float()
    return (first if count <= PERIOD else first.repeat(-(-count // PERIOD))[:count]).view(sizes)


def weights(*sizes):
    return numbers(*sizes) * 0.1


def classes(rows, count):
    return (torch.arange(rows) * 7).remainder(count)


def images(*sizes):
    x = numbers(*sizes)
    return x.to(memory_format=torch.channels_last) if "channels-last" in VARIANTS else x


def laid_out(module):
    return module.to(memory_format=torch.channels_last) if "channels-last" in VARIANTS else module


def compiled(module):
    return torch.compile(module) if "compile" in VARIANTS else module


def forward_only(function):
    def call():
        with torch.no_grad():
            return function()
    return call, call().double().square().mean().item()


def training(model, optimizer, loss_of):
    run = compiled(model)

    def step():
        optimizer.zero_grad()
        loss = loss_of(run)
        loss.backward()
        optimizer.step()
        return loss.item()
    return step, math.nan


def mlp(batch):
    x, y = numbers(batch, 784), classes(batch, 10)
    model = nn.Sequential(nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10))
    return training(model, torch.optim.Adam(model.parameters(), 1e-3, **FUSED), lambda m: F.cross_entropy(m(x), y))


def lenet(batch):
    x, y = images(batch, 1, 28, 28), classes(batch, 10)
    model = laid_out(nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
                                   nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)))
    return training(model, torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, **FUSED), lambda m: F.cross_entropy(m(x), y))


class BasicBlock(nn.Module):
    def __init__(self, before, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)
        self.stride, self.more = stride, channels - before

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        x = x if self.stride == 1 else x[:, :, ::self.stride, ::self.stride]
        return F.relu(y + (F.pad(x, (0, 0, 0, 0, 0, self.more)) if self.more else x))


def resnet20(batch):
    x, y = images(batch, 3, 32, 32), classes(batch, 10)
    blocks, before = [], 16
    for channels in (16, 32, 64):
        for i in range(3):
            blocks.append(BasicBlock(before, channels, 2 if i == 0 and channels > 16 else 1))
            before = channels
    model = laid_out(nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), *blocks,
                                   nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)))
    return training(model, torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, **FUSED), lambda m: F.cross_entropy(m(x), y))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.c_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x, cache=None):
        B, T, C = x.shape
        q, k, v = (t.view(B, T, self.heads, C // self.heads).transpose(1, 2) for t in self.c_attn(self.ln_1(x)).split(C, 2))
        if cache is not None:  # [keys, values, length]: buffers as long as the longest text
            start = cache[2]
            cache[0][:, :, start:start + T] = k
            cache[1][:, :, start:start + T] = v
            cache[2] = start + T
            k, v = cache[0][:, :, :start + T], cache[1][:, :, :start + T]
        y = F.scaled_dot_product_attention(q, k, v, is_causal=T > 1)
        x = x + self.c_proj(y.transpose(1, 2).reshape(B, T, C))
        return x + self.c_out(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, layers, width, heads, block, vocabulary):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(block, width)
        self.h = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)

    def features(self, tokens, cache=None):
        start = 0 if cache is None else cache[0][2]
        x = self.wte(tokens) + self.wpe(torch.arange(start, start + tokens.shape[1]))
        for i, block in enumerate(self.h):
            x = block(x, None if cache is None else cache[i])
        return self.ln_f(x)

    def forward(self, tokens):
        return self.features(tokens) @ self.wte.weight.t()


def gpt(layers, width, heads, block, batch, vocabulary):
    model = GPT(layers, width, heads, block, vocabulary)
    nn.init.normal_(model.wte.weight, std=0.02)
    tokens = (torch.arange(batch * block) * 31).remainder(vocabulary).view(batch, block)
    return training(model, torch.optim.AdamW(model.parameters(), 1e-3, **FUSED),
                    lambda m: F.cross_entropy(m(tokens).view(-1, vocabulary), tokens.view(-1)))


def gpt2_shape():
    return GPT(12, 768, 12, 1024, 50257).eval()


def empty_cache(dtype=torch.float32):
    return [[torch.empty(1, 12, 1024, 64, dtype=dtype), torch.empty(1, 12, 1024, 64, dtype=dtype), 0] for _ in range(12)]


def prefill(length):
    model = gpt2_shape()
    tokens = (torch.arange(length) * 31).view(1, length)

    def call():
        with torch.inference_mode():
            return (model.features(tokens, empty_cache())[:, -1:] @ model.wte.weight.t())[0, 0, 0].item()
    return call, math.nan


def decode(length, most, dtype=torch.float32):
    model = gpt2_shape().to(dtype)
    prompt, token = (torch.arange(length) * 31).view(1, length), torch.full((1, 1), 42)
    state = {}

    def call():
        with torch.inference_mode():
            if not state or state["cache"][0][2] >= length + most:
                state["cache"] = empty_cache(dtype)
                model.features(prompt, state["cache"])
            return (model.features(token, state["cache"]) @ model.wte.weight.t())[0, 0, 0].item()
    return call, math.nan


def adamw(tensors, elements):
    parameters = [numbers(elements).requires_grad_() for _ in range(tensors)]
    for parameter in parameters:
        parameter.grad = weights(elements)
    optimizer = torch.optim.AdamW(parameters, 1e-3, **FUSED)
    return optimizer.step, math.nan


def loader(count, side, batch):
    from torch.utils.data import DataLoader, TensorDataset
    x, y = torch.ones(count, 1, side, side), torch.ones(count, dtype=torch.long)  # zeros might be one page of memory again and again
    if "index-select" in VARIANTS:
        def direct():
            for rows in torch.randperm(count).split(batch):
                x.index_select(0, rows), y.index_select(0, rows)
        return direct, math.nan
    source = DataLoader(TensorDataset(x, y), batch, shuffle=True)

    def epoch():
        for _ in source:
            pass
    return epoch, math.nan


def add_one(graph):
    x, y = torch.ones(1, requires_grad=graph), torch.ones(1)

    def call():
        if graph:
            return x + y
        with torch.no_grad():
            return x + y
    return call, 2.0


def chain(length):
    x = torch.ones(1, requires_grad=True)

    def call():
        y = x
        for _ in range(length):
            y = y * x
        y.backward()
        x.grad = None
    return call, math.nan


def conv(batch, before, after, side, kernel, stride, groups, _last, backward):
    x, w = images(batch, before, side, side), laid_out(nn.Conv2d(before, after, kernel, groups=groups, bias=False))
    with torch.no_grad():
        w.weight.copy_(weights(after, before // groups, kernel, kernel))
    weight = w.weight.detach()

    def forward():
        return F.conv2d(x, weight, stride=stride, padding=kernel // 2, groups=groups)
    if not backward:
        return forward_only(forward)
    ones = torch.ones_like(forward())
    x.requires_grad_()
    weight.requires_grad_()

    def call():
        x.grad = weight.grad = None
        forward().backward(ones)
    return call, math.nan


def unary(function):
    def make(count):
        x = numbers(count)
        return forward_only(lambda: function(x))
    return make


def over_rows(function):
    def make(rows, columns, *more):
        x = numbers(rows, columns)
        return forward_only(lambda: function(x, *more))
    return make


def mm(m, k, n):
    x, w = numbers(m, k), numbers(k, n)
    return forward_only(lambda: x @ w)


def linear(m, k, n):
    x, w = numbers(m, k), numbers(n, k)
    return forward_only(lambda: x @ w.t())


def bmm(b, m, k, n):
    x, w = numbers(b, m, k), numbers(b, k, n)
    return forward_only(lambda: torch.bmm(x, w))


def add(count):
    x, y = numbers(count), weights(count)
    return forward_only(lambda: x + y)


def layer_norm(rows, columns):
    x, w, b = numbers(rows, columns), torch.ones(columns), torch.zeros(columns)
    return forward_only(lambda: F.layer_norm(x, (columns,), w, b))


def cross_entropy(rows, columns):
    x, y = numbers(rows, columns), classes(rows, columns)
    return forward_only(lambda: F.cross_entropy(x, y))


def dropout(count):
    x = numbers(count)
    return lambda: F.dropout(x, 0.5, True), math.nan


WORKS = {
    "mm": mm, "linear": linear, "bmm": bmm, "add": add, "layer_norm": layer_norm, "cross_entropy": cross_entropy, "dropout": dropout,
    "relu": unary(torch.relu), "exp": unary(torch.exp), "tanh": unary(torch.tanh), "sigmoid": unary(torch.sigmoid), "sum": unary(torch.sum),
    "gelu_tanh": unary(lambda x: F.gelu(x, approximate="tanh")),
    "sum_rows": over_rows(lambda x: x.sum(1)), "sum_columns": over_rows(lambda x: x.sum(0)), "softmax": over_rows(lambda x: x.softmax(1)),
    "var_mean": over_rows(lambda x: torch.var_mean(x, 1)[0]),
    "var": over_rows(lambda x: x.var(1)), "argmax": over_rows(lambda x: x.argmax(1)), "max": over_rows(lambda x, dim: x.max(dim)[0]),
    "transpose": over_rows(lambda x: x.t().contiguous()),
    "rand": lambda count: (lambda: torch.rand(count), math.nan), "randn": lambda count: (lambda: torch.randn(count), math.nan),
    "convolution": lambda *a: conv(*a, False), "convolution_step": lambda *a: conv(*a, True),
    "add_one": lambda: add_one(False), "add_one_graph": lambda: add_one(True), "chain": chain,
    "mlp": mlp, "lenet": lenet, "resnet20": resnet20, "gpt": gpt, "adamw": adamw, "prefill": prefill, "decode": decode,
    "decode_bf16": lambda *a: decode(*a, torch.bfloat16), "decode_fp16": lambda *a: decode(*a, torch.float16), "loader": loader,
    **functions.works(forward_only),
}


def peak_bytes():
    with open("/proc/self/status") as status:
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def memory_of_lenet():
    step, _ = lenet(64)
    for _ in range(20):
        step()
    print(peak_bytes())


if __name__ == "__main__":
    memory_of_lenet() if "memory" in VARIANTS else serve(WORKS)
