"""Submissions that are damaged, or that reach for what is not theirs: each ends in one sentence, and the others get their grades.

    python damaged.py [FOLDER]     with an environment that has notebook/grading.txt, and TITO naming the program
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from class_of_eight import MODULE, NOTEBOOK, ROOT, TITO, convert, gradebook, nbformat, need_isolation, tito


def notebook_of(text, change=lambda cells: None):
    notebook = convert(text, MODULE)
    change(notebook.cells)
    return nbformat.writes(notebook)


def without(name):
    def change(cells):
        cells[:] = [cell for cell in cells if cell.metadata.get("nbgrader", {}).get("grade_id") != name]
    return change


def with_output(cells):
    code = next(cell for cell in cells if cell.cell_type == "code")
    code.outputs = [nbformat.v4.new_output("stream", text="y" * (100 << 20))]


def twice(cells):
    exercise = next(i for i, cell in enumerate(cells) if cell.metadata.get("nbgrader", {}).get("solution"))
    cells.insert(exercise, nbformat.from_dict(cells[exercise]))
    cells[exercise].id = "copied"


def hand_in(folder, right, course):
    """student -> what `tito grade collect` must say of it, None where it must be taken in."""
    place = folder / "in"
    place.mkdir()
    files = {
        "no-json": b"\x00\xffthis is no notebook",
        "a-list": b"[1, 2]",
        "cells-of-text": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": ["a", null]}',
        "no-metadata": b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code", "source": "int a;"}]}',
        "deep": b"[" * 200000,
        "empty": b"",
    }
    for name, data in files.items():
        (place / (name + ".ipynb")).write_bytes(data)
    said = {name: "cannot be read (" for name in files}
    (place / "good.ipynb").write_text(notebook_of(right))
    (place / "no-exercise.ipynb").write_text(notebook_of(right, without("00-median")))
    (place / "no-test.ipynb").write_text(notebook_of(right, without("00-median-test")))
    (place / "large-output.ipynb").write_text(notebook_of(right, with_output))
    (place / "twice.ipynb").write_text(notebook_of(right, twice))
    (place / "link.ipynb").symlink_to(course / "source" / MODULE / NOTEBOOK)
    (place / "theirs").mkdir()
    (place / "theirs" / NOTEBOOK).symlink_to(place / "good.ipynb")
    (place / "broken-link.cpp").symlink_to("nowhere")
    said |= {name: "is a link, or lies behind one" for name in ("link", "theirs", "broken-link")}
    for name in ("-rf", "..good", "a b", "good;touch x", "über"):
        (place / name).mkdir()
        (place / name / NOTEBOOK).write_text(notebook_of(right))
    said |= {name: "is no name for a student" for name in ("-rf", "a b", "good;touch x", "über")}
    os.mkdir(os.fsencode(place) + b"/\xff")
    (place / "nothing").mkdir()
    said["nothing"] = "has no setup_dev.ipynb or setup_dev.cpp"
    return said


def check_collected(text, said):
    assert "Traceback" not in text, text
    lines = text.splitlines()
    for student, sentence in said.items():
        about = [line for line in lines if f"/in/{student}" in line.replace(".ipynb", "").replace(".cpp", "") and sentence in line]
        assert len(about) == 1 and about[0].endswith("; left out"), f"of {student} it says {about}:\n{text}"


def main(folder):
    need_isolation()
    course = folder / "course"
    subprocess.run([TITO, "grade", "eight", "00", "--write", str(folder / "texts")], cwd=ROOT, check=True)
    right = (folder / "texts/right.cpp").read_text()
    points = json.loads((ROOT / "tests/grading/expected.json").read_text())[MODULE]["right"]
    tito(folder, "init", str(course))
    tito(course, "assign", "00")
    tito(course, "release", "00")
    said = hand_in(folder, right, course)
    text = tito(course, "collect", "00", str(folder / "in"))
    check_collected(text, said)
    students = sorted(path.name for path in (course / "submitted").iterdir())
    assert students == ["good", "large-output", "no-exercise", "no-test", "twice"], students
    assert all(path.stat().st_size < 10 << 20 for path in (course / "submitted").rglob("*.ipynb")), "outputs were taken in"

    # One that nbgrader cannot take does not keep the others from their grades.
    spoilt = course / "submitted/good" / MODULE / NOTEBOOK
    whole = spoilt.read_text()
    notebook = json.loads(whole)
    notebook["cells"][0]["metadata"]["nbgrader"] = "nonsense"
    spoilt.write_text(json.dumps(notebook))
    text = tito(course, "autograde", "00", status=1)
    assert "Traceback" not in text and "no grade for good" in text, text
    assert "good could not be graded: " in text and "above traceback" not in text, text
    spoilt.write_text(whole)
    tito(course, "autograde", "00")
    scores = gradebook(course)
    lost = scores.pop("no-exercise")
    assert scores == {"good": points, "large-output": points, "no-test": points, "twice": points}, scores
    assert lost < points, "an exercise is missing, and nothing was lost by it"
    assert "nobody has handed in no" in tito(course, "autograde", "00", "--student", "nobody", status=1)
    print("damaged submissions: each ended in a sentence, and the others have their grades")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory(prefix="tito_damaged_") as name:
            main(Path(name))
