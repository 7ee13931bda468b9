"""Cells under the address sanitizer, with which what they stand on is compiled once more."""

from kernel_session import KernelSession


class Sanitizers(KernelSession):
    def test_past_the_end(self):
        text, _, reply = self.run_cell('%sanitize on\nTEST_CASE("past the end") {\n  std::vector<int> v(3);\n  int* volatile p = v.data();\n  CHECK_EQ(p[3], 0);\n}')
        self.assertEqual(reply["status"], "error")
        self.assertIn("AddressSanitizer: heap-buffer-overflow", text)
        self.assertRegex(text, r"In\[\d+\]:5")
        self.good("%sanitize off\n1 + 1")
