"""Which declarations a cell is compiled behind."""

import unittest

from tinytorch_kernel.cells import Notebook, parse


def notebook(*sources):
    book = Notebook({"mixins": ["//| export a.h\n//| extends Tensor\nclass Mixin {};"]})
    for number, source in enumerate(sources, 1):
        book.put(parse(f"cell-{number}", number, source))
    return book


class Units(unittest.TestCase):
    def test_earlier_declarations_and_this_cell_with_their_lines(self):
        book = notebook("#include <set>\nint a = 1;", "// b\nint f() { return a; }", 'TEST_CASE("f") { CHECK_EQ(f(), 1); }')
        unit = book.unit(book.cells[2])
        self.assertIn('#line 1 "In[1]"\n#include <set>\nnamespace tinytorch {\n#line 2 "In[1]"\nint a = 1;\n}', unit)
        self.assertIn('#line 2 "In[2]"\nint f() { return a; }', unit)
        self.assertIn('#line 1 "In[3]"\nTEST_CASE', unit)

    def test_tests_and_statements_of_earlier_cells_are_not_repeated(self):
        book = notebook('TEST_CASE("a") {}', "int a = 1;\nf(a);", "int b;")
        unit = book.unit(book.cells[2])
        self.assertNotIn("TEST_CASE", unit)
        self.assertNotIn("f(a)", unit)
        self.assertNotIn("int a", unit)

    def test_a_cell_that_is_run_again_keeps_its_place(self):
        book = notebook("int a = 1;", "int b = a;")
        book.put(parse("cell-1", 3, "int a = 2;"))
        self.assertEqual([cell.number for cell in book.cells], [3, 2])
        self.assertNotIn("int b", book.unit(book.cells[0]))

    def test_a_definition_in_a_later_cell_counts(self):
        book = notebook("int f(int a) { return 1; }\nclass A {};", "int g() { return f(1); }", "int f(int a) { return 2; }\nclass A { int b; };", "int h;")
        unit = book.unit(book.cells[3])
        self.assertIn("int f(int a);", unit)
        self.assertNotIn("return 1;", unit)
        self.assertNotIn("class A {};", unit)

    def test_a_broken_cell_is_left_out(self):
        book = notebook("int a", "int b;")
        book.cells[0].broken = True
        self.assertNotIn("int a", book.unit(book.cells[1]))

    def test_lesson_code_has_internal_linkage_and_mistakes_are_skipped(self):
        book = notebook("//| lesson\nint helper() { return 1; }", '//| mistake 01-a b\n//| says c\n#if 0\nint f() { return 0; }\n#endif', "int c;")
        unit = book.unit(book.cells[2])
        self.assertIn('namespace tinytorch { namespace {\n#line 2 "In[1]"', unit)
        self.assertNotIn("return 0", unit)

    def test_the_lesson_s_own_namespace_lines_add_nothing(self):
        for line in ("namespace tinytorch {", "}  // namespace tinytorch"):
            self.assertEqual(parse("a", 1, line).items, [])

    def test_what_is_compiled_into_the_package_is_not_declared_again(self):
        book = notebook("//| export a.h\n//| extends Tensor\nclass Mixin {};", "int a;")
        self.assertNotIn("Mixin", book.unit(book.cells[1]))

    def test_registrations_are_made(self):
        book = notebook("//| export a.cpp\n//| registers\nvoid register_gradients() {\n  f();\n}")
        self.assertIn("tinytorch::register_gradients(); return true;", book.unit(book.cells[0]))

    def test_the_last_line_is_shown(self):
        book = notebook("auto x = f();\nx + 1")
        self.assertIn("::tito::show((x + 1\n));", book.unit(book.cells[0]))


if __name__ == "__main__":
    unittest.main()
