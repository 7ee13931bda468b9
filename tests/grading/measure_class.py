"""How long a class takes, and that a kill in the middle loses and doubles nothing.

    python3 measure_class.py 05 100 [--kill-at 40] [--folder DIR] [tito grade run's options]

The eight submissions again and again, each with a declaration of its own in every exercise, so that all of it is compiled for every one of them. With --kill-at, grading is
killed when so many grades are there, and the same command goes on. With --folder, a measurement that was cut off goes on as well.
Prints the time on the clock and that of the processors, which other work on the machine does not lengthen.
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
    files, points = [], {}
    for i in range(count):
        source = eight[i % len(eight)]
        text = source.read_text().replace('"solution": true, "task": false}}\n', f'"solution": true, "task": false}}}}\nstruct Student{i};\n')
        files.append(folder / f"student{i:03}.cpp")
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


def measure(module, count, kill_at, options, folder):
    adopt_orphans()
    files, points = write_class(module, count, folder)
    grades = folder / "grades"
    command = [TITO, "grade", "run", module, *map(str, files), "--out", str(grades), "--quiet", *options]
    start, before = time.monotonic(), len(list(grades.glob("*.json")))
    used = processor_seconds()
    killed = {}
    if kill_at:
        process = subprocess.Popen(command, start_new_session=True)
        while len(list(grades.glob("*.json"))) < kill_at and process.poll() is None:
            time.sleep(0.2)
        assert process.poll() is None, "it ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed = whole_grades(grades)
        print(f"killed with {len(killed)} of {count} grades", flush=True)
    subprocess.run(command, check=True)
    seconds, used = time.monotonic() - start, processor_seconds() - used
    done = whole_grades(grades)
    assert {name: score for name, (score, _) in done.items()} == points, "a grade is missing or not what it must be: " + str(
        {name: (done.get(name, [None])[0], score) for name, score in points.items() if done.get(name, [None])[0] != score})
    assert all(done[name] == grade for name, grade in killed.items()), "a grade was made twice"
    print(f"{count - before} submissions of {module} in {seconds:.0f} s ({used:.0f} s of processors, {used / max(count - before, 1):.1f} s each), "
          f"on {len(os.sched_getaffinity(0))} processors, load {os.getloadavg()[0]:.1f}; {before} had their grade already")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("count", type=int)
    parser.add_argument("--kill-at", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    arguments, options = parser.parse_known_args()
    if arguments.folder:
        arguments.folder.mkdir(parents=True, exist_ok=True)
        return measure(arguments.module, arguments.count, arguments.kill_at, options, arguments.folder)
    with tempfile.TemporaryDirectory(prefix="tito_class_") as name:
        measure(arguments.module, arguments.count, arguments.kill_at, options, Path(name))


if __name__ == "__main__":
    main()
