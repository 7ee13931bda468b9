"""What compilers made is kept, and found again by what went into it."""

import os
import tempfile
import unittest
from pathlib import Path

from tinytorch_kernel.compiler import Compiled, Kept, Workshop


class CountingWorkshop(Workshop):
    """Without a compiler: the object has the unit's text."""

    def __init__(self, package):
        super().__init__(package)
        self.compiled = 0

    def call(self, command):
        self.compiled += 1
        unit = Path(command[-3] if "-o" in command else command[-1]).read_text()
        if "-o" in command:
            Path(command[-1]).write_text("object of " + unit)
        return type("Done", (), {"returncode": int("error" in unit), "stdout": "", "stderr": "said " + unit})()


class Keeping(unittest.TestCase):
    def setUp(self):
        place = tempfile.TemporaryDirectory()
        self.addCleanup(place.cleanup)
        self.folder = Path(place.name)
        (self.folder / "runtime").mkdir()
        (self.folder / "O0.h.gch").write_text("precompiled")
        (self.folder / "late.h").write_text("int late;")
        self.package = {"root": str(self.folder), "folder": str(self.folder / "notebook"), "runtime": str(self.folder / "runtime"),
                        "compile": {"-O0": "g++"}, "header": {"-O0": "O0.h"}, "stand_ins": "empty", "late_folder": "late",
                        "late_files": [str(self.folder / "late.h")]}

    def workshop(self):
        workshop = CountingWorkshop(self.package)
        self.addCleanup(workshop.close)
        return workshop

    def test_the_same_unit_is_compiled_once_also_for_another_kernel(self):
        first, second = self.workshop(), self.workshop()
        self.assertEqual(first.compile("a", "-O0"), Compiled(True, "said a"))
        self.assertEqual(second.compile("a", "-O0"), Compiled(True, "said a"))
        self.assertEqual((first.compiled, second.compiled), (1, 0))
        self.assertEqual((second.folder / "cell.o").read_text(), "object of a")
        second.compile("b", "-O0")
        self.assertEqual((second.folder / "cell.o").read_text(), "object of b")

    def test_checking_and_compiling_are_two_things(self):
        workshop = self.workshop()
        workshop.compile("a", "-O0", only_check=True)
        workshop.compile("a", "-O0")
        workshop.compile("a", "-O0", only_check=True)
        self.assertEqual(workshop.compiled, 2)
        self.assertEqual((workshop.folder / "cell.o").read_text(), "object of a")

    def test_an_error_is_not_kept(self):
        workshop = self.workshop()
        for _ in range(2):
            self.assertFalse(workshop.compile("error", "-O0").ok)
        self.assertEqual(workshop.compiled, 2)

    def test_what_a_unit_stands_on_may_change(self):
        for name in ("O0.h.gch", "late.h", "runtime/display.h"):
            workshop = self.workshop()
            workshop.compile("a", "-O0")
            (self.folder / name).write_text("something else")
            workshop.compile("a", "-O0")
            self.assertGreaterEqual(workshop.compiled, 1, name)
            before = workshop.compiled
            workshop.compile("a", "-O0")
            self.assertEqual(workshop.compiled, before, name)
            os.utime(self.folder / name, ns=(1, 1))
            workshop.compile("a", "-O0")
            self.assertEqual(workshop.compiled, before + 1, name)

    def test_what_was_not_used_for_longest_goes(self):
        kept = Kept(self.folder / "kept", limit=100)
        made = self.folder / "made"
        made.write_text("x" * 40)
        for number, key in enumerate(("a", "b")):
            kept.keep(key, "", made)
            os.utime(self.folder / "kept" / key, (number, number))
        self.assertEqual(kept.find("a", self.folder / "target"), "")  # used just now
        kept.keep("c", "", made)
        self.assertIsNone(kept.find("b", self.folder / "target"))
        self.assertEqual(kept.find("a", self.folder / "target"), "")
        self.assertEqual(kept.find("c", self.folder / "target"), "")

    def test_a_link_in_place_of_the_object_is_not_followed(self):
        kept = Kept(self.folder / "kept")
        secret = self.folder / "secret"
        secret.write_text("grades")
        (self.folder / "made").symlink_to(secret)
        kept.keep("a", "", self.folder / "made")
        self.assertIsNone(kept.find("a", self.folder / "target"))
        self.assertFalse((self.folder / "target").exists())

    def test_programs_in_the_sandbox_cannot_read_it(self):
        os.environ.update(TITO_SANDBOX="1", TITO="tito")
        self.addCleanup(os.environ.pop, "TITO_SANDBOX")
        workshop = self.workshop()
        words = workshop.sandboxed(["program"])
        seen = [Path(words[index + 1]) for index, word in enumerate(words) if word in ("--read", "--write")]
        self.assertTrue(seen)
        self.assertFalse([path for path in seen if workshop.kept.folder.is_relative_to(path)])


if __name__ == "__main__":
    unittest.main()
