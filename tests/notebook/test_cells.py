"""Which declarations a cell is compiled behind."""

import unittest
import unittest.mock

from tinytorch_kernel.cells import Notebook, parse
from tinytorch_kernel.language import LanguageHelp


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

    def test_the_definition_that_counts_may_stand_behind_the_cell(self):
        book = notebook("int f() { return 1; }", "int g() { return f(); }", "f()", "int f() { return 2; }")
        unit = book.unit(book.cells[2])
        self.assertIn("return 2;", unit)
        self.assertNotIn("return 1;", unit)

    def test_a_broken_cell_is_left_out(self):
        book = notebook("int a() { return 1; }", "int a() { return 2; }", "int b;")
        book.leave_out(book.cells[1])
        self.assertIn("return 1;", book.unit(book.cells[2]))
        self.assertNotIn("return 2;", book.unit(book.cells[2]))

    def test_lesson_code_has_internal_linkage_and_mistakes_are_skipped(self):
        book = notebook("//| lesson\nint helper() { return 1; }", '//| mistake 01-a b\n//| says c\n#if 0\nint f() { return 0; }\n#endif', "int c;")
        unit = book.unit(book.cells[2])
        self.assertIn('namespace tinytorch { namespace {\n#line 2 "In[1]"', unit)
        self.assertNotIn("return 0", unit)

    def test_the_lesson_s_own_namespace_lines_add_nothing(self):
        for line in ("namespace tinytorch {", "}  // namespace tinytorch"):
            self.assertEqual(parse("a", 1, line).items, [])

    def test_of_a_pause_in_the_namespace_the_includes_count(self):
        book = notebook("// For the tests.\n}  // namespace tinytorch\n#include <set>\nnamespace tinytorch {", "int a;")
        self.assertIn('#line 3 "In[1]"\n#include <set>\nnamespace tinytorch {\n#line 1 "In[2]"\nint a;\n}', book.unit(book.cells[1]))

    def test_what_is_compiled_into_the_package_is_not_declared_again(self):
        book = notebook("//| export a.h\n//| extends Tensor\nclass Mixin {};", "int a;")
        self.assertNotIn("Mixin", book.unit(book.cells[1]))

    def test_the_rest_of_the_lesson_is_what_was_handed_out_and_not_run(self):
        handed_out = ["int f();", 'int f() {\n  throw NotImplemented("01 f: Write it.");\n}', "int g() { return f(); }", 'TEST_CASE("g") {}']
        book = Notebook({"handed_out": handed_out})
        book.put(parse("a", 1, "int f();"))
        book.put(parse("b", 2, 'TEST_CASE("early") { CHECK_EQ(g(), 1); }'))
        self.assertNotIn("int g()", book.unit(book.cells[1]))
        unit = book.unit(book.cells[1], rest=True)
        self.assertIn('#line 1 "later in the lesson (cell 3)"\nint g() { return f(); }', unit)
        self.assertIn("NotImplemented", unit)
        self.assertEqual(unit.count("int f();"), 1)
        self.assertNotIn('TEST_CASE("g")', unit)
        self.assertLess(unit.index("int g()"), unit.index('TEST_CASE("early")'))
        book.put(parse("c", 3, "int f() {\n  return 1;\n}"))
        self.assertNotIn("NotImplemented", book.unit(book.cells[1], rest=True))

    def test_the_registration_of_a_cell_not_run_yet_has_a_name_of_its_own(self):
        book = Notebook({"handed_out": ["int f();", "//| export a.cpp\n//| registers\nvoid register_f() { f(); }"]})
        book.put(parse("a", 1, 'TEST_CASE("early") { CHECK_EQ(f(), 1); }'))
        for unit in (book.unit(book.cells[0], rest=True), book.unit_of_file("a.cpp", book.cells[0], rest=True)):
            self.assertRegex(unit, r"const bool registered_by_\w+ = \[\] \{ tinytorch::register_f\(\);")

    def test_what_was_run_is_known_in_its_namespace_too(self):
        book = Notebook({"handed_out": ["namespace {\nint f(int a) {\n  throw 1;\n}\n}", "int later;"]})
        book.put(parse("a", 1, "namespace {\nint f(int a) {\n  return 1;\n}\n}"))
        self.assertEqual([cell.source for cell in book.not_run()], ["int later;"])

    def test_other_classes_than_the_file_s_do_not_fit_what_was_compiled_with_them(self):
        book = Notebook({"header_cells": ["//| export a.h\nclass A {\n  int b;  // why\n};\nint f();"]})
        book.put(parse("a", 1, "//| export a.h\nclass A { int b; };\nint f(int);\nclass Other {};"))
        self.assertTrue(book.fits_what_is_behind())
        book.put(parse("a", 2, "//| export a.h\nclass A { int b, c; };"))
        self.assertFalse(book.fits_what_is_behind())
        book.leave_out(book.cells[0])
        self.assertTrue(book.fits_what_is_behind())

    def test_a_cell_that_is_only_checked_stands_behind_prototypes(self):
        kept = ["template <class T>\nT t() { return 11; }", "constexpr int c() { return 12; }", "auto a() { return 13; }",
                "struct S {\n  int inside() { return 14; }\n  int m() const;\n};", "int d(int x = 2) { return 15; }"]
        book = notebook(*kept, "int f(int a) { return 21; }", "int S::m() const { return 22; }", "//| registers\nvoid register_f() { f(23); }",
                        "int g() { return f(31); }")
        unit = book.unit(book.cells[-1], bodies=False)
        for number in (11, 12, 13, 14, 15, 31):
            self.assertIn(str(number), unit)
        for number in (21, 22, 23):
            self.assertNotIn(str(number), unit)
        self.assertIn("int f(int a);", unit)
        self.assertNotIn("S::m", unit)
        self.assertNotIn("registered_by", unit)
        self.assertIn("22", book.unit(book.cells[-1]))
        # What it registers itself is checked.
        self.assertIn("tinytorch::register_f(); return true;", book.unit(book.cells[-2], bodies=False))

    LESSON = ["//| export b.h\nstruct B { int m(); };\nint b();\nvoid register_b();", "//| export b.cpp\nnamespace {\nint helper() { return 51; }\n}",
              "//| export b.cpp\nint b() { return helper(); }", "//| export c.cpp\nint B::m() { return 61; }",
              "//| export b.cpp\n//| registers\nvoid register_b() { b(); }", "//| lesson\nint shown() { return 71; }", "int own() { return 81; }",
              'TEST_CASE("b") { CHECK_EQ(b(), 51); }']

    def test_a_program_apart_has_no_source_file_s_cells(self):
        book = notebook(*self.LESSON)
        test = book.cells[-1]
        self.assertEqual(book.files(test), ["b.cpp", "c.cpp"])
        unit = book.unit(test, apart=True)
        for text in ("struct B", "return 71;", "return 81;", "TEST_CASE"):
            self.assertIn(text, unit)
        for text in ("helper", "B::m", "registered_by"):
            self.assertNotIn(text, unit)

    def test_what_is_compiled_for_each_cpu_capability_is_in_no_program_s_own_unit(self):
        book = notebook("//| export k.simd.cpp\nint first() { return 11; }", "//| export k.simd.cpp\nint second() { return first(); }", 'TEST_CASE("k") {}')
        book.package["capabilities"] = {"k.simd.cpp": {"DEFAULT": ""}}
        self.assertNotIn("return 11;", book.unit(book.cells[2]))
        self.assertIn("return 11;", book.unit(book.cells[1]))  # which is only checked
        self.assertIn("return 11;", book.unit_of_file("k.simd.cpp", book.cells[2]))
        self.assertNotIn("return 11;", book.unit_of_file("k.simd.cpp", book.cells[2], left_out={book.cells[0]}))

    def test_a_source_file_s_unit_is_what_the_package_has_in_it(self):
        book = notebook(*self.LESSON)
        unit = book.unit_of_file("b.cpp", book.cells[-1])
        for text in ("struct B", "return 51;", "return helper();", "tinytorch::register_b(); return true;"):
            self.assertIn(text, unit)
        for text in ("B::m", "return 71;", "return 81;", "TEST_CASE"):
            self.assertNotIn(text, unit)

    def test_a_source_file_s_unit_with_the_cells_that_were_not_run(self):
        book = Notebook({"handed_out": self.LESSON})
        for number in (1, 8):
            book.put(parse(f"cell-{number}", number, self.LESSON[number - 1]))
        self.assertEqual(book.files(book.cells[-1]), [])
        self.assertEqual(book.files(book.cells[-1], rest=True), ["b.cpp", "c.cpp"])
        self.assertIn("return helper();", book.unit_of_file("b.cpp", book.cells[-1], rest=True))

    def test_a_source_file_stands_behind_headers_that_the_lesson_shows_later(self):
        lesson = ["//| export a.h\nint a();", "//| export a.cpp\nint a() { return Later().value; }", "//| export b.h\nstruct Later { int value = 5; };",
                  'TEST_CASE("a") {}']
        book = notebook(*lesson)
        unit = book.unit_of_file("a.cpp", book.cells[-1])
        self.assertLess(unit.index("struct Later"), unit.index("return Later()"))
        book = Notebook({"handed_out": lesson})
        for number in (1, 2):
            book.put(parse(f"cell-{number}", number, lesson[number - 1]))
        unit = book.unit(book.cells[1], rest=True, bodies=False)
        self.assertLess(unit.index("struct Later"), unit.index("return Later()"))
        self.assertEqual(unit.count("struct Later"), 1)

    def test_a_source_file_is_the_same_when_only_cells_of_others_have_new_numbers(self):
        book = notebook(*self.LESSON)
        units = [book.unit_of_file("b.cpp", book.cells[-1])]
        for number, key in ((9, 1), (10, 2)):  # a header, then a cell of the file itself
            book.put(parse(f"cell-{key}", number, self.LESSON[key - 1]))
            units.append(book.unit_of_file("b.cpp", book.cells[-1]))
        self.assertNotEqual(units[0], units[1])
        self.assertTrue(book.same_file("b.cpp", units[0], units[1]))
        self.assertFalse(book.same_file("b.cpp", units[1], units[2]))

    def test_a_definition_in_a_learner_s_own_cell_counts_instead_of_a_source_file_s(self):
        book = notebook("//| export b.h\nint b();", "//| export b.cpp\nint b() { return 1; }", "int b() { return 2; }", "b()")
        self.assertNotIn("return 1;", book.unit_of_file("b.cpp", book.cells[-1]))
        self.assertIn("return 2;", book.unit(book.cells[-1], apart=True))

    def test_registrations_are_made(self):
        book = notebook("//| export a.cpp\n//| registers\nvoid register_gradients() {\n  f();\n}")
        self.assertIn("tinytorch::register_gradients(); return true;", book.unit(book.cells[0]))

    def test_the_last_line_is_shown(self):
        book = notebook("auto x = f();\nx + 1")
        self.assertIn("::tito::show((x + 1\n));", book.unit(book.cells[0]))


class LanguageHelpTest(unittest.TestCase):
    def test_without_clangd_its_package_is_named(self):
        with unittest.mock.patch("shutil.which", return_value=None):
            help_ = LanguageHelp()
            help_.prepare(notebook("// Twice as much.\nint twice_as_much(int a) { return 2 * a; }"), None)
            answer = help_.inspect("twice_as_much(3)", 3)
        self.assertTrue(answer.startswith("// Twice as much.\nint twice_as_much(int a)"), answer)
        self.assertIn("apt-get install clangd", answer)


if __name__ == "__main__":
    unittest.main()
