"""What people see of a file must not obey the file: no escape to a terminal, no tag in a page, no
code in a C header.
"""

from __future__ import annotations

import re
import subprocess
import unicodedata
from pathlib import Path

COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
STRICT = (
    "gcc",
    "-std=c99",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-pedantic",
    "-O0",
    "-fsyntax-only",
    "-Wno-unused-function",
)


def check_terminal(text: str) -> None:
    """Raise where a text would steer a terminal, or turn the direction of reading.

    Raises:
        AssertionError: it would.
    """
    for letter in set(text) - set("\n\t\u200c\u200d"):
        assert unicodedata.category(letter) not in (
            "Cc",
            "Cf",
            "Cs",
            "Zl",
            "Zp",
        ), f"the terminal is given {letter!r}"


def check_html(text: str) -> None:
    """Raise where a page holds a tag that a file put there.

    Raises:
        AssertionError: it does.
    """
    for tag in ("<script>alert", "<img src=x"):
        assert tag not in text, f"the page holds {tag!r}"


def check_c(header: str, folder: Path | None) -> None:
    """Raise where a header holds other code than ours.

    Args:
        header: the text.
        folder: where it is compiled; None: it is only looked at.

    Raises:
        AssertionError: it does, or does not compile.
    """
    code = COMMENT.sub(" ", header)
    assert code.isascii(), "code outside ASCII"
    for mark in ("int f(void)", "*/", "??/", "<script", "\x1b", "\\ "):
        assert mark not in code, f"the header's code holds {mark!r}"
    assert "\\\n" not in header and "??/" not in header, "a line of the header goes on in the next"
    if folder is not None:
        path = folder / "forged.c"
        path.write_text(header, encoding="utf-8")
        done = subprocess.run([*STRICT, str(path)], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr[:2000]
