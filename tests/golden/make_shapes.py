#!/usr/bin/env python3
"""Makes data/shapes.csv, the pictures of the 2015 milestone: 1,000 rows "x, y, radius, six numbers of two colours, noise, class", 100 of each of ten classes.

The program of the milestone draws each row as a picture of 32 x 32 pixels: a disc, ring, square, frame, triangle, plus, cross, bars, columns or chequers of one colour on another. Place, size and colours are
random, so that only the shape tells the class. Needs nothing.

    python tests/golden/make_shapes.py
"""
import pathlib
import random

random.seed(2015)
rows = []
for number in range(1000):
    while True:
        colours = [random.randrange(256) for _ in range(6)]
        if sum(abs(a - b) for a, b in zip(colours[:3], colours[3:])) >= 200:
            break
    rows.append([random.randint(12, 19), random.randint(12, 19), random.randint(8, 11), *colours, random.randrange(10000), number % 10])
random.shuffle(rows)
path = pathlib.Path(__file__).parents[2] / "data" / "shapes.csv"
path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
print(len(rows), "rows")
