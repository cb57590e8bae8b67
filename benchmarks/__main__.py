"""python -m benchmarks [NAME ...]: measure, print the machine above and the ratio below, write JSON
if asked.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os

import torch

from benchmarks.guard import tests_pass
from recurra.bench.machine import describe

NAMES = {
    "startup": "cold imports and --help",
    "kernels": (
        "what `recurra bench` measures: every cell against torch.nn, the variants, ragged rows,"
        " memory (some minutes)"
    ),
    "methods": "every method of a scan, and torch.nn",
    "fit": "what fit costs over a bare loop",
    "softmax": "what share of a training step a softmax over 33,278 words takes, adaptive and full",
    "streaming": (
        "a streamed step against ONNX Runtime and torch.nn; chunks, many rows, threads, ten million"
        " steps (six minutes)"
    ),
    "c_step": "a streamed step of C headers, against what RTNeural published",
    "tasks": (
        "the adding problem at T = 600 and copy memory at T = 500, learnt whole (up to ten minutes"
        " each)"
    ),
    "shakespeare": "tinyshakespeare against torch.nn by hand, 12 passes each (about half an hour)",
}
QUICK = ("startup", "kernels", "methods", "fit", "softmax", "streaming", "c_step")


def main() -> None:
    """Measure what was asked for."""
    lines = "\n".join(f"  {name:<12} {what}" for name, what in NAMES.items())
    parser = argparse.ArgumentParser(
        "benchmarks", epilog=lines, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = "what to measure; all but tasks and shakespeare if left out"
    parser.add_argument("names", nargs="*", choices=[*NAMES, []], default=list(QUICK), help=what)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of torch")
    parser.add_argument("--json", metavar="FILE", help="also write the figures there")
    parser.add_argument("--untested", action="store_true", help="skip the tests that come first")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    machine = describe()
    print(json.dumps(machine, indent=2))
    record = {"machine": machine}
    for name in args.names:
        module = importlib.import_module(f"benchmarks.{name}")
        if not args.untested:
            tests_pass(*module.TESTS)
        found = module.measure()
        record[name] = found
        print(f"\n{name}: {NAMES[name]}\n{module.text(found)}", flush=True)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=2)


if __name__ == "__main__":
    main()
