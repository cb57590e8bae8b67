"""A text continued by tokens that somebody draws."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from recurra.errors import DataError
from recurra.vocabulary.vocabulary import MARK, Vocabulary


def continued(
    vocabulary: Vocabulary, prompt: str, draw: Callable[[list[int]], Iterable[int]]
) -> str:
    """The text of the tokens that are drawn after a prompt; words that follow a word begin with a
    space.

    Args:
        vocabulary: what the tokens stand for.
        prompt: the text to continue, a byte-order mark before it left out; if empty, the
            vocabulary's opening stands for it.
        draw: gives the tokens that follow those of the prompt.

    Raises:
        DataError: the prompt holds a character that is unknown.

    >>> from recurra.vocabulary.words import Words
    >>> continued(Words(("<unk>", "<eos>", "to", "be")), "to", lambda tokens: [3])
    ' be'
    """
    try:
        tokens = vocabulary.encode(prompt.removeprefix(MARK) or vocabulary.opening)
    except DataError as error:
        raise DataError(str(error).replace("text must", "prompt must", 1)) from None
    text = vocabulary.decode(list(draw(tokens.tolist())))
    between = (
        vocabulary.level == "word"
        and prompt
        and not prompt[-1].isspace()
        and not text.startswith("\n")
    )
    return f" {text}" if between else text
