"""Tables, heat maps, curves and graphs: from the lines that tito/display.h prints to HTML and SVG."""

import json
import math
import shutil
import subprocess
from html import escape

ROWS, COLUMNS = 16, 12  # of a table that are shown
COLOURS = ("#4269d0", "#ff725c", "#3ca951", "#a463f2", "#9c6b4e", "#6cc5b0", "#ff8ab7", "#97bbf5")


def bundle(line):
    """What a front end shows for one line of JSON."""
    try:
        data = json.loads(line)
        return MAKERS[data["kind"]](data)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return {"text/plain": f"(something to be shown that cannot be read: {error})"}


def number(value):
    """Of what display.h writes: NaN and infinities are texts."""
    return float(value)


def text_of(value, integral=False):
    if math.isnan(value) or math.isinf(value):
        return str(value)
    if integral:
        return str(int(value))
    return f"{value:.4g}"


def caption(data):
    sizes = ", ".join(str(int(size)) for size in data["sizes"])
    return f"{data['title'] + ': ' if data['title'] else ''}[{sizes}] {data['dtype']}"


# ---- tensors ----------------------------------------------------------------------------------------------------------------


def matrices(data):
    """(name, rows) for each matrix of a tensor, as far as its values were sent; a vector is one row."""
    sizes = [int(size) for size in data["sizes"]]
    values = [number(value) for value in data["values"]]
    height, width = ([1, 1] + sizes)[-2:]
    if len(sizes) == 1:
        height = 1
    count = math.prod(sizes[:-2]) if len(sizes) > 2 else 1
    out = []
    for index in range(count):
        part = values[index * height * width:(index + 1) * height * width]
        if not part:
            break
        name, rest = [], index
        for size in reversed(sizes[:-2]):
            name.append(rest % size)
            rest //= size
        rows = [part[row * width:(row + 1) * width] for row in range(height)]
        out.append((", ".join(map(str, reversed(name))), [row for row in rows if row]))
    return out


def is_integral(data):
    return not data["dtype"].startswith("float")


def plain_table(rows, integral):
    shown = [[text_of(value, integral) for value in row[:COLUMNS]] + ["..."] * (len(row) > COLUMNS) for row in rows[:ROWS]]
    width = max((len(text) for row in shown for text in row), default=0)
    lines = ["  ".join(text.rjust(width) for text in row) for row in shown]
    return "\n".join(lines + ["..."] * (len(rows) > ROWS))


def html_table(rows, integral):
    def line(row):
        cells = "".join(f"<td>{escape(text_of(value, integral))}</td>" for value in row[:COLUMNS])
        return f"<tr>{cells}{'<td>&hellip;</td>' if len(row) > COLUMNS else ''}</tr>"

    more = '<tr><td>&#8942;</td></tr>' if len(rows) > ROWS else ""
    return f"<table>{''.join(line(row) for row in rows[:ROWS])}{more}</table>"


def tensor(data):
    integral = is_integral(data)
    head = caption(data)
    parts = matrices(data)
    plain, html = [head], [f"<div><code>{escape(head)}</code></div>"]
    if not data["sizes"]:
        value = text_of(number(data["values"][0]), integral)
        return {"text/plain": f"{head} {value}", "text/html": f"<div><code>{escape(head)}</code> <b>{escape(value)}</b></div>"}
    for name, rows in parts[:4]:
        if name:
            plain.append(f"[{name}]")
            html.append(f"<div><code>[{name}]</code></div>")
        plain.append(plain_table(rows, integral))
        html.append(html_table(rows, integral))
    if len(parts) > 4:
        plain.append(f"and {len(parts) - 4} more")
        html.append(f"<div>and {len(parts) - 4} more</div>")
    return {"text/plain": "\n".join(plain), "text/html": "".join(html)}


def colour(share):
    """0 is blue, the middle white, 1 red."""
    low, middle, high = (59, 76, 192), (247, 247, 247), (180, 4, 38)
    first, second, part = (low, middle, share * 2) if share < 0.5 else (middle, high, share * 2 - 1)
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in zip(first, second))


def heat_map(data):
    parts = matrices(data)
    if not parts:
        return {"text/plain": caption(data) + ": no elements"}
    rows = parts[0][1][:64]
    finite = [value for row in rows for value in row[:64] if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 0.0)
    if low < 0 < high:  # zero is white then
        low, high = -max(-low, high), max(-low, high)
    width = max(len(row[:64]) for row in rows)
    size = max(4, min(24, 480 // max(width, len(rows))))
    squares = []
    for y, row in enumerate(rows):
        for x, value in enumerate(row[:64]):
            share = 0.5 if high == low else (value - low) / (high - low)
            fill = colour(share) if math.isfinite(value) else "#000000"
            squares.append(f'<rect x="{x * size}" y="{y * size}" width="{size}" height="{size}" fill="{fill}"><title>[{y}, {x}] {text_of(value)}</title></rect>')
    head = caption(data) + (f" (the first of {len(parts)})" if len(parts) > 1 else "")
    foot = f"blue {text_of(low)}, red {text_of(high)}" + (", black: not finite" if len(finite) < sum(len(row[:64]) for row in rows) else "")
    total_width, total_height = max(width * size, 260), len(rows) * size + 36
    svg = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{total_width}" height="{total_height}" font-family="sans-serif" font-size="12">'
           f'<text x="0" y="12" fill="#888">{escape(head)}</text><g transform="translate(0,18)">{"".join(squares)}</g>'
           f'<text x="0" y="{total_height - 4}" fill="#888">{escape(foot)}</text></svg>')
    return {"text/plain": f"{head}\n{plain_table(rows, is_integral(data))}", "image/svg+xml": svg}


# ---- curves -----------------------------------------------------------------------------------------------------------------


def ticks(low, high):
    """Round numbers that span [low, high], about five of them."""
    span = high - low or abs(high) or 1.0
    step = 10 ** math.floor(math.log10(span / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= 6)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def plot(data):
    series = []
    for one in data["series"]:
        y = [number(value) for value in one["y"]]
        x = [number(value) for value in one["x"]] or [float(index) for index in range(len(y))]
        points = list(zip(x, y))
        series.append((one["name"], points))
    finite = [(x, y) for _, points in series for x, y in points if math.isfinite(x) and math.isfinite(y)]
    plain = "\n".join([data["title"] or "a plot", *(f"{name or 'values'}: {len(points)} points" + (
        f", the last ({text_of(points[-1][0])}, {text_of(points[-1][1])})" if points else "") for name, points in series)])
    if not finite:
        return {"text/plain": plain + " (nothing finite to draw)"}
    left, right = min(x for x, _ in finite), max(x for x, _ in finite)
    bottom, top = min(y for _, y in finite), max(y for _, y in finite)
    if left == right:
        left, right = left - 0.5, right + 0.5
    if bottom == top:
        bottom, top = bottom - 0.5, top + 0.5
    width, height, margin, above = 520, 300, 60, 28
    across = lambda x: margin + (x - left) / (right - left) * (width - margin - 16)
    down = lambda y: above + (top - y) / (top - bottom) * (height - above - 44)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
           f'<text x="{width / 2}" y="16" text-anchor="middle" fill="#888">{escape(data["title"])}</text>']
    for x in ticks(left, right):
        out.append(f'<line x1="{across(x):.1f}" x2="{across(x):.1f}" y1="{above}" y2="{height - 44}" stroke="#8884"/>'
                   f'<text x="{across(x):.1f}" y="{height - 28}" text-anchor="middle" fill="#888">{text_of(x)}</text>')
    for y in ticks(bottom, top):
        out.append(f'<line x1="{margin}" x2="{width - 16}" y1="{down(y):.1f}" y2="{down(y):.1f}" stroke="#8884"/>'
                   f'<text x="{margin - 6}" y="{down(y) + 4:.1f}" text-anchor="end" fill="#888">{text_of(y)}</text>')
    out.append(f'<text x="{width / 2}" y="{height - 8}" text-anchor="middle" fill="#888">{escape(data["x_label"])}</text>'
               f'<text x="14" y="{height / 2}" text-anchor="middle" fill="#888" transform="rotate(-90 14 {height / 2})">{escape(data["y_label"])}</text>')
    for index, (name, points) in enumerate(series):
        stroke = COLOURS[index % len(COLOURS)]
        for piece in unbroken(points):
            path = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in piece)
            shape = f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="1.8"/>'
            if len(piece) == 1:
                shape = f'<circle cx="{across(piece[0][0]):.1f}" cy="{down(piece[0][1]):.1f}" r="2.5" fill="{stroke}"/>'
            out.append(shape)
        if name:
            out.append(f'<text x="{width - 20}" y="{above + 14 + 15 * index}" text-anchor="end" fill="{stroke}">{escape(name)}</text>')
    return {"text/plain": plain, "image/svg+xml": "".join(out) + "</svg>"}


def unbroken(points):
    """The runs of points that are finite."""
    runs, run = [], []
    for x, y in [*points, (math.nan, math.nan)]:
        if math.isfinite(x) and math.isfinite(y):
            run.append((x, y))
        elif run:
            runs.append(run)
            run = []
    return runs


# ---- graphs -----------------------------------------------------------------------------------------------------------------


def graph(data):
    # Nodes that PyTorch writes in C++ have the names of their classes.
    nodes = [{**node, "name": node["name"].removeprefix("torch::autograd::")} for node in data["nodes"]]
    edges = data["edges"]
    if not nodes:
        return {"text/plain": "no graph: nothing that was recorded led to this tensor"}
    lines = ["digraph {", '  bgcolor="transparent"; rankdir=TB; node [shape=box, style="rounded,filled", fillcolor="#f4f4f4", fontname="sans-serif", fontsize=11];']
    for index, node in enumerate(nodes):
        label = node["name"] + (f"\\n{node['sizes']}" if node["sizes"] else "")
        leaf = ', fillcolor="#cde7d0"' if node["name"] == "AccumulateGrad" else ""
        label = label.replace('"', '\\"')
        lines.append(f'  n{index} [label="{label}"{leaf}];')
    lines += [f"  n{start} -> n{end};" for start, end in edges if start < len(nodes) and end < len(nodes)]
    dot = "\n".join([*lines, "}"])
    plain = "\n".join(f"{index} {node['name']} {node['sizes']}" + "".join(f" -> {end}" for start, end in edges if start == index)
                      for index, node in enumerate(nodes))
    if data["left_out"]:
        plain += f"\nand {data['left_out']} more nodes"
    program = shutil.which("dot")
    if not program:
        return {"text/plain": plain + "\n(for a picture install graphviz: apt-get install graphviz)"}
    try:
        drawn = subprocess.run([program, "-Tsvg"], input=dot, capture_output=True, text=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return {"text/plain": plain}
    if drawn.returncode != 0 or "<svg" not in drawn.stdout:
        return {"text/plain": plain}
    return {"text/plain": plain, "image/svg+xml": drawn.stdout[drawn.stdout.index("<svg"):]}


MAKERS = {"tensor": tensor, "heat_map": heat_map, "plot": plot, "graph": graph}
