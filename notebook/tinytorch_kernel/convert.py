"""A lesson (jupytext's percent format) as a notebook whose cells have the same ids every time."""

import argparse
import hashlib
import os
import re
import sys
from pathlib import Path

import jupytext
import nbformat

KERNEL = {"display_name": "C++20 (TinyTorch)", "language": "c++", "name": "tinytorch"}
LANGUAGE = {
    "codemirror_mode": "text/x-c++src",
    "file_extension": ".cpp",
    "mimetype": "text/x-c++src",
    "name": "c++",
    "version": "20",
}


def stable_id(cell, taken):
    """The grade_id, or a name made from the text; a number tells equal texts apart."""
    grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
    name = grade_id or cell.cell_type + "-" + hashlib.sha256(cell.source.encode()).hexdigest()[:12]
    name = re.sub(r"[^a-zA-Z0-9_-]", "-", name)[:58]
    number = taken.get(name, 0)
    taken[name] = number + 1
    return name if number == 0 else f"{name}-{number + 1}"


def fingerprint(notebook):
    """Of everything that a person edits in a notebook."""
    text = hashlib.sha256()
    for cell in notebook.cells:
        text.update(f"{cell.cell_type}\0{cell.source}\0".encode())
    return text.hexdigest()


def convert(text, module, paired=False):
    notebook = jupytext.reads(text, fmt="cpp:percent")
    taken = {}
    for cell in notebook.cells:
        cell["id"] = stable_id(cell, taken)
    about = {"cell_metadata_json": True, "comment_magics": False}
    if paired:
        about["formats"] = "ipynb,cpp:percent"
    notebook.metadata = nbformat.from_dict({
        "jupytext": about,
        "kernelspec": KERNEL,
        "language_info": LANGUAGE,
        "tinytorch": {"module": module, "made_from": fingerprint(notebook)},
    })
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return notebook


def write_atomically(path, text):
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def worked_in(path):
    """Whether the notebook has other cells than those it was made with."""
    try:
        old = nbformat.read(path, as_version=4)
    except Exception:  # not a notebook at all: somebody's file
        return True
    return old.metadata.get("tinytorch", {}).get("made_from") != fingerprint(old)


def main(arguments):
    parser = argparse.ArgumentParser(prog="tinytorch_kernel.convert")
    parser.add_argument("source", type=Path, help="a lesson, or a folder of them, each called as its module")
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--module")
    parser.add_argument("--paired", action="store_true", help="saving the notebook in JupyterLab also writes the .cpp beside it")
    parser.add_argument("--replace", action="store_true", help="even where somebody worked in it")
    options = parser.parse_args(arguments)
    if options.source.is_dir():
        for lesson in options.source.glob("*.cpp"):
            write_atomically(options.notebook / (lesson.stem + ".ipynb"), nbformat.writes(convert(lesson.read_text(encoding="utf-8"), lesson.stem)) + "\n")
        return 0
    notebook = convert(options.source.read_text(encoding="utf-8"), options.module, options.paired)
    path = options.notebook
    if path.exists() and not options.replace:
        # A paired one takes its cells from the .cpp when JupyterLab opens it, and keeps its outputs.
        if options.paired:
            print(f"{path} is there already; JupyterLab keeps it and the .cpp beside it alike")
            return 0
        if worked_in(path):
            print(f"{path} has other cells than it was made with; it may be somebody's work, so it stays")
            return 0
    write_atomically(path, nbformat.writes(notebook) + "\n")
    if options.paired and path.with_suffix(".cpp").exists():  # jupytext asks which of the two is newer
        about = path.with_suffix(".cpp").stat()
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    print(f"wrote {path} ({len(notebook.cells)} cells)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
