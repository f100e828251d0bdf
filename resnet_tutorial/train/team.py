"""Several processes that train one network together: one for each GPU, started by torchrun.

Every process holds the whole data and the whole network, and takes its share of each batch.
DistributedDataParallel averages the gradients, so all take the same step and stay equal; only batch
norm's statistics come from the process's own share.  What is printed, measured and saved is the
first process's business.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from resnet_tutorial.train.errors import TrainingError

Result = TypeVar("Result")


@dataclass(frozen=True)
class Team:
    """This process's place among those that train together; alone it is the first of one.

    Attributes:
        rank: this process's number, from 0.
        size: how many processes there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that prints, measures and saves."""
        return self.rank == 0

    def share(self, batch_size: int) -> tuple[int, int]:
        """Return where this process's part of a batch starts and stops.

        Raises:
            ValueError: the batch cannot be divided evenly.
        """
        if batch_size % self.size:
            raise ValueError(f"A batch of {batch_size} cannot be shared evenly by {self.size} "
                             f"processes; choose a multiple of {self.size}.")
        each = batch_size // self.size
        return self.rank * each, (self.rank + 1) * each

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the network whose backward pass averages the gradients over all processes."""
        return DistributedDataParallel(model) if self.size > 1 else model

    def add_up(self, *tensors: Tensor) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.size > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Return whether `flag` is true in any process: all get the same answer."""
        flags = torch.tensor(float(flag), device=device)
        self.add_up(flags)
        return flags.item() > 0

    def from_first(self, *tensors: Tensor) -> None:
        """Give every process the first one's values."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def first_does(self, action: Callable[[], Result]) -> Result:
        """Return in every process what `action` returns in the first one; the others do not call it.

        Raises:
            TrainingError: the first process could not do it; every process says the same.
            ValueError: likewise.
        """
        answer: list[Any] = [None, None]  # the result, and what went wrong
        if self.first:
            try:
                answer[0] = action()
            except (TrainingError, ValueError) as problem:
                answer[1] = problem
        if self.size > 1:
            dist.broadcast_object_list(answer, src=0)
        if answer[1] is not None:
            raise answer[1]
        return answer[0]

    def wait(self) -> None:
        """Return when every process has come this far."""
        if self.size > 1:
            dist.barrier()


def present_team() -> Team:
    """Return the team that this process belongs to at the moment."""
    if dist.is_available() and dist.is_initialized():
        return Team(dist.get_rank(), dist.get_world_size())
    return Team()


@contextlib.contextmanager
def joined(device: str | None = None) -> Iterator[Team]:
    """Inside the `with` block, be one of the processes that torchrun started; alone without it.

    Args:
        device: ``"cpu"`` trains on processors even where there are GPUs.

    Raises:
        TrainingError: there are more processes than GPUs, or another process was lost on the way.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or present_team().size > 1:
        yield present_team()
        return
    on_gpu = torch.cuda.is_available() and device != "cpu"
    if on_gpu:
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise TrainingError(f"Process {local + 1} of this machine finds no GPU of its own: there "
                                f"are {torch.cuda.device_count()}. Start as many processes as GPUs.")
        torch.cuda.set_device(local)
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield present_team()
    except RuntimeError as problem:
        if isinstance(problem, TrainingError) or not _is_loss(problem):
            raise
        raise TrainingError("Another process of this run was lost; the run has ended here. Start the "
                            "same command with --resume to go on from the last checkpoint.") from None
    finally:
        dist.destroy_process_group()


def _is_loss(problem: RuntimeError) -> bool:
    """Return whether an error means that another process is gone."""
    if isinstance(problem, dist.DistError):
        return True
    return any(words in str(problem) for words in ("Connection closed by peer", "Connection reset by peer", "gloo"))
