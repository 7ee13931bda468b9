#include "format/cpp_scan.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>

namespace tito {
namespace {

bool is_word_start(char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool is_word_part(char c) { return is_word_start(c) || is_digit(c); }
bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

// ---- tokens --------------------------------------------------------------------------------------------------------

class Tokenizer {
 public:
  explicit Tokenizer(std::string_view text) : text_(text) {}

  std::vector<Token> run() {
    while (true) {
      skip_space_and_comments();
      if (at_end()) break;
      const char c = text_[at_];
      if (c == '#' && first_on_line_) {
        directive();
      } else if (is_word_start(c)) {
        word_or_prefixed_literal();
      } else if (is_digit(c) || (c == '.' && is_digit(peek(1)))) {
        number();
      } else if (c == '"' || c == '\'') {
        quoted(at_, c);
      } else {
        punctuator();
      }
    }
    if (!branches_.empty()) throw ScanError(branches_.back().line, "#if without #endif");
    return std::move(tokens_);
  }

 private:
  struct Branch {
    std::size_t line;
  };

  bool at_end() const { return at_ >= text_.size(); }
  char peek(std::size_t ahead) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  void advance(std::size_t count) {
    for (std::size_t i = 0; i < count && !at_end(); ++i) {
      if (text_[at_] == '\n') {
        ++line_;
        first_on_line_ = true;
      }
      ++at_;
    }
  }

  void skip_space_and_comments() {
    while (!at_end()) {
      if (is_space(text_[at_])) {
        advance(1);
      } else if (text_.substr(at_, 2) == "\\\n") {
        advance(2);
      } else if (text_.substr(at_, 2) == "//") {
        while (!at_end() && text_[at_] != '\n') advance(1);
      } else if (text_.substr(at_, 2) == "/*") {
        const std::size_t line = line_;
        const std::size_t stop = text_.find("*/", at_ + 2);
        if (stop == std::string_view::npos) throw ScanError(line, "comment without */");
        const bool first = first_on_line_;
        advance(stop + 2 - at_);
        first_on_line_ = first;
      } else {
        return;
      }
    }
  }

  void add(Token::Kind kind, std::size_t begin, std::size_t line) {
    tokens_.push_back({kind, text_.substr(begin, at_ - begin), begin, line, !branches_.empty()});
    first_on_line_ = false;
  }

  // From '#' to the end of the line and of the lines that a backslash joins to it.
  void directive() {
    const std::size_t begin = at_;
    const std::size_t line = line_;
    while (!at_end() && text_[at_] != '\n') advance(text_.substr(at_, 2) == "\\\n" ? 2 : 1);
    const std::string_view whole = text_.substr(begin, at_ - begin);
    std::size_t i = 1;
    while (i < whole.size() && (whole[i] == ' ' || whole[i] == '\t')) ++i;
    std::size_t stop = i;
    while (stop < whole.size() && is_word_part(whole[stop])) ++stop;
    const std::string_view name = whole.substr(i, stop - i);
    if (name == "endif") {
      if (branches_.empty()) throw ScanError(line, "#endif without #if");
      branches_.pop_back();
    }
    if (name.starts_with("if")) branches_.push_back({line});
    add(Token::Kind::Directive, begin, line);
    if (name == "if") {
      std::string_view condition = whole.substr(stop);
      while (!condition.empty() && is_space(condition.front())) condition.remove_prefix(1);
      if (condition.starts_with("0") && (condition.size() == 1 || !is_word_part(condition[1]))) skip_branch(true);
    }
    if (name.starts_with("el")) {
      if (branches_.empty()) throw ScanError(line, "#" + std::string(name) + " without #if");
      skip_branch(false);
    }
  }

  // Skips lines up to the #endif of the branch, or to its #else if `stop_at_else`.
  void skip_branch(bool stop_at_else) {
    std::size_t depth = 0;
    while (!at_end()) {
      advance(1);  // the line break
      std::size_t i = at_;
      while (i < text_.size() && (text_[i] == ' ' || text_[i] == '\t')) ++i;
      if (i < text_.size() && text_[i] == '#') {
        ++i;
        while (i < text_.size() && (text_[i] == ' ' || text_[i] == '\t')) ++i;
        const std::string_view rest = text_.substr(i);
        if (rest.starts_with("if")) ++depth;
        if (rest.starts_with("endif")) {
          if (depth == 0) return;  // read by the main loop
          --depth;
        }
        if (depth == 0 && stop_at_else && rest.starts_with("el")) {
          while (!at_end() && text_[at_] != '\n') advance(1);
          return;
        }
      }
      while (!at_end() && text_[at_] != '\n') advance(1);
    }
  }

  void word_or_prefixed_literal() {
    const std::size_t begin = at_;
    std::size_t stop = at_;
    while (stop < text_.size() && is_word_part(text_[stop])) ++stop;
    const std::string_view word = text_.substr(begin, stop - begin);
    const char next = stop < text_.size() ? text_[stop] : '\0';
    if (next == '"' && (word == "R" || word == "LR" || word == "uR" || word == "UR" || word == "u8R")) {
      raw_string(begin, stop);
    } else if ((next == '"' || next == '\'') && (word == "L" || word == "u" || word == "U" || word == "u8")) {
      quoted(stop, next);
    } else {
      const std::size_t line = line_;
      advance(stop - begin);
      add(Token::Kind::Word, begin, line);
    }
  }

  void raw_string(std::size_t begin, std::size_t quote) {
    const std::size_t line = line_;
    const std::size_t paren = text_.find('(', quote);
    if (paren == std::string_view::npos) throw ScanError(line, "raw string without (");
    std::string ending = ")";
    ending += text_.substr(quote + 1, paren - quote - 1);
    ending += '"';
    const std::size_t stop = text_.find(ending, paren);
    if (stop == std::string_view::npos) throw ScanError(line, "raw string without " + ending);
    advance(stop + ending.size() - begin);
    add(Token::Kind::Literal, begin, line);
  }

  void quoted(std::size_t quote_at, char quote) {
    const std::size_t begin = at_;
    const std::size_t line = line_;
    advance(quote_at + 1 - at_);
    while (!at_end() && text_[at_] != quote && text_[at_] != '\n') advance(text_[at_] == '\\' ? 2 : 1);
    if (at_end() || text_[at_] != quote) {
      throw ScanError(line, quote == '"' ? "string without its closing \"" : "character without its closing '");
    }
    advance(1);
    while (!at_end() && is_word_part(text_[at_])) advance(1);  // a literal's suffix: "..."sv
    add(Token::Kind::Literal, begin, line);
  }

  void number() {
    const std::size_t begin = at_;
    const std::size_t line = line_;
    while (!at_end()) {
      const char c = text_[at_];
      const char before = at_ > begin ? text_[at_ - 1] : '\0';
      const bool exponent_sign = (c == '+' || c == '-') && std::string_view("eEpP").find(before) != std::string_view::npos &&
                                 !(text_.substr(begin, 2) == "0x" && (before == 'e' || before == 'E'));
      if (!is_word_part(c) && c != '.' && !(c == '\'' && is_word_part(peek(1))) && !(at_ > begin && exponent_sign)) break;
      advance(1);
    }
    add(Token::Kind::Number, begin, line);
  }

  // The longest punctuator here. `>>` stays two tokens, so that template arguments close.
  void punctuator() {
    static constexpr std::array<std::string_view, 22> kLong = {"<=>", "...", "->*", "<<=", "::", "->", "<<", "<=",
                                                               ">=",  "==",  "!=",  "&&",  "||", "++", "--", "+=",
                                                               "-=",  "*=",  "/=",  "%=",  "&=", "|="};
    const std::size_t begin = at_;
    const std::size_t line = line_;
    std::size_t length = 1;
    for (const std::string_view candidate : kLong) {
      if (text_.substr(at_, candidate.size()) == candidate) {
        length = candidate.size();
        break;
      }
    }
    advance(length);
    add(Token::Kind::Punctuator, begin, line);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t line_ = 0;
  bool first_on_line_ = true;
  std::vector<Token> tokens_;
  std::vector<Branch> branches_;
};

// ---- declarations --------------------------------------------------------------------------------------------------

bool is_one_of(std::string_view word, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool is_builtin_type(std::string_view word) {
  return is_one_of(word, {"void", "bool", "char", "short", "int", "long", "float", "double", "signed", "unsigned",
                          "auto", "const", "volatile"});
}

// Words before "(" that do not name a function.
bool is_no_function_name(std::string_view word) {
  return is_one_of(word, {"requires", "decltype", "alignas", "noexcept", "explicit", "__attribute__", "static_assert",
                          "sizeof", "return", "if", "while", "for", "switch"});
}

bool is_test_macro(std::string_view word) { return is_one_of(word, {"TEST_CASE", "TEST_CASE_TEMPLATE", "DEMO"}); }

class DeclarationParser {
 public:
  explicit DeclarationParser(std::string_view text) : text_(text), tokens_(scan_tokens(text)) { match_brackets(); }

  std::vector<Item> run() { return declarations(0, tokens_.size(), "", "", false); }

 private:
  // For each opening bracket the index of the closing one.
  void match_brackets() {
    match_.assign(tokens_.size(), 0);
    std::vector<std::size_t> stack;
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const Token& token = tokens_[i];
      if (token.kind != Token::Kind::Punctuator) continue;
      if (token.is("(") || token.is("[") || token.is("{")) stack.push_back(i);
      if (token.is(")") || token.is("]") || token.is("}")) {
        const char wanted = token.is(")") ? '(' : token.is("]") ? '[' : '{';
        if (stack.empty() || tokens_[stack.back()].text[0] != wanted) {
          throw ScanError(token.line, "'" + std::string(token.text) + "' closes nothing");
        }
        match_[stack.back()] = i;
        stack.pop_back();
      }
    }
    if (!stack.empty()) {
      const Token& token = tokens_[stack.back()];
      throw ScanError(token.line, "'" + std::string(token.text) + "' is not closed");
    }
  }

  const Token& at(std::size_t i) const { return tokens_[i]; }
  bool is(std::size_t i, std::string_view text) const { return i < tokens_.size() && tokens_[i].is(text); }
  bool is_word(std::size_t i) const { return i < tokens_.size() && tokens_[i].kind == Token::Kind::Word; }

  std::string join(std::size_t first, std::size_t stop) const {
    std::string out;
    for (std::size_t i = first; i < stop; ++i) {
      if (tokens_[i].kind == Token::Kind::Directive) continue;
      if (!out.empty()) out += ' ';
      out += tokens_[i].text;
    }
    return out;
  }

  std::string join_tight(std::size_t first, std::size_t stop) const {
    std::string out;
    for (std::size_t i = first; i < stop; ++i) {
      const bool two_words = i > first && tokens_[i].kind == Token::Kind::Word &&
                             tokens_[i - 1].kind == Token::Kind::Word;
      if (two_words) out += ' ';
      out += tokens_[i].text;
    }
    return out;
  }

  // The index after the ">" that closes the "<" at `i`.
  std::size_t after_angle(std::size_t i, std::size_t stop) const {
    int depth = 0;
    while (i < stop) {
      if (is(i, "(") || is(i, "[") || is(i, "{")) {
        i = match_[i] + 1;
        continue;
      }
      if (is(i, "<")) ++depth;
      if (is(i, ">") && --depth == 0) return i + 1;
      ++i;
    }
    return stop;
  }

  std::size_t find_semicolon(std::size_t i, std::size_t stop) const {
    while (i < stop && !is(i, ";")) i = is(i, "(") || is(i, "[") || is(i, "{") ? match_[i] + 1 : i + 1;
    return i;
  }

  static std::string qualify(const std::string& scope, const std::string& name) {
    return scope.empty() ? name : name.empty() ? scope : scope + "::" + name;
  }

  void place(Item& item, std::size_t first, std::size_t stop) const {
    item.begin = at(first).begin;
    item.line = at(first).line;
    item.end = at(stop - 1).end();
    item.last_line = at(stop - 1).line;
    item.conditional = at(first).conditional;
    if (item.name_line == 0) item.name_line = item.line;
  }

  std::vector<Item> declarations(std::size_t i, std::size_t stop, const std::string& scope,
                                 std::string_view class_name, bool internal) {
    std::vector<Item> items;
    bool is_public = class_name.empty() || class_is_struct_;
    while (i < stop) {
      if (is(i, ";")) {
        ++i;
        continue;
      }
      if (!class_name.empty() && is_one_of(at(i).text, {"public", "private", "protected"}) && is(i + 1, ":")) {
        is_public = is(i, "public");
        i += 2;
        continue;
      }
      Item item;
      item.internal = internal;
      item.is_public = is_public;
      i = one_declaration(i, stop, scope, class_name, item);
      items.push_back(std::move(item));
    }
    return items;
  }

  // Fills `item` from the declaration that starts at `first`; returns the index after it.
  std::size_t one_declaration(std::size_t first, std::size_t stop, const std::string& scope, std::string_view class_name,
                              Item& item) {
    if (at(first).kind == Token::Kind::Directive) return directive(first, item);
    if (is(first, "namespace") || (is(first, "inline") && is(first + 1, "namespace"))) {
      return namespace_block(first, stop, scope, item);
    }
    if (is_one_of(at(first).text, {"using", "typedef", "static_assert"})) {
      const std::size_t end = std::min(find_semicolon(first, stop) + 1, stop);
      item.kind = at(first).is("static_assert") ? Item::Kind::Other : Item::Kind::Using;
      item.head = join(first, end);
      place(item, first, end);
      return end;
    }
    return statement(first, stop, scope, class_name, item);
  }

  std::size_t directive(std::size_t i, Item& item) const {
    item.kind = Item::Kind::Directive;
    const std::string_view whole = at(i).text;
    std::size_t begin = 1;
    while (begin < whole.size() && is_space(whole[begin])) ++begin;
    std::size_t end = begin;
    while (end < whole.size() && is_word_part(whole[end])) ++end;
    item.keyword = whole.substr(begin, end - begin);
    item.head = whole;
    place(item, i, i + 1);
    item.last_line = item.line + static_cast<std::size_t>(std::count(whole.begin(), whole.end(), '\n'));
    return i + 1;
  }

  std::size_t namespace_block(std::size_t first, std::size_t stop, const std::string& scope, Item& item) {
    std::size_t i = is(first, "inline") ? first + 2 : first + 1;
    std::string name;
    while (i < stop && !is(i, "{") && !is(i, ";") && !is(i, "=")) {
      if (is(i, "[")) {
        i = match_[i] + 1;
        continue;
      }
      name += at(i).text;
      ++i;
    }
    if (!is(i, "{")) {  // an alias
      const std::size_t end = std::min(find_semicolon(i, stop) + 1, stop);
      item.kind = Item::Kind::Using;
      item.head = join(first, end);
      place(item, first, end);
      return end;
    }
    item.kind = Item::Kind::Namespace;
    item.name = qualify(scope, name);
    item.head = join(first, i);
    item.definition = true;
    item.open = at(i).begin;
    item.close = at(match_[i]).begin;
    item.members = declarations(i + 1, match_[i], item.name, "", item.internal || name.empty());
    place(item, first, match_[i] + 1);
    return match_[i] + 1;
  }

  // What is known about a statement while its tokens are read.
  struct Reading {
    std::size_t head_begin = 0;             // after the template heads
    std::optional<std::size_t> class_key;   // class, struct, union, enum
    std::optional<std::size_t> op;          // the word `operator`
    std::optional<std::size_t> params;      // the "(" of the parameters
    bool equals = false;
    bool initializers = false;              // after the ":" of a constructor
    bool has_initial_braces = false;
    std::size_t declarator_end = 0;         // where "=" or braces or ";" end a variable's name
  };

  std::size_t statement(std::size_t first, std::size_t stop, const std::string& scope, std::string_view class_name,
                        Item& item) {
    Reading reading;
    std::size_t i = first;
    while (is(i, "template")) {
      i = is(i + 1, "<") ? after_angle(i + 1, stop) : i + 1;
      if (is(i, "requires")) i = after_requires(i, stop);
    }
    reading.head_begin = i;
    while (i < stop) {
      const Token& token = at(i);
      if (token.kind == Token::Kind::Directive) {
        ++i;
      } else if (token.is(";")) {
        return finish_declaration(first, i, reading, scope, class_name, item);
      } else if (token.is("operator") && !reading.params && !reading.equals) {
        reading.op = i;
        i += is(i + 1, "(") ? 3 : is(i + 1, "[") ? 3 : 2;
        while (i < stop && !is(i, "(") && !is(i, ";")) ++i;  // operator bool, operator>>, operator""_x
      } else if (token.is("(")) {
        if (!reading.params && !reading.equals && names_a_function(i, reading)) reading.params = i;
        i = match_[i] + 1;
      } else if (token.is("[")) {
        i = match_[i] + 1;
      } else if (token.is("<") && !reading.equals && i > first && is_word(i - 1)) {
        i = after_angle(i, stop);
      } else if (token.is("=")) {
        if (!reading.equals && !reading.has_initial_braces) reading.declarator_end = i;
        reading.equals = true;
        ++i;
      } else if (token.is(":") && reading.params && !reading.equals) {
        reading.initializers = true;
        ++i;
      } else if (is_one_of(token.text, {"class", "struct", "union", "enum"}) && !reading.params && !reading.equals &&
                 !reading.class_key) {
        reading.class_key = i;
        ++i;
      } else if (token.is("{")) {
        if (reading.class_key && !reading.params && !reading.equals && item.open == Item::kNone) {
          class_body(first, i, reading, scope, item);
          i = match_[i] + 1;
        } else if (is_function_body(i, reading)) {
          return function_body(first, i, reading, scope, class_name, item);
        } else {
          if (!reading.equals && !reading.has_initial_braces) reading.declarator_end = i;
          reading.has_initial_braces = true;
          i = match_[i] + 1;
        }
      } else {
        ++i;
      }
    }
    item.kind = Item::Kind::Other;  // no semicolon: a macro's use, or the end of the text
    item.head = join(first, stop);
    place(item, first, stop);
    return stop;
  }

  // After the constraint of `requires` at `i`: a parenthesis, a requires-expression, or names joined by && and ||.
  std::size_t after_requires(std::size_t i, std::size_t stop) const {
    ++i;
    while (i < stop) {
      if (is(i, "requires")) {
        ++i;
        if (is(i, "(")) i = match_[i] + 1;
        if (is(i, "{")) i = match_[i] + 1;
      } else if (is(i, "(")) {
        i = match_[i] + 1;
      } else {
        while (is_word(i) || is(i, "::")) {
          const bool ends = is_word(i) && !is(i + 1, "::");
          ++i;
          if (ends) break;
        }
        if (is(i, "<")) i = after_angle(i, stop);
        while (is(i, "::")) i += 2;
      }
      if (!is(i, "&&") && !is(i, "||")) return i;
      ++i;
    }
    return i;
  }

  bool names_a_function(std::size_t paren, const Reading& reading) const {
    if (reading.op) return true;
    if (paren == 0) return false;
    const std::size_t before = paren - 1;
    if (is(before, ">")) return true;  // f<int>(...)
    if (!is_word(before) || is_no_function_name(at(before).text)) return false;
    return !(is(paren + 1, "*") && match_[paren] + 1 < tokens_.size() && is(match_[paren] + 1, "("));
  }

  bool is_function_body(std::size_t brace, const Reading& reading) const {
    if (!reading.params || reading.equals) return false;
    if (is(brace - 1, "requires")) return false;
    if (is(brace - 1, ")") && is_requires_parameters(brace - 1)) return false;
    return !(reading.initializers && (is_word(brace - 1) || is(brace - 1, ">")));
  }

  bool is_requires_parameters(std::size_t close) const {
    for (std::size_t i = close; i-- > 0;) {
      if (match_[i] == close) return i > 0 && is(i - 1, "requires");
    }
    return false;
  }

  // The first token of the name that ends before `end`: A::B<T>::name, ~A, A::operator().
  std::size_t name_begin(std::size_t end, const Reading& reading) const {
    std::size_t i = reading.op ? *reading.op : end - 1;
    if (!reading.op) {
      i = skip_back_angle(i);
      if (i > 0 && is(i - 1, "~")) --i;
    }
    while (i >= 2 && is(i - 1, "::") && i > reading.head_begin) {
      if (!is_word(i - 2) && !is(i - 2, ">")) {
        --i;  // ::name
        break;
      }
      if (i - 2 < reading.head_begin) break;
      i = skip_back_angle(i - 2);
    }
    return i;
  }

  // From a word, or the ">" that ends one's template arguments, to the word.
  std::size_t skip_back_angle(std::size_t i) const {
    if (!is(i, ">")) return i;
    int depth = 0;
    while (i > 0) {
      if (is(i, ">")) ++depth;
      if (is(i, "<") && --depth == 0) return i - 1;
      --i;
    }
    return i;
  }

  // The types of the parameters between `open` and its match, without names and default arguments.
  std::string parameter_types(std::size_t open) const {
    std::string out;
    std::size_t i = open + 1;
    const std::size_t stop = match_[open];
    while (i < stop) {
      const std::size_t begin = i;
      std::size_t type_end = stop;
      bool in_default = false;
      while (i < stop && !is(i, ",")) {
        if (is(i, "=") && !in_default) {
          in_default = true;
          type_end = i;
        }
        if (is(i, "(") || is(i, "[") || is(i, "{")) {
          i = match_[i] + 1;
        } else if (is(i, "<") && i > begin && is_word(i - 1)) {
          i = after_angle(i, stop);
        } else {
          ++i;
        }
      }
      if (!in_default) type_end = i;
      const std::size_t last = type_end - 1;
      const bool named = type_end >= begin + 2 && is_word(last) && !is_builtin_type(at(last).text) &&
                         !is(last - 1, "::") &&
                         !is_one_of(at(last - 1).text, {"const", "volatile", "typename", "struct", "class"});
      out += join_tight(begin, named ? last : type_end);
      if (i < stop) out += ", ";
      ++i;
    }
    return out;
  }

  void name_function(std::size_t first, std::size_t end, const Reading& reading, const std::string& scope,
                     std::string_view class_name, Item& item) const {
    const std::size_t open = *reading.params;
    const std::size_t begin = name_begin(open, reading);
    const std::string name = join_tight(begin, open);
    item.name = qualify(scope, name);
    item.name_line = at(begin).line;
    item.head = join(first, end);
    item.is_destructor = name.find('~') != std::string::npos;
    std::string qualifiers;
    std::size_t i = match_[open] + 1;
    for (; i < end && !is(i, ":") && !is(i, "="); ++i) {
      if (is(i, "noexcept")) item.is_noexcept = !is(i + 1, "(") || !is(i + 2, "false");
      if (is_one_of(at(i).text, {"const", "&", "&&"})) qualifiers += at(i).text;
      if (is(i, "requires")) qualifiers += " " + join(i, end);
      if (is(i, "->")) break;
    }
    bool has_type = false;
    int template_depth = 0;  // std::function<void()> returns something
    for (std::size_t j = reading.head_begin; j < begin; ++j) {
      if (is(j, "<")) ++template_depth;
      if (is(j, ">")) --template_depth;
      if (is(j, ">>")) template_depth -= 2;
      if (is(j, "constexpr") || is(j, "consteval")) item.is_constexpr = true;
      if (is(j, "static") && class_name.empty()) item.internal = true;
      if (!is_one_of(at(j).text, {"constexpr", "consteval", "static", "inline", "explicit", "virtual", "friend"})) {
        has_type = true;
      }
      if (is(j, "void") && template_depth == 0 && !is(j + 1, "*")) item.returns_nothing = true;
    }
    if (!has_type && !reading.op) item.returns_nothing = true;  // a constructor
    item.signature = join_tight(first, reading.head_begin) + " " + item.name + "(" + parameter_types(open) + ")" + qualifiers;
  }

  std::size_t function_body(std::size_t first, std::size_t brace, const Reading& reading, const std::string& scope,
                            std::string_view class_name, Item& item) const {
    const std::size_t before = *reading.params - 1;
    name_function(first, brace, reading, scope, class_name, item);
    item.kind = Item::Kind::Function;
    if (is_word(before) && is_test_macro(at(before).text)) {
      item.kind = Item::Kind::Test;
      item.keyword = at(before).text;
      item.name = literal_text(*reading.params + 1);
    }
    item.definition = true;
    item.open = at(brace).begin;
    item.close = at(match_[brace]).begin;
    place(item, first, match_[brace] + 1);
    return match_[brace] + 1;
  }

  // The value of the adjacent string literals from `i` on, escapes as written.
  std::string literal_text(std::size_t i) const {
    std::string out;
    for (; i < tokens_.size() && at(i).kind == Token::Kind::Literal; ++i) {
      const std::string_view text = at(i).text;
      if (text.size() >= 2 && text.front() == '"') out += text.substr(1, text.size() - 2);
    }
    return out;
  }

  void class_body(std::size_t first, std::size_t brace, const Reading& reading, const std::string& scope, Item& item) {
    const std::size_t key = *reading.class_key;
    item.kind = is(key, "enum") ? Item::Kind::Enum : Item::Kind::Class;
    std::size_t i = key + 1;
    if (is(i, "class") || is(i, "struct")) ++i;  // enum class
    while (is(i, "[") || is(i, "alignas")) i = is(i, "[") ? match_[i] + 1 : match_[i + 1] + 1;
    const std::size_t begin = i;
    while (i < brace && !is(i, ":") && !is(i, "final")) i = is(i, "<") ? after_angle(i, brace) : i + 1;
    const std::string name = join_tight(begin, i);
    item.name = qualify(scope, name);
    item.head = join(first, brace);
    item.definition = true;
    item.open = at(brace).begin;
    item.close = at(match_[brace]).begin;
    if (begin < brace) item.name_line = at(begin).line;
    if (item.kind == Item::Kind::Class) {
      const bool was_struct = class_is_struct_;
      class_is_struct_ = !is(key, "class");
      item.members = declarations(brace + 1, match_[brace], item.name, name.empty() ? "(unnamed)" : name, item.internal);
      class_is_struct_ = was_struct;
    }
  }

  // A statement that ends with the semicolon at `semicolon`.
  std::size_t finish_declaration(std::size_t first, std::size_t semicolon, const Reading& reading,
                                 const std::string& scope, std::string_view class_name, Item& item) const {
    const std::size_t end = semicolon + 1;
    if (item.kind == Item::Kind::Class || item.kind == Item::Kind::Enum) {
      place(item, first, end);
      return end;
    }
    bool external = false, constant = false, is_static = false, is_inline = false, constinit_word = false;
    for (std::size_t i = first; i < semicolon && !is(i, "="); ++i) {
      if (is(i, "extern")) external = true;
      if (is_one_of(at(i).text, {"const", "constexpr"})) constant = true;
      if (is(i, "static")) is_static = true;
      if (is(i, "inline")) is_inline = true;
      if (is(i, "constinit")) constinit_word = true;
      if (is(i, "(") || is(i, "{")) i = match_[i];
    }
    const bool function = reading.params && !constinit_word && !reading.has_initial_braces;
    if (function) {
      name_function(first, semicolon, reading, scope, class_name, item);
      item.kind = Item::Kind::Function;
    } else if (reading.class_key && !reading.equals && !reading.has_initial_braces) {
      item.kind = Item::Kind::Other;  // class Name;
      item.head = join(first, semicolon);
    } else {
      variable(first, semicolon, reading, scope, item);
      item.definition = !(external && !reading.equals && !reading.has_initial_braces) && class_name.empty();
      if (class_name.empty() && !is_inline && !external && (is_static || constant) && scope_is_free(item.name, scope)) {
        item.internal = true;
      }
    }
    place(item, first, end);
    return end;
  }

  static bool scope_is_free(const std::string& name, const std::string& scope) {
    const std::string own = scope.empty() ? name : name.substr(std::min(name.size(), scope.size() + 2));
    return own.find("::") == std::string::npos;
  }

  void variable(std::size_t first, std::size_t semicolon, const Reading& reading, const std::string& scope,
                Item& item) const {
    item.kind = Item::Kind::Variable;
    std::size_t end = reading.declarator_end != 0 ? reading.declarator_end : reading.params.value_or(semicolon);
    while (end > reading.head_begin + 1 && is(end - 1, "]")) {
      std::size_t open = end - 1;
      while (open > first && match_[open] != end - 1) --open;
      end = open;
    }
    item.head = join(first, end);
    if (end <= reading.head_begin || !(is_word(end - 1) || is(end - 1, ">"))) {
      item.kind = Item::Kind::Other;
      return;
    }
    Reading plain = reading;
    plain.op.reset();
    const std::size_t begin = name_begin(end, plain);
    item.name = qualify(scope, join_tight(begin, end));
    item.name_line = at(begin).line;
  }

  std::string_view text_;
  std::vector<Token> tokens_;
  std::vector<std::size_t> match_;
  bool class_is_struct_ = false;
};

}  // namespace

std::vector<Token> scan_tokens(std::string_view text) { return Tokenizer(text).run(); }

bool same_code(std::string_view left, std::string_view right) try {
  const std::vector<Token> one = scan_tokens(left), other = scan_tokens(right);
  if (one.size() != other.size()) return false;
  // "> >" is not ">>", though either is two tokens here.
  const auto joins = [](const std::vector<Token>& tokens, std::size_t i) {
    return i > 0 && tokens[i].kind == Token::Kind::Punctuator && tokens[i - 1].kind == Token::Kind::Punctuator && tokens[i - 1].end() == tokens[i].begin;
  };
  for (std::size_t i = 0; i < one.size(); ++i) {
    if (one[i].text != other[i].text || joins(one, i) != joins(other, i)) return false;
  }
  return true;
} catch (const ScanError&) {
  return false;
}

std::vector<bool> lines_inside_literals(std::string_view text) {
  std::vector<bool> inside(static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n')) + 1);
  for (const Token& token : scan_tokens(text)) {
    if (token.kind != Token::Kind::Literal) continue;
    const auto breaks = static_cast<std::size_t>(std::count(token.text.begin(), token.text.end(), '\n'));
    for (std::size_t i = 1; i <= breaks; ++i) inside[token.line + i] = true;
  }
  return inside;
}

std::vector<Item> scan_items(std::string_view text) { return DeclarationParser(text).run(); }

}  // namespace tito
