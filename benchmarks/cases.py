#!/usr/bin/env python3
"""Writes benchmarks/cases.json: what `tito bench` runs, with the targets of docs/performance.md. Run it after a change here."""
import json
import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent
cases = []


def case(suite, name, work, peers="torch", flops=0, bytes=0, line="", at_least=0, aim=0):
    """`line` names the row of docs/performance.md; at_least and aim are how many times as fast as the first peer we want to be there."""
    cases.append(dict(suite=suite, name=name, work=work, peers=peers.split(), flops=flops, bytes=bytes, line=line, at_least=at_least, aim=aim))


def gemm(suite, name, m, k, n, work="mm", **more):
    case(suite, name, f"{work} {m} {k} {n}", "torch numpy onnxruntime", 2 * m * k * n, 4 * (m * k + k * n + m * n), **more)


for size in (512, 1024, 2048):
    gemm("gemm", f"square {size}", size, size, size, line="sgemm 512-2048 square", at_least=0.95, aim=1.0)
SMALL = dict(line="sgemm small, batched small, skinny", at_least=1.2, aim=1.5)
for size in (32, 64, 128):
    gemm("gemm", f"square {size}", size, size, size, **SMALL)
for rows in (8, 32, 128):
    gemm("gemm", f"skinny {rows} x 768 x 3072, weights (out, in)", rows, 768, 3072, "linear", **SMALL)
for size in (16, 32, 64):
    case("gemm", f"64 batches of {size}", f"bmm 64 {size} {size} {size}", "torch numpy", 64 * 2 * size**3, 64 * 12 * size**2, **SMALL)

ROWS = dict(line="gelu tanh, var, argmax, max over a dimension, transpose on 4096 x 1024", at_least=3, aim=5)
n, r, c = 4096 * 1024, 4096, 1024
for work, moved in (("gelu_tanh", 8), ):
    case("operators", f"{work} 4M", f"{work} {n}", "torch", bytes=moved * n, **ROWS)
for work in ("var", "argmax"):
    case("operators", f"{work} over the columns", f"{work} {r} {c}", "torch numpy", bytes=4 * n, **ROWS)
# The wish was for var_mean: both values in one pass over the rows. `var` computes the same means on its way, on both sides, and is what the recorded times and the target are of; var_mean itself is measured beside it.
case("operators", "var_mean over the columns", f"var_mean {r} {c}", "torch numpy", bytes=4 * n)
for dim in (0, 1):
    case("operators", f"max over dimension {dim}", f"max {r} {c} {dim}", "torch numpy", bytes=4 * n, **ROWS)
case("operators", "transpose to contiguous", f"transpose {r} {c}", "torch numpy", bytes=8 * n, **ROWS)
RANDOM = dict(line="uniform, randn, dropout", at_least=3, aim=6)
for work, moved in (("rand", 4), ("randn", 4), ("dropout", 8)):
    case("operators", f"{work} 1M", f"{work} {1 << 20}", bytes=moved << 20, **RANDOM)

MEMORY = dict(at_least=1.1, aim=1.5)
for label, count in (("16 MB", 1 << 22), ("512 MB", 1 << 27)):
    memory = dict(MEMORY, line=f"softmax, cross-entropy, layernorm, sums, exp, tanh, add, relu on {label}")
    rows = count // 1024
    for work, moved in (("exp", 8), ("tanh", 8), ("relu", 8), ("add", 12), ("sum", 4)):
        case("memory-bound", f"{work} {label}", f"{work} {count}", "torch numpy onnxruntime" if work in ("relu", "tanh") and count < 1 << 24 else "torch numpy", bytes=moved * count, **memory)
    for work, moved in (("softmax", 8), ("layer_norm", 8), ("cross_entropy", 4), ("sum_rows", 4), ("sum_columns", 4)):
        case("memory-bound", f"{work} {label}", f"{work} {rows} 1024", "torch numpy", bytes=moved * count, **memory)

# What an operator leaves of the memory's bandwidth.
n, r = 1 << 27, 1 << 17
for work, arguments, moved in (("exp", n, 8), ("tanh", n, 8), ("relu", n, 8), ("add", n, 12), ("sum", n, 4), ("softmax", f"{r} 1024", 8), ("layer_norm", f"{r} 1024", 8), ("cross_entropy", f"{r} 1024", 4), ("sum_rows", f"{r} 1024", 4), ("sum_columns", f"{r} 1024", 4)):
    case("memory-bound", f"{work} 512 MB, beside moving its bytes", f"{work} {arguments}", "tinytorch-moving", bytes=moved * n, line="the same on 512 MB, as a share of the memory's bandwidth", at_least=0.85, aim=1.0)

CONV = dict(line="conv 3x3 64->64 56x56 b8 forward + backward", at_least=1.5, aim=1.5)
flops = 2 * 8 * 64 * 64 * 9 * 56 * 56
case("conv", "3x3 64->64 56x56 b8 forward", "convolution 8 64 64 56 3 1 1 0", "torch torch-channels-last", flops)
case("conv", "3x3 64->64 56x56 b8 forward and backward", "convolution_step 8 64 64 56 3 1 1 0", "torch torch-channels-last", 3 * flops, **CONV)
case("conv", "3x3 64->64 56x56 b8 forward and backward, beside channels-last", "convolution_step 8 64 64 56 3 1 1 0", "torch-channels-last", 3 * flops,
     line=CONV["line"], at_least=0.95, aim=1.1)
case("conv", "3x3 3->32 32x32 b32 forward and backward", "convolution_step 32 3 32 32 3 1 1 0", "torch torch-channels-last", 3 * 2 * 32 * 3 * 32 * 9 * 1024)
# Batch, channels, result's channels, side, kernel, stride, groups, and whether this side's images have their channels last, too.
for label, shape in (("1x1 64->256 56x56 b4", (4, 64, 256, 56, 1, 1, 1)), ("1x1 256->64 56x56 b4", (4, 256, 64, 56, 1, 1, 1)), ("3x3 stride 2 128->128 56x56 b4", (4, 128, 128, 56, 3, 2, 1)), ("7x7 stride 2 3->64 224x224 b2", (2, 3, 64, 224, 7, 2, 1)),
                     ("5x5 32->64 28x28 b8", (8, 32, 64, 28, 5, 1, 1)), ("depthwise 3x3 144 56x56 b4", (4, 144, 144, 56, 3, 1, 144)), ("depthwise 5x5 240 28x28 b4", (4, 240, 240, 28, 5, 1, 240))):
    batch, before, after, side, kernel, stride, groups = shape
    flops = 2 * batch * before * after // groups * kernel**2 * (side // stride) ** 2
    arguments = " ".join(map(str, shape))
    for last in (0, 1):
        peer = "torch-channels-last" if last else "torch"
        order = ", channels last" if last else ""
        case("conv", f"{label} forward{order}", f"convolution {arguments} {last}", peer, flops)
        case("conv", f"{label} forward and backward{order}", f"convolution_step {arguments} {last}", peer, 3 * flops)

case("overhead", "add of 1 element, no graph", "add_one", "libtorch torch", line="add of 1 element, without / with graph, against libtorch C++", at_least=10, aim=15)
case("overhead", "add of 1 element, with graph", "add_one_graph", "libtorch torch", line="add of 1 element, without / with graph, against libtorch C++", at_least=10, aim=15)
case("overhead", "chain of 1,000 tiny operators, forward and backward", "chain 1000", "libtorch torch", line="chain of 1,000 tiny operators, forward + backward", at_least=15, aim=25)
case("overhead", "MLP step under the profiler, beside the same step without", "watched_mlp 128", "tinytorch-unwatched", 6 * 128 * (784 * 512 + 512 * 512 + 5120),
     line="an MLP step under the profiler: overhead below 5 %", at_least=0.95, aim=0.98)

case("training", "MLP 784-512-512-10, batch 128, Adam", "mlp 128", "torch", 6 * 128 * (784 * 512 + 512 * 512 + 5120), line="MLP step, 784-512-512-10, batch 128", at_least=2, aim=3)
case("training", "MLP, beside fused Adam", "mlp 128", "torch-fused", 6 * 128 * (784 * 512 + 512 * 512 + 5120), line="MLP step, 784-512-512-10, batch 128", at_least=1.3, aim=1.3)
case("training", "LeNet-5, batch 64", "lenet 64", "torch", 3 * 64 * 2 * 416520, line="LeNet-5 step, batch 64", at_least=3, aim=6)
case("training", "ResNet-20, batch 32", "resnet20 32", "torch", 3 * 32 * 2 * 40.5e6, line="ResNet-20 step, batch 32", at_least=2, aim=3)
case("training", "ResNet-20, beside channels-last", "resnet20 32", "torch-channels-last", 3 * 32 * 2 * 40.5e6, line="ResNet-20 step, batch 32", at_least=1.3, aim=1.3)


def gpt_flops(layers, width, block, batch, vocabulary):
    tokens = block * batch
    return 6 * tokens * (12 * layers * width**2 + vocabulary * width) + 12 * layers * width * block * tokens


for layers, width, heads, block, batch, least, aim in ((4, 128, 4, 64, 12, 1.4, 2), (6, 384, 6, 256, 4, 1.15, 1.4)):
    for peer, label in (("torch", f"block {block}, batch {batch}"), ("torch-compile", "beside torch.compile")):
        case("training", f"GPT {layers}x{width}, {label}", f"gpt {layers} {width} {heads} {block} {batch} 65", peer,
             gpt_flops(layers, width, block, batch, 65), line=f"GPT {layers}x{width} training step", at_least=least, aim=aim)
case("training", "AdamW step, 10.8M parameters", "adamw 75 144000", "torch-fused torch", bytes=7 * 4 * 75 * 144000, line="AdamW step, 10.8M parameters, against fused", at_least=0.95, aim=1.05)

parameters = 12 * 12 * 768**2 + 50257 * 768
case("decode", "GPT-2-124M shape, prefill of 128 tokens", "prefill 128", "torch", 2 * 128 * 12 * 12 * 768**2, 4 * parameters, line="GPT-2-124M shape, prefill 128, float32", at_least=1.3, aim=1.6)
case("decode", "GPT-2-124M shape, one token after 128", "decode 128 64", "torch", 2 * parameters, 4 * parameters, line="GPT-2-124M shape, decode, float32", at_least=1.0, aim=1.05)
for short, name in (("bf16", "BFloat16"), ("fp16", "Half")):
    case("decode", f"GPT-2-124M shape, one token after 128, weights in {name}", f"decode_{short} 128 64", "tinytorch-float32 torch", 2 * parameters, 2 * parameters,
         line="GPT-2-124M shape, decode, bf16 or fp16 weights, against float32", at_least=1.8, aim=2.0)

LOADER = dict(bytes=2 * 4 * 60000 * 784, line="loader, 60,000 x 28 x 28, batch 128, shuffled")
case("loader", "60,000 x 28 x 28, batch 128, shuffled", "loader 60000 28 128", "torch torch-index-select", **LOADER, at_least=8, aim=15)
case("loader", "60,000 x 28 x 28, beside index_select", "loader 60000 28 128", "torch-index-select", **LOADER, at_least=0.8, aim=1.2)

# Whole processes: the words are run as a command, and must end well.
case("start-up", "process start to first result", "command first", "libtorch torch", line="process start to first result", at_least=20, aim=100)
case("start-up", "g++ -O2 of a file with the whole public header", "command header", "libtorch", line="g++ -O2 of a file that includes the whole public header", at_least=8, aim=15)
# Whole processes that print the most bytes which they held at one time.
case("memory", "20 steps of LeNet-5, batch 64: peak memory of the process", "peak lenet", "libtorch torch", line="peak memory of a LeNet run", at_least=4, aim=10)

# Every function of functions.h.
for name in re.findall(r'^ +{"([^"]+)", \[\]', (HERE / "functions.h").read_text(), re.MULTILINE):
    case("functions", name, name, "torch")

text = ",\n".join(" " + json.dumps(one) for one in cases)
(HERE / "cases.json").write_text("[\n" + text + "\n]\n")
