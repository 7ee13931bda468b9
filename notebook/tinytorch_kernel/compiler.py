"""Compiling a cell's unit, linking it with the package, and running it in a process with limits."""

import ctypes
import json
import os
import re
import resource
import selectors
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

MESSAGE = re.compile(r"^(?P<file>In\[\d+\]|[^\s:][^:\n]*):(?P<line>\d+):(?:(?P<column>\d+):)? (?P<kind>fatal error|error|warning|note): (?P<text>.*)$")
UNDECLARED = re.compile(
    r"[‘'](?P<name>[\w:]+)[’'] (?:was not declared|has not been declared|is not a member|does not name a type)|"
    r"unknown type name [‘'](?P<type>\w+)[’']")
UNDEFINED = re.compile(r"undefined (?:symbol: |reference to [`'‘])(_Z\w+|\w+)")


class CannotBuild(Exception):
    """What the cells stand on is not there; the text says why."""


@dataclass
class Compiled:
    ok: bool
    text: str = ""  # what the compiler or linker said
    missing: list = field(default_factory=list)  # functions whose cells were not run


@dataclass
class Ended:
    status: int = 0  # as subprocess gives it: negative for a signal
    timed_out: bool = False
    flooded: bool = False
    events: list = field(default_factory=list)


def describe(module, sanitize="", reference=False, folder=None):
    """Builds what a module's cells stand on, with tito, and returns how they are compiled."""
    tito = os.environ.get("TITO") or shutil.which("tito")
    if not tito:
        raise CannotBuild("The command line tito was not found: start the notebook with 'tito notebook', or set TITO to its path.")
    command = [tito, "notebook", module, "--describe"]
    if sanitize:
        command.append(f"--sanitize={sanitize}")
    if reference or os.environ.get("TITO_REFERENCE"):
        command.append("--reference")
    where = os.environ.get("TITO_NOTEBOOK_ROOT") or folder or os.getcwd()
    done = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False, start_new_session=True)
    if done.returncode != 0:
        raise CannotBuild((done.stdout + done.stderr).strip() or f"{shlex.join(command)} failed")
    return json.loads(done.stdout[done.stdout.index("{"):])


def demangled(symbols):
    if not symbols or not shutil.which("c++filt"):
        return symbols
    return subprocess.run(["c++filt", *symbols], capture_output=True, text=True, check=False).stdout.split("\n")[:len(symbols)]


FOLDERS = "tinytorch-kernel-"


def sweep():
    """Removes what kernels left that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(FOLDERS + "*-*"):
        owner = folder.name.removeprefix(FOLDERS).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists() and Path("/proc/self").exists():
            shutil.rmtree(folder, ignore_errors=True)


def die_with_parent():
    """Linux ends the process when the kernel is killed."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    except (OSError, AttributeError):
        pass


class Workshop:
    """A folder of its own in which cells become programs."""

    def __init__(self, package):
        self.package = package
        self.root = Path(package["root"])
        sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=f"{FOLDERS}{os.getpid()}-"))
        self.outside = Path(tempfile.mkdtemp(prefix=f"{FOLDERS}{os.getpid()}-")) if os.environ.get("TITO_SANDBOX") else None
        self.runs = 0
        self.apart = []  # objects that are linked with the cell's
        self.kept = {}  # by source file and level: the unit whose objects lie in the folder
        self.capabilities = package.get("capabilities", {})  # of a source file: the CPU capabilities it is compiled for, with their flags
        self.with_behind = True  # link the library chapters behind the lesson

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.outside:
            shutil.rmtree(self.outside, ignore_errors=True)

    def compile(self, unit, level, only_check=False):
        self.apart = []
        self.unit = self.folder / "cell.cpp"
        self.unit.write_text(unit, encoding="utf-8")
        done = self.call([*self.compiler(level), *(["-fsyntax-only", str(self.unit)] if only_check else self.into("cell"))])
        return Compiled(done.returncode == 0, done.stderr + done.stdout)

    def compile_apart(self, unit, files, level, same):
        """Compiles a cell's unit and, beside it, `files`: units by name. One is kept while `same(name, unit, the one before)`."""
        folder = self.folder / "files"
        folder.mkdir(exist_ok=True)
        (self.folder / "cell.cpp").write_text(unit, encoding="utf-8")
        # Of an inline function the linker keeps the first copy: those for one CPU capability come last.
        names = sorted(files, key=lambda name: name in self.capabilities)
        keys = {name: (name, "" if name in self.capabilities else level) for name in names}
        stale = [name for name in names if keys[name] not in self.kept or not same(name, files[name], self.kept[keys[name]])]
        commands = [[*self.compiler(level), *self.into("cell")]]
        for name in stale:
            self.kept.pop(keys[name], None)
            for object, compiler in self.objects_of(name, level):
                (self.folder / (object + ".cpp")).write_text(files[name], encoding="utf-8")
                commands.append([*compiler, *self.into(object)])
        done = self.call_all(commands)
        outcomes = iter(done[1:])
        for name in stale:
            if not any([next(outcomes).returncode for _ in self.objects_of(name, level)]):
                self.kept[keys[name]] = files[name]
        self.apart = [str(self.folder / (object + ".o")) for name in names for object, _ in self.objects_of(name, level)]
        return Compiled(all(ended.returncode == 0 for ended in done), "".join(ended.stderr + ended.stdout for ended in done))

    def objects_of(self, file, level):
        """What a source file is compiled to, with the compiler for each: one object, or one for each CPU capability."""
        name = "files/" + re.sub(r"\W", "_", file)
        if file not in self.capabilities:
            return [(name + level.replace("-", "_"), self.compiler(level))]
        # Behind no precompiled header, which has other flags: such a file includes what it needs.
        plain = self.compiler(level, precompiled=False)
        return [(f"{name}_{capability}", [*plain, *shlex.split(flags), f"-DTINYTORCH_CAPABILITY={capability}"])
                for capability, flags in self.capabilities[file].items()]

    def compiler(self, level, precompiled=True):
        package = self.package
        header = ["-include", package["header"][level]] if precompiled else []
        return [*shlex.split(package["compile"][level]), *header, "-I", package["stand_ins"], "-I", package["late_folder"]]

    def into(self, name):
        return ["-c", str(self.folder / (name + ".cpp")), "-o", str(self.folder / (name + ".o"))]

    def link(self, registering=False):
        """Calls of functions whose cells were not run yet throw an error that says so. `registering`: with what the library chapters
        behind the lesson register, which wants all of the lesson that they stand on, so that nothing may be missing."""
        self.program = self.folder / "cell"
        done = self.call(self.link_command([self.registrations()] if registering else []))
        if done.returncode == 0:
            return Compiled(True)
        symbols = sorted(set(UNDEFINED.findall(done.stderr)))
        names = demangled(symbols)
        if not symbols or registering:
            return Compiled(False, done.stderr)
        self.write_stand_ins(symbols, names)
        stand_in = str(self.folder / "missing.o")
        made = self.call([*shlex.split(self.package["link"]), "-O0", "-w", "-c", str(self.folder / "missing.cpp"), "-o", stand_in])
        again = self.call(self.link_command([stand_in])) if made.returncode == 0 else made
        return Compiled(again.returncode == 0, again.stderr, [name.removeprefix("tinytorch::") for name in names])

    @property
    def can_register(self):
        return self.with_behind and bool(self.package.get("late_registrations"))

    def registrations(self):
        """The object that joins what the chapters behind the lesson register."""
        made = self.folder / "registrations.o"
        if not made.exists():
            source = self.folder / "registrations.cpp"
            source.write_text(self.package["late_registrations"], encoding="utf-8")
            self.call([*shlex.split(self.package["link"]), "-std=c++20", "-O0", "-c", str(source), "-o", str(made)])
        return str(made)

    def link_command(self, more):
        behind = self.package.get("late_objects", []) if self.with_behind else []
        # Of what stands behind the lesson only what is called; and where a cell defines the same, the cell's counts.
        flags = ["-Wl,--gc-sections", "-Wl,-z,muldefs"] if behind else []
        return [*shlex.split(self.package["link"]), "-Wl,--no-demangle", *flags, *self.package["objects"], str(self.folder / "cell.o"),
                *self.apart, *more, *behind, "-lz", "-o", str(self.program)]

    def write_stand_ins(self, symbols, names):
        lines = ["#include <stdexcept>", "#include <string>",
                 "[[noreturn]] static void missing(const char* name) {",
                 '  throw std::logic_error(std::string(name) + " is declared, but the cell that defines it was not run");', "}"]
        for symbol, name in zip(symbols, names):
            text = json.dumps(name)
            if "(" in name:
                lines.append(f'extern "C" void {symbol}() {{ missing({text}); }}')
            else:  # a variable, or a table of virtual functions
                lines.append(f"static void of_{symbol}() {{ missing({text}); }}")
                entries = ", ".join([f"reinterpret_cast<void*>(of_{symbol})"] * 64)
                start = "nullptr, nullptr, " if symbol.startswith("_ZTV") else ""
                table = f"{{{start}{entries}}}" if symbol.startswith("_ZTV") else "{}"
                lines.append(f'extern "C" {{ extern void* {symbol}[512]; void* {symbol}[512] = {table}; }}')
        (self.folder / "missing.cpp").write_text("\n".join(lines) + "\n")

    def sandboxed(self, command, *more):
        """The command as `tito grade` runs submissions, where TITO_SANDBOX asks for it: it reaches what the cells stand on and this folder."""
        if not os.environ.get("TITO_SANDBOX"):
            return command
        package = self.package
        readable = [package["folder"], package["runtime"], *(str(path) for path in [self.root / "build/objects", self.root / "data"] if path.exists())]
        words = [word for path in readable for word in ("--read", path)]
        return [os.environ["TITO"], "sandbox", "--folder", str(self.outside), "--directory", str(self.root), *words, "--write", str(self.folder),
                *more, "--", *command]

    def call(self, command):
        return self.call_all([command])[0]

    def call_all(self, commands):
        """Runs the commands, as many at once as there are processors."""
        done = []
        at_once = os.cpu_count() or 1
        for first in range(0, len(commands), at_once):
            running = []
            try:
                for command in commands[first:first + at_once]:
                    command = self.sandboxed(command, "--starts-programs")
                    running.append(subprocess.Popen(command, cwd=self.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                                    stderr=subprocess.PIPE, text=True, errors="replace", start_new_session=True))
                for process in running:
                    out, err = process.communicate()
                    done.append(subprocess.CompletedProcess(process.args, process.returncode, out, err))
            except BaseException:  # also when the kernel is interrupted
                for process in running:
                    stop(process)
                raise
        return done

    def run(self, arguments, on_output, seconds, memory, output_bytes=2 << 20):
        """Runs the program; `on_output` gets what it prints, piece by piece. Events of its tests come back."""
        self.runs += 1
        report = self.folder / f"report-{self.runs}.jsonl"
        arguments = [f"--json={report}" if argument == "--json" else argument for argument in arguments]
        sanitized = memory == 0

        def limits():
            die_with_parent()
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            if not sanitized:
                resource.setrlimit(resource.RLIMIT_AS, (memory, memory))

        environment = {**os.environ, "TITO_DISPLAY": "1", "ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=1:hard_rss_limit_mb=4096",
                       "UBSAN_OPTIONS": "print_stacktrace=1", "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1"}
        environment.pop("TITO_TESTS", None)
        # The thread sanitizer wants addresses that stay in place.
        wrapper = ["setarch", "-R"] if "-fsanitize=thread" in self.package["link"] and shutil.which("setarch") else []
        variables = [word for name in ("TITO_DISPLAY", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS")
                     for word in ("--variable", f"{name}={environment[name]}")]
        command = self.sandboxed([*wrapper, str(self.program), *arguments], *variables)
        process = subprocess.Popen(command, cwd=self.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, env=environment, preexec_fn=limits, start_new_session=True)
        ended = Ended()
        try:
            self.follow(process, on_output, seconds, output_bytes, ended)
        except BaseException:
            stop(process)
            raise
        ended.status = process.returncode
        ended.events = read_events(report)
        report.unlink(missing_ok=True)
        return ended

    @staticmethod
    def follow(process, on_output, seconds, output_bytes, ended):
        deadline = time.monotonic() + seconds
        total = 0
        descriptor = process.stdout.fileno()
        os.set_blocking(descriptor, False)
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    ended.timed_out = True
                    return stop(process)
                if not selector.select(min(left, 1)):
                    if process.poll() is not None:  # a grandchild may hold the pipe open
                        return stop(process)
                    continue
                piece = os.read(descriptor, 1 << 16)
                if not piece:
                    break
                total += len(piece)
                if total > output_bytes:
                    ended.flooded = True
                    return stop(process)
                on_output(piece)
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            ended.timed_out = True
        stop(process)

    def places(self, addresses):
        """In[n]:line of each address that lies in a cell, innermost first."""
        if not addresses or not shutil.which("addr2line"):
            return []
        words = [hex(address - (index > 0)) for index, address in enumerate(addresses)]
        done = self.call(["addr2line", "--inlines", f"--exe={self.program}", *words])
        found = re.findall(r"(In\[\d+\]):(\d+)", done.stdout)
        return [f"{name}:{line}" for name, line in dict.fromkeys(found)]


def stop(process):
    """Ends the process and all that it started: first asks, so that it can say where it was."""
    for number, patience in ((signal.SIGTERM, 1), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)
        except (ProcessLookupError, PermissionError):
            pass
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            continue
        if number == signal.SIGKILL:
            break


def read_events(report):
    events = []
    if report.exists():
        for line in report.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                events.append(json.loads(line))
            except json.JSONDecodeError:  # cut off in the middle
                continue
    return events


def messages(text):
    """The compiler's messages: a dict for each, with the lines that show the code under "more"."""
    out = []
    for line in text.splitlines():
        match = MESSAGE.match(line)
        if match:
            out.append({**match.groupdict(), "more": []})
        elif out and not re.match(r"^(In file included|\s+from |.*: (In|At) |cc1plus)", line):
            out[-1]["more"].append(line)
    return out


def undeclared(text):
    names = []
    for match in UNDECLARED.finditer(text):
        name = (match.group("name") or match.group("type")).split("::")[-1]
        if name not in names:
            names.append(name)
    return names
