"""How objects show themselves at a prompt and in a notebook: one line, text as it is, tables and
charts as HTML.
"""

from recurra.display.chart import COLOURS, Line, chart, thin
from recurra.display.elements import (
    Html,
    Text,
    card,
    listing,
    meter,
    note,
    notice,
    one_line,
    safe,
    table,
)
from recurra.display.live import NotebookBar

__all__ = [
    "COLOURS",
    "Html",
    "Line",
    "NotebookBar",
    "Text",
    "card",
    "chart",
    "listing",
    "meter",
    "note",
    "notice",
    "one_line",
    "safe",
    "table",
    "thin",
]
