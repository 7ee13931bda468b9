"""nbgrader's own way, cell by cell in the kernel, gives what tito's fast path gives.

    python kernel_path.py MODULE [NAME ...]     with an environment that has notebook/grading.txt, and TITO naming the program

Without names, all of the eight submissions that `tito grade eight` makes.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from class_of_eight import ROOT, TITO, convert, gradebook, nbformat, tito


def main(number, names, folder):
    module = next(path.name for path in (ROOT / "modules").iterdir() if path.name.startswith(number + "_"))
    expected = json.loads((ROOT / "tests/grading/expected.json").read_text())[module]
    names = names or sorted(expected)
    subprocess.run([TITO, "grade", "eight", number, "--write", str(folder / "texts")], cwd=ROOT, check=True)
    (folder / "in").mkdir()
    for name in names:
        text = (folder / "texts" / (name + ".cpp")).read_text()
        (folder / "in" / (name + ".ipynb")).write_text(nbformat.writes(convert(text, module)))
    course = folder / "course"
    tito(folder, "init", str(course))
    tito(course, "assign", number)
    tito(course, "release", number)
    tito(course, "collect", number, str(folder / "in"))
    tito(course, "autograde", number)
    wanted = {name: expected[name] for name in names}
    assert gradebook(course) == wanted, f"the fast path gives {gradebook(course)} instead of {wanted}"
    assert "give --no-isolation if you trust every one" in tito(course, "autograde", number, "--kernel", status=1)
    said = tito(course, "autograde", number, "--kernel", "--no-isolation")
    assert f"{len(names)} graded by the kernel" in said, said
    assert gradebook(course) == wanted, f"the kernel gives {gradebook(course)} instead of {wanted}"
    print(f"{module}: the kernel gives {len(names)} submissions the points that the fast path gives")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="tito_kernel_path_") as place:
        main(sys.argv[1], sys.argv[2:], Path(place))
