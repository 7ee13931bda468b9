"""How long a class takes: python3 tests/grading/measure_class.py 05 100 [tito grade run's options]

The eight submissions again and again, each with a line of its own, so that every one of them is compiled.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TITO = os.environ.get("TITO", str(Path(__file__).resolve().parents[2] / "build/cli/tito"))


def main(module, count, options):
    with tempfile.TemporaryDirectory(prefix="tito_class_") as name:
        folder = Path(name)
        subprocess.run([TITO, "grade", "eight", module, "--write", str(folder / "eight")], check=True)
        texts = [path.read_text() for path in sorted((folder / "eight").glob("*.cpp"))]
        files = []
        for i in range(count):
            text = texts[i % len(texts)].replace('"solution": true, "task": false}}\n', f'"solution": true, "task": false}}}}\n// Student {i}.\n')
            files.append(folder / f"student{i:03}.cpp")
            files[-1].write_text(text)
        start = time.monotonic()
        subprocess.run([TITO, "grade", "run", module, *map(str, files), "--out", str(folder / "grades"), "--quiet", *options], check=True)
        seconds = time.monotonic() - start
        graded = len(list((folder / "grades").glob("*.json")))
        print(f"{graded} submissions of {module} in {seconds:.0f} s, {seconds / graded:.1f} s each, on {len(os.sched_getaffinity(0))} processors, "
              f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
