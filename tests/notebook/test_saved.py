"""What the kernel knows of cells that were not run: the notebook as it was saved."""

import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import nbformat

from tinytorch_kernel.cells import Notebook, parse
from tinytorch_kernel.kernel import SavedCells


def save(path, *sources):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("Text."), *(nbformat.v4.new_code_cell(source) for source in sources)])
    path.write_text(nbformat.writes(notebook))


class Saved(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.folder = Path(place.name)

    def test_the_saved_cells_are_given_once_and_again_when_they_were_saved_again(self):
        file = self.folder / "a.ipynb"
        save(file, "int a;", "%limit 5\nint b;")
        saved = SavedCells(self.folder)
        self.assertEqual(saved.changed(), ["int a;", "\nint b;"])
        self.assertIsNone(saved.changed())
        save(file, "int c;")
        os.utime(file, ns=(1, 1))
        self.assertEqual(saved.changed(), ["int c;"])
        file.write_text("{ half a file")
        os.utime(file, ns=(2, 2))
        self.assertIsNone(saved.changed())

    def test_of_several_notebooks_that_which_the_front_end_names(self):
        save(self.folder / "a.ipynb", "int a;")
        save(self.folder / "b.ipynb", "int b;")
        self.assertIsNone(SavedCells(self.folder).changed())
        with mock.patch.dict(os.environ, {"JPY_SESSION_NAME": "work/b.ipynb"}):
            self.assertEqual(SavedCells(self.folder).changed(), ["int b;"])

    def test_what_the_learner_wrote_further_down_counts_instead_of_what_was_handed_out(self):
        book = Notebook({"handed_out": ['int f() {\n  throw NotImplemented("01 f: Write it.");\n}']})
        book.put(parse("a", 1, "int f();\nint g() { return f(); }"))
        self.assertIn("NotImplemented", book.unit(book.cells[0], rest=True))
        book.later_cells(["int f() {\n  return 1;\n}"])
        self.assertIn("return 1;", book.unit(book.cells[0], rest=True))
        self.assertNotIn("NotImplemented", book.unit(book.cells[0], rest=True))

    def test_a_saved_cell_that_does_not_compile_counts_as_it_was_handed_out(self):
        book = Notebook({"handed_out": ['int f() {\n  throw NotImplemented("01 f: Write it.");\n}', "int h() { return 0; }"]})
        book.later_cells(["int f() {\n  return this is not C++;\n}", "int h() { return 2; }"])
        self.assertFalse(book.hand_out_again({"later in the lesson (cell 7)", "In[1]"}))
        self.assertTrue(book.hand_out_again({"later in the lesson (cell 1)"}))
        self.assertIn("NotImplemented", book.handed_out[0].source)
        self.assertIn("return 2;", book.handed_out[1].source)
        self.assertFalse(book.hand_out_again({"later in the lesson (cell 1)"}))  # it is what was handed out

    def test_a_cell_that_is_as_handed_out_is_not_replaced_by_another_of_the_same_names(self):
        book = Notebook({"handed_out": ["int f() { return 1; }", "int f() { return 2; }"]})
        self.assertFalse(book.hand_out_again({"later in the lesson (cell 1)", "later in the lesson (cell 2)"}))
        self.assertIn("return 1;", book.handed_out[0].source)


if __name__ == "__main__":
    unittest.main()
