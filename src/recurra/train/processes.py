"""One process or several: where a run's rows are, and how its gradients come together."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from recurra.errors import RunError

T = TypeVar("T")


class Alone:
    """A run in one process.

    >>> Alone(torch.device("cpu")).sum(3, 4)
    (3.0, 4.0)
    """

    rank, count = 0, 1

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def sum(self, *values: float) -> tuple[float, ...]:
        """Each value summed over all processes."""
        return tuple(float(value) for value in values)

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum every gradient over all processes, in place."""

    def gather(self, value: T) -> list[T]:
        """The value of each process, in the order of their ranks."""
        return [value]

    def share(self, model: nn.Module) -> None:
        """Give every process the first one's weights."""


class Together(Alone):
    """A run in several processes, started by torchrun; Accelerate finds them and the device.

    Args:
        device: "auto" or "cpu".

    Raises:
        RunError: another process of the run is lost; every method says so.
    """

    def __init__(self, device: str) -> None:
        from accelerate import PartialState

        if (
            not torch.distributed.is_initialized()
        ):  # ours to end: threads of a group that Python's own end meets are aborted
            atexit.register(_end_group)
        self.state = _reach(
            lambda: PartialState(cpu=device == "cpu" or not torch.cuda.is_available())
        )
        super().__init__(self.state.device)
        self.rank, self.count = self.state.process_index, self.state.num_processes

    def sum(self, *values: float) -> tuple[float, ...]:
        return tuple(
            self._reduce(torch.tensor(values, dtype=torch.float64, device=self.device)).tolist()
        )

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        owned = [parameter for parameter in parameters if parameter.requires_grad]
        for parameter in owned:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = self._reduce(
            torch.cat(
                [parameter.grad.flatten() for parameter in owned if parameter.grad is not None]
            )
        )
        for parameter, part in zip(owned, flat.split([parameter.numel() for parameter in owned])):
            parameter.grad = part.view_as(parameter)

    def gather(self, value: T) -> list[T]:
        from accelerate.utils import gather_object

        return list(_reach(lambda: gather_object([value])))

    def share(self, model: nn.Module) -> None:
        from accelerate.utils import broadcast

        with torch.no_grad():
            for value in model.state_dict().values():
                value.copy_(_reach(lambda value=value: broadcast(value.clone())))  # type: ignore[misc]

    def _reduce(self, tensor: Tensor) -> Tensor:
        from accelerate.utils import reduce

        return _reach(lambda: reduce(tensor, "sum"))


def _end_group() -> None:
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _reach(call: Callable[[], Any]) -> Any:
    """Do what needs the other processes; say plainly when one is lost."""
    try:
        return call()
    except RuntimeError as error:
        line = str(error).splitlines()[0] if str(error) else repr(error)
        raise RunError(
            f"run must keep all of its processes, got a lost one ({line}); resume it from its last"
            " checkpoint"
        ) from None


def processes(device: str) -> Alone:
    """The process, or the processes that torchrun started, and their device.

    Args:
        device: "auto" (CUDA where there is one) or "cpu".
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return Together(device)
    return Alone(torch.device("cuda" if device == "auto" and torch.cuda.is_available() else "cpu"))
