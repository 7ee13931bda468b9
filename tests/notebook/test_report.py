"""What a program's tests reported, in words."""

import unittest

from tinytorch_kernel import report
from tinytorch_kernel.kernel import WAITING
from tinytorch_kernel.compiler import Ended


def test(name, passed=True, failures=(), ended=True):
    begun = [{"event": "test", "test": name, "file": "In[3]", "line": 1}]
    failed = [{"event": "failure", "kind": "check", "file": "In[3]", "line": 2, **failure} for failure in failures]
    return begun + failed + [{"event": "done", "passed": passed, "checks": 2, "seconds": 0.1}] * ended


END = [{"event": "end"}]
KNOWN = [{"mistake": "03-a/b", "says": "Shift first.", "fails": [{"test": "shifts", "check": "CHECK_EQ( a, 1 )", "values": "2, 1"},
                                                                 {"test": "elsewhere", "check": "CHECK( b )", "values": "false"}]},
         {"mistake": "03-a/c", "says": "Mask first.", "fails": [{"test": "shifts", "check": "CHECK_EQ( a, 1 )", "values": "3, 1"}]}]


def described(events, ended=None, known=()):
    return report.describe_tests(events, ended or Ended(), 5, lambda addresses: [f"In[2]:{address}" for address in addresses], known)


class Report(unittest.TestCase):
    def test_passed(self):
        self.assertEqual(described(test("a") + test("b") + END), (True, "2 tests passed (4 checks)", []))

    def test_a_failed_check_with_its_values(self):
        failure = {"check": "CHECK_EQ( a, 1 )", "values": "2, 1", "subcase": "small", "info": ["i = 3"], "difference": "at [0]"}
        passed, sentence, lines = described(test("a", False, [failure]) + END, Ended(status=1))
        self.assertFalse(passed)
        self.assertEqual(sentence, "1 of 1 tests failed")
        self.assertEqual(lines[:6], ["FAILED  a", "  In[3]:2: CHECK_EQ( a, 1 )", "    in small", "    2, 1", "    at [0]", "    i = 3"])

    def test_a_crash_says_where(self):
        crash = {"kind": "crashed", "file": "", "values": "SIGSEGV", "cause": "null pointer", "trace": [7]}
        _, _, lines = described(test("a", False, [crash], ended=False), Ended(status=-11))
        self.assertEqual(lines[:5], ["FAILED  a", "  In[3]:1: the program crashed in this test", "    SIGSEGV", "    cause: null pointer", "    at In[2]:7"])

    def test_a_program_that_does_not_come_to_its_end_has_not_passed(self):
        self.assertFalse(described(test("a"))[0])
        self.assertFalse(described([], Ended(status=-9))[0])
        self.assertIn("signal 9", described([], Ended(status=-9))[2][0])
        self.assertFalse(described(test("a") + END, Ended(timed_out=True))[0])

    def test_a_skipped_test_is_not_one_that_passed(self):
        events = test("a")
        events.insert(1, {"event": "skipped", "why": "no camera"})
        self.assertEqual(described(events + END), (True, "0 tests passed (2 checks)", ["skipped a: no camera"]))

    def test_a_ratio_that_is_not_reached_fails_nothing_but_gives_no_points(self):
        def measured(reached, **options):
            events = test("a")
            events.insert(1, {"event": "measured", "reached": reached, "wanted": 2})
            return report.describe_tests(events + END, Ended(), 5, lambda addresses: [], **options)

        line = "measured a: 1.5 times as fast as the baseline; the points ask for 2"
        self.assertEqual(measured(1.5), (True, "1 test passed (2 checks)", [line]))
        self.assertEqual(measured(1.5, grades=True), (False, "the ratio that the points ask for was not reached", [line]))
        self.assertTrue(measured(2, grades=True)[0])

    def test_a_known_mistake_is_recognized_by_its_values(self):
        failure = {"check": "CHECK_EQ( a, 1 )", "values": "2, 1"}
        self.assertIn("This looks like a mistake that others have made: Shift first.", described(test("shifts", False, [failure]) + END, known=KNOWN)[2])
        for other in ({"check": "CHECK_EQ( a, 1 )", "values": "9, 1"}, {"check": "CHECK( b )", "values": "2, 1"}):
            self.assertFalse(any("others have made" in line for line in described(test("shifts", False, [other]) + END, known=KNOWN)[2]))


class Waiting(unittest.TestCase):
    def test_what_an_empty_exercise_throws(self):
        for said in ("In[5]:3: 05 AccumulateGrad::apply: Add the gradient that arrived to the leaf's.",
                     "In[7]:1: 07 data::DataLoaderBase<Dataset,Batch,BatchRequest>::run_job: Make the job's batch.",
                     "In[7]:1: relu(Tensor) is declared, but the cell that defines it was not run"):
            self.assertRegex(said, WAITING)
        self.assertNotRegex("In[7]:1: mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)", WAITING)


if __name__ == "__main__":
    unittest.main()
