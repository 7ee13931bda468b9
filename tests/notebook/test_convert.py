"""From a lesson to a notebook."""

import tempfile
import unittest
from pathlib import Path

import jupytext
import nbformat

from tinytorch_kernel import convert

LESSON = """\
// ---
// jupyter:
//   jupytext:
//     comment_magics: false
//     text_representation:
//       extension: .cpp
//       format_name: percent
//   kernelspec:
//     display_name: C++20 (TinyTorch)
//     language: c++
//     name: tinytorch
// ---

// %% [markdown]
// # Module 05: Autograd

// %%
namespace tinytorch {

// %% {"nbgrader": {"grade": false, "grade_id": "05-reduce-to", "locked": false, "schema_version": 3, "solution": true, "task": false}}
//| export core/autograd.cpp
int reduce_to(int a) {
  return a;
}

// %%
%limit 5
int same;

// %%
%limit 5
int same;

// %%
}  // namespace tinytorch
"""


class Convert(unittest.TestCase):
    def notebook(self, paired=False):
        return convert.convert(LESSON, "05_autograd", paired)

    def test_cells_have_the_same_ids_every_time(self):
        first, second = self.notebook(), self.notebook()
        self.assertEqual([cell.id for cell in first.cells], [cell.id for cell in second.cells])
        self.assertIn("05-reduce-to", [cell.id for cell in first.cells])
        self.assertEqual(len({cell.id for cell in first.cells}), len(first.cells))

    def test_what_the_notebook_says_of_itself(self):
        notebook = self.notebook()
        nbformat.validate(notebook)
        self.assertEqual(notebook.metadata.kernelspec.name, "tinytorch")
        self.assertEqual(notebook.metadata.tinytorch.module, "05_autograd")
        self.assertEqual(notebook.cells[2].metadata.nbgrader.grade_id, "05-reduce-to")
        self.assertEqual(notebook.cells[0].source, "# Module 05: Autograd")

    def test_saving_a_paired_notebook_gives_the_lesson_back(self):
        text = jupytext.writes(self.notebook(paired=True), fmt="cpp:percent")
        self.assertEqual(text.split("\n// ---\n", 1)[1], LESSON.split("\n// ---\n", 1)[1])

    def test_work_is_not_overwritten(self):
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "a.cpp"), Path(folder, "a.ipynb")
            source.write_text(LESSON)
            arguments = [str(source), str(target), "--module", "05_autograd"]
            convert.main(arguments)
            untouched = target.read_text()
            source.write_text(LESSON.replace("return a;", "return 2;"))
            convert.main(arguments)
            self.assertNotEqual(target.read_text(), untouched)  # nobody had worked in it
            notebook = nbformat.read(target, 4)
            notebook.cells[2].source += "// mine"
            nbformat.write(notebook, target)
            worked_in = target.read_text()
            convert.main(arguments)
            self.assertEqual(target.read_text(), worked_in)
            convert.main([*arguments, "--replace"])
            self.assertNotEqual(target.read_text(), worked_in)


if __name__ == "__main__":
    unittest.main()
