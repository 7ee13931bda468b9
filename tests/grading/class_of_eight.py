"""A class of eight students of module 00, from `tito grade init` to its report, killed twice on the way.

    python class_of_eight.py [FOLDER]     with an environment that has notebook/grading.txt, and TITO naming the program
"""

import csv
import html
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "notebook"))
import nbformat  # noqa: E402
from tinytorch_kernel.convert import convert  # noqa: E402

TITO = os.environ.get("TITO", str(ROOT / "build/cli/tito"))
MODULE = "00_setup"
NOTEBOOK = "setup_dev.ipynb"


def tito(folder, *arguments, status=0):
    done = subprocess.run([TITO, "grade", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    text = done.stdout + done.stderr
    assert done.returncode == status, f"tito grade {' '.join(arguments)} ended with {done.returncode}:\n{text}"
    return text


def need_isolation():
    if not shutil.which("bwrap"):
        print("skipped: bubblewrap is not installed (apt-get install bubblewrap)")
        sys.exit(77)


def hand_in(folder):
    """Half of the class works in notebooks, half in module files."""
    subprocess.run([TITO, "grade", "eight", "00", "--write", str(folder / "texts")], cwd=ROOT, check=True)
    students = sorted(path.stem for path in (folder / "texts").glob("*.cpp"))
    assert len(students) == 8, students
    for i, student in enumerate(students):
        text = (folder / "texts" / (student + ".cpp")).read_text()
        if i % 2:
            place = folder / "in" / student / "modules" / MODULE
            place.mkdir(parents=True)
            (place / "setup_dev.cpp").write_text(text)
        else:
            (folder / "in").mkdir(exist_ok=True)
            (folder / "in" / (student + ".ipynb")).write_text(nbformat.writes(convert(text, MODULE)))
    return students


def check_release(course):
    """No line of a solution, of a hidden test or of a known mistake is in what students get."""
    module = (ROOT / "modules" / MODULE / "setup_dev.cpp").read_text()
    copy = (course / ".tito/student" / (MODULE + ".cpp")).read_text()
    released = "\n".join(cell.source for cell in nbformat.read(course / "release" / MODULE / NOTEBOOK, as_version=4).cells)
    secret = [line.strip() for line in module.splitlines() if len(line.strip()) > 20 and line.strip() not in copy and not line.startswith("// %%")]
    assert len(secret) > 100, "the module has no solutions?"
    found = [line for line in secret if line in released]
    assert not found, f"the release has {found[0]!r}"
    assert "NotImplemented(\"00 median_of: " in released


def kill_when(course, ready):
    """Starts autograding, and kills it when `ready` holds."""
    with (course / "autograde.log").open("w") as log:
        process = subprocess.Popen([TITO, "grade", "autograde", "00"], cwd=course, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + 900
        while not ready() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        assert process.poll() is None, "it ended before it could be killed:\n" + (course / "autograde.log").read_text()
        process.send_signal(signal.SIGKILL)
        process.wait()


def gradebook(course):
    """student -> points by tests; each has one submission with one grade for each cell."""
    with sqlite3.connect(course / "gradebook.db") as connection:
        cells = connection.execute("select count(*) from grade_cells").fetchone()[0]
        rows = connection.execute(
            "select s.student_id, count(*), count(distinct g.cell_id), sum(g.auto_score) from grade g"
            " join submitted_notebook n on g.notebook_id = n.id join submitted_assignment s on n.assignment_id = s.id"
            " join grade_cells c on g.cell_id = c.id group by s.student_id, s.id").fetchall()
    for student, count, distinct, _ in rows:
        assert count == distinct == cells, f"{student} has {count} grades for {cells} cells"
    assert len({row[0] for row in rows}) == len(rows), "a student has two submissions"
    return {row[0]: row[3] for row in rows}


def check_outcome(course, module, scores):
    """Feedback, export and report say what the gradebook has: student -> points by tests."""
    number, grades = module[:2], {}
    for student in scores:
        grades[student] = json.loads((course / ".tito/grades" / module / (student + ".json")).read_text())
    assert f"each of {len(scores)} students" in tito(course, "feedback", number)
    for student, grade in grades.items():
        page = html.unescape((course / "feedback" / student / module / (module[3:] + "_dev.html")).read_text())
        for cell in grade["cells"]:
            said = re.sub(r"\s+", " ", cell["text"].strip().splitlines()[0]) if not cell["passed"] else ""
            assert said in re.sub(r"\s+", " ", page), f"the page of {student} does not say {said!r} of {cell['grade_id']}"
        total = f"{scores[student]:g}"
        assert re.search(rf"Score: {re.escape(total)}(\.0)? /", page), f"the page of {student} does not give {total} points"
    tito(course, "export", "--to", "all.csv")
    with (course / "all.csv").open() as file:
        rows = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file) if row["assignment"] == module}
    assert rows == scores, rows
    report = json.loads(tito(course, "report", number, "--json"))
    assert report["submissions"] == len(scores)
    assert abs(report["mean"] - sum(scores.values()) / len(scores)) < 1e-9
    for test in report["tests"]:
        passed = sum(cell["passed"] for grade in grades.values() for cell in grade["cells"] if cell["grade_id"] == test["grade_id"])
        assert (test["passed"], test["rate"]) == (passed, passed / len(scores)), test
    made = Counter(mistake["mistake"] for grade in grades.values() for mistake in grade["mistakes"])
    assert made and {entry["mistake"]: entry["students"] for entry in report["mistakes"]} == made, report["mistakes"]
    text = tito(course, "report", number)
    assert f"{len(scores)} submissions, {report['mean']:.1f} of {report['points']:g} points" in text, text
    for entry in report["mistakes"][:10]:
        assert f"{entry['students']:4}  {entry['mistake']}\n      {entry['says']}" in text, f"{entry['says']!r} is not in the report"


def main(folder):
    course = folder / "course"
    expected = json.loads((ROOT / "tests/grading/expected.json").read_text())[MODULE]
    students = hand_in(folder)
    tito(folder, "init", str(course))
    assert "is there already" in tito(folder, "init", str(course), status=1)
    assert "not an instructor's folder" in tito(folder, "assign", "00", status=1)
    tito(course, "assign", "00")
    assert "is not released" in tito(course, "collect", "00", str(folder / "in"), status=1)
    tito(course, "release", "00")
    check_release(course)
    assert "no submissions" in tito(course, "autograde", "00", status=1)
    assert "8 submissions collected" in tito(course, "collect", "00", str(folder / "in"))
    assert "0 submissions collected, 8 unchanged" in tito(course, "collect", "00", str(folder / "in"))

    grades = course / ".tito/grades" / MODULE
    recorded = course / ".tito/recorded" / MODULE
    kill_when(course, lambda: len(list(grades.glob("*.json"))) >= 2)
    first = {path.name: path.stat().st_mtime_ns for path in grades.glob("*.json")}
    kill_when(course, lambda: len(list(recorded.glob("*.json"))) >= 3)
    assert all((grades / name).stat().st_mtime_ns == stamp for name, stamp in first.items()), "a grade was made twice"
    before = len(list(recorded.glob("*.json")))
    text = tito(course, "autograde", "00")
    assert f"{8 - before} graded, {before} had their grade already" in text, text
    assert gradebook(course) == {student: expected[student] for student in students}, gradebook(course)
    assert "0 graded, 8 had their grade already" in tito(course, "autograde", "00")

    check_outcome(course, MODULE, {student: expected[student] for student in students})
    page = course / "feedback/segfault" / MODULE / "setup_dev.html"
    assert "crashed in this test" in page.read_text(), "the feedback does not say that the program crashed"
    print("a class of eight was graded, killed twice, and nothing was lost or doubled")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory(prefix="tito_class_") as name:
            main(Path(name))
