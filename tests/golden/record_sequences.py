#!/usr/bin/env python3
"""Records what PyTorch's attention and recurrent layers compute in tests/golden/sequences.json, which tests/integration/sequence_parity.cpp repeats.

    python tests/golden/record_sequences.py             # writes the file
    python tests/golden/record_sequences.py --check     # fails when PyTorch gives something else than the file says

Each layer is built and fed after its own manual_seed. For float64 and float32 the file has the initial parameters, the inputs, all results, the sum of their squares weighted by
0.5, 0.87, 1.24, ..., and its gradients for each parameter and each input. Needs torch.
"""
import pathlib

import recording

recording.needs("torch")

import torch
from record_modules import NAMES, written
from torch import nn

FILE = pathlib.Path(__file__).with_name("sequences.json")


def flat(result):
    if isinstance(result, torch.Tensor):
        return [result]
    return [x for part in result for x in flat(part)]


def attention():
    layer = nn.MultiheadAttention(12, 3)
    x = torch.randn(5, 2, 12)
    return layer, [x], lambda x: layer(x, x, x)


def causal_attention():
    layer = nn.MultiheadAttention(8, 2, bias=False)
    x = torch.randn(6, 3, 8)
    hidden = torch.ones(6, 6, dtype=torch.bool).triu(1)
    return layer, [x], lambda x: layer(x, x, x, need_weights=False, attn_mask=hidden)[0]


def cross_attention():
    layer = nn.MultiheadAttention(8, 2, add_bias_kv=True, add_zero_attn=True, kdim=5, vdim=3)
    query = torch.randn(4, 2, 8)
    key = torch.randn(3, 2, 5)
    value = torch.randn(3, 2, 3)
    padding = torch.tensor([[False, False, True], [False, False, False]])
    return layer, [query, key, value], lambda q, k, v: layer(q, k, v, key_padding_mask=padding, average_attn_weights=False)


def rnn():
    layer = nn.RNN(4, 5, num_layers=2, bidirectional=True)
    x = torch.randn(6, 3, 4)
    h = torch.randn(4, 3, 5)
    return layer, [x, h], layer


def lstm():
    layer = nn.LSTM(4, 6, num_layers=2, batch_first=True, proj_size=3)
    x = torch.randn(3, 5, 4)
    h = torch.randn(2, 3, 3)
    c = torch.randn(2, 3, 6)
    return layer, [x, h, c], lambda x, h, c: layer(x, (h, c))


def gru():
    layer = nn.GRU(4, 5, num_layers=3, bidirectional=True, bias=False)
    x = torch.randn(6, 3, 4)
    return layer, [x], layer


LAYERS = {"attention": attention, "causal attention": causal_attention, "cross attention": cross_attention, "rnn": rnn, "lstm": lstm, "gru": gru}


def record():
    recorded = {}
    for dtype in (torch.float64, torch.float32):
        torch.set_default_dtype(dtype)
        for seed, (name, make) in enumerate(LAYERS.items()):
            torch.manual_seed(seed)
            layer, inputs, run = make()
            for x in inputs:
                x.requires_grad_()
            results = flat(run(*inputs))
            loss = sum((r * r * (torch.arange(r.numel(), dtype=dtype) * 0.37 + 0.5).reshape(r.shape)).sum() for r in results)
            loss.backward()
            recorded[f"{name}, {NAMES[dtype]}"] = {
                "initial": [written(p) for p in layer.parameters()], "inputs": [written(x) for x in inputs], "results": [written(r) for r in results],
                "gradients": [written(p.grad) for p in list(layer.parameters()) + inputs]}
    torch.set_default_dtype(torch.float32)
    return {"layers": recorded}


if __name__ == "__main__":
    recording.main(FILE, record, lambda document: recording.compact(document, ["initial", "gradients"]))
