#!/usr/bin/env python3
"""Records files that PyTorch and safetensors write in tests/golden/checkpoints.json; tests/integration/published_weights.cpp opens them.

    python tests/golden/record_checkpoints.py             # writes the file
    python tests/golden/record_checkpoints.py --check     # fails when these packages write other tensors than the file says

For each file there are its bytes (hexadecimal) and every tensor in it as PyTorch sees it. "refused" are files that torch.load would
execute or cannot open with weights_only=True, with the name it complains about. Needs torch and safetensors.
"""
import io
import json
import os
import pathlib
import warnings
import zipfile
from collections import OrderedDict

import recording

recording.needs("torch", "safetensors")

import safetensors
import safetensors.torch
import torch

FILE = pathlib.Path(__file__).with_name("checkpoints.json")
NAMES = {
    torch.float64: "Double", torch.float32: "Float", torch.int64: "Long", torch.int32: "Int", torch.int16: "Short", torch.int8: "Char",
    torch.uint8: "Byte", torch.bool: "Bool", torch.float16: "Half", torch.bfloat16: "BFloat16",
}
warnings.filterwarnings("ignore")


def written(tensor):
    values = [float(v) if tensor.is_floating_point() else int(v) for v in tensor.detach().reshape(-1).tolist()]
    return [NAMES[tensor.dtype], list(tensor.shape), [v if v == v and abs(v) != float("inf") else str(v) for v in values]]


def named_tensors(value, path=""):
    if isinstance(value, torch.Tensor):
        return {path: written(value)}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else []
    found = {}
    for key, inner in items:
        found.update(named_tensors(inner, f"{path}.{key}" if path else str(key)))
    return found


def torch_file(value, **options):
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def deflated(data):
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name), old.read(name), compress_type=zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def script_file(module):
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(module), stream)
    return stream.getvalue()


class Harm:
    def __reduce__(self):
        return (os.system, ("true",))


def small_model():
    torch.manual_seed(4)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))


def every_dtype():
    return {NAMES[t] + str(t).split(".")[1]: torch.tensor([0, 1, 1, 0, 1, 1]).reshape(2, 3).to(t) for t in NAMES}


def record():
    model = small_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model(torch.randn(5, 3)).pow(2).mean().backward()
    optimizer.step()
    state = model.state_dict()
    base = torch.arange(12, dtype=torch.float64)
    shared = {"base": base, "columns": base.view(3, 4).t(), "row": base[4:8], "every_third": base[::3], "scalar": base[7], "expanded": base[:1].expand(3),
              "none": torch.empty(0, 3), "parameter": torch.nn.Parameter(torch.ones(2))}
    checkpoint = {"model": state, "optimizer": optimizer.state_dict(), "epoch": 3, "loss": 0.125, "name": "M\u00fcller", "steps": [1, 300, -70000, 2**40], "nothing": None,
                  "done": False, "size": torch.Size([2, 3]), "ordered": OrderedDict(a=1), (7): "seven"}
    narrow = {"half": torch.tensor([1.0, -2.0, 65504.0, 2.0**-24, float("inf")], dtype=torch.float16), "brain": torch.tensor([1.0, -2.5, 3e38], dtype=torch.bfloat16)}

    files = {}
    for name, value, options in [("state_dict", state, {}), ("checkpoint", checkpoint, {}), ("shared", shared, {}), ("dtypes", every_dtype(), {}), ("narrow", narrow, {}),
                                 ("protocol 4", {"x": base, "y": (1, "two")}, {"pickle_protocol": 4})]:
        data = torch_file(value, **options)
        if "pickle_protocol" not in options:
            torch.load(io.BytesIO(data), weights_only=True)  # Python itself takes those of protocol 2
        files[name] = {"kind": "pt", "bytes": data.hex(), "tensors": named_tensors(value)}
    files["deflated"] = {"kind": "pt", "bytes": deflated(torch_file(state)).hex(), "tensors": named_tensors(state)}
    files["torchscript"] = {"kind": "pt", "bytes": script_file(model).hex(), "tensors": named_tensors(state)}
    for name, value in [("dtypes", every_dtype()), ("narrow", narrow)]:
        files["safetensors " + name] = {"kind": "safetensors", "bytes": safetensors.torch.save(value, {"format": "pt"}).hex(), "tensors": named_tensors(value)}

    refused = {
        "posix.system": torch_file({"weights": Harm()}).hex(),
        "torch.nn.modules.linear.Linear": torch_file(torch.nn.Linear(1, 1)).hex(),
        "torch.ComplexFloatStorage": torch_file(torch.ones(1, dtype=torch.complex64)).hex(),
    }
    return {"files": files, "refused": refused}


def other_tensors(stored, recorded):
    """The bytes of an archive may change with its date; the tensors may not. (A bias before a batch norm has no gradient but noise, which Adam makes a step of 0.01.)"""
    return [name for name, entry in recorded["files"].items() if not recording.same(stored["files"][name]["tensors"], entry["tensors"], 0.03)]


if __name__ == "__main__":
    recording.main(FILE, record, json.dumps, other_tensors)
