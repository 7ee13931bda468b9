#!/usr/bin/env python3
"""Makes data/sequences.csv, the questions of the 2017 milestone: 300 different rows "task, five digits, answer".

Task 10 asks for the digits as they are, task 11 for the digits from the last to the first; the answer is written as one number. The
program of the milestone leaves these digits out of its training. Needs nothing.

    python tests/golden/make_sequences.py
"""
import pathlib
import random

random.seed(2017)
rows, seen = [], set()
while len(rows) < 300:
    digits = tuple(random.randrange(10) for _ in range(5))
    if digits in seen:
        continue
    seen.add(digits)
    task = 10 + len(rows) % 2
    answer = digits if task == 10 else digits[::-1]
    rows.append(",".join(map(str, (task, *digits))) + "," + str(int("".join(map(str, answer)))))
path = pathlib.Path(__file__).parents[2] / "data" / "sequences.csv"
path.write_text("\n".join(rows) + "\n")
print(len(rows), "rows")
