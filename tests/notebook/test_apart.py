"""What is compiled again of a lesson's source files, and what when a program cannot be had from them."""

import re
import subprocess
import unittest
from unittest import mock

from tinytorch_kernel.cells import Notebook, parse
from tinytorch_kernel.compiler import Compiled, Workshop
from tinytorch_kernel.kernel import TinyTorchKernel

PACKAGE = {"root": ".", "compile": {"-O0": "c++", "-O1": "c++ -O1"}, "header": {"-O0": "a.h", "-O1": "b.h"}, "stand_ins": "c", "late_folder": "d"}


class Objects(unittest.TestCase):
    def setUp(self):
        self.workshop = Workshop(PACKAGE)
        self.addCleanup(self.workshop.close)
        self.fails = set()

    def compiled(self, files, level="-O0"):
        """Which units were given to the compiler."""
        names = []

        def call_all(commands):
            self.commands = [" ".join(command) for command in commands]
            names.extend(command[-1].rpartition("/")[2] for command in commands)
            return [subprocess.CompletedProcess(command, int(name in self.fails), "", "") for command, name in zip(commands, names)]

        with mock.patch.object(self.workshop, "call_all", call_all):
            self.done = self.workshop.compile_apart("program", files, level, lambda name, a, b: a == b)
        return names

    def test_only_files_that_changed_are_compiled_again(self):
        self.assertEqual(self.compiled({"a.cpp": "1", "b.cpp": "2"}), ["cell.o", "a_cpp_O0.o", "b_cpp_O0.o"])
        self.assertEqual(self.compiled({"a.cpp": "1", "b.cpp": "3"}), ["cell.o", "b_cpp_O0.o"])
        self.assertEqual(self.compiled({"a.cpp": "1", "b.cpp": "3"}, "-O1"), ["cell.o", "a_cpp_O1.o", "b_cpp_O1.o"])
        self.assertEqual(self.compiled({"a.cpp": "1"}), ["cell.o"])
        self.assertEqual([path.rpartition("/")[2] for path in self.workshop.apart], ["a_cpp_O0.o"])

    def test_a_file_that_did_not_compile_is_compiled_again(self):
        self.fails = {"a_cpp_O0.o"}
        self.compiled({"a.cpp": "1"})
        self.assertFalse(self.done.ok)
        self.fails = set()
        self.assertEqual(self.compiled({"a.cpp": "1"}), ["cell.o", "a_cpp_O0.o"])
        self.assertTrue(self.done.ok)

    def test_a_file_for_each_cpu_capability(self):
        self.workshop.capabilities = {"k.simd.cpp": {"DEFAULT": "-O3", "AVX2": "-O3 -mavx2"}}
        of_k = ["k_simd_cpp_DEFAULT.o", "k_simd_cpp_AVX2.o"]
        self.fails = {"k_simd_cpp_DEFAULT.o"}
        files = {"k.simd.cpp": "1", "a.cpp": "1"}
        self.assertEqual(self.compiled(files), ["cell.o", "a_cpp_O0.o", *of_k])  # none before those that any CPU runs
        self.assertRegex(self.commands[-1], "c .*-O3 -mavx2 -DTINYTORCH_CAPABILITY=AVX2 ")
        self.assertNotIn("a.h", self.commands[-1])
        self.fails = set()
        self.assertEqual(self.compiled(files), ["cell.o", *of_k])
        self.assertEqual(self.compiled(files, "-O1"), ["cell.o", "a_cpp_O1.o"])
        self.assertEqual([path.rpartition("/")[2] for path in self.workshop.apart], ["a_cpp_O1.o", *of_k])


class FakeWorkshop:
    """A compiler that takes every text, in source files only those without `refused`, and a linker that wants `later` defined."""

    can_register = False

    def __init__(self):
        self.ways = []

    def compile(self, unit, level, only_check=False):
        self.ways.append("whole")
        self.text = unit
        return Compiled(True)

    def compile_apart(self, unit, files, level, same):
        self.text = "".join([unit, *files.values()])
        self.ways.append("rest" if "later in the lesson" in self.text else "apart")
        called = "".join(re.findall(r"refused\(\) { return (\w+)\(", self.text))
        return Compiled("refused" not in "".join(files.values()), f"In[1]:2:1: error: '{called}' was not declared in this scope" if called else "")

    def link(self, registering=False):
        return Compiled(True, missing=["later()"] if "later();" in self.text and "int later() {" not in self.text else [])


class Ways(unittest.TestCase):
    def ways(self, *sources, handed_out=()):
        """How the last of these cells was compiled."""
        kernel = TinyTorchKernel()
        kernel.silent = True
        kernel.notebook = Notebook({"handed_out": handed_out, "capabilities": {"k.simd.cpp": {"DEFAULT": ""}}})
        kernel.workshop = FakeWorkshop()
        kernel.run_program = lambda cell, seconds: None
        for number, source in enumerate(sources, 1):
            cell = parse(f"cell-{number}", number, source)
            kernel.notebook.put(cell)
        kernel.compile(cell, "-O0")
        kernel.run(cell, 1)
        return kernel.workshop.ways

    def test_source_files_are_compiled_apart(self):
        self.assertEqual(self.ways("//| export a.h\nint a();", "//| export a.cpp\nint a() { return 1; }", 'TEST_CASE("a") { a(); }'), ["apart"])

    def test_a_notebook_without_them_is_one_unit(self):
        self.assertEqual(self.ways("int a() { return 1; }", 'TEST_CASE("a") { a(); }'), ["whole"])

    def test_with_the_rest_when_it_does_not_link(self):
        later = "//| export a.cpp\nint later() { return 1; }"
        self.assertEqual(self.ways("//| export a.h\nint later();", "//| export a.cpp\nint a() { return later(); }", 'TEST_CASE("a") { a(); }',
                                   handed_out=["//| export a.h\nint later();", later]), ["apart", "rest"])

    def test_with_the_rest_only_where_that_has_what_the_compiler_misses(self):
        source = "//| export a.cpp\nint refused() { return %s(); }"
        handed_out = ["//| export a.h\nint other();"]
        self.assertEqual(self.ways(source % "typo", 'TEST_CASE("a") {}', handed_out=handed_out), ["apart", "whole"])
        self.assertEqual(self.ways(source % "other", 'TEST_CASE("a") {}', handed_out=handed_out), ["apart", "rest", "whole"])

    def test_as_one_unit_when_the_compiler_refuses(self):
        self.assertEqual(self.ways("//| export a.cpp\nint refused() { return 1; }", 'TEST_CASE("a") {}'), ["apart", "whole"])

    def test_what_is_for_one_cpu_capability_never_joins_that_unit(self):
        self.assertEqual(self.ways("//| export a.cpp\nint refused() { return 1; }", "//| export k.simd.cpp\nint k;", 'TEST_CASE("a") {}'), ["apart", "apart"])


if __name__ == "__main__":
    unittest.main()
