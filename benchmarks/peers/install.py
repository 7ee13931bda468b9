#!/usr/bin/env python3
"""Installs peers of `tito bench` from PyPI into a virtual environment: install.py FOLDER torch numpy onnxruntime

PyPI's torch for Linux is built for NVIDIA's libraries, several gigabytes that a CPU never runs. This installs torch without them. Where one is
missing, it compiles a library of its name whose functions all answer "no device" (error 100), so that torch can be loaded and works on the CPU.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

# What torch imports, besides NVIDIA's packages and triton.
TORCH_NEEDS = ["filelock", "typing-extensions", "sympy", "networkx", "jinja2", "fsspec", "setuptools", "numpy"]
PACKAGES = {"numpy": ["numpy"], "onnxruntime": ["onnxruntime", "onnx", "numpy"]}
NO_DEVICE = 100  # cudaErrorNoDevice


def output_of(*command):
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


class Library:
    """What `readelf` says about a shared library."""

    def __init__(self, path):
        self.path = path
        self.needs = re.findall(r"\(NEEDED\).*\[(.+?)\]", output_of("readelf", "-dW", path))
        self.undefined, self.defined = {}, set()  # name -> version or ""
        for line in output_of("readelf", "--dyn-syms", "-W", path).splitlines():
            fields = line.split()
            if len(fields) < 8 or not fields[0].rstrip(":").isdigit():
                continue
            name, _, version = fields[7].replace("@@", "@").partition("@")
            if fields[6] != "UND":
                self.defined.add(name)
            elif fields[4] == "GLOBAL":
                self.undefined[name] = version
        # Which library a version of a symbol belongs to.
        self.home_of_version = {}
        library = ""
        for line in output_of("readelf", "-VW", path).splitlines():
            if found := re.search(r"Version: \d+\s+File: (\S+)", line):
                library = found[1]
            elif library and (found := re.search(r"Name: (\S+)\s+Flags", line)):
                self.home_of_version[found[1]] = library


def missing_libraries(libraries):
    """Names of needed libraries that neither torch brings nor the system has."""
    here = {library.path.name for library in libraries}
    system = output_of("/sbin/ldconfig", "-p")
    wanted = {name for library in libraries for name in library.needs}
    return sorted(name for name in wanted - here if not re.search(rf"^\s*{re.escape(name)} ", system, re.M))


def compile_stand_in(folder, name, symbols):
    """A library `name` with these functions (name -> version). Registration of kernels asks two of them for an address."""
    lines = ["static char nothing[65536];"]
    for i, symbol in enumerate(sorted(symbols)):
        answer = f"return {NO_DEVICE};"
        if symbol in ("__cudaRegisterFatBinary", "__cudaGetKernel"):
            answer = "return (long)nothing;"
        elif symbol.startswith("__cuda"):
            answer = "return 0;"
        elif symbol.endswith(("GetErrorString", "GetErrorName")):
            answer = 'return (long)"no device";'
        lines.append(f'long stand_in_{i}(void) __asm__("{symbol}"); long stand_in_{i}(void) {{ {answer} }}')
    by_version = {}
    for symbol, version in symbols.items():
        if version:
            by_version.setdefault(version, []).append(symbol)
    with tempfile.TemporaryDirectory() as work:
        source = pathlib.Path(work, "stand_in.c")
        source.write_text("\n".join(lines) + "\n")
        command = ["gcc", "-shared", "-fPIC", "-O1", "-w", f"-Wl,-soname,{name}", source, "-o", folder / name]
        if by_version:
            script = pathlib.Path(work, "versions")
            script.write_text("".join(f"{version} {{ global: {'; '.join(sorted(names))}; }};\n" for version, names in sorted(by_version.items())))
            command.insert(1, f"-Wl,--version-script={script}")
        output_of(*command)


def make_importable(torch_folder):
    folder = torch_folder / "lib"  # torch looks for libraries beside its own
    libraries = [Library(path) for path in sorted(folder.glob("*.so*"))]
    missing = missing_libraries(libraries)
    if not missing:
        return
    provided = {symbol for library in libraries for symbol in library.defined}
    symbols = {name: {} for name in missing}
    for library in libraries:
        for symbol, version in library.undefined.items():
            if (home := library.home_of_version.get(version, "")) in symbols:
                symbols[home][symbol] = version
    # A symbol without a version may come from any library: from the first one that is needed beside it and has no versions.
    plain = [name for name in missing if not symbols[name]]
    nvidia = re.compile(r"_*(cu|nccl|pnccl|nvrtc|nvshmem|nvJit|nvtx|nvml)")
    for library in libraries:
        shelter = next((name for name in library.needs if name in plain), "")
        for symbol, version in library.undefined.items():
            if shelter and not version and symbol not in provided and nvidia.match(symbol):
                symbols[shelter][symbol] = ""
    for name in missing:
        compile_stand_in(folder, name, symbols[name])
    print(f"stand-ins for {len(missing)} of NVIDIA's libraries, {sum(map(len, symbols.values()))} functions that answer 'no device'")


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    environment, names = pathlib.Path(sys.argv[1]).absolute(), sys.argv[2:]
    if unknown := set(names) - {"torch", "libtorch", *PACKAGES}:
        sys.exit(f"no such peer: {', '.join(sorted(unknown))}; there are torch (which brings libtorch), {', '.join(PACKAGES)}")
    python = environment / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for name in names:
        if name in PACKAGES:
            subprocess.run(pip + PACKAGES[name], check=True)
            continue
        subprocess.run(pip + TORCH_NEEDS, check=True)
        subprocess.run(pip + ["--no-deps", "torch"], check=True)
        make_importable(pathlib.Path(output_of(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").strip()) / "torch")
        print("torch", output_of(python, "-c", "import torch; torch.ones(2).sum(); print(torch.__version__)").strip())


if __name__ == "__main__":
    main()
