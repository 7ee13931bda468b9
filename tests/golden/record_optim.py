#!/usr/bin/env python3
"""Records 100 steps of PyTorch's optimizers and schedulers in tests/golden/optim.json, which tests/integration/optimizers.cpp repeats.

    python tests/golden/record_optim.py             # writes the file
    python tests/golden/record_optim.py --check     # fails when PyTorch gives something else than the file says

Each optimizer trains Linear(5, 8), Tanh, Linear(8, 3) with cross entropy on 16 random samples, in float64, all after manual_seed(7). The file has the loss
before each step and the parameters after the last. Each scheduler is stepped 100 times on an optimizer with two groups; the file has both rates
(and, for the one-cycle schedule, the momentum) at the beginning and after each step. Needs torch.
"""
import math
import pathlib

import recording

recording.needs("torch")

import torch

FILE = pathlib.Path(__file__).with_name("optim.json")
STEPS = 100
O = torch.optim
S = torch.optim.lr_scheduler
OPTIMIZERS = {
    "SGD": lambda p: O.SGD(p, lr=0.1),
    "SGD, momentum, dampening, decay": lambda p: O.SGD(p, lr=0.1, momentum=0.9, dampening=0.3, weight_decay=1e-2),
    "SGD, Nesterov, decay": lambda p: O.SGD(p, lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-2),
    "Adagrad": lambda p: O.Adagrad(p, lr=0.05),
    "Adagrad, all": lambda p: O.Adagrad(p, lr=0.1, lr_decay=0.02, weight_decay=1e-2, initial_accumulator_value=0.1, eps=1e-6),
    "RMSprop": lambda p: O.RMSprop(p, lr=0.005),
    "RMSprop, momentum, decay": lambda p: O.RMSprop(p, lr=0.002, alpha=0.95, momentum=0.8, weight_decay=1e-2),
    "RMSprop, centered, momentum": lambda p: O.RMSprop(p, lr=0.002, alpha=0.9, momentum=0.5, centered=True, eps=1e-3),
    "Adam": lambda p: O.Adam(p, lr=0.01),
    "Adam, all": lambda p: O.Adam(p, lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=1e-2, amsgrad=True),
    "AdamW": lambda p: O.AdamW(p, lr=0.01),
    "AdamW, all": lambda p: O.AdamW(p, lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1, amsgrad=True),
    "LBFGS": lambda p: O.LBFGS(p, lr=0.05, max_iter=2, history_size=5),
    "LBFGS, strong Wolfe": lambda p: O.LBFGS(p, max_iter=2, history_size=3, line_search_fn="strong_wolfe"),
}
SCHEDULERS = {
    "StepLR": lambda o: S.StepLR(o, 7, gamma=0.8),
    "MultiStepLR": lambda o: S.MultiStepLR(o, [3, 20, 20, 70], gamma=0.5),
    "ExponentialLR": lambda o: S.ExponentialLR(o, 0.97),
    "ConstantLR": lambda o: S.ConstantLR(o, factor=0.25, total_iters=12),
    "LinearLR": lambda o: S.LinearLR(o, start_factor=0.1, end_factor=0.9, total_iters=30),
    "CosineAnnealingLR": lambda o: S.CosineAnnealingLR(o, 60, eta_min=0.01),
    "CosineAnnealingWarmRestarts": lambda o: S.CosineAnnealingWarmRestarts(o, 10, T_mult=2, eta_min=0.01),
    "CosineAnnealingWarmRestarts, same length": lambda o: S.CosineAnnealingWarmRestarts(o, 9),
    "OneCycleLR": lambda o: S.OneCycleLR(o, 0.5, total_steps=101),
    "OneCycleLR, linear, three phases": lambda o: S.OneCycleLR(o, 0.5, total_steps=101, pct_start=0.4, anneal_strategy="linear", three_phase=True, div_factor=10, final_div_factor=100),
    "SequentialLR": lambda o: S.SequentialLR(o, [S.LinearLR(o, start_factor=0.2, total_iters=10), S.CosineAnnealingLR(o, 50, eta_min=0.02), S.StepLR(o, 5, gamma=0.5)], [10, 60]),
    "ReduceLROnPlateau": lambda o: S.ReduceLROnPlateau(o, factor=0.5, patience=2, threshold=0.01, cooldown=3, min_lr=[0.03125, 0.0]),
    "ReduceLROnPlateau, max, abs": lambda o: S.ReduceLROnPlateau(o, mode="max", factor=0.7, patience=1, threshold=0.05, threshold_mode="abs"),
}


def metric(step):
    return math.sin(0.3 * step) - 0.02 * step


def train(make_optimizer):
    torch.manual_seed(7)
    net = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    inputs, targets = torch.randn(16, 5), torch.randint(0, 3, (16,))
    optimizer = make_optimizer(net.parameters())

    def closure():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(inputs), targets)
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(STEPS)]
    return {"losses": losses, "final": [["Double", list(p.shape), p.detach().reshape(-1).tolist()] for p in net.parameters()]}


def schedule(name, make_scheduler):
    parameters = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    optimizer = O.SGD([{"params": parameters[:1]}, {"params": parameters[1:], "lr": 0.1}], lr=0.4, momentum=0.9)
    scheduler = make_scheduler(optimizer)
    rows = []
    for step in range(STEPS + 1):
        row = [group["lr"] for group in optimizer.param_groups]
        rows.append(row + [optimizer.param_groups[0]["momentum"]] if name.startswith("OneCycle") else row)
        if step == STEPS:
            break
        optimizer.step()
        scheduler.step(metric(step)) if name.startswith("Reduce") else scheduler.step()
    return rows


def record():
    torch.set_default_dtype(torch.float64)
    return {
        "optimizers": {name: train(make) for name, make in OPTIMIZERS.items()},
        "schedulers": {name: schedule(name, make) for name, make in SCHEDULERS.items()},
    }


if __name__ == "__main__":
    recording.main(FILE, record, lambda document: recording.compact(document, ["losses", "schedulers"]).replace("]],", "]],\n"))
