#!/usr/bin/env python3
"""Opens the files of a folder with Python's own torch (*.pt, weights_only=True) and safetensors (*.safetensors); prints as JSON what they find.

    python tests/golden/open_checkpoints.py FOLDER

For tests/integration/published_weights.cpp. Needs torch, safetensors and numpy.
"""
import json
import pathlib
import sys

import torch
from safetensors import safe_open


def plain(value):
    if isinstance(value, torch.Tensor):
        return {"dtype": str(value.dtype), "shape": list(value.shape), "strides": list(value.stride()), "values": value.detach().reshape(-1).tolist(),
                "requires_grad": value.requires_grad, "storage": value.untyped_storage().data_ptr()}
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, [plain(inner) for inner in value]]
    return value


found = {}
for file in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    if file.suffix == ".safetensors":
        with safe_open(file, framework="numpy") as opened:
            found[file.name] = {name: {"shape": list(opened.get_tensor(name).shape), "values": opened.get_tensor(name).reshape(-1).tolist()} for name in opened.keys()}
            found[file.name]["metadata"] = opened.metadata()
    if file.suffix == ".pt":
        found[file.name] = plain(torch.load(file, weights_only=True))
        with_mmap = plain(torch.load(file, weights_only=True, mmap=True))
        assert str(with_mmap.keys()) == str(found[file.name].keys())
print(json.dumps(found))
