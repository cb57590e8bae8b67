"""What kind of file a path names, and how to make of it what recurra runs: for the message where
another was given.
"""

from __future__ import annotations

import os
import shlex

OURS = "give the run or the model that it was made of"
PICKLE = (
    "a pickle of PyTorch, which could execute anything",
    "write its module in Python: recurra.export.to_rcr(module, '{made}')",
)
KINDS = {
    ".onnx": ("an ONNX model", "make a network of it with: recurra export {path} --to {made}"),
    ".safetensors": (
        "weights, or a model that recurra trained",
        "make a network of a model with: recurra export {path} --to {made}",
    ),
    ".rcr": ("a network to run, which cannot be trained or seen into", OURS),
    ".pt2": ("a program of torch.export", OURS),
    ".h": ("a C header", OURS),
    ".hpp": ("a C header", OURS),
    ".pt": PICKLE,
    ".pth": PICKLE,
    ".ckpt": PICKLE,
    ".bin": PICKLE,
    ".keras": ("a Keras model", "take its layers over with recurra.convert.from_keras"),
    ".h5": ("a Keras model", "take its layers over with recurra.convert.from_keras"),
    "": ("a folder", "make a network of a run with: recurra export {path} --to {made}"),
}
"""By ending: what the file is, and what to do; "" stands for a folder."""


def kind_text(path: str, ending: str | None = None) -> str:
    """Say what a path names, by its ending or by another that tells its contents, and what to do
    with it; "" for an unknown one.

    >>> kind_text("nets/a.onnx")
    ', an ONNX model; make a network of it with: recurra export nets/a.onnx --to nets/a.rcr'
    >>> kind_text("a.txt")
    ''
    """
    ending = ending or os.path.splitext(path)[1].lower() or "."
    if (kind := "" if os.path.isdir(path) else ending) not in KINDS:
        return ""
    what, advice = KINDS[kind]
    return f", {what}; {advice.format(path=shlex.quote(path), made=made_of(path))}"


def made_of(path: str) -> str:
    """The `.rcr` file that stands beside what it is made of.

    >>> made_of("nets.py:tagger"), made_of("runs/a"), made_of("my net.onnx")
    ('tagger.rcr', 'runs/a.rcr', "'my net.rcr'")
    """
    path = path.rstrip("/")
    file, _, name = path.rpartition(":")
    return shlex.quote(
        (
            name
            if file.endswith(".py")
            else path
            if os.path.isdir(path)
            else os.path.splitext(path)[0]
        )
        + ".rcr"
    )
