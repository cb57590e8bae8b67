"""The recordings: Free Spoken Digit Dataset, read from its archive."""

from __future__ import annotations

import io
import os
import tarfile
import wave
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from examples.spoken_digits.features import RATE
from recurra.errors import DataError

Array = npt.NDArray[Any]
ARCHIVE = "fsdd/fsdd_recordings.tar.xz"
TEST_TAKES, VALIDATION_TAKES = range(0, 5), range(5, 10)
"""Takes of the official test, and those of its training part that choose the epoch."""


class Recording(NamedTuple):
    """One digit spoken once.

    Attributes:
        digit: 0 to 9.
        speaker: by name.
        take: 0 to 49.
        samples: (N,) int16, 8000 a second.
    """

    digit: int
    speaker: str
    take: int
    samples: Array


def read() -> list[Recording]:
    """All 3,000, in the order of their names.

    Raises:
        DataError: the archive is not there; says what to set.
    """
    root = Path(os.environ.get("RECURRA_DATA") or Path(__file__).parents[3] / "shared" / "data")
    path = root / ARCHIVE
    if not path.is_file():
        raise DataError(
            f"RECURRA_DATA must be a folder that holds {ARCHIVE}, got {root}; set it to where the"
            " recordings are"
        )
    found = []
    with tarfile.open(path, "r:xz") as archive:
        for member in archive:
            if (file := archive.extractfile(member)) is not None:
                digit, speaker, take = Path(member.name).stem.split("_")
                found.append(
                    Recording(
                        int(digit),
                        speaker,
                        int(take),
                        read_wave(io.BytesIO(file.read()), member.name),
                    )
                )
    return sorted(found, key=lambda recording: recording[:3])


def read_wave(file: str | BinaryIO, name: str) -> Array:
    """The samples of a .wav file, (N,) int16.

    Args:
        file: its path, or the file itself.
        name: to name it in errors.

    Raises:
        DataError: it is missing, is no .wav file, or holds other than 16-bit samples of one
            channel, 8000 a second.
    """
    try:
        with wave.open(file, "rb") as audio:
            form = audio.getframerate(), audio.getnchannels(), 8 * audio.getsampwidth()
            samples = audio.readframes(audio.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        why = getattr(error, "strerror", None) or str(error) or "its end too early"
        raise DataError(f"{name} must be a .wav file that can be read, got {why}") from None
    if form != (RATE, 1, 16):
        rate, channels, bits = form
        raise DataError(
            f"{name} must hold one channel of 16-bit samples, {RATE} a second, got {channels} of"
            f" {bits} bits, {rate} a second"
        )
    return np.frombuffer(samples, "<i2").astype(np.int16)
