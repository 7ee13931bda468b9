"""The tests of the notebook's kernel; with "sanitizers", those that need one; with a module's folder, that lesson as a notebook.
Prints a line for each test."""

import sys
import unittest
from pathlib import Path

HERE = Path(__file__).parent


class Lines(unittest.TestResult):
    def said(self, word, test, text=""):
        print(f"{word} {test.id()}{text}", flush=True)

    def addSuccess(self, test):
        self.said("passed", test)

    def addSkip(self, test, reason):
        self.said("skipped", test, f": {reason}")

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.said("failed", test, "\n" + "".join(f"  {line}\n" for line in self.failures[-1][1].splitlines()))

    def addError(self, test, error):
        super().addError(test, error)
        self.said("failed", test, "\n" + "".join(f"  {line}\n" for line in self.errors[-1][1].splitlines()))


def main(folders):
    sys.path.insert(0, str(HERE))
    if folders == ["sanitizers"]:
        suite = unittest.defaultTestLoader.loadTestsFromName("sanitizers")
    elif folders:
        import notebooks

        suite = unittest.TestSuite(notebooks.tests_of(folder) for folder in folders)
    else:
        suite = unittest.defaultTestLoader.discover(str(HERE), top_level_dir=str(HERE))
    result = Lines()
    suite.run(result)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
