"""How long a class takes, and that a kill in the middle loses and doubles nothing.

    python3 measure_class.py 05 100 [--gradebook] [--kill-at 40] [--folder DIR] [tito grade run's options]

The eight submissions again and again, each with a declaration of its own in every exercise, so that all of it is compiled for every one of them. With --gradebook, the class
goes through `tito grade init` to `autograde`, so that each grade also stands in nbgrader's gradebook; python3 is then one that has notebook/grading.txt. With --kill-at, grading is
killed when so many grades are there, and the same command goes on; with --gradebook it is killed again when so many are recorded. With --folder, a measurement that was cut off
goes on as well. Prints the time on the clock and that of the processors, which other work on the machine does not lengthen.
"""

import argparse
import ctypes
import json
import os
import resource
import signal
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TITO = os.environ.get("TITO", str(ROOT / "build/cli/tito"))


def write_class(module, count, folder):
    """Files of `count` students, and the points that each must get."""
    subprocess.run([TITO, "grade", "eight", module, "--write", str(folder / "eight")], check=True)
    expected = next(scores for name, scores in json.loads((ROOT / "tests/grading/expected.json").read_text()).items() if name.startswith(module))
    eight = sorted((folder / "eight").glob("*.cpp"))
    (folder / "in").mkdir(exist_ok=True)
    files, points = [], {}
    for i in range(count):
        source = eight[i % len(eight)]
        text = source.read_text().replace('"solution": true, "task": false}}\n', f'"solution": true, "task": false}}}}\nstruct Student{i};\n')
        files.append(folder / "in" / f"student{i:03}.cpp")
        files[-1].write_text(text)
        points[files[-1].stem] = expected[source.stem]
    return files, points


def whole_grades(folder):
    """name -> (points, when it was written), of the grades that are there."""
    return {path.stem: (json.loads(path.read_text())["score"], path.stat().st_mtime_ns) for path in folder.glob("*.json")}


PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans():
    """What runs in a sandbox is left behind by bubblewrap when it ends; its time counts only for who waits for it."""
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0, "this process cannot wait for orphans"


def processor_seconds():
    """Of all processes that have ended; no child may be running."""
    try:
        while os.waitpid(-1, 0):
            pass
    except ChildProcessError:
        pass
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def kill_when_there(command, course, folder, wanted):
    """Runs the command until `wanted` files are in `folder`."""
    process = subprocess.Popen(command, cwd=course, start_new_session=True)
    while len(list(folder.glob("*.json"))) < wanted and process.poll() is None:
        time.sleep(0.05)
    assert process.poll() is None, "it ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    print(f"killed with {len(list(folder.glob('*.json')))} in {folder.parent.name}", flush=True)


def make_course(module, folder):
    """An instructor's folder that has collected the class."""
    course = folder / "course"
    steps = [["init", str(course)], ["assign", module], ["release", module], ["collect", module, str(folder / "in")]]
    for step in steps[course.exists():]:
        subprocess.run([TITO, "grade", *step], cwd=folder if step[0] == "init" else course, check=True)
    return course


def check_gradebook(course, points, recorded, resumed):
    """Each student stands in it once, with the right points. Prints what recording took where nothing was compiled in between."""
    from class_of_eight import gradebook

    assert gradebook(course) == points, f"the gradebook has {gradebook(course)} instead of {points}"
    stamps = sorted(stamp for stamp in (path.stat().st_mtime for path in recorded.glob("*.json")) if stamp > resumed)
    if len(stamps) > 1:
        print(f"recording took {(stamps[-1] - stamps[0]) / (len(stamps) - 1):.2f} s each, seen {len(stamps) - 1} times")


def measure(module, count, arguments, options, folder):
    adopt_orphans()
    files, points = write_class(module, count, folder)
    course, grades = ROOT, folder / "grades"
    command = [TITO, "grade", "run", module, *map(str, files), "--out", str(grades), "--quiet", *options]
    if arguments.gradebook:
        course = make_course(module, folder)
        name = next((course / "release").iterdir()).name
        grades, recorded = (course / ".tito" / what / name for what in ("grades", "recorded"))
        command = [TITO, "grade", "autograde", module, *options]
    start, before = time.monotonic(), len(list(grades.glob("*.json")))
    used = processor_seconds()
    killed = {}
    if arguments.kill_at:
        kill_when_there(command, course, grades, arguments.kill_at)
        killed = whole_grades(grades)
        if arguments.gradebook:
            kill_when_there(command, course, recorded, arguments.kill_at)
    resumed = time.time()
    subprocess.run(command, cwd=course, check=True)
    seconds, used = time.monotonic() - start, processor_seconds() - used
    done = whole_grades(grades)
    assert {name: score for name, (score, _) in done.items()} == points, "a grade is missing or not what it must be: " + str(
        {name: (done.get(name, [None])[0], score) for name, score in points.items() if done.get(name, [None])[0] != score})
    assert all(done[name] == grade for name, grade in killed.items()), "a grade was made twice"
    if arguments.gradebook:
        check_gradebook(course, points, recorded, resumed)
    print(f"{count - before} submissions of {module} in {seconds:.0f} s ({used:.0f} s of processors, {used / max(count - before, 1):.1f} s each), "
          f"on {len(os.sched_getaffinity(0))} processors, load {os.getloadavg()[0]:.1f}; {before} had their grade already")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("count", type=int)
    parser.add_argument("--gradebook", action="store_true")
    parser.add_argument("--kill-at", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    arguments, options = parser.parse_known_args()
    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        return measure(arguments.module, arguments.count, arguments, options, arguments.folder.resolve())
    with tempfile.TemporaryDirectory(prefix="tito_class_") as name:
        measure(arguments.module, arguments.count, arguments, options, Path(name))


if __name__ == "__main__":
    main()
