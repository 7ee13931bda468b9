"""The cells that were run, and the translation units made of them."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from . import cpp

MARKER = re.compile(r"^//\| *(\w+) *(.*)$", re.MULTILINE)
NAMESPACE_LINE = re.compile(r"namespace tinytorch \{|\}( *// *namespace tinytorch)?")
INCLUDE_BREAK = re.compile(r"\}\s+(#include[^\n]*\s+)+namespace tinytorch \{")
LINE = re.compile(r'^#line \d+ "(.*)"$', re.MULTILINE)
REGISTERED = re.compile(r"\bvoid\s+([\w:]+)\s*\(\s*\)\s*\{")


@dataclass(eq=False)
class Cell:
    key: str  # its id in the notebook
    number: int  # In[number]
    source: str
    items: list = field(default_factory=list)
    broken: bool = False  # it did not compile when it was last run
    superseded: set = field(default_factory=set)  # keys of items that a later cell defines anew

    @property
    def name(self):
        return f"In[{self.number}]" if self.number else f"later in the lesson ({self.key})"

    def markers(self, word):
        return [argument for found, argument in MARKER.findall(self.source) if found == word]

    @property
    def file(self):
        """The source file of the package that its whole text belongs to; empty for a header's, a test's, or a learner's own cell."""
        files = {argument.split()[0] for argument in self.markers("export") if argument}
        return files.pop() if len(files) == 1 and all(file.endswith(".cpp") for file in files) else ""

    @property
    def in_header(self):
        """Whether the package has its text, or part of it, in a header: every source file sees it."""
        return bool(self.markers("export")) and not self.file

    @property
    def of_lesson(self):
        return bool(MARKER.search(self.source))

    def of_kind(self, *kinds):
        return [item for item in self.items if item.kind in kinds]

    @property
    def does_something(self):
        """Statements among its items: then its variables live while they run, and are not there for later cells."""
        return not self.of_lesson and bool(self.of_kind(cpp.STATEMENT, cpp.EXPRESSION))

    def declared(self):
        """The items that later cells see."""
        kinds = [cpp.DECLARATION, cpp.DIRECTIVE]
        if not self.does_something:
            kinds.append(cpp.VARIABLE)
        if self.of_lesson:
            kinds += [cpp.STATEMENT, cpp.EXPRESSION]  # whatever it is, the compiler judges it
        return self.of_kind(*kinds)

    def names(self):
        return {name for item in self.declared() for name in item.names}

    def keys(self):
        """What a second definition of the same things has as well."""
        return set().union(*(item.inside | {item.key} for item in self.declared())) - {""}

    def defines(self, name):
        return name in self.names()

    @property
    def demonstrates(self):
        return any(demonstrates(item) for item in self.items)

    @property
    def tests(self):
        return any(not demonstrates(item) for item in self.of_kind(cpp.TEST))

    @property
    def runs(self):
        return self.does_something or self.demonstrates or self.tests


def demonstrates(item):
    return item.kind == cpp.TEST and item.text.startswith("DEMO")


def parse(key, number, source):
    cell = Cell(key, number, source)
    if NAMESPACE_LINE.fullmatch(cpp.without_comments(source).strip()) or NAMESPACE_LINE.fullmatch(source.strip()):
        return cell  # the namespace of a lesson: each cell gets it anyway
    if INCLUDE_BREAK.fullmatch(cpp.without_comments(source).strip()):
        source = "\n".join("" if NAMESPACE_LINE.fullmatch(line.strip()) else line for line in source.split("\n"))
    if not cell.markers("mistake"):
        cell.items = cpp.split_items(source)
    return cell


def text_of(item):
    """Its text in which blanks and comments do not count."""
    return " ".join(cpp.without_comments(item.text).split())


def has_own_namespace(item):
    return re.match(r"namespace\s+tinytorch\s*\{", item.text) is not None


class Notebook:
    """Cells in the order in which they were first run; one that is run again keeps its place."""

    def __init__(self, package):
        self.cells = []
        self.late_before = None  # the cell before which files join that stand on cells themselves
        self.stand_on(package)

    def stand_on(self, package):
        self.package = package  # tito's description of what the cells stand on
        self.later_cells(package.get("handed_out", []))
        self.types_of_file = {item.key: text_of(item) for source in package.get("header_cells", [])
                              for item in parse("", 0, source).declared() if item.key.startswith("type ")}

    def later_cells(self, sources):
        """What may stand in cells that were not run yet."""
        self.handed_out = [parse(f"cell {index}", 0, source) for index, source in enumerate(sources, 1)]

    def hand_out_again(self, names):
        """In place of cells with these names, which a learner saved and which do not compile, what the lesson had there. Whether any was replaced."""
        lesson = [parse("", 0, source) for source in self.package.get("handed_out", [])]
        replaced = False
        for index, cell in enumerate(self.handed_out):
            if cell.name not in names or any(other.source == cell.source for other in lesson):  # others may define the same names
                continue
            same = next((other for other in lesson if other.keys() and other.keys() == cell.keys() and other.source != cell.source), None)
            if same is not None:
                self.handed_out[index] = parse(cell.key, 0, same.source)
                replaced = True
        return replaced

    def find(self, key):
        return next((cell for cell in self.cells if cell.key == key), None)

    def put(self, cell):
        """Takes the cell in, at its earlier place if it had one."""
        for index, old in enumerate(self.cells):
            if old.key == cell.key:
                self.cells[index] = cell
                if self.late_before is old:
                    self.late_before = cell
                break
        else:
            self.cells.append(cell)
        self.supersede()

    def leave_out(self, cell):
        """It does not compile: it declares nothing until it is run again."""
        cell.broken = True
        self.supersede()

    def supersede(self):
        """Of several definitions of one thing, that of the cell run last counts."""
        latest = {}
        for cell in sorted(self.cells, key=lambda cell: cell.number):
            cell.superseded = set()
            if cell.broken:
                continue
            for item in cell.declared():
                if not item.key:
                    continue
                if item.key in latest and latest[item.key] is not cell:
                    latest[item.key].superseded.add(item.key)
                latest[item.key] = cell

    def before(self, cell):
        """The cells whose declarations it sees."""
        place = self.cells.index(cell)
        seen = [other for other in self.cells[:place] if not other.broken]
        superseded = set().union(*(other.superseded for other in seen)) if seen else set()
        # What counts instead of an earlier definition may stand in a cell behind this one.
        return seen + [other for other in self.cells[place + 1:]
                       if not other.broken and any(item.key in superseded and item.key not in other.superseded for item in other.declared())]

    def move_ahead(self, other, cell):
        """`other` was run later, but `cell` uses it."""
        self.cells.remove(other)
        self.cells.insert(self.cells.index(cell), other)

    def in_package(self, cell):
        """Classes that Tensor and others inherit from are compiled into the package."""
        return any(cell.source.strip() == mixin.strip() for mixin in self.package.get("mixins", []))

    def not_run(self):
        """Cells of the lesson as they were handed out, of which no cell that was run has the text or defines the same."""
        texts = {cell.source.strip() for cell in self.cells}
        keys = set().union(*(cell.keys() for cell in self.cells))
        return [cell for cell in self.handed_out if cell.items and cell.source.strip() not in texts and keys.isdisjoint(cell.keys())]

    def late_texts(self):
        return [Path(file).read_text(encoding="utf-8") for file in self.package.get("late_texts", [])]

    def fits_what_is_behind(self):
        """Whether the classes of the cells are those of the lesson's file, with which the library chapters behind it were compiled."""
        return all(self.types_of_file.get(item.key, text_of(item)) == text_of(item)
                   for cell in self.cells if not cell.broken for item in cell.declared()
                   if item.key.startswith("type ") and item.key not in cell.superseded)

    # ---- translation units

    def unit(self, cell, left_out=(), rest=False, bodies=True, apart=False):
        """The text that is compiled for a cell: what others declare, then the cell. With `rest`, also what the lesson has in cells
        that were not run yet, exercises as they were handed out: a call of one of those says which exercise it is. Without `bodies`, of
        the others' functions only the prototypes: enough to check the cell, and much quicker. With `apart`, without the cells whose text
        is compiled as a file of its own (`unit_of_file`); a program never has those that are compiled for each CPU capability."""
        others = [other for other in self.before(cell) if other not in left_out]
        more = self.not_run() if rest else []
        headers = [other for other in more if cell.file and other.in_header]  # a source file's cell stands behind all headers
        seen = [*others, *headers, cell, *(other for other in more if other not in headers)]
        left_to_files = {other for other in seen if other.file and (apart or (cell.runs and self.per_capability(other.file)))}
        compiled = [other for other in seen if other is cell or other not in left_to_files]
        parts = self.all_declarations(seen, compiled, cell, bodies)
        parts += [self.registration(other) for other in compiled if other.markers("registers") and (bodies or other is cell)]
        types = {item.key for other in compiled for item in other.declared()}
        for name, headers in self.package.get("late_headers", {}).items():
            if f"type {name}" in types:
                parts += [f'#include "{header}"' for header in headers]
        if cell.of_kind(cpp.TEST):
            parts += ["namespace tinytorch {", *(located(cell, item) for item in cell.of_kind(cpp.TEST)), "}"]
        if cell.does_something:
            parts += self.body(cell)
        return "\n".join(parts) + "\n"

    def all_declarations(self, seen, compiled, cell, bodies=True):
        """What those of the seen cells declare that are `compiled`."""
        parts = ["#pragma GCC diagnostic ignored \"-Wunused-function\""]
        for other in seen:
            if other is self.late_before:
                parts += [f'#include "{file}"' for file in self.package["late_files"]]
            if other in compiled:
                parts += self.declarations(other, bodies or other is cell)
        return parts

    def files(self, cell, rest=False):
        """The package's source files of which cells were run that `cell` sees."""
        return list(dict.fromkeys(other.file for other in [*self.before(cell), *(self.not_run() if rest else [])] if other.file))

    def per_capability(self, file):
        """Whether the package has it compiled for each CPU capability (`*.simd.cpp`)."""
        return file in self.package.get("capabilities", {})

    def unit_of_file(self, file, cell, rest=False, left_out=()):
        """What `cell` sees of the package's source file `file`, as it is compiled in the package: behind the headers, and with no other
        source file's and no test's functions around it."""
        seen = [*(other for other in self.before(cell) if other not in left_out), *(self.not_run() if rest else [])]
        seen.sort(key=lambda other: other.file == file)
        compiled = [other for other in seen if other.file == file or other.in_header]
        parts = self.all_declarations(seen, compiled, cell)
        parts += [self.registration(other) for other in compiled if other.file and other.markers("registers")]
        return "\n".join(parts) + "\n"

    def same_file(self, file, unit, other_unit):
        """Whether two units of a file differ in no more than the numbers of cells with headers."""
        own = {cell.name for cell in self.cells if cell.file == file}

        def plain(text):
            return LINE.sub(lambda match: match.group() if match.group(1) in own else "", text)

        return plain(unit) == plain(other_unit)

    def declarations(self, cell, bodies=True):
        if self.in_package(cell):
            return []
        parts, inside = [], False
        lesson = bool(cell.markers("lesson"))
        for item in cell.declared():
            if item.key and item.key in cell.superseded:
                if not item.prototype:
                    continue
                item = cpp.Item(item.kind, item.prototype, item.line)
            elif not bodies:
                text = item.declaration
                if not text:
                    continue
                item = cpp.Item(item.kind, text, item.line)
            bare = item.kind == cpp.DIRECTIVE or has_own_namespace(item)
            if bare and item.kind == cpp.DIRECTIVE and inside and not item.text.startswith("#include"):
                parts.append(located(cell, item))
                continue
            if bare == inside:
                parts.append(closing(lesson) if bare else opening(lesson))
                inside = not bare
            parts.append(located(cell, item))
        if inside:
            parts.append(closing(lesson))
        return parts

    @staticmethod
    def registration(cell):
        calls = "".join(f"tinytorch::{name}(); " for name in REGISTERED.findall(cpp.bare(cell.source)))
        mark = cell.number or re.sub(r"\W", "_", cell.key)
        return f"namespace {{ [[maybe_unused]] const bool registered_by_{mark} = [] {{ {calls}return true; }}(); }}"

    @staticmethod
    def body(cell):
        parts = ["namespace tinytorch {", f'#line 1 "{cell.name}"\nDEMO("{cell.name}") {{']
        for item in cell.of_kind(cpp.VARIABLE, cpp.STATEMENT):
            parts.append(located(cell, item))
        for item in cell.of_kind(cpp.EXPRESSION):
            parts.append(located(cell, cpp.Item(item.kind, f"::tito::show(({item.text.strip()}\n));", item.line)))
        return [*parts, "}", "}"]


def opening(lesson):
    return "namespace tinytorch {" + (" namespace {" if lesson else "")


def closing(lesson):
    return "}" + (" }" if lesson else "")


def located(cell, item):
    return f'#line {item.line} "{cell.name}"\n{item.text}'
