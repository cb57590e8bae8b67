"""recurra sample: continue a text."""

from __future__ import annotations

import argparse

from recurra.cli.opened import HELP, add_cells, is_network, open_cells, open_network, open_run
from recurra.cli.output import add_json, answer, write_text


def configure(parser: argparse.ArgumentParser) -> None:
    """Say what the command takes."""
    parser.epilog = 'example: recurra sample runs/a --prompt "To be" --length 500 --temperature 0.8'
    parser.add_argument("run_folder", metavar="RUN", help=HELP)
    parser.add_argument("--prompt", default="", help="the text to continue")
    parser.add_argument(
        "--length", type=int, default=500, metavar="N", help="characters, or bytes, to draw"
    )
    parser.add_argument(
        "--temperature", type=float, default=1.0, metavar="T", help="0: always the most likely"
    )
    parser.add_argument("--top-k", type=int, metavar="K", help="draw from the K most likely tokens")
    parser.add_argument(
        "--top-p",
        type=float,
        metavar="P",
        help="draw from the most likely tokens of chance P together",
    )
    parser.add_argument("--seed", type=int, help="of the draws; another text each time if left out")
    add_cells(parser)
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print the prompt and its continuation."""
    options = dict(temperature=args.temperature, top_k=args.top_k, top_p=args.top_p, seed=args.seed)
    if is_network(args.run_folder):
        from recurra import runtime

        text = runtime.sample(
            runtime.Model(open_network(args.run_folder, open_cells(args))),
            args.prompt,
            args.length,
            **options,
        )
    else:
        model = open_run(args.run_folder, open_cells(args))
        from recurra import models

        text = models.sample(model, args.prompt, args.length, **options)
    if not args.json:
        write_text(args.prompt + text + "\n")
        return 0
    answer(args, {"prompt": args.prompt, "text": text}, "")
    return 0
