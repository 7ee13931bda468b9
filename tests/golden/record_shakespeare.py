#!/usr/bin/env python3
"""Records how PyTorch trains the GPT of milestone 2019 on tinyshakespeare.txt, in tests/golden/shakespeare.json, which tests/integration/gpt_shakespeare.cpp repeats.

    python tests/golden/record_shakespeare.py            # writes the file
    python tests/golden/record_shakespeare.py --check    # fails when PyTorch gives something else than the file says

The text is tinyshakespeare.txt in the folder that TINYTORCH_DATA names (`tito data get tinyshakespeare` fetches it). The model is record_gpt.py's with the sizes of milestones/2019_gpt.cpp, in float32, from one
seed, so that initial weights and batches are the same. Two runs: a short one, and one of the milestone's length. For each the training loss of the first steps, and the loss on 200 windows of the last tenth
of the text after every 50 steps. Needs torch.
"""
import argparse
import hashlib
import json
import os
import pathlib

import record_gpt
import torch
from torch import nn
from torch.nn import functional as F

FILE = pathlib.Path(__file__).with_name("shakespeare.json")
record_gpt.LAYERS = 2
HEADS, WIDTH, CONTEXT = 4, 32, 32
BATCH, WARMUP, RATE, WINDOWS = 16, 50, 1e-2, 200
RUNS = {"short": 150, "long": 2500}


def loss_of(model, windows):
    logits = model(windows[:, :-1])
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), windows[:, 1:].reshape(-1))


def train(text, steps):
    torch.manual_seed(2019)
    record_gpt.WARMUP, record_gpt.STEPS = WARMUP, steps
    letters = sorted(set(text))
    tokens = torch.tensor([letters.index(letter) for letter in text])
    count = len(tokens) * 9 // 10
    training, held_out = tokens[:count], tokens[count:]
    model = record_gpt.GPT(len(letters), WIDTH, HEADS, CONTEXT)
    groups = [{"params": [p for p in model.parameters() if p.dim() >= 2], "weight_decay": 0.1},
              {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE)
    stride = (len(held_out) - CONTEXT - 1) // WINDOWS
    validation_windows = held_out[(torch.arange(WINDOWS) * stride)[:, None] + torch.arange(CONTEXT + 1)]
    losses, validation = [], []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * record_gpt.factor(step)
        starts = torch.randint(0, count - CONTEXT, (BATCH,))
        optimizer.zero_grad()
        loss = loss_of(model, training[starts[:, None] + torch.arange(CONTEXT + 1)])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step < 20:
            losses.append(loss.item())
        if (step + 1) % 50 == 0:
            with torch.no_grad():
                validation.append(loss_of(model, validation_windows).item())
    return {"steps": steps, "losses": losses, "validation": validation}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    arguments = parser.parse_args()
    data = pathlib.Path(os.environ.get("TINYTORCH_DATA", "")) / "tinyshakespeare.txt"
    if not data.is_file():
        raise SystemExit("TINYTORCH_DATA does not name a folder with tinyshakespeare.txt")
    text = data.read_text()
    torch.set_num_threads(1)
    recorded = {name: train(text, steps) for name, steps in RUNS.items()}
    if arguments.check:
        stored = json.loads(FILE.read_text())
        same = all(stored[name] == recorded[name] for name in RUNS)
        print("as recorded" if same else "changed")
        raise SystemExit(not same)
    head = {"torch": torch.__version__, "script": hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()}
    FILE.write_text(json.dumps({**head, **recorded}, separators=(",", ":")).replace('"short"', '\n"short"').replace('"long"', '\n"long"') + "\n")
    for name in RUNS:
        print(name, recorded[name]["steps"], "steps:", recorded[name]["validation"][-1])


if __name__ == "__main__":
    main()
