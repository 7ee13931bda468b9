#!/usr/bin/env python3
"""Trains a 64-32-10 network on the digits with PyTorch and records its weights in data/digits_mlp.npy.

    python tests/golden/record_digits_mlp.py            # writes the file and prints what the tests expect
    python tests/golden/record_digits_mlp.py --check    # the same from the recorded file; fails when training anew gives other guesses

The file holds four float32 arrays, one after the other, as repeated np.save writes them: fc1.weight (32, 64), fc1.bias (32),
fc2.weight (10, 32), fc2.bias (10). Every fifth image (rows 0, 5, 10, ...) is held out; pixels are divided by 16.
Needs torch and numpy.
"""
import argparse
import hashlib
import pathlib
import sys

import recording

recording.needs("torch", "numpy")

import numpy as np
import torch

ROOT = pathlib.Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "data" / "digits_mlp.npy"
EPOCHS = 60
BATCH = 32


def digits():
    table = np.loadtxt(ROOT / "data" / "digits" / "optdigits.csv", delimiter=",")
    images = torch.tensor(table[:, :64] / 16, dtype=torch.float32)
    labels = torch.tensor(table[:, 64], dtype=torch.long)
    held_out = torch.arange(len(labels)) % 5 == 0
    return images, labels, held_out


def network():
    return torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))


def train(net, images, labels):
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3, weight_decay=1e-4)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(images[rows]), labels[rows]).backward()
            optimizer.step()


def save(net):
    with open(WEIGHTS, "wb") as file:
        for value in net.state_dict().values():
            np.save(file, value.numpy())


def load(net):
    with open(WEIGHTS, "rb") as file:
        for value in net.state_dict().values():
            value.copy_(torch.from_numpy(np.load(file)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(1)
    images, labels, held_out = digits()
    net = network()
    train(net, images[~held_out], labels[~held_out])
    with torch.no_grad():
        guesses = net(images).argmax(1)
        if arguments.check:
            load(net)
        else:
            save(net)
        logits = net(images)
    right = logits.argmax(1) == labels
    print("torch", torch.__version__)
    print("sha256 of this script", hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest())
    print("sha256 of the weights", hashlib.sha256(WEIGHTS.read_bytes()).hexdigest())
    print("held out:", int(right[held_out].sum()), "of", int(held_out.sum()), "right; wrong rows",
          [int(i) for i in torch.nonzero(~right & held_out).flatten()])
    print("trained on:", int(right[~held_out].sum()), "of", int((~held_out).sum()), "right")
    torch.set_printoptions(precision=6, sci_mode=False, linewidth=140)
    print("scores of the first two images:\n", logits[:2])
    other = int((guesses != logits.argmax(1)).sum())
    print("trained anew:", other, "other guesses")
    sys.exit(other > 0)


if __name__ == "__main__":
    main()
