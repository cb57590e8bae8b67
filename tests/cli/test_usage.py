"""Wrong usage: the usage of the command that was called, and what was meant; status 2."""

from __future__ import annotations

import pytest

from recurra.cli import main
from recurra.cli.main import COMMANDS
from recurra.cli.usage import Parser, concerns_options
from recurra.errors import ArgumentError

NEEDS = {
    "train": ["a.txt", "--out", "runs/a"],
    "export": ["runs/a", "--to", "m.rcr"],
    "eval": ["runs/a", "a.txt"],
}


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    """The usage and the last line of what is said to wrong words."""
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    out, err = capsys.readouterr()
    usage, _, said = err.rpartition(": error: ")
    assert stop.value.code == 2 and not out and said.endswith("\n")
    return usage, said[:-1]


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_shows_the_commands_usage_and_the_nearest(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--jsno"], ["--jsno=1"], [*NEEDS.get(name, []), "--jsno"]):
        usage, said = refused(capsys, name, *words)
        assert (
            usage.startswith(f"usage: recurra {name} ")
            and said == "unknown option --jsno; did you mean --json?"
        )
    assert (
        refused(capsys, name, "--xyzzy")[1]
        == f"unknown option --xyzzy; recurra {name} --help lists those there are"
    )


@pytest.mark.parametrize(
    ("words", "usage", "text"),
    [
        (
            "trian a.txt",
            "recurra [-h]",
            "command must be one of .*, got 'trian'; did you mean 'train'\\?",
        ),
        ("--verson", "recurra [-h]", "unknown option --verson; did you mean --version?"),
        ("--verson train", "recurra [-h]", "unknown option --verson; did you mean --version?"),
        (
            "train a.txt --eposh 3",
            "recurra train",
            "unknown option --eposh; did you mean --epochs?",
        ),
        (
            "train a.txt --weight-decya 3",
            "recurra train",
            "unknown option --weight-decya; did you mean --weight-decay?",
        ),
        (
            "verify -x runs/a",
            "recurra verify",
            "unknown option -x; recurra verify --help lists those there are",
        ),
        ("resume runs/a b", "recurra resume", "1 argument too many: 'b'"),
        ("resume runs/a b c", "recurra resume", "2 arguments too many: 'b' 'c'"),
        (
            "stream m.rcr --format tetx",
            "recurra stream",
            "--format must be one of .*, got 'tetx'; did you mean 'text'\\?",
        ),
        (
            "sample runs/a --length many",
            "recurra sample",
            "--length must be a whole number, got 'many'",
        ),
        (
            "sample runs/a --temperature=hot",
            "recurra sample",
            "--temperature must be a number, got 'hot'",
        ),
        ("train a.txt", "recurra train", "the following arguments are required: --out"),
    ],
)
def test_what_is_wrong_is_said_under_the_usage(
    words: str, usage: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    import re

    shown, said = refused(capsys, *words.split())
    assert shown.startswith(f"usage: {usage}") and (said == text or re.fullmatch(text, said)), said


def test_values_that_look_like_options_are_left_alone() -> None:
    parser = Parser("p")
    for option, kind in (("--prompt", str), ("--lr", float)):
        parser.add_argument(option, type=kind)
    parser.add_argument("files", nargs="*")
    args = parser.parse_args(["--prompt", "--- a dash", "--lr", "-1", "--", "--file"])
    assert (args.prompt, args.lr, args.files) == ("--- a dash", -1.0, ["--file"])
    assert parser.parse_args(["--prom", "a"]).prompt == "a"


def test_an_error_is_of_an_option_where_it_begins_with_its_name() -> None:
    wrong = ArgumentError("modle must be a table, got 3\nlr must be positive, got 0")
    assert concerns_options(wrong, ["train", "--lr", "0"]) and concerns_options(
        wrong, ["train", "--lr=0"]
    )
    assert not concerns_options(
        wrong, ["train", "--recipe", "bad.toml", "0"]
    ) and not concerns_options(wrong, [])
    assert not concerns_options(ArgumentError("top_p must be 1"), ["--top-k", "3"])
