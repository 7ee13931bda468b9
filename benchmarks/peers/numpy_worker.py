"""NumPy's side of `tito bench`, for what NumPy has: see torch_worker.py."""
import math

import numpy as np

from lines import serve


def numbers(*sizes):
    count = math.prod(sizes)
    return np.resize(np.sin(np.arange(min(count, 1 << 20), dtype=np.float64)).astype(np.float32), count).reshape(sizes)


def measured(function):
    return function, float(np.square(function().astype(np.float64)).mean())


def unary(function):
    def make(count):
        x = numbers(count)
        return measured(lambda: function(x))
    return make


def over_rows(function):
    def make(rows, columns, *more):
        x = numbers(rows, columns)
        return measured(lambda: function(x, *more))
    return make


def product(*shapes):
    left, right = (numbers(*shape) for shape in shapes)
    return measured(lambda: left @ right)


def linear(m, k, n):
    x, w = numbers(m, k), numbers(n, k)
    return measured(lambda: x @ w.T)


def add(count):
    x, y = numbers(count), numbers(count) * np.float32(0.1)
    return measured(lambda: x + y)


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    e /= e.sum(1, keepdims=True)
    return e


WORKS = {
    "mm": lambda m, k, n: product((m, k), (k, n)), "bmm": lambda b, m, k, n: product((b, m, k), (b, k, n)), "linear": linear, "add": add,
    "relu": unary(lambda x: np.maximum(x, 0)), "exp": unary(np.exp), "tanh": unary(np.tanh), "sum": unary(lambda x: np.asarray(x.sum())),
    "sum_rows": over_rows(lambda x: x.sum(1)), "sum_columns": over_rows(lambda x: x.sum(0)), "softmax": over_rows(softmax),
    "var_mean": over_rows(lambda x: (x.var(1, ddof=1), x.mean(1))[0]),  # numpy has no function for both
    "var": over_rows(lambda x: x.var(1, ddof=1)), "argmax": over_rows(lambda x: x.argmax(1)), "max": over_rows(lambda x, dim: x.max(dim)),
    "transpose": over_rows(lambda x: np.ascontiguousarray(x.T)),
}


if __name__ == "__main__":
    serve(WORKS)
