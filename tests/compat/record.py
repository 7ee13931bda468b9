#!/usr/bin/env python3
"""Builds the programs of this folder with libtorch itself and writes what they print into expected/, or with --check compares.

    tests/compat/record.py [--check] [--libtorch FOLDER] [PROGRAM...]

FOLDER has libtorch's include/ and lib/: an unpacked libtorch, or the folder torch of a Python package. Without it, the variable
TINYTORCH_LIBTORCH and then python3's own torch are tried. Exit status: 0 all good, 1 a difference, 77 no usable libtorch.
"""
import argparse
import difflib
import importlib.util
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
EXPECTED = HERE / "expected"


def skip(why):
    print(why)
    sys.exit(77)


def find_libtorch(given):
    folder = given or os.environ.get("TINYTORCH_LIBTORCH")
    if not folder:
        found = importlib.util.find_spec("torch")
        if found is None or not found.submodule_search_locations:
            skip("no libtorch: let TINYTORCH_LIBTORCH name a folder with its include/ and lib/")
        folder = found.submodule_search_locations[0]
    folder = pathlib.Path(folder)
    if not (folder / "include/ATen/ATen.h").exists():
        skip(f"{folder} has no include/ATen/ATen.h")
    return folder


def version_of(libtorch):
    text = (libtorch / "include/torch/headeronly/version.h")
    if not text.exists():
        text = libtorch / "include/torch/csrc/api/include/torch/version.h"
    return ".".join(re.search(rf"TORCH_VERSION_{part} (\d+)", text.read_text())[1] for part in ("MAJOR", "MINOR", "PATCH"))


class Builder:
    """Compiles programs against libtorch; its header, which takes most of the time, once."""

    def __init__(self, libtorch, folder):
        self.folder = folder
        include = libtorch / "include"
        self.compile = ["g++", "-std=c++20", "-O0", "-w", "-isystem", str(include), "-isystem", str(include / "torch/csrc/api/include")]
        self.link = [f"-L{libtorch / 'lib'}", f"-Wl,-rpath,{libtorch / 'lib'}", "-Wl,--no-as-needed", "-ltorch", "-ltorch_cpu", "-lc10",
                     "-Wl,--allow-shlib-undefined"]
        header = folder / "whole.h"
        header.write_text("#include <torch/torch.h>\n")
        self.run(self.compile + ["-x", "c++-header", str(header), "-o", f"{header}.gch"])
        self.compile += ["-include", str(header)]

    def run(self, command, **more):
        return subprocess.run(command, check=True, text=True, capture_output=True, **more).stdout

    def output_of(self, source):
        program = self.folder / source.stem
        self.run(self.compile + [str(source), "-o", str(program)] + self.link)
        return self.run([str(program)], cwd=self.folder, timeout=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--libtorch")
    parser.add_argument("programs", nargs="*")
    arguments = parser.parse_args()
    libtorch = find_libtorch(arguments.libtorch)
    version = version_of(libtorch)
    if arguments.check and version != (EXPECTED / "VERSION").read_text().strip():
        skip(f"libtorch {version} is here, and the outputs are those of {(EXPECTED / 'VERSION').read_text().strip()}")
    names = arguments.programs or sorted(source.stem for source in HERE.glob("*.cpp"))
    status = 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            builder = Builder(libtorch, pathlib.Path(folder))
        except subprocess.CalledProcessError as error:
            skip(f"libtorch's header does not compile here: {error.stderr[:300]}")
        for name in names:
            expected = EXPECTED / f"{name}.txt"
            try:
                output = builder.output_of(HERE / f"{name}.cpp")
            except subprocess.CalledProcessError as error:
                print(f"{name}: {' '.join(error.cmd[:1])} failed\n{error.stderr[:2000]}")
                status = 1
                continue
            if not arguments.check:
                expected.write_text(output)
            elif output != expected.read_text():
                status = 1
                print(f"{name}: libtorch prints something else than was recorded")
                print("\n".join(difflib.unified_diff(expected.read_text().splitlines(), output.splitlines(), "recorded", "libtorch", lineterm="", n=1)))
    if not arguments.check and not arguments.programs:
        EXPECTED.joinpath("VERSION").write_text(version + "\n")
    sys.exit(status)


main()
