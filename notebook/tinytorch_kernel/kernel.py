"""The kernel: cells in, results and errors out. Whatever a cell does happens in another process; this one lives on."""

import codecs
import json
import os
import re
import traceback
from pathlib import Path

from ipykernel.kernelbase import Kernel

from . import __doc__ as about
from . import compiler, report, rich
from .cells import Notebook, demonstrates, parse

DEFAULT_SECONDS = float(os.environ.get("TITO_CELL_SECONDS", "60"))
# Of demonstrations no grade comes, and they take longer than tests: they are compiled optimized, with all that they stand on.
GRADES = bool(os.environ.get("TITO_GRADES"))
MEMORY = 4 << 30
MAGIC = re.compile(r"^(?://[ \t]*)?%(\w+)[ \t]*([^\n]*)$")

# What an exercise throws that was not written yet, and what stands in for a function whose cell was not run.
WAITING = re.compile(r": \d\d (?:[\w:~]|<[\w:~<>,.() ]*>)+(?:\(\))?: | is declared, but the cell that defines it was not run")

HELP = """\
A cell of declarations adds them; a test or a demonstration in it runs at once, in a process of its own. A cell with statements runs
them, and its variables end with it. The value of a last line without a semicolon is shown. In front of a cell may stand, also as a comment:
  %limit SECONDS        how long what the cell runs may take
  %sanitize on          compile cells with the address and undefined-behaviour sanitizers (thread: with the thread sanitizer; off)
  %module 05            what the cells stand on: the modules before this one
  %cells                which cells count, in their order
  %forget               start again without what earlier cells declared
"""


class CellError(Exception):
    def __init__(self, name, sentence, lines):
        super().__init__(sentence)
        self.name, self.sentence, self.lines = name, sentence, lines


def notebook_files(folder):
    """The notebook that this kernel runs; where the front end does not name it, all that lie in the folder."""
    session = os.environ.get("JPY_SESSION_NAME", "")
    return [folder / Path(session).name] if session.endswith(".ipynb") else sorted(folder.glob("*.ipynb"))


def find_module(folder):
    """The module of the notebooks in this folder: what a notebook says of itself, or the folder's name."""
    import nbformat

    if os.environ.get("TITO_MODULE"):
        return os.environ["TITO_MODULE"]
    names = set()
    for path in notebook_files(folder):
        try:
            names.add(nbformat.read(path, as_version=4).metadata.get("tinytorch", {}).get("module"))
        except Exception:  # another program's file
            continue
    names.discard(None)
    if len(names) == 1:
        return names.pop()
    for part in reversed([*folder.parts, *Path(os.environ.get("JPY_SESSION_NAME", "")).parts]):
        if re.fullmatch(r"\d\d_\w+", part):
            return part
    return None


class SavedCells:
    """The cells of the notebook as it was saved last: there stands what the learner wrote in those that were not run yet."""

    def __init__(self, folder):
        files = notebook_files(folder)
        self.path = files[0] if len(files) == 1 else None
        self.stamp = None

    def changed(self):
        """Their texts, when the file is another one than at the last call; else None."""
        import nbformat

        try:
            stamp = self.path.stat().st_mtime_ns if self.path else None
            if stamp is None or stamp == self.stamp:
                return None
            self.stamp = stamp
            cells = nbformat.read(self.path, as_version=4).cells
            return ["\n".join("" if MAGIC.match(line) else line for line in cell.source.split("\n")) for cell in cells if cell.cell_type == "code"]
        except Exception:  # being written, or no notebook
            return None


class TinyTorchKernel(Kernel):
    implementation = "tinytorch_kernel"
    implementation_version = "1"
    language = "c++"
    language_version = "20"
    banner = about
    language_info = {"name": "c++", "version": "20", "mimetype": "text/x-c++src", "file_extension": ".cpp",
                     "codemirror_mode": "text/x-c++src", "pygments_lexer": "cpp"}

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.module = None
        self.sanitize = os.environ.get("TITO_SANITIZE", "")
        self.seconds = DEFAULT_SECONDS
        self.notebook = None
        self.workshop = None
        self.linked = None  # when compiling found out that it links
        self.with_rest = False  # whether it has what later cells of the lesson declare
        self.wants_rest = False  # whether the last program did not link without it: the next will hardly either
        self.registered = False  # whether the program has what the chapters behind the lesson register
        self.languages = None  # completion and inspection

    # ---- Jupyter's side

    def do_execute(self, code, silent, store_history=True, user_expressions=None, allow_stdin=False, *, cell_meta=None, cell_id=None):
        self.silent = silent
        try:
            self.execute(code, cell_id)
        except CellError as error:
            return self.failed(error.name, error.sentence, error.lines)
        except compiler.CannotBuild as error:
            return self.failed("CannotBuild", "what this notebook stands on cannot be built", str(error).splitlines())
        except KeyboardInterrupt:
            return self.failed("KeyboardInterrupt", "the cell was interrupted", [])
        except Exception as error:  # ours: a front end would wait for an answer for ever
            return self.failed("KernelError", f"the kernel itself failed: {error}", traceback.format_exc().splitlines())
        return {"status": "ok", "execution_count": self.execution_count, "payload": [], "user_expressions": {}}

    def failed(self, name, sentence, lines):
        content = {"ename": name, "evalue": sentence, "traceback": [*lines, f"{name}: {sentence}"]}
        if not self.silent:
            self.send_response(self.iopub_socket, "error", content)
        return {"status": "error", "execution_count": self.execution_count, **content}

    def do_shutdown(self, restart):
        self.leave_workshop()
        return {"status": "ok", "restart": restart}

    def do_is_complete(self, code):
        return {"status": "unknown"}

    def do_complete(self, code, cursor_pos):
        matches, start = self.language_help().complete(code, cursor_pos)
        return {"status": "ok", "matches": matches, "cursor_start": start, "cursor_end": cursor_pos, "metadata": {}}

    def do_inspect(self, code, cursor_pos, detail_level=0, omit_sections=()):
        text = self.language_help().inspect(code, cursor_pos)
        return {"status": "ok", "found": bool(text), "data": {"text/plain": text} if text else {}, "metadata": {}}

    def language_help(self):
        from .language import LanguageHelp

        if self.languages is None:
            self.languages = LanguageHelp()
        try:
            self.get_ready()
            self.languages.prepare(self.notebook, self.workshop)
        except compiler.CannotBuild:
            pass
        return self.languages

    def show(self, data):
        if not self.silent:
            self.send_response(self.iopub_socket, "display_data", {"data": data, "metadata": {}, "transient": {}})

    def say(self, text):
        if not self.silent and text:
            self.send_response(self.iopub_socket, "stream", {"name": "stdout", "text": text})

    # ---- getting ready

    def get_ready(self):
        if self.workshop is not None:
            return
        folder = Path.cwd()
        module = self.module or find_module(folder)
        if module is None:
            raise compiler.CannotBuild("Which module is this? Begin a cell with %module 05, or open the notebook with 'tito notebook 05'.")
        package = compiler.describe(module, self.sanitize, folder=folder)
        self.workshop = compiler.Workshop(package)
        if self.notebook is None:
            self.notebook = Notebook(package)
        self.notebook.stand_on(package)
        self.saved = SavedCells(folder)

    def look_at_saved_cells(self):
        """In place of the lesson as it was handed out, where this is a notebook of it."""
        sources = self.saved.changed()
        if sources and len(sources) > len(self.notebook.handed_out) // 2:
            self.notebook.later_cells(sources)

    def leave_workshop(self):
        if self.workshop is not None:
            self.workshop.close()
        self.workshop = None
        if self.languages is not None:
            self.languages.close()
            self.languages = None

    # ---- a cell

    def execute(self, code, cell_id):
        seconds, code = self.obey_magics(code)
        if not code.strip():
            return
        self.get_ready()
        cell = parse(cell_id or self.key_without_id(code), self.execution_count, code)
        if GRADES:
            cell.items = [item for item in cell.items if not demonstrates(item)]
        if not cell.items:
            return
        if self.notebook.in_package(cell):
            self.notebook.put(cell)
            return
        if cell.markers("extends"):
            raise CellError("CellError", "this class is a part of Tensor or Module, which are compiled already", [
                "The package is compiled with this class as the lesson's file has it. Save the change there, and restart the kernel."])
        self.notebook.put(cell)
        self.choose_what_is_behind()
        self.look_at_saved_cells()
        level = "-O1" if cell.demonstrates else "-O0"
        self.linked, self.with_rest, self.registered = None, False, False
        self.compile(cell, level)
        if cell.runs:
            self.run(cell, seconds)

    def choose_what_is_behind(self):
        """The chapters behind the lesson are compiled already: with other classes than the notebook's they would misread its objects."""
        fits = self.notebook.fits_what_is_behind()
        if self.workshop.with_behind and not fits:
            self.show({"text/plain": "A class is not as the lesson's file has it, so the library chapters behind the lesson are not there for now. "
                                     "Save the change in the file, and restart the kernel."})
        self.workshop.with_behind = fits

    def key_without_id(self, code):
        """Front ends that do not name their cells: one that defines the same things is the same cell."""
        number = self.execution_count
        keys = {item.key for item in parse("", number, code).declared() if item.key}
        for cell in self.notebook.cells:
            if cell.key.startswith("#") and keys and keys == {item.key for item in cell.declared() if item.key}:
                return cell.key
        return f"#{number}"

    def compile(self, cell, level):
        """Compiles the cell's unit. What it uses of cells run later moves ahead of it; earlier cells that no longer compile are left out."""
        if cell.runs and self.compiled_apart(cell, level, (True, False) if self.wants_rest else (False, True)):
            return
        if cell.runs and self.wants_rest and self.compiled_with_more(cell, level):
            return
        left_out = set()
        for _ in range(12):
            done = self.compiled_as_one(cell, level, left_out)
            if done.ok:
                break
            found = [message for message in compiler.messages(done.text) if "error" in message["kind"]]
            here = [message for message in found if message["file"] == cell.name]
            if self.moved_ahead(cell, here or found):
                continue
            wanted = compiler.undeclared(done.text)
            if wanted and self.compiled_with_more(cell, level, wanted):
                return
            elsewhere = {message["file"] for message in found} - {cell.name}
            bad = {other for other in self.notebook.before(cell) if other.name in elsewhere and other not in left_out}
            if here or not bad:
                self.notebook.leave_out(cell)
                raise CellError("CompileError", self.sentence_about(found, cell), self.error_lines(done.text, cell))
            left_out |= bad
        else:
            self.notebook.leave_out(cell)
            raise CellError("CompileError", "the cells before this one do not compile together", self.error_lines(done.text, cell))
        self.warn(done.text, cell)
        if left_out and not cell.runs:
            return
        if left_out:
            names = ", ".join(sorted(other.name for other in left_out))
            self.show({"text/plain": f"Left out since they no longer compile with the others: {names}. Run them again."})

    def moved_ahead(self, cell, found):
        later = self.notebook.cells[self.notebook.cells.index(cell) + 1:]
        for name in compiler.undeclared("\n".join(message["text"] for message in found)):
            for other in later:
                if other.defines(name) and not other.broken:
                    self.notebook.move_ahead(other, cell)
                    return True
        return False

    def compiled_as_one(self, cell, level, left_out=(), rest=False):
        """The cells in one unit, but for those that are compiled for each CPU capability."""
        notebook = self.notebook
        unit = notebook.unit(cell, left_out, rest=rest, bodies=cell.runs)
        files = [file for file in notebook.files(cell, rest) if notebook.per_capability(file)] if cell.runs else []
        if not files:
            return self.workshop.compile(unit, level, only_check=not cell.runs)
        units = {file: notebook.unit_of_file(file, cell, rest, left_out) for file in files}
        return self.workshop.compile_apart(unit, units, level, notebook.same_file)

    def compiled_apart(self, cell, level, rests):
        """A program in which the lesson's source files are compiled each for itself, as in the package, and only when their cells changed.
        Whatever stands in the way, the cells are compiled as one unit, which also knows what to say of errors. `rests` says whether
        to take the cells in that were not run yet: each way is tried."""
        notebook = self.notebook
        later_names = set().union(*(other.names() for other in notebook.not_run()))
        for rest in rests:
            files = notebook.files(cell, rest)
            if cell.file or not files or (rest and not later_names):
                continue
            def attempt(rest=rest, files=files):
                units = {file: notebook.unit_of_file(file, cell, rest) for file in files}
                return self.workshop.compile_apart(notebook.unit(cell, rest=rest, apart=True), units, level, notebook.same_file)

            done = self.without_broken_rest(attempt)
            if not done.ok and not rest and later_names.isdisjoint(compiler.undeclared(done.text)):
                return False
            if not done.ok:
                continue
            self.linked = self.link()
            if self.linked.ok and not self.linked.missing:
                self.with_rest = rest
                self.warn(done.text, cell)
                return True
            self.linked = None
        return False

    def without_broken_rest(self, attempt):
        """What `attempt` gives when no cell that was not run yet stands in its way: one that was saved half-written counts as handed out."""
        done = attempt()
        while not done.ok:
            found = {message["file"] for message in compiler.messages(done.text) if "error" in message["kind"]}
            if not self.notebook.hand_out_again(found):
                break
            done = attempt()
        return done

    def compiled_with_more(self, cell, level, wanted=None):
        """A cell that needs more than the cells before it: headers that stand on this lesson (they join for good when they help),
        or later cells of the lesson, as they were handed out. `wanted` are names that are missing; without it, it did not link."""
        notebook = self.notebook
        late = wanted is not None and notebook.late_before is None and any(
            re.search(rf"\b{name}\b", text) for name in wanted for text in notebook.late_texts())
        later_names = set().union(*(other.names() for other in notebook.not_run()))
        later = bool(later_names) if wanted is None else not later_names.isdisjoint(wanted)
        for with_late, rest in ((True, False), (False, True), (True, True)):
            if (with_late and not late) or (rest and not later):
                continue
            notebook.late_before = cell if with_late else notebook.late_before
            done = self.without_broken_rest(lambda rest=rest: self.compiled_as_one(cell, level, rest=rest))
            if done.ok and cell.runs:
                self.linked = self.link()
                done.ok = self.linked.ok
            if done.ok:
                self.with_rest = rest
                self.warn(done.text, cell)
                return True
            if with_late:
                notebook.late_before = None
        return False

    @staticmethod
    def sentence_about(found, cell):
        if not found:
            return "the cell does not compile"
        first = found[0]
        return f"{first['file']}:{first['line']}: {first['text']}"

    def error_lines(self, text, cell):
        lines = []
        for message in compiler.messages(text):
            if message["kind"] == "warning" and message["file"] != cell.name:
                continue
            column = f":{message['column']}" if message["column"] else ""
            lines.append(f"{self.shortened(message['file'])}:{message['line']}{column}: {message['kind']}: {message['text']}")
            lines += message["more"][:6]
        broken = [other for other in self.notebook.cells if other.broken and other is not cell]
        for name in compiler.undeclared(text):
            for other in broken:
                if name in other.names():
                    lines.append(f"{name} stands in {other.name}, which did not compile; mend it and run it again.")
        if not lines:
            lines = text.splitlines()[-20:]
        return lines[:80]

    def shortened(self, file):
        include = self.workshop.package["include"]
        return file.removeprefix(str(self.workshop.root) + "/").removeprefix(include + "/")

    def warn(self, text, cell):
        lines = []
        for message in compiler.messages(text):
            if message["kind"] == "warning" and message["file"] == cell.name:
                lines.append(f"{message['file']}:{message['line']}: warning: {message['text']}")
                lines += message["more"][:2]
        if lines:
            self.show({"text/plain": "\n".join(lines)})

    # ---- running it

    def link(self):
        """With what the chapters behind the lesson register, as soon as all that they stand on is there."""
        self.registered = self.workshop.can_register
        if self.registered:
            linked = self.workshop.link(registering=True)
            if linked.ok:
                return linked
            self.registered = False
        return self.workshop.link()

    def run(self, cell, seconds):
        level = "-O1" if cell.demonstrates else "-O0"
        linked = self.linked or self.link()
        self.wants_rest = self.with_rest
        if linked.missing and not self.with_rest:
            if self.compiled_with_more(cell, level):
                linked = self.linked
                self.wants_rest = self.with_rest
            else:  # what was compiled last is not this
                self.compiled_as_one(cell, level)
                linked = self.link()
        if not linked.ok:
            raise CellError("LinkError", "the cell compiles, but does not link with the others", linked.text.splitlines()[:40])
        try:
            self.run_program(cell, seconds)
        except CellError:
            # It may want what the chapters behind the lesson register, and they want the rest of the lesson.
            if self.registered or not self.workshop.can_register:
                raise
            with_rest = self.compiled_apart(cell, level, (True,)) or self.compiled_with_more(cell, level)
            if not with_rest or not self.registered:
                raise
            self.wants_rest = self.with_rest
            self.run_program(cell, seconds)

    def run_program(self, cell, seconds):
        if cell.does_something or cell.demonstrates:
            self.run_demonstrations(cell, seconds)
        if cell.tests:
            self.run_tests(seconds)

    def run_demonstrations(self, cell, seconds):
        output = Output(self, own_title=cell.name)
        ended = self.workshop.run(["--demos"], output.add, seconds, self.memory())
        output.finish()
        if ended.status == 0 and not ended.timed_out and not ended.flooded:
            return
        if cell.demonstrates and WAITING.search(output.stopped):
            self.say(f"\nThis demonstration waits for what comes later in the lesson ({output.stopped}): run it again then.\n")
            return
        if output.stopped:
            raise CellError("Stopped", output.stopped, [])
        raise CellError("Stopped", report.how_it_ended(ended, seconds), self.crash_lines(cell, ended))

    def crash_lines(self, cell, ended):
        return ["Run it with %sanitize on in front to see where."] if ended.status < 0 and not self.sanitize else []

    def run_tests(self, seconds):
        output = Output(self)
        ended = self.workshop.run(["--json"], output.add, seconds, self.memory())
        output.finish()
        passed, sentence, lines = report.describe_tests(ended.events, ended, seconds, self.workshop.places, self.known_mistakes(), GRADES)
        if not passed:
            raise CellError("TestFailed", sentence, lines)
        self.say("\n".join([*lines, sentence]) + "\n")

    def known_mistakes(self):
        try:
            return json.loads(Path(self.workshop.package.get("mistakes", "")).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return []

    def memory(self):
        return 0 if self.sanitize else MEMORY

    # ---- lines that begin with %

    def obey_magics(self, code):
        """Takes the lines with % off the front; (the cell's time limit, the code with its lines where they were)."""
        seconds = self.seconds
        lines = code.split("\n")
        for index, line in enumerate(lines):
            if not line.strip():
                continue
            match = MAGIC.match(line)
            if not match:
                break
            lines[index] = ""
            word, argument = match.group(1), match.group(2).strip()
            if word == "limit":
                seconds = self.number(argument)
            else:
                self.obey(word, argument)
        return seconds, "\n".join(lines)

    @staticmethod
    def number(text):
        try:
            return float(text)
        except ValueError:
            raise CellError("UsageError", f"%limit wants a number of seconds, and not '{text}'", []) from None

    def obey(self, word, argument):
        if word == "sanitize":
            choice = {"on": "memory", "memory": "memory", "thread": "thread", "off": ""}.get(argument or "on")
            if choice is None:
                raise CellError("UsageError", f"%sanitize is on, thread or off, and not '{argument}'", [])
            self.sanitize = choice
            self.leave_workshop()
        elif word == "module":
            self.module, self.notebook = argument, None
            self.leave_workshop()
        elif word == "cells":
            cells = self.notebook.cells if self.notebook else []
            self.say("".join(f"{cell.name} {', '.join(sorted(cell.names())) or '-'}{' (does not compile)' * cell.broken}\n" for cell in cells))
        elif word == "forget":
            if self.notebook:
                self.notebook.cells.clear()
        elif word in ("help", "magic"):
            self.say(HELP)
        else:
            raise CellError("UsageError", f"there is no %{word}", HELP.splitlines())


class Output:
    """What a program prints, passed on as it comes; pictures and tables stand in lines of their own (tito/display.h)."""

    MARK = "\x1e"

    def __init__(self, kernel, own_title=None):
        self.kernel = kernel
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.pending = ""
        self.title = f"\n--- {own_title}\n\n" if own_title else None
        self.stopped = ""

    def add(self, piece):
        self.pending += self.decoder.decode(piece)
        if self.title is not None:
            if len(self.pending) < len(self.title) and self.title.startswith(self.pending):
                return
            self.pending = self.pending.removeprefix(self.title)
            self.title = None
        self.pass_on()

    def pass_on(self):
        while self.MARK in self.pending:
            text, rest = self.pending.split(self.MARK, 1)
            self.text(text)
            line, newline, after = rest.partition("\n")
            if not newline:
                self.pending = self.MARK + rest
                return
            self.kernel.show(rich.bundle(line))
            self.pending = after
        # A whole line at a time, so that what stopped a demonstration is seen as one.
        text, newline, self.pending = self.pending.rpartition("\n")
        self.text(text + newline)

    def text(self, text):
        match = re.search(r"^(In\[\d+\]:\d+): the demonstration stopped: (.*)", text, re.MULTILINE | re.DOTALL)
        if match:
            self.stopped = f"{match.group(1)}: {match.group(2).strip()}"
            text = text[:match.start()]
        self.kernel.say(text)

    def finish(self):
        self.pending += self.decoder.decode(b"", True)
        self.text(self.pending.replace(self.MARK, ""))
        self.pending = ""
