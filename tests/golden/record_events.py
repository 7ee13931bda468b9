#!/usr/bin/env python3
"""Records TensorBoard's event file of a few values in tests/golden/events.json; tests/integration/watching.cpp writes the same file, byte by byte.

    python tests/golden/record_events.py             # writes the file
    python tests/golden/record_events.py --check     # fails when tensorboard gives something else than the file says

The bytes come from the tensorboard package's own protocol buffers and record writer; histograms are counted by numpy. Needs tensorboard and numpy.
"""
import io
import json
import pathlib

import recording

recording.needs("tensorboard")

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary
from tensorboard.summary.writer.record_writer import RecordWriter

FILE = pathlib.Path(__file__).with_name("events.json")
HISTOGRAM = [-2.5, -0.75, -1e-3, 0.0, 1e-12, 0.001, 0.5, 0.5, 3.0, 1000.0]


def buckets():
    limit, positive = 1e-12, []
    while limit < 1e20:
        positive.append(limit)
        limit *= 1.1
    return [-limit for limit in reversed(positive)] + [0.0] + positive


def histogram(values):
    values = np.array(values, dtype=np.float64)
    counts, limits = np.histogram(values, bins=buckets())
    full = np.nonzero(counts)[0]
    first, last = full[0], full[-1] + 1
    return HistogramProto(
        min=values.min(),
        max=values.max(),
        num=len(values),
        sum=float(sum(values.tolist())),
        sum_squares=float(sum((values * values).tolist())),
        bucket_limit=limits[first : last + 1].tolist(),
        bucket=[0.0] + counts[first:last].astype(float).tolist(),
    )


def record():
    stream = io.BytesIO()
    writer = RecordWriter(stream)
    events = [
        Event(wall_time=1700000000.25, file_version="brain.Event:2"),
        Event(wall_time=1700000001.25, step=0, summary=Summary(value=[Summary.Value(tag="loss/train", simple_value=0.6931472)])),
        Event(wall_time=1700000002.25, step=1, summary=Summary(value=[Summary.Value(tag="loss/train", simple_value=0.0)])),
        Event(wall_time=1700000003.25, step=123456789012, summary=Summary(value=[Summary.Value(tag="Genauigkeit \u00fc", simple_value=float("nan"))])),
        Event(wall_time=1700000004.25, step=300, summary=Summary(value=[Summary.Value(tag="fc1.weight", histo=histogram(HISTOGRAM))])),
        Event(wall_time=1700000005.25, step=-1, summary=Summary(value=[Summary.Value(tag="ones", histo=histogram([1.0]))])),
    ]
    for event in events:
        writer.write(event.SerializeToString())
    return {"bytes": stream.getvalue().hex(), "histogram": HISTOGRAM}


if __name__ == "__main__":
    recording.main(FILE, record, lambda document: json.dumps(document, indent=1))
