"""What stands in a cell: C++ taken apart into its outermost items, without understanding more of it than that."""

import re
from dataclasses import dataclass, field

DECLARATION, TEST, VARIABLE, STATEMENT, EXPRESSION, DIRECTIVE = (
    "declaration", "test", "variable", "statement", "expression", "directive")

TEST_MACROS = ("TEST_CASE", "DEMO", "TEST_SUITE", "SCENARIO", "TEST_CASE_TEMPLATE")
CHECK_MACROS = re.compile(r"(CHECK|REQUIRE|WARN|INFO|CAPTURE|MESSAGE|FAIL|SUBCASE)")
DECLARING = re.compile(
    r"(template|class|struct|enum|union|namespace|using|typedef|static|inline|constexpr|consteval|constinit|extern|"
    r"concept|static_assert|explicit|virtual)\b|\[\[")
DOING = re.compile(r"(if|for|while|do|switch|return|try|throw|delete|goto|break|continue|new|this)\b|[{+\-*(!~\d\"']")


@dataclass
class Item:
    kind: str
    text: str
    line: int  # of its first line in the cell, from 1
    names: list = field(default_factory=list)  # what it declares: "function", "Class"
    key: str = ""  # what a second definition of the same thing has as well
    prototype: str = ""  # of a function: its declaration
    inside: set = field(default_factory=set)  # of a namespace: the keys of what it defines

    @property
    def declaration(self):
        """What those need who only call it: of a function with a body its prototype, of a member (its class declares it) nothing; all of
        what must be seen to be used."""
        head = bare(self.text).split("{")[0]
        if not self.key.startswith("function ") or re.search(r"\b(template|constexpr|consteval|auto)\b", head):
            return self.text
        if self.prototype:
            return self.prototype
        member = re.search(r"\w::[\w~]+\s*\(", head)  # and no operator: of what that takes, classes may not say enough
        return "" if member and re.match(r"function [\w~]+(::[\w~]+)+\(", self.key) else self.text


def blank(match):
    return re.sub(r"[^\n]", " ", match.group())


TOKENS = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<raw>[^()\\\s]{0,16})\(.*?\)(?P=raw)"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'',
    re.DOTALL)


def without_comments(text):
    """The same text, as long as it was, with blanks for comments."""
    return TOKENS.sub(lambda match: blank(match) if match.group().startswith(("//", "/*")) else match.group(), text)


def bare(text):
    """The same, with blanks also for what stands in literals: what is left has the braces and semicolons that count."""

    def replace(match):
        token = match.group()
        if token.startswith(("//", "/*")):
            return blank(match)
        return token[0] + re.sub(r"[^\n]", "_", token[1:-1]) + token[-1]

    return TOKENS.sub(replace, text)


REQUIRES = re.compile(r"(?:(?P<before>\brequires|&&|\|\||!)\s*)?\brequires\b\s*")


def end_of_bracket(plain, start):
    """Behind the bracket that opens at `start`, or the end of the text."""
    depth = 0
    for at in range(start, len(plain)):
        depth += (plain[at] in "({[") - (plain[at] in ")}]")
        if depth == 0:
            return at + 1
    return len(plain)


def without_requirements(plain):
    """The same text with blanks for what a requires clause has in brackets: it names nothing, and what follows belongs to the same item."""
    at = 0
    while match := REQUIRES.search(plain, at):
        at = match.end()
        expression = match.group("before")  # else a clause, behind which the function's body may stand
        for opening in "({" if expression else "(":
            if plain[at:at + 1] == opening:
                end = end_of_bracket(plain, at)
                plain = plain[:at] + re.sub(r"[^\n]", " ", plain[at:end]) + plain[end:]
                at = end + len(plain[end:]) - len(plain[end:].lstrip())
    return plain


def end_of_directive(text, start):
    end = start
    while True:
        stop = text.find("\n", end)
        if stop < 0:
            return len(text)
        if not text[:stop].rstrip(" \t").endswith("\\"):
            return stop
        end = stop + 1


def end_of_item(text, start):
    """Where the item that begins at `start` ends; `text` is bare."""
    depth = 0
    waits = re.match(r"(template\s*<.*?>\s*)?(\w+\s+)*?(class|struct|enum|union)\b", text[start:], re.DOTALL)
    at = start
    while at < len(text):
        c = text[at]
        if c in "({[":
            depth += 1
        elif c in ")}]":
            depth -= 1
            if c == "}" and depth <= 0:
                rest = text[at + 1:].lstrip()
                head = text[start:at]
                if rest.startswith(";"):
                    return text.index(";", at) + 1
                waiting = waits and is_class(text[start:at])
                assigned = "=" in outside_brackets(head) and not re.search(r"operator\s*\S*=", head)
                initializing = re.search(r"\)\s*(noexcept\s*)?:[^:]", head) and rest[:1] in ("{", ",")
                continued = re.match(r"(else|catch)\b", rest) or (head.lstrip().startswith("do") and rest.startswith("while"))
                if not (waiting or assigned or initializing or continued or rest.startswith((",", "."))):
                    return at + 1
        elif c == ";" and depth <= 0:
            return at + 1
        at += 1
    return len(text)


def outside_brackets(text):
    """What stands outside of all brackets, angle ones excepted."""
    out, depth = [], 0
    for c in text:
        if c in "({[":
            depth += 1
        elif c in ")}]":
            depth -= 1
        elif depth == 0:
            out.append(c)
    return "".join(out)


def is_class(head):
    """Whether these words open a class and not a function that returns one."""
    return "(" not in re.sub(r"(alignas|decltype|__attribute__)\s*\(", "", head.split("{")[0])


def split_items(text):
    """The outermost items of a cell, comments in front included in none."""
    plain = without_requirements(bare(text))
    items, at = [], 0
    while True:
        while at < len(plain) and plain[at] in " \t\n;":
            at += 1
        if at >= len(plain):
            return items
        line = text.count("\n", 0, at) + 1
        if plain[at] == "#":
            end = end_of_directive(text, at)
            items.append(Item(DIRECTIVE, text[at:end], line))
        elif plain[at] == "}":  # of nothing: the compiler says so
            end = at + 1
            items.append(Item(DECLARATION, "}", line))
        else:
            end = end_of_item(plain, at)
            items.append(classified(text[at:end], plain[at:end], line))
        at = max(end, at + 1)


def classified(text, plain, line):
    item = Item(kind_of(plain), text, line)
    if item.kind in (DECLARATION, VARIABLE):
        name_item(item, plain)
    return item


def kind_of(plain):
    word = re.match(r"\w*", plain).group()
    if word in TEST_MACROS:
        return TEST
    if DECLARING.match(plain) or plain.count("{") != plain.count("}"):
        return DECLARATION
    ended = plain.rstrip().endswith((";", "}"))
    if DOING.match(plain):
        return STATEMENT if ended else EXPRESSION
    if plain.rstrip().endswith("}") and "(" in outside_braces(plain):
        return DECLARATION  # a function with its body
    if re.match(r"[A-Z][A-Z0-9_]+\s*\(", plain):
        return STATEMENT if CHECK_MACROS.match(plain) else DECLARATION
    if re.match(r"[\w:]*\boperator\b", plain):
        return DECLARATION
    called = re.match(r"(::)?\w+(::\w+)*\s*(<[^;{}]*?>)?\s*(\(|\.|->|\[|=|\+|-|\*=|/|%|\||&&|\^|<<|>>|==|!=|<=|>=|\?|,|;|$)", plain)
    if called:
        return STATEMENT if ended else EXPRESSION
    return VARIABLE if ended else EXPRESSION


def outside_braces(plain):
    return plain.split("{")[0]


def name_item(item, plain):
    head = plain.split("{")[0]
    if plain.startswith("namespace") or re.match(r"(inline\s+)?namespace\b", plain):
        inside = plain[plain.find("{") + 1:plain.rfind("}")] if "{" in plain else ""
        for part in split_items(inside):
            item.names += part.names
            item.inside |= part.inside | ({part.key} if part.key else set())
        return
    alias = re.match(r"using\s+(\w+)\s*=", plain) or re.match(r"(?:template\s*<.*?>\s*)?(?:class|struct|union|enum(?:\s+class|\s+struct)?|concept)\s+(?:\[\[.*?\]\]\s*)?(\w+)", plain, re.DOTALL)
    if alias and is_class(head):
        item.names.append(alias.group(1))
        if "{" in plain or plain.startswith("using"):
            item.key = "type " + alias.group(1)
        return
    function = re.search(r"([\w:~]*\boperator\s*[^\s\w(]+|[\w:~]*\boperator\s*\(\)|[\w:~]+)\s*\(", head)
    before_equals = head.split("=")[0] if not (function and "operator" in function.group(1)) else head
    if function and "(" in before_equals:
        name = function.group(1)
        item.names.append(name.split("::")[-1])
        if plain.rstrip().endswith("}"):
            parameters = re.sub(r"\s+", " ", head[function.end() - 1:]).strip()
            # Of a template, what stands before its name tells it from others, and from the function of that name that is none.
            template = re.sub(r"\s+", " ", head[:function.start()]).strip() + " " if plain.startswith("template") else ""
            item.key = f"function {template}{name}{parameters}"
            if "=" not in parameters and "::" not in name and ":" not in parameters.rsplit(")", 1)[-1]:
                item.prototype = item.text[:len(head)].rstrip() + ";"
        return
    variable = re.search(r"(\w+)\s*(\[[^\]]*\]\s*)*(=|;|$)", before_equals + ("=" if "=" in head else ""))
    if variable:
        item.names.append(variable.group(1))
        if not plain.startswith("extern"):
            item.key = "variable " + variable.group(1)
