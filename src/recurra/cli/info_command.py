"""recurra info: what a run holds, and what this installation has."""

from __future__ import annotations

import argparse
import platform
from typing import Any

from recurra import __version__
from recurra.cli.opened import HELP, is_network, needing_pytorch, open_network
from recurra.cli.output import add_json, answer, table_text
from recurra.wording import size_text


def configure(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.epilog = "example: recurra info runs/a"
    parser.add_argument(
        "run_folder", nargs="?", metavar="RUN", help=f"{HELP}; none: the installation"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the facts."""
    record = _model(args.run_folder) if args.run_folder else _installation()
    shown = (
        record | {"bytes": f"{size_text(record['bytes'])} ({record['bytes']:,} bytes)"}
        if "bytes" in record
        else record
    )
    answer(args, record, table_text(shown))
    return 0


def _installation() -> dict[str, Any]:
    record: dict[str, Any] = {
        "recurra": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    try:
        from recurra import native

        record["native"] = native.info()
    except ImportError as error:
        record["native"] = f"missing ({error})"
    try:
        import torch

        record |= {
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "cuda": torch.cuda.is_available(),
        }
    except ImportError:
        record["torch"] = "missing"
    return record


def _network(path: str) -> dict[str, Any]:
    """What a network holds; of a .rcr file without PyTorch."""
    from recurra.network import Recurrent
    from recurra.network.network import walk

    network = open_network(path)
    layers = [
        layer.program.cell if isinstance(layer, Recurrent) else type(layer).__name__
        for _, layer in walk(network.layers)
    ]
    record: dict[str, Any] = {
        "layers": layers,
        "input": network.input_size,
        "output": network.output_size,
        "precision": network.precision,
    }
    record |= {"bytes": network.nbytes, "state": sum(spec.width for spec in network.states)}
    return record | {
        "level": (
            (network.vocabulary or {}).get(
                "level", "tokens" if network.reads_tokens else "features"
            )
        ),
        **network.facts,
    }


def _model(path: str) -> dict[str, Any]:
    if is_network(path):
        return _network(path)
    with needing_pytorch(path):
        from recurra.models.cell_record import class_of
        from recurra.models.files import read_header
        from recurra.train.folder import model_file

    header, tensors = read_header(model_file(path))  # so that a cell of one's own need not be given
    record = {
        "model": header["model"],
        **header["options"] | {"cell": class_of(header["options"].get("cell", "lstm"))},
    }
    record["parameters"] = sum(tensor.numel() for tensor in tensors.values())
    record["level"] = header["vocabulary"]["level"] if header["vocabulary"] else "tokens"
    validations = [
        row
        for row in _history(path)
        if row.get("kind") == "validation" and _number(row, "validation_loss") and "epoch" in row
    ]
    if validations:
        best = min(validations, key=lambda row: row["validation_loss"])
        record |= {
            "epochs": len(validations),
            "best_epoch": best["epoch"],
            "validation_loss": best["validation_loss"],
        }
    return record


def _number(row: dict[str, Any], name: str) -> bool:
    """Whether a row has a figure of a name: somebody may have written into a history."""
    return isinstance(row.get(name), (int, float))


def _history(path: str) -> list[dict[str, Any]]:
    from recurra import train
    from recurra.errors import RunError

    try:
        return train.read_history(path)
    except RunError:
        return []
