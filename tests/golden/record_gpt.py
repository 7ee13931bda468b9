#!/usr/bin/env python3
"""Records how PyTorch trains a small GPT and what its transformer computes in tests/golden/gpt.json, which tests/integration/gpt_parity.cpp repeats.

    python tests/golden/record_gpt.py             # writes the file
    python tests/golden/record_gpt.py --check     # fails when PyTorch gives something else than the file says

The GPT is module 12's, built from torch.nn, from one seed: 50 steps of AdamW with warm-up, cosine and clipping on random windows of data/lessons.txt; the losses, and the
validation loss after them. A wider one in Half and BFloat16: its logits. The encoder-decoder is torch.nn.Transformer with parameters drawn in the order of their names. Needs torch.
"""
import math
import pathlib

import recording

recording.needs("torch")

import torch
from torch import nn
from torch.nn import functional as F

FILE = pathlib.Path(__file__).with_name("gpt.json")
TEXT = pathlib.Path(__file__).parents[2] / "data" / "lessons.txt"
NAMES = {torch.float64: "Double", torch.float32: "Float", torch.float16: "Half", torch.bfloat16: "BFloat16"}
LAYERS, HEADS, WIDTH, BLOCK, BATCH, STEPS, WARMUP, RATE = 2, 2, 16, 16, 4, 50, 10, 1e-2


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1 = nn.LayerNorm(width)
        self.c_attn = nn.Linear(width, 3 * width)
        self.attn_c_proj = nn.Linear(width, width)
        self.ln_2 = nn.LayerNorm(width)
        self.c_fc = nn.Linear(width, 4 * width)
        self.mlp_c_proj = nn.Linear(4 * width, width)

    def forward(self, x):
        B, T, C = x.shape
        q, k, v = (part.view(B, T, self.heads, C // self.heads).transpose(1, 2) for part in self.c_attn(self.ln_1(x)).split(C, 2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, T, C)
        x = x + self.attn_c_proj(y)
        return x + self.mlp_c_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, vocabulary, width=WIDTH, heads=HEADS, block=BLOCK):
        super().__init__()
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Embedding(block, width)
        self.h = nn.ModuleList([Block(width, heads) for _ in range(LAYERS)])
        self.ln_f = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.dim() >= 2:
                nn.init.normal_(parameter, 0, 0.02 / math.sqrt(2 * LAYERS) if name.endswith("c_proj.weight") else 0.02)
            elif name.endswith(".bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for block in self.h:
            x = block(x)
        return F.linear(self.ln_f(x), self.wte.weight)


def factor(step):
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 0.1 + 0.9 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP))) / 2


def train(dtype):
    torch.set_default_dtype(dtype)
    torch.manual_seed(2019)
    text = TEXT.read_text()
    letters = sorted(set(text))
    tokens = torch.tensor([letters.index(letter) for letter in text])
    count = len(tokens) * 9 // 10
    training, validation = tokens[:count], tokens[count:]
    model = GPT(len(letters))
    groups = [{"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 0.1},
              {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE)
    losses = []
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * factor(step)
        starts = torch.randint(0, len(training) - BLOCK, (BATCH,))
        rows = starts[:, None] + torch.arange(BLOCK)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(training[rows]).view(-1, len(letters)), training[rows + 1].view(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        rows = (torch.arange(64) * 100)[:, None] + torch.arange(BLOCK)
        final = F.cross_entropy(model(validation[rows]).view(-1, len(letters)), validation[rows + 1].view(-1)).item()
    torch.set_default_dtype(torch.float32)
    return {"losses": losses, "validation": final}


def transformer(activation):
    torch.set_default_dtype(torch.float64)
    model = nn.Transformer(8, 2, 2, 2, 12, dropout=0.0, activation=activation)
    torch.manual_seed(5)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name in sorted(parameters):
            parameters[name].normal_(0, 0.3)
    src, tgt = torch.randn(4, 2, 8), torch.randn(3, 2, 8)
    hidden = torch.tensor([[False, False, False, True], [False, False, False, False]])
    result = model(src, tgt, tgt_mask=nn.Transformer.generate_square_subsequent_mask(3), src_key_padding_mask=hidden, memory_key_padding_mask=hidden)
    (result * torch.arange(result.numel()).view(result.shape) * 0.01).sum().backward()
    gradients = {name: parameters[name].grad.abs().sum().item() for name in sorted(parameters)}
    torch.set_default_dtype(torch.float32)
    return {"result": ["Double", list(result.shape), result.detach().reshape(-1).tolist()], "gradients": gradients}


def half(dtype):
    """A wider GPT in two bytes a number, its weights drawn in float32 and rounded: logits of every third token of a text."""
    torch.manual_seed(65)
    model = GPT(50, width=64, heads=4, block=24)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() >= 2:
                parameter.mul_(4)
    tokens = (torch.arange(20) * 31).remainder(50)[None]
    with torch.no_grad():
        logits = model.to(dtype)(tokens)[0, ::3]
    return {"logits": ["Double", list(logits.shape), logits.double().reshape(-1).tolist()]}


def record():
    return {"runs": {NAMES[dtype]: train(dtype) for dtype in (torch.float64, torch.float32)},
            "half": {NAMES[dtype]: half(dtype) for dtype in (torch.float16, torch.bfloat16)},
            "transformer": {activation: transformer(activation) for activation in ("relu", "gelu")}}


if __name__ == "__main__":
    recording.main(FILE, record, lambda document: recording.compact(document, ["losses", "gradients"]))
