"""Log-mel features of a stream of samples: a frame every 10 ms, in constant memory, on NumPy
alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from recurra.errors import DtypeError, ShapeError, shape_text

Array = npt.NDArray[Any]
RATE, HOP, WINDOW, FFT, BANDS = 8000, 80, 200, 256, 32
"""Samples a second; samples from one frame to the next (10 ms), in a window (25 ms) and in its
transform; mel bands.
"""
LOWEST_HZ, HIGHEST_HZ = 60.0, 3900.0
FLOOR = 1e-5
"""Power added to each band before the logarithm: about that of noise at -70 dB of full scale."""


class LogMel:
    """Log-mel frames of samples that come in pieces of any size.

        frame_n[b] = (log(sum_f bank[b, f] |FFT(window * x[80 (n + 1) - 200 : 80 (n + 1)])_f|^2 +
        1e-5) - mean[b]) / scale[b]

    Frame n is there as soon as sample 80 (n + 1) is: nothing later is looked at, and before the
    first sample there is silence. However the samples are cut into pieces, the frames are the same
    bits.

    Args:
        mean, scale: (32,), subtracted from each frame, and what it is then divided by.

    >>> frames = LogMel().push(np.zeros(200, np.int16))
    >>> frames.shape, float(frames[0, 0])
    ((2, 32), -11.512925148010254)
    """

    def __init__(self, mean: Array | float = 0.0, scale: Array | float = 1.0) -> None:
        self._mean, self._scale = np.float32(mean), np.float32(scale)
        self._window, self._bank, self._places = (
            np.hanning(WINDOW + 1)[:-1],
            mel_bank().T.copy(),
            np.arange(WINDOW),
        )
        self.reset()

    def reset(self) -> None:
        """Begin anew, with silence before."""
        self._past = np.zeros(WINDOW - HOP, np.float32)

    def push(self, samples: Array) -> Array:
        """Take in samples, and give the frames that they complete.

        Args:
            samples: (N,), int16, or float32 in [-1, 1]; any N.

        Returns:
            (T, 32), float32; T may be 0.

        Raises:
            DtypeError: `samples` is of another dtype.
            ShapeError: `samples` has several channels.
        """
        x = np.concatenate([self._past, _in_one(samples)])
        count = max(0, (len(x) - WINDOW) // HOP + 1)
        self._past = x[count * HOP :].copy()
        if not count:
            return np.zeros((0, BANDS), np.float32)
        windows = x[np.arange(0, count * HOP, HOP)[:, None] + self._places]
        spectrum = np.fft.rfft(windows * self._window, FFT)
        power = spectrum.real**2 + spectrum.imag**2
        # a product for each frame by itself: one for all of them rounds otherwise, and would tell
        # how the stream was cut
        bands = np.matmul(power[:, None, :], self._bank)[:, 0]
        frames: Array = (np.log(bands + FLOOR).astype(np.float32) - self._mean) / self._scale
        return frames


def mel_bank() -> Array:
    """Triangles that overlap by half, evenly spaced in mel = 2595 log10(1 + f / 700): (32, 129).

    >>> bank = mel_bank()
    >>> bank.shape, bool((bank.sum(1) > 0).all())
    ((32, 129), True)
    """
    first, last = (2595 * np.log10(1 + f / 700) for f in (LOWEST_HZ, HIGHEST_HZ))
    edges = 700 * (10 ** (np.linspace(first, last, BANDS + 2) / 2595) - 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    f = np.arange(FFT // 2 + 1) * RATE / FFT
    bank: Array = np.clip(
        np.minimum((f - low) / (middle - low), (high - f) / (high - middle)), 0, None
    )
    return bank


def _in_one(samples: Array) -> Array:
    """The samples as float32 in [-1, 1]."""
    if not isinstance(samples, np.ndarray) or samples.dtype not in (np.int16, np.float32):
        got = samples.dtype if isinstance(samples, np.ndarray) else type(samples).__name__
        raise DtypeError(f"samples must be an array of int16, or of float32 in [-1, 1], got {got}")
    if samples.ndim != 1:
        raise ShapeError(
            f"samples must have shape (N,), got {shape_text(samples.shape)}; take one channel"
        )
    return samples.astype(np.float32) / np.float32(32768) if samples.dtype == np.int16 else samples
