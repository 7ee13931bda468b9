#!/usr/bin/env python3
"""Makes data/lessons.txt, which the 2019 milestone learns to write, and data/lessons_next.csv, its questions.

The text is prose of the lessons of this course (modules 00 to 08 and the library chapters), as it was when the script ran: whole paragraphs in
plain ASCII. The first nine tenths are for training. From the last tenth come 400 questions: 32 bytes of text, and the byte that
follows. Needs nothing.

    python tests/golden/make_lessons_text.py
"""
import pathlib
import re

ROOT = pathlib.Path(__file__).parents[2]
CONTEXT = 32
QUESTIONS = 400


def paragraphs(file):
    cells = re.split(r"^(// %%.*)$", file.read_text(), flags=re.M)
    for head, body in zip(cells[1::2], cells[2::2]):
        if not head.startswith("// %% [markdown]"):
            continue
        lines = []
        for line in body.split("\n") + [""]:
            line = line[3:] if line.startswith("// ") else ""
            if line.startswith("BEGIN SOLUTION"):
                break
            if line and not line.startswith((" ", "#", "|", "-", "`")) and not line[0].isdigit():
                lines.append(line.strip())
                continue
            text = re.sub(r"[*`]", "", " ".join(lines))
            lines = []
            if len(text) >= 60 and text.isascii() and text[0].isupper() and not re.search(r"[|\\{}<>=\[\]_^$#%]", text):
                yield text


def main():
    files = [file for pattern in ("0[0-8]_*", "9*_*") for file in sorted(ROOT.glob(f"modules/{pattern}/*_dev.cpp"))]
    text = "\n".join(paragraph for file in files for paragraph in paragraphs(file)) + "\n"
    (ROOT / "data/lessons.txt").write_text(text)
    held_out = text[len(text) * 9 // 10:].encode()
    step = (len(held_out) - CONTEXT - 1) // QUESTIONS
    rows = [",".join(map(str, held_out[i * step:i * step + CONTEXT + 1])) for i in range(QUESTIONS)]
    (ROOT / "data/lessons_next.csv").write_text("\n".join(rows) + "\n")
    print(len(text), "characters,", len(set(text)), "different ones,", len(rows), "questions")


if __name__ == "__main__":
    main()
