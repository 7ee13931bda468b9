"""How often a cell is compiled that uses what stands further down in the lesson."""

import unittest

from tinytorch_kernel.cells import Notebook, parse
from tinytorch_kernel.compiler import Compiled
from tinytorch_kernel.kernel import TinyTorchKernel

HANDED_OUT = ["int first() { return 1; }", "int later() { return 2; }"]


class FakeWorkshop:
    """A compiler and a linker that take every text; a program without `later` misses it."""

    can_register = False

    def __init__(self):
        self.units = []

    def compile(self, unit, level, only_check=False):
        self.units.append(unit)
        return Compiled(True)

    def link(self, registering=False):
        return Compiled(True, missing=[] if "int later() {" in self.units[-1] else ["later()"])


class Rest(unittest.TestCase):
    def setUp(self):
        self.kernel = TinyTorchKernel()
        self.kernel.silent = True
        self.kernel.notebook = Notebook({"handed_out": HANDED_OUT})
        self.kernel.workshop = FakeWorkshop()
        self.kernel.run_program = lambda cell, seconds: None
        self.number = 0

    def run_cell(self, source):
        """How many units were compiled for it."""
        self.number += 1
        cell = parse(f"cell-{self.number}", self.number, source)
        self.kernel.notebook.put(cell)
        before = len(self.kernel.workshop.units)
        self.kernel.linked, self.kernel.with_rest, self.kernel.registered = None, False, False
        self.kernel.compile(cell, "-O0")
        if cell.runs:
            self.kernel.run(cell, 1)
        return len(self.kernel.workshop.units) - before

    def test_behind_a_program_that_wanted_the_rest_the_next_begins_with_it(self):
        self.run_cell("int later();\n" + HANDED_OUT[0])
        self.assertEqual(self.run_cell('TEST_CASE("a") { later(); }'), 2)
        self.assertEqual(self.run_cell('TEST_CASE("b") { later(); }'), 1)
        self.assertIn("int later() {", self.kernel.workshop.units[-1])
        # What was declared meanwhile is only checked, and where nothing is left a program is compiled as it stands.
        self.run_cell(HANDED_OUT[1])
        self.assertEqual(self.run_cell('TEST_CASE("c") { later(); }'), 1)
        self.assertFalse(self.kernel.wants_rest)

    def test_a_program_that_links_alone_is_compiled_without_the_rest(self):
        self.run_cell("int later();\n" + HANDED_OUT[1])
        self.assertEqual(self.run_cell('TEST_CASE("a") { later(); }'), 1)
        self.assertEqual(self.run_cell('TEST_CASE("b") { later(); }'), 1)
        self.assertNotIn("first", self.kernel.workshop.units[-1])


if __name__ == "__main__":
    unittest.main()
