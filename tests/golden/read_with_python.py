#!/usr/bin/env python3
"""Opens a folder of event files with the real tensorboard package and a checkpoint with the real safetensors package; prints as JSON what they find.

    python tests/golden/read_with_python.py RUNS_FOLDER CHECKPOINT

For tests/integration/watching.cpp, in `tito test --thorough`. Needs tensorboard, safetensors and numpy.
"""
import json
import logging
import sys

from safetensors import safe_open
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

logging.disable(logging.WARNING)
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "histograms": 0})
events.Reload()
tags = events.Tags()
found = {
    "scalars": {tag: [[event.step, event.value] for event in events.Scalars(tag)] for tag in tags["scalars"]},
    "histograms": {tag: [[event.step, event.histogram_value.num, event.histogram_value.sum] for event in events.Histograms(tag)] for tag in tags["histograms"]},
}
with safe_open(sys.argv[2], framework="numpy") as checkpoint:
    found["tensors"] = {name: [str(checkpoint.get_tensor(name).dtype), list(checkpoint.get_tensor(name).shape), checkpoint.get_tensor(name).reshape(-1).tolist()] for name in checkpoint.keys()}
    found["format"] = checkpoint.metadata()["format"]
print(json.dumps(found))
