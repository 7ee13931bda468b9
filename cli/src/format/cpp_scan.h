// A small scanner for C++: tokens, and the declarations at namespace and class scope with their bodies.
//
// It knows comments, every kind of literal, preprocessor lines and brackets; it expands no macros. Of `#if ... #else`
// it reads the first branch, of `#if 0 ... #else` the second.
#pragma once

#include <cstddef>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace tito {

// `line` counts from 0 within the scanned text.
struct ScanError : std::runtime_error {
  ScanError(std::size_t line_index, const std::string& text) : std::runtime_error(text), line(line_index) {}
  std::size_t line;
};

struct Token {
  enum class Kind { Word, Number, Literal, Punctuator, Directive };

  Kind kind = Kind::Punctuator;
  std::string_view text;  // of a directive: the whole logical line
  std::size_t begin = 0;  // offset in the scanned text
  std::size_t line = 0;   // of its first character, from 0
  bool conditional = false;

  bool is(std::string_view other) const { return text == other && kind != Kind::Literal; }
  std::size_t end() const { return begin + text.size(); }
};

// The tokens view `text`, which must outlive them.
std::vector<Token> scan_tokens(std::string_view text);

// Whether two texts differ in comments and blanks alone; false where one cannot be scanned.
bool same_code(std::string_view left, std::string_view right);

// Lines (from 0) that lie inside a literal that spans several, so that their blanks matter.
std::vector<bool> lines_inside_literals(std::string_view text);

struct Item {
  enum class Kind { Namespace, Class, Enum, Function, Variable, Using, Test, Directive, Other };

  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  Kind kind = Kind::Other;
  std::string name;         // qualified by the namespaces and classes around it: "nn::LinearImpl::forward"
  std::string signature;    // functions: template head, name, parameter types and qualifiers
  std::string head;         // the tokens before the body, each separated by one space
  std::string keyword;      // Test: TEST_CASE, DEMO; Directive: include, define, ...
  bool definition = false;  // it has a body or, for a variable, storage
  bool internal = false;    // static, const at namespace scope, or in an unnamed namespace
  bool conditional = false;  // between #if and #endif
  bool returns_nothing = false;  // functions: void or a constructor
  bool is_noexcept = false, is_constexpr = false, is_destructor = false, is_public = true;
  std::size_t begin = 0, end = 0;  // offsets of its first character and after its last
  std::size_t line = 0, last_line = 0, name_line = 0;
  std::size_t open = kNone, close = kNone;  // offsets of the braces of its body
  std::vector<Item> members;                // of a namespace or a class
};

std::vector<Item> scan_items(std::string_view text);

}  // namespace tito
