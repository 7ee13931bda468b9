#!/usr/bin/env python3
"""Records how PyTorch trains LeNet and ResNet-20 in tests/golden/cnn.json, which tests/integration/cnn_parity.cpp repeats.

    python tests/golden/record_cnn.py             # writes the file
    python tests/golden/record_cnn.py --check     # fails when PyTorch gives something else than the file says

Both networks, their data and their targets come from manual_seed(2015), in float64. For each the file has the losses of 50 steps of SGD, the norm of each
parameter before and after them, and for ResNet-20 the sums of the running averages and its scores in evaluation mode. Needs torch.
"""
import pathlib

import recording

recording.needs("torch")

import torch
import torch.nn.functional as F
from torch import nn

FILE = pathlib.Path(__file__).with_name("cnn.json")
STEPS = 50


class LeNet(nn.Module):
    def __init__(self, image_size, kernel_size):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, kernel_size, padding=kernel_size // 2)
        self.conv2 = nn.Conv2d(6, 16, kernel_size)
        side = (image_size // 2 - kernel_size + 1) // 2
        self.fc1 = nn.Linear(16 * side * side, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


def conv3x3(in_channels, out_channels, stride):
    conv = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


class BasicBlock(nn.Module):
    def __init__(self, in_channels, out_channels, stride):
        super().__init__()
        self.stride, self.more = stride, out_channels - in_channels
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels, 1)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x):
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.more))
        return F.relu(shortcut + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class ResNet(nn.Module):
    def __init__(self, blocks, width=16):
        super().__init__()
        self.conv1 = conv3x3(3, width, 1)
        self.bn1 = nn.BatchNorm2d(width)
        stage = lambda before, after, stride: nn.Sequential(*[BasicBlock(before if i == 0 else after, after, stride if i == 0 else 1) for i in range(blocks)])
        self.layer1 = stage(width, width, 1)
        self.layer2 = stage(width, 2 * width, 2)
        self.layer3 = stage(2 * width, 4 * width, 2)
        self.fc = nn.Linear(4 * width, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


def train(make_network, sizes, rate):
    torch.manual_seed(2015)
    network = make_network()
    inputs, targets = torch.randn(sizes), torch.randint(0, 10, (sizes[0],))
    norms = lambda: [p.norm().item() for p in network.parameters()]
    run = {"initial": norms(), "losses": []}
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, weight_decay=1e-4)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(network(inputs), targets)
        loss.backward()
        optimizer.step()
        run["losses"].append(loss.item())
    run["final"] = norms()
    run["buffers"] = [b.double().sum().item() for b in network.buffers()]
    network.eval()
    run["scores"] = network(inputs).detach().reshape(-1)[:20].tolist()
    return run


def record():
    torch.set_default_dtype(torch.float64)
    return {"lenet": train(lambda: LeNet(12, 3), (16, 1, 12, 12), 0.05), "resnet20": train(lambda: ResNet(3), (4, 3, 8, 8), 0.01)}


if __name__ == "__main__":
    recording.main(FILE, record, lambda document: recording.compact(document, ["initial", "losses"]))
