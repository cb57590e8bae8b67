"""recurra export: a trained model as a file for others."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recurra.cli.opened import HELP, OUTPUT, add_cells, open_cells, open_network
from recurra.cli.output import add_json, answer
from recurra.wording import count_text

if TYPE_CHECKING:
    from recurra.network import Network

FORMS = {
    ".rcr": "the runtime's file",
    ".onnx": "an ONNX model",
    ".pt2": "a program of torch.export",
    ".h": "a C99 header",
}
GRAPHS = (".onnx", ".pt2")
STEPS = 10_000
"""Over which the largest difference of a quantised model is found."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.epilog = "example: recurra export runs/a --to model.rcr --int8 --text validation.txt"
    parser.add_argument("run_folder", metavar="RUN", help=HELP)
    parser.add_argument(
        "--to",
        required=True,
        metavar="FILE",
        help=(
            ".rcr for the runtime, .onnx, .pt2 for torch.export, or .h for C (all in it is named"
            " after the file)"
        ),
    )
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument(
        "--int8", action="store_true", help="weights of one byte, with a scale for each row"
    )
    kept.add_argument("--bf16", action="store_true", help="weights of two bytes")
    parser.add_argument(
        "--sequence",
        action="store_true",
        help=".onnx, .pt2: a graph of a whole sequence, not of one step",
    )
    parser.add_argument("--output", metavar="NAME", help=OUTPUT)
    parser.add_argument(
        "--text",
        nargs="+",
        metavar="FILE",
        help="held-out text: with --int8 or --bf16, the loss before and after",
    )
    parser.add_argument("--licence", help="written into the file")
    add_cells(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Write the file, and say what its precision costs."""
    from dataclasses import replace

    from recurra.errors import ArgumentError

    form = Path(args.to).suffix
    if form not in FORMS:
        names = ", ".join(f"{suffix} ({what})" for suffix, what in FORMS.items())
        raise ArgumentError(f"--to must end in one of {names}, got {args.to!r}")
    if args.sequence and form not in GRAPHS:
        raise ArgumentError(
            f"--sequence must go with a .onnx or .pt2 file, got {args.to!r}; leave it out"
        )
    if args.text and not (args.int8 or args.bf16):
        raise ArgumentError(
            "--text must go with --int8 or --bf16, whose cost it measures, got neither; leave"
            " it out"
        )
    network = open_network(args.run_folder, open_cells(args), args.output)
    if args.licence:
        network = replace(network, facts={**network.facts, "licence": args.licence})
    precision = "int8" if args.int8 else "bfloat16" if args.bf16 else network.precision
    made = network if precision in ("mixed", network.precision) else network.quantised(precision)
    tokens = _tokens(network, args.text)
    _write(made, args.to, form, args.sequence)
    size = Path(args.to).stat().st_size
    record: dict[str, Any] = {"file": args.to, "precision": precision, "bytes": size}
    text = f"{args.to}: {FORMS[form]}, {precision} weights, {count_text(size, 'byte')}"
    if made is not network:
        record |= {"before": network.precision} | _cost(network, made, tokens)
        text += "\n" + _cost_text(record)
    answer(args, record, text)
    return 0


def _write(network: Network, path: str, form: str, sequence: bool) -> None:
    if form == ".rcr":
        from recurra.network.file import write

        write(network, path)
    elif form in GRAPHS:
        from recurra.export import to_onnx, to_pt2

        make = to_onnx if form == ".onnx" else to_pt2
        make(network, path, kind="sequence" if sequence else "step")
    else:
        from recurra.export import write_c

        write_c(network, path)


def _cost(network: Network, made: Network, tokens: Any) -> dict[str, Any]:
    """The loss of both on held-out text, and the largest difference of what comes out."""
    from recurra.runtime import Model
    from recurra.runtime.quality import largest_difference, loss

    before, after = Model(network), Model(made)
    record: dict[str, Any] = {
        "largest_difference": largest_difference(before, after, tokens, STEPS),
        "steps": STEPS,
    }
    if tokens is not None:
        losses = loss(before, tokens), loss(after, tokens)
        record |= {"nats_before": losses[0], "nats_after": losses[1], "tokens": len(tokens) - 1}
    return record


def _tokens(network: Network, files: list[str] | None) -> Any:
    if not files:
        return None
    import numpy as np

    from recurra.errors import ArgumentError, DataError
    from recurra.text_blocks import read_text
    from recurra.vocabulary import from_record

    if network.vocabulary is None:
        raise ArgumentError(
            "--text must go with a model that has a vocabulary, got one without; leave it out"
        )
    vocabulary = from_record(network.vocabulary)
    tokens = np.concatenate(
        [vocabulary.encode(vocabulary.fit_breaks(text)) for text in read_text(files)]
    )
    if len(tokens) < 2:
        raise DataError(f"text must have at least two tokens, got {len(tokens)}")
    return tokens


def _cost_text(record: dict[str, Any]) -> str:
    over = f"over {count_text(record['steps'], 'step')}"
    lines = [
        f"largest difference of an output from {record['before']} {over}:"
        f" {record['largest_difference']:.2e}"
    ]
    if "nats_before" in record:
        change = record["nats_after"] / record["nats_before"] - 1
        losses = (
            f"{record['nats_before']:.4f} nats a token before, {record['nats_after']:.4f} after"
            f" ({change:+.2%})"
        )
        lines.append(f"held-out loss: {losses}, over {count_text(record['tokens'], 'token')}")
    else:
        lines.append("held-out loss: not measured; give --text FILE")
    return "\n".join(lines)
