"""Which method runs each scan of a call, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import nn

from recurra.display import Text, card, note, table
from recurra.engine.context import listening
from recurra.engine.job import Job


class ExplainedScan(NamedTuple):
    """One scan of a call.

    Attributes:
        cell: as it prints.
        sizes: T, B, I, H, dtype and device in words.
        method: what ran.
        why: the reason for it.
        refused: by method, why those before it in the rule could not run.
    """

    cell: str
    sizes: str
    method: str
    why: str
    refused: dict[str, str]


class Explanation(Text):
    """What `explain` says: its text, and the same by scan.

    Attributes:
        scans: in the order they ran.
    """

    scans: tuple[ExplainedScan, ...]

    def __new__(cls, scans: Iterable[ExplainedScan]) -> Explanation:
        scans = tuple(scans)
        made = super().__new__(
            cls, "\n".join(map(_paragraph, range(1, len(scans) + 1), scans)) or "no scan was run"
        )
        made.scans = scans
        return made

    def __getnewargs__(self) -> tuple[Any, ...]:
        return (self.scans,)

    def _repr_html_(self) -> str:
        heads = ["", "cell", "sizes", "method", "why", "why not"]
        lines = [
            [
                number,
                scan.cell,
                scan.sizes,
                scan.method,
                scan.why,
                "\n".join(f"{name}: {why}" for name, why in scan.refused.items()),
            ]
            for number, scan in enumerate(self.scans, 1)
        ]
        columns = len(heads) if any(scan.refused for scan in self.scans) else -1
        return card(
            "Which method runs",
            table(heads[:columns], [line[:columns] for line in lines]) or note(self),
        )


def explain(module: nn.Module, *args: Any, **options: Any) -> Explanation:
    """Run a module and say, scan by scan, which method ran and why not the others.

    Args:
        module: any module that holds recurra layers.
        *args, **options: what it is called with.

    Returns:
        The text, a paragraph for each scan, which a prompt shows as it is and a notebook as a
        table.

    >>> import torch, recurra
    >>> print(explain(recurra.Recurrent(recurra.cells.MinGRU(), 3, 4), torch.zeros(5, 1, 3)))
    1. MinGRU() (T 5, B 1, I 3, H 4, float32, cpu)
       fused: the native module runs the cell's own program
    """
    scans: list[ExplainedScan] = []
    with listening(lambda job, choice: scans.append(_explained(job, choice))):
        module(*args, **options)
    return Explanation(scans)


def _explained(job: Job, choice: Any) -> ExplainedScan:
    steps, rows, width = job.x.shape
    dtype = str(job.x.dtype).removeprefix("torch.")
    where = (
        f"T {steps}, B {rows}, I {width}, H {job.hidden_size}, {dtype},"
        f" {job.x.device}{', backward' if job.reverse else ''}"
    )
    return ExplainedScan(repr(job.cell), where, choice.method, choice.why, dict(choice.refused))


def _paragraph(number: int, scan: ExplainedScan) -> str:
    refused = [f"     not {name}: {why}" for name, why in scan.refused.items()]
    return "\n".join(
        [f"{number}. {scan.cell} ({scan.sizes})", f"   {scan.method}: {scan.why}", *refused]
    )
