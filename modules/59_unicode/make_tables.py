#!/usr/bin/env python3
"""Writes the tables of unicode_dev.cpp, from the Unicode Character Database as PyPI's unicodedata2 carries it.

    pip install unicodedata2==18.0.0
    python modules/59_unicode/make_tables.py             # rewrites the cell of the tables
    python modules/59_unicode/make_tables.py --check     # fails when the cell holds something else

The database is Unicode's, under the Unicode licence (https://www.unicode.org/license.txt).
"""
import pathlib
import sys

import unicodedata2 as ucd

FILE = pathlib.Path(__file__).with_name("unicode_dev.cpp")
BEGIN = "// Made by make_tables.py"
SPACES = [9, 10, 11, 12, 13, 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000]
COMPATIBILITY = [(0xF900, 0xFA6D), (0xFA70, 0xFAD9), (0x2F800, 0x2FA1D)]
POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def letter_of(point):
    """The class of a code point: l n s p m c, and x for everything else."""
    category = ucd.category(chr(point))
    if point in SPACES:
        return "s"
    if category in ("Cc", "Cf", "Co"):
        return "c"
    if category == "Mn":
        return "m"
    return {"L": "l", "N": "n", "P": "p"}.get(category[0], "x")


def classes():
    runs = []
    for point in range(0x110000):
        letter = "x" if 0xD800 <= point < 0xE000 else letter_of(point)
        if runs and runs[-1][0] == letter:
            runs[-1][1] += 1
        else:
            runs.append([letter, 1])
    return "".join(letter + (str(count) if count > 1 else "") for letter, count in runs)


def steps(mapping):
    """The mapping as runs (first, count, step, target, target step)."""
    items, runs, i = sorted(mapping.items()), [], 0
    while i < len(items):
        j = i + 1
        if j < len(items) and items[j][0] - items[i][0] <= 2:
            step, target_step = items[j][0] - items[i][0], items[j][1] - items[i][1]
            while j < len(items) and (items[j][0] - items[j - 1][0], items[j][1] - items[j - 1][1]) == (step, target_step):
                j += 1
            runs.append((items[i][0], j - i, step, items[i][1], target_step))
        else:
            runs.append((items[i][0], 1, 1, items[i][1], 0))
        i = j
    return runs


def lines_of(items, separator, width=108):
    lines, line = [], ""
    for item in items:
        if line and len(line) + len(separator) + len(item) > width:
            lines.append(line)
            line = ""
        line += (separator if line else "") + item
    return lines + [line]


def text_constant(name, comment, text, width=100):
    pieces = [text[i:i + width] for i in range(0, len(text), width)]
    return [f"// {comment}", f"constexpr std::string_view {name} ="] + [f'    "{piece}"' for piece in pieces[:-1]] + [f'    "{pieces[-1]}";']


def run_constant(name, comment, runs):
    rows = lines_of(["{%#x, %d, %d, %#x, %d}" % run for run in runs], ", ", 104)
    return [f"// {comment}", f"constexpr MappedRun {name}[] = {{"] + [f"    {row}," for row in rows[:-1]] + [f"    {rows[-1]}}};"]


def tables():
    # The lower case of U+0130 is two characters; the code knows it.
    lower = {}
    for point in POINTS:
        small = ucd_lower(point)
        if small != point:
            lower[point] = small
    single, several = {}, {}
    ideographs = {c for first, last in COMPATIBILITY for c in range(first, last + 1)}
    for point in POINTS:
        if 0xAC00 <= point < 0xD7A4 or point in ideographs or ucd.category(chr(point)) == "Mn":
            continue
        kept = [c for c in ucd.normalize("NFD", chr(point)) if ucd.category(c) != "Mn"]
        if len(kept) == 1 and ord(kept[0]) != point:
            single[point] = ord(kept[0])
        elif len(kept) > 1:
            several[point] = [ord(c) for c in kept]
    targets = "".join(ucd.normalize("NFD", chr(c)) for first, last in COMPATIBILITY for c in range(first, last + 1))
    assert len(targets) == len(ideographs)
    rows = lines_of(["{%#x, {%s}}" % (point, ", ".join("%#x" % c for c in parts)) for point, parts in several.items()], ", ", 104)
    lines = [f"{BEGIN} from the Unicode Character Database {ucd.unidata_version}."]
    lines += text_constant("kClassRuns", "From U+0000 on: the class of a run of code points, and how many there are if more than one.", classes())
    lines += ["", "// `count` code points from `first` on, `step` apart, become `target`, `target` + `target_step`, ..."]
    lines += ["struct MappedRun {", "  char32_t first;", "  std::int32_t count;", "  std::int32_t step;", "  char32_t target;", "  std::int32_t target_step;", "};"]
    lines += run_constant("kLowerRuns", "Simple lower case.", steps(lower))
    lines += run_constant("kBaseRuns", "The canonical decomposition without nonspacing marks, where that is one other character.", steps(single))
    lines += ["// The same, where more than one character is left.", "struct Decomposed {", "  char32_t from;", "  char32_t to[4];", "};"]
    lines += ["constexpr Decomposed kDecomposed[] = {"] + [f"    {row}," for row in rows[:-1]] + [f"    {rows[-1]}}};"]
    lines += text_constant("kIdeographs", "What the compatibility ideographs U+F900 to U+FA6D, U+FA70 to U+FAD9 and U+2F800 to U+2FA1D stand for.", targets, 50)
    return "\n".join(lines) + "\n"


def ucd_lower(point):
    """By str.lower(), whose database is Python's own: unicodedata2 has no case mappings."""
    small = chr(point).lower()
    return ord(small) if len(small) == 1 else point


def main():
    text = FILE.read_text()
    start = text.index(BEGIN)
    end = text.index("}  // namespace\n", start)
    fresh = text[:start] + tables() + text[end:]
    if "--check" in sys.argv:
        print("as written" if fresh == text else "the tables differ")
        raise SystemExit(fresh != text)
    FILE.write_text(fresh)
    print(len(fresh) - len(text) + end - start, "characters of tables")


if __name__ == "__main__":
    main()
