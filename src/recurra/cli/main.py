"""`recurra`: the commands, and how they end."""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence

from recurra import __version__
from recurra.cli.interrupt import Interrupts
from recurra.cli.output import check_output
from recurra.cli.usage import Parser, concerns_options
from recurra.errors import INSTALL, ArgumentError, RecurraError, missing_dependency
from recurra.wording import printable

COMMANDS = {
    "train": "train a language model on text files",
    "resume": "go on with a run that was interrupted, bit for bit, or for more epochs",
    "eval": "the loss of a run on text",
    "sample": "continue a text",
    "stream": "run a model over lines from standard input, in constant memory",
    "verify": "the parity table: whole = chunks = steps = fused = runtime = ONNX = C",
    "export": "a model as a file for the runtime, ONNX or C",
    "inspect": "gradients, gates and memory of a run, as a page to read",
    "info": "what a run or a model's file holds, and what this installation has",
    "bench": "this machine against torch.nn: speed, share of the peak, memory",
    "demo": "train, sample, stream and look inside, in about two minutes",
}
DESCRIPTION = (
    "Recurrent networks that one trains, sees into and streams, where the three give the same"
    " numbers."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: the arguments; those of the process if None: then it is the command's own, and ends
            after it.

    Returns:
        0 if all went well, 1 if it failed or was interrupted, 2 if an option was given what it does
        not take; what the command line does not know exits with 2.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    name = " ".join(["recurra", *words[:1]])
    interrupts = Interrupts(name) if argv is None else None
    try:
        check_output()
        status = _run(words, interrupts)
        sys.stdout.flush()  # so that what goes wrong with it is said as everything else is
        return status
    except BrokenPipeError:
        _mute()
        return 0
    except (Exception, KeyboardInterrupt) as error:
        for line in _why(error, interrupts):
            print(f"{printable(name)}: {printable(line)}", file=sys.stderr)
        return 1
    finally:
        if interrupts:
            interrupts.end()


def _why(error: BaseException, interrupts: Interrupts | None) -> list[str]:
    """What to say of an error; one that no user can make goes on up."""
    if isinstance(error, KeyboardInterrupt) or (
        interrupts and interrupts.heard
    ):  # libraries swallow an interrupt, and fail of it
        return ["interrupted"]
    if isinstance(error, RecurraError):
        return str(error).splitlines()
    if isinstance(error, ModuleNotFoundError) and error.name in INSTALL:
        return [str(missing_dependency("this command", error.name))]
    if (
        isinstance(error, OSError)
        and error.errno in (errno.ENOSPC, errno.EIO)
        and error.filename is None
    ):
        _mute()
        return [f"standard output must take what is written, got an error ({error.strerror})"]
    raise error


def _mute() -> None:
    """Let what is still to be written to standard output go nowhere: Python tries again at the
    end.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(words: list[str], interrupts: Interrupts | None) -> int:
    """Load the command and run it."""
    parser, command = _parsers(words[0] if words else None)
    args = parser.parse_args(words)
    if not hasattr(args, "run"):
        parser.print_help()
        return 2
    if interrupts:
        interrupts.running = True
    try:
        return int(args.run(args))
    except ArgumentError as error:
        if not concerns_options(error, words):
            raise
        command.say_wrong(str(error))
        return 2


def _parsers(command: str | None) -> tuple[Parser, Parser]:
    """The program's parser and the command's; only the command that is called is loaded."""
    parser = Parser(
        "recurra", description=DESCRIPTION, epilog="example: recurra train corpus.txt --out runs/a"
    )
    parser.add_argument("--version", action="version", version=f"recurra {__version__}")
    commands, called = parser.add_subparsers(dest="command", metavar="command"), parser
    for name, what in COMMANDS.items():
        child = commands.add_parser(
            name, help=what, description=f"{what[0].upper()}{what[1:]}.", formatter_class=_Formatter
        )
        if name == command:
            module = importlib.import_module(f"recurra.cli.{name}_command")
            module.configure(child)
            child.set_defaults(run=module.run)
            called = child
    return parser, called


class _Formatter(argparse.ArgumentDefaultsHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Shows defaults, and leaves the example below as it is written."""
