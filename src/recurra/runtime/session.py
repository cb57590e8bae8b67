"""The one object of the runtime that remembers: rows that stream through a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from recurra.check import check_whole
from recurra.display import card
from recurra.errors import (
    ArgumentError,
    DataError,
    DtypeError,
    RunError,
    ShapeError,
    choice_text,
    shape_text,
)
from recurra.network import Network
from recurra.network.description import network_tables, network_text
from recurra.network.file import checksum
from recurra.rows import row_numbers
from recurra.runtime.arrays import refuse_mask
from recurra.wording import count_text

if TYPE_CHECKING:
    from recurra import native

Array = npt.NDArray[Any]
NAN = ("error", "pass", "reset")
FORMAT = "recurra-state-1"
MISFIT, BUSY, SPOILED = -1, -2, -3
"""What the native session answers where it did nothing; SPOILED less the row that overflowed. From
0 on it is a place in x.
"""
MOST_ROWS = 1 << 24


class Session:
    """Rows that stream through a model, in memory that does not grow. Made by `Model.session`.

    Pushing a sequence step by step or in chunks gives the same bits. One thread at a time; sessions
    of one model may run in as many threads as there are, the weights are shared.

    Attributes:
        network: what runs.
        batch: B.
        nan: what a value that is not finite does, be it in x or made of what is finite; set when
            the session is opened.
    """

    def __init__(
        self,
        network: Network,
        packed: native.Model,
        fingerprint: Callable[[], int],
        batch: int = 1,
        nan: str = "error",
    ) -> None:
        from recurra import native

        batch = check_whole("batch", batch, 1, MOST_ROWS)
        if nan not in NAN:
            raise ArgumentError(choice_text("nan", nan, NAN))
        self.network, self.batch, self._nan = network, batch, nan
        self._packed, self._fingerprint, self._check = packed, fingerprint, nan != "pass"
        dtype, reads = (
            np.dtype(np.float32),
            np.dtype(np.int64 if network.reads_tokens else np.float32),
        )
        try:
            self._native: native.Session | None = native.Session(
                packed, self.batch, np.empty, dtype, reads
            )
        except MemoryError:
            raise ArgumentError(
                f"batch must fit into memory, got {batch}; take fewer rows"
            ) from None
        self._push: Callable[..., Any] = self._native.push
        self._first = {spec.name: spec.first for spec in network.states}
        self._state: dict[str, Array] = {
            spec.name: self._native.state(i) for i, spec in enumerate(network.states)
        }
        self.reset()

    def push(self, x: Array) -> Array:
        """Take in one step or a chunk, and give back as many outputs.

        Args:
            x: float32 (B, I) or (T, B, I); tokens (B,) or (T, B), whole numbers, where the model
                reads tokens.

        Returns:
            (B, O) or (T, B, O), float32. One step's array is used again once nobody holds it any
            more: a loop allocates nothing.

        Raises:
            ShapeError: `x` is of another batch or width, or holds no step.
            DtypeError: `x` is not an array of that dtype.
            ArgumentError: a row has a NaN, an infinity or a token that the model does not know,
                names step and row; or its state or output would not stay finite. Nothing was done.
            RunError: the session is closed, or another thread is in it.
        """
        y: Any = self._push(x, self._check)
        return y if type(y) is not int else self._again(x, y)

    @property
    def nan(self) -> str:
        """What a value that is not finite does: "error", "pass" or "reset"."""
        return self._nan

    def reset(self, rows: Any = None) -> None:
        """Begin anew: rows go back to the model's own first state.

        Args:
            rows: their numbers, each once, or (B,) bool; all if None.

        Raises:
            ArgumentError: a row is not one of the batch, or `rows` look like a mask that is not
                bool.
            ShapeError: a mask is not as long as the batch.
        """
        chosen = slice(None) if rows is None else row_numbers(rows, self.batch)
        with self._turn("reset"):
            for name, array in self._state.items():
                array[chosen] = self._first[name]

    @property
    def state(self) -> dict[str, Array]:
        """The state by name, as `Network.states` lists it: copies, (B, width) each."""
        with self._turn("state"):
            return {name: array.copy() for name, array in self._state.items()}

    def save(self) -> bytes:
        """The state as bytes, for `load` or a file of one's own."""
        header, state = (
            {"format": FORMAT, "model": self._fingerprint(), "batch": self.batch},
            self.state,
        )
        return bytes(
            save_tensors(
                state, {"recurra": json.dumps(header | {"crc32": checksum(header, state)})}
            )
        )

    def load(self, blob: bytes) -> None:
        """Go on from a state that `save` gave.

        Raises:
            DataError: it is no saved state, or that of another model.
            ShapeError: it has another number of rows; `select` and `merge` change them.
            DtypeError: it is not made of bytes.
        """
        if not isinstance(blob, (bytes, bytearray, memoryview)):
            raise DtypeError(f"blob must be bytes, got {type(blob).__name__}")
        header, arrays = _read(bytes(blob))
        if header["model"] != self._fingerprint():
            raise DataError(
                "blob must be a state of this model, got that of another model or version"
            )
        if header["batch"] != self.batch:
            raise ShapeError(
                f"blob must be a state of {count_text(self.batch, 'row')}, got {header['batch']};"
                " open a session of that batch"
            )
        for name, array in arrays.items():
            if self._check and not np.isfinite(array).all():
                raise DataError(
                    f"blob must hold finite numbers, got others in {name!r}; open the session with"
                    " nan='pass'"
                )
        with self._turn("load"):
            self._fill(arrays)

    def select(self, rows: Any) -> Session:
        """A new session with the states of some rows, in that order; a row may be taken twice.

        Args:
            rows: their numbers, or (B,) bool.

        Raises:
            ArgumentError: a row is not one of the batch, or there is none, or `rows` look like a
                mask that is not bool.
            ShapeError: a mask is not as long as the batch.
        """
        chosen = row_numbers(rows, self.batch, repeated=True)
        if not len(chosen):
            raise ArgumentError("rows must hold at least one row, got none")
        taken = Session(self.network, self._packed, self._fingerprint, len(chosen), self.nan)
        taken._fill({name: array[chosen] for name, array in self.state.items()})
        return taken

    def close(self) -> None:
        """Let go of the memory; what is pushed afterwards raises."""
        with self._turn("close"):
            self._push, self._native, self._state = _closed, None, {}

    def __repr__(self) -> str:
        return f"Session({self._text()}; {network_text(self.network)})"

    def _repr_html_(self) -> str:
        return card(f"Session: {self._text()}", network_tables(self.network))

    def _text(self) -> str:
        return "closed" if self._native is None else f"batch={self.batch}, nan={self.nan!r}"

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise RunError(
            "session must stay where it was opened, got a copy of it asked for; use select, or save"
            " and load"
        )

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        if self._native is not None:
            self.close()

    def _fill(self, arrays: Mapping[str, Array]) -> None:
        for name, array in self._state.items():
            given = arrays.get(name)
            if given is None or given.shape != array.shape or given.dtype != array.dtype:
                raise DataError(
                    f"blob must hold {name} of shape {shape_text(array.shape)}, got another"
                )
        for name, array in self._state.items():
            array[...] = arrays[name]

    @contextmanager
    def _turn(self, what: str) -> Iterator[None]:
        """A block in which no other thread is in the session."""
        native = self._native
        if native is None:
            raise RunError(f"session must be open to {what}, got a closed one")
        if not native.enter():
            raise RunError(
                f"session must be used by one thread at a time, got {what} while another is in it;"
                " open a session for each"
            )
        try:
            yield
        finally:
            native.leave()

    def _again(self, x: Any, answer: int) -> Array:
        """Say why nothing was done, or do it: convert what means the same, and step over what is to
        begin anew.
        """
        if answer == BUSY:
            raise RunError(
                "session must be used by one thread at a time, got two; open a session for each"
            )
        if answer == MISFIT:
            return self.push(self._fitting(x))
        steps_axes = 2 if self.network.reads_tokens else 3
        if answer <= SPOILED:
            return self._overflowed(x, SPOILED - answer, np.ndim(x) == steps_axes)
        step, row = divmod(answer, self.batch)
        where = f"step {step} of row {row}" if np.ndim(x) == steps_axes else f"row {row}"
        if self.network.reads_tokens:
            token = np.reshape(x, -1)[answer]
            raise ArgumentError(
                f"x must hold tokens in 0..{self.network.input_size - 1}, got {token} at {where}"
            )
        if self.nan == "error":
            value = np.reshape(x, (-1, x.shape[-1]))[answer]
            what = value[~np.isfinite(value)][0]
            raise ArgumentError(
                f"x must be finite, got {what} at {where}; open the session with nan='pass' or"
                " nan='reset'"
            )
        if np.ndim(x) == steps_axes:
            return np.stack([self.push(each) for each in x])
        bad = ~np.isfinite(x).all(1)
        y: Array = np.array(self.push(np.where(bad[:, None], np.float32(0), x)))
        y[bad] = np.nan
        self.reset(bad)
        return y

    def _overflowed(self, x: Array, row: int, chunk: bool) -> Array:
        """Finite input made a state or an output of a row that is not: say so, or let the row begin
        anew.
        """
        if self.nan == "error":
            need = f"keep the state and the output finite, got an overflow in row {row}"
            raise ArgumentError(
                f"x must {need}; give smaller numbers, or open the session with nan='pass' or"
                " nan='reset'"
            )
        if chunk:
            return np.stack([self.push(each) for each in x])
        y: Array = np.array(self._push(x, False))
        bad = ~np.isfinite(y).all(1)
        for array in self._state.values():
            bad |= ~np.isfinite(array).all(1)
        y[bad] = np.nan
        self.reset(bad)
        return y

    def _fitting(self, x: Any) -> Array:
        """The same values as the native session takes them; raises where there are none."""
        tokens, wide = self.network.reads_tokens, self.network.input_size
        if not isinstance(x, np.ndarray):
            raise DtypeError(f"x must be a NumPy array, got {type(x).__name__}; use numpy.asarray")
        refuse_mask("x", x)
        if (x.dtype.kind not in "iu") if tokens else (x.dtype != np.float32):
            wanted, use = ("whole numbers", "int64") if tokens else ("float32", "float32")
            raise DtypeError(f"x must be {wanted}, got {x.dtype}; use x.astype({use!r})")
        one: list[int | str] = [self.batch] if tokens else [self.batch, wide]
        if (
            x.shape[-len(one) :] != tuple(one)
            or x.ndim not in (len(one), len(one) + 1)
            or 0 in x.shape
        ):
            text = (
                f"x must have shape {shape_text(one)} or {shape_text(['T', *one])}, got"
                f" {shape_text(x.shape)}"
            )
            raise ShapeError(f"{text}; give at least one step" if 0 in x.shape else text)
        return np.ascontiguousarray(x, np.int64 if tokens else np.float32)


def merge(sessions: Iterable[Session]) -> Session:
    """A new session with the rows of several sessions of one model, one after another.

    Args:
        sessions: at least one; they are left as they are.

    Raises:
        ArgumentError: there is none, they are of different models, or do different things with NaN.
        DtypeError: they are no sessions.
    """
    if isinstance(sessions, Session) or not isinstance(sessions, Iterable):
        raise DtypeError(f"sessions must be a list of sessions, got {type(sessions).__name__}")
    sessions = list(sessions)
    for each in sessions:
        if not isinstance(each, Session):
            raise DtypeError(f"sessions must hold sessions, got {type(each).__name__}")
    if not sessions:
        raise ArgumentError("sessions must hold at least one, got none")
    first = sessions[0]
    if any(each._packed is not first._packed for each in sessions):
        raise ArgumentError(
            "sessions must be of one model, got several; load the model once and open them all"
            " from it"
        )
    if any(each.nan != first.nan for each in sessions):
        raise ArgumentError(
            "sessions must be opened with one nan, got"
            f" {', '.join(repr(each.nan) for each in sessions)}"
        )
    states = [each.state for each in sessions]
    merged = Session(
        first.network,
        first._packed,
        first._fingerprint,
        sum(each.batch for each in sessions),
        first.nan,
    )
    merged._fill({name: np.concatenate([state[name] for state in states]) for name in states[0]})
    return merged


def _closed(*_: Any) -> Array:
    raise RunError("session must be open to push, got a closed one")


def _read(blob: bytes) -> tuple[dict[str, Any], dict[str, Array]]:
    try:
        arrays = load_tensors(blob)
        size = int.from_bytes(blob[:8], "little")
        header = json.loads(json.loads(blob[8 : 8 + size])["__metadata__"]["recurra"])
        if header["format"] != FORMAT:
            raise DataError(
                f"blob must be a state in the form {FORMAT}, got {header['format']!r}; use the"
                " recurra that saved it"
            )
        if header.pop("crc32") != checksum(header, arrays):
            raise DataError(
                "blob must be a state as it was saved, got one whose checksum is another; it is"
                " damaged"
            )
        return {"model": header["model"], "batch": header["batch"]}, arrays
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"blob must be what Session.save gave, got something else ({error})"
        ) from None
