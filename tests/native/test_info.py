from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from recurra import native
from recurra.kernels import section
from recurra.program import ALPHABET


def run(code: str, isa: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "RECURRA_ISA"}
    if isa is not None:
        environment["RECURRA_ISA"] = isa
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60
    )


def test_info_says_which_build_runs() -> None:
    info = native.info()
    assert info["isa"] in info["isas"]
    assert re.match(r"(gcc|clang) \d+", info["compiler"])
    assert info["tile"] % info["float32"]["lanes"] == 0
    assert info["float32"]["lanes"] == 2 * info["float64"]["lanes"]
    assert info["float32"]["panel"] == 2 * info["float32"]["lanes"]


def test_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    assert native.info()["version"] == version("recurra")


@pytest.mark.parametrize(
    "isa", native.info()["isas"][: native.info()["isas"].index(native.info()["isa"]) + 1]
)
def test_environment_chooses_the_instruction_set(isa: str) -> None:
    done = run(
        "import recurra.native as n; print(n.info()['isa'], n.info()['float32']['lanes'])", isa
    )
    assert done.returncode == 0, done.stderr
    name, lanes = done.stdout.split()
    assert name == isa
    assert int(lanes) == {"v2": 4, "v3": 8, "v4": 16}.get(isa, 4)


def test_unknown_instruction_set_is_refused() -> None:
    done = run("import recurra.native", "v9")
    assert done.returncode == 1
    assert re.search(
        r"ImportError: RECURRA_ISA must be one of '.*' on this machine, got 'v9'; unset it",
        done.stderr,
    )


def test_empty_environment_variable_is_none() -> None:
    code = "import recurra.native as n; print(n.info()['isa'])"
    assert run(code, "").stdout == run(code).stdout != ""


def test_importing_needs_neither_torch_nor_numpy() -> None:
    done = run(
        "import sys, recurra.native; print([name for name in ('torch', 'numpy') if name in"
        " sys.modules])"
    )
    assert done.stdout.strip() == "[]"


def test_numbers_are_those_of_the_alphabet() -> None:
    assert native.OPS == ALPHABET == tuple(section.OPS)
    assert tuple(section.SOURCES) == native.SOURCES
    assert tuple(section.OUTPUTS) == native.OUTPUTS
