#!/usr/bin/env python3
"""Records PyTorch's convolutions, poolings and norms in tests/golden/image_operators.json, in the form of operators.json.

    python tests/golden/record_image_operators.py             # writes the file
    python tests/golden/record_image_operators.py --check     # fails when PyTorch gives something else than the file says

What is recorded of a case is said in record_operators.py, whose functions do it; the rows are in tests/package/cases_images.cpp. Needs torch.
"""
import pathlib

import recording

recording.needs("torch")

import torch
import torch.nn.functional as F_
import torch.nn.grad

import record_operators as base
from record_operators import F, P

FILE = pathlib.Path(__file__).with_name("image_operators.json")
CASES = {}
base.numbers.calls = 5000  # inputs of their own, whatever record_operators.py has


def case(name, *inputs, run):
    assert name not in CASES, name
    CASES[name] = (inputs, run)


# ---- Convolutions. convolution_input and convolution_weight are the gradients, as functions of their own.
case("im2col", F(2, 2, 4, 3), run=lambda x: F_.unfold(x, (2, 3), dilation=1, padding=1, stride=(2, 1)))
case("im2col.dilated", F(1, 1, 5, 4), run=lambda x: F_.unfold(x, 2, dilation=(3, 2)))
case("col2im", F(2, 8, 6), run=lambda x: F_.fold(x, (4, 3), 2))
case("col2im.strided", F(1, 6, 9), run=lambda x: F_.fold(x, (4, 3), (2, 3), padding=1, stride=(2, 1)))
case("convolution", F(2, 3, 4, 3), F(2, 3, 2, 3), run=lambda x, w: F_.conv2d(x, w))
case("convolution.strided", F(2, 2, 5, 4), F(3, 2, 3, 2), run=lambda x, w: F_.conv2d(x, w, stride=(2, 1), padding=(1, 2), dilation=(1, 2)))
case("convolution.groups", F(1, 4, 3, 3), F(4, 2, 2, 2), run=lambda x, w: F_.conv2d(x, w, padding=1, groups=2))
case("convolution.one_dimension", F(2, 2, 6), F(3, 2, 3), run=lambda x, w: F_.conv1d(x, w, stride=2, padding=1))
case("convolution.three_dimensions", F(1, 2, 3, 3, 2), F(2, 2, 2, 2, 2), run=lambda x, w: F_.conv3d(x, w, padding=(0, 1, 0)))
case("convolution_input", F(2, 3, 2, 3), F(3, 2, 3, 2), run=lambda g, w: torch.nn.grad.conv2d_input((2, 2, 5, 5), w, g, stride=2, padding=(0, 1)))
case("convolution_input.groups", F(1, 4, 2, 2), F(4, 1, 2, 2), run=lambda g, w: torch.nn.grad.conv2d_input((1, 2, 3, 3), w, g, groups=2))
case("convolution_weight", F(2, 2, 5, 5), F(2, 3, 2, 3), run=lambda x, g: torch.nn.grad.conv2d_weight(x, (3, 2, 3, 2), g, stride=2, padding=(0, 1)))
case("convolution_weight.groups", F(1, 2, 3, 3), F(1, 4, 2, 2), run=lambda x, g: torch.nn.grad.conv2d_weight(x, (4, 1, 2, 2), g, groups=2))
case("conv2d", F(2, 2, 4, 4), F(3, 2, 3, 3), F(3), run=lambda x, w, b: F_.conv2d(x, w, b, padding=1))
case("conv2d.same", F(1, 2, 4, 3), F(2, 2, 2, 3), F(2), run=lambda x, w, b: F_.conv2d(x, w, b, padding="same"))
case("conv2d.one_image", F(2, 3, 3), F(2, 2, 2, 2), F(2), run=lambda x, w, b: F_.conv2d(x, w, b))
case("conv2d.channels_differ", F(1, 3, 4, 4), F(2, 2, 3, 3), run=lambda x, w: F_.conv2d(x, w))
case("conv2d.too_large", F(1, 1, 2, 2), F(1, 1, 3, 3), run=lambda x, w: F_.conv2d(x, w))
case("conv2d.wrong_bias", F(1, 1, 3, 3), F(2, 1, 2, 2), F(3), run=lambda x, w, b: F_.conv2d(x, w, b))

# ---- Pooling. The values are distinct, so that no window has two winners.
case("max_pool2d_with_indices", F(1, 2, 4, 4), run=lambda x: F_.max_pool2d(x, 2, return_indices=True))
case("max_pool2d", F(2, 2, 4, 5), run=lambda x: F_.max_pool2d(x, (2, 3), stride=(2, 1), padding=(1, 0)))
case("max_pool2d.with_indices", F(1, 2, 5, 5), run=lambda x: F_.max_pool2d(x, 3, stride=2, padding=1, ceil_mode=True, return_indices=True))
case("max_pool2d.dilated", F(1, 5, 6), run=lambda x: F_.max_pool2d(x, 2, stride=1, dilation=(2, 3)))
case("max_pool2d.too_large", F(1, 1, 2, 2), run=lambda x: F_.max_pool2d(x, 3))
case("max_pool2d.padded_too_much", F(1, 1, 2, 2), run=lambda x: F_.max_pool2d(x, 2, padding=2))
case("avg_pool2d", F(2, 2, 4, 4), run=lambda x: F_.avg_pool2d(x, 2))
case("avg_pool2d.padded", F(1, 2, 5, 4), run=lambda x: F_.avg_pool2d(x, 3, stride=2, padding=1, ceil_mode=True))
case("avg_pool2d.inside_only", F(1, 5, 4), run=lambda x: F_.avg_pool2d(x, 3, stride=2, padding=1, ceil_mode=True, count_include_pad=False))
case("avg_pool2d.divisor", F(1, 1, 4, 3), run=lambda x: F_.avg_pool2d(x, 2, divisor_override=3))

# ---- Norms.
case("batch_norm", F(3, 2, 2, 2), P(2), F(2), run=lambda x, w, b: F_.batch_norm(x, None, None, w, b, training=True))
case("batch_norm.plain", F(4, 3), run=lambda x: F_.batch_norm(x, None, None, training=True, eps=0.1))
case("batch_norm.evaluation", F(2, 2, 3), P(2), F(2), F(2), P(2), run=lambda x, w, b, m, v: F_.batch_norm(x, m, v, w, b))
case("batch_norm.wrong_weight", F(3, 2, 2), P(3), run=lambda x, w: F_.batch_norm(x, None, None, w, training=True))

# ---- Chapter 82: other numbers of dimensions, transposed convolutions, given output sizes, norms within an example.
case("conv1d", F(2, 2, 6), F(4, 1, 3), F(4), run=lambda x, w, b: F_.conv1d(x, w, b, stride=2, padding=1, groups=2))
case("conv3d", F(1, 2, 3, 3, 2), F(2, 2, 2, 2, 1), F(2), run=lambda x, w, b: F_.conv3d(x, w, b, padding=(0, 1, 0)))
case("conv_transpose1d", F(2, 2, 3), F(2, 3, 3), F(3), run=lambda x, w, b: F_.conv_transpose1d(x, w, b, stride=2, padding=1, output_padding=1))
case("conv_transpose2d", F(1, 4, 2, 3), F(4, 2, 2, 3), F(4), run=lambda x, w, b: F_.conv_transpose2d(x, w, b, stride=(1, 2), groups=2, dilation=(2, 1)))
case("conv_transpose3d", F(1, 2, 2, 2, 2), F(2, 1, 2, 2, 2), run=lambda x, w: F_.conv_transpose3d(x, w, padding=(1, 0, 0)))
case("conv_transpose2d.channels_differ", F(1, 3, 2, 2), F(2, 2, 2, 2), run=lambda x, w: F_.conv_transpose2d(x, w))
case("max_pool1d", F(2, 2, 7), run=lambda x: F_.max_pool1d(x, 3, 2, 1, return_indices=True))
case("max_pool3d", F(1, 2, 4, 3, 4), run=lambda x: F_.max_pool3d(x, (3, 2, 2), (2, 1, 2), (1, 0, 1), return_indices=True))
case("avg_pool1d", F(2, 7), run=lambda x: F_.avg_pool1d(x, 3, 2, 1, True, False))
case("avg_pool3d", F(1, 1, 3, 4, 3), run=lambda x: F_.avg_pool3d(x, (2, 3, 2), 2, (1, 1, 0), True, False))
case("adaptive_avg_pool1d", F(2, 2, 5), run=lambda x: F_.adaptive_avg_pool1d(x, 3))
case("adaptive_avg_pool2d", F(2, 1, 5, 4), run=lambda x: F_.adaptive_avg_pool2d(x, (3, 2)))
case("adaptive_avg_pool3d", F(1, 2, 3, 2, 4), run=lambda x: F_.adaptive_avg_pool3d(x, (2, 1, 3)))
case("adaptive_max_pool2d", F(2, 1, 5, 4), run=lambda x: F_.adaptive_max_pool2d(x, (3, 2), return_indices=True))
case("adaptive_max_pool3d", F(1, 2, 3, 2, 4), run=lambda x: F_.adaptive_max_pool3d(x, (2, 1, 3), return_indices=True))
case("group_norm", F(2, 4, 3), P(4), F(4), run=lambda x, w, b: F_.group_norm(x, 2, w, b))
case("group_norm.not_divisible", F(2, 4, 3), run=lambda x: F_.group_norm(x, 3))
case("instance_norm", F(2, 2, 4), P(2), F(2), run=lambda x, w, b: F_.instance_norm(x, weight=w, bias=b))
case("instance_norm.evaluation", F(2, 2, 3), F(2), P(2), run=lambda x, m, v: F_.instance_norm(x, m, v, use_input_stats=False))
case("channel_affine", F(3, 2, 2, 2), P(2), F(2), run=lambda x, w, b: x * w.view(1, 2, 1, 1) + b.view(1, 2, 1, 1))
case("window_means", F(2, 2, 5, 4), run=lambda x: F_.avg_pool2d(x, (3, 2), (2, 1), (1, 0), count_include_pad=False))
case("window_means_backward", F(2, 2, 3, 3), run=lambda g: torch.ops.aten.avg_pool2d_backward(g, torch.zeros(2, 2, 5, 4, dtype=g.dtype), (3, 2), (2, 1), (1, 0), False, False, None))
case("_adaptive_avg_pool2d", F(2, 2, 5, 4), run=lambda x: F_.adaptive_avg_pool2d(x, (3, 2)))
case("_adaptive_avg_pool2d_backward", F(2, 2, 3, 2), run=lambda g: torch.ops.aten._adaptive_avg_pool2d_backward(g, torch.zeros(*g.shape[:2], 5, 4, dtype=g.dtype)))
case("pick_pixels", F(2, 2, 3, 4), run=lambda x: F_.interpolate(x, (5, 6)))
case("pick_pixels_backward", F(2, 2, 5, 6), run=lambda g: torch.ops.aten.upsample_nearest2d_backward(g, (5, 6), (*g.shape[:2], 3, 4)))


if __name__ == "__main__":
    recording.main(FILE, lambda: {"cases": base.record(CASES)}, recording.row_by_row)
