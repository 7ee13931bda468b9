#!/usr/bin/env python3
"""Records what PyTorch's modules compute in tests/golden/modules.json, which tests/integration/module_parity.cpp repeats.

    python tests/golden/record_modules.py             # writes the file
    python tests/golden/record_modules.py --check     # fails when PyTorch gives something else than the file says

Four small networks, each built and fed after its own manual_seed: between them they hold every module that has parameters or an
activation function, and a loss of each kind. For float64 and float32 the file has the initial parameters, the inputs, the output,
the loss and the gradient of each parameter. Needs torch.
"""
import pathlib

import recording

recording.needs("torch")

import torch
from torch import nn

FILE = pathlib.Path(__file__).with_name("modules.json")
NAMES = {torch.float64: "Double", torch.float32: "Float", torch.int64: "Long"}


def written(tensor):
    tensor = tensor.detach()
    values = tensor.reshape(-1).tolist()
    if tensor.dtype == torch.float32:
        values = [float(f"{v:.9g}") for v in values]
    return [NAMES[tensor.dtype], list(tensor.shape), values]


def smooth():
    net = nn.Sequential(nn.Linear(5, 8), nn.SELU(), nn.Linear(8, 8), nn.Mish(), nn.GELU(), nn.Linear(8, 8), nn.SiLU(), nn.Softplus(2), nn.GLU(),
                        nn.LogSigmoid(), nn.Tanhshrink(), nn.Softsign(), nn.Tanh(), nn.Sigmoid())
    x = torch.randn(6, 5)
    output = net(x)
    return net, [x], output, nn.functional.multilabel_soft_margin_loss(output, (x[:, :4] > 0).to(x.dtype))


def bent():
    net = nn.Sequential(nn.Linear(5, 8), nn.PReLU(8), nn.Linear(8, 8), nn.CELU(0.5), nn.Softshrink(0.1), nn.LeakyReLU(0.2), nn.Linear(8, 8), nn.ELU(0.5),
                        nn.Hardshrink(0.1), nn.Threshold(-0.2, -0.3), nn.Hardtanh(-0.9, 0.8), nn.ReLU6(), nn.Linear(8, 3), nn.LogSoftmax(1))
    x = torch.randn(6, 5)
    t = torch.randint(0, 3, (6,))
    output = net(x)
    return net, [x, t], output, nn.functional.nll_loss(output, t) + nn.functional.multi_margin_loss(output, t)


def two_inputs():
    net = nn.ModuleList([nn.Bilinear(3, 4, 5), nn.Linear(5, 4, bias=False)])
    a, b = torch.randn(6, 3), torch.randn(6, 4)
    output = net[1](torch.relu(net[0](a, b)))
    loss = nn.functional.smooth_l1_loss(output, b) + nn.functional.cosine_embedding_loss(output, b, torch.ones(6))
    return net, [a, b], output, loss


def shapes():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Unflatten(1, (2, 4)), nn.Linear(4, 3), nn.Softmin(-1), nn.Identity(), nn.Flatten(), nn.Linear(6, 4))
    x = torch.randn(6, 3, 2, 2)
    output = net(x)
    loss = nn.functional.triplet_margin_loss(output[:2], output[2:4], output[4:]) + nn.functional.poisson_nll_loss(output, x.flatten(1)[:, :4].abs())
    return net, [x], output, loss


NETWORKS = {"smooth": smooth, "bent": bent, "two inputs": two_inputs, "shapes": shapes}


def record():
    recorded = {}
    for dtype in (torch.float64, torch.float32):
        torch.set_default_dtype(dtype)
        for seed, (name, make) in enumerate(NETWORKS.items()):
            torch.manual_seed(seed)
            net, inputs, output, loss = make()
            loss.backward()
            recorded[f"{name}, {NAMES[dtype]}"] = {
                "initial": [written(p) for p in net.parameters()], "inputs": [written(x) for x in inputs], "output": written(output),
                "loss": written(loss), "gradients": [written(p.grad) for p in net.parameters()]}
    torch.set_default_dtype(torch.float32)
    return {"networks": recorded}


if __name__ == "__main__":
    recording.main(FILE, record, lambda document: recording.compact(document, ["initial", "gradients"]))
