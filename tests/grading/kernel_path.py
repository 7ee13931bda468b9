"""nbgrader's own way, cell by cell in the kernel, gives what tito's fast path gives.

    python kernel_path.py MODULE [NAME ...]     with an environment that has notebook/grading.txt, and TITO naming the program

Without names, all of the eight submissions that `tito grade eight` makes; and one more, a right one that writes a file outside. With
isolation it gets its points and there is no file; without it, by the fast path, there is one, which shows that it tries. What came of the fast
path is also looked at in the pages of feedback, the export and the report.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from class_of_eight import ROOT, TITO, check_outcome, convert, gradebook, nbformat, need_isolation, tito


BREAKER = "breaker"
FIRST_BODY = re.compile(r'"solution": true, "task": false\}\}\n(?:(?!// %%).*\n)*?[^/\s].*\)(?: const)? \{\n')


def that_writes(text, file):
    broken, count = FIRST_BODY.subn(lambda match: f'{match.group()}  if (auto* file = std::fopen("{file}", "w")) std::fclose(file);\n', text, count=1)
    assert count == 1, "no exercise found"
    return broken


def main(number, names, folder):
    module = next(path.name for path in (ROOT / "modules").iterdir() if path.name.startswith(number + "_"))
    expected = json.loads((ROOT / "tests/grading/expected.json").read_text())[module]
    names = names or sorted(expected)
    subprocess.run([TITO, "grade", "eight", number, "--write", str(folder / "texts")], cwd=ROOT, check=True)
    (folder / "in").mkdir()
    for name in names:
        text = (folder / "texts" / (name + ".cpp")).read_text()
        (folder / "in" / (name + ".ipynb")).write_text(nbformat.writes(convert(text, module)))
    outside = folder / "outside.txt"
    text = that_writes((folder / "texts/right.cpp").read_text(), outside)
    (folder / "in" / (BREAKER + ".ipynb")).write_text(nbformat.writes(convert(text, module)))
    course = folder / "course"
    tito(folder, "init", str(course))
    tito(course, "assign", number)
    tito(course, "release", number)
    tito(course, "collect", number, str(folder / "in"))
    need_isolation()
    tito(course, "autograde", number)
    wanted = {**{name: expected[name] for name in names}, BREAKER: expected["right"]}
    assert gradebook(course) == wanted, f"the fast path gives {gradebook(course)} instead of {wanted}"
    check_outcome(course, module, wanted)
    said = tito(course, "autograde", number, "--kernel")
    assert f"{len(wanted)} graded by the kernel" in said, said
    assert gradebook(course) == wanted, f"the kernel gives {gradebook(course)} instead of {wanted}"
    assert not outside.exists(), "a submission wrote a file outside of the sandbox"
    tito(ROOT, "run", number, str(folder / "in" / (BREAKER + ".ipynb")), "--no-isolation")
    assert outside.exists(), "it writes no file without a sandbox either, so it proves nothing"
    print(f"{module}: the kernel gives {len(wanted)} submissions the points that the fast path gives")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="tito_kernel_path_") as place:
        main(sys.argv[1], sys.argv[2:], Path(place))
