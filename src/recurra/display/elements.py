"""Pieces of HTML for a notebook. Whatever text they are given is escaped: it may come from a file
of somebody else's.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

STYLE = (
    ".recurra{font:13px/1.45 system-ui,sans-serif;margin:.3em 0}"
    ".recurra .title{font-weight:600;margin:.2em 0}"
    ".recurra .note{opacity:.75;margin:.2em 0}"
    ".recurra .scroll{overflow-x:auto}"
    "div.recurra.recurra table{border-collapse:collapse;border:none;font-size:12px;margin:.3em 0;"
    "table-layout:auto;width:auto}"
    "div.recurra.recurra th,div.recurra.recurra td{text-align:left;vertical-align:top;"
    "padding:.25em 1.2em .25em .3em;border:none;border-bottom:1px solid rgba(128,128,128,.35);"
    "background:none;max-width:42em;font-variant-numeric:tabular-nums;white-space:pre-line}"
    "div.recurra.recurra pre{font:12px/1.4 ui-monospace,monospace;margin:0;padding:0;border:none;"
    "background:none;color:inherit;white-space:pre;overflow-x:auto}"
    ".recurra .notice{border-left:4px solid #009e73;background:rgba(128,128,128,.1);"
    "padding:.4em .8em;margin:.4em 0}"
    ".recurra .problem{border-color:#d55e00}"
    ".recurra .warning{border-color:#e69f00}"
    ".recurra .share{white-space:nowrap}"
    ".recurra .meter{display:inline-block;width:60px;height:.7em;margin-right:.5em;"
    "background:rgba(128,128,128,.25)}"
    ".recurra .meter span{display:block;height:100%;background:#0072b2}"
    ".recurra .legend span{display:inline-block;margin-right:1.2em;white-space:nowrap}"
    ".recurra .legend i{display:inline-block;width:1.1em;height:.25em;margin-right:.4em;"
    "vertical-align:middle}"
    ".recurra svg{display:block;max-width:100%;height:auto}"
    ".recurra progress{width:180px;vertical-align:middle;margin:0 .6em}"
)
"""No colour of text or ground but in half tones: both are the theme's, be it light or dark. A class
is said twice to outweigh what JupyterLab says of tables.
"""
MOST_NAMED = 200
"""Characters that a line holds of one name."""


class Html(str):
    """Markup that was made here. Only this is passed on as it is."""

    __slots__ = ()


class Text(str):
    """Text of several lines that a prompt and a notebook show as it is, not between quotes.

    >>> Text("a line\\nanother")
    a line
    another
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return card("", listing(self))


def card(title: Any, *parts: Any) -> str:
    """What `_repr_html_` gives: a title, and pieces under it, with the styles of both."""
    head = f'<div class="title">{safe(title)}</div>' if title else ""
    return f'<div class="recurra"><style>{STYLE}</style>{head}{"".join(map(safe, parts))}</div>'


def table(heads: Sequence[Any], lines: Iterable[Sequence[Any]]) -> Html:
    """A table; nothing if it has no line.

    Args:
        heads: of the columns; none for a table of names and values.
        lines: cells, text or `Html`.

    >>> table(["layer"], [["<b>"]])  # doctest: +ELLIPSIS
    '<div class="scroll"><table><thead><tr><th>layer</th></tr></thead>...&lt;b&gt;...</table></div>'
    """
    body = "".join(
        f"<tr>{''.join(f'<td>{safe(each)}</td>' for each in line)}</tr>" for line in lines
    )
    head = (
        f"<thead><tr>{''.join(f'<th>{safe(each)}</th>' for each in heads)}</tr></thead>"
        if heads
        else ""
    )
    return Html(
        f'<div class="scroll"><table>{head}<tbody>{body}</tbody></table></div>' if body else ""
    )


def listing(text: Any) -> Html:
    """Text with its line breaks and columns."""
    return Html(f"<pre>{safe(text)}</pre>")


def notice(title: Any, *lines: Any, kind: str = "good") -> Html:
    """A box with a title and sentences; `kind` is "good", "warning" or "problem"."""
    body = "".join(f"<div>{safe(line)}</div>" for line in lines)
    return Html(f'<div class="notice {safe(kind)}"><strong>{safe(title)}</strong>{body}</div>')


def note(text: Any) -> Html:
    """A sentence that stands back; nothing if it is empty."""
    return Html(f'<div class="note">{safe(text)}</div>' if text else "")


def meter(share: float) -> Html:
    """A share in [0, 1] as a bar and in figures."""
    filled = (
        '<span class="meter"><span'
        f' style="width:{100 * min(max(share, 0.0), 1.0):.1f}%"></span></span>'
    )
    return Html(f'<span class="share">{filled}{share:.1%}</span>')


def safe(text: Any) -> Html:
    """Text with what HTML would read taken out of it, and with what no UTF-8 can hold replaced.

    >>> safe("<script>"), safe(Html("<b>"))
    ('&lt;script&gt;', '<b>')
    """
    return (
        text
        if isinstance(text, Html)
        else Html(html.escape(str(text).encode("utf-8", "replace").decode("utf-8")))
    )


def one_line(text: Any, most: int = MOST_NAMED) -> str:
    """Text for a `__repr__`: without line breaks and what a terminal would obey, and not without
    end.

    >>> one_line("a\\n  b\\x1b[2J"), one_line("a long name", most=8)
    ('a b [2J', 'a lon...')
    """
    line = " ".join("".join(each if each.isprintable() else " " for each in str(text)).split())
    return line if len(line) <= most else line[: most - 3] + "..."
