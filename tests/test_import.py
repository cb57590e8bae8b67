from __future__ import annotations

import subprocess
import sys

import pytest

import recurra

BLOCK = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)
sys.meta_path.insert(0, Absent())
"""


def run(code: str, blocked: tuple[str, ...] = ()) -> str:
    """Run code in a fresh interpreter, with some packages absent, and return what it prints."""
    text = (BLOCK.format(blocked=blocked) if blocked else "") + code
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", text], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_import_is_quick_and_loads_neither_torch_nor_numpy() -> None:
    code = (
        "import sys, time; t = time.perf_counter(); import recurra; print(time.perf_counter() - t,"
        " *sorted(sys.modules))"
    )
    seconds, *modules = run(code).split()
    assert not {"torch", "numpy", "safetensors"} & set(modules)
    assert float(seconds) < 0.5


NEED_TORCH = (
    "bench",
    "cells",
    "convert",
    "engine",
    "init",
    "inspection",
    "layers",
    "models",
    "parity",
    "state",
    "stream",
    "train",
)
SAID = 'MissingDependency {} needs PyTorch; install it with: pip install "recurra[train]"'


def test_without_torch_the_error_says_how_to_get_it() -> None:
    names = [
        *recurra.__all__,
        "export.network_of",
        "export.to_rcr",
        "export.to_pt2",
        "program.show",
        "program.trace",
    ]
    code = f"""
import operator, recurra
for name in {names}:
    try:
        operator.attrgetter(name)(recurra)
    except ImportError as error:
        print(type(error).__name__, error)
"""
    bare = {"errors", "export", "native", "network", "program", "runtime", "vocabulary"}
    assert run(code, ("torch",)).splitlines() == [
        SAID.format(f"recurra.{name}") for name in names if name not in bare
    ]


def test_a_package_that_needs_torch_says_so_when_it_is_imported() -> None:
    code = f"""
import importlib
for name in {[*NEED_TORCH, "layers.recurrent", "train.recipe"]}:
    try:
        importlib.import_module("recurra." + name)
    except ImportError as error:
        print(type(error).__name__, error)
"""
    assert run(code, ("torch",)).splitlines() == [
        SAID.format(f"recurra.{name}") for name in (*NEED_TORCH, "layers", "train")
    ]


@pytest.mark.parametrize(
    ("module", "name"), [("filelock", "filelock"), ("rich", "rich"), ("tomli_w", "tomli-w")]
)
def test_what_training_needs_beside_torch_is_said_too(module: str, name: str) -> None:
    code = """
try:
    import recurra.train
except ImportError as error:
    print(type(error).__name__, error)
"""
    assert run(code, (module,)) == SAID.format("recurra.train").replace("PyTorch", name)


def test_no_module_outside_those_packages_needs_torch_to_load() -> None:
    code = """
import importlib
for name in ("export", "kernels", "native", "network", "program", "runtime", "vocabulary", "cli"):
    importlib.import_module("recurra." + name)
"""
    assert run(code, ("torch",)) == ""


def test_without_torch_errors_can_be_caught() -> None:
    assert (
        run(
            "import recurra; print(recurra.errors.ShapeError.__mro__[1].__name__,"
            " recurra.__version__)",
            ("torch", "numpy"),
        )
        == f"RecurraError {recurra.__version__}"
    )


def test_another_missing_package_is_not_called_torch() -> None:
    code = """
import recurra
try:
    recurra.state
except ModuleNotFoundError as error:
    print(error.name)
"""
    assert run(code, ("safetensors",)) == "safetensors"


def test_dir_lists_everything_and_every_name_resolves() -> None:
    assert set(recurra.__all__) | {"__version__"} == set(dir(recurra))
    assert len(set(recurra.__all__)) == len(recurra.__all__)
    for name in (
        "LSTM",
        "GRU",
        "RNN",
        "LSTMCell",
        "GRUCell",
        "RNNCell",
        "Recurrent",
        "Stack",
        "Bidirectional",
        "Residual",
        "LockedDropout",
        "WeightDropout",
        "Zoneout",
        "RecurrentDropout",
        "Probed",
        "Cell",
        "explain",
        "replace",
        "Stream",
    ):
        assert name in recurra.__all__


@pytest.mark.parametrize("name", recurra.__all__)
def test_every_name_resolves(name: str) -> None:
    try:
        value = getattr(recurra, name)
    except ModuleNotFoundError as error:
        if error.name == "recurra.native":
            pytest.skip("the native module is not built")
        raise
    assert value.__doc__


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'recurra' has no attribute 'LTSM'"):
        recurra.LTSM
    assert not hasattr(recurra, "lstm")


@pytest.mark.parametrize("package", ["cells", "program", "engine", "layers"])
def test_every_name_of_a_packages_all_resolves_and_is_documented(package: str) -> None:
    module = getattr(recurra, package)
    for name in module.__all__:
        value = getattr(module, name)
        if callable(value):
            assert value.__doc__ and value.__doc__.strip(), name


def test_pytorch_is_loaded_without_its_compiler() -> None:
    modules = (
        "recurra.layers, recurra.train, recurra.export, recurra.inspection, recurra.parity,"
        " recurra.stream"
    )
    assert (
        run(f"import sys, {modules}; print('torch' in sys.modules, 'torch._dynamo' in sys.modules)")
        == "True False"
    )
