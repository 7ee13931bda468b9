"""The kernel as a front end sees it, with module 00 under it: whatever a cell does, the next one works."""

import os
import queue
import shutil
import time
import unittest

from jupyter_client.manager import start_new_kernel

from kernel_session import PATIENCE, KernelSession


class KernelTest(KernelSession):
    # ---- what works

    def test_a_function_and_its_test(self):
        self.assertEqual(self.good("int twice(int a) { return 2 * a; }"), "")
        self.assertEqual(self.good('TEST_CASE("twice") { CHECK_EQ(twice(2), 4); }'), "1 test passed (1 check)\n")

    def test_redefinition_in_the_same_cell_and_in_another(self):
        self.good("int one() { return 1; }", "a")
        self.good("int two() { return one() + 1; }", "b")
        self.good("int one() { return 10; }", "a")
        self.assertEqual(self.good("two()", "c"), "11\n")
        self.good("int one() { return 100; }", "d")
        self.assertEqual(self.good("two()", "c"), "101\n")
        self.good("struct One { int a; };", "e")
        self.good("struct One { int a, b; };", "e")
        self.assertEqual(self.good("sizeof(One)", "c"), "8\n")

    def test_statements_and_the_last_value(self):
        self.assertEqual(self.good('std::vector<int> v{1, 2};\nv.push_back(3);\nstd::cout << v.size() << "\\n";\nv'), "3\n{1, 2, 3}\n")

    def test_variables_of_a_cell_without_statements_stay(self):
        self.good("int base = 40;")
        self.assertEqual(self.good("base + 2"), "42\n")

    def test_a_demonstration(self):
        self.assertIn("hello", self.good('DEMO("greet") { std::cout << "hello\\n"; }'))

    def test_a_demonstration_that_waits_for_an_exercise(self):
        # In the middle of a line, and for a name with brackets and dots in it.
        text = self.good('DEMO("waits") {\n  std::cout << "begun:";\n  throw std::runtime_error("01 Operator<R(Args...)>::operator(): Choose the layer.");\n}')
        self.assertIn("begun:", text)
        self.assertRegex(text, r"This demonstration waits for what comes later in the lesson \(In\[\d+\]:1: 01 Operator<R\(Args\.\.\.\)>::operator\(\): Choose the layer\.\)")
        self.assertNotIn("the demonstration stopped", text)
        self.assertIn("too short", self.bad('DEMO("breaks") { throw std::runtime_error("28 images in train.bin: too short"); }')[1])

    def test_a_cell_that_needs_one_that_was_run_later(self):
        self.good("int early() { return 1; }", "a")
        self.good("int late() { return 2; }", "b")
        self.good("int early() { return late(); }", "a")
        self.assertEqual(self.good("early()"), "2\n")

    # Cells of a lesson's source file are compiled apart from the programs that call them.

    def test_a_source_file_s_cells(self):
        self.good("//| export tried.h\nint counted();\nint twice(int a);", "header")
        self.good("//| export tried.cpp\nnamespace {\nint calls = 0;\n}", "state")
        self.good("//| export tried.cpp\nint counted() { return ++calls; }", "counted")
        self.good("//| export other.cpp\nint twice(int a) { return 2 * a; }", "twice")
        test = 'TEST_CASE("twice") {\n  CHECK_EQ(twice(counted()), 2);\n  CHECK_EQ(twice(counted()), 4);\n}'
        self.assertEqual(self.good(test, "test"), "1 test passed (2 checks)\n")
        # Another body, and the same one again.
        self.good("//| export other.cpp\nint twice(int a) { return 3 * a; }", "twice")
        self.assertIn("3, 2", self.bad(test, "test")[1])
        self.good("//| export other.cpp\nint twice(int a) { return 2 * a; }", "twice")
        self.good(test, "test")
        # Another class in the header.
        self.good("//| export tried.h\nint counted();\nint twice(int a, int b = 1);", "header")
        self.good("//| export other.cpp\nint twice(int a, int b) { return 2 * a * b; }", "twice")
        self.good(test, "test")

    def test_a_source_file_s_cells_that_use_a_learner_s_own(self):
        self.good("int base() { return 20; }", "own")
        self.good("//| export tried.h\nint twice();", "header")
        self.good("//| export tried.cpp\nint twice() { return 2 * base(); }", "twice")
        self.assertEqual(self.good("twice()", "c"), "40\n")
        self.good("int base() { return 30; }", "own")
        self.assertEqual(self.good("twice()", "c"), "60\n")

    def test_a_crash_in_a_source_file_s_cell_is_found_there(self):
        self.good("//| export tried.h\nint read(int* p);", "header")
        self.good("//| export tried.cpp\nint read(int* p) {\n  return *p;\n}", "read")
        self.assertRegex(self.bad('TEST_CASE("read") { CHECK_EQ(read(nullptr), 1); }')[1], r"at In\[\d+\]:3")

    def test_a_plot_is_a_picture(self):
        _, shown = self.good('tito::plot({3, 2, 1}, "loss");')
        self.assertIn("<svg", shown[0]["image/svg+xml"])

    def test_a_warning_is_shown_and_no_error(self):
        _, shown = self.good("int f(unsigned a) { int b = 3; return b < a ? 1 : 0; }\nf(4)")
        self.assertIn("In[", shown[0]["text/plain"])
        self.assertIn("warning: comparison", shown[0]["text/plain"])

    # ---- what fails, and the next cell works

    def tearDown(self):
        if self.client.is_alive():
            self.assertEqual(self.good("6 * 7"), "42\n")

    def test_a_failed_check(self):
        name, text = self.bad('int twice(int a) { return a; }\nTEST_CASE("twice doubles") {\n  CHECK_EQ(twice(2), 4);\n}')
        self.assertEqual(name, "TestFailed")
        self.assertRegex(text, r"FAILED  twice doubles\n  In\[\d+\]:3: CHECK_EQ\( twice\(2\), 4 \)\n    2, 4")

    def test_a_syntax_error_says_where(self):
        name, text = self.bad("int f() {\n  return 1 +;\n}")
        self.assertEqual(name, "CompileError")
        self.assertRegex(text, r"In\[\d+\]:2:13: error: expected primary-expression")

    def test_a_cell_that_stopped_compiling_does_not_count_any_more(self):
        self.good("int f() { return 1; }", "a")
        self.bad("int f() { return 1 }", "a")
        _, text = self.bad("f()", "b")
        self.assertIn("did not compile; mend it", text)
        self.good("int f() { return 3; }", "a")
        self.assertEqual(self.good("f()", "b"), "3\n")

    def test_a_missing_return(self):
        self.assertIn("no return statement", self.bad('int f() { }\nTEST_CASE("f") { CHECK_EQ(f(), 1); }')[1])

    def test_a_function_that_is_only_declared(self):
        self.good("int f(int a);")
        self.assertIn("f(int) is declared, but the cell that defines it was not run", self.bad("f(1)")[1])

    def test_a_segmentation_fault(self):
        name, text = self.bad('TEST_CASE("null") {\n  int* volatile p = nullptr;\n  *p = 1;\n}')
        self.assertEqual(name, "TestFailed")
        self.assertIn("the program crashed in this test", text)
        self.assertIn("cause: null pointer", text)
        self.assertRegex(text, r"at In\[\d+\]:3")
        self.assertIn("signal 11", self.bad("int* volatile p = nullptr;\n*p = 1;")[1])

    def test_an_endless_loop(self):
        started = time.monotonic()
        name, text = self.bad('%limit 1\nTEST_CASE("loop") { for (volatile int i = 0;; i = i + 1) {} }')
        self.assertLess(time.monotonic() - started, 60)
        self.assertEqual(name, "TestFailed")
        self.assertIn("endless loop?", text)

    def test_endless_output(self):
        self.assertIn("printed too much", self.bad('for (;;) std::cout << "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\\n";')[1])

    def test_exit_in_a_test(self):
        name, text = self.bad('TEST_CASE("leave") { std::exit(0); }\nTEST_CASE("not reached") { CHECK(false); }')
        self.assertEqual(name, "TestFailed")
        self.assertIn("the program ended in this test", text)

    def test_too_much_memory(self):
        self.assertIn("bad_alloc", self.bad('TEST_CASE("hungry") { std::vector<char> v(std::size_t{1} << 34); CHECK(v.size() > 0); }')[1])

    def test_an_exception_in_statements(self):
        name, text = self.bad('int a = 1;\nthrow std::runtime_error("no more");')
        self.assertEqual(name, "Stopped")
        self.assertIn("no more", text)

    def test_interrupt(self):
        number = self.start('%limit 100\nstd::cout << "begun" << std::endl;\nfor (volatile int i = 0;; i = i + 1) {}')
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE)
            if message["msg_type"] == "stream" and "begun" in message["content"]["text"]:
                break
        started = time.monotonic()
        self.manager.interrupt_kernel()
        _, _, reply = self.finish(number)
        self.assertLess(time.monotonic() - started, 20)
        self.assertEqual(reply["ename"], "KeyboardInterrupt")

    def test_an_unknown_magic(self):
        self.assertIn("there is no %cake", self.bad("%cake")[1])

    # ---- completion and inspection

    def ask(self, method, *arguments):
        number = getattr(self.client, method)(*arguments)
        while True:
            reply = self.client.get_shell_msg(timeout=PATIENCE)
            if reply["parent_header"].get("msg_id") == number:
                return reply["content"]

    def test_completion_and_inspection(self):
        self.good("// Twice as much.\nint twice_as_much(int a) { return 2 * a; }")
        answer = self.ask("complete", "int b = twice_as", 16)
        self.assertIn("twice_as_much", [match.split("(")[0] for match in answer["matches"]])
        self.assertEqual(answer["cursor_start"], 8)
        answer = self.ask("inspect", "twice_as_much(3)", 3)
        self.assertTrue(answer["found"])
        self.assertIn("twice_as_much", answer["data"]["text/plain"])

    @unittest.skipUnless(shutil.which("clangd"), "clangd is not installed (apt-get install clangd)")
    def test_clangd_knows_members_and_types(self):
        self.good("struct Pair { int first_of_two; double second_of_two; };\nPair made() { return {1, 2}; }")
        code = "made()."
        answer = self.ask("complete", code, len(code))
        self.assertLessEqual({"first_of_two", "second_of_two"}, set(answer["matches"]))
        code = "auto half = made().second_of_two / 2;"
        self.assertIn("double", self.ask("inspect", code, code.index("half") + 2)["data"]["text/plain"])


class Restart(unittest.TestCase):
    def test_a_restarted_kernel_knows_nothing(self):
        manager, client = start_new_kernel(kernel_name="tinytorch", env={**os.environ, "TITO_MODULE": "00"}, startup_timeout=60)
        try:
            self.assertEqual(client.execute_interactive("int a = 1;", timeout=PATIENCE, output_hook=lambda _: None)["content"]["status"], "ok")
            manager.restart_kernel(now=False)
            client.wait_for_ready(timeout=60)
            reply = client.execute_interactive("a", timeout=PATIENCE, output_hook=lambda _: None)["content"]
            self.assertEqual(reply["status"], "error")
            self.assertIn("was not declared", reply["evalue"])
        finally:
            client.stop_channels()
            manager.shutdown_kernel(now=True)


if __name__ == "__main__":
    unittest.main()
