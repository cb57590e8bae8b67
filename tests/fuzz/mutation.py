"""Changes that make a forged file of a good one: of bytes, of text, and of a tree of JSON."""

from __future__ import annotations

import copy
import struct
from collections.abc import Iterator
from random import Random
from typing import Any

INTEGERS = (
    0,
    1,
    2,
    3,
    5,
    127,
    128,
    255,
    256,
    1 << 15,
    1 << 16,
    1 << 20,
    (1 << 31) - 1,
    1 << 31,
    1 << 32,
    1 << 40,
    (1 << 63) - 1,
    1 << 63,
)
WORDS = (
    "",
    "x",
    "h",
    "c",
    "weight_hh",
    "weight_ih",
    "bias_hh",
    "initial_h",
    "relu",
    "int8",
    "float32",
    "lstm",
    "none",
    "nan",
    "0",
    "-1",
    "int",
    "double",
    "main",
    "restrict",
    "NULL",
    "y",
    "s",
    "self",
    "class",
    "lambda",
    "__class__",
    "__init__",
    "values",
    "noise",
    "u",
    "v",
    "α",
    "λόγος",
    "שלום",
    "\u202eexe.txt",
    "\u200d",
    "ﬁ",
    "e\u0301",
    "é",
    "名",
    "\U0001f600",
    "\ud800",
    "\x00",
    "\r\n",
    "\x1b[2J",
    "\x07",
    "*/ int f(void){return 1;} /*",
    "// \\",
    "??/",
    "<script>alert(1)</script>",
    '"><img src=x>',
    "&amp;",
    "%s%n",
    "{0.__class__}",
    "${x}",
    "../../up",
    "a" * 300,
    "ab" * 5000,
    "'",
    '"',
    "\\",
    "`",
    "#",
    "\ufeff",
)
"""Names and texts that mean something elsewhere: to C, Python, HTML, a terminal, a file system, a
reader of Unicode.
"""
NUMBERS = (
    -1,
    -2,
    -(1 << 31),
    -(1 << 63),
    1 << 70,
    10**400,
    0.5,
    -0.0,
    1e-30,
    1e300,
    float("inf"),
    float("nan"),
)
OTHERS = (
    True,
    False,
    None,
    [],
    {},
    [0],
    [[]],
    [None],
    {"": None},
    {"layer": "residual", "layers": []},
)
VALUES: tuple[Any, ...] = (*INTEGERS, *NUMBERS, *OTHERS, *WORDS)

MOST = 1 << 17
"""Characters, about, up to which a list or a text grows where it is said many times."""


def bend(data: bytes, draws: Random) -> bytes:
    """Bytes turned, cut off, put in, said twice, or a number among them that means much."""
    place, way = draws.randrange(len(data) + 1), draws.randrange(8)
    if way == 0:
        return data[:place]
    if way == 1:
        return data[:place] + bytes([draws.randrange(256)]) + data[place + 1 :]
    if way == 2:
        return (
            data[:place]
            + bytes([data[place] ^ (1 << draws.randrange(8))] if place < len(data) else b"\0")
            + data[place + 1 :]
        )
    if way == 3:
        return data[:place] + data[place + draws.randrange(64) :]
    if way == 4:
        other = draws.randrange(len(data) + 1)
        return data[:place] + data[other : other + draws.randrange(1, 65)] + data[place:]
    if way == 5:
        form = draws.choice(["<B", "<H", "<I", "<Q", ">I", ">Q"])
        number = draws.choice(INTEGERS) & ((1 << 8 * struct.calcsize(form)) - 1)
        return data[:place] + struct.pack(form, number) + data[place + struct.calcsize(form) :]
    if way == 6:
        return data + bytes(draws.randrange(1, 100))
    return data[:place] + draws.choice(WORDS).encode("utf-8", "surrogatepass")[:400] + data[place:]


def change(tree: Any, draws: Random, times: int | None = None) -> Any:
    """A copy of a tree of JSON, changed in one place or a few.

    Args:
        tree: dicts, lists, text and numbers.
        draws: says where, and how.
        times: in how many places; one to six if None.
    """
    holder = [copy.deepcopy(tree)]
    for _ in range(draws.choice((1, 1, 1, 2, 3, 6)) if times is None else times):
        _change(holder, draws)
    return holder[0]


def _change(tree: list[Any], draws: Random) -> None:
    """Another value somewhere: one that means much, one near by, what lies elsewhere, another name,
    twice, nested, or nothing.
    """
    places = list(_places(tree))[:5000]
    holder, key = draws.choice(places)
    value, way = holder[key], draws.randrange(10)
    if way == 0 and isinstance(value, (int, float)):
        holder[key] = value + draws.choice((-2, -1, 1, 2))
    elif way == 1:
        other, at = draws.choice(places)
        holder[key] = copy.deepcopy(other[at])
    elif way == 2:
        other, at = draws.choice(places)
        holder[key], other[at] = copy.deepcopy(other[at]), copy.deepcopy(value)
    elif way == 3 and isinstance(holder, list) and holder is not tree:
        holder.insert(key, copy.deepcopy(value))
    elif way == 4 and holder is not tree:
        del holder[key]
    elif way == 5 and isinstance(value, (list, str)):
        size = len(value) if isinstance(value, str) else 16 * sum(1 for _ in _places(value))
        holder[key] = (
            value * min(draws.randrange(2, 300), 1 + MOST // max(1, size))
            if size < MOST
            else value[: len(value) // 2]
        )
    elif way == 6 and isinstance(holder, dict):
        names = [*holder, *WORDS]
        holder[draws.choice(names)] = holder.pop(key)
    elif way == 7:
        holder[key] = nested(value, draws)
    elif way == 8 and isinstance(value, str):
        holder[key] = bend_text(value, draws)
    else:
        holder[key] = copy.deepcopy(draws.choice(VALUES))


def nested(value: Any, draws: Random) -> Any:
    """A value within lists, or records, within one another: a few, or more than Python follows."""
    key = draws.choice((None, "layers", "parts", "x"))
    for _ in range(draws.choice((1, 1, 2, 20, 300, 1500))):
        value = [value] if key is None else {key: value}
    return value


def depth(tree: Any) -> int:
    """How deep lists and records lie within one another."""
    level, count = [tree], 0
    while level := [
        part
        for each in level
        if isinstance(each, (dict, list))
        for part in (each.values() if isinstance(each, dict) else each)
    ]:
        count += 1
    return count


def bend_text(text: str, draws: Random) -> str:
    """A text with something put in, taken out or exchanged."""
    place, way = draws.randrange(len(text) + 1), draws.randrange(4)
    if way == 0:
        return text[:place] + text[place + draws.randrange(1, 9) :]
    if way == 1:
        return text[:place] + draws.choice(WORDS) + text[place:]
    if way == 2:
        return text[:place] + str(draws.choice(VALUES)) + text[place + draws.randrange(9) :]
    other = draws.randrange(len(text) + 1)
    return text[:place] + text[other : other + draws.randrange(40)] + text[place:]


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every holder with a key of it, however deep: a stack, since a tree may be deeper than Python
    calls.
    """
    stack = [tree]
    while stack:
        holder = stack.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            yield holder, key
            if isinstance(holder[key], (dict, list)):
                stack.append(holder[key])
