"""Pieces of HTML are well formed and escape what they are given; a line is a line."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from recurra.display import Html, Text, card, listing, meter, note, notice, one_line, table
from tests.display.markup import Markup

HOSTILE = "<script>alert('a')</script><img src=x onerror=\"b\"> & \ud800"


def test_every_piece_escapes_the_text_it_is_given() -> None:
    pieces = [
        table([HOSTILE], [[HOSTILE], [1]]),
        table([], [[HOSTILE, HOSTILE]]),
        listing(HOSTILE),
        note(HOSTILE),
        notice(HOSTILE, HOSTILE, kind="problem"),
        HOSTILE,
    ]
    text = card(HOSTILE, *pieces)
    seen = Markup(text)
    assert seen.words.count("<script>alert('a')</script><img src=x onerror=\"b\"> & ?") == 10
    assert not {"script", "img"} & set(seen.tags)
    text.encode()


def test_a_kind_of_notice_cannot_leave_its_place() -> None:
    Markup(notice("a", kind='problem"><script>'))


def test_a_table_has_its_lines_and_an_empty_one_is_left_out() -> None:
    assert Markup(table(["a", "b"], [[1, meter(0.25)], ["", None]])).cells == [
        ["a", "b"],
        ["1", "25.0%"],
        ["", "None"],
    ]
    assert table(["a"], []) == note("") == "" and Markup(card("")).words == ""


@pytest.mark.parametrize(
    ("share", "width"), [(0.125, "12.5%"), (0.0, "0.0%"), (1.5, "100.0%"), (-1.0, "0.0%")]
)
def test_a_meter_stays_within_its_box(share: float, width: str) -> None:
    assert f"width:{width}" in meter(share)


def test_no_style_sets_what_the_theme_does() -> None:
    """A dark theme has light text on a dark ground: neither may be given alone."""
    style = card("a").partition("<style>")[2].partition("</style>")[0]
    rules = [rule for block in style.split("}") for rule in block.partition("{")[2].split(";")]
    grounds = {rule.partition(":")[2] for rule in rules if rule.startswith("background:")}
    assert grounds == {"none", "rgba(128,128,128,.1)", "rgba(128,128,128,.25)", "#0072b2"}
    assert {rule for rule in rules if rule.startswith("color:")} == {"color:inherit"}


def test_text_shows_as_it_is() -> None:
    text = Text("a <b>\n  c")
    assert repr(text) == str(text) == text == "a <b>\n  c" and isinstance(text, str)
    assert Markup(text._repr_html_()).words == "a <b>\n  c" and "<pre>" in text._repr_html_()
    assert (
        pickle.loads(pickle.dumps(text)) == text and type(pickle.loads(pickle.dumps(text))) is Text
    )


def test_only_markup_made_here_is_passed_on() -> None:
    assert (
        note(Html("<b>a</b>")) == '<div class="note"><b>a</b></div>'
        and note("<b>a</b>") == '<div class="note">&lt;b&gt;a&lt;/b&gt;</div>'
    )


def test_a_line_is_a_line() -> None:
    assert one_line("a\n\tb\r\nc\x1b[31m\u2028d") == "a b c [31m d"
    assert one_line("é" * 300) == "é" * 197 + "..." and len(one_line("a b " * 100, most=20)) == 20


def test_nothing_is_loaded_but_python() -> None:
    code = (
        "import sys, recurra.display; print(*({'torch', 'numpy', 'IPython', 'rich', 'matplotlib'} &"
        " set(sys.modules)))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
        ).stdout
        == "\n"
    )
