"""Which lines of csrc the tests run, by gcov: native_lines.py [PATHS], each with every instruction
set that this machine has.

A line counts as run where one of the instruction sets, or one instance of a template, ran it. Sets
that this machine cannot run are left out.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "coverage"
PATHS = ("tests/native", "tests/kernels", "tests/runtime", "tests/fuzz")


def build() -> Path:
    """Build the module with counters; gives the folder to put first in PYTHONPATH."""
    cmake_dir = subprocess.check_output(
        [sys.executable, "-m", "nanobind", "--cmake_dir"], text=True
    ).strip()
    options = {
        "CMAKE_BUILD_TYPE": "Debug",
        "CMAKE_CXX_FLAGS_DEBUG": "-O1",
        "RECURRA_COVERAGE": "ON",
        "SKBUILD_PROJECT_VERSION": "0.1.0",
        "nanobind_DIR": cmake_dir,
        "Python_EXECUTABLE": sys.executable,
    }
    told = [f"-D{name}={value}" for name, value in options.items()]
    for words in (
        ["cmake", "-S", ROOT, "-B", BUILD / "cmake", *told],
        ["cmake", "--build", BUILD / "cmake", "--parallel", "2"],
    ):
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    room = BUILD / "recurra"
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir(parents=True)
    for path in (ROOT / "src" / "recurra").iterdir():
        if not path.name.startswith("native."):
            (room / path.name).symlink_to(path)
    (room / "native.pyi").symlink_to(ROOT / "src" / "recurra" / "native.pyi")
    for path in (BUILD / "cmake").glob("native*.so"):
        shutil.copy(path, room)
    return BUILD


def isas() -> list[str]:
    """The instruction sets that this machine runs."""
    code = "import json, recurra.native as native; print(json.dumps(native.info()))"
    said = json.loads(subprocess.check_output([sys.executable, "-c", code], text=True))
    compiled: list[str] = said["isas"]
    return compiled[: compiled.index(said["isa"]) + 1]


def run(paths: Iterable[str], room: Path, isa: str) -> None:
    """Run tests with the counting module."""
    import torch

    packages = Path(torch.__file__).parents[1]
    settings = {
        "PYTHONPATH": f"{room}:{packages}",
        "RECURRA_ISA": isa,
        "OMP_NUM_THREADS": "2",
    }
    words = [sys.executable, "-S", "-m", "pytest", "-q", "-p", "no:cacheprovider", *paths]
    subprocess.run(words, cwd=ROOT, env={**os.environ, **settings}, check=True)


def counted(skip: set[str]) -> Iterator[tuple[str, int, int]]:
    """Every line that can run, as (file, line, times)."""
    with tempfile.TemporaryDirectory() as folder:
        for note in sorted((BUILD / "cmake").rglob("*.gcno")):
            if any(f"kernels_{isa}." in str(note) for isa in skip):
                continue
            words = ["gcov", "--json-format", "--object-directory", note.parent, note]
            subprocess.run(words, cwd=folder, check=True, capture_output=True)
            for path in Path(folder).glob("*.gcov.json.gz"):
                for file in json.loads(gzip.decompress(path.read_bytes()))["files"]:
                    if "/csrc/" in file["file"]:
                        name = Path(file["file"]).name
                        for line in file["lines"]:
                            yield name, line["line_number"], line["count"]
                path.unlink()


def spans(numbers: Iterable[int]) -> str:
    """Numbers in short: 3 to 5 as 3-5."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return " ".join(f"{a}-{b}" if b > a else f"{a}" for a, b in parts)


def report(skip: set[str]) -> None:
    """Print a line for each file, the least covered first, then the total."""
    lines: dict[str, dict[int, int]] = {}
    for name, number, times in counted(skip):
        file = lines.setdefault(name, {})
        file[number] = file.get(number, 0) + times
    done = {name: sum(map(bool, counts.values())) for name, counts in lines.items()}
    print(f"{'file':<24}{'lines':>7}{'run':>7}{'share':>7}  not run")
    for name in sorted(lines, key=lambda name: done[name] / len(lines[name])):
        missing = spans(number for number, times in lines[name].items() if not times)
        share = done[name] / len(lines[name])
        print(f"{name:<24}{len(lines[name]):>7}{done[name]:>7}{share:>7.0%}  {missing}")
    every, all_done = sum(map(len, lines.values())), sum(done.values())
    left = f"; without {', '.join(sorted(skip))}, which this machine cannot run" if skip else ""
    print(f"{'total':<24}{every:>7}{all_done:>7}{all_done / every:>7.1%}{left}")


def main() -> None:
    """Build, run, report."""
    room = build()
    for old in BUILD.rglob("*.gcda"):
        old.unlink()
    here = isas()
    for isa in here:
        run(sys.argv[1:] or PATHS, room, isa)
    report({"v2", "v3", "v4", "generic"} - set(here))


if __name__ == "__main__":
    main()
