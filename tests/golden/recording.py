"""What the record_*.py of this folder share: the packages that they need, --check, and the file that they write.

    import recording
    recording.needs("torch")  # before the imports
    ...
    recording.main(FILE, record)

Exit status: 0 the file was written, or holds what the packages give; 1 they give something else; 77 a package is not installed, or in another version
than the one that the file was recorded with.
"""
import argparse
import hashlib
import importlib
import importlib.util
import json
import pathlib
import sys

CANNOT = 77
PACKAGES = []


def cannot(why):
    print(why)
    sys.exit(CANNOT)


def needs(*packages):
    """Ends the script where a package is missing. The versions of all of them are recorded with the values."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            cannot(f"Python's package {package} is not installed")
        if package not in PACKAGES:
            PACKAGES.append(package)


def version_of(package):
    return importlib.import_module(package).__version__.split("+")[0]


def same_versions(stored):
    for package in PACKAGES:
        recorded = stored[package].split("+")[0]
        if version_of(package) != recorded:
            cannot(f"{package} {version_of(package)} is here, and the values are those of {recorded}")


LAST_DIGIT = {"Half": 2**-10, "BFloat16": 2**-7}  # by which results of half precision may differ


def same(a, b, tolerance=1e-6):
    """Equal, but for the last digits of numbers: processors round float32 differently."""
    if isinstance(a, (list, tuple)) and a and isinstance(a[0], str):
        tolerance = LAST_DIGIT.get(a[0], tolerance)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key], tolerance) for key in a)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(same(x, y, tolerance) for x, y in zip(a, b))
    return abs(a - b) <= tolerance * (1 + abs(b)) if isinstance(a, float) and isinstance(b, float) else a == b


def differences(stored, recorded):
    """The names of the entries that differ, as "group: name" where a group has named entries."""
    names = []
    for group, entries in recorded.items():
        before = stored.get(group)
        if isinstance(entries, dict) and isinstance(before, dict):
            names += [f"{group}: {name}" for name in sorted(entries.keys() | before.keys()) if not same(entries.get(name), before.get(name))]
        elif not same(entries, before):
            names.append(group)
    return names


def compact(document, breaks=()):
    """One line, but for a new one before each key in `breaks`."""
    text = json.dumps(document, separators=(",", ":"))
    for key in breaks:
        text = text.replace(f'"{key}"', f'\n"{key}"')
    return text


def row_by_row(document):
    """One line for each entry of each group: what changes shows in a difference of two versions."""
    parts = []
    for group, entries in document.items():
        rows = [f"{json.dumps(name)}: {json.dumps(entry, separators=(',', ':'))}" for name, entry in entries.items()] if isinstance(entries, dict) else []
        parts.append(f"{json.dumps(group)}: " + ("{\n" + ",\n".join(rows) + "\n}" if rows else json.dumps(entries)))
    return "{" + ", ".join(parts) + "}"


def main(file, record, layout=compact, changed=differences):
    """Writes what `record()` returns into `file`, or compares: `changed(stored, recorded)` names what differs."""
    script = pathlib.Path(sys.modules["__main__"].__file__)
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    check = parser.parse_args().check
    stored = json.loads(file.read_text()) if check else {}
    if check:
        same_versions(stored)
    if "torch" in PACKAGES:
        importlib.import_module("torch").set_num_threads(1)
    recorded = record()
    if check:
        names = changed(stored, recorded)
        print("\n".join(names) or "as recorded")
        sys.exit(bool(names))
    head = {package: version_of(package) for package in PACKAGES}
    head["script"] = hashlib.sha256(script.read_bytes()).hexdigest()
    text = layout({**head, **recorded}) + "\n"
    file.write_text(text)
    print(f"{file.name}: {len(text)} characters")
