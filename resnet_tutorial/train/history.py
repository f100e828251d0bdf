"""What a training run measured, epoch by epoch."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_tutorial.train.errors import TrainingError


@dataclass
class History:
    """The curves of one run; all lists have one entry per finished epoch.

    Attributes:
        settings: what was trained, on what, how (recipe, seed, device, precision ...).
        sessions: the step from which each part of the run was trained, where, and at which commit; a run that
            was never cut off has one.
        epoch: 1, 2, 3 ...
        lr: the learning rate of the epoch's last step.
        train_loss, train_error: over the epoch's augmented batches, while the weights change;
            errors are in percent, and the loss includes label smoothing.
        val_loss, val_error: on the held-out images, where the run was asked for that curve.
        test_loss, test_error: on the test images, where the run was asked for that curve.
        seconds: each epoch's training time, without compilation and evaluations.
        compile_seconds: what `torch.compile`, and choosing a GPU's convolutions, took before the first step.
        peak_memory: the most bytes of a GPU's memory that tensors took; 0 on a processor.
        final: ``test_loss`` and ``test_error`` (and ``val_...``) of the finished run; on request the first two
            ``..._mirrored`` as well.
        stopped: why the run ended early; empty when it did not.
    """

    settings: dict = field(default_factory=dict)
    sessions: list[dict] = field(default_factory=list)
    epoch: list[int] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    train_error: list[float] = field(default_factory=list)
    val_loss: list[float] = field(default_factory=list)
    val_error: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    test_error: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    compile_seconds: float = 0.0
    peak_memory: int = 0
    final: dict[str, float] = field(default_factory=dict)
    stopped: str = ""

    def __repr__(self) -> str:
        parts = [f"History of {len(self.epoch)} epoch{'' if len(self.epoch) == 1 else 's'}"]
        if self.epoch:
            parts.append(f"training error {self.train_error[-1]:.2f} %")
        parts += [f"{part} error {errors[-1]:.2f} %"
                  for part, errors in (("validation", self.val_error), ("test", self.test_error))
                  if errors]
        if "test_error" in self.final and not self.test_error:
            parts.append(f"test error {self.final['test_error']:.2f} %")
        return ", ".join(parts) + (f" ({self.stopped})" if self.stopped else "")

    def as_dict(self) -> dict:
        """Return the history as JSON can hold it; a number that is not finite becomes None."""
        return _finite(dataclasses.asdict(self))

    @classmethod
    def from_dict(cls, content: dict) -> History:
        """Return the history that `as_dict` made; unknown entries are left out."""
        known = {entry.name for entry in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in content.items() if name in known})

    def save(self, path: str | Path) -> None:
        """Write the history as JSON.

        Raises:
            TrainingError: the file cannot be written.
        """
        try:
            Path(path).write_text(json.dumps(self.as_dict(), indent=1) + "\n", encoding="utf-8")
        except OSError as problem:
            raise TrainingError(f"{path} cannot be written: {problem.strerror}.") from None

    @classmethod
    def load(cls, path: str | Path) -> History:
        """Return the history in the file that `save` wrote.

        Raises:
            TrainingError: there is no such file, or it is something else.
        """
        try:
            return cls.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, AttributeError) as problem:
            raise TrainingError(f"{path} is not a saved history ({problem}).") from None


def _finite(value: Any) -> Any:
    """Replace what JSON has no word for: infinities and NaN become None."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
