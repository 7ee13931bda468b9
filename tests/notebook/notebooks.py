"""Lessons as notebooks: with their solutions every cell runs, and every test passes."""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient

CELL_LIMIT = 900  # seconds, the compiling of what the lesson stands on included


def tito():
    """The program that the kernel uses."""
    return KernelSpecManager().get_kernel_spec("tinytorch").env["TITO"]


# A cell behind the lesson of this module: the graph of a computation, from the learner's own nodes.
GRAPH_OF = "05_autograd"
GRAPH = '''const Tensor x = tensor({1.0, 2.0}, dtype(kDouble).requires_grad(true));
tito::graph((x * x).sum(), "squares");'''


def run_notebook(folder, student=False):
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / folder / "lesson.ipynb"
        path.parent.mkdir()
        root = KernelSpecManager().get_kernel_spec("tinytorch").env["TITO_ROOT"]
        command = [tito(), "notebook", folder[:2], "--out", str(path)] + ["--student"] * student
        done = subprocess.run(command, env={**os.environ, "TITO_ROOT": root}, cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        notebook = nbformat.read(path, as_version=4)
        if folder == GRAPH_OF and not student:
            notebook.cells.append(nbformat.v4.new_code_cell(GRAPH))
        NotebookClient(notebook, timeout=CELL_LIMIT, allow_errors=True, kernel_name="tinytorch", resources={"metadata": {"path": str(path.parent)}}).execute()
        return notebook


def complaints(notebook):
    out = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                out.append(f"{cell.id}: {cell.source[:60]!r}\n" + "\n".join(output.traceback)[:2000])
    return out


def passed_tests(notebook):
    text = "".join(output.text for cell in notebook.cells for output in cell.get("outputs", []) if output.output_type == "stream")
    return sum(int(number) for number in re.findall(r"^(\d+) tests? passed \(\d+ checks?\)$", text, re.MULTILINE))


class Lesson(unittest.TestCase):
    folder = ""

    def id(self):
        return f"{self.folder} {self._testMethodName}"

    def test_every_cell_runs(self):
        notebook = run_notebook(self.folder)
        if complaints(notebook):
            self.fail("\n".join(complaints(notebook)))
        tests = len(re.findall(r"^TEST_CASE\(", "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code"), re.MULTILINE))
        self.assertGreater(tests, 0)
        self.assertEqual(passed_tests(notebook), tests)
        if self.folder == GRAPH_OF:
            self.check_picture(notebook.cells[-1].outputs)

    def check_picture(self, outputs):
        shown = [output.data for output in outputs if output.output_type == "display_data"]
        self.assertEqual(len(shown), 1, outputs)
        self.assertRegex(shown[0]["text/plain"], r"0 SumBackward0 .*-> 1\n1 MulBackward0 \[2\] -> 2 -> 2\n2 AccumulateGrad")
        if shutil.which("dot"):  # Graphviz draws it
            for name in ("SumBackward0", "MulBackward0", "AccumulateGrad"):
                self.assertIn(name, shown[0]["image/svg+xml"])


class StudentsCopy(unittest.TestCase):
    folder = ""

    def id(self):
        return f"{self.folder} {self._testMethodName}"

    def test_each_graded_test_names_its_exercise_and_nothing_else_fails(self):
        notebook = run_notebook(self.folder, student=True)
        said = []
        for cell in notebook.cells:
            if cell.cell_type != "code":
                continue
            errors = [output for output in cell.outputs if output.output_type == "error"]
            text = "\n".join(line for error in errors for line in error.traceback)
            if any(error.ename != "TestFailed" for error in errors):
                said.append(f"{cell.id} fails in another way than by a test:\n{text[:2000]}")
            about = cell.metadata.get("nbgrader", {})
            # What an empty exercise throws begins with its module's number and its name.
            if about.get("grade") and not re.search(rf"\b{self.folder[:2]} (?:[\w:~]|<[\w:~<>,.() ]*>)+(?:\(\))?: ", text):
                said.append(f"{about['grade_id']} names no exercise:\n{text[:2000]}")
        self.assertEqual(said, [], "\n".join(said))


def tests_of(word):
    """05_autograd is that lesson, 05_autograd:student the student's copy of it."""
    folder, _, edition = word.partition(":")
    test = StudentsCopy("test_each_graded_test_names_its_exercise_and_nothing_else_fails") if edition else Lesson("test_every_cell_runs")
    test.folder = folder
    return test
