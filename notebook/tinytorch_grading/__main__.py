"""What `tito grade` does with nbgrader, in an instructor's folder. tito has set TITO, and runs this there."""

import argparse
import datetime
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import nbformat
from nbconvert.preprocessors import ClearMetadataPreprocessor
from nbgrader import preprocessors
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps import NbGraderAPI
from sqlalchemy.exc import SAWarning
from tinytorch_kernel.convert import convert, write_atomically
from traitlets.config.loader import Config, PyFileConfigLoader

from tinytorch_grading.preprocessors import grade_id, run_tito

ROOT = Path.cwd()
OWN = ROOT / ".tito"
LARGEST_SUBMISSION = 256 << 20  # bytes; the outputs that a notebook was saved with do not count for anything else
STUDENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]*")


class Failure(Exception):
    """Its text is for the instructor."""


def say(text):
    print(text, flush=True)


class Progress:
    """A bar on a terminal's standard error; elsewhere a line now and then."""

    def __init__(self, label, total):
        self.label, self.total, self.done, self.terminal = label, total, 0, sys.stderr.isatty()

    def step(self):
        self.done += 1
        if self.terminal:
            filled = 30 * self.done // max(self.total, 1)
            end = "\r\033[K" if self.done == self.total else ""
            print(f"\r\033[K{self.label} [{'#' * filled}{'.' * (30 - filled)}] {self.done}/{self.total}{end}", end="", file=sys.stderr, flush=True)
        elif self.done % 25 == 0 and self.done < self.total:
            print(f"{self.label}: {self.done} of {self.total}", file=sys.stderr, flush=True)


def course_config():
    config = PyFileConfigLoader("nbgrader_config.py", path=str(ROOT)).load_config()
    # Every step runs in one process, and says itself what went wrong.
    config.merge(Config({"CourseDirectory": {"root": str(ROOT)}, "Application": {"log_level": 40}}))
    return config


def api_with(**traits):
    config = course_config()
    for name, values in traits.items():
        config.merge(Config({name: values}))
    return NbGraderAPI(config=config)


def require(answer, what):
    if answer["success"]:
        return
    said = f"{answer.get('log') or ''}\n{answer.get('error') or ''}".strip()
    # nbgrader's own last word is only that there are errors above it.
    causes = [line for line in said.splitlines() if re.match(r"\s*[\w.]*(Error|Exception): ", line) and "the above traceback" not in line]
    raise Failure(f"{what}: {(causes or said.splitlines() or ['nbgrader does not say why'])[-1].strip()}")


def notebook_name(module):
    return module.split("_", 1)[1] + "_dev"


def write_notebook(path, notebook):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, nbformat.writes(notebook) + "\n")


def assign(options):
    """tito has written the two texts: the instructor's, and the student's copy."""
    module = options.module
    for text, notebook in ((OWN / "text" / (module + ".cpp"), ROOT / "source" / module / (notebook_name(module) + ".ipynb")),
                           (OWN / "student" / (module + ".cpp"), OWN / "student" / (module + ".ipynb"))):
        write_notebook(notebook, convert(text.read_text(encoding="utf-8"), module))
    say(f"source/{module} has the assignment, with solutions and hidden tests. Next: tito grade release {module[:2]}")


def lines_of(source):
    return [line.rstrip() for line in source.splitlines() if line.strip()]


def check_release(module, notebook):
    """What students get is tito's student's copy, cell by cell, and nothing besides."""
    copy = nbformat.read(OWN / "student" / (module + ".ipynb"), as_version=4)
    wanted = [cell for cell in copy.cells if lines_of(cell.source)]
    given = [cell for cell in notebook.cells if lines_of(cell.source)]
    if len(wanted) != len(given):
        raise Failure(f"the release has {len(given)} cells, the student's copy {len(wanted)}; nothing is released")
    for mine, theirs in zip(wanted, given):
        if lines_of(mine.source) != lines_of(theirs.source):
            raise Failure(f"the cell {grade_id(theirs) or theirs.id} is not that of the student's copy; nothing is released")


def release(options):
    module = options.module
    if not (ROOT / "source" / module).is_dir():
        raise Failure(f"there is no source/{module}: tito grade assign {module[:2]} makes it")
    require(api_with().generate_assignment(module, force=True, create=True), f"{module} could not be released")
    path = ROOT / "release" / module / (notebook_name(module) + ".ipynb")
    try:
        check_release(module, nbformat.read(path, as_version=4))
    except Failure:
        shutil.rmtree(path.parent)
        raise
    with Gradebook("sqlite:///" + str(ROOT / "gradebook.db")) as gradebook:
        assignment = gradebook.find_assignment(module)
        say(f"release/{module} is what students get: {assignment.max_code_score:g} points by tests, {assignment.max_written_score:g} by hand")


def found_submissions(module, folder):
    """student -> file: FOLDER/STUDENT.ipynb (or .cpp), or FOLDER/STUDENT/... with the module's notebook or file in it."""
    name = notebook_name(module)
    found = {}
    for entry in sorted(Path(folder).iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.suffix in (".ipynb", ".cpp") and (entry.is_file() or entry.is_symlink()):
            found[entry.stem] = entry
        elif entry.is_dir():
            files = [file for suffix in (".ipynb", ".cpp") for file in entry.rglob(name + suffix)
                     if ".ipynb_checkpoints" not in file.parts and ".tito" not in file.parts and file.is_file()]
            if files:
                found[entry.name] = max(files, key=lambda file: file.stat().st_mtime)
            else:
                say(f"{entry}: has no {name}.ipynb or {name}.cpp; left out")
    return found


def as_notebook(file, module):
    if file.suffix == ".ipynb":
        return nbformat.read(file, as_version=4)
    return convert(file.read_text(encoding="utf-8", errors="replace"), module)


def released_metadata(module):
    path = ROOT / "release" / module / (notebook_name(module) + ".ipynb")
    if not path.exists():
        raise Failure(f"{module} is not released: tito grade release {module[:2]}")
    return {grade_id(cell): cell.metadata.nbgrader for cell in nbformat.read(path, as_version=4).cells if grade_id(cell)}


def readable_submission(file, folder, module, metadata):
    """The file as a notebook with the released metadata, and without what does not count. Raises Failure with what is wrong with it."""
    if file.resolve() != folder.resolve() / file.relative_to(folder):  # it may lead to the solutions, or to another student's work
        raise Failure("is a link, or lies behind one; what is handed in must be the file itself")
    if file.stat().st_size > LARGEST_SUBMISSION:
        raise Failure(f"has {file.stat().st_size >> 20} MB, and no submission needs more than {LARGEST_SUBMISSION >> 20}")
    try:
        notebook = as_notebook(file, module)
        released = dict(metadata)
        for cell in reversed(notebook.cells):
            # Of an exercise that was copied the last one counts. A module file has not the checksums by which nbgrader sees that an answer is untouched.
            about = released.pop(grade_id(cell), None)
            cell.metadata.pop("nbgrader", None)
            if about is not None:
                cell.metadata["nbgrader"] = about
            if cell.cell_type == "code":
                cell.outputs = []
    except Exception as problem:  # a damaged file of one student must not stop the others
        raise Failure(f"cannot be read ({(str(problem).splitlines() or [type(problem).__name__])[0]})") from problem
    return notebook


def collect(options):
    module = options.module
    metadata = released_metadata(module)
    found = found_submissions(module, options.folder)
    new = same = 0
    for student, file in found.items():
        if not STUDENT_ID.fullmatch(student):
            say(f"{file}: '{student}' is no name for a student (letters, digits and _ . @ -); left out")
            continue
        try:
            notebook = readable_submission(file, Path(options.folder), module, metadata)
        except Failure as problem:
            say(f"{file}: {problem}; left out")
            continue
        target = ROOT / "submitted" / student / module / (notebook_name(module) + ".ipynb")
        text = nbformat.writes(notebook) + "\n"
        if target.exists() and target.read_text(encoding="utf-8") == text:
            same += 1
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, text)
        handed_in = datetime.datetime.fromtimestamp(file.stat().st_mtime, datetime.timezone.utc)
        (target.parent / "timestamp.txt").write_text(handed_in.strftime("%Y-%m-%d %H:%M:%S UTC"), encoding="utf-8")
        new += 1
    say(f"{module}: {new} submissions collected, {same} unchanged. Next: tito grade autograde {module[:2]}")


def submissions(module, student):
    found = {path.parent.parent.name: path
             for path in sorted((ROOT / "submitted").glob(f"*/{module}/{notebook_name(module)}.ipynb"))}
    if not found:
        raise Failure(f"there are no submissions of {module}: tito grade collect {module[:2]} FOLDER")
    if not student:
        return found
    if student not in found:
        raise Failure(f"{student} has handed in no {module}")
    return {student: found[student]}


def test_score(module, student):
    """The points by tests in the gradebook; None where there is no whole grade."""
    with Gradebook("sqlite:///" + str(ROOT / "gradebook.db")) as gradebook:
        try:
            submission = gradebook.find_submission(module, student)
        except MissingEntry:
            return None
        scores = [grade.auto_score for notebook in submission.notebooks for grade in notebook.grades
                  if grade.cell.cell_type == "code"]
        return None if not scores or any(score is None for score in scores) else sum(scores)


def recorded_file(module, student):
    return OWN / "recorded" / module / (student + ".json")


def is_recorded(module, student, key, grade):
    try:
        recorded = json.loads(recorded_file(module, student).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    graded = ROOT / "autograded" / student / module / (notebook_name(module) + ".ipynb")
    return recorded.get("key") == key and graded.exists() and test_score(module, student) == grade["score"]


def record(api, module, student, key, grade):
    require(api.autograde(module, student, force=True, create=True), f"{student} could not be graded")
    score = test_score(module, student)
    if score != grade["score"]:
        raise Failure(f"{student}: the gradebook says {score} points, the tests gave {grade['score']}")
    file = recorded_file(module, student)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps({"key": key, "score": score}) + "\n")


def autograde(options):
    if options.kernel:
        autograde_in_kernel(options)
        return
    module = options.module
    found = submissions(module, options.student)
    grades = OWN / "grades" / module
    work = OWN / "work" / module
    work.mkdir(parents=True, exist_ok=True)
    files = []
    for student, path in found.items():
        link = work / (student + ".ipynb")
        link.unlink(missing_ok=True)
        link.symlink_to(path)
        files.append(link)
    arguments = ["--no-isolation"] if options.no_isolation else []
    for name in ("stage", "seconds"):
        if getattr(options, name):
            arguments += ["--" + name, str(getattr(options, name))]
    status = run_tito(module, files, grades, arguments)
    if status not in (0, 1):
        raise Failure("the grader did not come to its end; what is graded is kept, and the same command goes on from there")
    api = api_with(FastPath={"ready": True})
    progress = Progress("recording " + module, len(found))
    new = kept = 0
    left_out = []
    for student, path in found.items():
        progress.step()
        file = grades / (student + ".json")
        if not file.exists():
            left_out.append(student)
            continue
        text = file.read_bytes()
        key = hashlib.sha256(text + path.read_bytes()).hexdigest()
        grade = json.loads(text)
        if is_recorded(module, student, key, grade):
            kept += 1
            continue
        try:
            record(api, module, student, key, grade)
        except Failure as problem:  # the others have their grades
            say(str(problem))
            left_out.append(student)
            continue
        new += 1
    say(f"{module}: {new} graded, {kept} had their grade already" + (f"; no grade for {', '.join(left_out)}" if left_out else ""))
    if status != 0 or left_out:
        raise Failure("not every submission has a grade")


def check_sandbox():
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([os.environ["TITO"], "sandbox", "--folder", folder, "--directory", "/", "--", "true"], capture_output=True, text=True,
                              check=False)
    if done.returncode != 0:
        raise Failure((done.stdout + done.stderr).strip())


def prepare_kernel(module, isolated):
    """Makes the kernel known to nbgrader alone, and has it run the notebooks."""
    jupyter = OWN / "jupyter"
    spec = {"argv": [sys.executable, "-m", "tinytorch_kernel", "-f", "{connection_file}"], "display_name": "C++20 (TinyTorch)",
            "language": "c++", "interrupt_mode": "message",
            "env": {"PYTHONPATH": os.environ["PYTHONPATH"], "TITO": os.environ["TITO"], "TITO_ROOT": os.environ["TITO_ROOT"],
                    "TITO_NOTEBOOK_ROOT": os.environ["TITO_ROOT"], "TITO_MODULE": module, "TITO_CELL_SECONDS": "20", "TITO_GRADES": "1",
                    "TITO_SANDBOX": "1" if isolated else ""}}
    (jupyter / "kernels/tinytorch").mkdir(parents=True, exist_ok=True)
    write_atomically(jupyter / "kernels/tinytorch/kernel.json", json.dumps(spec, indent=1) + "\n")
    os.environ["JUPYTER_PATH"] = str(jupyter)
    steps = [preprocessors.Execute, ClearMetadataPreprocessor, preprocessors.LimitOutput, preprocessors.SaveAutoGrades,
             preprocessors.AssignLatePenalties, preprocessors.CheckCellMetadata]
    return api_with(Autograde={"autograde_preprocessors": steps}, Execute={"timeout": 300})


def autograde_in_kernel(options):
    """The same through Jupyter, cell by cell; compared with tito's own grades where there are any."""
    if not options.no_isolation:
        check_sandbox()
    module = options.module
    found = submissions(module, options.student)
    api = prepare_kernel(module, not options.no_isolation)
    progress = Progress("running the notebooks of " + module, len(found))
    differences = []
    for student in found:
        require(api.autograde(module, student, force=True, create=True), f"{student} could not be graded")
        recorded_file(module, student).unlink(missing_ok=True)
        file = OWN / "grades" / module / (student + ".json")
        score = test_score(module, student)
        if file.exists() and json.loads(file.read_text(encoding="utf-8"))["score"] != score:
            differences.append(f"{student} {score:g} instead of {json.loads(file.read_text(encoding='utf-8'))['score']:g}")
        progress.step()
    say(f"{module}: {len(found)} graded by the kernel")
    if differences:
        raise Failure("tito's own grades differ: " + ", ".join(differences))


def feedback(options):
    module = options.module
    api = api_with()
    graded = [student for student in submissions(module, options.student)
              if (ROOT / "autograded" / student / module).is_dir()]
    progress = Progress("writing feedback for " + module, len(graded))
    for student in graded:
        require(api.generate_feedback(module, student, force=True), f"no feedback for {student}")
        progress.step()
    say(f"feedback/STUDENT/{module} has a page for each of {len(graded)} students")


def export(options):
    command = [sys.executable, "-m", "nbgrader", "export", "--to", options.to, "--log-level", "ERROR"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure("nbgrader could not export the gradebook: " + done.stderr.strip()[-300:])
    say(f"wrote {options.to}")


def report(options):
    module = options.module
    grades = [json.loads(file.read_text(encoding="utf-8")) for file in sorted((OWN / "grades" / module).glob("*.json"))]
    if not grades:
        raise Failure(f"no submission of {module} is graded yet: tito grade autograde {module[:2]}")
    cells, passed, states, mistakes, sentences = {}, Counter(), {}, Counter(), {}
    for grade in grades:
        for cell in grade["cells"]:
            cells[cell["grade_id"]] = cell["points"]
            passed[cell["grade_id"]] += cell["passed"]
        for answer in grade["answers"]:
            states.setdefault(answer["grade_id"], Counter())[answer["state"]] += 1
        for mistake in grade["mistakes"]:
            mistakes[mistake["mistake"]] += 1
            sentences[mistake["mistake"]] = mistake["says"]
    summary = {"module": module, "submissions": len(grades), "points": grades[0]["points"],
               "mean": sum(grade["score"] for grade in grades) / len(grades),
               "tests": [{"grade_id": name, "points": points, "passed": passed[name], "rate": passed[name] / len(grades)}
                         for name, points in cells.items()],
               "exercises": [{"grade_id": name, **counts} for name, counts in states.items()],
               "mistakes": [{"mistake": name, "students": count, "says": sentences[name]} for name, count in mistakes.most_common()]}
    if options.json:
        say(json.dumps(summary, indent=1))
        return
    say(f"{module}: {len(grades)} submissions, {summary['mean']:.1f} of {summary['points']:g} points by tests on average\n")
    say("passed   points  test")
    for test in summary["tests"]:
        say(f"{test['passed']:4} {test['rate']:4.0%}  {test['points']:5g}  {test['grade_id']}")
    idle = [f"{entry['grade_id']} ({', '.join(f'{entry[state]} {state}' for state in ('empty', 'missing', 'refused') if entry.get(state))})"
            for entry in summary["exercises"] if any(entry.get(state) for state in ("empty", "missing", "refused"))]
    if idle:
        say("\nexercises without an answer that compiles: " + ", ".join(idle))
    if mistakes:
        say("\nmost common known mistakes")
        for entry in summary["mistakes"][:10]:
            say(f"{entry['students']:4}  {entry['mistake']}\n      {entry['says']}")


def main():
    parser = argparse.ArgumentParser(prog="tito grade")
    commands = parser.add_subparsers(required=True)

    def add(run, *arguments):
        command = commands.add_parser(run.__name__)
        command.set_defaults(run=run)
        for names, settings in arguments:
            command.add_argument(*names, **settings)

    module = (["module"], {})
    student = (["--student"], {})
    add(assign, module)
    add(release, module)
    add(collect, module, (["folder"], {}))
    add(autograde, module, student, (["--no-isolation"], {"action": "store_true"}),
        (["--kernel"], {"action": "store_true"}), (["--stage"], {}), (["--seconds"], {}))
    add(feedback, module, student)
    add(export, (["--to"], {"default": "grades.csv"}))
    add(report, module, (["--json"], {"action": "store_true"}))
    options = parser.parse_args()
    # Of nbgrader's own use of its database; nothing that an instructor could do about it.
    warnings.filterwarnings("ignore", category=SAWarning)
    sys.stdout.reconfigure(errors="backslashreplace")  # a file may be called anything
    os.chdir(ROOT)
    try:
        options.run(options)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
