#!/usr/bin/env python3
"""Records how PyTorch trains a small network in tests/golden/mlp.json, which tests/integration/mlp_parity.cpp repeats.

    python tests/golden/record_mlp.py             # writes the file
    python tests/golden/record_mlp.py --check     # fails when PyTorch gives something else than the file says

The network is Linear(6, 16), ReLU, Linear(16, 4) with cross entropy on 24 random samples, all after manual_seed(2024). For each
dtype and optimizer the file has the initial parameters, the loss before each of 100 steps, and the parameters after them. Beside
it stand the numbers of the random functions for their seeds. Needs torch.
"""
import pathlib

import recording

recording.needs("torch")

import torch

FILE = pathlib.Path(__file__).with_name("mlp.json")
NAMES = {torch.float64: "Double", torch.float32: "Float", torch.int64: "Long"}
STEPS = 100
OPTIMIZERS = {
    "SGD": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "SGD with Nesterov momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, nesterov=True),
    "Adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "AdamW": lambda parameters: torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.05),
}


def written(tensor):
    tensor = tensor.detach()
    values = tensor.reshape(-1).tolist()
    if tensor.dtype == torch.float32:
        values = [float(f"{v:.9g}") for v in values]
    return [NAMES[tensor.dtype], list(tensor.shape), values]


def train(dtype, make_optimizer):
    torch.manual_seed(2024)
    torch.set_default_dtype(dtype)
    net = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 4))
    inputs, targets = torch.randn(24, 6), torch.randint(0, 4, (24,))
    run = {"initial": [written(p) for p in net.parameters()], "inputs": written(inputs), "targets": written(targets)}
    optimizer = make_optimizer(net.parameters())
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(inputs), targets)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    run["losses"] = losses
    run["final"] = [written(p) for p in net.parameters()]
    torch.set_default_dtype(torch.float32)
    return run


def seeded(seed, draw):
    torch.manual_seed(seed)
    return [written(x) for x in draw()]


def random_numbers():
    init = torch.nn.init
    return {
        "rand": seeded(1, lambda: [torch.rand(5), torch.rand(3, 7), torch.rand(9, dtype=torch.float64)]),
        "randn": seeded(2, lambda: [torch.randn(5), torch.randn(33), torch.randn(6, 8, dtype=torch.float64), torch.randn(3, dtype=torch.float64)]),
        "randint": seeded(3, lambda: [torch.randint(10, (20,)), torch.randint(-5, 2**40, (6,))]),
        "randperm": seeded(4, lambda: [torch.randperm(1), torch.randperm(64)]),
        "kaiming": seeded(5, lambda: [init.kaiming_uniform_(torch.empty(4, 5), a=5**0.5), init.kaiming_normal_(torch.empty(6, 5), nonlinearity="relu")]),
        "xavier": seeded(6, lambda: [init.xavier_uniform_(torch.empty(4, 5)), init.xavier_normal_(torch.empty(6, 5), gain=2.0)]),
        "linear": seeded(7, lambda: list(torch.nn.Linear(7, 3).parameters())),
        "one stream": seeded(8, lambda: [torch.rand(3), torch.randn(3), torch.randint(9, (3,)), torch.randn(20), torch.randperm(5), torch.rand(1)]),
    }


def record():
    runs = {f"{name}, {NAMES[dtype]}": train(dtype, make) for name, make in OPTIMIZERS.items() for dtype in (torch.float64, torch.float32)}
    return {"runs": runs, "random": random_numbers()}


if __name__ == "__main__":
    recording.main(FILE, record, lambda document: recording.compact(document, ["initial", "losses"]))
