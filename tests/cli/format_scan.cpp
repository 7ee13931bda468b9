#include "format/cpp_scan.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace tito {
namespace {

std::vector<std::string> token_texts(std::string_view text) {
  std::vector<std::string> out;
  for (const Token& token : scan_tokens(text)) out.emplace_back(token.text);
  return out;
}

using Texts = std::vector<std::string>;

Item only(std::string_view text) {
  const std::vector<Item> items = scan_items(text);
  REQUIRE_EQ(items.size(), 1);
  return items[0];
}

}  // namespace

TEST_CASE("tokens: comments vanish, literals stay whole") {
  CHECK_EQ(token_texts("a /* { */ b // }\nc"), Texts{"a", "b", "c"});
  CHECK_EQ(token_texts("f(\"} // \\\" {\", '}', '\\'')"), Texts{"f", "(", "\"} // \\\" {\"", ",", "'}'", ",", "'\\''", ")"});
  CHECK_EQ(token_texts("R\"x(} \" )\" )x\" y"), Texts{"R\"x(} \" )\" )x\"", "y"});
  CHECK_EQ(token_texts("\"a\"sv u8\"b\" L'c'"), Texts{"\"a\"sv", "u8\"b\"", "L'c'"});
  CHECK_EQ(token_texts("1'000'000 0x1p-3 1e-5f 0xEe+1 .5"), Texts{"1'000'000", "0x1p-3", "1e-5f", "0xEe", "+", "1", ".5"});
  CHECK_EQ(token_texts("a<b<c>>d"), Texts{"a", "<", "b", "<", "c", ">", ">", "d"});
}

TEST_CASE("tokens: the same code has other comments and blanks, and no other words") {
  CHECK(same_code("int f(int x) {\n  // twice\n  return x + x;\n}\n", "int f(int x) { return x\n  + x; /* done */ }"));
  CHECK_FALSE(same_code("return x + x;", "return x + y;"));
  CHECK_FALSE(same_code("return x + x;", "return x + x; return x;"));
  CHECK_FALSE(same_code("return \"a b\";", "return \"a  b\";"));
  CHECK_FALSE(same_code("return x >> 1;", "return x > > 1;"));
  CHECK_FALSE(same_code("return 1;", "return 1; /*"));
}

TEST_CASE("tokens: what does not end is refused with its line") {
  const auto line_of_error = [](std::string_view text) {
    try {
      scan_tokens(text);
    } catch (const ScanError& error) {
      return static_cast<int>(error.line);
    }
    return -1;
  };
  CHECK_EQ(line_of_error("a\n\"open\nb"), 1);
  CHECK_EQ(line_of_error("a\n\n/* open"), 2);
  CHECK_EQ(line_of_error("\nR\"(open"), 1);
  CHECK_EQ(line_of_error("a\n#if X\nb"), 1);
  CHECK_EQ(line_of_error("a\n#endif"), 1);
}

TEST_CASE("preprocessor: one branch of a condition is read") {
  CHECK_EQ(token_texts("#if 0\n{{{ it's\n#else\na\n#endif\nb"), Texts{"#if 0", "a", "#endif", "b"});
  CHECK_EQ(token_texts("#ifdef X\nint f() {\n#else\nint g() {\n#endif\n}"),
           Texts{"#ifdef X", "int", "f", "(", ")", "{", "#else", "#endif", "}"});
  CHECK_EQ(token_texts("#if 0\n#if 1\nx\n#endif\ny\n#endif\nz"), Texts{"#if 0", "#endif", "z"});
  CHECK_EQ(token_texts("#define A \\\n  { x\nb"), Texts{"#define A \\\n  { x", "b"});
}

TEST_CASE("items: brackets must match") {
  CHECK_THROWS_AS(scan_items("void f() {"), ScanError);
  CHECK_THROWS_AS(scan_items("void f() }"), ScanError);
  CHECK_THROWS_AS(scan_items("void f(] {}"), ScanError);
}

TEST_CASE("items: functions, their names and signatures") {
  CHECK_EQ(only("int f(int a, const T& b = {1}) { return 0; }").signature, " f(int, const T&)");
  CHECK_EQ(only("Tensor nn::LinearImpl::forward(const Tensor& x) { return x; }").name, "nn::LinearImpl::forward");
  CHECK_EQ(only("template <class T>\nvoid Box<T>::put(T value) {}").name, "Box<T>::put");
  CHECK_EQ(only("bool operator==(A a, A b) { return true; }").name, "operator==");
  CHECK_EQ(only("T& Box::operator()(int i) const { return x; }").signature, " Box::operator()(int)const");
  CHECK_EQ(only("Box::operator bool() const { return true; }").name, "Box::operator bool");
  CHECK_EQ(only("std::map<int, std::vector<int>> f(std::function<void(int)> g) { return {}; }").name, "f");
  CHECK_EQ(only("decltype(auto) f() { return 1; }").name, "f");
  CHECK_EQ(only("template <class T> requires (sizeof(T) > 1) void f(T x) {}").name, "f");
  CHECK_EQ(only("template <class T> requires requires(T t) { t.f(); } void g(T x) {}").name, "g");
  CHECK_EQ(only("[[nodiscard]] int f() { return 1; }").name, "f");
  CHECK_EQ(only("unsigned int f(unsigned int, const int) { return 1; }").signature, " f(unsigned int, const int)");
}

TEST_CASE("items: the parameter's name and default do not change a signature, its type does") {
  const auto signature = [](std::string_view text) { return only(text).signature; };
  CHECK_EQ(signature("int f(int a) { return 0; }"), signature("int f(int b = 3) { return 1; }"));
  CHECK_NE(signature("int f(int a) { return 0; }"), signature("int f(long a) { return 0; }"));
  CHECK_NE(signature("int f(T& a) { return 0; }"), signature("int f(const T& a) { return 0; }"));
  CHECK_NE(signature("int A::f() { return 0; }"), signature("int A::f() const { return 0; }"));
}

TEST_CASE("items: a constructor's initializers are not its body") {
  const std::string_view text = "A::A(int x) : a{x}, b(x), c<int>{x} { go(); }";
  const Item item = only(text);
  CHECK_EQ(item.name, "A::A");
  CHECK_EQ(text.substr(item.open), "{ go(); }");
  CHECK(item.returns_nothing);
}

TEST_CASE("items: properties of functions") {
  CHECK(only("void f() noexcept {}").is_noexcept);
  CHECK_FALSE(only("void f() noexcept(false) {}").is_noexcept);
  CHECK(only("A::~A() {}").is_destructor);
  CHECK(only("constexpr int f() { return 1; }").is_constexpr);
  CHECK(only("static int f() { return 1; }").internal);
  CHECK(only("void f() {}").returns_nothing);
  CHECK_FALSE(only("void* f() { return p; }").returns_nothing);
  CHECK_FALSE(only("std::function<void()> f() { return g; }").returns_nothing);
  CHECK_FALSE(only("int f();").definition);
}

TEST_CASE("items: variables, classes and namespaces") {
  CHECK_EQ(static_cast<int>(only("std::atomic<int> live{0};").kind), static_cast<int>(Item::Kind::Variable));
  CHECK_EQ(only("constinit Operator<decltype(gelu)> op::gelu(\"gelu\", {.cpu = gelu_cpu});").name, "op::gelu");
  CHECK_FALSE(only("extern Operator<Tensor(const Tensor&)> gelu;").definition);
  CHECK_EQ(only("const int table[2] = {1, 2};").name, "table");
  const Item type = only("struct A final : B<int> { int f() { return 1; } private: void g(); };");
  CHECK_EQ(type.name, "A");
  REQUIRE_EQ(type.members.size(), 2);
  CHECK_EQ(type.members[0].name, "A::f");
  CHECK(type.members[0].is_public);
  CHECK_FALSE(type.members[1].is_public);
  const Item space = only("namespace a::b { namespace { int f() { return 1; } } }");
  CHECK_EQ(space.name, "a::b");
  CHECK_EQ(space.members[0].members[0].name, "a::b::f");
  CHECK(space.members[0].members[0].internal);
  CHECK_EQ(static_cast<int>(only("enum class E : int { A, B };").kind), static_cast<int>(Item::Kind::Enum));
  CHECK_FALSE(only("class Tensor;").definition);
}

TEST_CASE("items: tests are known by their macros") {
  const Item test = only("TEST_CASE(\"a, \"\n  \"b\") { CHECK(true); }");
  CHECK_EQ(static_cast<int>(test.kind), static_cast<int>(Item::Kind::Test));
  CHECK_EQ(test.name, "a, b");
  CHECK_EQ(only("DEMO(\"x\") {}").keyword, "DEMO");
  CHECK_EQ(only("TEST_CASE_TEMPLATE(\"t\", T, float, double) {}").name, "t");
}

}  // namespace tito
