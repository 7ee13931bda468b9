"""ONNX Runtime's side of `tito bench`, for operators that are one node: see torch_worker.py."""
import math
import os

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from lines import serve

OPTIONS = onnxruntime.SessionOptions()
OPTIONS.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "1"))


def numbers(*sizes):
    count = math.prod(sizes)
    return np.resize(np.sin(np.arange(min(count, 1 << 20), dtype=np.float64)).astype(np.float32), count).reshape(sizes)


def node(operator, *inputs):
    """A session with one node; its inputs and output stay in ONNX Runtime's memory between calls."""
    names = [f"x{i}" for i in range(len(inputs))]
    graph = helper.make_graph([helper.make_node(operator, names, ["y"])], "one",
                              [helper.make_tensor_value_info(n, TensorProto.FLOAT, x.shape) for n, x in zip(names, inputs)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), OPTIONS, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for name, x in zip(names, inputs):
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(x))
    binding.bind_output("y")

    def call():
        session.run_with_iobinding(binding)
    call()
    return call, float(np.square(binding.copy_outputs_to_cpu()[0].astype(np.float64)).mean())


WORKS = {
    "mm": lambda m, k, n: node("MatMul", numbers(m, k), numbers(k, n)),
    "linear": lambda m, k, n: node("MatMul", numbers(m, k), np.ascontiguousarray(numbers(n, k).T)),
    "relu": lambda count: node("Relu", numbers(count)), "tanh": lambda count: node("Tanh", numbers(count)),
}

if __name__ == "__main__":
    serve(WORKS)
