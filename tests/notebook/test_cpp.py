"""Cells taken apart into items."""

import unittest

from tinytorch_kernel import cpp
from tinytorch_kernel.cpp import DECLARATION, DIRECTIVE, EXPRESSION, STATEMENT, TEST, VARIABLE


def kinds(text):
    return [item.kind for item in cpp.split_items(text)]


class SplitItems(unittest.TestCase):
    def test_declarations(self):
        for text in ("int twice(int a) { return 2 * a; }",
                     "Tensor nn::LinearImpl::forward(const Tensor& input) {\n  return input;\n}",
                     "Box::Box(int a) : a_(a), b_{1} {\n}",
                     "Box::Box(int a) : a_{a}\n{ f(); }",
                     "class Box : public Base {\n int a_ = 1;\n};",
                     "struct Pair { int a, b; } pair;",
                     "enum class Colour : int { Red, Blue };",
                     "template <class T>\nconcept Number = requires(T a) { a + a; };",
                     "template <class T> T half(T a) { return a / 2; }",
                     "template <auto& A, auto& B>\n  requires requires { A.name(); }\nvoid both(int a) {\n  f(a);\n}",
                     "template <class T>\n  requires std::is_class_v<T> && requires(T t) { { t.f() } -> std::same_as<int>; }\nint call(T t) { return t.f(); }",
                     "template <class T> int size(T t) requires (sizeof(T) > 4) { return 1; }",
                     "namespace nn { int a; void f() {} }",
                     "using Row = std::vector<double>;",
                     "static const std::vector<int> table = {1, 2, {3}};",
                     "[[nodiscard]] int f();",
                     "std::ostream& operator<<(std::ostream& out, const Box& box) { return out; }",
                     "bool Box::operator==(const Box& other) const { return true; }",
                     "TORCH_MODULE(Linear);",
                     "enum Flag { A = 1, B = 2 };",
                     "struct Row row_of(int a) { return {}; }"):
            self.assertEqual(kinds(text), [DECLARATION], text)

    def test_statements(self):
        for text in ("std::cout << 1;", "x.backward();", "f(1);", "a = 2;", "a += 2;", "a[0] = 1;", "p->run();", "++a;", "*p = 1;",
                     "for (int i = 0; i < 3; ++i) { f(i); }", "if (a) { f(); } else { g(); }", "try { f(); } catch (...) { g(); }",
                     "do { f(); } while (a);", "{ int a; }", "(void)a;", "CHECK_EQ(1, 2);", "tito::plot({{\"a\", b}});"):
            self.assertEqual(kinds(text), [STATEMENT], text)

    def test_variables(self):
        for text in ("int a = 1;", "Tensor x = ones({2, 3});", "auto y = f([](int a) { return a; });", "std::vector<int> v{1, 2};",
                     "const int n = 3;", "Tensor w;", "auto f = [](int a) {\n return a;\n};", "std::map<std::string, int> m = {{\"a\", 1}};"):
            self.assertEqual(kinds(text), [VARIABLE], text)

    def test_expressions(self):
        for text in ("x", "x + 1", "f(x)", "x.sum()", "1 + 2", "ones({2, 2}) * 3", "a == b", '"text"', "-x"):
            self.assertEqual(kinds(text), [EXPRESSION], text)

    def test_tests_and_directives(self):
        self.assertEqual(kinds('#include <vector>\n#define TWICE(a) \\\n  ((a) * 2)\nTEST_CASE("a; {") { f("}"); }\nDEMO("b") {}'),
                         [DIRECTIVE, DIRECTIVE, TEST, TEST])

    def test_literals_and_comments_have_no_braces(self):
        text = 'const char* a = "}{;"; // };{\n/* } */ char b = \'{\'; int c = 1\'000; auto d = R"x(}; )" ")x";'
        self.assertEqual(kinds(text), [VARIABLE] * 4)

    def test_lines(self):
        items = cpp.split_items("// a\n\nint a;\n\n// b\nint f() {\n}\nf();")
        self.assertEqual([item.line for item in items], [3, 6, 8])

    def test_what_is_not_closed_is_for_the_compiler_to_refuse(self):
        self.assertEqual(kinds("int f() {\n  return 1;\n"), [DECLARATION])
        self.assertEqual(kinds("}\nint a;"), [DECLARATION, VARIABLE])


class Names(unittest.TestCase):
    def names(self, text):
        return [name for item in cpp.split_items(text) for name in item.names]

    def test_names(self):
        self.assertEqual(self.names("int twice(int a) { return a; }"), ["twice"])
        self.assertEqual(self.names("void nn::Box::run() const {}"), ["run"])
        self.assertEqual(self.names("template <class T>\nclass Box { int f(); };"), ["Box"])
        self.assertEqual(self.names("enum class Colour { Red };"), ["Colour"])
        self.assertEqual(self.names("using Row = std::vector<double>;"), ["Row"])
        self.assertEqual(self.names("const std::vector<int> table = f(1);"), ["table"])
        self.assertEqual(self.names("template <class T>\n  requires requires(T t) { t.f(); }\nvoid call(T t) {}"), ["call"])
        self.assertEqual(self.names("template <class T>\n  requires(!T::is_big)\nvoid call(T t) {}"), ["call"])
        self.assertEqual(self.names("namespace nn { class A {}; int f(); }"), ["A", "f"])

    def test_overloads_differ_and_redefinitions_do_not(self):
        key = lambda text: cpp.split_items(text)[0].key
        self.assertEqual(key("int f(int a) { return 1; }"), key("int f(int a) {\n  return 2;\n}"))
        self.assertNotEqual(key("int f(int a) { return 1; }"), key("int f(double a) { return 1; }"))
        self.assertNotEqual(key("int A::f() { return 1; }"), key("int A::f() const { return 1; }"))
        self.assertEqual(key("int f(int a);"), "")
        # A template beside a function of the same name, as Tensor::data_ptr() has one.
        template = "template <class T>\nT* A::f() const { return g<T>(); }"
        self.assertNotEqual(key(template), key("void* A::f() const { return h(); }"))
        self.assertEqual(key(template), key("template <class T>\nT* A::f() const {\n  return k<T>();\n}"))

    def test_prototype(self):
        self.assertEqual(cpp.split_items("int f(int a) { return 1; }")[0].prototype, "int f(int a);")
        self.assertEqual(cpp.split_items("int f(int a = 1) { return 1; }")[0].prototype, "")


if __name__ == "__main__":
    unittest.main()
